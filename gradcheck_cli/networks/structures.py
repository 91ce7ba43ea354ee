"""Nested structures of tensors, such as modules take and return: lists, mappings, named tuples, dataclasses."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from gradcheck_cli.maps.parts import inexact, split


@dataclass(frozen=True)
class Record:
    """A dataclass, which torch's pytree takes for a leaf unless it is registered: its fields."""

    value: Any
    parts: dict[str, Any]


def records(value: Any) -> Any:
    """The structure with a Record in place of each dataclass."""
    return pytree.tree_map(_record, value)


def _record(leaf: Any) -> Any:
    if not dataclasses.is_dataclass(leaf) or isinstance(leaf, type):
        return leaf
    return Record(leaf, {f.name: records(getattr(leaf, f.name, None)) for f in dataclasses.fields(leaf)})


def _rebuilt(parts: Any, value: Any) -> Any:
    made = copy.copy(value)
    for field, part in zip(dataclasses.fields(value), parts, strict=True):
        object.__setattr__(made, field.name, part)
    return made


pytree.register_pytree_node(
    Record,
    lambda record: (list(record.parts.values()), record.value),
    _rebuilt,
    flatten_with_keys_fn=lambda record: ([(pytree.GetAttrKey(n), p) for n, p in record.parts.items()], record.value),
)


def leaves_of(value: Any) -> list[Any]:
    """What a structure holds."""
    return pytree.tree_leaves(records(value))


@dataclass(frozen=True)
class Flat:
    """A nested structure as a list of leaves, each with a name."""

    names: list[str]
    leaves: list[Any]
    spec: Any

    @property
    def floats(self) -> dict[str, Tensor]:
        """The floating-point tensors; of complex ones the parts."""
        pairs = zip(self.names, self.leaves, strict=True)
        return split({name: t for name, t in pairs if isinstance(t, Tensor) and inexact(t)})

    def copied(self) -> Flat:
        """The same, of detached copies."""
        return Flat(self.names, [v.detach().clone() if isinstance(v, Tensor) else v for v in self.leaves], self.spec)

    def rebuilt(self, change: Callable[[str, Any], Any]) -> Any:
        """The structure with changed leaves."""
        return pytree.tree_unflatten([change(n, v) for n, v in zip(self.names, self.leaves, strict=True)], self.spec)


def flatten(prefix: str, value: Any) -> Flat:
    """`prefix` names a single leaf; of several, `prefix.0`, `prefix.1.0` and so on by index, key or attribute."""
    pairs, spec = pytree.tree_flatten_with_path(records(value))
    return Flat([path(prefix, *map(key, keys)) for keys, _ in pairs], [leaf for _, leaf in pairs], spec)


def key(entry: Any) -> str:
    """One step of a path."""
    return str(next(getattr(entry, a) for a in ("idx", "key", "name") if hasattr(entry, a)))


def path(*names: str) -> str:
    """A path: the names that aren't empty, with dots."""
    return ".".join(name for name in names if name)

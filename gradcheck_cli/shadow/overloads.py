"""What the table knows of one overload of an operation: its arguments by name, and the row that describes a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any

import torch

from gradcheck_cli.language.functions import ROWS, Function
from gradcheck_cli.language.tree import Call, Variable
from gradcheck_cli.shadow.aten import OPERATIONS, Operation

TABLE_OF_OPERATIONS: MappingProxyType[str, tuple[Operation, ...]] = MappingProxyType(
    {name: tuple(o for o in OPERATIONS if o.name == name) for name in dict.fromkeys(o.name for o in OPERATIONS)}
)


def _from_functions() -> dict[str, Function]:
    """ATen operations that are rows of the function table: the last part of torch's name, `special_` before it."""
    found: dict[str, Function] = {}
    for row in ROWS:
        base = (row.torch or row.name).rpartition(".")[2]
        if row.parameters and not row.composed and "{n}" not in base:
            for name in (base, f"special_{base}", f"bessel_{base}"):  # the last is how `prims` calls i0
                found.setdefault(name, row)
    return found


FROM_FUNCTIONS = MappingProxyType(_from_functions())

INDIFFERENT = frozenset({
    "dtype", "layout", "device", "pin_memory", "memory_format", "non_blocking", "copy", "generator", "implicit", "out", "size",
    "stride", "self_num_batch_dims", "buffer", "self_is_result", "dim", "keepdim", "names",
})  # fmt: skip
"""Arguments that don't change what an entry is, or whose meaning a row has in its formula."""

TORCHS = ("aten", "prims")
"""The libraries whose operations the tables describe."""

_MISSING = object()


class Overload:
    """One overload of an operation: its arguments, and the rows that may describe it."""

    def __init__(self, func: Any) -> None:
        schema = func._schema
        self.func = func
        library, _, name = str(schema.name).partition("::")
        self.foreign = library not in TORCHS
        """Of a library other than torch: no row or rule describes it, whatever it is called."""
        self.name = str(schema.name) if self.foreign else name
        """What the tables call it; of other libraries the full name."""
        self.base = self.name.removesuffix("_")
        """The name without the underscore of in-place operations."""
        self.arguments = tuple(a.name for a in schema.arguments)
        self.defaults = tuple(a.default_value if a.has_default_value() else _MISSING for a in schema.arguments)
        self.outputs = frozenset(a.name for a in schema.arguments if a.is_out)
        """Arguments that only receive results."""
        self.written = frozenset(a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write)
        self.writes = bool(self.written)
        self._filled = dict(zip(self.arguments, self.defaults, strict=True))
        self.candidates = self._candidates()
        self._others = tuple(map(self._besides, self.candidates))
        self.view = bool(self.candidates) and self.candidates[0].view
        self.plans: dict[Any, Any] = {}
        """What is known of calls that were seen before, see `shadow.plans`."""

    def _candidates(self) -> tuple[Operation, ...]:
        found: list[Operation] = []
        if self.foreign:
            return ()
        for name in dict.fromkeys((self.name, self.base, self.name.removeprefix("special_"))):
            found += TABLE_OF_OPERATIONS.get(name, ())
        for name in dict.fromkeys((self.name, self.base)):
            row = FROM_FUNCTIONS.get(name)
            if row is not None and len(self.arguments) >= len(row.parameters):
                names = self.arguments[: len(row.parameters)]
                found.append(
                    Operation(
                        self.name,
                        formulas=(Call(row.name, tuple(Variable(n) for n in names)),),
                        integers=frozenset(n for n, p in zip(names, row.parameters, strict=True) if p.kind == "integer"),
                    )
                )
        return tuple(found)

    @cached_property
    def functional(self) -> Any:
        """The overload that computes the same and writes nothing; None where there is none."""
        if not self.writes:
            return self.func
        wanted = [n for n in self.arguments if n not in self.outputs]
        packet = getattr(getattr(torch.ops, self.func.namespace), self.base, None)
        for name in packet.overloads() if packet is not None else ():
            other = getattr(packet, name)
            arguments = other._schema.arguments
            if [a.name for a in arguments] == wanted and not any(a.alias_info and a.alias_info.is_write for a in arguments):
                return other
        return None

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments by name, defaults filled in."""
        bound = self._filled | dict(zip(self.arguments, args, strict=False))
        bound.update(kwargs)
        return bound

    def choose(self, bound: Mapping[str, Any]) -> Operation | None:
        """The first row that describes this call; None: there is none."""
        for operation, others in zip(self.candidates, self._others, strict=True):
            if self._fits(operation, others, bound):
                return operation
        return None

    def _besides(self, operation: Operation) -> tuple[str, ...]:
        """Arguments that a row doesn't know, and that matter."""
        known = (*INDIFFERENT, *operation.arguments, *operation.when)
        return tuple(name for name in self.arguments if name not in known)

    def _fits(self, operation: Operation, others: Sequence[str], bound: Mapping[str, Any]) -> bool:
        for name, wanted in operation.when.items():
            if not _same(bound.get(name), wanted):
                return False
        if operation.whole:
            return all(name in bound for name in operation.moves)
        for name in operation.arguments:
            if bound.get(name) is None:
                return False
        for name in others:
            # an argument that the row doesn't know must have its default value, or be a tensor that lends its shape
            value, default = bound[name], self._filled[name]
            if not (hasattr(value, "untyped_storage") if default is _MISSING else value is default or _same(value, default)):
                return False
        return True


def _same(value: Any, wanted: Any) -> bool:
    if wanted == "bool":
        return isinstance(value, bool) or str(getattr(value, "dtype", "")) == "torch.bool"
    if wanted is None or value is None:
        return value is wanted
    return not hasattr(value, "dtype") and bool(value == wanted)


def overload(func: Any) -> Overload:
    """What the table knows of an operation."""
    found = _OVERLOADS.get(id(func))
    if found is None:
        found = _OVERLOADS[id(func)] = Overload(func)
    return found


_OVERLOADS: dict[int, Overload] = {}
"""By identity, which costs nothing to look up; each keeps its operation, so that no number is used again."""

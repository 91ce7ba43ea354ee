"""What a network is called with: what the user gave, and seeded numbers of the shape that its first layers ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gradcheck_cli.errors import InputError
from gradcheck_cli.maps.parts import as_numbers, double
from gradcheck_cli.networks.layers import LAYERS
from gradcheck_cli.networks.modules import Chain, needed, signature
from gradcheck_cli.networks.request import Given, Shape

BATCH = 4
"""Size of the batch, where the network doesn't run on a single example; also of an input of which nothing is known."""


@dataclass(frozen=True)
class Slot:
    """One tensor that a layer takes: the sizes without a batch, letters among them where only the user knows; for an index the
    number that it stays below."""

    layer: str
    sizes: tuple[int | str, ...]
    below: int | None = None

    @property
    def known(self) -> bool:
        return all(isinstance(size, int) for size in self.sizes)


def slots(module: nn.Module) -> list[Slot]:
    """What the first layer that tells says of its inputs: one Slot for each tensor."""
    for layer in module.modules():
        names = [cls.__name__ for cls in type(layer).__mro__ if cls.__module__.startswith("torch.nn.modules.")]
        name = next((n for n in names if n in LAYERS), "Identity")
        if LAYERS[name] != "...":
            return [_slot(name, layer, part) for part in LAYERS[name].split(";")]
    return [Slot(type(module).__name__, (BATCH,))]


def _slot(name: str, layer: nn.Module, text: str) -> Slot:
    sizes, _, limit = (part.strip() for part in text.partition(" below "))
    found = tuple(size for word in sizes.split(",") for size in _sizes(layer, word.strip()))
    return Slot(name, found, int(_sizes(layer, limit)[0]) if limit else None)


def _sizes(layer: nn.Module, word: str) -> tuple[int | str, ...]:
    """A number, an attribute of the layer, or a capital letter."""
    if word.isdecimal():
        return (int(word),)
    if word.isupper():
        return (word,)
    value: Any = layer
    for name in word.split("."):
        value = getattr(value, name)
    return tuple(value) if isinstance(value, tuple | list) else (int(value),)


@dataclass(frozen=True)
class Arguments:
    """Tensors in the order of `forward`, or by name where `named`. `given`: those that the user made, as they are."""

    tensors: Mapping[str, Tensor]
    named: bool = False
    given: Mapping[str, Tensor] = field(default_factory=dict)


def candidates(
    module: nn.Module, given: Sequence[tuple[str | None, Given]], dtype: torch.dtype | None, text: str
) -> Iterator[Arguments]:
    """What to try, in this order: without a batch, and with one. What isn't given is drawn from torch's generator: normal
    numbers of 32 bits, so that every wider format sees the same point.

    InputError where a name isn't one of `forward`'s, or a shape has to be given.
    """
    wanted = slots(module)
    names = _names(module, given, len(wanted))
    values = _matched(module, given, names)
    named = any(name not in names for name in values)
    state = torch.get_rng_state()
    for batch in ((), (BATCH,)):
        torch.set_rng_state(state)
        tensors: dict[str, Tensor] = {}
        for place, name in enumerate(dict.fromkeys((*names, *values))):
            slot = wanted[min(place, len(wanted) - 1)]
            if name in values:
                tensors[name] = _tensor(name, values[name], slot, dtype)
            elif slot.known:
                tensors[name] = _drawn((*batch, *slot.sizes), slot.below, dtype)  # type: ignore[arg-type]
            else:
                raise InputError(_unknown(name, names, slot), text, 0)
        yield Arguments(tensors, named, {name: value for name, value in values.items() if isinstance(value, Tensor)})
        if len(values) == len(tensors):
            return


def _names(module: nn.Module, given: Sequence[tuple[str | None, Given]], wanted: int) -> list[str]:
    """The arguments that the module needs. A chain takes what its first layer takes, and one tensor stands for several."""
    if isinstance(module, Chain):
        several = wanted > 1 and (len(given) != 1 or given[0][0] not in (None, "x"))
        return needed(next(iter(module.children()))) if several else ["x"]
    return needed(module)


def _matched(module: nn.Module, given: Sequence[tuple[str | None, Given]], names: Sequence[str]) -> dict[str, Given]:
    """Every given input under its name: those without one fill the places in order."""
    parameters = list(signature(module).values())
    known = [*names] if isinstance(module, Chain) else [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
    free = [name for name in known if name not in [given_name for given_name, _ in given]]
    found: dict[str, Given] = {}
    for name, value in given:
        if name is None and not free:
            raise InputError(f"the network takes {', '.join(known)}: {len(given)} inputs are too many")
        if name is not None and name not in known:
            raise InputError(f"{name!r} is not an input of the network (it takes {', '.join(known)})")
        found[free.pop(0) if name is None else name] = value
    return found


def _tensor(name: str, value: Given, slot: Slot, dtype: torch.dtype | None) -> Tensor:
    if isinstance(value, Shape):
        return _drawn(value.sizes, slot.below, dtype)
    if isinstance(value, Tensor):
        tensor = value.detach()
    else:
        try:
            tensor = double(value)
        except (TypeError, ValueError, RuntimeError):
            raise InputError(f"{name}: a tensor is needed, or numbers in nested lists, or the sizes of its shape") from None
        if slot.below is not None:
            return tensor.long()
    if not tensor.numel():
        raise InputError(f"{name}: an input without entries has no derivative")
    return tensor if dtype is None else as_numbers(tensor, dtype)


def _drawn(sizes: tuple[int, ...], below: int | None, dtype: torch.dtype | None) -> Tensor:
    if below is not None:
        return torch.randint(below, sizes)
    wanted = dtype or torch.float32
    return torch.randn(sizes, dtype=torch.complex64 if wanted.is_complex else torch.float32).to(wanted)


def _unknown(name: str, names: Sequence[str], slot: Slot) -> str:
    sizes = ",".join(str(size) if isinstance(size, int) else "28" for size in slot.sizes)
    example = sizes if len(names) == 1 else f"{name}={sizes}"
    return f"{slot.layer} takes ({', '.join(map(str, slot.sizes))}): give the shape of the input, such as --input {example}"

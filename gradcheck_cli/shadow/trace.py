"""Where floats leave the range of their format, while the shadow's balls don't."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import Any

import torch
from flint import arb

from gradcheck_cli.algebra.layers import Cell
from gradcheck_cli.algebra.number import Ball
from gradcheck_cli.floats import Format
from gradcheck_cli.shadow.arguments import tensors_of
from gradcheck_cli.shadow.origins import Origin, Origins, advice, reason, selected
from gradcheck_cli.verdict.shade import Place, Shade

_FEW = 64
"""Up to so many entries are looked at one by one, more by torch first."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An operation that has run: its name, the stage that it belongs to, its arguments and one of its results."""

    operation: str
    stage: str | None
    output: torch.Tensor
    arguments: Mapping[str, Any]
    origins: Origins

    def tensors(self) -> list[torch.Tensor]:
        """Those among its arguments."""
        return tensors_of(list(self.arguments.values()))


@dataclass(frozen=True, slots=True)
class Event:
    """The first operation at which an entry's float left the range of its format."""

    operation: str
    stage: str | None
    kind: str
    """"overflow", "underflow"; "strayed": rounding had taken an argument out of the domain, and made a nan of what is finite;
    where the exact result isn't finite either, "infinite" or "undefined"."""
    origin: Origin
    why: str | None = None
    vanished: bool = False
    """Whether it was an underflow, of which came what `kind` says."""

    def place(self, left_out: Origin | None = None) -> Place:
        """The operation, and what to do about a nan that comes of it; `left_out`: the selection that doesn't want it."""
        origin, found = self.origin, self.why
        if found is None and left_out is not None:
            found = selected(origin, left_out)
        elif found is None and self.kind in ("infinite", "undefined"):
            found = advice(origin)
        return Place(origin.operation, self.stage, origin.told, found, self.vanished)


PINNED = (
    "{} chooses a branch for this single point, and autograd differentiates that branch alone: the function goes on with "
    "another slope beside it"
)
_EQUALITIES = ("eq", "ne")

_KINDS = ("infinite", "undefined", "strayed", "overflow")
"""The less that was meant, the later."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What happened on the way to one number: see `Event`. `trap`: the first nan came from a factor that is exactly 0, so that
    the infinity it met should not have mattered; None: there was no nan. `left_out`: by what selection, if that is what made
    it 0. `born`: the node in whose backward the first nan came up, if it was one."""

    infinite: Event | None = None
    tiny: Event | None = None
    trap: bool | None = None
    left_out: Origin | None = None
    born: int | None = None

    def joined(self, other: Mark, together: bool) -> Mark:
        """The marks of a number that is made of two, the earlier first. Together, an infinity that was meant (a mask) doesn't
        hide the one that wasn't, nor the nan that came of it."""
        infinite = self.infinite or other.infinite
        if together and infinite and other.infinite and _KINDS.index(other.infinite.kind) > _KINDS.index(infinite.kind):
            infinite = other.infinite
        trap = other.trap if self.trap is None else self.trap
        born = other.born if self.trap is None else self.born
        return Mark(infinite, self.tiny or other.tiny, trap, self.left_out or other.left_out, born)


UNMARKED = Mark()


@dataclass
class Trace:
    """What happened to each entry of the batch, by index, or to any entry at all, under the index 0. `run`: anywhere; a number
    bears the marks of what it was made of only, by its storage. `pinned`: the first comparison that found numbers equal."""

    run: dict[int, Mark] = field(default_factory=dict)
    pinned: dict[int, Origin] = field(default_factory=dict)
    _marks: dict[int, dict[int, Mark]] = field(default_factory=dict)
    _kept: dict[int, Any] = field(default_factory=dict)
    """The storages of what is marked, so that no address is used again."""

    def marks(self, tensor: torch.Tensor) -> Mapping[int, Mark]:
        """The marks of a tensor's entries."""
        return {} if tensor._is_zerotensor() else self._marks.get(tensor.untyped_storage()._cdata, {})

    def inherit(self, arguments: Iterable[torch.Tensor], outputs: Iterable[torch.Tensor | None], together: bool) -> None:
        """What an operation returns bears the marks of what it was given."""
        if not self._marks:
            return
        found: dict[int, Mark] = {}
        for tensor in arguments:
            for index, mark in self.marks(tensor).items():
                found[index] = found.get(index, UNMARKED).joined(mark, together)
        for output in outputs if found else ():
            if output is not None and output.is_floating_point() and not output._is_zerotensor():
                there = self._own(output)
                there |= {index: there.get(index, UNMARKED).joined(mark, together) for index, mark in found.items()}

    def _own(self, tensor: torch.Tensor) -> dict[int, Mark]:
        """The same, to be added to."""
        storage = tensor.untyped_storage()
        self._kept[storage._cdata] = storage
        return self._marks.setdefault(storage._cdata, {})

    @property
    def overflowed(self) -> bool:
        """Whether some float left the range upwards, where its exact value didn't."""
        return any(mark.infinite is not None and mark.infinite.kind == "overflow" for mark in self.run.values())

    def compared(self, seen: Seen, together: bool) -> None:
        """Record where a forward pass finds numbers equal: a branch for a single point."""
        if seen.operation not in _EQUALITIES:
            return
        origin = seen.origins.of(seen.operation)
        wanted = seen.operation != "ne"
        for entry in (seen.output == wanted).reshape(-1).nonzero().flatten().tolist() if origin.node is None else ():
            self.pinned.setdefault(0 if together else entry, origin)

    def watch(
        self, seen: Seen, cells: Callable[[], Sequence[Cell]], before: Sequence[Any], form: Format, together: bool
    ) -> None:
        """Record what an operation did to its output, whose exact values are `cells()`. `before`: its arguments' cells, each a
        list or one cell for ever. `together`: all entries count as one."""
        suspicious = _suspicious(seen.output, form.smallest_normal)
        exact = cells() if suspicious else ()
        for entry, value in suspicious:
            cell, index = exact[entry], 0 if together else entry
            if not isinstance(cell, arb):
                continue
            mark = self.marks(seen.output).get(index, UNMARKED)
            new = mark.joined(_marked(mark, seen, cell, value, form, before, entry), together)
            if new != mark:
                self._own(seen.output)[index] = new
                self.run[index] = self.run.get(index, UNMARKED).joined(new, together)


def _marked(mark: Mark, seen: Seen, cell: Cell, value: float, form: Format, before: Sequence[Any], entry: int) -> Mark:
    """What is new about an entry whose float is small or not finite; `mark`: what has happened before."""
    finite = cell.is_finite()
    if math.isfinite(value):
        vanished = finite and mark.tiny is None and not cell.contains(0) and cell.abs_upper() < form.smallest_normal
        return replace(mark, tiny=_event(seen, "underflow")) if vanished else mark
    kind = "overflow" if finite else "undefined" if cell.is_nan() else "infinite"
    event = None
    if finite and mark.infinite is None and cell.abs_upper() <= form.largest:
        if mark.tiny is not None:  # what underflowed before made an infinity, or a nan, of what is in range
            event = replace(mark.tiny, kind=kind, vanished=True)
        elif math.isnan(value):
            kind = "strayed"
    trap, left_out = mark.trap, mark.left_out
    born = mark.born
    if math.isnan(value):
        if trap is None:
            trap, born = any(_exact_zero(a, entry) for a in before), seen.origins.node
        if born in (None, seen.origins.node):  # it spreads: what is left out further down is another number
            left_out = left_out or seen.origins.left_out(seen.tensors(), seen.output, entry)
    return Mark(event or _event(seen, kind), mark.tiny, trap, left_out, born)


def shade(
    mark: Mark, exact: Ball, rounded: Ball, opaque: tuple[str, ...], scaled: Ball = None, pinned: Origin | None = None
) -> Shade:
    """What the shadow saw of a result, from its cells and its marks; `pinned`: see `Trace`."""
    left, tiny = mark.infinite, mark.tiny
    return Shade(
        exact,
        rounded,
        scaled,
        infinite=None if left is None else left.place(mark.left_out),
        overflow=left is not None and left.kind == "overflow",
        strayed=left is not None and left.kind == "strayed",
        tiny=None if tiny is None else tiny.place(),
        trap=bool(mark.trap),
        opaque=opaque,
        pinned=PINNED.format(pinned.told or pinned.operation) if pinned else None,
    )


def _event(seen: Seen, kind: str) -> Event:
    why = reason(seen.operation, seen.arguments) if kind in ("infinite", "undefined") else None
    return Event(seen.operation, seen.stage, kind, seen.origins.of(seen.operation), why)


def _suspicious(output: torch.Tensor, least: float) -> list[tuple[int, float]]:
    """The entries that are not in the normal range, with their index."""
    if output.numel() <= _FEW:
        return [(i, v) for i, v in enumerate(output.reshape(-1).tolist()) if not least <= abs(v) < math.inf]
    flat = output.detach().reshape(-1)
    size = flat.abs()
    found = torch.nonzero(~((size >= least) & (size < math.inf))).reshape(-1)
    return list(zip(found.tolist(), flat[found].tolist(), strict=True)) if found.numel() else []


def _exact_zero(argument: Any, entry: int) -> bool:
    cell = next(argument) if isinstance(argument, repeat) else argument[entry]
    return isinstance(cell, arb) and bool(cell.is_zero())

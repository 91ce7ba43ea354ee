"""Where floats leave the range of their format, while the shadow's balls don't."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import Any, NamedTuple

import torch
from flint import arb

from gradcheck_cli.algebra.layers import Cell
from gradcheck_cli.algebra.number import Ball
from gradcheck_cli.floats import Format
from gradcheck_cli.shadow.arguments import tensors_of
from gradcheck_cli.shadow.origins import Origin, Origins, advice, reason, selected
from gradcheck_cli.verdict.shade import Place, Shade

_FEW = 256
"""Up to so many entries are looked at one by one, more by torch first."""


Suspects = Sequence[tuple[int, float]]
"""Entries of a result by their index, and their floats."""


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
    "broken": neither can be, and the kernel returned no number where all numbers are ordinary ones;
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

_KINDS = ("infinite", "undefined", "strayed", "overflow", "broken")
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
        if other is self or other is UNMARKED:
            return self
        if self is UNMARKED:
            return other
        infinite = self.infinite or other.infinite
        if together and infinite and other.infinite and _KINDS.index(other.infinite.kind) > _KINDS.index(infinite.kind):
            infinite = other.infinite
        trap = other.trap if self.trap is None else self.trap
        born = other.born if self.trap is None else self.born
        return Mark(infinite, self.tiny or other.tiny, trap, self.left_out or other.left_out, born)

    def places(self) -> tuple[Place | None, Place | None]:
        """Where the range was left upwards, and downwards."""
        left, tiny = self.infinite, self.tiny
        return None if left is None else left.place(self.left_out), None if tiny is None else tiny.place()


UNMARKED = Mark()


class _Case(NamedTuple):
    """All that is new about an entry whose float is small or not finite, so that entries which share it share their marks.

    `kind`: see `Event`, "" where the float is finite; `vanished`: an underflow; `within`: the exact result is in range;
    `nan`: the float is; `zero`: a factor is exactly 0, where that is asked; `left_out`: by what selection.
    """

    kind: str
    vanished: bool = False
    within: bool = False
    nan: bool = False
    zero: bool = False
    left_out: Origin | None = None


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
        for tensor in dict.fromkeys(arguments):
            _join(found, self.marks(tensor), together)
        for output in outputs if found else ():
            if output is not None and (output.is_floating_point() or output.is_complex()) and not output._is_zerotensor():
                _join(self._own(output), found, together)

    def _own(self, tensor: torch.Tensor) -> dict[int, Mark]:
        """The same, to be added to."""
        storage = tensor.untyped_storage()
        self._kept[storage._cdata] = storage
        return self._marks.setdefault(storage._cdata, {})

    @property
    def overflowed(self) -> bool:
        """Whether some float left the range upwards, where its exact value didn't."""
        return any(mark.infinite is not None and mark.infinite.kind in ("overflow", "broken") for mark in self.run.values())

    def compared(self, seen: Seen, together: bool) -> None:
        """Record where a forward pass finds numbers equal: a branch for a single point."""
        if seen.operation not in _EQUALITIES:
            return
        origin = seen.origins.of(seen.operation)
        wanted = seen.operation != "ne"
        for entry in (seen.output == wanted).reshape(-1).nonzero().flatten().tolist() if origin.node is None else ():
            self.pinned.setdefault(0 if together else entry, origin)

    def watch(
        self,
        seen: Seen,
        suspects: Suspects,
        cells: Callable[[torch.Tensor], Sequence[Cell]],
        before: Sequence[Any],
        form: Format,
        together: bool,
    ) -> None:
        """Record what an operation did to suspicious entries of its output; `cells` has the exact values of a tensor. `before`:
        its arguments' cells, each a list or one cell for ever. `together`: all entries count as one."""
        exact = cells(seen.output)
        suspects = [(entry, value) for entry, value in suspects if not (math.isfinite(value) and _perhaps_zero(exact[entry]))]
        if not suspects:
            return
        watched = _Watched(seen, form, before, cells)
        there = self.marks(seen.output)
        known: dict[tuple[int, _Case], Mark] = {}
        for entry, value in suspects:
            cell, index = exact[entry], 0 if together else entry
            if not isinstance(cell, arb):
                continue
            mark = there.get(index, UNMARKED)
            case = watched.case(mark, cell, value, entry)
            if case is None:
                continue
            new = known.get((id(mark), case))
            if new is None:
                new = known[id(mark), case] = mark.joined(watched.marked(mark, case), together)
            if new is not mark and new != mark:
                there = self._own(seen.output)
                there[index] = new
                self.run[index] = self.run.get(index, UNMARKED).joined(new, together)


def _join(into: dict[int, Mark], others: Mapping[int, Mark], together: bool) -> None:
    """Add marks to those that there are."""
    if not into:
        into.update(others)
        return
    for index, mark in others.items():
        into[index] = into.get(index, UNMARKED).joined(mark, together)


class _Watched:
    """An operation whose result has entries that are small or not finite. `before`: see `Trace.watch`."""

    def __init__(
        self, seen: Seen, form: Format, before: Sequence[Any], cells: Callable[[torch.Tensor], Sequence[Cell]]
    ) -> None:
        self.seen, self.before, self._cells = seen, before, cells
        self._node, self._left_out = seen.origins.node, seen.origins.leaving_out(seen.tensors(), seen.output)
        self._least, self._largest = arb(form.smallest_normal), arb(form.largest)

    def case(self, mark: Mark, cell: Cell, value: float, entry: int) -> _Case | None:
        """What is new about an entry; `mark`: what has happened before. None: nothing."""
        finite = cell.is_finite()
        if math.isfinite(value):
            vanished = finite and mark.tiny is None and not cell.contains(0) and cell.abs_upper() < self._least
            return _VANISHED if vanished else None
        kind = "overflow" if finite else "undefined" if cell.is_nan() else "infinite"
        within = finite and mark.infinite is None and cell.abs_upper() <= self._largest
        if not math.isnan(value):
            return _Case(kind, within=within)
        zero, born = False, mark.born
        if mark.trap is None:
            zero, born = any(_exact_zero(a, entry) for a in self.before), self._node
        # it spreads: what is left out further down is another number
        spreads = not mark.left_out and born in (None, self._node)
        return _Case(kind, within=within, nan=True, zero=zero, left_out=self._left_out(entry) if spreads else None)

    def marked(self, mark: Mark, case: _Case) -> Mark:
        """What has happened to it then."""
        seen = self.seen
        if not case.kind:
            return replace(mark, tiny=_event(seen, "underflow"))
        event, kind = None, case.kind
        if case.within:
            if mark.tiny is not None:  # what underflowed before made an infinity, or a nan, of what is in range
                event = replace(mark.tiny, kind=kind, vanished=True)
            elif self._broken():
                kind = "broken"
            elif case.nan:
                kind = "strayed"
        trap, born = mark.trap, mark.born
        if case.nan and trap is None:
            trap, born = case.zero, self._node
        return Mark(event or _event(seen, kind), mark.tiny, trap, mark.left_out or case.left_out, born)

    def _broken(self) -> bool:
        """Whether a kernel returned no number for what it was given: numbers of ordinary size, which nothing in it may take
        out of range, and that rounding hasn't touched, which has taken them to no pole and out of no domain."""
        floats = [t for t in self.seen.tensors() if t.is_floating_point()]
        if not floats or any(t is self.seen.output or not bool((t.abs() <= ORDINARY).all()) for t in floats):
            return False
        return all(_untouched(t, self._cells(t)) for t in floats)


ORDINARY = 1.0
"""Size of numbers whose products, and sums of thousands of them, stay in range, in 16 bits too."""


def _untouched(tensor: torch.Tensor, cells: Sequence[Cell]) -> bool:
    """Whether each float is the exact number itself."""
    pairs = zip(tensor.reshape(-1).tolist(), cells, strict=True)
    return all(isinstance(cell, arb) and bool(cell == value) for value, cell in pairs)


_VANISHED = _Case("", vanished=True)


def shade(
    mark: Mark,
    exact: Ball,
    rounded: Ball,
    opaque: tuple[str, ...],
    scaled: Ball = None,
    pinned: Origin | None = None,
    places: tuple[Place | None, Place | None] | None = None,
) -> Shade:
    """What the shadow saw of a result, from its cells and its marks; `pinned`: see `Trace`; `places`: the mark's, if known."""
    left = mark.infinite
    infinite, tiny = places or mark.places()
    return Shade(
        exact,
        rounded,
        scaled,
        infinite=infinite,
        overflow=left is not None and left.kind == "overflow",
        strayed=left is not None and left.kind == "strayed",
        broken=left is not None and left.kind == "broken",
        tiny=tiny,
        trap=bool(mark.trap),
        opaque=opaque,
        pinned=PINNED.format(pinned.told or pinned.operation) if pinned else None,
    )


def _event(seen: Seen, kind: str) -> Event:
    why = reason(seen.operation, seen.arguments) if kind in ("infinite", "undefined") else None
    return Event(seen.operation, seen.stage, kind, seen.origins.of(seen.operation), why)


def suspicious(output: torch.Tensor, form: Format) -> Suspects:
    """The entries that are not in the normal range of the format."""
    least = form.smallest_normal
    if output.numel() <= _FEW:
        return [(i, v) for i, v in enumerate(output.reshape(-1).tolist()) if not least <= abs(v) < math.inf]
    flat = output.detach().reshape(-1)
    size = flat.abs()
    found = torch.nonzero(~((size >= least) & (size < math.inf))).reshape(-1)
    return list(zip(found.tolist(), flat[found].tolist(), strict=True)) if found.numel() else []


def _perhaps_zero(cell: Cell) -> bool:
    return isinstance(cell, arb) and bool(cell.contains(0))


def _exact_zero(argument: Any, entry: int) -> bool:
    cell = next(argument) if isinstance(argument, repeat) else argument[entry]
    return isinstance(cell, arb) and bool(cell.is_zero())

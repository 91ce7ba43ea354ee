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
from gradcheck_cli.verdict.shade import Shade

_FEW = 64
"""Up to so many entries are looked at one by one, more by torch first."""


@dataclass(frozen=True, slots=True)
class Event:
    """The first operation at which an entry's float left the range of its format."""

    operation: str
    stage: str | None
    kind: str
    """"overflow", "underflow"; "strayed": rounding had taken an argument out of the domain, and made a nan of what is finite;
    where the exact result isn't finite either, "infinite" or "undefined"."""


_KINDS = ("infinite", "undefined", "strayed", "overflow")
"""The less that was meant, the later."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What happened on the way to one number: see `Event`. `trap`: the first nan came from a factor that is exactly 0, so that
    the infinity it met should not have mattered; None: there was no nan."""

    infinite: Event | None = None
    tiny: Event | None = None
    trap: bool | None = None

    def joined(self, other: Mark, together: bool) -> Mark:
        """The marks of a number that is made of two, the earlier first. Together, an infinity that was meant (a mask) doesn't
        hide the one that wasn't, nor the nan that came of it."""
        infinite = self.infinite or other.infinite
        if together and infinite and other.infinite and _KINDS.index(other.infinite.kind) > _KINDS.index(infinite.kind):
            infinite = other.infinite
        return Mark(infinite, self.tiny or other.tiny, other.trap if self.trap is None else self.trap)


UNMARKED = Mark()


@dataclass
class Trace:
    """What happened to each entry of the batch, by index, or to any entry at all, under the index 0. `run`: anywhere; a number
    bears the marks of what it was made of only, by its storage."""

    run: dict[int, Mark] = field(default_factory=dict)
    _marks: dict[int, dict[int, Mark]] = field(default_factory=dict)

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
                there = self._marks.setdefault(output.untyped_storage()._cdata, {})
                there |= {index: there.get(index, UNMARKED).joined(mark, together) for index, mark in found.items()}

    @property
    def overflowed(self) -> bool:
        """Whether some float left the range upwards, where its exact value didn't."""
        return any(mark.infinite is not None and mark.infinite.kind == "overflow" for mark in self.run.values())

    def watch(
        self, operation: str, stage: str | None, output: torch.Tensor, cells: Callable[[], Sequence[Cell]],
        before: Sequence[Any], form: Format, together: bool,
    ) -> None:  # fmt: skip
        """Record what an operation did to its output, whose exact values are `cells()`. `before`: its arguments' cells, each a
        list or one cell for ever. `together`: all entries count as one."""
        suspicious = _suspicious(output, form.smallest_normal)
        exact = cells() if suspicious else ()
        for entry, value in suspicious:
            cell, index = exact[entry], 0 if together else entry
            if not isinstance(cell, arb):
                continue
            place = output.untyped_storage()._cdata
            mark = self._marks.get(place, {}).get(index, UNMARKED)
            new = mark.joined(_marked(mark, Event(operation, stage, ""), cell, value, form, before, entry), together)
            if new != mark:
                self._marks.setdefault(place, {})[index] = new
                self.run[index] = self.run.get(index, UNMARKED).joined(new, together)


def _marked(mark: Mark, event: Event, cell: Cell, value: float, form: Format, before: Sequence[Any], entry: int) -> Mark:
    """What is new about an entry whose float is small or not finite; `mark`: what has happened before."""
    finite = cell.is_finite()
    if math.isfinite(value):
        vanished = finite and mark.tiny is None and not cell.contains(0) and cell.abs_upper() < form.smallest_normal
        return replace(mark, tiny=replace(event, kind="underflow")) if vanished else mark
    kind = "overflow" if finite else "undefined" if cell.is_nan() else "infinite"
    if finite and mark.infinite is None and cell.abs_upper() <= form.largest:
        if mark.tiny is not None:  # what underflowed before made an infinity, or a nan, of what is in range
            event = mark.tiny
        elif math.isnan(value):
            kind = "strayed"
    trap = mark.trap
    if math.isnan(value) and trap is None:
        trap = any(_exact_zero(a, entry) for a in before)
    return Mark(replace(event, kind=kind), mark.tiny, trap)


def shade(mark: Mark, exact: Ball, rounded: Ball, opaque: tuple[str, ...], scaled: Ball = None) -> Shade:
    """What the shadow saw of a result, from its cells and its marks."""
    left, tiny = mark.infinite, mark.tiny
    return Shade(
        exact,
        rounded,
        scaled,
        infinite=None if left is None else (left.operation, left.stage),
        overflow=left is not None and left.kind == "overflow",
        strayed=left is not None and left.kind == "strayed",
        tiny=None if tiny is None else (tiny.operation, tiny.stage),
        trap=bool(mark.trap),
        opaque=opaque,
    )


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

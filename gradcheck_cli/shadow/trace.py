"""Where floats leave the range of their format, while the shadow's balls don't."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import torch
from flint import arb

from gradcheck_cli.algebra.layers import Cell
from gradcheck_cli.algebra.number import Ball
from gradcheck_cli.floats import Format
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
        return [
            t
            for a in self.arguments.values()
            for t in (a if isinstance(a, (list, tuple)) else (a,))
            if isinstance(t, torch.Tensor)
        ]


@dataclass(slots=True)
class Event:
    """The first operation at which an entry's float left the range of its format."""

    operation: str
    stage: str | None
    kind: str  # "overflow", "underflow"; where the exact result isn't finite either, "infinite" or "undefined"
    origin: Origin
    why: str | None = None

    def place(self, left_out: Origin | None = None) -> Place:
        """The operation, and what to do about a nan that comes of it; `left_out`: the selection that doesn't want it."""
        origin, found = self.origin, self.why
        if found is None and left_out is not None:
            found = selected(origin, left_out)
        elif found is None and self.kind in ("infinite", "undefined"):
            found = advice(origin)
        return Place(origin.operation, self.stage, origin.told, found)


PINNED = (
    "{} chooses a branch for this single point, and autograd differentiates that branch alone: the function goes on with "
    "another slope beside it"
)
_EQUALITIES = ("eq", "ne")

_KINDS = ("infinite", "undefined", "overflow")
"""The less that was meant, the later."""


@dataclass
class Trace:
    """What happened to each entry of the batch, by index, or to any entry at all, under the index 0: see `Event`. `trap`: the
    first nan came from a factor that is exactly 0, so that the infinity it met should not have mattered. `left_out`: by what
    selection, if that is what made it 0. `pinned`: the first comparison that found numbers equal."""

    infinite: dict[int, Event] = field(default_factory=dict)
    tiny: dict[int, Event] = field(default_factory=dict)
    trap: dict[int, bool] = field(default_factory=dict)
    left_out: dict[int, Origin | None] = field(default_factory=dict)
    pinned: dict[int, Origin] = field(default_factory=dict)

    def compared(self, seen: Seen, together: bool) -> None:
        """Record where a forward pass finds numbers equal: a branch for a single point."""
        if seen.operation not in _EQUALITIES:
            return
        origin = seen.origins.of(seen.operation)
        wanted = seen.operation != "ne"
        for entry in (seen.output == wanted).reshape(-1).nonzero().flatten().tolist() if origin.node is None else ():
            self.pinned.setdefault(0 if together else entry, origin)

    def shade(self, index: int, exact: Ball, rounded: Ball, opaque: tuple[str, ...]) -> Shade:
        """What the shadow saw of a result, from its cells in the first two layers."""
        left, tiny, pinned = self.infinite.get(index), self.tiny.get(index), self.pinned.get(index)
        return Shade(
            exact,
            rounded,
            infinite=None if left is None else left.place(self.left_out.get(index)),
            overflow=left is not None and left.kind == "overflow",
            tiny=None if tiny is None else tiny.place(),
            trap=self.trap.get(index, False),
            opaque=opaque,
            pinned=PINNED.format(pinned.told or pinned.operation) if pinned else None,
        )

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
            finite = cell.is_finite()
            if math.isfinite(value):
                if finite and index not in self.tiny and not cell.contains(0) and cell.abs_upper() < form.smallest_normal:
                    self.tiny[index] = _event(seen, "underflow")
                continue
            kind = "overflow" if finite else "undefined" if cell.is_nan() else "infinite"
            # together, an infinity that was meant (a mask) doesn't hide the one that wasn't, nor the nan that came of it
            if index not in self.infinite or (together and _KINDS.index(kind) > _KINDS.index(self.infinite[index].kind)):
                self.infinite[index] = _event(seen, kind)
            if math.isnan(value) and index not in self.trap:
                self.trap[index] = any(_exact_zero(a, entry) for a in before)
            if math.isnan(value) and self.left_out.get(index) is None:
                self.left_out[index] = seen.origins.left_out(seen.tensors(), seen.output, entry)


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

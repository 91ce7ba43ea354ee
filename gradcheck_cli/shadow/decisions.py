"""Decisions that code takes from its data: masks, indices, branches of Python.

Truth values and indices have cells of their own. Where those of a layer say something else than torch's, the layer goes its own
way as long as the shapes allow it. Where they say nothing, a border is near, and what a strict layer makes of it is unknown. A
layer `Moved` beside the point decides again what the point itself leaves open; what rounding alone had decided otherwise stays
as torch has it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from flint import arb

from gradcheck_cli.algebra.directions import Moved, moves
from gradcheck_cli.algebra.layers import Cell, Layer
from gradcheck_cli.algebra.number import NAN, ZERO
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import TABLE
from gradcheck_cli.shadow.aten import Operation
from gradcheck_cli.shadow.memory import DOUBLE, FLOATS, Memory

TELLING = frozenset({"_local_scalar_dense", "item", "is_nonzero"})
"""Operations that hand one entry to Python."""

_INDICES = frozenset({"index", "indices"})


DEEPEST = 4096
FINE = 2**10
"""A move by 2**e is told as that of FINE*(e + DEEPEST) ulps, at most 2**23 or 2e-9 of the number: in the order of the moves."""


class Border(BaseException):
    """A layer beside the point decides otherwise than torch does at the point: the run has to be taken again, with the point
    itself as layer 1. No Exception, so that the code that is run doesn't catch it."""


class Endless(BaseException):
    """Python asks more often than it did on torch's way."""


def at_the_point(memory: Memory, tensor: torch.Tensor) -> list[Cell]:
    """The cells of a tensor at the point itself, beside which a layer lies."""
    if len(memory.layers) < 2 or memory.layers[1].strict:
        raise Border
    return memory.read(tensor, 1, tuple(tensor.shape))


class Decisions:
    """What the layers of a memory say of truth values and indices.

    `turned`: operations whose truth values rounding alone made other than they are; `loose`: it might have, somewhere.
    `follow`: Python is told what they are;
    `limit`: of so many entries at most. `count`: how many it has been told of.
    """

    def __init__(self, memory: Memory, follow: bool = False, limit: int | None = None) -> None:
        self._memory, self._follow, self._limit = memory, follow, limit
        self.count = 0
        self.turned: dict[str, None] = {}
        self.loose = False
        self.branches = False
        """Exact arithmetic would tell Python something else than torch does."""
        self.numbers = False
        """Python has been told floats, which it may compare."""
        self.lost: set[int] = set()
        """Layers in which Python would have known no way to go."""

    def own(self, tensor: torch.Tensor, index: int) -> list[Any] | None:
        """The entries of a tensor of truth values or whole numbers as a layer has them; None where it doesn't know."""
        seen = tensor.detach().reshape(-1).tolist()
        if not self._memory.chosen(tensor):
            return seen
        strict, found = self._memory.layers[index].strict, []
        for cell, value in zip(self._memory.read(tensor, index, tuple(tensor.shape)), seen, strict=True):
            known = _content(cell, value)
            if known is None and (strict or cell is not None):
                return None
            found.append(value if known is None else known)
        return found

    # -- masks and indices ------------------------------------------------------------------------------------------

    def selecting(self, row: Operation, bound: Mapping[str, Any]) -> list[str]:
        """The arguments by which a row selects whose cells may differ from what torch sees."""
        names = [n for n in bound if n not in row.moves] if row.moves else [n for n in bound if n in _INDICES]
        return [n for n in names if any(map(self._may_differ, _listed(bound[n])))]

    def _may_differ(self, value: Any) -> bool:
        if not isinstance(value, torch.Tensor) or value.dtype in FLOATS or value.layout is not torch.strided:
            return False
        return self._memory.chosen(value)

    def chosen(self, bound: Mapping[str, Any], names: Sequence[str], index: int) -> Mapping[str, Any] | None:
        """The arguments as a layer has them; None where it doesn't know."""
        replaced: dict[str, Any] = {}
        for name in names:
            values = []
            for value in _listed(bound[name]):
                if self._may_differ(value):
                    own = self.own(value, index)
                    if own is None:
                        return None
                    value = torch.tensor(own, dtype=value.dtype, device=value.device).reshape(value.shape)
                values.append(value)
            replaced[name] = values if isinstance(bound[name], (list, tuple)) else values[0]
        return {**bound, **replaced}

    def masked(self, row: Operation, bound: Mapping[str, Any], index: int) -> list[Cell] | None:
        """What a single number written where a mask is true leaves of a tensor: a choice for each entry, as `where` has it."""
        if row.moves != ("self", "values") or bound["values"].numel() != 1:
            return None
        (mask, *others), x = bound["indices"], bound["self"]
        if others or mask is None or mask.dtype is not torch.bool:
            return None
        layer = self._memory.layers[index]
        choose = layer.function(TABLE[syntax.WHERE])
        assert choose is not None
        wide = mask.reshape(*mask.shape, *[1] * (x.dim() - mask.dim()))
        shape = tuple(x.shape)
        cells = (self._memory.read(t, index, shape) for t in (wide, bound["values"].reshape(()), x))
        return [choose(*three) for three in zip(*cells, strict=True)]

    # -- whole numbers ------------------------------------------------------------------------------------------------

    def indices(self, output: torch.Tensor, columns: Sequence[Sequence[Cell]], converted: bool) -> None:
        """Give a tensor of whole numbers its cells, where a layer has others than torch. `converted`: from what were none."""
        seen = output.detach().reshape(-1).tolist()
        found = [
            [_whole(cell, value, layer, converted) for cell, value in zip(column, seen, strict=True)]
            for layer, column in zip(self._memory.layers, columns, strict=True)
        ]
        if not self._memory.chosen(output) and all(
            _content(c, v) == v for column in found for c, v in zip(column, seen, strict=True)
        ):
            self._memory.forget(output)
            return
        for index, column in enumerate(found):
            self._memory.write(output, index, column)

    def carried(self, output: torch.Tensor, inputs: Sequence[torch.Tensor]) -> bool:
        """Truth values or whole numbers that aren't followed: torch's own, but unknown where a layer has other inputs; whether
        there is such a layer."""
        mine = [t for t in inputs if self._may_differ(t)]
        layers = range(len(self._memory.layers)) if mine else ()
        astray = {i for i in layers if any(self.own(t, i) != t.detach().reshape(-1).tolist() for t in mine)}
        if not astray:
            return False
        unknown = None if output.dtype is torch.bool else NAN
        seen = output.detach().reshape(-1).tolist()
        self._memory.forget(output)
        for index, layer in enumerate(self._memory.layers):
            self._memory.write(output, index, [unknown] * len(seen) if index in astray else list(layer.data(seen, DOUBLE)))
        return True

    def settled(self, output: torch.Tensor, cells: Sequence[Cell], inputs: Sequence[torch.Tensor], index: int) -> list[Cell]:
        """Truth values: torch's own where what was compared isn't finite, neither as a float nor as a ball that stays."""
        shape = tuple(output.shape)
        lasting = [False] * len(cells)
        for x in inputs:
            floats = x.detach().expand(shape).reshape(-1).tolist()
            known = self._memory.read(x, index, shape)
            lasting = [a or _stays(c, f) for a, c, f in zip(lasting, known, floats, strict=True)]
        seen = output.detach().reshape(-1).tolist()
        return [s if c is None and stays else c for c, stays, s in zip(cells, lasting, seen, strict=True)]

    # -- what torch itself does -----------------------------------------------------------------------------------------

    def told(self, tensor: torch.Tensor, value: Any) -> Any:
        """What Python is told of an entry: torch's value, or what a layer makes of it where that is to be followed."""
        self.count += 1
        if self._limit is not None and self.count > self._limit:
            raise Endless
        if tensor.dtype in FLOATS:
            return self._number(tensor, value)
        if not self._may_differ(tensor):
            return value
        answer, known = value, [self.own(tensor, index) for index in range(len(self._memory.layers))]
        beside = isinstance(self._memory.layers[0], Moved)
        for layer, own in zip(self._memory.layers, known, strict=True):
            if own in (None, [value]) or layer.stepwise or isinstance(layer, Moved) is not beside:
                continue
            if isinstance(layer, Moved):
                here = [_content(c, value) for c in at_the_point(self._memory, tensor)]
                followed = self._follow or here == [value]
            else:
                self.branches, followed = True, self._follow
            if followed:
                answer = type(value)(own[0])
                break
        for index, (layer, own) in enumerate(zip(self._memory.layers, known, strict=True)):
            # of rounding, the way that torch went is followed
            if (own is None and not layer.stepwise) or (layer.stepwise and answer != value and own != [answer]):
                self.lost.add(index)
        return answer

    def _number(self, tensor: torch.Tensor, value: float) -> float:
        """A float that Python may compare: beside the point it lies on that side, and by more where it moved by more."""
        self.numbers = True
        if not isinstance(self._memory.layers[0], Moved):
            return value
        (here,), (beside,) = at_the_point(self._memory, tensor), self._memory.read(tensor, 0, tuple(tensor.shape))
        away = beside - here
        if not (away > 0 or away < 0):
            return value
        mantissa, exponent = abs(away).mid().man_exp()
        ulps = max(1.0, (int(exponent) + math.log2(int(mantissa)) + DEEPEST) * FINE)
        return value + math.copysign(math.ulp(value) * ulps, 1 if away > 0 else -1)

    def retake(self, name: str, output: torch.Tensor) -> None:
        """Truth values that were just computed: beside the point torch goes on with those that are right there."""
        if output.dtype is not torch.bool or not self._memory.chosen(output):
            return
        seen, new = output.detach().reshape(-1).tolist(), None
        for index, layer in enumerate(self._memory.layers):
            moved = isinstance(layer, Moved)
            if not moved and index:
                continue
            cells = self._memory.read(output, index, tuple(output.shape))
            if not any(isinstance(c, bool) and c is not s for c, s in zip(cells, seen, strict=True)):
                continue
            if not moved:
                self.turned[name] = None
                continue
            here = at_the_point(self._memory, output)
            new = [c if isinstance(c, bool) and h is not (not s) else s for c, h, s in zip(cells, here, seen, strict=True)]
        if new is not None and new != seen:
            output.copy_(torch.tensor(new, device=output.device).reshape(output.shape))


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else (value,)


def _content(cell: Cell, seen: Any) -> Any:
    """The truth value or whole number of a cell; None where it isn't known. A symbol's is torch's."""
    if isinstance(cell, bool) or cell is None:
        return cell
    if moves(cell):
        return None
    if isinstance(cell, arb):
        return int(cell.unique_fmpz()) if cell.is_integer() else None
    return seen


def _stays(cell: Cell, value: float) -> bool:
    """Whether a number isn't finite, whatever moves."""
    return isinstance(cell, arb) and not cell.is_finite() and not math.isfinite(value)


def _truncated(cell: Cell) -> Cell:
    """A number without its fraction; unknown where that changes."""
    x = cell[0] if moves(cell) else cell
    if not isinstance(x, arb) or not x.is_finite():
        return cell
    if abs(x) < 1:
        return ZERO
    if moves(cell) and x.contains_integer():
        return NAN
    return x.floor() if x > 0 else x.ceil() if x < 0 else NAN


def _whole(cell: Cell, seen: Any, layer: Layer, converted: bool) -> Cell:
    cell = _truncated(cell) if converted else cell
    if isinstance(cell, arb) and cell.is_integer():
        return cell
    if isinstance(cell, arb) or moves(cell):
        unknown = layer.strict or (not converted and isinstance(cell, arb) and cell.is_nan())
        return NAN if unknown else layer.number(seen, DOUBLE)
    return layer.number(seen, DOUBLE)

"""Operations in which entries of different places meet: reductions, scans, contractions, sums into places.

Each takes a `Fold`, the call in one layer, and returns the cells of the outputs, one list each; outputs that hold no numbers
(indices) get none. Only functions of the layer are used, so that every layer gives them its own meaning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from itertools import accumulate
from operator import add, mul, truediv
from typing import Any

import numpy as np
import torch

from gradcheck_cli.algebra.directions import Moved
from gradcheck_cli.algebra.layers import Layer
from gradcheck_cli.floats import Format
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import TABLE
from gradcheck_cli.shadow.aten import Operation
from gradcheck_cli.shadow.convolutions import Flat, convolve, convolve_backward
from gradcheck_cli.shadow.decisions import at_the_point
from gradcheck_cli.shadow.memory import DOUBLE, FLOATS, Memory
from gradcheck_cli.shadow.shortened import Short, short


@dataclass(slots=True)
class Fold:
    """One call of an operation: its row, its arguments by name, the layer to work in."""

    row: Operation
    bound: Mapping[str, Any]
    outputs: Sequence[torch.Tensor | None]
    memory: Memory
    index: int

    @property
    def form(self) -> Format | None:
        """The format of the result."""
        return next((FLOATS.get(o.dtype) for o in self.outputs if o is not None), None)

    @property
    def short(self) -> Short:
        """What torch's switches allow the kernel."""
        return short(self.row.fold, self.outputs)

    @property
    def layer(self) -> Layer:
        return self.memory.layers[self.index].within(self.form)

    def cells(self, name: str) -> Flat:
        """The entries of an argument, numbers, in order."""
        tensor = self.bound[name]
        cells = self.memory.read(tensor, self.index, tuple(tensor.shape))
        if tensor.dtype is torch.bool:
            return list(map(self.layer.real, cells))
        given, wanted = FLOATS.get(tensor.dtype), self.short.factors if name != "bias" else None
        wanted = wanted or self.form
        if given is not None and wanted is not None and given.bits > wanted.bits:
            return [self.layer.convert(c, wanted) for c in cells]
        return cells

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.bound[name].shape)


# -- along axes ---------------------------------------------------------------------------------------------------------


def _total(fold: Fold) -> list[Flat]:
    """Sums over some or all axes."""
    cells, layer = fold.cells("self"), fold.layer

    def total(some: Flat) -> Any:
        return reduce(add, some) if fold.form is None and some else layer.total(some)  # whole numbers aren't rounded

    return [[total([cells[i] for i in row]) for row in _rows(fold)]]


def _mean(fold: Fold) -> list[Flat]:
    rows = _rows(fold)
    divide = fold.layer.function(TABLE[syntax.DIV]) or truediv
    count = fold.layer.number(len(rows[0]) if rows else 1, DOUBLE)
    return [[divide(c, count) for c in _total(fold)[0]]]


def _reduce(fold: Fold) -> list[Flat]:
    """The step, from entry to entry, over some or all axes. Of nothing: the product 1."""
    cells, step = fold.cells("self"), fold.row.combine(fold.layer)
    rows = _rows(fold)
    one = fold.layer.scalar(1)
    return [[reduce(step, [cells[i] for i in row]) if row else one for row in rows]]


def _scan(fold: Fold) -> list[Flat]:
    """The step along one axis, every intermediate result kept."""
    cells, step = fold.cells("self"), fold.row.combine(fold.layer)
    found: Flat = [None] * len(cells)
    for row in _rows(fold):
        for i, cell in zip(row, accumulate((cells[i] for i in row), step), strict=True):
            found[i] = cell
    return [found]


_SEEN: Mapping[str, Callable[[float], bool]] = {
    "isnan": math.isnan,
    "isposinf": lambda x: x == math.inf,
    "isneginf": lambda x: x == -math.inf,
}


def asked(row: Operation, bound: Mapping[str, Any]) -> Callable[[float], bool]:
    """What is asked of a number."""
    if row.name in _SEEN:
        return _SEEN[row.name]
    infinity = bound["other"] if isinstance(bound["other"], float) else None
    return lambda x: (x == (x if infinity is None else infinity)) is (row.name == syntax.EQ)


def _kind(fold: Fold) -> list[Flat]:
    """What kind of number an entry is: torch's own answer (who asks means its range), unless a border is near, which is a float
    that is a number, or a cell that moves, without a value."""
    layer, answer, x = fold.layer, asked(fold.row, fold.bound), fold.bound["self"]
    floats, cells = x.detach().reshape(-1).tolist(), fold.cells("self")
    if not layer.strict:
        return [list(layer.data(list(map(answer, floats)), DOUBLE))]
    found = [answer(f) if layer.lasting(c, math.isfinite(f)) else None for f, c in zip(floats, cells, strict=True)]
    if isinstance(layer, Moved) and not all(map(math.isfinite, floats)):
        here = at_the_point(fold.memory, x)
        for i, (cell, point) in enumerate(zip(cells, here, strict=True)):
            if cell.is_finite() and not point.is_finite():  # not its range: it has a value beside the point only
                found[i] = answer(0.0)
    return [found]


def _some(fold: Fold) -> list[Flat]:
    """Whether some, or all, are true."""
    step = fold.layer.function(TABLE[syntax.OR if fold.row.step == "or" else syntax.AND])
    assert step is not None
    name = fold.bound["self"]
    given = fold.memory.read(name, fold.index, tuple(name.shape))
    cells = given if name.dtype is torch.bool else list(map(fold.layer.truth, given))
    start = fold.layer.number(fold.row.step == "and", DOUBLE)
    return [[reduce(step, [cells[i] for i in row], start) for row in _rows(fold)]]


def _rows(fold: Fold) -> list[list[int]]:
    return rows_of(fold.shape("self"), axes_of(fold.bound))


def axes_of(bound: Mapping[str, Any]) -> tuple[int, ...]:
    """The axes of `self` along which entries meet: those of `dim`, or all."""
    axes, rank = bound.get("dim"), bound["self"].dim()
    chosen = [axes] if isinstance(axes, int) else axes or range(rank)
    return tuple(sorted({a % rank for a in chosen})) if rank else ()


@lru_cache(maxsize=1024)
def rows_of(shape: tuple[int, ...], axes: tuple[int, ...]) -> list[list[int]]:
    """The positions of the entries that meet, one list for each entry of the result."""
    kept = [a for a in range(len(shape)) if a not in axes]
    count = math.prod(shape[a] for a in kept)
    if not math.prod(shape):
        return [[] for _ in range(count)]
    rows: list[list[int]] = np.arange(math.prod(shape)).reshape(shape).transpose([*kept, *axes]).reshape(count, -1).tolist()
    return rows


# -- contractions ---------------------------------------------------------------------------------------------------------


def product_of(bound: Mapping[str, Any]) -> tuple[str, str, tuple[int, int, int, int]]:
    """The factors of a product of matrices, with or without a batch, and its sizes: of the batch, rows, what is added up, and
    columns. Vectors are matrices of one row or column."""
    left, right = (n for n in ("self", "mat2", "vec", "tensor", "other") if isinstance(bound.get(n), torch.Tensor))
    one, other = tuple(bound[left].shape), tuple(bound[right].shape)
    inner, columns = other[-2:] if len(other) > 1 else (*other, 1)
    return left, right, (one[0] if len(one) > 2 else 1, one[-2] if len(one) > 1 else 1, inner, columns)


def _product(fold: Fold) -> list[Flat]:
    """Matrix products."""
    left, right, (batch, rows, inner, columns) = product_of(fold.bound)
    xs, ys, one, other = fold.cells(left), fold.cells(right), rows * inner, inner * columns
    pairs = ((xs[b * one : (b + 1) * one], ys[b * other : (b + 1) * other]) for b in range(batch))
    return [[c for x, y in pairs for c in fold.layer.products(x, y, (rows, inner, columns), fold.short.sums)]]


def _convolution(fold: Fold) -> list[Flat]:
    bias = None if fold.bound["bias"] is None else fold.cells("bias")
    (output,) = fold.outputs
    assert output is not None
    cells = convolve(fold.bound, tuple(output.shape), fold.layer, fold.cells("input"), fold.cells("weight"))
    if bias is None:
        return [cells]
    plus = fold.layer.function(TABLE[syntax.ADD]) or add
    inner = math.prod(output.shape[2:])
    return [[plus(c, bias[i // inner % len(bias)]) for i, c in enumerate(cells)]]


def _convolution_backward(fold: Fold) -> list[Flat]:
    grads = fold.cells("grad_output")
    needed = [o is not None for o in fold.outputs]
    found = convolve_backward(fold.bound, fold.layer, grads, fold.cells("input"), fold.cells("weight"), needed)
    bias: Flat = []
    if needed[2]:
        shape = fold.shape("grad_output")
        every = tuple(a for a in range(len(shape)) if a != 1)
        bias = [fold.layer.total([grads[i] for i in row]) for row in rows_of(shape, every)]
    return [*found, bias]


# -- sums into places -------------------------------------------------------------------------------------------------------


def _places(tensor: torch.Tensor) -> torch.Tensor:
    """The number of each entry."""
    return torch.arange(tensor.numel(), device=tensor.device).reshape(tensor.shape)


def targets_of(bound: Mapping[str, Any]) -> tuple[str, torch.Tensor]:
    """What is combined with entries of `self`, and the place in `self` of each of its entries."""
    name = next(n for n in ("src", "source", "values") if n in bound)
    places = _places(bound["self"])
    if "indices" in bound:
        return name, places[tuple(slice(None) if i is None else i for i in bound["indices"])]
    if "dim" not in bound:
        return name, places.take(bound["index"])
    if not places.ndim:
        return name, places.expand(bound["index"].shape)
    if name == "src":
        return name, places.gather(bound["dim"], bound["index"])
    return name, places.index_select(bound["dim"], bound["index"])


def corner_of(tensor: torch.Tensor, targets: torch.Tensor) -> list[int]:
    """Which entries of the tensor an index covers that is smaller."""
    found: list[int] = _places(tensor)[tuple(slice(n) for n in targets.shape)].reshape(-1).tolist()
    return found


def _meeting(fold: Fold) -> tuple[Flat, dict[int, Flat]]:
    """The entries of `self`, and for those that indices name what is to be combined with them."""
    bound, layer = fold.bound, fold.layer
    own, (name, targets) = fold.cells("self"), targets_of(bound)
    added = fold.memory.read(bound[name], fold.index, tuple(targets.shape)) if name == "values" else fold.cells(name)
    if name == "src" and targets.shape != bound[name].shape:  # only the corner that the index covers counts
        added = [added[i] for i in corner_of(bound[name], targets)]
    if bound.get("alpha", 1) != 1:
        scale, multiply = layer.scalar(bound["alpha"]), layer.function(TABLE[syntax.MUL]) or mul
        added = [multiply(scale, c) for c in added]
    meeting: dict[int, Flat] = {}
    for target, cell in zip(targets.reshape(-1).tolist(), added, strict=True):
        meeting.setdefault(target, []).append(cell)
    return own, meeting


def _scatter(fold: Fold) -> list[Flat]:
    """Adds entries to those entries of `self` that indices name, one by one."""
    own, meeting = _meeting(fold)
    plus = fold.layer.function(TABLE[syntax.ADD]) or add
    return [[reduce(plus, meeting[i], cell) if i in meeting else cell for i, cell in enumerate(own)]]


def _scatter_reduce(fold: Fold) -> list[Flat]:
    """Combines entries with those entries of `self` that indices name, or puts them in their place."""
    own, meeting = _meeting(fold)
    layer, kind = fold.layer, fold.bound["reduce"]
    plus, divide = layer.function(TABLE[syntax.ADD]) or add, layer.function(TABLE[syntax.DIV]) or truediv
    for place, cells in meeting.items():
        if fold.bound["include_self"]:
            cells.insert(0, own[place])
        if fold.row.step:
            own[place] = reduce(fold.row.combine(layer), cells)
        else:
            total = reduce(plus, cells)
            own[place] = divide(total, layer.number(len(cells), DOUBLE)) if kind == "mean" else total
    return [own]


FOLDS: Mapping[str, Callable[[Fold], list[Flat]]] = {
    "total": _total,
    "mean": _mean,
    "reduce": _reduce,
    "scan": _scan,
    "kind": _kind,
    "some": _some,
    "product": _product,
    "convolution": _convolution,
    "convolution_backward": _convolution_backward,
    "scatter": _scatter,
    "scatter_reduce": _scatter_reduce,
}
"""What the column `fold` names."""

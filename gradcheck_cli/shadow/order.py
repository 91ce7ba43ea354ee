"""Operations that go by the order of numbers: what they pick, and where it was.

Each layer orders its own cells. Numbers that may be equal share their ranks (`Layer.sorted`); where one of them lies is unknown
in a strict layer, unless they are tied for certain, and taken from torch elsewhere. An index is a number among a layer's cells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from gradcheck_cli.algebra.layers import Cell, Layer
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import TABLE
from gradcheck_cli.shadow.convolutions import Flat
from gradcheck_cli.shadow.folds import FOLDS, Fold, rows_of
from gradcheck_cli.shadow.memory import DOUBLE


class _Row:
    """Some numbers in ascending order, nan last as torch has it. `known`: how many aren't nan; `order`: of the floats."""

    def __init__(self, layer: Layer, cells: Sequence[Cell], floats: Sequence[float]) -> None:
        self._layer, self._cells = layer, cells
        self.order = places = sorted(range(len(cells)), key=lambda i: (math.isnan(floats[i]), floats[i]))
        self.known = sum(not math.isnan(f) for f in floats)
        ranks = layer.ranks([cells[i] for i in places[: self.known]])
        self._groups = [[places[i] for i in group] for group in ranks] + [[i] for i in places[self.known :]]
        self._where = [(group, k) for group in self._groups for k in range(len(group))]
        shared = ([cells[i] for i in group] for group in self._groups)
        self.values = [c for some in shared for c in (layer.sorted(some) if len(some) > 1 else some)]

    def place(self, rank: int, seen: int) -> Cell:
        """Where the number of this rank lies, which torch has seen at `seen`."""
        group, k = self._where[rank]
        if self.known < len(self._cells):
            return _index(self._layer, seen)
        if len(group) > 1 and self._layer.strict and not self._layer.tied([self._cells[i] for i in group]):
            return _index(self._layer, math.nan)
        return _index(self._layer, seen if seen in group else group[k])

    def common(self) -> tuple[int, Cell]:
        """The first rank of the smallest of the most frequent numbers, and that number."""
        group = max(self._groups, key=len)
        cells = [self._cells[i] for i in group]
        if self._layer.strict and not all(self._layer.tied([self._cells[i] for i in g]) for g in self._groups):
            return 0, self._layer.number(math.nan, DOUBLE)
        return next(r for r, (g, _) in enumerate(self._where) if g is group), self._layer.sorted(cells)[0]


def _index(layer: Layer, place: float) -> Cell:
    return layer.number(float(place), DOUBLE)


def _ordered(fold: Fold) -> tuple[list[list[int]], list[_Row]]:
    """The positions of the entries of each row along `dim` (all entries without one), and each row in order."""
    shape, dim = fold.shape("self"), fold.bound.get("dim")
    rows = rows_of(shape, tuple(range(len(shape))) if dim is None or not shape else (dim % len(shape),))
    cells, floats = fold.cells("self"), fold.bound["self"].detach().reshape(-1).tolist()
    return rows, [_Row(fold.layer, [cells[i] for i in row], [floats[i] for i in row]) for row in rows]


def _seen(fold: Fold, output: int) -> list[int]:
    """Torch's indices, an output."""
    tensor = fold.outputs[output] if len(fold.outputs) > output else None
    found: list[int] = [] if tensor is None else tensor.reshape(-1).tolist()
    return found


def _ranked(fold: Fold, ranks: Callable[[_Row, Sequence[int]], Sequence[int]]) -> list[Flat]:
    """What lies at some ranks of each row, and where it lies."""
    rows, found = _ordered(fold)
    first = fold.outputs[0]
    assert first is not None
    shape, dim = tuple(first.shape), fold.bound.get("dim")
    along = dim % len(shape) if dim is not None and len(shape) == len(fold.shape("self")) and shape else None
    into = [[i] for i in range(len(rows))] if along is None else rows_of(shape, (along,))
    seen = _seen(fold, 1)
    values: Flat = [None] * first.numel()
    places: Flat = [None] * len(seen)
    for row, positions in zip(found, into, strict=True):
        torchs = [seen[p] for p in positions] if seen else []
        for k, (position, rank) in enumerate(zip(positions, ranks(row, torchs), strict=True)):
            values[position] = row.values[rank] if row.values else fold.layer.number(math.nan, DOUBLE)
            if seen:
                places[position] = row.place(rank, torchs[k])
    return [values, places]


def _sort(fold: Fold) -> list[Flat]:
    down = fold.bound["descending"]
    return _ranked(fold, lambda row, seen: range(len(row.values))[:: -1 if down else 1])


def _topk(fold: Fold) -> list[Flat]:
    count, step = fold.bound["k"], -1 if fold.bound["largest"] else 1

    def ranks(row: _Row, seen: Sequence[int]) -> Sequence[int]:
        chosen = range(len(row.values))[::step][:count]
        if fold.bound["sorted"]:
            return chosen
        order = sorted(range(count), key=lambda k: row.order.index(seen[k]))  # torch's own places tell which is which
        return [rank for _, rank in sorted(zip(order, sorted(chosen), strict=True))]

    return _ranked(fold, ranks)


def _kthvalue(fold: Fold) -> list[Flat]:
    return _ranked(fold, lambda row, seen: [fold.bound["k"] - 1])


def _median(fold: Fold) -> list[Flat]:
    """The lower one of the two in the middle; nan where there is one."""
    return _ranked(fold, lambda row, seen: [(row.known - 1) // 2 if row.known == len(row.values) else -1])


def _nanmedian(fold: Fold) -> list[Flat]:
    return _ranked(fold, lambda row, seen: [(row.known - 1) // 2 if row.known else -1])


def _mode(fold: Fold) -> list[Flat]:
    _, found = _ordered(fold)
    common, seen = [row.common() for row in found], _seen(fold, 1)
    return [[value for _, value in common], [r.place(k, i) for r, (k, _), i in zip(found, common, seen, strict=True)]]


def _extreme(fold: Fold) -> list[Flat]:
    """The step from entry to entry over some axes, and, where torch says it too, the place of what is left."""
    (values,) = FOLDS["reduce"](fold)
    return [values, _extreme_place(fold, 1)] if len(fold.outputs) > 1 else [values]


def _place(fold: Fold) -> list[Flat]:
    return [_extreme_place(fold, 0)]


def _extreme_place(fold: Fold, output: int) -> Flat:
    rank = -1 if fold.row.name.endswith("max") else 0
    return [row.place(rank, i) for row, i in zip(_ordered(fold)[1], _seen(fold, output), strict=True)]


def _buckets(fold: Fold) -> list[Flat]:
    """How many of the ascending boundaries lie below each number (or at it, if `right`)."""
    bound, layer = fold.bound, fold.layer
    name = "boundaries" if "boundaries" in bound else "sorted_sequence"
    edges, values = bound[name], bound["self"]
    right, at_most = bound["right"] or bound.get("side") == "right", layer.function(TABLE[syntax.LE])
    assert at_most is not None

    def below(edge: Cell, cell: Cell) -> bool | None:
        answer = at_most(edge, cell) if right else at_most(cell, edge)
        return (answer is right) if isinstance(answer, bool) else None

    cells = fold.cells("self") if hasattr(values, "shape") else [layer.scalar(values)]
    limits, size = fold.cells(name), edges.shape[-1]
    each = len(cells) if edges.dim() == 1 else values.shape[-1]
    found: Flat = []
    for i, (cell, seen) in enumerate(zip(cells, _seen(fold, 0), strict=True)):
        row = limits[i // each * size : (i // each + 1) * size] if edges.dim() > 1 else limits
        place: float = seen
        if not all(below(row[j], cell) is (j < seen) for j in (seen - 1, seen) if 0 <= j < size):
            answers = [below(edge, cell) for edge in row]
            known = None not in answers
            place = sum(map(bool, answers)) if known else math.nan if layer.strict else seen
        found.append(_index(layer, place))
    return [found]


ORDERED: Mapping[str, Callable[[Fold], list[Flat]]] = {
    "sort": _sort,
    "topk": _topk,
    "kthvalue": _kthvalue,
    "median": _median,
    "nanmedian": _nanmedian,
    "mode": _mode,
    "extreme": _extreme,
    "place": _place,
    "buckets": _buckets,
}
"""What the column `fold` names."""

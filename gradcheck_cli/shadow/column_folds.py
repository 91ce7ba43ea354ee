"""Operations in which entries of different places meet, on columns: the table of `shadow.folds` once more, on whole arrays.

A cell holds all entries of a tensor, in order, as arrays whose last axis they are: its words, then its radii; one number may
stand for all. Each fold returns a cell for each output, None where it says nothing. Of a layer only `total` and `dot`, rows of
the function table and constants are used, so that any layer of columns can have entries that meet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gradcheck_cli.algebra.columns.layer import Cell, ColumnLayer
from gradcheck_cli.algebra.columns.words import OPEN
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import TABLE
from gradcheck_cli.shadow.aten import Operation
from gradcheck_cli.shadow.convolutions import Indices, Sizes, settings_of, taps
from gradcheck_cli.shadow.folds import asked, axes_of, corner_of, product_of, targets_of
from gradcheck_cli.shadow.memory import DOUBLE

AT_ONCE = 1 << 18
"""Entries that are gathered at once, where each is used many times."""

LONGEST = 1 << 13
"""Entries of a scan, which go one after the other."""


@dataclass(slots=True)
class Call:
    """One call of an operation: its row, its arguments by name, the layer to work in, what reads an argument in that layer,
    flat or in its own shape; and whether a kernel is allowed to add up in a short format."""

    row: Operation
    bound: Mapping[str, Any]
    outputs: Sequence[torch.Tensor | None]
    layer: ColumnLayer
    read: Callable[..., Cell]
    short: bool = False

    def function(self, name: str) -> Callable[..., Cell]:
        """A row of the function table, which every layer has."""
        found = self.layer.function(TABLE[name])
        assert found is not None
        return found

    def numbers(self, name: str) -> Cell:
        """The entries of an argument, all of them there."""
        return whole(self.read(name), self.bound[name].numel())


Cells = list[Cell | None]


def whole(cell: Cell, count: int) -> Cell:
    """A cell of so many entries, one of which may stand for all."""
    return tuple(np.broadcast_to(part, (*np.shape(part)[:-1], count)) for part in cell)


def taken(cell: Cell, places: Any) -> Cell:
    """The entries at these places, in order."""
    return tuple(np.take(part, np.reshape(places, -1), axis=-1) for part in cell)


def arranged(cell: Cell, shape: Sequence[int], order: Sequence[int]) -> Cell:
    """The entries of a tensor whose axes are put into another order."""
    if list(order) == list(range(len(shape))):
        return cell
    found = []
    for part in cell:
        lead = np.shape(part)[:-1]
        axes = [*range(len(lead)), *(a + len(lead) for a in order)]
        found.append(part.reshape(*lead, *shape).transpose(axes).reshape(*lead, -1))
    return tuple(found)


def joined(cells: Sequence[Cell]) -> Cell:
    """The entries of several cells, one after the other."""
    return cells[0] if len(cells) == 1 else tuple(np.concatenate(parts, axis=-1) for parts in zip(*cells, strict=True))


# -- along axes ---------------------------------------------------------------------------------------------------------


def _rows(call: Call, first: bool = False) -> tuple[Cell, int, int]:
    """The entries of `self`, those that meet one after the other (`first`: apart by as many as there are rows); how many rows
    there are, and how long they are."""
    shape, axes = tuple(call.bound["self"].shape), axes_of(call.bound)
    kept = [a for a in range(len(shape)) if a not in axes]
    order = [*axes, *kept] if first else [*kept, *axes]
    count = math.prod(shape[a] for a in axes)
    return arranged(call.numbers("self"), shape, order), math.prod(shape[a] for a in kept), count


def _total(call: Call) -> Cells:
    cell, kept, count = _rows(call)
    return [call.layer.total(cell, kept, count)]


def _mean(call: Call) -> Cells:
    cell, kept, count = _rows(call)
    return [call.function(syntax.DIV)(call.layer.total(cell, kept, count), call.layer.literal(float(max(count, 1)), DOUBLE))]


def _reduce(call: Call) -> Cells:
    cell, kept, count = _rows(call, first=True)
    return [_folded(call, cell, kept, count)] if count else [None]


def _folded(call: Call, cell: Cell, kept: int, count: int) -> Cell:
    """The step between entries that are apart by `kept`, in pairs."""
    step = call.row.combine(call.layer)
    while count > 1:
        half = count // 2 * kept
        one, other, rest = (
            tuple(part[..., start:stop] for part in cell)
            for start, stop in ((0, half), (half, 2 * half), (2 * half, count * kept))
        )
        found = whole(step(one, other), half)
        cell = joined([found, rest]) if count % 2 else found
        count = count // 2 + count % 2
    return cell


def _scan(call: Call) -> Cells:
    shape, (axis,) = tuple(call.bound["self"].shape), axes_of(call.bound) or (0,)
    cell, kept, count = _rows(call, first=True)
    if count > LONGEST or not shape:
        return [None]
    step = call.row.combine(call.layer)
    found: list[Cell] = []
    for start in range(0, count * kept, kept):
        entry = tuple(part[..., start : start + kept] for part in cell)
        found.append(whole(step(found[-1], entry), kept) if found else entry)
    order = [axis, *(a for a in range(len(shape)) if a != axis)]
    back = [order.index(a) for a in range(len(shape))]
    return [arranged(joined(found), [shape[a] for a in order], back)]


def _extreme(call: Call) -> Cells:
    """The step, and where torch has found its result, if that is certain."""
    (values,) = _reduce(call)
    return [values, *(_placed(call, place) for place in call.outputs[1:])]


def _place(call: Call) -> Cells:
    return [_placed(call, call.outputs[0])]


def _placed(call: Call, place: torch.Tensor | None) -> Cell | None:
    """Nothing, no part at all, where no entry of a row can be beyond that at torch's place."""
    cell, kept, count = _rows(call, first=True)
    if place is None or place.numel() != kept or not count:
        return None
    chosen = place.detach().reshape(-1).cpu().numpy()
    winner = taken(cell, np.tile(chosen * kept + np.arange(kept), count))
    at_least = call.function("ge" if call.row.name.endswith("max") else "le")
    holds, _ = at_least(winner, cell)
    itself = np.repeat(np.arange(count), kept) == np.tile(chosen, count)
    return () if np.all(_everywhere(holds) | itself) else None


def _ranked(call: Call) -> Cells:
    """What torch has found at some ranks of a row, where the order certainly is its own."""
    if len(call.outputs) < 2 or call.outputs[1] is None or call.bound.get("sorted") is False or not call.bound["self"].dim():
        return [None] * len(call.outputs)
    cell, kept, count = _rows(call, first=True)
    (axis,), rank, places = axes_of(call.bound), call.bound["self"].dim(), call.outputs[1].detach().cpu().numpy()
    chosen = np.moveaxis(places, axis, 0).reshape(-1, kept) if places.ndim == rank else places.reshape(1, kept)
    many = len(chosen)
    picked = taken(cell, chosen * kept + np.arange(kept))
    last = tuple(np.tile(part[..., -kept:], count) for part in picked)
    at_most = call.function("le")
    below, above = (_everywhere(at_most(*pair)[0]).reshape(count, kept) for pair in ((cell, last), (last, cell)))
    itself = (chosen[:, None] == np.arange(count)[:, None]).any(0)
    if call.row.fold in ("sort", "topk"):
        down = bool(call.bound.get("descending", call.bound.get("largest")))
        sure = ((below if down else above) | itself).all(0)
        if many > 1:
            one, other = (tuple(part[..., some] for part in picked) for some in (slice(None, -kept), slice(kept, None)))
            sure &= _everywhere(at_most(*((other, one) if down else (one, other)))[0]).reshape(-1, kept).all(0)
    else:
        place = call.bound["k"] - 1 if call.row.fold == "kthvalue" else (count - 1) // 2
        less, more = (below & ~above & ~itself).sum(0), (above & ~below & ~itself).sum(0)
        sure = (below | above | itself).all(0) & (less <= place) & (place < count - more)
    *words, radii = picked
    order = [axis, *(a for a in range(rank) if a != axis)]
    shape = [many, *(call.bound["self"].shape[a] for a in order[1:])]
    found = arranged((*words, np.where(np.tile(sure, many), radii, OPEN)), shape, [order.index(a) for a in range(rank)])
    return [found, () if sure.all() else None]


def _everywhere(mask: Any) -> Any:
    """Where a condition holds in every ball."""
    return mask.all(0) if np.ndim(mask) > 1 else mask


def _kind(call: Call) -> Cells:
    """Torch's own answer where the number and its float are finite, or the same infinity."""
    answer, floats = asked(call.row, call.bound), call.bound["self"].detach().reshape(-1).cpu().double().numpy()
    centre, *_, radii = call.numbers("self")
    known = np.isfinite(radii).all(0) & np.where(np.isfinite(floats), np.isfinite(centre), centre == floats)
    yes = np.select([floats == kind for kind in (math.inf, -math.inf)], [answer(math.inf), answer(-math.inf)], answer(0.0))
    return [(known & yes, known & ~yes)]


def _some(call: Call) -> Cells:
    given, kept, count = _rows(call)
    truths = call.layer.truth(given)
    either = call.row.step == "or"
    found = []
    for mask, any_of in zip(truths, (either, not either), strict=True):
        rows = np.broadcast_to(mask, (*np.shape(mask)[:-1], kept * count)).reshape(*np.shape(mask)[:-1], kept, count)
        found.append(rows.any(-1) if any_of else rows.all(-1))
    return [tuple(found)]


# -- contractions ---------------------------------------------------------------------------------------------------------


def _product(call: Call) -> Cells:
    left, right, sizes = product_of(call.bound)
    return [call.layer.dot(call.read(left, flat=False), call.read(right, flat=False), *sizes, call.short)]


class _Geometry:
    """A convolution: from `inputs` to `outputs` (of a transposed one: as if from its output to its input)."""

    def __init__(self, bound: Mapping[str, Any], output: Sequence[int]) -> None:
        self.groups = int(bound["groups"])
        self.weight = tuple(bound["weight"].shape)
        one, other = tuple(bound["input"].shape), tuple(output)
        self.inputs: Sizes
        self.outputs: Sizes
        self.inputs, self.outputs = (other, one) if bound["transposed"] else (one, other)
        sizes = (self.outputs[2:], self.inputs[2:], self.weight[2:])
        self._axes = [taps(*axis) for axis in zip(*sizes, *settings_of(bound), strict=True)]
        self.kernel = math.prod(self.weight[2:])
        self.batch = self.inputs[0]

    def forward(self) -> Indices:
        """For each position of the output and each of the kernel: where they meet the input, -1 where not."""
        return self._flat(self._axes, self.inputs)

    def backward(self) -> Indices:
        """For each position of the input and each of the kernel: where they meet the output."""
        turned = []
        for axis, (there, size) in enumerate(zip(self._axes, self.inputs[2:], strict=True)):
            back = np.full((size, self.weight[2 + axis]), -1)
            o, k = np.nonzero(there >= 0)
            back[there[o, k], k] = o
            turned.append(back)
        return self._flat(turned, self.outputs)

    @staticmethod
    def _flat(axes: Sequence[Indices], sizes: Sequence[int]) -> Indices:
        found, rank = np.zeros((1, 1), dtype=np.int64), len(axes)
        for axis in range(rank):
            one, size = axes[axis], sizes[2 + axis]
            both = found[:, None, :, None] * size + one[None, :, None, :]
            outside = (found[:, None, :, None] < 0) | (one[None, :, None, :] < 0)
            found = np.where(outside, -1, both).reshape(len(found) * len(one), -1)
        return found


def _gathered(cell: Cell, shape: Sequence[int], groups: int, places: Indices, some: slice) -> Cell:
    """Of a tensor (batch, channels, space), for each group its channels at some of the places, times the kernel, and all of the
    batch: (groups, channels/groups, kernel, batch, places); 0 where nothing is."""
    batch, channels, space = shape[0], shape[1], math.prod(shape[2:])
    chosen = places[some].T.reshape(-1)  # the kernel, then places
    group = np.arange(channels)[:, None, None, None] * space + np.arange(batch)[None, None, :, None] * channels * space
    inside = chosen.reshape(1, places.shape[1], 1, -1)
    index = np.where(inside < 0, batch * channels * space, group + inside)
    assert groups and index.shape[0] == channels
    return taken(tuple(np.concatenate([part, np.zeros_like(part[..., :1])], axis=-1) for part in cell), index)


def _pieces(size: int, count: int) -> Iterator[slice]:
    """Of so many places, each of so many entries: AT_ONCE entries at a time."""
    few = max(1, AT_ONCE // max(size, 1))
    for start in range(0, count, few):
        yield slice(start, min(start + few, count))


def _convolved(call: Call, weight: Cell, x: Cell, shape: Sequence[int], places: Indices, channels: int, groups: int) -> Cell:
    """Gathers `x` by the places, and combines the channels and the kernel with a weight (groups, channels/groups, ...):
    (batch, channels, places)."""
    batch, own, kernel, found = shape[0], shape[1] // groups, places.shape[1], []
    for some in _pieces(shape[0] * shape[1] * kernel, len(places)):
        there = _gathered(x, shape, groups, places, some)
        columns = batch * (some.stop - some.start)
        cell = call.layer.dot(weight, there, groups, channels // groups, own * kernel, columns, True)
        found.append(arranged(whole(cell, channels * columns), (channels, batch, some.stop - some.start), (1, 0, 2)))
    return _beside(found, batch * channels)


def _beside(cells: Sequence[Cell], rows: int) -> Cell:
    """Matrices of so many rows, side by side."""
    if len(cells) == 1:
        return cells[0]
    parts = []
    for several in zip(*cells, strict=True):
        lead = np.shape(several[0])[:-1]
        parts.append(np.concatenate([p.reshape(*lead, rows, -1) for p in several], axis=-1).reshape(*lead, -1))
    return tuple(parts)


def _weights(call: Call, g: Cell, x: Cell, geometry: _Geometry) -> Cell:
    """The gradient of the weight: for each of its entries the sum over the batch and the places of the output."""
    groups, batch, places = geometry.groups, geometry.batch, geometry.forward()
    channels, own = geometry.outputs[1], geometry.inputs[1]
    space = len(places)
    grads = arranged(g, (batch, channels, space), (1, 0, 2))  # (groups, channels/groups, batch*space)
    found = []
    for some in _pieces(batch * own * space, geometry.kernel):
        there = _gathered(x, geometry.inputs, groups, places[:, some], slice(None))
        count = some.stop - some.start
        there = arranged(there, (groups, own // groups, count, batch * space), (0, 3, 1, 2))
        rows, columns = channels // groups, own // groups * count
        cell = call.layer.dot(grads, there, groups, rows, batch * space, columns, True)
        found.append(whole(cell, channels * columns))
    return _beside(found, channels * (own // groups)) if len(found) > 1 else found[0]


def _turned(weight: Cell, geometry: _Geometry) -> Cell:
    """The weight, its two kinds of channels exchanged within each group."""
    one, other, groups = geometry.weight[0], geometry.weight[1], geometry.groups
    return arranged(weight, (groups, one // groups, other, geometry.kernel), (0, 2, 1, 3))


def _onwards(call: Call, geometry: _Geometry, x: Cell, weight: Cell) -> Cell:
    """From the input's channels to the output's."""
    return _convolved(call, weight, x, geometry.inputs, geometry.forward(), geometry.outputs[1], geometry.groups)


def _back(call: Call, geometry: _Geometry, g: Cell, weight: Cell) -> Cell:
    """From the output's channels to the input's."""
    turned = _turned(weight, geometry)
    return _convolved(call, turned, g, geometry.outputs, geometry.backward(), geometry.inputs[1], geometry.groups)


def _convolution(call: Call) -> Cells:
    (output,) = call.outputs
    assert output is not None
    geometry = _Geometry(call.bound, output.shape)
    run = _back if call.bound["transposed"] else _onwards
    found = run(call, geometry, call.numbers("input"), call.numbers("weight"))
    if call.bound["bias"] is None:
        return [found]
    channel = np.arange(output.numel()) // math.prod(output.shape[2:]) % output.shape[1]
    return [call.function(syntax.ADD)(found, taken(call.numbers("bias"), channel))]


def _convolution_backward(call: Call) -> Cells:
    bound, transposed = call.bound, call.bound["transposed"]
    geometry = _Geometry(bound, bound["grad_output"].shape)
    found: Cells = [None, None, None]
    g = call.numbers("grad_output")
    if call.outputs[0] is not None:
        found[0] = (_onwards if transposed else _back)(call, geometry, g, call.numbers("weight"))
    if call.outputs[1] is not None:
        x = call.numbers("input")
        found[1] = _weights(call, x, g, geometry) if transposed else _weights(call, g, x, geometry)
    shape = bound["grad_output"].shape
    if call.outputs[2] is not None:
        rows = arranged(g, (shape[0], shape[1], math.prod(shape[2:])), (1, 0, 2))
        found[2] = call.layer.total(rows, shape[1], shape[0] * math.prod(shape[2:]))
    return found


# -- sums into places -------------------------------------------------------------------------------------------------------


def _added(call: Call) -> tuple[Cell, Indices]:
    """What is combined with entries of `self`, and the place of each."""
    bound, (name, targets) = call.bound, targets_of(call.bound)
    added = call.numbers(name)
    if name == "values":
        numbers = np.arange(bound[name].numel()).reshape(tuple(bound[name].shape))
        added = taken(added, np.broadcast_to(numbers, tuple(targets.shape)))
    elif name == "src" and targets.shape != bound[name].shape:
        added = taken(added, corner_of(bound[name], targets))
    if bound.get("alpha", 1) != 1:
        added = whole(call.function(syntax.MUL)(call.layer.scalar(bound["alpha"]), added), targets.numel())
    return added, targets.reshape(-1).cpu().numpy()


def _combined(call: Call, step: Callable[[Cell, Cell], Cell], own: bool = True) -> tuple[Cell, Indices] | None:
    """`self`, with what is combined with its entries, one after the other at each place: all that come first, then all that
    come second, and so on; and how many they are. None where there are too many. `own`: the entry itself counts."""
    added, targets = _added(call)
    order = np.argsort(targets, kind="stable")
    places, starts, counts = np.unique(targets[order], return_index=True, return_counts=True)
    if counts.max(initial=0) > LONGEST:
        return None
    found = tuple(np.array(part) for part in call.numbers("self"))
    for turn in range(int(counts.max(initial=0))):
        some = counts > turn
        new = taken(added, order[starts[some] + turn])
        if turn or own:
            new = step(taken(found, places[some]), new)
        for part, values in zip(found, whole(new, int(some.sum())), strict=True):
            part[..., places[some]] = values
    return found, np.bincount(targets, minlength=call.bound["self"].numel())


def _scatter(call: Call) -> Cells:
    """Adds entries to those entries of `self` that indices name, one by one."""
    found = _combined(call, call.function(syntax.ADD))
    return [None if found is None else found[0]]


def _scatter_reduce(call: Call) -> Cells:
    """Combines entries with those entries of `self` that indices name, or puts them in their place."""
    own, plus = bool(call.bound["include_self"]), call.function(syntax.ADD)
    found = _combined(call, call.row.combine(call.layer) if call.row.step else plus, own)
    if found is None or call.bound["reduce"] != "mean":
        return [None if found is None else found[0]]
    cell, counts = found
    met = np.flatnonzero(counts)
    divisors = call.layer.data(counts[met].astype(np.float64) + own)
    quotients = whole(call.function(syntax.DIV)(taken(cell, met), divisors), len(met))
    for part, values in zip(cell, quotients, strict=True):
        part[..., met] = values
    return [cell]


COLUMN_FOLDS: Mapping[str, Callable[[Call], Cells]] = {
    "total": _total,
    "mean": _mean,
    "reduce": _reduce,
    "scan": _scan,
    "kind": _kind,
    "some": _some,
    "extreme": _extreme,
    "place": _place,
    **dict.fromkeys(("sort", "topk", "kthvalue", "median", "nanmedian"), _ranked),
    "product": _product,
    "convolution": _convolution,
    "convolution_backward": _convolution_backward,
    "scatter": _scatter,
    "scatter_reduce": _scatter_reduce,
}
"""What the column `fold` names. The cell () of whole numbers says that torch's own are certain."""

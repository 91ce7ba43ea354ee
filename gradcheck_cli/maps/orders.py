"""Derivatives of higher orders, from the forward pass alone: mixed derivatives along directions, by jets.

The n-th derivative of a map is judged as the first one of another map: of what torch makes of the derivative before it, along
n - 1 directions that are fixed (`ahead`). Its truth owes nothing to that: the map's own forward pass (or the user's formula),
run with an infinitesimal for each of these directions and one for that in which the inputs are moved, has it as the coefficient
beside all of them. Difference quotients and limits take the map's values at displaced points, at several hundred bits.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradcheck_cli.algebra.directions import (
    Directional,
    Moved,
    Precise,
    ahead_of,
    beside,
    moves,
    moving,
    sided,
    slope,
    straight,
    value_of,
)
from gradcheck_cli.algebra.layers import Cell
from gradcheck_cli.algebra.number import NAN, ZERO, exactly
from gradcheck_cli.algebra.series import terms
from gradcheck_cli.exact.kinks import LOWER
from gradcheck_cli.floats import Floats
from gradcheck_cli.maps.map import Map, Tensors
from gradcheck_cli.maps.outside import forwards, outside
from gradcheck_cli.maps.runs import Cells, Formula, Runs, flat
from gradcheck_cli.verdict.truth import Kind, Truth

JETS = 16
"""Jets of one number that one forward pass carries."""

Ahead = Sequence[Mapping[str, Floats]]
"""Directions along which something is a derivative already: by the inputs that they move."""

Upstream = Mapping[str, str | Sequence[float]]
"""The cotangent of every output that counts: what moves under a name of its own, or numbers."""


@dataclass(frozen=True)
class Part:
    """What is differentiated once more: the derivative along `ahead` of the outputs combined with their cotangents; without
    `upstream` of every entry of the output `of`."""

    ahead: Ahead
    upstream: Upstream | None = None
    of: str = ""


class Orders:
    """The truth of higher derivatives of a map: what `Runs` are for first ones. `parts`: by the names of the rows or outputs
    that torch differentiates. All have as many directions ahead."""

    def __init__(
        self,
        map: Map,
        parts: Mapping[str, Part],
        formula: Formula | None,
        checkpoint: Callable[[], None],
        mode: str,
        ahead: Callable[[float, float], None] = lambda left, done: None,
    ) -> None:
        self.map, self.parts = map, parts
        self.runs = Runs(map, formula, checkpoint, mode, ahead)

    @property
    def order(self) -> int:
        """Of the derivatives whose truth is asked for."""
        return 1 + max(len(part.ahead) for part in self.parts.values())

    @property
    def doubtful(self) -> bool:
        """Whether the forward pass takes in numbers from outside of torch that may depend on the inputs."""
        if self._doubtful is None:
            found = outside(self.map, forwards, [])
            self._doubtful = found is not None
        return self._doubtful

    _doubtful: bool | None = None

    def along(self, moved: Sequence[Cells], layer: type[Directional]) -> list[dict[str, list[Cell]]]:
        """The parts as series in the distance, from inputs and cotangents as such series."""
        jobs = [(n, name) for n in range(len(moved)) for name in self.parts]
        found: list[dict[str, list[Cell]]] = [{} for _ in moved]
        for (n, name), cells in zip(jobs, self._run(jobs, moved, layer), strict=True):
            found[n][name] = cells
        if self.order == 2 and not self.runs.opaque:
            # Off a border that the direction ahead crosses alone, both sides must say the same.
            jobs = [(n, name) for n, name in jobs if not all(map(_known, found[n][name]))]
            for (n, name), above, below in self._sides(jobs, moved, layer):
                found[n][name] = list(map(_common, above, below))
        return found

    def borders(self, moved: Cells, part: str, index: int) -> Truth | None:
        """The derivative of an entry of a part at a border, if that is known without limits: from both sides of one that the
        direction ahead crosses alone; none at all where what is differentiated jumps."""
        if self.order != 2 or self.runs.opaque:
            return None
        job = [(0, part)]
        ((_, above, below),) = self._sides(job, [moved], Directional)
        sides = [slope(cells[index]) for cells in (above, below)]
        if all(side.is_finite() for side in sides):
            return Truth(Kind.NONDIFFERENTIABLE, left=min(sides), right=max(sides), singular=True)
        near = [self._run(job, [moved], sided(Directional, 1, second))[0] for second in (1, -1)]
        values = [value_of(cells[index]) for cells in near]
        if all(value.is_finite() for value in values) and not values[0].overlaps(values[1]):
            return Truth(Kind.NONDIFFERENTIABLE, singular=True, free=True, text=LOWER)
        return None

    def _sides(
        self, jobs: Sequence[tuple[int, str]], moved: Sequence[Cells], layer: type[Directional]
    ) -> list[tuple[tuple[int, str], list[Cell], list[Cell]]]:
        """Some parts above and below the borders that the direction ahead crosses alone."""
        above, below = (self._run(jobs, moved, sided(layer, first)) for first in (1, -1))
        return list(zip(jobs, above, below, strict=True))

    def _run(self, jobs: Sequence[tuple[int, str]], moved: Sequence[Cells], layer: type[Directional]) -> list[list[Cell]]:
        """Some parts along some directions."""
        found: list[list[Cell]] = []
        for start in range(0, len(jobs), JETS):
            batch = jobs[start : start + JETS]
            with terms(self.order + 1):
                seeds = [self._seeded(moved[n], self.parts[name].ahead) for n, name in batch]
                # the point itself goes first: it shows what rounding decided
                _, *outputs = self.runs.forward([Precise(), *(layer() for _ in batch)], [self.runs.exact, *seeds])
            found += [_series(self.parts[name], cells, moved[n]) for (n, name), cells in zip(batch, outputs, strict=True)]
        return found

    def nearby(self, cells: Sequence[Cells], part: str) -> list[dict[str, list[Cell]]]:
        """At a point beside this one, where decisions are taken anew, and at this one: what a part is a derivative of; and the
        part as a series from inputs, at the former, as such series."""
        beside, here, moved = cells
        with terms(self.order + 1):
            seeds = [{name: given[name] for name in self.map.inputs} for given in (beside, here)]
            seeds.append(self._seeded(moved, self.parts[part].ahead))
            outputs = self.runs.forward([Moved(), Precise(), Directional()], seeds)
        values = [self._values(found, given) for found, given in zip(outputs, (beside, here), strict=False)]
        return [*values, {part: _series(self.parts[part], outputs[2], moved)}]

    def beside(self, cells: Sequence[Cells]) -> list[dict[str, list[Cell]]]:
        """What the parts are derivatives of, at displaced points."""
        outputs = self.runs.beside([{name: given[name] for name in self.map.inputs} for given in cells])
        return [self._values(found, given) for found, given in zip(outputs, cells, strict=True)]

    def here(self, given: Cells) -> dict[str, list[Cell]]:
        """The same at the point, as torch has it."""
        outputs = self.map(self.map.leaves())
        return self._values({name: [exactly(v) for v in flat(y)] for name, y in outputs.items()}, given)

    def plain(self, name: str, inputs: Tensors) -> Map:
        """What a part is a derivative of, as a function of everything that is moved (`inputs`): to be added up."""
        part = self.parts[name]

        def call(leaves: Tensors) -> Tensors:
            outputs = self.map.call({n: leaves[n] for n in self.map.inputs})
            if part.upstream is None:
                return {part.of: outputs[part.of]}
            return {y: outputs[y] * _weights(v, outputs[y], leaves) for y, v in part.upstream.items()}

        return Map(inputs, call, self.map.seed)

    def _seeded(self, given: Cells, ahead: Ahead) -> dict[str, list[Cell]]:
        return {
            name: [
                ahead_of(cell, [float(direction[name][i]) if name in direction else 0.0 for direction in ahead])
                for i, cell in enumerate(given[name])
            ]
            for name in self.map.inputs
        }

    def _values(self, outputs: Cells, given: Cells) -> dict[str, list[Cell]]:
        return {name: self._value(part, outputs, given) for name, part in self.parts.items()}

    def _value(self, part: Part, outputs: Cells, given: Cells) -> list[Cell]:
        if part.upstream is None:
            return list(outputs[part.of])
        return [sum((value_of(y) * value_of(v) for y, v in _pairs(part.upstream, outputs, given)), ZERO)]


SEARCHED = 256
"""Directions that are run at most to find the entries at a border; what is left then counts as such."""


def at_borders(map: Map, formula: Formula | None, checkpoint: Callable[[], None]) -> dict[str, Floats]:
    """1 for each entry of the inputs along which the map has no first derivative, else 0: a direction ahead that moves one of
    these leaves nothing to differentiate."""
    runs = Runs(map, formula, checkpoint)
    sizes = {name: x.numel() for name, x in map.inputs.items()}
    places = [(name, i) for name, size in sizes.items() for i in range(size)]
    found = {name: np.zeros(size) for name, size in sizes.items()}
    waiting, count = [list(range(len(places)))], 0
    while waiting and not runs.opaque:
        batch, waiting = waiting[:JETS], waiting[JETS:]
        count += len(batch)
        if count > SEARCHED:
            rough, waiting = [*batch, *waiting], []
        else:
            seeds = [_along(runs.exact, {places[k] for k in part}) for part in batch]
            with terms(2):
                outputs = runs.forward([Precise(), *(Directional() for _ in batch)], [runs.exact, *seeds])[1:]
            rough = [
                p for p, cells in zip(batch, outputs, strict=True) if not all(_known(c) for y in cells.values() for c in y)
            ]
        for part in rough:
            if len(part) == 1 or count > SEARCHED:
                for name, i in (places[k] for k in part):
                    found[name][i] = 1.0
            else:
                size = -(-len(part) // JETS)
                waiting += [part[start : start + size] for start in range(0, len(part), size)]
    return {name: np.zeros_like(marks) for name, marks in found.items()} if runs.opaque else found


def _along(exact: Cells, moved: Container[tuple[str, int]]) -> dict[str, list[Cell]]:
    """The inputs, some entries moving by steps of different sizes."""
    return {
        name: [moving(x, exactly(1 + (7 * i % 97) / 128)) if (name, i) in moved else x for i, x in enumerate(cells)]
        for name, cells in exact.items()
    }


def _weights(upstream: str | Sequence[float], output: Tensor, leaves: Tensors) -> Tensor:
    if isinstance(upstream, str):
        return leaves[upstream]
    return torch.tensor(upstream, dtype=output.dtype, device=output.device).view(output.shape)


def _series(part: Part, outputs: Cells, given: Cells) -> list[Cell]:
    """A part as a series: its value is the coefficient beside the directions ahead, its slope the one beside all."""
    ahead = (1 << len(part.ahead)) - 1
    every = ahead | 1 << len(part.ahead)
    if part.upstream is None:
        return [straight(beside(y, ahead), beside(y, every)) for y in outputs[part.of]]
    value = along = ZERO
    for y, v in _pairs(part.upstream, outputs, given):
        first, size = beside(y, ahead), value_of(v)
        value += first * size
        along += beside(y, every) * size + (first * v[1] if moves(v) else ZERO)
    return [straight(value, along)]


def _known(cell: Cell) -> bool:
    return bool(slope(cell).is_finite())


def _common(above: Cell, below: Cell) -> Cell:
    """What two sides agree on; unknown where they differ."""
    a, b = slope(above), slope(below)
    return straight(value_of(above), a.union(b) if a.is_finite() and a.overlaps(b) else NAN)


def _pairs(upstream: Upstream, outputs: Cells, given: Cells) -> list[tuple[Cell, Cell]]:
    """The outputs' cells with their cotangents; those without one don't count, whatever they are."""
    found: list[tuple[Cell, Cell]] = []
    for name, v in upstream.items():
        cotangents = given[v] if isinstance(v, str) else [exactly(w) for w in v]
        found += [(y, w) for y, w in zip(outputs[name], cotangents, strict=True) if moves(w) or not w.is_zero()]
    return found

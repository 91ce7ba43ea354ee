"""One map's exact side: derivatives along directions from power series, limits where there are none, and difference
quotients as the second witness. No rule of torch's backward or forward mode takes part.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from torch import Tensor

from gradcheck_cli.algebra.directions import Directional, Moved, Precise, moving, slope, value_of
from gradcheck_cli.algebra.layers import Rounded
from gradcheck_cli.algebra.number import NAN, ZERO, Ball, exactly, two_to, working
from gradcheck_cli.algebra.precision import DIRECTIONS, QUOTIENT, QUOTIENT_STEP
from gradcheck_cli.algebra.series import terms
from gradcheck_cli.exact.kinks import limits
from gradcheck_cli.floats import FORMATS, Floats
from gradcheck_cli.maps.held import Held
from gradcheck_cli.maps.map import Map, Row, Tensors, draws
from gradcheck_cli.maps.runs import Cells, Formula, Runs, flat, format_of, numpy
from gradcheck_cli.maps.symmetric import Symmetrised, said
from gradcheck_cli.shadow.rules import is_symmetric
from gradcheck_cli.verdict.column import Column, Detail
from gradcheck_cli.verdict.entries import Entries, Evidence, Policy
from gradcheck_cli.verdict.limits import Limits
from gradcheck_cli.verdict.scope import OfTensor, Point, TensorLabels
from gradcheck_cli.verdict.truth import Kind, Truth
from gradcheck_cli.verdict.verdicts import Cause, Verdict

AGREED = 48
"""Bits to which the two witnesses must agree."""

FLOOR = two_to(-300)
"""Size of what counts as nothing: above the quotient's own error, and far below what can be told from 0 beside it."""

DRAWN = 20
"""Bits of a direction's random numbers: a wrong derivative agrees with the right one along it by a chance of 2**-DRAWN."""

LAYERS = 16
"""Directions that one forward pass carries."""

SINGULAR = 64
"""Singular entries of a map whose one-sided derivatives are taken at most, each for at most PATIENCE seconds."""

PATIENCE = 4.0

AROUND = 26
"""Points beside a singular one at which equal entries are told apart: of three, each has each rank at one of them but for a
chance of 1 in 4,000."""

SHOWN = 20
"""Entries of a large tensor that are reported at most, besides the worst one."""

OTHERWISE = "a function that behaves otherwise where its operations are watched"

UNFAITHFUL = Truth(Kind.UNKNOWN, text=f"opaque: {OTHERWISE} can't be followed")

KERNEL = 0.75
"""The share of its digits in which a value that rounding doesn't explain may differ where torch's kernels went another way."""

Read = Callable[[Cells], Ball]
"""One number of the outputs, from their cells."""


@dataclass(frozen=True)
class Options:
    """What holds for every map of a run.

    `checkpoint` is called often; it raises where time is up. `most_entries`: of larger tensors only the worst entry, and the
    first ones that don't match, are reported. `patience`: seconds for taking one failure apart.
    """

    limits: Limits = field(default_factory=Limits)
    seed: int = 0
    checkpoint: Callable[[], None] = lambda: None
    most_entries: int = 1000
    patience: float = 20.0


class Probe:
    """The directions in which a map's inputs move, entry by entry in the inputs' order, and what the outputs make of it."""

    def __init__(
        self,
        map: Map,
        rows: Sequence[Row],
        options: Options,
        kind: str,
        point: Point,
        formula: Formula | None,
        mode: str = "reverse",
    ) -> None:
        self.map, self.rows, self.options, self.kind, self.point = map, rows, options, kind, point
        self.mode, self.runs = mode, Runs(map, formula, options.checkpoint, mode)
        self.form = format_of(map.inputs)
        self.spans: dict[str, slice] = {}
        self.count = 0
        for name, x in map.inputs.items():
            self.spans[name] = slice(self.count, self.count + x.numel())
            self.count += x.numel()
        self.sensitivity = 0.0
        self.symmetrised = Symmetrised()
        self._singular = 0

    @property
    def triangles(self) -> list[str]:
        """What the reader is to know of operations that read one triangle of a matrix, where that matters."""
        given = any(x.ndim > 1 and min(x.shape[-2:]) > 1 and is_symmetric(x) for x in self.map.inputs.values())
        told = self.runs.triangles.items()
        return [said(name, even) for name, even in told if not even or given or name in self.symmetrised.found]

    @property
    def plain(self) -> Map:
        """The function for difference quotients."""
        map = Held(self.map.state).map(self.map) if self.runs.held else self.map
        return self.symmetrised.map(map) if any(self.runs.triangles.values()) else map

    def judged(
        self, column: Column, policy: Policy, floats: Floats | None, truths: Sequence[Truth | Ball], known: Evidence,
        accused: Mapping[int, str] = MappingProxyType({}),
    ) -> Column:  # fmt: skip
        """The column of all entries of a tensor, judged. `accused`: entries that stand for a part that is wrong, and what to
        say of it."""
        form, options = FORMATS[column.dtype], self.options
        every = slice(0, len(column))
        entries = Entries(column, every, form, policy, options.limits, floats, truths, options.checkpoint)
        entries.judge(entries.plainly(), known)
        for index, text in accused.items():
            column.mark([index], Verdict.MISMATCH, text, Cause.FORMULA)
        return column

    def guard(self, columns: Sequence[Column]) -> None:
        """Hold all columns against difference quotients of the plain function."""

    def shown(self, column: Column) -> Column:
        """What is reported of a column: of a large tensor, its worst entries."""
        return column if len(column) <= self.options.most_entries else _worst(column)

    def blank(self, of: str, wrt: str, tensor: Tensor, values: Floats | None = None) -> Column:
        """The column of a tensor's entries: of a derivative of `of` by `wrt`, or of `of` itself where that is empty."""
        scope = OfTensor(self.point, TensorLabels(of, wrt, tuple(tensor.shape)))
        names, dtype = (wrt,) if wrt else (), format_of({of: tensor}).name
        return Column.blank(scope, tensor.numel(), of=of, wrt=names, kind=self.kind, mode=self.mode, dtype=dtype, values=values)

    def moved(self, direction: Floats, by: Ball = None) -> dict[str, list[Any]]:
        """The inputs' cells: series along `direction`, or balls moved by `by` times it."""
        cells: dict[str, list[Any]] = {}
        for name, span in self.spans.items():
            steps, here = direction[span].tolist(), self.runs.exact[name]
            if by is None:
                cells[name] = [moving(x, exactly(u)) if u else x for x, u in zip(here, steps, strict=True)]
            else:
                cells[name] = [x + by * u if u else x for x, u in zip(here, steps, strict=True)]
        return cells

    def along(self, directions: Sequence[Floats], layer: type[Directional] = Directional) -> list[dict[str, list[Any]]]:
        """For each direction, the outputs' cells as series."""
        found: list[dict[str, list[Any]]] = []
        with terms(2):
            for start in range(0, len(directions), LAYERS):
                batch = directions[start : start + LAYERS]
                found += self.runs.forward([layer() for _ in batch], [self.moved(u) for u in batch])
        return found

    def strange(self, outputs: Tensors) -> dict[str, list[int]]:
        """The entries of torch's outputs (of a run that nothing watched) that aren't what the first run was followed to.

        A formula needs no run that is followed.
        """
        if self.runs.first is None or self.runs.formula is not None:
            return {}
        cells, watched = self.runs.first
        floats = {name: numpy(y) for name, y in outputs.items()}
        half = self.form.unit_roundoff**0.5
        other = {name: ~((watched[name] == y) | (np.isnan(watched[name]) & np.isnan(y))) for name, y in floats.items()}
        suspects = {
            name: [i for i, v in enumerate(y.tolist()) if other[name][i] or not _near(value_of(cells[name][i]), v, 0, half)]
            for name, y in floats.items()
        }
        if not any(suspects.values()):
            return {}
        with working(DIRECTIONS[0]):
            (rounded,) = self.runs.forward([Rounded(self.form)], [self.runs.exact])
        found: dict[str, list[int]] = {}
        for name, some in suspects.items():
            for i in some:
                ball, share = rounded[name][i], KERNEL if other[name][i] else 0.5
                if not ball.is_finite():  # rounding has no bound
                    ball, share = value_of(cells[name][i]), 0.5 if other[name][i] else 0.0
                if not _near(ball, float(floats[name][i]), 4, self.form.unit_roundoff**share):
                    found.setdefault(name, []).append(i)
        if found:
            self.runs.opaque[OTHERWISE] = None
        return found

    def singular(self, direction: Floats, read: Read) -> Truth:
        """A number's derivative along `direction` where no series gives it: from both sides."""
        if self.runs.opaque and self.runs.formula is None:
            return Truth(Kind.UNKNOWN, text=f"opaque: {', '.join(self.runs.opaque)} can't be followed")
        self._singular += 1
        if self._singular > SINGULAR:
            return Truth(Kind.UNKNOWN, text=f"more than {SINGULAR} singular entries: not examined")
        moving_inputs = np.abs(self._inputs()[direction != 0])
        point = {"t": float(np.max(moving_inputs, initial=0.0))}  # its size decides on the precision
        try:
            found = limits(_Line(self, direction, read), point, ("t",), time.monotonic() + PATIENCE)
            if found.kind is Kind.UNKNOWN and self.runs.turned:
                return replace(found, text=f"{ROUNDED}: {', '.join(self.runs.turned)}")
            return found
        except _Resized:
            return Truth(Kind.UNKNOWN, singular=True, text="an output has another number of entries beside this point")

    def around(self, direction: Floats, row: Row, value: float) -> Truth:
        """A row's derivative along `direction` beside the point, where entries that are equal here aren't: the least and the
        largest at seeded points, until they enclose `value`; and whether the row's own value jumps. None without a derivative
        there either."""
        draw = np.random.default_rng(self.options.seed + 2)
        place = np.arange(1, self.count + 1, dtype=np.float64)
        least = most = NAN
        deadline = time.monotonic() + PATIENCE
        with working(QUOTIENT), terms(2):
            here = paired(row, self.runs.forward([Precise()], [self.runs.exact])[0], value_of)
            for n in range(AROUND):
                away = place if n == 0 else -place if n == 1 else draw.permutation(place) * draw.choice((-1.0, 1.0), self.count)
                beside = self.moved(away, two_to(-QUOTIENT_STEP))
                series = {
                    name: [
                        moving(x, exactly(u)) if u else x for x, u in zip(beside[name], direction[span].tolist(), strict=True)
                    ]
                    for name, span in self.spans.items()
                }
                outputs = self.runs.forward([Moved(), Precise(), Directional()], [beside, self.runs.exact, series])
                jump = bool(abs(paired(row, outputs[0], value_of) - here) > two_to(-QUOTIENT_STEP // 2))
                found = paired(row, outputs[2], slope)
                if found.is_finite():
                    least = found if least.is_nan() or found < least else least
                    most = found if most.is_nan() or found > most else most
                if jump or least <= value <= most or time.monotonic() > deadline:
                    break
        sides = {} if least.is_nan() else {"left": least, "right": most}
        return Truth(Kind.NONDIFFERENTIABLE, **sides, singular=True, jump=jump)

    def confirms(self, direction: Floats, reads: Sequence[tuple[Read, Ball, Ball]]) -> bool:
        """The second witness: whether difference quotients along `direction`, on both sides, give every number's derivative.

        `reads`: the number, its derivative, and the size of what that was added up from. Call it at QUOTIENT bits.
        """
        step = two_to(-QUOTIENT_STEP)
        cells = [self.moved(direction, n * step) for n in (1, 2, -1, -2)]
        near, far, back, farther = self.runs.beside(cells)
        return all(
            abs((read(end) - read(start)) / step - total) <= size * two_to(-AGREED)
            for read, total, size in reads
            for start, end in ((near, far), (farther, back))
        )

    def steps(self, indices: Sequence[int]) -> Floats:
        """A direction along some entries, each of about its input's own size."""
        draw = draws(self.options.seed + 1, self._inputs())
        x = self._inputs()[indices]
        _, exponents = np.frexp(np.where(np.isfinite(x), x, 0.0))
        direction = np.zeros(self.count)
        direction[indices] = np.ldexp(draw.integers(2 ** (DRAWN - 1), 2**DRAWN, len(indices)) * 2.0**-DRAWN, exponents)
        return direction

    def _inputs(self) -> Floats:
        return np.concatenate([numpy(x) for x in self.map.inputs.values()])


ROUNDED = "rounding alone made a mask, or an index, other than exact arithmetic has it"


class _Resized(Exception):
    """An output has another number of entries at another point."""


class _Line:
    """A number as a function of the distance t along a direction: what `exact.kinks` takes the limits of."""

    def __init__(self, probe: Probe, direction: Floats, read: Read) -> None:
        self._probe, self._direction, self._read = probe, direction, read
        self._sizes: dict[str, int] = {}

    def __call__(self, point: Mapping[str, Ball], offsets: Mapping[str, Ball]) -> Ball:
        """At distance `offsets["t"]`."""
        cells = self._probe.moved(self._direction, offsets.get("t", ZERO))
        try:
            (outputs,) = self._probe.runs.beside([cells])
        except Exception:  # what the code refuses beside the point (an assertion about its arguments) has no value there
            return NAN
        sizes = {name: len(found) for name, found in outputs.items()}
        self._sizes = self._sizes or sizes
        if sizes != self._sizes:
            raise _Resized
        return self._read(outputs)

    def undefined(self, point: Mapping[str, Ball]) -> bool:
        """True where torch has no value either."""
        outputs = self._probe.map(self._probe.map.leaves())
        return bool(self._read({name: [exactly(v) for v in flat(y)] for name, y in outputs.items()}).is_nan())


def _near(ball: Ball, value: float, radii: int, share: float) -> bool:
    """Whether so many times the ball, or its neighbourhood of this relative size, holds the value; what isn't finite tells
    nothing."""
    if not (math.isfinite(value) and ball.is_finite()):
        return True
    return bool(abs(ball.mid() - value) <= ball.rad() * max(radii, 1) + abs(ball.mid()) * share)


def _worst(column: Column) -> Column:
    """The worst entry of a large column, and the first others that don't match."""
    worst = column.worst()
    failing = [i for i in np.flatnonzero(column.verdicts == column.verdicts[worst]).tolist() if i != worst]
    chosen = [worst, *(failing[:SHOWN] if column.verdict(worst) is not Verdict.MATCH else [])]
    small = column.pick(chosen)
    detail = small.details.setdefault(0, Detail())
    counts = ", ".join(f"{n:,} {v.value}" for v, n in sorted(column.counts().items(), key=lambda c: -c[0].severity))
    text = f"the worst of {len(column):,} entries ({counts})"
    detail.text = f"{detail.text}; {text}" if detail.text else text
    return small


def paired(row: Row, cells: Cells, read: Callable[[Any], Ball]) -> Ball:
    """<v, y> of the row, each entry of y read from its cell; entries without a cotangent don't count, whatever they are."""
    total = ZERO
    for name, v in row.cotangents.items():
        for cell, w in zip(cells[name], flat(v), strict=True):
            if w:
                total += read(cell) * w
    return total

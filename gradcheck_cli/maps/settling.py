"""Iterations that code ends by a number that it reads.

The gradient of a fixed point, by the implicit function theorem, is not that of the steps that were taken: how far it is off is
how far the iteration was from its end. To tell that from a wrong formula the iterations go on, in runs that read other numbers:
then autograd comes nearer to the derivative of what runs, or it doesn't.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from gradcheck_cli.algebra.directions import value_of
from gradcheck_cli.algebra.number import ZERO, Ball, exactly, working
from gradcheck_cli.floats import Floats
from gradcheck_cli.maps.map import Map, Row, Tensors, pull, uncompiled
from gradcheck_cli.maps.runs import Cells, Runs, flat
from gradcheck_cli.shadow.reads import Reads, Script
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.verdicts import Cause

SHRINKS = 8.0
"""By how much a deviation must shrink, at the least, to be that of an iteration that was ended early."""

MOST_READS = 100_000
"""Numbers that are read, up to which iterations go on."""


BITS, STEP = 256, 2.0**-60
"""Of a difference quotient in balls: their precision, and the step, whose error is its square."""


class Settled(NamedTuple):
    """Where iterations were ended, and the deviation of the gradient as it is, and as they go on: shares of the derivative."""

    lines: tuple[str, ...]
    before: float
    after: float

    def __str__(self) -> str:
        what = "an iteration was" if len(self.lines) == 1 else "iterations were"
        shrunk = f"the deviation from {self.before:.2g} to {self.after:.1g} of the derivative"
        return f"{what} ended ({', '.join(self.lines)}) before the gradient had settled: going on twice as long takes {shrunk}"


def settle(map: Map, rows: Sequence[Row], columns: Sequence[Column]) -> None:
    """Tell what is wrong for an iteration that was ended early from what has a wrong formula; the verdict stays."""
    for row in rows:
        mine = [c for c in columns if c.of == (row.of or row.name) and c.wrt[:-1] == row.by and c.wrt[-1] in map.inputs]
        found = _settled(map, row, mine) if mine else None
        for detail in (d for c in mine for d in c.details.values() if found and d.cause is Cause.FORMULA and d.witness is None):
            detail.cause, detail.text = Cause.CONVERGENCE, str(found)


def _settled(map: Map, row: Row, columns: Sequence[Column]) -> Settled | None:
    """None where nothing is read, or going on doesn't bring the gradient nearer."""
    direction = {name: np.zeros(x.numel()) for name, x in map.inputs.items()}
    before = size = 0.0
    for column in columns:
        for index, detail in column.details.items():
            exact = column.exact[index]
            if detail.cause is Cause.FORMULA and exact is not None and math.isfinite(column.autograd[index]):
                off = float(column.autograd[index]) - float(exact)
                direction[column.wrt[-1]][index] = math.copysign(1.0, off)
                before, size = before + abs(off), size + abs(float(exact))
    if not 0 < before < math.inf or not size:
        return None
    try:
        with _watched(None) as reads:
            _along(map, row, direction)
        script = reads.longer
        if not script or sum(len(values) for values in script.values()) > MOST_READS:
            return None
        with _watched(script):
            slope = _along(map, row, direction)
        exact = _quotient(map, row, direction, script)
    except Exception:  # whatever a user's function raises where it reads something else
        return None
    after = math.inf if slope is None or not exact.is_finite() else float(abs(slope - exact).upper())
    return (
        Settled(tuple(dict.fromkeys(line for line, _ in script)), before / size, after / size)
        if after * SHRINKS <= before
        else None
    )


@contextmanager
def _watched(script: Script | None) -> Iterator[Reads]:
    with uncompiled(), Reads(script) as reads:
        yield reads


def _along(map: Map, row: Row, direction: dict[str, Floats]) -> float | None:
    """Autograd's derivative of the row along a direction; None where it has none."""
    leaves = map.leaves()
    gradients = pull(map(leaves), leaves, row).gradients
    if any(gradients[name] is None and u.any() for name, u in direction.items()):
        return None
    return sum(float(np.dot(u, flat(g))) for name, u in direction.items() if (g := gradients[name]) is not None)


def _quotient(map: Map, row: Row, direction: dict[str, Floats], script: Script) -> Ball:
    """The central difference quotient of the row along the direction, in balls, in a run that reads what the script says."""

    def call(leaves: Tensors) -> Tensors:
        with Reads(script):
            return map.call(leaves)

    runs = Runs(replace(map, call=call), None, lambda: None)
    with working(BITS):
        ends = []
        for sign in (STEP, -STEP):
            pairs = {name: zip(flat(x), direction[name], strict=True) for name, x in map.inputs.items()}
            moved: Cells = {name: [exactly(v) + sign * exactly(float(u)) for v, u in some] for name, some in pairs.items()}
            (found,) = runs.beside([moved])
            terms = ((w, value_of(y)) for name, v in row.cotangents.items() for w, y in zip(flat(v), found[name], strict=True))
            ends.append(sum((exactly(w) * y for w, y in terms), ZERO))
        return (ends[0] - ends[1]) / (2 * STEP)

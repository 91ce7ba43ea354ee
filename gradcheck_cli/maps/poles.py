"""Outputs that have no finite value, in exact arithmetic either: poles, and infinities that are meant (a mask).

They have no derivative, but those of the other outputs do: the rows are judged without them. What only overflows has its
derivative; its reader is told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradcheck_cli.algebra.directions import Precise, value_of
from gradcheck_cli.algebra.number import Ball, working
from gradcheck_cli.algebra.precision import DIRECTIONS
from gradcheck_cli.floats import Floats, Format
from gradcheck_cli.language.spaces import subscript, unravel
from gradcheck_cli.maps.map import Row, Tensors, split
from gradcheck_cli.maps.runs import Runs, numpy
from gradcheck_cli.verdict.truth import Kind, Truth, regular

SHOWN = 8
"""Outputs that the note names."""
DIGITS = 6
"""Of a value in a note."""

AT_A_POLE = Truth(Kind.OUTSIDE, text="the outputs that this entry moves have no finite value here")

Poles = Mapping[str, Any]
"""Which entries of every output, in order: arrays of truth values."""


class Infinite(NamedTuple):
    """Torch's outputs without a finite value. `poles`: the entries that have none in exact arithmetic either; None where all
    have one. `overflowed`: what is told of the first output with others; empty where there is none."""

    poles: Poles | None = None
    overflowed: str = ""


def infinite(runs: Runs, outputs: Tensors, form: Format) -> Infinite:
    """Which entries of torch's outputs are infinite or nan, and what they are in exact arithmetic."""
    found = {name: ~np.isfinite(numpy(y)) for name, y in outputs.items()}
    if not any(marks.any() for marks in found.values()):
        return Infinite()
    with working(DIRECTIONS[0]):
        (cells,) = runs.forward([Precise()], [runs.exact])
    told = ""
    for name, marks in found.items():
        exact = [value_of(cell) for cell in cells[name]]
        lost = [i for i in np.flatnonzero(marks).tolist() if exact[i].is_finite()]
        marks[lost] = False
        if lost and not told:
            first, values = lost[0], numpy(outputs[name])
            of = f" ({len(lost):,} of {len(marks):,} entries)" if len(marks) > 1 else ""
            entry = name + subscript(unravel(first, outputs[name].shape))
            told = f"{entry} is {float(values[first])}, and {_apart(exact[first], form)}{of}"
    return Infinite(found if any(marks.any() for marks in found.values()) else None, told)


def _apart(exact: Ball, form: Format) -> str:
    """What exact arithmetic has, which may be beyond every format, and why torch hasn't."""
    value = exact.mid().str(DIGITS, radius=False)
    held = math.isfinite(float(form.round(float(exact))))
    return f"{value} in exact arithmetic: {'an overflow on the way' if held else f'too large for {form.name}'}"


def without(rows: Sequence[Row], found: Poles) -> tuple[list[Row], dict[int, Row]]:
    """The rows without such outputs, where others remain; and by its number what was left out of a row."""
    kept, left = list(rows), dict[int, Row]()
    for k, row in enumerate(rows):
        rest, apart = split(row, row.name, [found[name] for name in row.cotangents])
        if apart is not None and all(any(v.any() for v in part.cotangents.values()) for part in (rest, apart)):
            kept[k], left[k] = rest, apart
    return kept, left


def set_aside(truths: list[Truth | Ball], floats: Floats, moved: Floats) -> None:
    """Nothing is said of entries that move such outputs alone. `moved`: torch's derivatives of those."""
    for i in np.flatnonzero((np.isnan(floats) | (floats == 0)) & (moved != 0)).tolist():
        found = regular(truths[i])
        if found.kind is Kind.REGULAR and found.ball.contains(0):
            truths[i] = AT_A_POLE


def told(found: Poles, outputs: Tensors) -> str:
    """What the reader is told of them."""
    names = [n + subscript(unravel(i, outputs[n].shape)) for n, marks in found.items() for i in np.flatnonzero(marks).tolist()]
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")
    return f"no finite value here: {shown}; the derivatives are those of the other outputs"

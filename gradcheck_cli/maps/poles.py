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
from gradcheck_cli.algebra.precision import CANCELLED, DIRECTIONS
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
UNDECIDED = Truth(Kind.UNKNOWN, text="whether the outputs that this entry moves have a value here can't be decided")

Poles = Mapping[str, Any]
"""Which entries of every output, in order: arrays of truth values."""


class Infinite(NamedTuple):
    """Torch's outputs without a finite value. `poles`: the entries that have none in exact arithmetic either; None where all
    have one. `overflowed`: what is told of the first output with others; empty where there is none. `doubtful`: whether some
    pole has none that is known, at any precision, rather than none."""

    poles: Poles | None = None
    overflowed: str = ""
    doubtful: bool = False


def infinite(runs: Runs, outputs: Tensors, form: Format) -> Infinite:
    """Which entries of torch's outputs are infinite or nan, and what they are in exact arithmetic."""
    found = {name: ~np.isfinite(numpy(y)) for name, y in outputs.items()}
    if not any(marks.any() for marks in found.values()):
        return Infinite()
    known, doubtful = settled(runs, found, DIRECTIONS[0])
    told = ""
    for name, marks in found.items():
        exact = known[name]
        lost = [i for i in np.flatnonzero(marks).tolist() if exact[i].is_finite()]
        marks[lost] = False
        if lost and not told:
            first, values = lost[0], numpy(outputs[name])
            of = f" ({len(lost):,} of {len(marks):,} entries)" if len(marks) > 1 else ""
            entry = name + subscript(unravel(first, outputs[name].shape))
            told = f"{entry} is {float(values[first])}, and {_apart(exact[first], form)}{of}"
    return Infinite(found if any(marks.any() for marks in found.values()) else None, told, doubtful)


def settled(runs: Runs, marks: Poles, bits: int) -> tuple[dict[str, list[Ball]], bool]:
    """The outputs' values in exact arithmetic, at as many more bits than these as it takes to know those that are marked, or
    that they have none; and whether that stays open."""
    for some in (bits, *(more for more in (DIRECTIONS[-1], CANCELLED) if more > bits)):
        with working(some):
            (cells,) = runs.forward([Precise()], [runs.exact])
            values = {name: list(map(value_of, cells[name])) for name in marks}
            lost = any(values[name][i].is_nan() for name in marks for i in np.flatnonzero(marks[name]).tolist())
            if not lost or runs.opaque or runs.undefined(runs.exact):
                return values, False
    return values, True


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


def set_aside(truths: list[Truth | Ball], floats: Floats, moved: Floats, apart: Truth) -> None:
    """Nothing but `apart` is said of entries that move such outputs alone. `moved`: torch's derivatives of those."""
    for i in np.flatnonzero((np.isnan(floats) | (floats == 0)) & (moved != 0)).tolist():
        found = regular(truths[i])
        if found.kind is Kind.REGULAR and found.ball.contains(0):
            truths[i] = apart


def told(found: Infinite, outputs: Tensors) -> str:
    """What the reader is told of poles."""
    poles = found.poles or {}
    names = [n + subscript(unravel(i, outputs[n].shape)) for n, marks in poles.items() for i in np.flatnonzero(marks).tolist()]
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")
    known = "no finite value that is known" if found.doubtful else "no finite value"
    return f"{known} here: {shown}; the derivatives are those of the other outputs"

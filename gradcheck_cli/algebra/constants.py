"""Constants (`pi/4`, `sqrt(2)`, `0 < 1`) as the nearest double. Imports flint when it is used, not before."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from gradcheck_cli.algebra.precision import CONSTANT
from gradcheck_cli.language.tree import Node

CONSTANT_ULPS = 2
"""What a constant computed in floating point may be off by: sqrt(2/pi) is three roundings."""


def nearest_double(tree: Node) -> float:
    """The nearest double to a constant, certified; nan where it has no real value, an infinity beyond the doubles."""
    return float(evaluated(tree))


def evaluated(tree: Node) -> float | bool:
    """The same, and the truth value of a condition on constants; nan where that isn't decided."""
    from flint import ctx

    from gradcheck_cli.algebra.balls import PLAIN
    from gradcheck_cli.algebra.program import Program

    program = Program([tree], (), PLAIN, key=lambda: ctx.prec)
    low = high = math.nan
    for bits in CONSTANT:
        with ctx.workprec(bits):
            (found,) = program()
            if isinstance(found, bool):
                return found
            if found is not None and not found.is_nan():
                low, high = _double(found.lower()), _double(found.upper())
                if low == high:
                    return low + 0.0  # no negative zero
    return low if math.nextafter(low, high) == high else math.nan


def enclosed(tree: Node) -> Any:
    """The ball of a constant."""
    from flint import ctx

    from gradcheck_cli.algebra.balls import PLAIN
    from gradcheck_cli.algebra.program import Program

    with ctx.workprec(CONSTANT[1]):
        return Program([tree], (), PLAIN)()[0]


def _double(point: Any) -> float:
    """The nearest double to a flint number of radius 0."""
    if not point.is_finite():
        return math.inf if point > 0 else -math.inf
    mantissa, exponent = (int(part) for part in point.man_exp())
    size = abs(mantissa).bit_length() + exponent
    if size < -1100 or size > 1100:
        return math.copysign(0.0 if size < 0 else math.inf, mantissa)
    try:
        return float(mantissa * Fraction(2) ** exponent)
    except OverflowError:
        return math.copysign(math.inf, mantissa)

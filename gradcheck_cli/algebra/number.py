"""The number that provers count in: a ball, a midpoint and a radius that hold a real number for certain.

Outside of algebra/, exact/ and shadow/ this is all that is known of its type, besides its methods (`mid`, `rad`, `overlaps`,
`contains`, `is_finite`, `is_nan`, `is_zero`, `abs_lower`, `abs_upper` and so on, and arithmetic).
"""

from __future__ import annotations

import copyreg
from collections.abc import Hashable
from contextlib import AbstractContextManager
from typing import Any

from flint import arb, ctx

Ball = Any
"""A `flint.arb`; python-flint carries no types."""

ZERO, ONE, NAN = arb(0), arb(1), arb("nan")


def exactly(value: float) -> Ball:
    """The ball that holds this float, or whole number, alone."""
    return arb(value)


def two_to(exponent: int) -> Ball:
    """2**exponent, beyond the range of every float."""
    return arb(2) ** exponent


def is_ball(cell: Any) -> bool:
    """Whether a cell is a number: no truth value, no series, no symbol."""
    return isinstance(cell, arb)


def working(bits: int) -> AbstractContextManager[Any]:
    """Balls are made at this precision inside of the block. It belongs to the process: no two threads may work in balls."""
    return ctx.workprec(bits)  # type: ignore[no-any-return]


def precision() -> int:
    """The present one, in bits."""
    return int(ctx.prec)


def conditions() -> Hashable:
    """What compiled programs keep their constants under: the precision in bits, and the length of series."""
    return precision(), int(ctx.cap)


# -- as plain data ------------------------------------------------------------------------------------------------------

Part = tuple[int, int] | str
"""A number without a radius: mantissa and exponent, or nan, inf and -inf."""

_MORE = 64
"""Bits by which a radius is made smaller than the one that is meant, for flint rounds up to the next that it can keep."""


def _part(number: Ball) -> Part:
    if number.is_finite():
        mantissa, exponent = number.man_exp()
        return int(mantissa), int(exponent)
    return "nan" if number.is_nan() else "inf" if number > 0 else "-inf"


def _number(part: Part) -> Ball:
    return arb(part).mid()


def ball_of(mid: Part, rad: Part) -> Ball:
    """The ball of this midpoint and radius, to the bit, at any precision."""
    if rad == (0, 0):
        return _number(mid)
    if not isinstance(rad, str):
        rad = (rad[0] << _MORE) - 1, rad[1] - _MORE
    return arb(_number(mid), _number(rad))


def parts_of(ball: Ball) -> tuple[Part, Part]:
    """Midpoint and radius of a ball, of which `ball_of` makes it again."""
    return _part(ball.mid()), _part(ball.rad())


def _reduced(ball: Ball) -> tuple[Any, tuple[Part, Part]]:
    return ball_of, parts_of(ball)


copyreg.pickle(arb, _reduced)
"""python-flint doesn't say how a ball is pickled, or copied; what holds balls (a Report) can be both so."""

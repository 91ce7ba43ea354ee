"""The number that provers count in: a ball, a midpoint and a radius that hold a real number for certain.

Outside of algebra/, exact/ and shadow/ this is all that is known of its type, besides its methods (`mid`, `rad`, `overlaps`,
`contains`, `is_finite`, `is_nan`, `is_zero`, `abs_lower`, `abs_upper` and so on, and arithmetic).
"""

from __future__ import annotations

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

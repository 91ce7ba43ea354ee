"""The numbers of the kernels, made with arb when this module is first imported: tables of words, and constants in parts.

Each is the nearest float of a certified ball; how far it may be off is in the bound of the kernel that uses it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from flint import arb, ctx

Table = npt.NDArray[np.float64]

_BITS = 320


def _nearest(ball: Any) -> float:
    return float(ball.mid())


def _word(ball: Any) -> tuple[float, float]:
    high = _nearest(ball)
    return high, _nearest(ball - high)


def words(balls: Iterable[Any]) -> tuple[Table, Table]:
    """High and low parts of numbers."""
    pairs = np.array([_word(ball) for ball in balls])
    return np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])


def _parts(ball: Any, *lengths: int) -> tuple[float, ...]:
    """A number as floats of so many bits each, and what is left of it."""
    parts = []
    for length in lengths:
        mantissa, exponent = math.frexp(_nearest(ball))
        parts.append(math.ldexp(math.floor(mantissa * 2.0**length), exponent - length))
        ball = ball - parts[-1]
    return (*parts, _nearest(ball))


# -- exp: 2**(j/256) ----------------------------------------------------------------------------------------------------

EXP_STEPS = 256


def _exponentials() -> tuple[Table, Table]:
    return words((arb(2).log() * j / EXP_STEPS).exp() for j in range(EXP_STEPS))


# -- log: reciprocals of 11 bits for 512 pieces of [sqrt(1/2), sqrt(2)], and their logarithms --------------------------------

LOG_BITS = 9
LOG_BASE = 0x3FE6A09E667F3BCD
"""The bits of the float next to sqrt(1/2): the significand counts from there."""


def _reciprocals() -> Table:
    """1 for the pieces beside 1, so that log x is accurate there."""
    edges = (LOG_BASE + (np.arange(2**LOG_BITS + 1, dtype=np.int64) << (52 - LOG_BITS))).view(np.float64)
    low, high = edges[:-1], edges[1:]
    found: Table = np.rint(1024 / ((low + high) / 2)) / 1024
    found[(low > 1 - 2.0**-8.5) & (high < 1 + 2.0**-8)] = 1.0
    return found


# -- sin, cos: 512 steps of the circle ------------------------------------------------------------------------------------

CIRCLE = 512


def _sines() -> tuple[Table, Table]:
    step = 2 * arb.pi() / CIRCLE
    return words((step * j).sin() if 2 * j % CIRCLE else arb(0) for j in range(CIRCLE))


TURN_BITS, TURN_FRACTION = 24, 1300


def _turns() -> list[Table]:
    """For each biased exponent e + 1023 from 2**10 on, 2**(e - 52)*CIRCLE/(2*pi) modulo CIRCLE, in seven pieces of 24 bits."""
    with ctx.workprec(1400):
        number = int((arb(2) ** TURN_FRACTION / (2 * arb.pi())).floor().unique_fmpz())
    pieces = np.zeros((7, 2048))
    for exponent in range(10, 1024):
        turned = number << (exponent - 52) if exponent >= 52 else number >> (52 - exponent)
        for piece, row in enumerate(pieces, 1):
            digits = turned >> (TURN_FRACTION - TURN_BITS * piece) & ((1 << TURN_BITS) - 1)
            row[exponent + 1023] = math.ldexp(digits, 9 - TURN_BITS * piece)
    return list(pieces)


# -- atan: at j/(256 - j), and at 1023 for j = 256 -----------------------------------------------------------------------

ATAN_STEPS = 256


def _points() -> Table:
    found = np.zeros(512)
    found[:ATAN_STEPS] = np.arange(ATAN_STEPS) / (ATAN_STEPS - np.arange(ATAN_STEPS))
    found[ATAN_STEPS] = 1023
    return found


def _angles(points: Table) -> tuple[Table, Table]:
    return words(arb(c).atan() for c in points.tolist())


# -- the tables -------------------------------------------------------------------------------------------------------------


def _logarithms(reciprocals: Table) -> tuple[Table, Table]:
    return words(-arb(c).log() for c in reciprocals.tolist())


def _at(function: Callable[..., Any], *arguments: Any) -> Any:
    with ctx.workprec(_BITS):
        return function(*arguments)


EXP_HIGH, EXP_LOW = _at(_exponentials)
EXP_A, EXP_B, EXP_C = _at(lambda: _parts(arb(2).log() / EXP_STEPS, 34, 34))
SIXTH, SIXTH_LOW = _at(lambda: _word(arb(1) / 6))
EXP_RATE: float = _at(lambda: _nearest(EXP_STEPS / arb(2).log()))

LOG_RECIPROCAL = _reciprocals()
LOG_HIGH, LOG_LOW = _at(_logarithms, LOG_RECIPROCAL)
LN2_HIGH, LN2_LOW = _at(lambda: _parts(arb(2).log(), 42))

SIN_HIGH, SIN_LOW = _at(_sines)
TURN_A, TURN_B, TURN_C = _at(lambda: _parts(2 * arb.pi() / CIRCLE, 31, 31))
TURN_STEP, TURN_STEP_LOW = _at(lambda: _word(2 * arb.pi() / CIRCLE))
TURN_RATE: float = _at(lambda: _nearest(CIRCLE / (2 * arb.pi())))

TURN_0, TURN_1, TURN_2, TURN_3, TURN_4, TURN_5, TURN_6 = _turns()

ATAN_POINT = _points()
ATAN_HIGH, ATAN_LOW = _at(_angles, ATAN_POINT)

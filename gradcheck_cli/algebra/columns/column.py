"""Many numbers as arrays: what an evaluation returns, and what a judge holds floats against."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from flint import arb, ctx

from gradcheck_cli.algebra.columns.primitives import Array, Mask
from gradcheck_cli.algebra.columns.words import OPEN
from gradcheck_cli.algebra.number import NAN, Ball
from gradcheck_cli.floats import Floats

_BITS = 192
"""Bits of a ball that is made of a column: two floats of 53, and what is between them."""


class Column(NamedTuple):
    """One number at each point: the true one lies within `radius` of high + low. What is open has an infinite radius."""

    high: Array
    low: Array
    radius: Array

    @property
    def open(self) -> Mask:
        """Where nothing is certified."""
        return self.radius == OPEN

    def accurate(self, bits: int) -> Mask:
        """Where the radius is at most 2**-bits of the number, whichever number of the ball that is."""
        with np.errstate(all="ignore"):
            found: Mask = self.radius * 2.0**bits <= (abs(self.high) - self.radius) * (1.0 - 2.0**-40)
        return found

    def ball(self, point: int) -> Ball:
        """The number at one point as a ball; nan where it is open."""
        return ball_of(*(float(part[point]) for part in self))

    def pick(self, points: Sequence[int] | npt.NDArray[np.intp] | Mask | slice) -> Column:
        """The numbers at some points."""
        return Column(self.high[points], self.low[points], self.radius[points])

    def off(self, floats: Floats) -> Floats:
        """How far floats are from the centres."""
        with np.errstate(all="ignore"):
            found: Floats = np.abs((floats - self.high) - self.low)
        return found


def ball_of(high: float, low: float, radius: float) -> Ball:
    """A word as a ball; nan where it is open."""
    return balls_of([high], [low], [radius])[0]


def balls_of(highs: Iterable[float], lows: Iterable[float], radii: Iterable[float]) -> list[Ball]:
    """Words as balls; nan where they are open."""
    with ctx.workprec(_BITS):
        return [
            (arb(h) + arb(low) + arb(0, r) if low or r else arb(h)) if r < OPEN else NAN
            for h, low, r in zip(highs, lows, radii, strict=True)
        ]


def sum_of(words: Iterable[Iterable[float]], radii: Iterable[float]) -> Ball:
    """The sum of numbers, whose words and radii are given, as a ball; nan where one is open. `math.fsum` rounds once, whatever
    it adds (Shewchuk, Discrete Comput. Geom. 18, 1997)."""
    numbers = [v for word in words for v in word]
    try:
        total, radius = math.fsum(numbers), math.fsum(radii)
        rest = math.fsum([*numbers, -total])
    except (OverflowError, ValueError):  # of numbers that aren't finite, or far too large
        return NAN
    return ball_of(total, rest, (radius + abs(rest) * 2.0**-52) * (1.0 + 2.0**-50)) if math.isfinite(total) else NAN


def entries(part: Any, places: Sequence[int]) -> list[Any]:
    """Some entries, in order, of an array that may have one for all."""
    array = np.asarray(part)
    found: list[Any] = array.reshape(-1).tolist() * len(places) if array.size == 1 else array.flat[list(places)].tolist()
    return found

"""Many numbers as arrays: what an evaluation returns, and what a judge holds floats against."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from flint import arb, ctx

from gradcheck_cli.algebra.columns.primitives import Array, Mask
from gradcheck_cli.algebra.columns.words import OPEN, SMALLEST, UP, two_sum
from gradcheck_cli.algebra.number import NAN, Ball
from gradcheck_cli.floats import Floats
from gradcheck_cli.pool import empty


def bits_of(words: int) -> int:
    """Bits of a ball that is made of so many words: floats of 53, and what is between them."""
    return 86 + 53 * words


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
            found = np.subtract(floats, self.high, out=empty(len(self.high)))
            found -= self.low
        return np.abs(found, out=found)


def ball_of(high: float, low: float, radius: float) -> Ball:
    """A word as a ball; nan where it is open."""
    return balls_of([[high], [low]], [radius])[0]


def balls_of(words: Sequence[Iterable[float]], radii: Iterable[float]) -> list[Ball]:
    """Numbers, of which each word and the radius are given, as balls; nan where they are open."""
    high, *lower = words
    with ctx.workprec(bits_of(len(words))):
        found = [(arb(h, r) if r else arb(h)) if r < OPEN else NAN for h, r in zip(high, radii, strict=True)]
        for word in lower:
            found = [ball + w if w else ball for ball, w in zip(found, word, strict=True)]
    return found


def ball_with(words: Sequence[float], radius: float) -> Ball:
    """The ball of the sum of words, at flint's precision."""
    ball = arb(words[0])
    for word in words[1:]:
        if word:
            ball = ball + arb(word)
    return ball + arb(0, radius) if radius else ball


def float_words(ball: Ball, count: int) -> list[float]:
    """The middle of a finite ball as so many floats, as near as they come."""
    found: list[float] = []
    rest = ball.mid()
    for _ in range(count):
        found.append(float(rest))
        rest = (rest - found[-1]).mid() if abs(found[-1]) < OPEN else arb(0)
    return found


_ZERO = arb(0)


def words_of(ball: Ball) -> tuple[float, float, float]:
    """A finite ball as two words and a radius that reaches its ends."""
    if not float(ball.mid()):  # of far more numbers than any others where derivatives are below the smallest float
        return 0.0, 0.0, radius_around(_ZERO, ball)
    with ctx.workprec(bits_of(2)):
        high, low = float_words(ball, 2)
        return high, low, radius_around(ball_with((high, low), 0.0), ball)


def radius_around(middle: Ball, ball: Ball) -> float:
    """How far a ball reaches from a number at most: a radius, rounded up, also where it is below the smallest float. 0 where
    the ball is that number. Infinite beyond the largest float, nan of what isn't finite."""
    rest = ball - middle
    return 0.0 if rest.is_zero() else float(abs(rest).abs_upper()) * UP + SMALLEST


def sum_of(words: Sequence[Sequence[float]], radii: Sequence[float]) -> Ball:
    """The sum of numbers, whose words and radii are given, as a ball; nan where one is open. `math.fsum` rounds once, whatever
    it adds (Shewchuk, Discrete Comput. Geom. 18, 1997): it adds what floats that are added one by one leave."""
    total, radius = sum(map(sum, words)), sum(radii) * (1.0 + (len(radii) + 2) * 2.0**-52)
    try:
        rest = math.fsum(chain(*words, (-total,)))
    except (OverflowError, ValueError):  # of numbers that aren't finite, or far too large
        return NAN
    return ball_of(total, rest, (radius + abs(rest) * 2.0**-53) * (1.0 + 2.0**-50)) if math.isfinite(rest) else NAN


def shortened(words: Sequence[Array], radius: Array) -> Column:
    """Numbers of any words as two: others are a part of the radius. What isn't finite is open."""
    high, low = (*words, np.zeros_like(words[0]))[:2]
    if len(words) > 2:
        high, low = two_sum(high, low)
    for word in words[2:]:
        radius = radius + np.abs(word) * UP
    return Column(high, low, np.where(np.isfinite(high), radius, OPEN))


def entries(part: Any, places: Sequence[int] | npt.NDArray[np.intp]) -> list[Any]:
    """Some entries, in order, of an array that may have one for all."""
    array = np.asarray(part)
    if array.size == 1:
        return [array.item()] * len(places)
    some = slice(places.start, places.stop, places.step) if isinstance(places, range) else np.asarray(places, dtype=np.intp)
    flat: Any = array.reshape(-1) if array.flags.c_contiguous else array.flat  # no copy of what lies in another order
    found: list[Any] = flat[some].tolist()
    return found

"""Exact sums of two floats, and what the bounds of all kernels are made of.

`UNIT` is u = 2**-53, half the gap after 1: a correctly rounded result is off by at most u times its size. Bounds of double
words are Joldes, Muller and Popescu's (ACM TOMS 44 (2017), 15res), with room; those of kernels are derived where they stand,
and measured: `benchmarks/containment.py` shows that no more than half of each was ever used.
"""

from __future__ import annotations

from gradcheck_cli.algebra.columns.primitives import Array, divide

UNIT = 2.0**-53
UNIT2 = 2.0**-106

UP, DOWN = 1.0 + 2.0**-44, 1.0 - 2.0**-44
"""A bound is computed by less than 64 operations, each off by u of its size, by 2**-47 in all: times UP it is a bound."""

SMALLEST = 2.0**-1074
"""The smallest float: an error that is rounded to the nearest float may lose half of it."""

TINY = 2.0**-1071
"""What underflow can do to a product: eight errors of half the smallest double, 2**-1075 each, in the product and as many in
its bound."""

SPECK = 2.0**-969
"""What stands for it in single words, far below every float of 32 bits: a processor takes a hundred cycles for what is
subnormal, which this isn't, nor times UNIT."""

OPEN = float("inf")
"""The radius of what isn't certified."""


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """a + b as a rounded sum and its error, exactly (Knuth)."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def fast_two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """The same where |a| >= |b|, or a is 0, or both are below 2**-1021 (Dekker)."""
    s = a + b
    return s, b - (s - a)


WIDEST = 32.0
"""Radii up to which exp is followed."""


def widely(r: Array) -> Array:
    """A bound of exp(r) - 1 for 1 <= r <= WIDEST: exp(-t) >= 1 - t at t = r/64, to the power -64. That is larger by a factor of
    exp(r**2/128) at least, beside which nothing is lost by rounding."""
    s = divide(1.0, 1.0 - r * (1.0 / 64.0))
    for _ in range(6):
        s = s * s
    return s

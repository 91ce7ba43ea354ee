"""What a kernel may use, in NumPy. Each is exact, or correctly rounded by IEEE 754; another back end has the same names.

Kernels use + - * on numbers, & and | on conditions, and >> << & + - on whole numbers besides. They divide by `divide`, since
torch's `/` by a Python number multiplies by a rounded reciprocal on some devices. A `nan` in a condition is False.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any
"""Many numbers of 64 bits (an array of NumPy, a tensor), or one."""

Mask = Any
"""Many conditions, or one."""

Whole = Any
"""Many whole numbers of 64 bits, or one."""

_SPLITTER = 2.0**27 + 1


def two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """a*b as a rounded product and its error, which is exact but for underflow: off by at most 2**-1073 then. `nan` where a
    factor is beyond 2**996. (Dekker, Numer. Math. 18 (1971); the splitting is Veltkamp's.)"""
    product = a * b
    c = _SPLITTER * a
    ah = c - (c - a)
    al = a - ah
    c = _SPLITTER * b
    bh = c - (c - b)
    bl = b - bh
    return product, al * bl - (((product - ah * bh) - al * bh) - ah * bl)


def divide(a: Array, b: Array) -> Array:
    """a/b, rounded to nearest."""
    return np.divide(a, b)


def root(a: Array) -> Array:
    """The square root, rounded to nearest."""
    return np.sqrt(a)


def absolute(a: Array) -> Array:
    """|a|."""
    return np.abs(a)


def maximum(a: Array, b: Array) -> Array:
    """The larger one; nan where a is nan."""
    return np.maximum(a, b)


def minimum(a: Array, b: Array) -> Array:
    """The smaller one; nan where a is nan."""
    return np.minimum(a, b)


def nearest(a: Array) -> Array:
    """The nearest whole number, ties to even, as a float."""
    return np.rint(a)


def whole(a: Array) -> Whole:
    """A whole number that is given as a float."""
    return np.asarray(a).astype(np.int64)


def floating(i: Whole) -> Array:
    """A whole number as a float."""
    return np.asarray(i).astype(np.float64)


def bits(a: Array) -> Whole:
    """The 64 bits of a float."""
    return np.asarray(a, dtype=np.float64).view(np.int64)


def unbits(i: Whole) -> Array:
    """The float of 64 bits."""
    return np.asarray(i).view(np.float64)


def where(condition: Mask, a: Array, b: Array) -> Array:
    """a where the condition holds, b elsewhere."""
    return np.where(condition, a, b)


def isfinite(a: Array) -> Mask:
    """Neither infinite nor nan."""
    return np.isfinite(a)


def pending(rare: Mask, radius: Array) -> Array:
    """The radius of what a kernel computes otherwise where something rare holds, before it does so. Compiled loops do it not at
    all, and leave the number open."""
    return radius


def anywhere(condition: Mask) -> bool:
    """Whether a condition holds somewhere: what is rare costs nothing where it isn't met."""
    return bool(np.any(condition))


def lookup(table: Array, i: Whole) -> Array:
    """Entries of a table of one dimension, 0 <= i < its length."""
    return table.take(i, mode="clip")

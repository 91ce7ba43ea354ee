"""What a kernel may use, in NumPy. Each is exact, or correctly rounded by IEEE 754; another back end has the same names.

Kernels use + - * on numbers, & and | on conditions, and >> << & + - on whole numbers besides. They divide by `divide`, since
torch's `/` by a Python number multiplies by a rounded reciprocal on some devices. A `nan` in a condition is False.
"""

from __future__ import annotations

import threading
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
    if not np.shape(a) == np.shape(b) == np.shape(product) != ():
        ah, al = split(a)
        bh, bl = split(b)
        return product, al * bl - (((product - ah * bh) - al * bh) - ah * bl)
    # the same, a third of the time of all kernels, with no array made but the two results
    c, ah, al, bh, bl = _SCRATCH.arrays(product.shape)
    _split_into(a, c, ah, al)
    if b is a:
        bh, bl, d = ah, al, bh
    else:
        _split_into(b, c, bh, bl)
        d = bh
    np.subtract(product, np.multiply(ah, bh, out=c), out=c)
    np.subtract(c, np.multiply(al, bh, out=d), out=c)
    np.subtract(c, np.multiply(ah, bl, out=d), out=c)
    return product, np.multiply(al, bl, out=d) - c


def split(a: Array) -> tuple[Array, Array]:
    """26 bits of a, and the others."""
    c = _SPLITTER * a
    high = c - (c - a)
    return high, a - high


def _split_into(a: Array, c: Array, high: Array, low: Array) -> None:
    np.multiply(a, _SPLITTER, out=c)
    np.subtract(c, np.subtract(c, a, out=high), out=high)
    np.subtract(a, high, out=low)


class _Scratch(threading.local):
    """Arrays to compute in, a set for each shape: beginning at a multiple of 64 bytes halves the time of an operation."""

    def __init__(self) -> None:
        self._sets: dict[tuple[int, ...], list[Array]] = {}

    def arrays(self, shape: tuple[int, ...]) -> list[Array]:
        """Five of them."""
        found = self._sets.get(shape)
        if found is None:
            if len(self._sets) >= _SHAPES:
                self._sets.clear()
            found = self._sets[shape] = [_aligned(shape) for _ in range(5)]
        return found


_SHAPES = 4


def _aligned(shape: tuple[int, ...]) -> Array:
    size = int(np.prod(shape))
    room = np.empty(size + 8)
    start = -room.ctypes.data // 8 % 8
    return room[start : start + size].reshape(shape)


_SCRATCH = _Scratch()


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

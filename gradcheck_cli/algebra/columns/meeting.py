"""Where numbers with two radii meet, in sums and products of matrices: how far the radii, and rounding, take the result.

The model of rounding is that of `layers.Rounded.total` and `dot`: any order, an error of one unit of the sum of sizes for each
operation, and none for what is certainly 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.algebra.columns import sums
from gradcheck_cli.algebra.columns.sums import Floats
from gradcheck_cli.algebra.columns.words import SPECK, UNIT, two_sum

WIDER = 1.0 + 2.0**-46
"""For the low parts, which are left out of sizes (2**-53 of them), and for the roundings of a bound."""


class Numbers:
    """The entries of a cell, (words..., radii), in a shape; None where a part is 0 everywhere."""

    def __init__(self, cell: tuple[Any, ...], shape: tuple[int, ...]) -> None:
        high, *lower, radii = cell
        self.high: Floats = shaped(high, shape)
        self.lower: list[Floats | None] = [shaped(p, shape) if np.any(p) else None for p in lower]
        self.near, self.far = (shaped(p, shape) if np.any(p) else None for p in radii)

    @property
    def low(self) -> Floats | None:
        """The second word."""
        return self.lower[0] if self.lower else None

    @property
    def words(self) -> list[Floats]:
        """All that aren't 0 everywhere, and the first."""
        return [self.high, *(word for word in self.lower if word is not None)]

    def shorten(self) -> None:
        """Keep two words, as double ones are; what is left is a part of the radii."""
        if len(self.words) > 1:
            self.high, second = two_sum(*self.words[:2])
            rest = sum(map(np.abs, self.words[2:]), np.zeros(())) * WIDER
            self.lower = [second]
            if np.any(rest):
                self.near, self.far = (rest if radius is None else radius + rest for radius in (self.near, self.far))

    @cached_property
    def size(self) -> Floats:
        """|x|; of more than two words those beyond the first count too."""
        return np.abs(self.high) if len(self.words) < 2 or len(self.lower) < 2 else sum(map(np.abs, self.words), np.zeros(()))

    @property
    def signed(self) -> Floats:
        """The same, or a number of the same size."""
        return self.high if len(self.words) < 2 or len(self.lower) < 2 else self.size

    @cached_property
    def most(self) -> Floats:
        """The largest size that rounding may give a number."""
        return self.size if self.far is None else self.size + self.far

    @cached_property
    def zero(self) -> npt.NDArray[np.bool_] | None:
        """What is certainly 0 in both balls; None where there is none."""
        return self._zero(self.near, self.far)

    @cached_property
    def nothing(self) -> npt.NDArray[np.bool_] | None:
        """What is certainly 0 in exact arithmetic."""
        return self._zero(self.near)

    def _zero(self, *radii: Floats | None) -> npt.NDArray[np.bool_] | None:
        found: npt.NDArray[np.bool_] = self.high == 0.0
        if not found.any():
            return None
        for part in (*self.lower[1:], *radii):
            found = found if part is None else found & (part == 0.0)
        return found if found.any() else None

    @property
    def turned(self) -> Numbers:
        """The transposed matrices."""
        found = self._seen(lambda part: part.swapaxes(-1, -2))
        for name in ("zero", "nothing"):
            part = getattr(self, name)
            setattr(found, name, None if part is None else part.swapaxes(-1, -2))
        return found

    def rows(self, batches: slice, some: slice = slice(None)) -> Numbers:
        """Some rows of some matrices."""
        return self._seen(lambda part: part[batches, some])

    def _seen(self, view: Callable[[Floats], Floats]) -> Numbers:
        """The same numbers, or some of them, of which each part is a view."""
        found = object.__new__(Numbers)
        for name in ("high", "near", "far"):
            part = getattr(self, name)
            setattr(found, name, None if part is None else view(part))
        found.lower = [None if part is None else view(part) for part in self.lower]
        return found


def shaped(part: Any, shape: tuple[int, ...]) -> Any:
    """The entries of a part, which may be one for all, in a shape."""
    return np.reshape(part, shape) if np.size(part) == math.prod(shape) else np.broadcast_to(part, shape)


def added(x: Numbers, error: Floats, unit: float) -> tuple[Floats, Floats, Any]:
    """Both radii of sums over the last axis, whose centres are off by `error`, and how many numbers are added."""
    count = x.high.shape[-1]
    slack = (1.0 + count * 2.0**-52) * WIDER
    near, far = (error if radii is None else error + radii.sum(-1) * slack for radii in (x.near, x.far))
    terms: Any = count if x.zero is None else count - x.zero.sum(-1)
    return near, far + x.most.sum(-1) * (np.maximum(terms - 1, 0) * unit * slack), terms


def terms_of(x: Numbers, y: Numbers, zero: str = "zero") -> Any:
    """How many products aren't 0, for each entry of the product, each row or column of it, or for all of it. `zero`: which of
    the two that stands for."""
    inner, left, right = x.high.shape[-1], getattr(x, zero), getattr(y, zero)
    if left is not None and right is not None:
        short = np.float32 if inner < 2**24 else np.float64  # which holds all counts
        return ((~left).astype(short) @ (~right).astype(short)).astype(np.float64)
    if right is not None:
        return inner - right.sum(1, keepdims=True)
    return inner if left is None else inner - left.sum(2, keepdims=True)


def radii(x: Numbers, y: Numbers, terms: Any, unit: float) -> tuple[Any, Any]:
    """What both radii, and rounding, make of products. With sizes X, Y and radii r, s these are the sums of X*s + r*(Y + s),
    and in the wider one, in which there are as many roundings as `terms`, so many units of (X + r)*(Y + s) besides."""
    rows, columns = np.shape(terms)[1:] or (1, 1)
    if rows > 1 and columns > 1:
        near, far = _radii(x, y, None)
        return near, far + sums.upper(x.most, y.most) * (terms * unit)
    if columns > 1 or (rows == 1 and x.high.size >= y.high.size):
        return _radii(x, y, terms * unit)
    turned = _radii(y.turned, x.turned, unit * (terms.swapaxes(1, 2) if np.ndim(terms) else terms))
    near, far = (found.swapaxes(1, 2) if np.ndim(found) else found for found in turned)
    return near, far


def _radii(x: Numbers, y: Numbers, units: Any) -> tuple[Any, Any]:
    """The same; `units`: of rounding, for all or for each column, None where there is none. The larger factor stands first: its
    sizes are taken as they are needed."""
    grown = None if units is None else y.most * units
    wide = _sum(grown, y.far)
    near_terms = [(x.near, _sum(y.size, y.near))] if x.near is not None else []
    far_terms = [(x.far, _sum(y.most, grown))] if x.far is not None else []
    if x.high.shape[2] == 1:  # a row and a column
        return _beside([(x.size, y.near), *near_terms]), _beside([(x.size, wide), *far_terms])
    near: Any = 0.0
    far: Any = 0.0
    if y.near is not None and wide is not None:
        both, columns = sums.upper(x.signed, np.concatenate([y.near, wide], axis=2), signed=True), y.high.shape[2]
        near, far = both[:, :, :columns], both[:, :, columns:]
    elif y.near is not None or wide is not None:
        found = sums.upper(x.signed, wide if y.near is None else y.near, signed=True)
        near, far = (near, found) if y.near is None else (found, far)
    for radius, most in near_terms:
        near = near + sums.upper(radius, most)
    for radius, most in far_terms:
        far = far + sums.upper(radius, most)
    return near, far


def _sum(x: Floats | None, y: Floats | None) -> Any:
    return y if x is None else x if y is None else x + y


def _beside(terms: list[tuple[Floats, Floats | None]]) -> Any:
    """A bound of the sum of products of columns and rows, None for zeros."""
    known = [(x, y) for x, y in terms if y is not None]
    lefts, rights = ([pair[side] for pair in known] for side in (0, 1))
    return sums.upper(np.concatenate(lefts, axis=2), np.concatenate(rights, axis=1)) if known else 0.0


def plain(x: Numbers, y: Numbers) -> tuple[Floats, Floats]:
    """A product of single words and how far it is off: twice what theory says, and what underflow can do, as in `single`."""
    found: Floats = x.high @ y.high
    inner, error = x.high.shape[-1], sums.upper(x.size, y.size)
    error *= 2.0 * inner * UNIT
    error += inner * SPECK
    return found, sums.certain(error, found)

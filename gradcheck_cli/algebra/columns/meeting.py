"""Where numbers with two radii meet, in sums and products of matrices: how far the radii, and rounding, take the result.

The model of rounding is that of `layers.Rounded.total` and `dot`: any order, an error of one unit of the sum of sizes for each
operation, and none for what is certainly 0.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.algebra.columns import sums
from gradcheck_cli.algebra.columns.sums import Floats
from gradcheck_cli.algebra.columns.words import UNIT

WIDER = 1.0 + 2.0**-46
"""For the low parts, which are left out of sizes (2**-53 of them), and for the roundings of a bound."""


class Numbers:
    """The entries of a cell, (words..., radii), in a shape; None where a part is 0 everywhere."""

    def __init__(self, cell: tuple[Any, ...], shape: tuple[int, ...]) -> None:
        high, *lower, radii = cell
        self.high: Floats = shaped(high, shape)
        self.low, self.near, self.far = (shaped(p, shape) if np.any(p) else None for p in ((*lower, 0.0)[0], *radii))

    @cached_property
    def size(self) -> Floats:
        """|x|."""
        return np.abs(self.high)

    @cached_property
    def most(self) -> Floats:
        """The largest size that rounding may give a number."""
        return self.size if self.far is None else self.size + self.far

    @cached_property
    def zero(self) -> npt.NDArray[np.bool_] | None:
        """What is certainly 0 in both balls; None where there is none."""
        found: npt.NDArray[np.bool_] = self.high == 0.0
        if not found.any():
            return None
        for radius in (self.near, self.far):
            found = found if radius is None else found & (radius == 0.0)
        return found if found.any() else None

    @property
    def turned(self) -> Numbers:
        """The transposed matrices."""
        found = object.__new__(Numbers)
        for name in ("high", "low", "near", "far", "size", "most", "zero"):
            part = getattr(self, name)
            setattr(found, name, None if part is None else part.swapaxes(-1, -2))
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


def terms_of(x: Numbers, y: Numbers) -> Any:
    """How many products aren't 0, for each entry of the product, each row or column of it, or for all of it."""
    inner = x.high.shape[-1]
    if x.zero is not None and y.zero is not None:
        short = np.float32 if inner < 2**24 else np.float64  # which holds all counts
        return ((~x.zero).astype(short) @ (~y.zero).astype(short)).astype(np.float64)
    if y.zero is not None:
        return inner - y.zero.sum(1, keepdims=True)
    return inner if x.zero is None else inner - x.zero.sum(2, keepdims=True)


def rounded(x: Numbers, y: Numbers, terms: Any, unit: float) -> Floats:
    """What the wider radii and rounding make of products: with sizes X, Y and radii r, s the sum of X*s + r*(Y + s), and of
    (X + r)*(Y + s) as many units as there are terms."""
    if np.ndim(terms) and terms.shape[1] > 1:
        if terms.shape[2] == 1:
            return rounded(y.turned, x.turned, terms.swapaxes(1, 2), unit).swapaxes(1, 2)
        found: Floats = sums.upper(x.most, y.most) * (terms * unit) + _within(x.size, x.far, y.most, y.far)
        return found
    grown = y.most * (terms * unit)
    found = sums.upper(x.size, grown if y.far is None else grown + y.far)
    return found if x.far is None else found + sums.upper(x.far, y.most + grown)


def _within(size: Floats, radius: Floats | None, most: Floats, other: Floats | None) -> Any:
    found: Any = 0.0 if other is None else sums.upper(size, other)
    return found if radius is None else found + sums.upper(radius, most)


def narrow(x: Numbers, y: Numbers) -> Any:
    """What small radii make of products."""
    return _within(x.size, x.near, y.size if y.near is None else y.size + y.near, y.near)


def plain(x: Numbers, y: Numbers) -> tuple[Floats, Floats]:
    """A product of single words and how far it is off: twice what theory says, as in `single`."""
    found: Floats = x.high @ y.high
    return found, sums.certain(sums.upper(x.size, y.size * (2.0 * x.high.shape[-1] * UNIT)), found)

"""The primitives in torch: see `primitives`. Only operations of one rounding each, by tensors: a Python number as a divisor
becomes a rounded reciprocal on some devices."""

from __future__ import annotations

import torch

from gradcheck_cli.algebra.columns.primitives import Array, Mask, Whole

_SPLITTER = 2.0**27 + 1


def _tensor(a: Array, like: Array) -> Array:
    return a if isinstance(a, torch.Tensor) else torch.full((), a, dtype=torch.float64, device=like.device)


def two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """a*b as a rounded product and its error."""
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
    return torch.div(_tensor(a, b), b)


def root(a: Array) -> Array:
    """The square root, off by half a gap and 2**-50 of one: what torch has on a CPU, MKL's, is off by 0.68 of a gap."""
    a = _tensor(a, a)
    small = a < 2.0**-900
    a = torch.where(small, a * 2.0**212, a)
    s = torch.sqrt(a)
    p, e = two_product(s, s)
    better = s + torch.div((a - p) - e, 2.0 * s)
    return torch.where(isfinite(better), better, s) * where(small, 2.0**-106, 1.0)


def absolute(a: Array) -> Array:
    """|a|."""
    return abs(a)


def maximum(a: Array, b: Array) -> Array:
    """The larger one; nan where a is nan."""
    return torch.maximum(a, b) if isinstance(b, torch.Tensor) else torch.clamp(a, min=b)


def minimum(a: Array, b: Array) -> Array:
    """The smaller one; nan where a is nan."""
    return torch.minimum(a, b) if isinstance(b, torch.Tensor) else torch.clamp(a, max=b)


def nearest(a: Array) -> Array:
    """The nearest whole number, ties to even, as a float."""
    return torch.round(a)


def whole(a: Array) -> Whole:
    """A whole number that is given as a float."""
    return a.to(torch.int64)


def floating(i: Whole) -> Array:
    """A whole number as a float; times 1.0 it would be one of torch's default dtype."""
    return i.to(torch.float64)


def bits(a: Array) -> Whole:
    """The 64 bits of a float."""
    return a.view(torch.int64)


def unbits(i: Whole) -> Array:
    """The float of 64 bits."""
    return i.view(torch.float64)


def where(condition: Mask, a: Array, b: Array) -> Array:
    """a where the condition holds, b elsewhere."""
    return torch.where(condition, _tensor(a, condition), _tensor(b, condition))


def isfinite(a: Array) -> Mask:
    """Neither infinite nor nan."""
    return torch.isfinite(a)


def pending(rare: Mask, radius: Array) -> Array:
    """The radius, as it is."""
    return radius


def anywhere(condition: Mask) -> bool:
    """Whether a condition holds somewhere."""
    return bool(condition.any())


def lookup(table: Array, i: Whole) -> Array:
    """Entries of a table of one dimension."""
    return table[i]

"""Certified sums and matrix products of many double words, on arrays of NumPy: what a centre is, and how far it may be off.

Only this is asked of the library behind `@`: that it adds up products of float64, each rounded once, fused or not, in whatever
order. Numbers of a row, or a column, are split into slices of so few bits that all partial sums of products of slices are whole
multiples of one unit below 2**53 units, and so exact in any order (Ozaki, Ogita, Oishi and Rump, Numer. Algorithms 59 (2012),
section 3). What is left is small enough for plain products.

An error of infinity says that nothing is certified: a number isn't finite, or too large or small to be scaled.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from gradcheck_cli.algebra.columns.double import PRODUCT
from gradcheck_cli.algebra.columns.primitives import split
from gradcheck_cli.algebra.columns.words import OPEN, TINY, UNIT, UP, two_sum

Floats = npt.NDArray[np.float64]
Words = tuple[Floats, Floats | None]
"""The high and the low parts of numbers, |low| at most half a gap of high; None: floats alone."""

LOWER = 2.0 * UNIT
"""Each level of a sum in pairs adds low parts twice: so many units of all that is low."""

PLAIN = 1.0 * UNIT
"""A plain product of matrices errs by a unit of the sum of sizes for each term (Jeannerod and Rump, SIAM J. Matrix Anal.
Appl. 34 (2013), theorems 3.1 and 4.1)."""

LAST = 2.0 * UNIT
"""What is low is added up in the end: twice a rounding."""

BLOCK = 512
"""Terms that are added at once: more would leave fewer bits to a slice."""

ROOM = 450
"""Rows and columns of numbers between 2**-ROOM and 2**ROOM are scaled to 1; products of what is left stay normal."""

FEW = 16
"""Columns that are too few for a processor to be busy with, while it reads a matrix."""

CHUNK = 1 << 15
"""Numbers that are worked on at once, which fit into a processor's cache."""


def total(high: Floats, low: Floats | None) -> tuple[Floats, Floats, Floats]:
    """Sums over the last axis, in pairs: of high parts exactly, their errors and the low parts in floats.

    With d levels the errors of a level are at most UNIT of the sizes A of all high parts, so that all that is low is at most
    the sum of |low| and d*UNIT*A, to which each level adds LOWER of it.
    """
    count = high.shape[-1]
    if not count:
        nothing = np.zeros(high.shape[:-1])
        return nothing, nothing, nothing
    h = np.ascontiguousarray(np.moveaxis(high, -1, 0))
    w = None if low is None else np.ascontiguousarray(np.moveaxis(low, -1, 0))
    levels = (count - 1).bit_length()
    sizes = np.abs(h).sum(0) * (1.0 + count * 2.0**-52)
    below = levels * UNIT * sizes
    if w is not None:
        below = below + np.abs(w).sum(0) * (1.0 + count * 2.0**-52)
    while len(h) > 1:
        half = len(h) // 2
        s, t = two_sum(h[:half], h[half : 2 * half])
        if w is not None:
            t += w[:half] + w[half : 2 * half]
        if len(h) % 2:
            s = np.concatenate([s, h[-1:]])
            t = np.concatenate([t, np.zeros_like(h[-1:]) if w is None else w[-1:]])
        h, w = s, t
    found, rest = (h[0], np.zeros_like(h[0])) if w is None else two_sum(h[0], w[0])
    return found, rest, certain(LOWER * levels * below * UP, found)


def certain(error: Floats, high: Floats) -> Floats:
    """A bound, which is infinite where it or the number isn't finite."""
    return np.where(np.isfinite(error) & np.isfinite(high), error, OPEN)


def upper(xs: Floats, ys: Floats, signed: bool = False) -> Floats:
    """A bound of the products (b, m, k) and (b, k, n) of what isn't negative, with room for a few roundings more; infinite
    where something isn't finite. `signed`: of the sizes of the first factor, which may be large."""
    count = xs.shape[-1]
    found, largest = _against(xs, ys) if signed else (xs @ ys, _largest(xs))
    found *= (1.0 + (count + 2) * 2.0**-52) * UP
    if _underflows(xs, ys, found):
        found += count * 2.0**-1074
    if not count * largest * _largest(ys) < 2.0**1000:
        finite = np.isfinite(np.abs(xs).max(-1, initial=0.0))[..., :, None] & np.isfinite(ys.max(-2, initial=0.0))[..., None, :]
        found = np.where(finite & np.isfinite(found), found, OPEN)
    return found


def _against(xs: Floats, ys: Floats) -> tuple[Floats, float]:
    """The product of the sizes of xs, some rows at a time, and ys; the largest size."""
    batch, rows, inner = xs.shape
    found, largest = np.empty((batch, rows, ys.shape[-1])), 0.0
    for batches, some in pieces_of(batch, rows, inner, CHUNK, 64):
        size = np.abs(xs[batches, some])
        np.matmul(size, ys[batches], out=found[batches, some])
        largest = max(largest, _largest(size))
    return found, largest


def _underflows(xs: Floats, ys: Floats, found: Floats) -> bool:
    """Whether a product of the sizes of two numbers may be too small, asked first of what is less to look at."""
    if found.size < xs.size + ys.size:
        return not found.min(initial=OPEN) > 2.0**-900 and _small(xs, ys)
    return _small(xs, ys) and not found.min(initial=OPEN) > 2.0**-900


def _small(xs: Floats, ys: Floats) -> bool:
    sizes = map(np.abs, (xs, ys))
    return math.prod(float(np.min(x, initial=OPEN, where=x > 0.0)) for x in sizes) < 2.0**-1000


def dot(xs: Words, ys: Words, slices: int = 3) -> tuple[Floats, Floats, Floats]:
    """The products of matrices (b, m, k) and (b, k, n). For each term they are off by at most 2**-94 of the largest numbers of
    a row and a column with three `slices`, by 2**-84 with two; they take (slices + 1)*(slices + 2)/2 products.

    What is exactly 0, since all numbers of a row or a column are, has no error.
    """
    (batch, rows, inner), columns = xs[0].shape, ys[0].shape[-1]
    if inner < 2:
        return _outer(xs, ys) if inner else (np.zeros((batch, rows, columns)),) * 3
    if columns > rows:  # the larger one goes through in pieces
        found = _dot(_turned(ys), _turned(xs), slices)
        return found[0].swapaxes(1, 2), found[1].swapaxes(1, 2), found[2].swapaxes(1, 2)
    return _dot(xs, ys, slices)


def _turned(words: Words) -> Words:
    high, low = words
    return high.swapaxes(1, 2), None if low is None else low.swapaxes(1, 2)


def _outer(xs: Words, ys: Words) -> tuple[Floats, Floats, Floats]:
    """Products of a column and a row, as `double.multiply`."""
    shape = (len(xs[0]), xs[0].shape[1], ys[0].shape[2])
    high, low, error = np.empty(shape), np.empty(shape), np.empty(shape)
    c = np.empty((1, 1, 1))
    for batches, rows in pieces_of(shape[0], shape[1], shape[2], CHUNK // 4, 1):
        (xh, xl), (yh, yl) = _part(xs, batches, rows), _part(ys, batches)
        (ah, al), (bh, bl) = split(xh), split(yh)
        p, e, h = (array[batches, rows] for array in (error, low, high))
        c = np.empty(p.shape) if c.shape != p.shape else c
        np.multiply(xh, yh, out=p)
        np.subtract(p, np.multiply(ah, bh, out=c), out=e)
        e -= np.multiply(al, bh, out=c)
        e -= np.multiply(ah, bl, out=c)
        np.subtract(np.multiply(al, bl, out=c), e, out=e)
        if xl is not None:
            e += np.multiply(xl, yh, out=c)
        if yl is not None:
            e += np.multiply(xh, yl, out=c)
        np.add(p, e, out=h)
        np.subtract(h, p, out=c)
        e -= c
        np.abs(h, out=p)
        p *= PRODUCT * UP
        nonzero = (xh != 0.0, yh != 0.0)
        p += TINY if all(mask.all() for mask in nonzero) else TINY * nonzero[0] * nonzero[1]
    if max(_largest(xs[0]), _largest(ys[0])) > 2.0**500:
        error = certain(error, high + low)
    return high, low, error


def _largest(x: Floats) -> float:
    """The largest size; infinite where one isn't a number."""
    found = float(np.maximum(x.max(initial=0.0), -x.min(initial=0.0)))
    return OPEN if math.isnan(found) else found


def pieces_of(batch: int, rows: int, size: int, chunk: int, least: int) -> Iterator[tuple[slice, slice]]:
    """Some whole batches, or at least some rows of one batch, of so many numbers in all: each row has `size`."""
    together = max(1, chunk // max(rows * size, 1))
    few = max(least, chunk // max(size, 1)) if together == 1 else rows
    for first in range(0, batch, together):
        for row in range(0, rows, max(few, 1)):
            yield slice(first, first + together), slice(row, row + few)


class _Sliced:
    """Numbers of rows (axis 2) or columns (axis 1), scaled to less than 1: some slices of `bits` bits and what is left.

    Slice number p, from 0 on, is a whole multiple of 2**-((p + 1)*(bits + 1) - 1), at most 2**bits of it; what is left after p
    of them, `tails[p]`, is at most 2**-(p*(bits + 1)), and the low part besides, which is at most `low`. `factor`: what scales
    back; 0 where all numbers are 0, infinite where they can't be scaled. `room`: arrays that nobody needs any more."""

    def __init__(self, words: Words, axis: int, bits: int, slices: int, room: list[Floats] | None = None) -> None:
        high, low = words
        largest = np.maximum(high.max(axis, keepdims=True), -high.min(axis, keepdims=True))
        power = np.frexp(largest)[1]
        fit = np.isfinite(largest) & (np.abs(power) <= ROOM)
        power = np.where(fit, power, 0)
        inverse = np.where(fit, np.ldexp(1.0, -power), 0.0)
        self.factor: Floats = np.where(largest == 0.0, 0.0, np.where(fit, np.ldexp(1.0, power), OPEN))
        self.scale: Floats = np.ldexp(1.0, power)
        every = bool(fit.all())
        room = room if room and room[0].shape == high.shape else [np.empty_like(high) for _ in range(2 * slices + 1)]
        self.room = room
        self.tails, self.slices = room[slices:], room[:slices]
        np.multiply(high if every else np.where(fit, high, 0.0), inverse, out=self.tails[0])
        for number, (one, before, after) in enumerate(zip(self.slices, self.tails, self.tails[1:], strict=False)):
            shift = 1.5 * 2.0 ** (53 - (number + 1) * (bits + 1))
            np.add(before, shift, out=one)
            one -= shift
            np.subtract(before, one, out=after)
        self.low = 0.0
        if low is not None:
            part = low * inverse if every else np.where(fit, low, 0.0) * inverse
            self.low = float(max(part.max(initial=0.0), -part.min(initial=0.0)))
            for tail in self.tails[1:]:
                tail += part

    def partners(self) -> list[list[Floats]]:
        """For each slice of the other factor what it is multiplied by: slices, and what is left after them; and for what is
        left there the whole. Few columns are put side by side: it is the other factor that is read, once for all of them."""
        count = len(self.slices)
        found = [[*self.slices[: count - p], self.tails[count - p]] for p in range(count + 1)]
        return [[np.concatenate(some, axis=2)] for some in found] if self.whole.shape[2] <= FEW else found

    @property
    def whole(self) -> Floats:
        """The numbers, without low parts."""
        return self.tails[0]


def _bits(inner: int, slices: int) -> int:
    """Bits of a slice: so many times `inner` products of two slices add up to at most 2**53 units."""
    return (53 - math.ceil(math.log2(inner * slices))) // 2


def _dot(xs: Words, ys: Words, slices: int) -> tuple[Floats, Floats, Floats]:
    """The product, of some rows at a time.

    With x = a0 + a1 + ... + the rest, and y in the same way, the sums of the products ap*bq with the same p + q < slices are
    exact; the product of each ap and what is left of y after the others, and that of the rest of x and y, are not. Scaled to
    less than 1 all of these are at most `small`, but for low parts; their k terms err by PLAIN each, by one rounding more of an
    operand and one for each of the slices, which are added, and the rest of x times the low part of y isn't there."""
    (batch, rows, inner), columns = xs[0].shape, ys[0].shape[-1]
    shape = (batch, rows, columns)
    high, low, error = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    size = min(inner, BLOCK)
    bits = _bits(size, slices)
    small = 2.0 ** -(slices * (bits + 1))
    blocks = [slice(start, start + size) for start in range(0, inner, size)]
    known: tuple[slice, _Sliced, list[list[Floats]]] | None = None
    room: list[Floats] | None = None
    for batches, some in pieces_of(batch, rows, max(inner, columns), CHUNK, 64):
        if known is None or known[0] != batches:
            b = _Sliced(_part(ys, batches), 1, bits, slices)
            known = batches, b, b.partners()
        _, b, partners = known
        a = _Sliced(_in_rows(_part(xs, batches, some)), 2, bits, slices, room)
        room = a.room
        h, w, e = _block(a, partners, blocks[0])
        for block in blocks[1:]:
            s, v, rounded = _block(a, partners, block)
            h, t = two_sum(h, s)
            t += v
            w += t
            e += rounded + np.abs(t) + np.abs(w)
        h, w = two_sum(h, w)
        each = (size + slices + 1) * PLAIN * ((slices + 1) * small + a.low + slices * b.low) + (small + a.low) * b.low
        scale, factor = a.scale * b.scale, a.factor * b.factor
        high[batches, some], low[batches, some] = h * scale, w * scale
        bound = (inner * each + LAST * e) * factor * UP
        error[batches, some] = certain(bound, high[batches, some])
    return high, low, error


def _part(words: Words, batches: slice, rows: slice = slice(None)) -> Words:
    high, low = words
    return high[batches, rows], None if low is None else low[batches, rows]


def _in_rows(words: Words) -> Words:
    """The same, row by row in memory: what goes through them many times takes less than from column to column."""
    high, low = words
    return np.ascontiguousarray(high), None if low is None else np.ascontiguousarray(low)


def _block(a: _Sliced, partners: list[list[Floats]], block: slice) -> tuple[Floats, Floats, Floats]:
    """The product of some terms, a high part and what is low, and of what each rounding there is a unit."""
    count, columns = len(a.slices), partners[-1][0].shape[2]
    products: list[list[Floats]] = []
    for part, others in zip((*a.slices, a.tails[count]), partners, strict=True):
        found = [part[:, :, block] @ other[:, block] for other in others]
        several = found[0].shape[2] // columns  # side by side
        products.append(found if several == 1 else [found[0][:, :, q * columns : (q + 1) * columns] for q in range(several)])
    *exact, (rest,) = products
    for some in exact:
        rest += some[-1]
    sums = exact[0][:-1]
    for order, total in enumerate(sums):
        for p in range(1, order + 1):
            total += exact[p][order - p]
    if count == 1:
        return sums[0], rest, np.zeros_like(rest)
    rounded = np.zeros_like(rest)
    for low in sums[:1:-1]:
        rest += low
        rounded += np.abs(rest)
    high, low = two_sum(sums[0], sums[1])
    low += rest
    rounded += np.abs(low)
    return high, low, rounded

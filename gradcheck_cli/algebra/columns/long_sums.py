"""Sums and products of matrices of numbers of several words, as `sums` has them of two.

Products are those of slices of few bits, which a library adds up exactly in any order (Ozaki, Ogita, Oishi and Rump, Numer.
Algorithms 59 (2012)): how many bits the slices that were cut really have is looked at. What isn't multiplied is bounded by the
largest slices, and what is left of the sum by its size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gradcheck_cli.algebra.columns.multiple import gathered
from gradcheck_cli.algebra.columns.sums import CHUNK, ROOM, Floats, certain, pieces_of
from gradcheck_cli.algebra.columns.words import OPEN, UP, two_sum

EXACT = 2.0**53
"""Whole numbers below this are floats, and so are all partial sums of those whose sizes add up to less."""

SPARE = 6
"""Bits beyond those of a result: for the terms that aren't multiplied."""

VANISHED = 2.0**-1068
"""What scaling, and a product of what is left, can lose below the smallest float: for each term, of numbers that are scaled to
less than 1, and of what is scaled back."""

Words = Sequence[Floats]


def total(words: Words, most: int) -> tuple[list[Floats], Floats]:
    """Sums over the last axis, in pairs, as so many words; and how far they may be off."""
    turned = [np.ascontiguousarray(np.moveaxis(word, -1, 0)) for word in words]
    count, error = turned[0].shape[0], np.zeros(turned[0].shape[1:])
    if not count:
        return [error] * most, error
    off = np.zeros(turned[0].shape)
    while len(off) > 1:
        half, odd = len(off) // 2, len(off) % 2
        turned += [np.zeros(off.shape)] * (most - len(turned))
        levels = [[word[:half], word[half : 2 * half]] if word.any() else [] for word in turned]
        *found, radius = gathered(levels, most, off[:half] + off[half : 2 * half])
        parts = [np.broadcast_to(part, radius.shape) for part in (*found, radius)]
        *turned, off = [np.concatenate([p, w[-1:]]) for p, w in zip(parts, (*turned, off), strict=True)] if odd else parts
    return _filled([word[0] for word in turned], most), certain(off[0], turned[0][0])


def _filled(words: Words, count: int) -> list[Floats]:
    return [*words, *[np.zeros(words[0].shape)] * (count - len(words))]


class _Cut:
    """Numbers of rows (axis 2) or columns (axis 1), scaled to less than 1, cut into at most `most` slices, whole multiples of
    2**-step, 2**-(2*step) and so on. `largest`: of each slice, and of what is left. `factor`: what scales back, see `sums`."""

    def __init__(self, words: Words, axis: int, step: int, most: int) -> None:
        high = words[0]
        largest = np.maximum(high.max(axis, keepdims=True), -high.min(axis, keepdims=True))
        power = np.frexp(largest)[1]
        fit = np.isfinite(largest) & (np.abs(power) <= ROOM)
        power = np.where(fit, power, 0)
        inverse = np.where(fit, np.ldexp(1.0, -power), 0.0)
        self.scale: Floats = np.ldexp(1.0, power)
        self.factor: Floats = np.where(largest == 0.0, 0.0, np.where(fit, self.scale, OPEN))
        every = bool(fit.all())
        rest = [(word if every else np.where(fit, word, 0.0)) * inverse for word in words]
        sizes = [_largest(word) for word in rest]
        self.sound = all(size <= 2.0 for size in sizes)
        self.slices: list[Floats] = []
        for number in range(most if self.sound else 0):
            if not any(sizes):
                break
            unit = 2.0 ** -((number + 1) * step)
            shift, found = 1.5 * 2.0**52 * unit, np.zeros(0)
            for place, word in enumerate(rest):
                if sizes[place] * 2.0 < unit:
                    continue
                one = word + shift
                one -= shift
                word -= one
                found = found + one if found.size else one
                sizes[place] = _largest(word)
            self.slices.append(found if found.size else np.zeros(high.shape))
        self.largest = [_largest(one) for one in self.slices]
        self.left = sum(sizes) * UP


def _largest(x: Floats) -> float:
    """The largest size; infinite where one isn't a number."""
    found = float(np.maximum(x.max(initial=0.0), -x.min(initial=0.0)))
    return OPEN if math.isnan(found) else found


def dot(xs: Words, ys: Words, count: int) -> tuple[list[Floats], Floats]:
    """The products of matrices (b, m, k) and (b, k, n), as so many words, and how far they may be off."""
    (batch, rows, inner), columns = xs[0].shape, ys[0].shape[-1]
    if not inner:
        nothing = np.zeros((batch, rows, columns))
        return [nothing] * count, nothing
    if columns > rows:  # the larger one goes through in pieces
        words, error = _dot([y.swapaxes(1, 2) for y in ys], [x.swapaxes(1, 2) for x in xs], count)
        return [word.swapaxes(1, 2) for word in words], error.swapaxes(1, 2)
    return _dot(xs, ys, count)


def _dot(xs: Words, ys: Words, count: int) -> tuple[list[Floats], Floats]:
    (batch, rows, inner), columns = xs[0].shape, ys[0].shape[-1]
    step = (52 - math.ceil(math.log2(inner))) // 2
    most = math.ceil((53 * count + SPARE) / step)
    words, error = [np.zeros((batch, rows, columns)) for _ in range(count)], np.full((batch, rows, columns), OPEN)
    known: tuple[slice, _Cut, Floats] | None = None
    for batches, some in pieces_of(batch, rows, max(inner, columns), CHUNK, 64):
        if known is None or known[0] != batches:
            b = _Cut([y[batches] for y in ys], 1, step, most)
            beside = np.concatenate(b.slices, axis=2) if b.slices else np.zeros((len(ys[0][batches]), inner, 0))
            known = batches, b, beside
        _, b, beside = known
        a = _Cut([x[batches, some] for x in xs], 2, step, most)
        found = _products(a, b, beside, columns, inner, step, most) if a.sound and b.sound else None
        if found is None:
            continue
        parts, off = _distilled(found or [np.zeros(words[0][batches, some].shape)], count)
        off += inner * (_unmultiplied(a, b, most) + VANISHED)
        factor = a.factor * b.factor
        error[batches, some] = (off * factor + np.where(factor > 0.0, VANISHED, 0.0)) * UP
        for word, part in zip(words, parts, strict=True):
            word[batches, some] = part * (a.scale * b.scale)
    return words, certain(error, words[0])


def _products(a: _Cut, b: _Cut, beside: Floats, columns: int, inner: int, step: int, most: int) -> list[Floats] | None:
    """Terms whose sum is that of the products of slices number p and q with p + q < most, all exact; None where one isn't.
    Those with the same p + q have the same unit: they are added up where that is exact."""
    levels: list[list[tuple[Floats, float]]] = [[] for _ in range(most)]
    for p, part in enumerate(a.slices):
        several = min(len(b.slices), most - p)
        product = part @ beside[:, :, : several * columns]
        for q in range(several):
            size = inner * a.largest[p] * b.largest[q] * 2.0 ** ((p + q + 2) * step)
            if not size < EXACT:
                return None
            levels[p + q].append((product[:, :, q * columns : (q + 1) * columns], size))
    terms: list[Floats] = []
    for level in levels:
        held = OPEN
        for product, size in level:
            if held + size < EXACT:
                terms[-1] += product
                held += size
            else:
                terms.append(np.array(product))
                held = size
    return terms


def _unmultiplied(a: _Cut, b: _Cut, most: int) -> float:
    """A bound of each product that isn't there: of slices that are too far down, and of what is left after them."""
    small = sum(x * y for p, x in enumerate(a.largest) for q, y in enumerate(b.largest) if p + q >= most)
    small += a.left * (sum(b.largest) + b.left) + sum(a.largest) * b.left
    return small * UP


def _distilled(terms: list[Floats], count: int) -> tuple[list[Floats], Floats]:
    """The sum of terms as words, and what is left."""
    found: list[Floats] = []
    for _ in range(count):
        total, errors = terms[-1], []
        for term in reversed(terms[:-1]):
            total, error = two_sum(term, total)
            errors.append(error)
        found.append(total)
        terms = [error for error in reversed(errors) if error.any()]
        if not terms:
            break
    return _filled(found, count), sum(map(np.abs, terms), np.zeros(found[0].shape)) * UP

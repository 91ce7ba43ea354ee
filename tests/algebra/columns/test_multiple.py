"""Arithmetic of several words, sums and products of matrices against fractions: whatever cancels, and at the rim of balls."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from flint import arb, ctx

from gradcheck_cli.algebra.balls import SMOOTH
from gradcheck_cli.algebra.columns import long_sums, multiple
from gradcheck_cli.algebra.columns.long import _Kept, shadowed, taped
from gradcheck_cli.algebra.columns.multiple_functions import enclosed
from gradcheck_cli.algebra.columns.shadowed import Shadowed
from gradcheck_cli.algebra.directions import Precise
from gradcheck_cli.algebra.layers import Rounded
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.language.functions import TABLE
from tests.formats import DOUBLE

Floats = np.ndarray[Any, np.dtype[np.float64]]
mp = mpmath.mp
COUNT = 60


def drawn(rng: np.random.Generator, words: int, spread: int, ball: bool) -> tuple[Floats, ...]:
    """Numbers of many sizes, some words of which are 0, with radii of all sizes."""
    high = rng.normal(size=COUNT) * np.exp2(rng.integers(-spread, spread + 1, COUNT))
    parts = [high]
    for _ in range(1, words):
        parts.append(parts[-1] * rng.uniform(-1, 1, COUNT) * 2.0**-53 * (rng.random(COUNT) < 0.9))
    radius = np.abs(high) * np.exp2(rng.integers(-53 * words - 20, -20, COUNT)) if ball else np.zeros(COUNT)
    return *parts, radius


def number(x: Any, place: int, rim: int = 0) -> Fraction:
    """The centre, or an end of the ball."""
    *words, radius = (np.broadcast_to(part, COUNT)[place] for part in x)
    return sum((Fraction(float(word)) for word in words), Fraction(0)) + rim * Fraction(float(radius))


def held(found: Any, place: int, truth: Fraction) -> bool:
    """Whether the ball holds a number, or is open."""
    radius = float(np.broadcast_to(found[-1], COUNT)[place])
    return not np.isfinite(radius) or abs(truth - number(found, place)) <= Fraction(radius)


def sharp(found: Any, words: int, bits: int) -> bool:
    """Whether radii are as small as words allow."""
    return bool((np.broadcast_to(found[-1], COUNT) <= np.abs(found[0]) * 2.0 ** (bits - 53 * words)).all())


OPERATIONS: dict[str, tuple[Callable[..., Any], Callable[..., Fraction]]] = {
    "add": (multiple.add, lambda x, y: x + y),
    "subtract": (multiple.subtract, lambda x, y: x - y),
    "multiply": (multiple.multiply, lambda x, y: x * y),
    "over": (multiple.over, lambda x, y: x / y),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("words", [3, 4, 7])
def test_results_hold_the_truth(name: str, words: int) -> None:
    """Of exact numbers and of balls, with the truth at their rims; and products and quotients are sharp."""
    run, exact = OPERATIONS[name]
    for seed, (spread, ball) in enumerate([(0, False), (30, False), (200, False), (0, True), (30, True)]):
        rng = np.random.default_rng(seed)
        x, y = drawn(rng, words, spread, ball), drawn(rng, words, spread, ball)
        found = run(x, y)
        for place in range(COUNT):
            for rims in ((0, 0), (1, 1), (1, -1), (-1, 1)) if ball else ((0, 0),):
                truth = exact(*(number(part, place, rim) for part, rim in zip((x, y), rims, strict=True)))
                assert held(found, place, truth), (seed, place, rims)
        assert ball or name in ("add", "subtract") or sharp(found, words, 6)


@pytest.mark.parametrize("words", [3, 4, 7])
def test_roots_hold_the_truth(words: int) -> None:
    """The square of either end of the ball lies on its side of the number."""
    for seed, ball in enumerate([False, True]):
        first, *rest = drawn(np.random.default_rng(seed), words, 40, ball)
        x = (np.abs(first), *rest)
        found = multiple.square_root(x)
        for place in range(COUNT):
            radius = Fraction(float(found[-1][place]))
            for rim in (-1, 1):
                low, high = (number(found, place) + side * radius for side in (-1, 1))
                assert low * low <= number(x, place, rim) <= high * high
        assert ball or sharp(found, words, 6)


def test_what_cancels_is_exact() -> None:
    """All but the last word of two numbers are the same."""
    rng = np.random.default_rng(3)
    x = drawn(rng, 4, 0, False)
    y = (*x[:3], x[3] * 0.75, x[4])
    found = multiple.subtract(x, y)
    assert all(number(found, place) == number(x, place) - number(y, place) for place in range(COUNT))


def test_what_is_added_plainly_is_bounded() -> None:
    """Beyond the words that are kept a term is lost beside two that cancel: half a unit of them."""
    far = 2.0**-106
    *words, radius = multiple.gathered(
        [[np.array([1.0])], [np.array([0.0])], [np.array([v]) for v in (far, far * 2.0**-53, -far)]], 2, 0.0
    )
    assert float(sum(words)[0]) == 1.0 and radius[0] >= far * 2.0**-53


def test_underflow_is_bounded() -> None:
    """Products at the end of the range, two factors of a word each."""
    rng = np.random.default_rng(0)
    x, y = ((rng.normal(size=COUNT) * np.exp2(rng.integers(-540, -530, COUNT)), 0.0, 0.0, np.zeros(COUNT)) for _ in range(2))
    found = multiple.multiply(x, y)
    assert all(held(found, place, number(x, place) * number(y, place)) for place in range(COUNT))


def far_down(rng: np.random.Generator, words: int, low: int, high: int) -> tuple[Floats, ...]:
    """Numbers of binary exponents between two, whose last words underflow; half of them with a radius, some of it alone."""
    first = np.ldexp(rng.uniform(0.5, 1, COUNT), rng.integers(low, high, COUNT))
    parts = [first]
    for _ in range(1, words):
        parts.append(parts[-1] * rng.uniform(-1, 1, COUNT) * 2.0**-53)
    radius = first * np.exp2(rng.uniform(-60 * words, -2, COUNT)) * rng.integers(0, 2, COUNT)
    return *parts, radius


@pytest.mark.parametrize("words", [2, 3, 12])
def test_products_quotients_and_roots_among_the_subnormal_numbers_hold_the_truth(words: int) -> None:
    """Where a result, its last words or its radius underflow, with the truth at the rims; of what is 0 but for a radius too."""
    rng = np.random.default_rng(words)
    x, y, far = far_down(rng, words, -620, -300), far_down(rng, words, -500, -400), far_down(rng, words, 500, 560)
    nothing = *([np.zeros(COUNT)] * words), y[0]
    for run, pairs in (
        (multiple.multiply, [(x, y), (x, nothing), (nothing, nothing)]),
        (multiple.over, [(x, far), (y, far), (nothing, far), (x, y)]),
    ):
        for a, b in pairs:
            found = run(a, b)
            for place in range(COUNT):
                for rims in ((0, 0), (1, 1), (1, -1)):
                    p, q = (number(part, place, rim) for part, rim in zip((a, b), rims, strict=True))
                    assert held(found, place, p * q if run is multiple.multiply else p / q), (run, place, rims)
    for a in (x, far, (np.ldexp(1.0, 2 * rng.integers(100, 500, COUNT)), *([0.0] * (words - 1)), np.full(COUNT, 2.0**-1074))):
        found = multiple.square_root(a)
        for place in range(COUNT):
            radius = Fraction(float(found[-1][place]))
            low, high = (number(found, place) + side * radius for side in (-1, 1))
            assert all(low * low <= number(a, place, rim) <= high * high for rim in (-1, 0, 1))


@pytest.mark.parametrize("words", [1, 2, 3, 12])
def test_matrices_and_sums_among_the_subnormal_numbers_hold_the_truth(words: int) -> None:
    """As the shadow multiplies and adds them, of single words too, where factors or products underflow, with the truth at the
    rims: far apart in size within a row, and large beside small ones."""
    form = FORMATS["float64" if words > 1 else "float32"]
    layer = shadowed(words, Precise(), Rounded(form)) if words > 1 else Shadowed(Precise(), Rounded(form))
    batch, rows, columns, closed = 1, 2, 3, 0

    def cell(rng: np.random.Generator, count: int, exponents: tuple[int, int], wide: int) -> Any:
        parts = [np.ldexp(rng.uniform(-1, 1, count), rng.choice(exponents, count) + rng.integers(0, 40, count))]
        parts += [parts[0] * rng.uniform(-1, 1, count) * 2.0 ** (-53 * place) for place in range(1, words)]
        return *parts, np.abs(parts[0]) * np.exp2(rng.uniform(-60 * words, -3, (2, count))) * wide

    for seed, (some, others) in enumerate(CASES * 12):
        rng = np.random.default_rng([words, seed])
        inner, wide = int(rng.choice([1, 2, 5])), seed % 2
        x, y = cell(rng, rows * inner, some, wide), cell(rng, inner * columns, others, wide)
        product, total = layer.dot(x, y, batch, rows, inner, columns), layer.total(y, inner, columns)
        for rim in (-1, 0, 1):
            a, b = ([_entry(part, place, rim) for place in range(np.size(part[0]))] for part in (x, y))
            products = [[a[i * inner + k] * b[k * columns + j] for k in range(inner)] for i, j in np.ndindex(rows, columns)]
            added = [b[k * columns : (k + 1) * columns] for k in range(inner)]
            for found, truths in ((product, products), (total, added)):
                for place, terms in enumerate(truths):
                    radius = float(np.broadcast_to(found[-1], (2, len(truths)))[0, place])
                    closed += found is product and radius < np.inf
                    off = abs(sum(terms, Fraction(0)) - _entry(found, place))
                    assert not radius < np.inf or off <= Fraction(radius), (seed, rim)
    assert closed > 200


CASES = [
    ((-1074, -440), (-440, -600)), ((-445, -445), (-445, -445)), ((-1074, -1074), (300, 300)), ((300, 300), (-1074, -1074)),
    ((-560, -560), (-540, -540)),
]  # fmt: skip
"""Binary exponents in either factor."""


def _entry(cell: Any, place: int, rim: int = 0) -> Fraction:
    """The centre of an entry, or an end of its ball."""
    words = (float(word.flat[place if word.size > 1 else 0]) for word in map(np.asarray, cell[:-1]))
    return sum(map(Fraction, words), rim * Fraction(float(cell[-1][0, place])) if rim else Fraction(0))


def test_what_is_exactly_zero_stays_so() -> None:
    """A product and a quotient of 0, beside what isn't known, too."""
    zero = (np.zeros(3), 0.0, 0.0, np.zeros(3))
    other = (np.ones(3), 0.0, 0.0, np.full(3, 0.25))
    for found in (multiple.multiply(zero, other), multiple.multiply(other, zero), multiple.over(zero, other)):
        assert not any(np.any(part) for part in found)


@pytest.mark.parametrize("words", range(2, 13))
def test_functions_among_the_subnormal_numbers_hold_the_truth(words: int) -> None:
    """exp and what is made of it, where the result or its last words are below the smallest float: by mpmath, for balls of
    three radii with one centre."""
    rng = np.random.default_rng(words)
    x = np.concatenate([rng.uniform(-746, -708, 8), rng.uniform(-708, -600, 8), [-744.4400719213812, -745.2, -745.13]])
    radii = np.array([np.full(len(x), radius) for radius in (0.0, 2.0**-200, 2.0**-20)])
    references: dict[str, Callable[[Any], Any]] = {"exp": mp.exp, "sigmoid": lambda t: 1 / (1 + mp.exp(-t))}
    for name, reference in references.items():
        *found, reaches = enclosed(SMOOTH.evaluate(name), (x, *[0.0] * (words - 1), radii))
        with mp.workprec(1200):
            for place, argument in enumerate(x.tolist()):
                centre = mp.fsum(mp.mpf(float(word[place])) for word in found)
                for radius, reach in zip(radii[:, place].tolist(), reaches[:, place].tolist(), strict=True):
                    for rim in (-1, 1) if radius else (0,):
                        off = abs(reference(mp.mpf(argument) + rim * mp.mpf(radius)) - centre)
                        assert off <= mp.mpf(reach), (name, argument, radius)


@pytest.mark.parametrize("words", [2, 3, 12])
def test_balls_below_the_smallest_float_become_numbers_that_hold_them(words: int) -> None:
    """Constants, exact or with what their author may have meant, of the layers that follow code."""
    both, kept = shadowed(words, Precise(), Rounded(FORMATS["float64"])).both, taped(words, DOUBLE)
    assert isinstance(kept, _Kept)
    with ctx.workprec(3000):
        for exponent in (-1090, -1076, -1075, -1074, -1073, -1060, -1000, -600, 0):
            near, far = (arb(k) / 3 * arb(2) ** exponent for k in (1, 5))
            for balls, cell in (((near, far), both(near, far)), ((far,), kept._of_ball(far)), ((near,), kept._of_ball(near))):
                centre = sum((arb(float(word)) for word in cell[:words]), arb(0))
                for ball, radius in zip(balls, np.ravel(cell[-1]).tolist(), strict=False):
                    assert abs(ball - centre) <= arb(radius), exponent


def test_what_is_nothing_beside_the_radius_is_left_out() -> None:
    """Words that are far smaller cost no time, and are a part of it."""
    x = drawn(np.random.default_rng(1), 6, 0, False)
    wide = (*x[:-1], np.abs(x[0]) * 2.0**-80)
    found = multiple.add(wide, wide)
    assert sum(np.ndim(word) > 0 for word in found[:-1]) == 2
    assert all(held(found, place, 2 * number(wide, place, rim)) for place in range(COUNT) for rim in (-1, 1))


def test_open_stays_open() -> None:
    """A divisor that may be 0, the root of what may be negative, what isn't finite."""
    one = (np.ones(3), 0.0, 0.0, np.zeros(3))
    doubtful = (np.array([0.0, 1.0, np.inf]), 0.0, 0.0, np.array([0.0, 1.5, 0.0]))
    with np.errstate(all="ignore"):
        for found in (
            multiple.over(one, doubtful),
            multiple.square_root((-doubtful[0], *doubtful[1:])),
            multiple.square_root(doubtful),
        ):
            assert not np.isfinite(found[-1]).any() or not np.isfinite(found[0][np.isfinite(found[-1])]).any()


@pytest.mark.parametrize("name", ["exp", "tanh", "log", "erf"])
def test_functions_hold_the_truth(name: str) -> None:
    """By mpmath, beyond all words, for balls of two radii with one centre."""
    rng = np.random.default_rng(2)
    x = (*(part[:8] for part in drawn(rng, 4, 1, False)[:-1]), np.array([np.zeros(8), np.full(8, 2.0**-70)]))
    x = (np.abs(x[0]) + 0.5, *x[1:])
    *words, radii = enclosed(SMOOTH.evaluate(name), x)
    with mp.workprec(600):
        for place in range(8):
            centre, found = (mp.fsum(mp.mpf(float(word[place])) for word in some) for some in (x[:-1], words))
            for radius, reach in zip(x[-1], radii, strict=True):
                for rim in (-1, 0, 1):
                    assert abs(getattr(mp, name)(centre + rim * float(radius[place])) - found) <= float(reach[place])
            assert radii[0][place] <= 2.0**-200


def matrix(rng: np.random.Generator, shape: tuple[int, ...], words: int, spread: int) -> list[Floats]:
    """Numbers, a tenth of them 0."""
    parts = [rng.normal(size=shape) * np.exp2(rng.integers(-spread, spread + 1, shape)) * (rng.random(shape) < 0.9)]
    for _ in range(1, words):
        parts.append(parts[-1] * rng.uniform(-1, 1, shape) * 2.0**-53)
    return parts


def entry(words: list[Floats], index: tuple[int, ...]) -> Fraction:
    return sum((Fraction(float(word[index])) for word in words), Fraction(0))


def product_holds(xs: list[Floats], ys: list[Floats], words: int) -> float:
    """Whether each entry is held; the largest error, beside the largest numbers of a row and a column for each term."""
    found, error = long_sums.dot(xs, ys, words)
    inner, worst = xs[0].shape[2], 0.0
    for b, i, j in np.ndindex(error.shape):
        truth = sum((entry(xs, (b, i, k)) * entry(ys, (b, k, j)) for k in range(inner)), Fraction(0))
        assert np.isinf(error[b, i, j]) or abs(truth - entry(found, (b, i, j))) <= Fraction(float(error[b, i, j])), (b, i, j)
        largest = float(np.abs(xs[0][b, i]).max() * np.abs(ys[0][b, :, j]).max()) * inner
        worst = max(worst, error[b, i, j] / largest if largest else float(error[b, i, j]))
    return worst


@pytest.mark.parametrize("spread", [0, 12, 60, 300])
def test_products_hold_the_truth(spread: int) -> None:
    """Of matrices of one word and of several, wide and high ones; the error is a certain part of the largest numbers."""
    rng = np.random.default_rng(spread)
    for own, other, words in ((1, 4, 4), (4, 4, 4), (1, 1, 3), (7, 1, 7), (3, 5, 6)):
        for batch, rows, inner, columns in ((1, 3, 20, 2), (2, 1, 5, 3), (1, 1, 130, 1)):
            xs, ys = matrix(rng, (batch, rows, inner), own, spread), matrix(rng, (batch, inner, columns), other, spread)
            assert product_holds(xs, ys, words) <= 2.0 ** (1 - 53 * words)


def test_all_that_is_added_up_is_exact() -> None:
    """Positive numbers near 1, whose slices are as large as they can be."""
    rng = np.random.default_rng(5)
    xs = [
        1 - rng.integers(1, 2**20, (1, 2, 500)) * 2.0**-53,
        *(rng.uniform(0.5, 1, (1, 2, 500)) * 2.0 ** (-53 * k - 1) for k in (1, 2, 3, 4, 5)),
    ]
    ys = [x.swapaxes(1, 2).copy() for x in xs]
    assert product_holds(xs, ys, 6) <= 2.0**-317


def test_numbers_that_vanish_are_bounded() -> None:
    """Scaled to 1 a row of very different sizes loses the small ones."""
    xs, ys = [np.array([[[2.0**449, 2.0**-1070]]])], [np.array([[[0.0], [2.0**449]]])]
    product_holds(xs, ys, 3)


def test_what_cannot_be_scaled_is_open_and_what_is_zero_is_exact() -> None:
    """Numbers beyond 2**450, infinite ones, a row of zeros, none at all."""
    y = [np.ones((1, 3, 2))]
    for bad in (2.0**460, np.inf, np.nan):
        x = np.ones((1, 2, 3))
        x[0, 1, 1] = bad
        with np.errstate(all="ignore"):
            found, error = long_sums.dot([x], y, 3)
        assert np.isinf(error[0, 1]).all() and (error[0, 0] < 1e-300).all() and (found[0][0, 0] == 3).all()
    _, error = long_sums.dot([np.zeros((1, 2, 3))], y, 3)
    assert not error.any()
    assert not long_sums.dot([np.zeros((1, 2, 0))], [np.zeros((1, 0, 2))], 3)[1].any()


@pytest.mark.parametrize("words", [1, 3, 6])
def test_sums_hold_the_truth(words: int) -> None:
    """Of one number and of many, whatever cancels."""
    rng = np.random.default_rng(words)
    for count in (1, 2, 3, 8, 31):
        xs = matrix(rng, (5, count), words, 20)
        if count > 2:
            xs[0][:, -1] = -xs[0][:, :-1].sum(-1)
        found, error = long_sums.total(xs, max(words, 3))
        for row in range(5):
            truth = sum((entry(xs, (row, i)) for i in range(count)), Fraction(0))
            assert abs(truth - entry(found, (row,))) <= Fraction(float(error[row]))
        assert (error <= np.abs(xs[0]).sum(-1) * 2.0 ** (8 - 53 * max(words, 3))).all()


def test_what_is_too_far_down_is_bounded() -> None:
    """The product of two last words is no part of the result, but of the radius; so is a number that gives no slice."""
    x, y = ((np.array([1.0]), 0.0, 0.0, np.array([low]), 0.0) for low in (2.0**-159, 3.0 * 2.0**-160))
    found = multiple.multiply(x, y)
    assert found[-1][0] >= 3.0 * 2.0**-319
    small = 2.0**-200
    words, error = long_sums.dot([np.array([[[1.0, small]]])], [np.array([[[1.0], [1.0]]])], 3)
    assert abs(1 + Fraction(small) - entry(words, (0, 0, 0))) <= Fraction(float(error[0, 0, 0]))


def test_only_what_is_apart_is_ordered() -> None:
    """Balls that meet aren't, whichever of their words differ."""
    one, other = ((np.ones(1), low, 0.0, np.array([2.0**-50])) for low in (2.0**-60, -(2.0**-60)))
    assert not any(np.any(answer) for answer in multiple.order(one, other))
    above, below = multiple.order((*one[:-1], 0.0), (*other[:-1], 0.0))
    assert above.all() and not below.any()


def test_sums_of_many_slices_are_exact() -> None:
    """All of them positive, and as large as they can be: those of one size are more than a float holds."""
    rng, step = np.random.default_rng(9), 21
    slices = [2**20 + rng.integers(1, 2**10, 1024) * (-1 if p else 1) for p in range(16)]
    words: list[Floats] = [np.zeros((1, 1, 1024)) for _ in range(6)]
    for k in range(1024):
        rest = sum((Fraction(int(s[k]), 2 ** (step * (p + 1))) for p, s in enumerate(slices)), Fraction(0))
        for word in words:
            word[0, 0, k] = float(rest)
            rest -= Fraction(float(word[0, 0, k]))
    product_holds(words, [word.swapaxes(1, 2).copy() for word in words], 6)


def test_the_larger_number_is_told_by_any_word() -> None:
    """Of two that differ in the third only, or in none."""
    layer = shadowed(4, Precise(), Rounded(FORMATS["float64"]))
    one, other = (
        (np.ones(1), np.full(1, 2.0**-60), np.full(1, low), np.zeros(1), np.zeros((2, 1))) for low in (2.0**-120, 2.0**-119)
    )
    for name, truth in (("maximum", other), ("minimum", one)):
        for pair in ((one, other), (other, one)):
            *words, radii = layer.function(TABLE[name])(*pair)
            assert sum(Fraction(float(np.reshape(word, -1)[0])) for word in words) == sum(
                Fraction(float(w[0])) for w in truth[:-1]
            )
            assert not radii.any()
    *_, radii = layer.function(TABLE["maximum"])(one, one)
    assert not radii[0].any()


@pytest.mark.parametrize("words", [2, 3])
def test_two_ways_to_compute_a_table_are_one(words: int) -> None:
    """A grid computed from its left end and from both ends differs by up to 2 gaps of the largest number: it lies in the
    other's ball; 8 gaps beside is outside."""
    start, stop, count = 0.1, 0.93, 997
    steps = np.arange(count + 1)
    left = start + steps * ((stop - start) / count)
    both = (start * (count - steps) + stop * steps) / count
    gap = DOUBLE.gap(float(np.max(left)))
    assert np.max(np.abs(left - both)) > gap / 2
    high, *_, radii = taped(words, DOUBLE).data(left)
    assert np.all(np.abs(both - high) <= radii[0])
    assert np.all(radii[0] < 8 * gap)

"""Sums and products of matrices against fractions, and what rounding makes of them against single balls."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest

from gradcheck_cli.algebra.columns import long, shadowed, sums
from gradcheck_cli.algebra.columns.enclosing import EXACT, ROUNDED
from gradcheck_cli.algebra.columns.shadowed import Shadowed
from gradcheck_cli.algebra.directions import Precise
from gradcheck_cli.algebra.layers import Rounded
from gradcheck_cli.floats import FORMATS

Floats = np.ndarray[Any, np.dtype[np.float64]]


def drawn(rng: np.random.Generator, shape: tuple[int, ...], spread: int, low: bool) -> tuple[Floats, Floats | None]:
    """Normal numbers of many sizes, a tenth of them 0, with all that a low part may be."""
    high = rng.normal(size=shape) * np.exp2(rng.integers(-spread, spread + 1, shape))
    high[rng.random(shape) < 0.1] = 0.0
    half = np.spacing(np.abs(high)) / 2
    return high, rng.uniform(-1, 1, shape) * np.where(high == 0.0, 0.0, half) if low else None


def exact(words: tuple[Floats, Floats | None], index: tuple[int, ...]) -> Fraction:
    high, low = words
    return Fraction(float(high[index])) + (Fraction(float(low[index])) if low is not None else 0)


def share(truth: Fraction, found: tuple[Floats, Floats, Floats], index: tuple[int, ...]) -> float:
    """The part of the bound that was used: more than 1 is wrong."""
    high, low, error = (float(part[index]) for part in found)
    if np.isinf(error):
        return 0.0
    off = abs(truth - Fraction(high) - Fraction(low))
    return float(off / Fraction(error)) if off else 0.0


def sums_of(seed: int, rounds: int, count: int, spread: int, low: bool) -> float:
    rng, worst = np.random.default_rng(seed), 0.0
    for _ in range(rounds):
        words = drawn(rng, (20, count), spread, low)
        if count > 2:
            words[0][:, -1] = -words[0][:, :-1].sum(-1)  # what is left is small
        found = sums.total(*words)
        for row in range(20):
            truth = sum((exact(words, (row, i)) for i in range(count)), Fraction(0))
            worst = max(worst, share(truth, found, (row,)))
    return worst


SHAPES = ((1, 1, 2, 1), (2, 2, 2, 2), (1, 3, 1, 4), (3, 1, 7, 2), (1, 1, 40, 2), (1, 5, 3, 1), (1, 1, 520, 1))


def products_of(seed: int, shape: tuple[int, int, int, int], spread: int, low: bool, slices: int) -> float:
    rng, (batch, rows, inner, columns) = np.random.default_rng(seed), shape
    return used_by(drawn(rng, (batch, rows, inner), spread, low), drawn(rng, (batch, inner, columns), spread, low), slices)


def used_by(xs: tuple[Floats, Floats | None], ys: tuple[Floats, Floats | None], slices: int) -> float:
    worst, found = 0.0, sums.dot(xs, ys, slices)
    for index in np.ndindex(found[0].shape):
        b, r, c = index
        terms = (exact(xs, (b, r, i)) * exact(ys, (b, i, c)) for i in range(xs[0].shape[-1]))
        worst = max(worst, share(sum(terms, Fraction(0)), found, index))
    return worst


def awkward(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Numbers whose slices leave as much as they can, just above a power of two, where a rounding errs most."""
    high = 1 - rng.integers(1, 2**22, shape) * 2.0**-25 - 2.0**-26 + rng.integers(1, 64, shape) * 2.0**-44 - 2.0**-52
    return high, -rng.uniform(0.5, 1, shape) * 2.0**-54


def awkward_products() -> float:
    rng = np.random.default_rng(0)
    return used_by(awkward(rng, (1000, 1, 2)), awkward(rng, (1000, 2, 1)), 2)


@pytest.mark.parametrize("low", [False, True])
@pytest.mark.parametrize("spread", [0, 30, 400])
def test_sums_hold_the_truth(spread: int, low: bool) -> None:
    """Whatever cancels, and however different the sizes are."""
    for count in (1, 2, 3, 5, 8, 31, 100):
        assert sums_of(count, 2, count, spread, low) <= 0.5


@pytest.mark.parametrize("slices", [1, 2, 3])
@pytest.mark.parametrize("spread", [0, 12, 60, 400])
def test_products_hold_the_truth(spread: int, slices: int) -> None:
    """Of matrices, vectors, a column and a row; in blocks; whatever the sizes are. Half of a bound is never used."""
    for low in (False, True):
        for shape in SHAPES:
            assert products_of(1, shape, spread, low, slices) <= 0.5


def test_awkward_products_hold_the_truth() -> None:
    """Numbers that leave as much as they can."""
    assert awkward_products() <= 0.5


@pytest.mark.parametrize("inner", [5, 64, 500])
def test_products_are_sharp(inner: int) -> None:
    """The error is at most a certain part of the largest numbers, for each term."""
    rng = np.random.default_rng(inner)
    xs, ys = drawn(rng, (1, 7, inner), 0, True), drawn(rng, (1, inner, 5), 0, True)
    largest = np.abs(xs[0]).max(2, keepdims=True) * np.abs(ys[0]).max(1, keepdims=True) * inner
    for slices, bits in ((1, 64), (2, 84), (3, 94)):
        assert (sums.dot(xs, ys, slices)[2] <= largest * 2.0**-bits).all(), slices


def test_what_is_zero_has_no_error() -> None:
    """Rows and columns of zeros, and sums of them, are 0 for certain."""
    x = np.ones((1, 3, 4))
    x[0, 1] = 0.0
    high, low, error = sums.dot((x, None), (np.full((1, 4, 2), np.pi), None))
    assert (high[0, 1] == 0).all() and (low[0, 1] == 0).all() and (error[0, 1] == 0).all() and (error[0, 0] > 0).all()
    assert sums.total(np.zeros((2, 9)), None)[2].max() == 0
    outer = sums.dot((np.array([[[0.0], [1.5]]]), None), (np.array([[[0.1, 0.0]]]), None))
    assert (outer[2] == 0.0).tolist() == [[[True, True], [False, True]]]


@pytest.mark.parametrize("bad", [np.inf, np.nan, 1e300, 1e-300, 5e-324])
def test_what_cannot_be_scaled_is_open(bad: float) -> None:
    """Nothing is certified of a row with such a number, nor wrongly of others."""
    x, y = np.ones((1, 3, 4)), np.ones((1, 4, 2))
    x[0, 1] = bad
    with np.errstate(all="ignore"):
        error = sums.dot((x, None), (y, None))[2]
        assert np.isinf(error[0, 1]).all() and (error[0, [0, 2]] < 1e-20).all()
        outer = sums.dot((x[:, :, :1], None), (y[:, :1] * bad, None))
        total = sums.total(np.array([[bad, 1e308, 1e308]]), None)
    holds = np.isinf(outer[2]) | (np.abs(outer[0]) < 1e-250)
    assert holds[0, 1].all() and np.isinf(total[2]).all()


def test_bounds_of_products_are_bounds() -> None:
    """A product of what isn't negative is never below the truth, also where it underflows; what is open stays so."""
    rng = np.random.default_rng(0)
    for scale in (1.0, 2.0**-530, 2.0**-540):
        x, y = np.abs(rng.normal(size=(3, 9))) * scale, np.abs(rng.normal(size=(9, 2))) * scale
        signs = rng.choice((-1.0, 1.0), x.shape)
        for (found,) in (sums.upper(x[None], y[None]), sums.upper((x * signs)[None], y[None], signed=True)):
            for r, c in np.ndindex(3, 2):
                truth = sum((Fraction(float(x[r, i])) * Fraction(float(y[i, c])) for i in range(9)), Fraction(0))
                assert truth <= Fraction(float(found[r, c])) <= truth * (1 + Fraction(2) ** -40) + Fraction(2) ** -1060
    x[1, 2] = -np.inf
    with np.errstate(all="ignore"):
        assert np.isinf(sums.upper(x[None], y[None] * 0.0, signed=True)[0, 1]).all()
        assert np.isinf(sums.upper(np.abs(x)[None], y[None] * 0.0)[0, 1]).all()


@pytest.mark.parametrize(
    ("constant", "used"),
    [
        ("LOWER", lambda: sums_of(3, 40, 2, 0, True)),
        ("PLAIN", awkward_products),
        ("LAST", lambda: products_of(1, (1, 40, 2, 5), 0, False, 3)),
    ],
)
def test_an_eighth_of_a_constant_is_too_little(constant: str, used: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every constant of a bound is enough, and divided by 8 it isn't."""
    monkeypatch.setattr(sums, constant, getattr(sums, constant) / 8)
    assert used() > 1


# -- both radii, against balls ---------------------------------------------------------------------------------------------


def cell_of(
    layer: Shadowed, rng: np.random.Generator, count: int, radii: bool, zeros: bool
) -> tuple[Any, list[Any], list[Any]]:
    """Numbers as a cell, and as the two kinds of balls: those that are certain to be 0 and others."""
    from flint import arb

    high = rng.normal(size=count)
    none = (rng.random(count) < 0.3) if zeros else np.zeros(count, dtype=bool)
    high[none] = 0.0
    low = np.where(none, 0.0, high * 2.0**-55)
    near = np.where(none, 0.0, np.abs(high) * 2.0**-90) * radii
    far = np.where(none, 0.0, np.abs(high) * layer.form.unit_roundoff * rng.random(count) * 3 + near) * radii
    words = (high, low) if layer.kind == "double" else (high,)
    centres = [sum((arb(float(word[i])) for word in words), arb(0)) for i in range(count)]
    balls = [[c + arb(0, float(r)) for c, r in zip(centres, some, strict=True)] for some in (near, far)]
    return (*words, np.stack([near, far])), balls[EXACT], balls[ROUNDED]


def held(layer: Shadowed, cell: Any, index: int, exact: Any, rounded: Any) -> float:
    """How much wider rounding is than in balls; the exact ball holds that of balls, but for its own roundings."""
    from flint import arb

    *words, radii = cell
    middle = sum((arb(float(word[index])) for word in words), arb(0))
    near, far = float(radii[EXACT, index]), float(radii[ROUNDED, index])
    assert float(abs(exact.mid() - middle).abs_upper()) <= near * (1 + 1e-9)
    assert float(abs(rounded - middle).abs_upper()) <= far * (1 + 1e-6)
    return far / float(rounded.rad()) if not rounded.is_exact() else (1.0 if far == 0.0 else np.inf)


def layers() -> Iterator[tuple[Shadowed, Rounded]]:
    for name, kind in (("float64", ""), ("float32", ""), ("float32", "double"), ("bfloat16", "")):
        rounded = Rounded(FORMATS[name])
        yield Shadowed(Precise(), rounded, kind=kind), rounded


@pytest.mark.parametrize("radii", [False, True])
@pytest.mark.parametrize("zeros", [(False, False), (True, False), (False, True), (True, True)])
def test_rounding_is_that_of_balls(radii: bool, zeros: tuple[bool, bool]) -> None:
    """Sums and products have the room for rounding that balls have: what is certainly 0 takes none."""
    from flint import ctx

    rng, slack = np.random.default_rng(2), 1.0 + 2.0**-20
    shapes = [(2, 3, 6, 4), (2, 3, 1, 4), (1, 5, 4, 1)]
    with ctx.workprec(200):
        for (layer, rounded), (batch, rows, inner, columns) in product(layers(), shapes):
            xs, exact_x, rounded_x = cell_of(layer, rng, batch * rows * inner, radii, zeros[0])
            ys, exact_y, rounded_y = cell_of(layer, rng, batch * inner * columns, radii, zeros[1])
            for parts in (False, True):
                found = layer.dot(xs, ys, batch, rows, inner, columns, parts)
                for place, (b, r, c) in enumerate(np.ndindex(batch, rows, columns)):
                    row = slice((b * rows + r) * inner, (b * rows + r + 1) * inner)
                    column = slice(b * inner * columns + c, (b + 1) * inner * columns, columns)
                    one = Precise().dot(exact_x[row], exact_y[column])
                    other = rounded.dot(rounded_x[row], rounded_y[column], parts)
                    assert held(layer, found, place, one, other) <= slack
            found = layer.total(xs, batch * rows, inner)
            for place in range(batch * rows if inner > 4 else 0):  # of a single number the bound isn't quite 0
                row = slice(place * inner, (place + 1) * inner)
                one, other = Precise().total(exact_x[row]), rounded.total(rounded_x[row])
                assert held(layer, found, place, one, other) <= slack


def test_what_is_open_stays_open() -> None:
    """A number of which nothing is known, also times 0."""
    layer = Shadowed(Precise(), Rounded(FORMATS["float64"]))
    *words, radii = layer.data(np.array([1.0, 0.0, 2.0, 3.0]))
    radii = np.broadcast_to(radii, (2, 4)).copy()
    radii[:, 2] = np.inf
    zeros = layer.data(np.zeros(2))
    with np.errstate(all="ignore"):
        assert np.isinf(layer.total((*words, radii), 2, 2)[-1]).tolist() == [[False, True]] * 2
        assert np.isinf(layer.dot((*words, radii), zeros, 1, 2, 2, 1)[-1]).tolist() == [[False, True]] * 2


@pytest.mark.parametrize("inner", [1, 2])
@pytest.mark.parametrize("words", [2, 4])
def test_large_products_are_made_in_pieces(inner: int, words: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several matrices, of numbers with and without zeros, some rows at a time: the same as at once, but for what a
    library adds up in another order, and for the largest low part, which is a piece's."""
    monkeypatch.setattr(shadowed, "LEAST", 1)
    rng, shape, made = np.random.default_rng(inner), (2, 25, inner, 24), list[int]()
    layer = long.shadowed(words, Precise(), Rounded(FORMATS["float64"]))
    product_of = type(layer)._product

    def counted(self: Any, x: Any, y: Any, parts: bool, end: bool) -> Any:
        made.append(x.high.shape[1])
        return product_of(self, x, y, parts, end)

    monkeypatch.setattr(type(layer), "_product", counted)
    more = [np.zeros(())] * (words - 2)
    for zeros in product((False, True), repeat=2):
        (*x, r), (*y, s) = (
            cell_of(Shadowed(Precise(), Rounded(FORMATS["float64"])), rng, n, True, some)[0]
            for n, some in zip((50 * inner, 48 * inner), zeros, strict=True)
        )
        found = []
        for chunk in (1 << 20, 100):
            monkeypatch.setattr(sums, "CHUNK", chunk)
            made.clear()
            found.append(layer.dot((*x, *more, r), (*y, *more, s), *shape))
            assert sum(made) == (25 if chunk > 100 else 50) and max(made) <= (25 if chunk > 100 else 4)
        (*one, radii), (*other, others) = found
        apart = np.abs(sum(a - b for a, b in zip(one, other, strict=True)))
        assert (apart <= radii[EXACT] + others[EXACT]).all() and (np.abs(radii - others) <= 0.1 * others).all()
        assert inner > 1 or not apart.any()

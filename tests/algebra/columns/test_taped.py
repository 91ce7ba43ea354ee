"""Derivatives by all numbers that something was made of, on columns, against difference quotients at high precision and exact
fractions."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest
from flint import arb, ctx

from gradcheck_cli.algebra.balls import SMOOTH
from gradcheck_cli.algebra.columns.column import Column
from gradcheck_cli.algebra.columns.layer import Cell
from gradcheck_cli.algebra.columns.long import taped
from gradcheck_cli.algebra.columns.words import OPEN
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.floats import Floats
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.tree import variables
from tests.expressions import random_formula

STEP = arb(2) ** -400


def inputs(words: int, *arrays: Floats, moving: Floats | None = None) -> list[Cell]:
    """The first numbers of a layer; `moving`: which of the last ones move."""
    layer = taped(words)
    layer.begin()
    return [layer.data(x, np.ones(len(x)) if moving is None or i < len(arrays) - 1 else moving) for i, x in enumerate(arrays)]


def derivatives(words: int, count: int, *results: tuple[Cell, Floats]) -> Column:
    with np.errstate(all="ignore"):
        found = taped(words).derivatives(results, count)
    assert found is not None
    return found


def run(words: int, text: str, *cells: Cell) -> Cell:
    tree = parse(text)
    with np.errstate(all="ignore"):
        (found,) = Program([tree], sorted(set(variables(tree))), taped(words))(*cells)
    return found


@pytest.mark.parametrize("words", [2, 4])
def test_derivatives_of_random_formulas_are_what_quotients_say(words: int) -> None:
    """Where a derivative is certified it holds the difference quotient, at 1,000 bits with a step of 2**-400: of the sum of a
    formula at five points, each times a float, by every variable."""
    held = 0
    for seed in range(120 if words == 2 else 16):
        rng, draw = random.Random(seed), np.random.default_rng(seed)
        text = random_formula(rng, rng.choice((1, 2)))
        tree = parse(text)
        names = sorted(set(variables(tree)))
        xs, weights = draw.uniform(-3, 3, (len(names), 5)), draw.integers(1, 9, 5) * 1.0
        plain = Program([tree], names, SMOOTH, lambda: ctx.prec)
        cell = run(words, text, *inputs(words, *xs))
        for i in range(5):  # a point that is open spoils no other
            with np.errstate(all="ignore"):
                found = taped(words).derivatives([(cell, np.where(np.arange(5) == i, weights, 0.0))], xs.size)
            for k in range(len(names)) if found is not None else ():
                with ctx.workprec(1000):
                    there, here = (
                        plain(*(arb(x) + (h if n == k else 0) for n, x in enumerate(xs[:, i])))[0] for h in (STEP, -STEP)
                    )
                    quotient = (there - here) / (2 * STEP) * weights[i]
                    radius = float(found.radius[5 * k + i])
                    if radius < OPEN and quotient.is_finite():
                        held += 1
                        middle = arb(float(found.high[5 * k + i])) + float(found.low[5 * k + i])
                        assert abs(quotient - middle) <= radius + abs(quotient) * arb(2) ** -200 + arb(2) ** -350, (text, i)
    assert held > (400 if words == 2 else 40)


@pytest.mark.parametrize("text", ["abs(x)", "relu(x)", "sqrt(x)", "where(x*x > 0, 5*x, 0)", "maximum(x, -x)"])
def test_a_kink_is_not_known(text: str) -> None:
    """At 0 there is no derivative; beside it there is."""
    cell = run(2, text, *inputs(2, np.array([0.0, 1.0])))
    with np.errstate(all="ignore"):
        assert taped(2).derivatives([(cell, np.array([1.0, 0.0]))], 2) is None
    known = derivatives(2, 2, (cell, np.array([0.0, 1.0])))
    assert known.radius.max() < 1e-20 and known.high[0] == 0.0 and known.high[1] > 0.0


def test_what_is_not_chosen_spoils_nothing() -> None:
    """log(x) of a negative number, behind a choice of the other branch, adds exactly nothing."""
    cell = run(2, "where(x > 0, log(x), 3*x)", *inputs(2, np.array([-2.0, 4.0])))
    known = derivatives(2, 2, (cell, np.ones(2)))
    assert known.radius.max() < 1e-25 and known.high.tolist() == [3.0, 0.25]


def test_what_hangs_on_no_input_stands_still() -> None:
    """Rows of a product, sums and what is added up of numbers that don't move meet their equals, and are no kinks; beside one
    that moves they are, whichever rows others are in."""
    layer = taped(2)
    x, y = inputs(2, np.array([2.0]), np.zeros(3), moving=np.array([0.0, 0.0, 1.0]))
    for made in (layer.dot(y, layer.data(np.array([1.0])), 1, 3, 1, 1), run(2, "x + y", y, y), layer.total(y, 3, 1)):
        larger = run(2, "maximum(x, y)", made, made)
        with np.errstate(all="ignore"):
            assert layer.derivatives([(larger, np.array([1.0, 1.0, 0.0])), (x, np.ones(1))], 4) is not None
            assert layer.derivatives([(larger, np.array([0.0, 0.0, 1.0]))], 4) is None


def fraction(known: Column, i: int) -> tuple[Fraction, Fraction]:
    return Fraction(float(known.high[i])) + Fraction(float(known.low[i])), Fraction(float(known.radius[i]))


@pytest.mark.parametrize("words", [2, 4])
def test_products_and_sums_have_the_derivatives_of_fractions(words: int) -> None:
    """Of <W, XY> by X it is W Y', by Y it is X' W; of numbers that were added up, and are used many times over, the sum of the
    weights of all their uses. What stands still hangs on nothing, and is 0."""
    draw, layer = np.random.default_rng(0), taped(words)
    x, y, w = (draw.normal(size=n) * 2.0 ** draw.integers(-20, 20, n) for n in (6, 12, 8))
    left, right = inputs(words, x, y, moving=np.array([0.0] + [1.0] * 11))
    known = derivatives(words, 18, (layer.dot(left, right, 1, 2, 3, 4), w))
    wanted = [
        sum((Fraction(w[4 * r + c]) * Fraction(y[4 * k + c]) for c in range(4)), Fraction(0)) for r in (0, 1) for k in range(3)
    ]
    wanted += [
        sum((Fraction(w[4 * r + c]) * Fraction(x[3 * r + k]) for r in (0, 1)), Fraction(0)) for k in range(3) for c in range(4)
    ]
    wanted[6] = Fraction(0)
    for i, number in enumerate(wanted):
        middle, radius = fraction(known, i)
        assert abs(middle - number) <= radius <= 2.0**-33
    (cell,) = inputs(words, x)
    places = draw.integers(0, 6, 40)
    many = tuple(np.take(np.broadcast_to(part, (*np.shape(part)[:-1], 6)), places, axis=-1) for part in cell)
    weights = draw.normal(size=8)
    known = derivatives(words, 6, (layer.total(many, 8, 5), weights))
    for i in range(6):
        middle, radius = fraction(known, i)
        uses = sum((Fraction(weights[n // 5]) for n in np.flatnonzero(places == i).tolist()), Fraction(0))
        assert abs(middle - uses) <= radius <= 2.0**-90


def test_a_function_that_is_used_twice_counts_twice() -> None:
    """d/dx of y*y + y for y = sin(x): places of one number in several operations."""
    layer = taped(2)
    (x,) = inputs(2, np.array([0.5, -1.25]))
    y = run(2, "sin(x)", x)
    z = run(2, "x*x + x", y)
    known = derivatives(2, 2, (z, np.ones(2)), (y, np.array([0.0, 3.0])))
    for i, (v, extra) in enumerate(((0.5, 0), (-1.25, 3))):
        with ctx.workprec(300):
            exact = (2 * arb(v).sin() + 1 + extra) * arb(v).cos()
            assert abs(arb(float(known.high[i])) + float(known.low[i]) - exact) <= float(known.radius[i])
    assert layer.derivatives([(z, np.zeros(2))], 2) is not None

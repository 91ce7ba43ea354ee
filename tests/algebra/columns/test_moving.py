"""Numbers and their slopes on columns, against difference quotients at high precision and exact fractions."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from flint import arb, ctx

from gradcheck_cli.algebra.balls import SMOOTH
from gradcheck_cli.algebra.columns.layer import Cell
from gradcheck_cli.algebra.columns.moving import SLOPE, VALUE, Moving
from gradcheck_cli.algebra.columns.words import OPEN
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.tree import variables
from tests.expressions import random_formula

LAYER = Moving()
STEP = arb(2) ** -400


def run(text: str, *cells: Cell) -> Cell:
    """A formula of cells, its variables in the order of the alphabet."""
    tree = parse(text)
    with np.errstate(all="ignore"):
        (found,) = Program([tree], sorted(set(variables(tree))), LAYER)(*cells)
    return found


def slopes(cell: Cell, count: int) -> list[tuple[Any, float]]:
    """The slopes as balls' middles, and their radii."""
    _, _, high, low, _, radii = cell
    parts = (np.broadcast_to(part, count) for part in (high, low, radii[SLOPE]))
    with ctx.workprec(200):
        return [(arb(float(h)) + float(w), float(r)) for h, w, r in zip(*parts, strict=True)]


def test_slopes_of_random_formulas_are_what_quotients_say() -> None:
    """Where a slope is certified it holds the difference quotient along the direction, at 1,000 bits with a step of 2**-400."""
    held = 0
    for seed in range(120):
        rng, draw = random.Random(seed), np.random.default_rng(seed)
        text = random_formula(rng, rng.choice((1, 2)))
        tree = parse(text)
        names = sorted(set(variables(tree)))
        xs, us = draw.uniform(-3, 3, (len(names), 5)), draw.integers(-9, 10, (len(names), 5)) * 1.0
        plain = Program([tree], names, SMOOTH, lambda: ctx.prec)
        for i, (found, radius) in enumerate(slopes(run(text, *map(LAYER.data, xs, us)), 5)):
            with ctx.workprec(1000):
                there, here = (
                    plain(*(arb(x) + arb(u) * h for x, u in zip(xs[:, i], us[:, i], strict=True)))[0] for h in (STEP, -STEP)
                )
                quotient = (there - here) / (2 * STEP)
                if radius < OPEN and quotient.is_finite():
                    held += 1
                    assert abs(quotient - found) <= radius + abs(quotient) * arb(2) ** -200 + arb(2) ** -350, (text, i)
    assert held > 250


@pytest.mark.parametrize(
    "text", ["abs(x)", "relu(x)", "sign(x)", "floor(x)", "sqrt(x)", "where(x*x > 0, 5*x, 0)", "maximum(x, -x)"]
)
def test_a_kink_is_open(text: str) -> None:
    """At 0, also where what is compared has the slope 0 there: x*x > 0 holds beside the point."""
    *_, radii = run(text, LAYER.data(np.zeros(1), np.ones(1)))
    assert radii[SLOPE].max() == OPEN


def test_equal_numbers_that_stand_still_are_equal() -> None:
    """A unit that a ReLU has switched off is the constant 0: the next ReLU meets no kink there."""
    layer = Moving()
    relu = Program([parse("relu(x)")], ["x"], layer)
    (off,) = relu(layer.data(np.array([-1.0, 2.0]), np.ones(2)))
    ((*_, radii),) = relu(off)
    assert not radii.any() and not layer.tied
    relu(layer.data(np.zeros(1), np.ones(1)))
    assert layer.tied


def product_of(a: Any, b: Any) -> list[Fraction]:
    """A matrix of 2 x 3 times one of 3 x 4."""
    return [
        sum((Fraction(a[3 * i + k]) * Fraction(b[4 * k + j]) for k in range(3)), Fraction(0)) for i in (0, 1) for j in range(4)
    ]


def test_sums_and_products_have_the_slopes_of_fractions() -> None:
    """Of matrices: (XY)' = X'Y + XY', exactly; and of sums."""
    draw = np.random.default_rng(0)
    x, dx, y, dy = (draw.normal(size=n) * 2.0 ** draw.integers(-20, 20, n) for n in (6, 6, 12, 12))
    product = LAYER.dot(LAYER.data(x, dx), LAYER.data(y, dy), 1, 2, 3, 4)
    wanted = [p + q for p, q in zip(product_of(dx, y), product_of(x, dy), strict=True)]
    total = LAYER.total(LAYER.data(y, dy), 3, 4)
    sums = [sum(map(Fraction, dy[4 * i : 4 * i + 4]), Fraction(0)) for i in range(3)]
    for cell, results in ((product, wanted), (total, sums)):
        assert cell[-1][VALUE].max() < OPEN
        for (middle, radius), fraction in zip(slopes(cell, len(results)), results, strict=True):
            with ctx.workprec(2000):
                assert abs(middle - arb(fraction.numerator) / fraction.denominator) <= radius
            assert radius <= 2.0**-75 * 2.0**42

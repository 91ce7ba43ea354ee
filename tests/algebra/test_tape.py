"""Numbers that know what they were made of have the derivatives by all of it."""

from __future__ import annotations

import math
from typing import Any

import mpmath as mp
import pytest
from flint import arb

from gradcheck_cli.algebra.directions import Directional
from gradcheck_cli.algebra.number import NAN, Ball, working
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.algebra.series import terms
from gradcheck_cli.algebra.tape import Taped, derivatives
from gradcheck_cli.language.parser import parse
from tests.algebra.test_jets import FUNCTIONS, POINT


def gradient(text: str, *point: float) -> list[Ball]:
    """Of a formula of x and y."""
    with working(200), terms(2):
        inputs = [Taped(arb(x)) for x in point]
        return derivatives(Program([parse(text)], ["x", "y"], Directional())(*inputs)[0], inputs)


@pytest.mark.parametrize("text", FUNCTIONS)
def test_quotients_lie_within_all_derivatives(text: str) -> None:
    """Every derivative encloses mpmath's central difference of the plain function, to 28 digits."""
    function = FUNCTIONS[text]
    with mp.workdps(80):
        h = mp.mpf(2) ** -60
        for found, (dx, dy) in zip(gradient(text, *POINT), ((h, 0), (0, h)), strict=True):
            x, y = map(mp.mpf, POINT)
            wanted = (function(x + dx, y + dy) - function(x - dx, y - dy)) / (2 * h)
            near = arb(mp.nstr(wanted, 60)) + arb(0, 1e-28)
            assert near.overlaps(found)
            assert found.rel_accuracy_bits() > 90 or abs(found) < 1e-28


@pytest.mark.parametrize(
    "text",
    [
        "maximum(x, y)", "abs(x - y)", "where(x < y, x, y)", "relu(x - y)*0", "sqrt(x - y)", "1/(x - y)", "log(x - y)",
        "x/(x - y)", "exp(1/(x - y))", "sin(1/(x - y))", "cos(log(x - y))", "sqrt(x - y - 1)",
    ],
)  # fmt: skip
def test_a_decision_that_isnt_certain_leaves_nothing(text: str) -> None:
    """At a border both derivatives are unknown: nan, never a number."""
    assert all(not found.is_finite() for found in gradient(text, 0.75, 0.75))


def test_what_is_unknown_stays_so_but_where_it_isnt_selected() -> None:
    """No function makes a number of nan; a branch that isn't taken makes none of the result."""
    assert all(not found.is_finite() for found in gradient("(1/(x - y))**0 + sin(1/(x - y))*0", 0.75, 0.75))
    assert list(map(float, gradient("where(x > 0, 3*x, 1/(x - y))", 0.75, 0.75))) == [3.0, 0.0]


def test_sums_and_products_are_one_number_of_many() -> None:
    """Of cells some of which hang on inputs: their sum, and their scalar product, by the product rule."""
    layer = Directional()
    with working(128), terms(2):
        x, y = Taped(arb(2)), Taped(arb(5))
        cells: list[Any] = [x, arb(3), y, x]
        assert [float(d) for d in derivatives(layer.total(cells), [x, y])] == [2.0, 1.0]
        product = layer.dot(cells, [y, x, arb(7), x])  # x*y + 3*x + 7*y + x**2
        assert float(product.value) == 10 + 6 + 35 + 4
        assert [float(d) for d in derivatives(product, [x, y])] == [5 + 3 + 4, 2 + 7]
        assert len(product.made) == 6


def test_inputs_that_make_nothing() -> None:
    """The derivative by what a number isn't made of is 0; of a number without a value nothing is known; a chain of a
    hundred thousand numbers is no deep recursion."""
    x, y = Taped(arb(2)), Taped(arb(5))
    assert list(map(float, derivatives(x * 3, [x, y]))) == [3.0, 0.0]
    assert list(map(float, derivatives(arb(1), [x]))) == [0.0]
    assert math.isnan(float(derivatives(NAN, [x])[0]))
    assert math.isnan(float(derivatives(x * NAN, [y])[0]))
    long = x
    for _ in range(100_000):
        long = long + y
    assert list(map(float, derivatives(long, [x, y]))) == [1.0, 100_000.0]
    del long

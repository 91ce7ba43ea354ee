"""Rational constants are exact, infinities are known, and everything else is left to the balls."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from gradcheck_cli.language.constants import exact_constant
from gradcheck_cli.language.parser import parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1/3 + 1/6", Fraction(1, 2)),
        ("0.1", Fraction(0.1)),
        ("-(2 - 3*4)/5", Fraction(2)),
        ("inf", math.inf),
        ("-inf", -math.inf),
        ("-(-inf)", math.inf),
    ],
)
def test_literals_signs_and_operators_are_exact(text: str, value: Fraction | float) -> None:
    """A decimal is the double that Python reads; sums, products and quotients of such are fractions."""
    found = exact_constant(parse(text))
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["pi", "sqrt(4)", "1/0", "inf - inf", "2*inf", "x", "1 < 2", "1 + pi/pi"])
def test_what_is_not_rational_is_left_alone(text: str) -> None:
    """Functions, divisions by zero, sums with infinities, variables and truth values have no exact constant."""
    assert exact_constant(parse(text)) is None


def test_exact_constants_stay_small() -> None:
    """Products of many literals leave the fast path instead of growing without bound."""
    assert exact_constant(parse("*".join(["1e300"] * 50))) is None

"""The layers of the shadow: rounding is bounded from both sides, constants are what their author meant, what isn't decided is
not known. The oracle is the standard model itself, and arithmetic done by Python's fractions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
import torch
from flint import arb, arb_series, fmpq

from gradcheck_cli.algebra.directions import Directional, Kept, Precise, slope
from gradcheck_cli.algebra.layers import HULL, Exact, Rounded
from gradcheck_cli.algebra.number import NAN, working
from gradcheck_cli.algebra.series import terms
from gradcheck_cli.floats import FORMATS, Format
from gradcheck_cli.language.functions import ROWS, TABLE
from tests.formats import DOUBLE, SINGLE

EVERY = [pytest.param(form, id=name) for name, form in FORMATS.items()]


@pytest.fixture(autouse=True)
def precise() -> Iterator[None]:
    """Balls so sharp that what is seen is the layers' own doing."""
    with working(200):
        yield


def holds(ball: Any, exact: Fraction) -> bool:
    return bool(ball.contains(fmpq(exact.numerator, exact.denominator)))


def radius(ball: Any) -> float:
    return float(ball.rad())


@pytest.mark.parametrize("form", EVERY)
def test_one_rounding_is_a_roundoff(form: Format) -> None:
    """A correctly rounded operation adds one roundoff of its result, for rounding and no more."""
    layer = Rounded(form)
    counted = 0
    for row in (r for r in ROWS if r.ulps == 1 and r.operator and not r.truth and len(r.parameters) == 2):
        cell = layer.function(row)(arb(3), arb(7))
        exact = abs(float(HULL.evaluate(row.name)(arb(3), arb(7))))
        if exact:
            assert form.unit_roundoff * exact <= radius(cell) <= 1.01 * form.unit_roundoff * exact + 2 * form.smallest_subnormal
            counted += 1
    assert counted >= 4


def test_a_kernel_is_as_good_as_its_row_says() -> None:
    """A kernel that promises n ulps adds 2*n roundoffs, and what its row says near 0: no less, and hardly more."""
    layer, counted = Rounded(DOUBLE), 0
    for row in (r for r in ROWS if r.ulps > 1 and len(r.parameters) == 1 and not r.truth):
        at = arb(0.75) if HULL.evaluate(row.name)(arb(0.75)).is_finite() else arb(1.75)
        exact = HULL.evaluate(row.name)(at)
        if not exact.is_finite() or exact.is_zero():
            continue
        wanted = 2 * DOUBLE.unit_roundoff * row.ulps * (abs(float(exact)) + row.absolute)
        assert wanted * 0.99 <= radius(layer.function(row)(at)) <= 1.01 * wanted + 2 * DOUBLE.smallest_normal, row.name
        counted += 1
    assert counted >= 20


def test_a_kernel_that_adds_up_errs_at_its_zeros_too() -> None:
    """torch.sinc(1) is 3.9e-17, for pi is rounded in it; the exact value is 0. What is 0 by a choice, or a kernel of one step,
    stays 0."""
    layer = Rounded(DOUBLE)
    for at in (1.0, 2.0, -7.0, 1e5):
        assert layer.function(TABLE["sinc"])(arb(at)).contains(arb(float(torch.sinc(torch.tensor(at, dtype=torch.float64)))))
    assert layer.function(TABLE["sin"])(arb(0)).is_zero()


@pytest.mark.parametrize("form", EVERY)
def test_a_conversion_rounds(form: Format) -> None:
    """A number that is converted to a format may be off by half a gap, above the smallest normal number and below."""
    layer = Rounded(DOUBLE)
    for exact in (1 + Fraction(1, 2**53) + Fraction(1, 2**60), Fraction(form.smallest_subnormal) * Fraction(13, 10)):
        cell = layer.convert(arb(fmpq(exact.numerator, exact.denominator)), form)
        gap = form.gap(float(exact))
        assert gap / 2 * 0.99 <= radius(cell) <= 1.01 * gap + 1.01 * form.smallest_subnormal
    assert layer.convert(arb(0), form).is_zero()


def test_sums_in_any_order() -> None:
    """A sum holds what it is in any order of additions in floats; and is at most n roundoffs of its terms' size wide."""
    terms_ = [1e16, 1.0, -1e16, 3.0, 0.1, -7e15]
    exact = sum(map(Fraction, terms_), Fraction(0))
    orders = [terms_, terms_[::-1], sorted(terms_), sorted(terms_, key=abs), sorted(terms_, key=abs, reverse=True)]
    layer = Rounded(DOUBLE)
    size = sum(map(abs, terms_))
    for cell, count in (
        (layer.total([arb(t) for t in terms_]), len(terms_) - 1),
        (layer.dot([arb(t) for t in terms_], [arb(1)] * len(terms_)), len(terms_)),
    ):
        assert holds(cell, exact)
        for some in orders:
            total = 0.0
            for term in some:
                total += term
            assert cell.contains(arb(total))
        assert count * DOUBLE.unit_roundoff * size * 0.99 <= radius(cell) <= 1.01 * count * DOUBLE.unit_roundoff * size
    assert radius(layer.total([arb(0.1)])) == 0 and radius(layer.total([arb(0.1), arb(0)])) == 0


def test_short_formats_add_in_single() -> None:
    """Kernels add 16-bit numbers in float32 and round once at the end."""
    half = FORMATS["float16"]
    cell = Rounded(half).total([arb(1)] * 1000)
    assert 0.99 * half.unit_roundoff * 1000 <= radius(cell) <= 1.2 * half.unit_roundoff * 1000


MEANT = {
    "0.1": (0.1, Fraction(1, 10)),
    "1/3": (1 / 3, Fraction(1, 3)),
    "2/3 by sums": (0.1 + 0.2, Fraction(3, 10)),
    "sqrt(2)": (math.sqrt(2.0), Fraction(665857, 470832) - Fraction(1, 627013566048)),
}


@pytest.mark.parametrize("name", MEANT)
def test_a_constant_is_what_was_meant(name: str) -> None:
    """A constant that was rounded stands for the number it was rounded from, within 2 gaps and no more; short fractions,
    whole numbers and powers of two stand for themselves."""
    value, meant = MEANT[name]
    cell = Exact().number(value, DOUBLE)
    assert holds(cell, meant)
    assert DOUBLE.gap(value) <= radius(cell) <= 2.01 * DOUBLE.gap(value)
    assert Precise().number(value, DOUBLE).is_exact()
    for short in (0.5, 1.375, 1023.25, 3.0, 1e15, 2.0**-70, DOUBLE.largest):
        assert Exact().number(short, DOUBLE) == arb(short)


def test_a_table_is_what_it_was_rounded_from() -> None:
    """Numbers that code keeps are off by 4 gaps of the largest, and no more; short ones stand for themselves."""
    small, tenth, half = Kept().data([0.1, 0.7, 0.5], DOUBLE)
    for cell in (small, tenth):
        assert 3.99 * DOUBLE.gap(0.7) <= radius(cell) <= 4.01 * DOUBLE.gap(0.7)
    assert half == arb(0.5)


def test_what_is_not_decided_is_both() -> None:
    """A choice whose condition isn't known encloses both branches; numbers that overlap share their ranks."""
    choose = Exact().function(TABLE["where"])
    assert choose is not None
    both = choose(None, arb(1), arb(3))
    assert both.contains(arb(1)) and both.contains(arb(3))
    assert choose(True, arb(1), arb(3)) == 1 and choose(False, arb(1), arb(3)) == 3
    wide = [arb(1, 0.6), arb(5), arb(2, 0.6), arb(2)]
    assert [sorted(group) for group in Exact().ranks(wide)] == [[0, 2, 3], [1]]
    low, high = Exact().sorted([arb(1, 0.75), arb(2, 0.75)])
    assert low.contains(arb(0.25)) and low.contains(arb(1.75)) and high.contains(arb(1.25)) and high.contains(arb(2.75))


def test_along_a_direction_ties_are_not_ordered() -> None:
    """Numbers that are equal at the point and move apart have no order, nor has a branch that stands still a slope; what has no
    value has no derivative."""
    layer = Directional()
    with terms(2):
        apart = [arb_series([1, 1], 2), arb_series([1, 2], 2)]
        together = [arb_series([1, 1], 2), arb_series([1, 1], 2)]
        assert all(c.is_nan() for c in layer.sorted(apart))
        assert layer.sorted(together) == together
        assert slope(arb_series([NAN, 1], 2)).is_nan()
        relu = layer.function(TABLE["relu"])
        assert relu is not None
        assert isinstance(relu(arb_series([-1, 1], 2)), arb)
        assert slope(relu(arb_series([3, 5], 2))) == 5


def test_a_layer_within_a_shorter_format() -> None:
    """Code that computes in a shorter format on its way rounds to that; in a longer one it rounds as before."""
    layer = Rounded(DOUBLE)
    add = layer.within(SINGLE).function(TABLE["add"])
    assert add is not None
    assert radius(add(arb(1), arb(2))) > 3 * SINGLE.unit_roundoff * 0.99
    assert layer.within(None) is layer and Rounded(SINGLE).within(DOUBLE).form is SINGLE

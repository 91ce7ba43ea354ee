"""A chain in plain balls, with offsets: what quotients are made of; certainly outside of the domain, and only certainly."""

from __future__ import annotations

import math

import pytest
from flint import arb, ctx

from gradcheck_cli.exact.values import Values, undefined
from gradcheck_cli.language.chain import link

SKIP = ["z = 2*x", "w = sin(z) + x", "y = w*z"]


def test_every_name_has_a_ball() -> None:
    """Inputs and stages, at the present precision, by plain composition."""
    values = Values(link(SKIP))
    for precision in (64, 500, 64):
        with ctx.workprec(precision):
            found = values.every({"x": arb(0.3)}, {})
            assert set(found) == {"x", "z", "w", "y"}
            assert found["y"].overlaps((arb(0.6).sin() + arb(0.3)) * arb(0.6))
            assert abs(found["y"].rel_accuracy_bits() - precision) < 12
    assert math.isclose(float(values({"x": arb(0.3)}, {})), (math.sin(0.6) + 0.3) * 0.6, rel_tol=1e-14)


def test_offsets_move_inputs_and_stages() -> None:
    """An offset on an input moves everything; one on a stage moves what comes after it, on every path."""
    values = Values(link(SKIP))
    x, h = arb(0.25), arb(0.5)
    assert values.every({"x": x}, {"x": h})["z"] == 1.5
    moved = values.every({"x": x}, {"z": h})
    assert moved["x"] == x
    assert moved["z"] == 1
    assert moved["w"].overlaps(arb(1).sin() + x)
    assert moved["y"].overlaps(arb(1).sin() + x)
    assert values({"x": x}, {"y": arb(1)}).overlaps(values({"x": x}, {}) + 1)


def test_outside_of_the_domain_is_nan() -> None:
    """No exception: a stage without a value is a nan ball, and so is all that uses it."""
    found = Values(link(["a = log(x)", "b = x + 1", "y = a + b"])).every({"x": arb(-1)}, {})
    assert found["a"].is_nan()
    assert found["b"] == 0
    assert found["y"].is_nan()


# -- outside of the domain ----------------------------------------------------------------------------------------------

CASES: list[tuple[str, dict[str, float], bool]] = [
    # a formula without a value at the point; is that certain at this precision?
    ("1/x", {"x": 0.0}, True),
    ("log(x)", {"x": -1.0}, True),
    ("log(x)", {"x": 0.0}, True),
    ("sqrt(x)", {"x": -5e-324}, True),
    ("acos(x)", {"x": 1.0000000000000002}, True),
    ("x**0.5", {"x": -2.0}, True),
    ("0**x", {"x": -1.0}, True),
    ("gamma(x)", {"x": -3.0}, True),
    ("atan2(x, y)", {"x": 0.0, "y": 0.0}, True),
    ("besselk(0, x)", {"x": -1.0}, True),
    ("polygamma(1, x)", {"x": -2.0}, True),
    ("sin(log(x)) + 1", {"x": -1.0}, True),
    ("exp(-1/x**2)", {"x": 0.0}, True),
    ("log(sin(x)**2 + cos(x)**2 - 3)", {"x": 0.7}, True),
    ("where(x > 0, x, log(x))", {"x": -1.0}, True),
    # undecided: a ball that touches the edge of the domain
    ("acos(sin(x)**2 + cos(x)**2)", {"x": 0.7}, False),
    ("log(exp(log(x)) - x)", {"x": 0.7}, False),
    ("1/(sqrt(x)**2 - x)", {"x": 0.7}, False),
    ("acos(sqrt(p)*sqrt(q) + sqrt(1-p)*sqrt(1-q))", {"p": 0.25, "q": 0.25}, False),
    ("where(sqrt(x)**2 < x, log(-x), log(x))", {"x": 0.7}, False),
    ("sqrt(exp(log(x)) - x)", {"x": 0.7}, False),
]


@pytest.mark.parametrize(("text", "point", "certain"), CASES, ids=lambda v: str(v))
@pytest.mark.parametrize("precision", [128, 1024])
def test_undefined(text: str, point: dict[str, float], certain: bool, precision: int) -> None:
    """True for what has no value at any precision, False where balls only can't tell."""
    values = Values(link([text]))
    with ctx.workprec(precision):
        exact = {name: arb(x) for name, x in point.items()}
        if not values(exact, {}).is_finite():
            assert undefined(values, exact) is certain
        else:
            assert not certain


def test_the_branch_that_is_not_selected_does_not_count() -> None:
    """where has a value if the selected branch has one, so the question doesn't come up."""
    values = Values(link(["where(x > 0, x, log(x))"]))
    assert values({"x": arb(2)}, {}) == 2
    assert values({"x": arb(-1)}, {}).is_nan()


def test_a_stage_in_the_middle() -> None:
    """The first stage without a value is looked at, wherever it stands."""
    values = Values(link(["a = x - 1", "b = log(a)", "y = sin(b) + a"]))
    assert undefined(values, {"x": arb(0.5)})
    assert undefined(values, {"x": arb(1)})
    late = Values(link(["a = sqrt(x)**2 - x", "y = 1/a"]))
    assert not undefined(late, {"x": arb(0.7)})
    assert undefined(late, {"x": arb(-0.7)})

"""A chain in plain balls, with offsets: what quotients are made of."""

from __future__ import annotations

import math

from flint import arb, ctx

from gradcheck_cli.exact.values import Values, working_precision
from gradcheck_cli.problem import link

SKIP = ["z = 2*x", "w = sin(z) + x", "y = w*z"]


def test_every_name_has_a_ball() -> None:
    """Inputs and stages, at the present precision, by plain composition."""
    values = Values(link(SKIP))
    for precision in (64, 500, 64):
        with ctx.workprec(precision):
            assert working_precision() == precision
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

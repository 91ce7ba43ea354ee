"""The second witness: series agree with difference quotients, and a wrong first witness is found out."""

from __future__ import annotations

from typing import Any

import pytest
from flint import arb, ctx

from gradcheck_cli.exact.values import Values
from gradcheck_cli.exact.witness import Witness
from gradcheck_cli.language.chain import Chain, link

SKIP = "z = 2*x | w = sin(z) + x | y = w*z"
CASES: list[tuple[str, dict[str, float], str]] = [
    ("sin(x)*exp(x)", {"x": 0.7}, "x"),
    ("sin(x)*exp(x)", {"x": 0.7}, "xx"),
    ("sin(x)*exp(x)", {"x": 0.7}, "xxxxx"),
    ("x**y", {"x": 2.5, "y": -0.75}, "xy"),
    ("x**y", {"x": 2.5, "y": -0.75}, "xyy"),
    ("exp(x*y)*z + sin(x*z)", {"x": 0.5, "y": 1.5, "z": -0.25}, "xyz"),
    ("exp(x*y)*z + sin(x*z)", {"x": 0.5, "y": 1.5, "z": -0.25}, "zxxy"),
    ("x**2 + y**3", {"x": 0.5, "y": 1.5}, "xy"),
    ("atan2(y, x)", {"x": -0.5, "y": 1.5}, "xy"),
    ("gelu(x)", {"x": -3.0}, "xx"),
    ("besselj(2, x)", {"x": 1.5}, "xx"),
    ("zeta(x, 2)", {"x": 2.5}, "x"),
    (SKIP, {"x": 0.3}, "x"),
    (SKIP, {"x": 0.3}, "xx"),
    (SKIP, {"x": 0.3}, "z"),
    (SKIP, {"x": 0.3}, "w"),
    (SKIP, {"x": 0.3}, "y"),
]


def chain(text: str) -> Chain:
    return link(text.split("|"))


def quotient(text: str, point: dict[str, float], wrt: str) -> Any:
    """The nested symmetric difference quotient at 6,000 bits; its own error is below 2**-500."""
    values = Values(chain(text))
    step = arb(2) ** -300

    def nested(offsets: dict[str, Any], rest: str) -> Any:
        if not rest:
            return values({n: arb(x) for n, x in point.items()}, offsets)
        name = rest[0]
        sides = [nested({**offsets, name: offsets.get(name, arb(0)) + s * step}, rest[1:]) for s in (1, -1)]
        return (sides[0] - sides[1]) / (2 * step)

    with ctx.workprec(6000):
        return nested({}, wrt)


def sharp(exact: Any) -> Any:
    """A ball around the midpoint, accurate to 120 bits."""
    with ctx.workprec(512):
        return exact.mid() + arb(0, abs(exact.mid()) * arb(2) ** -120)


def close(one: Any, other: Any, bits: int = 150) -> bool:
    return bool(abs(one - other) <= (abs(other) + arb(2) ** -50) * arb(2) ** -bits)


@pytest.mark.parametrize(("text", "point", "wrt"), CASES, ids=lambda v: str(v))
def test_series_are_difference_quotients(text: str, point: dict[str, float], wrt: str) -> None:
    """Pure, mixed (by polarisation) and stage derivatives agree with a plain quotient to 150 bits."""
    with ctx.workprec(256):
        found = Witness(chain(text)).derivative({n: arb(x) for n, x in point.items()}, tuple(wrt))
    assert found is not None
    assert close(found, quotient(text, point, wrt))
    assert found.rad() <= (abs(found) + 1) * arb(2) ** -150


@pytest.mark.parametrize(
    ("text", "point", "wrt"), [c for c in CASES if c[2] != "y" and c[0] != "x**2 + y**3"], ids=lambda v: str(v)
)
def test_a_disagreement_is_noticed(text: str, point: dict[str, float], wrt: str) -> None:
    """The true ball is confirmed; one that is off by 1e-15 of its size, or has another sign or factor, is not."""
    witness = Witness(chain(text))
    exact = quotient(text, point, wrt)
    true = sharp(exact)
    assert witness.confirms(point, tuple(wrt), true)
    with ctx.workprec(512):
        for factor in (arb(1) + arb(1e-15), arb(1) - arb(1e-15), arb(1) + arb(2) ** -100, arb(-1), arb(2), arb(0)):
            assert not witness.confirms(point, tuple(wrt), true * factor), factor


@pytest.mark.slow(reason="quotients at thousands of bits")
def test_without_series() -> None:
    """Where the first witness was the series, a quotient takes its place: it confirms and refutes as well."""
    witness = Witness(chain("zeta(x, 2)*x"))
    exact = quotient("zeta(x, 2)*x", {"x": 2.5}, "x")
    true = sharp(exact)
    assert witness.confirms({"x": 2.5}, ("x",), true, series=False)
    with ctx.workprec(512):
        assert not witness.confirms({"x": 2.5}, ("x",), true * (1 + arb(1e-15)), series=False)


def test_the_series_is_not_asked_when_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """series=False means that: the derivative by series isn't computed."""

    def asked(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Witness, "derivative", asked)
    assert Witness(chain("x**2")).confirms({"x": 3.0}, ("x",), arb(6), series=False)


def test_at_a_removable_point() -> None:
    """Where no series holds, limits confirm what exists, and nothing is confirmed where no derivative exists."""
    witness = Witness(chain("x*abs(x)"))
    with ctx.workprec(256):
        assert witness.derivative({"x": arb(0)}, ("x",)) is None
        assert witness.confirms({"x": 0.0}, ("x",), arb(0, 1e-300))
        assert not witness.confirms({"x": 0.0}, ("x",), arb(1))
        kink = Witness(chain("abs(x)"))
        assert all(kink.confirms({"x": 0.0}, ("x",), arb(v)) is None for v in (-1, 0, 1))
        assert kink.confirms({"x": 0.0}, ("x",), arb(0, 2)) is None


def test_what_it_denies_and_what_it_does_not_know() -> None:
    """A derivative that is another for certain is denied; where there is none nothing is said, nor where there is no work left
    for one: the two witnesses don't disagree then."""
    assert Witness(chain("sin(x)")).confirms({"x": 0.5}, ("x",), arb(1)) is False
    assert Witness(chain("x*abs(x)")).confirms({"x": 0.0}, ("x",), arb(1)) is False
    assert Witness(chain("floor(x)")).confirms({"x": 2.0}, ("x",), arb(1)) is None


def test_cancellation_raises_the_precision() -> None:
    """A derivative of 1e-160, the difference of numbers near 1, is confirmed and its neighbour is not."""
    point = {"x": 200.0}
    with ctx.workprec(4000):
        true = 4 * arb(-400).exp() / (1 + arb(-400).exp()) ** 2
        witness = Witness(chain("(exp(x) - exp(-x))/(exp(x) + exp(-x))"))
        assert witness.confirms(point, ("x",), true + arb(0, true * arb(2) ** -100))
        assert not witness.confirms(point, ("x",), true * (1 + arb(1e-15)))


def test_zero_is_confirmed() -> None:
    """An exact 0 and a tiny ball around 0 are confirmed as what they are; a nonzero number isn't."""
    witness = Witness(chain("x**2 + y**3"))
    point = {"x": 0.5, "y": 1.5}
    assert witness.confirms(point, ("x", "y"), arb(0))
    assert not witness.confirms(point, ("x", "y"), arb(1e-300))


@pytest.mark.parametrize("y", [-4.0, -(2.0**400), -2.6438408120453017e251, -(2.0**1000)])
def test_steps_are_no_whole_numbers(y: float) -> None:
    """Where floats are whole numbers a quotient doesn't lead from one to the next: y**y has values at these, and none between,
    so that nothing confirms a derivative of 0."""
    assert Witness(chain("clamp_min(y**y, 20)")).confirms({"y": y}, ("y",), arb(0)) is None


@pytest.mark.parametrize("x", [2.0**401, 1.5e250, -1.7e308])
def test_far_out_quotients_confirm_still(x: float) -> None:
    """Steps that are short beside the argument leave bits enough: the largest floats are confirmed without a series."""
    assert Witness(chain("abs(x)*x")).confirms({"x": x}, ("x",), 2 * abs(arb(x)), series=False) is True

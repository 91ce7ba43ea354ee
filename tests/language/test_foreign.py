"""E, I and oo: SymPy's names for constants, and names of fields and currents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gradcheck_cli import check_chain, check_grad, check_jacobian, check_mixed
from gradcheck_cli.errors import InputError

ONLY = "is an input only where --at, --domain, --shape or --wrt names it; the constant is"

REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: check_chain("2*E*x"), f"'E' {ONLY} e\n  2*E*x\n    ^"),
    (lambda: check_mixed("x*y*oo", "x,y"), f"'oo' {ONLY} inf\n  x*y*oo\n      ^"),
    (lambda: check_jacobian(["x", "x*E"], at={"x": 1}), f"'E' {ONLY} e\n  x*E\n    ^"),
    (lambda: check_grad("x", at="x=oo"), "a number is needed here, not a variable; the constant is inf\n  x=oo\n    ^"),
    (lambda: check_grad("x", at="x=1", claim="E"), "(there is x, f); the constant is e\n  E\n  ^"),
]


@pytest.mark.parametrize(("ask", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_the_constant_is_named(ask: Callable[[], Any], message: str) -> None:
    """Where nothing says that such a name is an input, the error says what the constant is called."""
    with pytest.raises(InputError) as caught:
        ask()
    assert message in caught.value.typed


ALLOWED: list[tuple[Callable[[], Any], str]] = [
    (lambda: check_grad("E*x", at="E=2,x=1"), "df/dE"),
    (lambda: check_grad("E*x", at={"E": 2.0, "x": 1.0}), "df/dE"),
    (lambda: check_grad("I**2*x", domain=["I=0:1", "x=0:1"], sample=2), "df/dI"),
    (lambda: check_mixed("x*oo", "oo,x", sample=1), "d2f/doodx"),
    (lambda: check_grad("sum(E)*x", shape="E=3", sample=1), "df/dE[2]"),
    (lambda: check_chain(["E = x**2", "E*x"], at="x=1"), "dy/dE"),
]


@pytest.mark.parametrize(("ask", "quantity"), ALLOWED, ids=[quantity for _, quantity in ALLOWED])
def test_inputs_for_who_says_so(ask: Callable[[], Any], quantity: str) -> None:
    """A point, a domain, a shape, an order of differentiation or the name of a stage makes it a name like others."""
    report = ask()
    assert report.ok
    assert quantity in [check.quantity for check in report.checks]

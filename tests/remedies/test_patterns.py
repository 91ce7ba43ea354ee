"""What a pattern finds, in whatever order a formula is written, and what it doesn't."""

from __future__ import annotations

import pytest

from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.printer import show
from gradcheck_cli.remedies.patterns import NODES, applied, negated, pattern, same, tidy


def found(text: str, wanted: str, becomes: str) -> list[str | None]:
    return [show(tree) for tree in applied(parse(text), pattern(wanted), pattern(becomes))]


@pytest.mark.parametrize(
    ("text", "wanted", "becomes", "result"),
    [
        ("exp(x) - x - 1", "exp(a) - 1", "expm1(a)", "expm1(x) - x"),
        ("1 - exp(x)", "exp(a) - 1", "expm1(a)", "-expm1(x)"),
        ("w*s*(1 - s)", "a*(1 - a)", "f(a)".replace("f", "sin"), "sin(s)*w"),
        ("3*(1 - 1/(1 + exp(-x)))", "1 - sigmoid(a)", "sigmoid(-a)", "3*sigmoid(-x)"),
        ("1/(1 + exp(x - 3))", "1/(1 + exp(-a))", "sigmoid(a)", "sigmoid(3 - x)"),
        ("sqrt(x*x + square(y))", "sqrt(a**2 + b**2)", "hypot(a, b)", "hypot(x, y)"),
        ("sqrt(x + 1) - sqrt(x)", "sqrt(a) - sqrt(b)", "(a - b)/(sqrt(a) + sqrt(b))", "1/(sqrt(x + 1) + sqrt(x))"),
        ("0.5*(1 - cos(2*x))", "1 - cos(a)", "2*sin(a/2)**2", "sin(x)**2"),
        ("exp(x)/exp(x).sum(-1, keepdim=True)", "exp(a)/sum(exp(a), dim, True)", "softmax(a, dim)", "softmax(x)"),
        ("log(y) + log(x)*2 - log(z)", "log(a) - log(b)", "log(a/b)", "log(y/z) + log(x)*2"),
        ("clamp(x, min=0) - relu(-x)", "relu(a) - relu(-a)", "a", "x"),
    ],
)
def test_a_pattern_is_found(text: str, wanted: str, becomes: str, result: str) -> None:
    """In any order, as a part of a longer sum or product, with another sign, in another spelling."""
    assert result in found(text, wanted, becomes)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("exp(x) + 1", "exp(a) - 1"),
        ("s*(1 - t)", "a*(1 - a)"),
        ("log(1 + x)*2", "log(2 + a)"),
        ("exp(x)/sum(exp(y))", "exp(a)/sum(exp(a))"),
        ("1/(2 + exp(-x))", "1/(1 + exp(-a))"),
        ("where(x > 0, x, 1)", "relu(a)"),
    ],
)
def test_a_pattern_is_not_found(text: str, wanted: str) -> None:
    """A name stands for one formula, and a constant for itself."""
    assert found(text, wanted, "a") == []


def test_sizes_are_bounded() -> None:
    """A formula of thousands of terms is left alone at once, and one of many alike terms has few matches."""
    assert found(" + ".join(f"exp(x{i})" for i in range(NODES)), "exp(a) + exp(b)", "a") == []
    assert len(found("+".join(f"exp(x+{i})" for i in range(9)), "exp(a) + exp(b)", "a")) <= 40


@pytest.mark.parametrize(
    ("text", "tidied"), [("x + 1 - x", "1"), ("a - -b", "a + b"), ("2*(x/2)", "x"), ("x**1", "x"), ("0.1*(x/2)", "0.1*(x/2)")]
)
def test_what_is_written_is_tidy(text: str, tidied: str) -> None:
    """What cancels goes, constants of one product are one, two signs are none."""
    tree = parse(text)
    assert show(tidy(tree)) == tidied  # type: ignore[arg-type]


def test_equality_is_of_meaning() -> None:
    """Order and spelling don't matter, signs and numbers do."""
    assert same(parse("2*x*y + 1"), parse("1.0 + y*x*2")) and same(parse("x/2"), parse("0.5*x"))
    assert not same(parse("x - y"), parse("y - x")) and not same(parse("x**2"), parse("x**3"))
    assert show(negated(parse("x - y"))) == "y - x" and show(negated(parse("-2*x"))) == "2*x"

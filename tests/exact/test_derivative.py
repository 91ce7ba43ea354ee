"""SymPy's derivatives of every row, evaluated in balls, are limits of difference quotients.

The oracle is a symmetric difference quotient of the function in balls at 3,000 bits: it knows nothing of SymPy, and its
own error lies below 2**-500.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import sympy
from flint import arb, ctx

from gradcheck_cli import check_chain, check_mixed
from gradcheck_cli.algebra.balls import PLAIN, SMOOTH, evaluate
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.algebra.symbols import derived
from gradcheck_cli.exact import derivative as module
from gradcheck_cli.exact.derivative import (
    DISPLAYED,
    LONGEST_CHAIN,
    chain_formula,
    differentiate,
    formula,
    readable,
    stage_formula,
    tidy,
)
from gradcheck_cli.exact.enclosure import _formula_program, _stage_program
from gradcheck_cli.language.chain import link
from gradcheck_cli.language.functions import ROWS, Function
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.tree import Call, Constant, Node, Variable
from tests.counting import count_calls
from tests.expressions import HELD

BITS, STEP = 3000, arb(2) ** -600
VALUES = (0.3, 1.7, -0.6, 2.5, -2.25, 0.875)
UNKNOWN = {("zeta", "x"), ("airy_ai", "x"), ("gammainc", "a"), ("gammaincc", "a")}
"""(row, parameter): derivatives for which SymPy has no formula; power series take its place."""

Point = dict[str, Any]


def calls(row: Function) -> list[tuple[Call, list[str]]]:
    """The row on variables, for two choices of its whole settings, and the names to differentiate by."""
    found = []
    for setting in (0, 2) if any(p.kind == "integer" for p in row.parameters) else (0,):
        arguments: list[Node] = []
        names = []
        for p in row.parameters:
            if p.kind == "integer":
                arguments.append(Constant(setting))
            elif p.kind == "number":
                arguments.append(Constant(0.75 if p.default is None else p.default))
            elif p.kind == "truth":
                arguments.append(parse("x < 1/2"))
            else:
                arguments.append(Variable(p.name))
                names.append(p.name)
        found.append((Call(row.name, tuple(arguments)), names))
    return found


def at(tree: Node, point: Point, algebra: Any = PLAIN) -> Any:
    """A tree in balls, at the present precision."""
    return Program([tree], list(point), algebra)(*point.values())[0]


def quotient(tree: Node, point: Point, wrt: tuple[str, ...]) -> Any:
    """The symmetric difference quotient of the function, once for every name of `wrt`."""
    if not wrt:
        return at(tree, point)
    *rest, name = wrt
    sides = [quotient(tree, {**point, name: point[name] + sign * STEP}, tuple(rest)) for sign in (1, -1)]
    return (sides[0] - sides[1]) / (2 * STEP)


def agree(found: Any, measured: Any) -> bool:
    """To 300 bits of the size (or of 1, for derivatives that are 0)."""
    return bool(found.is_finite() and measured.is_finite() and abs(found - measured) <= (abs(measured) + 1) * arb(2) ** -300)


@pytest.mark.parametrize("row", [r for r in ROWS if r.parameters and not r.truth and r.name != HELD], ids=lambda row: row.name)
@pytest.mark.slow(reason="every row of the table, with quotients at 3,000 bits")
def test_every_row(row: Function) -> None:
    """First and second (and mixed) derivatives by every parameter agree with quotients wherever the row is smooth."""
    compared: dict[tuple[str, ...], int] = {}
    with ctx.workprec(BITS):
        for tree, names in calls(row):
            orders = [(n,) for n in names] + list(itertools.combinations_with_replacement(names, 2))
            for values in itertools.product(VALUES[: 6 if len(names) == 1 else 4], repeat=len(names)):
                point = {name: arb(v) for name, v in zip(names, values, strict=True)}
                if not at(tree, point, SMOOTH).is_finite():
                    continue
                for wrt in orders:
                    derivative = differentiate(tree, wrt)
                    if derivative is None:
                        assert any((row.name, name) in UNKNOWN for name in wrt), wrt
                        continue
                    found, measured = at(derivative, point), quotient(tree, point, wrt)
                    assert agree(found, measured), (wrt, values, found.str(20), measured.str(20))
                    compared[wrt] = compared.get(wrt, 0) + 1
    names = calls(row)[0][1]
    for name in names:
        assert (row.name, name) in UNKNOWN or compared.get((name,)), f"no point for d/d{name}"


def test_no_formula_is_none() -> None:
    """Where SymPy leaves a derivative unevaluated the answer is None, not a wrong tree; also inside a formula."""
    assert differentiate(parse("zeta(x, 2)"), ("x",)) is None
    assert differentiate(parse("sin(zeta(x, y))*y"), ("x",)) is None
    assert differentiate(parse("zeta(2, x)"), ("x",)) is not None
    assert formula(parse("zeta(x, 2)"), ("x",)) is None


@pytest.mark.parametrize("text", ["floor(x)", "sign(x)", "ceil(x)", "round(x)", "heaviside(x)", "sign(x)*0", "3", "y"])
def test_steps_have_the_derivative_zero(text: str) -> None:
    """Locally constant functions have the derivative 0 off their jumps (SymPy's own answer is a DiracDelta)."""
    derivative = differentiate(parse(text), ("x",))
    assert derivative is not None
    assert at(derivative, {"x": arb(0.3), "y": arb(2)}).is_zero()


def test_order_of_names() -> None:
    """Names apply from left to right; at smooth points all orders agree with the quotient."""
    tree = parse("sin(x*y)*exp(x)")
    with ctx.workprec(BITS):
        point = {"x": arb(0.3), "y": arb(1.7)}
        for wrt in itertools.permutations("xxy"):
            derivative = differentiate(tree, wrt)
            assert derivative is not None
            assert agree(at(derivative, point), quotient(tree, point, wrt))


SHOWN = [
    ("x**2", ("x",), "2*x"),
    ("sin(x)", ("x",), "cos(x)"),
    ("sin(x)", ("x", "x"), "-sin(x)"),
    ("x**3*y", ("x", "y"), "3*x**2"),
    ("2*(2*x)**2 + 2*(2*x) + 2", ("x",), "16*x + 4"),
    ("0.1*x**2", ("x",), "2*0.1*x"),
    ("x", ("x",), "1"),
    ("y", ("x",), "0"),
]


@pytest.mark.parametrize(("text", "wrt", "shown"), SHOWN)
def test_formula(text: str, wrt: tuple[str, ...], shown: str) -> None:
    """Formulas for the reader are the shortest of a few equal forms."""
    found = formula(parse(text), wrt)
    assert found is not None
    if found != shown:  # another form is welcome if it isn't longer and is the same function
        assert len(found) <= len(shown)
        point = {"x": arb(0.3), "y": arb(1.7)}
        assert at(parse(found), point).overlaps(at(parse(shown), point))


@pytest.mark.parametrize(
    "text", ["silu(x)", "x**x", "sin(x)/x + log(1 + x**2)", "tanh(x*tanh(x/2))", "x**-(a*x)", "2**(-a*x)", "gelu(a*x)"]
)
def test_what_is_shown_is_the_derivative(text: str) -> None:
    """The text shown, read back, agrees with a quotient of the function."""
    tree = parse(text)
    with ctx.workprec(BITS):
        point = {"x": arb(0.3), "a": arb(1.75)}
        for wrt in (("x",), ("x", "x")):
            shown = formula(tree, wrt)
            if shown is not None:
                assert agree(at(parse(shown), point), quotient(tree, point, wrt)), shown
        assert formula(tree, ("x",))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("(x + 1)/(x - 1)", "-2/(x - 1)**2"), ("sin(x)/x", "(x*cos(x) - sin(x))/x**2"), ("exp(x)/x", "(x - 1)*exp(x)/x**2"),
        ("log(x + sqrt(x**2 + 1))", "1/sqrt(x**2 + 1)"), ("exp(x)/(1 + exp(x))", "exp(x)/(exp(x) + 1)**2"),
        ("abs(x)**3", "3*x*abs(x)"), ("relu(x)**2", "where(x > 0, 2*x, 0)"), ("atan(x/2)", "2/(x**2 + 4)"),
        ("x**2*sin(x)", "x*(x*cos(x) + 2*sin(x))"), ("where(x > 0, x, 0)*where(x > 1, x, 0)", None),
    ],
)  # fmt: skip
def test_formulas_are_those_of_a_person(text: str, shown: str | None) -> None:
    """One quotient, one choice, no sign beside its number; on both sides of 0 it is the same function by a quotient."""
    tree = parse(text)
    found = formula(tree, ("x",))
    assert found is not None and shown in (None, found)
    with ctx.workprec(BITS):
        for place in (arb(0.3), arb(1.75), arb(-0.6)):
            assert agree(at(parse(found), {"x": place}), quotient(tree, {"x": place}, ("x",))) or place < 0 and "log" in text


def test_a_power_is_lowered() -> None:
    """As the rule has it."""
    assert formula(parse("x**n"), ("x",)) == "n*x**(n - 1)"


def test_long_formulas_are_not_shown() -> None:
    """Beyond the bounds the answer is None, with hardly more work than reading took."""
    tree = parse("+".join(f"sin({i}*x)**x" for i in range(1, 200)))
    chain = link(["sin(x)"] + ["sin(z)"] * LONGEST_CHAIN)

    def refused() -> None:
        assert readable(tree, ("x",)) is None
        assert formula(tree, ("x",)) is None
        assert chain_formula(chain, ("x",)) is None

    assert count_calls(refused) < 100_000
    for count in (2, 4, 6):
        found = chain_formula(link(["x**2 + 1/x"] + ["sin(z) + z/2 + 1/(1+z**2)"] * count), ("x",))
        assert found is None or len(found) <= DISPLAYED


def test_chain_formula() -> None:
    """By an input the chain is composed; by a stage, the formula is in terms of that stage and what lies before it."""
    chain = link(["2*x ", " z**2+2*z+2"])
    assert chain_formula(chain, ("x",)) == "8*x + 4"
    assert chain_formula(chain, ("z",)) == "2*z + 2"
    assert chain_formula(chain, ("y",)) == "1"
    skip = link(["z = 2*x", "w = sin(z) + x", "y = w*z"])
    assert chain_formula(skip, ("w",)) == "2*x"
    found = chain_formula(skip, ("z",))
    assert found is not None
    w, z, x = (arb(v) for v in (5.0, 0.6, 0.3))
    assert at(parse(found), {"x": x, "z": z, "w": w}).overlaps(z.sin() + x + z * z.cos())


def test_stage_formula() -> None:
    """A stage's own derivative carries the stage's own names."""
    chain = link(["z = 2*x", "w = sin(z) + x", "y = w*z"])
    assert stage_formula(chain.stages[1], "z") == "cos(z)"
    assert stage_formula(chain.stages[1], "x") == "1"
    assert stage_formula(chain.stages[2], "w") == "z"


def test_tidy() -> None:
    """A SymPy expression prints in the language, in its shortest form; what the language lacks is None."""
    x = sympy.Symbol("x", real=True)
    assert tidy(sympy.Mul(2, x + 1, evaluate=False) - 2 * x) == "2"
    assert tidy(sympy.Function("f")(x)) is None


def test_evaluate_is_the_oracle_of_quotients() -> None:
    """The quotient used here is right where the derivative is known: exp' = exp."""
    with ctx.workprec(BITS):
        x = {"x": arb(0.3)}
        assert agree(quotient(parse("exp(x)"), x, ("x", "x")), evaluate("exp")(x["x"]))
        assert not agree(quotient(parse("exp(x)"), x, ("x",)) * (1 + arb(2) ** -290), evaluate("exp")(x["x"]))


def test_one_differentiation_of_a_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    """The enclosure derives each derivative of a formula once. What shows it derives nothing more, under whichever names it is
    asked for; what nobody reads isn't tidied; and the next check of an equal stage derives nothing at all."""
    derived_by: list[str] = []
    tidied: list[object] = []

    def counted(expression: Any, name: str) -> Any:
        derived_by.append(name)
        return derived(expression, name)

    def counted_too(forms: Any) -> Node | None:
        tidied.append(forms)
        return whole(forms)

    whole = module._shortest
    monkeypatch.setattr(module, "derived", counted)
    monkeypatch.setattr(module, "_shortest", counted_too)
    for kept in (module._symbolic, module.differentiate, module.readable, _formula_program, _stage_program):
        kept.cache_clear()
    report = check_mixed("sin(31*u)*v**2", "u,v", at="u=1,v=2")
    assert sorted(derived_by) == ["_0", "_0", "_1", "_1"] and not tidied  # u, then v; v, then u
    assert [c.formula for c in report.columns] == ["31*v**2*cos(31*u)", "62*v*cos(31*u)", "62*v*cos(31*u)"]
    assert len(derived_by) == 4 and len(tidied) == 3
    assert str(report) and report.to_dict()["checks"][0]["formula"] == "31*v**2*cos(31*u)" and len(tidied) == 3
    del derived_by[:], tidied[:]
    assert check_mixed("sin(31*a)*b**2", "a,b", at="a=1,b=2").ok and check_chain(["31*sin(x)"], at="x=1").ok
    assert derived_by == ["_0"] and not tidied  # of 31*sin(x); the derivative by the output itself takes none


def test_what_is_kept_is_bounded() -> None:
    """A process that checks for days keeps a bounded number of derivatives and programs."""
    for kept in (module._symbolic, module.differentiate, module.readable, module._size, _formula_program, _stage_program):
        assert 0 < (kept.cache_info().maxsize or 0) <= 4096

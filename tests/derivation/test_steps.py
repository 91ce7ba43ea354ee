"""Derivations by the rules: what they end with is the derivative, for every row of the table and for random formulas."""

from __future__ import annotations

import random

import pytest
from flint import arb, ctx

from gradcheck_cli.algebra.balls import PLAIN
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.derivation.at import At
from gradcheck_cli.derivation.rules import RULES, Rule, read
from gradcheck_cli.derivation.steps import Unknown, derive, stage, variable
from gradcheck_cli.derivation.tidy import filled
from gradcheck_cli.exact.derivative import differentiate
from gradcheck_cli.language.functions import ROWS, Function
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.printer import show
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, variables
from tests.every import every
from tests.expressions import HELD, random_formula

STEP = 2.0**-70
BITS = 400

POINTS = ({"x": 0.6, "y": 1.3}, {"x": 1.7, "y": 0.4}, {"x": -0.7, "y": 2.25})

NO_FORMULA = {("zeta", "x"), ("airy_ai", "x"), ("gammainc", "a"), ("gammaincc", "a")}
"""Derivatives that no formula of the language writes."""


def quotient(tree: Node, point: dict[str, float], name: str) -> arb:
    """A difference quotient, whose own error is about 2**-140 of the third derivative: no rule has a part in it."""
    names = variables(tree)
    with ctx.workprec(BITS):
        program = Program([tree], names, PLAIN, key=lambda: ctx.prec)
        sides = [program(*(arb(point[n]) + (sign * arb(STEP) if n == name else 0) for n in names))[0] for sign in (1, -1)]
        return (sides[0] - sides[1]) / (2 * arb(STEP))


def agrees(tree: Node, found: Node, point: dict[str, float], name: str) -> bool | None:
    """Whether a formula is the derivative at a point; None where the function isn't smooth around it, or has no value."""
    wanted, value = quotient(tree, point, name), At({n: arb(v) for n, v in point.items()})(found)
    if not (wanted.is_finite() and value.is_finite()) or wanted.rel_accuracy_bits() < 60 or abs(wanted) > 2**40:
        return None
    return bool(abs(value - wanted) <= (1 + abs(wanted)) * arb(2) ** -50)


PARTIALS = [
    (row, p.name)
    for row in ROWS
    for p in row.parameters
    if not row.truth and row.name != HELD and p.kind in ("tensor", "scalar") and (row.name, p.name) not in NO_FORMULA
]
"""Every function by every parameter that isn't a setting."""


def called(row: Function) -> Node:
    """The function at variables; settings are numbers."""
    given = {"integer": Constant(1), "number": Constant(0.75), "truth": parse("x > y")}
    letters = (Variable("x"), Variable("y"), Variable("z"))
    return Call(row.name, tuple(given.get(p.kind, letters[i % 3]) for i, p in enumerate(row.parameters)))


@every(PARTIALS, lambda partial: f"{partial[0].name} by {partial[1]}")
def test_every_function_has_a_derivation(partial: tuple[Function, str]) -> None:
    """By each argument, and it is the derivative at some point at least, and at no point something else."""
    row, parameter = partial
    tree = called(row)
    assert isinstance(tree, Call)
    name = next(a.name for p, a in row.bind(tree.arguments) if p.name == parameter and isinstance(a, Variable))
    found = derive(tree, {name: variable(name)}).result
    points = [*POINTS, {"x": 1.4, "y": 3.6}, {"x": 2.6, "y": 1.3}, {"x": 0.3, "y": 0.2}]
    seen = [agrees(tree, found, {**point, "z": 0.35}, name) for point in points]
    assert True in seen and False not in seen, (show(found), seen)


def test_what_has_no_formula_says_so() -> None:
    """The derivative of zeta by its first argument, for one."""
    for name, parameter in NO_FORMULA:
        row = next(r for r in ROWS if r.name == name)
        with pytest.raises(Unknown, match=f"derivative of {name} by its argument '{parameter}'"):
            derive(called(row), {"x": variable("x")})


def test_random_formulas() -> None:
    """Derivations of random formulas over the whole table are what difference quotients say, with choices made at the point and
    without."""
    rng, compared = random.Random(11), 0
    for _ in range(60):
        tree = parse(random_formula(rng, 3))
        for name in variables(tree):
            try:
                found = derive(tree, {name: variable(name)}).result
            except Unknown:
                continue
            for point in POINTS:
                at = At({n: arb(v) for n, v in point.items()})
                right = agrees(tree, found, point, name)
                assert right is not False, (show(tree), name, point, show(found))
                compared += right is True
                if right:
                    there = derive(tree, {name: variable(name)}, at)
                    assert any(s.kink for s in there.every()) or agrees(tree, there.result, point, name), (
                        show(tree),
                        name,
                        point,
                    )
    assert compared > 150


def test_the_same_as_the_exact_formula() -> None:
    """The derivation's result and SymPy's formula, which the exact side evaluates, are one function."""
    rng, compared = random.Random(3), 0
    while compared < 40:
        tree = parse(random_formula(rng, 2))
        if not variables(tree):
            continue
        name = variables(tree)[0]
        try:
            found, exact = derive(tree, {name: variable(name)}).result, differentiate(tree, (name,))
        except Unknown:
            continue
        for point in POINTS:
            at = At({n: arb(v) for n, v in point.items()})
            if exact is None or not (at(found).is_finite() and at(exact).is_finite() and agrees(tree, exact, point, name)):
                continue
            assert at(found).overlaps(at(exact)), (show(tree), show(found), show(exact))
            compared += 1


def test_stages_are_one_derivation() -> None:
    """A stage's derivation stands behind its name: w*z with w = sin(z) + x and z = 2*x is differentiated by x."""
    z = stage("z", derive(parse("2*x"), {"x": variable("x")}))
    w = stage("w", derive(parse("sin(z) + x"), {"x": variable("x"), "z": z}))
    root = derive(parse("w*z"), {"x": variable("x"), "z": z, "w": w})
    assert show(root.result) == "z*(2*cos(z) + 1) + 2*w"
    assert not derive(parse("c*2"), {"x": variable("x")}).varies


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("z**2 + 2*z + 2", "2*z + 2"), ("sin(3*z)", "3*cos(3*z)"), ("z*exp(z)", "exp(z) + z*exp(z)"),
        ("z/(1 + z**2)", "(1 - z**2)/(1 + z**2)**2"), ("1/z", "-1/z**2"), ("sqrt(1 + z**2)", "z/sqrt(1 + z**2)"),
        ("z**z", "z**z*(log(z) + 1)"), ("2**z", "log(2)*2**z"), ("e**z", "e**z"), ("tanh(z)", "1 - tanh(z)**2"),
        ("sigmoid(2*z)", "2*sigmoid(2*z)*(1 - sigmoid(2*z))"), ("0.1*z**2", "0.2*z"), ("z**0.5", "0.5*z**-0.5"),
        ("relu(3*z)", "3*where(3*z > 0, 1, 0)"), ("x*5", "0"), ("z - z", "0"),
    ],
)  # fmt: skip
def test_results_read_as_by_hand(text: str, result: str) -> None:
    """No 0*..., no 1*..., numbers first, equal factors together."""
    found = derive(parse(text), {"z": variable("z")}).result
    assert show(found) == result


def test_kinks_and_choices_at_a_point() -> None:
    """A point decides which piece counts; on a border, and at a function's kink, no rule is certain."""

    def at(text: str, x: float) -> tuple[str | None, bool]:
        step = derive(parse(text), {"x": variable("x")}, At({"x": arb(x)}))
        return show(step.result), any(s.kink for s in step.every())

    assert at("relu(x)", 2.0) == ("1", False) and at("relu(x)", -2.0) == ("0", False) and at("relu(x)", 0.0)[1]
    assert at("where(x > 1, x**2, 2*x - 1)", 3.0) == ("2*x", False) and at("where(x > 1, x**2, 2*x - 1)", 1.0)[1]
    assert at("abs(x - 1)", 1.0)[1] and at("floor(x)", 2.0)[1] and not at("floor(x)", 2.5)[1]
    assert at("where(x > 0, 1, 2)", 0.0)[1]


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: f"{rule.call} by {rule.varying}")
def test_a_rule_and_its_slips(rule: Rule) -> None:
    """The rule is the derivative, checked by a quotient on functions of t; every slip of it is something else, and every
    formula in its sentences is one."""
    inner = {"u": parse("2 + t**2"), "v": parse("3 + sin(t)"), "c": parse("t > 0")}
    operands = {n: tree if n in rule.varying or n == "c" else Constant(5) for n, tree in inner.items()}
    rates = {"du": parse("2*t"), "dv": parse("cos(t)")}
    tree = filled(read(rule.call), operands)
    for t in (0.7, 1.9):
        assert agrees(tree, filled(rule.formula, {**operands, **rates}), {"t": t}, "t")
        for wrong, sentence in rule.slips:
            found = At({"t": arb(t)})(filled(read(wrong), {**operands, **rates}))
            right = At({"t": arb(t)})(filled(rule.formula, {**operands, **rates}))
            assert not found.overlaps(right), (wrong, sentence)
    for _, sentence in rule.slips:
        for formula in sentence.split("{")[1:]:
            assert set(variables(read(formula.partition("}")[0]))) <= {*rule.letters, "c", "du", "dv", "of"}
    assert RULES[rule.function, rule.varying] is rule

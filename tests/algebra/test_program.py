"""Programs: each distinct subtree once, constants once for each precision, unknown rows by their definition."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import pytest
from flint import arb, ctx

from gradcheck_cli.algebra.balls import PLAIN
from gradcheck_cli.algebra.program import Program, economical, expand
from gradcheck_cli.language.functions import TABLE, Function
from gradcheck_cli.language.parser import definition, parse
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, walk


class Counting:
    """Floats of Python's math module; every operation is counted. It knows only the rows given."""

    operators: Mapping[str, str] = {"sub": "{0} - {1}"}
    known: Mapping[str, Callable[..., Any]] = {
        "add": lambda x, y: x + y, "mul": lambda x, y: x * y, "div": lambda x, y: x / y, "neg": lambda x: -x, "pow": pow,
        "sin": math.sin, "cos": math.cos, "exp": math.exp, "sqrt": math.sqrt, "pi": lambda: math.pi,
        "besselj": lambda n, x: (n, x),
    }  # fmt: skip

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def constant(self, value: Any) -> Any:
        return value

    def function(self, row: Function) -> Callable[..., Any] | None:
        found = self.known.get(row.name)

        def counted(*arguments: Any) -> Any:
            self.calls[row.name] += 1
            assert found is not None
            return found(*arguments)

        return counted if found else None

    def body(self, row: Function) -> Node:
        return definition(row.name)


def test_outputs_in_order_inputs_by_position() -> None:
    """Several outputs come as one tuple, inputs go in by position, whatever their names."""
    program = Program([parse("b - a"), parse("a"), parse("3")], ["a", "b"], Counting())
    assert program(1.0, 5.0) == (4.0, 1.0, 3)
    assert Program([parse("b - a")], ["b", "a"], Counting())(1.0, 5.0) == (-4.0,)
    hostile = Program([Call("sub", (Variable("x1"), Variable("v0")))], ["v0", "x1"], Counting())
    assert hostile(1.0, 5.0) == (4.0,)


def test_an_unknown_name_is_refused() -> None:
    """A tree with a variable that is no input doesn't compile."""
    with pytest.raises(LookupError, match="b"):
        Program([parse("a + b")], ["a"], Counting())


def test_subtrees_are_shared() -> None:
    """A subtree that occurs in several places, of several outputs, is computed once."""
    algebra = Counting()
    program = Program([parse("sin(x*y) + sin(x*y)"), parse("cos(sin(x*y))"), parse("x*y")], ["x", "y"], algebra)
    program(2.0, 3.0)
    assert algebra.calls == {"mul": 1, "sin": 1, "cos": 1, "add": 1}
    assert program.length == 4


def test_a_tree_of_exponential_size_is_linear_work() -> None:
    """x doubled 200 times is 200 additions."""
    tree: Node = Variable("x")
    for _ in range(200):
        tree = Call("add", (tree, tree))
    algebra = Counting()
    assert Program([tree], ["x"], algebra)(1.0) == (2.0**200,)
    assert algebra.calls["add"] == 200


def test_constants_are_computed_once_for_each_key() -> None:
    """What doesn't depend on an input is computed at the first call under each key, and not again."""
    algebra, key = Counting(), [1]
    program = Program([parse("sin(x) + sqrt(2)*exp(pi)")], ["x"], algebra, lambda: key[0])
    assert not algebra.calls
    for _ in range(3):
        program(1.0)
    assert algebra.calls == {"sin": 3, "add": 3, "sqrt": 1, "exp": 1, "pi": 1, "mul": 1}
    key[0] = 2
    program(1.0)
    key[0] = 1
    program(1.0)
    assert algebra.calls["sqrt"] == 2
    assert program.length == 2


def test_balls_follow_the_precision() -> None:
    """Under the precision as key, constants are as sharp as the run; without the key they would be stale."""
    keyed = Program([parse("x*pi")], ["x"], PLAIN, lambda: ctx.prec)
    stale = Program([parse("x*pi")], ["x"], PLAIN)
    for precision in (64, 1000, 64):
        with ctx.workprec(precision):
            stale(arb(1))
            assert abs(keyed(arb(1))[0].rel_accuracy_bits() - precision) < 6
    with ctx.workprec(1000):
        assert stale(arb(1))[0].rel_accuracy_bits() < 70


def test_bind_is_the_call() -> None:
    """`bind` gives the function of the present key; it can be called in a loop."""
    program = Program([parse("x*pi")], ["x"], Counting())
    run = program.bind()
    assert [run(x) for x in (1.0, 2.0)] == [program(1.0), program(2.0)] == [(math.pi,), (2 * math.pi,)]


def test_expand_goes_all_the_way_down() -> None:
    """Rows that the algebra lacks are replaced by definitions until only known rows are left; the rest stays."""
    algebra = Counting()
    tree = expand(parse("silu(x) + sin(x)"), algebra)
    assert tree == parse("x*(1/(1 + exp(-x))) + sin(x)")
    assert {n.function for n in walk(tree) if isinstance(n, Call)} <= {*algebra.known, *algebra.operators}
    assert expand(parse("sin(x) - 1"), algebra) == parse("sin(x) - 1")
    # Parameters are substituted, not captured: hypot's x is z, its y is x.
    assert expand(parse("hypot(z, x)"), algebra) == parse("sqrt(z**2 + x**2)")


def test_a_primitive_that_an_algebra_lacks_is_named() -> None:
    """An algebra that meets a primitive row without a function for it is told which."""
    with pytest.raises(LookupError, match="erf is primitive"):
        expand(parse("2*erf(x)"), Counting())


def test_expanded_value() -> None:
    """A defined row has the value of its definition."""
    (found,) = Program([parse("silu(2*x)")], ["x"], Counting())(0.35)
    assert math.isclose(found, 0.7 / (1 + math.exp(-0.7)), rel_tol=1e-15)


def test_integer_settings_come_as_ints() -> None:
    """A setting of kind `integer` reaches the function as an int, not as a number of the algebra."""
    algebra = Counting()
    algebra.constant = lambda value: f"<{value}>"  # type: ignore[method-assign]
    assert Program([parse("besselj(2, x)")], ["x"], algebra)(0.5) == ((2, 0.5),)


def exactly(tree: Node, x: Fraction, y: Fraction) -> Fraction:
    """The value in fractions: the oracle of `economical`."""
    match tree:
        case Constant(value=value):
            return Fraction(value)
        case Variable(name=name):
            return x if name == "x" else y
        case Call(function=function, arguments=arguments):
            a = [exactly(t, x, y) for t in arguments]
            return {
                "add": lambda: a[0] + a[1], "sub": lambda: a[0] - a[1], "mul": lambda: a[0] * a[1],
                "div": lambda: a[0] / a[1], "neg": lambda: -a[0], "pow": lambda: a[0] ** int(a[1]),
            }[function]()  # fmt: skip


def arithmetic(rng: random.Random, depth: int) -> Node:
    if depth == 0:
        return rng.choice([Variable("x"), Variable("y"), Constant(2), Constant(-3)])
    name = rng.choice(["add", "sub", "mul", "div", "neg", "neg", "pow"])
    if name == "pow":
        return Call("pow", (arithmetic(rng, depth - 1), Constant(rng.choice([0, 1, 2, 3, 4, 5, 7, -2]))))
    return Call(name, tuple(arithmetic(rng, depth - 1) for _ in range(1 if name == "neg" else 2)))


def test_economical_formulas_are_equal() -> None:
    """Signs moved, powers as products, arguments reordered: the value in exact arithmetic stays."""
    rng, compared = random.Random(7), 0
    x, y = Fraction(3, 7), Fraction(-5, 3)
    for _ in range(600):
        trees = [arithmetic(rng, 4), arithmetic(rng, 3)]
        for tree, other in zip(trees, economical(trees, PLAIN), strict=True):
            try:
                expected = exactly(tree, x, y)
            except ZeroDivisionError:
                continue
            assert exactly(other, x, y) == expected
            compared += 1
    assert compared > 800


def test_economical_formulas_are_cheaper() -> None:
    """Whole powers up to 64 are products that share their squares; a*b and b*a are one operation; signs move out."""
    (power,) = economical([parse("x**13")], PLAIN)
    assert sum(isinstance(n, Call) for n in walk(power)) == 5  # 2, 3, 6, 12, 13
    assert economical([parse("x**65")], PLAIN) == [parse("x**65")]
    one, other = economical([parse("sin(x*y)"), parse("cos(y*x)")], PLAIN)
    assert one.arguments == other.arguments  # type: ignore[union-attr]
    assert economical([parse("x + -y"), parse("x - -y"), parse("--x"), parse("-x*y")], PLAIN) == [
        parse("x - y"), parse("x + y"), parse("x"), parse("-(x*y)"),
    ]  # fmt: skip
    assert economical([parse("x - y"), parse("y - x")], PLAIN) == [parse("x - y"), parse("y - x")]


def test_every_row_compiles() -> None:
    """Every row that works entry by entry compiles over balls into one known function or its definition."""
    for row in TABLE.values():
        if row.arrays:
            continue
        arguments = [Constant(1) if p.kind == "integer" else Variable(p.name) for p in row.parameters]
        program = Program([Call(row.name, tuple(arguments))], [p.name for p in row.parameters], PLAIN)
        assert program.bind(), row.name

"""Formulas in columns: the function table's own, and derivatives, against balls."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
from flint import arb, ctx

from gradcheck_cli.algebra.balls import PLAIN, SMOOTH
from gradcheck_cli.algebra.columns import evaluation
from gradcheck_cli.algebra.columns.algebra import KINDS
from gradcheck_cli.algebra.columns.backends import Backend, on_llvm, on_numpy, on_torch
from gradcheck_cli.algebra.columns.evaluation import PAYS, Column, Enclosures, Evaluation
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.exact.derivative import differentiate
from gradcheck_cli.language.functions import ROWS, Function
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.tree import Call, Constant, Node, Variable

COMPILED = pytest.mark.skipif(find_spec("llvmlite") is None, reason="there is no compiler: pip install gradcheck-cli[fast]")
LIBRARIES = [on_numpy, on_torch, pytest.param(on_llvm, marks=COMPILED)]

SPECIAL = (0.0, -0.0, 0.5, 1.0, -1.0, 2.0, 3.0, 6.0, 20.0, 1e-300, 40.0, -40.0, 800.0, -800.0, 5e-324, 1e300)

FORMULAS = (
    "sin(x)*exp(-x**2/2) + tanh(x/3)*log(1 + x**2) + sqrt(1 + x**4)/(2 + cos(x)) + atan(x)*x**3",
    "sigmoid(x)*tanh(x) + exp(-x**2)*sin(3*x)", "x*(1 + erf(x/sqrt(2)))/2", "x/(1 + exp(-x))", "log(1 + exp(x))",
    "x**2.5 + x**-1.5 + x**-2", "abs(x)**1.5", "where(x > 1, x**2, 2*x - 1)", "maximum(x, 0)*minimum(x, 3)", "0.1*x + 1/3 + pi",
    "sin(1/x)", "x/x", "(x - 1)/(x*x - 1)", "sqrt(x*x)", "exp(1000*x)", "x*tanh(log1p(exp(x)))", "2**x", "x**x",
    "gelu(x)", "clamp(x, 0)",
)  # fmt: skip


def _points(count: int, seed: int) -> Any:
    generator = np.random.default_rng(seed)
    return np.concatenate([SPECIAL, generator.normal(scale=2, size=count), generator.normal(scale=0.5, size=count)])


def _closed_and_right(trees: list[Node], names: list[str], columns: list[Any], found: list[Column]) -> int:
    """How many numbers are closed; each holds the truth, and the formula is certified analytic there at high precision."""
    program, plain = (Program(trees, names, algebra, lambda: ctx.prec) for algebra in (SMOOTH, PLAIN))
    closed = 0
    with ctx.workprec(1500):
        for i in np.flatnonzero(~np.all([column.open for column in found], axis=0)).tolist():
            exact = [arb(float(column[i])) for column in columns]
            for column, certified, truth in zip(found, program(*exact), plain(*exact), strict=True):
                if not column.open[i]:
                    closed += 1
                    assert certified.is_finite() or trees == [ROUND], (trees, exact)
                    assert abs(truth - arb(float(column.high[i])) - arb(float(column.low[i]))) <= float(column.radius[i])
    return closed


ROUND = Call("round", (Variable("x"),))
"""Smooth at whole numbers, where its definition has steps that meet: single balls take limits there."""


def _numbers(row: Function) -> bool:
    return not row.arrays and not row.truth and not any(p.kind in ("truth", "integer") for p in row.parameters)


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_is_right_or_open(kind: str) -> None:
    """Every function of numbers, by its kernel, its body or its definition, at ordinary and at special points; closed only
    where balls certify it too."""
    closed: dict[str, int] = {}
    for name in ("gamma", "digamma"):  # of which columns know by now what many points have asked for
        Evaluation([Call(name, (Variable("x"),))], ["x"], kind).at(np.linspace(-5.0, 40.0, 4001))
    for row in filter(_numbers, ROWS):
        settings = {p.name: Constant(2 if p.default is None else p.default) for p in row.parameters if p.kind == "number"}
        tree = Call(row.name, tuple(settings.get(p.name, Variable(p.name)) for p in row.parameters))
        names = [p.name for p in row.parameters] or ["x"]
        columns = [_points(6, k) for k, _ in enumerate(names)]
        found = Evaluation([tree], names, kind).at(*columns)
        closed[row.name] = _closed_and_right([tree], names, columns, found)
    assert len(closed) > 80
    assert sum(1 for count in closed.values() if count) > 60


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", FORMULAS)
def test_values_and_derivatives_are_right_or_open(text: str, kind: str) -> None:
    """Values and SymPy's derivatives, rewritten as they are for columns, hold what the formulas as they stand are."""
    tree = parse(text)
    derivative = differentiate(tree, ("x",))
    assert derivative is not None
    columns = [_points(10, 1)]
    found = Evaluation([tree, derivative], ["x"], kind).at(*columns)
    assert _closed_and_right([tree, derivative], ["x"], columns, found) > 20


def test_single_and_double_and_libraries_agree() -> None:
    """The same formula in both kinds, in NumPy and in torch: balls that overlap, more points than a chunk."""
    tree = parse(FORMULAS[0])
    x = np.random.default_rng(2).normal(size=20_001)
    found = []
    for kind in KINDS:
        for backend, values in ((on_numpy(), x), (on_torch(), torch.from_numpy(x))):
            (column,) = Evaluation([tree], ["x"], kind, backend).at(values)
            found.append(Column(*map(np.asarray, column)))
    for other in found:
        assert not other.open.any()
        for column in found:
            assert (np.abs((column.high - other.high) + (column.low - other.low)) <= column.radius + other.radius).all()
    assert found[2].radius.max() < 2.0**-60 * np.abs(found[2].high).max()


@COMPILED
@pytest.mark.parametrize("kind", KINDS)
def test_compiled_loops_give_the_same_bits(kind: str) -> None:
    """Value and derivative in one loop, at special points too: what is rare goes to NumPy, whatever is closed is the same."""
    trees = [parse("sin(x)*exp(-x**2) + where(x > 1, atan(x), log1p(x*x))*tanh(x) + floor(y)/(2 + x*y)")]
    trees += [derivative for derivative in [differentiate(trees[0], ("x",))] if derivative is not None]
    columns = [np.concatenate([_points(150, k), [np.inf, np.nan]]) for k in (1, 2)]
    ours, theirs = (Evaluation(trees, ["x", "y"], kind, library()).at(*columns) for library in (on_llvm, on_numpy))
    for one, other in zip(ours, theirs, strict=True):
        assert 0.8 < 1 - other.open.mean() < 1
        assert (one.open == other.open).all()
        for part, same in zip(one, other, strict=True):
            assert (part[~other.open] == same[~other.open]).all()


@COMPILED
def test_a_formula_is_compiled_where_that_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """From PAYS points on, once for all checks of the process; NumPy does the same below, and where there is no compiler."""
    trees, made = [parse("x*exp(x)*1.25")], []
    monkeypatch.setattr(evaluation, "on_llvm", lambda: made.append(1) or on_llvm())
    x = np.linspace(-1, 1, 50)
    few, many, again = (Enclosures(trees, ["x"], [61], points=points) for points in (PAYS - 1, PAYS, PAYS))
    assert made == [1]
    monkeypatch.setattr(evaluation, "on_llvm", lambda: 1 / 0)
    other = Enclosures([parse("x*exp(x)*1.5")], ["x"], [61], points=PAYS)
    for enclosures in (few, many, again, other):
        (column,), left = enclosures.at(x)
        assert not left.any()
        assert np.allclose(column.high, x * np.exp(x) * (1.5 if enclosures is other else 1.25), rtol=1e-15)


def test_infinite_and_undefined_inputs_are_open() -> None:
    """Where an input isn't a finite number, nothing is said, though the formula doesn't depend on it."""
    evaluation = Evaluation([parse("where(x > 0, 1, y)")], ["x", "y"])
    found = evaluation.at(np.array([np.inf, 1.0, np.nan]), np.array([1.0, np.inf, 1.0]))
    assert found[0].open.all()


def test_nothing_is_said_where_rounding_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that rounds otherwise than the bounds suppose makes every number open."""
    evaluation = Evaluation([parse("x + 1")], ["x"])
    assert not evaluation.at(np.ones(3))[0].open.any()
    monkeypatch.setattr(Backend, "trustworthy", lambda self: False)
    assert evaluation.at(np.ones(3))[0].open.all()


@pytest.mark.parametrize(
    ("text", "x", "bits"),
    [
        ("1 - tanh(x)**2", 18.0, 60), ("1/3 - tanh(x/3)**2/3", 60.0, 60), ("exp(-x)/(1 + exp(-x))**2", -700.0, 60),
        ("exp(-x)/(1 + exp(-x))**2", 700.0, 60), ("erf(x)/2 + 0.5", -6.0, 60), ("tanh(x)/2 + 1/2", -20.0, 60),
        ("exp(x) - 1", 1e-12, 60), ("log(1 + x)", 1e-12, 60), ("x*exp(x)/(exp(x) + 1)", 710.0, 60), ("1/cosh(x)**2", 350.0, 60),
        ("x**2.5", 3.0, 70), ("x**-1.5", 3.0, 70),
    ],
)  # fmt: skip
def test_rewritten_formulas_keep_their_digits(text: str, x: float, bits: int) -> None:
    """Where the formula as it stands overflows or cancels, the column has more than float64's digits."""
    (column,) = Evaluation([parse(text)], ["x"]).at(np.array([x]))
    assert column.radius[0] <= 2.0**-bits * abs(column.high[0])


@pytest.mark.parametrize("text", ["x/x", "exp(x)*x/(x*(1 + exp(x)))", "0*x/x", "tanh(x)**2 - tanh(x)**2/x"])
def test_rewriting_fills_no_hole(text: str) -> None:
    """Where a formula has no value, its rewritten form has none."""
    assert Evaluation([parse(text)], ["x"]).at(np.zeros(1))[0].open.all()


def test_variables_are_let_go() -> None:
    """A program for arrays keeps none longer than it is needed, and gives the same."""
    tree = parse("sin(x)*x + exp(sin(x))")
    kept, brief = (Program([tree, parse("sin(x)")], ["x"], PLAIN, brief=brief) for brief in (False, True))
    assert [str(v) for v in kept(arb(2))] == [str(v) for v in brief(arb(2))]
    assert brief.bind().__code__.co_code.count(b"\x7e") > kept.bind().__code__.co_code.count(b"\x7e")  # DELETE_FAST


@pytest.mark.parametrize("bits", [32, 61])
@pytest.mark.parametrize("library", LIBRARIES)
def test_enclosures_are_accurate_or_left(bits: int, library: Any) -> None:
    """To 32 bits most points take single words, those that cancel double ones; what is left says so, and balls agree with the
    rest."""
    trees = [parse("x - sin(x)"), parse("1 - cos(x)"), parse("1/x")]
    x = np.concatenate([np.random.default_rng(1).normal(size=300), np.logspace(-14, 0, 60), [0.0]])
    values = torch.from_numpy(x) if library is on_torch else x
    columns, left = Enclosures(trees, ["x"], [bits, bits, 0], library()).at(values)
    left = np.asarray(left)
    assert left[-1] and left.sum() < 2 * bits
    assert np.isfinite(np.asarray(columns[0].radius)[:-1]).all()
    program = Program(trees, ["x"], SMOOTH, lambda: ctx.prec)
    for i in np.flatnonzero(~left).tolist():
        with ctx.workprec(300):
            truths = program(arb(float(x[i])))
            balls = [column.ball(i) for column in columns]
            assert all(ball.contains(truth) for ball, truth in zip(balls, truths, strict=True))
            assert min(ball.rel_accuracy_bits() for ball in balls[:2]) >= bits - 1


def test_an_open_number_has_no_ball() -> None:
    """A ball of a column is nan where it is open."""
    (column,) = Evaluation([parse("1/x")], ["x"]).at(np.array([0.0, 3.0]))
    with ctx.workprec(200):
        assert column.ball(0).is_nan() and column.ball(1).contains(arb(1) / 3)
    assert list(column.accurate(90)) == [False, True]


@pytest.mark.parametrize("library", LIBRARIES)
def test_inputs_of_any_format_are_taken_exactly(library: Any) -> None:
    """Numbers of float32, in any steps of memory, are computed with as doubles."""
    x = np.random.default_rng(3).normal(size=200).astype(np.float32)[::2]
    values = torch.from_numpy(x) if library is on_torch else x
    (short,) = Evaluation([parse("sin(x)*x")], ["x"], "double", library()).at(values)
    (long,) = Evaluation([parse("sin(x)*x")], ["x"]).at(x.astype(np.float64))
    assert (np.asarray(short.high) == long.high).all() and (np.asarray(short.low) == long.low).all()
    assert short.radius.max() < 1e-19

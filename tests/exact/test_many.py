"""Exact derivatives at many points: what columns certify, balls would have said too; and they are asked."""

from __future__ import annotations

import pickle
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from flint import arb

from gradcheck_cli import Report, Verdict, check_grad
from gradcheck_cli.algebra.balls import SMOOTH
from gradcheck_cli.algebra.columns import evaluation
from gradcheck_cli.algebra.columns.evaluation import Column, Evaluation
from gradcheck_cli.algebra.columns.trust import TRUST
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.errors import InputError
from gradcheck_cli.exact.derivative import differentiate
from gradcheck_cli.exact.enclosure import MANY
from gradcheck_cli.exact.sizes import Sizes
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.formulas import computation, waiting
from gradcheck_cli.language.functions import ROWS, Function
from gradcheck_cli.language.parser import parse

POINTS = f"x=linspace(-4,4,{4 * MANY})"

FORMULAS = {
    "sin(x)*exp(-x**2/2) + atan(x)*x**3": lambda x: mpmath.sin(x) * mpmath.exp(-(x**2) / 2) + mpmath.atan(x) * x**3,
    "(x**3 - 2*x + 1)/(x**2 + 1)": lambda x: (x**3 - 2 * x + 1) / (x**2 + 1),
    "log(x**2 + 0.1) - tanh(3*x)": lambda x: mpmath.log(x**2 + 0.1) - mpmath.tanh(3 * x),
}


CANCELS = "(x - 1)**3 - x**3 + 3*x**2 - 3.001*x"
"""Its derivative is -0.001, the rest of terms of 3: autograd is far off everywhere."""


def both(monkeypatch: pytest.MonkeyPatch, text: str, **given: Any) -> tuple[Report, Report]:
    """The report with columns, and without."""
    monkeypatch.setenv("GRADCHECK_COLUMNS", "on")
    one = check_grad(text, **given)
    monkeypatch.setenv("GRADCHECK_COLUMNS", "off")
    return one, check_grad(text, **given)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("text", FORMULAS)
def test_the_same_is_said_with_and_without(monkeypatch: pytest.MonkeyPatch, text: str, dtype: str) -> None:
    """Verdict, cause, error and the digits that are shown, at points of ordinary size, at zeros and at kinks."""
    one, other = both(monkeypatch, f"{text} + abs(x)", at=POINTS, dtype=dtype)
    (column,), (plain,) = one.columns, other.columns
    assert (column.verdicts == plain.verdicts).all()
    assert np.allclose(column.error_ulps, plain.error_ulps, rtol=1e-5, atol=1e-9, equal_nan=True)
    for index in range(0, len(column), 97):
        ours, theirs = column.check(index), plain.check(index)
        assert (ours.exact, ours.cause, ours.detail) == (theirs.exact, theirs.cause, theirs.detail)


RIMS = (0.0, -0.0, 1.0, -1.0, 2.0, 1e-30, 1e30, -1.66e-34, 3e-38, 5e-324, 688.5, -745.0, 88.5, -100.0)


def _wild(seed: int, dtype: str) -> list[float]:
    """Floats of any bits, small, ordinary and large ones, and what stands at the rim of many functions."""
    rng, form = np.random.default_rng(seed), np.dtype(dtype)
    bits = rng.integers(0, 2 ** (8 * form.itemsize), MANY // 2, dtype=np.uint64).astype(f"u{form.itemsize}").view(form)
    some = [rng.normal(scale=scale, size=MANY // 4) for scale in (1e-3, 1.0, 30.0)]
    found: list[float] = np.concatenate([RIMS, bits[np.isfinite(bits)], *some]).astype(form).astype(np.float64).tolist()
    return found


@pytest.mark.parametrize(
    ("row", "dtype"),
    [
        (row, ("float64", "float32")[turn % 2])
        for turn, row in enumerate(r for r in ROWS if [p.kind for p in r.parameters] == ["tensor"] and not r.truths)
    ],
    ids=lambda given: getattr(given, "name", given),
)
def test_every_function_says_the_same_at_any_float(monkeypatch: pytest.MonkeyPatch, row: Function, dtype: str) -> None:
    """What columns leave to single balls is judged by these alone: verdicts and causes of a function are the same with and
    without, where derivatives vanish, are lost to rounding, or lie beyond the format."""
    try:
        one, other = both(monkeypatch, f"{row.name}(x)", at=_wild(len(row.name), dtype), dtype=dtype)
    except InputError:
        assert dtype == "float32"  # torch has some in double alone
        one, other = both(monkeypatch, f"{row.name}(x)", at=_wild(len(row.name), "float64"), dtype="float64")
    for column, plain in zip(one.columns, other.columns, strict=True):
        for i in range(len(column)):
            assert (column.verdict(i), column.cause(i)) == (plain.verdict(i), plain.cause(i)), column.scope.point(i)


def test_compiled_loops_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Formulas, and the operations that torch runs, compiled: the verdicts, errors and details are those of single balls, of
    a formula that cancels, at a kink, and in parts that are judged together."""
    pytest.importorskip("llvmlite")
    monkeypatch.setattr(evaluation, "PAYS", 0)
    monkeypatch.setattr(waiting, "LOOP_PAYS", 0)
    monkeypatch.setattr(computation, "CHUNK", 300 * 32)
    made: list[int] = []
    monkeypatch.setattr(waiting.Queue, "_enter", _counted(waiting.Queue._enter, made))
    one, other = both(monkeypatch, f"{CANCELS} + relu(x - 1)/512", at="x=linspace(0.51,1.49,601)", dtype="float32")
    assert made and one.counts == other.counts
    (column,), (plain,) = one.columns, other.columns
    assert (column.verdicts == plain.verdicts).all() and len(column.sifted.indices()) > 150
    assert np.allclose(column.error_ulps, plain.error_ulps, rtol=1e-5, atol=1e-9, equal_nan=True)
    for index, detail in plain.details.items():
        ours = column.detail(index)
        assert (ours.cause, ours.text, ours.formula_error) == (detail.cause, detail.text, detail.formula_error), index
        assert (ours.rounding_error or 0.0) == pytest.approx(detail.rounding_error or 0.0, rel=1e-6, abs=1e-300), index


def test_a_compiler_that_fails_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it raises, NumPy says the same."""
    on_llvm = pytest.importorskip("gradcheck_cli.algebra.columns.on_llvm")
    monkeypatch.setattr(evaluation, "PAYS", 0)
    monkeypatch.setattr(waiting, "LOOP_PAYS", 0)
    monkeypatch.setattr(on_llvm, "_callable", lambda *_: 1 / 0)
    report = check_grad(CANCELS, at=f"x=linspace(0.51,1.49,{4 * MANY})")
    assert report.counts == {Verdict.MATCH: 4 * MANY} and len(report.columns[0].sifted.indices()) > MANY


def _counted(function: Any, calls: list[int]) -> Any:
    def counting(*given: Any) -> Any:
        calls.append(1)
        return function(*given)

    return counting


@pytest.mark.parametrize("text", FORMULAS)
def test_what_is_shown_is_the_derivative(text: str) -> None:
    """The exact value of an entry that arrays have judged is right in every digit (mpmath, by its own differences)."""
    column = check_grad(text, at=POINTS).columns[0]
    with mpmath.workdps(60):
        for index in (3, 500, len(column) - 1):
            check = column.check(index)
            exact = mpmath.diff(FORMULAS[text], mpmath.mpf(check.point["x"]))
            assert mpmath.almosteq(mpmath.mpf(check.exact), exact, rel_eps=mpmath.mpf(10) ** -18)


def test_what_cancels_is_read_as_tight_as_elsewhere() -> None:
    """1 - tanh(x)**2 loses 100 bits at 36, which columns don't, for they take the secant: who reads, or judges by, the ball of
    such a point has all of its digits all the same."""
    column = check_grad("tanh(x)", at=f"x=linspace(15,40,{MANY})").columns[0]
    with mpmath.workdps(60):
        for index in range(0, MANY, 5):
            check, ball = column.check(index), column.exact[index]
            assert mpmath.almosteq(
                mpmath.mpf(check.exact), mpmath.sech(mpmath.mpf(check.point["x"])) ** 2, mpmath.mpf(10) ** -18
            )
            assert ball.rel_accuracy_bits() >= 61


@pytest.mark.parametrize("text", ["exp(-x**2)", "erfc(x)", "tanh(x**3)"])
def test_what_underflows_far_out_is_zero(text: str) -> None:
    """Where the argument of exp is so large that its low word is large too, arrays say what balls say: nothing is left."""
    report = check_grad(text, at=f"x=logspace(100,3e50,{MANY})")
    assert report.counts == {Verdict.MATCH: MANY} and not report.notes
    assert not report.columns[0].error_ulps.any()


def test_an_error_of_ulps_is_no_whole_number() -> None:
    """The error in float64 is exact: that of a correctly rounded result isn't 0 or 1 ulp, but a part of one half."""
    errors = check_grad("x**3/7", at=POINTS).columns[0].error_ulps
    assert ((errors > 0.01) & (errors < 0.49)).mean() > 0.3


def test_a_report_of_many_points_can_be_handed_over() -> None:
    """Pickling makes the balls that nobody has read yet."""
    report = check_grad("sin(x)", at=POINTS)
    again = pickle.loads(pickle.dumps(report))
    assert again.columns[0].check(77) == report.columns[0].check(77)


def test_a_contradiction_switches_columns_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that is wrong by 1e-12 is found out by balls: nothing is judged by it, and the report says so."""
    monkeypatch.setattr(TRUST, "notes", [])
    evaluated = Evaluation.at

    def wrong(self: Evaluation, *inputs: Any) -> list[Column]:
        return [column._replace(high=column.high * (1 + 1e-12)) for column in evaluated(self, *inputs)]

    monkeypatch.setattr(Evaluation, "at", wrong)
    report = check_grad("sin(x)*x", at=POINTS)
    assert report.counts == {Verdict.MATCH: 4 * MANY}
    assert any("contradicted single balls at" in note for note in report.notes)
    monkeypatch.setattr(Evaluation, "at", lambda *_: pytest.fail("asked again"))
    assert check_grad("cos(x)*x", at=POINTS).exit_code == 0


def test_they_are_used_unless_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """GRADCHECK_COLUMNS=off, few points, or a processor that flushes subnormal numbers: balls alone."""
    asked: list[int] = []
    evaluated = Evaluation.at

    def noted(self: Evaluation, *inputs: Any) -> list[Column]:
        asked.append(len(inputs[0]))
        return evaluated(self, *inputs)

    monkeypatch.setattr(Evaluation, "at", noted)
    check_grad("sin(x)", at=f"x=linspace(-4,4,{MANY - 1})")
    monkeypatch.setenv("GRADCHECK_COLUMNS", "off")
    check_grad("sin(x)", at=POINTS)
    monkeypatch.setenv("GRADCHECK_COLUMNS", "on")
    assert not asked
    if torch.set_flush_denormal(True):
        try:
            check_grad("sin(x)", at=POINTS)
            assert not asked
        finally:
            torch.set_flush_denormal(False)
    check_grad("sin(x)", at=POINTS)
    assert asked == [4 * MANY]


def test_a_sample_has_special_points() -> None:
    """Balls are asked about at least twenty certified points, and about zeros, ones and subnormal ones among them."""
    values = np.linspace(0.1, 3.0, 5_000)
    values[[7, 99, 4_000]] = 0.0, 1.0, 5e-324
    certain = np.ones(5_000, dtype=bool)
    certain[99] = False
    sample = TRUST.sample([values], certain)
    assert {7, 4_000} <= set(sample) and 99 not in sample and len(sample) >= 20


def test_a_planted_error_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backward off by 1e-14 is a wrong formula at every point, with columns as without."""

    class Off(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
            (x,) = ctx.saved_tensors
            return grad * x.cos() * (1 + 1e-14)

    one, other = both(monkeypatch, "sin(x)", at=f"x=linspace(-1,1,{MANY + 44})", callables={"sin": Off.apply})
    assert one.counts == other.counts and one.counts[Verdict.MISMATCH] > MANY


@pytest.mark.parametrize(
    ("text", "low", "high"), [("i1(x)", 2.0**10, 2.0**100), ("gamma(x)", 2.0**8, 2.0**100), ("besseli(3, x)", 2.0**10, 2.0**40)]
)
def test_what_is_beyond_every_float(text: str, low: float, high: float) -> None:
    """Bessel and gamma functions of large numbers: arrays tell the sign of their derivatives, as balls tell a sample."""
    trees = [parse(text.replace("x", "_0")), differentiate(parse(text.replace("x", "_0")), ("_0",))]
    assert trees[1] is not None
    sizes = Sizes([tree for tree in trees if tree is not None], ["_0"], FORMATS["float32"])
    x = np.geomspace(low, high, 6000, endpoint=False)
    program = Program([trees[1]], ["_0"], SMOOTH)
    signs = sizes.beyond([x], np.ones(6000, dtype=bool), lambda point: None)
    assert signs is not None and (signs[0] == 1.0).all()
    for i in range(0, 6000, 500):
        assert program(arb(float(x[i])))[0] > 2**128


def test_infinite_limits_have_a_formula() -> None:
    """clamp without limits is differentiated as a formula: its columns are those of x."""
    tree = differentiate(parse("clamp(_0)"), ("_0",))
    assert tree is not None
    (column,) = Evaluation((tree,), ("_0",)).at(np.linspace(-3.0, 3.0, 7))
    assert (column.high == 1.0).all() and (column.radius == 0.0).all()

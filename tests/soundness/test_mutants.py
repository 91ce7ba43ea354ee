"""A wrong backward is refuted, with the cause `formula`; a right one never is."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from gradcheck_cli import check_chain
from tests.mutants import SLIPS, SUBJECTS, Subject, custom, right, scaled

pytestmark = pytest.mark.slow(reason="hundreds of wrong backwards")

EXPONENTS = {"float64": range(1, 14), "float32": range(1, 6)}
DTYPES = sorted(EXPONENTS)

CHAIN = ["3*x - 1/4", "{name}(u)", "5*v"]  # upstream 5: a missing upstream factor shows


def run(subject: Subject, function: Any, dtype: str) -> Any:
    """A chain around the subject, at points where its input is one of the subject's."""
    stages = [text.format(name=subject.name) for text in CHAIN]
    points = [{"x": (p + 0.25) / 3} for p in subject.points]
    return check_chain(stages, at=points, dtype=dtype, callables={subject.name: function})


def local(report: Any) -> list[Any]:
    """The checks of the subject's own derivative."""
    return [c for c in report.checks if c.kind == "local" and c.quantity == "dv/du"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda s: s.name)
def test_right(subject: Subject, dtype: str) -> None:
    """A custom Function with the right backward passes."""
    report = run(subject, right(subject), dtype)
    assert report.ok, str(report)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda s: s.name)
def test_scaled(subject: Subject, dtype: str, whole: bool) -> None:
    """A relative error of 10**-k in the backward is refuted at every point, as a formula, and blamed on its stage: the smallest
    error, and of the others every second, of each function other ones."""
    exponents = EXPONENTS[dtype]
    for k in exponents if whole else {*exponents[SUBJECTS.index(subject) % 2 :: 2], exponents[-1]}:
        report = run(subject, scaled(subject, 10.0**-k), dtype)
        checks = local(report)
        assert [c.cause for c in checks] == ["formula"] * len(subject.points), f"k={k}\n{report}"
        assert all(c.stage == "v" for c in report.checks if c.verdict == "mismatch"), str(report)
        assert report.exit_code == 1


@pytest.mark.parametrize("slip", SLIPS)
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda s: s.name)
def test_slips(subject: Subject, slip: str, whole: bool) -> None:
    """A slip is refuted as a formula wherever it changes the derivative, with autograd's formula beside the exact one: in
    one of the formats by turns, in all where the sweep is whole."""
    turn = SUBJECTS.index(subject) + list(SLIPS).index(slip)
    for dtype in DTYPES if whole else (DTYPES[turn % len(DTYPES)],):
        report = run(subject, SLIPS[slip](subject), dtype)
        dtype_ = getattr(torch, dtype)
        wrong = 0
        for point in subject.points:
            x = torch.tensor(point, dtype=dtype_, requires_grad=True)
            upstream = torch.tensor(5.0, dtype=dtype_)
            found = torch.autograd.grad(SLIPS[slip](subject)(x), x, upstream)[0].item()
            true = 5 * subject.derivative(x.detach(), subject.forward(x.detach())).item()
            wrong += not math.isclose(found, true, rel_tol=1e-4)
        refuted = [c for c in report.checks if c.quantity == "dy/dx" and c.verdict == "mismatch"]
        assert len(refuted) == wrong, str(report)
        for check in refuted:
            assert check.cause == "formula", str(report)
            assert check.autograd_formula and check.formula
        assert report.ok == (wrong == 0)


def test_cancelling_errors() -> None:
    """Two wrong stages whose errors cancel in the total are both refuted, the first one named."""
    double, half = (custom(torch.sin, lambda g, x, y: g * x.cos() * 2), custom(torch.exp, lambda g, x, y: g * y / 2))
    report = check_chain(["sin(x)", "exp(u)"], at="x=0.5", callables={"sin": double, "exp": half})
    verdicts = {(c.kind, c.quantity): c for c in report.checks}
    assert verdicts["total", "dy/dx"].verdict == "match"
    assert verdicts["local", "dy/du"].cause == verdicts["local", "du/dx"].cause == "formula"
    assert report.exit_code == 1


def test_before_saturation() -> None:
    """A wrong stage before a saturated one, whose total is 0 anyway, is blamed."""
    wrong = custom(torch.sin, lambda g, x, y: g * x.cos() * 1.01)
    report = check_chain(["sin(x)", "relu(u - 5)"], at="x=0.5", callables={"sin": wrong})
    checks = {(c.kind, c.quantity): c for c in report.checks}
    assert checks["total", "dy/dx"].verdict == "match"
    assert (checks["local", "du/dx"].cause, checks["local", "du/dx"].stage) == ("formula", "u")


def test_before_a_square_at_zero() -> None:
    """A wrong stage before a square at 0, which multiplies it by 0, is blamed."""
    wrong = custom(torch.sin, lambda g, x, y: -g * x.cos())
    report = check_chain(["sin(x)", "u**2"], at="x=0", callables={"sin": wrong})
    checks = {(c.kind, c.quantity): c for c in report.checks}
    assert checks["total", "dy/dx"].verdict == "match"
    assert (checks["local", "du/dx"].cause, checks["local", "du/dx"].stage) == ("formula", "u")


def test_missing_upstream_is_blamed() -> None:
    """A backward that forgets the upstream gradient is right for the cotangent 1; it is blamed all the same."""
    wrong = custom(torch.sin, lambda g, x, y: x.cos() + 0 * g)
    report = check_chain(["3*x", "sin(u)", "5*v"], at="x=0.4", callables={"sin": wrong})
    checks = {(c.kind, c.quantity): c for c in report.checks}
    assert (checks["local", "dv/du"].cause, checks["local", "dv/du"].stage) == ("formula", "v")
    assert checks["total", "dy/dx"].stage == "v"
    assert not check_chain("sin(x)", at="x=0.4", callables={"sin": wrong}).ok


def test_an_infinity_in_the_formula() -> None:
    """A backward that paints an infinity over what it can't compute is a wrong formula, no overflow (tt-metal#54439)."""
    painted = custom(torch.square, lambda g, x, y: torch.where(x <= 0, torch.inf, g * 2 * torch.exp(torch.log(x))))
    check = check_chain("square(x)", at="x=-2", callables={"square": painted}).checks[1]
    assert (check.verdict, check.cause) == ("mismatch", "formula")

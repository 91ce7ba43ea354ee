"""Where floats leave their range: a kernel that returns no number for ordinary ones is to blame itself."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from gradcheck_cli import check_grad
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.verdicts import Cause


@contextmanager
def kernel(name: str, run: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Within, torch's operation on the CPU is this."""
    with torch.library._scoped_library("aten", "IMPL") as library, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is overridden
        library.impl(name, run, "CPU")
        yield


def causes(report: Report) -> set[Cause | None]:
    return {c.cause for c in report.checks}


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_kernel_that_returns_no_number(value: float) -> None:
    """Of 0.5, which no rounding has touched and no step takes out of range: the kernel, by name, is wrong."""
    with kernel("sinh", lambda x: torch.full_like(x, value)):
        report = check_grad("sinh(x)**2", at="x=0.5")
    assert causes(report) == {Cause.KERNEL}, str(report)
    assert "returns inf or nan for ordinary numbers" in (report.checks[0].detail or "")


def test_what_may_be_an_overflow_is_one() -> None:
    """Of 30 a step of the kernel may be too large; and of a nan behind rounding the argument may have left the domain."""
    with kernel("sinh", lambda x: torch.full_like(x, math.inf)):
        assert causes(check_grad("sinh(x)**2", at="x=30")) == {Cause.RANGE}
    with kernel("sinh", lambda x: torch.full_like(x, math.nan)):
        assert Cause.KERNEL not in causes(check_grad("sinh(sin(x))**2", at="x=0.5"))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_matrix_exponential_in_16_bits(dtype: str) -> None:
    """Where torch's has no number of a small matrix, nothing is said of the range, and nothing of the formula."""
    matrix = [[0.1, 0.2], [0.3, 0.1]]
    report = check_grad("matrix_exp(A).sum()", at={"A": matrix}, dtype=dtype)
    if not all(math.isfinite(c.autograd or 0) for c in report.checks):
        assert causes(report) == {Cause.KERNEL}, str(report)
    assert not causes(report) & {Cause.RANGE, Cause.NAN_TRAP, Cause.FORMULA}

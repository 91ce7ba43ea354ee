"""A kernel that returns something else than its operation is named by that, wherever it stands in the code."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from gradcheck_cli import check_function, check_model
from gradcheck_cli.verdict.verdicts import Verdict


@pytest.fixture
def wrong_sinh() -> Iterator[None]:
    """The kernel of an operation is off by a hundred thousandth."""
    with torch.library._scoped_library("aten", "IMPL") as library, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is overridden
        library.impl("sinh", lambda x: (x.exp() - (-x).exp()) / 2 * (1 + 1e-5), "CPU")
        yield


def layered(x: Tensor) -> Tensor:
    return (torch.sinh(x.sin()) * 2).cos()


@pytest.mark.parametrize("count", [2, 400], ids=["balls", "columns"])
def test_the_operation_is_named(wrong_sinh: None, count: int) -> None:
    """Neither one before it, nor one after it, which is wrong because it was."""
    report = check_function(layered, at={"x": torch.linspace(0.3, 1.2, count, dtype=torch.float64)})
    assert report.verdict is Verdict.UNDECIDED
    (text,) = {str(c.detail) for c in report.checks}
    assert "a kernel that returns something else than its operation: sinh (test_strayed.py, line " in text


def test_in_a_network(wrong_sinh: None) -> None:
    """The same of a layer."""

    class Sinh(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.sinh(x)

    report = check_model(nn.Sequential(nn.Linear(2, 2), Sinh(), nn.Linear(2, 1)).double(), input=2)
    texts = {str(c.detail) for c in report.checks if c.verdict is Verdict.UNDECIDED}
    assert texts and all("its operation: sinh (test_strayed.py, line " in text for text in texts)


def test_right_kernels_are_not_accused() -> None:
    """Without it the same function is right."""
    assert check_function(layered, at={"x": [0.3, 1.2]}).verdict is Verdict.MATCH

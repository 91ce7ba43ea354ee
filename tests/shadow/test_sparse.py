"""Sparse tensors on the way are followed; what isn't a tensor of numbers in a storage is told by its kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gradcheck_cli import check_function, gradcheck

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # torch calls what it has of this a beta

PLACES = torch.tensor([[0, 1, 1, 0], [2, 0, 2, 2]])
"""One of them twice."""


def coo(x: Tensor) -> Tensor:
    return torch.sparse_coo_tensor(PLACES, x, (2, 3))


def csr(x: Tensor) -> Tensor:
    return torch.sparse_csr_tensor(torch.tensor([0, 2, 4]), torch.tensor([0, 2, 1, 2]), x, (2, 3))


RIGHT = torch.arange(6.0, dtype=torch.float64).reshape(3, 2) - 2

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "coo mm": lambda x: torch.sparse.mm(coo(x), RIGHT) * x[:2],
    "coo sum": lambda x: torch.sparse.sum(coo(x)) * x,
    "coo sum of rows": lambda x: torch.sparse.sum(coo(x), 0).to_dense() ** 2,
    "coo dense": lambda x: coo(x).to_dense() ** 2,
    "coo arithmetic": lambda x: (coo(x) + 2 * coo(x) - coo(x).neg()).to_dense() * RIGHT.T,
    "coo times itself": lambda x: (coo(x).coalesce() * coo(x).coalesce()).to_dense(),
    "coo values": lambda x: coo(x).coalesce().values() ** 2,
    "coo mv": lambda x: coo(x) @ RIGHT[:, 1] * x[:2],
    "hybrid": lambda x: torch.sparse_coo_tensor(torch.tensor([[0, 2]]), x.reshape(2, 2), (3, 2)).to_dense() * RIGHT,
    "csr mm": lambda x: csr(x) @ RIGHT * x[:2],
    "csr dense": lambda x: csr(x).to_dense() ** 2,
    "to_sparse": lambda x: torch.sparse.mm(x.reshape(2, 2).to_sparse(), x.reshape(2, 2)),
    "to_sparse_csr": lambda x: x.reshape(2, 2).to_sparse_csr() @ x.reshape(2, 2),
    "masked": lambda x: torch.masked.sum(x, mask=x.detach() > 0) * x,
}
"""Of the second degree at most: a central difference with the step 1 is exact at whole numbers."""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_followed(name: str) -> None:
    """Every gradient is certified, and the derivative is the quotient of the plain function along each entry."""
    function = FUNCTIONS[name]
    x = torch.tensor([3.0, 5.0, -7.0, 4.0], dtype=torch.float64)

    def weighed(x: Tensor) -> Tensor:
        y = function(x)
        return (y * (torch.arange(y.numel()).reshape(y.shape) + 1)).sum()

    report = check_function(weighed, at={"x": x})
    assert report.verdict == "match", str(report)
    checks = [check for check in report.checks if check.of == "y"]
    assert len(checks) == 4
    for check, e in zip(checks, torch.eye(4, dtype=torch.float64), strict=True):
        assert float(check.exact or "nan") == ((weighed(x + e) - weighed(x - e)) / 2).item()


class _Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.factor = factor
        return coo(x * x).to_dense()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return ctx.factor * x * g[tuple(PLACES)], None


def test_a_wrong_backward_is_refuted() -> None:
    """A factor that is missing, and one that is off by 1e-9; the right one passes, in the drop-in too."""
    x = torch.tensor([3.0, 5.0, -7.0, 4.0], dtype=torch.float64, requires_grad=True)
    for factor, verdict in ((2.0, "match"), (1.0, "mismatch"), (2.0 + 2e-9, "mismatch")):
        assert check_function(lambda x, f=factor: _Square.apply(x, f), at={"x": x}).verdict == verdict
        assert gradcheck(lambda x, f=factor: _Square.apply(x, f), (x,), raise_exception=False) == (verdict == "match")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: torch.quantize_per_tensor(x.float(), 0.1, 0, torch.qint8).dequantize() + x, "quantised numbers have no"),
        (lambda x: torch.nested.to_padded_tensor(torch.nested.as_nested_tensor([x, x[:2]]), 0.0), "nested tensors aren't"),
        (lambda x: x.reshape(2, 2).to_sparse_bsc((1, 1)).to_dense() * 2, "layout torch.sparse_bsc"),
    ],
)
def test_what_is_not_followed_is_told(function: Callable[[Tensor], Tensor], words: str) -> None:
    """Undecided, by the kind of tensor: nothing is guessed, and nothing ends in an error."""
    report = check_function(function, at={"x": torch.tensor([3.0, 5.0, -7.0, 4.0], dtype=torch.float64)})
    assert {str(check.verdict) for check in report.checks} <= {"undecided", "mismatch"}
    assert words in " ".join(str(report).split())

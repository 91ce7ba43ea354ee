"""Functions of symmetric matrices, of which torch reads one triangle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function

from gradcheck_cli import GradcheckError, check_function, gradcheck

S = torch.tensor([[2.0, 0.5, 0.1], [0.5, 1.0, 0.2], [0.1, 0.2, 3.0]], dtype=torch.float64)


def log_density(a: Tensor) -> Tensor:
    return torch.distributions.MultivariateNormal(a.new_zeros(3), a).log_prob(a.new_ones(3))


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "eigvalsh": torch.linalg.eigvalsh,
    "upper": lambda a: torch.linalg.eigvalsh(a, UPLO="U").exp(),
    "root": lambda a: (lambda w, v: v @ torch.diag(w.sqrt()) @ v.mT)(*torch.linalg.eigh(a)),
    "cholesky": torch.linalg.cholesky,
    "solve": lambda a: torch.cholesky_solve(a.new_ones(3, 1), torch.linalg.cholesky(a * 2)),
    "batch": lambda a: torch.linalg.eigvalsh(torch.stack([a, a + 1])),
    "log_prob": log_density,
}


@pytest.mark.parametrize(
    ("name", "dtype"), [*((name, "float64") for name in FUNCTIONS), ("eigvalsh", "float32"), ("solve", "float32")]
)
def test_symmetric_functions(name: str, dtype: str) -> None:
    """torch's gradient is right along symmetric directions, where the exact one is the quotient, and it is said."""
    report = check_function(lambda a: FUNCTIONS[name](a), at={"a": S}, dtype=dtype)
    assert report.verdict == "match", str(report)
    assert any("symmetric directions" in note for note in report.notes)
    if dtype == "float32":
        return
    leaf = S.clone().requires_grad_()
    outputs = FUNCTIONS[name](leaf)
    columns = [c for c in report.checks if c.quantity.startswith("d<v,")]
    weights = _weights(report, outputs)
    for i, j in ((0, 1), (1, 2), (2, 2)):
        move = torch.zeros(3, 3, dtype=torch.float64)
        move[i, j] = move[j, i] = 1e-6
        quotient = ((FUNCTIONS[name](S + move) - FUNCTIONS[name](S - move)) * weights).sum() / 2e-6
        pair = {(i, j), (j, i)}
        exact = sum(float(c.exact) for k, c in enumerate(columns) if divmod(k, 3) in pair)
        assert exact == pytest.approx(float(quotient), rel=1e-5, abs=1e-7)


def _weights(report: Any, outputs: Tensor) -> Tensor:
    """The upstream gradient that a report shows."""
    point = report.checks[0].point
    return torch.tensor(next(v for n, v in point.items() if n.startswith("v")), dtype=torch.float64).reshape(outputs.shape)


class LargerEigenvalues(Function):
    """A backward that is 10 % too large."""

    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(a)
        ctx.save_for_backward(vectors)
        return values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (vectors,) = ctx.saved_tensors
        return 1.1 * vectors @ torch.diag(gradient) @ vectors.mT


class Symmetrised(Function):
    """The gradient of a function that isn't one of symmetric matrices, symmetrised: wrong."""

    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        return (torch.arange(9, dtype=a.dtype).view(3, 3) * a).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        weights = torch.arange(9, dtype=gradient.dtype).view(3, 3)
        return gradient * (weights + weights.mT) / 2


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("wrong", [LargerEigenvalues.apply, lambda a: torch.linalg.eigvalsh(a).sum() * Symmetrised.apply(a)])
def test_wrong_backwards_of_symmetric_matrices(wrong: Callable[[Tensor], Tensor], dtype: str) -> None:
    """They are refused, in the drop-in too."""
    report = check_function(wrong, at={"a": S}, dtype=dtype)
    assert report.verdict == "mismatch", str(report)
    with pytest.raises(GradcheckError):
        gradcheck(wrong, S.clone().requires_grad_())


def test_a_matrix_that_is_not_symmetric() -> None:
    """The gradient isn't the derivative of what is computed, and the note says why."""
    report = check_function(lambda a: torch.linalg.eigvalsh(a), at={"a": S + torch.eye(3, dtype=torch.float64).roll(1, 0)})
    assert report.verdict == "mismatch"
    assert any("not symmetric here" in note for note in report.notes)


def test_the_drop_in_takes_them() -> None:
    """torch's own check moves single entries, which leave the symmetric matrices; here they count for what they mean."""
    assert gradcheck(lambda a: torch.linalg.eigvalsh(a), S.clone().requires_grad_())

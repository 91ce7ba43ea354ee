"""What kernels promise of eigenvalues, singular values and their vectors: errors of the size of the matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mpmath import mp
from torch import Tensor

from gradcheck_cli import check_function
from gradcheck_cli.shadow.rules import spectra
from tests.custom_functions.elementwise import custom

linalg = torch.linalg
GRADED = [[1e-20, 4.29], [-8e-30, 3e-40], [0.94, -4.9]]
SYMMETRIC = [[1.0, 1e-20, 1e-25], [1e-20, 2.0, 1e-30], [1e-25, 1e-30, 7.0]]

SMALL: dict[str, tuple[Callable[[Tensor], Tensor], list[list[float]]]] = {
    "nuclear norm": (lambda a: linalg.norm(a, "nuc"), GRADED),
    "singular vectors": (lambda a: (lambda u, s, vh: u @ vh)(*linalg.svd(a, full_matrices=False)), GRADED),
    "eigenvalues": (linalg.eigvalsh, SYMMETRIC),
    "eigenvectors": (lambda a: linalg.eigh(a)[1] ** 2, SYMMETRIC),
    "values of any matrix": (
        lambda a: (linalg.eigvals(a) ** 2).real.sum(),
        [[2.0, 1e-25, 3.0], [1e-30, 1.0, 0.3], [1e-25, 1.0, 7.0]],
    ),
}


@pytest.mark.parametrize("name", SMALL)
def test_small_entries_of_vectors_are_as_far_off_as_large_ones(name: str) -> None:
    """LAPACK bounds the error of a whole vector: entries of 1e-30 that are 1e-17 off are no error of a kernel, and no operation
    that can't be followed."""
    function, matrix = SMALL[name]
    report = check_function(function, at={"a": torch.tensor(matrix, dtype=torch.float64)})
    assert set(report.counts) <= {"match", "imprecise"}


@pytest.mark.parametrize("off", [1e-6, 1e-10])
def test_of_large_entries_little_is_allowed(off: float) -> None:
    """A gradient of the nuclear norm that is off by 1e-10 in an entry of ordinary size is a mismatch at the same matrix."""

    def backward(upstream: Tensor, a: Tensor, _: Tensor) -> Tensor:
        u, _, vh = linalg.svd(a, full_matrices=False)
        return upstream * (u @ vh) * (1 + off)

    wrong = custom(lambda a: linalg.norm(a, "nuc"), backward)
    report = check_function(lambda a: wrong(a), at={"a": torch.tensor(GRADED, dtype=torch.float64)})
    assert report.counts.get("mismatch", 0) >= 4


UNBALANCED = torch.tensor([[0.9, 3e-13, 4e-25], [-1.2e12, -0.4, 2e-13], [-7e24, 1.1e12, 0.3]], dtype=torch.float64)


def lengths(a: Any) -> Any:
    """The sizes of the entries of eigenvectors of length 1, added up."""
    _, x = mp.eig(a)
    return sum(mp.norm(x[:, j], 1) / mp.norm(x[:, j], 2) for j in range(a.cols))


def vectors(a: Tensor) -> Tensor:
    """The same in torch."""
    return linalg.eig(a)[1].abs().sum()


def test_eigenvectors_of_matrices_that_are_not_balanced() -> None:
    """Their entries are of every size, and Newton's method starts from all digits of each: the exact derivative by a corner of
    an unbalanced matrix is a difference quotient at 120 digits, to 15, and torch's are no mismatch."""
    report = check_function(vectors, at={"a": UNBALANCED})
    (exact,) = (float(str(check.exact)) for check in report.checks if check.quantity == "dy/da[0,2]")
    assert set(report.counts) <= {"match", "imprecise"}
    with mp.workdps(120):
        above, below = mp.matrix(UNBALANCED.tolist()), mp.matrix(UNBALANCED.tolist())
        step = above[0, 2] * mp.mpf(10) ** -40
        above[0, 2] += step
        below[0, 2] -= step
        assert exact == pytest.approx(float((lengths(above) - lengths(below)) / (2 * step)), rel=1e-15)


def test_without_convergence_nothing_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Newton's method may take no more than a step its vectors are not those of the matrix: it can't be followed."""
    monkeypatch.setattr(spectra, "MOST", 1)
    report = check_function(vectors, at={"a": torch.tensor([[2.0, 1.0], [0.5, -1.0]], dtype=torch.float64)})
    assert set(report.counts) == {"undecided"}

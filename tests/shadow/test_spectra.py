"""What kernels promise of eigenvalues, singular values and their vectors: errors of the size of the matrix."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gradcheck_cli import check_function
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

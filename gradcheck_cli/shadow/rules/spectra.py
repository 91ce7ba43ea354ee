"""Rules: eigenvalues, singular values, functions of matrices; Newton's method from torch's floats."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from gradcheck_cli.shadow.contents import as_real
from gradcheck_cli.shadow.memory import FLOATS
from gradcheck_cli.shadow.rules.matrices import solution
from gradcheck_cli.shadow.rules.registry import blurred, identity, number, paused, rule

SHARP = 1500
"""Bits of vectors after Newton's method, which starts from half of those of a format and doubles them at each step: beside a
singular value of 0 no fewer show that it has a kink."""


def _symmetric(a: Tensor, triangle: str) -> Tensor:
    """The matrix that one triangle stands for."""
    lower = a.tril(-1) if triangle == "L" else a.triu(1).mH
    return lower + lower.mH + torch.diag_embed(a.diagonal(0, -2, -1))


def _refined(a: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and vectors of a symmetric matrix, from vectors good to half the digits of a format: Ogita and Aishima,
    Iterative refinement for symmetric eigenvalue decomposition, Japan J. Indust. Appl. Math. 35 (2018).

    An eigenvalue that may be equal to another has no vector of its own: there the division leaves nothing."""
    eye = identity(a, a.shape[-1])
    values = _real(a.diagonal(0, -2, -1))
    x = _start(x)
    for _ in range(math.ceil(math.log2(SHARP / (FLOATS[x.dtype.to_real()].bits // 2)))):
        r, s = eye - x.mH @ x, x.mH @ (a @ x)
        diagonal = _real(r.diagonal(0, -2, -1))
        values = _real(s.diagonal(0, -2, -1)) / (1 - diagonal)
        gaps = values.unsqueeze(-2) - values.unsqueeze(-1)
        off = (s + values.unsqueeze(-2) * r) / (gaps + eye)
        x = x + x @ (off * (1 - eye) + torch.diag_embed(diagonal / 2))
    return values, x


def _real(x: Tensor) -> Tensor:
    """What is real in value."""
    return x.real if x.is_complex() else x


def _start(x: Tensor) -> Tensor:
    """Where Newton's method starts, as a sum of numbers of few bits: none of them is a constant of the code, which might stand
    for what it was rounded from."""
    parts, half = [], FLOATS[x.dtype.to_real()].bits // 2
    with paused():
        rest = as_real(x)
        for k in (1, 2, 3):
            scale = 2.0 ** (k * half - 1)
            part = (rest * scale).round() / scale
            parts.append(torch.view_as_complex(part) if x.is_complex() else part)
            rest = rest - part
    return parts[0] + parts[1] + parts[2]


@rule("_linalg_eigh")
def _eigh(A: Tensor, UPLO: str, compute_v: bool, result: Any) -> tuple[Tensor, Tensor]:
    with paused():
        x = result[1].detach().clone() if compute_v else torch.linalg.eigh(A.detach(), UPLO)[1]
    values, vectors = _refined(_symmetric(A, UPLO), x)
    return values, vectors if compute_v else result[1]


@rule("_linalg_svd")
def _svd(A: Tensor, full_matrices: bool, compute_uv: bool, result: Any) -> tuple[Tensor, Tensor, Tensor]:
    """By the spectrum of the smaller of A.T@A and A@A.T; a matrix without full rank is left undefined."""
    m, n = A.shape[-2:]
    if m < n:
        u, s, vh = _svd(A.mT, full_matrices, compute_uv, [result[2].mT, result[1], result[0].mT])
        return vh.mT, s, u.mT
    with paused():
        v = torch.linalg.svd(A.detach(), full_matrices=False)[2].mT
        if compute_uv:
            v = result[2].detach().mT.clone()
    v = _refined(A.mT @ A, v)[1]
    u = A @ v
    s = torch.linalg.vector_norm(u, 2, -2)
    if not compute_uv:
        return result[0], s, result[2]
    u = u / s.unsqueeze(-2)
    return torch.cat([u, number(result[0][..., n:])], -1) if full_matrices and m > n else u, s, v.mT


_TERMS = 60
"""Of the exponential's series at norms up to 1/2: what is left out is below 2**-330."""


@rule("linalg_matrix_exp")
def _matrix_exp(self: Tensor) -> Tensor:
    """The series of self/2**k, squared k times."""
    if not self.numel():
        return self.clone()
    with paused():
        size = torch.linalg.matrix_norm(self.detach().abs().double(), 1).max().item()
        halvings = max(0, math.ceil(math.log2(size)) + 1) if 0 < size < math.inf else 0
    x = self * 0.5**halvings
    found = term = identity(self, self.shape[-1]).expand(self.shape)
    for k in range(1, _TERMS):
        term = term @ x / k
        found = found + term
    for _ in range(halvings):
        found = found @ found
    return found


@rule("linalg_pinv")
def _pseudoinverse(self: Tensor, atol: Any = None, rtol: Any = None, hermitian: bool = False) -> Tensor:
    """Of a matrix of full rank: a solution of the normal equations."""
    m, n = self.shape[-2:]
    with paused():
        full = bool((torch.linalg.matrix_rank(self.detach(), atol=atol, rtol=rtol, hermitian=hermitian) == min(m, n)).all())
    if not full:
        raise NotImplementedError("the rank is a question of rounding")
    if not self.numel():
        return self.mT.clone()
    if hermitian:
        return _detour(self, solution(_symmetric(self, "L"), identity(self, n)))
    if m < n:
        return _pseudoinverse(self.mT, atol, rtol).mT
    return _detour(self, solution(self.mT @ self, self.mT))


def _detour(a: Tensor, inverse: Tensor) -> Tensor:
    """torch goes by singular values: its error is of the size of the condition number."""
    with paused():
        size = torch.linalg.matrix_norm(inverse.detach().abs().double(), keepdim=True)
        condition = torch.linalg.matrix_norm(a.detach().abs().double(), keepdim=True) * size
        bound = (sum(a.shape[-2:]) * size * condition).to(a.dtype)
    return blurred(inverse, bound)


@rule("linalg_lstsq")
def _least_squares(self: Tensor, b: Tensor, result: Any) -> tuple[Tensor, ...]:
    if result[2].numel() and bool((result[2] < min(self.shape[-2:])).any()):
        raise NotImplementedError("the rank is a question of rounding")
    right = b.unsqueeze(-1) if b.ndim == self.ndim - 1 else b
    found = _pseudoinverse(self) @ right
    squares = (self @ found - right).square().sum(-2).reshape(result[1].shape) if result[1].numel() else result[1]
    return found.reshape(result[0].shape), squares, result[2], number(result[3])

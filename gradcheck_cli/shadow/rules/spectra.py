"""Rules: eigenvalues, singular values, functions of matrices; Newton's method from torch's floats."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from gradcheck_cli.shadow.contents import as_real
from gradcheck_cli.shadow.memory import FLOATS
from gradcheck_cli.shadow.rules.matrices import solution
from gradcheck_cli.shadow.rules.registry import at_rest, blurred, identity, number, paused, real, rule, squared, within

SHARP = 1500
"""Bits of vectors after Newton's method, which starts from half of those of a format and doubles them at each step: beside a
singular value of 0 no fewer show that it has a kink."""

SETTLED, MOST = 2.0**-150, 10
"""Size of a correction of vectors, beside their length, which leaves an error of its square: then Newton's method has ended.
And steps that it may take: more mean that it doesn't converge from torch's floats."""

MOVING = 2
"""The last steps of Newton's method, in which derivatives are carried along: the first of them has these to as many digits as
what it starts from, the second to all."""


def _symmetric(a: Tensor, triangle: str) -> Tensor:
    """The matrix that one triangle stands for."""
    lower = a.tril(-1) if triangle == "L" else a.triu(1).mH
    return lower + lower.mH + torch.diag_embed(real(a.diagonal(0, -2, -1)))


def _refined(a: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and vectors of a symmetric matrix, from vectors good to half the digits of a format: Ogita and Aishima,
    Iterative refinement for symmetric eigenvalue decomposition, Japan J. Indust. Appl. Math. 35 (2018).

    An eigenvalue that may be equal to another has no vector of its own: there the division leaves nothing. So may one that
    floats don't tell from another, however far the rounding of their vectors moves it away."""
    eye = identity(a, a.shape[-1])
    values = real(a.diagonal(0, -2, -1))
    with paused():
        own = real((x.mH @ (a.detach() @ x)).diagonal(0, -2, -1))
        gaps = (own.unsqueeze(-2) - own.unsqueeze(-1)).abs()
        unit = EQUAL * a.shape[-1] * torch.finfo(own.dtype).eps * own.abs().amax(-1, keepdim=True).unsqueeze(-1)
        apart = ((gaps > unit) | (gaps == 0)).to(own.dtype)  # what is 0 itself hides nothing
    x, steps = _start(x), _doublings(x)
    for step in range(steps):
        known = at_rest(a) if step < steps - MOVING else a
        r, s = eye - x.mH @ x, x.mH @ (known @ x)
        diagonal = real(r.diagonal(0, -2, -1))
        values = real(s.diagonal(0, -2, -1)) / (1 - diagonal)
        gaps = (values.unsqueeze(-2) - values.unsqueeze(-1)) * apart
        off = (s + values.unsqueeze(-2) * r) / (gaps + eye)
        x = x + x @ (off * (1 - eye) + torch.diag_embed(diagonal / 2))
    return values, x


def _doublings(x: Tensor) -> int:
    """Steps of Newton's method from torch's floats."""
    return math.ceil(math.log2(SHARP / (FLOATS[x.dtype.to_real()].bits // 2)))


def _start(x: Tensor) -> Tensor:
    """Where Newton's method starts, as a sum of numbers of few bits: none of them is a constant of the code, which might stand
    for what it was rounded from."""
    parts, half = [], FLOATS[x.dtype.to_real()].bits // 2
    with paused():
        rest = as_real(x)
        exponents = torch.frexp(rest).exponent
        for k in (1, 2, 3):
            part = torch.ldexp((torch.ldexp(rest, k * half - 1 - exponents)).round(), exponents + 1 - k * half)
            parts.append(torch.view_as_complex(part) if x.is_complex() else part)
            rest = rest - part
    return parts[0] + parts[1] + parts[2]


EQUAL = 4
"""Epsilons of the largest eigenvalue, for each row, within which floats don't tell eigenvalues apart: LAPACK's error."""


def _as_kernels(values: Tensor, vectors: Tensor, spectrum: Tensor, condition: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
    """What a kernel may make of values and vectors of length 1: its errors are of the size of the matrix, and of that over the
    distance to the next value of the `spectrum`, however small an entry is (Anderson et al., LAPACK Users' Guide, sections 4.7
    to 4.9). `condition`: of the vectors, unless they are orthogonal."""
    n = spectrum.shape[-1]
    if not n:
        return values, vectors
    with paused():
        known = spectrum.detach()
        size = known.abs().amax(-1, keepdim=True) * n
        itself = torch.diag_embed(torch.full_like(size, math.inf).expand(known.shape))
        gaps = (known.unsqueeze(-2) - known.unsqueeze(-1)).abs() + itself
        share = (size * condition / gaps.amin(-1)).clamp(max=1 / torch.finfo(size.dtype).eps).nan_to_num(0.0)
    return blurred(values, (size * condition).expand(values.shape)), blurred(vectors, share.unsqueeze(-2))


@rule("_linalg_eigh")
def _eigh(A: Tensor, UPLO: str, compute_v: bool, result: Any) -> tuple[Tensor, Tensor]:
    with paused():
        x = result[1].detach().clone() if compute_v else torch.linalg.eigh(A.detach(), UPLO)[1]
    values, vectors = _as_kernels(*_refined(_symmetric(A, UPLO), x), result[0])
    return values, vectors if compute_v else result[1]


@rule("linalg_eig")
def _eig(self: Tensor, result: Any) -> tuple[Tensor, Tensor]:
    """Newton's method from torch's floats, for the vectors and for their inverse: in this basis what is left beside
    the diagonal says by how much of one another they are off. Of length 1, with torch's phase."""
    with paused():
        vectors = result[1].detach().clone()
        rows = torch.exp2(-torch.frexp(vectors.abs().amax(-1, keepdim=True)).exponent.to(real(vectors).dtype))
        inverse = torch.linalg.inv(rows * vectors) * rows.mT
        largest = vectors.abs().argmax(-2, keepdim=True)
        phase = vectors.gather(-2, largest)
        phase = phase / phase.abs()
    a, eye = self.to(vectors.dtype), identity(vectors, self.shape[-1])
    x, y = _start(vectors), _start(inverse)
    for _ in range(MOST):
        y = y + y @ (eye - x @ y)
        b = y @ (a @ x)
        values = b.diagonal(0, -2, -1)
        gaps = values.unsqueeze(-2) - values.unsqueeze(-1)
        off = b * (1 - eye) / (gaps + eye)
        x = x + x @ off
        if within(off, SETTLED):
            break
    else:
        raise NotImplementedError("from torch's floats Newton's method doesn't converge to the vectors")
    y = y + y @ (eye - x @ y)
    values = (y * (a @ x).mT).sum(-1)
    heads = x.gather(-2, largest)
    x = x * (heads.conj() / heads.abs() * phase)
    with paused():
        condition = torch.linalg.matrix_norm(vectors) * torch.linalg.matrix_norm(inverse)
    return _as_kernels(values, x / torch.linalg.vector_norm(x, 2, -2, keepdim=True), result[0], condition.unsqueeze(-1))


@rule("_linalg_svd")
def _svd(A: Tensor, full_matrices: bool, compute_uv: bool, result: Any) -> tuple[Tensor, Tensor, Tensor]:
    """By the spectrum of the smaller of A.T@A and A@A.T; a matrix without full rank is left undefined."""
    m, n = A.shape[-2:]
    if m < n:
        u, s, vh = _svd(A.mH, full_matrices, compute_uv, [result[2].mH, result[1], result[0].mH])
        return vh.mH, s, u.mH
    with paused():
        v = torch.linalg.svd(A.detach(), full_matrices=False)[2].mH
        if compute_uv:
            v = result[2].detach().mH
        v = v.resolve_conj().clone()
    v = _refined(A.mH @ A, v)[1]
    u = A @ v
    s = torch.linalg.vector_norm(u, 2, -2)
    if not compute_uv:
        return result[0], s, result[2]
    s, v = _as_kernels(s, v, result[1])
    u = _as_kernels(s, u / s.unsqueeze(-2), result[1])[1]
    return torch.cat([u, number(result[0][..., n:])], -1) if full_matrices and m > n else u, s, v.mH


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


_TRUNCATED = 200
"""Bits to which the dominant singular vectors of a matrix without full rank are found."""

_STEPS = 20
"""Steps of the power method: more of them mean that singular values which torch keeps and drops lie close together."""


@rule("linalg_pinv")
def _pseudoinverse(self: Tensor, atol: Any = None, rtol: Any = None, hermitian: bool = False) -> Tensor:
    """Of the rank that torch finds: what its tolerance drops counts as 0."""
    if not self.numel():
        return self.mH.clone()
    with paused():
        ranks = torch.linalg.matrix_rank(self.detach(), atol=atol, rtol=rtol, hermitian=hermitian)
    return _inverse_of_rank(_symmetric(self, "L") if hermitian else self, ranks, hermitian)


def _inverse_of_rank(a: Tensor, ranks: Tensor, regular: bool = False) -> Tensor:
    """`regular`: invertible, if the rank is full."""
    if a.ndim > 2:
        return torch.stack([_inverse_of_rank(x, r, regular) for x, r in zip(a.unbind(), ranks.unbind(), strict=True)])
    m, n = a.shape
    if m < n:
        return _inverse_of_rank(a.mH, ranks).mH
    rank = int(ranks)
    if not rank:
        return torch.zeros_like(a.mH)
    if rank == n:
        return _detour(a, solution(a, identity(a, n)) if regular else solution(a.mH @ a, a.mH))
    rows = _dominant(a, rank)
    found = a @ rows
    return _detour(a, rows @ solution(found.mH @ found, found.mH))


def _dominant(a: Tensor, rank: int) -> Tensor:
    """Vectors that span what a matrix of this rank doesn't take to 0: the power method, from torch's floats."""
    with paused():
        _, s, vh = torch.linalg.svd(a.detach())
        gap = math.log2(s[rank - 1].item() / max(s[rank].item(), s[0].item() * 2.0**-_TRUNCATED))
        steps = math.ceil(_TRUNCATED / (2 * gap)) if gap > 0 else _STEPS + 1
        scale = torch.exp2(torch.log2(s[:rank]).mul(-2).round()).to(a.dtype)
        found: Tensor = vh[:rank].mH.resolve_conj().clone()
    if steps > _STEPS:
        raise NotImplementedError("the rank is a question of rounding")
    for _ in range(steps):
        found = a.mH @ (a @ found) * scale
    return found


def _detour(a: Tensor, inverse: Tensor) -> Tensor:
    """torch goes by singular values: its error is of the size of the condition number."""
    with paused():
        size = torch.linalg.matrix_norm(inverse.detach().abs().double(), keepdim=True)
        condition = torch.linalg.matrix_norm(a.detach().abs().double(), keepdim=True) * size
        bound = (sum(a.shape[-2:]) * size * condition).to(real(a).dtype)
    return blurred(inverse, bound)


@rule("linalg_lstsq")
def _least_squares(self: Tensor, b: Tensor, result: Any) -> tuple[Tensor, ...]:
    with paused():
        full = result[2].new_full(self.shape[:-2], min(self.shape[-2:]))
        ranks = result[2] if result[2].numel() else full
    right = b.unsqueeze(-1) if b.ndim == self.ndim - 1 else b
    found = _inverse_of_rank(self, ranks) @ right
    squares = squared(self @ found - right).sum(-2).reshape(result[1].shape) if result[1].numel() else result[1]
    return found.reshape(result[0].shape), squares, result[2], number(result[3])

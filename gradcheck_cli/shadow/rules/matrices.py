"""Rules: linear algebra, by elimination with torch's pivots and by reflections."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gradcheck_cli.shadow.rules.eliminations import crossing, eliminating, substituting
from gradcheck_cli.shadow.rules.registry import folded, identity, number, paused, real, rule

# -- triangular systems -----------------------------------------------------------------------------------------------------


def _substitute(a: Tensor, b: Tensor, *, upper: bool, unit: bool = False) -> Tensor:
    """The solution of a@x = b, a triangular."""
    n = a.shape[-1]
    at_once = substituting(n, b.shape[-1], upper=upper, unit=unit)
    found = folded(at_once, [a, b], lambda: _substitute(a.detach(), b.detach(), upper=upper, unit=unit))
    if found is not None:
        return found
    rows: list[Any] = [None] * n
    done: list[int] = []
    for i in reversed(range(n)) if upper else range(n):
        row = b[..., i, :]
        if done:
            known = torch.stack([rows[j] for j in done], -2)
            row = row - (a[..., i, done].unsqueeze(-2) @ known).squeeze(-2)
        rows[i] = row if unit else row * a[..., i, i].unsqueeze(-1).reciprocal()  # LAPACK divides by the diagonal beforehand
        done.append(i)
    return torch.stack(rows, -2) if n else torch.zeros_like(b)


def _broadcast(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    batch = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return a.expand(*batch, *a.shape[-2:]), b.expand(*batch, *b.shape[-2:])


@rule("linalg_solve_triangular")
def _solve_triangular(self: Tensor, B: Tensor, upper: bool, left: bool, unitriangular: bool) -> Tensor:
    a, b = _broadcast(self, B) if left else _broadcast(self.mT, B.mT)
    found = _substitute(a, b, upper=upper == left, unit=unitriangular)
    return found if left else found.mT


@rule("triangular_solve")
def _triangular_solve(self: Tensor, A: Tensor, upper: bool, transpose: bool, unitriangular: bool) -> tuple[Tensor, Tensor]:
    a, b = _broadcast(A.mT if transpose else A, self)
    return _substitute(a, b, upper=upper != transpose, unit=unitriangular), _broadcast(A, self)[0].clone()


# -- elimination --------------------------------------------------------------------------------------------------------------


def _permutation(pivots: Tensor, n: int) -> Tensor:
    """LAPACK's exchanges of rows as an order of the rows."""
    with paused():
        if not pivots.numel():
            return torch.arange(n, device=pivots.device).expand(*pivots.shape[:-1], n)
        flat = pivots.detach().reshape(-1, pivots.shape[-1])
        orders = []
        for exchanges in flat.tolist():
            order = list(range(n))
            for i, other in enumerate(exchanges):
                order[i], order[other - 1] = order[other - 1], order[i]
            orders.append(order)
        return torch.tensor(orders, dtype=torch.int64, device=pivots.device).reshape(*pivots.shape[:-1], n)


def _rows(x: Tensor, order: Tensor) -> Tensor:
    return x.gather(-2, order.unsqueeze(-1).expand(x.shape))


def _eliminated(a: Tensor, pivots: Tensor) -> Tensor:
    """L below the diagonal, U on and above it."""
    m, n = a.shape[-2:]
    order = _permutation(pivots, m)
    with paused():
        orders = order.reshape(-1, m).tolist() if m else []
    found = folded(eliminating(orders, m, n), [a], lambda: _eliminated(a.detach(), pivots))
    if found is not None:
        return found
    left = _rows(a, order)
    rows: list[Tensor] = []
    for k in range(min(m, n)):
        top = left[..., :1, :]
        rows.append(top)
        factor = left[..., 1:, k : k + 1] * top[..., k : k + 1].reciprocal()
        rest = left[..., 1:, k + 1 :] - factor * top[..., k + 1 :]
        left = torch.cat([left[..., 1:, :k], factor, rest], -1)
    return torch.cat([*rows, left], -2)


def _lower(lu: Tensor) -> Tensor:
    m, n = lu.shape[-2:]
    k = min(m, n)
    return lu[..., :k].tril(-1) + identity(lu, m, k)


def _solved(lu: Tensor, pivots: Tensor, b: Tensor) -> Tensor:
    order = _permutation(pivots, lu.shape[-1])
    batch = torch.broadcast_shapes(lu.shape[:-2], b.shape[:-2])
    lu, b = lu.expand(*batch, *lu.shape[-2:]), b.expand(*batch, *b.shape[-2:])
    below = _substitute(lu, _rows(b, order.expand(*batch, order.shape[-1])), upper=False, unit=True)
    return _substitute(lu, below, upper=True)


@rule("linalg_lu_factor_ex")
def _lu_factor(A: Tensor, result: Any) -> tuple[Any, ...]:
    return _eliminated(A, result[1]), *result[1:]


@rule("lu_unpack")
def _lu_unpack(LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool, result: Any) -> tuple[Any, ...]:
    if not unpack_data:
        return number(result[0]), result[1], result[2]
    k = min(LU_data.shape[-2:])
    return number(result[0]), _lower(LU_data), LU_data[..., :k, :].triu()


@rule("linalg_lu")
def _lu(A: Tensor, pivot: bool, result: Any) -> tuple[Tensor, Tensor, Tensor]:
    with paused():
        pivots = torch.linalg.lu_factor_ex(A.detach(), pivot=pivot)[1]
    lu = _eliminated(A, pivots)
    return number(result[0]), _lower(lu), lu[..., : min(A.shape[-2:]), :].triu()


@rule("linalg_lu_solve")
def _lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, left: bool, adjoint: bool) -> Tensor:
    if not left:
        return _lu_solve(LU, pivots, B.mH, left=True, adjoint=not adjoint).mH
    if not adjoint:
        return _solved(LU, pivots, B)
    batch = torch.broadcast_shapes(LU.shape[:-2], B.shape[:-2])
    lu, b = LU.expand(*batch, *LU.shape[-2:]).mH, B.expand(*batch, *B.shape[-2:])
    order = _permutation(pivots, LU.shape[-1]).argsort(-1)
    found = _substitute(lu, _substitute(lu, b, upper=False), upper=True, unit=True)
    return _rows(found, order.expand(*batch, order.shape[-1]))


def solution(a: Tensor, b: Tensor) -> Tensor:
    """a@x = b, with the pivots of the floats."""
    with paused():
        pivots = torch.linalg.lu_factor_ex(a.detach())[1]
    return _solved(_eliminated(a, pivots), pivots, b)


def _factored(a: Tensor, lu: Tensor, pivots: Tensor) -> Tensor:
    """The factors that torch has: of the matrix, or of its transpose, according to its strides."""
    found = _eliminated(a, pivots)
    with paused():
        own = torch.allclose(found.detach(), lu, equal_nan=True)
    return found if own else _eliminated(a.mT, pivots)


@rule("_linalg_solve_ex")
def _solve(A: Tensor, B: Tensor, left: bool, result: Any) -> tuple[Any, ...]:
    vector = B.ndim == 1 or (B.ndim == A.ndim - 1 and B.shape == A.shape[:-1])
    if left:
        found = solution(A, B.unsqueeze(-1)).squeeze(-1) if vector else solution(A, B)
    else:
        found = solution(A.mT, B.mT).mT
    return found, _factored(A, result[1], result[2]), *result[2:]


@rule("linalg_inv_ex")
def _inverse(A: Tensor, result: Any) -> tuple[Tensor, Any]:
    return solution(A, identity(A, A.shape[-1])), result[1]


def _determinant(lu: Tensor, pivots: Tensor) -> tuple[Tensor, Tensor]:
    """The diagonal of U, and the sign of the permutation."""
    with paused():
        exchanges = (pivots != torch.arange(1, pivots.shape[-1] + 1, device=pivots.device)).sum(-1)
        sign = (1 - 2 * (exchanges % 2)).to(lu.dtype)
    return lu.diagonal(0, -2, -1), sign


@rule("_linalg_det")
def _det(A: Tensor, result: Any) -> tuple[Any, ...]:
    lu = _factored(A, result[1], result[2])
    diagonal, sign = _determinant(lu, result[2])
    return diagonal.prod(-1) * sign, lu, result[2]


@rule("_linalg_slogdet")
def _slogdet(A: Tensor, result: Any) -> tuple[Any, ...]:
    lu = _factored(A, result[2], result[3])
    diagonal, sign = _determinant(lu, result[3])
    return diagonal.sgn().prod(-1) * sign, diagonal.abs().log().sum(-1), lu, result[3]


# -- symmetric positive matrices ---------------------------------------------------------------------------------------------


def _cholesky_factor(a: Tensor) -> Tensor:
    """L of a = L@L.T, from the lower triangle."""
    n = a.shape[-1]
    columns: list[Tensor] = []
    for k in range(n):
        column = a[..., k:, k]
        if columns:
            done = torch.stack([c[..., k:] for c in columns], -1)
            column = column - (done @ done[..., :1, :].mH).squeeze(-1)
        column = column / real(column[..., :1]).sqrt()
        columns.append(torch.cat([column.new_zeros(*column.shape[:-1], k), column], -1))
    return torch.stack(columns, -1) if n else torch.zeros_like(a)


@rule("linalg_cholesky_ex")
def _cholesky_ex(self: Tensor, upper: bool, result: Any) -> tuple[Tensor, Any]:
    return _cholesky_factor(self.mH).mH if upper else _cholesky_factor(self), result[1]


@rule("cholesky")
def _cholesky(self: Tensor, upper: bool) -> Tensor:
    return _cholesky_factor(self.mH).mH if upper else _cholesky_factor(self)


@rule("cholesky_solve")
def _cholesky_solve(self: Tensor, input2: Tensor, upper: bool) -> Tensor:
    lower, b = _broadcast(input2.mH if upper else input2, self)
    return _substitute(lower.mH, _substitute(lower, b, upper=False), upper=True)


@rule("cholesky_inverse")
def _cholesky_inverse(self: Tensor, upper: bool) -> Tensor:
    return _cholesky_solve(identity(self, self.shape[-1]), self, upper)


# -- vectors --------------------------------------------------------------------------------------------------------------


@rule("linalg_cross")
def _cross(self: Tensor, other: Tensor, dim: int) -> Tensor:
    x, y = (t.movedim(dim, -1) for t in torch.broadcast_tensors(self, other))
    found = folded(crossing, [x, y], lambda: torch.linalg.cross(x.detach(), y.detach()))
    if found is None:
        found = x.roll(-1, -1) * y.roll(-2, -1) - x.roll(-2, -1) * y.roll(-1, -1)
    return found.movedim(-1, dim)


# -- reflections ---------------------------------------------------------------------------------------------------------------


@rule("linalg_qr")
def _qr(A: Tensor, mode: str, result: Any) -> tuple[Tensor, Tensor]:
    """R by reflections, with the signs that LAPACK gives it: the diagonal is real, its sign opposite to that of the column's
    head."""
    m, n = A.shape[-2:]
    k = min(m, n)
    with paused():
        signs = real(result[1].detach()).diagonal(0, -2, -1).sgn()
    r, q = A, identity(A, m).expand(*A.shape[:-2], m, m)
    for j in range(k):
        head, tail = r[..., j, j], r[..., j + 1 :, j]
        if j == m - 1:  # of one entry nothing is left but the turn that makes it real
            if A.is_complex():
                turn = (head / (head.abs() * signs[..., j])).unsqueeze(-1).unsqueeze(-1)
                r = torch.cat([r[..., :j, :], r[..., j:, :] * turn.conj()], -2)
                q = torch.cat([q[..., :j], q[..., j:] * turn], -1)
            break
        size = torch.linalg.vector_norm(r[..., j:, j], 2, -1) * signs[..., j]
        v = torch.cat([(head - size).unsqueeze(-1), tail], -1)
        # the reflection of the rows j on: x - v*(v.x)/scale; of real numbers v.v is 2*scale
        scale = size * (size - head)
        with paused():
            trivial = scale.detach() == 0
        scale = torch.where(trivial, torch.ones_like(scale), scale)
        factor = torch.where(trivial, torch.zeros_like(scale), 1 / scale).unsqueeze(-1).unsqueeze(-1)
        v = v.unsqueeze(-1)
        r = torch.cat([r[..., :j, :], r[..., j:, :] - v * factor * (v.mH @ r[..., j:, :])], -2)
        q = torch.cat([q[..., :j], q[..., j:] - (q[..., j:] @ v) * factor.conj() * v.mH], -1)
    if mode == "r":
        return result[0], r[..., :k, :].triu()
    return (q, r.triu()) if mode == "complete" else (q[..., :k], r[..., :k, :].triu())


def _reflected(v: Tensor, tau: Tensor, x: Tensor, order: list[int]) -> Tensor:
    """H_0@H_1@...@x, the reflections applied in `order`."""
    m = v.shape[-2]
    for i in order:
        w = torch.cat([v.new_zeros(*v.shape[:-2], i), v.new_ones(*v.shape[:-2], 1), v[..., i + 1 :, i]], -1).unsqueeze(-1)
        assert w.shape[-2] == m
        x = x - tau[..., i, None, None] * (w @ (w.mH @ x))
    return x


@rule("linalg_householder_product")
def _householder_product(input: Tensor, tau: Tensor) -> Tensor:
    m, n = input.shape[-2:]
    start = identity(input, m, n).expand(*input.shape[:-2], m, n)
    return _reflected(input, tau, start, list(reversed(range(tau.shape[-1]))))


@rule("ormqr")
def _ormqr(self: Tensor, input2: Tensor, input3: Tensor, left: bool, transpose: bool) -> Tensor:
    order = list(range(input2.shape[-1]))
    if not left:
        return _ormqr(self, input2, input3.mH, left=True, transpose=not transpose).mH
    return _reflected(self, input2.conj(), input3, order) if transpose else _reflected(self, input2, input3, order[::-1])

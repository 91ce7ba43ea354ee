"""Every row on arrays, written a second time in plain Python with mpmath's numbers, apart from the table."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from mpmath import mp, mpf

Numbers = Any  # an array of mpmath's numbers
exp, log, sqrt = (np.vectorize(f, otypes=[object]) for f in (mp.exp, mp.log, mp.sqrt))

EPS = mpf(1e-6)
"""What torch adds in distances."""

SHAPES = {"x": (3,), "y": (3,), "A": (2, 3), "B": (2, 3), "W": (3, 3), "s": ()}


def numbers(seed: int = 0) -> dict[str, Numbers]:
    """A value in (0, 1) for every entry, exactly representable as a double."""
    rng = np.random.default_rng(seed)
    drawn = {name: rng.integers(1, 2**20, size=shape) / 2**20 for name, shape in SHAPES.items()}
    return {name: np.vectorize(mpf, otypes=[object])(v) for name, v in drawn.items()}


def moments(x: Numbers, correction: int = 1) -> Numbers:
    mean = sum(x) / len(x)
    return sum((v - mean) ** 2 for v in x) / (len(x) - correction)


def by_row(function: Callable[[Numbers], Any]) -> Callable[[Numbers], Numbers]:
    return lambda A: np.array([function(row) for row in A], dtype=object)


def soft(x: Numbers) -> Numbers:
    return exp(x) / sum(exp(x))


def layer(x: Numbers) -> Numbers:
    return (x - sum(x) / len(x)) / sqrt(moments(x, 0) + mpf(1e-5))


def mean(x: Numbers) -> Any:
    return sum(x.ravel()) / x.size


def matrix(x: Numbers) -> Any:
    return mp.matrix([list(row) for row in x])


def array(x: Any) -> Numbers:
    return np.array(x.tolist(), dtype=object)


def spectrum(x: Numbers) -> Numbers:
    """Of a symmetric matrix, in ascending order, as torch has it."""
    return np.array(list(mp.eigsy(matrix(x), eigvals_only=True)), dtype=object)


def singular(x: Numbers) -> Numbers:
    return np.array(list(mp.svd_r(matrix(x), compute_uv=False)), dtype=object)


def dist(x: Numbers) -> Any:
    return mp.sqrt(sum(x**2))


def padded(x: Numbers) -> Numbers:
    return np.array([mpf(0), *x, mpf(0)])


def covariances(x: Numbers) -> Numbers:
    off = x - np.array([[mean(r)] for r in x])
    return off @ off.T / (x.shape[1] - 1)


def cosines(x: Numbers, y: Numbers) -> Numbers:
    """With the constant of torch's loss, 1e-12 in 32 bits."""
    least = mpf(float(np.float32(1e-12)))
    return np.array([sum(a * b) / mp.sqrt((sum(a * a) + least) * (sum(b * b) + least)) for a, b in zip(x, y, strict=True)])


def elimination(x: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """P, L and U with the largest entry of each column as its pivot."""
    upper, order = x.copy(), list(range(len(x)))
    count = min(x.shape)
    lower = np.array([[mpf(0)] * count for _ in x])
    for k in range(count):
        best = max(range(k, len(x)), key=lambda i: abs(upper[i, k]))
        order[k], order[best] = order[best], order[k]
        for a in (upper, lower):
            a[[k, best]] = a[[best, k]]
        lower[k, k] = mpf(1)
        for i in range(k + 1, len(x)):
            lower[i, k] = upper[i, k] / upper[k, k]
            upper[i] = upper[i] - lower[i, k] * upper[k]
    return np.array([[int(i == row) for i in order] for row in range(len(x))]), lower, upper[:count]


def pseudo(x: Numbers) -> Numbers:
    """Of full rank, with more rows than columns."""
    return array(mp.inverse(matrix(x.T @ x))) @ x.T


CASES: list[tuple[str, str, Callable[..., Any]]] = [
    ("stack", "[s, 2*s]", lambda s: np.array([s, 2 * s])),
    ("stack", "stack([x, y], dim=1)", lambda x, y: np.array([[a, b] for a, b in zip(x, y, strict=True)])),
    ("cat", "cat([A, B], dim=1)", lambda A, B: np.array([[*a, *b] for a, b in zip(A, B, strict=True)])),
    ("index", "A[:, 1:][-1]", lambda A: np.array([A[1, 1], A[1, 2]])),
    ("index", "x[None, ::2]", lambda x: np.array([[x[0], x[2]]])),
    ("index_at", "x[[0, -1, 0]]*y[[[1], [2]]]", lambda x, y: np.array([[x[0] * v, x[2] * v, x[0] * v] for v in (y[1], y[2])])),
    ("index_at", "A[[0, 1], [2, 0]]", lambda A: np.array([A[0, 2], A[1, 0]])),
    ("index_at", "A[:, [2, 0]]", by_row(lambda r: np.array([r[2], r[0]]))),
    ("index_at", "A[torch.arange(2), torch.tensor([1, 2])]", lambda A: np.array([A[0, 1], A[1, 2]])),
    ("take", "torch.take(A, [0, -1, 3])", lambda A: np.array([A[0, 0], A[1, 2], A[1, 0]])),
    ("select", "A.select(1, -1)", by_row(lambda r: r[2])),
    ("narrow", "x.narrow(0, -2, 2)", lambda x: x[1:]),
    ("chunk", "x.chunk(2)[1]", lambda x: np.array([x[2]])),
    ("chunk", "torch.chunk(A, 2, dim=-1)[0]", by_row(lambda r: np.array([r[0], r[1]]))),
    ("split", "A.split(2, dim=1)[-1]", by_row(lambda r: np.array([r[2]]))),
    ("split", "torch.split(x, [1, 2])[1]", lambda x: x[1:]),
    ("tensor_split", "x.tensor_split(2)[0]", lambda x: x[:2]),
    ("tensor_split", "torch.tensor_split(A, (1, -1), dim=1)[1]", by_row(lambda r: np.array([r[1]]))),
    ("unbind", "A.unbind(1)[2] + torch.unbind(A, dim=-1)[0]", by_row(lambda r: r[2] + r[0])),
    ("index_add", "A.index_add(1, torch.tensor([0, 2, 0]), B)",
     lambda A, B: A + np.array([[b[0] + b[2], mpf(0), b[1]] for b in B])),
    ("scatter", "A.scatter(1, torch.tensor([[2], [0]]), B[:, :1])",
     lambda A, B: np.array([[A[0, 0], A[0, 1], B[0, 0]], [B[1, 0], A[1, 1], A[1, 2]]])),
    ("scatter", "x.scatter(0, [1], 3)", lambda x: np.array([x[0], mpf(3), x[2]])),
    ("scatter_add", "torch.scatter_add(A, 1, [[2, 2, 0], [0, 1, 1]], B)",
     lambda A, B: A + np.array([[B[0, 2], mpf(0), B[0, 0] + B[0, 1]], [B[1, 0], B[1, 1] + B[1, 2], mpf(0)]])),
    ("embedding", "F.embedding(torch.tensor([[1, 0]]), A)", lambda A: np.array([[A[1], A[0]]])),
    ("unflatten", "A.flatten().unflatten(0, (3, 2))",
     lambda A: np.array([[A[0, 0], A[0, 1]], [A[0, 2], A[1, 0]], [A[1, 1], A[1, 2]]])),
    ("unfold", "A.unfold(1, 2, 1)", by_row(lambda r: np.array([[r[0], r[1]], [r[1], r[2]]]))),
    ("repeat_interleave", "x.repeat_interleave(2)", lambda x: np.array([x[0], x[0], x[1], x[1], x[2], x[2]])),
    ("repeat_interleave", "A.repeat_interleave(2, dim=0)", lambda A: np.array([A[0], A[0], A[1], A[1]])),
    ("column_stack", "torch.column_stack([x, y])", lambda x, y: np.array([[a, b] for a, b in zip(x, y, strict=True)])),
    ("nansum", "torch.nansum(A, 1)", by_row(sum)),
    ("nanmean", "torch.nanmean(x)", mean),
    ("pad", "F.pad(A, (2, 1), mode='reflect')", by_row(lambda r: np.array([r[2], r[1], r[0], r[1], r[2], r[1]]))),
    ("pad", "F.pad(A, (2, 1), mode='replicate')", by_row(lambda r: np.array([r[0], r[0], r[0], r[1], r[2], r[2]]))),
    ("pad", "F.pad(A, (2, 1), mode='circular')", by_row(lambda r: np.array([r[1], r[2], r[0], r[1], r[2], r[0]]))),
    ("pdist", "torch.pdist([x, y, 2*x])", lambda x, y: np.array([dist(x - y), dist(x), dist(y - 2 * x)])),
    ("cov", "torch.cov(A)", lambda A: covariances(A)),
    ("cov", "x.cov(correction=0)", lambda x: moments(x, 0)),
    ("corrcoef", "torch.corrcoef(A)[0, 1]",
     lambda A: covariances(A)[0, 1] / sqrt(covariances(A)[0, 0] * covariances(A)[1, 1])),
    ("rms_norm", "F.rms_norm(A, (3,), weight=x, eps=0.5)",
     lambda A, x: by_row(lambda r: r / sqrt(mean(r * r) + mpf(0.5)))(A) * x),
    ("group_norm", "F.group_norm(cat([A, A], 1), 2, cat([x, y]))[:, 3:]", lambda A, y: by_row(layer)(A) * y),
    ("batch_norm", "F.batch_norm(A.T, None, None, weight=x[:2], bias=y[:2], training=True)",
     lambda A, x, y: np.array([layer(A[i]) * x[i] + y[i] for i in range(2)]).T),
    ("instance_norm", "F.instance_norm([A])", lambda A: np.array([by_row(layer)(A)])),
    ("conv1d", "F.conv1d([A], [B[:, :2]], x[:1])",
     lambda A, B, x: np.array([[[x[0] + sum(A[c, i + k] * B[c, k] for c in range(2) for k in range(2)) for i in range(2)]]])),
    ("conv1d", "F.conv1d(A, B[:, None], bias=x[:2], stride=2, padding=1, groups=2)",
     lambda A, B, x: np.array([
         [x[c] + sum(padded(A[c])[2 * i + k] * B[c, k] for k in range(3)) for i in range(2)] for c in range(2)])),
    ("conv2d", "F.conv2d(W[None], A[None, None, :, :2], dilation=(1, 2))",
     lambda W, A: np.array([[[sum(W[i + k, 2 * m] * A[k, m] for k in range(2) for m in range(2))] for i in range(2)]])),
    ("max_pool1d", "F.max_pool1d(A, 2, stride=1, padding=1)",
     by_row(lambda r: np.array([r[0], max(r[0], r[1]), max(r[1], r[2]), r[2]]))),
    ("max_pool2d", "F.max_pool2d(W[None], 2, 1)",
     lambda W: np.array([[[max(W[i : i + 2, j : j + 2].ravel()) for j in range(2)] for i in range(2)]])),
    ("avg_pool1d", "F.avg_pool1d(A, 2, padding=1)", by_row(lambda r: np.array([r[0], r[1] + r[2]]) / 2)),
    ("avg_pool2d", "F.avg_pool2d(W[None], (3, 2), stride=1)",
     lambda W: np.array([[[sum(W[:, j : j + 2].ravel()) / 6 for j in range(2)]]])),
    ("scaled_dot_product_attention", "F.scaled_dot_product_attention(A, B, B*s)",
     lambda A, B, s: by_row(lambda r: soft(B @ r / sqrt(mpf(3))))(A) @ B * s),
    ("scaled_dot_product_attention", "F.scaled_dot_product_attention(A, B, A, [[0, 1], [2, -1]])",
     lambda A, B: np.array([soft(B @ r / sqrt(mpf(3)) + m) for r, m in zip(A, ([0, 1], [2, -1]), strict=True)]) @ A),
    ("scaled_dot_product_attention", "F.scaled_dot_product_attention(A, B, B, is_causal=True)",
     lambda A, B: np.array([B[0], soft(B @ A[1] / sqrt(mpf(3))) @ B])),
    ("transpose", "stack([A, 2*A]).mT", lambda A: np.array([c * A.T for c in (1, 2)])),
    ("t", "A.T", lambda A: np.array([[A[i, j] for i in range(2)] for j in range(3)])),
    ("transpose", "transpose(A, 0, 1)", lambda A: np.array([[A[i, j] for i in range(2)] for j in range(3)])),
    ("permute", "permute(A, 1, 0)", lambda A: np.array([[A[i, j] for i in range(2)] for j in range(3)])),
    ("reshape", "A.view(3, 2)", lambda A: np.array([[A[0, 0], A[0, 1]], [A[0, 2], A[1, 0]], [A[1, 1], A[1, 2]]])),
    ("flatten", "A.flatten()", lambda A: np.array([*A[0], *A[1]])),
    ("squeeze", "squeeze(x[None])", lambda x: x),
    ("unsqueeze", "x.unsqueeze(0)", lambda x: np.array([list(x)])),
    ("flip", "flip(x, 0)", lambda x: np.array([x[2], x[1], x[0]])),
    ("roll", "torch.roll(x, 1, 0)", lambda x: np.array([x[2], x[0], x[1]])),
    ("roll", "A.roll((1, -1), (0, 1))",
     lambda A: np.array([[A[(i - 1) % 2, (j + 1) % 3] for j in range(3)] for i in range(2)])),
    ("movedim", "A.movedim(0, 1)", lambda A: np.array([[A[i, j] for i in range(2)] for j in range(3)])),
    ("expand", "x.expand(2, -1)*A", lambda x, A: np.array([[a * v for a, v in zip(r, x, strict=True)] for r in A])),
    ("repeat", "x.repeat(2)", lambda x: np.array([*x, *x])),
    ("hstack", "torch.hstack([x, y])", lambda x, y: np.array([*x, *y])),
    ("vstack", "torch.vstack([x, y])", lambda x, y: np.array([x, y])),
    ("pad", "F.pad(A, (1, 0), value=2)", by_row(lambda r: np.array([mpf(2), *r]))),
    ("pad", "F.pad(x, (-1, 2))", lambda x: np.array([x[1], x[2], mpf(0), mpf(0)])),
    ("index_select", "A.index_select(1, torch.tensor([2, 0]))", lambda A: np.array([[r[2], r[0]] for r in A])),
    ("gather", "A.gather(1, [[2], [0]])", lambda A: np.array([[A[0, 2]], [A[1, 0]]])),
    ("one_hot", "F.one_hot([1, 0], 3)*A", lambda A: np.array([[0, A[0, 1], 0], [A[1, 0], 0, 0]])),
    ("numel", "A.sum()/A.numel()", lambda A: mean(A)),
    ("size", "x*A.shape[0] + len(x)*A.size(1)", lambda x: 2 * x + 9),
    ("diagonal", "torch.diagonal(W)", lambda W: np.array([W[i, i] for i in range(3)])),
    ("diag_embed", "torch.diag_embed(x)", lambda x: np.array([[x[0], 0, 0], [0, x[1], 0], [0, 0, x[2]]])),
    ("eye", "eye(2, 3) @ x", lambda x: x[:2]),
    ("arange", "arange(5, -1, -2)*x + arange(3)", lambda x: np.array([5 * x[0], 3 * x[1] + 1, x[2] + 2])),
    ("zeros", "zeros(2, 3) + x", lambda x: np.array([x, x])),
    ("ones", "ones(2)*s", lambda s: np.array([s, s])),
    ("tensor", "torch.tensor([1, 0.5, -2])*x", lambda x: np.array([x[0], x[1] / 2, -2 * x[2]])),
    ("index_where", "(x[x > 0.6]**2).sum()", lambda x: sum(v * v for v in x if v > 0.6)),
    ("index_where", "mean(exp(A)[(A > 0.1) & ~(A > 0.9)])", lambda A: mean(exp(A[(A > 0.1) & ~(A > 0.9)]))),
    ("index_where", "std(x[x > 0.6]) + norm(y[y < 0.3])", lambda x, y: sqrt(moments(x[x > 0.6])) + sqrt(sum(y[y < 0.3] ** 2))),
    ("masked_select", "max(masked_select(x, x < 0.75)) - prod(masked_select(x, x > 0.6)*2)",
     lambda x: max(v for v in x if v < 0.75) - mp.fprod(2 * v for v in x if v > 0.6)),
    ("diag", "diag(x)", lambda x: np.array([[x[0], 0, 0], [0, x[1], 0], [0, 0, x[2]]])),
    ("diag", "diag(W)", lambda W: np.array([W[0, 0], W[1, 1], W[2, 2]])),
    ("ones_like", "x*ones_like(x)", lambda x: x),
    ("zeros_like", "x + zeros_like(x)", lambda x: x),
    ("full_like", "x*full_like(x, 2)", lambda x: 2 * x),
    ("tril", "tril(W) + tril(W, -1)",
     lambda W: np.array([[W[i, j] * ((j <= i) + (j < i)) for j in range(3)] for i in range(3)])),
    ("triu", "triu(A, diagonal=1)", lambda A: np.array([[A[i, j] * (j > i) for j in range(3)] for i in range(2)])),
    ("cholesky", "cholesky(W @ W.T)", lambda W: array(mp.cholesky(matrix(W @ W.T)))),
    ("cholesky", "torch.linalg.cholesky(A @ A.T + eye(2), upper=True)",
     lambda A: array(mp.cholesky(matrix(A @ A.T + np.eye(2, dtype=int)))).T),
    ("cholesky_inverse", "cholesky_inverse(cholesky(W @ W.T))", lambda W: array(mp.inverse(matrix(W @ W.T)))),
    ("eigvalsh", "eigvalsh(W + W.T)", lambda W: spectrum(W + W.T)),
    ("eigh.eigenvalues", "torch.linalg.eigh(W + W.T)[0]", lambda W: spectrum(W + W.T)),
    ("eigh.eigenvectors", "torch.linalg.eigh(W + W.T).eigenvectors**2", lambda W: array(mp.eigsy(matrix(W + W.T))[1]) ** 2),
    ("svd.U", "linalg.svd(A)[0]**2", lambda A: array(mp.svd_r(matrix(A))[0]) ** 2),
    ("svd.U", "linalg.svd(A.T, full_matrices=False).U**2", lambda A: array(mp.svd_r(matrix(A.T))[0]) ** 2),
    ("svd.S", "linalg.svd(A).S", lambda A: singular(A)),
    ("svd.Vh", "linalg.svd(A, full_matrices=False)[-1]**2", lambda A: array(mp.svd_r(matrix(A))[2]) ** 2),
    ("svd.Vh", "np.linalg.svd(A.T).Vh**2", lambda A: array(mp.svd_r(matrix(A.T))[2]) ** 2),
    ("qr.Q", "torch.linalg.qr(W).Q**2", lambda W: array(mp.qr(matrix(W))[0]) ** 2),
    ("qr.Q", "linalg.qr(A.T)[0]**2", lambda A: array(mp.qr(matrix(A.T), mode="skinny")[0]) ** 2),
    ("qr.Q", "linalg.qr(A, mode='complete').Q**2", lambda A: array(mp.qr(matrix(A[:, :2]))[0]) ** 2),
    ("qr.R", "torch.linalg.qr(W, 'complete')[1]**2", lambda W: array(mp.qr(matrix(W))[1]) ** 2),
    ("qr.R", "linalg.qr(W).R**2", lambda W: array(mp.qr(matrix(W))[1]) ** 2),
    ("lu.P", "linalg.lu(W).P @ x", lambda W, x: elimination(W)[0] @ x),
    ("lu.L", "linalg.lu(W)[1]", lambda W: elimination(W)[1]),
    ("lu.U", "linalg.lu(A).U", lambda A: elimination(A)[2]),
    ("svdvals", "torch.linalg.svdvals(A)", lambda A: singular(A)),
    ("matrix_exp", "torch.matrix_exp(W)", lambda W: array(mp.expm(matrix(W), method="taylor"))),
    ("pinv", "pinv(A.T)", lambda A: pseudo(A.T)),
    ("lstsq", "lstsq(A.T, x[:, None]).solution", lambda A, x: (pseudo(A.T) @ x)[:, None]),
    ("matrix_norm", "matrix_norm(A, ord='nuc') + matrix_norm(A) + torch.linalg.matrix_norm(A, -2)",
     lambda A: sum(singular(A)) + sqrt(sum(A.ravel() ** 2)) + singular(A)[-1]),
    ("linalg_norm", "torch.linalg.norm(A, 1) - torch.linalg.norm(W, inf) + np.linalg.norm(W) + torch.linalg.norm(x, 3)",
     lambda A, W, x: max(sum(A)) - max(sum(W.T)) + sqrt(sum(W.ravel() ** 2)) + sum(x**3) ** (1 / mpf(3))),
    ("cond", "torch.linalg.cond(A) + torch.linalg.cond(W, -2)",
     lambda A, W: singular(A)[0] / singular(A)[-1] + singular(W)[-1] / singular(W)[0]),
    ("cond", "torch.linalg.cond(W, 'nuc')", lambda W: sum(singular(W)) * sum(1 / s for s in singular(W))),
    ("kron", "torch.kron(A, x)", lambda A, x: np.array([[a * v for a in row for v in x] for row in A])),
    ("kron", "torch.kron(A, W)", lambda A, W: np.array([[a * w for a in r for w in q] for r in A for q in W])),
    ("sum", "sum(A)", lambda A: sum(A.ravel())),
    ("sum", "A.sum(dim=0, keepdim=True)", lambda A: np.array([[A[0, j] + A[1, j] for j in range(3)]])),
    ("mean", "mean(A, dim=1)", by_row(mean)),
    ("prod", "prod(A, dim=-1)", by_row(lambda r: r[0] * r[1] * r[2])),
    ("cumsum", "cumsum(x, dim=0)", lambda x: np.array([x[0], x[0] + x[1], x[0] + x[1] + x[2]])),
    ("cummax", "A.cummax(dim=1)[0]", by_row(lambda r: np.array([max(r[: i + 1]) for i in range(3)]))),
    ("cummin", "torch.cummin(x, 0).values", lambda x: np.array([min(x[: i + 1]) for i in range(3)])),
    ("quantile", "torch.quantile(x, 0.5) + x.quantile(0.3)",
     lambda x: sorted(x)[1] + sorted(x)[0] + 2 * mpf(0.3) * (sorted(x)[1] - sorted(x)[0])),
    ("quantile", "A.quantile(0.75, dim=1, keepdim=True)",
     by_row(lambda r: np.array([sorted(r)[1] + (sorted(r)[2] - sorted(r)[1]) / 2]))),
    ("diff", "torch.diff(x)", lambda x: x[1:] - x[:-1]),
    ("diff", "A.diff(2)", by_row(lambda r: np.array([r[2] - 2 * r[1] + r[0]]))),
    ("trapezoid", "torch.trapz(y, x)", lambda x, y: sum((x[i + 1] - x[i]) * (y[i + 1] + y[i]) / 2 for i in range(2))),
    ("einsum", "torch.einsum('ij,j->i', A, x)", lambda A, x: np.array([sum(r * x) for r in A])),
    ("einsum", "einsum('ij,kj', A, B)", lambda A, B: np.array([[sum(a * b) for b in B] for a in A])),
    ("einsum", "torch.einsum('ii->', W) + torch.einsum('i,i,i->', x, y, x)", lambda W, x, y: W.trace() + sum(x * y * x)),
    ("cross", "torch.linalg.cross(x, y)",
     lambda x, y: np.array([x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]])),
    ("bmm", "torch.bmm(A[None], W[None])", lambda A, W: np.array([[[sum(a * W[:, j]) for j in range(3)] for a in A]])),
    ("vdot", "vdot(x, y)", lambda x, y: sum(x * y)),
    ("addmm", "torch.addmm(B, A, W, beta=2)",
     lambda A, B, W: 2 * B + np.array([[sum(a * W[:, j]) for j in range(3)] for a in A])),
    ("addmv", "torch.addmv(x, W, y)", lambda x, W, y: x + np.array([sum(r * y) for r in W])),
    ("baddbmm", "torch.baddbmm(B[None], A[None], W[None], alpha=3)",
     lambda A, B, W: np.array([B + 3 * np.array([[sum(a * W[:, j]) for j in range(3)] for a in A])])),
    ("dist", "torch.dist(x, y)", lambda x, y: mp.sqrt(sum((x - y) ** 2))),
    ("cdist", "torch.cdist(A, B)", lambda A, B: np.array([[mp.sqrt(sum((a - b) ** 2)) for b in B] for a in A])),
    ("pairwise_distance", "F.pairwise_distance(A, B)",
     lambda A, B: np.array([mp.sqrt(sum((a - b + mpf(1e-6)) ** 2)) for a, b in zip(A, B, strict=True)])),
    ("cumprod", "cumprod(A, dim=0)", lambda A: np.array([A[0], A[0] * A[1]])),
    ("matmul", "A @ W", lambda A, W: np.array([[sum(a[k] * W[k, j] for k in range(3)) for j in range(3)] for a in A])),
    ("matmul", "x @ W @ y", lambda x, W, y: sum(x[i] * W[i, j] * y[j] for i in range(3) for j in range(3))),
    ("dot", "dot(x, y)", lambda x, y: sum(a * b for a, b in zip(x, y, strict=True))),
    ("mv", "mv(A, x)", lambda A, x: np.array([sum(a * b for a, b in zip(row, x, strict=True)) for row in A])),
    ("mm", "mm(A, W)", lambda A, W: np.array([[sum(a[k] * W[k, j] for k in range(3)) for j in range(3)] for a in A])),
    ("outer", "outer(x, y)", lambda x, y: np.array([[a * b for b in y] for a in x])),
    ("trace", "trace(W)", lambda W: W[0, 0] + W[1, 1] + W[2, 2]),
    ("multi_dot", "torch.linalg.multi_dot([A, W, x])", lambda A, W, x: A.dot(W).dot(x)),
    ("matrix_power", "torch.linalg.matrix_power(W, 3)", lambda W: W.dot(W).dot(W)),
    ("matrix_power", "torch.linalg.matrix_power(W, -2)", lambda W: np.array((mp.matrix(W.tolist()) ** -2).tolist())),
    ("matrix_power", "x*matrix_power(W, 0)", lambda x, W: np.diag(x)),
    ("det", "torch.linalg.det(W)", lambda W: mp.det(mp.matrix(W.tolist()))),
    ("det", "det(A[:, 1:])", lambda A: A[0, 1] * A[1, 2] - A[0, 2] * A[1, 1]),
    ("logdet", "logdet(W @ W.T)", lambda W: 2 * mp.log(abs(mp.det(mp.matrix(W.tolist()))))),
    ("slogdet", "torch.linalg.slogdet(W).logabsdet", lambda W: mp.log(abs(mp.det(mp.matrix(W.tolist()))))),
    ("slogdet.sign", "x*linalg.slogdet(W)[0]", lambda x, W: x * mp.sign(mp.det(mp.matrix(W.tolist())))),
    ("solve_triangular", "torch.linalg.solve_triangular(W, A.T, upper=True)",
     lambda W, A: np.array((matrix(np.triu(W)) ** -1 * matrix(A.T)).tolist())),
    ("cholesky_solve", "torch.cholesky_solve(A.T, tril(W))",
     lambda W, A: np.array((matrix(np.tril(W) @ np.tril(W).T) ** -1 * matrix(A.T)).tolist())),
    ("inv", "torch.linalg.inv(W)", lambda W: np.array((mp.matrix(W.tolist()) ** -1).tolist())),
    ("solve", "solve(W, x)", lambda W, x: np.array(list(mp.lu_solve(mp.matrix(W.tolist()), mp.matrix(x.tolist()))))),
    ("solve", "solve(W, A.T)", lambda W, A: np.array((mp.matrix(W.tolist()) ** -1 * mp.matrix(A.T.tolist())).tolist())),
    ("linear", "F.linear(x, A, s)", lambda x, A, s: np.array([sum(a * b for a, b in zip(r, x, strict=True)) + s for r in A])),
    ("max", "max(x)", lambda x: max(x)),
    ("max", "A.max(dim=1).values", by_row(max)),
    ("min", "min(x)", lambda x: min(x)),
    ("amax", "amax(A, 0)", lambda A: np.array([max(A[0, j], A[1, j]) for j in range(3)])),
    ("amin", "amin(A, (0, 1))", lambda A: min(A.ravel())),
    ("max", "torch.max(A, 1)[0] + A.max(-1).values", by_row(lambda r: 2 * max(r))),
    ("aminmax.min", "A.aminmax(dim=0)[0]", lambda A: np.array([min(A[0, j], A[1, j]) for j in range(3)])),
    ("aminmax.max", "torch.aminmax(x).max", lambda x: max(x)),
    ("sort", "A.sort(1)[0]", by_row(lambda r: np.array(sorted(r)))),
    ("sort", "torch.sort(x).values", lambda x: np.array(sorted(x))),
    ("sort", "A.sort(dim=1, descending=True).values", by_row(lambda r: np.array(sorted(r, reverse=True)))),
    ("topk", "torch.topk(A, 2).values", by_row(lambda r: np.array(sorted(r, reverse=True)[:2]))),
    ("topk", "topk(x, 1, largest=False)", lambda x: np.array([min(x)])),
    ("kthvalue", "kthvalue(A, 2, dim=1, keepdim=True)", by_row(lambda r: np.array([sorted(r)[1]]))),
    ("median", "median(A)", lambda A: sorted(A.ravel())[2]),
    ("median", "A.median(dim=1).values", by_row(lambda r: sorted(r)[1])),
    ("norm", "norm(x)", lambda x: mp.sqrt(sum(v * v for v in x))),
    ("norm", "norm(x - y, p=1)", lambda x, y: sum(abs(a - b) for a, b in zip(x, y, strict=True))),
    ("norm", "norm(x, p=3)", lambda x: sum(v**3 for v in x) ** (mpf(1) / 3)),
    ("norm", "norm(A, p=inf, dim=1)", by_row(max)),
    ("norm", "norm(A, p=-inf, dim=1)", by_row(min)),
    ("normalize", "normalize(A)", by_row(lambda r: r / mp.sqrt(sum(v * v for v in r)))),
    (
        "cosine_similarity", "cosine_similarity(A, B)",
        lambda A, B: np.array([sum(a * b) / mp.sqrt(sum(a * a) * sum(b * b)) for a, b in zip(A, B, strict=True)]),
    ),
    ("var", "var(A, dim=1)", by_row(moments)),
    ("var", "x.var(unbiased=False)", lambda x: moments(x, 0)),
    ("var_mean.var", "torch.var_mean(A, 1)[0]", by_row(moments)),
    ("var_mean.mean", "torch.var_mean(A, 1)[1]", by_row(mean)),
    ("std_mean.std", "torch.std_mean(x, correction=0)[0]", lambda x: sqrt(moments(x, 0))),
    ("std_mean.mean", "torch.std_mean(x)[1]", mean),
    ("std", "std(x)", lambda x: mp.sqrt(moments(x))),
    ("layer_norm", "layer_norm(A, [3])", by_row(layer)),
    ("layer_norm", "F.layer_norm(A, (3,), x, y)", lambda A, x, y: by_row(layer)(A) * x + y),
    ("softmax", "softmax(A, dim=1)", by_row(soft)),
    ("log_softmax", "log_softmax(x, dim=0)", lambda x: log(soft(x))),
    ("softmin", "softmin(x, dim=0)", lambda x: soft(-x)),
    ("logsumexp", "logsumexp(A, dim=1)", by_row(lambda r: mp.log(sum(exp(r))))),
    ("logcumsumexp", "logcumsumexp(x, dim=0)", lambda x: np.array([mp.log(sum(exp(x[: i + 1]))) for i in range(3)])),
    ("mse_loss", "mse_loss(x, y)", lambda x, y: mean((x - y) ** 2)),
    ("mse_loss", "mse(x, y, reduction='sum')", lambda x, y: sum((x - y) ** 2)),
    ("l1_loss", "l1(x, y, reduction='none')", lambda x, y: abs(x - y)),
    (
        "smooth_l1_loss", "smooth_l1(x, y, beta=0.25)",
        lambda x, y: mean(np.array([2 * d * d if d < 0.25 else d - mpf(0.125) for d in abs(x - y)])),
    ),
    (
        "huber_loss", "huber(x, y, delta=0.25)",
        lambda x, y: mean(np.array([d * d / 2 if d < 0.25 else (d - mpf(0.125)) / 4 for d in abs(x - y)])),
    ),
    ("binary_cross_entropy", "bce(x, y)", lambda x, y: -mean(y * log(x) + (1 - y) * log(1 - x))),
    (
        "binary_cross_entropy_with_logits", "bce_with_logits(x, y)",
        lambda x, y: -mean(y * log(1 / (1 + exp(-x))) + (1 - y) * log(1 - 1 / (1 + exp(-x)))),
    ),
    ("binary_cross_entropy_with_logits", "F.binary_cross_entropy_with_logits(x, y, pos_weight=3)",
     lambda x, y: -mean(3 * y * log(1 / (1 + exp(-x))) + (1 - y) * log(1 - 1 / (1 + exp(-x))))),
    ("cross_entropy", "F.cross_entropy(A, [0, 2], label_smoothing=0.25)",
     lambda A: -sum(mpf(0.75) * log(soft(A[i]))[k] + mpf(0.25) * mean(log(soft(A[i]))) for i, k in ((0, 0), (1, 2))) / 2),
    ("margin_ranking_loss", "F.margin_ranking_loss(x, y, [1, -1, 1], margin=0.5)",
     lambda x, y: mean(np.array([max(mpf(0), -t * (a - b) + mpf(0.5)) for a, b, t in zip(x, y, (1, -1, 1), strict=True)]))),
    ("hinge_embedding_loss", "F.hinge_embedding_loss(x, [1, -1, 1])", lambda x: (x[0] + 1 - x[1] + x[2]) / 3),
    ("triplet_margin_loss", "F.triplet_margin_loss(A, B, 2*B)",
     lambda A, B: mean(np.array([
         max(mpf(0), mp.sqrt(sum((a - b + mpf(1e-6)) ** 2)) - mp.sqrt(sum((a - 2 * b + mpf(1e-6)) ** 2)) + 1)
         for a, b in zip(A, B, strict=True)]))),
    ("prelu", "F.prelu(x - 0.75, s)", lambda x, s: np.array([v if v > 0 else s * v for v in x - mpf(0.75)])),
    ("glu", "F.glu(cat([x, x[:1]]))", lambda x: np.array([x[0] / (1 + mp.exp(-x[2])), x[1] / (1 + mp.exp(-x[0]))])),
    ("soft_margin_loss", "soft_margin(x, [1, -1, 1])", lambda x: mean(log(1 + exp(x * np.array([-1, 1, -1]))))),
    ("kl_div", "kl_div(x, y, reduction='sum')", lambda x, y: sum(y * (log(y) - x))),
    ("kl_div", "kl_div(A, B, reduction='batchmean', log_target=True)", lambda A, B: sum((exp(B) * (B - A)).ravel()) / 2),
    ("poisson_nll_loss", "poisson_nll(x, y)", lambda x, y: mean(exp(x) - y * x)),
    (
        "poisson_nll_loss", "poisson_nll(x, y + 1, log_input=False, full=True)",
        lambda x, y: mean(x - (y + 1) * log(x + mpf(1e-8)) + (y + 1) * log(y + 1) - y - 1 + log(2 * mp.pi * (y + 1)) / 2),
    ),
    ("gaussian_nll_loss", "gaussian_nll(x, y, y)", lambda x, y: mean((log(y) + (x - y) ** 2 / y) / 2)),
    (
        "gaussian_nll_loss", "gaussian_nll(x, y, y, full=True)",
        lambda x, y: mean((log(y) + (x - y) ** 2 / y + mp.log(2 * mp.pi)) / 2),
    ),
    ("nll_loss", "nll_loss(A, [2, 0])", lambda A: -(A[0, 2] + A[1, 0]) / 2),
    ("cross_entropy", "cross_entropy(x, 1)", lambda x: -mp.log(soft(x)[1])),
    ("cross_entropy", "cross_entropy(A, [2, 0], reduction='sum')", lambda A: -mp.log(soft(A[0])[2]) - mp.log(soft(A[1])[0])),
    ("nll_loss", "F.nll_loss(A, [-100, 2], weight=[3, 1, 2], reduction='sum')", lambda A: -2 * A[1, 2]),
    ("nll_loss", "F.nll_loss([A, B], [[1, 0, 0], [1, 1, 0]], [1, 3])",
     lambda A, B: -(3 * A[1, 0] + A[0, 1] + A[0, 2] + 3 * B[1, 0] + 3 * B[1, 1] + B[0, 2]) / 12),
    ("cross_entropy", "F.cross_entropy(A, B)", lambda A, B: -sum((B * by_row(lambda r: log(soft(r)))(A)).ravel()) / 2),
    ("cross_entropy", "F.cross_entropy(x, [0.25, 0, 0.5], reduction='none')",
     lambda x: -log(soft(x))[0] / 4 - log(soft(x))[2] / 2),
    ("cross_entropy", "F.cross_entropy(A, B, weight=torch.tensor([1, 2, 4]), label_smoothing=0.25)",
     lambda A, B: -sum(((B * 3 / 4 + mpf(1) / 12) * by_row(lambda r: log(soft(r)))(A) * np.array([1, 2, 4])).ravel()) / 2),
    ("cross_entropy", "F.cross_entropy(A, [0, 2], weight=[1, 2, 4], label_smoothing=0.25)",
     lambda A: -(sum(log(soft(A[0])) * np.array([10, 2, 4])) + sum(log(soft(A[1])) * np.array([1, 2, 40]))) / 12 / 5),
    ("cross_entropy", "F.cross_entropy([x, y, x], [1, 0, 1], ignore_index=0, label_smoothing=0.25)",
     lambda x: -(sum(log(soft(x)) * np.array([1, 10, 1]))) / 12),
    ("binary_cross_entropy", "bce(x, y, weight=[1, 2, 4])",
     lambda x, y: -mean(np.array([1, 2, 4]) * (y * log(x) + (1 - y) * log(1 - x)))),
    ("binary_cross_entropy_with_logits", "F.binary_cross_entropy_with_logits(x, y, [1, 2, 4], pos_weight=[3, 1, 2])",
     lambda x, y: mean(np.array([1, 2, 4]) * ((1 - y) * log(1 + exp(x)) + np.array([3, 1, 2]) * y * log(1 + exp(-x))))),
    ("cosine_embedding_loss", "F.cosine_embedding_loss(A, B, [1, -1], margin=0.5)",
     lambda A, B: (1 - cosines(A, B)[0] + cosines(A, B)[1] - mpf(0.5)) / 2),
    ("multi_margin_loss", "F.multi_margin_loss(A, [2, 0], p=2, margin=2)",
     lambda A: sum((2 - A[i, y] + A[i, j]) ** 2 for i, y in ((0, 2), (1, 0)) for j in range(3) if j != y) / 6),
    ("multilabel_soft_margin_loss", "F.multilabel_soft_margin_loss(A, B)", lambda A, B: mean(log(1 + exp(A)) - A * B)),
    ("triplet_margin_loss", "F.triplet_margin_loss(A, B, 2*B, margin=3, swap=True)",
     lambda A, B: mean(np.array(
         [3 + dist(a - b + EPS) - min(dist(a - 2 * b + EPS), dist(EPS - b)) for a, b in zip(A, B, strict=True)]))),
    ("pick", "pick(A, [2, 0])", lambda A: np.array([A[0, 2], A[1, 0]])),
]  # fmt: skip


def evaluate(reference: Callable[..., Any], values: Mapping[str, Numbers]) -> Numbers:
    """The reference at some values; each of its parameters is an input."""
    return np.asarray(reference(**{n: values[n][()] for n in inspect.signature(reference).parameters}), dtype=object)


def places(name: str) -> list[tuple[str, tuple[int, ...]]]:
    """The entries of an input: what they are called, and where they are."""
    shape = SHAPES[name]
    return [(f"{name}[{','.join(map(str, place))}]" if place else name, place) for place in np.ndindex(shape)]

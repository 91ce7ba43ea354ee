"""Operations that aren't computed entry by entry: moves, folds, rules and decompositions, against torch's own results.

Every row and rule must be met by one of the cases below; the cells of each result must lie where torch's floats do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from flint import arb, ctx
from torch import Tensor

from gradcheck_cli.algebra.directions import Precise
from gradcheck_cli.algebra.layers import Exact, Rounded
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.shadow.aten import OPERATIONS
from gradcheck_cli.shadow.mode import Shadow
from gradcheck_cli.shadow.rules import RULES
from tests.shadow.kernels import layers, register

register()  # what only accelerators have
aten = torch.ops.aten
Case = Callable[..., Any]


def r(*shape: int) -> Tensor:
    """Random numbers; the seed is set for each case."""
    return torch.randn(shape, dtype=torch.float64)


def index(*entries: Any) -> Tensor:
    return torch.tensor(entries)


def positive(n: int) -> Tensor:
    """A well conditioned symmetric matrix."""
    x = r(n, n)
    return x @ x.mT + n * torch.eye(n, dtype=torch.float64)


def regular(*shape: int) -> Tensor:
    """A well conditioned matrix."""
    return r(*shape) + 3 * torch.eye(*shape[-2:], dtype=torch.float64)


EDGES = torch.tensor([-1.0, 0.0, 0.5], dtype=torch.float64)

SMALL, SQUARE, IMAGE, CUBE = (lambda: [r(5)]), (lambda: [r(3, 4)]), (lambda: [r(2, 2, 5, 6)]), (lambda: [r(1, 2, 4, 4, 4)])


def flattened(x: Tensor, y: Tensor) -> Tensor:
    """Both are moved on the way, as `nn.LSTM` does it with parameters that were exchanged."""
    with torch.no_grad():
        torch._cudnn_rnn_flatten_weight([x, y], 2, 0, 0, 0, 0, 0, False, False)
    return (x * y).sin()


# name -> (function, inputs); the function's results are differentiated too, unless the name is in WITHOUT_BACKWARD
def both_parts(z: Tensor) -> Tensor:
    return torch.view_as_real(z)


def of_complex(function: Case, *shapes: tuple[int, ...]) -> tuple[Case, Callable[[], list[Tensor]]]:
    """A case whose arguments are complex, of two real ones each, and so are results."""

    def run(*parts: Tensor) -> list[Tensor]:
        found = function(*(torch.complex(x, y) for x, y in zip(parts[::2], parts[1::2], strict=True)))
        return [both_parts(y) if y.is_complex() else y for y in ([found] if isinstance(found, Tensor) else found)]

    return run, lambda: [r(*shape) for shape in shapes for _ in range(2)]


def hermitian(a: Tensor) -> Tensor:
    """A well conditioned one."""
    return a @ a.mH + 3 * torch.eye(a.shape[-1], dtype=a.dtype)


CASES: dict[str, tuple[Case, Callable[[], list[Tensor]]]] = {
    # -- moves --------------------------------------------------------------------------------------------------------
    "cat": (lambda x: torch.cat([x, 2 * x, x[:1]]), SQUARE),
    "stack": (lambda x: torch.stack([x, -x], 1), SQUARE),
    "_reshape_copy": (lambda x: torch.ops.aten._reshape_copy(2 * x, [-1]), SQUARE),
    "block_diag": (lambda x: torch.block_diag(x, x[0]), SQUARE),
    "tril": (lambda x: x.tril(-1), SQUARE),
    "triu": (lambda x: x.triu(1), SQUARE),
    "flip": (lambda x: x.flip(0, 1), SQUARE),
    "roll": (lambda x: x.roll(2, 1), SQUARE),
    "rot90": (torch.rot90, SQUARE),
    "repeat": (lambda x: x.repeat(2, 1), SQUARE),
    "diag_embed": (torch.diag_embed, SQUARE),
    "slice_backward": (lambda x: x[1:, ::2], SQUARE),
    "select_backward": (lambda x: x[1], SQUARE),
    "diagonal_backward": (lambda x: x.diagonal(1), SQUARE),
    "index": (lambda x: x[index(0, 2, 2), index(1, 0, 3)], SQUARE),
    "_unsafe_index": (lambda x: aten._unsafe_index(x, [index(0, 2), None]), SQUARE),
    "_unsafe_index_put": (lambda x: aten._unsafe_index_put(x, [index(0, 2)], 2 * x[:2]), SQUARE),
    "index of a mask": (lambda x: x[torch.eye(3, 4).bool()], SQUARE),
    "index_select": (lambda x: x.index_select(1, index(3, 3, 0)), SQUARE),
    "gather": (lambda x: x.gather(1, index([0, 1], [2, 2], [3, 0])), SQUARE),
    "take": (lambda x: x.take(index(0, 5, 5)), SQUARE),
    "masked_select": (lambda x: x.masked_select(torch.eye(3, 4).bool()), SQUARE),
    "masked_scatter": (lambda x: x.masked_scatter(torch.eye(3, 4).bool(), 2 * x), SQUARE),
    "embedding": (lambda x: F.embedding(index([0, 2], [1, 2]), x, padding_idx=1), SQUARE),
    "_ctc_loss": (
        lambda x: F.ctc_loss(
            F.log_softmax(x.reshape(4, 1, 3), -1), index([1, 2]), index(4), index(2), reduction="sum", zero_infinity=True
        ),
        lambda: [r(12)],
    ),
    "embedding_renorm_": (lambda x: F.embedding(index([0, 2], [1, 2]), x.clone(), max_norm=99.0), SQUARE),
    "embedding scaled": (lambda x: F.embedding(index([0, 2], [1, 2]), x, scale_grad_by_freq=True), SQUARE),
    "constant_pad_nd": (lambda x: F.pad(x, (1, -1, 2, 0), value=3.0), SQUARE),
    "scatter": (lambda x: x.scatter(1, index([0, 1], [2, 3]), 2 * x[:2, :2]), SQUARE),
    "scatter of a corner": (lambda x: x.scatter(1, index([0, 1], [2, 3]), 2 * x), SQUARE),
    "scatter of a number": (lambda x: x.scatter(1, index([0, 1], [2, 3]), 1.5), SQUARE),
    "index_put": (lambda x: x.index_put((index(0, 2),), 2 * x[:2]), SQUARE),
    "index_copy": (lambda x: x.index_copy(0, index(2, 0), 3 * x[:2]), SQUARE),
    "index_fill": (lambda x: x.index_fill(0, index(2), 0.5), SQUARE),
    "put": (lambda x: x.put(index(2, 0), 3 * x[0, :2]), SQUARE),
    "slice_scatter": (lambda x: torch.slice_scatter(x, 2 * x[1:], 0, 1), SQUARE),
    "select_scatter": (lambda x: torch.select_scatter(x, 2 * x[1], 0, 1), SQUARE),
    "diagonal_scatter": (lambda x: torch.diagonal_scatter(x, x[:, 0]), SQUARE),
    "as_strided_scatter": (lambda x: torch.as_strided_scatter(x, x[0, :2], (2,), (5,)), SQUARE),
    "pixel_shuffle": (lambda x: F.pixel_shuffle(x, 2), lambda: [r(1, 4, 2, 3)]),
    "pixel_unshuffle": (lambda x: F.pixel_unshuffle(x, 2), lambda: [r(1, 1, 4, 2)]),
    "channel_shuffle": (lambda x: F.channel_shuffle(x, 2), lambda: [r(1, 4, 2, 3)]),
    "pads of one axis": (lambda x: F.pad(x, (1, 2), "reflect") * F.pad(x, (2, 1), "replicate"), lambda: [r(1, 2, 4)]),
    "pads of two axes": (lambda x: F.pad(x, [1] * 4, "reflect") * F.pad(x, [1] * 4, "replicate"), IMAGE),
    "pads of three axes": (lambda x: F.pad(x, [1] * 6, "reflect") * F.pad(x, [1] * 6, "replicate"), CUBE),
    "im2col": (lambda x: F.unfold(x, 3, padding=1, stride=2), IMAGE),
    "unfold": (lambda x: x.unfold(1, 3, 1), SQUARE),
    "nearest, one axis": (lambda x: F.interpolate(x, 7) + F.interpolate(x, 7, mode="nearest-exact"), lambda: [r(1, 2, 4)]),
    "nearest, two axes": (lambda x: F.interpolate(x, 7) + F.interpolate(x, 7, mode="nearest-exact"), IMAGE),
    "nearest, three axes": (lambda x: F.interpolate(x, 5) + F.interpolate(x, 5, mode="nearest-exact"), CUBE),
    "unsafe_split": (lambda x: aten.unsafe_split(x, 2), SQUARE),
    "unsafe_split_with_sizes": (lambda x: aten.unsafe_split_with_sizes(x, [1, 2]), SQUARE),
    "copies of views": (
        lambda x: [
            aten.alias_copy(x), aten.as_strided_copy(x, [2], [3]), aten.diagonal_copy(x), aten.expand_copy(x[:1], [2, 4]),
            aten.narrow_copy(x, 0, 1, 2), aten.permute_copy(x, [1, 0]), aten.select_copy.int(x, 0, 1),
            aten.slice_copy(x, 0, 1, 3), *aten.split_copy(x, 2), *aten.split_with_sizes_copy(x, [1, 2]), aten.squeeze_copy(x),
            aten.t_copy(x), aten.transpose_copy.int(x, 0, 1), *aten.unbind_copy(x), aten.unfold_copy(x, 1, 2, 1),
            aten.unsqueeze_copy(x, 0), aten.view_copy(x, [4, 3]),
        ],
        SQUARE,
    ),
    "packed sequences": (
        lambda x: torch.nn.utils.rnn.pack_padded_sequence(x, [3, 2, 2, 1], batch_first=True).data.sin(), lambda: [r(4, 3, 2)],
    ),
    "packed sequences, steps first": (
        lambda x: torch.nn.utils.rnn.pack_padded_sequence(x, [2, 1], enforce_sorted=True).data.sin(), lambda: [r(3, 2, 2)],
    ),
    # -- sums, products, extremes ---------------------------------------------------------------------------------------
    "sum": (lambda x: x.sum() * x.sum(0) * x.sum((0, 1)), SQUARE),
    "mean": (lambda x: x.mean() * x.mean(0), SQUARE),
    "prod": (lambda x: x.prod() * x.prod(1), SQUARE),
    "amax, amin": (lambda x: x.amax(1) * x.amin(1) + x.max() * x.min(), SQUARE),
    "max, min along an axis": (lambda x: x.max(1)[0] * x.min(1)[0], SQUARE),
    "aminmax": (lambda x: x.aminmax(dim=1), SQUARE),
    "cumsum": (lambda x: x.cumsum(1), SQUARE),
    "cumprod": (lambda x: x.cumprod(1), SQUARE),
    "cummax, cummin": (lambda x: x.cummax(1)[0] * x.cummin(1)[0], SQUARE),
    "logcumsumexp": (lambda x: x.logcumsumexp(1), SQUARE),
    "products": (lambda a, b, v: [a.mm(b), a.mv(v), v.dot(v), v.vdot(b[:, 0])], lambda: [r(2, 3), r(3, 4), r(3)]),
    "conv_tbc": (lambda x, w, b: torch.conv_tbc(x, w, b, 1), lambda: [r(3, 2, 2), r(2, 2, 3), r(3)]),
    "bmm": (torch.bmm, lambda: [r(2, 3, 4), r(2, 4, 2)]),
    "scatter_add": (lambda x: x.scatter_add(1, index([0, 0], [1, 3]), 2 * x[:2, :2]), SQUARE),
    "scatter_add of a corner": (lambda x: x.scatter_add(1, index([0, 0], [1, 3]), 2 * x), SQUARE),
    "index_add": (lambda x: x.index_add(0, index(1, 1), x[:2], alpha=2), SQUARE),
    "index_put, added": (lambda x: x.index_put((index(1, 1),), x[:2], accumulate=True), SQUARE),
    "put, added": (lambda x: x.put(index(1, 1), x[0, :2], accumulate=True), SQUARE),
    **{
        f"scatter_reduce {kind}": (
            lambda x, kind=kind: x.scatter_reduce(1, index([0, 0], [1, 3]), 2 * x[:2, :2], kind, include_self=False), SQUARE,
        )
        for kind in ("sum", "mean", "prod", "amax", "amin")
    },
    **{
        f"index_reduce {kind}": (lambda x, kind=kind: x.index_reduce(0, index(1, 1), x[:2], kind), SQUARE)
        for kind in ("mean", "prod", "amax", "amin")
    },
    "convolutions": (
        lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=1, dilation=2, groups=2),
        lambda: [r(2, 4, 6, 5), r(4, 2, 2, 2), r(4)],
    ),
    "transposed convolutions": (
        lambda x, w: F.conv_transpose1d(x, w, stride=2, padding=1, output_padding=1, groups=2),
        lambda: [r(2, 4, 3), r(4, 2, 3)],
    ),
    # -- products, softmax, moments ---------------------------------------------------------------------------------------
    "addmm": (lambda x: torch.addmm(x, x, x, beta=2, alpha=3) + torch.addmm(x, x, x), lambda: [r(3, 3)]),
    "addmv": (lambda x: torch.addmv(x[0], x, x[1]), lambda: [r(3, 3)]),
    "addr": (lambda x: torch.addr(x, x[0], x[1]), lambda: [r(3, 3)]),
    "baddbmm": (lambda x: torch.baddbmm(x, x, x, alpha=2), lambda: [r(2, 3, 3)]),
    "addbmm": (lambda x: torch.addbmm(x[0], x, x, beta=0.5), lambda: [r(2, 3, 3)]),
    "bilinear": (F.bilinear, lambda: [r(2, 3), r(2, 4), r(2, 3, 4), r(2)]),
    "softmax": (lambda x: x.softmax(1), SQUARE),
    "_safe_softmax": (lambda x: aten._safe_softmax(x, 1), SQUARE),
    "log_softmax": (lambda x: x.log_softmax(0), SQUARE),
    "logsumexp": (lambda x: x.logsumexp((0, 1)) * x.logsumexp(1), SQUARE),
    "moments": (lambda x: [x.var(), x.std(0), *torch.var_mean(x, 1, correction=0), *torch.std_mean(x)], SQUARE),
    "norms": (lambda x: [torch.linalg.vector_norm(x, p, 1) for p in (2, 1, 3, 0.5, math.inf, -math.inf)], SQUARE),
    "norm": (lambda x: aten.norm.ScalarOpt_dim(x, 2, [0]) + aten.norm.Scalar(x, 3), SQUARE),
    "dist": (lambda x: torch.dist(x[0], x[1], 3), SQUARE),
    # -- order ----------------------------------------------------------------------------------------------------------
    "sort": (lambda x: x.sort(1, descending=True)[0] * x.sort(0)[0], SQUARE),
    "topk": (lambda x: x.topk(2, 1)[0] * x.topk(2, 1, largest=False)[0], SQUARE),
    "kthvalue": (lambda x: x.kthvalue(2, 1)[0], SQUARE),
    "median": (lambda x: x.median(1)[0] + x.median() + x.nanmedian(1)[0], SQUARE),
    "mode": (lambda x: torch.cat([x, x], 1).mode(1)[0], SQUARE),
    "places of extremes": (lambda x: x.gather(1, x.argmax(1, True)) + x.gather(1, x.argmin(1, True)), SQUARE),
    "buckets": (
        lambda x: x * (torch.bucketize(x, EDGES, right=True) + torch.searchsorted(EDGES, x) + torch.bucketize(0.3, EDGES)),
        SQUARE,
    ),
    "some and all": (lambda x: torch.where((x > 0).any(1, True) & ~(x > 0).all(0), x * x, -x), SQUARE),
    "kinds": (lambda x: torch.where(torch.isposinf(x) | torch.isneginf(x) | torch.isnan(x), 0, torch.nan_to_num(x)), SQUARE),
    # -- networks -------------------------------------------------------------------------------------------------------
    "batch_norm": (
        lambda x, w, b: F.batch_norm(x, torch.zeros(2).double(), torch.ones(2).double(), w, b, True),
        lambda: [*IMAGE(), r(2), r(2)],
    ),
    "batch_norm, evaluated": (
        lambda x, w, b: F.batch_norm(x, w.detach(), b.detach().exp(), w, b), lambda: [*IMAGE(), r(2), r(2)],
    ),
    "weight_norm": (lambda v, g: torch._weight_norm(v, g, 0), lambda: [r(3, 4), r(3, 1)]),
    "_native_batch_norm_legit": (
        lambda x: aten._native_batch_norm_legit.no_stats(x, None, None, True, 0.1, 1e-5)[0], IMAGE,
    ),
    "_batch_norm_with_update": (
        lambda x, w, b: aten._batch_norm_with_update(x, w, b, torch.zeros(2).double(), torch.ones(2).double(), 0.1, 1e-5)[0],
        lambda: [*IMAGE(), r(2), r(2)],
    ),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (4,), w, b), lambda: [*SQUARE(), r(4), r(4)]),
    "rms_norm": (lambda x, w: F.rms_norm(x, (4,), w), lambda: [*SQUARE(), r(4)]),
    "group_norm": (lambda x, w: F.group_norm(x, 2, w), lambda: [r(2, 4, 3), r(4)]),
    "losses": (
        lambda x: [
            F.mse_loss(x, 2 * x + 1), F.soft_margin_loss(x, x.detach().sign()), F.multi_margin_loss(x, index(0, 1, 3)),
            F.multilabel_margin_loss(x, index([0, 1, -1, 0], [3, 0, -1, 0], [2, 1, -1, 0])), F.cross_entropy(x, index(0, 1, 3)),
            F.huber_loss(x, 2 * x + 1), F.smooth_l1_loss(x, 3 * x), F.binary_cross_entropy_with_logits(x, x.detach().sigmoid()),
            F.binary_cross_entropy(x.sigmoid(), x.detach().sigmoid(), r(4)),
        ],
        SQUARE,
    ),
    "cross_entropy": (
        lambda x: [
            F.cross_entropy(x, index(0, -100, 3), index(1.0, 2.0, 0.5, 4.0).double()), F.nll_loss(x[0], index(2)[0]),
            F.nll_loss(x, index(0, 1, 3), reduction="none"), F.nll_loss(x.reshape(1, 2, 2, 3), index([[0, 1, 1], [1, 1, 0]])),
        ],
        SQUARE,
    ),
    "_foreach": (lambda x: [*torch._foreach_mul([x, x + 1], [x, x]), *torch._foreach_add([x], 2.0)], SQUARE),
    "native_dropout": (lambda x: aten.native_dropout(x, 0.5, True)[0], SQUARE),
    "rrelu": (lambda x: F.rrelu(x, training=True) + F.rrelu(x), SQUARE),
    "angle": (torch.angle, SQUARE),
    "frexp": (lambda x: torch.frexp(x)[0], SQUARE),
    "embedding_bag, sums": (
        lambda w, s: F.embedding_bag(index(0, 2, 2, 1), w, index(0, 1), mode="sum", per_sample_weights=s),
        lambda: [r(3, 4), r(4)],
    ),
    "embedding_bag, means": (lambda w: F.embedding_bag(index(0, 2, 2, 1), w, index(0, 1), padding_idx=1), SQUARE),
    "_embedding_bag_forward_only": (
        lambda w: aten._embedding_bag_forward_only(w.detach(), index(0, 2, 2, 1), index(0, 1))[0], SQUARE,
    ),
    "embedding_bag, by frequency": (
        lambda w: F.embedding_bag(index(0, 2, 2, 1), w, index(0, 1), mode="sum", scale_grad_by_freq=True), SQUARE,
    ),
    "embedding_bag, extremes": (lambda w: F.embedding_bag(index(0, 2, 2, 1), w, index(0, 1), mode="max"), SQUARE),
    **{f"cdist {p}, of equal rows": (lambda x, p=p: torch.cdist(x[:2], x[:1].detach(), p), SQUARE) for p in (2, 3)},
    **{f"cdist {p}": (lambda x, y, p=p: torch.cdist(x, y, p), lambda: [r(3, 4), r(2, 4)]) for p in (1, 2, 3, math.inf)},
    "pdist": (F.pdist, SQUARE),
    **{
        f"segment_reduce {kind}": (
            lambda x, kind=kind: torch.segment_reduce(x, kind, lengths=index(1, 2), unsafe=True), SQUARE,
        )
        for kind in ("sum", "mean", "max", "min", "prod")
    },
    "lstm": (
        lambda x, w, u, b, c: torch.lstm(x, [x.new_zeros(2, 2, 2)] * 2, [w, u, b, c] * 2, True, 1, 0.0, False, True, False),
        lambda: [r(3, 2, 4), r(8, 4), r(8, 2), r(8), r(8)],
    ),
    "attention": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        lambda: [r(1, 2, 3, 4) for _ in "qkv"],
    ),
    "attention, heads that share": (
        lambda q, k: F.scaled_dot_product_attention(q, k, k * 2, enable_gqa=True), lambda: [r(1, 4, 3, 2), r(1, 2, 3, 2)],
    ),
    # -- space ------------------------------------------------------------------------------------------------------------
    "avg_pool": (lambda x: F.avg_pool2d(x, 3, 2, 1, True) + F.avg_pool2d(x, 3, 2, 1, True, False), IMAGE),
    "avg_pool of one axis": (lambda x: F.avg_pool1d(x, 3, 2, 1), lambda: [r(2, 2, 6)]),
    "avg_pool of three axes": (lambda x: F.avg_pool3d(x, 2, divisor_override=3), CUBE),
    "adaptive_avg_pool": (lambda x: F.adaptive_avg_pool2d(x, (2, 4)), IMAGE),
    "adaptive_avg_pool of three axes": (lambda x: F.adaptive_avg_pool3d(x, 3), CUBE),
    "max_pool": (lambda x: F.max_pool2d(x, 3, 2, 1, 1, True), IMAGE),
    "max_pool of three axes": (lambda x: F.max_pool3d(x, 2), CUBE),
    "adaptive_max_pool": (lambda x: F.adaptive_max_pool2d(x, (2, 4)), IMAGE),
    "adaptive_max_pool of three axes": (lambda x: F.adaptive_max_pool3d(x, 3), CUBE),
    "fractional_max_pool": (lambda x: F.fractional_max_pool2d(x, 2, (2, 3)), IMAGE),
    "fractional_max_pool of three axes": (lambda x: F.fractional_max_pool3d(x, 2, (2, 2, 2)), CUBE),
    "max_unpool": (lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), [2, 2]), lambda: [r(1, 2, 4, 4)]),
    "max_unpool of three axes": (lambda x: F.max_unpool3d(*F.max_pool3d(x, 2, return_indices=True), [2, 2, 2]), CUBE),
    "linear": (lambda x: F.interpolate(x, 7, mode="linear"), lambda: [r(1, 2, 4)]),
    "bilinear image": (lambda x: F.interpolate(x, (7, 4), mode="bilinear", align_corners=True), IMAGE),
    "bicubic": (lambda x: F.interpolate(x, scale_factor=1.5, mode="bicubic"), IMAGE),
    "trilinear": (lambda x: F.interpolate(x, 5, mode="trilinear"), CUBE),
    "antialiased": (
        lambda x: F.interpolate(x, 3, mode="bilinear", antialias=True) + F.interpolate(x, 3, mode="bicubic", antialias=True),
        IMAGE,
    ),
    "_cudnn_rnn of tanh": layers(1),
    "_cudnn_rnn, an LSTM both ways": layers(2, both=True),
    "_cudnn_rnn, two GRUs": layers(3, count=2),
    "_thnn_fused_lstm_cell": (
        lambda x, y, c, b, d: aten._thnn_fused_lstm_cell(x, y, c, b, d)[:2], lambda: [r(2, 8), r(2, 8), r(2, 2), r(8), r(8)],
    ),
    "_thnn_fused_gru_cell": (
        lambda x, y, h, b, d: aten._thnn_fused_gru_cell(x, y, h, b, d)[0], lambda: [r(2, 6), r(2, 6), r(2, 2), r(6), r(6)],
    ),
    "attention of an accelerator, with a bias": (
        lambda q, k, v, b: aten._scaled_dot_product_efficient_attention(q, k, v, b, True, scale=0.5)[0],
        lambda: [r(1, 2, 3, 2), r(1, 2, 3, 2), r(1, 2, 3, 2), r(1, 2, 3, 3)],
    ),
    "attention of an accelerator that drops": (
        lambda q, k, v: aten._scaled_dot_product_efficient_attention(q, k, v, None, True, 0.5)[0],
        lambda: [r(1, 2, 3, 2), r(1, 2, 3, 2), r(1, 2, 3, 2)],
    ),
    "weights that are moved": (flattened, lambda: [r(2, 3), r(3)]),
    "flash attention": (
        lambda q, k, v: aten._scaled_dot_product_flash_attention(q, k, v, 0.0, True)[0],
        lambda: [r(1, 2, 3, 2), r(1, 2, 3, 2), r(1, 2, 3, 2)],
    ),
    "cuDNN's attention": (
        lambda q, k, v: aten._scaled_dot_product_cudnn_attention(q, k, v, None, True, 0.0, True)[0],
        lambda: [r(1, 2, 3, 2), r(1, 2, 3, 2), r(1, 2, 3, 2)],
    ),
    "cudnn_batch_norm": (
        lambda x, w, b: aten.cudnn_batch_norm(x, w, b, None, None, True, 0.1, 0.5)[0], lambda: [*IMAGE(), r(2), r(2)],
    ),
    "cudnn_grid_sampler": (lambda x, g: aten.cudnn_grid_sampler(x, g), lambda: [*IMAGE(), r(2, 3, 3, 2).tanh()]),
    "_cudnn_ctc_loss": (
        lambda x: aten._cudnn_ctc_loss(x.log_softmax(-1), index(1, 2, 2).int(), [4, 4], [2, 1], 0, True, False)[0],
        lambda: [r(4, 2, 3)],
    ),
    "grid_sample": (F.grid_sample, lambda: [*IMAGE(), r(2, 3, 3, 2).tanh()]),
    "grid_sample in its modes": (
        lambda x, g: [
            F.grid_sample(x, g, mode=mode, padding_mode=padding, align_corners=corners)
            for mode in ("bilinear", "nearest", "bicubic")
            for padding in ("zeros", "border", "reflection") for corners in (True, False)
        ],
        lambda: [r(2, 2, 3, 4), r(2, 2, 2, 2)],
    ),
    "affine_grid": (
        lambda t, u: [
            grid for corners in (True, False)
            for grid in (F.affine_grid(t, [2, 1, 2, 3], corners), F.affine_grid(u, [2, 1, 2, 2, 3], corners))
        ],
        lambda: [r(2, 2, 3), r(2, 3, 4)],
    ),
    "cross product along another axis": (
        lambda x, y: torch.linalg.cross(x, y, dim=0), lambda: [r(3, 2), r(3, 1)]
    ),
    "grid_sample of a volume": (
        lambda x, g: [
            F.grid_sample(x, g, mode=mode, padding_mode=padding, align_corners=corners)
            for mode in ("bilinear", "nearest") for padding in ("zeros", "border", "reflection") for corners in (True, False)
        ],
        lambda: [r(1, 2, 2, 3, 4), r(1, 2, 2, 2, 3)],
    ),
    # -- complex numbers on the way ------------------------------------------------------------------------------------------
    "fft": (lambda x: both_parts(torch.fft.fft2(torch.complex(x, x * x), norm="ortho")), lambda: [r(2, 3)]),
    "rfft": (lambda x: both_parts(torch.fft.rfft2(x, norm="forward")), lambda: [r(4, 5)]),
    "irfft": (
        lambda x, y: torch.fft.irfft2(torch.complex(x, y)) + torch.fft.irfft(torch.complex(x, y), 3).sum(),
        lambda: [r(3, 3), r(3, 3)],
    ),
    "complex products": of_complex(lambda x, y: [x.prod(), x.prod(1), y.prod(0) * y.cumprod(0), x.cumprod(0)], (2, 3), ()),
    "complex moments": of_complex(lambda x: [x.var(0), *torch.std_mean(x, 1)], (3, 4)),
    "complex norms": of_complex(lambda x: [x.norm(), x.norm(3, 0), x.norm(1)], (3, 4)),
    "complex logsumexp": of_complex(lambda x: [x.logsumexp(0), (3 * x).logcumsumexp(1)], (3, 4)),
    "complex memory": of_complex(lambda x: torch.as_strided_copy(x.mT, (2, 2), (1, 2)), (3, 4)),
    "complex cholesky": of_complex(lambda a: torch.linalg.cholesky(hermitian(a)), (3, 3)),
    "complex qr": of_complex(torch.linalg.qr, (3, 3)),
    "complex reflections": of_complex(
        lambda a, t, c: [
            torch.linalg.householder_product(a, t), torch.ormqr(a, t, c), torch.ormqr(a, t, c, left=False, transpose=True),
        ],
        (3, 3), (3,), (3, 3),
    ),
    "complex eigh": of_complex(lambda a: [y.abs() for y in torch.linalg.eigh(hermitian(a))], (3, 3)),
    "complex svd": of_complex(lambda a: [torch.linalg.svdvals(a), torch.linalg.svd(a)[0].abs()], (3, 3)),
    "complex pinv": of_complex(lambda a, b: [torch.linalg.pinv(a), torch.linalg.lstsq(a, b)[0]], (4, 3), (4, 2)),
    "eig": of_complex(lambda a: [torch.linalg.eigvals(a), torch.linalg.eig(a)[1].abs()], (3, 3)),
    "eig of real numbers": (lambda a: [both_parts(torch.linalg.eigvals(a)), torch.linalg.eig(a)[1].abs()], lambda: [r(3, 3)]),
    # -- matrices -----------------------------------------------------------------------------------------------------------
    "solve": (torch.linalg.solve, lambda: [regular(3, 3), r(3, 2)]),
    "solve from the right": (lambda a, b: torch.linalg.solve(a, b, left=False), lambda: [regular(3, 3), r(2, 3)]),
    "solve a vector": (torch.linalg.solve, lambda: [regular(2, 3, 3), r(2, 3)]),
    "inverse": (torch.linalg.inv, lambda: [regular(2, 3, 3)]),
    "det": (torch.linalg.det, lambda: [regular(2, 3, 3)]),
    "slogdet": (lambda a: torch.linalg.slogdet(a)[1], lambda: [regular(3, 3)]),
    "lu": (lambda a: torch.linalg.lu(a)[1:], lambda: [r(4, 3)]),
    "lu_factor": (lambda a: torch.lu_unpack(*torch.linalg.lu_factor(a))[1:], lambda: [r(3, 3)]),
    "lu_solve": (
        lambda a, b: sum(
            torch.linalg.lu_solve(*torch.linalg.lu_factor(a), b, left=left, adjoint=adjoint)
            for left in (True, False) for adjoint in (True, False)
        ),
        lambda: [regular(3, 3), r(3, 3)],
    ),
    "solve_triangular": (
        lambda a, b: [
            torch.linalg.solve_triangular(a, b, upper=True), torch.linalg.solve_triangular(a, b, upper=False, left=False),
        ],
        lambda: [regular(3, 3), r(3, 3)],
    ),
    "triangular_solve": (lambda b, a: torch.triangular_solve(b, a, transpose=True)[0], lambda: [r(3, 2), regular(3, 3)]),
    "cholesky": (lambda a: torch.linalg.cholesky(a) + torch.cholesky(a, upper=True).mT, lambda: [positive(3)]),
    "cholesky_solve": (lambda b, a: torch.cholesky_solve(b, a), lambda: [r(3, 2), regular(3, 3)]),
    "cholesky_inverse": (torch.cholesky_inverse, lambda: [regular(3, 3)]),
    "qr": (torch.linalg.qr, lambda: [r(4, 3)]),
    "qr, complete": (lambda a: torch.linalg.qr(a, "complete"), lambda: [r(3, 3)]),
    "householder_product": (torch.linalg.householder_product, lambda: [r(4, 2), r(2)]),
    "ormqr": (lambda a, t, c: torch.ormqr(a, t, c) + torch.ormqr(a, t, c.mT, left=False).mT, lambda: [r(3, 3), r(3), r(3, 3)]),
    "eigh": (lambda a: torch.linalg.eigh(a)[0], lambda: [positive(3)]),
    "eigh, vectors": (lambda a: torch.linalg.eigh(a)[1].square(), lambda: [positive(3)]),
    "svd": (lambda a: torch.linalg.svd(a, full_matrices=False)[1], lambda: [regular(3, 4)]),
    "svdvals": (torch.linalg.svdvals, lambda: [regular(4, 3)]),
    "pinv": (torch.linalg.pinv, lambda: [regular(4, 3)]),
    "pinv of rank 1": (lambda a, b: torch.linalg.pinv(a @ b), lambda: [r(3, 1), r(1, 4)]),
    "pinv, wide and hermitian": (lambda a, b: [torch.linalg.pinv(a), torch.linalg.pinv(b, hermitian=True)],
                                 lambda: [regular(3, 4), positive(3)]),
    "lstsq": (lambda a, b: torch.linalg.lstsq(a, b)[0], lambda: [regular(4, 3), r(4, 2)]),
    "matrix_exp": (torch.matrix_exp, lambda: [r(3, 3)]),
    # -- torch's own decompositions -------------------------------------------------------------------------------------------
    "trace": (torch.trace, lambda: [r(3, 3)]),
    "nextafter": (lambda x, y: torch.nextafter(x, y), lambda: [r(3), r(3)]),
    "renorm": (lambda x: x.renorm(2, 0, 0.5), SQUARE),
    "glu": (F.glu, SQUARE),
    "cross": (lambda x: torch.linalg.cross(x[0, :3], x[1, :3]), SQUARE),
    "_unsafe_masked_index": (
        lambda x: aten._unsafe_masked_index(x, torch.eye(3, 4).bool(), [index(0, 1, 2).unsqueeze(1), index(0, 1, 2, 3)], 0.5),
        SQUARE,
    ),
}  # fmt: skip

WITHOUT_BACKWARD = {
    "scatter of a corner",
    "scatter_add of a corner",
    "_embedding_bag_forward_only",
}

SINGLE = {"lstm"}
"""Cases in float32: torch has an operation of its own for them there."""

SEEN: dict[str, set[str]] = {}


def follow(case: str) -> tuple[Shadow, list[Tensor]]:
    """The case under the shadow: its results, and the gradients of their sum with random cotangents."""
    function, inputs = CASES[case]
    dtype = torch.float32 if case in SINGLE else torch.float64
    torch.manual_seed(1)
    leaves = [x.to(dtype).requires_grad_() for x in inputs()]
    shadow = Shadow([Exact(), Rounded(FORMATS[str(dtype).removeprefix("torch.")])], 0)
    for leaf in leaves:
        cells = [arb(v) for v in leaf.detach().reshape(-1).tolist()]
        shadow.seed(leaf.detach(), [cells, cells])
    with shadow:
        results = function(*leaves)
        results = [results] if isinstance(results, Tensor) else [x for x in results if x.is_floating_point()]
        outputs = [x for x in results if x.requires_grad]
        found: Sequence[Tensor | None] = ()
        if outputs and case not in WITHOUT_BACKWARD:
            cotangents = [torch.randn(2, *x.shape, dtype=dtype)[0] for x in outputs]
            found = torch.autograd.grad(outputs, leaves, cotangents, allow_unused=True)
    SEEN[case] = set(shadow.seen)
    return shadow, [*results, *(g for g in found if g is not None)]


pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, about old names and beta versions


@pytest.mark.parametrize("case", CASES)
@pytest.mark.slow(reason="every rule, at both orders")
def test_followed(case: str) -> None:
    """Nothing is opaque, every float lies within the ball that allows for rounding, and the exact ball is a tight one beside
    it, for the results and for the gradients."""
    with ctx.workprec(128):
        shadow, tensors = follow(case)
        assert not shadow.opaque
        for tensor in tensors:
            floats = tensor.detach().reshape(-1).tolist()
            near = max(map(abs, floats), default=0) * (1e-5 if case in SINGLE else 1e-9)
            for value, exact, rounded in zip(floats, shadow.cells(tensor, 0), shadow.cells(tensor, 1), strict=True):
                assert rounded.contains(arb(value)), (value, rounded)
                assert abs(exact.mid() - value) <= near, (value, exact)
                assert exact.rad() <= near, exact


@pytest.mark.slow(reason="follows every case that hasn't been, in this process")
def test_every_row_and_rule_is_met() -> None:
    """The cases above reach each row that moves or folds, and each rule; whichever of them ran in this process before."""
    wanted = {o.name for o in OPERATIONS if o.moves or o.fold} | set(RULES)
    with ctx.workprec(64):
        for case in CASES.keys() - SEEN.keys():
            follow(case)
    assert not sorted(wanted.difference(*SEEN.values()))


def test_a_scale_is_the_backwards_own() -> None:
    """What a kernel of dropout keeps is scaled by a float, the same in both passes: exactly that is followed."""
    shadow, x = Shadow([Precise()], 0), torch.ones(50, dtype=torch.float64, requires_grad=True)
    shadow.seed(x.detach(), [[arb(1)] * 50])
    with shadow:
        y, kept = torch.native_dropout(x, 0.1, True)
        (slope,) = torch.autograd.grad(y.sum(), x)
    for made in (y, slope):
        cells = [cell for cell, one in zip(shadow.cells(made, 0), kept.tolist(), strict=True) if one]
        assert len(cells) > 30 and all(cell == arb(1 / (1 - 0.1)) for cell in cells)

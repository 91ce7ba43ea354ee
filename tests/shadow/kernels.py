"""Operations of torch's that only accelerators have kernels for, here made for the CPU of torch's own layers: what a rule meets
is the operation as torch calls it, with its backward and what it keeps for that."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, ctc_loss, grid_sample

aten = torch.ops.aten
_LIBRARY = torch.library.Library("aten", "IMPL")
LSTM = 2
SEED, OFFSET = 7, 4
"""What attention drops by."""


def apart(run: Callable[[], Any]) -> Any:
    """The result in a thread of its own, in which no kernel runs and autograd records."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()


def slopes(run: Callable[..., Any], inputs: Sequence[Tensor], grads: Sequence[Tensor | None]) -> list[Tensor]:
    """The cotangents of the inputs."""

    def work() -> list[Tensor]:
        leaves = [x.detach().requires_grad_() for x in inputs]
        found = run(*leaves)
        pairs = zip([found] if isinstance(found, Tensor) else found, grads, strict=False)
        outputs, given = zip(*[(y, g.detach()) for y, g in pairs if g is not None], strict=True)
        return list(torch.autograd.grad(outputs, leaves, given))

    return list(apart(work))


class Layers:
    """What `_cudnn_rnn` computes."""

    def __init__(self, weight: Sequence[Tensor], biases: bool, mode: int, layers: int, first: bool, both: bool) -> None:
        self.run = (torch.rnn_relu, torch.rnn_tanh, torch.lstm, torch.gru)[mode]
        self.mode, self.count, self.settings = mode, len(weight), (biases, layers, 0.0, True, both, first)

    def __call__(self, x: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        weights, state = list(tensors[: self.count]), list(tensors[self.count :])
        return tuple(self.run(x, state if self.mode == LSTM else state[0], weights, *self.settings))


def _rnn(x: Tensor, weight: Any, stride: int, _: Any, hx: Tensor, cx: Any, mode: int, *given: Any) -> tuple[Tensor, ...]:
    (_, _, count, first, _, _, both, *_), nothing = given, x.new_empty(0)
    run = Layers(weight, stride == 4, mode, count, first, both)
    y, *states = apart(lambda: [t.detach() for t in run(x, *weight, hx, *([] if cx is None else [cx]))])
    return (y, *states, *[nothing] * (2 - len(states)), torch.zeros(3, dtype=torch.uint8), nothing)


def _rnn_backward(x: Tensor, weight: Any, stride: int, _: Any, hx: Tensor, cx: Any, y: Tensor, *given: Any) -> tuple[Any, ...]:
    *grads, mode, _, _, count, first, _, _, both, _, _, _, _ = given
    run = Layers(weight, stride == 4, mode, count, first, both)
    found = slopes(run, [x, *weight, hx, *([] if cx is None else [cx])], grads)
    by_state = [*found[1 + len(weight) :], None][:2]
    return (found[0], *by_state, found[1 : 1 + len(weight)])


def _lstm_gates(own: Tensor, hidden: Tensor, cx: Tensor, one: Any, other: Any) -> tuple[Tensor, Tensor, Tensor]:
    i, f, g, o = (own + hidden + (0 if one is None else one + other)).chunk(4, 1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    c = f * cx + i * g
    return o * c.tanh(), c, torch.cat([i, f, g, o], 1)


def _lstm_backward(by_h: Any, by_c: Any, cx: Tensor, cy: Tensor, kept: Tensor, biases: bool) -> tuple[Any, ...]:
    i, f, g, o = kept.chunk(4, 1)
    gates = torch.cat([i.logit(), f.logit(), g.atanh(), o.logit()], 1)
    found, by_cell = slopes(lambda x, c: _lstm_gates(x, torch.zeros_like(x), c, None, None)[:2], [gates, cx], [by_h, by_c])
    return found, by_cell, found.sum(0) if biases else None


def _gru_parts(own: Tensor, hidden: Tensor, hx: Tensor) -> tuple[Tensor, Tensor]:
    (r, z, n), (hr, hz, hn) = own.chunk(3, 1), hidden.chunk(3, 1)
    r, z = (r + hr).sigmoid(), (z + hz).sigmoid()
    n = (n + r * hn).tanh()
    return n + z * (hx - n), torch.cat([r, z, n, hx, hn], 1)


def _gru(own: Tensor, hidden: Tensor, hx: Tensor, one: Any, other: Any) -> tuple[Tensor, Tensor]:
    return _gru_parts(own + (0 if one is None else one), hidden + (0 if other is None else other), hx)


def _gru_backward(upstream: Tensor, kept: Tensor, biases: bool) -> tuple[Any, ...]:
    r, z, n, h, hn = kept.chunk(5, 1)
    own = torch.cat([r.logit(), z.logit(), n.atanh() - r * hn], 1)
    hidden = torch.cat([torch.zeros_like(r), torch.zeros_like(z), hn], 1)
    found = slopes(lambda *x: _gru_parts(*x)[0], [own, hidden, h], [upstream])
    return (*found, *(x.sum(0) if biases else None for x in found[:2]))


def _flattened(weights: Sequence[Tensor], *_: Any) -> Tensor:
    """The weights one after the other, in which they lie from here on."""
    found, start = torch.cat([w.reshape(-1) for w in weights]), 0
    for w in weights:
        w.data = found[start : start + w.numel()].view(w.shape)
        start += w.numel()
    return found


def _drawn(into: Tensor, dropped: float, seed: int, offset: int) -> Tensor:
    """Uniform numbers, the same for the same seed."""
    return into.copy_(torch.rand(into.shape, generator=torch.Generator().manual_seed(seed + offset)))


def _attention(q: Tensor, k: Tensor, v: Tensor, bias: Any, causal: bool, scale: float | None, dropped: float = 0.0) -> Tensor:
    scores = q @ k.mT * (1 / math.sqrt(q.shape[-1]) if scale is None else scale) + (0 if bias is None else bias)
    kept = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    weights = (scores.masked_fill(~kept, -math.inf) if causal else scores).softmax(-1)
    mask = _drawn(torch.empty(weights.shape), dropped, SEED, OFFSET) > dropped
    return (weights * mask / (1 - dropped) if dropped else weights) @ v


def _efficient(
    q: Tensor, k: Tensor, v: Tensor, bias: Any, _: bool, dropped: float = 0.0, causal: bool = False, *, scale: Any = None
) -> tuple[Tensor, ...]:
    seed, offset = torch.tensor(SEED), torch.tensor(OFFSET)
    return _attention(q, k, v, bias, causal, scale, dropped), q.new_zeros(*q.shape[:2], 32), seed, offset


def _efficient_backward(
    g: Tensor, q: Tensor, k: Tensor, v: Tensor, bias: Any, _: Tensor, sums: Tensor, seed: Tensor, offset: Tensor,
    dropped: float, wanted: Sequence[bool], causal: bool = False, *, scale: Any = None,
) -> tuple[Any, ...]:  # fmt: skip
    given = [q, k, v, *([bias] if bias is not None and wanted[3] else [])]
    found = slopes(lambda q, k, v, b=bias: _attention(q, k, v, b, causal, scale, dropped), given, [g])
    return (*found, *[None] * (4 - len(found)))


def _flash(
    q: Tensor, k: Tensor, v: Tensor, dropped: float = 0.0, causal: bool = False, _: bool = False, *, scale: Any = None
) -> tuple[Any, ...]:
    state = torch.zeros(2, dtype=torch.uint64)
    return (
        _attention(q, k, v, None, causal, scale),
        q.new_zeros(q.shape[:3]),
        None,
        None,
        1,
        1,
        state,
        q.new_empty(0),
        q.new_empty(0),
    )


def _flash_backward(g: Tensor, q: Tensor, k: Tensor, v: Tensor, *given: Any, scale: Any = None) -> tuple[Any, ...]:
    (causal,) = (x for x in given if isinstance(x, bool))
    return tuple(slopes(lambda q, k, v: _attention(q, k, v, None, causal, scale), [q, k, v], [g]))


def _cudnn(
    q: Tensor, k: Tensor, v: Tensor, bias: Any, _: bool, dropped: float = 0.0, causal: bool = False, mask: bool = False, *,
    scale: Any = None,
) -> tuple[Any, ...]:  # fmt: skip
    seed = torch.zeros((), dtype=torch.int64)
    sums = q.new_zeros(*q.shape[:3], 1)
    return _attention(q, k, v, bias, causal, scale), sums, None, None, 1, 1, seed, seed.clone(), q.new_empty(0)


def _normalised(x: Tensor, w: Tensor, b: Tensor, eps: float) -> Tensor:
    return batch_norm(x.to(w.dtype), None, None, w, b, True, 0.0, eps).to(x.dtype)


def _batch_norm(x: Tensor, w: Tensor, b: Tensor, m: Any, v: Any, train: bool, factor: float, eps: float) -> tuple[Tensor, ...]:
    wide, axes = x.to(w.dtype), [a for a in range(x.ndim) if a != 1]
    scale = (wide.var(axes, correction=0) + eps).rsqrt()
    return apart(lambda: _normalised(x, w, b, eps).detach()), wide.mean(axes), scale, torch.zeros(0, dtype=torch.uint8)


def _batch_norm_backward(x: Tensor, g: Tensor, w: Tensor, *given: Any) -> tuple[Tensor, ...]:
    eps = next(v for v in given if isinstance(v, float))
    return tuple(slopes(lambda x, w, b: _normalised(x, w, b, eps), [x, w, torch.zeros_like(w)], [g]))


def _grid(x: Tensor, grid: Tensor) -> Tensor:
    return grid_sample(x, grid, align_corners=True)


def _aligned(
    x: Tensor, targets: Tensor, frames: Any, lengths: Any, blank: int, _: bool, infinite: bool
) -> tuple[Tensor, Tensor]:
    def loss(x: Tensor) -> Tensor:
        return ctc_loss(x, targets, frames, lengths, blank, "none", infinite)

    (found,) = slopes(loss, [x], [torch.ones(x.shape[1], dtype=x.dtype)])
    return apart(lambda: loss(x.detach())), found


KERNELS: dict[str, Callable[..., Any]] = {
    "_cudnn_rnn": _rnn, "_cudnn_rnn_backward": _rnn_backward,
    "_cudnn_rnn_flatten_weight": _flattened, "_fill_mem_eff_dropout_mask_": _drawn,
    "_thnn_fused_lstm_cell": _lstm_gates, "_thnn_fused_lstm_cell_backward_impl": _lstm_backward,
    "_thnn_fused_gru_cell": _gru, "_thnn_fused_gru_cell_backward": _gru_backward,
    "_scaled_dot_product_efficient_attention": _efficient,
    "_scaled_dot_product_efficient_attention_backward": _efficient_backward,
    "_scaled_dot_product_flash_attention": _flash, "_scaled_dot_product_flash_attention_backward": _flash_backward,
    "_scaled_dot_product_cudnn_attention": _cudnn, "_scaled_dot_product_cudnn_attention_backward": _flash_backward,
    "cudnn_grid_sampler": _grid, "cudnn_grid_sampler_backward": lambda x, grid, g: tuple(slopes(_grid, [x, grid], [g])),
    "_cudnn_ctc_loss": _aligned, "cudnn_batch_norm": _batch_norm, "cudnn_batch_norm_backward": _batch_norm_backward,
}  # fmt: skip


@cache
def register() -> None:
    """Make them known to torch; once a process."""
    for name, kernel in KERNELS.items():
        _LIBRARY.impl(name, kernel, "CPU")


def layers(mode: int, count: int = 1, both: bool = False) -> tuple[Callable[..., Any], Callable[[], list[Tensor]]]:
    """A case of recurrent layers: the function, and what it takes."""
    made = (nn.RNN, nn.RNN, nn.LSTM, nn.GRU)[mode](2, 2, num_layers=count, bidirectional=both, dtype=torch.float64)
    shapes = [tuple(p.shape) for p in made.parameters()]
    states = [(count * (1 + both), 2, 2)] * (2 if mode == LSTM else 1)

    def run(x: Tensor, *tensors: Tensor) -> Any:
        weight, (hx, *more) = list(tensors[: len(shapes)]), tensors[len(shapes) :]
        cx = more[0] if more else None
        found = aten._cudnn_rnn(x, weight, 4, None, hx, cx, mode, 2, 0, count, False, 0.0, True, both, [], None)
        return found[: 1 + len(states)]

    return run, lambda: [torch.randn(s, dtype=torch.float64) for s in ((3, 2, 2), *shapes, *states)]

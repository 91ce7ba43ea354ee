"""Rules: attention and recurrent layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gradcheck_cli.shadow.rules.registry import number, paused, pulled, root, rule


def _grouped(shared: Tensor, query: Tensor) -> Tensor:
    """Keys or values for each head of the queries, several of which may share one."""
    return shared.repeat_interleave(query.shape[-3] // shared.shape[-3], -3) if shared.shape[-3] != query.shape[-3] else shared


def _scores(query: Tensor, key: Tensor, causal: bool, mask: Tensor | None, scale: float | None) -> Tensor:
    scores = query @ _grouped(key, query).mT
    scores = scores / root(query.new_full((), query.shape[-1]), 2) if scale is None else scores * scale
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is None:
        return scores
    return scores.masked_fill(~mask, -math.inf) if mask.dtype is torch.bool else scores + mask


@rule("_scaled_dot_product_flash_attention_for_cpu")
def _attention(
    query: Tensor, key: Tensor, value: Tensor, dropout_p: float, is_causal: bool, attn_mask: Tensor | None, scale: float | None,
    result: Any,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    if dropout_p:
        raise NotImplementedError("which weights were dropped isn't known")
    scores = _scores(query, key, is_causal, attn_mask, scale)
    return scores.softmax(-1) @ _grouped(value, query), scores.logsumexp(-1).reshape(result[1].shape)


@rule("_scaled_dot_product_flash_attention_for_cpu_backward")
def _attention_backward(
    grad_out: Tensor, query: Tensor, key: Tensor, value: Tensor, dropout_p: float, is_causal: bool, attn_mask: Tensor | None,
    scale: float | None,
) -> list[Tensor]:  # fmt: skip
    if dropout_p:
        raise NotImplementedError("which weights were dropped isn't known")

    def forward(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return _scores(q, k, is_causal, attn_mask, scale).softmax(-1) @ _grouped(v, q)

    return pulled(forward, [query, key, value], grad_out)


@rule("_pack_padded_sequence")
def _packed(input: Tensor, batch_first: bool, result: Any) -> tuple[Tensor, Tensor]:
    """Step by step the sequences that are so long."""
    steps = input.transpose(0, 1) if batch_first else input
    return torch.cat([steps[t, :many] for t, many in enumerate(result[1].tolist())]), result[1]


_LSTM = 2
"""oneDNN's number for the only recurrent layer that torch hands to it."""


def _one_lstm(mode: int, batch_sizes: list[int]) -> None:
    """Refuse other layers, and sequences of different lengths."""
    if mode != _LSTM or batch_sizes:
        raise NotImplementedError("a recurrent layer that is no LSTM, or packed sequences")


def _lstm(
    x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor, h: Tensor, c: Tensor, reverse: bool, biases: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """One layer in one direction, steps first."""
    h, c = h.reshape(x.shape[1], -1), c.reshape(x.shape[1], -1)
    steps: list[Tensor] = [h] * len(x)
    for t in reversed(range(len(x))) if reverse else range(len(x)):
        gates = x[t] @ w_ih.mT + h @ w_hh.mT
        if biases:
            gates = gates + (b_ih + b_hh)
        i, f, g, o = gates.chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = steps[t] = o.sigmoid() * c.tanh()
    return torch.stack(steps), h, c


@rule("mkldnn_rnn_layer")
def _rnn_layer(
    input: Tensor, weight0: Tensor, weight1: Tensor, weight2: Tensor, weight3: Tensor, hx_: Tensor, cx_: Tensor, reverse: bool,
    batch_sizes: list[int], mode: int, has_biases: bool, result: Any,
) -> tuple[Tensor, ...]:  # fmt: skip
    _one_lstm(mode, batch_sizes)
    out, h, c = _lstm(input, weight0, weight1, weight2, weight3, hx_, cx_, reverse, has_biases)
    return out, h.reshape(result[1].shape), c.reshape(result[2].shape), number(result[3])


@rule("mkldnn_rnn_layer_backward")
def _rnn_layer_backward(
    input: Tensor, weight1: Tensor, weight2: Tensor, weight3: Tensor, weight4: Tensor, hx_: Tensor, cx_tmp: Tensor,
    grad_output: Tensor | None, grad_hy: Tensor | None, grad_cy: Tensor | None, reverse: bool, mode: int, has_biases: bool,
    batch_sizes: list[int], result: Any,
) -> list[Tensor]:  # fmt: skip
    _one_lstm(mode, batch_sizes)
    inputs = [input, weight1, weight2, weight3, weight4, hx_, cx_tmp]
    steps, batch = input.shape[:2]
    shapes = ((grad_output, (steps, batch, -1)), (grad_hy, (batch, -1)), (grad_cy, (batch, -1)))
    grads = [None if g is None else g.reshape(shape) for g, shape in shapes]

    def forward(*tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, w_ih, w_hh, b_ih, b_hh, h, c = tensors
        return _lstm(x, w_ih, w_hh, b_ih, b_hh, h, c, reverse, has_biases)

    found = pulled(forward, inputs, *grads)
    return [f.reshape(r.shape) for f, r in zip(found, result, strict=True)]


@rule("_ctc_loss")
def _ctc_loss(
    log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any, blank: int, result: Any
) -> tuple[Tensor, Tensor]:
    """The logarithms of the sums, which only the backward reads, are left unknown."""
    found = _ctc(log_probs, targets, list(map(int, input_lengths)), list(map(int, target_lengths)), blank)
    return found, torch.full_like(result[1], math.nan)


@rule("_ctc_loss_backward")
def _ctc_loss_backward(
    grad: Tensor, log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any, neg_log_likelihood: Tensor,
    blank: int, zero_infinity: bool,
) -> Tensor:  # fmt: skip
    """The derivative, and exp(log_probs) beside it: what a log_softmax before takes out again, and nothing else does."""
    frames, lengths = list(map(int, input_lengths)), list(map(int, target_lengths))
    if not neg_log_likelihood.isfinite().all():
        raise NotImplementedError("a target that is longer than its input")
    (slopes,) = pulled(lambda x: _ctc(x, targets, frames, lengths, blank), [log_probs], grad)
    with paused():
        used = torch.arange(log_probs.shape[0], device=log_probs.device)[:, None] < torch.tensor(
            frames, device=log_probs.device
        )
    return slopes + grad[None, :, None] * log_probs.exp() * used[:, :, None]


def _ctc(log_probs: Tensor, targets: Tensor, frames: Sequence[int], lengths: Sequence[int], blank: int) -> Tensor:
    """The sum over all alignments (Graves et al. 2006, equations 5 to 8), in probabilities: -log of it for each sequence."""
    if not min(frames, default=1):
        raise NotImplementedError("an input without frames")
    found, start = [], 0
    for n, (count, length) in enumerate(zip(frames, lengths, strict=True)):
        with paused():
            labels = (targets[n, :length] if targets.ndim == 2 else targets[start : start + length]).tolist()
            states = [blank, *(state for label in labels for state in (label, blank))]
            leaps = [i > 1 and label not in (blank, states[i - 2]) for i, label in enumerate(states)]
            begin = torch.tensor([i < 2 for i in range(len(states))], device=log_probs.device).to(log_probs.dtype)
            leap = torch.tensor(leaps, device=log_probs.device).to(log_probs.dtype)
        start += length
        chances = log_probs[:count, n][:, states].exp()
        sums = chances[0] * begin
        zeros = log_probs.new_zeros(2)
        for t in range(1, count):
            before = torch.cat([zeros, sums])
            sums = (sums + before[1:-1] + before[:-2] * leap) * chances[t]
        found.append(-sums[-2:].sum().log())
    return torch.stack(found)

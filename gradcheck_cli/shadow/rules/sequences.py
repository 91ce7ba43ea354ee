"""Rules: recurrent layers, and the loss of sequences that are aligned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gradcheck_cli.shadow.arguments import outputs_of
from gradcheck_cli.shadow.rules.registry import decomposition, number, paused, pulled, rule
from gradcheck_cli.shadow.shortened import counted


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


_MODES = ("rnn_relu", "rnn_tanh", "lstm", "gru")
"""What cuDNN's numbers of recurrent layers mean; of lstm the state has two parts."""


class _Recurrent:
    """Layers of one kind, as cuDNN runs them, all at once: torch's own formulas of `nn.RNN`, `LSTM`, `GRU`."""

    def __init__(
        self, weight: list[Tensor], weight_stride0: int, mode: int, num_layers: int, batch_first: bool, dropout: float,
        train: bool, bidirectional: bool, batch_sizes: list[int], **_: Any,
    ) -> None:  # fmt: skip
        if dropout and train and num_layers > 1:
            raise NotImplementedError("what was dropped between layers isn't known")
        kind = getattr(torch.ops.aten, _MODES[mode])
        self.parts = 1 + (_MODES[mode] == "lstm")
        self.batch_sizes, self.weights = batch_sizes, len(weight)
        self.run = decomposition(kind.data if batch_sizes else kind.input)
        self.settings = (weight_stride0 == 4, num_layers, 0.0, train, bidirectional, *(() if batch_sizes else (batch_first,)))

    def __call__(self, x: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The outputs and the last state, by the weights and the first state."""
        weights, state = tensors[: self.weights], tensors[self.weights :]
        with paused():
            sizes = [torch.tensor(self.batch_sizes, device="cpu")] if self.batch_sizes else []
        return tuple(self.run(x, *sizes, state if self.parts == 2 else state[0], weights, *self.settings))


@rule("_cudnn_rnn")
def _recurrent(
    input: Tensor, weight: list[Tensor], hx: Tensor, cx: Tensor | None, result: Any, **settings: Any
) -> list[Tensor | None]:
    """The outputs and the states; what only the backward reads, and the weights once more, are torch's own."""
    layers = _Recurrent(weight, **settings)
    with counted("recurrent"):
        out, *states = layers(input, *weight, hx, *([] if cx is None or layers.parts == 1 else [cx]))
    return [out, *states, *outputs_of(result)[1 + len(states) :]]


@rule("_cudnn_rnn_backward")
def _recurrent_backward(
    input: Tensor, weight: list[Tensor], hx: Tensor, cx: Tensor | None, grad_output: Tensor | None, grad_hy: Tensor | None,
    grad_cy: Tensor | None, result: Any, **settings: Any,
) -> list[Tensor | None]:  # fmt: skip
    layers = _Recurrent(weight, **settings)
    states = [hx] if cx is None or layers.parts == 1 else [hx, cx]
    grads = [grad_output, grad_hy, grad_cy][: 1 + len(states)]
    with counted("recurrent"):
        by_x, *others = pulled(layers, [input, *weight, *states], *grads)
    by_weight, by_state = others[: len(weight)], others[len(weight) :]
    found = [by_x, *by_state, *[None] * (2 - len(by_state)), *by_weight]
    return [None if given is None else f for f, given in zip(found, outputs_of(result), strict=False)]


@rule("_thnn_fused_lstm_cell")
def _lstm_cell(
    input_gates: Tensor, hidden_gates: Tensor, cx: Tensor, input_bias: Tensor | None, hidden_bias: Tensor | None, result: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """The states, and the gates, which the backward reads."""
    gates = _with_biases(input_gates, input_bias) + _with_biases(hidden_gates, hidden_bias)
    i, f, g, o = gates.chunk(4, 1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    c = f * cx + i * g
    return o * c.tanh(), c, torch.cat([i, f, g, o], 1).reshape(result[2].shape)


@rule("_thnn_fused_lstm_cell_backward_impl")
def _lstm_cell_backward(
    grad_hy: Tensor | None, grad_cy: Tensor | None, cx: Tensor, cy: Tensor, workspace: Tensor, has_bias: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    i, f, g, o = workspace.reshape(len(cx), -1).chunk(4, 1)
    t = cy.tanh()
    by_h = torch.zeros_like(cx) if grad_hy is None else grad_hy
    by_c = by_h * o * (1 - t * t)
    by_c = by_c if grad_cy is None else by_c + grad_cy
    gates = torch.cat([by_c * g * (1 - i) * i, by_c * cx * (1 - f) * f, by_c * i * (1 - g * g), by_h * t * (1 - o) * o], 1)
    return gates, by_c * f, gates.sum(0) if has_bias else None


@rule("_thnn_fused_gru_cell")
def _gru_cell(
    input_gates: Tensor, hidden_gates: Tensor, hx: Tensor, input_bias: Tensor | None, hidden_bias: Tensor | None, result: Any
) -> tuple[Tensor, Tensor]:
    """The state, and what the backward reads."""
    own, state = _with_biases(input_gates, input_bias).chunk(3, 1), _with_biases(hidden_gates, hidden_bias).chunk(3, 1)
    r, z = (own[0] + state[0]).sigmoid(), (own[1] + state[1]).sigmoid()
    n = (own[2] + r * state[2]).tanh()
    return n + z * (hx - n), torch.cat([r, z, n, hx, state[2]], 1).reshape(result[1].shape)


@rule("_thnn_fused_gru_cell_backward")
def _gru_cell_backward(grad_hy: Tensor, workspace: Tensor, has_bias: bool) -> tuple[Tensor | None, ...]:
    r, z, n, h, state = workspace.reshape(len(grad_hy), -1).chunk(5, 1)
    by_n = grad_hy * (1 - z) * (1 - n * n)
    by_r, by_z = by_n * state * (1 - r) * r, grad_hy * (h - n) * (1 - z) * z
    own, hidden = torch.cat([by_r, by_z, by_n], 1), torch.cat([by_r, by_z, by_n * r], 1)
    return own, hidden, grad_hy * z, own.sum(0) if has_bias else None, hidden.sum(0) if has_bias else None


def _with_biases(gates: Tensor, bias: Tensor | None) -> Tensor:
    return gates if bias is None else gates + bias


@rule("_cudnn_ctc_loss")
def _cudnn_ctc_loss(
    log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any, blank: int, zero_infinity: bool, result: Any
) -> tuple[Tensor, Tensor]:
    """The loss, and what its backward multiplies by the upstream gradient."""
    loss, _ = _ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, result)
    ones = torch.ones_like(result[0])
    found = _ctc_loss_backward(
        ones, log_probs, targets, input_lengths, target_lengths, result[0], blank=blank, zero_infinity=zero_infinity
    )
    return loss, found


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

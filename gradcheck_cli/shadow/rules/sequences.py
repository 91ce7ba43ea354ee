"""Rules: recurrent layers, and the loss of sequences that are aligned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gradcheck_cli.shadow.arguments import outputs_of
from gradcheck_cli.shadow.rules.registry import number, paused, pulled, rule
from gradcheck_cli.shadow.shortened import counted


@rule("_pack_padded_sequence")
def _packed(input: Tensor, batch_first: bool, result: Any) -> tuple[Tensor, Tensor]:
    """Step by step the sequences that are so long."""
    steps = input.transpose(0, 1) if batch_first else input
    return torch.cat([steps[t, :many] for t, many in enumerate(result[1].tolist())]), result[1]


MODES = ("rnn_relu", "rnn_tanh", "lstm", "gru")
"""What cuDNN's and oneDNN's numbers of recurrent layers mean."""


def _lstm_cell(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    """The states after one step, and the gates."""
    i, f, g, o = gates.chunk(4, -1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    c = f * c + i * g
    return o * c.tanh(), c, [i, f, g, o]


def _gru_cell(own: Tensor, hidden: Tensor, h: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The state after one step, and what the backward reads."""
    (r, z, n), (hr, hz, hn) = own.chunk(3, -1), hidden.chunk(3, -1)
    r, z = (r + hr).sigmoid(), (z + hz).sigmoid()
    n = (n + r * hn).tanh()
    return n + z * (h - n), [r, z, n, h, hn]


def _with_bias(gates: Tensor, bias: Tensor | None) -> Tensor:
    return gates if bias is None else gates + bias


class Recurrent:
    """Recurrent layers on top of each other, in one direction or in both: the formulas of `nn.RNN`, `nn.LSTM` and `nn.GRU` in
    torch's documentation. `sizes`: of a packed sequence, how many sequences last until each step."""

    def __init__(self, kind: str, weights: int, biases: bool, layers: int, both: bool, first: bool, sizes: list[int]) -> None:
        self.kind, self.weights, self.biases, self.layers = kind, weights, biases, layers
        self.directions = 1 + both
        self.each = weights // (layers * self.directions)
        self.first, self.sizes = first and not sizes, sizes

    def __call__(self, x: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The outputs and the last states, by the weights and the first states."""
        weights, states = tensors[: self.weights], tensors[self.weights :]
        x = x.transpose(0, 1) if self.first else x
        steps = list(x.split(self.sizes) if self.sizes else x.unbind(0))
        last: list[list[Tensor]] = []
        for layer in range(self.layers):
            beside = []
            for direction in range(self.directions):
                place = layer * self.directions + direction
                own = weights[place * self.each : (place + 1) * self.each]
                found, state = self._through(steps, [s[place] for s in states], own, direction == 1)
                beside.append(found)
                last.append(state)
            steps = [torch.cat(step, -1) if self.directions > 1 else step[0] for step in zip(*beside, strict=True)]
        out = torch.cat(steps) if self.sizes else torch.stack(steps, int(self.first))
        return out, *(torch.stack(state) for state in zip(*last, strict=True))

    def _through(
        self, steps: list[Tensor], state: list[Tensor], weights: Sequence[Tensor], reverse: bool
    ) -> tuple[list[Tensor], list[Tensor]]:
        """One layer in one direction: its outputs, and the state that each sequence ends with."""
        w_ih, w_hh, *rest = weights
        b_ih, b_hh = (rest[0], rest[1]) if self.biases else (None, None)
        projection = rest[2 * self.biases :]
        found = list(steps)
        for t in reversed(range(len(steps))) if reverse else range(len(steps)):
            count, (h, *cells) = len(steps[t]), state
            own, hidden = _with_bias(steps[t] @ w_ih.mT, b_ih), _with_bias(h[:count] @ w_hh.mT, b_hh)
            if self.kind == "lstm":
                new, c, _ = _lstm_cell(own + hidden, cells[0][:count])
                made = [new @ projection[0].mT if projection else new, c]
            elif self.kind == "gru":
                made = [_gru_cell(own, hidden, h[:count])[0]]
            else:
                made = [(own + hidden).tanh() if self.kind == "rnn_tanh" else (own + hidden).relu()]
            found[t] = made[0]
            # sequences that have ended keep their state, and so do those that, backwards, haven't begun
            state = [torch.cat([m, s[count:]]) if count < len(s) else m for m, s in zip(made, state, strict=True)]
        return found, state


def _recurrent(
    weight: list[Tensor], weight_stride0: int, mode: int, num_layers: int, batch_first: bool, dropout: float, train: bool,
    bidirectional: bool, batch_sizes: list[int], **_: Any,
) -> Recurrent:  # fmt: skip
    """What cuDNN runs all at once."""
    if dropout and train and num_layers > 1:
        raise NotImplementedError("what was dropped between layers isn't known")
    return Recurrent(MODES[mode], len(weight), weight_stride0 >= 4, num_layers, bidirectional, batch_first, batch_sizes)


@rule("_cudnn_rnn")
def _cudnn_rnn(
    input: Tensor, weight: list[Tensor], hx: Tensor, cx: Tensor | None, result: Any, **settings: Any
) -> list[Tensor | None]:
    """The outputs and the states; what only the backward reads, and the weights once more, are torch's own."""
    layers = _recurrent(weight, **settings)
    with counted("recurrent"):
        out, *states = layers(input, *weight, hx, *([] if cx is None or layers.kind != "lstm" else [cx]))
    return [out, *states, *outputs_of(result)[1 + len(states) :]]


@rule("_cudnn_rnn_backward")
def _cudnn_rnn_backward(
    input: Tensor, weight: list[Tensor], hx: Tensor, cx: Tensor | None, grad_output: Tensor | None, grad_hy: Tensor | None,
    grad_cy: Tensor | None, result: Any, **settings: Any,
) -> list[Tensor | None]:  # fmt: skip
    layers = _recurrent(weight, **settings)
    states = [hx] if cx is None or layers.kind != "lstm" else [hx, cx]
    grads = [grad_output, grad_hy, grad_cy][: 1 + len(states)]
    with counted("recurrent"):
        by_x, *others = pulled(layers, [input, *weight, *states], *grads)
    by_weight, by_state = others[: len(weight)], others[len(weight) :]
    found = [by_x, *by_state, *[None] * (2 - len(by_state)), *by_weight]
    return [None if given is None else f for f, given in zip(found, outputs_of(result), strict=False)]


class _Layer(Recurrent):
    """The LSTM in one direction that oneDNN has: its states are one of many layers', and the sums of biases come first."""

    def __init__(self, mode: int, biases: bool, reverse: bool, batch_sizes: list[int]) -> None:
        if MODES[mode] != "lstm" or batch_sizes:
            raise NotImplementedError("a recurrent layer that is no LSTM, or packed sequences")
        super().__init__("lstm", 4, biases, 1, False, False, [])
        self.reverse = reverse

    def __call__(self, x: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        w_ih, w_hh, b_ih, b_hh, *states = tensors
        biases = [b_ih + b_hh, torch.zeros_like(b_hh)] if self.biases else []
        flat = [s.reshape(x.shape[1], -1) for s in states]
        found, state = self._through(list(x.unbind(0)), flat, [w_ih, w_hh, *biases], self.reverse)
        return torch.stack(found), *state


@rule("mkldnn_rnn_layer")
def _rnn_layer(
    input: Tensor, weight0: Tensor, weight1: Tensor, weight2: Tensor, weight3: Tensor, hx_: Tensor, cx_: Tensor, reverse: bool,
    batch_sizes: list[int], mode: int, has_biases: bool, result: Any,
) -> tuple[Tensor, ...]:  # fmt: skip
    layer = _Layer(mode, has_biases, reverse, batch_sizes)
    out, h, c = layer(input, weight0, weight1, weight2, weight3, hx_, cx_)
    return out, h.reshape(result[1].shape), c.reshape(result[2].shape), number(result[3])


@rule("mkldnn_rnn_layer_backward")
def _rnn_layer_backward(
    input: Tensor, weight1: Tensor, weight2: Tensor, weight3: Tensor, weight4: Tensor, hx_: Tensor, cx_tmp: Tensor,
    grad_output: Tensor | None, grad_hy: Tensor | None, grad_cy: Tensor | None, reverse: bool, mode: int, has_biases: bool,
    batch_sizes: list[int], result: Any,
) -> list[Tensor]:  # fmt: skip
    layer = _Layer(mode, has_biases, reverse, batch_sizes)
    inputs = [input, weight1, weight2, weight3, weight4, hx_, cx_tmp]
    steps, batch = input.shape[:2]
    shapes = ((grad_output, (steps, batch, -1)), (grad_hy, (batch, -1)), (grad_cy, (batch, -1)))
    found = pulled(layer, inputs, *(None if g is None else g.reshape(shape) for g, shape in shapes))
    return [f.reshape(r.shape) for f, r in zip(found, result, strict=True)]


@rule("_thnn_fused_lstm_cell")
def _fused_lstm(
    input_gates: Tensor, hidden_gates: Tensor, cx: Tensor, input_bias: Tensor | None, hidden_bias: Tensor | None, result: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """The states, and the gates, which the backward reads."""
    h, c, gates = _lstm_cell(_with_bias(input_gates, input_bias) + _with_bias(hidden_gates, hidden_bias), cx)
    return h, c, torch.cat(gates, 1).reshape(result[2].shape)


@rule("_thnn_fused_lstm_cell_backward_impl")
def _fused_lstm_backward(
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
def _fused_gru(
    input_gates: Tensor, hidden_gates: Tensor, hx: Tensor, input_bias: Tensor | None, hidden_bias: Tensor | None, result: Any
) -> tuple[Tensor, Tensor]:
    """The state, and what the backward reads."""
    h, kept = _gru_cell(_with_bias(input_gates, input_bias), _with_bias(hidden_gates, hidden_bias), hx)
    return h, torch.cat(kept, 1).reshape(result[1].shape)


@rule("_thnn_fused_gru_cell_backward")
def _fused_gru_backward(grad_hy: Tensor, workspace: Tensor, has_bias: bool) -> tuple[Tensor | None, ...]:
    r, z, n, h, state = workspace.reshape(len(grad_hy), -1).chunk(5, 1)
    by_n = grad_hy * (1 - z) * (1 - n * n)
    by_r, by_z = by_n * state * (1 - r) * r, grad_hy * (h - n) * (1 - z) * z
    own, hidden = torch.cat([by_r, by_z, by_n], 1), torch.cat([by_r, by_z, by_n * r], 1)
    return own, hidden, grad_hy * z, own.sum(0) if has_bias else None, hidden.sum(0) if has_bias else None


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

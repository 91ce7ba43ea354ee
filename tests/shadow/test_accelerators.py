"""Rules of operations that only accelerators have, called as they call them: what torch makes of the same on the CPU is the
other side."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gradcheck_cli.shadow.rules import RULES

F64 = torch.float64


def ruled(name: str, **arguments: Any) -> Any:
    """What a rule makes of an operation's arguments."""
    return RULES[name].function(**RULES[name].chosen(arguments))


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(sum(shape))).requires_grad_()


def near(found: Any, wanted: Any) -> bool:
    """Whether all of several tensors are, to the last bits."""
    return all(torch.allclose(a, b, rtol=1e-12, atol=1e-13) for a, b in zip(found, wanted, strict=True))


LAYERS = {
    "rnn_relu": (nn.RNN, {"nonlinearity": "relu"}, 0), "rnn_tanh": (nn.RNN, {}, 1),
    "lstm": (nn.LSTM, {}, 2), "gru": (nn.GRU, {}, 3), "two layers": (nn.GRU, {"num_layers": 2}, 3),
    "both ways": (nn.LSTM, {"bidirectional": True, "num_layers": 2}, 2), "without biases": (nn.LSTM, {"bias": False}, 2),
    "batch first": (nn.GRU, {"batch_first": True}, 3), "projected": (nn.LSTM, {"proj_size": 3, "num_layers": 2}, 2),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("packed", [False, True])
def test_all_recurrent_layers_at_once(name: str, packed: bool) -> None:
    """Outputs, states and every gradient are those of torch's own layers."""
    made, given, mode = LAYERS[name]
    torch.manual_seed(0)
    layer = made(3, 4, dtype=F64, **given)
    several, first = layer.num_layers * (1 + layer.bidirectional), bool(layer.batch_first)
    x, states = drawn(5, 2, 3), [drawn(several, 2, layer.proj_size or 4), drawn(several, 2, 4)][: 2 if mode == 2 else 1]
    state: Any = tuple(states) if mode == 2 else states[0]
    data, sizes = x, []
    if packed:
        sequence = nn.utils.rnn.pack_padded_sequence(x, [5, 3], batch_first=False)
        data, sizes = sequence.data.detach().requires_grad_(), sequence.batch_sizes.tolist()
        sequence = nn.utils.rnn.PackedSequence(data, sequence.batch_sizes)
        out, last = layer(sequence, state)
        out, first = out.data, False
    else:
        data = x.transpose(0, 1).detach().requires_grad_() if first else x
        out, last = layer(data, state)
    wanted = [out, *(last if mode == 2 else [last])]
    leaves, grads = [data, *layer.parameters(), *states], [drawn(*y.shape) for y in wanted]
    slopes = torch.autograd.grad(wanted, leaves, grads)
    arguments = {
        "input": data, "weight": list(layer.parameters()), "weight_stride0": 4 if layer.bias else 2, "weight_buf": None,
        "hx": states[0], "cx": states[1] if mode == 2 else None, "mode": mode, "hidden_size": 4, "proj_size": layer.proj_size,
        "num_layers": layer.num_layers, "batch_first": first, "dropout": 0.0, "train": True,
        "bidirectional": layer.bidirectional, "batch_sizes": sizes, "dropout_state": None,
    }  # fmt: skip
    beside = [torch.empty(0)] * (2 - len(states))  # no second state, what the backward reads, the weights
    with torch.no_grad():
        found = ruled("_cudnn_rnn", **arguments, result=(*wanted, *beside, torch.empty(0), torch.empty(0)))
        assert near(found[: len(wanted)], wanted)
        by_weight = [*slopes[1 : 1 + len(arguments["weight"])]]
        by_state = [*slopes[1 + len(by_weight) :], *[None] * (2 - len(states))]
        back = dict(zip(("grad_output", "grad_hy", "grad_cy"), [*grads, None], strict=False))
        found = ruled("_cudnn_rnn_backward", **arguments, **back, result=(slopes[0], *by_state, by_weight))
    assert near([f for f in found if f is not None], [slopes[0], *slopes[1 + len(by_weight) :], *by_weight])


@pytest.mark.parametrize("biases", [True, False])
def test_an_lstm_cell_and_its_gradients(biases: bool) -> None:
    """As `nn.LSTMCell` has them, whose gates are made of simple operations on the CPU."""
    cell = nn.LSTMCell(3, 4, bias=biases, dtype=F64)
    x, h, c = drawn(2, 3), drawn(2, 4), drawn(2, 4)
    own, hidden = ((y @ w.mT).detach().requires_grad_() for y, w in ((x, cell.weight_ih), (h, cell.weight_hh)))
    gates = dict(zip(("input_bias", "hidden_bias"), (cell.bias_ih, cell.bias_hh), strict=True))
    wanted = cell(x, (h, c))
    with torch.no_grad():
        found = ruled(
            "_thnn_fused_lstm_cell",
            input_gates=own,
            hidden_gates=hidden,
            cx=c,
            **gates,
            result=(None, None, torch.empty(2, 16)),
        )
    assert near(found[:2], wanted)
    leaves = [cell.weight_ih, c, *([cell.bias_ih] if biases else [])]
    by_h, by_c = drawn(2, 4), drawn(2, 4)
    slopes = torch.autograd.grad(wanted, leaves, (by_h, by_c))
    with torch.no_grad():
        by_gates, by_cell, by_bias = ruled(
            "_thnn_fused_lstm_cell_backward_impl", grad_hy=by_h, grad_cy=by_c, cx=c, cy=found[1], workspace=found[2],
            has_bias=biases,
        )  # fmt: skip
    assert near([by_gates.mT @ x, by_cell, *([by_bias] if biases else [])], slopes)


@pytest.mark.parametrize("biases", [True, False])
def test_a_gru_cell_and_its_gradients(biases: bool) -> None:
    """As `nn.GRUCell` has them."""
    cell = nn.GRUCell(3, 4, bias=biases, dtype=F64)
    x, h = drawn(2, 3), drawn(2, 4)
    own, hidden = ((y @ w.mT).detach() for y, w in ((x, cell.weight_ih), (h, cell.weight_hh)))
    wanted = cell(x, h)
    with torch.no_grad():
        y, kept = ruled(
            "_thnn_fused_gru_cell", input_gates=own, hidden_gates=hidden, hx=h, input_bias=cell.bias_ih,
            hidden_bias=cell.bias_hh, result=(None, torch.empty(2, 20)),
        )  # fmt: skip
    assert near([y], [wanted])
    upstream = drawn(2, 4)
    slopes = torch.autograd.grad(wanted, [h, *cell.parameters()], upstream)
    with torch.no_grad():
        by_own, by_hidden, by_h, *by_biases = ruled(
            "_thnn_fused_gru_cell_backward", grad_hy=upstream, workspace=kept, has_bias=biases, result=None
        )
        found = [by_h + by_hidden @ cell.weight_hh, by_own.mT @ x, by_hidden.mT @ h, *(by_biases if biases else [])]
    assert near(found, slopes)


def test_the_kernels_of_attention() -> None:
    """One rule for all of them: causal, with a mask that is differentiated by, with a scale, with sums that are padded."""
    q, k, v, mask = drawn(1, 2, 3, 4), drawn(1, 2, 3, 4), drawn(1, 2, 3, 4), drawn(1, 2, 3, 3)
    run = nn.functional.scaled_dot_product_attention
    for name, bias, causal in (("efficient", mask, False), ("flash", None, True), ("cudnn", None, True)):
        settings = {"dropout_p": 0.0, "is_causal": causal, "scale": 0.3, "attn_bias": bias}
        wanted = run(q, k, v, bias, is_causal=causal, scale=0.3)
        leaves = [q, k, v, *([] if bias is None else [bias])]
        upstream = drawn(1, 2, 3, 4)
        slopes = torch.autograd.grad(wanted, leaves, upstream)
        with torch.no_grad():
            kept = torch.empty(1, 2, 32 if bias is not None else 3)
            y, sums = ruled(f"_scaled_dot_product_{name}_attention", query=q, key=k, value=v, **settings, result=(wanted, kept))
            found = ruled(
                f"_scaled_dot_product_{name}_attention_backward", query=q, key=k, value=v, grad_out=upstream, result=slopes,
                **settings,
            )  # fmt: skip
        assert near([y], [wanted]) and near(found, slopes) and sums.shape == kept.shape


def test_what_a_kernel_dropped_is_not_known() -> None:
    """The rule refuses it."""
    q = drawn(1, 2, 3, 4)
    with pytest.raises(NotImplementedError, match="dropped"):
        ruled(
            "_scaled_dot_product_flash_attention",
            query=q,
            key=q,
            value=q,
            dropout_p=0.5,
            is_causal=False,
            scale=None,
            result=(q, q),
        )


def test_cudnn_samples_between_corners() -> None:
    """Bilinear, zero outside, corners aligned."""
    x, grid = drawn(1, 2, 4, 5), (0.4 * drawn(1, 3, 3, 2)).detach().requires_grad_()
    wanted = nn.functional.grid_sample(x, grid, align_corners=True)
    slopes = torch.autograd.grad(wanted, [x, grid], torch.ones_like(wanted))
    with torch.no_grad():
        assert near([RULES["cudnn_grid_sampler"].function(x, grid)], [wanted])
        assert near(RULES["cudnn_grid_sampler_backward"].function(x, grid, torch.ones_like(wanted)), slopes)


def test_cudnn_aligns_sequences() -> None:
    """The loss, and the gradient by what a log_softmax made: what torch's own operation has."""
    x = drawn(6, 2, 4).log_softmax(-1).detach().requires_grad_()
    targets, frames, lengths = torch.tensor([1, 2, 3, 3]), [6, 5], [3, 1]
    wanted = nn.functional.ctc_loss(x, targets, frames, lengths, reduction="none")
    (slopes,) = torch.autograd.grad(wanted, x, torch.ones(2, dtype=F64))
    with torch.no_grad():
        found = ruled(
            "_cudnn_ctc_loss", log_probs=x, targets=targets, input_lengths=frames, target_lengths=lengths, blank=0,
            zero_infinity=False, result=(wanted, slopes),
        )  # fmt: skip
    assert near(found, [wanted, slopes])

"""On a device other than the CPU: an accelerator where there is one, else a second device that is made here.

`make test-device` runs these; they take a compiler, or an accelerator, and a minute.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gradcheck_cli import check_chain, check_function, check_grad, check_model, gradcheck
from gradcheck_cli.verdict.report import Report
from tests.custom_functions.elementwise import tripled_sine
from tests.device import NAME, load

if not os.environ.get("GRADCHECK_TEST_DEVICE"):
    pytest.skip("make test-device", allow_module_level=True)


@pytest.fixture(scope="module")
def device() -> str:
    if torch.accelerator.is_available():
        accelerator = torch.accelerator.current_accelerator()
        assert accelerator is not None
        return accelerator.type
    return load()


FORMATS = pytest.mark.parametrize("dtype", ["float64", "float32"])

Check = Callable[..., Report]


def last(x: Tensor) -> Tensor:
    """Two indices, both of the second entry."""
    return torch.tensor([1, 1], device=x.device)


def spelt(x: Tensor) -> Tensor:
    targets = torch.tensor([[1, 2, 1]], device=x.device)
    return torch.nn.functional.ctc_loss(x.log_softmax(-1), targets, torch.tensor([5]), torch.tensor([3]))


CHECKS: dict[str, Check] = {
    "chain": lambda **o: check_chain(["2*x", "z**2 + sin(z)"], at="x=1", **o),
    "array": lambda **o: check_grad("sum(exp(x)*softmax(x))", at="x=[1,2,3]", **o),
    "many points": lambda **o: check_grad("exp(x)*sin(x)", at="x=linspace(0,1,2000)", **o),
    "function": lambda **o: check_function(lambda a, b: torch.tanh(a @ b), at={"a": [[0.5, -1]], "b": [0.25, 2]}, **o),
    "forward": lambda **o: check_function("torch:sin", mode="all", **o),
    "second order": lambda **o: check_function("torch:sin", order=2, **o),
    "draws": lambda **o: check_function(lambda x: torch.nn.functional.dropout(x, 0.4) * torch.rand_like(x), **o),
    "in place": lambda **o: check_function(lambda x: x.clone().mul_(2).sin_(), **o),
    "views": lambda **o: check_function(lambda x: x.view(3, 1).T[0, 1:].exp(), at={"x": [1, 2, 3]}, **o),
    "indices": lambda **o: check_function(
        lambda x: x[x > 1].sort()[0].cumsum(0).index_add(0, last(x), x[:2]), at={"x": [1.5, 2, 3]}, **o
    ),
    "complex": lambda **o: check_function(lambda x: torch.fft.fft(x).abs(), at={"x": [1, 2, 4]}, **o),
    "lengths on the CPU": lambda **o: check_function(spelt, shape={"x": (5, 1, 4)}, **o),
    "network": lambda **o: check_model("Linear(3, 4) | BatchNorm1d(4) | ReLU | Dropout(0.4) | Linear(4, 2)", train=True, **o),
    "attention that drops": lambda **o: check_model("TransformerEncoderLayer(4, 2, 6)", input="2,3,4", train=True, **o),
    "attention": lambda **o: check_model("TransformerEncoderLayer(4, 2, 6)", input="3,4", **o),
    "embedding": lambda **o: check_model("Embedding(5, 3) | Linear(3, 2)", **o),
}


@FORMATS
@pytest.mark.parametrize("name", CHECKS)
def test_the_same_as_on_the_cpu(name: str, dtype: str, device: str) -> None:
    """Certified there, nothing left open, and the exact numbers are those of the same point on the CPU."""
    there, here = (CHECKS[name](dtype=dtype, device=d) for d in (device, "cpu"))
    assert there.verdict in ("match", "imprecise"), str(there)
    assert not any("could not be followed" in note for note in there.notes)
    if name not in (
        "draws",
        "network",
        "attention",
        "attention that drops",
        "recurrent",
        "gated",
    ):  # another generator draws there, other operations run
        assert [c.quantity for c in there.checks] == [c.quantity for c in here.checks]
        assert [c.exact for c in there.checks] == [c.exact for c in here.checks]


LAYERS: dict[str, Check] = {
    "recurrent": lambda **o: check_model("LSTM(3, 2, 2, bidirectional=True)", input="3,2,3", train=True, **o),
    "gated": lambda **o: check_model("GRU(3, 2)", input="3,2,3", train=True, **o),
}


@FORMATS
@pytest.mark.parametrize("name", LAYERS)
def test_recurrent_layers(name: str, dtype: str, device: str) -> None:
    """Certified, by the kernels that an accelerator has for them."""
    if device == NAME:
        pytest.skip("the second device has no such kernels: tests/shadow/kernels.py")
    report = LAYERS[name](dtype=dtype, device=device)
    assert report.verdict in ("match", "imprecise"), str(report)
    assert not any("could not be followed" in note for note in report.notes)


@FORMATS
def test_a_wrong_backward(dtype: str, device: str) -> None:
    """It is refuted, and named."""
    report = check_function(tripled_sine, dtype=dtype, device=device)
    assert {c.cause for c in report.checks if c.verdict == "mismatch"} == {"formula"}
    assert "autograd is 3 times exact" in str(report)


def test_memory_behind_torch(device: str) -> None:
    """What is written to the device's memory by no operation is seen there too."""

    def written(x: Tensor) -> Tensor:
        y = x * 2
        y.untyped_storage().copy_((x.detach() * 3).untyped_storage())
        return y.sin()

    report = check_function(written, at={"x": [0.5, 1.0]}, device=device)
    assert report.verdict in ("mismatch", "undecided"), str(report)


def test_the_generator(device: str) -> None:
    """It is left as it was."""
    module: Any = torch.get_device_module(device)
    before = module.default_generators[0].get_state()
    check_function(lambda x: x * torch.rand_like(x), device=device)
    assert torch.equal(module.default_generators[0].get_state(), before)


def test_the_drop_in(device: str) -> None:
    """Tensors on the device: right is taken, wrong refused."""
    x = torch.tensor([0.5, 1.0], dtype=torch.float64, device=device, requires_grad=True)
    assert gradcheck(torch.sin, x)
    assert not gradcheck(tripled_sine, x, raise_exception=False)

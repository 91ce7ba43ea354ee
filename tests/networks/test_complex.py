"""Networks of complex numbers: weights, inputs and what layers return are judged by their parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from gradcheck_cli import check_model
from gradcheck_cli.verdict.verdicts import Verdict

C128 = torch.complex128


class Planes(nn.Module):
    """A complex matrix whose parts are parameters of these names."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.real, self.imag = (nn.Parameter(torch.randn(outputs, inputs)) for _ in range(2))

    def forward(self, z: Tensor) -> Tensor:
        return z @ torch.complex(self.real, self.imag).mT


class Split(nn.Module):
    """ReLU of both parts, as most complex networks have it."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.complex(z.real.relu(), z.imag.relu())


class Size(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return z.abs()


class Spectral(nn.Module):
    """A layer of a Fourier neural operator: weights are complex, inputs are not."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 3, 4, dtype=torch.complex64))
        self.bypass = nn.Conv1d(2, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        modes = torch.einsum("bix,iox->box", torch.fft.rfft(x)[..., :4], self.weight)
        padded = nn.functional.pad(modes, (0, x.shape[-1] // 2 + 1 - 4))
        return nn.functional.gelu(torch.fft.irfft(padded, n=x.shape[-1]) + self.bypass(x))


def times(gradient: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]) -> type[nn.Module]:
    """A layer z*w with this backward."""

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, z: Tensor, w: Tensor) -> Tensor:
            ctx.save_for_backward(z, w)
            return z * w

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            return gradient(g, *ctx.saved_tensors)

    class Times(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.randn(3, dtype=C128))

        def forward(self, z: Tensor) -> Tensor:
            return Product.apply(z, self.w)  # type: ignore[no-any-return]

    return Times


def linear(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, dtype=C128)


RIGHT: dict[str, tuple[Callable[[], nn.Module], dict[str, Any]]] = {
    "layers of torch": (lambda: nn.Sequential(linear(3, 4), nn.Tanh(), linear(4, 2), Size()), {"input": (2, 3)}),
    "split": (lambda: nn.Sequential(linear(3, 4), Split(), linear(4, 2)), {}),
    "parts by name": (lambda: nn.Sequential(Planes(3, 4), nn.Tanh(), Planes(4, 2)).double(), {"input": (3,)}),
    "a convolution": (lambda: nn.Sequential(nn.Conv1d(2, 3, 2, dtype=C128), nn.Sigmoid()), {"input": (1, 2, 4)}),
    "a real input": (Spectral, {"input": (2, 2, 8), "dtype": "float64"}),
    "a backward of its own": (times(lambda g, z, w: (g * w.conj(), g * z.conj())), {"input": (3,)}),
}

WRONG = {
    "a conjugate is forgotten": lambda g, z, w: (g * w.conj(), g * z),
    "the gradient is conjugated": lambda g, z, w: ((g * w.conj()).conj(), g * z.conj()),
    "": lambda g, z, w: (g * w.conj(), torch.complex((g * z.conj()).real, (g * z.conj()).imag * (1 + 1e-9))),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_networks(name: str) -> None:
    """Every layer, every weight and the input match, their imaginary parts too; torch's own finite differences agree."""
    make, options = RIGHT[name]
    torch.manual_seed(0)
    network = make()
    report = check_model(network, **options)
    assert {c.verdict for c in report.checks} <= {Verdict.MATCH, Verdict.IMPRECISE}, report
    asked = {c.wrt[-1].partition("[")[0] for c in report.checks if c.wrt}
    complexes = {n for n, p in network.named_parameters() if p.is_complex()}
    assert {f"{n}.{part}" for n in complexes for part in ("real", "imag")} <= asked
    wide = {n: p.detach().to(C128 if p.is_complex() else torch.float64).requires_grad_() for n, p in network.named_parameters()}
    shape = report.problem["inputs"]["input" if isinstance(network, nn.Sequential) else next(iter(report.problem["inputs"]))]
    x = torch.randn(shape, dtype=torch.float64 if name == "a real input" else C128)
    assert torch.autograd.gradcheck(
        lambda *ps: functional_call(network, dict(zip(wide, ps, strict=True)), (x,)), (*wide.values(),)
    )


@pytest.mark.parametrize("said", WRONG)
@pytest.mark.parametrize("place", [0, 1])
def test_wrong_layers(said: str, place: int) -> None:
    """A layer between right ones is refuted and blamed, and a conjugate too few or too many is named."""
    torch.manual_seed(0)
    layers = [linear(3, 3), times(WRONG[said])(), nn.Tanh(), linear(3, 2)]
    layers = layers[1:] if place == 0 else layers
    report = check_model(nn.Sequential(*layers), input=(3,))
    wrong = [c for c in report.checks if c.verdict is Verdict.MISMATCH]
    assert {c.stage for c in wrong} == {f"{place} Times"}
    assert any(said in str(c.detail) for c in wrong)


def test_a_closed_form() -> None:
    """Of |w*z|**2, torch's gradients are 2*|w|**2*z and 2*|z|**2*w (Kreutz-Delgado, The complex gradient operator, 2009)."""
    network = times(lambda g, z, w: (g * w.conj(), g * z.conj()))()
    z, w = torch.tensor([1 + 2j, 3 - 1j, 0.5j], dtype=C128), torch.tensor([2 - 1j, 1j, 4 + 0.25j], dtype=C128)
    network.load_state_dict({"w": w})
    report = check_model(network, at={"z": z}, loss=lambda y: (y * y.conj()).real.sum())
    expected = {"z": 2 * w.abs() ** 2 * z, "w": 2 * z.abs() ** 2 * w}
    found = {c.wrt[0]: float(c.exact) for c in report.checks if c.of == "loss"}
    for name, gradient in expected.items():
        for i, value in enumerate(gradient.tolist()):
            assert found[f"{name}.real[{i}]"] == pytest.approx(value.real, rel=1e-14)
            assert found[f"{name}.imag[{i}]"] == pytest.approx(value.imag, rel=1e-14)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"neuron": 1}, 2 * 6),
        ({"layer": "0", "neuron": 0}, 2 * 6),
        ({"cotangent": [1 + 2j, 3]}, None),
        ({"mode": "forward"}, None),
    ],
    ids=str,
)
def test_rows_and_modes(options: dict[str, Any], count: int | None) -> None:
    """A neuron is two numbers, a cotangent may be complex, and tangents have parts too."""
    torch.manual_seed(0)
    report = check_model(nn.Sequential(linear(3, 2), nn.Tanh()), input=(3,), **options)
    assert report.verdict is Verdict.MATCH
    assert count is None or len(report.checks) == count


def test_all_formats_are_those_that_suit() -> None:
    """Of a real network the real ones, of a complex one those that torch computes with."""
    assert check_model("Linear(2, 2)", dtype="all").problem["dtype"] == ["float64", "float32", "float16", "bfloat16"]
    assert check_model(linear(2, 2), dtype="all").problem["dtype"] == ["complex128", "complex64"]


def test_a_text_in_complex_numbers() -> None:
    """--dtype complex64 makes weights and inputs complex, as Module.to does; --at may give complex numbers."""
    report = check_model("Linear(3, 2) | Tanh", dtype="complex64", at="x=[1+2j, 3, 0.5i]")
    assert report.verdict is Verdict.MATCH and report.problem["dtype"] == ["complex64"]
    assert any(note.startswith("torch's gradient by a complex ") for note in report.notes)
    assert {"0.weight.real[0,1]", "0.weight.imag[0,1]", "x.imag[2]"} <= {c.wrt[-1] for c in report.checks}

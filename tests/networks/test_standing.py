"""Networks that run again in their backward pass (activation checkpointing), are compiled, or write state while they run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from gradcheck_cli import InputError, Report, check_model
from gradcheck_cli.networks.standing import Standing, tensors
from tests.custom_functions.elementwise import tripled_sine

BOTH = pytest.mark.parametrize("reentrant", [False, True])
DTYPES = pytest.mark.parametrize("dtype", ["float64", "float32"])


class Network(nn.Module):
    """Two layers, the first in a checkpoint: `body` is what it does."""

    def __init__(self, reentrant: bool, body: Callable[[Network, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.a, self.b, self.norm = nn.Linear(2, 2), nn.Linear(2, 2), nn.BatchNorm1d(2)
        self.reentrant, self.body = reentrant, body

    def forward(self, x: Tensor) -> Tensor:
        return self.b(checkpoint(lambda t: self.body(self, t), x, use_reentrant=self.reentrant))


BODIES: dict[str, Callable[[Network, Tensor], Tensor]] = {
    "plain": lambda m, t: torch.tanh(m.a(t)),
    "dropout": lambda m, t: nn.functional.dropout(torch.tanh(m.a(t)), 0.4, True),
    "norm": lambda m, t: torch.tanh(m.a(m.norm(t))),
    "nested": lambda m, t: checkpoint(lambda u: torch.tanh(m.a(u)), t, use_reentrant=m.reentrant) * 2,
    "twice": lambda m, t: torch.tanh(m.a(m.a(t))),
}


def slopes(network: Network, x: Tensor, name: str) -> Tensor:
    """Central differences of the sum of the outputs by one of its parameters, without any checkpoint."""
    network = network.double()
    parameter = dict(network.named_parameters())[name]
    found = torch.zeros_like(parameter)
    with torch.no_grad():
        for i in range(parameter.numel()):
            values = []
            for step in (1e-5, -1e-5):
                parameter.view(-1)[i] += step
                torch.manual_seed(0)
                values.append(network.b(network.body(network, x)).sum())
                parameter.view(-1)[i] -= step
            found.view(-1)[i] = (values[0] - values[1]) / 2e-5
    return found


@pytest.mark.parametrize(
    ("body", "dtype", "reentrant"),
    [(b, d, r) for b in BODIES for d in ("float64", "float32") for r in (False, True) if d == "float64" or b != "norm"],
)
def test_checkpoints(body: str, dtype: str, reentrant: bool) -> None:
    """A checkpoint of either kind changes no gradient: every parameter's is the difference quotient of the plain network."""
    network, x = (
        Network(reentrant, BODIES[body]),
        torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2)),
    )
    report = check_model(network, input=x, dtype=dtype, train=True, cotangent="ones")
    assert report.verdict in ("match", "imprecise"), str(report)
    judged = {c.quantity: c for c in report.checks if c.quantity.startswith("d<1,y>/da.weight")}
    if body == "dropout":  # draws from a generator that the tool seeds
        assert len(judged) == 4
        return
    quotients = slopes(network, x, "a.weight").reshape(-1).tolist()
    exact = [float(c.exact) for c in judged.values()]
    assert exact == pytest.approx(quotients, rel=1e-4, abs=1e-4)


@BOTH
@DTYPES
def test_a_wrong_backward_in_a_checkpoint(reentrant: bool, dtype: str) -> None:
    """It is refused, by the input and by the parameters before it."""
    network = Network(reentrant, lambda m, t: tripled_sine(m.a(t)))
    report = check_model(network, input=(2, 2), dtype=dtype)
    wrong = Counter(c.quantity.partition("[")[0] for c in report.checks if c.verdict == "mismatch")
    assert {"d<v,y>/dx", "d<v,y>/da.weight", "d<v,y>/da.bias"} <= set(wrong)
    assert not any("b.weight" in quantity for quantity in wrong)


@BOTH
def test_sequences_of_checkpoints(reentrant: bool) -> None:
    """checkpoint_sequential, of modules that draw numbers and are called one after another."""

    class Sequence(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.parts = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Dropout(0.5), nn.Linear(3, 3))

        def forward(self, x: Tensor) -> Tensor:
            return checkpoint_sequential(self.parts, 2, x, use_reentrant=reentrant)

    report = check_model(Sequence(), input=(2, 3), train=True)
    assert report.verdict == "match", str(report)


def test_a_layer_within_a_reentrant_checkpoint() -> None:
    """It has no place in the graph: it is judged by itself, and asking for its output in its place is an error that says so."""
    network = Network(True, BODIES["plain"])
    assert not any("da.output" in c.quantity for c in check_model(network, input=(2, 2)).checks)
    with pytest.raises(InputError, match="activation checkpointing"):
        check_model(network, input=(2, 2), layer="a")


def test_a_checked_network_is_left_alone() -> None:
    """Its own parameters and buffers, statistics included, are where and what they were; no gradient is left."""
    network = Network(True, BODIES["norm"])  # whose statistics training changes
    before = {name: (t, t.clone()) for name, t in tensors(network).items()}
    check_model(network, input=(4, 2), dtype="float64", train=True)
    after = tensors(network)
    assert all(after[name] is t and torch.equal(t, copy) and t.grad is None for name, (t, copy) in before.items())


def test_tied_parameters_stay_tied() -> None:
    """What stands in for a tensor stands in all of its places."""
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    network[1].weight = network[0].weight
    other = torch.zeros(2, 2)
    same = Standing(network).call(network, {"0.weight": other}, lambda: network[0].weight is network[1].weight is other)
    assert same
    assert network[0].weight is network[1].weight is not other


@BOTH
@DTYPES
def test_hooks_that_look(dtype: str, reentrant: bool) -> None:
    """A hook that changes nothing is no fault, in a checkpoint, and of a parameter whose format is shorter than the check's."""
    network = Network(reentrant, lambda m, t: torch.tanh(m.a(m.b(t))))
    network.b.weight.register_hook(lambda gradient: None)
    assert check_model(network, input=(2, 2), dtype=dtype).verdict == "match"


def test_a_network_that_keeps_its_inputs() -> None:
    """State that a user's module writes without gradients is no constant: torch's own check refuses that too."""

    class Cache(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("kept", torch.zeros(3))

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                nn.functional.normalize(x, dim=0, out=self.kept)
            return x * self.kept

    assert check_model(Cache(), input=(3,), dtype="float64").verdict == "mismatch"


NORMS: dict[str, Callable[[], nn.Module]] = {
    "weight_norm": lambda: parametrizations.weight_norm(nn.Linear(3, 3)),
    "spectral_norm": lambda: parametrizations.spectral_norm(nn.Linear(3, 3)),
    "spectral_norm of old": lambda: nn.utils.spectral_norm(nn.Linear(3, 3)),
    "orthogonal": lambda: parametrizations.orthogonal(nn.Linear(3, 3)),
    "batch norm": lambda: nn.BatchNorm1d(3),
    "instance norm": lambda: nn.InstanceNorm1d(3, affine=True, track_running_stats=True),
}


@DTYPES
@pytest.mark.parametrize("norm", NORMS)
def test_norms_and_parametrizations(norm: str, dtype: str) -> None:
    """In training they write buffers, or compute weights from others: right. Of spectral norm it is said that its vectors are
    constants."""
    torch.manual_seed(0)
    report = check_model(NORMS[norm](), input=(2, 3, 4) if norm == "instance norm" else (4, 3), dtype=dtype, train=True)
    assert report.verdict == "match", str(report)
    assert any("constants here" in note for note in report.notes) == norm.startswith("spectral_norm")


def test_a_wrong_parametrization() -> None:
    """A wrong backward in the computation of a weight is refused."""

    class Wrong(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return tripled_sine(weight)

    layer = nn.Linear(2, 2)
    parametrize.register_parametrization(layer, "weight", Wrong())
    report = check_model(layer, input=(2, 2))
    assert any("original" in c.quantity for c in report.checks if c.verdict == "mismatch"), str(report)


# -- compiled -----------------------------------------------------------------------------------------------------------


def _compiled() -> dict[str, nn.Module]:
    def network() -> nn.Module:
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))

    in_place, part = network(), network()
    in_place.compile(backend="eager")
    part[0] = torch.compile(part[0], backend="eager")

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = network()

        @torch.compile(backend="eager", fullgraph=True)
        def forward(self, x: Tensor) -> Tensor:
            return self.layers(x)

    return {"wrapped": torch.compile(network(), backend="eager"), "in place": in_place, "a part": part, "forward": Whole()}


@pytest.mark.parametrize("kind", ["wrapped", "in place", "a part", "forward"])
def test_compiled_networks(kind: str) -> None:
    """Whatever of a network is compiled, however, fullgraph too: every layer and the whole are judged."""
    report: Report = check_model(_compiled()[kind], input=(2, 3), dtype="float64")
    assert report.verdict == "match", str(report)
    assert len(report.checks) > 60


def test_a_compiled_gradient_is_what_is_judged() -> None:
    """A compiler whose gradient is 1 % too large is refused, within a network and alone, though the function as written is
    right."""

    def backend(graph: Any, examples: Any) -> Callable[..., Any]:
        class Larger(Function):
            @staticmethod
            def forward(ctx: Any, x: Tensor) -> Tensor:
                return x.clone()

            @staticmethod
            def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
                return 1.01 * gradient

        return lambda *arguments: tuple(Larger.apply(y) for y in graph(*arguments))

    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.f = nn.Linear(3, 2), torch.compile(lambda t: t.sin() * t, backend=backend)

        def forward(self, x: Tensor) -> Tensor:
            return self.f(self.a(x))

    report = check_model(Part(), input=(3,), dtype="float64")
    wrong = {c.quantity.partition("[")[0] for c in report.checks if c.verdict == "mismatch"}
    assert {"d<v,y>/dx", "d<v,y>/da.weight", "d<v,y>/da.bias"} <= wrong

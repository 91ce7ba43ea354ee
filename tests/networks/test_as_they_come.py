"""Networks as people write them: what they take and return, packed sequences, layers within torch.func, lazy layers. Right ones
are certified, by differences of the plain network too; of wrong ones the backward, or the hook, is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gradcheck_cli import InputError, check_model


def some(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


class Doubled(Function):
    """Twice as much, whose backward forgets it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g


def plain(x: Tensor) -> Tensor:
    return x * 2


@dataclass
class Returned:
    logits: Tensor
    hidden: Any


class Network(nn.Module):
    """A linear layer, and what a case makes of it; `f` doubles."""

    f: Callable[[Tensor], Tensor]

    def __init__(self, f: Callable[[Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.f = f
        self.l = nn.Linear(3, 2)
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.double()


class Structured(Network):
    def forward(self, x: Tensor) -> Returned:
        h = self.f(self.l(x))
        return Returned(h.tanh(), {"first": h[0], "none": None})


class Nested(Network):
    def forward(self, batch: dict[str, Any]) -> Tensor:
        return F.cross_entropy(self.f(self.l(batch["x"])), batch["more"][0])


class Set(Network):
    def forward(self, x: Tensor, *, scale: float, mask: Tensor) -> Tensor:
        return self.f(self.l(x)) * scale * mask


class Packed(Network):
    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        steps = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        outputs = pad_packed_sequence(self.rnn(steps)[0], batch_first=True)[0]
        return self.l(self.f(outputs))  # type: ignore[no-any-return]


class Mapped(Network):
    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = torch.func.vmap(torch.func.grad(lambda t: self.f(self.l(t)).tanh().sum()))(x)
        return found


class Batched(Network):
    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = torch.func.vmap(lambda t: self.f(self.l(t)))(x)
        return found


class Lazy(Network):
    def forward(self, x: Tensor) -> Tensor:
        return self.f(self.l(self.lazy(x)))  # type: ignore[no-any-return]


LENGTHS = torch.tensor([2, 3, 1])

CASES: dict[str, tuple[Callable[[Callable[[Tensor], Tensor]], Network], dict[str, Any]]] = {
    "a dataclass comes out": (lambda f: Structured(f), {"at": {"x": some(2, 3)}}),
    "a dictionary goes in": (lambda f: Nested(f), {"at": {"batch": {"x": some(2, 3), "more": (torch.tensor([0, 1]),)}}}),
    "set": (lambda f: Set(f), {"at": {"x": some(2, 3)}, "settings": {"scale": 0.5, "mask": torch.tensor([1.0, 0.0])}}),
    "packed": (
        lambda f: Packed(f, rnn=nn.GRU(1, 3, batch_first=True)),
        {"at": {"x": some(3, 3, 1), "lengths": LENGTHS}},
    ),
    "vmap": (lambda f: Batched(f), {"at": {"x": some(2, 3)}}),
    "lazy": (lambda f: Lazy(f, lazy=nn.LazyLinear(3)), {"at": {"x": some(2, 4)}}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_right_and_wrong(name: str) -> None:
    """What a right network's weights have for a gradient is what differences of its plain run say; with a wrong backward in the
    same place its name and its factor are told."""
    made, options = CASES[name]
    network = made(plain)
    report = check_model(network, cotangent="ones" if name != "a dictionary goes in" else None, **options)
    assert report.verdict == "match", str(report)
    assert not any("could not be followed" in note for note in report.notes)
    exact = {c.quantity: float(c.exact) for c in report.checks if c.wrt and c.wrt[0].startswith("l.bias")}
    (arguments,) = [tuple(options["at"].values())]
    for i in range(2):
        values = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                network.l.bias[i] += step
                returned = network(*arguments, **options.get("settings", {}))
                network.l.bias[i] -= step
            both = [returned.logits, returned.hidden["first"]] if isinstance(returned, Returned) else [returned]
            values.append(sum(float(y.sum()) for y in both))
        slope = (values[0] - values[1]) / 2e-6
        found = next(v for q, v in exact.items() if q.endswith(f"l.bias[{i}]") and not q.startswith("d<v,l>"))
        assert found == pytest.approx(slope, rel=1e-6, abs=1e-8)
    wrong = check_model(made(Doubled.apply), **options)
    assert wrong.verdict == "mismatch"
    told = {c.detail for c in wrong.checks if c.verdict == "mismatch"}
    assert all(str(text).startswith("the backward of Doubled") or name == "vmap" for text in told)


def test_grad_of_a_layer() -> None:
    """Derivatives of layers within torch.func are judged with what is around them: the layer has no row of its own."""
    report = check_model(Mapped(plain), at={"x": some(2, 3)})
    assert report.verdict == "match", str(report)
    assert {str(c.wrt[0]).partition("[")[0] for c in report.checks} == {"x", "l.weight", "l.bias"}


def test_hooks_of_a_network() -> None:
    """A hook that halves what passes, in the code of the network itself."""

    class Hooked(Network):
        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.l(x)
            if y.requires_grad:
                y.register_hook(lambda g: g / 2)
            return y.tanh()

    report = check_model(Hooked(plain), at={"x": some(2, 3)})
    told = {c.detail for c in report.checks if c.verdict == "mismatch"}
    line = Hooked.forward.__code__.co_firstlineno + 3
    assert told == {f"without the hook on a gradient (test_as_they_come.py, line {line}) autograd's value is the derivative"}


def test_what_has_no_place() -> None:
    """A setting that forward doesn't have is told with those that it has."""
    with pytest.raises(InputError, match=r"'size' is not a parameter of the network's forward \(it has x, scale, mask\)"):
        check_model(Set(plain), settings="size=2")


def test_wrappers_that_hand_on() -> None:
    """DataParallel and averaged models take whatever they are given, under the place of their one input."""
    for wrapper in (nn.DataParallel, torch.optim.swa_utils.AveragedModel):
        report = check_model(wrapper(nn.Sequential(nn.Linear(3, 2), nn.Tanh()).double()), input="2,3")
        assert report.verdict == "match", str(report)
        assert any(str(c.wrt[0]).startswith("x[") for c in report.checks)


def test_a_scripted_network() -> None:
    """Hooks have no place in it: one line says so."""
    with pytest.raises(InputError, match="nobody can look into a scripted network"):
        check_model(torch.jit.script(nn.Linear(2, 2)), input="2,2")

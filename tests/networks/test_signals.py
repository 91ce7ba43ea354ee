"""What comes through a network: infinities on the way up, nothing on the way down; told once, verdicts as they are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gradcheck_cli import InputError, Report, check_function, check_model


class Squared(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x


class Dead(nn.Module):
    """The weights are 1 and the bias -9: the ReLU gets 1 + 1 - 9 and less; beside it goes a skip connection."""

    def __init__(self, skip: bool) -> None:
        super().__init__()
        self.first, self.act, self.last, self.skip = nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1), skip
        nn.init.ones_(self.first.weight)
        nn.init.constant_(self.first.bias, -9.0)

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.first(x))
        return self.last(h + x if self.skip else h)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(torch.tanh(self.line(x)))


def notes(report: Report, word: str) -> list[str]:
    return [note for note in report.notes if word in note]


def test_a_value_that_overflows_is_told() -> None:
    """1e30 squared is 1e60, which float32 doesn't hold; softplus of 1000 is 1000, though log(1 + exp(1000)) is inf. The
    gradients are right all the same, and one note tells of each output."""
    report = check_model(nn.Sequential(Squared(), nn.Linear(2, 2)), at={"input": torch.tensor([[1e30, 2.0]])})
    assert report.ok
    (first, last) = notes(report, "in exact arithmetic")
    assert first.startswith("0.output[0,0] is inf, and 1.00000e+60 in exact arithmetic: too large for float32 (1 of 2")
    assert last.startswith("y[0,0] is ")
    report = check_function(lambda x: torch.log(1 + torch.exp(x)).detach() + 0 * x, at={"x": 1000.0}, stop_gradients=True)
    assert notes(report, "y is inf, and 1000.00 in exact arithmetic: an overflow on the way")


def test_a_layer_that_received_an_infinity_is_outside_of_its_domain() -> None:
    """Whatever the layer: tanh has a limit there, a product none; the text says what it received."""
    net = nn.Sequential(Squared(), nn.Tanh(), nn.Sigmoid(), nn.Linear(2, 2))
    report = check_model(net, at={"input": torch.tensor([[1e30, 2.0]])})
    received = [c for c in report.checks if c.kind == "local" and "received" in (c.detail or "")]
    assert {c.verdict.value for c in received} == {"outside_domain"} and "1.input" in str(received[0].detail)
    assert "undecided" not in report.counts


@pytest.mark.parametrize("skip", [False, True])
def test_a_layer_that_passes_nothing_on_is_named(skip: bool) -> None:
    """Whether there is a way around it or not: it is the layer whose own sources get nothing."""
    report = check_model(Dead(skip), at={"x": torch.ones(1, 2)})
    (note,) = notes(report, "passes no gradient on")
    assert note.startswith("layer act passes no gradient on") and "received no number above 0" in note
    assert report.ok


def test_a_live_network_has_no_such_note() -> None:
    """A ReLU that lets one number through is alive; and a second call of a layer is told by its name."""
    report = check_model("Linear(4, 3) | ReLU | Linear(3, 2)", seed=1)
    assert not notes(report, "passes no gradient") and not notes(report, "more than once")
    assert notes(check_model(Twice(), input=(1, 2)), "line:2: call 2 of layer line")


def test_what_is_typed_for_a_neuron_is_completed() -> None:
    """Of a batch of one: 1 is meant for 0,1; and sizes may be written with an x."""
    with pytest.raises(InputError, match="did you mean 0,1"):
        check_model("Linear(3, 2)", input="1x3", neuron=1)

"""Networks that cut their own graph, or hang hooks on gradients, and mean it: nothing is wrong where all that is differentiated
by is right, and all that is wrong is told where it isn't."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gradcheck_cli import check_model
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.verdicts import Verdict


def iterated(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    for _ in range(11):
        x = function(x)
    return x


class Equilibrium(nn.Module):
    """z = tanh(W z + b + x), with the gradient of the implicit function theorem by a hook (Bai, Kolter, Koltun, Deep
    Equilibrium Models, 2019, as tutorials have it). `hook`: what is made of the gradient; None: it is the last step's."""

    def __init__(self, hook: Callable[[Callable[[Tensor], Tensor], Tensor], Tensor] | None) -> None:
        super().__init__()
        self.cell, self.hook = nn.Linear(2, 2), hook
        with torch.no_grad():
            self.cell.weight.mul_(0.05)

    def step(self, z: Tensor, x: Tensor) -> Tensor:
        return torch.tanh(self.cell(z) + x)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            z = iterated(lambda z: self.step(z, x), torch.zeros_like(x))
        z = self.step(z, x)
        if z.requires_grad and self.hook is not None:
            own = z.detach().requires_grad_()
            again, hook = self.step(own, x), self.hook
            z.register_hook(lambda g: hook(lambda v: torch.autograd.grad(again, own, v, retain_graph=True)[0] + g, g))
        return z


def checked(hook: Any) -> Report:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 2), Equilibrium(hook), nn.Linear(2, 1)).double()
    return check_model(network, input=(2, 2))


def test_a_deep_equilibrium_is_right() -> None:
    """By its input and all parameters, certified; nothing is said of the calls that the graph doesn't lead to, and of the one
    whose gradient the hook changes, and the reader is told."""
    report = checked(iterated)
    assert report.verdict is Verdict.MATCH, str(report)
    judged = {c.wrt[0] for c in report.checks if c.of == "<v,y>" and c.wrt}
    assert {"input[0,0]", "0.weight[0,0]", "1.cell.weight[1,1]", "1.cell.bias[0]", "2.bias[0]"} <= judged
    assert not any(name.startswith("1.cell:4.output") for name in judged)
    assert any("the code cuts the graph" in note and "1.cell" in note for note in report.notes)


@pytest.mark.parametrize("hook", [None, lambda function, g: function(g)])
def test_a_wrong_one_is_found(hook: Any) -> None:
    """No hook, or one step instead of a fixed point: parameters before it are wrong, and no note says otherwise."""
    report = checked(hook)
    wrong = {str(c.wrt[0]).partition("[")[0] for c in report.checks if c.verdict is Verdict.MISMATCH and c.wrt}
    assert {"0.weight", "1.cell.weight", "input"} <= wrong
    assert not any("all that is differentiated by is right" in note for note in report.notes)


class Frozen(nn.Module):
    """A trained part that isn't trained here."""

    def __init__(self) -> None:
        super().__init__()
        self.part, self.head = nn.Linear(3, 3).requires_grad_(False), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            h = torch.tanh(self.part(x))
        return self.head(h)


def test_a_part_that_is_not_trained() -> None:
    """Under no_grad(): by parameters all is right; by the input there is no gradient, which is told."""
    report = check_model(Frozen().double(), input=(2, 3), wrt="parameters")
    assert report.verdict is Verdict.MATCH, str(report)
    wrong = [c for c in check_model(Frozen().double(), input=(2, 3)).checks if c.verdict is Verdict.MISMATCH]
    assert {c.cause for c in wrong} == {"no_gradient"} and any(str(c.wrt[0]).startswith("x[") for c in wrong)


class Ended(nn.Module):
    """An iteration that a float may end, which soon stands still."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.Linear(2, 2)
        with torch.no_grad():
            self.cell.weight.mul_(1e-6)

    def forward(self, x: Tensor) -> Tensor:
        z = torch.zeros_like(x)
        for _ in range(5):
            before, z = z, torch.tanh(self.cell(z) + x)
            if (z - before).norm().item() < 0:
                break
        out: Tensor = self.cell(z)
        return out


def test_an_iteration_that_is_ended_by_a_float() -> None:
    """A layer may be called less often beside the point: its call has no value there, which is no error, nor a mistake."""
    torch.manual_seed(0)
    report = check_model(Ended().double(), input=(1, 2))
    assert report.counts["match"] > 30 and "mismatch" not in report.counts

"""Iterations that are ended by a number: what a gradient is off by for that is told from a wrong formula, and doesn't pass."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gradcheck_cli import check_function
from gradcheck_cli.shadow.reads import Reads
from gradcheck_cli.verdict.verdicts import Cause, Verdict

A = torch.tensor([[0.3, -0.2], [0.1, 0.4]], dtype=torch.float64)
X = [[0.3, -0.7]]


def solved(step: Callable[[Tensor], Tensor], z: Tensor, tolerance: float, by: str) -> Tensor:
    for _ in range(200):
        before, z = z, step(z)
        off = (z - before).norm()
        if off.item() <= tolerance * z.norm().item() if by == "number" else off <= tolerance:
            break
    return z


def equilibrium(forwards: float, backwards: float, factor: float = 1.0, by: str = "truth") -> Callable[[Tensor], Tensor]:
    """z = tanh(A tanh(z) + x), with the gradient of the implicit function theorem, times a factor, by a hook."""

    def step(z: Tensor, x: Tensor) -> Tensor:
        return torch.tanh(torch.tanh(z) @ A + x)

    def run(x: Tensor) -> Tensor:
        with torch.no_grad():
            z = solved(lambda z: step(z, x), torch.zeros_like(x), forwards, by)
        z = step(z, x)
        own = z.detach().requires_grad_()
        again = step(own, x)

        def hook(g: Tensor) -> Tensor:
            def back(v: Tensor) -> Tensor:
                return torch.autograd.grad(again, own, v, retain_graph=True)[0] + g

            return factor * solved(back, g, backwards, by)

        if z.requires_grad:
            z.register_hook(hook)
        return z

    return run


@pytest.mark.parametrize("by", ["truth", "number"])
@pytest.mark.parametrize(("forwards", "backwards"), [(1e-3, 0), (0, 1e-3), (1e-2, 1e-4), (1e-11, 1e-11)])
def test_an_iteration_that_ended_early_is_told(forwards: float, backwards: float, by: str) -> None:
    """Whichever of the two ended, and whatever ended it: a mismatch of this cause, with a number that is that of the report."""
    report = check_function(equilibrium(forwards, backwards, by=by), at={"x": X})
    assert report.verdict is Verdict.MISMATCH
    wrong = [c for c in report.checks if c.verdict is Verdict.MISMATCH]
    assert {c.cause for c in wrong} == {Cause.CONVERGENCE}, str(report)
    for check in wrong:
        told = re.search(
            r"takes the deviation from (\S+) to (\S+) of|moves it by (\S+) of the derivative, and it is off by", check.detail
        )
        assert told, check.detail
        if told[1]:
            assert float(told[2]) * 8 <= float(told[1])


def test_what_has_settled_matches() -> None:
    """With iterations that go on until nothing changes."""
    assert check_function(equilibrium(0, 0), at={"x": X}).ok


@pytest.mark.parametrize(("forwards", "backwards"), [(0, 0), (1e-9, 1e-9), (1e-3, 1e-3)])
def test_a_wrong_gradient_stays_wrong(forwards: float, backwards: float) -> None:
    """A factor of 1.05 is no matter of steps: however early the iterations end, the formula is to blame."""
    report = check_function(equilibrium(forwards, backwards, 1.05), at={"x": X})
    assert {c.cause for c in report.checks if c.verdict is Verdict.MISMATCH} == {Cause.FORMULA}, str(report)


def test_one_step_for_all_is_wrong() -> None:
    """No hook: the gradient of the last step is far off, however long the iteration."""

    def run(x: Tensor) -> Tensor:
        with torch.no_grad():
            z = solved(lambda z: torch.tanh(torch.tanh(z) @ A + x), torch.zeros_like(x), 1e-3, "truth")
        return torch.tanh(torch.tanh(z) @ A + x)

    causes = {c.cause for c in check_function(run, at={"x": X}).checks if c.verdict is Verdict.MISMATCH}
    assert causes and Cause.CONVERGENCE not in causes


def test_code_that_fails_as_it_goes_on() -> None:
    """An error in a run that reads something else is nobody's: the cause stays what it was."""

    class Guarded(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            y, steps = x, 0
            while (y * y - x).abs().max() > 1e-3:
                y, steps = (y + x / y) / 2, steps + 1
                if steps > 5:
                    raise ValueError("doesn't converge")
            ctx.save_for_backward(y)  # type: ignore[attr-defined]
            return y

        @staticmethod
        def backward(ctx: object, g: Tensor) -> Tensor:
            return g / (2 * ctx.saved_tensors[0])  # type: ignore[attr-defined]

    report = check_function(Guarded.apply, at={"x": [0.5, 2, 3]})
    assert {c.cause for c in report.checks if c.verdict is Verdict.MISMATCH} == {Cause.FORMULA}


def test_what_is_read_instead() -> None:
    """Twice as many times what let an iteration go on, then what ended it; other reads as they are."""
    x = torch.tensor([8.0, 4.0, 2.0, 1.0, 9.0, 3.0])
    with Reads() as reads:
        for value in x:
            value.item()
        for value in x:
            bool(value < 2)
        bool(x[0] > 0)
        bool(x[0] > 0)
    assert list(reads.longer.values()) == [
        [8.0] * 6 + [1.0] + [9.0] * 2 + [3.0],
        [False] * 6 + [True, False, False],
    ]
    with Reads({("elsewhere", 0): [True]}) as plain:
        assert not bool(x[0] < 0)
    assert plain.longer == {}

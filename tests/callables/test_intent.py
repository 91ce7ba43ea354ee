"""Declared intentions: a backward that is another function's on purpose, and what code detaches.

The right derivatives are written down by hand here, as the papers have them; every kind comes with a wrong backward too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import Function

from gradcheck_cli import InputError, check_function, check_model
from gradcheck_cli.cli.app import run
from gradcheck_cli.suite.execute import execute
from gradcheck_cli.suite.spec import load
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.verdicts import Cause, Verdict

Unary = Callable[[Tensor], Tensor]
AT = {"x": torch.tensor([0.3, -1.7, 2.6, -0.4], dtype=torch.float64)}


def function(forward: Unary, slope: Unary) -> Unary:
    """A custom Function with this forward pass, whose backward multiplies by this slope."""

    class Custom(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return forward(x)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            return g * slope(ctx.saved_tensors[0])

    return lambda x: Custom.apply(x)  # type: ignore[no-any-return]


def heaviside(x: Tensor) -> Tensor:
    return (x > 0).to(x.dtype)


def inside(x: Tensor) -> Tensor:
    return (x.abs() <= 1).to(x.dtype)


def bell(x: Tensor) -> Tensor:
    s = torch.sigmoid(4 * x)
    return 4 * s * (1 - s)


class Surrogate(NamedTuple):
    """A forward pass, what is declared, the slope of that, and a slope that is wrong."""

    forward: Unary
    declared: Any
    right: Unary
    wrong: Unary


SURROGATES: dict[str, Surrogate] = {
    "rounding": Surrogate(torch.round, "x", torch.ones_like, inside),
    "sign, hardtanh": Surrogate(torch.sign, "clamp(x, -1, 1)", inside, torch.ones_like),
    "spike, sigmoid": Surrogate(heaviside, "sigmoid(4*x)", bell, lambda x: bell(x) / 4),
    "spike, fast sigmoid": Surrogate(
        heaviside, "x/(1 + 10*abs(x))", lambda x: 1 / (1 + 10 * x.abs()) ** 2, lambda x: 1 / (1 + 10 * x.abs())
    ),
    "spike, arctan": Surrogate(
        heaviside, "atan(pi*x)/pi", lambda x: 1 / (1 + (math.pi * x) ** 2), lambda x: 1 / (1 + math.pi * x**2)
    ),
    "clamp, identity": Surrogate(lambda x: x.clamp(-1, 1), lambda x: x, torch.ones_like, inside),
    "reversal": Surrogate(torch.clone, "-x", lambda x: -torch.ones_like(x), torch.ones_like),
    "scaling": Surrogate(
        torch.clone, lambda x: 0.1 * x, lambda x: 0.1 * torch.ones_like(x), lambda x: 0.01 * torch.ones_like(x)
    ),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", SURROGATES)
def test_a_surrogate_is_what_the_backward_is_judged_by(name: str, dtype: str) -> None:
    """The right slope matches; the wrong one is a mismatch of the formula; without the option even the right one is none, and
    the report says how to declare it."""
    forward, declared, right, wrong = SURROGATES[name]
    assert check_function(function(forward, right), at=AT, dtype=dtype, surrogate=declared).ok
    refuted = check_function(function(forward, wrong), at=AT, dtype=dtype, surrogate=declared)
    assert {c.cause for c in refuted.checks if c.verdict is Verdict.MISMATCH} == {Cause.FORMULA}
    plain = check_function(function(forward, right), at=AT, dtype=dtype)
    assert plain.verdict is Verdict.MISMATCH
    assert "surrogate=..." in str(plain)


def test_a_surrogate_may_be_opaque() -> None:
    """What can't be followed isn't certified; a quotient of the surrogate, not of the function, refutes the wrong backward."""

    def outside(x: Tensor) -> Tensor:
        return torch.from_numpy(np.sin(x.detach().numpy()))

    right = check_function(function(torch.round, torch.cos), at=AT, surrogate=outside)
    assert right.verdict is Verdict.UNDECIDED
    wrong = check_function(function(torch.round, torch.sin), at=AT, surrogate=outside)
    assert wrong.verdict is Verdict.MISMATCH
    assert any("difference quotient of the surrogate" in str(c.detail) for c in wrong.checks)


def test_values_are_not_judged_by_a_surrogate() -> None:
    """They may be by a formula, which stands beside it."""
    right = function(torch.round, torch.ones_like)
    assert check_function(right, at=AT, surrogate="x", formula="round(x)").verdict is Verdict.MATCH
    wrong = check_function(right, at=AT, surrogate="x", formula="x")
    assert {c.cause for c in wrong.checks if c.verdict is Verdict.MISMATCH} == {Cause.VALUE}


class Forward(Function):
    """Rounding, whose jvp is twice what its backward has."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.round(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None: ...

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g

    @staticmethod
    def jvp(ctx: Any, u: Tensor) -> Any:  # type: ignore[override]
        return 2 * u


def test_forward_mode_is_judged_by_the_surrogate_too() -> None:
    """A jvp that is wrong by a factor is refuted beside a right backward."""
    found = {c.mode: c.verdict for c in check_function(Forward.apply, at=AT, surrogate="x").checks}
    assert found == {"reverse": Verdict.MATCH, "forward": Verdict.MISMATCH}


# -- stop-gradients -----------------------------------------------------------------------------------------------------


def rounded(x: Tensor) -> Tensor:
    """x + (q - x).detach(): the slope is 1."""
    return x + (x.round() - x).detach()


def target(q: Tensor, following: Tensor) -> Tensor:
    """A target without a gradient, and a Huber loss."""
    with torch.no_grad():
        wanted = 0.3 + 0.9 * following.max(0).values
    return torch.nn.functional.smooth_l1_loss(q[0], wanted)


def similar(p: Tensor, z: Tensor) -> Tensor:
    return -torch.nn.functional.cosine_similarity(p, z.detach(), dim=0)


def hard(x: Tensor) -> Tensor:
    """One-hot forwards, softmax backwards."""
    soft = torch.softmax(x, 0)
    return torch.zeros_like(soft).scatter_(0, soft.argmax(0, keepdim=True), 1.0) - soft.detach() + soft


def codebook(z: Tensor, book: Tensor) -> Tensor:
    """The three terms of a quantised autoencoder."""
    q = book[((z[:, None] - book[None]) ** 2).sum(-1).argmin(1)]
    straight = z + (q - z).detach()
    return straight.sin().sum() + ((q - z.detach()) ** 2).mean() + 0.25 * ((q.detach() - z) ** 2).mean()


def data(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x.data)


def numpy(x: Tensor) -> Tensor:
    return x * torch.from_numpy(np.tanh(x.detach().numpy()))


def number(x: Tensor) -> Tensor:
    with torch.no_grad():
        scale = x.abs().max().item()
    return x / scale


def own_leaf(x: Tensor) -> Tensor:
    """A leaf of its own, seen through a view: the graph ends there."""
    return x.detach().requires_grad_().view(-1) * x


def buffer(x: Tensor) -> Tensor:
    """Memory that is filled without a graph, and written to with one."""
    total = torch.zeros_like(x)
    with torch.no_grad():
        total.copy_(x.sigmoid())
    total += x * x
    return total * x


SIGMOID = torch.sigmoid(AT["x"])

STOPPED: dict[str, tuple[Callable[..., Tensor], Tensor | None]] = {
    "rounding": (rounded, torch.ones(4)),
    "target": (target, None),
    "similar": (similar, None),
    "hard": (hard, None),
    "codebook": (codebook, None),
    "data": (data, SIGMOID),
    "numpy": (numpy, torch.tanh(AT["x"])),
    "number": (number, torch.ones_like(AT["x"]) / 2.6),
    "own leaf": (own_leaf, AT["x"]),
    "buffer": (buffer, 3 * AT["x"] ** 2 + SIGMOID),
}
"""Functions, and the slope of each entry by hand, where there is one."""

SHAPES: Mapping[str, Any] = {"codebook": {"z": (3, 2), "book": (4, 2)}}


@pytest.mark.parametrize("name", STOPPED)
def test_what_code_detaches_is_a_constant(name: str) -> None:
    """With the option the gradient matches, and is the one by hand; without it none does, the cause is the cut, and the
    option is named."""
    call, slopes = STOPPED[name]
    where = {"shape": SHAPES[name]} if name in SHAPES else {"at": AT} if slopes is not None else {}
    found = check_function(call, stop_gradients=True, **where)
    assert found.verdict is Verdict.MATCH, str(found)
    if slopes is not None:
        weights = found.checks[0].point["v"]
        exact = [float(str(c.exact)) / v for c, v in zip(found.checks, weights, strict=True)]
        assert exact == pytest.approx(slopes.tolist(), rel=1e-12)
    plain = check_function(call, **where)
    wrong = [c for c in plain.checks if c.verdict is Verdict.MISMATCH]
    assert wrong and {c.cause for c in wrong} == {Cause.NO_GRADIENT}
    assert all("test_intent.py, line" in str(c.detail) and "--stop-gradients" in str(c.detail) for c in wrong)


def _wrong_sine(x: Tensor) -> Tensor:
    return function(torch.sin, lambda t: 1.001 * t.cos())(x)


WRONG: dict[str, Callable[[Tensor], Tensor]] = {
    "beside a detached factor": lambda x: _wrong_sine(x) * x.detach(),
    "of a straight-through value": lambda x: _wrong_sine(rounded(x)),
    "of a detached number": lambda x: _wrong_sine(x) * float(x.detach().sum()),
    "the detached factor is written wrongly": lambda x: function(torch.exp, lambda t: t)(x) * torch.sigmoid(x).detach(),
    "detached inside of a custom Function": lambda x: function(lambda t: t.detach().exp(), lambda t: 1.1 * t.exp())(x),
    "cut off by torch": lambda x: torch.special.bessel_j0(x) * x,
}


@pytest.mark.parametrize("name", WRONG)
def test_the_option_excuses_nothing_else(name: str) -> None:
    """A wrong backward stays one, wherever something is detached; so does what torch itself cuts off. What a custom Function
    detaches within its forward pass is no constant."""
    assert check_function(WRONG[name], at=AT, stop_gradients=True).verdict is Verdict.MISMATCH
    assert check_function(WRONG[name], at=AT).verdict is Verdict.MISMATCH


def test_both_options_together() -> None:
    """A surrogate in which something is detached: a learned step size, whose slope holds the rounding."""

    class Quantised(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, s: Tensor) -> Tensor:
            ctx.save_for_backward(x, s)
            return (x / s).clamp(-8, 7).round() * s

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            x, s = ctx.saved_tensors
            r = x / s
            within = ((r > -8) & (r < 7)).to(x.dtype)
            return g * within, (g * torch.where(within > 0, r.round() - r, r.clamp(-8, 7))).sum()

    def declared(x: Tensor, s: Tensor) -> Tensor:
        r = (x / s).clamp(-8, 7)
        return (r + (r.round() - r).detach()) * s

    at = {"x": torch.tensor([0.3, 5.2, -20.5], dtype=torch.float64), "s": torch.tensor(0.7, dtype=torch.float64)}
    assert check_function(Quantised.apply, at=at, surrogate=declared, stop_gradients=True).verdict is Verdict.MATCH
    assert check_function(Quantised.apply, at=at, surrogate=declared).verdict is Verdict.MISMATCH


def test_a_write_through_a_detached_tensor_is_doubt() -> None:
    """What the graph would make of it isn't known: nothing is certified, and nothing refuted."""

    def clamped(x: Tensor) -> Tensor:
        y = x.exp()
        y.data.clamp_(max=1.0)
        return y * x

    assert check_function(clamped, at=AT, stop_gradients=True).verdict is Verdict.UNDECIDED


class Pair(torch.nn.Module):
    """Two views of one encoder, one of them without a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.predictor = torch.nn.Linear(3, 2), torch.nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        z = torch.tanh(self.encoder(x))
        return -(self.predictor(z) * z.detach()).sum(-1).mean()


def test_a_network() -> None:
    """Judged with its detached branch constant; without the option the cut is named."""
    assert check_model(Pair(), input=(2, 3), stop_gradients=True).verdict is Verdict.MATCH
    plain = check_model(Pair(), input=(2, 3))
    assert {c.cause for c in plain.checks if c.verdict is Verdict.MISMATCH} == {Cause.NO_GRADIENT}
    assert "stop_gradients=True" in str(plain)


# -- how it is asked, and said ------------------------------------------------------------------------------------------

FILE = """
import torch

class Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.round(x)

    @staticmethod
    def backward(ctx, g):
        return g

def identity(x):
    return x

def another(z, k):
    return z

def fewer(x):
    return x[:1]

def failing(x):
    raise ValueError("no")
"""


def test_the_head_says_what_was_declared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the text under its title, in JSON among what was asked."""
    (tmp_path / "ste.py").write_text(FILE)
    place = str(tmp_path / "ste.py")
    words = ["function", f"{place}:Round", f"--surrogate={place}:identity", "--stop-gradients", "--at", "x=[1,2.2]"]
    assert run(words) == 0
    lines = capsys.readouterr().out.split("\n")
    assert lines[1].startswith("declared: the backward is judged as the derivative of the surrogate")
    assert any(line.startswith("declared: what the code detaches") for line in lines[:6])
    assert run([*words, "--format=json"]) == 0
    problem = json.loads(capsys.readouterr().out)["problem"]
    assert problem["surrogate"] == f"{place}:identity" and problem["stop_gradients"] is True


def test_nothing_is_said_where_nothing_was_declared() -> None:
    """No report without the options speaks of them."""
    report: Report = check_function(torch.sin, at=AT)
    assert not report.declared and "declared" not in str(report)


def test_a_file_of_a_spec_is_beside_it(tmp_path: Path) -> None:
    """The path of a surrogate is one from the spec's folder, as that of the target."""
    (tmp_path / "ste_spec.py").write_text(FILE)
    text = '[[check]]\nfunction = "ste_spec.py:Round"\nsurrogate = "ste_spec.py:identity"\nat = "x=[1,2.2]"\n'
    (tmp_path / "c.toml").write_text(text)
    (spec,) = load(tmp_path / "c.toml", "c.toml")
    outcome = execute(spec, tmp_path / "c.toml")
    assert (outcome.status, outcome.verdict) == ("passed", "match"), outcome.error


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"surrogate": "y*2"}, "'y' is not an input"),
        ({"surrogate": "sum(x)"}, "the formula has shape ()"),
        ({"surrogate": "x +"}, ""),
        ({"surrogate": "{place}:another"}, "a parameter 'z'"),
        ({"surrogate": "{place}:fewer"}, "the surrogate fewer returns y of shape (1,), the function y of shape (2,)"),
        ({"surrogate": "{place}:failing"}, "the surrogate failing fails: ValueError: no"),
        ({"surrogate": "{place}:nobody"}, "has no 'nobody'"),
        ({"surrogate": "{place}"}, "the name is missing"),
        ({"surrogate": 3}, "a function is wanted, not int"),
        ({"surrogate": "x", "order": 2}, "leave order out"),
        ({"stop_gradients": True, "order": 2}, "leave order out"),
    ],
)
def test_what_can_not_be_declared(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    """An InputError that says why."""
    (tmp_path / "ste_bad.py").write_text(FILE)
    place = str(tmp_path / "ste_bad.py")
    given = {n: v.format(place=place) if isinstance(v, str) else v for n, v in options.items()}
    with pytest.raises(InputError) as problem:
        check_function(f"{place}:Round", at="x=[1,2.2]", **given)
    assert words in str(problem.value)

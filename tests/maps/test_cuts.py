"""What was cut from the graph, named; and what a quotient alone refutes, said so that it fits."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function
from torch.utils._python_dispatch import _get_current_dispatch_mode

from gradcheck_cli import check_chain, check_function, check_model
from gradcheck_cli.output.outcomes import summary
from gradcheck_cli.suite.execute import execute
from gradcheck_cli.suite.spec import load
from gradcheck_cli.verdict.verdicts import Cause, Verdict, sentence
from tests.custom_functions.elementwise import custom

AT = {"x": torch.tensor([0.4, -1.3, 2.1], dtype=torch.float64)}


def by_float(x: Tensor) -> Tensor:
    return x * float(x.sum())


def by_list(x: Tensor) -> Tensor:
    return x * torch.tensor(x.tolist(), dtype=x.dtype)


def by_detach(x: Tensor) -> Tensor:
    return x * x.exp().detach()


def by_no_grad(x: Tensor) -> Tensor:
    with torch.no_grad():
        factor = x.sin()
    return x * factor


def by_torch(x: Tensor) -> Tensor:
    return x * torch.special.bessel_j0(x)


def whole(x: Tensor) -> Tensor:
    """Nothing is left of the graph."""
    return x.exp().detach()


def by_data(x: Tensor) -> Tensor:
    y = x.sin()
    y.data.mul_(2)
    return y * y


def by_index(x: Tensor) -> Tensor:
    y = 3 * x
    with torch.no_grad():
        y[0] = 0.5
    return y * x


CUTS: dict[Callable[[Tensor], Tensor], tuple[str, bool]] = {
    by_float: ("float()", False),
    by_list: (".tolist()", False),
    by_detach: (".detach() or .data", True),
    by_no_grad: ("an operation under torch.no_grad()", True),
    by_torch: ("bessel_j0", False),
    whole: (".detach() or .data", True),
    by_data: ("mul_ in place on .detach() or .data", False),
    by_index: ("copy_ in place under torch.no_grad()", False),
}
"""What cut it, and whether the code meant to."""


@pytest.mark.filterwarnings("ignore:Converting a tensor")
@pytest.mark.parametrize("call", CUTS, ids=lambda call: call.__name__)
def test_a_cut_is_named_with_its_line(call: Callable[[Tensor], Tensor]) -> None:
    """Cause no_gradient, what cut the graph, and the line of the user's file; the option where that may be meant."""
    what, meant = CUTS[call]
    wrong = [c for c in check_function(call, at=AT).checks if c.verdict is Verdict.MISMATCH]
    first = call.__code__.co_firstlineno
    assert wrong
    for check in wrong:
        assert check.cause is Cause.NO_GRADIENT
        text = str(check.detail)
        assert text.startswith(f"cut from the graph by {what} (test_cuts.py, line ")
        assert first < int(text.partition("line ")[2].partition(")")[0]) <= first + 3
        assert ("--stop-gradients" in text) is meant


def test_a_change_in_place_that_a_saved_output_carries_on_is_no_cut() -> None:
    """exp keeps its output for the backward pass: what is written into it is in the gradient, which no held number explains."""

    def call(x: Tensor) -> Tensor:
        y = x.exp()
        y.data.mul_(2 + x.detach())
        return y

    found = check_function(call, at=AT)
    assert {c.cause for c in found.checks if c.verdict is Verdict.MISMATCH} == {Cause.FORMULA}


half = custom(lambda x: x.sin(), lambda g, x, y: g * x.cos() / 2)
"""sin, its backward wrong by a factor."""


def test_a_cut_that_explains_nothing_is_not_blamed() -> None:
    """A wrong formula beside a detached number stays one: with that constant, the gradient is wrong all the same."""
    found = check_function(lambda x: half(x) * x.detach(), at=AT)
    assert {c.cause for c in found.checks if c.verdict is Verdict.MISMATCH} == {Cause.FORMULA}
    assert "cut from the graph" not in str(found)


def test_what_numpy_writes_into_the_graph_is_refuted() -> None:
    """No operation shows it; the quotient of x*exp(x) with its first factor held at 5 is 5 there."""

    def call(x: Tensor) -> Tensor:
        y = x.exp()
        y.detach().numpy()[0] = 5.0
        return (y * x).sum()

    found = check_function(call, at=AT)
    wrong = [c for c in found.checks if c.verdict is Verdict.MISMATCH]
    assert {c.wrt for c in wrong} == {("x[0]",)} and all(c.cause is Cause.FORMULA for c in wrong)
    (plain,) = [c for c in wrong if c.quantity == "dy/dx[0]"]
    assert "along x[0] it is 5, to within" in str(plain.detail)


# -- a quotient alone ---------------------------------------------------------------------------------------------------


class Kernel(Function):
    """A kernel fills the result, x**2; the backward returns x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        out = torch.empty_like(x)
        there, here = ((ctypes.c_double * x.numel()).from_address(t.data_ptr()) for t in (out, x))
        for i in range(x.numel()):
            there[i] = here[i] ** 2
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g * ctx.saved_tensors[0]


def test_a_quotient_says_along_what_and_how_well_it_knows() -> None:
    """The direction, the quotient (2x times the cotangent), its error, autograd's number; no formula and no exact value, which
    nobody knows; and a sentence of its own."""
    report = check_function(Kernel.apply, at={"x": AT["x"][:1]}, shape=None)
    wrong = [c for c in report.checks if c.quantity == "dy[0]/dx[0]"]
    (check,) = wrong
    assert (check.verdict, check.cause, check.witness) == (Verdict.MISMATCH, Cause.FORMULA, "quotient")
    assert check.exact is None and check.formula is None and check.error_ulps is None
    words = str(check.detail)
    assert words.startswith("refuted by a difference quotient of the function as torch runs it: along x[0] it is 0.8")
    assert "where autograd says 0.4; the backward of Kernel (test_cuts.py, line " in words and "to within" in words
    text = str(report)
    assert "changes at another rate" in " ".join(text.split()) and "even in exact arithmetic" not in text
    assert check.to_dict()["witness"] == "quotient"
    assert "witness" not in check_function(half, at=AT).checks[0].to_dict()


def test_what_operations_show_keeps_its_sentence() -> None:
    """The witness chooses the sentence, of formulas only."""
    usual = sentence(Verdict.MISMATCH, Cause.FORMULA)
    assert usual == Cause.FORMULA.sentence != sentence(Verdict.MISMATCH, Cause.FORMULA, "quotient")
    assert sentence(Verdict.MISMATCH, Cause.KINK, "quotient") == Cause.KINK.sentence
    assert sentence(Verdict.MATCH, None) == Verdict.MATCH.sentence


def test_every_format_takes_the_sentence(tmp_path: Any) -> None:
    """The summaries of a suite, from the JSON of an outcome."""
    (tmp_path / "kernels.py").write_text(
        "import numpy as np, torch\n"
        "class Bad(torch.autograd.Function):\n"
        "    @staticmethod\n"
        "    def forward(ctx, x):\n"
        "        ctx.save_for_backward(x)\n"
        "        return torch.from_numpy(np.sin(x.detach().numpy()))\n"
        "    @staticmethod\n"
        "    def backward(ctx, g):\n"
        "        return g * ctx.saved_tensors[0]\n"
    )
    (tmp_path / "c.toml").write_text('[[check]]\nfunction = "kernels.py:Bad"\nat = "x=[0.5]"\n')
    (spec,) = load(tmp_path / "c.toml", "c.toml")
    text = summary(execute(spec, tmp_path / "c.toml"))
    assert "changes at another rate" in text and "along x[0] it is" in text


def test_chains_say_it_too() -> None:
    """A callable in a chain that does something else where nobody looks."""

    def unlike(x: Tensor) -> Tensor:
        return torch.sin(x) if _get_current_dispatch_mode() is not None else torch.sin(x) + 0.01 * x.detach()

    report = check_chain("sin(x)", at="x=0.4", callables={"sin": unlike})
    wrong = [c for c in report.checks if c.witness == "quotient"]
    assert wrong and all("along x it is" in str(c.detail) for c in wrong)


class Truncated(torch.nn.Module):
    """Back-propagation through a part of the time alone."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.last = torch.nn.GRUCell(2, 2), torch.nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(x.shape[1], 2)
        for t, inputs in enumerate(x):
            h = self.cell(inputs, h.detach() if t == 2 else h)
        return self.last(h)


class Frozen(torch.nn.Module):
    """A part whose gradient is switched off."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh())
        self.head = torch.nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            h = self.encoder(x)
        return self.head(h)


@pytest.mark.parametrize(
    ("network", "shape", "words"),
    [(Truncated, (4, 1, 2), ".detach() or .data"), (Frozen, (2, 2), "an operation under torch.no_grad()")],
)
def test_a_cut_in_a_network_is_one_finding(network: Callable[[], torch.nn.Module], shape: tuple[int, ...], words: str) -> None:
    """All that one cut makes wrong, of the whole and of what the layers return, is due to it, and named by its one line: chunks
    of a tensor that a kernel of torch's keeps are not cut off with it."""
    torch.manual_seed(0)
    report = check_model(network().double(), input=shape)
    wrong = [check for check in report.checks if check.verdict is Verdict.MISMATCH]
    assert {check.cause for check in wrong} == {Cause.NO_GRADIENT}
    texts = {(check.detail or "").partition(":")[0] for check in wrong}
    assert len(texts) == 1 and texts.pop().startswith(f"cut from the graph by {words} (test_cuts.py")
    assert str(report).count("cut from the graph by") == 1

"""A second implementation as the truth: an opaque operation, or another way to the same, beside plain code.

What is right and wrong is written down by hand: the slope of x*sigmoid(x), off by a planted factor.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd import Function

from gradcheck_cli import InputError, check_function, check_model
from gradcheck_cli.api import TWINS
from gradcheck_cli.cli.app import run
from gradcheck_cli.suite.execute import execute
from gradcheck_cli.suite.spec import load
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.verdicts import Cause, Verdict

F64 = torch.float64
AT = {"x": torch.tensor([0.3, -1.7, 2.6, -4.4], dtype=F64)}
DTYPES = pytest.mark.parametrize("dtype", ["float64", "float32"])


def silu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def hidden(run: Callable[..., Any]) -> Callable[..., Tensor]:
    """The same behind NumPy, where no operation is seen."""
    return lambda *tensors: torch.from_numpy(np.asarray(run(*(t.detach().numpy() for t in tensors))))


def logistic(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def slope(x: Any) -> Any:
    s = logistic(x)
    return s * (1 + x * (1 - s))


def opaque(value: float = 1.0, gradient: float = 1.0) -> Callable[[Tensor], Tensor]:
    """SiLU in NumPy, its value and its gradient off by factors."""
    kind = np.float64

    class Opaque(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return hidden(lambda a: (a * logistic(a) * kind(value)).astype(a.dtype))(x)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            return hidden(lambda g, a: (g * slope(a) * kind(gradient)).astype(a.dtype))(g, *ctx.saved_tensors)

    return Opaque.apply  # type: ignore[no-any-return]


def causes(report: Report) -> set[Cause | None]:
    return {c.cause for c in report.checks if c.verdict is Verdict.MISMATCH}


# -- what is wrong ------------------------------------------------------------------------------------------------------


@DTYPES
def test_a_right_operation_that_is_opaque_matches(dtype: str) -> None:
    """Values and gradients, in both formats; the reference is followed, and proved by itself."""
    report = check_function(opaque(), at=AT, dtype=dtype, reference=silu)
    assert report.verdict is Verdict.MATCH, str(report)
    assert len(report.checks) == 8 and "judged by the reference silu" in str(report)


@pytest.mark.parametrize(("dtype", "off"), [("float64", 1e-6), ("float64", -1e-2), ("float32", 1e-2)])
def test_a_wrong_gradient_that_is_opaque_is_a_mismatch(dtype: str, off: float) -> None:
    """Of the formula; the values match."""
    report = check_function(opaque(gradient=1 + off), at=AT, dtype=dtype, reference=silu)
    assert causes(report) == {Cause.FORMULA} and report.counts[Verdict.MISMATCH] == 4


@pytest.mark.parametrize(("dtype", "off"), [("float64", 1e-6), ("float32", 1e-2)])
def test_a_wrong_value_that_is_opaque_is_a_mismatch(dtype: str, off: float) -> None:
    """Of the value."""
    assert Cause.VALUE in causes(check_function(opaque(value=1 + off), at=AT, dtype=dtype, reference=silu))


def test_what_may_approximate_is_undecided_and_can_be_accepted() -> None:
    """Half of the digits are right and rounding explains none of the rest: nothing is certified, nothing refuted."""
    plain = check_function(opaque(gradient=1 + 1e-9), at=AT, reference=silu)
    assert plain.verdict is Verdict.UNDECIDED
    assert any("rtol" in str(c.detail) for c in plain.checks)
    assert check_function(opaque(gradient=1 + 1e-9), at=AT, reference=silu, rtol=1e-8).verdict is Verdict.MATCH
    assert causes(check_function(opaque(gradient=1 + 1e-9), at=AT, reference=silu, rtol=1e-10)) == {Cause.TOLERANCE}


def cancels(x: Tensor) -> Tensor:
    """Loses digits to rounding, wherever it is computed."""
    return (1 + x * x) - 1


class Cancels(Function):
    """The same, and its gradient, with what NumPy rounds."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return hidden(lambda a: (1 + a * a) - 1)(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g * 2 * ctx.saved_tensors[0]


def test_what_rounding_of_the_reference_explains_is_no_mismatch() -> None:
    """Digits that the reference loses as well are lost, not wrong."""
    report = check_function(Cancels.apply, at={"x": torch.tensor([3e-8, 0.5], dtype=F64)}, reference=cancels)
    assert {c.verdict for c in report.checks} <= {Verdict.MATCH, Verdict.IMPRECISE}, str(report)
    assert report.counts[Verdict.IMPRECISE] == 1


@DTYPES
def test_another_way_to_the_same_matches(dtype: str) -> None:
    """Both are followed: a function written in two ways, in every mode and at the second order."""

    def fraction(x: Tensor) -> Tensor:
        return x / (1 + torch.exp(-x))

    found = check_function(fraction, at=AT, dtype=dtype, reference=silu, order=2, mode="all")
    assert found.ok, str(found)
    assert {c.mode for c in found.checks} == {"reverse", "forward"}


@pytest.mark.parametrize("order", [1, 2])
def test_another_function_is_a_wrong_value(order: int) -> None:
    """Its own gradient is right, and no witness takes the mismatch back."""
    report = check_function(lambda x: x * torch.sigmoid(1.0001 * x), at=AT, reference=silu, order=order)
    assert causes(report) == {Cause.VALUE}
    assert any("the reference is another function" in str(c.detail) for c in report.checks)


def test_a_second_derivative_is_held_to_that_of_the_reference() -> None:
    """A backward that is right and whose own derivative is wrong."""

    class Once(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return silu(x)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            (x,) = ctx.saved_tensors
            s = torch.sigmoid(x).detach()
            return g * s * (1 + x * (1 - s))

    report = check_function(Once.apply, at=AT, reference=silu, order=2)
    wrong = {c.quantity.partition("[")[0] for c in report.checks if c.verdict is Verdict.MISMATCH}
    assert wrong == {"d<w,g>/dx"}


def test_quotients_of_the_function_itself_count_too() -> None:
    """The gradient is the reference's, and the values here are; beside this point the function is another one."""

    def steeper(a: Any) -> Any:
        return a * logistic(a) + 0.01 * (a - AT["x"].numpy())

    class Elsewhere(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return hidden(steeper)(x)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            return hidden(lambda g, a: g * slope(a))(g, *ctx.saved_tensors)

    report = check_function(Elsewhere.apply, at=AT, reference=silu)
    assert report.verdict is Verdict.MISMATCH
    assert any("refuted by a difference quotient of the function as torch runs it" in str(c.detail) for c in report.checks)


def test_a_reference_that_cannot_be_followed_says_so() -> None:
    """Undecided, and whose operation it is."""
    report = check_function(silu, at=AT, reference=lambda x: hidden(lambda a: a * logistic(a))(x) + 0 * x)
    assert report.verdict is Verdict.UNDECIDED
    assert any("of the reference can't be followed" in str(c.detail) for c in report.checks)


def test_large_tensors() -> None:
    """By columns: an opaque product of a thousand entries is right, and one entry in a thousand is found wrong."""
    draw = torch.Generator().manual_seed(1)
    at = {"x": torch.randn(40, 30, dtype=F64, generator=draw), "w": torch.randn(30, dtype=F64, generator=draw)}

    def product(off: float) -> Any:
        class Product(Function):
            @staticmethod
            def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
                ctx.save_for_backward(x, w)
                return hidden(np.matmul)(x, w)

            @staticmethod
            def backward(ctx: Any, g: Tensor) -> Any:
                x, w = ctx.saved_tensors
                by_x = hidden(np.multiply.outer)(g, w)
                by_x[7, 5] *= 1 + off
                return by_x, hidden(np.matmul)(x.T, g)

        return Product.apply

    def reference(x: Tensor, w: Tensor) -> Tensor:
        return (x * w).sum(1)

    assert check_function(product(0.0), at=at, reference=reference).verdict is Verdict.MATCH
    wrong = check_function(product(1e-6), at=at, reference=reference)
    assert [c.quantity for c in wrong.checks if c.verdict is Verdict.MISMATCH] == ["d<v,y>/dx[7,5]"]


# -- networks -----------------------------------------------------------------------------------------------------------


class Plain(nn.Module):
    """Two layers and an activation."""

    act: Callable[[Tensor], Tensor] = staticmethod(silu)

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.act(self.norm(self.first(x))))  # type: ignore[no-any-return]


class Fused(Plain):
    act = staticmethod(opaque())


class Wrong(Plain):
    act = staticmethod(opaque(gradient=1 + 1e-6))


@pytest.mark.parametrize("train", [False, True])
def test_a_network_beside_another_one(train: bool) -> None:
    """An opaque activation: right, wrong; parameters and buffers of the reference are those of the network."""
    assert check_model(Fused(), input=(5, 3), dtype="float64", train=train, reference=Plain).verdict is Verdict.MATCH
    report = check_model(Wrong(), input=(5, 3), dtype="float64", train=train, reference=Plain())
    wrong = {c.wrt[0].partition("[")[0] for c in report.checks if c.verdict is Verdict.MISMATCH}
    assert {"x", "first.weight"} <= wrong and "second.weight" not in wrong


def test_a_reference_network_keeps_its_own_numbers() -> None:
    """What the user gave is not written to."""
    other = Plain()
    before = {name: t.clone() for name, t in other.state_dict().items()}
    check_model(Fused(), input=(5, 3), dtype="float64", reference=other)
    assert all(torch.equal(t, before[name]) for name, t in other.state_dict().items())


# -- how it is asked ----------------------------------------------------------------------------------------------------

FILE = """
import torch

def half(x, k=0.5):
    return k*x

def shorter(z):
    return z/2

def several(z, w):
    return z*w

def fewer(x):
    return x[:1]

class Net(torch.nn.Linear):
    def __init__(self):
        super().__init__(2, 2)

class Deeper(torch.nn.Sequential):
    def __init__(self):
        super().__init__(torch.nn.Linear(2, 2))
"""


def test_parameters_of_other_names_go_by_their_order(tmp_path: Path) -> None:
    """On the command line, and in a spec, where a path is one from its folder; the exit code says what was found."""
    (tmp_path / "halves.py").write_text(FILE)
    place = str(tmp_path / "halves.py")
    assert run(["function", f"{place}:half", "--reference", f"{place}:shorter", "--at", "x=[1,2.2]", "-q"]) == 0
    assert run(["function", f"{place}:half", "--reference", "x/3", "--at", "x=[1,2.2]", "-q"]) == 1
    text = '[[check]]\nfunction = "halves.py:half"\nreference = "halves.py:shorter"\nat = "x=[1,2.2]"\n'
    (tmp_path / "c.toml").write_text(text)
    outcome = execute(load(tmp_path / "c.toml", "c.toml")[0], tmp_path / "c.toml")
    assert (outcome.status, outcome.verdict) == ("passed", "match"), outcome.error


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("function", {"reference": "{place}:several"}, "the reference several has a parameter 'z' (there is x)"),
        ("function", {"reference": "{place}:fewer"}, "the reference fewer returns y of shape (1,), the function y of shape"),
        ("function", {"reference": "{place}:nobody"}, "has no 'nobody'"),
        ("function", {"reference": "y*2"}, "'y' is not an input"),
        ("function", {"reference": "x", "formula": "x"}, "give one of them"),
        ("model", {"reference": "{place}:Deeper"}, "has other parameters or buffers than the network"),
        ("model", {"reference": "{place}:half"}, "a function of tensors is checked by check_function"),
        ("model", {"reference": "{place}:Net", "neuron": 0}, "a reference is of the whole network"),
    ],
)
def test_what_is_no_reference(kind: str, options: dict[str, Any], words: str, tmp_path: Path) -> None:
    """An InputError that says why."""
    (tmp_path / "no_reference.py").write_text(FILE)
    place = str(tmp_path / "no_reference.py")
    given = {n: v.format(place=place) if isinstance(v, str) else v for n, v in options.items()}
    target: dict[str, Any] = {"model": f"{place}:Net", "input": (1, 2)}
    if kind == "function":
        target = {"function": f"{place}:half", "at": "x=[1,2.2]"}
    with pytest.raises(InputError) as problem:
        TWINS[kind](**target, **given)
    assert words in str(problem.value)


class SineOutside(Function):
    """A sine that NumPy computes, whose backward has the wrong sign where `sign` is -1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, sign: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.sign = sign
        return torch.from_numpy(np.sin(x.numpy()))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return ctx.sign * g * torch.cos(x), None


@pytest.mark.parametrize(("sign", "verdict"), [(1.0, Verdict.MATCH), (-1.0, Verdict.MISMATCH)])
def test_what_leaves_torch_is_held_to_a_formula(sign: float, verdict: Verdict) -> None:
    """What stands for operations that can't be followed is the formula's own run, which nobody has proved by itself."""
    report = check_function(lambda x: SineOutside.apply(x, sign), at={"x": [1.0, 2.0]}, formula="sin(x)")  # type: ignore[no-untyped-call]
    assert report.verdict is verdict

"""Torch's four ways to a derivative agree with closed forms, say what they refuse, and notice what is cut."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from gradcheck_cli.formulas.torch_chain import Outcome, TorchChain
from gradcheck_cli.language.chain import link
from gradcheck_cli.modes import MODES

SKIP = "z = 2*x | w = sin(z) + x | y = w*z"
by_mode = pytest.mark.parametrize("mode", MODES)


def differentiate(
    text: str, mode: str, derivatives: list[str], cotangent: float = 1.0, dtype: torch.dtype = torch.float64, /, **point: Any
) -> Outcome:
    """Derivatives (a string of one-letter names each) at a point or at lists of points."""
    chain = TorchChain(link(text.split("|")), dtype, "cpu", point.pop("callables", {}))
    inputs = {name: torch.tensor(value, dtype=dtype) for name, value in point.items()}
    return chain.differentiate(mode, inputs, [tuple(d) for d in derivatives], cotangent)


def close(found: torch.Tensor | None, expected: list[float]) -> bool:
    assert found is not None
    assert not found.requires_grad
    return torch.allclose(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-13, atol=1e-300)


FIRST: list[tuple[str, str, Callable[..., float]]] = [
    ("x**2 + x*y**2", "x", lambda x, y: 2 * x + y * y),
    ("x**2 + x*y**2", "y", lambda x, y: 2 * x * y),
    ("sin(x)*exp(y)", "x", lambda x, y: math.cos(x) * math.exp(y)),
    ("x/y", "y", lambda x, y: -x / y**2),
    ("a = x*y | a**2 + a", "x", lambda x, y: 2 * x * y * y + y),
    ("a = x*y | b = a**2 + a | b*y", "a", lambda x, y: (2 * x * y + 1) * y),
    ("a = x*y | b = a**2 + a | b*y", "b", lambda x, y: y),
    ("a = x*y | b = a**2 + a | b*y", "y", lambda x, y: (2 * x * y + 1) * x * y + (x * y) ** 2 + x * y),
    ("a = x*y | x + 0*a", "a", lambda x, y: 0.0),
]
HIGHER: list[tuple[str, str, Callable[..., float]]] = [
    ("x**2 + x*y**2", "xy", lambda x, y: 2 * y),
    ("x**2 + x*y**2", "yx", lambda x, y: 2 * y),
    ("x**2*y**3", "xx", lambda x, y: 2 * y**3),
    ("x**2*y**3", "yyx", lambda x, y: 12 * x * y),
    ("exp(x*y)", "xy", lambda x, y: (1 + x * y) * math.exp(x * y)),
    ("a = sin(x) | a*a*y", "xx", lambda x, y: 2 * y * math.cos(2 * x)),
]
XS, YS = [0.5, -1.25, 3.0], [2.0, 0.75, -1.5]


@by_mode
@pytest.mark.parametrize(("text", "wrt", "expected"), FIRST + HIGHER, ids=[f"{t}-{w}" for t, w, _ in FIRST + HIGHER])
def test_closed_forms(mode: str, text: str, wrt: str, expected: Callable[..., float]) -> None:
    """Every mode gives each point of a batch its own derivative, first and higher orders, by inputs and by stages."""
    outcome = differentiate(text, mode, [wrt], x=XS, y=YS)
    assert close(outcome.gradients[tuple(wrt)], [expected(x, y) for x, y in zip(XS, YS, strict=True)])
    assert not outcome.refusals and not outcome.cut


@by_mode
def test_several_at_once(mode: str) -> None:
    """All derivatives of one call, with skip connections; a tensor without dimensions keeps its shape."""
    x = 0.3
    z, w = 2 * x, math.sin(2 * x) + x
    outcome = differentiate(SKIP, mode, ["y", "w", "z", "x", "xx"], x=x)
    expected = {"y": 1, "w": z, "z": w + z * math.cos(z), "x": 2 * (w + z * math.cos(z)) + z}
    for name, value in expected.items():
        found = outcome.gradients[name,]
        assert found is not None and found.shape == ()
        assert math.isclose(found.item(), value, rel_tol=1e-14), name
    second = outcome.gradients["x", "x"]
    assert second is not None
    assert math.isclose(second.item(), 4 * (2 * math.cos(z) - z * math.sin(z)) + 4, rel_tol=1e-14)


@by_mode
@pytest.mark.parametrize("derivatives", [["x"], ["xx"], []])
def test_values_come_along(mode: str, derivatives: list[str]) -> None:
    """Inputs and stages have their plain values, whatever was asked, detached and not dual."""
    outcome = differentiate(SKIP, mode, derivatives, x=[0.3, 1.0])
    x = torch.tensor([0.3, 1.0], dtype=torch.float64)
    w = torch.sin(2 * x) + x
    assert set(outcome.values) == {"x", "z", "w", "y"}
    for name, value in {"x": x, "z": 2 * x, "w": w, "y": w * 2 * x}.items():
        assert torch.equal(outcome.values[name], value)
        assert not outcome.values[name].requires_grad


@by_mode
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtype(mode: str, dtype: torch.dtype) -> None:
    """Gradients are floats of the format."""
    outcome = differentiate("x**2*0.1 | z + pi", mode, ["x", "xx", "z"], 1.0, dtype, x=[0.5])
    assert all(g is not None and g.dtype is dtype for g in outcome.gradients.values())


@by_mode
def test_a_stage_that_is_its_input(mode: str) -> None:
    """A stage that returns its input unchanged has a derivative of its own: 2 by z, 6 by x through both paths."""
    outcome = differentiate("z = x | y = 2*z + 4*x", mode, ["z", "x"], x=1.5)
    assert [outcome.gradients[n,].item() for n in "zx"] == [2.0, 6.0]  # type: ignore[union-attr]


@by_mode
def test_constant_stages(mode: str) -> None:
    """A stage without a variable runs; a constant factor doesn't get in the way."""
    outcome = differentiate("k = 3*pi | y = k*x", mode, ["x"], x=[2.0, 4.0])
    assert close(outcome.gradients["x",], [3 * math.pi] * 2)
    assert torch.equal(outcome.values["k"], torch.full((2,), 3 * math.pi, dtype=torch.float64))


@pytest.mark.parametrize("mode", ["reverse", "grad", "func"])
def test_cotangent(mode: str) -> None:
    """The cotangent multiplies first derivatives, the output's own included."""
    once = differentiate(SKIP, mode, ["y", "z", "x"], x=0.3)
    thrice = differentiate(SKIP, mode, ["y", "z", "x"], 3.0, x=0.3)
    for wrt, gradient in once.gradients.items():
        assert gradient is not None
        assert math.isclose(thrice.gradients[wrt].item(), 3 * gradient.item(), rel_tol=1e-15)  # type: ignore[union-attr]


@by_mode
@pytest.mark.parametrize(("text", "wrt"), [("x*y", "xx"), ("x**2 + y**3", "xy"), ("3*x + 0*y", "xx"), ("x + y", "xyx")])
def test_identically_zero(mode: str, text: str, wrt: str) -> None:
    """Where a derivative is identically 0 torch gives 0 or has nothing; never another number, never an exception."""
    found = differentiate(text, mode, [wrt], x=2.0, y=3.0).gradients[tuple(wrt)]
    assert found is None or found.item() == 0


@by_mode
def test_a_whole_function_that_is_cut(mode: str) -> None:
    """bessel_j0 has no derivative in torch: None with a refusal in torch's words, or 0 by a tangent that isn't there; the
    operation is named either way, and the output's derivative by itself is 1."""
    outcome = differentiate("besselj(0, x)", mode, ["x", "y"], x=1.5)
    found = outcome.gradients["x",]
    assert found is None or found.item() == 0
    assert outcome.cut == ("besselj",)
    itself = outcome.gradients["y",]
    assert itself is not None and itself.item() == 1
    if mode in ("reverse", "grad"):
        assert "graph" in outcome.refusals["x",]


@by_mode
def test_a_part_that_is_cut(mode: str) -> None:
    """In a product the cut factor is silently a constant: x*J0(x) has torch's derivative J0(x)."""
    outcome = differentiate("x*besselj(0, x)", mode, ["x"], x=1.5)
    found = outcome.gradients["x",]
    assert found is not None
    assert math.isclose(found.item(), 0.511827671735918, rel_tol=1e-12)  # J0(1.5), DLMF table
    assert outcome.cut == ("besselj",)
    assert differentiate("x*sin(x)", mode, ["x"], x=1.5).cut == ()


def test_no_forward_mode() -> None:
    """zeta has no forward rule: the refusal is torch's, values are there, the other modes work."""
    outcome = differentiate("zeta(2, x)*x", "forward", ["x"], x=1.5)
    assert outcome.gradients["x",] is None
    assert "forward" in outcome.refusals["x",].lower()
    assert outcome.values["y"].item() > 0
    reverse = differentiate("zeta(2, x)*x", "reverse", ["x"], x=1.5)
    assert reverse.gradients["x",] is not None and not reverse.refusals


class _Once(torch.autograd.Function):
    """A cube whose backward can't be differentiated."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return gradient * 3 * x**2


@pytest.mark.parametrize("mode", ["reverse", "grad"])
def test_a_second_derivative_that_is_missing(mode: str) -> None:
    """A backward that can be run only once has a first derivative and no second one (torch says nothing)."""
    outcome = differentiate("sin(x)", mode, ["x", "xx"], x=2.0, callables={"sin": _Once.apply})
    first = outcome.gradients["x",]
    assert first is not None and first.item() == 12
    assert outcome.gradients["x", "x"] is None


@pytest.mark.parametrize("mode", ["reverse", "grad", "func"])
def test_refusals_are_caught(mode: str) -> None:
    """What torch raises in a higher order is a refusal of that derivative; the first one is unharmed."""
    outcome = differentiate("hardsigmoid(x)", mode, ["x", "xx"], x=0.5)
    first = outcome.gradients["x",]
    assert first is not None and math.isclose(first.item(), 1 / 6, rel_tol=1e-6)
    assert outcome.gradients["x", "x"] is None
    assert "hardsigmoid_backward is not implemented" in outcome.refusals["x", "x"]
    assert ("x",) not in outcome.refusals


class _Broken(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * 1

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError("nothing here. Really.\nsecond line")


@pytest.mark.parametrize("mode", ["reverse", "grad", "func"])
def test_a_backward_that_raises(mode: str) -> None:
    """An exception from a user's backward is a refusal in its own words, for what lies behind it."""
    outcome = differentiate("sin(x)*2", mode, ["y", "x"], x=2.0, callables={"sin": _Broken.apply})
    assert outcome.gradients["x",] is None
    assert outcome.refusals["x",]
    if mode != "func":
        assert outcome.refusals["x",].startswith("nothing here (test_torch_chain.py, line ")
    itself = outcome.gradients["y",]
    assert itself is not None and itself.item() == 1
    assert ("y",) not in outcome.refusals


def test_hooks_fire_from_the_output_back() -> None:
    """`mark` is told each stage as it runs, and as its gradient arrives, in torch's order."""
    chain = TorchChain(link(SKIP.split("|")), torch.float64, "cpu", {})
    seen: list[str] = []
    chain.mark = seen.append
    chain.differentiate("reverse", {"x": torch.tensor(0.3, dtype=torch.float64)}, [("x",)])
    assert seen[:3] == ["z", "w", "y"]
    assert seen[3:] == ["y", "w", "z"]


def test_inputs_are_left_alone() -> None:
    """The tensors that go in come out unchanged: no gradient, no graph."""
    chain = TorchChain(link(["x**2"]), torch.float64, "cpu", {})
    x = torch.tensor(3.0, dtype=torch.float64)
    for mode in MODES:
        chain.differentiate(mode, {"x": x}, [("x",), ("x", "x")])
    assert x.grad is None and not x.requires_grad and x.item() == 3


@by_mode
def test_a_chain_can_be_asked_again(mode: str) -> None:
    """A second question isn't answered with leftovers of the first (gradients, cuts)."""
    chain = TorchChain(link(["x*besselj(0, x)"]), torch.float64, "cpu", {})
    x = {"x": torch.tensor(1.5, dtype=torch.float64)}
    one, other = (chain.differentiate(mode, x, [("x",)]) for _ in range(2))
    assert one.cut == other.cut
    assert torch.equal(one.gradients["x",], other.gradients["x",])  # type: ignore[arg-type]


def test_cuts_belong_to_their_question() -> None:
    """By the stage after the cut there is nothing cut, whatever was asked before."""
    chain = TorchChain(link(["z = besselj(0, x)", "y = 2*z"]), torch.float64, "cpu", {})
    x = {"x": torch.tensor(1.5, dtype=torch.float64)}
    assert chain.differentiate("forward", x, [("x",)]).cut == ("besselj",)
    found = chain.differentiate("forward", x, [("z",)])
    assert found.cut == ()
    assert found.gradients["z",].item() == 2  # type: ignore[union-attr]

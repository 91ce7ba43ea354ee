"""Torch runs a formula as it is written: held against the same formula in plain torch code, bit by bit."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
import torch

from gradcheck_cli import check_chain, check_grad
from gradcheck_cli.formulas.torch_chain import TorchChain
from gradcheck_cli.language.chain import link

Tensor = torch.Tensor
Code = Callable[[Tensor, Tensor], Tensor]
Written = tuple[str, Code]

POINTS = ((1.3, 0.7), (0.45, 2.1))

UNARY: tuple[tuple[str, Callable[[Tensor], Tensor]], ...] = (
    ("sin({})", lambda v: torch.sin(v)),
    ("exp({})", lambda v: v.exp()),
    ("tanh({})", lambda v: torch.tanh(v)),
    ("sqrt(1 + {}**2)", lambda v: torch.sqrt(1 + v**2)),
    ("log(2 + cos({}))", lambda v: torch.log(2 + torch.cos(v))),
    ("sigmoid(-({}))", lambda v: torch.sigmoid(-v)),
    ("(F.softplus({})/3)", lambda v: torch.nn.functional.softplus(v) / 3),
    ("(0.1*{})", lambda v: 0.1 * v),
)
BINARY: tuple[tuple[str, Callable[[Tensor, Tensor], Tensor]], ...] = (
    ("({} + {})", lambda v, w: v + w),
    ("({} - {})", lambda v, w: v - w),
    ("({}*{})", lambda v, w: v * w),
    ("({}/(3 + {}**2))", lambda v, w: v / (3 + w**2)),
    ("atan2({}, {})", lambda v, w: torch.atan2(v, w)),
)


def unary(form: str, code: Callable[[Tensor], Tensor], part: Written) -> Written:
    return form.format(part[0]), lambda x, y: code(part[1](x, y))


def binary(form: str, code: Callable[[Tensor, Tensor], Tensor], left: Written, right: Written) -> Written:
    return form.format(left[0], right[0]), lambda x, y: code(left[1](x, y), right[1](x, y))


def formula(seed: int) -> Written:
    """A formula in which parts are written again and again, each time as code that runs again."""
    rng = random.Random(seed)
    parts: list[Written] = [("x", lambda x, y: x), ("y", lambda x, y: y)]
    for _ in range(7):
        parts.append(unary(*rng.choice(UNARY), rng.choice(parts)))
        parts.append(binary(*rng.choice(BINARY), rng.choice(parts), rng.choice(parts)))
    often = rng.choice(parts[4:8])
    twice = binary(*BINARY[1], unary(*UNARY[1], often), unary(*UNARY[7], unary(*UNARY[1], often)))
    return binary(*BINARY[0], parts[-1], binary(*BINARY[2], binary(*BINARY[2], twice, parts[0]), parts[1]))


def own(code: Code, point: tuple[float, float], dtype: torch.dtype) -> list[float]:
    """The value, the first derivatives and those of the first by both, by autograd alone."""
    x, y = (torch.tensor(v, dtype=torch.float64).to(dtype).requires_grad_() for v in point)
    value = code(x, y)
    found = [value.item()]
    for leaf in (x, y):
        (first,) = torch.autograd.grad(value, leaf, create_graph=True, allow_unused=True)
        found.append(0.0 if first is None else first.item())
        for other in (x, y):
            second = None
            if first is not None and first.requires_grad:
                (second,) = torch.autograd.grad(first, other, retain_graph=True, allow_unused=True)
            found.append(0.0 if second is None else second.item())
    return found


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("seed", range(40))
def test_bits_are_those_of_the_code(seed: int, dtype: torch.dtype) -> None:
    """Value, first and second derivatives of a formula are those of the same operations in plain code, to the last bit."""
    text, code = formula(seed)
    chain = TorchChain(link([text], "f"), dtype, "cpu", {})
    asked = [("x",), ("x", "x"), ("x", "y"), ("y",), ("y", "x"), ("y", "y")]
    for point in POINTS:
        inputs = {n: torch.tensor(v, dtype=torch.float64).to(dtype) for n, v in zip("xy", point, strict=True)}
        outcome = chain.differentiate("grad", inputs, asked)
        gradients = [outcome.gradients[wrt] for wrt in asked]
        found = [outcome.values["f"].item(), *(0.0 if g is None else g.item() for g in gradients)]
        assert found == own(code, point, dtype), text


def test_equal_parts_round_each_on_their_own() -> None:
    """Two infinities that meet are nan, and two multiples of one number cancel as in the code, not as in one multiple of it."""
    (check,) = check_grad("3*exp(x) - 2*exp(x)", at="x=800").checks
    assert math.isnan(check.autograd)
    assert check.verdict == "mismatch"
    (check,) = check_grad("1.000000000000001*exp(x) - exp(x)", at="x=1.3").checks
    x = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    (1.000000000000001 * x.exp() - x.exp()).backward()
    assert check.autograd == x.grad.item() == 3.9968028886505635e-15
    assert check.verdict == "imprecise"


def test_a_stage_that_is_used_twice_runs_once() -> None:
    """What a chain names is one tensor, however often it is used."""
    check = next(c for c in check_chain("a = exp(x) | 1.000000000000001*a - a", at="x=1.3").checks if c.wrt == ("x",))
    x = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    a = x.exp()
    (1.000000000000001 * a - a).backward()
    assert check.autograd == x.grad.item() != 3.9968028886505635e-15


@pytest.mark.parametrize(
    ("text", "number"),
    [("0.1*3*x", 0.1 * 3), ("(1/3)**2*x", (1 / 3) ** 2), ("x*(2/7*7/3)", 2 / 7 * 7 / 3), ("2*pi/3*x", 2 * math.pi / 3)],
)
def test_constants_are_those_of_python(text: str, number: float) -> None:
    """Numbers without a variable are computed as Python computes them, operation by operation."""
    (check,) = check_grad(text, at="x=1").checks
    assert (check.autograd, check.verdict) == (number, "match")


@pytest.mark.parametrize(
    ("text", "at"), [("x**(1/0.1)", "x=1e20"), ("exp(x*(0.1*10))", "x=700"), ("x**(1.1 - 0.1)*x**(0.3/0.1)", "x=1e40")]
)
def test_a_constant_that_rounding_made_short_is_no_other_formula(text: str, at: str) -> None:
    """1/0.1 is 10 in floating point: the formula is right, and what the exponent was rounded by shows as rounding."""
    for check in check_grad(text, at=at, order=3).checks:
        assert (check.verdict, check.cause) == ("match", None)
        assert (check.error_ulps or 0) > 4

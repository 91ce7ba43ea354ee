"""Slips of custom Functions where something lies around them, and those that a gradient alone doesn't show."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import FunctionMeta

from gradcheck_cli import check_function
from gradcheck_cli.callables.own import own_slips
from gradcheck_cli.maps.map import Map
from gradcheck_cli.verdict.verdicts import Cause, Verdict
from tests.custom_functions.halves import custom

SQUARE = custom(lambda x: x**2, lambda g, x, y: 2 * x)
TWO = custom(lambda x: (x**2, x**3), lambda g, h, x, *ys: 2 * x * g)
BY_ENTRY = custom(lambda x: x**2, lambda g, x, y: torch.where(x > 0, 2 * x * g, 6 * x * g))
SQUARED = custom(lambda a: a * a, lambda g, a, y: 2 * a * g.mT)


def solved(g: Tensor, A: Tensor, b: Tensor, x: Tensor) -> Any:
    back = torch.linalg.solve(A, g)
    return -back.unsqueeze(-1) * x, back


SOLVE = custom(torch.linalg.solve, solved)


def scores(q: Tensor, k: Tensor) -> Tensor:
    return torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), -1)


def unscaled(g: Tensor, q: Tensor, k: Tensor, p: Tensor) -> Any:
    back = p * (g - (g * p).sum(-1, keepdim=True))
    return back @ k, back.mT @ q


SCORES = custom(scores, unscaled)

UPSTREAM = "drops the upstream gradient"
SLIPS: list[tuple[Callable[..., Any], dict[str, str], str]] = [
    # Function, shapes, what is said
    (lambda x: 3 * SQUARE.apply(x), {"x": "3"}, UPSTREAM),
    (lambda x: torch.sin(SQUARE.apply(torch.exp(x))).sum(), {"x": "3"}, UPSTREAM),
    (lambda x: TWO.apply(x), {"x": "3"}, "the upstream gradient of y1 is not used"),
    (lambda x: BY_ENTRY.apply(x), {"x": "4"}, "the constant 6 stands where 2 belongs"),
    (lambda a: SQUARED.apply(a), {"a": "2,2"}, "the upstream gradient is transposed"),
    (lambda A, b: SOLVE.apply(A, b), {"A": "2,2", "b": "2"}, "the input A is used where its transpose belongs"),
    (lambda q, k: SCORES.apply(q, k), {"q": "2,3", "k": "2,3"}, "the division by 1.732050808 (sqrt(3), of as many terms)"),
    (lambda q, k: SCORES.apply(q, k), {"q": "1,4", "k": "2,4"}, "the division by 2 (sqrt(4), of as many terms)"),
]


@pytest.mark.parametrize(("call", "shapes", "said"), SLIPS)
def test_slips_are_named_where_they_are(call: Any, shapes: dict[str, str], said: str) -> None:
    """Whatever lies around; and never as something that they aren't."""
    report = check_function(call, shape=[f"{n}={s}" for n, s in shapes.items()], sample=1)
    wrong = [c for c in report.checks if c.cause is Cause.FORMULA]
    assert wrong
    for check in wrong:
        words = str(check.detail)
        assert said in words
        assert "a sum for a mean" not in words and "1/-" not in words and "..." not in words.partition("the factor")[2][:60]


class Product(Function):
    """z*w, the conjugates forgotten."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(z, w)
        return z * w

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        z, w = ctx.saved_tensors
        return g * w, g * z


class Right(Product):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        z, w = ctx.saved_tensors
        return g * w.conj(), g * z.conj()


def real(product: Any) -> Callable[[Tensor, Tensor], Tensor]:
    def call(t: Tensor, a: Tensor) -> Tensor:
        y: Tensor = product.apply(torch.complex(torch.cos(t), torch.sin(t)), torch.complex(a, a * a))
        return y.real + 2 * y.imag

    return call


def test_a_forgotten_conjugate_is_named() -> None:
    """With the line of the backward; of the right one nothing is said."""
    wrong = [c for c in check_function(real(Product), sample=1).checks if c.verdict is Verdict.MISMATCH]
    first = inspect.getsourcelines(Product.backward)[1] + 1  # behind its decorator
    assert wrong
    for check in wrong:
        wrong_by_itself = f"the backward of Product (test_own.py, line {first}) is wrong by itself: a conjugate is forgotten"
        assert wrong_by_itself in str(check.detail)
    assert check_function(real(Right), sample=1).verdict is not Verdict.MISMATCH


def local(scale: float) -> Callable[[Tensor], Tensor]:
    """Whose class is made at each call."""

    def call(x: Tensor) -> Tensor:
        class Scaled(Function):
            @staticmethod
            def forward(ctx: Any, x: Tensor) -> Tensor:
                return scale * x

            @staticmethod
            def backward(ctx: Any, g: Tensor) -> Any:
                return g

        found: Tensor = Scaled.apply(x.sin())
        return found.exp()

    return call


def test_a_class_that_each_call_makes_is_listened_to() -> None:
    """It is another one in every run, of the same code; the next class of anybody's is made as ever."""
    wrong = [c for c in check_function(local(3.0), sample=1).checks if c.verdict is Verdict.MISMATCH]
    assert wrong and all("the backward of Scaled (test_own.py, line " in str(c.detail) for c in wrong)
    assert FunctionMeta.__init__.__module__ == "torch.autograd.function"


class Tangents(Function):
    """x*y, whose jvp takes one tangent."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(x, y)
        ctx.save_for_forward(x, y)
        return x * y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, y = ctx.saved_tensors
        return g * y, g * x

    @staticmethod
    def jvp(ctx: Any, u: Tensor, v: Tensor) -> Any:  # type: ignore[override]
        _, y = ctx.saved_tensors
        return u * y


def test_an_ignored_tangent_is_named() -> None:
    """By the argument that it belongs to, with the line of the jvp; behind other operations too."""
    first = inspect.getsourcelines(Tangents.jvp)[1] + 1
    for call in (lambda x, y: Tangents.apply(x, y), lambda x, y: torch.exp(Tangents.apply(x, 2 * y))):
        wrong = [c for c in check_function(call, mode="forward", sample=1).checks if c.cause is Cause.FORMULA]
        assert wrong
        assert all("the tangent of y is ignored" in str(c.detail) for c in wrong)
        assert all(f"the jvp of Tangents (test_own.py, line {first})" in str(c.detail) for c in wrong)


def test_of_several_the_wrong_one_is_named() -> None:
    """A right Function before and behind it stays out of it."""
    right = custom(lambda x: x.sin(), lambda g, x, y: g * x.cos(), name="Right")
    wrong = custom(lambda x: x**3, lambda g, x, y: 3 * x * g, name="Cube")
    map = Map(
        {"x": torch.tensor([0.3, 2.2], dtype=torch.float64)}, lambda v: {"y": right.apply(wrong.apply(right.apply(v["x"])))}
    )
    (text,) = own_slips(map)
    assert text.startswith("the backward of Cube (") and "is wrong by itself" in text


def test_a_right_backward_has_no_slip() -> None:
    """Where nothing is wrong by itself, only the place is told."""
    right = custom(lambda x: x.sin(), lambda g, x, y: g * x.cos(), name="Right")
    map = Map({"x": torch.tensor([0.3, 2.2], dtype=torch.float64)}, lambda v: {"y": right.apply(v["x"])})
    (text,) = own_slips(map)
    assert text.startswith("the backward of Right (") and "wrong" not in text


@torch.library.custom_op("gradcheck_tests_own::square", mutates_args=())
def square_op(x: Tensor) -> Tensor:
    return x * x


def half_of_it(ctx: Any, g: Tensor) -> Any:
    return g * ctx.saved_tensors[0]


square_op.register_autograd(half_of_it, setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs))


def test_a_registered_backward_goes_by_the_name_of_its_operation() -> None:
    """Not by that of the Function that torch makes of it."""
    report = check_function(lambda x: square_op(x), sample=1)
    first = half_of_it.__code__.co_firstlineno
    wrong = [c for c in report.checks if c.verdict is Verdict.MISMATCH]
    assert wrong and all(
        f"the backward of gradcheck_tests_own::square (test_own.py, line {first})" in str(c.detail) for c in wrong
    )


class _TwoInputs(torch.autograd.Function):
    """exp(a)*b*b, whose factor 2 is missing by b and whose gradient by a is reversed."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return a.exp() * b * b

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        a, b = ctx.saved_tensors
        return -upstream[0] * a.exp() * b * b, upstream[0] * a.exp() * b


def test_what_was_said_is_not_said_again() -> None:
    """Each gradient has its own slip, and the place, once."""
    found = check_function(_TwoInputs, sample=1)
    texts = {c.wrt[0]: str(c.detail) for c in found.checks if c.verdict is Verdict.MISMATCH}
    assert len(texts) == 6
    for name, text in texts.items():
        other = "a constant factor" if name.startswith("a") else "the sign is wrong"
        assert other not in text and text.count("the backward of _TwoInputs") == 1 and "by itself" not in text


CUBE = custom(lambda x: x**3, lambda g, x, y: g * 3 * x)
SOFTMAX = custom(lambda x: x.softmax(-1), lambda g, x, y: y * (g - (g * y).sum()))
LAYER = custom(lambda x, w: torch.tanh(x @ w), lambda g, x, w, y: ((g * (1 - y * y)) @ w, x.mT @ (g * (1 - y * y))))
CENTRED = custom(lambda x: x - x.mean(0), lambda g, x, y: 2 * (g - g.mean(0)))
LOSS = custom(lambda x, t: ((x - t) ** 2).mean(), lambda g, x, t, y: (g * 2 * (x - t), None))

LARGE: list[tuple[Any, tuple[tuple[int, ...], ...], str]] = [
    # Function, shapes, what is said
    (CUBE, ((20, 30),), "the factor argument 1 is missing"),
    (SOFTMAX, ((30, 3),), "it belongs over dimension 1"),
    (SOFTMAX, ((5, 10, 4),), "it belongs over dimension 2"),
    (LAYER, ((60, 3), (3, 3)), "the input argument 2 is used where its transpose belongs"),
    (CENTRED, ((8, 90),), "a constant factor: autograd is 2 times exact"),
    (CENTRED, ((60, 4),), ""),
    (LOSS, ((200,), (200,)), ""),
]


@pytest.mark.parametrize(("function", "shapes", "said"), LARGE)
def test_large_calls_are_looked_at_in_part(function: Any, shapes: tuple[tuple[int, ...], ...], said: str) -> None:
    """A Function of many entries whose values go on without most of them has the slips of the others; where each value hangs
    on all of them nothing is said of its part."""
    draw = torch.Generator().manual_seed(1)
    inputs = {n: torch.randn(shape, dtype=torch.float64, generator=draw) for n, shape in zip("xw", shapes, strict=False)}
    (found,) = own_slips(Map(inputs, lambda leaves: {"y": function.apply(*leaves.values())}))
    assert said in found
    assert ("by itself" in found) == bool(said)


KINKED = custom(lambda x: x.abs() * x, lambda g, x, y: g * (2 * x.abs() + 0.25))
TRIPLE = custom(lambda x: x * 3, lambda g, x, y: g * 3)


@pytest.mark.parametrize(
    ("function", "causes"),
    [
        (KINKED, {"formula"}),
        (lambda x: TRIPLE.apply(x).relu() - (-TRIPLE.apply(x)).relu(), {"kink"}),
    ],
    ids=["the backward's", "torch's"],
)
def test_at_a_kink_a_backward_that_is_wrong_beside_it_is_a_formula(function: Any, causes: set[str]) -> None:
    """x*|x| has the derivative 0 at 0; what a wrong backward returns there is no convention. That of torch's operations is one,
    beside a right custom backward too."""
    report = check_function(function, at={"x": torch.tensor([0.0, 1.5, -2.0], dtype=torch.float64)})
    assert {c.cause for c in report.checks if c.verdict == "mismatch"} == causes


@pytest.mark.parametrize(
    ("backward", "slip"),
    [
        (lambda g, x, y: g * x.cos() / g.norm(), "scaled_upstream"),
        (lambda g, x, y: (g * x.cos()).clamp(-0.5, 0.5), "scaled_upstream"),
        (lambda g, x, y: torch.sign(g) * x.cos(), "scaled_upstream"),
        (lambda g, x, y: x.cos(), "dropped_upstream"),
        (lambda g, x, y: g * g * x.cos(), "upstream_twice"),
        (lambda g, x, y: -g * x.cos(), "wrong_sign"),
    ],
)
def test_a_gradient_that_does_not_grow_with_the_upstream_gradient(backward: Any, slip: str) -> None:
    """One that is clipped or normalised is told so; one that is linear, forgets the upstream gradient or squares it has another
    slip."""
    report = check_function(custom(torch.sin, backward), at={"x": [0.4, -1.2, 0.9]})
    assert {check.cause for check in report.checks if check.cause} == {Cause.FORMULA}
    assert f"more: gradcheck why {slip}" in str(report)

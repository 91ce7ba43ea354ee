"""The table of ATen operations against torch and against difference quotients at 900 bits: for every row of the function
table, in every mode, first and second order. A new function is tested by being in the table."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import pytest
import sympy
import torch
from flint import arb, ctx

from gradcheck_cli.algebra.balls import PLAIN, SMOOTH
from gradcheck_cli.algebra.layers import Exact, Layer, Rounded, Symbolic
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.errors import InputError
from gradcheck_cli.exact.derivative import tidy
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.formulas.torch_chain import Outcome, TorchChain, Wrt
from gradcheck_cli.language.chain import link
from gradcheck_cli.language.functions import ROWS, TABLE, Function
from gradcheck_cli.modes import MODES
from gradcheck_cli.shadow.mode import Shadow
from tests.expressions import HELD

BITS = 900  # of the difference quotients
STEP = 200  # they step by x*2**-STEP: an error of about 2**-400 relative
ORDINARY = (0.3, 1.7, -0.6, 3.5, -2.5)
HARD = (1e-300, 1e-8, 25.0, 40.0, 1e8, -30.3, 0.9)
SECOND = (0.7, 2.5, 0.3, 1.25, -0.4, 40.0, 3.5)
THIRD = (0.35, 0.6, 0.2)

FAULTS = {
    # torch's trigamma is a truncated series, right to 4e-10 only: 3.6e6 ulps of float64 were measured
    ("polygamma", 1), ("lgamma", 2), ("digamma", 1), ("gamma", 2), ("factorial", 2), ("beta", 2),
    # the backward kernel multiplies by a float32 sixth, in float64 too
    ("hardsigmoid", 1),
}  # fmt: skip
"""(row, order): kernels of torch that in float64 are not as good as any row should say. They must stay visible."""

NO_GRADIENT = {
    "heaviside", "floor_divide", "zeta", "besselj", "bessely", "besselk", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1",
    "modified_bessel_i0", "modified_bessel_i1", "modified_bessel_k0", "modified_bessel_k1", "scaled_modified_bessel_k0",
    "scaled_modified_bessel_k1", "spherical_bessel_j0", "airy_ai", "gammainc", "gammaincc",
} | {row.name for row in ROWS if "_polynomial_" in row.name}  # fmt: skip
"""Rows that torch doesn't differentiate by some or all of their inputs. With all others there is something to compare."""

ROW_NAMES = [row.name for row in ROWS if row.parameters and row.name != HELD]


def cases(row: Function) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Formulas that call the row: with variables, and with constants where it takes both."""
    name = row.name
    if name == "masked_fill":
        yield "masked_fill(x*y, x > y, 0.25)", ("x", "y")
        return
    if row.truths:
        condition = {"logical_and": "x > 0.1 and y > 0.1", "logical_or": "x > 0.1 or y > 0.1", "logical_not": "not x > y"}
        text = "x > y" if name == "where" else condition.get(name, f"{name}(x, y)")
        yield f"where({text}, sin(x), y*y)", ("x", "y")
        return
    for n in (0, 1, 2) if any(p.kind == "integer" for p in row.parameters) else (0,):
        if n == 2 and name.startswith("bessel"):
            continue
        free: list[str] = []
        arguments: list[str] = []
        for p in row.parameters:
            if p.kind == "integer":
                arguments.append(str(n))
            elif p.kind == "number":
                arguments.append("0.25" if p.default is None else repr(p.default))
            else:
                arguments.append({"min": "lo", "max": "hi"}.get(p.name, p.name))
                free.append(arguments[-1])
        yield f"{name}({', '.join(arguments)})", tuple(free)
        scalars = [i for i, p in enumerate(row.parameters) if p.kind == "scalar" and i]
        if scalars:
            fixed = [{"lo": "0.25"}.get(a, "1.5") if i in scalars else a for i, a in enumerate(arguments)]
            yield f"{name}({', '.join(fixed)})", tuple(a for a in fixed if a in free)
        if scalars and row.parameters[0].kind == "scalar":
            yield f"{name}(x, 2)", ("x",)
            yield f"{name}(1.5, y)", ("y",)


def follow(
    text: str, dtype: str, mode: str, points: Mapping[str, Sequence[float]], derivatives: Sequence[Wrt], layers: Sequence[Layer]
) -> tuple[Shadow, Outcome]:
    """The shadow of one formula at several points."""
    kind = getattr(torch, dtype)
    tensors = {n: torch.tensor(v, dtype=kind) for n, v in points.items()}
    shadow = Shadow(layers, len(next(iter(points.values()))))
    for name, tensor in tensors.items():
        symbol = sympy.Symbol(name, real=True)
        shadow.seed(tensor, [[symbol if isinstance(la, Symbolic) else arb(v) for v in tensor.tolist()] for la in layers])
    with shadow, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcome = TorchChain(link([text]), kind, "cpu", {}).differentiate(mode, tensors, derivatives)
    return shadow, outcome


def orders(names: Sequence[str]) -> Iterator[tuple[int, list[Wrt]]]:
    yield 1, [(n,) for n in names]
    yield 2, list(itertools.product(names, repeat=2)) if len(names) < 3 else [(n, n) for n in names]


@cache
def programs(text: str, names: tuple[str, ...]) -> tuple[Program, Program]:
    tree = link([text]).stages[-1].tree
    return (
        Program([tree], names, PLAIN, key=lambda: ctx.prec),
        Program([tree], names, SMOOTH, key=lambda: ctx.prec),
    )


def quotient(text: str, point: dict[str, float], wrt: Wrt) -> Any:
    """The derivative as a central difference quotient at BITS bits; None where the function isn't certified to be smooth."""
    names = tuple(point)
    plain, smooth = programs(text, names)
    with ctx.workprec(BITS):
        x = [arb(v) for v in point.values()]
        value = smooth(*x)[0]
        if not (isinstance(value, arb) and value.is_finite()) or 0.0 in point.values():
            return None
        total = arb(0)
        for signs in itertools.product((1, -1), repeat=len(wrt)):
            moved = list(x)
            for sign, name in zip(signs, wrt, strict=True):
                moved[names.index(name)] += sign * abs(x[names.index(name)]) * arb(2) ** -STEP
            total += math.prod(signs) * plain(*moved)[0]
        for name in wrt:
            total /= 2 * abs(x[names.index(name)]) * arb(2) ** -STEP
        return total + arb(0, (abs(total).upper() * arb(2) ** -150 + arb(2) ** -330).upper())


def points(names: Sequence[str], first: Sequence[float], dtype: str) -> dict[str, list[float]]:
    """Several points, the values of each name in a row, rounded to the format."""
    columns = {
        n: [(first, SECOND, THIRD)[i][(k + i * (k // 2)) % len((first, SECOND, THIRD)[i])] for k in range(len(first))]
        for i, n in enumerate(names)
    }
    rounded = {n: torch.tensor(v, dtype=getattr(torch, dtype)).tolist() for n, v in columns.items()}
    kept = [k for k in range(len(first)) if all(math.isfinite(v[k]) for v in rounded.values())]
    return {n: [v[k] for k in kept] for n, v in rounded.items()}


@pytest.mark.parametrize("name", ROW_NAMES)
@pytest.mark.slow(reason="every row of the table, in every mode")
def test_nothing_is_opaque(name: str) -> None:
    """Every operation of every row has a row in the ATen table: both orders, all modes in float64, the second order in half of
    them by turns, and one of them by turns in bfloat16, which has a few operations of its own."""
    turns = itertools.cycle(MODES)
    for _ in range(ROW_NAMES.index(name) % len(MODES)):
        next(turns)
    for text, names in cases(TABLE[name]):
        for order, derivatives in orders(names):
            modes = MODES if order == 1 else [next(turns), next(turns)]
            for mode, dtype in (*((mode, "float64") for mode in modes), (next(turns), "bfloat16")):
                try:
                    shadow, _ = follow(text, dtype, mode, points(names, ORDINARY[:2], dtype), derivatives, [Exact()])
                except InputError:  # torch has no kernel for the format
                    assert dtype == "bfloat16", text  # torch has no kernel
                    continue
                assert not shadow.opaque, (text, order, mode, dtype)


@pytest.mark.parametrize("name", ROW_NAMES)
@pytest.mark.slow(reason="every row of the table, in every mode")
def test_exact_is_the_derivative(name: str) -> None:
    """What torch's own formulas give in exact arithmetic overlaps a difference quotient at 900 bits, and is a tight ball; the
    second order in half of the modes, by turns."""
    compared = 0
    turn = ROW_NAMES.index(name) % 2
    for text, names in cases(TABLE[name]):
        at = points(names, ORDINARY, "float64")
        if follow(text, "float64", "reverse", at, [(n,) for n in names], [Exact()])[1].cut:
            continue  # torch detaches the result without a word, in forward mode too
        for (order, derivatives), mode in itertools.product(orders(names), MODES):
            if order == 2 and list(MODES).index(mode) % 2 != turn:
                continue
            with ctx.workprec(256):
                shadow, outcome = follow(text, "float64", mode, at, derivatives, [Exact()])
            for wrt in derivatives:
                gradient = outcome.gradients.get(wrt)
                if gradient is None:
                    continue
                for k, ball in enumerate(shadow.cells(gradient, 0)):
                    truth = quotient(text, {n: v[k] for n, v in at.items()}, wrt)
                    if truth is not None:
                        where = (text, wrt, mode, {n: v[k] for n, v in at.items()}, ball, truth)
                        assert ball.overlaps(truth), where
                        assert ball.is_zero() or ball.contains(0) or ball.rel_accuracy_bits() > 40, where
                        compared += 1
    assert compared or name in NO_GRADIENT


def followed(text: str, names: tuple[str, ...], dtype: str, derivatives: Sequence[Wrt]) -> Iterator[tuple[bool, Any]]:
    """The entries at which nothing overflowed on the way: whether the rounded ball contains torch's float, and the entry."""
    at = points(names, ORDINARY + HARD, dtype)
    with ctx.workprec(256):
        shadow, outcome = follow(text, dtype, "reverse", at, derivatives, [Exact(), Rounded(FORMATS[dtype])])
    for wrt in derivatives:
        gradient = outcome.gradients.get(wrt)
        if gradient is None:
            continue
        numbers = torch.zeros_like(gradient) if gradient._is_zerotensor() else gradient
        for k, (value, ball) in enumerate(zip(numbers.tolist(), shadow.cells(gradient, 1), strict=True)):
            if math.isfinite(value) and ball.is_finite() and (k not in shadow.trace.run or not shadow.trace.run[k].infinite):
                yield ball.contains(arb(value)), (text, wrt, {n: v[k] for n, v in at.items()}, value, ball)


TURNS = ("float32", "bfloat16", "float16")


@pytest.mark.parametrize(
    ("name", "dtype"), [(name, dtype) for turn, name in enumerate(ROW_NAMES) for dtype in ("float64", TURNS[turn % len(TURNS)])]
)
@pytest.mark.slow(reason="every row of the table, in float64 and by turns in the shorter formats")
def test_rounding_explains_torch(name: str, dtype: str) -> None:
    """The ball that allows for rounding contains torch's float, at ordinary and at hard points; except for known faults."""
    found: dict[int, list[tuple[bool, Any]]] = {1: [], 2: []}
    for text, names in cases(TABLE[name]):
        for order, derivatives in orders(names):
            try:
                found[order] += followed(text, names, dtype, derivatives)
            except InputError:  # torch has no kernel for the format
                assert dtype in ("float16", "bfloat16")
    for order, entries in found.items():
        outside = [entry for inside, entry in entries if not inside]
        assert bool(outside) == ((name, order) in FAULTS and dtype == "float64"), outside[:3]
    assert found[1] or name in NO_GRADIENT or dtype in ("float16", "bfloat16")


@pytest.mark.slow(reason="every row, planted")
@pytest.mark.parametrize(
    ("text", "point", "wrt"),
    [
        ("pow(x, y)", {"x": 0.9, "y": 0.0}, ("x", "y")),  # cut to 0 at the exponent 0 before it is differentiated again
        ("i1(x)", {"x": 1e-17}, ("x", "x")),  # the derivative is a constant for |x| <= eps
        ("i1e(x)", {"x": 1e-17}, ("x", "x")),
    ],
)
def test_wrong_formulas_are_seen(text: str, point: dict[str, float], wrt: Wrt) -> None:
    """Wrong double backward formulas of torch: exact arithmetic doesn't lead to the derivative either."""
    with ctx.workprec(256):
        shadow, outcome = follow(text, "float64", "grad", {n: [v] for n, v in point.items()}, [wrt], [Exact()])
    gradient = outcome.gradients[wrt]
    assert gradient is not None
    (ball,) = shadow.cells(gradient, 0)
    truth = 1 / 0.9 if text.startswith("pow") else {"i1(x)": 3.75e-18, "i1e(x)": -1.0}[text]
    assert ball.is_zero()
    assert float(ball) == gradient.item() != truth


@pytest.mark.parametrize("name", ROW_NAMES)
@pytest.mark.slow(reason="every row of the table, in every mode")
def test_symbols_give_a_formula(name: str) -> None:
    """The decompiled backward pass is a text of the language, for the first derivative in every mode."""
    formulas = 0
    for text, names in cases(TABLE[name]):
        for mode in MODES:
            derivatives = [(n,) for n in names]
            shadow, outcome = follow(text, "float64", mode, points(names, ORDINARY[:1], "float64"), derivatives, [Symbolic()])
            assert not shadow.opaque
            for gradient in outcome.gradients.values():
                if gradient is not None:
                    (expression,) = shadow.cells(gradient, 0)
                    assert tidy(expression), (text, mode, expression)
                    formulas += 1
    assert formulas or name in NO_GRADIENT


TIES = [
    ("abs(x)", 0.0), ("sign(x)", 0.0), ("relu(x)", 0.0), ("relu6(x)", 0.0), ("relu6(x)", 6.0), ("clamp(x, -1, 2)", -1.0),
    ("clamp(x, -1, 2)", 2.0), ("clamp_min(x, 1)", 1.0), ("clamp_max(x, 1)", 1.0), ("hardtanh(x)", -1.0), ("hardtanh(x)", 1.0),
    ("hardshrink(x)", 0.5), ("hardshrink(x)", -0.5), ("softshrink(x)", 0.5), ("softshrink(x)", -0.5),
    ("leaky_relu(x, 0.25)", 0.0), ("elu(x, 0.5)", 0.0), ("celu(x, 0.5)", 0.0),
    ("maximum(x, 1)", 1.0), ("minimum(x, 1)", 1.0), ("maximum(x, x*x)", 1.0),
    ("fmax(x, 1)", 1.0), ("fmin(x, 1)", 1.0), ("threshold(x, 0.5, 2)", 0.5), ("hardsigmoid(x)", 3.0), ("hardsigmoid(x)", -3.0),
    ("hardswish(x)", 3.0), ("hardswish(x)", -3.0), ("where(x > 0, x, 2*x)", 0.0), ("where(x >= 0, x, 2*x)", 0.0),
    ("softplus(x, 1, 2)", 2.0), ("floor(x)", 1.0), ("frac(x)", 1.0), ("trunc(x)", 2.0), ("round(x)", 0.5), ("fmod(x, 2)", 4.0),
    ("remainder(x, 2)", 4.0), ("copysign(x, 1)", 0.0), ("logsigmoid(x)", 0.0), ("i0e(x)", 0.0), ("hypot(x, 2*x)", 1.0),
    ("x**0", 2.0), ("x**2", 0.0), ("x**1", 0.0), ("sinc(x)", 0.0), ("xlogy(x, 2)", 0.0), ("cbrt(x)", 1.0),
]  # fmt: skip


@pytest.mark.parametrize(("text", "point"), TIES)
@pytest.mark.parametrize("mode", MODES)
def test_ties_follow_torch(text: str, point: float, mode: str) -> None:
    """At a kink the shadow takes torch's side: its exact ball contains torch's float, or rounds to it."""
    if text == "hardswish(x)" and torch.__version__ < "2.7":
        pytest.skip("torch 2.6 takes the other side than later versions")
    with ctx.workprec(128):
        shadow, outcome = follow(text, "float64", mode, {"x": [point]}, [("x",)], [Exact()])
    gradient = outcome.gradients["x",]
    assert gradient is not None
    (ball,) = shadow.cells(gradient, 0)
    assert ball.contains(arb(gradient.item())) or float(ball.mid()) == pytest.approx(gradient.item(), rel=1e-15, abs=0)


def test_settings_without_a_row_are_not_passed_over() -> None:
    """A setting that the table doesn't describe (rounding to decimals) is followed by what torch decomposes it into."""
    x = torch.tensor([1.25], dtype=torch.float64)
    with ctx.workprec(128), Shadow([Exact()], 1) as shadow:
        rounded = torch.round(x, decimals=1)
        torch.div(x, 2, rounding_mode="floor")
        torch.clamp(x, max=1.0)
        torch.add(x, x, alpha=3)
        assert not shadow.opaque
        assert shadow.cells(rounded, 0)[0].overlaps(arb(12) / 10)

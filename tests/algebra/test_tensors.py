"""Tensors: torch computes every row of the table to within its promise, and runs the formula as it was written.

The oracle of values is `balls.evaluate` (flint); the oracle of operations is what a TorchDispatchMode sees.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from flint import arb, ctx
from mpmath import mp
from torch.utils._python_dispatch import TorchDispatchMode

from gradcheck_cli.algebra.balls import evaluate
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.algebra.tensors import TensorAlgebra, fold, operation
from gradcheck_cli.errors import InputError
from gradcheck_cli.language.functions import ROWS, Function
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.tree import Call, Constant, Node, Variable
from tests.every import every
from tests.formats import DOUBLE

VALUES = (0.3, 0.875, 1.7, -0.6, 2.5, -3.25, 5.0)
FEW = (0.3, -0.6, 2.5)
BAD_KERNELS = {"polygamma": 1e-9, "airy_ai": 1e-9} | dict.fromkeys(
    ("besselj", "bessely", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1"), 1e-7
)

"""Relative errors of torch 2.13's kernels in float64, measured: polygamma(1, 0.3) has 9 digits right, airy_ai(-3.25) too,
bessel_y0(5) 7."""
LOOSE = {"gamma": 4096, "factorial": 4096, "beta": 1024}
"""Ulps for rows that torch composes: their own roundings are the formula's, not a kernel's."""


def algebra(dtype: torch.dtype = torch.float64, **callables: Any) -> TensorAlgebra:
    return TensorAlgebra(dtype, "cpu", callables)


def run(tree: Node, point: dict[str, Any], dtype: torch.dtype = torch.float64, **callables: Any) -> torch.Tensor:
    """The tree in torch, at one-element tensors."""
    inputs = [torch.tensor([v], dtype=torch.bool if isinstance(v, bool) else dtype) for v in point.values()]
    result: torch.Tensor = Program([fold(tree)], list(point), algebra(dtype, **callables))(*inputs)[0]
    return result


def points(row: Function) -> list[tuple[Any, ...]]:
    """Arguments of ordinary size: truth values for conditions, defaults for numbers, 0 and 1 for whole settings."""
    choices: list[tuple[Any, ...]] = []
    for p in row.parameters:
        if p.kind == "truth":
            choices.append((True, False))
        elif p.kind == "integer":
            choices.append((0, 1))
        elif p.kind == "number":
            choices.append((0.75 if p.default is None else p.default,))
        else:
            choices.append(VALUES if len(row.parameters) == 1 else FEW)
    return list(itertools.product(*choices))


def call(row: Function, point: tuple[Any, ...]) -> tuple[Node, dict[str, Any]]:
    """The row with its settings filled in, and the values of the rest."""
    arguments: list[Node] = []
    values: dict[str, Any] = {}
    for p, value in zip(row.parameters, point, strict=True):
        if p.kind in ("integer", "number"):
            arguments.append(Constant(value))
        else:
            arguments.append(Variable(p.name))
            values[p.name] = value
    return Call(row.name, tuple(arguments)), values


@every([r for r in ROWS if r.parameters], lambda row: row.name)
def test_torch_computes_the_row(row: Function) -> None:
    """In float64, at ordinary points, torch's value lies within the row's own promise of the ball."""
    compared = 0
    for point in points(row):
        with ctx.workprec(200):
            pairs = zip(row.parameters, point, strict=True)
            ball = evaluate(row.name)(*(a if p.kind == "integer" or isinstance(a, bool) else arb(a) for p, a in pairs))
        tree, values = call(row, point)
        found = run(tree, values)
        assert found.dtype in (torch.float64, torch.bool)
        if isinstance(ball, bool):
            assert found.item() is ball, point
        elif ball is None or not ball.is_finite():
            assert not math.isfinite(found.item()) or row.name in ("copysign", "beta"), point
            continue
        else:
            ulps = max(4 * row.ulps, LOOSE.get(row.name, 0))
            size = max(abs(float(ball)), row.absolute, 0.05 if row.definition else 0.0)  # a definition may cancel
            allowed = max(ulps * float(DOUBLE.ulp(size)), BAD_KERNELS.get(row.name, 0.0) * size)
            assert abs(found.item() - float(ball)) <= allowed, (point, found.item(), str(ball))
        compared += 1
    assert compared >= 2


@pytest.mark.parametrize(
    "row", [r for r in ROWS if r.parameters and not r.composed and r.parameters[-1].default is not None], ids=lambda r: r.name
)
def test_defaults_are_those_of_torch(row: Function) -> None:
    """Leaving a setting out means to the table what it means to torch (where torch lets one leave it out)."""
    required = [p for p in row.parameters if p.default is None]
    x = torch.tensor([0.3, 1.7, -0.6, 25.0, 40.0, -0.45], dtype=torch.float64)
    with_defaults = parse(f"{row.name}({', '.join(p.name for p in required)})")
    (table,) = Program([fold(with_defaults)], [p.name for p in required], algebra())(*[x] * len(required))
    try:
        own = operation(row.name)(*[x] * len(required))
    except (TypeError, RuntimeError):  # torch wants the second argument; of clamp, one bound at least
        assert row.name in ("heaviside", "zeta", "clamp")
        return
    assert torch.equal(table, own)


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16"])
def test_dtypes_stay(name: str) -> None:
    """Constants and compositions don't raise the dtype."""
    dtype = getattr(torch, name)
    for text in (
        "0.1*x",
        "x + pi",
        "hypot(x, 2.5)",
        "atan2(1, x)",
        "gelu(x)",
        "where(x > 0, 1, x)",
        "clamp(x, 0.1, x*x)",
        "sec(x)",
    ):
        assert run(parse(text), {"x": 0.5}, dtype).dtype is dtype, text


FOLDED = [
    "pi", "e", "pi/4", "sqrt(2)*pi", "1/3", "2**0.5", "exp(1) - 2.7", "sin(1e22)", "log(10)", "-(pi + e)**3", "0.1 + 0.2",
    "9.5**-200", "exp(-740)", "1e-200*1e-200*1e300*1e50", "2**-1074", "atan(1)*4 - pi", "tanh(0.5)", "erf(0.25)", "10**22 + 1",
]  # fmt: skip


@pytest.mark.parametrize("text", FOLDED)
def test_constants_fold_to_a_rounded_constant(text: str) -> None:
    """A subexpression without a variable is a double beside its exact value, however much cancels in it."""
    node = fold(parse(text))
    assert isinstance(node, Constant)
    names = {n: getattr(mp, n) for n in ("sqrt", "exp", "sin", "log", "atan", "tanh", "erf")}
    with mp.workprec(3000):
        # Literals become mpmath's numbers, which hold a double exactly.
        source = "".join(f"mpf({t})" if t[0].isdigit() else t for t in _tokens(text))
        value = eval(source, {"__builtins__": {}}, {**names, "pi": mp.pi, "e": mp.e, "mpf": mp.mpf})
        expected = _nearest(value)
    assert abs(node.value - expected) <= 2 * math.ulp(expected)


def _tokens(text: str) -> list[str]:
    import io
    import tokenize

    return [t.string for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.string.strip()]


def _nearest(value: Any) -> float:
    """The double nearest to an mpmath number: the best of three neighbours, by exact comparison."""
    start = float(value)
    candidates = [start, math.nextafter(start, math.inf), math.nextafter(start, -math.inf)]
    return min(candidates, key=lambda c: abs(mp.mpf(c) - value))


def test_fold_leaves_the_rest_as_it_was_written() -> None:
    """Only constant subexpressions are folded; conditions fold to truth values, what has no value to nan."""
    assert fold(parse("(1 + 1)*x/x + x**0 + (x - x)")) == parse("2.0*x/x + x**0 + (x - x)")
    assert fold(parse("where(1 < 2, x, sin(0))")) == Call("where", (Constant(True), Variable("x"), Constant(0.0)))
    (_, bad) = fold(parse("x + log(-1)")).arguments  # type: ignore[union-attr]
    assert math.isnan(bad.value)
    assert fold(parse("clamp(x)")) == Call("clamp", (Variable("x"), Constant(-math.inf), Constant(math.inf)))


class Recorder(TorchDispatchMode):
    """The names of the operations that reach torch."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


AS_WRITTEN = [
    ("x**0", ["aten.pow.Tensor_Scalar"]),
    ("x**1", ["aten.pow.Tensor_Scalar"]),
    ("x**0.5", ["aten.pow.Tensor_Scalar"]),
    ("2**x", ["aten.pow.Scalar"]),
    ("x**x", ["aten.pow.Tensor_Tensor"]),
    ("x/x", ["aten.div.Tensor"]),
    ("x - x", ["aten.sub.Tensor"]),
    ("0*x", ["aten.mul.Tensor"]),
    ("x + 0", ["aten.add.Tensor"]),
    ("--x", ["aten.neg.default", "aten.neg.default"]),
    ("1/x", ["aten.reciprocal.default", "aten.mul.Tensor"]),
    ("exp(log(x))", ["aten.log.default", "aten.exp.default"]),
    ("sqrt(x)**2", ["aten.sqrt.default", "aten.pow.Tensor_Scalar"]),
    ("sqrt(x**2)", ["aten.pow.Tensor_Scalar", "aten.sqrt.default"]),
    ("(x + 1) - 1", ["aten.add.Tensor", "aten.sub.Tensor"]),
    ("x*sigmoid(x)", ["aten.sigmoid.default", "aten.mul.Tensor"]),
    ("silu(x)", ["aten.silu.default"]),
    ("gelu(x)", ["aten.gelu.default"]),
    ("square(x)", ["aten.pow.Tensor_Scalar"]),
    ("x % 2", ["aten.remainder.Scalar"]),
    ("x < 0.25", ["aten.lt.Scalar"]),
    ("2*3 + x", ["aten.add.Tensor"]),
    ("sec(x)", ["aten.cos.default", "aten.reciprocal.default", "aten.mul.Tensor"]),
    ("sin(x)*sin(x)", ["aten.sin.default", "aten.mul.Tensor"]),
]


@pytest.mark.slow(reason="every row under a dispatch mode")
@pytest.mark.parametrize(("text", "operations"), AS_WRITTEN, ids=[text for text, _ in AS_WRITTEN])
def test_torch_runs_what_was_written(text: str, operations: list[str]) -> None:
    """No operation is simplified away or replaced: torch sees exactly these."""
    x = torch.tensor([0.7], dtype=torch.float64)
    program = Program([fold(parse(text))], ["x"], algebra())
    with Recorder() as recorder:
        program(x)
    assert recorder.seen == operations


def test_numbers_stay_numbers() -> None:
    """A constant operand is a Python number to torch, as in a user's code; tensor parameters get a tensor."""
    seen: dict[str, type] = {}

    class Kinds(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if len(args) > 1:
                seen[str(func).split(".")[1]] = type(args[1])
            return func(*args, **(kwargs or {}))

    x = torch.tensor([0.7], dtype=torch.float32)
    for text in ("x + sqrt(2)", "x*3", "x - pi", "maximum(x, 0.1)", "atan2(x, 2)"):
        program = Program([fold(parse(text))], ["x"], algebra(torch.float32))
        with Kinds():
            program(x)
    assert seen == {"add": float, "mul": int, "sub": float, "maximum": torch.Tensor, "atan2": torch.Tensor}


def test_callables_replace_a_row() -> None:
    """A user's callable runs instead of torch's operation, operators included."""
    assert run(parse("sin(x) + 1"), {"x": 0.5}, sin=lambda x: x * 4).item() == 3.0
    assert run(parse("x*x"), {"x": 0.5}, mul=lambda x, y: x + y + 10).item() == 11.0
    assert run(parse("sec(x)"), {"x": 0.5}, sec=lambda x: -x).item() == -0.5


def test_what_torch_lacks_is_an_input_error() -> None:
    """A setting without a kernel, and settings that a kernel refuses, are the user's to mend; a dtype without one is part of
    the answer."""
    with pytest.raises(InputError, match="n = 2"):
        run(parse("besselj(2, x)"), {"x": 1.0})
    with pytest.raises(InputError, match="hardtanh"):
        run(parse("hardtanh(x, 3, 1)"), {"x": 1.0})
    with pytest.raises(RuntimeError, match="bessel_j0"):
        run(parse("bessel_j0(x)"), {"x": 1.0}, torch.float16)


def test_cuts_are_noticed() -> None:
    """The rows whose operation returns a detached tensor are collected; others, and inputs without a gradient, are not."""
    x = torch.tensor([0.7], dtype=torch.float64, requires_grad=True)
    kind = algebra()
    program = Program([parse("sin(x)*besselj(0, x) + floor(x) + bessel_y0(x*x)")], ["x"], kind)
    program(x)
    assert set(kind.cut) == {"besselj", "bessel_y0"}
    kind.cut.clear()
    program(x.detach())
    assert not kind.cut

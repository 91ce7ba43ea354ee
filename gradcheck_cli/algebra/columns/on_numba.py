"""The primitives for loops that numba compiles: one number at a time, see `primitives`. LLVM contracts and reorders nothing
unless it is told to, and nothing here tells it.

All kernels of a formula become one loop without branches, of which LLVM makes vectors: what is rare stays open, and goes to
NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from gradcheck_cli.algebra.columns.primitives import Array
from gradcheck_cli.algebra.columns.words import OPEN

_DOUBLE, _WHOLE = ir.DoubleType(), ir.IntType(64)


def compiled(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """A function that becomes a part of those that call it."""
    return njit(error_model="numpy", forceinline=True)(kernel)  # type: ignore[no-any-return]


def _operation(name: str, count: int) -> Callable[..., Any]:
    """An instruction of LLVM's on doubles."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(_DOUBLE, [_DOUBLE] * count)
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.f64"), arguments)

    signature = types.float64(*(types.float64,) * count)
    if count == 1:
        return intrinsic(lambda context, a: (signature, emit))  # type: ignore[no-any-return]
    return intrinsic(lambda context, a, b, c: (signature, emit))  # type: ignore[no-any-return]


def _conversion(name: str, target: Any, source: Any, kind: Any) -> Callable[..., Any]:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return getattr(builder, name)(arguments[0], kind)

    return intrinsic(lambda context, a: (target(source), emit))  # type: ignore[no-any-return]


def _saturated() -> Callable[..., Any]:
    """The whole number that a float is; 0 for nan, the nearest there is for what is too large."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(_WHOLE, [_DOUBLE])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.fptosi.sat.i64.f64"), arguments)

    return intrinsic(lambda context, a: (types.int64(types.float64), emit))  # type: ignore[no-any-return]


fma = _operation("fma", 3)
root, absolute, nearest = _operation("sqrt", 1), _operation("fabs", 1), _operation("rint", 1)
bits = _conversion("bitcast", types.int64, types.float64, _WHOLE)
unbits = _conversion("bitcast", types.float64, types.int64, _DOUBLE)
floating = _conversion("sitofp", types.float64, types.int64, _DOUBLE)
whole = _saturated()


def _two_product(a: float, b: float) -> tuple[float, float]:
    product = a * b
    return product, fma(a, b, -product)


two_product = compiled(_two_product)
divide = compiled(lambda a, b: a / b)
maximum = compiled(lambda a, b: b if a < b else a)
minimum = compiled(lambda a, b: b if a > b else a)
where = compiled(lambda condition, a, b: a if condition else b)
pending = compiled(lambda rare, radius: OPEN if rare else radius)
anywhere = compiled(lambda condition: False)
lookup = compiled(lambda table, i: table[i])
isfinite = compiled(lambda a: a - a == 0.0)


def loop(
    run: Callable[..., Any], inputs: int, outputs: int, words: int
) -> Callable[[Sequence[Array], Sequence[Sequence[Array]]], None]:
    """A function of numbers as one compiled loop over arrays."""
    values = [f"x{i}" for i in range(inputs)]
    parts = [[f"y{i}_{k}" for k in range(words)] for i in range(outputs)]
    zeros = "0.0, " * (words - 1)
    lines = [
        f"def loop({', '.join([*values, *(name for names in parts for name in names)])}):",
        " for i in range(x0.shape[0]):",
        f"  finite = {' and '.join(f'isfinite({v}[i])' for v in values)}",
        f"  results = run({', '.join(f'({v}[i], {zeros})' for v in values)})",
    ]
    for i, names in enumerate(parts):
        lines += [f"  {name}[i] = results[{i}][{k}]" for k, name in enumerate(names[:-1])]
        radius = f"results[{i}][{words - 1}]"
        lines.append(f"  {names[-1]}[i] = {radius} if finite and isfinite(results[{i}][0]) and {radius} < OPEN else OPEN")
    scope: dict[str, Any] = {"run": compiled(run), "isfinite": isfinite, "OPEN": OPEN}
    exec(compile("\n".join(lines), "<loop>", "exec"), scope)  # our own lines, of our own names
    fused = njit(error_model="numpy")(scope["loop"])

    def evaluate(values: Sequence[Array], parts: Sequence[Sequence[Array]]) -> None:
        fused(*values, *(part for column in parts for part in column))

    return evaluate

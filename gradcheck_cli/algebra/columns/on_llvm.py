"""The primitives as instructions of LLVM, by llvmlite: a kernel runs once, on numbers that have no value yet, and what it does
with them is written down and compiled. LLVM contracts and reorders nothing unless it is told to, and nothing here tells it.

All kernels of a formula become one loop without branches, of which LLVM makes vectors: what is rare stays open, and goes to
NumPy. Numbers that are known when the kernel runs are Python's, and NumPy's primitives compute with them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from gradcheck_cli.algebra.columns import primitives
from gradcheck_cli.algebra.columns.primitives import Array, Mask, Whole
from gradcheck_cli.algebra.columns.words import OPEN

_DOUBLE, _WHOLE, _TRUTH = ir.DoubleType(), ir.IntType(64), ir.IntType(1)


class Value:
    """A number, a whole number or a condition that a loop will have."""

    __slots__ = ("builder", "value")
    __array_ufunc__ = None  # numbers of NumPy leave operations to it

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def like(self, other: Any) -> Any:
        """The other operand, which may be known already."""
        if isinstance(other, Value):
            return other.value
        kind = self.value.type
        return ir.Constant(kind, float(other) if kind == _DOUBLE else int(other))

    def do(self, name: str, *operands: Any) -> Value:
        """The result of an instruction."""
        return Value(self.builder, getattr(self.builder, name)(*operands))

    def call(self, name: str, *operands: Any, result: Any = _DOUBLE) -> Value:
        """The result of one of LLVM's own functions."""
        kind = ir.FunctionType(result, [operand.type for operand in operands])
        module = self.builder.module
        function = module.globals.get(name) or ir.Function(module, kind, name)
        return self.do("call", function, operands)

    def _either(self, of_numbers: str, of_others: str, other: Any, turned: bool = False) -> Value:
        operands = (self.value, self.like(other))
        return self.do(of_numbers if self.value.type == _DOUBLE else of_others, *(operands[::-1] if turned else operands))

    def __add__(self, other: Any) -> Value:
        return self._either("fadd", "add", other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Value:
        return self._either("fsub", "sub", other)

    def __rsub__(self, other: Any) -> Value:
        return self._either("fsub", "sub", other, True)

    def __mul__(self, other: Any) -> Value:
        return self._either("fmul", "mul", other)

    __rmul__ = __mul__

    def __neg__(self) -> Value:
        return self.do("fneg", self.value)

    def __abs__(self) -> Value:
        return self.call("llvm.fabs.f64", self.value)

    def __and__(self, other: Any) -> Value:
        return self.do("and_", self.value, self.like(other))

    __rand__ = __and__

    def __or__(self, other: Any) -> Value:
        return self.do("or_", self.value, self.like(other))

    __ror__ = __or__

    def __invert__(self) -> Value:
        return self.do("not_", self.value)

    def __lshift__(self, other: Any) -> Value:
        return self.do("shl", self.value, self.like(other))

    def __rshift__(self, other: Any) -> Value:
        return self.do("ashr", self.value, self.like(other))

    def _order(self, sign: str, other: Any) -> Value:
        return self.do("fcmp_ordered", sign, self.value, self.like(other))

    def __lt__(self, other: Any) -> Value:
        return self._order("<", other)

    def __le__(self, other: Any) -> Value:
        return self._order("<=", other)

    def __gt__(self, other: Any) -> Value:
        return self._order(">", other)

    def __ge__(self, other: Any) -> Value:
        return self._order(">=", other)


def _known(*operands: Any) -> Value | None:
    """One of the operands that isn't known; None where all are."""
    return next((operand for operand in operands if isinstance(operand, Value)), None)


def two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """a*b as a rounded product and its error."""
    one = _known(a, b)
    if one is None:
        return primitives.two_product(a, b)
    product = a * b
    return product, one.call("llvm.fma.f64", one.like(a), one.like(b), (-product).value)


def divide(a: Array, b: Array) -> Array:
    """a/b, rounded to nearest."""
    one = _known(a, b)
    return primitives.divide(a, b) if one is None else one.do("fdiv", one.like(a), one.like(b))


def _function(name: str, of_known: Callable[[Array], Array]) -> Callable[[Array], Array]:
    def function(a: Array) -> Array:
        return a.call(name, a.value) if isinstance(a, Value) else of_known(a)

    return function


root = _function("llvm.sqrt.f64", primitives.root)
absolute = _function("llvm.fabs.f64", primitives.absolute)
nearest = _function("llvm.rint.f64", primitives.nearest)


def maximum(a: Array, b: Array) -> Array:
    """The larger one; nan where a is nan."""
    return primitives.maximum(a, b) if _known(a, b) is None else where(a < b, b, a)


def minimum(a: Array, b: Array) -> Array:
    """The smaller one; nan where a is nan."""
    return primitives.minimum(a, b) if _known(a, b) is None else where(a > b, b, a)


def where(condition: Mask, a: Array, b: Array) -> Array:
    """a where the condition holds, b elsewhere."""
    if not isinstance(condition, Value):
        return a if condition else b
    kind = next((x.value.type for x in (a, b) if isinstance(x, Value)), _DOUBLE)
    chosen = (x.value if isinstance(x, Value) else ir.Constant(kind, x if kind == _TRUTH else float(x)) for x in (a, b))
    return condition.do("select", condition.value, *chosen)


def whole(a: Array) -> Whole:
    """The whole number that a float is; 0 for nan, the nearest there is for what is too large."""
    return a.call("llvm.fptosi.sat.i64.f64", a.value, result=_WHOLE) if isinstance(a, Value) else int(a)


def floating(i: Whole) -> Array:
    """A whole number as a float."""
    return i.do("sitofp", i.value, _DOUBLE) if isinstance(i, Value) else float(i)


def bits(a: Array) -> Whole:
    """The 64 bits of a float."""
    return a.do("bitcast", a.value, _WHOLE) if isinstance(a, Value) else int(primitives.bits(a))


def unbits(i: Whole) -> Array:
    """The float of 64 bits."""
    return i.do("bitcast", i.value, _DOUBLE) if isinstance(i, Value) else float(primitives.unbits(np.int64(i)))


def isfinite(a: Array) -> Mask:
    """Neither infinite nor nan."""
    return equal(a - a, 0.0) if isinstance(a, Value) else bool(np.isfinite(a))


def equal(a: Array, b: Array) -> Mask:
    """Where two numbers are the same; no kernel asks that."""
    one = _known(a, b)
    return bool(a == b) if one is None else one.do("fcmp_ordered", "==", one.like(a), one.like(b))


def pending(rare: Mask, radius: Array) -> Array:
    """What is rare is open."""
    return where(rare, OPEN, radius)


def anywhere(condition: Mask) -> bool:
    """Never: see `pending`."""
    return False


def lookup(table: Array, i: Whole) -> Array:
    """An entry of a table, whose length is a power of two."""
    if not isinstance(i, Value):
        return float(table[i])
    place = i.builder.gep(ir.Constant(_WHOLE, table.ctypes.data).inttoptr(_DOUBLE.as_pointer()), [i.value])
    found = i.builder.load(place)
    found.set_metadata("invariant.load", i.builder.module.add_metadata([]))
    return Value(i.builder, found)


# -- loops ---------------------------------------------------------------------------------------------------------------


_LEVEL = 2
"""Of LLVM's levels the one that loses nothing here; the highest takes twice the time."""


def _machine() -> Any:
    """This processor; one for each loop, which takes it with it."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        features["prefer-256-bit"] = False  # a tenth to a third faster
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features.flatten(), opt=_LEVEL)


Fused = Callable[[Sequence[Array], Sequence[Array]], None]
"""A loop: from an array of float64 for each input to one for each output, which it fills."""


def compiled(body: Callable[..., Sequence[Any]], inputs: int, outputs: int) -> Fused:
    """A loop over arrays: `body` of an entry of each input is an entry of each output."""
    module = ir.Module("columns")
    pointer = _DOUBLE.as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_WHOLE, *[pointer] * (inputs + outputs)]), "loop")
    count, *arrays = function.args
    for array in arrays:
        array.add_attribute("noalias")
    entry, start, done = (function.append_basic_block(name) for name in ("entry", "start", "done"))
    builder = ir.IRBuilder(entry)
    builder.cbranch(builder.icmp_signed(">", count, ir.Constant(_WHOLE, 0)), start, done)
    builder.position_at_end(start)
    index = builder.phi(_WHOLE)
    index.add_incoming(ir.Constant(_WHOLE, 0), entry)
    given = [Value(builder, builder.load(builder.gep(array, [index]))) for array in arrays[:inputs]]
    for array, result in zip(arrays[inputs:], body(*given), strict=True):
        builder.store(given[0].like(result), builder.gep(array, [index]))
    following = builder.add(index, ir.Constant(_WHOLE, 1))
    index.add_incoming(following, start)
    builder.cbranch(builder.icmp_signed("<", following, count), start, done)
    builder.position_at_end(done)
    builder.ret_void()
    return _callable(module, inputs + outputs)


def _callable(module: Any, arrays: int) -> Fused:
    machine = _machine()
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    parsed = llvm.parse_assembly(str(module))
    tuning = llvm.create_pipeline_tuning_options(speed_level=_LEVEL)
    tuning.loop_vectorization = True
    passes = llvm.create_pass_builder(machine, tuning)
    passes.getModulePassManager().run(parsed, passes)
    engine = llvm.create_mcjit_compiler(parsed, machine)
    engine.finalize_object()
    run = ctypes.CFUNCTYPE(None, ctypes.c_int64, *[ctypes.c_void_p] * arrays)(engine.get_function_address("loop"))

    def call(inputs: Sequence[Array], outputs: Sequence[Array], engine: Any = engine) -> None:
        run(len(inputs[0]), *(array.ctypes.data for array in (*inputs, *outputs)))

    return call


def loop(
    run: Callable[..., Any], inputs: int, outputs: int, words: int
) -> Callable[[Sequence[Array], Sequence[Sequence[Array]]], None]:
    """A function of numbers as one compiled loop over arrays."""
    nothing = (0.0,) * (words - 1)

    def body(*values: Value) -> list[Any]:
        finite: Any = True
        for value in values:
            finite = isfinite(value) & finite
        found: list[Any] = []
        for *parts, radius in run(*((value, *nothing) for value in values)):
            certain = finite & isfinite(parts[0]) & (radius >= 0.0) & (radius < OPEN)
            found += [*parts, where(certain, radius, OPEN)]
        return found

    fused = compiled(body, inputs, outputs * words)

    def evaluate(values: Sequence[Array], parts: Sequence[Sequence[Array]]) -> None:
        fused(values, [part for column in parts for part in column])

    return evaluate

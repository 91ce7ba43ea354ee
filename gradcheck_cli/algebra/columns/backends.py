"""The kernels, bound to the primitives of one library: the same code objects with other globals."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache, reduce
from operator import and_
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from gradcheck_cli.algebra.columns import primitives
from gradcheck_cli.algebra.columns.primitives import Array, Mask, Whole
from gradcheck_cli.algebra.columns.words import OPEN

_PACKAGE = __package__ or ""

Loop = Callable[[Sequence[Array], Sequence[Sequence[Array]]], None]
"""From an array for each input to the parts of each output, which it fills."""


TOGETHER = frozenset({"on_circle"})
"""Kernels that several rows are made of: a function, its derivative in the backward pass, and both again where they move."""

_LAST = 100_000
"""Numbers whose results are remembered, all calls together, 64 bytes each."""


def _remembered(kernel: Callable[..., Any]) -> Callable[..., Any]:
    last: dict[Any, tuple[list[Any], Any]] = {}

    def remembered(*words: Any) -> Any:
        if not all(isinstance(word, (np.ndarray, np.floating)) for word in words) or not 0 < words[0].size <= _LAST:
            return kernel(*words)
        flat = words[0].reshape(-1)
        key = *(word.shape for word in words), float(flat[0]), float(flat[-1])
        given, result = last.get(key, (None, None))
        if given is None or not all(map(_same, given, words)):
            result = kernel(*words)
            last.pop(key, None)
            last[key] = [np.array(word) for word in words], result  # others may write to the arrays themselves
            while sum(some[0].size for some, _ in list(last.values())) > _LAST:
                last.pop(next(iter(last)), None)
        return result

    return remembered


def _same(x: Any, y: Any) -> bool:
    """Whether two arrays of one shape hold the same bits."""
    return np.array_equal(x.reshape(-1).view(np.int64), np.array(y).reshape(-1).view(np.int64))


class Backend:
    """A library to compute with: `primitives` is a module with the names of `primitives`. `chunk`: how many points go
    together; `brief`: whether a program lets arrays go, see `algebra.program`."""

    brief = True
    rest: Backend | None = None
    """The library to which points go that are open here."""

    def __init__(self, primitives: ModuleType, chunk: int) -> None:
        self.primitives, self.chunk = primitives, chunk
        self._bound: dict[str, dict[str, Any]] = {}

    def constant(self, value: float) -> Array:
        """One number."""
        return np.float64(value)

    def table(self, values: Any) -> Array:
        """A table that was made in NumPy."""
        return values

    def floats(self, values: Any) -> Array:
        """Numbers of any format as an array of float64."""
        return np.ascontiguousarray(values, dtype=np.float64)

    def empty(self, points: int) -> Array:
        """An array of float64, to be filled."""
        return np.empty(points)

    def places(self, condition: Mask) -> Whole:
        """Where a condition holds."""
        return np.flatnonzero(condition)

    def compiled(self, kernel: Callable[..., Any]) -> Callable[..., Any]:
        """A kernel as it is called; one that computes several functions together remembers what it found last."""
        return _remembered(kernel) if kernel.__name__ in TOGETHER else kernel

    def loop(self, run: Callable[..., Any], inputs: int, outputs: int, words: int) -> Loop:
        """A function of numbers of so many words, which returns a tuple of them, over arrays."""
        isfinite, where = self.primitives.isfinite, self.primitives.where
        nothing = (self.constant(0.0),) * (words - 1)

        def evaluate(values: Sequence[Array], parts: Sequence[Sequence[Array]]) -> None:
            finite = reduce(and_, map(isfinite, values))
            for into, result in zip(parts, run(*((v, *nothing) for v in values)), strict=True):
                for array, part in zip(into[:-1], result[:-1], strict=True):
                    array[:] = part
                into[-1][:] = where(finite & isfinite(into[0]) & (result[-1] >= 0.0) & (result[-1] < OPEN), result[-1], OPEN)

        return evaluate

    def trustworthy(self) -> bool:
        """Whether this thread rounds to nearest and keeps subnormals: a process can change both, and then no bound holds."""
        one, tie, least = self.empty(8), self.empty(8), self.empty(8)
        one[:], tie[:], least[:] = 1.0, 2.0**-53, 2.0**-1074
        up, down = one + tie * 1.5, one + tie * 0.5
        kept = ((up == 1.0 + 2.0**-52) & (down == 1.0) & (-up == -one - tie * 1.5) & (one + tie == 1.0)).all()
        return bool(kept) and bool(((least * 2.0**60) * 2.0**-60 == least).all()) and bool((least + least > least).all())

    def kernels(self, module: str) -> Mapping[str, Any]:
        """What a module of this package defines, by name, its functions bound to these primitives."""
        if module not in self._bound:
            source = vars(importlib.import_module(f"{_PACKAGE}.{module}"))
            scope = self._bound[module] = {}
            for name, value in source.items():
                scope[name] = self._value(module, name, value, scope)
        return self._bound[module]

    def _value(self, module: str, name: str, value: Any, scope: dict[str, Any]) -> Any:
        if isinstance(value, np.ndarray):
            return self.table(value)
        if isinstance(value, tuple) and value and isinstance(value[0], np.ndarray):
            return tuple(map(self.table, value))
        if not isinstance(value, FunctionType) or not value.__module__.startswith(_PACKAGE):
            return value
        home = value.__module__.rpartition(".")[2]
        if value.__module__ == primitives.__name__:
            return getattr(self.primitives, name)
        if home != module:
            return self.kernels(home)[value.__name__]
        return self.compiled(FunctionType(value.__code__, scope, name, value.__defaults__))


class _Torch(Backend):
    def __init__(self, device: str) -> None:
        from gradcheck_cli.algebra.columns import on_torch

        super().__init__(on_torch, 1 << 20 if device != "cpu" else 1 << 13)
        self.device = device

    def constant(self, value: float) -> Array:
        import torch

        return torch.tensor(value, dtype=torch.float64, device=self.device)

    def table(self, values: Any) -> Array:
        return self.floats(values)

    def floats(self, values: Any) -> Array:
        import torch

        return torch.as_tensor(values, dtype=torch.float64, device=self.device).contiguous()

    def empty(self, points: int) -> Array:
        import torch

        return torch.empty(points, dtype=torch.float64, device=self.device)

    def places(self, condition: Mask) -> Whole:
        return condition.nonzero()[:, 0]


class _Compiled(Backend):
    brief = False  # numbers that have no value yet

    def __init__(self) -> None:
        from gradcheck_cli.algebra.columns import on_llvm

        super().__init__(on_llvm, 1 << 14)
        self.rest = on_numpy()

    def constant(self, value: float) -> Array:
        return float(value)

    def table(self, values: Any) -> Array:
        """As long as a power of two: what is read beyond its end for a number that is open is there."""
        return np.concatenate([values, np.zeros((1 << (len(values) - 1).bit_length()) - len(values))])

    def compiled(self, kernel: Callable[..., Any]) -> Callable[..., Any]:
        return kernel  # what is computed twice LLVM finds

    def loop(self, run: Callable[..., Any], inputs: int, outputs: int, words: int) -> Loop:
        from gradcheck_cli.algebra.columns import on_llvm

        return on_llvm.loop(run, inputs, outputs, words)


@cache
def on_numpy() -> Backend:
    """Arrays of NumPy."""
    return Backend(primitives, 1 << 13)


@cache
def on_torch(device: str = "cpu") -> Backend:
    """Tensors of torch, on their own device, which must have float64."""
    return _Torch(device)


@cache
def on_llvm() -> Backend:
    """Loops over arrays of NumPy, compiled by LLVM; ImportError where llvmlite isn't installed."""
    return _Compiled()

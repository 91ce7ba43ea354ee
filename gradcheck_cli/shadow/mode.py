"""The shadow: every ATen operation of a forward and backward pass, repeated on balls or symbols beside the floats.

Memory mirrors storages, not tensors: one list of cells for each untyped storage, seen through the tensor's own size and
strides. Views, `expand` and in-place operations then need no code; only operations that create or overwrite values have a
row in `shadow.aten`. An operation without a row is opaque: it is recorded by name, and its result is an undefined ball.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from itertools import repeat
from typing import Any

import numpy as np
import torch
from flint import arb
from torch.utils._python_dispatch import TorchDispatchMode

from gradcheck_cli.floats import FORMATS, Format
from gradcheck_cli.language.functions import TABLE
from gradcheck_cli.shadow.aten import Operation, overload, results
from gradcheck_cli.shadow.layers import Cell, Layer, Symbolic

_FORMATS = {getattr(torch, name): form for name, form in FORMATS.items()}
_DOUBLE = FORMATS["float64"]


@dataclass(slots=True)
class Event:
    """The first operation at which an entry's float left the range of its format."""

    operation: str
    stage: str | None
    kind: str  # "overflow", "underflow", or "undefined" where the exact result isn't finite either


@dataclass
class Trace:
    """What happened to each entry of the batch, by index: see `Event`. `trap`: the first nan came from a factor that is
    exactly 0, so that the infinity it met should not have mattered."""

    infinite: dict[int, Event] = field(default_factory=dict)
    tiny: dict[int, Event] = field(default_factory=dict)
    trap: dict[int, bool] = field(default_factory=dict)


@dataclass(slots=True)
class _Memory:
    """One storage: a list of cells for each layer. `storage` keeps the address from being used again."""

    storage: Any
    dtype: torch.dtype
    layers: list[list[Cell]]


class Shadow(TorchDispatchMode):
    """Follow the torch operations run inside the `with` block. The first layer should be `Exact` for the trace.

    `seed` says what a tensor's entries stand for; `cells` reads what they have become. `opaque` lists operations without
    a row; `seen` counts those with one. `size` is the number of points in the batch. Precision is flint's at the time.
    """

    def __init__(self, layers: Sequence[Layer], size: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.layers, self.size = list(layers), size
        self.opaque: dict[str, None] = {}
        self.seen: dict[str, int] = {}
        self.trace = Trace()
        self.stage: str | None = None
        self._memory: dict[int, _Memory] = {}

    def mark(self, stage: str) -> None:
        """Operations from here on belong to `stage`."""
        self.stage = stage

    def seed(self, tensor: torch.Tensor, cells: Sequence[Sequence[Cell]]) -> None:
        """Give the tensor's entries (in order) their cells, one sequence a layer."""
        for layer, values in enumerate(cells):
            self._write(tensor, layer, values)

    def cells(self, tensor: torch.Tensor, layer: int) -> list[Cell]:
        """The tensor's entries in one layer, flat."""
        return self._read(tensor, layer, tuple(tensor.shape))

    # -- memory -----------------------------------------------------------------------------------------------------

    def _load(self, tensor: torch.Tensor) -> _Memory:
        """The memory of the tensor's storage; where it is new to the shadow, it is filled with the floats."""
        storage = tensor.untyped_storage()
        memory = self._memory.get(storage._cdata)
        if memory is None or memory.dtype is not tensor.dtype:
            count = storage.nbytes() // tensor.element_size()
            floats = torch.empty(0, dtype=tensor.dtype, device=tensor.device).set_(storage, 0, (count,), (1,)).tolist()
            form = _FORMATS.get(tensor.dtype, _DOUBLE)
            layers = [[layer.number(v, form) for v in floats] for layer in self.layers]
            memory = self._memory[storage._cdata] = _Memory(storage, tensor.dtype, layers)
        return memory

    def _read(self, tensor: torch.Tensor, layer: int, shape: tuple[int, ...]) -> list[Cell]:
        """The cells of the tensor, broadcast to `shape`."""
        if tensor._is_zerotensor():
            return [self.layers[layer].number(0, _DOUBLE)] * math.prod(shape)
        cells = self._load(tensor).layers[layer]
        indices = _indices(tuple(tensor.shape), tensor.stride(), tensor.storage_offset(), shape)
        return cells[indices] if isinstance(indices, slice) else [cells[i] for i in indices]

    def _write(self, tensor: torch.Tensor, layer: int, values: Sequence[Cell]) -> None:
        storage = tensor.untyped_storage()
        memory = self._memory.get(storage._cdata)
        if memory is None or memory.dtype is not tensor.dtype:
            count = storage.nbytes() // tensor.element_size()
            if count == tensor.numel():
                memory = _Memory(storage, tensor.dtype, [[None] * count for _ in self.layers])
                self._memory[storage._cdata] = memory
            else:
                memory = self._load(tensor)
        shape = tuple(tensor.shape)
        indices = _indices(shape, tensor.stride(), tensor.storage_offset(), shape)
        cells = memory.layers[layer]
        if isinstance(indices, slice):
            cells[indices] = values
        else:
            for index, value in zip(indices, values, strict=True):
                cells[index] = value

    # -- following --------------------------------------------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        known = overload(func)
        if known.view:
            return func(*args, **kwargs)
        args = tuple(_solid(a) for a in args)
        bound = known.bind(args, kwargs)
        tensors = [t for v in bound.values() for t in _tensors(v)]
        if any(t.device.type == "meta" for t in tensors):
            return func(*args, **kwargs)
        row = known.choose(bound)
        if row is not None:
            for name in ("self",) if row.special else row.arguments:
                for tensor in _tensors(bound.get(name)):
                    self._load(tensor)  # before an in-place operation overwrites the floats
        result = func(*args, **kwargs)
        outputs = _tensors(result)
        if any(o.device.type == "meta" for o in outputs):
            return result
        if row is None:
            self._unknown(known.name, known.writes, tensors, outputs)
        elif outputs:
            self.seen[row.name] = self.seen.get(row.name, 0) + 1
            self._repeat(row, bound, outputs)
        return result

    def _repeat(self, row: Operation, bound: Mapping[str, Any], outputs: list[torch.Tensor]) -> None:
        """The operation on the cells of every layer."""
        first = outputs[0]
        if not first.numel():
            return
        if not first.is_floating_point() and first.dtype is not torch.bool and row.arguments:
            self._forget(first)  # integers select (exponents, indices): the floats' own are taken
            return
        shape = tuple(first.shape)
        count = first.numel()
        form = _FORMATS.get(first.dtype)
        exact: list[Any] = []
        for index, layer in enumerate(self.layers):
            if row.special:
                columns = [_SPECIAL[row.special](self, index, bound, first)]
                inputs: list[Any] = []
            else:
                inputs = [self._argument(row, name, bound[name], index, shape, form) for name in row.entries]
                run = row.program(layer, tuple(bound[name] for name in sorted(row.integers)))
                if not any(isinstance(i, list) for i in inputs):
                    columns = [[cell] * count for cell in run(*(next(i) for i in inputs))]
                else:
                    columns = [list(c) for c in zip(*[run(*cells) for cells in zip(*inputs, strict=False)], strict=True)]
            for output, cells, tree in zip(outputs, columns, row.trees or (None,), strict=True):
                if output.numel() != len(cells):
                    continue  # a buffer that this device doesn't fill
                given = "number" if tree is None else results(tree)
                logical = output.dtype is torch.bool
                if logical and given != "truth":
                    cells = [layer.truth(c) for c in cells]
                elif not logical and given != "number":
                    cells = [layer.real(c) for c in cells]
                self._write(output, index, cells)
            if not index:
                exact = inputs
        if count == self.size and form is not None:
            self._watch(row, first, exact, form)

    def _argument(self, row: Operation, name: str, value: Any, index: int, shape: tuple[int, ...], form: Format | None) -> Any:
        """The cells of an argument: a list of the outputs' length, or the same cell for ever."""
        layer = self.layers[index]
        if not isinstance(value, torch.Tensor):
            cell = layer.scalar(value)
            return repeat(layer.truth(cell) if name in row.truths else layer.real(cell) if name in row.numbers else cell)
        cells = self._read(value, index, shape)
        if value.dtype is torch.bool:
            if name in row.numbers:
                cells = [layer.real(c) for c in cells]
        elif name in row.truths:
            cells = [layer.truth(c) for c in cells]
        elif form is not None and value.dtype in _FORMATS and _FORMATS[value.dtype].bits > form.bits:
            cells = [layer.convert(c, form) for c in cells]
        return cells

    def _forget(self, tensor: torch.Tensor) -> None:
        if not tensor._is_zerotensor():
            self._memory.pop(tensor.untyped_storage()._cdata, None)

    def _unknown(self, name: str, writes: bool, tensors: list[torch.Tensor], outputs: list[torch.Tensor]) -> None:
        """An operation without a row. Truth values and integers are taken from the floats; a result that shares an argument's
        storage is a view."""
        known = {t.untyped_storage()._cdata for t in tensors if not t._is_zerotensor()}
        for output in outputs:
            if output._is_zerotensor():
                continue
            if not output.is_floating_point():
                self._forget(output)
            elif writes or output.untyped_storage()._cdata not in known:
                self.opaque[name] = None
                for index, layer in enumerate(self.layers):
                    self._write(output, index, [layer.number(math.nan, _DOUBLE)] * output.numel())

    def _watch(self, row: Operation, output: torch.Tensor, before: list[Any], form: Format) -> None:
        """Record the entries whose float leaves the range at this operation."""
        least = form.smallest_normal
        floats = output.reshape(-1).tolist()
        suspicious = [i for i, v in enumerate(floats) if not least <= abs(v) < math.inf]
        if not suspicious or isinstance(self.layers[0], Symbolic):
            return
        cells = self.cells(output, 0)
        for index in suspicious:
            value, cell = floats[index], cells[index]
            finite = cell.is_finite()
            if math.isfinite(value):
                if finite and not cell.contains(0) and cell.abs_upper() < least and index not in self.trace.tiny:
                    self.trace.tiny[index] = Event(row.name, self.stage, "underflow")
                continue
            if index not in self.trace.infinite:
                self.trace.infinite[index] = Event(row.name, self.stage, "overflow" if finite else "undefined")
            if math.isnan(value) and index not in self.trace.trap:
                self.trace.trap[index] = any(_exact_zero(_entry(argument, index)) for argument in before)


def _solid(value: Any) -> Any:
    """A tensor that torch keeps as nothing but "zero" (it appears in forward mode), with its zeros written out: under a
    dispatch mode, torch 2.13 crashes where it meets one in an operation such as `mul.Scalar`."""
    return torch.zeros_like(value) if isinstance(value, torch.Tensor) and value._is_zerotensor() else value


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    return [t for v in value for t in _tensors(v)] if isinstance(value, (tuple, list)) else []


@lru_cache(maxsize=4096)
def _indices(shape: tuple[int, ...], strides: tuple[int, ...], offset: int, wanted: tuple[int, ...]) -> slice | list[int]:
    """Where the entries of a tensor, broadcast to the shape `wanted`, lie in its storage."""
    grid = np.full(shape, offset, dtype=np.int64)
    for axis, (size, stride) in enumerate(zip(shape, strides, strict=True)):
        steps = np.arange(size, dtype=np.int64) * stride
        grid += steps.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    found: list[int] = np.broadcast_to(grid, wanted).reshape(-1).tolist()
    if found and found == list(range(found[0], found[0] + len(found))):
        return slice(found[0], found[0] + len(found))
    return found


def _entry(argument: Any, index: int) -> Any:
    return argument[index] if isinstance(argument, list) else next(argument)


def _exact_zero(cell: Any) -> bool:
    return isinstance(cell, arb) and bool(cell.is_zero())


def _total(shadow: Shadow, layer: int, bound: Mapping[str, Any], output: torch.Tensor) -> list[Cell]:
    """The sums of a tensor's entries over some of its axes."""
    tensor, axes = bound["self"], bound.get("dim")
    cells = shadow._read(tensor, layer, tuple(tensor.shape))
    every = range(tensor.ndim)
    over = {a % tensor.ndim for a in ([axes] if isinstance(axes, int) else axes or every)} if tensor.ndim else set()
    positions = np.arange(len(cells)).reshape(tuple(tensor.shape))
    rows = positions.transpose([*(a for a in every if a not in over), *over]).reshape(max(output.numel(), 1), -1)
    algebra = shadow.layers[layer]
    add = algebra.function(TABLE["add"]) or operator.add
    real = [algebra.real(c) for c in cells]
    return [reduce(add, (real[i] for i in row), algebra.number(0, _DOUBLE)) for row in rows.tolist()]


def _mean(shadow: Shadow, layer: int, bound: Mapping[str, Any], output: torch.Tensor) -> list[Cell]:
    algebra = shadow.layers[layer]
    divide = algebra.function(TABLE["div"]) or operator.truediv
    count = algebra.number(bound["self"].numel() // max(output.numel(), 1), _DOUBLE)
    return [divide(c, count) for c in _total(shadow, layer, bound, output)]


_SPECIAL = {"total": _total, "mean": _mean}


def formats() -> dict[torch.dtype, Format]:
    """torch's dtypes that the tool knows."""
    return dict(_FORMATS)

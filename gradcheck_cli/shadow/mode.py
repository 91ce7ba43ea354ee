"""The shadow: every ATen operation of a forward and backward pass, repeated on balls or symbols beside the floats.

Memory mirrors storages, not tensors: one object array for each untyped storage, seen through the tensor's own size and
strides. Views, `expand` and in-place operations then need no code; only operations that create or overwrite values have a row in
`shadow.aten`. An operation without a row is opaque: it is recorded by name, and its result is an undefined ball.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gradcheck_cli.floats import FORMATS, Format
from gradcheck_cli.shadow.aten import Operation, find
from gradcheck_cli.shadow.layers import Cell, Layer, Rounded, Symbolic

Cells = npt.NDArray[np.object_]

_NUMPY = {torch.float64: np.float64, torch.float32: np.float32, torch.float16: np.float16, torch.bool: np.bool_,
          torch.int64: np.int64, torch.int32: np.int32, torch.int16: np.int16, torch.int8: np.int8, torch.uint8: np.uint8}  # fmt: skip
_FORMATS = {getattr(torch, name): form for name, form in FORMATS.items()}


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


class Shadow(TorchDispatchMode):
    """Follow the torch operations run inside the `with` block. The first layer should be `Exact` for the trace.

    `seed` says what a tensor's entries stand for; `cells` reads what they have become. `opaque` lists operations without
    a row. `size` is the number of points in the batch.
    """

    def __init__(self, layers: Sequence[Layer], size: int) -> None:
        super().__init__()
        self.layers, self.size = list(layers), size
        self.opaque: dict[str, None] = {}
        self.seen: dict[str, int] = {}
        self.trace = Trace()
        self.stage: str | None = None
        self._memory: dict[int, tuple[Any, list[Cells]]] = {}

    def mark(self, stage: str) -> None:
        """Operations from here on belong to `stage`."""
        self.stage = stage

    def seed(self, tensor: torch.Tensor, cells: Sequence[Sequence[Cell]]) -> None:
        """Give the tensor's entries (in order) their cells, one sequence a layer."""
        for view, values in zip(self._views(tensor), cells, strict=True):
            for index, value in enumerate(values):
                view.reshape(-1)[index : index + 1] = [value] if view.ndim else value
            if view.ndim == 0:
                view[()] = values[0]

    def cells(self, tensor: torch.Tensor, layer: int) -> list[Cell]:
        """The tensor's entries in one layer, flat."""
        return list(self._views(tensor)[layer].reshape(-1))

    # -- memory -----------------------------------------------------------------------------------------------------

    def _views(self, tensor: torch.Tensor) -> list[Cells]:
        """The cells of a tensor, one array of its shape for each layer: writing to it writes to the shadow."""
        form = _FORMATS.get(tensor.dtype, FORMATS["float64"])
        if tensor._is_zerotensor():
            return [np.full(tuple(tensor.shape), layer.number(0.0, form), dtype=object) for layer in self.layers]
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._memory:
            floats = _storage_values(storage, tensor)
            arrays = []
            for layer in self.layers:
                array = np.empty(len(floats), dtype=object)
                array[:] = [layer.number(v, form) for v in floats.tolist()]
                arrays.append(array)
            self._memory[key] = (storage, arrays)  # the reference keeps the key from being used again
        item = np.dtype(object).itemsize
        return [
            np.lib.stride_tricks.as_strided(
                array[tensor.storage_offset() :], tuple(tensor.shape), tuple(s * item for s in tensor.stride())
            )
            for array in self._memory[key][1]
        ]

    def _write(self, tensor: torch.Tensor, layer: int, cells: Any) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._memory:
            count = storage.nbytes() // tensor.element_size()
            self._memory[storage._cdata] = (storage, [np.empty(count, dtype=object) for _ in self.layers])
        self._views(tensor)[layer][...] = cells

    # -- following --------------------------------------------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        found = find(func)
        before = None if found is None or found.view else self._read(func, found, args, kwargs)
        result = func(*args, **kwargs)
        if found is None:
            self._unknown(func, args, result)
        elif before is not None:
            self._repeat(func, found, before, args, result)
        return result

    def _read(self, func: Any, row: Operation, args: Any, kwargs: Mapping[str, Any]) -> list[list[Any]] | None:
        """The row's arguments, for each layer. None where there is nothing to follow (meta tensors)."""
        bound = _bind(func, args, kwargs)
        if any(isinstance(v, torch.Tensor) and v.device.type == "meta" for v in bound.values()):
            return None
        arguments: list[list[Any]] = [[] for _ in self.layers]
        for name in row.arguments(bound):
            value = bound[name]
            if isinstance(value, torch.Tensor):
                for layer, view in zip(arguments, self._views(value), strict=True):
                    layer.append(np.array(view, dtype=object) if view.ndim else view[()])
            else:
                for layer, algebra in zip(arguments, self.layers, strict=True):
                    layer.append(value if name in row.integers else algebra.number(value, FORMATS["float64"]))
        return arguments

    def _repeat(self, func: Any, row: Operation, before: list[list[Any]], args: Any, result: Any) -> None:
        outputs = [r for r in (result if isinstance(result, (tuple, list)) else [result]) if isinstance(r, torch.Tensor)]
        if any(o.device.type == "meta" for o in outputs):
            return
        self.seen[row.name] = self.seen.get(row.name, 0) + 1
        shape = tuple(outputs[0].shape)
        for index, (layer, arguments) in enumerate(zip(self.layers, before, strict=True)):
            cells = row.apply(layer, arguments, shape)
            for output, cell in zip(outputs, cells, strict=False):
                if row.converts and isinstance(layer, Rounded):
                    cell = np.frompyfunc(layer.round, 1, 1)(cell)
                self._write(output, index, cell)
        if not isinstance(self.layers[0], Symbolic) and outputs[0].is_floating_point():
            self._watch(row, outputs[0], before[0], args)

    def _unknown(self, func: Any, args: Any, result: Any) -> None:
        outputs = [r for r in (result if isinstance(result, (tuple, list)) else [result]) if isinstance(r, torch.Tensor)]
        known = {a.untyped_storage()._cdata for a in _flat(args) if isinstance(a, torch.Tensor) and not a._is_zerotensor()}
        for output in outputs:
            if output.device.type == "meta" or not output.is_floating_point() or output._is_zerotensor():
                continue
            written = any(a.alias_info is not None and a.alias_info.is_write for a in func._schema.arguments)
            if output.untyped_storage()._cdata in known and not written:
                continue  # a view
            self.opaque[_name(func)] = None
            for index, layer in enumerate(self.layers):
                self._write(output, index, layer.number(math.nan, FORMATS["float64"]))

    def _watch(self, row: Operation, output: torch.Tensor, before: list[Any], args: Any) -> None:
        """Record the entries whose float leaves the range at this operation."""
        if output.numel() != self.size:
            return
        form = _FORMATS.get(output.dtype)
        if form is None:
            return
        floats = _floats(output).reshape(-1)
        suspicious = np.flatnonzero(~np.isfinite(floats) | (np.abs(floats) < form.smallest_normal))
        if not len(suspicious):
            return
        cells = self.cells(output, 0)
        for index in suspicious.tolist():
            value, cell = floats[index], cells[index]
            finite = cell.is_finite()
            if math.isfinite(value):
                if finite and not cell.contains(0) and cell.abs_upper() < form.smallest_normal and index not in self.trace.tiny:
                    self.trace.tiny[index] = Event(row.name, self.stage, "underflow")
                continue
            if index not in self.trace.infinite:
                self.trace.infinite[index] = Event(row.name, self.stage, "overflow" if finite else "undefined")
            if math.isnan(value) and index not in self.trace.trap:
                self.trace.trap[index] = any(_exact_zero(_entry(argument, index)) for argument in before)


def _entry(argument: Any, index: int) -> Any:
    if isinstance(argument, np.ndarray):
        return argument.reshape(-1)[index] if argument.size > index else argument.reshape(-1)[0]
    return argument


def _exact_zero(cell: Any) -> bool:
    return hasattr(cell, "is_zero") and bool(cell.is_exact()) and bool(cell.is_zero())


def _name(func: Any) -> str:
    return str(func._schema.name).partition("::")[2]


def _flat(args: Any) -> list[Any]:
    found: list[Any] = []
    for a in args:
        found.extend(_flat(a) if isinstance(a, (tuple, list)) else [a])
    return found


def _bind(func: Any, args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by the names of ATen's schema, defaults filled in."""
    bound: dict[str, Any] = {}
    for index, argument in enumerate(func._schema.arguments):
        if index < len(args):
            bound[argument.name] = args[index]
        elif argument.name in kwargs:
            bound[argument.name] = kwargs[argument.name]
        else:
            bound[argument.name] = argument.default_value
    return bound


def _storage_values(storage: Any, tensor: torch.Tensor) -> npt.NDArray[Any]:
    """Every entry of a storage, read without a torch operation (which the mode would see)."""
    count = storage.nbytes() // tensor.element_size()
    if tensor.device.type != "cpu":
        from torch.utils._python_dispatch import _disable_current_modes

        with _disable_current_modes():
            storage = storage.cpu()
    if not count:
        return np.empty(0)
    raw = (ctypes.c_char * storage.nbytes()).from_address(storage.data_ptr())
    if tensor.dtype is torch.bfloat16:
        half = np.frombuffer(raw, dtype=np.uint16, count=count)
        return (half.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
    values = np.frombuffer(raw, dtype=_NUMPY[tensor.dtype], count=count)
    return values.astype(np.float64) if values.dtype.kind == "f" else values.copy()


def _floats(tensor: torch.Tensor) -> npt.NDArray[np.float64]:
    """The entries of a tensor as float64, read without a torch operation."""
    if tensor._is_zerotensor():
        return np.zeros(tuple(tensor.shape))
    values = _storage_values(tensor.untyped_storage(), tensor)
    strides = tuple(s * values.itemsize for s in tensor.stride())
    return np.lib.stride_tricks.as_strided(values[tensor.storage_offset() :], tuple(tensor.shape), strides)


def formats() -> dict[torch.dtype, Format]:
    """torch's dtypes that the tool knows."""
    return dict(_FORMATS)

"""The shadow's memory: one list of cells for each storage and layer, seen through a tensor's own size and strides.

Since it mirrors storages and not tensors, views, `expand` and in-place operations need no code of their own. A storage that the
shadow hasn't seen is filled from its floats: a single number is a constant (`Layer.number`), several are data (`Layer.data`).
Of complex numbers it holds the parts: a complex tensor is one of real numbers with one more dimension.

A guarded memory keeps a copy of the floats beside the cells. What changed without an operation (a kernel, ctypes, NumPy, a
thread wrote to it) has no cells from there on. Memory that no operation has filled yet is filled with one nan, for the
allocator may hand out what a kernel will write once more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from gradcheck_cli.algebra.layers import Cell, Layer
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.shadow.contents import NOTHING, as_real, bytes_of, extent

FLOATS = {getattr(torch, name): form for name, form in FORMATS.items()}
"""torch's dtypes that the tool knows."""

DOUBLE = FORMATS["float64"]

UNFILLED = frozenset({"empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided"})
"""Operations whose results hold no values."""


@dataclass(slots=True)
class _Storage:
    """One storage: a list of cells for each layer. `storage` keeps the address from being used again; `floats` are its bytes
    when an operation last wrote to it, in a guarded memory. `literal`: one number, which no operation has written."""

    storage: Any
    dtype: torch.dtype
    layers: list[list[Cell]]
    floats: bytearray
    literal: bool = False

    def holds(self, size: int) -> bool:
        """Whether there are cells for so many bytes."""
        return size <= len(self.layers[0]) * self.dtype.itemsize


class Memory:
    """The cells of every tensor that the shadow has met. A storage has cells in the layers that were in use when it was met.

    `changed`: memory was found to be written by no operation.
    """

    def __init__(self, layers: list[Layer], guarded: bool) -> None:
        self.layers, self.guarded, self.changed = layers, guarded, False
        self._storages: dict[int, _Storage] = {}
        self._blank: dict[int, Any] = {}  # storages that nothing has been written to
        self._chosen: set[int] = set()  # storages whose whole numbers have cells of their own
        self._lost: dict[int, Any] = {}  # storages of integers made of the bits of floats

    # -- floats against cells ---------------------------------------------------------------------------------------

    def blank(self, tensor: torch.Tensor) -> None:
        """The tensor is new and holds no values yet."""
        tensor = as_real(tensor)
        storage = tensor.untyped_storage()
        if self.guarded and tensor.dtype in FLOATS and storage.nbytes():
            torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(storage).fill_(NOTHING)
            self._blank[storage._cdata] = storage

    def check(self, tensors: Iterable[torch.Tensor]) -> None:
        """Compare the floats that are about to be read, or partly overwritten, with what operations wrote."""
        for tensor in tensors if self.guarded else ():
            if tensor._is_zerotensor() or not tensor.numel():
                continue
            storage = tensor.untyped_storage()
            memory = self._storages.get(storage._cdata)
            if memory is None:
                if storage._cdata in self._blank and tensor.numel() * tensor.element_size() < storage.nbytes():
                    self.load(tensor)
                continue
            start, end = extent(tensor)
            if len(memory.floats) != storage.nbytes():  # resized: what was added holds no values yet
                memory.floats[:] = memory.floats[: storage.nbytes()] + bytes_of(storage, len(memory.floats), storage.nbytes())
            if memory.floats[start:end] != bytes_of(storage, start, end):
                self._overwritten(storage, memory)

    def _overwritten(self, storage: Any, memory: _Storage) -> None:
        if memory.dtype not in FLOATS:  # truth values and integers are the floats' own
            del self._storages[storage._cdata]
            return
        size = memory.dtype.itemsize
        there = bytes_of(storage, 0, storage.nbytes())
        old, new = (np.frombuffer(b, dtype=np.uint8).reshape(-1, size) for b in (bytes(memory.floats), there))
        self._undefine(memory, np.flatnonzero((old != new).any(axis=1)).tolist())
        self.changed = True
        memory.floats[:] = there

    def _undefine(self, memory: _Storage, places: Iterable[int]) -> None:
        for layer, cells in zip(self.layers, memory.layers, strict=False):
            for place in places:
                cells[place] = layer.number(math.nan, DOUBLE)

    def remember(self, tensor: torch.Tensor) -> None:
        """The floats of the tensor are what an operation wrote."""
        memory = self._storages.get(tensor.untyped_storage()._cdata) if self.guarded and not tensor._is_zerotensor() else None
        if memory is not None and tensor.numel():
            start, end = extent(tensor)
            memory.floats[start:end] = bytes_of(memory.storage, start, end)

    def undisturbed(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor is for certain what operations wrote, as they wrote it: else `check` and `astray` tell."""
        storage = tensor.untyped_storage()
        memory = self._storages.get(storage._cdata)
        if memory is None:
            return storage._cdata not in self._blank and storage._cdata not in self._lost
        if memory.dtype is not tensor.dtype or len(memory.floats) != storage.nbytes():
            return False
        start, end = extent(tensor)
        return memory.floats[start:end] == bytes_of(storage, start, end)

    def astray(self, tensor: torch.Tensor) -> bool:
        """Whether the tensor shows the bits of floats as numbers of another dtype."""
        tensor = as_real(tensor)
        if tensor._is_zerotensor():
            return False
        key = tensor.untyped_storage()._cdata
        memory = self._storages.get(key)
        if memory is None or memory.dtype is tensor.dtype:
            return key in self._lost
        return memory.dtype in FLOATS or tensor.dtype in FLOATS

    def lose(self, tensor: torch.Tensor) -> None:
        """What the tensor holds was made of the bits of floats."""
        tensor = as_real(tensor)
        storage = tensor.untyped_storage()
        memory = self._storages.get(storage._cdata)
        if memory is not None and memory.dtype in FLOATS:
            self._undefine(memory, range(len(memory.layers[0]) if memory.layers else 0))
            memory.floats[:] = bytes_of(storage, 0, storage.nbytes())
        else:
            self._storages.pop(storage._cdata, None)
            self._lost[storage._cdata] = storage

    def knows(self, tensor: torch.Tensor) -> bool:
        """Whether an operation has given the tensor its cells."""
        return tensor._is_zerotensor() or tensor.untyped_storage()._cdata in self._storages

    def chosen(self, tensor: torch.Tensor) -> bool:
        """Whether the tensor's truth values or whole numbers have cells of their own, which may differ from its contents."""
        tensor = as_real(tensor)
        return not tensor._is_zerotensor() and tensor.untyped_storage()._cdata in (
            self._storages if tensor.dtype is torch.bool else self._chosen
        )

    # -- cells --------------------------------------------------------------------------------------------------------

    def load(self, tensor: torch.Tensor) -> _Storage:
        """The memory of the tensor's storage; where it is new to the shadow, it is filled with the floats."""
        storage = tensor.untyped_storage()
        memory = self._storages.get(storage._cdata)
        if memory is not None and memory.dtype is tensor.dtype and memory.holds(storage.nbytes()):
            return memory
        single, tensor = tensor.element_size(), as_real(tensor)
        if memory is not None and memory.dtype is tensor.dtype:
            missing = storage.nbytes() // tensor.element_size() - len(memory.layers[0])
            for cells in memory.layers if missing > 0 else ():  # resized: what was added holds no values yet
                cells.extend([None] * missing)
            return memory
        count = storage.nbytes() // tensor.element_size()
        lost = storage._cdata in self._lost or (memory is not None and memory.dtype in FLOATS)
        if lost and tensor.dtype in FLOATS:  # bits seen as another format
            layers = [[layer.number(math.nan, DOUBLE)] * count for layer in self.layers]
        else:
            floats = torch.empty(0, dtype=tensor.dtype, device=tensor.device).set_(storage, 0, (count,), (1,)).tolist()
            if storage.nbytes() == single:
                form = FLOATS.get(tensor.dtype, DOUBLE)
                layers = [[layer.number(value, form) for value in floats] for layer in self.layers]
            else:
                layers = [list(layer.data(floats, FLOATS.get(tensor.dtype, DOUBLE))) for layer in self.layers]
        there = bytearray(bytes_of(storage, 0, storage.nbytes())) if self.guarded else bytearray()
        memory = self._storages[storage._cdata] = _Storage(storage, tensor.dtype, layers, there, count == 1 and not lost)
        if self._blank.pop(storage._cdata, None) is not None and tensor.dtype in FLOATS:
            bits = np.frombuffer(bytes(there), dtype=np.uint8).reshape(count, -1)
            filled = np.flatnonzero((bits != NOTHING).any(axis=1)).tolist()
            self._undefine(memory, filled)
            self.changed = self.changed or bool(filled)
        return memory

    def literal(self, tensor: torch.Tensor) -> bool:
        """Whether the tensor is a number of the code, as it stands there."""
        tensor = as_real(tensor)
        return tensor.dtype in FLOATS and not tensor._is_zerotensor() and self.load(tensor).literal

    def read(self, tensor: torch.Tensor, layer: int, shape: tuple[int, ...]) -> list[Cell]:
        """The cells of the tensor, broadcast to `shape`; of a complex one the parts of each entry."""
        if tensor.is_complex():
            tensor, shape = as_real(tensor), (*shape, 2)
        if tensor._is_zerotensor():
            return [self.layers[layer].number(0, DOUBLE)] * math.prod(shape)
        return picked(self.load(tensor).layers[layer], places_of(tensor, shape))

    def claim(self, tensor: torch.Tensor) -> _Storage:
        """The memory of a tensor that an operation has written: a new one, without what was there before, where the tensor is
        all of its storage and the shadow hasn't seen that."""
        tensor = as_real(tensor)
        storage = tensor.untyped_storage()
        memory = self._storages.get(storage._cdata)
        if memory is not None and memory.dtype is tensor.dtype:
            return memory
        count = storage.nbytes() // tensor.element_size()
        if count != tensor.numel():
            return self.load(tensor)
        there = bytearray(storage.nbytes() if self.guarded else 0)
        memory = self._storages[storage._cdata] = _Storage(storage, tensor.dtype, [[None] * count for _ in self.layers], there)
        self._blank.pop(storage._cdata, None)
        self._lost.pop(storage._cdata, None)
        return memory

    def target(self, tensor: torch.Tensor) -> _Storage:
        """The memory of a tensor whose entries are about to get their cells, in every layer."""
        tensor = as_real(tensor)
        memory = self.claim(tensor)
        if tensor.dtype not in FLOATS:
            self._chosen.add(memory.storage._cdata)
        memory.literal = False
        if memory.layers and len(memory.layers[0]) < tensor.numel():
            self.load(tensor)
        return memory

    def write(self, tensor: torch.Tensor, layer: int, values: Sequence[Cell]) -> None:
        """Give the tensor's entries, in order, their cells."""
        memory, tensor = self.target(tensor), as_real(tensor)
        put(memory.layers[layer], places_of(tensor, tensor.shape), values)

    def forget(self, tensor: torch.Tensor) -> None:
        """The floats count from here on."""
        if not tensor._is_zerotensor():
            storage = tensor.untyped_storage()
            self._storages.pop(storage._cdata, None)
            self._chosen.discard(storage._cdata)
            if tensor.numel() * tensor.element_size() == storage.nbytes():
                self._lost.pop(storage._cdata, None)


Places = slice | list[int]
"""Of cells in the list of a storage."""


def picked(cells: list[Cell], places: Places) -> list[Cell]:
    """The cells at some places."""
    return cells[places] if isinstance(places, slice) else [cells[i] for i in places]


def put(cells: list[Cell], places: Places, values: Sequence[Cell]) -> None:
    """Put cells there."""
    if isinstance(places, slice):
        cells[places] = values
        return
    for place, value in zip(places, values, strict=True):
        cells[place] = value


def places_of(tensor: torch.Tensor, wanted: Sequence[int]) -> Places:
    """Where the entries of a tensor, broadcast to the shape `wanted`, lie in its storage."""
    start = tensor.storage_offset()
    if tensor.shape == wanted and tensor.is_contiguous():
        return slice(start, start + tensor.numel())
    return _indices(tuple(tensor.shape), tensor.stride(), start, tuple(wanted))


@lru_cache(maxsize=4096)
def _indices(shape: tuple[int, ...], strides: tuple[int, ...], offset: int, wanted: tuple[int, ...]) -> Places:
    grid = np.full(shape, offset, dtype=np.int64)
    for axis, (size, stride) in enumerate(zip(shape, strides, strict=True)):
        steps = np.arange(size, dtype=np.int64) * stride
        grid += steps.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    found: list[int] = np.broadcast_to(grid, wanted).reshape(-1).tolist()
    if found and found == list(range(found[0], found[0] + len(found))):
        return slice(found[0], found[0] + len(found))
    return found

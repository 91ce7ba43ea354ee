"""The shadow's memory: one list of cells for each storage and layer, seen through a tensor's own size and strides.

Since it mirrors storages and not tensors, views, `expand` and in-place operations need no code of their own. A storage that the
shadow hasn't seen is filled from its floats: a single number is a constant (`Layer.number`), several are data (`Layer.data`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from gradcheck_cli.algebra.layers import Cell, Layer
from gradcheck_cli.floats import FORMATS

FLOATS = {getattr(torch, name): form for name, form in FORMATS.items()}
"""torch's dtypes that the tool knows."""

DOUBLE = FORMATS["float64"]


@dataclass(slots=True)
class _Storage:
    """One storage: a list of cells for each layer. `storage` keeps the address from being used again."""

    storage: Any
    dtype: torch.dtype
    layers: list[list[Cell]]


class Memory:
    """The cells of every tensor that the shadow has met. A storage has cells in the layers that were in use when it was met."""

    def __init__(self, layers: list[Layer]) -> None:
        self.layers = layers
        self._storages: dict[int, _Storage] = {}

    def load(self, tensor: torch.Tensor) -> _Storage:
        """The memory of the tensor's storage; where it is new to the shadow, it is filled with the floats."""
        storage = tensor.untyped_storage()
        memory = self._storages.get(storage._cdata)
        if memory is not None and memory.dtype is tensor.dtype:
            missing = storage.nbytes() // tensor.element_size() - len(memory.layers[0])
            for cells in memory.layers if missing > 0 else ():  # resized: what was added holds no values yet
                cells.extend([None] * missing)
            return memory
        count = storage.nbytes() // tensor.element_size()
        if memory is not None and memory.dtype in FLOATS and tensor.dtype in FLOATS:  # bits seen as another format
            layers = [[layer.number(math.nan, DOUBLE)] * count for layer in self.layers]
        else:
            floats = torch.empty(0, dtype=tensor.dtype, device=tensor.device).set_(storage, 0, (count,), (1,)).tolist()
            if count == 1:
                form = FLOATS.get(tensor.dtype, DOUBLE)
                layers = [[layer.number(floats[0], form)] for layer in self.layers]
            else:
                layers = [list(layer.data(floats, FLOATS.get(tensor.dtype, DOUBLE))) for layer in self.layers]
        memory = self._storages[storage._cdata] = _Storage(storage, tensor.dtype, layers)
        return memory

    def read(self, tensor: torch.Tensor, layer: int, shape: tuple[int, ...]) -> list[Cell]:
        """The cells of the tensor, broadcast to `shape`."""
        if tensor._is_zerotensor():
            return [self.layers[layer].number(0, DOUBLE)] * math.prod(shape)
        cells = self.load(tensor).layers[layer]
        indices = _places(tensor, shape)
        return cells[indices] if isinstance(indices, slice) else [cells[i] for i in indices]

    def write(self, tensor: torch.Tensor, layer: int, values: Sequence[Cell]) -> None:
        """Give the tensor's entries, in order, their cells."""
        storage = tensor.untyped_storage()
        memory = self._storages.get(storage._cdata)
        if memory is None or memory.dtype is not tensor.dtype:
            count = storage.nbytes() // tensor.element_size()
            if count == tensor.numel():
                memory = _Storage(storage, tensor.dtype, [[None] * count for _ in self.layers])
                self._storages[storage._cdata] = memory
            else:
                memory = self.load(tensor)
        cells = memory.layers[layer]
        if len(cells) < tensor.numel():
            self.load(tensor)
        indices = _places(tensor, tensor.shape)
        if isinstance(indices, slice):
            cells[indices] = values
        else:
            for index, value in zip(indices, values, strict=True):
                cells[index] = value

    def forget(self, tensor: torch.Tensor) -> None:
        """The floats count from here on."""
        if not tensor._is_zerotensor():
            self._storages.pop(tensor.untyped_storage()._cdata, None)


def _places(tensor: torch.Tensor, wanted: Sequence[int]) -> slice | list[int]:
    """Where the entries of a tensor, broadcast to the shape `wanted`, lie in its storage."""
    start = tensor.storage_offset()
    if tensor.shape == wanted and tensor.is_contiguous():
        return slice(start, start + tensor.numel())
    return _indices(tuple(tensor.shape), tensor.stride(), start, tuple(wanted))


@lru_cache(maxsize=4096)
def _indices(shape: tuple[int, ...], strides: tuple[int, ...], offset: int, wanted: tuple[int, ...]) -> slice | list[int]:
    grid = np.full(shape, offset, dtype=np.int64)
    for axis, (size, stride) in enumerate(zip(shape, strides, strict=True)):
        steps = np.arange(size, dtype=np.int64) * stride
        grid += steps.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    found: list[int] = np.broadcast_to(grid, wanted).reshape(-1).tolist()
    if found and found == list(range(found[0], found[0] + len(found))):
        return slice(found[0], found[0] + len(found))
    return found

"""The bytes that operations left in memory: what changed without one (a kernel, ctypes, NumPy, a thread wrote to it) is seen
when it is read.

Memory that no operation has filled yet is filled with one nan, for the allocator may hand out what a kernel will write once
more.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

NOTHING = 0xFF
"""The byte that memory without values is filled with: in every format it makes a nan that no arithmetic returns."""


@dataclass(slots=True)
class _Seen:
    """A storage, which keeps its address from being used again, as an operation last left it. `blank`: none has written to
    it."""

    storage: Any
    dtype: torch.dtype
    there: bytearray
    blank: bool = False


class Contents:
    """What the storages of all tensors held that operations returned."""

    def __init__(self) -> None:
        self._seen: dict[int, _Seen] = {}

    def blank(self, tensor: torch.Tensor) -> None:
        """The tensor is new and holds no values yet."""
        storage = tensor.untyped_storage()
        if tensor.is_floating_point() and storage.nbytes():
            torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(storage).fill_(NOTHING)
            self._seen[storage._cdata] = _Seen(storage, tensor.dtype, bytearray(), blank=True)

    def remember(self, tensor: torch.Tensor) -> None:
        """An operation has written to the tensor."""
        storage = tensor.untyped_storage()
        seen = self._seen.get(storage._cdata)
        if seen is None or seen.blank or len(seen.there) != storage.nbytes() or seen.dtype is not tensor.dtype:
            there = bytearray(bytes_of(storage, 0, storage.nbytes()))
            self._seen[storage._cdata] = _Seen(storage, tensor.dtype, there)
        elif tensor.numel():
            start, end = extent(tensor)
            seen.there[start:end] = bytes_of(storage, start, end)

    def changed(self, tensors: Iterable[torch.Tensor]) -> bool:
        """Whether tensors that are about to be read hold what no operation wrote, or show it as another format."""
        return any(self._changed(tensor) for tensor in tensors if tensor.numel())

    def _changed(self, tensor: torch.Tensor) -> bool:
        seen = self._seen.get(tensor.untyped_storage()._cdata)
        if seen is None:
            return False
        if seen.dtype is not tensor.dtype:
            return True
        if seen.blank:  # wherever it was: what is remembered next is all of it
            there = bytes_of(seen.storage, 0, seen.storage.nbytes())
            return there.count(NOTHING) != len(there)
        start, end = extent(tensor)
        return seen.there[start:end] != bytes_of(seen.storage, start, end)


def as_real(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor itself; of a complex one the real and imaginary parts of its entries in memory, a view with one more
    dimension."""
    if not tensor.is_complex():
        return tensor
    return torch.view_as_real(torch._conj(tensor) if tensor.is_conj() else tensor)


def bytes_of(storage: Any, start: int, end: int) -> bytes:
    """Some bytes of a storage."""
    if storage.device.type == "cpu":
        return ctypes.string_at(storage.data_ptr() + start, end - start) if end > start else b""
    with _disable_current_modes():  # nobody follows that
        return bytes(torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)[start:end].cpu().numpy())


def extent(tensor: torch.Tensor) -> tuple[int, int]:
    """The bytes of its storage between which a tensor's entries lie."""
    size, start = tensor.element_size(), tensor.storage_offset()
    if tensor.is_contiguous():
        return int(size * start), int(size * (start + tensor.numel()))
    last = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    return int(start * size), int((start + last + 1) * size)

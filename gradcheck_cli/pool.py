"""Memory of large arrays, used again within a check: the system clears what it hands out, and arithmetic waits for that."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import mmap
from typing import Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.floats import Floats

LARGE = 1 << 22
"""Numbers from which on memory is used again: more than 32 MB the C library gives back to the system when it is freed
(M_MMAP_THRESHOLD, mallopt(3)), which clears it before it hands it out anew."""


@dataclass(slots=True)
class _Memory:
    """Bytes, and for how many numbers they were handed out last."""

    bytes: npt.NDArray[np.uint8]
    count: int = 0

    @property
    def references(self) -> int:
        """To the bytes: views, and tensors in them, hold one each."""
        return sys.getrefcount(self.bytes)

    @property
    def free(self) -> bool:
        return self.references == _UNHELD


_UNHELD = _Memory(np.empty(0, dtype=np.uint8)).references
"""References where nobody holds any, as this interpreter counts them."""


class _Kept(threading.local):
    """What stays for the next arrays of this thread."""

    memory: list[_Memory] | None = None


_KEPT = _Kept()


@contextmanager
def reusing() -> Iterator[None]:
    """Inside the block, in this thread, the memory of large arrays of `empty` that nobody holds any more stays for the next
    ones."""
    before, _KEPT.memory = _KEPT.memory, []
    try:
        yield
    finally:
        _KEPT.memory = before


def reused(count: int) -> bool:
    """Whether an array of so many numbers is in memory that is used again."""
    return _KEPT.memory is not None and count >= LARGE


def empty(*shape: int) -> Floats:
    """An array whose entries, which lie one after another, are anything at all: to be written to before it is read."""
    count = math.prod(shape)
    if _KEPT.memory is None or not reused(count):
        return np.empty(shape)
    step = 1 << (count.bit_length() - 3)  # what is a little larger fits too; memory that isn't written to costs nothing
    size = 8 * step * -(-count // step)
    free = [memory for memory in _KEPT.memory if memory.free]
    found = min((m for m in free if size <= m.bytes.size <= 2 * size), key=lambda m: m.bytes.size, default=None)
    if found is None:
        # in pages of the usual size: huge ones, as NumPy asks for, a virtual machine fetches from its host at the first write
        found = _Memory(np.frombuffer(mmap(-1, size), dtype=np.uint8))
        _KEPT.memory = [*(m for m in _KEPT.memory if not any(m is other for other in free)), found]  # nobody waited for these
    found.count = count
    array: Floats = found.bytes[: 8 * count].view(np.float64).reshape(shape)
    return array


def filled(count: int, value: float) -> Floats:
    """An array of so many times a number."""
    found = empty(count)
    found.fill(value)
    return found


def entire(array: npt.NDArray[Any]) -> bool:
    """Whether an array has memory of its own, no part of a larger one's; a view that shows all of it in another shape too."""
    owner = array if array.base is None else array.base
    if not isinstance(owner, np.ndarray):
        return False
    if owner.flags.owndata:
        return owner.nbytes == array.nbytes
    return any(m.bytes is owner and m.count == array.size for m in _KEPT.memory or ())

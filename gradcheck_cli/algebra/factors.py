"""Factors of matrices as torch returns them, where one of several is its own choice: eigenvectors have no sign of their own.

What is derived of such a factor is derived of the one that torch chose: `held` says how it computes, and a factor of floats is
what the exact side takes the signs from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

_COMPUTED: ContextVar[tuple[str, str]] = ContextVar("computed", default=("float64", "cpu"))


@contextmanager
def held(dtype: str, device: str) -> Iterator[None]:
    """Within, torch's factors are those that it computes in this format, on this device."""
    token = _COMPUTED.set((dtype, device))
    try:
        yield
    finally:
        _COMPUTED.reset(token)


def factored(entries: tuple[float, ...], rows: int, columns: int, factor: int) -> list[list[float]]:
    """The factor with this number in `language.arrays.cells.FACTORS`, of a matrix given row by row."""
    return _factored(entries, rows, columns, factor, *_COMPUTED.get())


@lru_cache(maxsize=256)
def _factored(entries: tuple[float, ...], rows: int, columns: int, factor: int, dtype: str, device: str) -> list[list[float]]:
    import torch

    matrix = torch.tensor(entries, dtype=torch.float64).reshape(rows, columns).to(device, getattr(torch, dtype))
    found: list[list[float]] = _RUN[factor](torch.linalg, matrix).double().tolist()
    return found


_RUN: tuple[Callable[[Any, Any], Any], ...] = (
    lambda linalg, a: linalg.eigh(a).eigenvectors,
    lambda linalg, a: linalg.qr(a).R,
    lambda linalg, a: linalg.svd(a, full_matrices=False).U,
    lambda linalg, a: linalg.svd(a, full_matrices=False).Vh,
    lambda linalg, a: linalg.svd(a).U,
    lambda linalg, a: linalg.svd(a).Vh,
)

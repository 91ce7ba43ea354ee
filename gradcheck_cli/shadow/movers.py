"""Operations that only move entries: run once more on the entries' numbers, they tell where each output entry came from."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import chain
from typing import Any

import torch

ZERO = 0
"""The number of an entry that came from nowhere: torch filled it with zero."""


KEPT, MOST = 1024, 1 << 12
"""Moves that are kept for a process, each of so many entries at most."""

_kept: dict[Hashable, list[list[int]]] = {}


def origins(function: Any, arguments: Mapping[str, Any], moves: Sequence[str]) -> list[list[int]]:
    """For each output of the operation the numbers of its entries, which count the entries of `moves` from 1 on, in order; a
    number that isn't a tensor counts as one entry. Numbers are exact in float64 up to 2**53."""
    key = _shapes(function, arguments, moves)
    if key is None:
        return _origins(function, arguments, moves)
    if key not in _kept:
        found = _origins(function, arguments, moves)
        if sum(map(len, found)) > MOST:
            return found
        if len(_kept) >= KEPT:
            del _kept[next(iter(_kept))]
        _kept[key] = found
    return _kept[key]


def _shapes(function: Any, arguments: Mapping[str, Any], moves: Sequence[str]) -> Hashable | None:
    """What a move hangs on; None where it hangs on the contents of tensors, such as masks and indices."""
    found: list[Hashable] = [function]
    for name, value in arguments.items():
        given = value if isinstance(value, (list, tuple)) else (value,)
        if name in moves:
            found.append((name, tuple(tuple(v.shape) if isinstance(v, torch.Tensor) else () for v in given)))
            continue
        if any(isinstance(v, (torch.Tensor, list)) for v in given):
            return None
        found.append((name, tuple((type(v), v) for v in given)))
    return tuple(found)


def _origins(function: Any, arguments: Mapping[str, Any], moves: Sequence[str]) -> list[list[int]]:
    count = ZERO

    def numbered(value: Any) -> Any:
        nonlocal count
        if isinstance(value, (list, tuple)):
            return [numbered(v) for v in value]
        shape = tuple(value.shape) if isinstance(value, torch.Tensor) else ()
        start, count = count + 1, count + (value.numel() if isinstance(value, torch.Tensor) else 1)
        if not isinstance(value, torch.Tensor):
            return float(count)
        return torch.arange(start, count + 1, dtype=torch.float64, device=value.device).reshape(shape)

    given = {name: numbered(value) if name in moves else value for name, value in arguments.items()}
    results = function(**given)
    return [r.reshape(-1).long().tolist() for r in (results if isinstance(results, (list, tuple)) else [results])]


def gathered(found: Sequence[int], cells: Sequence[Sequence[Any]], zero: Any) -> list[Any]:
    """The output's cells, from the cells of `moves`."""
    every = [zero, *chain.from_iterable(cells)]
    return [every[i] for i in found]

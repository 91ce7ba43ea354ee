"""Operations that only move entries: run once more on the entries' numbers, they tell where each output entry came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import torch

ZERO = 0
"""The number of an entry that came from nowhere: torch filled it with zero."""


def origins(function: Any, arguments: Mapping[str, Any], moves: Sequence[str]) -> list[list[int]]:
    """For each output of the operation the numbers of its entries, which count the entries of `moves` from 1 on, in order; a
    number that isn't a tensor counts as one entry. Numbers are exact in float64 up to 2**53."""
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

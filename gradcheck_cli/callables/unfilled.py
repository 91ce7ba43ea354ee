"""Memory that code reads before anything was written to it (`torch.empty`): the numbers change from run to run, or only later.

The function runs with such memory filled with one number, then with another: what differs was read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gradcheck_cli.maps.map import Map, Row, pull, uncompiled
from gradcheck_cli.shadow.arguments import run
from gradcheck_cli.shadow.origins import place, plain_name
from gradcheck_cli.shadow.overloads import Overload
from gradcheck_cli.shadow.watching import Watching

FILLED = (0.8125, -1.4375)
"""Numbers of ordinary size."""

_UNFILLED = frozenset({"empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided"})

READ = "{} is read before anything is written to it: what is in that memory changes from run to run"


class _Filling(Watching):
    """Fill new memory with a number. `places`: where the user's code asked for such memory."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number, self.places = number, dict[str, None]()

    def watched(self, known: Overload, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        result = run(func, args, kwargs)
        if known.base in _UNFILLED and not known.foreign and isinstance(result, Tensor) and result.is_floating_point():
            where = place()
            if where is not None:
                result.fill_(self.number)
                self.places[f"torch.{plain_name(known.base)} ({where})"] = None
        return result


def unfilled(map: Map, row: Row) -> tuple[str, dict[str, tuple[Tensor | None, Tensor]]] | None:
    """What outputs and gradients, by name, differ with what is in memory that the code hasn't filled, and where it asked for
    that; None where nothing does."""
    runs: list[Mapping[str, Tensor | None]] = []
    places: dict[str, None] = {}
    for number in FILLED:
        filling = _Filling(number)
        try:
            with torch.random.fork_rng(devices=[]), uncompiled(), filling:
                leaves = map.leaves()
                outputs = map(leaves)
                copied = Row(row.name, {n: v.clone() for n, v in row.cotangents.items()})  # a backward may write into them
                gradients = pull(outputs, leaves, copied).gradients
        except Exception:  # whatever a user's code raises where it is watched
            return None
        if not filling.places:
            return None
        places |= filling.places
        runs.append({**{n: y.detach() for n, y in outputs.items()}, **{f"d{row.name}/d{n}": g for n, g in gradients.items()}})
    first, second = runs
    found = {n: (second[n], x) for n, x in first.items() if x is not None and not _same(x, second[n])}
    return (READ.format(" or ".join(places)), found) if found else None


def _same(x: Tensor, y: Tensor | None) -> bool:
    return y is not None and torch.equal(x.nan_to_num(), y.nan_to_num())

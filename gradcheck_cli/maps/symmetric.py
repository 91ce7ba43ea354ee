"""Functions of symmetric matrices that torch computes from one triangle: difference quotients that keep to symmetric ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from gradcheck_cli.maps.map import Map, Tensors, uncompiled
from gradcheck_cli.shadow.arguments import run
from gradcheck_cli.shadow.overloads import Overload
from gradcheck_cli.shadow.rules import SYMMETRIC, is_symmetric
from gradcheck_cli.shadow.watching import Watching

ALONG = (
    "{} reads one triangle of a symmetric matrix, and torch's gradient is by its symmetric part (half in each triangle): "
    "judged as the derivative along symmetric directions"
)

LOPSIDED = "{} reads one triangle of its argument, which is not symmetric here; torch's gradient is meant for a symmetric one"


class Symmetrised(Watching):
    """Hand such operations the symmetric part of their argument. `found`: those that it made a difference to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, None] = {}

    def watched(self, known: Overload, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        if known.base in SYMMETRIC and not known.foreign:
            bound = known.bind(args, kwargs)
            matrix = bound[SYMMETRIC[known.base]]
            if not is_symmetric(matrix):
                self.found[known.base] = None
                return run(func, [(matrix + matrix.mH) / 2 if a is matrix else a for a in args], kwargs)
        return run(func, args, kwargs)

    def map(self, map: Map) -> Map:
        """The same function under this mode."""

        def call(leaves: Tensors) -> dict[str, Tensor]:
            with uncompiled(), self:
                return dict(map.call(leaves))

        return replace(map, call=call)


def said(operation: str, symmetric: bool) -> str:
    """What the reader is told of an operation, under the name that a user calls it by."""
    text = ALONG if symmetric else LOPSIDED
    return text.format(operation.removeprefix("_").removeprefix("linalg_").removesuffix("_ex"))

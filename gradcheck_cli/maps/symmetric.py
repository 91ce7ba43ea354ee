"""Functions of symmetric matrices that torch computes from one triangle: difference quotients that keep to symmetric ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gradcheck_cli.maps.map import Map, Tensors, uncompiled
from gradcheck_cli.shadow.arguments import run
from gradcheck_cli.shadow.overloads import overload
from gradcheck_cli.shadow.rules import SYMMETRIC, is_symmetric

ALONG = (
    "{} reads one triangle of a symmetric matrix, and torch's gradient is by its symmetric part (half in each triangle): "
    "judged as the derivative along symmetric directions"
)

LOPSIDED = "{} reads one triangle of its argument, which is not symmetric here; torch's gradient is meant for a symmetric one"


class Symmetrised(TorchDispatchMode):
    """Hand such operations the symmetric part of their argument. `found`: those that it made a difference to."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: dict[str, None] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # as in `shadow.mode`

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        known = overload(func)
        if known.base in SYMMETRIC and not known.foreign:
            bound = known.bind(args, kwargs or {})
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

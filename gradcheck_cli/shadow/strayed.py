"""Which operation of a run returned something else than it computes: the first whose floats aren't where rounding may take
them, though what it got was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradcheck_cli.algebra.directions import value_of
from gradcheck_cli.algebra.number import Ball
from gradcheck_cli.shadow.arguments import is_plain, outputs_of
from gradcheck_cli.shadow.mode import Shadow
from gradcheck_cli.shadow.origins import place
from gradcheck_cli.shadow.overloads import Overload

Near = Callable[[Ball, float], bool]
"""Whether rounding explains a float, of a ball that holds all that it may do."""


class Strayed(Shadow):
    """Follow operations in one layer, of balls that hold what rounding may do. `first`: the first operation whose results these
    don't explain, and where it is; None while there is none."""

    def __init__(self, near: Near, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self._near = near
        self.first: str | None = None

    def watched(self, known: Overload, func: Any, args: Any, kwargs: Any) -> Any:
        result = super().watched(known, func, args, kwargs)
        if self.first is None and not self._within and not known.view:
            for output in outputs_of(result):
                if output is not None and is_plain(output) and output.is_floating_point():
                    floats = output.detach().double().reshape(-1).tolist()
                    cells = self.cells(output, 0)
                    if not all(self._near(value_of(cell), number) for cell, number in zip(cells, floats, strict=True)):
                        where = place()
                        self.first = f"{known.base} ({where})" if where else known.base
        return result

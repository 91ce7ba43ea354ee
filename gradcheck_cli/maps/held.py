"""State that torch's own modules write without gradients (the vectors of spectral norm): it counts as constant, and stands
still in difference quotients too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from torch import Tensor

from gradcheck_cli.maps.map import Map, Tensors, uncompiled
from gradcheck_cli.shadow.arguments import run
from gradcheck_cli.shadow.overloads import Overload
from gradcheck_cli.shadow.stops import state_written
from gradcheck_cli.shadow.watching import Watching

HELD = "buffers that torch's own modules write without gradients (as spectral norm does) are constants here"


class Held(Watching):
    """The first run records what is written to the state, the later ones write that again. `state`: the storages."""

    def __init__(self, state: Callable[[], Collection[int]]) -> None:
        super().__init__()
        self._state = state
        self._recorded: list[Tensor] | None = None
        self._writes: list[Tensor] = []

    def watched(self, known: Overload, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        result = run(func, args, kwargs)
        for tensor in state_written(known, args, kwargs, self._state()):
            place = len(self._writes)
            if self._recorded is not None and place < len(self._recorded) and self._recorded[place].shape == tensor.shape:
                tensor.copy_(self._recorded[place])
            self._writes.append(tensor.clone())
        return result

    def map(self, map: Map) -> Map:
        """The same function under this mode."""

        def call(leaves: Tensors) -> dict[str, Tensor]:
            self._writes = []
            with uncompiled(), self:
                outputs = dict(map.call(leaves))
            self._recorded = self._recorded or self._writes
            return outputs

        return replace(map, call=call)

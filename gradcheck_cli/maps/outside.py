"""Numbers that leave torch and come back (`.numpy()`, `.item()`, `.tolist()`), or that another thread computes: no operation
shows that they depend on inputs.

A run is logged: the contents of every tensor that no operation made, and every float that is an argument. Numbers that appear
only when the inputs are moved a little are no constants, and what was followed through them can't be trusted. Where the
function fails wherever the inputs are moved to, none of this can be told; where it fails only because it is watched, neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gradcheck_cli.maps.constants import Constants, Uneven
from gradcheck_cli.maps.map import Call, Map, Tensors, uncompiled
from gradcheck_cli.shadow.arguments import run
from gradcheck_cli.shadow.overloads import Overload
from gradcheck_cli.shadow.watching import Watching

OUTSIDE = "numbers that left torch (.numpy(), .item(), .tolist(), another thread)"

MOVED = "numbers from outside of torch that may depend on the inputs (the function fails where these are moved)"

WATCHED = "a function that fails where its operations are watched"

_STEPS = ((2.0**-7, True), (-(2.0**-7), True), (2.0**-7, False), (2.0**-20, False), (-(2.0**-20), False))
"""Relative steps of the inputs, until the function runs: the first ones move every format. And whether zeros are moved too: a
function may insist on them, on a sum of about 1, or on an end of its domain."""


class Doubt(NamedTuple):
    """What can't be followed, and in which pass: "forward" or "derivative"."""

    where: str
    what: str


UNSEEN = Doubt("", "")
"""Nobody has looked yet."""


Derive = Callable[[Map], Iterable[Tensor | None]]
"""Runs a map and its derivative, and returns the derivative's tensors."""


def outside(map: Map, derive: Derive, directions: Iterable[Tensors]) -> Doubt | None:
    """The first pass that takes in numbers from outside of torch that depend on the inputs, or may do so.

    `directions`: tensors that the derivative is taken along (tangents, cotangents). The map runs at its own inputs.
    """
    known = [*map.inputs.values(), *(v for tensors in directions for v in tensors.values())]
    if map.stops:  # numbers from what is constant are constants
        map = replace(map, call=_held(map.call))
    here = _logged(map, derive, known)
    if here is None:
        return Doubt("forward", WATCHED)
    if not any(here):
        return None
    places = (map.at(_moved(map.inputs, step, zeros)) for step, zeros in _STEPS)
    again = derive if here[1] else forwards  # a derivative that takes in nothing here takes in nothing that counts
    there = next(filter(None, (_logged(place, again, known) for place in places)), None)
    constants = here[0] | here[1]
    if there is None:
        return Doubt("forward" if here[0] else "derivative", MOVED)
    strange = (word for word, found in zip(("forward", "derivative"), there, strict=True) if not found <= constants)
    return next((Doubt(word, OUTSIDE) for word in strange), None)


def forwards(map: Map) -> Iterable[Tensor]:
    """Nothing but the outputs."""
    return map(map.leaves()).values()


def _held(call: Call) -> Call:
    constants = Constants()

    def held(leaves: Tensors) -> Tensors:
        try:
            with constants.run(leaves.values()):
                return call(leaves)
        except Uneven:
            return call(leaves)

    return held


def _moved(inputs: Tensors, step: float, zeros: bool) -> dict[str, Tensor]:
    return {name: x + step * (torch.where(x == 0, 1, x) if zeros else x) for name, x in inputs.items()}


def _logged(map: Map, derive: Derive, known: Iterable[Tensor]) -> tuple[set[str | bytes], set[str | bytes]] | None:
    """What the forward pass, and what the derivative took in besides; None where it fails."""
    log = _Log()
    log.know([*map.inputs.values(), *known])
    forward: set[str | bytes] = set()

    def call(leaves: Tensors) -> Tensors:
        log.know(leaves.values())
        outputs = map.call(leaves)
        log.take(list(outputs.values()))
        forward.update(log.found)
        return outputs

    try:
        with uncompiled(), log:
            log.take(list(derive(replace(map, call=call))))
    except Exception:  # whatever a user's code raises
        return None
    return forward, log.found - forward


class _Log(Watching):
    """`found`: floats, and contents of floating-point tensors, that no operation has made."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str | bytes] = set()
        self._known: dict[int, Any] = {}

    def know(self, tensors: Iterable[Tensor]) -> None:
        """Tensors whose contents are accounted for; their storages are kept, so that no address is used again."""
        for tensor in tensors:
            if _solid(tensor):
                storage = tensor.untyped_storage()
                self._known[storage._cdata] = storage

    def watched(self, known: Overload, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        _each(args, self._take)
        _each(kwargs, self._take)
        result = run(func, args, kwargs)
        _each(result, self._know)
        return result

    def _know(self, value: Any) -> None:
        if isinstance(value, Tensor):
            self.know([value])

    def take(self, values: Any) -> None:
        """Log what no operation has made, of (nested) arguments or results."""
        _each(values, self._take)

    def _take(self, value: Any) -> None:
        if isinstance(value, float):
            self.found.add(value.hex())  # nan is nan
        elif isinstance(value, Tensor) and _solid(value) and value.untyped_storage()._cdata not in self._known:
            self.know([value])
            if value.is_floating_point():
                bits = value.detach().reshape(-1).contiguous().view(torch.uint8)
                self.found.add(bits.numpy(force=True).tobytes())


def _solid(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and not tensor._is_zerotensor() and tensor.device.type != "meta"


def _each(value: Any, do: Callable[[Any], None]) -> None:
    if isinstance(value, Tensor):
        do(value)
    elif isinstance(value, (tuple, list)):
        for item in value:
            _each(item, do)
    elif isinstance(value, Mapping):
        for item in value.values():
            _each(item, do)
    else:
        do(value)

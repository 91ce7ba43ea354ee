"""Numbers that leave torch and come back (`.numpy()`, `.item()`, `.tolist()`): no operation shows that they depend on inputs.

A run is logged: the contents of every tensor that no operation made, and every float that is an argument. Numbers that appear
only when the inputs are moved a little are no constants, and what was followed through them can't be trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gradcheck_cli.maps.map import Map, Tensors

OUTSIDE = "numbers that left torch (.numpy(), .item(), .tolist())"

_STEP = 2.0**-7
"""Relative step of the inputs: it moves every format."""


Derive = Callable[[Map], Iterable[Tensor | None]]
"""Runs a map and its derivative, and returns the derivative's tensors."""


def outside(map: Map, derive: Derive, directions: Iterable[Tensors]) -> str | None:
    """The first pass, "forward" or "derivative", that takes in numbers from outside of torch that depend on the inputs.

    `directions`: tensors that the derivative is taken along (tangents, cotangents).
    """
    known = [*map.inputs.values(), *(v for tensors in directions for v in tensors.values())]
    here = _logged(map, derive, known)
    if not any(here):
        return None
    moved = {name: x + _STEP * torch.where(x == 0, 1, x) for name, x in map.inputs.items()}
    there = _logged(map.at(moved), derive, known)
    constants = here[0] | here[1]
    return next((word for word, found in zip(("forward", "derivative"), there, strict=True) if not found <= constants), None)


def _logged(map: Map, derive: Derive, known: Iterable[Tensor]) -> tuple[set[str | bytes], set[str | bytes]]:
    """What the forward pass, and what the derivative took in besides."""
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
        with log:
            log.take(list(derive(replace(map, call=call))))
    except Exception:  # whatever a user's code raises, beside the point or at it: what it does there shows in the run itself
        return set(), set()
    return forward, log.found - forward


class _Log(TorchDispatchMode):
    """`found`: floats, and contents of floating-point tensors, that no operation has made."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: set[str | bytes] = set()
        self._known: dict[int, Any] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # as in `shadow.mode`

    def know(self, tensors: Iterable[Tensor]) -> None:
        """Tensors whose contents are accounted for; their storages are kept, so that no address is used again."""
        for tensor in tensors:
            if _solid(tensor):
                storage = tensor.untyped_storage()
                self._known[storage._cdata] = storage

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.take((args, kwargs))
        result = func(*args, **(kwargs or {}))
        _each(result, lambda value: self.know([value]) if isinstance(value, Tensor) else None)
        return result

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
    if isinstance(value, (tuple, list)):
        for item in value:
            _each(item, do)
    elif isinstance(value, Mapping):
        for item in value.values():
            _each(item, do)
    else:
        do(value)

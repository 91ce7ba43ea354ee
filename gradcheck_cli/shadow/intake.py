"""What a run takes in that no operation has made: floats among the arguments, contents of tensors that come from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes


class Intake:
    """Told of each operation before and after it runs. `found`: floats, and digests of the contents of tensors, that no
    operation has made. `within`: the operations that aren't torch's own in which some of them came."""

    def __init__(self) -> None:
        self.found: set[str | bytes] = set()
        self.within: set[str] = set()
        self._known: dict[int, Any] = {}

    def know(self, values: Any) -> None:
        """Tensors among (nested) values whose contents are accounted for; their storages are kept, so that no address is used
        again."""
        _each(values, self._know)

    def take(self, values: Any) -> set[str | bytes]:
        """Note what no operation has made, of (nested) arguments or results; returns all that was found so far."""
        _each(values, self._take)
        return self.found

    def _know(self, value: Any) -> None:
        if isinstance(value, Tensor) and not self._is_known(value) and _solid(value):
            storage = value.untyped_storage()
            self._known[storage._cdata] = storage

    def _is_known(self, tensor: Tensor) -> bool:
        return tensor.layout is torch.strided and tensor.untyped_storage()._cdata in self._known

    def _take(self, value: Any) -> None:
        if isinstance(value, float):
            self.found.add(value.hex())  # nan is nan
        elif isinstance(value, Tensor) and not self._is_known(value) and _solid(value):
            self._know(value)
            if value.is_floating_point():
                with _disable_current_modes():  # nobody follows that
                    bits = value.detach().reshape(-1).contiguous().view(torch.uint8)
                    self.found.add(sha256(bits.numpy(force=True).data).digest())


def _solid(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and not tensor._is_zerotensor() and tensor.device.type != "meta"


def _each(value: Any, do: Callable[[Any], None]) -> None:
    if isinstance(value, (Tensor, float)):
        do(value)
    elif isinstance(value, (tuple, list)):
        for item in value:
            if type(item) not in _PLAIN:
                _each(item, do)
    elif isinstance(value, (dict, Mapping)):
        for item in value.values():
            _each(item, do)


_PLAIN = frozenset({int, bool, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format})
"""What most other items are, of which nothing is taken in."""

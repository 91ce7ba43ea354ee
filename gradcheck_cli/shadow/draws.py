"""torch's random generators, left as they were found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch


@contextmanager
def restored(tensors: Iterable[torch.Tensor]) -> Iterator[list[torch.Generator]]:
    """The generators of the CPU and of every device that holds one of the tensors; afterwards each has the state that it had.

    Devices whose module in torch keeps no `default_generators` (mps) are left alone.
    """
    devices = dict.fromkeys(t.device for t in tensors if t.device.type not in ("cpu", "meta"))
    found = [torch.default_generator]
    for device in devices:
        found += list(getattr(torch.get_device_module(device), "default_generators", ()))[device.index : device.index + 1]
    states = [generator.get_state() for generator in found]
    try:
        yield found
    finally:
        for generator, state in zip(found, states, strict=True):
            generator.set_state(state)

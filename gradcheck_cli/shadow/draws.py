"""torch's random generators, left as they were found."""

from __future__ import annotations

from collections.abc import Iterable

import torch

States = list[tuple[torch.Generator, torch.Tensor]]
"""What generators will draw next."""


def states(tensors: Iterable[torch.Tensor]) -> States:
    """Of the generators of the CPU and of every device that holds one of the tensors.

    Devices whose module in torch keeps no `default_generators` (mps) are left alone.
    """
    devices = dict.fromkeys(t.device for t in tensors if t.device.type not in ("cpu", "meta"))
    found = [torch.default_generator]
    for device in devices:
        found += list(getattr(torch.get_device_module(device), "default_generators", ()))[device.index : device.index + 1]
    return [(generator, generator.get_state()) for generator in found]


def on(device: str) -> list[torch.Tensor]:
    """A tensor on a device, whose generator is to be left as it was."""
    return [torch.empty(0, device=device)]


def restore(before: States) -> None:
    """Let them draw the same again."""
    for generator, state in before:
        generator.set_state(state)


class restored:
    """The generators of `states`, inside the block; afterwards each has the state that it had."""

    __slots__ = ("_before",)

    def __init__(self, tensors: Iterable[torch.Tensor]) -> None:
        self._before = states(tensors)

    def __enter__(self) -> list[torch.Generator]:
        return [generator for generator, _ in self._before]

    def __exit__(self, *raised: object) -> None:
        restore(self._before)

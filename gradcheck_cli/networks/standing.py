"""A network's parameters and buffers, exchanged for other tensors while it runs, and whenever a graph of such a run is pulled
back: activation checkpointing calls the network again in its backward pass, and must find what the forward pass found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor

from gradcheck_cli.networks.structures import leaves_of, path

Exchanged = list[tuple[dict[str, Tensor | None], str, Tensor | None]]
"""What stood where: the dictionary of a module, the name, the tensor."""


class Standing:
    """Which tensors stand in a network."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self._exchanged: Exchanged = []
        self._pulling: Mapping[str, Tensor] | None = None
        self._buffers: list[Any] = []  # kept, so that no address is used again
        self._run: tuple[nn.Module, Mapping[str, Tensor]] = network, {}

    @contextmanager
    def checked(self, cast: Callable[[Tensor], Tensor]) -> Iterator[None]:
        """Copies stand in place of the network's own tensors inside the block, which it may change."""
        own = tensors(self.network)
        before = _exchange(self.network, {n: cast(t).clone().requires_grad_(t.requires_grad) for n, t in own.items()})
        try:
            yield
        finally:
            self.settle()
            _restore(before)

    def buffered(self, buffers: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The same: they are the state of the next run."""
        self._buffers = [t.untyped_storage() for t in buffers.values() if t.layout is torch.strided]
        return buffers

    def state(self) -> list[int]:
        """The storages of the last run's buffers."""
        return [storage._cdata for storage in self._buffers]

    def call(self, module: nn.Module, given: Mapping[str, Tensor], run: Callable[[], Any]) -> Any:
        """Run something with these tensors standing in a module of the network."""
        self._run = module, given
        exchanged = _exchange(module, given)
        try:
            return self.pulled(run())
        finally:
            _restore(exchanged)

    def pulled(self, outputs: Any) -> Any:
        """The same tensors of this run, from which a backward pass may start."""
        for y in leaves_of(outputs):
            if isinstance(y, Tensor) and y.requires_grad and not is_functorch_wrapped_tensor(y):
                y.register_hook(partial(self._again, *self._run))
        return outputs

    def _again(self, module: nn.Module, given: Mapping[str, Tensor], gradient: Tensor) -> None:
        """Let what stood in a run stand until the backward pass that is about to go through it ends; it may be told so at each
        of the outputs."""
        if self._pulling is not given:
            self.settle()
            self._exchanged, self._pulling = _exchange(module, given), given
        torch.autograd.Variable._execution_engine.queue_callback(self.settle)

    def settle(self) -> None:
        """Undo what a backward pass left, be it that it failed."""
        _restore(self._exchanged)
        self._exchanged, self._pulling = [], None


def tensors(module: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers by name, each once."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _exchange(module: nn.Module, given: Mapping[str, Tensor]) -> Exchanged:
    """Put tensors in the places of those that stand under their names, tied ones in all of their places."""
    places: Exchanged = []
    new: dict[int, Tensor] = {}
    for prefix, part in module.named_modules():
        for standing in (part._parameters, part._buffers):
            for name, tensor in standing.items():
                if tensor is not None:
                    places.append((standing, name, tensor))
                    known = given.get(path(prefix, name))
                    if known is not None:
                        new.setdefault(id(tensor), known)
    found = [place for place in places if id(place[2]) in new]
    for standing, name, tensor in found:
        standing[name] = new[id(tensor)]
    return found


def _restore(exchanged: Exchanged) -> None:
    for standing, name, tensor in exchanged:
        standing[name] = tensor

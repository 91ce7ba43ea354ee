"""What code detaches: numbers that come to an operation from outside of autograd's graph, though they were made from inputs.

`.detach()`, `.data`, `torch.no_grad()`, a leaf that code makes of its own: a tensor is outside where no input can be reached
from it through the graph, whatever took it out. Within the forward pass of a custom Function nothing is recorded either, but
what that returns is in the graph again: so what counts is not where a number was computed, but what it is handed to. A tensor
that torch itself cuts off, for an operation that has no derivative, was not detached by the code and stays what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gradcheck_cli.shadow.overloads import Overload, overload

Take = Callable[[Tensor], Tensor]
"""What stands in for a tensor from outside, as an argument."""


class Graph:
    """What is known of one run: `differentiate_by` its inputs first, `enter` each operation, `leave` it with its results."""

    def __init__(self) -> None:
        self._storages: dict[int, Any] = {}  # that the code took out of the graph; kept, so that no address is used again
        self._shared: set[int] = set()  # those that tensors of the graph use too
        self._inputs: dict[int, Tensor] = {}
        self._reached: dict[Any, bool] = {}

    def differentiate_by(self, tensors: Iterable[Tensor]) -> None:
        """These are the inputs."""
        self._inputs.update({id(t): t for t in tensors})

    def enter(self, known: Overload, args: Any, kwargs: Mapping[str, Any], take: Take, write: Take) -> tuple[Any, Any]:
        """The arguments of an operation, with stand-ins for those from outside: of one that is read `take`, of one that the
        operation writes to `write`."""
        if known.base == "detach":
            if torch.is_grad_enabled():
                if self._reaches(args[0]):
                    self._shared.add(args[0].untyped_storage()._cdata)
                self._out([args[0]])
            return args, kwargs
        if known.view or not self._storages or not torch.is_grad_enabled():
            return args, kwargs
        bound = known.bind(args, kwargs)
        written = {id(t) for name in known.written for t in _tensors(bound[name])}
        only = {id(t) for name in known.outputs for t in _tensors(bound[name])}
        outside = {id(t) for t in _tensors((args, dict(kwargs))) if id(t) not in only and self.outside(t)}
        if not outside:
            return args, kwargs

        def change(tensor: Tensor) -> Tensor:
            if id(tensor) not in outside:
                return tensor
            return write(tensor) if id(tensor) in written else take(tensor)

        return _changed(args, change), _changed(dict(kwargs), change)

    def leave(self, results: Any) -> None:
        """The operation has run."""
        if not torch.is_grad_enabled():
            self._out(_tensors(results))

    def outside(self, tensor: Tensor) -> bool:
        """Whether the code took what this tensor holds out of the graph."""
        return _solid(tensor) and tensor.untyped_storage()._cdata in self._storages and not self._reaches(tensor)

    def shared(self, tensor: Tensor) -> bool:
        """Whether what is written to this tensor is written into the graph as well, which doesn't know of it."""
        return tensor.untyped_storage()._cdata in self._shared

    def _out(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            if _solid(tensor):
                storage = tensor.untyped_storage()
                self._storages[storage._cdata] = storage

    def _reaches(self, tensor: Tensor) -> bool:
        """Whether the graph leads from a tensor to an input."""
        if not tensor.requires_grad:
            return False
        if tensor.grad_fn is None:
            return id(tensor) in self._inputs
        waiting = [tensor.grad_fn]
        while waiting:  # depth first: a node is decided after all nodes before it
            node = waiting[-1]
            if node in self._reached:
                waiting.pop()
                continue
            leaf = getattr(node, "variable", None)
            before = [n for n, _ in node.next_functions if n is not None]
            missing = [n for n in before if n not in self._reached]
            if isinstance(leaf, Tensor):
                self._reached[node] = id(leaf) in self._inputs
            elif any(self._reached.get(n) for n in before):
                self._reached[node] = True
            elif missing:
                waiting.append(missing[0])
            else:
                self._reached[node] = False
        return self._reached[tensor.grad_fn]


class Uneven(Exception):
    """A run takes other numbers from outside of the graph than the first one did."""


class Constants(TorchDispatchMode):
    """A mode in which what code detaches stays what it was in the first run. `again` begins another run."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._tape: list[Tensor] | None = None
        self._place: int | None = None
        self._graph = Graph()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # as in `shadow.mode`

    def again(self, inputs: Iterable[Tensor]) -> Constants:
        """The mode for a run at these leaves: the first one is remembered."""
        self._tape, self._place = ([], None) if self._tape is None else (self._tape, 0)
        self._graph = Graph()
        self._graph.differentiate_by(inputs)
        return self

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = self._graph.enter(overload(func), args, kwargs or {}, self._taken, self._overwritten)
        result = func(*args, **kwargs)
        self._graph.leave(result)
        return result

    def result(self, tensor: Tensor) -> Tensor:
        """What the run returned, as it counts."""
        return self._taken(tensor) if self._graph.outside(tensor) else tensor

    def _taken(self, tensor: Tensor) -> Tensor:
        assert self._tape is not None
        if self._place is None:
            self._tape.append(tensor.detach().clone())
            return tensor
        if self._place >= len(self._tape) or self._tape[self._place].shape != tensor.shape:
            raise Uneven
        self._place += 1
        return self._tape[self._place - 1].clone()

    def _overwritten(self, tensor: Tensor) -> Tensor:
        if self._place is not None and self._graph.shared(tensor):
            raise Uneven  # what the graph would make of it can't be told
        tensor.detach().copy_(self._taken(tensor))
        return tensor


def _solid(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and not tensor._is_zerotensor() and tensor.device.type != "meta"


def _tensors(value: Any) -> list[Tensor]:
    """Those in (nested) arguments or results."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = tuple(value.values())
    return [t for v in value for t in _tensors(v)] if isinstance(value, (tuple, list)) else []


def _changed(value: Any, change: Take) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {name: _changed(v, change) for name, v in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(_changed(v, change) for v in value)
    return value

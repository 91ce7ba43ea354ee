"""What a function differentiates besides its arguments: parameters that it has, or finds around itself.

They are inputs too: while the function runs, tensors that are differentiated by stand where it finds them, and copies in place
of the buffers of modules, which it may change.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, MutableSequence, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from gradcheck_cli.formulas.tasks import listed
from gradcheck_cli.maps.autograd import gradients, nodes
from gradcheck_cli.maps.map import Map, Tensors, attempted

ENTRIES = 1_000
"""Entries of such tensors up to which they are inputs: a network's are left to `gradcheck model`, layer by layer."""

Put = Callable[[Tensor], None]


@dataclass(frozen=True)
class Enclosed:
    """A tensor, and what puts another one in each of its places."""

    tensor: Tensor
    places: Sequence[Put]

    @contextmanager
    def exchanged(self, other: Tensor) -> Iterator[None]:
        """The other one stands in its places inside the block."""
        self._put(other)
        try:
            yield
        finally:
            self._put(self.tensor)

    def _put(self, tensor: Tensor) -> None:
        for put in self.places:
            put(tensor)


class Surroundings:
    """What a function finds around itself: `tensors` by the names that they have where it is written, each once, and the places
    of `buffers`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.tensors: dict[str, Enclosed] = {}
        self.buffers: list[tuple[MutableMapping[str, Tensor | None], str]] = []
        self._known: dict[int, list[Put]] = {}
        self._seen: set[int] = set()
        self._functions: list[Any] = [function]
        for one in self._functions:  # grows
            self._search(one)

    def reached(self, outputs: Tensors) -> dict[str, Enclosed]:
        """The tensors to which the graph behind the outputs leads."""
        found = _variables(outputs)
        return {name: one for name, one in self.tensors.items() if id(one.tensor) in found}

    def settled(self, map: Map) -> Map:
        """The map with copies in place of all buffers, which are its state."""
        if not self.buffers:
            return map
        state: list[Any] = []

        def call(tensors: Tensors) -> Tensors:
            state.clear()
            with ExitStack() as stack:
                for standing, key in self.buffers:
                    if (before := standing.get(key)) is not None:
                        stack.callback(standing.__setitem__, key, before)
                        standing[key] = copy = before.clone()
                        state.append(copy.untyped_storage())  # kept, so that no address is used again
                return map.call(tensors)

        return replace(map, call=call, state=lambda: [storage._cdata for storage in state])

    def inputs(self, map: Map, outputs: Tensors) -> Map:
        """The map with such tensors among its inputs, where they aren't too many and nothing hangs on their gradients."""
        taken = {*map.inputs, *outputs}
        found = {n: e for n, e in self.reached(outputs).items() if n not in taken and e.places and _plain(e.tensor)}
        if not found or sum(e.tensor.numel() for e in found.values()) > ENTRIES:
            return map
        more = _with(map, found)
        leaves = more.leaves()
        reached = _variables(again := more(leaves))
        found = {name: e for name, e in found.items() if id(leaves[name]) in reached}  # others are held elsewhere too
        return _with(map, found) if _left_alone(found.values(), again, leaves) else map

    def told(self, outputs: Tensors, inputs: Tensors, arguments: Tensors) -> list[str]:
        """Said of them: that they are judged, or that what their gradient is remains unknown."""
        also = [name for name in inputs if name not in arguments]
        others = list(self.reached(outputs))
        unknown = "not judged (of a Module, gradcheck model judges the parameters)"
        return [
            f"{listed(names)} {'requires a gradient' if len(names) == 1 else 'require gradients'} too, and "
            f"{'is no argument' if len(names) == 1 else 'are no arguments'}: {said}"
            for names, said in ((also, "judged at the value that the function finds"), (others, unknown))
            if names
        ]

    def _search(self, function: Any) -> None:
        while isinstance(function, partial):
            function = function.func
        function = inspect.unwrap(function)
        if isinstance(function, MethodType):
            self._add("self", function.__self__)
            function = function.__func__
        if not isinstance(function, FunctionType):
            self._add("" if isinstance(function, nn.Module) else "self", function)
            return
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        for name in dict.fromkeys(_names(function.__code__)):
            if name in cells:
                try:
                    self._add(name, cells[name].cell_contents, partial(setattr, cells[name], "cell_contents"))
                except ValueError:  # not filled yet
                    continue
            elif name in function.__globals__:
                value, put = function.__globals__[name], partial(function.__globals__.__setitem__, name)
                if not isinstance(value, FunctionType):
                    self._add(name, value, put)
                elif value.__module__ == function.__module__ and value not in self._functions:
                    self._functions.append(value)

    def _add(self, name: str, value: Any, put: Put | None = None) -> None:
        """A value that has a name there: a tensor, or what holds some."""
        if isinstance(value, Tensor):
            if id(value) not in self._known:
                self._known[id(value)] = []
                self.tensors[name] = Enclosed(value, self._known[id(value)])
            if put is not None:
                self._known[id(value)].append(put)
            return
        if id(value) in self._seen or isinstance(value, type | ModuleType):
            return
        self._seen.add(id(value))
        if isinstance(value, nn.Module):
            self._module(name, value)
        elif isinstance(value, MutableMapping):
            self._items(value, ((f"{name}.{key}", key, part) for key, part in list(value.items())))
        elif isinstance(value, MutableSequence):
            self._items(value, ((f"{name}.{key}", key, part) for key, part in enumerate(value)))
        elif type(value).__module__ not in sys.stdlib_module_names and hasattr(value, "__dict__"):
            self._items(vars(value), ((f"{name}.{key}", key, part) for key, part in list(vars(value).items())))

    def _items(self, owner: Any, parts: Any) -> None:
        for name, key, part in parts:
            if isinstance(part, Tensor | nn.Module):
                self._add(name, part, partial(owner.__setitem__, key))

    def _module(self, name: str, module: nn.Module) -> None:
        for prefix, part in module.named_modules(prefix=name, remove_duplicate=False):
            path = f"{prefix}." if prefix else ""
            constant = getattr(part, "padding_idx", None) is not None or getattr(part, "scale_grad_by_freq", False)
            for key, parameter in part._parameters.items():
                if parameter is not None:
                    put = None if constant else partial(part._parameters.__setitem__, key)
                    self._add(path + key, parameter, put)
            held = ((key, value) for key, value in list(vars(part).items()) if not key.startswith("_"))
            for key, value in held:  # not registered: in a list, say
                if isinstance(value, Tensor | MutableSequence | MutableMapping):
                    self._add(path + key, value, partial(setattr, part, key))
            self.buffers += [(part._buffers, key) for key, buffer in part._buffers.items() if buffer is not None]


def _with(map: Map, found: Mapping[str, Enclosed]) -> Map:
    """The map with tensors among its inputs, which stand in their places while it runs."""

    def call(tensors: Tensors) -> Tensors:
        with ExitStack() as stack:
            for name, one in found.items():
                stack.enter_context(one.exchanged(tensors[name]))
            return map.call({name: x for name, x in tensors.items() if name not in found})

    return replace(map, inputs={**map.inputs, **{n: e.tensor.detach().clone() for n, e in found.items()}}, call=call)


def _left_alone(found: Iterable[Enclosed], outputs: Tensors, leaves: Tensors) -> bool:
    """Whether a backward pass doesn't read the places again, as that of a checkpoint does, which runs the function again."""
    with ExitStack() as stack:
        for one in found:
            stack.enter_context(one.exchanged(torch.full_like(one.tensor, torch.nan).requires_grad_()))
        pulled = attempted(lambda: gradients(outputs, leaves, {name: torch.ones_like(y) for name, y in outputs.items()}))
    return pulled is not None and not any(g is not None and bool(g.isnan().any()) for g in pulled.gradients.values())


def _plain(tensor: Tensor) -> bool:
    """Whether it can be an input: real, dense, and without hooks, which its copies don't have."""
    hooks = tensor._backward_hooks or getattr(tensor, "_post_accumulate_grad_hooks", None)
    return tensor.is_leaf and tensor.is_floating_point() and tensor.layout is torch.strided and not hooks


def _variables(outputs: Tensors) -> set[int]:
    """What the graph behind outputs leads to."""
    return {id(node.variable) for node in nodes(outputs.values()) if hasattr(node, "variable")}


def _names(code: CodeType) -> Iterator[str]:
    """The names that code uses which are none of its own, that of the functions in it too."""
    yield from (*code.co_freevars, *code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)

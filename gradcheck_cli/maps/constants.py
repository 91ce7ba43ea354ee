"""Runs in which numbers from outside of autograd's graph stay what they were in the first one.

Where what the code detaches is meant to be constant, difference quotients are taken so, of the function as torch runs it in all
else. And where a gradient is not the derivative but would be with those numbers held, the cut is why.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes

from gradcheck_cli.maps.map import uncompiled
from gradcheck_cli.shadow.arguments import run, tensors_of
from gradcheck_cli.shadow.origins import place
from gradcheck_cli.shadow.overloads import Overload
from gradcheck_cli.shadow.stops import DETACHED, Cut, Graph
from gradcheck_cli.shadow.watching import Watching

_LEAVING = {
    torch.Tensor.item: ".item()",
    torch.Tensor.tolist: ".tolist()",
    torch.Tensor.numpy: ".numpy()",
    torch.Tensor.__float__: "float()",
    torch.Tensor.__array__: "NumPy",
}
"""Functions that hand numbers to Python."""

_COPYING = {torch.tensor: "torch.tensor()", torch.Tensor.new_tensor: "new_tensor()"}
"""Functions that make a tensor of numbers alone."""


class Uneven(Exception):
    """A run takes other numbers from outside of the graph than the first one did."""


class Constants:
    """What was taken from outside in the first run. `everything`: numbers that torch cuts off or that leave it, and not only
    what the code detaches."""

    def __init__(self, everything: bool = False) -> None:
        self.everything = everything
        self.cuts: dict[Cut, None] = {}
        self.graph = Graph()
        self._tape: list[Tensor] | None = None
        self._place: int | None = None

    @contextmanager
    def run(self, inputs: Iterable[Tensor]) -> Iterator[Constants]:
        """Around a run at these leaves; the first one is remembered."""
        self._tape, self._place = ([], None) if self._tape is None else (self._tape, 0)
        self.graph = Graph(self.everything)
        self.graph.differentiate_by(inputs)
        with uncompiled(), _Operations(self), _Leaving(self):
            yield self
        self.cuts |= self.graph.cuts

    def result(self, tensor: Tensor) -> Tensor:
        """What the run returned, as it counts."""
        if not self.graph.outside(tensor):
            return tensor
        self.cuts[self.graph.cut(tensor)] = None
        return self.taken(tensor)

    def taken(self, tensor: Tensor) -> Tensor:
        """What stands in for a number from outside."""
        assert self._tape is not None
        with _disable_current_modes():
            if self._place is None:
                self._tape.append(tensor.detach().clone())
                return self._tape[-1].clone()
            if self._place >= len(self._tape) or self._tape[self._place].shape != tensor.shape:
                raise Uneven
            self._place += 1
            return self._tape[self._place - 1].clone()

    def before(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """What is about to be written to."""
        with _disable_current_modes():
            return [t.detach().clone() for t in tensors]

    def changed(self, tensors: Sequence[Tensor], before: Sequence[Tensor], cut: Cut) -> None:
        """An operation has written to these behind the graph's back: what it has added is as it was in the first run."""
        for tensor, old in zip(tensors, before, strict=True):
            with _disable_current_modes():
                now = tensor.detach()
                added = now - old
                now.copy_(old + self.taken(added))
                if added.any():  # torch's own clamps of what is not that small change nothing
                    self.cuts[cut] = None

    def overwritten(self, tensor: Tensor) -> Tensor:
        """The same of one that is about to be written to."""
        if self._place is not None and self.graph.shared(tensor):
            raise Uneven  # what the graph would make of it can't be told
        tensor.detach().copy_(self.taken(tensor))
        return tensor


class _Operations(Watching):
    """Stand-ins for what operations take from outside."""

    def __init__(self, constants: Constants) -> None:
        super().__init__()
        self._constants = constants

    def watched(self, known: Overload, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        constants = self._constants
        args, kwargs = constants.graph.enter(known, args, kwargs, constants.taken, constants.overwritten)
        behind = constants.graph.written_behind(known, args, kwargs) if constants.everything else []
        before = constants.before(behind)
        result = run(func, args, kwargs)
        if behind:
            how = f"on {DETACHED}" if torch.is_grad_enabled() else "under torch.no_grad()"
            constants.changed(behind, before, Cut(f"{known.name} in place {how}", place()))
        constants.graph.leave(known, result)
        return result


class _Leaving(TorchFunctionMode):
    """The same for what Python takes."""

    def __init__(self, constants: Constants) -> None:
        super().__init__()
        self._constants = constants

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        constants, graph = self._constants, self._constants.graph
        if func in _LEAVING and isinstance(args[0], Tensor) and args[0].is_floating_point():
            outside = graph.outside(args[0])
            if outside or (constants.everything and graph.reaches(args[0]) and func is not torch.Tensor.numpy):
                constants.cuts[Cut(_LEAVING[func], place()) if not outside else graph.cut(args[0])] = None
                args = (constants.taken(args[0]), *args[1:])
        if (
            func in _COPYING
            and constants.everything
            and any(map(graph.reaches, tensors_of((args, tuple((kwargs or {}).values())))))
        ):
            with _disable_current_modes(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch.tensor() of a tensor is what it is
                result: Tensor = func(*args, **(kwargs or {}))
            constants.cuts[Cut(_COPYING[func], place())] = None
            return constants.taken(result)
        return func(*args, **(kwargs or {}))

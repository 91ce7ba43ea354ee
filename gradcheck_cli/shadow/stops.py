"""What code detaches: numbers that come to an operation from outside of autograd's graph, though they were made from inputs.

`.detach()`, `.data`, `torch.no_grad()`, a leaf that code makes of its own: a tensor is outside where no input can be reached
from it through the graph, whatever took it out. Within the forward pass of a custom Function nothing is recorded either, but
what that returns is in the graph again: so what counts is not where a number was computed, but what it is handed to. A tensor
that torch itself cuts off, for an operation that has no derivative, was not detached by the code and stays what it is.
"""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.utils.checkpoint
from torch import Tensor

from gradcheck_cli.shadow.arguments import written_by
from gradcheck_cli.shadow.origins import place, plain_name
from gradcheck_cli.shadow.overloads import Overload

Take = Callable[[Tensor], Tensor]
"""What stands in for a tensor from outside, as an argument."""


Span = tuple[int, tuple[int, ...], tuple[int, ...]]
"""Where the entries of a tensor are in its storage: the first one, sizes and strides."""


DETACHED = ".detach() or .data"
UNRECORDED = "an operation under torch.no_grad()"
INNER = "an inner autograd.grad without create_graph=True"


class Cut(NamedTuple):
    """What took a number out of the graph: the code (DETACHED, UNRECORDED, INNER) or an operation of torch's by its name; and
    where, "file.py, line 3"."""

    what: str
    where: str | None
    operation: bool = False
    """Whether it is one that torch has no derivative of."""

    @property
    def meant(self) -> bool:
        """Whether the code says that the number is a constant."""
        return self.what in (DETACHED, UNRECORDED)

    def __str__(self) -> str:
        at = f" ({self.where})" if self.where else ""
        return f"{self.what}{at}{', which has no derivative in torch' if self.operation else ''}"


class Graph:
    """What is known of one run: `differentiate_by` its inputs first, `enter` each operation, `leave` it with its results.

    `everything`: what torch cuts off counts as outside too. `cuts`: what took those numbers out that were handed over.
    """

    def __init__(self, everything: bool = False) -> None:
        self.everything = everything
        self.cuts: dict[Cut, None] = {}
        self._waiting: tuple[Cut, list[Tensor]] | None = None  # what torch may turn out to have cut off
        self._outside = Spans()
        self._shared = Spans()  # what tensors of the graph use too
        self._inputs: dict[int, Tensor] = {}
        self._reached: dict[Any, bool] = {}
        self._entered = False  # an argument of the operation that runs is made of inputs; where a graph is recorded, through it

    def differentiate_by(self, tensors: Iterable[Tensor]) -> None:
        """These are the inputs."""
        self._inputs.update({id(t): t for t in tensors})

    def enter(self, known: Overload, args: Any, kwargs: Mapping[str, Any], take: Take, write: Take) -> tuple[Any, Any]:
        """The arguments of an operation, with stand-ins for those from outside: of one that is read `take`, of one that the
        operation writes to `write`."""
        if known.base == "detach":
            if torch.is_grad_enabled():
                if self.reaches(args[0]):
                    self._shared.add(args[0])
                if self._of_inputs(args[0]):
                    self._out([args[0]], self._cut(DETACHED))
            elif _within(_CHECKPOINT):  # nothing is recorded here, but it will be when this is run again
                return (take(args[0]), *args[1:]), kwargs
            return args, kwargs
        self._settle()
        if not torch.is_grad_enabled():
            tensors = _tensors((args, dict(kwargs)))
            self._entered = any(map(self._of_inputs, tensors))
            for t in tensors if known.view else ():
                if self.reaches(t) and _solid(t):
                    self._shared.add(t)
        elif self.everything and not known.view:
            self._entered = any(map(self.reaches, _tensors((args, dict(kwargs)))))
        if known.view or not self._outside or not torch.is_grad_enabled():
            return args, kwargs
        bound = known.bind(args, kwargs)
        written = {id(t) for name in known.written for t in _tensors(bound[name])}
        only = {id(t) for name in known.outputs for t in _tensors(bound[name])}
        if self.everything:  # of what is written behind the graph's back what is added counts, not what it was
            only |= {id(t) for name in known.written for t in _tensors(bound[name]) if self.shared(t)}
        outside = {id(t) for t in _tensors((args, dict(kwargs))) if id(t) not in only and self.outside(t)}
        if not outside or _within(_FUNCTION):
            return args, kwargs

        def change(tensor: Tensor) -> Tensor:
            if id(tensor) not in outside:
                return tensor
            self.cuts[self.cut(tensor)] = None
            return write(tensor) if id(tensor) in written else take(tensor)

        return _changed(args, change), _changed(dict(kwargs), change)

    def leave(self, known: Overload, results: Any) -> None:
        """The operation has run."""
        if not torch.is_grad_enabled():
            if self._entered:
                inner = torch._C._current_autograd_node() is not None
                self._out(_tensors(results), self._cut(INNER if inner else UNRECORDED))
        elif self.everything and self._entered and not _empty(known.base):
            self._waiting = self._cut(plain_name(known.base), True), _tensors(results)
        self._entered = False

    def outside(self, tensor: Tensor) -> bool:
        """Whether the code took what this tensor holds out of the graph."""
        self._settle()
        return _solid(tensor) and tensor in self._outside and not self.reaches(tensor)

    def written_behind(self, known: Overload, args: Any, kwargs: Mapping[str, Any]) -> list[Tensor]:
        """What an operation is about to write to in memory of the graph, which doesn't record it."""
        if not known.writes or _within(_FUNCTION):
            return []
        recorded = torch.is_grad_enabled()
        written = [t for t in written_by(known, known.bind(args, kwargs)) if t is not None and t.is_floating_point()]
        return [t for t in written if _solid(t) and (not recorded if self.reaches(t) else self.shared(t))]

    def _of_inputs(self, tensor: Tensor) -> bool:
        """Whether a tensor was made of inputs, in the graph or outside of it: else it is a constant that nobody cut off."""
        return self.reaches(tensor) or (_solid(tensor) and tensor in self._outside)

    def shared(self, tensor: Tensor) -> bool:
        """Whether what is written to this tensor is written into the graph as well, which doesn't know of it."""
        return tensor in self._shared

    def cut(self, tensor: Tensor) -> Cut:
        """What took a tensor out that is outside."""
        found: Cut = self._outside.last(tensor)
        return found

    def _settle(self) -> None:
        """What the last operation returned has its place in the graph by now, or none."""
        if self._waiting is not None:
            (cut, results), self._waiting = self._waiting, None
            self._out([t for t in results if t.is_floating_point() and not t.requires_grad], cut)

    def _cut(self, what: str, operation: bool = False) -> Cut:
        return Cut(what, place() if self.everything else None, operation)

    def _out(self, tensors: Iterable[Tensor], cut: Cut) -> None:
        for tensor in tensors:
            if _solid(tensor):
                self._outside.add(tensor, cut)

    def reaches(self, tensor: Tensor) -> bool:
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


class Spans:
    """Entries of storages, those of the tensors that were added, and what was said of each."""

    def __init__(self) -> None:
        self._spans: dict[int, tuple[Any, dict[Span, Any]]] = {}  # the storages are kept, so that no address is used again

    def __bool__(self) -> bool:
        return bool(self._spans)

    def add(self, tensor: Tensor, said: Any = None) -> None:
        storage = tensor.untyped_storage()
        spans = self._spans.setdefault(storage._cdata, (storage, {}))[1]
        spans.pop(span := _span(tensor), None)
        spans[span] = said

    def __contains__(self, tensor: Tensor) -> bool:
        return next(self._of(tensor), None) is not None

    def last(self, tensor: Tensor) -> Any:
        """What was said last of entries that the tensor has too."""
        (said,) = next(self._of(tensor))
        return said

    def _of(self, tensor: Tensor) -> Iterator[tuple[Any]]:
        _, spans = self._spans.get(tensor.untyped_storage()._cdata, (None, {}))
        own = _span(tensor)
        return ((said,) for span, said in reversed(spans.items()) if _overlap(own, span))


def _span(tensor: Tensor) -> Span:
    return int(tensor.storage_offset()), tuple(tensor.shape), tensor.stride()


def _overlap(one: Span, other: Span) -> bool:
    """Whether two tensors have an entry of one storage in common: chunks of one tensor, say, have none."""
    if one == other:
        return True
    (first, last), (start, end) = bounds = _bounds(one), _bounds(other)
    if last < start or end < first or 0 in (*one[1], *other[1]):
        return False
    whole = [math.prod(span[1]) == b - a + 1 for span, (a, b) in zip((one, other), bounds, strict=True)]
    if (whole[0] and first <= start and end <= last) or (whole[1] and start <= first and last <= end):
        return True
    return bool(np.isin(_entries(one), _entries(other)).any())


def _bounds(span: Span) -> tuple[int, int]:
    offset, shape, strides = span
    return offset, offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))


def _entries(span: Span) -> npt.NDArray[np.int64]:
    offset, shape, strides = span
    found = np.array([offset], dtype=np.int64)
    for n, stride in zip(shape, strides, strict=True):
        found = (found[:, None] + stride * np.arange(n)).reshape(-1)
    return found


def _solid(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and not tensor._is_zerotensor() and tensor.device.type != "meta"


def _empty(name: str) -> bool:
    """Whether an operation takes nothing but a shape from its argument."""
    return name.endswith("_like") or name.startswith(("new_", "empty"))


_FUNCTION = (torch.autograd.function.__file__, "apply")
_CHECKPOINT = (torch.utils.checkpoint.__file__, "forward")
"""The file and the name of what runs code of a custom Function, or of a function that is checkpointed with reentrance."""


def _within(place: tuple[str, str]) -> bool:
    """Whether code is run from there."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if (frame.f_code.co_filename, frame.f_code.co_name) == place:
            return True
        frame = frame.f_back
    return False


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


# -- state of modules ----------------------------------------------------------------------------------------------------


def state_written(known: Overload, args: Any, kwargs: Any, state: Collection[int]) -> list[Tensor]:
    """Tensors in these storages that an operation of one of torch's own modules has written to while gradients were off."""
    if not known.writes or not state or torch.is_grad_enabled():
        return []
    written = written_by(known, known.bind(args, kwargs))
    found = [t for t in written if t is not None and t.is_floating_point() and t.untyped_storage()._cdata in state]
    return found if found and _by_a_module() else []


def _by_a_module() -> bool:
    """Whether the code that runs is that of a module, or a parametrization, of torch's: what a user keeps without gradients may
    be a slip."""
    names = [str(frame.f_globals.get("__name__", "")) for frame, _ in traceback.walk_stack(None)]
    callers = (n for n in names if n.startswith("torch.nn.") or n.partition(".")[0] not in ("torch", "gradcheck_cli"))
    return next((n for n in callers if n != "torch.nn.functional"), "").startswith("torch.nn.")

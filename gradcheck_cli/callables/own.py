"""What custom Functions do by themselves, at the arguments that they receive: whose backward is wrong, and by what slip.

What lies around one (a factor, an activation) hides its slip in the gradient of the whole.
"""

from __future__ import annotations

import inspect
import linecache
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from types import CodeType
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import FunctionMeta

from gradcheck_cli.callables.backward import custom_nodes
from gradcheck_cli.callables.inputs import leaves
from gradcheck_cli.maps.map import Map, Row, Tensors, attempted, direction_of, pull, push, random_row, tangent, without_graph
from gradcheck_cli.maps.parts import apart, inexact, joined
from gradcheck_cli.maps.slips import Searched, name_pushed, name_slips

CALLS = 4
"""Calls of custom Functions that are looked at."""

FEWEST = 2
"""Entries along a dimension that a call is cut down to."""

LIKE = 1e-6
"""Relative difference up to which values are the same, but for rounding."""


@dataclass(frozen=True)
class Call:
    """One call of a custom Function, with what it was given."""

    function: Any
    arguments: tuple[Any, ...]
    asked: tuple[bool, ...]
    """By which of them the call is differentiated."""

    @property
    def name(self) -> str:
        return str(self.function.__name__)

    def names(self) -> list[str]:
        """What its arguments are called."""
        listed = list(inspect.signature(self.function.forward).parameters.values())
        listed = listed[self.function.setup_context is Function.setup_context :]  # without ctx
        names = [p.name for p in listed if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        return [*names, *(f"argument {k + 1}" for k in range(len(names), len(self.arguments)))]

    def still(self) -> set[str]:
        """The arguments that the call isn't differentiated by, if it is by others: targets, masks."""
        return {n for n, asked in zip(self.names(), self.asked, strict=False) if not asked} if any(self.asked) else set()

    def smaller(self) -> Iterator[Call]:
        """The call with the first entries along all dimensions, all but the last, the first or the last one, where its values
        are the same there: what is too large to be written down whole is looked at so."""
        shapes = [tuple(x.shape) for x in self.arguments if _numbers(x)]
        shape = max(shapes, key=math.prod, default=())
        along = range(len(shape))
        for dims in dict.fromkeys((along, along[:-1], along[:1], along[-1:])):
            cut = {d: shape[d] for d in dims if shape[d] > FEWEST}
            few = replace(self, arguments=tuple(_first(x, cut) for x in self.arguments))
            same = attempted(partial(self._goes_on, few, cut)) if cut else None
            if same:
                yield few

    def _goes_on(self, few: Call, cut: Mapping[int, int]) -> bool:
        """Whether the values with fewer arguments are the first of the values."""
        with torch.no_grad():
            whole, part = (leaves(call.function.apply(*call.arguments), "y") for call in (self, few))
        pairs = [(_first(y, cut), part[name]) for name, y in whole.items() if y.is_floating_point()]
        return all(
            a.shape == b.shape and a.numel() and torch.allclose(a, b, rtol=LIKE, atol=0, equal_nan=True) for a, b in pairs
        )

    def map(self) -> Map | None:
        """The Function as a map of those of its arguments that are differentiated by; None where there are none."""
        names = self.names()
        inputs = {n: x for n, x in zip(names, self.arguments, strict=False) if _numbers(x)}

        def call(given: Tensors) -> Tensors:
            whole = joined(given, inputs)
            arguments = [whole.get(n, x) for n, x in zip(names, self.arguments, strict=False)]
            return leaves(self.function.apply(*arguments), "y")

        if not inputs:
            return None
        map = Map(apart(inputs), call)
        return map.without(without_graph(map(map.leaves())))


def _first(x: Any, cut: Mapping[int, int]) -> Any:
    """The first entries of a tensor along some dimensions, where it has as many there as that says."""
    if not isinstance(x, Tensor):
        return x
    return x[tuple(slice(FEWEST if cut.get(d) == size else None) for d, size in enumerate(x.shape))].clone()


def calls(map: Map, known: Collection[Any] = ()) -> list[Call]:
    """The calls of users' custom Functions in one run of a map, each class once; of those made in the run, each one's code.
    `known`: those that are in its graph."""
    functions = dict.fromkeys(known or [node.function for node in custom_nodes(map(map.leaves()))])
    found: list[Call] = []
    with _listening(list(functions), found):
        map(map.leaves())
    by_class = {call.function if call.function in functions else _code(call.function): call for call in reversed(found)}
    return list(by_class.values())[::-1][:CALLS]


@contextmanager
def _listening(functions: Sequence[Any], found: list[Call]) -> Iterator[None]:
    """Note what the forward passes of these are given; and of classes that are made meanwhile of the same code, as a function
    makes that has its class inside."""
    own: dict[Any, Any] = {}
    codes = {_code(function) for function in functions}
    made: Any = FunctionMeta.__init__

    def listen(function: Any) -> None:
        own[function] = function.__dict__.get("forward")
        right, beside = function.forward, function.setup_context is not Function.setup_context

        def forward(*given: Any) -> Any:
            arguments = given if beside else given[1:]
            asked = tuple(isinstance(x, Tensor) and x.requires_grad for x in arguments)
            found.append(Call(function, tuple(x.detach().clone() if isinstance(x, Tensor) else x for x in arguments), asked))
            return right(*given)

        forward.__signature__ = inspect.signature(right)  # type: ignore[attr-defined]
        function.forward = staticmethod(forward)

    def make(function: Any, *given: Any) -> None:
        made(function, *given)
        if _code(function) in codes:
            listen(function)

    for function in functions:
        listen(function)
    FunctionMeta.__init__ = make  # type: ignore[method-assign]
    try:
        yield
    finally:
        FunctionMeta.__init__ = made  # type: ignore[method-assign]
        for function, original in own.items():
            if original is None:
                del function.forward
            else:
                function.forward = original


def _code(function: Any) -> CodeType | None:
    """What the forward pass of a custom Function runs."""
    return getattr(inspect.unwrap(function.forward), "__code__", None)


def place(function: Any, rule: str = "backward") -> str:
    """A rule of a custom Function in words: "the backward of Tanh (file.py, line 3)"."""
    written = "vjp" if rule == "backward" and "backward" not in function.__dict__ and "vjp" in function.__dict__ else rule
    name, code = function.__name__, inspect.unwrap(getattr(function, written))
    registered = inspect.getclosurevars(code).nonlocals if function.__module__.startswith("torch.") else {}
    if "info" in registered and "op" in registered:  # torch makes one of a `torch.library.custom_op`
        name, code = registered["op"].name().removesuffix(".default"), getattr(registered["info"], "_backward_fn", None)
    lines = getattr(code, "__code__", None)
    at = f" ({Path(lines.co_filename).name}, line {_line(lines)})" if lines else ""
    return f"the {rule} of {name}{at}"


def _line(code: CodeType) -> int:
    """The line of a function's `def`; its first one, which may be a decorator's, where there is none."""
    lines = linecache.getlines(code.co_filename)[code.co_firstlineno - 1 :]
    decorators = takewhile(lambda line: not line.lstrip().startswith(("def ", "async def ")), lines)
    before = len([*decorators])
    return code.co_firstlineno + before if code.co_name != "<lambda>" and before < len(lines) else code.co_firstlineno


Examine = Callable[[Call], Mapping[str, str | None]]
"""The slip of each argument that a rule is wrong for, None where it has no name."""


def own_slips(map: Map, searched: Searched | None = None, said: Collection[str] = ()) -> list[str]:
    """What is wrong with the custom Functions of a map by themselves: where, and the slip if it is a usual one that wasn't
    `said` before."""

    def examine(call: Call) -> Mapping[str, str | None]:
        own = call.map()
        slips = {} if own is None else name_slips(own, searched=searched, still=call.still())
        if own is not None and not slips:
            found = (name_slips(few, searched=searched, still=call.still()) for some in call.smaller() if (few := some.map()))
            slips = next(filter(None, found), {})
        return {name: None if slip in said else slip for name, slip in slips.items()}

    return _told(map, "backward", examine)


def own_pushed(map: Map, mode: str, searched: Searched | None = None) -> list[str]:
    """The same of their derivatives forwards."""

    def examine(call: Call) -> Mapping[str, str | None]:
        own = call.map()
        slip = None if own is None else name_pushed(own, mode, searched=searched)
        return {} if slip is None else {"": slip or None}

    return _told(map, "jvp", examine)


def constant_tangents(map: Map) -> list[str]:
    """The custom jvps of a map that torch doesn't differentiate again: what is pushed through them is a constant to the next
    derivative. Each is asked: the derivative of what it returns, along a seeded direction, is 0."""
    found = []
    for call in calls(map):
        if call.function.jvp is not Function.jvp and attempted(lambda call=call: _again(call)) is False:  # type: ignore[misc]
            found.append(
                f"torch doesn't differentiate a custom jvp again: what {place(call.function, 'jvp')} returns is a constant to "
                "the next derivative in forward mode; reverse mode differentiates the backward"
            )
    return found


def _again(call: Call) -> bool | None:
    """Whether the derivative along a seeded direction of what a jvp returns isn't 0; None where torch refuses to tell."""
    own = call.map()
    if own is None:
        return None
    direction = direction_of(own.inputs, 0)
    _, again, refusal = push(tangent(own, direction), direction)
    return None if refusal is not None else any(bool(t.any()) for t in again.values() if t is not None)


def forgotten_conjugates(map: Map) -> list[str]:
    """The same of those of complex arguments, whose conjugates are easily forgotten: where that is what is wrong."""
    return [text for text in _told(map, "backward", _conjugates) if BY_ITSELF in text]


def not_linear(map: Map) -> list[str]:
    """The same of those whose backward isn't linear in the upstream gradient, as that of any derivative is."""
    return [text for text in _told(map, "backward", _bent) if BY_ITSELF in text]


def places(map: Map, rule: str = "backward") -> list[str]:
    """Where the rule is, if there is one custom Function."""
    return _told(map, rule, lambda call: {})


BY_ITSELF = "is wrong by itself"


def _told(map: Map, rule: str, examine: Examine) -> list[str]:
    functions, found = calls(map), []
    for call in functions:
        wrong = attempted(lambda call=call: examine(call))  # type: ignore[misc]
        if wrong:
            by: dict[str, list[str]] = {}
            for name, slip in wrong.items():
                by.setdefault(slip or "", []).append(name)
            texts = [f"{slip} (by {', '.join(names)})" if len(wrong) > 1 else slip for slip, names in by.items() if slip]
            found.append(": ".join((f"{place(call.function, rule)} {BY_ITSELF}", *filter(None, ["; ".join(texts)]))))
    return found or [place(call.function, rule) for call in functions if len(functions) == 1]


NOT_LINEAR = "it isn't linear in the upstream gradient, as a derivative is (it is clipped, or normalised?)"


def _bent(call: Call) -> dict[str, str | None]:
    """The arguments whose gradients don't grow with the upstream gradient, but change sign with it (else it is forgotten, or
    used twice); powers of 2 leave rounding as it is."""
    own = call.map()
    if own is None:
        return {}
    leaves = own.leaves()
    outputs = own(leaves)
    upstream = random_row(outputs, 0).cotangents

    def pulled(factor: float) -> dict[str, Tensor | None]:
        found = pull(outputs, leaves, Row("", {name: v * factor for name, v in upstream.items()})).gradients
        return {name: None if g is None else g.detach().clone() / factor for name, g in found.items()}

    plain, reversed, *others = (pulled(factor) for factor in (1.0, -1.0, 0.25, 4.0))
    odd = [(name, g) for name, g in plain.items() if g is not None and _like(reversed[name], g)]
    return {name: NOT_LINEAR for name, g in odd if not all(_like(other[name], g) for other in others)}


def _like(x: Tensor | None, y: Tensor) -> bool:
    return x is not None and torch.allclose(x, y, rtol=LIKE, atol=LIKE * float(y.abs().max()), equal_nan=True)


# -- complex numbers --------------------------------------------------------------------------------------------------------

FEW = 16
"""Entries of a complex argument up to which its derivative is taken by quotients."""

STEP = 1e-5
CLOSE = 1e-7
"""Of a quotient in float64, and how well it must fit: its own error is about the square of the step."""

_CONJUGATES: tuple[tuple[str, bool, bool], ...] = (
    ("a conjugate is forgotten: the backward multiplies by the derivative itself, not by its conjugate", True, True),
    ("the upstream gradient is conjugated", True, False),
    ("the gradient is conjugated", False, True),
)
"""What is said where the gradient of the conjugate upstream, or its conjugate, is returned instead."""


def _conjugates(call: Call) -> dict[str, str | None]:
    """The complex arguments whose gradients are wrong, and by which conjugate, at two points."""
    if not any(isinstance(x, Tensor) and x.is_complex() for x in call.arguments):
        return {}
    found = [_at_a_point(call, seed) for seed in range(2)]
    named = {name: next((t for t in texts if t in found[1].get(name, ())), None) for name, texts in found[0].items()}
    return named if any(named.values()) else {}


def _at_a_point(call: Call, seed: int) -> dict[str, list[str]]:
    draw = torch.Generator().manual_seed(seed)
    points = [
        (x * (0.9 + 0.2 * torch.rand(x.shape, generator=draw, dtype=torch.float64))).to(_wide(x)) if _numbers(x) else x
        for x in call.arguments
    ]
    leaves = [x.detach().requires_grad_() if _numbers(x) else x for x in points]
    output = call.function.apply(*leaves)
    if not isinstance(output, Tensor):
        return {}
    upstream = torch.randn(output.shape, generator=draw, dtype=output.dtype)
    names = call.names()
    moving = [k for k, x in enumerate(points) if isinstance(x, Tensor) and x.is_complex() and x.numel() <= FEW]
    gradients = torch.autograd.grad(output, [leaves[k] for k in moving], upstream, allow_unused=True)
    found = {}
    for k, gradient in zip(moving, gradients, strict=True):
        if gradient is None:
            continue
        exact, other = (_exact(call.function.apply, points, k, v) for v in (upstream, upstream.conj()))
        if not _near(gradient, exact):
            changed = {(True, True): other.conj(), (True, False): other, (False, True): exact.conj()}
            found[names[k]] = [t for t, v, result in _CONJUGATES if _near(gradient, changed[v, result])]
    return found


def _exact(function: Callable[..., Tensor], points: Sequence[Any], k: int, upstream: Tensor) -> Tensor:
    """Torch's gradient by one argument, from central differences along its real and imaginary parts."""
    x = points[k]
    found = torch.zeros(x.numel(), dtype=x.dtype)
    for entry in range(x.numel()):
        for unit in torch.tensor([1, 1j], dtype=x.dtype):
            step = torch.zeros(x.numel(), dtype=x.dtype)
            step[entry] = unit * STEP
            up, down = (function(*points[:k], x + s * step.view(x.shape), *points[k + 1 :]) for s in (1, -1))
            found[entry] += unit * (upstream.conj() * (up - down)).sum().real / (2 * STEP)
    return found.view(x.shape)


def _numbers(x: Any) -> bool:
    return isinstance(x, Tensor) and inexact(x)


def _wide(x: Tensor) -> torch.dtype:
    return torch.complex128 if x.is_complex() else torch.float64


def _near(x: Tensor, y: Tensor) -> bool:
    return bool((x - y).abs().max() <= CLOSE * y.abs().max())

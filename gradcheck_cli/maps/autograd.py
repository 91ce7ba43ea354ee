"""Torch's ways to a derivative: hooks, autograd.grad, dual numbers, torch.func. The table `modes` names these functions.

A function that differentiates once takes a map with taps, and leaves or primals by name; one that nests takes a plain function
of named tensors. Nothing is judged here, and what torch refuses is said in its own words.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils.checkpoint import CheckpointFunction

from gradcheck_cli.errors import InputError, refusal_of
from gradcheck_cli.shadow.watching import wraps
from gradcheck_cli.verdict.judge import CUT

Tensors = Mapping[str, Tensor]
Seen = Callable[[str, Tensor], Tensor]

Place = tuple[int, ...] | None
"""Which entry of a tensor; None: every one, for each is a point of its own."""


class Tapped(Protocol):
    """A map with taps: named tensors in, named tensors out, named places between."""

    def forward(self, values: dict[str, Tensor], seen: Seen, /) -> dict[str, Tensor]:
        """The tensors at all places, from those of the inputs; `seen` may replace the one at a place."""

    def results(self, values: Tensors) -> dict[str, Tensor]:
        """The outputs among them."""

    def zero(self, place: str, inputs: Tensors) -> Tensor | None:
        """What can be added to the tensor at a place and changes nothing; None where that is an output."""

    def mark(self, place: str, /) -> None:
        """The backward of this place is about to run."""


def unchanged(name: str, value: Tensor) -> Tensor:
    """The tensor of a place at which nothing is to do."""
    return value


# -- backwards ----------------------------------------------------------------------------------------------------------


@dataclass
class Pulled:
    """What one backward pass returned: a gradient for each name (None: torch gave none), or its refusal."""

    gradients: dict[str, Tensor | None]
    refusal: str | None = None


@dataclass
class Run:
    """`values`: what went forward, by name; `pull`: the gradients of the outputs, combined with these cotangents."""

    values: dict[str, Tensor]
    pull: Callable[[Tensors], Pulled]


class Backwards(Protocol):
    """A `first` of a mode that runs backwards."""

    def __call__(self, map: Tapped, leaves: Tensors, by: Sequence[str]) -> Run:
        """Run forwards at `leaves` (which require a gradient), so that `by` (inputs and places) can be differentiated by.

        Raises what the map raises.
        """


def backward(map: Tapped, leaves: Tensors, by: Sequence[str]) -> Run:
    """backward(), with a hook on every place. Of one output, once."""
    caught: dict[str, Tensor] = {}

    def hooked(name: str, value: Tensor) -> Tensor:
        if value.requires_grad:

            def hook(gradient: Tensor) -> None:
                caught[name] = gradient
                map.mark(name)

            value.register_hook(hook)
        return value

    values = map.forward(dict(leaves), hooked)

    def pull(cotangents: Tensors) -> Pulled:
        ((name, cotangent),) = cotangents.items()
        if not values[name].requires_grad:
            return Pulled(dict.fromkeys(by), CUT)
        try:
            values[name].backward(cotangent)
        except Exception as refusal:  # whatever a user's backward raises; the places that it had reached have their gradients
            return Pulled({n: caught.get(n) for n in by}, refusal_of(refusal))
        return Pulled({n: leaves[n].grad if n in leaves else caught.get(n) for n in by})

    return Run(values, pull)


def grad(map: Tapped, leaves: Tensors, by: Sequence[str]) -> Run:
    """torch.autograd.grad of the outputs by inputs and places at once, again and again."""
    first = asked(map.forward(dict(leaves), unchanged), leaves, by)

    def pull(cotangents: Tensors) -> Pulled:
        found = first.pull(cotangents)
        if found.refusal is not None and ONCE in found.refusal:
            return asked(map.forward(dict(leaves), unchanged), leaves, by).pull(cotangents)
        return found

    return Run(first.values, pull)


def asked(values: dict[str, Tensor], leaves: Tensors, by: Sequence[str]) -> Run:
    """A run of which autograd.grad is asked, however it went forward."""
    nothing: dict[str, Tensor | None] = dict.fromkeys(by)
    reached = {n: leaves[n] if n in leaves else values[n] for n in by if n in leaves or values[n].requires_grad}

    def pull(cotangents: Tensors) -> Pulled:
        found = gradients(values, reached, cotangents)
        return Pulled(nothing | found.gradients, found.refusal)

    return Run(values, pull)


def gradients(outputs: Tensors, by: Tensors, cotangents: Tensors, create_graph: bool = False) -> Pulled:
    """torch.autograd.grad of a combination of outputs; the graph is kept for the next one."""
    taken = [name for name in cotangents if outputs[name].requires_grad]
    if not taken:
        return Pulled(dict.fromkeys(by), CUT)
    if not by:
        return Pulled({})
    try:
        found = derived([outputs[n] for n in taken], list(by.values()), [cotangents[n] for n in taken], create_graph)
    except InputError:
        raise
    except Exception as refusal:  # whatever a user's backward raises
        return Pulled(dict.fromkeys(by), refusal_of(refusal))
    return Pulled(dict(zip(by, found, strict=True)))


def derived(outputs: Sequence[Any], by: Sequence[Any], cotangents: Sequence[Tensor], create_graph: bool = False) -> Found:
    """torch.autograd.grad; where a backward runs another one within (reentrant checkpointing, and whatever else recomputes its
    forward pass), what backward() leaves in the `.grad` of leaves. The graph is kept. Raises what torch raises."""
    leaves = all(isinstance(x, Tensor) and x.is_leaf for x in by) and all(isinstance(y, Tensor) for y in outputs)
    functions = {node._forward_cls for node in nodes(outputs) if hasattr(node, "_forward_cls")} if leaves else set()
    if CheckpointFunction in functions:  # refused only where a way to the leaves leads through it in the graph that is seen
        return _dense(_left(outputs, by, cotangents, create_graph))
    try:
        found: Found = torch.autograd.grad(
            outputs, by, cotangents, retain_graph=True, create_graph=create_graph, allow_unused=True
        )
    except RuntimeError as refusal:
        if not leaves or GIVEN not in str(refusal):
            raise
        return _dense(_left(outputs, by, cotangents, create_graph))
    missing = [i for i, gradient in enumerate(found) if gradient is None]
    if missing and functions:
        left = _left(outputs, by, cotangents, create_graph)
        found = tuple(left[i] if gradient is None else gradient for i, gradient in enumerate(found))
    return _dense(found)


def _dense(found: Found) -> Found:
    return tuple(None if gradient is None else dense(gradient) for gradient in found)


def dense(tensor: Tensor) -> Tensor:
    """The same numbers as a tensor that has them in memory as they are: of a sparse one (the gradient of
    `Embedding(sparse=True)`) with its zeros, of a nested one the parts in a row. InputError where a class of tensors has them
    in a way of its own."""
    if not wraps(type(tensor)) and tensor.layout is torch.strided and not tensor.is_nested:
        return tensor
    if tensor.layout is torch.sparse_coo and not tensor.requires_grad:  # by operations that are followed
        zeros = torch.zeros(tensor.shape, dtype=tensor.dtype, device=tensor.device)
        return zeros.index_put(tuple(tensor._indices()), tensor._values(), accumulate=True)
    if tensor.layout is not torch.strided and not tensor.is_nested:
        return tensor.to_dense()
    if tensor.is_nested:
        return torch.cat([part.reshape(-1) for part in tensor.unbind()])
    kind = type(tensor).__name__
    raise InputError(f"a {kind} keeps its numbers in a way of its own: the code has to return a plain tensor")


Found = tuple[Tensor | None, ...]

ONCE = "Trying to backward an extra time"
"""torch's words for a graph with selective checkpoints, which keep what is recomputed for one backward pass."""

GIVEN = "currently running autograd.grad()"
"""torch's words for a hook that waits for gradients of leaves, which are nobody's then."""

REENTRANT = "use_reentrant=True"
"""What torch's refusal to differentiate by given tensors names."""


def _left(outputs: Sequence[Tensor], by: Sequence[Tensor], cotangents: Sequence[Tensor], create_graph: bool) -> Found:
    """What backward() adds to `.grad`; that of all leaves in sight is put back."""
    leaves = [*by, *(node.variable for node in nodes(outputs) if hasattr(node, "variable"))]
    before = [x.grad for x in leaves]
    try:
        for x in leaves:
            x.grad = None
        torch.autograd.backward(outputs, cotangents, retain_graph=True, create_graph=create_graph)
        return tuple(x.grad for x in by)
    finally:
        for x, gradient in zip(leaves, before, strict=True):
            x.grad = gradient


def nodes(outputs: Iterable[Tensor]) -> list[Any]:
    """The nodes of the graph behind tensors, from the tensors back."""
    stack = [y.grad_fn for y in outputs if y.grad_fn is not None]
    seen: dict[Any, None] = {}
    while stack:
        node = stack.pop()
        if node not in seen:
            seen[node] = None
            stack += [following for following, _ in node.next_functions if following is not None]
    return list(seen)


def vjp(map: Tapped, leaves: Tensors, by: Sequence[str]) -> Run:
    """torch.func.vjp of the outputs; a place is differentiated by a zero that is added to it."""
    constants = {name: x.detach() for name, x in leaves.items()}
    inputs = {name: x for name, x in constants.items() if name in by}
    zeros = {name: zero for name in by if name not in leaves and (zero := map.zero(name, constants)) is not None}

    def outputs(inputs: dict[str, Tensor], offsets: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        values = map.forward(constants | inputs, lambda n, v: v + offsets[n] if n in offsets else v)
        return map.results(values), values

    try:
        results, pullback, values = torch.func.vjp(outputs, inputs, zeros, has_aux=True)  # type: ignore[misc]
    except Exception as refusal:  # torch.func has no rule for it, or it is the map's own error, which comes again
        refused = Pulled(dict.fromkeys(by), refusal_of(refusal))
        return Run(map.forward(constants, unchanged), lambda cotangents: refused)

    def pull(cotangents: Tensors) -> Pulled:
        try:
            found = pullback({n: cotangents[n] if n in cotangents else torch.zeros_like(y) for n, y in results.items()})
        except Exception as refusal:  # whatever a user's backward raises
            return Pulled(dict.fromkeys(by), refusal_of(refusal))
        everything = {**found[0], **found[1], **cotangents}
        return Pulled({name: everything[name] for name in by})

    return Run(values, pull)


# -- forwards -----------------------------------------------------------------------------------------------------------


@dataclass
class Pushed:
    """What one pass returned: all `values`, and a tangent for each output (None: torch gave none); or nothing but a refusal."""

    values: dict[str, Tensor] = field(default_factory=dict)
    tangents: dict[str, Tensor | None] = field(default_factory=dict)
    refusal: str | None = None


class Forwards(Protocol):
    """A `first` of a mode that runs forwards."""

    def __call__(self, map: Tapped, primals: Tensors, tangents: Mapping[str, Callable[[Tensor], Tensor]]) -> Pushed:
        """Run forwards at `primals`. `tangents`: of the tensor at an input or a place, the tangent that begins there; the other
        inputs are constants."""


def dual(map: Tapped, primals: Tensors, tangents: Mapping[str, Callable[[Tensor], Tensor]]) -> Pushed:
    """Dual numbers."""

    def seeded(name: str, value: Tensor) -> Tensor:
        if name not in tangents:
            return value
        primal = forward_ad.unpack_dual(value).primal
        made: Tensor = forward_ad.make_dual(primal, tangents[name](primal))
        return made

    with forward_ad.dual_level():
        try:
            values = map.forward({n: seeded(n, x) for n, x in primals.items()}, seeded)
        except Exception as refusal:  # whatever a user's jvp raises
            return Pushed(refusal=refusal_of(refusal))
        return Pushed(
            {n: forward_ad.unpack_dual(v).primal for n, v in values.items()},
            {n: forward_ad.unpack_dual(y).tangent for n, y in map.results(values).items()},
        )


def jvp(map: Tapped, primals: Tensors, tangents: Mapping[str, Callable[[Tensor], Tensor]]) -> Pushed:
    """torch.func.jvp by inputs: it nests where dual numbers don't."""
    given = {name: tangents[name](x) if name in tangents else torch.zeros_like(x) for name, x in primals.items()}

    def outputs(inputs: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        values = map.forward(dict(inputs), unchanged)
        return map.results(values), values

    try:
        _, found, values = torch.func.jvp(outputs, (dict(primals),), (given,), has_aux=True)  # type: ignore[misc]
    except Exception as refusal:  # torch has no rule for the derivative of a rule
        return Pushed(refusal=refusal_of(refusal))
    return Pushed(values, found)


# -- again and again ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """The entry `at` of a function of named tensors, to be differentiated by entries of `inputs`, from left to right.

    `unit`: a tensor like the given one that is 1 at a place and 0 elsewhere.
    """

    function: Callable[[Tensors], Tensor]
    inputs: Tensors
    at: Place
    by: Sequence[tuple[str, Place]]
    unit: Callable[[Tensor, Place], Tensor]


Nested = Callable[[Entry], Tensor | None]
"""A `nested` of a mode: the derivative, or None where torch has none. Raises what torch raises."""


def nested_grad(entry: Entry) -> Tensor | None:
    """autograd.grad of autograd.grad, create_graph=True; where the graph ends, the derivative is 0 or missing."""
    leaves = requiring(entry.inputs, {name for name, _ in entry.by})
    result, at = entry.function(leaves), entry.at
    for name, place in entry.by:
        if not result.requires_grad:
            return None
        found = torch.autograd.grad(result, leaves[name], entry.unit(result, at), create_graph=True, allow_unused=True)[0]
        if found is None:
            return None
        result, at = found, place
    return pick(result, at).detach()


def nested_backward(entry: Entry) -> Tensor | None:
    """backward(create_graph=True) of what backward left in .grad."""
    leaves = requiring(entry.inputs, {name for name, _ in entry.by})
    result, at = entry.function(leaves), entry.at
    for name, place in entry.by:
        if not result.requires_grad:
            return None
        leaves[name].grad = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a reference cycle, which the last line of the loop breaks
            torch.autograd.backward(result, entry.unit(result, at), create_graph=True, inputs=[leaves[name]])
        found = leaves[name].grad
        leaves[name].grad = None
        if found is None:
            return None
        result, at = found, place
    return pick(result, at).detach()


def nested_vjp(entry: Entry) -> Tensor | None:
    """torch.func.vjp of vjp."""

    def derived(function: Callable[[Tensors], Tensor], name: str, at: Place) -> Callable[[Tensors], Tensor]:
        def derivative(leaves: Tensors) -> Tensor:
            result, pullback = torch.func.vjp(lambda x: function({**leaves, name: x}), leaves[name])  # type: ignore[misc]
            gradient: Tensor = pullback(entry.unit(result, at))[0]
            return gradient

        return derivative

    function, at = entry.function, entry.at
    for name, place in entry.by:
        function, at = derived(function, name, at), place
    return pick(function(entry.inputs), at).detach()


def nested_jvp(entry: Entry) -> Tensor | None:
    """torch.func.jvp of jvp."""

    def derived(function: Callable[[Tensors], Tensor], name: str, place: Place) -> Callable[[Tensors], Tensor]:
        def derivative(leaves: Tensors) -> Tensor:
            x = leaves[name]
            return torch.func.jvp(lambda x: function({**leaves, name: x}), (x,), (entry.unit(x, place),))[1]  # type: ignore[no-any-return]

        return derivative

    function = entry.function
    for name, place in entry.by:
        function = derived(function, name, place)
    return pick(function(entry.inputs), entry.at).detach()


def requiring(inputs: Tensors, only: Container[str] | None = None) -> dict[str, Tensor]:
    """The same numbers, in leaves that require a gradient: all, or these."""
    return {name: x.detach().requires_grad_(only is None or name in only) for name, x in inputs.items()}


def pick(tensor: Tensor, place: Place) -> Tensor:
    """The entry at a place; of a complex tensor the last index is 0 for its real part, 1 for its imaginary part."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    return tensor[place] if place else tensor

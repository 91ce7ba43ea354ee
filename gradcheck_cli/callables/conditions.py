"""The conditions under which training calls a backward, each tried against the plain run: THE table of conditions.

A custom backward that is right for one contiguous, complete, random upstream gradient can be wrong for the expanded one of
`y.sum()`, where one of its outputs isn't used, where an input is frozen, or where it is called again. Nothing here needs the
exact derivative: a backward is linear, so what must come out follows from what came out in the plain run. What doesn't hold is
a Column with the cause `convention`.

Two things are run: every custom backward by itself, at its own node of the graph, so that what lies between it and the output
can't hide anything; and the whole map. A graph of torch's own operations is tried only where several outputs may be used one
without the other: layouts, sizes and states don't reach their formulas, and their rounding is judged elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from gradcheck_cli.callables.backward import Backward, Found, Hooked, custom_nodes, dense, largest, of_node, pull, roundings
from gradcheck_cli.callables.conventions import broken
from gradcheck_cli.callables.own import Call, calls
from gradcheck_cli.errors import words as said
from gradcheck_cli.maps.autograd import REENTRANT
from gradcheck_cli.maps.map import Map, Row, Tensors, attempted, random_row
from gradcheck_cli.maps.parts import wholes
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.scope import Point

MOST = 8
"""Inputs or outputs that are frozen, or used alone, one at a time; and entries of a gradient that are reported."""

SIZE = 64
"""Large and tiny upstream gradients are the plain ones times 2**SIZE and 2**-SIZE; in formats with a shorter range, its fourth
root."""


@dataclass(frozen=True)
class Trial:
    """One run under a condition: what it returned, and what it had to. `what` completes the condition's words; `times`: how
    much larger than the plain run it is, and its rounding with it; `slack`: by how much more it may be off, by input."""

    found: Found
    wanted: Mapping[str, Tensor | None]
    what: str = ""
    times: float = 1.0
    slack: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Condition:
    """A row of the table: its name, how the run differs and what must hold, and the words of a report ("with ...").

    `of`: what it is tried on: each custom backward, each call of a custom Function, or a map as a whole. `plain`: on torch's
    own operations too. `refused`: errors of torch's own that are no fault here. `once`: its first trial that fails says it all.
    """

    name: str
    words: str
    run: Callable[[Any], Iterator[Trial]]
    of: Literal["backward", "call", "map"] = "backward"
    plain: bool = False
    refused: tuple[type[Exception], ...] = ()
    once: bool = False


# -- how a run differs --------------------------------------------------------------------------------------------------


def _layout(change: Callable[[Tensor], Tensor | None]) -> Callable[[Backward], Iterator[Trial]]:
    """Upstream gradients that lie otherwise in memory: the same as of contiguous copies of them."""

    def run(backward: Backward) -> Iterator[Trial]:
        changed = {name: change(v) for name, v in backward.cotangents.items()}
        if all(v is None for v in changed.values()):
            return
        laid = {name: backward.cotangents[name] if v is None else v for name, v in changed.items()}
        same = {name: v.clone(memory_format=torch.contiguous_format) for name, v in laid.items()}
        wanted = backward.pull(same)
        if wanted.refusal is None:
            yield Trial(backward.pull(laid), wanted.gradients)

    return run


def _expanded(v: Tensor) -> Tensor | None:
    return torch.ones((), dtype=v.dtype, device=v.device).expand(v.shape) if v.numel() > 1 else None


def _by_rows(v: Tensor) -> Tensor | None:
    return v[:1].expand(v.shape) if v.ndim > 1 and v.shape[0] > 1 else None


def _transposed(v: Tensor) -> Tensor | None:
    return v.mT.contiguous().mT if v.ndim > 1 and min(v.shape[-2:]) > 1 else None


def _channels_last(v: Tensor) -> Tensor | None:
    return v.contiguous(memory_format=torch.channels_last) if v.ndim == 4 and min(v.shape[1:]) > 1 else None


def _apart(v: Tensor) -> Tensor | None:
    return torch.stack([v, torch.full_like(v, 7)], -1)[..., 0] if v.numel() > 1 else None


def _slice(v: Tensor) -> Tensor | None:
    around = torch.full((v.numel() + 6,), 7, dtype=v.dtype, device=v.device)
    around[3:-3] = v.reshape(-1)
    return around[3:-3].view(v.shape)


def _zeros(backward: Backward) -> Iterator[Trial]:
    yield Trial(backward.pull(backward.zeros()), _times(0.0, backward.plain.gradients), times=0.0)


def _undefined(backward: Backward) -> Iterator[Trial]:
    taken = {name: y for name, y in backward.outputs.items() if y.requires_grad}
    undefined = {name: torch._C._functions.UndefinedGrad()(y) for name, y in taken.items()}
    if taken:
        yield Trial(
            replace(backward, outputs={**backward.outputs, **undefined}).pull(backward.zeros()),
            _times(0.0, backward.plain.gradients),
            times=0.0,
        )


def _scaled(sign: int) -> Callable[[Backward], Iterator[Trial]]:
    """Upstream gradients of another size: by a power of two, so that linearity is exact."""

    def run(backward: Backward) -> Iterator[Trial]:
        known = [g for g in (*backward.plain.gradients.values(), *backward.cotangents.values()) if g is not None]
        sizes = [largest(g) for g in known if largest(g)]
        reach = min(int(math.log2(torch.finfo(g.dtype).max)) for g in known)
        exponent = min(reach // 4, SIZE)
        if not sizes or max(sizes) > 2.0 ** (reach // 4) or min(sizes) < 2.0 ** (-reach // 4):
            return  # the result might leave the range, rightly
        trial = _times_as_large(backward, 2.0 ** (sign * exponent))
        if exponent < SIZE and _lost(trial):  # perhaps the range of an intermediate result
            trial = _times_as_large(backward, 2.0 ** (sign * (exponent // 2)))
        yield trial

    return run


def _times_as_large(backward: Backward, factor: float) -> Trial:
    found = backward.pull({name: v * factor for name, v in backward.cotangents.items()})
    return Trial(found, _times(factor, backward.plain.gradients), f"{factor:.2g}", factor)


def _lost(trial: Trial) -> bool:
    """Whether something overflowed, or vanished."""
    pairs = ((g, trial.found.gradients.get(name)) for name, g in trial.wanted.items() if g is not None and largest(g))
    return any(found is not None and (not found.isfinite().all() or not largest(found)) for _, found in pairs)


def _in_parts(backward: Backward) -> Iterator[Trial]:
    """Upstream gradients that add up to the plain one: so do what they give. Single entries and zeros elsewhere, as a loss of
    one entry has; ones, as a sum has, which code may take a short cut for; and their negative, of one sign too."""
    entries = {n: np.unique(np.linspace(0, v.numel() - 1, MOST).astype(int)).tolist() for n, v in backward.cotangents.items()}
    single = [_only(backward.cotangents, name, i) for name, some in entries.items() for i in some if _numel(backward) > 1]
    ones = {name: torch.ones_like(v) for name, v in backward.cotangents.items()}
    minus = {name: -v for name, v in ones.items()}
    named = ((single[: 2 * MOST], "its entries one by one"), ([ones], "ones and the rest"), ([minus], "-1 and the rest"))
    for parts, what in named:
        if parts:
            rest = {n: v - sum((part[n] for part in parts), torch.zeros_like(v)) for n, v in backward.cotangents.items()}
            found = [backward.pull(part) for part in (*parts, rest)]
            if not any(part.refusal for part in found):
                yield _summed(backward, found, what)


def _numel(backward: Backward) -> int:
    return sum(v.numel() for v in backward.cotangents.values())


def _only(cotangents: Tensors, name: str, index: int) -> dict[str, Tensor]:
    """The cotangents, with zeros for all entries but one."""
    found = {n: torch.zeros_like(v) for n, v in cotangents.items()}
    found[name].view(-1)[index] = cotangents[name].reshape(-1)[index]
    return found


def _summed(backward: Backward, parts: Sequence[Found], what: str) -> Trial:
    """What the parts of the plain upstream gradient give together: the plain gradients."""
    summed: dict[str, Tensor | None] = {}
    slack: dict[str, float] = {}
    for name in backward.plain.gradients:
        there = [g for part in parts if (g := part.gradients[name]) is not None]
        summed[name] = torch.stack(there).sum(0) if there else None
        slack[name] = sum(largest(g) * math.sqrt(torch.finfo(g.dtype).eps) for g in there)  # what cancels isn't seen here
    return Trial(Found(summed), backward.plain.gradients, what, slack=slack)


def _alone(backward: Backward) -> Iterator[Trial]:
    """One of several outputs used: the same as with zeros for the others, and together they are the combination."""
    outputs = wholes(backward.cotangents)
    if len(outputs) < 2:
        return
    parts = []
    for name, own in list(outputs.items())[:MOST]:
        zeroed = backward.pull(backward.zeros(*own))
        parts.append(backward.pull({n: backward.cotangents[n] for n in own}))
        if zeroed.refusal is None:
            yield Trial(parts[-1], zeroed.gradients, name)
    if len(parts) == len(outputs) and not any(part.refusal for part in parts):
        yield _summed(backward, parts, "one output after another")


def _unused(backward: Backward) -> Iterator[Trial]:
    """One of three or more not used."""
    outputs = wholes(backward.cotangents)
    for name, own in list(outputs.items())[:MOST] if len(outputs) > 2 else ():
        others = {n: v for n, v in backward.cotangents.items() if n not in own}
        zeroed = backward.pull(backward.zeros(*others))
        if zeroed.refusal is None:
            yield Trial(backward.pull(others), zeroed.gradients, name)


def _differentiated(backward: Backward) -> Iterator[Trial]:
    yield Trial(backward.pull(backward.cotangents, create_graph=True), backward.plain.gradients)


def _laid(call: Backward) -> Iterator[Trial]:
    """Arguments that lie otherwise in memory: where the values are those of contiguous copies, so are the gradients."""
    map = _map(call)
    for what, change in LAID.items():
        laid = {name: x for name, old in map.inputs.items() if (x := change(old.detach())) is not None}
        if not laid:
            continue
        moved = {n: x.clone(memory_format=torch.contiguous_format) for n, x in laid.items() if not _the_same(x, map.inputs[n])}
        wanted = _pulled(call, moved) if moved else (call.plain, call.outputs)
        found = _pulled(call, laid) if wanted else None
        if wanted and found and wanted[0].refusal is None and _near(found[1], wanted[1]):
            yield Trial(found[0], wanted[0].gradients, what)


def _the_same(x: Tensor, old: Tensor) -> bool:
    """Whether a tensor has the values of one that is contiguous."""
    return old.is_contiguous() and torch.equal(x.nan_to_num(), old.nan_to_num())


LAID: Mapping[str, Callable[[Tensor], Tensor | None]] = {
    "that are transposed in memory": _transposed,
    "in torch.channels_last": _channels_last,
    "whose entries are apart in memory": _apart,
    "that are slices of larger tensors": _slice,
    "whose rows are expanded from one": _by_rows,
}
"""How inputs may lie in memory; None where one can't."""


def _pulled(call: Backward, changed: Tensors) -> tuple[Found, Tensors] | None:
    """The gradients with some arguments as they are given, and the values; None where the function refuses."""
    leaves = {name: changed[name].requires_grad_() if name in changed else x for name, x in _map(call).leaves().items()}
    outputs = _forward(_map(call), leaves)
    if outputs is None or outputs.keys() != call.outputs.keys():
        return None
    return pull(outputs, leaves, call.cotangents), outputs


def _near(outputs: Tensors, others: Tensors) -> bool:
    """Whether values are the same, but for rounding."""
    pairs = ((y.detach().nan_to_num(), others[name].detach().nan_to_num()) for name, y in outputs.items())
    return all(bool(((y - other).abs() <= roundings(other)).all()) for y, other in pairs)


def _frozen(whole: Backward) -> Iterator[Trial]:
    """Each input by itself; with three or more also all others."""
    map, names = _map(whole), list(whole.inputs)
    for name in names[:MOST] if len(names) > 1 else ():
        yield from _without(whole, map, [name], name)
        if len(names) > 2:
            yield from _without(whole, map, [n for n in names if n != name], f"everything but {name}")


def _without(whole: Backward, map: Map, frozen: Sequence[str], what: str) -> Iterator[Trial]:
    leaves = map.leaves()
    for name in frozen:
        leaves[name].requires_grad_(False)
    moving = {name: x for name, x in leaves.items() if x.requires_grad}
    outputs = _forward(map, leaves)
    if outputs is not None and outputs.keys() == whole.outputs.keys():
        wanted = {name: whole.plain.gradients[name] for name in moving}
        yield Trial(pull(outputs, moving, whole.cotangents), wanted, what)


def _again(whole: Backward) -> Iterator[Trial]:
    """Another call with the same inputs, after one with others."""
    map = _map(whole)
    other = _halved(map)
    _forward(other, other.leaves())
    leaves = map.leaves()
    outputs = _forward(map, leaves)
    if outputs is not None and _as_before(whole, outputs):
        yield Trial(pull(outputs, leaves, whole.cotangents), whole.plain.gradients)


def _between(whole: Backward) -> Iterator[Trial]:
    """Another call, with other inputs, before this one's backward pass: as where a network uses a function twice."""
    map = _map(whole)
    leaves = map.leaves()
    outputs = _forward(map, leaves)
    other = _halved(map)
    if outputs is not None and _forward(other, other.leaves()) is not None and _as_before(whole, outputs):
        later = map.leaves()
        if _as_before(whole, _forward(map, later) or {}):  # else it isn't the same function any more
            _forward(other, other.leaves())
            yield Trial(pull(outputs, leaves, whole.cotangents), whole.plain.gradients)


def _kept(whole: Backward) -> Iterator[Trial]:
    """The gradients of one call after a later one: nobody else may write into them."""
    map = _map(whole)
    leaves = map.leaves()
    outputs = _forward(map, leaves)
    if outputs is None:
        return
    first = pull(outputs, leaves, whole.cotangents, raw=True)
    copies = {name: None if g is None else dense(g) for name, g in first.gradients.items()}
    other = _halved(map)
    leaves = other.leaves()
    outputs = _forward(other, leaves)
    if first.refusal is None and outputs is not None and outputs.keys() == whole.outputs.keys():
        pull(outputs, leaves, whole.cotangents)
        yield Trial(Found({name: None if g is None else dense(g) for name, g in first.gradients.items()}), copies)


def _accumulated(whole: Backward) -> Iterator[Trial]:
    """backward() once, and once more: .grad holds the gradient, and then twice as much."""
    map = _map(whole)
    leaves = map.leaves()
    for times, what in ((1, "backward()"), (2, "a second backward(), which adds to .grad,")):
        outputs = _forward(map, leaves)
        if outputs is None or not _as_before(whole, outputs):
            return
        taken = [name for name in whole.cotangents if outputs[name].requires_grad]
        try:
            cotangents = [whole.cotangents[n] for n in taken]
            torch.autograd.backward([outputs[n] for n in taken], cotangents, inputs=list(leaves.values()))
        except Exception as refusal:  # whatever a user's backward raises
            if REENTRANT not in str(refusal):  # else the plain run is one of backward() already
                yield Trial(Found({}, refusal), whole.plain.gradients, what)
            return
        found = {name: None if x.grad is None else dense(x.grad) for name, x in leaves.items()}
        yield Trial(Found(found), _times(times, whole.plain.gradients), what, times)


def _hooks(whole: Backward) -> Iterator[Trial]:
    """With the hooks that hang on inputs and parameters: one who looks is welcome, one who changes a gradient is not."""
    if whole.hooked is None:
        return
    try:
        gradients = whole.hooked(whole.cotangents)
    except Exception as refusal:  # whatever a user's hook raises
        yield Trial(Found({}, refusal), whole.plain.gradients, "parameters or inputs")
        return
    for name in [n for n in gradients if n in whole.plain.gradients]:
        found = gradients[name]  # in the tensor's own format, which may be shorter
        slack = {} if found is None else {name: roundings(found)}
        yield Trial(Found({name: found}), {name: whole.plain.gradients[name]}, name, slack=slack)


CONDITIONS: tuple[Condition, ...] = (
    # -- the upstream gradient of a custom backward
    Condition("expanded", "an expanded upstream gradient, as of y.sum(),", _layout(_expanded)),
    Condition("expanded by rows", "an upstream gradient with equal rows, as of y.sum(0),", _layout(_by_rows)),
    Condition("transposed", "a transposed upstream gradient", _layout(_transposed)),
    Condition("channels_last", "an upstream gradient in torch.channels_last", _layout(_channels_last)),
    Condition("strided", "an upstream gradient whose entries are apart in memory", _layout(_apart)),
    Condition("slice", "an upstream gradient that is a slice of a larger tensor, as of torch.cat,", _layout(_slice)),
    Condition("zeros", "zeros as upstream gradient", _zeros),
    Condition("large", "an upstream gradient {} times as large", _scaled(1)),
    Condition("tiny", "an upstream gradient {} times as large", _scaled(-1)),
    Condition("in parts", "an upstream gradient in parts ({})", _in_parts),
    Condition("create_graph", "create_graph=True", _differentiated, refused=(RuntimeError,)),
    # -- the outputs that a loss uses
    Condition("alone", "{} used alone", _alone),
    Condition("unused", "{} not used", _unused),
    Condition("alone", "{} used alone", _alone, of="map", plain=True),
    Condition("unused", "{} not used", _unused, of="map", plain=True),
    Condition("undefined", "an undefined upstream gradient (None)", _undefined, of="map", plain=True),
    # -- the arguments of a custom Function
    Condition("arguments", "arguments {}", _laid, of="call", once=True),
    # -- the run
    Condition("frozen", "{} frozen (requires_grad=False)", _frozen, of="map"),
    Condition("again", "a second call", _again, of="map"),
    Condition("between", "another call before its backward pass", _between, of="map"),
    Condition("kept", "a later call, which overwrites the gradient of an earlier one,", _kept, of="map"),
    Condition("accumulated", "{}", _accumulated, of="map"),
    Condition("hooks", "the hooks on {}", _hooks, of="map", plain=True),
)  # fmt: skip


# -- trying them --------------------------------------------------------------------------------------------------------


def tried(outputs: Tensors) -> bool:
    """Whether a graph has something that is tried: a custom backward, or several outputs."""
    return sum(y.requires_grad for y in outputs.values()) > 1 or bool(custom_nodes(outputs))


def try_conditions(
    map: Map,
    row: Row,
    point: Point,
    *,
    slack: float = 0.0,
    undefined: bool = True,
    known: set[Any] | None = None,
    hooked: Hooked | None = None,
    record: dict[str, list[str]] | None = None,
) -> list[Column]:
    """Try every condition on the custom backwards behind a row, and on the map. `slack`: how far two runs may be apart besides;
    `undefined`: whether a backward has to do without any upstream gradient; `known`: custom Functions that were tried already,
    completed here; `hooked`: see `Backward`; `record`: the conditions that each backward was tried under, completed here."""
    found: list[Column] = []
    map = map.at(map.inputs)  # copies: nobody's tensors get a .grad, or are frozen
    leaves = map.leaves()
    outputs = _forward(map, leaves)
    if outputs is None or not all(name in outputs for name in row.cotangents):
        return found
    nodes = [n for n in custom_nodes(outputs) if known is None or n.function not in known]
    if known is not None:
        known |= {n.function for n in nodes}
    if not nodes and len(row.cotangents) < 2 and hooked is None:
        return found
    whole = Backward(row.name, "autograd", outputs, leaves, dict(row.cotangents), map, hooked)
    backwards = [("backward", one) for one in (of_node(n, leaves) for n in nodes) if one is not None]
    for kind, backward in chain(backwards, [("map", whole)], _called(map, nodes, found)):
        failed = {column.quantity.partition(":")[0] for column in found}  # of a backward by itself: no need to say it again
        if backward.plain.refusal is not None:
            continue
        noise = {name: slack + n for name, n in backward.noise().items()}  # sampled now, before anything else is called
        for condition in CONDITIONS:
            asked = condition.of == kind and (nodes or condition.plain)
            if not asked or condition.name in failed or (condition.run is _undefined and not undefined):
                continue
            before = len(found)
            for trial in condition.run(backward):
                if record is not None and condition.name not in record.setdefault(backward.name, []):
                    record[backward.name].append(condition.name)
                if not ((trial.slack or condition.once) and len(found) > before):  # the sum of what is wrong already
                    found += _judged(condition, backward, trial, noise, point)
    return found


def _judged(
    condition: Condition, backward: Backward, trial: Trial, noise: Mapping[str, float], point: Point
) -> Iterator[Column]:
    """A column for each gradient that isn't what it has to be, or one for an error."""
    plain, refusal = backward.plain.gradients, trial.found.refusal
    words = f"with {condition.words.format(trial.what)} {backward.text}"
    if refusal is not None:
        first = next(((n, g) for n, g in trial.wanted.items() if g is not None), None)
        ours = condition.run is _hooks or _of_a_backward(refusal)
        if first is None or isinstance(refusal, condition.refused) or not ours:
            return
        text = f"{words} fails: {type(refusal).__name__}: {said(refusal)}"
        yield _column(condition, backward, first[0], None, first[1], text, point)
        return
    for name, wanted in trial.wanted.items():
        found = trial.found.gradients.get(name)
        sample = next((g for g in (wanted, found, plain.get(name)) if g is not None), None)
        if sample is None:
            continue
        right = torch.zeros_like(sample) if wanted is None else wanted
        got = torch.zeros_like(right) if found is None else found.to(right.dtype)
        if torch.equal(got, right):
            continue
        bound = trial.slack.get(name, 0.0) + noise[name] * trial.times + roundings(right)
        near = ((got - right).abs() <= bound) | ~right.isfinite()
        if near.all():
            continue
        text = f"{words} returns {_how(found, right, near)}"
        yield _column(condition, backward, name, torch.where(near, right, got), right, text, point)


def _column(
    condition: Condition, backward: Backward, name: str, found: Tensor | None, wanted: Tensor, text: str, point: Point
) -> Column:
    """The worst entries of what doesn't hold."""
    quantity = f"{condition.name}: d{backward.name}/d{name}"
    column = broken(quantity, None if found is None else _real(found), _real(wanted), text, point)
    errors = np.nan_to_num(column.error_ulps, nan=np.inf)
    worst = sorted(np.argsort(-errors, kind="stable")[:MOST].tolist())
    return column.pick([i for i in worst if errors[i] > 0] or worst[:1])


def _how(found: Tensor | None, wanted: Tensor, near: Tensor) -> str:
    """What was returned instead, in words: a ratio, where it is one."""
    if found is None:
        return "no gradient"
    off, count = found[~near], int((~near).sum())
    of = f" for {count:,} of {near.numel():,} entries" if count < near.numel() else ""
    if not off.isfinite().all():
        return f"{'nan' if off.isnan().any() else 'inf'}{of}"
    if not wanted.nan_to_num().any():
        return f"a gradient that isn't 0{of}"
    if not off.any():
        return f"0{of}"
    there = (wanted != 0) & wanted.isfinite()
    ratios = (found[there] / wanted[there]).to(torch.complex128)
    middle = ratios[int(ratios.real.median(0).indices)].real
    same = (ratios - middle).abs().max() <= 1e-3 * abs(middle) and not found[~there].nan_to_num().any()
    return f"{middle:.6g} times as much" if same else f"something else{of}"


def _of_a_backward(refusal: Exception) -> bool:
    """Whether an error arose in a custom backward or in what it returned, not in somebody's hook."""
    trace = refusal.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__") == "torch.autograd.function":
            return True
        trace = trace.tb_next
    return isinstance(refusal, RuntimeError)


# -- runs ---------------------------------------------------------------------------------------------------------------


def _called(map: Map, nodes: Sequence[Any], failed: Sequence[Column]) -> Iterator[tuple[str, Backward]]:
    """The calls of custom Functions, where nothing `failed` by the time that they are asked for: more calls change what is
    kept between them."""
    for call in calls(map, [node.function for node in nodes]) if nodes and not failed else ():
        own = _of_call(call)
        if own is not None and not failed:
            yield "call", own


def _of_call(call: Call) -> Backward | None:
    """A custom Function at the arguments that it was given, as a map of its own."""
    own = attempted(call.map)
    leaves = own.leaves() if own else {}
    outputs = _forward(own, leaves) if own else None
    if outputs is None or not any(y.requires_grad for y in outputs.values()):
        return None
    cotangents = random_row(outputs, 0).cotangents
    return Backward(call.name, f"the backward of {call.name}", outputs, leaves, dict(cotangents), own)


def _map(whole: Backward) -> Map:
    assert whole.map is not None
    return whole.map


def _forward(map: Map, leaves: Tensors) -> dict[str, Tensor] | None:
    """The outputs; None where the function itself refuses."""
    try:
        return map(leaves)
    except Exception:  # whatever a user's function raises
        return None


def _halved(map: Map) -> Map:
    """The map at other inputs, which lie in its domain for most functions."""
    return map.at({name: x * 0.5 for name, x in map.inputs.items()})


def _as_before(whole: Backward, outputs: Tensors) -> bool:
    """Whether the function's values are those of the plain run: else it changes from call to call, and so may its gradient."""
    return outputs.keys() == whole.outputs.keys() and all(
        torch.equal(y.detach().nan_to_num(), whole.outputs[name].detach().nan_to_num()) for name, y in outputs.items()
    )


def _times(factor: float, gradients: Mapping[str, Tensor | None]) -> dict[str, Tensor | None]:
    """Zero is zero, whatever it is taken of."""
    return {n: None if g is None else torch.where(g.isfinite(), g, torch.nan) * factor for n, g in gradients.items()}


def _real(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor

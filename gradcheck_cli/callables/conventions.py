"""What goes wrong around a backward that isn't its formula: shapes, dtypes, side effects, runs that differ, a vmap rule.

Everything is found by running torch: nothing here needs the exact derivative. What breaks a result is a Column with the cause
`convention`; what torch mends silently, or will break later, is a note.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gradcheck_cli.algebra.number import exactly
from gradcheck_cli.callables.unfilled import unfilled
from gradcheck_cli.errors import words
from gradcheck_cli.language.spaces import entry_names
from gradcheck_cli.maps.autograd import ONCE, Pulled, dense, nodes
from gradcheck_cli.maps.map import Map, Row, Tensors, attempted, pull
from gradcheck_cli.maps.runs import format_of, numpy
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.scope import Label, OfTensor, Point
from gradcheck_cli.verdict.truths import Balls
from gradcheck_cli.verdict.verdicts import Cause, Verdict

BATCH = (1.0, 0.5, -1.25)
"""Factors that make a batch for vmap out of one point."""

ROUNDINGS = 1024
"""Roundings, relative to the largest entry, by which a batched run may differ from single ones."""


@dataclass
class Observed:
    """What two runs of torch showed: columns of broken rules, and notes, each with what it is about ("shape" or "dtype")."""

    columns: list[Column] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    repeatable: bool = True
    """Whether a backward pass gives the same again, and leaves its upstream gradient alone: else nothing can be judged."""


def observe(map: Map, row: Row, point: Point) -> Observed:
    """Run the map forwards once and backwards twice, and compare what it had to leave alone."""
    seen = Observed()
    leaves = map.leaves()
    before = {name: x.detach().clone() for name, x in leaves.items()}
    outputs = map(leaves)
    _damaged(seen, point, before, leaves, "the forward pass writes into {name}, without ctx.mark_dirty")
    nodes = functions_of(outputs.values())
    saved = [(node, t, t.detach().clone()) for node in nodes for t in (attempted(lambda: saved_by(node)) or {}).values()]  # noqa: B023
    cotangents = {name: v.clone() for name, v in row.cotangents.items()}
    notes: dict[str, str] = {}
    with _watching(nodes, notes):
        first = pull(outputs, leaves, row)
    if first.refusal is not None and ONCE in first.refusal:  # what is saved was looked at
        outputs = map(leaves)
        first = pull(outputs, leaves, row)
    if first.refusal is None:
        seen.notes |= notes
    upstream = {f"the upstream gradient of {name}": v for name, v in cotangents.items()}
    given = {f"the upstream gradient of {name}": v for name, v in row.cotangents.items()}
    seen.repeatable = not _damaged(seen, point, upstream, given, "the backward pass writes into {name}")
    for name, v in cotangents.items():
        row.cotangents[name].copy_(v)
    for node, tensor, copy in saved:
        if not _same(tensor, copy):
            text = f"the backward of {owner(node)} writes into a tensor that it has saved: a second backward pass goes wrong"
            seen.columns.append(broken("a saved tensor", tensor, copy, text, point))
    _compare_runs(seen, point, row, first.gradients, lambda: pull(outputs, leaves, row))
    unwritten = unfilled(map, row)
    if unwritten is not None:
        text, changed = unwritten
        seen.columns = [broken(f"{name}, with other memory", y, x, text, point) for name, (y, x) in changed.items()]
        seen.repeatable = False
    return seen


def batching(map: Map, row: Row, point: Point) -> list[Column]:
    """Where a custom Function has a rule for vmap, what the rule gives for a batch against one run after another."""
    nodes = functions_of(map(map.leaves()).values())
    ruled = [n for n in nodes if n._forward_cls.generate_vmap_rule or n._forward_cls.vmap is not torch.autograd.Function.vmap]
    if not ruled:
        return []
    batch = {name: torch.stack([x * f for f in BATCH]) for name, x in map.inputs.items()}

    def gradients(inputs: Tensors) -> dict[str, Tensor]:
        def paired(leaves: Tensors) -> Tensor:
            outputs = map.call(leaves)
            return torch.stack([(outputs[name] * v).sum() for name, v in row.cotangents.items()]).sum()

        found: dict[str, Tensor] = torch.func.grad(paired)(dict(inputs))
        return found

    columns = []
    passes: tuple[tuple[str, Callable[[Tensors], Tensors]], ...] = (("{}", map), (f"d{row.name}/d{{}}", gradients))
    for label, function in passes:
        try:
            singly = [function({n: x[i] for n, x in batch.items()}) for i in range(len(BATCH))]
        except RuntimeError:  # torch.func needs setup_context: then there is no such derivative to compare
            break
        wanted = {name: torch.stack([one[name] for one in singly]) for name in singly[0]}
        try:
            found = dict(torch.func.vmap(function)(batch))
        except Exception as refusal:  # whatever a user's rule raises
            found, text = {}, f"under torch.func.vmap: {words(refusal)}"
        else:
            text = f"the vmap rule of {owner(ruled[0])} disagrees with one run after another"
        for name, y in wanted.items():
            if name not in found or not _near(found[name], y):
                columns.append(broken(f"vmap: {label.format(name)}", found.get(name), y, text, point))
    return columns


def has_forward_rule(map: Map) -> bool:
    """Whether a custom Function of the map has a jvp of its own."""
    nodes = functions_of(map(map.leaves()).values())
    return any(n._forward_cls.jvp is not torch.autograd.Function.jvp for n in nodes)


def second_order(map: Map) -> list[str]:
    """Why the second derivative may be missing or wrong, from how the custom Functions of the map are written."""
    notes: dict[str, None] = {}
    leaves = map.leaves()
    outputs = map(leaves)  # kept: torch up to 2.6 frees what is saved as soon as the graph has no owner
    for node in functions_of(outputs.values()):
        if node._forward_cls.backward.__code__ is _ONCE:
            notes[f"the backward of {owner(node)} is once_differentiable: torch refuses to differentiate it"] = None
        for name, tensor in (attempted(lambda: saved_by(node)) or {}).items():  # noqa: B023
            if tensor.is_floating_point() and not tensor.requires_grad and not _is_one_of(tensor, leaves):
                notes[
                    f"{owner(node)} saves an intermediate result ({name}), which is a constant to the second derivative: "
                    "compute it from saved inputs in backward, or return it as an output"
                ] = None
    return list(notes)


_ONCE = once_differentiable(lambda ctx: None).__code__


# -- custom Functions in a graph ----------------------------------------------------------------------------------------


def functions_of(outputs: Iterator[Tensor] | Sequence[Tensor] | Any) -> list[Any]:
    """The nodes of custom autograd.Functions behind the outputs, from the output back; each is its ctx."""
    return [node for node in nodes(outputs) if hasattr(node, "_forward_cls")]


def saved_by(node: Any) -> dict[str, Tensor]:
    """The tensors that a custom Function keeps for backward, however it keeps them."""
    saved = {f"saved_tensors[{i}]": t for i, t in enumerate(node.saved_tensors) if isinstance(t, Tensor)}
    return saved | {f"ctx.{name}": t for name, t in vars(node).items() if isinstance(t, Tensor)}


def owner(node: Any) -> str:
    return str(node._forward_cls.__name__)


def edges(node: Any) -> list[tuple[int, Any, int]]:
    """The arguments of a custom Function that are differentiated by: the place of each among all arguments, and the node, with
    the number of its output, that it comes from. What is no tensor has no edge."""
    places = [place for place, needed in enumerate(node.needs_input_grad) if needed]
    known = [edge for edge in node.next_functions if edge[0] is not None]
    return [(place, *edge) for place, edge in zip(places, known, strict=False)]


@contextmanager
def _watching(nodes: Sequence[Any], notes: dict[str, str]) -> Iterator[None]:
    """Note what the custom backwards return before torch makes it fit."""
    classes = {node._forward_cls for node in nodes}
    attribute = {c: "vjp" if c.backward is torch.autograd.Function.backward else "backward" for c in classes}
    own = {c: c.__dict__.get(attribute[c]) for c in classes}
    for function in classes:
        right = getattr(function, attribute[function])

        def watched(ctx: Any, *upstream: Any, right: Any = right) -> Any:
            found = right(ctx, *upstream)
            _fitting(ctx, found if isinstance(found, tuple) else (found,), notes)
            return found

        setattr(function, attribute[function], staticmethod(watched))
    try:
        yield
    finally:
        for function, original in own.items():
            if original is None:
                delattr(function, attribute[function])
            else:
                setattr(function, attribute[function], original)


def _fitting(node: Any, gradients: Sequence[Any], notes: dict[str, str]) -> None:
    """Compare what a backward returned with what the nodes before it take."""
    for place, following, index in edges(node):
        gradient = gradients[place] if place < len(gradients) else None
        if not isinstance(gradient, Tensor):
            continue
        wanted = getattr(following, "variable", None)
        wanted = following._input_metadata[index] if wanted is None else wanted
        of = f"the backward of {owner(node)} returns, for argument {place + 1}, a gradient of"
        if tuple(gradient.shape) != tuple(wanted.shape):
            notes[f"{of} shape {tuple(gradient.shape)} for {tuple(wanted.shape)}: torch sums it silently"] = "shape"
        if gradient.dtype != wanted.dtype:
            notes[f"{of} dtype {_dtype(gradient.dtype)} for {_dtype(wanted.dtype)}: torch converts it silently"] = "dtype"


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


# -- comparisons --------------------------------------------------------------------------------------------------------


def _compare_runs(
    seen: Observed, point: Point, row: Row, first: Mapping[str, Tensor | None], again: Callable[[], Pulled]
) -> None:
    """A second backward pass of the same graph must give the same."""
    if any(c.quantity == "a saved tensor" for c in seen.columns):
        return  # that is why
    second = again()
    if second.refusal and ONCE in second.refusal:
        seen.notes["torch allows one backward pass through selective checkpoints: a second one was not compared"] = "passes"
        return
    for name, gradient in first.items():
        other = second.gradients[name]
        if gradient is None or (other is not None and _near(other, gradient)):
            continue
        text = "a second backward pass is refused" if other is None else "two backward passes of one forward pass differ"
        seen.columns.append(broken(f"d{row.name}/d{name}, run again", other, gradient, text, point))
        seen.repeatable = False


def _damaged(seen: Observed, point: Point, before: Tensors, after: Tensors, text: str) -> bool:
    """Whether tensors have changed; enters a column for each."""
    changed = [name for name, old in before.items() if not _same(after[name], old)]
    seen.columns += [broken(name, after[name], before[name], text.format(name=name), point) for name in changed]
    return bool(changed)


def broken(quantity: str, found: Tensor | None, wanted: Tensor, text: str, point: Point) -> Column:
    """A column of what was found where something else had to stand: the entries that differ are mismatches."""
    right = numpy(wanted)
    floats = np.full(len(right), np.nan) if found is None else numpy(found)
    form = format_of({"": wanted})
    differs = ~((floats == right) | (np.isnan(floats) & np.isnan(right)))
    with np.errstate(all="ignore"):
        errors = np.abs(floats - right) / form.ulp(right)
    labels = [Label(entry, quantity, ()) for entry in entry_names(quantity, tuple(wanted.shape))]
    column = Column.blank(OfTensor(point, labels), len(right), of=quantity, kind="convention", dtype=form.name)
    column.autograd, column.error_ulps = floats, errors
    column.exact = Balls(map(exactly, right.tolist()))
    column.verdicts[~differs] = Verdict.MATCH.severity
    column.mark(np.flatnonzero(differs).tolist(), Verdict.MISMATCH, text, Cause.CONVENTION)
    return column


def _same(x: Tensor, y: Tensor) -> bool:
    return torch.equal(dense(x.detach()).nan_to_num(), dense(y.detach()).nan_to_num())


def _near(x: Tensor, y: Tensor) -> bool:
    """Equal but for some roundings of the largest entry."""
    if x.shape != y.shape:
        return False
    roundoff = torch.finfo(y.dtype).eps / 2 if y.is_floating_point() else 0.0
    largest = y.detach().abs().nan_to_num(posinf=0.0).max().item() if y.numel() else 0.0
    return torch.allclose(x.detach().to(y.dtype), y.detach(), rtol=0.0, atol=ROUNDINGS * roundoff * largest, equal_nan=True)


def _is_one_of(tensor: Tensor, others: Tensors) -> bool:
    return any(tensor.untyped_storage()._cdata == other.untyped_storage()._cdata for other in others.values())

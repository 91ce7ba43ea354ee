"""A chain through torch, a map with taps: every mode of `modes` differentiates it.

A derivative is one tensor, or None where torch has none. Nothing is judged here. Where all is scalar, points are entries of one
batch: all operations work entry by entry, so the cotangent of ones gives each point its own derivative. A chain on arrays goes
through torch a point at a time; its derivatives are of one entry of the output by entries of inputs and stages, so cotangents
and tangents are 1 there and 0 elsewhere, and no index gets into the graph.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from gradcheck_cli.algebra.program import Program
from gradcheck_cli.algebra.tensors import TensorAlgebra, compiled
from gradcheck_cli.errors import InputError, NoValue, refusal_of, words
from gradcheck_cli.floats import Floats
from gradcheck_cli.language.chain import Chain
from gradcheck_cli.language.functions import CONSTANT
from gradcheck_cli.language.spaces import OfParts, entry_names
from gradcheck_cli.language.tree import Call, Node, Variable, variables
from gradcheck_cli.maps.autograd import Backwards, Entry, Forwards, Nested, Place, Pulled, Seen, pick, requiring, unchanged
from gradcheck_cli.modes import MODES, resolved

Tensor = torch.Tensor
Wrt = tuple[str, ...]
Mark = Callable[[str], None]


@dataclass
class Outcome:
    """What torch returned: `values` of inputs and stages; for each derivative a tensor or None (no gradient), and
    torch's own words where it refused."""

    values: dict[str, Tensor] = field(default_factory=dict)
    gradients: dict[Wrt, Tensor | None] = field(default_factory=dict)
    refusals: dict[Wrt, str] = field(default_factory=dict)
    cut: tuple[str, ...] = ()


@dataclass
class Batch:
    """Points that go through torch at once. `entries`: what the entries of a tensor are called; there are several entries, or
    several points."""

    points: Sequence[int]
    tensors: dict[str, Tensor]
    entries: dict[str, list[str]]

    def halves(self) -> list[Batch]:
        """The same points in two batches."""
        middle = len(self.points) // 2
        parts = (slice(None, middle), slice(middle, None))
        return [Batch(self.points[s], {n: x[s] for n, x in self.tensors.items()}, self.entries) for s in parts]


class TorchChain:
    """A chain compiled for torch in one dtype; with `shapes` of its inputs and stages, a chain on arrays.

    `mark` is told the stage that is about to run (and whose backward is).
    """

    def __init__(
        self,
        chain: Chain,
        dtype: torch.dtype,
        device: str,
        callables: Mapping[str, Callable[..., Any]],
        shapes: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        self.chain, self.shapes = chain, shapes
        self.algebra = TensorAlgebra(dtype, device, callables)
        self.mark: Mark = lambda stage: None
        names = (*chain.inputs, *(stage.name for stage in chain.stages))
        self._places: dict[str, tuple[str, Place]] = {
            entry: (name, place)
            for name in names
            for entry, place in (((name, None),) if shapes is None else _entries(name, shapes[name]))
        }
        self.output = next(entry for entry, (name, _) in self._places.items() if name == chain.output)
        self._units: dict[tuple[tuple[int, ...], Place, float], Tensor] = {}
        self._constants = [s.name for s in chain.stages if s.name != chain.output and not _moves(s.tree)]
        programs: dict[Any, Program] = {}
        key = (lambda: None) if shapes is None else None  # constant arrays are computed anew, so that the shadow sees them
        self._steps = []
        for stage in chain.stages:
            same = (stage.tree, stage.inputs)
            varying = bool(variables(stage.tree))
            if same not in programs:
                programs[same] = compiled(stage.tree, stage.inputs if varying else (), self.algebra, key)
            self._steps.append((stage, programs[same], varying))

    def of(self, output: str) -> TorchChain:
        """The same chain, differentiated at another entry of its output."""
        other = copy.copy(self)
        other.output = output
        return other

    def batches(self, points: Mapping[str, Floats], indices: Sequence[int], single: bool) -> list[Batch]:
        """Some points as tensors of the dtype. `single`: there is but one, so the tensors of a scalar chain have no
        dimensions, as a user would write them."""
        if self.shapes is None:
            some = slice(indices.start, indices.stop, indices.step) if isinstance(indices, range) else np.asarray(indices)
            at = indices[0] if single else some
            tensors = {n: self._tensor(points[n][at]) for n in self.chain.inputs}
            return [Batch(indices, tensors, {n: [n] for n in self.chain.inputs})]
        shapes = {n: self.shapes[n] for n in self.chain.inputs}
        entries = {n: entry_names(n, shape) for n, shape in shapes.items()}
        return [
            Batch(
                [i],
                {n: self._array([points[e][i] for e in entries[n]], shape) for n, shape in shapes.items()},
                entries,
            )
            for i in indices
        ]

    def _tensor(self, values: Any) -> Tensor:
        complex_number = isinstance(values, complex)
        dtype = self.algebra.dtype.to_complex() if complex_number else self.algebra.dtype
        tensor: Tensor = torch.tensor(values, dtype=dtype)
        return tensor.to(self.algebra.device)

    def _array(self, values: Any, shape: tuple[int, ...]) -> Tensor:
        """An array of a shape; a complex one, of its parts, where that is `OfParts`."""
        tensor = self._tensor(np.reshape(values, shape))
        return torch.view_as_complex(tensor) if isinstance(shape, OfParts) else tensor

    def entry(self, tensors: Mapping[str, Tensor], name: str) -> Tensor:
        """The entry `name` of the values of inputs and stages: a number, or one for each point of the batch."""
        base, place = self._places[name]
        return pick(tensors[base], place)

    def forward(self, values: dict[str, Tensor], seen: Seen = unchanged) -> dict[str, Tensor]:
        """Run every stage; `seen` may replace a stage's value (to register a hook, to add a tangent)."""
        like = next(iter(values.values()))
        for stage, program, varying in self._steps:
            if stage.name in values:  # given
                continue
            self.mark(stage.name)
            (value,) = program(*(values[name] for name in stage.inputs)) if varying else program()
            if not isinstance(value, Tensor):
                value = torch.full_like(like, value) if self.shapes is None else self._tensor(value)
            elif any(value is values[name] for name in stage.inputs):
                value = value.view_as(value)  # a stage that returns its input has a gradient of its own
            if self.shapes is not None and value.is_complex() != isinstance(self.shapes[stage.name], OfParts):
                kinds = ("complex", "real") if value.is_complex() else ("real", "complex")
                message = "torch makes a {} number of this, where the formula is {}".format(*kinds)
                raise InputError(message, stage.source, stage.tree.position)
            values[stage.name] = seen(stage.name, value)
        return values

    def results(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The output's value among those of all inputs and stages."""
        return {self.chain.output: values[self.chain.output]}

    def zero(self, place: str, inputs: Mapping[str, Tensor]) -> Tensor | None:
        """What can be added to a stage's value and changes nothing; None for the output."""
        like = next(iter(inputs.values()))
        if place == self.chain.output:
            return None
        if self.shapes is None:
            return torch.zeros_like(like)
        return self._array(np.zeros(self.shapes[place]), self.shapes[place])

    def strays(self, mode: str, inputs: Mapping[str, Tensor], inside: Set[str]) -> tuple[list[str], int]:
        """The entries of inputs and stages, other than `inside`, by which torch's derivative of the output is not 0; and how
        many were looked at."""
        others = [entry for entry, (name, _) in self._places.items() if name != self.chain.output and entry not in inside]
        gradients = self.differentiate(mode, inputs, [(entry,) for entry in others]).gradients
        found = {wrt[0]: gradient for wrt, gradient in gradients.items() if gradient is not None}
        wrong = torch.stack(list(found.values())).ne(0).tolist() if found else []
        return [name for name, off in zip(found, wrong, strict=True) if off], len(others)

    def differentiate(
        self, mode: str, inputs: Mapping[str, Tensor], derivatives: Sequence[Wrt], cotangent: float = 1.0
    ) -> Outcome:
        """The derivatives of the output, in `mode`, at `inputs` (detached tensors).

        `cotangent` multiplies first derivatives of the modes that run backwards. Raises NoValue where torch has no value, and
        InputError for what it doesn't take as an argument.
        """
        self.algebra.cut.clear()
        first = [wrt for wrt in derivatives if len(wrt) == 1]
        higher = [wrt for wrt in derivatives if len(wrt) > 1]
        outcome, row = Outcome(), MODES[mode]
        if first or not higher:
            try:
                if row.backwards:
                    self._pull(resolved(row.first), inputs, first, cotangent, outcome)
                else:
                    self._push(resolved(row.first), inputs, first, outcome)
            except RuntimeError as refusal:  # on the way forward already: an argument has no derivative
                outcome.gradients.update({wrt: None for wrt in first})
                outcome.refusals.update({wrt: refusal_of(refusal) for wrt in first})
        if not outcome.values:
            outcome.values = self.values(inputs)
        nested: Nested = resolved(row.nested)
        for wrt in higher:
            by = [self._places[name] for name in wrt]
            try:
                outcome.gradients[wrt] = nested(Entry(self._value, inputs, self._places[self.output][1], by, self._unit))
            except Exception as refusal:  # whatever a user's backward raises
                outcome.gradients[wrt] = None
                outcome.refusals[wrt] = refusal_of(refusal)
        itself = (self.output,)
        if itself in derivatives and outcome.gradients[itself] is None:
            # Whatever torch refuses further back.
            outcome.gradients[itself] = self._unit(self.entry(outcome.values, self.output), None, cotangent)
            outcome.refusals.pop(itself, None)
        outcome.cut = tuple(self.algebra.cut)
        return outcome

    def _pull(
        self, run: Backwards, inputs: Mapping[str, Tensor], derivatives: Sequence[Wrt], cotangent: float, outcome: Outcome
    ) -> None:
        """First derivatives backwards, all at once; where torch refuses one of them, each on its own."""
        names = list(dict.fromkeys(self._places[wrt[0]][0] for wrt in derivatives))
        inputs = self._with_constants(inputs)
        outcome.values, pulled = self._pulled(run, requiring(inputs), names, cotangent)
        found = dict.fromkeys(names, pulled)
        if pulled.refusal:
            for name in names:
                leaves = requiring(inputs, {name} if name in inputs else None)
                _, found[name] = self._pulled(run, leaves, [name], cotangent)
        for wrt in derivatives:
            name, place = self._places[wrt[0]]
            gradient, refusal = found[name].gradients[name], found[name].refusal
            outcome.gradients[wrt] = None if gradient is None else pick(gradient, place)
            if refusal and gradient is None:
                outcome.refusals[wrt] = refusal

    def _with_constants(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The inputs, and the stages that no input moves: torch differentiates by them where they are leaves as well."""
        if not self._constants:
            return inputs
        values = self.forward(dict(inputs))
        return {**inputs, **{name: values[name] for name in self._constants}}

    def _pulled(
        self, run: Backwards, leaves: Mapping[str, Tensor], names: Sequence[str], cotangent: float
    ) -> tuple[dict[str, Tensor], Pulled]:
        found = run(self, leaves, names)
        name, at = self._places[self.output]
        pulled = found.pull({name: self._unit(found.values[name], at, cotangent)})
        return {n: v.detach() for n, v in found.values.items()}, pulled

    def _push(self, run: Forwards, inputs: Mapping[str, Tensor], derivatives: Sequence[Wrt], outcome: Outcome) -> None:
        """First derivatives forwards: one pass for each, the tangent 1 on the name that is differentiated by."""
        output, at = self._places[self.output]
        for wrt in derivatives:
            name, place = self._places[wrt[0]]
            primals = {n: x.detach() for n, x in inputs.items()}
            pushed = run(self, primals, {name: partial(self._unit, place=place)})
            if pushed.refusal:
                outcome.gradients[wrt] = None
                outcome.refusals[wrt] = pushed.refusal
                continue
            tangent = pushed.tangents[output]
            outcome.gradients[wrt] = pick(torch.zeros_like(pushed.values[output]) if tangent is None else tangent, at)
            outcome.values = outcome.values or {n: v.detach() for n, v in pushed.values.items()}

    def _value(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return self.forward(dict(inputs))[self.chain.output]

    def values(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The values without any derivative; NoValue where torch can't compute even them."""
        try:
            return self.forward({name: value.detach() for name, value in inputs.items()})
        except RuntimeError as refusal:
            raise NoValue(words(refusal)) from None

    def _unit(self, like: Tensor, place: Place, scale: float = 1.0) -> Tensor:
        """A cotangent or tangent: `scale` at the place, 0 elsewhere."""
        if not place:
            return torch.ones_like(like) if scale == 1.0 else torch.full_like(like, scale)
        shape = OfParts.of(tuple(like.shape)) if like.is_complex() else tuple(like.shape)
        key = (shape, place, scale)
        if key not in self._units:
            array = np.zeros(shape)
            array[place] = scale
            self._units[key] = self._array(array, shape)
        return self._units[key]


def _moves(tree: Node) -> bool:
    """True where a variable occurs in other places than those that torch takes for constant."""
    stack = [tree]
    while stack:
        item = stack.pop()
        if isinstance(item, Variable):
            return True
        if isinstance(item, Call) and item.function not in CONSTANT:
            stack.extend(item.arguments)
    return False


def _entries(name: str, shape: tuple[int, ...]) -> list[tuple[str, Place]]:
    return list(zip(entry_names(name, shape), np.ndindex(shape), strict=True))

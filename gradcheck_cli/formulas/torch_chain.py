"""A chain through torch, and its derivatives in each of torch's ways: hooks, autograd.grad, dual numbers, torch.func.

Every way returns one tensor a derivative, or None where torch has none. Nothing is judged here. Where all is scalar, points are
entries of one batch: all operations work entry by entry, so the cotangent of ones gives each point its own derivative. A chain
on arrays goes through torch a point at a time; its derivatives are of one entry of the output by entries of inputs and stages,
so cotangents and tangents are 1 there and 0 elsewhere, and no index gets into the graph.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad

from gradcheck_cli.algebra.program import Program
from gradcheck_cli.algebra.tensors import TensorAlgebra, fold
from gradcheck_cli.errors import InputError
from gradcheck_cli.floats import Floats
from gradcheck_cli.language.chain import Chain
from gradcheck_cli.language.spaces import entry_names
from gradcheck_cli.language.tree import variables

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


Place = tuple[int, ...] | None
"""Which entry of a tensor; None: every one, for each is a point of its own."""


@dataclass
class Batch:
    """Points that go through torch at once. `entries`: what the entries of a tensor are called; there are several entries, or
    several points."""

    points: Sequence[int]
    tensors: dict[str, Tensor]
    entries: dict[str, list[str]]


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
        self._cotangent = 1.0
        names = (*chain.inputs, *(stage.name for stage in chain.stages))
        self._places: dict[str, tuple[str, Place]] = {
            entry: (name, place)
            for name in names
            for entry, place in (((name, None),) if shapes is None else _entries(name, shapes[name]))
        }
        self.output = next(entry for entry, (name, _) in self._places.items() if name == chain.output)
        self._units: dict[tuple[tuple[int, ...], Place, float], Tensor] = {}
        compiled: dict[Any, Program] = {}
        key = (lambda: None) if shapes is None else None  # constant arrays are computed anew, so that the shadow sees them
        self._steps = []
        for stage in chain.stages:
            same = (stage.tree, stage.inputs)
            folded = fold(stage.tree)
            if same not in compiled:
                compiled[same] = Program([folded], variables(folded) and stage.inputs, self.algebra, key)
            self._steps.append((stage, compiled[same], bool(variables(folded))))

    def of(self, output: str) -> TorchChain:
        """The same chain, differentiated at another entry of its output."""
        other = copy.copy(self)
        other.output = output
        return other

    def batches(self, points: Mapping[str, Floats], indices: Sequence[int], single: bool) -> list[Batch]:
        """Some points as tensors of the dtype. `single`: there is but one, so the tensors of a scalar chain have no
        dimensions, as a user would write them."""
        if self.shapes is None:
            at = indices[0] if single else np.asarray(indices)
            tensors = {n: self._tensor(points[n][at]) for n in self.chain.inputs}
            return [Batch(indices, tensors, {n: [n] for n in self.chain.inputs})]
        shapes = {n: self.shapes[n] for n in self.chain.inputs}
        entries = {n: entry_names(n, shape) for n, shape in shapes.items()}
        return [
            Batch(
                [i],
                {n: self._tensor(np.reshape([points[e][i] for e in entries[n]], shape)) for n, shape in shapes.items()},
                entries,
            )
            for i in indices
        ]

    def _tensor(self, values: Any) -> Tensor:
        tensor: Tensor = torch.tensor(values, dtype=torch.float64)
        return tensor.to(self.algebra.dtype).to(self.algebra.device)

    def entry(self, tensors: Mapping[str, Tensor], name: str) -> Tensor:
        """The entry `name` of the values of inputs and stages: a number, or one for each point of the batch."""
        base, place = self._places[name]
        return _pick(tensors[base], place)

    def forward(
        self, values: dict[str, Tensor], seen: Callable[[str, Tensor], Tensor] = lambda name, value: value
    ) -> dict[str, Tensor]:
        """Run every stage; `seen` may replace a stage's value (to register a hook, to add a tangent)."""
        like = next(iter(values.values()))
        for stage, program, varying in self._steps:
            self.mark(stage.name)
            (value,) = program(*(values[name] for name in stage.inputs)) if varying else program()
            if not isinstance(value, Tensor):
                value = torch.full_like(like, value) if self.shapes is None else self._tensor(value)
            elif any(value is values[name] for name in stage.inputs):
                value = value.view_as(value)  # a stage that returns its input has a gradient of its own
            values[stage.name] = seen(stage.name, value)
        return values

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

        `cotangent` multiplies first derivatives of the modes that run backwards (reverse, grad, func).
        """
        self.algebra.cut.clear()
        self._cotangent = cotangent
        first = [wrt for wrt in derivatives if len(wrt) == 1]
        higher = [wrt for wrt in derivatives if len(wrt) > 1]
        outcome = Outcome()
        if first or not higher:
            run = {"reverse": self._reverse, "grad": self._grad, "forward": self._forward, "func": self._func}[mode]
            try:
                run(inputs, first, outcome)
            except RuntimeError as refusal:  # on the way forward already: an argument has no derivative
                outcome.gradients.update({wrt: None for wrt in first})
                outcome.refusals.update({wrt: _words(refusal) for wrt in first})
                outcome.values = self._values(inputs)
        for wrt in higher:
            nested = {
                "reverse": self._nested_backward,
                "grad": self._nested_grad,
                "forward": self._nested_func,
                "func": self._nested_func,
            }[mode]
            if not outcome.values:
                outcome.values = self._values(inputs)
            try:
                outcome.gradients[wrt] = nested(inputs, wrt, mode)
            except (RuntimeError, NotImplementedError) as refusal:
                outcome.gradients[wrt] = None
                outcome.refusals[wrt] = _words(refusal)
        itself = (self.output,)
        if itself in derivatives and outcome.gradients[itself] is None:
            # Whatever torch refuses further back.
            outcome.gradients[itself] = self._ones(self.entry(outcome.values, self.output))
            outcome.refusals.pop(itself, None)
        outcome.cut = tuple(self.algebra.cut)
        return outcome

    def _values(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The values without any derivative; InputError where torch can't compute even them."""
        try:
            return self.forward({name: value.detach() for name, value in inputs.items()})
        except RuntimeError as refusal:
            raise InputError(f"torch refuses: {_words(refusal)}") from None

    def _ones(self, like: Tensor) -> Tensor:
        return torch.ones_like(like) if self._cotangent == 1.0 else torch.full_like(like, self._cotangent)

    def _unit(self, like: Tensor, place: Place, scale: float = 1.0) -> Tensor:
        """A cotangent or tangent: `scale` at the place, 0 elsewhere."""
        if not place:
            return torch.ones_like(like) if scale == 1.0 else torch.full_like(like, scale)
        key = (tuple(like.shape), place, scale)
        if key not in self._units:
            array = np.zeros(key[0])
            array[place] = scale
            self._units[key] = self._tensor(array)
        return self._units[key]

    def _seed(self, output: Tensor) -> Tensor:
        """The cotangent of the output."""
        return self._unit(output, self._places[self.output][1], self._cotangent)

    # -- first derivatives ------------------------------------------------------------------------------------------

    def _leaves(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: value.detach().requires_grad_() for name, value in inputs.items()}

    def _reverse(self, inputs: Mapping[str, Tensor], derivatives: Sequence[Wrt], outcome: Outcome) -> None:
        """backward(), with a hook on every stage."""
        leaves = self._leaves(inputs)
        caught: dict[str, Tensor] = {}

        def hooked(name: str, value: Tensor) -> Tensor:
            if value.requires_grad:

                def hook(gradient: Tensor) -> None:
                    caught[name] = gradient
                    self.mark(name)

                value.register_hook(hook)
            return value

        values = self.forward(dict(leaves), hooked)
        outcome.values = {n: v.detach() for n, v in values.items()}
        output = values[self.chain.output]
        refusal = _cut(output)
        if refusal is None:
            try:
                # Without dimensions as a user would: torch needs no cotangent then.
                output.backward(None if output.ndim == 0 and self._cotangent == 1.0 else self._seed(output))
            except (RuntimeError, NotImplementedError) as problem:
                refusal = _words(problem)
        for wrt in derivatives:
            name, place = self._places[wrt[0]]
            found = leaves[name].grad if name in leaves else caught.get(name)
            outcome.gradients[wrt] = None if refusal or found is None else _pick(found, place)
            if refusal:
                outcome.refusals[wrt] = refusal

    def _grad(self, inputs: Mapping[str, Tensor], derivatives: Sequence[Wrt], outcome: Outcome) -> None:
        """torch.autograd.grad of the output by inputs and stages at once."""
        leaves = self._leaves(inputs)
        values = self.forward(dict(leaves))
        outcome.values = {n: v.detach() for n, v in values.items()}
        output = values[self.chain.output]
        bases = dict.fromkeys(self._places[wrt[0]][0] for wrt in derivatives)
        targets = [name for name in bases if values[name].requires_grad]
        found: dict[str, Tensor | None] = {}
        refusal = _cut(output)
        if refusal is None and targets:
            try:
                by = torch.autograd.grad(output, [values[n] for n in targets], self._seed(output), allow_unused=True)
                found = dict(zip(targets, by, strict=True))
            except (RuntimeError, NotImplementedError) as problem:
                refusal = _words(problem)
        for wrt in derivatives:
            name, place = self._places[wrt[0]]
            gradient = found.get(name)
            outcome.gradients[wrt] = None if gradient is None else _pick(gradient, place)
        if refusal:
            outcome.refusals.update({wrt: refusal for wrt in derivatives})

    def _forward(self, inputs: Mapping[str, Tensor], derivatives: Sequence[Wrt], outcome: Outcome) -> None:
        """Dual numbers: one pass for each derivative, the tangent 1 on the name that is differentiated by."""
        for wrt in derivatives:
            name, place = self._places[wrt[0]]

            def seeded(stage: str, value: Tensor, name: str = name, place: Place = place) -> Tensor:
                if stage != name:
                    return value
                primal = forward_ad.unpack_dual(value).primal
                dual: Tensor = forward_ad.make_dual(primal, self._unit(primal, place))
                return dual

            with forward_ad.dual_level():
                try:
                    values = self.forward({n: seeded(n, v.detach()) for n, v in inputs.items()}, seeded)
                    primal, tangent = forward_ad.unpack_dual(values[self.chain.output])
                    tangent = torch.zeros_like(primal) if tangent is None else tangent
                    outcome.gradients[wrt] = _pick(tangent, self._places[self.output][1])
                    if not outcome.values:
                        outcome.values = {n: forward_ad.unpack_dual(v).primal.detach() for n, v in values.items()}
                except (RuntimeError, NotImplementedError) as problem:
                    outcome.gradients[wrt] = None
                    outcome.refusals[wrt] = _words(problem)
        if not outcome.values:
            outcome.values = self._values(inputs)

    def _func(self, inputs: Mapping[str, Tensor], derivatives: Sequence[Wrt], outcome: Outcome) -> None:
        """torch.func.vjp of the output; a stage is differentiated by a zero that is added to it."""
        bases = {self._places[wrt[0]][0] for wrt in derivatives}
        like = next(iter(inputs.values()))
        zeros = {
            stage.name: torch.zeros_like(like) if self.shapes is None else like.new_zeros(self.shapes[stage.name])
            for stage in self.chain.stages
            if stage.name in bases and stage.name != self.chain.output
        }

        def output(leaves: dict[str, Tensor], offsets: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
            values = self.forward(dict(leaves), lambda n, v: v + offsets[n] if n in offsets else v)
            return values[self.chain.output], values

        try:
            result, pullback, values = torch.func.vjp(output, dict(inputs), zeros, has_aux=True)  # type: ignore[misc]
            by_input, by_stage = pullback(self._seed(result))
            outcome.values = {n: v.detach() for n, v in values.items()}
            found = {**by_input, **by_stage, self.chain.output: self._seed(result)}
            for wrt in derivatives:
                name, place = self._places[wrt[0]]
                outcome.gradients[wrt] = _pick(found[name], place)
        except (RuntimeError, NotImplementedError) as problem:
            outcome.gradients.update({wrt: None for wrt in derivatives})
            outcome.refusals.update({wrt: _words(problem) for wrt in derivatives})
            outcome.values = self._values(inputs)

    # -- higher derivatives -----------------------------------------------------------------------------------------

    def _nested_grad(self, inputs: Mapping[str, Tensor], wrt: Wrt, mode: str) -> Tensor | None:
        """autograd.grad of autograd.grad, create_graph=True; where the graph ends, the derivative is 0 or missing."""
        leaves = self._leaves(inputs)
        result, at = self.forward(dict(leaves))[self.chain.output], self._places[self.output][1]
        for name, place in map(self._places.__getitem__, wrt):
            if not result.requires_grad:
                return None
            unit = self._unit(result, at)
            found = torch.autograd.grad(result, leaves[name], unit, create_graph=True, allow_unused=True)[0]
            if found is None:
                return None
            result, at = found, place
        return _pick(result, at).detach()

    def _nested_backward(self, inputs: Mapping[str, Tensor], wrt: Wrt, mode: str) -> Tensor | None:
        """backward(create_graph=True) of what backward left in .grad."""
        leaves = self._leaves(inputs)
        result, at = self.forward(dict(leaves))[self.chain.output], self._places[self.output][1]
        for name, place in map(self._places.__getitem__, wrt):
            if not result.requires_grad:
                return None
            leaves[name].grad = None
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a reference cycle, which the last line of the loop breaks
                torch.autograd.backward(result, self._unit(result, at), create_graph=True, inputs=[leaves[name]])
            found = leaves[name].grad
            leaves[name].grad = None
            if found is None:
                return None
            result, at = found, place
        return _pick(result, at).detach()

    def _nested_func(self, inputs: Mapping[str, Tensor], wrt: Wrt, mode: str) -> Tensor | None:
        """torch.func.vjp of vjp (func) or jvp of jvp (forward)."""

        def value(leaves: dict[str, Tensor]) -> Tensor:
            return self.forward(dict(leaves))[self.chain.output]

        function: Callable[[dict[str, Tensor]], Tensor] = value
        at = self._places[self.output][1]
        for name, place in map(self._places.__getitem__, wrt):
            if mode == "forward":
                function = self._by_jvp(function, name, place)
            else:
                function, at = self._by_vjp(function, name, at), place
        return _pick(function(dict(inputs)), at).detach()

    def _by_vjp(self, function: Callable[[dict[str, Tensor]], Tensor], name: str, at: Place) -> Callable[..., Tensor]:
        def derivative(leaves: dict[str, Tensor]) -> Tensor:
            result, pullback = torch.func.vjp(lambda x: function({**leaves, name: x}), leaves[name])  # type: ignore[misc]
            gradient: Tensor = pullback(self._unit(result, at))[0]
            return gradient

        return derivative

    def _by_jvp(self, function: Callable[[dict[str, Tensor]], Tensor], name: str, place: Place) -> Callable[..., Tensor]:
        def derivative(leaves: dict[str, Tensor]) -> Tensor:
            x = leaves[name]
            return torch.func.jvp(lambda x: function({**leaves, name: x}), (x,), (self._unit(x, place),))[1]  # type: ignore[no-any-return]

        return derivative


def _entries(name: str, shape: tuple[int, ...]) -> list[tuple[str, Place]]:
    return list(zip(entry_names(name, shape), np.ndindex(shape), strict=True))


def _pick(tensor: Tensor, place: Place) -> Tensor:
    return tensor[place] if place else tensor


def _cut(output: Tensor) -> str | None:
    return None if output.requires_grad else "the output is cut from the graph: it does not require a gradient"


def _words(problem: Exception) -> str:
    return str(problem).strip().splitlines()[0].split(". ")[0][:200]

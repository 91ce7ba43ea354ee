"""A chain through torch, and its derivatives in each of torch's ways: hooks, autograd.grad, dual numbers, torch.func.

Every way returns one tensor a derivative, or None where torch has none. Nothing is judged here. Points are entries of one
batch: all operations of the language work entry by entry, so the cotangent of ones gives each point its own derivative.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.autograd import forward_ad

from gradcheck_cli.algebra.program import Program
from gradcheck_cli.algebra.tensors import TensorAlgebra, fold
from gradcheck_cli.language.tree import variables
from gradcheck_cli.problem import Chain

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


class TorchChain:
    """A chain compiled for torch in one dtype. `mark` is told the stage that is about to run (and whose backward is)."""

    def __init__(self, chain: Chain, dtype: torch.dtype, device: str, callables: Mapping[str, Callable[..., Any]]) -> None:
        self.chain = chain
        self.algebra = TensorAlgebra(dtype, device, callables)
        self.mark: Mark = lambda stage: None
        self._cotangent = 1.0
        compiled: dict[Any, Program] = {}
        self._steps = []
        for stage in chain.stages:
            key = (stage.tree, stage.inputs)
            if key not in compiled:
                folded = fold(stage.tree)
                compiled[key] = Program([folded], variables(folded) and stage.inputs, self.algebra)
            self._steps.append((stage, compiled[key], bool(variables(fold(stage.tree)))))

    def forward(
        self, values: dict[str, Tensor], seen: Callable[[str, Tensor], Tensor] = lambda name, value: value
    ) -> dict[str, Tensor]:
        """Run every stage; `seen` may replace a stage's value (to register a hook, to add a tangent)."""
        like = next(iter(values.values()))
        for stage, program, varying in self._steps:
            self.mark(stage.name)
            (value,) = program(*(values[name] for name in stage.inputs)) if varying else program()
            if not isinstance(value, Tensor):
                value = torch.full_like(like, value)
            elif any(value is values[name] for name in stage.inputs):
                value = value.view_as(value)  # a stage that returns its input has a gradient of its own
            values[stage.name] = seen(stage.name, value)
        return values

    def differentiate(
        self, mode: str, inputs: Mapping[str, Tensor], derivatives: Sequence[Wrt], cotangent: float = 1.0
    ) -> Outcome:
        """The derivatives of the output, in `mode`, at `inputs` (detached tensors of one shape).

        `cotangent` multiplies first derivatives of the modes that run backwards (reverse, grad, func).
        """
        self.algebra.cut.clear()
        self._cotangent = cotangent
        first = [wrt for wrt in derivatives if len(wrt) == 1]
        higher = [wrt for wrt in derivatives if len(wrt) > 1]
        outcome = Outcome()
        if first or not higher:
            run = {"reverse": self._reverse, "grad": self._grad, "forward": self._forward, "func": self._func}[mode]
            run(inputs, first, outcome)
        for wrt in higher:
            nested = {
                "reverse": self._nested_backward,
                "grad": self._nested_grad,
                "forward": self._nested_func,
                "func": self._nested_func,
            }[mode]
            if not outcome.values:
                outcome.values = {n: v.detach() for n, v in self.forward(dict(inputs)).items()}
            try:
                outcome.gradients[wrt] = nested(inputs, wrt, mode)
            except (RuntimeError, NotImplementedError) as refusal:
                outcome.gradients[wrt] = None
                outcome.refusals[wrt] = _words(refusal)
        itself = (self.chain.output,)
        if itself in derivatives and outcome.gradients[itself] is None:
            outcome.gradients[itself] = self._ones(outcome.values[self.chain.output])  # whatever torch refuses further back
            outcome.refusals.pop(itself, None)
        outcome.cut = tuple(self.algebra.cut)
        return outcome

    def _ones(self, like: Tensor) -> Tensor:
        return torch.ones_like(like) if self._cotangent == 1.0 else torch.full_like(like, self._cotangent)

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
                output.backward(None if output.ndim == 0 and self._cotangent == 1.0 else self._ones(output))
            except (RuntimeError, NotImplementedError) as problem:
                refusal = _words(problem)
        for wrt in derivatives:
            name = wrt[0]
            found = leaves[name].grad if name in leaves else caught.get(name)
            outcome.gradients[wrt] = None if refusal else found
            if refusal:
                outcome.refusals[wrt] = refusal

    def _grad(self, inputs: Mapping[str, Tensor], derivatives: Sequence[Wrt], outcome: Outcome) -> None:
        """torch.autograd.grad of the output by inputs and stages at once."""
        leaves = self._leaves(inputs)
        values = self.forward(dict(leaves))
        outcome.values = {n: v.detach() for n, v in values.items()}
        output = values[self.chain.output]
        targets = [wrt for wrt in derivatives if values[wrt[0]].requires_grad]
        outcome.gradients.update({wrt: None for wrt in derivatives})
        refusal = _cut(output)
        if refusal is None and targets:
            try:
                found = torch.autograd.grad(output, [values[wrt[0]] for wrt in targets], self._ones(output), allow_unused=True)
                outcome.gradients.update(zip(targets, found, strict=True))
            except (RuntimeError, NotImplementedError) as problem:
                refusal = _words(problem)
        if refusal:
            outcome.refusals.update({wrt: refusal for wrt in derivatives})

    def _forward(self, inputs: Mapping[str, Tensor], derivatives: Sequence[Wrt], outcome: Outcome) -> None:
        """Dual numbers: one pass for each derivative, the tangent 1 on the name that is differentiated by."""
        for wrt in derivatives:
            name = wrt[0]

            def seeded(stage: str, value: Tensor, name: str = name) -> Tensor:
                return (
                    forward_ad.make_dual(forward_ad.unpack_dual(value).primal, torch.ones_like(value))
                    if stage == name
                    else value
                )

            with forward_ad.dual_level():
                try:
                    values = self.forward({n: seeded(n, v.detach()) for n, v in inputs.items()}, seeded)
                    primal, tangent = forward_ad.unpack_dual(values[self.chain.output])
                    outcome.gradients[wrt] = torch.zeros_like(primal) if tangent is None else tangent
                    if not outcome.values:
                        outcome.values = {n: forward_ad.unpack_dual(v).primal.detach() for n, v in values.items()}
                except (RuntimeError, NotImplementedError) as problem:
                    outcome.gradients[wrt] = None
                    outcome.refusals[wrt] = _words(problem)
        if not outcome.values:
            outcome.values = self.forward({n: v.detach() for n, v in inputs.items()})

    def _func(self, inputs: Mapping[str, Tensor], derivatives: Sequence[Wrt], outcome: Outcome) -> None:
        """torch.func.vjp of the output; a stage is differentiated by a zero that is added to it."""
        moved = [wrt[0] for wrt in derivatives if wrt[0] not in inputs and wrt[0] != self.chain.output]
        zeros = {name: torch.zeros_like(next(iter(inputs.values()))) for name in moved}

        def output(leaves: dict[str, Tensor], offsets: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
            values = self.forward(dict(leaves), lambda n, v: v + offsets[n] if n in offsets else v)
            return values[self.chain.output], values

        try:
            result, pullback, values = torch.func.vjp(output, dict(inputs), zeros, has_aux=True)  # type: ignore[misc]
            by_input, by_stage = pullback(self._ones(result))
            outcome.values = {n: v.detach() for n, v in values.items()}
            found = {**by_input, **by_stage, self.chain.output: self._ones(result)}
            outcome.gradients.update({wrt: found[wrt[0]] for wrt in derivatives})
        except (RuntimeError, NotImplementedError) as problem:
            outcome.gradients.update({wrt: None for wrt in derivatives})
            outcome.refusals.update({wrt: _words(problem) for wrt in derivatives})
            outcome.values = self.forward({n: v.detach() for n, v in inputs.items()})

    # -- higher derivatives -----------------------------------------------------------------------------------------

    def _nested_grad(self, inputs: Mapping[str, Tensor], wrt: Wrt, mode: str) -> Tensor | None:
        """autograd.grad of autograd.grad, create_graph=True; where the graph ends, the derivative is 0 or missing."""
        leaves = self._leaves(inputs)
        result = self.forward(dict(leaves))[self.chain.output]
        for name in wrt:
            if not result.requires_grad:
                return None
            found = torch.autograd.grad(result, leaves[name], torch.ones_like(result), create_graph=True, allow_unused=True)[0]
            if found is None:
                return None
            result = found
        return result.detach()

    def _nested_backward(self, inputs: Mapping[str, Tensor], wrt: Wrt, mode: str) -> Tensor | None:
        """backward(create_graph=True) of what backward left in .grad."""
        leaves = self._leaves(inputs)
        result = self.forward(dict(leaves))[self.chain.output]
        for name in wrt:
            if not result.requires_grad:
                return None
            leaves[name].grad = None
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a reference cycle, which the last line of the loop breaks
                torch.autograd.backward(result, torch.ones_like(result), create_graph=True, inputs=[leaves[name]])
            found = leaves[name].grad
            leaves[name].grad = None
            if found is None:
                return None
            result = found
        return result.detach()

    def _nested_func(self, inputs: Mapping[str, Tensor], wrt: Wrt, mode: str) -> Tensor | None:
        """torch.func.vjp of vjp (func) or jvp of jvp (forward)."""

        def value(leaves: dict[str, Tensor]) -> Tensor:
            return self.forward(dict(leaves))[self.chain.output]

        def derivative(function: Callable[[dict[str, Tensor]], Tensor], name: str) -> Callable[[dict[str, Tensor]], Tensor]:
            def by_vjp(leaves: dict[str, Tensor]) -> Tensor:
                result, pullback = torch.func.vjp(lambda x: function({**leaves, name: x}), leaves[name])  # type: ignore[misc]
                return pullback(torch.ones_like(result))[0]  # type: ignore[no-any-return]

            def by_jvp(leaves: dict[str, Tensor]) -> Tensor:
                x = leaves[name]
                return torch.func.jvp(lambda x: function({**leaves, name: x}), (x,), (torch.ones_like(x),))[1]  # type: ignore[no-any-return]

            return by_jvp if mode == "forward" else by_vjp

        function: Callable[[dict[str, Tensor]], Tensor] = value
        for name in wrt:
            function = derivative(function, name)
        return function(dict(inputs)).detach()


def _cut(output: Tensor) -> str | None:
    return None if output.requires_grad else "the output is cut from the graph: it does not require a gradient"


def _words(problem: Exception) -> str:
    return str(problem).strip().splitlines()[0].split(". ")[0][:200]

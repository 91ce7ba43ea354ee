"""Custom autograd Functions as people write them, each with its right backward, and wrong ones made from it.

`SUBJECTS` is the table: a Function, inputs at ordinary points, and the slips that are planted in it. A slip is either one of
`GENERAL`, which changes what any right backward returns, or a backward written for its Function alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tests.custom_functions import elementwise as e
from tests.custom_functions import several as s
from tests.custom_functions import vectors as v

Backward = Callable[..., Any]


@dataclass(frozen=True)
class Subject:
    """`inputs`: nested lists of floats by parameter name. `fixed`: integer tensors, which aren't differentiated by.
    `own`: slips of this Function alone; `general`: names of GENERAL."""

    function: Any
    inputs: Mapping[str, Any]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, Backward] = field(default_factory=dict)
    general: tuple[str, ...] = ("missing upstream", "wrong sign", "zeroed", "scaled by 1.01")

    @property
    def name(self) -> str:
        return str(self.function.__name__)

    @property
    def mutants(self) -> dict[str, Any]:
        """A subclass with a wrong backward for each slip."""
        made = {slip: GENERAL[slip](self.function.backward) for slip in self.general}
        return {slip: self.mutant(slip, backward) for slip, backward in (made | dict(self.own)).items()}

    def mutant(self, slip: str, backward: Backward) -> Any:
        return type(f"{self.name}_{slip.replace(' ', '_')}", (self.function,), {"backward": staticmethod(backward)})

    def tensors(self, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
        """All inputs, in the order of the parameters."""
        given = {n: torch.tensor(x, dtype=dtype) for n, x in self.inputs.items()}
        return given | {n: torch.tensor(x) for n, x in self.fixed.items()}


# -- slips that can be planted in any backward --------------------------------------------------------------------------


def changed(change: Callable[[Tensor], Tensor], which: int | None = None) -> Callable[[Backward], Backward]:
    """Each gradient (or the one with number `which`) that backward returns, changed."""

    def slip(right: Backward) -> Backward:
        def backward(ctx: Any, *upstream: Tensor) -> Any:
            found = right(ctx, *upstream)
            found = found if isinstance(found, tuple) else (found,)
            return tuple(
                g if g is None or (which is not None and i != which) else change(g.clone()) for i, g in enumerate(found)
            )

        return backward

    return slip


def _missing_upstream(right: Backward) -> Backward:
    return lambda ctx, *upstream: right(ctx, *(torch.ones_like(g) for g in upstream))


def _upstream_squared(right: Backward) -> Backward:
    return lambda ctx, *upstream: right(ctx, *(g * g for g in upstream))


def _one_entry(g: Tensor) -> Tensor:
    g.view(-1)[g.numel() // 2] += 0.25
    return g


def relative(error: float) -> Callable[[Backward], Backward]:
    return changed(lambda g: g * (1 + error))


GENERAL: dict[str, Callable[[Backward], Backward]] = {
    "missing upstream": _missing_upstream,
    "upstream twice": _upstream_squared,
    "wrong sign": changed(torch.neg),
    "zeroed": changed(torch.zeros_like),
    "scaled by 1.01": relative(0.01),
    "factor N": changed(lambda g: g * g.numel()),
    "one entry": changed(_one_entry),
    "shifted index": changed(lambda g: torch.roll(g, 1, -1)),
    "transposed index": changed(lambda g: g.transpose(-1, -2).contiguous()),
    "reversed index": changed(lambda g: g.flip(-1)),
    "second gradient scaled": changed(lambda g: g * 1.01, 1),
    **{f"relative 1e-{k}": relative(10.0**-k) for k in range(1, 13)},
}

_EVERY = ("missing upstream", "wrong sign", "zeroed", "scaled by 1.01")
_MIXING = (*_EVERY, "one entry", "shifted index", "reversed index")


def _saved(formula: Callable[..., Any]) -> Backward:
    """A backward that is a formula of the upstream gradients and what was saved."""
    return lambda ctx, *upstream: formula(*upstream, *ctx.saved_tensors)


X = {"x": [0.3, -1.2, 2.1]}
POSITIVE = {"x": [0.3, 1.2, 2.1]}
PAIR = {"x": [0.3, -1.2, 2.1], "y": [1.4, 0.7, -0.6]}
MATRIX = {"x": [[0.3, -1.2, 2.1], [0.9, 0.4, -0.7]]}

SUBJECTS: tuple[Subject, ...] = (
    # -- entry by entry -----------------------------------------------------------------------------------------------
    Subject(e.Square, X, own={
        "missing factor 2": _saved(lambda g, x: g * x),
        "upstream for input": _saved(lambda g, x: 2 * g * g),
    }, general=(*_EVERY, *(f"relative 1e-{k}" for k in range(1, 13)))),
    Subject(e.Exp, X, general=(*_EVERY, "upstream twice", "one entry", "shifted index")),
    Subject(e.Tanh, X, own={
        "input for output": _saved(lambda g, x, y: g * (1 - x * x)),
        "upstream for output": _saved(lambda g, x, y: g * (1 - g * g)),
        "missing square": _saved(lambda g, x, y: g * (1 - y)),
    }, general=(*_EVERY, *(f"relative 1e-{k}" for k in range(1, 13)))),
    Subject(e.Sigmoid, X, own={
        "input for output": _saved(lambda g, x, y: g * x * (1 - x)),
        "missing factor": _saved(lambda g, x, y: g * y),
    }),
    Subject(e.SiLU, X, own={
        "missing factor": _saved(lambda g, x: g * (x.sigmoid() + x * x.sigmoid())),
        "dropped term": _saved(lambda g, x: g * x.sigmoid()),
        "other term dropped": _saved(lambda g, x: g * x * x.sigmoid() * (1 - x.sigmoid())),
        "sign of a term": _saved(lambda g, x: g * (x.sigmoid() - x * x.sigmoid() * (1 - x.sigmoid()))),
    }),
    Subject(e.Sin, X, own={
        "output for input": _saved(lambda g, x, y: g * y.cos()),
        "upstream for input": _saved(lambda g, x, y: g * g.cos()),
    }),
    Subject(e.SinSquare, X, own={"missing inner derivative": _saved(lambda g, x: g * torch.cos(x**2))}),
    Subject(e.Gaussian, X, own={
        "output for input": _saved(lambda g, x, y: -g * y * y),
        "missing inner derivative": _saved(lambda g, x, y: g * y),
    }),
    Subject(e.Reciprocal, X, own={"input for output": _saved(lambda g, x, y: -g * x * x)}),
    Subject(e.Sqrt, POSITIVE, own={"input for output": _saved(lambda g, x, y: g / (2 * x))}),
    Subject(e.Log, POSITIVE, own={"output for input": _saved(lambda g, x, y: g / y)}),
    Subject(e.Softplus, X),
    Subject(e.GELU, X, own={"dropped term": _saved(lambda g, x: g * 0.5 * (1 + torch.erf(x / 2**0.5)))}),
    Subject(e.Mish, X),
    Subject(e.Cubic, X),
    Subject(e.Swish, X),
    Subject(e.Power, X, general=(*_EVERY, "one entry")),
    Subject(e.LeakyReLU, X),
    Subject(e.ReLU, X, own={"no mask": _saved(lambda g, x: g)}),
    Subject(e.ELU, X, own={"input for output": _saved(lambda g, x, y: torch.where(x > 0, g, g * (x + 1)))}),
    Subject(e.Clamp, X, own={"straight through": _saved(lambda g, inside: (g, None, None))}),
    Subject(e.Huber, X, own={"no branch": _saved(lambda g, x: g * x)}),
    Subject(e.Hardswish, X, own={"wrong constant": _saved(lambda g, x: g * torch.where(x < 3, x / 3 + 0.25, 1))}),
    Subject(e.Affine, X, own={"missing factor": lambda ctx, g: g}),
    Subject(e.InPlaceExp, X),
    # -- vectors ------------------------------------------------------------------------------------------------------
    Subject(v.Sum, X, general=(*_EVERY, "factor N", "one entry")),
    Subject(v.Mean, X, own={"sum for mean": lambda ctx, g: g.expand(ctx.shape)}),
    Subject(v.MeanSquare, {"prediction": [0.3, -1.2, 2.1], "target": [1.4, 0.7, -0.6]},
            general=(*_EVERY, "factor N", "second gradient scaled", "one entry")),
    Subject(v.Norm, X, own={"not divided": _saved(lambda g, x, y: g * x)}, general=_MIXING),
    Subject(v.LogSumExp, MATRIX, general=_MIXING),
    Subject(v.Softmax, MATRIX, own={
        "diagonal only": _saved(lambda g, x, y: g * y * (1 - y)),
        "dropped term": _saved(lambda g, x, y: g * y),
    }, general=(*_MIXING, *(f"relative 1e-{k}" for k in range(1, 13)))),
    Subject(v.LogSoftmax, MATRIX, own={
        "dropped term": _saved(lambda g, x, y: g),
        "missing sum": _saved(lambda g, x, y: g - y.exp() * g),
    }, general=_MIXING),
    Subject(v.CrossEntropy, {"logits": [[0.3, -1.2, 2.1], [0.9, 0.4, -0.7]]}, fixed={"target": [2, 0]}, general=(
        *_EVERY, "factor N", "shifted index")),
    Subject(v.BinaryCrossEntropy, {"p": [0.3, 0.6, 0.9], "t": [0.2, 0.9, 0.5]}, general=(*_EVERY, "second gradient scaled")),
    Subject(v.LayerNorm, {**MATRIX, "weight": [1.5, 0.5, -0.75], "bias": [0.1, 0.2, 0.3]}, own={
        "no means": _saved(lambda g, n, r, w: (g * w * r, (g * n).sum(0), g.sum(0))),
        "one mean": _saved(lambda g, n, r, w: (
            r * (g * w - n * (g * w * n).mean(-1, keepdim=True)), (g * n).sum(0), g.sum(0))),
        "no weight": _saved(lambda g, n, r, w: (
            r * (g - g.mean(-1, keepdim=True) - n * (g * n).mean(-1, keepdim=True)), (g * n).sum(0), g.sum(0))),
    }, general=(*_EVERY, "second gradient scaled")),
    Subject(v.RMSNorm, MATRIX, own={"dropped term": _saved(lambda g, x, r: g * r)}, general=_MIXING),
    Subject(v.Variance, X, own={"missing mean": lambda ctx, g: g * 2 * ctx.saved_tensors[0] / 2}),
    Subject(v.CumulativeSum, X, own={"not reversed": lambda ctx, g: g.cumsum(0)}, general=_MIXING),
    Subject(v.Difference, X, general=(*_EVERY, "shifted index")),
    Subject(v.RollProduct, X, own={
        "shifted the wrong way": _saved(lambda g, x: g * x.roll(-1) + (g * x).roll(-1)),
        "dropped term": _saved(lambda g, x: g * x.roll(-1)),
    }, general=_MIXING),
    Subject(v.Gather, X, fixed={"index": [2, 0, 2, 1]}, own={
        "no accumulation": lambda ctx, g: (torch.zeros(ctx.length, dtype=g.dtype).index_copy(0, ctx.saved_tensors[0], g), None),
    }),
    Subject(v.Interpolate, {"table": [0.4, 1.7, -0.6, 0.9], "place": [0.25, 2.75]}, general=(*_EVERY, "shifted index")),
    Subject(v.Maximum, MATRIX, general=(*_EVERY, "shifted index")),
    Subject(v.Normalize, MATRIX, own={"dropped term": _saved(lambda g, y, n: g / n)}, general=_MIXING),
    Subject(v.CosineSimilarity, PAIR, general=(*_EVERY, "second gradient scaled", "reversed index")),
    # -- several tensors ----------------------------------------------------------------------------------------------
    Subject(s.Multiply, PAIR, own={"swapped": _saved(lambda g, x, y: (g * x, g * y))}, general=(*_EVERY, "one entry")),
    Subject(s.Divide, PAIR, own={"sign": _saved(lambda g, x, y: (g / y, g * x / (y * y)))}),
    Subject(s.Hypot, PAIR, general=(*_EVERY, "second gradient scaled")),
    Subject(s.MultiplyAdd, {"a": [0.3, -1.2], "x": [1.4, 0.7], "b": [2.0, -0.4]}, general=(*_EVERY, "second gradient scaled")),
    Subject(s.ScaleRows, {**MATRIX, "weight": [1.5, 0.5, -0.75]}, own={
        "mean for sum": _saved(lambda g, x, w: (g * w, (g * x).mean(0))),
        "only the last row": _saved(lambda g, x, w: (g * w, (g * x)[-1])),
    }),
    Subject(s.MatMul, {"a": [[0.3, -1.2], [2.1, 0.9]], "b": [[1.4, 0.7], [-0.6, 0.2]]}, own={
        "not transposed": _saved(lambda g, a, b: (g @ b, a.t() @ g)),
    }, general=(*_EVERY, "transposed index")),
    Subject(s.Linear, {"input": [[0.3, -1.2], [2.1, 0.9]], "weight": [[1.4, 0.7], [-0.6, 0.2]], "bias": [0.5, -0.3]}, own={
        "weight transposed": _saved(lambda g, x, w, b: (g.mm(w), x.t().mm(g), g.sum(0))),
        "bias by rows": _saved(lambda g, x, w, b: (g.mm(w), g.t().mm(x), g.sum(1))),
        "bias mean": _saved(lambda g, x, w, b: (g.mm(w), g.t().mm(x), g.mean(0))),
    }),
    Subject(s.Quadratic, {"x": [0.3, -1.2], "a": [[1.4, 0.7], [-0.6, 0.2]]}, own={
        "as if symmetric": _saved(lambda g, x, a: (2 * g * (a @ x), g * torch.outer(x, x))),
        "dropped term": _saved(lambda g, x, a: (g * (a @ x), g * torch.outer(x, x))),
    }),
    Subject(s.Bilinear, {"x": [0.3, -1.2], "a": [[1.4, 0.7], [-0.6, 0.2]], "y": [2.1, 0.9]}, own={
        "outer transposed": _saved(lambda g, x, a, y: (g * (a @ y), g * torch.outer(y, x), g * (a.t() @ x))),
    }),
    Subject(s.Outer, {"x": [0.3, -1.2], "y": [1.4, 0.7, -0.6]}),
    Subject(s.Conv1d, {"x": [0.3, -1.2, 2.1, 0.9, -0.4], "kernel": [1.4, 0.7, -0.6]}, own={
        "kernel reversed": _saved(lambda g, x, k: (
            torch.nn.functional.conv_transpose1d(g.view(1, 1, -1), k.flip(0).view(1, 1, -1)).view(-1),
            (x.unfold(0, 3, 1) * g.unsqueeze(-1)).sum(0))),
    }, general=(*_EVERY, "shifted index")),
    Subject(s.AveragePool, {"x": [0.3, -1.2, 2.1, 0.9]}, own={"sum for mean": lambda ctx, g: g.repeat_interleave(2)}),
    Subject(s.Distance, {"x": [[0.3, -1.2], [2.1, 0.9]], "y": [[1.4, 0.7], [-0.6, 0.2], [0.5, 1.1]]}),
    Subject(s.Polar, {"r": [0.3, 1.2], "t": [1.4, -0.7]}),
    Subject(s.Attention, {"q": [[0.3, -1.2], [0.9, 0.4]], "k": [[1.4, 0.7], [-0.6, 0.2]], "v": [[0.5, 1.1], [-0.3, 0.8]]},
            general=(*_EVERY, "transposed index", "second gradient scaled")),
)  # fmt: skip

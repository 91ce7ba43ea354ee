"""Operations of several steps, written in torch's own simpler operations, which the shadow follows in their turn.

A rule takes ATen's arguments by name, as many as it uses (`**settings`: all the others), `name` where it needs the operation's,
and `result` where it needs what torch returned (indices, pivots). It
is mathematics, not rounding: a shift that keeps exponentials in range enters as a number, since any shift gives the same. Where
ATen has no formula for a backward operation it is the transpose of the forward one: see `pulled`. A case that a rule doesn't
know it refuses by raising NotImplementedError; whatever else it raises is a slip in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch._decomp import decomposition_table
from torch.utils._python_dispatch import _disable_current_modes, _get_current_dispatch_mode

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Rule:
    """A function and the arguments that it wants; `rest`: all the others too."""

    function: Callable[..., Any]
    wanted: frozenset[str]
    rest: bool

    def chosen(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the arguments that the function takes."""
        return {n: v for n, v in arguments.items() if n in self.wanted or (self.rest and n not in ("result", "name"))}


RULES: dict[str, Rule] = {}
"""ATen's name -> rule."""

MUTATED = {
    "native_batch_norm": ("running_mean", "running_var"),
    "_native_batch_norm_legit": ("running_mean", "running_var"),
    "_batch_norm_with_update": ("running_mean", "running_var"),
    "cudnn_batch_norm": ("running_mean", "running_var"),
    "rrelu_with_noise": ("noise",),
}
"""Arguments that an operation overwrites with what counts as data afterwards."""

_ALIGNED = (
    "torch's gradient of ctc_loss is the derivative after log_softmax only: by log_probs alone it has exp(log_probs) in it, "
    "which log_softmax takes out again"
)
CONVENTIONS = {"_ctc_loss_backward": _ALIGNED, "_cudnn_ctc_loss": _ALIGNED}
"""Operations whose gradient torch means otherwise, and what the reader is told where it isn't the derivative."""

MOVED = {"_cudnn_rnn_flatten_weight": "weight_arr"}
"""Tensors to which an operation gives other memory, with the same numbers in it."""


SYMMETRIC = {"_linalg_eigh": "A", "linalg_cholesky_ex": "self", "cholesky": "self"}
"""Operations on symmetric matrices, which read one triangle, and the argument. torch's gradient is that by the symmetric part,
one half in either triangle: what it documents, and the derivative along every direction that keeps the matrix symmetric. Of
complex numbers, Hermitian."""


def is_symmetric(matrix: Tensor) -> bool:
    """Whether it is to the last bit: of complex numbers, Hermitian."""
    return torch.equal(matrix, matrix.mH)


def rule(*names: str) -> Callable[[F], F]:
    """The rule of these operations."""

    def register(function: F) -> F:
        parameters = signature(function).parameters.values()
        wanted = frozenset(p.name for p in parameters)
        found = Rule(function, wanted, any(p.kind is p.VAR_KEYWORD for p in parameters))
        RULES.update(dict.fromkeys(names, found))
        return function

    return register


paused = _disable_current_modes
"""What runs in this context isn't followed: it is about indices, and shifts that don't matter."""


def folded(make: Callable[..., list[Any]], given: Sequence[Tensor], floats: Callable[[], Tensor]) -> Tensor | None:
    """Steps of a rule as one: `make` gives the cells of the result from a layer and the cells of the tensors `given`, `floats`
    its numbers. None where whoever follows the rule goes step by step (columns), where a derivative is taken of the steps, and
    in shorter formats, whose products torch may round."""
    take = getattr(_get_current_dispatch_mode(), "folded", None)
    if take is None or torch.is_grad_enabled() or any(x.dtype is not torch.float64 for x in given):
        return None
    with paused():
        result = floats()
    take(make, given, result)
    return result


def at_rest(x: Tensor) -> Tensor:
    """The tensor without what its cells know of their first derivatives, where whoever follows the rule knows any: an iteration
    that doubles its digits doubles those of the derivative too, once the value is there."""
    rest = getattr(_get_current_dispatch_mode(), "at_rest", None)
    found: Tensor = x if rest is None or torch.is_grad_enabled() else rest(x)
    return found


def within(x: Tensor, size: float) -> bool:
    """Whether whoever follows the rule can't tell that some entry is larger than this, at rest."""
    told = getattr(_get_current_dispatch_mode(), "beyond", None)
    return told is None or not told(x, size)


def real(x: Tensor) -> Tensor:
    """What is real in value."""
    return x.real if x.is_complex() else x


def squared(x: Tensor) -> Tensor:
    """The squares of the sizes of numbers."""
    return x.real.square() + x.imag.square() if x.is_complex() else x.square()


def number(tensor: Tensor) -> Tensor:
    """The floats of a tensor as data, whatever its cells are."""
    with paused():
        return tensor.detach().clone()


def pulled(forward: Callable[..., Any], inputs: Sequence[Tensor], *grads: Tensor | None) -> list[Tensor]:
    """The cotangents of `inputs`: the transpose of `forward`'s derivative, applied to the cotangents of its results, through
    the operations that `forward` is made of."""
    with torch.enable_grad():
        leaves = [x.detach().requires_grad_() for x in inputs]
        results = forward(*leaves)
        pairs = zip([results] if isinstance(results, Tensor) else results, grads, strict=True)
        outputs, given = zip(*[(r, g) for r, g in pairs if g is not None], strict=True)
        found = torch.autograd.grad(outputs, leaves, given, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True)]


def decomposition(operation: Any) -> Callable[..., Any]:
    """Torch's own formula for an operation, which not every version of it has."""
    if operation not in decomposition_table:
        raise NotImplementedError(f"torch has no decomposition of {operation}")
    return decomposition_table[operation]


def identity(like: Tensor, rows: int, columns: int | None = None) -> Tensor:
    """The identity matrix, or its first columns, of the dtype and on the device of `like`."""
    return torch.eye(rows, rows if columns is None else columns, dtype=like.dtype, device=like.device)


def scattered(grad: Tensor, move: Callable[[Tensor], Tensor], shape: Sequence[int]) -> Tensor:
    """The transpose of an operation that only moves entries of a tensor of `shape`: each cotangent returns to where its entry
    came from."""
    with paused():
        numbers = torch.arange(1, math.prod(shape) + 1, dtype=torch.float64, device=grad.device).reshape(tuple(shape))
        origin = move(numbers).reshape(-1).long()
    found = grad.new_zeros(math.prod(shape) + 1).index_add(0, origin, grad.reshape(-1))
    return found[1:].reshape(tuple(shape))


def blurred(x: Tensor, size: Tensor | float) -> Tensor:
    """The tensor after a detour over numbers of this size: what rounding there may have cost a stable algorithm that takes
    another way than the rule does. Its floats stay. The size becomes a power of two, which is nothing but itself."""
    with paused():
        nothing = torch.zeros_like(x.detach())
        shift = nothing + torch.exp2(torch.log2(real(nothing) + size).ceil()) * (1 + 1j if x.is_complex() else 1)
    return x + ((nothing + shift) - shift)


def times(factor: float, x: Tensor) -> Tensor:
    """The product; for a factor of 1 the tensor itself, which isn't rounded."""
    return x if factor == 1 else x * factor


def root(x: Tensor, n: float) -> Tensor:
    """x**(1/n), where 1/n is a quotient and no float: a third is a third."""
    return x.sqrt() if n == 2 else x.pow(x.new_ones(()) / n)


def reduced(x: Tensor, reduction: int) -> Tensor:
    """ATen's reductions of losses: 0 none, 1 the mean, 2 the sum."""
    return x if reduction == 0 else x.mean() if reduction == 1 else x.sum()

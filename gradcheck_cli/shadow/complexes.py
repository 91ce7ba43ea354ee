"""Complex tensors in terms of real ones: their parts are views of the same memory, and a call of an operation on complex
numbers is a call on these."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from gradcheck_cli.algebra.parts import parts
from gradcheck_cli.language.spaces import imag_of, real_of
from gradcheck_cli.shadow.aten import Operation
from gradcheck_cli.shadow.contents import as_real

LINEAR = frozenset({"total", "mean", "scatter"})
"""Folds that do the same to both parts, besides what only moves entries."""

BILINEAR = {"product": ("self", "mat2", "vec", "vec2", "other", "tensor"), "convolution": ("input", "weight")}
"""Folds that multiply two tensors, and what these may be called."""

CONJUGATED = frozenset({"vdot"})
"""Of which the first factor is conjugated."""


def is_complex(value: Any) -> bool:
    return value.is_complex() if isinstance(value, Tensor) else isinstance(value, complex)


def is_flagged(tensor: Tensor) -> bool:
    """Whether torch keeps the tensor as the conjugate, or the negative, of what its memory holds."""
    return tensor.is_conj() or tensor.is_neg()


def as_kept(value: Any, like: Any) -> Any:
    """What the memory of a tensor holds that torch keeps as `like`."""
    if not isinstance(value, Tensor) or not isinstance(like, Tensor):
        return value
    value = value.conj().resolve_conj() if like.is_conj() else value
    return -value if like.is_neg() else value


def real_and_imag(value: Any) -> tuple[Any, Any]:
    """The parts of a tensor (views), or of a Python number."""
    if isinstance(value, Tensor):
        seen = as_real(value)
        return seen[..., 0], seen[..., 1]
    return value.real, value.imag


def parted(
    row: Operation, bound: Mapping[str, Any], outputs: Sequence[Tensor | None]
) -> tuple[Operation, Mapping[str, Any], Sequence[Tensor | None]]:
    """A call that computes entry by entry, on parts. The same where nothing is complex. NotImplementedError where a function
    has no meaning there."""
    names = frozenset(name for name in row.entries if is_complex(bound[name]))
    kinds = tuple(o is not None and o.is_complex() for o in outputs)
    if not names and not any(kinds):
        return row, bound, outputs
    found = dict(bound)
    for name in names:
        found[real_of(name)], found[imag_of(name)] = real_and_imag(found.pop(name))
    made = [part for o in outputs for part in (real_and_imag(o) if o is not None and o.is_complex() else (o,))]
    return _parted(row, names, kinds), found, made


@lru_cache(maxsize=1024)
def _parted(row: Operation, names: frozenset[str], kinds: tuple[bool, ...]) -> Operation:
    def split(trees: Sequence[Any]) -> tuple[Any, ...]:
        found = [parts(tree, names) for tree in trees]
        return tuple(t for p, pair in zip(found, kinds, strict=True) for t in (p.pair if pair else (p.real,)))

    return replace(row, formulas=split(row.trees), stepped=split(row.stepwise))


def by_parts(function: Any, row: Operation) -> Callable[[Mapping[str, Any], Any], Any] | None:
    """What computes an operation that isn't entry by entry from those on parts of its arguments; None where that is none."""
    if row.moves or row.fold in LINEAR or (row.fold == "scan" and row.step == "x + y"):
        return lambda bound, result: _each(function, bound)
    if row.step == "x*y" and row.fold in ("reduce", "scan"):
        return _multiplied if row.fold == "reduce" else _running
    factors = BILINEAR.get(row.fold)
    if factors is None:
        return None
    return lambda bound, result: _product(function, bound, [n for n in factors if n in bound], row.name in CONJUGATED)


def _part(value: Any, index: int) -> Any:
    if isinstance(value, list | tuple):
        return [_part(v, index) for v in value]
    if isinstance(value, torch.dtype):
        return value.to_real()
    return real_and_imag(value)[index] if is_complex(value) else value


def _each(function: Any, bound: Mapping[str, Any]) -> Any:
    """A linear operation. A number that fills, or a tensor that is real, belongs to the real part."""
    real = {n: _part(v, 0) for n, v in bound.items()}
    imag = {n: _zero(n, v) for n, v in bound.items()}
    return joined(function(**real), function(**imag))


def _zero(name: str, value: Any) -> Any:
    """The imaginary part of an argument, 0 of a real tensor and of a real number that fills."""
    if isinstance(value, Tensor) and value.is_floating_point():
        return torch.zeros_like(value)
    if isinstance(value, list | tuple):
        return [_zero(name, v) for v in value]
    if name in ("value", "fill", "fill_value") and not is_complex(value) and not isinstance(value, Tensor):
        return 0
    return _part(value, 1)


def _product(function: Any, bound: Mapping[str, Any], factors: Sequence[str], conjugated: bool) -> Any:
    first, second = factors
    (a, b), (c, d) = (real_and_imag(bound[n]) if is_complex(bound[n]) else (bound[n], None) for n in (first, second))

    def run(x: Tensor, y: Tensor) -> Tensor:
        found: Tensor = function(**{**{n: _part(v, 0) for n, v in bound.items()}, first: x, second: y})
        return found

    real, imag = run(a, c), None
    if b is not None:
        b = -b if conjugated else b
        imag = run(b, c)
        real = real if d is None else real - run(b, d)
    if d is not None:
        imag = run(a, d) if imag is None else imag + run(a, d)
    return joined(real, imag)


def _multiplied(bound: Mapping[str, Any], result: Any) -> Tensor:
    """The product of entries."""
    x, dim = bound["self"], bound.get("dim")
    x, dim = (x, dim) if x.ndim else (x.reshape(1), 0)
    x = x.reshape(-1) if dim is None else x.movedim(dim, -1)
    found: Tensor = functools.reduce(torch.mul, x.unbind(-1)) if x.shape[-1] else torch.ones_like(result)
    return found.reshape(result.shape)


def _running(bound: Mapping[str, Any], result: Any) -> Tensor:
    """The product of entries and all before them."""
    x, dim = bound["self"], bound["dim"]
    if not x.ndim or not x.numel():
        return x.clone()  # type: ignore[no-any-return]
    found: Tensor = torch.stack(list(accumulate(x.unbind(dim), torch.mul)), dim)
    return found


def joined(real: Any, imag: Any) -> Any:
    """A complex tensor, or several, of these parts."""
    if isinstance(real, list | tuple):
        return [joined(*pair) for pair in zip(real, imag, strict=True)]
    return torch.complex(real, imag)

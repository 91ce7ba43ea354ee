"""What operations take and return: the tensors among arguments and results, and what can be asked of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from gradcheck_cli.shadow.contents import as_real
from gradcheck_cli.shadow.memory import FLOATS
from gradcheck_cli.shadow.overloads import Overload

Outputs = Sequence[torch.Tensor | None]


def alike(tensors: Sequence[torch.Tensor]) -> bool:
    """Whether tensors have one shape, and entries."""
    return len({tuple(t.shape) for t in tensors}) == 1 and tensors[0].numel() > 0


def asks_kind(x: Any, y: Any) -> bool:
    """Whether a comparison asks what kind of numbers these are: with an infinity, or the same entries of one storage."""
    if not (isinstance(x, torch.Tensor) and x.is_floating_point()):
        return False
    if not isinstance(y, torch.Tensor):
        return isinstance(y, float) and math.isinf(y)
    return x is y or (x.data_ptr() == y.data_ptr() and (x.shape, x.stride(), x.dtype) == (y.shape, y.stride(), y.dtype))


def is_plain(tensor: torch.Tensor) -> bool:
    """Whether the tensor's values lie in a storage, as they are."""
    return tensor.layout is torch.strided and not tensor.is_quantized and not tensor.is_nested


def kind_of(tensor: torch.Tensor) -> str:
    """What a tensor is that isn't plain, for the reader."""
    if tensor.is_quantized:
        return "quantised numbers have no derivative in torch"
    return "nested tensors aren't followed" if tensor.is_nested else f"tensors of the layout {tensor.layout} aren't followed"


def ordinary(tensors: Sequence[torch.Tensor | None]) -> bool:
    """Whether the values of all tensors, real numbers, lie in storages as they are."""
    for t in tensors:
        if t is not None and (not is_plain(t) or t.is_complex() or t.is_neg() or t._is_zerotensor() or t.is_meta):
            return False
    return True


def is_real(tensor: torch.Tensor) -> bool:
    """Whether the tensor's values lie in a storage of real numbers, as they are."""
    return is_plain(tensor) and not tensor.is_complex() and not tensor.is_neg()


def solid(value: Any) -> Any:
    """A tensor that torch keeps as nothing but "zero" (it appears in forward mode), with its zeros written out: under a
    dispatch mode, torch 2.13 crashes where it meets one in an operation such as `mul.Scalar`."""
    return torch.zeros_like(value) if isinstance(value, torch.Tensor) and value._is_zerotensor() else value


def tensors_of(values: Sequence[Any]) -> list[torch.Tensor]:
    found = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, (tuple, list)):
            found += tensors_of(value)
    return found


def outputs_of(result: Any) -> list[torch.Tensor | None]:
    """The results in order; None where the operation was told not to compute one."""
    if isinstance(result, (tuple, list)):
        return [o for r in result for o in (outputs_of(r) if r is not None else [None])]
    return [result] if isinstance(result, torch.Tensor) else []


def run(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> Any:
    """What an operation returns without the dispatch mode that calls this: torch 2.13 leaves out the conjugations within a
    kernel of complex numbers that runs in one."""
    kwargs = kwargs or {}
    if not any([t.is_complex() for t in tensors_of((*args, *kwargs.values()) if kwargs else args)]):
        return func(*args, **kwargs)
    excluded = torch._C._dispatch_tls_local_exclude_set()
    for key in _LAZY:
        excluded = excluded.remove(key)
    with torch._C._ForceDispatchKeyGuard(torch._C._dispatch_tls_local_include_set(), excluded):
        return func(*args, **kwargs)


_LAZY = (torch._C.DispatchKey.Conjugate, torch._C.DispatchKey.Negative)
"""What torch keeps in mind and computes where it is needed."""


def through(known: Overload, tensors: Sequence[torch.Tensor], args: Any, kwargs: Any) -> Any:
    """What the kernel of another library's operation returns, whose own operations a dispatch mode sees."""
    key = getattr(torch._C.DispatchKey, torch._C._dispatch_key_for_device(tensors[0].device.type))
    return known.func.redispatch(torch._C.DispatchKeySet(key), *args, **kwargs)


def written_by(known: Overload, bound: Mapping[str, Any]) -> list[torch.Tensor | None]:
    """The arguments that the operation writes to."""
    return [t for n in known.arguments if n in known.written for t in tensors_of((bound[n],))]


def near(pairs: Sequence[tuple[torch.Tensor, torch.Tensor]], arguments: Sequence[torch.Tensor]) -> bool:
    """Whether two results of one operation on these arguments agree in half of their digits, or in half of those of the largest
    number around: rounding takes less, another function more."""
    seen = [*map(as_real, arguments), *(o for o, _ in pairs)]
    floats = [t for t in seen if t.dtype in FLOATS and t.numel()]
    scale = max((t.detach().double().nan_to_num(0, 0, 0).abs().max().item() for t in floats), default=0.0)
    return all(
        torch.allclose(x.double(), y.double(), r := FLOATS[x.dtype].unit_roundoff ** 0.5, r * scale, equal_nan=True)
        for x, y in pairs
        if x.dtype in FLOATS
    )

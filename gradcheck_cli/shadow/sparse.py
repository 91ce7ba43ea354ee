"""Sparse tensors (COO, CSR, CSC): their cells are those of their values. An operation on them is the same one on dense tensors,
of which torch's result has some places."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch.utils import _pytree as pytree

from gradcheck_cli.shadow.rules.registry import paused

LAYOUTS = frozenset({torch.sparse_coo, torch.sparse_csr, torch.sparse_csc})


def is_sparse(value: Any) -> bool:
    """Whether this is a tensor of one of these layouts."""
    return isinstance(value, torch.Tensor) and value.layout in LAYOUTS


def part(tensor: torch.Tensor) -> torch.Tensor:
    """What holds a tensor's numbers: the values of a sparse one."""
    if not is_sparse(tensor):
        return tensor
    with paused(), torch.no_grad():
        found: torch.Tensor = tensor._values() if tensor.layout is torch.sparse_coo else tensor.values()
        return found


def dense(value: Any) -> Any:
    """A sparse tensor written out."""
    if not is_sparse(value):
        return value
    values = part(value)
    return values.new_zeros(value.shape).index_put(_places(value), values, accumulate=True)


def _places(tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
    with paused(), torch.no_grad():
        if tensor.layout is torch.sparse_coo:
            return tuple(tensor._indices())
        starts, others = indices(tensor)
        if starts.ndim > 1 or tensor.ndim > 2:
            raise NotImplementedError("batches of sparse matrices")
        lines = torch.repeat_interleave(torch.arange(len(starts) - 1, device=starts.device), starts.diff())
        return (lines, others) if tensor.layout is torch.sparse_csr else (others, lines)


def indices(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of a compressed matrix: where its rows (columns) begin, and the columns (rows) of its entries."""
    if tensor.layout is torch.sparse_csr:
        return tensor.crow_indices(), tensor.col_indices()
    return tensor.ccol_indices(), tensor.row_indices()


def _alike(args: Any, kwargs: Any, result: Any) -> bool:
    """Whether all tensors have the same places, some of them perhaps twice: then the operation is one on their values."""
    tensors = [t for t in pytree.tree_leaves((args, kwargs, result)) if isinstance(t, torch.Tensor) and t.ndim]
    if not is_sparse(result) or not all(
        is_sparse(t) and t.layout is result.layout and t.shape == result.shape for t in tensors
    ):
        return False
    first, *others = map(_places, tensors)
    with paused():
        return all(len(a) == len(b) and all(map(torch.equal, a, b)) for b in others for a in [first])


def _itself(self: torch.Tensor, *settings: Any, **others: Any) -> torch.Tensor:
    return self.clone()


def _summed(self: torch.Tensor, dim: Any = None, **others: Any) -> torch.Tensor:
    return self.sum() if dim is None else self.sum(dim)


def _spread(grad: torch.Tensor, self: torch.Tensor, dim: Any) -> torch.Tensor:
    for axis in sorted(d % self.ndim for d in dim):
        grad = grad.unsqueeze(axis)
    return grad.expand(self.shape)


GIVEN = frozenset({
    "_sparse_coo_tensor_with_dims_and_tensors", "_sparse_coo_tensor_unsafe", "sparse_compressed_tensor",
    "_sparse_compressed_tensor_unsafe",
})  # fmt: skip
"""Operations that are given values."""

MADE = GIVEN | {"_to_sparse", "_to_sparse_csr", "_to_sparse_csc"}
"""Operations that make sparse tensors of dense ones."""

READ = frozenset({"values", "_values"})
"""Operations that return them."""

MOVED = frozenset({"t", "transpose", "permute"})
"""Operations that leave them in their order, of matrices."""

DENSE: Mapping[str, Callable[..., Any]] = MappingProxyType({
    **dict.fromkeys(("_coalesce", "_to_dense", "_to_sparse", "_to_sparse_csr", "_to_sparse_csc", "sparse_mask"), _itself),
    "_sparse_addmm": torch.addmm, "sparse_sampled_addmm": torch.addmm, "_sparse_sum": _summed, "_sparse_sum_backward": _spread,
})  # fmt: skip
"""What an operation is on dense tensors, where it isn't called the same."""


def _softmax(held: torch.Tensor, self: torch.Tensor, dim: int, *settings: Any) -> torch.Tensor:
    weights = self.exp() * held
    return weights / weights.sum(dim, keepdim=True)


def _log_softmax(held: torch.Tensor, self: torch.Tensor, dim: int, *settings: Any) -> torch.Tensor:
    return self - (self.exp() * held).sum(dim, keepdim=True).log()


def _softmax_backward(held: torch.Tensor, grad: torch.Tensor, output: torch.Tensor, dim: int, *settings: Any) -> torch.Tensor:
    return output * (grad - (grad * output).sum(dim, keepdim=True))


def _log_softmax_backward(
    held: torch.Tensor, grad: torch.Tensor, output: torch.Tensor, dim: int, *settings: Any
) -> torch.Tensor:
    return grad - output.exp() * grad.sum(dim, keepdim=True)


WITHIN: Mapping[str, Callable[..., Any]] = MappingProxyType({
    "_sparse_softmax": _softmax, "_sparse_softmax_backward_data": _softmax_backward,
    "_sparse_log_softmax": _log_softmax, "_sparse_log_softmax_backward_data": _log_softmax_backward,
})  # fmt: skip
"""Operations to which the entries that a tensor doesn't hold aren't zeros but not there: they are told which ones it holds."""

NAMED = MADE | READ | DENSE.keys() | WITHIN.keys()
"""Operations that there are for the sake of sparse tensors."""


def followed(base: str, function: Any, args: Any, kwargs: Any, bound: Mapping[str, Any], result: Any) -> Any:
    """What the numbers of torch's results are; NotImplementedError where that isn't known."""
    if base in GIVEN:
        return bound["values"].clone()
    if base in READ:
        return part(bound["self"])
    if base in MOVED and part(bound["self"]).ndim == 1:
        return part(bound["self"]).clone()
    if base in WITHIN:
        places = _places(result)
        held = torch.zeros(result.shape, dtype=result.dtype, device=result.device).index_put(
            places, torch.ones((), dtype=result.dtype, device=result.device)
        )
        return WITHIN[base](held, *map(dense, args), **kwargs)[places]
    if _alike(args, kwargs, result):
        given, named = pytree.tree_map_only(torch.Tensor, part, (args, kwargs))
        return DENSE.get(base, function)(*given, **named)
    given, named = pytree.tree_map(dense, (args, kwargs))
    whole = DENSE.get(base, function)(*given, **named)
    if not isinstance(result, torch.Tensor):
        raise NotImplementedError(f"{base} of sparse tensors")
    return whole[_places(result)] if is_sparse(result) else whole

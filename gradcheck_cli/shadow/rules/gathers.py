"""Rules: memory seen in another way, embeddings, distances between rows, reductions of segments."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from gradcheck_cli.shadow.rules.registry import paused, pulled, rule


@rule("as_strided_copy")
def _strided(self: Tensor, size: list[int], stride: list[int], storage_offset: int | None) -> Tensor:
    return self.as_strided(size, stride, storage_offset).clone()


@rule("as_strided_scatter")
def _strided_scatter(self: Tensor, src: Tensor, size: list[int], stride: list[int], storage_offset: int | None) -> Tensor:
    found = self.clone()
    offset = 0 if storage_offset is None else storage_offset - self.storage_offset()
    if found.stride() != self.stride() or offset < 0:
        raise NotImplementedError("a tensor with gaps in its memory")
    found.as_strided(size, stride, offset).copy_(src)
    return found


def _bags(indices: Tensor, offsets: Tensor, last: bool, padding: int) -> list[Tensor]:
    """Which positions of `indices` each bag holds."""
    ends = offsets.tolist() if last else [*offsets.tolist(), indices.numel()]
    places = torch.arange(indices.numel(), device=indices.device)
    return [places[start:end][indices[start:end] != padding] for start, end in pairwise(ends)]


def _owners(indices: Tensor, offsets: Tensor) -> Tensor:
    """The bag of each position."""
    return torch.searchsorted(offsets, torch.arange(indices.numel(), device=indices.device), right=True) - 1


@rule("_embedding_bag", "_embedding_bag_forward_only")
def _embedding_bag(
    weight: Tensor, indices: Tensor, offsets: Tensor, mode: int, per_sample_weights: Tensor | None, include_last_offset: bool,
    padding_idx: int, result: Any,
) -> tuple[Any, ...]:  # fmt: skip
    with paused():
        bags = _bags(indices, offsets, include_last_offset, padding_idx)
    rows = []
    for bag in bags:
        chosen = weight[indices[bag]]
        if per_sample_weights is not None:
            chosen = chosen * per_sample_weights[bag].unsqueeze(-1)
        if not len(bag):
            rows.append(weight.new_zeros(weight.shape[1]))
        else:
            rows.append(chosen.amax(0) if mode == 2 else chosen.mean(0) if mode == 1 else chosen.sum(0))
    return torch.stack(rows) if rows else weight.new_zeros(0, weight.shape[1]), *result[1:]


@rule("embedding_renorm")
def _embedding_renorm(self: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> Tensor:
    with paused():
        rows = indices.unique()
    chosen = self[rows]
    norms = torch.linalg.vector_norm(chosen, norm_type, 1, True)
    # 1e-7: aten/src/ATen/native/Embedding.cpp, embedding_renorm_cpu_
    return self.index_copy(0, rows, torch.where(norms > max_norm, chosen * (max_norm / (norms + 1e-7)), chosen))


@rule("_embedding_bag_backward")
def _embedding_bag_backward(
    grad: Tensor, indices: Tensor, offsets: Tensor, bag_size: Tensor, maximum_indices: Tensor, num_weights: int,
    scale_grad_by_freq: bool, mode: int, per_sample_weights: Tensor | None, padding_idx: int,
) -> Tensor:  # fmt: skip
    zeros = grad.new_zeros(num_weights, grad.shape[1])
    if mode == 2:
        with paused():
            used = bag_size > 0
        return zeros.scatter_add(0, maximum_indices[used], grad[used])
    with paused():
        used = indices != padding_idx
        bags, rows = _owners(indices, offsets)[used], indices[used]
        counts = torch.bincount(rows, minlength=num_weights)[rows].unsqueeze(-1)
    found = grad[bags]
    if mode == 1:
        found = found / bag_size[bags].unsqueeze(-1)
    if per_sample_weights is not None:
        found = found * per_sample_weights[used].unsqueeze(-1)
    return zeros.index_add(0, rows, found / counts if scale_grad_by_freq else found)


@rule("_embedding_bag_per_sample_weights_backward")
def _bag_weights_backward(grad: Tensor, weight: Tensor, indices: Tensor, offsets: Tensor, padding_idx: int) -> Tensor:
    with paused():
        used, owners = indices != padding_idx, _owners(indices, offsets)
    products = (grad[owners] * weight[indices]).sum(1)
    return torch.where(used, products, 0.0)


def _distance(difference: Tensor, p: float) -> Tensor:
    found: Tensor = torch.linalg.vector_norm(difference, p, -1)
    return found


def _distance_grad(difference: Tensor, grad: Tensor, distance: Tensor, p: float) -> Tensor:
    """The cotangent of a difference; 0 where the distance is 0, as ATen has it."""
    grad, distance = grad.unsqueeze(-1), distance.unsqueeze(-1)
    size = difference.abs()
    with paused():
        zero = distance.detach() == 0
    if p == 0:
        return torch.zeros_like(difference) * grad
    if p == 1:
        return grad * difference.sgn()
    if math.isinf(p):
        return grad * difference.sgn() * (size == distance).to(grad.dtype)
    if p == 2:
        return torch.where(zero, 0.0, grad * difference / distance)
    found = difference.sgn() * size.pow(p - 1) * grad / distance.pow(p - 1)
    return torch.where(zero, 0.0, found)


@rule("_cdist_forward")
def _cdist(x1: Tensor, x2: Tensor, p: float) -> Tensor:
    return _distance(x1.unsqueeze(-2) - x2.unsqueeze(-3), p)


@rule("_cdist_backward")
def _cdist_backward(grad: Tensor, x1: Tensor, x2: Tensor, p: float, cdist: Tensor) -> Tensor:
    return _distance_grad(x1.unsqueeze(-2) - x2.unsqueeze(-3), grad, cdist, p).sum(-2).sum_to_size(x1.shape)


def _pairs(x: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers of every two rows, the smaller one first."""
    with paused():
        first, second = torch.triu_indices(len(x), len(x), 1, device=x.device)
    return first, second


@rule("_pdist_forward")
def _pdist(self: Tensor, p: float) -> Tensor:
    first, second = _pairs(self)
    return _distance(self[first] - self[second], p)


@rule("_pdist_backward")
def _pdist_backward(grad: Tensor, self: Tensor, p: float, pdist: Tensor) -> Tensor:
    first, second = _pairs(self)
    found = _distance_grad(self[first] - self[second], grad, pdist, p)
    return torch.zeros_like(self).index_add(0, first, found).index_add(0, second, -found)


_SEGMENTS: dict[str, tuple[Any, float]] = {
    "sum": (torch.sum, 0.0),
    "mean": (torch.mean, math.nan),
    "prod": (torch.prod, 1.0),
    "max": (torch.amax, -math.inf),
    "min": (torch.amin, math.inf),
}
"""How a segment is reduced, and what comes of one without entries."""


@rule("segment_reduce")
def _segment_reduce(
    data: Tensor, reduce: str, lengths: Tensor | None, offsets: Tensor | None, axis: int, initial: float | None
) -> Tensor:
    with paused():
        sizes = offsets.diff(dim=-1) if lengths is None and offsets is not None else lengths
    if sizes is None or reduce not in _SEGMENTS:
        raise NotImplementedError("segments by indices, or another way to reduce them")
    if axis:
        parts = zip(data.flatten(0, axis - 1), sizes.reshape(-1, sizes.shape[-1]), strict=True)
        rows = [_segment_reduce(d, reduce, s, None, 0, initial) for d, s in parts]
        return torch.stack(rows).reshape(*data.shape[:axis], *rows[0].shape)
    reduction, empty = _SEGMENTS[reduce]
    rows = []
    for part in data.split(sizes.tolist()):
        if not len(part):
            rows.append(part.new_full(part.shape[1:], empty if initial is None else initial))
        elif initial is None:
            rows.append(reduction(part, 0))
        else:
            start = part.new_full((1, *part.shape[1:]), initial)
            rows.append(reduction(torch.cat([start, part]), 0) if reduce != "mean" else (part.sum(0) + initial) / len(part))
    return torch.stack(rows)


@rule("_segment_reduce_backward")
def _segment_reduce_backward(
    grad: Tensor, data: Tensor, reduce: str, lengths: Tensor | None, offsets: Tensor | None, axis: int, initial: float | None
) -> Tensor:
    return pulled(lambda x: _segment_reduce(x, reduce, lengths, offsets, axis, initial), [data], grad)[0]

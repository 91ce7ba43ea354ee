"""Rules: pooling, padding, interpolation and sampling of grids."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

from gradcheck_cli.shadow.rules.registry import blurred, decomposition, identity, paused, pulled, rule, scattered

aten = torch.ops.aten

# -- convolutions -----------------------------------------------------------------------------------------------------------


@rule("conv_tbc")
def _conv_tbc(self: Tensor, weight: Tensor, bias: Tensor, pad: int) -> Tensor:
    """Of sequences whose time comes first, and batch, and channels."""
    return torch.conv1d(self.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad).permute(2, 0, 1)


# -- pooling ----------------------------------------------------------------------------------------------------------------


def _spread(value: Sequence[int], rank: int) -> list[int]:
    return list(value) * rank if len(value) == 1 else list(value)


def _windows(size: int, kernel: int, stride: int, padding: int, dilation: int, count: int) -> list[list[int]]:
    """Along one axis: the input positions that each output position sees."""
    return [[i for k in range(kernel) if 0 <= (i := o * stride - padding + k * dilation) < size] for o in range(count)]


def _pooled(x: Tensor, windows: Sequence[Sequence[Sequence[int]]], pool: Callable[[Tensor, list[int]], Tensor]) -> Tensor:
    """`pool` of the last axis, where windows over the last axes of `x` were laid out flat, those of one size together; it is
    told which they are."""
    rank = len(windows)
    flat, alike = x.flatten(-rank), dict[int, list[tuple[int, list[int]]]]()
    for number, choice in enumerate(product(*windows)):
        positions = [0]
        for axis, chosen in enumerate(choice):
            positions = [p * x.shape[axis - rank] + i for p in positions for i in chosen]
        alike.setdefault(len(positions), []).append((number, positions))
    found = []
    for some in alike.values():
        places = torch.tensor([positions for _, positions in some], dtype=torch.long, device=x.device)
        found.append(pool(flat[..., places], [number for number, _ in some]))
    order = [number for some in alike.values() for number, _ in some]
    back = torch.tensor(sorted(range(len(order)), key=order.__getitem__), device=x.device)
    joined = found[0] if len(found) == 1 else torch.cat(found, -1)[..., back]
    return joined.reshape(*x.shape[:-rank], *(len(w) for w in windows))


@rule("avg_pool2d", "avg_pool3d")
def _avg_pool(
    self: Tensor, kernel_size: list[int], stride: list[int], padding: list[int], ceil_mode: bool, count_include_pad: bool,
    divisor_override: int | None, name: str, result: Tensor,
) -> Tensor:  # fmt: skip
    rank = 2 if "2d" in name else 3
    kernel, padding = _spread(kernel_size, rank), _spread(padding, rank)
    steps = _spread(stride, rank) if stride else kernel
    sizes, counts = self.shape[-rank:], result.shape[-rank:]
    windows = [_windows(*w) for w in zip(sizes, kernel, steps, padding, [1] * rank, counts, strict=True)]
    # the divisor counts the padding within the padded input
    padded = [
        [min(o * s - p + k, n + p) - (o * s - p) for o in range(c)]
        for n, k, s, p, c in zip(sizes, kernel, steps, padding, counts, strict=True)
    ]
    divisors = [math.prod(choice) for choice in product(*padded)]

    def mean(window: Tensor, which: list[int]) -> Tensor:
        own = divisor_override if divisor_override is not None or count_include_pad else window.shape[-1]
        each = [own or divisors[n] for n in which]
        alike = len(set(each)) == 1
        return window.sum(-1) / (each[0] if alike else torch.tensor(each, dtype=window.dtype, device=window.device))

    return _pooled(self, windows, mean)


@rule("avg_pool2d_backward", "avg_pool3d_backward")
def _avg_pool_backward(grad_output: Tensor, self: Tensor, name: str, **settings: Any) -> Tensor:
    return pulled(lambda x: _avg_pool(x, name=name, result=grad_output, **settings), [self], grad_output)[0]


@rule("_adaptive_avg_pool2d", "_adaptive_avg_pool3d")
def _adaptive_avg_pool(self: Tensor, output_size: list[int]) -> Tensor:
    rank = len(output_size)
    windows = [
        [list(range(o * n // c, -(-(o + 1) * n // c))) for o in range(c)]
        for n, c in zip(self.shape[-rank:], output_size, strict=True)
    ]
    return _pooled(self, windows, lambda window, _: window.mean(-1))


@rule("_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward")
def _adaptive_avg_pool_backward(grad_output: Tensor, self: Tensor, name: str) -> Tensor:
    rank = 2 if "2d" in name else 3
    return pulled(lambda x: _adaptive_avg_pool(x, list(grad_output.shape[-rank:])), [self], grad_output)[0]


@rule("max_pool2d_with_indices", "max_pool3d_with_indices")
def _max_pool(
    self: Tensor, kernel_size: list[int], stride: list[int], padding: list[int], dilation: list[int], name: str, result: Any
) -> tuple[Tensor, Tensor]:
    rank = 2 if "2d" in name else 3
    kernel, padding, dilation = (_spread(v, rank) for v in (kernel_size, padding, dilation))
    steps = _spread(stride, rank) if stride else kernel
    counts = result[0].shape[-rank:]
    windows = [_windows(*w) for w in zip(self.shape[-rank:], kernel, steps, padding, dilation, counts, strict=True)]
    return _pooled(self, windows, lambda window, _: window.amax(-1)), result[1]


@rule("adaptive_max_pool2d", "adaptive_max_pool3d")
def _adaptive_max_pool(self: Tensor, output_size: list[int], result: Any) -> tuple[Tensor, Tensor]:
    rank = len(output_size)
    windows = [
        [list(range(o * n // c, -(-(o + 1) * n // c))) for o in range(c)]
        for n, c in zip(self.shape[-rank:], output_size, strict=True)
    ]
    return _pooled(self, windows, lambda window, _: window.amax(-1)), result[1]


@rule("fractional_max_pool2d", "fractional_max_pool3d")
def _fractional_max_pool(
    self: Tensor, kernel_size: list[int], output_size: list[int], random_samples: Tensor, result: Any
) -> tuple[Tensor, Tensor]:
    rank = len(output_size)
    flat, indices = self.flatten(-rank), result[1].flatten(-rank)
    return flat.gather(-1, indices).reshape(result[0].shape), result[1]


@rule(
    "max_pool2d_with_indices_backward", "max_pool3d_with_indices_backward", "adaptive_max_pool2d_backward",
    "adaptive_max_pool3d_backward", "fractional_max_pool2d_backward", "fractional_max_pool3d_backward",
)  # fmt: skip
def _max_pool_backward(grad_output: Tensor, self: Tensor, indices: Tensor, name: str) -> Tensor:
    rank = 2 if "2d" in name else 3
    zeros = torch.zeros_like(self).flatten(-rank)
    return zeros.scatter_add(-1, indices.flatten(-rank), grad_output.flatten(-rank)).reshape(self.shape)


# -- what moves entries, transposed -------------------------------------------------------------------------------------------


def _forward(name: str) -> Any:
    return getattr(aten, name.removesuffix("_backward")).default


@rule(*(f"{kind}_pad{n}d_backward" for kind in ("reflection", "replication") for n in (1, 2, 3)))
def _pad_backward(grad_output: Tensor, self: Tensor, padding: list[int], name: str) -> Tensor:
    return scattered(grad_output, lambda x: _forward(name)(x, padding), self.shape)


@rule(*(f"{kind}{n}d_backward" for kind in ("upsample_nearest", "_upsample_nearest_exact") for n in (1, 2, 3)))
def _nearest_backward(
    grad_output: Tensor, output_size: list[int], input_size: list[int], name: str, scales: float | None = None,
    scales_d: float | None = None, scales_h: float | None = None, scales_w: float | None = None,
) -> Tensor:  # fmt: skip
    factors = [scales, scales_d, scales_h, scales_w]
    rank = len(input_size) - 2
    given = factors[:1] if rank == 1 else factors[4 - rank :]
    return scattered(grad_output, lambda x: _forward(name)(x, output_size, *given), input_size)


@rule("unfold_backward")
def _unfold_backward(grad_in: Tensor, input_sizes: list[int], dim: int, size: int, step: int) -> Tensor:
    return scattered(grad_in, lambda x: x.unfold(dim, size, step), input_sizes)


@rule("col2im")
def _col2im(
    self: Tensor, output_size: list[int], kernel_size: list[int], dilation: list[int], padding: list[int], stride: list[int]
) -> Tensor:
    channels = self.shape[-2] // math.prod(kernel_size)
    shape = [*self.shape[:-2], channels, *output_size]
    return scattered(self, lambda x: aten.im2col(x, kernel_size, dilation, padding, stride), shape)


@rule("embedding_dense_backward")
def _embedding_backward(
    grad_output: Tensor, indices: Tensor, num_weights: int, padding_idx: int, scale_grad_by_freq: bool
) -> Tensor:
    flat, rows = indices.reshape(-1), grad_output.reshape(indices.numel(), -1)
    with paused():
        counts = torch.bincount(flat, minlength=num_weights)[flat].unsqueeze(-1)
        used = flat != padding_idx
    if scale_grad_by_freq:
        rows = rows / counts
    return grad_output.new_zeros(num_weights, rows.shape[-1]).index_add(0, flat[used], rows[used])


@rule("masked_scatter_backward")
def _masked_scatter_backward(grad_output: Tensor, mask: Tensor, sizes: list[int]) -> Tensor:
    chosen = grad_output.masked_select(mask)
    return torch.cat([chosen, chosen.new_zeros(math.prod(sizes) - chosen.numel())]).reshape(sizes)


# -- interpolation ----------------------------------------------------------------------------------


_INTERPOLATIONS = ("upsample_linear1d", "upsample_bilinear2d", "upsample_bicubic2d", "upsample_trilinear3d",
                   "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa")  # fmt: skip


def _weights(
    name: str, axis: int, rank: int, sizes: tuple[int, int], corners: bool, scale: float | None, like: Tensor
) -> Tensor:
    """The matrix of an interpolation along one axis, from torch's own result for the unit vectors: constants of its kernel."""
    with paused():
        # the unit vectors lie side by side along another axis, which keeps its size, or in a batch where there is none
        other = (axis + 1) % rank
        full = [sizes[0] if a in (axis, other) else 1 for a in range(rank)]
        output = [sizes[1] if a == axis else full[a] for a in range(rank)]
        units = identity(like, sizes[0]).reshape([sizes[0] if rank == 1 else 1, 1, *full])
        scales = [scale if a == axis else None for a in range(rank)]
        found = getattr(aten, name).default(units, output, corners, *scales)
        found = found.reshape([sizes[0], sizes[1]]) if rank == 1 or other < axis else found.reshape([sizes[1], sizes[0]]).mT
        entries = [w.clone() for w in found.reshape(-1)]
    return blurred(torch.stack(entries).reshape(sizes), 4.0)  # the kernel makes them of coordinates of several units


def _interpolated(x: Tensor, name: str, inputs: Sequence[int], outputs: Sequence[int], scales: Sequence[Any], *,
                  corners: bool, transpose: bool) -> Tensor:  # fmt: skip
    """Along every axis in turn; from outputs to inputs if transposed."""
    rank = len(outputs)
    for axis in range(rank):
        matrix = _weights(name, axis, rank, (inputs[axis], outputs[axis]), corners, scales[axis], x)
        x = (x.transpose(axis - rank, -1) @ (matrix.mT if transpose else matrix)).transpose(axis - rank, -1)
    return x


def _chosen(rank: int, scales: Any, scales_d: Any, scales_h: Any, scales_w: Any) -> list[float | None]:
    return [scales] if rank == 1 else [scales_d, scales_h, scales_w][3 - rank :]


@rule(*_INTERPOLATIONS)
def _interpolation(
    self: Tensor, output_size: list[int], align_corners: bool, name: str, scales: float | None = None,
    scales_d: float | None = None, scales_h: float | None = None, scales_w: float | None = None,
) -> Tensor:  # fmt: skip
    rank = len(output_size)
    factors = _chosen(rank, scales, scales_d, scales_h, scales_w)
    return _interpolated(self, name, self.shape[2:], output_size, factors, corners=align_corners, transpose=False)


@rule(*(f"{name}_backward" for name in _INTERPOLATIONS))
def _interpolation_backward(
    grad_output: Tensor, output_size: list[int], input_size: list[int], align_corners: bool, name: str,
    scales: float | None = None, scales_d: float | None = None, scales_h: float | None = None, scales_w: float | None = None,
) -> Tensor:  # fmt: skip
    rank = len(output_size)
    factors = _chosen(rank, scales, scales_d, scales_h, scales_w)
    forward = name.removesuffix("_backward")
    inputs = input_size[2:]
    return _interpolated(grad_output, forward, inputs, output_size, factors, corners=align_corners, transpose=True)


def _placed(x: Tensor, size: int, padding_mode: int, align_corners: bool) -> Tensor:
    """Coordinates from -1 to 1 as positions along an axis; outside of it as ATen has them: 0 as they are, 1 at the border, 2
    reflected."""
    x = (x + 1) / 2 * (size - 1) if align_corners else ((x + 1) * size - 1) / 2
    if padding_mode == 2:
        low, high = (0.0, size - 1.0) if align_corners else (-0.5, size - 0.5)
        if high == low:
            return torch.zeros_like(x)
        x = (x - low).abs()
        turns = (x / (high - low)).floor()
        extra = x - turns * (high - low)
        x = torch.where(turns % 2 == 0, extra + low, high - extra)
    return x.clamp(0, size - 1) if padding_mode else x


@rule("affine_grid_generator")
def _affine_grid(theta: Tensor, size: list[int], align_corners: bool) -> Tensor:
    """The centres of pixels (or their corners: from -1 to 1) in a matrix's own coordinates, the last axis first."""
    with paused():
        axes = []
        for count in size[2:]:
            end = 0.0 if count == 1 else 1.0 if align_corners else (count - 1) / count
            axes.append(torch.linspace(-end, end, count, dtype=theta.dtype, device=theta.device))
        places = torch.meshgrid(*axes, indexing="ij")
        base = torch.stack([*reversed(places), torch.ones_like(places[0])], -1).flatten(0, -2)
    return (base.expand(size[0], *base.shape) @ theta.mT).view(size[0], *size[2:], len(axes))


@rule("grid_sampler_2d", "grid_sampler_3d")
def _grid_sampler(input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool) -> Tensor:
    """The sum over the corners around each position, 0 outside; 1: the nearest one; 2: as torch decomposes it."""
    n, c, *sizes = input.shape
    rank = len(sizes)
    if interpolation_mode == 2:
        found: Tensor = decomposition(aten.grid_sampler_2d.default)(
            input, grid, interpolation_mode, padding_mode, align_corners
        )
        return found
    one = [1] * (2 * rank)  # the places in the result, then the corners
    batch = torch.arange(n, device=input.device).view(n, 1, *one)
    channels = torch.arange(c, device=input.device).view(1, c, *one)
    index, weights = list[Tensor](), list[Tensor]()
    for axis, size in enumerate(sizes):
        x = _placed(grid[..., rank - 1 - axis], size, padding_mode, align_corners)
        if interpolation_mode:
            at = x.round().unsqueeze(-1)
            share = torch.ones_like(at)
        else:
            below = x.floor()
            above = below + 1
            at, share = torch.stack([below, above], -1), torch.stack([above - x, x - below], -1)
        inside = (at >= 0).logical_and(at <= size - 1)
        corners = (n, 1, *x.shape[1:], *(at.shape[-1] if a == axis else 1 for a in range(rank)))
        weights.append(torch.where(inside, share, 0.0).view(corners))
        index.append(torch.where(inside, at, 0.0).to(torch.int64).view(corners))
    return (input[batch, channels, *index] * functools.reduce(torch.mul, weights)).flatten(-rank).sum(-1)


@rule("grid_sampler_2d_backward", "grid_sampler_3d_backward")
def _grid_backward(
    grad_output: Tensor, input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool,
    result: Any,
) -> list[Tensor | None]:  # fmt: skip
    settings = interpolation_mode, padding_mode, align_corners
    found = pulled(lambda x, g: _grid_sampler(x, g, *settings), [input, grid], grad_output)
    # the grid's is there, unasked for, too
    return [None if given is None else f for f, given in zip(found, result, strict=True)]


@rule("cudnn_grid_sampler")
def _cudnn_grid(self: Tensor, grid: Tensor) -> Tensor:
    return _grid_sampler(self, grid, 0, 0, True)


@rule("cudnn_grid_sampler_backward")
def _cudnn_grid_backward(self: Tensor, grid: Tensor, grad_output: Tensor) -> list[Tensor]:
    return pulled(_cudnn_grid, [self, grid], grad_output)

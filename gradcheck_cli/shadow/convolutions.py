"""Convolutions of any rank, also transposed, and their gradients, as dot products over any layer.

A convolution is a sum of products input[i]*weight[w] into output[o]; which triples (o, i, w) meet is geometry. The output
gathers them by o, the gradient of the input by i, that of the weight by w.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.algebra.layers import Cell, Layer

Indices = npt.NDArray[np.int64]
Sizes = tuple[int, ...]
Flat = list[Cell]
"""The cells of one tensor, in order."""


@lru_cache(maxsize=64)
def _triples(
    output: Sizes, inputs: Sizes, weight: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> tuple[Indices, Indices, Indices]:
    """The triples of an ordinary convolution: flat positions in the output, the input and the weight."""
    rank = len(stride)
    # along each axis: the (output, kernel) pairs that hit the input, and where
    hits = []
    for axis in range(rank):
        i = taps(output[2 + axis], inputs[2 + axis], weight[2 + axis], stride[axis], padding[axis], dilation[axis])
        o, k = np.nonzero(i >= 0)
        hits.append((o, i[o, k], k))
    flat: list[Indices] = [np.zeros(1, dtype=np.int64) for _ in range(3)]
    for axis, found in enumerate(hits):
        sizes = (output[2 + axis], inputs[2 + axis], weight[2 + axis])
        flat = [(f[:, None] * n + h[None, :]).reshape(-1) for f, h, n in zip(flat, found, sizes, strict=True)]
    batch, channels, own = output[0], output[1], weight[1]
    n, co, ci = (a.reshape(-1, 1) for a in np.meshgrid(np.arange(batch), np.arange(channels), np.arange(own), indexing="ij"))
    group = co // (channels // groups)
    space = [math.prod(s[2:]) for s in (output, inputs, weight)]
    o = (n * channels + co) * space[0] + flat[0]
    i = (n * inputs[1] + group * own + ci) * space[1] + flat[1]
    w = (co * own + ci) * space[2] + flat[2]
    return o.reshape(-1), i.reshape(-1), w.reshape(-1)


def taps(outputs: int, inputs: int, kernel: int, stride: int, padding: int, dilation: int) -> Indices:
    """Along one axis, for each position of the output and each of the kernel: where they meet the input, -1 where not."""
    o, k = np.meshgrid(np.arange(outputs), np.arange(kernel), indexing="ij")
    i = o * stride - padding + k * dilation
    return np.where((i >= 0) & (i < inputs), i, -1)


def settings_of(bound: Mapping[str, Any]) -> tuple[Sizes, Sizes, Sizes]:
    """Stride, padding and dilation along each axis."""
    rank = bound["weight"].dim() - 2
    stride, padding, dilation = (tuple(bound[n]) for n in ("stride", "padding", "dilation"))
    return tuple(s * rank if len(s) == 1 else s for s in (stride, padding, dilation))  # type: ignore[return-value]


Meeting = tuple[list[int], list[int], list[int]]
"""The positions of the left and of the right factors of all dot products, one product after another, and where each begins."""


@lru_cache(maxsize=256)
def _meetings(target: int, count: int, transposed: bool, output: Sizes, inputs: Sizes, *geometry: Any) -> Meeting:
    """What meets in each of `count` entries of the output (0), the input (1) or the weight (2): the others, in this order.
    A transposed convolution is an ordinary one from its output to its input."""
    triples = _triples(inputs, output, *geometry) if transposed else _triples(output, inputs, *geometry)
    o, i, w = (triples[1], triples[0], triples[2]) if transposed else triples
    targets, left, right = ((o, i, w), (i, o, w), (w, o, i))[target]
    order = np.argsort(targets, kind="stable")
    ends = np.searchsorted(targets[order], np.arange(count + 1))
    return left[order].tolist(), right[order].tolist(), ends.tolist()


def _gather(target: int, count: int, bound: Mapping[str, Any], output: Sizes, xs: Flat, ys: Flat, layer: Layer) -> Flat:
    """For each entry of the target the dot product of the xs and ys that meet there."""
    inputs, weight = tuple(bound["input"].shape), tuple(bound["weight"].shape)
    geometry = weight, *settings_of(bound), bound["groups"]
    left, right, ends = _meetings(target, count, bool(bound["transposed"]), output, inputs, *geometry)
    one, other = [xs[i] for i in left], [ys[i] for i in right]
    return [layer.dot(one[s:e], other[s:e], parts=True) for s, e in pairwise(ends)]


def convolve(bound: Mapping[str, Any], output: tuple[int, ...], layer: Layer, inputs: Flat, weight: Flat) -> Flat:
    """The output's cells, without bias."""
    return _gather(0, math.prod(output), bound, output, inputs, weight, layer)


def convolve_backward(
    bound: Mapping[str, Any], layer: Layer, grads: Flat, inputs: Flat, weight: Flat, needed: Sequence[bool]
) -> list[Flat]:
    """The gradients of input and weight, where they are needed."""
    output = tuple(bound["grad_output"].shape)
    return [
        _gather(1, len(inputs), bound, output, grads, weight, layer) if needed[0] else [],
        _gather(2, len(weight), bound, output, grads, inputs, layer) if needed[1] else [],
    ]

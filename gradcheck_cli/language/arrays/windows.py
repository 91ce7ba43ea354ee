"""Rows of neural networks: what looks at windows of an array (convolutions, pools), what normalizes parts of it, attention."""

from __future__ import annotations

import math
from functools import partialmethod

import numpy as np

from gradcheck_cli.language import syntax
from gradcheck_cli.language.arrays.cells import INFINITE, Array, array_of, axes_of, followed
from gradcheck_cli.language.arrays.losses import Losses
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.spaces import Shape
from gradcheck_cli.language.tree import Call, Constant

_NORMALIZED = parse("(x - mean(x, d, True))/sqrt(var(x, d, 0, True) + eps)", settings=frozenset({"d", "eps"}))
_SCORES = parse("q @ transpose(k, -2, -1)/sqrt(size(k, -1)) + mask")
_SOFTMAX, _AFFINE = parse("softmax(x, -1)"), parse("x*w + b")


class Windows(Losses):
    """The `array` column of layers."""

    def unfold(self, x: Array, dimension: int, size: int, step: int) -> Array:
        (axis,) = axes_of(x, dimension)
        return np.moveaxis(self.windows(np.moveaxis(x, axis, -1), (size,), (step,), (1,)), -2, axis)

    def windows(self, x: Array, sizes: Shape, steps: Shape, dilations: Shape) -> Array:
        """What the windows over the last dimensions see: first the windows in those, then what is in each."""
        first = x.ndim - len(sizes)
        for axis, (size, step, dilation) in enumerate(zip(sizes, steps, dilations, strict=True), first):
            count = (x.shape[axis] - (size - 1) * dilation - 1) // max(step, 1) + 1
            if min(size, step, dilation, count) < 1:
                raise ValueError(f"a window of {size} doesn't fit into {x.shape[axis]} entries")
            seen = np.arange(count)[:, None] * step + np.arange(size) * dilation
            x = np.moveaxis(x.take(seen, axis), axis + 1, -1)
        return x

    def over(self, x: Array, n: int, sizes: Shape, steps: Shape, padding: Shape, dilations: Shape, fill: Array) -> Array:
        """Windows over the last n dimensions, of which something stands around."""
        if x.ndim not in (n + 1, n + 2):
            raise ValueError(f"{n + 1} or {n + 2} dimensions are needed")
        around = [w for width in reversed(spread_over(padding, n)) for w in (width, width)]
        wide = self.pad(x, tuple(around), "constant", fill) if any(around) else x
        return self.windows(wide, spread_over(sizes, n), spread_over(steps or sizes, n), spread_over(dilations, n))

    def conv(
        self, n: int, x: Array, weight: Array, bias: Array, stride: Shape, padding: Shape, dilation: Shape, groups: Array
    ) -> Array:
        parts = groups.item().value
        if weight.ndim != n + 2 or x.ndim not in (n + 1, n + 2):
            raise ValueError(f"a kernel of {n + 2} dimensions is needed, and an array of as many, or one less")
        if not parts or len(weight) % parts or x.shape[-n - 1] != weight.shape[1] * parts:
            raise ValueError("the channels don't fit")
        seen = self.over(x if x.ndim == n + 2 else x[None], n, weight.shape[2:], stride, padding, dilation, _zero())
        each, inside = len(weight) // parts, weight.shape[1]
        shape = (len(seen), len(weight), *seen.shape[2 : 2 + n])
        found = np.empty(followed(shape), dtype=object)
        for place in np.ndindex(shape):
            first = place[1] // each * inside
            part = seen[(place[0], slice(first, first + inside), *place[2:])]
            products = [self.node(syntax.MUL, a, b) for a, b in zip(part.ravel(), weight[place[1]].ravel(), strict=True)]
            found[place] = self.fold(syntax.ADD, products)
        found = self.run(_AFFINE, {"x": found, "w": array_of([Constant(1)], ()), "b": by_channel(bias, n)}, inside=True)
        return found if x.ndim == n + 2 else found[0]

    conv1d, conv2d = partialmethod(conv, 1), partialmethod(conv, 2)

    def max_pool(self, n: int, x: Array, kernel_size: Shape, stride: Shape, padding: Shape, dilation: Shape) -> Array:
        least = array_of([Call(syntax.NEG, (INFINITE,))], ())
        return self.pooled(syntax.MAXIMUM, self.over(x, n, kernel_size, stride, padding, dilation, least), n)

    max_pool1d, max_pool2d = partialmethod(max_pool, 1), partialmethod(max_pool, 2)

    def avg_pool(self, n: int, x: Array, kernel_size: Shape, stride: Shape, padding: Shape) -> Array:
        sums = self.pooled(syntax.ADD, self.over(x, n, kernel_size, stride, padding, (1,), _zero()), n)
        count = Constant(math.prod(spread_over(kernel_size, n)))
        return array_of([self.node(syntax.DIV, a, count) for a in sums.ravel()], sums.shape)

    avg_pool1d, avg_pool2d = partialmethod(avg_pool, 1), partialmethod(avg_pool, 2)

    def pooled(self, function: str, seen: Array, n: int) -> Array:
        shape = seen.shape[: seen.ndim - n]
        return array_of([self.fold(function, list(row)) for row in seen.reshape(math.prod(shape), -1)], shape)

    def normalized(self, x: Array, axes: Shape, eps: Array) -> Array:
        return self.run(_NORMALIZED, {"x": x, "d": axes, "eps": eps}, inside=True)

    def scaled(self, x: Array, weight: Array, bias: Array) -> Array:
        """Each channel times its weight, and its bias; channels are the second dimension."""
        factors = {"w": by_channel(weight, x.ndim - 2), "b": by_channel(bias, x.ndim - 2)}
        return self.run(_AFFINE, {"x": x, **factors}, inside=True)

    def group_norm(self, x: Array, num_groups: Array, weight: Array, bias: Array, eps: Array) -> Array:
        groups = num_groups.item().value
        if x.ndim < 2 or not groups or x.shape[1] % groups:
            raise ValueError("the channels, the second dimension, are parted into equal groups")
        whole = self.normalized(x.reshape(len(x), groups, -1), (2,), eps)
        return self.scaled(whole.reshape(x.shape), weight, bias)

    def batch_norm(
        self, x: Array, mean: Array, var: Array, weight: Array, bias: Array, training: bool, momentum: Array, eps: Array
    ) -> Array:
        if x.ndim < 2:
            raise ValueError("channels are the second dimension")
        if not training or mean.ndim or var.ndim:
            raise ValueError("training=True is followed, without running statistics, which a call would change")
        return self.scaled(self.normalized(x, (0, *range(2, x.ndim)), eps), weight, bias)

    def instance_norm(self, x: Array, weight: Array, bias: Array, eps: Array) -> Array:
        if x.ndim < 3:
            raise ValueError("a batch, channels and more dimensions are needed")
        return self.scaled(self.normalized(x, tuple(range(2, x.ndim)), eps), weight, bias)

    def attention(self, q: Array, k: Array, v: Array, mask: Array, is_causal: bool) -> Array:
        """Of a row that looks back, what stands behind it has no weight."""
        scores = self.run(_SCORES, {"q": q, "k": k, "mask": mask}, inside=True)
        if not is_causal:
            return self.matmul(self.run(_SOFTMAX, {"x": scores}, inside=True), v)
        weights = np.full(scores.shape, Constant(0), dtype=object)
        for row in range(scores.shape[-2]):
            weights[..., row, : row + 1] = self.run(_SOFTMAX, {"x": scores[..., row, : row + 1]}, inside=True)
        return self.matmul(weights, v)


def _zero() -> Array:
    return array_of([Constant(0)], ())


def spread_over(sizes: Shape, n: int) -> Shape:
    """A size for each of n dimensions, of which one may stand for all."""
    if len(sizes) not in (1, n):
        raise ValueError(f"{n} sizes are needed, or one for all")
    return sizes * n if len(sizes) == 1 else sizes


def by_channel(factors: Array, behind: int) -> Array:
    """A factor for each channel, whatever stands behind it."""
    if not (factors.ndim == 1 or isinstance(factors.item(), Constant)):
        raise ValueError("one number for each channel is needed")
    return factors.reshape(-1, *(1,) * behind) if factors.ndim else factors

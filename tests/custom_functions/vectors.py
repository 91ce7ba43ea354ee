"""Custom Functions that mix the entries of a vector: reductions, normalisations, indices, cumulative sums, losses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


class Sum(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        return x.sum()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g.expand(ctx.shape)


class Mean(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        return x.mean()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g.expand(ctx.shape) / ctx.shape.numel()


class MeanSquare(Function):
    """The loss of a regression."""

    @staticmethod
    def forward(ctx: Any, prediction: Tensor, target: Tensor) -> Tensor:
        ctx.save_for_backward(prediction, target)
        return ((prediction - target) ** 2).mean()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        prediction, target = ctx.saved_tensors
        grad = 2 * g * (prediction - target) / prediction.numel()
        return grad, -grad


class Norm(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = (x * x).sum().sqrt()
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, y = ctx.saved_tensors
        return g * x / y


class LogSumExp(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.exp().sum(-1).log()
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, y = ctx.saved_tensors
        return g.unsqueeze(-1) * (x - y.unsqueeze(-1)).exp()


class Softmax(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        e = torch.exp(x)
        y = e / e.sum(-1, keepdim=True)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        _, y = ctx.saved_tensors
        return y * (g - (g * y).sum(-1, keepdim=True))


class LogSoftmax(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x - x.exp().sum(-1, keepdim=True).log()
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        _, y = ctx.saved_tensors
        return g - y.exp() * g.sum(-1, keepdim=True)


class CrossEntropy(Function):
    """With integer targets; the mean over the batch."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> Tensor:
        e = logits.exp()
        p = e / e.sum(-1, keepdim=True)
        ctx.save_for_backward(p, target)
        return -p[torch.arange(len(target)), target].log().mean()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        p, target = ctx.saved_tensors
        grad = p.clone()
        grad[torch.arange(len(target)), target] -= 1
        return g * grad / len(target), None


class BinaryCrossEntropy(Function):
    @staticmethod
    def forward(ctx: Any, p: Tensor, t: Tensor) -> Tensor:
        ctx.save_for_backward(p, t)
        return -(t * p.log() + (1 - t) * (1 - p).log()).mean()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        p, t = ctx.saved_tensors
        return g * (p - t) / (p * (1 - p)) / p.numel(), g * ((1 - p).log() - p.log()) / p.numel()


class LayerNorm(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        mean = x.mean(-1, keepdim=True)
        rstd = 1 / torch.sqrt(((x - mean) ** 2).mean(-1, keepdim=True) + 1 / 1024)
        normal = (x - mean) * rstd
        ctx.save_for_backward(normal, rstd, weight)
        return normal * weight + bias

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        normal, rstd, weight = ctx.saved_tensors
        h = g * weight
        grad = rstd * (h - h.mean(-1, keepdim=True) - normal * (h * normal).mean(-1, keepdim=True))
        return grad, (g * normal).sum(0), g.sum(0)


class RMSNorm(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        r = 1 / torch.sqrt((x * x).mean(-1, keepdim=True))
        ctx.save_for_backward(x, r)
        return x * r

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, r = ctx.saved_tensors
        return g * r - x * r**3 * (g * x).mean(-1, keepdim=True)


class Variance(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return ((x - x.mean()) ** 2).sum() / (x.numel() - 1)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return g * 2 * (x - x.mean()) / (x.numel() - 1)


class CumulativeSum(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.cumsum(0)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g.flip(0).cumsum(0).flip(0)


class Difference(Function):
    """x[i + 1] - x[i]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x[1:] - x[:-1]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        grad = torch.zeros(len(g) + 1, dtype=g.dtype)
        grad[1:] += g
        grad[:-1] -= g
        return grad


class RollProduct(Function):
    """x[i + 1]*x[i], around the end."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.cat([x[1:], x[:1]]) * x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        before = g * x
        return g * torch.cat([x[1:], x[:1]]) + torch.cat([before[-1:], before[:-1]])


class Gather(Function):
    """Chosen entries, one of them twice."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.length = len(x)
        return x[index]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (index,) = ctx.saved_tensors
        return torch.zeros(ctx.length, dtype=g.dtype).index_add(0, index, g), None


class Interpolate(Function):
    """Linear interpolation in a table: a gradient for the table and one for the place."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, place: Tensor) -> Tensor:
        low = place.floor().long()
        part = place - low
        ctx.save_for_backward(table, low, part)
        return table[low] * (1 - part) + table[low + 1] * part

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        table, low, part = ctx.saved_tensors
        grad = torch.zeros_like(table).index_add(0, low, g * (1 - part)).index_add(0, low + 1, g * part)
        return grad, g * (table[low + 1] - table[low])


class Maximum(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y, index = x.max(-1)
        ctx.save_for_backward(index)
        ctx.size = x.shape[-1]
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (index,) = ctx.saved_tensors
        grad = torch.zeros(*index.shape, ctx.size, dtype=g.dtype)
        return grad.scatter(-1, index.unsqueeze(-1), g.unsqueeze(-1))


class Normalize(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        n = (x * x).sum(-1, keepdim=True).sqrt()
        y = x / n
        ctx.save_for_backward(y, n)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        y, n = ctx.saved_tensors
        return (g - y * (g * y).sum(-1, keepdim=True)) / n


class CosineSimilarity(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        a, b = (x * x).sum().sqrt(), (y * y).sum().sqrt()
        c = (x * y).sum() / (a * b)
        ctx.save_for_backward(x, y, a, b, c)
        return c

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, y, a, b, c = ctx.saved_tensors
        return g * (y / (a * b) - c * x / (a * a)), g * (x / (a * b) - c * y / (b * b))

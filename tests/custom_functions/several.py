"""Custom Functions of several tensors: products, broadcasting, matrices, a convolution, several outputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


class Multiply(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, y = ctx.saved_tensors
        return g * y, g * x


class Divide(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(x, y)
        return x / y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, y = ctx.saved_tensors
        return g / y, -g * x / (y * y)


class Hypot(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        r = torch.sqrt(x * x + y * y)
        ctx.save_for_backward(x, y, r)
        return r

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, y, r = ctx.saved_tensors
        return g * x / r, g * y / r


class MultiplyAdd(Function):
    """a*x + b, the gradients only where they are asked for."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, x: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, x)
        return a * x + b

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        a, x = ctx.saved_tensors
        grads: list[Tensor | None] = [None, None, None]
        if ctx.needs_input_grad[0]:
            grads[0] = g * x
        if ctx.needs_input_grad[1]:
            grads[1] = g * a
        if ctx.needs_input_grad[2]:
            grads[2] = g
        return tuple(grads)


class ScaleRows(Function):
    """A weight for each column, broadcast over the rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x * weight

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        return g * weight, (g * x).sum(0)


class MatMul(Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return a @ b

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        a, b = ctx.saved_tensors
        return g @ b.t(), a.t() @ g


class Linear(Function):
    """As in PyTorch's notes on extending autograd."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(input, weight, bias)
        return input.mm(weight.t()) + bias.unsqueeze(0).expand(len(input), -1)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        input, weight, _ = ctx.saved_tensors
        return g.mm(weight), g.t().mm(input), g.sum(0)


class Quadratic(Function):
    """x A x for a square matrix that isn't symmetric."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor) -> Tensor:
        ctx.save_for_backward(x, a)
        return (x * (a @ x)).sum()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, a = ctx.saved_tensors
        return g * (a @ x + a.t() @ x), g * torch.outer(x, x)


class Bilinear(Function):
    """x A y."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(x, a, y)
        return (x * (a @ y)).sum()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, a, y = ctx.saved_tensors
        return g * (a @ y), g * torch.outer(x, y), g * (a.t() @ x)


class Outer(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(x, y)
        return x.unsqueeze(1) * y.unsqueeze(0)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, y = ctx.saved_tensors
        return (g * y).sum(1), (g * x.unsqueeze(1)).sum(0)


class Conv1d(Function):
    """One channel, no padding, by unfolded windows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor) -> Tensor:
        ctx.save_for_backward(x, kernel)
        return (x.unfold(0, len(kernel), 1) * kernel).sum(-1)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, kernel = ctx.saved_tensors
        grad = torch.zeros_like(x)
        for k in range(len(kernel)):
            grad[k : k + len(g)] += g * kernel[k]
        return grad, (x.unfold(0, len(kernel), 1) * g.unsqueeze(-1)).sum(0)


class AveragePool(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view(-1, 2).mean(-1)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g.repeat_interleave(2) / 2


class Distance(Function):
    """Squared distances of all pairs of rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        difference = x.unsqueeze(1) - y.unsqueeze(0)
        ctx.save_for_backward(x, y)
        return (difference * difference).sum(-1)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, y = ctx.saved_tensors
        grad = 2 * g.unsqueeze(-1) * (x.unsqueeze(1) - y.unsqueeze(0))
        return grad.sum(1), -grad.sum(0)


class Polar(Function):
    """Two inputs, two outputs."""

    @staticmethod
    def forward(ctx: Any, r: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(r, t)
        return r * t.cos(), r * t.sin()

    @staticmethod
    def backward(ctx: Any, gx: Tensor, gy: Tensor) -> Any:
        r, t = ctx.saved_tensors
        return gx * t.cos() + gy * t.sin(), r * (gy * t.cos() - gx * t.sin())


class Attention(Function):
    """softmax(q k^T) v of a single head."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        e = torch.exp(q @ k.t())
        p = e / e.sum(-1, keepdim=True)
        ctx.save_for_backward(q, k, v, p)
        return p @ v

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        q, k, v, p = ctx.saved_tensors
        s = g @ v.t()
        s = p * (s - (s * p).sum(-1, keepdim=True))
        return s @ k, s.t() @ q, p.t() @ g

"""Functions, autograd Functions and networks that golden.py checks, right and wrong ones. A check sees it as `functions.py`.

Nothing here may change without a new record: what a check says depends on it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

# -- plain functions ----------------------------------------------------------------------------------------------------


def polynomial(x: Tensor) -> Tensor:
    return x**3 - 2 * x + 1


def several(x: Tensor, y: Tensor, scale: float = 2.0) -> tuple[Tensor, dict[str, Tensor]]:
    """Two outputs, nested, and a setting."""
    return (x * y).sum() * scale, {"z": x.exp()}


def swish(x: Tensor, beta: float = 1.5) -> Tensor:
    return x * torch.sigmoid(beta * x)


def flow(x: Tensor) -> Tensor:
    """Control flow that depends on the data."""
    for _ in range(3):
        x = x.sin() if x.sum() > 1 else x.exp()
    return x


def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if causal:
        scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -math.inf)
    return torch.softmax(scores, -1) @ v


def normalised(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def distances(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x, y)


def convolution(x: Tensor, w: Tensor) -> Tensor:
    return torch.nn.functional.conv1d(x, w, padding=1)


def largest(x: Tensor) -> Tensor:
    return torch.topk(x, 2).values


def ranked(x: Tensor) -> Tensor:
    return torch.sort(x).values * torch.arange(1, x.numel() + 1)


def in_place(x: Tensor) -> Tensor:
    y = x.clone()
    y[0] = y[1] * y[2]
    y.mul_(x).add_(1)
    return y


def gathered(x: Tensor) -> Tensor:
    return torch.zeros(2, dtype=x.dtype).index_add(0, torch.tensor([0, 1, 0]), x * x)


def root(x: Tensor) -> Tensor:
    """Infinite slope at 0."""
    return torch.sqrt(x)


def guarded(x: Tensor) -> Tensor:
    """nan at x < 0, from the part that isn't chosen."""
    return torch.where(x > 0, torch.sqrt(x), x)


def exponential_below(x: Tensor) -> Tensor:
    return torch.where(x <= 0, torch.exp(x), 1 + x)


def kinks(x: Tensor) -> Tensor:
    """The derivative at 0 is 1, and torch's conventions say 0."""
    return torch.relu(x) - torch.relu(-x)


def absolute(x: Tensor) -> Tensor:
    return x.abs()


def rounded(x: Tensor) -> Tensor:
    return torch.floor(x) + x


def softplus(x: Tensor) -> Tensor:
    """exp overflows."""
    return torch.log(1 + torch.exp(x))


def length(x: Tensor) -> Tensor:
    """The squares underflow or overflow."""
    return torch.sqrt((x * x).sum())


def tail(x: Tensor) -> Tensor:
    return torch.sigmoid(x)


def hard(x: Tensor) -> Tensor:
    """A constant in torch's kernel is a float of 32 bits."""
    return torch.nn.functional.hardsigmoid(x) * x


def cut(x: Tensor) -> Tensor:
    """Half of the derivative is cut off."""
    return x * x.detach()


def through_float(x: Tensor) -> Tensor:
    return x * float(x.sum())


def not_implemented(x: Tensor) -> Tensor:
    return torch.special.bessel_j0(x) * x


def constant(x: Tensor) -> Tensor:
    return torch.ones_like(x) + 0 * x


def spectrum(x: Tensor) -> Tensor:
    """Complex numbers inside."""
    return torch.fft.rfft(x).abs()


def spectral_sum(x: Tensor) -> Tensor:
    return torch.fft.fft(x).real * x


def outside(x: Tensor) -> Tensor:
    """Numbers leave torch on the way."""
    return x * torch.tensor([v * v for v in x.tolist()], dtype=x.dtype)


def inverse(A: Tensor) -> Tensor:
    return torch.linalg.inv(A)


def determinant(A: Tensor) -> Tensor:
    return torch.linalg.det(A)


def whole(x: Tensor) -> Tensor:
    return x.long()


def nothing(x: Tensor) -> None:
    return None


def no_arguments() -> Tensor:
    return torch.ones(2)


def fails(x: Tensor) -> Tensor:
    raise ValueError("not today")


number = 3

# -- autograd Functions -------------------------------------------------------------------------------------------------


class Square(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return 2 * g * x


class SquareHalf(Square):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g * ctx.saved_tensors[0]


class SquareSign(Square):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return -2 * g * ctx.saved_tensors[0]


class SquareNoUpstream(Square):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return 2 * ctx.saved_tensors[0]


class SquareSlightly(Square):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return 2 * g * ctx.saved_tensors[0] * (1 + 1e-12)


class SquareNone(Square):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return None


class SquareSum(Square):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return (2 * g * ctx.saved_tensors[0]).sum()


class SquareFails(Square):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        raise ZeroDivisionError("division by zero")


class SquareFailsSilently(Square):
    """An exception without a message."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        raise AssertionError


class SquareFloat(Square):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return (2 * g * ctx.saved_tensors[0]).float()


class SquareInPlace(Square):
    """Writes into the upstream gradient."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g.mul_(ctx.saved_tensors[0]).mul_(2)


class SquareSaved(Square):
    """Writes into what it has saved."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        found = 2 * g * x
        x.data.mul_(0.5)
        return found


class SquareRestless(Square):
    """Another gradient each time."""

    runs = 0

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        SquareRestless.runs += 1
        return 2 * g * ctx.saved_tensors[0] * (1 + SquareRestless.runs / 64)


class SquareDamaging(Square):
    """The forward pass writes into its input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x.clone())
        y = x * x
        x.data.zero_()
        return y


class SquareOnce(Square):
    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, g: Tensor) -> Any:
        return 2 * g * ctx.saved_tensors[0]


class Composable(Square):
    """In the style with setup_context, with a jvp."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x * x

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def jvp(ctx: Any, t: Tensor) -> Tensor:
        return 2 * t * ctx.saved_tensors[0]

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Tensor) -> Any:
        return Composable.apply(x), 0


class WrongJvp(Composable):
    @staticmethod
    def jvp(ctx: Any, t: Tensor) -> Tensor:
        return t * ctx.saved_tensors[0]


class WrongVmap(Composable):
    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Tensor) -> Any:
        return WrongVmap.apply(x) * 2, 0


class Dirty(Function):
    """Works in place, and says so."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x.exp_()
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g * ctx.saved_tensors[0]


class Sine(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.sin(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g * torch.cos(ctx.saved_tensors[0])


class SineSlightly(Sine):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g * torch.cos(ctx.saved_tensors[0]) * 1.001


class SineOff(Sine):
    """The value is wrong."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.sin(x) + 1e-3


class Outside(Sine):
    """Computes outside of torch, as an extension does."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.tensor([math.sin(v) for v in x.reshape(-1).tolist()], dtype=x.dtype).reshape(x.shape)


class OutsideWrong(Outside):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return -g * torch.cos(ctx.saved_tensors[0])


class Sigmoid(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = 1 / (1 + torch.exp(-x))
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        _, y = ctx.saved_tensors
        return g * y * (1 - y)


class SigmoidOfInput(Sigmoid):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, _ = ctx.saved_tensors
        return g * x * (1 - x)


class Intermediate(Function):
    """Keeps s = sigmoid(x): a constant to the second derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.s = torch.sigmoid(x)
        return ctx.s.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g * ctx.s * (1 - ctx.s)


class SiLU(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return g * (s + x * s * (1 - s))


class SiLUFactor(SiLU):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return g * (x.sigmoid() + x * x.sigmoid())


class SiLUTerm(SiLU):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g * ctx.saved_tensors[0].sigmoid()


class ReLU(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g * (ctx.saved_tensors[0] > 0)


class ReLUNoMask(ReLU):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g


class ReLUTwo(ReLU):
    """Not between the one-sided derivatives at 0."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x = ctx.saved_tensors[0]
        return g * torch.where(x == 0, 2.0, (x > 0).to(g.dtype))


class Softmax(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = torch.softmax(x, -1)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return y * (g - (g * y).sum(-1, keepdim=True))


class SoftmaxDiagonal(Softmax):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return g * y * (1 - y)


class Mean(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        return x.mean()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g.expand(ctx.shape) / math.prod(ctx.shape)


class MeanSum(Mean):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g.expand(ctx.shape)


class MatMul(Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return a @ b

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        a, b = ctx.saved_tensors
        return g @ b.T, a.T @ g


class MatMulTransposed(MatMul):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        a, b = ctx.saved_tensors
        return g @ b.T, (a.T @ g).T.contiguous()


class Shifted(Function):
    """x[i]*x[i+1], shifted the wrong way in the backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x.roll(-1)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return g * x.roll(-1) + (g * x).roll(-1)


class Weighted(Function):
    """The gradient of the weight isn't summed: torch does it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x * weight

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        return g * weight, g * x


class LayerNorm(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        r = 1 / torch.sqrt(x.var(-1, unbiased=False, keepdim=True) + 1e-5)
        n = (x - x.mean(-1, keepdim=True)) * r
        ctx.save_for_backward(n, r, weight)
        return n * weight

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        n, r, w = ctx.saved_tensors
        h = g * w
        return r * (h - h.mean(-1, keepdim=True) - n * (h * n).mean(-1, keepdim=True)), (g * n).sum(0)


class LayerNormOneMean(LayerNorm):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        n, r, w = ctx.saved_tensors
        h = g * w
        return r * (h - n * (h * n).mean(-1, keepdim=True)), (g * n).sum(0)


class TwoOutputs(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x)
        return x.sin(), x.cos()

    @staticmethod
    def backward(ctx: Any, g: Tensor, h: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return g * x.cos() - h * x.sin()


class Root(Function):
    """A square root by bisection, with the implicit derivative."""

    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        low, high = torch.zeros_like(a), 1 + a
        for _ in range(60):
            middle = (low + high) / 2
            below = middle * middle <= a
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        ctx.save_for_backward(low)
        return low

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g / (2 * ctx.saved_tensors[0])


# -- networks -----------------------------------------------------------------------------------------------------------


def of(function: type[Function]) -> type[nn.Module]:
    """A layer that is the Function."""

    class Layer(nn.Module):
        def forward(self, *inputs: Tensor) -> Any:
            return function.apply(*inputs)

    Layer.__name__ = Layer.__qualname__ = f"{function.__name__}Layer"
    return Layer


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def wrong_activation() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), of(SiLUFactor)(), nn.Linear(4, 2)).double()


def no_mask() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), of(ReLUNoMask)(), nn.Linear(4, 2)).double()


def right_activation() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), of(SiLU)(), nn.Linear(4, 2)).double()


def writes_upstream() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 3), of(SquareInPlace)(), nn.Linear(3, 2)).double()


def saves() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 3), of(SquareSaved)(), nn.Linear(3, 2)).double()


def restless() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 3), of(SquareRestless)(), nn.Linear(3, 2)).double()


class Plain(nn.Module):
    """A layer that is a function."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = globals()[self.name](x)
        return found


def guards() -> nn.Module:
    """nan from the part of a where that isn't chosen."""
    return nn.Sequential(Plain("guarded"), nn.Linear(3, 2)).double()


def overflows() -> nn.Module:
    return nn.Sequential(Plain("softplus"), nn.Linear(3, 2)).double()


def refuses() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 3), of(SquareFails)(), nn.Linear(3, 2)).double()


class Block(nn.Module):
    """A residual block whose own arithmetic is fine."""

    def __init__(self, function: type[Function] = SiLU) -> None:
        super().__init__()
        self.lin, self.function = nn.Linear(3, 3), function

    def forward(self, x: Tensor) -> Tensor:
        return x + self.function.apply(self.lin(x))


def blocks() -> nn.Module:
    return nn.Sequential(Block(), Block(SiLUTerm), nn.Linear(3, 2)).double()


class Cut(nn.Module):
    """Half of the network is detached."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) * self.b(x).detach()


class Shared(nn.Module):
    """Layers that are called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.lin, self.act = nn.Linear(2, 2), nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.lin(self.act(self.lin(x))))


class Pair(nn.Module):
    """Several inputs and outputs."""

    def forward(self, a: Tensor, b: Tensor, which: Tensor, scale: float = 2.0) -> dict[str, Any]:
        return {"s": scale * a + b, "rest": (a[which] * b.sum(), which, None)}


class Fails(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise KeyError("shape")


class Words(nn.Module):
    def forward(self, x: Tensor) -> str:
        return "words"


def broken() -> nn.Module:
    raise ValueError("no weights")

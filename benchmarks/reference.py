"""What `--reference` costs: checks of functions with another implementation beside them, and without, in one run.

CPU time, the better of three; the aim is at most 2.5 times. `opaque` runs behind a custom operator that nobody sees into.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gradcheck_cli import check_function


def silu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def fraction(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v)


def written_out(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1) @ v


def normed(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return F.layer_norm(x, (x.shape[-1],), w, b)


def centred(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    c = x - x.mean(-1, keepdim=True)
    return c / torch.sqrt((c * c).mean(-1, keepdim=True) + 1e-5) * w + b


def perceptron(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.tanh(x @ a) @ b


def summed(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    h = 1 - 2 / (torch.exp(2 * torch.einsum("ij,jk->ik", x, a)) + 1)
    return torch.einsum("ij,jk->ik", h, b)


@torch.library.custom_op("benchmarks::perceptron", mutates_args=())
def forward_kernel(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.tanh(x @ a) @ b


@torch.library.custom_op("benchmarks::perceptron_backward", mutates_args=())
def backward_kernel(g: Tensor, x: Tensor, a: Tensor, b: Tensor) -> list[Tensor]:
    h = torch.tanh(x @ a)
    d = (g @ b.mT) * (1 - h * h)
    return [d @ a.mT, x.mT @ d, h.mT @ g]


class Opaque(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        ctx.save_for_backward(*given)
        return forward_kernel(*given)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return tuple(backward_kernel(g, *ctx.saved_tensors))


def opaque(x: Tensor, a: Tensor, b: Tensor) -> Any:
    return Opaque.apply(x, a, b)


LARGE = {"x": torch.randn(8, 300), "a": torch.randn(300, 300) / 17, "b": torch.randn(300, 10) / 17}
CASES: tuple[tuple[str, Callable[..., Any], Callable[..., Any], dict[str, Any]], ...] = (
    ("silu, 3 entries", silu, fraction, {"shape": {"x": 3}, "sample": 1}),
    ("silu, order 2", silu, fraction, {"shape": {"x": 3}, "sample": 1, "order": 2}),
    ("silu, both modes", silu, fraction, {"shape": {"x": 3}, "sample": 1, "mode": "all"}),
    ("attention, 4x8", attention, written_out, {"shape": {"q": (4, 8), "k": (6, 8), "v": (6, 8)}, "sample": 1}),
    ("layer norm, 4x16", normed, centred, {"shape": {"x": (4, 16), "w": 16, "b": 16}, "sample": 1}),
    ("perceptron, 95,400 entries", perceptron, summed, {"at": LARGE}),
    ("perceptron, opaque", opaque, summed, {"at": LARGE}),
)


def best(run: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds, and what it returned."""
    found, seconds = run(), []
    for _ in range(3):
        start = time.process_time()
        found = run()
        seconds.append(time.process_time() - start)
    return min(seconds), found


def main() -> None:
    torch.manual_seed(0)
    print(f"{'function':28} {'dtype':8} {'without':>9} {'with':>9} {'ratio':>6}  verdicts")
    for dtype in ("float64", "float32"):
        for name, function, reference, given in CASES:
            plain, before = best(lambda f=function, g=given, d=dtype: check_function(f, dtype=d, **g))
            beside, after = best(lambda f=function, r=reference, g=given, d=dtype: check_function(f, dtype=d, reference=r, **g))
            words = f"{before.verdict.value}, {after.verdict.value}"
            print(f"{name:28} {dtype:8} {plain:7.3f} s {beside:7.3f} s {beside / plain:6.2f}  {words}")


if __name__ == "__main__":
    main()

# An operation of one's own, which nobody can look into, beside plain PyTorch code that is right.
#
# Source: torch.library.custom_op as in https://docs.pytorch.org/tutorials/advanced/python_custom_ops.html; NumPy stands for the
#     kernel in C++, CUDA or Triton. The slip is planted: a factor that is off by a millionth.
# Verdict: undecided, match, mismatch
# Exit code: 0

import numpy as np
import torch

from gradcheck_cli import check_function


@torch.library.custom_op("examples::swish", mutates_args=())
def kernel(x: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(x.numpy() / (1 + np.exp(-x.numpy())))


@torch.library.custom_op("examples::swish_backward", mutates_args=())
def backward_kernel(upstream: torch.Tensor, x: torch.Tensor, scale: float) -> torch.Tensor:
    s = 1 / (1 + np.exp(-x.numpy()))
    return torch.from_numpy(upstream.numpy() * s * (scale + x.numpy() * (1 - s)))


class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return kernel(x)

    @staticmethod
    def backward(ctx, upstream):
        return backward_kernel(upstream, *ctx.saved_tensors, 1.0)


class BadSwish(Swish):
    """The same with a constant that is slightly wrong."""

    @staticmethod
    def backward(ctx, upstream):
        return backward_kernel(upstream, *ctx.saved_tensors, 1.000001)


def plain(x):
    """What both ought to compute."""
    return x * torch.sigmoid(x)


if __name__ == "__main__":  # the commands below import this file
    # Nothing of the kernel can be followed, and nothing is guessed.
    print(check_function(Swish, sample=1))

    # With a second implementation, values and derivatives are judged by that, with the rounding that it may have.
    # On the command line: gradcheck function custom_operation.py:Swish --reference custom_operation.py:plain
    print(check_function(Swish, sample=1, reference=plain))
    print(check_function(BadSwish, sample=1, reference=plain))

# Gradients that aren't the derivative on purpose: what is meant is declared, and judged.
#
# Source: the straight-through estimator of Bengio, Leonard and Courville, https://arxiv.org/abs/1308.3432, with the window of
#     binarised networks, https://arxiv.org/abs/1602.02830; and the same written with detach, as for the codebook of
#     https://arxiv.org/abs/1711.00937. The slip is planted: a window of 2.
# Verdict: mismatch, match, mismatch, match
# Exit code: 0

import torch

from gradcheck_cli import check_function


class Sign(torch.autograd.Function):
    """The sign, whose backward is that of clamp(x, -1, 1)."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.sign(x)

    @staticmethod
    def backward(ctx, upstream):
        (x,) = ctx.saved_tensors
        return upstream * (x.abs() <= 1)


class WideSign(Sign):
    """The same with another window."""

    @staticmethod
    def backward(ctx, upstream):
        (x,) = ctx.saved_tensors
        return upstream * (x.abs() <= 2)


def rounded(x):
    """Rounding that is the identity to the backward pass."""
    return x + (x.round() - x).detach()


if __name__ == "__main__":  # the commands below import this file
    # The sign doesn't change around these points, so no backward but 0 is its derivative; the report says how to declare it.
    # On the command line: gradcheck function straight_through.py:Sign --at "x=[0.4,1.7,-3]"
    at = "x=[0.4,1.7,-3]"
    plain = check_function(Sign, at=at)
    print(plain)
    assert "surrogate=" in str(plain)

    # Judged as what it is meant to be; a slip in it is found as ever.
    print(check_function(Sign, at=at, surrogate="clamp(x, -1, 1)"))
    print(check_function(WideSign, at=at, surrogate="clamp(x, -1, 1)"))

    # What is detached is constant.
    print(check_function(rounded, at=at, stop_gradients=True))

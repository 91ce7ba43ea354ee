# A custom autograd.Function without any formula given: a SiLU whose backward misses a factor, and the right one.
#
# Source: the hand-written SiLU (swish) of https://github.com/pytorch/pytorch/pull/41034, whose backward is
#     s*(1 + x*(1 - s)) with s = sigmoid(x). The slip is planted: the factor 1 - s is missing.
# Verdict: mismatch, match
# Exit code: 0

import torch

from gradcheck_cli import check_function


class BadSiLU(torch.autograd.Function):
    """x*sigmoid(x) with a wrong backward."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, upstream):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return upstream * (s + x * s)


class GoodSiLU(BadSiLU):
    """x*sigmoid(x) with the right one."""

    @staticmethod
    def backward(ctx, upstream):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return upstream * (s + x * s * (1 - s))


if __name__ == "__main__":  # the command below imports this file
    # The forward pass is followed operation by operation, so that its derivative is known without a formula. The report shows
    # both formulas, and names the slip. On the command line: gradcheck function custom_silu.py:BadSiLU --at "x=[1.5,-2]"
    bad = check_function(BadSiLU, at="x=[1.5,-2]")
    print(bad)
    worst = next(check for check in bad.checks if check.autograd_formula)
    assert worst.cause == "formula"
    assert worst.detail.startswith("the factor 1 - sigmoid(x[0]) is missing")

    # The right one: its values against the formula too, and its double backward.
    good = check_function(GoodSiLU, sample=5, domain="x=-20:20", formula="x*sigmoid(x)", order=2)
    print(good)
    assert good.ok

# A custom autograd.Function, checked through the formula of the function it stands for.
#
# Source: the hand-written SiLU (swish) of https://github.com/pytorch/pytorch/pull/41034, whose backward is
#     s*(1 + x*(1 - s)) with s = sigmoid(x). The slip is planted: the factor 1 - s is missing.
# Verdict: mismatch, match
# Exit code: 0

import torch

from gradcheck_cli import check_chain


class BadSiLU(torch.autograd.Function):
    """x*sigmoid(x) with a wrong backward."""

    @staticmethod
    def forward(ctx, x):
        s = torch.sigmoid(x)
        ctx.save_for_backward(x, s)
        return x * s

    @staticmethod
    def backward(ctx, upstream):
        x, s = ctx.saved_tensors
        return upstream * (s + x * s)


class GoodSiLU(BadSiLU):
    """x*sigmoid(x) with the right one."""

    @staticmethod
    def backward(ctx, upstream):
        x, s = ctx.saved_tensors
        return upstream * (s + x * s * (1 - s))


# Wherever the formula says silu, torch calls the function under test. The report shows the exact formula and, below it, the
# one that the backward pass applies: gradcheck follows its operations on symbols.
bad = check_chain("silu(x)", at="x=1.5", callables={"silu": BadSiLU.apply})
print(bad)
found = next(check for check in bad.checks if check.verdict == "mismatch")
assert (found.quantity, found.cause) == ("dy/dx", "formula")
assert found.autograd_formula is not None

good = check_chain("silu(x)", sample=50, domain="x=-20:20", callables={"silu": GoodSiLU.apply})
print(good)
assert good.ok

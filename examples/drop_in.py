# One import changes in a test suite: gradcheck in the place of torch.autograd.gradcheck.
#
# Source: the Exp of PyTorch's documentation of torch.autograd.Function, with its gradient 0.1 % too large. torch's own check
#     accepts that at its defaults (rtol = 1e-3).
# Verdict: mismatch
# Exit code: 0

import torch

from gradcheck_cli import GradcheckError, gradcheck


class Exp(torch.autograd.Function):
    """exp(x), its gradient times 1.0009."""

    @staticmethod
    def forward(ctx, i):
        result = i.exp()
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx, grad_output):
        (result,) = ctx.saved_tensors
        return grad_output * result * 1.0009


x = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
assert torch.autograd.gradcheck(Exp.apply, x)
try:
    gradcheck(Exp.apply, x)
except GradcheckError as wrong:  # a subclass of torch's
    print(wrong)
else:
    raise AssertionError("it should have been refused")

# Short formats need no tolerance: float32 is judged by its own rounding.
assert gradcheck(torch.sigmoid, torch.randn(1000, requires_grad=True))

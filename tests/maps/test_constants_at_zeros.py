"""Where terms of a formula cancel, constants that were rounded are all that is left: no wrong formula."""

from __future__ import annotations

import pytest
import torch

from gradcheck_cli import GradcheckError, gradcheck

EXTREMUM = 1.4302966531242027
"""Of sin(pi*x)/(pi*x); torch's backward has pi as a double there."""


@pytest.mark.parametrize("beside", [1e-6, 1e-8, 0.0])
def test_right_code_is_no_mismatch(beside: float) -> None:
    """The derivative of sinc beside its extremum: what is left of it is what pi was rounded by."""
    x = torch.tensor([EXTREMUM + beside, 0.5], dtype=torch.float64, requires_grad=True)
    assert gradcheck(torch.sinc, x)


def test_a_wrong_constant_is_one() -> None:
    """A constant of ten digits there is no rounded one."""

    class Short(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):  # type: ignore[no-untyped-def]
            ctx.save_for_backward(x)
            return torch.sinc(x)

        @staticmethod
        def backward(ctx, g):  # type: ignore[no-untyped-def]
            (x,) = ctx.saved_tensors
            p = 3.1415926536
            return g * (p * x * torch.cos(p * x) - torch.sin(p * x)) / (p * x * x)

    with pytest.raises(GradcheckError, match="formula"):
        gradcheck(Short.apply, torch.tensor([EXTREMUM + 1e-6], dtype=torch.float64, requires_grad=True))

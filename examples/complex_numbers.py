# A function of complex numbers, and the conjugate that a backward of it forgets.
#
# Source: https://docs.pytorch.org/docs/stable/notes/autograd.html: the gradient of a real
#     loss L by z = a + b*i is dL/da + i*dL/db. The slip is planted: a backward multiplies by the derivative, not by its
#     conjugate.
# Verdict: match, mismatch, match
# Exit code: 0

import torch

from gradcheck_cli import check_function

# What is judged are the parts: of |z|**2 = a**2 + b**2 they are 2*a and 2*b, so that torch's gradient is 2*z.
size = check_function(lambda z: (z * z.conj()).real, at={"z": 5 + 10j})
print(size)
assert [check.exact for check in size.checks[:2]] == ["10", "20"]


class Square(torch.autograd.Function):
    """z*z, without the conjugate."""

    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z * z

    @staticmethod
    def backward(ctx, upstream):
        (z,) = ctx.saved_tensors
        return upstream * 2 * z


z = torch.tensor([1 + 2j, -0.5 + 0.25j], dtype=torch.complex128)
wrong = check_function(Square, at={"z": z})
print(wrong)
assert all("a conjugate is forgotten" in check.detail for check in wrong.checks if check.verdict == "mismatch")

# Fourier transforms, absolute values, matrices: torch's operations on complex tensors are followed by their parts.
spectrum = check_function(lambda x: torch.fft.rfft(x).abs().log().sum(), at={"x": torch.tensor([1.0, -2.0, 0.5, 3.0, 0.25])})
print(spectrum)
assert spectrum.ok

"""Functions of complex tensors: judged by their parts, against torch's conventions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function

from gradcheck_cli import GradcheckError, check_function, gradcheck, gradgradcheck
from gradcheck_cli.verdict.verdicts import Verdict

Z = torch.tensor([1 + 2j, -0.3 + 0.1j, 0.5 - 1.5j], dtype=torch.complex128)
W = torch.tensor([0.5 - 1j, 2 + 0.25j, -1 + 0.75j], dtype=torch.complex128)
A = torch.outer(Z, W) + torch.diag(torch.tensor([2.0, 3j, -1.0]))
WINDOW = torch.hann_window(8, dtype=torch.float64)
X = torch.linspace(-1, 1, 20, dtype=torch.float64).sin() + 0.5

RIGHT: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = {
    "a product": (lambda z, w: z * w, (Z, W)),
    "with a conjugate": (lambda z, w: z.conj() * w + z.imag, (Z, W)),
    "a quotient": (lambda z, w: z / (w + 1j), (Z, W)),
    "a power": (lambda z, w: z**w, (Z, W)),
    "absolute values": (lambda z: z.abs().log() + z.angle(), (Z,)),
    "sgn": (torch.sgn, (Z,)),
    "real of a real loss": (lambda z: torch.view_as_real(z.exp()).square().sum(), (Z,)),
    "a matrix": (lambda a: a @ a.mH - a.t(), (A,)),
    "vdot": (torch.vdot, (Z, W)),
    "a solution": (torch.linalg.solve, (A, torch.outer(W, Z))),
    "det": (torch.linalg.det, (A,)),
    "eigenvalues": (lambda a: torch.linalg.eigvalsh(a + a.mH), (A,)),
    "fft": (lambda z: torch.fft.fft(z, norm="ortho"), (Z,)),
    "of a spectrum": (lambda x: torch.fft.rfft(x).abs().sum(), (X,)),
    "to a signal": (lambda z: torch.fft.irfft(z, 5), (Z,)),
    "stft": (lambda x: torch.stft(x, 8, window=WINDOW.to(x.dtype), return_complex=True), (X,)),
    "in place": (lambda z: z.clone().mul_(2j).add_(z.conj()), (Z,)),
    "the imaginary part, written": (lambda z: _scaled_imag(z), (Z,)),
    "a sum in another dtype": (lambda z: z.sum(dtype=torch.complex128) + z.tril(-1).sum(), (A,)),
    "triangles, in place": (lambda a: a.clone().tril_() * a, (A,)),
    "an index": (lambda z: z[[0, 2]] * z[1], (Z,)),
    "a convolution": (lambda z, w: torch.nn.functional.conv1d(z.view(1, 1, 3), w[:2].view(1, 1, 2)), (Z, W)),
}


def _scaled_imag(z: Tensor) -> Tensor:
    y = z.clone()
    y.imag.mul_(z.real)
    return y


def slipped(gradient: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """z*z with this backward."""

    class Square(Function):
        @staticmethod
        def forward(ctx: Any, z: Tensor) -> Tensor:
            ctx.save_for_backward(z)
            return z * z

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            return gradient(g, *ctx.saved_tensors)

    return lambda z: Square.apply(z)  # type: ignore[no-any-return]


WRONG = {
    "the conjugate is forgotten": lambda g, z: 2 * g * z,
    "upstream is conjugated": lambda g, z: 2 * g.conj() * z.conj(),
    "the result is conjugated": lambda g, z: (2 * g * z.conj()).conj(),
    "the imaginary part is lost": lambda g, z: (2 * g * z.conj()).real + 0j,
    "a factor of 1 + 1e-6": lambda g, z: 2.000002 * g * z.conj(),
    "in the imaginary part alone": lambda g, z: torch.complex((2 * g * z.conj()).real, (2 * g * z.conj()).imag * 1.001),
}


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("dtype", [torch.complex128, torch.complex64], ids=["double", "single"])
def test_right_functions(name: str, dtype: torch.dtype) -> None:
    """Nothing is refuted, and nothing is left undecided: torch's own finite differences agree in double precision."""
    function, inputs = RIGHT[name]
    given = [x.to(dtype if x.is_complex() else dtype.to_real()) for x in inputs]
    report = check_function(function, at=[dict(zip(_names(function, len(given)), given, strict=True))])
    assert {c.verdict for c in report.checks} <= {Verdict.MATCH, Verdict.IMPRECISE}, report
    if dtype is torch.complex128:
        leaves = tuple(x.clone().requires_grad_() for x in given)
        assert torch.autograd.gradcheck(function, leaves)
        assert gradcheck(function, leaves, strict="undecided")


def _names(function: Any, count: int) -> tuple[str, ...]:
    code = getattr(function, "__code__", None)
    known = {torch.sgn: ("input",), torch.vdot: ("input", "tensor"), torch.linalg.solve: ("A", "B"), torch.linalg.det: ("A",)}
    return code.co_varnames[:count] if code is not None else known[function]


@pytest.mark.parametrize("name", WRONG)
def test_wrong_backwards(name: str) -> None:
    """Each is refuted, here and by the drop-in."""
    function = slipped(WRONG[name])
    report = check_function(function, at={"z": Z})
    assert report.verdict is Verdict.MISMATCH
    with pytest.raises(GradcheckError):
        gradcheck(function, Z.clone().requires_grad_())


def test_conjugates_are_named() -> None:
    """What was conjugated, or wasn't, with the backward that it is in."""
    for name, said in [
        ("the conjugate is forgotten", "a conjugate is forgotten"),
        ("upstream is conjugated", "the upstream gradient is conjugated"),
        ("the result is conjugated", "the gradient is conjugated"),
    ]:
        report = check_function(slipped(WRONG[name]), at={"z": Z})
        assert all(said in str(c.detail) for c in report.checks if c.verdict is Verdict.MISMATCH)


def test_the_convention() -> None:
    """torch's gradient of a real loss L by z = a + b*i is dL/da + i*dL/db: of |z|**2 it is 2*z."""
    report = check_function(lambda z: (z * z.conj()).real, at={"z": 5 + 10j})
    values = {c.quantity: c.exact for c in report.checks}
    assert (values["dy/dz.real"], values["dy/dz.imag"]) == ("10", "20")
    assert "torch's gradient by a complex z is d/dz.real + i*d/dz.imag: its parts are what is judged" in report.notes


def test_a_branch_cut_is_no_mismatch() -> None:
    """On the negative axis the logarithm jumps across, and is smooth along it."""
    report = check_function(torch.log, at=[{"input": torch.tensor([-1 + 0j], dtype=torch.complex128)}])
    verdicts = {c.wrt[0]: c.verdict for c in report.checks}
    assert verdicts == {"input.real[0]": Verdict.MATCH, "input.imag[0]": Verdict.NONDIFFERENTIABLE}


@pytest.mark.parametrize("imag", [0.0, -0.0])
@pytest.mark.parametrize(
    "function", [torch.sqrt, lambda z: z.conj().sqrt(), lambda z: z.conj().log(), lambda z: z.conj() * z.sqrt()]
)
def test_a_zero_has_a_sign_on_a_cut(function: Callable[[Tensor], Tensor], imag: float) -> None:
    """Below the cut, where -0.0 is, torch's derivative along it is that of its own values: no mismatch, whatever is known."""
    z = torch.tensor(complex(-4, imag), dtype=torch.complex128)
    report = check_function(function, at={"z": z})
    assert Verdict.MISMATCH not in {c.verdict for c in report.checks}, str(report)


@pytest.mark.parametrize("mode", ["reverse", "forward"])
@pytest.mark.parametrize(("function", "side"), [(torch.sqrt, 1), (lambda z: z.conj().sqrt(), -1)])
def test_the_side_of_a_cut_is_that_of_the_zero(function: Callable[[Tensor], Tensor], side: int, mode: str) -> None:
    """Entries above a cut and below it, at once: Im sqrt is the root of -x above, and the opposite below, and so are the
    derivatives along the cut, -1/(2*sqrt(-x)) and 1/(2*sqrt(-x)). Across it the side is told, and that autograd's slope is
    that of the same side."""
    z = torch.tensor([complex(-4, -0.0), complex(-4, 0.0)], dtype=torch.complex128)
    for n, (above, said) in enumerate(((False, "from below"), (True, "from above"))):
        report = check_function(lambda z, n=n: function(z)[n].imag, at={"z": z}, modes=[mode])
        if mode == "forward":
            assert report.verdict is Verdict.NONDIFFERENTIABLE
            continue
        found = {c.wrt[0]: c for c in report.checks if c.quantity.startswith("dy/")}
        along, across = found[f"z.real[{n}]"], found[f"z.imag[{n}]"]
        assert (along.verdict, along.exact) == (Verdict.MATCH, str(-0.25 * side if above else 0.25 * side))
        assert (across.verdict, across.side) == (Verdict.NONDIFFERENTIABLE, "both")
        assert across.detail == f"the function jumps here, and its value is the limit {said}"


def test_values_on_a_cut_are_those_of_its_side() -> None:
    """A reference has the value that torch has at -0.0, below the cut, and what is above it is wrong."""
    z = torch.tensor([complex(-4, -0.0)], dtype=torch.complex128)
    right = check_function(torch.sqrt, at={"input": z}, reference=lambda z: z**0.5)
    assert {c.verdict for c in right.checks if c.kind == "value"} == {Verdict.MATCH}
    wrong = check_function(lambda z: torch.sqrt(z.real + 0j) + 0 * z, at={"z": z}, reference=lambda z: z**0.5)
    assert [(c.exact, c.autograd) for c in wrong.checks if c.kind == "value" and c.verdict is Verdict.MISMATCH] == [("-2", 2.0)]


def test_the_corner_of_the_absolute_value() -> None:
    """At 0 torch says 0, which lies between the slopes."""
    report = check_function(torch.abs, at=[{"input": torch.zeros(1, dtype=torch.complex128)}])
    assert {c.verdict for c in report.checks} == {Verdict.NONDIFFERENTIABLE}


def test_forward_mode_and_the_second_order() -> None:
    """They have the same parts."""
    assert check_function(lambda z: z.exp() * z, at={"z": Z}, modes=["forward"]).verdict is Verdict.MATCH
    assert check_function(lambda z: z.exp() * z, at={"z": Z}, order=2).verdict is Verdict.MATCH


class Cubed(Function):
    """z**3, whose second derivative may forget a conjugate."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, right: bool) -> Tensor:
        ctx.save_for_backward(z)
        ctx.right = right
        return z**3

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (z,) = ctx.saved_tensors
        return 3 * z.conj() ** 2 * g if ctx.right else 3 * (z.conj() ** 2 + (z - z.detach())) * g, None


def test_a_wrong_second_order() -> None:
    """The derivative of a complex gradient is judged by the forward pass: right code passes, a wrong double backward doesn't,
    though the gradient itself is right."""
    z = torch.tensor([1.5 - 0.5j, 0.25 + 2j], dtype=torch.complex128, requires_grad=True)
    assert gradgradcheck(lambda z: Cubed.apply(z, True), z)
    assert gradcheck(lambda z: Cubed.apply(z, False), z)
    with pytest.raises(GradcheckError, match="gradient of"):
        gradgradcheck(lambda z: Cubed.apply(z, False), z)


def test_parts_of_one_result_are_one_output() -> None:
    """A gradient that cancels rounds otherwise where the parts of a result are used alone: that breaks no rule."""
    z = torch.tensor(-4.827 - 7.582j, dtype=torch.complex128, requires_grad=True)
    assert gradgradcheck(lambda z: torch.logsumexp(z, 0), z)


def test_kernels_run_as_without_a_mode() -> None:
    """torch leaves out conjugations within a kernel that a dispatch mode calls."""
    z = torch.tensor([[1 + 1j, 2j], [0.5, 1 - 3j]], dtype=torch.complex128, requires_grad=True)
    report = check_function(lambda z: torch.linalg.pinv(z), at={"z": z})
    assert report.verdict is Verdict.MATCH and not any("followed" in note for note in report.notes), str(report)

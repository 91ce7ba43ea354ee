"""Never weaker than torch.autograd.gradcheck of complex functions, which steps along real and imaginary axes; slips it lets
through are refuted too, and right backwards match."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function

from gradcheck_cli import check_function
from gradcheck_cli.verdict.verdicts import Verdict

pytestmark = pytest.mark.slow(reason="hundreds of backwards, each checked twice")

UPSTREAM = torch.tensor([0.3 - 0.7j, -1.1 + 0.2j, -0.4 - 0.9j], dtype=torch.complex128)
POINT = torch.tensor([1 + 2j, -0.3 + 0.7j, 0.5 - 1.5j], dtype=torch.complex128)


@dataclass(frozen=True)
class Subject:
    """A function with its derivatives by z and by z* (Kreutz-Delgado, The complex gradient operator and the CR-calculus, 2009):
    torch's gradient is g*conj(d/dz) + conj(g)*d/dz*; of a real function that is 2*g*d/dz*."""

    forward: Callable[[Tensor], Tensor]
    by_z: Callable[[Tensor], Tensor]
    by_conjugate: Callable[[Tensor], Tensor]

    def gradient(self, g: Tensor, z: Tensor) -> Tensor:
        """What a right backward returns."""
        return g * self.by_z(z).conj() + g.conj() * self.by_conjugate(z)


def nothing(z: Tensor) -> Tensor:
    return torch.zeros_like(z)


SUBJECTS = {
    "square": Subject(lambda z: z * z, lambda z: 2 * z, nothing),
    "exp": Subject(torch.exp, torch.exp, nothing),
    "log": Subject(torch.log, torch.reciprocal, nothing),
    "sqrt": Subject(torch.sqrt, lambda z: 0.5 / z.sqrt(), nothing),
    "tanh": Subject(torch.tanh, lambda z: 1 - z.tanh() ** 2, nothing),
    "conjugate": Subject(lambda z: z.conj() * (1 + 2j), nothing, lambda z: torch.full_like(z, 1 + 2j)),
    "not holomorphic": Subject(lambda z: z * z * z.conj(), lambda z: 2 * z * z.conj(), lambda z: z * z),
    "size": Subject(torch.abs, lambda z: z.conj() / (2 * z.abs()), lambda z: z / (2 * z.abs())),
    "square of the size": Subject(lambda z: (z * z.conj()).real, lambda z: z.conj(), lambda z: z),
    "real part": Subject(lambda z: (z * z).real, lambda z: z, lambda z: z.conj()),
    "angle": Subject(torch.angle, lambda z: -0.5j / z, lambda z: 0.5j / z.conj()),
}

Slip = Callable[[Subject, Tensor, Tensor], Tensor]


def parts(real: Tensor, imag: Tensor) -> Tensor:
    return torch.complex(real, imag)


SLIPS: dict[str, Slip] = {
    "no conjugate": lambda s, g, z: g * s.by_z(z) + g.conj() * s.by_conjugate(z),
    "a conjugate too many": lambda s, g, z: g * s.by_z(z).conj() + g.conj() * s.by_conjugate(z).conj(),
    "upstream conjugated": lambda s, g, z: s.gradient(g.conj(), z),
    "the result conjugated": lambda s, g, z: s.gradient(g, z).conj(),
    "d/dz alone": lambda s, g, z: g * s.by_z(z).conj(),
    "d/dz* alone": lambda s, g, z: g.conj() * s.by_conjugate(z),
    "half": lambda s, g, z: s.gradient(g, z) / 2,
    "turned by a right angle": lambda s, g, z: 1j * s.gradient(g, z),
    "the real part": lambda s, g, z: s.gradient(g, z).real + 0j,
    "the imaginary part": lambda s, g, z: 1j * s.gradient(g, z).imag,
    "parts exchanged": lambda s, g, z: parts(s.gradient(g, z).imag, s.gradient(g, z).real),
    "upstream's real part": lambda s, g, z: s.gradient(g.real + 0 * g, z),
    "the size of upstream": lambda s, g, z: s.gradient(g.abs() + 0 * g, z),
    "zero": lambda s, g, z: 0 * s.gradient(g, z),
    "one entry": lambda s, g, z: s.gradient(g, z) * torch.tensor([1, 1, 1j]),
    "the neighbour": lambda s, g, z: s.gradient(g, z).roll(1),
    "a millionth in the imaginary part": lambda s, g, z: parts(s.gradient(g, z).real, s.gradient(g, z).imag * (1 + 1e-6)),
    "1e-12 in the real part": lambda s, g, z: parts(s.gradient(g, z).real * (1 + 1e-12), s.gradient(g, z).imag),
}


def made(subject: Subject, slip: Slip | None = None) -> Callable[[Tensor], Tensor]:
    """The function with a backward of its own."""

    class Made(Function):
        @staticmethod
        def forward(ctx: Any, z: Tensor) -> Tensor:
            ctx.save_for_backward(z)
            return subject.forward(z)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            (z,) = ctx.saved_tensors
            return subject.gradient(g, z) if slip is None else slip(subject, g, z)

    return lambda z: Made.apply(z)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_right_backward_matches(name: str) -> None:
    """And torch's own check takes it: the derivatives that slips are made of are right."""
    function = made(SUBJECTS[name])
    assert torch.autograd.gradcheck(function, POINT.clone().requires_grad_())
    assert check_function(function, at={"z": POINT}).verdict is Verdict.MATCH


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_wrong_backward_does_not(name: str) -> None:
    """Whatever torch refuses is refuted, and what differs from the right gradient by 1e-12 of itself is too."""
    subject = SUBJECTS[name]
    caught = 0
    for said, slip in SLIPS.items():
        function = made(subject, slip)
        g = UPSTREAM if subject.forward(POINT).is_complex() else UPSTREAM.real
        wrong = not torch.allclose(slip(subject, g, POINT), subject.gradient(g, POINT) + 0j, rtol=1e-14, atol=0)
        refused = not torch.autograd.gradcheck(function, POINT.clone().requires_grad_(), raise_exception=False)
        verdict = check_function(function, at={"z": POINT}).verdict
        assert wrong or not refused, said
        assert verdict is (Verdict.MISMATCH if wrong else Verdict.MATCH), said
        caught += wrong
    assert caught > len(SLIPS) / 2

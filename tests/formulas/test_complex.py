"""Formulas of complex numbers: judged by their parts, told in torch's convention."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable
from typing import Any

import mpmath
import pytest
import torch
from mpmath import mp
from torch import Tensor
from torch.autograd import Function

from gradcheck_cli import InputError, check_chain, check_grad, check_hessian, check_jacobian, check_mixed
from gradcheck_cli.cli.app import run
from gradcheck_cli.language.points import parse_points
from gradcheck_cli.language.tree import Constant, Node
from gradcheck_cli.verdict.verdicts import Cause, Verdict
from tests.complex_formulas import case, compared

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "z**2": lambda z: z * z,
    "z**2+2*z+2": lambda z: z * z + 2 * z + 2,
    "1j*z + 3j": lambda z: 1j * z + 3j,
    "z*I": lambda z: z * 1j,
    "conj(z)*z": lambda z: mpmath.conj(z) * z,
    "conj(z)**3": lambda z: mpmath.conj(z) ** 3,
    "exp(z)": mpmath.exp,
    "log(z)": mpmath.log,
    "sqrt(z)": mpmath.sqrt,
    "sin(z)/z": lambda z: mpmath.sin(z) / z,
    "tanh(z)": mpmath.tanh,
    "atan(z)": mpmath.atan,
    "z**(1/3)": lambda z: mpmath.exp(mpmath.log(z) / 3),
    "abs(z)": lambda z: abs(z),
    "re(z)*im(z)": lambda z: z.real * z.imag,
    "arg(z)": mpmath.arg,
    "z/conj(z)": lambda z: z / mpmath.conj(z),
    "where(re(z) > 0, z**2, -z)": lambda z: z * z if z.real > 0 else -z,
    "real(exp(1j*z))": lambda z: mpmath.exp(1j * z).real,
}
POINTS = ("5+10i", "-0.75+0.5j", "2-1e-3j")


def slopes(f: Callable[[Any], Any], z: complex) -> tuple[Any, Any]:
    """The derivatives of f by real and imaginary part, from central differences at 200 bits."""
    with mpmath.workprec(400):
        here, h = mpmath.mpc(z), mpmath.mpf(2) ** -100
        return tuple(mpmath.mpmathify((f(here + h * d) - f(here - h * d)) / (2 * h)) for d in (1, 1j))


def near(text: str | None, value: Any) -> bool:
    """A decimal of the report, to 12 digits."""
    return text is not None and abs(float(text) - float(value)) <= 1e-12 * (1 + abs(float(value)))


@pytest.mark.parametrize("text", FUNCTIONS)
def test_every_part_is_that_of_a_quotient(text: str) -> None:
    """Exact values are those of difference quotients of mpmath's own functions, and torch's gradient is right."""
    report = check_grad(text, at=[f"z={point}" for point in POINTS])
    assert report.verdict is Verdict.MATCH, str(report)
    compared = 0
    for check in report.checks:
        z = complex(check.point["z.real"], check.point["z.imag"])
        slope = slopes(FUNCTIONS[text], z)[check.wrt == ("z.imag",)]
        assert near(check.exact, slope.imag if check.of == "f.imag" else slope.real), check
        compared += 1
    assert compared == len(POINTS) * (2 if len({c.of for c in report.checks}) == 1 else 4)


CONSTANTS = {
    "(1+2j)": 1 + 2j,
    "sqrt(2j)": 1 + 1j,
    "abs(3+4j)": 5,
    "conj(1j)**3*2": 2j,
    "(2 + 1j)*(2 - 1j)": 5,
    "arg(1j)/pi": 0.5,
}
"""Numbers without a variable in them, and what they are."""


@pytest.mark.parametrize("text", CONSTANTS)
def test_constants(text: str) -> None:
    """They are numbers, complex or real, whatever they are made of."""
    report = check_grad(f"z*({text})", at="z=5+10i")
    found = {c.quantity: float(c.exact or "nan") for c in report.checks}
    assert report.verdict is Verdict.MATCH
    assert found["df.real/dz.real"] == pytest.approx(complex(CONSTANTS[text]).real, abs=1e-14)
    assert found["df.imag/dz.real"] == pytest.approx(complex(CONSTANTS[text]).imag, abs=1e-14)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.slow(reason="dozens of formulas, each at 400 bits too")
def test_random_formulas(seed: int) -> None:
    """Nothing that is certified differs from mpmath's quotients, and nothing is refuted (benchmarks/complex_formulas.py has
    more of them, and the defects of torch that occur)."""
    rng = random.Random(1000 + seed)
    found = [compared(case(rng)) for _ in range(8)]
    assert not [line for one in found for line in one.off]
    assert sum(one.agreeing for one in found) > 8


@pytest.mark.parametrize("mode", ["reverse", "forward", "func"])
def test_a_chain_is_seen_at_every_stage(mode: str) -> None:
    """The chain of the README with a complex input: 1, 2*w + 2 and 8*z + 4 by their parts, from the back, in every mode."""
    report = check_chain("2*z | w**2+2*w+2", at="z=1+2i", mode=mode)
    assert report.verdict is Verdict.MATCH
    found = {c.quantity: float(c.exact or "nan") for c in report.checks if c.kind == "total"}
    assert found["dy.real/dw.real"] == found["dy.imag/dw.imag"] == 6 and found["dy.imag/dw.real"] == 8
    assert found["dy.real/dz.real"] == 12 and found["dy.real/dz.imag"] == -16 and found["dy.real/dy.real"] == 1
    assert {c.kind for c in report.checks} == {"total", "local"}


def test_other_questions() -> None:
    """Second derivatives, mixed ones, several outputs, arrays, real inputs beside complex ones, complex64."""
    assert check_hessian("z**3", at="z=1+1j").verdict is Verdict.MATCH
    mixed = check_mixed("z**2*w", "z.real,w.imag", at="z=1+2j,w=3j")
    assert mixed.verdict is Verdict.MATCH and mixed.checks[1].quantity == "d2f.real/dz.realdw.imag"
    assert float(mixed.checks[1].exact or "nan") == -4  # of Re(z**2 * w): Re(2*z*1j)
    assert check_jacobian(["z**2", "abs(z)"], at="z=3+4j").verdict is Verdict.MATCH
    array = check_grad("sum(z*conj(z)*t)", at={"z": [1 + 2j, 3], "t": [0.5, -1]})
    assert array.verdict is Verdict.MATCH and [c.wrt for c in array.checks][-2:] == [("t[0]",), ("t[1]",)]
    single = check_grad("exp(z)", sample=5, dtype="complex64")
    assert single.ok and "complex64" in str(single)
    assert check_grad("abs(exp(1j*t))", at="t=0.5").verdict is Verdict.MATCH  # R -> C -> R


def test_a_branch_cut_is_a_kink_with_its_sides() -> None:
    """Across the negative axis log jumps by 2*pi*i; along it the derivative is there."""
    found = {(c.of, c.wrt): c for c in check_grad("log(z)", at="z=-2+0j").checks}
    assert found["f.real", ("z.real",)].verdict is Verdict.MATCH
    assert found["f.imag", ("z.imag",)].verdict is Verdict.NONDIFFERENTIABLE


ON_CUTS: dict[str, Callable[[mp.mpc], mp.mpc]] = {
    "sqrt(z)": mp.sqrt,
    "z**1.5": lambda z: z**1.5,
    "sqrt(conj(z))": lambda z: mp.sqrt(mp.conj(z)),
    "conj(z)**0.5": lambda z: mp.sqrt(mp.conj(z)),
    "conj(z)*log(conj(z))": lambda z: mp.conj(z) * mp.log(mp.conj(z)),
    "conj(z)*sqrt(z)": lambda z: mp.conj(z) * mp.sqrt(z),
    "sqrt(z)*sqrt(conj(z))": lambda z: mp.sqrt(z) * mp.sqrt(mp.conj(z)),
    "angle(conj(z))": lambda z: mp.arg(mp.conj(z)),
}
"""With a cut on the negative axis, as mpmath has them just above it."""


@pytest.mark.parametrize("text", ON_CUTS)
def test_along_a_cut_there_is_a_derivative(text: str) -> None:
    """That of the side on which torch's value is: conj makes 0 a -0.0, below the cut. Difference quotients above it."""
    report = check_grad(text, at="z=-4+0j", dtype="complex128")
    found = {(c.of, c.wrt[0]): c for c in report.checks if len(c.wrt) == 1}
    outputs = {of: part for of, part in (("f.real", mp.re), ("f.imag", mp.im), ("f", mp.re)) if (of, "z.real") in found}
    with mp.workprec(400):
        z, step = mp.mpc(-4, mp.mpf(2) ** -200), mp.mpf(2) ** -60
        slope = (ON_CUTS[text](z + step) - ON_CUTS[text](z - step)) / (2 * step)
        for of, part in outputs.items():
            along, across = found[of, "z.real"], found[of, "z.imag"]
            assert along.verdict is Verdict.MATCH and along.exact is not None, str(report)
            assert abs(mp.mpf(along.exact) - part(slope)) < mp.mpf(2) ** -50
            assert across.verdict in (Verdict.NONDIFFERENTIABLE, Verdict.MATCH)
    assert any(found[of, "z.imag"].verdict is Verdict.NONDIFFERENTIABLE for of in outputs)


class HalfRoot(Function):
    """sqrt, with twice its gradient."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        y = z.sqrt()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return g / y.conj()  # type: ignore[no-any-return]


def test_a_wrong_gradient_along_a_cut_is_a_mismatch() -> None:
    """Whichever side of it torch's value is on: 0.5 is the derivative on neither."""
    for text in ("sqrt(z)", "sqrt(conj(z))"):
        wrong = check_chain(text, at="z=-4+0j", callables={"sqrt": HalfRoot.apply})
        assert any(c.verdict is Verdict.MISMATCH and c.wrt == ("z.real",) for c in wrong.checks), str(wrong)


class Forgetful(Function):
    """sin, whose backward forgets the conjugate."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        ctx.save_for_backward(z)
        return z.sin()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        return g * z.cos()  # type: ignore[no-any-return]


class Right(Forgetful):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        return g * z.cos().conj()  # type: ignore[no-any-return]


def test_a_forgotten_conjugate_is_a_mismatch() -> None:
    """A custom backward without it is refuted where the slope isn't real; the right one matches."""
    wrong = check_chain("sin(z)", at="z=1+2j", callables={"sin": Forgetful.apply})
    assert {c.cause for c in wrong.checks if c.verdict is Verdict.MISMATCH} == {Cause.FORMULA}
    assert check_chain("sin(z)", at="z=1+2j", callables={"sin": Right.apply}).verdict is Verdict.MATCH


@pytest.mark.parametrize(
    ("text", "by_z", "by_conjugate"),
    [
        ("z**2", "2*z", "0"), ("abs(z)**2", "conj(z)", "z"), ("conj(z)**2", "0", "2*conj(z)"),
        ("exp(1j*z)", "1j*exp(1j*z)", "0"), ("real(z)", "0.5", "0.5"), ("log10(z)", "1/(z*log(10))", "0"),
    ],
)  # fmt: skip
def test_what_torch_returns_is_told(text: str, by_z: str, by_conjugate: str) -> None:
    """A note has df/dz and df/dz* (textbook values), and how torch's gradient is made of them."""
    (note,) = check_grad(text, at="z=5+10i").notes
    assert note.startswith(f"df/dz = {by_z}, df/dz* = {by_conjugate}; torch's gradient by z")
    assert ("+ df/dz*" in note) == (by_conjugate != "0")


def test_no_formula_is_told_that_holds_for_real_numbers_only() -> None:
    """SymPy takes sqrt(z**2) for abs(z), which is real: nothing is told where that isn't what was judged."""
    assert not check_grad("sqrt(z**2)", at="z=5+10i").notes


def in_parts(tree: Node) -> tuple[Node, Node]:
    from gradcheck_cli.algebra.parts import constant_parts

    return constant_parts(tree)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5+10i", 5 + 10j), ("5 + 10j", 5 + 10j), ("-2.5e-1i", -0.25j), ("I", 1j), ("2*(1-i)", 2 - 2j), ("3", 3),
        ("(1+i)**2", 2j), ("1/i", -1j),
    ],
)  # fmt: skip
def test_a_point_is_read(text: str, value: complex) -> None:
    """As it is written by hand, and as Python writes it."""
    from gradcheck_cli.floats import FORMATS

    spec = parse_points(f"z={text}", ["z"], parts=in_parts, complex_inputs=True)
    found = spec.values(FORMATS["float64"])
    assert complex(found["z.real"][0], found["z.imag"][0]) == value


def test_a_point_of_functions_of_complex_numbers() -> None:
    """exp(i*pi/4) is the nearest double of each part."""
    check = check_grad("z", at="z=exp(i*pi/4)").checks[0]
    assert check.point == {"z.real": math.sqrt(0.5), "z.imag": math.sqrt(0.5)}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["grad", "z", "--at", "z=all", "--dtype", "complex64"], "complex numbers are pairs"),
        (["grad", "z", "--at", "z=1j", "--dtype", "float16"], "complex128 and complex64"),
        (["grad", "z", "--at", "z=1", "--dtype", "complex64,float32"], "one by one"),
        (["grad", "floor(z)", "--at", "z=1j"], "floor is a function of real numbers"),
        (["grad", "ones_like(z)", "--at", "z=[1j,2]"], "torch makes a complex number of this"),
        (["grad", "softmax(z, 0)", "--at", "z=[1j,2]"], "isn't followed"),
        (["grad", "z", "--at", "z=linspace(0,1j,3)"], "a real number is needed"),
        (["grad", "sum(z**2)", "--at", "z=[1j,2]", "--claim", "z=2*z"], "of a first derivative of one number"),
        (["hessian", "z**3", "--at", "z=1j", "--claim", "2*z"], "say which derivative this is"),
        (["explain", "floor(z)", "--at", "z=1j"], "floor is a function of real numbers"),
    ],
)
def test_what_has_no_meaning_is_one_clear_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Bad input: exit code 2, a sentence, the text and a caret."""
    assert run(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert said in lines[0] and re.fullmatch(r" *\^", lines[-1])


CLAIMS = [
    ("z**2", "2*z", True),
    ("z**2", "2*conj(z)", False),
    ("exp(1j*z)", "df/dz = 1j*exp(1j*z)", True),
    ("exp(1j*z)", "I*exp(I*z)", True),
    ("exp(1j*z)", "exp(1j*z)", False),
    ("abs(z)**2", "2*z", True),
    ("abs(z)**2", "conj(z)", False),
    ("abs(z)", "z/abs(z)", True),
    ("conj(z)", "1", False),
    ("conj(z)", "0", False),
    ("x*exp(1j*y)", "x = exp(1j*y), y = 1j*x*exp(1j*y)", True),
]
"""A function, a claim about its derivative, and whether it is right: of a real function 2*df/dz* (Kreutz-Delgado, 2009)."""


@pytest.mark.parametrize(("text", "claim", "right"), CLAIMS)
def test_a_claim_is_of_both_parts(text: str, claim: str, right: bool) -> None:
    """dy/dz of a complex output, where it is holomorphic; torch's gradient of a real one."""
    names = {name for name in "xyz" if name in text.replace("exp", "")}
    at = ",".join(f"{name}={value}" for name, value in {"x": "2+0i", "y": "0.5", "z": "1+2i"}.items() if name in names)
    report = check_grad(text, at=at, claim=claim)
    claims = [c for c in report.checks if c.claim is not None]
    assert claims and all(c.verdict is Verdict.MATCH for c in report.checks if c.claim is None)
    assert (Verdict.MISMATCH in {c.verdict for c in claims}) is not right, str(report)


def test_a_claim_about_a_stage() -> None:
    """Of the chain of the README with a complex input."""
    report = check_chain("2*z | w**2+2*w+2", at="z=1+2i", claim="z=8*z+4,w=2*w+2")
    assert report.verdict is Verdict.MATCH and sum(c.claim is not None for c in report.checks) == 8


def test_an_input_called_I_stays_one() -> None:
    """A current I is an input where the point names it."""
    report = check_grad("I**2*R", at="I=2,R=3")
    assert report.verdict is Verdict.MATCH and [c.wrt for c in report.checks] == [("I",), ("R",)]


def test_the_head_shows_complex_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    """At z = 5+10j, in complex128."""
    assert run(["chain", "z**2", "--at", "z=5+10i"]) == 0
    assert "at z = 5+10j, where y = -75+100j (complex128, reverse)" in capsys.readouterr().out


def test_constants_stay_what_they_are() -> None:
    """A tree tells 1j from 1."""
    assert Constant(1j) != Constant(1) and torch.tensor(1j).is_complex()
    with pytest.raises(InputError):
        check_grad("z > 0", at="z=1j")


def test_the_range_is_left_on_the_way_to_a_complex_gradient() -> None:
    """A number that overflowed is what is to blame, also where two complex contributions are added up."""
    for text, operation in (("sqrt(real(z)**2 + imag(z)**2)", "pow"), ("sqrt(real(z)*real(z))", "mul")):
        report = check_grad(text, at={"z": 1e200 + 1e200j})
        found = {(check.cause, check.operation) for check in report.checks if check.verdict == "mismatch"}
        assert found == {("range", operation)}, text


@pytest.mark.parametrize(
    "text",
    ["mean(z)*1j", "dot(z, z)", "vdot(z, 1j*z)", "trace(outer(z, conj(z)))", "einsum('i,i->', z, conj(z))", "diff(z)[0]**2"],
)
def test_what_is_made_of_complex_arrays_as_it_is_defined(text: str) -> None:
    """Means, traces and products of complex arrays are those of their definitions, in every mode."""
    report = check_jacobian(text, at={"z": [1 + 2j, -0.5 + 1j]}, mode="all")
    assert report.verdict == "match" and len(report.checks) >= 4, str(report)

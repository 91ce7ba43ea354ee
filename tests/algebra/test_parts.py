"""The parts of formulas of complex numbers, against torch's own kernels for these, off and on the branch cuts."""

from __future__ import annotations

import math
import random

import pytest
import torch
from flint import arb, ctx

from gradcheck_cli.algebra.layers import HULL
from gradcheck_cli.algebra.parts import parts
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.language.functions import ROWS, TABLE
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.spaces import imag_of, real_of

OF_COMPLEX = [
    "exp2", "expm1", "log2", "log10", "log1p", "rsqrt", "reciprocal", "square", "sigmoid", "silu", "sinc",
    *(row.name for row in ROWS if row.complex and len(row.parameters) == 1),
]  # fmt: skip
TWO = ["x*y", "x/y", "x - y", "x**y", "x**2", "x**3", "x**-1", "2**x", "x**0.5", "where(x == y, x, x*x)", "-x + 1j*y"]

NAMES = {"sign": "sgn"}


def evaluated(text: str, point: dict[str, complex]) -> complex:
    """The value of a formula by its parts, in balls."""
    found = parts(parse(text, imaginary=frozenset()), point)
    names = [part(name) for name in point for part in (real_of, imag_of)]
    program = Program(list(found.pair), names, HULL)
    with ctx.workprec(200):
        real, imag = program(*(arb(v) for z in point.values() for v in (z.real, z.imag)))
    return complex(float(real), float(imag))


def torchs(name: str) -> object:
    name = NAMES.get(name, name)
    return getattr(torch, name, None) or getattr(torch.nn.functional, name)


@pytest.mark.parametrize("name", OF_COMPLEX)
def test_a_function_of_complex_numbers(name: str) -> None:
    """What torch's kernel gives, to its rounding, all over the plane and beside the axes."""
    rng = random.Random(1)
    points = [complex(rng.gauss(0, 2), rng.gauss(0, 2)) for _ in range(40)]
    points += [complex(a, b) for a in (-2.5, -0.5, 0.5, 2.5) for b in (1e-9, -1e-9)]
    for z in points:
        expected = torchs(name)(torch.tensor(z, dtype=torch.complex128))  # type: ignore[operator]
        value = complex(expected.resolve_conj().item())
        assert abs(evaluated(f"{name}(x)", {"x": z}) - value) <= 1e-13 * max(1.0, abs(value)), z


@pytest.mark.parametrize("text", TWO)
def test_operators(text: str) -> None:
    """Python's own complex arithmetic."""
    rng = random.Random(2)
    for _ in range(20):
        x, y = (complex(rng.gauss(0, 1), rng.gauss(0, 1)) for _ in range(2))
        expected = x * x if text.startswith("where") else eval(text, {"x": x, "y": y})
        assert abs(evaluated(text, {"x": x, "y": y}) - expected) <= 1e-13 * max(1.0, abs(expected))


def test_a_real_argument_of_a_complex_function_is_promoted() -> None:
    """(-2)**z is that of the complex -2, as torch promotes it."""
    found = parts(parse("x**y"), {"y"})
    program = Program(list(found.pair), ["x", real_of("y"), imag_of("y")], HULL)
    value = complex(*map(float, program(arb(-2), arb(0.5), arb(1))))
    expected = complex(-2) ** (0.5 + 1j)
    assert abs(value - expected) <= 1e-14 * abs(expected)


@pytest.mark.parametrize("text", ["x < 1", "floor(x)", "erf(x)", "maximum(x, 1)"])
def test_what_has_no_meaning_for_complex_numbers(text: str) -> None:
    """It is refused, whatever its formula would give."""
    with pytest.raises(NotImplementedError):
        parts(parse(text), {"x"})


def test_real_formulas_stay_themselves() -> None:
    """Nothing is complex: one part, the formula itself."""
    tree = parse("sin(x)*y + 2")
    found = parts(tree, ())
    assert found.imag is None and str(found.real) == str(tree)
    assert math.isfinite(evaluated("conj(x)*x", {"x": 3 + 4j}).real)


def test_rows_of_parts() -> None:
    """Of real numbers: the number itself, 0, and the angle of its sign."""
    assert TABLE["conj"].definition == TABLE["real"].definition == "x"
    assert evaluated("angle(x)", {"x": -1 + 0j}) == complex(math.pi)

"""Functions without a kernel: the truth lies in their balls, and the bounds of their moduli hold. Values are arb's and
mpmath's at single points; polynomials have no part in these."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt
import pytest
from flint import arb, ctx

from gradcheck_cli import Verdict, check_grad
from gradcheck_cli.algebra.balls import PLAIN
from gradcheck_cli.algebra.columns.algebra import KINDS, ColumnAlgebra, stretches
from gradcheck_cli.algebra.columns.backends import on_numpy
from gradcheck_cli.algebra.columns.moving import Slopes
from gradcheck_cli.algebra.columns.stretches import CONTINUED, PAYS, Stretches
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.exact.enclosure import Enclosure
from gradcheck_cli.language.parser import parse

Floats = npt.NDArray[np.float64]

SETTINGS: dict[str, list[tuple[int, ...]]] = {
    "gamma": [()], "lgamma": [()], "polygamma": [(0,), (1,), (3,)], "besseli": [(0,), (1,), (4,)], "i0e": [()], "i1e": [()],
}  # fmt: skip
CASES = [(row, settings) for row, several in SETTINGS.items() for settings in several]

MODULI: dict[str, Callable[..., Any]] = {
    "gamma": mpmath.gamma,
    "lgamma": mpmath.loggamma,
    "polygamma": mpmath.psi,
    "besseli": mpmath.besseli,
    "i0e": lambda z: mpmath.exp(-z) * mpmath.besseli(0, z),
    "i1e": lambda z: mpmath.exp(-z) * mpmath.besseli(1, z),
}


def _text(row: str, settings: tuple[int, ...]) -> str:
    return f"{row}({', '.join([*map(str, settings), 'x'])})"


def _drawn(count: int, seed: int) -> Floats:
    """Many on a few stretches: the first of every seed are ordinary, the others of any size; with both ends of some."""
    generator = np.random.default_rng(seed)
    exponents = np.concatenate([np.arange(-5, 8), generator.integers(-1000, 1000, 8), generator.integers(-30, 120, 12)])
    sizes = np.ldexp(generator.uniform(0.5, 1.0, (count, len(exponents))), exponents).reshape(-1)
    ends = np.ldexp(1.0, exponents - 1)
    sizes = np.concatenate([sizes, ends, np.nextafter(ends, 0.0), np.nextafter(ends, np.inf), 1.5 * ends])
    return np.concatenate([sizes, -sizes[::3]])


def _true(row: str, settings: tuple[int, ...], x: Any) -> Any:
    """The value of a ball, of at least 400 bits."""
    found = Program([parse(_text(row, settings))], ["x"], PLAIN, lambda: ctx.prec)(x)[0]
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("row", "settings"), CASES)
def test_the_truth_is_in_the_ball(row: str, settings: tuple[int, ...], kind: str) -> None:
    """Of a float's value, and of that at the rim of a ball around it; most ordinary numbers are known to half a goal's bits."""
    algebra, generator = ColumnAlgebra(kind, on_numpy()), np.random.default_rng(1)
    x = _drawn(2 * PAYS, len(_text(row, settings)))
    radius = np.where(generator.random(len(x)) < 0.5, 0.0, np.abs(x) * np.exp2(generator.uniform(-60, -3, len(x))))
    nothing = [np.zeros_like(x)] * (algebra.words - 1)
    with np.errstate(all="ignore"):
        *words, radii = stretches(row, settings, kind)((x, *nothing, radius))
    known = np.flatnonzero(np.isfinite(words[0]) & (radii < np.inf))
    ordinary = (np.abs(x[known]) > 2.0**-6) & (np.abs(x[known]) < 2.0**6) & (radius[known] == 0.0)
    with np.errstate(all="ignore"):
        good = radii[known] <= np.abs(words[0][known]) * 2.0**-20
    assert ordinary.sum() > 300 and good[ordinary].mean() > 0.9
    some = generator.choice(known, 400, replace=False)
    with ctx.workprec(400):
        for i in some.tolist():
            truth = _true(row, settings, arb(float(x[i])) + generator.choice([-1.0, 1.0]) * arb(float(radius[i])))
            middle = sum((arb(float(word[i])) for word in words), arb(0))
            assert not abs(truth - middle) > float(radii[i]), (row, settings, kind, float(x[i]), float(radius[i]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("row", "settings"), CASES)
def test_slopes_hold_the_derivative(row: str, settings: tuple[int, ...], kind: str) -> None:
    """As mpmath differentiates, at 60 digits."""
    x = _drawn(2 * PAYS, 7)
    _, slope = Slopes(parse(_text(row, settings)), ("x",), [0], kind).at(x)
    known = np.flatnonzero((slope.radius < np.inf) & (np.abs(x) < 1e4) & (np.abs(x) > 1e-4) & (np.abs(slope.high) > 1e-200))
    compared = 0
    for i in np.random.default_rng(2).choice(known, 12, replace=False).tolist():
        with mpmath.workdps(60):
            point, sign = mpmath.mpf(float(x[i])), 1 if x[i] > 0 or row not in ("i0e", "i1e") else -1
            function: Callable[[Any], Any] = lambda z, s=settings: mpmath.re(MODULI[row](*s, z))  # noqa: E731
            if sign < 0:  # exp(-|x|)
                function = lambda z: mpmath.exp(2 * z) * MODULI[row](z)  # noqa: E731
            true = mpmath.diff(function, point, h=abs(point) * mpmath.mpf(10) ** -25)
            off = abs(true - mpmath.mpf(float(slope.high[i])) - mpmath.mpf(float(slope.low[i])))
            assert off <= float(slope.radius[i]) + abs(true) * mpmath.mpf(10) ** -20, (row, settings, float(x[i]))
            compared += 1
    assert compared == 12


@pytest.mark.parametrize(("row", "settings"), CASES)
def test_moduli_are_bounded(row: str, settings: tuple[int, ...]) -> None:
    """What the table says of complex numbers holds, at the corners of a region, on its rim and inside."""
    generator = np.random.default_rng(3)
    bounds = [Program([parse(text)], ["low", "high", "off", "far"], PLAIN) for text in CONTINUED[row].modulus(*settings)]
    for _ in range(40):
        middle = float(np.exp2(generator.uniform(-12, 7)))
        across = middle * float(generator.uniform(0.1, 0.99) if CONTINUED[row].right else generator.uniform(0.1, 4.0))
        off = across * float(generator.uniform(0.3, 1.0))
        low, high = middle - across, middle + across
        far = math.hypot(high, off) * (1 + 1e-12)
        with ctx.workprec(120):
            known = [float(program(*map(arb, (low, high, off, far)))[0].abs_upper()) for program in bounds]
        for _ in range(6):
            re = float(generator.choice([low, high, generator.uniform(low, high)]))
            im = float(generator.choice([-off, off, 0.0, generator.uniform(-off, off)]))
            value = float(abs(MODULI[row](*settings, mpmath.mpc(re, im))))
            assert all(value <= bound * (1 + 1e-9) for bound in known), (row, settings, re, im, value, known)


def test_each_row_is_tested() -> None:
    """Each row that is made of stretches."""
    assert SETTINGS.keys() == CONTINUED.keys() == MODULI.keys()


def test_few_numbers_make_no_stretch() -> None:
    """A polynomial costs as much as some fifty balls: it is made when enough numbers were there, at once or one by one."""
    made = Stretches("gamma", (), ColumnAlgebra("single", on_numpy()))
    x = np.linspace(2.0, 3.0, PAYS // 2)
    opened = []
    for _ in range(3):
        *_, radius = made((x, np.zeros_like(x)))
        opened.append(bool(np.isinf(radius).all()))
    assert opened == [True, False, False]


def test_a_ball_beyond_its_stretch_is_open() -> None:
    """The polynomial between 1 and 2 holds between 7/8 and 17/8, and for balls that lie there."""
    x = np.linspace(1.0, 2.0, PAYS, endpoint=False)
    for radius, known in ((0.0, x > 0), (0.125, x >= 1.0), (0.25, (x >= 1.125) & (x <= 1.875)), (0.7, x < 0)):
        *_, radii = stretches("besseli", (0,), "single")((x, np.full_like(x, radius * (1 - 1e-9))))
        assert (np.isfinite(radii) == known).all(), radius


@pytest.mark.parametrize("name", ["i0e", "i1", "digamma"])
def test_all_floats_of_a_short_format_need_few_balls(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 65,280 points hardly one is settled by itself."""
    settled: list[object] = []
    settle = Enclosure._settle

    def counted(self: Enclosure, point: tuple[float, ...]) -> Any:
        settled.append(point)
        return settle(self, point)

    monkeypatch.setattr(Enclosure, "_settle", counted)
    report = check_grad(f"{name}(x)", at="x=all", dtype="bfloat16")
    assert len(report.columns[0]) == 65_280 and len(settled) < 2_000
    assert Verdict.UNDECIDED not in report.counts

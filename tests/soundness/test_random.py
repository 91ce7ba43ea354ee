"""No false alarm: on random formulas of the table, whatever is refuted is confirmed by a plain difference quotient."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from flint import arb, ctx

from gradcheck_cli import check_grad
from gradcheck_cli.api import InputError
from gradcheck_cli.exact.values import Values
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.language.chain import link
from tests.expressions import random_formula

pytestmark = pytest.mark.slow(reason="hundreds of random formulas")

FORMULAS = 210
GROUPS = 30
POINTS = 3
"""Of a formula, in one of the two formats by turns."""
ALL_POINTS = 20
"""In each format, where the sweep is whole."""
DTYPES = ("float64", "float32")

FAR = 100
"""Decimal places from 1 beyond which no quotient is taken where torch has no gradient at all."""

COARSE, FINE, FINEST = (200, 1600), (1300, 8000), (4000, 16_000)
"""Of a quotient: the exponent of its step, and the bits it is computed with; the fine step is smaller than every number, the
finest also where a value far beyond the floats is rounded to whole numbers (`ceil(gamma(400))`)."""


def quotient(text: str, point: dict[str, float], name: str, sides: tuple[int, int], exponent: int, bits: int) -> Any:
    """(f(x + sides[1]*h) - f(x + sides[0]*h)) / (h * difference), h = 2**-exponent."""
    chain = link([text], output="f")
    values = Values(chain)
    with ctx.workprec(bits):
        h = arb(2) ** -exponent
        exact = {n: arb(x) for n, x in point.items()}
        high, low = (values(exact, {name: h * side}) for side in (sides[1], sides[0]))
        return (high - low) / (h * (sides[1] - sides[0]))


def close(found: Any, text: str | None) -> bool:
    """Agreement with a decimal that the tool printed, in every digit shown; both beyond every format counts too."""
    exponent = (text or "").partition("e")[2]
    if text in ("inf", "-inf") or (len(exponent) > 9 and not exponent.startswith("-")):  # further than a quotient tells
        return bool(abs(found) > arb(10) ** 15)
    if text is None or not found.is_finite():
        return False
    with ctx.workprec(8000):
        exact, shown = arb(text), len(text.partition("e")[0].lstrip("-0.").replace(".", ""))
        digits = shown if shown > 8 else 16  # 1 is 1.000..., and a ball of 11 digits was no sharper
        return bool(abs(found - exact) <= abs(exact) * arb(10) ** (2 - digits) + arb(10) ** -320)


def slope(text: str, point: dict[str, float], name: str, sides: tuple[int, int], printed: str) -> bool:
    """Agreement of a one-sided quotient with the printed slope; an infinite one shows in a quotient that grows."""
    found = quotient(text, point, name, sides, *FINE)
    if printed not in ("inf", "-inf"):
        return close(found, printed)
    nearer = quotient(text, point, name, sides, 2000, 8000)
    return bool(abs(nearer) > abs(found) * 1.2) and bool(nearer > 0) == (printed == "inf")


def derived(text: str, check: Any) -> bool:
    """True where the quotient is the exact value of the report: those of both sides with a coarse step, which take a tenth of
    the time, or that across the point with a finer one."""
    (name,) = check.wrt
    sides = (quotient(text, check.point, name, side, *COARSE) for side in ((-1, 0), (0, 1)))
    across = (quotient(text, check.point, name, (-1, 1), *fine) for fine in (FINE, FINEST))
    return all(close(side, check.exact) for side in sides) or any(close(found, check.exact) for found in across)


def confirmed(text: str, check: Any) -> bool:
    """True where the quotient gives the exact value that the report claims, and autograd's value is not it."""
    (name,) = check.wrt
    if check.exact is None:
        seen = [
            slope(text, check.point, name, sides, side)
            for sides, side in (((-2, -1), check.left), ((1, 2), check.right))
            if side is not None
        ]
        return bool(seen) and all(seen)
    far = any(x and abs(math.log10(abs(x))) > FAR for x in check.point.values())
    if check.autograd is None and far:  # minutes for a Bessel function; all that is claimed is that it isn't constant
        return bool(arb(check.exact) != 0)
    if not derived(text, check):
        return False
    value, exact = check.autograd, float(check.exact)
    if value is None or not math.isfinite(value):
        return True
    return abs(value - exact) > 4 * float(FORMATS[check.dtype].ulp(exact))


@pytest.mark.parametrize("group", range(GROUPS))
def test_no_false_alarm(group: int, whole: bool) -> None:
    """Seven formulas over ordinary and extreme sizes, in float64 and float32."""
    checked = 0
    for turn, seed in enumerate(range(group, FORMULAS, GROUPS)):
        rng = random.Random(seed)
        text = random_formula(rng, rng.choice((1, 2, 3)))
        for dtype in DTYPES if whole else (DTYPES[turn % len(DTYPES)],):
            try:
                report = check_grad(text, sample=ALL_POINTS if whole else POINTS, seed=seed, dtype=dtype, timeout=5)
            except InputError:
                continue  # a setting that torch refuses
            checked += len(report.checks)
            alarms = [c for c in report.checks if c.verdict == "mismatch" and not confirmed(text, c)]
            assert not alarms, f"{text} (seed {seed}, {dtype}): {alarms[0]}"
    assert checked > (100 if whole else 10)

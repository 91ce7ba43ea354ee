"""Jets have the mixed derivatives of whatever is computed with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import mpmath as mp
import pytest
from flint import arb

from gradcheck_cli.algebra.directions import Directional, beside, sided
from gradcheck_cli.algebra.jets import Jet
from gradcheck_cli.algebra.number import working
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.algebra.series import terms
from gradcheck_cli.language.parser import parse

POINT = (0.7, 1.3)
DIRECTIONS = ((1.0, 0.5), (-0.75, 1.25), (1e-3, 1.0), (1.5, -0.25))

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sin(x*y)*exp(x)": lambda x, y: mp.sin(x * y) * mp.exp(x),
    "x/y": lambda x, y: x / y,
    "x**y": lambda x, y: x**y,
    "atan2(y, x)": lambda x, y: mp.atan2(y, x),
    "logaddexp(x, y)": lambda x, y: mp.log(mp.exp(x) + mp.exp(y)),
    "beta(x, y)": mp.beta,
    "zeta(x + 1, y)": lambda x, y: mp.zeta(x + 1, y),
    "lgamma(x)/sqrt(y) + gelu(x)": lambda x, y: mp.loggamma(x) / mp.sqrt(y) + x * mp.ncdf(x),
    "softplus(x)*tanh(y)": lambda x, y: mp.log1p(mp.exp(x)) * mp.tanh(y),
    "i1e(x)*y": lambda x, y: mp.exp(-x) * mp.besseli(1, x) * y,
    "maximum(x, y)*x": lambda x, y: y * x,
    "abs(x - y)**3": lambda x, y: (y - x) ** 3,
    "log(x)/cos(y) + cos(x*y)/3 + 2/y": lambda x, y: mp.log(x) / mp.cos(y) + mp.cos(x * y) / 3 + 2 / y,
}


def jets(text: str, count: int, layer: Directional, point: tuple[float, float] = POINT) -> Any:
    """A formula on jets that move along the first directions."""
    with working(200), terms(count + 1):
        cells = [
            Jet({0: arb(x), **{1 << k: arb(u[i]) for k, u in enumerate(DIRECTIONS[:count])}}, (1 << count) - 1)
            for i, x in enumerate(point)
        ]
        return Program([parse(text)], ["x", "y"], layer)(*cells)[0]


def quotient(function: Callable[..., Any], count: int) -> Any:
    """The mixed central difference, at high precision."""
    h, total = mp.mpf(2) ** -60, mp.mpf(0)
    for signs in product((1, -1), repeat=count):
        moved = [
            mp.mpf(x) + h * sum(s * mp.mpf(u[i]) for s, u in zip(signs, DIRECTIONS, strict=False)) for i, x in enumerate(POINT)
        ]
        total += math.prod(signs) * function(*moved)
    return total / (2 * h) ** count


@pytest.mark.parametrize("text", FUNCTIONS)
def test_mixed_derivatives(text: str) -> None:
    """Along two and along four directions, as a difference quotient at 600 bits has them."""
    for count in (2, 4):
        found = jets(text, count, Directional())[(1 << count) - 1]
        with mp.workprec(600):
            wanted = quotient(FUNCTIONS[text], count)
            assert (
                abs(mp.mpf(found.mid().str(40, radius=False)) - wanted) <= abs(wanted) * mp.mpf(10) ** -15 + mp.mpf(10) ** -30
            )


def test_directions_of_any_scale() -> None:
    """No direction drowns another: that of x*y along 2**-900 and 1 is 2**-900."""
    with working(128), terms(3):
        x, y = Jet({0: arb(1), 1: arb(2) ** -900}, 1), Jet({0: arb(1), 2: arb(1)}, 2)
        found = Program([parse("x**y")], ["x", "y"], Directional())(x, y)[0]
        assert found[3].overlaps(arb(2) ** -900)  # d2(x**y)/dxdy = 1 at (1, 1)
        assert found[3].rel_accuracy_bits() > 60


def test_what_is_not_analytic_is_unknown() -> None:
    """At a kink, and at an infinite slope, even where all coefficients vanish: sqrt(x*x) at 0."""
    for text in ("abs(x)", "relu(x)", "sqrt(x*x)", "x*sqrt(x)"):
        assert not beside(jets(text, 2, Directional(), (0.0, 1.0)), 3).is_finite(), text


def test_sides_of_a_border_that_one_direction_crosses() -> None:
    """relu(x)*y at x = 0, x moved by the first direction alone: 1 above, 0 below; nothing, if the second one moves it too."""
    for side, wanted in ((1, 0.5), (-1, 0.0)):
        with working(128), terms(3):
            layer = sided(Directional, side)()
            x, y = Jet({0: arb(0), 1: arb(0.5)}, 1), Jet({0: arb(3), 2: arb(1)}, 2)
            assert Program([parse("relu(x)*y")], ["x", "y"], layer)(x, y)[0][3] == wanted
            both = Jet({0: arb(0), 1: arb(0.5), 2: arb(1)}, 3)
            assert not beside(Program([parse("relu(x)*y")], ["x", "y"], layer)(both, y)[0], 3).is_finite()

"""The orthogonal polynomials that torch has, by the coefficients of their recurrences: exact, in any kind of number.

Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 22.7 (recurrences), 22.5 (shifted ones); V and W: Mason and
Handscomb, Chebyshev Polynomials, section 1.2.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache
from types import MappingProxyType

Coefficients = tuple[Fraction, ...]
"""From the constant one on."""

HIGHEST = 64
"""Degree up to which they are written out."""

Recurrence = Callable[[int], tuple[int, int, int, int]]
"""n -> a, b, c, d: d*p[n + 1] = (a + b*x)*p[n] - c*p[n - 1]."""

_CHEBYSHEV: Recurrence = lambda n: (0, 2, 1, 1)  # noqa: E731

_FAMILIES: Mapping[str, tuple[tuple[int, int], Recurrence]] = MappingProxyType({
    "chebyshev_t": ((0, 1), _CHEBYSHEV),
    "chebyshev_u": ((0, 2), _CHEBYSHEV),
    "chebyshev_v": ((-1, 2), _CHEBYSHEV),
    "chebyshev_w": ((1, 2), _CHEBYSHEV),
    "hermite_h": ((0, 2), lambda n: (0, 2, 2 * n, 1)),
    "hermite_he": ((0, 1), lambda n: (0, 1, n, 1)),
    "laguerre_l": ((1, -1), lambda n: (2 * n + 1, -1, n, n + 1)),
    "legendre_p": ((0, 1), lambda n: (0, 2 * n + 1, n, n + 1)),
})  # fmt: skip
"""The one of degree 1, and the recurrence; that of degree 0 is 1."""


@cache
def coefficients(family: str, n: int, shifted: bool = False) -> Coefficients:
    """Of the polynomial of degree n in x; shifted: in 2*x - 1."""
    first, recurrence = _FAMILIES[family]
    below: list[Fraction] = [Fraction(1)]
    here = [Fraction(c) for c in first]
    for k in range(1, n):
        a, b, c, d = recurrence(k)
        raised = [Fraction(0), *here]
        above = [b * r for r in raised]
        for i, value in enumerate(here):
            above[i] += a * value
        for i, value in enumerate(below):
            above[i] -= c * value
        below, here = here, [value / d for value in above]
    found = below if n == 0 else here
    return tuple(_shifted(found) if shifted else found)


def _shifted(given: list[Fraction]) -> list[Fraction]:
    found: list[Fraction] = []
    for value in reversed(given):
        doubled = [Fraction(0), *(2 * f for f in found)]
        found = [d - f for d, f in zip(doubled, [*found, Fraction(0)], strict=True)]
        found[0] += value
    return found


NAMES: Mapping[str, tuple[str, bool]] = MappingProxyType(
    {name: (name, False) for name in _FAMILIES}
    | {f"shifted_{name}": (name, True) for name in _FAMILIES if name.startswith("chebyshev")}
)
"""What the table of functions calls them."""

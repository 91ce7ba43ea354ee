"""The tables of erfc, made with arb when a formula first needs them: a tenth of a second.

Taylor's coefficients of erfcx(x) = exp(x**2)*erfc(x) at the middles of [j/32, (j + 1)/32], 0 <= x < 28, and of erf(x) at j/32
up to 1/2.
"""

from __future__ import annotations

from typing import Any

from flint import arb, ctx

from gradcheck_cli.algebra.columns.tables import Table, words

STEPS = 32
END = 28.0
TERMS = 13


def _scaled(middle: Any) -> list[Any]:
    """Of erfcx: the derivative of y is 2*x*y - 2/sqrt(pi)."""
    value = (middle * middle).exp() * middle.erfc()
    found = [value, 2 * middle * value - 2 / arb.pi().sqrt()]
    for k in range(1, TERMS - 1):
        found.append((2 * middle * found[k] + 2 * found[k - 1]) / (k + 1))
    return found


def _plain(middle: Any) -> list[Any]:
    """Of erf: y'' = -2*x*y'."""
    found = [middle.erf(), 2 * (-middle * middle).exp() / arb.pi().sqrt()]
    for k in range(TERMS - 2):
        found.append(-2 * (middle * (k + 1) * found[k + 1] + (k * found[k] if k else 0)) / ((k + 1) * (k + 2)))
    return found


def _columns(rows: list[list[Any]]) -> tuple[tuple[Table, ...], tuple[Table, ...]]:
    pairs = [words(column) for column in zip(*rows, strict=True)]
    return tuple(high for high, _ in pairs), tuple(low for _, low in pairs)


with ctx.workprec(160):
    SCALED_HIGH, SCALED_LOW = _columns([_scaled((arb(j) + arb(1) / 2) / STEPS) for j in range(int(STEPS * END))])
    PLAIN_HIGH, PLAIN_LOW = _columns([_plain(arb(j) / STEPS) for j in range(STEPS // 2 + 1)])

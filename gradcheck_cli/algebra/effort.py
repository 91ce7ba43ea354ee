"""Work, counted: what limits are measured in, so that no verdict depends on how busy a machine is. Only --timeout is time.

The unit is one multiplication of balls of few bits, about a microsecond.
"""

from __future__ import annotations

from gradcheck_cli.language.functions import Function

ARITHMETIC, ELEMENTARY, SPECIAL = 1, 40, 1600
"""What a row costs at thousands of bits, as a multiple of a multiplication: measured at 4096 and 6300 bits, within a factor of
five (exp 0.1 ms, sin 0.3, erf 2, besselj 3, digamma 14)."""

ZETA = 60_000
"""The same of Hurwitz' zeta function and what is made of it (0.2 s)."""

_ZETA = frozenset({"zeta", "polygamma"})

BITS = 1024
"""Bits that double the price of a small ball's operation, most of which is Python's own."""

OPERATION = 32
"""What following one operation costs besides its numbers."""

POINT = 12e6
"""Of one derivative of a formula at one point, and as much again for its limits: about 4 s of an idle core."""

WITNESS = 16e6
"""Of one confirmation by the second witness."""

ENTRY = 2e6
"""Of the limits of one singular entry of a map: about 4 s."""

FAILURE = 1e7
"""Of taking one failure of a map apart: about 20 s."""


def weight(row: Function) -> int:
    """What one call of a row costs, in units at a few bits. Promises of kernels tell what kind of function it is."""
    if row.name in _ZETA:
        return ZETA
    return ARITHMETIC if row.operator or row.ulps <= 1 else ELEMENTARY if row.ulps <= 4 else SPECIAL


def price(bits: int) -> float:
    """What the precision makes of the unit."""
    return 1 + bits / BITS

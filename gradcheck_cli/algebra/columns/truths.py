"""Conditions on columns, three-valued: a pair of masks, where it certainly holds and where it certainly doesn't.

A comparison is decided where the two balls are disjoint, as in `balls.SMOOTH`: nearby arguments give the same answer.
"""

from __future__ import annotations

from gradcheck_cli.algebra.columns.primitives import Mask

Truth = tuple[Mask, Mask]


def negation(x: Truth) -> Truth:
    """not x."""
    holds, fails = x
    return fails, holds


def conjunction(x: Truth, y: Truth) -> Truth:
    """x and y: certainly false as soon as one is."""
    return x[0] & y[0], x[1] | y[1]


def disjunction(x: Truth, y: Truth) -> Truth:
    """x or y: certainly true as soon as one is."""
    return x[0] | y[0], x[1] & y[1]


def equal(order: Truth) -> Truth:
    """x == y, of the order of x and y (above, below): false where they are disjoint, never certainly true."""
    above, below = order
    return above & below, above | below

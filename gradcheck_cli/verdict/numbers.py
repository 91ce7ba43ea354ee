"""Numbers as text: decimals of balls, correct in every digit shown."""

from __future__ import annotations

from typing import Any

from gradcheck_cli.algebra.number import precision, working

DIGITS = 20
"""Significant digits of an exact value in JSON, if the enclosure has as many."""


_ONE_DIGIT = 5  # bits without which a ball has no certain decimal digit


def decimal(ball: Any, digits: int = DIGITS) -> str | None:
    """The midpoint of a flint ball in decimal, with at most `digits` digits, correct in every digit shown; None for None,
    for nan and for a ball too wide for a digit.

    A ball that holds 0 and is not exactly 0 shows as "0": the derivative is certified to be that, or below every format and not
    to be told from it by any precision that is tried.
    """
    if ball is None or ball.is_nan():
        return None

    if not ball.is_finite():
        return "inf" if ball > 0 else "-inf" if ball < 0 else None
    if ball.contains(0):
        return "0"
    if ball.rel_accuracy_bits() < _ONE_DIGIT:
        return None
    with working(max(precision(), 128)):
        text = str(ball.str(digits, radius=False))
    if text.startswith("[") or "e" not in text and "." not in text:
        return "0" if text.startswith("[") else text
    mantissa, e, exponent = text.partition("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    if e and -5 <= int(exponent) < 0:
        sign, bare = ("-", mantissa[1:]) if mantissa.startswith("-") else ("", mantissa)
        return sign + "0." + "0" * (-int(exponent) - 1) + bare.replace(".", "")
    return mantissa + (f"e{int(exponent)}" if e else "")


def interval(ball: Any) -> str | None:
    """A ball as text: decimal where it has digits, else flint's `[midpoint +/- radius]`; None where it isn't finite."""
    if not ball.is_finite():
        return None
    shown = None if ball.contains(0) and not ball.is_zero() else decimal(ball)
    return str(ball.str(3, more=True)) if shown is None else shown

"""What the exact side says of one derivative at one point."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from gradcheck_cli.algebra.number import Ball
from gradcheck_cli.language.spaces import is_imag


class Kind(Enum):
    """What is known of the derivative at a point."""

    REGULAR = "the derivative exists and is enclosed"
    NONDIFFERENTIABLE = "it doesn't exist; left and right may be known"
    OUTSIDE = "the function has no real value"
    UNKNOWN = "not certified within the limits"


@dataclass(frozen=True, slots=True)
class Truth:
    """The exact side of one entry. `ball` is None unless REGULAR; `left` and `right` are one-sided derivatives as balls
    (an infinity where the slope is infinite), None where that side is outside the domain. `singular`: found by limits
    from both sides, not by a formula. `jump`: the function is discontinuous, `left` and `right` are slopes beside the
    jump, and the text says on which side the value lies, if on one. `free`: there are no one-sided values that a
    convention could be held to (a lower derivative is missing already, or a mixed one is unbounded). `mixed`: the sides are
    those of several variables, the least and the largest of all quadrants, or two of these."""

    kind: Kind
    ball: Ball = None
    left: Ball = None
    right: Ball = None
    singular: bool = False
    jump: bool = False
    free: bool = False
    mixed: bool = False
    text: str | None = None


JUMP = "the function jumps here"


def sides_of(name: str) -> tuple[str, str]:
    """What the sides of a point are called along a variable: smaller numbers, and larger ones. The imaginary part of a complex
    one is upright in the plane."""
    return ("below", "above") if is_imag(name) else ("the left", "the right")


def held(side: int, along: str, whose: str = "its") -> str | None:
    """Of a jump along a variable, the side on which a value lies: -1, 1; 0 where on none."""
    return f"{whose} value is the limit from {sides_of(along)[side > 0]}" if side else None


def jump_of(truth: Truth) -> str:
    """What is said of a jump."""
    return JUMP if truth.text is None else f"{JUMP}, and {truth.text}"


def regular(found: Truth | Ball) -> Truth:
    """The truth of an entry: a bare ball is a derivative by formula."""
    return found if isinstance(found, Truth) else Truth(Kind.REGULAR, found)

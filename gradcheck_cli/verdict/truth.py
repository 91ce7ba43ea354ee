"""What the exact side says of one derivative at one point."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from gradcheck_cli.algebra.number import Ball


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
    convention could be held to (a lower derivative is missing already, or a mixed one is unbounded)."""

    kind: Kind
    ball: Ball = None
    left: Ball = None
    right: Ball = None
    singular: bool = False
    jump: bool = False
    free: bool = False
    text: str | None = None


JUMP = "the function jumps here"
HELD = {-1: "its value is the limit from the left", 0: None, 1: "its value is the limit from the right"}
"""By the side of a jump on which the function's value lies, if on one."""


def jump_of(truth: Truth) -> str:
    """What is said of a jump."""
    return JUMP if truth.text is None else f"{JUMP}, and {truth.text}"


def regular(found: Truth | Ball) -> Truth:
    """The truth of an entry: a bare ball is a derivative by formula."""
    return found if isinstance(found, Truth) else Truth(Kind.REGULAR, found)

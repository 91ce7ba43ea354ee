"""What the shadow saw of one derivative at one point: plain data, for the verdict."""

from __future__ import annotations

from dataclasses import dataclass

from gradcheck_cli.algebra.number import Ball


@dataclass(frozen=True, slots=True)
class Shade:
    """`exact`: autograd's operations in exact arithmetic; `rounded`: all that rounding may make of them.

    `infinite`, `tiny`: the first operation whose float left the range upwards or downwards, with its stage; `overflow`: the
    exact result of the first was finite. `trap`: nan came of a factor that is exactly 0. `opaque`: operations that couldn't
    be followed. `turned`: operations whose truth values rounding alone made other than they are in exact arithmetic.
    `loose`: rounding might have made some truth value other than it is.
    """

    exact: Ball
    rounded: Ball
    infinite: tuple[str, str | None] | None = None
    overflow: bool = False
    tiny: tuple[str, str | None] | None = None
    trap: bool = False
    opaque: tuple[str, ...] = ()
    turned: tuple[str, ...] = ()
    loose: bool = False

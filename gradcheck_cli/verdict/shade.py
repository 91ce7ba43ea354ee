"""What the shadow saw of one derivative at one point: plain data, for the verdict."""

from __future__ import annotations

from dataclasses import dataclass

from gradcheck_cli.algebra.number import Ball


@dataclass(frozen=True, slots=True)
class Shade:
    """`exact`: autograd's operations in exact arithmetic; `rounded`: all that rounding may make of them; `scaled`: all that it
    may in a format whose exponents have no limits (None: not known).

    `infinite`, `tiny`: the first operation on the way whose float left the range upwards or downwards, with its stage;
    `overflow`: the exact result of the first was finite; `strayed`: its float is nan, for rounding had taken an argument out of
    the domain. `trap`: nan came of a factor that is exactly 0. `opaque`: operations that couldn't
    be followed. `turned`: operations whose truth values rounding alone made other than they are in exact arithmetic.
    `loose`: rounding might have made some truth value other than it is.
    `narrowed`: what rounded to a shorter format on the way.
    """

    exact: Ball
    rounded: Ball
    scaled: Ball = None
    infinite: tuple[str, str | None] | None = None
    overflow: bool = False
    strayed: bool = False
    tiny: tuple[str, str | None] | None = None
    trap: bool = False
    opaque: tuple[str, ...] = ()
    turned: tuple[str, ...] = ()
    loose: bool = False
    narrowed: tuple[str, ...] = ()

"""What the shadow saw of one derivative at one point: plain data, for the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gradcheck_cli.algebra.columns.column import Column
from gradcheck_cli.algebra.columns.primitives import Mask
from gradcheck_cli.algebra.number import Ball
from gradcheck_cli.floats import Floats


class Place(NamedTuple):
    """An operation, as a user calls it, and the stage it belongs to; where it is in the user's code, in words, and what to do
    about the nan that came of it. `vanished`: its result was too small, whatever came of that."""

    operation: str
    stage: str | None = None
    where: str | None = None
    advice: str | None = None
    vanished: bool = False


@dataclass(frozen=True, slots=True)
class Shade:
    """`exact`: autograd's operations in exact arithmetic; `rounded`: all that rounding may make of them; `scaled`: all that it
    may in a format whose exponents have no limits (None: not known).

    `infinite`, `tiny`: the first operation on the way whose float left the range upwards or downwards, with its stage;
    `overflow`: the exact result of the first was finite; `strayed`: its float is nan, for rounding had taken an argument out of
    the domain; `broken`: its kernel returned no number where all numbers are ordinary. `trap`: nan came of a factor that is
    exactly 0. `opaque`: operations that couldn't be followed. `turned`: operations whose truth values rounding alone made other
    than they are in exact arithmetic.
    `loose`: rounding might have made some truth value other than it is.
    `narrowed`: what rounded to a shorter format on the way. `pinned`: the comparison that chose a branch for this very point.
    `instead`: operations that couldn't be followed, for which all this is what another way to the same derivative saw.
    """

    exact: Ball
    rounded: Ball
    scaled: Ball = None
    infinite: Place | None = None
    overflow: bool = False
    strayed: bool = False
    broken: bool = False
    tiny: Place | None = None
    trap: bool = False
    opaque: tuple[str, ...] = ()
    turned: tuple[str, ...] = ()
    loose: bool = False
    narrowed: tuple[str, ...] = ()
    pinned: str | None = None
    instead: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shades:
    """The same of many entries: in exact arithmetic, and how far from that centre rounding may take each; infinite: there is no
    bound on that; nan: nothing is known of it."""

    exact: Column
    rounded: Floats

    def pick(self, places: Sequence[int] | Mask | slice) -> Shades:
        """Some of them."""
        return Shades(self.exact.pick(places), self.rounded[places])

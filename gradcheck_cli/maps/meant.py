"""What a map's derivative ought to be of, where the map's own operations don't say: one mechanism, three words for it.

A *reference* is a second implementation and a *formula* is mathematics: the map itself ought to compute the same. A *surrogate*
is another function, of which the map's backward alone is the derivative. Code is followed as any map is, and proved by itself;
a formula is evaluated. Where an operation of the map can't be followed, what rounding may do to what is meant stands in for
what it may do to the map.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from gradcheck_cli.algebra.number import Ball
from gradcheck_cli.maps.map import Map
from gradcheck_cli.maps.orders import Orders
from gradcheck_cli.maps.runs import Formula, Runs
from gradcheck_cli.verdict.shade import Shade, Shades

ROOM = 4.0
"""How much more rounding a map is allowed than what is meant may have, where its own can't be told: the same sums in another
order, another formula of as good a condition. The judge's own margin comes on top."""


@dataclass(frozen=True)
class Meant:
    """`map`: of the same inputs and outputs; `written`: the formula that it is, if it is one, else its operations are followed;
    `same`: the map that is judged ought to compute it, else its backward alone is of it; `name`: what the reader calls it.
    `orders`: where both are derivatives already, what has the truth of this one. `prover`: what has proved this one, if
    anything has. `hidden`: what behaves otherwise where it is watched, if that is known of the map that is judged; `watched`:
    what judged the map that it is then. `held`: quotients have been held to what is meant, and nothing spoke against it."""

    map: Map
    written: Formula | None = None
    same: bool = True
    name: str = "the reference"
    orders: Orders | None = None
    prover: Any = None
    hidden: str = ""
    watched: Any = None
    held: bool = False

    @property
    def formula(self) -> Formula:
        """Its outputs' cells, followed through its operations where it is code."""
        runs = Runs(self.map, self.written, lambda: None)
        return lambda layer, inputs: runs.forward([layer], [inputs])[0]


def instead(opaque: Shade, other: Shade, truth: Ball) -> Shade:
    """What stands for the shade of a run that couldn't be followed: that of what is meant, with room; the opaque one where that
    says nothing of this derivative either."""
    known = not other.opaque and other.exact.is_finite() and other.rounded.is_finite()
    if not known or not other.exact.overlaps(truth):
        return opaque
    wider = other.rounded.mid() + (other.rounded - other.rounded.mid()) * ROOM
    return replace(other, rounded=wider, instead=opaque.opaque)


def roomier(found: Shades) -> Shades:
    """The same of many entries at once."""
    return Shades(found.exact, found.rounded * ROOM)

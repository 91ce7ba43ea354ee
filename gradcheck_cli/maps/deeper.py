"""Difference quotients of higher orders of the plain function, as torch runs it: which of two n-th derivatives they side with.

A quotient of what torch makes of the derivative before (`maps.quotient`) refutes an n-th derivative that isn't its
derivative. It can't take a mismatch back, for the derivative before may be wrong itself: only the function can. Central
differences along the directions ahead are differentiated by quotients along the last one; those of half the length show their
error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from math import prod

import numpy as np

from gradcheck_cli.floats import Floats
from gradcheck_cli.maps.map import Map
from gradcheck_cli.maps.quotient import Outcome, Plain, Project, Slopes, slopes

PLACES = (-1.0, -0.5, 0.0, 0.5, 1.0)
"""Along the last direction, as `quotient.slopes` takes them."""


class Deeper:
    """The derivative along directions `ahead`, and one more, of what is `asked` of a map's outputs."""

    def __init__(
        self, map: Map, ahead: Sequence[Floats], seed: int, checkpoint: Callable[[], None], asked: Project = lambda y: y
    ) -> None:
        self.plain, self._asked, self._ahead = Plain(map, seed, checkpoint), asked, ahead

    def along(self, direction: Floats, found: Floats, known: Floats, scale: float) -> Outcome:
        """The quotients along a direction, and two derivatives along it. `scale`: of the steps, as a multiple of those
        for which rounding and the curve err by about as much."""
        bits, order = self.plain.form.bits, 1 + len(self._ahead)
        longer = scale * 2.0 ** (bits // 4 - bits // (order + 2))
        steps = [longer * self.plain.scale(w) for w in (*self._ahead, direction)]
        *ahead, last = [w * step for w, step in zip((*self._ahead, direction), steps, strict=True)]
        with np.errstate(all="ignore"):
            whole, half = (self._slopes(ahead, last, share) for share in (1.0, 0.5))
            error = abs(half.value - whole.value) + whole.error + half.error
            seen = half._replace(value=half.value + (half.value - whole.value) / 3, error=error).over(prod(steps))
            return Outcome(seen, found, known, abs(found), np.zeros(len(found), dtype=bool))

    def _slopes(self, ahead: Sequence[Floats], last: Floats, share: float) -> Slopes:
        """By central differences of a share of the steps ahead."""
        signs = list(product((1.0, -1.0), repeat=len(ahead)))

        def at(place: float) -> Floats:
            moved = [sum((s * share * w for s, w in zip(some, ahead, strict=True)), last * place) for some in signs]
            total = sum(prod(some) * self.plain.at(by) for some, by in zip(signs, moved, strict=True))
            return np.asarray(total / (2 * share) ** len(ahead))

        far_left, left, here, right, far_right = map(at, PLACES)
        noise = self.plain.noise(self._asked) / share ** len(ahead)
        return slopes((far_left, left, here, right, far_right), self._asked, noise)

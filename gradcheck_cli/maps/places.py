"""Where a slip must fit: beside the user's point, at it, and far off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gradcheck_cli.floats import Floats


@dataclass(frozen=True)
class Place:
    """Numbers are drawn from `low` to `high`: factors of the user's numbers where they are `beside` those, else what has their
    signs, or the other ones (`turned`)."""

    seed: int
    low: float
    high: float
    beside: bool = False
    turned: bool = False

    def of(self, numbers: Mapping[str, Floats], seed: int) -> dict[str, Floats]:
        """The user's numbers, moved to this place."""
        draw = np.random.default_rng(seed)
        drawn = {name: draw.uniform(self.low, self.high, np.shape(x)) for name, x in numbers.items()}
        if self.low == self.high:
            return {name: np.array(x, dtype=np.float64) for name, x in numbers.items()}
        if self.beside:
            return {name: np.where(x == 0, drawn[name] / ZERO, x * drawn[name]) for name, x in numbers.items()}
        return {name: np.where((x < 0) != self.turned, -drawn[name], drawn[name]) for name, x in numbers.items()}


ZERO = 8
"""What a factor is divided by, to stand for a number beside 0."""

NEAR = (Place(0, 0.9, 1.1, beside=True), Place(1, 0.9, 1.1, beside=True))
OWN = Place(0, 1.0, 1.0, beside=True)
"""With the upstream gradient of the first: another one may happen to give nothing but zeros."""

CALM = (Place(2, 0.2, 0.9), Place(3, 0.2, 0.9, turned=True))
"""Where the usual functions are neither saturated nor far from linear."""

FAR = (*CALM, Place(4, 3.1, 4.9), Place(5, 3.1, 4.9, turned=True))
"""Besides, where many of them bend, and where limits are passed."""

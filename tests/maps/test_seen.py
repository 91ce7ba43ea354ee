"""What rounded constants excuse, where their worst case is worse by far than what they do."""

from __future__ import annotations

import numpy as np
from flint import arb

from gradcheck_cli.floats import FORMATS
from gradcheck_cli.maps.seen import DRAWS, within

CONSTANTS = 64
"""In a sum of so many, all are off by half an ulp at worst: about 14 times as far as they are at random, by the root of 3*n."""


def test_the_worst_of_a_sum_of_constants_is_excused() -> None:
    """A sum of 64 constants, each as far off as rounding may put it, is excused three times in four by draws that put each off
    at random; one that is off by 8 times that never is."""
    half = FORMATS["float64"].unit_roundoff
    rng, worst, excused = np.random.default_rng(0), CONSTANTS * half, 0
    for _ in range(200):
        nudged = [arb(1) + arb(float(rng.uniform(-half, half, CONSTANTS).sum())) for _ in range(DRAWS)]
        found = within(arb(1, 1e-3), arb(1), nudged, 0.0)
        excused += bool(found.contains(arb(1) + worst))
        assert found.contains(1) and not found.contains(arb(1) + 8 * worst)
    assert excused > 130

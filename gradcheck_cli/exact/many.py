"""Exact derivatives at many points: columns certify most, and balls are asked about a sample of those."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from flint import arb, ctx

from gradcheck_cli.algebra.columns.evaluation import Evaluation
from gradcheck_cli.algebra.columns.trust import TRUST
from gradcheck_cli.algebra.number import Ball
from gradcheck_cli.algebra.precision import ENCLOSURE
from gradcheck_cli.floats import Floats
from gradcheck_cli.language.tree import Node
from gradcheck_cli.verdict.truths import Truths, Words

Balls = Callable[[Sequence[Ball]], Sequence[Ball] | None]

SHORT_BITS = 24
"""Formats of so many bits are certified in single words."""


class Many:
    """Formulas, the value first, at many points; each is certified where it is known to `guard` bits more than `bits`."""

    def __init__(self, trees: Sequence[Node], inputs: Sequence[str], bits: int, guard: int) -> None:
        self._evaluation = Evaluation(trees, inputs, "single" if bits <= SHORT_BITS else "double")
        self._enough = 2.0 ** -(bits + guard)

    def certify(self, given: Sequence[Floats], found: Sequence[Truths], balls: Balls) -> None:
        """Certify what columns can, unless they aren't trusted. `balls`: the same numbers of a point in balls."""
        if not TRUST.sound():
            return
        value, *derivatives = self._evaluation.at(*given)
        certain = np.isfinite(value.radius)
        for column in derivatives:
            certain &= column.radius <= np.abs(column.high) * self._enough
        if not self._confirmed(given, [value, *derivatives], certain, balls):
            return
        for truths, column in zip(found, [value, *derivatives], strict=True):
            truths.certify(Words(*column), certain)

    def _confirmed(self, given: Sequence[Floats], columns: Sequence[Any], certain: npt.NDArray[np.bool_], balls: Balls) -> bool:
        """Whether balls agree on a sample of what was certified, all special points among it."""
        with ctx.workprec(ENCLOSURE[0]):
            for index in TRUST.sample(given, certain):
                point = [float(column[index]) for column in given]
                for ball, column in zip(balls([arb(x) for x in point]) or (), columns, strict=True):
                    word = arb(float(column.high[index])) + float(column.low[index])
                    if not ball.overlaps(word + arb(0, float(column.radius[index]))):
                        TRUST.lose(f"at {', '.join(map(repr, point))}")
                        return False
        return TRUST.sound()

"""Exact derivatives at many points: columns certify most, and balls are asked about a sample of those."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy.typing as npt
from flint import arb, ctx

from gradcheck_cli.algebra.columns.column import Column
from gradcheck_cli.algebra.columns.evaluation import Enclosures
from gradcheck_cli.algebra.columns.moving import Slopes
from gradcheck_cli.algebra.columns.stretches import CONTINUED
from gradcheck_cli.algebra.columns.trust import TRUST
from gradcheck_cli.algebra.number import Ball
from gradcheck_cli.algebra.precision import ENCLOSURE
from gradcheck_cli.floats import Floats
from gradcheck_cli.language.tree import Call, Node, walk
from gradcheck_cli.verdict.truths import Truths

Balls = Callable[[Sequence[Ball]], Sequence[Ball] | None]
"""The same numbers of a point in balls, at the present precision; None where they have none."""


class Many:
    """Formulas, the value first, at so many `points`; each derivative is certified where it is known to so many `bits`, or to
    be as good as 0, smaller than `tiny`."""

    def __init__(
        self, trees: Sequence[Node], inputs: Sequence[str], bits: int, tiny: float, points: int = 0,
        along: Sequence[int | None] | None = None,
    ) -> None:  # fmt: skip
        """`along`: the inputs that the derivatives are first ones by, by their numbers, None for the output itself; None where
        others are asked for."""
        stretches = any(isinstance(item, Call) and item.function in CONTINUED for item in walk(trees[0]))
        before = partial(Slopes, trees[0], tuple(inputs), along) if stretches and along is not None else None
        needed = [0] + [bits] * (len(trees) - 1)
        self._enclosures = Enclosures(trees, inputs, needed, points=points, tiny=tiny, before=before)

    def certify(self, given: Sequence[Floats], found: Sequence[Truths], balls: Balls) -> None:
        """Certify what columns can, unless they aren't trusted."""
        if not TRUST.sound():
            return
        columns, left = self._enclosures.at(*given)
        if self._confirmed(given, columns, ~left, balls):
            for truths, column in zip(found, columns, strict=True):
                truths.certify(column, ~left)

    def _confirmed(self, given: Sequence[Floats], columns: Sequence[Column], certain: npt.NDArray[Any], balls: Balls) -> bool:
        """Whether no ball contradicts a sample of what was certified, all special points among it."""
        sample = TRUST.sample(given, certain)
        points = zip(*(column[sample].tolist() for column in given), strict=True)
        words = [zip(*(part[sample].tolist() for part in column), strict=True) for column in columns]
        with ctx.workprec(ENCLOSURE[0]):
            for point, *found in zip(points, *words, strict=True):
                known = balls([arb(x) for x in point])
                if known is not None and any(abs(b - high - low) > r for b, (high, low, r) in zip(known, found, strict=True)):
                    TRUST.lose(f"at {', '.join(map(repr, point))}")
                    return False
        return True

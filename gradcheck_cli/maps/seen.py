"""What the shadow saw of many results at once, as sharply as a wrong formula needs it.

Balls of a deep function are worst cases of worst cases: of rounding, and of what constants may mean. Where they are wide the
run is repeated at more bits, and without what constants may mean: no wrong formula hides behind a bound that a better one
disproves. A right formula needs none of that: with every constant as the float that it is, its balls meet the exact ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from gradcheck_cli.algebra.directions import Nudged, Precise
from gradcheck_cli.algebra.layers import Cell, Layer
from gradcheck_cli.algebra.number import ZERO, Ball, working
from gradcheck_cli.floats import Format
from gradcheck_cli.maps.runs import Followed, layers_of, plain_layers_of, unlimited
from gradcheck_cli.verdict.entries import excusable
from gradcheck_cli.verdict.shade import Shade

SHARP = 64
"""Roundoffs, relative to an entry, up to which the ball of it is sharp: a wrong formula shows where it is off by more."""

DRAWS, TIMES = 3, 16
"""How often constants are put off at random, and by how much more they may be off together."""

SMALL = 2.0**-20
"""Entries below this share of the largest are sharp where a ball of that size is."""


class Seen(NamedTuple):
    """What the shadow saw of all results of a run: their cells, in exact arithmetic, with rounding, and with what rounding does
    where exponents have no limits."""

    run: Followed
    exact: list[Ball]
    rounded: list[Ball]
    scaled: list[Ball] | None = None

    def shade(self, index: int) -> Shade:
        """Of one of them."""
        here = slice(index, index + 1)
        return self.run.shades(self.exact[here], self.rounded[here], None if self.scaled is None else self.scaled[here])[0]


def sharply(
    form: Format,
    precisions: Sequence[int],
    repeated: Callable[[Sequence[Layer]], Followed],
    spans: Mapping[str, slice],
    truths: Sequence[Ball | None] = (),
    known: Followed | None = None,
) -> Seen:
    """What is seen of the first row of a run in given layers, at the first precision at which it is sharp, or the last. The
    results of each name stand at `spans`. `truths`: the exact side of all of them, None where there is none; nothing where it
    is of other code, whose constants may differ. `known`: such a run in `plain_layers_of`, at the first precision."""
    sharp, told = SHARP * form.unit_roundoff, bool(truths) and all(truth is not None for truth in truths)
    for bits in precisions:
        with working(bits):
            if told:
                run, known = known or repeated(plain_layers_of(form)), None
                exact, rounded = (joined(found, spans) for found in run.gradients[0])
                wide = widest(exact) > sharp
                if not wide and run.decided and all(x.overlaps(truth) for x, truth in zip(exact, truths, strict=True)):
                    return Seen(run, exact, rounded)
                if wide and bits != precisions[-1]:
                    continue  # what constants may mean makes it no sharper
            run = repeated(layers_of(form))
            exact, rounded = (joined(found, spans) for found in run.gradients[0])
            scaled = joined(repeated(unlimited(form)).gradients[0][1], spans) if run.ranged else None
            if widest(exact) <= sharp:
                break
            plain, *nudged = (
                joined(found, spans) for found in repeated([Precise(), *map(Nudged, range(DRAWS))]).gradients[0]
            )  # most of a run is no layer's
            if widest(plain) <= sharp:
                exact = [within(*cells, excusable(form)) for cells in zip(exact, plain, zip(*nudged, strict=True), strict=True)]
                break
    return Seen(run, exact, rounded, scaled)


def joined(found: Mapping[str, list[Cell] | None], spans: Mapping[str, slice]) -> list[Cell]:
    """The cells of all names, in order; 0 where torch gave no tensor."""
    return [cell for name, span in spans.items() for cell in found[name] or [ZERO] * (span.stop - span.start)]


def widest(balls: Sequence[Ball]) -> float:
    """The largest radius, relative to its entry; infinite where one isn't finite."""
    if not all(b.is_finite() for b in balls):
        return math.inf
    sizes = [float(abs(b.mid())) for b in balls]
    least = SMALL * max(sizes, default=0.0) or math.ulp(0.0)
    return max((float(b.rad()) / max(size, least) for b, size in zip(balls, sizes, strict=True)), default=0.0)


def within(meant: Ball, plain: Ball, nudged: Sequence[Ball], share: float) -> Ball:
    """What constants may mean, no further from what they are than this share of it, or some times as far as constants that are
    off at random lead: worst cases of a deep function are worse by far than what rounded constants do."""
    moved = max((float(abs((n - plain).mid())) for n in nudged), default=0.0)
    reach = max(share * float(plain.abs_upper()), TIMES * moved)
    near = (plain + reach).union(plain - reach)
    return near if near.rad() < meant.rad() else meant

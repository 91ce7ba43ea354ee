"""The second witness of functions of tensors: difference quotients at hundreds of bits, on both sides, refined before they
disagree with what power series gave."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Protocol

from gradcheck_cli.algebra.number import ZERO, Ball, precision, two_to, working
from gradcheck_cli.algebra.precision import QUOTIENT_STEP
from gradcheck_cli.floats import Floats
from gradcheck_cli.maps.runs import Cells

Read = Callable[[Cells], Ball]
"""One number of the outputs, from their cells."""


class Displaced(Protocol):
    """A map whose inputs can be displaced along directions, as `maps.probe` does."""

    def displaced(self, steps: Sequence[tuple[Floats, Ball]]) -> Cells:
        """The inputs' cells, moved by steps along directions."""

    def beside(self, cells: Sequence[Cells]) -> Sequence[Cells]:
        """The outputs' cells there."""

    def longer(self, direction: Floats) -> int:
        """By how many powers of two a direction is longer than the least of the inputs that it moves."""


AGREED = 48
"""Bits to which the two witnesses must agree."""

REFINED = ((1, 1), (4, 4), (8, 8), (16, 8))
"""Quarters of QUOTIENT and of QUOTIENT_STEP at which they are compared, until they agree: a step may be too long beside a
neighbour of another size (log(x) at 1e-300), or the bits too few beside the size of the value. The first is as good a witness
where it agrees, 52 bits beyond AGREED, and takes a third of the time."""

ALONE = 16
"""Entries that are confirmed one by one where they aren't together."""


def confirms(
    at: Displaced, direction: Floats, reads: Sequence[tuple[Read, Ball, Ball]], ahead: Sequence[Floats] = ()
) -> bool | None:
    """The second witness: whether difference quotients along `direction` and those `ahead`, on both sides, give every
    number's derivative; None where they stay too wide to tell. Both are refined before they disagree.

    `reads`: the number, its derivative, and the size of what that was added up from. Call it at QUOTIENT bits.
    """
    agrees: bool | None = None
    for bits, step in REFINED:
        with working(precision() * bits // 4):
            agrees = _quotients_agree(at, direction, reads, ahead, QUOTIENT_STEP * step // 4)
        if agrees:
            break
    return agrees


def _quotients_agree(
    at: Displaced, direction: Floats, reads: Sequence[tuple[Read, Ball, Ball]], ahead: Sequence[Floats], step: int
) -> bool | None:
    """The same at the present precision, by steps of 2**-step."""
    exponents = [step, *(step + at.longer(w) for w in ahead)]
    lines = list(zip([direction, *ahead], map(two_to, (-e for e in exponents)), strict=True))
    nodes = list(product((1, 2), repeat=len(lines)))  # the point itself is in no quotient
    weights = [math.prod(2 * n - 3 for n in node) for node in nodes]
    with working(precision() + sum(exponents[1:])):
        sides = [
            at.beside([at.displaced([(u, side * n * h) for n, (u, h) in zip(node, lines, strict=True)]) for node in nodes])
            for side in (1, -1)
        ]
        scales = [side ** len(lines) * two_to(sum(exponents)) for side in (1, -1)]
        gaps = [
            (abs(sum((w * read(v) for w, v in zip(weights, values, strict=True)), ZERO) * scale - total), size)
            for read, total, size in reads
            for values, scale in zip(sides, scales, strict=True)
        ]
        if all(gap <= size * two_to(-AGREED) for gap, size in gaps):
            return True
        return False if any(gap > size * two_to(-AGREED) for gap, size in gaps) else None


def doubted(
    confirm: Callable[[Sequence[int], Sequence[Ball]], bool | None], some: Sequence[int], balls: Sequence[Ball]
) -> dict[int, bool]:
    """Those of some entries that the second witness doesn't confirm; True where it has another derivative for certain."""
    outcome = confirm(some, balls)
    if outcome:
        return {}
    if not 1 < len(some) <= ALONE:
        return dict.fromkeys(some, outcome is False)
    each = {i: confirm([i], [ball]) for i, ball in zip(some, balls, strict=True)}
    return {i: found is False for i, found in each.items() if not found}

"""Where a large gradient is wrong, on columns: the direction along which both sides disagree is cut into parts, whose entries
are right, or disagree for certain, or aren't known.

Only what is right is settled here. What disagrees is where balls look: they, and their second witness, say what is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gradcheck_cli.algebra.number import Ball
from gradcheck_cli.floats import Floats
from gradcheck_cli.maps.columns import Agree, along
from gradcheck_cli.verdict.shade import Shades

PASSES = 4
"""Parts that are looked at for each halving of all entries: each takes a forward pass."""

INPUTS = 2
"""Inputs that are told to be wrong, for each of which balls run several times."""

Indices = npt.NDArray[np.intp]

Slopes = Callable[[Floats], Sequence[Ball] | None]
"""<v, J u> of each row along a direction u."""


class Disagreement(NamedTuple):
    """Entries of one input that disagree for certain in one row: the derivative along them, and what torch's own operations
    make of it."""

    entries: Indices
    exact: Ball
    shadow: Ball


@dataclass
class Narrowed:
    """Which entries of each row are right; and for rows and some inputs the smallest part that was found to be wrong."""

    right: npt.NDArray[np.bool_]
    wrong: dict[tuple[int, str], Disagreement] = field(default_factory=dict)


class _Part(NamedTuple):
    """Entries to look at, the first first: of an input of which no single entry is known to be wrong; of a part that disagrees
    for certain; that was cut more often."""

    known: bool
    unsure: bool
    cuts: int
    group: int
    entries: Sequence[int]


def narrowed(
    slopes: Slopes, found: Sequence[Shades], groups: Sequence[tuple[Floats, Agree]], spans: Mapping[str, slice]
) -> Narrowed:
    """Cuts each of some directions, of which no two move the same entry, until its parts agree or are single entries, or there
    are too many. `found`: J'v of each row; `spans`: the inputs' entries."""
    count = len(groups[0][0])
    result = Narrowed(np.zeros((len(found), count), dtype=bool))
    waiting = [_Part(False, True, 0, g, (0, count)) for g in range(len(groups))]
    for _ in range(PASSES * math.ceil(math.log2(count))):
        if not waiting:
            break
        part = heappop(waiting)
        (start, stop), (whole, agree) = part.entries, groups[part.group]
        moving = start + np.flatnonzero(whole[start:stop])
        if not len(moving):
            continue
        direction = np.zeros(count)
        direction[moving] = whole[moving]
        totals = slopes(direction)
        if totals is None:
            break
        start, stop = int(moving[0]), int(moving[-1]) + 1
        name = next((n for n, s in spans.items() if s.start <= start and stop <= s.stop), None)
        agreed = []
        for k, (total, shades) in enumerate(zip(totals, found, strict=True)):
            shadow = along(shades.exact, direction)
            agreed.append(agree(total - shadow, len(moving)))
            result.right[k, moving] |= agreed[-1] is True
            if name is not None and agreed[-1] is False:
                least = result.wrong.get((k, name))
                if len(result.wrong) < INPUTS if least is None else len(moving) < len(least.entries):
                    result.wrong[k, name] = Disagreement(moving, total, shadow)
        if len(moving) > 1 and not all(agreed):
            known = any(n == name and len(wrong.entries) == 1 for (_, n), wrong in result.wrong.items())
            unsure = all(agrees is not False for agrees in agreed)
            cut = _cut(moving, spans)
            for some in ((start, cut), (cut, stop)):
                heappush(waiting, _Part(known, unsure, part.cuts - 1, part.group, some))
    return result


def _cut(entries: Indices, spans: Mapping[str, slice]) -> int:
    """Where to cut: between two inputs, if that can be, as near as that is to the middle."""
    middle = int(entries[len(entries) // 2])
    borders = [s.start for s in spans.values() if entries[0] < s.start <= entries[-1]]
    return min(borders, key=lambda border: abs(border - middle), default=middle)

"""Where a large gradient is wrong, on columns: what both sides say of each entry is compared, where a run of the forward pass
alone knows the derivatives by all of them; else they are cut into parts, until it does.

Only what is right is settled here. What disagrees is where balls look: they, and their second witness, say what is wrong.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gradcheck_cli.algebra.columns.column import Column
from gradcheck_cli.algebra.columns.words import UP
from gradcheck_cli.algebra.number import NAN, Ball
from gradcheck_cli.floats import Floats, pieces
from gradcheck_cli.verdict.shade import Shades

PASSES = 4
"""Parts that are looked at for each halving of all entries: each takes a forward pass."""

Indices = npt.NDArray[np.intp]

Each = Callable[[Floats], Sequence[Column | None] | None]
"""The derivatives of each row by all entries that move along a direction; None of a row, or of all, that aren't known."""


class Group(NamedTuple):
    """Entries that are looked at together, those that move along a direction; how far what disagrees may be off along it where
    an entry is right, and whether it may be said to be wrong."""

    direction: Floats
    least: float
    loud: bool = True


class Disagreement(NamedTuple):
    """An entry that disagrees for certain in one row: whether the derivative by it is `sharp`; by which share;
    that derivative, and what torch's own operations make of it."""

    sharp: bool
    off: float
    entry: int
    exact: Ball
    shadow: Ball


_NOBODY = Disagreement(False, 0.0, 0, NAN, NAN)


@dataclass
class Narrowed:
    """Which entries of each row are right; for rows and inputs the one that is most wrong, of those that are sharp if there are
    any; how far an entry that is right may be
    off along the direction, where it may be said to be wrong."""

    right: npt.NDArray[np.bool_]
    wrong: dict[tuple[int, str], Disagreement] = field(default_factory=dict)
    reach: float = 0.0


def narrowed(each: Each, found: Sequence[Shades], groups: Sequence[Group], spans: Mapping[str, slice], bits: int) -> Narrowed:
    """What is known of the entries of some groups, of which no two have one in common. `found`: J'v of each row; `spans`: the
    inputs' entries; `bits`: those to which a derivative that is sharp is known."""
    count = len(groups[0].direction)
    result = Narrowed(np.zeros((len(found), count), dtype=bool))
    waiting = deque((group, 0, count) for group in groups)
    rest: Sequence[Any] | None = None
    for _ in range(PASSES * math.ceil(math.log2(count))):
        if not waiting:
            break
        group, start, stop = waiting.popleft()
        moving = start + np.flatnonzero(group.direction[start:stop])
        if not len(moving):
            continue
        direction = np.zeros(count)
        direction[moving] = group.direction[moving]
        known = each(direction) or [None] * len(found)
        for k, (exact, shades) in enumerate(zip(known, found, strict=True)):
            if exact is not None:
                _compare(result, k, exact, shades.exact, group._replace(direction=direction), spans, bits)
        if all(known):
            continue
        if rest is None:  # a row that isn't known where nothing moves isn't along any part
            rest = each(np.zeros(count)) or [None] * len(found)
        if len(moving) > 1 and any(r and not one for r, one in zip(rest, known, strict=True)):
            cut = _cut(moving, spans)
            waiting += [(group, start, cut), (group, cut, stop)]
    return result


def _compare(
    result: Narrowed, k: int, exact: Column, shadow: Column, group: Group, spans: Mapping[str, slice], bits: int
) -> None:
    """Enters what both sides say of the entries of a row that move. The difference of two numbers of two words has three
    roundings: of the high words, none where one is at most twice the other (else a unit of the result, which is as large); of
    the low ones, and of both together, a unit of each. An entry of which either side knows nothing is neither right nor
    wrong."""
    for name, span in spans.items():
        worst = before = result.wrong.get((k, name), _NOBODY)
        for piece in pieces(span.stop - span.start):
            some = slice(span.start + piece.start, min(span.start + piece.stop, span.stop))
            step = np.abs(group.direction[some])
            if not step.any():
                continue
            one, other = exact.pick(some), shadow.pick(some)
            with np.errstate(all="ignore"):
                off = np.abs((one.high - other.high) + (one.low - other.low))
                radius = (one.radius + other.radius + (np.abs(one.high) + np.abs(other.high)) * 2.0**-100) * UP
                wrong = (step != 0.0) & (off * (1.0 - 2.0**-50) > radius)
                reach = radius * step * UP
                right = (step != 0.0) & ~wrong & (reach <= group.least)
                share = off / np.maximum(np.abs(one.high), np.abs(other.high))
                size = np.where(wrong, share, 0.0).astype(np.float32)  # of equal ones the first
            result.right[k, some] |= right
            if group.loud:
                result.reach = max(result.reach, float(np.max(reach, initial=0.0, where=right)))
            if group.loud and wrong.any():
                sharp = wrong & one.accurate(bits)
                place = int(np.where(sharp, size, 0.0).argmax() if sharp.any() else size.argmax())
                found = bool(sharp.any()), float(size[place])
                if found > worst[:2]:
                    worst = Disagreement(*found, some.start + place, one.ball(place), other.ball(place))
        if worst is not before:
            result.wrong[k, name] = worst


def _cut(entries: Indices, spans: Mapping[str, slice]) -> int:
    """Where to cut: between two inputs, if that can be, as near as that is to the middle."""
    middle = int(entries[len(entries) // 2])
    borders = [s.start for s in spans.values() if entries[0] < s.start <= entries[-1]]
    return min(borders, key=lambda border: abs(border - middle), default=middle)

"""Mismatches by the thousand: what lies between two that were judged alike is judged with them, where its floats went the same
way through all operations (`shadow.courses`).

That it is a mismatch is certain of each: its derivative is certified, and its float is nan, is missing, or is further off than
rounding of right operations leads. No cause is proved for it: that is what both neighbours have. The second witness is asked
about both ends, and about all that lies between at once; where a ball of so many numbers tells nothing, about the middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gradcheck_cli.floats import Floats
from gradcheck_cli.formulas.torch_chain import Batch, TorchChain, Wrt
from gradcheck_cli.shadow.courses import Courses, Following
from gradcheck_cli.verdict.column import Column, Detail, Indices
from gradcheck_cli.verdict.verdicts import Cause, Verdict

STRIDE = 16
"""One in so many is judged by itself, and asked of the second witness: of bfloat16 eight in each octave, or sixteen."""

STRIDE_MISSING = 256
"""The same where torch has no derivative at any point: nothing but the derivative differs from point to point."""

SHARED = (Cause.RANGE, Cause.NAN_TRAP, Cause.NO_GRADIENT)
"""What happens to a stretch of points rather than to one."""


class Gap(NamedTuple):
    """The points between two others, by their numbers."""

    first: int
    last: int
    between: Indices


def courses(compiled: TorchChain, mode: str, batch: Batch, wrt: Wrt) -> Courses:
    """Which way the floats of a batch go."""
    seen = Following(len(batch.points))
    with seen, np.errstate(all="ignore"):
        compiled.differentiate(mode, batch.tensors, [wrt])
    return seen.courses


def gaps(points: Indices, values: Floats, courses: Courses, stride: int = STRIDE) -> list[Gap]:
    """Among points at these values, those that lie between others of one course, one in `stride`."""
    order = np.argsort(values, kind="stable")
    points, courses = points[order], courses[order]
    ends = np.flatnonzero(np.diff(courses) != 0) + 1
    found = []
    for start, stop in zip([0, *ends.tolist()], [*ends.tolist(), len(points)], strict=True):
        last = stop - 1
        for first in range(start, last, stride):
            until = min(first + stride, last)
            if until - first > 1:
                found.append(Gap(int(points[first]), int(points[until]), points[first + 1 : until]))
    return found


def kindred(column: Column, gap: Gap) -> Detail | None:
    """What is known of both ends, where they were judged alike, and what lies between may be judged with them."""
    ends = [column.details.get(index) for index in (gap.first, gap.last)]
    if not all(column.verdict(index) is Verdict.MISMATCH for index in (gap.first, gap.last)):
        return None
    told = [_told(detail) for detail in ends if detail is not None and detail.cause in SHARED]
    return ends[0] if len(told) == 2 and told[0] == told[1] else None


def _told(detail: Detail) -> Sequence[object]:
    return detail.cause, detail.stage, detail.operation, detail.text, detail.formula_error, detail.autograd_formula

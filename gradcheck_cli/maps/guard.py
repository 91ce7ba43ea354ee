"""What quotients of the plain function say of judged columns: what they contradict is refuted, a mismatch against them is taken
back. They certify nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.algebra.number import Ball
from gradcheck_cli.floats import Floats, Format
from gradcheck_cli.maps.map import Map, Row, push
from gradcheck_cli.maps.probe import Options
from gradcheck_cli.maps.quotient import NEARER, Along, Indices, Numbers, Outcome, Plain, Which, refuted, slopes, standing
from gradcheck_cli.maps.runs import flat, numpy
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.limits import Limits
from gradcheck_cli.verdict.verdicts import Cause, Verdict

FARTHER = (1.0, 2.0**4, 2.0**8, 2.0**12)
"""How much longer the steps become, one after another, until rounding lets them tell which of two numbers is right."""

INPUTS = 16
ENTRIES = 16
"""Inputs up to which a contradiction is looked for in each; entries of one direction that are looked at one by one."""

_BY_QUOTIENT = "refuted by a difference quotient of the function as torch runs it"

REFUTED = _BY_QUOTIENT + ": {}"

TAINTED = "a difference quotient shows at another entry that the exact side is of another function than torch runs"

SIDES = "a difference quotient of the function as torch runs it sides with autograd ({}): the exact side is of something else"

REPEATED = "two runs of the function at the same point differ: it isn't repeatable"

_PASSED = (Verdict.MATCH.severity, Verdict.IMPRECISE.severity)
_OPEN = (*_PASSED, Verdict.UNDECIDED.severity)

_FORMAL = (Cause.FORMULA, Cause.KINK)

# -- gradients ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """A row, its judged columns by input, autograd's gradient by all inputs (0 where it gave none); `refused`: torch did."""

    row: Row
    columns: Mapping[str, Column]
    found: Floats
    refused: bool


def guard_rows(
    map: Map, options: Options, rows: Sequence[Judged], spans: Mapping[str, slice], trusted: bool, lost: Floats
) -> None:
    """Hold judged gradients against quotients of the map's function: what they contradict is refuted, and a mismatch that they
    contradict is undecided, unless the exact side is `trusted` (the user's own formula). `lost`: what rounding took from the
    outputs."""
    rows = [row for row in rows if not row.refused and row.columns]
    if rows and any(_concerned(column) for row in rows for column in row.columns.values()):
        guard = _Guard(map, options, rows, spans, lost)
        if guard.repeatable():
            if not trusted:
                guard.take_back()
            guard.refute()


class _Guard:
    def __init__(self, map: Map, options: Options, rows: Sequence[Judged], spans: Mapping[str, slice], lost: Floats) -> None:
        self.rows, self.spans = rows, {name: span for name, span in spans.items() if span.start < span.stop}
        self.limits, self.deadline = options.limits, time.monotonic() + options.patience
        self.found = np.array([row.found for row in rows])
        self.plain = Plain(map, options.seed, options.checkpoint, [self.found], lost=lost)
        self.exact = np.array([_joined(row, lambda c: [middle(ball) for ball in c.exact]) for row in rows])
        self.verdicts = np.array([_joined(row, lambda c: c.verdicts.tolist()) for row in rows])
        weights = [[(name, flat(v)) for name, v in row.row.cotangents.items()] for row in rows]
        shapes, start, places = self.plain.shapes, 0, {}
        for name, shape in shapes.items():
            places[name] = start
            start += math.prod(shape)
        self._weights = []
        for row in weights:
            indices = np.concatenate([places[name] + np.arange(len(v)) for name, v in row])
            values = np.concatenate([v for _, v in row])
            self._weights.append((indices[values != 0], values[values != 0]))

    def repeatable(self) -> bool:
        """Else nothing is known."""
        if not self.plain.repeatable:
            for row in self.rows:
                for column in row.columns.values():
                    _doubt(column, np.flatnonzero(lively(column.verdicts) | column.having(Verdict.MISMATCH)), REPEATED)
        return self.plain.repeatable

    def refute(self) -> None:
        """What passes, or is open, and can't be."""
        refuted_already = self.verdicts == Verdict.MISMATCH.severity
        for span in self.spans.values():
            refuted_already[:, span] |= refuted_already[:, span].any(axis=1, keepdims=True)
        moving = (lively(self.verdicts) & ~refuted_already & np.isfinite(self.found)).all(axis=0)
        if not moving.any():
            return
        imprecise = (self.verdicts == Verdict.IMPRECISE.severity) & np.isfinite(self.exact)
        numbers = self._numbers(np.where(imprecise, self.exact, self.found))
        wrong = np.ones(len(self.rows), dtype=bool)
        for _ in range(2):  # no refutation stands on one direction
            direction = self.plain.direction() * moving
            wrong &= refuted(self.plain, partial(numbers.along, self.plain, direction))[0]
            if not wrong.any():
                return
        for k in np.flatnonzero(wrong).tolist():
            self._locate(k, numbers.row(k), direction)

    def _locate(self, k: int, numbers: Numbers, direction: Floats) -> None:
        """Mark what is wrong in a row: entries of the inputs whose part of the direction disagrees, else all that moved."""
        moving = direction != 0
        parts = [np.flatnonzero(moving & _within(span, len(moving))) for span in self.spans.values()]
        parts = [part for part in parts if len(part)]
        guilty = [part for part in parts if self._disagrees(numbers, direction, part)] if len(parts) <= INPUTS else []
        for part in guilty or [np.flatnonzero(moving)]:
            self._mark(k, numbers, direction, self._narrowed(numbers, direction, part))

    def _narrowed(self, numbers: Numbers, direction: Floats, part: Indices) -> Indices:
        """The smallest part of a part, by halves, that still disagrees."""
        while len(part) > 1 and time.monotonic() < self.deadline:
            halves = (part[: len(part) // 2], part[len(part) // 2 :])
            smaller = next((half for half in halves if self._disagrees(numbers, direction, half)), None)
            if smaller is None:
                break
            part = smaller
        return part

    def _disagrees(self, numbers: Numbers, direction: Floats, part: Indices) -> bool:
        return bool(refuted(self.plain, partial(numbers.along, self.plain, _only(direction, part)))[0].all())

    def _mark(self, k: int, numbers: Numbers, direction: Floats, part: Indices) -> None:
        along = _only(direction, part)
        outcome = numbers.along(self.plain, along)
        text = said(outcome, 0, float(along[part[0]])) if len(part) == 1 else f"{said(outcome, 0)}, along {len(part)} entries"
        for name, column in self.rows[k].columns.items():
            span = self.spans[name]
            here = part[(part >= span.start) & (part < span.stop)] - span.start
            if not len(here):
                continue
            column.mark(here.tolist(), Verdict.MISMATCH, REFUTED.format(text), Cause.FORMULA)
            others = np.flatnonzero(_passing(column.verdicts))
            _doubt(column, others, "a difference quotient refutes another entry of the same input")

    def take_back(self) -> None:
        """Mismatches that the quotient sides against."""
        severity, finite = Verdict.MISMATCH.severity, np.isfinite(self.found) & np.isfinite(self.exact)
        causes = np.array(
            [_joined(row, lambda c: [c.cause(i) in _FORMAL for i in range(len(c))]) for row in self.rows], dtype=bool
        )
        suspects = (self.verdicts == severity) & causes & finite
        entries = np.flatnonzero(suspects.any(axis=0))
        if not len(entries):
            return
        found = np.where(np.isfinite(self.found), self.found, 0.0)
        numbers = self._numbers(np.where(suspects, self.exact, found), found)
        direction, excused = self.plain.direction(), np.zeros_like(suspects)
        alone = np.split(entries, len(entries)) if len(entries) <= ENTRIES else [entries]
        denied = np.zeros_like(suspects)
        for some in alone:
            along, here = _only(direction, some), suspects & _within(some, suspects.shape[1])
            sides, against, outcome = _sides(partial(numbers.along, self.plain, along), NEARER[self.plain.form.bits])
            excused |= here & sides[:, None]
            denied |= here & against[:, None]
            for k in np.flatnonzero(sides).tolist():
                text = SIDES.format(said(outcome, k, float(along[some[0]]) if len(some) == 1 else 1.0))
                self._take_back(k, here[k], text)
        for k in np.flatnonzero(excused.any(axis=1)).tolist():  # what is of another function there is so everywhere
            self._take_back(k, suspects[k] & ~excused[k] & ~denied[k], TAINTED)

    def _take_back(self, k: int, here: Which, text: str) -> None:
        self.verdicts[k, here] = Verdict.UNDECIDED.severity
        for name, column in self.rows[k].columns.items():
            _doubt(column, np.flatnonzero(here[self.spans[name]]), text)

    def _numbers(self, known: Floats, found: Floats | None = None) -> Numbers:
        def of(y: Floats) -> Floats:
            return np.array([v @ y[i] for i, v in self._weights])

        def squares(y: Floats) -> Floats:
            return np.array([(v * v) @ y[i] for i, v in self._weights])

        found = np.where(np.isfinite(self.found), self.found, 0.0) if found is None else found
        return Numbers(of, squares, found, known, allowed(self.limits, found, self.plain.form))


def _sides(along: Along, nearer: Sequence[float]) -> tuple[Which, Which, Outcome]:
    """Which numbers a quotient sides with autograd in, at the first steps that are long enough to tell and against no shorter
    ones; and which it sides against."""
    sides = against = np.zeros(0, dtype=bool)
    for scale in (*reversed(nearer), *FARTHER):
        outcome = along(scale)
        if not len(sides):
            sides = against = np.zeros(len(outcome.found), dtype=bool)
        against = against | (outcome.against_found & ~sides)
        sides = sides | (outcome.for_found & ~against)
        if scale >= 1 and (sides | against).all():
            break
    return sides, against, outcome


# -- derivatives along a direction --------------------------------------------------------------------------------------


def guard_pushes(
    map: Map, options: Options, columns: Sequence[Column], mode: str, judged: Floats, trusted: bool, lost: Floats
) -> None:
    """The same of every output's derivative along the direction `judged`; what passes is held against another direction, in
    which torch is asked again."""
    if not any(_concerned(column) for column in columns):
        return
    plain = Plain(map, options.seed, options.checkpoint, [column.autograd for column in columns], lost=lost)
    everything = np.concatenate([column.verdicts for column in columns])
    starts = np.cumsum([0, *(len(column) for column in columns)])
    spans = [slice(start, stop) for start, stop in pairwise(starts.tolist())]
    if not plain.repeatable:
        for column in columns:
            _doubt(column, np.flatnonzero(lively(column.verdicts) | column.having(Verdict.MISMATCH)), REPEATED)
        return

    def numbers(direction: Floats, found: Floats, known: Floats) -> Along:
        def along(scale: float = 1.0) -> Outcome:
            step = direction * scale
            terms = abs(found) * float(np.max(abs(plain.inputs[direction != 0] / direction[direction != 0]), initial=0.0))
            values = plain.along(step)
            seen = slopes(values, _itself, plain.noise(_itself, terms))
            seen = seen.widened(allowed(options.limits, found, plain.form) * scale)
            return Outcome(seen, found * scale, known * scale, abs(found * scale), standing(values) > 0)

        return along

    if not trusted:
        exact = np.array([middle(ball) for column in columns for ball in column.exact])
        found = np.concatenate([column.autograd for column in columns])
        suspects = np.array([column.cause(i) in _FORMAL for column in columns for i in range(len(column))], dtype=bool)
        suspects &= np.isfinite(found) & np.isfinite(exact)
        if suspects.any():
            scale = plain.scale(judged)
            sides, _, outcome = _sides(numbers(judged * scale, found * scale, exact * scale), NEARER[plain.form.bits])
            excused = suspects & sides
            for column, span in zip(columns, spans, strict=True):
                for i in np.flatnonzero(excused[span]).tolist():
                    _doubt(column, np.array([i]), SIDES.format(said(outcome, span.start + i, scale)))
    wrong = lively(everything)
    for _ in range(2):
        direction = plain.direction()
        tangents, refusal = push(map, plain.shaped(direction), mode)[1:]
        if refusal is not None or not wrong.any():
            return
        empty = np.zeros(0)
        found = np.concatenate(
            [empty, *(np.zeros(math.prod(plain.shapes[n])) if t is None else numpy(t) for n, t in tangents.items())]
        )
        with np.errstate(all="ignore"):
            off, outcome = refuted(plain, numbers(direction, found, found))
        wrong &= off & np.isfinite(found)
    for column, span in zip(columns, spans, strict=True):
        for i in np.flatnonzero(wrong[span]).tolist():
            text = f"{said(outcome, span.start + i)}, along another direction"
            column.mark([i], Verdict.MISMATCH, REFUTED.format(text), Cause.FORMULA)


# -- shared -------------------------------------------------------------------------------------------------------------


def _itself(y: Floats) -> Floats:
    return y


def _concerned(column: Column) -> bool:
    """Whether a quotient could change anything."""
    return bool(lively(column.verdicts).any()) or any(detail.cause in _FORMAL for detail in column.details.values())


def by_quotient(column: Column, index: int) -> bool:
    """Whether a quotient refuted an entry, whose exact side may be of something else than torch runs."""
    detail = column.details.get(index)
    return detail is not None and (detail.text or "").startswith(_BY_QUOTIENT)


def lively(verdicts: npt.NDArray[np.uint8]) -> Which:
    """Entries that are differentiable, and not refuted yet."""
    return np.isin(verdicts, _OPEN)


def _passing(verdicts: npt.NDArray[np.uint8]) -> Which:
    return np.isin(verdicts, _PASSED)


def _doubt(column: Column, indices: Indices, text: str) -> None:
    column.mark(indices.tolist(), Verdict.UNDECIDED, text)


def _joined(row: Judged, read: Callable[[Column], Sequence[Any]]) -> list[Any]:
    return [value for column in row.columns.values() for value in read(column)]


def allowed(limits: Limits, found: Floats, form: Format) -> Floats:
    """What the user's own limits leave to derivatives."""
    with np.errstate(all="ignore"):
        by_ulps = (limits.ulps or 0.0) * np.nan_to_num(form.ulp(found))
        return np.asarray(np.maximum((limits.atol or 0.0) + (limits.rtol or 0.0) * abs(found), by_ulps))


def middle(ball: Ball) -> float:
    """The number itself where the exact side has one."""
    return math.nan if ball is None else float(ball)


def _within(part: slice | Indices, count: int) -> Which:
    found = np.zeros(count, dtype=bool)
    found[part] = True
    return found


def _only(direction: Floats, part: Indices) -> Floats:
    """The direction along some entries."""
    found = np.zeros(len(direction))
    found[part] = direction[part]
    return found


def said(outcome: Outcome, k: int, step: float = 1.0) -> str:
    """Both numbers."""
    value, error, found = (float(numbers[k]) / step for numbers in (outcome.seen.value, outcome.seen.error, outcome.found))
    return f"{value:.9g}, to within {abs(error):.1g}, where autograd says {found:.9g}"

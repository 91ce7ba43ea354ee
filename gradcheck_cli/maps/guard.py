"""What quotients of the plain function say of judged columns: what they contradict is refuted, a mismatch against them is taken
back. They certify nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.algebra.number import Ball
from gradcheck_cli.exact.kinks import NO_VALUE
from gradcheck_cli.floats import Floats, Format
from gradcheck_cli.maps.deeper import Deeper
from gradcheck_cli.maps.map import Map, Row, push
from gradcheck_cli.maps.probe import Options
from gradcheck_cli.maps.quotient import (
    COARSE,
    NEARER,
    Along,
    HeldTo,
    Indices,
    Numbers,
    Outcome,
    Plain,
    Slopes,
    Weights,
    Which,
    agree,
    kinked,
    projections,
    refuted,
    slopes,
    standing,
)
from gradcheck_cli.maps.runs import numpy, rounding_along
from gradcheck_cli.pool import empty
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.entries import OF_TENSORS
from gradcheck_cli.verdict.limits import Limits
from gradcheck_cli.verdict.verdicts import Cause, Verdict

FARTHER = (1.0, 2.0**4, 2.0**8, 2.0**12)
"""How much longer the steps become, one after another, until rounding lets them tell which of two numbers is right."""

DEEPER = (2.0**-4,)
"""Shorter steps of higher orders: the first ones are about as long as they need to be."""

INPUTS = 16
ENTRIES = 16
"""Inputs up to which a contradiction is looked for in each; entries of one direction that are looked at one by one."""

HALVINGS = 64
"""Times that a direction is halved on the way to what is wrong, for all rows: each takes some twenty runs of the function."""

REFUTED = "refuted by a difference quotient of {}: {}"

TAINTED = "a difference quotient shows at another entry that the exact side is of another function than torch runs"

SIDES = "a difference quotient of {} sides with autograd ({}): the exact side is of something else"

SIDED = (
    "difference quotients of {} differ from side to side ({:.9g} from the left, {:.9g} from the right): it decides something "
    "here that can't be followed"
)

REPEATED = "two runs of the function at the same point differ: it isn't repeatable"

_PASSED = (Verdict.MATCH.severity, Verdict.IMPRECISE.severity)
_OPEN = (*_PASSED, Verdict.UNDECIDED.severity)
_IS_OPEN, _HAS_PASSED = (np.isin(np.arange(256), some) for some in (_OPEN, _PASSED))

_FORMAL = (Cause.FORMULA, Cause.KINK, Cause.KERNEL)

# -- gradients ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """A row, its judged columns by input, autograd's gradient by all inputs (0 where it gave none); `refused`: torch did."""

    row: Row
    columns: Mapping[str, Column]
    found: Floats
    refused: bool


def guard_rows(
    functions: Sequence[HeldTo], options: Options, rows: Sequence[Judged], spans: Mapping[str, slice],
    deeper: Callable[[str], Deeper] | None = None, secret: int | None = None,
) -> None:  # fmt: skip
    """Hold judged gradients against quotients of functions: what they contradict is refuted, and a mismatch that those of the
    exact side's own contradict is undecided. `secret`: that of the inputs and the gradients, where it is known. `deeper`:
    quotients of the function whose derivative a row is already, which alone say whether a mismatch stands."""
    rows = [row for row in rows if not row.refused and row.columns]
    columns = [column for row in rows for column in row.columns.values()]
    for map, whose, doubts, refutes in functions:
        if not any(_concerned(column, refutes) for column in columns):
            continue
        guard = _Guard(map, options, rows, spans, whose, deeper, secret)
        if guard.repeatable():
            if doubts:
                guard.take_back()
            if refutes:
                guard.refute()


def weights_of(plain: Plain, rows: Sequence[Row]) -> list[Weights]:
    """The entries of all outputs that rows are made of, and their cotangents."""
    start, places = 0, {}
    found: list[Weights] = []
    for name, shape in plain.shapes.items():
        places[name] = start
        start += math.prod(shape)
    for row in rows:
        values = np.concatenate([numpy(v) for v in row.cotangents.values()])
        if list(row.cotangents) == list(plain.shapes) and values.all():
            found.append((slice(None), values))
            continue
        indices = np.concatenate([places[name] + np.arange(v.numel()) for name, v in row.cotangents.items()])
        found.append((indices[values != 0], values[values != 0]))
    return found


class _Guard:
    def __init__(
        self, map: Map, options: Options, rows: Sequence[Judged], spans: Mapping[str, slice], whose: str,
        deeper: Callable[[str], Deeper] | None, secret: int | None,
    ) -> None:  # fmt: skip
        self.whose, self._deeper = whose, deeper
        self.rows, self.spans = rows, {name: span for name, span in spans.items() if span.start < span.stop}
        self.limits, self._halvings = options.limits, HALVINGS
        self.found = empty(len(rows), len(rows[0].found))
        np.stack([row.found for row in rows], out=self.found)
        self.plain = Plain(map, options.seed, options.checkpoint, [self.found] if secret is None else secret)
        self.verdicts = np.array([_joined(row, lambda c: c.verdicts) for row in rows])
        self._weights = weights_of(self.plain, [row.row for row in rows])

    @cached_property
    def exact(self) -> Floats:
        """The exact derivatives, as floats."""
        return np.array([_joined(row, lambda c: c.exact.middles()) for row in self.rows])

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
        imprecise = self.verdicts == Verdict.IMPRECISE.severity
        if imprecise.any():
            imprecise &= np.isfinite(self.exact)
        numbers = self._numbers(np.where(imprecise, self.exact, self.found) if imprecise.any() else None)
        wrong = np.ones(len(self.rows), dtype=bool)
        for again in range(2):  # no refutation stands on one direction, or on what rounding may do inside of the function
            direction = self.plain.direction()
            direction[~moving] = 0.0
            along = partial(numbers.along, self.plain, direction)
            off, outcome = refuted(self.plain, along, direction)
            wrong &= off
            if not wrong.any():
                break
            if not again:
                self.plain.heed_rounding()
        for k in np.flatnonzero(wrong).tolist():
            self._locate(k, numbers.row(k), direction)
        for k in np.flatnonzero(kinked(self.plain, along, direction, outcome) & ~wrong).tolist():
            self._doubt_kinks(k, numbers.row(k), direction)

    def _doubt_kinks(self, k: int, numbers: Numbers, direction: Floats) -> None:
        """Entries that were certified, and have another quotient on each side. Several that bend only together have each a
        derivative of its own."""

        def bends(part: Indices) -> bool:
            moved = _only(direction, part)
            along = partial(numbers.along, self.plain, moved)
            return bool(kinked(self.plain, along, moved, along()).any())

        moving = np.flatnonzero(direction)
        for _ in range(ENTRIES):
            if not len(moving) or not bends(moving):
                return
            part = self._narrowed(bends, moving)
            moving = np.setdiff1d(moving, part)
            if len(part) > 1 or self._agrees_beside(numbers, direction, part):
                continue
            along = _only(direction, part)
            seen = numbers.along(self.plain, along).seen.over(float(along[part[0]]))
            left, right = float(seen.left[0]), float(seen.right[0])
            for name, column in self.rows[k].columns.items():
                here = np.flatnonzero(_passing(column.verdicts) & (along != 0)[self.spans[name]])
                _doubt(column, here, SIDED.format(self.whose, *((left, right) if along[part[0]] > 0 else (right, left))))

    def _locate(self, k: int, numbers: Numbers, direction: Floats) -> None:
        """Mark what is wrong in a row: entries of the inputs whose part of the direction disagrees, else all that moved."""
        moving = direction != 0
        parts = [np.flatnonzero(moving & _within(span, len(moving))) for span in self.spans.values()]
        parts = [part for part in parts if len(part)]
        guilty = [part for part in parts if self._disagrees(numbers, direction, part)] if len(parts) <= INPUTS else []
        for part in guilty or [np.flatnonzero(moving)]:
            part = self._narrowed(partial(self._disagrees, numbers, direction), part)
            if not self._agrees_beside(numbers, direction, part):
                self._mark(k, numbers, direction, part)

    def _agrees_beside(self, numbers: Numbers, direction: Floats, part: Indices) -> bool:
        """Whether entries that were moved by more than a share of their own size agree with quotients by shorter steps."""
        small = self.plain.small(direction)
        return bool(small[part].all()) and any(
            agree(self.plain, numbers.of, nearer, numbers.found @ nearer).all()
            for nearer in self.plain.beside(direction, small & _within(part, len(small)))
        )

    def _narrowed(self, holds: Callable[[Indices], bool], part: Indices) -> Indices:
        """The smallest part of a part, by halves, of which it still holds."""
        while len(part) > 1 and self._halvings > 0:
            self._halvings -= 1
            halves = (part[: len(part) // 2], part[len(part) // 2 :])
            smaller = next((half for half in halves if holds(half)), None)
            if smaller is None:
                break
            part = smaller
        return part

    def _disagrees(self, numbers: Numbers, direction: Floats, part: Indices) -> bool:
        moved = _only(direction, part)
        return bool(refuted(self.plain, partial(numbers.along, self.plain, moved), moved)[0].all())

    def _mark(self, k: int, numbers: Numbers, direction: Floats, part: Indices) -> None:
        columns = self.rows[k].columns.values()
        if any(NO_VALUE in (detail.text or "") for column in columns for detail in column.details.values()):
            for column in columns:  # a matrix is singular: what floats make of that is of no function
                _doubt(column, np.flatnonzero(_passing(column.verdicts)), NO_VALUE)
            return
        along = _only(direction, part)
        outcome = refuted(self.plain, partial(numbers.along, self.plain, along), along)[1]
        numbers_said = said(outcome, 0, float(along[part[0]]) if len(part) == 1 else 1.0)
        for name, column in self.rows[k].columns.items():
            span = self.spans[name]
            here = part[(part >= span.start) & (part < span.stop)] - span.start
            if not len(here):
                continue
            along_what = f"along {column.label(int(here[0])).wrt[0]}"
            if len(part) > 1:
                some = f"all {len(part):,}" if len(part) == len(direction) else f"{len(part):,} of {len(direction):,}"
                along_what = f"along a seeded direction of {some} entries"
            column.refute(here.tolist(), REFUTED.format(self.whose, f"{along_what} it is {numbers_said}"))
            others = np.flatnonzero(_passing(column.verdicts))
            _doubt(column, others, "a difference quotient refutes another entry of the same input")

    def take_back(self) -> None:
        """Mismatches that the quotient sides against."""
        suspects = self.verdicts == Verdict.MISMATCH.severity
        if not suspects.any():
            return
        suspects &= np.array([_joined(row, _formal) for row in self.rows])
        suspects &= np.isfinite(self.found) & np.isfinite(self.exact)
        entries = np.flatnonzero(suspects.any(axis=0))
        if self._deeper is None and len(entries) <= ENTRIES:  # one by one: what no quotient tells apart isn't asked
            with np.errstate(all="ignore"):
                suspects &= np.abs(self.exact - self.found) > COARSE * np.abs(self.found)
            entries = np.flatnonzero(suspects.any(axis=0))
        if not len(entries):
            return
        found = np.where(np.isfinite(self.found), self.found, 0.0)
        numbers = self._numbers(np.where(suspects, self.exact, found), found)
        direction, excused = self.plain.direction(), np.zeros_like(suspects)
        alone = np.split(entries, len(entries)) if len(entries) <= ENTRIES else [entries]
        shorter = NEARER[self.plain.form.bits] if self._deeper is None else DEEPER
        denied = np.zeros_like(suspects)
        for some in alone:
            along, here = _only(direction, some), suspects & _within(some, suspects.shape[1])
            sides, against, outcome = _sides(self._quotients(numbers, along), shorter)
            excused |= here & sides[:, None]
            denied |= here & against[:, None]
            for k in np.flatnonzero(sides).tolist():
                text = SIDES.format(self.whose, said(outcome, k, float(along[some[0]]) if len(some) == 1 else 1.0))
                self._take_back(k, here[k], text)
        for k in np.flatnonzero(excused.any(axis=1)).tolist():  # what is of another function there is so everywhere
            self._take_back(k, suspects[k] & ~excused[k] & ~denied[k], TAINTED)

    def _quotients(self, numbers: Numbers, direction: Floats) -> Along:
        """Those that tell whether a mismatch stands."""
        if self._deeper is None:
            return partial(numbers.along, self.plain, direction)
        every = [self._deeper(row.row.name) for row in self.rows]
        found, known = (np.nan_to_num(n * direction).sum(axis=1) for n in (numbers.found, numbers.known))
        return _together([partial(d.along, direction, found[[k]], known[[k]]) for k, d in enumerate(every)])

    def _take_back(self, k: int, here: Which, text: str) -> None:
        self.verdicts[k, here] = Verdict.UNDECIDED.severity
        for name, column in self.rows[k].columns.items():
            _doubt(column, np.flatnonzero(here[self.spans[name]]), text)

    def _numbers(self, known: Floats | None, found: Floats | None = None) -> Numbers:
        """Torch's derivatives, those that aren't finite 0, and what is known of them (None: nothing else)."""
        if found is None:
            finite = np.isfinite(self.found)
            found = self.found if finite.all() else np.where(finite, self.found, 0.0)
        return _numbers(self._weights, found, found if known is None else known, self.limits, self.plain.form)


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


class Asked:
    """Quotients of a map along a direction, beside autograd's gradient of a row, `found`, and what is `exact` along it."""

    def __init__(self, map: Map, options: Options, row: Row, found: Floats, direction: Floats, exact: float) -> None:
        self._plain = Plain(map, options.seed, options.checkpoint, [found])
        self._numbers = _numbers(weights_of(self._plain, [row]), found[None], found[None], options.limits, self._plain.form)
        self._direction, self._exact, self._scale = direction, exact, self._plain.scale(direction)
        self._nearer = NEARER[self._plain.form.bits]

    def _along(self, share: float = 1.0) -> Outcome:
        outcome = self._numbers.along(self._plain, self._direction * self._scale, share)
        return replace(outcome, known=np.array([self._exact * self._scale * share]))

    def sides(self, whose: str) -> str | None:
        """What to say where they side with autograd, and so against what is exact; None where they don't."""
        if not self._plain.repeatable:
            return None
        sides, _, outcome = _sides(self._along, self._nearer)
        return SIDES.format(whose, said(outcome, 0, self._scale)) if sides[0] else None

    def confirm(self, least: float) -> bool:
        """Whether they have what is exact to within less than half of `least`, the first that tell anything."""
        for share in (*reversed(self._nearer), *FARTHER) if self._plain.repeatable else ():
            outcome = self._along(share)
            room = float(outcome.seen.room(outcome.size)[0])
            if 2 * room < least * self._scale * share:
                return bool(outcome.against_found[0] and not outcome.seen.contradict(outcome.known, outcome.size)[0])
        return False


def _numbers(weights: Sequence[Weights], found: Floats, known: Floats, limits: Limits, form: Format) -> Numbers:
    """Derivatives of rows, and what is known of them."""

    return Numbers(*projections(weights), found, known, allowed(limits, found, form))


# -- derivatives along a direction --------------------------------------------------------------------------------------


def guard_pushes(
    map: Map, functions: Sequence[HeldTo], options: Options, columns: Sequence[Column], mode: str, judged: Floats,
    deeper: Sequence[Deeper] = (),
) -> None:  # fmt: skip
    """The same of every output's derivative along the direction `judged`; what passes is held against another direction, in
    which torch is asked of the `map` again."""
    for function in functions:
        if any(_concerned(column, function.refutes) for column in columns):
            _guard_pushes(map, function, options, columns, mode, judged, deeper)


def _guard_pushes(
    map: Map, function: HeldTo, options: Options, columns: Sequence[Column], mode: str, judged: Floats,
    deeper: Sequence[Deeper],
) -> None:  # fmt: skip
    whose = function.whose
    plain = Plain(function.map, options.seed, options.checkpoint, [column.autograd for column in columns])
    everything = np.concatenate([column.verdicts for column in columns])
    starts = np.cumsum([0, *(len(column) for column in columns)])
    spans = [slice(start, stop) for start, stop in pairwise(starts.tolist())]
    if not plain.repeatable:
        for column in columns:
            _doubt(column, np.flatnonzero(lively(column.verdicts) | column.having(Verdict.MISMATCH)), REPEATED)
        return

    def numbers(direction: Floats, found: Floats, known: Floats, more: Floats | float = 0.0) -> Along:
        def along(scale: float = 1.0) -> Outcome:
            step = direction * scale
            terms = abs(found) * float(np.max(abs(plain.inputs[direction != 0] / direction[direction != 0]), initial=0.0))
            values = plain.along(step)
            seen = slopes(values, _itself, plain.noise(_itself), plain.rounding(terms))
            seen = seen.widened((allowed(options.limits, found, plain.form) + more) * scale)
            return Outcome(seen, found * scale, known * scale, abs(found * scale), standing(values) > 0)

        return along

    def pushed(direction: Floats) -> Floats | None:
        tangents, refusal = push(map, plain.shaped(direction), mode)[1:]
        parts = (np.zeros(math.prod(plain.shapes[n])) if t is None else numpy(t) for n, t in tangents.items())
        return None if refusal is not None else np.concatenate([np.zeros(0), *parts])

    if function.doubts:
        exact = np.concatenate([column.exact.middles() for column in columns])
        found = np.concatenate([column.autograd for column in columns])
        suspects = np.concatenate([_formal(column) for column in columns])
        suspects &= np.isfinite(found) & np.isfinite(exact)
        if suspects.any():
            scale = 1.0 if deeper else plain.scale(judged)
            if deeper:
                parts = [(d, found[span], exact[span]) for d, span in zip(deeper, spans, strict=True)]
                along = _together([partial(d.along, judged, f, e) for d, f, e in parts])
            else:
                along = numbers(judged * scale, found * scale, exact * scale)
            sides, _, outcome = _sides(along, DEEPER if deeper else NEARER[plain.form.bits])
            excused = suspects & sides
            for column, span in zip(columns, spans, strict=True):
                for i in np.flatnonzero(excused[span]).tolist():
                    _doubt(column, np.array([i]), SIDES.format(whose, said(outcome, span.start + i, scale)))
    if not function.refutes:
        return
    wrong = lively(everything)
    # where digits are lost, nothing is followed, or nothing but rounding is left, errors that are small beside everything
    # around may be rounding in another direction too: see `Policy.hidden`
    around = plain.form.unit_roundoff ** OF_TENSORS.hidden[1] if OF_TENSORS.hidden else 0.0
    sizes = np.abs(np.concatenate([column.exact.middles() for column in columns]))
    large = sizes > around * np.max(sizes, initial=0.0, where=np.isfinite(sizes))
    hidden = np.where((everything == Verdict.MATCH.severity) & large, 0.0, around)
    more: Floats | float = 0.0
    for again in range(2):  # as above, nor on what rounding may do to the derivative itself
        direction = plain.direction()
        if again:
            with suppress(Exception):  # whatever the function says to being watched
                more = rounding_along(map, mode, plain.shaped(direction), options.checkpoint)
        tangent = pushed(direction)
        if tangent is None or not wrong.any():
            return
        found = tangent
        with np.errstate(all="ignore"):
            slack = more + hidden * np.max(np.abs(found), initial=0.0, where=np.isfinite(found))
            off, outcome = refuted(plain, numbers(direction, found, found, slack), direction)
        wrong &= off & np.isfinite(found)
        if not again and wrong.any():
            plain.heed_rounding()
    small = plain.small(direction)
    rest = np.where(small, 0.0, direction)
    if wrong.any() and small.any():
        others = pushed(rest) if rest.any() else None
        off = np.zeros_like(wrong) if others is None else refuted(plain, numbers(rest, others, others, more), rest)[0]
        for nearer in plain.beside(direction, small):
            if (near := pushed(nearer)) is not None:
                wrong &= ~(agree(plain, _itself, nearer, near) & ~off)
    for column, span in zip(columns, spans, strict=True):
        for i in np.flatnonzero(wrong[span]).tolist():
            text = f"along another seeded direction it is {said(outcome, span.start + i)}"
            column.refute([i], REFUTED.format(whose, text))


# -- shared -------------------------------------------------------------------------------------------------------------


def _together(some: Sequence[Along]) -> Along:
    """The quotients of all numbers, from those of some each."""

    def along(scale: float = 1.0) -> Outcome:
        outcomes = [each(scale) for each in some]
        seen = Slopes(*(np.concatenate(parts) for parts in zip(*(o.seen for o in outcomes), strict=True)))
        others = [(o.found, o.known, o.size, o.still) for o in outcomes]
        return Outcome(seen, *(np.concatenate(parts) for parts in zip(*others, strict=True)))

    return along


def _itself(y: Floats) -> Floats:
    return y


def _concerned(column: Column, refutes: bool = True) -> bool:
    """Whether a quotient could change anything."""
    passes = refutes and bool(lively(column.verdicts).any())
    return passes or any(detail.cause in _FORMAL for detail in column.details.values())


def lively(verdicts: npt.NDArray[np.uint8]) -> Which:
    """Entries that are differentiable, and not refuted yet."""
    return _IS_OPEN[verdicts]


def _passing(verdicts: npt.NDArray[np.uint8]) -> Which:
    return _HAS_PASSED[verdicts]


def _doubt(column: Column, indices: Indices, text: str) -> None:
    column.mark(indices.tolist(), Verdict.UNDECIDED, text)


def _formal(column: Column) -> npt.NDArray[np.bool_]:
    """Where a cause is given that says that the formula is wrong, or a kernel."""
    found = np.zeros(len(column), dtype=bool)
    found[[i for i in column.details if column.cause(i) in _FORMAL]] = True
    return found


def _joined(row: Judged, read: Callable[[Column], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return np.concatenate([read(column) for column in row.columns.values()])


def allowed(limits: Limits, found: Floats, form: Format) -> Floats:
    """What the user's own limits leave to derivatives."""
    if not limits.given:
        return np.broadcast_to(np.float64(0.0), found.shape)
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

"""Entries of a tensor, judged one by one and put into a Column: floats against exact balls, the shadow where they differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gradcheck_cli.floats import Floats, Format
from gradcheck_cli.language.chain import derivative_name
from gradcheck_cli.language.spaces import subscript, unravel
from gradcheck_cli.verdict.column import VERDICTS, Column, Detail, Label
from gradcheck_cli.verdict.judge import Judgement, distance, judge, judge_plainly, judge_rounding
from gradcheck_cli.verdict.limits import Limits
from gradcheck_cli.verdict.shade import Shade
from gradcheck_cli.verdict.truth import Ball, Kind, Truth, regular
from gradcheck_cli.verdict.verdicts import Cause, Verdict

Point = Mapping[str, Any]
"""How the inputs are shown: numbers and nested lists, or words for what is too large."""

SHOWN = 20
"""Entries of a large tensor that are reported at most, besides the worst one."""

KEPT = {Cause.KERNEL: 0.75, Cause.RANGE: 0.5}
"""The share of its digits with which an entry of a tensor is left in peace."""

PROBED = 16
"""Entries with a wrong formula that are looked at first for whether the code's constants explain it."""


@dataclass(frozen=True)
class Options:
    """What holds for every map of a run.

    `checkpoint` is called often; it raises where time is up. `most_entries`: of larger tensors only the worst entry, and the
    first ones that don't match, are reported. `patience`: seconds for taking one failure apart.
    """

    limits: Limits = field(default_factory=Limits)
    seed: int = 0
    checkpoint: Callable[[], None] = lambda: None
    most_entries: int = 1000
    patience: float = 20.0


@dataclass(frozen=True)
class Entries:
    """The entries of one tensor of results. `of` is differentiated by `wrt` (empty: the value itself is judged).

    `floats`: torch's, None where it gave no tensor; `truths`: a ball where it is certified. `shade(index)`: what the shadow saw
    of an entry; `confirm(indices)`: whether a second witness agrees with the truths of these entries together;
    `meant(indices)`: their truths with the slack that the code's constants leave.
    """

    of: str
    wrt: str
    shape: tuple[int, ...]
    form: Format
    kind: str
    mode: str
    floats: Floats | None
    truths: list[Truth | Ball]
    shade: Callable[[int], Shade | None]
    confirm: Callable[[Sequence[int]], bool]
    meant: Callable[[Sequence[int]], list[Ball]]
    refusal: str | None = None
    values: Floats | None = None
    scale: float = 1.0
    """Size of the numbers that this result was made from: what an error behind an opaque operation is compared with."""

    def judged(self, options: Options, point: Point) -> Column:
        """The column of all entries; of a large tensor, of its worst ones."""
        column = self._column(point)
        waiting = self._plainly(column, options.limits)
        wrong = [i for i in waiting if self._judge(column, i, options).cause is Cause.FORMULA]
        for some in (wrong[:PROBED], wrong[PROBED:]):  # the rest only where the first ones say that constants are to blame
            excused = [i for i, ball in zip(some, self.meant(some), strict=False) if self._excused(i, ball)]
            for i in excused:
                self._judge(column, i, options)
            if not excused:
                break
        mismatch = VERDICTS.index(Verdict.MISMATCH)
        truths = {i: regular(self.truths[i]) for i in waiting if column.verdicts[i] == mismatch}
        suspects = [i for i, truth in truths.items() if truth.kind is Kind.REGULAR and not truth.singular]
        if suspects and not self.confirm(suspects):
            column.details.update({i: Detail(text=_DOUBT) for i in suspects})
            column.verdicts[suspects] = VERDICTS.index(Verdict.UNDECIDED)
        return column if len(column) <= options.most_entries else _worst(column)

    def _judge(self, column: Column, index: int, options: Options) -> Judgement:
        """Judge an entry with all that is known of it."""
        options.checkpoint()
        truth, shade = regular(self.truths[index]), self.shade(index)
        judgement = judge(self._number(index), truth, self.form, shade, options.limits, (), self.refusal)
        judgement = self._opaquely(self._lenient(judgement, index, truth), index, shade)
        if self.kind == "value" and judgement.cause is Cause.FORMULA:
            judgement = replace(judgement, cause=Cause.VALUE)
        column.enter(index, judgement, truth, shade)
        return judgement

    def _excused(self, index: int, meant: Ball) -> bool:
        """Whether the slack of the code's constants, which the shadow has too, explains a wrong formula: the truth takes it."""
        shade = self.shade(index)
        if shade is None or not (meant.is_finite() and shade.exact.is_finite() and meant.overlaps(shade.exact)):
            return False
        self.truths[index] = meant
        return True

    def _column(self, point: Point) -> Column:
        count = len(self.truths)
        found = np.full(count, np.nan) if self.floats is None else self.floats
        return Column(
            quantity=derivative_name(self.of, (self.wrt,)) if self.wrt else self.of,
            kind=self.kind,
            of=self.of,
            wrt=(self.wrt,) if self.wrt else (),
            mode=self.mode,
            dtype=self.form.name,
            formula=None,
            points={},
            autograd=found.copy(),
            exact=[None] * count,
            error_ulps=np.full(count, np.nan),
            verdicts=np.full(count, VERDICTS.index(Verdict.UNDECIDED), dtype=np.uint8),
            values=self.values,
            place=point,
            labels=_Labels(self.of, self.wrt, self.shape),
        )

    def _number(self, index: int) -> float | None:
        return None if self.floats is None else float(self.floats[index])

    def _plainly(self, column: Column, limits: Limits) -> list[int]:
        """Enter what two numbers settle; the entries for which the shadow has to speak."""
        waiting = []
        for index in column.settle(slice(len(column)), self.truths, self.form, limits):
            truth, number = regular(self.truths[index]), self._number(index)
            if truth.kind is Kind.REGULAR and number is not None:
                column.error_ulps[index] = distance(number, truth.ball, self.form)
            judgement = judge_plainly(number, truth, self.form, limits)
            if judgement is None or judgement.cause is Cause.NO_GRADIENT:
                waiting.append(index)
            else:
                column.enter(index, judgement, truth, None)
        return waiting

    def _lenient(self, judgement: Judgement, index: int, truth: Truth) -> Judgement:
        """Kernels of whole tensors may go other ways than the ones that are followed (blocks, fused steps), and what leaves the
        range in one entry is seen for all: neither is blamed for an entry that keeps enough of its digits (KEPT), or, where
        the exact value is 0, of the digits of everything around."""
        number = self._number(index)
        if judgement.cause not in KEPT or number is None or not math.isfinite(number):
            return judgement
        roundoff = self.form.unit_roundoff ** KEPT[judgement.cause]
        if truth.ball.contains(0):
            near = abs(number) <= roundoff * self.scale
        else:
            near = judgement.rounding_error is not None and judgement.rounding_error <= roundoff
        return replace(judgement, verdict=judge_rounding(truth.ball, number, self.form), cause=None) if near else judgement

    def _opaquely(self, judgement: Judgement, index: int, shade: Shade | None) -> Judgement:
        """Behind an opaque operation rounding is unknown; but an error that three quarters of the digits, and more than half of
        the digits of everything around, can't hide is no rounding."""
        number, truth = self._number(index), regular(self.truths[index])
        if judgement.verdict is not Verdict.UNDECIDED or shade is None or not shade.opaque or truth.kind is not Kind.REGULAR:
            return judgement
        if number is None or not math.isfinite(number):
            return judgement
        off, roundoff = abs(number - float(truth.ball)), self.form.unit_roundoff
        if off > roundoff**0.25 * abs(float(truth.ball)) and off > roundoff**0.5 * self.scale:
            return Judgement(Verdict.MISMATCH, Cause.FORMULA, text=judgement.text)
        return judgement


_DOUBT = "the two witnesses of the exact derivative disagree: it is in doubt"


class _Labels(Sequence[Label]):
    """The names of all entries, made on demand."""

    def __init__(self, of: str, wrt: str, shape: tuple[int, ...]) -> None:
        self._of, self._wrt, self._shape = of, wrt, shape

    def __len__(self) -> int:
        return math.prod(self._shape)

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        entry = subscript(unravel(index, self._shape))
        if not self._wrt:
            return Label(self._of + entry, self._of + entry, ())
        return Label(derivative_name(self._of, (self._wrt + entry,)), self._of, (self._wrt + entry,))


def _worst(column: Column) -> Column:
    """The worst entry of a large column, and the first others that don't match."""
    worst = column.worst()
    failing = [i for i in np.flatnonzero(column.verdicts == column.verdicts[worst]).tolist() if i != worst]
    chosen = [worst, *(failing[:SHOWN] if column.verdict(worst) is not Verdict.MATCH else [])]
    small = column.pick(chosen)
    detail = small.details.setdefault(0, Detail())
    counts = ", ".join(f"{n:,} {v.value}" for v, n in sorted(column.counts().items(), key=lambda c: -c[0].severity))
    text = f"the worst of {len(column):,} entries ({counts})"
    detail.text = f"{detail.text}; {text}" if detail.text else text
    return small

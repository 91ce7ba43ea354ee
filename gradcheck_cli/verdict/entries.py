"""THE judging loop: floats against exact balls, entry by entry of a column, and the shadow where they differ.

Both provers judge here. One of formulas judges a column at many points, one of functions of tensors all entries of a tensor at
one point; where they must differ, a Policy says how, and why.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress

import numpy as np
import numpy.typing as npt

from gradcheck_cli.algebra.number import NAN, Ball, exactly
from gradcheck_cli.floats import FORMATS, Floats, Format, pieces
from gradcheck_cli.verdict.column import EXACT, Column, Detail, Indices, Seen
from gradcheck_cli.verdict.judge import (
    QUICK,
    Judgement,
    claims_nothing,
    distance,
    explained,
    inside,
    judge,
    judge_plainly,
    judge_rounding,
    side_of,
    unexplained,
)
from gradcheck_cli.verdict.limits import Limits
from gradcheck_cli.verdict.numbers import decimal, interval
from gradcheck_cli.verdict.shade import Shade, Shades
from gradcheck_cli.verdict.truth import Kind, Truth, regular
from gradcheck_cli.verdict.truths import Truths, regular_ball
from gradcheck_cli.verdict.verdicts import Cause, Verdict

RESIDUE = 64
"""Ulps of everything around, up to which an iteration that ends by rounding may miss what it looks for (bisection in 50 steps:
2**-50 of where it starts, in each entry of a sum)."""

PROBED = 16
"""Entries with a wrong formula that are looked at first for whether the code's constants explain it."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Where entries of formulas and of tensors are judged differently.

    doubt       what is said where the two witnesses of the exact side disagree.
    wrong       the cause of a wrong formula: the derivative's, or the function's own value.
    kept        the share of its digits with which an entry that would be blamed on this cause is left in peace. Kernels of
                whole tensors may go other ways than the ones that are followed (blocks, fused steps), and what leaves the
                range in one entry is seen for all; of formulas every operation is followed entry by entry.
    hidden      the shares of its own digits, and of those of everything around, that an error behind an opaque operation
                must exceed to be no rounding; None: it is never refuted. Formulas are hardly ever opaque; of a function it
                may be all that is known.
    """

    doubt: str
    wrong: Cause = Cause.FORMULA
    kept: Mapping[Cause, float] = field(default_factory=dict)
    hidden: tuple[float, float] | None = None


UNCONFIRMED = "no second witness of the exact derivative could be had: nothing is said to be wrong on one alone"

OF_FORMULAS = Policy("the two witnesses of the exact derivative disagree: the symbolic side is in doubt")
OF_SERIES = replace(OF_FORMULAS, doubt="the two witnesses of the exact derivative disagree: it is in doubt")
"""Of formulas that SymPy can't differentiate."""

OF_TENSORS = Policy(
    OF_SERIES.doubt,
    kept={Cause.KERNEL: 0.75, Cause.RANGE: 0.5},
    hidden=(0.25, 0.5),
)
OF_VALUES = replace(OF_TENSORS, wrong=Cause.VALUE)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a prover adds where two numbers don't settle an entry.

    shade       what the shadow saw of an entry; None: nothing.
    doubted     those of some refuted entries whose derivatives (the balls beside them) a second witness doesn't confirm: True
                where it has another one for certain, False where it has none.
    meant       their truths, with the slack that constants in the user's code leave; None: there is no code.
    cut         operations that returned a tensor without a graph.
    refusal     torch's own words, where it refused.
    scale       the size of the numbers that this result was made from: what an error behind an opaque operation, or beside an
                exact 0, is compared with.
    stage       whom a cause is blamed on that names nobody.
    around      what a singular entry's derivative is beside the point, where the other entries move too, as far as that
                bears on a number; None: there are no others.
    """

    shade: Callable[[int], Shade | None]
    doubted: Callable[[Sequence[int], Sequence[Ball]], Mapping[int, bool]]
    meant: Callable[[Sequence[int]], Sequence[Ball]] | None = None
    cut: tuple[str, ...] = ()
    refusal: str | None = None
    scale: float = 1.0
    stage: str | None = None
    around: Callable[[int, float], Truth] | None = None


class Entries:
    """Some entries of a column: those of `part`, whose numbers start at 0 here.

    `floats`: torch's, None where it gave no tensor. `truths`: a bare ball where the derivative is certified; the list is the
    loop's own from here on. `checkpoint` is called often; it raises where time is up.
    """

    def __init__(
        self, column: Column, part: slice, form: Format, policy: Policy, limits: Limits, floats: Floats | None,
        truths: Truths | Sequence[Truth | Ball], checkpoint: Callable[[], None],
    ) -> None:  # fmt: skip
        self.column, self.start, self.form, self.policy, self.limits = column, part.start, form, policy, limits
        self.truths = truths if isinstance(truths, Truths) else Truths.of(truths)
        self.checkpoint = checkpoint
        column.autograd[part] = np.nan if floats is None else floats
        self.floats = None if floats is None else column.autograd[part]
        self._apart: npt.NDArray[np.bool_] = np.zeros(len(column.autograd[part]), dtype=bool)
        """Entries that rounding doesn't explain, for certain."""
        self._waiting = self._settled(part)

    def plainly(self) -> list[int]:
        """Enter what two numbers settle; returns the entries for which the shadow has to speak, of a nan that passes too."""
        # more than a few ulps off, as arrays tell
        far = self.truths.certified & (not self.limits.given)
        if self.floats is None:
            far &= self.truths.apart_from_zero
        elif not self.limits.given:  # nor does a nan settle anything where there is a derivative
            lost = self._waiting[np.isnan(self.floats[self._waiting])]
            lost = lost[self.truths.alone(lost)]
            far[lost], self.column.error_ulps[self.start + lost] = True, np.nan
        waiting = self._waiting[far[self._waiting]].tolist()
        for index in self._waiting[~far[self._waiting]].tolist():
            self.checkpoint()
            truth, number = self.truth(index), self.number(index)
            if truth.kind is Kind.REGULAR and number is not None:
                self.column.error_ulps[self.start + index] = distance(number, truth.ball, self.form)
            judgement = judge_plainly(number, truth, self.form, self.limits)
            if judgement is None or judgement.cause is Cause.NO_GRADIENT or claims_nothing(number, judgement):
                waiting.append(index)
            else:
                self._enter(index, judgement, truth, None, None)
        return sorted(waiting)

    def sift(self, waiting: Indices, shades: Shades, limited: bool) -> npt.NDArray[np.bool_]:
        """Enter a match for those whose shades, in the same order, make it certain, or, where rounding isn't `limited` by the
        format, that they are imprecise; returns which."""
        words = self.truths.pick(waiting)
        if self.floats is None or self.limits.given or words is None:
            return np.zeros(len(waiting), dtype=bool)
        floats = self.floats[waiting]
        matches, lost = explained(floats, words, self.form, shades)
        if limited:
            self._apart[waiting] = self.truths.held(waiting) & unexplained(floats, words, self.form, shades)
        certain: npt.NDArray[np.bool_] = self.truths.held(waiting) & (matches if limited else matches | lost)
        with np.errstate(all="ignore"):
            errors = words.off(floats) / np.abs(words.high)
        here, errors, imprecise = self.start + waiting[certain], errors[certain], ~matches[certain]
        self.column.verdicts[here] = np.where(imprecise, Verdict.IMPRECISE.severity, Verdict.MATCH.severity)
        rounded = None if limited else shades.rounded[certain]
        told = imprecise & (errors >= NOTHING_LEFT)
        self.column.sifted.place(Seen(here, shades.exact.pick(certain), errors, rounded, told, NO_DIGIT))
        return certain

    def judge(self, waiting: Sequence[int], known: Evidence) -> None:
        """Judge entries with all that is known of them. No mismatch stands on one witness."""
        wrong = [i for i in waiting if self._judge(i, known).cause is Cause.FORMULA]
        if wrong:
            for some in (wrong[:PROBED], wrong[PROBED:]):  # the rest only where the first ones say that constants are to blame
                slight = [i for i in some if self._slight(i, known)]
                meant = dict(zip(slight, known.meant(slight), strict=True)) if slight and known.meant is not None else {}
                excused = [i for i in some if self._excused(i, meant.get(i, NAN), known)]
                for i in excused:
                    self._judge(i, known)
                if not excused:
                    break
        refuted = [i for i in waiting if self.column.verdict(self.start + i) is Verdict.MISMATCH]
        suspects = [i for i in refuted if (t := self.truth(i)).kind is Kind.REGULAR and not t.singular]
        doubted = known.doubted(suspects, [self.truth(i).ball for i in suspects]) if suspects else {}
        for i, contradicted in doubted.items():
            doubt = Judgement(Verdict.UNDECIDED, text=self.policy.doubt if contradicted else UNCONFIRMED)
            self._enter(i, doubt, self.truth(i), known.shade(i), known.stage)

    def wrong(self, waiting: Indices) -> npt.NDArray[np.bool_]:
        """Which of the entries for which the shadow has to speak are a mismatch whatever it says, and only the cause is open:
        their derivative exists, and the float is nan, is missing, or is what nothing explains that passes."""
        known = self.truths.certified[waiting] | self.truths.alone(waiting)
        for place in np.flatnonzero(~known).tolist():
            truth = self.truth(int(waiting[place]))
            known[place] = truth.kind is Kind.REGULAR and not truth.singular
        if self.limits.given:
            return known & False
        return known if self.floats is None else known & (np.isnan(self.floats[waiting]) | self._apart[waiting])

    def meets(self, waiting: Indices, whole: Ball) -> bool:
        """Whether a ball that holds the derivatives of these entries holds one of their floats too, or 0 for those without."""
        if self.floats is None:
            return bool(whole.contains(0))
        return any(whole.contains(number) for number in set(self.floats[waiting].tolist()) if not math.isnan(number))

    def share(self, waiting: Indices, like: Detail) -> None:
        """Enter these entries as a mismatch that is `like` another."""
        here, shadow = (self.start + waiting).tolist(), None if like.shadow is None else EXACT
        made: dict[float | None, Detail] = {None: replace(like, shadow=shadow, rounding_error=None, rounded=None)}
        self.column.verdicts[here] = Verdict.MISMATCH.severity
        self.column.details |= dict.fromkeys(here, made[None])
        floats = np.full(len(waiting), np.nan) if self.floats is None else self.floats[waiting]
        truths = None if np.isnan(floats).all() else self.truths.pick(waiting)
        if truths is None:
            return
        with np.errstate(all="ignore"):
            errors = truths.off(floats) / np.abs(truths.high)
        known = self.truths.held(waiting) & np.isfinite(errors)
        for index, error in zip(compress(here, known), errors[known].tolist(), strict=True):
            if error not in made:
                made[error] = replace(made[None], rounding_error=error)
            self.column.details[index] = made[error]

    def truth(self, index: int) -> Truth:
        """The exact side of an entry."""
        return regular(self.truths[index])

    def number(self, index: int) -> float | None:
        """Torch's float of an entry; None where it gave no tensor."""
        return None if self.floats is None else float(self.floats[index])

    def _settled(self, part: slice) -> Indices:
        """Enter the exact side, and a match wherever two numbers show it at once; returns the other entries."""
        column, truths, words = self.column, self.truths, self.truths.words
        column.exact.place(self.start, truths)
        others = {i: truths[i] for i in truths.others}
        plain = truths.certified.copy()
        plain[[i for i, known in others.items() if not isinstance(known, Truth)]] = True
        floats = column.autograd[part]
        with np.errstate(all="ignore"):
            middles = np.full(len(floats), np.nan) if words is None else words.high
            gaps = np.full(len(floats), np.nan) if words is None else words.off(floats)
            radii = np.zeros(len(floats)) if words is None else words.radius
            if words is not None:
                gaps[gaps <= radii] = 0.0
            if others:
                middles, radii = middles.copy(), radii.copy()
                radii[truths.others] = 0.0  # what words know of these is no better than that they don't
            for i, known in others.items():
                ball = regular_ball(known)
                middles[i] = math.nan if ball is None else float(ball)
                gaps[i] = abs(floats[i] - middles[i])
            if self.form.bits == DOUBLE.bits:  # a difference of doubles is whole ulps; of shorter formats it is exact enough
                for i in (i for i in others if math.isfinite(gaps[i])):
                    apart: Ball = regular_ball(others[i])
                    apart -= float(floats[i])
                    gaps[i] = 0.0 if apart.contains(0) else float(apart)
            errors = column.error_ulps[part]
            for some in pieces(len(gaps)):
                middle, gap = middles[some], np.abs(gaps[some])
                size = np.abs(middle)
                about = np.maximum(BESIDE * size, radii[some])
                inner, outer = self.form.ulp(size - about), self.form.ulp(size + about)
                errors[some] = gap / outer
                near = np.flatnonzero((inner != outer) & (gap > 0.0) & np.isfinite(gap))
                near = near[self._inside(some.start + near, middle[near])] if len(near) else near
                errors[some.start + near] = gap[near] / inner[near]
            if not np.isfinite(floats.sum() + middles.sum()):  # of one of them, or of all together
                infinite = np.flatnonzero(np.isinf(floats) & plain)
                right = self.form.round(middles[infinite]) == floats[infinite]
                errors[infinite] = np.where(right, 0.0, np.inf)  # beyond the largest float, or not: see `distance`
                errors[np.isinf(middles) & np.isfinite(floats)] = np.inf
        quick = plain & (errors <= QUICK) & (not self.limits.given)
        column.verdicts[part][quick] = Verdict.MATCH.severity
        if truths.nowhere is not None and truths.nowhere.kind is Kind.UNKNOWN:
            column.mark((part.start + np.flatnonzero(truths.excluded)).tolist(), Verdict.UNDECIDED, truths.nowhere.text)
            errors[truths.excluded] = np.nan
        elif truths.excluded.any():
            column.verdicts[part][truths.excluded] = Verdict.OUTSIDE_DOMAIN.severity
            errors[truths.excluded] = np.nan
        return np.flatnonzero(~(quick | truths.excluded))

    def _inside(self, indices: Indices, middles: Floats) -> npt.NDArray[np.bool_]:
        """Which exact values of entries, about as large as `middles`, lie below the power of two beside them: by their words,
        by a ball where these don't tell; what may be the power is taken for it."""
        powers = np.exp2(np.round(np.log2(np.abs(middles))))
        found, told = np.zeros((2, len(indices)), dtype=bool)
        words = self.truths.words
        if words is not None:
            high, low, radius = (part[indices] for part in words)
            beyond = (np.abs(high) - powers) + low * np.sign(high)
            told = self.truths.certified[indices] & (np.abs(beyond) > 2.0 * radius)
            found = beyond < 0.0
        for i in np.flatnonzero(~told).tolist():
            ball = regular_ball(self.truths[int(indices[i])])
            found[i] = ball is not None and inside(ball, math.copysign(powers[i], middles[i]))
        return found

    def _judge(self, index: int, known: Evidence) -> Judgement:
        self.checkpoint()
        truth, shade, number = self.truth(index), known.shade(index), self.number(index)
        judgement = judge(number, truth, self.form, shade, self.limits, known.cut, known.refusal)
        if number is not None and math.isfinite(number):
            judgement = self._forgiven(judgement, number, truth, known)
            judgement = self._hidden(judgement, number, truth, shade, known)
        if shade is not None and shade.instead:
            judgement = self._instead(judgement, number, truth, shade)
        if judgement.cause is Cause.KINK and known.around is not None and number is not None and math.isfinite(number):
            judgement = self._beside(judgement, number, known.around(index, number))
        if judgement.cause is Cause.FORMULA:
            judgement = replace(judgement, cause=self.policy.wrong)
        judgement = _told(judgement, shade)
        self._enter(index, judgement, truth, shade, known.stage)
        return judgement

    def _forgiven(self, judgement: Judgement, number: float, truth: Truth, known: Evidence) -> Judgement:
        """What the policy leaves in peace: an entry that keeps enough of its digits, or, where the exact value is 0, of the
        digits of everything around."""
        if judgement.cause is None or judgement.cause not in self.policy.kept:
            return judgement
        roundoff = self.form.unit_roundoff ** self.policy.kept[judgement.cause]
        if truth.ball.contains(0):
            verdict, near = Verdict.MATCH, abs(number) <= roundoff * known.scale
        else:
            verdict = judge_rounding(truth.ball, number, self.form)
            near = judgement.rounding_error is not None and judgement.rounding_error <= roundoff
        return replace(judgement, verdict=verdict, cause=None) if near else judgement

    def _hidden(self, judgement: Judgement, number: float, truth: Truth, shade: Shade | None, known: Evidence) -> Judgement:
        """Behind an opaque operation rounding is unknown; but an error beyond the policy's shares is no rounding."""
        if self.policy.hidden is None or judgement.verdict is not Verdict.UNDECIDED or shade is None or not shade.opaque:
            return judgement
        if truth.kind is not Kind.REGULAR:
            return judgement
        own, around = (self.form.unit_roundoff**share for share in self.policy.hidden)
        off = abs(number - float(truth.ball))
        if off > own * abs(float(truth.ball)) and off > around * known.scale:
            return Judgement(Verdict.MISMATCH, Cause.FORMULA, text=judgement.text)
        return judgement

    def _instead(self, judgement: Judgement, number: float | None, truth: Truth, shade: Shade) -> Judgement:
        """What another way to the same derivative allows an entry behind operations that can't be followed. Beyond that it is
        wrong; unless half of the digits are right, where it may approximate, which nobody can tell from wrong constants."""
        opaque = f"opaque: {', '.join(shade.instead)} can't be followed"
        if judgement.cause is not Cause.KERNEL or number is None:
            return replace(judgement, text="; ".join(filter(None, (opaque, judgement.text))))
        size = float(shade.rounded.rad())
        times = f", {abs(number - float(truth.ball)) / size:.2g} times as far off as" if size else ", beyond what"
        text = f"{opaque}{times} rounding may take it"
        if judge_rounding(truth.ball, number, self.form) is Verdict.MATCH:
            return Judgement(Verdict.UNDECIDED, text=f"{text}: {APPROXIMATE}")
        return Judgement(Verdict.MISMATCH, Cause.FORMULA, text=text)

    def _beside(self, judgement: Judgement, number: float, around: Truth) -> Judgement:
        """What is outside of the one-sided derivatives of an entry may be a derivative all the same, where others move too."""
        if around.left is None and not around.jump:
            return judgement
        beside = judge_plainly(number, around, self.form, self.limits)
        return judgement if beside is None else replace(beside, text=beside.text or _BESIDE)

    def _slight(self, index: int, known: Evidence) -> bool:
        """Whether a wrong formula is off by so little that the slack of the code's constants may explain it."""
        shade, truth = known.shade(index), self.truth(index).ball
        if shade is None or not shade.exact.is_finite():
            return False
        return not abs(shade.exact.mid() - truth) > excusable(self.form) * max(abs(float(truth.mid())), known.scale)

    def _excused(self, index: int, meant: Ball, known: Evidence) -> bool:
        """Whether a wrong formula is none: it is off by a few ulps only, as every float may be; it is as far off as rounding
        may take it, and so little, where rounding decides too (the root that an iteration finds); or the slack of the code's
        constants explains it, which the shadow may have too. The truth takes the slack."""
        shade, truth = known.shade(index), self.truth(index).ball
        if shade is None or not shade.exact.is_finite():
            return False
        off, few = abs(shade.exact.mid() - truth), QUICK * float(self.form.ulp(float(truth.mid())))
        if shade.loose and shade.rounded.is_finite() and off <= shade.rounded.rad():
            few = max(few, RESIDUE * float(self.form.ulp(known.scale)))
        if off <= few:
            self.truths[index] = truth.union(shade.exact)
            return True
        if not (meant.is_finite() and meant.overlaps(shade.exact) and meant.rad() <= self._slack(meant, shade, known)):
            return False
        self.truths[index] = meant
        return True

    def _slack(self, meant: Ball, shade: Shade, known: Evidence) -> Ball:
        """As much slack as may be due to rounded constants: half of the digits of what was added up (a sum's rounding is at
        least a roundoff of that), or a few ulps of everything around. More is a choice that isn't decided."""
        half = math.sqrt(self.form.unit_roundoff)
        terms = shade.rounded.rad() / self.form.unit_roundoff if shade.rounded.is_finite() else abs(meant.mid())
        around = exactly(QUICK * float(self.form.ulp(known.scale)))
        return around if around > terms * half else terms * half

    def _enter(self, index: int, judgement: Judgement, truth: Truth, shade: Shade | None, stage: str | None) -> None:
        column, here = self.column, self.start + index
        column.verdicts[here] = judgement.verdict.severity
        if truth.kind is not Kind.REGULAR:
            column.error_ulps[here] = np.nan
        if judgement.verdict is Verdict.MATCH and np.isnan(column.autograd[here]):
            column.autograd[here] = column.error_ulps[here] = 0.0  # torch's None for a derivative that is identically 0
        detail = Detail(
            cause=judgement.cause,
            stage=judgement.stage or (stage if judgement.cause else None),
            operation=judgement.operation,
            text=judgement.text or (truth.text if judgement.verdict is not Verdict.MATCH else None),
            left=None if truth.jump else decimal(truth.left),  # slopes beside a jump are no one-sided derivatives
            right=None if truth.jump else decimal(truth.right),
            side=side_of(self.number(index), truth, self.form) if judgement.verdict is Verdict.NONDIFFERENTIABLE else None,
            shadow=None if shade is None or shade.instead else interval(shade.exact),
            formula_error=judgement.formula_error,
            rounding_error=judgement.rounding_error,
            rounded=_rounded(shade),
        )
        if detail != _NOTHING:
            column.details[here] = detail
        else:
            column.details.pop(here, None)


def excusable(form: Format) -> float:
    """The share of everything around up to which the slack of constants excuses an error, 7e-12 in float64: worst cases of a
    deep function are worse by far than what rounded constants do."""
    return float(form.unit_roundoff**0.7)


def _rounded(shade: Shade | None) -> float | None:
    """How far rounding may lead, where that has a bound."""
    return None if shade is None or not shade.rounded.is_finite() else float(shade.rounded.rad())


def _told(judgement: Judgement, shade: Shade | None) -> Judgement:
    """The judgement, and what rounding decided on the way, where it isn't a match; what lost the digits, where they are."""
    if shade is None or judgement.verdict in (Verdict.MATCH, Verdict.NONDIFFERENTIABLE):
        return judgement
    texts = [judgement.text] if judgement.text else []
    if shade.turned:
        texts.append(f"rounding alone made {', '.join(shade.turned)} decide otherwise than exact arithmetic does")
    if judgement.verdict is Verdict.IMPRECISE and (judgement.rounding_error or 0.0) >= NOTHING_LEFT:
        texts.insert(0, NO_DIGIT)
    if shade.narrowed and judgement.cause in _ROUNDED and judgement.verdict is not Verdict.UNDECIDED:
        texts.append(f"{', '.join(shade.narrowed)} on the way: that is where the digits go")
    return replace(judgement, text="; ".join(texts)) if texts else judgement


BESIDE = 2.0**-40
"""As far as this share of itself from a power of two, the gap between floats around a number is known by any approximation."""

NOTHING_LEFT = 0.5
"""A relative error, from which on not even the first digit is right."""

NO_DIGIT = "no digit is right: what autograd returns is rounding alone"

APPROXIMATE = "an approximation, or a formula that is slightly wrong; --rtol accepts it"

_ROUNDED = (None, Cause.RANGE, Cause.KERNEL, Cause.TOLERANCE, Cause.VALUE)
"""What rounding to a shorter format may lead to."""

_BESIDE = "autograd has a derivative from beside this point, where equal entries are in another order"

_NOTHING = Detail()

DOUBLE = FORMATS["float64"]

"""Three numbers in, a verdict with its cause out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gradcheck_cli.algebra.columns.column import Column
from gradcheck_cli.algebra.number import Ball
from gradcheck_cli.errors import refused
from gradcheck_cli.floats import Floats, Format, pieces
from gradcheck_cli.verdict.limits import Limits
from gradcheck_cli.verdict.shade import Place, Shade, Shades
from gradcheck_cli.verdict.truth import Kind, Truth, jump_of
from gradcheck_cli.verdict.verdicts import SILENT, Cause, Verdict

QUICK = 4.0
"""Ulps within which autograd matches without looking at its operations: a few roundings."""

MARGIN = 4.0
"""How far beyond the modelled rounding a kernel must be before it is blamed: promises of kernels are not proofs."""


SHARE, SURE, NARROW = 0.125, 0.5, 2.0**-8
"""By how much the room that columns leave for rounding is cut: more than they may be wider than balls (tests: 8 times), which
is twice where rounding moves a number by at most NARROW of itself: what is wider is wider for a choice that isn't decided."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The outcome for one entry. `operation` and `stage`: where a range was left. The two errors are relative."""

    verdict: Verdict
    cause: Cause | None = None
    operation: str | None = None
    stage: str | None = None
    text: str | None = None
    formula_error: float | None = None
    rounding_error: float | None = None


def inside(ball: Ball, number: float) -> bool:
    """Whether a ball lies nearer to 0 than a number that is about its midpoint; one that may be that number doesn't."""
    # by the sign of the difference: flint's own absolute value rounds
    return not ball.contains(number) and bool((ball.mid() - number) * math.copysign(1.0, number) < 0)


def distance(value: float, ball: Ball, form: Format) -> float:
    """The error in ulps of the format (see `floats`): of a value against the midpoint of a tight ball, 0 inside of it.

    An infinity is right, at distance 0, where the exact value lies beyond the largest float.
    """
    if math.isnan(value):
        return math.nan
    middle = float(ball.mid())
    if math.isinf(value):
        return 0.0 if float(form.round(middle)) == value else math.inf
    if inside(ball, middle):  # of floats that enclose it, where it is just below a power of two
        middle = math.nextafter(middle, 0.0)
    gap = form.gap(middle if math.isfinite(middle) else form.largest)
    return 0.0 if ball.contains(value) else float(abs(ball.mid() - value) / gap)


def relative(value: float | Ball, ball: Ball, origin: Ball = None) -> float | None:
    """The distance of a value from `ball`, or from `origin` if given, relative to `ball`: midpoints; None where the exact value
    may be 0 or the distance isn't finite."""
    difference = (ball if origin is None else origin).mid() - value
    if not difference.is_finite() or ball.contains(0):
        return None
    return float((abs(difference.mid()) / abs(ball.mid())).mid())


def judge_rounding(ball: Ball, autograd: float, form: Format) -> Verdict:
    """The verdict where the formula is right and rounding explains the difference: MATCH while half of the digits are right
    (or the exact value and autograd's are both below the smallest normal float), else IMPRECISE."""
    if abs(ball).abs_upper() < form.smallest_normal and abs(autograd) <= form.smallest_normal:
        return Verdict.MATCH
    error = relative(autograd, ball)
    return Verdict.MATCH if error is not None and error <= math.sqrt(form.unit_roundoff) else Verdict.IMPRECISE


def judge_plainly(autograd: float | None, truth: Truth, form: Format, limits: Limits) -> Judgement | None:
    """The judgement that the first two numbers allow; None where the shadow has to speak."""
    match truth.kind:
        case Kind.OUTSIDE:
            return Judgement(Verdict.OUTSIDE_DOMAIN)
        case Kind.UNKNOWN:
            return Judgement(Verdict.UNDECIDED, text=truth.text)
        case Kind.NONDIFFERENTIABLE:
            return _at_kink(autograd, truth, form)
    if autograd is None:
        if truth.ball.contains(0):
            return Judgement(Verdict.MATCH)
        return Judgement(Verdict.MISMATCH, Cause.NO_GRADIENT)
    error = distance(autograd, truth.ball, form)
    if limits.given:
        exact = float(truth.ball.mid())
        return Judgement(Verdict.MATCH) if limits.allow(abs(autograd - exact), exact, error) else None
    return Judgement(Verdict.MATCH) if error <= QUICK else None


def _at_kink(autograd: float | None, truth: Truth, form: Format) -> Judgement | None:
    """Where no derivative exists: the hull of the one-sided slopes is admissible, and nan, which claims nothing."""
    if autograd is None or math.isnan(autograd):
        text = SILENT if autograd is not None else "autograd has no gradient here, which claims nothing"
        text = f"{jump_of(truth)}; {text}" if truth.jump else text
        return Judgement(Verdict.NONDIFFERENTIABLE, text=text)
    if truth.free:
        return Judgement(Verdict.NONDIFFERENTIABLE, text=truth.text)
    slopes = _slopes(truth, form)
    if truth.jump:
        # The function itself jumps: its slope there is infinite, the slopes beside it are what kernels return.
        return Judgement(Verdict.NONDIFFERENTIABLE, text=jump_of(truth)) if math.isfinite(autograd) or not slopes else None
    if not slopes:
        return Judgement(Verdict.NONDIFFERENTIABLE, text="the function has a value here, but none beside it")
    low, high, slack = min(slopes.values()), max(slopes.values()), _slack(slopes, form)
    if low - slack <= autograd <= high + slack or autograd in (low, high):
        return Judgement(Verdict.NONDIFFERENTIABLE)
    return None


def _slopes(truth: Truth, form: Format) -> dict[str, float]:
    """The one-sided slopes that are known, as floats of the format."""
    sides = {name: slope for name, slope in (("left", truth.left), ("right", truth.right)) if slope is not None}
    return {
        name: float(form.round(float(s.mid()))) if s.is_finite() else math.inf if s > 0 else -math.inf
        for name, s in sides.items()
    }


def _slack(slopes: Mapping[str, float], form: Format) -> float:
    """How far from one-sided slopes a float may be that is taken for one: a few roundings of the larger."""
    return QUICK * form.gap(max((abs(s) for s in slopes.values() if math.isfinite(s)), default=1.0))


def side_of(autograd: float | None, truth: Truth, form: Format) -> str | None:
    """Which of the slopes beside a kink, or a jump, of a line autograd's number is: that on the left, the right, both or
    neither; None where there is no number, or not two sides to choose from."""
    slopes = _slopes(truth, form)
    if autograd is None or math.isnan(autograd) or truth.free or truth.mixed or len(slopes) < 2:
        return None
    slack = _slack(slopes, form)
    near = [name for name, slope in slopes.items() if autograd == slope or abs(autograd - slope) <= slack]
    return near[0] if len(near) == 1 else "both" if near else "neither"


def judge(
    autograd: float | None,
    truth: Truth,
    form: Format,
    shade: Shade | None,
    limits: Limits,
    cut: tuple[str, ...] = (),
    refusal: str | None = None,
) -> Judgement:
    """The judgement of one entry, with all that is known of it. `cut`: operations that returned a detached tensor."""
    plain = judge_plainly(autograd, truth, form, limits)
    if plain is not None and plain.cause is not Cause.NO_GRADIENT:
        return _traced(plain, shade) if shade is not None and claims_nothing(autograd, plain) else plain
    if autograd is None or refusal:
        text = _cut_off(cut) if cut and refusal in (None, CUT) else refused(refusal) if refusal else NONE
        return Judgement(Verdict.MISMATCH, Cause.NO_GRADIENT, operation=cut[0] if cut else None, text=text)
    if shade is None:
        return Judgement(Verdict.UNDECIDED, text="the operations of this run could not be followed")
    if truth.kind is Kind.NONDIFFERENTIABLE:
        return _beyond_kink(autograd, truth, form, shade)
    return _Apart(autograd, truth, form, shade, limits, cut).judged()


def claims_nothing(autograd: float | None, judgement: Judgement) -> bool:
    """Whether it is a nan where no derivative exists: it passes, and its reader wants to know where it comes from."""
    return judgement.verdict is Verdict.NONDIFFERENTIABLE and autograd is not None and math.isnan(autograd)


def _traced(judgement: Judgement, shade: Shade) -> Judgement:
    """The judgement of a nan that claims nothing, with the operation that it came from."""
    found = shade.infinite
    if found is None:
        return judgement
    came = ": ".join(text for text in (found.where, found.advice) if text)
    text = "; ".join(text for text in (judgement.text, came) if text)
    return replace(judgement, operation=found.operation, stage=found.stage, text=text)


def _beyond_kink(autograd: float, truth: Truth, form: Format, shade: Shade) -> Judgement:
    """Outside of the hull: admissible all the same where the formula is within it and rounding explains the rest."""
    sides = [s for s in (truth.left, truth.right) if s is not None and s.is_finite()]
    if sides and math.isfinite(autograd):
        hull = sides[0].union(sides[-1])
        if shade.exact.is_finite():
            # Rounding that straddles the kink may lead to either side: the rounded ball is nan then.
            admissible = hull.overlaps(shade.exact) and (not shade.rounded.is_finite() or hull.overlaps(shade.rounded))
        else:
            slack = math.sqrt(form.unit_roundoff) * float(abs(hull).abs_upper())
            admissible = float(hull.lower()) - slack <= autograd <= float(hull.upper()) + slack
        if admissible:
            return Judgement(Verdict.NONDIFFERENTIABLE, text="autograd is admissible to within rounding")
    return Judgement(
        Verdict.MISMATCH, Cause.KINK, text=f"{jump_of(truth)}; autograd's value is infinite" if truth.jump else BEYOND
    )


BEYOND = "autograd's value lies outside of the one-sided derivatives"


NEGLIGIBLE, NO_SIZE = 2.0**-10, 2.0**-30
"""Of what rounding may do to an entry: what changes none of its verdicts; and what is 0, where its ball holds 0."""


CERTAINLY = 1.0 + 2.0**-20
"""Beyond a limit by so much, as floats tell, is beyond it for certain."""

Mask = npt.NDArray[np.bool_]


def explained(autograd: Floats, truths: Column, form: Format, shades: Shades) -> tuple[Mask, Mask]:
    """The entries of which it is certain that the formula is right, that rounding explains what is lost, and that half of the
    digits are left: a match by the table below; and those of which all that is certain but that fewer are left: imprecise, if
    the rounding is that of a format without limits. Of the others it says nothing.

    Certain: the ball of the formula is sharp (a sixteenth of a roundoff, or next to nothing beside what rounding may do) and
    meets the exact one. What rounding explains: a share of what the table allows, for columns enclose less tightly than balls.
    Where there is no bound on rounding only nearness counts, as in the table.
    """
    matches, lost = _by_pieces(_explained, autograd, truths, form, shades)
    return matches, lost


def _explained(autograd: Floats, truths: Column, form: Format, shades: Shades) -> tuple[Mask, Mask]:
    with np.errstate(all="ignore"):
        size, seen, off = np.abs(truths.high), shades.exact, truths.off(autograd)
        unbounded = (shades.rounded == np.inf) & np.isfinite(autograd)
        rounded = np.where(unbounded, 0.0, shades.rounded)
        right = np.abs((seen.high - truths.high) + (seen.low - truths.low)) <= truths.radius + seen.radius
        sharp = seen.radius <= np.maximum(size * (form.unit_roundoff / 16), rounded * NEGLIGIBLE)
        share = np.where(rounded <= size * NARROW, SURE, SHARE)
        bounded = seen.off(autograd) <= rounded * (MARGIN * share)
        digits = size * math.sqrt(form.unit_roundoff)
        below = np.abs(autograd) <= form.smallest_normal
        small, tiny = (below & (size + r * truths.radius < form.smallest_normal) for r in (-1.0, 1.0))  # maybe; certainly
        found: Mask = right & sharp & ((bounded & np.isfinite(rounded)) | unbounded)
        lost: Mask = (off - truths.radius > digits * CERTAINLY) & (truths.radius < digits) & ~small
        zero = (size <= truths.radius) & (size + truths.radius <= rounded * NO_SIZE)
        kept: Mask = (off <= digits) | zero | tiny  # beside 0 it is judged by what was added up
    return found & kept, found & lost & ~unbounded


def unexplained(autograd: Floats, truths: Column, form: Format, shades: Shades) -> Mask:
    """The entries of which it is certain that they are a mismatch: the formula is right, fewer than half the digits are left,
    above the smallest normal float, and rounding doesn't explain that, whatever does. Columns enclose less tightly than balls,
    so what is beyond their bound is beyond the balls' too."""
    (found,) = _by_pieces(_unexplained, autograd, truths, form, shades)
    return found


def _unexplained(autograd: Floats, truths: Column, form: Format, shades: Shades) -> tuple[Mask]:
    with np.errstate(all="ignore"):
        size, seen, off = np.abs(truths.high), shades.exact, truths.off(autograd)
        right = np.abs((seen.high - truths.high) + (seen.low - truths.low)) <= truths.radius + seen.radius
        sharp = seen.radius <= size * (form.unit_roundoff / 16)
        beyond = seen.off(autograd) - seen.radius > shades.rounded * (MARGIN * CERTAINLY)
        lost = off - truths.radius > size * (math.sqrt(form.unit_roundoff) * CERTAINLY)
        normal = size - truths.radius > form.smallest_normal * CERTAINLY
        found: Mask = right & sharp & beyond & lost & normal & np.isfinite(autograd)
    return (found,)


def _by_pieces(
    rule: Callable[[Floats, Column, Format, Shades], tuple[Mask, ...]],
    autograd: Floats, truths: Column, form: Format, shades: Shades,
) -> list[Mask]:  # fmt: skip
    """What a rule says of entries, some at a time: what it makes on the way stays in a processor's cache."""
    found = [rule(autograd[s], truths.pick(s), form, shades.pick(s)) for s in pieces(max(len(autograd), 1))]
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]


class _Apart:
    """An entry whose derivative exists, autograd being more than a few ulps off it, in the words of the table below.

    finite, nan     what autograd's value is.
    certified       autograd's operations have a value in exact arithmetic.
    right_formula   ... and it is the derivative; `wrong_formula`: it isn't.
    rounded         what rounding leaves of the digits.
    bounded         there is a bound on what rounding may do: none where it divides by what cancels to 0.
    ranged          rounding alone doesn't explain the digits that are lost: the limits of the format do, or nothing.
    held            the derivative isn't beyond the largest float.
    """

    def __init__(self, autograd: float, truth: Truth, form: Format, shade: Shade, limits: Limits, cut: tuple[str, ...]) -> None:
        self.autograd, self.truth, self.form, self.shade, self.limits, self.cut = autograd, truth, form, shade, limits, cut
        self.finite, self.nan = math.isfinite(autograd), math.isnan(autograd)
        self.certified, self.bounded = bool(shade.exact.is_finite()), bool(shade.rounded.is_finite())
        self.right_formula = self.certified and bool(shade.exact.overlaps(truth.ball))
        self.wrong_formula = self.certified and not self.right_formula
        self.rounded = judge_rounding(truth.ball, autograd, form)
        if truth.ball.contains(0) and self.right_formula and self.explained:
            self.rounded = Verdict.MATCH  # an error beside 0 is judged by what was added up, and so is what rounding explains

    @property
    def infinite_formula(self) -> bool:
        return bool(self.shade.exact.is_exact()) and not self.certified

    @property
    def pinned(self) -> str | None:
        """A branch of this point alone, where the function goes on smoothly: its own derivative is another function's."""
        return self.shade.pinned if self.truth.singular else None

    @property
    def lost(self) -> bool:
        return self.rounded is Verdict.IMPRECISE

    @property
    def explained(self) -> bool:
        return self.bounded and _contains(self.shade.rounded, self.autograd)

    @property
    def near(self) -> bool:
        """Where nothing explains the difference: half of the digits are right."""
        return not self.lost

    @property
    def flushed(self) -> bool:
        """Nothing but what lies below the smallest normal float is lost."""
        return not self.lost and bool(abs(self.truth.ball).abs_upper() < self.form.smallest_normal)

    @property
    def ranged(self) -> bool:
        scaled = self.shade.scaled
        return (self.lost or not self.finite) and (
            scaled is None or (bool(scaled.is_finite()) and not _contains(scaled, self.autograd))
        )

    @property
    def held(self) -> bool:
        return math.isfinite(float(self.form.round(float(self.truth.ball.mid()))))

    @property
    def left(self) -> bool:
        """An operation left the range upwards, and that is why."""
        if self.shade.infinite is None or not self.finite:
            return self.shade.infinite is not None
        return self.shade.overflow and self.lost and (self.ranged or not self.shade.scaled.is_finite())

    @property
    def trapped(self) -> bool:
        """The nan isn't the overflow's own: an infinity met a factor that is exactly 0, or is there in exact arithmetic too."""
        return self.nan and (self.shade.trap or not (self.shade.overflow and self.certified))

    @property
    def vanished(self) -> bool:
        """An operation left the range downwards, and took the digits with it."""
        return self.shade.tiny is not None and (self.ranged if self.finite else True)

    def judged(self) -> Judgement:
        """By the first row that holds."""
        rule = next(rule for rule in _RULES if rule.holds(self))
        found = rule.where(self)
        error = relative(self.shade.exact, self.truth.ball)
        return Judgement(
            self.rounded if rule.verdict is None else rule.verdict,
            rule.cause,
            found and found.operation,
            found and found.stage,
            rule.text(self),
            formula_error=0.0 if error is not None and self.right_formula else error,
            # a right formula gives the exact value, however wide the shadow's ball of it is
            rounding_error=relative(self.autograd, self.truth.ball, None if self.right_formula else self.shade.exact),
        )


class _Rule(NamedTuple):
    """A row: if it holds, this is the judgement. `verdict` None: whatever rounding leaves of the digits."""

    holds: Callable[[_Apart], bool]
    verdict: Verdict | None = Verdict.MISMATCH
    cause: Cause | None = None
    where: Callable[[_Apart], Place | None] = lambda entry: None
    text: Callable[[_Apart], str | None] = lambda entry: None


CUT = "the output is cut from the graph: it does not require a gradient"
NONE = "torch returned no gradient (None)"
NOTHING = (NONE, f"torch: {CUT}")
"""What is said where nothing is known but that there is no gradient."""


def _cut_off(cut: tuple[str, ...]) -> str:
    return f"cut from the graph by {cut[0]}, which has no derivative in torch"


def _left(entry: _Apart) -> str | None:
    """Where the range was left."""
    found = entry.shade.infinite or entry.shade.tiny
    texts = []
    if not entry.held and not entry.finite:
        met = "infinities of both signs met on the way to it" if entry.nan else "autograd's infinity has the other sign"
        texts.append(f"the derivative is too large for {entry.form.name}, and {met}")
    if found and found.where:
        texts.append(f"{found.where} {_how(entry, found)}")
    return "; ".join(texts) or None


def _how(entry: _Apart, found: Place) -> str:
    return "underflows" if found.vanished else "overflows" if entry.shade.overflow else "leaves the range"


def _trap(entry: _Apart) -> str | None:
    """Where a nan came from, and what to do about it."""
    found = entry.shade.infinite
    if entry.shade.strayed:
        return f"{found.where}: {_STRAYED}" if found and found.where else _STRAYED
    if found is None or not (found.where or found.advice):
        return None if entry.certified else _NO_VALUE
    if found.advice is None and (found.vanished or entry.shade.overflow):
        return f"{found.where} {_how(entry, found)}, and a 0 meets the infinity that comes of it"
    return ": ".join(text for text in (found.where, found.advice) if text)


_STRAYED = "rounding took an argument out of the domain, where there is no value: compute in a wider dtype"
_NO_VALUE = "autograd's own formula has no value here, in exact arithmetic either"


def _broken(entry: _Apart) -> str:
    found = entry.shade.infinite
    return f"{found.where if found and found.where else 'a kernel'}: torch's kernel returns inf or nan for ordinary numbers"


def _opaque(entry: _Apart) -> str:
    return f"opaque: {', '.join(entry.shade.opaque)} can't be followed"


_RULES = (
    # What can't be followed explains nothing: only nearness counts.
    _Rule(lambda e: bool(e.shade.opaque) and e.near, Verdict.MATCH, text=_opaque),
    _Rule(lambda e: bool(e.shade.opaque), Verdict.UNDECIDED, text=_opaque),
    # The formula comes before everything that rounding and range could explain: a wrong one may do both besides.
    _Rule(
        lambda e: e.wrong_formula and bool(e.cut),
        cause=Cause.NO_GRADIENT,
        where=lambda e: Place(e.cut[0]),
        text=lambda e: _cut_off(e.cut),
    ),
    _Rule(lambda e: e.wrong_formula and e.truth.singular and not e.pinned, cause=Cause.KINK),
    _Rule(lambda e: e.wrong_formula, cause=Cause.FORMULA, text=lambda e: e.pinned),
    _Rule(
        lambda e: not e.finite and e.infinite_formula, cause=Cause.FORMULA, text=lambda e: "the formula itself is infinite here"
    ),
    # The user's own limits replace the judgement of rounding, not that of the formula.
    _Rule(lambda e: e.limits.given, cause=Cause.TOLERANCE),
    # What rounding explains, it explains without the limits of the format; below the smallest normal float they don't count.
    _Rule(lambda e: e.right_formula and (e.flushed or (e.explained and not (e.ranged and (e.left or e.vanished)))), None),
    # Beyond what rounding explains: the range, upwards before downwards, for an overflow leads to zeros too.
    _Rule(lambda e: e.shade.broken and not e.finite, cause=Cause.KERNEL, where=lambda e: e.shade.infinite, text=_broken),
    _Rule(lambda e: e.left and e.trapped, cause=Cause.NAN_TRAP, where=lambda e: e.shade.infinite, text=_trap),
    _Rule(lambda e: e.left, cause=Cause.RANGE, where=lambda e: e.shade.infinite, text=_left),
    _Rule(lambda e: e.vanished, cause=Cause.RANGE, where=lambda e: e.shade.tiny),
    _Rule(lambda e: e.nan, cause=Cause.NAN_TRAP, where=lambda e: e.shade.infinite, text=_trap),
    _Rule(lambda e: not e.finite, cause=Cause.RANGE, where=lambda e: e.shade.infinite),
    # A finite number, and nothing left but doubt or the kernel.
    _Rule(
        lambda e: not e.certified,
        Verdict.UNDECIDED,
        text=lambda e: "autograd's operations have no certified value in exact arithmetic",
    ),
    _Rule(lambda e: not e.bounded, None),
    _Rule(lambda e: True, cause=Cause.KERNEL),
)
"""In this order; the first that holds decides."""


def _contains(rounded: Ball, value: float) -> bool:
    """The ball, `MARGIN` times as wide, contains the float."""
    return bool(abs(rounded.mid() - value) <= rounded.rad() * MARGIN)

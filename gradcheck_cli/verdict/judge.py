"""Three numbers in, a verdict with its cause out."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gradcheck_cli.floats import Format
from gradcheck_cli.verdict.limits import Limits
from gradcheck_cli.verdict.shade import Shade
from gradcheck_cli.verdict.truth import Ball, Kind, Truth
from gradcheck_cli.verdict.verdicts import Cause, Verdict

Place = tuple[str, str | None]
"""An operation and the stage it belongs to."""

QUICK = 4.0
"""Ulps within which autograd matches without looking at its operations: a few roundings."""

MARGIN = 4.0
"""How far beyond the modelled rounding a kernel must be before it is blamed: promises of kernels are not proofs."""


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


def distance(value: float, ball: Ball, form: Format) -> float:
    """The error in ulps of the format (see `floats`): of a value against the midpoint of a tight ball.

    An infinity is right, at distance 0, where the exact value lies beyond the largest float.
    """
    if math.isnan(value):
        return math.nan
    middle = float(ball.mid())
    if math.isinf(value):
        return 0.0 if float(form.round(middle)) == value else math.inf
    gap = float(form.ulp(middle if math.isfinite(middle) else form.largest))
    return float(abs(ball.mid() - value) / gap)


def relative(value: float | Ball, ball: Ball, origin: Ball = None) -> float | None:
    """The distance of a value from `ball`, or from `origin` if given, relative to `ball`: midpoints; None where the exact value
    may be 0 or the distance isn't finite."""
    difference = (ball if origin is None else origin).mid() - value
    if not difference.is_finite() or ball.contains(0):
        return None
    return float((abs(difference.mid()) / abs(ball.mid())).mid())


def judge_rounding(ball: Ball, autograd: float, form: Format) -> Verdict:
    """The verdict where the formula is right and rounding explains the difference: MATCH while half of the digits are right
    (or the exact value is below the smallest normal float), else IMPRECISE."""
    if abs(ball).abs_upper() < form.smallest_normal:
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
        text = (
            "autograd's nan claims nothing" if autograd is not None else "autograd has no gradient here, which claims nothing"
        )
        return Judgement(Verdict.NONDIFFERENTIABLE, text=text)
    if truth.free:
        return Judgement(Verdict.NONDIFFERENTIABLE, text=truth.text)
    slopes = [
        float(s.mid()) if s.is_finite() else math.inf if s > 0 else -math.inf
        for s in (truth.left, truth.right)
        if s is not None
    ]
    if truth.jump:
        # The function itself jumps: its slope there is infinite, the slopes beside it are what kernels return.
        return (
            Judgement(Verdict.NONDIFFERENTIABLE, text="the function jumps here")
            if math.isfinite(autograd) or not slopes
            else None
        )
    if not slopes:
        return Judgement(Verdict.NONDIFFERENTIABLE, text="the function has a value here, but none beside it")
    slack = QUICK * float(form.ulp(max((abs(s) for s in slopes if math.isfinite(s)), default=1.0)))
    low, high = (float(form.round(s)) for s in (min(slopes), max(slopes)))
    if low - slack <= autograd <= high + slack or autograd in (low, high):
        return Judgement(Verdict.NONDIFFERENTIABLE)
    return None


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
        return plain
    if autograd is None or refusal:
        text = f"torch: {refusal}" if refusal else "torch returned no gradient (None)"
        return Judgement(Verdict.MISMATCH, Cause.NO_GRADIENT, operation=cut[0] if cut else None, text=text)
    if shade is None:
        return Judgement(Verdict.UNDECIDED, text="the operations of this run could not be followed")
    if truth.kind is Kind.NONDIFFERENTIABLE:
        return _beyond_kink(autograd, truth, form, shade)
    return _apart(autograd, truth, form, shade, limits, cut)


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
    return Judgement(Verdict.MISMATCH, Cause.KINK, text="autograd's value lies outside of the one-sided derivatives")


def _apart(autograd: float, truth: Truth, form: Format, shade: Shade, limits: Limits, cut: tuple[str, ...]) -> Judgement:
    """The derivative exists and autograd is more than a few ulps off: is it the formula, the rounding, or the range?"""
    ball = truth.ball
    formula_error = relative(shade.exact, ball)
    if formula_error is not None and shade.exact.overlaps(ball):
        formula_error = 0.0
    rounding_error = relative(autograd, ball, shade.exact)
    rounded = judge_rounding(ball, autograd, form)
    lost = rounded is Verdict.IMPRECISE
    right_formula = shade.exact.is_finite() and shade.exact.overlaps(ball)
    explained = shade.rounded.is_finite() and _contains(shade.rounded, autograd)
    finite = math.isfinite(autograd)

    def found(verdict: Verdict, cause: Cause | None = None, text: str | None = None, where: Place | None = None) -> Judgement:
        operation, stage = where or (None, None)
        return Judgement(verdict, cause, operation, stage, text, formula_error, rounding_error)

    def mismatch(cause: Cause, where: Place | None = None, text: str | None = None) -> Judgement:
        return found(Verdict.MISMATCH, cause, text, where)

    if shade.opaque:
        # Nothing explains the difference here: below the smallest normal float, too, autograd has to be near.
        tiny = abs(ball).abs_lower() < form.smallest_normal
        near = not lost and (not tiny or abs(ball.mid() - autograd) <= form.smallest_normal)
        return found(Verdict.MATCH if near else Verdict.UNDECIDED, text=_opaque(shade))
    if shade.exact.is_finite() and not right_formula:
        if cut:
            return mismatch(Cause.NO_GRADIENT, (cut[0], None), f"{cut[0]} returned a tensor without a graph, and no error")
        if truth.singular:
            return mismatch(Cause.KINK)
        return mismatch(Cause.FORMULA)
    if not finite and shade.exact.is_exact() and not shade.exact.is_finite():
        return mismatch(Cause.FORMULA, text="the formula itself is infinite here")
    if limits.given:
        return mismatch(Cause.TOLERANCE)
    if right_formula and explained:
        return found(rounded)
    if shade.infinite is not None and (not finite or shade.overflow):
        if math.isnan(autograd) and (shade.trap or not shade.overflow or not shade.exact.is_finite()):
            return mismatch(Cause.NAN_TRAP, shade.infinite)
        return mismatch(Cause.RANGE, shade.infinite)
    if shade.tiny is not None and (lost or not finite):
        return mismatch(Cause.RANGE, shade.tiny)
    if not finite:
        return mismatch(Cause.NAN_TRAP if math.isnan(autograd) else Cause.RANGE, shade.infinite)
    if not shade.exact.is_finite():
        return found(Verdict.UNDECIDED, text="autograd's operations have no certified value in exact arithmetic")
    if not shade.rounded.is_finite():
        # Rounding alone may have led anywhere (a division by what cancels to 0).
        return found(rounded)
    return mismatch(Cause.KERNEL)


def _contains(rounded: Ball, value: float) -> bool:
    """The ball, `MARGIN` times as wide, contains the float."""
    return bool(abs(rounded.mid() - value) <= rounded.rad() * MARGIN)


def _opaque(shade: Shade) -> str:
    return f"opaque: {', '.join(shade.opaque)} can't be followed"

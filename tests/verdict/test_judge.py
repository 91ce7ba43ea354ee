"""Every verdict and cause is reached from three numbers, and each has its sentence.

Evidence is made by hand: a truth (a ball), torch's float, and what the shadow saw.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flint import arb

from gradcheck_cli.algebra.columns.column import Column
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.verdict.judge import (
    _RULES,
    MARGIN,
    NARROW,
    QUICK,
    SHARE,
    SURE,
    Judgement,
    _Apart,
    distance,
    explained,
    judge,
    judge_plainly,
    judge_rounding,
    relative,
    side_of,
)
from gradcheck_cli.verdict.limits import Limits
from gradcheck_cli.verdict.shade import Place, Shade, Shades
from gradcheck_cli.verdict.truth import Kind, Truth, regular
from gradcheck_cli.verdict.verdicts import Cause, Verdict
from tests.formats import DOUBLE, SINGLE

NONE = Limits()
INF, NAN = math.inf, math.nan
ULP = 2.0**-52


def ball(x: float, radius: float = 0.0) -> Any:
    return arb(x, radius)


def shade(exact: Any, rounded: Any = None, **seen: Any) -> Shade:
    """The shadow of a run; `rounded` is a ball of 8 ulps around `exact` unless given."""
    return Shade(exact, exact + arb(0, 8 * ULP) * abs(exact) if rounded is None else rounded, **seen)


def kink(left: Any, right: Any, **more: Any) -> Truth:
    sides = [None if s is None else arb(s) for s in (left, right)]
    return Truth(Kind.NONDIFFERENTIABLE, left=sides[0], right=sides[1], singular=True, **more)


def test_order_of_severity() -> None:
    """A report shows its worst: match is mildest, mismatch worst, and exactly three verdicts pass."""
    assert [v.value for v in sorted(Verdict, key=lambda v: v.severity)] == [
        "match", "imprecise", "nondifferentiable", "outside_domain", "undecided", "mismatch",
    ]  # fmt: skip
    assert [v for v in Verdict if v.passes] == [Verdict.MATCH, Verdict.IMPRECISE, Verdict.NONDIFFERENTIABLE]


@pytest.mark.parametrize("member", [*Verdict, *Cause], ids=lambda m: repr(m))
def test_every_member_has_a_sentence(member: Any) -> None:
    """Each verdict and cause says in a whole sentence of its own what happened."""
    assert member.sentence[0].isupper() and member.sentence.endswith(".")
    assert len([m for m in (*Verdict, *Cause) if m.sentence == member.sentence]) == 1


KINDS = (Verdict.MATCH, Verdict.IMPRECISE)
"""What columns settle."""

EVIDENCE: list[tuple[str, float | None, Truth, Shade | None, dict[str, Any], Verdict, Cause | None, str | None]] = [
    # what, autograd, truth, shadow, more arguments; verdict, cause, operation
    ("equal", 3.0, regular(ball(3)), None, {}, Verdict.MATCH, None, None),
    ("a few ulps", 1 + 4 * ULP, regular(ball(1)), None, {}, Verdict.MATCH, None, None),
    ("zero", 0.0, regular(ball(0)), None, {}, Verdict.MATCH, None, None),
    ("none where zero", None, regular(ball(0)), None, {}, Verdict.MATCH, None, None),
    ("beyond the largest", INF, regular(arb(2) ** 2000), None, {}, Verdict.MATCH, None, None),
    ("below the smallest", 0.0, regular(arb(2) ** -1090), None, {}, Verdict.MATCH, None, None),
    ("explained rounding", 1 + 6 * ULP, regular(ball(1)), shade(ball(1)), {}, Verdict.MATCH, None, None),
    ("half of the digits lost", 1 + 2e-8, regular(ball(1)), shade(ball(1), ball(1, 1e-7)), {}, Verdict.IMPRECISE, None, None),
    ("half of the digits kept", 1 + 1e-8, regular(ball(1)), shade(ball(1), ball(1, 1e-7)), {}, Verdict.MATCH, None, None),
    ("sigmoid's tail", 0.0, regular(ball(4e-18)), shade(ball(4e-18), ball(0, 1e-15)), {}, Verdict.IMPRECISE, None, None),
    ("subnormal lost", 0.0, regular(ball(1e-310)), shade(ball(1e-310), ball(0, 1e-300)), {}, Verdict.MATCH, None, None),
    ("subnormal, beyond rounding", 2e-309, regular(ball(1e-310)), shade(ball(1e-310), ball(1e-310, 1e-320)), {},
     Verdict.MATCH, None, None),
    ("unbounded rounding", 5.0, regular(ball(1)), shade(ball(1), arb.nan()), {}, Verdict.IMPRECISE, None, None),
    ("kink, inside", 0.5, kink(0, 1), None, {}, Verdict.NONDIFFERENTIABLE, None, None),
    ("kink, end", 1.0, kink(1, 0), None, {}, Verdict.NONDIFFERENTIABLE, None, None),
    ("kink, nan", NAN, kink(0, 1), None, {}, Verdict.NONDIFFERENTIABLE, None, None),
    ("kink, none", None, kink(0, 1), None, {}, Verdict.NONDIFFERENTIABLE, None, None),
    ("infinite slope", INF, kink(None, INF), None, {}, Verdict.NONDIFFERENTIABLE, None, None),
    ("jump", 0.0, kink(0, 0, jump=True), None, {}, Verdict.NONDIFFERENTIABLE, None, None),
    ("nothing to hold it to", 17.0, kink(None, None, free=True), None, {}, Verdict.NONDIFFERENTIABLE, None, None),
    ("an isolated point", 17.0, kink(None, None), None, {}, Verdict.NONDIFFERENTIABLE, None, None),
    ("kink, by rounding", 1.5, kink(0, 1), shade(ball(1), ball(1, 1)), {}, Verdict.NONDIFFERENTIABLE, None, None),
    ("kink, outside", 2.0, kink(0, 1), shade(ball(2)), {}, Verdict.MISMATCH, Cause.KINK, None),
    ("kink, infinite", INF, kink(0, 1), shade(arb.pos_inf()), {}, Verdict.MISMATCH, Cause.KINK, None),
    ("kink, a wrong formula that rounding hides", 1.5, kink(0, 1), shade(ball(2), ball(1.5, 1)), {},
     Verdict.MISMATCH, Cause.KINK, None),
    ("jump, infinite", INF, kink(0, 0, jump=True), shade(arb.pos_inf()), {}, Verdict.MISMATCH, Cause.KINK, None),
    ("kink, finite slope for an infinite one", 1.0, kink(None, INF), shade(ball(1)), {}, Verdict.MISMATCH, Cause.KINK, None),
    ("kink that cancels", 0.0, Truth(Kind.REGULAR, ball(1), singular=True), shade(ball(0)), {},
     Verdict.MISMATCH, Cause.KINK, None),
    ("outside", 1.0, Truth(Kind.OUTSIDE), None, {}, Verdict.OUTSIDE_DOMAIN, None, None),
    ("unknown", 1.0, Truth(Kind.UNKNOWN), None, {}, Verdict.UNDECIDED, None, None),
    ("no shadow", 2.0, regular(ball(1)), None, {}, Verdict.UNDECIDED, None, None),
    ("opaque and wrong", 2.0, regular(ball(1)), shade(ball(2), opaque=("conv",)), {}, Verdict.UNDECIDED, None, None),
    ("opaque and nearly right", 1 + 9 * ULP, regular(ball(1)), shade(ball(2), opaque=("conv",)), {}, Verdict.MATCH, None, None),
    ("opaque at zero", 2.0, regular(ball(0)), shade(arb.nan(), opaque=("conv",)), {}, Verdict.UNDECIDED, None, None),
    ("wrong formula", 2.0, regular(ball(1)), shade(ball(2)), {}, Verdict.MISMATCH, Cause.FORMULA, None),
    ("wrong by 1e-9", 1 + 1e-9, regular(ball(1)), shade(ball(1 + 1e-9)), {}, Verdict.MISMATCH, Cause.FORMULA, None),
    ("hidden by rounding", 2.0, regular(ball(1)), shade(ball(1.5), ball(1.5, 1)), {}, Verdict.MISMATCH, Cause.FORMULA, None),
    ("the formula is infinite", INF, regular(ball(1)), shade(arb.pos_inf(), arb.nan()), {},
     Verdict.MISMATCH, Cause.FORMULA, None),
    ("none", None, regular(ball(1)), None, {}, Verdict.MISMATCH, Cause.NO_GRADIENT, None),
    ("none, cut", None, regular(ball(1)), None, {"cut": ("j0",)}, Verdict.MISMATCH, Cause.NO_GRADIENT, "j0"),
    ("part cut", 0.5, regular(ball(1)), shade(ball(0.5)), {"cut": ("j0",)}, Verdict.MISMATCH, Cause.NO_GRADIENT, "j0"),
    ("refused", 0.5, regular(ball(1)), shade(ball(1)), {"refusal": "no"}, Verdict.MISMATCH, Cause.NO_GRADIENT, None),
    ("overflow", INF, regular(ball(1)), shade(ball(1), arb.nan(), infinite=Place("exp", "z"), overflow=True), {},
     Verdict.MISMATCH, Cause.RANGE, "exp"),
    ("overflow, nan", NAN, regular(ball(1)), shade(ball(1), arb.nan(), infinite=Place("exp", "z"), overflow=True), {},
     Verdict.MISMATCH, Cause.RANGE, "exp"),
    ("too large, and of the other sign", -INF, regular(arb(2) ** 2000),
     shade(arb(2) ** 2000, arb.nan(), infinite=Place("mm", None), overflow=True), {}, Verdict.MISMATCH, Cause.RANGE, "mm"),
    ("too large, and nan", NAN, regular(arb(2) ** 2000),
     shade(arb(2) ** 2000, arb.nan(), infinite=Place("mm", None), overflow=True), {}, Verdict.MISMATCH, Cause.RANGE, "mm"),
    ("a broken kernel", NAN, regular(ball(1)), shade(ball(1), arb.nan(), infinite=Place("exp", "z"), broken=True), {},
     Verdict.MISMATCH, Cause.KERNEL, "exp"),
    ("trap", NAN, regular(ball(1)), shade(ball(1), arb.nan(), infinite=Place("exp", "z"), overflow=True, trap=True), {},
     Verdict.MISMATCH, Cause.NAN_TRAP, "exp"),
    ("trap of 1/0", NAN, regular(ball(1)), shade(arb.nan(), arb.nan(), infinite=Place("div", None)), {},
     Verdict.MISMATCH, Cause.NAN_TRAP, "div"),
    ("underflow", 0.0, regular(ball(1)), shade(ball(1), ball(1, 0.1), tiny=Place("mul", None)), {},
     Verdict.MISMATCH, Cause.RANGE, "mul"),
    ("nan from nowhere", NAN, regular(ball(1)), shade(ball(1)), {}, Verdict.MISMATCH, Cause.NAN_TRAP, None),
    ("infinity from nowhere", INF, regular(ball(1)), shade(ball(1)), {}, Verdict.MISMATCH, Cause.RANGE, None),
    ("kernel, beyond a multiple of rounding", 1 + 100 * ULP, regular(ball(1)), shade(ball(1)), {},
     Verdict.MISMATCH, Cause.KERNEL, None),
    ("kernel", 1 + 1e-9, regular(ball(1)), shade(ball(1)), {}, Verdict.MISMATCH, Cause.KERNEL, None),
    ("no value", 2.0, regular(ball(1)), shade(arb.nan()), {}, Verdict.UNDECIDED, None, None),
    ("tolerance", 1 + 1e-9, regular(ball(1)), shade(ball(1)), {"limits": Limits(ulps=10)},
     Verdict.MISMATCH, Cause.TOLERANCE, None),
    ("tolerance, formula", 1.5, regular(ball(1)), shade(ball(1.5)), {"limits": Limits(ulps=10)},
     Verdict.MISMATCH, Cause.FORMULA, None),
    ("tolerated", 1.5, regular(ball(1)), shade(ball(1.5)), {"limits": Limits(rtol=0.6)}, Verdict.MATCH, None, None),
    ("tolerance is relative", 0.015, regular(ball(0.01)), shade(ball(0.01)), {"limits": Limits(rtol=0.1)},
     Verdict.MISMATCH, Cause.TOLERANCE, None),
    ("not tolerated", 1 + 2 * ULP, regular(ball(1)), shade(ball(1)), {"limits": Limits(ulps=1)},
     Verdict.MISMATCH, Cause.TOLERANCE, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("autograd", "truth", "shadow", "more", "verdict", "cause", "operation"),
    [e[1:] for e in EVIDENCE],
    ids=[e[0] for e in EVIDENCE],
)
def test_judge(
    autograd: float | None,
    truth: Truth,
    shadow: Shade | None,
    more: dict[str, Any],
    verdict: Verdict,
    cause: Cause | None,
    operation: str | None,
) -> None:
    """Each piece of evidence reaches its verdict, cause and operation."""
    found = judge(autograd, truth, DOUBLE, shadow, **{"limits": NONE, **more})
    assert (found.verdict, found.cause, found.operation) == (verdict, cause, operation), found


def test_arrays_say_nothing_else() -> None:
    """What columns settle of the evidence (no more is known of it than numbers) is what single balls say of it: they match some
    of it, and find some imprecise."""
    settled = set()
    for what, autograd, truth, shadow, more, verdict, _, _ in EVIDENCE:
        balls = [truth.ball, shadow.exact, shadow.rounded] if shadow is not None and truth.kind is Kind.REGULAR else []
        if autograd is None or not balls or not all(b.is_finite() for b in balls) or more or shadow.opaque or shadow.tiny:
            continue
        if any(abs(b).abs_upper() > DOUBLE.largest for b in balls):
            continue
        exact, seen = (Column(*(np.array([float(part)]) for part in (b.mid(), 0.0, b.rad()))) for b in balls[:2])
        far = np.array([float(shadow.rounded.rad() + abs(shadow.rounded.mid() - shadow.exact.mid()))])
        for found, said in zip(explained(np.array([autograd]), exact, DOUBLE, Shades(seen, far)), KINDS, strict=True):
            assert not found[0] or verdict is said, what
            settled |= {said} if found[0] else set()
    assert settled == set(KINDS)


def test_every_member_is_reached() -> None:
    """The evidence above reaches every verdict, and every cause but those that other modules give."""
    assert {e[5] for e in EVIDENCE} == set(Verdict)
    assert {e[6] for e in EVIDENCE} == {None, *Cause} - {Cause.CLAIM, Cause.VALUE, Cause.CONVENTION, Cause.CONVERGENCE}


def test_every_rule_decides_something() -> None:
    """Each row of the ordered table is the first that holds for some of the evidence: none is dead."""
    decided = set()
    for _, autograd, truth, shadow, more, *_ in EVIDENCE:
        if autograd is not None and shadow is not None and truth.kind is Kind.REGULAR and "refusal" not in more:
            entry = _Apart(autograd, truth, DOUBLE, shadow, more.get("limits", NONE), more.get("cut", ()))
            decided.add(next(i for i, rule in enumerate(_RULES) if rule.holds(entry)))
    assert decided == set(range(len(_RULES)))


def test_the_stage_is_named() -> None:
    """Where the range was left, the operation comes with its stage."""
    seen = shade(ball(1), arb.nan(), infinite=Place("exp", "z"), overflow=True)
    found = judge(INF, regular(ball(1)), DOUBLE, seen, NONE)
    assert (found.operation, found.stage) == ("exp", "z")


def test_errors_are_taken_apart() -> None:
    """formula_error is the shadow's distance from exact, rounding_error autograd's from the shadow, both relative."""
    found = judge(3.5, regular(ball(2)), DOUBLE, shade(ball(3)), NONE)
    assert (found.cause, found.formula_error, found.rounding_error) == (Cause.FORMULA, 0.5, 0.25)
    found = judge(2.001, regular(ball(2)), DOUBLE, shade(ball(2), ball(2, 1)), NONE)
    assert found.formula_error == 0
    assert found.rounding_error == pytest.approx(0.0005, rel=1e-9)
    assert judge(NAN, regular(ball(2)), DOUBLE, shade(arb.nan()), NONE).formula_error is None


def test_rounding_is_told_from_the_exact_value_where_the_formula_is_right() -> None:
    """The shadow's ball may be much wider than the derivative is large: its midpoint says nothing of the error."""
    found = judge(0.05e-227, regular(ball(8e-227)), DOUBLE, shade(ball(1e-39, 1e-12), ball(0.0, 1e-11)), Limits())
    assert (found.verdict, found.formula_error) == (Verdict.IMPRECISE, 0)
    assert found.rounding_error == pytest.approx(7.95 / 8)


def test_the_margin_of_kernels() -> None:
    """Rounding explains up to MARGIN times the model's radius, no more."""
    rounded = ball(1, 1e-12)
    inside, beyond = 1 + 0.99e-12 * MARGIN, 1 + 1.01e-12 * MARGIN
    assert judge(inside, regular(ball(1)), DOUBLE, shade(ball(1), rounded), NONE).verdict is Verdict.MATCH
    assert judge(beyond, regular(ball(1)), DOUBLE, shade(ball(1), rounded), NONE).cause is Cause.KERNEL


@pytest.mark.parametrize("form", FORMATS.values(), ids=lambda f: f.name)
def test_plainly(form: Any) -> None:
    """Without the shadow: a match within QUICK ulps of the format, else nothing is said yet."""
    u = 2 * form.unit_roundoff
    assert judge_plainly(1 + QUICK * u, regular(ball(1)), form, NONE) == Judgement(Verdict.MATCH)
    assert judge_plainly(1 - QUICK * u, regular(ball(1)), form, NONE) == Judgement(Verdict.MATCH)
    assert judge_plainly(1 + (QUICK + 1) * u, regular(ball(1)), form, NONE) is None
    assert judge_plainly(NAN, regular(ball(1)), form, NONE) is None
    assert judge_plainly(-1.0, regular(ball(1)), form, NONE) is None
    assert judge_plainly(0.0, regular(ball(1)), form, NONE) is None


def test_admissible_at_a_kink() -> None:
    """The hull of the one-sided derivatives is admissible, a few ulps around it too; the rest waits for the shadow."""
    for value, left, right in [
        (0.0, -1, 1),
        (-1.0, -1, 1),
        (1 + 4 * ULP, -1, 1),
        (1e300, 0, INF),
        (-INF, -INF, INF),
        (INF, -INF, INF),
    ]:
        assert judge_plainly(value, kink(left, right), DOUBLE, NONE) is not None, (value, left, right)
    for value, left, right in [
        (1 + 9 * ULP, -1, 1),
        (-0.5, 0, 1),
        (INF, -1, 1),
        (-INF, 0, INF),
        (1.0, INF, INF),
        (0.0, None, INF),
    ]:
        assert judge_plainly(value, kink(left, right), DOUBLE, NONE) is None, (value, left, right)


def test_nan_at_a_kink_is_noted() -> None:
    """nan claims nothing: it passes, with a remark."""
    found = judge_plainly(NAN, kink(0, 1), DOUBLE, NONE)
    assert found is not None and found.text is not None and "nan" in found.text


def test_a_nan_at_a_kink_is_traced() -> None:
    """The verdict stays, and what the shadow saw first is named; without a shadow nothing is."""
    seen = shade(arb.nan(), infinite=Place("sqrt", "z", "f.py, line 3", "add eps"))
    found = judge(NAN, kink(-1, 1), DOUBLE, seen, NONE)
    assert (found.verdict, found.cause, found.operation, found.stage) == (Verdict.NONDIFFERENTIABLE, None, "sqrt", "z")
    assert str(found.text).endswith("; f.py, line 3: add eps")
    assert judge(NAN, kink(-1, 1), DOUBLE, None, NONE).operation is None
    assert judge(0.0, kink(-1, 1), DOUBLE, seen, NONE).operation is None
    assert judge(None, kink(-1, 1), DOUBLE, seen, NONE).operation is None


def test_distance() -> None:
    """Errors in ulps of the exact value's binade; infinities are right beyond the largest float only; nan stays nan."""
    third = arb(1) / 3
    assert distance(1 / 3, third, DOUBLE) < 0.5
    assert math.isclose(distance(1 / 3 + 2.0**-50, third, DOUBLE), 16, abs_tol=0.5)
    assert distance(0.0, ball(4e-165), SINGLE) < 0.5
    assert distance(0.0, ball(2.0**-149), SINGLE) == 1
    assert distance(INF, arb(2) ** 1024, DOUBLE) == 0
    assert distance(INF, ball(DOUBLE.largest), DOUBLE) == INF
    assert distance(-INF, arb(2) ** 1024, DOUBLE) == INF
    assert distance(INF, ball(3.5e38), SINGLE) == 0
    assert distance(DOUBLE.largest, arb(2) ** 1024, DOUBLE) == 1
    assert math.isnan(distance(NAN, ball(1), DOUBLE))


def test_relative() -> None:
    """The relative distance of midpoints; None where there is none."""
    assert relative(ball(3), ball(2)) == 0.5
    assert relative(ball(-2), ball(2)) == 2
    assert relative(ball(1), ball(0)) is None
    assert relative(arb.nan(), ball(1)) is None
    assert relative(arb.pos_inf(), ball(1)) is None


NUMBERS = (0.0, 1.0, -1.0, 1 + 1e-9, 1e-320, 1e300, INF, -INF, NAN)


def test_never_a_false_alarm_or_a_false_pass() -> None:
    """Over all combinations: a value next to exact always passes; one far from it passes only if rounding explains it."""
    balls = [ball(x) for x in (0.0, 1.0, -1.0, 1e-320, 1e300)]
    shades = [shade(b, r) for b in (*balls, arb.nan()) for r in (ball(0, 1e-3), ball(1, 3), arb.nan())]
    places: list[dict[str, Any]] = [{}, {"infinite": Place("exp"), "overflow": True}, {"tiny": Place("mul")}]
    for value, exact, seen, place in itertools.product(NUMBERS, balls, shades, places):
        seen = Shade(seen.exact, seen.rounded, **place)
        found = judge(value, regular(exact), DOUBLE, seen, NONE)
        if distance(value, exact, DOUBLE) <= QUICK:
            assert found.verdict is Verdict.MATCH
        elif found.verdict in (Verdict.MATCH, Verdict.IMPRECISE):
            assert seen.exact.overlaps(exact)
            assert math.isfinite(value) or not seen.rounded.is_finite()
        assert (found.cause is None) == (found.verdict is not Verdict.MISMATCH)


@pytest.mark.parametrize(
    ("exact", "autograd", "expected"),
    [(-2e-53, 0.0, "match"), (-2e-53, 1e-39, "match"), (-2e-53, -1.2e-7, "imprecise"), (1e-39, 1.1e-38, "match")],
)
def test_below_the_smallest_normal_float(exact: float, autograd: float, expected: str) -> None:
    """Below the smallest normal float digits don't count, for who is there: erfcx's slope in float32 is -2e-53, not -1.2e-7."""
    assert judge_rounding(arb(exact), autograd, FORMATS["float32"]) == expected


def test_columns_settle_as_balls_do() -> None:
    """A match, and what is imprecise, by arrays: balls say the same of each, though they may be as much narrower as columns
    may be wider, and where both numbers are below the smallest normal float arrays say so."""
    form, generator, count = FORMATS["float32"], np.random.default_rng(5), 4_000
    size = np.exp2(generator.uniform(-1, 1, count) * generator.choice([1.0, 40.0, 3.0], count))
    size *= generator.choice([1.0, form.smallest_normal], count)
    rounded = size * np.exp2(generator.uniform(-24, 30, count))
    reach = np.where(rounded <= NARROW * size, SURE, SHARE) * MARGIN * rounded
    found = size + reach * np.exp2(generator.uniform(-3, 1, count)) * generator.choice([-1.0, 1.0], count)
    found[::5] = generator.choice([0.0, form.smallest_normal, 2 * form.smallest_normal], len(found[::5]))
    nothing, narrow = np.zeros(count), size * 2.0**-50
    words = Column(size, nothing, narrow)
    matches, lost = explained(found, words, form, Shades(words, rounded))
    small = 0
    for i in np.flatnonzero(matches | lost).tolist():
        share = SURE if rounded[i] <= NARROW * size[i] else SHARE
        seen = Shade(arb(size[i], narrow[i]), arb(size[i], rounded[i] * share), scaled=arb(size[i], rounded[i]))
        judged = judge(float(found[i]), regular(arb(size[i], narrow[i])), form, seen, NONE)
        assert judged.verdict is (Verdict.MATCH if matches[i] else Verdict.IMPRECISE), (size[i], found[i], rounded[i])
        small += bool(matches[i] and found[i] == 0.0)
    assert matches.sum() > 200 and lost.sum() > 200 and small > 20
    assert not (matches | lost)[np.abs(found - size) > 1.001 * reach].any()


@pytest.mark.parametrize(
    ("scaled", "tiny", "cause"),
    [(arb(1, 1e-10), Place("exp", "y"), "range"), (arb(0, 10), Place("exp", "y"), None), (arb("nan"), Place("exp", "y"), None)],
)
def test_an_underflow_must_have_cost_the_digits(scaled: Any, tiny: Place, cause: str | None) -> None:
    """Lost digits are range only where a format without limits would have kept them; what rounding explains, it explains."""
    seen = Shade(arb(1), arb(0, 10), scaled, tiny=tiny)
    found = judge(0.0, Truth(Kind.REGULAR, arb(1)), FORMATS["float64"], seen, Limits())
    assert (found.verdict, found.cause) == ("mismatch" if cause else "imprecise", cause)


def test_sentences_hold_wherever_they_stand() -> None:
    """A kink may have an infinite slope only, a range may be left on the way to what no dtype holds, and where there is no
    derivative autograd may be nan: no sentence promises more."""
    for said, words in (
        (Cause.KINK, ("exists", "bounded")),
        (Cause.RANGE, ("can represent", "can hold")),
        (Verdict.NONDIFFERENTIABLE, ("autograd's value", "optimiser")),
    ):
        assert not any(word in said.sentence for word in words)


def test_whose_slope_it_is() -> None:
    """A number is the slope of a side to within 4 ulp of the larger one, or of both, or of neither; where there are not two
    sides, or they are no sides of a line, there is nothing to choose."""
    form, up = FORMATS["float64"], math.nextafter(1.0, 2.0)
    for value, truth, side in [
        (0.0, kink(0, 1), "left"), (-0.0, kink(0, 1), "left"), (1.0, kink(0, 1), "right"), (up, kink(0, 1), "right"),
        (0.5, kink(0, 1), "neither"), (2.0, kink(2, 2, jump=True), "both"), (1.0, kink(2, 2, jump=True), "neither"),
        (math.inf, kink(1, math.inf), "right"), (math.nan, kink(0, 1), None), (None, kink(0, 1), None),
        (1.0, replace(kink(0, 1), left=None), None), (1.0, replace(kink(0, 1), mixed=True), None),
    ]:  # fmt: skip
        assert side_of(value, truth, form) == side, (value, truth)


def test_a_jump_is_said_to_be_one() -> None:
    """Whatever autograd's value is there: the slopes beside a jump are no one-sided derivatives."""
    for value in (0.0, math.nan, None):
        found = judge(value, kink(2, 2, jump=True), FORMATS["float64"], None, Limits())
        assert found.text is not None and found.text.startswith("the function jumps here")

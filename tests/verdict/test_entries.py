"""The judging loop: what two numbers settle, what the shadow adds, and the policies by which formulas and tensors differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from flint import arb, ctx

from gradcheck_cli.algebra.columns.column import Column as Words
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.entries import OF_FORMULAS, OF_TENSORS, OF_VALUES, UNCONFIRMED, Entries, Evidence, Policy
from gradcheck_cli.verdict.judge import distance
from gradcheck_cli.verdict.limits import Limits
from gradcheck_cli.verdict.scope import AtPoints
from gradcheck_cli.verdict.shade import Shade
from gradcheck_cli.verdict.truth import Kind, Truth
from gradcheck_cli.verdict.truths import Truths
from gradcheck_cli.verdict.verdicts import Cause, Verdict
from tests.formats import DOUBLE

ULP = 2.0**-52


def loop(truths: Sequence[Any], floats: list[float] | None, policy: Policy = OF_FORMULAS, **more: Any) -> Entries:
    """Entries in the middle of a column of undecided ones."""
    count = len(truths)
    column = Column.blank(AtPoints({"x": np.zeros(count + 2)}), count + 2, of="y", wrt=("x",))
    found = None if floats is None else np.array(floats)
    settings: dict[str, Any] = {"limits": Limits(), "checkpoint": lambda: None, **more}
    part = slice(1, count + 1)
    return Entries(column, part, DOUBLE, policy, settings["limits"], found, truths, settings["checkpoint"])


def known(shades: Sequence[Shade | None], doubt: bool = False, **more: Any) -> Evidence:
    """Evidence in which the second witness doubts all or nothing."""
    return Evidence(lambda i: shades[i], lambda some, balls: dict.fromkeys(some, True) if doubt else {}, **more)


def seen(exact: float, radius: float = 1e-15, **more: Any) -> Shade:
    return Shade(arb(exact), arb(exact, radius), **more)


def verdicts(entries: Entries) -> list[str]:
    return [entries.column.verdict(i).value for i in range(1, len(entries.column) - 1)]


def test_two_numbers_settle_what_they_can() -> None:
    """A few ulps match at once, a kink and an unknown truth need no shadow; only the rest waits, and nothing outside the part
    is touched."""
    unknown = Truth(Kind.UNKNOWN, text="why")
    kink = Truth(Kind.NONDIFFERENTIABLE, left=arb(-1), right=arb(1), singular=True)
    entries = loop([arb(1), arb(1), kink, unknown, arb(0)], [1 + 4 * ULP, 1 + 5 * ULP, 0.5, 7.0, math.nan])
    assert entries.plainly() == [1, 4]
    assert verdicts(entries) == ["match", "undecided", "nondifferentiable", "undecided", "undecided"]
    column = entries.column
    assert column.details[4].text == "why" and column.details[3].left == "-1"
    assert np.isnan(column.autograd[[0, -1]]).all() and column.exact[0] is None
    assert column.error_ulps[1] == 4 and np.isnan(column.error_ulps[3])


def test_limits_of_the_user_leave_nothing_to_the_quick_way() -> None:
    """With --ulps 1, two ulps are no match, and a right formula is a mismatch of tolerance."""
    entries = loop([arb(1), arb(1)], [1 + 2 * ULP, 1 + ULP], limits=Limits(ulps=1))
    assert entries.plainly() == [0]
    entries.judge([0], known([seen(1, 1e-15)]))
    assert verdicts(entries) == ["mismatch", "match"]
    assert entries.column.cause(1) is Cause.TOLERANCE


def test_none_is_zero_where_the_derivative_is() -> None:
    """No tensor at all is right for 0, and no gradient for anything else."""
    entries = loop([arb(0), arb(2)], None)
    waiting = entries.plainly()
    assert waiting == [1]
    entries.judge(waiting, known([None, None]))
    assert verdicts(entries) == ["match", "mismatch"]
    assert entries.column.cause(2) is Cause.NO_GRADIENT
    assert entries.column.autograd[1] == 0 and np.isnan(entries.column.autograd[2])


@pytest.mark.parametrize("contradicted", [True, False])
@pytest.mark.parametrize("policy", [OF_FORMULAS, OF_TENSORS], ids=["formulas", "tensors"])
def test_no_mismatch_on_one_witness(policy: Policy, contradicted: bool) -> None:
    """What the second witness doubts is undecided, in the words of the policy; what it only doesn't confirm isn't called a
    contradiction. What the shadow saw stays. A singular truth is itself the limit from both sides: nobody is asked."""
    singular = Truth(Kind.REGULAR, arb(3), singular=True)
    asked: list[tuple[list[int], list[float]]] = []

    def doubted(indices: Sequence[int], balls: Sequence[Any]) -> dict[int, bool]:
        asked.append((list(indices), [float(b) for b in balls]))
        return {indices[0]: contradicted}

    entries = loop([arb(1), arb(2), singular], [5.0, 6.0, 7.0], policy)
    shades = [seen(5), seen(6), seen(7)]
    entries.judge(entries.plainly(), Evidence(lambda i: shades[i], doubted))
    assert asked == [([0, 1], [1.0, 2.0])]
    assert verdicts(entries) == ["undecided", "mismatch", "mismatch"]
    doubt = entries.column.details[1]
    assert (doubt.text, doubt.cause, doubt.shadow) == (policy.doubt if contradicted else UNCONFIRMED, None, "5")
    assert entries.column.cause(3) is Cause.KINK


def test_constants_excuse_a_formula() -> None:
    """Where the slack of the code's constants explains it the truth takes that slack; the many are asked only if one of the
    first is excused, and what is off by more than slack explains not at all."""
    asked: list[list[int]] = []

    def meant(indices: Sequence[int]) -> list[Any]:
        asked.append(list(indices))
        return [arb(1, 1e-11) if i == 0 else arb(1) for i in indices]

    count = 20
    shades = [seen(1 + 1e-12, 1e-14) for _ in range(count)]
    entries = loop([arb(1)] * count, [1 + 1e-12] * count, OF_TENSORS)
    entries.judge(entries.plainly(), known(shades, meant=meant))
    assert [len(a) for a in asked] == [16, 4]
    assert verdicts(entries) == ["match"] + ["mismatch"] * (count - 1)
    asked.clear()
    entries = loop([arb(1)] * count, [2.0] * count, OF_TENSORS)
    entries.judge(entries.plainly(), known([seen(2)] * count, meant=meant))
    assert not asked


def test_more_slack_than_constants_have_is_a_choice() -> None:
    """Numbers that a code's constants leave open by more than half of the digits are a choice that isn't decided: no excuse."""
    for slack, expected in ((1e-11, "match"), (1e-2, "mismatch")):
        entries = loop([arb(1)], [1 + slack / 10], OF_TENSORS)
        evidence = known([seen(1 + slack / 10, 1e-15)], meant=lambda some, slack=slack: [arb(1, slack)] * len(some))
        entries.judge(entries.plainly(), evidence)
        assert verdicts(entries) == [expected]


def test_an_iteration_may_miss_by_a_few_ulps_of_everything() -> None:
    """Where rounding decides when to stop, 64 ulps of everything around are forgiven, and no more."""
    for off, expected in ((32 * ULP, "match"), (1e-10, "mismatch")):
        entries = loop([arb(1)], [1 + off], OF_TENSORS)
        loose = Shade(arb(1 + off), arb(1 + off, 1e-3), loose=True)
        entries.judge(entries.plainly(), known([loose], meant=lambda some: [arb(1)] * len(some)))
        assert verdicts(entries) == [expected]


def test_beside_a_kink_others_may_move_too() -> None:
    """What is outside of the one-sided derivatives is admissible where it is a derivative from beside the point, and only
    there."""
    kink = Truth(Kind.NONDIFFERENTIABLE, left=arb(0), right=arb(1), singular=True)
    around = Truth(Kind.NONDIFFERENTIABLE, left=arb(0), right=arb(2), singular=True)
    for number, expected in ((2.0, "nondifferentiable"), (3.0, "mismatch")):
        entries = loop([kink], [number], OF_TENSORS)
        entries.judge(entries.plainly(), known([seen(number)], around=lambda i, number: around))
        assert verdicts(entries) == [expected]


def test_tensors_forgive_kernels() -> None:
    """A kernel that keeps three quarters of the digits is left in peace in tensors, not in formulas; none that keeps fewer."""
    near, far = 1 + 2.0**-41, 1 + 2.0**-38
    for policy, expected in ((OF_TENSORS, ["match", "mismatch"]), (OF_FORMULAS, ["mismatch", "mismatch"])):
        entries = loop([arb(1), arb(1)], [near, far], policy)
        entries.judge(entries.plainly(), known([seen(1, 1e-15)] * 2))
        assert verdicts(entries) == expected


def test_beside_an_exact_zero_the_scale_counts() -> None:
    """Where exact is 0 there are no digits of its own: those of everything around are meant."""
    for scale, expected in ((1.0, "mismatch"), (1e6, "match")):
        entries = loop([arb(0)], [1e-8], OF_TENSORS)
        entries.judge(entries.plainly(), known([Shade(arb(0), arb(0, 1e-300))], scale=scale))
        assert verdicts(entries) == [expected]


def test_behind_an_opaque_operation() -> None:
    """A tensor's error that no rounding could hide is refuted although nobody saw the formula; a formula's never is."""
    opaque = Shade(arb("nan"), arb("nan"), opaque=("fft",))
    for policy, expected in ((OF_TENSORS, ["mismatch", "undecided", "match"]), (OF_FORMULAS, ["undecided"] * 2 + ["match"])):
        entries = loop([arb(1)] * 3, [2.0, 1 + 1e-7, 1 + 1e-9], policy)
        entries.judge(entries.plainly(), known([opaque] * 3))
        assert verdicts(entries) == expected


def test_a_wrong_value_has_its_own_cause() -> None:
    """Of a function's own values a wrong formula is a wrong value; constants are no excuse for it."""
    entries = loop([arb(1)], [2.0], OF_VALUES)
    entries.judge(entries.plainly(), known([seen(2)]))
    assert entries.column.cause(1) is Cause.VALUE


def test_the_stage_is_blamed_for_causes_only() -> None:
    """`stage` is named where something is wrong and nobody else is."""
    entries = loop([arb(1), arb(1)], [2.0, 1 + 6 * ULP])
    entries.judge(entries.plainly(), known([seen(2), seen(1, 1e-14)], stage="y"))
    assert [entries.column.details[i].stage for i in (1, 2)] == ["y", None]


def test_time_is_asked_for_at_every_entry() -> None:
    """The loop can be stopped between any two entries, plain or followed; what is judged stays."""

    class Late(Exception):
        pass

    left = iter(range(3))

    def checkpoint() -> None:
        if next(left, None) is None:
            raise Late

    entries = loop([arb(1)] * 4, [2.0] * 4, checkpoint=checkpoint)
    with pytest.raises(Late):
        entries.plainly()
    entries = loop([arb(1)] * 4, [2.0] * 4)
    waiting, left = entries.plainly(), iter(range(2))
    entries.checkpoint = checkpoint
    with pytest.raises(Late):
        entries.judge(waiting, known([seen(2)] * 4))
    assert verdicts(entries) == ["mismatch", "mismatch", "undecided", "undecided"]


def test_the_caller_keeps_its_truths() -> None:
    """The loop's list is its own: what constants excuse doesn't change what the prover holds."""
    truths = [arb(1)]
    entries = loop(truths, [1 + 1e-12], OF_TENSORS)
    entries.judge(entries.plainly(), known([seen(1 + 1e-12)], meant=lambda some: [arb(1, 1e-11)] * len(some)))
    assert verdicts(entries) == ["match"]
    assert truths[0].is_exact() and not entries.truth(0).ball.is_exact()
    assert entries.column.verdict(1) is Verdict.MATCH


@pytest.mark.parametrize("form", ["bfloat16", "float16", "float32", "float64"])
@pytest.mark.parametrize("share", [2.0**-30, 2.0**-45, 2.0**-60, 2.0**-70])
@pytest.mark.parametrize("sign", [1, -1])
def test_errors_beside_a_power_of_two(form: str, share: float, sign: int) -> None:
    """An ulp is the gap between the floats that enclose the exact value: just below a power of two it is half of that above, by
    arrays and by balls, however near the value is."""
    kind = FORMATS[form]
    with ctx.workprec(128):
        exact = arb(1) + sign * arb(share)
    gap = float(2 * kind.unit_roundoff if sign > 0 else kind.unit_roundoff)
    number = 1.0 + 8 * kind.unit_roundoff
    right = float(abs(arb(number) - exact) / gap)
    words = Words(np.array([1.0 + sign * share]), np.array([0.0]), np.array([2.0**-46]))
    if form == "float64":
        high = float(exact)
        with ctx.workprec(128):
            words = Words(np.array([high]), np.array([float(exact - high)]), np.array([2.0**-100]))
    truths = Truths(1, lambda index: exact)
    truths.certify(words, np.array([True]))
    for known in (truths, [exact]):
        column = Column.blank(AtPoints({"x": np.zeros(1)}), 1, of="y", wrt=("x",), dtype=form)
        Entries(column, slice(0, 1), kind, OF_FORMULAS, Limits(), np.array([number]), known, lambda: None)
        assert column.error_ulps[0] == pytest.approx(right, rel=1e-6)
    assert distance(number, exact, kind) == pytest.approx(right, rel=1e-6)


def test_what_may_be_a_power_of_two_is_one() -> None:
    """1/x at a power of two, by words a hair beside it."""
    truths = Truths(1, lambda index: arb(0.25))
    truths.certify(Words(np.array([0.25]), np.array([-(2.0**-90)]), np.array([2.0**-80])), np.array([True]))
    column = Column.blank(AtPoints({"x": np.zeros(1)}), 1, of="y", wrt=("x",), dtype="bfloat16")
    Entries(column, slice(0, 1), FORMATS["bfloat16"], OF_FORMULAS, Limits(), np.array([0.5]), truths, lambda: None)
    assert column.error_ulps[0] == 128


def test_single_balls_become_words() -> None:
    """Of what waits, each ball that is a derivative lies within words, of any size; limits and unknown ones have none."""
    third = arb(1) / 3
    balls = [third, arb("1e-300"), -third * arb(2) ** 900, arb(1.5), arb(0, 1e-40), Truth(Kind.UNKNOWN), None, arb("nan")]
    truths = Truths.of([*balls, third])
    truths.keep(np.arange(len(balls)))
    assert truths.held(np.arange(9)).tolist() == [True] * 5 + [False] * 4
    words = truths.pick(np.arange(5))
    assert words is not None
    with ctx.workprec(300):
        for ball, high, low, radius in zip(balls, *(part.tolist() for part in words), strict=False):
            assert abs(ball - high - low) <= radius
            assert radius <= float(ball.rad()) * 1.001 + abs(high) * 2.0**-100 + 2.0**-1073
    assert not truths.certified.any()
    truths[0] = Truth(Kind.OUTSIDE)
    assert not truths.held(np.arange(1))[0]


@pytest.mark.parametrize("radius", [2.0**-79, 1.0, math.inf, math.nan])
def test_what_words_left_open_says_nothing(radius: float) -> None:
    """An entry that a single ball settles is judged by that ball, however wide the words were that didn't certify it: an error
    in ulps of their radius would be next to none."""
    exact = arb("1e-299")
    truths = Truths(2, lambda index: arb(1))
    truths.certify(Words(np.array([1.0, 0.0]), np.zeros(2), np.array([2.0**-100, radius])), np.array([True, False]))
    truths[1] = exact
    entries = loop([arb(1), arb(1)], [1.0, 0.0])
    column = entries.column
    found = Entries(column, slice(1, 3), DOUBLE, OF_FORMULAS, Limits(), np.array([1.0, 0.0]), truths, lambda: None)
    assert found.plainly() == [1]
    assert verdicts(found) == ["match", "undecided"]
    assert column.error_ulps[2] == pytest.approx(distance(0.0, exact, DOUBLE))
    assert column.error_ulps[2] > 1e15

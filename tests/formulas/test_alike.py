"""Mismatches that are judged with their neighbours: the same as alone, and only what is certain."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from flint import arb

from gradcheck_cli import check_chain
from gradcheck_cli.algebra.columns.column import Column as Words
from gradcheck_cli.exact.witness import Witness
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.formulas import waiting
from gradcheck_cli.formulas.alike import STRIDE, Gap, gaps, kindred
from gradcheck_cli.shadow.courses import Following
from gradcheck_cli.verdict.column import Column, Detail
from gradcheck_cli.verdict.entries import OF_FORMULAS, Entries
from gradcheck_cli.verdict.judge import MARGIN, unexplained
from gradcheck_cli.verdict.limits import Limits
from gradcheck_cli.verdict.scope import AtPoints
from gradcheck_cli.verdict.shade import Shades
from gradcheck_cli.verdict.truth import Kind, Truth
from gradcheck_cli.verdict.verdicts import Cause, Verdict

CASES = {
    "acot(x)": "x=logspace(1e-38,1,3000)",  # nan, of 0*inf
    "asinh(x)": "x=logspace(1e10,3e38,3000)",  # 0, where x*x overflows
    "sech(x)": "x=logspace(1,3e38,3000)",  # beyond the range of doubles
    "i1(x)": "x=logspace(1e-3,100,2000)",  # no derivative in this format
}
"""Formulas that leave the range of bfloat16 at many points, and where."""


def _checked(text: str, at: str) -> Column:
    return check_chain(text, at=at, dtype="bfloat16").columns[-1]


def _judged(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What is judged by balls from here on, as it comes."""
    found: list[int] = []
    judge_at: Callable[..., None] = waiting.Queue._judge_at

    def counted(self: Any, some: Any, home: Any) -> None:
        found.extend(some)
        judge_at(self, some, home)

    monkeypatch.setattr(waiting.Queue, "_judge_at", counted)
    return found


@pytest.mark.parametrize("text", CASES)
def test_judged_with_others_is_judged_as_alone(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdict, cause, operation, text and errors of every entry are those that it has by itself, and most weren't looked at."""
    judged = _judged(monkeypatch)
    together = _checked(text, CASES[text])
    some = len(judged)
    monkeypatch.setattr(waiting, "MANY_ALIKE", 10**9)
    alone = _checked(text, CASES[text])
    assert 0 < 4 * some < len(judged) - some
    for index in range(len(alone)):
        mine, other = together.check(index), alone.check(index)
        assert together.kind_of(index) == alone.kind_of(index)
        assert (mine.detail, mine.formula_error, mine.exact) == (other.detail, other.formula_error, other.exact)
        assert mine.rounding_error == other.rounding_error or math.isclose(mine.rounding_error or 0, other.rounding_error or 0)
        assert (mine.shadow is None) == (other.shadow is None)


def test_no_mismatch_stands_on_one_witness(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the second witness confirms nothing, over a gap or at a point, nothing is called wrong."""
    monkeypatch.setattr(Witness, "between", lambda self, first, last, wrt: None)
    monkeypatch.setattr(Witness, "confirms", lambda self, point, wrt, ball, series=True: None)
    assert check_chain("asinh(x)", at=CASES["asinh(x)"], dtype="bfloat16").counts.get("mismatch", 0) == 0


def test_what_lies_between_has_a_witness_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the second witness confirms both ends, but not what lies between, that is undecided."""
    asked: list[object] = []
    monkeypatch.setattr(Witness, "between", lambda self, first, last, wrt: asked.append(first))
    monkeypatch.setattr(Witness, "confirms", lambda self, point, wrt, ball, series=True: None if asked else True)
    counts = check_chain("asinh(x)", at=CASES["asinh(x)"], dtype="bfloat16").counts
    assert 0 < 4 * counts["mismatch"] < counts["undecided"]


def test_a_ball_over_a_gap_confirms_what_it_excludes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ball that holds the floats themselves confirms no mismatch: the middle of each gap is asked about, and where that isn't
    confirmed, each point."""
    asked: list[float] = []
    confirms = Witness.confirms

    def counted(self: Witness, point: Any, *others: Any) -> bool | None:
        asked.append(point["x"])
        return confirms(self, point, *others)

    monkeypatch.setattr(Witness, "confirms", counted)
    _checked("asinh(x)", CASES["asinh(x)"])
    few = len(asked)
    monkeypatch.setattr(Witness, "between", lambda self, first, last, wrt: arb(0, 1))
    _checked("asinh(x)", CASES["asinh(x)"])
    middles = len(asked) - 2 * few
    assert 0 < few < 2 * middles
    ends = {*asked[:few]}
    monkeypatch.setattr(
        Witness, "confirms", lambda self, point, *others: (asked.append(point["x"]), point["x"] in ends or None)[1]
    )
    counts = check_chain("asinh(x)", at=CASES["asinh(x)"], dtype="bfloat16").counts
    assert len({*asked} - ends) >= counts["undecided"] > 8 * middles


def test_a_gap_has_one_course() -> None:
    """What lies between two points went their way, in the order of the values, and one in STRIDE is an end."""
    values = np.random.default_rng(5).permutation(200.0 + np.arange(200))
    courses = np.where(values < 300.0, 1, np.where(values < 310.0, 2, 1))
    found = gaps(np.arange(200), values, courses)
    for gap in found:
        between = values[gap.between]
        assert values[gap.first] < between.min() <= between.max() < values[gap.last]
        assert len(between) < STRIDE
        assert len({*courses[gap.between].tolist(), int(courses[gap.first]), int(courses[gap.last])}) == 1
        assert not (values[gap.first] < 300.0 <= values[gap.last])
    assert sum(len(gap.between) for gap in found) > 150


def test_courses_tell_events_apart() -> None:
    """Infinite, nan, 0, subnormal, their signs and truth values make different courses; ordinary numbers none."""
    x = torch.tensor([1.0, 2.0, -3.0, math.inf, -math.inf, math.nan, 0.0, 1e-40, -1e-40])
    with Following(len(x)) as seen:
        _ = x * 1.0
    assert len(set(seen.courses.tolist())) == 7
    assert len(set(seen.courses[:3].tolist())) == 1
    with Following(3) as compared:
        _ = x[:3] > 0.0
    assert compared.courses[0] == compared.courses[1] != compared.courses[2]


@pytest.mark.parametrize("share", [0.999, 1.001])
def test_what_rounding_explains_is_not_wrong_for_certain(share: float) -> None:
    """An error is unexplained just beyond MARGIN times what rounding may do, and not just below it."""
    form = FORMATS["bfloat16"]
    exact, rounded = np.array([1.0]), np.array([0.2])
    truths = Words(exact, np.zeros(1), np.full(1, 1e-16))
    autograd = exact - MARGIN * rounded * share
    assert unexplained(autograd, truths, form, Shades(truths, rounded))[0] == (share > 1.0)
    tiny = Words(exact * form.smallest_normal, np.zeros(1), np.zeros(1))
    assert not unexplained(np.zeros(1), tiny, form, Shades(tiny, np.zeros(1)))[0]
    near = exact * (1.0 - 0.5 * math.sqrt(form.unit_roundoff))
    assert not unexplained(near, truths, form, Shades(truths, np.zeros(1)))[0]
    blurred = Words(exact, np.zeros(1), np.full(1, 0.1))
    assert not unexplained(np.zeros(1), truths, form, Shades(blurred, np.zeros(1)))[0]


def _entries(floats: list[float] | None, limits: Limits | None = None) -> tuple[Column, Entries]:
    """Derivatives of 1, and what torch returned."""
    column = Column.blank(AtPoints({"x": np.zeros(3)}), 3, of="y", wrt=("x",), dtype="bfloat16")
    given = None if floats is None else np.array(floats)
    form, some = FORMATS["bfloat16"], slice(0, 3)
    return column, Entries(column, some, form, OF_FORMULAS, limits or Limits(), given, [arb(1)] * 3, lambda: None)


def test_only_what_cannot_pass_is_wrong_for_certain() -> None:
    """A nan is, and what is missing; a number isn't unless nothing explains it, and nothing is where the user has limits."""
    everything = np.arange(3)
    assert _entries([math.nan, 0.5, 2.0])[1].wrong(everything).tolist() == [True, False, False]
    assert _entries(None)[1].wrong(everything).all()
    assert not _entries([math.nan] * 3, Limits(rtol=0.1))[1].wrong(everything).any()
    _, outside = _entries([math.nan] * 3)
    outside.truths[1] = Truth(Kind.NONDIFFERENTIABLE)
    assert outside.wrong(everything).tolist() == [True, False, True]


def test_a_ball_meets_the_floats_that_it_holds() -> None:
    """Of entries without a float it is 0 that it may hold; a nan is in none."""
    everything, ball = np.arange(3), arb(1, 0.5)
    assert not _entries(None)[1].meets(everything, ball)
    assert _entries(None)[1].meets(everything, arb(1, 2))
    assert not _entries([math.nan, 0.0, 2.0])[1].meets(everything, ball)
    assert _entries([math.nan, 0.0, 1.25])[1].meets(everything, ball)


@pytest.mark.parametrize("other", [Detail(cause=Cause.RANGE, text="elsewhere"), Detail(cause=Cause.KERNEL), Detail()])
def test_ends_that_differ_have_nothing_between(other: Detail) -> None:
    """Both ends of a gap have to be mismatches of one cause and text, one that stretches of points share."""
    column, _ = _entries([math.nan] * 3)
    column.verdicts[:] = Verdict.MISMATCH.severity
    gap, like = Gap(0, 2, np.array([1])), Detail(cause=Cause.RANGE, text="here")
    column.details.update({0: like, 2: like})
    assert kindred(column, gap) is like
    column.details[2] = other
    assert kindred(column, gap) is None
    column.details[0] = other
    assert (kindred(column, gap) is None) == (other.cause is not Cause.RANGE)
    column.details.update({0: like, 2: like})
    column.verdicts[2] = Verdict.UNDECIDED.severity
    assert kindred(column, gap) is None

"""What is kept of very many entries."""

from __future__ import annotations

import numpy as np

from gradcheck_cli.verdict.column import KINDS, Column, Detail, Kind
from gradcheck_cli.verdict.scope import AtPoints
from gradcheck_cli.verdict.summary import FIRST, Summary
from gradcheck_cli.verdict.verdicts import Cause, Verdict

COUNT = 300


def column() -> Column:
    """Matches but for every third entry, which is imprecise: one by the most ulps, another by the largest relative error."""
    found = Column.blank(AtPoints({"x": np.arange(COUNT) + 0.5}), COUNT, of="f", wrt=("x",), dtype="float32")
    found.verdicts[:] = Verdict.MATCH.severity
    found.error_ulps[:] = 0.25
    found.error_ulps[100] = 3.5
    for index in range(0, COUNT, 3):
        found.verdicts[index] = Verdict.IMPRECISE.severity
        found.error_ulps[index] = 90.0
        found.details[index] = Detail(rounding_error=1e-3, text=f"{index} digits are lost")
    found.error_ulps[150] = 5000.0
    found.details[201].rounding_error = 0.9
    return found


def test_the_first_the_last_and_the_worst_are_kept() -> None:
    """Of each kind, by ulps and relative to exact; texts that differ in numbers alone are one kind; all are counted."""
    (kept,) = Summary.of([column()], 1000).columns
    assert kept.scope.point(0) == {"x": 0.5}
    names = [int(kept.scope.point(i)["x"]) for i in range(len(kept))]
    assert names == sorted({0, 3, 6, 297, 150, 201} | {1, 2, 4, 299, 100})
    lost = Kind(Verdict.IMPRECISE, text="# digits are lost")
    assert kept.tally == {lost: 100, Kind(Verdict.MATCH): 200} and kept.size == COUNT
    assert kept.counts() == {Verdict.IMPRECISE: 100, Verdict.MATCH: 200} and FIRST == 3
    assert Summary.of([column()], 1000).numbers == [1000 + n for n in names]
    assert kept.summary()["kinds"][0] == {
        "verdict": "imprecise", "cause": None, "stage": None, "operation": None, "witness": None,
        "text": "# digits are lost", "count": 100,
    }  # fmt: skip


def test_kinds_are_bounded() -> None:
    """However many texts there are, little is kept; nothing is lost in the counts."""
    many = Column.blank(AtPoints({"x": np.arange(2000.0)}), 2000, of="f", wrt=("x",))
    for index in range(2000):
        many.details[index] = Detail(cause=Cause.KERNEL, text="abcdefghij"[index % 10] * (1 + index // 10))
    many.verdicts[:] = Verdict.MISMATCH.severity
    (kept,) = Summary.of([many], 0).columns
    assert kept.tally is not None and len(kept.tally) <= KINDS + 1 and kept.size == 2000
    assert len(kept) < (KINDS + 1) * (FIRST + 3)

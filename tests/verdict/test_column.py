"""Columns: blank, joined, marked and blamed; what becomes of entries otherwise is in test_report."""

from __future__ import annotations

import copy
import pickle

import numpy as np

from gradcheck_cli.algebra.columns.column import Column as Words
from gradcheck_cli.verdict.column import Column, Detail, Seen
from gradcheck_cli.verdict.scope import AtPoints, OfLayer, OfTensor, TensorLabels
from gradcheck_cli.verdict.verdicts import Cause, Verdict


def test_a_blank_column_is_undecided() -> None:
    """Every entry, without a number, called after what is differentiated by what."""
    blank = Column.blank(AtPoints({"x": np.arange(3.0)}), 3, of="y", wrt=("x", "x"))
    assert blank.quantity == "d2y/dxdx"
    assert blank.counts() == {Verdict.UNDECIDED: 3}
    assert np.isnan(blank.autograd).all() and np.isnan(blank.error_ulps).all() and list(blank.exact) == [None] * 3
    assert Column.blank(OfTensor({}), 1, of="y").quantity == "y"


def test_tensors_of_a_layer_are_one_row() -> None:
    """Joined, entries keep their names, numbers and details; the title is the layer's, and they are shown under one heading."""
    parts = []
    for name, count in (("weight", 2), ("bias", 1)):
        part = Column.blank(OfTensor({"x": [1]}, TensorLabels("y", name, (count,))), count, of="y", wrt=(name,))
        part.mark([count - 1], Verdict.MISMATCH, name, Cause.FORMULA)
        parts.append(part)
    whole = Column.joined("0 Linear", parts)
    assert isinstance(whole.scope, OfLayer) and whole.scope.title == "0 Linear"
    assert [whole.label(i).wrt[0] for i in range(3)] == ["weight[0]", "weight[1]", "bias[0]"]
    assert {i: d.text for i, d in whole.details.items()} == {1: "weight", 2: "bias"}
    assert whole.scope.point(0) == {"x": [1]} and whole.scope.heading() == "" != parts[0].scope.heading()


def test_what_columns_saw_is_a_detail_when_it_is_read() -> None:
    """Of entries that arrays settled: by index, in a column of some of them, pasted, joined and pickled."""
    column = Column.blank(AtPoints({"x": np.arange(6.0)}), 6, of="y", wrt=("x",))
    for some in ([1, 2], [4]):
        words = Words(np.array(some) / 2, np.zeros(len(some)), np.full(len(some), 2.0**-80))
        told = np.array(some) == 4
        column.sifted.place(Seen(np.array(some), words, np.array(some) * 1e-3, np.array(some) * 0.25, told, "rounding alone"))
    column.details[2] = Detail(text="more")
    assert [column.detail(i).rounding_error for i in range(6)] == [None, 1e-3, None, None, 4e-3, None]
    assert column.check(4).shadow == "2" and column.check(4).formula_error == 0.0 and column.check(3).shadow is None
    assert dict(column.known()).keys() == {1, 2, 4} and column.detail(2).text == "more"
    picked, other = column.pick([4, 0, 1]), Column.blank(AtPoints({"x": np.arange(3.0)}), 3, of="y", wrt=("x",))
    assert [picked.detail(i).rounding_error for i in range(3)] == [4e-3, None, 1e-3]
    other.paste(column, [1, 3], [2, 0])
    assert other.details.keys() == {2} and other.check(2).rounding_error == 1e-3
    assert Column.joined("two", [other, column]).detail(3 + 4).rounding_error == 4e-3
    assert pickle.loads(pickle.dumps(column)).detail(4).rounding_error == 4e-3
    assert (picked.detail(0).text, picked.detail(0).rounded, picked.detail(2).text) == ("rounding alone", 1.0, None)
    found, kinds = column.kinds()
    assert found[0] == found[1] == found[5] and [kinds[found[i]].text for i in range(6)] == [
        None,
        None,
        "more",
        None,
        "rounding alone",
        None,
    ]
    assert all(kinds[found[i]] == column.kind_of(i) for i in range(6))


def test_blame_keeps_what_is_known() -> None:
    """A stage is named, everything else stays; without a name the old one stays."""
    column = Column.blank(OfTensor({}), 2, of="y")
    column.mark([0], Verdict.MISMATCH, "why", Cause.FORMULA)
    column.blame(0, "z")
    column.blame(0, None)
    column.blame(1, "z")
    assert column.details == {0: Detail(Cause.FORMULA, "z", text="why"), 1: Detail(stage="z")}


def test_a_formula_is_worked_out_when_it_is_read() -> None:
    """Not before, once, and by no copy again: what is pickled or copied holds the text. Entries show it too."""
    asked: list[int] = []

    def work_out() -> str:
        asked.append(1)
        return "2*x"

    column = Column.blank(AtPoints({"x": np.arange(2.0)}), 2, of="y", wrt=("x",))
    column.shown = work_out
    other = Column.blank(AtPoints({"x": np.arange(1.0)}), 1, of="y", wrt=("x",))
    other.paste(column, [0], [0])
    picked = column.pick([1])
    assert not asked and other.formula is None
    assert column.check(0).formula == column.check(1).formula == column.formula == "2*x" and len(asked) == 1
    for one in (pickle.loads(pickle.dumps(column)), copy.deepcopy(column), copy.copy(column)):
        assert one.shown == one.formula == "2*x" and one.quantity == column.quantity and len(asked) == 1
    assert copy.copy(picked).shown == "2*x" and len(asked) == 2

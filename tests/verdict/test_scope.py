"""What the entries of a column are: each has its name and its point."""

from __future__ import annotations

import numpy as np

from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.scope import AtPoints, Label, OfTensor, TensorLabels


def test_points() -> None:
    """At many points an entry is called as the column is, and stands at its own point; arrays are put together."""
    numbers = {"x[0]": np.array([1.0, 2.0]), "x[1]": np.array([3.0, 4.0]), "k": np.array([5.0, 6.0])}
    scope = AtPoints(numbers, {"x": (2,), "k": ()}, {"k": np.array([7.0, 8.0])})
    column = Column.blank(scope, 2, of="y", wrt=("k",))
    assert scope.point(1) == {"x": [2.0, 4.0], "k": 6.0}
    assert scope.received(1) == {"k": 8.0}
    assert column.label(0) == Label("dy/dk", "y", ("k",))
    assert not scope.single and scope.pick([1]).single
    assert scope.pick([1]).received(0) == {"k": 8.0}
    assert scope.title is None and scope.heading() == ""


def test_entries_of_a_tensor() -> None:
    """All at one point, each with a name of its own, made on demand."""
    labels = TensorLabels("<v,y>", "W", (2, 3))
    column = Column.blank(OfTensor({"W": "2 x 3"}, labels), 6, of="<v,y>", wrt=("W",))
    assert len(labels) == 6
    assert column.label(4) == Label("d<v,y>/dW[1,1]", "<v,y>", ("W[1,1]",))
    assert column.pick([5, 0]).label(0).wrt == ("W[1,2]",)
    assert column.check(4).point == {"W": "2 x 3"} and column.scope.single
    assert TensorLabels("y", "", (2,))[1] == Label("y[1]", "y[1]", ())

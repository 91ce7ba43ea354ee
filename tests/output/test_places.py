"""Points are numbered once, whichever column speaks of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli.output.places import Places
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.scope import AtPoints, OfTensor


def at(*values: float, dtype: str = "float64") -> Column:
    return Column.blank(AtPoints({"x": np.array(values)}), len(values), of="y", wrt=("x",), dtype=dtype)


def of(place: dict[str, Any], dtype: str = "float64") -> Column:
    return Column.blank(OfTensor(place), 3, of="y", wrt=("x",), dtype=dtype)


def test_a_point_that_is_rounded_is_the_same_point() -> None:
    """0.1 in float64 and in bfloat16; 0.2 is another one."""
    columns = [at(0.1, 3.0), at(0.10009765625, 3.0, dtype="bfloat16"), at(0.2, 3.0)]
    places = Places(columns)
    assert [[places.of(c, i) for i in range(2)] for c in columns] == [[0, 1], [0, 1], [2, 3]]
    assert [places.text(i) for i in range(4)] == ["x = 0.1", "x = 3", "x = 0.2", "x = 3"]
    assert places.name(2) == "point 3" and places.spans() == "x from 0.1 to 3"


def test_points_of_tensors() -> None:
    """Equal places are one point, in any dtype; words for what is too large to be shown tell none apart."""
    small, large, other = {"x": [0.1, 2.0]}, {"x": "64x64 numbers"}, {"x": "64x64 numbers"}
    rounded, single = of({"x": [0.1001, 2.0]}, "float16"), of({"x": "64x64 numbers"}, "float32")
    columns = [of(small), of(dict(small)), rounded, of(large), of(large), of(other), single]
    assert [Places(columns).of(c, 0) for c in columns] == [0, 0, 0, 1, 1, 2, 1]


def test_a_single_point_has_no_name() -> None:
    """There is nothing to tell it from."""
    assert Places([at(1.0), of({"x": 1.0})]).name(0) == "point 1"
    assert Places([at(1.0)]).name(0) == ""

"""Where a number lies that others equal: known where nothing can change it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from flint import arb, arb_series

from gradcheck_cli.algebra.directions import Directional
from gradcheck_cli.algebra.layers import Exact, Rounded
from gradcheck_cli.algebra.series import terms
from gradcheck_cli.shadow.order import _Row
from tests.formats import DOUBLE


def series(value: float, slope: float) -> Any:
    return arb_series([value, slope], 2)


@pytest.mark.parametrize(
    ("cells", "place"),
    [
        ([series(1, 1), series(1, 2)], math.nan),  # they part: either may come first
        ([series(1, 1), series(1, 1)], 1.0),  # tied for ever: torch's choice is as good as any
        ([series(1, 1), series(2, 1)], 0.0),  # in order, whatever torch has seen
    ],
)
def test_a_place_is_unknown_where_others_may_take_it(cells: list[Any], place: float) -> None:
    """Along a direction, a place among equal numbers is unknown unless they stay equal."""
    with terms(2):
        found = float(_Row(Directional(), cells, [float(c[0]) for c in cells]).place(0, 1))
    assert found == place or math.isnan(found) and math.isnan(place)


def test_a_place_is_unknown_where_rounding_may_take_it() -> None:
    """Numbers that rounding may exchange have no place of their own; in exact arithmetic they have."""
    close = [arb(1, 2.0**-52), arb(1 + 2.0**-52, 2.0**-52)]
    assert math.isnan(float(_Row(Rounded(DOUBLE), close, [1.0, 1 + 2.0**-52]).place(0, 0)))
    apart = [arb(1), arb(1 + 2.0**-52)]
    assert float(_Row(Exact(), apart, [1.0, 1 + 2.0**-52]).place(0, 0)) == 0.0

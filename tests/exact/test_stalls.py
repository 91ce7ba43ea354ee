"""Points at which a kernel of torch would not come back are known beforehand, exactly where the table says so."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck_cli.exact.stalls import stalled
from gradcheck_cli.language.chain import link
from gradcheck_cli.language.functions import ROWS
from tests.counting import count_calls

CASES: list[tuple[str, int, list[float], list[bool]]] = [
    ("digamma(x)", 1, [-1e300, -1e6, 1.5], [False, False, False]),
    ("digamma(x)", 2, [-1e300, -1e7, -1e6, -1.5, 1e300], [True, True, False, False, False]),
    ("polygamma(0, x)", 1, [-1e300, 1.5], [False, False]),
    ("polygamma(1, x)", 1, [-1e300, -1e6, 1.5], [True, False, False]),
    ("polygamma(2, x)", 1, [-1e300, 1e300], [True, False]),
    ("zeta(2, x)", 1, [-1e300, -1e5, 1.5], [True, False, False]),
    ("sin(digamma(-x*1e10))*x", 2, [1.0, -1.0, 1e-9], [True, False, False]),
    ("z = x*1e10 | digamma(-z) + polygamma(2, z)", 2, [1.0, -1.0, 1e-9, -1e-9], [True, True, False, False]),
    ("lgamma(x)*gamma(x)", 2, [-1e300, 1.5], [False, False]),
    ("digamma(log(x))", 2, [-1.0, 2.0], [False, False]),  # no value: nothing is certain
]


@pytest.mark.parametrize(("text", "order", "points", "expected"), CASES, ids=lambda v: str(v))
def test_stalled(text: str, order: int, points: list[float], expected: list[bool]) -> None:
    """The condition is looked at with the argument's own value, at the order asked, for every stage."""
    found = stalled(link(text.split("|")), order, {"x": np.array(points)})
    assert found.dtype == np.bool_
    assert found.tolist() == expected


def test_functions_that_stall_are_few_and_the_rest_is_free() -> None:
    """A chain without such a function isn't evaluated at all: 100,000 points cost nothing."""
    assert {row.name for row in ROWS if row.stalls} >= {"digamma", "polygamma", "zeta"}
    chain, points = link(["tanh(x)*gelu(x)*lgamma(x)"]), {"x": np.linspace(-1e9, 1e9, 100_000)}
    found = stalled(chain, 3, points)
    assert not found.any() and len(found) == 100_000
    assert count_calls(lambda: stalled(chain, 3, points)) < 1_000


def test_definitions_that_use_them() -> None:
    """torch runs its own operation for a defined row, so that only the rows as written count."""
    assert not stalled(link(["beta(x, 2)"]), 3, {"x": np.array([-1e300])}).any()


def test_many_points_are_told_as_one_by_one() -> None:
    """What columns are certain of isn't asked of balls, which say the same: at the border, beside it, where nothing is told."""
    points = np.concatenate([np.linspace(-2e6, 10.0, 300), [-1e6, np.nextafter(-1e6, -np.inf), np.inf, np.nan]])
    chain = link(["digamma(x)*sin(1/x)"])
    together = stalled(chain, 2, {"x": points})
    alone = [bool(stalled(chain, 2, {"x": points[i : i + 1]})[0]) for i in range(len(points))]
    assert together.tolist() == alone
    assert 100 < sum(alone) < 200

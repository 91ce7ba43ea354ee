"""One-sided derivatives of steps at many points at once: what a hand says, in whole numbers, and what limits say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gradcheck_cli.algebra.columns.trust import TRUST
from gradcheck_cli.exact.enclosure import Enclosure
from gradcheck_cli.exact.steps import Steps
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.language.chain import link
from gradcheck_cli.language.parser import parse
from gradcheck_cli.verdict.truth import Kind, Truth

POINTS = np.array([-(2.0**80), -7.0, -1.0, -0.0, 0.0, 0.5, 1.0, 3.0, 1e6, 2.0**60])


def sides(text: str, points: np.ndarray) -> list[tuple[float, float, bool] | None]:
    """(left, right, jump) at each point; None where nothing is said. Balls are asked for a sample, as always."""
    balls = Enclosure(link([text]), [("x",)], FORMATS["float64"])
    told = Steps(parse(text), ["x"], "x", "x").at(
        [points], np.arange(len(points)), lambda i: balls._settle((float(points[i]),))[0][0]
    )
    truths = [told[i][1] if i in told else None for i in range(len(points))]
    return [None if t is None else (float(t.left), float(t.right), t.jump) for t in truths]


def whole(x: float) -> bool:
    return x == math.floor(x)


CASES = [
    ("floor(x)", lambda x: (0.0, 0.0, True) if whole(x) else None),
    ("ceil(x)", lambda x: (0.0, 0.0, True) if whole(x) else None),
    ("trunc(x)", lambda x: (0.0, 0.0, True) if whole(x) and x else None),
    ("frac(x)", lambda x: (1.0, 1.0, True) if whole(x) and x else None),
    ("abs(x - 3)", lambda x: (-1.0, 1.0, False) if x == 3 else None),
    ("where(x < 3, x*x, 2*x + 3)", lambda x: (6.0, 2.0, False) if x == 3 else None),
    ("where(x == 0.5, 7, x)", lambda x: (1.0, 1.0, True) if x == 0.5 else None),
    ("sign(x)*x", lambda x: (-1.0, 1.0, False) if x == 0 else None),
]


@pytest.mark.parametrize(("text", "right"), CASES, ids=[text for text, _ in CASES])
def test_sides_of_steps(text: str, right: object) -> None:
    """What is said of a step or a kink is what a hand finds, at numbers of any size, and no other point is called one; balls,
    which are asked about all of these, don't contradict."""
    assert sides(text, POINTS) == [right(float(x)) for x in POINTS]  # type: ignore[operator]
    assert TRUST.sound()


OPEN = ["floor(x*x)", "abs(x*x)", "where(x*x > 0, abs(x), 3*abs(x))", "where(x < x + x*x, x, 2*x)", "floor(0.1*x + 0.3)"]


@pytest.mark.parametrize("text", [*OPEN, "floor(sin(x))"])
def test_what_bends_or_rounds_is_left_open(text: str) -> None:
    """Beside 0 the square decides, not the slope; what rounds, or isn't made of steps, tells nothing."""
    found = sides(text, np.array([0.0, 1 / 3, 0.7]))
    assert found == [None] * 3
    assert TRUST.sound()


def test_a_contradiction_ends_the_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where balls say otherwise nothing of it is used."""
    monkeypatch.setattr(TRUST, "notes", [])
    points = np.arange(5.0)
    assert Steps(parse("floor(x)"), ["x"], "x", "x").at([points], np.arange(5), lambda i: Truth(Kind.OUTSIDE)) == {}
    assert not TRUST.sound()

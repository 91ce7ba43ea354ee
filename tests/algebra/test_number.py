"""Balls as plain data: pickled and copied to the bit, whatever they are."""

from __future__ import annotations

import copy
import pickle
import random
import subprocess
import sys
from typing import Any

import pytest
from flint import arb

from gradcheck_cli.algebra.number import working

INF, ZERO = arb.pos_inf(), arb(0)


def bits(ball: Any) -> tuple[Any, Any]:
    """Midpoint and radius, in the numbers that flint keeps."""

    def part(x: Any) -> Any:
        return tuple(map(int, x.man_exp())) if x.is_finite() else ("nan" if x.is_nan() else bool(x > 0))

    return part(ball.mid()), part(ball.rad())


def made(count: int) -> list[Any]:
    draw, found = random.Random(0), []
    for _ in range(count):
        with working(draw.choice([2, 30, 53, 64, 200, 2000])):
            found.append((arb(draw.random()) / 3).exp() * arb(2) ** draw.randint(-(10**6), 10**6) - draw.randint(0, 1))
    radii = [arb(2) ** draw.randint(-2000, 2000) * draw.randint(1, 2**30) for _ in range(count)]
    return [*found, *(arb(draw.random(), radius) for radius in radii)]


SPECIAL = [
    arb("nan"), INF - INF, INF, -INF, arb(0, INF), arb(1, INF), arb(INF, INF), arb("nan", INF), arb(3), ZERO, arb(1, 1),
    arb(1, arb(2) ** 30), arb(0, arb(2) ** -5000), -(arb(2) ** (10**9)), arb(INF, 1),
]  # fmt: skip


@pytest.mark.parametrize("precision", [2, 53, 1000])
def test_balls_are_kept_to_the_bit(precision: int) -> None:
    """Midpoint and radius, at any precision: a radius that grew, or a midpoint that was rounded, would be another ball."""
    for ball in [*SPECIAL, *made(200)]:
        with working(precision):
            copies = [pickle.loads(pickle.dumps(ball)), copy.deepcopy(ball), copy.copy(ball)]
        assert [bits(one) for one in copies] == [bits(ball)] * 3, ball


def test_another_process_reads_them() -> None:
    """One that has imported nothing of this package."""
    ball = made(1)[0]
    program = "import pickle, sys; b = pickle.load(sys.stdin.buffer); print(*b.mid().man_exp(), *b.rad().man_exp())"
    run = subprocess.run([sys.executable, "-c", program], input=pickle.dumps(ball), capture_output=True, check=True)
    assert tuple(map(int, run.stdout.split())) == (*bits(ball)[0], *bits(ball)[1])

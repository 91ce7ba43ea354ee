"""What is wrong in a large gradient is looked for on columns, and shown by balls."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gradcheck_cli.algebra.columns.column import Column
from gradcheck_cli.maps import guard
from gradcheck_cli.maps.check import Found, check_map
from gradcheck_cli.maps.map import Map, random_row
from gradcheck_cli.maps.narrowing import Group, narrowed
from gradcheck_cli.maps.probe import Options
from gradcheck_cli.maps.runs import Runs
from gradcheck_cli.verdict.shade import Shades
from gradcheck_cli.verdict.verdicts import Cause, Verdict
from tests.custom_functions.elementwise import custom

F64, COUNT = torch.float64, 1500


def scaled(*places: int) -> Tensor:
    """Ones, but for a wrong factor in some places."""
    factors = torch.ones(COUNT, dtype=F64)
    factors[list(places)] = 1 + 1e-9
    return factors


def checked(*places: int, dead: bool = False) -> Found:
    """sin(x)*w + b, whose derivative by what is in the sine is off in some places; `dead`: half of it behind a ReLU at -1."""
    factors, first = scaled(*places), torch.linspace(-1, 1, COUNT, dtype=F64)
    wrong = custom(torch.sin, lambda g, x, y: g * x.cos() * factors)
    inputs = {"x": first, "w": first.flip(0) + 3, "b": first * 2}
    where = torch.arange(COUNT) < COUNT // 2 if dead else torch.zeros(COUNT, dtype=torch.bool)

    def call(leaves: dict[str, Tensor]) -> dict[str, Tensor]:
        y = wrong(leaves["x"]) * leaves["w"] + leaves["b"]
        return {"y": torch.where(where, (y * 0 - 1).relu(), y)}

    map = Map(inputs, call)
    return check_map(map, [random_row(map(map.leaves()), 0)], Options(most_entries=COUNT))


@pytest.mark.parametrize("places", [(1234,), (0, 700, 701), (1499,)])
def test_what_is_right_beside_what_is_wrong_is_certified(places: tuple[int, ...]) -> None:
    """Every entry of the other inputs, and of this one all but the wrong ones, of which one is shown to be wrong."""
    found = checked(*places)
    x, w, b = found.columns
    assert w.counts() == b.counts() == {Verdict.MATCH: COUNT}
    assert x.counts()[Verdict.MATCH] == COUNT - len(places)
    refuted = [i for i in range(COUNT) if x.verdict(i) is Verdict.MISMATCH]
    assert refuted and set(refuted) <= set(places)
    assert all(x.error_ulps[i] == pytest.approx(1e-9 / 2.0**-52, rel=1.0) for i in refuted)


def test_entries_behind_a_dead_unit_are_certified_too() -> None:
    """They are 0 in torch and in truth, and are looked at by themselves."""
    x, *_ = checked(1234, dead=True).columns
    assert x.counts() == {Verdict.MATCH: COUNT - 1, Verdict.MISMATCH: 1}


def test_each_wrong_input_has_an_entry_that_is_shown() -> None:
    """A step that is wrong spoils what lies before it: each such input is refuted at an entry, what comes after it matches."""
    wrong = custom(torch.sin, lambda g, x, y: g * x.cos() * scaled(700))
    first = torch.linspace(-1, 1, COUNT, dtype=F64)
    inputs = {"x": first, "w": first.flip(0) + 3, "b": first * 2, "c": first + 2}
    map = Map(inputs, lambda leaves: {"y": wrong(leaves["x"] * leaves["w"] + leaves["b"]) * leaves["c"]})
    x, w, b, c = check_map(map, [random_row(map(map.leaves()), 0)], Options(most_entries=COUNT)).columns
    for column in (x, w, b):
        assert column.counts() == {Verdict.MATCH: COUNT - 1, Verdict.MISMATCH: 1}
        assert column.verdict(700) is Verdict.MISMATCH and column.cause(700) is Cause.FORMULA
    assert c.counts() == {Verdict.MATCH: COUNT}


def test_a_tie_takes_nothing_else_away() -> None:
    """Where a number that moves meets its equal no run knows all derivatives: what doesn't meet it is certified in parts."""
    first = torch.linspace(-1, 1, COUNT, dtype=F64)
    wrong = custom(torch.sin, lambda g, x, y: g * x.cos() * scaled(1234))

    def call(leaves: dict[str, Tensor]) -> dict[str, Tensor]:
        y = wrong(leaves["x"])
        met = torch.maximum(leaves["s"], leaves["t"])  # equal at one entry, whose derivative is 0 in torch by both
        return {"y": y + met * torch.where(torch.arange(COUNT) == 9, 0.0, 1.0)}

    map = Map({"x": first, "s": first, "t": torch.where(torch.arange(COUNT) == 9, first, first + 1)}, call)
    x, s, t = check_map(map, [random_row(map(map.leaves()), 0)], Options(most_entries=COUNT)).columns
    assert x.counts()[Verdict.MISMATCH] == 1 and x.verdict(1234) is Verdict.MISMATCH
    assert x.counts()[Verdict.MATCH] == COUNT - 1
    assert all(column.counts()[Verdict.MATCH] >= COUNT - 1 for column in (s, t))


def test_a_backward_that_columns_cannot_follow_is_compared_with_them() -> None:
    """Balls know J'v, columns all derivatives: what is right is certified, and the entry that is wrong is shown, although it is
    one of many."""

    def backward(g: Tensor, x: Tensor, y: Tensor) -> Tensor:
        found = g * x.cos()
        found[int((g * (x > -2)).abs().argmax())] *= 1 + 1e-9  # equal numbers, but for what rounding might have done
        return found

    first = torch.linspace(-1, 1, COUNT, dtype=F64)
    map = Map({"x": first, "w": first + 3}, lambda leaves: {"y": custom(torch.sin, backward)(leaves["x"]) + leaves["w"]})
    x, w = check_map(map, [random_row(map(map.leaves()), 0)], Options(most_entries=COUNT)).columns
    assert x.counts() == {Verdict.MATCH: COUNT - 1, Verdict.MISMATCH: 1}
    assert w.counts() == {Verdict.MATCH: COUNT}


@pytest.mark.parametrize(("off", "asked"), [(1e-9, 0), (1e-2, 1)])
def test_no_quotient_is_asked_what_it_cannot_tell(monkeypatch: pytest.MonkeyPatch, off: float, asked: int) -> None:
    """An entry that is off by less than a quotient's own share isn't followed along it; one that is off by more is."""
    factors, seen, sides = torch.ones(COUNT, dtype=F64), [], guard._sides
    factors[3] += off

    def counting(*arguments: Any) -> Any:
        seen.append(isinstance(arguments[0], partial))  # others are asked before anything is judged
        return sides(*arguments)

    monkeypatch.setattr(guard, "_sides", counting)
    wrong = custom(torch.sin, lambda g, x, y: g * x.cos() * factors)
    map = Map({"x": torch.linspace(-1, 1, COUNT, dtype=F64)}, lambda leaves: {"y": wrong(leaves["x"])})
    (x,) = check_map(map, [random_row(map(map.leaves()), 0)], Options(most_entries=COUNT)).columns
    assert x.verdict(3) is Verdict.MISMATCH
    assert sum(seen) == asked


def test_what_is_not_sharp_is_neither_right_nor_wrong() -> None:
    """Of both sides' numbers: equal ones are right where their balls are small, wrong where they lie apart, and nothing is said
    where a ball is as wide as the number, or has no end. What an entry is most wrong by is told of one that is sharp."""
    high = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    exact = Column(high, np.zeros(6), np.array([1e-20, 1e-3, np.inf, 1e-20, 1e-3, 1e-20]))
    shadow = Column(high + [0.0, 1e-4, 5.0, 1e-6, 9e-3, 1e-20], np.zeros(6), np.full(6, 1e-20))
    seen = narrowed(
        lambda direction: [exact], [Shades(shadow, np.zeros(6))], [Group(np.ones(6), 1e-12)], {"x": slice(0, 6)}, 55
    )
    assert seen.right.tolist() == [[True, False, False, False, False, True]]
    assert seen.wrong[0, "x"].entry == 3 and seen.wrong[0, "x"].sharp
    assert 0.0 < seen.reach <= 1e-12


def test_balls_look_at_what_disagrees_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Along one entry: its series, what the code's constants leave, and its quotient, instead of a pass for every halving."""
    passes, forward = [], Runs.forward

    def counting(self: Runs, layers: Any, cells: Any) -> Any:
        passes.append(len(layers))
        return forward(self, layers, cells)

    monkeypatch.setattr(Runs, "forward", counting)
    checked(1234)
    assert 0 < len(passes) <= 6


@pytest.mark.parametrize("known", [False, True])
def test_what_is_not_known_at_rest_is_not_cut_into_parts(known: bool) -> None:
    """Where a row has no certain value even if nothing moves, two runs end the search; where it has one at rest, the entry that
    makes it unknown is found by two runs for each halving, and all others are settled."""
    asked: list[int] = []
    numbers = Column(np.ones(64), np.zeros(64), np.full(64, 1e-30))

    def each(direction: Any) -> list[Column | None]:
        asked.append(int(np.count_nonzero(direction)))
        return [numbers if known and not direction[17] else None]

    group = Group(np.ones(64), 1e-15)
    seen = narrowed(each, [Shades(numbers, np.zeros(64))], [group], {"x": slice(0, 64)}, 60)
    assert asked[:2] == [64, 0] and len(asked) == (2 + 2 * 6 if known else 2)
    assert np.flatnonzero(~seen.right[0]).tolist() == ([17] if known else list(range(64)))

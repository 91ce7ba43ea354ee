"""What is wrong in a large gradient is looked for on columns, and shown by balls."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from gradcheck_cli.maps.check import Found, check_map
from gradcheck_cli.maps.map import Map, random_row
from gradcheck_cli.maps.probe import Options
from gradcheck_cli.maps.runs import Runs
from gradcheck_cli.verdict.verdicts import Verdict
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


def test_balls_look_at_what_disagrees_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Along one entry: its series, what the code's constants leave, and its quotient, instead of a pass for every halving."""
    passes, forward = [], Runs.forward

    def counting(self: Runs, layers: Any, cells: Any) -> Any:
        passes.append(len(layers))
        return forward(self, layers, cells)

    monkeypatch.setattr(Runs, "forward", counting)
    checked(1234)
    assert 0 < len(passes) <= 6

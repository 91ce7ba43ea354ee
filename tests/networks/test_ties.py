"""Maxima of equal numbers: in a network they are left out and told, and equal numbers that move alike are no tie."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from gradcheck_cli import check_model
from gradcheck_cli.maps.columns import LEAST
from gradcheck_cli.maps.map import Map, size
from gradcheck_cli.maps.probe import Options
from gradcheck_cli.networks import check
from gradcheck_cli.networks.ties import untied

VALUES = torch.tensor([1.0, *[2.0] * 20, 3.0], dtype=torch.float64)


def pooled(stride: int) -> Map:
    return Map({"x": VALUES}, lambda leaves: {"y": nn.functional.max_pool1d(leaves["x"][None], 2, stride)})


def test_equal_numbers_stand_still() -> None:
    """Where they meet in a maximum; their gradient is 0 then, and the others' is what it was."""
    map, kept = untied(pooled(1), {"x": VALUES}, Options())
    assert kept["x"].tolist() == [True, *[False] * 20, True]
    leaves = map.leaves()
    map(leaves)["y"].sum().backward()
    assert leaves["x"].grad.tolist() == [*[0] * 21, 1]


def test_nothing_stands_still_without_a_tie() -> None:
    """Equal numbers that don't meet move on, and so do a few."""
    apart = Map({"x": VALUES}, lambda leaves: {"y": leaves["x"].exp()})
    assert untied(apart, {"x": VALUES}, Options())[1] == {}
    few = Map({"x": VALUES[:10]}, lambda leaves: {"y": leaves["x"].amax()})
    assert untied(few, {"x": VALUES[:10]}, Options())[1] == {}


def test_a_few_ties_are_examined() -> None:
    """Each by its one-sided derivatives, like any kink."""
    report = check_model("MaxPool1d(2)", at="x=[[1,1,2,3]]")
    found = {c.wrt[0]: c.verdict for c in report.checks if c.kind == "local"}
    assert list(found.values()) == ["nondifferentiable", "nondifferentiable", "match", "match"]


def test_a_network_at_a_kink() -> None:
    """Zeros before a ReLU: nothing is left out, no derivative is claimed, and what conventions add up to is nobody's fault."""
    report = check_model("Linear(2, 2, bias=False) | ReLU", at="x=[0,0]")
    assert {c.verdict for c in report.checks if c.of == "<v,1>" and c.kind == "local"} == {"nondifferentiable"}
    assert {(c.cause, c.stage) for c in report.checks if c.verdict == "mismatch"} <= {("kink", None)}
    assert not any("left out" in note for note in report.notes)


def test_the_background_of_an_image() -> None:
    """A convolution makes equal numbers of it, which meet in the pooling. By weights and biases they move alike, so that these
    have a derivative; by the pixels they have none."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(0), nn.Linear(18, 2)).double()
    image = torch.zeros(1, 7, 7, dtype=torch.float64)
    image[0, 3:5, 3:5] = torch.rand(2, 2)
    report = check_model(model, input=image)
    assert report.exit_code == 0, str(report)
    assert {check.verdict for check in report.checks if check.wrt[0].startswith("0.weight")} == {"match"}
    assert sum(note.startswith("left out: 45 of 49 entries of input, ") for note in report.notes) == 1


def test_what_is_certain_is_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the derivative along all entries at once is certain, no equal numbers meet, and nobody looks for them, however many
    there are; where they meet in a layer, they stand still there and in the whole network."""
    torch.manual_seed(0)
    searched: list[int] = []

    def seen(map: Map, *given: Any) -> Any:
        searched.append(size(map.inputs))
        return untied(map, *given)

    monkeypatch.setattr(check, "untied", seen)
    point = torch.ones(1, 40, dtype=torch.float64)
    linear = nn.Sequential(nn.Linear(40, 60), nn.ReLU(), nn.Linear(60, 3)).double()
    assert check_model(linear, input=point).exit_code == 0 and max(searched) < LEAST  # of fewer nothing is known beforehand
    pooled = nn.Sequential(nn.Linear(40, 60), nn.ReLU(), nn.MaxPool1d(2, 1), nn.Linear(59, 3)).double()
    report = check_model(pooled, input=point)
    assert report.exit_code == 0 and max(searched) > LEAST
    assert any(note.startswith("left out: ") for note in report.notes)

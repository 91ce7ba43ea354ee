"""Maxima of equal numbers: in a network they are left out and told, and equal numbers that move alike are no tie."""

from __future__ import annotations

import torch
from torch import nn

from gradcheck_cli import check_model
from gradcheck_cli.callables.entries import Options
from gradcheck_cli.callables.maps import Map
from gradcheck_cli.callables.ties import untied

VALUES = torch.tensor([1.0, 2.0, 2.0, 3.0], dtype=torch.float64)


def pooled(stride: int) -> Map:
    return Map({"x": VALUES}, lambda leaves: {"y": nn.functional.max_pool1d(leaves["x"][None], 2, stride)})


def test_equal_numbers_stand_still() -> None:
    """Where they meet in a maximum; their gradient is 0 then, and the others' is what it was."""
    map, kept = untied(pooled(1), {"x": VALUES}, Options(), 0)
    assert kept["x"].tolist() == [True, False, False, True]
    leaves = map.leaves()
    map(leaves)["y"].sum().backward()
    assert leaves["x"].grad.tolist() == [0, 0, 0, 1]


def test_nothing_stands_still_without_a_tie() -> None:
    """Equal numbers in different windows don't meet; and a small map is examined whole."""
    assert untied(pooled(2), {"x": VALUES}, Options(), 0)[1] == {}
    assert untied(pooled(1), {"x": VALUES}, Options(), 4)[1] == {}


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
    assert any(note.startswith("input: 45 of 49 entries were left out") for note in report.notes)

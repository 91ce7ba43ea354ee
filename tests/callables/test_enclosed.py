"""Tensors that a function differentiates besides its arguments are told of, and no others."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gradcheck_cli import check_function
from gradcheck_cli.verdict.verdicts import Verdict
from tests.custom_functions.halves import custom

AROUND = torch.tensor([2.0, 3.0], dtype=torch.float64, requires_grad=True)
CONSTANT = torch.tensor([2.0, 3.0], dtype=torch.float64)
LAYER = nn.Linear(2, 2).double()
AT = {"x": torch.tensor([0.5, -1.0], dtype=torch.float64)}


WRONG = custom(lambda x, w: x * w, lambda g, x, w, y: (g * w, 2 * g * x))
"""Right by its argument, wrong by the tensor around it."""


def around(x: Tensor) -> Tensor:
    return WRONG.apply(x, AROUND)  # type: ignore[no-any-return]


def through_a_layer(x: Tensor) -> Tensor:
    return LAYER(x).sin()


def solves(x: Tensor) -> Tensor:
    """An inner loop with a tensor of its own that requires a gradient."""
    w = torch.ones(2, dtype=x.dtype, requires_grad=True)
    (slope,) = torch.autograd.grad((w * w * x).sum(), w, create_graph=True)
    return (w - slope) * CONSTANT


def given(w: Tensor, x: Tensor) -> Tensor:
    return w * x


def _notes(function: Any, at: Any = AT) -> list[str]:
    report = check_function(function, at=at)
    assert report.verdict is Verdict.MATCH
    return [note for note in report.notes if "requires a gradient too" in note or "require gradients too" in note]


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (around, ["AROUND"]),
        (through_a_layer, ["LAYER.weight", "LAYER.bias"]),
        (lambda x: LAYER(x) * AROUND, ["LAYER.weight", "LAYER.bias", "AROUND"]),
    ],
)
def test_what_is_around_is_named(function: Any, names: list[str]) -> None:
    """A match says nothing of tensors that require a gradient and are no arguments: the report does, once, by their names."""
    (note,) = _notes(function)
    assert set(note.partition(" require")[0].split(", ")) == set(names)


def test_a_module_is_sent_to_its_command() -> None:
    """The parameters of a Module are judged by `gradcheck model`."""
    (note,) = _notes(LAYER, {"input": AT["x"]})
    assert note.startswith("weight, bias require gradients too") and "gradcheck model" in note


@pytest.mark.parametrize("function", [solves, lambda x: x * CONSTANT, lambda x: x * AROUND.detach(), partial(given, CONSTANT)])
def test_constants_and_inner_tensors_are_not(function: Any) -> None:
    """Constants, what is detached, and tensors that a function makes for itself are none of the reader's business."""
    assert not _notes(function)

"""Tensors that a function differentiates besides its arguments are judged, or told of, and no others."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gradcheck_cli import check_function
from gradcheck_cli.verdict.verdicts import Verdict
from tests.custom_functions.halves import custom

AROUND = torch.tensor([2.0, 3.0], dtype=torch.float64, requires_grad=True)
CONSTANT = torch.tensor([2.0, 3.0], dtype=torch.float64)
CLOSED = torch.tensor([2.0, 3.0], dtype=torch.float64, requires_grad=True)
LAYER = nn.Linear(2, 2).double()
MANY = nn.Linear(2, 1000).double()
PADDED = nn.Embedding(3, 2, padding_idx=0).double()
HOOKED = torch.tensor([2.0, 3.0], dtype=torch.float64, requires_grad=True)
HOOKED.register_hook(lambda g: g * 2)
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


def checkpointed(x: Tensor) -> Tensor:
    return checkpoint(lambda x: LAYER(x).tanh(), x, use_reentrant=False)  # type: ignore[no-any-return]


def _notes(function: Any, at: Any = AT) -> list[str]:
    report = check_function(function, at=at)
    assert report.verdict is Verdict.MATCH
    return [note for note in report.notes if "requires a gradient too" in note or "require gradients too" in note]


def calls(x: Tensor) -> Tensor:
    return around(x).sin()


class Scale:
    """An object that holds a parameter in a dictionary, and one by itself."""

    def __init__(self) -> None:
        self.w = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)

    def __call__(self, x: Tensor) -> Tensor:
        return WRONG.apply(x, self.w)  # type: ignore[no-any-return]

    def method(self, x: Tensor) -> Tensor:
        return self(x)


SCALE = Scale()
WEIGHTS = {"w": torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)}


@pytest.mark.parametrize(
    ("function", "wrong"),
    [
        (around, "d<v,y>/dAROUND"),
        (calls, "d<v,y>/dAROUND"),
        (SCALE, "d<v,y>/dself.w"),
        (SCALE.method, "d<v,y>/dself.w"),
        (lambda x: SCALE(x), "d<v,y>/dSCALE.w"),
        (lambda x: WRONG.apply(x, WEIGHTS["w"]), "d<v,y>/dWEIGHTS.w"),
        (lambda x: WRONG.apply(x, LAYER.bias), "d<v,y>/dLAYER.bias"),
    ],
)
def test_what_is_around_is_judged(function: Any, wrong: str) -> None:
    """A backward that is wrong by a tensor alone that the function finds around itself is refuted, and the tensor is left as it
    is."""
    before = [x.clone() for x in (AROUND, SCALE.w, WEIGHTS["w"], LAYER.bias)]
    same = AROUND, SCALE.w, WEIGHTS["w"], LAYER.bias
    report = check_function(function, at=AT)
    assert {check.quantity.partition("[")[0] for check in report.checks if check.cause} == {wrong}
    after = AROUND, SCALE.w, WEIGHTS["w"], LAYER.bias
    assert all(x is y and torch.equal(x, z) for x, y, z in zip(after, same, before, strict=True))
    assert all(x.grad is None for x in after)


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (through_a_layer, ["LAYER.weight", "LAYER.bias"]),
        (lambda x: LAYER(x) * CLOSED, ["LAYER.weight", "LAYER.bias", "CLOSED"]),
        (LAYER, ["weight", "bias"]),
    ],
)
def test_what_is_around_is_named(function: Any, names: list[str]) -> None:
    """Tensors that require a gradient and are no arguments are judged, and the report says so once, by their names."""
    (note,) = _notes(function, {"input": AT["x"]} if function is LAYER else AT)
    assert set(note.partition(" require")[0].split(", ")) == set(names) and "judged at" in note


@pytest.mark.parametrize(
    "function",
    [lambda x: MANY(x).sum(-1), lambda x: x * HOOKED, lambda x: PADDED(torch.tensor([0, 1])) * x, checkpointed],
)
def test_what_is_not_judged_is_told(function: Any) -> None:
    """Many entries, a tensor with a hook, an embedding with padding, and what a checkpoint reads again in its backward pass are
    not judged, and the report says so."""
    (note,) = _notes(function)
    assert "not judged" in note


def test_a_checkpoint_is_right_at_second_order() -> None:
    """A backward pass that runs the function again finds what the forward pass found: the user's own tensors."""
    assert check_function(checkpointed, at=AT, order=2).verdict is Verdict.MATCH


def test_buffers_around_are_left_as_they_are() -> None:
    """A normalisation in training writes running statistics: its gradient is judged, and they stay as they were."""
    norm = nn.BatchNorm1d(2).double()
    before = {name: b.clone() for name, b in norm.named_buffers()}
    x = torch.tensor([[0.5, -1.0], [1.0, 2.0], [0.25, 1.0]], dtype=torch.float64)
    report = check_function(lambda x: norm(x) * 2, at={"x": x})
    assert report.verdict is Verdict.MATCH and report.counts["match"] == 10
    assert all(torch.equal(b, before[name]) for name, b in norm.named_buffers())


@pytest.mark.parametrize("function", [solves, lambda x: x * CONSTANT, lambda x: x * AROUND.detach(), partial(given, CONSTANT)])
def test_constants_and_inner_tensors_are_not(function: Any) -> None:
    """Constants, what is detached, and tensors that a function makes for itself are none of the reader's business."""
    assert not _notes(function)


@pytest.mark.parametrize(
    ("function", "other"),
    [
        (lambda x: x.sin() if torch.is_grad_enabled() else 2 * x, True),
        (lambda x: x * torch.sigmoid(1.702 * x) if x.requires_grad else torch.nn.functional.gelu(x), True),
        (lambda x: x.sin() * torch.rand(2, dtype=x.dtype), False),
        (torch.sin, False),
    ],
)
def test_other_values_without_gradients_are_told(function: Any, other: bool) -> None:
    """What a function computes where no gradient is wanted isn't judged: where it is something else, the report says so."""
    report = check_function(function, at=AT)
    assert report.verdict is Verdict.MATCH
    assert any("returns other values" in note for note in report.notes) is other


def test_what_is_held_elsewhere_too_is_not_judged() -> None:
    """A tensor that was made of a parameter before stays when another stands in its place: the gradient would be 0."""
    turned = LAYER.weight.T
    report = check_function(lambda x: x @ turned + LAYER.bias, at=AT)
    assert report.verdict is Verdict.MATCH and {check.quantity.partition("[")[0] for check in report.checks} == {
        "d<v,y>/dx",
        "d<v,y>/dLAYER.bias",
    }
    assert any(note.startswith("LAYER.weight requires") and "not judged" in note for note in report.notes)

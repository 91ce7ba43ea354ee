"""What a check of a network doesn't judge is told: tensors that are no parameters, and backwards that run in training alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gradcheck_cli import check_model
from gradcheck_cli.verdict.verdicts import Verdict
from tests.custom_functions.halves import custom

WRONG = custom(lambda x, w: x * w, lambda g, x, w, y: (g * w, 2 * (g * x).sum(0)), name="Scaled")


class Listed(nn.Module):
    """Its scales are in a list, which registers nothing."""

    def __init__(self, wrap: type = list) -> None:
        super().__init__()
        self.scales = wrap([nn.Parameter(torch.tensor([0.5, 2.0], dtype=torch.float64)) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        for scale in self.scales:
            x = WRONG.apply(x, scale)
        return x


class Trained(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([0.5, 2.0], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return WRONG.apply(x, self.scale) if self.training else x * self.scale  # type: ignore[no-any-return]


def test_tensors_in_a_list_are_told() -> None:
    """Parameters that the network doesn't know as such aren't judged, and named; registered they are judged."""
    report = check_model(Listed(), input=(3, 2))
    (note,) = (note for note in report.notes if "no parameters of the network" in note)
    assert report.verdict is Verdict.MATCH and note.startswith("scales.0, scales.1 ")
    known = check_model(Listed(nn.ParameterList), input=(3, 2))
    assert known.verdict is Verdict.MISMATCH and not any("no parameter" in note for note in known.notes)


@pytest.mark.parametrize("train", [False, True])
def test_a_backward_that_runs_in_training_alone_is_told(train: bool) -> None:
    """In evaluation a custom backward that training runs isn't judged, and named; in training it is judged."""
    report = check_model(Trained(), input=(3, 2), train=train)
    assert report.verdict is (Verdict.MISMATCH if train else Verdict.MATCH)
    told = [note for note in report.notes if "runs in training alone: --train judges it" in note]
    assert len(told) == (0 if train else 1) and all("the backward of Scaled" in note for note in told)

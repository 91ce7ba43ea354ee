"""Padding of embeddings: torch gives it no gradient, and nobody takes that for an error."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gradcheck_cli import check_model
from gradcheck_cli.verdict.verdicts import Verdict

IDS = torch.tensor([[1, 2, 0], [3, 4, 4]])
NOTE = "row 0 of embedding.weight is a constant: it stands for padding (padding_idx), and torch gives it no gradient"


class Words(nn.Module):
    """An embedding, and what is made of it; `tied`: its weight gives the outputs too."""

    def __init__(self, tied: bool = False, **settings: Any) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 3, **settings)
        self.last = nn.Linear(3, 5, bias=False)
        if tied:
            self.last.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.last(self.embedding(ids).tanh()).log_softmax(-1)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        ({"padding_idx": 0}, "reverse"),
        ({"padding_idx": 0}, "forward"),
        ({"padding_idx": 0, "tied": True}, "reverse"),
        ({"padding_idx": 0, "sparse": True}, "reverse"),
    ],
)
def test_padding_that_occurs_is_a_constant(settings: dict[str, Any], mode: str) -> None:
    """Its row is judged as what torch takes it for, and a note says so."""
    torch.manual_seed(0)
    report = check_model(Words(**settings).double(), at={"ids": IDS}, mode=mode)
    assert report.verdict == "match"
    assert NOTE in report.notes


def test_no_padding_is_no_note() -> None:
    """Without padding, and where nobody asks for parameters, nothing is said of it."""
    torch.manual_seed(0)
    assert NOTE not in check_model(Words().double(), at={"ids": IDS}).notes
    network = nn.Sequential(nn.Linear(2, 2), nn.ReLU()).double()
    assert not any("padding" in note for note in check_model(network, input=[1, 2], wrt="input").notes)


def test_what_is_wrong_beside_the_padding_is_seen() -> None:
    """The other rows are judged: a weight that a hook scales is wrong."""
    torch.manual_seed(0)
    network = Words(padding_idx=0).double()
    network.embedding.weight.register_hook(lambda gradient: gradient * 2)
    report = check_model(network, at={"ids": IDS})
    assert report.verdict == "mismatch"
    assert any("embedding.weight" in c.quantity for c in report.checks if c.verdict == "mismatch")


def test_a_gradient_that_is_divided_by_frequency_is_told() -> None:
    """What `scale_grad_by_freq` makes of a gradient is no derivative: the report says whose doing it is."""
    network = nn.Sequential(nn.Embedding(4, 2, scale_grad_by_freq=True), nn.Linear(2, 1)).double()
    report = check_model(network, at={"input": torch.tensor([0, 1, 1])})
    assert report.verdict is Verdict.MISMATCH and any("scale_grad_by_freq" in note for note in report.notes)
    assert "a mean for a sum: several contributions to an entry are averaged" in str(report)

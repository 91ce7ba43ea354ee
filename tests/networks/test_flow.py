"""What each layer of a network is computed from, as a report says it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gradcheck_cli import check_model


class UNet(nn.Module):
    """Two ways down, two ways up, what was kept on the way down beside them, and the input added at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.deep, self.up, self.act = nn.Linear(3, 2), nn.Linear(2, 2), nn.Linear(4, 3), nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        a = self.act(self.down(x))
        b = self.act(self.deep(a))
        up: Tensor = self.up(torch.cat([b, a]))
        return up + x


class Held(nn.Module):
    """A part that no gradient goes through, and a layer that works in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu, self.side, self.last = nn.Linear(2, 2), nn.ReLU(inplace=True), nn.Linear(2, 2), nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu(self.first(x))
        with torch.no_grad():
            s = self.side(h)
        out: Tensor = self.last(h + s)
        return out


def flow(model: object, **options: object) -> dict[str, list[str]]:
    found: dict[str, list[str]] = check_model(model, timeout=60, **options).problem["flow"]  # type: ignore[arg-type]
    return found


def test_skip_connections_are_told() -> None:
    """Operations between layers (cat, +) are looked through; a second call has its own name; the output is told too."""
    assert flow(UNet(), input=[3]) == {
        "down": ["x"], "act": ["down"], "deep": ["act"], "act:2": ["deep"], "up": ["act:2", "act"], "y": ["up", "x"],
    }  # fmt: skip


def test_layers_within_layers() -> None:
    """Of a network as text, the layers within a residual block."""
    found = flow("Residual(Linear(3, 3) | GELU()) | Linear(3, 1)")
    assert {name: set(sources) for name, sources in found.items()} == {
        "0.0": {"x"}, "0.1": {"0.0"}, "1": {"x", "0.1"}, "y": {"1"},
    }  # fmt: skip


def test_what_no_graph_records_comes_from_nowhere() -> None:
    """A layer under no_grad has no source and is none; a layer that works in place stands between its neighbours."""
    assert flow(Held(), input=[2]) == {"first": ["x"], "relu": ["first"], "side": ["relu"], "last": ["relu"], "y": ["last"]}

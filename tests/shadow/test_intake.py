"""What a run takes in that no operation has made."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gradcheck_cli.algebra.columns.long import shadowed
from gradcheck_cli.algebra.directions import Precise
from gradcheck_cli.algebra.layers import Rounded
from gradcheck_cli.algebra.number import exactly
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.shadow.columns import Columns
from gradcheck_cli.shadow.intake import Intake
from gradcheck_cli.shadow.mode import Shadow
from gradcheck_cli.shadow.watching import Watching

X = torch.linspace(0.5, 1.5, 4, dtype=torch.float64)

OUTSIDE = np.array([0.25, 0.5, 2.0, 3.0])


class Plain(Watching):
    """Watches, and follows nothing."""

    def watched(self, known: Any, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        return func(*args, **kwargs)


def in_balls(x: Tensor) -> Watching:
    shadow = Shadow([Precise()], 0)
    shadow.seed(x, [list(map(exactly, x.tolist()))])
    return shadow


def in_columns(x: Tensor) -> Watching:
    layer = shadowed(2, Precise(), Rounded(FORMATS["float64"]))
    shadow = Columns(layer, True)
    shadow.seed(x, layer.data(x.numpy()))
    return shadow


WAYS: dict[str, Callable[[Tensor], Watching]] = {"plainly": lambda x: Plain(), "balls": in_balls, "columns": in_columns}

FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], set[str | bytes]]] = {
    "operations alone": (lambda x: (x.sin() * x).view(2, 2).sum(0), set()),
    "whole numbers": (lambda x: x * 2 + 1, set()),
    "a float": (lambda x: x * 2.5, {(2.5).hex()}),
    "a keyword": (lambda x: torch.add(x, x, alpha=0.75), {(0.75).hex()}),
    "nan": (lambda x: x * float("nan"), {"nan"}),
    "a tensor of NumPy's": (lambda x: x * torch.from_numpy(OUTSIDE), {sha256(OUTSIDE).digest()}),
    "a result of NumPy's": (lambda x: torch.from_numpy(OUTSIDE), {sha256(OUTSIDE).digest()}),
    "in a list": (lambda x: torch.cat([x, torch.from_numpy(OUTSIDE)]), {sha256(OUTSIDE).digest()}),
    "masks and indices": (lambda x: x[torch.from_numpy(np.array([0, 2]))], set()),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_no_operation_has_made_is_found(way: str, name: str) -> None:
    """Floats among arguments and contents of tensors from elsewhere, nothing else; however the run is followed."""
    function, wanted = FUNCTIONS[name]
    x, intake = X.clone(), Intake()
    intake.know([x])
    watching = WAYS[way](x)
    with watching, watching.told_to(intake):
        y = function(x)
    assert intake.take([y]) == wanted


@pytest.mark.parametrize("way", ["balls", "columns"])
def test_what_runs_within_an_operation_is_nobodys_intake(way: str) -> None:
    """A rule made of simpler operations has constants of its own: they aren't the code's. After the block nothing is told."""
    x, intake = X.clone(), Intake()
    intake.know([x])
    watching = WAYS[way](x)
    with watching:
        with watching.told_to(intake):
            y = torch.nn.functional.layer_norm(x, (4,)).softmax(0)
        y * 7.5
    assert intake.take([y]) == {(1e-5).hex()}

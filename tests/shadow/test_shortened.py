"""What torch's switches allow kernels is allowed for: factors that are rounded, sums in a short format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from flint import arb
from torch import Tensor

from gradcheck_cli.algebra.columns.enclosing import ROUNDED
from gradcheck_cli.algebra.columns.shadowed import Shadowed
from gradcheck_cli.algebra.directions import Precise
from gradcheck_cli.algebra.layers import Rounded
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.shadow import shortened
from gradcheck_cli.shadow.columns import Columns
from gradcheck_cli.shadow.mode import Shadow
from gradcheck_cli.shadow.shortened import SWITCHES, TF32, counted, short

FLOAT = FORMATS["float32"]

HERE = [row._replace(device="cpu") for row in SWITCHES if row.device == "cuda"]
"""The switches of an accelerator, as if they were the processor's."""


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are on."""
    concerned = {(fold, row.dtype): [row] for row in HERE for fold in row.folds}
    monkeypatch.setattr(shortened, "_CONCERNED", concerned)
    values = {"float32": "tf32", "float16": True, "bfloat16": True}
    monkeypatch.setattr(shortened, "value_of", lambda row: (row.name, values[row.dtype]))


def test_rows() -> None:
    """Each row names one switch once, and operations."""
    assert len({(row.device, row.dtype, row.name) for row in SWITCHES}) == len(SWITCHES)
    assert all(row.folds for row in SWITCHES)


def short_of(x: Tensor) -> Tensor:
    """As a kernel cuts factors: 10 bits of the significand."""
    whole = x.view(torch.int32)
    return ((whole + 0x1000) & ~0x1FFF).view(torch.float32)


OPERATIONS: dict[str, tuple[Callable[..., Any], tuple[int, ...], tuple[int, ...]]] = {
    "product": (torch.mm, (3, 40), (40, 2)),
    "convolution": (torch.nn.functional.conv1d, (1, 3, 9), (2, 3, 4)),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.usefixtures("on")
def test_factors_are_rounded(name: str) -> None:
    """The ball that allows for rounding holds what short factors give, which it doesn't without the switch; the exact one is as
    narrow as ever. Columns allow for the same."""
    function, *shapes = OPERATIONS[name]
    factors = [torch.randn(shape, generator=torch.Generator().manual_seed(2)) for shape in shapes]
    wanted = function(*(short_of(x).double() for x in factors)).reshape(-1).tolist()
    plain = function(*(x.double() for x in factors)).reshape(-1).tolist()
    shadow, columns = Shadow([Precise(), Rounded(FLOAT)], 0), Columns(Shadowed(Precise(), Rounded(FLOAT)))
    for x in factors:
        cells = [arb(v) for v in x.reshape(-1).tolist()]
        shadow.seed(x, [cells, cells])
    with shadow:
        y = function(*factors)
    with columns:
        z = function(*factors)
    centre, *_, radii = columns.cell(z)
    assert not columns.lost
    for i, (value, exact, rounded) in enumerate(zip(wanted, shadow.cells(y, 0), shadow.cells(y, 1), strict=True)):
        assert rounded.contains(arb(value)) and abs(centre[i] - value) <= radii[ROUNDED, i]
        assert exact.rad() < 1e-12 and abs(exact.mid() - plain[i]) < 1e-12
    assert float(np.max(radii[ROUNDED])) > 2.0**-10


@pytest.mark.usefixtures("on")
def test_sums_in_the_format_of_the_result() -> None:
    """Of 16 bits: the ball is as wide as so many additions may err."""
    x = torch.ones(1, 64, dtype=torch.bfloat16)
    assert short("product", [x]).sums and short("product", [x]).factors is None


def test_each_switch_has_its_operations(on: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What isn't a product or a convolution loses nothing, nor does float64; what is part of a recurrent layer goes by that
    layer's switch."""
    single, double = torch.ones(2), torch.ones(2, dtype=torch.float64)
    assert short("product", [None, single]).factors is TF32
    assert short("total", [single]).factors is None and short("product", [double]).factors is None
    monkeypatch.setattr(shortened, "value_of", lambda row: (row.name, "tf32" if ".rnn." in row.name else "none"))
    assert short("product", [single]).factors is None
    with counted("recurrent"):
        assert short("product", [single]).factors is TF32


def test_nothing_is_short_by_default() -> None:
    """On the processor."""
    assert short("product", [torch.ones(2)]) == (None, False)

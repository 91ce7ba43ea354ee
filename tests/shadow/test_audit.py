"""A wrong kernel, sum or product is found by the balls that see a sample of it, is told, and columns are switched off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from gradcheck_cli.algebra.columns import long, long_sums, sums
from gradcheck_cli.algebra.columns.long import moving, shadowed
from gradcheck_cli.algebra.columns.moving import Moving
from gradcheck_cli.algebra.columns.trust import ONE_IN, TRUST
from gradcheck_cli.algebra.directions import Precise
from gradcheck_cli.algebra.layers import Rounded
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.shadow.audit import AT_LEAST, Audit
from gradcheck_cli.shadow.columns import Columns


def layers() -> list[Any]:
    return [
        layer(words) for words in (2, 4) for layer in (lambda w: shadowed(w, Precise(), Rounded(FORMATS["float64"])), moving)
    ]


def followed(layer: Any) -> Columns:
    """A run of an elementwise operation, a product and a sum."""
    draw = np.random.default_rng(0)
    x, y = (torch.from_numpy(draw.normal(size=(8, 8))) for _ in range(2))
    shadow = Columns(layer, guarded=True)
    for tensor in (x, y):
        shadow.seed(
            tensor, layer.data(tensor.numpy().reshape(-1), *([draw.normal(size=64)] if isinstance(layer, Moving) else []))
        )
    with shadow, np.errstate(all="ignore"):
        (torch.exp(x) @ y).sum()
    return shadow


@pytest.fixture(autouse=True)
def trust(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TRUST, "notes", [])


@pytest.mark.parametrize("layer", layers(), ids=["balls", "series", "long balls", "long series"])
def test_what_is_right_is_trusted(layer: Any) -> None:
    """Nothing is lost, nothing is told."""
    assert not followed(layer).lost and not TRUST.notes


@pytest.mark.parametrize("layer", layers(), ids=["balls", "series", "long balls", "long series"])
def test_what_is_subnormal_is_trusted(layer: Any) -> None:
    """Weights of a softmax a few times as large as the smallest float, products of them and quotients by large numbers."""
    shadow = Columns(layer, guarded=True)
    x = torch.linspace(-745, -740, 300, dtype=torch.float64)
    shadow.seed(x, layer.data(x.numpy(), *([np.ones(300)] if isinstance(layer, Moving) else [])))
    with shadow, np.errstate(all="ignore"):
        small = torch.exp(x)
        (small * 0.3 + torch.exp(0.4 * x) * torch.exp(0.6 * x) + torch.sigmoid(0.5 * x) / torch.exp(-0.5 * x)).sum()
    assert not shadow.lost and not TRUST.notes


@pytest.mark.parametrize("layer", layers(), ids=["balls", "series", "long balls", "long series"])
@pytest.mark.parametrize("name", ["total", "dot"])
def test_wrong_sums_and_products_are_found(layer: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off by more than their bounds in the twentieth digit."""
    right, longer = getattr(sums, name), getattr(long_sums, name)

    def wrong(*arguments: Any) -> Any:
        high, low, error = right(*arguments)
        return high, (0.0 if low is None else low) + np.abs(high) * 2.0**-66, error

    def wrong_words(*arguments: Any) -> Any:
        (*words, last), error = longer(*arguments)
        return [*words, last + np.abs(words[0]) * 2.0**-180], error

    monkeypatch.setattr(sums, name, wrong)
    monkeypatch.setattr(long_sums, name, wrong_words)
    assert followed(layer).lost
    assert len(TRUST.notes) == 1 and "contradicted" in TRUST.notes[0] and not TRUST.sound()


@contextmanager
def compiled_anew(layer: Any) -> Iterator[None]:
    """Nothing that was compiled for the layer before serves inside the block, nor what is compiled there after it."""

    def clear() -> None:
        layer._functions.clear()
        layer.programs.clear()

    clear()
    try:
        yield
    finally:
        clear()


@pytest.mark.parametrize("layer", layers()[:2], ids=["balls", "series"])
def test_a_wrong_kernel_is_found(layer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an elementwise operation."""
    right = layer._kernel
    off = lambda x: (lambda h, low, r: (h, low + abs(h) * 2.0**-66, r))(*right("exp")(x))  # noqa: E731
    monkeypatch.setattr(layer, "_kernel", lambda name: off if name == "exp" else right(name))
    with compiled_anew(layer):
        assert followed(layer).lost and "exp" in TRUST.notes[0]


@pytest.mark.parametrize("layer", layers()[2:], ids=["balls", "series"])
def test_a_wrong_function_of_more_words_is_found(layer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off in the fourth word."""
    right = long.enclosed

    def wrong(*arguments: Any) -> Any:
        *words, last, radius = right(*arguments)
        return *words, last + np.abs(words[0]) * 2.0**-180, radius

    monkeypatch.setattr(long, "enclosed", wrong)
    with compiled_anew(layer):
        assert followed(layer).lost and "exp" in TRUST.notes[0]


def test_a_sample_is_of_each_kind_in_a_run() -> None:
    """Some entries of the first operation of a kind, no more than there are; then one in ONE_IN of all, however they come."""
    audit = Audit()
    assert audit.due("few", 1) == 1
    assert audit.due("exp", 100) == AT_LEAST and audit.due("exp", 100) == 0
    assert audit.due("log", 10 * ONE_IN) == 10
    found = [audit.due("exp", ONE_IN // 2) for _ in range(20)]
    assert AT_LEAST + sum(found) == (200 + 10 * ONE_IN) // ONE_IN and max(found) == 1

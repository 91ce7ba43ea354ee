"""Random generators are seeded for a while, on every device that takes part."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from gradcheck_cli import check_function
from gradcheck_cli.maps.map import seeded
from gradcheck_cli.shadow.draws import restored


def test_the_generator_of_the_cpu_is_left_as_it_was() -> None:
    """What was drawn inside, and an error there, leave no trace."""

    def draw() -> None:
        with restored([torch.ones(1)]):
            raise ZeroDivisionError(torch.rand(5))

    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    with pytest.raises(ZeroDivisionError):
        draw()
    assert torch.equal(torch.rand(3), expected)


def test_generators_of_other_devices_are_seeded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the tensors' devices start from the seed and are restored; those of other devices are left alone."""
    chips = [torch.Generator().manual_seed(n) for n in (11, 12)]
    monkeypatch.setattr(torch, "get_device_module", lambda device: SimpleNamespace(default_generators=tuple(chips)))
    tensor = cast(Any, SimpleNamespace(device=torch.device("cuda:1")))
    before = [g.get_state() for g in chips]
    with seeded(3, [torch.ones(1), tensor, tensor]):
        assert [g.initial_seed() for g in (torch.default_generator, *chips)] == [3, 11, 3]
        torch.rand(4, generator=chips[1])
    assert all(torch.equal(g.get_state(), state) for g, state in zip(chips, before, strict=True))


@pytest.mark.parametrize("options", [{}, {"order": 2}, {"mode": "all"}], ids=str)
def test_a_function_that_draws_leaves_no_trace(options: dict[str, Any]) -> None:
    """Its shape and dtype are tried, its outputs, points beside: what is drawn next is what would have been."""
    before = torch.get_rng_state()
    check_function(lambda x: x * torch.rand_like(x), **options)
    assert torch.equal(torch.get_rng_state(), before)

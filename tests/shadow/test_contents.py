"""What changed in memory without an operation is seen when it is read."""

from __future__ import annotations

import ctypes

import pytest
import torch

from gradcheck_cli.shadow.contents import Contents


@pytest.fixture
def tensor() -> torch.Tensor:
    return torch.arange(6, dtype=torch.float64)


def test_what_an_operation_left_is_unchanged(tensor: torch.Tensor) -> None:
    """Whole, or a view of it; what was never remembered isn't known to have changed."""
    contents = Contents()
    assert not contents.changed([tensor])
    contents.remember(tensor)
    assert not contents.changed([tensor, tensor[2:4]])


def test_a_write_behind_torch_is_seen(tensor: torch.Tensor) -> None:
    """By ctypes or NumPy, where it was done and not beside it; an operation that writes there again is what counts then."""
    contents = Contents()
    contents.remember(tensor)
    (ctypes.c_double * 6).from_address(tensor.data_ptr())[3] = 9.0
    assert contents.changed([tensor]) and contents.changed([tensor[3:]])
    assert not contents.changed([tensor[:3]])
    contents.remember(tensor[3:])
    assert not contents.changed([tensor])
    tensor.numpy()[0] = 1.0
    assert contents.changed([tensor])


def test_memory_without_values_holds_one_nan(tensor: torch.Tensor) -> None:
    """Until an operation has filled it; what else was written there, to any part of it, is seen before an operation writes."""
    contents = Contents()
    contents.blank(tensor)
    assert tensor.isnan().all() and not contents.changed([tensor])
    tensor.fill_(1.0)
    assert contents.changed([tensor])
    contents.remember(tensor)
    assert not contents.changed([tensor])
    contents = Contents()
    contents.blank(tensor)
    (ctypes.c_double * 6).from_address(tensor.data_ptr())[5] = 9.0
    assert contents.changed([tensor[:2]])


def test_bits_seen_as_another_format_are_a_change(tensor: torch.Tensor) -> None:
    """What floats become as whole numbers no formula says."""
    contents = Contents()
    contents.remember(tensor)
    assert contents.changed([tensor.view(torch.int64)])

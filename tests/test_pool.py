"""Memory that large arrays use again: of what nobody holds any more, and of nothing else."""

from __future__ import annotations

import torch

from gradcheck_cli import pool
from gradcheck_cli.pool import LARGE, empty, entire, reusing


def test_memory_is_used_again() -> None:
    """Within the block a large array lies in the memory of an earlier one that nobody holds, never in that of one that a view,
    a tensor or a storage still shows; outside of it none is kept."""
    with reusing():
        first = empty(LARGE)
        place = first.ctypes.data
        shown = torch.from_numpy(first[10:]).untyped_storage()
        del first
        second = empty(LARGE)
        assert second.ctypes.data != place
        del shown
        third = empty(2, LARGE // 2)
        assert third.ctypes.data == place and third.shape == (2, LARGE // 2)
        del second, third
        larger = empty(8 * LARGE)  # nothing fits, and what is free is given back
        small = empty(8)
        assert [m.bytes.size // 8 for m in pool._KEPT.memory or ()] == [8 * LARGE] and entire(larger) and entire(small)
    assert pool._KEPT.memory is None


def test_an_entire_array() -> None:
    """What has memory of its own is told from a part of it, used again or not, whatever shape shows it."""
    with reusing():
        for count in (12, LARGE + 4):
            array = empty(count)
            assert entire(array) and entire(array.reshape(2, -1))
            assert not entire(array[1:]) and not entire(array[: count // 2])
        kept = array[: LARGE // 2]
        assert not entire(kept)

"""Work, counted: what a busy machine doesn't change, where seconds would. Seconds belong to benchmarks/."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def count_calls(task: Callable[[], object]) -> int:
    """How many functions, Python's and C's, this thread enters while the task runs."""
    count = 0

    def entered(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(entered)
    try:
        task()
    finally:
        sys.setprofile(before)
    return count

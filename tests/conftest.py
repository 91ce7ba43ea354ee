"""What holds for all tests: one profile of Hypothesis; a slow test says why; a slip in a rule ends the run. Helpers are
modules beside it."""

from __future__ import annotations

import gc
import os

import pytest
from hypothesis import settings

os.environ.setdefault("GRADCHECK_KEY", "of the tests")  # no file in the home of who runs them
os.environ.setdefault("GRADCHECK_DEBUG", "1")  # in every process: see `shadow.mode`

settings.register_profile("gradcheck", deadline=None, derandomize=bool(os.environ.get("CI")), print_blob=True)
settings.load_profile("gradcheck")


gc.disable()  # until all is collected: modules and items stay, and every look at them would be for nothing


def pytest_collection_finish() -> None:
    """What was imported and collected isn't looked at again."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a mark that gives no reason."""
    silent = {item.nodeid for item in items for mark in item.iter_markers("slow") if not mark.kwargs.get("reason")}
    if silent:
        raise pytest.UsageError(f"slow without a reason: {', '.join(sorted(silent))}")

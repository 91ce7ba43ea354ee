"""What holds for all tests: one profile of Hypothesis; how much of a sweep runs; a slow test says why; a slip in a rule ends
the run. Helpers are modules beside it."""

from __future__ import annotations

import gc
import os

import pytest
from hypothesis import settings

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # xdist has a process for each core already
    os.environ.setdefault(threads, "1")
os.environ.setdefault("GRADCHECK_KEY", "of the tests")  # no file in the home of who runs them
os.environ.setdefault("GRADCHECK_DEBUG", "1")  # in every process: see `shadow.mode`

settings.register_profile("gradcheck", deadline=None, derandomize=bool(os.environ.get("CI")), print_blob=True)
settings.load_profile("gradcheck")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--whole`, which `make soundness` gives."""
    parser.addoption("--whole", action="store_true", help="run sweeps with all their cases, not with a part of each")


@pytest.fixture(scope="session")
def whole(pytestconfig: pytest.Config) -> bool:
    """Whether a sweep is run with all its cases: for a change of what judges, and each week. Otherwise with a part of them, in
    which each kind of case is."""
    return bool(pytestconfig.getoption("whole"))


@pytest.fixture(scope="session")
def loaded() -> None:
    """For tests with sessions of pytest in them, before pytester notes which modules are there: see `tests.sessions`."""
    from tests import sessions  # which imports all: not where a run has no such test

    sessions.loaded()


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

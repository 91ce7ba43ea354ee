"""Work done in a thread of its own, so that a call of torch that never returns costs a verdict, not the report."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

Progress = Callable[[int, int, str], None]
"""Called with how much is done, of how much, and a word for the reader."""

TICK = 0.2
"""Seconds between two calls of the observer."""

GRACE = 0.5
"""Seconds that stopped work has for coming to an end."""


class Stopped(Exception):
    """The run was told to stop: what isn't judged stays undecided."""


def supervise(work: Callable[[], None], stop: Callable[[], None], timeout: float, observe: Callable[[], None]) -> bool:
    """Run `work` for at most `timeout` seconds, calling `observe` now and then; True where it came to no end in time (`stop`
    has been called then, and the thread is left behind)."""
    thread = threading.Thread(target=work, name="gradcheck", daemon=True)
    thread.start()
    deadline = time.monotonic() + timeout
    while thread.is_alive() and time.monotonic() < deadline:
        thread.join(min(TICK, max(deadline - time.monotonic(), 0.0)))
        observe()
    late = thread.is_alive()
    stop()
    thread.join(GRACE)
    return late


def versions() -> dict[str, str]:
    """The versions that a result depends on."""
    from importlib.metadata import PackageNotFoundError, version

    from gradcheck_cli import __version__

    found = {"gradcheck": __version__}
    for name in ("torch", "sympy", "python-flint", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

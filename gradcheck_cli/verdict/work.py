"""Work done in a thread of its own, so that a call of torch that never returns costs a verdict, not the report."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.report import Report, versions

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


@dataclass
class Recorder:
    """What the work hands over as it goes. `total`: how many steps there will be, for the progress bar."""

    columns: list[Column] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    total: int = 1
    done: int = 0
    doing: str = ""
    stopped: bool = False

    def add(self, columns: Iterable[Column]) -> None:
        """Results that are final."""
        self.columns.extend(columns)

    def step(self, doing: str) -> None:
        """The next step begins."""
        self.done, self.doing = self.done + bool(self.doing), doing
        self.checkpoint()

    def checkpoint(self) -> None:
        """Raises Stopped when time is up."""
        if self.stopped:
            raise Stopped


def record(
    command: str,
    problem: dict[str, Any],
    work: Callable[[Recorder], None],
    *,
    strict: bool = False,
    timeout: float = 600.0,
    progress: Progress | None = None,
) -> Report:
    """Run `work` and report what it recorded. Raises what it raises; after `timeout` seconds the report holds what was
    finished, and says so."""
    recorder = Recorder()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work(recorder)
        except Stopped:
            pass
        except BaseException as failure:
            failures.append(failure)

    def stop() -> None:
        recorder.stopped = True

    def observe() -> None:
        if progress is not None:
            progress(min(recorder.done, recorder.total), recorder.total, recorder.doing)

    late = supervise(run, stop, timeout, observe)
    if failures:
        raise failures[0]
    columns, notes = list(recorder.columns), list(recorder.notes)
    if late:
        notes.append(f"stopped after {timeout:g} s (--timeout) in: {recorder.doing or command}; the rest was not checked")
        columns.append(Column.unfinished(recorder.doing or command))
    return Report(command, problem, columns, versions(), strict, notes)

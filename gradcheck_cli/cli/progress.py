"""A progress bar on stderr, where work takes more than a second and stderr is a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

DELAY = 1.0
"""Seconds of work before the bar shows."""


@contextmanager
def progress(wanted: bool = True) -> Iterator[Callable[[int, int, str], None] | None]:
    """A callback (done, total, text) that draws the bar, or None where nobody would see it."""
    if not (wanted and sys.stderr.isatty()):
        yield None
        return
    bar = _Bar()
    try:
        yield bar
    finally:
        bar.stop()


class _Bar:
    def __init__(self) -> None:
        self.start = time.monotonic()
        self.shown: tuple[Progress, TaskID] | None = None

    def __call__(self, done: int, total: int, text: str) -> None:
        if self.shown is None:
            if time.monotonic() - self.start < DELAY:
                return
            from rich.console import Console
            from rich.progress import Progress

            bar = Progress(console=Console(stderr=True), transient=True)
            bar.start()
            self.shown = bar, bar.add_task(text, total=total)
        bar, task = self.shown
        bar.update(task, completed=done, total=total, description=text)

    def stop(self) -> None:
        if self.shown is not None:
            self.shown[0].stop()

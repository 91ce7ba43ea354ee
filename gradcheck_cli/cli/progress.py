"""A progress bar on stderr, where work takes more than a second and stderr is a terminal."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gradcheck_cli.errors import visible

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

DELAY = 1.0
"""Seconds of work before the bar shows."""
LOADING = "loading torch and SymPy"
"""What is done before anybody says what is."""
LONGEST = 60
"""Characters of what is being done that are shown."""


@contextmanager
def progress(wanted: bool = True) -> Iterator[Callable[[int, int, str], None] | None]:
    """A callback (done, total, text) that moves the bar, or None where nobody would see it. The bar shows by itself, with what
    is being done, whether or not somebody calls."""
    if not (wanted and sys.stderr.isatty()):
        yield None
        return
    bar = _Bar()
    try:
        yield bar
    finally:
        bar.stop()


class _Bar:
    """A thread waits for the delay and shows the bar, which rich moves from then on: also while torch is imported."""

    def __init__(self) -> None:
        self.state: tuple[int, int, str] = (0, 0, LOADING)
        self.shown: tuple[Progress, TaskID] | None = None
        self.lock, self.over = threading.Lock(), threading.Event()
        self.thread = threading.Thread(target=self._show, name="progress", daemon=True)
        self.thread.start()

    def __call__(self, done: int, total: int, text: str) -> None:
        with self.lock:
            self.state = (done, total, text)
            if self.shown is not None:
                bar, task = self.shown
                bar.update(task, completed=done, total=total or None, description=_said(done, total, text))

    def stop(self) -> None:
        self.over.set()
        self.thread.join()
        if self.shown is not None:
            self.shown[0].stop()

    def _show(self) -> None:
        if self.over.wait(DELAY):
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(20), TimeElapsedColumn())
        bar = Progress(
            *columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False,
            refresh_per_second=5,
        )  # fmt: skip
        with self.lock:
            if self.over.is_set():
                return
            done, total, text = self.state
            bar.start()
            self.shown = bar, bar.add_task(_said(done, total, text), completed=done, total=total or None)


def _said(done: int, total: int, text: str) -> str:
    """`point 2 of 3 (1/4)`"""
    short = visible(text if len(text) <= LONGEST else f"{text[:LONGEST]}...")
    return f"{short} ({done:,}/{total:,})" if total > 1 else short

"""Work done in a thread of its own, so that a call of torch that never returns costs a verdict, not the report."""

from __future__ import annotations

import atexit
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import numpy as np

from gradcheck_cli.algebra.columns.trust import TRUST
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.pool import reusing
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.remedy import Remedy
from gradcheck_cli.verdict.report import Report, versions

Progress = Callable[[int, int, str], None]
"""Called with how much is done, of how much, and a word for the reader."""

TICK = 0.2
"""Seconds between two calls of the observer."""

GRACE = 0.5
"""Seconds that stopped work has for coming to an end."""


LAST = 3.0
"""Seconds that all of it has at the end of the process."""

_left: list[threading.Thread] = []
"""What came to no end in time."""


@atexit.register
def _wait() -> None:
    """A thread that still runs C++ of torch's while Python ends would abort the process; most come to a checkpoint soon."""
    deadline = time.monotonic() + LAST
    for thread in _left:
        thread.join(max(deadline - time.monotonic(), 0.0))


MOST_UNCOUNTED = 1800.0
"""Seconds of a compiler that aren't counted; one that takes longer is stopped as all else is."""

STOPPED = "stopped after"
"""How the note begins that says so."""


class Stopped(BaseException):
    """The run was told to stop: what isn't judged stays undecided. No Exception: who takes whatever a user's code raises for a
    refusal doesn't catch it."""


def supervise(
    work: Callable[[], None], stop: Callable[[], None], timeout: float, observe: Callable[[], None],
    uncounted: Callable[[], float] = lambda: 0.0,
) -> bool:  # fmt: skip
    """Run `work` for at most `timeout` seconds, and those that are `uncounted`, calling `observe` now and then; True where it
    came to no end in time (`stop` has been called then, and the thread is left behind). NumPy doesn't warn of what leaves the
    range: verdicts say it."""

    around = surroundings()

    def quiet() -> None:
        with np.errstate(all="ignore"), around():
            work()

    thread = threading.Thread(target=quiet, name="gradcheck", daemon=True)
    thread.start()
    start = time.monotonic()
    while thread.is_alive() and (left := start + timeout + uncounted() - time.monotonic()) > 0.0:
        thread.join(min(TICK, left))
        observe()
    late = thread.is_alive()
    stop()
    thread.join(GRACE)
    _left[:] = [left for left in (*_left, thread) if left.is_alive()]
    return late


def surroundings() -> Callable[[], AbstractContextManager[Any]]:
    """What enters, in another thread, those of torch's `with` blocks around the caller that change how code is differentiated:
    hooks on saved tensors, dispatch modes, autocast. torch keeps each of them for one thread."""
    torch = sys.modules.get("torch")
    if torch is None:
        return nullcontext
    from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

    top = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)  # newer than the oldest torch that is taken
    hooks = None if top is None else top(False)
    modes = [mode for mode in _get_current_dispatch_mode_stack() if not mode.is_infra_mode()]
    casts = [(device, torch.get_autocast_dtype(device)) for device in _devices() if torch.is_autocast_enabled(device)]
    if not (hooks or modes or casts):
        return nullcontext

    @contextmanager
    def entered() -> Iterator[None]:
        with ExitStack() as stack:
            for device, dtype in casts:
                stack.enter_context(torch.autocast(device, dtype))
            for mode in modes:
                torch.utils._python_dispatch._push_mode(mode)
                stack.callback(torch.utils._python_dispatch._pop_mode)
            if hooks:
                torch._C._autograd._push_saved_tensors_default_hooks(*hooks)
                stack.callback(torch._C._autograd._pop_saved_tensors_default_hooks)
            yield

    return entered


def _devices() -> list[str]:
    """The kinds of device that torch computes on here."""
    torch = sys.modules["torch"]
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return ["cpu", *([] if accelerator is None else [accelerator.type])]


class Recorder:
    """What the work hands over as it goes: columns, notes for the reader, and how far it is. `total`: of how many steps.

    Columns are either final when they are added, or *planned*: reported whether or not they get finished. `conditions`: under
    which conditions of training each custom backward has been tried.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.conditions: dict[str, list[str]] = {}
        self.remedies: list[Remedy] = []
        self.total = 1
        self.done = 0
        self.doing = ""
        self.left: tuple[str, int] | None = None
        """What is still to be done, this step included, in words, and how many of them."""
        self.points = 0
        """How many points were asked for, where each is a step."""
        self._final: list[Column] = []
        self._planned: list[list[Column]] = []
        self._stopped = False
        self._uncounted = self._since = 0.0

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """What runs within isn't counted by the time limit, up to MOST_UNCOUNTED seconds in all."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._uncounted, self._since = self.seconds_uncounted(), 0.0

    def seconds_uncounted(self) -> float:
        """So far."""
        now = time.monotonic() - self._since if self._since else 0.0
        return min(self._uncounted + now, MOST_UNCOUNTED)

    @property
    def columns(self) -> list[Column]:
        """All that will be reported, in order."""
        return [*(column for part in self._planned for column in part), *self._final]

    def plan(self, columns: Iterable[Column] = ()) -> list[Column]:
        """A list of columns that are reported as they are at the end; what is added to it later belongs there too."""
        self._planned.append(list(columns))
        return self._planned[-1]

    def add(self, columns: Iterable[Column]) -> None:
        """Results that are final."""
        self._final.extend(columns)

    def note(self, *texts: str | None) -> None:
        """Tell the reader, once."""
        self.notes += dict.fromkeys(text for text in texts if text is not None and text not in self.notes)

    def step(self, doing: str) -> None:
        """The next step begins."""
        self.done, self.doing = self.done + bool(self.doing), doing
        self.checkpoint()

    def advance(self, steps: int) -> None:
        """So many steps are done."""
        self.done += steps

    def checkpoint(self) -> None:
        """Raises Stopped when time is up."""
        if self._stopped:
            raise Stopped

    def stop(self) -> None:
        """Let the work end at its next checkpoint."""
        self._stopped = True

    def give_up(self, command: str, timeout: float, dtype: str = "float64") -> None:
        """Say what is missing: time was up. `dtype`: of what was checked."""
        limit = f"{STOPPED} {timeout:g} s (--timeout)"
        if self._planned:
            for part in self._planned:
                for column in part:
                    column.late()
            self.notes.append(f"{limit}: what was not finished is undecided")
        else:
            name, count = self.left or (self.doing or command, 1)
            rest = "not finished" if self.left else "the rest was not checked"
            self.notes.append(f"{limit} in: {self.doing or command}; {rest}{f': {name}' if self.left else ''}")
            self.add([Column.unfinished(name, dtype=dtype, count=count, points=self.points)])


FIRST_WORD = 10.0
"""Seconds after which somebody who waits at a prompt is told what is being done; then after twice as long, and so on."""


def patience(command: str, timeout: float) -> Progress | None:
    """What tells somebody at a prompt, or in a notebook, what takes so long and how it is bounded; None where nobody waits."""
    if not hasattr(sys, "ps1") and "ipykernel" not in sys.modules:
        return None
    start, due = time.monotonic(), [FIRST_WORD]

    def tell(done: int, total: int, doing: str) -> None:
        spent = time.monotonic() - start
        if spent >= due[0]:
            due[0] *= 2
            part = f" ({done} of {total} done)" if total > 1 else ""
            at = f": {doing}{part}" if doing else part
            text = (
                f"gradcheck {command}, {spent:.0f} s so far{at}; it stops after timeout={timeout:g}, smaller tensors take less"
            )
            print(text, file=sys.stderr, flush=True)

    return tell


def record(
    command: str,
    problem: dict[str, Any],
    work: Callable[[Recorder], None],
    *,
    strict: bool = False,
    timeout: float = 600.0,
    progress: Progress | None = None,
    recorder: Recorder | None = None,
) -> Report:
    """Run `work` and report what it recorded. Raises what it raises; after `timeout` seconds the report holds what was
    finished, and says so. Without `progress` whoever waits at a prompt is told what takes long. `recorder`: one in which
    columns are planned already."""
    recorder = recorder or Recorder()
    failures: list[BaseException] = []
    progress = patience(command, timeout) if progress is None else progress

    def run() -> None:
        try:
            with reusing():
                work(recorder)
        except Stopped:
            pass
        except BaseException as failure:
            failures.append(failure)

    def observe() -> None:
        if progress is not None:
            progress(min(recorder.done, recorder.total), recorder.total, recorder.doing)

    late = supervise(run, recorder.stop, timeout, observe, recorder.seconds_uncounted)
    if failures:
        raise failures[0]
    if late:
        recorder.give_up(command, timeout, next((name for name in problem.get("dtype", ()) if name in FORMATS), "float64"))
    if recorder.conditions:
        problem["conditions"] = recorder.conditions
    return Report(
        command,
        problem,
        recorder.columns,
        versions(),
        strict,
        list(dict.fromkeys([*recorder.notes, *TRUST.notes])),
        recorder.remedies,
    )

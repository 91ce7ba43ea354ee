"""A crash of torch itself (a segmentation fault in a kernel, an abort) is told in one line with the operation: exit code 70.

A check runs in a child of the process that was started, which does nothing but wait: a fork before anything heavy is imported,
and no more. Only after a crash is the check run once more, with every call of compiled code written down in memory that both
share; nobody sees what else it does.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gradcheck_cli.errors import visible
from gradcheck_cli.options import KINDS

CRASHED, BAD_INPUT = 70, 2
"""Exit codes."""
PATIENCE = 60.0
"""Seconds that the second run has."""
LONGEST = 200
"""Bytes of a name that are kept."""

_ENDS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGPIPE")
"""Signals by which somebody ends a process on purpose."""

_AWAITED = (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT) if sys.platform == "linux" else ()
"""Signals that the waiting process takes."""

_OF_THE_KERNEL = 0x80
"""SI_KERNEL of sigaction(2): a terminal has sent it, and to the child too."""

_MARK = 1 << 20
"""Where in its trace a child says that it came to its end by itself."""

_trace: int | None = None
"""The descriptor of the trace, in the child."""
_again: Any = None
"""The shared memory, in the second run."""


def watch(command: Sequence[str]) -> None:
    """Go on in a child, where the command is a check and the system can do it. The parent doesn't return: it ends as the child
    does, or tells of its crash."""
    if sys.platform != "linux" or not hasattr(os, "memfd_create") or not set(command) <= KINDS.keys() or not command:
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    try:
        trace = os.memfd_create("gradcheck")
        child = _fork(trace)
    except OSError:  # no process or no memory to spare: the check has it
        child = 0
    status = _awaited(child) if child else 0
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _AWAITED)
    if child == 0:
        return
    if status >= 0 and os.pread(trace, 1, _MARK):
        os._exit(status)
    if status >= 0:
        _tell(f"error: the code that is checked, or torch, ended the process (exit code {status})", BAD_INPUT)
    name = signal.Signals(-status).name
    if name in _ENDS:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    if name == "SIGKILL":
        _tell(f"the process was killed ({name}), from outside or for want of memory")
    operation = _operation()
    if operation == "":  # in the child of the second run
        return
    where = _where(os.pread(trace, 1 << 16, 0).decode(errors="replace"))
    _tell(f"torch, or compiled code that it calls, crashed ({name}){operation}{where}")


def _awaited(child: int) -> int:
    """The exit status of the child, or minus the signal by which it ended; what somebody sends to this process is passed on."""
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        told = signal.sigwaitinfo(_AWAITED)
        if told.si_signo != signal.SIGCHLD and told.si_code != _OF_THE_KERNEL:
            os.kill(child, told.si_signo)


def done() -> None:
    """The command has come to its end: the exit code is its own."""
    if _trace is not None:
        os.pwrite(_trace, b"1", _MARK)


def _fork(trace: int) -> int:
    """A child that ends when this process does, in whatever code it is then, and leaves the Python frames of a crash in
    `trace`."""
    global _trace
    import faulthandler
    import fcntl

    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(theirs)
        with suppress(OSError):
            fcntl.fcntl(ours, fcntl.F_SETOWN, os.getpid())
            fcntl.fcntl(ours, fcntl.F_SETSIG, signal.SIGKILL)
            fcntl.fcntl(ours, fcntl.F_SETFL, os.O_ASYNC)
        faulthandler.enable(trace, all_threads=False)
        _trace = trace
    else:
        os.close(ours)
    return child


def _operation() -> str:
    """Run the check once more: ` in ldexp`, the call of compiled code in which it crashed. Empty in the child that runs it."""
    global _again
    import mmap

    shared = mmap.mmap(-1, LONGEST)
    child = _fork(os.memfd_create("gradcheck"))
    if child == 0:
        _again = shared
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        return ""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    deadline = time.monotonic() + PATIENCE
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        time.sleep(0.02)
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            break
    name = shared[:].rstrip(b"\0").decode(errors="replace")
    return f" in {name}" if name else ", and did not where it was watched"


@contextmanager
def recorded() -> Iterator[None]:
    """Within: in the second run, the name of each call of compiled code is written down before it is made, in threads that
    begin here. What comes after isn't run then."""
    if _again is None:
        yield
        return
    import threading

    threads = threading.local()

    def record(frame: Any, event: str, function: Any) -> None:
        calls = threads.__dict__.setdefault("calls", [])
        if event == "c_call":
            owner = frame.f_locals.get("self") if not getattr(function, "__name__", "") else None  # an operation of ATen
            calls.append(function.__name__ if owner is None else str(owner))
            inner = f"{calls[-2]} ({calls[-1]})" if len(calls) > 1 else calls[-1]
            _again[:] = inner.encode()[:LONGEST].ljust(LONGEST, b"\0")
        elif event in ("c_return", "c_exception") and calls:
            calls.pop()

    threading.setprofile(record)
    try:
        yield
    finally:
        _again[:] = bytes(LONGEST)
        os._exit(0)


def _where(trace: str) -> str:
    """`, at silu.py:14`: the innermost frame of the user's in what faulthandler wrote."""
    own = (str(Path(__file__).parents[1]), "/site-packages/", "<", sys.prefix, sys.base_prefix)
    for file, line in re.findall(r'File "([^"\n]*)", line (\d+) in', trace):
        if not file.startswith((own[0], *own[3:])) and not any(part in file for part in own[1:3]):
            return f", at {os.path.relpath(file)}:{line}"
    return ""


def _tell(text: str, code: int = CRASHED) -> None:
    """One line, and the end."""
    sys.stderr.write(f"gradcheck: {visible(text)}\n")
    sys.stderr.flush()
    os._exit(code)

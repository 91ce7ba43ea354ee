"""The process in which checks run: it reads a check a line from stdin, and answers each with a line on its stdout.

It ends with its owner (stdin closes), when it is idle for long, and, by the system's own timer, when a check takes longer
than it may, be it in a kernel that never lets go of the interpreter.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import pickle
import queue
import signal
import sys
import threading
from base64 import b64decode
from contextlib import suppress
from typing import IO, Any

from gradcheck_cli.suite.execute import MEMORY, execute
from gradcheck_cli.suite.workers import IDLE, Conditions, grace

READY = b"ready\n"
GROWTH = 512 << 20
"""Bytes by which this process may have grown before another takes its place: caches, and what user code leaves behind."""


def main() -> None:
    """Serve until stdin ends."""
    asked, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # what checks read and print must not mix with these
    os.dup2(2, 1)
    faulthandler.enable(all_threads=False)
    conditions: Conditions = pickle.loads(b64decode(sys.argv[1]))
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(asked, requests), daemon=True).start()
    _warm_up(conditions)
    answers.write(READY)
    most = _peak() + GROWTH
    while True:
        _alarm(IDLE)
        spec = pickle.loads(b64decode(requests.get()))
        limit = spec.options.get("timeout", conditions.timeout)
        _alarm(limit + 2 * grace(limit))
        outcome = execute(spec, timeout=conditions.timeout, strict=conditions.strict)
        _alarm(0)
        # What is left of a check that didn't come to its end must not disturb the next.
        left = any(thread.name == "gradcheck" for thread in threading.enumerate())
        spoilt = left or outcome.fault == MEMORY or _peak() > most
        answers.write(json.dumps({"outcome": outcome.to_dict(), "last": spoilt}).encode() + b"\n")


def _listen(asked: IO[bytes], requests: queue.SimpleQueue[bytes]) -> None:
    for line in asked:
        requests.put(line)
    os._exit(0)


def _warm_up(conditions: Conditions) -> None:
    """Import what checks need, before time counts; then bound the memory."""
    gc.set_threshold(100_000, 20, 20)
    with suppress(OSError):  # on a machine of a cluster, there is no such folder
        os.chdir(conditions.root)
    import torch

    import gradcheck_cli.formulas.check  # noqa: F401

    torch.set_num_threads(1)
    gc.freeze()
    if conditions.memory is not None:
        with suppress(ImportError, OSError, ValueError):
            import resource

            resource.setrlimit(resource.RLIMIT_DATA, (conditions.memory, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def _peak() -> int:
    """The most memory that this process has had, in bytes; 0 where the system doesn't tell."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _alarm(seconds: float) -> None:
    """Let the system end this process after that time."""
    timer: Any = getattr(signal, "setitimer", None)
    if timer is not None:
        timer(signal.ITIMER_REAL, seconds)


if __name__ == "__main__":
    main()

"""Processes that run checks for this one, one after the other; each is replaced when it hangs, dies or runs out of memory.

So a check can only spoil itself. Pools of multiprocessing (pebble 5.2 was looked at) don't keep that: the owner unpickles what
a worker sends, hence executes what checked code puts there; what a worker has started goes on when it is killed; none can be
chosen by the file whose code it has executed; and Dask's workers, being daemons, may have no such pool.
"""

from __future__ import annotations

import json
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from gradcheck_cli.suite.execute import CRASH, MEMORY, TIMEOUT, Outcome, broken, starved
from gradcheck_cli.suite.spec import Spec

START = 120.0
"""Seconds that a new process has for its imports."""
IDLE = 60.0
"""Seconds after which a process without work ends, wherever it was left."""
TICK = 0.5
"""Seconds between two looks at a process that doesn't answer."""
TRIES = 2
"""How often a check is run whose process is killed from outside."""
FROM_OUTSIDE = ("SIGKILL", "SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT", "SIGALRM")
"""How that ends; SIGALRM is the timer of a process that was idle for too long."""
TAIL = 8_000
"""Bytes of what a process wrote to stderr that are kept."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under which every check of a run is made. `timeout` in seconds, for checks without their own; `memory` in bytes, of each
    process; `root`: the working directory, from which the paths of specs count."""

    timeout: float
    memory: int | None
    strict: bool
    root: str


def grace(timeout: float) -> float:
    """Seconds that a check has, after its time, for reporting that it isn't finished."""
    return 2.0 + 0.05 * timeout


def perform(spec: Spec, conditions: Conditions) -> Outcome:
    """Run a check in a process of the pool: its outcome, also where it hangs, or takes the process with it."""
    start, tries = time.monotonic(), 0
    while True:
        runner = POOL.take(spec, conditions)
        tries += 1
        try:
            return runner.run(spec)
        except _Ended as end:
            if tries == TRIES or not end.again or POOL.closed:
                return broken(spec, end.fault, str(end), time.monotonic() - start)
        except BaseException:  # Ctrl-C: it is still at work
            runner.spoilt = True
            raise
        finally:
            POOL.give_back(runner)


class _Ended(Exception):
    """The process ended, or was ended, without an answer. `again`: the check may be none the worse for it (the process was
    killed from outside, had been idle for too long, or was left with what an earlier check has written)."""

    def __init__(self, fault: str, message: str, again: bool = False) -> None:
        super().__init__(message)
        self.fault = fault
        self.again = again


class Runner:
    """One process. `file`: the spec file whose code it has executed, if it has; it serves only that one from then on."""

    def __init__(self, conditions: Conditions) -> None:
        self.conditions = conditions
        self.file: str | None = None
        self.spoilt = False
        self.ready = False
        self.tail = b""
        self.answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        argument = b64encode(pickle.dumps(conditions)).decode()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "gradcheck_cli.suite.runner", argument],  # -P: no module of the working directory
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **threads},
            start_new_session=True,  # so that Ctrl-C is ours to handle
        )  # fmt: skip
        for read in (self._read_answers, self._read_errors):
            threading.Thread(target=read, daemon=True).start()

    def run(self, spec: Spec) -> Outcome:
        """The outcome; _Ended where there is none."""
        if spec.executes:
            self.file = spec.file
        if not self.ready:
            self._answer(START, "the imports of the worker didn't end in time")
            self.ready = True
        limit = spec.options.get("timeout", self.conditions.timeout)
        with suppress(OSError):  # then there is no answer either
            self._stdin.write(b64encode(pickle.dumps(spec)) + b"\n")
            self._stdin.flush()
        answer = self._answer(limit + grace(limit), f"no answer within {limit:g} s: the worker was replaced")
        try:
            found = json.loads(answer)
            outcome = Outcome.from_dict(found["outcome"])
            if outcome.spec_id != spec.id or outcome.asked != json.loads(json.dumps(spec.asked())):
                raise ValueError("an answer to another question")
            self.spoilt = found["last"] is not False
        except (ValueError, KeyError, TypeError, RecursionError):  # something else has written there
            self.close()
            raise _Ended(CRASH, "the worker's answer can't be read: the code may have written it", True) from None
        return outcome

    def usable(self, spec: Spec, conditions: Conditions) -> bool:
        """Whether it may run this check: it lives, and nothing that it has executed can change the result."""
        fresh = self.file is None or self.file == spec.file
        return fresh and not self.spoilt and self.conditions == conditions and not self._exited()

    def close(self) -> None:
        """End the process, and what it has started."""
        self.spoilt = True
        if self.process.returncode is None:  # else its number may be another's by now
            with suppress(OSError):
                os.killpg(self.process.pid, signal.SIGKILL) if hasattr(os, "killpg") else self.process.kill()
            self.process.wait()
        with suppress(OSError):
            self._stdin.close()

    @property
    def _stdin(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin

    def _answer(self, seconds: float, late: str) -> bytes:
        """The next line; it also looks at the process itself, for its children may keep the pipe open."""
        deadline = time.monotonic() + seconds
        line = b""
        while not line:
            dead = self._exited()
            try:
                line = self.answers.get(timeout=TICK)
            except queue.Empty:
                if not dead and time.monotonic() < deadline:
                    continue
            if not line and (dead or self._gone()):
                raise self._end()
            if not line:
                self.close()
                raise _Ended(TIMEOUT, late)
        return line

    def _gone(self) -> bool:
        """Whether the process ends now, as it does once it has closed its side."""
        deadline = time.monotonic() + TICK
        while not self._exited() and time.monotonic() < deadline:
            time.sleep(0.01)
        return self._exited()

    def _exited(self) -> bool:
        """Whether it has ended. It isn't reaped yet: its number, which is that of its children's group, stays its own."""
        if self.process.returncode is None and hasattr(os, "waitid"):
            return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
        return self.process.poll() is not None

    def _end(self) -> Exception:
        """Why the process is gone."""
        self.close()
        code = self.process.returncode
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        said = " ".join(self.tail.decode(errors="replace").split())
        said = said[max(said.find("Fatal Python error"), 0) :]
        message = f"the worker ended without an answer ({how})" + (f": {said}" if said else "")
        return _Ended(MEMORY if starved(said) else CRASH, message, how in FROM_OUTSIDE)

    def _read_answers(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.answers.put(line)
        self.answers.put(b"")

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        while chunk := os.read(self.process.stderr.fileno(), TAIL):
            self.tail = (self.tail + chunk)[-TAIL:]


class _Pool:
    """The runners of this process: as many as there are checks at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.idle: list[Runner] = []
        self.busy: set[Runner] = set()
        self.closed = False

    def start(self, count: int, conditions: Conditions) -> None:
        """Start processes ahead of the checks."""
        with self.lock:
            self.closed = False
            self.idle += [Runner(conditions) for _ in range(count)]

    def take(self, spec: Spec, conditions: Conditions) -> Runner:
        """A runner for this check: an idle one, or else a new one in its place."""
        with self.lock:
            if self.closed:
                raise RuntimeError("the run has ended")
            suited = [runner for runner in self.idle if runner.usable(spec, conditions)]
            same = [runner for runner in suited if runner.file == spec.file]
            if suited:
                runner = (same or suited)[-1]
                self.idle.remove(runner)
            else:
                if self.idle:
                    self.idle.pop(0).close()
                runner = Runner(conditions)
            self.busy.add(runner)
            return runner

    def give_back(self, runner: Runner) -> None:
        with self.lock:
            self.busy.discard(runner)
            if self.closed or runner.spoilt:
                runner.close()
            else:
                self.idle.append(runner)

    def close(self) -> None:
        """End all of them, whatever they are doing."""
        with self.lock:
            self.closed = True
            for runner in (*self.idle, *self.busy):
                runner.close()
            self.idle.clear()


POOL = _Pool()

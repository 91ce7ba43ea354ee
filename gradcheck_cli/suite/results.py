"""Results as JSON Lines, one outcome a line, each on disk before the next: what was finished is neither lost nor done twice."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType

from gradcheck_cli.errors import InputError, first_line
from gradcheck_cli.files import replace, special, trouble, unlinked
from gradcheck_cli.suite.execute import Outcome
from gradcheck_cli.suite.shape import outcome_of

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:  # Windows: two runs with one file aren't kept apart there
    flock = None  # type: ignore[assignment]

LONGEST = 100_000_000
"""Bytes of a line that is read."""


class Results:
    """A file that is being written; no other run can write into it meanwhile.

    `resume`: go on with what it holds (an unfinished last line, left by a run that was killed, is cut off); else begin anew,
    and what it held stays in FILE.old. `failure`: why nothing is written any more, if so; the lines written before are whole.
    """

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        self.path = unlinked(path, "write the results")
        self.failure: str | None = None
        with trouble("write the results", str(path)):
            self.file = path.open("ab", buffering=0)
        self.regular = not special(self.path)
        try:
            if self.regular:
                self._lock()
                self._mend() if resume else self._renew()
        except BaseException:
            self.file.close()
            raise

    def __enter__(self) -> Results:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.file.close()

    def append(self, *outcomes: Outcome) -> None:
        """Write a line of each, down to the disk. Doesn't raise: see `failure`."""
        if self.failure is not None or not outcomes:
            return
        end = os.fstat(self.file.fileno()).st_size
        left = memoryview("".join(f"{line(outcome)}\n" for outcome in outcomes).encode())
        try:
            while left:
                left = left[self.file.write(left) or 0 :]
            if self.regular:
                os.fsync(self.file.fileno())
        except OSError as problem:
            self.failure = f"can't write the results to {self.path}: {problem.strerror or problem}"
            if self.regular:
                self.file.truncate(end)

    def _lock(self) -> None:
        if flock is None:
            return
        try:
            flock(self.file, LOCK_EX | LOCK_NB)
        except OSError:
            raise InputError("another run is writing these results", str(self.path), 0) from None

    def _renew(self) -> None:
        if self.path.stat().st_size:
            with self.path.open("rb") as file:
                replace(Path(f"{self.path}.old"), file)
            self.file.truncate(0)

    def _mend(self) -> None:
        """Cut an unfinished last line off; one that lacks nothing but its end gets it."""
        content = self.path.read_bytes()
        start = content.rfind(b"\n") + 1
        if start == len(content):
            return
        try:
            _outcome(content[start:])
            self.file.write(b"\n")
        except ValueError:
            self.file.truncate(start)


def line(outcome: Outcome) -> str:
    """An outcome as a line of JSON."""
    return json.dumps(outcome.to_dict(), allow_nan=False)


def read(path: Path) -> dict[str, Outcome]:
    """The outcomes in a file by the ids of their checks, the last one of each; an unfinished last line is passed over."""
    found: dict[str, Outcome] = {}
    path = unlinked(path, "read the results")
    with trouble("read the results", str(path)), path.open("rb") as file:
        for number, text in enumerate(iter(lambda: file.readline(LONGEST), b""), 1):
            if number == 1 and text == b"\n":  # a baseline in which nothing is known
                continue
            try:
                outcome = _outcome(text)
            except ValueError as problem:
                if not text.endswith(b"\n") and len(text) < LONGEST:
                    break
                raise InputError(f"{path}:{number}: this is no result of a run ({first_line(problem)[:100]})") from None
            found[outcome.spec_id] = outcome
    return found


def _outcome(text: bytes) -> Outcome:
    """ValueError where it is none."""
    return Outcome.from_dict(outcome_of(text))

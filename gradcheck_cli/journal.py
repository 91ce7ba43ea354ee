"""A file of JSON Lines that grows while work goes on, each line on disk before the next: what was finished is neither lost nor
done twice."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from gradcheck_cli.errors import InputError
from gradcheck_cli.files import replace, special, trouble, unlinked

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:  # Windows: two runs with one file aren't kept apart there
    flock = None  # type: ignore[assignment]

LONGEST = 100_000_000
"""Bytes of a line that is read."""


class Journal:
    """A file that is being written; no other run can write into it meanwhile.

    `resume`: go on with what it holds (an unfinished last line, left by a run that was killed, is cut off: one that is no
    `whole` one, which ValueError says); else begin anew, and what it held stays in FILE.old. `failure`: why nothing is written
    any more, if so; the lines written before are whole.
    """

    def __init__(self, path: Path, whole: Callable[[bytes], object], *, resume: bool = False) -> None:
        self.path = unlinked(path, "write the results")
        self.failure: str | None = None
        with trouble("write the results", str(path)):
            self.file = path.open("ab", buffering=0)
        self.regular = not special(self.path)
        try:
            if self.regular:
                self._lock()
                self._mend(whole) if resume else self._renew()
        except BaseException:
            self.file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.file.close()

    def write(self, *lines: str) -> None:
        """Write lines, down to the disk. Doesn't raise: see `failure`."""
        if self.failure is not None or not lines:
            return
        end = os.fstat(self.file.fileno()).st_size
        left = memoryview("".join(f"{line}\n" for line in lines).encode())
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

    def _mend(self, whole: Callable[[bytes], object]) -> None:
        """Cut an unfinished last line off; one that lacks nothing but its end gets it."""
        content = self.path.read_bytes()
        start = content.rfind(b"\n") + 1
        if start == len(content):
            return
        try:
            whole(content[start:])
            self.file.write(b"\n")
        except ValueError:
            self.file.truncate(start)

"""Standard streams: what they show (colours, how many columns), and that one which is closed, full or broken never becomes
another file, and stderr never fails the work."""

from __future__ import annotations

import io
import os
import shutil
import sys

COLUMNS = 100
"""Of a page that is no terminal's."""


def width(output: str = "-") -> int:
    """Columns of a text for `output`: COLUMNS where it is set, else those of the terminal, else 100."""
    given = os.environ.get("COLUMNS", "")
    if output == "-" and _terminal(sys.stdout):
        return shutil.get_terminal_size((COLUMNS, 24)).columns
    return int(given) if given.isascii() and given.isdigit() and int(given) > 0 else COLUMNS


def colored(output: str = "-") -> bool:
    """Whether a text for `output` has colours: on a terminal, or where FORCE_COLOR is set; never where NO_COLOR is."""
    if os.environ.get("NO_COLOR") or output != "-":
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (_terminal(sys.stdout) and os.environ.get("TERM") != "dumb")


def _terminal(stream: object) -> bool:
    return stream is not None and stream.isatty()  # type: ignore[attr-defined]


class _Lossy(io.FileIO):
    """What can't be written to stderr is lost: whatever prints there (user code too) goes on."""

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError:
            return len(memoryview(data).cast("B"))  # type: ignore[arg-type]


def secure() -> None:
    """Give descriptors 0, 1 and 2 to the standard streams where they were closed, for else the next files that are opened would
    have them, and be printed into; a stdout that was closed is one that can't be written. Make stderr lossy."""
    for name, flags in (("stdin", os.O_RDONLY), ("stdout", os.O_RDONLY), ("stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, flags)  # the lowest that is free
            setattr(sys, name, os.fdopen(descriptor, "w" if flags == os.O_WRONLY else "r", closefd=False))
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    raw = _Lossy(sys.stderr.fileno(), "w", closefd=False)
    sys.stderr = io.TextIOWrapper(io.BufferedWriter(raw), encoding, "backslashreplace", line_buffering=True)

"""One tree of errors. An `InputError` is the user's to mend: one clear line, the text, a caret under the culprit."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_WINDOW = 72


class GradcheckToolError(Exception):
    """The root of every error that this package raises on purpose."""


class InputError(GradcheckToolError):
    """Bad input (exit code 2).

    `message` is one line. `text` is what the user typed and `position` the index in it at which the trouble begins; the
    readable form quotes the text, cut to a window around the culprit if it is long, and puts a caret under it.
    """

    def __init__(self, message: str, text: str | None = None, position: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.text = text
        self.position = position

    def __str__(self) -> str:
        if self.text is None:
            return self.message
        line, caret = quote(self.text, self.position)
        return f"{self.message}\n  {line}" + (f"\n  {caret}" if caret else "")


class VerdictError(GradcheckToolError, AssertionError):
    """Raised by `Report.raise_for_verdict()` only: the report is the message."""


class UndecidedWarning(UserWarning):
    """What can't be certified was checked by torch's own gradcheck instead."""


class ImpreciseWarning(UserWarning):
    """A gradient whose formula is right, of which rounding left no digit."""


class NoValue(InputError):
    """The code that is checked raises at a point, or in a dtype; its own words. Where it runs at others, that is no error."""


REFUSALS = (RuntimeError, ValueError, AssertionError, ArithmeticError)
"""What torch, and code, raise for arguments that they don't take; anything else is a slip (a name that isn't there)."""

NO_KERNEL = "not implemented for '"
"""What torch says of a dtype, whatever the point."""


class ToleratedWarning(UserWarning):
    """A gradient that isn't the derivative, within the tolerances that the caller gave."""


def first_line(problem: BaseException) -> str:
    """The first line of what an exception says; its type where it says nothing."""
    lines = str(problem).strip().splitlines()
    return lines[0] if lines else type(problem).__name__


def words(problem: BaseException) -> str:
    """An error of torch, or of the user's code, in one sentence of at most 200 characters."""
    return first_line(problem).split(". ")[0][:200] or type(problem).__name__


def quote(text: str, position: int | None) -> tuple[str, str]:
    """The line of `text` that holds `position`, cut to a window, and the line with the caret (empty without position)."""
    if position is None:
        line = text.splitlines()[0] if text.splitlines() else ""
        return (line if len(line) <= _WINDOW else line[: _WINDOW - 3] + "..."), ""
    position = max(0, min(position, len(text)))
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    line, column = text[start : len(text) if end < 0 else end], position - start
    if len(line) > _WINDOW:
        left = max(0, min(column - _WINDOW // 2, len(line) - _WINDOW))
        cut = line[left : left + _WINDOW]
        prefix = "..." if left else ""
        line, column = prefix + cut + ("..." if left + _WINDOW < len(line) else ""), column - left + len(prefix)
    printable = "".join(c if c.isprintable() else " " for c in line)
    return printable, " " * column + "^"


def nearest(name: str, known: Iterable[str]) -> str:
    """`; nearest: dtype, device`, or all there are."""
    names = sorted(set(known))
    near = difflib.get_close_matches(name.lower(), names, n=2, cutoff=0.6)
    return f"; nearest: {', '.join(near)}" if near else f"; there is {', '.join(names)}"

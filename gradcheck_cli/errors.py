"""One tree of errors. An `InputError` is the user's to mend: one clear line, the text, a caret under the culprit."""

from __future__ import annotations

import difflib
import functools
import math
import os
import re
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import ParamSpec, TypeVar

_WINDOW = 72
_LONGEST = 2_000
"""Characters of a message that are shown."""


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
        self.in_python = False
        """Whether a function of Python was called, not a command: its options are names, without dashes."""

    def __str__(self) -> str:
        return self.said(in_python(self.message) if self.in_python else self.message)

    @property
    def typed(self) -> str:
        """The readable form for who typed a command."""
        return self.said(self.message)

    def said(self, message: str) -> str:
        """The readable form of a message."""
        message = visible(message if len(message) <= _LONGEST else message[: _LONGEST - 3] + "...")
        if self.text is None:
            return message
        line, caret = quote(self.text, self.position)
        return f"{message}\n  {line}" + (f"\n  {caret}" if caret else "")


class InputErrors(InputError):
    """Several, of things that don't depend on each other: each in full, as far as there is room."""

    TOLD = 10

    def __init__(self, problems: Sequence[InputError]) -> None:
        super().__init__(problems[0].message, problems[0].text, problems[0].position)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return self._told([str(problem) for problem in self.problems[: self.TOLD]])

    @property
    def typed(self) -> str:
        return self._told([problem.typed for problem in self.problems[: self.TOLD]])

    def _told(self, texts: list[str]) -> str:
        more = len(self.problems) - self.TOLD
        return "\n".join([*texts, *([f"... and {more:,} more"] if more > 0 else [])])


class MissingExtra(InputError, ImportError):
    """A package that this asks for isn't installed: an extra of ours, which the message names."""


class VerdictError(GradcheckToolError, AssertionError):
    """Raised by `Report.raise_for_verdict()` only: the report is the message."""


class UndecidedWarning(UserWarning):
    """What can't be certified was checked by torch's own gradcheck instead."""


class ImpreciseWarning(UserWarning):
    """A gradient whose formula is right, of which rounding left no digit."""


class Raised(InputError):
    """The code that is checked raises; its own words."""


class NoValue(Raised):
    """It raises at a point, or in a dtype. Where it runs at others, that is no error."""


REFUSALS = (RuntimeError, ValueError, AssertionError, ArithmeticError)
"""What torch, and code, raise for arguments that they don't take; anything else is a slip (a name that isn't there)."""

NO_KERNEL = "not implemented for '"
"""What torch says of a dtype, whatever the point."""


class ToleratedWarning(UserWarning):
    """A gradient that isn't the derivative, within the tolerances that the caller gave."""


TWINS = ("chain", "grad", "mixed", "jacobian", "hessian", "function", "model")
"""Commands whose Python twin is check_NAME."""

_TWIN = rf"gradcheck ({'|'.join(TWINS)})"
_GIVEN = r" --[a-z][a-z-]*(?: [^\s;()-][^\s;()]*)?| [^\s;()-]*[:./=|*A-Z][^\s;()]*[^\s;():.,]"
_COMMANDS = re.compile(rf"gradcheck [a-z]+(?P<given>(?:{_GIVEN})*)")
"""A command in a sentence, with what it is given: `gradcheck function torch.linalg:det --shape A=3,3`."""
_VALUE = r" \w+=[^\s;()]*[^\s;():.,]"
_OPTION = re.compile(rf"(?<![^\s(;'])--(?P<name>[a-z][a-z-]*)(?P<text> (?=\")|{_VALUE}(?: --(?P=name){_VALUE})*)?")
"""An option, and its text where that follows, once or several times."""
_CALLED = {"set": "settings"}
"""What the twins call otherwise."""
_QUOTED = re.compile(f"`{_TWIN}`")
_SAID = re.compile(
    r"(?:(?<=[ (])|(?<=raise )|(?<=under ))--(verbose|timeout|at|format json|formula|reference|surrogate|stop-gradients|strict)"
    r"(?:(?=\s+(?:shows|gives|has all|says|judges|changes|prints|of `)|\))|(?<=raise --timeout)|(?<=under --strict))"
)
_NAMES = {
    "at": "at=...", "verbose": "verbose=True", "format json": "to_dict()", "formula": "formula=...",
    "reference": "reference=...", "surrogate": "surrogate=...", "stop-gradients": "stop_gradients=True",
    "strict": "strict=True",
}  # fmt: skip


def in_python(message: str) -> str:
    """A message in which an option of a command is that of its function, a name without dashes, and a command that nothing is
    given is its function. One with all that it takes stays as it is: it can be run."""
    parts, end = [], 0
    for found in _COMMANDS.finditer(message):
        parts += [_OPTION.sub(_keyword, message[end : found.start()]), found[0] if found["given"] else _twin(found[0])]
        end = found.end()
    return "".join([*parts, _OPTION.sub(_keyword, message[end:])])


def _keyword(found: re.Match[str]) -> str:
    """`stop_gradients`; `wrt="x,y"` where its text follows, `at=["x=1", "x=2"]` of several."""
    name, text = _CALLED.get(found["name"], found["name"].replace("-", "_")), found["text"]
    if text is None:
        return name
    values = [f'"{value}"' for value in text.split() if not value.startswith("--")]
    return f"{name}=" + (f"[{', '.join(values)}]" if len(values) > 1 else "".join(values))


def _twin(command: str) -> str:
    return re.sub(f"^{_TWIN}$", r"check_\1", command)


def report_in_python(text: str) -> str:
    """The same of a whole report or lesson, which holds formulas too: only where it says what an option shows or does."""
    text = _QUOTED.sub(lambda found: f"`check_{found[1]}`", text)
    return _SAID.sub(lambda found: _NAMES.get(found[1], found[1]), text)


def visible(text: str) -> str:
    r"""One line of what can be seen: what can't be (an escape, a line feed, half a character) as `\x1b`."""
    return text if text.isprintable() else "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def seen(text: str) -> str:
    """The same of lines, none of which is one that a CI takes for a command of its own."""
    return inert("\n".join(map(visible, text.split("\n"))))


_COMMAND = re.compile(r"^(\s*)(::|##\[|##vso\[)", re.MULTILINE)


def inert(text: str) -> str:
    """The text, none of whose lines a CI takes for a command of its own (`::error::`, `##[error]`)."""
    return _COMMAND.sub(r"\1| \2", text)


_Given = ParamSpec("_Given")
_Found = TypeVar("_Found")

_ANY_NAME = 0x08
"""Python's flag of a function with **names (`inspect` has it, which is slow to import)."""

PACKAGE = os.path.join(os.path.dirname(__file__), "")
"""Where the code of this package stands."""


def boundary(function: Callable[_Given, _Found]) -> Callable[_Given, _Found]:
    """A function that users call: the errors that it raises on purpose show no frame inside of this package, and of what caused
    them only those of other code (the user's); unless GRADCHECK_TRACEBACK is set. A name that it doesn't take is answered with
    the nearest."""

    code = function.__code__
    own = {*code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]} - {"self"}
    takes_any = bool(code.co_flags & _ANY_NAME)

    @functools.wraps(function)
    def call(*arguments: _Given.args, **given: _Given.kwargs) -> _Found:
        strange = [name for name in given if not takes_any and name not in own]
        if strange:
            unknown = f"unexpected keyword argument {strange[0]!r}{nearest(strange[0], own)}"
            raise TypeError(f"{function.__name__}() got an {unknown}")
        try:
            return function(*arguments, **given)
        except GradcheckToolError as problem:
            if isinstance(problem, InputError):
                problem.in_python = True
            if os.environ.get("GRADCHECK_TRACEBACK"):
                raise
            cause = problem.__cause__
            if cause is not None:
                cause.__traceback__, cause.__cause__, cause.__suppress_context__ = _elsewhere(cause.__traceback__), None, True
            raise problem.with_traceback(None) from (cause if cause is not None and cause.__traceback__ else None)

    return call


def _elsewhere(trace: TracebackType | None) -> TracebackType | None:
    """The frames that aren't of this package."""
    if trace is None:
        return None
    rest = _elsewhere(trace.tb_next)
    if trace.tb_frame.f_code.co_filename.startswith(PACKAGE):
        return rest
    return TracebackType(rest, trace.tb_frame, trace.tb_lasti, trace.tb_lineno)


NO_TEXT = "this is no text: bytes that aren't UTF-8, or half a character"


def half_character(text: str) -> int | None:
    """Where a text holds half a character, as bytes that aren't UTF-8 leave it; None: nowhere."""
    try:
        text.encode()
    except UnicodeEncodeError as problem:
        return problem.start
    return None


def first_line(problem: BaseException) -> str:
    """The first line of what an exception says; its type where it says nothing."""
    lines = str(problem).strip().splitlines()
    return lines[0] if lines else type(problem).__name__


def words(problem: BaseException) -> str:
    """An error of torch, or of the user's code, in one sentence of at most 200 characters."""
    return first_line(problem).split(". ")[0][:200] or type(problem).__name__


RAISED = "the code raises "
"""How a refusal begins that isn't torch's own, but a slip of the code that it runs."""


def refusal_of(problem: BaseException) -> str:
    """What torch says where it doesn't differentiate, or the code that it runs then, with the line of that code."""
    said, kind = words(problem), type(problem).__name__
    slip = (
        ""
        if isinstance(problem, RuntimeError | ValueError | GradcheckToolError)
        else RAISED + (f"{kind}: " if said != kind else "")
    )
    trace, own = problem.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not (file.startswith((PACKAGE, "<")) or _INSTALLED.search(file)):
            own = f" ({os.path.basename(file)}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return f"{slip}{said}{own}"


_INSTALLED = re.compile(r"[\\/](site|dist)-packages[\\/]|[\\/]lib[\\/]python3\.\d+[\\/]\w+\.py$")
"""Files of packages, and of Python itself."""


def refused(refusal: str) -> str:
    """The same in a report, which says whose words these are, and what to do."""
    if refusal.startswith(RAISED):
        return refusal
    return "; ".join((f"torch: {refusal}", *(advice for words, advice in ADVICE.items() if words in refusal)))


ADVICE = {
    "cudnn RNN backward can only be called in training mode": "--train checks the network so; without cuDNN "
    "(torch.backends.cudnn.enabled = False) both modes have a backward",
}
"""What to do, by torch's words of a refusal."""


def quote(text: str, position: int | None) -> tuple[str, str]:
    """The line of `text` that holds `position`, cut to a window, and the line with the caret (empty without position)."""
    if position is None:
        line = text.splitlines()[0] if text.splitlines() else ""
        return _seen(line if len(line) <= _WINDOW else line[: _WINDOW - 3] + "..."), ""
    position = max(0, min(position, len(text)))
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    line, column = text[start : len(text) if end < 0 else end], position - start
    if len(line) > _WINDOW:
        left = max(0, min(column - _WINDOW // 2, len(line) - _WINDOW))
        cut = line[left : left + _WINDOW]
        prefix = "..." if left else ""
        line, column = prefix + cut + ("..." if left + _WINDOW < len(line) else ""), column - left + len(prefix)
    return _seen(line), " " * column + "^"


def _seen(line: str) -> str:
    """The line as long as it was, without what can't be seen, and no command to a CI."""
    return re.sub(r"^(\s*)[:#](?=[:#\[v])", r"\1 ", "".join(c if c.isprintable() else " " for c in line))


def whole(text: str) -> int | None:
    """The whole number that decimal digits write, or one that is too large for anything where there are more than 18 of them;
    None where it isn't one."""
    text = text.strip()
    return None if not text.isdecimal() else int(text) if len(text) <= 18 else HUGE


HUGE = 10**18


def counted(number: float) -> str:
    """A number of things for the reader: 1,234 or about 1e+20."""
    if number < HUGE:
        return f"{int(number):,}"
    return "infinitely many" if number == math.inf else f"about 1e+{int((int(number).bit_length() - 1) * math.log10(2))}"


def nearest(name: str, known: Iterable[str]) -> str:
    """`; nearest: dtype, device`, or all there are."""
    names = sorted(set(known))
    near = difflib.get_close_matches(name.lower()[:60], names, n=2, cutoff=0.6)
    return f"; nearest: {', '.join(near)}" if near else f"; there is {', '.join(names)}"

"""Errors: one readable text, a window of it, and a caret under the culprit."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck_cli.errors import GradcheckToolError, InputError, VerdictError, first_line, quote, report_in_python, words

WINDOW = 72

QUOTES = [
    ("2*x^2", 3, "2*x^2", "   ^"),
    ("2*x", 3, "2*x", "   ^"),
    ("2*x", 99, "2*x", "   ^"),
    ("2*x", -5, "2*x", "^"),
    ("", 0, "", "^"),
    ("a\nbc\nd", 3, "bc", " ^"),
    ("a\nbc\nd", 0, "a", "^"),
    ("a\nbc", 1, "a", " ^"),
    ("a\tb\x1b[31m", 2, "a b [31m", "  ^"),
    ("x" * 72, 71, "x" * 72, " " * 71 + "^"),
    ("x" * 100, 0, "x" * 72 + "...", "^"),
    ("x" * 99 + "!", 99, "..." + "x" * 71 + "!", " " * 74 + "^"),
    ("2*x", None, "2*x", ""),
    ("y\nz", None, "y", ""),
    ("", None, "", ""),
    ("x" * 100, None, "x" * 69 + "...", ""),
]


@pytest.mark.parametrize(("text", "position", "line", "caret"), QUOTES)
def test_quote(text: str, position: int | None, line: str, caret: str) -> None:
    """The line that holds the position, cut to a window, with what isn't printable as spaces."""
    assert quote(text, position) == (line, caret)


@settings(max_examples=300)
@given(st.text(alphabet="abcxyz +*()\n\t^é", max_size=300), st.integers(0, 320))
def test_the_caret_stands_under_the_culprit(text: str, position: int) -> None:
    """Whatever is quoted, the character above the caret is the one at the position, and the line isn't long."""
    line, caret = quote(text, position)
    assert caret == " " * (len(caret) - 1) + "^"
    assert len(line) <= WINDOW + 6
    assert line.isprintable()
    column = len(caret) - 1
    if position < len(text) and text[position] != "\n":
        assert line[column] == (text[position] if text[position].isprintable() else " ")
    else:
        assert column == len(line)


def test_input_errors_quote() -> None:
    """The message, the text and the caret, two spaces in; without a text the message alone."""
    assert str(InputError("no power", "2*x^2", 3)) == "no power\n  2*x^2\n     ^"
    assert str(InputError("no power", "2*x^2")) == "no power\n  2*x^2"
    assert str(InputError("no power")) == "no power"
    error = InputError("no power", "2*x^2", 3)
    assert (error.message, error.text, error.position) == ("no power", "2*x^2", 3)


def test_one_tree() -> None:
    """Everything raised on purpose has one root; a verdict is an AssertionError to test runners, bad input isn't."""
    assert issubclass(InputError, GradcheckToolError)
    assert issubclass(VerdictError, GradcheckToolError)
    assert issubclass(VerdictError, AssertionError)
    assert not issubclass(InputError, AssertionError)


@pytest.mark.parametrize(
    ("problem", "line", "said"),
    [
        (RuntimeError("one. Two.\nthree"), "one. Two.", "one"),
        (RuntimeError("\n  one  \n"), "one", "one"),
        (RuntimeError(), "RuntimeError", "RuntimeError"),
        (ValueError(" \n "), "ValueError", "ValueError"),
        (NotImplementedError(". two"), ". two", "NotImplementedError"),
        (RuntimeError("x" * 300), "x" * 300, "x" * 200),
    ],
)
def test_words(problem: Exception, line: str, said: str) -> None:
    """An exception in one line, and in one sentence; never empty: where it says nothing its type speaks."""
    assert first_line(problem) == line
    assert words(problem) == said


def test_options_are_named_as_the_caller_gives_them() -> None:
    """In Python without dashes, in what was typed nothing is changed; a command shows them as they are typed."""
    problem = InputError("use linspace or --sample (--at x=1); a--b", "x=a --b", 2)
    assert str(problem) == problem.typed
    problem.in_python = True
    assert str(problem).splitlines()[:2] == ["use linspace or sample (at x=1); a--b", "  x=a --b"]
    assert problem.typed.startswith("use linspace or --sample (--at")
    said = report_in_python("y = 1 --x\n... and 3 more rows: --verbose shows all\nstopped after 9 s (--timeout)")
    assert said == "y = 1 --x\n... and 3 more rows: verbose=True shows all\nstopped after 9 s (timeout)"

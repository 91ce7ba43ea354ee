"""Errors: one readable text, a window of it, and a caret under the culprit."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck_cli.errors import (
    TWINS,
    GradcheckToolError,
    InputError,
    VerdictError,
    first_line,
    in_python,
    quote,
    refused,
    report_in_python,
    words,
)
from gradcheck_cli.options import KINDS

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
    assert str(problem).splitlines()[:2] == ['use linspace or sample (at="x=1"); a--b', "  x=a --b"]
    assert problem.typed.startswith("use linspace or --sample (--at")
    said = report_in_python("y = 1 --x\n... and 3 more rows: --verbose shows all\nstopped after 9 s (--timeout)")
    assert said == "y = 1 --x\n... and 3 more rows: verbose=True shows all\nstopped after 9 s (timeout)"


@pytest.mark.parametrize(
    ("typed", "python"),
    [
        ("of more: gradcheck function torch.linalg:det --shape A=3,3", None),
        ("check the code: gradcheck function FILE.py:NAME --stop-gradients", None),
        ("gradcheck grad --order 2 is it; --order is 1", "gradcheck grad --order 2 is it; order is 1"),
        ("a formula, which gradcheck chain checks: FILE.py:NAME", "a formula, which check_chain checks: FILE.py:NAME"),
        ("check it with `gradcheck function` instead", "check it with `check_function` instead"),
        ("see gradcheck functions", None),
        ("such as --set dim=1", 'such as settings="dim=1"'),
        ("one by one: --at x=1,y=2 --at x=2,y=3", 'one by one: at=["x=1,y=2", "x=2,y=3"]'),
        ("--surrogate or --stop-gradients", "surrogate or stop_gradients"),
        ('name entries of it, --wrt "x[0]"', 'name entries of it, wrt="x[0]"'),
    ],
)
def test_a_command_that_is_quoted_stays_one_that_runs(typed: str, python: str | None) -> None:
    """With its dashes; one that nothing is given is named as its function, and other options are keywords."""
    assert in_python(typed) == (python or typed)


@pytest.mark.parametrize(
    ("typed", "python"),
    [
        ("if it is meant, --stop-gradients judges it so", "if it is meant, stop_gradients=True judges it so"),
        ("--surrogate of `gradcheck function` judges it", "--surrogate of `check_function` judges it"),
        (
            "a derivative, --surrogate of `gradcheck function` judges it",
            "a derivative, surrogate=... of `check_function` judges it",
        ),
        ("opaque; --formula says what it ought to be", "opaque; formula=... says what it ought to be"),
        ("not finished in time: raise --timeout", "not finished in time: raise timeout"),
        ("1 imprecise, fails under --strict", "1 imprecise, fails under strict=True"),
        ("y = 1 --at, x --strict", None),
    ],
)
def test_a_report_names_keywords(typed: str, python: str | None) -> None:
    """Where it says what they do; formulas stay."""
    assert report_in_python(typed) == (python or typed)


def test_twins_are_those_of_the_table() -> None:
    """The list in `errors`, which imports nothing, is that of the checks."""
    assert set(TWINS) == set(KINDS)


def test_what_to_do_about_a_refusal_of_torch() -> None:
    """torch's own words stand, with the option of a check that helps; others stand alone."""
    assert refused("cudnn RNN backward can only be called in training mode").startswith("torch: cudnn RNN backward can only be")
    assert "; --train checks the network so" in refused(
        "cudnn RNN backward can only be called in training mode (net.py, line 3)"
    )
    assert refused("derivative for aten::frexp is not implemented") == "torch: derivative for aten::frexp is not implemented"

"""Tables drawn by rich: aligned, folded where they may be, and never cutting a number."""

from __future__ import annotations

import pytest
from rich.text import Text

from gradcheck_cli.output.page import draw, table

HEADINGS = ("name", ">number", "~formula")
ROWS = [("a", "1.0", "x + y"), ("longer", "-12345.678", "sin(x)*cos(x) + exp(x) + 1")]


def test_columns_are_aligned() -> None:
    """Text to the left, numbers to the right, a rule under the headings, no blanks at the ends of lines."""
    assert draw([table(HEADINGS, ROWS)]).split("\n") == [
        "name         number   formula",
        "─" * 48,
        "a               1.0   x + y",
        "longer   -12345.678   sin(x)*cos(x) + exp(x) + 1",
    ]


@pytest.mark.parametrize("width", [1, 20, 40, 45])
def test_a_narrow_page_folds_formulas_only(width: int) -> None:
    """Numbers stay whole however narrow the page is; a formula loses nothing but blanks."""
    lines = draw([table(HEADINGS, ROWS)], width=width).split("\n")
    assert lines[3].startswith("longer   -12345.678   sin(x)")
    assert "".join(line[22:] for line in lines[3:]).replace(" ", "") == "sin(x)*cos(x)+exp(x)+1"
    assert max(map(len, lines)) <= max(width, 38)


def test_a_table_may_be_empty() -> None:
    """Headings stand alone where there are no rows."""
    assert draw([table(HEADINGS, [])]).split("\n")[0] == "name   number   formula"


def test_lines_are_left_alone() -> None:
    """Text outside of tables isn't wrapped, and is no markup."""
    long = "x + " * 200 + "[bold]1[/bold]"
    assert draw([long, Text(long), ""], width=40) == f"{long}\n{long}"


def test_wide_characters_count_twice() -> None:
    """A name in another script doesn't shift the columns."""
    lines = draw([table(("a", ">b"), [("変数", "1"), ("x", "2")])]).split("\n")
    assert lines[2:] == ["変数   1", "x      2"]


def test_colour_is_of_the_text_only() -> None:
    """Escape codes surround what is painted, and appear only where colour is asked for, whatever the environment says."""
    grid = table(("a", "b"), [(Text.assemble(("red", "red")), "x")])
    assert draw([grid], color=True).split("\n")[-1] == "\x1b[31mred\x1b[0m   x"
    assert "\x1b" not in draw([grid])


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("FORCE_COLOR", "1"), ("COLUMNS", "10"), ("TERM", "dumb")])
def test_the_environment_changes_nothing(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller decides on colour and width, not the variables that rich reads."""
    grid = table(HEADINGS, [("a", "1.0", Text.assemble(("x + y", "red")))])
    before = draw([grid]), draw([grid], color=True)
    monkeypatch.setenv(name, value)
    assert (draw([grid]), draw([grid], color=True)) == before

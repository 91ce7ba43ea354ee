"""Tables: aligned, and within so many columns by showing less, then other formulas' places, then a block a row."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.text import Text

from gradcheck_cli.output.page import draw, fitted, wrapped
from gradcheck_cli.output.parts import Cell, Heading, Row, Table, Word, cut, plain
from gradcheck_cli.verdict.verdicts import Verdict

HEADINGS = (Heading("name"), Heading("number", right=True), Heading("formula", formula=True))


def table(*rows: tuple[str, str, str], title: str = "") -> Table:
    made = [Row((plain(a), Cell((Word(b),), b[:4]), plain(c, Verdict.MATCH)), Verdict.MATCH) for a, b, c in rows]
    return Table(title, HEADINGS, tuple(made))


WHOLE = table(("a", "1.0", "x + y"), ("longer", "-12345.678", "sin(x)*cos(x) + exp(x) + 1"))


def shown(made: Table, width: int = 100) -> list[str]:
    return draw(fitted(made, width)).split("\n")


def test_columns_are_aligned() -> None:
    """Text to the left, numbers to the right, a rule under the headings, no blanks at the ends of lines."""
    assert shown(WHOLE) == [
        "name         number   formula",
        "─" * 48,
        "a               1.0   x + y",
        "longer   -12345.678   sin(x)*cos(x) + exp(x) + 1",
    ]


def test_a_narrow_page_shows_less() -> None:
    """Brief numbers; whole formulas under the table, with whole numbers above them if there is room; at last a block a row, in
    which all is whole."""
    assert shown(WHOLE, 44)[3] == "longer    -123  sin(x)*cos(x) + exp(x) + 1"
    under = ["", "formulas:", "  a = x + y", "  longer = sin(x)*cos(x) +", "    exp(x) + 1"]
    assert shown(WHOLE, 30)[3:] == ["longer   -12345.678", *under]
    assert shown(WHOLE, 18)[3] == "longer    -123"
    made = table(("longer", "-12345.678", "sin(x)*cos(x) + exp(x) + 1"))
    assert shown(replace(made, headings=(*HEADINGS[:2], Heading("text"))), 20) == [
        "longer", "  number  -12345.678", "  text    sin(x)*", "          cos(x) +", "          exp(x) + 1",
    ]  # fmt: skip


def test_a_formula_stands_under_a_table_once() -> None:
    """With the names of all that have it; of many formulas the more severe rows' first, and how many are left out is said."""
    made = table(*((f"d{i}", "1.0", "x + " * 9 + "y") for i in range(2)), ("d3", "1.0", "y + " * 9 + "z"))
    lines = shown(made, 50)
    assert lines[6:] == ["formulas:", f"  d0 = d1 = {'x + ' * 9}y", f"  d3 = {'y + ' * 9}z"]
    worse = replace(made, rows=(*made.rows[:2], replace(made.rows[2], verdict=Verdict.MISMATCH)))
    few = draw(fitted(worse, 50, 1)).split("\n")[6:]
    assert few == ["formulas:", f"  d3 = {'y + ' * 9}z", "  ... and 1 more formula: --verbose shows all"]
    many = table(*((f"d{i}", "1.0", "x + " * 9 + "y") for i in range(9)))
    assert draw(fitted(many, 50, 1)).split("\n")[-2:] == [f"  d0 = d1 = d2 = ... = {'x + ' * 6}x +", "    x + x + y"]


def test_what_is_cut_keeps_its_words() -> None:
    """No name is cut; a short text isn't either; and what is cut is no longer than was asked for."""
    assert cut("sin(x) + cos(alpha)", 18) == "sin(x) + ..."
    assert cut("sin(x)*cos(alpha)", 16) == "sin(x)*cos( ..."
    assert (cut("sin(x)", 6), cut("sin(x)", None)) == ("sin(x)", "sin(x)")
    assert all(len(cut("x" * 50 + " + y" * 9, n)) <= n for n in range(8, 90))


@pytest.mark.parametrize("width", range(20, 60))
def test_nothing_is_wider_than_the_page(width: int) -> None:
    """Whatever is in it: long names, wide characters."""
    made = table(("変数" * 30, "1" * 70, "x*" * 50), ("a" * 300, "2", ""), title="t" * 90)
    assert max(map(cell_len, shown(made, width))) <= width


def test_a_table_may_be_empty() -> None:
    """Nothing stands there but its title."""
    assert shown(table(title="nothing")) == ["nothing:"]


def test_what_is_left_out_is_said() -> None:
    """The more severe rows stay, in their order; how many of which verdict don't, and how they are shown."""
    rows = tuple(Row((plain(str(i)),), Verdict.MISMATCH if i in (3, 5) else Verdict.MATCH) for i in range(8))
    made = Table("", HEADINGS[:1], rows).shortened(3)
    assert [row.cells[0].text for row in made.rows] == ["0", "3", "5"]
    assert made.more == "... and 5 more rows (5 match): --verbose shows all"
    assert made.shortened(1).more == "... and 7 more rows (1 mismatch, 6 match): --verbose shows all"


def test_wide_characters_count_twice() -> None:
    """A name in another script doesn't shift the columns."""
    made = Table("", HEADINGS[:2], tuple(Row((plain(a), plain(b)), Verdict.MATCH) for a, b in (("変数", "1"), ("x", "2"))))
    assert shown(made)[2:] == ["変数        1", "x           2"]


def test_lines_break_at_blanks() -> None:
    """Or where they must."""
    assert wrapped("ab cd " * 4, 12, "  ") == ["ab cd ab cd", "  ab cd ab", "  cd"]
    assert wrapped("", 12) == []
    assert max(map(len, wrapped("x" * 100, 12, "    ", "  "))) == 12
    assert wrapped("sin(alpha)*cos(beta)/gamma**2", 16) == ["sin(alpha)*cos(", "beta)/gamma**2"]


def test_brackets_are_no_markup() -> None:
    """Text is no markup of rich's."""
    assert draw([Text("[bold]1[/bold]"), "[red]", ""]) == "[bold]1[/bold]\n[red]"


def test_colour_is_of_the_text_only() -> None:
    """Escape codes surround what is painted, and appear only where colour is asked for, whatever the environment says."""
    lines = fitted(table(("a", "1", "red")), 100)
    assert draw(lines, color=True).split("\n")[-1] == "a           1   \x1b[32mred\x1b[0m"
    assert "\x1b" not in draw(lines)


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("FORCE_COLOR", "1"), ("COLUMNS", "10"), ("TERM", "dumb")])
def test_the_environment_changes_nothing(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller decides on colour and width, not the variables that rich reads."""
    lines = fitted(WHOLE, 100)
    before = draw(lines), draw(lines, color=True)
    monkeypatch.setenv(name, value)
    assert (draw(lines), draw(lines, color=True)) == before

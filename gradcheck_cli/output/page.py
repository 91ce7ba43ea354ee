"""Text and tables for a reader, drawn by rich into a string: colour where it is asked for, and numbers that are never cut."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from io import StringIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from gradcheck_cli.errors import seen, visible
from gradcheck_cli.output.parts import Cell, Heading, Table, Word
from gradcheck_cli.verdict.verdicts import Verdict

WIDTH = 100
"""Columns where nobody says how many there are."""
NARROWEST = 20
"""Columns that there are at least."""
_GAP, _NEAR = 3, 2
"""Blanks between the columns of a table; and where there is little room."""
_SHORTEST = 10
"""Characters of a formula that are worth a column."""
_ENDLESS = 1_000_000
"""Columns of the console: lines are as long as they are."""

STYLES = {
    Verdict.MATCH: "green",
    Verdict.IMPRECISE: "yellow",
    Verdict.NONDIFFERENTIABLE: "yellow",
    Verdict.OUTSIDE_DOMAIN: "dim",
    Verdict.UNDECIDED: "magenta",
    Verdict.MISMATCH: "bold red",
}

Line = str | Text


def painted(words: Iterable[Word]) -> Text:
    """Words, each in the colour of the verdict that it stands for."""
    return Text.assemble(*((visible(w.text), STYLES[w.verdict] if w.verdict is not None else "") for w in words))


def fitted(table: Table, width: int) -> list[Line]:
    """The table in at most so many columns: as it is; with brief numbers, and formulas as long as there is room for; with
    formulas under it; or as records, a block a row."""
    title: list[Line] = [*wrapped(f"{table.title}:", width), ""] if table.title else []
    more: list[Line] = [*wrapped(table.more, width)]
    whole = [[painted(cell.words) for cell in row.cells] for row in table.rows]
    lines = _grid(table.headings, whole, _GAP)
    if not all(_width(line) <= width for line in lines):
        ways = (partial(way, table, width, text) for way in (_brief, _apart) for text in (_short, _shortest))
        lines = next((found for way in ways if (found := way())), []) or _records(table, width)
    return [*title, *(lines if table.rows else ()), *more]


def _short(cell: Cell) -> Text:
    """With fewer digits."""
    return painted(cell.words) if cell.brief is None else Text(visible(cell.brief))


def _shortest(cell: Cell) -> Text:
    """With as few as will do."""
    return _short(cell) if cell.least is None else Text(visible(cell.least))


def _brief(table: Table, width: int, text: Callable[[Cell], Text]) -> list[Line]:
    """The table with less in its cells, and with formulas as long as there is room for; none where it is too wide all the
    same."""
    rows = [[text(cell) for cell in row.cells] for row in table.rows]
    headings = [replace(h, title=h.least) if h.least and text is _shortest else h for h in table.headings]
    formulas = [i for i, heading in enumerate(headings) if heading.formula]
    widths = [max([len(h.title), *(row[i].cell_len for row in rows)]) for i, h in enumerate(headings)]
    fixed = sum(w for i, w in enumerate(widths) if i not in formulas) + _NEAR * (len(widths) - 1)
    room = (width - fixed) // len(formulas) if formulas else 0
    if fixed > width or (formulas and room < _SHORTEST):
        return []
    for row in rows:
        for i in formulas:
            row[i] = Text(_cut(row[i].plain, room))
    return _grid([replace(h, title=_cut(h.title, room)) if h.formula else h for h in headings], rows, _NEAR)


def _apart(table: Table, width: int, text: Callable[[Cell], Text]) -> list[Line]:
    """The table without its formulas, and under it each of them once; none where it is too wide all the same."""
    formulas = [i for i, heading in enumerate(table.headings) if heading.formula]
    if len(formulas) != 1:
        return []
    at = formulas[0]
    rows = tuple(replace(row, cells=row.cells[:at] + row.cells[at + 1 :]) for row in table.rows)
    lines = _brief(replace(table, headings=table.headings[:at] + table.headings[at + 1 :], rows=rows), width, text)
    named = dict.fromkeys((row.cells[0].text, row.cells[at].text) for row in table.rows if row.cells[at].text not in ("", "-"))
    if lines:
        lines += ["", f"{table.headings[at].title}s:"]
        lines += (line for name, formula in named for line in wrapped(f"{name} = {formula}", width, "    ", "  "))
    return lines


def _cut(text: str, width: int) -> str:
    if cell_len(text) <= width:
        return text
    while cell_len(text) > width - 3:
        text = text[:-1]
    return text + "..."


def _grid(headings: Sequence[Heading], rows: Sequence[Sequence[Text]], gap: int) -> list[Line]:
    """A rule under the headings; numbers to the right."""
    titles = [Text(heading.title) for heading in headings]
    widths = [max(cell.cell_len for cell in cells) for cells in zip(titles, *rows, strict=True)]
    rule = "─" * (sum(widths) + gap * (len(widths) - 1))
    return [_line(headings, titles, widths, gap), rule, *(_line(headings, row, widths, gap) for row in rows)]


def _line(headings: Sequence[Heading], cells: Sequence[Text], widths: Sequence[int], gap: int) -> Text:
    line = Text()
    for i, (heading, cell, width) in enumerate(zip(headings, cells, widths, strict=True)):
        blanks = " " * (width - cell.cell_len)
        line.append(" " * gap * bool(i) + blanks * heading.right)
        line.append_text(cell)
        line.append(blanks * (not heading.right))
    line.rstrip()
    return line


def _records(table: Table, width: int) -> list[Line]:
    """A block a row: what its first cell says, and a line for each of the others, indented."""
    lines: list[Line] = []
    names = max(len(heading.title) for heading in table.headings[1:]) if len(table.headings) > 1 else 0
    for row in table.rows:
        lines += wrapped(row.cells[0].text, width, "    ")
        for heading, cell in zip(table.headings[1:], row.cells[1:], strict=True):
            if cell.text in ("", "-"):
                continue
            name = f"  {heading.title:<{names}}  "
            text = Text(name).append_text(painted(cell.words))
            if text.cell_len <= width:
                lines.append(text)
            elif len(name) <= width // 2:
                lines += wrapped(cell.text, width, " " * len(name), name)
            else:
                lines += [name.rstrip()[:width], *wrapped(cell.text, width, "    ", "    ")]
    return lines


def wrapped(text: str, width: int, indent: str = "", first: str = "") -> list[str]:
    """The text in lines of at most so many columns."""
    text = visible(text)
    if cell_len(first + text) <= width:
        return [first + text] if text else []
    wide = width - (cell_len(first + text) - len(first + text))  # characters of two columns
    return textwrap.wrap(
        text, max(wide, NARROWEST // 2), initial_indent=first, subsequent_indent=indent, break_on_hyphens=False
    )  # fmt: skip


def _width(line: Line) -> int:
    return cell_len(line) if isinstance(line, str) else line.cell_len


def draw(items: Iterable[Line], *, color: bool = False, width: int | None = None) -> str:
    """The lines one under the other, without blanks at their ends and without a last newline."""
    page = StringIO()
    console = Console(
        file=page, width=_ENDLESS, force_terminal=color, color_system="standard" if color else None, no_color=not color,
        force_jupyter=False, legacy_windows=False,
    )  # fmt: skip
    for item in items:
        if isinstance(item, str):
            page.write(seen(item) + "\n")
        else:
            console.print(_seen(item), soft_wrap=True)
    return "\n".join(line.rstrip() for line in page.getvalue().split("\n")).rstrip("\n")


def _seen(text: Text) -> Text:
    """The text as it is, or without its styles where it holds what can't be seen, or a command of a CI."""
    shown = seen(text.plain)
    return text if shown == text.plain else Text(shown)

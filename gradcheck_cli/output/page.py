"""Text and tables for a reader, drawn by rich into a string: colour where it is asked for, and numbers that are never cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import StringIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from gradcheck_cli.errors import seen, visible
from gradcheck_cli.output.parts import Cell, Heading, Table, Word
from gradcheck_cli.verdict.verdicts import Verdict

_GAP = 3
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
    """The table in at most so many columns: as it is, with brief numbers and formulas, or as records, a block a row."""
    title: list[Line] = [f"{table.title}:", ""] if table.title else []
    more: list[Line] = [table.more] if table.more else []
    for brief in (False, True):
        lines = _grid(table.headings, [[_shown(cell, brief) for cell in row.cells] for row in table.rows])
        if all(_width(line) <= width for line in lines):
            return [*title, *lines, *more]
    return [*title, *_records(table), *more]


def _shown(cell: Cell, brief: bool) -> Text:
    return Text(visible(cell.brief)) if brief and cell.brief is not None else painted(cell.words)


def _grid(headings: Sequence[Heading], rows: Sequence[Sequence[Text]]) -> list[Line]:
    """A rule under the headings; numbers to the right."""
    titles = [Text(heading.title) for heading in headings]
    widths = [max(cell.cell_len for cell in cells) for cells in zip(titles, *rows, strict=True)]
    rule = "─" * (sum(widths) + _GAP * (len(widths) - 1))
    return [_line(headings, titles, widths), rule, *(_line(headings, row, widths) for row in rows)]


def _line(headings: Sequence[Heading], cells: Sequence[Text], widths: Sequence[int]) -> Text:
    line = Text()
    for i, (heading, cell, width) in enumerate(zip(headings, cells, widths, strict=True)):
        blanks = " " * (width - cell.cell_len)
        gap = " " * _GAP if i else ""
        line.append_text(Text(gap + blanks).append_text(cell) if heading.right else Text(gap).append_text(cell).append(blanks))
    line.rstrip()
    return line


def _records(table: Table) -> list[Line]:
    """`name: value` lines, a block a row."""
    lines: list[Line] = []
    for row in table.rows:
        if lines:
            lines.append("")
        for heading, cell in zip(table.headings, row.cells, strict=True):
            if cell.text:
                lines.append(Text(f"{heading.title}: ").append_text(painted(cell.words)))
    return lines


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

"""Text and tables for a reader, drawn by rich into a string: colour where it is asked for, and numbers that are never cut."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from io import StringIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from gradcheck_cli.errors import seen, visible
from gradcheck_cli.output.parts import Cell, Heading, Table, Word, counted
from gradcheck_cli.verdict.verdicts import Verdict

WIDTH = 100
"""Columns where nobody says how many there are."""
NARROWEST = 20
"""Columns that there are at least."""
_GAP, _NEAR = 3, 2
"""Blanks between the columns of a table; and where there is little room."""
NAMES = 4
"""Names of what has a formula that are listed."""
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


def fitted(table: Table, width: int, most: int | None = None) -> list[Line]:
    """The table in at most so many columns: as it is; with brief numbers; without its formulas, each of which then stands under
    it once, at most so many; or as records, a block a row."""
    title: list[Line] = [*wrapped(f"{table.title}:", width), ""] if table.title else []
    more: list[Line] = [*wrapped(table.more, width)]
    bare = _bare(table)
    ways = [(table, _whole, _GAP), (table, _short, _NEAR)]
    ways += [(bare, _whole, _GAP), (bare, _short, _NEAR), (bare, _shortest, _NEAR)]
    for shown, text, gap in ways:
        lines = _grid(shown, text, gap)
        if all(_width(line) <= width for line in lines):
            under = _formulas(table, width, most) if shown is not table else ()
            return [*title, *(lines if table.rows else ()), *more, *under]
    return [*title, *_records(table, width), *more]


def _whole(cell: Cell) -> Text:
    """As it is."""
    return painted(cell.words)


def _short(cell: Cell) -> Text:
    """With fewer digits."""
    return _whole(cell) if cell.brief is None else Text(visible(cell.brief))


def _shortest(cell: Cell) -> Text:
    """With as few as will do."""
    return _short(cell) if cell.least is None else Text(visible(cell.least))


def _bare(table: Table) -> Table:
    """The table without its formulas."""
    kept = [i for i, heading in enumerate(table.headings) if not heading.formula]
    rows = tuple(replace(row, cells=tuple(row.cells[i] for i in kept)) for row in table.rows)
    return replace(table, headings=tuple(table.headings[i] for i in kept), rows=rows)


def _formulas(table: Table, width: int, most: int | None) -> list[Line]:
    """The formulas of a table, each once, with the names of what has it; those of the more severe rows if not all."""
    lines: list[Line] = []
    for at in (i for i, heading in enumerate(table.headings) if heading.formula):
        rows = [row for row in table.rows if row.cells[at].text not in ("", "-")]
        severe = sorted(rows, key=lambda row: -row.verdict.severity)
        chosen = [*dict.fromkeys(row.cells[at].text for row in severe)]
        left_out = len(chosen[most:]) if most is not None else 0
        lines += ["", f"{table.headings[at].title}s:"] if chosen else []
        for formula in dict.fromkeys(row.cells[at].text for row in rows):
            if formula in chosen[:most]:
                names = dict.fromkeys(row.cells[0].text for row in rows if row.cells[at].text == formula)
                shown = [*names] if most is None or len(names) <= NAMES else [*[*names][: NAMES - 1], "..."]
                lines += wrapped(" = ".join([*shown, formula]), width, "    ", "  ")
        more = f"... and {counted(left_out, 'more formula')}: --verbose shows all"
        lines += wrapped(more, width, "    ", "  ") if left_out else ()
    return lines


def _grid(table: Table, text: Callable[[Cell], Text], gap: int) -> list[Line]:
    """The table in lines, whatever their width: a rule under the headings; numbers to the right."""
    headings = [replace(h, title=h.least) if h.least and text is _shortest else h for h in table.headings]
    rows = [[text(cell) for cell in row.cells] for row in table.rows]
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
    wrapper = _Wrapper(max(wide, NARROWEST // 2), first, indent, break_on_hyphens=False)
    return wrapper.wrap(text)


class _Wrapper(textwrap.TextWrapper):
    """What is longer than a line breaks behind an operator, or a slash, if it has one."""

    def _split(self, text: str) -> list[str]:
        room = self.width - max(len(self.initial_indent), len(self.subsequent_indent))
        words = super()._split(text)
        return [part for word in words for part in (_PARTS.findall(word) if len(word) > room else [word])]


_PARTS = re.compile(r"[^*/,(]*[*/,(]+|[^*/,(]+")


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

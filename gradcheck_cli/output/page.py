"""Text and tables for a reader, drawn by rich into a string: colour where it is asked for, and numbers that are never cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import StringIO

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gradcheck_cli.errors import seen, visible

_GAP = 3
_NARROWEST = 16
_ENDLESS = 1_000_000
"""Columns of the console: lines outside of tables are as long as they are, for the terminal to break."""


class Grid(Table):
    """A rich table that knows how narrow it may get."""

    least = 0


def table(headings: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Grid:
    """A table with a rule under its headings. Cells are plain text (no markup), or rich's.

    A heading that begins with `>` is of a column of numbers, set to the right; one that begins with `~` is of a column that
    is folded where the page is narrow. Rich takes about a third of a millisecond for each row.
    """
    grid = Grid(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="")
    cells = [[Text(visible(cell)) if isinstance(cell, str) else _seen(cell) for cell in row] for row in rows]
    for i, heading in enumerate(headings):
        title, folds = heading.lstrip(">~"), heading.startswith("~")
        justify = "right" if heading.startswith(">") else "left"
        grid.add_column(Text(title), justify=justify, no_wrap=not folds, overflow="fold")  # type: ignore[arg-type]
        widest = max([cell_len(title), *(row[i].cell_len for row in cells)])
        grid.least += min(widest, _NARROWEST) if folds else widest
    grid.least += _GAP * (len(headings) - 1)
    for row in cells:
        grid.add_row(*row)
    return grid


def draw(items: Iterable[str | Text | Grid], *, color: bool = False, width: int | None = None) -> str:
    """The items one under the other, without blanks at the ends of lines and without a last newline.

    Tables are folded to `width` as far as whole numbers allow; None: as wide as they get.
    """
    page = StringIO()
    console = Console(
        file=page, width=_ENDLESS, force_terminal=color, color_system="standard" if color else None, no_color=not color,
        force_jupyter=False, legacy_windows=False,
    )  # fmt: skip
    for item in items:
        if isinstance(item, str):
            page.write(seen(item) + "\n")
        elif isinstance(item, Text):
            console.print(_seen(item), soft_wrap=True)
        else:
            console.print(item, width=None if width is None else max(width, item.least), crop=False)
    return "\n".join(line.rstrip() for line in page.getvalue().split("\n")).rstrip("\n")


def _seen(text: Text) -> Text:
    """The text as it is, or without its styles where it holds what can't be seen, or a command of a CI."""
    shown = seen(text.plain)
    return text if shown == text.plain else Text(shown)

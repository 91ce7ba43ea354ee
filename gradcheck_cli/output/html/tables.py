"""A table of a view as a page shows it: what a cell is sorted by, what a row is filtered by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from gradcheck_cli.output.parts import Cell, Heading, Row, Table
from gradcheck_cli.output.typeset import mathml
from gradcheck_cli.verdict.column import VERDICTS

FILTERED = 8
"""Rows from which on a table can be filtered."""
TYPESET = 400
"""Formulas of a table that are typeset; more would make the page slow to show."""


class Tag(NamedTuple):
    """A text, and the verdict or outcome that it stands for: see `html._LOOKS`."""

    text: str
    look: str | None = None


@dataclass(frozen=True, slots=True)
class SheetCell:
    """`key`: what it is sorted by, None for its text. Either words or, of a formula, `markup`."""

    words: tuple[Tag, ...]
    key: str | None
    markup: Markup | None = None


@dataclass(frozen=True, slots=True)
class SheetRow:
    cells: tuple[SheetCell, ...]
    kinds: str
    """The verdicts that it is shown for."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """`kinds`: the verdicts of its rows, the worst first; `more`: what is left out; `folded`: shown on demand."""

    id: str
    title: str
    headings: tuple[Heading, ...]
    rows: tuple[SheetRow, ...]
    kinds: tuple[str, ...]
    filtered: bool
    more: str
    folded: bool = False


def sheet(table: Table, id: str) -> Sheet:
    """A table of a view, for the template."""
    typeset = sum(h.formula for h in table.headings) * len(table.rows) <= TYPESET
    rows = tuple(_row(row, table.headings, typeset) for row in table.rows)
    found = {kind for row in rows for kind in row.kinds.split()}
    kinds = tuple(v.value for v in reversed(VERDICTS) if v.value in found)
    return Sheet(id, table.title, table.headings, rows, kinds, len(rows) > FILTERED, _more(table), table.folded)


def _row(row: Row, headings: Sequence[Heading], typeset: bool) -> SheetRow:
    verdicts = {word.verdict for cell in row.cells for word in cell.words if word.verdict} or {row.verdict}
    cells = tuple(_cell(cell, heading, row, typeset) for cell, heading in zip(row.cells, headings, strict=True))
    return SheetRow(cells, " ".join(v.value for v in reversed(VERDICTS) if v in verdicts))


def _cell(cell: Cell, heading: Heading, row: Row, typeset: bool) -> SheetCell:
    words = tuple(Tag(word.text, word.verdict) for word in cell.words)
    if any(word.look for word in words):
        return SheetCell(words, str(row.verdict.severity))
    if heading.formula and typeset and cell.text not in ("", "-"):
        return SheetCell((), cell.text, Markup(mathml(cell.text)))
    return SheetCell(words, key(cell.value) if heading.right or cell.value is not None else None)


def key(value: float | None) -> str:
    """A number as JavaScript reads it; empty where there is none, which comes last."""
    if value is None or math.isnan(value):
        return ""
    return repr(value) if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"


def _more(table: Table) -> str:
    listed = [(v, n) for v, n in table.left_out.items() if n]
    if not listed:
        return ""
    total = sum(n for _, n in listed)
    by_verdict = ", ".join(f"{n:,} {v.value}" for v, n in sorted(listed, key=lambda pair: -pair[0].severity))
    return f"{total:,} more row{'s' * (total != 1)} ({by_verdict}) are left out: --format json has all"

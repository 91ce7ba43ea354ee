"""The Report for a reader at a terminal: what is wrong and why, then the tables, within so many columns and lines."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from rich.text import Text

from gradcheck_cli.output.page import STYLES, draw, fitted, painted
from gradcheck_cli.output.parts import Finding, Table
from gradcheck_cli.output.view import View, summary, view
from gradcheck_cli.verdict.report import Report

WIDTH = 100
"""Columns where nobody says how many there are; and of prose at most."""
LINES = 120
"""Lines of a report without --verbose, at most."""

Lines = list[str | Text]


def render(report: Report, *, verbose: bool = False, quiet: bool = False, color: bool = False, width: int | None = None) -> str:
    """The whole report as text, without a last newline.

    `width` in columns (None: 100), which no line exceeds; `quiet` leaves only the last line, the summary; `verbose` shows every
    entry and every formula in full. Without `verbose` it is at most `LINES` lines, and the cost doesn't grow with the entries
    that match.
    """
    if quiet:
        return draw([painted(summary(report))], color=color)
    page = _Page(view(report, verbose=verbose), max(width or WIDTH, 20), None if verbose else LINES)
    return draw(page.lines(), color=color)


class _Page:
    def __init__(self, seen: View, width: int, limit: int | None) -> None:
        self.view, self.width, self.limit = seen, width, limit

    def lines(self) -> Lines:
        found = [*self.head()]
        for finding in self.view.findings:
            found += [*self.finding(finding), ""]
        if self.view.findings_more:
            found += [*self.wrapped(self.view.findings_more), ""]
        for table in self.view.tables:
            found += [*self.table(table), ""]
        for note in self.view.notes:
            found += self.wrapped(f"note: {note}", "  ")
        return [*found, painted(self.view.summary)]

    def head(self) -> Iterator[str]:
        yield from self.wrapped(self.view.title, "  ")
        yield from (f"at {p.text}" for p in self.view.points)
        yield ""

    def wrapped(self, text: str, indent: str = "", first: str = "") -> list[str]:
        return textwrap.wrap(text, self.width, initial_indent=first, subsequent_indent=indent, break_on_hyphens=False)

    def finding(self, finding: Finding) -> Iterator[str | Text]:
        yield Text.assemble((finding.name, STYLES[finding.verdict]), f": {finding.title}")
        for who, number in finding.numbers:
            yield f"  {who:<9} {number}"
        for text in (finding.error, finding.sides, finding.blame, *finding.prose, finding.same):
            if text:
                yield from self.wrapped(text, "  ", "  ")
        for who, formula in finding.formulas:
            yield from self.wrapped(f"{who + ':':<9} {formula}", "    ", "  ")

    def table(self, table: Table) -> Lines:
        return fitted(table, self.width)

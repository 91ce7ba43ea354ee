"""The Report for a reader at a terminal: what is wrong and why, then the tables, within so many columns and lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.style import Style
from rich.text import Text

from gradcheck_cli.errors import visible
from gradcheck_cli.output.page import NARROWEST, STYLES, WIDTH, Line, draw, fitted, painted, wrapped
from gradcheck_cli.output.parts import Finding, Source, Table
from gradcheck_cli.output.view import View, summary, view
from gradcheck_cli.verdict.report import Report

LINES = 120
"""Lines of a report without --verbose, at most."""
HEAD, NOTES = 24, 16
"""Of them, at most: what is checked, and where; notes."""
FORMULAS = 12
"""Formulas under a table without --verbose."""
_REST = "  ... (--verbose shows all of it)"


def render(
    report: Report,
    *,
    verbose: bool = False,
    quiet: bool = False,
    color: bool = False,
    width: int | None = None,
    command: str = "",
) -> str:
    """The whole report as text, without a last newline.

    `width` in columns (None: 100), which no line exceeds; `quiet` leaves only the last line, the summary; `verbose` shows every
    entry and every formula in full. Without `verbose` it has at most `LINES` lines, and the cost doesn't grow with the entries
    that match.
    """
    if quiet:
        return draw([painted(summary(report))], color=color)
    page = _Page(view(report, verbose=verbose), max(width or WIDTH, NARROWEST))
    return draw(page.whole() if verbose else page.bounded(), color=color)


class _Page:
    """A view in so many columns."""

    def __init__(self, seen: View, width: int) -> None:
        self.view, self.width = seen, width

    def whole(self) -> list[Line]:
        """All of it."""
        found = [self.finding(finding) for finding in self.view.findings]
        tables = [fitted(table, self.width) for table in self.view.tables]
        return [*self.head(), "", *_blocks(found), *self.remedies(), *_blocks(tables), *self.notes(), *self.last()]

    def bounded(self) -> list[Line]:
        """The same in at most LINES lines: the findings have what is left by the rest, and half of it at least."""
        head, notes, last = self.first(self.head(), HEAD), self.first(self.notes(), NOTES), self.last()
        remedies = self.remedies()
        room = LINES - len(head) - 1 - len(remedies) - len(notes) - len(last)
        tables = _blocks(self.tables(room // 2))
        found = self.findings(room - len(tables))
        tables = _blocks(self.tables(room - len(found)))
        return [*head, "", *found, *remedies, *tables, *notes, *last]

    # -- the parts -------------------------------------------------------------------------------------------------

    def head(self) -> list[Line]:
        """What is checked, and where."""
        seen = self.view
        lines = [*self.wrapped(seen.title, "  "), *(line for text in seen.declared for line in self.wrapped(text))]
        if seen.count > 1:
            span = f", {seen.span}" if seen.span else ""
            lines += self.wrapped(f"{seen.count:,} points ({seen.run}){span}", "  ")
            texts = [f"{point.name}: {point.text}" for point in seen.points]
            texts = [", ".join(texts)] if all(len(text) <= _SHORT for text in texts) else texts
            lines += (line for text in texts for line in self.wrapped(text, "    ", "  "))
        else:
            where = "".join(f"at {point.text}" for point in seen.points) + (f", where {seen.values}" if seen.values else "")
            run = f"({seen.run})" if seen.run and where else seen.run
            lines += self.wrapped(" ".join(filter(None, (where, run))), "  ")
        return [*lines]

    def remedies(self) -> list[Line]:
        """What to write instead, and an empty line."""
        lines = [line for text in self.view.remedies for line in self.wrapped(f"remedy: {text}", "  ")]
        return [*lines, ""] if lines else []

    def notes(self) -> list[Line]:
        return [line for note in self.view.notes for line in self.wrapped(f"note: {note}", "  ")]

    def last(self) -> list[Line]:
        return [*self.styled(painted(self.view.summary))]

    def findings(self, room: int) -> list[Line]:
        """As many findings as there is room for, and how many are left out."""
        blocks = [self.finding(finding) for finding in self.view.findings]
        for count in range(len(blocks), 0, -1):
            more = self.wrapped(self.view.first_findings(count).findings_more)
            lines = [*_blocks(blocks[:count]), *more, *([""] if more else [])]
            if len(lines) <= room:
                return lines
            if count == 1:
                spare = room - len(more) - bool(more) - 1
                return [*self.first(blocks[0], spare), "", *more, *([""] if more else [])]
        return []

    def tables(self, room: int) -> list[list[Line]]:
        """All tables, each with as many rows as there is room for: what one doesn't need is the others'."""
        whole = [fitted(table, self.width, FORMULAS) for table in self.view.tables]
        order = sorted(range(len(whole)), key=lambda i: len(whole[i]))
        for done, i in enumerate(order):
            share = room // (len(order) - done) - 1
            if len(whole[i]) > share:
                whole[i] = self.shortened(self.view.tables[i], share)
            room -= len(whole[i]) + 1
        return whole

    def shortened(self, table: Table, room: int) -> list[Line]:
        """A table with as many rows as there is room for."""
        fewest, most = 0, len(table.rows)
        while fewest < most:
            count = (fewest + most + 1) // 2
            fits = len(fitted(table.shortened(count), self.width, FORMULAS)) <= room
            fewest, most = (count, most) if fits else (fewest, count - 1)
        return fitted(table.shortened(fewest), self.width, FORMULAS)

    def finding(self, finding: Finding) -> list[Line]:
        """What is wrong: the numbers, what is to blame, and why."""
        title = Text.assemble((finding.name, STYLES[finding.verdict]), f": {visible(finding.title)}")
        lines: list[Line] = [*self.styled(title)]
        for who, number in finding.numbers:
            lines += self.wrapped(f"{who:<9} {number}", "    ", "  ")
        if finding.differs is not None and finding.differs + _NUMBERS < self.width:
            lines.append(" " * (_NUMBERS + finding.differs) + "^")
        texts = [finding.error, finding.sides, finding.blame, *finding.prose]
        lines += self.said(texts, finding.sources)
        for who, formula in finding.formulas:
            lines += self.wrapped(f"{who + ':':<9} {formula}", "    ", "  ")
        more = f"more: {finding.more}" if finding.more else ""
        return [*lines, *self.said([finding.same, finding.sentence, more], finding.sources)]

    def said(self, texts: Iterable[str], sources: Sequence[Source]) -> Iterator[Line]:
        """Sentences, indented; lines of code that they name are links."""
        for text in texts:
            for line in self.wrapped(text, "  ", "  ") if text else ():
                yield _linked(line, sources)

    def first(self, lines: Sequence[Line], count: int) -> list[Line]:
        """At most so many lines, the last of which says that there are more."""
        if len(lines) <= count:
            return [*lines]
        return [*lines[: max(count - 1, 0)], _REST if len(_REST) <= self.width else "  ..."]

    # -- lines -----------------------------------------------------------------------------------------------------

    def wrapped(self, text: str, indent: str = "", first: str = "") -> list[str]:
        """The text in lines that are narrow enough."""
        return wrapped(text, self.width, indent, first)

    def styled(self, text: Text) -> list[Line]:
        """The same of a line in colours, which are lost where it is too long."""
        return [text] if text.cell_len <= self.width else [*self.wrapped(text.plain, "  ")]


_SHORT = 30
"""Characters of points that stand on one line."""
_NUMBERS = 12
"""Columns before the numbers of a finding."""


def _blocks(blocks: Iterable[Sequence[Line]]) -> list[Line]:
    """With an empty line after each."""
    return [line for block in blocks if block for line in (*block, "")]


def _linked(line: str, sources: Sequence[Source]) -> Line:
    """A line in which the lines of code that it names are links, where it is written in colours to a terminal."""
    found = [source for source in sources if source.path is not None and source.text in line]
    if not found:
        return line
    text = Text(line)
    for source in found:
        start = line.index(source.text)
        link = f"{Path(str(source.path)).as_uri()}#{source.line}"
        text.stylize(Style(link=link), start, start + len(source.text))
    return text

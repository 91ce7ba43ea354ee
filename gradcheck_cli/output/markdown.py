"""Markdown: a report, to be pasted into an issue; of a suite a page for a job's summary, the counts, a table of what didn't
pass, and each report folded under it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Any

from gradcheck_cli.output.outcomes import changed, explanation, headline, known, line, location, tally
from gradcheck_cli.suite.execute import FAILED, UNDECIDED

if TYPE_CHECKING:
    from gradcheck_cli.suite.run import Suite
    from gradcheck_cli.verdict.report import Report

ROWS, REPORTS = 200, 20
"""Rows of the table, and findings whose report is shown: GitHub takes a summary of at most 1 MiB."""

_MARKS = {FAILED: "❌", UNDECIDED: "❔"}


def render(report: Report, *, verbose: bool = False, quiet: bool = False, **settings: Any) -> str:
    """What the text shows, without a last newline; `quiet`: its last line alone. Of everything in a file, the text itself."""
    from gradcheck_cli.output.marked import drawn
    from gradcheck_cli.output.view import summary, view
    from gradcheck_cli.verdict.reports import Reports

    if quiet:
        return "".join(word.text for word in summary(report))
    if isinstance(report, Reports):
        from gradcheck_cli.output import renderer

        return "\n".join(fenced(renderer("text", report)(report, verbose=verbose)))
    seen = view(report, verbose=verbose)
    return drawn(seen, seen.tables).rstrip()


def render_suite(suite: Suite, **settings: Any) -> str:
    """The page, without a last newline."""
    return "\n".join(_lines(suite))


def _lines(suite: Suite) -> Iterator[str]:
    yield f"### gradcheck: {tally(suite)}"
    for mended in suite.comparison.mended[:ROWS]:
        yield from ("", f"🎉 mended: {_code(line(mended))}")
    rows = [*((_MARKS[o.status], o) for o in suite.new), *(("known", o) for o in known(suite))]
    if not rows:
        return
    yield from ("", "| | check | where | found |", "|-|-|-|-|")
    for mark, outcome in rows[:ROWS]:
        cells = (line(outcome.name), f"{location(outcome.file)}:{outcome.line}", headline(outcome))
        yield f"| {mark} | {' | '.join(map(_code, cells))} |"
    if len(rows) > ROWS:
        yield from ("", f"... and {len(rows) - ROWS:,} more")
    for outcome in suite.new[:REPORTS]:
        yield from ("", f"<details><summary>{_html(escape(line(outcome.name), quote=False))} {outcome.found}</summary>", "")
        other = changed(suite, outcome)
        yield from ([_code(other), ""] if other is not None else ())
        yield from (*fenced(explanation(outcome)), "", "</details>")


def _code(text: str) -> str:
    """Code as one types it: between more backticks than it holds in a row nothing is markup, a link or a mention, and a bar
    that is escaped ends no cell. What can't be said so is as in HTML, with a reference for each sign."""
    if not text.strip():
        return ""
    if "\\|" in text:
        return _html("".join(c if c.isalnum() or c == " " else f"&#{ord(c)};" for c in text))
    ticks = _ticks(text, 1)
    blank = " " * (text[0] in "` " or text[-1] in "` ")
    return ticks + blank + text.replace("|", "\\|") + blank + ticks


def _html(text: str) -> str:
    return f"<code>{text}</code>"


def fenced(text: str) -> list[str]:
    """A block delimited by more backticks than it holds in a row."""
    ticks = _ticks(text, 3)
    return [f"{ticks}text", text, ticks]


def _ticks(text: str, least: int) -> str:
    return "`" * max(least, 1 + max(map(len, re.findall("`+", text)), default=0))

"""A Markdown page for a job's summary: the counts, a table of what didn't pass, and each report folded under it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gradcheck_cli.output.outcomes import explanation, headline, known, line, location, tally
from gradcheck_cli.suite.execute import FAILED, UNDECIDED

if TYPE_CHECKING:
    from gradcheck_cli.suite.run import Suite

ROWS, REPORTS = 200, 20
"""Rows of the table, and findings whose report is shown: GitHub takes a summary of at most 1 MiB."""

_MARKS = {FAILED: "❌", UNDECIDED: "❔"}


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
        yield from ("", f"<details><summary>{_code(line(outcome.name))} {outcome.found}</summary>", "")
        yield from (*_fenced(explanation(outcome)), "", "</details>")


def _code(text: str) -> str:
    """Code in which nothing is markup, a link or the end of a cell: every sign is a character reference."""
    return f"<code>{re.sub('[^0-9A-Za-z ]', lambda sign: f'&#{ord(sign[0])};', text)}</code>"


def _fenced(text: str) -> list[str]:
    """A block delimited by more backticks than it holds in a row."""
    ticks = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return [f"{ticks}text", text, ticks]

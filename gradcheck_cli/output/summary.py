"""A suite for a reader at a terminal: what isn't a plain match, the worst first, then counts and time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from gradcheck_cli.errors import visible
from gradcheck_cli.output.outcomes import ALONE, KNOWN, MENDED, changed, explanation, headline, line, tally
from gradcheck_cli.output.page import NARROWEST, WIDTH, Line, draw, wrapped
from gradcheck_cli.suite.alone import alone
from gradcheck_cli.suite.execute import FAILED, PASSED, UNDECIDED, Outcome
from gradcheck_cli.suite.run import Suite

SHOWN = 50
"""Outcomes of a kind that are shown without --verbose."""

_STYLES = {FAILED: "bold red", UNDECIDED: "magenta", KNOWN: "yellow", MENDED: "bold green", PASSED: "green"}


def render_suite(
    suite: Suite,
    *,
    verbose: bool = False,
    quiet: bool = False,
    color: bool = False,
    width: int | None = None,
    command: str = "",
) -> str:
    """The text, without a last newline, in at most `width` columns (None: 100), but for reports in full. `quiet` leaves the
    last line; `verbose` shows every report."""
    columns = max(width or WIDTH, NARROWEST)
    items: list[Line] = [] if quiet else list(_items(suite, verbose, columns))
    return draw([*items, *_fitting(_last(suite), columns)], color=color)


def _fitting(text: Text, width: int) -> list[Line]:
    """The text, or lines without its colours where it is too long."""
    return [text] if text.cell_len <= width else [*wrapped(text.plain, width, "  ")]


def _items(suite: Suite, verbose: bool, width: int) -> Iterator[Line]:
    comparison = suite.comparison
    rest = sorted((o for o in suite.outcomes if o.status == PASSED and not o.plain), key=lambda o: o.severity, reverse=True)
    groups = (
        (FAILED, [o for o in suite.new if o.status == FAILED]),
        (UNDECIDED, [o for o in suite.new if o.status == UNDECIDED]),
        (KNOWN, [o for o in suite.outcomes if o.spec_id in comparison.known]),
        (MENDED, [o for o in suite.outcomes if o.spec_id in comparison.mended]),
        (PASSED, [o for o in rest if o.spec_id not in comparison.mended]),
    )
    for word, outcomes in groups:
        yield from _group(suite, word, outcomes, verbose, width)
    yield from (part for note in suite.notes for part in wrapped(f"note: {note}", width, "  "))
    if suite.failure is not None:
        yield from _fitting(Text(suite.failure, style="bold red"), width)


def _group(suite: Suite, word: str, outcomes: Sequence[Outcome], verbose: bool, width: int) -> Iterator[Line]:
    shown = outcomes if verbose else outcomes[:SHOWN]
    for outcome in shown:
        title = f" {visible(outcome.file)}:{outcome.line}: {line(outcome.name, 120)}"
        yield from _fitting(Text.assemble((word, _STYLES[word]), title), width)
        yield from wrapped(headline(outcome), width, "    ", "  ")
        other = changed(suite, outcome)
        yield from wrapped(other, width, "    ", "  ") if other is not None else ()
        command = alone(outcome) if word in (FAILED, UNDECIDED) and not verbose else None
        if command is not None:
            yield f"  {ALONE}{command}"
        if verbose and word in (FAILED, UNDECIDED):
            yield from (f"    {text}".rstrip() for text in explanation(outcome).splitlines())
    if len(shown) < len(outcomes):
        yield f"... {len(outcomes) - len(shown):,} more {word} (--verbose shows all)"
    if outcomes:
        yield ""


def _last(suite: Suite) -> Text:
    """`12 checks: 1 failed, 1 known, 10 passed (2 mended) in 3.4 s`"""
    words = f"{'interrupted: ' if suite.interrupted else ''}{tally(suite)} in {suite.seconds:.1f} s"
    return Text(words, style=_STYLES[{0: PASSED, 3: UNDECIDED}.get(suite.exit_code, FAILED)])

"""Reports on everything in a file: a line for each target, the reports on what didn't pass, and what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from gradcheck_cli.errors import seen, visible
from gradcheck_cli.output import text
from gradcheck_cli.verdict.reports import Reports

NAMED = 10
"""Further targets whose names are listed."""

SHOWN = 3
"""Reports that are shown in full without --verbose, of those that don't pass."""


def render(
    reports: Reports,
    *,
    verbose: bool = False,
    quiet: bool = False,
    color: bool = False,
    width: int | None = None,
    command: str = "",
) -> str:  # fmt: skip
    """The text, without a last newline. `quiet` leaves the last line; `verbose` shows every report in full."""
    settings = {"verbose": verbose, "color": color, "width": width}
    lines = [] if quiet else [*_targets(reports), *_in_full(reports, verbose, **settings), *_left(reports)]
    return "\n".join([*lines, summary(reports)])


def summary(reports: Reports) -> str:
    """`verdict: mismatch (3 targets: 1 mismatch, 2 match; 2 left out)`"""
    counts = Counter(report.verdict for report in reports.reports.values())
    listed = ", ".join(f"{counts[v]} {v.value}" for v in sorted(counts, key=lambda v: v.severity, reverse=True))
    count = len(reports.reports)
    left = f"; {len(reports.left)} left out" if reports.left else ""
    return f"verdict: {reports.verdict.value} ({count} target{'s' * (count != 1)}: {listed}{left})"


def _targets(reports: Reports) -> Iterator[str]:
    yield visible(f"{reports.command}: {reports.problem['file']}")
    yield ""
    widest = max(len(target) for target in reports.reports)
    for target, report in reports.reports.items():
        last = text.render(report, quiet=True).splitlines()[-1].removeprefix("verdict: ")
        yield f"{visible(target):<{widest}}   {last}"
    yield ""


def _in_full(reports: Reports, every: bool, **settings: object) -> Iterator[str]:
    wanted = [(target, report) for target, report in reports.reports.items() if every or not report.ok]
    for target, report in wanted if every else wanted[:SHOWN]:
        yield f"== {visible(target)}"
        yield text.render(report, **settings)  # type: ignore[arg-type]
        yield ""
    if not every and len(wanted) > SHOWN:
        names = ", ".join(visible(target).rpartition(":")[2] for target, _ in wanted[SHOWN:][:NAMED])
        more = ", ..." if len(wanted) > SHOWN + NAMED else ""
        count = len(wanted) - SHOWN
        yield f"... {count} more didn't pass ({names}{more}): gradcheck {reports.command} FILE:NAME shows one, --verbose all"
        yield ""


def _left(reports: Reports) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for name, reason in reports.left.items():
        reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        yield seen(f"left out: {', '.join(names)}: {reason}")

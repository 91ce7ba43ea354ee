"""How a Report shows itself: in Python, at a prompt, in a notebook, as a table of pandas and as a picture. The one module that
`verdict.report` imports from here, when it is asked to.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gradcheck_cli.errors import report_in_python, visible
from gradcheck_cli.output.marked import drawn
from gradcheck_cli.output.parts import Table
from gradcheck_cli.output.view import View, view
from gradcheck_cli.verdict.reports import Reports
from gradcheck_cli.verdict.verdicts import Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from gradcheck_cli.verdict.report import Report

FINDINGS, TABLES, ROWS, POINTS, NOTES = 2, 2, 10, 4, 3
"""What a notebook shows at first, at most."""


def text(report: Report) -> str:
    """All of it, as the command prints it, but for the names of options."""
    from gradcheck_cli.output import renderer

    return report_in_python(renderer("text", report)(report))


def line(report: Report) -> str:
    """`<Report chain: mismatch (nan_trap), 5 checks, 1 mismatch>`"""
    total, counts = sum(report.counts.values()), report.counts
    causes = sorted({d.cause.value for column in report.columns for d in column.details.values() if d.cause})
    because = f" ({', '.join(causes)})" if causes and report.verdict is Verdict.MISMATCH else ""
    rest = [f"{count:,} {name}" for name, count in counts.items() if name != Verdict.MATCH and count != total]
    checks = f"{total:,} check{'s' * (total != 1)}" if total else "nothing was checked"
    return f"<Report {visible(report.command)}: {', '.join([report.verdict.value + because, checks, *rest])}>"


def frame(report: Report) -> DataFrame:
    """A row a check, in the order of `report.checks`."""
    from gradcheck_cli.output.frame import frame, frame_of_several

    return frame_of_several(report.reports) if isinstance(report, Reports) else frame(report)


def figure(report: Report, ax: Any = None) -> Figure:
    """The picture that `--plot` writes."""
    from gradcheck_cli.output import plots

    return plots.figure(report, ax)


def as_html(report: Report) -> str:
    """An element for a notebook: what was found, the worst derivatives, and behind a fold the whole text. It needs no script
    and no style but its own."""
    from gradcheck_cli.output.html import fill

    if isinstance(report, Reports):
        return fill("preformatted.html", text=text(report))
    seen, tables = _short(report)
    return report_in_python(fill("notebook.html", view=seen, tables=tables, whole=text(report)))


def as_markdown(report: Report) -> str:
    """The same, without the whole text."""
    if isinstance(report, Reports):
        from gradcheck_cli.output.markdown import fenced

        return "\n".join(fenced(text(report)))
    return report_in_python(drawn(*_short(report)))


def _short(report: Report) -> tuple[View, list[Table]]:
    """The beginning of a view."""
    seen = view(report)
    tables = [table.shortened(ROWS) for table in seen.tables[:TABLES]]
    return replace(seen.first_findings(FINDINGS), notes=seen.notes[:NOTES], points=seen.points[:POINTS]), tables

"""The page of everything in a file: a line for each target, and under it its report, folded where it passes."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from gradcheck_cli.output.html import fill
from gradcheck_cli.output.html.report import body, titled
from gradcheck_cli.output.several import summary
from gradcheck_cli.verdict.reports import Reports

WHOLE = 50
"""Reports that are shown, the worst first; of the others the verdict alone."""


def render(reports: Reports, *, verbose: bool = False, command: str = "", **settings: Any) -> str:
    """The page, without a last newline. `command`: the line that was typed."""
    ordered = sorted(reports.reports.items(), key=lambda item: item[1].verdict.severity, reverse=True)
    parts = []
    for number, (target, report) in enumerate(ordered, 1):
        shown = number <= WHOLE
        text = Markup(body(report, verbose=verbose, id=f"report-{number}-", level=3)) if shown else Markup("")
        parts.append((f"report-{number}", target, report, text))
    values = {"reports": reports, "parts": parts, "summary": summary(reports), "command": command}
    return titled(f"{reports.verdict.value}: {reports.problem['file']}", fill("several.html", **values))

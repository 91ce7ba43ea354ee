"""The page of a Report: what was found, the graph, each finding with its formulas, tables to sort and to filter."""

from __future__ import annotations

from collections.abc import Sequence

from gradcheck_cli.output.html import document, fill
from gradcheck_cli.output.html.graph import graph
from gradcheck_cli.output.html.pictures import figures, without
from gradcheck_cli.output.html.tables import sheet
from gradcheck_cli.output.parts import Finding
from gradcheck_cli.output.places import Places
from gradcheck_cli.output.view import view
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.verdicts import Verdict

HEADING = 120
"""Characters of what was checked in the page's title."""


def page(report: Report, *, verbose: bool, command: str) -> str:
    """The whole page. `command`: the line that gives this report again, empty where nobody typed one."""
    return titled(f"{report.verdict.value}: {view(report).title}", body(report, verbose=verbose, command=command))


def titled(title: str, body: str) -> str:
    """A page of this title, cut where it is long."""
    return document(title if len(title) <= HEADING else f"{title[:HEADING]}...", body)


def body(report: Report, *, verbose: bool, command: str = "", id: str = "", level: int = 1) -> str:
    """The page's elements. `id`: before the name of each, where several reports stand in one page; `level`: of the highest
    heading."""
    seen = view(report, verbose=verbose, wide=True)
    places = Places(report.columns)
    values = {
        "id": id,
        "level": level,
        "report": report,
        "view": seen,
        "verdict": report.verdict,
        "lead": _lead(report, seen.findings),
        "counts": [(Verdict(name), count) for name, count in report.counts.items()],
        "graph": graph(report, places),
        "findings": [(finding, _marked(finding)) for finding in seen.findings],
        "remedies": [(text, next(r for r in report.remedies if text.startswith(r.text))) for text in seen.remedies],
        "figures": figures(report, f"{id}plot-"),
        "without": without(),
        "tables": [sheet(table, f"{id}table-{i + 1}") for i, table in enumerate(seen.tables)],
        "command": command,
        "subject": report.problem.get("model") or seen.title.partition(": ")[2],
    }
    return fill("report.html", **values)


def _lead(report: Report, findings: Sequence[Finding]) -> str:
    """What the verdict means: of the worst finding its cause."""
    worst = next((f for f in findings if f.verdict is report.verdict), None)
    return (worst.sentence if worst else "") or report.verdict.sentence


def _marked(finding: Finding) -> list[tuple[str, str, str, str]]:
    """The numbers of a finding in three parts: digits that agree, digits that differ, and the exponent."""
    parts = []
    for who, number in finding.numbers:
        place = finding.differs
        if place is None:
            parts.append((who, number, "", ""))
            continue
        digits, e, exponent = number.partition("e")
        parts.append((who, digits[:place], digits[place:], e + exponent))
    return parts

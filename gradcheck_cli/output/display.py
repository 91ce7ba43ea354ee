"""How a Report shows itself: in Python, at a prompt, in a notebook, as a table of pandas and as a picture. The one module that
`verdict.report` imports from here, when it is asked to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gradcheck_cli.errors import report_in_python, visible
from gradcheck_cli.output.parts import Finding, Table
from gradcheck_cli.output.view import View, view
from gradcheck_cli.verdict.reports import Reports
from gradcheck_cli.verdict.verdicts import Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from gradcheck_cli.verdict.report import Report

FINDINGS, TABLES, ROWS, POINTS, NOTES = 2, 2, 10, 4, 3
"""What a notebook shows at first, at most."""

_SIGNS = {
    Verdict.MATCH: "✓",
    Verdict.IMPRECISE: "≈",
    Verdict.NONDIFFERENTIABLE: "∧",
    Verdict.OUTSIDE_DOMAIN: "∅",
    Verdict.UNDECIDED: "?",
    Verdict.MISMATCH: "✗",
}


def text(report: Report) -> str:
    """All of it, as the command prints it, but for the names of options."""
    from gradcheck_cli.output import renderer

    return report_in_python(renderer("text", report)(report))


def line(report: Report) -> str:
    """`<Report chain: mismatch (nan_trap), 5 checks, 1 mismatch>`"""
    total, counts = len(report.checks), report.counts
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
    return report_in_python(markdown(report) if isinstance(report, Reports) else _markdown(*_short(report)))


def markdown(report: Report, *, verbose: bool = False) -> str:
    """What the text shows, as a page of Markdown; of everything in a file the text itself."""
    if isinstance(report, Reports):
        from gradcheck_cli.output import renderer
        from gradcheck_cli.output.markdown import fenced

        return "\n".join(fenced(renderer("text", report)(report, verbose=verbose)))
    seen = view(report, verbose=verbose)
    return _markdown(seen, seen.tables)


def _markdown(seen: View, tables: Iterable[Table]) -> str:
    words = "".join(f"{_SIGNS[w.verdict]} **{_bare(w.text)}**" if w.verdict else _bare(w.text) for w in seen.summary)
    points = [f"{point.name or 'at'}: {_code(point.text)}  " for point in seen.points]
    lines = [words, "", f"{_code(seen.title)}  ", *points, ""]
    for finding in seen.findings:
        lines += _finding(finding)
    lines += [line for text in seen.remedies for line in (f"remedy: {_bare(text)}", "")]
    for table in tables:
        lines += _table(table)
    return "\n".join(lines + [f"note: {_bare(note)}\n" for note in seen.notes]).rstrip() + "\n"


def _short(report: Report) -> tuple[View, list[Table]]:
    """The beginning of a view."""
    seen = view(report)
    tables = [table.shortened(ROWS) for table in seen.tables[:TABLES]]
    return replace(seen.first_findings(FINDINGS), notes=seen.notes[:NOTES], points=seen.points[:POINTS]), tables


def _finding(finding: Finding) -> list[str]:
    numbers = "".join(f"; {who} {_code(number.strip())}" for who, number in finding.numbers)
    texts = [finding.error, finding.blame, *finding.prose, finding.sentence]
    head = f"{_SIGNS[finding.verdict]} **{_bare(finding.name)}** {_code(finding.title)}{numbers}"
    formulas = [f"{_bare(who)}: {_code(formula)}" for who, formula in finding.formulas]
    return [head, "", *(line for words in (*map(_bare, texts), *formulas) if words for line in (words, ""))]


def _table(table: Table) -> list[str]:
    heads = f"| {' | '.join(_bare(heading.title) for heading in table.headings)} |"
    rules = "|" + "".join("--:|" if heading.right else "---|" for heading in table.headings)
    rows = [f"| {' | '.join(_bare(cell.text) for cell in row.cells)} |" for row in table.rows]
    return [*([_bare(table.title), ""] if table.title else []), heads, rules, *rows, ""]


def _bare(words: str) -> str:
    """Text in which Markdown sees nothing of its own."""
    plain = visible(re.sub(r"\s", " ", words))
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#&$~" else c for c in plain)


def _code(words: str) -> str:
    """Text as code, in a table too."""
    plain = visible(" ".join(words.split())).replace("|", "\\|")
    return f"`` {plain} ``" if "`" in plain else f"`{plain}`"

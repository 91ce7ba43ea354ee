"""How a Report shows itself: in Python, at a prompt, in a notebook, as a table of pandas and as a picture. The one module that
`verdict.report` imports from here, when it is asked to.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradcheck_cli.errors import visible
from gradcheck_cli.output.plots.series import relative
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.numbers import decimal
from gradcheck_cli.verdict.verdicts import Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from gradcheck_cli.verdict.report import Report

ROWS = 10
"""Derivatives that a notebook shows at first: the worst."""
NOTES = 3
"""Notes there."""
LONGEST = 200
"""Characters of a formula there."""
DIGITS = 17
"""Digits of an exact value there: as many as a double needs."""

_MARKS = {
    Verdict.MATCH: ("✓", "#2da44e"),
    Verdict.IMPRECISE: ("≈", "#bf8700"),
    Verdict.NONDIFFERENTIABLE: ("∠", "#bf8700"),
    Verdict.OUTSIDE_DOMAIN: ("∅", "#8b949e"),
    Verdict.UNDECIDED: ("?", "#a371f7"),
    Verdict.MISMATCH: ("✗", "#e5534b"),
}
"""A sign and a colour: the sign says it too."""

_STYLE = (
    ".gradcheck-report{font-size:.95em;line-height:1.45}.gradcheck-report table{border-collapse:collapse;margin:.4em 0}"
    ".gradcheck-report th,.gradcheck-report td{text-align:left;padding:.15em .8em .15em 0;border-bottom:1px solid #8884;"
    "font-variant-numeric:tabular-nums}.gradcheck-report pre{overflow-x:auto;white-space:pre}"
)


def text(report: Report) -> str:
    """All of it, as the command prints it."""
    from gradcheck_cli.output.text import render

    return render(report)


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
    from gradcheck_cli.output.frame import frame

    return frame(report)


def figure(report: Report, ax: Any = None) -> Figure:
    """The picture that `--plot` writes."""
    from gradcheck_cli.output import plots

    return plots.figure(report, ax)


def as_html(report: Report) -> str:
    """A fragment: what was found, the worst derivatives, and behind a fold the whole text. It needs no script and no style
    but its own."""
    heads = "".join(f"<th>{name}</th>" for name in _HEADS)
    rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in _cells(row)) + "</tr>" for row in _rows(report))
    body = f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""
    notes = "".join(f"<p>{_escaped(words)}</p>" for words in _words(report))
    return (
        f'<div class="gradcheck-report"><style>{_STYLE}</style><p>{_verdict(report.verdict)} ({_escaped(_summary(report))})<br>'
        f"<code>{_escaped(_title(report))}</code></p>{body}{_more(report)}{notes}"
        f"<details><summary>the whole report</summary><pre>{html.escape(text(report))}</pre></details></div>"
    )


def as_markdown(report: Report) -> str:
    """The same, without the whole text."""
    sign = _MARKS[report.verdict][0]
    lines = [f"{sign} **{report.verdict.value}** ({_summary(report)})", "", _code(_title(report)), ""]
    rows = [
        f"| {_code(r.quantity)} | {_bare(r.where)} | {r.exact} | {r.autograd} | {r.error} | {_MARKS[r.verdict][0]} {r.word} |"
        for r in _rows(report)
    ]
    if rows:
        lines += [f"| {' | '.join(_HEADS)} |", f"|{'---|' * len(_HEADS)}", *rows, ""]
    return "\n".join(lines + [f"{_bare(words)}\n" for words in _words(report)]).rstrip() + "\n"


# -- what both show -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """The worst entry of a column."""

    quantity: str
    where: str
    exact: str
    autograd: str
    error: str
    verdict: Verdict
    word: str


_HEADS = ("derivative", "worst at", "exact", "autograd", "relative error", "verdict")


def _worst_first(report: Report) -> list[Column]:
    """Columns, the more severe first, otherwise as they come."""
    return sorted((c for c in report.columns if len(c)), key=lambda column: -int(column.verdicts.max()))


def _words(report: Report) -> list[str]:
    """What stands under the table."""
    because = _because(report)
    return ([because] if because else []) + [f"note: {note}" for note in report.notes[:NOTES]]


def _rows(report: Report) -> Iterator[_Row]:
    for column in _worst_first(report)[:ROWS]:
        index = column.worst()
        check, error = column.check(index), float(relative(column.pick([index]))[0])
        where = ", ".join(f"{name} = {_short(value)}" for name, value in check.point.items())
        cause = f" ({check.cause.value})" if check.cause else ""
        yield _Row(
            quantity=_name(column, check.quantity),
            where=where,
            exact=decimal(column.exact[index], DIGITS) or "-",
            autograd="none" if check.autograd is None else f"{check.autograd!r}",
            error="-" if math.isnan(error) else f"{error:.1e}" if error else "0",
            verdict=check.verdict,
            word=check.verdict.value + cause,
        )


def _name(column: Column, quantity: str) -> str:
    """What a derivative is called, with its layer, and whether it is a stage's or a layer's own."""
    name = quantity if column.scope.title is None else f"{column.scope.title}: {quantity}"
    return f"{name} by itself" if column.kind == "local" else name


def _because(report: Report) -> str:
    """Why the worst of it isn't a match, in a sentence or two."""
    for column in _worst_first(report)[:1]:
        check = column.check(column.worst())
        if check.verdict is not Verdict.MATCH:
            blame = [f"{what} {name}" for what, name in (("stage", check.stage), ("operation", check.operation)) if name]
            return ". ".join(
                [*([", ".join(blame)] if blame else []), *([check.detail] if check.detail else []), check.sentence]
            )
    return ""


def _short(value: Any) -> str:
    """A number, or the beginning of a list."""
    if isinstance(value, list):
        return f"[{', '.join(_short(v) for v in value[:3])}{', ...' * (len(value) > 3)}]"
    return value if isinstance(value, str) else f"{value:g}"


def _cells(row: _Row) -> Iterator[str]:
    yield f"<code>{_escaped(row.quantity)}</code>"
    yield from (_escaped(cell) for cell in (row.where, row.exact, row.autograd, row.error))
    yield _verdict(row.verdict, row.word)


def _verdict(verdict: Verdict, word: str = "") -> str:
    sign, color = _MARKS[verdict]
    return f'<b><span style="color:{color}">{sign}</span> {_escaped(word or verdict.value)}</b>'


def _summary(report: Report) -> str:
    counts = report.counts
    total = sum(counts.values())
    if not total:
        return "nothing was checked"
    listed = ": " + ", ".join(f"{count:,} {name}" for name, count in counts.items()) if len(counts) > 1 else ""
    return f"{total:,} check{'s' * (total != 1)}{listed}"


def _more(report: Report) -> str:
    left = len([c for c in report.columns if len(c)]) - ROWS
    return f"<p>... and {left:,} more, none worse</p>" if left > 0 else ""


def _title(report: Report) -> str:
    stages = report.problem.get("stages") or []
    what = " | ".join(str(stage.get("expression", "")) for stage in stages) or str(report.problem.get("model", ""))
    return f"{report.command}: {what if len(what) <= LONGEST else what[: LONGEST - 3] + '...'}"


def _escaped(words: str) -> str:
    return html.escape(visible(" ".join(words.split())))


def _bare(words: str) -> str:
    """Text in which Markdown sees nothing of its own."""
    plain = visible(" ".join(words.split()))
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#&$" else c for c in plain)


def _code(words: str) -> str:
    """Text as code, in a table too."""
    plain = visible(" ".join(words.split())).replace("|", "\\|")
    return f"``{plain}``" if "`" in plain else f"`{plain}`"

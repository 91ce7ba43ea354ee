"""What a reader sees of a Report, whatever draws it: each decision about what is shown, and in which words, is made here.

`output.text` draws the view for terminals; other formats draw the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from gradcheck_cli.options import COMPLEX
from gradcheck_cli.output import figures
from gradcheck_cli.output.found import findings, unexamined
from gradcheck_cli.output.parts import Finding, Point, Table, Word, counted, cut
from gradcheck_cli.output.places import Places
from gradcheck_cli.output.rows import tables
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.verdicts import Verdict

FINDINGS = 5
"""Findings shown without --verbose."""
POINTS = 6
"""Points up to which all are shown without --verbose; of more, those that a finding or a table speaks of."""
NAMED = 12
"""Of those, how many."""
STAGES = 8
"""Stages that are shown, and values of them."""
EXPRESSION = 180
WIDE_FINDINGS = 40
"""Findings where there is room."""
REMEDIES = 4
NOTES = 12
"""Notes that are shown without --verbose."""


@dataclass(frozen=True, slots=True)
class View:
    """A whole report. `run`: dtypes and modes. `points`: those that are spoken of, of `count`; `span`: from where to where they
    go, where they are many; `values`: torch's of the stages, where there is one point. `findings_left_out`: how many there are
    besides, and `findings_more` says so. `remedies`: what to write instead, and what the check says of it. `summary`: the last
    line."""

    title: str
    run: str
    count: int
    span: str
    points: tuple[Point, ...]
    values: str
    declared: tuple[str, ...]
    findings: tuple[Finding, ...]
    findings_left_out: int
    remedies: tuple[str, ...]
    tables: tuple[Table, ...]
    notes: tuple[str, ...]
    summary: tuple[Word, ...]

    def first_findings(self, count: int) -> View:
        """With at most so many findings."""
        lost = max(len(self.findings) - count, 0)
        return replace(self, findings=self.findings[:count], findings_left_out=self.findings_left_out + lost)

    @property
    def findings_more(self) -> str:
        """`... and 3 more findings: --verbose shows all`; empty where none is left out."""
        count = self.findings_left_out
        return f"... and {counted(count, 'more finding')}: --verbose shows all" if count else ""


def view(report: Report, *, verbose: bool = False, wide: bool = False) -> View:
    """What is shown. Without `verbose` its size is bounded, and the cost doesn't grow with the entries that match. `wide`: for
    a page to scroll through and to filter: more of it, formulas whole, and the worst entries one by one."""
    places = Places(report.columns)
    found = findings(report, places, verbose, wide)
    shown = found if verbose else found[: WIDE_FINDINGS if wide else FINDINGS]
    listed = tuple(tables(report, places, verbose, wide))
    wrong = not verbose and any(finding.verdict is Verdict.MISMATCH for finding in found)
    return View(
        title=_title(report, verbose),
        run=_run(report),
        count=places.asked,
        span=places.spans() if places.asked > POINTS else "",
        points=_points(places, shown, listed, verbose),
        values=_values(report) if places.asked == 1 else "",
        declared=tuple(report.declared),
        findings=tuple(shown),
        findings_left_out=len(found) - len(shown),
        remedies=_remedies(report, verbose),
        tables=listed,
        notes=tuple(dict.fromkeys(filter(None, (*report.notes, unexamined(report.columns) if wrong else "")))),
        summary=summary(report),
    )


def summary(report: Report) -> tuple[Word, ...]:
    """The last line: the verdict, counts, a nan that passes, and the seed where points were drawn."""
    counts, verdict = report.counts, report.verdict
    total = sum(counts.values())
    listed = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    nans = sum(column.passing_nans for column in report.columns)
    listed += f"; of what passes autograd is nan in {nans:,}" if nans else ""
    rest = f" ({total:,} check{'s' * (total != 1)}: {listed})" if total else " (nothing was checked)"
    if report.exit_code == 1 and verdict is not Verdict.MISMATCH:
        rest += ", fails under --strict"
    seed = report.problem.get("seed")
    return Word("verdict: "), Word(verdict.value, verdict), Word(rest if seed is None else f"{rest}, seed {seed}")


def _remedies(report: Report, verbose: bool) -> tuple[str, ...]:
    """The sentence of each, with the format that it is about where there are several; one that is the same in all is one."""
    several = len({column.dtype for column in report.columns}) > 1
    found: dict[str, list[str]] = {}
    for remedy in report.remedies:
        found.setdefault(remedy.text, []).append(remedy.dtype)
    texts = [f"{text}, in {', '.join(dtypes)}" if several else text for text, dtypes in found.items()]
    return tuple(texts if verbose else texts[:REMEDIES])


def _title(report: Report, verbose: bool) -> str:
    stages = report.problem.get("stages", [])
    texts = [f"{stage['name']} = {' '.join(stage['expression'].split())}" for stage in stages[:STAGES]]
    shown = texts if verbose else [cut(text, EXPRESSION) for text in texts]
    while not verbose and len(" | ".join(shown)) > EXPRESSION and len(shown) > 1:
        shown.pop()
    more = [f"... ({len(stages):,} stages)"] if len(shown) < len(stages) else []
    return f"{report.command}: {' | '.join([*shown, *more])}"


def _run(report: Report) -> str:
    """`float64, reverse`: dtypes and modes, claims apart."""
    columns = [c for c in report.columns if c.claim is None] or report.columns
    found = (dict.fromkeys(c.dtype for c in columns), dict.fromkeys(c.mode for c in columns))
    if _in_parts(columns[:1]):
        found = (dict.fromkeys(whole for whole, part in COMPLEX.items() if part in found[0]), found[1])
    return "; ".join(filter(None, (", ".join(names) for names in found))).replace("; ", ", " if len(found[0]) == 1 else "; ")


def _in_parts(columns: Sequence[Column]) -> bool:
    """Whether some input is complex."""
    return any(name.endswith(".imag") for column in columns if len(column) for name in column.scope.point(0))


def _points(places: Places, found: Sequence[Finding], listed: Sequence[Table], verbose: bool) -> tuple[Point, ...]:
    """All points where they are few, else those that are spoken of."""
    numbers: Iterable[int] = range(len(places))
    if not verbose and len(places) > POINTS:
        rows = [row for t in listed for row in t.rows if row.verdict is not Verdict.MATCH]
        texts = [f.where for f in found] + [cell.text for row in rows for cell in row.cells]
        named = dict.fromkeys(int(match[1]) - 1 for text in texts for match in _NAMED.finditer(text))
        numbers = sorted([number for number in named if number < len(places)][:NAMED])
    return tuple(Point(places.name(n), text) for n in numbers if (text := places.text(n, whole=verbose)))


_NAMED = re.compile(r"\bpoint (\d+)\b")


def _values(report: Report) -> str:
    """Torch's values of the stages, where they are numbers: `z = 2, y = 10`."""
    found: dict[str, float] = {}
    dtype = ""
    for column in report.columns:
        if column.kind == "total" and len(column.wrt) == 1 and column.values is not None and len(column) == 1:
            name = column.wrt[0]
            if name not in column.scope.point(0) and "[" not in name and (dtype or column.dtype) == column.dtype:
                dtype = column.dtype
                found.setdefault(name, float(column.values[0]))
        if len(found) > STAGES:
            return ""
    return figures.point(dict(reversed(found.items())), dtype)

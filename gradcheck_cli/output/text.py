"""The Report for a reader at a terminal: tables from the output back to the input, then what is wrong and why."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.floats import FORMATS, Floats
from gradcheck_cli.report import Check, Column, Report, decimal
from gradcheck_cli.verdict import Cause, Verdict

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

FORMULA_WIDTH = 60
FINDINGS = 5
"""Findings shown without --verbose."""
PROSE_WIDTH = 100
_ENDLESS = 100_000
_NARROWEST = 16

_COLORS = {
    Verdict.MATCH: "green",
    Verdict.IMPRECISE: "yellow",
    Verdict.NONDIFFERENTIABLE: "yellow",
    Verdict.OUTSIDE_DOMAIN: "dim",
    Verdict.UNDECIDED: "magenta",
    Verdict.MISMATCH: "bold red",
}


def render(
    report: Report, *, verbose: bool = False, quiet: bool = False, color: bool = False, width: int | None = None
) -> str:
    """The whole report as text, without a last newline.

    `width` in characters (None: as wide as it gets); `quiet` leaves only the last line, the summary; `verbose` shows
    every entry and every formula in full. Without `verbose` the cost doesn't grow with the entries that match.
    """
    if quiet:
        return _print([_summary(report)], color, width)
    parts: list[Any] = [_title(report)]
    for column_group in _groups(report.columns):
        parts += _tables(column_group, verbose)
    parts += _findings(report, verbose, min(PROSE_WIDTH, (width or PROSE_WIDTH + 2) - 2))
    parts += [f"note: {note}" for note in report.notes]
    parts.append(_summary(report))
    return _print(parts, color, width)


def number(value: float | None, dtype: str = "float64") -> str:
    """The shortest decimal that reads back as the same float of the dtype; a dash for None."""
    if value is None:
        return "-"
    if not math.isfinite(value) or dtype == "float64":
        return repr(float(value))
    if dtype == "float32":
        return str(np.float32(value))
    format = FORMATS[dtype]
    texts = (f"{value:.{digits}g}" for digits in range(1, 17))
    return repr(float(next((t for t in texts if float(format.round(float(t))) == value), repr(value))))


def ulps(error: float | None) -> str:
    """`0.31 ulp`, three digits; a dash where there is none."""
    if error is None or math.isnan(error):
        return "-"
    return f"{error:.3g} ulp" if error < 1e6 or not math.isfinite(error) else f"{error:.2e} ulp"


def point(values: Mapping[str, float], dtype: str) -> str:
    """`x = 1, y = 0.5`"""
    return ", ".join(f"{name} = {number(value, dtype).removesuffix('.0')}" for name, value in values.items())


def _print(parts: Iterable[Any], color: bool, width: int | None) -> str:
    from rich.console import Console
    from rich.table import Table

    buffer = io.StringIO()
    console = Console(
        file=buffer, width=_ENDLESS, force_terminal=color, color_system="standard" if color else None,
        highlight=False, emoji=False, legacy_windows=False,
    )  # fmt: skip
    for part in parts:
        if width is not None and isinstance(part, Table):
            _fit(part, console, width)
        console.print(part, soft_wrap=isinstance(part, str), markup=False)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines())


def _fit(table: Table, console: Console, width: int) -> None:
    """Fold the columns that may be folded until the table is `width` wide; numbers and verdicts are never cut."""
    for column in table.columns:
        excess = console.measure(table).maximum - width
        if not column.no_wrap and excess > 0:
            longest = max(len(str(cell)) for cell in column.cells)
            column.max_width = max(longest - excess, _NARROWEST)


def _title(report: Report) -> str:
    stages = report.problem.get("stages", [])
    shown = " | ".join(f"{stage['name']} = {' '.join(stage['expression'].split())}" for stage in stages[:8])
    more = f" | ... ({len(stages):,} stages)" if len(stages) > 8 else ""
    return f"{report.command}: {_cut(shown, 3 * FORMULA_WIDTH)}{more}"


def _groups(columns: Iterable[Column]) -> list[list[Column]]:
    """Columns by dtype and mode, in order of appearance."""
    groups: dict[tuple[str, str], list[Column]] = {}
    for column in columns:
        groups.setdefault((column.dtype, column.mode), []).append(column)
    return list(groups.values())


# -- tables ------------------------------------------------------------------------------------------------------------


def _tables(columns: list[Column], verbose: bool) -> Iterator[Any]:
    """A heading, the totals, and the stages' own derivatives; with several points a row is a quantity."""
    first = columns[0]
    count = len(first)
    if count == 1:
        where = "at " + point({n: float(v[0]) for n, v in first.points.items()}, first.dtype)
    else:
        where = f"at {count:,} points"
    yield f"{where} ({first.dtype}, {first.mode})"
    yield ""
    table = _single if count == 1 else _many
    totals = [c for c in columns if c.kind == "total"]
    others = [c for c in columns if c.kind != "total"]
    for heading, group in ((None, totals), ("each stage's own derivative:", others)):
        if not group:
            continue
        if heading:
            yield heading
            yield ""
        yield table(group, verbose)
        yield ""
        if verbose and count > 1:
            for column in group:
                yield _every(column)
                yield ""


def _single(columns: list[Column], verbose: bool) -> Table:
    table = _table("derivative", ">value", "exact formula", ">exact", f">{_party(columns[0])}", ">error", "verdict")
    for column in columns:
        check = column.check(0)
        formula = check.formula or "-"
        table.add_row(
            column.quantity, number(check.value, check.dtype), formula if verbose else _cut(formula),
            *_numbers(column, 0, check), _verdict(check.verdict, check.cause),
        )  # fmt: skip
    return table


def _many(columns: list[Column], verbose: bool) -> Table:
    table = _table("derivative", "exact formula", "worst at", ">exact", f">{_party(columns[0])}", ">error", "verdicts")
    for column in columns:
        worst = column.worst()
        check = column.check(worst)
        formula = check.formula or "-"
        table.add_row(
            column.quantity, formula if verbose else _cut(formula), point(check.inputs or check.point, check.dtype),
            *_numbers(column, worst, check), _counts(column),
        )  # fmt: skip
    return table


def _every(column: Column) -> Table:
    table = _table(f"{column.quantity} at", ">exact", f">{_party(column)}", ">error", "verdict")
    for index in range(len(column)):
        check = column.check(index)
        where = point(check.inputs or check.point, check.dtype)
        table.add_row(where, *_numbers(column, index, check), _verdict(check.verdict, check.cause))
    return table


def _party(column: Column) -> str:
    """Whose value is judged: autograd's, or the user's claim."""
    return "autograd" if column.claim is None else "claimed"


def _table(*headings: str) -> Table:
    """An empty table; a heading that begins with > belongs to a column of numbers."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="")
    for heading in headings:
        right = heading.startswith(">")
        foldable = heading in ("exact formula", "worst at")
        table.add_column(
            heading.lstrip(">"), justify="right" if right else "left", no_wrap=not foldable, overflow="fold"
        )
    return table


def _numbers(column: Column, index: int, check: Check) -> tuple[str, str, str]:
    return (
        _exact(column, index, check),
        "none" if check.autograd is None else number(check.autograd, check.dtype),
        ulps(check.error_ulps),
    )


def _exact(column: Column, index: int, check: Check) -> str:
    """The exact value with two digits more than the dtype holds; where there is none, the one-sided ones."""
    value = decimal(column.exact[index], math.ceil(FORMATS[column.dtype].bits * math.log10(2)) + 2)
    if value is not None:
        return value
    if check.verdict is Verdict.OUTSIDE_DOMAIN:
        return "undefined"
    sides = sorted({side for side in (check.left, check.right) if side is not None}, key=float)
    return f"[{', '.join(sides)}]" if len(sides) > 1 else "".join(sides) or "-"


def _verdict(verdict: Verdict, cause: Cause | None) -> Any:
    from rich.text import Text

    return Text(verdict.value + (f" ({cause.value})" if cause else ""), style=_COLORS[verdict])


def _counts(column: Column) -> Any:
    from rich.text import Text

    counts = column.counts()
    found = sorted(counts, key=lambda v: -v.severity)
    return Text(", ").join(Text(f"{counts[v]:,} {v.value}", style=_COLORS[v]) for v in found)


# -- findings ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Finding:
    """Entries of one column with the same verdict, cause and blame: the worst of them, and how many there are."""

    column: Column
    index: int
    count: int

    @property
    def weight(self) -> tuple[int, float]:
        error = float(self.column.error_ulps[self.index])
        return int(self.column.verdicts[self.index]), math.inf if math.isnan(error) else error


def _findings(report: Report, verbose: bool, width: int) -> Iterator[Any]:
    """What is not a match, the worst first: sentence, numbers, formulas."""
    found = [f for column in report.columns for f in _column_findings(column, verbose)]
    found.sort(key=lambda f: f.weight, reverse=True)
    shown = found if verbose else found[:FINDINGS]
    said: set[str] = set()
    for finding in shown:
        yield from _finding(finding, verbose, width, said)
    if len(found) > len(shown):
        yield f"... and {len(found) - len(shown):,} more findings: --verbose shows them"
        yield ""


def _column_findings(column: Column, verbose: bool) -> list[_Finding]:
    """Points outside of the domain are only counted in the tables, unless there is nothing else."""
    ignored = [_code(Verdict.MATCH)]
    if not verbose and not bool(np.all(column.verdicts == _code(Verdict.OUTSIDE_DOMAIN))):
        ignored.append(_code(Verdict.OUTSIDE_DOMAIN))
    entries = np.flatnonzero(~np.isin(column.verdicts, ignored))
    if verbose:
        return [_Finding(column, int(i), 1) for i in entries]
    groups: dict[tuple[object, ...], list[int]] = {}
    for i in entries.tolist():
        detail = column.details.get(i)
        blame = (detail.cause, detail.stage, detail.operation) if detail else ()
        groups.setdefault((int(column.verdicts[i]), *blame), []).append(i)
    return [_Finding(column, _worst(column.error_ulps, members), len(members)) for members in groups.values()]


def _worst(errors: Floats, members: list[int]) -> int:
    """The member with the largest error; the first one where none has any."""
    return members[int(np.argmax(np.nan_to_num(errors[members], nan=-1.0, posinf=np.inf)))]


def _code(verdict: Verdict) -> int:
    return verdict.severity


def _finding(finding: _Finding, verbose: bool, width: int, said: set[str]) -> Iterator[Any]:
    from rich.text import Text

    check = finding.column.check(finding.index)
    title = Text()
    title.append_text(_verdict(check.verdict, check.cause))
    title.append(f": {finding.column.quantity} at {point(check.inputs or check.point, check.dtype)}")
    if finding.count > 1:
        title.append(f", and at {finding.count - 1:,} more points")
    yield title
    for line in _explanation(finding, check, verbose, width, said):
        yield "  " + line
    yield ""


def _explanation(finding: _Finding, check: Check, verbose: bool, width: int, said: set[str]) -> Iterator[str]:
    if check.verdict is not Verdict.OUTSIDE_DOMAIN:
        exact, autograd, error = _numbers(finding.column, finding.index, check)
        yield f"exact {exact}, {_party(finding.column)} {autograd}" + (
            f", off by {error}" if check.error_ulps is not None else ""
        )
    if check.left is not None or check.right is not None:
        yield f"left derivative {check.left or '-'}, right derivative {check.right or '-'}"
    blame = [f"{what} {name}" for what, name in (("stage", check.stage), ("operation", check.operation)) if name]
    if blame:
        yield f"blamed: {', '.join(blame)}"
    if check.detail:
        yield from textwrap.wrap(check.detail, width)
    if check.claim:
        yield from _beside(("exact:", check.formula), ("claimed:", check.claim), verbose=verbose)
    elif check.autograd_formula and (check.cause in (Cause.FORMULA, Cause.CLAIM) or verbose):
        yield from _beside(("exact:", check.formula), ("autograd:", check.autograd_formula), verbose=verbose)
    parts = [
        f"{name} error {value:.3g}"
        for name, value in (("formula", check.formula_error), ("rounding", check.rounding_error))
        if value is not None
    ]
    if parts:
        yield ", ".join(parts) + " (relative)"
    sentence = (check.cause or check.verdict).sentence
    if sentence not in said:
        said.add(sentence)
        yield from textwrap.wrap(sentence, width)


def _beside(*formulas: tuple[str, str | None], verbose: bool) -> Iterator[str]:
    """Formulas one under the other."""
    for label, formula in formulas:
        text = formula or "-"
        yield f"{label:<9} {text if verbose else _cut(text, 3 * FORMULA_WIDTH)}"


def _cut(text: str, width: int = FORMULA_WIDTH) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def _summary(report: Report) -> Any:
    from rich.text import Text

    counts = report.counts
    total = sum(counts.values())
    listed = ", ".join(f"{count:,} {verdict}" for verdict, count in counts.items())
    noun = "check" if total == 1 else "checks"
    text = Text("verdict: ")
    text.append(report.verdict.value, style=_COLORS[report.verdict])
    text.append(f" ({total:,} {noun}: {listed})" if total else " (nothing was checked)")
    if report.strict and report.exit_code == 1 and report.verdict is not Verdict.MISMATCH:
        text.append(", fails under --strict")
    seed = report.problem.get("seed")
    if seed is not None:
        text.append(f", seed {seed}")
    return text

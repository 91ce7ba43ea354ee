"""The Report for a reader at a terminal: tables from the output back to the input, then what is wrong and why."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.text import Text

from gradcheck_cli.floats import FORMATS, Floats
from gradcheck_cli.output.page import Grid, draw, table
from gradcheck_cli.verdict.column import Check, Column
from gradcheck_cli.verdict.entries import NO_DIGIT
from gradcheck_cli.verdict.numbers import decimal
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.verdicts import Cause, Verdict

FORMULA_WIDTH = 60
PROSE_WIDTH = 100
ROWS = 40
"""Rows of a table that are shown without --verbose, besides those that are no match."""
ENTRIES = 8
"""Entries of a list that are shown."""
FINDINGS = 5
"""Findings shown without --verbose."""

_STYLES = {
    Verdict.MATCH: "green",
    Verdict.IMPRECISE: "yellow",
    Verdict.NONDIFFERENTIABLE: "yellow",
    Verdict.OUTSIDE_DOMAIN: "dim",
    Verdict.UNDECIDED: "magenta",
    Verdict.MISMATCH: "bold red",
}

_TWO_FORMULAS = (Cause.FORMULA, Cause.NO_GRADIENT, Cause.CLAIM)
"""Causes that both formulas, one under the other, explain."""

Item = str | Text | Grid


def render(report: Report, *, verbose: bool = False, quiet: bool = False, color: bool = False, width: int | None = None) -> str:
    """The whole report as text, without a last newline.

    `width` in characters (None: as wide as it gets); `quiet` leaves only the last line, the summary; `verbose` shows
    every entry and every formula in full. Without `verbose` the cost doesn't grow with the entries that match.
    """
    page = _Page(report, verbose, width)
    return draw([page.summary()] if quiet else page.items(), color=color, width=width)


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


LEGIBLE = 60
"""Characters of an exact value that are shown: the exponent of what is far beyond every format may have hundreds."""


def ulps(error: float | None) -> str:
    """`0.31 ulp`, three digits; a dash where there is none."""
    if error is None or math.isnan(error):
        return "-"
    return f"{error:.3g} ulp" if error < 1e6 or not math.isfinite(error) else f"{error:.2e} ulp"


def point(values: Mapping[str, Any], dtype: str) -> str:
    """`x = 1, y = [0.5, 2]`"""
    return ", ".join(f"{name} = {_place(value, dtype)}" for name, value in values.items())


def _place(value: Any, dtype: str) -> str:
    """A number, a nested list of them, or the words that stand for a large tensor."""
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)):
        shown = [_place(v, dtype) for v in (value if len(value) <= ENTRIES else value[: ENTRIES - 2])]
        more = [] if len(value) <= ENTRIES else [f"... {len(value):,} in all"]
        return f"[{', '.join(shown + more)}]"
    return number(value, dtype).removesuffix(".0")


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of a column, as the page shows it. `count`: how many entries it stands for."""

    column: Column
    index: int
    check: Check
    count: int = 1

    @classmethod
    def of(cls, column: Column, index: int, count: int = 1) -> _Entry:
        return cls(column, index, column.check(index), count)

    @property
    def where(self) -> str:
        return point(self.check.inputs or self.check.point, self.check.dtype)

    @property
    def exact(self) -> str:
        """The exact value with two digits more than the dtype holds; where there is none, the one-sided ones."""
        value = decimal(self.column.exact[self.index], math.ceil(FORMATS[self.check.dtype].bits * math.log10(2)) + 2)
        if value is not None:
            return value if len(value) <= LEGIBLE else f"{value[:LEGIBLE]}..."
        if self.check.verdict is Verdict.OUTSIDE_DOMAIN:
            return "undefined"
        sides = sorted({side for side in (self.check.left, self.check.right) if side is not None}, key=float)
        return f"[{', '.join(sides)}]" if len(sides) > 1 else "".join(sides) or "-"

    @property
    def judged(self) -> str:
        """Autograd's value, or the claim's."""
        return "none" if self.check.autograd is None else number(self.check.autograd, self.check.dtype)

    @property
    def numbers(self) -> tuple[str, str, str]:
        return self.exact, self.judged, ulps(self.check.error_ulps)

    @property
    def verdict(self) -> str:
        return self.check.verdict.value + (f" ({self.check.cause.value})" if self.check.cause else "")

    @property
    def painted(self) -> Text:
        return _paint(self.verdict, self.check.verdict)

    @property
    def weight(self) -> tuple[int, bool, float]:
        """What comes first: the more severe, of a network what a layer does by itself, then the larger error."""
        error = self.check.error_ulps
        own = self.column.scope.title is not None and self.check.kind == "local"
        return self.check.verdict.severity, own, math.inf if error is None else error


@dataclass(frozen=True, slots=True)
class _Page:
    report: Report
    verbose: bool
    width: int | None

    def items(self) -> Iterator[Item]:
        yield self.title()
        yield from (line for text in self.report.declared for line in self.prose(text))
        for columns in _groups(self.report.columns):
            yield from self.tables(columns)
        yield from self.findings()
        yield from (f"note: {note}" for note in self.report.notes)
        yield self.summary()

    def formula(self, text: str | None, width: int = FORMULA_WIDTH) -> str:
        text = text or "-"
        return text if self.verbose or len(text) <= width else text[: width - 3] + "..."

    def prose(self, text: str) -> list[str]:
        return textwrap.wrap(text, min(PROSE_WIDTH, self.width or PROSE_WIDTH) - 2)

    def title(self) -> str:
        stages = self.report.problem.get("stages", [])
        shown = " | ".join(f"{stage['name']} = {' '.join(stage['expression'].split())}" for stage in stages[:8])
        more = f" | ... ({len(stages):,} stages)" if len(stages) > 8 else ""
        return f"{self.report.command}: {self.formula(shown, 3 * FORMULA_WIDTH)}{more}"

    def summary(self) -> Text:
        """The last line: the verdict, counts, and the seed where points were drawn."""
        counts, verdict = self.report.counts, self.report.verdict
        total = sum(counts.values())
        listed = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        rest = f" ({total:,} check{'s' * (total != 1)}: {listed})" if total else " (nothing was checked)"
        if self.report.exit_code == 1 and verdict is not Verdict.MISMATCH:
            rest += ", fails under --strict"
        seed = self.report.problem.get("seed")
        return Text.assemble("verdict: ", _paint(verdict.value, verdict), rest if seed is None else f"{rest}, seed {seed}")

    # -- tables ----------------------------------------------------------------------------------------------------

    def tables(self, columns: list[Column]) -> Iterator[Item]:
        """A heading, the totals, and the stages' own derivatives; with several points a row is a quantity."""
        first, count = columns[0], 1 if columns[0].scope.single else len(columns[0])
        where = _Entry.of(first, 0).where if count == 1 else f"{count:,} points"
        yield f"at {where} ({first.dtype}, {first.mode})" if where else f"{first.dtype}, {first.mode}"
        yield ""
        totals = [c for c in columns if c.kind == "total"]
        values = [c for c in columns if c.kind == "value"]
        own = [c for c in columns if c.kind == "local"]
        parts: tuple[tuple[list[Item], list[Column]], ...] = (
            (["the function itself:", ""], values),
            ([], totals),
            (["each stage's own derivative:", ""], own),
        )
        for heading, group in parts:
            if group:
                yield from heading
                if group[0].scope.title and not self.verbose:
                    yield from self.titled(group)
                else:
                    yield from self.single(group) if count == 1 else self.many(group)
                yield ""
            applied = [(c, f) for c in group if self.verbose and (f := c.applied)]
            if applied:
                yield table(
                    ("derivative", "~exact formula", "~formula that autograd applies"),
                    [(column.quantity, self.formula(column.formula), self.formula(formula)) for column, formula in applied],
                )
                yield ""
            if self.verbose and count > 1:
                for column in group:
                    yield self.every(column)
                    yield ""

    def single(self, columns: list[Column]) -> Iterator[Item]:
        places = [(column, index) for column in columns for index in range(len(column))]
        shown = self.rows(places)
        entries = [_Entry.of(column, index) for column, index in shown]
        yield table(
            ("derivative", ">value", "~exact formula", ">exact", f">{_party(columns[0])}", ">error", "verdict"),
            [
                (e.check.quantity, number(e.check.value, e.check.dtype), self.formula(e.check.formula), *e.numbers, e.painted)
                for e in entries
            ],
        )
        yield from _left_out(len(places) - len(shown))

    def many(self, columns: list[Column]) -> Iterator[Item]:
        shown = self.rows([(column, column.worst()) for column in columns])
        entries = [_Entry.of(column, index) for column, index in shown]
        yield table(
            ("derivative", "~exact formula", "~worst at", ">exact", f">{_party(columns[0])}", ">error", "verdicts"),
            [(e.check.quantity, self.formula(e.check.formula), e.where, *e.numbers, _counts(e.column)) for e in entries],
        )
        yield from _left_out(len(columns) - len(shown))

    def titled(self, columns: list[Column]) -> Iterator[Item]:
        """A row a layer: its worst entry."""
        shown = self.rows([(column, column.worst()) for column in columns])
        entries = [_Entry.of(column, index) for column, index in shown]
        yield table(
            ("layer", "worst derivative", ">exact", f">{_party(columns[0])}", ">error", "verdicts"),
            [(e.column.scope.title or "-", e.check.quantity, *e.numbers, _counts(e.column)) for e in entries],
        )
        yield from _left_out(len(columns) - len(shown))

    def every(self, column: Column) -> Grid:
        entries = (_Entry.of(column, index) for index in range(len(column)))
        return table(
            (f"{column.quantity} at", ">exact", f">{_party(column)}", ">error", "verdict"),
            ((e.where, *e.numbers, e.painted) for e in entries),
        )

    def rows(self, places: list[tuple[Column, int]]) -> list[tuple[Column, int]]:
        """The entries that are worth a row: the first ones, and all that don't match."""
        if self.verbose:
            return places
        return [(c, i) for n, (c, i) in enumerate(places) if n < ROWS or c.verdict(i) is not Verdict.MATCH]

    # -- findings --------------------------------------------------------------------------------------------------

    def findings(self) -> Iterator[Item]:
        """What is not a match, the worst first: numbers, blame, formulas, sentence (each sentence once)."""
        found = [entry for column in self.report.columns for entry in self.found(column)]
        found.sort(key=lambda entry: entry.weight, reverse=True)
        findings = [[entry] for entry in found] if self.verbose else _once(found)
        shown = findings if self.verbose else findings[:FINDINGS]
        said: set[str] = set()
        for entry, *again in shown:
            more = f", and at {_counted(entry.count - 1, entry.column.scope.unit)}" if entry.count > 1 else ""
            where = f" at {entry.where}" if entry.where else ""
            yield Text.assemble(entry.painted, f": {entry.check.quantity}{where}{more}")
            sentence = entry.check.sentence
            yield from ("  " + line for line in self.explanation(entry))
            yield from ("  " + line for text in _again(entry, again) for line in self.prose(text))
            if sentence not in said and not (entry.check.verdict is Verdict.IMPRECISE and _rest(entry.check)):  # that says why
                yield from ("  " + line for line in self.prose(sentence))
            said.add(sentence)
            yield ""
        if len(findings) > len(shown):
            yield f"... and {_counted(len(findings) - len(shown), 'more finding')}: --verbose shows all"
            yield ""

    def found(self, column: Column) -> list[_Entry]:
        """The entries to explain. Without --verbose those with one verdict, cause and blame are one, the worst of them,
        and points outside of the domain are left to the counts, unless there is nothing else."""
        if not column.verdicts.any():
            return []
        ignored = [Verdict.MATCH.severity]
        if not self.verbose and not bool((column.verdicts == Verdict.OUTSIDE_DOMAIN.severity).all()):
            ignored.append(Verdict.OUTSIDE_DOMAIN.severity)
        indices = np.flatnonzero(~np.isin(column.verdicts, ignored)).tolist()
        if self.verbose:
            return [_Entry.of(column, i) for i in indices]
        groups: dict[tuple[object, ...], list[int]] = {}
        for i in indices:
            detail = column.details.get(i)
            blame = (detail.cause, detail.stage, detail.operation) if detail else ()
            groups.setdefault((int(column.verdicts[i]), *blame), []).append(i)
        return [_Entry.of(column, _worst(column.error_ulps, g), len(g)) for g in groups.values()]

    def explanation(self, entry: _Entry) -> Iterator[str]:
        check, detail = entry.check, _rest(entry.check)
        if detail != (entry.check.detail or ""):
            yield NO_DIGIT
        if check.verdict is not Verdict.OUTSIDE_DOMAIN:
            off = "" if check.error_ulps is None else f", off by {ulps(check.error_ulps)}"
            yield f"exact {entry.exact}, {_party(entry.column)} {entry.judged}{off}"
        if check.left is not None or check.right is not None:
            yield f"left derivative {check.left or '-'}, right derivative {check.right or '-'}"
        blame = [f"{what} {name}" for what, name in (("stage", check.stage), ("operation", check.operation)) if name]
        if blame:
            yield f"blamed: {', '.join(blame)}"
        yield from self.prose(detail)
        other = check.autograd_formula if check.claim is None else _formula_of(check.claim)
        if other and (self.verbose or check.cause in _TWO_FORMULAS):
            for label, formula in (("exact", check.formula), (_party(entry.column), other)):
                if formula:
                    yield f"{label + ':':<9} {self.formula(formula, 3 * FORMULA_WIDTH)}"
        if check.cause is not Cause.NO_GRADIENT:
            yield from _errors(check)


def _rest(check: Check) -> str:
    """The detail without what is said first of it."""
    return (check.detail or "").removeprefix(NO_DIGIT).removeprefix("; ")


def _once(found: Sequence[_Entry]) -> list[list[_Entry]]:
    """The entries by what is found: one finding in several modes, or also seen in a combination of outputs, is one."""
    findings: list[list[_Entry]] = []
    for entry in found:
        known = next((group for group in findings if any(_same(other, entry) for other in group)), None)
        if known is None:
            findings.append([entry])
        else:
            known.append(entry)
    return [sorted(group, key=lambda entry: _combines(entry.column)) for group in findings]


def _same(one: _Entry, other: _Entry) -> bool:
    """Whether two entries show one thing."""
    if _blame(one) != _blame(other):
        return False
    first, second = one.column, other.column
    if first.wrt and second.wrt:
        alike = first.of == second.of or _combines(first) or _combines(second)
        return first.wrt == second.wrt and alike and (first.of, first.mode) != (second.of, second.mode)
    return first.mode != second.mode and first.kind == second.kind == "total" and first.scope.title is None


def _blame(entry: _Entry) -> tuple[object, ...]:
    check = entry.check
    return check.verdict, check.cause, check.stage, check.operation, check.kind, check.dtype, entry.where, entry.column.claim


def _combines(column: Column) -> bool:
    """Whether it is of a combination of the outputs."""
    return column.of.startswith("<")


def _again(entry: _Entry, others: Sequence[_Entry]) -> list[str]:
    """Where the same was found again."""
    listed = []
    for other in others:
        mode = f"in {other.check.mode}" if other.check.mode != entry.check.mode else ""
        name = "" if (other.column.of, other.column.wrt) == (entry.column.of, entry.column.wrt) else other.check.quantity
        listed.append(" ".join(filter(None, (name, mode))))
    return [f"also found: {', '.join(dict.fromkeys(listed))}"] if listed else []


def _errors(check: Check) -> Iterator[str]:
    """The two parts of the error, and what they leave of the digits."""
    formula, rounding = check.formula_error, check.rounding_error
    if formula is None and rounding is None:
        return
    line = [] if formula is None else [f"formula error {formula:.3g}" if formula else "formula: right"]
    if rounding is not None:
        line.append(f"rounding error {rounding:.3g}")
    text = ", ".join(line) + (" (relative)" if formula or rounding is not None else "")
    if formula == 0 and rounding:
        held = FORMATS[check.dtype].bits * math.log10(2)
        text += f": {_short(min(max(0.0, -math.log10(rounding)), held))} of {_short(held)} digits are right"
    yield text


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _counted(count: int, what: str) -> str:
    plural = what.removesuffix("y") + "ies" if what.endswith("y") else what + "s"
    return f"{count:,} {what if count == 1 else plural}"


def _paint(text: str, verdict: Verdict) -> Text:
    return Text.assemble((text, _STYLES[verdict]))  # the blanks behind it keep their colour


def _counts(column: Column) -> Text:
    counts = column.counts()
    found = sorted(counts, key=lambda v: -v.severity)
    return Text(", ").join(_paint(f"{counts[v]:,} {v.value}", v) for v in found)


def _formula_of(claim: str) -> str:
    """A claim without the name before its equals sign."""
    return re.sub(r"^\s*\w+(\[[\d, ]+\])?\s*=(?!=)", "", claim).strip()


def _groups(columns: Iterable[Column]) -> list[list[Column]]:
    """Columns by dtype, mode and (of a function) point, in order of appearance."""
    groups: dict[tuple[str, str, str], list[Column]] = {}
    for column in columns:
        groups.setdefault((column.dtype, column.mode, column.scope.heading()), []).append(column)
    return list(groups.values())


def _party(column: Column) -> str:
    """Whose value is judged: autograd's, or the user's claim."""
    return "autograd" if column.claim is None else "claimed"


def _left_out(count: int) -> list[str]:
    return [f"... and {_counted(count, 'more row')} that match: --verbose shows all"] if count else []


def _worst(errors: Floats, members: list[int]) -> int:
    """The member with the largest error; the first one where none has any."""
    return members[int(np.argmax(np.nan_to_num(errors[members], nan=-1.0, posinf=np.inf)))]

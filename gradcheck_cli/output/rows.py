"""The tables of a view: a row a derivative, an argument or a layer, its worst entry, and how many there are of a verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from gradcheck_cli.output import figures
from gradcheck_cli.output.parts import Cell, Heading, Row, Table, Word, cut, joined, plain, without_blanks
from gradcheck_cli.output.places import Places
from gradcheck_cli.verdict.column import VERDICTS, Check, Column
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.scope import AtPoints, OfTensor
from gradcheck_cli.verdict.verdicts import Verdict

ROWS, WIDE_ROWS = 40, 400
"""Rows of a verdict in a table, without --verbose; and where there is room."""
LAYERS = 8
"""Rows of layers where something is wrong: of more, those in which it is."""
ENTRIES = 2_000
"""Entries that have a row of their own where there is room."""
FORMULA_WIDTH = 180
"""Characters of a formula in a table, or under it, without --verbose."""
NAME_WIDTH = 80
"""The same of a name."""
TITLE_WIDTH = 24
"""Characters of a layer's name and kind up to which both are in a table with hardly any room."""

_KINDS = (("value", "the function itself"), ("total", ""), ("local", "each stage's own derivative"))
"""Kinds of columns that have a table, and what it is called. The broken rules of others are findings only."""


def tables(report: Report, places: Places, verbose: bool, wide: bool = False) -> Iterator[Table]:
    """The function itself, the totals, and what each stage does by itself; of claims by themselves."""
    for kind, title in _KINDS:
        of_kind = [c for c in report.columns if c.kind == kind]
        for claimed in (False, True):
            columns = [c for c in of_kind if (c.claim is not None) == claimed]
            if columns:
                part = _Part(report, columns, places, verbose, wide)
                yield from part.tables("claimed" if claimed else title)
                if wide and not verbose:
                    yield from part.entries()


@dataclass
class _Group:
    """Columns that are one row: the same derivative at several points, or the tensors of a layer."""

    columns: list[Column] = field(default_factory=list)
    only: int | None = None
    """The entry that it is about, if it isn't about all."""
    listed: bool = False
    """Whether it is one of many, under a table that says the rest."""

    @cached_property
    def worst(self) -> tuple[Column, int]:
        """Where to look first."""
        if self.only is not None:
            return self.columns[0], self.only
        entries = [(column, column.worst()) for column in self.columns]
        return max(entries, key=lambda e: (e[0].verdict(e[1]).severity, figures.weight(e[0].error_ulps[e[1]])))

    @property
    def verdict(self) -> Verdict:
        if self.only is not None:
            return self.columns[0].verdict(self.only)
        return VERDICTS[max([int(c.verdicts.max()) for c in self.columns if len(c)], default=0)]

    def runs(self, part: int) -> set[str]:
        """The dtypes (0), or modes (1), that it is about."""
        return {(c.dtype, c.mode)[part] for c in self.columns}

    @property
    def counts(self) -> Counter[Verdict]:
        """Of all its entries, those of large tensors that aren't listed too."""
        if self.only is not None:
            return Counter([self.verdict])
        found: Counter[Verdict] = Counter()
        for column in self.columns:
            found.update(column.counts())
            if isinstance(column.scope, OfTensor):
                found.update(column.scope.unlisted)
        return found


class _Part:
    """The tables of some columns."""

    def __init__(self, report: Report, columns: Sequence[Column], places: Places, verbose: bool, wide: bool) -> None:
        self.report, self.columns, self.places, self.verbose, self.wide = report, columns, places, verbose, wide
        self.rows = None if verbose else WIDE_ROWS if wide else ROWS
        self.dtypes, self.modes = ({getattr(c, name) for c in columns} for name in ("dtype", "mode"))
        self.party = figures.party(columns[0])

    def tables(self, title: str) -> Iterator[Table]:
        groups = self.groups()
        if groups:
            table = self.table(title, groups, self.rows)
            brief = not (self.verbose or self.wide) and any(map(_titled, groups))
            yield _failing(table) if brief and self.report.verdict is Verdict.MISMATCH else table
        if not self.verbose:
            return
        applied = [(column, formula) for column in self.columns if (formula := column.applied)]
        if applied:
            headings = (Heading("derivative"), Heading("exact formula"), Heading("formula that autograd applies"))
            rows = [
                Row((plain(c.quantity), plain(c.formula or "-"), plain(formula)), c.verdict(c.worst()))
                for c, formula in applied
            ]
            yield Table("", headings, tuple(rows))
        for column in self.columns:
            if isinstance(column.scope, AtPoints) and len(column) > 1:
                yield self.table(column.quantity, [_Group([column], index) for index in range(len(column))], None)

    def entries(self) -> Iterator[Table]:
        """What the rows stand for, one by one, as far as they stand for several: the worst of it, in its order."""
        several = [column for column in self.columns if len(column) > 1 and not self.entrywise(column)]
        if not several:
            return
        severity = np.concatenate([column.verdicts for column in several])
        chosen = np.sort(np.argsort(-severity.astype(np.int64), kind="stable")[:ENTRIES])
        ends = np.cumsum([len(column) for column in several])
        which = np.searchsorted(ends, chosen, side="right")
        shown = [_Group([several[w]], int(i - ends[w] + len(several[w])), True) for i, w in zip(chosen, which, strict=True)]
        lost = Counter(severity.tolist())
        lost.subtract(Counter(severity[chosen].tolist()))
        title = "each of them, one by one" if len(chosen) == len(severity) else f"the {len(chosen):,} worst, one by one"
        table = self.table(title, shown, None)
        yield replace(table, left_out={VERDICTS[v]: n for v, n in lost.items() if n}, folded=True)

    def groups(self) -> list[_Group]:
        """The rows, those of one derivative one under the other: of each dtype and mode; without --verbose modes that lead
        to the same counts are one row, and where there are too many, all dtypes and modes."""
        found: dict[str, dict[object, _Group]] = {}
        for column in self.columns:
            title = column.scope.title
            rows = found.setdefault(column.quantity if title is None else title, {})
            if self.entrywise(column):
                rows |= {(id(column), i): _Group([column], i) for i in range(len(column))}
            else:
                rows.setdefault((column.dtype, column.mode), _Group()).columns.append(column)
        lists = [[group for group in rows.values() if any(map(len, group.columns))] for rows in found.values()]
        if self.rows is not None and len(self.modes) > 1:
            lists = [_by_dtype(groups) for groups in lists]
        if self.rows is not None and sum(map(len, lists)) > self.rows:
            lists = [_united(groups) for groups in lists]
        return [group for groups in lists for group in groups]

    def entrywise(self, column: Column) -> bool:
        """Whether each entry of a column has a row."""
        if isinstance(column.scope, AtPoints):
            return False
        return self.verbose or (self.report.command == "model" and column.scope.title is None)

    def table(self, title: str, groups: Sequence[_Group], limit: int | None) -> Table:
        shown, left_out = _first(groups, limit)
        several = self.places.asked > 1
        single = all(sum(g.counts.values()) == 1 for g in shown)
        headings = (
            Heading("layer"),
            Heading("worst derivative", least="worst") if any(map(_titled, shown)) else Heading("derivative"),
            Heading("shape"),
            Heading("exact formula", formula=True),
            Heading("at" if single else "worst at"),
            Heading("worst dtype" if any(len(g.runs(0)) > 1 for g in shown) else "dtype"),
            Heading("mode"),
            Heading("exact", right=True),
            Heading(self.party, right=True),
            Heading("error", right=True),
            Heading("verdict" if single else "verdicts"),
        )
        rows = [Row(self.cells(group, several), group.verdict) for group in shown]
        kept, cut = without_blanks(headings, rows)
        return Table(title, kept, cut, left_out)

    def cells(self, group: _Group, several: bool) -> tuple[Cell, ...]:
        column, index = group.worst
        check, ball, title = column.check(index), column.exact[index], column.scope.title
        tensor = isinstance(column.scope, OfTensor) and title is None and group.only is None
        shape = column.scope.shape if tensor and isinstance(column.scope, OfTensor) else ()
        entry = check.quantity.removeprefix(column.quantity) if shape else ""
        number = self.places.of(column, index)
        written = group.listed and self.places.pointwise(column)
        point = self.places.text(number) if written else self.places.name(number) if several else ""
        at = self.places.value(number) if written else None
        exact, judged = figures.exact(check, ball), figures.judged(check)
        return (
            replace(self.name(title or ""), least=_alone(title)),
            replace(self.name(column.quantity if tensor and shape else check.quantity), least=_within(check, title)),
            plain("x".join(map(str, shape))),
            self.formula(check.formula if not (shape or group.listed) else None),
            Cell((Word(", ".join(filter(None, (entry, point)))),), None, at),
            plain(column.dtype if len(self.dtypes) > 1 else ""),
            plain(self.mode(group) if len(self.modes) > 1 else ""),
            Cell((Word(exact),), figures.brief(exact), figures.value(ball), figures.brief(exact, figures.LEAST)),
            Cell((Word(judged),), figures.brief(judged), check.autograd, figures.brief(judged, figures.LEAST)),
            Cell((Word(figures.error(check, ball)),), None, check.error_ulps),
            _verdicts(group, check),
        )

    def mode(self, group: _Group) -> str:
        """Of the worst entry; of all, where their counts are the same."""
        modes = group.runs(1)
        return group.worst[0].mode if len(group.runs(0)) > 1 or len(modes) == 1 else f"all {len(modes)}"

    def name(self, text: str) -> Cell:
        """A name, cut where it is long."""
        return plain(text if self.verbose else cut(text, NAME_WIDTH))

    def formula(self, text: str | None) -> Cell:
        """A formula, cut where it is long."""
        return plain((text or "-") if self.verbose or self.wide else cut(text or "-", FORMULA_WIDTH))


def _failing(table: Table) -> Table:
    """A table of layers beside what is wrong: of many rows those in which it is, as far as there is room."""
    wrong = sum(row.verdict is Verdict.MISMATCH for row in table.rows)
    return table if len(table.rows) <= LAYERS else table.shortened(min(max(wrong, 1), LAYERS))


def _by_dtype(groups: Sequence[_Group]) -> list[_Group]:
    """The rows of one derivative; those of one dtype as one, if their counts are the same."""
    found: dict[str, list[_Group]] = {}
    for group in groups:
        found.setdefault(group.columns[0].dtype if group.only is None else "", []).append(group)
    return [g for name, some in found.items() for g in (_united(some) if name and _alike(some) else some)]


def _alike(groups: Sequence[_Group]) -> bool:
    return all(group.counts == groups[0].counts for group in groups)


def _united(groups: Sequence[_Group]) -> list[_Group]:
    """The rows of one derivative as one."""
    whole = [column for group in groups if group.only is None for column in group.columns]
    return [*([_Group(whole)] if whole else []), *(group for group in groups if group.only is not None)]


def _titled(group: _Group) -> bool:
    return group.columns[0].scope.title is not None


def _alone(title: str | None) -> str | None:
    """A long layer's name without its kind."""
    return None if title is None or len(title) <= TITLE_WIDTH else title.partition(" ")[0]


def _within(check: Check, layer: str | None) -> str | None:
    """`by weight[0,1]`: a derivative beside its layer's name; `at [0,1]` beside that of the parameter itself."""
    if layer is None or len(check.wrt) != 1:
        return None
    name = layer.partition(" ")[0]
    if check.wrt[0].startswith(f"{name}["):
        return f"at {check.wrt[0].removeprefix(name)}"
    of = f"{check.of} " if check.of == f"<v,{name}>" and not check.wrt[0].startswith(f"{name}.") else ""
    return f"{of}by {check.wrt[0].removeprefix(f'{name}.')}"


def _verdicts(group: _Group, check: Check) -> Cell:
    """The verdict of the only entry, with its cause; else how many there are of each, the worst first."""
    counts = group.counts
    total = sum(counts.values())
    if total == 1:
        return plain(figures.named(check), check.verdict)
    found = sorted(counts, key=lambda v: -v.severity)
    words = joined(Word(f"{counts[v]:,} {v.value}", v) for v in found)
    return Cell(words, least=f"{counts[found[0]]:,} {found[0].value} of {total:,}" if len(found) > 1 else None)


def _first(groups: Sequence[_Group], limit: int | None) -> tuple[list[_Group], Counter[Verdict]]:
    """The first rows of each verdict, and how many are left out."""
    seen: Counter[Verdict] = Counter()
    shown = []
    for group in groups:
        verdict = group.verdict
        seen[verdict] += 1
        if limit is None or seen[verdict] <= limit:
            shown.append(group)
    left_out = Counter({v: n - limit for v, n in seen.items() if n > limit}) if limit is not None else Counter()
    return shown, left_out

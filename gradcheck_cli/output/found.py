"""The findings of a view: what is not a match, the worst first, each once, with where else the same was found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from gradcheck_cli.output import figures
from gradcheck_cli.output.parts import Finding, counted, cut
from gradcheck_cli.output.places import Places
from gradcheck_cli.output.sources import named_in, spelled
from gradcheck_cli.verdict.column import NUMBERS, UNEXAMINED, Check, Column
from gradcheck_cli.verdict.entries import NO_DIGIT
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.truth import sides_of
from gradcheck_cli.verdict.verdicts import Cause, Verdict

FORMULA_WIDTH = 180
"""Characters of a formula in a finding, without --verbose."""
LONGEST = 600
"""Characters of a text in a finding, without --verbose."""
NAMES = 4
"""Names of derivatives, or of stages, that are listed."""

_TWO_FORMULAS = (Cause.FORMULA, Cause.NO_GRADIENT, Cause.CLAIM)
"""Causes that both formulas, one under the other, explain."""
_RULE = re.compile(r"the \w+ of [^;()]+ \([^()\s,]+, line \d+\)")
"""The rule of a custom Function that is wrong, as details name it."""
_ITSELF = re.compile(rf"({_RULE.pattern}) is wrong by itself: ")
"""The same before its slip."""


@dataclass(eq=False)
class _Group:
    """Entries that show one thing: columns, and which entries of each."""

    members: list[tuple[Column, list[int]]] = field(default_factory=list)

    @cached_property
    def chosen(self) -> tuple[Column, int]:
        """The entry that stands for all: of what a layer does by itself if it can be, of a single output rather than of a
        combination, and then the one with the largest error; of claims, which are read in their order, the first."""
        entries = [(column, _worst(column, indices)) for column, indices in self.members]
        return max(entries, key=lambda e: (_own(e[0]), not _combines(e[0]), _size(*e)))

    @property
    def verdict(self) -> Verdict:
        return self.chosen[0].verdict(self.chosen[1])

    @property
    def cause(self) -> Cause | None:
        return self.chosen[0].cause(self.chosen[1])

    @property
    def unexamined(self) -> bool:
        """Whether nothing is known of them, since others are wrong."""
        column, index = self.chosen
        return column.detail(index).text == UNEXAMINED

    def stages(self) -> Iterator[str | None]:
        """Whom the entries are blamed on."""
        return (column.detail(index).stage for column, indices in self.members for index in indices)

    @property
    def weight(self) -> tuple[int, bool, float]:
        """What comes first: the more severe, of a network what a layer does by itself, then the larger error."""
        column, index = self.chosen
        error = _size(column, index)
        return column.verdict(index).severity, _own(column), np.inf if error < 0 else error


def _size(column: Column, index: int) -> float:
    """How large an error is; that of a claim is 0, for it is right or wrong."""
    return 0.0 if column.claim is not None else figures.weight(column.error_ulps[index])


def findings(report: Report, places: Places, verbose: bool, wide: bool = False) -> list[Finding]:
    """All of them. Without `verbose` entries with one verdict, cause, blame and text are one, and points outside of the domain
    are left to the counts, unless there is nothing else."""
    groups = [_Group([(c, [i])]) for c in report.columns for i in _found(c, verbose)] if verbose else _groups(report.columns)
    groups.sort(key=lambda group: group.weight, reverse=True)
    if not verbose and groups and groups[0].verdict is Verdict.MISMATCH:
        groups = [group for group in groups if not group.unexamined]
    said: set[str] = set()
    return [_finding(group, places, verbose or wide, said) for group in groups]


def unexamined(columns: Iterable[Column]) -> str:
    """What is said of the entries of which nothing is known since others are wrong: how many they are, of what, and what helps;
    empty where there are none."""
    counts: dict[str, int] = {}
    for column in columns:
        for index in _found(column, False) if column.having(Verdict.UNDECIDED).any() else ():
            if column.detail(index).text == UNEXAMINED:
                name = _of(column, index)
                counts[name] = counts.get(name, 0) + 1 + _unlisted(column, [index])
    count = sum(counts.values())
    what = f"1 entry ({_listed(list(counts))}) was" if count == 1 else f"{count:,} entries ({_listed(list(counts))}) were"
    return f"{what} not examined one by one, since others are wrong already: mend those and check again" if count else ""


def _found(column: Column, verbose: bool) -> list[int]:
    """The entries to explain."""
    if not column.verdicts.any():
        return []
    ignored = [Verdict.MATCH.severity]
    if not verbose and not bool((column.verdicts == Verdict.OUTSIDE_DOMAIN.severity).all()):
        ignored.append(Verdict.OUTSIDE_DOMAIN.severity)
    found: list[int] = np.flatnonzero(~np.isin(column.verdicts, ignored)).tolist()
    return found


def _groups(columns: Iterable[Column]) -> list[_Group]:
    """The entries by what they show. One of which nothing is told joins those with the same cause and blame that tell more;
    what is wrong in the rule of a custom Function is one thing, whichever stage that runs in."""
    found: dict[tuple[object, ...], dict[str, _Group]] = {}
    shared: dict[tuple[object, ...], _Group] = {}
    for column in columns:
        members: dict[tuple[_Blame, str], list[int]] = {}
        for index in _found(column, False):
            members.setdefault(_shown(column, index), []).append(index)
        for (blame, text), indices in members.items():
            everywhere = blame._replace(stage=None) if _RULE.search(column.detail(indices[0]).text or "") else blame
            group = shared.setdefault((everywhere, text), _Group())
            group.members.append((column, indices))
            found.setdefault(blame, {})[text] = group
    groups: list[_Group] = []
    for by_text in found.values():
        silent = by_text.pop("", None) if len(by_text) > 1 else None
        if silent is not None:
            next(iter(by_text.values())).members += silent.members
        groups += by_text.values()
    return _with_consequences(list(dict.fromkeys(groups)))


def _with_consequences(groups: list[_Group]) -> list[_Group]:
    """What is wrong by itself, with all that the stage is blamed for elsewhere: for the same cause, whatever is told of it."""
    wrong = [group for group in groups if group.verdict is Verdict.MISMATCH and group.cause is not None]
    guilty = {(group.cause, stage): group for group in wrong if _own(group.chosen[0]) for stage in group.stages() if stage}
    left = []
    for group in groups:
        own = {found for stage in group.stages() if stage and (found := guilty.get((group.cause, stage))) is not None}
        if group in wrong and not _own(group.chosen[0]) and len(own) == 1:
            own.pop().members += group.members
        else:
            left.append(group)
    return left


class _Blame(NamedTuple):
    """What entries have in common that are shown as one."""

    verdict: int
    cause: Cause | None
    stage: str | None
    operation: str | None
    about: str
    claim: str | None
    witness: str | None


def _shown(column: Column, index: int) -> tuple[_Blame, str]:
    """What an entry shows: verdict, cause and blame; and what is told of it, whatever the numbers in that."""
    detail = column.detail(index)
    told = NUMBERS.sub("#", _APART.sub("#", (detail.text or "").removeprefix(NO_DIGIT).removeprefix("; ")))
    if detail.cause is None and not (detail.left is detail.right is None):
        told = told or _KINK
    known = detail.stage or detail.operation or told or detail.cause is None
    about = "" if known and column.kind != "convention" else column.quantity
    claim = None if column.claim is None else NUMBERS.sub("#", column.claim)
    verdict = int(column.verdicts[index])
    return _Blame(verdict, detail.cause, detail.stage, detail.operation, about, claim, detail.witness), told


_KINK = "one-sided derivatives"
"""What a kink tells that has no text."""

_APART = re.compile(r"the (backward|derivative|jvp) of |(?<=along )\S+(?= it is )")
"""Where texts that say the same differ besides numbers: the mode that is blamed, the entry along which a quotient was taken."""


def _own(column: Column) -> bool:
    return column.scope.title is not None and column.kind == "local"


def _combines(column: Column) -> bool:
    """Whether it is of a combination of the outputs."""
    return column.of.startswith("<")


def _worst(column: Column, members: list[int]) -> int:
    """The member with the largest error; the first one where none has any."""
    return members[int(np.argmax(np.nan_to_num(column.error_ulps[members], nan=-1.0, posinf=np.inf)))]


# -- one finding -------------------------------------------------------------------------------------------------------


def _finding(group: _Group, places: Places, verbose: bool, said: set[str]) -> Finding:
    column, index = group.chosen
    check, ball = column.check(index), column.exact[index]
    limit = None if verbose else LONGEST
    numbers, differs = _numbers(column, check, ball)
    detail = (check.detail or "").removeprefix(NO_DIGIT).removeprefix("; ")
    if len(_ITSELF.findall(detail)) == 1:
        detail = _ITSELF.sub(r"\1; ", detail)
    told = detail.split("; ")
    placed = [spelled(text) for text in told if _RULE.fullmatch(text)]
    rest = spelled("; ".join(filter(None, (*(text for text in told if not _RULE.fullmatch(text)), _beside(check)))))
    stages = list(dict.fromkeys(filter(None, group.stages())))
    blame = [f"{'stages' if len(stages) > 1 else 'stage'} {_listed(stages)}"] if stages else []
    blame += [f"operation {check.operation}"] if check.operation else []
    prose = [NO_DIGIT] if (check.detail or "").startswith(NO_DIGIT) else []
    prose += [rest] if rest else []
    slip = check.cause is not None and check.why != check.cause.value
    silent = check.sentence in said or (rest and (slip or check.verdict is Verdict.IMPRECISE))  # which says why
    more = f"gradcheck why {check.why}"
    repeated = more in said
    said |= {check.sentence, more}
    lines = [f"blamed: {', '.join((*blame, *placed))}" if blame or placed else "", *prose]
    return Finding(
        verdict=check.verdict,
        cause=check.cause,
        name=figures.named(check),
        quantity=check.quantity,
        where=_where(column, index, check, places),
        numbers=numbers,
        differs=differs,
        error=figures.explained(check, ball, column.detail(index).rounded),
        sides=_sides(check),
        blame=cut(lines[0], limit),
        prose=tuple(cut(text, limit) for text in prose),
        sentence="" if silent else check.sentence,
        formulas=tuple(_formulas(column, check, verbose)),
        same=_same(group, places),
        sources=tuple(named_in(lines)),
        more="" if repeated else more,
    )


def _where(column: Column, index: int, check: Check, places: Places) -> str:
    """`point 2`, and what a stage received there."""
    name = places.name(places.of(column, index))
    received = {n: value for n, value in (check.inputs or {}).items() if check.point.get(n) != value}
    return f"{name}, where {figures.point(received, check.dtype)}" if name and received else name


def _sides(check: Check) -> str:
    """The one-sided derivatives at a kink, and which of them is autograd's value."""
    if check.left is None and check.right is None:
        return ""
    sides = zip((check.left, check.right), ("left", "right"), _names(check), strict=True)
    told = (f"{slope or 'none'} from {name}{_AUTOGRADS * (check.side == side)}" for slope, side, name in sides)
    return f"{_KINK}: {', '.join(told)}"


_AUTOGRADS = " (autograd's)"


def _beside(check: Check) -> str:
    """Whose slope autograd's value is beside a jump; empty where both sides have it, and where there is none."""
    if check.side in (None, "both") or check.left is not None or check.right is not None:
        return ""
    return f"autograd's is the slope from {dict(zip(('left', 'right'), _names(check), strict=True)).get(check.side, NEITHER)}"


NEITHER = "neither side"


def _names(check: Check) -> tuple[str, str]:
    return sides_of(check.wrt[-1] if check.wrt else "")


def _numbers(column: Column, check: Check, ball: object) -> tuple[tuple[tuple[str, str], ...], int | None]:
    """Exact and judged, one under the other, as far as there is anything to show."""
    if check.verdict is Verdict.OUTSIDE_DOMAIN:
        return (), None
    one, other = figures.exact(check, ball), figures.judged(check)
    if one == "-" and other in ("nan", "none", "-") and check.verdict is Verdict.UNDECIDED:
        return (), None
    if one == "-" or one.startswith("["):
        return ((figures.party(column), other),), None
    one, other, differs = figures.aligned(one, other)
    return (("exact", one), (figures.party(column), other)), differs


def _formulas(column: Column, check: Check, verbose: bool) -> Iterator[tuple[str, str]]:
    other = check.autograd_formula if check.claim is None else _formula_of(check.claim)
    if other and (verbose or check.cause in _TWO_FORMULAS):
        for label, formula in (("exact", check.formula), (figures.party(column), other)):
            if formula:
                yield label, cut(formula, None if verbose else FORMULA_WIDTH)


def _formula_of(claim: str) -> str:
    """A claim without the name before its equals sign."""
    return re.sub(r"^\s*\w+(\[[\d, ]+\])?\s*=(?!=)", "", claim).strip()


# -- where else --------------------------------------------------------------------------------------------------------


def _same(group: _Group, places: Places) -> str:
    """`the same at 3 more points`: entries, points, derivatives and runs at which the same was found."""
    first, chosen = group.chosen
    here = _entry(first, chosen, places)
    named = {_entry(column, i, places): _of(column, i) for column, indices in group.members for i in indices}
    own = named.pop(here)
    entries = named.keys()
    others = list(dict.fromkeys(name for name in named.values() if name != own))
    elsewhere = sum(name != own for name in named.values())
    left_out = [_unlisted(column, indices) for column, indices in group.members]
    points = len({entry.point for entry in entries} - {here.point}) + max(left_out)
    names = _listed(others)
    parts = []
    if all(entry[:2] == here[:2] for entry in entries):
        parts += [f"at {counted(points, 'more point')}"] if points else []
    elif not points and len(entries) == len(others) <= NAMES:
        parts.append(f"of {names}")
    else:
        more = f", at {counted(points, 'more point')}" if points else ""
        some = "" if elsewhere == len(entries) else f"{elsewhere:,} of "
        parts.append(f"at {counted(len(entries) + sum(left_out), 'more entry')}{more}{f' ({some}{names})' if names else ''}")
    modes = dict.fromkeys(column.mode for column, _ in group.members if column.mode != first.mode)
    dtypes = dict.fromkeys(column.dtype for column, _ in group.members if column.dtype != first.dtype)
    parts += [f"in {', '.join((*modes, *dtypes))}"] if modes or dtypes else []
    return f"the same {', '.join(parts)}" if parts else ""


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMES]) + (", ..." if len(names) > NAMES else "")


def _unlisted(column: Column, indices: Sequence[int]) -> int:
    """How many entries there are of the same kinds, besides those of the column itself."""
    kinds = {*map(column.kind_of, indices)} if column.tally is not None else ()
    return max(sum((column.tally or {}).get(kind, 0) for kind in kinds) - len(indices), 0) if kinds else 0


def _of(column: Column, index: int) -> str:
    """The derivative that an entry belongs to: in the column of a layer, which has several, the one by its own tensor."""
    return column.quantity if column.scope.title is None else _ENTRY.sub("", column.label(index).quantity)


_ENTRY = re.compile(r"\[[\d,]+\]$")


class _Place(NamedTuple):
    quantity: str
    entry: int
    point: int


def _entry(column: Column, index: int, places: Places) -> _Place:
    """An entry: the quantity, the number of the entry of its tensor, the point."""
    return _Place(column.quantity, 0 if places.pointwise(column) else index, places.of(column, index))

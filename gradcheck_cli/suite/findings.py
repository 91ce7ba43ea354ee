"""What a check found, in so few words that the next run can say whether it is the same: for baselines.

A finding is where and how something is wrong: `df/dx float64 grad: formula`. Two bugs may well be wrong there, and so, so the
wrong numbers are kept with it, at the first points that are wrong: exact, autograd, and how far rounding (which differs between
machines) may move that. It is the same finding where the exact value is what it was, autograd's has moved no further than
rounding may move it, the same operation is named, and nothing is wrong that wasn't. How large the error is plays no part: a
backward that is off by half a percent more is another one, and so is the same backward of another forward.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gradcheck_cli.verdict.plain import jsonable
from gradcheck_cli.verdict.verdicts import Cause, Verdict

if TYPE_CHECKING:
    from gradcheck_cli.verdict.column import Check, Column
    from gradcheck_cli.verdict.report import Report

LISTED = 20
"""Entries of a report that an outcome keeps."""
FINDINGS = 200
"""Findings that it keeps."""
NUMBERS, FEWEST, MOST = 1_000, 3, 20
"""Wrong numbers that it keeps of all findings together, where there are many; at least, and at most, of one."""

EXACT = 1e-6
"""The part of an exact value by which it may change, or a roundoff of the dtype: it takes no part in rounding, but inputs that
somebody computes are rounded (to float32 in most networks)."""
ROUNDINGS = 16.0
"""Units of roundoff, of the numbers themselves, that another machine may round otherwise."""
TIMES = 4.0
"""How often the rounding that was measured may be there."""
MORE = 1.1
"""By how much the count of wrong entries may grow where they aren't all kept: rounding decides at some."""
LONGEST = 60
"""Characters of a point that is kept as it is; of a longer one, a digest."""

Wrong = dict[str, Any]
"""Of a finding: `entries`, how many are wrong; `at`: point -> [exact, autograd, rounding, operation], of the first ones. Where
no derivative exists, exact is a list of the one-sided ones."""


@dataclass(slots=True)
class Found:
    """Of a report: `worst`, the entries that are no match, the worst first and only the worst (of those what could be
    explained); `findings` and their `wrong` numbers; `causes` of mismatches, that of the worst entry first; `nans`: how many
    entries pass with a gradient that is nan."""

    worst: list[Check]
    findings: tuple[str, ...]
    wrong: dict[str, Wrong]
    causes: list[str]
    nans: int


@dataclass(slots=True)
class _Entries:
    """The entries of one finding: how many, and the first ones."""

    count: int = 0
    first: list[tuple[Column, int]] = field(default_factory=list)

    def add(self, column: Column, index: int) -> None:
        self.count += 1
        if len(self.first) < MOST:
            self.first.append((column, index))


def found(report: Report) -> Found:
    """What a report found. Entries that match cost nothing here."""
    import numpy as np

    wanted = [Verdict.MISMATCH, Verdict.UNDECIDED, *([Verdict.IMPRECISE] if report.strict else [])]
    codes = [verdict.severity for verdict in wanted]
    entries: list[tuple[int, bool, float, Column, int]] = []
    findings: dict[str, _Entries] = {}
    causes: dict[str, None] = {}
    nans = 0
    for column in report.columns:
        strange = np.flatnonzero(~column.having(Verdict.MATCH))
        severity = column.verdicts[strange].astype(np.int64)
        errors = np.nan_to_num(column.error_ulps[strange], nan=-1.0, posinf=np.inf)
        for k in np.lexsort((-errors, -severity))[:LISTED].tolist():
            index = int(strange[k])
            explained = column.detail(index).text is not None
            entries.append((int(severity[k]), explained, float(errors[k]), column, index))
        for index in np.flatnonzero(np.isin(column.verdicts, codes)).tolist():
            cause = column.cause(index) if column.verdict(index) is Verdict.MISMATCH else None
            label = column.label(index).quantity
            where = f"{label} {column.dtype} {column.mode}: {(cause or column.verdict(index)).value}"
            findings.setdefault(where, _Entries()).add(column, index)
            causes |= {cause.value: None} if cause is not None else {}
        nans += int(np.count_nonzero(column.having(Verdict.NONDIFFERENTIABLE) & np.isnan(column.autograd)))
    entries.sort(key=lambda entry: entry[:3], reverse=True)
    worst = [column.check(index) for *_, column, index in entries[:LISTED]]
    first = [check.cause.value for check in worst[:1] if check.cause is not None and check.cause.value in causes]
    listed = sorted(findings)
    more = [f"... {len(listed) - FINDINGS:,} more"] if len(listed) > FINDINGS else []
    kept = listed[:FINDINGS]
    each = min(MOST, max(FEWEST, NUMBERS // max(1, len(kept))))
    wrong = {where: _wrong(findings[where], each) for where in kept}
    return Found(
        worst, (*kept, *more), {w: n for w, n in wrong.items() if n["at"]}, list(dict.fromkeys([*first, *causes])), nans
    )


def _wrong(entries: _Entries, each: int) -> Wrong:
    known = ((c, i) for c, i in entries.first[:each] if c.verdict(i) is not Verdict.UNDECIDED)  # no number is wrong there
    return {"entries": entries.count, "at": {_place(column, index): _numbers(column, index) for column, index in known}}


def _place(column: Column, index: int) -> str:
    """`x=1.5,n=3.0`: the point of an entry, and whether it is about a stage by itself."""
    point = column.scope.point(index)
    text = ",".join(f"{name}={value}" for name, value in point.items())
    if len(text) > LONGEST:
        text = hashlib.sha256(json.dumps(jsonable(point), sort_keys=True).encode()).hexdigest()[:16]
    return text if column.kind == "total" else f"{text} ({column.kind})"


def _numbers(column: Column, index: int) -> list[Any]:
    """Exact (None where there is none), autograd (None where torch gave none), how far rounding may move it, the operation."""
    from gradcheck_cli.floats import FORMATS

    check = column.check(index)
    exact = None if check.exact is None else float(check.exact)
    sides = [None if side is None else float(side) for side in (check.left, check.right)]
    known = exact if exact is not None or sides == [None, None] else sides
    if check.autograd is None:
        return jsonable([known, None, None, check.operation])  # type: ignore[no-any-return]
    about = max(abs(check.autograd), abs(exact or 0.0))
    roundoff = FORMATS[column.dtype].unit_roundoff
    modelled = column.detail(index).rounded
    half = math.sqrt(roundoff) * about  # of the digits: the model may be wide, or silent, and an error as large would be shown
    slack = max(ROUNDINGS * roundoff * about, half if modelled is None else min(2 * modelled, half))
    if check.rounding_error is not None and exact is not None and check.autograd and check.cause is not Cause.KERNEL:
        slack = max(slack, TIMES * check.rounding_error * abs(exact))  # a kernel's fault is none of rounding; a 0 is a 0
    rounding = float(f"{slack:.2g}") if math.isfinite(slack) else None
    return jsonable([known, check.autograd, rounding, check.operation])  # type: ignore[no-any-return]


# -- the next run ---------------------------------------------------------------------------------------------------------


def moved(now: Mapping[str, Wrong], then: Mapping[str, Wrong]) -> str | None:
    """The first difference between the wrong numbers of two runs, in words; None where they are the same but for rounding. What
    was kept without its numbers isn't compared."""
    for where in now:
        difference = _difference(now[where], then[where], _loose(where)) if where in then else None
        if difference is not None:
            return f"{where.rpartition(':')[0]} {difference}"
    return None


def _loose(where: str) -> float:
    """By which part of itself an exact value may change: of a finding `df/dx float64 grad: formula`, whose dtype it has."""
    from gradcheck_cli.floats import FORMATS

    return max([EXACT, *(FORMATS[word].unit_roundoff for word in where.split() if word in FORMATS)])


def _difference(now: Wrong, then: Wrong, loose: float) -> str | None:
    here, there = now["at"], then["at"]
    common = [place for place in here if place in there]
    for place in common:
        before, after = _truth(there[place][0]), _truth(here[place][0])
        if not all(_close(one, other, loose) for one, other in zip(before, after, strict=True)):
            return f"at {place}: exact {_exact(before)} is known, now it is {_exact(after)}"
        if not _alike(here[place], there[place]):
            return f"at {place}: {_said(there[place], here[place])} is known, now it is {_said(here[place], there[place])}"
    if not common:
        return "is wrong at other points"
    if then["entries"] > len(there):
        more = now["entries"] > MORE * then["entries"]
        return f"is wrong in {now['entries']:,} entries, and in {then['entries']:,} is known" if more else None
    fresh = next((place for place in here if place not in there and not _marginal(here[place])), None)
    return None if fresh is None else f"at {fresh}: {_said(here[fresh])} is wrong, and wasn't"


def _alike(now: list[Any], then: list[Any]) -> bool:
    """Whether this is the same wrong number, by the same operation where both name one."""
    if now[3] != then[3] and now[3] is not None and then[3] is not None:
        return False
    one, other = now[1], then[1]
    if isinstance(one, str) or isinstance(other, str) or one is None or other is None:  # "nan", "inf", none
        return bool(one == other)
    return bool(abs(one - other) <= max(now[2] or 0.0, then[2] or 0.0))


def _truth(exact: Any) -> list[Any]:
    """An exact value, or one from each side, as two."""
    return exact if isinstance(exact, list) else [exact, exact]


def _close(one: Any, other: Any, loose: float) -> bool:
    """Whether this is one exact value, as far as both are known."""
    if one is None or other is None:
        return True
    if isinstance(one, str) or isinstance(other, str):  # "inf"
        return bool(one == other)
    return bool(abs(one - other) <= loose * max(abs(one), abs(other)))


def _exact(truth: list[Any]) -> str:
    left, right = ("unknown" if side is None else str(side) for side in truth)
    return left if left == right else f"{left} and {right} from the two sides"


def _marginal(numbers: list[Any]) -> bool:
    """Whether rounding may have decided that this is wrong."""
    exact, autograd, slack, _ = numbers
    return not isinstance(autograd, str | None) and bool(abs(autograd - _number(exact)) <= 2 * (slack or 0.0))


def _number(exact: Any) -> float:
    return exact if isinstance(exact, int | float) else 0.0


def _said(numbers: list[Any], beside: list[Any] | None = None) -> str:
    """The wrong number, and the operation where that alone tells it from the one `beside`."""
    value = "no gradient" if numbers[1] is None else str(numbers[1])
    return f"{value} by {numbers[3]}" if beside is not None and numbers[1] == beside[1] and numbers[3] else value

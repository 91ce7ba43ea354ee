"""What is drawn of a report, as arrays: the error of each derivative, and the numbers over which it can be drawn.

*Error*: relative to the exact derivative, and to the smallest normal number of the dtype where that is larger (below it floats
have fewer digits). It is nan where there is no such number: no exact value, an exact 0, or autograd's nan.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gradcheck_cli.floats import FORMATS, Floats
from gradcheck_cli.language.chain import derivative_name
from gradcheck_cli.output.plots.marks import Codes, codes
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.scope import AtPoints
from gradcheck_cli.verdict.verdicts import Verdict

SERIES = 6
"""Derivatives that are drawn in one panel, the worst first."""

_SUBSCRIPT = re.compile(r"\[[\d, ]+\]$")


@dataclass(frozen=True)
class Series:
    """One derivative in one dtype and mode: the error of every entry, what is said of it, and where it is.

    `over`: names of inputs -> the number at which each entry was taken: the input itself, or, of an array, its own entry.
    `columns`: what it was made of.
    """

    label: str
    dtype: str
    modes: tuple[str, ...]
    error: Floats
    codes: Codes
    over: Mapping[str, Floats]
    columns: tuple[Column, ...] = field(repr=False)

    @property
    def weight(self) -> tuple[int, float]:
        """What comes first: the more severe, then the larger error."""
        severity = max((int(column.verdicts.max()) for column in self.columns if len(column)), default=0)
        finite = self.error[np.isfinite(self.error)]
        return severity, float(finite.max(initial=0.0))

    @property
    def passes(self) -> bool:
        """Whether nothing in it is a mismatch or undecided."""
        return self.weight[0] < Verdict.UNDECIDED.severity


def middles(column: Column) -> Floats:
    """The doubles next to the exact values; nan where there is none."""
    return np.array([np.nan if ball is None else float(ball) for ball in column.exact], dtype=np.float64)


def relative(column: Column, exact: Floats | None = None) -> Floats:
    """The error of every entry of a column: see the head of this file."""
    form, exact = FORMATS[column.dtype], middles(column) if exact is None else exact
    with np.errstate(all="ignore"):
        error: Floats = column.error_ulps * form.ulp(exact) / np.maximum(np.abs(exact), form.smallest_normal)
    error[(exact == 0) & (error > 1)] = np.nan
    return error


def series_of(report: Report) -> list[Series]:
    """Everything that can be drawn, in the order of the report: totals, and of the rest (a stage's own derivative, the value)
    only what isn't right. Modes that gave the same floats are one series."""
    inputs = _inputs(report)
    groups: dict[tuple[str, str, str], list[Column]] = {}
    for column in report.columns:
        if len(column) and column.scope.title is None:
            groups.setdefault((column.dtype, _label(column), column.mode), []).append(column)
    found = [_series(label, dtype, mode, columns, inputs) for (dtype, label, mode), columns in groups.items()]
    return _merged([s for s in found if not s.passes or _told(s.columns[0])] or found)


def inputs_that_vary(series: Iterable[Series]) -> list[str]:
    """The inputs that take more than one number, in order."""
    numbers: dict[str, list[Floats]] = {}
    for s in series:
        for name, values in s.over.items():
            numbers.setdefault(name, []).append(values[np.isfinite(values)])
    return [name for name, parts in numbers.items() if len(np.unique(np.concatenate(parts))) > 1]


def chosen(series: Sequence[Series]) -> tuple[list[Series], int]:
    """Those that one panel has room for, in order, and how many are left out: the worst stay."""
    ranked = sorted(range(len(series)), key=lambda i: series[i].weight, reverse=True)[:SERIES]
    return [series[i] for i in sorted(ranked)], len(series) - len(ranked)


def base(name: str) -> str:
    """A name without its subscript: `x` of `x[0,1]`."""
    return _SUBSCRIPT.sub("", name)


def _label(column: Column) -> str:
    """What entries have in common: `df/dx` of df[0]/dx[1]; of a stage by itself it says so."""
    of, wrt = base(column.of), [base(name) for name in column.wrt]
    name = derivative_name(of, wrt) if wrt else of
    return name if column.kind == "total" else f"{name} by itself" if column.kind == "local" else f"value of {name}"


def _told(column: Column) -> bool:
    """Whether it tells more than that dy/dy is 1."""
    return column.kind == "total" and column.of not in column.wrt


def _inputs(report: Report) -> tuple[str, ...]:
    """The inputs of what is checked, as far as the problem says."""
    stages = report.problem.get("stages") or []
    names = {stage.get("name") for stage in stages}
    return tuple(dict.fromkeys(name for stage in stages for name in stage.get("inputs", ()) if name not in names))


def _series(label: str, dtype: str, mode: str, columns: Sequence[Column], inputs: Sequence[str]) -> Series:
    places = [_places(column, inputs) for column in columns]
    names = [name for name in places[0] if all(name in place for place in places)]
    return Series(
        label, dtype, (mode,),
        error=np.concatenate([relative(column) for column in columns]),
        codes=np.concatenate([codes(column) for column in columns]),
        over={name: np.concatenate([place[name] for place in places]) for name in names},
        columns=tuple(columns),
    )  # fmt: skip


def _places(column: Column, inputs: Sequence[str]) -> dict[str, Floats]:
    """The inputs that have a number at every entry of a column; of an array only the one that it is differentiated by."""
    own, scope = column.wrt[-1] if column.wrt else "", column.scope
    if isinstance(scope, AtPoints):
        scalars = {name: values for name, values in scope.numbers.items() if base(name) == name}
        return scalars | ({base(own): scope.numbers[own]} if own in scope.numbers else {})
    found: dict[str, Floats] = {}
    for name, value in scope.point(0).items():
        if isinstance(value, str) or (inputs and name not in inputs):
            continue
        numbers = np.array(value, dtype=np.float64).reshape(-1)
        if np.ndim(value) == 0:
            found[name] = np.full(len(column), numbers[0])
        elif name == base(own) and len(numbers) == len(column):
            found[name] = numbers
    return found


def _merged(series: Iterable[Series]) -> list[Series]:
    """Series of the same errors as one, with the modes of all."""
    found: dict[tuple[str, str, bytes, bytes], Series] = {}
    for s in series:
        key = s.dtype, s.label, s.error.tobytes(), s.codes.tobytes()
        first = found.get(key)
        found[key] = (
            s if first is None else Series(s.label, s.dtype, first.modes + s.modes, s.error, s.codes, s.over, first.columns)
        )
    return list(found.values())

"""What was found at very many points, in little memory: how many entries there are of each kind, and of each kind the first
few, the last one and the worst, as they were judged.

Summaries of parts are merged into that of the whole: what is kept of the parts holds what is kept of all of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.algebra.number import Ball, ball_of, parts_of
from gradcheck_cli.floats import Floats
from gradcheck_cli.verdict.column import Column, Detail, Indices, Kind, Sifted
from gradcheck_cli.verdict.scope import AtPoints
from gradcheck_cli.verdict.truths import Balls
from gradcheck_cli.verdict.verdicts import Cause, Verdict

FIRST = 3
"""Entries of each kind that are kept, besides the last one and the worst, by ulps and relative to the exact value."""


@dataclass(slots=True)
class Summary:
    """Columns with a tally, all at the same points: `numbers` says the how manieth of all points these are."""

    columns: list[Column]
    numbers: list[int]

    @classmethod
    def of(cls, columns: Sequence[Column], start: int) -> Summary:
        """Of columns at the same points, whose numbers begin with `start`."""
        numbers = np.arange(start, start + len(columns[0]) if columns else start)
        kinds = [column.kinds() for column in columns]
        tallied = [_tallied(column, *known) for column, known in zip(columns, kinds, strict=True)]
        return cls._kept(tallied, numbers, kinds)

    @classmethod
    def merged(cls, parts: Sequence[Summary]) -> Summary:
        """Of all that the parts are of, in any order."""
        parts = [part for part in parts if part.columns]
        if len(parts) < 2:
            return parts[0] if parts else cls([], [])
        numbers = np.concatenate([np.array(part.numbers, dtype=np.int64) for part in parts])
        order = np.argsort(numbers, kind="stable")
        columns = [_joined(together, order) for together in zip(*(part.columns for part in parts), strict=True)]
        return cls._kept(columns, numbers[order])

    @classmethod
    def _kept(
        cls, columns: Sequence[Column], numbers: Indices, kinds: Sequence[tuple[Indices, list[Kind]]] | None = None
    ) -> Summary:
        """The entries that are worth keeping of any column, of all. `kinds`: those of the columns, if they are known."""
        kinds = kinds or [column.kinds() for column in columns]
        chosen = sorted({index for column, known in zip(columns, kinds, strict=True) for index in _chosen(column, *known)})
        scopes: dict[int, Any] = {}  # columns at the same points stay so
        small = []
        for column in columns:
            scope = column.scope
            if isinstance(scope, AtPoints) and scope.inputs is None:
                scope = scopes.setdefault(id(scope.numbers), scope.pick(chosen))
            small.append(replace(column.pick(chosen), scope=scope) if scope is not column.scope else column.pick(chosen))
        return cls(small, numbers[chosen].tolist())

    def plain(self) -> dict[str, Any]:
        """As values of JSON, in which nothing is lost."""
        return {"numbers": self.numbers, "columns": [_plain(column) for column in self.columns]}

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Summary:
        """What `plain` has written."""
        return cls([_read(column) for column in given["columns"]], list(given["numbers"]))


def _tallied(column: Column, found: Indices, kinds: Sequence[Kind]) -> Column:
    """The same column with a tally of its entries, which are of these kinds."""
    if column.tally is not None:
        return column
    counts = np.bincount(found, minlength=len(kinds)).tolist()
    return replace(column, tally=Counter({kind: n for kind, n in zip(kinds, counts, strict=True) if n}))


def _chosen(column: Column, found: Indices, kinds: Sequence[Kind]) -> set[int]:
    """The entries to keep, which are of these kinds."""
    errors = np.fmax(column.error_ulps, -1.0)  # nan as -1
    relative = np.full(len(column), -1.0)
    for indices, left in column.sifted.errors():
        relative[indices] = np.fmax(left, -1.0)
    for index, detail in column.details.items():
        parts = [part for part in (detail.formula_error, detail.rounding_error) if part is not None and not math.isnan(part)]
        relative[index] = max(parts, default=-1.0)
    chosen: set[int] = set()
    for number in range(len(kinds)):
        mine = np.flatnonzero(found == number)
        if len(mine):
            chosen |= {*mine[:FIRST].tolist(), int(mine[-1])}
            chosen |= {int(mine[np.argmax(size[mine])]) for size in (errors, relative)}
    return chosen


def _joined(columns: Sequence[Column], order: npt.NDArray[np.int64]) -> Column:
    """One column of the entries of several, in another order."""
    first = columns[0]
    details: dict[int, Detail] = {}
    place = np.argsort(order).tolist()
    offset = 0
    for column in columns:
        details |= {place[offset + index]: detail for index, detail in column.known()}
        offset += len(column)
    balls = [ball for column in columns for ball in column.exact]
    tally: Counter[Kind] = Counter()
    for column in columns:
        tally.update(column.tally or {})
    values = [column.values for column in columns if column.values is not None]
    return replace(
        first,
        scope=_scopes([column.scope for column in columns], order),
        autograd=np.concatenate([column.autograd for column in columns])[order],
        exact=Balls(balls[index] for index in order.tolist()),
        error_ulps=np.concatenate([column.error_ulps for column in columns])[order],
        verdicts=np.concatenate([column.verdicts for column in columns])[order],
        details=dict(sorted(details.items())),
        sifted=Sifted(),
        values=np.concatenate(values)[order] if len(values) == len(columns) else None,
        tally=tally,
    )


def _scopes(scopes: Sequence[Any], order: npt.NDArray[np.int64]) -> AtPoints:
    def joined(parts: Sequence[Mapping[str, Floats]]) -> dict[str, Floats]:
        return {name: np.concatenate([part[name] for part in parts])[order] for name in parts[0]}

    received = [scope.inputs for scope in scopes]
    inputs = None if any(part is None for part in received) else joined(received)
    return AtPoints(joined([scope.numbers for scope in scopes]), scopes[0].shapes, inputs)


# -- as JSON ------------------------------------------------------------------------------------------------------------


def _plain(column: Column) -> dict[str, Any]:
    assert isinstance(column.scope, AtPoints)
    scope = column.scope
    return {
        **{name: getattr(column, name) for name in ("quantity", "kind", "of", "wrt", "mode", "dtype", "claim")},
        "at": {name: _numbers(values) for name, values in scope.numbers.items()},
        "shapes": {name: list(shape) for name, shape in scope.shapes.items()},
        "inputs": None if scope.inputs is None else {name: _numbers(values) for name, values in scope.inputs.items()},
        "autograd": _numbers(column.autograd),
        "exact": [None if ball is None else parts_of(ball) for ball in column.exact],
        "error_ulps": _numbers(column.error_ulps),
        "verdicts": column.verdicts.tolist(),
        "values": None if column.values is None else _numbers(column.values),
        "details": {str(index): _detail(detail, column.shadow(index)) for index, detail in column.known()},
        "tally": sorted(([*kind, n] for kind, n in (column.tally or {}).items()), key=repr),
        "shown": column.formula,
    }


def _read(given: Mapping[str, Any]) -> Column:
    inputs = given["inputs"]
    return Column(
        **{name: given[name] for name in ("quantity", "kind", "of", "mode", "dtype", "claim", "shown")},
        wrt=tuple(given["wrt"]),
        scope=AtPoints(
            {name: _array(values) for name, values in given["at"].items()},
            {name: tuple(shape) for name, shape in given["shapes"].items()},
            None if inputs is None else {name: _array(values) for name, values in inputs.items()},
        ),
        autograd=_array(given["autograd"]),
        exact=Balls(None if parts is None else _ball(parts) for parts in given["exact"]),
        error_ulps=_array(given["error_ulps"]),
        verdicts=np.array(given["verdicts"], dtype=np.uint8),
        values=None if given["values"] is None else _array(given["values"]),
        details={int(index): _detail_of(detail) for index, detail in given["details"].items()},
        tally=Counter({_kind(parts): n for *parts, n in given["tally"]}),
    )


def _numbers(values: Floats) -> list[float | str]:
    """Infinities and nan as texts, which `float` reads."""
    return [value if math.isfinite(value) else repr(value) for value in values.tolist()]


def _array(values: Sequence[float | str]) -> Floats:
    return np.array([float(value) for value in values], dtype=np.float64)


def _ball(parts: Sequence[Sequence[int] | str]) -> Ball:
    middle, radius = (part if isinstance(part, str) else (part[0], part[1]) for part in parts)
    return ball_of(middle, radius)


def _detail(detail: Detail, shadow: str | None) -> dict[str, Any]:
    given = {name: value for name, value in asdict(replace(detail, shadow=shadow)).items() if value is not None}
    return {name: repr(v) if isinstance(v, float) and not math.isfinite(v) else v for name, v in given.items()}


def _detail_of(given: Mapping[str, Any]) -> Detail:
    floats = ("formula_error", "rounding_error", "rounded")
    found: dict[str, Any] = {name: float(value) if name in floats else value for name, value in given.items()}
    return Detail(**found | {"cause": Cause(given["cause"]) if "cause" in given else None})


def _kind(parts: Sequence[Any]) -> Kind:
    verdict, cause, *rest = parts
    return Kind(Verdict(verdict), None if cause is None else Cause(cause), *rest)

"""A report as a table of pandas: a row a check, in columns of one type each. It is made of the report's arrays, not of its
checks, so that a million rows take seconds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.errors import MissingExtra
from gradcheck_cli.floats import Floats
from gradcheck_cli.language.spaces import arrays_of, entry_names
from gradcheck_cli.output.plots.series import middles, relative
from gradcheck_cli.verdict.column import VERDICTS, Column, Detail
from gradcheck_cli.verdict.scope import AtPoints
from gradcheck_cli.verdict.verdicts import Cause

if TYPE_CHECKING:
    from pandas import DataFrame

    from gradcheck_cli.verdict.report import Report

HOW = 'pip install "gradcheck-cli[notebook]"'


def frame(report: Report) -> DataFrame:
    """A row for each of `report.checks`, in their order.

    `quantity`, `kind`, `of`, `wrt`, `mode`, `dtype`, `layer`; one column for each input (a float, or a list of an array, or
    words of a large one; "point.NAME" where the name is taken); `value`, `exact`, `autograd`, `left`, `right`, `error_ulps`,
    `relative_error`, `formula_error`, `rounding_error`: floats, nan where there is none; `verdict`, ordered from match to
    mismatch, `cause`: categories; `stage`, `operation`, `detail`: text, or missing. `exact` is the double next to the exact
    value, of which a check has 20 digits.
    """
    pd = _pandas()
    columns = [column for column in report.columns if len(column)]
    exact = [middles(column) for column in columns]

    def category(of: Callable[[Column], str | None]) -> Any:
        """One value a column, as categories."""
        values = [of(column) for column in columns]
        names = {name: code for code, name in enumerate(dict.fromkeys(v for v in values if v is not None))}
        codes = np.array([-1 if value is None else names[value] for value in values], dtype=np.int64)
        return pd.Categorical.from_codes(np.repeat(codes, [len(c) for c in columns]), list(names))

    def texts(parts: Iterable[Any]) -> Any:
        return pd.array(_joined(parts), dtype="string")

    def floats(parts: Iterable[Floats]) -> Floats:
        return np.concatenate([np.zeros(0), *parts])

    def codes(parts: Iterable[Any]) -> Any:
        return np.concatenate([np.zeros(0, dtype=np.int64), *parts])

    names = [_labels(column) for column in columns]
    data: dict[str, Any] = {
        "quantity": texts(q for q, _, _ in names),
        "kind": category(lambda c: c.kind),
        "of": texts(of for _, of, _ in names),
        "wrt": texts(wrt for _, _, wrt in names),
        "mode": category(lambda c: c.mode),
        "dtype": category(lambda c: c.dtype),
        "layer": category(lambda c: c.scope.title),
    }
    rest: dict[str, Any] = {
        "value": floats(np.full(len(c), np.nan) if c.values is None else c.values for c in columns),
        "exact": floats(exact),
        "autograd": floats(c.autograd for c in columns),
        "left": floats(_numbers(c, lambda d: d.left) for c in columns),
        "right": floats(_numbers(c, lambda d: d.right) for c in columns),
        "error_ulps": floats(c.error_ulps for c in columns),
        "relative_error": floats(relative(c, e) for c, e in zip(columns, exact, strict=True)),
        "formula_error": floats(_numbers(c, lambda d: d.formula_error) for c in columns),
        "rounding_error": floats(_numbers(c, lambda d: d.rounding_error) for c in columns),
        "verdict": pd.Categorical.from_codes(
            np.concatenate([np.zeros(0, dtype=np.uint8), *(c.verdicts for c in columns)]),
            [v.value for v in VERDICTS],
            ordered=True,
        ),
        "cause": pd.Categorical.from_codes(
            np.concatenate([np.zeros(0, dtype=np.int64), *map(_causes, columns)]), [cause.value for cause in Cause]
        ),
        "stage": texts(_texts(c, lambda d: d.stage) for c in columns),
        "operation": texts(_texts(c, lambda d: d.operation) for c in columns),
        "detail": texts(_texts(c, lambda d: d.text) for c in columns),
    }
    for name, values in _points(columns).items():
        data[f"point.{name}" if name in data or name in rest else name] = values
    return pd.DataFrame(data | rest)


def frame_of_several(reports: Mapping[str, Report]) -> DataFrame:
    """The same of several reports, one after the other, with the name of each in the column `target`."""
    pd = _pandas()
    found: DataFrame = pd.concat([frame(report) for report in reports.values()], keys=list(reports), names=["target", None])
    return found.reset_index("target").reset_index(drop=True)


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise MissingExtra(f"to_dataframe() makes a table of pandas, which isn't installed: {HOW}") from None
    return pandas


def _joined(parts: Iterable[Any]) -> Any:
    """Arrays of objects as one."""
    return np.concatenate([np.zeros(0, dtype=object), *parts])


def _objects(values: Sequence[Any]) -> Any:
    """An array of objects, lists among them."""
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def _same(value: Any, count: int) -> Any:
    """The same object so many times."""
    found = np.empty(count, dtype=object)
    found.fill(value)
    return found


def _labels(column: Column) -> tuple[Any, Any, Any]:
    """What entries are called, what is differentiated, and by what."""
    if isinstance(column.scope, AtPoints):
        label = column.label(0)
        count = len(column)
        return _same(label.quantity, count), _same(label.of, count), _same(", ".join(label.wrt), count)
    labels = [column.label(i) for i in range(len(column))]
    return (
        _objects([x.quantity for x in labels]),
        _objects([x.of for x in labels]),
        _objects([", ".join(x.wrt) for x in labels]),
    )


def _points(columns: Sequence[Column]) -> dict[str, Any]:
    """One column of the table for each input, None or nan where a check has none of that name."""
    known: dict[int, dict[str, Any]] = {}
    places = []
    for column in columns:
        scope = column.scope
        if isinstance(scope, AtPoints):
            if id(scope.numbers) not in known:
                known[id(scope.numbers)] = _at_points(scope)
            places.append(known[id(scope.numbers)])
        else:
            places.append({name: _same(value, len(column)) for name, value in scope.point(0).items()})
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for place in places for name in place):
        whole = _joined(place.get(name, _same(None, len(c))) for place, c in zip(places, columns, strict=True))
        numbers = all(isinstance(value, float | int) for value in whole)
        found[name] = whole.astype(np.float64) if numbers else whole
    return found


def _at_points(scope: AtPoints) -> dict[str, Any]:
    """The inputs at every point: numbers, and arrays as lists."""
    found: dict[str, Any] = {}
    rest = dict(scope.numbers)
    for name, shape in arrays_of(scope.shapes).items():
        names = entry_names(name, shape) if shape else []
        if names and all(entry in rest for entry in names):
            numbers = np.stack([rest.pop(entry) for entry in names], axis=-1)
            found[name] = _objects(numbers.reshape(-1, *shape).tolist())
    order = dict.fromkeys(entry.partition("[")[0] for entry in scope.numbers)
    return {name: found[name] if name in found else rest[name] for name in order if name in found or name in rest}


def _causes(column: Column) -> Any:
    """The number of each entry's cause; -1: none."""
    found, order = np.full(len(column), -1), {cause: i for i, cause in enumerate(Cause)}
    for index, detail in column.details.items():
        found[index] = -1 if detail.cause is None else order[detail.cause]
    return found


def _numbers(column: Column, of: Callable[[Detail], float | str | None]) -> Floats:
    """A number of each entry's detail; nan where there is none."""
    found = np.full(len(column), math.nan)
    for index, detail in column.known():
        value = of(detail)
        found[index] = math.nan if value is None else float(value)
    return found


def _texts(column: Column, of: Callable[[Detail], str | None]) -> Any:
    """A text of each entry's detail, or None."""
    found = _same(None, len(column))
    for index, detail in column.known():
        found[index] = of(detail)
    return found

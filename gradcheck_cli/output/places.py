"""The points of a report, each with a number, whichever column, dtype or mode speaks of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gradcheck_cli.floats import Floats
from gradcheck_cli.output.figures import number, point
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.scope import AtPoints, OfLayer, OfTensor, Rest

NEAR = 0.01
"""Relative distance of numbers that are one, rounded to different formats."""


class Places:
    """The points that columns speak of, numbered in order of appearance; one that is rounded to several formats is one."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._first: list[tuple[Column, int]] = []
        self._blocks: dict[int, tuple[int, Mapping[str, Floats]]] = {}
        self._tensors: dict[object, int] = {}
        self._taken: dict[str, set[int]] = {}
        self._network = any(isinstance(column.scope, OfLayer) for column in columns)
        """Then all is at one point."""
        self.asked = 0
        """How many points were asked for, of which a run that was stopped has some."""
        for column in columns:
            if isinstance(column.scope, Rest):
                self.asked = max(self.asked, column.scope.points)
            else:
                self._enter(column)
                self.asked = max(self.asked, column.size if self.pointwise(column) else 0)
        self.asked = max(self.asked, len(self._first))

    def __len__(self) -> int:
        return len(self._first)

    def of(self, column: Column, index: int) -> int:
        """The number, from 0, of the point of an entry; one that no point has of what has none."""
        if isinstance(column.scope, AtPoints):
            return self._blocks[id(column.scope.numbers)][0] + index
        return len(self) if isinstance(column.scope, Rest) else self._tensors[self._key(column)]

    def pointwise(self, column: Column) -> bool:
        """Whether each entry of a column is at a point of its own."""
        return isinstance(column.scope, AtPoints)

    def name(self, number: int) -> str:
        """What a point is called; empty where there is no other."""
        return f"point {number + 1}" if self.asked > 1 and number < len(self) else ""

    def text(self, number: int, *, whole: bool = False) -> str:
        """`x = 1, y = [0.5, 2]`, in the dtype that it was first met in."""
        if number >= len(self):
            return ""
        column, index = self._first[number]
        return point(column.scope.point(index), column.dtype, whole=whole)

    def value(self, number: int) -> float | None:
        """The number that a point is, if it is one number."""
        if number >= len(self):
            return None
        column, index = self._first[number]
        values = list(column.scope.point(index).values())
        return values[0] if len(values) == 1 and isinstance(values[0], float) else None

    def spans(self) -> str:
        """`x from -3 to 3`, of what is a number at every point."""
        found: dict[str, list[float]] = {}
        for numbers in {start: numbers for start, numbers in reversed(self._blocks.values())}.values():
            for name, values in numbers.items():
                found.setdefault(name, []).extend(_ends(values))
        texts = [f"{name} from {_number(min(ends))} to {_number(max(ends))}" for name, ends in found.items() if ends]
        return ", ".join(texts) if len(texts) <= 4 else ""

    def _enter(self, column: Column) -> None:
        scope = column.scope
        if isinstance(scope, AtPoints):
            if id(scope.numbers) not in self._blocks:
                start = next((s for s, other in self._blocks.values() if _same(scope.numbers, other)), len(self._first))
                self._blocks[id(scope.numbers)] = start, scope.numbers
                if start == len(self._first):
                    self._first += [(column, i) for i in range(len(column))]
        elif (key := self._key(column)) not in self._tensors:
            taken = self._taken.setdefault(column.dtype, set())
            here = scope.point(0)
            number = next((n for n in range(len(self._first)) if n not in taken and self._alike(n, here)), len(self._first))
            taken.add(number)
            self._tensors[key] = number
            if number == len(self._first):
                self._first.append((column, 0))

    def _key(self, column: Column) -> object:
        """The same for columns of tensors at one point: words such as `64x64 numbers` don't tell points apart, and a network's
        columns have one, where they tell any."""
        if self._network:
            return column.dtype
        scope = column.scope
        place = scope.place if isinstance(scope, OfTensor) else scope.point(0)
        worded = any(isinstance(value, str) for value in place.values())
        return column.dtype, repr(place), id(place) if worded else 0

    def _alike(self, number: int, here: Mapping[str, Any]) -> bool:
        column, index = self._first[number]
        return not isinstance(column.scope, AtPoints) and _close(column.scope.point(index), here)


def _same(one: Mapping[str, Floats], other: Mapping[str, Floats]) -> bool:
    if one.keys() != other.keys():
        return False
    pairs = [(values, other[name]) for name, values in one.items()]
    return all(np.array_equal(a, b) or _near(a, b) for a, b in pairs)


def _near(one: Floats, other: Floats) -> bool:
    return len(one) == len(other) and bool(np.isclose(one, other, rtol=NEAR, atol=1e-7, equal_nan=True).all())


def _close(one: Any, other: Any) -> bool:
    """Whether two points, as they are shown, are one in different formats."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_close(one[name], other[name]) for name in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_close, one, other))
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return bool(np.isclose(one, other, rtol=NEAR, atol=1e-7, equal_nan=True))
    return bool(one == other)


def _ends(values: Floats) -> Iterable[float]:
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if len(finite) else ()


def _number(value: float) -> str:
    return number(float(f"{value:.5g}")).removesuffix(".0")

"""Remedies for a function that works entry by entry: the formula of its forward pass is checked, and rewritten.

The formula is what torch's operations make of one entry (`maps.written`). Only where its own check finds what was found of the
function is it looked at further; what holds then is said of the formula, at all entries and points that were checked, or at as
many as MOST of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np

from gradcheck_cli.errors import InputError
from gradcheck_cli.formulas.check import check_problem
from gradcheck_cli.formulas.problem import Problem, Question, Task
from gradcheck_cli.language.chain import Chain, Stage
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.printer import show
from gradcheck_cli.language.spaces import Group, PointSpec
from gradcheck_cli.language.tree import Node, Variable, substitute, variables
from gradcheck_cli.maps.map import Map, Row
from gradcheck_cli.maps.written import Trees, family, write
from gradcheck_cli.remedies.mending import LONGEST, remedies_of, wanting
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.limits import Limits
from gradcheck_cli.verdict.remedy import Remedy

T = TypeVar("T")

MOST = 64
"""Entries, of all points, at which a rewriting is checked: half of them such as were found wanting, as far as there are any."""

Numbers = dict[str, float]


class Rewriting:
    """What was checked of a function at its points, for a remedy that holds at all of them."""

    def __init__(self) -> None:
        self._wanting, self._others = _Spread[_Seen](), _Spread[_Seen]()

    def add(self, map: Map, row: Row, columns: Sequence[Column]) -> None:
        """One point."""
        some = [column for column in columns if len(column.wrt) == 1]
        seen = _Seen(map, row, some)
        (self._wanting if any(wanting(c).any() for c in some) else self._others).add(seen)

    def remedies(self, limits: Limits) -> list[Remedy]:
        """What may be written instead of the function, if it mends what is worst in the first column of its kind."""
        for seen in self._wanting.kept:
            for column in seen.columns:
                found = np.flatnonzero(wanting(column))
                if len(found):
                    worst = int(found[int(np.argmax(np.nan_to_num(column.error_ulps[found], nan=np.inf)))])
                    known = seen.formula(column, worst)
                    return [] if known is None else self._checked(*known, column, worst, limits)
        return []

    def _checked(self, output: str, tree: Node, point: Numbers, column: Column, worst: int, limits: Limits) -> list[Remedy]:
        text = show(tree, LONGEST)
        if text is None or not output.isidentifier():
            return []
        try:
            tree = parse(text)
            names = variables(tree)
            if not {*names} <= point.keys():  # a nan is written as if it were a variable
                return []
            chain = Chain(names, (Stage(output, text, tree, names, f"{output} = {text}"),))
            numbers = {n: tuple(p[n] for p in self._points(tree, output, point, column)) for n in names}
            points = PointSpec((Group(numbers, False),), 0, {}, 0, names, {n: () for n in names})
            asked = Question(chain, tuple((name,) for name in names))
            task = Task(chain, (asked,))
            problem = Problem("chain", (task,), points, formats=(column.dtype,), modes=(column.mode,), limits=limits)
            report = check_problem(problem)
        except InputError:  # names that are no names in formulas, formats that torch has no kernel for
            return []
        same = (column.verdict(worst), column.cause(worst))
        if same not in {(c.verdict(0), c.cause(0)) for c in report.columns}:
            return []
        return [replace(remedy, entrywise=True) for remedy in remedies_of(problem, report)]

    def _points(self, tree: Node, output: str, point: Numbers, like: Column) -> list[Numbers]:
        """The numbers of all entries that are made in the same way, the worst first, then those that were found wanting."""
        found, others = _Spread[Numbers](), _Spread[Numbers]()
        for seen in (*self._wanting.kept, *self._others.kept):
            for column in (c for c in seen.columns if (c.dtype, c.mode) == (like.dtype, like.mode)):
                bad = wanting(column)
                for index in range(len(column)):
                    known = seen.formula(column, index)
                    if known is not None and known[:2] == (output, tree):
                        (found if bad[index] else others).add(known[2])
        return list({tuple(p.items()): p for p in (point, *found.kept, *others.kept)}.values())


class _Spread(Generic[T]):
    """Of many things, the first of them and others at equal distances: no more than MOST / 2."""

    def __init__(self) -> None:
        self.kept: list[T] = []
        self._step, self._count = 1, 0

    def add(self, thing: T) -> None:
        if self._count % self._step == 0:
            self.kept.append(thing)
        self._count += 1
        if len(self.kept) > MOST // 2:
            self.kept, self._step = self.kept[::2], 2 * self._step


@dataclass
class _Seen:
    """One point: the function, the row that was differentiated, what was found."""

    map: Map
    row: Row
    columns: Sequence[Column]

    @cached_property
    def _trees(self) -> Trees | None:
        return write(self.map, self.row)

    def formula(self, column: Column, index: int) -> tuple[str, Node, Numbers] | None:
        """What the entry's derivative is of."""
        return None if self._trees is None else _formula(self._trees, column.label(index).wrt[0])


def _formula(trees: Trees, entry: str) -> tuple[str, Node, dict[str, float]] | None:
    """The output that has the entry, what it is made of, and the numbers there; None where that isn't one entry an input."""
    for output, nodes in trees.outputs.items():
        for node in nodes:
            names = variables(node)
            if entry not in names:
                continue
            short = {name: name.partition("[")[0] for name in names}
            inputs = {v.name for name in trees.shapes if name.isidentifier() for v in family(name, trees.shapes[name])}
            if len(set(short.values())) < len(names) or not set(names) <= inputs or output in short.values():
                return None
            tree = substitute(node, {name: Variable(short[name]) for name in names})
            return output, tree, {short[name]: trees.values[name] for name in names}
    return None

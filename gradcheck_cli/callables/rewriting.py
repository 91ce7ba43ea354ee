"""Remedies for a function that works entry by entry: the formula of its forward pass is checked, and rewritten.

The formula is what torch's operations make of one entry (`maps.written`). Only where its own check finds what was found of the
function is it looked at further; what holds then is said of the formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

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
from gradcheck_cli.remedies.mending import LONGEST, add_remedies, wanting
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.limits import Limits
from gradcheck_cli.verdict.remedy import Remedy


def remedies_of(map: Map, row: Row, columns: Sequence[Column], limits: Limits) -> list[Remedy]:
    """What may be written instead of the function, at the worst entry of the first column that a rewriting may mend."""
    for column in columns:
        found = np.flatnonzero(wanting(column))
        if len(found) and len(column.wrt) == 1:
            worst = int(found[int(np.argmax(np.nan_to_num(column.error_ulps[found], nan=np.inf)))])
            trees = write(map, row)
            entry = column.label(worst).wrt[0]
            known = None if trees is None else _formula(trees, entry)
            return [] if trees is None or known is None else _checked(*known, column, worst, limits)
    return []


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


def _checked(output: str, tree: Node, point: dict[str, float], column: Column, worst: int, limits: Limits) -> list[Remedy]:
    text = show(tree, LONGEST)
    if text is None or not output.isidentifier():
        return []
    try:
        tree = parse(text)
        names = variables(tree)
        chain = Chain(names, (Stage(output, text, tree, names, f"{output} = {text}"),))
        points = PointSpec((Group({n: (point[n],) for n in names}, False),), 0, {}, 0, names, {n: () for n in names})
        asked = Question(chain, tuple((name,) for name in names))
        task = Task(chain, (asked,))
        problem = Problem("chain", (task,), points, formats=(column.dtype,), modes=(column.mode,), limits=limits)
        report = check_problem(problem)
    except InputError:  # names that are no names in formulas, formats that torch has no kernel for
        return []
    same = (column.verdict(worst), column.cause(worst))
    if same not in {(c.verdict(i), c.cause(i)) for c in report.columns for i in range(len(c))}:
        return []
    add_remedies(problem, report)
    return [replace(remedy, entrywise=True) for remedy in report.remedies]

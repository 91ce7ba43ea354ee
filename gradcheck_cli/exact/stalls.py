"""Points at which a kernel of torch would run for hours: the `stalls` column of the function table, evaluated beforehand.

Torch can't be interrupted in a kernel, so such points are never handed to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np
import numpy.typing as npt
from flint import arb

from gradcheck_cli.algebra.balls import PLAIN
from gradcheck_cli.algebra.columns.evaluation import evaluation
from gradcheck_cli.algebra.columns.trust import TRUST
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.exact.enclosure import MANY
from gradcheck_cli.exact.values import Values
from gradcheck_cli.floats import Floats
from gradcheck_cli.language import syntax
from gradcheck_cli.language.chain import Chain, Stage
from gradcheck_cli.language.functions import TABLE
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.tree import Call, Constant, Node, indicator, substitute, walk


def stalled(chain: Chain, order: int, points: Mapping[str, Floats]) -> npt.NDArray[np.bool_]:
    """For each point whether some operation would stall when the chain is differentiated `order` times."""
    count = len(next(iter(points.values())))
    mask = np.zeros(count, dtype=np.bool_)
    conditions = [(stage, condition) for stage in chain.stages for condition in _conditions(stage.tree, order)]
    if not conditions:
        return mask
    programs = [(stage, Program([condition], stage.inputs, PLAIN)) for stage, condition in conditions]
    values = Values(chain)
    for index in _asked(chain, conditions, points).tolist():
        point = {name: arb(float(column[index])) for name, column in points.items()}
        everything = values.every(point, {})
        mask[index] = any(program(*(everything[n] for n in stage.inputs))[0] is True for stage, program in programs)
    return mask


def _asked(chain: Chain, conditions: Sequence[tuple[Stage, Node]], points: Mapping[str, Floats]) -> npt.NDArray[np.int64]:
    """The points at which columns aren't certain that no condition holds."""
    given = [np.asarray(points[name], dtype=np.float64) for name in chain.inputs]
    asked = np.ones(len(given[0]), dtype=np.bool_)
    if len(asked) >= MANY and len(chain.stages) == 1 and TRUST.sound():
        tree = reduce(lambda a, b: Call(syntax.OR, (a, b)), [condition for _, condition in conditions])
        chosen = indicator(tree)
        (column,) = evaluation((chosen,), chain.inputs, "single").at(*given)
        asked = (column.high != 0.0) | column.open
    return np.flatnonzero(asked)


def _conditions(tree: Node, order: int) -> Sequence[Node]:
    """One condition, in the stage's inputs, for all calls in it that may stall."""
    found: list[Node] = []
    for item in walk(tree):
        if isinstance(item, Call) and TABLE[item.function].stalls:
            row = TABLE[item.function]
            bound = {p.name: a for p, a in row.bind(item.arguments)}
            found.append(substitute(parse(row.stalls), {**bound, "order": Constant(order)}))
    return [reduce(lambda a, b: Call(syntax.OR, (a, b)), found)] if found else []

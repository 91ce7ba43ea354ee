"""How far a gradient may be from the truth in the drop-in: what the caller asked for, where that isn't left to us."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradcheck_cli.algebra.number import Ball
from gradcheck_cli.floats import FORMATS, Floats
from gradcheck_cli.language.spaces import entry_names
from gradcheck_cli.maps.map import Map, Row, Tensors, direction_of, one_row, pull
from gradcheck_cli.maps.runs import numpy
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.verdicts import Cause, Verdict


class Default(float):
    """A tolerance of torch's signature that the caller hasn't given: it steers finite differences and nothing else."""


FAR = 1e-6
"""What is far below a tolerance, relative to it."""

_LOST = (Cause.RANGE, Cause.KERNEL)
"""What an underflow is called: that of an operation, and that within one."""

SHARE = 0.25
"""An error e of one entry of the Jacobian shows as more than e/4 in a combination of outputs with factors of at least 1/2."""


@dataclass(frozen=True)
class Tolerances:
    """A caller's `rtol`, `atol` and `nondet_tol`, each a Default where it wasn't given."""

    rtol: float
    atol: float
    nondet_tol: float

    @property
    def given(self) -> bool:
        """Whether the caller loosened anything."""
        return any(not isinstance(t, Default) for t in (self.rtol, self.atol, self.nondet_tol))

    @property
    def relative(self) -> float:
        return 0.0 if isinstance(self.rtol, Default) else self.rtol

    @property
    def absolute(self) -> float:
        return max([0.0, *(t for t in (self.atol, self.nondet_tol) if not isinstance(t, Default))])


def excused(columns: Sequence[Column], tolerances: Tolerances) -> list[str]:
    """Make a match of every mismatch that is an underflow far below the tolerances, defaults too, or below eps times the
    largest entry: torch's own check, with steps of 1e-6, can't see it either. An exact 0 for what lies far below the tolerances
    is one too, be it by the formula (the root that an iteration finds is right to a rounding). What a quotient refutes is none.
    Returns what was excused."""
    found = []
    for column in columns:
        far = FAR * tolerances.atol
        bounds = dict.fromkeys(_LOST, max(far, min(_beside(columns, column), SHARE * tolerances.atol))) | {Cause.FORMULA: far}
        for i in np.flatnonzero(column.having(Verdict.MISMATCH)).tolist():
            cause, autograd = column.cause(i), abs(float(column.autograd[i]))
            tiny = 0.0 if cause is None or (cause is Cause.FORMULA and autograd) else bounds.get(cause, 0.0)
            if column.check(i).witness is not None:
                continue  # what lies beside what isn't known
            if autograd <= tiny and distance(column, i) <= tiny and tiny > 0:
                found.append(column.label(i).quantity)
                column.mark(
                    [i], Verdict.MATCH, f"nothing beside {tiny:.1g}, which is far below the tolerances or the largest entry"
                )
    return found


def worthless(columns: Sequence[Column]) -> list[str]:
    """The entries that are called imprecise and have no digit right, of those that are anything beside the others."""
    return [
        column.label(i).quantity
        for column in columns
        for i in np.flatnonzero(column.having(Verdict.IMPRECISE)).tolist()
        if distance(column, i) >= abs(_middle(column.exact[i])) / 2 and distance(column, i) > _beside(columns, column)
    ]


def beyond(map: Map, rows: Sequence[Row], columns: Sequence[Column], tolerances: Tolerances) -> bool:
    """Whether a mismatch is larger than what the caller's tolerances, on every entry of the Jacobian, leave to a column's
    entries: then one of those entries is beyond them for certain."""
    by_name = {row.name: row for row in rows}
    for column in columns:
        wrong = np.flatnonzero(column.having(Verdict.MISMATCH)).tolist()
        if not wrong:
            continue
        shape, bounds = _left(map, by_name.get(column.of), column, tolerances)
        places = {name: i for i, name in enumerate(entry_names("", shape))}
        for i in wrong:
            label = column.label(i)
            name = label.wrt[0] if column.wrt else label.quantity
            place = places.get("[" + name.partition("[")[2] if "[" in name else "", 0)
            if not distance(column, i) <= bounds[place]:  # nan is beyond everything
                return True
    return False


def distance(column: Column, index: int) -> float:
    """|autograd - exact|: nan where one of them isn't known."""
    exact = column.exact[index]
    return float("nan") if exact is None else abs(float(column.autograd[index]) - _middle(exact))


def _beside(columns: Sequence[Column], column: Column) -> float:
    """What is nothing beside the largest entry of a gradient: eps times that."""
    same = [c.autograd[np.isfinite(c.autograd)] for c in columns if c.of == column.of or not column.wrt]
    return 2 * FORMATS[column.dtype].unit_roundoff * max((float(np.max(np.abs(a), initial=0.0)) for a in same), default=0.0)


def _middle(ball: Ball) -> float:
    return float(ball.mid())


def _left(map: Map, row: Row | None, column: Column, tolerances: Tolerances) -> tuple[tuple[int, ...], Floats]:
    """The shape of what a column speaks of, and for each of its entries the sum of what the Jacobian's may be off by."""
    outputs = dict(map(map.leaves()))
    if row is not None:
        name = column.wrt[0]
        weights = {n: np.abs(numpy(v)) for n, v in row.cotangents.items()}
        bounds = np.full(map.inputs[name].numel(), tolerances.absolute * sum(float(w.sum()) for w in weights.values()))
        for n, i, slopes in _rows(map, {n: outputs[n] for n in weights}, tolerances):
            bounds += tolerances.relative * weights[n][i] * slopes[name]
        return tuple(map.inputs[name].shape), bounds
    steps = {n: np.abs(numpy(u)) for n, u in direction_of(map.inputs, 0).items()}
    of = column.of.removeprefix("(J u of ").removesuffix(")")
    bounds = np.full(outputs[of].numel(), tolerances.absolute * sum(float(s.sum()) for s in steps.values()))
    for _, i, slopes in _rows(map, {of: outputs[of]}, tolerances):
        bounds[i] += tolerances.relative * sum(float(steps[n] @ slopes[n]) for n in steps)
    return tuple(outputs[of].shape), bounds


def _rows(map: Map, outputs: Tensors, tolerances: Tolerances) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """The Jacobian, row by row, in absolute values, as autograd has it: the output, its entry, the slopes by every input."""
    if not tolerances.relative:
        return
    leaves = map.leaves()
    values = map(leaves)
    for name, y in outputs.items():
        for i, index in enumerate(np.ndindex(tuple(y.shape))):
            found = pull(values, leaves, one_row(name, y, index)).gradients
            yield name, i, {n: _absolute(g, map.inputs[n]) for n, g in found.items()}


def _absolute(gradient: Tensor | None, x: Tensor) -> Floats:
    return np.abs(numpy(torch.zeros_like(x) if gradient is None else gradient))

"""The points of a problem: samples of ordinary size lie where its functions have values, as far as such points are found."""

from __future__ import annotations

from collections.abc import Mapping

from gradcheck_cli.algebra.number import exactly, working
from gradcheck_cli.algebra.precision import ENCLOSURE
from gradcheck_cli.exact.values import Values
from gradcheck_cli.floats import Floats, Format
from gradcheck_cli.formulas.problem import Problem

LONGEST = 64
"""Stages, of all outputs together, up to which points inside of the domain are looked for."""


def points_of(problem: Problem, form: Format) -> dict[str, Floats]:
    """Arrays of equal length, one entry a point, rounded to the format."""
    return problem.points.values(form, _Domain(problem) if problem.points.sample else None)


class _Domain:
    """Says of a point whether each function of a problem has a finite value there."""

    def __init__(self, problem: Problem) -> None:
        chains = [question.chain for task in problem.tasks for question in task.questions]
        short = sum(len(chain.stages) for chain in chains) <= LONGEST
        self._values = [Values(chain) for chain in chains] if short else []

    def __call__(self, point: Mapping[str, float]) -> bool:
        with working(ENCLOSURE[0]):
            return all(self._finite(values, point) for values in self._values)

    @staticmethod
    def _finite(values: Values, point: Mapping[str, float]) -> bool:
        return bool(values({name: exactly(point[name]) for name in values.chain.inputs}, {}).is_finite())

"""The points of a problem: samples of ordinary size lie where its functions have values, as far as such points are found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gradcheck_cli.algebra.number import exactly, working
from gradcheck_cli.algebra.precision import ENCLOSURE
from gradcheck_cli.exact.values import Values
from gradcheck_cli.floats import Floats, Format
from gradcheck_cli.formulas.problem import Problem
from gradcheck_cli.language.chain import Chain
from gradcheck_cli.language.sampling import Sampler

LONGEST = 64
"""Stages, of all outputs together, up to which points inside of the domain are looked for."""


def points_of(problem: Problem, form: Format) -> dict[str, Floats]:
    """Arrays of equal length, one entry a point, rounded to the format."""
    chains = [question.chain for task in problem.tasks for question in task.questions]
    return problem.points.values(form, Domain(chains) if problem.points.sample else None)


def ordinary(chain: Chain, names: Sequence[str], form: Format, count: int) -> dict[str, Floats]:
    """At most so many seeded points of ordinary size at which the chain has a finite value; the same ones each time."""
    inside = Domain([chain])
    found = Sampler(names, {}, 0, form, inside).usual(count)
    rounded = {name: form.round(values) for name, values in found.items()}
    kept = [k for k in range(count) if inside({name: float(values[k]) for name, values in rounded.items()})]
    return {name: np.asarray(values[kept]) for name, values in rounded.items()}


class Domain:
    """Says of a point whether each function of some chains has a finite value there."""

    def __init__(self, chains: Sequence[Chain]) -> None:
        short = sum(len(chain.stages) for chain in chains) <= LONGEST
        self._values = [Values(chain) for chain in chains] if short else []

    def __call__(self, point: Mapping[str, float]) -> bool:
        with working(ENCLOSURE[0]):
            return all(self._finite(values, point) for values in self._values)

    @staticmethod
    def _finite(values: Values, point: Mapping[str, float]) -> bool:
        return bool(values({name: exactly(point[name]) for name in values.chain.inputs}, {}).is_finite())

"""A chain's stages as plain balls, with any name moved by an offset: what limits, quotients and claims are made of."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Protocol

from flint import arb, ctx

from gradcheck_cli.algebra.balls import PLAIN
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.exact import domain
from gradcheck_cli.exact.truth import Ball
from gradcheck_cli.language.tree import Node, canonical
from gradcheck_cli.problem import Chain, Stage

Wrt = tuple[str, ...]

TINY = arb(2) ** -1077
"""An eighth of the smallest double: what is certainly smaller rounds to 0 in any format."""


def working_precision() -> int:
    """Flint's precision in bits: the key under which programs keep their constants."""
    return int(ctx.prec)


@lru_cache(maxsize=1024)
def _value_program(tree: Node, count: int) -> Program:
    return Program([tree], [f"_{i}" for i in range(count)], PLAIN, working_precision)


class Values:
    """The chain's stages as plain balls, with any name moved by an offset: what limits and quotients are made of."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self._steps: list[tuple[Stage, Program]] = [
            (stage, _value_program(canonical(stage.tree, stage.inputs), len(stage.inputs))) for stage in chain.stages
        ]

    def __call__(self, point: Mapping[str, Ball], offsets: Mapping[str, Ball]) -> Ball:
        """The output's ball at `point` (name -> ball) at the present precision; a nan ball outside the domain."""
        return self.every(point, offsets)[self.chain.output]

    def undefined(self, point: Mapping[str, Ball]) -> bool:
        """True where some operation certainly has no value at the point."""
        return domain.undefined(self, point)

    def every(self, point: Mapping[str, Ball], offsets: Mapping[str, Ball]) -> dict[str, Ball]:
        """The ball of every input and stage."""
        values = {name: ball + offsets[name] if name in offsets else ball for name, ball in point.items()}
        for stage, program in self._steps:
            (value,) = program(*(values[name] for name in stage.inputs))
            values[stage.name] = value + offsets[stage.name] if stage.name in offsets else value
        return values


class Line(Protocol):
    """What limits are taken of: a number at a point, some of whose names are moved by offsets."""

    def __call__(self, point: Mapping[str, Ball], offsets: Mapping[str, Ball]) -> Ball: ...
    def undefined(self, point: Mapping[str, Ball]) -> bool: ...

"""A chain's stages as plain balls, with any name moved by an offset: what limits, quotients and claims are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from functools import lru_cache
from itertools import product
from types import MappingProxyType
from typing import Any, Protocol

from flint import arb

from gradcheck_cli.algebra.balls import PLAIN, evaluate
from gradcheck_cli.algebra.effort import price
from gradcheck_cli.algebra.number import Ball, conditions, precision
from gradcheck_cli.algebra.program import Program, expand
from gradcheck_cli.language import syntax
from gradcheck_cli.language.chain import Chain, Stage
from gradcheck_cli.language.functions import TABLE
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, canonical, variables, walk

Wrt = tuple[str, ...]

NOWHERE: Mapping[str, Ball] = MappingProxyType({})
"""No offsets."""

TINY = arb(2) ** -1077
"""An eighth of the smallest double: what is certainly smaller rounds to 0 in any format."""


@lru_cache(maxsize=1024)
def _value_program(tree: Node, count: int) -> Program:
    return Program([tree], [f"_{i}" for i in range(count)], PLAIN, conditions)


class Values:
    """The chain's stages as plain balls, with any name moved by an offset: what limits and quotients are made of. `work`: what
    all of it has cost so far."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        stages, self._held = _holding(chain)
        self._steps: list[tuple[Stage, Program]] = [
            (stage, _value_program(canonical(stage.tree, stage.inputs), len(stage.inputs))) for stage in stages
        ]
        self.work, self._one = 0.0, 1 + sum(program.work for _, program in self._steps)

    def __call__(self, point: Mapping[str, Ball], offsets: Mapping[str, Ball]) -> Ball:
        """The output's ball at `point` (name -> ball) at the present precision; a nan ball outside the domain."""
        return self.every(point, offsets)[self.chain.output]

    def each(self, point: Mapping[str, Ball], offsets: Sequence[Mapping[str, Ball]]) -> list[Ball]:
        """The same by several offsets."""
        return [self(point, some) for some in offsets]

    def undefined(self, point: Mapping[str, Ball], offsets: Mapping[str, Ball] = NOWHERE) -> bool:
        """True where some operation certainly has no value."""
        return undefined(self, point, offsets)

    def every(self, point: Mapping[str, Ball], offsets: Mapping[str, Ball]) -> dict[str, Ball]:
        """The ball of every input and stage."""
        self.work += self._one * price(precision())
        values = {name: ball + offsets[name] if name in offsets else ball for name, ball in point.items()}
        still = self.every(point, NOWHERE) if self._held and offsets else {}
        for stage, program in self._steps:
            if still and stage.name in self._held:
                values[stage.name] = still[stage.name]
                continue
            (value,) = program(*(values[name] for name in stage.inputs))
            values[stage.name] = value + offsets[stage.name] if stage.name in offsets else value
        return values


def _holding(chain: Chain) -> tuple[Sequence[Stage], Set[str]]:
    """The stages, and before each what it detaches as stages of their own; and the names of these: they don't move."""
    stages: list[Stage] = []
    held: set[str] = set()
    for stage in chain.stages:
        done: dict[Node, Node] = {}
        for item in walk(stage.tree):
            done[item] = item
            if isinstance(item, Call):
                done[item] = Call(item.function, tuple(done[a] for a in item.arguments), item.position)
                if item.function == syntax.DETACH:
                    (inside,) = (done[a] for a in item.arguments)
                    name = f"{stage.name}~{len(held)}"
                    held.add(name)
                    stages.append(Stage(name, "", inside, variables(inside)))
                    done[item] = Variable(name)
        tree = done[stage.tree]
        stages.append(replace(stage, tree=tree, inputs=variables(tree)))
    return (stages, held) if held else (chain.stages, held)


class Line(Protocol):
    """What limits are taken of: a number at a point, some of whose names are moved by offsets. `work`: what was done for it so
    far."""

    @property
    def work(self) -> float: ...
    def __call__(self, point: Mapping[str, Ball], offsets: Mapping[str, Ball]) -> Ball: ...
    def each(self, point: Mapping[str, Ball], offsets: Sequence[Mapping[str, Ball]]) -> list[Ball]:
        """The same by several offsets."""

    def undefined(self, point: Mapping[str, Ball], offsets: Mapping[str, Ball] = NOWHERE) -> bool:
        """True where it certainly has no value."""


def undefined(values: Values, exact: Mapping[str, Ball], offsets: Mapping[str, Ball] = NOWHERE) -> bool:
    """True where some operation certainly has no value (1/0, log(-1)); False where the balls only can't decide, as in
    acos of a ball around 1, or whether an identity holds."""
    everything = values.every(exact, offsets)
    stage = next(s for s in values.chain.stages if not everything[s.name].is_finite())
    results: dict[Node, Any] = {}
    tree = expand(stage.tree, PLAIN)
    for item in walk(tree):
        match item:
            case Constant(value=value):
                results[item] = PLAIN.constant(value)
            case Variable(name=name):
                results[item] = everything[name]
            case Call():
                results[item] = _apply(item, [results[a] for a in item.arguments])
    while isinstance(tree, Call):  # down to the operation whose arguments all have values
        arguments = tree.arguments
        if tree.function == syntax.WHERE:
            condition = results[arguments[0]]
            arguments = arguments[:1] if condition is None else (arguments[1 if condition else 2],)
        lost = next((a for a in arguments if not _known(results[a])), None)
        if lost is None and results[tree] is not None and not results[tree].is_nan():
            return False  # a value beyond every size that is followed is a value
        if lost is None:
            corners = [_corners(results[a]) for a in tree.arguments]
            return not any(_known(_apply(tree, corner)) for corner in product(*corners))
        tree = lost
    return False


def _apply(call: Call, arguments: Sequence[Any]) -> Any:
    bound = TABLE[call.function].bind(arguments)
    terms = [int(a.unique_fmpz()) if parameter.kind == "integer" else a for parameter, a in bound]
    return evaluate(call.function)(*terms)


def _known(value: Any) -> bool:
    return isinstance(value, bool) or (value is not None and bool(value.is_finite()))


def _corners(value: Any) -> list[Any]:
    return [value] if isinstance(value, bool) or value.is_exact() else [value.lower(), value.mid(), value.upper()]

"""The chain rule over a map that is written down, and what it gives where a part of it is changed: numbers for `slips`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from gradcheck_cli.algebra.number import ONE, ZERO, Ball, exactly, is_ball
from gradcheck_cli.floats import Floats
from gradcheck_cli.language.parser import is_truth
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, walk
from gradcheck_cli.maps.written import Trees, evaluate, family, partial, result, upstream

ROUNDED = 1e-9
"""Relative difference up to which an output's float is the exact value, rounded."""

BARE = (-1, -1)
"""The place of a variable that is no argument of a call: a whole tree."""

GROUPS = 64
"""Places in the forward pass that are tried."""


Change = Callable[[Call, int, Ball], Ball]
"""What stands instead of the derivative of a call by one of its arguments."""


class Trial:
    """One point: torch's gradients, the exact ones, and their changes. Arrays are flat, an entry for each of an input's."""

    def __init__(self, trees: Trees) -> None:
        self.trees = trees
        self.found = evaluate([node for nodes in trees.outputs.values() for node in nodes], trees.values)
        self.order = [item for item in self.found if isinstance(item, Call)]
        self._partials = {(c, i): partial(c, i, self.found) for c in self.order for i in range(len(c.arguments))}
        self.exact = self.adjoint()
        self.given = self._exactly()
        self.torch = {
            name: numbers(nodes, evaluate(nodes, trees.values, dict(self.given))) for name, nodes in trees.gradients.items()
        }
        keys = patterns(self.order)
        groups: dict[int, list[Call]] = {}
        for call in self.order:
            groups.setdefault(keys[call], []).append(call)
        self._written: dict[str, tuple[list[Call], dict[Node, int]]] = {}
        self.changed: dict[object, dict[str, Floats]] = {}
        """Gradients with a change in them that have been computed."""
        self._groups: list[list[Call]] = list(groups.values())[-GROUPS:]
        self.edges = [
            Edge(calls[0], argument, frozenset(calls), i)
            for calls in reversed(self._groups)  # from the outputs back
            for i, argument in enumerate(calls[0].arguments)
            if not isinstance(argument, Constant)
        ]

    def _exactly(self) -> dict[Node, Any]:
        """The outputs that a backward may use, as exact as what they are compared with, where the floats are these."""
        found: dict[Node, Any] = {}
        for name, nodes in self.trees.outputs.items():
            for node, variable in zip(nodes, family(result(name), self.trees.shapes[result(name)]), strict=True):
                ball: Any = self.found[node]
                value = self.trees.values.get(variable.name)
                if is_ball(ball) and value is not None and bool(abs(ball - value) <= abs(ball) * ROUNDED):
                    found[variable] = ball
        return found

    def family(self, name: str) -> list[Variable]:
        """The variables of a tensor's entries."""
        return family(name, self.trees.shapes[name])

    def written(self, name: str) -> tuple[list[Call], dict[Node, int]]:
        """The calls by which torch computes a gradient, arguments before them, and their `patterns`."""
        if name not in self._written:
            items = dict.fromkeys(item for node in self.trees.gradients[name] for item in walk(node))
            calls = [item for item in items if isinstance(item, Call)]
            self._written[name] = calls, patterns(calls)
        return self._written[name]

    def members(self, name: str) -> Iterator[list[Call]]:
        """Calls that are written alike: one for each entry of the input, of that entry alone, or a single one for all."""
        variables = self.family(name)
        for calls in self._groups:
            own: dict[str, Call] = {}
            for call in calls:
                names = {n.name for n in walk(call) if isinstance(n, Variable)}
                own |= {names.pop(): call} if len(names) == 1 else {}
            if len(calls) == 1:
                yield calls
            elif len(own) == len(calls) == len(variables) and all(v.name in own for v in variables):
                yield [own[v.name] for v in variables]

    def adjoint(
        self,
        cotangent: Callable[[float], float] = lambda v: v,
        change: Change = lambda call, position, slope: slope,
        keep: dict[Node, Ball] | None = None,
        given: Mapping[str, float] = MappingProxyType({}),
    ) -> dict[str, Floats]:
        """The gradients by the chain rule, with changed upstream gradients (`given`: some of them by name) or changed
        derivatives of some calls. `keep` takes the derivatives by everything on the way."""
        sums: dict[Node, Ball] = {} if keep is None else keep
        for name, nodes in self.trees.outputs.items():
            for node, v in zip(nodes, family(upstream(name), self.trees.shapes[result(name)]), strict=True):
                sums[node] = sums.get(node, ZERO) + cotangent(given.get(v.name, self.trees.values.get(v.name, 0.0)))
        for call in reversed(self.order):
            total = sums.get(call)
            if total is None or total.is_zero():
                continue
            for i, argument in enumerate(call.arguments):
                slope = change(call, i, self._partials[call, i])
                if not (isinstance(argument, Constant) or slope.is_zero()):
                    sums[argument] = sums.get(argument, ZERO) + total * slope
        return {name: numbers(self.family(name), sums) for name in self.trees.gradients}

    def tangent(self, name: str) -> Floats:
        """The Jacobian by an input (not its transpose) applied to the upstream gradient; empty where their sizes differ."""
        values = self.trees.values
        outputs = self.trees.outputs
        cotangents = [v for output in outputs for v in family(upstream(output), self.trees.shapes[result(output)])]
        if len(cotangents) != len(self.family(name)):
            return np.zeros(0)
        return self.pushed(name, [values.get(v.name, 0.0) for v in cotangents])

    def pushed(self, name: str, direction: Sequence[float], change: Change = lambda call, position, slope: slope) -> Floats:
        """The derivative of all outputs along a direction of one input, with changed derivatives of some calls."""
        moved: dict[Node, Ball] = {x: exactly(u) for x, u in zip(self.family(name), direction, strict=True)}
        for call in self.order:
            terms = (moved[a] * change(call, i, self._partials[call, i]) for i, a in enumerate(call.arguments) if a in moved)
            moved[call] = sum(terms, ZERO)
        return numbers([node for nodes in self.trees.outputs.values() for node in nodes], moved)


class Pushed(Trial):
    """The same of the derivative along a direction, as if that were the gradient by the first input. `parts`: by each input
    that moves; `found`: what torch has."""

    def __init__(self, trees: Trees, direction: Mapping[str, Sequence[float]], found: Floats) -> None:
        self._direction = direction
        super().__init__(trees)
        self.parts = {n: self.pushed(n, u) for n, u in direction.items()}
        self.torch = {next(iter(direction)): found}

    def adjoint(
        self,
        cotangent: Callable[[float], float] = lambda v: v,
        change: Change = lambda call, position, slope: slope,
        keep: dict[Node, Ball] | None = None,
        given: Mapping[str, float] = MappingProxyType({}),
    ) -> dict[str, Floats]:
        total = np.asarray(sum(self.pushed(n, u, change) for n, u in self._direction.items()))
        return {next(iter(self._direction)): total}


@dataclass(frozen=True)
class Edge:
    """A place in the forward pass: an argument of a call, in all calls that are written alike."""

    call: Call
    argument: Node
    alike: frozenset[Call]
    position: int

    def changed(self, trial: Trial, factor: Ball | None) -> dict[str, Floats]:
        """The gradients with the derivative here multiplied by a factor, or 1 for None."""

        def change(call: Call, i: int, slope: Ball) -> Ball:
            if call not in self.alike or call.arguments[i] != call.arguments[self.position]:
                return slope
            return ONE if factor is None else slope * factor

        return trial.adjoint(change=change)


def numbers(nodes: Sequence[Node], found: Mapping[Node, Any]) -> Floats:
    """The midpoints of some nodes' balls; 0 for a node that has none."""
    return np.array([float(found.get(node, ZERO)) for node in nodes])


def patterns(calls: Sequence[Call]) -> dict[Node, int]:
    """A number for every call (arguments stand before their calls): the same for calls that differ in indices only."""
    known: dict[object, int] = {}
    found: dict[Node, int] = {}
    for call in calls:
        for argument in call.arguments:
            if not isinstance(argument, Call):
                written = argument.name.partition("[")[0] if isinstance(argument, Variable) else argument
                found[argument] = known.setdefault(written, len(known))
        found[call] = known.setdefault((call.function, *(found[a] for a in call.arguments)), len(known))
    return found


def matrices(trees: Trees) -> Mapping[str, Mapping[str, Variable]]:
    """The square matrices among the inputs, whole or entry by entry: each entry's name, and what is there in the transpose."""
    entries: dict[str, set[tuple[int, int]]] = {}
    for name, shape in trees.shapes.items():
        for v in family(name, shape) if len(shape) != 2 or shape[0] == shape[1] else ():
            base, _, rest = v.name.partition("[")
            index = rest.removesuffix("]").split(",")
            if len(index) == 2 and " " not in base and all(i.strip().isdigit() for i in index):
                entries.setdefault(base, set()).add((int(index[0]), int(index[1])))
    return {
        base: {f"{base}[{i},{j}]": Variable(f"{base}[{j},{i}]") for i, j in found if (j, i) in found}
        for base, found in entries.items()
        if any(i != j and (j, i) in found for i, j in found)
    }


def mended(
    nodes: Sequence[Node], keys: Mapping[Node, int], places: set[tuple[int, int]], replaced: Mapping[str, Variable]
) -> list[Node]:
    """The trees with some occurrences of variables replaced."""
    done: dict[Node, Node] = {}
    for node in nodes:
        for item in walk(node):
            if item in done or not isinstance(item, Call):
                done.setdefault(item, item)
                continue
            arguments = tuple(
                replaced[a.name] if isinstance(a, Variable) and (keys[item], i) in places and a.name in replaced else done[a]
                for i, a in enumerate(item.arguments)
            )
            done[item] = item if arguments == item.arguments else Call(item.function, arguments)
    bare = replaced if BARE in places else {}
    return [bare.get(node.name, node) if isinstance(node, Variable) else done[node] for node in nodes]


def made_by(nodes: Sequence[Node]) -> Iterator[Call]:
    """The calls that numbers are made by, not those of conditions alone."""
    waiting, seen = list(nodes), set[Node]()
    while waiting:
        node = waiting.pop()
        if isinstance(node, Call) and node not in seen and not is_truth(node):
            seen.add(node)
            waiting += node.arguments
            yield node

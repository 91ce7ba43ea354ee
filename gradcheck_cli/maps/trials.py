"""The chain rule over a map that is written down, and what it gives where a part of it is changed: numbers for `slips`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import combinations
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from gradcheck_cli.algebra.number import ZERO, Ball, exactly, is_ball
from gradcheck_cli.floats import Floats
from gradcheck_cli.language import syntax
from gradcheck_cli.language.parser import is_truth
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, walk
from gradcheck_cli.maps.pieces import opened
from gradcheck_cli.maps.written import Trees, evaluate, family, partial, result, upstream

ROUNDED = 1e-9
"""Relative difference up to which an output's float is the exact value, rounded."""

BARE = (-1, -1)
"""The place of a variable that is no argument of a call: a whole tree."""

GROUPS = 64
"""Places in the forward pass that are tried."""


CLOSE = 1e-7
CANCELLED = 1e-12
"""How well a slip must fit every entry: relative to it, and to the largest one, of which cancellation may leave as much."""

OCCURRENCES = 6
"""Places of a variable whose subsets are tried."""

Candidates = Iterator[tuple[str, Callable[[], Floats]]]
"""What is said of a slip, and the gradient that it makes."""

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
        self._group(loose=False)

    def _group(self, loose: bool) -> None:
        """Which calls are written alike; all that hangs on it is computed anew."""
        self.loose = loose
        keys = patterns(self.order, loose)
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

    def loosened(self) -> Self | None:
        """The same where calls that differ in numbers are written alike: a mask, a target, a maximum goes into them. None where
        that is the same."""
        calls = [*self.order, *(c for name in self.trees.gradients for c in self.written(name)[0])]
        if len(set(patterns(calls, loose=True).values())) == len(set(patterns(calls).values())):
            return None
        other = copy(self)
        other._group(loose=True)
        return other

    def opened(self) -> Self | None:
        """The same where functions that are made of others (silu, gelu) are written as these. None where there are none."""
        done: dict[Node, Node] = {}
        outputs = {name: [opened(node, done, products=True) for node in nodes] for name, nodes in self.trees.outputs.items()}
        return None if outputs == self.trees.outputs else self.of(replace(self.trees, outputs=outputs))

    def of(self, trees: Trees) -> Self:
        """The same point with other trees."""
        return type(self)(trees)

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

    def partial(self, call: Call, position: int) -> Ball:
        """The derivative of a call by one of its arguments."""
        return self._partials[call, position]

    def family(self, name: str) -> list[Variable]:
        """The variables of a tensor's entries."""
        return family(name, self.trees.shapes[name])

    def written(self, name: str) -> tuple[list[Call], dict[Node, int]]:
        """The calls by which torch computes a gradient, arguments before them, and their `patterns`."""
        if name not in self._written:
            items = dict.fromkeys(item for node in self.trees.gradients[name] for item in walk(node))
            calls = [item for item in items if isinstance(item, Call)]
            self._written[name] = calls, patterns(calls, self.loose)
        return self._written[name]

    def form(self, name: str) -> object:
        """What a point shares with others of its function: how a gradient and the forward pass are written, but for indices
        and numbers."""
        gradient = self.trees.gradients.get(name, ())
        calls = [*self.order, *(item for item in walk(*gradient) if isinstance(item, Call))]
        keys = patterns(calls, loose=True)
        leaves = (item.name.partition("[")[0] for item in keys if isinstance(item, Variable))
        return (*dict.fromkeys(leaves), *((c.function, *(keys[a] for a in c.arguments)) for c in calls))

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

    def pushed(
        self,
        name: str,
        direction: Sequence[float],
        change: Change = lambda call, position, slope: slope,
        keep: dict[Node, Ball] | None = None,
    ) -> Floats:
        """The derivative of all outputs along a direction of one input, with changed derivatives of some calls. `keep` takes
        those of everything on the way."""
        moved: dict[Node, Ball] = {} if keep is None else keep
        moved |= {x: exactly(u) for x, u in zip(self.family(name), direction, strict=True)}
        for call in self.order:
            terms = (moved[a] * change(call, i, self._partials[call, i]) for i, a in enumerate(call.arguments) if a in moved)
            moved[call] = sum(terms, ZERO)
        return numbers([node for nodes in self.trees.outputs.values() for node in nodes], moved)


class Pushed(Trial):
    """The same of the derivative along a direction, as if that were the gradient by the first input. `parts`: by each input
    that moves; `found`: what torch has."""

    def __init__(self, trees: Trees, direction: Mapping[str, Sequence[float]], found: Floats) -> None:
        self._direction, self._found = direction, found
        super().__init__(trees)
        self.parts = {n: self.pushed(n, u) for n, u in direction.items()}
        self.torch = {next(iter(direction)): found}

    def of(self, trees: Trees) -> Self:
        return type(self)(trees, self._direction, self._found)

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

    def bends(self, trial: Trial) -> bool:
        """Whether the derivative here is another number than 0, 1 or -1 somewhere."""
        return any(abs(float(trial.partial(call, self.position))) not in (0.0, 1.0) for call in self.alike)

    def changed(self, trial: Trial, derivative: Callable[[Call, Ball], Ball]) -> dict[str, Floats]:
        """The gradients with another derivative here: of each call, made of the right one."""

        def change(call: Call, i: int, slope: Ball) -> Ball:
            here = call in self.alike and call.arguments[i] == call.arguments[self.position]
            return derivative(call, slope) if here else slope

        return trial.adjoint(change=change)


def numbers(nodes: Sequence[Node], found: Mapping[Node, Any]) -> Floats:
    """The midpoints of some nodes' balls; 0 for a node that has none."""
    return np.array([float(found.get(node, ZERO)) for node in nodes])


def patterns(calls: Sequence[Call], loose: bool = False) -> dict[Node, int]:
    """A number for every call (arguments stand before their calls): the same for calls that differ in indices only; or, where
    that is `loose`, in numbers too, but for exponents."""
    known: dict[object, int] = {}
    found: dict[Node, int] = {}
    for call in calls:
        for argument in call.arguments:
            match argument:
                case Variable(name=name):
                    found[argument] = known.setdefault(name.partition("[")[0], len(known))
                case Constant():
                    number = "..." if loose and call.function != syntax.POW else argument
                    found[argument] = known.setdefault(number, len(known))
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


def close(found: Floats, wanted: Floats, scale: float = 0.0) -> bool:
    """Whether every entry is right, by itself: to within CLOSE of it, or what cancels leaves of the largest one, or of
    `scale`."""
    if found.shape != wanted.shape or not np.isfinite(found).all():
        return False
    return not _off(found, wanted, scale).any()


def _off(found: Floats, wanted: Floats, scale: float = 0.0) -> npt.NDArray[np.bool_]:
    """Which entries are wrong."""
    with np.errstate(all="ignore"):
        return ~(abs(found - wanted) <= CLOSE * abs(wanted) + CANCELLED * float(np.max(abs(wanted), initial=scale)))


def exact_with(trial: Trial, name: str, replaced: Mapping[str, Variable]) -> Floats:
    """The gradient as it is, where it would be exact with some variables in the place of others, wherever these stand, or in
    some places; else nothing. Not in a condition alone: there it would choose another branch, whatever that is for."""
    nodes, (calls, keys) = trial.trees.gradients[name], trial.written(name)
    numerical = set(made_by(nodes))
    places = list(
        dict.fromkeys(
            (keys[c], i)
            for c in calls
            if c in numerical
            for i, a in enumerate(c.arguments)
            if isinstance(a, Variable) and a.name in replaced
        )
    )
    places += [BARE] if any(isinstance(node, Variable) and node.name in replaced for node in nodes) else []

    def changed(chosen: set[tuple[int, int]], there: slice) -> list[Node]:
        return mended(nodes[there], keys, chosen, replaced)

    for count in range(1, len(places) + 1 if len(places) <= OCCURRENCES else 0):
        for chosen in map(set, combinations(places, count)):
            if exact_where(trial, name, functools.partial(changed, chosen)):
                return trial.torch[name]
    return np.zeros(0)


def exact_where(trial: Trial, name: str, changed: Callable[[slice], Sequence[Node]]) -> bool:
    """Whether changed trees of a gradient's entries are exact: of the worst one, and then of all."""
    exact = trial.exact[name]
    worst, scale = int(np.argmax(abs(trial.torch[name] - exact))), float(np.max(abs(exact)))
    for there in (slice(worst, worst + 1), slice(None)):
        nodes = changed(there)
        values = numbers(nodes, evaluate(nodes, trial.trees.values, dict(trial.given)))
        if not close(values, exact[there], scale):
            return False
    return True


def used(trial: Trial, name: str) -> set[str]:
    """The variables in torch's gradient."""
    return {n.name for node in trial.trees.gradients[name] for n in walk(node) if isinstance(n, Variable)}


def said(name: str) -> str:
    """A family of variables in words."""
    if name.startswith(upstream("")):
        return "the upstream gradient"
    return f"the {name}" if name.startswith(result("")) else f"the input {name}"

"""One operation, or one constant, of a backward in another's place: the change that makes its gradient exact is the slip.

Looked for from the formula of the backward pass, as a variable in the wrong place is (`candidates`): each operation of it in
turn is changed in all entries alike, and the gradient must become exact. A constant isn't guessed but solved for.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from gradcheck_cli.floats import Floats
from gradcheck_cli.language import syntax
from gradcheck_cli.language.parser import is_truth
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, substitute, variables, walk
from gradcheck_cli.maps import pieces
from gradcheck_cli.maps.map import called
from gradcheck_cli.maps.trials import Trial, made_by, numbers
from gradcheck_cli.maps.written import evaluate, result, upstream

Repairs = Iterator[tuple[str, Callable[[], Floats]]]

WORK = 20_000
"""Nodes of trees that are gone through for one input at one point: about half a second. What is left then isn't looked at."""

QUOTING = 200
"""What the words of one change count of it."""

NEAR = 0.02
LARGEST = 1000
"""A constant is named only where the right one is plain: near to one that the forward pass hasn't, a whole number of that size
or half of one, its inverse, or one of the forward pass. Of two that are multiplied either could be changed."""

LEFT = 1e-6
CANCELLED = 1e-12
"""What a change may leave: of the error, and of the largest entry, of which cancellation may leave as much."""

SOLVED = "the constant"
"""How a text begins about what is solved for: where nothing is wrong, it can't be."""

STEPS, MOVED, STILL = 12, 1e-3, 1e-14
"""Steps of the secant method for a constant, the first of them, and the change at which it stands, relative to it."""

OTHERS: Mapping[str, tuple[str, ...]] = {
    "sin": ("cos",),
    "cos": ("sin",),
    "sinh": ("cosh",),
    "cosh": ("sinh",),
    "tanh": ("sigmoid",),
    "sigmoid": ("tanh",),
    syntax.LT: (syntax.GT,),
    syntax.GT: (syntax.LT,),
    syntax.LE: (syntax.GE,),
    syntax.GE: (syntax.LE,),
    syntax.ADD: (syntax.SUB,),
    syntax.SUB: (syntax.ADD,),
    syntax.MUL: (syntax.DIV,),
    syntax.DIV: (syntax.MUL,),
    syntax.AND: (syntax.OR,),
    syntax.OR: (syntax.AND,),
    syntax.MAXIMUM: (syntax.MINIMUM,),
    syntax.MINIMUM: (syntax.MAXIMUM,),
}
"""Functions that are taken for one another."""

_SIDED = (syntax.ADD, syntax.SUB, syntax.MUL, syntax.DIV)
_TURNED = (syntax.SUB, syntax.DIV)
"""Operations of two sides: one of which is too many, or which are the wrong way round."""

_ONE, _TWO = Constant(1), Constant(2)
_AROUND: tuple[Callable[[Node], Node], ...] = (
    lambda u: Call(syntax.NEG, (u,)),
    lambda u: Call(syntax.MUL, (_TWO, u)),
    lambda u: Call(syntax.DIV, (u, _TWO)),
    lambda u: Call(syntax.POW, (u, _TWO)),
    lambda u: Call(syntax.SQRT, (u,)),
    lambda u: Call(syntax.ADD, (u, _ONE)),
    lambda u: Call(syntax.SUB, (_ONE, u)),
)
"""What is forgotten around a term."""

Change = Callable[[Call], Node]

Place = tuple[int, int] | None
"""Where a call is changed: as this argument of calls that are written alike, or wherever it stands."""

ROOT = (-1, -1)
"""The place of a call that is no argument: of a whole tree."""


@dataclass
class _Backward:
    """The gradient by one input, as it is computed."""

    trial: Trial
    name: str
    left: int = WORK

    def __post_init__(self) -> None:
        self.nodes = self.trial.trees.gradients[self.name]
        self.exact, self.torch = self.trial.exact[self.name], self.trial.torch[self.name]
        self.worst = int(np.argmax(abs(self.torch - self.exact)))
        self.known = evaluate(self.nodes, self.trial.trees.values, dict(self.trial.given))
        self.calls, self.keys = self.trial.written(self.name)

    def groups(self) -> list[list[Call]]:
        """The calls, those together that are written alike; none of one entry among several, which is said of that entry."""
        alike: dict[int, list[Call]] = {}
        for call in self.calls:
            alike.setdefault(self.keys[call], []).append(call)
        entries = Counter(k for node in self.nodes for k in {self.keys[c] for c in walk(node) if isinstance(c, Call)})
        return [group for key, group in alike.items() if entries[key] > 1 or len(self.nodes) == 1]

    def places(self, group: Sequence[Call]) -> list[Place]:
        """Wherever such a call stands, and each place by itself, if there are several."""
        key = self.keys[group[0]]
        found = dict.fromkeys(
            (self.keys[c], i)
            for c in self.calls
            for i, a in enumerate(c.arguments)
            if isinstance(a, Call) and self.keys[a] == key
        )
        if any(isinstance(node, Call) and self.keys[node] == key for node in self.nodes):
            found[ROOT] = None
        return [None, *found] if len(found) > 1 else [None]

    def changed(self, nodes: Sequence[Node], key: int | None, change: Change, place: Place = None) -> Floats:
        """Entries of the gradient with a change of calls that are written alike, or of all; only what hangs on them is computed
        anew."""
        done: dict[Node, Node] = {}
        other: dict[Node, Node] = {}
        for node in nodes:
            for item in walk(node):
                if item in done or not isinstance(item, Call):
                    done.setdefault(item, item)
                    continue
                self.left -= 1
                here = (self.keys[item], -1)
                arguments = tuple(
                    other[a] if a in other and (here[0], i) == place else done[a] for i, a in enumerate(item.arguments)
                )
                same = all(a is b for a, b in zip(arguments, item.arguments, strict=True))
                new: Node = item if same else Call(item.function, arguments)
                if key is None or self.keys[item] == key:
                    other[item] = change(new) if isinstance(new, Call) else new
                    new = other[item] if place is None else new
                done[item] = new
        changed = [other.get(node, done[node]) if place == ROOT else done[node] for node in nodes]
        return numbers(changed, evaluate(changed, self.trial.trees.values, dict(self.known)))

    def mended(self, key: int | None, change: Change, place: Place = None) -> Floats:
        """The gradient as it is where a change makes it exact, the worst entry first; else nothing."""
        worst = slice(self.worst, self.worst + 1)
        with np.errstate(all="ignore"):
            right = self._right(self.changed(self.nodes[worst], key, change, place), worst) and self._right(
                self.changed(self.nodes, key, change, place), slice(None)
            )
        return self.torch if right else np.zeros(0)

    def _right(self, values: Floats, entries: slice) -> bool:
        error, scale = np.max(abs(self.torch - self.exact)), np.max(abs(self.exact))
        return bool((abs(values - self.exact[entries]) <= LEFT * min(error, scale) + CANCELLED * scale).all())

    def solved(self, start: float, key: int | None, put: Callable[[float], Change], place: Place = None) -> float | None:
        """The number in the place of a constant that makes the worst entry exact, by the secant method; None where there is
        none."""
        worst = slice(self.worst, self.worst + 1)

        def off(value: float) -> float:
            return float(self.changed(self.nodes[worst], key, put(value), place)[0] - self.exact[self.worst])

        a, b = start, start * (1 + MOVED)
        try:
            at_a, at_b = off(a), off(b)
            for _ in range(STEPS):
                if at_a == at_b or not math.isfinite(at_a + at_b):
                    return None
                a, b, at_a = b, b - at_b * (b - a) / (at_b - at_a), at_b
                if abs(b - a) <= STILL * abs(b):
                    return b
                at_b = off(b)
                if at_b == 0:
                    return b
        except (ArithmeticError, ValueError, TypeError):
            return None
        return None


Quote = Callable[[Node], str]


def conditions(trial: Trial, name: str, quoted: Quote) -> Repairs:
    """Every change of one condition that makes the gradient exact, in words, and the gradient as it is."""
    backward = _Backward(trial, name)
    asked = pieces.conditions(node for nodes in trial.trees.outputs.values() for node in nodes)
    limits = list(dict.fromkeys(_constants(c for c in asked if isinstance(c, Call))))
    connected = (syntax.AND, syntax.OR)
    groups = (g for g in backward.groups() if is_truth(g[0]))
    for group in sorted(groups, key=lambda g: g[0].function not in connected):
        for change in _conditions(group[0], limits):
            yield from _mending(backward, group[0], change, None, quoted)


def operations(trial: Trial, name: str, quoted: Quote) -> Repairs:
    """The same of constants, and of operations that numbers are made by."""
    backward = _Backward(trial, name)
    numerical = set(made_by(backward.nodes))
    groups = [g for g in backward.groups() if g[0] in numerical]
    meant = {abs(c.value) for c in _constants(trial.order)}
    added = list(dict.fromkeys(_constants(c for c in trial.order if c.function == syntax.ADD)))

    for size in dict.fromkeys(abs(c.value) for c in _constants(backward.calls)):
        put = partial(_everywhere, size)
        value = backward.solved(size, None, put) if size and backward.left > 0 else None
        if value is not None and _plain(value, size, meant):
            yield _solution(size, value), partial(backward.mended, None, put(value))
    for group in groups:
        key = backward.keys[group[0]]
        for i, argument in enumerate(group[0].arguments):
            if not (isinstance(argument, Constant) and _number(argument) and argument.value):
                continue
            for place in backward.places(group) if backward.left > 0 else ():
                value = backward.solved(float(argument.value), key, partial(_at, i), place)
                if value is not None and _plain(value, argument.value, meant):
                    text = f"{_solution(argument.value, value)} in {quoted(_renamed(group[0], _names(trial)))}"
                    yield text, partial(backward.mended, key, _at(i, value), place)
    for group in groups:
        for change in _operations(group[0], added):
            for place in backward.places(group) if backward.left > 0 else ():
                yield from _mending(backward, group[0], change, place, quoted)


def _solution(wrong: float, right: float) -> str:
    return f"{SOLVED} {wrong:.10g} stands where {right:.10g} belongs"


def _mending(backward: _Backward, call: Call, change: Change, place: Place, quoted: Quote) -> Repairs:
    """One change, if it makes the gradient exact: few do, and words take longer than numbers."""
    found = backward.mended(backward.keys[call], change, place) if backward.left > 0 else np.zeros(0)
    if len(found):
        names = _names(backward.trial)
        text = f"{quoted(_renamed(call, names))} stands where {quoted(_renamed(change(call), names))} belongs"
        backward.left -= QUOTING
        if re.search(r"[a-z]\w*\[|\b\d", text):  # not dots alone
            yield text, lambda: found


def _plain(value: float, wrong: float, meant: set[float]) -> bool:
    """Whether a number is one that somebody would have written."""
    size, wrong = abs(value), abs(wrong)
    if value == 0 or abs(size - wrong) <= STILL * wrong:
        return False
    whole = (x for n in (1, 2) for x in (size * n, n / size))
    return (
        (wrong not in meant and abs(size - wrong) <= NEAR * wrong)
        or any(math.isclose(x, round(x), rel_tol=1e-9) for x in whole if 0.5 < x < LARGEST)
        or any(math.isclose(size, x, rel_tol=1e-9) for x in meant)
    )


def _conditions(call: Call, limits: Sequence[Constant]) -> Iterator[Change]:
    """Another comparison, or another limit, of those of the forward pass."""
    yield from (partial(_called, other) for other in OTHERS.get(call.function, ()))
    for i, argument in enumerate(call.arguments):
        if _number(argument):
            yield from (_at(i, limit.value) for limit in limits if limit != argument)


def _operations(call: Call, added: Sequence[Constant]) -> Iterator[Change]:
    """Another operation, one side of it, or something around it: what the forward pass adds (`added`) too."""
    yield from (partial(_called, other) for other in OTHERS.get(call.function, ()))
    if call.function in _TURNED:
        yield lambda c: Call(c.function, c.arguments[::-1])
    if call.function in _SIDED:
        yield lambda c: c.arguments[0]
        yield lambda c: c.arguments[1]
    yield from _AROUND
    yield from (partial(_plus, constant) for constant in added if constant != _ONE)


def _plus(constant: Constant, call: Call) -> Node:
    return Call(syntax.ADD, (call, constant))


def _called(function: str, call: Call) -> Node:
    return Call(function, call.arguments)


def _at(position: int, value: float) -> Change:
    """With this number as one of the arguments."""
    number = Constant(int(value) if float(value).is_integer() else value)
    return lambda c: Call(c.function, (*c.arguments[:position], number, *c.arguments[position + 1 :]))


def _everywhere(size: float, value: float) -> Change:
    """With this number, and the sign that was there, for constants of a size."""

    def put(argument: Node) -> Node:
        if not (isinstance(argument, Constant) and _number(argument) and abs(argument.value) == size):
            return argument
        new = math.copysign(1.0, argument.value) * value
        return Constant(int(new) if new.is_integer() else new)

    def change(call: Call) -> Node:
        arguments = tuple(map(put, call.arguments))
        return call if arguments == call.arguments else Call(call.function, arguments)

    return change


def _number(node: Node) -> bool:
    return isinstance(node, Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool)


def _constants(calls: Iterable[Call]) -> Iterator[Constant]:
    """The numbers that stand in some calls."""
    return (a for c in calls for a in c.arguments if isinstance(a, Constant) and _number(a))


def _names(trial: Trial) -> dict[str, str]:
    """What the reader calls the outputs and their upstream gradients."""
    outputs, inputs = list(trial.trees.outputs), trial.trees.gradients
    letters = {upstream(n): f"v_{n}" if len(outputs) > 1 else called("v", n, inputs) for n in outputs}
    return letters | {result(n): n for n in outputs}


def _renamed(node: Node, names: Mapping[str, str]) -> Node:
    found = {v: v.partition("[") for v in variables(node)}
    return substitute(node, {v: Variable(names.get(family, family) + b + i) for v, (family, b, i) in found.items()})

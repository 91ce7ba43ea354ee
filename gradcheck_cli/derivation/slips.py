"""The slips of one who differentiates by hand: a derivation in which exactly one rule is replaced by what is taken for it.

`missed` compares a claimed derivative with each of them, in balls, at two points beside the user's: at both the claim is what
the slip gives, and isn't the derivative. So what is said of it is true as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from gradcheck_cli.algebra.number import Ball, is_ball
from gradcheck_cli.derivation.at import At
from gradcheck_cli.derivation.rules import OF_FUNCTIONS, SLOPES, STAGE, VARIABLE, rate, read
from gradcheck_cli.derivation.steps import Step, derive, variable
from gradcheck_cli.derivation.tidy import ONE, ZERO, call, filled
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import TABLE
from gradcheck_cli.language.printer import show
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, substitute, variables

LARGEST = 120
"""Steps up to which a derivation is searched."""

SHORT = 30
"""The same, where what comes out is differentiated once more."""

QUOTED = 60
"""Characters up to which a formula is quoted."""


@dataclass(frozen=True)
class Slip:
    """`wrong` stands instead of the derivative of `step`: a formula of what that is made of."""

    step: Step
    wrong: Node
    text: str


Point = tuple[At, Ball]
"""The values of all names, and that of the claim."""


def missed(root: Step, points: Sequence[Point]) -> str | None:
    """The sentence about the one step that a claimed derivative misses; None where no single slip makes the claim."""
    order = list(root.every())
    if len(order) > LARGEST or not points:
        return None
    trials = [_Trial(order, at, claimed) for at, claimed in points]
    if not all(trial.wrong for trial in trials):
        return None
    return next((slip.text for slip in slips(order) if all(trial.fits(slip) for trial in trials)), None)


def missed_before(first: Step, name: str, points: Sequence[Point]) -> str | None:
    """The same of a slip in the derivation of what is then differentiated by `name`."""
    order = list(first.every())
    if len(order) > SHORT or not points:
        return None
    for slip in slips(order):
        changed = derive(_with(order, slip), {name: variable(name)}).result
        found: list[Ball] = [at(changed) for at, _ in points]
        if all(is_ball(f) and _sharp(f) and f.overlaps(claimed) for f, (_, claimed) in zip(found, points, strict=True)):
            return slip.text
    return None


def _with(order: Sequence[Step], slip: Slip) -> Node:
    """The derivative that a derivation with a slip in it ends with."""
    changed = {id(slip.step): slip.wrong}
    for step in order:
        if id(step) not in changed and any(id(part) in changed for part in step.parts.values()):
            parts = {letter: changed.get(id(part), part.result) for letter, part in step.parts.items()}
            changed[id(step)] = filled(step.rule.formula, {**step.operands, **parts})
    return changed.get(id(order[-1]), order[-1].result)


class _Trial:
    """One point."""

    def __init__(self, order: Sequence[Step], at: At, claimed: Ball) -> None:
        self._order, self._at, self._claimed = order, at, claimed
        self._places = {id(step): i for i, step in enumerate(order)}
        self._exact = {id(step): at(step.result) for step in order}
        exact = self._exact[id(order[-1])]
        self.wrong = is_ball(exact) and _sharp(exact) and _sharp(claimed) and not exact.overlaps(claimed)

    def fits(self, slip: Slip) -> bool:
        """Whether the claim is what the derivation gives with this slip in it."""
        changed = {id(slip.step): self._at(slip.wrong)}
        for step in self._order[self._places[id(slip.step)] + 1 :]:
            if any(id(part) in changed for part in step.parts.values()):
                values = {
                    letter: self._at(node) for letter, node in step.operands.items() if letter in variables(step.rule.formula)
                }
                values |= {letter: changed.get(id(part), self._exact[id(part)]) for letter, part in step.parts.items()}
                changed[id(step)] = At(values)(step.rule.formula)
        found: Ball = changed.get(id(self._order[-1]))
        return is_ball(found) and _sharp(found) and found.overlaps(self._claimed)


def _sharp(ball: Ball) -> bool:
    """Whether two balls that overlap are the same number for all that matters; a number typed with 16 digits has 50 bits."""
    return bool(ball.is_finite()) and (ball.is_zero() or ball.rel_accuracy_bits() >= _TYPED)


_TYPED = 45


def slips(order: Sequence[Step]) -> Iterator[Slip]:
    """Every slip in a derivation, the outermost step's first."""
    yield from _at_the_input(order)
    for step in reversed(order):
        filling = step.filling
        for text, sentence in (*step.rule.slips, *OF_FUNCTIONS.get(getattr(step.of, "function", ""), ())):
            if step.owns and any(f"{{{letter}}}" in sentence and part.rule is VARIABLE for letter, part in step.parts.items()):
                continue  # nobody forgets, or misplaces, the inner derivative of sin(x)
            yield Slip(step, substitute(read(text), filling), filled_in(sentence, step))
        yield from _elsewhere(step)
        for own, p in zip(step.owns, (p for p in SLOPES if p in step.operands), strict=True):
            for wrong, what in _misremembered(own.formula):
                bound = {q.name: a for q, a in TABLE[own.function].bind(step.of.arguments)} if isinstance(step.of, Call) else {}
                changed = substitute(step.rule.formula, {**filling, p: substitute(wrong, bound)})
                itself = Call(own.function, tuple(Variable(q.name) for q in TABLE[own.function].parameters))
                yield Slip(step, changed, f"the derivative of {_shown(itself)} is {_shown(own.formula)}: {what}")
    for step in reversed(order):
        if step.parts and isinstance(step.of, Call):
            yield Slip(step, step.of, f"{_shown(step.of)} isn't differentiated")


def _at_the_input(order: Sequence[Step]) -> Iterator[Slip]:
    """The last stage's own derivative, taken at the input of the stage before it."""
    root = order[-1]
    seeds = {step.of.name: step for step in order if isinstance(step.of, Variable) and step.varies and step is not root}
    for name, step in seeds.items():
        if step.rule is not STAGE:
            continue
        marked = {n: replace(s, result=Variable(rate(f" {n}"))) for n, s in seeds.items()}
        outer = derive(root.of, marked).result
        rates = {rate(f" {n}"): s.result for n, s in seeds.items()}
        own = substitute(outer, {**dict.fromkeys(rates, ZERO), rate(f" {name}"): ONE})
        for place in variables(step.operands["u"]):
            wrong = substitute(substitute(outer, {name: Variable(place)}), rates)
            what = f"the derivative of {_shown(root.of)} by {name}, {_shown(filled(own, {}))}"
            sentence = f"{what}, is taken at {place}, not at {name} = {_shown(step.operands['u'])}"
            yield Slip(root, wrong, sentence)
            bare = substitute(substitute(outer, {name: Variable(place)}), {**rates, rate(f" {name}"): ONE})
            yield Slip(root, bare, f"{sentence}, and the derivative {_shown(step.result)} of {name} is missing")


def _elsewhere(step: Step) -> Iterator[Slip]:
    """The outer derivative of a composition, taken at another place than at the inner function."""
    inner = step.operands.get("u")
    outer = [p for p in SLOPES if p in step.operands] or (["v"] if step.rule.function == syntax.POW else [])
    if inner is None or set(step.parts) != {rate("u")} or not outer or isinstance(inner, Variable):
        return
    for place in (*map(Variable, variables(inner)), step.parts[rate("u")].result):
        moved = dict(step.operands, u=place)
        for own, p in zip(step.owns, (p for p in SLOPES if p in moved), strict=True):
            assert isinstance(step.of, Call)
            bound = {q.name: a for q, a in TABLE[own.function].bind((place, *step.of.arguments[1:]))}
            moved[p] = substitute(own.formula, bound)
        derivative = step.parts[rate("u")].result
        sentence = f"the outer derivative of {_shown(step.of)} is taken at {_shown(inner)}, not at {_shown(place)}"
        yield Slip(step, substitute(step.rule.formula, {**moved, rate("u"): derivative}), sentence)
        bare = substitute(step.rule.formula, {**moved, rate("u"): ONE})
        yield Slip(step, bare, f"{sentence}, and the inner derivative {_shown(derivative)} is missing")
    if isinstance(step.of, Call) and step.owns:
        inside = Call(step.of.function, (step.parts[rate("u")].result, *step.of.arguments[1:]))
        sentence = f"the inner function stays as it is: {_shown(step.of)} has the derivative {_shown(step.result)}"
        yield Slip(step, inside, sentence)


@lru_cache(maxsize=1024)
def _misremembered(formula: Node) -> tuple[tuple[Node, str], ...]:
    """A function's derivative as one remembers it wrongly: the sign, a factor, a power, a root, a term."""
    found: list[tuple[Node, str]] = [(Call(syntax.NEG, (formula,)), "the sign is wrong")]
    found += [(changed, what) for changed, what in _changed(formula)]
    return tuple(found)


def _changed(node: Node) -> Iterator[tuple[Node, str]]:
    """The formula with one operation left out."""
    if not isinstance(node, Call):
        return
    match node:
        case Call(function=syntax.MUL, arguments=(x, y)):
            yield x, f"the factor {_shown(y)} is missing"
            yield y, f"the factor {_shown(x)} is missing"
        case Call(function=syntax.DIV, arguments=(x, y)):
            yield x, f"the division by {_shown(y)} is missing"
            if x != ONE:
                yield Call(syntax.DIV, (ONE, y)), f"the factor {_shown(x)} is missing"
        case Call(function=syntax.POW, arguments=(x, Constant(value=2))):
            yield x, f"the square of {_shown(x)} is missing"
        case Call(function=syntax.SQRT, arguments=(x,)):
            yield x, f"the root of {_shown(x)} is missing"
        case Call(function=syntax.ADD | syntax.SUB as function, arguments=(x, y)):
            yield Call(syntax.SUB if function == syntax.ADD else syntax.ADD, (x, y)), f"the sign of {_shown(y)} is wrong"
            yield x, f"the term {_shown(y)} is missing"
            yield (y if function == syntax.ADD else call(syntax.NEG, y)), f"the term {_shown(x)} is missing"
    for i, argument in enumerate(node.arguments):
        for changed, what in _changed(argument):
            yield Call(node.function, (*node.arguments[:i], changed, *node.arguments[i + 1 :])), what


def filled_in(sentence: str, step: Step) -> str:
    """The sentence with its formulas written out."""
    filling: Mapping[str, Node] = {**step.filling, "of": step.of}
    return re.sub(r"\{([^}]*)\}", lambda found: _shown(filled(read(found[1]), filling)), sentence)


def _shown(node: Node) -> str:
    """A formula, long arguments left out."""
    if isinstance(node, Call) and show(node, QUOTED) is None:
        node = Call(node.function, tuple(a if show(a, QUOTED // 2) else Variable("...") for a in node.arguments))
    return show(node) or ""

"""A derivative by the rules, as a tree of steps: the rule, what it is about, its operands' derivatives, the result.

The result is the derivative wherever the function is smooth. It is made of the rules of `rules` and of the function table, and
SymPy's differentiation has no part in it, but for primitive functions whose row has no slope.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from gradcheck_cli.derivation.at import At
from gradcheck_cli.derivation.rules import (
    BRANCH,
    CONSTANT,
    OPERANDS,
    RULES,
    SLOPES,
    STAGE,
    VARIABLE,
    Rule,
    chain_rule,
    rate,
)
from gradcheck_cli.derivation.tidy import ONE, ZERO, call, filled
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import NAMES, TABLE
from gradcheck_cli.language.parser import definition, is_constant, is_truth, parse
from gradcheck_cli.language.tree import Call, Node, Variable, walk


@dataclass(frozen=True, eq=False)
class Own:
    """A function's own derivative by one of its parameters, in terms of these. `steps`: where the row is defined by others, how
    it follows from that."""

    function: str
    parameter: str
    formula: Node
    definition: Node | None = None
    steps: Step | None = None


@dataclass(frozen=True, eq=False)
class Step:
    """`operands` fill in the rule: formulas by letter. `parts` are the steps behind the derivatives in it. `owns`: the
    function's own derivatives, which stand for p, q, r. `kink`: the point that is looked at lies where no rule is certain to
    hold."""

    rule: Rule
    of: Node
    result: Node
    operands: Mapping[str, Node] = field(default_factory=dict)
    parts: Mapping[str, Step] = field(default_factory=dict)
    owns: tuple[Own, ...] = ()
    kink: bool = False

    @property
    def varies(self) -> bool:
        """Whether there is anything to differentiate."""
        return self.rule is not CONSTANT

    @property
    def filling(self) -> dict[str, Node]:
        """Everything that the rule's formulas name."""
        return {**self.operands, **{letter: part.result for letter, part in self.parts.items()}}

    def every(self) -> Iterator[Step]:
        """All steps, each once, those behind a step before it."""
        seen: set[int] = set()
        stack = [(self, False)]
        while stack:
            step, expanded = stack.pop()
            if id(step) in seen:
                continue
            if not expanded:
                stack.append((step, True))
                stack.extend((part, False) for part in reversed(list(step.parts.values())))
                continue
            seen.add(id(step))
            yield step


class Unknown(Exception):
    """No formula is known for a function's derivative by one of its arguments."""

    def __init__(self, call: Call, parameter: str) -> None:
        what = (
            f"{call.function} by its argument {parameter!r}" if call.function in NAMES else "an entry of a function of matrices"
        )
        super().__init__(f"no formula is known for the derivative of {what}")
        self.call = call


def derive(tree: Node, seeds: Mapping[str, Step], at: At | None = None) -> Step:
    """The derivation of a formula. `seeds`: the derivative of each name that varies. `at`: a point at which choices are made.

    Raises Unknown.
    """
    done: dict[Node, Step] = {}
    for item in walk(tree):
        if isinstance(item, Variable) and item.name in seeds:
            done[item] = seeds[item.name]
        elif isinstance(item, Call) and item.function == syntax.WHERE:
            done[item] = _choice(item, done, at)
        elif isinstance(item, Call) and _moves(item) and any(done[a].varies for a in item.arguments):
            done[item] = _step(item, done, at)
        else:
            done[item] = Step(CONSTANT, item, ZERO, kink=isinstance(item, Call) and any(done[a].kink for a in item.arguments))
    return done[tree]


def _moves(item: Call) -> bool:
    """Whether a call varies where its arguments do."""
    return not is_truth(item) and item.function != syntax.GAUGE


def variable(name: str) -> Step:
    """A seed: what is differentiated by."""
    return Step(VARIABLE, Variable(name), ONE)


def stage(name: str, behind: Step) -> Step:
    """A seed: a stage, and the derivation of its formula."""
    if not behind.varies:
        return Step(CONSTANT, Variable(name), ZERO)
    return Step(STAGE, Variable(name), behind.result, {"u": behind.of}, {"du": behind})


def _step(item: Call, done: Mapping[Node, Step], at: At | None) -> Step:
    if item.function not in NAMES:  # what entries of matrices are made of has no rule
        raise Unknown(item, "x")
    varying = "".join(u for u, a in zip(_letters(item), item.arguments, strict=True) if done[a].varies)
    parts = {rate(u): done[a] for u, a in zip(_letters(item), item.arguments, strict=True) if u in varying}
    operands = dict(zip(_letters(item), item.arguments, strict=True))
    rule = RULES.get((item.function, varying))
    owns: tuple[Own, ...] = ()
    if rule is None:
        rule = chain_rule(varying)
        found = {}
        for u, p, parameter in zip(_letters(item), SLOPES, TABLE[item.function].parameters, strict=False):
            if u in varying:
                found[p] = own(item, parameter.name)
        bound = {p.name: a for p, a in TABLE[item.function].bind(item.arguments)}
        operands |= {p: chosen(filled(o.formula, bound), at) for p, o in found.items()}
        owns = tuple(found.values())
    # A piece that is constant on either side of the point, but not across it, is no constant.
    kink = at is not None and (at.kink(item) or any(done[a].kink for a in item.arguments if not done[a].varies))
    return _made(rule, item, operands, parts, owns, kink)


def _letters(item: Call) -> tuple[str, ...]:
    """The letters of a call's operands; no function has a fourth that varies."""
    return OPERANDS[: len(item.arguments)] + tuple(f"s{i}" for i in range(len(item.arguments) - len(OPERANDS)))


def _choice(item: Call, done: Mapping[Node, Step], at: At | None) -> Step:
    condition, u, v = item.arguments
    decided = None if at is None else at.holds(condition)
    tied = at is not None and (at.tied(condition) or any(done[a].kink for a in (u, v) if not done[a].varies))
    if decided is None:
        varying = "".join(letter for letter, a in (("u", u), ("v", v)) if done[a].varies)
        if not varying:  # the condition alone varies
            return Step(CONSTANT, item, ZERO, kink=tied)
        parts = {rate(letter): done[a] for letter, a in (("u", u), ("v", v)) if letter in varying}
        return _made(RULES[syntax.WHERE, varying], item, {"c": condition, "u": u, "v": v}, parts, (), tied)
    if not decided:
        condition, u, v = Call(syntax.NOT, (condition,)), v, u
    if not (done[u].varies or done[v].varies):
        return Step(CONSTANT, item, ZERO, kink=tied)
    return _made(BRANCH, item, {"c": condition, "u": u, "v": v}, {"du": done[u], "dv": done[v]}, (), tied)


def _made(
    rule: Rule, item: Call, operands: Mapping[str, Node], parts: Mapping[str, Step], owns: tuple[Own, ...], kink: bool
) -> Step:
    step = Step(rule, item, ZERO, operands, parts, owns, kink)
    return Step(rule, item, filled(rule.formula, step.filling), operands, parts, owns, kink)


def chosen(tree: Node, at: At | None) -> Node:
    """The formula at a point: of each choice that can be made there, the piece that counts."""
    if at is None:
        return tree
    done: dict[Node, Node] = {}
    for item in walk(tree):
        done[item] = item
        if isinstance(item, Call):
            if item.function == syntax.WHERE and (holds := at.holds(item.arguments[0])) is not None:
                done[item] = done[item.arguments[1 if holds else 2]]
            elif any(done[a] is not a for a in item.arguments):
                done[item] = call(item.function, *(done[a] for a in item.arguments))
    return done[tree]


def own(item: Call, parameter: str) -> Own:
    """The derivative of a function by a parameter; settings are filled in."""
    settings = tuple(
        (p.name, a) for p, a in TABLE[item.function].bind(item.arguments) if p.kind in ("integer", "number") and is_constant(a)
    )
    found = _own(item.function, parameter, settings)
    if found is None:
        raise Unknown(item, parameter)
    return found


@lru_cache(maxsize=1024)
def _own(function: str, parameter: str, settings: tuple[tuple[str, Node], ...]) -> Own | None:
    row, given = TABLE[function], dict(settings)
    itself = Call(function, tuple(given.get(p.name, Variable(p.name)) for p in row.parameters))
    if row.taught or row.slope:
        return Own(function, parameter, filled(parse(row.taught or row.slope), {"f": itself}))
    if row.definition:
        tree = filled(definition(function), given) if given else definition(function)
        steps = derive(tree, {parameter: variable(parameter)})
        return Own(function, parameter, steps.result, tree, steps)
    from gradcheck_cli.exact.derivative import differentiate  # SymPy, which all other rows do without

    known = differentiate(itself, (parameter,))
    return None if known is None else Own(function, parameter, filled(known, {}))

"""The chain rule worked out at a point: values forwards, each stage's own derivative, and back to the inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from gradcheck_cli.algebra.number import ONE as UNIT
from gradcheck_cli.algebra.number import ZERO as NIL
from gradcheck_cli.algebra.number import Ball, working
from gradcheck_cli.algebra.precision import LESSON
from gradcheck_cli.derivation.at import At
from gradcheck_cli.derivation.steps import Step, Unknown, derive, variable
from gradcheck_cli.exact.derivative import LONGEST_CHAIN, readable
from gradcheck_cli.language.chain import Chain, Stage, derivative_name
from gradcheck_cli.language.tree import Constant, Node, Variable
from gradcheck_cli.lessons.lesson import ABOUT, DIGITS, EQUAL, Block, Line, Ratio, Section, Side, Sum, Words, digits
from gradcheck_cli.lessons.rules import at_point, conclusion, conjoined, fits, lines, step_kinks, with_numbers
from gradcheck_cli.verdict.numbers import decimal
from gradcheck_cli.verdict.truth import Kind, Truth, jump_of

MOST = 30
"""Lines of a section that are shown unless all are asked for."""

ROWS = 14
"""The same of a section whose lines are alike."""

ENDS = 8
"""The same of those that are only told what they come to."""

SAME = "in the same way"

WAYS = 4
"""Terms of a sum over ways that are written out."""


class Worked:
    """A scalar chain at a point: `local` holds every stage's own derivation by what it uses, `totals` the exact numbers of the
    output's derivatives by every name; `wrt`: the inputs that are asked for."""

    def __init__(self, chain: Chain, values: Mapping[str, Ball], wrt: Sequence[str]) -> None:
        self.chain, self.at = chain, At(values)
        self.moving: dict[str, None] = dict.fromkeys(wrt)
        self.local: dict[str, dict[str, Step]] = {}
        self.unknown: dict[tuple[str, str], str] = {}
        for stage in chain.stages:
            self.at.give(stage.name, stage.tree)
            self.local[stage.name] = {}
            for name in stage.inputs:
                if name in self.moving:
                    try:
                        self.local[stage.name][name] = derive(stage.tree, {name: variable(name)}, self.at)
                    except Unknown as problem:
                        self.unknown[stage.name, name] = str(problem)
            if any(name in self.moving for name in stage.inputs):
                self.moving[stage.name] = None
        self.totals = self._totals()

    def value(self, name: str) -> Any:
        """The ball of a stage or an input."""
        return self.at(Variable(name))

    def slope(self, stage: str, name: str) -> Known | None:
        """The number of a stage's own derivative; None where there is none that the rules give."""
        step = self.local[stage].get(name)
        if step is None or step_kinks(step) or not self.value(stage).is_finite():
            return None
        found = self.at(step.result)
        return (found, self.at.fraction(step.result)) if found.is_finite() else None

    def ways(self, name: str) -> list[Stage]:
        """The stages that use a name, the last one first."""
        return [s for s in reversed(self.chain.stages) if name in s.inputs and s.name in self.moving and name in self.moving]

    def _totals(self) -> dict[str, Known | None]:
        totals: dict[str, Known | None] = {self.chain.output: (UNIT, Fraction(1))}
        for name in [*(s.name for s in reversed(self.chain.stages)), *self.chain.inputs]:
            if name in totals or name not in self.moving:
                continue
            with working(LESSON):
                total: Known | None = (NIL, Fraction(0))
                for stage in self.ways(name):
                    behind, slope = totals.get(stage.name), self.slope(stage.name, name)
                    total = None if total is None or behind is None or slope is None else _added(total, behind, slope)
            totals[name] = total
        return totals

    def number(self, name: str) -> tuple[str, Node] | None:
        """The derivative of the output by a name, for a reader."""
        known = self.totals.get(name) if name in self.moving else (NIL, Fraction(0))
        return None if known is None else digits(*known)


Known = tuple[Ball, Fraction | None]
"""A number, and the fraction that it is."""


def _added(total: Known, x: Known, y: Known) -> Known:
    """total + x*y"""
    exact = None if total[1] is None or x[1] is None or y[1] is None else total[1] + x[1] * y[1]
    return total[0] + x[0] * y[0], exact


def forwards(worked: Worked, verbose: bool) -> Section:
    """The values, the first stage first."""
    rows: list[Block] = []
    for name in worked.chain.inputs:
        rows.append(_known(worked, name, ()))
    for stage in worked.chain.stages:
        sides: list[tuple[str, Side]] = [(EQUAL, stage.tree)] if fits(stage.tree) else [(EQUAL, Variable("..."))]
        sides += with_numbers(stage.tree, worked.at)
        rows.append(_known(worked, stage.name, sides))
    return Section("Forwards: the values", (tuple(shortened(rows, verbose, "values")),))


def _known(worked: Worked, name: str, sides: Iterable[tuple[str, Side]]) -> Line:
    found = at_point(Variable(name), worked.at)
    if found is None:
        unreal = worked.value(name).is_nan()
        why = "no real number here" if unreal else "larger than any number that can be written here"
        return Line((("", Variable(name)), *tuple(sides)[:1]), why)
    return Line((("", Variable(name)), *sides, found))


def own_derivatives(worked: Worked, verbose: bool) -> Section:
    """Every stage's own derivative by what it uses, rule by rule; of entries of arrays that are alike, the first."""
    groups: list[list[Block]] = []
    several = len(worked.chain.stages) > 1
    first: dict[tuple[str, str, str, bool], list[Block]] = {}
    for stage in worked.chain.stages:
        for name in sorted(stage.inputs, key=lambda n: [*worked.chain.inputs, n].index(n)):
            if name not in worked.moving:
                continue
            ratio = Ratio(stage.name, (name,), partial=len(stage.inputs) > 1)
            if (stage.name, name) in worked.unknown:
                groups.append([*_head(stage, name, several), Words(worked.unknown[stage.name, name])])
                continue
            step = worked.local[stage.name][name]
            fails = step_kinks(step)
            key = (_base(stage.name), _base(name), step.rule.name, fails)
            like = first.get(key) if "[" in stage.name + name and not verbose else None
            if like is not None:
                same = "no rule holds here either" if fails else SAME
                like.append(Line((("", ratio), *conclusion(step, worked.at)), same))
                continue
            first[key] = [*_head(stage, name, several), *lines(step, ratio, worked.at, verbose)]
            groups.append(first[key])
    title = "Each stage's own derivative, from the inside out" if several else "The derivative, from the inside out"
    groups = groups if verbose else _few(groups)
    return Section(title, tuple(map(tuple, groups)))


def _base(name: str) -> str:
    return name.partition("[")[0]


def _head(stage: Stage, name: str, several: bool) -> list[Block]:
    """What is differentiated, by what."""
    held = [n for n in stage.inputs if n != name]
    if not (several or held):
        return []
    what = f"by {name}" + (
        f", with {conjoined(held)} held fixed" if 0 < len(held) <= 4 else ", all else held fixed" if held else ""
    )
    return (
        [Line((("", Variable(stage.name)), (EQUAL, stage.tree)), what)] if fits(stage.tree) else [Words(f"{stage.name} {what}")]
    )


def _few(groups: Sequence[list[Block]]) -> list[list[Block]]:
    """As many groups as fit, the last ones: they are nearest to the output. Of the others, what they come to."""
    kept: list[list[Block]] = []
    sizes = [1 + sum(1 + (isinstance(block, Line) and len(block.sides) > 3) for block in group) for group in groups]
    room = MOST if sum(sizes) <= MOST else MOST - ENDS - 2
    for group, size in zip(reversed(groups), reversed(sizes), strict=True):
        room -= size
        if room < 0 and kept:
            break
        kept.append(shortened(group, False, "lines"))
    left = groups[: len(groups) - len(kept)]
    if left:
        ends = [line for group in left for line in _ends(group)]
        many = f"{len(left)} more go in the same way as those below (--verbose shows their steps); they come to"
        kept.append([Words(many), *shortened(ends, False, "derivatives", ENDS)])
    return kept[::-1]


def _ends(group: Sequence[Block]) -> Iterator[Line]:
    """What a group comes to: each derivative with the last of its formulas, and its number."""
    for block in group:
        if isinstance(block, Line) and block.sides and isinstance(block.sides[0][1], Ratio):
            yield Line((block.sides[0], *block.sides[1:][-1:]), "" if block.sides[1:] else "no rule holds here")


def shortened(rows: Sequence[Block], verbose: bool, what: str, most: int = ROWS) -> list[Block]:
    """The first and the last of many rows."""
    if verbose or len(rows) <= most + 1:
        return list(rows)
    half = most // 2
    left = len(rows) - 2 * half
    return [*rows[:half], Words(f"... {left} more {what} (--verbose shows them)"), *rows[-half:]]


def backwards(worked: Worked, verbose: bool) -> Section:
    """From the output to the inputs, in the order in which hooks fire."""
    chain, y = worked.chain, worked.chain.output
    rows: list[Block] = [Line((("", Ratio(y, (y,))), (EQUAL, Constant(1))))]
    for name in [*(s.name for s in reversed(chain.stages[:-1])), *chain.inputs]:
        if name in worked.moving:
            rows.append(_back(worked, name))
    return Section("Back: the chain rule, in the order in which hooks fire", (tuple(shortened(rows, verbose, "derivatives")),))


def _back(worked: Worked, name: str) -> Line:
    y, ways = worked.chain.output, worked.ways(name)
    if not ways:
        return Line((("", Ratio(y, (name,))), (EQUAL, Constant(0))), f"{y} doesn't depend on {name}")
    symbols = tuple((Ratio(y, (s.name,)), Ratio(s.name, (name,), len(s.inputs) > 1)) for s in ways)
    sides: list[tuple[str, Side]] = [("", Ratio(y, (name,)))]
    if len(ways) > WAYS:
        total = worked.number(name)
        return Line((*sides, *([total] if total else [])), f"{len(ways)} ways from {name} to {y}: the sum over them")
    if [s.name for s in ways] != [y]:
        sides.append((EQUAL, Sum(symbols)))
    numbers = []
    for stage in ways:
        behind, own = worked.number(stage.name), worked.slope(stage.name, name)
        slope = None if own is None else digits(*own)
        if behind is None or slope is None:
            break
        numbers.append((behind, slope))
    total = worked.number(name)
    if len(numbers) == len(ways) and total is not None:
        exact = all(sign == EQUAL for pair in numbers for sign, _ in pair)
        sides.append((EQUAL if exact else ABOUT, Sum(tuple((b[1], s[1]) for b, s in numbers))))
        sides.append(total)
    note = ""
    if len(ways) > 1:
        roads = [f"through {s.name}" if s.name != y else "directly" for s in ways]
        note = f"{len(ways)} ways from {name} to {y}, {conjoined(roads)}: their sum"
    return Line(tuple(sides), note)


def results(worked: Worked, truths: Mapping[str, Truth], wrt: Sequence[str]) -> Iterator[Block]:
    """What comes out for each input, and as one formula."""
    chain, y = worked.chain, worked.chain.output
    for name in wrt:
        ratio = Ratio(y, (name,))
        product = _product(worked, name) if len(wrt) <= WAYS else None
        total = worked.number(name)
        if product is not None and total is not None:
            yield Line(
                (("", ratio), (product[0], Sum((product[1],))), total), "the product of the stages' derivatives, from the back"
            )
        truth = truths[name]
        if worked.totals.get(name) is None or truth.kind is not Kind.REGULAR:
            yield said(derivative_name(y, (name,)), truth)
        if 1 < len(chain.stages) <= LONGEST_CHAIN and worked.ways(name):
            formula = readable(chain.composed(), (name,))
            if formula is not None and fits(formula):
                yield Line((("", ratio), (EQUAL, formula)), "as one formula")


def said(name: str, truth: Truth) -> Block:
    """What is certified of a derivative that the rules don't give."""
    match truth.kind:
        case Kind.REGULAR:
            limit = "the limit of the difference quotients from both sides, for no rule holds at the point"
            return Words(f"{name} is {_side(truth.ball)}: {limit if truth.singular else 'certified without the rules above'}")
        case Kind.OUTSIDE:
            return Words(f"{name} doesn't exist: the function has no real value here.")
        case Kind.NONDIFFERENTIABLE:
            return Words(f"{name} doesn't exist: {_missing(truth)}. What torch returns there is a convention.")
    why = truth.text or "neither the rules nor limits from both sides settle it"
    return Words(f"{name} isn't known: {why}.")


def _missing(truth: Truth) -> str:
    """Why there is no derivative: a jump, a kink, an infinite slope, or the end of the domain."""
    if truth.jump:
        return jump_of(truth)
    known = {side: _side(ball) for side, ball in (("left", truth.left), ("right", truth.right))}
    slopes = [f"{_SLOPE.get(n, f'is {n}')} from the {side}" for side, n in known.items() if n is not None]
    if truth.free:
        return "a derivative before it is missing here, or its slopes are unbounded"
    if not slopes:
        return "no slope settles"
    ends = [f"{side} of the point the function has no real values" for side, number in known.items() if number is None]
    return f"the slope {' and '.join(slopes).replace(' and is ', ' and ')}" + "".join(f", and {end}" for end in ends)


_SLOPE = {"inf": "grows without bound, to inf,", "-inf": "falls without bound, to -inf,"}


def _side(ball: Ball) -> str | None:
    return None if ball is None else decimal(ball, DIGITS)


def _product(worked: Worked, name: str) -> tuple[str, tuple[Node, ...]] | None:
    """The derivatives along a chain without forks, 1 * 6 * 2, and the sign before them."""
    factors: list[Node] = [Constant(1)]
    sign = EQUAL
    if len(worked.chain.stages) < 2 or "[" in name:
        return None
    road: list[tuple[str, str]] = []
    while name != worked.chain.output:
        ways = worked.ways(name)
        if len(ways) != 1:
            return None
        road.append((ways[0].name, name))
        name = ways[0].name
    for stage, used in reversed(road):
        slope = worked.slope(stage, used)
        found = None if slope is None else digits(*slope)
        if found is None:
            return None
        factors.append(found[1])
        sign = found[0] if sign == EQUAL else sign
    return (sign, tuple(factors)) if 2 < len(factors) <= 2 * WAYS else None

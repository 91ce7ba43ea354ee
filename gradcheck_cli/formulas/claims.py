"""The fourth party: a derivative derived by hand, judged in balls at every point, and by symbols where SymPy can."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from decimal import Decimal
from functools import partial
from typing import NamedTuple

import numpy as np
import sympy

from gradcheck_cli.algebra.balls import PLAIN
from gradcheck_cli.algebra.layers import Exact
from gradcheck_cli.algebra.number import Ball, conditions, exactly, working
from gradcheck_cli.algebra.precision import CLAIM
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.algebra.symbols import to_symbols
from gradcheck_cli.derivation.at import At
from gradcheck_cli.derivation.slips import Point, missed, missed_before
from gradcheck_cli.derivation.steps import Step, Unknown, derive, variable
from gradcheck_cli.derivation.steps import stage as of_stage
from gradcheck_cli.exact.derivative import TIDY, chain_formula, differentiate
from gradcheck_cli.exact.enclosure import Enclosure
from gradcheck_cli.floats import Floats, Format
from gradcheck_cli.formulas.points import ordinary
from gradcheck_cli.formulas.problem import Claim
from gradcheck_cli.language.chain import Chain, derivative_name
from gradcheck_cli.language.printer import show
from gradcheck_cli.language.tree import Node, substitute, variables
from gradcheck_cli.maps.candidates import BY_HAND
from gradcheck_cli.maps.places import NEAR, Place
from gradcheck_cli.maps.slips import named
from gradcheck_cli.maps.written import Trees, result, upstream
from gradcheck_cli.verdict.column import Column, Detail
from gradcheck_cli.verdict.judge import distance
from gradcheck_cli.verdict.numbers import decimal
from gradcheck_cli.verdict.scope import AtPoints
from gradcheck_cli.verdict.truth import Kind, Truth, regular
from gradcheck_cli.verdict.verdicts import Cause, Verdict

SHARP = Format("claim", CLAIM, -1022, 1023)
"""How exact the derivative is that a claim is compared with."""

ROUNDED = "right within the rounding of its constants"

BEYOND = "there is no derivative here, and the claim lies outside of the one-sided ones"

SLACK = 60
"""Bits to which one-sided derivatives, which are limits, are taken for known."""

LISTED = 4
"""Derivatives that one note speaks of by name."""

LONG = 15
"""Significant digits from which on a number in a claim looks as if it was rounded in decimal, not chosen."""


class _Constants(Exact):
    """Balls in which a number stands for all that are rounded to it: to the nearest double, and to its last digit if it has
    many."""

    def number(self, value: float | bool, form: Format) -> Ball:
        if isinstance(value, bool) or super().number(value, form).is_exact():
            return super().number(value, form)
        _, digits, exponent = Decimal(repr(value)).as_tuple()
        last = float(f"1e{exponent}") if len(digits) >= LONG else 0.0
        radius = exactly(max(form.gap(value), last) / 2)
        with working(CLAIM):
            return (exactly(value) - radius).union(exactly(value) + radius)


class Note(NamedTuple):
    """What is to be said of a claim: `about` one derivative, between words that are the same of others."""

    before: str
    about: str = ""
    after: str = ""
    between: str = ", "


def united(notes: Iterable[Note]) -> Iterator[str]:
    """What is said of several derivatives with the same words, in one sentence."""
    found: dict[Note, list[str]] = {}
    for note in notes:
        found.setdefault(note._replace(about=""), []).append(note.about)
    for (before, _, after, between), every in found.items():
        listed = [*dict.fromkeys(every)]
        yield before + between.join(listed[:LISTED]) + f"{between}..." * (len(listed) > LISTED) + after


def check_claim(
    claim: Claim, chain: Chain, column: Column, points: Mapping[str, Floats], form: Format, *, chosen: bool = False
) -> Note | None:
    """Fill a blank column with the claim's verdict at each point; returns a note: where it fails, at the simplest one.

    A claim is right within the rounding of its constants (see `_Constants`), and the note says where it takes that. `chosen`:
    the points are the user's, at which another formula may be right too: the note says what it is elsewhere.
    """
    column.shown = partial(chain_formula, chain, claim.wrt)
    enclosure = Enclosure(chain, [claim.wrt], SHARP)
    _fill(claim, column, enclosure, points, form)
    wrong = np.flatnonzero(column.having(Verdict.MISMATCH)).tolist()
    slip = None
    if wrong:
        point = {name: float(values[wrong[0]]) for name, values in points.items()}
        itself = claim.wrt == (chain.output,)
        slip = _itself(chain) if itself else _missed(claim, chain, point) or _slip(claim, chain, point)
    for index in wrong:
        detail = column.details[index]
        detail.text = slip if detail.left is None and detail.right is None else BEYOND
    return _summary(claim, chain, column, points) or (_elsewhere(claim, column, enclosure, points, form) if chosen else None)


def _fill(claim: Claim, column: Column, enclosure: Enclosure, points: Mapping[str, Floats], form: Format) -> None:
    """The claim's verdict at each point."""
    column.mode, column.claim = "claim", claim.text
    (truths,), _ = enclosure.at({name: values.tolist() for name, values in points.items()})
    names = variables(claim.tree)
    program, meant = (Program([claim.tree], names, algebra, conditions) for algebra in (PLAIN, _Constants()))
    for index, found in enumerate(truths):
        truth = regular(found)
        point = {name: exactly(float(values[index])) for name, values in points.items()}
        with working(8 * CLAIM):
            everything = enclosure.values.every(point, {})
            (value,) = program(*(everything[name] for name in names))
            (loose,) = meant(*(everything[name] for name in names))
        column.exact[index] = truth.ball
        column.autograd[index] = float(value.mid()) if value.is_finite() else float("nan")
        verdict = _verdict(truth, value)
        lenient = _verdict(truth, loose) if verdict is Verdict.MISMATCH and value.is_finite() else verdict
        rounded = lenient is Verdict.MATCH and lenient is not verdict
        verdict = lenient if lenient in (Verdict.MATCH, Verdict.NONDIFFERENTIABLE) else verdict
        column.verdicts[index] = verdict.severity
        if truth.kind is Kind.REGULAR:
            column.error_ulps[index] = distance(float(column.autograd[index]), truth.ball, form)
        if rounded:
            column.details[index] = Detail(text=ROUNDED)
        if verdict is Verdict.MISMATCH:
            left, right = decimal(truth.left), decimal(truth.right)
            column.details[index] = Detail(cause=Cause.CLAIM, autograd_formula=show(claim.tree), left=left, right=right)


ELSEWHERE = 8
"""Other points at which a claim is tried that is right where the user asked."""

WIDEST = 32
"""Numbers that a point may have for that: of a long vector the claim is about each entry, and all would be computed anew."""


def _elsewhere(claim: Claim, column: Column, enclosure: Enclosure, points: Mapping[str, Floats], form: Format) -> Note | None:
    """Whether a claim that is right at the user's points is so as a formula, at points of ordinary size; of a number it is no
    question. What is shown is the simplest point, on the user's side of 0 where it is wrong there."""
    if not variables(claim.tree) or not column.having(Verdict.MATCH).any() or not 0 < len(points) <= WIDEST:
        return None
    others = ordinary(enclosure.chain, list(points), form, ELSEWHERE)
    there = Column.blank(AtPoints(others), len(next(iter(others.values()))), of=column.of, wrt=column.wrt)
    _fill(claim, there, enclosure, others, form)
    wrong = [i for i in np.flatnonzero(there.having(Verdict.MISMATCH)).tolist() if decimal(there.exact[i]) is not None]
    if wrong:

        def plain(i: int) -> tuple[int, int, int]:
            across = sum(float(values[i]) * float(points[name][0]) < 0 for name, values in others.items())
            return across, sum(len(repr(float(values[i]))) for values in others.values()), i

        simplest = min(wrong, key=plain)
        where = ", ".join(f"{name}={float(values[simplest])!r}" for name, values in others.items())
        exact, claimed = decimal(there.exact[simplest], SHORT), float(there.autograd[simplest])
        given = "point" if len(column) == 1 else "points"
        return Note(
            f"the claim agrees at the given {given} only; as a formula it is another one: ",
            f"at {where} {column.quantity} is {exact}, claimed {claimed:.{SHORT}g}",
            between="; ",
        )
    agreed = int(np.count_nonzero(there.having(Verdict.MATCH)))
    return Note("the claim agrees at ", "", f"{agreed} other points too") if agreed else None


SHORT = 8
"""Digits of numbers in a note."""


def _itself(chain: Chain) -> str:
    """What is wrong with a claim about the output by itself: the user means another name."""
    y, x = chain.output, chain.inputs[0]
    return f"{y}=... claims {derivative_name(y, (y,))}, which is 1: of {derivative_name(y, (x,))} it is {x}=..."


def _missed(claim: Claim, chain: Chain, point: Mapping[str, float]) -> str | None:
    """The step of the derivation by hand that the claim misses, if it is a single one. Where a formula has pieces, the points
    beside this one must lie on the same."""
    *before, last = claim.wrt
    program = Program([claim.tree], variables(claim.tree), _Constants(), conditions)
    points = [point, *(_moved(chain, point, place) for place in NEAR)]
    try:
        places = [_everything(chain, near) for near in points]
        (first, root), *others = [_derivation(claim, chain, At(values)) for values in places]
        if any(step.kink for step in root.every()) or any(other.result != root.result for _, other in others):
            return None
        with working(8 * CLAIM):
            claimed = [program(*(values[name] for name in variables(claim.tree)))[0] for values in places[1:]]
        trials: list[Point] = [(At(values), value) for values, value in zip(places[1:], claimed, strict=True)]
        if first is None:
            return missed(root, trials)
        lower = first.result
        if all(bool(at(lower).overlaps(value)) for at, value in trials):
            return f"this is {derivative_name(chain.output, before)}: it isn't differentiated by {last}"
        text, so_far = missed(root, trials), show(lower, LONGEST)
        if text is not None:
            return f"{text} (in the derivative by {last} of {so_far or derivative_name(chain.output, before)})"
        text = missed_before(first, last, trials) if len(before) == 1 else None
        return text and f"{text} (in {derivative_name(chain.output, before)}, before it is differentiated by {last})"
    except (Unknown, LookupError, ValueError, ArithmeticError, NotImplementedError):
        return None


def _everything(chain: Chain, point: Mapping[str, float]) -> dict[str, Ball]:
    """The ball of every input and stage."""
    whole = _composed(chain)
    with working(8 * CLAIM):
        inputs = [exactly(point[name]) for name in chain.inputs]
        values = Program(list(whole.values()), chain.inputs, PLAIN, conditions)(*inputs)
    return dict(zip((*chain.inputs, *whole), (*inputs, *values), strict=True))


def _derivation(claim: Claim, chain: Chain, at: At) -> tuple[Step | None, Step]:
    """The derivation of the claimed derivative at a point: of a higher one the last step, and that before it."""
    *before, last = claim.wrt
    if before:
        first = derive(chain.composed(), {before[0]: variable(before[0])}, at)
        for name in before[1:]:
            first = derive(first.result, {name: variable(name)}, at)
        return first, derive(first.result, {last: variable(last)}, at)
    steps: dict[str, Step] = {last: variable(last)}
    for stage in chain.stages:
        if stage.name != last:
            found = derive(stage.tree, steps, at)
            steps[stage.name] = found if stage.name == chain.output else of_stage(stage.name, found)
    return None, steps[chain.output]


LONGEST = 80
"""Characters of a formula that a sentence quotes."""


def _moved(chain: Chain, point: Mapping[str, float], place: Place) -> dict[str, float]:
    """The point, moved to a place."""
    moved = place.of({n: np.array(point[n]) for n in chain.inputs}, place.seed)
    return {n: float(x) for n, x in moved.items()}


def _slip(claim: Claim, chain: Chain, point: Mapping[str, float]) -> str | None:
    """The usual slip that makes the claim of the derivative, if one does."""
    *before, last = claim.wrt
    own = [name for name in dict.fromkeys(claim.wrt) if name not in chain.inputs]  # stages: what comes after them, by them
    trees, whole = _composed(chain, own), _composed(chain)
    output: Node | None = trees[chain.output]
    if before:
        output = differentiate(trees[chain.output], tuple(before))
    if output is None:
        return None
    claimed, y = substitute(claim.tree, trees), chain.output
    shapes: dict[str, tuple[int, ...]] = {n: () for n in (*chain.inputs, *own, result(y), upstream(y))}

    def written(place: Place) -> Trees:
        near = _moved(chain, point, place)
        given = [exactly(value) for value in near.values()]
        values = Program([*(whole[n] for n in own), substitute(output, whole)], chain.inputs, PLAIN)(*given)
        more = dict(zip((*own, result(y)), map(float, values), strict=True))
        return Trees({y: [output]}, {last: [claimed]}, shapes, {**near, **more, upstream(y): 1.0})

    text = named(written, "upstream", searches=BY_HAND).get(last)
    for said, meant in _PARTIES.items():
        text = text and text.replace(said, meant)
    return text


_PARTIES = {"autograd is": "the claim is", "the backward returns": "the claim is"}


def _composed(chain: Chain, kept: Collection[str] = ()) -> dict[str, Node]:
    """Every stage by the inputs, and by those stages that are kept."""
    trees: dict[str, Node] = {}
    for stage in chain.stages:
        if stage.name not in kept:
            trees[stage.name] = substitute(stage.tree, trees)
    return trees


def _verdict(truth: Truth, value: Ball) -> Verdict:
    match truth.kind:
        case Kind.OUTSIDE:
            return Verdict.OUTSIDE_DOMAIN
        case Kind.NONDIFFERENTIABLE:
            return Verdict.NONDIFFERENTIABLE if _admissible(truth, value) else Verdict.MISMATCH
        case Kind.UNKNOWN:
            return Verdict.UNDECIDED
    if not value.is_finite():
        return Verdict.MISMATCH if value.is_nan() and not truth.singular else Verdict.UNDECIDED
    return Verdict.MATCH if value.overlaps(truth.ball) else Verdict.MISMATCH


def _admissible(truth: Truth, value: Ball) -> bool:
    """Whether a claim is a convention that one may choose where there is no derivative: it lies between the one-sided ones.
    Where they aren't known, or the function jumps, no claim is held to them; what has no value claims nothing."""
    sides = [side for side in (truth.left, truth.right) if side is not None]
    if truth.jump or truth.free or not sides or not value.is_finite():
        return True
    with working(8 * CLAIM):
        slack = sum(abs(side) for side in sides if side.is_finite()) * exactly(2.0**-SLACK)
        return not (all(value + slack < side for side in sides) or all(value - slack > side for side in sides))


def _summary(claim: Claim, chain: Chain, column: Column, points: Mapping[str, Floats]) -> Note | None:
    wrong = np.flatnonzero(column.having(Verdict.MISMATCH)).tolist()
    if wrong:
        simplest = min(wrong, key=lambda i: (sum(len(repr(float(v[i]))) for v in points.values()), i))
        where = ", ".join(f"{name}={float(values[simplest])!r}" for name, values in points.items())
        exact, claimed = decimal(column.exact[simplest]) or "no derivative", float(column.autograd[simplest])
        entry = f"{column.quantity}: " if "[" in column.quantity else ""  # of arrays there are many
        return Note(f"the claim is refuted at {where}: ", f"{entry}exact {exact}, claimed {claimed!r}", between="; ")
    if any(detail.text == ROUNDED for detail in column.details.values()):
        return Note(f"the claim is {ROUNDED}")
    if not column.having(Verdict.MATCH).any() or not _same(claim, chain):
        return None
    return Note("the claim is ", derivative_name(chain.output, claim.wrt), ": symbols say so too")


def _same(claim: Claim, chain: Chain) -> bool:
    """True where SymPy shows that claim and derivative are one formula."""
    if chain_formula(chain, claim.wrt) is None or not all(name in chain.inputs for name in claim.wrt):
        return False
    trees = _composed(chain)
    derivative = differentiate(chain.composed(), claim.wrt)
    assert derivative is not None
    difference = to_symbols(derivative) - to_symbols(substitute(claim.tree, trees))
    return difference.count_ops() <= TIDY and bool(sympy.expand(difference) == 0)

"""The exact derivative at points: certified balls, at a precision that rises until they are tight.

Stage by stage: SymPy's derivative of each stage is evaluated in balls under the SMOOTH algebra, whose results are finite
only where the function is certified to be analytic; the chain is accumulated in reverse (`exact.accumulation`). Where SymPy
has no derivative, power series take its place; where smoothness can't be certified, `exact.kinks` looks at both sides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt
from flint import arb, ctx

from gradcheck_cli.algebra.balls import SMOOTH
from gradcheck_cli.algebra.effort import POINT, price
from gradcheck_cli.algebra.number import NAN, Ball, conditions
from gradcheck_cli.algebra.precision import ENCLOSURE
from gradcheck_cli.algebra.program import Program, economical
from gradcheck_cli.exact.accumulation import accumulate
from gradcheck_cli.exact.derivative import differentiate
from gradcheck_cli.exact.domains import Outside
from gradcheck_cli.exact.kinks import limits
from gradcheck_cli.exact.many import Many
from gradcheck_cli.exact.sizes import Sizes
from gradcheck_cli.exact.steps import Steps
from gradcheck_cli.exact.values import TINY, Values, Wrt, undefined
from gradcheck_cli.exact.witness import Witness
from gradcheck_cli.floats import Floats, Format
from gradcheck_cli.language import syntax
from gradcheck_cli.language.chain import Chain, Stage
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, canonical, substitute
from gradcheck_cli.verdict.truth import Kind, Truth, held
from gradcheck_cli.verdict.truths import Truths

GUARD_BITS = 8
"""A ball is tight when it is this many bits more accurate than the float format."""


MANY = 256
"""Points from which on columns pay."""

LONGEST = 64
"""Stages of the longest chain that columns follow: what they enclose grows wider from stage to stage."""

_HUGE = arb(2) ** 1025
"""Twice the largest double: certain to overflow in any format."""


SIDE = "torch's value is that on one side of a jump, where the derivative along it isn't certified"


def tight(ball: Ball, form: Format) -> bool:
    """True where the ball settles the derivative for this format: accurate, or certified to underflow or overflow. Whether what
    is as good as 0 is 0 takes more precision: see `_settle`."""
    if not ball.is_finite():
        return False
    if ball.rel_accuracy_bits() >= form.bits + GUARD_BITS:
        return True
    return bool(ball.abs_upper() < TINY) or bool(ball.abs_lower() > _HUGE)


def _open(ball: Ball) -> bool:
    """Whether it isn't known if the derivative is 0."""
    return bool(ball.contains(0)) and not ball.is_zero()


@lru_cache(maxsize=1024)
def _stage_program(tree: Node, count: int) -> Program | None:
    """(value, partial derivatives...) in the SMOOTH algebra; None where SymPy has no derivative."""
    names = [f"_{i}" for i in range(count)]
    partials = [differentiate(tree, (name,)) for name in names]
    if any(p is None for p in partials):
        return None
    trees = economical([tree, *(p for p in partials if p is not None)], SMOOTH)
    return Program(trees, names, SMOOTH, conditions)


@lru_cache(maxsize=256)
def _formula_program(tree: Node, count: int, derivatives: tuple[Wrt, ...]) -> Program | None:
    """(value, derivatives...) in the SMOOTH algebra, () standing for 1; None where SymPy has one not."""
    trees = _formulas(tree, derivatives)
    return None if trees is None else Program(economical(trees, SMOOTH), [f"_{i}" for i in range(count)], SMOOTH, conditions)


def _formulas(tree: Node, derivatives: tuple[Wrt, ...]) -> list[Node] | None:
    """The value's tree, and those of its derivatives."""
    found = [differentiate(tree, wrt) if wrt else Constant(1) for wrt in derivatives]
    known = [derivative for derivative in found if derivative is not None]
    return [tree, *known] if len(known) == len(found) else None


CANCELLED = "the terms of the derivative cancel so far that no precision that is tried tells it from 0"


def _unless_cancelled(found: Truth, wide: Ball | None) -> Truth:
    """A limit, but where the function is certified to be analytic and the limit is 0: what is small beside the function's own
    size isn't seen in its differences, and may be large. `wide`: the ball that is too wide to tell; None if there is none."""
    if wide is not None and found.kind is Kind.REGULAR and found.ball.contains(0):
        return Truth(Kind.UNKNOWN, text=CANCELLED)
    return found


class Enclosure:
    """Exact derivatives of a chain's output: `derivatives` are tuples of names, applied from left to right.

    First derivatives may be by any input or stage; higher ones by inputs only. `points`: at how many they will be asked for, in
    all, as far as that is known. `work`: what one evaluation costs.
    """

    def __init__(self, chain: Chain, derivatives: Sequence[Wrt], form: Format, points: int = 0) -> None:
        self.chain, self.derivatives, self.form, self.points = chain, list(derivatives), form, points
        self.values = Values(chain)
        higher = any(len(wrt) > 1 for wrt in derivatives)
        self._direct = _formula_program(*self._composed()) if higher or len(chain.stages) == 1 else None
        self._steps: list[tuple[Stage, Program]] = []
        self._series = self._direct is None and not self._compile_stages(higher)
        self._evaluate: Callable[[Sequence[Ball]], list[Ball] | None] = (
            self._by_series if self._series else self._by_stages if self._direct is None else self._by_formula
        )
        self._each: dict[Wrt, Enclosure] = {}
        """Where some derivatives have a formula and others not: each by itself, so that these cost those nothing."""
        if self._series and len(self.derivatives) > 1:
            each = {wrt: Enclosure(chain, [wrt], form, points) for wrt in self.derivatives}
            self._each = {} if all(part._series for part in each.values()) else each
        self._many: Many | None = None
        self._outside: Outside | None = None
        self._sizes: Sizes | None = None
        self._steps_of: Steps | None = None
        self._stepped = 0
        """Which of the derivatives is one by an input, where steps are asked for."""
        self._witness = Witness(chain)
        programs = [self._direct] if self._direct else [program for _, program in self._steps]
        by_series = self._witness.work(max(map(len, self.derivatives)), len(self.derivatives)) if self._series else 0
        self.work = by_series + 2 * sum(program.work for program in programs)

    def _compile_stages(self, higher: bool) -> bool:
        """Whether every stage has a derivative by formula (and only first derivatives are asked)."""
        for stage in () if higher else self.chain.stages:
            program = _stage_program(canonical(stage.tree, stage.inputs), len(stage.inputs))
            if program is None:
                return False
            self._steps.append((stage, program))
        return not higher

    def _trees(self) -> list[Node] | None:
        """The value's formula in numbered inputs, and those of the derivatives, which share all that they have in common; None
        where there are none, or too many stages."""
        if self._series or len(self.chain.stages) > LONGEST:
            return None
        if self._direct is not None:
            tree, _, derivatives = self._composed()
            return _formulas(tree, derivatives)
        values: dict[str, Node] = {name: Variable(f"_{i}") for i, name in enumerate(self.chain.inputs)}
        for stage in self.chain.stages:
            values[stage.name] = substitute(stage.tree, {name: values[name] for name in stage.inputs})
        totals: dict[str, Node] = {self.chain.output: Constant(1)}
        for stage in reversed(self.chain.stages):
            tree = canonical(stage.tree, stage.inputs)
            for i, name in enumerate(stage.inputs if stage.name in totals else ()):
                slope = differentiate(tree, (f"_{i}",))
                assert slope is not None  # a stage without one has no program either
                given = {f"_{k}": values[n] for k, n in enumerate(stage.inputs)}
                term = Call(syntax.MUL, (totals[stage.name], substitute(slope, given)))
                totals[name] = Call(syntax.ADD, (totals[name], term)) if name in totals else term
        return [values[self.chain.output], *(totals.get(wrt[0], Constant(0)) for wrt in self.derivatives)]

    def _certify(self, given: Sequence[Floats], found: Sequence[Truths]) -> None:
        """Let columns certify what they can."""
        if self._many is None:
            trees = self._trees()
            if trees is None:
                return
            names = [f"_{i}" for i in range(len(given))]
            numbers: dict[Wrt, int | None] = {(name,): i for i, name in enumerate(self.chain.inputs)} | {
                (self.chain.output,): None
            }
            along = [numbers[wrt] for wrt in self.derivatives] if set(self.derivatives) <= numbers.keys() else None
            tiny = self.form.smallest_subnormal / 8
            self._many = Many(trees, names, self.form.bits + GUARD_BITS, tiny, self.points, along)
            self._outside, self._sizes = Outside(trees[0], names), Sizes(trees, names, self.form)
            inputs = [k for k, wrt in enumerate(self.derivatives) if len(wrt) == 1 and wrt[0] in self.chain.inputs]
            others = [wrt for k, wrt in enumerate(self.derivatives) if k not in inputs]
            if len(inputs) == 1 and all(wrt == (self.chain.output,) for wrt in others):
                self._stepped = inputs[0]
                name = self.derivatives[self._stepped][0]
                self._steps_of = Steps(trees[0], names, names[self.chain.inputs.index(name)], name)
        assert self._outside is not None and self._sizes is not None
        self._many.certify(given, found, self._evaluate)
        nowhere = self._outside.among(given, ~found[0].settled, self._evaluate)
        for truths in found:
            truths.exclude(nowhere)
        signs = self._sizes.beyond(given, ~found[0].settled, self._evaluate)
        if signs is not None:
            values, *results = found
            known = [truths.sharp(self.form.bits + GUARD_BITS) | (s != 0.0) for truths, s in zip(results, signs, strict=True)]
            certain = np.logical_and.reduce([np.any([s != 0.0 for s in signs], axis=0), ~values.settled, *known])
            values.accept(certain)
            for truths, s in zip(results, signs, strict=True):
                truths.accept(certain, s)
        left = found[0].others
        if self._steps_of is not None and len(left) >= MANY:
            values, *results = found
            settle = lambda i: self._settle(tuple(float(x[i]) for x in given))[0][self._stepped]  # noqa: E731
            stepped = self._steps_of.at(given, np.array(left), settle)
            for index, (value, truth) in stepped.items():
                values[index] = arb(value)
                for k, truths in enumerate(results):
                    truths[index] = truth if k == self._stepped else arb(1)  # the output's by itself

    def by_series(self, wrt: Wrt) -> bool:
        """Whether a derivative has no formula, and comes from power series."""
        return self._each[wrt]._series if self._each else self._series

    def _composed(self) -> tuple[Node, int, tuple[Wrt, ...]]:
        """The composed tree, how many inputs it has, and what it is differentiated by; by the output itself that is 1."""
        inputs = {name: f"_{i}" for i, name in enumerate(self.chain.inputs)}
        derivatives = [() if d == (self.chain.output,) else tuple(inputs.get(n, n) for n in d) for d in self.derivatives]
        return canonical(self.chain.composed(), self.chain.inputs), len(inputs), tuple(derivatives)

    def at(
        self, columns: Mapping[str, npt.ArrayLike], checkpoint: Callable[[], None] = lambda: None
    ) -> tuple[list[Truths], Truths]:
        """For each derivative what is known of it at every point (a ball where regular, else a Truth), and the values' balls.

        `columns` maps every input to its floats. `checkpoint` is called between points that take long.
        """
        if self._each:
            found = [part.at(columns, checkpoint) for part in self._each.values()]
            together = zip(*(values for _, values in found), strict=True)
            valued = Truths.of([next((v for v in vs if v is not None), None) for vs in together])
            return [truths[0] for truths, _ in found], valued
        given: list[Floats] = [np.asarray(columns[name], dtype=np.float64) for name in self.chain.inputs]
        count = len(given[0])
        values, *results = (Truths(count, partial(self._read, given, k)) for k in range(len(self.derivatives) + 1))
        values.nowhere = None
        if count >= MANY:
            self._certify(given, [values, *results])
        waiting = [index for index in values.others if values[index] is None]
        easy = [i for i in waiting if all(math.isfinite(column[i]) for column in given)] if self._direct is not None else []
        settled = set()
        if self._direct is not None:
            # The hot loop: one call of straight-line code a point, and one accuracy test a ball.
            enough = self.form.bits + GUARD_BITS
            points = list(zip(*(column[easy].tolist() for column in given), strict=True))
            with ctx.workprec(ENCLOSURE[0]):
                run = self._direct.bind()
                for index, point in zip(easy, points, strict=True):
                    value, *balls = run(*map(arb, point))
                    if value.is_finite() and all([ball.rel_accuracy_bits() >= enough for ball in balls]):
                        values[index] = value
                        settled.add(index)
                        for result, ball in zip(results, balls, strict=True):
                            result[index] = ball
        for index in waiting:
            if index not in settled:
                checkpoint()
                truths, values[index] = self._settle(tuple(float(column[index]) for column in given))
                for result, truth in zip(results, truths, strict=True):
                    result[index] = truth
        return results, values

    def _read(self, given: Sequence[Floats], k: int, index: int) -> Truth | Ball | None:
        """The value (0), or a derivative (from 1 on), at a point where columns have certified it: as tight as elsewhere."""
        point = tuple(float(column[index]) for column in given)
        with ctx.workprec(ENCLOSURE[0]):
            found = self._evaluate([arb(x) for x in point])
        if found is not None and found[0].is_finite() and all(tight(ball, self.form) for ball in found[1:]):
            return found[k]
        truths, value = self._settle(point)
        return truths[k - 1] if k else value

    def _settle(self, point: tuple[float, ...]) -> tuple[list[Truth | Ball], Ball | None]:
        """One point: raise the precision until every ball is tight, and certain to be 0 or not, as far as that can be; hand
        what stays singular to `kinks`."""
        found: list[Truth | Ball | None] = [None] * len(self.derivatives)
        value: Ball | None = None
        spent = 0.0
        wide: dict[int, Ball] = {}
        if all(math.isfinite(x) for x in point):
            hopeless = False
            for precision in ENCLOSURE if self._direct is None else ENCLOSURE[1:]:  # `at` has tried the first
                if hopeless and precision != ENCLOSURE[-1]:
                    continue
                spent += self.work * price(precision)
                if spent > POINT * len(self.derivatives):
                    break
                with ctx.workprec(precision):
                    balls = self._evaluate([arb(x) for x in point])
                if balls is not None:
                    value = balls[0] if balls[0].is_finite() else value
                    for i, ball in enumerate(balls[1:]):
                        if (found[i] is None or _open(found[i])) and balls[0].is_finite() and tight(ball, self.form):
                            found[i] = ball
                        elif balls[0].is_finite() and ball.is_finite():
                            wide[i] = ball
                if all(f is not None and not _open(f) for f in found):
                    break
                # A singularity stays one at any precision: what isn't finite at all is tried at the highest only.
                waiting = [b for f, b in zip(found, (balls or [None])[1:], strict=False) if f is None]
                hopeless = balls is None or not balls[0].is_finite() or not any(b.is_finite() for b in waiting)
        named = dict(zip(self.chain.inputs, point, strict=True))
        for i, wrt in enumerate(self.derivatives):
            if found[i] is None and wrt == (self.chain.output,):
                found[i] = self._itself(named)
            elif found[i] is None:
                found[i] = _unless_cancelled(self._limits(named, wrt), wide.get(i))
        return [f for f in found if f is not None], value

    def _limits(self, point: Mapping[str, float], wrt: Wrt) -> Truth:
        """The derivative from both sides; a lower one beside the point by series, where they are certified."""
        return limits(self.values, point, wrt, POINT, smooth=self._witness.derivative)

    def seen_from(self, side: Mapping[str, Ball], point: Mapping[str, float], wrt: Wrt) -> Truth | Ball:
        """The derivative along a jump as it is on one side of it, where the point moved by `side` lies."""
        for name in side.keys() & set(wrt):
            return Truth(Kind.NONDIFFERENTIABLE, jump=True, text=held(1 if side[name] > 0 else -1, name, "torch's"))
        with ctx.workprec(ENCLOSURE[1]):
            ball = self._witness.derivative({name: arb(x) + side.get(name, 0) for name, x in point.items()}, wrt)
        return Truth(Kind.UNKNOWN, singular=True, text=SIDE) if ball is None or not tight(ball, self.form) else ball

    def _itself(self, point: Mapping[str, float]) -> Truth | Ball:
        """The derivative of the output by itself: 1 wherever there is a value."""
        with ctx.workprec(ENCLOSURE[1]):
            exact = {name: arb(x) for name, x in point.items()}
            value = self.values(exact, {})
            return arb(1) if not value.is_nan() or not undefined(self.values, exact) else Truth(Kind.OUTSIDE)

    def _by_formula(self, point: Sequence[Ball]) -> list[Ball] | None:
        assert self._direct is not None
        return list(self._direct(*point))

    def _by_series(self, point: Sequence[Ball]) -> list[Ball] | None:
        """(value, derivatives...) where SymPy has no formula: by power series, which are certified just as well."""
        named = dict(zip(self.chain.inputs, point, strict=True))
        found = [self._witness.derivative(named, wrt) for wrt in self.derivatives]
        return [self.values(named, {}), *(NAN if ball is None else ball for ball in found)]

    def _by_stages(self, point: Sequence[Ball]) -> list[Ball] | None:
        """(value, totals...) by accumulation in reverse; None where a stage isn't certified smooth."""
        found = accumulate(self._steps, dict(zip(self.chain.inputs, point, strict=True)))
        if found is None:
            return None
        values, totals = found
        return [values[self.chain.output], *(totals.get(wrt[0], arb(0)) for wrt in self.derivatives)]

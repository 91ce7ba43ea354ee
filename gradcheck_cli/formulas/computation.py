"""One number's derivatives in one format and mode, at many points: torch runs once, the exact side encloses, entries within a
few ulps match at once, and the rest is followed by the shadow and judged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import product

import numpy as np
import numpy.typing as npt

from gradcheck_cli.algebra.number import Ball, exactly, two_to, working
from gradcheck_cli.algebra.precision import ENCLOSURE, SHADOW
from gradcheck_cli.errors import NO_KERNEL, InputError, NoValue
from gradcheck_cli.exact.derivative import SHORT, chain_formula
from gradcheck_cli.exact.enclosure import Enclosure
from gradcheck_cli.exact.kinks import EXPONENTS
from gradcheck_cli.exact.stalls import stalled
from gradcheck_cli.floats import Floats, Format
from gradcheck_cli.formulas.lowering import refine
from gradcheck_cli.formulas.run import Points, Run
from gradcheck_cli.formulas.torch_chain import TorchChain, Wrt
from gradcheck_cli.formulas.waiting import Queue, Waiting
from gradcheck_cli.language import syntax
from gradcheck_cli.language.chain import Chain
from gradcheck_cli.language.tree import Call, walk
from gradcheck_cli.maps.runs import numpy
from gradcheck_cli.modes import MODES
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.entries import OF_FORMULAS, OF_SERIES, Entries
from gradcheck_cli.verdict.judge import QUICK, distance, judge
from gradcheck_cli.verdict.numbers import decimal
from gradcheck_cli.verdict.scope import AtPoints
from gradcheck_cli.verdict.truth import Kind, Truth, regular
from gradcheck_cli.verdict.truths import Truths
from gradcheck_cli.verdict.verdicts import Cause, Verdict

CHUNK = 1 << 21
"""Bits of the points that go through torch at once, 32,768 of float64: bounds the memory of intermediate results."""

FORMULAS = 200
LEGIBLE = 60
"""Derivatives of a chain on arrays that have a formula to read, besides those that are wrong, and nodes of a stage up to which
they do: SymPy takes milliseconds for each."""

FOLLOWED = 64
"""Stages of the longest chain whose totals the shadow follows. Beyond, each stage's own derivative decides about the formula of
a total that is more than a few ulps off: a product of right derivatives is right."""


class Computation:
    """`derivatives` of a chain's output at `points`. `columns` are undecided until `check` has filled them.

    `compiled` is what torch runs: the chain itself, or the chain on arrays of which this one is one entry. `legible`: every
    derivative has a formula to read, if it isn't long.
    """

    def __init__(
        self,
        chain: Chain,
        derivatives: Sequence[Wrt],
        points: Points,
        run: Run,
        kind: str = "total",
        compiled: TorchChain | None = None,
        legible: bool = True,
    ) -> None:
        self.chain, self.derivatives, self.points, self.run, self.kind = chain, list(derivatives), points, run, kind
        self.compiled, self.legible = compiled, legible
        self.typed = chain if compiled is None else compiled.chain
        self.count = len(next(iter(points.values())))
        self.columns = [self.blank(chain.output, wrt, kind) for wrt in derivatives]
        self.deferred: list[tuple[int, int]] = []
        """Entries (column, index) of a long chain that wait for the stages' own derivatives."""
        self.values: dict[str, Floats] = {name: self._none() if run.callables else points[name] for name in chain.inputs}
        """Torch's value of what stages are made of, and of what is differentiated by. Of inputs the points themselves, where
        torch has values, and no code of the user's may have written to them."""
        self._keep(name for stage in chain.stages for name in stage.inputs)
        self._keep(wrt[-1] for wrt in derivatives)

    def _none(self) -> Floats:
        return np.full(self.count, np.nan)

    def _keep(self, names: Iterable[str]) -> None:
        """Let torch's values of stages be kept, as those of inputs are; what isn't in the chain has none."""
        stages = {stage.name for stage in self.chain.stages} - self.values.keys()
        self.values |= {name: self._none() for name in dict.fromkeys(names) if name in stages}

    def blank(self, of: str, wrt: Wrt, kind: str, inputs: Points | None = None) -> Column:
        """A column of undecided entries at these points. `inputs`: what a stage received there."""
        scope = AtPoints(self.points, (self.compiled and self.compiled.shapes) or {}, inputs)
        values = None if inputs is None else inputs[wrt[0]]
        run = self.run
        return Column.blank(scope, self.count, of=of, wrt=wrt, kind=kind, mode=run.mode, dtype=run.form.name, values=values)

    def ask(self, derivatives: Sequence[Wrt]) -> None:
        """Check these derivatives too."""
        self._keep(wrt[-1] for wrt in derivatives)
        self.derivatives += derivatives
        self.columns += [self.blank(self.chain.output, wrt, self.kind) for wrt in derivatives]

    def at(self, points: Points) -> Computation:
        """The same question at other points."""
        return Computation(self.chain, self.derivatives, points, self.run, self.kind, self.compiled, self.legible)

    def check(self, progress: Callable[[int], None] = lambda done: None) -> None:
        """Fill the columns, and `values`."""
        stuck = stalled(self.chain, max(len(wrt) for wrt in self.derivatives), self.points)
        if stuck.any():
            self._check_rest(stuck)
        else:
            exact = Enclosure(refine(self.chain) if self.compiled else self.chain, self.derivatives, self.run.form, self.count)
            compiled = self.compiled or self.run.torch(self.chain)
            longest = SHORT if self.compiled is None else LEGIBLE
            for column in self.columns if self.legible else ():
                column.shown = partial(chain_formula, self.chain, column.wrt, longest)
            queue = Queue(self.chain, self.typed, compiled, exact, self.columns, self.points, self.run)
            size = CHUNK // self.run.form.width
            for start in range(0, self.count, size):
                part = slice(start, min(start + size, self.count))
                _Part(self, exact, compiled, part).settle(queue)
                progress(part.stop - part.start)
            queue.finish()
            if self.run.verbose:
                queue.decompile()
        for column in self.columns:
            column.values = self.values.get(column.wrt[-1])

    def _check_rest(self, stuck: npt.NDArray[np.bool_]) -> None:
        """Check the points at which torch's kernels come back."""
        kept, lost = np.flatnonzero(~stuck).tolist(), np.flatnonzero(stuck).tolist()
        self.values = {name: self._none() for name in self.values}
        if kept:
            rest = self.at({name: column[kept] for name, column in self.points.items()})
            rest.check()
            for name, found in rest.values.items():
                self.values[name][kept] = found
            for column, source in zip(self.columns, rest.columns, strict=True):
                column.shown = source.shown
                column.paste(source, range(len(kept)), kept)
        for column in self.columns:
            column.mark(lost, Verdict.UNDECIDED, "a kernel of torch would run for hours at this point")


@dataclass
class _Torch:
    """Torch's side of a chunk: derivatives at every point (None: it has none anywhere; nan: none at this one), the values of
    names, what it said at points where it refused, the rows that cut the graph, and its words at points without a value.
    """

    gradients: dict[Wrt, Floats | None]
    values: dict[str, Floats]
    refusals: dict[Wrt, dict[int, str]] = field(default_factory=dict)
    cut: dict[str, None] = field(default_factory=dict)
    without: dict[int, str] = field(default_factory=dict)


SIGNS = 3
"""Zeros of a point that are given a sign."""

BESIDE = two_to(-EXPONENTS[0])
"""How far beside a jump a point lies whose zero has a sign: below the smallest number of every format."""


NOT_UNIQUE = (
    "factors of a matrix are functions of it where its eigenvalues, or singular values, are all different, and its rank is "
    "full; of a symmetric matrix, where it is symmetric"
)
TURNED = "torch's value is another: which of several factors of a matrix it chose there isn't known"

SMALL = 1024
"""Roundoffs of 1 that products of eigenvectors, which have length 1, may be off by."""


def _close(ball: Ball, number: float, form: Format, near: float = 0.0) -> bool:
    """Whether a ball and a float agree in half of the format's digits, or are as near as that."""
    return not abs(ball - number) > form.unit_roundoff**0.5 * (abs(ball) + abs(number)) + near


class _Part:
    """A chunk of a computation's points: the prover of formulas, for the judging loop."""

    def __init__(self, whole: Computation, exact: Enclosure, compiled: TorchChain, part: slice) -> None:
        self.whole, self.exact, self.compiled, self.part = whole, exact, compiled, part
        self.run, self.start, self.size = whole.run, part.start, part.stop - part.start
        self.points = {name: column[part] for name, column in whole.points.items()}
        self.torch = self._differentiate(whole.derivatives)
        for name in whole.values:
            values = self.torch.values[name]
            if self.torch.without and whole.values[name] is whole.points.get(name):
                whole.values[name] = whole.values[name].copy()
            if whole.values[name] is not whole.points.get(name):
                whole.values[name][part] = values
        self.output = self.torch.values[whole.chain.output]
        self.run.checkpoint()
        if len(self.torch.without) < self.size:
            truths, self.exact_values = exact.at(self.points, self.run.checkpoint)
        else:  # nothing to hold an exact value against
            *truths, self.exact_values = (Truths(self.size) for _ in range(len(whole.derivatives) + 1))
        self.entries = [self._entries(column, found) for column, found in zip(whole.columns, truths, strict=True)]

    def _entries(self, column: Column, truths: Truths) -> Entries:
        """A column's entries. A limit where the formula has no certified value is none if torch has no value either."""
        made: dict[str, Truth] = {}
        for index, refusal in self.torch.without.items():
            if refusal not in made:
                made[refusal] = Truth(Kind.OUTSIDE, text=f"torch has no value here: {refusal}")
            truths[index], self.exact_values[index] = made[refusal], None
        for index in np.flatnonzero(~(np.isfinite(self.output) | truths.settled)).tolist():
            truth = regular(truths[index])
            if truth.kind is Kind.REGULAR and truth.text is not None:
                truths[index] = Truth(Kind.OUTSIDE, singular=True)
        run = self.run
        gradient = self.torch.gradients[column.wrt]
        for index, side in self._across.items():
            number, here = math.nan if gradient is None else float(gradient[index]), regular(truths[index])
            if here.kind is Kind.REGULAR and _close(here.ball, number, run.form):
                continue  # along the jump both sides may agree
            point = {name: float(x[index]) for name, x in self.points.items()}
            there = regular(self.exact.seen_from(side, point, column.wrt))
            if here.kind is there.kind is Kind.REGULAR and not _close(there.ball, number, run.form):
                left, right = sorted((here.ball, there.ball), key=float)
                there = Truth(Kind.NONDIFFERENTIABLE, left=left, right=right, singular=True)
            truths[index] = there
        if self._factors:
            self._doubt(truths)
        policy = OF_SERIES if self.exact.by_series(column.wrt) else OF_FORMULAS
        return Entries(column, self.part, run.form, policy, run.limits, gradient, truths, run.checkpoint)

    @cached_property
    def _factors(self) -> bool:
        """Whether factors of a matrix are held that torch chooses."""
        trees = (stage.tree for stage in self.whole.chain.stages)
        return any(isinstance(node, Call) and node.function == syntax.GAUGE for tree in trees for node in walk(tree))

    def _doubt(self, truths: Truths) -> None:
        """Factors are told apart by torch's value. Where that is another, they aren't those that torch has; where there is
        none, the reason is said."""
        near = SMALL * self.run.form.unit_roundoff
        for index, (value, known) in enumerate(zip(self.output.tolist(), self.exact_values, strict=True)):
            if known is not None and not _close(regular(known).ball, value, self.run.form, near):
                truths[index] = Truth(Kind.UNKNOWN, text=TURNED)
        for index in np.flatnonzero(~truths.settled).tolist():
            truth = regular(truths[index])
            if truth.kind is Kind.OUTSIDE and truth.text is None:
                truths[index] = replace(truth, text=NOT_UNIQUE)

    @cached_property
    def _across(self) -> dict[int, dict[str, Ball]]:
        """The points with an input of 0 at which torch's value is the function's limit from a side of a jump, and no other: a
        zero has a sign there (IEEE 754-2019, section 9.2.1: atan2 of -0.0 and a negative number is -pi), the input's or one
        that an operation gave it (conj). And that side."""
        zero = np.zeros(self.size, dtype=bool)
        for values in self.points.values():
            zero |= values == 0.0
        found: dict[int, dict[str, Ball]] = {}
        for index in np.flatnonzero(zero & np.isfinite(self.output)).tolist():
            value, known = float(self.output[index]), self.exact_values[index]
            if known is not None and _close(regular(known).ball, value, self.run.form):
                continue
            with working(ENCLOSURE[0]):
                point = {name: exactly(float(values[index])) for name, values in self.points.items()}
                if self._elsewhere(point, {}, value):
                    names = [name for name, values in self.points.items() if values[index] == 0.0][:SIGNS]
                    for signs in product((-1, 1), repeat=len(names)):
                        side = {name: sign * BESIDE for name, sign in zip(names, signs, strict=True)}
                        if self._elsewhere(point, side, value) is False:
                            found[index] = side
                            break
        return found

    def _elsewhere(self, point: Mapping[str, Ball], side: Mapping[str, Ball], value: float) -> bool | None:
        """Whether the function's value is another than torch's; None where that isn't known."""
        ball = self.exact.values.every(point, side)[self.whole.chain.output]
        return None if not ball.is_finite() else not _close(ball, value, self.run.form)

    def settle(self, queue: Queue) -> None:
        """Judge what two numbers, or a user's callable by itself, settle; the other entries are put in the queue."""
        found = [np.asarray(entries.plainly(), dtype=np.int64) for entries in self.entries]
        if len(self.whole.typed.stages) > FOLLOWED:
            for k, (entries, waiting) in enumerate(zip(self.entries, found, strict=True)):
                numbers = entries.column.autograd[self.start + waiting]
                late = np.isfinite(numbers) & (numbers != 0.0) & (entries.floats is not None)
                self.whole.deferred += [(k, index) for index in (self.start + waiting[late]).tolist()]
                found[k] = waiting[~late]
        if self.run.callables and len(self.whole.typed.stages) == 1:
            self._probe_value(queue)
            if MODES[self.run.mode].backwards:
                self._probe_upstream()
        queue.add(Waiting(self.start, self.entries, found, self.torch.refusals, self.torch.without, self.torch.cut))
        if self.run.callables:
            queue.finish()
            self._guard()

    # -- a user's callable ------------------------------------------------------------------------------------------

    def _probe_value(self, queue: Queue) -> None:
        """A callable may compute another function: its forward value is judged like a derivative."""
        form = self.run.form
        pairs = enumerate(zip(self.output.tolist(), self.exact_values, strict=True))
        off = [i for i, (found, ball) in pairs if ball is not None and not distance(found, ball, form) <= QUICK]
        if not off:
            return
        followed = queue.follow([self.start + index for index in off], SHADOW[1])[()]
        for index, shade in zip(off, followed, strict=True):
            found, ball = float(self.output[index]), self.exact_values[index]
            if judge(found, regular(ball), form, shade, self.run.limits).cause is Cause.FORMULA:
                text = f"torch computes {found:.12g} where the function is {decimal(ball, 12)}"
                self._refute(index, Cause.VALUE, text, self.whole.columns)

    def _probe_upstream(self) -> None:
        """A backward is linear in the upstream gradient: twice the cotangent gives twice the result, exactly. A custom one
        that drops or misuses it is right for the cotangent 1, and is refuted here."""
        first = [wrt for wrt in self.whole.derivatives if len(wrt) == 1]
        doubled = self._differentiate(first, cotangent=2.0).gradients
        for column in self.whole.columns:
            once, twice = self.torch.gradients[column.wrt], doubled.get(column.wrt)
            if once is None or twice is None:
                continue
            with np.errstate(all="ignore"):
                expected, found = 2 * once, twice
                off = np.abs(found - expected) > np.sqrt(self.run.form.unit_roundoff) * np.abs(expected)
            for index in np.flatnonzero(off & np.isfinite(found)).tolist():
                text = (
                    f"with the upstream gradient 2 autograd returns {found[index]:.6g} instead of {expected[index]:.6g}: "
                    "the backward drops or misuses the upstream gradient"
                )
                self._refute(index, Cause.FORMULA, text, [column])

    def _guard(self) -> None:
        """No derivative of what runs a user's code stands against a difference quotient."""
        from gradcheck_cli.formulas.guard import guard_points  # of formulas alone nobody asks

        columns = {column.wrt[0]: column for column in self.whole.columns if len(column.wrt) == 1}
        only = self.whole.chain.output if len(self.whole.typed.stages) == 1 else None
        valued = [i for i in range(self.size) if i not in self.torch.without]
        for batch in self.compiled.batches(self.points, valued, self.whole.count == 1) if valued else ():
            here = [self.start + i for i in batch.points]
            guard_points(self.compiled, batch, columns, here, only, self.run.limits, self.run.checkpoint)

    def _refute(self, index: int, cause: Cause, text: str, columns: Sequence[Column]) -> None:
        """Turn a match into a mismatch."""
        here = self.start + index
        for column in columns:
            if column.verdict(here) is Verdict.MATCH:
                column.mark([here], Verdict.MISMATCH, text, cause)
                column.blame(here, self.whole.chain.output)

    # -- torch ------------------------------------------------------------------------------------------------------

    def _differentiate(self, derivatives: Sequence[Wrt], cotangent: float = 1.0) -> _Torch:
        """Torch's derivatives, and values, at all points of the chunk."""
        names = dict.fromkeys((*self.whole.values, self.whole.chain.output))
        found = _Torch({wrt: None for wrt in derivatives}, {name: self._blank() for name in names})
        waiting = self.compiled.batches(self.points, range(self.size), self.whole.count == 1)
        while waiting:
            batch = waiting.pop()
            try:
                outcome = self.compiled.differentiate(self.run.mode, batch.tensors, derivatives, cotangent)
            except InputError as refusal:  # of a dtype, or of some of the points
                if len(batch.points) > 1 and NO_KERNEL not in str(refusal):
                    waiting += batch.halves()
                    continue
                found.without |= dict.fromkeys(batch.points, str(refusal))
                if not isinstance(refusal, NoValue) and len(found.without) == self.size:
                    raise
                continue
            if outcome.refusals and self.run.callables and len(batch.points) > 1:
                waiting += batch.halves()  # a user's backward may refuse some points only
                continue
            here = slice(None) if len(batch.points) == self.size else batch.points
            for wrt, refusal_there in outcome.refusals.items():
                found.refusals.setdefault(wrt, {}).update(dict.fromkeys(batch.points, refusal_there))
            found.cut |= dict.fromkeys(outcome.cut)
            for wrt, gradient in outcome.gradients.items():
                if gradient is not None:
                    column = found.gradients[wrt]
                    if column is None:
                        column = found.gradients[wrt] = self._blank()
                    column[here] = numpy(gradient)
            for name, column in found.values.items():
                column[here] = numpy(self.compiled.entry(outcome.values, name))
        return found

    def _blank(self) -> Floats:
        return np.full(self.size, np.nan)

"""One number's derivatives in one format and mode, at many points: torch runs once, the exact side encloses, entries within a
few ulps match at once, and the rest is followed by the shadow and judged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gradcheck_cli.algebra.columns.trust import TRUST
from gradcheck_cli.algebra.effort import POINT, price
from gradcheck_cli.algebra.number import Ball, working
from gradcheck_cli.algebra.precision import SHADOW
from gradcheck_cli.errors import NO_KERNEL, InputError, NoValue
from gradcheck_cli.exact.derivative import LONGEST_CHAIN, SHORT, chain_formula
from gradcheck_cli.exact.enclosure import MANY, Enclosure
from gradcheck_cli.exact.stalls import stalled
from gradcheck_cli.exact.witness import Witness
from gradcheck_cli.floats import Floats, Format
from gradcheck_cli.formulas.follow import formula, many_shades, shades
from gradcheck_cli.formulas.guard import guard_points
from gradcheck_cli.formulas.lowering import refine
from gradcheck_cli.formulas.torch_chain import TorchChain, Wrt
from gradcheck_cli.language.chain import Chain
from gradcheck_cli.language.spaces import Shape
from gradcheck_cli.maps.runs import numpy
from gradcheck_cli.modes import MODES
from gradcheck_cli.verdict.column import Column, Detail
from gradcheck_cli.verdict.entries import OF_FORMULAS, OF_SERIES, Entries, Evidence
from gradcheck_cli.verdict.judge import QUICK, distance, judge
from gradcheck_cli.verdict.limits import Limits
from gradcheck_cli.verdict.numbers import decimal
from gradcheck_cli.verdict.scope import AtPoints
from gradcheck_cli.verdict.shade import Shade
from gradcheck_cli.verdict.truth import Kind, Truth, regular
from gradcheck_cli.verdict.truths import Truths
from gradcheck_cli.verdict.verdicts import Cause, Verdict

CHUNK = 65_536
"""Points that go through torch at once: bounds the memory of intermediate results."""

COLUMNS_CHUNK = 8_192
"""Points that columns follow at once: what they hold stays in the cache."""

FEWEST = 32
"""Points from which on columns follow a run once more, before balls do."""

SHADOW_CHUNK = 4_096
"""Points that the shadow follows at once; a point costs a few balls for each operation."""

FORMULAS = 200
LEGIBLE = 60
"""Derivatives of a chain on arrays that have a formula to read, besides those that are wrong, and nodes of a stage up to which
they do: SymPy takes milliseconds for each."""

FOLLOWED = 64
"""Stages of the longest chain whose totals the shadow follows. Beyond, each stage's own derivative decides about the formula of
a total that is more than a few ulps off: a product of right derivatives is right."""

Points = Mapping[str, Floats]


@dataclass(frozen=True)
class Run:
    """What holds for every computation in one format and mode. `checkpoint` is called often; it raises where time is up."""

    form: Format
    mode: str
    limits: Limits
    device: str
    callables: Mapping[str, Callable[..., Any]]
    verbose: bool
    checkpoint: Callable[[], None]

    def torch(self, chain: Chain, shapes: Mapping[str, Shape] | None = None) -> TorchChain:
        """What torch runs of a chain."""
        return TorchChain(chain, getattr(torch, self.form.name), self.device, self.callables, shapes)


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
        names = (*chain.inputs, *(stage.name for stage in chain.stages))
        self.values: dict[str, Floats] = {name: np.full(self.count, np.nan) for name in names}

    def blank(self, of: str, wrt: Wrt, kind: str, inputs: Points | None = None) -> Column:
        """A column of undecided entries at these points. `inputs`: what a stage received there."""
        scope = AtPoints(self.points, (self.compiled and self.compiled.shapes) or {}, inputs)
        values = None if inputs is None else inputs[wrt[0]]
        run = self.run
        return Column.blank(scope, self.count, of=of, wrt=wrt, kind=kind, mode=run.mode, dtype=run.form.name, values=values)

    def ask(self, derivatives: Sequence[Wrt]) -> None:
        """Check these derivatives too."""
        self.derivatives += derivatives
        self.columns += [self.blank(self.chain.output, wrt, self.kind) for wrt in derivatives]

    def at(self, points: Points) -> Computation:
        """The same question at other points."""
        return Computation(self.chain, self.derivatives, points, self.run, self.kind, self.compiled, self.legible)

    def check(self, progress: Callable[[int], None] = lambda done: None) -> None:
        """Fill the columns, and `values` with torch's value of every input and stage."""
        stuck = stalled(self.chain, max(len(wrt) for wrt in self.derivatives), self.points)
        if stuck.any():
            self._check_rest(stuck)
        else:
            exact = Enclosure(refine(self.chain) if self.compiled else self.chain, self.derivatives, self.run.form)
            compiled = self.compiled or self.run.torch(self.chain)
            longest = SHORT if self.compiled is None else LEGIBLE
            for column in self.columns if self.legible else ():
                column.shown = partial(chain_formula, self.chain, column.wrt, longest)
            for start in range(0, self.count, CHUNK):
                part = slice(start, min(start + CHUNK, self.count))
                _Part(self, exact, compiled, part).check()
                progress(part.stop - part.start)
        for column in self.columns:
            column.values = self.values.get(column.wrt[-1])

    def _check_rest(self, stuck: npt.NDArray[np.bool_]) -> None:
        """Check the points at which torch's kernels come back."""
        kept, lost = np.flatnonzero(~stuck).tolist(), np.flatnonzero(stuck).tolist()
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
    """Torch's side of a chunk: derivatives at every point (None: it has none anywhere; nan: none at this one), the value of
    every name, what it said at points where it refused, the rows that cut the graph, and its words at points without a value.
    """

    gradients: dict[Wrt, Floats | None]
    values: dict[str, Floats]
    refusals: dict[Wrt, dict[int, str]] = field(default_factory=dict)
    cut: dict[str, None] = field(default_factory=dict)
    without: dict[int, str] = field(default_factory=dict)


class _Part:
    """A chunk of a computation's points: the prover of formulas, for the judging loop."""

    def __init__(self, whole: Computation, exact: Enclosure, compiled: TorchChain, part: slice) -> None:
        self.whole, self.exact, self.compiled, self.part = whole, exact, compiled, part
        self.run, self.start, self.size = whole.run, part.start, part.stop - part.start
        self.points = {name: column[part] for name, column in whole.points.items()}
        self.torch = self._differentiate(whole.derivatives)
        for name, values in self.torch.values.items():
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
        for index, refusal in self.torch.without.items():
            truths[index], self.exact_values[index] = Truth(Kind.OUTSIDE, text=f"torch has no value here: {refusal}"), None
        for index in np.flatnonzero(~(np.isfinite(self.output) | truths.settled)).tolist():
            truth = regular(truths[index])
            if truth.kind is Kind.REGULAR and truth.text is not None:
                truths[index] = Truth(Kind.OUTSIDE, singular=True)
        run = self.run
        gradient = self.torch.gradients[column.wrt]
        policy = OF_SERIES if self.exact.by_series(column.wrt) else OF_FORMULAS
        return Entries(column, self.part, run.form, policy, run.limits, gradient, truths, run.checkpoint)

    def check(self) -> None:
        """Judge every entry of the chunk."""
        waiting: dict[int, list[int]] = {}
        for k, entries in enumerate(self.entries):
            for index in entries.plainly():
                number = entries.number(index)
                if len(self.whole.typed.stages) > FOLLOWED and number and math.isfinite(number):
                    self.whole.deferred.append((k, self.start + index))
                else:
                    waiting.setdefault(index, []).append(k)
        if self.run.callables and len(self.whole.typed.stages) == 1:
            self._probe_value()
            if MODES[self.run.mode].backwards:
                self._probe_upstream()
        self._sift(waiting)
        indices = sorted(waiting)
        for start in range(0, len(indices), SHADOW_CHUNK):
            self._judge({i: waiting[i] for i in indices[start : start + SHADOW_CHUNK]})
        for entries in self.entries:
            entries.truths.release()
        if self.run.callables:
            self._guard()
        if self.run.verbose and self.start == 0:
            for k, column in enumerate(self.whole.columns):
                detail = column.details.setdefault(0, Detail())
                detail.autograd_formula = detail.autograd_formula or self._formula(k, 0)

    def _sift(self, waiting: dict[int, list[int]]) -> None:
        """Take out of the waiting entries (index -> which derivatives) those that columns are certain of: they match, or are
        imprecise."""
        if len(waiting) < MANY or self.compiled.shapes is not None or self.run.callables or not TRUST.sound():
            return
        for limited in (True, False):  # what rounding explains, and what loses digits without the format's limits
            indices = sorted(i for i in waiting if i not in self.torch.without)
            for start in range(0, len(indices) if len(indices) >= FEWEST else 0, COLUMNS_CHUNK):
                self.run.checkpoint()
                self._sift_some(waiting, indices[start : start + COLUMNS_CHUNK], limited)

    def _sift_some(self, waiting: dict[int, list[int]], some: Sequence[int], limited: bool) -> None:
        (batch,) = self.compiled.batches(self.points, some, self.whole.count == 1)
        found = many_shades(self.compiled, self.run.mode, self.run.form, batch, self.whole.derivatives, limited)
        for wrt, seen in found.items():
            k = self.whole.derivatives.index(wrt)
            asked = [position for position, i in enumerate(some) if k in waiting.get(i, ())]
            for i in self.entries[k].sift([some[position] for position in asked], seen.pick(asked), limited):
                waiting[i].remove(k)
                if not waiting[i]:
                    del waiting[i]

    def _judge(self, waiting: Mapping[int, Sequence[int]]) -> None:
        """Run the shadow over some entries (index -> which derivatives) and judge them."""
        refused = {i: [k for k in ks if i in self._refusals(k)] for i, ks in waiting.items()}
        seen = self._shades({i: rest for i, ks in waiting.items() if (rest := [k for k in ks if k not in refused[i]])})
        witness = Witness(self.exact.chain)
        # a single stage is to blame for what is wrong with it
        only = self.whole.chain.output if len(self.whole.typed.stages) == 1 else None
        of_column: dict[int, list[int]] = {}
        for index, ks in waiting.items():
            for k in ks:
                of_column.setdefault(k, []).append(index)
        for k, indices in sorted(of_column.items()):
            known = Evidence(
                shade=lambda i, k=k: seen.get((i, k)),  # type: ignore[misc]
                doubted=lambda some, balls, k=k: self._doubted(witness, k, some, balls),  # type: ignore[misc]
                cut=tuple(self.torch.cut),
                stage=only,
            )
            said: dict[str | None, list[int]] = {}
            for index in indices:
                said.setdefault(self._refusals(k).get(index), []).append(index)
            for refusal, some in said.items():
                self.entries[k].judge(some, replace(known, refusal=refusal))
            self._show(k, indices)

    def _refusals(self, k: int) -> Mapping[int, str]:
        """What torch said at points where it refused a derivative."""
        return self.torch.refusals.get(self.whole.derivatives[k], {})

    def _doubted(self, witness: Witness, k: int, indices: Sequence[int], balls: Sequence[Ball]) -> dict[int, bool]:
        wrt = self.whole.columns[k].wrt
        series = not self.exact.by_series(wrt)
        points = ({name: float(values[i]) for name, values in self.points.items()} for i in indices)
        found = zip(indices, points, balls, strict=True)
        outcomes = {i: witness.confirms(point, wrt, ball, series) for i, point, ball in found}
        return {i: outcome is False for i, outcome in outcomes.items() if not outcome}

    def _show(self, k: int, indices: Sequence[int]) -> None:
        """Add both formulas to what they explain."""
        column = self.whole.columns[k]
        formulas: dict[Cause, str | None] = {}
        for index in indices:
            cause = column.cause(self.start + index)
            if cause not in _SHOWN:
                continue
            if cause not in formulas:
                formulas[cause] = self._formula(k, index)
                column.shown = partial(chain_formula, self.whole.chain, column.wrt)
            column.details[self.start + index].autograd_formula = formulas[cause]

    def _shades(self, waiting: Mapping[int, Sequence[int]]) -> dict[tuple[int, int], Shade]:
        """What the shadow sees of the entries, at a precision that rises until it is sharp, or costs too much at one point."""
        seen: dict[tuple[int, int], Shade] = {}
        rest = list(waiting)
        for precision in SHADOW:
            if not rest:
                break
            if seen and self.exact.work * price(precision) > POINT:
                # What has no value at a low precision may have one at a higher: that is not known then.
                return {key: shade for key, shade in seen.items() if key[0] not in rest or shade.exact.is_finite()}
            self.run.checkpoint()
            found = self._follow(rest, precision)
            blurred = []
            for position, index in enumerate(rest):
                for k in waiting[index]:
                    shade = found[self.whole.derivatives[k]][position]
                    if shade is None:
                        continue
                    seen[index, k] = shade
                    truth = self.entries[k].truth(index)
                    if truth.kind is Kind.REGULAR and _blurred(shade.exact, truth.ball, self.run.form):
                        blurred.append(index)
            rest = list(dict.fromkeys(blurred))
        return seen

    def _follow(self, indices: Sequence[int], precision: int) -> dict[Wrt, list[Shade | None]]:
        batches = self.compiled.batches(self.points, indices, self.whole.count == 1)
        with working(precision):
            found, cut = shades(self.compiled, self.run.mode, self.run.form, batches, self.points, self.whole.derivatives)
        self.torch.cut = dict.fromkeys(cut) or self.torch.cut
        return found

    # -- a user's callable ------------------------------------------------------------------------------------------

    def _probe_value(self) -> None:
        """A callable may compute another function: its forward value is judged like a derivative."""
        form = self.run.form
        pairs = enumerate(zip(self.output.tolist(), self.exact_values, strict=True))
        off = [i for i, (found, ball) in pairs if ball is not None and not distance(found, ball, form) <= QUICK]
        if not off:
            return
        for index, shade in zip(off, self._follow(off, SHADOW[1])[()], strict=True):
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
        found = _Torch({wrt: None for wrt in derivatives}, {name: self._blank() for name in self.whole.values})
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

    def _formula(self, k: int, index: int) -> str | None:
        """The formula that autograd applies, as it shows at one of the points."""
        if len(self.whole.typed.stages) > LONGEST_CHAIN:
            return None
        (batch,) = self.compiled.batches(self.points, [index], self.whole.count == 1)
        return formula(self.compiled, self.run.mode, batch, self.whole.derivatives[k])


_SHOWN = (Cause.FORMULA, Cause.NO_GRADIENT, Cause.KINK)


def _blurred(shadow: Ball, ball: Ball, form: Format) -> bool:
    """True where more precision may tell: the shadow is not finite, or overlaps the exact value only because it is wide."""
    if not shadow.is_finite():
        return True
    if not shadow.overlaps(ball):
        return False
    return bool(shadow.rad() > abs(ball).abs_upper() * form.unit_roundoff / 16)

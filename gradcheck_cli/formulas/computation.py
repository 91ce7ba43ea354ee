"""One number's derivatives in one format and mode, at many points: torch runs once, the exact side encloses, entries within a
few ulps match at once, and the rest is followed by the shadow and judged.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from flint import ctx

from gradcheck_cli.exact.derivative import LONGEST_CHAIN, SHORT, chain_formula
from gradcheck_cli.exact.enclosure import Enclosure
from gradcheck_cli.exact.stalls import stalled
from gradcheck_cli.exact.witness import Witness
from gradcheck_cli.floats import Floats, Format
from gradcheck_cli.formulas.follow import formula, shades
from gradcheck_cli.formulas.lowering import refine
from gradcheck_cli.formulas.torch_chain import TorchChain, Wrt
from gradcheck_cli.language.chain import Chain, derivative_name
from gradcheck_cli.maps.modes import MODES
from gradcheck_cli.verdict.column import VERDICTS, Column, Detail
from gradcheck_cli.verdict.judge import QUICK, Judgement, distance, judge, judge_plainly
from gradcheck_cli.verdict.limits import Limits
from gradcheck_cli.verdict.numbers import decimal
from gradcheck_cli.verdict.shade import Shade
from gradcheck_cli.verdict.truth import Ball, Kind, Truth, regular
from gradcheck_cli.verdict.verdicts import Cause, Verdict

CHUNK = 65_536
"""Points that go through torch at once: bounds the memory of intermediate results."""

SHADOW_CHUNK = 4_096
"""Points that the shadow follows at once; a point costs a few balls for each operation."""

FORMULAS = 200
LEGIBLE = 60
"""Derivatives of a chain on arrays that have a formula to read, besides those that are wrong, and nodes of a stage up to which
they do: SymPy takes milliseconds for each."""

SHADOW_PRECISIONS = (128, 512, 4096)

FOLLOWED = 64
"""Stages of the longest chain whose totals the shadow follows. Beyond, each stage's own derivative decides about the formula of
a total that is more than a few ulps off: a product of right derivatives is right."""

SHADOW_PATIENCE = 2.0
"""Seconds after which the shadow isn't repeated at a higher precision."""

Points = Mapping[str, Floats]


@dataclass(frozen=True)
class Settings:
    """What holds for every computation of a run. `checkpoint` is called often; it raises Stopped when time is up."""

    device: str
    callables: Mapping[str, Callable[..., Any]]
    limits: Limits
    verbose: bool
    checkpoint: Callable[[], None]

    def torch(self, form: Format) -> tuple[torch.dtype, str, Mapping[str, Callable[..., Any]]]:
        """What a TorchChain takes besides its chain."""
        return getattr(torch, form.name), self.device, self.callables


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
        form: Format,
        mode: str,
        kind: str,
        settings: Settings,
        compiled: TorchChain | None = None,
        legible: bool = True,
    ) -> None:
        self.chain, self.derivatives, self.points = chain, list(derivatives), points
        self.form, self.mode, self.kind, self.settings, self.compiled = form, mode, kind, settings, compiled
        self.legible = legible
        self.typed = chain if compiled is None else compiled.chain
        self.count = len(next(iter(points.values())))
        self.columns = [self.blank(chain.output, wrt) for wrt in derivatives]
        self.deferred: list[tuple[int, int]] = []
        """Entries (column, index) of a long chain that wait for the stages' own derivatives."""
        names = (*chain.inputs, *(stage.name for stage in chain.stages))
        self.values: dict[str, Floats] = {name: np.full(self.count, np.nan) for name in names}

    def blank(self, of: str, wrt: Wrt, kind: str | None = None) -> Column:
        """A column of undecided entries at these points."""
        return Column(
            quantity=derivative_name(of, wrt),
            kind=kind or self.kind,
            of=of,
            wrt=wrt,
            mode=self.mode,
            dtype=self.form.name,
            formula=None,
            points=self.points,
            shapes=(self.compiled and self.compiled.shapes) or {},
            autograd=np.full(self.count, np.nan),
            exact=[None] * self.count,
            error_ulps=np.full(self.count, np.nan),
            verdicts=np.full(self.count, VERDICTS.index(Verdict.UNDECIDED), dtype=np.uint8),
        )

    def ask(self, derivatives: Sequence[Wrt]) -> None:
        """Check these derivatives too."""
        self.derivatives += derivatives
        self.columns += [self.blank(self.chain.output, wrt) for wrt in derivatives]

    def at(self, points: Points) -> Computation:
        """The same question at other points."""
        return Computation(
            self.chain, self.derivatives, points, self.form, self.mode, self.kind, self.settings, self.compiled, self.legible
        )

    def check(self, progress: Callable[[int], None] = lambda done: None) -> None:
        """Fill the columns, and `values` with torch's value of every input and stage."""
        stuck = stalled(self.chain, max(len(wrt) for wrt in self.derivatives), self.points)
        if stuck.any():
            self._check_rest(stuck)
        else:
            exact = Enclosure(refine(self.chain) if self.compiled else self.chain, self.derivatives, self.form)
            compiled = self.compiled or TorchChain(self.chain, *self.settings.torch(self.form))
            longest = SHORT if self.compiled is None else LEGIBLE
            for column in self.columns if self.legible else ():
                column.formula = chain_formula(self.chain, column.wrt, longest)
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
                column.formula = source.formula
                column.paste(source, range(len(kept)), kept)
        for column in self.columns:
            column.mark(lost, Verdict.UNDECIDED, "a kernel of torch would run for hours at this point")


class _Part:
    """A chunk of a computation's points."""

    def __init__(self, whole: Computation, exact: Enclosure, compiled: TorchChain, part: slice) -> None:
        self.whole, self.exact, self.compiled, self.start = whole, exact, compiled, part.start
        self.form, self.settings, self.range = whole.form, whole.settings, part
        self.points = {name: column[part] for name, column in whole.points.items()}
        self.size = part.stop - part.start
        self.gradients, self.refusals, self.cut = self._differentiate(whole.derivatives, values=True)
        self.output = whole.values[whole.chain.output][part]
        whole.settings.checkpoint()
        found, self.exact_values = exact.at({n: c.tolist() for n, c in self.points.items()}, whole.settings.checkpoint)
        self.truths: list[list[Truth | Ball]] = found

    def check(self) -> None:
        """Judge every entry of the chunk."""
        waiting: dict[int, list[int]] = {}
        for k, column in enumerate(self.whole.columns):
            for index in self._judge_plainly(k, column):
                waiting.setdefault(index, []).append(k)
        if self.settings.callables and len(self.whole.typed.stages) == 1:
            self._probe_value()
            if MODES[self.whole.mode].backwards:
                self._probe_upstream()
        indices = sorted(waiting)
        for start in range(0, len(indices), SHADOW_CHUNK):
            self._judge_shadowed({i: waiting[i] for i in indices[start : start + SHADOW_CHUNK]})
        if self.settings.verbose and self.start == 0:
            for k, column in enumerate(self.whole.columns):
                detail = column.details.setdefault(0, Detail())
                detail.autograd_formula = detail.autograd_formula or self._formula(k, 0)

    # -- judging ----------------------------------------------------------------------------------------------------

    def _judge_plainly(self, k: int, column: Column) -> list[int]:
        """Enter what two numbers settle; return the entries for which the shadow has to speak."""
        gradient = self.gradients[column.wrt]
        found = np.full(self.size, np.nan) if gradient is None else gradient
        column.autograd[self.range] = found
        waiting = []
        for index in column.settle(self.range, self.truths[k], self.form, self.settings.limits):
            self.settings.checkpoint()
            truth = self._truth(k, index)
            number = None if gradient is None else float(found[index])
            if truth.kind is Kind.REGULAR and number is not None:
                column.error_ulps[self.start + index] = distance(number, truth.ball, self.form)
            judgement = judge_plainly(number, truth, self.form, self.settings.limits)
            if judgement is None and number and len(self.whole.typed.stages) > FOLLOWED and math.isfinite(number):
                self.whole.deferred.append((k, self.start + index))
            elif judgement is None or judgement.cause is Cause.NO_GRADIENT:
                waiting.append(index)
            else:
                self._enter(column, index, judgement, truth, None)
        return waiting

    def _truth(self, k: int, index: int) -> Truth:
        """The exact side of an entry. A limit where the formula has no certified value is none if torch has no value either."""
        truth = regular(self.truths[k][index])
        if truth.kind is Kind.REGULAR and truth.text is not None and not np.isfinite(self.output[index]):
            truth = Truth(Kind.OUTSIDE, singular=True)
        self.truths[k][index] = truth
        return truth

    def _judge_shadowed(self, waiting: Mapping[int, Sequence[int]]) -> None:
        """Run the shadow over some entries (index -> which derivatives) and judge them."""
        seen = self._shades(waiting)
        witness = Witness(self.exact.chain)
        formulas: dict[tuple[int, Cause], str | None] = {}
        for k, index in sorted((k, i) for i, ks in waiting.items() for k in ks):
            self.settings.checkpoint()
            column, truth = self.whole.columns[k], self._truth(k, index)
            number = None if self.gradients[column.wrt] is None else float(column.autograd[self.start + index])
            shade = seen.get((index, k))
            refusal = self.refusals.get(column.wrt)
            judgement = judge(number, truth, self.form, shade, self.settings.limits, self.cut, refusal)
            if judgement.verdict is Verdict.MISMATCH and truth.kind is Kind.REGULAR and not truth.singular:
                point = {name: float(values[index]) for name, values in self.points.items()}
                if not witness.confirms(point, column.wrt, truth.ball, series=not self.exact.by_series):
                    judgement = Judgement(Verdict.UNDECIDED, text=_DOUBT)
            self._enter(column, index, judgement, truth, shade)
            if judgement.cause in _SHOWN:
                key = (k, judgement.cause)
                if key not in formulas:
                    formulas[key] = self._formula(k, index)
                    column.formula = column.formula or chain_formula(self.whole.chain, column.wrt)
                column.details[self.start + index].autograd_formula = formulas[key]

    def _shades(self, waiting: Mapping[int, Sequence[int]]) -> dict[tuple[int, int], Shade]:
        """What the shadow sees of the entries, at a precision that rises until it is sharp."""
        seen: dict[tuple[int, int], Shade] = {}
        rest, began = list(waiting), time.monotonic()
        for precision in SHADOW_PRECISIONS:
            self.settings.checkpoint()
            found = self._follow(rest, precision)
            blurred = []
            for position, index in enumerate(rest):
                for k in waiting[index]:
                    shade = found[self.whole.derivatives[k]][position]
                    if shade is None:
                        continue
                    seen[index, k] = shade
                    truth = self._truth(k, index)
                    if truth.kind is Kind.REGULAR and _blurred(shade.exact, truth.ball, self.form):
                        blurred.append(index)
            rest = list(dict.fromkeys(blurred))
            if not rest:
                break
            if time.monotonic() - began > SHADOW_PATIENCE:
                # What has no value at a low precision may have one at a higher: that is not known then.
                return {key: shade for key, shade in seen.items() if key[0] not in blurred or shade.exact.is_finite()}
        return seen

    def _follow(self, indices: Sequence[int], precision: int) -> dict[Wrt, list[Shade | None]]:
        batches = self.compiled.batches(self.points, indices, self.whole.count == 1)
        with ctx.workprec(precision):
            found, cut = shades(self.compiled, self.whole.mode, self.form, batches, self.points, self.whole.derivatives)
        self.cut = cut or self.cut
        return found

    def _enter(self, column: Column, index: int, judgement: Judgement, truth: Truth, shade: Shade | None) -> None:
        """Write one judgement into its column; a single stage is to blame for what is wrong with it."""
        only = self.whole.chain.output if len(self.whole.typed.stages) == 1 else None
        column.enter(self.start + index, judgement, truth, shade, only)

    # -- a user's callable ------------------------------------------------------------------------------------------

    def _probe_value(self) -> None:
        """A callable may compute another function: its forward value is judged like a derivative."""
        pairs = enumerate(zip(self.output.tolist(), self.exact_values, strict=True))
        off = [i for i, (found, ball) in pairs if ball is not None and not distance(found, ball, self.form) <= QUICK]
        if not off:
            return
        for index, shade in zip(off, self._follow(off, SHADOW_PRECISIONS[1])[()], strict=True):
            found, ball = float(self.output[index]), self.exact_values[index]
            if judge(found, regular(ball), self.form, shade, self.settings.limits).cause is Cause.FORMULA:
                text = f"torch computes {found:.12g} where the function is {decimal(ball, 12)}"
                self._refute(index, Cause.VALUE, text, self.whole.columns)

    def _probe_upstream(self) -> None:
        """A backward is linear in the upstream gradient: twice the cotangent gives twice the result, exactly. A custom one
        that drops or misuses it is right for the cotangent 1, and is refuted here."""
        first = [wrt for wrt in self.whole.derivatives if len(wrt) == 1]
        doubled, _, _ = self._differentiate(first, cotangent=2.0)
        for column in self.whole.columns:
            once, twice = self.gradients[column.wrt], doubled.get(column.wrt)
            if once is None or twice is None:
                continue
            with np.errstate(all="ignore"):
                expected, found = 2 * once, twice
                off = np.abs(found - expected) > np.sqrt(self.form.unit_roundoff) * np.abs(expected)
            for index in np.flatnonzero(off & np.isfinite(found)).tolist():
                text = (
                    f"with the upstream gradient 2 autograd returns {found[index]:.6g} instead of {expected[index]:.6g}: "
                    "the backward drops or misuses the upstream gradient"
                )
                self._refute(index, Cause.FORMULA, text, [column])

    def _refute(self, index: int, cause: Cause, text: str, columns: Sequence[Column]) -> None:
        """Turn a match into a mismatch."""
        here = self.start + index
        for column in columns:
            if column.verdict(here) is Verdict.MATCH:
                column.verdicts[here] = VERDICTS.index(Verdict.MISMATCH)
                column.details[here] = Detail(cause=cause, stage=self.whole.chain.output, text=text)

    # -- torch ------------------------------------------------------------------------------------------------------

    def _differentiate(
        self, derivatives: Sequence[Wrt], cotangent: float = 1.0, values: bool = False
    ) -> tuple[dict[Wrt, Floats | None], dict[Wrt, str], tuple[str, ...]]:
        """Torch's derivatives at all points of the chunk (None: it has none anywhere; nan: none at this one), its refusals, and
        the rows that cut the graph. `values`: enter torch's values into the computation too."""
        gradients: dict[Wrt, Floats | None] = {wrt: None for wrt in derivatives}
        refusals: dict[Wrt, str] = {}
        cut: dict[str, None] = {}
        for batch in self.compiled.batches(self.points, range(self.size), self.whole.count == 1):
            outcome = self.compiled.differentiate(self.whole.mode, batch.tensors, derivatives, cotangent)
            here = slice(None) if len(batch.points) == self.size else batch.points
            refusals |= outcome.refusals
            cut |= dict.fromkeys(outcome.cut)
            for wrt, gradient in outcome.gradients.items():
                if gradient is not None:
                    column = gradients[wrt]
                    if column is None:
                        column = gradients[wrt] = np.full(self.size, np.nan)
                    column[here] = _numpy(gradient)
            if values:
                for name, column in self.whole.values.items():
                    column[self.range][here] = _numpy(self.compiled.entry(outcome.values, name))
        return gradients, refusals, tuple(cut)

    def _formula(self, k: int, index: int) -> str | None:
        """The formula that autograd applies, as it shows at one of the points."""
        if len(self.whole.typed.stages) > LONGEST_CHAIN:
            return None
        (batch,) = self.compiled.batches(self.points, [index], self.whole.count == 1)
        return formula(self.compiled, self.whole.mode, batch, self.whole.derivatives[k])


_SHOWN = (Cause.FORMULA, Cause.NO_GRADIENT, Cause.KINK)
_DOUBT = "the two witnesses of the exact derivative disagree: the symbolic side is in doubt"


def _blurred(shadow: Ball, ball: Ball, form: Format) -> bool:
    """True where more precision may tell: the shadow is not finite, or overlaps the exact value only because it is wide."""
    if not shadow.is_finite():
        return True
    if not shadow.overlaps(ball):
        return False
    return bool(shadow.rad() > abs(ball).abs_upper() * form.unit_roundoff / 16)


def _numpy(tensor: torch.Tensor) -> Floats:
    return tensor.to(torch.float64).numpy(force=True).reshape(-1)

"""Problem in, Report out: the only module that knows the exact side, autograd, the shadow and the verdict.

For each format and mode: all points go through torch in one batch, the exact side encloses each derivative once for the
format, entries within a few ulps match at once, and only the rest is followed by the shadow. The work runs in a thread of its
own, so that a call of torch that never returns costs its entries a verdict (`undecided`), not the user the report.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from flint import ctx

from gradcheck_cli.autograd.modes import Outcome, TorchChain, Wrt
from gradcheck_cli.autograd.stalls import stalled
from gradcheck_cli.claims import check_claim
from gradcheck_cli.errors import InputError
from gradcheck_cli.exact import derivative
from gradcheck_cli.exact.enclosure import Enclosure
from gradcheck_cli.exact.truth import Ball, Kind, Truth, regular
from gradcheck_cli.exact.witness import Witness
from gradcheck_cli.floats import FORMATS, Floats, Format
from gradcheck_cli.language.tree import canonical
from gradcheck_cli.problem import Chain, Problem, Stage, derivative_name
from gradcheck_cli.report import VERDICTS, Column, Detail, Report, decimal, interval
from gradcheck_cli.shadow.follow import formula, shades
from gradcheck_cli.shadow.shade import Shade
from gradcheck_cli.verdict import QUICK, Cause, Judgement, Verdict, distance, judge, judge_plainly

CHUNK = 65_536
"""Points that go through torch at once: bounds the memory of intermediate results."""

SHADOW_CHUNK = 4_096
"""Points that the shadow follows at once; a point costs a few balls for each operation."""

SHADOW_PRECISIONS = (256, 1024, 4096)

SHADOW_PATIENCE = 2.0
"""Seconds after which the shadow isn't repeated at a higher precision."""

Progress = Callable[[int, int, str], None]

_CODES = {verdict: code for code, verdict in enumerate(VERDICTS)}


def run(problem: Problem, progress: Progress | None = None) -> Report:
    """Check the problem. Never raises for what it finds; InputError for what torch can't do at all (a device, a row).

    After `problem.timeout` seconds what isn't finished is undecided, and the report says so.
    """
    try:
        torch.empty(0, device=problem.device)
    except (RuntimeError, AssertionError) as refusal:
        raise InputError(f"torch can't use the device {problem.device!r}: {str(refusal).splitlines()[0]}") from None
    work = _Work(problem, progress)
    thread = threading.Thread(target=work.run, name=WORKER, daemon=True)
    thread.start()
    deadline = time.monotonic() + problem.timeout
    while thread.is_alive() and time.monotonic() < deadline:
        thread.join(min(0.2, max(deadline - time.monotonic(), 0.0)))
        work.report_progress()
    work.stop = True
    thread.join(0.5)
    return work.report(finished=not thread.is_alive())


WORKER = "gradcheck-work"
"""The thread's name: a process that finds it alive after a report may leave without waiting for it."""


@dataclass
class _Run:
    """One computation in one format and mode: a chain at points, and what is asked of its output."""

    chain: Chain
    derivatives: Sequence[Wrt]
    points: Mapping[str, Floats]
    form: Format
    mode: str
    kind: str
    columns: list[Column] = field(default_factory=list)


class _Work:
    """The state of one run of the engine."""

    def __init__(self, problem: Problem, progress: Progress | None) -> None:
        self.problem, self.progress = problem, progress
        self.stop = False
        self.notes: list[str] = []
        self.failure: BaseException | None = None
        self.done, self.total, self.doing = 0, 0, ""
        self._compiled: dict[Any, TorchChain] = {}
        self._plan()

    def _plan(self) -> None:
        """Every column of the report, undecided until its work is done."""
        problem = self.problem
        self.runs: list[_Run] = []
        self.locals: dict[int, list[Column]] = {}
        self.claims: list[Column] = []
        for name in problem.formats:
            form = FORMATS[name]
            points = problem.points.values(form)
            for mode in problem.modes:
                self.runs.append(_Run(problem.chain, problem.derivatives, points, form, mode, "total"))
        for run_ in self.runs:
            count = len(next(iter(run_.points.values())))
            run_.columns = [_blank(run_, problem.chain.output, wrt, count) for wrt in run_.derivatives]
            self.total += count

    def report_progress(self) -> None:
        if self.progress is not None:
            self.progress(min(self.done, self.total), self.total, self.doing)

    # -- the thread -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        try:
            for index, run_ in enumerate(self.runs):
                if self.stop:
                    return
                self.doing = f"{run_.form.name}, {run_.mode}"
                values = self._check(run_)
                if self.problem.local and len(self.problem.chain.stages) > 1:
                    self.locals[index] = self._check_stages(run_, values)
                    _blame(run_, self.locals[index], self.problem.chain)
                if self.problem.claim is not None and (index == 0 or run_.form is not self.runs[index - 1].form):
                    blank = _blank(run_, run_.chain.output, self.problem.claim.wrt, len(run_.columns[0]))
                    self.claims.append(check_claim(self.problem.claim, run_.chain, blank, run_.form, self.notes))
        except BaseException as failure:
            self.failure = failure

    def report(self, finished: bool) -> Report:
        if self.failure is not None:
            raise self.failure
        if not finished:
            self.notes.append(f"stopped after {self.problem.timeout:g} s (--timeout): what was not finished is undecided")
        columns: list[Column] = []
        for index, run_ in enumerate(self.runs):
            columns += run_.columns + self.locals.get(index, [])
        return Report(
            self.problem.command, _describe(self.problem), columns + self.claims, _versions(), self.problem.strict, self.notes
        )

    # -- one computation --------------------------------------------------------------------------------------------

    def _check(self, run_: _Run) -> dict[str, Floats]:
        """Fill the run's columns; return torch's values of every name at every point."""
        count = len(run_.columns[0]) if run_.columns else 0
        values: dict[str, Floats] = {n: np.full(count, np.nan) for n in (*run_.chain.inputs, *(s.name for s in run_.chain.stages))}
        stuck = stalled(run_.chain, max(len(wrt) for wrt in run_.derivatives), run_.points)
        if stuck.any():
            self._check_rest(run_, stuck, values)
        else:
            self._check_all(run_, values)
        for column in run_.columns:
            column.values = values.get(column.wrt[-1])
        return values

    def _check_rest(self, run_: _Run, stuck: npt.NDArray[np.bool_], values: dict[str, Floats]) -> None:
        """Check the points at which torch's kernels come back."""
        positions = np.flatnonzero(~stuck).tolist()
        rest = _subset(run_, {name: column[~stuck] for name, column in run_.points.items()})
        if positions:
            for name, column in self._check(rest).items():
                values[name][~stuck] = column
        for column, part in zip(run_.columns, rest.columns, strict=True):
            column.formula = part.formula
            column.paste(part, range(len(positions)), positions)
            column.mark(np.flatnonzero(stuck).tolist(), Verdict.UNDECIDED, "a kernel of torch would run for hours at this point")

    def _check_all(self, run_: _Run, values: dict[str, Floats]) -> None:
        exact = Enclosure(run_.chain, run_.derivatives, run_.form)
        for column in run_.columns:
            column.formula = derivative.chain_formula(run_.chain, column.wrt)
        count = len(run_.columns[0])
        for start in range(0, count, CHUNK):
            if self.stop:
                return
            part = slice(start, min(start + CHUNK, count))
            self._check_part(run_, run_.columns, exact, part, values)
            self.done += (part.stop - part.start) if run_.kind == "total" else 0

    def _torch(self, run_: _Run) -> TorchChain:
        key = (run_.chain, run_.form.name)
        if key not in self._compiled:
            dtype = getattr(torch, run_.form.name)
            self._compiled[key] = TorchChain(run_.chain, dtype, self.problem.device, self.problem.callables)
        return self._compiled[key]

    def _check_part(
        self, run_: _Run, columns: Sequence[Column], exact: Enclosure, part: slice, values: dict[str, Floats]
    ) -> None:
        points = {name: column[part] for name, column in run_.points.items()}
        outcome = self._torch(run_).differentiate(run_.mode, self._tensors(run_, points), run_.derivatives)
        for name, tensor in outcome.values.items():
            values[name][part] = _numpy(tensor)
        truths, balls_of_value = exact.at({name: column.tolist() for name, column in points.items()})
        waiting: dict[int, list[int]] = {}  # index in the part -> which derivatives need the shadow
        for k, (column, wrt) in enumerate(zip(columns, run_.derivatives, strict=True)):
            gradient = outcome.gradients[wrt]
            found = np.full(part.stop - part.start, np.nan) if gradient is None else _numpy(gradient)
            column.autograd[part] = found
            balls = [t if not isinstance(t, Truth) else t.ball for t in truths[k]]
            column.exact[part] = balls
            middles = np.array([_middle(b) for b in balls])
            with np.errstate(all="ignore"):
                errors = np.abs(found - middles) / run_.form.ulp(middles)
            column.error_ulps[part] = errors
            errors = column.error_ulps[part]  # a view: what follows is written through
            plain = np.array([not isinstance(t, Truth) for t in truths[k]])
            quick = plain & (errors <= QUICK) & (not self.problem.limits.given)
            codes = column.verdicts[part]
            codes[quick] = _CODES[Verdict.MATCH]
            for index in np.flatnonzero(~quick).tolist():
                if self.stop:
                    return
                truth = truths[k][index] if isinstance(truths[k][index], Truth) else regular(truths[k][index])
                number = None if gradient is None else float(found[index])
                if _undefined_limit(truth, values[run_.chain.output][part][index]):
                    truth = Truth(Kind.OUTSIDE, singular=True)
                truths[k][index] = truth
                if truth.kind is Kind.REGULAR and number is not None:
                    errors[index] = distance(number, truth.ball, run_.form)
                judgement = judge_plainly(number, truth, run_.form, self.problem.limits)
                if judgement is None or judgement.cause is Cause.NO_GRADIENT:
                    waiting.setdefault(index, []).append(k)
                else:
                    self._enter(run_, column, part.start + index, judgement, truth, None)
        if self.problem.callables and len(run_.chain.stages) == 1:
            self._probe_value(run_, columns, part, points, balls_of_value, values[run_.chain.output][part])
            if run_.mode != "forward":
                self._probe_upstream(run_, columns, part, points, outcome)
        indices = sorted(waiting)
        for start in range(0, len(indices), SHADOW_CHUNK):
            self._follow(run_, columns, exact, part, outcome, truths, waiting, indices[start : start + SHADOW_CHUNK])
        if self.problem.verbose and part.start == 0:
            for column, wrt in zip(columns, run_.derivatives, strict=True):
                detail = column.details.setdefault(0, Detail())
                detail.autograd_formula = detail.autograd_formula or self._formula(run_, points, wrt, 0)

    def _follow(
        self,
        run_: _Run,
        columns: Sequence[Column],
        exact: Enclosure,
        part: slice,
        outcome: Outcome,
        truths: list[list[Any]],
        waiting: Mapping[int, list[int]],
        indices: list[int],
    ) -> None:
        """Run the shadow over some entries and judge them."""
        points = {name: column[part][indices] for name, column in run_.points.items()}
        wanted = {(i, k) for i in indices for k in waiting[i]}
        seen: dict[tuple[int, int], Shade] = {}
        rest = list(indices)
        cut: tuple[str, ...] = outcome.cut
        began = time.monotonic()
        for precision in SHADOW_PRECISIONS:
            if self.stop or not rest or time.monotonic() - began > SHADOW_PATIENCE:
                break
            with ctx.workprec(precision):
                here = {n: c[[indices.index(i) for i in rest]] for n, c in points.items()}
                found, cut = shades(self._torch(run_), run_.mode, run_.form, self._tensors(run_, here), here, run_.derivatives)
            again = []
            for position, i in enumerate(rest):
                for k in waiting[i]:
                    shade = found[run_.derivatives[k]][position] if found else None
                    if shade is not None:
                        seen[i, k] = shade
                    truth = truths[k][i]
                    if shade is not None and truth.kind is Kind.REGULAR and _blurred(shade.exact, truth.ball, run_.form):
                        again.append(i)
            rest = list(dict.fromkeys(again))
        witness = Witness(run_.chain)
        formulas: dict[tuple[int, Any], str | None] = {}
        for i, k in sorted(wanted, key=lambda pair: (pair[1], pair[0])):
            if self.stop:
                return
            column, truth, wrt = columns[k], truths[k][i], run_.derivatives[k]
            number = None if outcome.gradients[wrt] is None else float(column.autograd[part][i])
            shade = seen.get((i, k))
            judgement = judge(
                number, truth, run_.form, shade, self.problem.limits, cut or outcome.cut, outcome.refusals.get(wrt)
            )
            if judgement.verdict is Verdict.MISMATCH and truth.kind is Kind.REGULAR and not truth.singular:
                point = {name: float(values[i]) for name, values in ((n, c[part]) for n, c in run_.points.items())}
                if not witness.confirms(point, wrt, truth.ball, series=not exact.by_series):
                    judgement = Judgement(
                        Verdict.UNDECIDED, text="the two witnesses of the exact derivative disagree: the symbolic side is in doubt"
                    )
            self._enter(run_, column, part.start + i, judgement, truth, shade)
            if judgement.verdict is Verdict.MISMATCH and judgement.cause in (Cause.FORMULA, Cause.NO_GRADIENT, Cause.KINK):
                if (k, judgement.cause) not in formulas:
                    selected = {name: c[part] for name, c in run_.points.items()}
                    formulas[k, judgement.cause] = self._formula(run_, selected, wrt, i)
                column.details[part.start + i].autograd_formula = formulas[k, judgement.cause]

    def _enter(self, run_: _Run, column: Column, index: int, judgement: Judgement, truth: Truth, shade: Shade | None) -> None:
        """Write one judgement into its column."""
        column.verdicts[index] = _CODES[judgement.verdict]
        if truth.kind is not Kind.REGULAR:
            column.error_ulps[index] = np.nan
        if column.verdict(index) is Verdict.MATCH and np.isnan(column.autograd[index]):
            column.autograd[index] = 0.0  # torch's None for a derivative that is identically 0
            column.error_ulps[index] = 0.0
        detail = Detail(
            cause=judgement.cause,
            stage=judgement.stage or (run_.chain.output if judgement.cause and len(run_.chain.stages) == 1 else None),
            operation=judgement.operation,
            text=judgement.text or (truth.text if judgement.verdict is not Verdict.MATCH else None),
            left=decimal(truth.left),
            right=decimal(truth.right),
            shadow=None if shade is None else interval(shade.exact),
            formula_error=judgement.formula_error,
            rounding_error=judgement.rounding_error,
        )
        if detail != _PLAIN:
            column.details[index] = detail

    def _probe_value(
        self, run_: _Run, columns: Sequence[Column], part: slice, points: Mapping[str, Floats], exact: Sequence[Ball], found: Floats
    ) -> None:
        """A callable of the user's may compute another function: its forward value is judged like a derivative."""
        off = [
            i for i, ball in enumerate(exact) if ball is not None and not distance(float(found[i]), ball, run_.form) <= QUICK
        ]
        if not off:
            return
        here = {name: column[off] for name, column in points.items()}
        with ctx.workprec(SHADOW_PRECISIONS[1]):
            seen, _ = shades(self._torch(run_), run_.mode, run_.form, self._tensors(run_, here), here, run_.derivatives)
        for i, shade in zip(off, seen[()], strict=True):
            judgement = judge(float(found[i]), regular(exact[i]), run_.form, shade, self.problem.limits)
            if judgement.cause is not Cause.FORMULA:
                continue
            for column in columns:
                if column.verdicts[part.start + i] == _CODES[Verdict.MATCH]:
                    text = f"torch computes {found[i]:.12g} where the function is {decimal(exact[i], 12)}"
                    column.verdicts[part.start + i] = _CODES[Verdict.MISMATCH]
                    column.details[part.start + i] = Detail(cause=Cause.VALUE, stage=run_.chain.output, text=text)

    def _probe_upstream(
        self, run_: _Run, columns: Sequence[Column], part: slice, points: Mapping[str, Floats], outcome: Outcome
    ) -> None:
        """A backward is linear in the upstream gradient: twice the cotangent gives twice the result, exactly. A custom one
        that drops or misuses it is right for the cotangent 1, and is refuted here."""
        first = [wrt for wrt in run_.derivatives if len(wrt) == 1]
        doubled = self._torch(run_).differentiate(run_.mode, self._tensors(run_, points), first, cotangent=2.0)
        for column, wrt in zip(columns, run_.derivatives, strict=True):
            once, twice = outcome.gradients[wrt], doubled.gradients.get(wrt)
            if once is None or twice is None:
                continue
            with np.errstate(all="ignore"):
                expected, found = 2 * _numpy(once), _numpy(twice)
                off = np.abs(found - expected) > np.sqrt(run_.form.unit_roundoff) * np.abs(expected)
            passed = column.verdicts[part] == _CODES[Verdict.MATCH]
            for index in np.flatnonzero(off & passed & np.isfinite(found)).tolist():
                column.verdicts[part.start + index] = _CODES[Verdict.MISMATCH]
                column.details[part.start + index] = Detail(
                    cause=Cause.FORMULA,
                    stage=run_.chain.output,
                    text=f"with the upstream gradient 2 autograd returns {found[index]:.6g} instead of {expected[index]:.6g}: "
                    "the backward drops or misuses the upstream gradient",
                )

    # -- torch ------------------------------------------------------------------------------------------------------

    def _tensors(self, run_: _Run, points: Mapping[str, Floats]) -> dict[str, torch.Tensor]:
        """The points as tensors of the format; a single point is a tensor without dimensions, as a user would write it."""
        dtype = getattr(torch, run_.form.name)
        tensors = {}
        for name, column in points.items():
            array = column[0] if len(column) == 1 and len(run_.columns and run_.columns[0]) == 1 else column
            tensors[name] = torch.tensor(array, dtype=torch.float64).to(dtype).to(self.problem.device)
        return tensors

    def _formula(self, run_: _Run, points: Mapping[str, Floats], wrt: Wrt, index: int) -> str | None:
        """The formula that autograd applies at one of the points."""
        if len(run_.chain.stages) > derivative.LONGEST_CHAIN:
            return None
        tensors = self._tensors(run_, {name: column[[index]] for name, column in points.items()})
        return formula(self._torch(run_), run_.mode, tensors, wrt)

    # -- stages -----------------------------------------------------------------------------------------------------

    def _check_stages(self, run_: _Run, values: Mapping[str, Floats]) -> list[Column]:
        """Every stage's own derivatives, at the floats that torch gave it. Equal stages are checked in one batch."""
        groups: dict[Any, list[Stage]] = {}
        for stage in run_.chain.stages:
            groups.setdefault(canonical(stage.tree, stage.inputs), []).append(stage)
        columns: dict[str, list[Column]] = {}
        for stages in groups.values():
            first, count = stages[0], len(next(iter(run_.points.values())))
            derivatives = [(name,) for name in first.inputs]
            if not derivatives:
                continue
            inputs = {
                name: np.concatenate([values[stage.inputs[i]] for stage in stages]) for i, name in enumerate(first.inputs)
            }
            usable = np.all([np.isfinite(column) for column in inputs.values()], axis=0)
            kept = {name: column[usable] for name, column in inputs.items()}
            part = _subset(_Run(Chain(first.inputs, (first,)), derivatives, kept, run_.form, run_.mode, "local"), kept)
            if usable.any():
                self._check(part)
            where = np.cumsum(usable) - 1
            for position, stage in enumerate(stages):
                mine = slice(position * count, (position + 1) * count)
                targets = np.flatnonzero(usable[mine]).tolist()
                sources = where[mine][targets].tolist()
                columns[stage.name] = []
                for i, column in enumerate(part.columns):
                    own = _blank(run_, stage.name, (stage.inputs[i],), count, "local")
                    own.inputs = {name: inputs[there][mine] for name, there in zip(stage.inputs, first.inputs, strict=True)}
                    own.values = own.inputs[stage.inputs[i]]
                    own.formula = derivative.stage_formula(stage, own.wrt[0])
                    own.paste(column, sources, targets, stage.name)
                    own.mark(np.flatnonzero(~usable[mine]).tolist(), Verdict.OUTSIDE_DOMAIN, _NOT_FINITE)
                    columns[stage.name].append(own)
        return [column for stage in reversed(run_.chain.stages) for column in columns.get(stage.name, [])]


_PLAIN = Detail()

_NOT_FINITE = "the stage received a value that is not finite"


def _blame(run_: _Run, local: Sequence[Column], chain: Chain) -> None:
    """Name, at each mismatch of a total, the first stage whose own derivative is wrong there."""
    wrong: dict[str, Any] = {}
    code = _CODES[Verdict.MISMATCH]
    for column in local:
        hits = column.verdicts == code
        wrong[column.of] = wrong.get(column.of, False) | hits
    for column in run_.columns:
        for index in np.flatnonzero(column.verdicts == code).tolist():
            named = next((s.name for s in chain.stages if np.any(wrong.get(s.name, False)) and wrong[s.name][index]), None)
            detail = column.details.setdefault(index, Detail())
            detail.stage = named or detail.stage


def _subset(run_: _Run, points: Mapping[str, Floats]) -> _Run:
    """The same question at other points, with columns of its own."""
    part = replace(run_, points=points)
    count = len(next(iter(points.values())))
    part.columns = [_blank(part, run_.chain.output, wrt, count) for wrt in run_.derivatives]
    return part


def _blank(run_: _Run, of: str, wrt: Wrt, count: int, kind: str | None = None) -> Column:
    """A column of undecided entries."""
    return Column(
        quantity=derivative_name(of, wrt),
        kind=kind or run_.kind,
        of=of,
        wrt=wrt,
        mode=run_.mode,
        dtype=run_.form.name,
        formula=None,
        points=run_.points,
        autograd=np.full(count, np.nan),
        exact=[None] * count,
        error_ulps=np.full(count, np.nan),
        verdicts=np.full(count, _CODES[Verdict.UNDECIDED], dtype=np.uint8),
    )


def _blurred(shadow: Ball, ball: Ball, form: Format) -> bool:
    """True where more precision may tell: the shadow is not finite, or overlaps the exact value only because it is wide."""
    if not shadow.is_finite():
        return True
    if not shadow.overlaps(ball):
        return False
    return bool(shadow.rad() > abs(ball).abs_upper() * form.unit_roundoff / 16)


def _undefined_limit(truth: Truth, value: float) -> bool:
    """A limit at a point where the formula has no certified value, and torch has none either: outside of the domain."""
    return truth.kind is Kind.REGULAR and truth.text is not None and not np.isfinite(value)


def _middle(ball: Ball | None) -> float:
    return float("nan") if ball is None else float(ball)


def _numpy(tensor: torch.Tensor) -> Floats:
    return tensor.to(torch.float64).numpy(force=True).reshape(-1)


def _describe(problem: Problem) -> dict[str, Any]:
    return {
        "stages": [{"name": s.name, "expression": s.expression, "inputs": list(s.inputs)} for s in problem.chain.stages],
        "dtype": list(problem.formats),
        "modes": list(problem.modes),
        "seed": None if problem.points.explicit else problem.points.seed,
    }


def _versions() -> dict[str, str]:
    from gradcheck_cli import __version__

    found = {"gradcheck": __version__}
    for name in ("torch", "sympy", "python-flint", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


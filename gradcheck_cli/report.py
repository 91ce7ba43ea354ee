"""What a run found, as plain data: a Report holds columns (one quantity at all points), a Check is one entry of a column.

Columns keep a hundred thousand points in arrays; a Check is made when somebody looks at it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gradcheck_cli.errors import VerdictError
from gradcheck_cli.exact.truth import Ball, Kind, Truth
from gradcheck_cli.floats import Floats, Format
from gradcheck_cli.problem import Limits
from gradcheck_cli.shadow.shade import Shade
from gradcheck_cli.verdict import QUICK, Cause, Judgement, Verdict

SCHEMA = 1
_ONE_DIGIT = 5  # bits without which a ball has no certain decimal digit
_EXPONENT_DIGITS = 9  # a number with a longer exponent is beyond every format, and nobody reads it
VERDICTS: tuple[Verdict, ...] = tuple(Verdict)
DIGITS = 20
"""Significant digits of an exact value in JSON, if the enclosure has as many."""


@dataclass(slots=True)
class Detail:
    """What is known beyond the numbers about one entry; absent for a plain match."""

    cause: Cause | None = None
    stage: str | None = None
    operation: str | None = None
    text: str | None = None
    left: str | None = None
    right: str | None = None
    shadow: str | None = None
    autograd_formula: str | None = None
    formula_error: float | None = None
    rounding_error: float | None = None
    formula: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One derivative at one point. Field names and meanings are those of the JSON (DESIGN, section 7).

    `exact`, `left`, `right`, `shadow`: decimal strings, correct in every digit shown; `error_ulps` in ulps of the dtype;
    `formula_error` and `rounding_error` relative to the exact value. `value`: torch's value of the variable differentiated
    by; `inputs`: of a local check, the floats that the stage received. `claim`: the text under test where it is a claim.
    """

    point: dict[str, Any]
    quantity: str
    kind: str
    of: str
    wrt: tuple[str, ...]
    mode: str
    dtype: str
    value: float | None
    inputs: dict[str, Any] | None
    formula: str | None
    exact: str | None
    left: str | None
    right: str | None
    autograd: float | None
    shadow: str | None
    autograd_formula: str | None
    error_ulps: float | None
    formula_error: float | None
    rounding_error: float | None
    verdict: Verdict
    cause: Cause | None
    stage: str | None
    operation: str | None
    detail: str | None
    claim: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; floats that are not finite become the strings "nan", "inf" and "-inf"."""
        plain = {name: jsonable(getattr(self, name)) for name in self.__slots__}
        for optional in ("value", "inputs", "claim"):
            if plain[optional] is None:
                del plain[optional]
        return plain


class Label(NamedTuple):
    """What one entry of a tensor is called."""

    quantity: str
    of: str
    wrt: tuple[str, ...]


@dataclass(slots=True)
class Column:
    """One quantity at all points of one run (one mode, one dtype), or the entries of one tensor at one point.

    `points` maps each name of the problem to an array; `autograd` is nan where torch returned no tensor (then the detail's
    cause is no_gradient). `exact` holds flint balls, or None where no derivative is known or exists. Of a tensor,
    `labels` name the entries and `place` is the point; with a `title` (a layer of a network) they are shown as one row, the
    worst of them. `shapes`: of the arrays whose entries `points` and `inputs` hold one by one.
    """

    quantity: str
    kind: str
    of: str
    wrt: tuple[str, ...]
    mode: str
    dtype: str
    formula: str | None
    points: Mapping[str, Floats]
    autograd: Floats
    exact: list[Any]
    error_ulps: Floats
    verdicts: npt.NDArray[np.uint8]
    details: dict[int, Detail] = field(default_factory=dict)
    values: Floats | None = None
    inputs: Mapping[str, Floats] | None = None
    claim: str | None = None
    labels: Sequence[Label] | None = None
    place: Mapping[str, Any] | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    title: str | None = None

    def __len__(self) -> int:
        return len(self.autograd)

    @property
    def applied(self) -> str | None:
        """The formula that autograd applies, where one was decompiled."""
        return next((d.autograd_formula for d in self.details.values() if d.autograd_formula), None)

    def verdict(self, index: int) -> Verdict:
        return VERDICTS[int(self.verdicts[index])]

    def settle(self, part: slice, truths: Sequence[Truth | Ball], form: Format, limits: Limits) -> list[int]:
        """Enter the exact side of some entries, and a match wherever two numbers show it at once; returns the other entries, as
        indices in the part."""
        balls = [t.ball if isinstance(t, Truth) else t for t in truths]
        self.exact[part] = balls
        middles = np.array([math.nan if b is None else float(b) for b in balls])
        with np.errstate(all="ignore"):
            self.error_ulps[part] = np.abs(self.autograd[part] - middles) / form.ulp(middles)
        plain = np.array([not isinstance(t, Truth) for t in truths], dtype=bool)
        quick = plain & (self.error_ulps[part] <= QUICK) & (not limits.given)
        self.verdicts[part][quick] = VERDICTS.index(Verdict.MATCH)
        return np.flatnonzero(~quick).tolist()

    def enter(self, index: int, judgement: Judgement, truth: Truth, shade: Shade | None, stage: str | None = None) -> None:
        """Enter the judgement of one entry; `stage` is blamed for a cause that names none."""
        self.verdicts[index] = VERDICTS.index(judgement.verdict)
        if truth.kind is not Kind.REGULAR:
            self.error_ulps[index] = np.nan
        if judgement.verdict is Verdict.MATCH and np.isnan(self.autograd[index]):
            self.autograd[index] = self.error_ulps[index] = 0.0  # torch's None for a derivative that is identically 0
        detail = Detail(
            cause=judgement.cause,
            stage=judgement.stage or (stage if judgement.cause else None),
            operation=judgement.operation,
            text=judgement.text or (truth.text if judgement.verdict is not Verdict.MATCH else None),
            left=decimal(truth.left),
            right=decimal(truth.right),
            shadow=None if shade is None else interval(shade.exact),
            formula_error=judgement.formula_error,
            rounding_error=judgement.rounding_error,
        )
        if detail != _NOTHING:
            self.details[index] = detail

    @property
    def unit(self) -> str:
        """What one more of its entries is."""
        return "more point" if self.labels is None else "more entry"

    def paste(self, source: Column, sources: Sequence[int], targets: Sequence[int], stage: str | None = None) -> None:
        """Copy entries of another column; `stage` names the stage that a cause there is blamed on."""
        self.autograd[targets] = source.autograd[sources]
        self.error_ulps[targets] = source.error_ulps[sources]
        self.verdicts[targets] = source.verdicts[sources]
        for there, here in zip(sources, targets, strict=True):
            self.exact[here] = source.exact[there]
            detail = source.details.get(there)
            if detail is not None:
                self.details[here] = replace(detail, stage=stage if stage and detail.cause else detail.stage)

    @classmethod
    def unfinished(cls, quantity: str) -> Column:
        """One undecided entry for what time didn't suffice for."""
        undecided = np.full(1, VERDICTS.index(Verdict.UNDECIDED), dtype=np.uint8)
        nothing, detail = np.full(1, np.nan), Detail(text="not finished in time")
        return cls(quantity, "total", quantity, (), "reverse", "float64", None, {}, nothing, [None], nothing.copy(), undecided,
                   {0: detail}, place={})  # fmt: skip

    def pick(self, indices: Sequence[int]) -> Column:
        """Some entries of a tensor, as a column of their own."""
        chosen = list(indices)
        return replace(
            self,
            autograd=self.autograd[chosen],
            exact=[self.exact[i] for i in chosen],
            error_ulps=self.error_ulps[chosen],
            verdicts=self.verdicts[chosen],
            details={here: self.details[i] for here, i in enumerate(chosen) if i in self.details},
            values=None if self.values is None else self.values[chosen],
            labels=None if self.labels is None else [self.labels[i] for i in chosen],
        )

    def mark(self, targets: Sequence[int], verdict: Verdict, text: str) -> None:
        """Give entries that weren't checked a verdict and the reason."""
        self.verdicts[targets] = VERDICTS.index(verdict)
        self.details.update({here: Detail(text=text) for here in targets})

    def counts(self) -> Counter[Verdict]:
        tally = np.bincount(self.verdicts, minlength=len(VERDICTS)).tolist()
        return Counter({verdict: n for verdict, n in zip(VERDICTS, tally, strict=True) if n})

    def worst(self) -> int:
        """The index of the entry to look at first: the most severe verdict, then the largest error."""
        severity = self.verdicts.astype(np.int64)
        candidates = np.flatnonzero(severity == severity.max())
        errors = np.nan_to_num(self.error_ulps[candidates], nan=-1.0, posinf=np.inf)
        return int(candidates[int(np.argmax(errors))])

    def check(self, index: int) -> Check:
        detail = self.details.get(index, _NOTHING)
        error = float(self.error_ulps[index])
        label = Label(self.quantity, self.of, self.wrt) if self.labels is None else self.labels[index]
        numbers = {name: float(values[index]) for name, values in self.points.items()}
        here = gather(numbers, self.shapes) if self.place is None else dict(self.place)
        return Check(
            point=here,
            quantity=label.quantity,
            kind=self.kind,
            of=label.of,
            wrt=label.wrt,
            mode=self.mode,
            dtype=self.dtype,
            value=None if self.values is None else float(self.values[index]),
            inputs=None if self.inputs is None else gather({n: float(v[index]) for n, v in self.inputs.items()}, self.shapes),
            formula=detail.formula or self.formula,
            exact=decimal(self.exact[index]),
            left=detail.left,
            right=detail.right,
            autograd=None
            if detail.cause is Cause.NO_GRADIENT and math.isnan(self.autograd[index])
            else float(self.autograd[index]),
            shadow=detail.shadow,
            autograd_formula=detail.autograd_formula,
            error_ulps=None if math.isnan(error) else error,
            formula_error=detail.formula_error,
            rounding_error=detail.rounding_error,
            verdict=self.verdict(index),
            cause=detail.cause,
            stage=detail.stage,
            operation=detail.operation,
            detail=detail.text,
            claim=self.claim,
        )


_NOTHING = Detail()


class Checks(Sequence[Check]):
    """All entries of some columns, made on demand: column by column, point by point."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._ends = np.cumsum([len(c) for c in columns]) if columns else np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = index + len(self) if index < 0 else index
        if not 0 <= index < len(self):
            raise IndexError(index)
        which = int(np.searchsorted(self._ends, index, side="right"))
        start = int(self._ends[which - 1]) if which else 0
        return self._columns[which].check(index - start)

    def __iter__(self) -> Iterator[Check]:
        for column in self._columns:
            for index in range(len(column)):
                yield column.check(index)


@dataclass
class Report:
    """The outcome of one command. `problem` describes what was asked (JSON's `problem`), `notes` are lines for the reader."""

    command: str
    problem: dict[str, Any]
    columns: list[Column]
    versions: dict[str, str]
    strict: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def checks(self) -> Checks:
        return Checks(self.columns)

    @property
    def counts(self) -> dict[str, int]:
        """Number of checks by verdict, worst first; verdicts that don't occur are left out."""
        total: Counter[Verdict] = Counter()
        for column in self.columns:
            total.update(column.counts())
        return {v.value: total[v] for v in reversed(VERDICTS) if total[v]}

    @property
    def verdict(self) -> Verdict:
        """The worst verdict; outside_domain only where nothing else was found, undecided where nothing was checked at all."""
        found = {Verdict(v) for v in self.counts}
        judged = found - {Verdict.OUTSIDE_DOMAIN}
        if judged:
            return max(judged, key=lambda v: v.severity)
        return Verdict.OUTSIDE_DOMAIN if found else Verdict.UNDECIDED

    @property
    def exit_code(self) -> int:
        """0 all passed, 1 a mismatch (or imprecise under strict), 3 something undecided or nothing checked."""
        verdict = self.verdict
        if verdict is Verdict.MISMATCH or (self.strict and Verdict.IMPRECISE in self.counts):
            return 1
        return 0 if verdict.passes else 3

    @property
    def ok(self) -> bool:
        return self.exit_code == 0

    def raise_for_verdict(self) -> None:
        """Raise VerdictError, with the report as its message, unless everything passed."""
        if not self.ok:
            raise VerdictError(str(self))

    def to_dict(self, checks: Iterable[Check] | None = None) -> dict[str, Any]:
        """The JSON object of DESIGN, section 7, as plain Python values. `checks`: those to list, if not all."""
        return {
            "schema": SCHEMA,
            "command": self.command,
            "verdict": self.verdict.value,
            "exit_code": self.exit_code,
            "problem": jsonable(self.problem),
            "checks": [check.to_dict() for check in (self.checks if checks is None else checks)],
            "counts": self.counts,
            "notes": list(self.notes),
            "versions": dict(self.versions),
        }

    def __str__(self) -> str:
        from gradcheck_cli.output.text import render

        return render(self)


def gather(values: Mapping[str, float], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """`x[0]`, `x[1]` as one list under `x`; a matrix is a list of lists."""
    if not shapes:
        return dict(values)
    found: dict[str, Any] = {}
    rest = iter(values.items())
    for entry, number in rest:
        name = entry.partition("[")[0]
        shape = shapes.get(name, ())
        numbers = [number, *(next(rest)[1] for _ in range(math.prod(shape) - 1))]
        found[name] = np.array(numbers).reshape(shape).tolist()
    return found


def jsonable(value: Any) -> Any:
    """`value` with every float that JSON lacks as a string, tuples as lists, keys as strings."""
    if isinstance(value, float):
        return value if math.isfinite(value) else "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, Sequence):
        return [jsonable(v) for v in value]
    return value


def decimal(ball: Any, digits: int = DIGITS) -> str | None:
    """The midpoint of a flint ball in decimal, with at most `digits` digits, correct in every digit shown; None for None,
    for nan and for a ball too wide for a digit.

    A ball that holds 0 and is not exactly 0 shows as "0": the derivative is certified to be that or to underflow.
    """
    if ball is None or ball.is_nan():
        return None
    from flint import ctx

    if not ball.is_finite():
        return "inf" if ball > 0 else "-inf" if ball < 0 else None
    if ball.contains(0):
        return "0"
    if ball.rel_accuracy_bits() < _ONE_DIGIT:
        return None
    with ctx.workprec(max(ctx.prec, 128)):
        text = str(ball.str(digits, radius=False))
    if text.startswith("[") or "e" not in text and "." not in text:
        return "0" if text.startswith("[") else text
    mantissa, e, exponent = text.partition("e")
    if len(exponent) > _EXPONENT_DIGITS:
        return "0" if exponent.startswith("-") else "-inf" if mantissa.startswith("-") else "inf"
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    if e and -5 <= int(exponent) < 0:
        sign, bare = ("-", mantissa[1:]) if mantissa.startswith("-") else ("", mantissa)
        return sign + "0." + "0" * (-int(exponent) - 1) + bare.replace(".", "")
    return mantissa + (f"e{int(exponent)}" if e else "")


def interval(ball: Any) -> str | None:
    """A ball as text: decimal where it has digits, else flint's `[midpoint +/- radius]`; None where it isn't finite."""
    if not ball.is_finite():
        return None
    shown = None if ball.contains(0) and not ball.is_zero() else decimal(ball)
    return str(ball.str(3, more=True)) if shown is None else shown

"""One quantity at many points, or the entries of one tensor at one point: arrays, of which a Check is one entry.

Columns keep a hundred thousand points in arrays; a Check is made when somebody looks at it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gradcheck_cli.floats import Floats, Format
from gradcheck_cli.verdict.judge import QUICK, Judgement
from gradcheck_cli.verdict.limits import Limits
from gradcheck_cli.verdict.numbers import decimal, gather, interval, jsonable
from gradcheck_cli.verdict.shade import Shade
from gradcheck_cli.verdict.truth import Ball, Kind, Truth
from gradcheck_cli.verdict.verdicts import Cause, Verdict

VERDICTS: tuple[Verdict, ...] = tuple(Verdict)


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

"""Many entries that are judged together, as arrays; a Check is one of them, made when somebody looks at it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gradcheck_cli.algebra.columns.column import Column as Words
from gradcheck_cli.algebra.number import Ball
from gradcheck_cli.floats import Floats, pieces
from gradcheck_cli.language.chain import derivative_name
from gradcheck_cli.pool import filled
from gradcheck_cli.verdict.numbers import decimal, interval
from gradcheck_cli.verdict.plain import jsonable
from gradcheck_cli.verdict.scope import Joined, Label, Labels, OfLayer, Rest, Scope
from gradcheck_cli.verdict.slips import word
from gradcheck_cli.verdict.truths import Balls
from gradcheck_cli.verdict.verdicts import QUOTIENT, Cause, Verdict, passing_nan, sentence

LATE = "not finished in time: raise --timeout"
"""What is said of entries that the run came to no end with."""

UNSEEN = "not looked at: the run ended before"
"""What is said of points that it didn't come to."""

UNEXAMINED = "not examined one by one: others are wrong already, or it takes too much work"
"""What is said of entries among which some that are wrong were found, or would have been with more work."""

VERDICTS: tuple[Verdict, ...] = tuple(Verdict)

KINDS = 64
"""Kinds of a column that are told apart; those that are met later count by verdict and cause alone."""

NUMBERS = re.compile(r"-?\d[\d.,e+-]*")
"""What differs between texts that say the same."""

Indices = npt.NDArray[np.int64]


@dataclass(slots=True)
class Detail:
    """What is known beyond the numbers about one entry; absent for a plain match. `rounded`: how far rounding may lead from
    autograd's own formula, by the model of its operations; None where that has no bound, or nobody has looked. `shadow`:
    EXACT where it is the exact value."""

    cause: Cause | None = None
    stage: str | None = None
    operation: str | None = None
    text: str | None = None
    left: str | None = None
    right: str | None = None
    shadow: str | Ball | None = None
    autograd_formula: str | None = None
    formula_error: float | None = None
    rounding_error: float | None = None
    formula: str | None = None
    witness: str | None = None
    rounded: float | None = None
    side: str | None = None


EXACT = "the exact value"
"""What a shadow is that nobody has looked at, where autograd's formula is right."""


class Seen(NamedTuple):
    """What columns saw of some entries that they settled: what torch's operations give in exact arithmetic, which is the
    derivative, the relative error that rounding leaves, what rounding may do (None: untold), and which entries have a text."""

    indices: Indices
    words: Words
    errors: Floats
    rounded: Floats | None
    told: npt.NDArray[np.bool_]
    text: str | None

    def pick(self, places: Indices, indices: Indices) -> Seen:
        """Some of them, with other numbers."""
        rounded = None if self.rounded is None else self.rounded[places]
        return Seen(indices, self.words.pick(places), self.errors[places], rounded, self.told[places], self.text)

    def detail(self, place: int) -> Detail:
        """What is known of one."""
        return Detail(
            shadow=self.words.ball(place),
            formula_error=0.0,
            rounding_error=float(self.errors[place]),
            text=self.text if self.told[place] else None,
            rounded=None if self.rounded is None else float(self.rounded[place]),
        )


class Sifted:
    """What is known of entries that columns settled, as arrays. A Detail is made when somebody reads it."""

    __slots__ = ("_chunks",)

    def __init__(self) -> None:
        self._chunks: list[Seen] = []

    @classmethod
    def joined(cls, several: Sequence[Sifted], counts: Sequence[int]) -> Sifted:
        """Those of columns of so many entries, one after the other."""
        found = cls()
        for start, one in zip(accumulate(counts, initial=0), several, strict=False):
            found._chunks += [seen._replace(indices=seen.indices + start) for seen in one._chunks]
        return found

    def place(self, seen: Seen) -> None:
        """Add some, in rising order."""
        if len(seen.indices):
            self._chunks.append(seen)

    def indices(self) -> list[int]:
        """Those of which something is known."""
        return [index for seen in self._chunks for index in seen.indices.tolist()]

    def told(self) -> Iterator[tuple[Indices, str]]:
        """Those that have a text, and which."""
        return ((seen.indices[seen.told], seen.text) for seen in self._chunks if seen.text is not None)

    def errors(self) -> Iterator[tuple[Indices, Floats]]:
        """What rounding leaves of them."""
        return ((seen.indices, seen.errors) for seen in self._chunks)

    def detail(self, index: int) -> Detail | None:
        """What is known of an entry."""
        for seen in self._chunks:
            place = int(np.searchsorted(seen.indices, index))
            if place < len(seen.indices) and seen.indices[place] == index:
                return seen.detail(place)
        return None

    def pick(self, chosen: Sequence[int]) -> Sifted:
        """Those of some entries, which are numbered anew."""
        found, places = Sifted(), np.asarray(chosen, dtype=np.int64)
        for seen in self._chunks:
            here = np.searchsorted(seen.indices, places)
            new = np.flatnonzero(np.take(seen.indices, here, mode="clip") == places)
            found.place(seen.pick(here[new], new))
        return found


class Kind(NamedTuple):
    """What entries have in common that are counted together; `text`: what is told of them, whatever the numbers in that."""

    verdict: Verdict
    cause: Cause | None = None
    stage: str | None = None
    operation: str | None = None
    witness: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One derivative at one point. Field names and meanings are those of the JSON (docs/json.md).

    `exact`, `left`, `right`, `shadow`: decimal strings, correct in every digit shown; `error_ulps` in ulps of the dtype;
    `formula_error` and `rounding_error` relative to the exact value. `value`: torch's value of the variable differentiated
    by; `inputs`: of a local check, the floats that the stage received. `side`: of a kink or a jump, see `judge.side_of`.
    `claim`: the text under test where it is a claim. `witness`: QUOTIENT where a difference quotient alone refutes autograd,
    and no exact value is known.
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
    side: str | None
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
    witness: str | None

    @property
    def sentence(self) -> str:
        """The verdict, or its cause, for a human."""
        shown = self.autograd_formula is not None
        return sentence(self.verdict, self.cause, self.witness, self.detail, self.mode, shown)

    @property
    def why(self) -> str:
        """What `gradcheck why` explains of it: the slip, else the cause, else the verdict."""
        return word(self.verdict, self.cause, self.detail).value

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; floats that are not finite become the strings "nan", "inf" and "-inf"."""
        plain = {name: jsonable(getattr(self, name)) for name in self.__slots__}
        for optional in ("value", "inputs", "side", "claim", "witness"):
            if plain[optional] is None:
                del plain[optional]
        return plain if self.verdict is Verdict.MATCH else plain | {"why": self.why}


@dataclass(slots=True)
class Column:
    """Many entries that are judged together: one quantity at all points of one run (one mode, one dtype), or a tensor's entries
    at one point; `scope` says which.

    `autograd` is nan where torch returned no tensor (then the detail's cause is no_gradient). `exact` holds balls, or None
    where no derivative is known or exists. `values`: torch's, of the variable differentiated by. `claim`: the text under
    test, where it is a claim. `details`: what is known of entries beyond the numbers; of those that columns have `sifted` it is
    made when it is read, by `detail`. `shown`: the exact derivative as a formula, or what works it out when it is read: tidying
    takes longer than a small check, and of a match nobody may look. `tally`: where these are but some of the entries, how many
    there are of each kind in all.
    """

    quantity: str
    kind: str
    of: str
    wrt: tuple[str, ...]
    mode: str
    dtype: str
    scope: Scope
    autograd: Floats
    exact: Balls
    error_ulps: Floats
    verdicts: npt.NDArray[np.uint8]
    details: dict[int, Detail] = field(default_factory=dict)
    shown: str | Callable[[], str | None] | None = None
    values: Floats | None = None
    claim: str | None = None
    sifted: Sifted = field(default_factory=Sifted)
    tally: Mapping[Kind, int] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.exact, Balls):
            self.exact = Balls(self.exact)

    @classmethod
    def blank(
        cls, scope: Scope, count: int, *, of: str, wrt: tuple[str, ...] = (), kind: str = "total", mode: str = "reverse",
        dtype: str = "float64", values: Floats | None = None,
    ) -> Column:  # fmt: skip
        """A column of `count` undecided entries."""
        return cls(
            quantity=derivative_name(of, wrt) if wrt else of,
            kind=kind,
            of=of,
            wrt=wrt,
            mode=mode,
            dtype=dtype,
            scope=scope,
            autograd=filled(count, math.nan),
            exact=Balls.blank(count),
            error_ulps=filled(count, math.nan),
            verdicts=np.full(count, Verdict.UNDECIDED.severity, dtype=np.uint8),
            values=values,
        )

    @classmethod
    def unfinished(cls, quantity: str, text: str = LATE, dtype: str = "float64", count: int = 1, points: int = 0) -> Column:
        """Undecided entries for what there is nothing else to say of. `points`: how many were asked for in all."""
        column = cls.blank(Rest({}, points=points), count, of=quantity, dtype=dtype)
        column.mark(range(count), Verdict.UNDECIDED, text)
        return column

    @classmethod
    def joined(cls, title: str, columns: Sequence[Column]) -> Column:
        """Columns of tensors as one, about one layer."""
        offset = 0
        details: dict[int, Detail] = {}
        for column in columns:
            details |= {offset + index: detail for index, detail in column.details.items()}
            offset += len(column)
        first = columns[0]
        labels = [Labels(column.scope, Label(column.quantity, column.of, column.wrt), len(column)) for column in columns]
        return replace(
            first,
            scope=OfLayer(first.scope.point(0), Joined(labels), layer=title),
            autograd=np.concatenate([c.autograd for c in columns]),
            exact=Balls.joined([c.exact for c in columns]),
            error_ulps=np.concatenate([c.error_ulps for c in columns]),
            verdicts=np.concatenate([c.verdicts for c in columns]),
            values=None,
            details=details,
            sifted=Sifted.joined([c.sifted for c in columns], [len(c) for c in columns]),
        )

    def __len__(self) -> int:
        return len(self.autograd)

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        """Copies, and what another process gets, hold the formula itself, which takes nothing to be read."""
        self.shown = self.formula
        return None, {name: getattr(self, name) for name in self.__slots__}

    @property
    def formula(self) -> str | None:
        """The exact derivative for a reader; None where it would be long. Worked out once."""
        if callable(self.shown):
            self.shown = self.shown()
        return self.shown

    @property
    def applied(self) -> str | None:
        """The formula that autograd applies, where one was decompiled."""
        return next((d.autograd_formula for d in self.details.values() if d.autograd_formula), None)

    def verdict(self, index: int) -> Verdict:
        return VERDICTS[int(self.verdicts[index])]

    def cause(self, index: int) -> Cause | None:
        return self.details.get(index, _NOTHING).cause

    def detail(self, index: int) -> Detail:
        """What is known of an entry beyond the numbers."""
        return self.details.get(index) or self.sifted.detail(index) or _NOTHING

    def shadow(self, index: int) -> str | None:
        """What torch's operations give in exact arithmetic, as text."""
        found = self.detail(index).shadow
        ball = self.exact[index] if found is EXACT else found
        return ball if isinstance(ball, str | None) else interval(ball)

    def known(self) -> Iterator[tuple[int, Detail]]:
        """The entries of which something is known beyond the numbers, and what."""
        yield from self.details.items()
        yield from ((index, self.detail(index)) for index in self.sifted.indices() if index not in self.details)

    def kind_of(self, index: int) -> Kind:
        """What an entry is counted with."""
        detail = self.detail(index)
        text = None if detail.text is None else NUMBERS.sub("#", detail.text)
        return Kind(self.verdict(index), detail.cause, detail.stage, detail.operation, detail.witness, text)

    def kinds(self) -> tuple[Indices, list[Kind]]:
        """For each entry the number of its kind, and the kinds. Entries of which nothing is told are no objects."""
        kinds = [Kind(verdict) for verdict in VERDICTS]
        known = {kind: number for number, kind in enumerate(kinds)}
        found = self.verdicts.astype(np.int64)

        def number(kind: Kind) -> int:
            if kind not in known and len(known) >= KINDS:
                kind = Kind(kind.verdict, kind.cause)
            if kind not in known:
                known[kind] = len(kinds)
                kinds.append(kind)
            return known[kind]

        for told, text in self.sifted.told():
            for severity in np.unique(self.verdicts[told]).tolist():
                found[told[self.verdicts[told] == severity]] = number(Kind(VERDICTS[severity], text=NUMBERS.sub("#", text)))
        for index in self.details:
            found[index] = number(self.kind_of(index))
        return found, kinds

    def label(self, index: int) -> Label:
        """What an entry is called."""
        return self.scope.label(index, Label(self.quantity, self.of, self.wrt))

    def having(self, verdict: Verdict) -> npt.NDArray[np.bool_]:
        """Which entries have this verdict."""
        found: npt.NDArray[np.bool_] = self.verdicts == verdict.severity
        return found

    def paste(self, source: Column, sources: Sequence[int], targets: Sequence[int], stage: str | None = None) -> None:
        """Copy entries of another column; `stage` names the stage that a cause there is blamed on."""
        self.autograd[targets] = source.autograd[sources]
        self.error_ulps[targets] = source.error_ulps[sources]
        self.verdicts[targets] = source.verdicts[sources]
        for there, here in zip(sources, targets, strict=True):
            self.exact[here] = source.exact[there]
            detail = source.detail(there)
            if detail is not _NOTHING:
                self.details[here] = replace(detail, stage=stage if stage and detail.cause else detail.stage)

    def pick(self, indices: Sequence[int]) -> Column:
        """Some entries, as a column of their own."""
        chosen = list(indices)
        return replace(
            self,
            scope=self.scope.pick(chosen),
            autograd=self.autograd[chosen],
            exact=self.exact.pick(chosen),
            error_ulps=self.error_ulps[chosen],
            verdicts=self.verdicts[chosen],
            details={here: self.details[i] for here, i in enumerate(chosen) if i in self.details},
            values=None if self.values is None else self.values[chosen],
            sifted=self.sifted.pick(chosen),
        )

    def mark(self, targets: Sequence[int], verdict: Verdict, text: str | None = None, cause: Cause | None = None) -> None:
        """Give entries a verdict and the reason, in place of whatever was said of them."""
        self.verdicts[targets] = verdict.severity
        self.details.update({here: Detail(cause=cause, text=text) for here in targets})

    def refute(self, targets: Sequence[int], text: str) -> None:
        """Entries that a difference quotient refutes: what was known of the exact side is of another function."""
        self.mark(targets, Verdict.MISMATCH, text, Cause.FORMULA)
        for here in targets:
            self.details[here].witness = QUOTIENT
            self.exact[here] = None
        self.error_ulps[targets] = np.nan

    def late(self) -> None:
        """Say of what is undecided without a reason that there was no time."""
        undecided = np.flatnonzero(self.having(Verdict.UNDECIDED)).tolist()
        self.mark([i for i in undecided if self.details.get(i, _NOTHING).text is None], Verdict.UNDECIDED, LATE)

    def blame(self, index: int, stage: str | None) -> None:
        """Name the stage, or the layer, that an entry's mismatch is due to; None leaves what is said."""
        detail = self.detail(index)
        self.details[index] = replace(detail, stage=stage or detail.stage)

    @property
    def size(self) -> int:
        """How many entries there are in all."""
        return len(self) if self.tally is None else sum(self.tally.values())

    def counts(self) -> Counter[Verdict]:
        found: Counter[Verdict] = Counter()
        if self.tally is not None:
            for kind, n in self.tally.items():
                found[kind.verdict] += n
            return found
        severities, left = self.verdicts.tobytes(), len(self)
        for severity, verdict in enumerate(VERDICTS):
            n = severities.count(severity)
            if n:
                found[verdict], left = n, left - n
            if not left:  # most columns have one verdict
                break
        return found

    def summary(self) -> dict[str, Any]:
        """How many entries there are of each kind, as plain JSON values, the most severe first."""
        kinds = sorted((self.tally or {}).items(), key=lambda item: (-item[0].verdict.severity, -item[1]))
        about = {name: jsonable(getattr(self, name)) for name in ("quantity", "kind", "of", "wrt", "mode", "dtype")}
        return about | {"size": self.size, "kinds": [{**jsonable(kind._asdict()), "count": n} for kind, n in kinds]}

    @property
    def passing_nans(self) -> int:
        """How many entries are a nan where no derivative exists."""
        if self.tally is not None:
            return sum(n for kind, n in self.tally.items() if passing_nan(kind.verdict, kind.text))
        return sum(passing_nan(self.verdict(i), detail.text) for i, detail in self.details.items())

    def worst(self) -> int:
        """The index of the entry to look at first: the most severe verdict, then the largest error."""
        most, found, largest = self.verdicts.max(), 0, -math.inf
        for some in pieces(len(self.verdicts)):
            errors = np.nan_to_num(self.error_ulps[some], nan=-1.0, posinf=np.inf)
            errors[self.verdicts[some] != most] = -math.inf
            place = int(np.argmax(errors))
            if errors[place] > largest:
                found, largest = some.start + place, errors[place]
        return found

    def check(self, index: int) -> Check:
        detail = self.detail(index)
        error, found = float(self.error_ulps[index]), float(self.autograd[index])
        label = self.label(index)
        return Check(
            point=self.scope.point(index),
            quantity=label.quantity,
            kind=self.kind,
            of=label.of,
            wrt=label.wrt,
            mode=self.mode,
            dtype=self.dtype,
            value=None if self.values is None else float(self.values[index]),
            inputs=self.scope.received(index),
            formula=detail.formula or self.formula,
            exact=decimal(self.exact[index]),
            left=detail.left,
            right=detail.right,
            side=detail.side,
            autograd=None
            if math.isnan(found) and (detail.cause is Cause.NO_GRADIENT or detail.text in (LATE, UNSEEN))
            else found,
            shadow=self.shadow(index),
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
            witness=detail.witness,
        )


_NOTHING = Detail()


def blame(columns: Iterable[Column], guilty: Callable[[Column, int], str | None]) -> None:
    """Name, at every mismatch, the stage or layer that is guilty of it: see `Column.blame`."""
    for column in columns:
        for index in np.flatnonzero(column.having(Verdict.MISMATCH)).tolist():
            column.blame(index, guilty(column, index))

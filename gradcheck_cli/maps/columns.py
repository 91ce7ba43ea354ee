"""All entries of a large map's derivative at once, on columns: a filter before the shadow of balls, which certifies or says
nothing.

The proof is that of `maps.reverse`: the forward pass carries the derivative along seeded directions, the backward pass is
repeated in exact arithmetic, with all that rounding may make of it, and <v, J u> = <J'v, u> holds every entry. Where torch runs
forwards along a direction, each entry has both by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from gradcheck_cli.algebra.columns.backends import on_numpy
from gradcheck_cli.algebra.columns.column import Column, shortened
from gradcheck_cli.algebra.columns.long import MOST, moving, shadowed, taped
from gradcheck_cli.algebra.columns.moving import Moving, total
from gradcheck_cli.algebra.columns.trust import TRUST
from gradcheck_cli.algebra.columns.words import OPEN
from gradcheck_cli.algebra.directions import Precise
from gradcheck_cli.algebra.layers import Exact, Rounded
from gradcheck_cli.algebra.number import ZERO, Ball
from gradcheck_cli.floats import Floats, Format, pieces
from gradcheck_cli.maps.map import Map, Row, Tensors, push, run, uncompiled
from gradcheck_cli.maps.runs import Pace, numpy, unhurried
from gradcheck_cli.pool import empty
from gradcheck_cli.shadow.columns import Columns
from gradcheck_cli.shadow.intake import Intake
from gradcheck_cli.verdict.judge import NO_SIZE
from gradcheck_cli.verdict.shade import Shades
from gradcheck_cli.verdict.truths import Truths

LEAST = 256
"""Entries from which on it pays."""

GUARD, UNBOUNDED = 2, 5
"""Bits beyond those of the format to which an entry has to be known: a quarter of an ulp at most; where rounding has no bound,
as well as `judge.explained` asks then."""

WORD, MARGIN = 53, 8
"""Bits of a word, and those by which more than are missing are asked for: radii that have swallowed a number don't tell all."""

FARTHEST = 900
"""Powers of two by which an entry of a direction is scaled at most: it stays a normal double, its random bits included."""

HEARD = 2.0**-20
"""Of what rounding may do to an entry that is 0: a wrong derivative that is as large as that would have been seen."""

_NOTHING = (0, 0, 0.0)
"""What a run is short of: rows that weren't asked, entries of which nothing is known, bits of an entry."""

Agree = Callable[[Ball, int], bool | None]
"""Whether nothing is left of the difference of both sides along so many entries."""


Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def _unless_refused(run: Callable[Arguments, Result | None]) -> Callable[Arguments, Result | None]:
    """A run, None where something raises: the function may refuse to be watched so, and balls follow it once more."""

    @wraps(run)
    def refusing(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result | None:
        try:
            return run(*arguments, **named)
        except Exception:
            return None

    return refusing


class Filter:
    """Runs of one map on columns, in any mode, at its own inputs. A run returns None where anything at all can't be followed,
    or isn't as torch had it unwatched, in `outputs`; `seen`: what was seen of these. `held`: state was written. `told`: there
    is something that the reader of what rounding did has to know. `first`: the words of a number, unless said otherwise.
    `taken`: what the forward pass, and the backward passes besides, took in that no operation has made; None: not known.
    """

    first = 2

    def __init__(
        self, map: Map, outputs: Tensors, form: Format, mode: str, checkpoint: Callable[[], None], words: int = 0,
        pace: Pace = unhurried,
    ) -> None:  # fmt: skip
        self.map, self.outputs, self.form, self.mode = map, outputs, form, mode
        self.checkpoint, self._pace = checkpoint, pace
        self.words, self._lacking = words or self.first, 0.0
        self._short, self._before = _NOTHING, (OPEN, OPEN, OPEN)  # of this run, and of that with fewer words
        self.held = self.told = self._tied = False
        self.taken: tuple[set[str | bytes], set[str | bytes]] | None = None
        self.seen: dict[str, Shades] = {}

    def longer(self) -> Filter | None:
        """The same with as many words as may suffice; None where it isn't words that are missing (with fewer no more was, or
        numbers that move meet their equals), or too many are."""
        if not self._lacking or self._tied or (any(self._short) and self._short >= self._before):
            return None
        words = 2 * self.words if self._lacking == OPEN else self.words + math.ceil((self._lacking + MARGIN) / WORD)
        if words > MOST:
            return None
        longer = Filter(self.map, self.outputs, self.form, self.mode, self.checkpoint, words, self._pace)
        longer._before, longer.taken = self._short if any(self._short) else self._before, self.taken
        return longer

    def certain(self, rows: Sequence[Row]) -> list[Shades] | None:
        """J'v of each row, if every entry is certain. The last one, which goes through most of a network's layers, is the first
        that is asked, and where words are missing for it no other one is."""
        self._lacking, left = 0.0, len(rows)

        def enough(shades: Shades) -> bool:
            nonlocal left
            self._lacking, left = lacking(shades, self.form), left - 1
            self._short = (left, int(_open(shades).sum()), self._lacking) if self._lacking else _NOTHING
            return not self._lacking

        intake = Intake() if self.taken is None else None
        found = self.gradients(rows[::-1], enough=enough, intake=intake) if TRUST.sound() else None
        return None if found is None or self._lacking else found[::-1]

    @_unless_refused
    def agrees(self, found: Sequence[Shades], rows: Sequence[Row], direction: Floats, agree: Agree) -> bool | None:
        """Whether J'v, which was `found`, is the derivative: both sides agree along each part of the direction."""
        for part, test in self.parts(direction, found, agree):
            slopes = self.slopes(part, rows) if part.any() else []
            if slopes is None:
                return None
            for slope, shades in zip(slopes, found, strict=bool(slopes)):
                difference = slope - along(shades.exact, part)
                agrees = test(difference, int(np.count_nonzero(part)))
                if not agrees:
                    self._lacking = WORD if agrees is None else 0.0
                    self._short = _NOTHING if difference.is_finite() else (0, 1, WORD)
                    return agrees
        return True

    def parts(self, direction: Floats, found: Sequence[Shades], agree: Agree) -> list[tuple[Floats, Agree]]:
        """A direction in parts, each with its test."""
        numbers, noise, zeros = self.split(direction, found)
        return [(numbers, agree), (noise, _silent), (zeros, agree)]

    def split(self, direction: Floats, found: Sequence[Shades]) -> list[Floats]:
        """A direction in parts: entries that have a number, those that are 0 but for rounding, and those that are 0."""
        return _parts(direction, found, self.form)

    @_unless_refused
    def gradients(
        self, rows: Sequence[Row], limited: bool = True, slack: bool = False,
        enough: Callable[[Shades], bool] = lambda shades: True, intake: Intake | None = None,
    ) -> list[Shades] | None:  # fmt: skip
        """J'v of each row: all inputs' entries, one after another; no more of them from one on that isn't `enough`. Not
        `limited`: with what rounding does where exponents have no limits. `slack`: with all that the authors of constants may
        have meant. `intake`: told of the code's operations, for `taken`."""
        layer = shadowed(self.words, Exact() if slack else Precise(), Rounded(self.form, limited))
        shadow, leaves = _entered(self.map, layer, self.checkpoint, pace=self._pace)
        if intake is not None:
            intake.know((self.map.inputs, leaves, [row.cotangents for row in rows]))
        found: list[Shades] = []
        with uncompiled(), shadow, np.errstate(all="ignore"):
            with shadow.told_to(intake):
                outputs, pull = run(self.map, leaves, self.mode)
            forward = set() if intake is None else intake.take(outputs).copy()
            if not self._as_unwatched(shadow, outputs):
                return None
            for row in rows:
                self.checkpoint()
                with shadow.told_to(intake):
                    pulled = pull(row)
                if intake is not None:
                    intake.take(pulled.gradients)
                found.append(_shades(shadow, ((pulled.gradients[n], x) for n, x in self.map.inputs.items())))
                if shadow.lost or pulled.refusal:
                    return None
                if not enough(found[-1]):
                    break
        if intake is not None and len(found) == len(rows):
            self.taken = forward, intake.found - forward
        self.held, self.told = shadow.held, shadow.told
        return found

    @_unless_refused
    def values(self, limited: bool = True) -> dict[str, Shades] | None:
        """The outputs themselves; not `limited` as in `gradients`."""
        shadow, leaves = _entered(self.map, shadowed(self.words, Precise(), Rounded(self.form, limited)), self.checkpoint)
        with uncompiled(), shadow, np.errstate(all="ignore"):
            outputs = self.map(leaves)
            if not self._as_unwatched(shadow, outputs):
                return None
        self.held, self.told = shadow.held, shadow.told
        return self.seen

    @_unless_refused
    def slopes(self, direction: Floats, rows: Sequence[Row]) -> list[Ball] | None:
        """<v, J u> of each row."""
        slopes = self._slopes(direction)
        if slopes is None:
            return None
        return [along(_stacked([slopes[n] for n in row.cotangents]), _flat(row.cotangents)) for row in rows]

    @_unless_refused
    def each(self, direction: Floats, rows: Sequence[Row], slack: bool = False) -> list[Column | None] | None:
        """The derivatives of each row by all entries that move along a direction, from one run of the forward pass; None of a
        row that isn't known. `slack`: with all that constants, and numbers that are kept, may mean."""
        self.checkpoint()
        layer = taped(self.words, self.form if slack else None)
        layer.begin()
        try:
            shadow, leaves = _entered(self.map, layer, self.checkpoint, direction)
            with uncompiled(), shadow, np.errstate(all="ignore"):
                outputs = self.map(leaves)
                cells = {name: shadow.cell(y) for name, y in outputs.items()}
            if shadow.lost or not _equal(outputs, self.outputs):
                return None
            results = ([(cells[name], numpy(v)) for name, v in row.cotangents.items()] for row in rows)
            with np.errstate(all="ignore"):
                return [layer.derivatives(some, len(direction)) for some in results]
        finally:
            layer.begin()  # it is kept for the process

    @_unless_refused
    def pushed(self, direction: Tensors) -> tuple[dict[str, Column], dict[str, Shades]] | None:
        """J u of each output, if each entry is certain, and what the operations of a mode that runs forwards make of it."""
        slopes = self._slopes(_flat(direction)) if TRUST.sound() else None
        seen = None if slopes is None else self.tangents(direction)
        if slopes is None or seen is None:
            return None
        known = (certain(Shades(slopes[name], shades.rounded), self.form).all() for name, shades in seen.items())
        return (slopes, seen) if all(known) else None

    @_unless_refused
    def tangents(self, direction: Tensors, limited: bool = True) -> dict[str, Shades] | None:
        """What torch's operations make of J u; not `limited` as in `gradients`."""
        self.checkpoint()
        layer = shadowed(self.words, Precise(), Rounded(self.form, limited))
        shadow = Columns(layer, True, self.map.state, self.checkpoint)

        def seed(primals: Tensors) -> None:
            for name, x in primals.items():
                shadow.seed(x, layer.data(numpy(self.map.inputs[name])))  # copies run

        with uncompiled(), shadow, np.errstate(all="ignore"):
            outputs, tangents, refusal = push(self.map, direction, self.mode, seed)
            if refusal or not self._as_unwatched(shadow, outputs):
                return None
            found = {name: _shades(shadow, [(tangents[name], y)]) for name, y in outputs.items()}
        self.held, self.told = shadow.held, shadow.told
        return None if shadow.lost else found

    def _slopes(self, direction: Floats) -> dict[str, Column] | None:
        """J u of each output."""
        self.checkpoint()
        layer = moving(self.words)
        layer.tied = False  # it is kept for the process
        outputs, slopes = _pushed(self.map, layer, direction, self.checkpoint)
        self._tied = self._tied or layer.tied
        return slopes if slopes is not None and _equal(outputs, self.outputs) else None

    def _as_unwatched(self, shadow: Columns, outputs: Tensors) -> bool:
        """Whether torch's outputs are the same, and where rounding may take what was followed."""
        self.seen = {name: _shades(shadow, [(y, y)]) for name, y in outputs.items()}
        return explain(self.seen, outputs, self.form) and not shadow.lost and _equal(outputs, self.outputs)


@_unless_refused
def smooth(map: Map, direction: Floats) -> bool | None:
    """Whether all outputs have a derivative along a direction: False where none is found and numbers that are compared are the
    same, and nothing else is unknown; None where it isn't known."""
    if not TRUST.sound() or len(direction) < LEAST or map.stops:
        return None
    layer = Moving()
    _, slopes = _pushed(map, layer, direction, lambda: None)
    if slopes is None:
        return None
    found = all(not slope.open.any() for slope in slopes.values())
    return found or (False if layer.tied and not layer.blind else None)


def _pushed(
    map: Map, layer: Moving, direction: Floats, checkpoint: Callable[[], None]
) -> tuple[Tensors, dict[str, Column] | None]:
    """The outputs, and their derivatives along a direction."""
    shadow, leaves = _entered(map, layer, checkpoint, direction)
    with uncompiled(), shadow, np.errstate(all="ignore"):
        outputs = map(leaves)
        slopes = {name: layer.slope(shadow.cell(y), y.numel()) for name, y in outputs.items()}
    return outputs, None if shadow.lost else slopes


def _entered(
    map: Map, layer: Any, checkpoint: Callable[[], None], direction: Floats | None = None, pace: Pace = unhurried
) -> tuple[Columns, dict[str, Tensor]]:
    """A run whose inputs stand for themselves, and move along a direction."""
    shadow, leaves, start = Columns(layer, True, map.state, checkpoint, pace()), map.leaves(), 0
    for name, x in map.inputs.items():
        span, start = slice(start, start + x.numel()), start + x.numel()
        steps = () if direction is None else (direction[span] if direction[span].any() else np.zeros(1),)
        own = leaves[name].data_ptr() == x.data_ptr()  # the leaf is the caller's own, and may be written to
        shadow.seed(leaves[name], layer.data(numpy(x).copy() if own else numpy(x), *steps))
    return shadow, leaves


def along(numbers: Column, steps: Floats) -> Ball:
    """<numbers, steps>, of floats of few bits; nan where a number that counts is open."""
    multiply, zero = on_numpy().kernels("double")["multiply"], np.float64(0.0)
    found: list[Column] = []
    with np.errstate(all="ignore"):
        for some in pieces(len(steps)):
            counted, step, words = steps[some] != 0.0, steps[some], numbers.pick(some)
            if not counted.all():
                step, words = step[counted], words.pick(counted)
            if len(step):
                found.append(Column(*total(multiply(words, (step, zero, zero)), 1, len(step))))
        return Column(*total(_stacked(found), 1, len(found))).ball(0) if found else ZERO


def _silent(difference: Ball, count: int) -> bool | None:
    """Whether nothing is left of a difference in which an entry's own rounding is about 1; that it is wrong is never said."""
    return bool(difference.is_finite() and difference.contains(0) and float(difference.rad()) <= HEARD) or None


def _parts(direction: Floats, found: Sequence[Shades], form: Format) -> list[Floats]:
    """A direction whose entries add terms of one size, in parts: those of numbers, and those of what is 0, but for rounding or
    in torch too. There the terms are what rounding may do."""
    numbers, (noisy, zeros) = direction, np.zeros((2, len(direction)))  # the system's zeros, as long as they stay
    for some in pieces(len(direction), len(found)):
        part = [shades.pick(some) for shades in found]
        none = np.logical_and.reduce([_nothing(shades, form) for shades in part])
        if not none.any():
            continue
        numbers = direction.copy() if numbers is direction else numbers
        noise = np.max([_bounded(shades) for shades in part], axis=0)
        zero = none & np.logical_and.reduce([(shades.exact.high == 0.0) & (shades.rounded == 0.0) for shades in part])
        mantissas, _ = np.frexp(direction[some])
        scaled = np.ldexp(mantissas, -np.clip(np.frexp(noise)[1], -FARTHEST, FARTHEST))
        numbers[some][none] = 0.0
        noisy[some] = np.where(none & ~zero, scaled, 0.0)
        zeros[some] = np.where(zero, direction[some], 0.0)
    return [numbers, noisy, zeros]


def _nothing(found: Shades, form: Format) -> npt.NDArray[np.bool_]:
    """The entries that are as nothing beside the smallest float, or that may be 0 and are nothing beside what rounding may do
    to them."""
    size, radius = np.abs(found.exact.high), found.exact.radius
    nothing: npt.NDArray[np.bool_] = size + radius <= form.smallest_normal * NO_SIZE
    nothing |= (size <= radius) & (size + radius <= _bounded(found) * NO_SIZE)
    return nothing


def _bounded(found: Shades) -> Floats:
    """How far rounding may take entries; 0 where that has no bound."""
    return np.where(np.isfinite(found.rounded), found.rounded, 0.0)


def certain(found: Shades, form: Format) -> npt.NDArray[np.bool_]:
    """The entries that are known as well as a verdict needs it: beyond the last digit; to more than half of the digits, where
    rounding may take many more; or as nothing."""
    known, bits = np.empty(len(found.rounded), dtype=bool), form.bits
    for some in pieces(len(known)):
        part = found.pick(some)
        sure = part.exact.accurate(bits + GUARD)
        unbounded = part.rounded == OPEN
        if unbounded.any():
            sure &= ~unbounded | part.exact.accurate(bits + UNBOUNDED)
        if not sure.all():
            sure |= part.exact.accurate(bits // 2 + 10) & (part.exact.radius <= _bounded(part) * NO_SIZE)
            sure |= _nothing(part, form)
        known[some] = sure & ~np.isnan(part.rounded)
    return known


def _open(found: Shades) -> npt.NDArray[np.bool_]:
    """The entries of which nothing is known."""
    return np.asarray(~np.isfinite(found.exact.radius) | np.isnan(found.rounded))


def lacking(found: Shades, form: Format) -> float:
    """Bits that are missing until every entry is certain; infinite where one is open."""
    unknown = ~certain(found, form)
    if not unknown.any():
        return 0.0
    part = found.pick(unknown)
    size, radius = np.abs(part.exact.high), part.exact.radius
    if _open(part).any():
        return OPEN
    with np.errstate(all="ignore"):
        share = float(np.max(np.where(size > 0.0, radius / size, 1.0)))
    return max(math.log2(share) + form.bits + UNBOUNDED, 1.0)


def certified(words: Column, some: npt.NDArray[np.bool_] | None = None) -> Truths:
    """Numbers, of which all or some are certified, as the exact side of entries."""
    found = Truths(len(words.high), words.ball)
    found.certify(words, np.ones(len(words.high), dtype=bool) if some is None else some)
    return found


def explain(seen: Mapping[str, Shades], outputs: Tensors, form: Format) -> bool:
    """Whether outputs are where rounding may take what was seen of them, or near."""
    share = form.unit_roundoff**0.5
    for name, y in outputs.items():
        off = seen[name].exact.off(numpy(y))
        if np.isnan(off).any() or (off > 4.0 * seen[name].rounded + np.abs(seen[name].exact.high) * share).any():
            return False
    return True


def _equal(outputs: Tensors, others: Tensors) -> bool:
    """Whether all floats are the same."""
    return outputs.keys() == others.keys() and all(
        outputs[n].shape == y.shape and np.array_equal(numpy(outputs[n]), numpy(y), equal_nan=True) for n, y in others.items()
    )


def _shades(shadow: Columns, tensors: Iterable[tuple[Tensor | None, Tensor]]) -> Shades:
    """What became of tensors, each as large as the one beside it, one after another; 0 where torch gave none."""
    tensors = list(tensors)
    high, low, radius, rounded = arrays = [empty(sum(x.numel() for _, x in tensors)) for _ in range(4)]
    start = 0
    for tensor, x in tensors:
        count, start = x.numel(), start + x.numel()
        if tensor is None:
            for array in arrays:
                array[start - count : start] = 0.0
            continue
        parts = [np.broadcast_to(part, (*np.shape(part)[:-1], count)) for part in shadow.cell(tensor)]
        for some in pieces(count):
            *words, (near, far) = (part[..., some] for part in parts)
            here = slice(start - count + some.start, start - count + some.stop)
            high[here], low[here], radius[here] = shortened(words, near)
            # kernels of two words are open where balls may have a bound
            rounded[here] = np.where(far < OPEN, far, np.nan if len(words) == 2 else OPEN)
    return Shades(Column(high, low, radius), rounded)


def _stacked(parts: Sequence[Column]) -> Column:
    return Column(*map(np.concatenate, zip(*parts, strict=True)))


def _flat(tensors: Tensors) -> Floats:
    return np.concatenate([numpy(t) for t in tensors.values()])

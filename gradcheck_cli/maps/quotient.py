"""The fourth number, which guards the other three: difference quotients of the plain function, as torch runs it.

Exact and shadow both come from what a dispatch mode saw. A kernel behind the dispatcher, memory shared with NumPy, a branch
that Python takes are not seen, and then three numbers agree on the wrong thing. So the function runs a few times more without
any mode, along a direction that nobody can know before the gradient is there. Quotients are coarse: they refute, and they
take a certainty back; they never certify. (Where what the code detaches is meant to be constant, a mode keeps that at what it
is at the point; all else runs as it would.)

With D(t) = (f(x + t u) - f(x - t u))/2t the value is Richardson's, (4 D(1/2) - D(1))/3, and the larger |D(1/2) - D(1)|
stands as the error that the steps show (Conte and de Boor, Elementary Numerical Analysis, section 7.3). What isn't smooth
within a step shows in the second difference, which half a step must quarter; what rounding does is bounded from the format and
from the size of outputs and terms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from gradcheck_cli.floats import Floats, pieces
from gradcheck_cli.maps.constants import Constants
from gradcheck_cli.maps.map import Map, Tensors, draws, secret_of, signs, spans_of
from gradcheck_cli.maps.runs import format_of, numpy, rounding
from gradcheck_cli.pool import empty

OWN = 1 << 16
"""Entries of inputs up to which every run has memory of its own: a function may remember what it was called with."""

MARGIN = 4.0
"""Errors by which two numbers must differ before one contradicts the other."""

COARSE = 2.0**-16
"""Share of the terms' size below which a difference is none, whatever the steps show: kernels of torch approximate, and how
well their values hold says little of their slopes."""

ROUNDINGS = 2.0
"""Roundings of outputs and terms, root of the sum of squares, that one value of the function may be off."""

NEARER = {53: (1 / 48, 1 / 700), 24: (1 / 3, 1 / 10), 11: (1 / 3,), 8: (1 / 3,)}
"""By the bits of a format: how much nearer steps are that must give the same before anything is refuted. No powers of two: by
those a narrower format inside of the function (autocast) rounds alike. Beyond its own scale a function may saturate, and all
that its steps show is that the quotient grows as they shrink."""

AGREED = (2.0**-2, 2.0**-6)
"""Shares of the quotient itself and of the terms' size to which near and far quotients must agree, but for rounding."""

LEAST = 2.0**-8
"""An entry's step is at least this share of those of its tensor's typical entry."""

WITHIN = 3 / 4
"""Power of the share by which steps are shortened: what has a slope moves by less of its swing within them, by their share or
the square of it. What goes up and down many times within a step, or is at its end within a shorter one, has all of its swing
there too, a square root the root of the share; and their quotients are of no derivative."""

STAIRS = (2.0**-5, 2.0**-2)
"""Steps, relative to an entry, that are tried where some outputs don't move at all and the difference is large: within a
narrower format (autocast) nothing moves for a while."""

FLAT = 2.0**-20
"""Steps, relative to an entry, within which a function that stands still, to one side at least, may have the derivative 0,
whatever lies beyond: about those of torch's own gradcheck. It may go up by stairs that are narrower than the other steps."""

PLAIN = 2.0**-3
"""Share of the terms' size that such steps must come near to autograd's number, and twice as much for their error."""

STEADY = 2.0**-4
"""Share by which the difference of the quotients from both sides may change with the steps where it is a kink's."""

CURVED = 2.0**-2
"""Share of that difference that is left, extrapolated from the whole step and half of it, where it is at most a curve's."""

RUNG, ROUNDED = 4, 12
"""Bits by which steps are shortened at a time where the quotients by longer ones are of no derivative; and bits that the
shortest have before rounding."""

RUNGS, NARROWEST = 32, 3
"""Steps of entries that are far smaller than others, between a share of their own size and one of the others', and by how many
bits they differ at least."""

BESIDE = 2.0**-8
"""Share to which quotients beside entries that are far smaller than others must agree with a derivative that longer steps
refute."""

PLAINLY = "the function as torch runs it"
"""Whose quotients they are, for the reader."""


class HeldTo(NamedTuple):
    """A function whose quotients judged derivatives are held to, what the reader calls it; whether they say that the exact
    side is of something else (not of a formula, which is the user's own word), and whether they refute what passes (not where
    that was found to agree with them before)."""

    map: Map
    whose: str
    doubts: bool
    refutes: bool = True


_PLACES = np.array([[-1.0], [-0.5], [0.5], [1.0]])
"""Times a direction, where the function runs besides."""

Which = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]

Values = tuple[Floats, Floats, Floats, Floats, Floats]
"""The outputs at -1, -1/2, 0, 1/2 and 1 times a direction, all entries in order; nan where the function fails."""

Project = Callable[[Floats], Floats]
"""What is asked of all outputs, along the last axis: linear."""


Weights = tuple[slice | Indices, Floats]
"""Some entries of all outputs, or all of them, and their cotangents."""


def projections(weights: Sequence[Weights]) -> tuple[Project, Project]:
    """What combinations of the outputs ask, and the same of their squares."""

    def of(y: Floats) -> Floats:
        return np.stack([np.sum(v * y[..., i], axis=-1) for i, v in weights], axis=-1)

    def squares(y: Floats) -> Floats:
        return np.stack([np.sum(v * v * y[..., i], axis=-1) for i, v in weights], axis=-1)

    return of, squares


class Slopes(NamedTuple):
    """Quotients of some numbers, and an error within which the derivatives lie; nan where nothing can be said. `noise`: the
    part of it that is rounding. `left`, `right`: the quotients from each side, at the nearer step; `rest`: by how much they
    differ where steps vanish, extrapolated. `swing`: how far the numbers move within the step, beyond rounding of outputs."""

    value: Floats
    error: Floats
    noise: Floats
    left: Floats
    right: Floats
    rest: Floats
    swing: Floats

    def contradict(self, found: Floats, size: Floats, more: Floats | float = 0.0) -> Which:
        """Where a derivative that was `found`, of terms of this size, can't be; `more`: further error."""
        with np.errstate(all="ignore"):
            return np.asarray(abs(self.value - found) > self.room(size, more))

    def room(self, size: Floats, more: Floats | float = 0.0) -> Floats:
        """How far a derivative of terms of this size may be from the quotient without contradicting it."""
        with np.errstate(all="ignore"):
            return np.asarray(MARGIN * (self.error + more) + COARSE * np.maximum(size, abs(self.value)))

    def widened(self, by: Floats) -> Slopes:
        """With this much more room for what contradicts them."""
        return self._replace(error=self.error + by / MARGIN)

    def over(self, scale: float) -> Slopes:
        """By longer or shorter steps."""
        return Slopes(*(numbers / scale for numbers in self))


def slopes(values: Values, project: Project, rounded: Floats, terms: Floats | float = 0.0) -> Slopes:
    """The derivatives by the distance along the direction, at 0. `rounded`, `terms`: how far rounding of the outputs, and of
    the terms that they are made of, may move a number at one place.

    Where one side isn't finite the other is taken alone.
    """
    noise = rounded + terms
    far_left, before, here, after, far_right = values
    with np.errstate(all="ignore"):
        # what is asked is linear, and its sums of these lose less than the outputs have lost already
        backward, behind, forward, beyond = project(np.stack([here - before, here - far_left, after - here, far_right - here]))
        half, whole, curve, wider = forward + backward, (beyond + behind) / 2, forward - backward, beyond - behind
        left, right = (2 * backward, behind), (2 * forward, beyond)
        farthest = np.fmax.reduce(abs(np.stack([backward, behind, forward, beyond])))
        swing = np.maximum(farthest - MARGIN * 4 * rounded, 0.0)
        best: tuple[Floats, ...] = (
            half + (half - whole) / 3, abs(half - whole) + abs(wider - 4 * curve) + 4 * noise, 4 * noise
        )  # fmt: skip
        for near, far in (left, right):
            missing = ~(np.isfinite(best[0]) & np.isfinite(best[1]))
            if missing.any():
                other = (2 * near - far, 2 * abs(near - far) + 12 * noise, 12 * noise)
                best = tuple(np.where(missing, o, own) for o, own in zip(other, best, strict=True))
    value, error, noise = best
    return Slopes(value, error, noise, left[0], right[0], 4 * curve - wider, swing)


def standing(values: Values) -> Floats:
    """1 for each output that is the same at all places, else 0."""
    first, *others = values
    with np.errstate(invalid="ignore"):
        return np.asarray(np.logical_and.reduce([other - first == 0.0 for other in others]), dtype=np.float64)


class Plain:
    """A map's function, run without any mode near its inputs. `secret`: numbers on which directions hang besides the inputs, or
    what `secret_of` made of both. `apart`: every entry of an input is a point of its own, whose
    size says nothing about the others. `constants`: what is held at what it is at the point; without, what the code detaches,
    where the map says so."""

    def __init__(
        self,
        map: Map,
        seed: int,
        checkpoint: Callable[[], None],
        secret: Sequence[Floats] | int = (),
        apart: bool = False,
        constants: Constants | None = None,
    ) -> None:
        self.map, self.checkpoint = map, checkpoint
        self._constants = constants or (Constants() if map.stops else None)
        self._spans = spans_of(map.inputs)
        self.inputs = empty(sum(x.numel() for x in map.inputs.values()))
        np.concatenate([numpy(x) for x in map.inputs.values()], out=self.inputs)
        known = secret if isinstance(secret, int) else secret_of(self.inputs, *secret)
        self._draw = draws(seed, secret=known)
        self.here = self._run(None)
        again = self._run(None, again=True)
        with np.errstate(all="ignore"):
            self.unsteady = np.where(self.here == again, 0.0, abs(self.here - again))
            self.unsteady[np.isnan(self.here) & np.isnan(again)] = 0.0
            size = np.max(abs(self.here[np.isfinite(self.here)]), initial=0.0)
        self.repeatable = bool(np.all(self.unsteady <= np.sqrt(self.form.unit_roundoff) * size))
        self.step = 2.0 ** -(self.form.bits // 4)
        self.sizes = empty(len(self.inputs))
        for span in self._spans.values():
            _measure(self.inputs[span], apart, self.sizes[span])

    def direction(self) -> Floats:
        """A new direction: every entry moves by a small share of its size, to either side."""
        drawn = self._draw.random(out=empty(len(self.sizes)))
        for some in pieces(len(drawn)):
            part = drawn[some]
            part *= 0.5
            part += 0.5
            part *= signs(self._draw, len(part))
            part *= self.sizes[some]
            part *= self.step
            part[:] = np.where(np.isfinite(self.inputs[some]), self.form.round(part), 0.0)
        return drawn

    def along(self, direction: Floats) -> Values:
        """The outputs along a direction."""
        far_left, left, right, far_right = map(self._run, self._beside(direction, _PLACES))
        return far_left, left, self.here, right, far_right

    def at(self, offset: Floats) -> Floats:
        """The outputs at an offset."""
        return self._run(next(self._beside(offset, _PLACES[-1:])))

    def noise(self, squares: Project) -> Floats:
        """How far rounding of the outputs may move a number. `squares`: that number of the outputs' squares."""
        with np.errstate(all="ignore"):
            size = np.sqrt(squares(np.where(np.isfinite(self.here), self.here, 0.0) ** 2))
            return np.asarray(self.rounding(size) + np.sqrt(squares(self.unsteady**2)))

    def rounding(self, terms: Floats) -> Floats:
        """How far it may move a number that is added up from terms: `terms` is the root of the sum of their squares
        (derivatives times inputs)."""
        return ROUNDINGS * self.form.unit_roundoff * terms

    def heed_rounding(self) -> None:
        """Take what rounding may do inside of the function for noise of its values: those that cancel show little of it."""
        try:
            self.unsteady = np.maximum(self.unsteady, rounding(self.map, self.checkpoint))
        except Exception:  # whatever the function says to being watched
            return

    def scale(self, direction: Floats) -> float:
        """A power of two that makes a direction as short as those that are drawn here."""
        longest = self._longest(direction, self.sizes)
        return float(2.0 ** np.floor(np.log2(self.step / longest))) if longest else 1.0

    def least(self, direction: Floats) -> float:
        """A share of a direction's steps, half of the digits that they have before rounding."""
        longest = self._longest(direction, self.sizes)
        return float(2.0 ** -((self.form.bits + math.floor(math.log2(longest))) // 2)) if longest else 1.0

    @property
    def shorter(self) -> tuple[float, ...]:
        """Shares of the steps that are far from rounding still."""
        return tuple(2.0**-n for n in range(RUNG, self.form.bits - self.form.bits // 4 - ROUNDED, RUNG))

    def _longest(self, direction: Floats, sizes: Floats) -> float:
        with np.errstate(all="ignore"):
            return float(np.max(abs(direction) / sizes, initial=0.0, where=np.isfinite(self.inputs)))

    def nearer(self, direction: Floats) -> tuple[float, ...]:
        """The shares of a direction's steps that must give the same as the whole: the format's, and one that moves no entry by
        more than a small share of its own size, or of 1. Beside entries that are far larger it would be moved across all that
        a function does there."""
        longest = self._longest(direction, np.maximum(abs(self.inputs), 1.0))
        shares = NEARER[self.form.bits]
        own = float(self.step / longest) if longest else 1.0
        return (*shares, own) if own < shares[-1] else shares

    def small(self, direction: Floats) -> Which:
        """The entries that a direction moves by more than a share of their own size, since others are far larger: beyond it
        sqrt(abs(x)) is another function."""
        own = self.step * abs(self.inputs)
        return np.asarray((own > 0) & (own < abs(direction) / 2))

    def beside(self, direction: Floats, small: Which) -> Iterator[Floats]:
        """The part of a direction that moves these, by that share of their own size and then by more and more: where it is of
        use for a function that is another one beyond, rounding may hide what it does nearer by."""
        own, whole = (np.where(small, x, 0.0) for x in (np.copysign(self.step * abs(self.inputs), direction), direction))
        with np.errstate(all="ignore"):
            times = np.where(small, np.log2(whole / own), 0.0)
        count = min(RUNGS, int(np.max(times, initial=0.0) / NARROWEST) + 1)
        yield from (own * np.exp2(times * (k / count)) for k in range(count))

    def shaped(self, direction: Floats) -> dict[str, torch.Tensor]:
        """A direction as tensors like the inputs."""
        return self._shaped(direction.copy())

    def _beside(self, offset: Floats, times: Floats) -> Iterator[dict[str, torch.Tensor]]:
        """The inputs at so many times an offset, one after the other; what stays keeps the sign of a zero."""
        if len(offset) <= OWN:
            places = self.inputs + times * offset
            if not offset.all():
                places[:, offset == 0.0] = self.inputs[offset == 0.0]
            yield from map(self._shaped, places)
            return
        for factor in times[:, 0].tolist():
            for some in pieces(len(offset)):
                here, steps = self.inputs[some], offset[some]
                self._place[some] = np.where(steps == 0.0, here, here + steps * factor)
            yield self._shaped(self._place)

    @cached_property
    def _place(self) -> Floats:
        """Where the function of many inputs runs beside them: memory for one run after the other."""
        return empty(len(self.inputs))

    def _shaped(self, flat: Floats) -> dict[str, torch.Tensor]:
        return {name: _like(x, flat[self._spans[name]]) for name, x in self.map.inputs.items()}

    def _run(self, place: Tensors | None, again: bool = False) -> Floats:
        """All entries of the outputs, at a place beside the inputs or at these; nan where the function fails there, or returns
        something else."""
        self.checkpoint()
        try:
            if place is None:
                leaves = self.map.leaves()
                found, outputs = _numbers(self.map(leaves) if again else self._outputs(leaves))
            else:
                with self.map.beside(place) as leaves:
                    found, outputs = _numbers(self._outputs(leaves))
        except Exception:  # whatever a user's code raises beside the point
            if place is None:
                raise
            return np.full_like(self.here, np.nan)
        shapes = {name: tuple(y.shape) for name, y in outputs.items()}
        if place is None:
            self.shapes, self.form = shapes, format_of({**self.map.inputs, **outputs})
        return found if shapes == self.shapes else np.full_like(self.here, np.nan)

    def _outputs(self, leaves: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The outputs; what the code detaches as it was in the first run, if it is meant to be constant."""
        if self._constants is None:
            return self.map(leaves)
        with self._constants.run(leaves.values()) as constants:
            return {name: constants.result(y) for name, y in self.map(leaves).items()}


def _numbers(outputs: Tensors) -> tuple[Floats, Tensors]:
    """All entries of outputs, a copy, for they may be views of leaves; and the outputs."""
    return np.concatenate([np.zeros(0), *(numpy(y) for y in outputs.values())]), outputs


def _like(x: torch.Tensor, entries: Floats) -> torch.Tensor:
    """A tensor with these entries, in whose memory it lies where they can be its own."""
    found = torch.from_numpy(entries).view(x.shape)
    same = x.dtype is found.dtype and x.device == found.device and x.is_contiguous()
    return found if same else torch.empty_like(x).copy_(found)


def _measure(inputs: Floats, apart: bool, sizes: Floats) -> None:
    """Enter how large the entries of an input are: by themselves (0 counts as 1), or beside the others where those are far
    larger."""
    np.abs(inputs, out=sizes)
    for some in pieces(len(sizes)):
        part = sizes[some]
        part[~np.isfinite(part)] = 0.0
    largest = float(sizes.max(initial=0.0))
    if apart or not largest:
        sizes[sizes == 0.0] = 1.0
        return
    squares = sum(
        float(np.square(sizes[some] / largest).sum()) for some in pieces(len(sizes))
    )  # as they are, they may overflow
    np.maximum(sizes, LEAST * largest * math.sqrt(squares / len(sizes)), out=sizes)


@dataclass(frozen=True)
class Numbers:
    """Derivatives that are held against quotients. `of`: what is asked of all outputs; `squares`: the same of their squares;
    `found`: autograd's derivatives, a row for each number, a column for each entry of the inputs; `known`: the exact ones
    wherever autograd's needn't be right; `allowed`: how far off the user lets them be."""

    of: Project
    squares: Project
    found: Floats
    known: Floats
    allowed: Floats

    def along(self, plain: Plain, direction: Floats, scale: float = 1.0) -> Outcome:
        """The quotients along a direction that is made shorter or longer, and what the derivatives make of it."""
        step = direction if scale == 1.0 else direction * scale
        with np.errstate(all="ignore"):
            values = plain.along(step)
            terms, size, found, known, slack = self._sums(plain, direction, step)
            seen = slopes(values, self.of, plain.noise(self.squares), plain.rounding(np.sqrt(terms))).widened(slack)
            return Outcome(seen, found, known, np.sqrt(size), self.squares(standing(values)) > 0)

    def _sums(self, plain: Plain, direction: Floats, step: Floats) -> Floats:
        """Of each number: the squares of the derivatives by what moves, as terms of its value and along a step, added up; what
        the derivatives, and the exact ones, make along it; and what the user allows."""
        found = np.zeros((5, len(self.found)))
        for some in pieces(len(step), len(self.found)):
            along, derivatives = step[some], self.found[:, some]
            where = bool(direction[some].all()) or direction[some] != 0
            products = derivatives * along
            exact = products if self.known is self.found else self.known[:, some] * along
            parts = ((derivatives * plain.inputs[some]) ** 2, products**2, products, exact, self.allowed[:, some] * abs(along))
            found += [np.sum(part, axis=1, where=where) for part in parts]
        return found

    def row(self, k: int) -> Numbers:
        """One of them alone."""
        parts = (self.found[[k]], self.known[[k]], self.allowed[[k]])
        return Numbers(lambda y: self.of(y)[..., k : k + 1], lambda y: self.squares(y)[..., k : k + 1], *parts)


@dataclass(frozen=True)
class Outcome:
    """Of every number: the quotient, autograd's and the exact derivative along the direction, the size of their terms, and
    whether some of the outputs that it is made of stand still."""

    seen: Slopes
    found: Floats
    known: Floats
    size: Floats
    still: Which

    @property
    def bend(self) -> Floats:
        """By how much the quotient from the right is larger than the one from the left; 0 where that is rounding."""
        with np.errstate(all="ignore"):
            bend = self.seen.right - self.seen.left
            return np.where(abs(bend) > MARGIN * self.seen.noise + COARSE * self.size, bend, 0.0)

    @property
    def against_found(self) -> Which:
        """Autograd's contradicts the quotient."""
        return self.seen.contradict(self.found, self.size)

    @property
    def plainly_found(self) -> Which:
        """Autograd's is what the quotient shows, by little of its size."""
        with np.errstate(all="ignore"):
            near = abs(self.seen.value - self.found) <= PLAIN * self.size
            return np.asarray(near & (self.seen.error <= 2 * PLAIN * self.size))

    @property
    def blind(self) -> Which:
        """The quotient can't tell a derivative of this size from another one, for more than rounding."""
        with np.errstate(all="ignore"):
            return np.asarray((self.seen.error - self.seen.noise > 2 * PLAIN * self.size) & (self.size > 0))

    def over(self, scale: float) -> Outcome:
        """By longer or shorter steps."""
        return Outcome(self.seen.over(scale), self.found / scale, self.known / scale, self.size / scale, self.still)

    def replaced(self, where: Which, other: Outcome) -> Outcome:
        """Another's numbers somewhere."""

        def chosen(own: npt.NDArray[Any], others: npt.NDArray[Any]) -> npt.NDArray[Any]:
            return np.where(where, others, own)

        seen = Slopes(*map(chosen, self.seen, other.seen))
        parts = ((self.found, other.found), (self.known, other.known), (self.size, other.size), (self.still, other.still))
        return Outcome(seen, *(chosen(*both) for both in parts))

    def against_both(self, more: Floats | float = 0.0) -> Which:
        """Both derivatives do, with further error."""
        against = self.seen.contradict(self.found, self.size, more)
        return against & self.seen.contradict(self.known, self.size, more) if against.any() else against

    @property
    def for_found(self) -> Which:
        """Autograd's agrees with the quotient, which contradicts the exact one."""
        return np.isfinite(self.seen.error) & ~self.against_found & self.seen.contradict(self.known, self.size)


class Along(Protocol):
    """Quotients along one direction, made shorter or longer."""

    def __call__(self, scale: float = 1.0, /) -> Outcome: ...


def kinked(plain: Plain, along: Along, direction: Floats, outcome: Outcome) -> Which:
    """Which numbers have autograd's derivative on one side, and on the other another one or a jump: the nearer the steps, the
    less of a difference a curve leaves, and no noise leaves the same. `along`: quotients in that direction; `outcome`: what it
    gives at its own length."""
    bend = outcome.bend
    found: Which = (bend != 0) & ~(abs(outcome.seen.rest) < CURVED * abs(bend))
    for scale in plain.nearer(direction) if found.any() else ():
        if found.any():
            closer = along(scale)
            with np.errstate(all="ignore"):
                off = np.minimum(abs(closer.seen.left - closer.found), abs(closer.seen.right - closer.found)) / scale
                kink = (abs(closer.bend / scale - bend) <= STEADY * abs(bend)) & (off <= STEADY * abs(bend))
                jump = (abs(closer.bend - bend) <= STEADY * abs(bend)) & (off <= STEADY * abs(outcome.found))
                found &= kink | jump
    return found


def agree(plain: Plain, of: Project, direction: Floats, found: Floats) -> Which:
    """Whether derivatives along a direction, `found`, are near to its quotients at both steps. What the outputs differ by is
    taken before they are added up: of those that stay nothing is left."""
    outputs = plain.along(direction)
    with np.errstate(all="ignore"):
        pairs = ((outputs[4] - outputs[0]) / 2, outputs[3] - outputs[1])
        return np.asarray(np.logical_and.reduce([(abs(of(d) - found) <= BESIDE * abs(found)) & (found != 0) for d in pairs]))


def refuted(plain: Plain, along: Along, direction: Floats) -> tuple[Which, Outcome]:
    """Which derivatives are wrong, and the quotients that say so. Where those by whole steps are of no derivative, shorter ones
    may be. `along`: quotients in that direction."""
    wrong, outcome, unsettled = _refuted(plain, along, direction)
    for scale in plain.shorter if unsettled.any() else ():
        found, closer, _ = _refuted(plain, partial(_scaled, along, scale), scale * direction)
        found &= unsettled & ~closer.still
        wrong, outcome = wrong | found, outcome.replaced(found, closer.over(scale))
        unsettled &= ~(found | closer.plainly_found)
        if not unsettled.any():
            break
    return wrong, outcome


def _scaled(along: Along, scale: float, share: float = 1.0) -> Outcome:
    return along(scale * share)


def _refuted(plain: Plain, along: Along, direction: Floats) -> tuple[Which, Outcome, Which]:
    """The same by steps of one length: nearer ones must give the same, and no staircase explain it. Also whose quotients
    contradict a derivative, and are of none."""
    outcome = along(1.0)
    against, far = outcome.against_both(), outcome.seen
    wrong = against.copy()
    if wrong.any():
        least = plain.least(direction)
        wrong &= along(least).seen.swing <= least**WITHIN * far.swing
    for scale in plain.nearer(direction) if wrong.any() else ():
        closer = along(scale)
        near = closer.seen.over(scale)
        apart = abs(near.value - far.value)
        agreed = AGREED[0] * abs(far.value) + AGREED[1] * outcome.size + MARGIN * (near.noise + far.noise)
        wrong &= closer.against_both(apart * scale) & outcome.against_both(apart) & (apart <= agreed)
        if not wrong.any():
            break
    unsettled = (against | outcome.blind) & ~wrong
    stairs = wrong & outcome.still & (abs(far.value - outcome.found) > PLAIN * outcome.size)
    for step in STAIRS:
        if stairs.any():
            wrong &= ~(stairs & along(step / plain.step).plainly_found)
    constant = wrong & (outcome.found == 0.0)
    if constant.any():
        shorter = along(FLAT / plain.step).seen
        wrong &= ~(constant & ((shorter.left == 0.0) | (shorter.right == 0.0)))
    return wrong, outcome, unsettled

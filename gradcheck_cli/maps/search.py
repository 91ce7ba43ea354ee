"""What certifies all entries of a map's gradient, and what looks for those that are wrong.

A run of the forward pass alone may know them all (`algebra.tape`). Else, where <v, J u> = <J'v, u> fails, the direction is cut
into parts until single entries are left: the series along one entry is its exact value, and a difference quotient at 1,600 bits
is the second witness. The search follows parts that disagree for certain before those that can't be told; where one can't be
cut down to an entry, it is itself what is wrong, and the quotient along it the witness.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from heapq import heappop, heappush
from itertools import chain, pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gradcheck_cli.algebra.directions import Directional, Kept, Meant, Precise, slope, value_of
from gradcheck_cli.algebra.layers import Exact, Layer, Rounded
from gradcheck_cli.algebra.number import NAN, ZERO, Ball, precision, working
from gradcheck_cli.algebra.precision import DIRECTIONS, QUOTIENT
from gradcheck_cli.algebra.series import terms
from gradcheck_cli.algebra.tape import derivatives
from gradcheck_cli.floats import Floats, pieces
from gradcheck_cli.maps.columns import FARTHEST, HEARD, UNBOUNDED, Filter, certified
from gradcheck_cli.maps.guard import Asked
from gradcheck_cli.maps.map import Map, Row, draws, secret_of, signs
from gradcheck_cli.maps.narrowing import Group, narrowed
from gradcheck_cli.maps.outside import UNSEEN, Doubt, moving
from gradcheck_cli.maps.probe import DRAWN, FLOOR, LAYERS, SINGULAR, Probe, tight
from gradcheck_cli.maps.quotient import COARSE
from gradcheck_cli.maps.runs import Cells, Followed, numpy, plain_layers_of
from gradcheck_cli.maps.second import confirms
from gradcheck_cli.maps.seen import Seen, joined
from gradcheck_cli.pool import empty
from gradcheck_cli.shadow.intake import Intake
from gradcheck_cli.verdict.column import UNEXAMINED
from gradcheck_cli.verdict.judge import QUICK, judge_plainly
from gradcheck_cli.verdict.shade import Shades
from gradcheck_cli.verdict.truth import Kind, Truth, regular
from gradcheck_cli.verdict.truths import Truths
from gradcheck_cli.verdict.verdicts import Cause

ATTEMPTS: tuple[tuple[int, type[Exact]], ...] = (
    (DIRECTIONS[0], Precise),
    (DIRECTIONS[0], Exact),
    (DIRECTIONS[1], Precise),
    (DIRECTIONS[1], Exact),
)
"""Constants of the code at first as the floats that they are; then as what their author may have meant by them."""

MANY = 48
"""Nodes of a graph from which on rounding is likely to take more than a few ulps: it is followed beside the proof, not after
it."""

SOME, MOVED = 16, 8.0
"""Nodes from which on it is asked whether rounding will be needed, and by how many ulps a gradient moves then where its inputs
do by one: of 129 functions of kornia's of so many nodes 83 gradients do, of which 65 were more than a few ulps off; of the
others 8."""

LARGE_WAYS = 2
"""Parts into which a direction with more entries than are reported is cut: one wrong entry is wanted, not all."""

SMALL = 64
"""Inputs with at most so many entries are taken apart wherever constants leave any slack."""

SENSITIVE = 1e-13
"""Relative error of one entry that a direction must be able to show before it certifies."""

TERM = 4
"""A term is at least 1/4 where torch's number isn't 0."""

CROWD = 100
"""Entries of a direction that share this error; of more, it grows with their number."""

TAPED = 4
"""Directions from which on a run that knows the derivatives by all entries takes less than one along each."""

TOGETHER = 16
"""Wrong entries that one quotient is asked about."""


class _Part(NamedTuple):
    """Entries of the direction that aren't certified yet, the first to be followed first: those that disagree for certain
    before those that can't be told (`unsure`); those that were cut more often; those that disagree by more (both negative)."""

    unsure: bool
    cuts: int
    off: float
    entries: list[int]


class _Outcome(NamedTuple):
    """Of a part in one row: whether it is certified, None where that can't be told; by how much it disagrees; whether it is an
    entry that is different for certain."""

    agrees: bool | None
    off: float
    located: bool = False


class _Wrong(NamedTuple):
    """A part of one input that disagrees for certain, in one row: the derivative along it, and what the shadow makes of it."""

    part: Sequence[int]
    exact: Ball
    shadow: Ball


class Search(Probe):
    """Rows of a map, of which torch's floats are known (nan, and `missing`, where it gave none). Each wrong entry of a group
    shows along the direction."""

    _floats: Floats
    _missing: npt.NDArray[np.bool_]
    _outside: Doubt | None
    _unknown: str | None
    _seen: dict[int, Seen]
    _rounded: dict[int, Followed]
    """Runs in which rounding was followed already, of rows."""
    _nodes: int
    """Those of torch's graph; 0 where the map's own operations don't say what is exact."""
    _truths: list[Any]
    """The exact side of each row: a list of its entries, or Truths."""
    _precise: list[list[Ball]]
    _wrong: dict[tuple[int, str], list[_Wrong]]
    _located: set[tuple[int, str]]
    _doubtful: dict[int, Truth]
    """Rows of which nothing is known, for a quotient sides with autograd."""
    _taped: dict[tuple[type[Directional], int], tuple[list[Any], Cells]]
    _entries: dict[tuple[int, type[Directional], int], list[Ball]]
    """Runs that know the derivatives by all entries, by layer and bits, and those of each row."""
    _loose: set[int]
    """Rows of which nothing is known where constants are what they may mean."""
    _lost: set[int]
    """Rows that aren't known along any direction."""
    _least: float
    """The work of a run of the forward pass, where it was found to tell nothing."""

    @cached_property
    def _secret(self) -> int:
        """Of the inputs and of torch's gradients."""
        return secret_of(*self._given, self._floats)

    @cached_property
    def _drawn(self) -> tuple[Floats, list[npt.NDArray[np.bool_]]]:
        """A direction of odd 20-bit numbers of both signs, scaled by powers of two so that each entry adds a term of about one
        size, and which entries go together: those where torch has a number, and those where it has 0, which the others would
        hide.

        It is 0 where torch's number isn't finite: such entries are looked at one by one. The numbers hang on the inputs and the
        gradients too: see `draws`.
        """
        draw = draws(self.options.seed, secret=self._secret)
        numbers, (still, nothing) = empty(self.count), np.zeros((2, self.count), dtype=bool)
        for some in pieces(self.count):
            numbers[some] = 2 * draw.integers(2 ** (DRAWN - 2), 2 ** (DRAWN - 1), len(numbers[some])) + 1
        for some in pieces(self.count):
            numbers[some] *= signs(draw, len(numbers[some]))
        for some in pieces(self.count, len(self.rows)):
            floats = self._floats[:, some]
            finite, sizes = np.isfinite(floats), np.abs(floats)
            if not finite.all():
                sizes[~finite] = 0.0
                still[some] = (~finite & ~self._missing[:, some]).any(axis=0)
            sizes = sizes.max(axis=0, initial=0.0)
            nothing[some] = sizes == 0
            numbers[some] = np.ldexp(numbers[some], -np.clip(np.frexp(sizes)[1], -FARTHEST, FARTHEST) - DRAWN)
        numbers[still] = 0.0
        return numbers, [mark for mark in (~still & ~nothing, ~still & nothing) if mark.any()]

    @property
    def _direction(self) -> Floats:
        return self._drawn[0]

    @property
    def _marks(self) -> list[npt.NDArray[np.bool_]]:
        return self._drawn[1]

    @cached_property
    def _groups(self) -> list[list[int]]:
        """The entries of the direction that are looked at together."""
        return [np.flatnonzero(mark).tolist() for mark in self._marks]

    def _certified(self) -> list[list[Truth | Ball]]:
        """The exact side of every entry of every row."""
        self._doubtful.clear()
        truths = self._each_alone() or self._followed_truths()
        for k, unknown in self._doubtful.items():  # but for what torch has no finite number of
            for i in np.flatnonzero(self._direction).tolist():
                truths[k][i] = unknown
        return truths

    def _each_alone(self) -> list[list[Truth | Ball]]:
        """The same, where a run of the forward pass alone knows every derivative, and torch's numbers are near to all; nothing
        where it doesn't, or is too long, or one is far: then what torch's operations make of it counts too."""
        if self.orders is not None or self.count > self.options.most_entries or self._unknown is not None:
            return []
        floats, begun = np.where(self._missing, 0.0, self._floats), self.work
        intake = self.source.intake = Intake() if self._outside is UNSEEN and not self.stated else None
        for bits in DIRECTIONS:
            self.expect(self.work - begun)
            try:
                with working(bits):
                    if bits == DIRECTIONS[0] and intake is not None and self._nodes > SOME and self._loses_digits(floats):
                        intake = self.source.intake = self._in_floats_too(floats)
                    found = [self._by_entry(k, Directional) for k in range(len(self.rows))]
            except Exception:  # whatever the function says to being watched
                if self._outside is not UNSEEN:
                    raise
                return []
            known = np.array([list(map(float, balls)) for balls in found])
            if not _near(floats, known):
                if np.isnan(known).any():
                    self._least = self.work - begun
                    self._lost = self._unknown_at_rest()
                return []
            if all(map(tight, chain.from_iterable(found))):
                self.clean = self._outside is None or moving(self.map, set() if intake is None else intake.found) is None
                return [list(balls) for balls in found] if self.clean else []
        return []

    def _loses_digits(self, floats: Floats) -> bool:
        """Whether rounding is likely to take some entry more than a few ulps off, as torch has it beside the inputs."""
        sizes = [x.numel() for x in self.map.inputs.values()] * len(self.rows)
        try:
            found = self._derived(self.map.at({name: _by_an_ulp(x) for name, x in self.map.inputs.items()}))
        except Exception:  # whatever the function says to other inputs
            return False
        beside = np.concatenate([np.zeros(n) if g is None else numpy(g) for g, n in zip(found, sizes, strict=True)])
        with np.errstate(all="ignore"):
            return bool((np.abs(beside - floats.reshape(-1)) > MOVED * self.form.ulp(floats.reshape(-1))).any())

    def _in_floats_too(self, floats: Floats) -> Intake | None:
        """A run that knows the derivatives by all entries, in exact arithmetic, and with rounding besides, where rows that are
        more than a few ulps off are pulled back. Returns what was told of it, or is to be told of another run."""
        inputs, begun, layers = self._tapes(), self.work, [*plain_layers_of(self.form), Directional()]
        given, some = [self.runs.exact, self.runs.exact, inputs], list[int]()
        intake = self.source.intake

        def chosen(outputs: Sequence[Cells]) -> list[Row]:
            self._entries.clear()  # of a run that is taken again, on the way that exact arithmetic goes
            self._taped[Directional, precision()] = list(chain.from_iterable(inputs.values())), outputs[-1]
            known = [np.array(list(map(float, self._by_entry(k, Directional)))) for k in range(len(self.rows))]
            near = _near(floats, np.array(known))
            some[:] = [
                k for k, row in enumerate(known) if near and (np.abs(floats[k] - row) > QUICK * self.form.ulp(row)).any()
            ]
            return [self.rows[k] for k in some]

        try:
            with terms(2):
                run = self.runs.backward(layers, given, self.rows, len(layers) - 1, chosen)
        except Exception:  # whatever the function, or its backward, says to being watched
            self._taped.clear()
            self._entries.clear()
            return Intake()
        self._once = (self.work - begun) / (len(layers) + (len(layers) - 1) * len(some))
        assert self.runs.first is not None
        self.runs.first = run.outputs[-1], self.runs.first[1]  # without what constants may mean
        if len(some) == 1 or run.eventless:  # else one row's events are taken for another's
            self._rounded = {k: run.of_row(row) for row, k in enumerate(some)}
        taken = self.runs.taken
        if taken is not None and len(some) == len(self.rows):
            cotangents = [v for row in self.rows for v in row.cotangents.values()]
            self._outside = moving(self.map, *taken, self._derived, cotangents) and UNSEEN
        return intake

    def _followed_truths(self) -> list[list[Truth | Ball]]:
        """The same, where all passes have to be followed."""
        if self._outside is UNSEEN:
            self._look_outside()
        return self._both_agreeing() if self._outside is None and self._unknown is None else self._unfollowed()

    def _look_outside(self) -> None:
        """Look for numbers that come from outside of torch."""

    def _derived(self, map: Map) -> list[Tensor | None]:
        """The gradients of all rows of a map."""
        raise NotImplementedError

    def _unknown_at_rest(self) -> set[int]:
        """Rows that aren't known where nothing moves, at any precision: nor are they along a direction."""
        found = set(range(len(self.rows)))
        for bits in DIRECTIONS:
            if found:
                self.expect(self._least)
                with working(bits), terms(2):
                    (outputs,) = self.source.forward([Directional()], [self.runs.exact])
                    found = {k for k in found if not self.paired(self.rows[k], outputs, value_of).is_finite()}
        return found

    def _both_agreeing(self) -> list[Any]:
        """The same, from both sides along directions."""
        rows, failed, lost = [k for k in range(len(self.rows)) if self._marks and k not in self._lost], False, False
        shadows: list[list[Ball]] = [[NAN if k in self._lost else ZERO] * self.count for k in range(len(self.rows))]
        self._precise = [[NAN] * self.count for _ in self.rows]
        suspects: set[int] = set()
        taken = 0.0
        for bits, layer in ATTEMPTS if rows else ():
            if failed and layer is Precise:
                continue  # it disagrees for certain: more precision changes nothing
            if lost and layer is Exact:  # what has no value has none where constants are less certain
                if self.count <= SMALL:
                    break
                continue
            self.expect(taken or (1 + len(self._groups)) * self._once)
            taken = -self.work
            with working(bits):
                totals, found = self._both_sides(layer, rows)
                taken += self.work
                outcomes = {
                    (k, g): self._agreement(totals[k][g], found[k], self._direction, group, layer is Precise)
                    for k in rows
                    for g, group in enumerate(self._groups)
                }
            for k in rows:
                shadows[k] = found[k]
                if layer is Precise:
                    self._precise[k] = found[k]
                if not all(outcomes[k, g] for g in range(len(self._groups))):
                    self._seen.pop(k, None)
            doubted = [key for key, outcome in outcomes.items() if outcome is not True]
            if not failed:
                for k, g in (key for key, outcome in outcomes.items() if outcome is False):
                    self._ask(k, self._only(self._groups[g]), totals[k][g])
                doubted = [(k, g) for k, g in doubted if k not in self._doubtful]
            lost = layer is Precise and not any(totals[k][g].is_finite() for k, g in doubted)
            suspects = {i for _, g in doubted for i in self._groups[g]}
            if layer is Exact and self.count <= SMALL:
                suspects = set().union(*self._groups)  # what agrees but for the constants' slack is looked at one by one
                break
            rows = sorted({k for k, _ in doubted})
            failed = any(outcomes[key] is False for key in doubted)
            if not rows or (failed and layer is Exact):
                break
        still = np.flatnonzero(self._direction == 0).tolist()
        if failed and not (still or self._doubtful) and self.count > self.options.most_entries:
            settled = self._beside_columns(shadows)
            if settled:
                return settled
        truths: list[list[Truth | Ball]] = [list(found) for found in shadows]
        if self._lost and self._marks:
            rows, suspects = sorted({*rows, *self._lost}), set().union(*self._groups)
        if rows or still:
            self._take_apart(rows, still, sorted(suspects), shadows, truths)
        return truths

    def _beside_columns(self, shadows: Sequence[Sequence[Ball]]) -> list[Any]:
        """The exact side of a large map of which balls know J'v, but not that it is the derivative, from a run of the forward
        pass on columns; nothing where there is none, or nothing wrong is found."""
        return []

    def _ask(self, k: int, direction: Floats, total: Ball) -> None:
        """Ask a quotient about a derivative that is not autograd's for certain, before more entries are looked at. Where it
        sides with autograd, the exact side is of another function than torch runs, and nothing is known of the row's
        entries that the direction moves."""
        if not self._asks(k) or not self._telling(k, direction, total):
            return
        found = self._finite(k)
        text = Asked(self.plain, self.options, self.rows[k], found, direction, float(total)).sides(self.whose)
        if text is None:
            return
        with working(DIRECTIONS[0]):  # constants may explain it
            meant = self.paired(self.rows[k], self.along([direction], Kept)[0], slope)
        products = found * direction
        if not meant.is_finite():
            self._loose.add(k)
        elif abs(meant - float(np.sum(products))) > COARSE * math.hypot(*products.tolist()):
            self._doubtful[k] = Truth(Kind.UNKNOWN, text=text)

    def _asks(self, k: int) -> bool:
        """Whether there is anything to ask of a row."""
        return self.own and self.orders is None and k not in self._doubtful and k not in self._loose

    def _finite(self, k: int) -> Floats:
        """Autograd's numbers in a row, 0 for those that are none."""
        return np.where(np.isfinite(self._floats[k]), self._floats[k], 0.0)

    def _telling(self, k: int, direction: Floats, total: Ball) -> bool:
        """Whether a quotient along a direction can tell its derivative from autograd's."""
        products = self._finite(k) * direction
        known = total is not None and total.is_finite()
        return known and abs(float(total) - float(np.sum(products))) > COARSE * math.hypot(*products.tolist())

    def _ask_each(self, k: int, entries: Sequence[int], truths: Sequence[Truth | Ball]) -> None:
        """The same of single entries; TOGETHER of them at once where that confirms them all."""
        exact = {i: ball for i in entries if self._telling(k, self._unit(i), ball := regular(truths[i]).ball)}
        found = self._finite(k)
        for some in _chunks(sorted(exact, key=lambda i: abs(float(exact[i]) - found[i])), TOGETHER):
            if len(some) == 1 or not self._borne_out(k, {i: float(exact[i]) for i in some}):
                for i in some:
                    self._ask(k, self._unit(i), exact[i])

    def _unit(self, i: int) -> Floats:
        direction = np.zeros(self.count)
        direction[i] = 1.0
        return direction

    def _borne_out(self, k: int, exact: Mapping[int, float]) -> bool:
        """Whether one quotient has what is exact of some entries. Each differs from autograd's in one sense, by 1 to 2:
        whichever of them were autograd's after all, it would be seen."""
        found, direction = self._finite(k), np.zeros(self.count)
        some = list(exact)
        off = np.array(list(exact.values())) - found[some]
        with np.errstate(all="ignore"):
            direction[some] = draws(self.options.seed, self._inputs(), off).uniform(1.0, 2.0, len(some)) / off
        total = float(np.sum(direction[some] * np.array(list(exact.values()))))
        if not self._asks(k) or not math.isfinite(total) or not np.isfinite(direction).all():
            return False
        return Asked(self.plain, self.options, self.rows[k], found, direction, total).confirm(1.0)

    def _narrowed(self, filter: Filter, found: Sequence[Shades]) -> list[Truths]:
        """The exact side of a large map of which columns know J'v, `found`, but not that it is the derivative: they settle what
        is right, and what single entries are that disagree for certain, which the second witness, in balls, has to confirm as
        it has any; nothing else is examined. Nothing, if none of these is wrong."""
        numbers, noise, zeros = filter.split(self._direction, found)
        groups = [Group(numbers, SENSITIVE / TERM), Group(noise, HEARD, False), Group(zeros, SENSITIVE / TERM)]
        seen = narrowed(lambda u: filter.each(u, self.rows), found, groups, self.spans, self.form.bits + UNBOUNDED)
        self.sensitivity = max(self.sensitivity, seen.reach * TERM)
        wrong = dict(sorted(seen.wrong.items(), key=lambda each: -each[1].off)[:LAYERS])
        truths = [certified(shades.exact, right) for shades, right in zip(found, seen.right, strict=True)]
        for known, right in zip(truths, seen.right, strict=True):
            known.nowhere = _UNEXAMINED
            known.exclude(~right)
        self._truths = truths
        located: list[list[int]] = [[] for _ in self.rows]
        unknown = sorted({w.entry for w in wrong.values() if not w.sharp})
        series = {i: totals for (i,), _, totals in self._parts([[i] for i in unknown], range(len(self.rows)))}
        for (k, name), one in wrong.items():
            i = one.entry
            with working(DIRECTIONS[0]):
                truths[k][i] = self._single(k, self._unit(i), series[i][k]) if i in series else one.exact
            if self._far(k, i, truths[k][i], one.shadow):
                self._located.add((k, name))
                located[k].append(i)
        if not self._located:
            return []
        for k, some in enumerate(located):
            self._witness(k, sorted(some))
        return truths

    def _witness(self, k: int, some: Sequence[int]) -> None:
        """Have the second witness look at some entries of a row at once, whichever inputs they belong to."""

    def _unfollowed(self) -> list[list[Truth | Ball]]:
        """The exact side where the shadow of the backward pass can't be trusted: entry by entry; unknown where the forward pass
        can't be either."""
        if self._unknown is not None:
            unknown = Truth(Kind.UNKNOWN, text=self.opaque(self._unknown))
            return [[unknown] * self.count for _ in self.rows]
        nothing: list[list[Ball]] = [[NAN] * self.count for _ in self.rows]
        truths: list[list[Truth | Ball]] = [list(found) for found in nothing]
        self._drawn, self._precise = (np.ones(self.count), []), nothing
        self._take_apart(range(len(self.rows)), (), range(self.count), nothing, truths)
        return truths

    def _both_sides(self, layer: type[Exact], rows: Sequence[int]) -> tuple[dict[int, list[Ball]], dict[int, list[Ball]]]:
        """<v, J u> from series for each group, and J'v from the shadow, for some rows."""
        chosen, directions = [self.rows[k] for k in rows], [self._only(group) for group in self._groups]
        with terms(2):
            moving_inputs = [self.moved(u) for u in directions] if self.own else []
            series = Directional if layer is Precise or self.stated else Meant
            kept: list[Layer] = [layer(), *([Rounded(self.form)] if self._nodes >= MANY and layer is Precise else [])]
            layers = [*kept, *(series() for _ in moving_inputs)]
            run = self.runs.backward(layers, [*[self.runs.exact] * len(kept), *moving_inputs], chosen, kept=len(kept))
        outputs = run.outputs[len(kept) :] or self.along(directions, series)
        totals = {k: [self.paired(self.rows[k], cells, slope) for cells in outputs] for k in rows}
        found = {k: joined(run.gradients[i][0], self.spans) for i, k in enumerate(rows)}
        if len(kept) > 1 and run.eventless:
            self._seen |= {k: Seen(run, found[k], joined(run.gradients[i][1], self.spans)) for i, k in enumerate(rows)}
        return totals, found

    def _only(self, group: Sequence[int]) -> Floats:
        """The direction along some entries."""
        direction = np.zeros(self.count)
        direction[list(group)] = self._direction[list(group)]
        return direction

    def _agreement(
        self, total: Ball, cells: Sequence[Ball], direction: Floats, indices: Sequence[int], known: bool
    ) -> bool | None:
        """Whether <J'v, u> over some entries is `total`: None where the balls can't tell, or (`known`) don't hold each entry to
        TIGHT bits."""
        difference = total - _along(cells, direction, indices)
        if known and difference.contains(0) and not all(tight(cells[i]) for i in indices):
            return None
        return self._nothing(difference, len(indices))

    def _nothing(self, difference: Ball, count: int) -> bool | None:
        """Whether nothing is left of the difference of both sides along so many entries: None where the ball can't tell."""
        if not difference.is_finite():
            return None
        if not difference.contains(0):
            return False
        sensitivity = float(difference.rad()) * TERM
        if sensitivity > SENSITIVE * max(1.0, count / CROWD):
            return None
        self.sensitivity = max(self.sensitivity, sensitivity)
        return True

    def _take_apart(
        self,
        rows: Sequence[int],
        still: Sequence[int],
        suspects: Sequence[int],
        shadows: list[list[Ball]],
        truths: list[list[Truth | Ball]],
    ) -> None:
        """Cut the direction along `suspects` into parts until single entries are left wherever a part isn't certified in one of
        `rows`, and look at the entries `still` in every row.

        Of more entries than are reported, one that is certainly wrong is enough. The others, and those that would take more
        work, are told to be unexamined.
        """
        until = self.work + self.options.effort
        large = self.count > self.options.most_entries
        ways = width = LARGE_WAYS if large else max(LAYERS, SMALL)
        for some in _chunks(still, LAYERS):
            for part, direction, totals in self._parts([[i] for i in some], range(len(self.rows))):
                for k, total in totals.items():
                    self._examine(k, part, direction, total, shadows[k], truths[k])
        waiting: list[_Part] = []
        if rows and suspects:
            waiting.append(_Part(True, 0, 0.0, list(suspects)))
            for k in rows:
                for i in suspects:
                    truths[k][i] = _UNEXAMINED
        located = False
        while waiting and not (large and located) and (self.work < until or not waiting[0].cuts):
            cut: list[tuple[int, list[int]]] = []
            while waiting and len(cut) < width:
                whole = heappop(waiting)
                cut += [(1 - whole.cuts, part) for part in self._split(whole.entries, ways)]
            parts = self._parts([part for _, part in cut], rows)
            singular = [len(part) == 1 and not all(t.is_finite() for t in totals.values()) for part, _, totals in parts]
            begun, left, asked = self.work, sum(singular), dict[int, list[int]]()
            self.expect(0.0 if self.source.opaque else min(left, SINGULAR) * self._least)
            every = sorted(zip(cut, parts, singular, strict=True), key=lambda each: each[2])  # what takes longest comes last
            for (cuts, _), (part, direction, totals), costs in every:
                rows = [k for k in rows if k not in self._doubtful]
                if not rows:
                    return
                found = [self._examine(k, part, direction, totals[k], shadows[k], truths[k]) for k in rows]
                for k, outcome in zip(rows, found, strict=True):
                    if outcome.located and len(part) == 1:
                        asked.setdefault(k, []).append(part[0])
                        if len(asked[k]) == 1:
                            self._ask(k, direction, regular(truths[k][part[0]]).ball)
                if costs:  # limits are taken of each
                    left -= 1
                    self.expect((self.work - begun) / (sum(singular) - left) * left)
                located = located or any(outcome.located for outcome in found)
                if len(part) > 1 and not all(outcome.agrees for outcome in found):
                    unsure = all(outcome.agrees is not False for outcome in found)
                    heappush(waiting, _Part(unsure, -cuts, -max(outcome.off for outcome in found), part))
            for k, entries in asked.items():
                self._ask_each(k, entries[1:], truths[k])

    def _split(self, part: list[int], ways: int) -> list[list[int]]:
        """Single entries; of more than `ways`, that many parts of about one size, none of two inputs if that can be."""
        if len(part) <= ways:
            return [[i] for i in part]
        size = -(-len(part) // ways)
        cuts = list(range(size, len(part), size))
        borders = [bisect_left(part, s.start) for s in self.spans.values() if part[0] < s.start <= part[-1]]
        if borders:
            cuts = sorted({min(borders, key=lambda border: abs(border - cut)) for cut in cuts})
        return [part[start:stop] for start, stop in pairwise([0, *cuts, len(part)])]

    def _parts(self, parts: Sequence[list[int]], rows: Sequence[int]) -> list[tuple[list[int], Floats, dict[int, Ball]]]:
        """Each part with its direction, and the derivatives of some rows along it."""
        directions = []
        for part in parts:
            direction = np.zeros(self.count)
            direction[part] = self._direction[part] if len(part) > 1 else 1.0
            directions.append(direction)
        with working(DIRECTIONS[0]):
            return list(zip(parts, directions, self._slopes(directions, rows, Directional, tight), strict=True))

    def _slopes(
        self, directions: Sequence[Floats], rows: Sequence[int], layer: type[Directional], enough: Callable[[Ball], bool]
    ) -> list[dict[int, Ball]]:
        """The derivatives of some rows along directions: of many from one run that knows all entries', where that is `enough`;
        else along each."""
        found: list[dict[int, Ball]] = [{} for _ in directions]
        if len(directions) >= TAPED and self.orders is None:
            for k in rows:
                known = self._by_entry(k, layer)
                for totals, direction in zip(found, directions, strict=True):
                    totals[k] = _along(known, direction, np.flatnonzero(direction).tolist())
        left = [n for n, totals in enumerate(found) if not totals or not all(map(enough, totals.values()))]
        if self._lost.issuperset(rows):
            return [dict.fromkeys(rows, NAN)] * len(found)
        for n, outputs in zip(left, self.along([directions[n] for n in left], layer), strict=True):
            found[n] = {k: self.paired(self.rows[k], outputs, slope) for k in rows}
        return found

    def _by_entry(self, k: int, layer: type[Directional]) -> list[Ball]:
        """A row's derivatives by all entries; nan where a decision hangs on some."""
        run = layer, precision()
        if run not in self._taped:
            self._taped[run] = self.taped(layer)
        if (k, *run) not in self._entries:
            inputs, outputs = self._taped[run]
            self._entries[k, *run] = derivatives(self.paired(self.rows[k], outputs, _itself), inputs)
        return self._entries[k, *run]

    def _examine(
        self, k: int, part: list[int], direction: Floats, total: Ball, shadow: list[Ball], truths: list[Truth | Ball]
    ) -> _Outcome:
        """Whether the shadow's entries are right in one row, whose derivative along the part is `total`; enters what is known
        of them."""
        precise = self._precise[k] if self._precise else shadow
        with working(DIRECTIONS[0]):
            agrees = self._agreement(total, shadow, direction, part, known=shadow is precise)
            if agrees is None and self._agreement(total, precise, direction, part, known=True):
                agrees, shadow = True, precise  # as the code has it; what its constants may mean as well only blurs that
            along = _along(shadow, direction, part)
            off = abs(total - along)
        name, far = self._input(part), False
        if len(part) == 1:
            truths[part[0]] = self._single(k, direction, total)
            far = self._far(k, part[0], truths[part[0]], shadow[part[0]])
        elif agrees:
            for i in part:
                truths[i] = shadow[i]
        if name and far:
            self._located.add((k, name))
        elif name and agrees is False:
            self._wrong.setdefault((k, name), []).append(_Wrong(part, total, along))
        return _Outcome(agrees, float(off.mid()) if off.is_finite() else 0.0, far)

    def _input(self, part: Sequence[int]) -> str | None:
        """The input that all entries of a part belong to, if it is one."""
        return next((n for n, s in self.spans.items() if s.start <= part[0] and part[-1] < s.stop), None)

    def _far(self, k: int, index: int, found: Truth | Ball, shadow: Ball) -> bool:
        """Whether an entry is different for certain: torch's number isn't the derivative, nor is the shadow's; where that isn't
        known, more than rounding is missing."""
        truth = regular(found)
        number = None if self._missing[k, index] else float(self._floats[k, index])
        plain = judge_plainly(number, truth, self.form, self.options.limits)
        if plain is not None and plain.cause is not Cause.NO_GRADIENT:
            return False
        if truth.kind is not Kind.REGULAR or number is None or not math.isfinite(number):
            return True
        if shadow.is_finite():
            return not shadow.overlaps(truth.ball)
        return bool(abs(truth.ball - number) > abs(truth.ball) * self.form.unit_roundoff**0.25)

    def _accused(self, k: int, name: str) -> dict[int, str]:
        """Where an input's gradient is wrong in one row, and no entry was found that is: the smallest part that disagrees for
        certain, by its first entry, with what to say of it. As with entries: not on one witness, nor for rounding."""
        wrong = [w for w in self._wrong.get((k, name), ()) if any(self._truths[k][i] is _UNEXAMINED for i in w.part)]
        if not wrong or (k, name) in self._located:
            return {}
        worst = min(wrong, key=lambda w: len(w.part))
        direction, row, limits = self._only(worst.part), self.rows[k], self.options.limits
        floats = self._floats[k, worst.part] * direction[worst.part]
        value, size, weight = float(np.sum(floats)), float(np.sum(np.abs(floats))), float(np.sum(np.abs(direction)))
        with working(DIRECTIONS[0]):
            kept = self.paired(row, self.along([direction], Kept)[0], slope)
            off = float(abs(kept - value).lower())
        ulps = off / (2 * self.form.unit_roundoff * size) if size else math.inf
        allowed = limits.allow(off / weight, size / weight, ulps) if limits.given else not ulps > QUICK
        if allowed or kept.overlaps(worst.shadow):
            return {}
        with working(QUOTIENT):
            reads = [(lambda cells: self.paired(row, cells, value_of), worst.exact, abs(worst.exact) + size + FLOOR)]
            if not confirms(self, direction, reads, self.ahead(row.name)):
                return {}
        text = (
            f"of {len(worst.part):,} entries, of which this is the first, some are certainly wrong: weighted by seeded numbers "
            f"autograd is {value:.6g}, exact {float(worst.exact):.6g}; they were not examined one by one"
        )
        return {worst.part[0] - self.spans[name].start: text}

    def _single(self, k: int, direction: Floats, total: Ball) -> Truth | Ball:
        """The exact side of one entry of one row: the series along it, else limits from both sides."""
        row = self.rows[k]
        for bits in DIRECTIONS if k not in self._lost else ():
            if bits > DIRECTIONS[0]:
                with working(bits):
                    total = self.paired(row, self.along([direction])[0], slope)
            if tight(total):
                return total
        return self._limits(k, direction)

    def _limits(self, k: int, direction: Floats) -> Truth:
        """The derivative of one row along a direction, from both sides."""
        row = self.rows[k]
        return self.singular(direction, lambda cells: self.paired(row, cells, value_of), row.name)


def _near(floats: Floats, known: Floats) -> bool:
    """Whether all of torch's numbers are near to what is known."""
    return bool((np.abs(floats - known) <= COARSE * np.abs(known)).all())


def _by_an_ulp(x: Tensor) -> Tensor:
    """Numbers moved by an ulp, every other one downwards."""
    ends = torch.full_like(x, torch.inf)
    ends.view(-1)[1::2] = -torch.inf
    return torch.nextafter(x, ends)


def _itself(cell: Any) -> Any:
    """A cell as it is."""
    return cell


def _chunks(indices: Sequence[int], size: int) -> Iterable[Sequence[int]]:
    return (indices[start : start + size] for start in range(0, len(indices), size))


def _along(cells: Sequence[Ball], direction: Floats, indices: Sequence[int]) -> Ball:
    """<cells, u> over some entries."""
    steps = direction[list(indices)].tolist()
    return sum((cells[i] * u for i, u in zip(indices, steps, strict=True)), ZERO)


_UNEXAMINED = Truth(Kind.UNKNOWN, text=UNEXAMINED)

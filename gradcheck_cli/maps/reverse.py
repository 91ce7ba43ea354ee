"""Every entry of a map's derivative, judged: cotangents pulled back by torch, against power series carried forward.

The forward pass runs once under the shadow with a layer of power series along a direction u: J u, certified, and no rule of
torch's backward passes takes part. The backward pass runs under the shadow in exact balls: J'v as autograd's own operations
give it. If <v, J u> = <J'v, u> for a u with random 20-bit entries, scaled so that all terms are of one size, then all entries
of J'v are right but for a chance of about 2**-20 for each direction (a wrong J'v agrees on a hyperplane only; Schwartz, J. ACM
27, 1980), and stand as the exact values. Where it fails, the direction is cut into parts until single entries are left: the
series along one entry is its exact value, and a difference quotient at 1,600 bits is the second witness. The search follows
parts that disagree for certain before those that can't be told; where one can't be cut down to an entry, it is itself what is
wrong, and the quotient along it the witness.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, partial
from heapq import heappop, heappush
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from gradcheck_cli.algebra.directions import Directional, Kept, Meant, Precise, slope, value_of
from gradcheck_cli.algebra.layers import Exact, Layer
from gradcheck_cli.algebra.number import NAN, ZERO, Ball, working
from gradcheck_cli.algebra.precision import DIRECTIONS, QUOTIENT
from gradcheck_cli.algebra.series import terms
from gradcheck_cli.exact.values import TINY
from gradcheck_cli.floats import Floats, pieces
from gradcheck_cli.maps.autograd import Pulled
from gradcheck_cli.maps.columns import FARTHEST, LEAST, Filter, certified
from gradcheck_cli.maps.guard import Judged, guard_rows
from gradcheck_cli.maps.map import Map, Row, Tensors, draws, run
from gradcheck_cli.maps.poles import AT_A_POLE, UNDECIDED, infinite, set_aside, told, without
from gradcheck_cli.maps.probe import DRAWN, FLOOR, LAYERS, UNFAITHFUL, Probe
from gradcheck_cli.maps.runs import Cells, Followed, flat, layers_of, numpy, unlimited
from gradcheck_cli.maps.second import confirms, doubted
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.entries import OF_TENSORS, Evidence
from gradcheck_cli.verdict.judge import QUICK, judge_plainly
from gradcheck_cli.verdict.shade import Shade, Shades
from gradcheck_cli.verdict.truth import Kind, Truth, regular
from gradcheck_cli.verdict.verdicts import Cause

ATTEMPTS: tuple[tuple[int, type[Exact]], ...] = (
    (DIRECTIONS[0], Precise),
    (DIRECTIONS[0], Exact),
    (DIRECTIONS[1], Precise),
    (DIRECTIONS[1], Exact),
)
"""Constants of the code at first as the floats that they are; then as what their author may have meant by them."""

LARGE_WAYS = 2
"""Parts into which a direction with more entries than are reported is cut: one wrong entry is wanted, not all."""

SMALL = 64
"""Inputs with at most so many entries are taken apart wherever constants leave any slack."""

SENSITIVE = 1e-13
"""Relative error of one entry that a direction must be able to show before it certifies."""

CROWD = 100
"""Entries of a direction that share this error; of more, it grows with their number."""

TIGHT = 70
"""Bits of a certified entry; below TINY it rounds to 0 in every format."""


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

    part: list[int]
    exact: Ball
    shadow: Ball


class Reverse(Probe):
    """Rows pulled back by torch, in a mode that runs backwards."""

    def check(self) -> list[Column]:
        """The columns of all rows, input by input."""
        outputs, pull = run(self.map, self.map.leaves(), self.mode)
        left: dict[int, Row] = {}
        if self.orders is None:
            found = infinite(self.source, outputs, self.form)
            self.notes += [found.overflowed] if found.overflowed else []
            if found.poles:
                self.rows, left = without(self.rows, found.poles)
                self.notes += [told(found, outputs)] if left else []
            apart = UNDECIDED if found.doubtful else AT_A_POLE
        self._pulled = [pull(row) for row in self.rows]
        shape = (len(self.rows), self.count)
        self._floats, self._missing = np.empty(shape), np.zeros(shape, dtype=bool)
        for k, pulled in enumerate(self._pulled):
            self._enter(k, pulled)
        self._scales = [float(np.max(np.abs(row), initial=1.0, where=np.isfinite(row))) for row in self._floats]
        self._direction, self._marks = self._drawn()
        self._seen: dict[int, list[Shade]] = {}
        self._outside, self._unknown = self.outside(self._derived, [row.cotangents for row in self.rows])
        if self._outside is not None:
            self.runs.opaque[self._outside.what] = None
        self._precise: list[list[Ball]] = []
        self._wrong: dict[tuple[int, str], list[_Wrong]] = {}
        self._located: set[tuple[int, str]] = set()
        self._shades = {} if left else self._settled(outputs)
        if self._shades:
            return self._columns()
        self._truths = self._certified() if self._outside is None and self._unknown is None else self._unfollowed()
        if self.source.numbers and not self.stated:
            self._told()
        strange = self.strange(outputs if self.orders is None else self.orders.map(self.orders.map.leaves()))
        for k, row in enumerate(self.rows if strange else ()):
            touched = (flat(v)[place] for name, v in row.cotangents.items() for place in strange.get(name, ()))
            if self.orders is not None or any(touched):
                self._truths[k] = [UNFAITHFUL] * self.count
        for k, row in left.items():
            set_aside(self._truths[k], self._floats[k], self._joined(pull(row)), apart)
        return self._columns()

    def _columns(self) -> list[Column]:
        return [self._column(k, name) for k in range(len(self.rows)) for name, x in self.map.inputs.items() if x.numel()]

    def guard(self, columns: Sequence[Column]) -> None:
        rest = iter(columns)
        guard_rows(
            self.plain,
            self.options,
            [
                Judged(
                    row,
                    {name: next(rest) for name, x in self.map.inputs.items() if x.numel()},
                    np.where(absent, 0.0, found) if absent.any() else found,
                    pulled.refusal is not None,
                )
                for row, pulled, found, absent in zip(self.rows, self._pulled, self._floats, self._missing, strict=True)
            ],
            self.spans,
            trusted=self.stated,
            whose=self.whose,
            deeper=None if self.orders is None else partial(self.deeper, _added),
        )

    def _derived(self, map: Map) -> list[Tensor | None]:
        _, pull = run(map, map.leaves(), self.mode)
        return [g for row in self.rows for g in pull(row).gradients.values()]

    def _column(self, k: int, name: str) -> Column:
        x, span, row = self.map.inputs[name], self.spans[name], self.rows[k]
        known = Evidence(
            shade=lambda i: self._followed(k)[span.start + i],
            doubted=lambda some, balls: doubted(lambda s, b: self._confirm(k, [span.start + i for i in s], b), some, balls),
            meant=lambda some: self._meant(k, [span.start + i for i in some]),
            refusal=self._pulled[k].refusal,
            scale=self._scales[k],
            around=lambda i, number: self.around(self._unit(span.start + i), row, number),
        )
        floats = None if self._pulled[k].gradients[name] is None else self._floats[k, span]
        column = self.blank(row.of or row.name, name, x, numpy(x), row.by)
        if self._shades:
            exact = certified(self._shades[True][k].exact.pick(span))
            return self.judged(column, OF_TENSORS, floats, exact, known, shades=lambda limited: self._sifting(k, span, limited))
        return self.judged(column, OF_TENSORS, floats, self._truths[k][span], known, accused=self._accused(k, name))

    def _joined(self, pulled: Pulled) -> Floats:
        gradients = [(pulled.gradients[name], x.numel()) for name, x in self.map.inputs.items()]
        return np.concatenate([np.full(n, np.nan) if g is None else numpy(g) for g, n in gradients])

    def _enter(self, k: int, pulled: Pulled) -> None:
        """What torch gave of a row: its floats, nan where it gave no tensor."""
        for name, span in self.spans.items():
            gradient = pulled.gradients[name]
            self._missing[k, span] = gradient is None
            self._floats[k, span] = np.nan if gradient is None else numpy(gradient)

    @cached_property
    def _groups(self) -> list[list[int]]:
        """The entries of the direction that are looked at together."""
        return [np.flatnonzero(mark).tolist() for mark in self._marks]

    def _drawn(self) -> tuple[Floats, list[npt.NDArray[np.bool_]]]:
        """A direction of odd 20-bit numbers of both signs, scaled by powers of two so that each entry adds a term of about one
        size, and which entries go together: those where torch has a number, and those where it has 0, which the others would
        hide.

        It is 0 where torch's number isn't finite: such entries are looked at one by one. The numbers hang on the inputs and the
        gradients too: see `draws`.
        """
        draw = draws(self.options.seed, self._inputs(), self._floats)
        numbers = (2 * draw.integers(2 ** (DRAWN - 2), 2 ** (DRAWN - 1), self.count) + 1) * draw.choice((-1.0, 1.0), self.count)
        still, nothing = np.zeros((2, self.count), dtype=bool)
        for some in pieces(self.count, len(self.rows)):
            floats = self._floats[:, some]
            finite = np.isfinite(floats)
            sizes = np.max(np.abs(floats), axis=0, initial=0.0, where=finite)
            still[some] = (~finite & ~self._missing[:, some]).any(axis=0)
            nothing[some] = sizes == 0
            numbers[some] = np.ldexp(numbers[some], -np.clip(np.frexp(sizes)[1], -FARTHEST, FARTHEST) - DRAWN)
        numbers[still] = 0.0
        return numbers, [mark for mark in (~still & ~nothing, ~still & nothing) if mark.any()]

    # -- certifying -------------------------------------------------------------------------------------------------

    def _certified(self) -> list[list[Truth | Ball]]:
        """The exact side of every entry of every row."""
        rows, failed = list(range(len(self.rows))) if self._marks else [], False
        shadows: list[list[Ball]] = [[ZERO] * self.count for _ in self.rows]
        self._precise = [[NAN] * self.count for _ in self.rows]
        suspects: set[int] = set()
        for bits, layer in ATTEMPTS if rows else ():
            if failed and layer is Precise:
                continue  # it disagrees for certain: more precision changes nothing
            with working(bits):
                totals, found = self._both_sides(layer, rows)
                outcomes = {
                    (k, g): self._agreement(totals[k][g], found[k], self._direction, group, layer is Precise)
                    for k in rows
                    for g, group in enumerate(self._groups)
                }
            for k in rows:
                shadows[k] = found[k]
                if layer is Precise:
                    self._precise[k] = found[k]
            doubted = [key for key, outcome in outcomes.items() if outcome is not True]
            suspects = {i for _, g in doubted for i in self._groups[g]}
            if layer is Exact and self.count <= SMALL:
                suspects = set().union(*self._groups)  # what agrees but for the constants' slack is looked at one by one
                break
            rows = sorted({k for k, _ in doubted})
            failed = any(outcomes[key] is False for key in doubted)
            if not rows or (failed and layer is Exact):
                break
        truths: list[list[Truth | Ball]] = [list(found) for found in shadows]
        still = np.flatnonzero(self._direction == 0).tolist()
        if rows or still:
            self._take_apart(rows, still, sorted(suspects), shadows, truths)
        return truths

    def _settled(self, outputs: Tensors) -> dict[bool, list[Shades]]:
        """What columns are certain of, under True, if that is every entry of every row."""
        followed = self.own and self.orders is None and self._outside is None and self._unknown is None and not self.map.stops
        if not followed or self.count < LEAST or not self._marks or not self._direction.all():
            return {}
        self._filter = Filter(self.map, outputs, self.form, self.mode, self.options.checkpoint)
        found = self._filter.certified(self.rows, self._direction, self._nothing)
        if found is None:
            return {}
        self.source.held |= self._filter.held
        return {True: found}

    def _sifting(self, k: int, span: slice, limited: bool) -> Shades | None:
        """What columns saw of an input's entries in one row; None where without limits they see nothing."""
        if limited not in self._shades:
            # what is lost to a shorter format, or to a decision by rounding alone, balls tell where
            self._shades[limited] = [] if self._filter.told else self._filter.gradients(self.rows, limited) or []
        return self._shades[limited][k].pick(span) if self._shades[limited] else None

    def _told(self) -> None:
        """Where Python compares numbers, it may do so at a border: quotients from both sides must give what was certified, else
        limits are taken."""
        for k in range(len(self.rows)):
            known = [i for i, truth in enumerate(self._truths[k]) if regular(truth).kind is Kind.REGULAR]
            if known and not self._confirm(k, known, [regular(self._truths[k][i]).ball for i in known]):
                for i in known:
                    self._truths[k][i] = self._limits(k, self._unit(i))

    def _unfollowed(self) -> list[list[Truth | Ball]]:
        """The exact side where the shadow of the backward pass can't be trusted: entry by entry; unknown where the forward pass
        can't be either."""
        if self._unknown is not None:
            unknown = Truth(Kind.UNKNOWN, text=f"opaque: {self._unknown} can't be followed")
            return [[unknown] * self.count for _ in self.rows]
        nothing: list[list[Ball]] = [[NAN] * self.count for _ in self.rows]
        truths: list[list[Truth | Ball]] = [list(found) for found in nothing]
        self._direction, self._precise = np.ones(self.count), nothing
        self._take_apart(range(len(self.rows)), (), range(self.count), nothing, truths)
        return truths

    def _both_sides(self, layer: type[Exact], rows: Sequence[int]) -> tuple[dict[int, list[Ball]], dict[int, list[Ball]]]:
        """<v, J u> from series for each group, and J'v from the shadow, for some rows."""
        chosen, directions = [self.rows[k] for k in rows], [self._only(group) for group in self._groups]
        with terms(2):
            moving_inputs = [self.moved(u) for u in directions] if self.own else []
            series = Directional if layer is Precise or self.stated else Meant
            layers = [layer(), *(series() for _ in moving_inputs)]
            run = self.runs.backward(layers, [self.runs.exact, *moving_inputs], chosen, kept=1)
        outputs = run.outputs[1:] or self.along(directions, series)
        totals = {k: [self.paired(self.rows[k], cells, slope) for cells in outputs] for k in rows}
        return totals, {k: self._cells(run.gradients[i][0]) for i, k in enumerate(rows)}

    def _only(self, group: Sequence[int]) -> Floats:
        """The direction along some entries."""
        direction = np.zeros(self.count)
        direction[list(group)] = self._direction[list(group)]
        return direction

    def _cells(self, gradients: Mapping[str, list[Any] | None]) -> list[Any]:
        found: list[Any] = []
        for name, x in self.map.inputs.items():
            cells = gradients[name]
            found += [ZERO] * x.numel() if cells is None else cells
        return found

    def _agreement(
        self, total: Ball, cells: Sequence[Ball], direction: Floats, indices: Sequence[int], tight: bool
    ) -> bool | None:
        """Whether <J'v, u> over some entries is `total`: None where the balls can't tell, or (`tight`) don't hold each entry to
        TIGHT bits."""
        difference = total - _along(cells, direction, indices)
        if tight and difference.contains(0) and not all(_tight(cells[i]) for i in indices):
            return None
        return self._nothing(difference, len(indices))

    def _nothing(self, difference: Ball, count: int) -> bool | None:
        """Whether nothing is left of the difference of both sides along so many entries: None where the ball can't tell."""
        if not difference.is_finite():
            return None
        if not difference.contains(0):
            return False
        sensitivity = float(difference.rad()) * 4  # a term is at least 1/4 where torch's number isn't 0
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
            for part, direction, outputs in self._parts([[i] for i in some]):
                for k in range(len(self.rows)):
                    self._examine(k, part, direction, outputs, shadows[k], truths[k])
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
            for (cuts, _), (part, direction, outputs) in zip(cut, self._parts([part for _, part in cut]), strict=True):
                found = [self._examine(k, part, direction, outputs, shadows[k], truths[k]) for k in rows]
                located = located or any(outcome.located for outcome in found)
                if len(part) > 1 and not all(outcome.agrees for outcome in found):
                    unsure = all(outcome.agrees is not False for outcome in found)
                    heappush(waiting, _Part(unsure, -cuts, -max(outcome.off for outcome in found), part))

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

    def _parts(self, parts: Sequence[list[int]]) -> list[tuple[list[int], Floats, Cells]]:
        """Each part with its direction, and the outputs' series along it."""
        directions = []
        for part in parts:
            direction = np.zeros(self.count)
            direction[part] = self._direction[part] if len(part) > 1 else 1.0
            directions.append(direction)
        with working(DIRECTIONS[0]):
            return list(zip(parts, directions, self.along(directions), strict=True))

    def _examine(
        self, k: int, part: list[int], direction: Floats, outputs: Cells, shadow: list[Ball], truths: list[Truth | Ball]
    ) -> _Outcome:
        """Whether the shadow's entries are right in one row; enters what is known of them."""
        precise = self._precise[k] if self._precise else shadow
        with working(DIRECTIONS[0]):
            total = self.paired(self.rows[k], outputs, slope)
            agrees = self._agreement(total, shadow, direction, part, tight=False)
            if agrees is None and self._agreement(total, precise, direction, part, tight=True):
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
        for bits in DIRECTIONS:
            if bits > DIRECTIONS[0]:
                with working(bits):
                    total = self.paired(row, self.along([direction])[0], slope)
            if _tight(total):
                return total
        return self._limits(k, direction)

    def _limits(self, k: int, direction: Floats) -> Truth:
        """The derivative of one row along a direction, from both sides."""
        row = self.rows[k]
        return self.singular(direction, lambda cells: self.paired(row, cells, value_of), row.name)

    # -- what the shadow and the second witness say -----------------------------------------------------------------

    def _followed(self, k: int) -> list[Shade]:
        """What the shadow saw of a row."""
        if self._outside is not None:
            return [Shade(NAN, NAN, opaque=(self._outside.what,))] * self.count
        if k not in self._seen:
            for bits in self.precisions:
                with working(bits):
                    run = self._repeated(k, layers_of(self.form))
                    exact, rounded = (self._cells(gradients) for gradients in run.gradients[0])
                    scaled = self._cells(self._repeated(k, unlimited(self.form)).gradients[0][1]) if run.ranged else None
                if all(b.is_finite() for b in exact):
                    break
            self._seen[k] = run.shades(exact, rounded, scaled)
        return self._seen[k]

    def _repeated(self, k: int, layers: Sequence[Layer]) -> Followed:
        return self.runs.backward(layers, [self.runs.exact] * len(layers), [self.rows[k]], kept=len(layers))

    def _meant(self, k: int, indices: Sequence[int]) -> list[Ball]:
        """The exact side of some entries with the slack that the code's constants, and the numbers that it keeps, leave."""
        directions = [self._unit(i) for i in indices]
        with working(DIRECTIONS[0]):
            return [self.paired(self.rows[k], cells, slope) for cells in self.along(directions, Kept)]

    def _unit(self, index: int) -> Floats:
        return np.bincount([index], minlength=self.count).astype(np.float64)

    def _confirm(self, k: int, indices: Sequence[int], balls: Sequence[Ball]) -> bool | None:
        direction, row = self.steps(indices), self.rows[k]
        with working(QUOTIENT):
            products = [ball * float(direction[i]) for i, ball in zip(indices, balls, strict=True)]
            size = sum((abs(p) for p in products), FLOOR)
            reads = [(lambda cells: self.paired(row, cells, value_of), sum(products, ZERO), size)]
            return confirms(self, direction, reads, self.ahead(row.name))


def _added(y: Floats) -> Floats:
    """All outputs added up."""
    return np.asarray(np.sum(y, keepdims=True))


def _tight(cell: Ball) -> bool:
    return bool(cell.is_finite() and (cell.rel_accuracy_bits() >= TIGHT or cell.abs_upper() < TINY))


def _chunks(indices: Sequence[int], size: int) -> Iterable[Sequence[int]]:
    return (indices[start : start + size] for start in range(0, len(indices), size))


def _along(cells: Sequence[Ball], direction: Floats, indices: Sequence[int]) -> Ball:
    """<cells, u> over some entries."""
    steps = direction[list(indices)].tolist()
    return sum((cells[i] * u for i, u in zip(indices, steps, strict=True)), ZERO)


_UNEXAMINED = Truth(Kind.UNKNOWN, text="not examined one by one: others are wrong already, or it takes too much work")

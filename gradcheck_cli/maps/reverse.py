"""Every entry of a map's derivative, judged: cotangents pulled back by torch, against power series carried forward.

The forward pass runs once under the shadow with a layer of power series along a direction u: J u, certified, and no rule of
torch's backward passes takes part. The backward pass runs under the shadow in exact balls: J'v as autograd's own operations
give it. If <v, J u> = <J'v, u> for a u with random 20-bit entries, scaled so that all terms are of one size, then all entries
of J'v are right but for a chance of about 2**-20 for each direction (a wrong J'v agrees on a hyperplane only; Schwartz, J. ACM
27, 1980), and stand as the exact values. Where it fails, the direction is cut into parts until single entries are left: the
series along one entry is its exact value, and a difference quotient at 1,600 bits is the second witness.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from gradcheck_cli.algebra.directions import Directional, Meant, Precise, slope, value_of
from gradcheck_cli.algebra.layers import Exact, Rounded
from gradcheck_cli.algebra.number import NAN, ZERO, Ball, working
from gradcheck_cli.algebra.precision import DIRECTIONS, QUOTIENT
from gradcheck_cli.algebra.series import terms
from gradcheck_cli.exact.values import TINY
from gradcheck_cli.floats import Floats
from gradcheck_cli.maps.autograd import Pulled
from gradcheck_cli.maps.guard import Judged, guard_rows
from gradcheck_cli.maps.map import Map, draws, run
from gradcheck_cli.maps.outside import outside
from gradcheck_cli.maps.probe import DRAWN, FLOOR, LAYERS, UNFAITHFUL, Probe, paired
from gradcheck_cli.maps.runs import Cells, flat, numpy
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.entries import OF_TENSORS, Evidence
from gradcheck_cli.verdict.shade import Shade
from gradcheck_cli.verdict.truth import Kind, Truth

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

FARTHEST = 900
"""Powers of two by which an entry of a direction is scaled at most: it stays a normal double, its DRAWN bits included."""

TIGHT = 70
"""Bits of a certified entry; below TINY it rounds to 0 in every format."""


class Reverse(Probe):
    """Rows pulled back by torch, in a mode that runs backwards."""

    def check(self) -> list[Column]:
        """The columns of all rows, input by input."""
        outputs, pull = run(self.map, self.map.leaves(), self.mode)
        self._pulled = [pull(row) for row in self.rows]
        shape = (len(self.rows), self.count)
        self._floats = np.array([self._joined(p) for p in self._pulled]).reshape(shape)
        self._missing = np.array([self._absent(p) for p in self._pulled], dtype=bool).reshape(shape)
        self._direction, self._groups = self._drawn()
        self._seen: dict[int, list[Shade]] = {}
        self._outside = outside(self.map, self._derived, [row.cotangents for row in self.rows])
        if self._outside is not None:
            self.runs.opaque[self._outside.what] = None
        self._truths = self._certified() if self._outside is None else self._unfollowed()
        strange = self.strange(outputs)
        for k, row in enumerate(self.rows if strange else ()):
            if any(flat(v)[place] for name, v in row.cotangents.items() for place in strange.get(name, ())):
                self._truths[k] = [UNFAITHFUL] * self.count
        return [self._column(k, name) for k in range(len(self.rows)) for name, x in self.map.inputs.items() if x.numel()]

    def guard(self, columns: Sequence[Column]) -> None:
        rest = iter(columns)
        guard_rows(
            self.map,
            self.options,
            [
                Judged(
                    row,
                    {name: next(rest) for name, x in self.map.inputs.items() if x.numel()},
                    np.where(absent, 0.0, found),
                    pulled.refusal is not None,
                )
                for row, pulled, found, absent in zip(self.rows, self._pulled, self._floats, self._missing, strict=True)
            ],
            self.spans,
            trusted=self.runs.formula is not None,
        )

    def _derived(self, map: Map) -> list[Tensor | None]:
        _, pull = run(map, map.leaves(), self.mode)
        return [g for row in self.rows for g in pull(row).gradients.values()]

    def _column(self, k: int, name: str) -> Column:
        x, span, row = self.map.inputs[name], self.spans[name], self.rows[k]
        finite = self._floats[k][np.isfinite(self._floats[k])]
        known = Evidence(
            shade=lambda i: self._followed(k)[span.start + i],
            doubted=lambda some, balls: [] if self._confirm(k, [span.start + i for i in some], balls) else some,
            meant=lambda some: self._meant(k, [span.start + i for i in some]),
            refusal=self._pulled[k].refusal,
            scale=float(np.max(np.abs(finite), initial=1.0)),
        )
        floats = None if self._pulled[k].gradients[name] is None else self._floats[k, span]
        return self.judged(self.blank(row.name, name, x, numpy(x)), OF_TENSORS, floats, self._truths[k][span], known)

    def _joined(self, pulled: Pulled) -> Floats:
        gradients = [(pulled.gradients[name], x.numel()) for name, x in self.map.inputs.items()]
        return np.concatenate([np.full(n, np.nan) if g is None else numpy(g) for g, n in gradients])

    def _absent(self, pulled: Pulled) -> Floats:
        return np.concatenate([np.full(x.numel(), pulled.gradients[n] is None) for n, x in self.map.inputs.items()])

    def _drawn(self) -> tuple[Floats, list[list[int]]]:
        """A direction of odd 20-bit numbers of both signs, scaled by powers of two so that each entry adds a term of about one
        size, and the entries in groups: those where torch has a number, and those where it has 0, which the others would hide.

        It is 0 where torch's number isn't finite: such entries are looked at one by one. The numbers hang on the inputs and the
        gradients too: see `draws`.
        """
        draw = draws(self.options.seed, self._inputs(), self._floats)
        numbers = (2 * draw.integers(2 ** (DRAWN - 2), 2 ** (DRAWN - 1), self.count) + 1) * draw.choice((-1.0, 1.0), self.count)
        finite = np.isfinite(self._floats)
        sizes = np.max(np.where(finite, np.abs(self._floats), 0.0), axis=0, initial=0.0)
        _, exponents = np.frexp(sizes)
        still = (~finite & ~self._missing).any(axis=0)
        direction = np.where(still, 0.0, np.ldexp(numbers, -np.clip(exponents, -FARTHEST, FARTHEST) - DRAWN))
        groups = [np.flatnonzero(~still & (sizes != 0)).tolist(), np.flatnonzero(~still & (sizes == 0)).tolist()]
        return direction, [group for group in groups if group]

    # -- certifying -------------------------------------------------------------------------------------------------

    def _certified(self) -> list[list[Truth | Ball]]:
        """The exact side of every entry of every row."""
        rows, failed = list(range(len(self.rows))) if self._groups else [], False
        shadows: list[list[Ball]] = [[ZERO] * self.count for _ in self.rows]
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

    def _unfollowed(self) -> list[list[Truth | Ball]]:
        """The exact side where the shadow of the backward pass can't be trusted: entry by entry; unknown where the forward pass
        can't be either."""
        assert self._outside is not None
        if self._outside.where == "forward" and self.runs.formula is None:
            unknown = Truth(Kind.UNKNOWN, text=f"opaque: {self._outside.what} can't be followed")
            return [[unknown] * self.count for _ in self.rows]
        nothing: list[list[Ball]] = [[NAN] * self.count for _ in self.rows]
        truths: list[list[Truth | Ball]] = [list(found) for found in nothing]
        self._direction = np.ones(self.count)
        self._take_apart(range(len(self.rows)), (), range(self.count), nothing, truths)
        return truths

    def _both_sides(self, layer: type[Exact], rows: Sequence[int]) -> tuple[dict[int, list[Ball]], dict[int, list[Ball]]]:
        """<v, J u> from series for each group, and J'v from the shadow, for some rows."""
        chosen, directions = [self.rows[k] for k in rows], [self._only(group) for group in self._groups]
        with terms(2):
            moving_inputs = [self.moved(u) for u in directions] if self.runs.formula is None else []
            series = Directional if layer is Precise else Meant
            layers = [layer(), *(series() for _ in moving_inputs)]
            run = self.runs.backward(layers, [self.runs.exact, *moving_inputs], chosen, kept=1)
        outputs = run.outputs[1:] or self.along(directions)
        totals = {k: [paired(self.rows[k], cells, slope) for cells in outputs] for k in rows}
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
        steps = direction.tolist()
        difference = total - sum((cells[i] * steps[i] for i in indices), ZERO)
        if not difference.is_finite():
            return None
        if not difference.contains(0):
            return False
        if tight and not all(_tight(cells[i]) for i in indices):
            return None
        sensitivity = float(difference.rad()) * 4  # a term is at least 1/4 where torch's number isn't 0
        if sensitivity > SENSITIVE * max(1.0, len(indices) / CROWD):
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
        """Cut the direction along `suspects` into parts until single entries are left wherever a part disagrees in one of
        `rows`, and look at the entries `still` in every row. Of more entries than are reported, one is enough; the others are
        told to be unexamined."""
        deadline = time.monotonic() + self.options.patience
        large = self.count > self.options.most_entries
        ways = width = LARGE_WAYS if large else max(LAYERS, SMALL)
        stack = [[i] for i in still]
        if rows and suspects:
            stack.append(list(suspects))
            for k in rows:
                for i in suspects:
                    truths[k][i] = _UNEXAMINED
        located = not rows
        while stack and not (located and (large or time.monotonic() > deadline) and len(stack[-1]) > 1):
            parts: list[list[int]] = []
            while stack and len(parts) < width:
                parts += _split(stack.pop(), ways)
            for part, direction, outputs in self._parts(parts):
                single = len(part) == 1
                concerned = range(len(self.rows)) if single and self._direction[part[0]] == 0 else rows
                wrong = [k for k in concerned if not self._agrees(k, part, direction, outputs, shadows[k], truths[k])]
                if wrong and single:
                    located = located or concerned is rows
                elif wrong:
                    stack.append(part)

    def _parts(self, parts: Sequence[list[int]]) -> list[tuple[list[int], Floats, Cells]]:
        """Each part with its direction, and the outputs' series along it."""
        directions = []
        for part in parts:
            direction = np.zeros(self.count)
            direction[part] = self._direction[part] if len(part) > 1 else 1.0
            directions.append(direction)
        with working(DIRECTIONS[0]):
            return list(zip(parts, directions, self.along(directions), strict=True))

    def _agrees(
        self, k: int, part: list[int], direction: Floats, outputs: Cells, shadow: list[Ball], truths: list[Truth | Ball]
    ) -> bool:
        """Whether the shadow's entries are right in one row; enters what is known of them."""
        with working(DIRECTIONS[0]):
            total = paired(self.rows[k], outputs, slope)
            agrees = self._agreement(total, shadow, direction, part, tight=False)
        if len(part) == 1:
            truths[part[0]] = self._single(k, direction, total)
        elif agrees:
            for i in part:
                truths[i] = shadow[i]
        return bool(agrees)

    def _single(self, k: int, direction: Floats, total: Ball) -> Truth | Ball:
        """The exact side of one entry of one row: the series along it, else limits from both sides."""
        row = self.rows[k]
        for bits in DIRECTIONS:
            if bits > DIRECTIONS[0]:
                with working(bits):
                    total = paired(row, self.along([direction])[0], slope)
            if _tight(total):
                return total
        return self.singular(direction, lambda cells: paired(row, cells, value_of))

    # -- what the shadow and the second witness say -----------------------------------------------------------------

    def _followed(self, k: int) -> list[Shade]:
        """What the shadow saw of a row."""
        if self._outside is not None:
            return [Shade(NAN, NAN, opaque=(self._outside.what,))] * self.count
        if k not in self._seen:
            for bits in DIRECTIONS:
                with working(bits):
                    run = self.runs.backward([Exact(), Rounded(self.form)], [self.runs.exact] * 2, [self.rows[k]], kept=2)
                    exact, rounded = (self._cells(gradients) for gradients in run.gradients[0])
                if all(b.is_finite() for b in exact):
                    break
            self._seen[k] = run.shades(exact, rounded)
        return self._seen[k]

    def _meant(self, k: int, indices: Sequence[int]) -> list[Ball]:
        """The exact side of some entries with the slack that the code's constants leave."""
        directions = [np.bincount([i], minlength=self.count).astype(np.float64) for i in indices]
        with working(DIRECTIONS[0]):
            return [paired(self.rows[k], cells, slope) for cells in self.along(directions, Meant)]

    def _confirm(self, k: int, indices: Sequence[int], balls: Sequence[Ball]) -> bool:
        direction, row = self.steps(indices), self.rows[k]
        with working(QUOTIENT):
            products = [ball * float(direction[i]) for i, ball in zip(indices, balls, strict=True)]
            size = sum((abs(p) for p in products), FLOOR)
            return self.confirms(direction, [(lambda cells: paired(row, cells, value_of), sum(products, ZERO), size)])


def _tight(cell: Ball) -> bool:
    return bool(cell.is_finite() and (cell.rel_accuracy_bits() >= TIGHT or cell.abs_upper() < TINY))


def _split(part: list[int], ways: int) -> list[list[int]]:
    """At most `ways` parts of about one size."""
    size = -(-len(part) // ways)
    return [part[i : i + size] for i in range(0, len(part), size)]


_UNEXAMINED = Truth(Kind.UNKNOWN, text="not examined one by one: other entries of the same input are wrong already")

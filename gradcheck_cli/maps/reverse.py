"""Every entry of a map's derivative, judged: cotangents pulled back by torch, against power series carried forward.

Of up to as many entries as are reported, the forward pass, run under the shadow with numbers that know what they were made
of, has the exact value of each (`algebra.tape`). Of more, where a decision hangs on some of them, or where torch's numbers are
far off, the forward pass runs once under the shadow with a layer of power series along a direction u: J u, certified, and no
rule of torch's backward passes takes part. The backward pass runs under the shadow in exact balls: J'v as autograd's own
operations give it. If <v, J u> = <J'v, u> for a u with random 20-bit entries, scaled so that all terms are of one size, then
all entries of J'v are right but for a chance of about 2**-20 for each direction (a wrong J'v agrees on a hyperplane only;
Schwartz, J. ACM 27, 1980), and stand as the exact values. Where it fails, the direction is cut into parts until single entries
are left: the series along one entry is its exact value, and a difference quotient at 1,600 bits is the second witness. The
search follows parts that disagree for certain before those that can't be told; where one can't be cut down to an entry, it is
itself what is wrong, and the quotient along it the witness.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from gradcheck_cli.algebra.columns.column import Column as Numbers
from gradcheck_cli.algebra.columns.column import ball_of as column_ball
from gradcheck_cli.algebra.columns.column import words_of
from gradcheck_cli.algebra.columns.trust import TRUST
from gradcheck_cli.algebra.columns.words import OPEN
from gradcheck_cli.algebra.directions import Kept, value_of
from gradcheck_cli.algebra.layers import Layer
from gradcheck_cli.algebra.number import NAN, ZERO, Ball, working
from gradcheck_cli.algebra.precision import DIRECTIONS, QUOTIENT
from gradcheck_cli.floats import Floats
from gradcheck_cli.maps.autograd import Pulled, nodes
from gradcheck_cli.maps.columns import LEAST, Filter, certified
from gradcheck_cli.maps.guard import Judged, guard_rows
from gradcheck_cli.maps.map import Map, Row, Tensors, run
from gradcheck_cli.maps.meant import instead, roomier
from gradcheck_cli.maps.outside import UNSEEN, Doubt, moving
from gradcheck_cli.maps.poles import AT_A_POLE, UNDECIDED, infinite, set_aside, told, without
from gradcheck_cli.maps.probe import FLOOR
from gradcheck_cli.maps.runs import Followed, flat, layers_of, numpy
from gradcheck_cli.maps.search import Search
from gradcheck_cli.maps.second import confirms, doubted
from gradcheck_cli.maps.seen import sharply
from gradcheck_cli.pool import empty
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.entries import OF_TENSORS, RESIDUE, Evidence
from gradcheck_cli.verdict.shade import Shade, Shades
from gradcheck_cli.verdict.truth import Kind, Truth, regular
from gradcheck_cli.verdict.truths import Truths, regular_ball

BOTH = 2
"""A forward and a backward pass take so many times what the forward pass takes, or more."""


_NOTHING = 0.0, 0.0, OPEN
"""The words of a number of which nothing is known."""


class Reverse(Search):
    """Rows pulled back by torch, in a mode that runs backwards."""

    _filter: Filter
    _begun: tuple[Tensors, Callable[[Row], Pulled], dict[int, Row], Truth] | None
    """What was begun before the proof."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._seen, self._shades, self._outside, self._unknown = {}, dict[bool, list[Shades]](), UNSEEN, None
        self._nodes, self._proved, self._begun, self._truths = 0, False, None, []
        self._precise, self._wrong, self._located, self._doubtful = [], {}, set(), {}
        self._taped, self._entries, self._rounded = {}, {}, {}
        self._loose, self._lost, self._least = set[int](), set[int](), 0.0
        self._confirmed: dict[tuple[int, int], Ball] = {}
        self._slack: list[Shades] | None = None
        self._suspects: set[tuple[int, int]] = set()

    def check(self) -> list[Column]:
        """The columns of all rows, input by input."""
        if self.truth is self:
            self.prove()
        else:
            self._adopt()
        return [self._column(k, name) for k in range(len(self.rows)) for name, x in self.map.inputs.items() if x.numel()]

    def _adopt(self) -> None:
        """What is meant, proved by itself, is the exact side."""
        outputs, pull = run(self.map, self.map.leaves(), self.mode)
        self.truth.prove()
        self.rows, self._truths = self.truth.rows, self.truth._truths
        self._pulled_back([pull(row) for row in self.rows])
        self._filter = Filter(self.map, outputs, self.form, self.mode, self.options.checkpoint)

    def smooth(self) -> bool:
        """Whether columns are certain of every entry of every row, and nothing is wrong: then the outputs have a derivative
        along a direction in which all entries move, and no number that moves meets its equal."""
        self._begun = self._begin()
        return bool(self._truths) and not self._located

    def _begin(self) -> tuple[Tensors, Callable[[Row], Pulled], dict[int, Row], Truth]:
        """A run, what pulls its rows back, and the poles of these; torch's numbers, and what columns are certain of, are
        entered."""
        outputs, pull = self.ran or run(self.map, self.map.leaves(), self.mode)
        left: dict[int, Row] = {}
        apart = AT_A_POLE
        if self.orders is None:
            found = infinite(self.source, outputs, self.form)
            self.notes += [found.overflowed] if found.overflowed else []
            if found.poles:
                self.rows, left = without(self.rows, found.poles)
                self.notes += [told(found, outputs)] if left else []
            apart = UNDECIDED if found.doubtful else AT_A_POLE
        self._pulled_back([pull(row) for row in self.rows])
        self._nodes = len(nodes(outputs.values())) if self.own else 0
        if self.map.stops or self.stated:
            self._look_outside()
        self._truths = list[Any]() if left else self._settled(outputs)
        return outputs, pull, left, apart

    def prove(self) -> None:
        """The exact side of all rows; once."""
        if self._proved:
            return
        outputs, pull, left, apart = self._begun or self._begin()
        self._proved, self._begun, self.ran = True, None, None  # a graph and all that it holds
        if self._truths and not self._located:
            return
        if not self._truths:
            self._truths = self._certified()
        if self.source.numbers and not self.stated:
            self._told()
        known = self._unknown is None
        strange = self.strange(outputs if self.orders is None else self.orders.map(self.orders.map.leaves())) if known else {}
        self.astray = bool(strange) or not known
        for k, row in enumerate(self.rows if strange else ()):
            touched = (flat(v)[place] for name, v in row.cotangents.items() for place in strange.get(name, ()))
            if self.orders is not None or any(touched):
                self._truths[k] = [self.unfaithful] * self.count
        for k, row in left.items():
            set_aside(self._truths[k], self._floats[k], self._joined(pull(row)), apart)

    @property
    def followed(self) -> Followed | None:
        seen = next((s for s in self._seen.values() if len(s.run.outputs) == len(layers_of(self.form))), None)
        return None if seen is None or seen.run.ranged else seen.run

    def _pulled_back(self, pulled: Sequence[Pulled]) -> None:
        """Enter what torch gave of all rows; nothing is known yet."""
        self._pulled, shape = pulled, (len(self.rows), self.count)
        self._floats, self._missing = empty(*shape), np.zeros(shape, dtype=bool)
        for k, one in enumerate(pulled):
            self._enter(k, one)
        self._scales = [float(np.max(np.abs(row), initial=1.0, where=np.isfinite(row))) for row in self._floats]

    def _look_outside(self) -> None:
        """Look for numbers that come from outside of torch."""
        self._outside, self._unknown = self.outside(self._derived, [row.cotangents for row in self.rows])
        if self._outside is not None:
            self.runs.opaque[self._outside.what] = None

    def guard(self, columns: Sequence[Column]) -> None:
        rest = iter(columns)
        guard_rows(
            self.quotients,
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
            deeper=None if self.truth.orders is None else partial(self.truth.deeper, _added),
            secret=self._secret,
        )

    def _derived(self, map: Map) -> list[Tensor | None]:
        _, pull = run(map, map.leaves(), self.mode)
        return [g for row in self.rows for g in pull(row).gradients.values()]

    def _column(self, k: int, name: str) -> Column:
        x, span, row = self.map.inputs[name], self.spans[name], self.rows[k]
        truth = self.truth
        known = Evidence(
            shade=lambda i: self._shade(k, span.start + i),
            doubted=lambda some, balls: doubted(lambda s, b: truth._confirm(k, [span.start + i for i in s], b), some, balls),
            meant=lambda some: truth._meant(k, [span.start + i for i in some]),
            refusal=self._pulled[k].refusal,
            scale=self._scales[k],
            around=lambda i, number: truth.around(truth._unit(span.start + i), row, number),
        )
        floats = None if self._pulled[k].gradients[name] is None else self._floats[k, span]
        column = self.blank(row.of or row.name, name, x, numpy(x), row.by)
        accused, truths = self._accused(k, name), self._truths[k]
        if not isinstance(truths, Truths):
            return self.judged(column, OF_TENSORS, floats, truths[span], known, accused)
        return self.judged(
            column, OF_TENSORS, floats, truths.part(span), known, accused, lambda limited: self._sifting(k, span, limited)
        )

    def _joined(self, pulled: Pulled) -> Floats:
        gradients = [(pulled.gradients[name], x.numel()) for name, x in self.map.inputs.items()]
        return np.concatenate([np.full(n, np.nan) if g is None else numpy(g) for g, n in gradients])

    def _enter(self, k: int, pulled: Pulled) -> None:
        """What torch gave of a row: its floats, nan where it gave no tensor."""
        for name, span in self.spans.items():
            gradient = pulled.gradients[name]
            self._missing[k, span] = gradient is None
            self._floats[k, span] = np.nan if gradient is None else numpy(gradient)

    # -- certifying -------------------------------------------------------------------------------------------------

    def _settled(self, outputs: Tensors) -> list[Any]:
        """What columns are certain of, if that is every entry of every row; of a large map, or of which entries balls are."""
        if not self._by_columns or self.count < LEAST or not self._marks or not self._direction.all():
            return []
        first = Filter(self.map, outputs, self.form, self.mode, self.options.checkpoint, pace=self.options.pace)
        longer: Filter | None = first
        found, agrees = None, None
        while agrees is None and longer is not None:
            if longer is not first:
                self.expect(BOTH * self.options.least)
            self._filter = longer
            self.options.ahead(0.0, 0.0)
            found = self._filter.certain(self.rows)
            self.options.ahead(0.0, BOTH * self.options.least)
            agrees = None if found is None else self._filter.agrees(found, self.rows, self._direction, self._nothing)
            longer = self._filter.longer()
        truths: list[Truths] = []
        if self._filter.taken is not None and agrees is not None:
            self._outside = moving(
                self.map, *self._filter.taken, self._derived, [v for r in self.rows for v in r.cotangents.values()]
            )
            if self._outside is not None:
                self._look_outside()
                return []
        if found is not None and agrees:
            truths = [certified(shades.exact) for shades in found]
        elif found is not None and agrees is False and self.count > self.options.most_entries:
            truths = self._narrowed(self._filter, found)
        if found is not None and truths:
            self._shades[True], self.seen = found, self._filter.seen
            self.source.held |= self._filter.held
        return truths

    @property
    def _by_columns(self) -> bool:
        """Whether columns have the map's own derivatives."""
        return self.own and self.orders is None and not self.map.stops

    def _beside_columns(self, shadows: Sequence[Sequence[Ball]]) -> list[Any]:
        if not (self._by_columns and self.count >= LEAST and TRUST.sound()):
            return []
        found = [Numbers(*np.array([words_of(b) if b.is_finite() else _NOTHING for b in balls]).T) for balls in shadows]
        truths = self._narrowed(self._filter, [Shades(numbers, np.zeros(self.count)) for numbers in found])
        return truths if self._located else []

    def _sifting(self, k: int, span: slice, limited: bool) -> Shades | None:
        """What columns saw of an input's entries in one row; None where without limits they see nothing."""
        if self.watched is not None:
            stand = self.watched._sifting(k, span, limited)
            return roomier(stand) if stand is not None and self.unlike else stand
        if limited not in self._shades:
            # what is lost to a shorter format, or to a decision by rounding alone, balls tell where
            self._shades[limited] = [] if self._filter.told else self._filter.gradients(self.rows, limited) or []
        if self._shades[limited]:
            return self._shades[limited][k].pick(span)
        if self.truth is self or not self._followed(k, span.start).opaque:
            return None
        found = self.truth._sifting(k, span, limited)
        return None if found is None else roomier(found)

    def _told(self) -> None:
        """Where Python compares numbers, it may do so at a border: quotients from both sides must give what was certified, else
        limits are taken."""
        for k in range(len(self.rows)):
            known = [i for i, truth in enumerate(self._truths[k]) if regular(truth).kind is Kind.REGULAR]
            if known and not self._confirm(k, known, [regular(self._truths[k][i]).ball for i in known]):
                for i in known:
                    self._truths[k][i] = self._limits(k, self._unit(i))

    # -- what the shadow and the second witness say -----------------------------------------------------------------

    def _shade(self, k: int, index: int) -> Shade:
        """What the shadow saw of an entry of a row, or what stands for that."""
        found, truth = self._followed(k, index), regular(self._truths[k][index])
        if self.other is None or not found.opaque or truth.kind is not Kind.REGULAR:
            return found
        return instead(found, self.other._followed(k, index), truth.ball)

    def _followed(self, k: int, index: int) -> Shade:
        """What the shadow saw of an entry of a row."""
        if self.watched is not None:
            return Shade(NAN, NAN, opaque=(self.otherwise,)) if self.unlike else self.watched._followed(k, index)
        if self._outside is UNSEEN:
            self._look_outside()
        if self._outside is not None:
            return Shade(NAN, NAN, opaque=(self._outside.what,))
        known = self._plainly_wrong(k, index)
        if known is not None:
            return known
        if k not in self._seen:
            self.expect(0.0 if k in self._rounded else (1 + BOTH) * self._once)  # in two layers
            own = self.truth is self and self.other is None and self._truths  # what stands for another is asked without them
            truths = [regular_ball(truth) for truth in self._truths[k]] if own else ()
            run = self._rounded.pop(k, None)
            self._seen[k] = sharply(self.form, self.precisions, partial(self._repeated, k), self.spans, truths, run)
            if self.truth is not self and self.strange(self.map(self.map.leaves())):
                self._outside = Doubt("forward", self.otherwise)
                return self._followed(k, index)
        return self._seen[k].shade(index)

    def _plainly_wrong(self, k: int, index: int) -> Shade | None:
        """What columns saw of an entry whose formula is wrong by more than the slack of constants, and all that may excuse an
        error besides."""
        if (k, index) not in self._suspects or self._filter.told:
            return None
        truth = regular(self._truths[k][index])
        if truth.kind is not Kind.REGULAR:
            return None
        if self._slack is None:
            self._slack = self._filter.gradients(self.rows, slack=True) or []
        if not self._slack or self._filter.told:
            return None
        seen = self._slack[k].pick([index])
        exact, reach = seen.exact.ball(0), float(seen.rounded[0])
        least = RESIDUE * float(self.form.ulp(max(abs(float(truth.ball.mid())), self._scales[k])))
        if not (exact.is_finite() and truth.ball.is_finite() and reach < OPEN and abs(exact - truth.ball) > 2 * least):
            return None
        with working(DIRECTIONS[0]):
            return Shade(exact, exact + column_ball(0.0, 0.0, reach))

    def _repeated(self, k: int, layers: Sequence[Layer]) -> Followed:
        return self.runs.backward(layers, [self.runs.exact] * len(layers), [self.rows[k]], kept=len(layers))

    def _meant(self, k: int, indices: Sequence[int]) -> list[Ball]:
        """The exact side of some entries with the slack that the code's constants, and the numbers that it keeps, leave."""
        if all((k, i) in self._suspects for i in indices):
            known = (self._filter.each(self._units(indices), self.rows, slack=True) or [None] * len(self.rows))[k]
            found = [NAN if known is None else known.ball(i) for i in indices]
            shades = [self._plainly_wrong(k, i) for i in indices]
            if all(f.is_finite() and s is not None and not f.overlaps(s.exact) for f, s in zip(found, shades, strict=True)):
                return found  # no slack explains them
        with working(DIRECTIONS[0]):
            directions = [self._unit(i) for i in indices]
            return [found[k] for found in self._slopes(directions, [k], Kept, lambda ball: bool(ball.is_finite()))]

    def _unit(self, index: int) -> Floats:
        return self._units([index])

    def _units(self, indices: Sequence[int]) -> Floats:
        """The direction that moves some entries alike."""
        return np.bincount(indices, minlength=self.count).astype(np.float64)

    def _witness(self, k: int, some: Sequence[int]) -> None:
        self._suspects |= {(k, i) for i in some}
        balls = [regular(self._truths[k][i]).ball for i in some]
        if len(some) > 1 and self._confirm(k, some, balls):
            self._confirmed |= {(k, i): ball for i, ball in zip(some, balls, strict=True)}

    def _confirm(self, k: int, indices: Sequence[int], balls: Sequence[Ball]) -> bool | None:
        if all(self._confirmed.get((k, i)) is ball for i, ball in zip(indices, balls, strict=True)):
            return True
        direction, row = self.steps(indices), self.rows[k]
        with working(QUOTIENT):
            products = [ball * float(direction[i]) for i, ball in zip(indices, balls, strict=True)]
            size = sum((abs(p) for p in products), FLOOR)
            reads = [(lambda cells: self.paired(row, cells, value_of), sum(products, ZERO), size)]
            return confirms(self, direction, reads, self.ahead(row.name))


def _added(y: Floats) -> Floats:
    """All outputs added up."""
    return np.asarray(np.sum(y, axis=-1, keepdims=True))

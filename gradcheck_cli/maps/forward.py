"""Torch's forward mode, and the outputs themselves, judged: against series along the same direction, and against a formula."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from torch import Tensor

from gradcheck_cli.algebra.columns.trust import TRUST
from gradcheck_cli.algebra.directions import Meant, slope, value_of
from gradcheck_cli.algebra.number import NAN, Ball, working
from gradcheck_cli.algebra.precision import DIRECTIONS, QUOTIENT
from gradcheck_cli.floats import Floats
from gradcheck_cli.maps.columns import LEAST, Filter, certain, certified
from gradcheck_cli.maps.guard import guard_pushes
from gradcheck_cli.maps.map import NESTED, Tensors, direction_of, push, size, spans_of
from gradcheck_cli.maps.meant import instead, roomier
from gradcheck_cli.maps.outside import UNSEEN, Doubt, forwards, outside
from gradcheck_cli.maps.poles import settled
from gradcheck_cli.maps.probe import FLOOR, Probe, tight
from gradcheck_cli.maps.runs import Followed, layers_of, numpy, unlimited
from gradcheck_cli.maps.second import Read, confirms, doubted
from gradcheck_cli.maps.seen import Seen, sharply
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.entries import OF_TENSORS, OF_VALUES, Evidence
from gradcheck_cli.verdict.shade import Shade, Shades
from gradcheck_cli.verdict.truth import Kind, Truth, regular
from gradcheck_cli.verdict.truths import Truths
from gradcheck_cli.verdict.verdicts import Verdict

Pushed = tuple[dict[str, Tensor], dict[str, Tensor | None], str | None]
"""What `push` returns."""


class Forward(Probe):
    """The derivative along a seeded direction, in a mode of torch's that runs forwards."""

    _filter: Filter
    _truths: dict[str, Any]

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._sifted: dict[bool, dict[str, Shades]] = {}
        self._seen: Seen | None = None
        self._outside: Doubt | None = UNSEEN
        self._truths = {}
        self._unknown: str | None = None

    @cached_property
    def _along(self) -> dict[str, Tensor]:
        """The direction."""
        return direction_of(self.map.inputs, self.options.seed)

    @cached_property
    def _u(self) -> Floats:
        """All its entries."""
        return np.concatenate([numpy(self._along[name]) for name in self.map.inputs])

    def prove(self) -> Pushed:
        """The exact side of all outputs; returns what torch gave."""
        given = push(self.map, self._along, self.mode)
        outputs, tangents, refusal = given
        self._look_outside()
        whole = refusal is None and None not in tangents.values()
        self._truths = (self._settled(outputs, self._along) if whole else {}) or self._followed_truths(outputs)
        return given

    def _adopt(self) -> Pushed:
        """What is meant, proved by itself, is the exact side."""
        given = push(self.map, self._along, self.mode)
        if not self.truth._truths:
            self.truth.prove()
        self._truths = self.truth._truths
        self._filter = Filter(self.map, given[0], self.form, self.mode, self.options.checkpoint)
        return given

    def _look_outside(self) -> None:
        """Look for numbers that come from outside of torch."""
        self._outside, self._unknown = self.outside(lambda map: push(map, self._along, self.mode)[1].values(), [self._along])
        if self._outside is not None:
            self.runs.opaque[self._outside.what] = None

    def check(self) -> list[Column]:
        """The columns of all outputs."""
        outputs, tangents, refusal = self.prove() if self.truth is self else self._adopt()
        truth = self.truth

        def column(name: str) -> Column:
            tangent = tangents[name]
            if refusal and NESTED in refusal:  # which says nothing of the function
                unasked = self.blank(f"(J u of {name})", "", outputs[name])
                unasked.mark(range(len(unasked)), Verdict.UNDECIDED, f"the function runs forward mode itself; torch: {refusal}")
                return unasked
            known = Evidence(
                shade=lambda i: (
                    self._shade(name, i) if tangent is not None else replace(self._shade(name, i), exact=NAN, rounded=NAN)
                ),
                doubted=lambda some, balls: doubted(lambda s, b: truth._confirm(name, s, b), some, balls),
                meant=lambda some: truth._meant(name, some),
                refusal=refusal,
            )
            blank = self.blank(f"(J u of {name})", "", outputs[name])
            floats = None if tangent is None else numpy(tangent)
            seen = partial(self._sifting, name)
            return self.judged(blank, OF_TENSORS, floats, self._truths[name], known, shades=seen)

        return [column(name) for name, y in outputs.items() if y.numel()]

    def _settled(self, outputs: Tensors, direction: Tensors) -> dict[str, Truths]:
        """What columns are certain of, if that is every entry of every output."""
        followed = self.own and self.orders is None and self._outside is None and self._unknown is None and not self.map.stops
        if not followed or max(self.count, size(outputs)) < LEAST:
            return {}
        self._filter = Filter(self.map, outputs, self.form, self.mode, self.options.checkpoint)
        found = self._filter.pushed(direction)
        if found is None:
            return {}
        (slopes, self._sifted[True]), self.seen = found, self._filter.seen
        self.source.held |= self._filter.held
        return {name: certified(words) for name, words in slopes.items()}

    def _sifting(self, name: str, limited: bool) -> Shades | None:
        """What columns saw of an output's entries; None where without limits they see nothing."""
        if self.watched is not None:
            seen = self.watched._sifting(name, limited)
            return roomier(seen) if seen is not None and self.unlike else seen
        if self.truth._sifted and limited not in self._sifted:
            self._sifted[limited] = {} if self._filter.told else self._filter.tangents(self._along, limited) or {}
        found = self._sifted.get(limited, {}).get(name)
        if found is not None or self.truth is self or not self.truth._sifted or not self._followed(name, 0).opaque:
            return found
        stand = self.truth._sifting(name, limited)
        return None if stand is None else roomier(stand)

    def _shade(self, name: str, index: int) -> Shade:
        """What the shadow saw of an entry, or what stands for that."""
        found, truth = self._followed(name, index), regular(self._truths[name][index])
        if self.other is None or not found.opaque or truth.kind is not Kind.REGULAR:
            return found
        return instead(found, self.other._followed(name, index), truth.ball)

    def _followed(self, name: str, index: int) -> Shade:
        """What the shadow saw of an entry."""
        if self.watched is not None:
            return Shade(NAN, NAN, opaque=(self.otherwise,)) if self.unlike else self.watched._followed(name, index)
        if self._outside is UNSEEN:
            self._look_outside()
        if self._outside is None and self._seen is None:
            outputs = self.map(self.map.leaves())
            self._ends = spans_of(outputs)
            self._seen = sharply(self.form, self.precisions, lambda layers: self.runs.pushed(layers, self._along), self._ends)
            if self.truth is not self and self.strange(outputs):
                self._outside = Doubt("forward", self.otherwise)
        if self._outside is not None or self._seen is None:
            return Shade(NAN, NAN, opaque=(self._outside.what if self._outside else self.otherwise,))
        return self._seen.shade(self._ends[name].start + index)

    def _followed_truths(self, outputs: Tensors) -> dict[str, list[Truth | Ball]]:
        """The same by balls, but for what isn't the function that was followed."""
        found = self._certified(outputs)
        if self.orders is None:
            strange = self.strange(outputs)
            self.astray = bool(strange) or self._unknown is not None
            for name, places in strange.items():
                for place in places:
                    found[name][place] = self.unfaithful
        elif self.strange(self.orders.map(self.orders.map.leaves())):
            return {name: [self.unfaithful] * len(truths) for name, truths in found.items()}
        return found

    @property
    def followed(self) -> Followed | None:
        return None if self._seen is None or self._seen.run.ranged else self._seen.run

    def guard(self, columns: Sequence[Column]) -> None:
        truth = self.truth
        deeper = [truth.deeper(lambda y: y, name) for name in self._truths if self._truths[name]] if truth.orders else []
        guard_pushes(self.map, self.quotients, self.options, columns, self.mode, self._u, deeper)

    def _certified(self, outputs: Tensors) -> dict[str, list[Truth | Ball]]:
        if self._unknown is not None:
            unknown = Truth(Kind.UNKNOWN, text=self.opaque(self._unknown))
            return {name: [unknown] * y.numel() for name, y in outputs.items()}
        found: dict[str, list[Ball]] = {}
        for bits in DIRECTIONS:
            with working(bits):
                (cells,) = self.along([self._u])
                found = {name: [slope(c) for c in cells[name]] for name in outputs}
            if all(b.is_finite() for balls in found.values() for b in balls):
                break
        told = self.source.numbers and not self.stated  # Python may compare them at a border

        def truth(name: str, index: int, ball: Ball) -> Truth | Ball:
            sure = ball.is_finite() and (not told or self._confirm(name, [index], [ball]))
            return ball if sure else self.singular(self._u, _entry(name, index), name, index)

        return {name: [truth(name, i, b) for i, b in enumerate(balls)] for name, balls in found.items()}

    def _meant(self, name: str, indices: Sequence[int]) -> list[Ball]:
        with working(DIRECTIONS[0]):
            (cells,) = self.along([self._u], Meant)
        return [slope(cells[name][i]) for i in indices]

    def _confirm(self, name: str, indices: Sequence[int], balls: Sequence[Ball]) -> bool | None:
        with working(QUOTIENT):
            found = zip(indices, balls, strict=True)
            return confirms(self, self._u, [(_entry(name, i), b, abs(b) + FLOOR) for i, b in found], self.ahead(name))


class Values(Probe):
    """The outputs themselves, against what is meant. `derivative`: what judged the map's derivative, of which what was seen of
    the outputs on the way stands here."""

    other: Values | None

    def __init__(self, *given: Any, derivative: Probe | None = None) -> None:
        super().__init__(*given)
        self._derivative = derivative
        self._sifted = dict[bool, dict[str, Shades]]()
        if derivative is not None and (derivative.watched or derivative).seen:
            self._sifted[True] = self._as_seen(derivative)

    def _as_seen(self, derivative: Probe) -> dict[str, Shades]:
        """What columns saw of the outputs."""
        if derivative.watched is None:
            return derivative.seen
        seen = derivative.watched.seen
        return {name: roomier(shades) for name, shades in seen.items()} if derivative.unlike else seen

    @cached_property
    def _shades(self) -> dict[str, list[Shade]]:
        """What the shadow saw of the map's own operations."""
        derivative = self._derivative
        if derivative is not None and derivative.watched is not None and derivative.unlike:
            sizes = {name: y.numel() for name, y in self.map(self.map.leaves()).items()}
            return {name: [Shade(NAN, NAN, opaque=(derivative.otherwise,))] * size for name, size in sizes.items()}
        seen = None if derivative is None else (derivative.watched or derivative).followed
        if seen is not None:
            return _shades(seen, seen.outputs[0], seen.outputs[1], {})
        traced = self.runs  # which follows the map's own operations backwards, whatever is written
        doubt = outside(self.map, forwards, ())
        if doubt is not None:
            self.runs.opaque[doubt.what] = None
            sizes = {name: y.numel() for name, y in self.map(self.map.leaves()).items()}
            return {name: [Shade(NAN, NAN, opaque=(doubt.what,))] * size for name, size in sizes.items()}
        with working(DIRECTIONS[0]):
            run = traced.backward(layers_of(self.form), [traced.exact] * 2, (), kept=2)
            again = traced.backward(unlimited(self.form), [traced.exact] * 2, (), kept=2) if run.ranged else None
        if self.truth is not self and self.strange(self.map(self.map.leaves())):
            return {name: [Shade(NAN, NAN, opaque=(self.otherwise,))] * len(cells) for name, cells in run.outputs[0].items()}
        return _shades(run, run.outputs[0], run.outputs[1], again.outputs[1] if again else {})

    def check(self) -> list[Column]:
        """The columns of all outputs."""
        outputs = {name: y for name, y in self.map(self.map.leaves()).items() if y.numel()}
        truths = self._proved(outputs) or self._settled() or self._evaluated(outputs)
        self._filter = Filter(self.map, outputs, self.form, self.mode, self.options.checkpoint)
        return [self._judged(name, y, truths[name]) for name, y in outputs.items()]

    def _proved(self, outputs: Tensors) -> dict[str, Truths] | dict[str, list[Truth | Ball]]:
        """What the proof of the derivative knows of every entry of every output of what is meant."""
        proof = None if self._derivative is None else self._derivative.truth
        if proof is None or proof.orders is not None or not proof.told_of_outputs:
            return {}
        if proof.seen:
            sure = all(certain(shades, self.form).all() for shades in proof.seen.values())
            return {name: certified(shades.exact) for name, shades in proof.seen.items()} if sure else {}
        assert proof.source.first is not None
        cells, _ = proof.source.first
        values: dict[str, list[Truth | Ball]] = {name: list(map(value_of, cells[name])) for name in outputs}
        sharp = all(tight(ball) for balls in values.values() for ball in balls)
        return values if sharp and not proof.runs.opaque and not proof.astray else {}

    def _settled(self) -> dict[str, Truths]:
        """What columns are certain of, if that is every entry of every output of code that is meant."""
        outputs = self.truth.map(self.truth.map.leaves())
        if self.truth is self or max(self.count, size(outputs)) < LEAST or not TRUST.sound():
            return {}
        found = Filter(self.truth.map, outputs, self.form, self.mode, self.options.checkpoint).values() or {}
        known = all(certain(shades, self.form).all() for shades in found.values())
        return {name: certified(shades.exact) for name, shades in found.items()} if known else {}

    def _evaluated(self, outputs: Tensors) -> dict[str, list[Truth | Ball]]:
        """The same by balls."""
        lost = {name: ~np.isfinite(numpy(y)) for name, y in outputs.items()}
        runs = self.truth.runs
        values, doubtful = settled(runs, lost, DIRECTIONS[1])
        text = "whether there is a value here can't be decided"
        unknown = Truth(Kind.UNKNOWN, text=self.truth.opaque(", ".join(runs.opaque)) if runs.opaque else text)
        nowhere = unknown if doubtful or runs.opaque else Truth(Kind.OUTSIDE)
        strange = self.truth.strange(self.truth.map(self.truth.map.leaves()))

        def truth(name: str, place: int, value: Ball, seen: float) -> Truth | Ball:
            signed = self.truth.across.get(name, {}).get(place)
            if signed is not None:
                return signed
            if place in strange.get(name, ()):
                return self.truth.unfaithful
            return value if value.is_finite() else unknown if math.isfinite(seen) else nowhere

        numbers = {name: zip(values[name], numpy(y).tolist(), strict=True) for name, y in outputs.items()}
        return {name: [truth(name, i, *pair) for i, pair in enumerate(pairs)] for name, pairs in numbers.items()}

    def _judged(self, name: str, y: Tensor, truths: Truths | list[Truth | Ball]) -> Column:
        found = numpy(y)

        def shade(index: int) -> Shade:
            seen, truth = self._shades[name][index], regular(truths[index])
            if self.other is None or not seen.opaque or truth.kind is not Kind.REGULAR:
                return seen
            return instead(seen, self.other._shades[name][index], truth.ball)

        known = Evidence(
            shade=shade,
            doubted=lambda some, balls: {},  # a value is no derivative: there is nothing to doubt
            scale=float(np.max(np.abs(found[np.isfinite(found)]), initial=1.0)),
        )
        seen = partial(self._sifting, name) if isinstance(truths, Truths) else lambda limited: None
        return self.judged(self.blank(name, "", y), OF_VALUES, found, truths, known, shades=seen)

    def _sifting(self, name: str, limited: bool) -> Shades | None:
        """What columns saw of an output's entries; None where they see nothing."""
        if limited not in self._sifted:
            self._sifted[limited] = {} if self._filter.told else self._filter.values(limited) or {}
        return self._sifted[limited].get(name)


def _entry(name: str, index: int) -> Read:
    return lambda cells: value_of(cells[name][index])


def _shades(
    run: Followed, exact: Mapping[str, Any], rounded: Mapping[str, Any], scaled: Mapping[str, Any]
) -> dict[str, list[Shade]]:
    """What the shadow saw of every entry of every output; None where torch gave no tensor."""
    found = {}
    for name, cells in run.outputs[0].items():
        nothing = [NAN] * len(cells)
        found[name] = run.shades(exact[name] or nothing, rounded[name] or nothing, scaled.get(name))
    return found

"""Torch's forward mode, and the outputs themselves, judged: against series along the same direction, and against a formula."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from gradcheck_cli.algebra.directions import Meant, slope, value_of
from gradcheck_cli.algebra.number import NAN, Ball, working
from gradcheck_cli.algebra.precision import DIRECTIONS, QUOTIENT
from gradcheck_cli.maps.columns import LEAST, Filter, certified
from gradcheck_cli.maps.guard import guard_pushes
from gradcheck_cli.maps.map import NESTED, Tensors, direction_of, push, size, spans_of
from gradcheck_cli.maps.poles import settled
from gradcheck_cli.maps.probe import FLOOR, UNFAITHFUL, Probe
from gradcheck_cli.maps.runs import Followed, Runs, layers_of, numpy, unlimited
from gradcheck_cli.maps.second import Read, confirms, doubted
from gradcheck_cli.maps.seen import sharply
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.entries import OF_TENSORS, OF_VALUES, Evidence
from gradcheck_cli.verdict.shade import Shade, Shades
from gradcheck_cli.verdict.truth import Kind, Truth
from gradcheck_cli.verdict.truths import Truths
from gradcheck_cli.verdict.verdicts import Verdict


class Forward(Probe):
    """The derivative along a seeded direction, in a mode of torch's that runs forwards."""

    def check(self) -> list[Column]:
        """The columns of all outputs."""
        direction = direction_of(self.map.inputs, self.options.seed)
        outputs, tangents, refusal = push(self.map, direction, self.mode)
        self._u = np.concatenate([numpy(direction[name]) for name in self.map.inputs])
        self._outside, self._unknown = self.outside(lambda map: push(map, direction, self.mode)[1].values(), [direction])
        if self._outside is not None:
            self.runs.opaque[self._outside.what] = None
        whole = refusal is None and None not in tangents.values()
        self._sifted: dict[bool, dict[str, Shades]] = {}
        self._truths = (self._settled(outputs, direction) if whole else {}) or self._followed_truths(outputs)
        spans = spans_of({name: y for name, y in outputs.items() if tangents[name] is not None})
        seen = cache(lambda: sharply(self.form, self.precisions, lambda layers: self.runs.pushed(layers, direction), spans))

        def shade(name: str, index: int) -> Shade:
            if self._outside is not None:
                return Shade(NAN, NAN, opaque=(self._outside.what,))
            return seen().shade(spans[name].start + index) if name in spans else Shade(NAN, NAN)

        def column(name: str) -> Column:
            tangent = tangents[name]
            if refusal and NESTED in refusal:  # which says nothing of the function
                unasked = self.blank(f"(J u of {name})", "", outputs[name])
                unasked.mark(range(len(unasked)), Verdict.UNDECIDED, f"the function runs forward mode itself; torch: {refusal}")
                return unasked
            known = Evidence(
                shade=lambda i: shade(name, i),
                doubted=lambda some, balls: doubted(lambda s, b: self._confirm(name, s, b), some, balls),
                meant=lambda some: self._meant(name, some),
                refusal=refusal,
            )
            blank = self.blank(f"(J u of {name})", "", outputs[name])
            floats = None if tangent is None else numpy(tangent)
            sifting = partial(self._sifting, name, direction)
            return self.judged(blank, OF_TENSORS, floats, self._truths[name], known, shades=sifting)

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
        slopes, self._sifted[True] = found
        self.source.held |= self._filter.held
        return {name: certified(words) for name, words in slopes.items()}

    def _sifting(self, name: str, direction: Tensors, limited: bool) -> Shades | None:
        """What columns saw of an output's entries; None where without limits they see nothing."""
        if self._sifted and limited not in self._sifted:
            self._sifted[limited] = {} if self._filter.told else self._filter.tangents(direction, limited) or {}
        return self._sifted.get(limited, {}).get(name)

    def _followed_truths(self, outputs: Tensors) -> dict[str, list[Truth | Ball]]:
        """The same by balls, but for what isn't the function that was followed."""
        found = self._certified(outputs)
        if self.orders is None:
            for name, places in self.strange(outputs).items():
                for place in places:
                    found[name][place] = UNFAITHFUL
        elif self.strange(self.orders.map(self.orders.map.leaves())):
            return {name: [UNFAITHFUL] * len(truths) for name, truths in found.items()}
        return found

    def guard(self, columns: Sequence[Column]) -> None:
        deeper = [self.deeper(lambda y: y, name) for name in self._truths if self._truths[name]] if self.orders else []
        guard_pushes(self.map, self.options, columns, self.mode, self._u, self.stated, self.plain, self.whose, deeper)

    def _certified(self, outputs: Tensors) -> dict[str, list[Truth | Ball]]:
        if self._unknown is not None:
            unknown = Truth(Kind.UNKNOWN, text=f"opaque: {self._unknown} can't be followed")
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
    """The outputs themselves, against the formula."""

    def check(self) -> list[Column]:
        """The columns of all outputs."""
        outputs = self.map(self.map.leaves())
        lost = {name: ~np.isfinite(numpy(y)) for name, y in outputs.items()}
        values, doubtful = settled(self.runs, lost, DIRECTIONS[1])
        unknown = Truth(Kind.UNKNOWN, text="whether there is a value here can't be decided")
        traced = Runs(self.map, None, self.options.checkpoint)
        shades: dict[str, list[Shade]] = {}

        def shade(name: str, index: int) -> Shade:
            if not shades:
                with working(DIRECTIONS[0]):
                    run = traced.backward(layers_of(self.form), [traced.exact] * 2, (), kept=2)
                    again = traced.backward(unlimited(self.form), [traced.exact] * 2, (), kept=2) if run.ranged else None
                shades.update(_shades(run, run.outputs[0], run.outputs[1], again.outputs[1] if again else {}))
            return shades[name][index]

        def column(name: str) -> Column:
            found = numpy(outputs[name])
            truths: list[Truth | Ball] = [
                value if value.is_finite() else unknown if math.isfinite(seen) or doubtful else Truth(Kind.OUTSIDE)
                for value, seen in zip(values[name], found.tolist(), strict=True)
            ]
            known = Evidence(
                shade=lambda i: shade(name, i),
                doubted=lambda some, balls: {},  # a value is no derivative: there is nothing to doubt
                scale=float(np.max(np.abs(found[np.isfinite(found)]), initial=1.0)),
            )
            return self.judged(self.blank(name, "", outputs[name]), OF_VALUES, found, truths, known)

        return [column(name) for name, y in outputs.items() if y.numel()]


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

"""Entries that two numbers don't settle, of all parts of a computation together: columns settle those that they are certain of,
the shadow of balls judges the rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from gradcheck_cli.algebra.columns.trust import TRUST
from gradcheck_cli.algebra.effort import POINT, price
from gradcheck_cli.algebra.number import Ball, working
from gradcheck_cli.algebra.precision import SHADOW
from gradcheck_cli.exact.derivative import LONGEST_CHAIN, chain_formula
from gradcheck_cli.exact.enclosure import MANY, Enclosure
from gradcheck_cli.exact.witness import Witness
from gradcheck_cli.floats import Format
from gradcheck_cli.formulas.alike import STRIDE, STRIDE_MISSING, Gap, courses, gaps, kindred
from gradcheck_cli.formulas.follow import Loop, columns_of, formula, known_loop, loop, many_shades, shades
from gradcheck_cli.formulas.run import Points, Run
from gradcheck_cli.formulas.torch_chain import TorchChain, Wrt
from gradcheck_cli.language.chain import Chain
from gradcheck_cli.language.tree import Call, Constant, Node, walk
from gradcheck_cli.verdict.column import Column, Indices
from gradcheck_cli.verdict.entries import Entries, Evidence
from gradcheck_cli.verdict.judge import judge_plainly
from gradcheck_cli.verdict.limits import Limits
from gradcheck_cli.verdict.shade import Shade, Shades
from gradcheck_cli.verdict.truth import Kind, regular
from gradcheck_cli.verdict.verdicts import Cause, Verdict

COLUMNS_CHUNK = 8_192
"""Points that columns follow at once: what they hold stays in the cache."""

FEWEST = 32
"""Points from which on columns follow a run once more, before balls do."""

SHADOW_CHUNK = 4_096
"""Points that the shadow follows at once; a point costs a few balls for each operation."""

LOOP_CHUNK = 32_768
"""Points that a compiled loop follows at once."""

LOOP_PAYS = 100_000
"""Entries from which on the operations that are followed are compiled, if there is a compiler: that takes 0.5 to 1.2 s, and an
entry costs 6 to 10 us less then."""

TRACED = 64
"""Points with which torch runs when its operations are written down."""

MANY_ALIKE = 512
"""Mismatches from which on those are looked for that are judged with their neighbours."""

PATIENCE = 3
"""Gaps one after the other, from 0 on, over which the second witness may see nothing until it is asked point by point: beyond,
a ball that holds many numbers is too wide for some function."""

POOL = 4 * COLUMNS_CHUNK
"""Entries that wait for each other: torch's operations take their time for one of them too."""


@dataclass
class Waiting:
    """What is left of a part of the points, which begins with number `start`: some of the `entries` of each derivative, with
    indices within the part; and what torch said there, see `computation._Torch`."""

    start: int
    entries: Sequence[Entries]
    indices: list[Indices]
    refusals: Mapping[Wrt, Mapping[int, str]]
    without: Mapping[int, str]
    cut: Mapping[str, None]

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(map(len, self.indices))


class Queue:
    """Entries of a chain's derivatives, which are `columns`, at `points`. `compiled`: what torch runs, as the user typed it."""

    def __init__(
        self, chain: Chain, typed: Chain, compiled: TorchChain, exact: Enclosure, columns: Sequence[Column], points: Points,
        run: Run,
    ) -> None:  # fmt: skip
        self.chain, self.compiled, self.exact = chain, compiled, exact
        self.columns, self.points, self.run = columns, points, run
        self.derivatives = [column.wrt for column in columns]
        self._single = len(next(iter(points.values()))) == 1
        # a single stage is to blame for what is wrong with it
        self._only = chain.output if len(typed.stages) == 1 else None
        self._long = len(typed.stages) > LONGEST_CHAIN
        self._witness = Witness(exact.chain)
        self._layers = [columns_of(compiled, run.form, *kind) for kind in ((True,), (False,), (False, True))]
        self._sifting: list[Waiting] = []
        self._judging: list[Waiting] = []
        self._blind = 0

    def add(self, part: Waiting) -> None:
        """Put a part in the queue; it is taken when enough is together."""
        for entries, indices in zip(part.entries, part.indices, strict=True):
            entries.truths.keep(indices)
        self._sifting.append(part)
        if _total(self._sifting) >= POOL:
            self._sift()
        if _total(self._judging) >= SHADOW_CHUNK:
            self._judge()

    def finish(self) -> None:
        """Judge all that is left."""
        self._sift()
        self._judge()

    def decompile(self) -> None:
        """Add the formula that autograd applies at the first point."""
        for k, column in enumerate(self.columns):
            detail = column.details[0] = replace(column.detail(0))
            detail.autograd_formula = detail.autograd_formula or self._formula(k, 0)

    # -- columns ------------------------------------------------------------------------------------------------------

    def _sift(self) -> None:
        """Take out those that columns are certain of: they match, or are imprecise."""
        parts, self._sifting = self._sifting, []
        allowed = self.compiled.shapes is None and not self.run.callables and TRUST.sound()
        if allowed and _total(parts) >= MANY:
            rest = self._places(parts)
            if len(rest) and (fused := self._loop(parts)) is not None:
                for some in _pieces(rest, LOOP_CHUNK):
                    self._enter(some, parts, fused({name: values[some] for name, values in self.points.items()}), True)
            # what rounding explains; what loses digits without the format's limits; the same with what constants may mean
            for layer, least in zip(self._layers, (FEWEST, FEWEST, MANY_ALIKE), strict=True):
                rest = self._places(parts)
                for some in _pieces(rest, COLUMNS_CHUNK) if len(rest) >= least else ():
                    (batch,) = self.compiled.batches(self.points, some.tolist(), self._single)
                    found = many_shades(self.compiled, self.run.mode, layer, batch, self.derivatives)
                    self._enter(some, parts, found, layer.limited)
        self._judging += [part for part in parts if part.count]
        _released([part for part in parts if not part.count])

    def _places(self, parts: Sequence[Waiting]) -> Indices:
        """The points of some parts' entries, in order, but for those at which torch has no value, or none that is finite of any
        derivative: rounding explains none of these."""
        points = np.concatenate(
            [
                part.start + (some[:0] if entries.floats is None else some[np.isfinite(entries.floats[some])])
                for part in parts
                for entries, some in zip(part.entries, part.indices, strict=True)
            ]
        )
        points = points if len(self.derivatives) == 1 else np.unique(points)
        lost = [part.start + index for part in parts for index in part.without]
        return points[~np.isin(points, lost)] if lost else points

    def _loop(self, parts: Sequence[Waiting]) -> Loop | None:
        """The operations as a compiled loop, where there is one, or where one will pay, as far as these parts tell."""
        asked = self.compiled, self.run.mode, self.run.form
        last = parts[-1]
        seen = last.start + len(last.entries[0].truths) - parts[0].start
        if _total(parts) / seen * len(next(iter(self.points.values()))) < LOOP_PAYS:
            return known_loop(*asked, self.derivatives)
        (batch,) = self.compiled.batches(self.points, self._places(parts)[:TRACED].tolist(), self._single)
        return loop(*asked, batch, self.derivatives)

    def _enter(self, points: Indices, parts: Sequence[Waiting], found: Mapping[Wrt, Shades], limited: bool) -> None:
        """Enter what is certain of what columns found at some points, see `Entries.sift`."""
        self.run.checkpoint()
        for k, wrt in enumerate(self.derivatives):
            for part in parts if wrt in found else ():
                waiting = part.indices[k]
                here = np.searchsorted(points, part.start + waiting)
                asked = np.take(points, here, mode="clip") == part.start + waiting
                if asked.any():
                    asked[asked] = part.entries[k].sift(waiting[asked], found[wrt].pick(here[asked]), limited)
                    part.indices[k] = waiting[~asked]

    # -- balls --------------------------------------------------------------------------------------------------------

    def _judge(self) -> None:
        """Run the shadow over the entries, and judge them."""
        parts, self._judging = {part.start: part for part in self._judging}, []
        waiting: dict[int, list[int]] = {}
        home: dict[int, Waiting] = {}
        for part in parts.values():
            for k, indices in enumerate(part.indices):
                for index in (part.start + indices).tolist():
                    waiting.setdefault(index, []).append(k)
                    home[index] = part
        order = sorted(waiting)
        gaps = self._gaps(order, waiting, home)
        later = {i for gap in gaps for i in gap.between.tolist()}
        self._judge_all([i for i in order if i not in later], waiting, home)
        self._blind = 0
        self._judge_all(sorted(i for gap in gaps for i in self._left(gap, waiting, home)), waiting, home)
        _released(list(parts.values()))

    def _judge_all(self, points: Sequence[int], waiting: Mapping[int, Sequence[int]], home: Mapping[int, Waiting]) -> None:
        for start in range(0, len(points), SHADOW_CHUNK):
            self._judge_at({i: waiting[i] for i in points[start : start + SHADOW_CHUNK]}, home)

    def _gaps(self, order: Sequence[int], waiting: Mapping[int, Sequence[int]], home: Mapping[int, Waiting]) -> list[Gap]:
        """Where points may be judged with both neighbours: one input, one derivative waiting, no code of the user's."""
        ks = {k for some in waiting.values() for k in some}
        plain = self.compiled.shapes is None and not self.run.callables and len(self.points) == 1
        if len(order) < MANY_ALIKE or len(ks) != 1 or not plain or not TRUST.sound():
            return []
        (k,), (values,), points = ks, self.points.values(), np.array(order)
        missing = all(part.entries[k].floats is None for part, _ in _by_part(points, home))
        wrong = [some[part.entries[k].wrong(some - part.start)] for part, some in _by_part(points, home)]
        points = np.concatenate(wrong)
        if len(points) < MANY_ALIKE:
            return []
        found = []
        for some in np.array_split(points[np.argsort(values[points], kind="stable")], -(-len(points) // COLUMNS_CHUNK)):
            (batch,) = self.compiled.batches(self.points, some.tolist(), self._single)
            way = courses(self.compiled, self.run.mode, batch, self.derivatives[k])
            found += gaps(some, values[some], way, STRIDE_MISSING if missing else STRIDE)
        return sorted(found, key=lambda gap: abs(float(values[gap.first])))

    def _left(self, gap: Gap, waiting: Mapping[int, Sequence[int]], home: Mapping[int, Waiting]) -> list[int]:
        """Judge what lies in a gap with its ends; returns what has to be judged alone. The second witness has confirmed both
        ends; it is asked about all that lies between at once or, where such a ball is too wide, about the middle."""
        self.run.checkpoint()
        (k,) = waiting[gap.first]
        like = kindred(self.columns[k], gap)
        if like is None:
            return list(gap.between.tolist())
        left, parts = list[int](), [(part.entries[k], part.start, some) for part, some in _by_part(gap.between, home)]
        # of what columns have no kernels for, a ball that holds many numbers may take seconds
        usual = all(entries.truths.certified[some - start].all() for entries, start, some in parts)
        whole = self._between(gap, self.derivatives[k]) if usual else None
        told = whole is not None and whole.is_finite() and not any(e.meets(some - start, whole) for e, start, some in parts)
        for entries, start, some in parts:
            here = some - start
            if not told and self._doubts(k, entries, start, here[len(here) // 2 :][:1]):
                doubted = self._doubts(k, entries, start, here)
                sure = ~np.isin(here, list(doubted))
                left, here = [*left, *some[~sure].tolist()], here[sure]
            entries.share(here, like)
        return left

    def _doubts(self, k: int, entries: Entries, start: int, here: Indices) -> dict[int, bool]:
        return self._doubted(k, start, here.tolist(), [entries.truth(i).ball for i in here.tolist()])

    def _between(self, gap: Gap, wrt: Wrt) -> Ball | None:
        """What the second witness says of a gap, if anything."""
        if self._blind >= PATIENCE or self.exact.by_series(wrt):
            return None
        first, last = ({name: float(values[i]) for name, values in self.points.items()} for i in (gap.first, gap.last))
        whole = self._witness.between(first, last, wrt)
        self._blind = 0 if whole is not None and whole.is_finite() else self._blind + 1
        return whole

    def _judge_at(self, waiting: Mapping[int, Sequence[int]], home: Mapping[int, Waiting]) -> None:
        """Some entries (point -> which derivatives)."""
        groups: dict[tuple[int, int, str | None], list[int]] = {}
        asked: dict[int, list[int]] = {}
        for index, ks in waiting.items():
            for k in ks:
                part = home[index]
                refusal = part.refusals.get(self.derivatives[k], {}).get(index - part.start)
                groups.setdefault((k, part.start, refusal), []).append(index)
                if refusal is None:
                    asked.setdefault(index, []).append(k)
        seen, cut = self._shades(asked, home)
        for (k, start, refusal), indices in sorted(groups.items(), key=lambda item: item[0][:2]):
            part = home[indices[0]]
            known = Evidence(
                shade=lambda i, k=k, start=start: seen.get((start + i, k)),  # type: ignore[misc]
                doubted=lambda some, balls, k=k, start=start: self._doubted(k, start, some, balls),  # type: ignore[misc]
                cut=cut or tuple(part.cut),
                refusal=refusal,
                stage=self._only,
            )
            part.entries[k].judge([index - start for index in indices], known)
            self._heed_constants(k, indices)
            self._show(k, indices)

    def _heed_constants(self, k: int, indices: Sequence[int]) -> None:
        """Where a decision falls otherwise for constants that are rounded to the format, torch differentiates the formula
        that has these: that is rounding, and no wrong formula."""
        column, form = self.columns[k], self.run.form
        wrong = [i for i in indices if column.cause(i) in (Cause.FORMULA, Cause.KINK) and math.isfinite(column.autograd[i])]
        if not wrong or self._rounded is None:
            return
        points = {name: values[wrong] for name, values in self.points.items()}
        (truths,), _ = Enclosure(self._rounded, [column.wrt], form, len(wrong)).at(points, self.run.checkpoint)
        for index, known in zip(wrong, truths, strict=True):
            plain = judge_plainly(float(column.autograd[index]), regular(known), form, Limits())
            if plain is not None and plain.verdict in (Verdict.MATCH, Verdict.NONDIFFERENTIABLE):
                column.mark([index], Verdict.IMPRECISE, CONSTANTS.format(form.name))

    @cached_property
    def _rounded(self) -> Chain | None:
        """The chain whose constants are those of the format; None where they are already."""
        chain = self.exact.chain
        stages = [replace(s, tree=_in_format(s.tree, self.run.form)) for s in chain.stages]
        same = all(new.tree == old.tree for new, old in zip(stages, chain.stages, strict=True))
        return None if same else replace(chain, stages=tuple(stages))

    def _doubted(self, k: int, start: int, indices: Sequence[int], balls: Sequence[Ball]) -> dict[int, bool]:
        wrt = self.derivatives[k]
        series = not self.exact.by_series(wrt)
        points = ({name: float(values[start + i]) for name, values in self.points.items()} for i in indices)
        found = zip(indices, points, balls, strict=True)
        outcomes = {i: self._witness.confirms(point, wrt, ball, series) for i, point, ball in found}
        return {i: outcome is False for i, outcome in outcomes.items() if not outcome}

    def _show(self, k: int, indices: Sequence[int]) -> None:
        """Add both formulas to what they explain."""
        column = self.columns[k]
        formulas: dict[Cause, str | None] = {}
        for index in indices:
            cause = column.cause(index)
            if cause not in _SHOWN:
                continue
            if cause not in formulas:
                formulas[cause] = self._formula(k, index)
                column.shown = partial(chain_formula, self.chain, column.wrt)
            column.details[index].autograd_formula = formulas[cause]

    def _formula(self, k: int, index: int) -> str | None:
        """The formula that autograd applies, as it shows at one of the points."""
        if self._long:
            return None
        (batch,) = self.compiled.batches(self.points, [index], self._single)
        return formula(self.compiled, self.run.mode, batch, self.derivatives[k])

    def _shades(
        self, waiting: Mapping[int, Sequence[int]], home: Mapping[int, Waiting]
    ) -> tuple[dict[tuple[int, int], Shade], tuple[str, ...]]:
        """What the shadow sees of the entries, at a precision that rises until it is sharp, or costs too much at one point; and
        the operations that cut the graph."""
        seen: dict[tuple[int, int], Shade] = {}
        cut: tuple[str, ...] = ()
        rest = list(waiting)
        for precision in SHADOW:
            if not rest:
                break
            if seen and self.exact.work * price(precision) > POINT:
                # What has no value at a low precision may have one at a higher: that is not known then.
                return {key: shade for key, shade in seen.items() if key[0] not in rest or shade.exact.is_finite()}, cut
            self.run.checkpoint()
            found, cut = self._followed(rest, precision)
            blurred = []
            for position, index in enumerate(rest):
                part = home[index]
                for k in waiting[index]:
                    shade = found[self.derivatives[k]][position]
                    if shade is None:
                        continue
                    seen[index, k] = shade
                    truth = part.entries[k].truth(index - part.start)
                    if truth.kind is Kind.REGULAR and _blurred(shade.exact, truth.ball, self.run.form):
                        blurred.append(index)
            rest = list(dict.fromkeys(blurred))
        return seen, cut

    def _followed(self, indices: Sequence[int], precision: int) -> tuple[dict[Wrt, list[Shade | None]], tuple[str, ...]]:
        batches = self.compiled.batches(self.points, indices, self._single)
        with working(precision):
            return shades(self.compiled, self.run.mode, self.run.form, batches, self.points, self.derivatives)

    def follow(self, indices: Sequence[int], precision: int) -> dict[Wrt, list[Shade | None]]:
        """What the shadow sees of each derivative, and of the value under (), at some points."""
        return self._followed(indices, precision)[0]


CONSTANTS = "as {}, in which torch has it, a constant of the formula lies on another side of this point, or on it"


def _in_format(tree: Node, form: Format) -> Node:
    """The formula with its constants as numbers of a format."""
    done: dict[Node, Node] = {}
    for item in walk(tree):
        done[item] = item
        if isinstance(item, Constant) and isinstance(item.value, float):
            done[item] = Constant(float(form.round(item.value)), item.position)
        elif isinstance(item, Call):
            done[item] = Call(item.function, tuple(done[a] for a in item.arguments), item.position)
    return done[tree]


_SHOWN = (Cause.FORMULA, Cause.NO_GRADIENT, Cause.KINK)


def _by_part(points: Indices, home: Mapping[int, Waiting]) -> list[tuple[Waiting, Indices]]:
    """Some points, by the part that they are in."""
    starts = np.array([home[index].start for index in points.tolist()], dtype=np.int64)
    return [(home[int(points[starts == start][0])], points[starts == start]) for start in np.unique(starts).tolist()]


def _pieces(points: Indices | tuple[()], most: int) -> list[Indices]:
    """Some points in equal pieces of at most so many."""
    return np.array_split(points, -(-len(points) // most)) if len(points) else []


def _released(parts: Sequence[Waiting]) -> None:
    """Nobody judges them any more."""
    for part in parts:
        for entries in part.entries:
            entries.truths.release()


def _total(parts: Sequence[Waiting]) -> int:
    return sum(part.count for part in parts)


def _blurred(shadow: Ball, ball: Ball, form: Format) -> bool:
    """True where more precision may tell: the shadow is not finite, or overlaps the exact value only because it is wide."""
    if not shadow.is_finite():
        return True
    if not shadow.overlaps(ball):
        return False
    return bool(shadow.rad() > abs(ball).abs_upper() * form.unit_roundoff / 16)

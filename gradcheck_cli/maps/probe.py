"""One map's exact side: derivatives along directions from power series, limits where there are none, and difference
quotients as the second witness. No rule of torch's backward or forward mode takes part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import chain
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from torch import Tensor

from gradcheck_cli.algebra.directions import Directional, Moved, Precise, moving, slope, value_of
from gradcheck_cli.algebra.effort import ENTRY, FAILURE
from gradcheck_cli.algebra.layers import Rounded
from gradcheck_cli.algebra.number import NAN, ZERO, Ball, exactly, two_to, working
from gradcheck_cli.algebra.precision import CANCELLED, DIRECTIONS, QUOTIENT, QUOTIENT_STEP
from gradcheck_cli.algebra.series import terms
from gradcheck_cli.algebra.tape import Taped
from gradcheck_cli.exact.kinks import EXPONENTS, limits
from gradcheck_cli.exact.values import NOWHERE, TINY
from gradcheck_cli.floats import FORMATS, Floats
from gradcheck_cli.language.spaces import imag_of, is_imag
from gradcheck_cli.maps.columns import explain
from gradcheck_cli.maps.deeper import Deeper
from gradcheck_cli.maps.held import Held
from gradcheck_cli.maps.map import Map, Ran, Row, Tensors, draws, signs, size, spans_of
from gradcheck_cli.maps.meant import Meant
from gradcheck_cli.maps.orders import Orders
from gradcheck_cli.maps.outside import Derive, Doubt, outside
from gradcheck_cli.maps.quotient import PLAINLY, HeldTo
from gradcheck_cli.maps.runs import Cells, Followed, Pace, Runs, flat, format_of, numpy, unhurried
from gradcheck_cli.maps.second import Read
from gradcheck_cli.maps.symmetric import Symmetrised, said
from gradcheck_cli.shadow.rules import is_symmetric
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.entries import Entries, Evidence, Policy
from gradcheck_cli.verdict.limits import Limits
from gradcheck_cli.verdict.scope import OfTensor, Point, TensorLabels
from gradcheck_cli.verdict.shade import Shades
from gradcheck_cli.verdict.truth import Kind, Truth
from gradcheck_cli.verdict.truths import Truths
from gradcheck_cli.verdict.verdicts import Cause, Verdict

FLOOR = two_to(-300)
"""Size of what counts as nothing: above the quotient's own error, and far below what can be told from 0 beside it."""

DRAWN = 20
"""Bits of a direction's random numbers: a wrong derivative agrees with the right one along it by a chance of 2**-DRAWN."""

LAYERS = 16
"""Directions that one forward pass carries."""

SINGULAR = 64
"""Singular entries of a map whose one-sided derivatives are taken, each with ENTRY's work; of more only while those took no
more than a failure's, all together."""

SINGULAR_AHEAD = 16
"""The same of higher orders, where limits are taken from all sides of several directions."""

AROUND = 26
"""Points beside a singular one at which equal entries are told apart: of three, each has each rank at one of them but for a
chance of 1 in 4,000."""

SIGNED = two_to(-2 * EXPONENTS[-1])
"""How far from a jump a zero lies that has a sign: as far below the shortest step of a limit as that is below 1."""

SHOWN = 20
"""Entries of a large tensor that are reported at most, besides the worst one."""

OTHERWISE = "a function that behaves otherwise where its operations are watched"

UNEXPLAINED = "a kernel that returns something else than its operation"
"""The same numbers, watched or not, and others than what was followed."""

TIGHT = 70
"""Bits of a certified entry; below TINY it rounds to 0 in every format."""

KERNEL = 0.75
"""The share of its digits in which a value that rounding doesn't explain may differ where torch's kernels went another way."""


@dataclass(frozen=True)
class Options:
    """What holds for every map of a run.

    `checkpoint` is called often; it raises where time is up. `ahead` is told the work that is left for certain, and what was
    done since it was told last; it raises where time will be up. `least`: the work that a run of the forward pass takes at
    least, in one layer; `pace`: makes what is called before each operation of such a run, and raises where the rest of it will
    take more time than there is. `most_entries`: of larger tensors only the worst entry, and the
    first ones that don't match, are reported. `effort`: the work for taking one failure apart.
    """

    limits: Limits = field(default_factory=Limits)
    seed: int = 0
    checkpoint: Callable[[], None] = lambda: None
    ahead: Callable[[float, float], None] = lambda left, done: None
    least: float = 0.0
    pace: Pace = unhurried
    most_entries: int = 1000
    effort: float = FAILURE


class Probe:
    """The directions in which a map's inputs move, entry by entry in the inputs' order, and what the outputs make of it.

    `orders`: the map is a derivative of torch's of another one, which has the truth instead of its own operations. `source`:
    the runs that the truth comes from. `other`: the same of what is meant, if anything is; `truth`: whichever of the two knows
    the exact side, that one where code is meant. `watched`: the same of the map that this one is where it is watched, if that
    is another: all that can be seen is seen of it. `seen`: what columns saw of the outputs, where they settled all; `astray`:
    whether these aren't what was followed.
    """

    other: Self | None
    _known: Self | None
    """Whichever of the two knows the exact side; None: itself, which would keep all arrays of a large map until garbage is
    collected."""

    def __init__(
        self,
        map: Map,
        rows: Sequence[Row],
        options: Options,
        kind: str,
        point: Point,
        meant: Meant | None = None,
        mode: str = "reverse",
        orders: Orders | None = None,
    ) -> None:
        self.map, self.rows, self.options, self.kind, self.point = map, rows, options, kind, point
        written = None if meant is None else meant.written
        self.mode, self.runs = mode, Runs(map, written, options.checkpoint, mode, options.ahead, options.least, options.pace)
        self.orders, self.source = orders, self.runs if orders is None else orders.runs
        # whose quotients are taken, and what the reader calls it
        self.function, self.called = (map, PLAINLY) if meant is None or meant.same else (meant.map, meant.name)
        self.other = self._known = None
        self.label = mode  # what is said of the mode
        self.ran: Ran | None = None  # a run that was made already
        self.clean = False  # the forward pass is known to take in nothing from outside of torch that depends on the inputs
        self.otherwise = OTHERWISE if meant is None or not meant.hidden else meant.hidden
        watched: Any = None if meant is None else meant.watched
        self.watched: Self | None = watched if watched is not None and watched.told_of_outputs else None
        self.held, self.seen = meant is not None and meant.held, dict[str, Shades]()
        self.astray = False
        if meant is not None and meant.prover is not None:
            self.other = self._known = meant.prover
        elif meant is not None:
            other: Any = type(self)(meant.map, rows, options, kind, point, None, mode, meant.orders)
            other.called = meant.name
            self.other, self._known = other, None if meant.written is not None else other
        self.form = format_of(map.inputs)
        self.spans, self.count = spans_of(map.inputs), size(map.inputs)
        self.sensitivity = 0.0
        self.symmetrised = Symmetrised()
        self.notes: list[str] = []  # what the reader should know besides
        self._singular, self._limited = 0, 0.0  # entries without a series, and the work of their limits
        self._once = 0.0  # the work of one run of the forward pass
        self.doubtful = False  # torch has no finite value, and whether there is one shows at a higher precision only

    @property
    def truth(self) -> Self:
        """What knows the exact side."""
        return self if self._known is None else self._known

    @property
    def work(self) -> float:
        """What was done so far."""
        own = self.runs.work + (self.source.work if self.source is not self.runs else 0.0)
        return own + (0.0 if self.other is None else self.other.work)

    def expect(self, work: float) -> None:
        """So much is still to be done."""
        if work:
            self.options.ahead(work, 0.0)

    def opaque(self, what: str) -> str:
        """What is said of an exact side that isn't known."""
        return f"opaque: {what}{'' if self.called == PLAINLY else f' of {self.called}'} can't be followed"

    @property
    def precisions(self) -> tuple[int, ...]:
        """At which the shadow is run, in turn, until it is certain."""
        return (*DIRECTIONS, CANCELLED) if self.doubtful else DIRECTIONS

    @property
    def whose(self) -> str:
        """Whose quotients are taken, for the reader."""
        held = ", what it detaches held constant" if self.map.stops else ""
        return self.called + held

    @property
    def triangles(self) -> list[str]:
        """What the reader is to know of operations that read one triangle of a matrix, where that matters."""
        given = any(x.ndim > 1 and min(x.shape[-2:]) > 1 and is_symmetric(x) for x in self.map.inputs.values())
        told = (self.runs.triangles | self.truth.source.triangles).items()
        found = self.symmetrised.found | self.truth.symmetrised.found
        return [said(name, even) for name, even in told if not even or given or name in found]

    @property
    def quotients(self) -> list[HeldTo]:
        """The functions whose difference quotients judged columns are held to: what is meant first, where that is another than
        the one that is judged."""
        if self.truth is self or self.function is self.truth.map:
            return [HeldTo(self.plain, self.whose, not self.stated)]
        return [HeldTo(self.truth.plain, self.truth.whose, True, not self.held), HeldTo(self.plain, self.whose, False)]

    @property
    def plain(self) -> Map:
        """The function for difference quotients."""
        source = self.truth.source
        map = Held(self.function.state).map(self.function) if self.source.held or source.held else self.function
        return self.symmetrised.map(map) if any((self.source.triangles | source.triangles).values()) else map

    def judged(
        self, column: Column, policy: Policy, floats: Floats | None, truths: Truths | Sequence[Truth | Ball], known: Evidence,
        accused: Mapping[int, str] = MappingProxyType({}), shades: Callable[[bool], Shades | None] = lambda limited: None,
    ) -> Column:  # fmt: skip
        """The column of all entries of a tensor, judged. `accused`: entries that stand for a part that is wrong, and what to
        say of it. `shades`: what columns saw, with and without the format's limits."""
        form, options = FORMATS[column.dtype], self.options
        every = slice(0, len(column))
        entries = Entries(column, every, form, policy, options.limits, floats, truths, options.checkpoint)
        waiting = np.asarray(entries.plainly(), dtype=np.int64)
        for limited in (True, False):
            if len(waiting) and (seen := shades(limited)) is not None:
                waiting = waiting[~entries.sift(waiting, seen.pick(waiting), limited)]
        entries.judge(waiting.tolist(), known)
        for index, text in accused.items():
            column.mark([index], Verdict.MISMATCH, text, Cause.FORMULA)
        return column

    def smooth(self) -> bool:
        """Whether it is known beforehand that no number that moves meets its equal."""
        return False

    @property
    def stated(self) -> bool:
        """Whether the exact side is the user's own formula."""
        return self.source.formula is not None

    @property
    def own(self) -> bool:
        """Whether the map's own operations say what its outputs ought to be."""
        return self.source is self.runs and not self.stated and self.truth is self

    def guard(self, columns: Sequence[Column]) -> None:
        """Hold all columns against difference quotients of the plain function."""

    def shown(self, column: Column) -> Column:
        """What is reported of a column: of a large tensor, its worst entries."""
        return column if len(column) <= self.options.most_entries else _worst(column)

    def blank(self, of: str, wrt: str, tensor: Tensor, values: Floats | None = None, before: tuple[str, ...] = ()) -> Column:
        """The column of a tensor's entries: of a derivative of `of` by `wrt` (and by what comes `before`), or of `of` itself
        where that is empty."""
        scope = OfTensor(self.point, TensorLabels(of, wrt, tuple(tensor.shape), before), tuple(tensor.shape))
        names, dtype = (*before, wrt) if wrt else (), format_of({of: tensor}).name
        return Column.blank(
            scope, tensor.numel(), of=of, wrt=names, kind=self.kind, mode=self.label, dtype=dtype, values=values
        )

    def moved(self, direction: Floats, by: Ball = None) -> dict[str, list[Any]]:
        """The inputs' cells: series along `direction`, or balls moved by `by` times it."""
        cells: dict[str, list[Any]] = {}
        for name, span in self.spans.items():
            steps, here = direction[span].tolist(), self.runs.exact[name]
            if by is None:
                cells[name] = [moving(x, exactly(u)) if u else x for x, u in zip(here, steps, strict=True)]
            else:
                cells[name] = [x + by * u if u else x for x, u in zip(here, steps, strict=True)]
        return cells

    def displaced(self, steps: Sequence[tuple[Floats, Ball]]) -> dict[str, list[Any]]:
        """The inputs' cells, moved by steps along directions."""
        found = dict(self.runs.exact)
        for direction, by in steps:
            for name, span in self.spans.items():
                moved = zip(found[name], direction[span].tolist(), strict=True)
                found[name] = [x + by * u if u else x for x, u in moved]
        return found

    def outside(self, derive: Derive, directions: Iterable[Tensors]) -> tuple[Doubt | None, str | None]:
        """What torch took in that no operation has made, and what of that makes the exact side unknown."""
        found = outside(self.map, derive, directions, self.clean)
        forward = found.what if found is not None and found.where == "forward" else None
        if self.stated or (self.orders is not None and not (forward and self.orders.doubtful)):
            return found, None
        return found, forward

    def along(self, directions: Sequence[Floats], layer: type[Directional] = Directional) -> list[dict[str, list[Any]]]:
        """For each direction, the outputs' cells as series."""
        found: list[dict[str, list[Any]]] = []
        with terms(2):
            if self.orders is not None:
                return self.orders.along([self.moved(u) for u in directions], layer)
            begun = self.work
            for start in range(0, len(directions), LAYERS):
                batch = directions[start : start + LAYERS]
                found += self.source.forward([layer() for _ in batch], [self.moved(u) for u in batch])
                self.expect((self.work - begun) / len(found) * (len(directions) - len(found)))
        return found

    def _tapes(self) -> dict[str, list[Any]]:
        """The inputs' cells, which know that they are inputs."""
        return {name: list(map(Taped, balls)) for name, balls in self.runs.exact.items()}

    def taped(self, layer: type[Directional] = Directional) -> tuple[list[Any], Cells]:
        """The inputs' cells and the outputs', which know what they were made of."""
        inputs, begun = self._tapes(), self.work
        with terms(2):
            (outputs,) = self.source.forward([layer()], [inputs])
        self._once = self.work - begun
        return list(chain.from_iterable(inputs.values())), outputs

    def beside(self, cells: Sequence[Cells]) -> list[dict[str, list[Any]]]:
        """What is differentiated, at displaced points: see `Runs.beside`."""
        return self.source.beside(cells) if self.orders is None else self.orders.beside(cells)

    def sided(self, cells: Sequence[Cells]) -> list[dict[str, list[Any]]]:
        """The same, on the side of a jump that torch has: see `across`."""
        outputs = self.beside(cells)
        if self.across:
            for plain, signed in zip(outputs, self.beside(list(map(self._signed, cells))), strict=True):
                for name, places in self.across.items():
                    plain[name] = [signed[name][i] if i in places else cell for i, cell in enumerate(plain[name])]
        return outputs

    @cached_property
    def across(self) -> dict[str, dict[int, Ball]]:
        """The entries of outputs which torch takes for those on one side of a jump, where the function's own lie on another,
        and their values there: on a branch cut a zero has the sign that its float has (IEEE 754-2019, section 9.2.1: atan2 of
        -0.0 and a negative number is -pi), or that an operation gave it (conj)."""
        if self.orders is not None or not any((x == 0.0).any() for x in self._given):
            return {}
        with working(DIRECTIONS[0]):
            own, signed = self.beside([self.runs.exact, self._signed(self.runs.exact)])
        near = partial(_near, radii=0, share=self.form.unit_roundoff**0.5)
        found: dict[str, dict[int, Ball]] = {}
        for name, y in self.map(self.map.leaves()).items():
            numbers = zip(flat(y), own[name], signed[name], strict=True)
            places = {i: b for i, (v, a, b) in enumerate(numbers) if not near(a, v) and b.is_finite() and near(b, v)}
            found |= {name: places} if places else {}
        return found

    def _signed(self, cells: Cells) -> dict[str, list[Any]]:
        """The inputs' cells, zeros of the inputs themselves moved to the side that their sign tells."""
        given = zip(cells.items(), self._given, strict=True)
        signs = {name: np.copysign(x == 0.0, x).tolist() for (name, _), x in given}
        return {
            name: [c + SIGNED * s if s else c for c, s in zip(some, signs[name], strict=True)] for name, some in cells.items()
        }

    def here(self) -> dict[str, list[Any]]:
        """The same at the point, as torch has it."""
        if self.orders is not None:
            return self.orders.here(self.runs.exact)
        outputs = self.function(self.function.leaves())
        return {name: [exactly(v) for v in flat(y)] for name, y in outputs.items()}

    def ahead(self, part: str) -> list[Floats]:
        """The directions along which a row, or an output, is a derivative already."""
        if self.orders is None:
            return []
        still = {name: np.zeros(span.stop - span.start) for name, span in self.spans.items()}
        return [np.concatenate(list((still | dict(d)).values())) for d in self.orders.parts[part].ahead]

    def deeper(self, asked: Callable[[Floats], Floats], part: str) -> Deeper:
        """Quotients of what a row, or an output, is a derivative of."""
        assert self.orders is not None
        plain = self.orders.plain(part, self.map.inputs)
        return Deeper(plain, self.ahead(part), self.options.seed, self.options.checkpoint, asked)

    def paired(self, row: Row, cells: Cells, read: Callable[[Any], Ball]) -> Ball:
        """The number of a row, read from the cells of outputs: <v, y>, which is a cell of its own in higher orders."""
        return paired(row, cells, read) if self.orders is None else read(cells[row.name][0])

    @property
    def followed(self) -> Followed | None:
        """A run of the map in `layers_of` its format, in which no float left that, if there was one."""
        return None

    @property
    def told_of_outputs(self) -> bool:
        """Whether it is known what the map's own operations make of its outputs."""
        return not self.stated and (bool(self.seen) or self.source.first is not None)

    @cached_property
    def unlike(self) -> bool:
        """Whether the outputs are none that rounding explains, of what was seen of the map that this one is where it is
        watched."""
        assert self.watched is not None
        outputs = self.map(self.map.leaves())
        if self.watched.seen:
            return not explain(self.watched.seen, outputs, self.form)
        return bool(self.strange(outputs, self.watched.source))

    def strange(self, outputs: Tensors, source: Runs | None = None) -> dict[str, list[int]]:
        """The entries of torch's outputs (of a run that nothing watched) that aren't what the first run was followed to.

        A formula needs no run that is followed.
        """
        source = source or self.source
        if source.first is None or self.stated:
            return {}
        cells, watched = source.first
        floats = {name: numpy(y) for name, y in outputs.items()}
        half = self.form.unit_roundoff**0.5
        other = {name: ~((watched[name] == y) | (np.isnan(watched[name]) & np.isnan(y))) for name, y in floats.items()}
        suspects = {
            name: [i for i, v in enumerate(y.tolist()) if other[name][i] or not _near(value_of(cells[name][i]), v, 0, half)]
            for name, y in floats.items()
        }
        if not any(suspects.values()):
            return {}
        with working(DIRECTIONS[0]):
            # the first run sees what overflows; beside its layer, rounding would not be followed the way that torch went
            source.forward([Precise()], [source.exact])
            (rounded,) = source.forward([Rounded(self.form)], [source.exact])
        found: dict[str, list[int]] = {}
        for name, some in suspects.items():
            for i in some:
                ball, share = value_of(rounded[name][i]), KERNEL if other[name][i] else 0.5
                if source.overflowed and not floats[name][i] and not other[name][i]:
                    continue  # what is divided by an infinity
                if not ball.is_finite():  # rounding has no bound
                    ball, share = value_of(cells[name][i]), 0.5 if other[name][i] else 0.0
                if not _near(ball, float(floats[name][i]), 4, self.form.unit_roundoff**share):
                    found.setdefault(name, []).append(i)
        if found:
            if self.otherwise is OTHERWISE and not any(other[name][i] for name, some in found.items() for i in some):
                near = partial(_near, radii=4, share=self.form.unit_roundoff**0.5)
                self.otherwise = ": ".join(filter(None, (UNEXPLAINED, source.strayed(self.form, near))))
            self.runs.opaque[self.otherwise] = None
        return found

    @property
    def unfaithful(self) -> Truth:
        """Of what isn't the function that was followed."""
        return Truth(Kind.UNKNOWN, text=f"opaque: {self.otherwise} can't be followed")

    def singular(self, direction: Floats, read: Read, part: str, index: int = 0) -> Truth:
        """A number's derivative along `direction` where no series gives it: from both sides. It is an entry of a part, a row or
        an output."""
        if self.source.opaque and not self.stated:
            return Truth(Kind.UNKNOWN, text=self.opaque(", ".join(self.source.opaque)))
        known = None
        if self.orders is not None:
            with working(DIRECTIONS[0]):
                known = self.orders.borders(self.moved(direction), part, index)
        if known is not None:
            return known
        most = SINGULAR if self.orders is None else SINGULAR_AHEAD
        if self._singular >= most and self._limited > self.options.effort:
            return Truth(Kind.UNKNOWN, text=f"more than {self._singular} singular entries: not examined")
        self._singular += 1
        begun = self.work
        names, lines, scale = _named([*self.ahead(part), direction], self._upright)
        moving_inputs = np.abs(self._inputs()[np.any([line != 0 for line in lines.values()], axis=0)])
        size = float(np.max(moving_inputs, initial=0.0))  # it decides on the precision
        try:
            found = limits(_Line(self, lines, read), dict.fromkeys(lines, size), names, ENTRY, mixed=True)
            if found.kind is Kind.UNKNOWN and self.source.turned:
                return replace(found, text=f"{ROUNDED}: {', '.join(self.source.turned)}")
            return found if scale == 1 else _scaled(found, scale)
        except _Resized:
            return Truth(Kind.UNKNOWN, singular=True, text="an output has another number of entries beside this point")
        finally:
            self._limited += self.work - begun

    def around(self, direction: Floats, row: Row, value: float) -> Truth:
        """A row's derivative along `direction` beside the point, where entries that are equal here aren't: the least and the
        largest at seeded points, until they enclose `value`; and whether the row's own value jumps. None without a derivative
        there either."""
        draw = np.random.default_rng(self.options.seed + 2)
        place = np.arange(1, self.count + 1, dtype=np.float64)
        least = most = NAN
        until = self.work + ENTRY
        with working(QUOTIENT), terms(2):
            for n in range(AROUND):
                away = place if n == 0 else -place if n == 1 else draw.permutation(place) * signs(draw, self.count)
                beside = self.moved(away, two_to(-QUOTIENT_STEP))
                series = {
                    name: [
                        moving(x, exactly(u)) if u else x for x, u in zip(beside[name], direction[span].tolist(), strict=True)
                    ]
                    for name, span in self.spans.items()
                }
                if self.orders is None:
                    layers = [Moved(), Precise(), Directional()]
                    near, here, along = self.source.forward(layers, [beside, self.runs.exact, series])
                else:
                    near, here, along = self.orders.nearby([beside, self.runs.exact, series], row.name)
                apart = self.paired(row, near, value_of) - self.paired(row, here, value_of)
                jump = bool(abs(apart) > two_to(-QUOTIENT_STEP // 2))
                found = self.paired(row, along, slope)
                if found.is_finite():
                    least = found if least.is_nan() or found < least else least
                    most = found if most.is_nan() or found > most else most
                if jump or least <= value <= most or self.work > until:
                    break
        sides = {} if least.is_nan() else {"left": least, "right": most}
        return Truth(Kind.NONDIFFERENTIABLE, **sides, singular=True, jump=jump)

    def longer(self, direction: Floats) -> int:
        """By how many powers of two a direction is longer than the least of the inputs that it moves."""
        inputs = self._inputs()
        moving = (direction != 0) & (inputs != 0) & np.isfinite(inputs)
        exponents = np.frexp(direction[moving])[1] - np.frexp(inputs[moving])[1]
        return int(np.max(exponents, initial=0))

    def steps(self, indices: Sequence[int]) -> Floats:
        """A direction along some entries, each of about its input's own size."""
        draw = draws(self.options.seed + 1, self._inputs())
        x = self._inputs()[indices]
        _, exponents = np.frexp(np.where(np.isfinite(x), x, 0.0))
        direction = np.zeros(self.count)
        direction[indices] = np.ldexp(draw.integers(2 ** (DRAWN - 1), 2**DRAWN, len(indices)) * 2.0**-DRAWN, exponents)
        return direction

    def _upright(self, direction: Floats) -> bool:
        """Whether imaginary parts alone move along a direction."""
        return all(is_imag(name) for name, span in self.spans.items() if direction[span].any())

    def _inputs(self) -> Floats:
        return np.concatenate(self._given)

    @property
    def _given(self) -> list[Floats]:
        """The entries of each input."""
        return [numpy(x) for x in self.map.inputs.values()]


ROUNDED = "rounding alone made a mask, or an index, other than exact arithmetic has it"


class _Resized(Exception):
    """An output has another number of entries at another point."""


class _Line:
    """A number as a function of the distances along directions: what `exact.kinks` takes the limits of."""

    def __init__(self, probe: Probe, lines: Mapping[str, Floats], read: Read) -> None:
        self._probe, self._lines, self._read = probe, lines, read
        self._sizes: dict[str, int] = {}

    @property
    def work(self) -> float:
        return self._probe.work

    def __call__(self, point: Mapping[str, Ball], offsets: Mapping[str, Ball]) -> Ball:
        """At these distances."""
        return self.each(point, [offsets])[0]

    def each(self, point: Mapping[str, Ball], offsets: Sequence[Mapping[str, Ball]]) -> list[Ball]:
        """At several, in one pass."""
        cells = list(map(self._cells, offsets))
        try:
            outputs = self._probe.sided(cells)
        except Exception:  # what the code refuses beside the point (an assertion about its arguments) has no value there
            return [NAN] if len(offsets) == 1 else [self(point, some) for some in offsets]
        for found in outputs:
            sizes = {name: len(values) for name, values in found.items()}
            self._sizes = self._sizes or sizes
            if sizes != self._sizes:
                raise _Resized
        return list(map(self._read, outputs))

    def undefined(self, point: Mapping[str, Ball], offsets: Mapping[str, Ball] = NOWHERE) -> bool:
        """True where it certainly has none, and torch has none either: none at all, or a pole's."""
        if not offsets and self._read(self._probe.here()).is_finite():
            return False
        certain = self._probe.source.undefined(self._cells(offsets))
        self._probe.doubtful |= not certain and not offsets
        return certain

    def _cells(self, offsets: Mapping[str, Ball]) -> dict[str, list[Any]]:
        return self._probe.displaced([(self._lines[name], by) for name, by in offsets.items()])


def _named(directions: Sequence[Floats], upright: Callable[[Floats], bool]) -> tuple[tuple[str, ...], dict[str, Floats], Ball]:
    """A name for each direction, the same for parallel ones, that of an imaginary part where it is upright; the direction of
    each name; and what the derivative along the given ones is as a multiple of that along these."""
    names: list[str] = []
    lines: dict[str, Floats] = {}
    scale = exactly(1)
    for direction in directions:
        name = next((n for n, line in lines.items() if _ratio(direction, line) is not None), None)
        if name is None:
            name = imag_of(f"t{len(lines)}") if upright(direction) else f"t{len(lines)}"
        lines.setdefault(name, direction)
        scale *= _ratio(direction, lines[name])
        names.append(name)
    return tuple(names), lines, scale


def _ratio(direction: Floats, line: Floats) -> Ball:
    """By what a line has to be multiplied to give a direction; None where they aren't parallel."""
    place = int(np.argmax(line != 0))
    # of a few bits each, the products are exact
    parallel = np.array_equal(direction * line[place], line * direction[place])
    return exactly(float(direction[place])) / exactly(float(line[place])) if parallel else None


def _scaled(truth: Truth, by: Ball) -> Truth:
    """The truth of a multiple."""
    ball, *sides = (None if b is None else b * by for b in (truth.ball, truth.left, truth.right))
    left, right = sides if by > 0 else reversed(sides)
    return replace(truth, ball=ball, left=left, right=right)


def tight(ball: Ball) -> bool:
    """Whether a number is known to as many digits as a certified entry."""
    return bool(ball.is_finite() and (ball.rel_accuracy_bits() >= TIGHT or ball.abs_upper() < TINY))


def _near(ball: Ball, value: float, radii: int, share: float) -> bool:
    """Whether so many times the ball, or its neighbourhood of this relative size, holds the value; what isn't finite tells
    nothing."""
    if not (math.isfinite(value) and ball.is_finite()):
        return True
    return not abs(ball.mid() - value) > ball.rad() * max(radii, 1) + abs(ball.mid()) * share


def _worst(column: Column) -> Column:
    """The worst entry of a large column, and the first others that don't match."""
    chosen = [column.worst()]
    if column.verdict(chosen[0]) is not Verdict.MATCH:
        alike = np.flatnonzero(column.verdicts == column.verdicts[chosen[0]])
        chosen += alike[alike != chosen[0]][:SHOWN].tolist()
    small = column.pick(chosen)
    detail = small.details[0] = replace(small.detail(0))
    counts = ", ".join(f"{n:,} {v.value}" for v, n in sorted(column.counts().items(), key=lambda c: -c[0].severity))
    if isinstance(small.scope, OfTensor):
        small.scope = replace(small.scope, unlisted=column.counts() - small.counts())
    text = f"the worst of {len(column):,} entries ({counts})"
    detail.text = f"{detail.text}; {text}" if detail.text else text
    return small


def paired(row: Row, cells: Cells, read: Callable[[Any], Ball]) -> Ball:
    """<v, y> of the row, each entry of y read from its cell; entries without a cotangent don't count, whatever they are. nan
    where the code has no such y (a call of a layer that isn't made beside the point)."""
    if not cells.keys() >= row.cotangents.keys():
        return NAN
    total = ZERO
    for name, v in row.cotangents.items():
        for cell, w in zip(cells[name], flat(v), strict=True):
            if w:
                total += read(cell) * w
    return total

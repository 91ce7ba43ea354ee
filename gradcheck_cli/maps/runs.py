"""A map run under the shadow: the inputs' cells in, the cells of outputs and gradients out, in any layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, Protocol
from weakref import proxy

import numpy as np
import torch
from torch import Tensor

from gradcheck_cli.algebra.certainty import Certain
from gradcheck_cli.algebra.directions import Moved, Precise, value_of
from gradcheck_cli.algebra.effort import ELEMENTARY, price
from gradcheck_cli.algebra.layers import Cell, Exact, Layer, Rounded
from gradcheck_cli.algebra.number import NAN, Ball, exactly, precision, working
from gradcheck_cli.algebra.precision import DIRECTIONS
from gradcheck_cli.floats import FORMATS, Floats, Format
from gradcheck_cli.maps.map import Map, Row, Tensors, push, run, uncompiled
from gradcheck_cli.shadow.decisions import Border, Endless
from gradcheck_cli.shadow.intake import Intake
from gradcheck_cli.shadow.mode import Shadow
from gradcheck_cli.shadow.origins import Calls
from gradcheck_cli.shadow.strayed import Near, Strayed
from gradcheck_cli.shadow.trace import UNMARKED, shade
from gradcheck_cli.verdict.shade import Place, Shade

Cells = Mapping[str, list[Cell]]
"""The cells of named tensors, flat."""


SEEN, SLOW = 1 / 8, 1 / 2
"""The share of a run that says how fast the rest of it will be, and how much faster that may be: what comes first loads what
the others don't."""


Pace = Callable[[], Callable[[], None]]
"""Makes what is called before each operation of a run of the forward pass, and raises where the rest of it won't fit in."""


def unhurried() -> Callable[[], None]:
    """There is all the time."""
    return lambda: None


class Formula(Protocol):
    """The map's outputs by mathematics instead of by its own operations."""

    def __call__(self, layer: Layer, inputs: Cells) -> dict[str, list[Cell]]:
        """The cells of every output from those of every input."""


class Runs:
    """Runs of one map in one mode. `opaque` collects the operations that couldn't be followed, by pass. `first`: the outputs of
    the first run that was followed, which is at the inputs themselves: the cells of its first layer, and torch's floats.
    `follow`: whether Python is told what exact arithmetic decides, where rounding alone made torch tell something else (None:
    it never did). `numbers`: whether Python was told floats. `triangles`: operations that read one triangle of a matrix, and
    whether it was symmetric. `remarks`: what to say of operations where not all is right. `held`: whether state was written.
    `overflowed`: whether a float did, where its exact value didn't. `left`: the first operation whose float isn't finite.
    `selections`: whether what selections leave out is followed, from the first nan on. `work`: what was done so far, see
    `algebra.effort`. `intake`: to be told of what the next run takes in; `taken`: what its forward pass took in, and its
    backward passes besides."""

    def __init__(
        self,
        map: Map,
        formula: Formula | None,
        checkpoint: Callable[[], None],
        mode: str = "reverse",
        ahead: Callable[[float, float], None] = lambda left, done: None,
        least: float = 0.0,
        pace: Pace = unhurried,
    ) -> None:
        self.map, self.formula, self.checkpoint, self.mode = map, formula, checkpoint, mode
        self._ahead, self._least, self._told, self._pace = ahead, least, 0.0, pace
        self.opaque: dict[str, None] = {}
        self.first: tuple[Cells, dict[str, Floats]] | None = None
        self.follow: bool | None = None
        self.turned: dict[str, None] = {}
        self.numbers = False
        self.triangles: dict[str, bool] = {}
        self.remarks: dict[str, None] = {}
        self.held = self.overflowed = self.selections = False
        self.left: Place | None = None
        self.work = 0.0
        self.intake: Intake | None = None
        self.taken: tuple[set[str | bytes], set[str | bytes]] | None = None

    @cached_property
    def exact(self) -> dict[str, list[Ball]]:
        """The inputs themselves."""
        return {name: [exactly(v) for v in flat(x)] for name, x in self.map.inputs.items()}

    def beside(self, cells: Sequence[Cells]) -> list[dict[str, list[Cell]]]:
        """The outputs' cells at points beside this one, at which decisions that hang on it are taken anew. Raises what the map
        raises there."""
        try:
            return self.forward([Moved() for _ in cells], cells)
        except Border:
            return [self.forward([Moved(), Precise()], [given, self.exact])[0] for given in cells]

    def undefined(self, cells: Cells) -> bool:
        """Whether what has no finite value at a displaced point certainly has none, rather than none that is known at this
        precision. What the map refuses there has none."""
        if any(cell.is_nan() for some in cells.values() for cell in some):
            return True
        layer = Certain()
        try:
            try:
                found, *_ = self.forward([layer], [cells])
            except Border:
                layer = Certain()
                found, *_ = self.forward([layer, Precise()], [cells, self.exact])
        except Exception:  # whatever the code says to what it hasn't met
            return True
        infinite = [v for some in found.values() for v in map(value_of, some) if not v.is_finite()]
        return layer.certain if any(v.is_nan() for v in infinite) else all(v.is_exact() for v in infinite)

    def forward(self, layers: Sequence[Layer], cells: Sequence[Cells]) -> list[dict[str, list[Cell]]]:
        """The outputs' cells in every layer: by the formula if there is one, else by the map's operations."""
        self.checkpoint()
        if self.formula is not None:
            self.work += ELEMENTARY * sum(map(len, self.exact.values())) * len(layers) * price(precision())
            return [self.formula(layer, given) for layer, given in zip(layers, cells, strict=True)]
        shadow, leaves = self._seeded(layers, cells)
        intake, self.intake = self.intake, None
        if intake is not None:
            intake.know((self.map.inputs, leaves))
        with uncompiled(), shadow, shadow.told_to(intake):
            outputs = self.map(leaves)
        if intake is not None:
            intake.take(outputs)
        found = [{n: shadow.cells(y, i) for n, y in outputs.items()} for i in range(len(layers))]
        if self._turns(shadow):
            return self.forward(layers, cells)
        self._keep(found, outputs)
        return found

    def backward(
        self, layers: Sequence[Layer], cells: Sequence[Cells], rows: Sequence[Row], kept: int,
        chosen: Callable[[list[dict[str, list[Cell]]]], Sequence[Row]] | None = None,
    ) -> Followed:  # fmt: skip
        """Forward in all layers, then backward for every row (for those that are `chosen` when the outputs' cells are known)
        in the first `kept` of them."""
        self.checkpoint()
        shadow, leaves = self._seeded(layers, cells)
        intake, self.intake = self.intake, None
        if intake is not None:
            intake.know((self.map.inputs, leaves, [row.cotangents for row in rows]))
        with uncompiled(), shadow:
            with shadow.told_to(intake):
                outputs, pull = run(self.map, leaves, self.mode)
            forward = set() if intake is None else intake.take(outputs).copy()
            found = [{n: shadow.cells(y, i) for n, y in outputs.items()} for i in range(len(layers))]
        wanted = rows if chosen is None else chosen(found)
        gradients: list[list[dict[str, list[Cell] | None]]] = []
        shadow.layers = shadow.layers[:kept]
        with uncompiled(), shadow:
            for row in wanted:
                self.checkpoint()
                with shadow.told_to(intake):
                    pulled = pull(row)
                if intake is not None:
                    intake.take(pulled.gradients)
                gradients.append(
                    [{n: None if g is None else shadow.cells(g, i) for n, g in pulled.gradients.items()} for i in range(kept)]
                )
        if self._turns(shadow):
            return self.backward(layers, cells, rows, kept, chosen)
        self._keep(found, outputs)
        self.taken = None if intake is None else (forward, intake.found - forward)
        return Followed(found, gradients, shadow)

    def _keep(self, found: Sequence[Cells], outputs: Tensors) -> None:
        if self.first is None:
            self.first = found[0], {name: numpy(y) for name, y in outputs.items()}

    def pushed(self, layers: Sequence[Layer], direction: Tensors) -> Followed:
        """Forwards along `direction`, in all layers."""
        self.checkpoint()
        shadow = self._shadow(layers, bool(self.follow))
        given = [self.exact] * len(layers)

        def seed(tensors: Tensors) -> None:
            for name, tensor in tensors.items():
                shadow.seed(tensor, [cells[name] for cells in given])

        with uncompiled(), shadow, Calls(shadow.origins):
            outputs, tangents, _ = push(self.map, direction, self.mode, seed)
            count = range(len(layers))
            found = [{n: shadow.cells(y, i) for n, y in outputs.items()} for i in count]
            slopes = [{n: None if t is None else shadow.cells(t, i) for n, t in tangents.items()} for i in count]
        if self._turns(shadow):
            return self.pushed(layers, direction)
        return Followed(found, [slopes], shadow)

    def _turns(self, shadow: Shadow) -> bool:
        """After a run: whether it has to be taken again, on the way that exact arithmetic goes, or with what selections leave
        out."""
        self.work += shadow.work
        self._ahead(0.0, shadow.work - self._told)
        if shadow.origins.missed:
            self.selections = True
            return True
        if self.follow is None and shadow.decisions.branches:
            self.follow = self._ends()
            if self.follow:
                return True
        self.opaque.update(dict.fromkeys(shadow.unfollowed))
        self.turned.update(shadow.decisions.turned)
        self.numbers |= shadow.decisions.numbers
        self.triangles.update(shadow.triangles)
        self.remarks.update(shadow.remarks)
        self.held = self.held or shadow.held
        self.overflowed = self.overflowed or shadow.trace.overflowed
        mark = shadow.trace.run.get(0, UNMARKED)
        if self.left is None and mark.infinite is not None:
            self.left = mark.infinite.place(mark.left_out)
        return False

    def _ends(self) -> bool:
        """Whether Python, told what exact arithmetic decides, comes to an end after as many questions as on torch's way: a
        branch does, an iteration that ends by rounding alone doesn't."""
        counts: list[int] = []
        for follow in (False, True):
            shadow = self._shadow([Precise()], follow, next(iter(counts), None))
            leaves = self.map.leaves()
            for name, leaf in leaves.items():
                shadow.seed(leaf, [self.exact[name]])
            try:
                with uncompiled(), shadow:
                    self.map(leaves)
            except (Exception, Endless):  # whatever the code says to what it hasn't met
                return False
            counts.append(shadow.decisions.count)
        return counts[0] == counts[1]

    def _shadow(self, layers: Sequence[Layer], follow: bool, limit: int | None = None) -> Shadow:
        map = self.map
        shadow = Shadow(
            layers, 0, follow=follow, limit=limit, stops=map.stops, checkpoint=self.checkpoint, state=map.state,
            selections=self.selections,
        )  # fmt: skip
        shadow.pace = self._pace()
        least, self._told = self._least * len(layers) * price(precision()), 0.0
        self._ahead(0.0, 0.0)
        if least:
            # what holds a shadow by itself would keep all cells of the run until garbage is collected
            shadow.checkpoint = partial(self._look_ahead, proxy(shadow), least)
        return shadow

    def _look_ahead(self, shadow: Shadow, least: float) -> None:
        """A checkpoint of a run that takes so much work at least: whether the rest of it will fit in, from a part of it on."""
        self.checkpoint()
        if least > shadow.work > max(SEEN * least, 2 * self._told):
            done, self._told = shadow.work - self._told, shadow.work
            self._ahead((least - shadow.work) * SLOW, done)

    def strayed(self, form: Format, near: Near) -> str | None:
        """The first operation of the forward pass whose kernel returned something else than it computes, if one did."""
        shadow = Strayed(near, [Rounded(form)], 0, follow=bool(self.follow), state=self.map.state, checkpoint=self.checkpoint)
        leaves = self.map.leaves()
        for name, leaf in leaves.items():
            shadow.seed(leaf, [self.exact[name]])
        with uncompiled(), shadow, working(DIRECTIONS[0]):
            self.map(leaves)
        return shadow.first

    def _seeded(self, layers: Sequence[Layer], cells: Sequence[Cells]) -> tuple[Shadow, dict[str, Tensor]]:
        shadow, leaves = self._shadow(layers, bool(self.follow)), self.map.leaves()
        for name, leaf in leaves.items():
            shadow.seed(leaf, [given[name] for given in cells])
        return shadow, leaves


class Followed:
    """What a run under the shadow left: `outputs[layer][name]`, `gradients[row][layer][name]` (None where torch gave none), and
    the events of the whole run."""

    def __init__(
        self,
        outputs: list[dict[str, list[Cell]]],
        gradients: list[list[dict[str, list[Cell] | None]]],
        shadow: Shadow,
    ) -> None:
        self.outputs, self.gradients = outputs, gradients
        self._opaque, self._mark = shadow.unfollowed, shadow.trace.run.get(0, UNMARKED)
        self._pinned = shadow.trace.pinned.get(0)
        decisions = shadow.decisions
        self._marks: dict[str, Any] = {
            "turned": tuple(decisions.turned),
            "loose": decisions.loose,
            "narrowed": tuple(f"{what} ({where})" if where else what for what, where in shadow.narrowed.items()),
        }

    @property
    def ranged(self) -> bool:
        """Whether some float left the range of its format: what that did shows beside a run in `unlimited`."""
        return self._mark != UNMARKED

    @property
    def decided(self) -> bool:
        """Whether no float left the range, and rounding alone made no decision: nothing that was noted hangs on what constants
        may mean."""
        return not (self.ranged or self._marks["turned"])

    @property
    def eventless(self) -> bool:
        """The same, where all was followed, and nothing was noted."""
        return self.decided and not (self._opaque or self._pinned or any(self._marks.values()))

    def of_row(self, row: int) -> Followed:
        """The same, of one row alone."""
        found = copy(self)
        found.gradients = [self.gradients[row]]
        return found

    def shades(self, exact: Sequence[Ball], rounded: Sequence[Ball], scaled: Sequence[Ball] | None = None) -> list[Shade]:
        """What the verdict wants to know of results, from their cells in `layers_of`, and in the second of `unlimited`."""
        cells = zip(exact, rounded, scaled or [None] * len(exact), strict=True)
        found = [shade(self._mark, e, r, self._opaque, s, self._pinned) for e, r, s in cells]
        return [replace(seen, **self._marks) for seen in found] if any(self._marks.values()) else found


def layers_of(form: Format) -> list[Layer]:
    """What the verdict wants to know of results: see `Followed.shades`."""
    return [Exact(), Rounded(form)]


def plain_layers_of(form: Format) -> list[Layer]:
    """The same, with the code's constants as the floats that they are."""
    return [Precise(), Rounded(form)]


def unlimited(form: Format) -> list[Layer]:
    """The same, as if the exponents of the format had no limits."""
    return [Exact(), Rounded(form, limited=False)]


def rounding(map: Map, checkpoint: Callable[[], None]) -> Floats:
    """How far rounding of the operations that were seen may move each entry of the outputs; 0 where it has no bound."""
    runs = Runs(map, None, checkpoint)
    with working(DIRECTIONS[0]):
        (cells,) = runs.forward([Rounded(format_of(map.inputs))], [runs.exact])
    return _radii(runs, [cell for found in cells.values() for cell in found])


def rounding_along(map: Map, mode: str, direction: Tensors, checkpoint: Callable[[], None]) -> Floats:
    """The same of the outputs' derivatives along a direction, which torch has in a mode that runs forwards."""
    runs = Runs(map, None, checkpoint, mode)
    with working(DIRECTIONS[0]):
        run = runs.pushed([Rounded(format_of(map.inputs))], direction)
    ((slopes,),) = run.gradients
    return _radii(runs, [cell for name, y in run.outputs[0].items() for cell in slopes[name] or [NAN] * len(y)])


def _radii(runs: Runs, cells: Sequence[Any]) -> Floats:
    radii = [0.0 if runs.opaque else float(value_of(cell).rad()) for cell in cells]
    return np.asarray(np.nan_to_num(np.array(radii), nan=0.0, posinf=0.0))


def flat(tensor: Tensor) -> list[float]:
    """The entries as doubles, in order; of complex numbers real part and imaginary part."""
    found: list[float] = _doubles(tensor).tolist()
    return found


def numpy(tensor: Tensor) -> Floats:
    """The entries as an array of doubles, in order."""
    found: Floats = _doubles(tensor).numpy(force=True)
    return found


def _doubles(tensor: Tensor) -> Tensor:
    if tensor._is_zerotensor():  # torch may return a zero that has no memory
        return torch.zeros(tensor.numel(), dtype=torch.float64)
    tensor = tensor.detach()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    tensor = tensor.reshape(-1)
    return tensor if tensor.dtype is torch.float64 else tensor.to(torch.float64)


def format_of(tensors: Tensors) -> Format:
    """The shortest format among the tensors'."""
    names = [str(t.dtype).removeprefix("torch.") for t in tensors.values()]
    return min((FORMATS[n] for n in names), key=lambda f: f.bits)

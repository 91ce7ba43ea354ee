"""Run a compiled chain under the shadow: in balls for the verdict, in symbols for the reader."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import sympy

from gradcheck_cli.algebra.columns.column import Column
from gradcheck_cli.algebra.columns.long import shadowed
from gradcheck_cli.algebra.columns.shadowed import Shadowed
from gradcheck_cli.algebra.columns.words import OPEN
from gradcheck_cli.algebra.layers import Exact, Rounded, Symbolic
from gradcheck_cli.algebra.number import exactly
from gradcheck_cli.exact.derivative import tidy
from gradcheck_cli.floats import Floats, Format
from gradcheck_cli.formulas.torch_chain import Batch, TorchChain, Wrt
from gradcheck_cli.shadow.columns import Columns
from gradcheck_cli.shadow.mode import Shadow
from gradcheck_cli.shadow.origins import Calls
from gradcheck_cli.shadow.trace import UNMARKED, shade
from gradcheck_cli.verdict.shade import Shade, Shades


def shades(
    chain: TorchChain,
    mode: str,
    form: Format,
    batches: Sequence[Batch],
    points: Mapping[str, Floats],
    derivatives: Sequence[Wrt],
) -> tuple[dict[Wrt, list[Shade | None]], tuple[str, ...]]:
    """For each derivative, and for the value under (), one Shade a point of the batches (None where torch has no gradient), at
    the present precision; and the rows whose operation cut the graph. `points` holds the floats of the tensors."""
    found: dict[Wrt, list[Shade | None]] = {wrt: [] for wrt in (*derivatives, ())}
    cut: dict[str, None] = {}
    for batch in batches:
        count = len(batch.points)
        layers = [Exact(chain.algebra.constants), Rounded(form), Rounded(form, limited=False)]
        shadow = Shadow(layers, count if chain.shapes is None else 0, guarded=False)
        for name, tensor in batch.tensors.items():
            cells = [exactly(float(points[entry][i])) for i in batch.points for entry in batch.entries[name]]
            shadow.seed(tensor, [cells] * len(layers))
        chain.mark = shadow.mark
        try:
            with shadow, Calls(shadow.origins):
                outcome = chain.differentiate(mode, batch.tensors, derivatives)
        finally:
            chain.mark = lambda stage: None
        cut |= dict.fromkeys(outcome.cut)
        opaque = shadow.unfollowed
        for wrt, shown in found.items():
            gradient = outcome.gradients[wrt] if wrt else chain.entry(outcome.values, chain.output)
            if gradient is None:
                shown += [None] * count
                continue
            marks, places = shadow.trace.marks(gradient), dict[int, Any]()
            for i, (exact, rounded, scaled) in enumerate(zip(*(shadow.cells(gradient, k) for k in range(3)), strict=True)):
                # an operation that can't be followed leaves what it has to do with without a value
                unseen, mark = () if exact.is_finite() else opaque, marks.get(i, UNMARKED)
                there = places.get(id(mark)) or places.setdefault(id(mark), mark.places())
                shown.append(shade(mark, exact, rounded, unseen, scaled, shadow.trace.pinned.get(i), there))
    return found, tuple(cut)


def columns_of(chain: TorchChain, form: Format, limited: bool = True, slack: bool = False) -> Shadowed:
    """The layer in which `many_shades` follows a chain; it keeps what it compiles. `limited`: rounding is that of the format;
    else that of one whose exponents have no limits, in double words. `slack`: constants are all that their author may have
    meant, as they are to balls."""
    exact, rounded = Exact(chain.algebra.constants), Rounded(form, limited=limited)
    return shadowed(2, exact, rounded) if slack else Shadowed(exact, rounded, kind="" if limited else "double")


def many_shades(chain: TorchChain, mode: str, layer: Shadowed, batch: Batch, derivatives: Sequence[Wrt]) -> dict[Wrt, Shades]:
    """What columns see of each derivative at all points of the batch; nothing where they can't tell."""
    shadow = Columns(layer)
    with shadow, np.errstate(all="ignore"):
        outcome = chain.differentiate(mode, batch.tensors, derivatives)
    if shadow.lost:
        return {}
    count, found = len(batch.points), {}
    for wrt in derivatives:
        gradient = outcome.gradients[wrt]
        if gradient is not None and gradient.numel() == count:
            *words, radii = shadow.cell(gradient)
            high, low = (np.broadcast_to(w, count) for w in (*words, 0.0)[:2])
            exact, rounded = np.broadcast_to(radii, (2, count))
            found[wrt] = Shades(Column(high, low, exact), rounded)
    return found


Loop = Callable[[Mapping[str, Floats]], dict[Wrt, Shades]]
"""What `many_shades` finds at points, compiled."""

LOOPS = 64
"""Compiled traces that a process keeps."""

_loops: dict[Any, Loop | None] = {}


def known_loop(chain: TorchChain, mode: str, form: Format, derivatives: Sequence[Wrt]) -> Loop | None:
    """The loop of a trace, if it has been compiled."""
    return _loops.get(_trace_of(chain, mode, form, derivatives))


def loop(chain: TorchChain, mode: str, form: Format, batch: Batch, derivatives: Sequence[Wrt]) -> Loop | None:
    """`many_shades` as one compiled loop over points, from the trace of a batch; None where there is no trace that holds at all
    points, or no compiler."""
    key = _trace_of(chain, mode, form, derivatives)
    if len(batch.points) < 2:  # what is one number then, and what is one for each point?
        return None
    if key not in _loops:
        if len(_loops) >= LOOPS:
            _loops.clear()
        try:
            _loops[key] = _compiled(chain, mode, form, batch, derivatives)
        except Exception:  # whatever a compiler raises: operations are followed one by one then
            _loops[key] = None
    return _loops[key]


def _trace_of(chain: TorchChain, mode: str, form: Format, derivatives: Sequence[Wrt]) -> Any:
    stages = tuple((stage.name, stage.tree, stage.inputs) for stage in chain.chain.stages)
    return stages, chain.chain.inputs, mode, form.name, tuple(derivatives)


def _compiled(chain: TorchChain, mode: str, form: Format, batch: Batch, derivatives: Sequence[Wrt]) -> Loop | None:
    from gradcheck_cli.algebra.columns import on_llvm
    from gradcheck_cli.algebra.columns.fused import Fused
    from gradcheck_cli.shadow.traced import Traced

    layer = Fused(Exact(chain.algebra.constants), Rounded(form))
    followed: list[Wrt] = []

    def body(*values: Any) -> list[Any]:
        shadow = Traced(layer, list(zip(batch.tensors.values(), values, strict=True)))
        with shadow, np.errstate(all="ignore"):
            outcome = chain.differentiate(mode, batch.tensors, derivatives)
        found: list[Any] = []
        for wrt in derivatives:
            gradient = outcome.gradients[wrt]
            if gradient is None or gradient.numel() != len(batch.points):
                found += [0.0, 0.0, OPEN, OPEN]
                continue
            *words, (near, far) = shadow.cell(gradient)
            found += [*(*words, 0.0)[:2], near, far]
            followed.append(wrt)
        if shadow.lost or not followed:
            raise LookupError("there is no trace")
        return found

    fused = on_llvm.compiled(body, len(batch.tensors), 4 * len(derivatives))

    def run(points: Mapping[str, Floats]) -> dict[Wrt, Shades]:
        given = [np.ascontiguousarray(points[name]) for name in batch.tensors]
        parts = [np.empty(len(given[0])) for _ in range(4 * len(derivatives))]
        fused(given, parts)
        columns = zip(*[iter(parts)] * 4, strict=True)
        found = {wrt: Shades(Column(*words), far) for wrt, (*words, far) in zip(derivatives, columns, strict=True)}
        return {wrt: found[wrt] for wrt in followed}

    return run


def formula(chain: TorchChain, mode: str, batch: Batch, wrt: Wrt) -> str | None:
    """The formula that autograd applies at one point, decompiled; None where it is too long or an operation is opaque.

    Its conditions stay symbolic, so that it holds at other points too, as long as torch runs the same operations there.
    """
    shadow = Shadow([Symbolic()], 1, guarded=False)
    for name, tensor in batch.tensors.items():
        shadow.seed(tensor, [[sympy.Symbol(entry, real=True) for entry in batch.entries[name]]])
    try:
        with shadow:
            gradient = chain.differentiate(mode, batch.tensors, [wrt]).gradients[wrt]
        return None if gradient is None or shadow.opaque else tidy(shadow.cells(gradient, 0)[0])
    except (LookupError, RecursionError):  # what the language can't say, or nobody would read
        return None

"""Every entry of a map's derivative, judged: the way in to the checks of this folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gradcheck_cli.maps.compiling import COMPILED
from gradcheck_cli.maps.forward import Forward, Values
from gradcheck_cli.maps.held import HELD
from gradcheck_cli.maps.map import Map, Ran, Row
from gradcheck_cli.maps.meant import Meant
from gradcheck_cli.maps.orders import Orders
from gradcheck_cli.maps.probe import Options
from gradcheck_cli.maps.quotient import PLAINLY
from gradcheck_cli.maps.reverse import Reverse
from gradcheck_cli.modes import MODES
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.scope import Point
from gradcheck_cli.verdict.verdicts import Verdict

VISIBLE = 1e-18
"""Relative errors that are worth mentioning as too small to be seen: less than this changes no float of any format."""


BRANCH = "rounding alone ended an iteration, or a branch, of Python where exact arithmetic goes on; judged as torch went"


def unseen(sensitivity: float) -> list[str]:
    """The note on errors that couldn't have been seen, if they are worth one."""
    if sensitivity <= VISIBLE:
        return []
    return [f"an error of a single entry that is smaller than {sensitivity:.1g} of its value would not have been seen"]


@dataclass
class Found:
    """What `check_map` has to say: the columns, the smallest relative error of a single entry's formula that would have shown
    (0: any), the operations that couldn't be followed, and what the reader should know besides."""

    columns: list[Column]
    sensitivity: float
    opaque: tuple[str, ...]
    notes: tuple[str, ...] = ()
    prover: Any = None
    """What proved the exact side, for other maps that ought to have the same (`Meant.prover`)."""
    work: Any = None
    """What judged the map: the same where nothing else is meant."""


def check_map(
    map: Map,
    rows: Sequence[Row],
    options: Options,
    *,
    kind: str = "total",
    mode: str = "reverse",
    meant: Meant | None = None,
    point: Point | None = None,
    orders: Orders | None = None,
    label: str = "",
    untied: Callable[[], Map] | None = None,
    ran: Ran | None = None,
) -> Found:
    """Judge every entry of d<row>/d<input>, for every row and input; in a mode that runs forwards, every entry of the outputs'
    derivative along a seeded direction. One Column for each row and input (for each output), its entries labelled.

    What is `meant` gives the truth instead of the map's own operations, and so do `orders`, where the map is a derivative of
    torch's already. `point`: how the inputs are shown; `label`: what is said of the mode, if not its name. `untied`: the
    map that is judged instead unless it is known beforehand that no number that moves meets its equal. `ran`: a run of
    the map that was made already. Raises what the map raises.
    """
    prover = Reverse if MODES[mode].backwards else Forward
    work = prover(map, rows, options, kind, point or {}, meant, mode, orders)
    if untied is not None and not work.smooth() and (other := untied()) is not map:
        work = prover(other, rows, options, kind, point or {}, meant, mode, orders)
    work.label, work.ran = label or mode, ran
    columns = work.check()
    work.guard(columns)
    truth = work.truth
    notes = [BRANCH] if truth.source.follow is False else []
    notes += [HELD] * truth.source.held
    if not all(column.having(Verdict.MATCH).all() for column in columns):
        notes += list(work.runs.remarks | truth.runs.remarks | truth.source.remarks)
    of = "" if truth is work or truth.called == PLAINLY else truth.called
    unknown = {**truth.runs.opaque, **truth.source.opaque}
    opaque = (
        *(what for what in work.runs.opaque if what != COMPILED),
        *(f"{what} (of {of})" if of else what for what in unknown),
    )
    notes += work.notes if truth is work else [*(f"of {of}: {note}" if of else note for note in truth.notes), *work.notes]
    return Found(
        [work.shown(column) for column in columns],
        truth.sensitivity,
        tuple(dict.fromkeys(opaque)),
        (*notes, *work.triangles),
        truth,
        work,
    )


def check_values(map: Map, meant: Meant, options: Options, point: Point, judged: Found | None = None) -> list[Column]:
    """Judge every entry of the map's outputs against what is meant: cause `value` where the function is another one. `judged`:
    its derivatives, with the same meant, if they were; what was seen on the way isn't looked for again."""
    work = Values(map, (), options, "value", point, meant, derivative=None if judged is None else judged.work)
    return [work.shown(column) for column in work.check()]

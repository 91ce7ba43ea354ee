"""Numbers that leave torch and come back (`.numpy()`, `.item()`, `.tolist()`), or that another thread computes: no operation
shows that they depend on inputs.

A run is logged: the contents of every tensor that no operation made, and every float that is an argument. Numbers that appear
only when the inputs are moved a little are no constants, and what was followed through them can't be trusted. Where the
function fails wherever the inputs are moved to, none of this can be told; where it fails only because it is watched, neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gradcheck_cli.maps.constants import Constants, Uneven
from gradcheck_cli.maps.map import Call, Map, Tensors, uncompiled
from gradcheck_cli.shadow.arguments import is_plain, run, tensors_of, through
from gradcheck_cli.shadow.intake import Intake
from gradcheck_cli.shadow.overloads import Overload
from gradcheck_cli.shadow.watching import Watching

OUTSIDE = "numbers that left torch (.numpy(), .item(), .tolist(), another thread)"

MOVED = "numbers from outside of torch that may depend on the inputs (the function fails where these are moved)"

WATCHED = "a function that fails where its operations are watched"

_STEPS = ((2.0**-7, True), (-(2.0**-7), True), (2.0**-7, False), (2.0**-20, False), (-(2.0**-20), False))
"""Relative steps of the inputs, until the function runs: the first ones move every format. And whether zeros are moved too: a
function may insist on them, on a sum of about 1, or on an end of its domain."""


class Doubt(NamedTuple):
    """What can't be followed, and in which pass: "forward" or "derivative"."""

    where: str
    what: str


UNSEEN = Doubt("", "")
"""Nobody has looked yet."""


Derive = Callable[[Map], Iterable[Tensor | None]]
"""Runs a map and its derivative, and returns the derivative's tensors."""


def forwards(map: Map) -> Iterable[Tensor]:
    """Nothing but the outputs."""
    return map(map.leaves()).values()


def outside(map: Map, derive: Derive, directions: Iterable[Tensors], clean: bool = False) -> Doubt | None:
    """The first pass that takes in numbers from outside of torch that depend on the inputs, or may do so.

    `directions`: tensors that the derivative is taken along (tangents, cotangents). The map runs at its own inputs.
    `clean`: of its forward pass nothing is in doubt.
    """
    known = [*map.inputs.values(), *(v for tensors in directions for v in tensors.values())]
    if map.stops:  # numbers from what is constant are constants
        map = replace(map, call=_held(map.call))
    here = _logged(map, derive, known)
    if here is None:
        return Doubt("forward", WATCHED)
    forward, derivative = here
    return None if clean and not derivative.found else moving(map, forward.found, derivative.found, derive, known)


def moving(
    map: Map,
    forward: Set[str | bytes],
    derivative: Set[str | bytes] = frozenset(),
    derive: Derive = forwards,
    known: Iterable[Tensor] = (),
) -> Doubt | None:
    """The same, of what was taken in at the map's own inputs, in the forward pass and in the derivative."""
    if not (forward or derivative):
        return None
    places = (map.at(_moved(map.inputs, step, zeros)) for step, zeros in _STEPS)
    again = derive if derivative else forwards  # a derivative that takes in nothing here takes in nothing that counts
    there = next(filter(None, (_logged(place, again, known) for place in places)), None)
    constants = forward | derivative
    if there is None:
        return Doubt("forward" if forward else "derivative", MOVED)
    passes = zip(("forward", "derivative"), there, strict=True)
    strange = ((word, taken.within) for word, taken in passes if not taken.found <= constants)
    return next((Doubt(word, ", ".join(sorted(within)) or OUTSIDE) for word, within in strange), None)


def _held(call: Call) -> Call:
    constants = Constants()

    def held(leaves: Tensors) -> Tensors:
        try:
            with constants.run(leaves.values()):
                return call(leaves)
        except Uneven:
            return call(leaves)

    return held


def _moved(inputs: Tensors, step: float, zeros: bool) -> dict[str, Tensor]:
    return {name: x + step * (torch.where(x == 0, 1, x) if zeros else x) for name, x in inputs.items()}


class _Taken(NamedTuple):
    """What a pass took in, and the names of operations that aren't torch's own in which that was."""

    found: set[str | bytes]
    within: set[str]


def _logged(map: Map, derive: Derive, known: Iterable[Tensor]) -> tuple[_Taken, _Taken] | None:
    """What the forward pass, and what the derivative took in besides; None where it fails."""
    watching, intake = _Plainly(), Intake()
    intake.know([*map.inputs.values(), *known])
    forward = _Taken(set(), set())

    def call(leaves: Tensors) -> Tensors:
        intake.know(leaves)
        outputs = map.call(leaves)
        intake.take(outputs)
        forward.found.update(intake.found)
        forward.within.update(intake.within)
        return outputs

    try:
        with uncompiled(), watching, watching.told_to(intake):
            intake.take(list(derive(replace(map, call=call))))
    except Exception:  # whatever a user's code raises
        return None
    return forward, _Taken(intake.found - forward.found, intake.within - forward.within)


class _Plainly(Watching):
    """Tells its intake of every operation."""

    def watched(self, known: Overload, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        if known.foreign and (tensors := tensors_of((*args, *kwargs.values()))) and all(map(is_plain, tensors)):
            with self:
                return through(known, tensors, args, kwargs)
        return run(func, args, kwargs)

"""Ties. A maximum of equal numbers has no derivative, nor has a ReLU at 0, and behind a ReLU, or in the background of an
image, there are hundreds of them. Taking the limits of each would take hours, and what a whole network makes of many says
nothing about autograd; so the numbers that meet their equals stand still, and the others are examined. A few are examined too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from gradcheck_cli.algebra.directions import slope
from gradcheck_cli.floats import Floats
from gradcheck_cli.maps.columns import smooth
from gradcheck_cli.maps.map import Map, Tensors
from gradcheck_cli.maps.probe import LAYERS, Options, Probe
from gradcheck_cli.maps.runs import numpy
from gradcheck_cli.verdict.column import Column

FEW = 16
"""Equal numbers that are examined one by one."""
SHOWN = 4
"""Tensors whose entries the note counts."""


def untied(map: Map, values: Tensors, options: Options) -> tuple[Map, dict[str, Tensor]]:
    """The map with entries that may be at a tie standing still, and for each input that is concerned which of its entries move.

    `values` are the numbers that an input's entries stand for. Nothing changes where they are few, nor where moving them apart
    meets no tie.
    """
    equal = {name: _equal(value) for name, value in values.items() if name in map.inputs}
    suspects = [name for name, count in equal.items() if count]
    if sum(equal.values()) <= FEW:
        return map, {}
    rough = _rough(map, suspects, options)
    if not rough:
        return map, {}
    kept = {name: _single(values[name]) for name in rough}
    here = {name: map.inputs[name].clone() for name in kept}

    def call(leaves: Tensors) -> Tensors:
        return map.call({**leaves, **{name: torch.where(kept[name], leaves[name], x) for name, x in here.items()}})

    return replace(map, call=call), kept


def moving_only(columns: Sequence[Column], kept: Mapping[str, Tensor]) -> list[Column]:
    """The columns without the entries that stood still, nor columns of nothing else."""
    found = []
    for column in columns:
        alone = kept.get(column.wrt[0]) if column.wrt else None
        if alone is not None and not bool(alone.any()):
            continue
        if alone is not None and len(column) == alone.numel():
            column = column.pick(torch.nonzero(alone.reshape(-1)).reshape(-1).tolist())
        found.append(column)
    return found


def left_out(kept: Mapping[str, Tensor]) -> list[str]:
    """What the reader is told; nothing where nothing stood still."""
    counts = [f"{int((~alone).sum()):,} of {alone.numel():,} entries of {name}" for name, alone in kept.items()]
    if not counts:
        return []
    more = f" and of {len(counts) - SHOWN:,} more" if len(counts) > SHOWN else ""
    return [
        f"left out: {', '.join(counts[:SHOWN])}{more}: their value occurs more than once, and they meet a kink (the largest of "
        "equal numbers, a ReLU at 0), where there is no derivative"
    ]


def _equal(value: Tensor) -> int:
    """How many entries have a value that another entry has."""
    ordered = np.sort(numpy(value))
    same = np.zeros(len(ordered) + 1, dtype=bool)
    np.equal(ordered[1:], ordered[:-1], out=same[1:-1])
    return int(np.count_nonzero(same[1:] | same[:-1]))


def _single(value: Tensor) -> Tensor:
    """Which entries have a value that no other entry has."""
    _, inverse, counts = torch.unique(value, return_inverse=True, return_counts=True)
    alone: Tensor = counts[inverse] == 1
    return alone


def _rough(map: Map, names: Sequence[str], options: Options) -> list[str]:
    """The inputs along which the outputs have no derivative: what moves no tie together moves none alone. Columns tell where
    they can, balls of the others."""
    probe = Probe(map, (), options, "total", {}, None)
    draw = np.random.default_rng(options.seed)
    moved = {name: draw.integers(2**19, 2**20, probe.spans[name].stop - probe.spans[name].start) * 2.0**-20 for name in names}

    def direction(some: Sequence[str]) -> Floats:
        found = np.zeros(probe.count)
        for name in some:
            found[probe.spans[name]] = moved[name]
        return found

    found: dict[str, bool | None] = dict.fromkeys(names)
    waiting = [list(names)]
    while waiting:
        some = waiting.pop()
        told = smooth(map, direction(some))
        if told or len(some) == 1:
            found |= dict.fromkeys(some, told)
        else:
            waiting += [some[len(some) // 2 :], some[: len(some) // 2]]
    unknown = [name for name, told in found.items() if told is None]
    if len(unknown) > 1 and all(_certainly(probe, [direction(unknown)])):
        return [name for name, told in found.items() if told is False]
    rest = dict(zip(unknown, _certainly(probe, [direction([name]) for name in unknown]), strict=True))
    return [name for name, told in found.items() if not (told or rest.get(name))]


def _certainly(probe: Probe, directions: Sequence[Floats]) -> Iterator[bool]:
    """The same by balls."""
    for start in range(0, len(directions), LAYERS):
        for outputs in probe.along(directions[start : start + LAYERS]):
            yield all(math.isfinite(float(slope(c))) for cells in outputs.values() for c in cells)

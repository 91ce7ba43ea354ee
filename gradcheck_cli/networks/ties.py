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
    if sum(equal.values()) <= FEW or all(_smooth(map, [suspects], options)):
        return map, {}
    smooth = _smooth(map, [[name] for name in suspects], options)
    kept = {name: _single(values[name]) for name, fine in zip(suspects, smooth, strict=True) if not fine}
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


def _smooth(map: Map, groups: Sequence[Sequence[str]], options: Options) -> list[bool]:
    """Whether the outputs have a derivative along a random direction of each group of inputs."""
    probe = Probe(map, (), options, "total", {}, None)
    draw = np.random.default_rng(options.seed)
    directions = []
    for names in groups:
        direction = np.zeros(probe.count)
        for name in names:
            span = probe.spans[name]
            direction[span] = draw.integers(2**19, 2**20, span.stop - span.start) * 2.0**-20
        directions.append(direction)
    told = [smooth(map, direction) for direction in directions]
    rest = iter(_certainly(probe, [d for d, known in zip(directions, told, strict=True) if known is None]))
    return [next(rest) if known is None else known for known in told]


def _certainly(probe: Probe, directions: Sequence[Floats]) -> Iterator[bool]:
    """The same by balls."""
    for start in range(0, len(directions), LAYERS):
        for outputs in probe.along(directions[start : start + LAYERS]):
            yield all(math.isfinite(float(slope(c))) for cells in outputs.values() for c in cells)

"""Points beside those of a sample, at which a custom backward looks wrong: a slip may lie beyond a limit that no drawn point
passes (`x > 10`), or show in one magnitude only.

At so many points nothing is proved: torch's gradient is held against difference quotients of single entries, and where they
disagree the point is judged as every other. So what looks wrong and isn't (a kink, a cancellation) says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import torch

from gradcheck_cli.callables.backward import custom_nodes
from gradcheck_cli.callables.inputs import Arguments, Wanted, arguments
from gradcheck_cli.callables.loading import Target
from gradcheck_cli.maps.map import Map, Tensors, attempted, pull, random_row

POINTS, SPECIAL = 120, 30
"""Points that are drawn, a fifth of them with magnitudes over decades, and the first of them, which aren't looked at: `Sampler`
makes them of 0, 1 and -1, and matrices of such numbers are singular."""

ENTRIES = 8
"""Entries of the inputs that are moved at each of them."""

SIZE = 128
"""Entries of inputs and outputs, together, up to which a function is looked at: of many more ENTRIES say little."""

FOUND = 4
"""Points that look wrong, after which no further one is looked at: most of them are kinks."""

STEP, LEAST = 2.0**-17, 2.0**-10
"""The step of a quotient, relative to the entry, or to LEAST: about the cube root of the roundoff."""

DIFFERENT = 2.0**-19
"""Share of a quotient by which a gradient has to differ, and several times what half of the step changes."""

TIMES = 16.0
"""How many times what half of a step changes a difference has to be; and, squared, a roundoff of what is added up."""

MapAt = Callable[[Arguments], Map]


def suspicious(target: Target, wanted: Wanted, mapped: MapAt, checkpoint: Callable[[], None]) -> Iterator[Arguments]:
    """Points at which a gradient in float64 disagrees with quotients of the function, FOUND at most."""
    drawn = islice(arguments(target, replace(wanted, sample=POINTS), "float64"), SPECIAL, None)
    found = (point for point in drawn if attempted(lambda point=point: _looks_wrong(mapped(point), checkpoint)))  # type: ignore[misc]
    return islice(found, FOUND)


def worth_it(map: Map) -> bool:
    """Whether a map has custom backwards, real numbers in float64, and few of them."""
    leaves = map.leaves()
    outputs = map(leaves)
    tensors = [*leaves.values(), *outputs.values()]
    plain = all(t.dtype == torch.float64 for t in tensors)
    return plain and sum(t.numel() for t in tensors) <= SIZE and bool(custom_nodes(outputs))


def _looks_wrong(map: Map, checkpoint: Callable[[], None]) -> bool:
    """Whether a moved entry's quotient isn't its gradient."""
    checkpoint()
    leaves = map.leaves()
    outputs = map(leaves)
    row = random_row(outputs, map.seed)
    gradients = pull(outputs, leaves, row).gradients
    entries = [(name, i) for name, x in map.inputs.items() for i in range(x.numel())]
    chosen = np.random.default_rng(len(entries)).permutation(len(entries))[:ENTRIES]
    for name, i in (entries[k] for k in chosen):
        gradient = gradients.get(name)
        slope = 0.0 if gradient is None else float(gradient.reshape(-1)[i])
        step = STEP * max(abs(float(map.inputs[name].reshape(-1)[i])), LEAST)
        if _differs(map, name, i, step, slope, row.cotangents):
            return True
    return False


def _differs(map: Map, name: str, i: int, step: float, slope: float, cotangents: Tensors) -> bool:
    value, noise = _quotient(map, name, i, step, cotangents)
    if not np.isfinite([value, noise, slope]).all() or abs(value - slope) <= DIFFERENT * abs(value) + noise:
        return False
    nearer, noise = _quotient(map, name, i, step / 2, cotangents)
    return abs(nearer - slope) > DIFFERENT * abs(nearer) + TIMES * abs(nearer - value) + noise


def _quotient(map: Map, name: str, i: int, step: float, cotangents: Tensors) -> tuple[float, float]:
    """The central difference of <v,y> by one entry, and what rounding may do to it."""
    up, down = (_moved(map, name, i, s) for s in (step, -step))
    wide = float(map.inputs[name].reshape(-1)[i] + step) - float(map.inputs[name].reshape(-1)[i] - step)
    total, size = 0.0, 0.0
    for output, v in cotangents.items():
        change = v * (up[output] - down[output])
        total += float(change.sum())
        size += float((v * up[output])[change != 0].abs().sum())
    return total / wide, TIMES * TIMES * torch.finfo(torch.float64).eps * size / wide


def _moved(map: Map, name: str, i: int, by: float) -> dict[str, torch.Tensor]:
    inputs = {n: x.clone() for n, x in map.inputs.items()}
    inputs[name].reshape(-1)[i] += by
    with torch.no_grad():
        return map(inputs)

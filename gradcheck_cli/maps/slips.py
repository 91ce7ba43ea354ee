"""The usual slips in a backward, or a jvp, recognised: what torch returns is compared with what each slip would return.

A slip is named only where it fits every entry at two seeded points beside the user's, with seeded upstream gradients. Those of
`candidates` are all tried at the first points at which a function is wrong; what was found there is tried before them at the
others, where it must fit just as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from gradcheck_cli.algebra.number import working
from gradcheck_cli.algebra.precision import SLIPS
from gradcheck_cli.floats import Floats
from gradcheck_cli.maps import candidates
from gradcheck_cli.maps.candidates import CANCELLED, Candidates, close
from gradcheck_cli.maps.map import Map, direction_of, push, random_row
from gradcheck_cli.maps.runs import Formula, flat, numpy
from gradcheck_cli.maps.trials import Pushed, Trial
from gradcheck_cli.maps.written import Trees, family, write

TRIALS = 2

PART = 1e-7
"""What a slip may leave unexplained of the error, for constants are rounded: what is almost a slip is another one."""

SEARCHES = 3
"""Points at which every slip is tried in vain, after which those are left that were found of what is written alike."""

Search = Callable[[Trial, str], Candidates]


@dataclass
class _Tried:
    """Of what is written alike: the slips that were found, and the points at which none was."""

    found: list[tuple[Search, str]] = field(default_factory=list)
    vain: list[Mapping[str, float]] = field(default_factory=list)


class Searched:
    """The slips that were found in a function, for its next point."""

    def __init__(self) -> None:
        self._tried: dict[object, _Tried] = {}

    def slip(self, trials: Sequence[Trial], name: str, searches: Sequence[Search], unless: str | None) -> str | None:
        """The slip that fits in every trial: one that was found before, else the plainest. What speaks of `unless` isn't
        named."""
        trees = trials[0].trees
        key = (type(trials[0]), name, unless, *map(tuple, (*trees.outputs.values(), trees.gradients.get(name, ()))))
        tried = self._tried.setdefault(key, _Tried())
        for search, text in tried.found:
            if all(_fits(t, name, search, text) for t in trials):
                return text
        if len(tried.vain) >= SEARCHES or trees.values in tried.vain:
            return None
        for search, text in _fitting(trials, name, searches):
            if unless is None or unless not in text:
                tried.found.append((search, text))
                return text
        tried.vain.append(trees.values)
        return None


def name_slips(
    map: Map, formula: Formula | None = None, seed: int = 0, values: bool = True, searched: Searched | None = None
) -> dict[str, str | None]:
    """For each input whose gradient is wrong, the slip that explains it, None where none of the usual ones does. `formula`
    stands for the forward pass; `values`: which gives these values, so that a backward may use its outputs."""
    double = _double(map)
    unless = None if values else "the output"
    return named([lambda k=k: _trial(double, formula, seed + k) for k in range(TRIALS)], unless, searched)  # type: ignore[misc]


def _double(map: Map) -> Map:
    """The map with its inputs as doubles."""
    with torch.no_grad():
        return map.at({n: x.to(torch.float64) for n, x in map.inputs.items()})


def named(
    points: Sequence[Callable[[], Trees | None]], unless: str | None = None, searched: Searched | None = None
) -> dict[str, str | None]:
    """The same of what is written down at several points; nothing where that can't be done at one of them."""
    searched = searched or Searched()
    with working(SLIPS):
        trials = []
        for point in points:
            trees = point()
            if trees is None:
                return {}
            trials.append(Trial(trees))
        wrong = [n for n in trials[0].trees.gradients if not any(_right(trial, n) for trial in trials)]
        return {n: searched.slip(trials, n, candidates.SLIPS, unless) for n in wrong}


def name_pushed(
    map: Map, mode: str = "forward", formula: Formula | None = None, seed: int = 0, searched: Searched | None = None
) -> str | None:
    """The slip in a wrong derivative along a direction, in a mode that runs forwards; "" where none of the usual ones explains
    it, None where it is right, or can't be written down."""
    double = _double(map)
    with working(SLIPS):
        trials = [_pushed(double, mode, formula, seed + k) for k in range(TRIALS)]
        known = [t for t in trials if t is not None]
        name = next(iter(map.inputs))
        if len(known) < TRIALS or any(_right(t, name) for t in known):
            return None
        return (searched or Searched()).slip(known, name, _OF_A_JVP, None) or ""


def _pushed(map: Map, mode: str, formula: Formula | None, seed: int) -> Pushed | None:
    trees = _trial(map, formula, seed)
    if trees is None:
        return None
    near = map.at({n: _tensor(trees, n, x) for n, x in map.inputs.items()})
    direction = direction_of(near.inputs, seed)
    _, tangents, refusal = push(near, direction, mode)
    if refusal is not None or any(t is None for t in tangents.values()):
        return None
    found = np.concatenate([numpy(t) for t in tangents.values() if t is not None])
    return Pushed(trees, {name: flat(u) for name, u in direction.items()}, found)


def _whole(trial: Trial, name: str) -> Candidates:
    """The derivative along a direction, changed as a whole, or by one of the tangents."""
    assert isinstance(trial, Pushed)
    total, found, parts = trial.exact[name], trial.torch[name], trial.parts
    yield "the jvp returns 0", lambda: 0 * total
    yield "the sign is wrong: the jvp returns -exact", lambda: -total
    for n, part in parts.items():
        yield f"the tangent of {n} is ignored", lambda part=part: total - part  # type: ignore[misc]
        yield f"the tangent of {n} has the wrong sign", lambda part=part: total - 2 * part  # type: ignore[misc]
    largest = int(np.argmax(abs(total)))
    factor = float(found[largest] / total[largest]) if total[largest] else math.nan
    yield f"a constant factor: the jvp returns {candidates.shown(factor)} times exact", lambda: total * factor


_OF_A_JVP: tuple[Search, ...] = (_whole, *candidates.OF_THE_CHAIN)


def _tensor(trees: Trees, name: str, like: torch.Tensor) -> torch.Tensor:
    """An input as it was written down."""
    values = [trees.values[v.name] for v in family(name, tuple(like.shape))]
    return torch.tensor(values, dtype=torch.float64, device=like.device).reshape(like.shape)


def _right(trial: Trial, name: str) -> bool:
    return close(trial.torch[name], trial.exact[name])


def _trial(map: Map, formula: Formula | None, seed: int) -> Trees | None:
    """The map at a point beside its own, written down."""
    draw = np.random.default_rng(seed)
    inputs = {}
    for name, x in map.inputs.items():
        factors = torch.tensor(draw.uniform(0.9, 1.1, tuple(x.shape)), dtype=torch.float64, device=x.device)
        inputs[name] = torch.where(x == 0, factors / 8, x * factors)
    near = map.at(inputs)
    try:
        row = random_row(near(near.leaves()), seed)
        return write(near, row, formula)
    except (RuntimeError, ValueError, IndexError, LookupError):
        return None


def _fitting(trials: Sequence[Trial], name: str, searches: Sequence[Search]) -> Iterator[tuple[Search, str]]:
    """The slips that fit in every trial, the plainest first."""
    first, *others = trials
    for search in searches:
        for text, made in search(first, name):
            if _explains(first, name, made()) and all(_fits(t, name, search, text) for t in others):
                yield search, text


def _fits(trial: Trial, name: str, search: Search, text: str) -> bool:
    """Whether one slip fits in a trial."""
    return any(said == text and _explains(trial, name, made()) for said, made in search(trial, name))


def _explains(trial: Trial, name: str, wanted: Floats) -> bool:
    """Whether a slip would give what torch returns: every entry to within CLOSE, and all of the error but PART of it."""
    found, exact = trial.torch[name], trial.exact[name]
    scale = float(np.max(abs(exact), initial=0.0))
    if not close(found, wanted, scale):
        return False
    with np.errstate(all="ignore"):
        return bool((abs(found - wanted) <= PART * abs(found - exact) + CANCELLED * scale).all())

"""The usual slips in a backward, or a jvp, recognised: what torch returns is compared with what each slip would return.

A slip is named only where it fits every entry at two seeded points beside the user's, with seeded upstream gradients, and at
the user's own; and, since it is a statement about a formula, at points FAR off that lie on the same pieces of the forward pass,
where something has to be wrong too. There functions aren't saturated, and what a backward does beyond some limit alone is no
slip of that kind. Those of `candidates` are all tried at the first points at which a function is wrong; what was found there is
tried before them at the others, where it must fit just as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np
import torch

from gradcheck_cli.algebra.number import working
from gradcheck_cli.algebra.precision import SLIPS
from gradcheck_cli.floats import Floats
from gradcheck_cli.maps import candidates
from gradcheck_cli.maps.map import Map, attempted, direction_of, push, random_row
from gradcheck_cli.maps.pieces import pieces
from gradcheck_cli.maps.places import CALM, FAR, NEAR, OWN, Place
from gradcheck_cli.maps.repairs import SOLVED
from gradcheck_cli.maps.runs import Formula, flat, numpy
from gradcheck_cli.maps.trials import CANCELLED, Candidates, Pushed, Trial, close
from gradcheck_cli.maps.written import Trees, family, write

Write = Callable[[Place], "Trial | None"]
"""What torch has at a place, written down; None where that can't be done."""

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

    def plainest(self, points: Points, name: str, searches: Sequence[Search], unless: str | None) -> str | None:
        """The slip that fits at every point: one that was found before, else the plainest; where there is none, of what is
        written alike but for its numbers. What speaks of `unless` isn't named."""
        for level in points.levels():
            tried = self._of(level, name, unless)
            for search, text in tried.found:
                if level.near_fits(name, search, text) and level.own_fits(name, search, text):
                    return text
            if not tried.vain:  # nor was anything tried further on
                break
        return next(filter(None, (self._new(level, name, searches, unless) for level in points.levels())), None)

    def _of(self, points: Points, name: str, unless: str | None) -> _Tried:
        return self._tried.setdefault(points.key(name, unless), _Tried())

    def _new(self, points: Points, name: str, searches: Sequence[Search], unless: str | None) -> str | None:
        values, tried = points.near[0].trees.values, self._of(points, name, unless)
        if len(tried.vain) >= SEARCHES or values in tried.vain:
            return None
        for search, text in _fitting(points.near, name, searches):
            if (
                (unless is None or unless not in text)
                and points.own_fits(name, search, text)
                and points.far_fits(name, search, text)
            ):
                tried.found.append((search, text))
                return text
        tried.vain.append(values)
        return None


class Points:
    """What torch has at the places at which a slip must fit. Those that only confirm one are written down when they are asked
    for."""

    def __init__(self, write: Write) -> None:
        self._write = cache(write)
        self.near: list[Trial] = []
        for place in NEAR:
            trial = self._write(place)
            if trial is None:
                return
            self.near.append(trial)
        self._names = [n for n in self.near[0].torch if not any(_right(trial, n) for trial in self.near)]

    @property
    def wrong(self) -> list[str]:
        """What is wrong at both places beside the user's point; nothing where that isn't known."""
        return self._names if len(self.near) == len(NEAR) else []

    def levels(self) -> Iterator[Points]:
        """These; and, where that is another thing, the same where calls that differ in numbers are written alike, and where
        functions are written as those that they are made of."""
        yield self
        if self._loose is not None:
            yield self._loose
        if self._opened is not None:
            yield self._opened

    @cached_property
    def _loose(self) -> Points | None:
        return self._changed(lambda trial: trial.loosened())

    @cached_property
    def _opened(self) -> Points | None:
        return self._changed(lambda trial: trial.opened())

    def _changed(self, change: Callable[[Trial], Trial | None]) -> Points | None:
        """These with their trials changed, wherever that changes one; None where it changes none beside the user's point."""
        if all(change(trial) is None for trial in self.near):
            return None

        def changed(place: Place) -> Trial | None:
            trial = self._write(place)
            return trial and (change(trial) or trial)

        return Points(changed)

    @cached_property
    def _own(self) -> Trial | None:
        return self._write(OWN)

    @cached_property
    def _anywhere(self) -> list[tuple[Place, Trial]]:
        """The far places."""
        found = ((place, self._write(place)) for place in FAR)
        return [(place, trial) for place, trial in found if trial is not None]

    @cached_property
    def _far(self) -> list[tuple[Place, Trial]]:
        """Those that lie on the same pieces of the forward pass."""
        here = _pieces(self.near[0])
        return [(place, trial) for place, trial in self._anywhere if here is not None and _pieces(trial) == here]

    def key(self, name: str, unless: str | None) -> object:
        """What is asked of a gradient that is written like this one."""
        first = self.near[0]
        return type(first), first.loose, name, unless, first.form(name)

    def near_fits(self, name: str, search: Search, text: str) -> bool:
        """Whether a slip fits beside the user's point."""
        return all(_fits(trial, name, search, text) for trial in self.near)

    def own_fits(self, name: str, search: Search, text: str) -> bool:
        """Whether a slip fits at the user's own point, where there are numbers."""
        own = self._own
        return own is None or not _finite(own, name) or _fits(own, name, search, text)

    def far_fits(self, name: str, search: Search, text: str) -> bool:
        """Whether it fits far off, wherever there are numbers; and whether something is wrong where functions are calm. Which
        entries are wrong is said of this point alone; where they went, and what stands in the backward, of every piece of the
        function."""
        if search in candidates.OF_ENTRIES:
            return True
        here = [place for place, _ in self._far]
        for place, trial in self._anywhere:
            right = _right(trial, name)
            if (
                not _finite(trial, name)
                or _nothing(trial, name)
                or not (place in here or search in candidates.ANYWHERE or self._mends(search) and right)
            ):
                continue
            if right and text.startswith(SOLVED):
                continue
            calm = place in CALM and place in here and not self._mends(search)
            if not _fits(trial, name, search, text) or (calm and _exact(trial, name)):
                return False
        return True

    def _mends(self, search: Search) -> bool:
        """Whether it says what would be right: then it must leave what is right elsewhere."""
        return search in candidates.OF_THE_BACKWARD


def name_slips(
    map: Map,
    formula: Formula | None = None,
    seed: int = 0,
    values: bool = True,
    searched: Searched | None = None,
    still: Collection[str] = (),
) -> dict[str, str | None]:
    """For each input whose gradient is wrong, the slip that explains it, None where none of the usual ones does. `formula`
    stands for the forward pass; `values`: which gives these values, so that a backward may use its outputs. `still`: inputs
    that have other values nowhere."""
    double = _double(map)
    unless = None if values else "the output"
    return named(lambda place: _trees(double, formula, place, seed, still), unless, searched)


def _double(map: Map) -> Map:
    """The map with its inputs as doubles."""
    with torch.no_grad():
        return map.at({n: x.to(torch.float64) for n, x in map.inputs.items()})


def named(
    write: Callable[[Place], Trees | None],
    unless: str | None = None,
    searched: Searched | None = None,
    searches: Sequence[Search] = candidates.SLIPS,
) -> dict[str, str | None]:
    """The same of what `write` writes down at a place; nothing where that can't be done beside the user's point."""
    searched = searched or Searched()

    def trial(place: Place) -> Trial | None:
        trees = write(place)
        return None if trees is None else Trial(trees)

    with working(SLIPS):
        points = Points(lambda place: attempted(lambda: trial(place)))
        return {n: searched.plainest(points, n, searches, unless) for n in points.wrong}


def name_pushed(
    map: Map, mode: str = "forward", formula: Formula | None = None, seed: int = 0, searched: Searched | None = None
) -> str | None:
    """The slip in a wrong derivative along a direction, in a mode that runs forwards; "" where none of the usual ones explains
    it, None where it is right, or can't be written down."""
    double = _double(map)
    with working(SLIPS):
        points = Points(lambda place: attempted(lambda: _pushed(double, mode, formula, place, seed)))
        for name in points.wrong:  # one: the derivative along the direction
            return (searched or Searched()).plainest(points, name, _OF_A_JVP, None) or ""
        return None


def _pushed(map: Map, mode: str, formula: Formula | None, place: Place, seed: int) -> Pushed | None:
    trees = _trees(map, formula, place, seed)
    if trees is None:
        return None
    near = map.at({n: _tensor(trees, n, x) for n, x in map.inputs.items()})
    direction = direction_of(near.inputs, seed + place.seed)
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


def _pieces(trial: Trial) -> list[object] | None:
    """What tells the pieces of the forward pass apart: its trees, and the sides of their conditions."""
    nodes = [node for nodes in trial.trees.outputs.values() for node in nodes]
    return attempted(lambda: [*nodes, *pieces(nodes, trial.trees.values)])


def _exact(trial: Trial, name: str) -> bool:
    """Whether nothing at all is wrong."""
    found, exact = trial.torch[name], trial.exact[name]
    return bool((abs(found - exact) <= CANCELLED * np.max(abs(exact), initial=0.0)).all())


def _nothing(trial: Trial, name: str) -> bool:
    """Whether a gradient is 0, and what torch has of it no more than rounding: any slip of it would be."""
    return not trial.exact[name].any() and bool((abs(trial.torch[name]) <= CANCELLED).all())


def _finite(trial: Trial, name: str) -> bool:
    return bool(np.isfinite(trial.torch[name]).all() and np.isfinite(trial.exact[name]).all())


def _trees(map: Map, formula: Formula | None, place: Place, seed: int, still: Collection[str] = ()) -> Trees | None:
    """The map at a place, written down."""
    seed += place.seed
    moved = place.of({n: numpy(x) for n, x in map.inputs.items() if n not in still}, seed)
    inputs = {n: torch.from_numpy(x).to(map.inputs[n].device).reshape(map.inputs[n].shape) for n, x in moved.items()}
    inputs = {n: inputs.get(n, x) for n, x in map.inputs.items()}
    near = map.at(inputs)
    return write(near, random_row(near(near.leaves()), seed), formula)


def _fitting(trials: Sequence[Trial], name: str, searches: Sequence[Search]) -> Iterator[tuple[Search, str]]:
    """The slips that fit in every trial, the plainest first."""
    first, *others = trials
    for search in searches:
        if search in candidates.OF_THE_BACKWARD and not first.exact[name].any():
            continue  # any change that leaves nothing would do
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

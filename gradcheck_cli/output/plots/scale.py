"""Where numbers lie on an axis: linear, logarithmic, or both signs of that; and many of them as a few cells, each with its
worst error, so that what is drawn depends on the picture's width and not on how many points there are.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from gradcheck_cli.floats import Floats
from gradcheck_cli.output.plots.marks import CODES, MARKS, Codes
from gradcheck_cli.verdict.verdicts import Verdict

CELLS = 600
"""Cells of an axis: about the pixels that a picture has."""

WIDE = 100.0
"""Where half of the numbers are smaller than the largest by more than this factor, they are drawn by their magnitude."""

FEW = 0.05
"""The share of numbers that may lie where an axis of both signs is linear."""

MIXED = -1
"""In place of a row of the table of marks: entries of several."""

DOUBLES = 1e300
"""The quotient of two numbers of a symmetric axis, and the range of a linear one, is at most this, so as to be a double too."""

STRAY = 5
"""How many times as many decades as most numbers all of them may take."""

_IDLE = [CODES[Verdict.MATCH], CODES[Verdict.OUTSIDE_DOMAIN]]


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis from `low` to `high`. `threshold`: of a symmetric one, the magnitude below which it is linear."""

    kind: Literal["linear", "log", "symlog"]
    low: float
    high: float
    threshold: float = 1.0

    def position(self, x: Floats) -> Floats:
        """From 0 at `low` to 1 at `high`."""
        low, high = self._bend(np.array([self.low, self.high]))
        found: Floats = (self._bend(x) - low) / (high - low)
        return found

    def at(self, place: float) -> float:
        """The number at a position."""
        low, high = self._bend(np.array([self.low, self.high])).tolist()
        return self._straighten(low + place * (high - low))

    def holds(self, x: Floats) -> npt.NDArray[np.bool_]:
        """Which numbers are on it."""
        found: npt.NDArray[np.bool_] = (x >= self.low) & (x <= self.high)
        return found

    def _bend(self, x: Floats) -> Floats:
        if self.kind == "linear":
            return np.divide(x, max(abs(self.low), abs(self.high), 1e-300))  # so that the difference of large ones is none
        if self.kind == "log":
            return np.log10(x, dtype=np.float64)
        with np.errstate(over="ignore"):
            ratio = np.minimum(np.abs(x) / self.threshold, 1e308)
        bent: Floats = np.sign(x) * np.log10(1 + ratio)
        return bent

    def _straighten(self, p: float) -> float:
        if self.kind == "linear":
            return p * max(abs(self.low), abs(self.high), 1e-300)
        if self.kind == "log":
            return float(10.0**p)
        return math.copysign(self.threshold * (10.0 ** abs(p) - 1), p)


def scale_of(x: Floats, active: npt.NDArray[np.bool_]) -> Scale:
    """The axis for finite numbers, at least two different ones. Drawn by magnitude, it is cut off a decade beyond those where
    something happens (`active`), for what comes after them is as dull as it is long."""
    sizes = np.abs(x[x != 0])
    if not len(sizes) or (sizes.max() < DOUBLES and sizes.max() / WIDE < np.median(sizes)):
        return Scale("linear", float(x.min()), float(x.max()))
    live = x[active & (x != 0)] if (active & (x != 0)).any() else _usual(x[x != 0])
    inner, outer = max(_decade(np.abs(live).min(), -1), _decade(sizes.min(), 0)), _decade(np.abs(live).max(), 2)
    low, high = max(float(x.min()), -outer), min(float(x.max()), outer)
    whole = bool((active & (x == 0)).any())
    if (live > 0).all() and not whole:
        return Scale("log", max(float(x[x > 0].min()), inner), high)
    if (live < 0).all() and not whole:
        return Scale("symlog", low, min(float(x[x < 0].max()), -inner), max(inner, outer / DOUBLES))
    few = _decade(float(np.quantile(np.abs(live), FEW)), -1)
    return Scale("symlog", low, high, min(max(inner, few, outer / DOUBLES), outer / WIDE))


def active(error: Floats, codes: Codes, roundoff: float) -> npt.NDArray[np.bool_]:
    """Where something happens: an error that rounding the result doesn't make, or more than a match to be said."""
    with np.errstate(invalid="ignore"):
        found: npt.NDArray[np.bool_] = (error > 2 * roundoff) | ~np.isin(codes, _IDLE)
    return found


def _usual(x: Floats) -> Floats:
    """The numbers without those that are far from most others: samples have some of every size."""
    sizes = np.log10(np.abs(x))
    low, high = np.quantile(sizes, (0.1, 0.9))
    return x[(sizes >= low) & (sizes <= high)] if np.ptp(sizes) > STRAY * (high - low + 1) else x


def _decade(size: float, more: int) -> float:
    """The power of 10 at or below a size, and some further; no more than the largest double."""
    exponent = math.floor(math.log10(size))
    exponent -= exponent > -308 and 10.0**exponent > size  # a logarithm is rounded
    exponent = max(exponent + more, -320)
    return 10.0**exponent if exponent <= 308 else sys.float_info.max


@dataclass(frozen=True, slots=True)
class Cells:
    """Numbers of an axis, few enough to draw, in order. `places`: where they are; `x`: where the worst entry is; `worst`,
    `best`: errors, nan where there is none; `points`: the entries to mark, one a cell and kind: (x, error, row of the table of
    marks). `held`: what all entries of a cell are, a row of that table; MIXED, where they aren't one."""

    places: Floats
    x: Floats
    worst: Floats
    best: Floats
    points: tuple[tuple[float, float, int], ...]
    held: npt.NDArray[np.int64]
    binned: bool


def cells(x: Floats, error: Floats, codes: Codes, scale: Scale) -> Cells:
    """One cell for each different number, or for each of CELLS strips of the axis where there are more."""
    kept = np.flatnonzero(np.isfinite(x) & scale.holds(x))
    kept = kept[np.argsort(x[kept], kind="stable")]
    x, error, codes = x[kept], error[kept], codes[kept]
    places, cell = np.unique(x, return_inverse=True)
    binned = len(places) > CELLS
    if binned:
        strip = np.clip((scale.position(x) * CELLS).astype(np.int64), 0, CELLS - 1)
        strips, cell = np.unique(strip, return_inverse=True)
        places = np.array([scale.at((i + 0.5) / CELLS) for i in strips.tolist()])
    size = np.where(np.isnan(error), -1.0, error)  # an infinite one is the worst
    starts = np.flatnonzero(np.diff(cell, prepend=-1)) if len(cell) else np.zeros(0, dtype=np.int64)
    order = np.lexsort((size, cell))
    last = order[np.append(starts[1:], len(cell)) - 1] if len(cell) else starts
    lowest = np.where(size < 0, np.inf, size)
    best = np.minimum.reduceat(lowest, starts) if len(cell) else np.zeros(0)
    worst = np.where(size[last] < 0, np.nan, size[last])
    points: dict[tuple[int, int], int] = {}
    for i in np.flatnonzero(codes):
        key = int(cell[i]), int(codes[i])
        if key not in points or size[i] > size[points[key]]:
            points[key] = int(i)
    marked = tuple((float(x[i]), float(error[i]), code) for (_, code), i in points.items())
    kinds = codes.astype(np.int64)
    held = np.where(np.minimum.reduceat(kinds, starts) == kinds[last], kinds[last], MIXED) if len(cell) else kinds
    return Cells(places, x[last], worst, np.where(np.isnan(worst), np.nan, best), marked, held, binned)


def ranges(many: Sequence[Cells]) -> list[tuple[int, float, float]]:
    """Where something is known to hold that is shaded: (row of the table of marks, from, to), from the first of neighbouring
    numbers of one derivative at which all entries are so to the last of them; one alone has no width. What is between it and
    one that isn't so, nobody knows."""
    found: list[tuple[int, float, float]] = []
    for code, mark in enumerate(MARKS):
        spans = sorted(span for c in many for span in _runs(c, code)) if mark.shade else []
        for left, right in spans:
            if found and found[-1][0] == code and left <= found[-1][2]:
                found[-1] = code, found[-1][1], max(right, found[-1][2])
            else:
                found.append((code, left, right))
    return found


def _runs(c: Cells, code: int) -> list[tuple[float, float]]:
    """From where to where neighbouring cells are held by this."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], c.held == code, [False]]).astype(np.int8)))
    return [(float(c.places[first]), float(c.places[end - 1])) for first, end in zip(edges[::2], edges[1::2], strict=True)]

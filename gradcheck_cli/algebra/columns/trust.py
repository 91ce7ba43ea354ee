"""Whether columns may be used: GRADCHECK_COLUMNS=off forbids them, a contradiction with balls ends it for the process, and so
does a processor that doesn't round to nearest or flushes what is subnormal."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from gradcheck_cli.algebra.columns.backends import on_numpy
from gradcheck_cli.floats import Floats

ONE_IN, AT_LEAST, AT_MOST_SPECIAL = 1_000, 20, 200
"""Of what columns certified, the part that is asked of balls too; how much at least; and how many of the special points."""

SPECIAL = (0.0, 0.5, 1.0, 2.0)
"""Sizes of special points, besides subnormal ones."""


@lru_cache(maxsize=1024)
def drawn(count: int, some: int) -> tuple[int, ...]:
    """Some of so many places, always the same ones."""
    return tuple(np.random.default_rng(count).choice(count, some, replace=False).tolist())


class Trust:
    """What is thought of columns in this process. `notes`: what the reader has to be told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def sound(self) -> bool:
        """Whether columns may be used here and now."""
        return not self.notes and os.environ.get("GRADCHECK_COLUMNS", "on") != "off" and on_numpy().trustworthy()

    def lose(self, where: str) -> None:
        """Columns contradicted balls."""
        self.notes.append(
            f"arrays of balls contradicted single balls {where}: they are switched off, and nothing here was judged by them. "
            "This is an error of gradcheck's: please report it"
        )

    def sample(
        self, given: Sequence[Floats], certain: npt.NDArray[np.bool_], least: int = AT_LEAST, special: int = AT_MOST_SPECIAL
    ) -> list[int]:
        """Which certified points balls are asked about: a seeded sample, and `special` points at most."""
        known = np.flatnonzero(certain)
        if not len(known):
            return []
        count = min(len(known), max(least, len(known) // ONE_IN))
        chosen = known[list(drawn(len(known), count))].tolist()
        if not len(given):
            return sorted(chosen)
        apart = np.zeros(len(certain), dtype=bool)
        for column in given:
            size = np.abs(column)
            for value in SPECIAL:
                apart |= size == value
            apart |= (size > 0.0) & (size < 2.0**-1022)
        return sorted({*chosen, *np.flatnonzero(apart & certain)[:special].tolist()})


TRUST = Trust()
"""What this process thinks of them."""

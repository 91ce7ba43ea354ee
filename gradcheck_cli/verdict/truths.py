"""The exact side of many entries, as arrays where columns certify it: a ball is made when somebody reads it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.algebra.columns.column import Column, words_of
from gradcheck_cli.algebra.number import Ball
from gradcheck_cli.floats import Floats
from gradcheck_cli.verdict.truth import Kind, Truth

OUTSIDE = Truth(Kind.OUTSIDE, singular=True)


class Truths:
    """What is known of each entry. Where `certified` it lies within its words, and its ball, which may be sharper, is what
    `make` returns for its index; where `excluded` it is `nowhere`; elsewhere it is what was set, None at first."""

    __slots__ = ("_at", "_kept", "_make", "_worded", "certified", "excluded", "nowhere", "words")

    def __init__(self, count: int, make: Callable[[int], Ball] | None = None) -> None:
        self.certified: npt.NDArray[np.bool_] = np.zeros(count, dtype=bool)
        self.excluded: npt.NDArray[np.bool_] = np.zeros(count, dtype=bool)
        self.nowhere: Truth | None = OUTSIDE
        self.words: Column | None = None
        self._at: npt.NDArray[np.int64] | None = None
        self._worded: npt.NDArray[np.bool_] | None = None
        self._make = make
        self._kept: dict[int, Any] = {}

    @classmethod
    def of(cls, known: Sequence[Truth | Ball | None]) -> Truths:
        """A list of them."""
        found = cls(len(known))
        found._kept = dict(enumerate(known))
        return found

    def certify(self, words: Column, certified: npt.NDArray[np.bool_]) -> None:
        """Words for every entry; those that are `certified` count."""
        self.words, self.certified = words, certified.copy()

    def exclude(self, excluded: npt.NDArray[np.bool_]) -> None:
        """Entries that are outside of the domain."""
        self.excluded = excluded & ~self.certified

    def sharp(self, bits: int) -> npt.NDArray[np.bool_]:
        """Which entries the words alone tell to so many bits."""
        return np.zeros(len(self), dtype=bool) if self.words is None else self.words.accurate(bits)

    @property
    def apart_from_zero(self) -> npt.NDArray[np.bool_]:
        """Which entries aren't 0, as the words alone tell."""
        return np.zeros(len(self), dtype=bool) if self.words is None else np.abs(self.words.high) > self.words.radius

    def accept(self, entries: npt.NDArray[np.bool_], signs: Floats | None = None) -> None:
        """Entries that are certified besides: within their words, or, where `signs` has 1 or -1, beyond the largest float."""
        self.certified = self.certified | entries
        if signs is not None and self.words is not None:
            beyond = entries & (signs != 0.0)
            high, low, radius = (part.copy() for part in self.words)
            high[beyond], low[beyond], radius[beyond] = signs[beyond] * np.inf, 0.0, 0.0
            self.words = Column(high, low, radius)

    def part(self, span: slice) -> Truths:
        """Those of some entries, as they are now."""
        found = Truths(span.stop - span.start)
        if self.words is not None:
            found.words = words = self.words.pick(span)
            found._make = words.ball
        found.certified, found.excluded, found.nowhere = self.certified[span].copy(), self.excluded[span].copy(), self.nowhere
        found._kept = {i - span.start: known for i, known in self._kept.items() if span.start <= i < span.stop}
        return found

    @property
    def settled(self) -> npt.NDArray[np.bool_]:
        """Which entries are known without a Python object."""
        found: npt.NDArray[np.bool_] = self.certified | self.excluded
        return found

    def pick(self, indices: npt.NDArray[np.int64]) -> Column | None:
        """The words of some entries; None where there are none."""
        if self.words is None:
            return None
        return self.words.pick(indices if self._at is None else np.searchsorted(self._at, indices))

    def keep(self, indices: npt.NDArray[np.int64]) -> None:
        """Forget the words of all others, when nobody judges by them any more; where there are balls, make words of them."""
        words = self.pick(indices) or Column(*np.zeros((3, len(indices))))
        self._at, worded = indices, np.zeros(len(self), dtype=bool)
        for place in np.flatnonzero(self.alone(indices)).tolist():
            index = int(indices[place])
            ball = self._kept[index]
            if ball.is_finite():
                words.high[place], words.low[place], words.radius[place] = words_of(ball)
                worded[index] = True
        self._worded = worded if worded.any() else None
        self.words = words if self.certified.any() or self._worded is not None else None

    def held(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which of some entries lie within their words."""
        certified: npt.NDArray[np.bool_] = self.certified[indices]
        return certified if self._worded is None else certified | self._worded[indices]

    def alone(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which of some entries have a ball of their own, which is a derivative by formula."""
        found: npt.NDArray[np.bool_] = ~self.settled[indices]
        kept = map(self._kept.get, indices[found].tolist())
        found[found] = [ball is not None and not isinstance(ball, Truth) for ball in kept]
        return found

    @property
    def places(self) -> npt.NDArray[np.int64]:
        """The entries that have words."""
        return np.arange(len(self)) if self._at is None else self._at

    def release(self) -> None:
        """Forget the words; balls are made as before."""
        self.words = None
        self._kept = {index: known for index, known in self._kept.items() if not self.certified[index]}

    def __len__(self) -> int:
        return len(self.certified)

    def __getitem__(self, index: int) -> Any:
        if self.excluded[index]:
            return self.nowhere
        if not self.certified[index] or self._make is None:
            return self._kept.get(index)
        if index not in self._kept:
            made = self._make(index)
            if self.words is None:  # whoever judges reads a ball several times; whoever looks, once
                return made
            self._kept[index] = made
        return self._kept[index]

    def __setitem__(self, index: int, truth: Truth | Ball | None) -> None:
        self.certified[index] = self.excluded[index] = False
        if self._worded is not None:
            self._worded[index] = False
        self._kept[index] = truth

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    @property
    def others(self) -> list[int]:
        """The entries that are neither, in order."""
        found: list[int] = np.flatnonzero(~self.settled).tolist()
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return Truths.of, (list(self),)


def regular_ball(known: Truth | Ball | None) -> Ball | None:
    """The derivative's ball; None where there is no derivative, or none is known."""
    return known.ball if isinstance(known, Truth) else known


class Balls:
    """The exact values of a column's entries: each a ball, or None. Chunks of Truths can stand for them."""

    __slots__ = ("_chunks", "_count", "_kept")

    def __init__(self, known: Iterable[Ball | None] = ()) -> None:
        self._kept: dict[int, Ball | None] = dict(enumerate(known))
        self._count = len(self._kept)
        self._chunks: list[tuple[int, Truths]] = []

    @classmethod
    def blank(cls, count: int) -> Balls:
        """As many, all None."""
        found = cls()
        found._count = count
        return found

    @classmethod
    def joined(cls, several: Sequence[Balls]) -> Balls:
        """Those of several columns, one after the other."""
        found = cls()
        for balls in several:
            start = found._count
            found._kept |= {start + index: ball for index, ball in balls._kept.items()}
            found._chunks += [(start + first, truths) for first, truths in balls._chunks]
            found._count += len(balls)
        return found

    def place(self, start: int, truths: Truths) -> None:
        """Let these entries be what the truths say, now and later."""
        self._chunks.append((start, truths))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Ball | None:
        if index < 0:
            index += self._count
        if not 0 <= index < self._count:
            raise IndexError(index)
        if index in self._kept:
            return self._kept[index]
        for start, truths in self._chunks:
            if start <= index < start + len(truths):
                return regular_ball(truths[index - start])
        return None

    def __setitem__(self, index: int, value: Ball | None) -> None:
        self._kept[index] = value

    def __iter__(self) -> Iterator[Ball | None]:
        return (self[index] for index in range(self._count))

    def middles(self) -> Floats:
        """The floats next to them; nan where there is none."""
        found = np.full(self._count, np.nan)
        known = np.zeros(self._count, dtype=bool)
        for start, truths in self._chunks:
            if truths.words is not None:
                there = truths.places
                certain = truths.certified[there]
                found[start + there], known[start + there] = np.where(certain, truths.words.high, np.nan), certain
        known[list(self._kept)] = False
        for index in np.flatnonzero(~known).tolist():
            ball = self[index]
            found[index] = math.nan if ball is None else float(ball.mid())
        return found

    def pick(self, indices: Iterable[int]) -> Balls:
        """Some of them."""
        return Balls(self[index] for index in indices)

    def __reduce__(self) -> tuple[Any, ...]:
        return Balls, (list(self),)

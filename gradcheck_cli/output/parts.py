"""The parts of a view: plain text, and the verdict beside a word that stands for one. Whatever draws a report draws these."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from gradcheck_cli.verdict.verdicts import Cause, Verdict


class Word(NamedTuple):
    """A text, and the verdict that it stands for."""

    text: str
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """Words in a table. `brief`, `least`: the same where there is little room, or hardly any; `value`: the number that it
    shows, to sort by."""

    words: tuple[Word, ...]
    brief: str | None = None
    value: float | None = None
    least: str | None = None

    @property
    def text(self) -> str:
        return "".join(word.text for word in self.words)


@dataclass(frozen=True, slots=True)
class Heading:
    """Of a column of a table. `right`: of numbers; `formula`: of what may stand under the table where there is little room;
    `least`: the title where there is hardly any."""

    title: str
    right: bool = False
    formula: bool = False
    least: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    cells: tuple[Cell, ...]
    verdict: Verdict
    """The worst of what it stands for."""


@dataclass(frozen=True, slots=True)
class Table:
    """`title` may be empty. `left_out`: how many rows of which verdict aren't among `rows`. `folded`: for a second look."""

    title: str
    headings: tuple[Heading, ...]
    rows: tuple[Row, ...]
    left_out: Mapping[Verdict, int] = field(default_factory=dict)
    folded: bool = False

    def shortened(self, count: int) -> Table:
        """At most so many rows, the more severe ones, in the order that they had."""
        if len(self.rows) <= count:
            return self
        chosen = sorted(range(len(self.rows)), key=lambda i: (-self.rows[i].verdict.severity, i))
        kept, lost = sorted(chosen[:count]), chosen[count:]
        left_out = dict(self.left_out)
        for i in lost:
            left_out[self.rows[i].verdict] = left_out.get(self.rows[i].verdict, 0) + 1
        return replace(self, rows=tuple(self.rows[i] for i in kept), left_out=left_out)

    @property
    def more(self) -> str:
        """What is left out, and how to see it; empty where nothing is."""
        worst = sorted(((v, n) for v, n in self.left_out.items() if n), key=lambda pair: -pair[0].severity)
        if not worst:
            return ""
        listed = ", ".join(f"{n:,} {v.value}" for v, n in worst)
        total = sum(n for _, n in worst)
        return f"... and {total:,} more row{'s' * (total != 1)} ({listed}): --verbose shows all"


class Source(NamedTuple):
    """A line of code. `text`: `silu.py:14`, as it stands in the texts of a finding; `path`: of the file, where it is known."""

    text: str
    line: int
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What is not a match, said once.

    `name`: `mismatch (formula)`. `where`: `point 2`, empty where there is one point. `numbers`: who says it (exact, autograd,
    claimed) and the number, aligned so that digits stand under one another; `differs`: the place in them of the first digit
    that differs, if some before it don't. `error`, `sides`, `blame`, `same` are lines, empty where there is nothing to say;
    `prose` is what is known of this one, `sentence` of its verdict or cause, where no finding before has said it. `formulas`:
    whose it is, and the formula. `sources`: the lines of code that `blame` and `prose` name. `more`: the command that tells
    more, where no finding before has said it.
    """

    verdict: Verdict
    cause: Cause | None
    name: str
    quantity: str
    where: str
    numbers: tuple[tuple[str, str], ...] = ()
    differs: int | None = None
    error: str = ""
    sides: str = ""
    blame: str = ""
    prose: tuple[str, ...] = ()
    sentence: str = ""
    formulas: tuple[tuple[str, str], ...] = ()
    same: str = ""
    sources: tuple[Source, ...] = ()
    more: str = ""

    @property
    def title(self) -> str:
        """All of its first line behind its name."""
        return f"{self.quantity} at {self.where}" if self.where else self.quantity


class Point(NamedTuple):
    """`point 2` (empty where there is no other), and its numbers: `x = 1, y = [0.5, 2]`."""

    name: str
    text: str


def counted(count: int, what: str) -> str:
    """`1 more entry`, `1,234 more entries`"""
    plural = what.removesuffix("y") + "ies" if what.endswith("y") else what + "s"
    return f"{count:,} {what if count == 1 else plural}"


def cut(text: str, width: int | None) -> str:
    """The text in at most so many characters, cut between words if it is cut."""
    if width is None or len(text) <= width:
        return text
    head = text[: width - 4]
    whole = head.rpartition(" ")[0] if text[width - 4] != " " else head
    if len(whole) < len(head) // 2:  # a long word: at least no name in it is cut
        whole = re.sub(r"\w+$", "", head) if re.match(r"\w", text[width - 4]) else head
    return (whole or head) + " ..."


def plain(text: str, verdict: Verdict | None = None) -> Cell:
    """A cell of one word."""
    return Cell((Word(text, verdict),))


def joined(words: Iterable[Word], by: str = ", ") -> tuple[Word, ...]:
    """Words with a plain text between them."""

    def parts() -> Iterator[Word]:
        for i, word in enumerate(words):
            if i:
                yield Word(by)
            yield word

    return tuple(parts())


def without_blanks(headings: Sequence[Heading], rows: Sequence[Row]) -> tuple[tuple[Heading, ...], tuple[Row, ...]]:
    """A table without the columns that hold nothing."""
    kept = [i for i in range(len(headings)) if any(row.cells[i].text not in ("", "-") for row in rows)]
    return tuple(headings[i] for i in kept), tuple(replace(row, cells=tuple(row.cells[i] for i in kept)) for row in rows)

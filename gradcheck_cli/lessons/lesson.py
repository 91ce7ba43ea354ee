"""A lesson as data: sections of lines, words and code. `output.lesson` writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from gradcheck_cli.algebra.number import Ball, exactly, is_ball, working
from gradcheck_cli.algebra.precision import LESSON
from gradcheck_cli.language.tree import Constant, Node
from gradcheck_cli.verdict.numbers import decimal

DIGITS = 8
"""Significant digits of a number that isn't exact."""

EXACT_DIGITS = 15
"""Those of one that is, or of what was typed."""

EQUAL, ABOUT = "=", "≈"


@dataclass(frozen=True, slots=True)
class Ratio:
    """dy/dx; `partial`: with the other things that y uses held as they are."""

    of: str
    wrt: tuple[str, ...]
    partial: bool = False


@dataclass(frozen=True, slots=True)
class Pattern:
    """A formula some of whose variables stand for derivatives: (...)' of what `primes` says."""

    formula: Node
    primes: Mapping[str, Node]


@dataclass(frozen=True, slots=True)
class Filled:
    """A formula with numbers in the place of names."""

    formula: Node
    values: Mapping[str, Constant]


@dataclass(frozen=True, slots=True)
class Sum:
    """A sum of products of numbers, or of derivatives."""

    terms: tuple[tuple[Node | Ratio, ...], ...]


Side = Node | Ratio | Pattern | Filled | Sum


@dataclass(frozen=True, slots=True)
class Line:
    """Sides, each with the sign before it (the first one's is empty), and what is to be said of them."""

    sides: tuple[tuple[str, Side], ...]
    note: str = ""
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Words:
    """A sentence. `formula` stands at its end."""

    text: str
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Code:
    """Lines of Python that run as they are."""

    text: str


Block = Line | Words | Code


@dataclass(frozen=True, slots=True)
class Section:
    """Blocks under a title; a group of blocks is a list of its own, set apart from the next."""

    title: str
    groups: tuple[tuple[Block, ...], ...]


@dataclass(frozen=True)
class Lesson:
    """A derivative worked out. `values` and `derivatives` are the exact numbers, as decimals right in every digit; None where
    there is none. `str()` is the text, and notebooks show it typeset."""

    title: str
    sections: tuple[Section, ...]
    values: Mapping[str, str | None] = field(default_factory=dict)
    derivatives: Mapping[str, str | None] = field(default_factory=dict)

    def code(self) -> str:
        """The torch code of it, which runs as it is."""
        return "\n".join(b.text for s in self.sections for g in s.groups for b in g if isinstance(b, Code))

    def render(self, format: str = "text", width: int | None = None) -> str:
        """As text, markdown, latex or html."""
        from gradcheck_cli.output.lesson import render  # the one import upwards, as that of Report.__str__

        return render(self, format, width=width)

    def __str__(self) -> str:
        return self.render()

    def __repr__(self) -> str:
        return f"<Lesson: {self.title}>"

    def _repr_html_(self) -> str:
        from gradcheck_cli.output.lesson import body

        return body(self)

    def _repr_markdown_(self) -> str:
        return self.render("markdown")


def digits(ball: Any) -> tuple[str, Constant] | None:
    """A number for a reader, and the sign before it: right in every digit; `=` where that is all of it. None for nan and the
    infinities."""
    if not is_ball(ball) or not ball.is_finite():
        return None
    with working(LESSON):
        whole = _all_of(ball)
        text = whole or decimal(ball, DIGITS)
    return None if text is None else (EQUAL if whole else ABOUT, literal(text))


def _all_of(ball: Ball) -> str | None:
    """The decimal that a ball is, but for the rounding of what was typed as a float: 0.2 for twice the float 0.1."""
    if ball.is_zero():
        return "0"
    if not ball.is_exact():
        return None
    text = decimal(ball, EXACT_DIGITS)
    if text is None:
        return None
    few = len(Decimal(text).normalize().as_tuple().digits) <= DIGITS + 2
    return text if few and bool(abs(exactly(float(text)) - ball) <= abs(ball) * _ROUNDED) else None


_ROUNDED = 2.0**-50


def literal(text: str) -> Constant:
    """A decimal as a literal of the language."""
    value = float(text)
    return Constant(int(value) if value.is_integer() and abs(value) < 1e15 else value)

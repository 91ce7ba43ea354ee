"""A lesson as data: sections of lines, words and code. `output.lesson` writes it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from gradcheck_cli.algebra.number import is_ball, working
from gradcheck_cli.algebra.precision import LESSON
from gradcheck_cli.errors import report_in_python
from gradcheck_cli.language import syntax
from gradcheck_cli.language.tree import Call, Constant, Node, Variable
from gradcheck_cli.verdict.numbers import decimal

DIGITS = 8
"""Significant digits of a number that isn't exact."""

EXACT_DIGITS = 12
"""Those of one that is."""

EQUAL, ABOUT = "=", "≈"

Number = Node
"""A literal, or a decimal that is none because no double is as large, or as small."""


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
    values: Mapping[str, Number]


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
        from gradcheck_cli.output.lesson import written  # the one import upwards, as that of Report.__str__

        return report_in_python(written(self, format, width=width))

    def __str__(self) -> str:
        return self.render()

    def __repr__(self) -> str:
        return f"<Lesson: {self.title}>"

    def _repr_html_(self) -> str:
        from gradcheck_cli.output.lesson import body

        return report_in_python(body(self))

    def _repr_markdown_(self) -> str:
        return self.render("markdown")


def digits(ball: Any, fraction: Fraction | None = None) -> tuple[str, Number] | None:
    """A number for a reader, and the sign before it: right in every digit; `=` where that is all of it, as only a fraction can
    tell. None for nan and the infinities."""
    if not is_ball(ball) or not ball.is_finite():
        return None
    with working(LESSON):
        text = decimal(ball, DIGITS)
        long = decimal(ball, EXACT_DIGITS)
    for digits in (text, long):
        if fraction is not None and digits is not None and abs(Fraction(digits) - fraction) <= abs(fraction) * _ROUNDED:
            return EQUAL, literal(digits)
    return None if text is None else (ABOUT, literal(text))


_ROUNDED = Fraction(1, 2**50)
"""What is typed as 0.1 is taken for a tenth."""


def literal(text: str) -> Number:
    """A decimal as a literal of the language; beyond the doubles, as it stands."""
    value = float(text)
    if math.isinf(value) or (value == 0 and text.strip("-0.") != ""):
        return Call(syntax.NEG, (Variable(text[1:]),)) if text.startswith("-") else Variable(text)
    return Constant(int(value) if value.is_integer() and abs(value) < 1e15 else value)

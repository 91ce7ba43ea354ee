"""The rows that are the language's own syntax. Code that writes trees, or takes them apart, names them here and nowhere else.

Everything else that a row is, the columns of `functions.TABLE` say: no code asks whether a row is called `clamp`.
"""

from __future__ import annotations

ADD, SUB, MUL, DIV, NEG, POW = "add", "sub", "mul", "div", "neg", "pow"
"""What every algebra of numbers has: sums are written, powers become products, signs move."""

SQRT, EXP, SQUARE = "sqrt", "exp", "square"
"""What SymPy holds as powers."""

E, LOG = "e", "log"
"""What is 1 together: the natural logarithm of e."""

REAL, IMAG, CONJ, ABS = "real", "imag", "conj", "abs"
"""Of a complex number what isn't a function of it alone: the parts, the conjugate, the size."""

LT, LE, EQ, NE, GE, GT = "lt", "le", "eq", "ne", "ge", "gt"
AND, OR, NOT = "logical_and", "logical_or", "logical_not"
"""Comparisons and connectives: `0 < x < 1` is two of the former and one of the latter."""

WHERE = "where"
"""The choice: of its two branches one counts, whatever the other one is."""

MAXIMUM, MINIMUM = "maximum", "minimum"
"""What the extremes of an array are made of."""

SIGMOID, SECH, COSH, TANH, ERF, ERFC, LOG1P, EXPM1 = "sigmoid", "sech", "cosh", "tanh", "erf", "erfc", "log1p", "expm1"
"""What other formulas are written as lest they overflow or cancel."""

SINH = "sinh"
"""What overflows as they do."""

INF = "inf"
"""The one constant that is no number."""

DETACH = "detach"
"""What is held where it is while everything else moves."""

ROOT, EXPONENTIAL, ALIKE, GAUGE = "root", "exponential", "alike", "gauge"
"""What entries of matrices are made of, which have no name in formulas."""

STACK, INDEX, LISTED, CHOSEN, TRANSPOSE = "stack", "index", "index_at", "index_where", "t"
"""`[x, y]`, `x[0]`, `x[[0, 2]]`, `x[x > 0]`, `A.T`."""


EINSUM, SIZE = "einsum", "size"
"""A function whose text comes first, and what `x.shape[0]` and `len(x)` are."""


class Columns:
    """Of a line: the index of the character at one of ast's columns, which count UTF-8 bytes. A call takes no longer for a long
    line."""

    def __init__(self, line: str) -> None:
        self._line = line
        self._table: list[int] | None = None

    def __call__(self, column: int) -> int:
        if self._line.isascii():
            return column
        if self._table is None:
            self._table = [i for i, c in enumerate(self._line) for _ in c.encode(errors="surrogatepass")]
        return self._table[column] if column < len(self._table) else len(self._line)

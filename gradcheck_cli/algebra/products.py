"""Products of matrices of balls: at once, which flint does ten times as fast as number by number, or row by column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from flint import arb, arb_mat

from gradcheck_cli.algebra.number import Ball

LEAST = 16
"""Products of two numbers, more than half as many as there are numbers, from which on matrices of flint's pay: to make one
takes 120 ns for each of its entries, a product 22 to 70, by itself 400."""

Dot = Callable[[Sequence[Any], Sequence[Any]], Any]
Sizes = tuple[int, int, int]
"""Rows of the one factor, what is added up, columns of the other."""


def by_rows(dot: Dot, xs: Sequence[Any], ys: Sequence[Any], sizes: Sizes) -> list[Any]:
    """Each entry by itself."""
    rows, inner, columns = sizes
    verticals = [ys[c::columns] for c in range(columns)]
    return [dot(xs[r * inner : (r + 1) * inner], column) for r in range(rows) for column in verticals]


def many(xs: Sequence[Any], ys: Sequence[Any], sizes: Sizes) -> bool:
    """Whether the factors are balls, and so large that it pays to multiply them at once."""
    rows, inner, columns = sizes
    count = rows * inner * columns
    return count >= LEAST and 2 * count > len(xs) + len(ys) and set(map(type, chain(xs, ys))) == {arb}


def at_once(xs: Sequence[Ball], ys: Sequence[Ball], sizes: Sizes) -> list[Ball]:
    """Enclosures of all entries."""
    rows, inner, columns = sizes
    found: list[Ball] = (arb_mat(rows, inner, xs) * arb_mat(inner, columns, ys)).entries()
    return found

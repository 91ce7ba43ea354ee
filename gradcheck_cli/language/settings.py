"""Settings of rows on arrays: literals in the text that say which dimension, which entries, which sizes.

They are plain hashable values, so that a tree holds them in a `Constant`. An index is a tuple of whole numbers, slices
(as triples), None for a new dimension, and `...`.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import Any

from gradcheck_cli.language import syntax

_LARGEST = 1_000_000


def integer(node: ast.expr) -> int:
    """A whole number; ValueError says what is needed. So do the others."""
    match node:
        case ast.Constant(value=int(value)) if not isinstance(value, bool) and value <= _LARGEST:
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -integer(operand)
    raise ValueError("a whole number")


def sizes(node: ast.expr) -> tuple[int, ...]:
    """One whole number, or several in brackets."""
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(integer(e) for e in node.elts)
    return (integer(node),)


def axes(node: ast.expr) -> tuple[int, ...] | int:
    """One dimension, several in brackets, or None, which is all of them: ()."""
    if isinstance(node, ast.Constant) and node.value is None:
        return ()
    return sizes(node) if isinstance(node, ast.Tuple | ast.List) else integer(node)


def flag(node: ast.expr) -> bool:
    """True or False."""
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        return node.value
    raise ValueError("True or False")


def order(node: ast.expr) -> int | float | str | tuple[()]:
    """Which norm; None, which is the usual one: ()."""
    match node:
        case ast.Constant(value=None):
            return ()
        case ast.Constant(value="fro" | "nuc" | int() | float() as value) if not isinstance(value, bool):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand) if isinstance(order(operand), int | float):
            return -order(operand)  # type: ignore[operator]
        case ast.Name(id=syntax.INF) | ast.Attribute(attr=syntax.INF):
            return math.inf
    raise ValueError("a number, inf, 'fro' or 'nuc'")


def _word(*words: str) -> Callable[[ast.expr], str]:
    def read(node: ast.expr) -> str:
        """One of several words."""
        if isinstance(node, ast.Constant) and node.value in words:
            return str(node.value)
        raise ValueError("one of " + ", ".join(map(repr, words)))

    return read


def index(node: ast.expr) -> tuple[Any, ...]:
    """What stands in the brackets of `x[...]`."""
    return tuple(_place(n) for n in (node.elts if isinstance(node, ast.Tuple) else [node]))


def equation(node: ast.expr) -> str:
    """What einsum sums over: letters of each factor, with commas, and those of the result behind an arrow."""
    if (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and EQUATION.fullmatch(text := node.value.replace(" ", ""))
    ):
        return text
    raise ValueError("subscripts such as 'ij,j->i'")


EQUATION = re.compile(r"[A-Za-z]*(,[A-Za-z]*)*(->[A-Za-z]*)?")


LIST = "list"
"""What stands in an index for a list of places: which it is, is an argument of its own."""


def lists(node: ast.expr) -> list[ast.expr]:
    """What lists places in the brackets of `x[...]`, or computes them: an input, `arange(3)`."""
    places = node.elts if isinstance(node, ast.Tuple) else [node]
    return [place for place in places if isinstance(place, ast.List | ast.Name | ast.Call | ast.Subscript)]


def _place(node: ast.expr) -> Any:
    if lists(node):
        return LIST
    match node:
        case ast.Slice(lower=lower, upper=upper, step=step):
            ends = tuple(None if e is None else integer(e) for e in (lower, upper, step))
            if ends[2] is not None and ends[2] < 1:
                raise ValueError("read forwards: torch has no steps below 1")
            return ends
        case ast.Constant(value=value) if value is None or value is ...:
            return value
    try:
        return integer(node)
    except ValueError:
        raise ValueError("a whole number, a slice, a list of whole numbers, None or ...") from None


READERS: MappingProxyType[str, Callable[[ast.expr], Any]] = MappingProxyType(
    {
        "whole": integer, "axis": integer, "axes": axes, "trailing": sizes, "sizes": sizes, "counts": sizes, "flag": flag,
        "order": order, "index": index, "reduction": _word("mean", "sum", "none", "batchmean"),
        "mode": _word("reduced", "complete", "r"), "padding": _word("constant", "reflect", "replicate", "circular"),
        "equation": equation,
    }
)  # fmt: skip
"""Kind of a parameter -> what reads its argument."""


def as_index(places: tuple[Any, ...], listed: Iterable[Any] = ()) -> tuple[Any, ...]:
    """An index as NumPy and torch take it; `listed`: what stands in the places of lists, in order."""
    lists = iter(listed)
    return tuple(slice(*p) if isinstance(p, tuple) else next(lists) if p == LIST else p for p in places)


def show_index(places: tuple[Any, ...], listed: Iterable[str] = ()) -> str:
    """An index as it is written."""
    lists = iter(listed)
    return ", ".join(next(lists) if p == LIST else _show_place(p) for p in places)


def _show_place(place: Any) -> str:
    if not isinstance(place, tuple):
        return "..." if place is ... else str(place)
    start, stop, step = ("" if e is None else str(e) for e in place)
    return f"{start}:{stop}" + (f":{step}" if step else "")

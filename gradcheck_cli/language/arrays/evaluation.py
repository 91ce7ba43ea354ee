"""Arrays of trees: an expression on arrays becomes one scalar tree for each entry of its value.

`entries` evaluates a tree once over arrays whose entries are trees: rows that work entry by entry are broadcast, rows on
arrays run here (the `array` column of the table) or by their definition. What comes out holds no array any more, so that
everything that knows scalar formulas applies: `sum(x*y)` becomes `x[0]*y[0] + x[1]*y[1]`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from gradcheck_cli.errors import InputError
from gradcheck_cli.language import syntax
from gradcheck_cli.language.arrays.cells import (
    INFINITE,
    INSTEAD,
    SOME,
    UNFIT,
    Array,
    Chosen,
    Misfit,
    array_of,
)
from gradcheck_cli.language.arrays.windows import Windows
from gradcheck_cli.language.constants import exact_constant
from gradcheck_cli.language.functions import ARRAY_KINDS, CONSTANT, SETTINGS, TABLE, Function, Parameter
from gradcheck_cli.language.parser import definition, is_constant, parse
from gradcheck_cli.language.printer import INFIX, show
from gradcheck_cli.language.spaces import MAX_ENTRIES, Shape, entry_names
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, substitute, walk

_DIMENSIONS = {"vector": 1, "matrix": 2}
_LABEL = 40

NEUTRAL: Mapping[str, Node] = MappingProxyType({
    "total": Constant(0), "product": Constant(1), "greatest": Call(syntax.NEG, (INFINITE,)), "least": INFINITE,
})  # fmt: skip
"""Cells of `array` that take any number of entries, and the entry that makes no difference."""

_REDUCED = {"mean": parse("mean(x)"), "sum": parse("sum(x)")}


def variables_of(name: str, shape: Shape) -> Array:
    """The array of an input, or of an earlier stage."""
    return array_of([Variable(entry) for entry in entry_names(name, shape)], shape)


def entries(tree: Node, values: Mapping[str, Array], text: str | None = None) -> Array:
    """The value of `tree` as an array of scalar trees in the variables that `values` hold.

    Raises InputError, which quotes `text` and points at the culprit, where shapes don't fit, an index is out of range, or
    the result is too large.
    """
    return Evaluation().run(tree, values, text)


def spread(array: Array, shape: Shape) -> list[Node]:
    """The entries of the array, broadcast to a shape; raises ValueError where it can't be."""
    return list(np.broadcast_to(array, shape).reshape(-1))


class Evaluation(Windows):
    """One walk over a user's tree, with the definitions that it needs."""

    def run(self, tree: Node, values: Mapping[str, Any], text: str | None = None, inside: bool = False) -> Array:
        done: dict[Node, Any] = {}
        for item in walk(tree):
            match item:
                case Constant():
                    done[item] = array_of([item], ())
                case Variable(name=name):
                    done[item] = values[name]
                case Call():
                    try:
                        done[item] = self.call(item, done, values)
                    except Misfit as misfit:
                        if inside:
                            raise
                        raise InputError(str(misfit), text, _culprit(item)) from None
        result: Array = done[tree]
        if isinstance(result, Chosen) and not inside:
            message = f"{SOME} have no shape: take their sum, mean, prod, max, min, norm, var or std"
            raise InputError(message, text, _culprit(tree) if isinstance(tree, Call) else 0)
        return result

    def call(self, item: Call, done: Mapping[Node, Any], values: Mapping[str, Any]) -> Array:
        row = TABLE[item.function]
        bound = row.bind(item.arguments)
        arguments = [
            _setting(argument, values) if parameter.kind in SETTINGS - {"integer"} else done[argument]
            for parameter, argument in bound
        ]
        for (parameter, argument), value in zip(bound, arguments, strict=True):
            wanted = _DIMENSIONS.get(parameter.kind)
            if wanted is not None and value.ndim != wanted:
                raise Misfit(f"{row.name} takes a {parameter.kind}", _of(argument, value))
        chosen = [value for value in arguments if isinstance(value, Chosen)]
        if chosen and not (row.arrays and row.definition):
            found: Array = self.chosen(row, item, arguments, chosen)
            return found
        if not row.arrays:
            result = self.broadcast(row, item, arguments)
        elif row.array:
            result = self.primitive(row, arguments, _shapes(bound, arguments))
        else:
            result = self.defined(row, bound, arguments)
        if isinstance(result, Chosen):
            return result
        if result.size > MAX_ENTRIES:
            raise Misfit(f"an array of {result.size:,} entries; at most {MAX_ENTRIES:,} are followed: {INSTEAD}")
        if not result.size:
            raise Misfit(f"an array of shape {_shape(result)} has no entries")
        return result

    def broadcast(self, row: Function, item: Call, arguments: Sequence[Array]) -> Array:
        """A row that works entry by entry."""
        if not arguments:
            return array_of([item], ())  # pi
        try:
            shape = np.broadcast_shapes(*(a.shape for a in arguments))
        except ValueError:
            named = [_of(n, a) for n, a in zip(item.arguments, arguments, strict=True) if a.ndim]
            raise Misfit(UNFIT, ", ".join(named)) from None
        if math.prod(shape) > MAX_ENTRIES:
            return np.empty(shape, dtype=object)  # refused by its size
        columns = [np.broadcast_to(a, shape).reshape(-1) for a in arguments]
        return array_of([self.node(row.name, *nodes, position=item.position) for nodes in zip(*columns, strict=True)], shape)

    def chosen(self, row: Function, item: Call, arguments: Sequence[Any], chosen: Sequence[Chosen]) -> Any:
        """A row of entries that a condition chooses: entry by entry, or one that takes any number of them."""
        same = chosen[0].conditions
        if any(c.conditions.tolist() != same.tolist() for c in chosen):
            raise Misfit("entries that different conditions choose don't meet")
        if row.array in NEUTRAL:
            return self.primitive(row, [a.filled(NEUTRAL[row.array]) if a in chosen else a for a in arguments], "")
        whole = [a.entries if isinstance(a, Chosen) else a for a in arguments]
        if row.name in CONSTANT:
            return Chosen(self.primitive(row, whole, ""), same)
        if row.arrays or any(a.size != 1 for a in arguments if not isinstance(a, Chosen)):
            raise Misfit(f"{row.name} of {SOME} isn't followed: {INSTEAD}")
        return Chosen(self.broadcast(row, item, whole), same)

    def primitive(self, row: Function, arguments: Sequence[Any], shapes: str) -> Array:
        """A row that runs here."""
        function: Callable[..., Array] = getattr(self, row.array)
        try:
            return function(*arguments)
        except (ValueError, IndexError) as problem:
            raise Misfit(str(problem) or UNFIT, shapes) from None

    def defined(self, row: Function, bound: Sequence[tuple[Parameter, Node]], arguments: Sequence[Any]) -> Array:
        """A row on arrays that has a definition; a loss is reduced as its setting says."""
        values: dict[str, Any] = {}
        reduction = "none"
        for (parameter, _), value in zip(bound, arguments, strict=True):
            if parameter.kind == "trailing":
                first = values["x"]
                if first.shape[first.ndim - len(value) :] != value:
                    raise Misfit(f"the last dimensions are not {value}", _of(bound[0][1], first))
                value = tuple(range(-len(value), 0))
            elif parameter.kind == "reduction":
                reduction = value
            values[parameter.name] = value
        try:
            result = self.run(_decided(definition(row.name), values), values, inside=True)
        except Misfit as misfit:
            raise Misfit(misfit.reason, _shapes(bound, arguments)) from None
        if isinstance(result, Chosen) and reduction != "none":
            return self.run(_REDUCED[reduction], {"x": result}, inside=True)
        if reduction == "none" or not result.ndim:
            return result
        total = self.total(result, (), False)
        size = result.size if reduction == "mean" else result.shape[0] if reduction == "batchmean" else 1
        return total if size == 1 else array_of([self.node(syntax.DIV, total.item(), Constant(size))], ())


def _setting(argument: Node, values: Mapping[str, Any]) -> Any:
    return values[argument.name] if isinstance(argument, Variable) else getattr(argument, "value", None)


def _decided(tree: Node, values: Mapping[str, Any]) -> Node:
    """A definition with every `where` that depends on settings alone replaced by the branch they choose."""
    numbers: dict[str, Node] = {n: Constant(v) for n, v in values.items() if isinstance(v, bool)}
    numbers |= {n: v.item() for n, v in values.items() if isinstance(v, np.ndarray) and not v.ndim and is_constant(v.item())}
    while isinstance(tree, Call) and tree.function == syntax.WHERE:
        chosen = _truth(substitute(tree.arguments[0], numbers))
        if chosen is None:
            return tree
        tree = tree.arguments[1 if chosen else 2]
    if isinstance(tree, Call):
        return Call(tree.function, tuple(_decided(a, values) for a in tree.arguments), tree.position)
    return tree


def _truth(condition: Node) -> bool | None:
    match condition:
        case Constant(value=bool(value)):
            return value
        case Call(function=syntax.EQ, arguments=(x, y)) if is_constant(condition):
            return exact_constant(x) == exact_constant(y)
    return None


def _shape(array: Array | Chosen) -> str:
    return str(tuple(map(int, array.shape))) if isinstance(array, np.ndarray) else "(?,)"


def _of(node: Node, array: Array) -> str:
    """`x has shape (2,)`, for a message."""
    return f"{show(node, _LABEL) or 'an argument'} has shape {_shape(array)}"


def _shapes(bound: Sequence[tuple[Parameter, Node]], arguments: Sequence[Any]) -> str:
    """The shapes of what is given to a row, for a message."""
    arrays = [(p, a, v) for (p, a), v in zip(bound, arguments, strict=True) if p.kind in ARRAY_KINDS]
    return ", ".join(_of(a, v) for p, a, v in arrays if not (isinstance(a, Constant) and a.value == p.default))


def _culprit(item: Call) -> int:
    """Where the trouble begins: at the last operand of an operator, at the name of a function."""
    places = [a.position for a in item.arguments]
    row = TABLE[item.function]
    return max([item.position, *places[1:]]) if row.operator in INFIX and not row.truth else item.position

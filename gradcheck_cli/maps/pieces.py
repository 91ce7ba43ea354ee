"""On which pieces of the forward pass a point lies: two points on the same ones have one formula of the derivative."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import TABLE
from gradcheck_cli.language.parser import definition, parse
from gradcheck_cli.language.tree import Call, Node, Variable, substitute, walk
from gradcheck_cli.maps.written import evaluate


def pieces(nodes: Iterable[Node], values: Mapping[str, float]) -> list[object]:
    """What every condition of the trees comes to, in order, and on which side of their kinks abs, sign and the like are."""
    asked = conditions(nodes)
    known = evaluate(asked, values)
    return [known[condition] for condition in asked]


def conditions(nodes: Iterable[Node]) -> list[Node]:
    """What decides between the pieces of the trees, in order: their conditions; and of abs, sign and the like `a > b` and
    `a < b` for both sides of their kinks."""
    done: dict[Node, Node] = {}
    found: list[Node] = []
    for call in dict.fromkeys(item for node in nodes for item in walk(opened(node, done)) if isinstance(item, Call)):
        if TABLE[call.function].truth:
            found.append(call)
        for left, right in _borders(call.function):
            bound = dict(zip((p.name for p in TABLE[call.function].parameters), call.arguments, strict=False))
            sides = substitute(left, bound), substitute(right, bound)
            found += [Call(syntax.GT, sides), Call(syntax.LT, sides)]
    return found


def opened(node: Node, done: dict[Node, Node], products: bool = False) -> Node:
    """The tree with its functions' definitions put in, and with those of the functions in these. `products`: of those functions
    alone that use what they are given more than once (x*sigmoid(x)), and no further."""
    for item in walk(node):
        if item in done:
            continue
        new: Node = item
        if isinstance(item, Call):
            new = Call(item.function, given := tuple(done[a] for a in item.arguments))
            row = TABLE[item.function]
            if row.definition and (not products or _several(item.function)):
                new = substitute(definition(item.function), dict(zip((p.name for p in row.parameters), given, strict=False)))
                if not products:
                    new = opened(new, {leaf: leaf for leaf in given})
        done[item] = new
    return done[node]


@cache
def _several(function: str) -> bool:
    """Whether a definition uses the first parameter more than once, apart from conditions."""
    first = Variable(TABLE[function].parameters[0].name)
    calls = [item for item in walk(definition(function)) if isinstance(item, Call) and not TABLE[item.function].truth]
    return sum(argument == first for call in calls for argument in call.arguments) > 1


@cache
def _borders(function: str) -> tuple[tuple[Node, Node], ...]:
    """What must differ for a primitive function to be smooth: the sides of `x != 0` in its row."""
    row = TABLE[function]
    if row.truth or not row.analytic:
        return ()
    unequal = (item for item in walk(parse(row.analytic)) if isinstance(item, Call) and item.function == syntax.NE)
    return tuple((item.arguments[0], item.arguments[1]) for item in unequal)

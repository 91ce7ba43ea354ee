"""What a map and its backward pass compute, as trees of the language: entry by entry, just as torch's operations have it.

Nothing is simplified but 0 and 1, and a number that is taken off and added again; unlike in symbols `v*(1 - v**2)` keeps its
two occurrences of v. That is what `slips` looks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import islice
from types import MappingProxyType

from torch import Tensor

from gradcheck_cli.algebra.directions import Directional, moving, slope
from gradcheck_cli.algebra.layers import HULL, Layer
from gradcheck_cli.algebra.number import ONE, ZERO, Ball, exactly, is_ball
from gradcheck_cli.algebra.products import Sizes, by_rows
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.algebra.series import terms
from gradcheck_cli.floats import Format
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import TABLE, Function
from gradcheck_cli.language.parser import definition, is_truth
from gradcheck_cli.language.printer import show
from gradcheck_cli.language.spaces import entry_names
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, indicator, unified, walk
from gradcheck_cli.maps.map import Map, Row, pull, uncompiled
from gradcheck_cli.maps.runs import Formula, flat
from gradcheck_cli.shadow.mode import Shadow

LARGEST = 1000
"""Distinct nodes up to which trees are looked at."""

STOPPED = 60
"""Characters of what was detached, up to which it is quoted."""

ENTRIES = 200
"""Entries of inputs and outputs, together, up to which a map is written down."""


class Written:
    """A layer whose cells are trees."""

    operators: Mapping[str, str] = MappingProxyType({})
    stepwise = False
    strict = False

    def __init__(self) -> None:
        self.programs: dict[object, Program] = {}
        self.constants: dict[str, float] = {}
        """Variables that stand for what the code has detached."""

    def constant(self, value: int | float | bool) -> Node:
        return Constant(int(value) if isinstance(value, float) and value.is_integer() else value)

    scalar = constant

    def data(self, values: Sequence[float | bool], form: Format) -> list[Node]:
        return list(map(self.constant, values))

    def number(self, value: float | bool, form: Format) -> Node:
        return self.constant(value)

    def convert(self, cell: Node, form: Format) -> Node:
        return cell

    def still(self, cell: Node, value: float | bool) -> Node:
        if isinstance(cell, Constant) or is_truth(cell):
            return cell
        name = f"stop_gradient({show(cell, STOPPED) or f'... {len(self.constants)}'})"
        self.constants[name] = float(value)
        return Variable(name)

    def truth(self, cell: Node) -> Node:
        return cell if is_truth(cell) else Call(syntax.NE, (cell, Constant(0)))

    def real(self, cell: Node) -> Node:
        return indicator(cell) if is_truth(cell) else cell

    def ranks(self, cells: Sequence[Node]) -> list[list[int]]:
        return [[i] for i in range(len(cells))]

    def sorted(self, cells: Sequence[Node]) -> list[Node]:
        return list(cells)

    def tied(self, cells: Sequence[Node]) -> bool:
        return True

    def lasting(self, cell: Node, finite: bool) -> bool:
        return True

    def within(self, form: Format | None) -> Layer:
        return self

    def total(self, cells: Sequence[Node]) -> Node:
        start: Node = _ZERO
        return reduce(_add, cells, start)

    def dot(self, xs: Sequence[Node], ys: Sequence[Node], parts: bool = False) -> Node:
        return self.total([_multiply(x, y) for x, y in zip(xs, ys, strict=True)])

    def products(self, xs: Sequence[Node], ys: Sequence[Node], sizes: Sizes, parts: bool = False) -> list[Node]:
        return by_rows(self.dot, xs, ys, sizes)

    def function(self, row: Function) -> Callable[..., Node]:
        return _SHORTENED.get(row.name, lambda *cells: Call(row.name, tuple(map(_node, cells))))

    def body(self, row: Function) -> Node:
        return definition(row.name)


def _node(cell: Node | int) -> Node:
    return Constant(cell) if isinstance(cell, int) else cell


def _add(x: Node, y: Node) -> Node:
    if x == _ZERO or y == _ZERO:
        return y if x == _ZERO else x
    if isinstance(x, Call) and x.function == syntax.SUB and isinstance(y, Constant) and x.arguments[1] == y:
        return x.arguments[0]  # a softmax takes the largest number off, and what that is doesn't matter
    return Call(syntax.ADD, (x, y))


def _multiply(x: Node, y: Node) -> Node:
    if _ZERO in (x, y):
        return _ZERO
    return y if x == _ONE else x if y == _ONE else Call(syntax.MUL, (x, y))


_ZERO, _ONE = Constant(0), Constant(1)
_SHORTENED: Mapping[str, Callable[..., Node]] = MappingProxyType({syntax.ADD: _add, syntax.MUL: _multiply})


@dataclass(frozen=True)
class Trees:
    """One run, written down: every output by the inputs, every gradient by inputs, outputs and upstream gradients.

    Entries of an input x, of an output y and of its cotangent are the variables x[0], `output y`[0] and `upstream y`[0].
    """

    outputs: Mapping[str, list[Node]]
    gradients: Mapping[str, list[Node]]
    shapes: Mapping[str, tuple[int, ...]]
    """The shape of every family of variables, by its name without index."""

    values: Mapping[str, float]
    """The float of every variable."""

    def everything(self) -> list[list[Node]]:
        """All trees."""
        return [*self.outputs.values(), *self.gradients.values()]


def result(output: str) -> str:
    """The family of an output's entries."""
    return f"output {output}"


def upstream(output: str) -> str:
    """The family of the cotangents of an output."""
    return f"upstream {output}"


def write(map: Map, row: Row, formula: Formula | None = None) -> Trees | None:
    """Write down one run of a map (or the formula instead) and the pull-back of a row; None where that is large, opaque, or
    refused."""
    leaves = map.leaves()
    layer = Written()
    shadow = Shadow([layer], 0, stops=map.stops)
    cotangents = {name: v.clone() for name, v in row.cotangents.items()}
    if sum(t.numel() for t in (*leaves.values(), *cotangents.values())) > ENTRIES:
        return None
    named: dict[str, Tensor] = dict(leaves)
    inputs = {name: family(name, tuple(leaf.shape)) for name, leaf in leaves.items()}
    meant = None if formula is None else formula(layer, inputs)
    for name, leaf in leaves.items():
        shadow.seed(leaf, [inputs[name]])
    with uncompiled(), shadow:
        try:
            outputs = map(leaves)
        except Exception:  # a function that fails where its operations are watched
            return None
        trees = {name: shadow.cells(y, 0) for name, y in outputs.items()} if meant is None else meant
        for name, y in outputs.items():
            shadow.seed(y, [family(result(name), tuple(y.shape))])
        for name, v in cotangents.items():
            shadow.seed(v, [family(upstream(name), tuple(v.shape))])
        pulled = pull(outputs, leaves, Row(row.name, cotangents))
        gradients = {n: shadow.cells(g, 0) for n, g in pulled.gradients.items() if g is not None}
    one = unified([node for nodes in (*trees.values(), *gradients.values()) for node in nodes])
    if shadow.opaque or pulled.refusal or sum(1 for _ in walk(*one)) > LARGEST:
        return None
    left = iter(one)
    trees, gradients = ({n: list(islice(left, len(nodes))) for n, nodes in of.items()} for of in (trees, gradients))
    named |= {result(n): y for n, y in outputs.items()} | {upstream(n): v for n, v in cotangents.items()}
    shapes = {name: tuple(t.shape) for name, t in named.items()}
    values = {v.name: x for name, t in named.items() for v, x in zip(family(name, shapes[name]), flat(t), strict=True)}
    return Trees(trees, gradients, shapes, values | layer.constants)


def family(name: str, shape: Sequence[int]) -> list[Variable]:
    """The variables of all entries of a tensor."""
    return [Variable(entry) for entry in entry_names(name, tuple(shape))]


# -- numbers ------------------------------------------------------------------------------------------------------------


def evaluate(nodes: Iterable[Node], values: Mapping[str, float], known: dict[Node, object] | None = None) -> dict[Node, object]:
    """The balls (and truth values) of all subtrees."""
    found: dict[Node, object] = {} if known is None else known
    for item in walk(*nodes):
        if item in found:
            continue
        match item:
            case Constant(value=value):
                found[item] = value if isinstance(value, bool) else exactly(value)
            case Variable(name=name):
                found[item] = exactly(values[name])
            case Call(function=function, arguments=arguments):
                found[item] = HULL.evaluate(function)(*_arguments(function, arguments, found))
    return found


def partial(call: Call, position: int, found: Mapping[Node, object]) -> Ball:
    """The derivative of a call by one of its arguments, at the balls of `evaluate`."""
    cells = _arguments(call.function, call.arguments, found)
    if not is_ball(cells[position]):
        return ZERO
    with terms(2):
        cells[position] = moving(cells[position], ONE)
        return slope(_DIRECTIONAL.function(TABLE[call.function])(*cells))


_DIRECTIONAL = Directional()


def _arguments(function: str, arguments: Sequence[Node], found: Mapping[Node, object]) -> list[object]:
    """The arguments' balls; settings as whole numbers."""
    kinds = [p.kind for p in TABLE[function].parameters]
    return [
        a.value if kind == "integer" and isinstance(a, Constant) else found[a] for kind, a in zip(kinds, arguments, strict=True)
    ]

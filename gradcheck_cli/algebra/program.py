"""Trees compiled to straight-line Python over any algebra: each distinct subtree is computed once, or each as often as it is
written.

An algebra says what a constant is and what each row of the function table does; a row that it doesn't know is replaced
by the row's definition. Floats (`tensors`), balls (`balls`), power series (`series`) and symbols (`symbols`) all are
such algebras, so one definition has one meaning.

The generated source contains only names made here (`v0`, `v1`, ...), never text of the user; values and functions are
bound by reference.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import CodeType, MappingProxyType
from typing import Any, Protocol

from gradcheck_cli.algebra.effort import weight
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import TABLE, Function
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, occurrences, substitute, walk


class Algebra(Protocol):
    """One kind of number."""

    operators: Mapping[str, str]
    """Rows that Python's own syntax computes: row name -> a template such as "{0} + {1}"."""

    def constant(self, value: int | float | bool) -> Any:
        """The number of a literal."""

    def function(self, row: Function) -> Callable[..., Any] | None:
        """What computes the row (its arguments in order; `integer` settings come as ints), or None: use `body`."""

    def body(self, row: Function) -> Node:
        """The tree, in the row's parameters, that stands for a row without a function here."""


def inline(*names: str) -> Mapping[str, str]:
    """The `operators` of an algebra whose numbers have Python's operators for these rows."""
    return MappingProxyType({name: TABLE[name].template for name in names})


def expand(node: Node, algebra: Algebra) -> Node:
    """`node` with every row that the algebra doesn't know replaced by its body, all the way down."""
    done: dict[int, Node] = {}
    for item in occurrences(node):
        if not isinstance(item, Call):
            done[id(item)] = item
            continue
        arguments = tuple(done[id(a)] for a in item.arguments)
        row = TABLE[item.function]
        if item.function in algebra.operators or algebra.function(row) is not None:
            done[id(item)] = Call(item.function, arguments, item.position)
            continue
        bound = {p.name: a for p, a in zip(row.parameters, arguments, strict=True)}
        done[id(item)] = expand(substitute(algebra.body(row), bound), algebra)
    return done[id(node)]


LARGEST_PRODUCT = 64
"""Whole powers up to this one become products."""


def economical(trees: Sequence[Node], algebra: Algebra) -> list[Node]:
    """Equal formulas that take fewer and cheaper operations, and share more of them: whole powers are products, signs move
    outwards, the arguments of sums and products stand in one order.

    For an algebra that rounds nothing away, such as balls: the identities hold in real arithmetic only.
    """
    order: dict[Node, int] = {}

    def call(function: str, *arguments: Node) -> Node:
        node = _simpler(function, arguments, call)
        if isinstance(node, Call) and node.function in (syntax.ADD, syntax.MUL):
            node = Call(node.function, tuple(sorted(node.arguments, key=order.__getitem__)))
        order.setdefault(node, len(order))
        return node

    done: dict[Node, Node] = {}
    expanded = [expand(tree, algebra) for tree in trees]
    for tree in expanded:
        for item in walk(tree):
            if item in done:
                continue
            done[item] = call(item.function, *(done[a] for a in item.arguments)) if isinstance(item, Call) else item
            order.setdefault(done[item], len(order))
    return [done[tree] for tree in expanded]


def _simpler(function: str, arguments: tuple[Node, ...], call: Callable[..., Node]) -> Node:
    """`function(*arguments)` by one of the identities of `economical`."""
    match function, arguments:
        case syntax.POW, (x, Constant(value=int(n))) if 2 <= n <= LARGEST_PRODUCT:
            half = call(syntax.POW, x, Constant(n // 2)) if n > 3 else x
            square = call(syntax.MUL, half, half)
            return call(syntax.MUL, square, x) if n % 2 else square
        case syntax.NEG, (Call(function=syntax.NEG, arguments=(x,)),):
            return x
        case syntax.MUL | syntax.DIV, (Call(function=syntax.NEG, arguments=(x,)), y):
            return call(syntax.NEG, call(function, x, y))
        case syntax.MUL | syntax.DIV, (x, Call(function=syntax.NEG, arguments=(y,))):
            return call(syntax.NEG, call(function, x, y))
        case syntax.ADD | syntax.SUB, (x, Call(function=syntax.NEG, arguments=(y,))):
            return call(syntax.SUB if function == syntax.ADD else syntax.ADD, x, y)
        case syntax.ADD, (Call(function=syntax.NEG, arguments=(x,)), y):
            return call(syntax.SUB, y, x)
    return Call(function, arguments)


class Program:
    """`outputs` as one function of `inputs` (positional, in that order), returning a tuple.

    Subtrees without a variable are computed once for each value of `key()` (for balls: the working precision); without a key
    at every call. `shared`: equal subtrees are computed once, wherever they stand; else every operation that is written runs,
    in the order in which Python would run it, for rounding tells them apart. `brief`: what isn't needed any more is let go, for
    numbers that are arrays. `work`: what a call costs, see `algebra.effort`. `direct`: the function itself, where the only
    output is one of the inputs, in their order.
    """

    def __init__(
        self,
        outputs: Sequence[Node],
        inputs: Sequence[str],
        algebra: Algebra,
        key: Callable[[], object] | None = lambda: None,
        shared: bool = True,
        brief: bool = False,
    ) -> None:
        expanded = [expand(o, algebra) for o in outputs]
        each, place = (walk, _itself) if shared else (occurrences, _written)
        self.work = 0
        names: dict[Any, str] = {Variable(n): f"x{i}" for i, n in enumerate(inputs)}
        scope: dict[str, Any] = {}
        prelude: list[str] = []
        body: list[str] = []
        last: dict[str, int] = {}
        varying: set[Any] = set(names)
        for output in expanded:
            for item in each(output):
                if place(item) in names:
                    continue
                name = names[place(item)] = f"v{len(names)}"
                match item:
                    case Constant(value=value):
                        scope[name] = algebra.constant(value)
                    case Variable(name=unknown):
                        raise LookupError(f"no input is called {unknown}")
                    case Call(arguments=arguments):
                        depends = any(place(a) in varying for a in arguments)
                        line = f"{name} = {_operation(item, algebra, lambda a: names[place(a)], scope)}"
                        if depends:
                            varying.add(place(item))
                            last |= {names[place(a)]: len(body) for a in arguments if place(a) in varying}
                            body.append(line)
                            self.work += weight(TABLE[item.function])
                        else:
                            prelude.append(line)
        if brief:
            for name in set(last) - {names[place(o)] for o in expanded}:
                body[last[name]] += f"; del {name}"
        results = "".join(f"{names[place(o)]}, " for o in expanded)
        parameters = ", ".join(f"x{i}" for i in range(len(inputs)))
        self.length = len(body)
        self.direct = _direct(expanded[0], inputs, algebra) if len(expanded) == 1 else None
        self._key = key
        self._bound: dict[object, Callable[..., tuple[Any, ...]]] = {}
        # What doesn't vary is computed by `bind` and reaches `run` as a closure: a call costs nothing for it.
        lines = ["def bind():", *(f" {line}" for line in prelude), f" def run({parameters}):"]
        lines += [*(f"  {line}" for line in body), f"  return ({results})", " return run"]
        source = "\n".join(lines)
        exec((_kept if len(source) <= SHORT else _compiled)(source), scope)  # our own straight-line code, see above
        self._bind: Callable[[], Callable[..., tuple[Any, ...]]] = scope["bind"]

    def bind(self) -> Callable[..., tuple[Any, ...]]:
        """The function of the inputs at the present key (precision)."""
        if self._key is None:
            return self._bind()
        key = self._key()
        run = self._bound.get(key)
        if run is None:
            run = self._bound[key] = self._bind()
        return run

    def __call__(self, *values: Any) -> tuple[Any, ...]:
        return self.bind()(*values)


SHORT = 1000
"""Characters of a source whose code is kept."""


def _compiled(source: str) -> CodeType:
    return compile(source, "<program>", "exec")


_kept = lru_cache(maxsize=2048)(_compiled)
"""Names and values are bound by reference, so few sources are distinct: 570 of the 17,000 that `tests/exact` makes."""


def _itself(node: Node) -> Node:
    """What equal subtrees have in common."""
    return node


def _written(node: Node) -> Any:
    """What tells equal calls apart that are written at two places."""
    return id(node) if isinstance(node, Call) else node


_OPERATORS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        syntax.ADD: operator.add,
        syntax.SUB: operator.sub,
        syntax.MUL: operator.mul,
        syntax.DIV: operator.truediv,
        syntax.NEG: operator.neg,
    }
)
"""What Python's syntax for these rows calls."""


def _direct(output: Node, inputs: Sequence[str], algebra: Algebra) -> Callable[..., Any] | None:
    """The function that a formula is of all inputs in their order; None where it is more."""
    if not isinstance(output, Call) or output.arguments != tuple(map(Variable, inputs)):
        return None
    row = TABLE[output.function]
    return _OPERATORS.get(row.name) if row.name in algebra.operators else algebra.function(row)


def _operation(item: Call, algebra: Algebra, name: Callable[[Node], str], scope: dict[str, Any]) -> str:
    """The source of one call, whose arguments have these names."""
    row = TABLE[item.function]
    template = algebra.operators.get(row.name)
    terms: list[str] = []
    for parameter, argument in row.bind(item.arguments):
        if parameter.kind == "integer" and isinstance(argument, Constant):
            terms.append(repr(int(argument.value)))
        else:
            terms.append(name(argument))
    if template is not None:
        return template.format(*terms)
    function = algebra.function(row)
    assert function is not None
    bound = f"f_{row.name.replace('.', '_')}"
    scope[bound] = function
    return f"{bound}({', '.join(terms)})"

"""Tree to text, in the language itself: what is printed can be pasted back."""

from __future__ import annotations

from itertools import takewhile

from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import NAMED, NUMBER, NUMBERED, TABLE, Parameter
from gradcheck_cli.language.settings import show_index
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, walk

_OR, _AND, _NOT, _COMPARE, _SUM, _PRODUCT, _UNARY, _POWER, _ATOM = range(1, 10)

INFIX: dict[str, tuple[str, int, int, int]] = {
    "or": (" or ", _OR, _OR, _AND),
    "and": (" and ", _AND, _AND, _NOT),
    **{sign: (f" {sign} ", _COMPARE, _SUM, _SUM) for sign in ("<", "<=", ">", ">=", "==", "!=")},
    "+": (" + ", _SUM, _SUM, _PRODUCT),
    "-": (" - ", _SUM, _SUM, _PRODUCT),
    "@": (" @ ", _PRODUCT, _PRODUCT, _UNARY),
    "*": ("*", _PRODUCT, _PRODUCT, _UNARY),
    "/": ("/", _PRODUCT, _PRODUCT, _POWER),
    "**": ("**", _POWER, _ATOM, _UNARY),
}
"""Operator -> text, own level, least level of the left and of the right operand. Others are written as functions."""

_PREFIX: dict[str, tuple[str, int, int]] = {"-": ("-", _PRODUCT, _UNARY), "not": ("not ", _NOT, _NOT)}
"""Operator -> text, least level of the operand, own level at most: -a*b binds like a product, x**-(a*b) keeps its brackets."""


def show(node: Node, limit: int | None = None) -> str | None:
    """The text of a tree, with no parentheses that aren't needed; None if it were longer than `limit` characters."""
    done: dict[Node, tuple[str, int]] = {}
    for item in walk(node):
        done[item] = _show(item, done)
        if limit is not None and len(done[item][0]) > limit:
            return None
    return done[node][0]


def _show(item: Node, done: dict[Node, tuple[str, int]]) -> tuple[str, int]:
    match item:
        case Constant(value=value):
            return repr(value), _UNARY if repr(value).startswith("-") else _ATOM  # -0.0 too
        case Variable(name=name):
            return name, _ATOM
        case Call(function=function, arguments=arguments):
            row = TABLE[function]
            if len(arguments) == 2 and row.operator in INFIX:
                symbol, level, left, right = INFIX[row.operator]
                x, y = (done[a] for a in arguments)
                return _wrap(x, left) + symbol + _wrap(y, right), level
            if len(arguments) == 1 and row.operator in _PREFIX:
                symbol, least, most = _PREFIX[row.operator]
                operand = done[arguments[0]]
                return symbol + _wrap(operand, least), min(max(operand[1], least), most)
            if not row.parameters:
                return function, _ATOM
            if row.arrays:
                return _show_array(item, done), _ATOM
            shown = [done[a][0] for a in arguments]
            for parameter, argument in reversed(row.bind(arguments)):
                if parameter.default is None or not (isinstance(argument, Constant) and argument.value == parameter.default):
                    break
                shown.pop()
            return f"{function}({', '.join(shown)})", _ATOM


def _show_array(item: Call, done: dict[Node, tuple[str, int]]) -> str:
    """A call of a row on arrays: its settings by name, those with the default left out."""
    row = TABLE[item.function]
    bound = row.bind(item.arguments)
    terms = [counted(p, done[a][0]) for p, a in takewhile(lambda pair: positional(pair[0]), bound)]
    if row.name == syntax.CHOSEN:
        return f"{_wrap(done[item.arguments[0]], _ATOM)}[{terms[1]}]"
    if row.name == syntax.INDEX and isinstance(item.arguments[1], Constant):
        return f"{_wrap(done[item.arguments[0]], _ATOM)}[{show_index(item.arguments[1].value)}]"
    if row.name == syntax.LISTED and isinstance(item.arguments[-1], Constant):
        *listed, whole, _ = item.arguments
        return f"{_wrap(done[whole], _ATOM)}[{show_index(item.arguments[-1].value, [done[a][0] for a in listed])}]"
    if row.name == syntax.EINSUM:
        return f"{row.name}({', '.join([done[item.arguments[-1]][0], *terms])})"
    given = [(p.name, a) for p, a in bound[len(terms) :] if not (isinstance(a, Constant) and a.value == p.default)]
    if row.parameters[0].variadic:
        terms = [f"[{', '.join(terms)}]"]
        if row.name == syntax.STACK and not given:
            return terms[0]
    number = f"[{done[item.arguments[-1]][0]}]" if row.name in NUMBERED else ""
    settings = [f"{name}={done[a][0]}" for name, a in given if not (number and name == NUMBER)]
    return row.called(", ".join([*terms, *settings])) + number


def positional(parameter: Parameter) -> bool:
    """Whether an argument is written without its name, as long as those before it are."""
    return parameter.kind not in NAMED and parameter.default is None


def counted(parameter: Parameter, text: str) -> str:
    """An argument as it is written: of `(3,)` that stands for arguments of their own, `3`."""
    return text[1:-1].rstrip(",") if parameter.kind == "counts" else text


def _wrap(part: tuple[str, int], least: int) -> str:
    return part[0] if part[1] >= least else f"({part[0]})"

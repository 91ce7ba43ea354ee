r"""A formula as a mathematician writes it: presentation MathML for pages, LaTeX for papers.

What is shown is the tree as it was written: nothing is reordered, expanded or simplified, since torch runs it so. (SymPy's own
printers show its own trees, which are: `x - x` would be 0, `x/2` a half times x.) One walk over the tree serves both notations;
how a row of the function table is drawn stands in FORMS, and a row that isn't there is a function with an upright name.

    latex("x/(1 + exp(-x))")    \frac{x}{1 + e^{-x}}

What is no formula of the language, or too long to be read as one, is shown as code. No text gets out of its place: what the
reader of a page or a paper would take for markup is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import takewhile

from gradcheck_cli.errors import InputError, visible
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import TABLE, Function, Parameter
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.printer import INFIX, positional, show
from gradcheck_cli.language.settings import LIST, show_index
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, variables, walk, written_size
from gradcheck_cli.output.notation import GREEK, LATEX, MATHML, Notation

LONGEST, NODES, HEIGHT = 4_000, 250, 40
"""Characters, nodes and levels of a formula that is typeset: a longer one is read more easily as code."""

_OR, _AND, _COMPARE, _SUM, _PRODUCT, _POWER = (INFIX[sign][1] for sign in ("or", "and", "<", "+", "*", "**"))
_NOT, _UNARY, _ATOM = _AND + 1, _PRODUCT + 1, _POWER + 1


@dataclass(frozen=True, slots=True)
class Derivative:
    """`dy/dx`, as a fraction: the first name of `wrt` is the first derivative taken."""

    of: str
    wrt: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Equation:
    """Sides that are equal."""

    sides: tuple[Formula, ...]


Formula = str | Node | Derivative | Equation


def mathml(formula: Formula, *, block: bool = False) -> str:
    """A `<math>` element, as a line of its own if `block`; a `<code>` element of what can't be typeset."""
    shown = _typeset(formula, MATHML)
    if shown is None:
        return f"<code>{escape(visible(_plain(formula)))}</code>"
    return f"<math{' display=' + chr(34) + 'block' + chr(34) if block else ''}><mrow>{shown}</mrow></math>"


def latex(formula: Formula) -> str:
    r"""What stands between dollar signs; `\texttt{...}` of what can't be typeset."""
    shown = _typeset(formula, LATEX)
    return LATEX.code(visible(_plain(formula))) if shown is None else re.sub(" +", " ", shown).strip()


def _typeset(formula: Formula, notation: Notation) -> str | None:
    match formula:
        case Equation(sides=sides):
            parts = [_typeset(side, notation) or notation.code(visible(_plain(side))) for side in sides]
            return notation.infix("=").join(parts)
        case Derivative(of=of, wrt=wrt):
            return _derivative(of, wrt, notation)
        case str():
            tree = _parsed(formula)
        case _:
            tree = formula
    if tree is None or written_size(tree) > NODES:
        return None
    names = _names(variables(tree), notation)
    done: dict[Node, _Piece] = {}
    for item in walk(tree):
        done[item] = piece = _piece(item, done, names, notation)
        if piece.height > HEIGHT:
            return None
    return done[tree].text


def _parsed(text: str) -> Node | None:
    try:
        return parse(text) if len(text) <= LONGEST else None
    except (InputError, RecursionError):
        return None


def _plain(formula: Formula) -> str:
    """The formula as code."""
    match formula:
        case str():
            return formula
        case Derivative(of=of, wrt=wrt):
            return f"d{of}/" + "".join(f"d{name}" for name in wrt)
        case Equation(sides=sides):
            return " = ".join(map(_plain, sides))
    return show(formula, LONGEST) or "..."


def _derivative(of: str, wrt: Sequence[str], notation: Notation) -> str:
    d = notation.word("d")
    order = notation.power(d, notation.number(str(len(wrt)))) if len(wrt) > 1 else d
    names = _names((of, *wrt), notation)
    return notation.fraction(order + names[of].text, "".join(d + names[name].text for name in wrt))


# -- names ----------------------------------------------------------------------------------------------------------------


def _names(names: Iterable[str], notation: Notation) -> dict[str, _Piece]:
    """Each name, drawn: two that would look the same are drawn as they are written."""
    listed = list(dict.fromkeys(names))
    drawn = [_name(name, notation, listed) for name in listed]
    alike = {piece.text for piece in drawn if sum(other.text == piece.text for other in drawn) > 1}
    plain = [_Piece(notation.word(visible(name)), _ATOM, _WORD, _WORD) for name in listed]
    each = zip(listed, drawn, plain, strict=True)
    return {name: code if piece.text in alike else piece for name, piece, code in each}


def _name(name: str, notation: Notation, others: Sequence[str] = ()) -> _Piece:
    """`beta_max` as a Greek letter with a subscript, `x1` and `x[1]` with an index; `<v,y>` as a product of vectors.
    Where there is an `x` too, `x1` isn't its entry."""
    if name.startswith("<") and name.endswith(">"):
        parts = [_name(part, notation).text for part in name[1:-1].split(",")]
        return _Piece(notation.fenced("⟨", notation.infix(",").join(parts), "⟩"), _ATOM, _FENCE, _FENCE)
    body, bracket, index = name.partition("[")
    found = re.fullmatch(r"([^\W\d_]+?)_?(\d+)|([^\W\d_]+?)_(\w*[^\W_])", body)
    head, tail = (found[1] or found[3], found[2] or found[4]) if found else (body, "")
    if tail and (len(GREEK.get(head, head)) > 1 or head in others):
        head, tail = body, ""
    letter = GREEK.get(head, head)
    base = notation.letter(letter) if len(letter) == 1 else notation.word(visible(letter))
    kind = _LETTER if len(letter) == 1 else _WORD
    below = [_place(tail, notation)] if tail else []
    below += [_place(place, notation) for place in index.removesuffix("]").split(",")] if bracket else []
    return _Piece(notation.below(base, notation.infix(",").join(below)) if below else base, _ATOM, kind, kind)


def _place(text: str, notation: Notation) -> str:
    text = text.strip()
    return notation.number(text) if text.isdecimal() else notation.word(GREEK.get(text, visible(text)))


# -- the tree -------------------------------------------------------------------------------------------------------------

_DIGIT, _LETTER, _WORD, _FENCE, _CALL, _SIGN, _FRACTION, _PLAIN, _OTHER = range(9)
"""What a piece begins or ends with: it decides whether two of them may stand side by side as a product. Beside _PLAIN all may,
beside _OTHER nothing."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A drawn subtree: how tightly it binds, what it begins and ends with, how many levels it has."""

    text: str
    level: int
    first: int
    last: int
    height: int = 1


def _piece(item: Node, done: dict[Node, _Piece], names: dict[str, _Piece], notation: Notation) -> _Piece:
    match item:
        case Constant(value=value):
            return _constant(value, notation)
        case Variable(name=name):
            return names[name]
        case Call(function=function, arguments=arguments):
            row, parts = TABLE[function], [done[a] for a in arguments]
            drawer = _Drawer(notation, item, parts, done)
            drawn = FORMS.get(function, _array if row.arrays else _call)(drawer)
            if function not in _FLAT:
                return replace(drawn, height=1 + max((p.height for p in parts), default=0))
            return replace(drawn, height=max(p.height + (n > 0) for n, p in enumerate(parts)))


_FLAT = frozenset({syntax.ADD, syntax.SUB, syntax.MUL})
"""What doesn't nest on its left."""


def _constant(value: object, notation: Notation) -> _Piece:
    text = repr(value)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return _Piece(notation.word(visible(str(value))), _ATOM, _WORD, _WORD)
    sign, digits = (notation.infix("−", prefix=True), text[1:]) if text.startswith("-") else ("", text)
    if digits in ("inf", "nan"):
        drawn, kind = (notation.letter("∞") if digits == "inf" else notation.word(digits)), _WORD
    else:
        mantissa, _, exponent = digits.partition("e")
        drawn, kind = notation.number(mantissa.removesuffix(".0")), _DIGIT
        if exponent:
            power = str(int(exponent)).replace("-", "−")
            tenth = notation.power(notation.number("10"), notation.number(power))
            drawn = tenth if drawn == notation.number("1") else drawn + notation.infix("×") + tenth
            return _Piece(sign + drawn, _UNARY if sign else _PRODUCT, _SIGN if sign else kind, _DIGIT)
    return _Piece(sign + drawn, _UNARY if sign else _ATOM, _SIGN if sign else kind, kind)


@dataclass(frozen=True, slots=True)
class _Drawer:
    """One call that is being drawn: its arguments, drawn already."""

    to: Notation
    item: Call
    parts: list[_Piece]
    done: dict[Node, _Piece]

    @property
    def row(self) -> Function:
        return TABLE[self.item.function]

    def at_least(self, index: int, level: int, unsigned: bool = False) -> str:
        """An argument, in parentheses where it binds more loosely, or where a sign would meet another one."""
        piece = self.parts[index]
        return piece.text if piece.level >= level and not (unsigned and piece.first == _SIGN) else self.fenced(piece.text)

    def first(self, level: int, index: int = 0) -> int:
        """What an argument begins with, in its place."""
        return self.parts[index].first if self.parts[index].level >= level else _FENCE

    def fenced(self, text: str, left: str = "(", right: str = ")") -> str:
        return self.to.fenced(left, text, right)

    def listed(self, parts: Sequence[str]) -> str:
        return self.to.infix(",").join(parts)

    def called(self, name: str, arguments: Sequence[str]) -> _Piece:
        return _Piece(self.to.applied(name, self.fenced(self.listed(arguments))), _ATOM, _CALL, _CALL)


Form = Callable[[_Drawer], _Piece]


def _call(d: _Drawer) -> _Piece:
    """name(x, y): settings at their defaults are left out, as they are in the text."""
    if not d.row.parameters:
        return _Piece(d.to.word(d.row.name), _ATOM, _WORD, _WORD)
    shown = [p.text for p in d.parts]
    for parameter, argument in reversed(d.row.bind(d.item.arguments)):
        if parameter.default is None or not (isinstance(argument, Constant) and argument.value == parameter.default):
            break
        shown.pop()
    return d.called(d.to.function(d.row.name), shown)


def _array(d: _Drawer) -> _Piece:
    """The same of a row on arrays: its settings by name."""
    terms, given = _arguments(d)
    if d.row.parameters[0].variadic:
        terms = [d.fenced(d.listed(terms), "[", "]")]
        if d.row.name == syntax.STACK and not given:
            return _Piece(terms[0], _ATOM, _FENCE, _FENCE)
    return d.called(d.to.function(d.row.name), [*terms, *given])


def _arguments(d: _Drawer, *without: str) -> tuple[list[str], list[str]]:
    """Arrays, and what is said beside them: `dim = 1`."""
    bound = d.row.bind(d.item.arguments)
    terms = [_term(d, p, a) for p, a in takewhile(lambda pair: positional(pair[0]), bound)]
    rest = [(p, a) for p, a in bound[len(terms) :] if not (isinstance(a, Constant) and a.value == p.default)]
    return terms, [_setting(d, p.name, a) for p, a in rest if p.name not in without]


def _term(d: _Drawer, parameter: Parameter, value: Node) -> str:
    if parameter.kind == "counts" and isinstance(value, Constant):
        return d.listed([d.to.number(str(n)) for n in value.value])
    return d.done[value].text


def _setting(d: _Drawer, name: str, value: Node) -> str:
    """`dim = 1`; in a definition, where it is the caller's, `dim`."""
    if isinstance(value, Variable) and value.name == name:
        return d.to.word(name)
    return d.to.word(name) + d.to.infix("=") + d.done[value].text


def _named(name: str) -> Form:
    """Another name than the row's."""
    return lambda d: d.called(d.to.function(name), [p.text for p in d.parts])


def _indexed(letter: str) -> Form:
    """A letter with the first argument below it: J_n(x)."""
    return lambda d: d.called(d.to.below(d.to.letter(letter), d.parts[0].text), [p.text for p in d.parts[1:]])


def _numbered(name: str, number: str) -> Form:
    return lambda d: d.called(d.to.below(d.to.function(name), d.to.number(number)), [p.text for p in d.parts])


def _fence(left: str, right: str) -> Form:
    return lambda d: _Piece(d.fenced(d.parts[0].text, left, right), _ATOM, _FENCE, _FENCE)


def _symbol(letter: str) -> Form:
    return lambda d: _Piece(d.to.letter(letter), _ATOM, _LETTER, _LETTER)


def _infix(d: _Drawer) -> _Piece:
    _, level, left, right = INFIX[d.row.operator]
    sign = d.to.infix(_SIGNS.get(d.row.operator, d.row.operator))
    loose = right if d.row.operator in ("and", "or") else max(right, left)
    text = d.at_least(0, left) + sign + d.at_least(1, loose, unsigned=level >= _SUM)
    return _Piece(text, level, d.first(left), _OTHER)


_SIGNS = {"-": "−", "<=": "≤", ">=": "≥", "==": "=", "!=": "≠", "and": "∧", "or": "∨", "not": "¬"}


def _and(d: _Drawer) -> _Piece:
    """`0 < x` and `x < 1` is `0 < x < 1`, as it may have been written."""
    match d.item.arguments:
        case (Call(function=first, arguments=(_, middle)), Call(function=second, arguments=(same, _))) if middle == same and {
            first,
            second,
        } <= {"lt", "le"}:
            right = d.item.arguments[1]
            assert isinstance(right, Call)
            last = _Drawer(d.to, right, [d.done[a] for a in right.arguments], d.done)
            sign = d.to.infix(_SIGNS.get(last.row.operator, last.row.operator))
            return _Piece(d.parts[0].text + sign + last.at_least(1, _SUM), _COMPARE, d.parts[0].first, _OTHER)
    return _infix(d)


def _mul(d: _Drawer) -> _Piece:
    """Factors side by side, with a dot where they could be taken for one number, one name or a call."""
    x, y = d.parts
    left, right = d.at_least(0, _PRODUCT), d.at_least(1, _UNARY, unsigned=True)
    last = x.last if x.level >= _PRODUCT else _FENCE
    first = y.first if y.level >= _UNARY and y.first != _SIGN else _FENCE
    dotted = first == _DIGIT or _WORD in (last, first) or (last, first) in _CONFUSED or _OTHER in (last, first)
    return _Piece(
        left + (d.to.infix("·") if dotted else d.to.times()) + right,
        _PRODUCT,
        d.first(_PRODUCT),
        y.last if first != _FENCE else _FENCE,
    )


_CONFUSED = {(_LETTER, _FENCE), (_CALL, _FENCE), (_FRACTION, _FRACTION), (_DIGIT, _FRACTION)}


def _matmul(d: _Drawer) -> _Piece:
    return _Piece(
        d.at_least(0, _PRODUCT) + d.to.times() + d.at_least(1, _UNARY, unsigned=True), _PRODUCT, d.first(_PRODUCT), _OTHER
    )


def _div(d: _Drawer) -> _Piece:
    """A fraction; the sign of what is above it stands before it."""
    above = d.item.arguments[0]
    if isinstance(above, Call) and above.function == syntax.NEG:
        text = d.to.infix("−", prefix=True) + d.to.fraction(d.done[above.arguments[0]].text, d.parts[1].text)
        return _Piece(text, _UNARY, _SIGN, _FRACTION)
    return _Piece(d.to.fraction(d.parts[0].text, d.parts[1].text), _UNARY, _FRACTION, _FRACTION)


def _neg(d: _Drawer) -> _Piece:
    piece = d.parts[0]
    text = d.to.infix("−", prefix=True) + d.at_least(0, _PRODUCT, unsigned=True)
    return _Piece(text, min(max(piece.level, _PRODUCT), _UNARY), _SIGN, piece.last if piece.level >= _PRODUCT else _FENCE)


def _not(d: _Drawer) -> _Piece:
    return _Piece(d.to.infix("¬", prefix=True) + d.at_least(0, _SUM), _NOT, _SIGN, _OTHER)


def _pow(d: _Drawer) -> _Piece:
    """A power; a slash in a small exponent; sin²(x)."""
    base, exponent = d.item.arguments
    if (
        isinstance(base, Call)
        and base.function in _SQUARED
        and isinstance(exponent, Constant)
        and exponent.value in range(2, 10)
    ):
        name = d.to.power(d.to.function(_ARCS.get(base.function, base.function)), d.parts[1].text)
        return d.called(name, [d.done[a].text for a in base.arguments])
    last = d.parts[0].last if d.parts[0].level >= _ATOM else _PLAIN
    return _Piece(d.to.power(d.at_least(0, _ATOM), _above(d, exponent)), _POWER, d.first(_ATOM), last)


def _above(d: _Drawer, exponent: Node) -> str:
    if isinstance(exponent, Call) and exponent.function == syntax.DIV:
        above, below = (d.done[a] for a in exponent.arguments)
        if above.level >= _ATOM and below.level >= _ATOM:
            return above.text + d.to.infix("/") + below.text
    return d.done[exponent].text


def _to_the(base: str) -> Form:
    """A power of a constant, the argument above: `exp` as e^x, unless there are several lines above."""

    def form(d: _Drawer) -> _Piece:
        if d.parts[0].level < _OR:
            return _call(d)
        below = d.to.number(base) if base.isdecimal() else d.to.letter(base)
        return _Piece(
            d.to.power(below, _above(d, d.item.arguments[0])), _POWER, _DIGIT if base.isdecimal() else _LETTER, _LETTER
        )

    return form


def _root(degree: str = "") -> Form:
    return lambda d: _Piece(d.to.root(d.parts[0].text, degree), _ATOM, _PLAIN, _PLAIN)


def _where(d: _Drawer) -> _Piece:
    """All pieces under one brace: a choice in the last place goes on."""
    cases: list[tuple[str, str]] = []
    rest: Node = d.item
    while isinstance(rest, Call) and rest.function == syntax.WHERE:
        condition, value, rest = rest.arguments
        cases.append((d.done[value].text, d.to.word("if", after=True) + d.done[condition].text))
    cases.append((d.done[rest].text, d.to.word("otherwise")))
    return _Piece(d.to.cases(cases), _OR - 1, _OTHER, _OTHER)  # its end can't be seen: always in parentheses


def _index(d: _Drawer) -> _Piece:
    *listed, whole, index = range(len(d.item.arguments))
    places, lists = d.item.arguments[index], (d.parts[i].text for i in listed)
    found = places.value if isinstance(places, Constant) else (...,)
    below = d.listed([next(lists) if place == LIST else _place(show_index((place,)), d.to) for place in found])
    first = d.first(_ATOM, whole)
    return _Piece(d.to.below(d.at_least(whole, _ATOM), below), _ATOM, first, first)


def _chosen(d: _Drawer) -> _Piece:
    return _Piece(d.to.below(d.at_least(0, _ATOM), d.parts[1].text), _ATOM, d.first(_ATOM), d.first(_ATOM))


def _transposed(d: _Drawer) -> _Piece:
    return _Piece(d.to.power(d.at_least(0, _ATOM), d.to.letter("⊤")), _POWER, d.first(_ATOM), d.first(_ATOM))


def _big(sign: str) -> Form:
    """A sum or a product over an array: what is said beside it stands below the sign."""

    def form(d: _Drawer) -> _Piece:
        _, given = _arguments(d, "keepdim")  # of a sum's shape, not of its value
        sigma = d.to.under(d.to.big(sign), d.listed(given)) if given else d.to.big(sign)
        return _Piece(sigma + d.at_least(0, _PRODUCT, unsigned=True), _SUM, _OTHER, _OTHER)

    return form


def _norm(d: _Drawer) -> _Piece:
    _, given = _arguments(d, "p", "keepdim")
    p = d.item.arguments[1]
    given = given if isinstance(p, Constant) and p.value == d.row.parameters[1].default else [d.done[p].text, *given]
    text = d.fenced(d.parts[0].text, "‖", "‖")
    return _Piece(d.to.below(text, d.listed(given)) if given else text, _ATOM, _FENCE, _FENCE)


def _factorial(d: _Drawer) -> _Piece:
    return _Piece(d.at_least(0, _ATOM) + d.to.infix("!", prefix=True), _POWER, d.first(_ATOM), _OTHER)


def _polygamma(d: _Drawer) -> _Piece:
    return d.called(d.to.power(d.to.letter("ψ"), d.fenced(d.parts[0].text)), [d.parts[1].text])


def _lgamma(d: _Drawer) -> _Piece:
    inner = d.called(d.to.letter("Γ"), [d.parts[0].text]).text
    return d.called(d.to.function("log"), [d.fenced(inner, "|", "|")])


def _letter(letter: str) -> Form:
    return lambda d: d.called(d.to.letter(letter), [p.text for p in d.parts])


def _reciprocal(below: Form) -> Form:
    return lambda d: _Piece(d.to.fraction(d.to.number("1"), below(d).text), _UNARY, _FRACTION, _FRACTION)


def _squared(d: _Drawer) -> _Piece:
    return _Piece(d.to.power(d.at_least(0, _ATOM), d.to.number("2")), _POWER, d.first(_ATOM), _PLAIN)


_ARCS = {
    f"a{name}": f"{'ar' if name.endswith('h') else 'arc'}{name}"
    for name in ("sin", "cos", "tan", "sec", "csc", "cot", "sinh", "cosh", "tanh", "sech", "csch", "coth")
}
_SQUARED = frozenset(name for arc in _ARCS for name in (arc, arc[1:]))
"""Functions whose powers stand at their names."""

FORMS: dict[str, Form] = {
    **{row.name: _infix for row in TABLE.values() if row.operator in INFIX},
    **{name: _named(shown) for name, shown in _ARCS.items()},
    "pi": _symbol("π"), "e": _symbol("e"), "inf": _symbol("∞"),
    syntax.MUL: _mul, syntax.DIV: _div, syntax.NEG: _neg, syntax.POW: _pow, "matmul": _matmul,
    syntax.AND: _and, syntax.NOT: _not, syntax.WHERE: _where,
    syntax.INDEX: _index, syntax.LISTED: _index, syntax.CHOSEN: _chosen, syntax.TRANSPOSE: _transposed,
    "abs": _fence("|", "|"), "floor": _fence("⌊", "⌋"), "ceil": _fence("⌈", "⌉"), "norm": _norm,
    syntax.SQRT: _root(), "cbrt": _root("3"), syntax.EXP: _to_the("e"), "exp2": _to_the("2"),
    "square": _squared, "reciprocal": _reciprocal(lambda d: d.parts[0]), "rsqrt": _reciprocal(_root()),
    "maximum": _named("max"), "minimum": _named("min"), "sign": _named("sgn"), "trace": _named("tr"),
    "log2": _numbered("log", "2"), "log10": _numbered("log", "10"),
    "gamma": _letter("Γ"), "beta": _letter("Β"), "zeta": _letter("ζ"), "digamma": _letter("ψ"), "lgamma": _lgamma,
    "factorial": _factorial, "polygamma": _polygamma,
    "besselj": _indexed("J"), "bessely": _indexed("Y"), "besseli": _indexed("I"), "besselk": _indexed("K"),
    "sum": _big("∑"), "prod": _big("∏"),
}  # fmt: skip
"""Row -> how it is drawn; others are functions with an upright name."""

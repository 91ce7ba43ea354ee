"""Text to tree. The text is parsed by Python's `ast` and translated node by node; nothing in it is ever executed.

`parse` accepts one expression, `parse_stage` an expression or `name = expression`. Bounds: a stage has at most
MAX_LENGTH characters, MAX_NODES nodes and MAX_DEPTH levels; whatever is beyond is an `InputError`, in time
proportional to the length.
"""

from __future__ import annotations

import ast
import difflib
import math
import re
import warnings
from functools import cache
from keyword import iskeyword

from gradcheck_cli.errors import NO_TEXT, InputError, half_character
from gradcheck_cli.language import syntax
from gradcheck_cli.language.elsewhere import INSTEAD, OF_MATRICES, OTHERS_OF_TORCH, SIGNS
from gradcheck_cli.language.functions import (
    ARRAY_KINDS,
    KEYWORDS,
    NAMES,
    NUMBER,
    NUMBERED,
    PAIRS,
    RESULTS,
    SETTINGS,
    TABLE,
    VARIADIC,
    VARIANTS,
    Function,
    Parameter,
)
from gradcheck_cli.language.settings import READERS, lists
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, indicator

MAX_LENGTH = 20_000
MAX_NODES = 5_000
MAX_DEPTH = 150

MODULES = frozenset({
    "torch", "torch.special", "torch.nn.functional", "torch.nn", "F", "nn", "nn.functional", "math", "np",
    "numpy", "scipy.special", "special", "sp", "sympy", "jnp", "jax.numpy",
    "torch.linalg", "linalg", "np.linalg", "numpy.linalg",
})  # fmt: skip
"""Prefixes that pasted code carries: `torch.sin(x)` is `sin(x)`."""


def _operators() -> dict[type[ast.AST], Function]:
    """The rows with an operator, by what Python reads it as; `&` and `~` are NumPy's and torch's `and` and `not`."""
    found: dict[type[ast.AST], Function] = {}
    for row in TABLE.values():
        if row.operator:
            match ast.parse(row.template.format("x", "y"), mode="eval").body:
                case ast.Compare(ops=[op]) | ast.BinOp(op=op) | ast.BoolOp(op=op) | ast.UnaryOp(op=op):
                    found[type(op)] = row
    return found | {ast.BitAnd: found[ast.And], ast.Invert: found[ast.Not]}


_OPERATORS = _operators()

_MATRICES = "transpose", (Constant(-2), Constant(-1))

_ATTRIBUTES: dict[str, tuple[tuple[str, tuple[Constant, ...]], ...]] = {
    "T": ((syntax.TRANSPOSE, ()),), "mT": (_MATRICES,), "H": ((syntax.TRANSPOSE, ()), (syntax.CONJ, ())),
    "mH": (_MATRICES, (syntax.CONJ, ())), "real": ((syntax.REAL, ()),), "imag": ((syntax.IMAG, ()),),
}  # fmt: skip
"""Those of a tensor that are functions of it, one of the other: each with its settings."""

_SIGN = re.compile(f"[{''.join(SIGNS)}]")
_POWER = re.compile(r"\b([^\W\d]\w*)\s*(?:\^|\*\*)\s*(-?\d+)\s*\(")

_REFUSED: dict[type[ast.AST], str] = {
    ast.Lambda: "a lambda", ast.JoinedStr: "an f-string", ast.ListComp: "a comprehension",
    ast.SetComp: "a comprehension", ast.DictComp: "a comprehension", ast.GeneratorExp: "a comprehension",
    ast.Await: "await", ast.Yield: "yield", ast.YieldFrom: "yield",
    ast.NamedExpr: "an assignment", ast.IfExp: "an if-else: use where(condition, a, b)",
    ast.Tuple: "a tuple: write a list, [a, b]", ast.Dict: "a dict", ast.Set: "a set", ast.Slice: "a slice",
    ast.Starred: "a starred argument", ast.Attribute: "an attribute that is not called",
}  # fmt: skip


def parse(
    text: str,
    whole: str | None = None,
    offset: int = 0,
    truths: frozenset[str] = frozenset(),
    settings: frozenset[str] = frozenset(),
    imaginary: frozenset[str] | None = None,
) -> Node:
    """The tree of one expression.

    Raises InputError, which quotes the text with a caret, for anything that is not in the language. `whole` and
    `offset` place the expression in a longer text, so that the caret points into that. `truths` names variables that
    may hold a truth value (masks, in the table of ATen operations), `settings` those that stand for a setting (in the
    definition of a row). `imaginary`: names of the imaginary unit, beside literals such as `1j`; None: numbers are real.
    """
    return _Translation(text, offset, text if whole is None else whole, truths, settings, imaginary).expression()


def parse_stage(
    text: str, whole: str | None = None, offset: int = 0, entry: bool = False, imaginary: frozenset[str] | None = None
) -> tuple[str | None, Node]:
    """`name = expression` or `expression`: the name (or None) and the tree.

    `whole` and `offset` place the stage in a longer text, so that the caret of an error points into that. `entry`: the name
    may be that of an entry of an array, `x[0]`. `imaginary`: see `parse`.
    """
    whole = text if whole is None else whole
    name, body = None, text
    at = assignment(text)
    if at is not None:
        name, body = text[:at].strip(), text[at + 1 :]
        start = offset + len(text) - len(text.lstrip())
        if not name:
            raise InputError("a name is missing before '='", whole, start)
        if entry:
            name = "".join(name.split())
        named = name.partition("[")[0] if entry and re.fullmatch(r"\w+\[\d+(,\d+)*\]", name) else name
        if not named.isidentifier() or iskeyword(named):
            called = re.fullmatch(r"([^\W\d]\w*)\s*\([\w\s,]*\)", name)
            hint = f": write {called[1]} = ..." if called else ""
            raise InputError(f"{name!r} is not a name for a stage{hint}", whole, start)
        if _constant(name):
            raise InputError(f"{name!r} is a constant and can't name a stage", whole, start)
        offset += at + 1
    tree = _Translation(body, offset, whole, imaginary=imaginary).expression()
    if is_truth(tree):
        raise InputError("a stage is a number, not a condition: write where(condition, a, b)", whole, tree.position)
    return name, tree


def assignment(text: str) -> int | None:
    """Where a single `=` stands outside of parentheses."""
    depth = 0
    for i, c in enumerate(text):
        depth += (c in "([{") - (c in ")]}")
        if c == "=" and depth == 0:
            if text[i + 1 : i + 2] == "=" or (i and text[i - 1] in "=<>!:"):
                continue
            return i
    return None


@cache
def definition(name: str) -> Node:
    """The tree of a defined row, in terms of its parameter names. LookupError of a primitive one, which every
    algebra that meets it has to know."""
    if not TABLE[name].definition:
        raise LookupError(f"{name} is primitive: an algebra that meets it needs a function for it")
    parameters = TABLE[name].parameters
    flags = frozenset(p.name for p in parameters if p.kind in ("flag", "truth"))
    settings = frozenset(p.name for p in parameters if p.kind in SETTINGS or p.kind == "number")
    return parse(TABLE[name].definition, truths=flags, settings=settings)


@cache
def composition(name: str) -> Node:
    """The tree of what torch composes for a row without a torch operation of its own."""
    return parse(TABLE[name].composed)


class _Translation:
    """One run of the parser over one text."""

    def __init__(
        self,
        text: str,
        offset: int,
        whole: str,
        truths: frozenset[str] = frozenset(),
        settings: frozenset[str] = frozenset(),
        imaginary: frozenset[str] | None = None,
    ) -> None:
        self.text, self.offset, self.whole, self.truths, self.settings = text, offset, whole, truths, settings
        self.imaginary = imaginary
        self.nodes = 0

    def error(self, message: str, node: ast.AST | int | None = None) -> InputError:
        return InputError(message, self.whole, self.position(node))

    def position(self, node: ast.AST | int | None) -> int:
        """The index of an ast node in the whole text: ast counts columns in UTF-8 bytes, from the line's start."""
        if isinstance(node, int):
            return self.offset + self.lead + node
        column = getattr(node, "col_offset", None)
        if column is None:
            return self.offset
        return self.offset + self.lead + self.columns(column)

    def expression(self) -> Node:
        stripped = self.text.strip()
        self.lead = len(self.text) - len(self.text.lstrip())
        # Newlines inside parentheses are legal Python; as spaces they keep every column.
        self.source = stripped.replace("\n", " ").replace("\r", " ").replace("\t", " ").replace("\f", " ")
        self.columns = syntax.Columns(self.source)
        if not stripped:
            raise self.error("an expression is missing here", 0)
        if len(stripped) > MAX_LENGTH:
            raise self.error(f"the expression has {len(stripped):,} characters; at most {MAX_LENGTH:,} are read", 0)
        self.misprinted(stripped)
        if "^" in stripped:
            raise self.error("'^' is not a power here: write '**'", stripped.index("^"))
        if "\0" in stripped:
            raise self.error("a null character", stripped.index("\0"))
        half = half_character(stripped)
        if half is not None:
            raise self.error(NO_TEXT, half)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # SyntaxWarning: "0.5x" and the like; the tree decides
                body = ast.parse(self.source, mode="eval").body
        except SyntaxError as problem:
            raise self.syntax(problem) from None
        except (RecursionError, MemoryError):
            raise self.error("the expression is nested too deeply", 0) from None
        except ValueError as problem:  # an int literal of thousands of digits
            raise self.error(str(problem).split(";")[0], 0) from None
        try:
            return self.translate(body, 0)
        except RecursionError:
            raise self.error("the expression is nested too deeply", 0) from None

    def misprinted(self, text: str) -> None:
        """InputError for what is written in printed mathematics only: its signs, and sin^2(x)."""
        sign = _SIGN.search(text)
        if sign is not None:
            raise self.error(f"{sign[0]!r} is not part of the language: write {SIGNS[sign[0]]}", sign.start())
        for power in _POWER.finditer(text):
            name, exponent = power.groups()
            inverse = f"a{name}(...)" if exponent == "-1" else ""
            if name in NAMES and TABLE[NAMES[name]].signature:
                hint = inverse if f"a{name}" in NAMES and inverse else f"{name}(...)**{exponent}"
                raise self.error(f"a power of {name} is written behind its argument: {hint}", power.start())

    def syntax(self, problem: SyntaxError) -> InputError:
        column = problem.offset - 1 if problem.offset else len(self.source)  # 0: the end
        message = (problem.msg or "invalid syntax").split(". ")[0].split(" (")[0]
        if "digits" in (problem.msg or ""):
            message = "a number of thousands of digits"
        if message.startswith(("invalid syntax", "unexpected EOF", "invalid decimal")):
            rest = self.source[column:]
            if message.startswith("invalid decimal") and column + 1 < len(self.source):
                message = "a number runs into a name: is a '*' missing?"
            elif not rest.strip("+-*/%<>=&,( "):
                message = "the expression ends too early"
            elif (word := re.search(r"([^\W\d]\w*)\s+$", self.source[:column])) and word[1] in NAMES:
                message = f"the argument of {word[1]} stands in parentheses: {word[1]}(x)"
            else:
                message = "this is not an expression"
        return self.error(f"syntax error: {message}", column)

    def refused(self, kind: ast.AST, node: ast.AST) -> InputError:
        if isinstance(kind, ast.Attribute) and kind.attr in INSTEAD:
            return self.error(f"syntax error: .{kind.attr} is not part of the language: {INSTEAD[kind.attr]}", node)
        default = "this operator" if isinstance(kind, ast.operator) else "this"
        what, colon, hint = _REFUSED.get(type(kind), default).partition(": ")
        return self.error(f"syntax error: {what} is not part of the language{colon}{hint}", node)

    def translate(self, node: ast.AST, depth: int) -> Node:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise self.error(f"the expression has more than {MAX_NODES:,} operations", node)
        if depth > MAX_DEPTH:
            raise self.error(f"the expression is nested more than {MAX_DEPTH} levels deep", node)
        depth += 1
        at = self.position(node)
        match node:
            case ast.Constant(value=value):
                return self.number(value, node)
            case ast.Name(id=name) if self.imaginary and name in self.imaginary:
                return Constant(1j, at)
            case ast.Name(id=name):
                constant = _constant(name)
                return Variable(name, at) if constant is None else Call(constant, (), at)
            case ast.Attribute(value=value, attr=name) if _constant(name) and _dotted(value) in MODULES:
                return Call(NAMES[name], (), at)
            case ast.Attribute(value=value, attr=name) if name in _ATTRIBUTES:
                found = self.real(self.translate(value, depth), value)
                for function, settings in _ATTRIBUTES[name]:
                    found = Call(function, (found, *settings), at)
                return found
            case ast.Subscript(value=ast.Attribute(value=value, attr="shape"), slice=places):
                return self.build(TABLE[syntax.SIZE], syntax.SIZE, node, [value, places], {}, depth)
            case ast.Attribute(value=ast.Call() as value, attr=taken) if taken in _results(value):
                return self.call(value, depth, taken)
            case ast.Attribute(value=ast.Call() as value, attr=name) if results := _results(value):
                raise self.error(f"torch returns {', '.join(results)}, and no {name}", node)
            case ast.List(elts=elements):
                terms = [self.real(self.translate(e, depth), e) for e in elements]
                if not terms:
                    raise self.error("an empty list has no shape", node)
                return Call(syntax.STACK, (*terms, Constant(0, at)), at)
            case ast.Subscript(value=value, slice=places):
                return self.subscript(value, places, depth, at)
            case ast.BinOp(left=left, op=op, right=right):
                return self.binary(node, left, op, right, depth)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.translate(operand, depth)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                inner = self.translate(operand, depth)
                if isinstance(inner, Constant) and not isinstance(inner.value, bool):
                    return Constant(-inner.value, at)
                return Call(syntax.NEG, (self.real(inner, operand),), at)
            case ast.UnaryOp(op=ast.Not() | ast.Invert(), operand=operand):
                return Call(syntax.NOT, (self.truth(self.translate(operand, depth), operand),), at)
            case ast.BoolOp(op=op, values=values):
                terms = [self.truth(self.translate(v, depth), v) for v in values]
                return self.fold(_OPERATORS[type(op)].name, terms, at)
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                return self.comparison(node, left, ops, comparators, depth)
            case ast.Call():
                return self.call(node, depth)
            case _:
                raise self.refused(node, node)

    def number(self, value: object, node: ast.AST) -> Node:
        at = self.position(node)
        if isinstance(value, bool):
            return Constant(value, at)
        if isinstance(value, int):
            if abs(value) >= 1 << 1024:
                raise self.error("this number is larger than any float", node)
            return Constant(value, at)
        if isinstance(value, float):
            if math.isinf(value):
                raise self.error("this number is larger than any float", node)
            return Constant(value, at)
        if isinstance(value, complex) and self.imaginary is not None:
            return Constant(value, at)
        if isinstance(value, complex):
            raise self.error("complex numbers are not supported here: this is a formula of real ones", node)
        what = {str: "a string", bytes: "a string", type(None): "None"}.get(type(value), "'...'")
        raise self.error(f"syntax error: {what} is not part of the language: a number is needed here", node)

    def binary(self, node: ast.AST, left: ast.AST, op: ast.operator, right: ast.AST, depth: int) -> Node:
        # A sum of many terms is a long left spine: it is walked in a loop, so that it costs no recursion.
        spine: list[tuple[ast.AST, ast.operator, ast.AST]] = [(node, op, right)]
        while isinstance(left, ast.BinOp):
            spine.append((left, left.op, left.right))
            left = left.left
        tree = self.translate(left, depth)
        first = left
        for outer, operator, operand in reversed(spine):
            self.nodes += 1
            if self.nodes > MAX_NODES:
                raise self.error(f"the expression has more than {MAX_NODES:,} operations", outer)
            row = _OPERATORS.get(type(operator))
            if row is None:
                raise self.refused(operator, operand)
            y = self.translate(operand, depth)
            left_kind, right_kind = row.parameters
            if row.name == syntax.MUL and is_truth(tree) != is_truth(y):
                tree, y = (indicator(t, t.position) if is_truth(t) else t for t in (tree, y))  # as torch multiplies by a mask
            pair = (self.of(left_kind, tree, first), self.of(right_kind, y, operand))
            tree = Call(row.name, pair, self.position(outer))
        return tree

    def comparison(self, node: ast.AST, left: ast.AST, ops: list[ast.cmpop], comparators: list[ast.expr], depth: int) -> Node:
        terms: list[Node] = []
        x = self.real(self.translate(left, depth), left)
        for op, right in zip(ops, comparators, strict=True):
            row = _OPERATORS.get(type(op))
            if row is None:
                raise self.error("syntax error: this comparison is not part of the language", right)
            y = self.real(self.translate(right, depth), right)
            terms.append(Call(row.name, (x, y), self.position(node)))
            x = y
        return self.fold(syntax.AND, terms, self.position(node))

    def fold(self, name: str, terms: list[Node], at: int) -> Node:
        tree = terms[0]
        for term in terms[1:]:
            tree = Call(name, (tree, term), at)
        return tree

    def subscript(self, value: ast.expr, places: ast.expr, depth: int, at: int) -> Node:
        if isinstance(value, ast.Call) and NAMES.get(_called(value)) in NUMBERED:
            return self.call(value, depth, place=places)
        if isinstance(value, ast.Call) and (results := _results(value)):
            which = f"torch returns {', '.join(results)}"
            if _dotted(value.func) in _ARRAYS_OF_NUMPY:
                raise self.error(f"{which} where NumPy returns an array: write .{results[0]} before the index", value)
            try:
                return self.call(value, depth, results[READERS["axis"](places)])
            except (ValueError, IndexError):
                raise self.error(f"{which}: write one of them before the index, .{results[0]}", value) from None
        tree = self.real(self.translate(value, depth), value)
        try:
            index = Constant(READERS["index"](places), at)
            listed = [self.places(place, depth) for place in lists(places)]
            return Call(syntax.LISTED, (*listed, tree, index), at) if listed else Call(syntax.INDEX, (tree, index), at)
        except ValueError as needed:
            mask = self.translate(places, depth) if isinstance(places, _CONDITIONS) else None
            if mask is not None and is_truth(mask):
                return Call(syntax.CHOSEN, (tree, mask), at)
            raise self.error(f"an index is {needed}", places) from None

    def places(self, node: ast.expr, depth: int) -> Node:
        """A list of places in an index, as a list of numbers."""
        truths = (
            [e for e in node.elts if isinstance(e, ast.Constant) and isinstance(e.value, bool)]
            if isinstance(node, ast.List)
            else []
        )
        if truths:
            raise self.error("an index is a list of places, not of truth values: write [0, 2] for [True, False, True]", node)
        return self.real(self.translate(node, depth), node)

    def call(self, node: ast.Call, depth: int, taken: str = "", place: ast.expr | None = None) -> Node:
        """A call; of one that returns several tensors that which is `taken`, or which has this place."""
        positional: list[ast.expr] = list(node.args)
        match node.func:
            case ast.Name(id=name):
                pass
            case ast.Attribute(value=value, attr=name):
                prefix = _dotted(value)
                if prefix not in MODULES:
                    transposed = isinstance(value, ast.Attribute) and value.attr in _ATTRIBUTES
                    if prefix is not None and "." in prefix and not transposed or name.startswith("_"):
                        hint = f": {INSTEAD[name]}" if name in INSTEAD else ""
                        raise self.error(f"syntax error: attributes are not part of the language{hint}", node.func)
                    positional.insert(0, value)  # x.sin() is sin(x)
                elif prefix.endswith("linalg") and name in OF_MATRICES:
                    name = OF_MATRICES[name]
            case _:
                raise self.error("syntax error: only named functions can be called", node.func)
        if (
            name in _CASTS
            and isinstance(positional[0] if positional else None, _CONDITIONS)
            and isinstance(node.func, ast.Attribute)
        ):
            condition = self.translate(positional[0], depth)  # (x > 0).float()
            if is_truth(condition):
                return indicator(condition, condition.position)
        if name == "float" and len(positional) == 1 and (sign := _infinite(positional[0])):
            infinite = Call(syntax.INF, (), self.position(node))
            return infinite if sign > 0 else Call(syntax.NEG, (infinite,), self.position(node))
        if name == "len" and len(positional) == 1:
            name, positional = syntax.SIZE, [*positional, ast.copy_location(ast.Constant(0), node)]
        if name == "Piecewise":
            return self.piecewise(node, positional, depth)
        keywords: dict[str, ast.expr] = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                raise self.error("syntax error: ** arguments are not part of the language", keyword.value)
            value = keyword.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                variant = VARIANTS.get((name, keyword.arg, value.value))
                if variant is not None:
                    name = variant
                    continue
                if not _takes_words(name, keyword.arg):
                    raise self.error(f"{name} has no {keyword.arg}={value.value!r}", value)
            keywords[keyword.arg] = value
        if name.startswith("__"):
            raise self.error(f"syntax error: {name!r} is not part of the language", node.func)
        if name in RESULTS and (taken or name not in NAMES):
            return self.result(name, taken, node, positional, keywords, depth)
        if name not in NAMES:
            raise self.error(f"unknown function {name!r}{_nearest(name)}", node.func)
        if name in PAIRS and _axis_of(node):
            hint = f"write .values behind it; the larger or smaller of two numbers is {PAIRS[name]}(a, b)"
            raise self.error(f"torch's {name} with a dimension returns {', '.join(RESULTS[name])}: {hint}", node.func)
        if NAMES[name] in NUMBERED and place is None:
            raise self.error(f"torch's {name} returns several tensors: write the place of one behind it, [0]", node.func)
        if NAMES[name] in NUMBERED and place is not None:
            keywords[NUMBER] = place
        row = TABLE[PAIRS[name] if name in PAIRS and len(positional) > 1 else NAMES[name]]
        return self.build(row, name, node, positional, keywords, depth)

    def result(
        self, name: str, taken: str, node: ast.Call, positional: list[ast.expr], keywords: dict[str, ast.expr], depth: int
    ) -> Node:
        """One of several tensors that torch returns."""
        results, called = RESULTS[name], node.func
        if (
            name in OTHERS_OF_TORCH
            and isinstance(called, ast.Attribute)
            and not (_dotted(called.value) or "").endswith("linalg")
        ):
            raise self.error(OTHERS_OF_TORCH[name], node.func)
        if not taken:
            known = " or ".join(f".{result}" for result, row in results.items() if row)
            raise self.error(f"torch's {name} returns {', '.join(results)}: write {known} behind it", node.func)
        if not results[taken]:
            raise self.error(f"{taken} of {name} has no derivative, and none is followed", node.func)
        return self.build(TABLE[results[taken]], name, node, positional, keywords, depth)

    def build(
        self,
        row: Function,
        name: str,
        node: ast.AST,
        positional: list[ast.expr],
        keywords: dict[str, ast.expr],
        depth: int,
    ) -> Node:
        at = self.position(node)
        if row.name in VARIADIC and len(positional) > 2 and not keywords:
            terms = [self.argument(row, row.parameters[0], p, depth) for p in positional]
            return self.fold(row.name, terms, at)
        parameters = row.parameters
        usage = f"{name}({', '.join(_usage(p) for p in parameters)})"
        leading: list[Node] = []
        if row.name == syntax.EINSUM and len(positional) > 1:  # einsum('ij,j->i', A, x), or of a list of arrays
            first, *factors = positional
            whole = factors[0] if len(factors) == 1 and isinstance(factors[0], ast.List | ast.Tuple) else None
            positional = [whole or ast.copy_location(ast.List(factors, ast.Load()), first), first]
        if parameters and parameters[0].variadic:
            listed = positional.pop(0) if positional else node
            if not isinstance(listed, ast.List | ast.Tuple) or not listed.elts:
                raise self.error(f"{name} takes a list of arrays: {name}([x, y])", listed)
            leading = [self.argument(row, parameters[0], e, depth) for e in listed.elts]
            parameters = parameters[1:]
        if parameters and parameters[-1].kind in ("sizes", "counts") and len(positional) > len(parameters):
            last = positional[len(parameters) - 1 :]  # x.reshape(2, 3)
            positional = [*positional[: len(parameters) - 1], ast.copy_location(ast.Tuple(last, ast.Load()), last[0])]
        if len(positional) > len(parameters):
            raise self.error(f"too many arguments: {usage}", positional[len(parameters)])
        chosen: dict[str, ast.expr] = {p.name: a for p, a in zip(parameters, positional, strict=False)}
        names = {p.name for p in parameters}
        for key, value in keywords.items():
            key = KEYWORDS[key] if key not in names and KEYWORDS.get(key) in names else key
            if key not in names or key in chosen:
                what = "repeated" if key in chosen else "unknown"
                raise self.error(f"{what} argument {key!r}: {INSTEAD.get(key, usage)}", value)
            chosen[key] = value
        arguments = leading
        for parameter in parameters:
            if parameter.name in chosen and not (optional(parameter) and _is_none(chosen[parameter.name])):
                arguments.append(self.argument(row, parameter, chosen[parameter.name], depth))
            elif parameter.default is not None:
                infinite = isinstance(parameter.default, float) and math.isinf(parameter.default)
                default: Node = Call(syntax.INF, (), at) if infinite else Constant(parameter.default, at)
                arguments.append(Call(syntax.NEG, (default,), at) if infinite and parameter.default < 0 else default)
            else:
                raise self.error(f"argument {parameter.name!r} is missing: {usage}", node)
        return Call(row.name, tuple(arguments), at)

    def argument(self, row: Function, parameter: Parameter, node: ast.expr, depth: int) -> Node:
        if isinstance(node, ast.Name) and node.id in self.settings:
            return Variable(node.id, self.position(node))
        if parameter.kind in READERS:
            try:
                return Constant(READERS[parameter.kind](node), self.position(node))
            except ValueError as needed:
                raise self.error(f"{row.name} needs {needed} for {parameter.name!r}", node) from None
        tree = self.translate(node, depth)
        if parameter.kind == "number" and tree in (Constant(True), Constant(False)):
            tree = Constant(int(tree == Constant(True)), tree.position)  # unbiased=False
        tree = self.of(parameter, tree, node)
        if parameter.kind == "integer" and not (isinstance(tree, Constant) and isinstance(tree.value, int)):
            if not (isinstance(tree, Constant) and float(tree.value).is_integer()):
                raise self.error(f"{row.name} needs a whole number for {parameter.name!r}", node)
            tree = Constant(int(tree.value), tree.position)
        if parameter.kind == "integer" and isinstance(tree, Constant) and not 0 <= tree.value <= 1000:
            raise self.error(f"{row.name} takes {parameter.name!r} from 0 to 1000", node)
        if parameter.kind == "constants" and not is_constant(tree, self.settings):
            raise self.error(f"{row.name} makes a constant of what it is given: write the list itself, or detach it", node)
        if parameter.kind == "number" and not is_constant(tree, self.settings):
            raise self.error(f"{row.name} needs a number for {parameter.name!r}, not a variable", node)
        return tree

    def piecewise(self, node: ast.Call, pairs: list[ast.expr], depth: int) -> Node:
        branches: list[tuple[Node, Node]] = []
        for pair in pairs:
            if not (isinstance(pair, ast.Tuple) and len(pair.elts) == 2):
                raise self.error("Piecewise takes pairs: Piecewise((value, condition), ..., (value, True))", pair)
            value, condition = pair.elts
            value_tree = self.real(self.translate(value, depth), value)
            branches.append((value_tree, self.truth(self.translate(condition, depth), condition)))
        if not branches or branches[-1][1] != Constant(True):
            raise self.error("Piecewise needs a last pair (value, True)", node)
        tree = branches[-1][0]
        for value_tree, condition_tree in reversed(branches[:-1]):
            tree = Call(syntax.WHERE, (condition_tree, value_tree, tree), self.position(node))
        return tree

    def of(self, parameter: Parameter, tree: Node, node: ast.AST) -> Node:
        """The tree, if it is what the parameter takes: a truth value or a number."""
        return self.truth(tree, node) if parameter.kind == "truth" else self.real(tree, node)

    def truth(self, tree: Node, node: ast.AST) -> Node:
        if is_truth(tree) or (isinstance(tree, Variable) and tree.name in self.truths):
            return tree
        raise self.error("a condition is needed here, such as x > 0", node)

    def real(self, tree: Node, node: ast.AST) -> Node:
        if is_truth(tree):
            raise self.error("a number is needed here, not a condition", node)
        return tree


def _called(call: ast.Call) -> str:
    """The name of what is called, without what stands before it."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id if isinstance(call.func, ast.Name) else ""


def _results(call: ast.Call) -> tuple[str, ...]:
    """The names of the tensors that torch returns of a call; none where it returns one."""
    name = _called(call)
    if name not in RESULTS:
        return ()
    if name in NAMES and _WHOLE in TABLE[name].parameters:
        named = any(KEYWORDS.get(k.arg, k.arg) == _WHOLE.name and not _is_none(k.value) for k in call.keywords if k.arg)
        return tuple(RESULTS[name]) if named or _axis_of(call) else ()
    return tuple(RESULTS[name])


def _axis_of(call: ast.Call) -> bool:
    """True of `x.max(0)` and `torch.max(x, 0)`: the second argument is a dimension. Of `max(x, 0)` it is a number."""
    if not isinstance(call.func, ast.Attribute):
        return False
    place = 1 if _dotted(call.func.value) in MODULES else 0
    try:
        return len(call.args) > place and isinstance(READERS["axis"](call.args[place]), int)
    except ValueError:
        return False


def _infinite(node: ast.expr) -> int:
    """The sign of the infinity that a text stands for, float("-inf"); else 0."""
    text = node.value.lower() if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
    return {"inf": 1, "+inf": 1, "infinity": 1, "-inf": -1, "-infinity": -1}.get(text, 0)


def optional(parameter: Parameter) -> bool:
    """Whether None stands for the default: weight=None."""
    return parameter.kind in ARRAY_KINDS and parameter.default is not None


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


_WHOLE = Parameter("dim", "axes", ())
"""What an operation has that returns one tensor where no dimension is named."""

_ARRAYS_OF_NUMPY = frozenset(
    f"{module}.{name}" for module in ("np", "numpy", "jnp") for name in ("sort", "max", "min", "median")
)

_CASTS = frozenset({"float", "double", "half", "bfloat16", "int", "long", "to", "type"})
"""What makes numbers of a mask, 1 and 0, as a product with it does; of numbers it would make another format."""

_CONDITIONS = (ast.Compare, ast.BoolOp, ast.UnaryOp, ast.BinOp)
"""What a condition looks like in brackets: `x[(x > 0) & ~(x > 1)]`."""


def _takes_words(name: str, keyword: str) -> bool:
    """True where an argument of a function is one of several words."""
    rows = [NAMES.get(name, ""), *RESULTS.get(name, {}).values()]
    kinds = {p.name: p.kind for row in rows if row for p in TABLE[row].parameters}
    return kinds.get(keyword) in ("reduction", "order", "mode", "padding")


def is_truth(node: Node) -> bool:
    """True where the value is a truth value."""
    if isinstance(node, Call):
        return TABLE[node.function].truth
    return isinstance(node, Constant) and isinstance(node.value, bool)


def is_constant(node: Node, settings: frozenset[str] = frozenset()) -> bool:
    """True where no variable occurs, but for `settings`."""
    stack = [node]
    while stack:
        item = stack.pop()
        if isinstance(item, Variable) and item.name not in settings:
            return False
        if isinstance(item, Call):
            stack.extend(item.arguments)
    return True


def _constant(name: str) -> str | None:
    """The row of a function without parameters (pi, e, inf), or None."""
    row = TABLE.get(NAMES.get(name, ""))
    return row.name if row is not None and not row.signature else None


def _dotted(node: ast.AST) -> str | None:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def _nearest(name: str) -> str:
    """What to write instead, the nearest names, or where they are listed."""
    if name in INSTEAD:
        return f": {INSTEAD[name]}"
    folded = {n.lower(): n for n in NAMES}
    near = [folded[m] for m in difflib.get_close_matches(name.lower()[:60], folded, n=3, cutoff=0.6)]
    return f"; nearest: {', '.join(near)}" if near else "; `gradcheck functions` lists the known ones"


def _usage(parameter: Parameter) -> str:
    shown = f"[{parameter.name}]" if parameter.variadic else parameter.name
    return shown if parameter.default is None else f"{shown}={parameter.default!r}"

"""THE table of functions. The parser, the printer, every algebra, the shadow, the help and the tests read it, and no other
module keeps a list of functions.

A row is *defined* or *primitive*. A defined row is a new row here, and nothing else: its definition is text in the very language
that the rows make up. A primitive one names its cells: `sympy` and `ball`, `slope` or `series`, on arrays `array`. A cell that
isn't there yet is a function to write in the module that its column tells; tests/test_structure.py says which are missing,
tests/algebra/test_balls.py asks for the row's oracle, a function of mpmath. Torch runs its own operation in all cases.

A row that is its own piece of syntax (an operator, a comparison, `where`) has its name in `language.syntax` too, for the code
that writes trees.

Columns
-------
name         what the tree calls it; of one of several tensors that torch's operation returns `operation.tensor` (see RESULTS)
signature    parameters as Python writes them. A parameter is a tensor unless annotated: `number` and `integer` are settings
             (constants, handed to torch as Python numbers, no derivative with respect to them); `scalar` may be either.
             Such a row works entry by entry. A row with an `array` (a `vector` has one dimension, a `matrix` two) looks at
             whole arrays, and has further settings: see KINDS.
definition   the function in terms of other rows; empty for a primitive. It follows torch's documented meaning. A condition on
             settings alone is decided before the rest is looked at.
operator     how it is written between its arguments (before its argument), as Python reads it. The printer writes those whose
             precedence it knows. Torch runs Python's operator, unless `torch` names an operation.
truths       the parameters that take truth values, and `result` where the value is one.
torch        dotted name below `torch`; empty: the row's own name. `{n}` is filled with the setting n. A text that begins
             with "=" says how torch composes the function from what it has (no torch operation of that name exists).
sympy        primitive: the name in `sympy` or in `algebra.symbols`; on a defined row, one that SymPy handles better.
ball         primitive: the name in `algebra.balls` or a method of `flint.arb`; on a defined row, a sharper enclosure
             than the definition gives.
analytic     a condition, made of comparisons, `and` and `or`: it holds for certain wherever `balls.SMOOTH` and the series give a
             value. Empty: wherever the ball is finite; so it is needed where a ball stays finite at a kink, on the edge of the
             domain, or at infinity.
slope        primitive of one variable: its derivative in terms of that and of `f`, its own value. "0": constant between jumps. On
             a defined row, sharper than what follows from the definition.
taught       the derivative as textbooks write it, in the same terms, where `slope` is written for the sake of balls. A derivation by
             hand (`derivation`) shows it; nothing is computed by it but there.
series       primitive that has no such slope: the name in `algebra.series`. Operators of power series, truth values and constants
             need neither.
complex      what the row is of complex arguments, where that isn't its definition: in terms of `real(x)`, `imag(x)`, `1j` and other
             rows of complex numbers. Empty, and no definition: it has no meaning there. A row on arrays whose definition holds
             there too says so.
array        primitive on arrays: the name in `language.arrays`, which says what becomes of the entries.
aliases      other names in use: SymPy's, NumPy's, torch's.
domain       a condition: where the function has a real value; empty: everywhere.
kinks        a condition: where the function is not differentiable, or its formula is not valid; empty: nowhere. Like `domain` it is
             a specification: the help prints it, and tests hold the balls, the series and SMOOTH to it. Nothing else reads it:
             when a check runs, a ball that isn't finite says both, certified, at the arguments at hand.
ulps         how far torch's kernel may be off in a function evaluation, in ulps of the result. 0 for what only chooses among its
             arguments or changes a sign (truth values too), 1 for what IEEE 754 rounds
             correctly, 4 for elementary functions (SLEEF and libm promise 1 to 4), 64 for special functions, which promise
             nothing and are built of several elementary steps. Used where rounding is modelled, nowhere else.
absolute     the size of the intermediate results that a kernel adds up (cancellation near a zero of the function): its
             error may reach `ulps` ulps of that size too.
stalls       a condition on the parameters and on `order` (of differentiation) under which torch's kernel loops for ever.
ranked       true: torch leaves small singular values of the first array out, and where it does its value is none of the row's.
source       where the definition and its constants come from; empty: the function's page in torch's documentation.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypeVar

_T = TypeVar("_T")

KINDS: MappingProxyType[str, str] = MappingProxyType({
    "tensor": "a number, or an array taken entry by entry",
    "truth": "a truth value, or an array of them: a parameter that the column `truths` names",
    "scalar": "the same; torch may get a Python number",
    "number": "a constant",
    "integer": "a whole number",
    "array": "an array of any shape",
    "vector": "an array with one dimension",
    "matrix": "an array with two dimensions",
    "labels": "whole numbers from 0 on, an array",
    "weights": "numbers that nothing is differentiated by: an input among them is a constant",
    "targets": "labels; or, in the shape of the first argument, probabilities",
    "whole": "a whole number, which may be negative",
    "axis": "the number of a dimension",
    "axes": "the numbers of one or more dimensions; () for all",
    "trailing": "the sizes of the last dimensions; in a definition, the numbers of these dimensions",
    "constants": "an array of numbers without a variable",
    "sizes": "whole numbers, one a dimension",
    "counts": "the same, each an argument of its own",
    "index": "what stands in brackets behind an array",
    "equation": "which subscripts meet, as a text",
    "flag": "True or False",
    "order": "which norm of a matrix: 1, 2, inf, -inf, 'fro', 'nuc', or None",
    "mode": "which of the factors of a matrix: 'reduced', 'complete', or 'r'",
    "padding": "what stands around an array: 'constant', 'reflect', 'replicate', or 'circular'",
    "reduction": "what becomes of a loss's entries: 'mean', 'sum', 'none', or 'batchmean'",
})  # fmt: skip

ARRAY_KINDS = frozenset({"array", "vector", "matrix", "labels", "targets", "weights", "constants"})
SETTINGS = frozenset({
    "integer", "whole", "axis", "axes", "trailing", "sizes", "counts", "index", "flag", "order", "mode", "padding", "reduction",
    "equation",
})  # fmt: skip
"""Kinds whose argument is a literal."""

NAMED = SETTINGS - {"counts"}
"""Settings that are written with their names."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a row: `kind` is one of KINDS, `default` a literal or None (required). A `variadic` one takes any
    number of arguments."""

    name: str
    kind: str
    default: Any
    variadic: bool = False


@dataclass(frozen=True)
class Function:
    """One row of the table; the columns are explained at the top of this file."""

    name: str
    signature: str
    definition: str = ""
    operator: str = ""
    truths: str = ""
    torch: str = ""
    sympy: str = ""
    ball: str = ""
    analytic: str = ""
    slope: str = ""
    taught: str = ""
    series: str = ""
    complex: str = ""
    array: str = ""
    aliases: tuple[str, ...] = ()
    domain: str = ""
    kinks: str = ""
    ulps: int = 4
    absolute: float = 0.0
    stalls: str = ""
    ranked: bool = False
    source: str = ""

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The signature, parsed."""
        parsed = ast.parse(f"def f({self.signature}): ...").body[0]
        assert isinstance(parsed, ast.FunctionDef)
        arguments = parsed.args
        listed = [*arguments.args, *([arguments.vararg] if arguments.vararg else []), *arguments.kwonlyargs]
        defaults = [*arguments.defaults, *arguments.kw_defaults]
        literals = [None] * (len(listed) - len(defaults)) + [None if d is None else _literal(d) for d in defaults]
        kinds = ["tensor" if a.annotation is None else ast.unparse(a.annotation) for a in listed]
        truths = self.truths.split()
        return tuple(
            Parameter(a.arg, "truth" if a.arg in truths else kind, default, a is arguments.vararg)
            for a, kind, default in zip(listed, kinds, literals, strict=True)
        )

    @cached_property
    def truth(self) -> bool:
        """True where the value is a truth value."""
        return "result" in self.truths.split()

    def bind(self, arguments: Sequence[_T]) -> list[tuple[Parameter, _T]]:
        """Each argument with its parameter; a variadic parameter, which is the first one, takes what the others leave."""
        repeated = len(arguments) - len(self.parameters) if self.parameters and self.parameters[0].variadic else 0
        return list(zip((*self.parameters[:1] * repeated, *self.parameters), arguments, strict=True))

    def called(self, arguments: str) -> str:
        """A call as it is written: `sin(x)`, `qr(x).Q`."""
        operation, dot, result = self.name.partition(".")
        return f"{operation}({arguments}){dot}{result}"

    @property
    def usage(self) -> str:
        """The call with its parameters; of a constant its name."""
        return self.called(self.signature) if self.signature else self.name

    @cached_property
    def arrays(self) -> bool:
        """True where the row looks at whole arrays, false where it works entry by entry."""
        return bool(self.array) or any(p.kind in ARRAY_KINDS for p in self.parameters)

    @property
    def factory(self) -> bool:
        """True where the row makes an array of nothing but sizes."""
        return any(p.kind == "counts" for p in self.parameters)

    @property
    def primitive(self) -> bool:
        """True where the row names its cells instead of a definition."""
        return not (self.definition or self.array)

    @property
    def composed(self) -> str:
        """How torch composes the function from other rows, or empty where torch has an operation of its own."""
        return self.torch[1:].strip() if self.torch.startswith("=") else ""

    @property
    def template(self) -> str:
        """The operator as Python source, the arguments to be filled in: "{0} + {1}"."""
        return f"{{0}} {self.operator} {{1}}" if len(self.parameters) > 1 else f"{self.operator} {{0}}"


def _literal(node: ast.expr) -> Any:
    return float(ast.unparse(node)) if "inf" in ast.unparse(node) else ast.literal_eval(node)


def _row(name: str, signature: str, definition: str = "", *aliases: str, **columns: object) -> Function:
    return Function(name, signature, definition, aliases=aliases, **columns)  # type: ignore[arg-type]


_DLMF = "https://dlmf.nist.gov/"

ROWS: tuple[Function, ...] = (
    # -- constants --------------------------------------------------------------------------------------------------
    _row("pi", "", sympy="pi", ball="pi", torch="pi", ulps=1),
    _row("e", "", sympy="E", ball="const_e", torch="e", ulps=1),
    _row("inf", "", "", sympy="oo", ball="pos_inf", torch="inf", ulps=0),
    # -- operators --------------------------------------------------------------------------------------------------
    _row("add", "x: scalar, y: scalar", operator="+", sympy="Add", ball="add", ulps=1),
    _row("sub", "x: scalar, y: scalar", "", "subtract", operator="-", sympy="sub", ball="sub", ulps=1),
    _row("mul", "x: scalar, y: scalar", "", "multiply", operator="*", sympy="Mul", ball="mul", series="mul", ulps=1),
    _row("div", "x: scalar, y: scalar", "", "divide", "true_divide", operator="/", sympy="div", ball="div", series="div", domain="y != 0", kinks="y == 0", ulps=1),
    _row("neg", "x", "", "negative", operator="-", sympy="neg", ball="neg", ulps=0),
    _row(
        "pow", "x: scalar, y: scalar", "", "power", "float_power", operator="**", sympy="Pow", ball="pow", series="pow", analytic="x > 0 or y == floor(y)",
        domain="x > 0 or (y == floor(y) and (x != 0 or y >= 0)) or (x == 0 and y > 0)",
        kinks="x == 0 and not (y == floor(y) and y >= 0) or x < 0 and y != floor(y)", complex="exp(y*log(x))"),
    _row("lt", "x: scalar, y: scalar", operator="<", truths="result", sympy="StrictLessThan", ball="lt", analytic="x != y", kinks="x == y", ulps=0),
    _row("le", "x: scalar, y: scalar", operator="<=", truths="result", sympy="LessThan", ball="le", analytic="x != y", kinks="x == y", ulps=0),
    _row("gt", "x: scalar, y: scalar", operator=">", truths="result", sympy="StrictGreaterThan", ball="gt", analytic="x != y", kinks="x == y", ulps=0),
    _row("ge", "x: scalar, y: scalar", operator=">=", truths="result", sympy="GreaterThan", ball="ge", analytic="x != y", kinks="x == y", ulps=0),
    _row("eq", "x: scalar, y: scalar", "", "Eq", operator="==", truths="result", sympy="Equality", ball="eq", analytic="x != y", kinks="x == y", ulps=0),
    _row("ne", "x: scalar, y: scalar", "", "Ne", operator="!=", truths="result", sympy="Unequality", ball="ne", analytic="x != y", kinks="x == y", ulps=0),
    _row("logical_and", "x, y", "", "And", operator="and", truths="x y result", torch="logical_and", sympy="And", ball="logical_and", ulps=0),
    _row("logical_or", "x, y", "", "Or", operator="or", truths="x y result", torch="logical_or", sympy="Or", ball="logical_or", ulps=0),
    _row("logical_not", "x", "", "Not", operator="not", truths="x result", torch="logical_not", sympy="Not", ball="logical_not", ulps=0),
    _row("masked_fill", "x, mask, value: number", "where(mask, value, x)", truths="mask", ulps=0),
    _row("detach", "x", "", "stop_gradient", sympy="detach", ball="pos", slope="0", complex="detach(real(x)) + 1j*detach(imag(x))", ulps=0,
         source="the value, as a constant: the derivative is that of the formula in which it is held where it is"),
    _row("clone", "x", "x", "contiguous", ulps=0, complex="x"),
    _row("where", "condition, x, y", "", "Where", truths="condition", sympy="where", ball="where", series="where", ulps=0),
    # -- parts of complex numbers -----------------------------------------------------------------------------------
    _row("real", "x", "x", "re", ulps=0, complex="real(x)"),
    _row("imag", "x", "0*x", "im", ulps=0, complex="imag(x)", source="of a real number 0*x: torch has none"),
    _row("conj", "x", "x", "conjugate", ulps=0, complex="real(x) - 1j*imag(x)"),
    _row("angle", "x", "where(x < 0, pi, 0)", "arg", kinks="x == 0", ulps=1, complex="atan2(imag(x), real(x))"),
    # -- steps and pieces -------------------------------------------------------------------------------------------
    _row("abs", "x", "", "Abs", "absolute", "fabs", sympy="Abs", ball="abs", series="absolute", analytic="x != 0", kinks="x == 0", ulps=0, complex="hypot(real(x), imag(x))"),
    _row("deg2rad", "x", "x*pi/180", "radians"),
    _row("rad2deg", "x", "x*180/pi", "degrees"),
    _row("sign", "x", sympy="sign", ball="sign", slope="0", analytic="x != 0", kinks="x == 0", ulps=0, complex="where(x == 0, 0, x/abs(x))"),
    _row("sgn", "x", "sign(x)", kinks="x == 0", ulps=0, complex="where(x == 0, 0, x/abs(x))"),
    _row("floor", "x", sympy="floor", ball="floor", slope="0", analytic="x != floor(x)", kinks="x == floor(x)", ulps=0),
    _row("ceil", "x", "-floor(-x)", "ceiling", kinks="x == floor(x)", ulps=0),
    _row("trunc", "x", "where(x >= 0, floor(x), -floor(-x))", "fix", kinks="x == floor(x) and x != 0", ulps=0),
    _row("frac", "x", "x - trunc(x)", kinks="x == floor(x) and x != 0", ulps=1),
    _row(
        "round", "x", "where(x - floor(x) == 0.5, 2*floor(x/2 + 0.5), floor(x + 0.5))",
        kinks="x - floor(x) == 0.5", ulps=0, source="ties to even, as torch.round",
    ),
    _row("maximum", "x, y", "where(x >= y, x, y)", "Max", kinks="x == y", ulps=0),
    _row("minimum", "x, y", "where(x <= y, x, y)", "Min", kinks="x == y", ulps=0),
    _row("fmax", "x, y", "where(x >= y, x, y)", kinks="x == y", ulps=0),
    _row("fmin", "x, y", "where(x <= y, x, y)", kinks="x == y", ulps=0),
    _row(
        "clamp", "x, min: scalar = -inf, max: scalar = inf", "minimum(maximum(x, min), max)", "clip",
        kinks="min <= max and (x == min or x == max)", ulps=0,
    ),
    _row("clamp_min", "x, min: scalar", "maximum(x, min)", kinks="x == min", ulps=0),
    _row("clamp_max", "x, max: scalar", "minimum(x, max)", kinks="x == max", ulps=0),
    _row(
        "copysign", "x, y: scalar", "where(y > 0, abs(x), where(y < 0, -abs(x), y/y))", domain="y != 0", kinks="x == 0 or y == 0",
        ulps=0, source="no real value at y = 0, where torch looks at the sign of a zero",
    ),
    _row("heaviside", "x, y = 0.5", "where(x < 0, 0, where(x > 0, 1, y))", "Heaviside", kinks="x == 0", ulps=0),
    _row("fmod", "x, y: scalar", "x - y*trunc(x/y)", domain="y != 0", kinks="x/y == floor(x/y) and x != 0 or y == 0", ulps=1),
    _row(
        "remainder", "x: scalar, y: scalar", "x - y*floor(x/y)", "Mod", "mod", operator="%", domain="y != 0",
        kinks="x/y == floor(x/y) or y == 0", ulps=1,
    ),
    _row("floor_divide", "x: scalar, y: scalar", "floor(x/y)", domain="y != 0", operator="//", torch="floor_divide", kinks="x/y == floor(x/y) or y == 0", ulps=1),
    _row("lerp", "x, y, weight: scalar", "x + weight*(y - x)"),
    _row("addcmul", "x, tensor1, tensor2, value: number = 1", "x + value*tensor1*tensor2"),
    _row("addcdiv", "x, tensor1, tensor2, value: number = 1", "x + value*tensor1/tensor2", domain="tensor2 != 0", kinks="tensor2 == 0"),
    _row("ldexp", "x, y", "x*2**y"),
    # -- exponentials and logarithms --------------------------------------------------------------------------------
    _row("exp", "x", sympy="exp", ball="exp", slope="f", complex="exp(real(x))*(cos(imag(x)) + 1j*sin(imag(x)))"),
    _row("exp2", "x", "2**x"),
    _row("expm1", "x", "exp(x) - 1", ball="expm1", slope="exp(x)"),
    _row("log", "x", "", "ln", sympy="log", ball="log", slope="1/x", domain="x > 0", kinks="x == 0", complex="log(abs(x)) + 1j*angle(x)"),
    _row("log2", "x", "log(x)/log(2)", domain="x > 0", kinks="x == 0"),
    _row("log10", "x", "log(x)/log(10)", domain="x > 0", kinks="x == 0"),
    _row("log1p", "x", "log(1 + x)", ball="log1p", slope="1/(1 + x)", domain="x > -1", kinks="x == -1"),
    _row("sqrt", "x", sympy="sqrt", ball="sqrt", slope="1/(2*f)", analytic="x > 0", domain="x >= 0", kinks="x == 0", ulps=1, complex="where(x == 0, 0, sqrt(abs(x))*(cos(angle(x)/2) + 1j*sin(angle(x)/2)))"),
    _row("rsqrt", "x", "1/sqrt(x)", domain="x > 0", kinks="x == 0"),
    _row("cbrt", "x", "sign(x)*abs(x)**(1/3)", torch="= sign(x)*abs(x)**(1/3)", ball="cbrt", slope="f/(3*x)", analytic="x != 0", kinks="x == 0"),
    _row("square", "x", "x**2", ulps=1),
    _row("reciprocal", "x", "1/x", domain="x != 0", kinks="x == 0", ulps=1),
    _row("logaddexp", "x, y", "log(exp(x) + exp(y))", ball="logaddexp", series="logaddexp", complex="where(real(x) >= real(y), x + log1p(exp(y - x)), y + log1p(exp(x - y)))"),
    _row("logaddexp2", "x, y", "log2(2**x + 2**y)"),
    _row("xlogy", "x: scalar, y: scalar", "where(x == 0, 0, x*log(y))", domain="x == 0 or y > 0", kinks="x == 0 or y == 0"),
    _row("xlog1py", "x: scalar, y: scalar", "where(x == 0, 0, x*log1p(y))", torch="special.xlog1py",
         domain="x == 0 or y > -1", kinks="x == 0 or y == -1"),
    _row("entr", "x", "where(x == 0, 0, -x*log(x))", torch="special.entr", domain="x >= 0", kinks="x == 0"),
    # -- trigonometric and hyperbolic -------------------------------------------------------------------------------
    _row("sin", "x", sympy="sin", ball="sin", slope="cos(x)", analytic="-inf < x < inf", complex="sin(real(x))*cosh(imag(x)) + 1j*(cos(real(x))*sinh(imag(x)))"),
    _row("cos", "x", sympy="cos", ball="cos", series="cos", analytic="-inf < x < inf", complex="cos(real(x))*cosh(imag(x)) - 1j*(sin(real(x))*sinh(imag(x)))"),
    _row("tan", "x", sympy="tan", ball="tan", slope="1 + f*f", domain="cos(x) != 0", complex="(sin(real(x))*cos(real(x)) + 1j*(sinh(imag(x))*cosh(imag(x))))/(cos(real(x))**2 + sinh(imag(x))**2)"),
    _row("sec", "x", "1/cos(x)", torch="= 1/cos(x)", domain="cos(x) != 0"),
    _row("csc", "x", "1/sin(x)", torch="= 1/sin(x)", domain="sin(x) != 0", kinks="sin(x) == 0"),
    _row("cot", "x", "cos(x)/sin(x)", torch="= cos(x)/sin(x)", domain="sin(x) != 0", kinks="sin(x) == 0"),
    _row("asin", "x", "", "arcsin", sympy="asin", ball="asin", slope="1/sqrt(1 - x*x)", analytic="-1 < x < 1", domain="abs(x) <= 1", kinks="abs(x) == 1", complex="-1j*log(1j*x + sqrt(1 - x**2))"),
    _row("acos", "x", "", "arccos", sympy="acos", ball="acos", slope="-1/sqrt(1 - x*x)", analytic="-1 < x < 1", domain="abs(x) <= 1", kinks="abs(x) == 1", complex="pi/2 + 1j*log(1j*x + sqrt(1 - x**2))"),
    _row("atan", "x", "", "arctan", sympy="atan", ball="atan", slope="1/(1 + x*x)", analytic="-inf < x < inf", complex="1j*(log(1 - 1j*x) - log(1 + 1j*x))/2"),
    _row("asec", "x", "acos(1/x)", "arcsec", torch="= acos(1/x)", domain="abs(x) >= 1", kinks="abs(x) == 1"),
    _row("acsc", "x", "asin(1/x)", "arccsc", torch="= asin(1/x)", domain="abs(x) >= 1", kinks="abs(x) == 1"),
    _row("acot", "x", "atan(1/x)", "arccot", torch="= atan(1/x)", domain="x != 0", kinks="x == 0", source="SymPy's branch"),
    _row("atan2", "y, x", "", "arctan2", sympy="atan2", ball="atan2", series="atan2", analytic="x > 0 or y != 0", domain="x != 0 or y != 0", kinks="y == 0 and x <= 0"),
    _row("sinh", "x", sympy="sinh", ball="sinh", slope="cosh(x)", complex="sinh(real(x))*cos(imag(x)) + 1j*(cosh(real(x))*sin(imag(x)))"),
    _row("cosh", "x", sympy="cosh", ball="cosh", series="cosh", complex="cosh(real(x))*cos(imag(x)) + 1j*(sinh(real(x))*sin(imag(x)))"),
    _row("tanh", "x", sympy="tanh", ball="tanh", slope="1/(cosh(x)*cosh(x))", taught="1 - f**2", analytic="-inf < x < inf", complex="(sinh(real(x))*cosh(real(x)) + 1j*(sin(imag(x))*cos(imag(x))))/(sinh(real(x))**2 + cos(imag(x))**2)"),
    _row("sech", "x", "1/cosh(x)", torch="= 1/cosh(x)"),
    _row("csch", "x", "1/sinh(x)", torch="= 1/sinh(x)", domain="x != 0", kinks="x == 0"),
    _row("coth", "x", "1/tanh(x)", torch="= 1/tanh(x)", domain="x != 0", kinks="x == 0"),
    _row("asinh", "x", "", "arcsinh", sympy="asinh", ball="asinh", slope="1/sqrt(1 + x*x)", complex="log(x + sqrt(1 + x**2))"),
    _row("acosh", "x", "", "arccosh", sympy="acosh", ball="acosh", slope="1/sqrt(x*x - 1)", analytic="x > 1", domain="x >= 1", kinks="x == 1", complex="log(x + sqrt(x - 1)*sqrt(x + 1))"),
    _row("atanh", "x", "", "arctanh", sympy="atanh", ball="atanh", slope="1/(1 - x*x)", domain="abs(x) < 1", kinks="abs(x) == 1", complex="(log(1 + x) - log(1 - x))/2"),
    _row("asech", "x", "acosh(1/x)", "arcsech", torch="= acosh(1/x)", domain="0 < x <= 1", kinks="x == 0 or x == 1"),
    _row("acsch", "x", "asinh(1/x)", "arccsch", torch="= asinh(1/x)", domain="x != 0", kinks="x == 0"),
    _row("acoth", "x", "atanh(1/x)", "arccoth", torch="= atanh(1/x)", domain="abs(x) > 1", kinks="abs(x) == 1"),
    _row("sinc", "x", "where(x == 0, 1, sin(pi*x)/(pi*x))", ball="sinc", series="sinc", absolute=1.0),
    _row("hypot", "x, y", "sqrt(x**2 + y**2)", kinks="x == 0 and y == 0"),
    # -- the error function and the normal distribution -------------------------------------------------------------
    _row("erf", "x", sympy="erf", ball="erf", slope="exp(-x*x)*(2/sqrt(pi))", analytic="-inf < x < inf"),
    _row("erfc", "x", sympy="erfc", ball="erfc", slope="exp(-x*x)*(-2/sqrt(pi))"),
    _row("erfcx", "x", "exp(x**2)*erfc(x)", torch="special.erfcx", ball="erfcx", slope="2*x*f - 2/sqrt(pi)", ulps=64),
    _row("erfinv", "x", sympy="erfinv", ball="erfinv", slope="exp(f*f)*(sqrt(pi)/2)", domain="abs(x) < 1", kinks="abs(x) == 1", ulps=64),
    _row("ndtr", "x", "erfc(-x/sqrt(2))/2", torch="special.ndtr", ulps=64),
    _row("ndtri", "x", "sqrt(2)*erfinv(2*x - 1)", torch="special.ndtri", ball="ndtri", slope="exp(f*f/2)*sqrt(2*pi)", domain="0 < x < 1",
         kinks="x == 0 or x == 1", ulps=64),
    _row("log_ndtr", "x", "log(erfc(-x/sqrt(2))/2)", torch="special.log_ndtr", ball="log_ndtr", slope="exp(-x*x/2 - f)/sqrt(2*pi)", ulps=64),
    # -- gamma, zeta, Bessel ----------------------------------------------------------------------------------------
    _row(
        "gamma", "x", "", "Gamma",
        torch="= where(x > 0, exp(lgamma(x)), pi/(sin(pi*where(x > 0, 0.5, x))*exp(lgamma(1 - where(x > 0, 0.5, x)))))",
        sympy="gamma", ball="gamma", slope="f*polygamma(0, x)", domain="x > 0 or x != floor(x)", kinks="x <= 0 and x == floor(x)", ulps=64,
        source=f"{_DLMF}5.5.E3 (reflection)",
    ),
    _row("factorial", "x", "gamma(x + 1)", torch="= gamma(x + 1)", domain="x > -1 or x != floor(x)",
         kinks="x < 0 and x == floor(x)", ulps=64),
    _row("lgamma", "x", "", "loggamma", "gammaln", sympy="lgamma", ball="lgamma", slope="polygamma(0, x)", domain="x > 0 or x != floor(x)",
         kinks="x <= 0 and x == floor(x)", ulps=64, absolute=1.0, source="log(abs(gamma(x))), real everywhere"),
    _row("digamma", "x", "polygamma(0, x)", "psi", domain="x > 0 or x != floor(x)", kinks="x <= 0 and x == floor(x)",
         ulps=64, absolute=1.0, stalls="order >= 2 and x < -1e6"),
    _row("polygamma", "n: integer, x", sympy="polygamma", ball="polygamma", series="polygamma", domain="x > 0 or x != floor(x)",
         kinks="x <= 0 and x == floor(x)", ulps=64, absolute=16.0, stalls="n + order >= 2 and x < -1e6"),
    _row("beta", "x, y", "gamma(x)*gamma(y)/gamma(x + y)", torch="= exp(lgamma(x) + lgamma(y) - lgamma(x + y))",
         ball="beta", series="beta", domain="x > 0 and y > 0", kinks="x <= 0 or y <= 0", ulps=64, source=f"{_DLMF}5.12.E1"),
    _row("zeta", "x, q = 1", torch="special.zeta", sympy="zeta", ball="zeta", series="zeta", domain="x > 1 and (q > 0 or (q != floor(q) and x == floor(x)))",
         kinks="q <= 0 and q == floor(q) or x <= 1", ulps=64, stalls="q < -1e6",
         source="Hurwitz; torch computes the half plane x > 1 only"),
    _row("besselj", "n: integer, x", torch="special.bessel_j{n}", sympy="besselj", ball="besselj", series="besselj", ulps=64, absolute=1.0),
    _row("bessely", "n: integer, x", torch="special.bessel_y{n}", sympy="bessely", ball="bessely", series="bessely", domain="x > 0",
         kinks="x == 0", ulps=64, absolute=1.0),
    _row("besseli", "n: integer, x", torch="special.i{n}", sympy="besseli", ball="besseli", series="besseli", ulps=64),
    _row("besselk", "n: integer, x", torch="special.modified_bessel_k{n}", sympy="besselk", ball="besselk", series="besselk", domain="x > 0",
         kinks="x == 0", ulps=64),
    _row("bessel_j0", "x", "besselj(0, x)", "j0", torch="special.bessel_j0", ulps=64, absolute=1.0),
    _row("bessel_j1", "x", "besselj(1, x)", "j1", torch="special.bessel_j1", ulps=64, absolute=1.0),
    _row("bessel_y0", "x", "bessely(0, x)", "y0", torch="special.bessel_y0", domain="x > 0", kinks="x == 0", ulps=64, absolute=1.0),
    _row("bessel_y1", "x", "bessely(1, x)", "y1", torch="special.bessel_y1", domain="x > 0", kinks="x == 0", ulps=64, absolute=1.0),
    _row("modified_bessel_i0", "x", "besseli(0, x)", torch="special.modified_bessel_i0", ulps=64),
    _row("modified_bessel_i1", "x", "besseli(1, x)", torch="special.modified_bessel_i1", ulps=64),
    _row("modified_bessel_k0", "x", "besselk(0, x)", "k0", torch="special.modified_bessel_k0", domain="x > 0", kinks="x == 0", ulps=64),
    _row("modified_bessel_k1", "x", "besselk(1, x)", "k1", torch="special.modified_bessel_k1", domain="x > 0", kinks="x == 0", ulps=64),
    _row("i0", "x", "besseli(0, x)", torch="special.i0", ulps=64),
    _row("i0e", "x", "exp(-abs(x))*besseli(0, x)", torch="special.i0e", ball="i0e", series="i0e", analytic="x != 0", kinks="x == 0", ulps=64),
    _row("i1", "x", "besseli(1, x)", torch="special.i1", ulps=64),
    _row("i1e", "x", "exp(-abs(x))*besseli(1, x)", torch="special.i1e", ball="i1e", series="i1e", analytic="x != 0", ulps=64),
    _row("spherical_bessel_j0", "x", "sinc(x/pi)", torch="special.spherical_bessel_j0", ulps=64, absolute=1.0),
    _row("scaled_modified_bessel_k0", "x", "exp(x)*besselk(0, x)", "k0e", torch="special.scaled_modified_bessel_k0", domain="x > 0", kinks="x == 0", ulps=64),
    _row("scaled_modified_bessel_k1", "x", "exp(x)*besselk(1, x)", "k1e", torch="special.scaled_modified_bessel_k1", domain="x > 0", kinks="x == 0", ulps=64),
    _row("airy_ai", "x", "", "airyai", torch="special.airy_ai", sympy="airy_ai", ball="airy_ai", series="airy_ai", ulps=64, absolute=1.0),
    _row("gammainc", "a, x", "", "igamma", torch="special.gammainc", sympy="gammainc", ball="gammainc", series="gammainc", analytic="x > 0",
         domain="a > 0 and x >= 0", kinks="x == 0", ulps=64, source="regularized; torch has no derivative by a"),
    _row("gammaincc", "a, x", "", "igammac", torch="special.gammaincc", sympy="gammaincc", ball="gammaincc", series="gammaincc", analytic="x > 0",
         domain="a > 0 and x >= 0", kinks="x == 0", ulps=64, source="regularized; torch has no derivative by a"),
    # -- orthogonal polynomials: torch has no derivatives of them ----------------------------------------------------
    *(
        _row(f"{family}polynomial_{letter}", "x, n: integer", torch=f"special.{family}polynomial_{letter}", sympy=family + letter,
             ball=family + letter, series=family + letter, ulps=64, absolute=1.0, source="https://dlmf.nist.gov/18.9")
        for family, letters in (("chebyshev_", "tuvw"), ("shifted_chebyshev_", "tuvw"), ("hermite_", ("h", "he")), ("laguerre_", "l"), ("legendre_", "p"))
        for letter in letters
    ),
    # -- activations of neural networks -----------------------------------------------------------------------------
    _row("sigmoid", "x", "1/(1 + exp(-x))", "expit", ball="sigmoid", slope="f*f*exp(-x)", taught="f*(1 - f)"),
    _row("logit", "x", "log(x/(1 - x))", domain="0 < x < 1", kinks="x == 0 or x == 1"),
    _row("logsigmoid", "x", "-log(1 + exp(-x))", "log_sigmoid", torch="nn.functional.logsigmoid", ball="logsigmoid", slope="sigmoid(-x)"),
    _row("softplus", "x, beta: number = 1, threshold: number = 20",
         "where(beta*x > threshold, x, log(1 + exp(beta*x))/beta)", torch="nn.functional.softplus",
         kinks="beta*x == threshold"),
    _row("relu", "x", "where(x > 0, x, 0)", kinks="x == 0", ulps=0),
    _row("leaky_relu", "x, negative_slope: number = 0.01", "where(x > 0, x, negative_slope*x)",
         torch="nn.functional.leaky_relu", kinks="x == 0", ulps=1),
    _row("relu6", "x", "minimum(maximum(x, 0), 6)", torch="nn.functional.relu6", kinks="x == 0 or x == 6", ulps=0),
    _row("elu", "x, alpha: number = 1", "where(x > 0, x, alpha*expm1(x))", torch="nn.functional.elu", kinks="x == 0"),
    _row("selu", "x",
         "1.0507009873554804934193349852946*where(x > 0, x, 1.6732632423543772848170429916717*expm1(x))", kinks="x == 0"),
    _row("celu", "x, alpha: number = 1", "where(x > 0, x, alpha*expm1(x/alpha))", kinks="x == 0"),
    _row("gelu", "x", "x*(1 + erf(x/sqrt(2)))/2", torch="nn.functional.gelu", ball="gelu", series="gelu"),
    _row("gelu_tanh", "x", "x*(1 + tanh(sqrt(2/pi)*(x + 0.044715*x**3)))/2", torch="gelu_tanh",
         source="torch.nn.GELU(approximate='tanh')"),
    _row("silu", "x", "x*sigmoid(x)", "swish", torch="nn.functional.silu"),
    _row("mish", "x", "x*tanh(log1p(exp(x)))", torch="nn.functional.mish"),
    _row("hardtanh", "x, min_val: number = -1, max_val: number = 1", "minimum(maximum(x, min_val), max_val)",
         torch="nn.functional.hardtanh", kinks="x == min_val or x == max_val", ulps=0),
    _row("hardsigmoid", "x", "minimum(maximum(x + 3, 0), 6)/6", torch="nn.functional.hardsigmoid", kinks="abs(x) == 3"),
    _row("hardswish", "x", "x*minimum(maximum(x + 3, 0), 6)/6", torch="nn.functional.hardswish", kinks="abs(x) == 3"),
    _row("softsign", "x", "x/(1 + abs(x))", torch="nn.functional.softsign"),
    _row("tanhshrink", "x", "x - tanh(x)", torch="nn.functional.tanhshrink"),
    _row("hardshrink", "x, lambd: number = 0.5", "where(abs(x) > lambd, x, 0)", torch="nn.functional.hardshrink",
         kinks="abs(x) == lambd", ulps=0),
    _row("softshrink", "x, lambd: number = 0.5", "where(x > lambd, x - lambd, where(x < -lambd, x + lambd, 0))",
         torch="nn.functional.softshrink", kinks="abs(x) == lambd", ulps=1),
    _row("threshold", "x, threshold: number, value: number", "where(x > threshold, x, value)",
         torch="nn.functional.threshold", kinks="x == threshold", ulps=0),
)  # fmt: skip

_AS_DEFINED = "as it is defined"
_SYMMETRIC = "of a symmetric matrix, as a function of (x + x.T)/2: torch reads one triangle, and spreads the gradient over both"
_GAUGE = "with the signs that torch gives it, which are its own choice"
_FULL = "full_matrices: flag = True"
_OVER = "x: array, dim: axes = (), keepdim: flag = False"
_LOSS = "x: array, target: array"
_MEAN = "reduction: reduction = 'mean'"
_BY_CLASS = f"weight: weights = 1, ignore_index: whole = -100, {_MEAN}"
_NUMBER = "place: whole = 0"
_NUMBERED = "one of the parts, by its place: chunk(x, 2)[0]"
_LOSSES = "nn.functional."

ARRAYS: tuple[Function, ...] = (
    # -- putting together and taking apart --------------------------------------------------------------------------
    _row("stack", "*tensors: array, dim: axis = 0", array="stack", source="a list [x, y] is a stack"),
    _row("cat", "*tensors: array, dim: axis = 0", "", "concat", "concatenate", array="cat"),
    _row("index", "x: array, index: index", array="index", torch="index", source="x[0], x[1:], A[:, 2]"),
    _row("index_at", "*places: labels, x: array, index: index", array="index_at", torch="index_at",
         source="x[[0, 2]], x[arange(3), t]: entries by lists of their places"),
    _row("take", "x: array, index: labels", array="take", torch="take", source="of all entries, one after the other"),
    _row("select", "x: array, dim: axis, index: whole", array="select"),
    _row("narrow", "x: array, dim: axis, start: whole, length: integer", array="narrow"),
    _row("chunk", f"x: array, chunks: integer, dim: axis = 0, {_NUMBER}", array="chunk", torch="chunk", source=_NUMBERED),
    _row("split", f"x: array, split_size_or_sections: axes, dim: axis = 0, {_NUMBER}", array="split", torch="split", source=_NUMBERED),
    _row("tensor_split", f"x: array, indices_or_sections: axes, dim: axis = 0, {_NUMBER}", "", "array_split", array="tensor_split",
         torch="tensor_split", source=_NUMBERED),
    _row("unbind", f"x: array, dim: axis = 0, {_NUMBER}", array="unbind", torch="unbind", source=_NUMBERED),
    _row("t", "x: array", array="t", source="A.T"),
    _row("transpose", "x: array, dim0: axis = 0, dim1: axis = 1", "", "swapaxes", "swapdims", array="transpose"),
    _row("permute", "x: array, dims: sizes", array="permute"),
    _row("reshape", "x: array, shape: sizes", "", "view", array="reshape"),
    _row("flatten", "x: array", "", "ravel", array="flatten"),
    _row("squeeze", "x: array, dim: axes = ()", array="squeeze"),
    _row("unsqueeze", "x: array, dim: axis", array="unsqueeze"),
    _row("flip", "x: array, dims: sizes", array="flip"),
    _row("roll", "x: array, shifts: sizes, dims: axes = ()", array="roll"),
    _row("movedim", "x: array, source: axis, destination: axis", "", "moveaxis", array="movedim"),
    _row("expand", "x: array, size: sizes", "", "broadcast_to", array="expand", torch="broadcast_to"),
    _row("repeat", "x: array, dims: sizes", "", "tile", array="repeat", torch="tile"),
    _row("hstack", "*tensors: array", array="hstack"),
    _row("vstack", "*tensors: array", array="vstack"),
    _row("pad", "x: array, pad: sizes, mode: padding = 'constant', value: number = 0", array="pad", torch="nn.functional.pad"),
    _row("index_select", "x: array, dim: axis, index: labels", array="index_select", torch="index_select"),
    _row("index_add", "x: array, dim: axis, index: labels, source: array", array="index_add", torch="index_add"),
    _row("scatter", "x: array, dim: axis, index: labels, src: array", array="scatter", torch="scatter"),
    _row("scatter_add", "x: array, dim: axis, index: labels, src: array", array="scatter_add", torch="scatter_add"),
    _row("embedding", "x: labels, weight: matrix", array="embedding", torch="nn.functional.embedding"),
    _row("unflatten", "x: array, dim: axis, sizes: sizes", array="unflatten"),
    _row("unfold", "x: array, dimension: axis, size: whole, step: whole", array="unfold", torch="Tensor.unfold"),
    _row("repeat_interleave", "x: array, repeats: integer, dim: axes = ()", array="repeat_interleave"),
    _row("column_stack", "*tensors: array", array="column_stack"),
    _row("gather", "x: array, dim: axis, index: labels", array="gather", torch="gather"),
    _row("one_hot", "x: labels, num_classes: integer", array="one_hot", torch="nn.functional.one_hot"),
    _row("numel", "x: array", array="numel"),
    _row("size", "x: array, dim: axis", array="size", torch="size", source="x.size(0), x.shape[0], len(x)"),
    _row("diagonal", "x: matrix", array="diag"),
    _row("diag_embed", "x: vector", array="diag"),
    _row("diag", "x: array", array="diag"),
    _row("ones_like", "x: array", array="ones_like"),
    _row("zeros_like", "x: array", array="zeros_like"),
    _row("full_like", "x: array, fill_value: number", array="full_like"),
    _row("eye", "n: counts", array="eye"),
    _row("arange", "end: counts", array="arange", source="of whole numbers: arange(3), arange(1, 7, 2)"),
    _row("zeros", "size: counts", array="zeros"),
    _row("ones", "size: counts", array="ones"),
    _row("tensor", "data: constants", "", "as_tensor", "asarray", "array", array="itself", torch="tensor", source="of numbers; a list of variables needs no name"),
    _row("index_where", "x: array, mask", truths="mask", array="selected", torch="index_where", source="x[x > 0]: as many entries as there are"),
    _row("masked_select", "x: array, mask", truths="mask", array="selected"),
    _row("kron", "x: array, y: array", array="kron"),
    # -- sums and products ------------------------------------------------------------------------------------------
    _row("sum", _OVER, array="total"),
    _row("mean", _OVER, "sum(x, dim, keepdim)/sum(ones_like(x), dim, keepdim)", complex=_AS_DEFINED),
    _row("nansum", _OVER, "sum(x, dim, keepdim)", source="of numbers"),
    _row("nanmean", _OVER, "mean(x, dim, keepdim)", source="of numbers"),
    _row("prod", "x: array, dim: axes = (), keepdim: flag = False", array="product"),
    _row("cumsum", "x: array, dim: axis = -1", array="cumsum"),
    _row("diff", "x: array, n: integer = 1, dim: axis = -1", array="diff", source="of neighbours: x[1:] - x[:-1]"),
    _row("trapezoid", "y: array, x: array", "sum((x[..., 1:] - x[..., :-1])*(y[..., 1:] + y[..., :-1])/2, -1)", "trapz"),
    _row("einsum", "*tensors: array, equation: equation", array="einsum", torch="einsum", source="einsum('ij,j->i', A, x)"),
    _row("cumprod", "x: array, dim: axis = -1", array="cumprod"),
    _row("matmul", "x: array, y: array", operator="@", array="matmul", source="x @ y"),
    _row("dot", "x: vector, y: vector", "x @ y", "inner", complex=_AS_DEFINED),
    _row("mv", "x: matrix, y: vector", "x @ y", complex=_AS_DEFINED),
    _row("mm", "x: matrix, y: matrix", "x @ y", complex=_AS_DEFINED),
    _row("bmm", "x: array, y: array", "x @ y", complex=_AS_DEFINED),
    _row("vdot", "x: vector, y: vector", "conj(x) @ y", complex=_AS_DEFINED),
    _row("addmm", "x: array, mat1: matrix, mat2: matrix, beta: number = 1, alpha: number = 1", "beta*x + alpha*(mat1 @ mat2)"),
    _row("addmv", "x: array, mat: matrix, vec: vector, beta: number = 1, alpha: number = 1", "beta*x + alpha*(mat @ vec)"),
    _row("baddbmm", "x: array, batch1: array, batch2: array, beta: number = 1, alpha: number = 1", "beta*x + alpha*(batch1 @ batch2)"),
    _row("cross", "x: array, y: array, dim: axis = -1", array="cross", torch="linalg.cross"),
    _row("outer", "x: vector, y: vector", "x[:, None]*y", "ger", complex=_AS_DEFINED),
    _row("trace", "x: matrix", "sum(diag(x))", complex=_AS_DEFINED),
    _row("multi_dot", "*tensors: array", "", "chain_matmul", array="multi_dot", torch="linalg.multi_dot"),
    _row("matrix_power", "x: array, n: whole", array="matrix_power", torch="linalg.matrix_power"),
    _row("det", "x: array", array="det", torch="linalg.det"),
    _row("logdet", "x: array", "log(det(x))"),
    _row("slogdet", "x: array", "log(abs(det(x)))", torch="linalg.slogdet", source="the logarithm: torch.linalg.slogdet(x).logabsdet"),
    _row("slogdet.sign", "x: array", "sign(det(x))", torch="linalg.slogdet"),
    _row("tril", "x: array, diagonal: axis = 0", array="tril"),
    _row("triu", "x: array, diagonal: axis = 0", array="triu"),
    _row("cholesky", "x: array, upper: flag = False", array="cholesky", torch="linalg.cholesky", source=_SYMMETRIC),
    _row("cholesky_inverse", "x: array, upper: flag = False", array="cholesky_inverse", source="of one triangle: the other is not read"),
    _row("eigvalsh", "x: array", array="eigvalsh", torch="linalg.eigvalsh", source=_SYMMETRIC + "; no derivative where two are equal"),
    _row("eigh.eigenvalues", "x: array", "eigvalsh(x)", torch="linalg.eigh", source=_SYMMETRIC + "; no derivative where two are equal"),
    _row("eigh.eigenvectors", "x: array", array="eigenvectors", torch="linalg.eigh", source=_GAUGE + "; none where two eigenvalues are equal"),
    _row("svdvals", "x: array", array="svdvals", torch="linalg.svdvals", source="no derivative where two are equal, or one is 0"),
    _row("svd.U", f"x: array, {_FULL}", array="svd_left", torch="linalg.svd", source=_GAUGE + "; none where two singular values are equal, or one is 0"),
    _row("svd.S", f"x: array, {_FULL}", array="svd_values", torch="linalg.svd", source="no derivative where two are equal, or one is 0"),
    _row("svd.Vh", f"x: array, {_FULL}", array="svd_right", torch="linalg.svd", source=_GAUGE + "; none where two singular values are equal, or one is 0"),
    _row("qr.Q", "x: array, mode: mode = 'reduced'", array="qr_orthogonal", torch="linalg.qr", source=_GAUGE + "; of full rank"),
    _row("qr.R", "x: array, mode: mode = 'reduced'", array="qr_triangular", torch="linalg.qr", source=_GAUGE + "; of full rank"),
    _row("lu.P", "x: array", array="lu_order", torch="linalg.lu", source="which rows are exchanged changes where two numbers are equal in size"),
    _row("lu.L", "x: array", array="lu_lower", torch="linalg.lu", source="which rows are exchanged changes where two numbers are equal in size"),
    _row("lu.U", "x: array", array="lu_upper", torch="linalg.lu", source="which rows are exchanged changes where two numbers are equal in size"),
    _row("matrix_exp", "x: array", "", "expm", array="matrix_exp"),
    _row("pinv", "x: array", array="pinv", torch="linalg.pinv", ranked=True, source="of full rank: beside any other there is no derivative"),
    _row("lstsq", "x: array, y: array", array="lstsq", torch="linalg.lstsq", ranked=True, source="the solution, of full rank"),
    _row("matrix_norm", "x: array, ord: order = 'fro'", array="matrix_norm", torch="linalg.matrix_norm"),
    _row("linalg_norm", "x: array, ord: order = ()", array="linalg_norm", torch="linalg.norm", source="torch.linalg.norm: of a matrix where ord is given"),
    _row("cond", "x: array, p: order = ()", array="cond", torch="linalg.cond",
         source="torch has a derivative where p is None, 2, -2 or 'nuc'"),
    _row("inv", "x: array", "", "inverse", array="inv", torch="linalg.inv"),
    _row("solve", "x: array, y: array", array="solve", torch="linalg.solve"),
    _row("solve_triangular", "x: array, y: array, upper: flag", "where(upper, solve(triu(x), y), solve(tril(x), y))", torch="linalg.solve_triangular"),
    _row("cholesky_solve", "x: array, y: array, upper: flag = False", "cholesky_inverse(y, upper) @ x", source="x is the right side, y the factor"),
    _row("linear", "x: array, weight: matrix, bias: array = 0", "x @ t(weight) + bias", torch=_LOSSES + "linear", complex=_AS_DEFINED),
    # -- extremes, norms and moments --------------------------------------------------------------------------------
    _row("max", _OVER, array="greatest", source="the values; of two arguments: maximum"),
    _row("min", _OVER, array="least", source="the values; of two arguments: minimum"),
    _row("amax", _OVER, array="greatest"),
    _row("amin", _OVER, array="least"),
    _row("aminmax.min", _OVER, "amin(x, dim, keepdim)", torch="aminmax"),
    _row("aminmax.max", _OVER, "amax(x, dim, keepdim)", torch="aminmax"),
    _row("sort", "x: array, dim: axis = -1, descending: flag = False", array="sort", source="the values"),
    _row("topk", "x: array, k: integer, dim: axis = -1, largest: flag = True", array="topk", source="the values"),
    _row("cummax", "x: array, dim: axis", array="cummax", source="the values"),
    _row("cummin", "x: array, dim: axis", array="cummin", source="the values"),
    _row("quantile", "x: array, q: number, dim: axes = (), keepdim: flag = False", array="quantile", source="of one q"),
    _row("kthvalue", "x: array, k: integer, dim: axis = -1, keepdim: flag = False", array="kthvalue", source="the values"),
    _row("median", _OVER, array="median", source="the values, of two in the middle the lower one"),
    _row(
        "norm", "x: array, p: number = 2, dim: axes = (), keepdim: flag = False",
        "where(p == 2, sqrt(sum(x**2, dim, keepdim)), where(p == 1, sum(abs(x), dim, keepdim),"
        " where(p == inf, amax(abs(x), dim, keepdim), where(p == -inf, amin(abs(x), dim, keepdim),"
        " sum(abs(x)**p, dim, keepdim)**(1/p)))))", "vector_norm",
    ),
    _row("dist", "x: array, y: array, p: number = 2", "norm(x - y, p)"),
    _row("pdist", "x: matrix, p: number = 2", array="pdist", torch="pdist"),
    _row("cdist", "x: array, y: array, p: number = 2", "norm(x[..., :, None, :] - y[..., None, :, :], p, -1)"),
    _row("pairwise_distance", "x1: array, x2: array, p: number = 2, eps: number = 1e-6, keepdim: flag = False",
         "norm(x1 - x2 + eps, p, -1, keepdim)", torch=_LOSSES + "pairwise_distance"),
    _row("normalize", "x: array, p: number = 2, dim: axes = 1, eps: number = 1e-12", "x/maximum(norm(x, p, dim, True), eps)",
         torch=_LOSSES + "normalize"),
    _row(
        "cosine_similarity", "x1: array, x2: array, dim: axis = 1, eps: number = 1e-8",
        "sum(x1*x2, dim)/(maximum(norm(x1*ones_like(x2), 2, dim), eps)*maximum(norm(x2*ones_like(x1), 2, dim), eps))",
    ),
    _row(
        "var", "x: array, dim: axes = (), correction: number = 1, keepdim: flag = False",
        "sum((x - mean(x, dim, True))**2, dim, keepdim)/(sum(ones_like(x), dim, keepdim) - correction)",
    ),
    _row("std", "x: array, dim: axes = (), correction: number = 1, keepdim: flag = False",
         "sqrt(var(x, dim, correction, keepdim))"),
    *(_row(f"{both}_mean.{one}", "x: array, dim: axes = (), correction: number = 1, keepdim: flag = False", definition, torch=f"{both}_mean")
      for both in ("var", "std")
      for one, definition in ((both, f"{both}(x, dim, correction, keepdim)"), ("mean", "mean(x, dim, keepdim)"))),
    _row(
        "layer_norm", "x: array, normalized_shape: trailing, weight: array = 1, bias: array = 0, eps: number = 1e-5",
        "(x - mean(x, normalized_shape, True))/sqrt(var(x, normalized_shape, 0, True) + eps)*weight + bias",
    ),
    _row("cov", "x: array, correction: integer = 1",
         "(x - mean(x, -1, True)) @ t(x - mean(x, -1, True))/(size(x, -1) - correction)", source="of rows"),
    _row("corrcoef", "x: matrix", "cov(x)/sqrt(diag(cov(x))[:, None]*diag(cov(x)))", source="of rows"),
    _row("rms_norm", "x: array, normalized_shape: trailing, eps: number, weight: array = 1",
         "x/sqrt(mean(x**2, normalized_shape, True) + eps)*weight", torch=_LOSSES + "rms_norm", source="eps is to be given: torch's own is that of the format"),
    _row("group_norm", "x: array, num_groups: integer, weight: array = 1, bias: array = 0, eps: number = 1e-5", array="group_norm",
         torch=_LOSSES + "group_norm"),
    _row("batch_norm", "x: array, running_mean: array = 0, running_var: array = 0, weight: array = 1, bias: array = 0, training: flag = False,"
         " momentum: number = 0.1, eps: number = 1e-5", array="batch_norm", torch="batch_norm", source="by the statistics of x, training=True"),
    _row("instance_norm", "x: array, weight: array = 1, bias: array = 0, eps: number = 1e-5", array="instance_norm", torch=_LOSSES + "instance_norm"),
    # -- layers -----------------------------------------------------------------------------------------------------
    *(_row(f"conv{n}d", "x: array, weight: array, bias: array = 0, stride: sizes = (1,), padding: sizes = (0,), dilation: sizes = (1,),"
           " groups: integer = 1", array=f"conv{n}d", torch=f"{_LOSSES}conv{n}d") for n in (1, 2)),
    *(_row(f"max_pool{n}d", "x: array, kernel_size: sizes, stride: sizes = (), padding: sizes = (0,), dilation: sizes = (1,)",
           array=f"max_pool{n}d", torch=f"{_LOSSES}max_pool{n}d") for n in (1, 2)),
    *(_row(f"avg_pool{n}d", "x: array, kernel_size: sizes, stride: sizes = (), padding: sizes = (0,)",
           array=f"avg_pool{n}d", torch=f"{_LOSSES}avg_pool{n}d") for n in (1, 2)),
    _row("scaled_dot_product_attention", "query: array, key: array, value: array, attn_mask: array = 0, is_causal: flag = False",
         array="attention", torch=_LOSSES + "scaled_dot_product_attention", source="a mask is added; `is_causal` has no mask"),
    # -- exponentials -----------------------------------------------------------------------------------------------
    _row("softmax", "x: array, dim: axis = -1", "exp(x)/sum(exp(x), dim, True)"),
    _row("log_softmax", "x: array, dim: axis = -1", "x - log(sum(exp(x), dim, True))"),
    _row("softmin", "x: array, dim: axis = -1", "exp(-x)/sum(exp(-x), dim, True)", torch=_LOSSES + "softmin"),
    _row("logsumexp", "x: array, dim: axes = -1, keepdim: flag = False", "log(sum(exp(x), dim, keepdim))"),
    _row("logcumsumexp", "x: array, dim: axis = -1", "log(cumsum(exp(x), dim))"),
    # -- losses -----------------------------------------------------------------------------------------------------
    _row("mse_loss", f"{_LOSS}, {_MEAN}", "(x - target)**2", "mse", torch=_LOSSES + "mse_loss"),
    _row("l1_loss", f"{_LOSS}, {_MEAN}", "abs(x - target)", "l1", torch=_LOSSES + "l1_loss"),
    _row(
        "smooth_l1_loss", f"{_LOSS}, {_MEAN}, beta: number = 1",
        "where(abs(x - target) < beta, (x - target)**2/(2*beta), abs(x - target) - beta/2)", "smooth_l1",
        torch=_LOSSES + "smooth_l1_loss",
    ),
    _row(
        "huber_loss", f"{_LOSS}, {_MEAN}, delta: number = 1",
        "where(abs(x - target) <= delta, (x - target)**2/2, delta*(abs(x - target) - delta/2))", "huber",
        torch=_LOSSES + "huber_loss",
    ),
    _row(
        "binary_cross_entropy", f"{_LOSS}, weight: weights = 1, {_MEAN}",
        "-weight*(target*where(x > exp(-100), log(x), -100) + (1 - target)*where(1 - x > exp(-100), log1p(-x), -100))", "bce",
        torch=_LOSSES + "binary_cross_entropy",
    ),
    _row(
        "binary_cross_entropy_with_logits", f"{_LOSS}, weight: weights = 1, {_MEAN}, pos_weight: weights = 1",
        "weight*where(pos_weight == 1, (1 - target)*x - logsigmoid(x), (1 - target)*x - (1 + (pos_weight - 1)*target)*logsigmoid(x))",
        "bce_with_logits", torch=_LOSSES + "binary_cross_entropy_with_logits",
    ),
    _row("margin_ranking_loss", f"input1: array, input2: array, target: array, margin: number = 0, {_MEAN}",
         "maximum(-target*(input1 - input2) + margin, 0)", torch=_LOSSES + "margin_ranking_loss"),
    _row("hinge_embedding_loss", f"{_LOSS}, margin: number = 1, {_MEAN}",
         "where(target != 1, maximum(margin - x, 0), 0) + where(target != -1, x, 0)", torch=_LOSSES + "hinge_embedding_loss"),
    _row("cosine_embedding_loss", f"input1: array, input2: array, target: weights, margin: number = 0, {_MEAN}",
         "where(target == 1, 1 - sum(input1*input2, -1)/sqrt((sum(input1**2, -1) + 9.999999960041972e-13)*(sum(input2**2, -1) + 9.999999960041972e-13)),"
         " maximum(sum(input1*input2, -1)/sqrt((sum(input1**2, -1) + 9.999999960041972e-13)*(sum(input2**2, -1) + 9.999999960041972e-13)) - margin, 0))",
         torch=_LOSSES + "cosine_embedding_loss", source="EPSILON of ATen/native/Loss.cpp, 1e-12 as a float of 32 bits"),
    _row("multi_margin_loss", f"x: array, target: labels, p: integer = 1, margin: number = 1, {_MEAN}",
         "(sum(maximum(margin - pick(x, target)[..., None] + x, 0)**p, -1) - maximum(margin, 0)**p)/size(x, -1)",
         torch=_LOSSES + "multi_margin_loss"),
    _row("multilabel_soft_margin_loss", f"{_LOSS}, weight: weights = 1, {_MEAN}",
         "mean(-weight*(target*logsigmoid(x) + (1 - target)*logsigmoid(-x)), -1)", torch=_LOSSES + "multilabel_soft_margin_loss"),
    _row("triplet_margin_loss", f"anchor: array, positive: array, negative: array, margin: number = 1, p: number = 2, eps: number = 1e-6,"
         f" swap: flag = False, {_MEAN}",
         "maximum(norm(anchor - positive + eps, p, -1) - where(swap, minimum(norm(anchor - negative + eps, p, -1),"
         " norm(positive - negative + eps, p, -1)), norm(anchor - negative + eps, p, -1)) + margin, 0)",
         torch=_LOSSES + "triplet_margin_loss"),
    _row("prelu", "x: array, weight: array", "where(x > 0, x, weight*x)", torch="prelu"),
    _row("glu", "x: array, dim: axis = -1", array="glu", torch=_LOSSES + "glu"),
    _row("soft_margin_loss", f"{_LOSS}, {_MEAN}", "-logsigmoid(target*x)", "soft_margin", torch=_LOSSES + "soft_margin_loss"),
    _row(
        "kl_div", f"{_LOSS}, {_MEAN}, log_target: flag = False",
        "where(log_target, exp(target)*(target - x), xlogy(target, target) - target*x)", torch=_LOSSES + "kl_div",
    ),
    _row(
        "poisson_nll_loss", f"{_LOSS}, log_input: flag = True, full: flag = False, eps: number = 1e-8, {_MEAN}",
        "where(log_input, exp(x) - target*x, x - target*log(x + eps))"
        " + where(full, where(target > 1, target*log(target) - target + log(2*pi*target)/2, 0), 0)", "poisson_nll",
        torch=_LOSSES + "poisson_nll_loss",
    ),
    _row(
        "gaussian_nll_loss", f"{_LOSS}, var: array, full: flag = False, eps: number = 1e-6, {_MEAN}",
        "(log(maximum(var, eps)) + (x - target)**2/maximum(var, eps))/2 + where(full, log(2*pi)/2, 0)", "gaussian_nll",
        torch=_LOSSES + "gaussian_nll_loss",
    ),
    _row("nll_loss", f"x: array, target: targets, {_BY_CLASS}", "", "nll", array="nll_loss", torch=_LOSSES + "nll_loss",
         source="of one target for each row, minus its entry; ignored ones and weights as torch's documentation has them"),
    _row("cross_entropy", f"x: array, target: targets, {_BY_CLASS}, label_smoothing: number = 0", array="cross_entropy",
         torch=_LOSSES + "cross_entropy", source="nll_loss of log_softmax(x); a target of the shape of x is one of probabilities"),
    _row("pick", "x: array, target: labels", array="pick", torch="pick", source="in each row the entry with the label's number"),
)  # fmt: skip

PIECES: tuple[Function, ...] = (
    _row("root", "*c, k: integer", sympy="root", ball="root", series="root", ulps=64,
         source="the k-th root, in ascending order, of c0 + c1*t + ..., which has none but real ones"),
    _row("exponential", "*x, i: integer, j: integer", sympy="exponential", ball="exponential", series="exponential", ulps=64,
         source="entry i, j of the exponential of a matrix, given row by row"),
    _row("gauge", "*x, rows: integer, columns: integer, factor: integer, i: integer, k: integer", sympy="gauge", ball="gauge",
         series="gauge", ulps=0, source="an entry of a factor of a matrix, given row by row, as torch has it: a constant"),
    _row("alike", "x, y", sympy="alike", ball="alike", series="alike", ulps=0, source="0; without a value where the arguments differ"),
)  # fmt: skip
"""What entries of arrays are made of, and nobody writes."""

TABLE: MappingProxyType[str, Function] = MappingProxyType({row.name: row for row in (*ROWS, *ARRAYS, *PIECES)})

NAMES: MappingProxyType[str, str] = MappingProxyType(
    {name: row.name for row in (*ROWS, *ARRAYS) for name in (row.name, *row.aliases)}
)
"""Every name that the language knows, mapped to the name of its row; one of several results is called as `qr(A).Q`."""

CONSTANT = frozenset({"ones_like", "zeros_like", "full_like", "detach", "gauge", "numel", "size", "one_hot"})
"""Rows that are constant whatever they are given: of most the shape counts, and nothing else."""

VARIADIC = frozenset({"maximum", "minimum", "add", "mul", "logical_and", "logical_or"})
"""Binary rows that SymPy's spelling gives any number of arguments: `Max(a, b, c)`."""

PAIRS: MappingProxyType[str, str] = MappingProxyType({"max": "maximum", "min": "minimum"})
"""Names that mean another row where two or more arguments follow each other: `max(x, y)`."""

RESULTS: MappingProxyType[str, MappingProxyType[str, str]] = MappingProxyType({
    name: MappingProxyType(results) for name, results in (
        *((name, {"values": name, "indices": ""}) for name in ("max", "min", "sort", "topk", "kthvalue", "median", "cummax", "cummin")),
        ("slogdet", {"sign": "slogdet.sign", "logabsdet": "slogdet"}),
        ("lstsq", {"solution": "lstsq", "residuals": "", "rank": "", "singular_values": ""}),
        *((name, {one: f"{name}.{one}" for one in several.split()}) for name, several in (
            ("qr", "Q R"), ("eigh", "eigenvalues eigenvectors"), ("svd", "U S Vh"), ("lu", "P L U"),
            ("aminmax", "min max"), ("var_mean", "var mean"), ("std_mean", "std mean"),
        )),
    )
})  # fmt: skip
"""Operations of which torch returns several tensors (those with a `dim` that is a choice, where it is given): the name of each,
in torch's order, and the row that it is; empty: numbers of places, and others that have no derivative. An operation whose own
name is a row is that one where none is chosen."""

NUMBERED = frozenset({"chunk", "split", "tensor_split", "unbind"})
NUMBER = "place"
"""Operations of which torch returns any number of tensors, and the setting that says which: in brackets behind the call."""

PLACES: MappingProxyType[str, int] = MappingProxyType(
    {row: place for results in RESULTS.values() for place, row in enumerate(results.values()) if row}
)
"""Row -> which of the tensors it is, where torch returns several."""

KEYWORDS: MappingProxyType[str, str] = MappingProxyType(
    {"input": "x", "self": "x", "other": "y", "axis": "dim", "keepdims": "keepdim", "ord": "p", "unbiased": "correction"}
)
"""Other names of parameters: NumPy's and torch's."""

VARIANTS: MappingProxyType[tuple[str, str, str], str] = MappingProxyType(
    {("gelu", "approximate", "none"): "gelu", ("gelu", "approximate", "tanh"): "gelu_tanh"}
)
"""(name, keyword, string) -> row: the string arguments that select another function."""

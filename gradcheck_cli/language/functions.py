'''THE table of functions. A new function is a new row here, and nothing else: the parser, the three algebras, the help,
the documentation and the tests read it.

A row is *primitive* (it names its SymPy function and its ball method) or *defined*: its definition is text in the very
language that the rows make up. Torch runs its own operation in both cases.

Columns
-------
name         what the tree calls it
signature    parameters as Python writes them. A parameter is a tensor unless annotated: `number` and `integer` are settings
             (constants, handed to torch as Python numbers, no derivative with respect to them); `scalar` may be either.
definition   the function in terms of other rows; empty for a primitive. It follows torch's documented meaning.
torch        dotted name below `torch`; empty: the row's own name. `{n}` is filled with the setting n. A text that begins
             with "=" says how torch composes the function from what it has (no torch operation of that name exists).
sympy        primitive: the name in `sympy` or in `algebra.symbols`; on a defined row, one that SymPy handles better.
ball         primitive: the name in `algebra.balls` or a method of `flint.arb`; on a defined row, a sharper enclosure
             than the definition gives.
aliases      other names in use: SymPy's, NumPy's, torch's.
domain       a condition: where the function has a real value; empty: everywhere.
kinks        a condition: where the function is not differentiable, or its formula is not valid; empty: nowhere.
ulps         how far torch's kernel may be off in a function evaluation, in ulps of the result. 1 for what IEEE 754 rounds
             correctly, 4 for elementary functions (SLEEF and libm promise 1 to 4), 64 for special functions, which promise
             nothing and are built of several elementary steps. Used where rounding is modelled, nowhere else.
absolute     the size of the intermediate results that a kernel adds up (cancellation near a zero of the function): its
             error may reach `ulps` ulps of that size too.
stalls       a condition on the parameters and on `order` (of differentiation) under which torch's kernel loops for ever.
source       where the definition and its constants come from; empty: the function's page in torch's documentation.
'''

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

KINDS = ("tensor", "scalar", "number", "integer")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a row: `kind` is one of KINDS, `default` a number or None (required)."""

    name: str
    kind: str
    default: int | float | None


@dataclass(frozen=True)
class Function:
    """One row of the table; the columns are explained at the top of this file."""

    name: str
    signature: str
    definition: str = ""
    torch: str = ""
    sympy: str = ""
    ball: str = ""
    aliases: tuple[str, ...] = ()
    domain: str = ""
    kinks: str = ""
    ulps: int = 4
    absolute: float = 0.0
    stalls: str = ""
    source: str = ""

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The signature, parsed."""
        parsed = ast.parse(f"def f({self.signature}): ...").body[0]
        assert isinstance(parsed, ast.FunctionDef)
        arguments = parsed.args.args
        defaults = [None] * (len(arguments) - len(parsed.args.defaults)) + [
            float(ast.unparse(d)) if "inf" in ast.unparse(d) else ast.literal_eval(d) for d in parsed.args.defaults
        ]
        return tuple(
            Parameter(a.arg, "tensor" if a.annotation is None else ast.unparse(a.annotation), d)
            for a, d in zip(arguments, defaults, strict=True)
        )

    @property
    def primitive(self) -> bool:
        """True where the row names its SymPy function and ball method instead of a definition."""
        return not self.definition

    @property
    def composed(self) -> str:
        """How torch composes the function from other rows, or empty where torch has an operation of its own."""
        return self.torch[1:].strip() if self.torch.startswith("=") else ""


def _row(name: str, signature: str, definition: str = "", *aliases: str, **columns: object) -> Function:
    return Function(name, signature, definition, aliases=aliases, **columns)  # type: ignore[arg-type]


_DLMF = "https://dlmf.nist.gov/"

ROWS: tuple[Function, ...] = (
    # -- constants --------------------------------------------------------------------------------------------------
    _row("pi", "", sympy="pi", ball="pi", torch="pi", ulps=1),
    _row("e", "", sympy="E", ball="const_e", torch="e", ulps=1),
    _row("inf", "", "", "oo", sympy="oo", ball="pos_inf", torch="inf", ulps=1),
    # -- operators --------------------------------------------------------------------------------------------------
    _row("add", "x: scalar, y: scalar", sympy="Add", ball="add", ulps=1),
    _row("sub", "x: scalar, y: scalar", "", "subtract", sympy="sub", ball="sub", ulps=1),
    _row("mul", "x: scalar, y: scalar", "", "multiply", sympy="Mul", ball="mul", ulps=1),
    _row("div", "x: scalar, y: scalar", "", "divide", "true_divide", sympy="div", ball="div", domain="y != 0", kinks="y == 0", ulps=1),
    _row("neg", "x", "", "negative", sympy="neg", ball="neg", ulps=1),
    _row(
        "pow", "x: scalar, y: scalar", "", "power", "float_power", sympy="Pow", ball="pow",
        domain="x > 0 or (y == floor(y) and (x != 0 or y >= 0)) or (x == 0 and y > 0)",
        kinks="x == 0 and not (y == floor(y) and y >= 0) or x < 0 and y != floor(y)",
    ),
    _row("lt", "x: scalar, y: scalar", sympy="StrictLessThan", ball="lt", kinks="x == y", ulps=1),
    _row("le", "x: scalar, y: scalar", sympy="LessThan", ball="le", kinks="x == y", ulps=1),
    _row("gt", "x: scalar, y: scalar", sympy="StrictGreaterThan", ball="gt", kinks="x == y", ulps=1),
    _row("ge", "x: scalar, y: scalar", sympy="GreaterThan", ball="ge", kinks="x == y", ulps=1),
    _row("eq", "x: scalar, y: scalar", "", "Eq", sympy="Equality", ball="eq", kinks="x == y", ulps=1),
    _row("ne", "x: scalar, y: scalar", "", "Ne", sympy="Unequality", ball="ne", kinks="x == y", ulps=1),
    _row("logical_and", "x, y", "", "And", sympy="And", ball="logical_and", ulps=1),
    _row("logical_or", "x, y", "", "Or", sympy="Or", ball="logical_or", ulps=1),
    _row("logical_not", "x", "", "Not", sympy="Not", ball="logical_not", ulps=1),
    _row("where", "condition, x, y", "", "Where", sympy="where", ball="where", ulps=1),
    # -- steps and pieces -------------------------------------------------------------------------------------------
    _row("abs", "x", "", "Abs", "absolute", "fabs", sympy="Abs", ball="abs", kinks="x == 0", ulps=1),
    _row("sign", "x", "", "sgn", sympy="sign", ball="sign", kinks="x == 0", ulps=1),
    _row("floor", "x", sympy="floor", ball="floor", kinks="x == floor(x)", ulps=1),
    _row("ceil", "x", "-floor(-x)", "ceiling", kinks="x == floor(x)", ulps=1),
    _row("trunc", "x", "where(x >= 0, floor(x), -floor(-x))", "fix", kinks="x == floor(x) and x != 0", ulps=1),
    _row("frac", "x", "x - trunc(x)", kinks="x == floor(x) and x != 0", ulps=1),
    _row(
        "round", "x", "where(x - floor(x) == 0.5, 2*floor(x/2 + 0.5), floor(x + 0.5))",
        kinks="x - floor(x) == 0.5", ulps=1, source="ties to even, as torch.round",
    ),
    _row("maximum", "x, y", "where(x >= y, x, y)", "Max", "max", kinks="x == y", ulps=1),
    _row("minimum", "x, y", "where(x <= y, x, y)", "Min", "min", kinks="x == y", ulps=1),
    _row("fmax", "x, y", "where(x >= y, x, y)", kinks="x == y", ulps=1),
    _row("fmin", "x, y", "where(x <= y, x, y)", kinks="x == y", ulps=1),
    _row(
        "clamp", "x, min: scalar = -inf, max: scalar = inf", "minimum(maximum(x, min), max)", "clip",
        kinks="min <= max and (x == min or x == max)", ulps=1,
    ),
    _row("clamp_min", "x, min: scalar", "maximum(x, min)", kinks="x == min", ulps=1),
    _row("clamp_max", "x, max: scalar", "minimum(x, max)", kinks="x == max", ulps=1),
    _row(
        "copysign", "x, y: scalar", "where(y > 0, abs(x), where(y < 0, -abs(x), y/y))", domain="y != 0", kinks="x == 0 or y == 0",
        ulps=1, source="no real value at y = 0, where torch looks at the sign of a zero",
    ),
    _row("heaviside", "x, y = 0.5", "where(x < 0, 0, where(x > 0, 1, y))", "Heaviside", kinks="x == 0", ulps=1),
    _row("fmod", "x, y: scalar", "x - y*trunc(x/y)", domain="y != 0", kinks="x/y == floor(x/y) and x != 0 or y == 0", ulps=1),
    _row(
        "remainder", "x: scalar, y: scalar", "x - y*floor(x/y)", "Mod", "mod", domain="y != 0",
        kinks="x/y == floor(x/y) or y == 0", ulps=1,
    ),
    _row("floor_divide", "x: scalar, y: scalar", "floor(x/y)", domain="y != 0", kinks="x/y == floor(x/y) or y == 0", ulps=1),
    _row("lerp", "x, y, weight: scalar", "x + weight*(y - x)"),
    _row("ldexp", "x, y", "x*2**y"),
    # -- exponentials and logarithms --------------------------------------------------------------------------------
    _row("exp", "x", sympy="exp", ball="exp"),
    _row("exp2", "x", "2**x"),
    _row("expm1", "x", "exp(x) - 1", ball="expm1"),
    _row("log", "x", "", "ln", sympy="log", ball="log", domain="x > 0", kinks="x == 0"),
    _row("log2", "x", "log(x)/log(2)", domain="x > 0", kinks="x == 0"),
    _row("log10", "x", "log(x)/log(10)", domain="x > 0", kinks="x == 0"),
    _row("log1p", "x", "log(1 + x)", ball="log1p", domain="x > -1", kinks="x == -1"),
    _row("sqrt", "x", sympy="sqrt", ball="sqrt", domain="x >= 0", kinks="x == 0", ulps=1),
    _row("rsqrt", "x", "1/sqrt(x)", domain="x > 0", kinks="x == 0"),
    _row("cbrt", "x", "sign(x)*abs(x)**(1/3)", torch="= sign(x)*abs(x)**(1/3)", ball="cbrt", kinks="x == 0"),
    _row("square", "x", "x**2", ulps=1),
    _row("reciprocal", "x", "1/x", domain="x != 0", kinks="x == 0", ulps=1),
    _row("logaddexp", "x, y", "log(exp(x) + exp(y))", ball="logaddexp"),
    _row("logaddexp2", "x, y", "log2(2**x + 2**y)"),
    _row("xlogy", "x: scalar, y: scalar", "where(x == 0, 0, x*log(y))", domain="x == 0 or y > 0", kinks="x == 0 or y == 0"),
    _row("xlog1py", "x: scalar, y: scalar", "where(x == 0, 0, x*log1p(y))", torch="special.xlog1py",
         domain="x == 0 or y > -1", kinks="x == 0 or y == -1"),
    _row("entr", "x", "where(x == 0, 0, -x*log(x))", torch="special.entr", domain="x >= 0", kinks="x == 0"),
    # -- trigonometric and hyperbolic -------------------------------------------------------------------------------
    _row("sin", "x", sympy="sin", ball="sin"),
    _row("cos", "x", sympy="cos", ball="cos"),
    _row("tan", "x", sympy="tan", ball="tan", domain="cos(x) != 0"),
    _row("sec", "x", "1/cos(x)", torch="= 1/cos(x)", domain="cos(x) != 0"),
    _row("csc", "x", "1/sin(x)", torch="= 1/sin(x)", domain="sin(x) != 0", kinks="sin(x) == 0"),
    _row("cot", "x", "cos(x)/sin(x)", torch="= cos(x)/sin(x)", domain="sin(x) != 0", kinks="sin(x) == 0"),
    _row("asin", "x", "", "arcsin", sympy="asin", ball="asin", domain="abs(x) <= 1", kinks="abs(x) == 1"),
    _row("acos", "x", "", "arccos", sympy="acos", ball="acos", domain="abs(x) <= 1", kinks="abs(x) == 1"),
    _row("atan", "x", "", "arctan", sympy="atan", ball="atan"),
    _row("asec", "x", "acos(1/x)", "arcsec", torch="= acos(1/x)", domain="abs(x) >= 1", kinks="abs(x) == 1"),
    _row("acsc", "x", "asin(1/x)", "arccsc", torch="= asin(1/x)", domain="abs(x) >= 1", kinks="abs(x) == 1"),
    _row("acot", "x", "atan(1/x)", "arccot", torch="= atan(1/x)", domain="x != 0", kinks="x == 0", source="SymPy's branch"),
    _row("atan2", "y, x", "", "arctan2", sympy="atan2", ball="atan2", domain="x != 0 or y != 0", kinks="y == 0 and x <= 0"),
    _row("sinh", "x", sympy="sinh", ball="sinh"),
    _row("cosh", "x", sympy="cosh", ball="cosh"),
    _row("tanh", "x", sympy="tanh", ball="tanh"),
    _row("sech", "x", "1/cosh(x)", torch="= 1/cosh(x)"),
    _row("csch", "x", "1/sinh(x)", torch="= 1/sinh(x)", domain="x != 0", kinks="x == 0"),
    _row("coth", "x", "1/tanh(x)", torch="= 1/tanh(x)", domain="x != 0", kinks="x == 0"),
    _row("asinh", "x", "", "arcsinh", sympy="asinh", ball="asinh"),
    _row("acosh", "x", "", "arccosh", sympy="acosh", ball="acosh", domain="x >= 1", kinks="x == 1"),
    _row("atanh", "x", "", "arctanh", sympy="atanh", ball="atanh", domain="abs(x) < 1", kinks="abs(x) == 1"),
    _row("asech", "x", "acosh(1/x)", "arcsech", torch="= acosh(1/x)", domain="0 < x <= 1", kinks="x == 0 or x == 1"),
    _row("acsch", "x", "asinh(1/x)", "arccsch", torch="= asinh(1/x)", domain="x != 0", kinks="x == 0"),
    _row("acoth", "x", "atanh(1/x)", "arccoth", torch="= atanh(1/x)", domain="abs(x) > 1", kinks="abs(x) == 1"),
    _row("sinc", "x", "where(x == 0, 1, sin(pi*x)/(pi*x))", ball="sinc"),
    _row("hypot", "x, y", "sqrt(x**2 + y**2)", kinks="x == 0 and y == 0"),
    # -- the error function and the normal distribution -------------------------------------------------------------
    _row("erf", "x", sympy="erf", ball="erf"),
    _row("erfc", "x", sympy="erfc", ball="erfc"),
    _row("erfcx", "x", "exp(x**2)*erfc(x)", torch="special.erfcx", ball="erfcx", ulps=64),
    _row("erfinv", "x", sympy="erfinv", ball="erfinv", domain="abs(x) < 1", kinks="abs(x) == 1", ulps=64),
    _row("ndtr", "x", "erfc(-x/sqrt(2))/2", torch="special.ndtr", ulps=64),
    _row("ndtri", "x", "sqrt(2)*erfinv(2*x - 1)", torch="special.ndtri", ball="ndtri", domain="0 < x < 1",
         kinks="x == 0 or x == 1", ulps=64),
    _row("log_ndtr", "x", "log(erfc(-x/sqrt(2))/2)", torch="special.log_ndtr", ball="log_ndtr", ulps=64),
    # -- gamma, zeta, Bessel ----------------------------------------------------------------------------------------
    _row(
        "gamma", "x", "", "Gamma",
        torch="= where(x > 0, exp(lgamma(x)), pi/(sin(pi*where(x > 0, 0.5, x))*exp(lgamma(1 - where(x > 0, 0.5, x)))))",
        sympy="gamma", ball="gamma", domain="x > 0 or x != floor(x)", kinks="x <= 0 and x == floor(x)", ulps=64,
        source=f"{_DLMF}5.5.E3 (reflection)",
    ),
    _row("factorial", "x", "gamma(x + 1)", torch="= gamma(x + 1)", domain="x > -1 or x != floor(x)",
         kinks="x < 0 and x == floor(x)", ulps=64),
    _row("lgamma", "x", "", "loggamma", "gammaln", sympy="lgamma", ball="lgamma", domain="x > 0 or x != floor(x)",
         kinks="x <= 0 and x == floor(x)", ulps=64, absolute=1.0, source="log(abs(gamma(x))), real everywhere"),
    _row("digamma", "x", "polygamma(0, x)", "psi", domain="x > 0 or x != floor(x)", kinks="x <= 0 and x == floor(x)",
         ulps=64, absolute=1.0, stalls="order >= 2 and x < -1e6"),
    _row("polygamma", "n: integer, x", sympy="polygamma", ball="polygamma", domain="x > 0 or x != floor(x)",
         kinks="x <= 0 and x == floor(x)", ulps=64, absolute=16.0, stalls="n + order >= 2 and x < -1e6"),
    _row("beta", "x, y", "gamma(x)*gamma(y)/gamma(x + y)", torch="= exp(lgamma(x) + lgamma(y) - lgamma(x + y))",
         ball="beta", domain="x > 0 and y > 0", kinks="x <= 0 or y <= 0", ulps=64, source=f"{_DLMF}5.12.E1"),
    _row("zeta", "x, q = 1", torch="special.zeta", sympy="zeta", ball="zeta", domain="x > 1 and (q > 0 or (q != floor(q) and x == floor(x)))",
         kinks="q <= 0 and q == floor(q) or x <= 1", ulps=64, stalls="q < -1e6",
         source="Hurwitz; torch computes the half plane x > 1 only"),
    _row("besselj", "n: integer, x", torch="special.bessel_j{n}", sympy="besselj", ball="besselj", ulps=64, absolute=1.0),
    _row("bessely", "n: integer, x", torch="special.bessel_y{n}", sympy="bessely", ball="bessely", domain="x > 0",
         kinks="x == 0", ulps=64, absolute=1.0),
    _row("besseli", "n: integer, x", torch="special.i{n}", sympy="besseli", ball="besseli", ulps=64),
    _row("besselk", "n: integer, x", torch="special.modified_bessel_k{n}", sympy="besselk", ball="besselk", domain="x > 0",
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
    _row("i0e", "x", "exp(-abs(x))*besseli(0, x)", torch="special.i0e", ball="i0e", kinks="x == 0", ulps=64),
    _row("i1", "x", "besseli(1, x)", torch="special.i1", ulps=64),
    _row("i1e", "x", "exp(-abs(x))*besseli(1, x)", torch="special.i1e", ball="i1e", ulps=64),
    # -- activations of neural networks -----------------------------------------------------------------------------
    _row("sigmoid", "x", "1/(1 + exp(-x))", "expit", ball="sigmoid"),
    _row("logit", "x", "log(x/(1 - x))", domain="0 < x < 1", kinks="x == 0 or x == 1"),
    _row("logsigmoid", "x", "-log(1 + exp(-x))", "log_sigmoid", torch="nn.functional.logsigmoid", ball="logsigmoid"),
    _row("softplus", "x, beta: number = 1, threshold: number = 20",
         "where(beta*x > threshold, x, log(1 + exp(beta*x))/beta)", torch="nn.functional.softplus",
         kinks="beta*x == threshold"),
    _row("relu", "x", "where(x > 0, x, 0)", kinks="x == 0", ulps=1),
    _row("leaky_relu", "x, negative_slope: number = 0.01", "where(x > 0, x, negative_slope*x)",
         torch="nn.functional.leaky_relu", kinks="x == 0", ulps=1),
    _row("relu6", "x", "minimum(maximum(x, 0), 6)", torch="nn.functional.relu6", kinks="x == 0 or x == 6", ulps=1),
    _row("elu", "x, alpha: number = 1", "where(x > 0, x, alpha*expm1(x))", torch="nn.functional.elu", kinks="x == 0"),
    _row("selu", "x",
         "1.0507009873554804934193349852946*where(x > 0, x, 1.6732632423543772848170429916717*expm1(x))", kinks="x == 0"),
    _row("celu", "x, alpha: number = 1", "where(x > 0, x, alpha*expm1(x/alpha))", kinks="x == 0"),
    _row("gelu", "x", "x*(1 + erf(x/sqrt(2)))/2", torch="nn.functional.gelu", ball="gelu"),
    _row("gelu_tanh", "x", "x*(1 + tanh(sqrt(2/pi)*(x + 0.044715*x**3)))/2", torch="gelu_tanh",
         source="torch.nn.GELU(approximate='tanh')"),
    _row("silu", "x", "x*sigmoid(x)", "swish", torch="nn.functional.silu"),
    _row("mish", "x", "x*tanh(log1p(exp(x)))", torch="nn.functional.mish"),
    _row("hardtanh", "x, min_val: number = -1, max_val: number = 1", "minimum(maximum(x, min_val), max_val)",
         torch="nn.functional.hardtanh", kinks="x == min_val or x == max_val", ulps=1),
    _row("hardsigmoid", "x", "minimum(maximum(x + 3, 0), 6)/6", torch="nn.functional.hardsigmoid", kinks="abs(x) == 3"),
    _row("hardswish", "x", "x*minimum(maximum(x + 3, 0), 6)/6", torch="nn.functional.hardswish", kinks="abs(x) == 3"),
    _row("softsign", "x", "x/(1 + abs(x))", torch="nn.functional.softsign"),
    _row("tanhshrink", "x", "x - tanh(x)", torch="nn.functional.tanhshrink"),
    _row("hardshrink", "x, lambd: number = 0.5", "where(abs(x) > lambd, x, 0)", torch="nn.functional.hardshrink",
         kinks="abs(x) == lambd", ulps=1),
    _row("softshrink", "x, lambd: number = 0.5", "where(x > lambd, x - lambd, where(x < -lambd, x + lambd, 0))",
         torch="nn.functional.softshrink", kinks="abs(x) == lambd", ulps=1),
    _row("threshold", "x, threshold: number, value: number", "where(x > threshold, x, value)",
         torch="nn.functional.threshold", kinks="x == threshold", ulps=1),
)  # fmt: skip

TABLE: MappingProxyType[str, Function] = MappingProxyType({row.name: row for row in ROWS})

NAMES: MappingProxyType[str, str] = MappingProxyType(
    {name: row.name for row in ROWS for name in (row.name, *row.aliases)}
)
"""Every name that the language knows, mapped to the name of its row."""

VARIADIC = frozenset({"maximum", "minimum", "add", "mul", "logical_and", "logical_or"})
"""Binary rows that SymPy's spelling gives any number of arguments: `Max(a, b, c)`."""

VARIANTS: MappingProxyType[tuple[str, str, str], str] = MappingProxyType(
    {("gelu", "approximate", "none"): "gelu", ("gelu", "approximate", "tanh"): "gelu_tanh"}
)
"""(name, keyword, string) -> row: the string arguments that select another function."""

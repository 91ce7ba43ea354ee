"""THE table of remedies: how a formula is written so that autograd keeps its digits.

Columns
-------
pattern      a formula of the language; its names stand for formulas (`c` for a condition, `dim` and `keepdim` for settings). It
             is found in any order of terms and factors, also as a part of a longer sum or product.
becomes      the same function, written stably; or, in words, what a *maker* of this module builds.
causes       what it mends: causes of a mismatch, and `imprecise`.
example      an expression and a point where a check finds something, and the remedy is confirmed. A test runs each.
condition    where both are one function, in the language; empty: wherever the pattern has a value. For the reader: `mending`
             proves it at the points at hand, and beside them.
source       where it comes from.

A row is no promise: a remedy is shown only where the check confirms it. The order is that in which rows are tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from gradcheck_cli.algebra.balls import PLAIN
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.language import syntax
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, substitute, variables, walk
from gradcheck_cli.remedies.patterns import MATCHES, NODES, applied, instance, match, pattern, replaced


@dataclass(frozen=True, slots=True)
class Row:
    """One row; the columns are explained at the top of this file."""

    pattern: str
    becomes: str
    causes: tuple[str, ...]
    example: str
    at: str
    condition: str = ""
    source: str = ""
    maker: Callable[[Node], Iterator[Node]] | None = None


@lru_cache(maxsize=4096)
def rewritten(row: Row, tree: Node) -> tuple[Node, ...]:
    """The formula with one place rewritten, for each place and way; kept, for checks of one formula in several formats."""
    return tuple(row.maker(tree) if row.maker else applied(tree, pattern(row.pattern), pattern(row.becomes)))


# -- the second where ---------------------------------------------------------------------------------------------------

ELSEWHERE = 0.5
"""What other names are taken for where safe arguments are compared."""

SAFE = (0, 1, -1, 2)
"""Arguments that are put in where a branch isn't selected."""


def _second_where(tree: Node) -> Iterator[Node]:
    """A `where` whose branches get a safe argument where they aren't selected, one name and one branch at a time."""
    items = list(walk(tree))
    if len(items) > NODES:
        return
    count = 0
    for item in items:
        if not (isinstance(item, Call) and item.function == syntax.WHERE):
            continue
        for side in (1, 2):
            tested = variables(item.arguments[0])
            for name in sorted(variables(item.arguments[side]), key=lambda name: name not in tested):
                for safe in sorted(SAFE, key=lambda value: _unfit(item, side, name, value)):
                    yield replaced(tree, item, _guarded(item, side, name, safe))
                    count += 1
                    if count >= MATCHES:
                        return


def _unfit(item: Call, side: int, name: str, value: int) -> int:
    """What speaks against a safe argument: most of all that the branch has no value there, then that it isn't meant for it."""
    condition, branch = (substitute(tree, {name: Constant(value)}) for tree in (item.arguments[0], item.arguments[side]))
    others = {other: Constant(ELSEWHERE) for other in (*variables(condition), *variables(branch))}
    try:
        selected, found = Program([substitute(condition, others), substitute(branch, others)], [], PLAIN)()
    except (LookupError, NotImplementedError, ValueError, AttributeError):  # arrays
        return 0
    return 2 * (not found.is_finite()) + (selected is not (side == 1))


def _guarded(item: Call, side: int, name: str, safe: int) -> Call:
    condition, *branches = item.arguments
    choice = (Variable(name), Constant(safe)) if side == 1 else (Constant(safe), Variable(name))
    branches[side - 1] = substitute(branches[side - 1], {name: Call(syntax.WHERE, (condition, *choice))})
    return Call(syntax.WHERE, (condition, *branches))


def _log_of_entry(tree: Node) -> Iterator[Node]:
    """The logarithm of an entry as the entry of a logarithm, for which other rows know more."""
    logarithm = pattern("log(a)")
    for item in walk(tree):
        for found in match(logarithm, item, {}):
            entry = found["a"]
            if isinstance(entry, Call) and entry.function == syntax.INDEX:
                whole = instance(logarithm, {"a": entry.arguments[0]})
                yield replaced(tree, item, Call(syntax.INDEX, (whole, entry.arguments[1])))


# -- the rows -----------------------------------------------------------------------------------------------------------

_LOST = ("imprecise", "range", "nan_trap")
_ANY = (*_LOST, "formula", "kink")

_HERBIE = "Herbie's rules; N. J. Higham, Accuracy and Stability of Numerical Algorithms, section 1.7"
_TORCH = "torch.nn.functional, and the losses that take logits"

ROWS: tuple[Row, ...] = (
    # -- sigmoid, softplus and what is made of them
    Row("1/(1 + exp(-a))", "sigmoid(a)", _LOST, "1/(1 + exp(-x))", "x=-710", source=_TORCH),
    Row("exp(a)/(1 + exp(a))", "sigmoid(a)", _LOST, "exp(x)/(1 + exp(x))", "x=710", source=_TORCH),
    Row("1 - sigmoid(a)", "sigmoid(-a)", _LOST, "(1 - sigmoid(x))**2", "x=40", source=_TORCH),
    Row("exp(a)/(exp(a) + exp(b))", "sigmoid(a - b)", _LOST, "exp(x)/(exp(x) + exp(y))", "x=800,y=1", source=_TORCH),
    Row("log(sigmoid(a))", "logsigmoid(a)", _LOST, "log(sigmoid(x))", "x=-800", source=_TORCH),
    Row("log(sigmoid(a))", "a - log1p(exp(a))", _LOST, "log(sigmoid(z))", "z=-800+0.5j", source="the same, of complex numbers"),
    # torch's softplus is cut off: it is log(1 + exp(a)) up to 20, and a beyond; logaddexp is exact everywhere.
    Row("log(1 + exp(a)) - a", "logaddexp(-a, 0)", _LOST, "log(1 + exp(x)) - x", "x=40", source="torch.logaddexp"),
    Row("softplus(a) - a", "softplus(-a)", _LOST, "softplus(x) - x", "x=19.9", "abs(a) <= 20", _TORCH),
    Row("log(1 + exp(a))", "logaddexp(a, 0)", _LOST, "log(1 + exp(x))", "x=800", source="torch.logaddexp"),
    Row("log1p(exp(a))", "logaddexp(a, 0)", _LOST, "log1p(exp(x))", "x=800", source="torch.logaddexp"),
    # -- exponentials and logarithms
    Row("exp(a) - 1", "expm1(a)", _LOST, "(exp(x) - 1)/x", "x=1e-10", source=_HERBIE),
    Row("log(1 + a)", "log1p(a)", _LOST, "log(1 + x)/x", "x=1e-10", source=_HERBIE),
    Row("log(exp(a) + exp(b))", "logaddexp(a, b)", _LOST, "log(exp(x) + exp(y))", "x=800,y=1", source="torch.logaddexp"),
    Row("exp(a) - exp(-a)", "2*sinh(a)", _LOST, "log(exp(x) - exp(-x))", "x=1e-12", source="DLMF 4.28"),
    Row(
        "log(exp(a) - exp(b))", "a + log(-expm1(b - a))", _LOST, "log(exp(x) - exp(y))", "x=800,y=1", "a > b", "Machler, Rmpfr"
    ),
    Row("log(exp(a))", "a", _LOST, "log(exp(x))", "x=800", source="the definition of log"),
    Row("log(abs(exp(a)))", "real(a)", _LOST, "log(abs(exp(z)))", "z=800+1j", source="the definition of log"),
    Row("exp(log(a))", "a", _LOST, "exp(log(x**2)) + x", "x=1e-200", "a > 0", "the definition of log"),
    Row("exp(a) - exp(b)", "exp(b)*expm1(a - b)", _LOST, "(exp(x) - exp(y))**2", "x=1.000000000001,y=1", source=_HERBIE),
    Row("a**b - 1", "expm1(b*log(a))", _LOST, "((x + 1)**12 - 1)**2", "x=1e-12", "a > 0", _HERBIE),
    Row("(1 + a)**b", "exp(b*log1p(a))", _LOST, "(1 + x)**1e10", "x=1e-12", "a > -1", _HERBIE),
    Row("exp(a)/exp(b)", "exp(a - b)", _LOST, "exp(x)/exp(y)", "x=800,y=799", source=_HERBIE),
    Row("1/exp(a)", "exp(-a)", _LOST, "1/exp(x)", "x=400", source=_HERBIE),
    Row("exp(a)*exp(b)", "exp(a + b)", _LOST, "exp(x)*exp(y)", "x=800,y=-799", source=_HERBIE),
    Row("log(a) - log(b)", "log1p((a - b)/b)", _LOST, "log(x + 1) - log(x)", "x=1e18", "a > 0 and b > 0", _HERBIE),
    Row("log(a/b)", "log(a) - log(b)", _LOST, "log(x/y)", "x=1e-200,y=1e200", "a > 0 and b > 0", _HERBIE),
    Row("log(a*b)", "log(a) + log(b)", _LOST, "log(x*y)", "x=1e200,y=1e200", "a > 0 and b > 0", _HERBIE),
    Row("log(a**b)", "b*log(a)", _LOST, "log(x**100)", "x=1e10", "a > 0", _HERBIE),
    # -- softmax and its kin
    Row("exp(a)/sum(exp(a))", "softmax(a)", _LOST, "exp(x)/sum(exp(x))", "x=[800,1]", "a is a vector", _TORCH),
    Row(
        "exp(a)/sum(exp(a), dim, True)",
        "softmax(a, dim)",
        _LOST,
        "exp(x)/sum(exp(x), dim=1, keepdim=True)",
        "x=[[800,1]]",
        source=_TORCH,
    ),
    Row("log(sum(exp(a)))", "logsumexp(a)", _LOST, "log(sum(exp(x)))", "x=[800,1]", "a is a vector", _TORCH),
    Row(
        "log(sum(exp(a), dim, keepdim))",
        "logsumexp(a, dim, keepdim)",
        _LOST,
        "log(sum(exp(x), dim=1))",
        "x=[[800,1]]",
        source=_TORCH,
    ),
    Row("log(prod(a))", "sum(log(a))", _LOST, "log(prod(x))", "x=[1e-200,1e-200]", "a > 0", "log-likelihoods"),
    Row(
        "mean(a**2) - mean(a)**2",
        "mean((a - mean(a))**2)",
        _LOST,
        "mean(x**2) - mean(x)**2",
        "x=[1000000000000.3,1000000000001.1,1000000000000.7]",
        source=_HERBIE,
    ),
    Row("log(softmax(a, dim))", "log_softmax(a, dim)", _LOST, "log(softmax(x))", "x=[800,1]", source=_TORCH),
    Row(
        "log(softmax(a)[i])",
        "log_softmax(a)[i]",
        _LOST,
        "-log(softmax(x)[0])",
        "x=[-800,0]",
        source="cross entropy by hand",
        maker=_log_of_entry,
    ),
    Row("log(mean(exp(a)))", "logsumexp(a) - log(sum(ones_like(a)))", _LOST, "log(mean(exp(x)))", "x=[800,1]", source=_TORCH),
    # -- roots and squares
    Row(
        "sqrt(real(a)**2 + imag(a)**2)", "abs(a)", _LOST, "sqrt(real(z)**2 + imag(z)**2)", "z=1e200+1e200j", source="torch.abs"
    ),
    Row("sqrt(a**2 + b**2)", "hypot(a, b)", _LOST, "sqrt(x**2 + y**2)", "x=1e200,y=1e200", source="torch.hypot"),
    Row("sqrt(exp(a))", "exp(a/2)", _LOST, "sqrt(exp(x))", "x=800", source="a standard deviation of a log-variance"),
    Row("sqrt(a**2)", "abs(a)", _LOST, "sqrt(x**2)", "x=1e-200", source=_HERBIE),
    Row("sqrt(a**4)", "a**2", _LOST, "sqrt(x**4)", "x=0", source=_HERBIE),
    Row("sqrt(a)**2", "a", _ANY, "sqrt(x**2 + y**2)**2", "x=0,y=0", "a >= 0", _HERBIE),
    Row("sqrt(a) - sqrt(b)", "(a - b)/(sqrt(a) + sqrt(b))", _LOST, "sqrt(x + 1) - sqrt(x)", "x=1e18", source=_HERBIE),
    Row("sqrt(a) - b", "(a - b**2)/(sqrt(a) + b)", _LOST, "log(sqrt(x**2 + 1) - x)", "x=1e9", "b > 0", _HERBIE),
    Row("1/a - 1/b", "(b - a)/(a*b)", _LOST, "1/(x + 1) - 1/x", "x=1e12", source=_HERBIE),
    Row("a**2 - b**2", "(a - b)*(a + b)", _LOST, "sqrt(x**2 - y**2)", "x=1e200,y=1", source=_HERBIE),
    Row(
        "a/norm(a)",
        "a/amax(abs(a))/norm(a/amax(abs(a)))",
        _LOST,
        "x/norm(x)",
        "x=[3e-200,4e-200]",
        "a is a vector",
        "LAPACK's nrm2, which scales",
    ),
    Row("sqrt(a*b)", "sqrt(a)*sqrt(b)", _LOST, "sqrt(x*y)", "x=1e200,y=1e200", "a >= 0 and b >= 0", _HERBIE),
    Row("a**2/(a**2 + b**2)", "1/(1 + (b/a)**2)", _LOST, "x**2/(x**2 + y**2)", "x=1e200,y=1e200", "a != 0", _HERBIE),
    Row(
        "a**2 - 2*a*b + b**2",
        "(a - b)**2",
        _LOST,
        "sqrt(x**2 - 2*x*y + y**2)",
        "x=1.0000000001,y=1",
        source="pairwise distances",
    ),
    Row("(a**b)**d", "a**(b*d)", _LOST, "(x**3)**(1/3)", "x=1e-120", "a > 0", _HERBIE),
    Row("a**2/a", "a", _LOST, "x**2/x + x", "x=1e-200", "a != 0", _HERBIE),
    # -- trigonometric and hyperbolic functions
    Row("asinh(a)", "log(a + hypot(a, 1))", _LOST, "asinh(x)", "x=1e200", source="DLMF 4.37"),
    Row("acosh(a)", "log(a + sqrt(a - 1)*sqrt(a + 1))", _LOST, "acosh(x)", "x=1e200", source="DLMF 4.37"),
    Row("sin(a) - sin(b)", "2*sin((a - b)/2)*cos((a + b)/2)", _LOST, "sin(x + 1e-10) - sin(x)", "x=1", source="DLMF 4.21"),
    Row("cos(a) - cos(b)", "-2*sin((a - b)/2)*sin((a + b)/2)", _LOST, "cos(x + 1e-10) - cos(x)", "x=1", source="DLMF 4.21"),
    Row("1 - cos(a)", "2*sin(a/2)**2", _LOST, "(1 - cos(x))/x", "x=1e-8", source=_HERBIE),
    Row("1 - sin(a)**2", "cos(a)**2", _LOST, "sqrt(1 - sin(x)**2)", "x=1.570796326", source=_HERBIE),
    Row("1 - cos(a)**2", "sin(a)**2", _LOST, "sqrt(1 - cos(x)**2)", "x=1e-9", source=_HERBIE),
    Row("1 - tanh(a)**2", "1/cosh(a)**2", _LOST, "1 - tanh(x)**2", "x=20", source="DLMF 4.32"),
    Row("1 - tanh(a)", "2*sigmoid(-2*a)", _LOST, "1 - tanh(x)", "x=20", source="DLMF 4.2.E32"),
    Row("1 + tanh(a)", "2*sigmoid(2*a)", _LOST, "log(1 + tanh(x))", "x=-20", source="DLMF 4.2.E32"),
    Row(
        "(exp(a) - exp(-a))/(exp(a) + exp(-a))",
        "tanh(a)",
        _LOST,
        "(exp(x) - exp(-x))/(exp(x) + exp(-x))",
        "x=800",
        source="DLMF 4.28",
    ),
    Row("log(cosh(a))", "a + logaddexp(-2*a, 0) - log(2)", _LOST, "log(cosh(x))", "x=800", source="the log-cosh loss of Keras"),
    Row("atanh(tanh(a))", "a", _LOST, "atanh(tanh(x))", "x=20", source="an inverse undone"),
    Row("logit(sigmoid(a))", "a", _LOST, "logit(sigmoid(x))", "x=40", source="an inverse undone"),
    Row("acos(cos(a))", "abs(a)", _LOST, "acos(cos(x))", "x=1e-9", "abs(a) < pi", "an inverse undone"),
    Row("log(a + sqrt(a**2 + 1))", "asinh(a)", _LOST, "log(x + sqrt(x**2 + 1))", "x=-1e9", source="DLMF 4.37"),
    Row("log((1 + a)/(1 - a))", "2*atanh(a)", _LOST, "log((1 + x)/(1 - x))**2", "x=1e-12", source="DLMF 4.37"),
    Row("where(a == 0, 1, sin(a)/a)", "sinc(a/pi)", _ANY, "where(x == 0, 1, sin(x)/x)", "x=0", source="torch.sinc"),
    Row("atan(a/b)", "atan2(a, b)", _LOST, "atan(y/x)", "x=1e-100,y=1e60", "b > 0", "torch.atan2"),
    # -- the error function and the normal distribution
    Row("1 - erf(a)", "erfc(a)", _LOST, "log(1 - erf(x))", "x=7", source="DLMF 7.2"),
    Row("1 + erf(a)", "erfc(-a)", _LOST, "log(1 + erf(x))", "x=-7", source="DLMF 7.2"),
    Row("exp(a**2)*erfc(a)", "erfcx(a)", _LOST, "exp(x**2)*erfc(x)", "x=30", source="torch.special.erfcx"),
    Row("exp(a)*erfc(sqrt(a))", "erfcx(sqrt(a))", _LOST, "exp(x)*erfc(sqrt(x))", "x=800", "a >= 0", "torch.special.erfcx"),
    Row("log(ndtr(a))", "log_ndtr(a)", _LOST, "log(ndtr(x))", "x=-40", source="torch.special.log_ndtr"),
    Row("log(erfc(a)/2)", "log_ndtr(-sqrt(2)*a)", _LOST, "log(erfc(x)/2)", "x=28", source="torch.special.log_ndtr"),
    Row("log(gamma(a))", "lgamma(a)", _LOST, "log(gamma(x))", "x=200", "a > 0", "torch.lgamma"),
    Row(
        "gamma(a)/gamma(b)",
        "exp(lgamma(a) - lgamma(b))",
        _LOST,
        "gamma(x)/gamma(y)",
        "x=200,y=199",
        "a > 0 and b > 0",
        "torch.lgamma",
    ),
    # -- kinks that cancel
    Row("relu(a) - relu(-a)", "a", _ANY, "relu(x) - relu(-x)", "x=0", source="the kinks cancel"),
    Row("abs(a) + a", "2*relu(a)", _ANY, "x + relu(x) - (abs(x) + x)/2", "x=0", source="two kinks that are one"),
    Row("relu(a) + clamp_max(a, 0)", "a", _ANY, "clamp(x, min=0) + clamp(x, max=0)", "x=0", source="the kinks cancel"),
    Row(
        "clamp(a, 0, b) + clamp_max(a, 0)",
        "clamp_max(a, b)",
        _ANY,
        "clamp(x, 0, 1) + clamp(x, max=0)",
        "x=0",
        "b >= 0",
        "the kinks cancel",
    ),
    Row("abs(a)*sign(a)", "a", _ANY, "abs(x)*sign(x)", "x=0", source="the kinks cancel"),
    # -- tails, by the function that is small there
    Row("sigmoid(a)", "1 - sigmoid(-a)", _LOST, "sigmoid(x)", "x=40", source="the tail in the variable that is small there"),
    Row("tanh(a)", "1 - 2*sigmoid(-2*a)", _LOST, "tanh(x)", "x=20", source="DLMF 4.2.E32"),
    Row("tanh(a)", "2*sigmoid(2*a) - 1", _LOST, "tanh(x)", "x=-20", source="DLMF 4.2.E32"),
    # -- branches
    Row(
        "where(c, a, b)",
        "where(c, a with where(c, x, safe) for x, b)",
        _ANY,
        "where(x <= 0, exp(x), 1 + x)",
        "x=1000",
        source="the double where: tensorflow/probability, discussion/where-nan.pdf; pytorch/pytorch#4132",
        maker=_second_where,
    ),
)

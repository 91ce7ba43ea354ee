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

from gradcheck_cli.language import syntax
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, substitute, variables, walk
from gradcheck_cli.remedies.patterns import MATCHES, NODES, applied, pattern, replaced


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


def rewritten(row: Row, tree: Node) -> Iterator[Node]:
    """The formula with one place rewritten, for each place and way."""
    return row.maker(tree) if row.maker else applied(tree, pattern(row.pattern), pattern(row.becomes))


# -- the second where ---------------------------------------------------------------------------------------------------

SAFE = (0, 1, -1, 2)
"""Arguments that are put in where a branch isn't selected; those that the branch is meant for come first."""


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
            for name in variables(item.arguments[side]):
                for safe in SAFE:
                    yield replaced(tree, item, _guarded(item, side, name, safe))
                    count += 1
                    if count >= MATCHES:
                        return


def _guarded(item: Call, side: int, name: str, safe: int) -> Call:
    condition, *branches = item.arguments
    choice = (Variable(name), Constant(safe)) if side == 1 else (Constant(safe), Variable(name))
    branches[side - 1] = substitute(branches[side - 1], {name: Call(syntax.WHERE, (condition, *choice))})
    return Call(syntax.WHERE, (condition, *branches))


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
    Row("sigmoid(a)*(1 - sigmoid(a))", "sigmoid(a)*sigmoid(-a)", _LOST, "sigmoid(x)*(1 - sigmoid(x))", "x=40", source=_TORCH),
    Row("sigmoid(a)", "1 - sigmoid(-a)", _LOST, "sigmoid(x)", "x=40", source="the tail in the variable that is small there"),
    Row("log(sigmoid(a))", "logsigmoid(a)", _LOST, "log(sigmoid(x))", "x=-800", source=_TORCH),
    Row("log(1 - sigmoid(a))", "-softplus(a)", _LOST, "log(1 - sigmoid(x))", "x=40", source="binary_cross_entropy_with_logits"),
    Row("log(1 + exp(a))", "softplus(a)", _LOST, "log(1 + exp(x))", "x=800", source=_TORCH),
    Row("log(1 + exp(a))", "logaddexp(a, 0)", _LOST, "log(1 + exp(x))*exp(-x)", "x=-40", source="torch.logaddexp"),
    Row("log1p(exp(a))", "softplus(a)", _LOST, "log1p(exp(x))", "x=800", source=_TORCH),
    Row("log1p(exp(a))", "logaddexp(a, 0)", _LOST, "log1p(exp(a))", "a=720", source="torch.logaddexp"),
    Row("tanh(log(1 + exp(a)))", "tanh(softplus(a))", _LOST, "x*tanh(log(1 + exp(x)))", "x=800", source="torch's mish"),
    # -- exponentials and logarithms
    Row("exp(a) - 1", "expm1(a)", _LOST, "(exp(x) - 1)/x", "x=1e-10", source=_HERBIE),
    Row("log(1 + a)", "log1p(a)", _LOST, "log(1 + x)/x", "x=1e-10", source=_HERBIE),
    Row("log(exp(a) + exp(b))", "logaddexp(a, b)", _LOST, "log(exp(x) + exp(y))", "x=800,y=1", source="torch.logaddexp"),
    Row("log(exp(a) - exp(b))", "a + log(-expm1(b - a))", _LOST, "log(exp(x) - exp(y))", "x=800,y=1", "a > b", "Machler, Rmpfr"),
    Row("log(1 - exp(a))", "log(-expm1(a))", _LOST, "log(1 - exp(x))", "x=-1e-12", "a < 0", "Machler, Rmpfr"),
    Row("log(exp(a))", "a", _LOST, "log(exp(x))", "x=800", source="the definition of log"),
    Row("exp(log(a))", "a", _LOST, "exp(log(x**2)) + x", "x=1e-200", "a > 0", "the definition of log"),
    Row("exp(a)/exp(b)", "exp(a - b)", _LOST, "exp(x)/exp(y)", "x=800,y=799", source=_HERBIE),
    Row("exp(a)*exp(b)", "exp(a + b)", _LOST, "exp(x)*exp(y)", "x=800,y=-799", source=_HERBIE),
    Row("log(a) - log(b)", "log(a/b)", _LOST, "(log(x) - log(y))/(x - y)", "x=1.0000001,y=1", "a > 0 and b > 0", _HERBIE),
    Row("log(a) - log(b)", "log1p((a - b)/b)", _LOST, "log(x + 1) - log(x)", "x=1e18", "a > 0 and b > 0", _HERBIE),
    Row("log(a/b)", "log(a) - log(b)", _LOST, "log(x/y)", "x=1e-200,y=1e200", "a > 0 and b > 0", _HERBIE),
    Row("log(a*b)", "log(a) + log(b)", _LOST, "log(x*y)", "x=1e200,y=1e200", "a > 0 and b > 0", _HERBIE),
    Row("log(a**b)", "b*log(a)", _LOST, "log(x**100)", "x=1e10", "a > 0", _HERBIE),
    Row("log(abs(a))", "log(a**2)/2", ("kink",), "log(abs(x - 1) + 1)", "x=1"),
    Row("a*log(a)", "xlogy(a, a)", _LOST, "x**2*log(x**2)", "x=0", "a >= 0", "torch.xlogy"),
    Row("a*log(b)", "xlogy(a, b)", _LOST, "x*log(y)", "x=0,y=0", "b > 0 or a == 0", "torch.xlogy"),
    # -- softmax and its kin
    Row("exp(a)/sum(exp(a))", "softmax(a)", _LOST, "exp(x)/sum(exp(x))", "x=[800,1]", "a is a vector", _TORCH),
    Row("exp(a)/sum(exp(a), dim, True)", "softmax(a, dim)", _LOST, "exp(x)/sum(exp(x), dim=1, keepdim=True)", "x=[[800,1]]",
        source=_TORCH),
    Row("log(sum(exp(a), dim, keepdim))", "logsumexp(a, dim, keepdim)", _LOST, "log(sum(exp(x)))", "x=[800,1]",
        source=_TORCH),
    Row("log(softmax(a, dim))", "log_softmax(a, dim)", _LOST, "log(softmax(x))", "x=[800,1]", source=_TORCH),
    Row("log(mean(exp(a)))", "logsumexp(a) - log(sum(ones_like(a)))", _LOST, "log(mean(exp(x)))", "x=[800,1]", source=_TORCH),
    # -- roots and squares
    Row("sqrt(a**2 + b**2)", "hypot(a, b)", _LOST, "sqrt(x**2 + y**2)", "x=1e200,y=1e200", source="torch.hypot"),
    Row("sqrt(a**2)", "abs(a)", _LOST, "sqrt(x**2)", "x=1e-200", source=_HERBIE),
    Row("sqrt(a**4)", "a**2", _LOST, "sqrt(x**4)", "x=0", source=_HERBIE),
    Row("sqrt(a)**2", "a", _ANY, "sqrt(x**2 + y**2)**2", "x=0,y=0", "a >= 0", _HERBIE),
    Row("abs(a)**2", "a**2", _ANY, "abs(x)**2", "x=0", source=_HERBIE),
    Row("sqrt(a) - sqrt(b)", "(a - b)/(sqrt(a) + sqrt(b))", _LOST, "sqrt(x + 1) - sqrt(x)", "x=1e18", source=_HERBIE),
    Row("1/a - 1/b", "(b - a)/(a*b)", _LOST, "1/(x + 1) - 1/x", "x=1e12", source=_HERBIE),
    Row("a**2 - b**2", "(a - b)*(a + b)", _LOST, "sqrt(x**2 - y**2)", "x=1e200,y=1", source=_HERBIE),
    Row("sqrt(a*b)", "sqrt(a)*sqrt(b)", _LOST, "sqrt(x*y)", "x=1e200,y=1e200", "a >= 0 and b >= 0", _HERBIE),
    Row("a**2/(a**2 + b**2)", "1/(1 + (b/a)**2)", _LOST, "x**2/(x**2 + y**2)", "x=1e200,y=1e200", "a != 0", _HERBIE),
    Row("a/sqrt(a**2 + b**2)", "a/hypot(a, b)", _LOST, "x/sqrt(x**2 + y**2)", "x=1e-200,y=1e-200", source="torch.hypot"),
    Row("1 - a**2", "(1 - a)*(1 + a)", _LOST, "sqrt(1 - x**2)", "x=1", source=_HERBIE),
    # -- trigonometric and hyperbolic functions
    Row("1 - cos(a)", "2*sin(a/2)**2", _LOST, "(1 - cos(x))/x**2", "x=1e-8", source=_HERBIE),
    Row("1 - cos(a)**2", "sin(a)**2", _LOST, "sqrt(1 - cos(x)**2)", "x=1e-9", source=_HERBIE),
    Row("1 - tanh(a)**2", "1/cosh(a)**2", _LOST, "1 - tanh(x)**2", "x=20", source="DLMF 4.32"),
    Row("1 - tanh(a)", "2*sigmoid(-2*a)", _LOST, "1 - tanh(x)", "x=20", source="DLMF 4.2.E32"),
    Row("1 + tanh(a)", "2*sigmoid(2*a)", _LOST, "log(1 + tanh(x))", "x=-20", source="DLMF 4.2.E32"),
    Row("(exp(a) - exp(-a))/(exp(a) + exp(-a))", "tanh(a)", _LOST, "(exp(x) - exp(-x))/(exp(x) + exp(-x))", "x=800",
        source="DLMF 4.28"),
    Row("exp(a) - exp(-a)", "2*sinh(a)", _LOST, "(exp(x) - exp(-x))/x", "x=1e-8", source="DLMF 4.28"),
    Row("log(cosh(a))", "a + softplus(-2*a) - log(2)", _LOST, "log(cosh(x))", "x=800", source="the log-cosh loss of Keras"),
    Row("log(a + sqrt(a**2 + 1))", "asinh(a)", _LOST, "log(x + sqrt(x**2 + 1))", "x=-1e9", source="DLMF 4.37"),
    Row("log((1 + a)/(1 - a))", "2*atanh(a)", _LOST, "log((1 + x)/(1 - x))/x", "x=1e-9", source="DLMF 4.37"),
    Row("where(a == 0, 1, sin(a)/a)", "sinc(a/pi)", _ANY, "where(x == 0, 1, sin(x)/x)", "x=0", source="torch.sinc"),
    Row("sin(a)/a", "sinc(a/pi)", _LOST, "sin(x)/x", "x=1e-9", "a != 0", "torch.sinc"),
    Row("atan(a/b)", "atan2(a, b)", _LOST, "atan(y/x)", "x=1e-200,y=1e200", "b > 0", "torch.atan2"),
    # -- the error function and the normal distribution
    Row("1 - erf(a)", "erfc(a)", _LOST, "1 - erf(x)", "x=6", source="DLMF 7.2"),
    Row("1 + erf(a)", "erfc(-a)", _LOST, "log(1 + erf(x))", "x=-7", source="DLMF 7.2"),
    Row("exp(a**2)*erfc(a)", "erfcx(a)", _LOST, "exp(x**2)*erfc(x)", "x=30", source="torch.special.erfcx"),
    Row("log(ndtr(a))", "log_ndtr(a)", _LOST, "log(ndtr(x))", "x=-40", source="torch.special.log_ndtr"),
    Row("log(erfc(a)/2)", "log_ndtr(-sqrt(2)*a)", _LOST, "log(erfc(x)/2)", "x=28", source="torch.special.log_ndtr"),
    Row("log(gamma(a))", "lgamma(a)", _LOST, "log(gamma(x))", "x=200", "a > 0", "torch.lgamma"),
    Row("gamma(a)/gamma(b)", "exp(lgamma(a) - lgamma(b))", _LOST, "gamma(x)/gamma(y)", "x=200,y=199", "a > 0 and b > 0",
        "torch.lgamma"),
    # -- kinks that cancel
    Row("relu(a) - relu(-a)", "a", _ANY, "relu(x) - relu(-x)", "x=0", source="the kinks cancel"),
    Row("relu(a) + relu(-a)", "abs(a)", _ANY, "x*(relu(x) + relu(-x))", "x=0", source="two kinks that are one"),
    Row("abs(a) + a", "2*relu(a)", _ANY, "relu(x) - (abs(x) + x)/2", "x=0", source="two kinks that are one"),
    Row("maximum(a, b) + minimum(a, b)", "a + b", _ANY, "maximum(x, 2*y) + minimum(x, 2*y)", "x=2,y=1", source="the kinks cancel"),
    Row("maximum(a, b) - minimum(a, b)", "abs(a - b)", _ANY, "(maximum(x, y) - minimum(x, y))*(x - y)", "x=1,y=1",
        source="two kinks that are one"),
    Row("abs(a)*sign(a)", "a", _ANY, "abs(x)*sign(x)", "x=0", source="the kinks cancel"),
    Row("sign(a)*a", "abs(a)", _ANY, "sign(x)*x*x", "x=0", source="a jump and a zero"),
    Row("abs(-a)", "abs(a)", ("kink",), "abs(x) - abs(-x)", "x=0", source="equal kinks cancel"),
    Row("where(c, a, a)", "a", _ANY, "where(x > 0, x**2, x*x)/x", "x=1"),
    # -- branches
    Row("where(c, a, b)", "where(c, a with where(c, x, safe) for x, b)", _ANY, "where(x <= 0, exp(x), 1 + x)", "x=1000",
        source="the double where: tensorflow/probability, discussion/where-nan.pdf; pytorch/pytorch#4132", maker=_second_where),
)

"""The rows of the function table on columns: an `algebra.program.Algebra`, so that one definition has one meaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from types import MappingProxyType
from typing import Any

from flint import arb, ctx

from gradcheck_cli.algebra.columns.backends import Backend, on_numpy
from gradcheck_cli.algebra.columns.column import ball_with, float_words, radius_around
from gradcheck_cli.algebra.columns.stretches import CONTINUED, HIGHEST_SETTING, Stretches
from gradcheck_cli.algebra.columns.words import OPEN, UP
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import Function
from gradcheck_cli.language.parser import definition, parse
from gradcheck_cli.language.tree import Node

KINDS = ("single", "double")
"""(value, radius), for float32 and shorter; (high, low, radius), for float64."""

MULTIPLE = "multiple"
"""More words, where a deep network needs them."""

_MODULES = MappingProxyType(
    {
        **{
            kind: ("truths", kind, f"{kind}_functions", f"{kind}_normal") for kind in KINDS
        },  # the last one's tables take a while
        MULTIPLE: ("truths", MULTIPLE),
    }
)

KERNELS: Mapping[str, str] = MappingProxyType(
    {
        syntax.ADD: "add", syntax.SUB: "subtract", syntax.MUL: "multiply", syntax.DIV: "over", syntax.NEG: "negative",
        syntax.POW: "power", syntax.SQUARE: "square", "reciprocal": "reciprocal", "sqrt": "square_root",
        "lt": "less", "le": "less", "gt": "order", "ge": "order", "eq": "level", "ne": "apart",
        syntax.AND: "conjunction", syntax.OR: "disjunction", syntax.NOT: "negation", syntax.WHERE: "choose",
        "abs": "magnitude", "sign": "sign", "floor": "floor", "round": "rounded",
        "exp": "exp", "expm1": "expm1", "log": "log", "log1p": "log1p",
        "sin": "sin", "cos": "cos", "tan": "tan", "asin": "asin", "acos": "acos", "atan": "atan",
        "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "sech": "sech", "asinh": "asinh", "acosh": "acosh", "atanh": "atanh",
        "sigmoid": "sigmoid", "erf": "erf", "erfc": "erfc", "erfcx": "erfcx",
    }
)  # fmt: skip
"""Rows that have a kernel, and its name."""

CONSTANTS: Mapping[str, Callable[[], Any]] = MappingProxyType({"pi": arb.pi, "e": arb.const_e})

BODIES: Mapping[str, str] = MappingProxyType(
    {
        "cbrt": "sign(x)*exp(log(abs(x))/3)",
        "logaddexp": "where(x > y, x + log1p(exp(y - x)), y + log1p(exp(x - y)))",
        "gelu": "x*erfc(-x/sqrt(2))/2",
        "logsigmoid": "where(x > 0, -log1p(exp(-x)), where(x > -600, log(sigmoid(x)), x - log1p(exp(x))))",
        "beta": "where(x > 0 and y > 0, gamma(x)*gamma(y)/gamma(x + y), log(-1))",
        "atan2": "where(x > 0, atan(y/x), where(y > 0, pi/2 - atan(x/y), -pi/2 - atan(x/y)))",
    }
)
"""What stands for a row without a kernel where its definition overflows, cancels, goes on outside of the row's domain, or isn't
there."""

SPARE = 150
"""Bits of a ball that becomes a constant, beside those of its words."""


class ColumnAlgebra:
    """Columns of one kind in one library. A row that has neither kernel, nor body, nor definition is open."""

    operators: Mapping[str, str] = MappingProxyType({})

    def __init__(self, kind: str, backend: Backend, words: int = 0) -> None:
        assert kind in _MODULES
        self.kind, self.backend = kind, backend
        self.words = words or KINDS.index(kind) + 1
        self.bits = SPARE + 53 * self.words

    def _kernel(self, name: str) -> Callable[..., Any]:
        found = (self.backend.kernels(module).get(name) for module in _MODULES[self.kind])
        kernel: Callable[..., Any] = next(kernel for kernel in found if kernel is not None)
        return kernel

    def number(self, words: Sequence[float], radius: float) -> tuple[Any, ...]:
        """A number: words that are too many are a part of its radius."""
        *own, radius = self.fitting(words, radius)
        return tuple(map(self.backend.constant, (*own, radius)))

    def fitting(self, words: Sequence[float], radius: float) -> tuple[float, ...]:
        """As many words as there are, and the radius."""
        others = sum(map(abs, words[self.words :]))
        return *words[: self.words], *[0.0] * (self.words - len(words)), (radius + others) * UP if others else radius

    def constant(self, value: int | float | bool) -> Any:
        """The number of a literal; a truth value as its two masks."""
        if isinstance(value, bool):
            one = self.backend.constant(1.0)
            return one > 0 if value else one < 0, one < 0 if value else one > 0
        if isinstance(value, float):
            return self.number([value], 0.0)
        return self._nearest(lambda: arb(value))

    def _nearest(self, make: Callable[[], Any]) -> Any:
        """The words next to a ball, and a radius that reaches its other end."""
        with ctx.workprec(self.bits):
            ball = make()
            words = float_words(ball, max(self.words, 2))
            return self.number(words, radius_around(ball_with(words, 0.0), ball))

    def function(self, row: Function) -> Callable[..., Any] | None:
        """The kernel, or what is open; None where the body stands for the row."""
        if row.name in KERNELS:
            return self._kernel(KERNELS[row.name])
        if row.name in CONSTANTS:
            word = self._nearest(CONSTANTS[row.name])
            return lambda: word
        if row.name == syntax.INF:
            infinite = self.number([OPEN], 0.0)
            return lambda: infinite
        if row.name in CONTINUED and self.kind in KINDS and self.backend is on_numpy():
            return partial(self._stretched, row.name)
        if row.name in BODIES or row.definition:
            return None
        nothing = self.number([0.0], OPEN)
        return lambda *arguments: nothing

    def _stretched(self, name: str, *arguments: Any) -> Any:
        """A row of one number, after its settings, without a kernel."""
        *settings, x = arguments
        if any(not 0 <= n <= HIGHEST_SETTING for n in settings):
            return self.number([0.0], OPEN)
        return stretches(name, tuple(settings), self.kind)(x)

    def body(self, row: Function) -> Node:
        """What stands for a row without a kernel."""
        return parse(BODIES[row.name]) if row.name in BODIES else definition(row.name)


@cache
def stretches(name: str, settings: tuple[int, ...], kind: str) -> Stretches:
    """A row without a kernel, with its settings, for one kind of numbers."""
    return Stretches(name, settings, ColumnAlgebra(kind, on_numpy()))

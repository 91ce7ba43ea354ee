"""Every row of the table of remedies says one function twice, and its example is mended by it."""

from __future__ import annotations

import operator
import random
from collections.abc import Callable
from typing import Any

import mpmath
import pytest

from gradcheck_cli import check_chain
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, variables, walk
from gradcheck_cli.remedies.patterns import SETTINGS, pattern
from gradcheck_cli.remedies.table import ROWS, Row
from gradcheck_cli.verdict.verdicts import Cause, Verdict

mp = mpmath.mp.clone()
mp.dps = 50

_PLAIN = [row for row in ROWS if row.maker is None]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.pattern} -> {row.becomes}")
@pytest.mark.slow(reason="each row runs a check, and a search for what mends it")
def test_an_example_is_mended(row: Row) -> None:
    """The check of the example finds one of the row's causes, and this row, last or alone, is what the remedy says."""
    report = check_chain(row.example, at=row.at)
    found = {str(c.cause or c.verdict) for c in report.checks if not c.verdict.passes or c.verdict is Verdict.IMPRECISE}
    assert found & set(row.causes)
    (remedy,) = report.remedies
    assert f"{row.pattern} -> {row.becomes}" in remedy.rows
    if ROWS.index(row) % 5 == 0:  # a sample: the whole chain, typed in, is what the remedy says of it
        again = check_chain(list(remedy.stages), at=row.at)
        assert again.counts == remedy.after and again.verdict.severity < report.verdict.severity
        assert not again.remedies


def test_a_row_is_complete() -> None:
    """Causes exist, every row says where it comes from, and no row is there twice."""
    assert {word for row in ROWS for word in row.causes} <= {*map(str, Cause), str(Verdict.IMPRECISE)}
    assert all(row.source and row.causes for row in ROWS)
    assert len({(row.pattern, row.becomes) for row in ROWS}) == len(ROWS) > 70


@pytest.mark.parametrize("row", _PLAIN, ids=lambda row: f"{row.pattern} -> {row.becomes}")
def test_a_row_says_one_function(row: Row) -> None:
    """At random numbers where its condition holds both sides have one value, to 30 digits, by mpmath, which the package's own
    arithmetic has no part in."""
    before, after = pattern(row.pattern), pattern(row.becomes)
    names = [name for name in variables(before) if name not in SETTINGS]
    arrays = any(isinstance(n, Call) and n.function in LISTS for n in walk(before))
    draw, compared = random.Random(row.pattern), 0
    for _ in range(200):
        values = {name: _number(draw) for name in names}
        if arrays:
            values["a"] = [_number(draw) for _ in range(3)]
        holds = not row.condition or " is a " in row.condition or _value(parse(row.condition), values)
        if not (holds if not isinstance(holds, list) else all(holds)):
            continue
        x, y = _value(before, values), _value(after, values)
        if x is None:
            continue
        assert y is not None, f"{values}: only the rewriting has no value"
        for one, other in zip(*(v if isinstance(v, list) else [v] for v in (x, y)), strict=True):
            assert abs(one - other) <= mp.mpf(10) ** -30 * max(abs(one), 1), values
        compared += 1
        if compared == 12:
            return
    raise AssertionError(f"compared at {compared} points only")


def _number(draw: random.Random) -> Any:
    """Of ordinary size, of both signs, sometimes a simple one."""
    return mp.mpf(draw.choice([0, 1, -1, 0.5])) if draw.random() < 0.1 else mp.mpf(draw.uniform(-3, 3))


def _value(node: Node, values: dict[str, Any]) -> Any:
    """The value by mpmath; None where there is no real one."""
    match node:
        case Constant(value=value):
            return value if isinstance(value, bool | tuple) else mp.mpf(value)
        case Variable(name=name):
            return values.get(name, -1)
        case Call(function="where", arguments=(condition, x, y)):
            return _value(x if _value(condition, values) else y, values)
    arguments = [_value(a, values) for a in node.arguments]
    if any(a is None for a in arguments):
        return None
    try:
        if node.function in LISTS:
            return LISTS[node.function](arguments[0])
        size = next((len(a) for a in arguments if isinstance(a, list)), None)
        if size is None:
            return _real(NUMBERS[node.function](*arguments))
        spread = [a if isinstance(a, list) else [a] * size for a in arguments]
        found = [_real(NUMBERS[node.function](*some)) for some in zip(*spread, strict=True)]
        return None if None in found else found
    except (ZeroDivisionError, ValueError, OverflowError):
        return None


def _real(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, mp.mpc):
        return value.real if value.imag == 0 else None
    return value if mp.isfinite(value) or mp.isinf(value) else None


def _soft(x: list[Any]) -> list[Any]:
    return [mp.exp(v) / sum(map(mp.exp, x)) for v in x]


LISTS: dict[str, Callable[[list[Any]], Any]] = {
    "sum": sum,
    "prod": mp.fprod,
    "mean": lambda x: sum(x) / len(x),
    "ones_like": lambda x: [mp.mpf(1)] * len(x),
    "softmax": _soft,
    "log_softmax": lambda x: [mp.log(v) for v in _soft(x)],
    "logsumexp": lambda x: mp.log(sum(map(mp.exp, x))),
    "norm": lambda x: mp.sqrt(sum(v * v for v in x)),
    "amax": max,
}

NUMBERS: dict[str, Callable[..., Any]] = {
    **{name: getattr(operator, name) for name in ("add", "sub", "mul", "neg", "pow", "lt", "le", "gt", "ge", "eq", "ne")},
    **{
        name: getattr(mp, name)
        for name in ("exp", "expm1", "log", "log1p", "sqrt", "hypot", "sin", "cos", "tan", "tanh", "sinh")
    },
    **{name: getattr(mp, name) for name in ("cosh", "asinh", "atanh", "acosh", "asin", "acos", "atan", "atan2", "erf", "erfc")},
    "div": lambda x, y: x / y,
    "logical_and": lambda x, y: x and y,
    "logical_or": lambda x, y: x or y,
    "abs": abs,
    "real": mp.re,
    "imag": mp.im,
    "sign": mp.sign,
    "pi": lambda: +mp.pi,
    "inf": lambda: mp.inf,
    "gamma": mp.gamma,
    "lgamma": lambda x: mp.log(abs(mp.gamma(x))),
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
    "logsigmoid": lambda x, *_: -mp.log1p(mp.exp(-x)),
    "softplus": lambda x, *_: mp.log1p(mp.exp(x)) if x <= 20 else x,  # as torch has it
    "logaddexp": lambda x, y: mp.log(mp.exp(x) + mp.exp(y)),
    "logit": lambda x: mp.log(x / (1 - x)),
    "sinc": lambda x: mp.sincpi(x),
    "erfcx": lambda x: mp.exp(x * x) * mp.erfc(x),
    "ndtr": mp.ncdf,
    "log_ndtr": lambda x: mp.log(mp.ncdf(x)),
    "relu": lambda x: max(x, mp.mpf(0)),
    "maximum": max,
    "minimum": min,
    "clamp": lambda x, low, high: min(max(x, low), high),
    "clamp_max": min,
}
"""Each written with mpmath, apart from the table of functions."""

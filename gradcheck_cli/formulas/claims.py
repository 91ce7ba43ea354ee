"""The fourth party: a derivative derived by hand, judged in balls at every point, and by symbols where SymPy can."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import numpy as np
import sympy

from gradcheck_cli.algebra.balls import PLAIN
from gradcheck_cli.algebra.layers import Exact
from gradcheck_cli.algebra.number import Ball, conditions, exactly, working
from gradcheck_cli.algebra.precision import CLAIM
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.algebra.symbols import to_symbols
from gradcheck_cli.exact.derivative import TIDY, chain_formula, differentiate
from gradcheck_cli.exact.enclosure import Enclosure
from gradcheck_cli.floats import Floats, Format
from gradcheck_cli.formulas.problem import Claim
from gradcheck_cli.language.chain import Chain
from gradcheck_cli.language.printer import show
from gradcheck_cli.language.tree import Node, substitute, variables
from gradcheck_cli.verdict.column import Column, Detail
from gradcheck_cli.verdict.judge import distance
from gradcheck_cli.verdict.numbers import decimal
from gradcheck_cli.verdict.truth import Kind, Truth, regular
from gradcheck_cli.verdict.verdicts import Cause, Verdict

SHARP = Format("claim", CLAIM, -1022, 1023)
"""How exact the derivative is that a claim is compared with."""

ROUNDED = "right within the rounding of its constants"

LONG = 15
"""Significant digits from which on a number in a claim looks as if it was rounded in decimal, not chosen."""


class _Constants(Exact):
    """Balls in which a number stands for all that are rounded to it: to the nearest double, and to its last digit if it has
    many."""

    def number(self, value: float | bool, form: Format) -> Ball:
        if isinstance(value, bool) or super().number(value, form).is_exact():
            return super().number(value, form)
        _, digits, exponent = Decimal(repr(value)).as_tuple()
        last = float(f"1e{exponent}") if len(digits) >= LONG else 0.0
        radius = exactly(max(form.gap(value), last) / 2)
        with working(CLAIM):
            return (exactly(value) - radius).union(exactly(value) + radius)


def check_claim(claim: Claim, chain: Chain, column: Column, points: Mapping[str, Floats], form: Format) -> str | None:
    """Fill a blank column with the claim's verdict at each point; returns a note: where it fails, at the simplest one.

    A claim is right within the rounding of its constants (see `_Constants`), and the note says where it takes that.
    """
    column.mode, column.claim = "claim", claim.text
    column.formula = chain_formula(chain, claim.wrt)
    enclosure = Enclosure(chain, [claim.wrt], SHARP)
    (truths,), _ = enclosure.at({name: values.tolist() for name, values in points.items()})
    names = variables(claim.tree)
    program, meant = (Program([claim.tree], names, algebra, conditions) for algebra in (PLAIN, _Constants()))
    for index, found in enumerate(truths):
        truth = regular(found)
        point = {name: exactly(float(values[index])) for name, values in points.items()}
        with working(8 * CLAIM):
            everything = enclosure.values.every(point, {})
            (value,) = program(*(everything[name] for name in names))
            (loose,) = meant(*(everything[name] for name in names))
        column.exact[index] = truth.ball
        column.autograd[index] = float(value.mid()) if value.is_finite() else float("nan")
        verdict = _verdict(truth, value)
        rounded = verdict is Verdict.MISMATCH and value.is_finite() and _verdict(truth, loose) is Verdict.MATCH
        verdict = Verdict.MATCH if rounded else verdict
        column.verdicts[index] = verdict.severity
        if truth.kind is Kind.REGULAR:
            column.error_ulps[index] = distance(float(column.autograd[index]), truth.ball, form)
        if rounded:
            column.details[index] = Detail(text=ROUNDED)
        if verdict is Verdict.MISMATCH:
            column.details[index] = Detail(cause=Cause.CLAIM, autograd_formula=show(claim.tree))
    return _summary(claim, chain, column, points)


def _verdict(truth: Truth, value: Ball) -> Verdict:
    match truth.kind:
        case Kind.OUTSIDE:
            return Verdict.OUTSIDE_DOMAIN
        case Kind.NONDIFFERENTIABLE:
            return Verdict.NONDIFFERENTIABLE
        case Kind.UNKNOWN:
            return Verdict.UNDECIDED
    if not value.is_finite():
        return Verdict.MISMATCH if value.is_nan() and not truth.singular else Verdict.UNDECIDED
    return Verdict.MATCH if value.overlaps(truth.ball) else Verdict.MISMATCH


def _summary(claim: Claim, chain: Chain, column: Column, points: Mapping[str, Floats]) -> str | None:
    wrong = np.flatnonzero(column.having(Verdict.MISMATCH)).tolist()
    if wrong:
        simplest = min(wrong, key=lambda i: (sum(len(repr(float(v[i]))) for v in points.values()), i))
        where = ", ".join(f"{name}={float(values[simplest])!r}" for name, values in points.items())
        exact, claimed = decimal(column.exact[simplest]), float(column.autograd[simplest])
        return f"the claim is refuted at {where}: exact {exact}, claimed {claimed!r}"
    if any(detail.text == ROUNDED for detail in column.details.values()):
        return f"the claim is {ROUNDED}"
    return "the claim is the derivative: symbols say so too" if _same(claim, chain) else None


def _same(claim: Claim, chain: Chain) -> bool:
    """True where SymPy shows that claim and derivative are one formula."""
    if chain_formula(chain, claim.wrt) is None or not all(name in chain.inputs for name in claim.wrt):
        return False
    trees: dict[str, Node] = {}
    for stage in chain.stages:
        trees[stage.name] = substitute(stage.tree, trees)
    derivative = differentiate(chain.composed(), claim.wrt)
    assert derivative is not None
    difference = to_symbols(derivative) - to_symbols(substitute(claim.tree, trees))
    return difference.count_ops() <= TIDY and bool(sympy.expand(difference) == 0)

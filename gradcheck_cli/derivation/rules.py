"""THE table of the rules of differentiation: what each says, and the slips that are made with it by hand.

`u`, `v`, `w` are the operands, `du`, `dv`, `dw` their derivatives. A text in braces within a sentence is such a formula too: it
is filled in and written out. A function that has no rule of its own goes by the chain rule, `p*du + q*dv + r*dw`, where p, q
and r are its own derivatives at its operands: the function table has them (`steps.Own`).

Columns
-------
name        what the rule is called
call        what it is about: a row of the function table with its operands
varying     the operands that depend on what is differentiated by; the others are constants to it
derivative  the derivative
says        the rule, for the reader
slips       what is written instead, by mistake, and what that means: "the inner derivative {du} is missing". A slip that gives
            the right derivative (an inner derivative of 1) is none. The usual ones first
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.tree import Call, Node, Variable

OPERANDS = ("u", "v", "w")
SLOPES = ("p", "q", "r")
"""A function's own derivative by each of its operands."""


def read(text: str) -> Node:
    """A formula of this table; `c` is a condition."""
    return parse(text, truths=frozenset({"c"}))


def rate(letter: str) -> str:
    """What the derivative of an operand is called."""
    return f"d{letter}"


Slip = tuple[str, str]
"""What is written instead of the derivative; the sentence about it."""


@dataclass(frozen=True)
class Rule:
    """A row. See the head of this file for the columns."""

    name: str
    call: str
    varying: str
    derivative: str
    says: str
    slips: tuple[Slip, ...] = ()

    @cached_property
    def formula(self) -> Node:
        """The derivative, as a tree."""
        return read(self.derivative)

    @cached_property
    def letters(self) -> tuple[str, ...]:
        """The operands' letters, in order."""
        tree = self._tree
        return tuple(a.name for a in tree.arguments if isinstance(a, Variable)) if isinstance(tree, Call) else ()

    @property
    def function(self) -> str:
        """The row of the function table."""
        tree = self._tree
        return tree.function if isinstance(tree, Call) else ""

    @cached_property
    def _tree(self) -> Node | None:
        return read(self.call) if self.call else None


_INNER = "the inner derivative {du} of {of} is missing"

CONSTANT = Rule("constant", "", "", "0", "a constant has the derivative 0")
VARIABLE = Rule("variable", "", "", "1", "the derivative of a variable by itself is 1")

STAGE = Rule(
    "stage", "", "u", "du", "the derivative of the stage, from its own line",
    (
        ("1", "the derivative {du} of the stage {of} is missing: the chain rule multiplies by it"),
        ("0", "the way through {of} is missing: the derivative is a sum over all ways from the input to the output"),
    ),
)  # fmt: skip
"""A stage that a formula uses; `u` is its formula."""

BRANCH = Rule(
    "piecewise", "", "", "du", "{c} holds here, so it is {u}",
    (("dv", "the piece {v} is differentiated, but here {c} holds: it is {u}"),),
)  # fmt: skip
"""A choice that is made at the point; `v` is the piece that isn't chosen."""

TABLE: tuple[Rule, ...] = (
    # -- sums -------------------------------------------------------------------------------------------------------
    Rule(
        "sum rule", "u + v", "uv", "du + dv", "term by term",
        (
            ("du - dv", "the term {v} has the wrong sign: its derivative {dv} is added"),
            ("dv - du", "the term {u} has the wrong sign: its derivative {du} is added"),
            ("du", "the derivative {dv} of the term {v} is missing"),
            ("dv", "the derivative {du} of the term {u} is missing"),
        ),
    ),
    Rule(
        "sum rule", "u + v", "u", "du", "term by term; {v} is a constant",
        (
            ("du + v", "the derivative of the constant {v} is 0, not {v}"),
            ("du + 1", "the derivative of the constant {v} is 0, not 1"),
        ),
    ),
    Rule(
        "sum rule", "u + v", "v", "dv", "term by term; {u} is a constant",
        (
            ("u + dv", "the derivative of the constant {u} is 0, not {u}"),
            ("1 + dv", "the derivative of the constant {u} is 0, not 1"),
        ),
    ),
    Rule(
        "difference rule", "u - v", "uv", "du - dv", "term by term",
        (
            ("du + dv", "the term {v} has the wrong sign: its derivative {dv} is subtracted"),
            ("dv - du", "the difference {of} is taken the wrong way round"),
            ("du", "the derivative {dv} of the term {v} is missing"),
            ("-dv", "the derivative {du} of the term {u} is missing"),
        ),
    ),
    Rule(
        "difference rule", "u - v", "u", "du", "term by term; {v} is a constant",
        (
            ("du - v", "the derivative of the constant {v} is 0, not {v}"),
            ("du - 1", "the derivative of the constant {v} is 0, not 1"),
        ),
    ),
    Rule(
        "difference rule", "u - v", "v", "-dv", "term by term; {u} is a constant",
        (
            ("dv", "the minus sign in front of {v} is missing"),
            ("u - dv", "the derivative of the constant {u} is 0, not {u}"),
            ("1 - dv", "the derivative of the constant {u} is 0, not 1"),
        ),
    ),
    Rule("minus sign", "-u", "u", "-du", "it stays", (("du", "the minus sign in front of {u} is missing"),)),
    # -- products ---------------------------------------------------------------------------------------------------
    Rule(
        "constant factor", "u*v", "u", "v*du", "{v} stays",
        (
            ("du", "the constant factor {v} of {of} is missing"),
            ("v*du + u", "the product rule with the derivative of the constant {v} taken for 1: it is 0"),
        ),
    ),
    Rule(
        "constant factor", "u*v", "v", "u*dv", "{u} stays",
        (
            ("dv", "the constant factor {u} of {of} is missing"),
            ("u*dv + v", "the product rule with the derivative of the constant {u} taken for 1: it is 0"),
        ),
    ),
    Rule(
        "product rule", "u*v", "uv", "du*v + u*dv", "(u*v)' = u'*v + u*v'",
        (
            ("du*v", "the second term of the product rule, {u*dv}, is missing"),
            ("u*dv", "the first term of the product rule, {du*v}, is missing"),
            ("du*dv", "the derivative of a product isn't the product of the derivatives: (u*v)' = u'*v + u*v' for {of}"),
            ("du*v - u*dv", "the second term of the product rule, {u*dv}, has the wrong sign"),
            ("u*dv - du*v", "the first term of the product rule, {du*v}, has the wrong sign"),
            ("du + dv", "the terms of the product rule lack the other factor: (u*v)' = u'*v + u*v' for {of}"),
            ("du*v + u", "the inner derivative {dv} of the factor {v} is missing"),
            ("v + u*dv", "the inner derivative {du} of the factor {u} is missing"),
        ),
    ),
    Rule(
        "constant divisor", "u/v", "u", "du/v", "{v} stays",
        (
            ("du", "the division by {v} in {of} is missing"),
            ("du*v", "{of} is multiplied by {v}, not divided by it"),
            ("du/v**2", "the constant divisor {v} stays as it is: it isn't squared"),
        ),
    ),
    Rule(
        "reciprocal rule", "u/v", "v", "-u*dv/v**2", "(c/v)' = -c*v'/v**2",
        (
            ("u*dv/v**2", "the minus sign of the reciprocal rule is missing: (1/v)' = -v'/v**2 with v = {v}"),
            ("-u*dv/v", "the denominator {v} isn't squared"),
            ("-u/v**2", "the inner derivative {dv} of the denominator {v} is missing"),
            ("u/v**2", "the minus sign of the reciprocal rule and the inner derivative {dv} of the denominator are missing"),
            ("u/dv", "the derivative of a reciprocal isn't the reciprocal of the derivative: (1/v)' = -v'/v**2 with v = {v}"),
            ("-dv/v**2", "the constant factor {u} of {of} is missing"),
            ("u*log(v)", "{of} is differentiated here, not integrated"),
        ),
    ),
    Rule(
        "quotient rule", "u/v", "uv", "(du*v - u*dv)/v**2", "(u/v)' = (u'*v - u*v')/v**2",
        (
            ("(du*v + u*dv)/v**2", "the sign between the terms of the quotient rule is a minus: (u'*v - u*v')/v**2"),
            ("(u*dv - du*v)/v**2", "the terms of the quotient rule are the wrong way round: (u'*v - u*v')/v**2"),
            ("(du*v - u*dv)/v", "the denominator {v} isn't squared"),
            ("du*v - u*dv", "the denominator {v**2} of the quotient rule is missing"),
            ("du/v", "the second term of the quotient rule, {-u*dv/v**2}, is missing"),
            ("-u*dv/v**2", "the first term of the quotient rule, {du/v}, is missing"),
            ("du/dv", "the derivative of a quotient isn't the quotient of the derivatives: (u'*v - u*v')/v**2 for {of}"),
            ("(du*v - u)/v**2", "the inner derivative {dv} of the denominator {v} is missing"),
            ("(v - u*dv)/v**2", "the inner derivative {du} of the numerator {u} is missing"),
        ),
    ),
    # -- powers -----------------------------------------------------------------------------------------------------
    Rule(
        "power rule", "u**v", "u", "v*u**(v - 1)*du", "(u**n)' = n*u**(n - 1)*u'",
        (
            ("v*u**(v - 1)", _INNER),
            ("u**(v - 1)*du", "the exponent {v} of {of} is missing as a factor"),
            ("v*u**v*du", "the exponent of {of} isn't lowered: it becomes {v - 1}"),
            ("v*u**(v + 1)*du", "the exponent of {of} is lowered by 1, to {v - 1}, not raised"),
            ("(v - 1)*u**(v - 1)*du", "the factor is the exponent {v} itself: only the new exponent is {v - 1}"),
            ("u**(v - 1)", "the exponent {v} as a factor and the inner derivative {du} of {of} are missing"),
            ("v*u*du", "the exponent of {of} becomes {v - 1}, not 1"),
            ("v*du", "the power rule for {of} lacks the factor {u**(v - 1)}: (u**n)' = n*u**(n - 1)*u'"),
            ("du", "the power rule for {of} lacks the factor {v*u**(v - 1)}: (u**n)' = n*u**(n - 1)*u'"),
            ("du**v", "the inner function {u} stays in the power: (u**n)' = n*u**(n - 1)*u'"),
            ("v*du**(v - 1)", "the inner function {u} stays in the power: (u**n)' = n*u**(n - 1)*u'"),
            ("u**(v + 1)/(v + 1)", "{of} is differentiated here, not integrated"),
            ("u**v*log(u)*du", "{of} has a constant exponent: the power rule holds, not that of exponentials"),
        ),
    ),
    Rule(
        "exponential rule", "u**v", "v", "u**v*log(u)*dv", "(a**v)' = a**v*log(a)*v'",
        (
            ("u**v*log(u)", "the inner derivative {dv} of {of} is missing"),
            ("u**v*dv", "the factor {log(u)} is missing: (a**v)' = a**v*log(a)*v'"),
            ("v*u**(v - 1)*dv", "the exponent of {of} varies: the rule for exponentials holds, not the power rule"),
            ("v*u**(v - 1)", "the exponent of {of} varies: the rule for exponentials holds, not the power rule"),
            ("u**v/log(u)*dv", "{of} is multiplied by {log(u)}, not divided by it"),
        ),
    ),
    Rule(
        "power of two functions", "u**v", "uv", "u**v*(dv*log(u) + v*du/u)",
        "(u**v)' = u**v*(v'*log(u) + v*u'/u), for u**v = exp(v*log(u))",
        (
            ("v*u**(v - 1)*du", "the exponent of {of} varies too: the term {u**v*dv*log(u)} is missing"),
            ("u**v*dv*log(u)", "the base of {of} varies too: the term {v*u**(v - 1)*du} is missing"),
            ("dv*log(u) + v*du/u", "the factor {of} is missing: the logarithm's derivative is u'/u"),
        ),
    ),
    # -- choices ----------------------------------------------------------------------------------------------------
    Rule("piecewise", "where(c, u, v)", "uv", "where(c, du, dv)", "each piece by itself"),
    Rule("piecewise", "where(c, u, v)", "u", "where(c, du, 0)", "each piece by itself"),
    Rule("piecewise", "where(c, u, v)", "v", "where(c, 0, dv)", "each piece by itself"),
    BRANCH,
    STAGE,
)  # fmt: skip

RULES: Mapping[tuple[str, str], Rule] = MappingProxyType({(rule.function, rule.varying): rule for rule in TABLE if rule.call})
"""By the row of the function table and the operands that vary; those that are about no row are named where they are used."""


def chain_rule(varying: str) -> Rule:
    """The rule of a function that has none of its own."""
    terms = " + ".join(f"{p}*{rate(u)}" for u, p in zip(OPERANDS, SLOPES, strict=True) if u in varying)
    return Rule("chain rule", "", varying, terms, "f(u)' = f'(u)*u'", tuple(_chain_slips(varying)))


def _chain_slips(varying: str) -> list[Slip]:
    """An inner derivative forgotten, or one of several operands."""
    pairs = [(u, p) for u, p in zip(OPERANDS, SLOPES, strict=True) if u in varying]
    found: list[Slip] = []
    for u, p in pairs:
        others = "".join(f" + {q}*{rate(v)}" for v, q in pairs if v != u)
        found.append((p + others, f"the inner derivative {{{rate(u)}}} of {{of}} is missing"))
        if others:
            found.append((others.removeprefix(" + "), f"{{of}} depends on {{{u}}} too: the term {{{p}*{rate(u)}}} is missing"))
            found.append((f"-{p}*{rate(u)}{others}", f"the term {{{p}*{rate(u)}}} has the wrong sign"))
        else:
            outer = f"the derivative {{{p}}} of the outer function in {{of}} is missing"
            found.append((rate(u), f"{outer}: only the inner one, {{{rate(u)}}}, is there"))
            found.append((f"{p} + {rate(u)}", f"the inner derivative {{{rate(u)}}} of {{of}} is a factor, not a term"))
    return found


OF_FUNCTIONS: Mapping[str, tuple[Slip, ...]] = MappingProxyType({
    "exp": (("u*exp(u - 1)*du", "{of} isn't a power of {u}: the derivative of exp(t) is exp(t)"),),
    "log": (("1/du", "the derivative of log(u) is u'/u: here {du/u}"),
            ("du*u", "the derivative of log(u) is u'/u: here {du/u}")),
    "sqrt": (("2*sqrt(u)*du", "the derivative of {of} has the root in the denominator: sqrt(u)' = u'/(2*sqrt(u))"),
             ("du*sqrt(u)/2", "the derivative of {of} has the root in the denominator: sqrt(u)' = u'/(2*sqrt(u))")),
    "tan": (("du/cos(u)", "the derivative of tan(u) is u'/cos(u)**2: the square is missing"),),
    "tanh": (("du/cosh(u)", "the derivative of tanh(u) is u'/cosh(u)**2: the square is missing"),),
    "abs": (("du", "the derivative of abs(u) is sign(u)*u': the sign is missing"),),
})  # fmt: skip
"""Slips of some functions, besides those of the chain rule and of what is remembered wrongly."""

SUMS = frozenset({"sum rule", "difference rule", "minus sign"})
"""Rules that only go into the terms: a sum in a sum is one sum to a reader."""

"""A seeded generator of random formulas of a complex number, each with mpmath's own function: what it is compared with."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath

from gradcheck_cli import check_grad
from gradcheck_cli.verdict.verdicts import Cause, Verdict

Function = Callable[[Any], Any]

FUNCTIONS: dict[str, Function] = {
    **{
        name: getattr(mpmath, name)
        for name in [
            "sin",
            "cos",
            "tan",
            "exp",
            "log",
            "sqrt",
            "tanh",
            "sinh",
            "cosh",
            "conj",
            "asin",
            "atan",
            "acosh",
            "expm1",
        ]
    },
    "abs": lambda z: mpmath.mpc(abs(z)),
    "re": lambda z: mpmath.mpc(z.real),
    "im": lambda z: mpmath.mpc(z.imag),
    "arg": lambda z: mpmath.mpc(mpmath.arg(z)),
    "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)),
    "square": lambda z: z * z,
    "reciprocal": lambda z: 1 / z,
    "log1p": lambda z: mpmath.log(1 + z),
    "sgn": lambda z: z / abs(z),
    "log2": lambda z: mpmath.log(z) / mpmath.log(2),
    "exp2": lambda z: mpmath.exp(z * mpmath.log(2)),
}
NUMBERS = ("2", "0.5", "(1+2j)", "1j", "3")
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda x, y: x + y, "-": lambda x, y: x - y, "*": lambda x, y: x * y, "/": lambda x, y: x / y,
}  # fmt: skip
BITS, STEP = 400, 2.0**-100


class Case(NamedTuple):
    """A formula, what it computes, and a point."""

    text: str
    function: Function
    point: complex


def case(rng: random.Random) -> Case:
    """A formula in which z occurs."""
    text, function = _tree(rng, rng.choice((2, 3, 4)))
    point = complex(*(round(rng.gauss(0, 1.3), 3) + 0.0 for _ in range(2)))
    return Case(text, function, point) if "z" in text else case(rng)


def _tree(rng: random.Random, depth: int) -> tuple[str, Function]:
    kind = rng.random() if depth and rng.random() > 0.12 else -1.0
    if kind < 0:
        number = rng.choice(NUMBERS)
        return ("z", lambda z: z) if rng.random() < 0.7 else (number, lambda z: mpmath.mpmathify(complex(number.strip("()"))))
    if kind < 0.5:
        name = rng.choice([*FUNCTIONS])
        text, inner = _tree(rng, depth - 1)
        return f"{name}({text})", lambda z: FUNCTIONS[name](mpmath.mpc(inner(z)))
    if kind < 0.58:
        power, (text, inner) = rng.choice((2, 3, -1)), _tree(rng, depth - 1)
        return f"({text})**{power}", lambda z: inner(z) ** power
    sign, (left, f), (right, g) = rng.choice([*OPERATORS]), _tree(rng, depth - 1), _tree(rng, depth - 1)
    return f"({left} {sign} {right})", lambda z: OPERATORS[sign](f(z), g(z))


class Found(NamedTuple):
    """How many derivatives agree with mpmath's quotients; the verdicts; in words what doesn't agree, or is refuted, and where
    torch has no finite number for a derivative."""

    agreeing: int
    verdicts: list[Verdict]
    off: list[str]
    lost: list[str]


def compared(case: Case) -> Found:
    """A check of a case, each derivative that it certifies beside a central difference at 400 bits."""
    report = check_grad(case.text, at={"z": case.point}, dtype="complex128", timeout=30)
    agreeing, off, lost = 0, list[str](), list[str]()
    for check in report.checks:
        where = f"{check.quantity} of {case.text} at {case.point}: {check.exact}, autograd {check.autograd}"
        if check.verdict is Verdict.MISMATCH:
            (lost if check.cause in (Cause.RANGE, Cause.NAN_TRAP) else off).append(f"refuted ({check.cause}): {where}")
        if check.verdict not in (Verdict.MATCH, Verdict.IMPRECISE):
            continue
        with mpmath.workprec(BITS):
            along = mpmath.mpc(1 if check.wrt == ("z.real",) else 1j) * STEP
            up, down = (mpmath.mpc(case.function(mpmath.mpc(case.point) + step)) for step in (along, -along))
            slope = (up - down) / (2 * STEP)
            wanted, exact = (slope.imag if check.of.endswith(".imag") else slope.real), mpmath.mpf(check.exact)
            near = abs(wanted - exact) <= 1e-12 * max(1, abs(exact))
        agreeing += near
        off += [] if near else [f"{where}, a quotient {mpmath.nstr(wanted, 20)}"]
    return Found(agreeing, [c.verdict for c in report.checks], off, lost)

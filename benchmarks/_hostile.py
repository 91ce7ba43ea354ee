"""Texts that try to break the parser, and a seeded source of mutated ones. Input number i is a function of (seed, i) alone."""

from __future__ import annotations

import random
from collections.abc import Sequence

from gradcheck_cli.language.functions import ROWS

HOSTILE = (
    "x" * 100_000,
    "x+" * 50_000 + "x",
    "(" * 1_000 + "x" + ")" * 1_000,
    "(" * 100_000,
    "sin(" * 1_000 + "x" + ")" * 1_000,
    "-" * 1_000 + "x",
    "-" * 19_000 + "x",
    "not " * 500 + "x",
    "~" * 1_000 + "x",
    "x" + "**x" * 1_000,
    "x" + "**2" * 140,
    "+".join(["x"] * 5_000),
    "+".join(f"x**{n}" for n in range(1_000)),
    "*".join(["(1 + x)"] * 1_000),
    "9**9**9**9",
    "9**9**9**9*x",
    "x**9**9**9**9",
    "x**(9**9)",
    "(x**(x**(x**(x**x))))",
    "x**(x**(3.3**30))",
    "factorial(10**9)",
    "gamma(10**9)*x",
    "gamma(1e300)*x",
    "gamma(x*1e18)",
    "lgamma(-1e300*x)",
    "polygamma(1000, x)",
    "polygamma(10**9, x)",
    "zeta(x, -1e9)",
    "besselj(1000, x)",
    "besselj(0, 1e300*x)",
    "exp(exp(exp(x)))",
    "exp(exp(exp(exp(exp(x)))))",
    "exp(1e300*x)",
    "tan(1e308*x)",
    "sin(10**300*x)",
    "10**400",
    "10**400*x",
    "1" + "0" * 400,
    "1" * 5_000,
    "1e999*x",
    "1e-999*x",
    "0x" + "f" * 5_000,
    "1_000_000*x",
    "1.5e3000 + x",
    '__import__("os")',
    '__import__("os").system("true")',
    "x.__class__.__bases__[0].__subclasses__()",
    "().__class__",
    "x.real.imag.sin()",
    "a.b.c.d.e(x)",
    "torch.load(x)",
    "torch.special.torch.sin(x)",
    "lambda x: x",
    "(lambda: x)()",
    "f'{x}'",
    "f'{__import__(\"os\")}'",
    "'sin'(x)",
    "[x for x in range(10**9)]",
    "{x: x}",
    "x if x > 0 else -x",
    "(y := x)",
    "x[0]",
    "x, x",
    "*x",
    "sin(*x)",
    "sin(**x)",
    "sin(x, x)",
    "sin()",
    "sin(x)(x)",
    "await x",
    "yield x",
    "x = y = z",
    "x == x",
    "x = ",
    "= x",
    "x < x < x < x",
    "where(" + "<".join(["x"] * 2_000) + ", x, 0)",
    "where(x, x, x)",
    "where(x > 0 > 0 > 0, x, 0)",
    "Piecewise()",
    "Piecewise((x, True))",
    "Piecewise((x, x > 0))",
    "Piecewise(" + ", ".join(f"(x, x > {n})" for n in range(1_000)) + ", (0, True))",
    "Piecewise((" * 100 + "x" + ", x > 0), (0, True))" * 100,
    "Max(" + ", ".join(["x"] * 4_000) + ")",
    "where(" * 120 + "x > 0, x, 0" + ", x, 0)" * 119 + ")",
    "",
    " ",
    "\n",
    "#",
    "x # comment",
    "x\\\n",
    "x;",
    "x\ny",
    "(x\n+\nx)",
    "\0",
    "x\0",
    "x\x0c+ 1",
    "\t x",
    "\ufeff" + "x",
    "\ud800",
    "x\udfff",
    "x + \u202e1",
    "\U0001f600",
    "\uff58 + 1",  # a full-width x, which Python's identifiers fold to x
    "\u03b1**2 + \u03b1",
    "\u212b*x",
    "x\u00b2",
    "\u0661 + x",  # an Arabic digit
    "x \u2212 1",
    "\u00a0x",
    "e\u0301 + x",
    "True", "None", "...", "x is x", "x in x", "x @ x", "x << 2", "x | x", "x || x", "x & x", "1j*x", "x%x", "x//x", "--x",
    "|", "||", "x|", "|x", "x|" * 5_000 + "x", "a|b|c|d|a*b*c*d", "nan*x", "inf*x", "x - inf", "inf - inf", "0*x", "x/0",
    "0/0", "0**0",
    "0**x", "x**0", "x**-1", "(-2)**x", "(0*x)**(0*x)", "log(-1)*x", "sqrt(-x**2)", "asin(x + 10)", "acosh(x - 1e9)",
)  # fmt: skip
"""Every way known here to hang, crash or blow up a parser or an evaluator of formulas."""

SEEDS = (
    "2*x", "z**2 + 2*z + 2", "x**2 + y**3", "x**2 + x*y**2", "where(a <= 0, exp(a), 1 + a)", "sqrt((x - 1)**2)",
    "relu(x) - relu(-x)", "log(1 + exp(x))", "atan2(a, b)", "Piecewise((x, x > 0), (0, True))", "F.gelu(x, approximate='tanh')",
    "torch.sin(x)*math.pi", "x.sin().pow(2)", "leaky_relu(x, negative_slope=0.2)", "clamp(x, min=-1, max=1)", "besselj(0, x)",
    "y = sin(x) | z = y*x | z + y", "Max(x, y, 1e-3)", "polygamma(2, x)", "0.1*x - 1e-3/x", "40*tanh(w*tanh(w/2))",
)  # fmt: skip

TOKENS = (
    "(", ")", "((", "))", ",", "+", "-", "*", "**", "/", "//", "%", "@", "^", "|", "&", "~", "<", "<=", "==", "!=", "=", ":=",
    ":", ";", ".", "..", "...", "[", "]", "{", "}", "'", '"', "\\", "#", "\n", "\t", "\0", " ", "_", "__", "0", "1", "-1", "9",
    "1e999", "1e-320", "1e5", "10**9", "0x1F", "1j", "0b1", "07", "inf", "nan", "pi", "e", "True", "None", "lambda",
    "lambda x:", "for", "if", "else", "in", "is", "not", "and", "or", "x", "y", "z",
    "torch.", "np.", "F.", "math.", ".sin()", ".__class__", "**9**9", "x if x else x", "f'{x}'",
    "\u03b1", "\u00b2", "\u2212", "\U0001f600", "\ud800", "\u202e", "min=", "max=", "approximate='none'", "*x", "**x",
)  # fmt: skip


def formula(rng: random.Random, depth: int) -> str:
    """A well-formed formula, mostly."""
    kind = rng.random()
    if depth == 0 or kind < 0.15:
        return rng.choice(("x", "y", "x", "1", "2", "0.5", "3", "-1", "1e-8", "1e10", "pi"))
    if kind < 0.5:
        return f"({formula(rng, depth - 1)} {rng.choice('+-*/')} {formula(rng, depth - 1)})"
    if kind < 0.57:
        return f"{formula(rng, depth - 1)}**{rng.choice(('2', '3', '-1', '0.5', 'x', '(-2)', '1e3', '(1/3)'))}"
    if kind < 0.63:
        return f"where({formula(rng, 1)} < {formula(rng, 1)}, {formula(rng, depth - 1)}, {formula(rng, depth - 1)})"
    row = rng.choice(ROWS)
    settings = ("number", "integer")
    terms = [rng.choice("012") if p.kind in settings else formula(rng, depth - 1) for p in row.parameters]
    return f"{row.name}({', '.join(terms)})" if terms else row.name


def mutated(seed: int, index: int) -> str:
    """Text number `index`: a formula, a seed or a hostile text, with up to six mutations."""
    rng = random.Random(f"{seed}:{index}")
    kind = rng.random()
    if kind < 0.5:
        text = formula(rng, rng.randint(1, 4))
    elif kind < 0.98:
        text = rng.choice(SEEDS)
    else:
        text = rng.choice(HOSTILE)[:3_000]
    return changed(rng, text)


def changed(rng: random.Random, text: str, tokens: Sequence[str] = TOKENS, seeds: Sequence[str] = SEEDS) -> str:
    """The text with up to six mutations."""
    for _ in range(rng.choice((0, 1, 1, 2, 3, 6))):
        at, to = sorted((rng.randint(0, len(text)), rng.randint(0, len(text))))
        match rng.randrange(7):
            case 0:
                text = text[:at] + rng.choice(tokens) + text[at:]
            case 1:
                text = text[:at] + text[min(to, at + 4) :]
            case 2:
                text = text[:to] + text[at:to] + text[to:]
            case 3:
                text = text[:at] + rng.choice(seeds) + text[to:]
            case 4:
                text = text[:at] + chr(rng.randrange(rng.choice((0x80, 0x250, 0x110000)))) + text[at:]
            case 5:
                text = text[:at] + "(" * rng.randrange(1, 300) + text[at:to] + ")" * rng.randrange(1, 300) + text[to:]
            case 6:
                row = rng.choice(ROWS)
                text = text[:at] + row.name + "(" + text[at:to] + ")" + text[to:]
        text = text[:30_000]
    return text

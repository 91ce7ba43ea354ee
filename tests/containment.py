"""The kernels of columns against arb: arguments that are hard for them, and whether the truth lies in each ball.

Used by tests/algebra/columns and, at length, by benchmarks/containment.py. The truth is put at the rim of an argument's ball,
where it has one. Exact arguments show how much of a bound is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from flint import arb, ctx

from gradcheck_cli.algebra.balls import SMOOTH
from gradcheck_cli.algebra.columns.algebra import KERNELS as ROWS
from gradcheck_cli.algebra.columns.algebra import KINDS, MULTIPLE
from gradcheck_cli.algebra.columns.backends import Backend
from gradcheck_cli.algebra.columns.multiple_functions import enclosed

Floats = npt.NDArray[np.float64]

INFINITY = 1.7e308


class Kernel(NamedTuple):
    """A function of arb's, where it has values, the step of the kernel's table, and where its ways part."""

    reference: Callable[..., Any]
    low: float = -INFINITY
    high: float = INFINITY
    step: float = 1 / 128
    limits: tuple[float, ...] = ()
    ordinary: float = 3.0
    arguments: int = 1


def _sech(x: Any) -> Any:
    e = (-abs(x)).exp()
    return 2 * e / (1 + e * e)


_LN2, _PI = math.log(2) / 256, math.pi / 256
_EXP = (-746.0, -745.13, -708.4, -100.0, 690.0, 709.78, 710.0, 340.0, 680.0)
_TURN = (
    2.0**14, 2.0**44, 2.0**10, 0.35588354278946877, 2.84706834231575, 22.776546738526, 2510.2184331423664, 13270.885038772987,
    0.01227184630308513, 5020.436866284733, 359.8964365305776, 10040.873732569466, 45.553093477052, 182.212373908208,
    11661.591930125313, 5830.795965062656, 2915.397982531328,
)  # fmt: skip
"""Those from the fourth on are the floats up to 2**14 that are closest to multiples of pi/256: by 2**-60."""

KERNELS: dict[str, Kernel] = {
    "add": Kernel(lambda x, y: x + y, arguments=2),
    "subtract": Kernel(lambda x, y: x - y, arguments=2),
    "multiply": Kernel(lambda x, y: x * y, arguments=2),
    "over": Kernel(lambda x, y: x / y, arguments=2),
    "square": Kernel(lambda x: x * x, limits=(2.0**-510, 2.0**-537)),
    "square_root": Kernel(arb.sqrt, 0.0, limits=(2.0**-1000, 2.0**-1022)),
    "exp": Kernel(arb.exp, -INFINITY, 720.0, _LN2, _EXP),
    "expm1": Kernel(arb.expm1, -INFINITY, 720.0, _LN2, _EXP),
    "sinh": Kernel(arb.sinh, -720.0, 720.0, _LN2, _EXP),
    "cosh": Kernel(arb.cosh, -720.0, 720.0, _LN2, _EXP),
    "tanh": Kernel(arb.tanh, step=_LN2 / 2, limits=_EXP),
    "sech": Kernel(_sech, step=_LN2, limits=_EXP),
    "sigmoid": Kernel(lambda x: 1 / (1 + (-x).exp()), step=_LN2, limits=_EXP),
    "log": Kernel(arb.log, 0.0, limits=(2.0**-1021, 2.0**-1022, 1.0, 1.4142135623730951)),
    "log1p": Kernel(arb.log1p, -1.0, limits=(-1.0, 0.4142135623730951)),
    "sin": Kernel(arb.sin, step=_PI, limits=_TURN),
    "cos": Kernel(arb.cos, step=_PI, limits=_TURN),
    "tan": Kernel(arb.tan, step=_PI, limits=_TURN),
    "atan": Kernel(arb.atan, limits=(1.0, 511.0, 2.0**-9, 2.0**980)),
    "asin": Kernel(arb.asin, -1.0, 1.0, ordinary=0.5, limits=(-1.0, 1.0)),
    "acos": Kernel(arb.acos, -1.0, 1.0, ordinary=0.5, limits=(-1.0, 1.0)),
    "asinh": Kernel(arb.asinh, -1e150, 1e150),
    "acosh": Kernel(arb.acosh, 1.0, 1e150, limits=(1.0,)),
    "atanh": Kernel(arb.atanh, -1.0, 1.0, ordinary=0.5, limits=(-1.0, 1.0)),
    "erfcx": Kernel(lambda x: (x * x).exp() * x.erfc(), 0.0, 40.0, 1 / 64, (27.999, 28.0)),
    "erf": Kernel(arb.erf, step=1 / 64, limits=(0.5, 27.999, 28.0)),
    "erfc": Kernel(arb.erfc, step=1 / 64, limits=(0.5, 27.999, 28.0)),
}
"""By the kernel's name; `power` is exp, log and a product."""

WORDS = 4
"""Those of numbers of several words."""

SEVERAL = (*KINDS, MULTIPLE)

FADING: dict[str, tuple[float, float]] = {
    "exp": (-747.0, -600.0), "sigmoid": (-747.0, -600.0), "sech": (600.0, 747.0), "erfc": (24.5, 27.5), "erfcx": (1.0, 27.0),
    "square": (-545.0, -450.0), "multiply": (-1080.0, -900.0), "over": (-1080.0, -900.0),
}  # fmt: skip
"""Where results, or words of them, are among the subnormal numbers; of products binary exponents: of the number, or of the
result."""


def arguments(kernel: Kernel, count: int, generator: np.random.Generator) -> Floats:
    """Ordinary ones, every exponent (subnormals too), all of the range, multiples of half a step of the table with their
    neighbours and what is near, and neighbours of where the kernel's ways part."""
    sign = generator.choice([-1.0, 1.0], count)
    exponents = np.ldexp(generator.uniform(0.5, 1, count), generator.integers(-1073, 1025, count))
    modest = np.ldexp(generator.uniform(0.5, 1, count), generator.integers(-60, 60, count))
    bound = max(kernel.low, -1e6), min(kernel.high, 1e6)
    steps = np.rint(generator.normal(size=count) * generator.choice([2.0, 100.0, 3000.0, 1e6], count)) * kernel.step
    powers = np.ldexp(1.0, generator.integers(-1074, 1024, count))
    near = steps + kernel.step * generator.choice([-1.0, 1.0], count) * np.exp2(generator.uniform(-40, -1, count))
    limits = generator.choice(kernel.limits or (1.0,), count)
    drawn = [
        generator.normal(size=count) * kernel.ordinary, sign * exponents, sign * modest, generator.uniform(*bound, count),
        _beside(steps, generator), near, _beside(sign * powers, generator), _beside(sign * limits, generator),
    ]  # fmt: skip
    x: Floats = np.choose(generator.integers(0, len(drawn), count), drawn)
    x = np.where((x < kernel.low) | (x > kernel.high), np.abs(x), x)
    return np.where((x < kernel.low) | (x > kernel.high), np.clip(1 + np.abs(steps), kernel.low, kernel.high), x)


def _beside(x: Floats, generator: np.random.Generator) -> Floats:
    """A few gaps to either side."""
    for _ in range(2):
        x = np.nextafter(x, generator.choice([-np.inf, np.inf], len(x)))
    return np.where(generator.random(len(x)) < 0.3, x, np.nextafter(x, 0))


def _fading(name: str, count: int, generator: np.random.Generator) -> list[Floats]:
    """Arguments whose results, or words of them, are subnormal."""
    uniform = generator.uniform(*FADING[name], count)
    if name not in ("square", "multiply", "over"):
        return [uniform]
    powers = np.rint(uniform).astype(int)
    first = generator.integers(-500, -100, count) if name != "square" else powers
    exponents = [first, *([] if name == "square" else [powers - first if name == "multiply" else first - powers])]
    return [np.ldexp(generator.uniform(-1, 1, count), e) for e in exponents]


class Balls(NamedTuple):
    """Arguments, and where in each ball the truth is: at `place` times the radius from the centre."""

    high: Floats
    low: Floats
    radius: Floats
    place: Floats


def balls(x: Floats, kind: str, generator: np.random.Generator) -> Balls:
    """Half of them exact floats, a quarter exact words, a quarter with a radius of any size, the truth at its rim or inside."""
    count = len(x)
    drawn = generator.random(count)
    gap = np.abs(np.spacing(x))
    low = np.where((drawn < 0.5) | (kind == "single"), 0.0, gap * generator.uniform(-0.49, 0.49, count))
    low = np.where(np.abs(x) < 2.0**-960, 0.0, low)
    radius = np.abs(x) * np.exp2(generator.uniform(-110, 0, count))
    radius = np.where(generator.random(count) < 0.2, np.exp2(generator.uniform(-80, 1, count)), radius)
    return Balls(x, low, np.where(drawn < 0.75, 0.0, radius), generator.choice([-1.0, 1.0, -1.0, 1.0, 0.3], count))


class Found(NamedTuple):
    """What containment says of one kernel."""

    violations: list[tuple[Any, ...]]
    """Arguments and results, where the truth is outside."""
    used: float
    """The largest part of a radius that exact arguments used."""
    open: float
    """The share of points that are open."""
    points: int


PRECISIONS = (320, 1300, 6000)


def drawn(name: str, kind: str, count: int, seed: int) -> list[Balls]:
    """Arguments of a kernel; of two, some that almost cancel; and a tenth with subnormal results, where there are such."""
    kernel = KERNELS[name]
    generator = np.random.default_rng([seed, *map(ord, name)])
    given = [balls(arguments(kernel, count, generator), kind, generator) for _ in range(kernel.arguments)]
    if name in FADING:
        for ball, some in zip(given, _fading(name, count // 10, generator), strict=True):
            for part, other in zip(ball, balls(some, kind, generator), strict=True):
                part[: count // 10] = other
    if kernel.arguments == 2 and kind != "single":
        near = (generator.random(count) < 0.2) & (np.arange(count) >= count // 10)
        turn = generator.choice([-1.0, 1.0], count)
        given[1] = given[1]._replace(
            high=np.where(near, turn * _beside(given[0].high, generator), given[1].high),
            low=np.where(near, turn * given[0].low, given[1].low),
        )
    return given


def contained(name: str, kind: str, backend: Backend, count: int, seed: int) -> Found:
    """`count` results of a kernel against arb."""
    return check(name, kind, backend, drawn(name, kind, count, seed))


def evaluate(name: str, kind: str, backend: Backend, given: Sequence[Balls]) -> tuple[Floats, ...]:
    """A kernel's words, two of them at least, and the radius, as arrays of NumPy."""
    others = [np.zeros_like(given[0].high)] * (WORDS - 2 if kind == MULTIPLE else 0)
    words = [(b.high, *([] if kind == "single" else [b.low]), *others, b.radius) for b in given]
    function = _function(name, kind, backend)
    with np.errstate(all="ignore"):
        parts = (
            function(*(tuple(map(backend.table, word)) for word in words))
            if backend.brief
            else _looped(function, len(given), len(words[0]))(*(part for word in words for part in word))
        )
    arrays = [np.broadcast_to(np.asarray(part), given[0].high.shape) for part in parts]
    return (arrays[0], np.zeros_like(arrays[0]), arrays[1]) if kind == "single" else tuple(arrays)


def _function(name: str, kind: str, backend: Backend) -> Callable[..., Any]:
    """A kernel; of several words, what stands for it where there is none."""
    modules = (MULTIPLE,) if kind == MULTIPLE else (kind, f"{kind}_functions", f"{kind}_normal")
    found = next((f for f in (backend.kernels(m).get(name) for m in modules) if f is not None), None)
    row = next(row for row, kernel in ROWS.items() if kernel == name)
    return partial(enclosed, SMOOTH.evaluate(row)) if found is None else found


@cache
def _looped(kernel: Callable[..., Any], arguments: int, words: int) -> Callable[..., list[Floats]]:
    """A kernel on a number without a value, as a loop over arrays."""
    from gradcheck_cli.algebra.columns import on_llvm

    def body(*parts: Any) -> Any:
        return kernel(*zip(*[iter(parts)] * words, strict=True))

    loop = on_llvm.compiled(body, arguments * words, words)

    def run(*parts: Floats) -> list[Floats]:
        found = [np.empty(len(parts[0])) for _ in range(words)]
        loop([np.ascontiguousarray(part) for part in parts], found)
        return found

    return run


def check(name: str, kind: str, backend: Backend, given: Sequence[Balls]) -> Found:
    """Whether the truth lies in each result that isn't open."""
    *words, radius = evaluate(name, kind, backend, given)
    closed = np.isfinite(words[0]) & np.isfinite(radius)
    assert all(np.isfinite(word[closed]).all() for word in words)
    used, violations = 0.0, []
    rows = [column.tolist() for ball in given for column in ball]
    for i in np.flatnonzero(closed).tolist():
        values = [column[i] for column in rows]
        *found, reach = (float(part[i]) for part in (*words, radius))
        share = _share(KERNELS[name].reference, values, found, reach)
        if share > 1:
            violations.append((*values, *found, reach, share))
        elif not any(values[2::4]):
            used = max(used, share)
    return Found(violations, used, 1 - float(closed.mean()), int(closed.sum()))


def _share(reference: Callable[..., Any], values: Sequence[float], words: Sequence[float], radius: float) -> float:
    """How far the truth is from the centre, in radii: rounded up."""
    for precision in PRECISIONS:
        with ctx.workprec(precision):
            truths = [arb(h) + arb(m) + arb(r) * arb(p) for h, m, r, p in zip(*[iter(values)] * 4, strict=True)]
            gap = abs(reference(*truths) - sum(map(arb, words)))
            if gap.is_zero():
                return 0.0
            share = gap / arb(radius) if radius else arb("nan")
            if share > 1 or share.rad() < 2.0**-20 and share <= 1:
                return float(share.upper())
    return math.inf

"""Every kernel holds the truth, in both kinds and in each library; what it can't certify is open."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from fractions import Fraction
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from flint import arb, ctx

from gradcheck_cli.algebra.columns.algebra import KERNELS as ROWS
from gradcheck_cli.algebra.columns.algebra import KINDS, MULTIPLE
from gradcheck_cli.algebra.columns.backends import on_llvm, on_numpy, on_torch
from gradcheck_cli.algebra.columns.words import WIDEST
from tests.containment import FADING, KERNELS, Balls, balls, check, contained, drawn, evaluate

POINTS = 400

COMPILED = pytest.mark.skipif(find_spec("llvmlite") is None, reason="there is no compiler: pip install gradcheck-cli[fast]")


def each_kernel() -> Callable[..., None]:
    def parametrized(test: Callable[..., None]) -> Callable[..., None]:
        return pytest.mark.parametrize("name", KERNELS)(pytest.mark.parametrize("kind", KINDS)(test))

    return parametrized  # type: ignore[return-value]


@each_kernel()
def test_the_truth_is_in_the_ball(name: str, kind: str) -> None:
    """Of exact arguments and of balls whose truth is at the rim, at every exponent, beside the edges of tables and where the
    kernel's ways part; and exact arguments use at most half of each bound."""
    found = contained(name, kind, on_numpy(), POINTS, 3)
    assert not found.violations
    assert found.points > POINTS / 2
    assert 0 < found.used <= 0.51


@pytest.mark.parametrize("name", sorted({*FADING, "cos", "expm1", "sinh", "square_root", "subtract"}))
def test_several_words_hold_the_truth(name: str) -> None:
    """The same of numbers of several words; how much of a bound is used says nothing there, since bounds are measured."""
    found = contained(name, MULTIPLE, on_numpy(), POINTS, 3)
    assert not found.violations
    assert found.points > POINTS / 2


@each_kernel()
def test_libraries_agree(name: str, kind: str) -> None:
    """Torch's tensors give the same balls as NumPy's arrays, or two that overlap: each is open where the other is."""
    given = drawn(name, kind, 2_000, 5)
    (h, low, r), (g, m, s) = (evaluate(name, kind, backend, given) for backend in (on_numpy(), on_torch()))
    closed = np.isfinite(h) & np.isfinite(r)
    assert closed.any()
    assert (closed == (np.isfinite(g) & np.isfinite(s))).all()
    h, low, r, g, m, s = (part[closed] for part in (h, low, r, g, m, s))
    assert (np.abs((h - g) + (low - m)) <= r + s).all()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_remembered_is_of_the_same_numbers(kind: str) -> None:
    """Equal numbers in another array have the same sine, the very same bits; numbers that were written into the array since
    have their own."""
    sine, x = on_numpy().kernels(f"{kind}_functions")["sin"], np.linspace(0.25, 3.0, 64)
    rest = [np.float64(0.0)] * (len(KINDS[: KINDS.index(kind) + 1]))
    before = sine((x, *rest))[0].copy()
    assert (sine((x.copy(), *rest))[0] == before).all()
    x[1:-1] += 1.0  # the ends, by which it is looked up, are the same
    found = sine((x, *rest))[0]
    assert found[0] == before[0] and found[-1] == before[-1]
    assert np.allclose(found, np.sin(x), rtol=2.0**-20) and not np.allclose(found[1:-1], before[1:-1], rtol=2.0**-20)


@COMPILED
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["over", "square_root", "exp", "log", "cos", "erf"])
def test_compiled_loops_agree(name: str, kind: str) -> None:
    """Kernels that use all primitives between them, in loops of LLVM's: the same bits as NumPy's, or open where a kernel has
    another way for what is rare. A product that underflows, or a factor near the end of the range, may differ."""
    given = drawn(name, kind, 2_000, 5)
    (h, low, r), (g, m, s) = (evaluate(name, kind, backend, given) for backend in (on_numpy(), on_llvm()))
    closed, ours = (np.isfinite(a) & np.isfinite(b) for a, b in ((h, r), (g, s)))
    ordinary = np.all([(np.abs(b.high) > 2.0**-400) & (np.abs(b.high) < 2.0**400) for b in given], axis=0)
    assert (ours <= closed)[ordinary].all() and ours.sum() > 0.6 * closed.sum()
    for part, other in ((h, g), (low, m), (r, s)):
        assert (part == other)[ordinary & ours].all()
    both = closed & ours
    assert (np.abs((h[both] - g[both]) + (low[both] - m[both])) <= r[both] + s[both]).all()


@each_kernel()
def test_what_is_no_number_is_open(name: str, kind: str) -> None:
    """An infinite argument gives nothing but a limit, an undefined one and a ball without a bound nothing; nor does what is
    outside of the domain."""
    kernel = KERNELS[name]
    bad = np.array([np.inf, -np.inf, np.nan, 1.0, 0.5])
    radius = np.array([0.0, 0.0, 0.0, np.inf, np.nan])
    given = [Balls(bad, np.zeros(5), radius, np.ones(5)) for _ in range(kernel.arguments)]
    high, _, result = evaluate(name, kind, on_numpy(), given)
    assert not (np.isfinite(high) & np.isfinite(result))[2:].any()
    for i in np.flatnonzero(np.isfinite(high) & np.isfinite(result)).tolist():
        with ctx.workprec(100):
            assert high[i] == float(kernel.reference(arb(math.copysign(1e4, bad[i])))), bad[i]
    if np.isfinite(kernel.low) and kernel.low in (-1.0, 0.0, 1.0) and name != "erfcx":
        edge = np.array([kernel.low, np.nextafter(kernel.low, -np.inf), kernel.low - 1.0, kernel.low + 0.25])
        given = [Balls(edge, np.zeros(4), np.array([0.0, 0.0, 0.5, 0.5]), np.ones(4))]
        high, _, result = evaluate(name, kind, on_numpy(), given)
        assert not (np.isfinite(high) & np.isfinite(result)).any()


def test_each_kernel_is_tested() -> None:
    """No row of the function table has a kernel that arb never saw; those that choose and compare have tests by formulas."""
    logical = {"less", "order", "level", "apart", "conjunction", "disjunction", "negation", "choose"}
    others = {"magnitude", "sign", "floor", "rounded", "negative", "reciprocal", "power"}
    assert set(ROWS.values()) == set(KERNELS) | logical | others


def test_a_thread_that_rounds_otherwise_is_found() -> None:
    """Rounding upwards, downwards or to 0, and subnormals that are taken for 0, are seen in each library."""
    backends = (on_numpy(), on_torch())
    assert all(backend.trustworthy() for backend in backends)
    library = ctypes.CDLL(None)
    for mode in (0x400, 0x800, 0xC00):  # FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO of x86
        try:
            if library.fesetround(mode):
                pytest.skip("no such way of rounding here")
            found = [backend.trustworthy() for backend in backends]
        finally:
            library.fesetround(0)
        assert found == [False, False], mode
    if torch.set_flush_denormal(True):
        try:
            found = [backend.trustworthy() for backend in backends]
        finally:
            torch.set_flush_denormal(False)
        assert found == [False, False]


@pytest.mark.parametrize("kind", KINDS)
def test_steps_are_taken_where_both_rims_agree(kind: str) -> None:
    """floor, round, sign and abs, and comparisons: closed, or decided, only where no number of the balls says otherwise."""
    generator = np.random.default_rng(4)
    count = 1_000
    half = np.rint(generator.normal(size=count) * 4) / 2
    given = [balls(half * generator.choice([1.0, 1.0 + 2.0**-50], count), kind, generator) for _ in range(2)]
    radii = [
        np.where(generator.random(count) < 0.5, ball.radius, generator.choice([0.0, 0.25, 0.5, 1.0], count)) for ball in given
    ]
    low = np.where(kind == "single", 0.0, np.ldexp(generator.choice([-1.0, 0.0, 1.0], count), -60))
    x, y = (ball._replace(low=low, radius=radius) for ball, radius in zip(given, radii, strict=True))
    kernels = on_numpy().kernels(kind)
    words = [(b.high, b.low, b.radius) if kind == "double" else (b.high, b.radius) for b in (x, y)]
    above, below = kernels["order"](*words)
    steps = {"floor": lambda t: math.floor(t), "rounded": round, "sign": lambda t: (t > 0) - (t < 0), "magnitude": abs}
    results = {name: kernels[name](words[0]) for name in steps}
    decided = 0
    for i in range(count):
        ends = [[Fraction(b.high[i]) + Fraction(b.low[i]) + s * Fraction(b.radius[i]) for s in (-1, 1)] for b in (x, y)]
        assert not above[i] or ends[0][0] > ends[1][1]
        assert not below[i] or ends[0][1] < ends[1][0]
        for name, step in steps.items():
            value, *_, radius = (np.broadcast_to(part, count)[i] for part in results[name])
            middle = Fraction(value) + (Fraction(np.broadcast_to(results[name][1], count)[i]) if kind == "double" else 0)
            if np.isfinite(radius):
                decided += 1
                assert all(abs(step(end) - middle) <= Fraction(radius) for end in ends[0]), (name, ends[0])
                kink = {"floor": ends[0][0] <= middle, "rounded": any(2 * end % 2 == 1 for end in ends[0])}
                assert not kink.get(name, ends[0][0] * ends[0][1] <= 0), (name, ends[0])
    assert decided > count
    assert above.sum() > 50 and below.sum() > 50


def test_floor_of_a_wide_ball_beside_a_half_is_open() -> None:
    """A ball around n + 1/2 + 2**-15 with a radius of 1/2 + 2**-16 reaches n + 1."""
    words = (np.array([2.0**39 + 0.5]), np.array([2.0**-15]), np.array([0.5 + 2.0**-16]))
    assert np.isinf(on_numpy().kernels("double")["floor"](words)[2]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_tanh_of_a_wide_ball_far_out(kind: str) -> None:
    """Where tanh is 1 to 2**-979 at the centre of a ball, it isn't so at its rim."""
    given = [Balls(np.array([-340.01, 340.01]), np.zeros(2), np.array([0.99, 0.99]), np.array([1.0, -1.0]))]
    assert not check("tanh", kind, on_numpy(), given).violations


@pytest.mark.parametrize("kind", KINDS)
def test_atan_next_to_the_largest_float(kind: str) -> None:
    """What overflows on the way is open: pi/2 is not the angle in the table."""
    x = np.array([4.4942328371557893e307, -1.7e308])
    assert not check("atan", kind, on_numpy(), [Balls(x, np.zeros(2), np.zeros(2), np.ones(2))]).violations


@pytest.mark.parametrize("kind", KINDS)
def test_exp_of_a_wide_ball(kind: str) -> None:
    """Up to WIDEST a ball has an exponential, whose rim is that of the ball; beyond it is open."""
    generator = np.random.default_rng(0)
    radius = np.concatenate([generator.uniform(1.0, WIDEST, 500), [1.0, np.nextafter(1.0, 0.0), np.nextafter(WIDEST, 0.0)]])
    x = generator.uniform(-720.0, 600.0, len(radius))
    for side in (1.0, -1.0):
        found = check("exp", kind, on_numpy(), [Balls(x, np.zeros_like(x), radius, np.full_like(x, side))])
        assert not found.violations and found.points > 450
    (*_, wide), (*_, wider) = (
        evaluate("exp", kind, on_numpy(), [Balls(np.array([3.0]), np.zeros(1), np.array([r]), np.zeros(1))])
        for r in (20.0, WIDEST)
    )
    assert np.isfinite(wide).all() and np.isinf(wider).all()


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_both_words_of_an_argument_may_be_large(name: str) -> None:
    """A number of two words, the low one of any size up to half a gap of the high one: it turns the circle by itself."""
    generator = np.random.default_rng(1)
    exponents = generator.integers(40, 1000, 4000)
    high = generator.choice([-1.0, 1.0], 4000) * np.ldexp(generator.uniform(0.5, 1.0, 4000), exponents)
    low = generator.uniform(-1.0, 1.0, 4000) * np.ldexp(1.0, exponents - 55)
    low[::5] = generator.choice([2.0**-9, 2.0**10, np.nextafter(2.0**10, 0.0), np.pi / 512], 800)
    low = np.where(np.abs(low) < np.abs(np.spacing(high)) / 2, low, 0.0)
    given = Balls(high, low, np.zeros(4000), np.zeros(4000))
    found = check(name, "double", on_numpy(), [given])
    assert not found.violations and found.points == 4000 and (np.abs(low) > 1.0).sum() > 3000
    *_, radius = evaluate(name, "double", on_numpy(), [given])
    assert radius.max() < 2.0**-70

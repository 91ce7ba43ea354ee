"""The shadow of many entries: every row of the table that it follows, against the shadow of balls."""

from __future__ import annotations

import threading
import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from flint import arb

from gradcheck_cli import check_function
from gradcheck_cli.algebra.number import working
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.formulas.follow import columns_of, known_loop, loop, many_shades, shades
from gradcheck_cli.formulas.torch_chain import TorchChain
from gradcheck_cli.language.chain import link
from gradcheck_cli.language.functions import ROWS, Function
from gradcheck_cli.verdict.judge import NARROW, SHARE, SURE
from gradcheck_cli.verdict.shade import Shades

COUNT = 60

FORMULAS = (
    "sin(x)*exp(-x**2/2) + tanh(x/3)*log(1 + x**2)", "(x**3 - 2*x + 1)/(x**2 + 1)", "sigmoid(x)*atan(x)", "x**-3 + 0.1*x**2.5",
    "where(x > 1, x**2, 2*x - 1)", "maximum(x, 0.3)*minimum(x, 3)", "softplus(x)*gelu(x)", "1 - tanh(x)**2", "(x - 0.7)*3.1/7",
)  # fmt: skip


def _unary(row: Function) -> bool:
    needed = [p for p in row.parameters if p.default is None]
    return len(needed) == 1 and needed[0].kind in ("tensor", "scalar") and not row.arrays and not row.truth


def _compared(text: str, dtype: str, mode: str = "reverse") -> int:
    """How many of the points columns know; each number holds what balls hold, with as much room for rounding, and no more than
    the judge takes back."""
    import torch

    form, chain = FORMATS[dtype], link([text])
    compiled = TorchChain(chain, getattr(torch, dtype), "cpu", {})
    points = {"x": form.round(np.random.default_rng(1).normal(scale=1.5, size=COUNT))}
    (batch,) = compiled.batches(points, range(COUNT), False)
    wrt: list[Any] = [("x",)]
    (found,) = many_shades(compiled, mode, columns_of(compiled, form), batch, wrt).values() or [None]
    with working(160):
        balls, _ = shades(compiled, mode, form, [batch], points, wrt)
        return _agreeing(text, found, balls[("x",)])


def _agreeing(text: str, found: Shades | None, balls: list[Any]) -> int:
    known = 0
    for index, ball in enumerate(balls):
        if found is None or ball is None or not np.isfinite(found.rounded[index]):
            continue
        known += 1
        assert found.exact.ball(index).overlaps(ball.exact), (text, index)
        assert ball.exact.is_finite() and ball.rounded.is_finite()
        middle = arb(float(found.exact.high[index])) + float(found.exact.low[index])
        ours, theirs = float(found.rounded[index]), float(ball.rounded.rad() + abs(ball.rounded.mid() - middle))
        share = SURE if ours <= NARROW * abs(found.exact.high[index]) else SHARE
        assert 0.8 * theirs <= ours + 1e-300 and ours <= theirs / share + 1e-300, (text, index, ours, theirs)
    return known


@pytest.mark.parametrize("row", [row for row in ROWS if _unary(row)], ids=lambda row: row.name)
def test_every_row_is_followed_as_balls_are(row: Function) -> None:
    """What columns know of a derivative holds what balls know of it; what they don't know is open."""
    _compared(f"{row.name}(x)", "float64")


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("text", FORMULAS)
def test_most_points_of_a_formula_are_known(text: str, dtype: str) -> None:
    """Where nothing is special, columns know the derivative and its rounding."""
    assert _compared(text, dtype) > COUNT / 3


def test_forward_mode_is_followed() -> None:
    """Tangents go through the same rows."""
    assert _compared("sin(x)*exp(x) + x**3", "float64", "forward") > COUNT / 2


@pytest.mark.skipif(find_spec("llvmlite") is None, reason="there is no compiler: pip install gradcheck-cli[fast]")
@pytest.mark.parametrize(
    ("text", "dtype", "mode"),
    [
        (" + ".join(FORMULAS[3:6]), "float64", "reverse"),
        (FORMULAS[2], "float32", "forward"),
        (FORMULAS[5], "float16", "reverse"),
    ],
)
def test_a_compiled_trace_sees_the_same(text: str, dtype: str, mode: str) -> None:
    """The operations of a few points, written down and compiled, give at other points what following them gives: the same
    bits, where they don't leave to it what is rare."""
    import torch

    form, wrt = FORMATS[dtype], [("x",)]
    compiled = TorchChain(link([text]), getattr(torch, dtype), "cpu", {})
    x = form.round(np.concatenate([np.random.default_rng(2).normal(scale=1.5, size=400), [0.0, np.inf, 1.0]]))
    (few,), (batch,) = (compiled.batches({"x": x}, range(count), False) for count in (5, len(x)))
    found, same = (
        loop(compiled, mode, form, few, wrt),
        many_shades(compiled, mode, columns_of(compiled, form), batch, wrt)[("x",)],
    )
    assert found is not None
    ours = found({"x": x})[("x",)]
    known = np.isfinite(ours.exact.radius) & np.isfinite(ours.rounded)
    assert 0.4 < known.mean() < 1 and np.isfinite(same.rounded[known]).all()
    for one, other in zip((*ours.exact, ours.rounded), (*same.exact, same.rounded), strict=True):
        assert (one[known] == other[known]).all()
    assert found is loop(compiled, mode, form, few, wrt) is known_loop(compiled, mode, form, wrt)


def test_what_has_no_trace_is_followed_operation_by_operation() -> None:
    """A sum over all points, a question by Python, a part of a tensor, an outer product: no formula of one point says that."""
    pytest.importorskip("llvmlite")
    import torch

    from gradcheck_cli.algebra.columns.fused import Fused
    from gradcheck_cli.algebra.layers import Exact, Rounded
    from gradcheck_cli.shadow.traced import Traced

    def lost(run: Any) -> bool:
        x = torch.linspace(1, 2, 4, dtype=torch.float64)
        shadow = Traced(Fused(Exact(), Rounded(FORMATS["float64"])), [(x, 0.5)])
        with shadow:
            run(x)
        return shadow.lost

    assert not lost(lambda x: (x * 2).exp_().view(2, 2).view(4) + torch.ones_like(x))
    for run in (
        lambda x: x.sum(), lambda x: bool((x > 1).all()), lambda x: x[1:] * 2, lambda x: x.flip(0), lambda x: x[:, None] * x,
        lambda x: x.clone()[0].mul_(2), lambda x: torch.rand(4) * x, lambda x: x * torch.arange(4.0),
    ):  # fmt: skip
        assert lost(run)


def test_what_python_is_told_is_lost() -> None:
    """A number that is handed to Python may decide anything: nothing holds then."""
    import torch

    from gradcheck_cli.algebra.columns.shadowed import Shadowed
    from gradcheck_cli.algebra.layers import Exact, Rounded
    from gradcheck_cli.shadow.columns import Columns

    shadow = Columns(Shadowed(Exact(), Rounded(FORMATS["float64"])))
    with shadow:
        x = torch.linspace(1, 2, 4, dtype=torch.float64)
        x * 2
        torch.arange(4).max().item()
        assert not shadow.lost
        bool(x.sum() > 1)
    assert shadow.lost


def test_memory_is_seen_through_views_and_written_in_place() -> None:
    """A part that is overwritten, and a transposed view."""
    import torch

    from gradcheck_cli.algebra.columns.shadowed import Shadowed
    from gradcheck_cli.algebra.layers import Exact, Rounded
    from gradcheck_cli.shadow.columns import Columns

    shadow = Columns(Shadowed(Exact(), Rounded(FORMATS["float64"])))
    with shadow:
        x = torch.linspace(1, 2, 6, dtype=torch.float64)
        y = (x / 3).reshape(2, 3)
        y[0].mul_(7)
        turned = y.t().contiguous()
    for tensor in (y, turned):
        high, low, radii = shadow.cell(tensor)
        assert np.allclose(high, tensor.reshape(-1).numpy(), rtol=1e-15) and (radii[0] < 1e-30).all() and (low != 0).any()
        assert (radii[1] >= radii[0]).all() and (radii[1] < 1e-15).all()


def test_memory_is_filled_in_parts() -> None:
    """What an operation has filled is known, and what none has is open; a write behind torch in between ends it."""
    import torch

    from gradcheck_cli.algebra.columns.shadowed import Shadowed
    from gradcheck_cli.algebra.layers import Exact, Rounded
    from gradcheck_cli.shadow.columns import Columns

    for behind in (False, True):
        shadow = Columns(Shadowed(Exact(), Rounded(FORMATS["float64"])), guarded=True)
        with shadow:
            x = torch.linspace(1, 2, 3, dtype=torch.float64)
            y = torch.empty(6, dtype=torch.float64)
            if behind:
                y.numpy()[5] = 1.0
            y[:3].copy_(x * 3)
            _, _, radii = shadow.cell(y)
        assert shadow.lost is behind
        assert behind or (np.isfinite(radii[0][:3]).all() and not np.isfinite(radii[0][3:]).any())


def test_what_is_written_in_place_is_written_there_only() -> None:
    """Copies, constants and what an operation has returned have memory of their own."""
    import torch

    from gradcheck_cli.algebra.columns.shadowed import Shadowed
    from gradcheck_cli.algebra.layers import Exact, Rounded
    from gradcheck_cli.shadow.columns import Columns

    shadow = Columns(Shadowed(Exact(), Rounded(FORMATS["float64"])))
    with shadow:
        x = torch.linspace(1, 2, 6, dtype=torch.float64)
        sums, one = x.reshape(2, 3).sum(1), torch.ones(1, dtype=torch.float64)
        kept = [x.clone(), sums.clone(), sums.reshape(2, 1).sum(1), torch.ones(1, dtype=torch.float64)]
        for tensor in (x, sums, one):
            tensor.mul_(3)
            tensor[0] = 0.0
        kept.append(torch.ones(1, dtype=torch.float64))
    for tensor in kept:
        assert np.allclose(shadow.cell(tensor)[0], tensor.numpy(), rtol=1e-14)


def test_masked_scores_are_followed() -> None:
    """Scores of minus infinity have no part in a softmax; what is infinite in the end is open."""
    import torch

    from gradcheck_cli.algebra.columns.shadowed import Shadowed
    from gradcheck_cli.algebra.layers import Exact, Rounded
    from gradcheck_cli.shadow.columns import Columns

    shadow = Columns(Shadowed(Exact(), Rounded(FORMATS["float64"])))
    with shadow, np.errstate(all="ignore"):
        x = torch.linspace(-1, 1, 9, dtype=torch.float64).reshape(3, 3).requires_grad_()
        later = torch.ones(3, 3, dtype=torch.bool).triu(1)
        scores = x.masked_fill(later, -torch.inf)
        added = x + torch.zeros(3, 3, dtype=torch.float64).masked_fill(later, -torch.inf)
        weights = scores.softmax(-1) * added.softmax(-1)
        (gradient,) = torch.autograd.grad((weights * weights).sum(), x)
    for tensor in (weights, gradient):
        high, _, radii = shadow.cell(tensor)
        assert np.allclose(high, tensor.detach().reshape(-1).numpy(), atol=1e-16) and (radii < 1e-13).all()
        assert (radii[:, later.reshape(-1).numpy()] == 0).all()
    assert np.isinf(shadow.cell(scores)[-1]).any(0).tolist() == later.reshape(-1).tolist()


def test_what_is_not_decided_is_not_certain() -> None:
    """A choice by a number that may have either sign encloses both; a mask of it selects nothing that is known; 0 times, and an
    infinity with, what isn't known is unknown, and so is what kind of number that is."""
    import torch

    from gradcheck_cli.algebra.columns.shadowed import Shadowed
    from gradcheck_cli.algebra.layers import Exact, Rounded
    from gradcheck_cli.shadow.columns import Columns

    shadow = Columns(Shadowed(Exact(), Rounded(FORMATS["float64"])))
    with shadow, np.errstate(all="ignore"):
        x = torch.tensor([3.0, 7.0], dtype=torch.float64)
        small = x / 3 * 3 - x  # 0, of either sign
        chosen = torch.where(small > 0, 5.0, 1.0)
        selected = x.clone().masked_scatter(small > 0, x * 2)
        unknown = torch.tensor([torch.nan, torch.nan], dtype=torch.float64)
        rest = [unknown * 0, (unknown - torch.inf).exp(), torch.where((small / small).isnan(), 5.0, 1.0)]
    high, *_, radii = shadow.cell(chosen)
    assert (np.abs(high - 5.0) <= radii).all() and (np.abs(high - 1.0) <= radii).all()
    for tensor in (selected, unknown, rest[0], rest[1]):
        assert not np.isfinite(shadow.cell(tensor)[-1]).any()
    high, *_, radii = shadow.cell(rest[2])
    assert (np.abs(high - 5.0) <= radii).all() and (np.abs(high - 1.0) <= radii).all()


def test_a_thread_of_a_device_warns_of_nothing() -> None:
    """A backward on an accelerator runs in a thread of its own, in which NumPy would warn of what leaves the range."""
    import torch

    from gradcheck_cli.algebra.columns.shadowed import Shadowed
    from gradcheck_cli.algebra.directions import Precise
    from gradcheck_cli.algebra.layers import Rounded
    from gradcheck_cli.shadow.columns import Columns

    columns, x = Columns(Shadowed(Precise(), Rounded(FORMATS["float64"]))), torch.full((3, 2), 1e200, dtype=torch.float64)
    raised: list[BaseException] = []

    def run() -> None:
        try:
            with warnings.catch_warnings(action="error"), columns:
                (x.exp() - x.exp()) @ (x * x).mT
        except RuntimeWarning as warning:
            raised.append(warning)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert not raised


@pytest.mark.parametrize("name", ["sgn", "sign", "floor", "round"])
def test_tangents_without_memory(name: str) -> None:
    """torch's zeros have none where a derivative along a direction is 0; to read it ends the process."""
    import torch

    x = torch.linspace(-2.9, 2.8, 400)
    assert check_function(getattr(torch, name), at={"x": x}, mode="forward").ok

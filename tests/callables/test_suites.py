"""What the tests of other projects showed: each kind in a few lines, with the derivative by hand."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function

from gradcheck_cli import GradcheckError, check_function, gradcheck
from gradcheck_cli.maps.probe import Probe
from gradcheck_cli.verdict.verdicts import Cause, Verdict

F64 = torch.float64


def point(*values: float) -> Tensor:
    return torch.tensor(values, dtype=F64, requires_grad=True)


# -- numbers of a shorter format on the way -----------------------------------------------------------------------------

COUNTS = torch.arange(1, 4)

SHORTER = {
    "whole numbers divided": lambda x: x * (1 - COUNTS / 7),
    "a sum of them": lambda x: x * (COUNTS / 7).sum(),
    "a function of them": lambda x: x * COUNTS.float().exp(),
    "a product with them": lambda x: (x.float() @ (COUNTS / 7)).double(),
    "the input itself": lambda x: x.float().exp().double(),
}
"""Functions of float64 that compute in float32 on the way: right to 7 digits, and not by a fault of a kernel."""


@pytest.mark.parametrize("name", SHORTER)
def test_what_is_computed_in_a_shorter_format_rounds_to_that(name: str) -> None:
    """No kernel is blamed for the digits that float32 doesn't have; what is right to them is imprecise in float64."""
    report = check_function(SHORTER[name], at={"x": point(0.3, -1.2, 2.5).detach()})
    assert report.verdict is Verdict.IMPRECISE
    assert gradcheck(SHORTER[name], (point(0.3, -1.2, 2.5),))


def test_an_error_beyond_the_shorter_format_is_refuted() -> None:
    """A constant that is wrong in its fifth digit is no rounding to float32."""

    class Off(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * (COUNTS / 7)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            return g * (COUNTS / 7) * (1 + 1e-5)

    with pytest.raises(GradcheckError, match="mismatch"):
        gradcheck(Off.apply, (point(0.3, -1.2, 2.5),))


# -- roots --------------------------------------------------------------------------------------------------------------


def projected(x: Tensor, steps: int) -> Tensor:
    """The nearest point of the simplex, by bisection."""
    low, width = x.max() - 1, 1.0
    for _ in range(steps):
        width /= 2
        middle = low + width
        p = (x - middle).clamp(min=0)
        low = torch.where(p.sum() >= 1, middle, low)
    return p / p.sum()


class Sparsemax(Function):
    """The loss whose gradient is p - e_0, p being the projection: (1 - |p|^2)/2 + <p - e_0, x>. `slip` is added to it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, steps: int, slip: float) -> Tensor:
        p = projected(x, steps)
        ctx.slip = slip
        loss = (1 - (p * p).sum()) / 2
        q = p.clone()
        q[0] -= 1
        ctx.save_for_backward(q)
        return loss + q @ x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (q,) = ctx.saved_tensors
        return g * q * (1 + ctx.slip), None, None


LOGITS = [(0.7971, 0.4605, 1.1174, -0.0339), (0.9139, 1.1547, -0.0861, 0.2209, 0.3690), (0.3237, 2.0177, 1.1357)]


def simplex(x: Tensor) -> list[Fraction]:
    """The nearest point of the simplex in rational numbers, by sorting (Held, Wolfe and Crowder 1974)."""
    values = [Fraction(v) for v in x.tolist()]
    ordered = sorted(values, reverse=True)
    bounds = [(sum(ordered[: k + 1]) - 1) / (k + 1) for k in range(len(ordered))]
    tau = next(t for k, t in enumerate(bounds) if k + 1 == len(ordered) or ordered[k + 1] <= t)
    return [max(v - tau, Fraction(0)) for v in values]


@pytest.mark.parametrize("logits", LOGITS)
def test_a_root_is_right_to_a_rounding(logits: tuple[float, ...]) -> None:
    """What a bisection leaves, which ends by rounding, is no wrong formula: the backward is the exact p - e_0 to 1e-15."""
    x = point(*logits)
    exact = simplex(x)
    exact[0] -= 1
    (found,) = torch.autograd.grad(Sparsemax.apply(x, 50, 0.0), x)
    assert all(abs(Fraction(a) - b) < Fraction(1, 10**15) for a, b in zip(found.tolist(), exact, strict=True))
    assert gradcheck(lambda x: Sparsemax.apply(x, 50, 0.0), (x,))


@pytest.mark.parametrize(("steps", "slip"), [(50, 1e-12), (10, 0.0)])
def test_what_is_more_than_a_rounding_of_a_root_is_refuted(steps: int, slip: float) -> None:
    """A slip of 1e-12 beside a bisection is a wrong formula; so is what ten steps of one leave, which isn't the derivative of
    these ten steps."""
    with pytest.raises(GradcheckError, match="mismatch"):
        gradcheck(lambda x: Sparsemax.apply(x, steps, slip), (point(*LOGITS[1]),))


# -- what is 0 all along ------------------------------------------------------------------------------------------------


def apart(x: Tensor) -> Tensor:
    """Distances of all pairs, an entry's of itself too."""
    return (x[:, None] - x[None]).abs() @ torch.arange(1.0, 5.0, dtype=x.dtype)


ALWAYS = {
    "abs": apart,
    "relu": lambda x: torch.relu(x[:, None] - x[None]) @ torch.arange(1.0, 5.0, dtype=x.dtype),
    "maximum": lambda x: torch.maximum(x[:, None], x[None]) @ torch.arange(1.0, 5.0, dtype=x.dtype),
    "clamp": lambda x: (x[:, None] - x[None]).clamp(min=0) @ torch.arange(1.0, 5.0, dtype=x.dtype),
    "cdist": lambda x: torch.cdist(x[:, None], x[:, None], p=1) @ torch.arange(1.0, 5.0, dtype=x.dtype),
}


@pytest.mark.parametrize("name", ALWAYS)
def test_what_is_zero_all_along_has_no_kink(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """|x - x| is 0 whatever moves: the derivative exists, and no limits are taken for it, which cost much more."""
    monkeypatch.setattr(Probe, "singular", None)
    report = check_function(ALWAYS[name], at={"x": point(0.3, -1.2, 2.5, 0.8).detach()})
    assert set(report.counts) == {"match"}


def test_distances_of_all_pairs() -> None:
    """By hand: for x sorted as (1, 3, 0, 2) the derivative of sum_ij w_j |x_i - x_j| by x_k is the sum of (w_j + w_k) times
    the sign of x_k - x_j."""
    x, w = [0.3, -1.2, 2.5, 0.8], [1, 2, 3, 4]
    exact = [sum((w[j] + w[k]) * ((x[k] > x[j]) - (x[k] < x[j])) for j in range(4)) for k in range(4)]
    report = check_function(lambda x: apart(x).sum(), at={"x": point(*x).detach()})
    slopes = [c.exact for c in report.checks if c.quantity.startswith("dy/dx")]
    assert [float(e) for e in slopes] == exact


def test_an_order_of_the_entries_is_no_kink_where_they_differ() -> None:
    """Neighbours' differences of a sorted tensor, one of which is of an entry with itself."""

    def spread(x: Tensor) -> Tensor:
        y = x.sort().values
        return torch.stack([(a - b).abs() for a, b in pairwise([y[0], *y])]).sum()

    report = check_function(spread, at={"x": point(0.3, -1.2, 2.5, 0.8).detach()})
    assert set(report.counts) == {"match"}
    assert Cause.KINK.value not in str(report)

"""What a custom backward does beyond the sample's points is looked at there, and nothing is said where it is right."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mpmath import mp

from gradcheck_cli import check_function
from tests.custom_functions.elementwise import custom

softplus = torch.nn.functional.softplus
CUBE = custom(lambda x: x**3, lambda g, x, y: 3 * g * x**2)


def named(function: Any) -> Any:
    """A target with a parameter of a name."""

    def f(x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(function(x))

    return f


RARE = [
    ("another formula beyond a limit", custom(torch.atan, lambda g, x, y: g / torch.where(x > 10, x * x, 1 + x * x))),
    ("0 where it is large", custom(torch.atan, lambda g, x, y: g / (1 + x * x) * (x < 30))),
    ("0 in a window", custom(torch.atan, lambda g, x, y: g / (1 + x * x) * ((x.abs() - 40).abs() > 10))),
]


@pytest.mark.parametrize(("name", "function"), RARE)
def test_what_is_wrong_beyond_the_sample(name: str, function: Any) -> None:
    """The points of the sample are right; another one, far off, is wrong, and stands in the report."""
    found = check_function(named(function))
    assert found.verdict == "mismatch" and {c.cause for c in found.checks if c.verdict == "mismatch"} == {"formula"}
    assert any("isn't of the sample" in note for note in found.notes)
    worst = next(c for c in found.checks if c.verdict == "mismatch")
    x = float(worst.point[worst.wrt[-1].partition("[")[0]][int(worst.wrt[-1].partition("[")[2][:-1])])
    v = float(worst.point["v"][int(worst.wrt[-1].partition("[")[2][:-1])])
    with mp.workdps(60):
        step = mp.mpf(10) ** -20
        exact = v * (mp.atan(x + step) - mp.atan(x - step)) / (2 * step)
        assert abs(mp.mpf(worst.exact) - exact) < 1e-12 * abs(exact) and abs(worst.autograd - exact) > 1e-9 * abs(exact)


RIGHT = [
    CUBE,
    custom(torch.relu, lambda g, x, y: g * (x > 0)),
    custom(torch.sigmoid, lambda g, x, y: g * y * (1 - y)),
    custom(torch.exp, lambda g, x, y: g * y),
    custom(lambda x: x.abs().sqrt(), lambda g, x, y: g * torch.sign(x) / (2 * y)),
    custom(torch.log, lambda g, x, y: g / x),
    custom(lambda x: torch.where(x > 20, x, torch.log1p(torch.exp(x))), lambda g, x, y: g * torch.sigmoid(x)),
    custom(torch.sin, lambda g, x, y: g * x.cos()),
]


@pytest.mark.parametrize("function", RIGHT)
def test_right_everywhere(function: Any) -> None:
    """Kinks, cancellation, overflow and ends of domains look wrong to quotients, and are judged: nothing is added."""
    found = check_function(named(function))
    assert found.exit_code == 0 and len(found.checks) == 9 and not any("sample" in note for note in found.notes)


class Inverse(torch.autograd.Function):
    """Of a matrix, which special points make singular."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        y = torch.linalg.inv(x + 1e-17)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> torch.Tensor:
        (y,) = ctx.saved_tensors
        return -y.T @ upstream[0] @ y.T


def test_singular_points_say_nothing() -> None:
    """What has no value there has no wrong gradient."""
    found = check_function(Inverse, shape={"x": (2, 2)})
    assert found.exit_code == 0 and not any("sample" in note for note in found.notes)


def test_only_where_points_are_drawn() -> None:
    """Of a point that was given nothing else is said."""
    slip = custom(softplus, lambda g, x, y: torch.where(x > 10, g, g * torch.sigmoid(x)))
    assert check_function(named(slip), at={"x": torch.tensor([1.0, 2.0], dtype=torch.float64)}).verdict == "match"
    assert check_function(named(slip), domain={"x": (-5, 5)}).verdict == "match"

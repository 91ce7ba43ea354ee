"""Entries that meet, on columns: every fold of the table against single balls and against torch's own floats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flint import arb

from gradcheck_cli.algebra.columns.enclosing import EXACT, ROUNDED
from gradcheck_cli.algebra.number import working
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.shadow import column_folds

WIDER = 1.05
"""How much wider than in balls rounding may be: the centres of products of wide balls aren't the same."""


def _index(*places: int) -> Any:
    import torch

    return torch.tensor(places)


def _conv(x: Any, w: Any, rank: int, transposed: bool = False, **settings: Any) -> Any:
    import torch.nn.functional as F

    bias = None if transposed else w.flatten(1).sum(1)
    return getattr(F, f"conv{'_transpose' if transposed else ''}{rank}d")(x, w, bias, **settings)


def _placed(kind: str, own: bool) -> Callable[..., Any]:
    return lambda x, y: x.scatter_reduce(0, _index(0, 2, 2, 0, 2), y, kind, include_self=own)


Case = tuple[str, Callable[..., Any], tuple[tuple[int, ...], ...]]

CASES: tuple[Case, ...] = (
    ("total", lambda x: x.sum(), ((3, 4),)),
    ("total", lambda x: x.sum((0, 2), keepdim=True), ((3, 4, 2),)),
    ("total", lambda x: x.t().sum(0), ((3, 4),)),
    ("total", lambda x: (x.relu() * 3).sum(1), ((4, 9),)),
    ("mean", lambda x: x.mean(1), ((3, 4, 2),)),
    ("reduce", lambda x: x.prod(1), ((3, 5),)),
    ("scan", lambda x: x.cumsum(1), ((3, 5),)),
    ("scan", lambda x: x.cumprod(0), ((3, 2),)),
    ("scan", lambda x: x[0].cumsum(0), ((1, 4),)),
    ("kind", lambda x: x.where(x.isfinite(), 0.0) + x.where(~x.isnan(), 1.0), ((3, 4),)),
    ("some", lambda x: x.where((x > 0).any(1, keepdim=True), 0.0) * x.where((x < 9).all(), 0.0), ((6, 2),)),
    ("extreme", lambda x: x.amax(1) * x.amin((0, 1)), ((3, 5),)),
    ("extreme", lambda x, y: x.max(1).values * y.gather(1, x.max(1).indices[:, None])[:, 0], ((3, 5), (3, 5))),
    ("place", lambda x, y: y[x.argmax(0)] + y.take(x.argmin()), ((5, 3), (15,))),
    ("sort", lambda x: x.sort(1).values.cumsum(1) * x.sort(1, descending=True).values, ((2, 5),)),
    ("sort", lambda x: x.relu().sort(0).values ** 2, ((5, 2, 2),)),
    ("topk", lambda x: x.topk(2, 0).values * x.topk(2, 0, largest=False).values, ((5, 3),)),
    ("kthvalue", lambda x: x.kthvalue(2, 1).values, ((3, 4),)),
    ("median", lambda x: x.median(0, keepdim=True).values * x.relu().median(-1).values, ((3, 3),)),
    ("nanmedian", lambda x: x.nanmedian(1).values, ((2, 4),)),
    ("product", lambda x, y: x @ y, ((3, 4), (4, 2))),
    ("product", lambda x, y: x @ y, ((3, 4), (4,))),
    ("product", lambda x, y: x.dot(y), ((9,), (9,))),
    ("product", lambda x, y: x.bmm(y.mT), ((2, 3, 4), (2, 5, 4))),
    ("product", lambda x, y: (x.relu() @ y.relu()) @ y.t(), ((3, 4), (4, 5))),
    ("convolution", lambda x, w: _conv(x, w, 1, stride=2, padding=1, dilation=2, groups=2), ((2, 4, 9), (2, 2, 3))),
    ("convolution", lambda x, w: _conv(x, w, 2, padding=1), ((2, 3, 4, 5), (4, 3, 3, 3))),
    ("convolution", lambda x, w: _conv(x.relu(), w, 2, stride=(2, 1), padding=(0, 2)), ((1, 2, 5, 4), (1, 2, 2, 3))),
    ("convolution", lambda x, w: _conv(x, w, 3), ((1, 2, 3, 4, 2), (1, 2, 2, 2, 1))),
    (
        "convolution",
        lambda x, w: _conv(x, w, 2, True, stride=2, padding=1, output_padding=1, dilation=2, groups=2),
        ((2, 4, 3, 2), (4, 3, 3, 2)),
    ),
    ("convolution", lambda x, w: _conv(x, w, 1, True, stride=3), ((2, 3, 4), (3, 2, 2))),
    ("scatter", lambda x, y: x.index_add(0, _index(1, 0, 1, 1), y, alpha=3), ((3, 2), (4, 2))),
    ("scatter", lambda x, y: x.scatter_add(1, _index(0, 0, 2).expand(2, 3), y), ((2, 4), (2, 3))),
    ("scatter", lambda x, y: x.index_put((_index(1, 1, 2),), y, accumulate=True), ((4, 2), (3, 1))),
    ("scatter", lambda x: x[_index(0, 2, 2, 0, 2)] ** 2, ((3, 2),)),
    *(
        ("scatter_reduce", _placed(kind, own), ((4,), (5,)))
        for kind in ("sum", "mean", "prod", "amax", "amin")
        for own in (True, False)
    ),
)  # fmt: skip


def test_every_fold_has_a_case() -> None:
    """The table, but for the gradients of convolutions, which every convolution takes."""
    assert {name for name, *_ in CASES} == set(column_folds.COLUMN_FOLDS) - {"convolution_backward"}


def results(case: Case, mode: Any, inputs: list[Any]) -> list[Any]:
    """What the function returns, and its gradients by all inputs."""
    import torch

    with mode, np.errstate(all="ignore"):
        found = case[1](*inputs)
        cotangent = torch.linspace(1, 2, found.numel(), dtype=found.dtype).reshape(found.shape)
        return [found, *torch.autograd.grad(found, inputs, cotangent, allow_unused=True, materialize_grads=True)]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_entries_meet_as_in_balls(case: Case, dtype: str) -> None:
    """Nothing is open, the exact ball holds the truth, rounding has as much room as in balls, and torch's floats are in it."""
    import torch

    from gradcheck_cli.algebra.columns.shadowed import Shadowed
    from gradcheck_cli.algebra.directions import Precise
    from gradcheck_cli.algebra.layers import Rounded
    from gradcheck_cli.shadow.columns import Columns
    from gradcheck_cli.shadow.mode import Shadow

    form = FORMATS[dtype]
    torch.manual_seed(len(case[0]))
    inputs = [torch.randn(shape, dtype=torch.float64).to(getattr(torch, dtype)).requires_grad_() for shape in case[2]]
    columns = Columns(Shadowed(Precise(), Rounded(form)))
    balls = Shadow([Precise(), Rounded(form)], 0, guarded=False)
    ours = results(case, columns, inputs)
    with working(256):
        theirs = results(case, balls, inputs)
        assert not columns.lost and not balls.opaque
        for one, other in zip(ours, theirs, strict=True):
            *words, radii = columns.cell(one)
            count, floats = one.numel(), one.detach().double().reshape(-1).tolist()
            words, radii = [np.broadcast_to(word, count) for word in words], np.broadcast_to(radii, (2, count))
            assert np.isfinite(radii).all()
            for i, (exact, rounded) in enumerate(zip(balls.cells(other, 0), balls.cells(other, 1), strict=True)):
                middle = sum((arb(float(word[i])) for word in words), arb(0))
                near, far = float(radii[EXACT, i]), float(radii[ROUNDED, i])
                assert abs(exact.mid() - middle) <= near and near <= 2.0**-40 * (1 + abs(float(exact)))
                assert abs(middle - floats[i]) <= far
                assert far <= WIDER * float(rounded.rad()) + 2 * near


def test_what_meets_something_open_is_open() -> None:
    """And nothing else: rows, places and windows keep to themselves."""
    import torch
    import torch.nn.functional as F

    from gradcheck_cli.algebra.columns.shadowed import Shadowed
    from gradcheck_cli.algebra.directions import Precise
    from gradcheck_cli.algebra.layers import Rounded
    from gradcheck_cli.shadow.columns import Columns

    columns = Columns(Shadowed(Precise(), Rounded(FORMATS["float64"])))
    with columns, np.errstate(all="ignore"):
        x = torch.arange(12, dtype=torch.float64).reshape(3, 4)
        x = torch.where(x == 5, x.log() * 0 / 0, x)  # nan, which nothing is known of
        shown = [x.sum(1), x @ torch.zeros(4, 1, dtype=torch.float64), x.cumsum(1)[:, 0], x.amax(1), x.cumsum(1)[:, 3]]
        conv = F.conv1d(x.reshape(1, 1, 12), torch.ones(1, 1, 2, dtype=torch.float64))
    opens = [(~np.isfinite(np.broadcast_to(columns.cell(t)[-1], (2, t.numel())))).any(0).tolist() for t in shown]
    assert opens == [[False, True, False]] * 2 + [[False] * 3] + [[False, True, False]] * 2
    assert np.flatnonzero(~np.isfinite(columns.cell(conv)[-1]).any(0)).tolist() == [4, 5]


def test_a_place_that_is_not_certain_is_open() -> None:
    """Equal numbers that aren't the same for certain: what an index chooses isn't known."""
    import torch

    from gradcheck_cli.algebra.columns.shadowed import Shadowed
    from gradcheck_cli.algebra.directions import Precise
    from gradcheck_cli.algebra.layers import Rounded
    from gradcheck_cli.shadow.columns import Columns

    columns = Columns(Shadowed(Precise(), Rounded(FORMATS["float64"])))
    with columns, np.errstate(all="ignore"):
        x = torch.tensor([3.0, 7.0, 2.0], dtype=torch.float64)
        near = torch.stack([(x / 3)[1], (x * (1 / 3.0))[1]])  # 7/3 twice, by two ways
        sure, unsure = x.take(x.argmax()), x.take(near.argmax())
        ordered = torch.stack([near, near + torch.tensor([5.0, -1.0], dtype=torch.float64)]).sort(1)
        moved = ordered.values.gather(1, ordered.indices)
    assert np.isfinite(columns.cell(sure)[-1]).all() and np.isinf(columns.cell(unsure)[-1]).all()
    assert np.isinf(columns.cell(ordered.values)[-1]).any(0).tolist() == [True, True, False, False]
    assert np.isinf(columns.cell(moved)[-1]).all()

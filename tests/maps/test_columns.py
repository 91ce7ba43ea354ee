"""Large maps are judged on columns: the same verdicts as by balls, without a ball for each entry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from gradcheck_cli.algebra.columns.column import Column
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.maps.check import Found, check_map
from gradcheck_cli.maps.columns import Filter, certain, lacking, smooth
from gradcheck_cli.maps.map import Map, Tensors, random_row
from gradcheck_cli.maps.probe import Options
from gradcheck_cli.maps.reverse import Reverse
from gradcheck_cli.verdict.shade import Shades
from gradcheck_cli.verdict.verdicts import Verdict
from tests.custom_functions.elementwise import custom

F64, F32 = torch.float64, torch.float32


def of_module(module: nn.Module, *shape: int, dtype: torch.dtype = F64) -> Map:
    """A module's outputs by its input and its parameters."""
    torch.manual_seed(0)
    module = module.to(dtype)
    inputs = {"input": torch.randn(*shape, dtype=dtype), **{n: p.detach() for n, p in module.named_parameters()}}

    def call(leaves: Tensors) -> Tensors:
        found = functional_call(module, {n: x for n, x in leaves.items() if n != "input"}, (leaves["input"],))
        return {"y": found[0] if isinstance(found, tuple) else found}

    return Map(inputs, call)


def checked(map: Map, mode: str = "reverse") -> Found:
    return check_map(map, [random_row(map(map.leaves()), 0)], Options(), mode=mode)


class Attention(nn.MultiheadAttention):
    """Of a sequence to itself."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        found: Tensor = super().forward(x, x, x, need_weights=False)[0]
        return found


class Complex(nn.Module):
    """Complex numbers on the way: products, a conjugate, functions, a matrix, what moves them, memory written in place."""

    def __init__(self) -> None:
        super().__init__()
        self.real, self.imag = nn.Parameter(torch.randn(16, 16) / 4), nn.Parameter(torch.randn(16, 16) / 4)

    def forward(self, x: Tensor) -> Tensor:
        z = torch.complex(x, x.flip(0)) @ torch.complex(self.real, self.imag)
        z = torch.tanh(z) * z.conj() + (0.5 - 2j)
        z[..., 0] *= 1j
        z = torch.cat([z.mT, 2 * z.exp().mT], 1).sum(1)
        return z.abs() + z.angle() + (z * z).imag


MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "perceptron": (lambda: nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 5), nn.LogSoftmax(-1)), (2, 20)),
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6, track_running_stats=False), nn.GELU(), nn.MaxPool2d(2)
        ),
        (2, 2, 6, 6),
    ),
    "attention": (lambda: Attention(8, 2, batch_first=True), (1, 5, 8)),
    "normalised": (lambda: nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 16), nn.Softplus(), nn.AvgPool1d(2)), (2, 16)),
    "complex": (Complex, (2, 16)),
    "transposed": (lambda: nn.Sequential(nn.ConvTranspose1d(3, 4, 4, stride=2), nn.Tanh(), nn.Flatten()), (2, 3, 40)),
}


WIDE = ("perceptron", "complex", "transposed")
"""Those whose tangents are followed too."""


@pytest.mark.parametrize(
    ("name", "dtype", "mode", "run"),
    [
        *((name, (F64, F32)[i % 2], "reverse", "agrees") for i, name in enumerate(MODULES)),
        *((name, (F32, F64)[i % 2], "forward", "pushed") for i, name in enumerate(WIDE)),
    ],
    ids=str,
)
def test_columns_say_what_balls_say(
    name: str, dtype: torch.dtype, mode: str, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every entry, and they are asked of none."""
    make, shape = MODULES[name]
    torch.manual_seed(0)
    map = of_module(make(), *shape, dtype=dtype)
    seen: list[bool] = []
    asked = getattr(Filter, run)

    def counted(self: Filter, *arguments: object) -> object:
        found = asked(self, *arguments)
        seen.append(bool(found))
        return found

    monkeypatch.setattr(Filter, run, counted)
    found = checked(map, mode)
    assert seen == [True]
    monkeypatch.setenv("GRADCHECK_COLUMNS", "off")
    for ours, theirs in zip(found.columns, checked(map, mode).columns, strict=True):
        assert ours.verdicts.tolist() == theirs.verdicts.tolist()
        assert all(a is not None and b is not None and a.overlaps(b) for a, b in zip(ours.exact, theirs.exact, strict=True))


@pytest.mark.parametrize("name", MODULES)
def test_numbers_of_more_words_say_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of two: every entry is certain, a sample agrees with balls, and both enclose one number."""
    make, shape = MODULES[name]
    torch.manual_seed(0)
    map = of_module(make(), *shape)
    plain = checked(map)
    monkeypatch.setattr(Filter, "first", 4)
    monkeypatch.setattr(Reverse, "_certified", None)
    for ours, theirs in zip(checked(map).columns, plain.columns, strict=True):
        assert ours.verdicts.tolist() == theirs.verdicts.tolist()
        assert all(a is not None and b is not None and a.overlaps(b) for a, b in zip(ours.exact, theirs.exact, strict=True))


class Scaled(torch.autograd.Function):
    """The identity, whose backward is off by a factor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g * (1 + 1e-6)


class Slip(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = Scaled.apply(x)  # type: ignore[no-untyped-call]
        return found


def deep(depth: int, act: type[nn.Module], *within: nn.Module) -> Map:
    """Layers of 12, with something in the middle."""
    torch.manual_seed(0)
    layers = [layer for _ in range(depth) for layer in (nn.Linear(12, 12), act())]
    return of_module(nn.Sequential(*layers[:depth], *within, *layers[depth:]), 1, 12)


@pytest.mark.parametrize(("act", "depth"), [(nn.Tanh, 28), (nn.ReLU, 45)])
def test_deep_networks_take_more_words(act: type[nn.Module], depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Radii of two words swallow the numbers; with as many words as that takes nothing is left to balls."""
    words: list[int] = []
    certain = Filter.certain

    def counted(self: Filter, rows: Any) -> Any:
        words.append(self.words)
        return certain(self, rows)

    monkeypatch.setattr(Filter, "certain", counted)
    monkeypatch.setattr(Reverse, "_certified", None)
    found = checked(deep(depth, act))
    assert words[0] == 2 < words[-1] and words == sorted(words)
    assert all(column.having(Verdict.MATCH).all() for column in found.columns)


@pytest.mark.parametrize("act", [nn.Tanh, nn.ReLU])
@pytest.mark.slow(reason="the second witness follows 56 operations in balls")
def test_a_slip_in_a_deep_network_is_found(act: type[nn.Module]) -> None:
    """Off by 1e-6 after 28 of 56 operations: no gradient before it is a match where it isn't 0, and some are refuted."""
    found = checked(deep(28, act, Slip()))
    before = next(column for column in found.columns if column.wrt == ("0.weight",))
    wrong = np.asarray(before.autograd) != 0.0
    assert wrong.any() and not before.having(Verdict.MATCH)[wrong].any() and not before.having(Verdict.IMPRECISE)[wrong].any()
    assert any(column.having(Verdict.MISMATCH).any() for column in found.columns)


@pytest.mark.parametrize(("dtype", "factor"), [(F64, 1 + 1e-14), (F64, 2.0), (F32, 1 + 1e-5)])
def test_one_wrong_entry_among_many_is_found(dtype: torch.dtype, factor: float) -> None:
    """A factor of 1 + 1e-14, of 1 + 1e-5 in float32, in one entry of a thousand."""
    mask = torch.ones(1000, dtype=dtype)
    mask[617] = factor
    wrong = custom(torch.sin, lambda g, x, y: g * x.cos() * mask)
    found = checked(Map({"x": torch.linspace(-1, 1, 1000, dtype=dtype)}, lambda leaves: {"y": wrong(leaves["x"])}))
    (column,) = found.columns
    assert column.counts() == {Verdict.MATCH: 999, Verdict.MISMATCH: 1}


class Pushed(torch.autograd.Function):
    """The sine, whose forward mode is off by factors."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factors: Tensor) -> Tensor:
        ctx.x, ctx.factors = x, factors
        return x.sin()

    @staticmethod
    def jvp(ctx: Any, step: Tensor, _: Any) -> Tensor:
        return step * ctx.x.cos() * ctx.factors


@pytest.mark.parametrize(("dtype", "factor"), [(F64, 1 + 1e-14), (F64, 2.0), (F32, 1 + 1e-5)])
def test_one_wrong_entry_of_a_tangent_is_found(dtype: torch.dtype, factor: float) -> None:
    """The same in forward mode."""
    mask = torch.ones(1000, dtype=dtype)
    mask[617] = factor
    map = Map({"x": torch.linspace(-1, 1, 1000, dtype=dtype)}, lambda leaves: {"y": Pushed.apply(leaves["x"], mask)})
    (column,) = checked(map, "forward").columns
    assert column.counts() == {Verdict.MATCH: 999, Verdict.MISMATCH: 1} and column.verdict(617) is Verdict.MISMATCH


def written(x: Tensor) -> Tensor:
    """What NumPy wrote into memory that an operation had filled."""
    out = torch.zeros_like(x)
    np.sin(x.detach().numpy(), out=out.numpy())
    return out


@pytest.mark.parametrize("forward", [written, lambda x: torch.from_numpy(np.sin(x.detach().numpy()))])
def test_what_is_done_behind_torch_is_certified_by_nobody(forward: Callable[[Tensor], Tensor]) -> None:
    """A backward that returns 0 agrees with a forward pass that nothing was seen of."""
    zero = custom(forward, lambda g, x, y: torch.zeros_like(g))
    found = checked(Map({"x": torch.linspace(-1, 1, 300, dtype=F64)}, lambda leaves: {"y": zero(leaves["x"])}))
    assert not any(column.having(Verdict.MATCH).any() for column in found.columns)


def test_more_words_are_tried_while_they_help(monkeypatch: pytest.MonkeyPatch) -> None:
    """gammaincc has no kernel in any words, erfinv one of balls, which don't move: after a longer run that leaves as much open,
    balls decide, long before words are as slow. (It is the second or the third run, as polynomials on stretches are there.)"""
    tried: list[Filter] = []
    original = Filter.certain

    def certain(self: Filter, *given: Any) -> Any:
        tried.append(self)
        return original(self, *given)

    monkeypatch.setattr(Filter, "certain", certain)
    for function in (lambda x: torch.special.gammaincc(torch.ones_like(x), x), torch.erfinv):
        tried.clear()
        map = Map(
            {"x": torch.linspace(0.1, 0.9, 300, dtype=F64)}, lambda leaves, function=function: {"y": function(leaves["x"])}
        )
        assert {v for column in checked(map).columns for v in column.counts()} == {Verdict.MATCH}
        *_, before, last = tried
        assert len(tried) in (2, 3), function
        assert any(last._short) and last._short >= before._short and last.longer() is None


def test_whether_a_direction_is_smooth() -> None:
    """Known where all outputs have a slope, and where equal numbers that move are compared; else not known."""
    x = torch.cat([torch.zeros(100), torch.linspace(1, 2, 200)]).to(F64)
    relu = Map({"x": x}, lambda leaves: {"y": leaves["x"].relu()})
    still, moving = np.r_[np.zeros(100), np.ones(200)], np.ones(300)
    assert smooth(relu, still) is True and smooth(relu, moving) is False
    assert smooth(Map({"x": x + 1}, lambda leaves: {"y": torch.special.ndtri(leaves["x"] / 4)}), moving) is None


def test_what_is_unknown_is_not_certain() -> None:
    """A number within its own radius is none because rounding has no bound; nor is one of which that isn't known."""
    form = FORMATS["float64"]
    for radius, rounded, known in (
        (1.0, np.inf, False),
        (2.0**-60, np.inf, True),
        (2.0**-56, np.inf, False),
        (2.0**-60, np.nan, False),
    ):
        shades = Shades(Column(*(np.array([v]) for v in (1e-3, 0.0, 1e-3 * radius))), np.array([rounded]))
        assert certain(shades, form).tolist() == [known]
        assert (lacking(shades, form) == 0.0) is known


def test_numbers_that_are_kept_have_slack_where_it_is_asked_for() -> None:
    """A table, as in balls: what is differentiated by has none."""
    table = torch.linspace(0.1, 0.7, 300, dtype=F64)
    map = Map({"x": torch.linspace(1, 2, 300, dtype=F64)}, lambda leaves: {"y": (leaves["x"] * table).sum()})
    row = random_row(map(map.leaves()), 0)
    for words in (2, 4):
        filter = Filter(map, map(map.leaves()), FORMATS["float64"], "reverse", lambda: None, words)
        plain, wide = ((filter.each(np.ones(300), [row], slack) or [None])[0] for slack in (False, True))
        assert plain is not None and wide is not None
        assert (np.abs(wide.high - plain.high) <= wide.radius).all()
        assert plain.radius.max() < 2.0**-80 and wide.radius.min() > 2.0**-53

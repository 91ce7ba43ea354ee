"""The search for what is wrong in a gradient: the certain half first, and what can't be cut down to an entry; and rounding of
the numbers that a function keeps."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gradcheck_cli.maps.check import Found, check_map
from gradcheck_cli.maps.map import Map, random_row
from gradcheck_cli.maps.probe import Options
from gradcheck_cli.maps.reverse import Reverse
from gradcheck_cli.maps.runs import Runs
from gradcheck_cli.shadow.origins import Origins
from gradcheck_cli.verdict.column import Check
from gradcheck_cli.verdict.verdicts import Cause, Verdict
from tests.custom_functions.elementwise import custom

F64 = torch.float64

X = torch.tensor([0.3, -1.2, 2.1], dtype=F64)


class Attention(torch.autograd.Function):
    """The backward forgets 1/sqrt(d)."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        p = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1)
        ctx.save_for_backward(q, k, v, p)
        return p @ v

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:  # type: ignore[override]
        q, k, v, p = ctx.saved_tensors
        dp = g @ v.mT
        ds = p * (dp - (dp * p).sum(-1, keepdim=True))
        return ds @ k, ds.mT @ q, p.mT @ g


def checked(function: Any, options: Options | None = None, **inputs: Tensor) -> Found:
    map = Map(inputs, lambda leaves: {"y": function(*leaves.values())})
    return check_map(map, [random_row(map(map.leaves()), 0)], options or Options())


def entries(found: Found) -> list[Check]:
    return [column.check(i) for column in found.columns for i in range(len(column))]


def attention(options: Options) -> dict[str, list[Check]]:
    draw = torch.Generator().manual_seed(0)
    inputs = {n: torch.randn(2, 2, 16, 8, dtype=F64, generator=draw) for n in "qkv"}
    found = checked(lambda q, k, v: Attention.apply(q, k, v), options, **inputs)
    return {n: [c for c in entries(found) if f"/d{n}[" in c.quantity] for n in "qkv"}


def test_a_certain_half_is_followed() -> None:
    """Where the backward's constants blur the right half, the wrong one leads to an entry that is certainly different; the
    input that is right matches; the other wrong one is refuted as a whole."""
    found = attention(Options(effort=1e9))
    wrong = {n: [c for c in checks if c.verdict is Verdict.MISMATCH] for n, checks in found.items()}
    assert wrong["q"] and wrong["k"] and not wrong["v"]
    assert {c.verdict for c in found["v"]} == {Verdict.MATCH}
    assert {c.cause for n in "qk" for c in wrong[n]} == {Cause.FORMULA}
    assert any(c.exact is not None for n in "qk" for c in wrong[n])


def test_what_cannot_be_cut_down_is_wrong_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without work, nor columns, to look for an entry, a part that is one input's is wrong by its first entry, which says how
    many it stands for; the input that is right isn't accused."""
    monkeypatch.setenv("GRADCHECK_COLUMNS", "off")
    found = attention(Options(effort=0.0))
    first = found["q"][0]
    assert (first.verdict, first.cause) == (Verdict.MISMATCH, Cause.FORMULA)
    assert "of 512 entries, of which this is the first, some are certainly wrong" in (first.detail or "")
    assert Verdict.MISMATCH not in {c.verdict for c in found["v"]}


THETA = torch.tensor([[[3.0, 0.02, 15.0], [0.0, 2.0, 10.0]]], dtype=F64)


@pytest.mark.parametrize("size", [3, 8, 11, 16, 23])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_a_grid_made_in_floats_is_no_wrong_formula(size: int, dtype: torch.dtype) -> None:
    """affine_grid's grid is spelled in two ways, which differ by roundings: sums of hundreds of such terms match."""
    found = checked(lambda t: F.affine_grid(t, [1, 1, size, size], align_corners=False), t=THETA.to(dtype))
    assert {c.verdict for c in entries(found)} <= {Verdict.MATCH, Verdict.IMPRECISE}


def kept(spelled: str, count: int) -> Tensor:
    """The numbers from -0.9 to 0.9, in two spellings."""
    steps = torch.arange(count, dtype=F64)
    return torch.linspace(-0.9, 0.9, count, dtype=F64) if spelled == "linspace" else -0.9 + steps * (1.8 / (count - 1))


@pytest.mark.parametrize("count", [7, 40, 121])
def test_a_table_that_the_backward_makes_anew(count: int) -> None:
    """A table of weights that forward and backward round differently is rounding; one that is off by 1e-11 is a formula."""

    def backward(factor: float) -> Any:
        class Weighted(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Tensor) -> Tensor:
                return (x.reshape(-1, 1) * torch.from_numpy(kept("linspace", count).numpy())).sum(1)

            @staticmethod
            def backward(ctx: Any, g: Tensor) -> Any:  # type: ignore[override]
                table = torch.tensor(kept("steps", count).tolist(), dtype=F64)
                return g * (1 + factor) * table.sum() + factor * g

        return Weighted.apply

    x = torch.tensor([0.5, -1.25, 2.0], dtype=F64)
    assert Verdict.MISMATCH not in {c.verdict for c in entries(checked(lambda x: backward(0.0)(x), x=x))}
    assert {c.cause for c in entries(checked(lambda x: backward(1e-11)(x), x=x))} == {Cause.FORMULA}


def test_a_choice_beside_a_table_is_no_excuse() -> None:
    """A comparison with one of the kept numbers isn't decided when that has slack: a wrong branch stays a wrong formula."""
    table = torch.tensor([0.1, 0.3, 0.7], dtype=F64)
    function = custom(lambda x: torch.where(table == table, 3 * x, x), lambda g, x, y: g.clone())
    assert {c.cause for c in entries(checked(function, x=torch.tensor([1.0, 2.0, 3.0], dtype=F64)))} == {Cause.FORMULA}


def runs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The layers of every run from here on, those with a backward pass behind `back`."""
    seen: list[list[str]] = []
    for name, before in (("forward", []), ("backward", ["back"])):
        original = getattr(Runs, name)

        def counted(self: Any, layers: Any, *rest: Any, original: Any = original, before: Any = before, **named: Any) -> Any:
            seen.append([*before, *(type(layer).__name__ for layer in layers)])
            return original(self, layers, *rest, **named)

        monkeypatch.setattr(Runs, name, counted)
    return seen


def test_one_run_of_the_forward_pass_knows_every_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A right gradient of a few entries takes no other run; an entry off by 1e-14 is the one that is wrong, though no
    direction is drawn."""
    seen, x = runs(monkeypatch), torch.linspace(0.5, 2.0, 12, dtype=F64)
    right = checked(lambda x: x.sin().exp(), x=x)
    assert {c.verdict for c in entries(right)} == {Verdict.MATCH}
    assert seen == [["Directional"]]
    assert right.sensitivity == 0.0
    factors = torch.ones(12, dtype=F64)
    factors[7] += 1e-14
    wrong = entries(checked(custom(torch.exp, lambda g, x, y: g * y * factors), x=x))
    assert [c.quantity for c in wrong if c.verdict is Verdict.MISMATCH] == ["d<v,y>/dx[7]"]


def test_what_isnt_known_at_rest_is_not_sought_along_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    """sqrt(2)**2 > 2 can't be decided, whatever moves: after two runs in which nothing does, no direction is tried."""
    seen, two = runs(monkeypatch), torch.tensor([2.0, 2.0], dtype=F64)
    found = checked(lambda x: torch.where((two.sqrt() ** 2 > 2)[0], x.exp(), x.sin()), x=torch.linspace(0.5, 2.0, 8, dtype=F64))
    assert {c.verdict for c in entries(found)} == {Verdict.UNDECIDED}
    assert [layers for layers in seen if "Directional" in layers] == [["Directional"]] * 3


@pytest.mark.parametrize("size", [1.0, 1000.0])
def test_what_a_direction_can_show_is_told(size: float) -> None:
    """What is told of errors that don't show, for the slack of the code's constants, is no more than 1e-13 (else entries are
    looked at one by one), more than nothing where there is some, and true: an error of one entry twice as large is refuted."""
    x = torch.linspace(0.5, 2.0, 100, dtype=F64)

    def planted(error: float) -> Found:
        factors = torch.ones(100, dtype=F64)
        factors[17] += error
        forward = custom(
            lambda x: (x * 0.1 * 3 * size).sin(), lambda g, x, y: g * (x * 0.1 * 3 * size).cos() * 0.3 * size * factors
        )
        return checked(forward, Options(most_entries=50), x=x)  # of fewer each is known by itself

    right = planted(0.0)
    assert {c.verdict for c in entries(right)} == {Verdict.MATCH}
    assert right.sensitivity <= 1e-13
    if size == 1:
        assert right.sensitivity > 0
        wrong = [c.quantity for c in entries(planted(2 * right.sensitivity)) if c.verdict is Verdict.MISMATCH]
        assert wrong == ["d<v,y>/dx[17]"]


def test_what_cancels_costs_no_digits() -> None:
    """The exact value of an entry is known to 70 bits, also where terms 1e26 times as large cancel in it and torch has no digit
    right."""
    found = checked(lambda x: (x + 60).exp() - x.exp() * torch.full_like(x, 60.0).exp() + x.sin(), x=X)
    (column,) = found.columns
    assert all(ball.rel_accuracy_bits() >= 70 for ball in column.exact)
    assert {c.verdict for c in entries(found)} <= {Verdict.MATCH, Verdict.IMPRECISE}


def test_directions_hang_on_the_gradients() -> None:
    """What certifies a gradient is drawn once it is there, from its bits and the inputs': they give the same direction
    again, and nobody can aim an error past it."""

    def direction(slope: float, at: Tensor) -> list[float]:
        map = Map({"x": at}, lambda leaves: {"y": leaves["x"] * slope})
        reverse = Reverse(map, [random_row(map(map.leaves()), 0)], Options(), "total", {}, None)
        reverse.check()
        drawn: list[float] = reverse._direction.tolist()
        return drawn

    first = direction(1.0, X)
    assert direction(1.0, X) == first
    assert direction(1.0 + 2.0**-52, X) != first
    assert direction(1.0, X + 2.0**-40) != first


@pytest.mark.parametrize("answer", [True, False, None])
def test_no_mismatch_stands_on_one_witness(answer: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong gradient is a mismatch by its exact value where the second witness confirms that; where it doesn't, only the
    quotient of the plain function may refute it, and no exact value is shown."""
    monkeypatch.setattr("gradcheck_cli.maps.reverse.confirms", lambda *arguments: answer)
    found = entries(checked(custom(lambda x: x.sin(), lambda g, x, y: g * x.cos() * 2), x=X))
    exact = [c for c in found if c.verdict is Verdict.MISMATCH and c.witness is None]
    assert len(exact) == (3 if answer else 0)


def test_a_staircase_is_no_slope() -> None:
    """Code that computes in a shorter format where nobody sees it doesn't move by small steps: that refutes nothing."""

    def staircase(x: Tensor) -> Tensor:
        return torch.tensor(np.sin(x.numpy().astype(np.float16)).astype(np.float64))

    found = entries(checked(custom(staircase, lambda g, x, y: g * x.cos()), x=X))
    assert {c.verdict for c in found} == {Verdict.UNDECIDED}
    wrong = entries(checked(custom(staircase, lambda g, x, y: -g * x.cos()), x=X))
    assert Verdict.MISMATCH in {c.verdict for c in wrong}


# -- what is followed once ------------------------------------------------------------------------------------------------


def long(last: Any) -> Any:
    """Sixty operations, whose gradient is some ulps off, and one more."""

    def function(x: Tensor) -> Tensor:
        for _ in range(20):
            x = torch.cos(x) + x * 1.5
        return last(x)

    return function


def counted(function: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Check], int]:
    """Its entries, and how often it was followed there and back."""
    calls: list[None] = []
    followed = Runs.backward

    def counting(self: Runs, *arguments: Any, **named: Any) -> Any:
        calls.append(None)
        return followed(self, *arguments, **named)

    monkeypatch.setattr(Runs, "backward", counting)
    return entries(checked(function, x=X)), len(calls)


def test_rounding_of_a_long_function_is_followed_beside_the_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once in all; what it explains is a match, however many ulps off, and as far off as mpmath has it."""
    found, times = counted(long(lambda x: x), monkeypatch)
    assert times == 1 and all(check.verdict is Verdict.MATCH for check in found)

    def scalar(x: Any) -> Any:
        for _ in range(20):
            x = mpmath.cos(x) + x * 1.5
        return x

    (v,) = random_row({"y": X}, 0).cotangents.values()
    with mpmath.workdps(200):
        exact = [float(w) * mpmath.diff(scalar, mpmath.mpf(float(x))) for w, x in zip(v, X, strict=True)]
        off = [abs(float((mpmath.mpf(c.autograd) - e) / e)) for c, e in zip(found, exact, strict=True)]
    told = [(c.rounding_error, o) for c, o in zip(found, off, strict=True) if o > 8 * 2.0**-52]
    assert told and all(error == pytest.approx(o, rel=1e-6) for error, o in told)


@pytest.mark.parametrize("error", [1e-3, 1e-9])
def test_what_is_wrong_in_a_long_function_stays_wrong(error: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every entry, by its formula: the rounding that was followed beside a proof that failed says nothing."""
    found, times = counted(long(custom(torch.sin, lambda g, x, y: g * torch.cos(x) * (1 + error))), monkeypatch)
    assert times > 1 and all((c.verdict, c.cause) == (Verdict.MISMATCH, Cause.FORMULA) for c in found)


def test_selections_are_followed_from_the_first_nan_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which zeros a mask has left is asked only where a nan comes of one."""
    asked: list[bool] = []
    ran = Origins.ran

    def seen(self: Origins, *arguments: Any) -> None:
        asked.append(self.selections)
        ran(self, *arguments)

    monkeypatch.setattr(Origins, "ran", seen)
    assert {c.verdict for c in entries(checked(lambda x: torch.where(x > 0, x.exp(), x), x=X))} == {Verdict.MATCH}
    assert asked and not any(asked)
    mask = torch.tensor([False, True, False])
    found = entries(checked(lambda x: x.sqrt().masked_fill(mask, 0), x=X.abs() * ~mask))
    assert [c.cause for c in found] == [None, Cause.NAN_TRAP, None] and any(asked)


def test_a_prover_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a map took goes with the last reference to it: of ten million entries a gigabyte, which would wait for garbage to be
    collected."""
    made: list[weakref.ref[Reverse]] = []
    begin = Reverse.__init__
    monkeypatch.setattr(Reverse, "__init__", lambda self, *given: (begin(self, *given), made.append(weakref.ref(self)))[0])
    map = Map({"x": torch.linspace(-1, 1, 300, dtype=F64)}, lambda leaves: {"y": leaves["x"].sin()})
    gc.collect()
    gc.disable()
    try:
        found: Found | None = check_map(map, [random_row(map(map.leaves()), 0)], Options())
        assert found is not None and found.prover is made[0]()
        found = None
        assert made[0]() is None
    finally:
        gc.enable()


def winding(x: Tensor) -> Tensor:
    """Of more than 16 nodes; the first makes rounding of its argument a thousand ulps of the derivative."""
    x = torch.sin(1e4 * x)
    for _ in range(6):
        x = torch.sin(x) * 1.5 + x * 0.25
    return x


class Doubtful(torch.autograd.Function):
    """The identity, whose backward is off by a part in 10**12 where `off`, or else multiplies by a float of Python."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, off: bool) -> Tensor:
        ctx.save_for_backward(x)
        ctx.off = off
        return x * 1.0

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return (g * (1 + 1e-12) if ctx.off else g * (x.sum().item() / x.sum())), None


@pytest.mark.parametrize("case", ["right", "wrong", "outside"])
def test_rounding_is_followed_where_the_derivatives_are_known(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many operations, in the same run: a row that rounding takes off is right, one whose formula is off by more isn't, and
    what leaves torch in the backward pass alone is seen."""
    runs: list[list[str]] = []
    seeded = Runs._seeded

    def counted(self: Runs, layers: Any, cells: Any) -> Any:
        runs.append([type(layer).__name__ for layer in layers])
        return seeded(self, layers, cells)

    monkeypatch.setattr(Runs, "_seeded", counted)
    function = winding if case == "right" else lambda x: Doubtful.apply(winding(x), case == "wrong")  # type: ignore[no-untyped-call]
    found = checked(function, x=X)
    assert runs[0] == ["Precise", "Rounded", "Directional"]
    verdicts = {c.verdict for c in entries(found)}
    if case == "wrong":
        assert verdicts == {Verdict.MISMATCH} and {c.cause for c in entries(found)} == {Cause.FORMULA}
    else:
        assert verdicts == {Verdict.MATCH} and (len(runs) == 1) is (case == "right")
        assert any(c.error_ulps > 64 for c in entries(found))
        assert bool(found.opaque) is (case == "outside")


class Respelt(torch.autograd.Function):
    """0.1*x**2 - 0.3*x, whose backward has 0.2 to `digits` only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, digits: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.digits = digits
        return 0.1 * x * x - 0.3 * x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return g * (round(0.2 + 1e-12 / 3, ctx.digits) * x - 0.3), None


@pytest.mark.parametrize(("digits", "nudged"), [(10, False), (17, True)])
def test_what_constants_may_mean_is_asked_where_a_formula_is_off(
    digits: int, nudged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A right formula that cancels is off by many ulps, and meets the derivative with its constants as they are; of one that
    doesn't, what constants may mean is followed, and is no excuse for a part in 10**12."""
    runs: list[str] = []
    backward = Runs.backward

    def counted(self: Runs, layers: Any, *given: Any, **options: Any) -> Any:
        runs.extend(type(layer).__name__ for layer in layers)
        return backward(self, layers, *given, **options)

    monkeypatch.setattr(Runs, "backward", counted)
    x = torch.tensor([1.5 + 2.0**-40, 1.5 - 2.0**-44], dtype=torch.float64)
    found = checked(lambda x: Respelt.apply(x, digits), x=x)  # type: ignore[no-untyped-call]
    assert "Rounded" in runs and ("Nudged" in runs) is nudged
    assert {c.verdict for c in entries(found)} == {Verdict.MISMATCH if nudged else Verdict.IMPRECISE}

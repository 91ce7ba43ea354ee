"""Every row of the table of modes gives the derivatives of closed forms: of chains and of maps, once and again.

All numbers are short, so that the closed forms are exact in float64 and stand here as whole numbers and halves.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from gradcheck_cli import check_chain, check_function, check_model, modes
from gradcheck_cli.formulas.torch_chain import TorchChain
from gradcheck_cli.language.chain import link
from gradcheck_cli.maps import check, map
from gradcheck_cli.maps.autograd import Pulled, Run, Tapped, Tensors, grad
from gradcheck_cli.maps.check import check_map
from gradcheck_cli.maps.map import Map, Row, direction_of, push, random_row, run
from gradcheck_cli.maps.probe import Options
from gradcheck_cli.modes import MODES, OF_TENSORS, Mode, resolved
from gradcheck_cli.verdict.verdicts import Cause, Verdict

pytestmark = pytest.mark.slow(reason="whole checks in every mode")

F64 = torch.float64
by_row = pytest.mark.parametrize("row", MODES.values(), ids=lambda row: row.name)
by_row_of_tensors = pytest.mark.parametrize("row", OF_TENSORS.values(), ids=lambda row: row.name)
backwards = pytest.mark.parametrize("row", [row for row in OF_TENSORS.values() if row.backwards], ids=lambda row: row.name)
forwards = pytest.mark.parametrize("row", [row for row in OF_TENSORS.values() if not row.backwards], ids=lambda row: row.name)


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=F64)


# -- the table ----------------------------------------------------------------------------------------------------------


@by_row
def test_every_cell_names_a_function(row: Mode) -> None:
    """What a row names is there and says what it does; a way for tensors has a sentence and a second order."""
    assert MODES[row.name] is row and row.help
    for name in filter(None, (row.first, row.nested, row.tensors, row.again)):
        assert resolved(name).__doc__, name
    assert bool(row.tensors) == bool(row.again) == bool(row.of_tensors)


def test_the_table_is_light() -> None:
    """Help and options read the table before anything heavy is imported."""
    script = "import sys; from gradcheck_cli.modes import MODES; print(*MODES, 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split() == [
        *MODES, "False",
    ]  # fmt: skip


# -- chains -------------------------------------------------------------------------------------------------------------


X, W = 3.0, -5.0
CHAIN = "z = x*x*w | y = z*x + 2*z + w"
"""y = x**3 w + 2 x**2 w + w"""
DERIVATIVES = {
    "y": 1.0,
    "z": X + 2,
    "x": 3 * X * X * W + 4 * X * W,
    "w": X**3 + 2 * X * X + 1,
    "xx": 6 * X * W + 4 * W,
    "xw": 3 * X * X + 4 * X,
    "wx": 3 * X * X + 4 * X,
    "xxx": 6 * W,
    "xwx": 6 * X + 4,
    "wxxx": 6.0,
}


@by_row
@pytest.mark.parametrize("points", [1, 3])
def test_a_chain(row: Mode, points: int) -> None:
    """By stages and inputs, to the fourth order, exactly; each point of a batch has its own derivative."""
    chain = TorchChain(link(CHAIN.split("|")), F64, "cpu", {})
    at = {"x": torch.full((points,), X, dtype=F64), "w": torch.full((points,), W, dtype=F64)}
    found = chain.differentiate(row.name, at, [tuple(names) for names in DERIVATIVES])
    assert not found.refusals
    assert found.values["y"].tolist() == [X**3 * W + 2 * X * X * W + W] * points
    for names, value in DERIVATIVES.items():
        gradient = found.gradients[tuple(names)]
        assert gradient is not None and gradient.tolist() == [value] * points, names


@by_row
def test_a_chain_on_arrays(row: Mode) -> None:
    """One entry of the output by entries of inputs and of a stage, first and second order, exactly."""
    shapes = {"x": (2,), "A": (2, 2), "z": (2,), "y": (2,)}
    chain = TorchChain(link(["z = A @ (x*x)", "y = z*x"]), F64, "cpu", {}, shapes).of("y[1]")
    at = {"x": tensor(3, 5), "A": torch.tensor([[2.0, 4.0], [7.0, -1.0]], dtype=F64)}
    wanted: dict[tuple[str, ...], float] = {
        ("z[1]",): 5.0,
        ("z[0]",): 0.0,
        ("x[0]",): 7 * 2 * 3 * 5.0,
        ("x[1]",): -1 * 2 * 5 * 5.0 + (7 * 9 - 25),
        ("A[1,0]",): 9 * 5.0,
        ("A[0,1]",): 0.0,
        ("x[0]", "x[0]"): 7 * 2 * 5.0,
        ("x[0]", "x[1]"): 7 * 2 * 3.0,
        ("A[1,0]", "x[1]"): 9.0,
    }
    found = chain.differentiate(row.name, at, list(wanted))
    assert not found.refusals
    assert {wrt: None if g is None else g.item() for wrt, g in found.gradients.items()} == wanted


# -- maps ---------------------------------------------------------------------------------------------------------------


def sums_and_products(leaves: Tensors) -> Tensors:
    """s = x*x*w, t = x + 4*w."""
    x, w = leaves["x"], leaves["w"]
    return {"s": x * x * w, "t": x + 4 * w}


def a_map() -> Map:
    return Map({"x": tensor(3, -2), "w": tensor(0.5, 8)}, sums_and_products)


ROWS = (
    Row("<v,s,t>", {"s": tensor(1, 2), "t": tensor(-1, 0.5)}),
    Row("s[1]", {"s": tensor(0, 1)}),
    Row("<v,t>", {"t": tensor(2, 3)}),
)


@backwards
def test_a_map_is_pulled_back(row: Mode) -> None:
    """v_s*2xw + v_t by x and v_s*x*x + 4*v_t by w, for every row of one run, in any order and again."""
    inputs = a_map().inputs
    outputs, pull = run(a_map(), a_map().leaves(), row.name)
    assert [y.tolist() for y in outputs.values()] == [[4.5, 32], [5, 30]]
    for asked in (*ROWS, *reversed(ROWS)):
        s, t = (asked.cotangents.get(name, tensor(0, 0)) for name in "st")
        x, w = inputs["x"], inputs["w"]
        found = pull(asked)
        assert found.refusal is None
        assert torch.equal(found.gradients["x"], 2 * x * w * s + t)  # type: ignore[arg-type]
        if found.gradients["w"] is not None:
            assert torch.equal(found.gradients["w"], x * x * s + 4 * t)


@forwards
def test_a_map_is_pushed_forward(row: Mode) -> None:
    """u and q along x and w: 2xw*u + x*x*q, and u + 4*q."""
    x, w = a_map().inputs.values()
    direction = {"x": tensor(1, -2), "w": tensor(4, 0.5)}
    u, q = direction.values()
    outputs, tangents, refusal = push(a_map(), direction, row.name)
    assert refusal is None and outputs["s"].tolist() == [4.5, 32]
    assert torch.equal(tangents["s"], 2 * x * w * u + x * x * q)  # type: ignore[arg-type]
    assert torch.equal(tangents["t"], u + 4 * q)  # type: ignore[arg-type]


@backwards
def test_a_gradient_is_pulled_back(row: Mode) -> None:
    """The second function of a row: <a, 2xwv> by x, w and v."""
    x, w = a_map().inputs.values()
    v, a = tensor(1, 2), tensor(-1, 4)
    double: Map = resolved(row.again)(a_map(), Row("<v,s>", {"s": v}))
    outputs, pull = run(double, double.leaves(), row.name)
    assert torch.equal(outputs["d<v,s>/dx"], 2 * x * w * v) and torch.equal(outputs["d<v,s>/dw"], x * x * v)
    found = pull(Row("<a,g>", {"d<v,s>/dx": a})).gradients
    assert torch.equal(found["x"], 2 * w * v * a)  # type: ignore[arg-type]
    assert torch.equal(found["w"], 2 * x * v * a)  # type: ignore[arg-type]
    assert torch.equal(found["grad_s"], 2 * x * w * a)  # type: ignore[arg-type]


@forwards
def test_a_tangent_is_pushed_forward(row: Mode) -> None:
    """The second function of a row: 2xw*u + x*x*q along (r, p)."""
    x, w = a_map().inputs.values()
    (u, q), (r, p) = (tensor(1, 2), tensor(-1, 4)), (tensor(0.5, 1), tensor(2, -3))
    twice: Map = resolved(row.again)(a_map(), {"x": u, "w": q})
    _, tangents, refusal = push(twice, {"x": r, "w": p}, row.name)
    assert refusal is None
    assert torch.equal(tangents["(J u of s)"], 2 * w * u * r + 2 * x * (u * p + q * r))  # type: ignore[arg-type]


# -- the judgement ------------------------------------------------------------------------------------------------------


class Cube(torch.autograd.Function):
    """x**3; `slip` is a factor of its derivative, backwards and forwards."""

    slip = 1.0

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x * x * x

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @classmethod
    def derivative(cls, ctx: Any, given: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return given * 3 * x * x * cls.slip

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return Cube.derivative(ctx, gradient)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Any:  # type: ignore[override]
        return Cube.derivative(ctx, tangent)


def plain(x: Tensor) -> Tensor:
    return x * x * x


def checked(function: Any, mode: str, order: int = 1) -> set[tuple[str, str, str | None]]:
    report = check_function(function, at="x=[2,-3]", mode=mode, order=order)
    return {(c.mode, c.verdict.value, c.cause and c.cause.value) for c in report.checks if c.mode == mode}


@by_row_of_tensors
def test_a_function_is_judged(row: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every mode a right derivative matches, the second one too, and one that is off by 1e-9 is a wrong formula."""
    assert checked(plain, row.name, order=2) == checked(Cube, row.name) == {(row.name, "match", None)}
    monkeypatch.setattr(Cube, "slip", 1 + 1e-9)
    assert checked(Cube, row.name) == {(row.name, "mismatch", "formula")}


class Cubes(torch.nn.Module):
    """Entry by entry."""

    def forward(self, x: Tensor) -> Any:
        """x**3."""
        return Cube.apply(x)


@by_row_of_tensors
def test_a_network_is_judged(row: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of a layer in a network, which is blamed."""
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), Cubes(), torch.nn.Linear(2, 1)).double()
    report = check_model(network, input=(2,), mode=row.name)
    assert report.ok and report.problem["modes"] == [row.name]
    assert {c.mode for c in report.checks} == {row.name}
    monkeypatch.setattr(Cube, "slip", 1 + 1e-9)
    wrong = [c for c in check_model(network, input=(2,), mode=row.name).checks if not c.verdict.passes]
    assert {c.kind for c in wrong} == {"total", "local"}
    assert {c.stage for c in wrong} == {"1 Cubes"}
    assert {c.of for c in wrong if c.kind == "local"} <= {
        "<v,1>",
        "(J u of 1.output)",
        "(J u of 1.output)[0]",
        "(J u of 1.output)[1]",
    }


def one_way(map: Tapped, leaves: Tensors, by: Any) -> Run:
    """A mode of this test: twice what autograd.grad gives."""
    right = grad(map, leaves, by)

    def pull(cotangents: Tensors) -> Pulled:
        found = right.pull(cotangents)
        return Pulled({name: None if g is None else 2 * g for name, g in found.gradients.items()}, found.refusal)

    return Run(right.values, pull)


def test_the_direction_of_a_row_chooses_the_prover(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new row that runs backwards is judged entry by entry as such, whatever it is called: twice the gradient is refuted."""
    row = replace(MODES["reverse"], name="forward as well", tensors="autograd.one_way")
    monkeypatch.setattr("gradcheck_cli.maps.autograd.one_way", one_way, raising=False)
    for module in (modes, map, check):
        monkeypatch.setattr(module, "MODES", {row.name: row})
    asked = random_row(a_map()(a_map().leaves()), 0)
    columns = check_map(a_map(), [asked], Options(), mode=row.name).columns
    assert [column.quantity for column in columns] == [f"d{asked.name}/dx", f"d{asked.name}/dw"]
    assert {(c.mode, c.check(i).cause) for c in columns for i in range(len(c))} == {(row.name, "formula")}


# -- what torch refuses -------------------------------------------------------------------------------------------------


def raising(problem: Callable[[], Exception]) -> Any:
    """sin with derivatives that raise."""

    class Raises(torch.autograd.Function):
        @staticmethod
        def forward(x: Tensor) -> Tensor:
            return x.sin()

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            pass

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Any:
            raise problem()

        @staticmethod
        def jvp(ctx: Any, tangent: Tensor) -> Any:  # type: ignore[override]
            raise problem()

    return Raises.apply


@by_row
@pytest.mark.parametrize("problem", [RuntimeError, ValueError, NotImplementedError])
def test_a_chain_whose_derivative_raises(row: Mode, problem: type[Exception]) -> None:
    """An exception without a message is a verdict: no gradient, with the exception's type, and the line that raised it."""
    told = rf"(sin: )?{problem.__name__}( \(test_modes.py, line \d+\))?"
    chain = TorchChain(link(["sin(x)"]), F64, "cpu", {"sin": raising(problem)})
    for derivative in (("x",), ("x", "x")):
        found = chain.differentiate(row.name, {"x": tensor(1)}, [derivative])
        assert found.gradients[derivative] is None
        assert re.fullmatch(told, found.refusals[derivative])
    itself, by_input = check_chain("sin(x)", at="x=1", mode=row.name, callables={"sin": raising(problem)}).checks
    assert itself.verdict is Verdict.MATCH
    assert (by_input.verdict, by_input.cause) == (Verdict.MISMATCH, Cause.NO_GRADIENT)
    assert re.fullmatch(f"torch: {told}", by_input.detail)


@by_row_of_tensors
def test_a_function_whose_derivative_raises(row: Mode) -> None:
    """The same of a function."""
    checks = [c for c in check_function(raising(RuntimeError), at="x=1", mode=row.name).checks if c.mode == row.name]
    assert {(c.verdict, c.cause) for c in checks} == {(Verdict.MISMATCH, Cause.NO_GRADIENT)}
    assert all(re.fullmatch(r"torch: RuntimeError \(test_modes.py, line \d+\)", c.detail) for c in checks)


def test_directions_are_seeded() -> None:
    """A direction is the same at every call, and another one for another seed."""
    inputs = a_map().inputs
    assert all(torch.equal(direction_of(inputs, 1)[n], direction_of(inputs, 1)[n]) for n in inputs)
    assert not all(torch.equal(direction_of(inputs, 1)[n], direction_of(inputs, 2)[n]) for n in inputs)

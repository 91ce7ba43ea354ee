"""What a function is called with where the user says little: numbers stay numbers, shapes that matter are asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Optional

import pytest
import torch
from torch import Tensor

from gradcheck_cli import check_function
from gradcheck_cli.errors import InputError
from gradcheck_cli.verdict.verdicts import Verdict


def scaled(x: Tensor, alpha: float) -> Tensor:
    return alpha * x


def rolled(x: Tensor, by: int) -> Tensor:
    return torch.roll(x * x, by)


def chosen(x: Tensor, on: bool) -> Tensor:
    return x if on else -x


def reduced(x: Tensor, how: str) -> Tensor:
    return x.sum() if how == "sum" else x.mean()


def perhaps(x: Tensor, alpha: Optional[float]) -> Tensor:  # noqa: UP045
    return x if alpha is None else alpha * x


class Linear(torch.autograd.Function):
    """Right for matrices."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x @ weight.t()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        return g @ weight, g.t() @ x


class Rowwise(torch.autograd.Function):
    """A backward that wants rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return 2 * x * g.reshape(g.shape[0], g.shape[1])


class Failing(Rowwise):
    """A backward that fails whatever the shape."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:  # type: ignore[override]
        raise RuntimeError("no backward today")


@pytest.mark.parametrize(
    ("function", "example"),
    [
        (scaled, 'settings="alpha=0.5"'), (rolled, 'settings="by=2"'), (chosen, 'settings="on=True"'),
        (reduced, "settings=\"how='mean'\""), (perhaps, 'settings="alpha=0.5"'),
    ],
)  # fmt: skip
def test_what_is_annotated_as_a_number_is_asked_for(function: Callable[..., Tensor], example: str) -> None:
    """It is no tensor to draw, nor to differentiate by: one line says how to give it."""
    with pytest.raises(InputError, match="no tensor") as problem:
        check_function(function)
    assert example in str(problem.value)
    assert "\n" not in str(problem.value)


def test_a_number_that_is_given_stays_one() -> None:
    """By --set, by its default, and by Python's own number in a point: there is no derivative by it. A tensor has one."""

    def default(x: Tensor, alpha: float = 2.0) -> Tensor:
        return alpha * x

    def quantities(**asked: Any) -> set[str]:
        report = check_function(asked.pop("function", scaled), **asked)
        assert report.ok
        return {c.quantity.partition("[")[0] for c in report.checks}

    x = torch.tensor([1.0, 2.0], dtype=torch.float64)
    assert quantities(settings={"alpha": 0.25}) == {"d<v,y>/dx"}
    assert quantities(function=default) == {"d<v,y>/dx"}
    assert quantities(at={"x": x, "alpha": 0.5}) == {"d<v,y>/dx"}
    assert quantities(at={"x": x, "alpha": torch.tensor(0.5, dtype=torch.float64)}) == {"d<v,y>/dx", "d<v,y>/dalpha"}
    assert quantities(function=rolled, at={"x": x, "by": 1}) == {"d<v,y>/dx"}


def test_a_function_of_matrices_asks_for_their_shapes() -> None:
    """Vectors make a transposition nothing, or a backward fail that is right: no mismatch is due to that. With shapes it
    matches."""
    with pytest.raises(InputError, match=r'transposes a vector.*shape=\["x=2,3", "weight=3,3"\]'):
        check_function(Linear)
    with pytest.raises(InputError, match=r'its backward fails at tensors of shape \(3,\).*shape="x=2,3"'):
        check_function(Rowwise)
    assert check_function(Linear, shape={"x": (2, 3), "weight": (4, 3)}).ok
    assert check_function(Rowwise, shape={"x": (2, 3)}).ok


class Summed(Rowwise):
    """A backward that returns one number for all entries: right for a single one only."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return (2 * x * g).sum().reshape(1, 1) if x.dim() else 2 * x * g


@pytest.mark.parametrize("function", [Failing, Summed])
def test_a_backward_that_fails_by_its_own_slip_is_reported(function: type[torch.autograd.Function]) -> None:
    """Whatever the shape, or at every tensor with more than one entry: other shapes aren't asked for."""
    report = check_function(function)
    assert report.verdict == "mismatch"
    assert {c.cause for c in report.checks} == {"no_gradient"}


def test_outputs_without_entries() -> None:
    """Beside others they don't count; alone, there is nothing to differentiate, and the words say so."""
    x = torch.tensor([1.0, 2.0], dtype=torch.float64)
    assert check_function(lambda x: (x[:0], x * x), at={"x": x}).verdict == "match"
    assert check_function(lambda x: (x * x).sum(), at={"x": torch.tensor(2.0, dtype=torch.float64)}).verdict == "match"
    for asked in ({"at": {"x": x}}, {}):
        with pytest.raises(InputError, match=r"without entries|no floating-point tensor with entries"):
            check_function(lambda x: x[..., :0], **asked)


@pytest.mark.parametrize("times", [1, 2])
def test_forward_mode_within_nests(times: int) -> None:
    """A function that runs torch.func's forward mode, once or twice, has forward mode by it."""

    def slope(x: Tensor, left: int = times) -> Tensor:
        inner = (lambda t: slope(t, left - 1)) if left > 1 else (lambda t: t.sin() * t)
        return torch.func.jvp(inner, (x,), (torch.ones_like(x),))[1]

    x = torch.tensor([0.5, -1.25], dtype=torch.float64)
    assert check_function(lambda x: slope(x), at={"x": x}, mode=["reverse", "forward"]).verdict == "match"


class Scaled(torch.autograd.Function):
    """A product with a right backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, s: Tensor) -> Tensor:
        ctx.save_for_backward(x, s)
        return x * s

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, s = ctx.saved_tensors
        return g * s, g * x


@pytest.mark.parametrize(
    ("at", "dtypes"),
    [
        ({"x": torch.tensor(0.7), "s": 2.0}, {"float32"}),
        ({"x": [0.7, 1.0], "s": torch.tensor(0.5, dtype=torch.float16)}, {"float16"}),
        ({"x": torch.tensor(0.7), "s": torch.tensor(2.0, dtype=torch.float64)}, {"float32", "float64"}),
        ({"x": 0.7, "s": 2}, {"float64"}),
        ({"x": torch.tensor(3), "s": 2.0}, {"float64"}),
    ],
)
def test_a_python_number_follows_the_tensors(at: dict[str, Any], dtypes: set[str]) -> None:
    """As in torch: beside a float32 tensor it is no float64, for which the backward would be blamed."""
    report = check_function(Scaled, at=at)
    assert {column.dtype for column in report.columns} == dtypes and report.ok
    assert any("converts it silently" in note for note in report.notes) is (len(dtypes) == 2)


# -- arguments that hold several tensors ---------------------------------------------------------------------------------


@dataclasses.dataclass
class Pair:
    a: Tensor
    b: Tensor
    power: int = 2


class Named(NamedTuple):
    a: Tensor
    b: Tensor


HELD = {
    "dict": (lambda d: d["a"] * d["b"] ** 2, {"a": torch.ones(2), "b": torch.full((2,), 3.0)}),
    "list": (lambda d: d[0] * d[1] ** 2, [torch.ones(2), torch.full((2,), 3.0)]),
    "dataclass": (lambda d: Pair(d.a * d.b**d.power, d.a), Pair(torch.ones(2), torch.full((2,), 3.0))),
    "named tuple": (lambda d: d.a * d.b**2, Named(torch.ones(2), torch.full((2,), 3.0))),
    "nested": (lambda d: d["p"][0] * d["q"].b ** 2, {"p": (torch.ones(2),), "q": Pair(torch.ones(2), torch.full((2,), 3.0))}),
    "integers": (lambda d: d["x"][d["i"]] ** 2, {"x": torch.ones(2), "i": torch.tensor([1, 0])}),
}


@pytest.mark.parametrize("name", HELD)
def test_an_argument_may_hold_several_tensors(name: str) -> None:
    """Each is differentiated by, under its argument's name; the others are handed over in their places."""
    function, value = HELD[name]
    report = check_function(function, at={"d": value})
    assert report.verdict is Verdict.MATCH, str(report)
    assert all(c.wrt[0].startswith("d.") for c in report.checks) and report.counts[Verdict.MATCH] >= 2


def test_a_wrong_gradient_by_a_part_is_found() -> None:
    """It is named by its place."""

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            return a * b

        @staticmethod
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            return g * b, g * a * 1.01

    report = check_function(lambda d: Wrong.apply(d["a"], d["b"]), at={"d": {"a": torch.ones(2), "b": torch.ones(2)}})
    assert {c.wrt[0].partition("[")[0] for c in report.checks if c.verdict is Verdict.MISMATCH} == {"d.b"}


def test_names_of_parts_are_names_too() -> None:
    """Tensors that a container holds under `real` and `imag` are two, and the derivatives are by each: of a**2 - 3*a*b they are
    2*a - 3*b and -3*a."""
    a, b = torch.tensor([1.0, 2.0]), torch.tensor([3.0, -1.0])
    report = check_function(lambda d: d["real"] @ (d["real"] - 3 * d["imag"]), at={"d": {"real": a, "imag": b}})
    found = {c.wrt[0]: float(c.exact) for c in report.checks if c.of == "y"}
    assert found == {"d.real[0]": -7.0, "d.real[1]": 7.0, "d.imag[0]": -3.0, "d.imag[1]": -6.0}
    assert report.verdict is Verdict.MATCH


@pytest.mark.parametrize("at", ["z=[1+2j,3]", "z=[1,3]", {"z": torch.tensor([1.0, 3.0])}], ids=str)
def test_a_complex_dtype_makes_inputs_complex(at: Any) -> None:
    """Whatever they were given as; of `all`, those formats that torch has of the point's numbers."""
    for dtype in ("complex128", "complex64"):
        report = check_function(lambda z: (z * z.conj()).real.sum(), at=at, dtype=dtype)
        assert {c.wrt[0] for c in report.checks} == {f"z.{part}[{i}]" for part in ("real", "imag") for i in (0, 1)}
        assert {c.dtype for c in report.checks} == {{"complex128": "float64", "complex64": "float32"}[dtype]}
    every = check_function(lambda z: (z * z).abs().sum(), at=at, dtype="all")
    assert {c.dtype for c in every.checks} >= {"float64", "float32"}


def test_complex_numbers_of_16_bits() -> None:
    """They are refused in one line: torch computes next to nothing with them."""
    with pytest.raises(InputError, match="torch computes with complex128 and complex64"):
        check_function(lambda z: z.abs(), at="z=1+2j", dtype="float16")


def test_shapes_are_found_of_functions_that_hang_hooks() -> None:
    """A hook hangs on what requires a gradient alone: the shapes that a function takes are tried with inputs that do."""

    def hooked(x: torch.Tensor) -> torch.Tensor:
        y = x.sin()
        y.register_hook(lambda gradient: gradient * 2)
        return y * x

    assert check_function(hooked).verdict == "mismatch"

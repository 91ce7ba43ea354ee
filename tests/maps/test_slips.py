"""The usual slips get their name, and nothing else does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F
from torch.nn.functional import conv2d, pad

from gradcheck_cli import check_function
from gradcheck_cli.language.tree import Variable
from gradcheck_cli.maps.map import Map
from gradcheck_cli.maps.slips import Searched, name_pushed, name_slips
from gradcheck_cli.maps.trials import matrices
from gradcheck_cli.maps.written import Trees
from tests.counting import count_calls
from tests.custom_functions import SUBJECTS
from tests.custom_functions.elementwise import custom

BY_NAME = {s.name: s for s in SUBJECTS}

NAMED = [
    ("Conv1d", "kernel reversed", "x", "the input kernel is used where its reverse belongs"),
    # Function, slip, input, what is said of it
    ("Tanh", "missing upstream", "x", "the backward drops the upstream gradient"),
    ("Softmax", "missing upstream", "x", "the backward drops the upstream gradient"),
    ("LayerNorm", "missing upstream", "weight", "the backward drops the upstream gradient"),
    ("Exp", "upstream twice", "x", "the backward multiplies by the upstream gradient twice"),
    ("Sin", "upstream for input", "x", "the upstream gradient is used where the input x belongs"),
    ("Tanh", "upstream for output", "x", "the upstream gradient is used where the output y belongs"),
    ("Tanh", "input for output", "x", "the input x is used where the output y belongs"),
    ("Sigmoid", "input for output", "x", "the input x is used where the output y belongs"),
    ("ELU", "input for output", "x", "the input x is used where the output y belongs"),
    ("Sin", "output for input", "x", "the output y is used where the input x belongs"),
    ("Log", "output for input", "x", "the output y is used where the input x belongs"),
    ("SinSquare", "missing inner derivative", "x", "an inner derivative is missing: that of x[0]**2 by x[0]"),
    ("Gaussian", "missing inner derivative", "x", "an inner derivative is missing: this is the derivative by -x[0]*x[0]/2"),
    ("SiLU", "wrong sign", "x", "the sign is wrong: autograd is -exact"),
    ("SiLU", "sign of a term", "x", "a term has the wrong sign: the one through sigmoid(x[0]) in x[0]*sigmoid(x[0])"),
    ("SiLU", "dropped term", "x", "a term is dropped: the one through sigmoid(x[0]) in x[0]*sigmoid(x[0])"),
    ("SiLU", "missing factor", "x", "the factor 1 - sigmoid(x[0]) is missing in the term through sigmoid(x[0])"),
    ("Quadratic", "dropped term", "x", "a term is dropped: the one through a[0,0]*x[0] + a[0,1]*x[1]"),
    ("Norm", "not divided", "x", "the factor sqrt(x[0]*x[0] + x[1]*x[1] + x[2]*x[2]) is one too many"),
    ("Mean", "sum for mean", "x", "a sum for a mean: autograd is 3 times exact"),
    ("AveragePool", "sum for mean", "x", "a sum for a mean: autograd is 2 times exact"),
    ("Linear", "bias mean", "bias", "a mean for a sum: autograd is 1/2 times exact"),
    ("Affine", "missing factor", "x", "a constant factor: autograd is 1/3 times exact"),
    ("Square", "scaled by 1.01", "x", "a constant factor: autograd is 1.01 times exact"),
    ("Exp", "shifted index", "x", "the index is shifted by 1"),
    ("LogSumExp", "shifted index", "x", "the index is shifted by 1 along dimension 1"),
    ("Norm", "reversed index", "x", "the index runs backwards"),
    ("MatMul", "transposed index", "a", "the index is transposed"),
    ("Linear", "weight transposed", "weight", "the index is transposed"),
    ("MatMul", "not transposed", "a", "the input b is used where its transpose belongs"),
    ("CumulativeSum", "not reversed", "x", "a transposition is missing"),
    ("Multiply", "swapped", "y", "this is the gradient of x: gradients are returned in the wrong order"),
    ("Exp", "one entry", "x", "only x[1] of 3 entries is wrong"),
    ("SiLU", "zeroed", "x", "the backward returns 0"),
    ("Hardswish", "wrong constant", "x", "the constant 0.25 stands where 0.5 belongs"),
]


def slips(name: str, function: Any) -> dict[str, str | None]:
    tensors = BY_NAME[name].tensors()
    inputs = {n: x for n, x in tensors.items() if x.is_floating_point()}

    def call(leaves: Any) -> dict[str, torch.Tensor]:
        found = function.apply(*[leaves.get(n, x) for n, x in tensors.items()])
        return {f"y{i}": y for i, y in enumerate(found)} if isinstance(found, tuple) else {"y": found}

    return name_slips(Map(inputs, call))


@pytest.mark.parametrize(("name", "slip", "wrt", "text"), NAMED, ids=lambda v: str(v)[:20])
def test_named(name: str, slip: str, wrt: str, text: str) -> None:
    """The slip is named for what it is."""
    assert str(slips(name, BY_NAME[name].mutants[slip])[wrt]).startswith(text)


@pytest.mark.parametrize("name", list(BY_NAME)[::3])
def test_the_right_backward_has_none(name: str) -> None:
    """Nothing is said of a gradient that is right."""
    assert slips(name, BY_NAME[name].function) == {}


def test_an_unusual_slip_has_no_name() -> None:
    """Where nothing fits every entry at both points, nothing is said."""
    found = slips("LayerNorm", BY_NAME["LayerNorm"].mutants["no means"])
    assert found and not any(found.values())


PIECES = [
    (torch.nn.functional.leaky_relu, lambda g, x, y: g * (x > 0), "the piece where x <= 0 is wrong: there autograd is 0"),
    (torch.abs, lambda g, x, y: g * (x > 0), "the piece where x < 0 is wrong: there autograd is 0"),
    (
        lambda x: torch.where(x.abs() < 1, x**2 / 2, x.abs() - 0.5),
        lambda g, x, y: torch.where(x.abs() < 1, g * x.abs().sqrt(), g * x.sign()),
        "the piece where abs(x) < 1 is wrong",
    ),
    (
        lambda x: torch.where(x > 0, x.exp(), x.sin()),
        lambda g, x, y: torch.where(x > 0, g * (y.sqrt() + x / 3), g * x.cos()),
        "the piece where x > 0 is wrong",
    ),
    (
        lambda x: x.clamp(-1, 1),
        lambda g, x, y: torch.where(x.abs() <= 1, g, torch.where(x > 1, g * x.abs().sqrt(), 0.0)),
        "the piece where x > 1 is wrong",
    ),
]
"""What is wrong on one side of a condition of the function, by 0 or by several factors."""


MADE_OF = [
    (F.silu, lambda g, x, y: g * x.sigmoid(), "a term is dropped: the one through sigmoid(x[0]) in x[0]*sigmoid(x[0])"),
    (
        F.silu,
        lambda g, x, y: g * (x.sigmoid() + x * x.sigmoid()),
        "the factor 1 - sigmoid(x[0]) is missing in the term through sigmoid(x[0]) in x[0]*sigmoid(x[0])",
    ),
    (
        F.gelu,
        lambda g, x, y: g * (1 + torch.erf(x / 2**0.5)) / 2,
        "a term is dropped: the one through 1 + erf(x[0]/sqrt(2)) in x[0]*(1 + erf(x[0]/sqrt(2)))",
    ),
    (F.softsign, lambda g, x, y: g / (1 + x.abs()), "a term is dropped: the one through abs(x[0]) + 1 in x[0]/(abs(x[0]) + 1)"),
    (F.mish, lambda g, x, y: g * F.softplus(x).tanh(), "a term is dropped: the one through"),
]
"""A slip in the derivative of a function that torch has as one, and its author as two."""


@pytest.mark.parametrize(("forward", "backward", "text"), MADE_OF)
def test_what_a_function_is_made_of(forward: Any, backward: Any, text: str) -> None:
    """The slip is named in the words of what the function is made of, where it has none in the function's own."""
    slip = custom(forward, backward)
    x = torch.tensor([0.4, -1.3, 2.1], dtype=torch.float64)
    (found,) = name_slips(Map({"x": x}, lambda leaves: {"y": slip(leaves["x"])})).values()
    assert found is not None and found.startswith(text)


@pytest.mark.parametrize(("forward", "backward", "text"), PIECES)
def test_a_piece_of_the_function(forward: Any, backward: Any, text: str) -> None:
    """Which side of which condition is wrong, however many entries there are; the others are right."""
    x = torch.linspace(-2.1, 2.2, 40, dtype=torch.float64)
    slip = custom(forward, backward)
    assert name_slips(Map({"x": x}, lambda leaves: {"y": slip(leaves["x"])})) == {"x": text}


def test_a_function_that_stands_still_tells_no_operation() -> None:
    """Whatever leaves nothing of the gradient would do; beside a surrogate's the limit is told."""
    window = custom(torch.sign, lambda g, x, y: g * (x.abs() <= 2))
    assert name_slips(at(window, 0.4, 1.7, -3.0)) == {"x": None}
    clamp = custom(lambda x: x.clamp(-1, 1), lambda g, x, y: g * (x.abs() <= 2))
    assert name_slips(at(clamp, 0.4, 1.7, -3.0, -1.5)) == {"x": "abs(x[0]) <= 2 stands where abs(x[0]) <= 1 belongs"}


def test_beside_an_input_v_the_upstream_gradient_has_another_name() -> None:
    """Both stand in one sum here."""
    slip = custom(lambda v: v * v, lambda g, v, y: (g + v) * 2 * v)
    map = Map({"v": torch.tensor([0.4, 1.7], dtype=torch.float64)}, lambda leaves: {"y": slip(leaves["v"])})
    assert name_slips(map) == {"v": "v_y[0] + v[0] stands where v_y[0] belongs"}


def test_a_constant_of_one_piece_is_named_before_the_piece() -> None:
    """What is forgotten says more than where."""
    slip = custom(lambda x: torch.where(x > 0, x, 3 * x.sin()), lambda g, x, y: g * torch.where(x > 0, 1.0, x.cos()))
    assert "the factor 3 in" in str(name_slips(at(slip, -0.7, 1.2, -0.4))["x"])


@pytest.mark.parametrize("factor", [1e-310, -1e-200, 1e200])
def test_factors_of_any_size(factor: float) -> None:
    """A factor near the ends of the float's range is written as it is: its inverse may be no float, and is no count."""
    slip = custom(lambda x: 3 * x, lambda g, x, y: g * factor)
    map = Map({"x": torch.tensor([0.3, 2.2], dtype=torch.float64)}, lambda leaves: {"y": slip(leaves["x"])})
    assert name_slips(map)["x"] == f"a constant factor: autograd is {factor / 3:.10g} times exact"


def test_a_function_that_is_too_large_has_none() -> None:
    """Beyond some hundred entries nothing is tried."""
    assert name_slips(Map({"x": torch.ones(1000, dtype=torch.float64)}, lambda x: {"y": x["x"].detach()})) == {}


def at(function: Any, *numbers: float) -> Map:
    return Map({"x": torch.tensor(numbers, dtype=torch.float64)}, lambda leaves: {"y": function(leaves["x"])})


INNER = custom(lambda x: torch.tanh(x + x**3 / 8), lambda g, x, y: g * (1 - y * y) * (1 + x**2 / 8))
CONFUSED = custom(lambda x: x * torch.sigmoid(x), lambda g, x, y: g * (torch.sigmoid(x) + x * torch.sigmoid(x) ** 2))
SOFTENED = custom(
    lambda x: x * torch.tanh(torch.log1p(x.exp())),
    lambda g, x, y: g * (torch.tanh(torch.log1p(x.exp())) + x * (1 - torch.tanh(torch.log1p(x.exp())) ** 2)),
)
UNKNOWN = custom(lambda x: torch.tanh(x + x**3 / 8), lambda g, x, y: g * (1 - y * y) * (1.1 + x**2 / 7))
SIDES = custom(
    lambda x: torch.where(x > 0, torch.exp(x), torch.sin(x)),
    lambda g, x, y: torch.where(x > 0, -g * torch.exp(x), 3 * g * torch.cos(x)),
)


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (INNER, "the exponent 3 in x[0]**3 is missing"),
        (SOFTENED, "an inner derivative is missing: that of log1p(exp(x[0])) by x[0]"),
        (CONFUSED, "the factor 1 - sigmoid(x[0]) is missing in the term through sigmoid(x[0]) in x[0]*sigmoid(x[0]): "
         "sigmoid(x[0]) stands in its place"),
    ],
)  # fmt: skip
def test_in_a_part_of_the_chain(function: Any, text: str) -> None:
    """A constant that is missing, a factor for another, or the derivative of a whole function, somewhere on the way."""
    assert name_slips(at(function, 0.7, -1.3))["x"] == text


@pytest.mark.parametrize("function", [INNER, UNKNOWN])
def test_the_search_is_made_at_few_points(function: Any) -> None:
    """At later points what was found is only verified, and nothing is searched for that wasn't found at three."""
    searched = Searched()
    work, texts = [], []
    for k in range(6):
        map = at(function, 0.3 + k / 4, k - 2.3)
        work.append(count_calls(lambda map=map: texts.append(name_slips(map, searched=searched))))
    assert len({str(t) for t in texts}) == 1 and "x" in texts[0]
    assert max(work[3:]) < work[0] * 0.8


def test_another_slip_at_another_point() -> None:
    """What fits at one point isn't said at one where it doesn't: a backward may be wrong otherwise there."""
    searched = Searched()
    found = [name_slips(at(SIDES, x), searched=searched)["x"] for x in (0.5, -0.5, 1.5, -1.5)]
    assert found == ["the sign is wrong: autograd is -exact", "a constant factor: autograd is 3 times exact"] * 2


LOGCOSH, BENT = (lambda x: torch.log(torch.cosh(x))), (lambda x: torch.tanh(x) * x)


def bent(x: torch.Tensor) -> torch.Tensor:
    """The derivative of BENT."""
    return torch.tanh(x) + x / torch.cosh(x) ** 2


OWN_BRANCH = [
    custom(LOGCOSH, lambda g, x, y: g * torch.where(x.abs() > 3, torch.sign(x), torch.tanh(x))),
    custom(LOGCOSH, lambda g, x, y: g * torch.sign(x)),
    custom(LOGCOSH, lambda g, x, y: g * torch.clamp(torch.tanh(x), -0.99, 0.99)),
    custom(BENT, lambda g, x, y: g * torch.where(x.abs() > 3, torch.ones_like(x), bent(x))),
    custom(torch.exp, lambda g, x, y: torch.where(x.abs() < 3, g * y, torch.zeros_like(x))),
]


@pytest.mark.parametrize("function", OWN_BRANCH)
@pytest.mark.parametrize("numbers", [[3.5], [-4.0], [-3.6, 5.0]])
def test_a_branch_of_the_backward_alone_is_no_slip(function: Any, numbers: list[float]) -> None:
    """What a backward does beyond a limit that the function doesn't have is no slip of its formula, whatever number it gives
    there: 1 for tanh(4) is no forgotten inner derivative, and no variable in another's place."""
    assert name_slips(at(function, *numbers)) == {"x": None}


def test_a_constant_in_such_a_branch_is_named() -> None:
    """With the right one the gradient is right on both sides of the limit."""
    slip = custom(BENT, lambda g, x, y: g * torch.where(x.abs() > 3, 2 * bent(x), bent(x)))
    assert str(name_slips(at(slip, -3.6, 5.0))["x"]).startswith("the constant 2 stands where 1 belongs in")


def test_a_branch_of_both_is_one() -> None:
    """Where the function has the same pieces, what is wrong on one of them has its name."""
    slip = custom(torch.nn.functional.leaky_relu, lambda g, x, y: torch.where(x > 0, -g, 0.01 * g))
    assert name_slips(at(slip, 3.5))["x"] == "the sign is wrong: autograd is -exact"


def test_a_slip_of_the_neighbours_alone_has_no_name() -> None:
    """What is 2 times the derivative beside the point and 3 times at it is no constant factor at it."""
    slip = custom(torch.sin, lambda g, x, y: g * x.cos() * torch.where(x == 0.5, 3.0, 2.0))
    assert "a constant factor" not in str(name_slips(at(slip, 0.5))["x"])
    assert name_slips(at(slip, 0.75))["x"] == "a constant factor: autograd is 2 times exact"


@pytest.mark.parametrize(("rate", "named"), [(2, True), (50, False)])
def test_what_is_right_where_all_is_calm_is_no_slip(rate: int, named: bool) -> None:
    """exp(50*(x - 3)) is nothing beside x at 0.5: a backward of 1 is right there, and may as well have a limit beyond which it
    isn't. With exp(2*(x - 3)) it is wrong there too, and has dropped a term."""
    slip = custom(lambda x: x + (rate * (x - 3)).exp(), lambda g, x, y: g)
    assert ("a term is dropped" in str(name_slips(at(slip, 3.5))["x"])) is named


def test_a_saturated_function_tells_no_slip() -> None:
    """Where tanh is nearly 1, 1 - t is half of the derivative to nine digits; it is no constant factor."""
    slip = custom(torch.tanh, lambda g, x, y: g * (1 - y))
    assert "constant factor" not in str(name_slips(at(slip, 10.0))["x"])


def test_what_was_not_written_for_other_places() -> None:
    """A function that takes float32 alone, or points near the user's alone, has a verdict and no slip."""

    class Single(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            assert x.dtype is torch.float32
            ctx.save_for_backward(x)
            return torch.erf(x) * x

        @staticmethod
        def backward(ctx: Any, *upstream: torch.Tensor) -> torch.Tensor:
            (x,) = ctx.saved_tensors
            return upstream[0] * (torch.erf(x) + 1.2 * x * torch.exp(-x * x))

    def near(x: torch.Tensor) -> torch.Tensor:
        if not 0.5 < float(x.detach().max()) < 1.2:
            raise KeyError(x)
        return -(x.detach() ** 2) + custom(torch.exp, lambda g, x, y: -g * y)(x)

    report = check_function(Single, at={"x": torch.tensor([0.8, 1.1])})
    assert report.counts["mismatch"] and not any("missing" in str(c.detail) for c in report.checks)
    assert check_function(near, at={"x": 0.8}).counts["mismatch"]


class Sinhc(torch.autograd.Function):
    """sinh(x)/x, whose jvp lacks a division."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        y = torch.sinh(x) / x
        ctx.save_for_backward(x, y)
        ctx.save_for_forward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> Any:
        x, y = ctx.saved_tensors
        return g * (torch.cosh(x) - y) / x

    @staticmethod
    def jvp(ctx: Any, t: torch.Tensor) -> Any:  # type: ignore[override]
        x, y = ctx.saved_tensors
        return t * (torch.cosh(x) / x - y)


def test_a_slip_in_a_part_of_a_jvp() -> None:
    """The chain rule is changed forwards too; a right one has none."""
    assert name_pushed(at(Sinhc.apply, 1.5, -0.5)) == "the factor x is one too many in the term through x[0] in sinh(x[0])/x[0]"
    assert name_pushed(at(lambda x: torch.sinh(x) / x, 1.5, -0.5)) is None


class _Copied(torch.autograd.Function):
    """x*exp(w), whose gradient by w is that by x: the factor x is missing."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, w)
        return x * torch.exp(w)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> Any:
        _, w = ctx.saved_tensors
        return upstream[0] * w.exp(), upstream[0] * w.exp()


def test_a_gradient_that_is_right_is_not_in_the_wrong_place() -> None:
    """That of x is returned twice, and right for x: what lacks is the factor x, the derivative by w being x*exp(w)."""
    inputs = {"x": torch.tensor([1.3, -0.7], dtype=torch.float64), "w": torch.tensor([0.2, 0.9], dtype=torch.float64)}
    found = name_slips(Map(inputs, lambda leaves: {"y": _Copied.apply(leaves["x"], leaves["w"])}))
    assert found.keys() == {"w"} and "wrong order" not in str(found["w"]) and "x[0]*exp(w[0])" in str(found["w"])


class _OtherOfTwo(torch.autograd.Function):
    """The larger of two neighbours, with the gradient given to the smaller one."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        y, i = x.view(-1, 2).max(-1)
        ctx.save_for_backward(i)
        return y

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> torch.Tensor:
        (i,) = ctx.saved_tensors
        out = upstream[0].new_zeros(len(i), 2).scatter_(1, 1 - i[:, None], upstream[0][:, None])
        return out.view(-1)


@pytest.mark.parametrize("numbers", [[1.0, 2.0, 3.0, 4.0], [2.0, 1.0, 4.0, 3.0]])
def test_an_index_that_fits_by_chance(numbers: list[float]) -> None:
    """Where every larger one stands on the same side the gradient is a shifted one; elsewhere it isn't."""
    assert "index" not in str(name_slips(at(_OtherOfTwo.apply, *numbers))["x"])


def test_the_transpose_of_what_is_not_square_is_never_named() -> None:
    """Of 3x2 entries four have a counterpart: they alone are no matrix."""
    x, y = np.arange(6.0).reshape(3, 2), np.arange(4.0).reshape(2, 2)
    shapes = {"x": x.shape, "y": y.shape}
    assert matrices(Trees({}, {}, shapes, {})).keys() == {"y"}
    assert matrices(Trees({}, {}, shapes, {}))["y"]["y[0,1]"] == Variable("y[1,0]")


s = torch.sigmoid
REPAIRED = [
    # a function, its backward, a point, what is said
    (lambda x: x * s(1.702 * x), lambda g, x, y: g * (s(1.702 * x) + 1.7 * x * s(1.702 * x) * (1 - s(1.702 * x))), (0.4, -1.3),
     "the constant 1.7 stands where 1.702 belongs"),
    (torch.nn.functional.softplus, lambda g, x, y: g * torch.where(x > 2, 1.0, s(x)), (2.5, 3.3),
     "x[0] > 2 stands where x[0] > 20 belongs"),
    (lambda x: torch.log(x * x + 1) * x, lambda g, x, y: g * (torch.log(x * x + 1) + 2 * x * x / (x * x + 2)), (0.4, -1.3),
     "the constant 2 stands where 1 belongs in x[0]*x[0] + 2"),
    (lambda x: torch.sqrt(x * x + 1e-3) * x, lambda g, x, y: g * (torch.sqrt(x * x + 1e-3) + x * x / torch.sqrt(x * x)),
     (0.4, -1.3), "x[0]*x[0] stands where x[0]*x[0] + 0.001 belongs"),
    (lambda x: x.clamp(-1, 1) ** 2, lambda g, x, y: g * 2 * x * ((x > -1) | (x < 1)), (0.4, -1.3),
     "x[0] > -1 or x[0] < 1 stands where x[0] > -1 and x[0] < 1 belongs"),
    (lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)),
     lambda g, x, y: g * (0.5 * (1 + torch.erf(x / 2**0.5)) + x * torch.exp(-x * x / 2) / (2 * 3.1416) ** 0.5), (0.4, -1.3),
     "the constant 2.506631205 stands where 2.506628275 belongs"),
    (lambda x: torch.tanh(x) * x, lambda g, x, y: g * (torch.tanh(x) + x * (1 - s(x) ** 2)), (0.4, -1.3),
     "sigmoid(x[0]) stands where tanh(x[0]) belongs"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "backward", "numbers", "text"), REPAIRED, ids=lambda v: str(v)[:20])
def test_one_operation_in_the_place_of_another(function: Any, backward: Any, numbers: Any, text: str) -> None:
    """What stands there and what belongs there, as these backwards were written: sqrt(2*pi) is 2.50662827463 (Abramowitz and
    Stegun, table 1.1)."""
    assert name_slips(at(custom(function, backward), *numbers)) == {"x": text}


class Correlation(Function):
    """A convolution without padding, whose gradient by x needs the kernel the other way round."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return conv2d(x[None, None], w[None, None])[0, 0]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, w = ctx.saved_tensors
        rows, columns = (n - 1 for n in w.shape)
        padded = pad(g, (columns, columns, rows, rows))[None, None]
        return conv2d(padded, w[None, None])[0, 0], conv2d(x[None, None], g[None, None])[0, 0]


class Quadratic(Function):
    """x @ A @ x, with the gradient of a symmetric A."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return x @ w @ x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, w = ctx.saved_tensors
        return g * 2 * (w @ x), g * torch.outer(x, x)


class Bias(Function):
    """A bias, whose gradient is summed along the rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        return w + x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g.sum(1), g


class Chosen(Function):
    """Rows of x by an index that names one twice; gradients are put where they have to be added."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        return x[[0, 2, 0]]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        found = torch.zeros(ctx.shape, dtype=g.dtype)
        found[[0, 2, 0]] = g
        return found


class Averaged(Chosen):
    """The same; gradients are averaged."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        index, counts = torch.tensor([0, 2, 0]), torch.tensor([[2.0], [1.0], [1.0], [1.0]], dtype=g.dtype)
        return torch.zeros(ctx.shape, dtype=g.dtype).index_add(0, index, g) / counts


def _softmax(x: Tensor) -> Tensor:
    return x.softmax(-1)


def _scores(p: Tensor, g: Tensor, dim: int) -> Tensor:
    return p * (g - (g * p).sum(dim, keepdim=True))


class Attention(Function):
    """Scores of queries and keys, softmax over the queries, differentiated as if over the keys."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        p = (x @ w.T).softmax(0)
        ctx.save_for_backward(x, w, p)
        return p

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, w, p = ctx.saved_tensors
        return _scores(p, g, -1) @ w, _scores(p, g, 0).T @ x


class Heads(Function):
    """A layer whose outputs are split into heads, before the positions; one gradient is put together by a reshape."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return (x @ w).view(len(x), 2, -1).transpose(0, 1)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, w = ctx.saved_tensors
        return g.reshape(len(x), -1) @ w.T, x.T @ g.transpose(0, 1).reshape(len(x), -1)


class Interleaved(Function):
    """Two tensors by turns, taken apart as if one stood behind the other."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        return torch.stack([x, w], -1).flatten(-2)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g.chunk(2, -1)


class Gated(Function):
    """A gated linear unit, with the gradients of its halves exchanged."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.nn.functional.glu(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        a, b = ctx.saved_tensors[0].chunk(2, -1)
        s = torch.sigmoid(b)
        return torch.cat([g * a * s * (1 - s), g * s], -1)


class Steepness(Function):
    """w*sigmoid(x*w) for all w, one x; its derivative by that with a factor of sigmoid's missing."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return w * torch.sigmoid(x * w)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, w = ctx.saved_tensors
        s = torch.sigmoid(x * w)
        return (g * w * w * s).sum(0, keepdim=True), g * (s + x * w * s * (1 - s))


class Between(Function):
    """Values between nodes, with the weights of both nodes exchanged: numbers of the function differ from entry to entry."""

    places = torch.tensor([0.2, 1.7, 2.4], dtype=torch.float64)

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        low, part = Between.places.long(), Between.places.frac()
        ctx.shape = x.shape
        return x[low] * (1 - part) + x[low + 1] * part

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        low, part = Between.places.long(), Between.places.frac()
        return torch.zeros(ctx.shape, dtype=g.dtype).index_add(0, low, g * part).index_add(0, low + 1, g * (1 - part))


_OVER = "a sum, or a mean, runs over other entries than it should: it belongs over {}"
_RESHAPED = "the upstream gradient is reshaped where its dimensions have to be permuted"


@pytest.mark.parametrize(
    ("slip", "shapes", "text"),
    [
        (custom(_softmax, lambda g, x, y: _softmax(x) * (g - (g * _softmax(x)).sum())), ((3, 4),), _OVER.format("dimension 1")),
        (custom(_softmax, lambda g, x, y: _scores(_softmax(x), g, 0)), ((3, 4),), _OVER.format("dimension 1")),
        (
            custom(lambda x: x.logsumexp(-1), lambda g, x, y: g[:, None] * x.exp() / x.exp().sum()),
            ((3, 4),),
            _OVER.format("dimension 1"),
        ),
        (custom(lambda x: x - x.mean(0), lambda g, x, y: g - g.mean()), ((3, 4),), _OVER.format("dimension 0")),
        (custom(lambda x: x - x.mean(), lambda g, x, y: g - g.mean(0)), ((3, 4),), _OVER.format("all entries")),
        (
            custom(lambda x: x - x.mean((0, 2), True), lambda g, x, y: g - g.mean((1, 2), True)),
            ((2, 3, 2),),
            _OVER.format("dimensions 0, 2"),
        ),
        (custom(lambda x: x.permute(2, 0, 1).contiguous(), lambda g, x, y: g.reshape(x.shape)), ((2, 3, 4),), _RESHAPED),
        (
            custom(lambda x: torch.nn.functional.pixel_shuffle(x, 2), lambda g, x, y: g.reshape(x.shape)),
            ((1, 4, 2, 3),),
            "the entries are right, and stand in other places",
        ),
        (Attention, ((3, 2), (3, 2)), _OVER.format("dimension 0")),
        (Heads, ((3, 2), (2, 4)), _RESHAPED),
        (Interleaved, ((2, 3), (2, 3)), "the entries of the gradients by x, w are right, and stand in other places"),
        (Steepness, ((1,), (4,)), "the factor 1 - sigmoid(x[0]*w[0]) is missing in the derivative of sigmoid(x[0]*w[0])"),
        (Gated, ((2, 6),), "the two halves are exchanged along dimension 1"),
        (Between, ((5,),), "frac(0.2) stands where 1 - frac(0.2) belongs"),
        (Correlation, ((4, 5), (2, 3)), "the input w is used where its reverse belongs"),
        (Quadratic, ((3,), (3, 3)), "its transpose is missing: all is right only where the input w is symmetric"),
        (Chosen, ((4, 2),), "a term is dropped: of several contributions to an entry the last alone counts, as if assigned"),
        (Bias, ((3,), (3, 3)), _OVER.format("dimension 0")),
        (Averaged, ((4, 2),), "a mean for a sum: several contributions to an entry are averaged"),
    ],
)
def test_what_is_confused_within_a_tensor(slip: Any, shapes: tuple[tuple[int, ...], ...], text: str) -> None:
    """A sum over another dimension, entries in other places, a kernel that isn't flipped, a matrix taken for symmetric, an
    assignment for a sum."""
    draw = torch.Generator().manual_seed(3)
    inputs = {n: torch.randn(shape, dtype=torch.float64, generator=draw) for n, shape in zip("xw", shapes, strict=False)}
    found = name_slips(Map(inputs, lambda leaves: {"y": getattr(slip, "apply", slip)(*leaves.values())}))
    assert found == dict.fromkeys(found, text)
    assert "x" in found


class Weighted(torch.autograd.Function):
    """The squares of numbers, weighted, whose gradient by the weight is averaged over two rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return x**2 * w

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, w = ctx.saved_tensors
        return g * 2 * x * w, (g * x**2).mean(0)


def test_a_constant_that_an_input_does_not_go_through_is_not_missing() -> None:
    """The exponent 2 of another input is no factor of this one's derivative: half of it is a mean over two rows."""
    draw = torch.Generator().manual_seed(3)
    inputs = {n: torch.randn(s, dtype=torch.float64, generator=draw) for n, s in (("x", (2, 3)), ("w", (3,)))}
    found = name_slips(Map(inputs, lambda leaves: {"y": Weighted.apply(*leaves.values())}))
    assert found == {"w": "a mean for a sum: autograd is 1/2 times exact"}

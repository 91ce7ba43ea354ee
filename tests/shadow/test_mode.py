"""The shadow's memory and what it records: views, storages, in-place operations, events, and operations without a row."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy
import torch
import torch.nn.functional as F
from flint import arb, ctx

from gradcheck_cli.algebra import layers as layers_module
from gradcheck_cli.algebra.directions import Precise
from gradcheck_cli.algebra.layers import Exact, Layer, Rounded, Symbolic
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.exact.derivative import tidy
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.formulas.torch_chain import TorchChain
from gradcheck_cli.language.chain import link
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.tree import Variable
from gradcheck_cli.shadow.mode import BITS, Shadow, Trace
from tests.counting import count_calls
from tests.formats import DOUBLE

Tensor = torch.Tensor


def seeded(values: list[float], layers: list[Layer] | None = None) -> tuple[Shadow, Tensor]:
    """A shadow whose cells are 100, 101, ...: not the floats, so that a cell read from a float is seen."""
    shadow = Shadow(layers or [Exact()], len(values))
    x = torch.tensor(values, dtype=torch.float64)
    shadow.seed(x, [[arb(100 + i) for i in range(len(values))] for _ in shadow.layers])
    return shadow, x


def numbers(shadow: Shadow, tensor: Tensor) -> list[float]:
    return [float(c) for c in shadow.cells(tensor, 0)]


# -- memory -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (lambda x: x.view(2, 3), [100, 101, 102, 103, 104, 105]),
        (lambda x: x.view(2, 3).t(), [100, 103, 101, 104, 102, 105]),
        (lambda x: x[1::2], [101, 103, 105]),
        (lambda x: x[4], [104]),
        (lambda x: x.view(2, 3)[1], [103, 104, 105]),
        (lambda x: x[:2].unsqueeze(1).expand(2, 2), [100, 100, 101, 101]),
        (lambda x: x.detach(), [100, 101, 102, 103, 104, 105]),
        (lambda x: x.as_strided((2,), (3,), 1), [101, 104]),
        (lambda x: x.view(2, 3).t().contiguous(), [100, 103, 101, 104, 102, 105]),
        (lambda x: x[2:4].clone(), [102, 103]),
        (lambda x: x.unbind()[3], [103]),
        (lambda x: x[:0], []),
    ],
)
def test_views_need_no_code(view: Callable[[Tensor], Tensor], expected: list[float]) -> None:
    """A view sees the cells of its base through its own size, strides and offset."""
    shadow, x = seeded([0.0] * 6)
    with shadow:
        result = view(x)
    assert numbers(shadow, result) == expected
    assert not shadow.opaque


def test_in_place_writes_reach_every_view() -> None:
    """A storage has one memory: writing through a view changes the base and the other views."""
    shadow, x = seeded([1.0, 2.0, 3.0, 4.0])
    with shadow:
        matrix, head = x.view(2, 2), x[:2]
        matrix.t()[0].mul_(2)
        head.add_(1)
        x[3:].zero_()
        matrix[0, 1] = 7.0
    assert numbers(shadow, x) == [201, 7, 204, 0]
    assert numbers(shadow, head) == [201, 7]


def test_broadcasting_and_scalars() -> None:
    """0-d and 1-d operands meet as in torch; a 0-d tensor has a cell of its own."""
    shadow, x = seeded([1.0, 2.0])
    y = torch.tensor(5.0, dtype=torch.float64)
    shadow.seed(y, [[arb(3)]])
    with shadow:
        a = x * y
        b = x.unsqueeze(1) + x
        c = y - 1
        d = torch.where(x > 101.5, x, y)  # the condition is a truth value of the cells, not of the floats
    assert numbers(shadow, a) == [300, 303]
    assert numbers(shadow, b) == [200, 201, 201, 202]
    assert numbers(shadow, c) == [2]
    assert numbers(shadow, d) == [3, 3]


def test_the_condition_is_followed_in_cells() -> None:
    """Truth values are cells too: numbers as truth values, and truth values as numbers."""
    shadow, x = seeded([1.0, 2.0])
    with shadow:
        mask = x > 100.5
        both = mask & (x < 200)
        a = mask * x
        b = both.to(torch.float64) + 1
        c = torch.where((x - 100).bool(), x, -x)
        d = ~mask
    assert shadow.cells(mask, 0) == [False, True]
    assert shadow.cells(both, 0) == [False, True]
    assert shadow.cells(d, 0) == [True, False]
    assert numbers(shadow, a) == [0, 101]
    assert numbers(shadow, b) == [1, 2]
    assert numbers(shadow, c) == [-100, 101]


def test_unseen_floats_enter_as_they_are() -> None:
    """A tensor that the shadow has never seen is read from its storage, before an in-place operation changes it."""
    shadow, x = seeded([1.0, 2.0])
    other = torch.tensor([0.5, 0.25], dtype=torch.float64)
    half = torch.tensor([1.5, -2.0], dtype=torch.bfloat16)
    exponents = torch.tensor([2, 3])
    with shadow:
        other.mul_(x)
        sums = half + half
        powers = x**exponents
    assert numbers(shadow, other) == [50, 25.25]
    assert numbers(shadow, sums) == [3, -4]
    assert numbers(shadow, powers) == [100**2, 101**3]


def test_sums() -> None:
    """Reductions over some or all axes."""
    shadow, x = seeded([0.0] * 6)
    with shadow:
        matrix = x.view(2, 3)
        whole, rows, columns, mean = x.sum(), matrix.sum(1), matrix.sum(0, keepdim=True), matrix.mean(-1)
    assert numbers(shadow, whole) == [615]
    assert numbers(shadow, rows) == [303, 312]
    assert numbers(shadow, columns) == [203, 205, 207]
    assert numbers(shadow, mean) == [101, 104]


def test_a_storage_is_kept_while_its_cells_are() -> None:
    """Storages that die don't hand their cells to the next tensor at the same address."""
    shadow, x = seeded([1.0])
    with shadow:
        for i in range(50):
            y = x + i
            del y
            gc.collect(0)
            fresh = torch.tensor([float(i)], dtype=torch.float64)
            assert numbers(shadow, fresh * 1) == [i]


def test_conversions_round() -> None:
    """A conversion to a shorter format is a rounding error in the ball that allows for it; to a longer one it is none."""
    layers: list[Layer] = [Exact(), Rounded(FORMATS["float32"])]
    shadow, x = seeded([0.1], layers)
    with shadow:
        short = x.to(torch.float32)
        longer = short.to(torch.float64)
        same = x.clone()
    assert shadow.cells(same, 1)[0].rad() == 0
    assert shadow.cells(short, 0)[0].rad() == 0
    assert float(shadow.cells(short, 1)[0].rad()) == pytest.approx(100 * 2**-24, rel=1e-3)
    assert shadow.cells(longer, 1)[0].rad() == shadow.cells(short, 1)[0].rad()


def test_programs_serve_layers_that_are_alike() -> None:
    """What one layer has compiled isn't compiled again by the next; it follows the precision, and serves no other kind."""
    accuracies, compiled = [], []
    for precision in (64, 256, 64):
        layer = Exact()
        for _ in range(2):
            with ctx.workprec(precision):
                shadow, x = seeded([0.0], [layer])
                with shadow:
                    y = torch.nn.functional.gelu(x) / 3
            accuracies.append(shadow.cells(y, 0)[0].rel_accuracy_bits())
            compiled.append(list(layer.programs.values()))
    assert accuracies[0] == accuracies[1] == accuracies[4] < 70 < 240 < accuracies[2] == accuracies[3]
    assert len(compiled[0]) >= 2 and all(programs == compiled[0] for programs in compiled)
    single = FORMATS["float32"]
    layers = [
        Exact(),
        Exact({10.0: parse("1/0.1")}),
        Rounded(DOUBLE),
        Rounded(single),
        Rounded(DOUBLE, limited=False),
        Precise(),
    ]
    assert len({id(layer.programs) for layer in layers}) == len(layers)
    assert Rounded(single).programs is layers[3].programs and Rounded(DOUBLE).within(single).programs is layers[3].programs


def test_programs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that runs for days keeps so many programs of a kind of layer, the latest."""
    monkeypatch.setattr(layers_module, "KEPT", 3)
    monkeypatch.setattr(layers_module, "_PROGRAMS", {})
    programs, one = Exact().programs, Program([Variable("x")], ["x"], Exact())
    for key in (*range(5), 4):
        programs[key] = one
    assert list(programs) == [2, 3, 4]


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (lambda x: torch.mm(x, x, out=torch.empty(0, dtype=torch.float64)), [20302, 20503, 20706, 20911]),
        (lambda x: torch.cat([x, x[:1]], out=torch.empty(0, dtype=torch.float64)), [100, 101, 102, 103, 100, 101]),
        (lambda x: torch.sort(x, out=(torch.empty(0).double(), torch.empty(0).long()))[0], [100, 101, 102, 103]),
        (lambda x: torch.addmm(x, x, x, out=x), [20402, 20604, 20808, 21014]),
        (lambda x: torch.zeros(2, 2, dtype=torch.float64).addmm_(x, x, beta=0), [20302, 20503, 20706, 20911]),
        (lambda x: x.index_put_((torch.tensor([0, 0]),), x.clone(), accumulate=True), [302, 305, 102, 103]),
        (lambda x: x.scatter_(0, torch.tensor([[1, 0]]), 7.0), [100, 7, 7, 103]),
        (lambda x: x.cumsum_(0), [100, 101, 202, 204]),
        (lambda x: x.fill_diagonal_(5.0), [5, 101, 102, 5]),
        (lambda x: (torch._foreach_mul_([x], 2.0), x)[1], [200, 202, 204, 206]),
        (lambda x: torch.empty(0, dtype=torch.float64).resize_(2, 2).copy_(x), [100, 101, 102, 103]),
    ],
)
def test_writing_operations_of_every_kind(write: Callable[[Tensor], Tensor], expected: list[float]) -> None:
    """`out=`, in place, on lists, over their own arguments: cells follow where floats go."""
    shadow, x = seeded([1.0, 2.0, 3.0, 4.0])
    with shadow:
        result = write(x.view(2, 2))
    assert numbers(shadow, result) == expected
    assert not shadow.opaque


def test_single_numbers_are_constants_and_many_are_data() -> None:
    """A single number may be off by what its author's rounding did; the entries of a tensor stand for themselves."""
    shadow, _ = seeded([1.0])
    single, many = torch.tensor(0.1, dtype=torch.float32), torch.tensor([0.1, 0.2], dtype=torch.float32)
    with shadow:
        noise = torch.rand(1)
    assert shadow.cells(single, 0)[0].rad() > 0
    assert all(cell.is_exact() for cell in shadow.cells(many, 0) + shadow.cells(noise, 0))


def test_layers_can_be_dropped_on_the_way() -> None:
    """After the forward pass the first layers go on alone, over memory that has more and over new memory that has fewer."""
    shadow, x = seeded([1.0, 2.0], [Exact(), Rounded(DOUBLE), Exact()])
    with shadow:
        y = x * x
        shadow.layers = shadow.layers[:1]
        y += x
        z = torch.cat([y, x]).softmax(0) + torch.stack([y, x]).view(-1)
    assert len(shadow.layers) == 1
    assert numbers(shadow, y) == [10100, 10302]
    assert numbers(shadow, z)[0] == pytest.approx(10100)


@pytest.mark.parametrize(
    ("run", "names"),
    [
        (lambda x: x[None].to_sparse_bsc((1, 1)).to_dense(), {"_to_sparse_bsc", "_to_dense"}),
        (
            lambda x: torch.quantize_per_tensor(x.float(), 0.1, 0, torch.qint8).dequantize(),
            {"quantize_per_tensor", "dequantize"},
        ),
        (lambda x: x.view(torch.float32) * 1, {BITS}),
        (lambda x: x.view(torch.int64).clone().view(torch.float64) * 1, {BITS}),
    ],
)
def test_what_is_no_array_of_numbers_is_opaque(run: Callable[[Tensor], Tensor], names: set[str]) -> None:
    """Tensors sparse by blocks, or quantized, and bits seen as another format: undefined cells, no crash, no guess."""
    shadow, x = seeded([1.0, 2.0])
    with shadow:
        result = run(x)
    assert set(shadow.opaque) == names
    assert not any(cell.is_finite() for cell in shadow.cells(result, 0))


def test_no_entries() -> None:
    """Tensors without entries."""
    shadow, x = seeded([1.0, 2.0])
    with shadow:
        empty = x[:0]
        total = torch.cat([empty, empty]).sum() + empty.prod() + empty.view(0, 3).mean(1).sum()
    assert numbers(shadow, total) == [1]


def test_batches_and_derivatives_of_functions() -> None:
    """torch.func, forward mode and checkpoints run through the same operations."""
    shadow, x = seeded([1.0, 2.0, 3.0, 4.0])

    def square(row: Tensor) -> Tensor:
        return row @ row

    with shadow:
        matrix = x.view(2, 2)
        rows = torch.func.vmap(square)(matrix)
        slopes = torch.func.vmap(torch.func.grad(square))(matrix)
        tangent = torch.func.jvp(square, (x,), (torch.ones_like(x),))[1]
        hessian = torch.func.hessian(square)(x)
    assert numbers(shadow, rows) == [100**2 + 101**2, 102**2 + 103**2]
    assert numbers(shadow, slopes) == [200, 202, 204, 206]
    assert numbers(shadow, tangent) == [812]
    assert numbers(shadow, hessian)[:6] == [2, 0, 0, 0, 0, 2]
    assert not shadow.opaque


def test_equal_entries_are_compared_in_a_maximum() -> None:
    """Where entries may be equal, every one counts: the ball of a maximum encloses both, whichever torch's index is."""
    shadow = Shadow([Exact()], 0)
    x = torch.tensor([1.0, 1.0], dtype=torch.float64)
    shadow.seed(x, [[arb(1, 0.5), arb(1, 0.25)]])
    with shadow:
        found = [x.max(0)[0], x.amax(), x.sort()[0][1], x.topk(1)[0], x.kthvalue(2)[0], F.max_pool1d(x[None], 2)]
        least = x.median()
    for tensor in found:
        (cell,) = shadow.cells(tensor, 0)
        assert cell.contains(arb(1.5))
        assert cell.contains(arb(0.75))
    (cell,) = shadow.cells(least, 0)
    assert cell.contains(arb(0.5))
    assert cell.contains(arb(1.25))
    assert not cell.contains(arb(1.5))  # the lower one of the two


# -- events -------------------------------------------------------------------------------------------------------------


def traced(text: str, point: float, dtype: str = "float64", mode: str = "reverse") -> tuple[Trace, float, Any]:
    chain = TorchChain(link([text]), getattr(torch, dtype), "cpu", {})
    x = torch.tensor([point], dtype=getattr(torch, dtype))
    with ctx.workprec(256):
        shadow = Shadow([Exact(), Rounded(FORMATS[dtype])], 1)
        shadow.seed(x, [[arb(x.item())], [arb(x.item())]])
        chain.mark = shadow.mark
        with shadow:
            gradient = chain.differentiate(mode, {"x": x}, [("x",)]).gradients["x",]
        assert gradient is not None
        return shadow.trace, gradient.item(), shadow.cells(gradient, 0)[0]


def test_the_branch_not_taken_is_a_trap() -> None:
    """exp overflows in the branch that where doesn't select: the float is nan, the ball is 1."""
    trace, value, ball = traced("where(x <= 0, exp(x), 1 + x)", 1000.0)
    event = trace.run[0].infinite
    assert (event.operation, event.kind, event.stage) == ("exp", "overflow", "y")
    assert trace.run[0].trap is True
    assert value != value
    assert ball == 1


def test_overflow_of_an_intermediate_result() -> None:
    """log(1 + exp(x)) at 1000: exp is the first operation to leave the range; nothing is multiplied by an exact 0."""
    trace, value, ball = traced("log(1 + exp(x))", 1000.0)
    assert trace.run[0].infinite.operation == "exp"
    assert trace.run[0].trap is False
    assert value != value
    assert float(ball) == 1


def test_underflow_is_named() -> None:
    """atan2 of tiny numbers squares them: the square underflows, and its reciprocal overflows."""
    trace, _, ball = traced("atan2(x, 2*x)", 1e-200)
    assert trace.run[0].tiny.operation in ("mul", "pow")
    assert trace.run[0].tiny.kind == "underflow"
    assert trace.run[0].infinite.operation in ("reciprocal", "div")
    assert ball.contains(0)
    trace, value, ball = traced("exp(-x)", 800.0)
    assert (trace.run[0].tiny.operation, value, ball.contains(0)) == ("exp", 0, False)


def test_undefined_is_no_overflow() -> None:
    """log(0) has no finite value: the event says so."""
    trace, _, _ = traced("log(x)", 0.0)
    assert trace.run[0].infinite.kind == "undefined"


def test_ordinary_points_leave_no_trace() -> None:
    """No events where every float is in range; a float that is exactly 0 by right is none."""
    trace, _, _ = traced("relu(x - 2)*sin(x)", 1.0)
    assert trace == Trace()


def test_events_of_any_operation() -> None:
    """With the size 0 the first operation whose floats leave the range alone is recorded, in whichever entry."""
    shadow = Shadow([Exact()], 0)
    x = torch.tensor([1.0, 800.0], dtype=torch.float64)
    masked = torch.tensor([0.0, -math.inf], dtype=torch.float64)
    with shadow:
        (x.unsqueeze(0) + masked).softmax(1)  # an infinity that was meant
        assert not shadow.trace.run or not shadow.trace.run[0].infinite or shadow.trace.run[0].infinite.kind == "infinite"
        huge = x.exp().sum()
        ratio = huge / huge
    assert (shadow.trace.run[0].infinite.operation, shadow.trace.run[0].infinite.kind) == ("exp", "overflow")
    assert shadow.trace.run[0].trap is not None
    assert ratio.isnan()


# -- operations without a row ---------------------------------------------------------------------------------------------


def test_an_operation_of_another_library_is_followed_through_its_body() -> None:
    """It is looked up in no table, whatever it is called; where its body makes the result otherwise than by operations it is
    opaque by its full name, an undefined ball, and what follows is too."""
    library = torch.library.Library("gradcheck_test", "DEF")  # type: ignore[no-untyped-call]
    bodies = {
        "tanh": ("CPU", lambda x: 2 * x),
        "twice": ("CompositeExplicitAutograd", lambda x: 2 * x),
        "truths": ("CPU", lambda x: x > 0),
        "elsewhere": ("CPU", lambda x: torch.from_numpy(2 * x.numpy())),
        "kernel": ("CPU", lambda x: written(torch.empty_like(x), x)),
    }

    def written(out: Tensor, x: Tensor) -> Tensor:
        np.multiply(x.numpy(), 2, out=out.numpy())
        return out

    for name, (key, body) in bodies.items():
        library.define(f"{name}(Tensor x) -> Tensor")  # type: ignore[no-untyped-call]
        library.impl(name, body, key)  # type: ignore[no-untyped-call]
    operations = torch.ops.gradcheck_test
    for name, opaque in (("tanh", []), ("twice", []), ("elsewhere", ["elsewhere"]), ("kernel", ["kernel"])):
        shadow, x = seeded([1.0])
        with shadow:
            y = getattr(operations, name)(x) + 1
            mask = operations.truths(x)  # truth values are taken from the floats
            z = torch.where(mask, x, -x)
        assert list(shadow.unfollowed) == [f"gradcheck_test::{n}" for n in opaque]
        assert shadow.cells(y, 0)[0].is_finite() is not bool(opaque)
        assert numbers(shadow, z) == [100]
    library._destroy()  # type: ignore[no-untyped-call]


# -- layers -------------------------------------------------------------------------------------------------------------


def test_symbols_decompile_the_backward_pass() -> None:
    """A backward formula with a missing factor is read off the operations."""

    class Bad(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return torch.sigmoid(x) * x

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            s = torch.sigmoid(x)
            return torch.mul(gradient, s + x * s)

    shadow = Shadow([Symbolic()], 1)
    x = torch.tensor([0.3], dtype=torch.float64)
    shadow.seed(x, [[sympy.Symbol("x", real=True)]])
    with shadow:
        leaf = x.detach().requires_grad_()
        y: Tensor = Bad.apply(leaf)  # type: ignore[no-untyped-call]
        y.backward(torch.ones_like(y))  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    assert tidy(shadow.cells(leaf.grad, 0)[0]) == "(x + 1)/(1 + exp(-x))"
    assert tidy(shadow.cells(y, 0)[0]) == "x/(1 + exp(-x))"


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("where(x > 0, x**2, x)", "2*x*where(x > 0, 1, 0) + where(x > 0, 0, 1)"),
        ("relu(x)", "where(x <= 0, 0, 1)"),
        ("leaky_relu(x, 0.25)", "where(x > 0, 1, 0.25)"),
        ("erf(x)", "2*exp(-x**2)/sqrt(pi)"),
        ("2**x", "2**x*log(2)"),
        ("log10(x)", "1/(x*log(10))"),
        ("gelu(x)", "(sqrt(2)*x*exp(-x**2/2)/sqrt(pi) + erf(sqrt(2)*x/2) + 1)/2"),
    ],
)
def test_symbols_are_legible(text: str, formula: str) -> None:
    """What is shown: conditions, torch's constants by name, no fractions of twenty digits."""
    shadow = Shadow([Symbolic()], 1)
    x = torch.tensor([0.3], dtype=torch.float64)
    shadow.seed(x, [[sympy.Symbol("x", real=True)]])
    with shadow:
        outcome = TorchChain(link([text]), torch.float64, "cpu", {}).differentiate("grad", {"x": x}, [("x",)])
    gradient = outcome.gradients["x",]
    assert gradient is not None
    assert tidy(shadow.cells(gradient, 0)[0]) == formula


def test_rounded_scalars() -> None:
    """A Python number that the format holds is exact, any other is rounded once."""
    short = Rounded(FORMATS["float16"])
    assert short.scalar(0.75).is_exact()
    assert not short.scalar(0.1).is_exact()
    assert Rounded(DOUBLE).scalar(0.1).is_exact()
    assert Rounded(DOUBLE).scalar(float("inf")) == arb("inf")


def test_a_point_is_cheap() -> None:
    """One point through silu and its backward, once warm, takes fewer than 1,500 calls (728 were counted)."""
    layers: list[Layer] = [Exact(), Rounded(DOUBLE)]
    chain = TorchChain(link(["silu(x)"]), torch.float64, "cpu", {})

    def point() -> None:
        x = torch.tensor([0.3], dtype=torch.float64)
        shadow = Shadow(layers, 1)
        shadow.seed(x, [[arb(0.3)], [arb(0.3)]])
        with shadow:
            chain.differentiate("reverse", {"x": x}, [("x",)])

    point()
    assert count_calls(point) < 1_500


def test_one_operation_does_something_else_to_each_entry() -> None:
    """Of four entries one overflows, one underflows, one is nan where exact arithmetic has no value, and one is ordinary."""
    values = [800.0, -800.0, 0.0, 1.0]
    shadow, x = Shadow([Exact()], len(values)), torch.tensor(values, dtype=torch.float64)
    shadow.seed(x, [[arb(value) for value in values]])
    with shadow:
        grown, undefined = x.exp(), (x - x) / (x * (x - 1))
    marks = shadow.trace.marks(grown)
    assert marks.keys() == {0, 1}
    assert (marks[0].infinite.kind, marks[0].tiny) == ("overflow", None)
    assert (marks[1].infinite, marks[1].tiny.kind) == (None, "underflow")
    marks = shadow.trace.marks(undefined)
    assert {index: mark.infinite.kind for index, mark in marks.items()} == {2: "undefined", 3: "undefined"}


def test_what_happened_is_told_of_what_came_of_it() -> None:
    """A number bears the marks of what it was made of, through views, copies and writes in place, and no others."""
    shadow, x = seeded([800.0], [Exact()])
    with shadow:
        huge = x.exp()
        moved = (huge.reshape(1, 1) * 2).clone()[0]
        other = x + 1
        written = torch.zeros(1, dtype=torch.float64)
        written.add_(huge)
    for tensor in (huge, moved, written):
        assert {mark.infinite.operation for mark in shadow.trace.marks(tensor).values() if mark.infinite} == {"exp"}
    assert not shadow.trace.marks(other)


def test_without_limits_nothing_underflows() -> None:
    """Rounded to a format without limits of its exponents, a product of tiny numbers keeps its digits."""
    with ctx.workprec(256):
        for limited in (True, False):
            shadow, x = seeded([100.0], [Exact(), Rounded(DOUBLE, limited=limited)])
            with shadow:
                y = x * 1e-200 * 1e-200 * 1e300
            assert shadow.cells(y, 1)[0].contains(0) is limited
            assert shadow.cells(y, 1)[0].overlaps(shadow.cells(y, 0)[0])

"""The derivative of any torch function: every entry certified, and what is wrong found, named and measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gradcheck_cli.maps.check import Found, check_map, check_values
from gradcheck_cli.maps.forward import Forward
from gradcheck_cli.maps.map import Map, every_row, gradient, random_row
from gradcheck_cli.maps.meant import Meant
from gradcheck_cli.maps.probe import Options
from gradcheck_cli.maps.reverse import Reverse
from gradcheck_cli.verdict.column import Check
from gradcheck_cli.verdict.verdicts import Cause, Verdict
from tests.custom_functions.elementwise import custom

F64 = torch.float64


def tensor(*values: Any, dtype: torch.dtype = F64) -> Tensor:
    return torch.tensor(values, dtype=dtype)


def a_map(function: Callable[..., Tensor], **inputs: Tensor) -> Map:
    return Map(inputs, lambda leaves: {"y": function(*leaves.values())})


def checked(function: Callable[..., Tensor], rows: bool = False, mode: str = "reverse", **inputs: Tensor) -> Found:
    map = a_map(function, **inputs)
    outputs = map(map.leaves())
    return check_map(map, every_row(outputs) if rows else [random_row(outputs, 0)], Options(), mode=mode)


def entries(found: Found) -> list[Check]:
    return [column.check(i) for column in found.columns for i in range(len(column))]


def verdicts(found: Found) -> set[tuple[str, str | None]]:
    return {(c.verdict.value, None if c.cause is None else c.cause.value) for c in entries(found)}


def silu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def right(g: Tensor, x: Tensor, y: Tensor) -> Tensor:
    s = torch.sigmoid(x)
    return g * (s + x * s * (1 - s))


def test_the_rows_of_a_jacobian_are_named_and_exact():
    """d(x*y)[i]/dx[j] is y[i] where i = j and 0 elsewhere."""
    found = checked(lambda x, y: x * y, rows=True, x=tensor(2, 4), y=tensor(1, 3))
    by_name = {c.quantity: c for c in entries(found)}
    assert {n: c.exact for n, c in by_name.items() if "/dx" in n} == {
        "dy[0]/dx[0]": "1", "dy[0]/dx[1]": "0", "dy[1]/dx[0]": "0", "dy[1]/dx[1]": "3",
    }  # fmt: skip
    assert all(c.verdict is Verdict.MATCH for c in by_name.values())
    assert by_name["dy[1]/dy[1]"].wrt == ("y[1]",)


FUNCTIONS: Mapping[str, tuple[Callable[[Tensor], Tensor], Callable[[float], float]]] = {
    "sin": (torch.sin, math.cos),
    "exp(sin)": (lambda x: torch.exp(torch.sin(x)), lambda x: math.exp(math.sin(x)) * math.cos(x)),
    "x**3": (lambda x: x**3, lambda x: 3 * x * x),
    "log1p(x*x)": (lambda x: torch.log1p(x * x), lambda x: 2 * x / (1 + x * x)),
    "in place": (lambda x: x.clone().mul_(2).sin_(), lambda x: 2 * math.cos(2 * x)),
    "control flow": (lambda x: x.sin() if x.sum() > 0 else x.cos(), math.cos),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_right_functions_match_in_every_format(name: str, dtype: str):
    """Nothing is refuted, and the exact value is the derivative by hand, at the floats of the format."""
    function, slope = FUNCTIONS[name]
    x = tensor(0.3, 1.7, -0.9, 2.5, dtype=getattr(torch, dtype))
    found = checked(function, rows=True, x=x)
    assert verdicts(found) <= {("match", None), ("imprecise", None)}
    diagonal = [c for c in entries(found) if c.quantity in {f"dy[{i}]/dx[{i}]" for i in range(4)}]
    for check, value in zip(diagonal, x.double().tolist(), strict=True):
        assert float(check.exact or "nan") == pytest.approx(slope(value), rel=1e-13)


@pytest.mark.parametrize("error", [10.0**-k for k in range(1, 16)])
def test_every_relative_error_is_a_wrong_formula(error: float):
    """A backward off by 1e-1 down to 1e-15 is refuted wherever its error shows in the float."""
    found = checked(custom(silu, lambda g, x, y: right(g, x, y) * (1 + error)), x=tensor(0.5, -1.5, 2.5))
    if error > 5e-15:
        assert verdicts(found) == {("mismatch", "formula")}
    exact = [float(c.exact or "nan") for c in entries(found)]
    reference = checked(silu, x=tensor(0.5, -1.5, 2.5))
    assert exact == [float(c.exact or "nan") for c in entries(reference)]


LARGE = pytest.param(5_000, marks=pytest.mark.slow(reason="5,000 entries"))


@pytest.mark.parametrize("size", [10, 1000, LARGE])
def test_one_wrong_element_is_found_among_many(size: int):
    """The direction is cut down to the entry whose derivative is off by 1e-9, and no other is accused."""

    def spoiled(g: Tensor, x: Tensor, y: Tensor) -> Tensor:
        result = right(g, x, y)
        result[size // 3] *= 1 + 1e-9
        return result

    found = checked(custom(silu, spoiled), x=torch.linspace(-2, 2, size, dtype=F64))
    wrong = [c.quantity for c in entries(found) if c.verdict is Verdict.MISMATCH]
    assert wrong == [f"d<v,y>/dx[{size // 3}]"]


@pytest.mark.parametrize("slip", ["scaled", "zeroed", "shifted", "negated"])
@pytest.mark.parametrize("size", [100, 2000])
@pytest.mark.slow(reason="thousands of entries")
def test_a_slip_in_all_elements_is_found(slip: str, size: int):
    """Everything times 1.01, zeroed, shifted by one, negated."""
    slips = {
        "scaled": lambda g, x, y: right(g, x, y) * 1.01,
        "zeroed": lambda g, x, y: torch.zeros_like(g),
        "shifted": lambda g, x, y: right(g, x, y).roll(1),
        "negated": lambda g, x, y: -right(g, x, y),
    }
    found = checked(custom(silu, slips[slip]), x=torch.linspace(-2, 2, size, dtype=F64))
    assert ("mismatch", "formula") in verdicts(found)


def test_a_right_custom_backward_matches():
    """The original of the mutants above isn't refuted, at hard points either."""
    x = tensor(0.0, 40.0, -40.0, 1e-300, -1e-8, 700.0, -700.0, 5e-324)
    assert not {c.cause for c in entries(checked(custom(silu, right), x=x))} & {Cause.FORMULA, Cause.KERNEL, Cause.VALUE}


def test_rounding_is_told_from_a_wrong_formula():
    """sigmoid at 40 loses its digits to cancellation: imprecise; the neighbours match."""
    found = checked(torch.sigmoid, x=tensor(40, 1, -2))
    assert [c.verdict for c in entries(found)] == [Verdict.IMPRECISE, Verdict.MATCH, Verdict.MATCH]


def test_a_trap_is_told_from_a_wrong_formula():
    """where's branch that isn't taken overflows: nan, by the operation named."""
    found = checked(lambda x: torch.where(x <= 0, x.exp(), 1 + x), x=tensor(1000, 1, -2))
    first, *others = entries(found)
    assert (first.verdict, first.cause) == (Verdict.MISMATCH, Cause.NAN_TRAP)
    assert all(c.verdict is Verdict.MATCH for c in others)


def test_kinks_are_judged_by_both_sides():
    """abs at 0: both sides are known and 0 is admissible; relu(x) - relu(-x) has a derivative there, which autograd misses."""
    first, *others = entries(checked(torch.abs, rows=True, x=tensor(0, 1)))
    assert (first.verdict, first.left, first.right, first.side) == (Verdict.NONDIFFERENTIABLE, "-1", "1", "neither")
    assert all(c.verdict is Verdict.MATCH for c in others)
    bad = entries(checked(lambda x: torch.relu(x) - torch.relu(-x), rows=True, x=tensor(0, 1)))[0]
    assert (bad.verdict, bad.cause, bad.exact) == (Verdict.MISMATCH, Cause.KINK, "1")


def test_the_side_is_told_of_each_entry():
    """At kinks and jumps of several entries at once: whose slope autograd's is, and on which side the value lies."""
    kinks = entries(checked(lambda x: torch.where(x > 0, x * x, 3 * x), rows=True, x=tensor(0, 1, 0)))
    assert [(c.left, c.right, c.side) for c in kinks if c.verdict is not Verdict.MATCH] == [("3", "0", "left")] * 2
    jumps = entries(checked(lambda x: torch.where(x > 0, 1 + 2 * x, x) + torch.fmod(x, 2), rows=True, x=tensor(0, 2, -2)))
    told = [(c.side, (c.detail or "").rpartition("from ")[2]) for c in jumps if c.verdict is not Verdict.MATCH]
    assert told == [("left", "the left"), ("both", "the right"), ("both", "the left")]


def test_none_for_a_derivative_that_is_not_zero_is_no_gradient():
    """A detached factor is missing from the gradient; an input that isn't used is rightly None."""
    bad = entries(checked(lambda x, y: x * y.detach(), x=tensor(2, 3), y=tensor(5, 7)))
    assert {(c.wrt[0][0], c.verdict, c.cause) for c in bad} == {
        ("x", Verdict.MATCH, None), ("y", Verdict.MISMATCH, Cause.NO_GRADIENT),
    }  # fmt: skip
    assert verdicts(checked(lambda x, y: x * 2, x=tensor(2, 3), y=tensor(5, 7))) == {("match", None)}


def test_forward_mode_is_judged_too():
    """A jvp rule with a missing factor is refuted, the right one isn't."""

    def with_jvp(factor: float) -> Callable[[Tensor], Tensor]:
        class Custom(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Tensor) -> Tensor:
                ctx.save_for_forward(x)
                return x.sin()

            @staticmethod
            def jvp(ctx: Any, tangent: Tensor) -> Tensor:
                (x,) = ctx.saved_tensors
                return tangent * x.cos() * factor

        return Custom.apply  # type: ignore[no-any-return]

    assert verdicts(checked(with_jvp(1), mode="forward", x=tensor(1, 2))) == {("match", None)}
    assert verdicts(checked(with_jvp(1.001), mode="forward", x=tensor(1, 2))) == {("mismatch", "formula")}
    assert verdicts(checked(torch.atan, mode="forward", x=tensor(1, 2))) == {("match", None)}


def test_the_double_backward_is_the_derivative_of_the_backward():
    """A saved intermediate that is detached breaks the second derivative only."""

    class Detached(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.sine = x.detach().sin()
            ctx.save_for_backward(x)
            return x.sin() ** 2

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return gradient * 2 * ctx.sine * x.cos()

    for function, expected in ((lambda x: x.sin() ** 2, Verdict.MATCH), (Detached.apply, Verdict.MISMATCH)):
        map = a_map(function, x=tensor(0.5, 1.5))
        row = random_row(map(map.leaves()), 1)
        assert verdicts(check_map(map, [row], Options())) == {("match", None)}
        twice = gradient(map, row)
        found = check_map(twice, [random_row(twice(twice.leaves()), 2)], Options())
        assert max(entries(found), key=lambda c: c.verdict.severity).verdict is expected


def test_an_opaque_operation_is_named_and_undecided():
    """What has no row in the table of operations is never guessed."""
    library = torch.library.Library("gradcheck_tests", "FRAGMENT")
    library.define("mystery(Tensor x) -> Tensor")
    library.impl("mystery", lambda x: torch.from_numpy(np.sin(x.detach().numpy())), "CPU")
    function = custom(lambda x: torch.ops.gradcheck_tests.mystery(x), lambda g, x, y: g * x.cos())
    found = checked(function, x=tensor(1, 2))
    assert found.opaque == ("gradcheck_tests::mystery",)
    assert verdicts(found) == {("undecided", None)}
    assert all("mystery" in (c.detail or "") for c in entries(found))


def sine(layer: Any, inputs: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """The formula sin(x), for any layer."""
    from gradcheck_cli.language.functions import TABLE

    function = layer.function(TABLE["sin"])
    return {"y": [function(cell) for cell in inputs["x"]]}


def test_a_formula_decides_where_the_code_is_opaque():
    """With the mathematics given, a right backward behind NumPy passes and one that is off by 1e-3 is refuted."""
    for factor, expected in ((1, ("match", None)), (1.001, ("mismatch", "formula"))):
        function = custom(lambda x: torch.from_numpy(np.sin(x.detach().numpy())), lambda g, x, y, f=factor: g * x.cos() * f)
        map = a_map(function, x=tensor(1, 2))
        found = check_map(map, [random_row(map(map.leaves()), 0)], Options(), meant=Meant(map, sine))
        assert verdicts(found) == {expected}


def test_the_forward_is_judged_against_a_formula():
    """Another function than the formula has the cause `value`; the right one matches."""
    for function, expected in ((torch.sin, ("match", None)), (lambda x: x.sin() * (1 + 1e-9), ("mismatch", "value"))):
        there = a_map(function, x=tensor(1, 2))
        (column,) = check_values(there, Meant(there, sine), Options(), {})
        assert {(c.verdict.value, c.cause and c.cause.value) for c in map(column.check, range(2))} == {expected}


NUMPY = {
    "numpy": custom(lambda x: torch.from_numpy(np.sin(x.detach().numpy())), lambda g, x, y: g * x.cos()),
    "numpy backward": custom(
        lambda x: x.sin(), lambda g, x, y: torch.from_numpy(g.numpy() * np.cos(x.numpy()) * np.exp(1e-3) * np.exp(-1e-3))
    ),
    "item": lambda x: x * 0 + torch.stack([torch.tensor(math.sin(v.item()), dtype=F64) for v in x]),
    "list": custom(lambda x: torch.tensor([math.sin(v) for v in x.tolist()], dtype=F64), lambda g, x, y: g * x.cos()),
}


@pytest.mark.parametrize("name", NUMPY)
def test_what_leaves_torch_is_not_taken_for_a_constant(name: str):
    """Numbers that went through NumPy or Python depend on the input without torch's knowledge: never a mismatch by a wrong
    derivative of a constant. Where torch's own gradient lacks them, a difference quotient sees it."""
    found = entries(checked(NUMPY[name], x=tensor(1.1, 2.2, 0.7)))
    if name == "item":
        (wrong,) = [c for c in found if c.verdict is Verdict.MISMATCH]
        assert wrong.cause is Cause.FORMULA and "refuted by a difference quotient" in str(wrong.detail)
    else:
        assert not any(c.verdict is Verdict.MISMATCH for c in found)


@pytest.mark.parametrize("count", [3, 300])
def test_a_backward_through_numpy_is_judged(count: int):
    """The truth comes from the forward pass: a right backward is certified, and of few entries nothing had to be followed; one
    that is off by 1e-3 is a mismatch. A forward pass through NumPy stays unknown."""
    x = torch.linspace(0.5, 2.0, count, dtype=F64)

    def through(factor: float) -> Callable[..., Tensor]:
        return custom(lambda x: x.sin(), lambda g, x, y: torch.from_numpy(g.numpy() * np.cos(x.numpy()) * factor))

    right, wrong = (checked(through(factor), x=x) for factor in (1.0, 1.001))
    assert {c.verdict for c in entries(right)} == {Verdict.MATCH}
    assert bool(right.opaque) is (count > 256)
    assert {c.verdict for c in entries(wrong)} == {Verdict.MISMATCH}
    unknown = entries(checked(NUMPY["numpy"], x=x))
    assert unknown and not any(c.verdict in (Verdict.MATCH, Verdict.MISMATCH) for c in unknown)


def test_constants_of_the_code_are_followed():
    """Tensors and numbers that don't depend on the input are data: the derivative is exact in them."""
    weights = torch.rand(3, dtype=torch.float32).double() / 3
    found = checked(lambda x: (x * weights * 0.1).sum() + weights.sum(), x=tensor(1, 2, 3))
    assert verdicts(found) == {("match", None)}
    slipped = custom(lambda x: x * weights, lambda g, x, y: g * weights * (1 + 1e-11))
    assert verdicts(checked(slipped, x=tensor(1, 2, 3))) == {("mismatch", "formula")}


@pytest.mark.parametrize("size", [1e-30, 1e-100, 1e-300])
def test_a_zeroed_gradient_is_found_however_small(size: float):
    """Entries where torch has 0 are certified apart from the others, which would hide them."""

    def zeroed(g: Tensor, x: Tensor, y: Tensor) -> Tensor:
        result = g * x.cos() * torch.tensor([1.0, 1.0, size], dtype=F64)
        return result * tensor(1, 1, 0)

    function = custom(lambda x: x.sin() * torch.tensor([1.0, 1.0, size], dtype=F64), zeroed)
    assert [c.verdict for c in entries(checked(function, x=tensor(1, 2, 3)))] == [
        Verdict.MATCH, Verdict.MATCH, Verdict.MISMATCH,
    ]  # fmt: skip


def test_what_cancels_to_zero_is_zero():
    """The derivative of sin**2 + cos**2 is certified to be 0 at every entry, and rounding explains what torch has."""
    found = checked(lambda x: x.sin() ** 2 + x.cos() ** 2, x=torch.linspace(-3, 3, 50, dtype=F64))
    assert {v for v, _ in verdicts(found)} <= {"match", "imprecise"}
    assert {c.exact for c in entries(found)} == {"0"}


def test_each_input_is_judged_in_its_own_format():
    """Next to a float32 input, a float64 one still has to be right to float64."""

    class Mixed(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
            ctx.save_for_backward(x, w)
            return x.sin() * 2 + w.double()

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
            x, _ = ctx.saved_tensors
            return gradient * x.cos() * 2 * (1 + 1e-9), gradient.float()

    found = checked(Mixed.apply, x=tensor(1, 2), w=tensor(1, 2, dtype=torch.float32))
    assert [(c.wrt[0][0], c.dtype, c.verdict) for c in entries(found)] == [
        ("x", "float64", Verdict.MISMATCH), ("x", "float64", Verdict.MISMATCH),
        ("w", "float32", Verdict.MATCH), ("w", "float32", Verdict.MATCH),
    ]  # fmt: skip


def test_constants_that_are_rounded_make_no_formula_wrong():
    """gelu's tail cancels; that its two constants are doubles next to 1/sqrt(2) and 1/sqrt(2*pi) is no slip."""

    def backward(g: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return g * (0.5 * (1 + torch.erf(x / math.sqrt(2))) + x * torch.exp(-x * x / 2) / math.sqrt(2 * math.pi))

    gelu = custom(lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))), backward)
    found = checked(gelu, x=tensor(-4.5, -6, -9.5, 1, 0.1))
    assert {v for v, _ in verdicts(found)} <= {"match", "imprecise"}


def test_whether_a_row_was_followed_is_a_fact_of_the_row() -> None:
    """An output that was changed behind torch's back leaves its own row undecided, in whatever order rows are asked."""

    def damaged(x: Tensor) -> Tensor:
        y = x.sin()
        y.detach().numpy()[1] += 0.5
        return y

    map = a_map(damaged, x=tensor(0.3, 1.7, 0.9))
    rows = every_row(map(map.leaves()))
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        columns = Reverse(map, [rows[k] for k in order], Options(), "derivative", {}, None).check()
        assert {k: column.verdict(k) is Verdict.MATCH for k, column in zip(order, columns, strict=True)} == {
            0: True,
            1: False,
            2: True,
        }


class Cancelling(torch.autograd.Function):
    """0.3*x - 3*(0.1*x), which is meant to be 0, as both rules say, and isn't in doubles."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 0.3 - x * 0.1 * 3

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * 0

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return tangent * 0


@pytest.mark.parametrize(("prober", "mode"), [(Forward, "forward"), (Reverse, "reverse")])
def test_what_judging_excuses_stays_out_of_the_certificates(prober: Any, mode: str) -> None:
    """The slack of constants is given to the entry that is judged; what the prober has certified stays as it was, forwards and
    backwards."""
    map = a_map(Cancelling.apply, x=tensor(0.7, 1.7))
    rows = every_row(map(map.leaves()))
    work = prober(map, rows, Options(), "total", {}, None, mode)
    columns = work.check()
    assert {v for column in columns for v in column.counts()} <= {Verdict.MATCH, Verdict.IMPRECISE}
    certified = work._truths["y"] if prober is Forward else [work._truths[k][k] for k in range(len(rows))]
    assert not any(ball.contains(0) for ball in certified)


@pytest.mark.parametrize("y", [7.033614514661936e257, 1e100, 3e-300])
def test_witnesses_are_refined_before_they_disagree(y: float) -> None:
    """logaddexp far from its corner, at orders 1 and 2: quotients of a value of 1e257 need more bits than others. No witness is
    in doubt, and what autograd makes of it (nan, where exp overflows) has a cause."""
    from gradcheck_cli import check_function

    for order in (1, 2):
        report = check_function(lambda x, y: torch.logaddexp(x, y), at={"x": tensor(-4.6)[0], "y": tensor(y)[0]}, order=order)
        assert not [c.detail for c in report.checks if "witness" in (c.detail or "")]
        assert Verdict.UNDECIDED not in report.counts


def test_a_quotient_that_is_too_wide_says_nothing() -> None:
    """The second witness denies only what it knows to be otherwise."""
    from gradcheck_cli.algebra.directions import value_of
    from gradcheck_cli.algebra.number import exactly, working
    from gradcheck_cli.algebra.precision import QUOTIENT
    from gradcheck_cli.maps.probe import Probe
    from gradcheck_cli.maps.second import confirms

    map = a_map(torch.exp, x=tensor(0.5))
    probe = Probe(map, [], Options(), "total", {}, None)

    def asked(total: float, radius: float = 0.0) -> bool | None:
        with working(QUOTIENT):
            size = exactly(1)
            return confirms(
                probe, np.array([1.0]), [(lambda cells: value_of(cells["y"][0]), exactly(total) + _ball(radius), size)]
            )

    assert asked(1.6487212707001282) is True
    assert asked(1.65) is False
    assert asked(1.6487212707001282, 0.5) is None


def _ball(radius: float) -> Any:
    from flint import arb

    return arb(0, radius)

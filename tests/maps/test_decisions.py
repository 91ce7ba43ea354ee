"""Decisions that code takes from its data: their borders are kinks, and what rounding alone decided is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gradcheck_cli.maps.check import BRANCH
from gradcheck_cli.maps.probe import SINGULAR
from gradcheck_cli.verdict.verdicts import Verdict
from tests.maps.test_check import checked, entries, tensor, verdicts

FINE, KINK = "match", "nondifferentiable"
JUMP = (KINK, None, None)
"""The slopes beside a jump are no one-sided derivatives."""


def written(x: Tensor) -> Tensor:
    y = x * 1
    y[x >= 1] = y[x >= 1] * 3
    return y.sum()


def written_zero(x: Tensor) -> Tensor:
    y = 2 * x
    y[x > 0] = 0
    return y.sum()


# name -> (function, point, of each entry: the verdict and the derivatives from the left and from the right (None: not there))
BORDERS: dict[str, tuple[Callable[[Tensor], Tensor], list[float], list[tuple[str, Any, Any]]]] = {
    "mask": (lambda x: torch.sqrt(x)[x > 0].sum(), [0, 1], [(KINK, "0", "inf"), (FINE, None, None)]),
    "masked_select": (lambda x: x.masked_select(x > 0).sum(), [0, 2], [(KINK, "0", "1"), (FINE, None, None)]),
    "nonzero": (lambda x: x[(x > 1).nonzero().squeeze(1)].prod(), [1, 2], [(KINK, "0", "2"), (FINE, None, None)]),
    "where's indices": (lambda x: x[torch.where(x > 0)].sum(), [0, 2], [(KINK, "0", "1"), (FINE, None, None)]),
    "masked_scatter": (lambda x: x.masked_scatter(x > 0, 2 * x).sum(), [0], [(KINK, "1", "2")]),
    "masked_fill": (lambda x: x.masked_fill(x > 0, 0).sum(), [0, -1], [(KINK, "1", "0"), (FINE, None, None)]),
    "index_put, a number": (written_zero, [0, -1], [(KINK, "2", "0"), (FINE, None, None)]),
    "index_put, a tensor": (written, [1, 2, -3], [JUMP, (FINE, None, None), (FINE, None, None)]),
    "if": (lambda x: x[0] * x[0] if x[0] >= 1 else 3 * x[0] - 2, [1], [(KINK, "3", "2")]),
    "if, of a number": (lambda x: x[0] * x[0] if x[0].item() >= 1 else 3 * x[0] - 2, [1], [(KINK, "3", "2")]),
    "if, of a float": (lambda x: x.sum() * 2 if float(x.sum()) > 1 else x.sum() * 3 - 1, [0.5, 0.5], [(KINK, "3", "2")] * 2),
    "if, of a whole number": (
        lambda x: x[0] * 2 if int(x[0]) >= 1 else x[0] * 3 - 1,
        [1, 7],
        [(KINK, "3", "2"), (FINE, None, None)],
    ),
    "if equal": (lambda x: x[0] * 2 if torch.equal(x[0], x[1]) else x[0] * 3, [1, 1], [JUMP, JUMP]),
    "Python's min": (lambda x: min(x, key=lambda v: v.item()), [1, 1, 1, 2], [*[(KINK, "1", "0")] * 3, (FINE, None, None)]),
    "if any": (lambda x: x.sum() * 2 if (x > 0).any() else x.sum() * 3, [0, -1], [JUMP, (FINE, None, None)]),
    "if all": (lambda x: x.sum() * 2 if (x >= 0).all() else x.sum() * 3, [0, 1], [JUMP, (FINE, None, None)]),
    "a tie of two, if": (lambda x: x[0] if x[0] > x[1] else x[1], [1, 1], [(KINK, "0", "1"), (KINK, "0", "1")]),
    "argmax": (lambda x: 2 * x[x.argmax()], [3, 1, 3], [(KINK, "0", "2"), (FINE, None, None), (KINK, "0", "2")]),
    "argmin": (
        lambda x: x.gather(0, x.argmin(0, keepdim=True)).sum(),
        [3, 1, 1],
        [(FINE, None, None), *[(KINK, "1", "0")] * 2],
    ),
    "topk": (lambda x: x.topk(1)[0].sum(), [1, 1, 1, 0], [*[(KINK, "0", "1")] * 3, (FINE, None, None)]),
    "topk's indices": (lambda x: x[x.topk(1)[1]].sum(), [1, 1, 1, 0], [*[(KINK, "0", "1")] * 3, (FINE, None, None)]),
    "median": (lambda x: x.median(), [0, 0, 0, 1, 2], [*[(KINK, "0", "1")] * 3, *[(FINE, None, None)] * 2]),
    "kthvalue": (lambda x: x.kthvalue(3)[0], [2, 2, 2, 5], [*[(KINK, "0", "1")] * 3, (FINE, None, None)]),
    "max": (lambda x: x.max(0)[0], [1, 1, 1], [(KINK, "0", "1")] * 3),
    "quantile": (lambda x: x.quantile(0.5), [1, 1, 1, 2], [*[(KINK, "0", "0.5")] * 3, (FINE, None, None)]),
    "bucketize": (
        lambda x: (tensor(1, 2)[torch.bucketize(x, tensor(0.0))] * x).sum(),
        [0, 3],
        [(KINK, "1", "2"), (FINE, None, None)],
    ),
    "a whole number": (lambda x: (tensor(1, 2, 3)[x.long()] * x).sum(), [1, 0.5], [JUMP, (FINE, None, None)]),
    "a count": (lambda x: x.sum() / (x > 0).sum(), [0, 1], [JUMP, (FINE, None, None)]),
    "exclusive or": (lambda x: (x * ((x > 0) ^ (x > 1))).sum(), [0, 2], [(KINK, "0", "1"), (FINE, None, None)]),
    "isnan": (lambda x: torch.where(torch.isnan(torch.sqrt(x)), 0, torch.sqrt(x)).sum(), [0], [(KINK, None, "inf")]),
    "isfinite": (lambda x: (1 / x)[torch.isfinite(1 / x)].sum(), [0, 1], [JUMP, (FINE, None, None)]),
    "nan_to_num": (
        lambda x: torch.nan_to_num(-torch.log(x), 0.0, 0.0, 0.0).sum(),
        [0, 2],
        [JUMP, (FINE, None, None)],
    ),
    "an assertion": (
        lambda x: (x + 1).sqrt().sum() if (x >= 0).all() else 1 / 0,
        [0, 3],
        [(KINK, None, "0.5"), (FINE, None, None)],
    ),
}


@pytest.mark.parametrize("name", BORDERS)
def test_a_decision_at_its_border_is_a_kink(name: str):
    """The derivative of an entry whose smallest move changes a decision is taken from both sides; the others' are certified."""
    function, point, wanted = BORDERS[name]
    found = checked(function, rows=True, x=tensor(*point))
    assert [(c.verdict.value, c.left, c.right) for c in entries(found) if not c.quantity.startswith("d<")] == wanted
    assert not found.opaque


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x.sort()[0] * tensor(1, 5, 2, 7)).sum(),
        lambda x: (x.sort(descending=True)[0] * tensor(1, 5, 2, 7)).sum(),
        lambda x: (x[x.argsort()] * tensor(1, 5, 2, 7)).sum(),
        lambda x: (x.topk(3)[0] * tensor(1, 5, 2)).sum(),
        lambda x: x.quantile(0.4),
        lambda x: (x.cummax(0)[0] * tensor(1, -5, 2, 7)).sum(),
        lambda x: x.mode()[0],
    ],
)
def test_any_order_of_several_equal_numbers_is_admissible(function: Callable[[Tensor], Tensor]):
    """Of three or more equal entries one stands in the middle, where neither of its own sides takes it; torch's choice, the
    derivative at points beside this one, is no mismatch."""
    found = checked(function, rows=True, x=tensor(3, 3, 3, 1))
    assert {v for v, _ in verdicts(found)} <= {"match", "nondifferentiable"}
    assert entries(found)[3].verdict is Verdict.MATCH


def test_a_median_of_equal_numbers_has_torchs_derivative_beside_them():
    """One of four equal numbers alone moves no median, neither way: a derivative of 1 is one of points where all differ."""
    found = entries(checked(lambda x: x.median(0)[0], rows=True, x=tensor(1, 1, 1, 1)))
    chosen = [c for c in found if c.autograd]
    assert {c.verdict for c in found if not c.autograd} == {Verdict.MATCH}
    assert {c.verdict for c in chosen} == {Verdict.NONDIFFERENTIABLE}
    assert all("beside this point" in str(c.detail) for c in chosen)


def test_a_kink_that_isnt_one_stays_a_mismatch():
    """relu(x) - relu(-x) is x: no point beside 0 has torch's derivative 0, nor has one of x - y at a tie."""
    assert verdicts(checked(lambda x: F.relu(x) - F.relu(-x), x=tensor(0.0))) == {("mismatch", "kink")}
    found = checked(lambda x, y: F.relu(x - y) - F.relu(y - x), x=tensor(1.0), y=tensor(1.0))
    assert verdicts(found) == {("mismatch", "kink")}


def left_out(x: Tensor) -> Tensor:
    s = torch.sigmoid(x)
    y = (1 - s) * x
    y[s == 1] = 0
    return y


@pytest.mark.parametrize("function", [left_out, lambda x: ((1 - x.sigmoid()) * x).masked_fill(x.sigmoid() == 1, 0)])
def test_a_mask_by_rounding_alone_is_told(function: Callable[[Tensor], Tensor]):
    """sigmoid(40) rounds to 1, and isn't: the entry belongs to the function, and the text says who left it out."""
    (entry,) = (c for c in entries(checked(function, rows=True, x=tensor(40.0))) if not c.quantity.startswith("d<"))
    assert entry.verdict is Verdict.IMPRECISE
    assert str(entry.exact).startswith("-1.65685815956371969")
    assert "rounding alone made eq decide otherwise" in str(entry.detail)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.sigmoid(-x)[torch.sigmoid(x) != 1].sum(),
        lambda x: torch.sigmoid(-x)[(torch.sigmoid(x) != 1).nonzero()].sum(),
        lambda x: torch.sigmoid(-x).masked_select(torch.sigmoid(x) != 1).sum(),
    ],
)
def test_a_selection_by_rounding_alone_is_undecided(function: Callable[[Tensor], Tensor]):
    """Where rounding left an entry out, what follows has another shape: nothing is certified, and the text says why."""
    for entry in entries(checked(function, x=tensor(40.0, 1.0))):
        assert entry.verdict is Verdict.UNDECIDED
        assert "rounding alone made a mask" in str(entry.detail)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * 0 if x.sigmoid() == 1 else 1 - x.sigmoid(),
        lambda x: x * 0 if (x.sigmoid() == 1).all() else 1 - x.sigmoid(),
        lambda x: torch.stack([x * 0, 1 - x.sigmoid()])[int((x.sigmoid() != 1).long())],
    ],
)
def test_a_branch_by_rounding_alone_is_told(function: Callable[[Tensor], Tensor]):
    """Where rounding alone sends Python another way, the derivative is the function's all the same, and the text says so."""
    found = checked(function, rows=True, x=torch.tensor(40.0, dtype=torch.float64))
    entry = entries(found)[0]
    assert entry.verdict is Verdict.IMPRECISE
    assert str(entry.exact).startswith("-4.24835425529158")
    assert "rounding alone made" in str(entry.detail)


def test_a_branch_by_rounding_alone_beside_lost_digits():
    """The same where rounding is followed in the run that knows the derivatives, which is taken again on the exact way."""

    def function(x: Tensor) -> Tensor:
        y = torch.sin(1e4 * x[1])
        for _ in range(6):
            y = torch.sin(y) * 1.5 + y * 0.25
        return torch.stack([x[0] * 0 if x[0].sigmoid() == 1 else 1 - x[0].sigmoid(), y])

    first, second = entries(checked(function, x=tensor(40.0, 0.3)))
    assert first.verdict is Verdict.IMPRECISE and first.exact is not None and first.rounding_error == 1.0
    assert "rounding alone made" in str(first.detail) and second.verdict is Verdict.MATCH


def test_a_mask_of_a_single_number_is_a_branch():
    """Python itself is asked whether a mask without dimensions is true."""
    entry = entries(checked(left_out, rows=True, x=torch.tensor(40.0, dtype=torch.float64)))[0]
    assert entry.verdict is Verdict.IMPRECISE
    assert str(entry.exact).startswith("-1.65685815956371969")


def test_an_output_that_changes_its_shape_is_undecided():
    """Beside a border the output itself may have another number of entries."""
    found = entries(checked(lambda x: x[x > 1], x=tensor(1.0, 2.0)))
    assert [c.verdict for c in found] == [Verdict.UNDECIDED, Verdict.MATCH]
    assert "another number of entries" in str(found[0].detail)


def test_iterations_end_where_torch_ends_them():
    """Comparisons that only rounding makes true end a loop in every layer, and the derivative is the one of what ran."""

    def root(x: Tensor) -> Tensor:
        y, before, steps = x.clone(), x * 0, 0
        while (y != before).any():
            if steps > 20:
                raise RuntimeError
            steps += 1
            before, y = y, (y + x / y) / 2
        return y

    found = checked(root, x=tensor(2.0, 3.0, 5.0))
    assert verdicts(found) == {("match", None)}
    assert found.notes == (BRANCH,)
    assert checked(lambda x: x if x.sum() > 0 else 2 * x, x=tensor(40.0)).notes == ()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("at", [0.0, 2 / 3, -2 / 3, 1 / 3, 1.0, -1.0, 0.1])
def test_an_index_and_its_weight_belong_together(at: float, align: bool, dtype: torch.dtype):
    """At pixels that are whole up to rounding, grid_sample may take the pixel on either side: each with its own weight."""
    grid = torch.tensor([[[[at, 0.0]]]], dtype=dtype)
    found = checked(
        lambda x: F.grid_sample(x.reshape(1, 1, 1, 3), grid, align_corners=align), x=torch.tensor([1.0, 2.0, 4.0], dtype=dtype)
    )
    assert {v for v, _ in verdicts(found)} <= {"match", "imprecise"}
    assert not found.opaque


def test_a_whole_pixel_is_a_kink_of_the_grid():
    """The slope of an interpolation changes at a pixel: both are admissible there."""
    image = tensor(1, 2, 4).reshape(1, 1, 1, 3)
    found = checked(lambda g: F.grid_sample(image, g.reshape(1, 1, 1, 2), align_corners=True).sum(), g=tensor(0.0, 0.0))
    first = entries(found)[0]
    assert first.verdict is Verdict.NONDIFFERENTIABLE
    assert first.left != first.right


def test_wrong_gradients_behind_decisions_are_refuted():
    """A mask, an order or a branch hides no slip away from its border."""

    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * x

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            return gradient

    for function in (
        lambda x: Twice.apply(x)[x > 1].sum(),
        lambda x: Twice.apply(x).sort()[0].cumsum(0).sum(),
        lambda x: Twice.apply(x)[x.argmax()],
        lambda x: Twice.apply(x).sum() if x.sum() > 0 else x.sum(),
        lambda x: Twice.apply(x).masked_select(x > 1).sum(),
    ):
        assert ("mismatch", "formula") in verdicts(checked(function, x=tensor(2.0, 3.0, -1.0)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_a_singular_value_of_0_has_a_kink(dtype: torch.dtype) -> None:
    """The smaller singular value of [[1, 1], [1, 1]] is |det|/2 beside it: by an entry it goes by 1/2 to either side."""
    found = checked(lambda x: torch.linalg.svdvals(x)[1], rows=True, x=torch.ones(2, 2, dtype=dtype))
    for entry in entries(found)[:4]:
        assert (entry.verdict, entry.left, entry.right) == (Verdict.NONDIFFERENTIABLE, "-0.5", "0.5")


class Cosine(torch.autograd.Function):
    """The sine, whose backward is wrong where a condition holds."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, where: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(x)
        ctx.where = where
        return x.sin()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return g * x.cos() * (1 + 0.01 * ctx.where(x)), None


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_what_code_compares_with_is_the_float_that_it_has(dtype: torch.dtype) -> None:
    """A backward that is 1 % too large where x is 0.3, or at most 0.3, in one of several ways to write that, is wrong at 0.3:
    0.3 may stand for 3/10 where it is computed with, not where it is compared with."""
    at, number = torch.tensor(0.3, dtype=dtype), torch.tensor(0.3, dtype=dtype).item()
    for where in (lambda x: x == 0.3, lambda x: x == number, lambda x: x == at, lambda x: x <= 0.3, lambda x: ~(x > at)):
        found = checked(lambda x, w=where: Cosine.apply(x, w), x=torch.tensor([0.3, 1.5], dtype=dtype))
        assert verdicts(found) == {("mismatch", "formula"), (FINE, None)}
    right = checked(lambda x: Cosine.apply(x, lambda x: x < 0.3), x=torch.tensor([0.3, 1.5], dtype=dtype))
    assert verdicts(right) == {(FINE, None)}


def test_each_of_many_kinks_has_its_sides() -> None:
    """More zeros of a ReLU than are looked at whatever they cost have one-sided derivatives, while that takes little."""
    found = checked(torch.relu, x=torch.zeros(SINGULAR + 6, dtype=torch.float64))
    assert verdicts(found) == {(KINK, None)}


def test_a_jump_at_a_float_that_is_no_short_fraction() -> None:
    """A function that jumps at 0.3, checked at 0.3, has no derivative there, as one that jumps at 0.5 has none."""
    for border in (0.3, 0.5):
        found = checked(lambda x, b=border: torch.where(x <= b, 2 * x, x + 1), x=tensor([border, 1.5]))
        assert verdicts(found) == {(KINK, None), (FINE, None)}

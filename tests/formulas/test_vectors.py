"""Chains on arrays, end to end: exact against a quotient of mpmath's that owes nothing to the package, torch in every mode."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mpmath import mp, mpf

from gradcheck_cli import InputError, check_chain, check_grad, check_hessian, check_jacobian, check_mixed
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.tree import variables
from tests.references import CASES, evaluate, numbers, places

pytestmark = pytest.mark.slow(reason="whole checks of arrays, entry by entry")

each_case = pytest.mark.parametrize(("text", "reference"), [case[1:] for case in CASES], ids=[case[1] for case in CASES])


def at(text: str) -> dict[str, Any]:
    """The seeded point of the references, for the inputs of a text."""
    values = numbers()
    return {name: np.vectorize(float)(values[name]).tolist() for name in variables(parse(text))}


@each_case
@pytest.mark.slow(reason="every row of the table")
def test_jacobians_of_every_row(text: str, reference: Callable[..., Any]) -> None:
    """Every entry of the Jacobian is the reference's difference quotient to 15 digits, and torch's is verified."""
    mp.dps = 60
    report = check_jacobian(text, at=at(text))
    assert report.ok, str(report)
    values, step = numbers(), mpf(10) ** -25
    for name in variables(parse(text)):
        for entry, place in places(name):
            moved = [{**values, name: values[name].copy()} for _ in (1, -1)]
            for sign, point in zip((1, -1), moved, strict=True):
                point[name][place] += sign * step
            above, below = (evaluate(reference, point) for point in moved)
            slopes = np.asarray((above - below) / (2 * step), dtype=object).ravel()
            found = [check for check in report.checks if check.wrt == (entry,)]
            assert len(found) == len(slopes)
            for check, slope in zip(found, slopes, strict=True):
                assert abs(mpf(check.exact or "nan") - slope) <= mpf(10) ** -15 * max(1, abs(slope)), check


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("text", ["sum(x*y)", "softmax(x)[0]", "norm(x)", "x @ W", "layer_norm(A, [3])[0]", "mse(x, y)"])
def test_other_dtypes(text: str, dtype: str) -> None:
    """Correct code is verified in every dtype, at the floats of that dtype."""
    report = check_jacobian(text, at=at(text), dtype=dtype)
    assert report.ok, str(report)
    assert {check.dtype for check in report.checks} == {dtype}


@pytest.mark.parametrize("text", ["sum(x*y)", "softmax(x)", "A @ x", "cross_entropy(A, [2, 0])", "norm(x + [1, s, 2])"])
@pytest.mark.slow(reason="Jacobians and Hessians in every mode")
def test_all_modes(text: str) -> None:
    """Hooks, autograd.grad, dual numbers and torch.func give the same verified entries, second derivatives too."""
    first, second = check_jacobian(text, at=at(text), mode="all"), check_hessian(text, at=at(text), mode="all")
    for report in (first, second):
        assert report.ok, str(report)
        assert {check.mode for check in report.checks} == {"reverse", "grad", "forward", "func"}


def test_a_chain_shows_every_entry_from_the_output_back() -> None:
    """Stages come before inputs, each entry has a row, and every stage is checked by itself."""
    report = check_chain(["z = W@x", "y = sum(z**2)"], at={"W": [[1, 2], [3, 4]], "x": [1, -1]})
    shown = [(check.quantity, check.exact, check.autograd) for check in report.checks if check.kind == "total"]
    assert shown == [
        ("dy/dy", "1", 1.0), ("dy/dz[0]", "-2", -2.0), ("dy/dz[1]", "-2", -2.0),
        ("dy/dW[0,0]", "-2", -2.0), ("dy/dW[0,1]", "2", 2.0), ("dy/dW[1,0]", "-2", -2.0), ("dy/dW[1,1]", "2", 2.0),
        ("dy/dx[0]", "-8", -8.0), ("dy/dx[1]", "-12", -12.0),
    ]  # fmt: skip
    own = [check.quantity for check in report.checks if check.kind == "local"]
    assert own[:3] == ["dy/dz[0]", "dy/dz[1]", "dz[0]/dW[0,0]"]
    assert len(own) == 10
    assert report.ok


def test_mixed_takes_entries() -> None:
    """`--wrt` names entries, in that order and the other."""
    report = check_mixed("sum(x*y**2)*x[0]", "x[0], y[1]", at="x=[1,2],y=[3,4]")
    shown = [(c.quantity, c.exact) for c in report.checks]
    assert shown == [("df/dx[0]", "50"), ("d2f/dx[0]dy[1]", "16"), ("d2f/dy[1]dx[0]", "16")]
    assert report.ok


def test_a_gradient_of_an_array_has_the_rows_of_the_jacobian() -> None:
    """Where torch's grad raises, the entries of the output come one after the other, zeros included."""
    report = check_grad("x**2", at="x=[1,2]")
    assert [(c.quantity, c.exact, c.autograd) for c in report.checks] == [
        ("df[0]/dx[0]", "2", 2.0), ("df[0]/dx[1]", "0", 0.0), ("df[1]/dx[0]", "0", 0.0), ("df[1]/dx[1]", "4", 4.0),
    ]  # fmt: skip


def test_several_outputs() -> None:
    """Each expression is an output, scalar or not, with a name of its own."""
    report = check_jacobian(["x*y", "u = sum([x, y, 2*y])"], at="x=2,y=3")
    assert [(c.quantity, c.exact) for c in report.checks] == [("df1/dx", "3"), ("df1/dy", "2"), ("du/dx", "1"), ("du/dy", "3")]
    report = check_jacobian(["x*y", "x@z"], at="x=[2,3],y=[4,5],z=[6,7]")
    assert [len([c for c in report.checks if c.of == of]) for of in ("f1[0]", "f1[1]", "f2")] == [4, 4, 4]
    report = check_jacobian(["W@x", "s*x[0]"], at={"W": [[1, 2]], "x": [3, 4], "s": 5})
    assert all(c.point == {"W": [[1, 2]], "x": [3, 4], "s": 5} for c in report.checks), (
        "an input that it doesn't need is there too"
    )


def test_both_orders_of_a_hessian() -> None:
    """A Hessian has n*n entries."""
    report = check_hessian("x[0]**2*x[1]", at="x=[2,3]")
    assert [c.exact for c in report.checks] == ["6", "4", "4", "0"]
    assert report.checks[3].autograd == 0.0
    assert report.ok


class Scaled(torch.autograd.Function):
    """exp of a vector of three, with an error of 1e-9 in one entry of the gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return torch.exp(x)

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        (x,) = ctx.saved_tensors
        return upstream[0] * torch.exp(x) * torch.tensor([1.0, 1.0 + 1e-9, 1.0], dtype=x.dtype)


def test_a_wrong_entry_is_named() -> None:
    """One wrong entry of a custom backward is a mismatch of the formula, blamed on its stage; the others match."""
    point = {"W": [[1, 2, 0], [3, 4, 1]], "x": [0.5, 0.25, 2]}
    report = check_chain(["h = exp(x)", "y = sum(tanh(W@h/10))"], at=point, callables={"exp": Scaled.apply})
    wrong = [check for check in report.checks if check.verdict == "mismatch"]
    assert [c.quantity for c in wrong] == ["dy/dx[1]", "dh[1]/dx[1]"]
    assert {(c.cause, c.stage) for c in wrong} == {("formula", "h[1]")}
    assert all(c.formula_error is not None and math.isclose(c.formula_error, 1e-9, rel_tol=1e-6) for c in wrong)


def test_the_formula_of_autograd_has_entries() -> None:
    """What autograd applies is decompiled in the names of the entries."""
    report = check_grad("sum(exp(x)*y)", at="x=[1,2,3],y=[1,1,2]", callables={"exp": lambda x: torch.exp(x).detach()})
    check = next(c for c in report.checks if c.quantity == "df/dx[0]")
    assert (check.verdict, check.cause) == ("mismatch", "no_gradient")
    report = check_grad("sum(x*y)", at="x=[1,2],y=[3,4]", verbose=True)
    assert [c.autograd_formula for c in report.checks] == ["y[0]", "y[1]", "x[0]", "x[1]"]


def test_traps_of_arrays_are_found() -> None:
    """A nan that leaks from an entry that isn't selected, a tie, and an infinite slope."""
    trap = check_grad("sum(where(x > 0, sqrt(x), x))", at="x=[1,0,-1]").checks
    assert [(c.verdict, c.cause) for c in trap] == [("match", None), ("nondifferentiable", None), ("mismatch", "nan_trap")]
    tie = check_grad("max(x)", at="x=[1,1,0]").checks
    assert [c.verdict.value for c in tie] == ["nondifferentiable", "nondifferentiable", "match"]
    assert check_grad("norm(x)", at="x=[0,0]").verdict == "nondifferentiable"
    assert check_grad("sum(x/y)", at="x=[1,2],y=[0,1]").checks[0].verdict == "outside_domain"


@pytest.mark.parametrize(
    ("text", "claim", "verdicts"),
    [
        ("sum(x*y)", "x=y", ["match", "match"]),
        ("sum(x*y)", "y[1] = x[1]", ["match"]),
        ("sum(x*y)", "x=y[0]", ["match", "mismatch"]),
        ("x*y", "x=diag(y)", ["match"] * 4),
        ("x*y", "x[0]=[y[0], 0]", ["match"] * 2),
        ("x*y", "x=y", ["match"] * 2),
    ],
)
def test_claims(text: str, claim: str, verdicts: list[str]) -> None:
    """A claim of an array is a claim of every entry, in the order output by input; one of an entry is about that."""
    report = check_grad(text, at="x=[2,4],y=[1,3]", claim=claim)
    assert [c.verdict.value for c in report.checks if c.claim] == verdicts


def test_labels_are_constants() -> None:
    """Targets of cross_entropy are whole numbers, in the text or as an input; nothing is differentiated by them."""
    inside = check_grad("cross_entropy(x, [0,2])", at="x=[[1,2,3],[0,1,0]]")
    outside = check_grad("F.cross_entropy(x, t)", at={"x": [[1, 2, 3], [0, 1, 0]], "t": [0, 2]})
    assert [c.exact for c in inside.checks] == [c.exact for c in outside.checks]
    assert {c.wrt[0][0] for c in outside.checks} == {"x"}
    assert outside.ok


def test_targets_are_labels_or_probabilities() -> None:
    """The shape of a target says what it is, and an input that is a probability is differentiated by; weights are constants."""
    x = [[1, 2, 3], [0, 1, 0]]
    at: dict[str, Any] = {"x": x, "w": [1, 2, 4]}
    labels = check_chain(["z = 2*x", "F.cross_entropy(z, t, weight=w)"], at=at | {"t": [0, -100]})
    shares = check_chain(["z = 2*x", "F.cross_entropy(z, t, w)"], at=at | {"t": [[0, 1, 0], [0.5, 0.25, 0.25]]})
    assert labels.ok and shares.ok
    assert {c.wrt[0][0] for c in labels.checks} == {"x", "z", "y"}
    assert {c.wrt[0][0] for c in shares.checks} == {"x", "z", "y", "t"}


@pytest.mark.parametrize(
    "text",
    ["x[0, :, [0, 1]]", "x[[0, 1], :, [2, 1]]", "x[:, [0, 1], [2, 1]]", "x[..., [0, 1]]", "x[[[0], [1]], 0]",
     "x[[0, 1], None, ..., [0, 1]]", "x[1:, [0], None, 1:]", "x[-1, t, 2]", "x[t[0], t]"],
)  # fmt: skip
def test_lists_of_places_are_torchs(text: str) -> None:
    """Where lists, numbers and slices meet, entries stand where torch puts them: each entry of x is found at torch's place."""
    numbers = np.arange(12.0).reshape(2, 2, 3)
    expected = eval(text, {"x": torch.tensor(numbers), "t": torch.tensor([1, 0])})
    report = check_jacobian(text, at={"x": numbers, "t": [1, 0]} if "t" in text else {"x": numbers})
    assert report.ok
    slopes = np.array([float(c.exact or "nan") for c in report.checks]).reshape(-1, 12)
    assert (slopes.argmax(1) == expected.numpy().ravel()).all()
    assert (slopes.sum(1) == 1).all()


def test_json_has_lists() -> None:
    """A point has a list for a vector, a list of lists for a matrix; `wrt` names entries."""
    report = check_grad("sum(A@x)", at="A=[[1,2],[3,4]],x=[5,6]", dtype="float32").to_dict()
    json.dumps(report, allow_nan=False)
    assert report["checks"][0]["point"] == {"A": [[1, 2], [3, 4]], "x": [5, 6]}
    assert report["checks"][-1]["quantity"] == "df/dx[1]"
    assert report["checks"][-1]["wrt"] == ["x[1]"]
    assert report["problem"]["shapes"] == {"A": [2, 2], "x": [2]}


def test_points_are_drawn() -> None:
    """`shape` draws seeded arrays; the samples of a domain are verified."""
    report = check_grad("logsumexp(x)*sum(y)", shape="x=3", sample=6, domain={"x": (-5, 5), "y": (0, 1)}, seed=4)
    assert report.ok
    assert len({str(check.point) for check in report.checks}) == 6
    assert all(len(check.point["x"]) == 3 and min(check.point["x"]) >= -5 for check in report.checks)


def test_a_large_jacobian_lists_what_depends() -> None:
    """Of 144 outputs by 288 inputs only the entries that can differ from 0 are listed; the others are seen to be 0."""
    rng = np.random.default_rng(0)
    point = {"A": rng.normal(size=(6, 6)), "B": rng.normal(size=(6, 6))}
    report = check_jacobian("A@B", at=point)
    assert report.counts == {"match": 432}
    assert report.notes == ["2,160 derivatives that must be 0 are 0 in torch too, and aren't listed"]


class Leak(torch.autograd.Function):
    """exp of every entry, whose backward adds to each entry a part of the next one's gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return torch.exp(x)

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        (x,) = ctx.saved_tensors
        return upstream[0] * torch.exp(x) + 1e-12 * upstream[0].roll(1)


def test_what_must_be_zero_is_looked_at() -> None:
    """An entry that isn't listed because it must be 0 is listed, as a mismatch, where torch's isn't."""
    report = check_jacobian("exp(x)", at={"x": np.linspace(0, 1, 40)}, callables={"exp": Leak.apply})
    wrong = [c for c in report.checks if c.verdict == "mismatch"]
    assert {c.quantity for c in wrong} == {f"df[{i}]/dx[{(i + 1) % 40}]" for i in range(40)}


@pytest.mark.slow(reason="10,000 entries")
def test_a_gradient_of_ten_thousand_entries() -> None:
    """Long sums are differentiated in pieces that are alike: the cost is that of the entries."""
    report = check_grad("sum(x**2)", at={"x": np.linspace(-1, 1, 10_000)})
    assert report.counts == {"match": 10_000}


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (
            lambda: check_grad("x*y", at="x=[1,2],y=[1,2,3]"),
            "shapes that don't fit: x has shape (2,), y has shape (3,)\n  x*y\n    ^",
        ),
        (
            lambda: check_chain(["z = 2*x", "y = z@z + z[2]"], at="x=[1,2]"),
            "index 2 is out of bounds: z has shape (2,)\n  y = z@z + z[2]\n            ^",
        ),
        (lambda: check_mixed("sum(x)", "x", at="x=[1,2]"), "'x' is an array: name entries of it, wrt=\"x[0]\"\n  x\n  ^"),
        (lambda: check_mixed("sum(x*y)", "x,y", at="x=[1,2],y=[3,4]"),
         "'x' is an array: name entries of it, wrt=\"x[0],y[0]\"\n  x,y\n  ^"),
        (
            lambda: check_grad("sum(x)", at="x=[1,2]", claim="x=[1,2,3]"),
            "the formula has shape (3,); the output has (), and what it is differentiated by (2,): shapes that don't fit\n"
            "  x=[1,2,3]\n  ^",
        ),
        (
            lambda: check_grad("cross_entropy(x, t)", shape="x=3"),
            "'t' holds labels or weights, which are not drawn: give one list of numbers for all points",
        ),
        (
            lambda: check_jacobian(["u = x*y", "x + u"]),
            "an output can't be called 'u': an input of another is called so\n  u = x*y\n  ^",
        ),
        (lambda: check_hessian("norm(x)", shape="x=40"), "1,600 derivatives are too many: at most 1,000 are checked"),
        (
            lambda: check_jacobian("softmax(x)", shape="x=300"),
            "more than 50,000 derivatives are too many: index the output, or the inputs",
        ),
    ],
)  # fmt: skip
def test_bad_input(check: Callable[[], object], message: str) -> None:
    """Shapes, names and sizes are checked before torch sees them."""
    with pytest.raises(InputError) as caught:
        check()
    assert str(caught.value) == message

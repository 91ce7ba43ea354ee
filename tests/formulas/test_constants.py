"""What is meant to be constant: `detach`, factories, stages that no input moves. Against quotients of mpmath's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mpmath import mp, mpf

from gradcheck_cli import InputError, check_chain, check_grad

MODES = ["reverse", "grad", "forward", "func"]

HELD: dict[str, Callable[[Any, Any], Any]] = {
    "x*detach(x)": lambda x, held: x * held,
    "sin(x)*torch.exp(x).detach() + x": lambda x, held: mp.sin(x) * mp.exp(held) + x,
    "x + stop_gradient(round(x) - x)": lambda x, held: x + (mp.nint(held) - held),
    "exp(x - detach(abs(x)))*x": lambda x, held: mp.exp(x - abs(held)) * x,
    "detach(x*detach(x))*x**2": lambda x, held: held * held * x**2,
}


def quotient(function: Callable[[Any, Any], Any], x: float, order: int = 1) -> Any:
    """The derivative by the first argument alone, at 60 digits."""
    mp.dps = 60
    return mp.diff(lambda t: function(t, mpf(x)), mpf(x), order, h=mpf(10) ** -15)


@pytest.mark.parametrize("text", HELD)
def test_what_is_detached_is_held_where_it_is(text: str) -> None:
    """The derivative is that of the formula in which it doesn't move, of both orders and in all modes; torch's matches it."""
    for x in (0.3, -1.7, 2.5):
        report = check_grad(text, at={"x": x}, order=2, mode="all")
        assert report.verdict == "match", str(report)
        assert len(report.checks) == 8
        for check in report.checks:
            slope = quotient(HELD[text], x, len(check.wrt))
            assert abs(mpf(check.exact or "nan") - slope) <= mpf(10) ** -13 * max(1, abs(slope)), check


def test_a_kink_beside_what_is_held() -> None:
    """Limits from both sides move the rest alone: of |x|*(|x| + 1), its second factor held, they are -1 and 1 at 0; a kink in
    what is held is none."""
    (check,) = check_grad("abs(x)*detach(abs(x) + 1)", at={"x": 0}).checks
    assert (check.verdict, check.left, check.right) == ("nondifferentiable", "-1", "1")
    (check,) = check_grad("relu(x)*detach(3*relu(x)) + x", at={"x": 0}).checks
    assert (check.verdict, check.exact) == ("match", "1")
    (check,) = check_grad("where(x > 0, x*detach(log(x)), x)", at={"x": -1}).checks
    assert (check.cause, check.exact) == ("nan_trap", "1")


def test_a_wrong_gradient_of_what_is_held_is_refuted() -> None:
    """A claim that moves what is detached is false, and one that doesn't is true."""
    assert check_chain("x*detach(x)", at={"x": 3}, claim="2*x").verdict == "mismatch"
    assert check_chain("x*detach(x)", at={"x": 3}, claim="x").ok


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("stages", "at", "expected"),
    [
        (["c = 3", "y = c*x"], 5, {"c": 5, "x": 3}),
        (["c = 3", "d = 2*c", "y = d*c*x"], 5, {"c": 60, "d": 15, "x": 18}),
        (["z = detach(x)", "y = z*x**2"], 5, {"z": 25, "x": 50}),
        (["u = 2*x", "z = detach(u)", "y = z*u"], 5, {"z": 10, "u": 10, "x": 20}),
        (["c = ones_like(x)", "y = sum(c*x)"], [5], {"c[0]": 5, "x[0]": 1}),
    ],
)
def test_stages_that_nothing_moves(stages: list[str], at: Any, expected: dict[str, float], mode: str) -> None:
    """torch has the derivative by a stage that is constant, as by any other."""
    report = check_chain(stages, at={"x": at}, mode=mode)
    assert report.verdict == "match", str(report)
    found = {check.wrt[0]: check.autograd for check in report.checks if check.kind == "total"}
    assert {name: found[name] for name in expected} == expected


def test_entries_that_a_condition_chooses() -> None:
    """Where the condition changes there is a kink, or none, as the function has it; the number of entries may change from point
    to point; no entry at all has no mean."""
    report = check_grad("sum(x[x > 0]**2)", at={"x": [0, -1, 2]}, mode="all")
    assert report.verdict == "match", str(report)
    assert {check.exact for check in report.checks} == {"0", "4"}
    (check,) = check_grad("sum(x[x > 0])", at={"x": [0]}).checks
    assert (check.verdict, check.left, check.right) == ("nondifferentiable", "0", "1")
    assert check_grad("mean(x[abs(x) < 1]**2)", shape={"x": (3,)}, sample=12, seed=4, domain={"x": (-2, 2)}).ok
    assert check_grad("mean(x[x > 5])", at={"x": [1, 2]}).verdict == "outside_domain"
    assert check_grad("sum(exp(A[A > 0.5]))", at={"A": [[1, 2], [0, 3]]}, dtype="float32").verdict == "match"


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        (["z = x[x > 0]", "sum(z)"], "as many entries as a condition chooses have no shape: take their sum"),
        (["softmax(x[x > 0])"], "have no shape"),
        (["sum(x[x > 0]*y)"], "mul of as many entries as a condition chooses isn't followed"),
        (["sum(x[x > 0]*y[y > 1])"], "entries that different conditions choose don't meet"),
        (["sum(sort(x[x > 0]))"], "sort of as many entries"),
        (["sum(x[:1][x > 0])"], "a condition chooses among entries of its own shape: x[:1] has shape (1,)"),
        (["sum(eye(100000))*x[0]"], "an array of 10,000,000,000 entries; at most 10,000 are followed"),
        (["sum(zeros(0))*x[0]"], "an array of shape (0,) has no entries"),
        (["sum(arange(1, 5, 0))*x[0]"], "its step is not 0"),
        (["sum(eye(1, 2, 3))*x[0]"], "eye takes one number, or two"),
    ],
)
def test_what_has_no_shape_is_refused(stages: list[str], words: str) -> None:
    """Bad input, with the reason and a caret."""
    with pytest.raises(InputError) as caught:
        check_chain(stages, at={"x": [1, 2]} | ({"y": [1, 2]} if "*y" in stages[0] else {}))
    assert words in caught.value.message

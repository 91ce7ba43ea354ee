"""Sparse tensors as arguments: judged by the entries that they hold, and in the drop-in never weaker than torch's own check."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck as torch_gradcheck

from gradcheck_cli import InputError, UndecidedWarning, check_function, gradcheck, gradgradcheck
from gradcheck_cli.callables import doubts

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # torch calls what it has of this a beta


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no session of pytest ran, to which doubts would go."""
    monkeypatch.setattr(doubts, "_sessions", [])
    monkeypatch.setattr(doubts, "RUNNING", "NO_PYTEST")


MATRIX = torch.tensor([[0.0, 3.0, 0.0], [5.0, 0.0, -2.0]], dtype=torch.float64)
RIGHT = torch.arange(6.0, dtype=torch.float64).reshape(3, 2) - 2
LEFT = torch.arange(4.0, dtype=torch.float64).reshape(2, 2) - 1
KINDS: dict[str, Callable[[], Tensor]] = {
    "coo": MATRIX.to_sparse,
    "twice": lambda: torch.sparse_coo_tensor([[0, 0, 1], [1, 1, 2]], [1.0, 2.0, -3.0], (2, 3), dtype=torch.float64),
    "csr": MATRIX.to_sparse_csr,
    "csc": MATRIX.to_sparse_csc,
    "complex": lambda: (MATRIX * (1 + 2j)).to_sparse(),
}
EVERYWHERE: dict[str, Callable[[Tensor], Tensor]] = {
    "product": lambda s: s @ RIGHT.to(s.dtype),
    "dense": lambda s: s.to_dense() ** 2,
    "transposed": lambda s: s.t() @ LEFT.to(s.dtype),
    "left": lambda s: LEFT.to(s.dtype) @ s,
    "scaled": lambda s: (s * 2).to_dense(),
    "added": lambda s: (s + s).to_dense() * s.to_dense(),
}
"""Of the second degree at most: a central difference with the step 1 is exact at whole numbers."""
COO: dict[str, Callable[[Tensor], Tensor]] = {
    "mm": lambda s: torch.sparse.mm(s, RIGHT) * (s @ RIGHT),
    "sum": lambda s: torch.sparse.sum(s) ** 2,
    "sum of rows": lambda s: torch.sparse.sum(s, 1).to_dense(),
    "addmm": lambda s: torch.sparse.addmm(LEFT, s, RIGHT, beta=2, alpha=3),
    "by itself": lambda s: (s @ s.t()).to_dense(),
}


def entries(s: Tensor) -> Tensor:
    return s._values() if s.layout is torch.sparse_coo else s.values()


def filled(s: Tensor, values: Tensor) -> Tensor:
    """A sparse tensor like s, plainly."""
    if s.layout is torch.sparse_coo:
        return torch.sparse_coo_tensor(s._indices(), values, s.shape)
    if s.layout is torch.sparse_csr:
        return torch.sparse_csr_tensor(s.crow_indices(), s.col_indices(), values, s.shape)
    return torch.sparse_csc_tensor(s.ccol_indices(), s.row_indices(), values, s.shape)


def quotients(function: Callable[[Tensor], Tensor], s: Tensor, v: Tensor) -> list[float]:
    """Central differences of <v, y> by each entry, with the step 1."""
    found = []
    for i in range(len(entries(s))):
        step = torch.zeros_like(entries(s))
        step[i] = 1
        ends = [function(filled(s, entries(s) + sign * step)) for sign in (1, -1)]
        found.append(((v * (ends[0] - ends[1])).sum() / 2).item())
    return found


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *((kind, name) for kind in ("coo", "twice", "csr", "csc") for name in EVERYWHERE if (kind, name) != ("csc", "added")),
        *(("coo", name) for name in COO),
    ],
)
def test_exact_is_the_difference_quotient(kind: str, name: str) -> None:
    """By each entry that is held, certified as a match, no operation left out."""
    function, s = (EVERYWHERE | COO)[name], KINDS[kind]()
    report = check_function(function, at={"s": s}, seed=3)
    assert report.verdict == "match" and not any("followed" in note for note in report.notes), str(report)
    y = function(s)
    found = [c for c in report.checks if c.quantity.startswith(("d<v,y>", "dy/"))][: len(entries(s))]
    v = torch.ones(()) if y.ndim == 0 else torch.tensor(report.checks[0].point["v"], dtype=torch.float64)
    if y.numel() > 12:
        pytest.fail("v isn't shown in full")
    assert [float(c.exact) for c in found] == quotients(function, s, v)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_what_is_not_held_is_not_there(name: str) -> None:
    """torch.sparse.softmax is the softmax of the entries of each row; its derivative is that of the dense one with -inf."""
    s = torch.sparse_coo_tensor([[0, 0, 1], [0, 2, 1]], [0.5, 1.25, 3.0], (2, 3), dtype=torch.float64)
    report = check_function(lambda s: getattr(torch.sparse, name)(s, 1).to_dense()[0, 0], at={"s": s})
    assert report.verdict == "match" and not any("followed" in note for note in report.notes)
    exact = {c.quantity: float(c.exact) for c in report.checks if c.exact is not None}
    p = torch.softmax(torch.tensor([0.5, 1.25], dtype=torch.float64), 0)
    wanted = p[0] * (1 - p[0]) if name == "softmax" else 1 - p[0]
    assert exact["dy/ds.values[0]"] == pytest.approx(float(wanted), rel=1e-14)


class Squared(torch.autograd.Function):
    """The sum of the squares of a sparse matrix, its gradient sparse too, times a factor."""

    @staticmethod
    def forward(ctx: Any, s: Tensor, factor: float) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(s)
        ctx.factor = factor
        return (s.to_dense() ** 2).sum()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (s,) = ctx.saved_tensors
        return s * (ctx.factor * g), None


@pytest.mark.parametrize("kind", ["coo", "csr", "csc"])
def test_a_wrong_backward_is_refuted(kind: str) -> None:
    """A factor of 1.5 and one of 1 + 1e-9, which torch's own check lets pass; the right one passes. `function` blames it."""
    for factor, right in ((2.0, True), (3.0, False), (2.0 + 2e-9, False)):
        s = KINDS[kind]().requires_grad_()
        report = check_function(lambda s, f=factor: Squared.apply(s, f), at={"s": s})
        assert report.verdict == ("match" if right else "mismatch")
        assert right or "Squared" in str(report)
        given = {"masked": True, "check_undefined_grad": False, "raise_exception": False}  # torch compares no sparse gradients
        assert gradcheck(lambda s, f=factor: Squared.apply(s, f), (s,), **given) is right
    assert torch_gradcheck(lambda s: Squared.apply(s, 2.0 + 2e-9), (s,), **given)


def test_parts_of_complex_entries() -> None:
    """By the real and the imaginary part of each entry."""
    report = check_function(lambda s: s @ RIGHT.to(s.dtype), at={"s": KINDS["complex"]()})
    names = {name for check in report.checks for name in check.wrt}
    assert report.verdict == "match" and {"s.values.real[0]", "s.values.imag[2]"} <= names


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("kind", ["coo", "csr"])
@pytest.mark.parametrize("name", EVERYWHERE)
def test_never_weaker_than_torch(name: str, kind: str, masked: bool, outside: None) -> None:
    """What torch's own check says of sparse arguments, masked or not, this one says too; of entries that aren't held it says
    that finite differences have looked at them."""

    def said(check: Callable[..., bool]) -> object:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UndecidedWarning)
            try:
                found: object = check(EVERYWHERE[name], (KINDS[kind]().requires_grad_(),), masked=masked, raise_exception=False)
            except Exception as problem:  # what torch doesn't run
                found = type(problem)
        told.extend(str(w.message) for w in caught if issubclass(w.category, UndecidedWarning))
        return found

    told: list[str] = []
    wanted = said(torch_gradcheck)
    assert said(gradcheck) == wanted
    assert any("entries that a sparse tensor doesn't hold" in text for text in told) is (not masked)


def test_what_is_left_to_torch(outside: None) -> None:
    """Sparse results, which it refuses, and second derivatives by sparse tensors."""
    s = KINDS["coo"]().requires_grad_()
    with pytest.raises(ValueError, match="Sparse output is not supported"):
        gradcheck(lambda s: s * 2, (s,), masked=True)
    with pytest.warns(UndecidedWarning, match="of this layout"), pytest.raises(ValueError, match="Sparse output"):
        gradgradcheck(lambda s: torch.sparse.mm(s, RIGHT), (s,), masked=True)


def test_other_layouts_are_refused() -> None:
    """By their name, and what to give instead."""
    with pytest.raises(InputError, match=r"the value of 's' is of the layout torch.sparse_bsr: give a dense one, or COO"):
        check_function(lambda s: s.to_dense(), at={"s": MATRIX[:, :2].to_sparse_bsr((1, 1))})

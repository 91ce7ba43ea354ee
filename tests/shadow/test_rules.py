"""What a rule may refuse, and that a slip in one shows; what is true of the text of all rules."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from flint import arb
from mpmath import mp

import gradcheck_cli.shadow.mode
from gradcheck_cli import check_function
from gradcheck_cli.algebra.layers import Exact
from gradcheck_cli.maps.map import Row, pull
from gradcheck_cli.shadow.mode import RuleFailed, Shadow
from gradcheck_cli.shadow.rules.registry import RULES, Rule

Tensor = torch.Tensor
SHADOW = Path(gradcheck_cli.shadow.mode.__file__).parent
SLIP = "rule for _softmax failed: AttributeError: 'Tensor' object has no attribute 'expp'"


def misspelt(arguments: dict[str, Any]) -> Any:
    return arguments["self"].expp()


@pytest.fixture
def rules(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[dict[str, Any]], Any]], None]:
    """Put a function of all arguments in the place of a rule."""

    def replace(name: str, function: Callable[[dict[str, Any]], Any]) -> None:
        monkeypatch.setitem(RULES, name, Rule(lambda **arguments: function(arguments), frozenset(), True))

    return replace


def softmax(x: Tensor) -> Tensor:
    return torch.softmax(x, -1)


def followed(run: Callable[[Tensor], Any]) -> Shadow:
    shadow = Shadow([Exact()], 0)
    x = torch.tensor([[1.0, 2.0], [3.0, 5.0]], dtype=torch.float64)
    shadow.seed(x, [[arb(i) for i in (1, 2, 3, 5)]])
    with shadow:
        run(x)
    return shadow


def test_a_slip_shows_in_development(rules: Any) -> None:
    """Whatever a rule raises but for its refusals ends the run, also where it runs within a backward, whose exceptions are a
    user's."""
    rules("_softmax", misspelt)
    with pytest.raises(RuleFailed) as caught:
        followed(softmax)
    assert str(caught.value) == SLIP
    rules("_softmax_backward_data", lambda arguments: arguments["grad_output"] + torch.zeros(2, device="meta"))
    x = torch.tensor([0.5, 0.25], dtype=torch.float64, requires_grad=True)
    y = softmax(x)
    with pytest.raises(RuleFailed, match="rule for _softmax_backward_data failed: RuntimeError"), Shadow([Exact()], 0):
        pull({"y": y}, {"x": x}, Row("y", {"y": torch.ones_like(y)}))


def test_a_slip_is_told_to_the_user(rules: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the switch the operation is opaque, and the report says what failed; no crash."""
    monkeypatch.delenv("GRADCHECK_DEBUG")
    rules("_softmax", misspelt)
    report = check_function(softmax, at={"x": [0.5, 0.25, -1.0]})
    assert any(note.startswith(f"could not be followed: _softmax ({SLIP})") for note in report.notes), report.notes


def test_a_slip_within_a_rule_is_told_too(rules: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation whose rule meets one that has failed says which."""
    monkeypatch.delenv("GRADCHECK_DEBUG")
    rules("_softmax", misspelt)
    rules("_log_softmax", lambda arguments: softmax(arguments["self"]).log())
    shadow = followed(lambda x: torch.log_softmax(x, -1))
    assert shadow.opaque == {"_log_softmax": SLIP}
    assert shadow.unfollowed == (f"_log_softmax ({SLIP})",)


def refuses(arguments: dict[str, Any]) -> Any:
    raise NotImplementedError("not this one")


@pytest.mark.parametrize(
    "refusal",
    [
        refuses,
        lambda arguments: torch.linalg.svd(arguments["self"].double() * float("nan")),  # LinAlgError
        lambda arguments: torch.linalg.lu_factor(torch.ones(2, 2, dtype=torch.float16)),  # torch has no kernel
    ],
)
def test_a_refusal_is_no_slip(rules: Any, refusal: Callable[[dict[str, Any]], Any]) -> None:
    """NotImplementedError, and what torch itself can't do with these floats, leave the operation opaque, without a word."""
    rules("_softmax", refusal)
    assert followed(softmax).unfollowed == ("_softmax",)


def test_what_a_decomposition_of_torch_refuses_is_no_slip() -> None:
    """torch's decomposition of triu_indices fails for the dtype that its own operation was called with (torch 2.13)."""
    assert not followed(lambda x: torch.triu_indices(2, 2)).unfollowed


def test_least_squares_of_cut_rank() -> None:
    """What `rcond` drops counts as 0, for the solution and its derivative; where singular values that are kept and dropped lie
    close together, the rule refuses."""
    matrix, b = torch.diag(torch.tensor([1.0, 1e-3], dtype=torch.float64)), torch.ones(2, 1, dtype=torch.float64)
    shadow = Shadow([Exact()], 0)
    with shadow:
        found = torch.linalg.lstsq(matrix, b, rcond=1e-2, driver="gelsd")[0]
        close = torch.linalg.lstsq(matrix * torch.tensor([1.0, 900.0]), b, rcond=0.95, driver="gelsd")[0]
    assert [float(c) for c in shadow.cells(found, 0)] == pytest.approx([1.0, 0.0], abs=1e-15)
    assert shadow.unfollowed == ("linalg_lstsq",) and shadow.cells(close, 0)[0].is_nan()


def test_a_pseudoinverse_of_less_than_full_rank() -> None:
    """Its value, and the derivative that torch finds, which difference quotients confirm."""
    x, y = (torch.tensor(v, dtype=torch.float64) for v in ([[1.0], [2.0], [-1.0]], [[0.5], [3.0]]))
    report = check_function(lambda a, b: torch.linalg.pinv(a @ b.mT), at={"a": x.tolist(), "b": y.tolist()})
    assert report.exit_code == 0 and not any("followed" in note for note in report.notes), str(report)


def test_least_squares_take_vectors() -> None:
    """One right-hand side for each matrix of a batch, and its residuals."""
    shadow, draw = Shadow([Exact()], 0), torch.Generator().manual_seed(0)
    matrix, b = (torch.rand(*s, dtype=torch.float64, generator=draw) for s in ((3, 4, 2), (3, 4)))
    with shadow:
        found = torch.linalg.lstsq(matrix, b, driver="gelsd")
    assert not shadow.unfollowed
    for tensor in found[:2]:
        assert [float(c) for c in shadow.cells(tensor, 0)] == pytest.approx(tensor.reshape(-1).tolist(), rel=1e-9)


def test_a_mask_that_is_not_known_is_refused() -> None:
    """Attention that drops weights doesn't tell which."""
    run = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
    rule = RULES["_scaled_dot_product_flash_attention_for_cpu"]
    arguments = dict(zip((a.name for a in run._schema.arguments), (torch.ones(1, 1, 2, 2),) * 3, strict=False))
    with pytest.raises(NotImplementedError):
        rule.function(**rule.chosen({**arguments, "dropout_p": 0.5, "is_causal": False, "attn_mask": None, "scale": None,
                                     "result": None}))  # fmt: skip


# -- devices ------------------------------------------------------------------------------------------------------------

FACTORIES = frozenset({
    "arange", "as_tensor", "empty", "empty_strided", "eye", "from_numpy", "full", "linspace", "logspace", "ones", "rand",
    "randint", "randn", "randperm", "range", "scalar_tensor", "tensor", "tril_indices", "triu_indices", "zeros",
})  # fmt: skip
"""torch's functions that make a tensor of no other tensor: on the CPU, unless `device` says where."""


def strays(text: str) -> list[str]:
    """The calls in a text that make a tensor and don't say on which device."""
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    made = [c for c in calls if ast.unparse(c.func) in {f"torch.{name}" for name in FACTORIES}]
    return [ast.unparse(c) for c in made if "device" not in {k.arg for k in c.keywords}]


def test_strays_are_seen() -> None:
    """A call without a device, wherever it stands; those with one, and those that take after a tensor, are right."""
    text = "def f(x):\n    return g(torch.eye(3), torch.zeros_like(x), x.new_zeros(2), torch.ones(2, device=x.device))"
    assert strays(text) == ["torch.eye(3)"]


@pytest.mark.parametrize("module", sorted(p.relative_to(SHADOW).as_posix() for p in SHADOW.rglob("*.py")))
def test_tensors_are_made_where_their_arguments_are(module: str) -> None:
    """Every tensor that the shadow makes names a device, so that it meets tensors of its own."""
    assert not strays((SHADOW / module).read_text(encoding="utf-8"))


def test_rows_that_an_embedding_shortens() -> None:
    """max_norm overwrites rows that are longer: the exact derivative is that of w*m/(|w| + 1e-7), by mpmath; torch's, which
    knows nothing of it, is a mismatch there, and right in rows that are short enough."""
    weight = torch.tensor([[3.0, -4.0], [0.1, 0.2], [1.0, 1.0]], dtype=torch.float64)
    index = torch.tensor([0, 1, 0])
    report = check_function(lambda w: torch.nn.functional.embedding(index, w.clone(), max_norm=2.0).sum(), at={"w": weight})
    found = {c.wrt[0]: c for c in report.checks if c.quantity.startswith("dy/d")}

    def total(x: Any, y: Any) -> Any:
        return 2 * (x + y) * 2 / (mp.sqrt(x * x + y * y) + mp.mpf(1e-7))

    with mp.workdps(40):
        wanted = (mp.diff(lambda x: total(x, -4), 3), mp.diff(lambda y: total(3, y), -4))
        for name, slope in zip(("w[0,0]", "w[0,1]"), wanted, strict=True):
            assert found[name].verdict == "mismatch" and abs(mp.mpf(found[name].exact) - slope) < 1e-15
    assert {found[name].verdict for name in ("w[1,0]", "w[1,1]", "w[2,0]", "w[2,1]")} == {"match"}


def alignments(x: Any, labels: list[int]) -> Any:
    """The probability of a sequence of labels: every path of frames, blanks (0) and repetitions taken out, added up."""
    total = mp.mpf(0)
    for path in itertools.product(range(len(x[0])), repeat=len(x)):
        merged = [s for i, s in enumerate(path) if s and (i == 0 or s != path[i - 1])]
        if merged == labels:
            total += mp.fprod(mp.exp(row[s]) for row, s in zip(x, path, strict=True))
    return total


@pytest.mark.parametrize("labels", [[1, 2], [1, 1], [2]])
def test_connectionist_temporal_classification(labels: list[int]) -> None:
    """The derivative of -log of the sum over all paths, by difference quotients; torch's gradient by log_probs is that and
    exp(log_probs) more, which a log_softmax before it takes out."""
    x = torch.tensor([[0.5, -1.0, 0.25], [0.0, 0.75, -0.5], [1.0, 0.125, 0.375], [-0.25, 0.5, 2.0]], dtype=torch.float64)

    def loss(x: Tensor) -> Tensor:
        given = torch.tensor([labels]), torch.tensor([4]), torch.tensor([len(labels)])
        return torch.nn.functional.ctc_loss(x[:, None], *given, reduction="sum")

    alone, whole = check_function(loss, at={"x": x}), check_function(lambda x: loss(x.log_softmax(-1)), at={"x": x})
    assert whole.verdict == "match" and not whole.notes, str(whole)
    assert alone.verdict == "mismatch" and {str(c.cause) for c in alone.checks if c.cause} == {"formula"}
    exact = {c.wrt[0]: c.exact for c in alone.checks if c.quantity.startswith("dy/d")}
    with mp.workdps(40):
        for i, j in ((0, 0), (1, 1), (3, 2)):

            def along(h: Any, i: int = i, j: int = j) -> Any:
                moved = [
                    [mp.mpf(v) + (h if (a, b) == (i, j) else 0) for b, v in enumerate(row)] for a, row in enumerate(x.tolist())
                ]
                return -mp.log(alignments(moved, labels))

            assert abs(mp.mpf(exact[f"x[{i},{j}]"]) - mp.diff(along, 0)) < 1e-15

"""Only what the same check confirms is shown, nothing else changes, and it costs no more than it may."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gradcheck_cli import check_chain, check_function, check_grad, check_jacobian
from gradcheck_cli.formulas.check import check_problem
from gradcheck_cli.remedies import mending
from gradcheck_cli.remedies.table import Row
from tests.custom_functions.elementwise import tripled_sine


def remedies(*stages: str, at: Any, **options: Any) -> list[str]:
    """What is to be written, of a chain."""
    return [remedy.text.partition(":")[0] for remedy in check_chain(list(stages), at=at, **options).remedies]


def test_a_remedy_is_data() -> None:
    """The report, and its JSON, hold the stage, both formulas and the verdicts before and after."""
    report = check_chain("log(1 + exp(x))", at="x=800")
    (remedy,) = report.to_dict()["remedies"]
    assert (remedy["stage"], remedy["expression"], remedy["rewritten"]) == ("y", "log(1 + exp(x))", "logaddexp(x, 0)")
    assert (remedy["before"], remedy["after"], remedy["mended"]) == ({"mismatch": 1, "match": 1}, {"match": 2}, 1)
    assert remedy["text"] == "write y = logaddexp(x, 0): the same check then says match (2 checks)"
    assert report.exit_code == 1 and report.counts == {"mismatch": 1, "match": 1}


def test_stages_before_are_put_in() -> None:
    """A pattern that spans two stages is found; a stage that is used no more goes."""
    assert remedies("s = sigmoid(x)", "-log(s)", at="x=-800") == ["write y = -logsigmoid(x)"]


@pytest.mark.parametrize(
    ("text", "at", "written"),
    [
        ("exp(z)/(1 + exp(z))", "z=800+1j", "write y = sigmoid(z)"),
        ("1j*(1 - tanh(z)**2)", "z=20+0.1j", "write y = 1j*(1/cosh(z)**2)"),
        ("sqrt(1 + z) - sqrt(z)", "z=1e20+1e20j", "write y = 1/(sqrt(1 + z) + sqrt(z))"),
        ("log(z**2)", "z=-1e-200-1e-200j", None),  # 2*log(z) is on another branch
    ],
)
def test_complex_numbers(text: str, at: str, written: str | None) -> None:
    """The same rows, where both are one function of complex numbers: what holds of real ones alone is not offered."""
    assert remedies(text, at=at) == ([] if written is None else [written])


def test_arrays_too() -> None:
    """A row on arrays, over the last dimension where the sum is."""
    assert remedies("exp(x)/sum(exp(x), dim=1, keepdim=True)", at="x=[[800, 1]]") == ["write y = softmax(x, dim=1)"]


def test_each_output_has_its_own() -> None:
    """Of several outputs each is mended by itself."""
    report = check_jacobian(["log(1 + exp(x))", "1 - tanh(x)"], at="x=800")
    assert [r.stage for r in report.remedies] == ["f1"]
    report = check_jacobian(["log(1 + exp(x))", "log(sigmoid(-x))"], at="x=800")
    assert [r.stage for r in report.remedies] == ["f1", "f2"]


def test_what_is_worse_elsewhere_is_none() -> None:
    """1 - sigmoid(-x) mends sigmoid at 40 and destroys it at -40."""
    assert remedies("sigmoid(x)", at="x=40") == ["write y = 1 - sigmoid(-x)"]
    assert remedies("sigmoid(x)", at="x=[-40]") == []
    assert remedies("sigmoid(x)", at=[{"x": 40}, {"x": -40}]) == []


def test_a_value_may_not_get_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large number that is added and taken away leaves the derivative as it is, and not the value."""
    row = Row("sigmoid(a)", "2**60 + (1 - sigmoid(-a)) - 1152921504606846976", ("imprecise",), "sigmoid(x)", "x=40")
    monkeypatch.setattr(mending, "ROWS", (row,))
    assert remedies("sigmoid(x)", at="x=40") == []
    monkeypatch.setattr(mending, "_error", lambda *_: 0.0)
    assert len(remedies("sigmoid(x)", at="x=40")) == 1


@pytest.mark.parametrize("becomes", ["softplus(a) + 1e-9", "softplus(a)*(1 + 1e-15)", "relu(a) + 0*a", "a + relu(-a)"])
def test_another_function_is_none(monkeypatch: pytest.MonkeyPatch, becomes: str) -> None:
    """A row that isn't true, by however little, and wherever beside the point, mends nothing."""
    row = Row("log(1 + exp(a))", becomes, ("range",), "log(1 + exp(x))", "x=30")
    monkeypatch.setattr(mending, "ROWS", (row,))
    assert remedies("log(1 + exp(20*x))", at="x=1", dtype="float16") == []


def test_the_text_says_it() -> None:
    """A finding ends with the command that tells more, once; the remedy stands below, once for all formats."""
    text = str(check_chain("log(1 + exp(x))*y", at="x=800,y=1", dtype="float64,float32"))
    assert text.count("more: gradcheck why range") == 1
    assert text.count("remedy: ") == 1
    assert "write y_1 = " not in text and "float64, float32" in text.partition("remedy: ")[2]
    assert "more:" not in str(check_chain("sin(x)", at="x=1"))


def softplus(x: torch.Tensor) -> torch.Tensor:
    return torch.log(1 + torch.exp(x))


@pytest.mark.parametrize(
    ("function", "at", "written"),
    [
        (softplus, "x=[800,1]", "write y = logaddexp(x, 0), entry by entry: the check of this formula says match (2 checks)"),
        (lambda x: torch.where(x <= 0, torch.exp(x), 1 + x), "x=[-1,1000]", "exp(where(x <= 0, x, 0))"),
        (lambda x, y: torch.sqrt(x**2 + y**2), "x=[1e200],y=[1e200]", "hypot(x, y)"),
        (lambda x: torch.log(torch.exp(x).sum()), "x=[800,1]", None),  # not entry by entry
        (lambda x: x * torch.ones_like(x).detach(), "x=[800,1]", None),  # nothing is wrong
    ],
)
def test_functions_entry_by_entry(function: Any, at: str, written: str | None) -> None:
    """The formula of a Python function's forward pass is mended, where it works entry by entry."""
    report = check_function(function, at=at)
    texts = [remedy.text for remedy in report.remedies]
    assert len(texts) == (written is not None)
    assert written is None or written in texts[0] and f"remedy: {texts[0]}"[:60] in str(report)


@pytest.mark.parametrize(
    ("function", "numbers", "offered"),
    [
        (softplus, [800.0, 25.0], True),  # torch's softplus is another function at 25
        (lambda x: torch.log(torch.cosh(x)), [800.0, -9.5, -12.0], True),
        (torch.sigmoid, [40.0], True),
        (torch.sigmoid, [40.0, -40.0], False),  # 1 - sigmoid(-x) is worse there
        (torch.sigmoid, [-40.0, *[1.0] * 60, 40.0], False),
    ],
)
def test_functions_at_all_that_was_checked(function: Any, numbers: list[float], offered: bool) -> None:
    """A remedy holds at every point, and every entry, not at the worst alone: exact everywhere, and nowhere worse."""
    tensor = torch.tensor(numbers, dtype=torch.float64)
    for at in ({"x": tensor}, [{"x": x} for x in {*numbers}]):
        remedies = check_function(function, at=at).remedies
        assert len(remedies) == offered
        assert not any("softplus" in r.rewritten for r in remedies)
        assert all(r.points == len({*numbers}) for r in remedies)


def test_of_many_points_some_are_checked() -> None:
    """No more than 64 of them, those that were found wanting among them."""
    tensor = torch.linspace(-100, 800, 90, dtype=torch.float64)
    (remedy,) = check_function(softplus, at={"x": tensor}).remedies
    assert 20 < remedy.points <= 64 and remedy.before["mismatch"] > 5 and remedy.whole


def test_a_custom_backward_has_no_remedy_for_its_own_slips() -> None:
    """What the formula's own check doesn't find isn't mended by writing the formula otherwise."""
    assert not check_function(tripled_sine, at="x=[1,2]").remedies


def test_nothing_is_tried_where_all_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report of matches costs nothing; callables of a user are no formulas; and what is tried is counted."""
    calls = []

    def counted(problem: Any, *rest: Any, **more: Any) -> Any:
        calls.append(problem)
        return check_problem(problem, *rest, **more)

    monkeypatch.setattr(mending, "check_problem", counted)
    assert not check_grad("sin(x)*y", at="x=1,y=2").remedies and not calls
    assert not check_grad("sigmoid(x)", at="x=40", callables={"sigmoid": torch.sigmoid}).remedies and not calls
    assert not check_grad("where(abs(x) > 0, (1 - cos(x))/x, 0)*log(1 + exp(x))*(1 - cos(y))", at="x=0,y=1").remedies
    assert 0 < len(calls) <= mending.TRIES
    calls.clear()
    (remedy,) = check_chain("1 - tanh(x)", at="x=linspace(20,21,3000)").remedies
    assert remedy.points <= mending.MOST and remedy.of == 3000 and " of 3,000 points" in remedy.text
    assert sum(len(next(iter(p.points.at[0].axes.values()))) for p in calls) <= mending.MOST + mending.WORST


def test_what_goes_wrong_in_a_search_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slip of ours costs the remedy, not the report."""
    monkeypatch.delenv("GRADCHECK_DEBUG", raising=False)
    monkeypatch.setattr(mending, "rewritten", lambda row, tree: 1 / 0)
    assert check_chain("1 - tanh(x)", at="x=20").counts == {"imprecise": 1, "match": 1}

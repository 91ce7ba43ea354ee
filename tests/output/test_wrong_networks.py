"""Reports of networks with wrong layers: what is wrong is said once, and nothing grows with what only follows from it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gradcheck_cli import check_model
from gradcheck_cli.output import renderer
from gradcheck_cli.verdict.column import UNEXAMINED
from tests.custom_functions.elementwise import custom

BAD_SWISH = custom(lambda x: x * x.sigmoid(), lambda g, x, y: g * x.sigmoid() * (2 - x.sigmoid()))
BAD_SINE = custom(torch.sin, lambda g, x, y: -g * x.cos())


class Applied(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def checked(*between: nn.Module) -> Any:
    """A network of these layers after four others, whose entries are too many to be examined one by one."""
    torch.manual_seed(0)
    before = [layer for n, m in ((8, 24), (24, 24)) for layer in (nn.Linear(n, m), nn.Tanh())]
    after = [layer for _ in range(3) for layer in (nn.Linear(24, 24), nn.Tanh())]
    network = nn.Sequential(*before, *between, *after, nn.Linear(24, 2))
    return check_model(network, input=torch.randn(3, 8))


def said(report: Any, form: str = "text") -> str:
    return re.sub(r"\s+", " ", rendered(report, form))


def rendered(report: Any, form: str = "text") -> str:
    return renderer(form, report)(report)


@pytest.fixture(scope="module")
def wrong() -> Any:
    return checked(Applied(BAD_SWISH))


def test_one_wrong_layer_is_one_finding(wrong: Any) -> None:
    """The finding names the layer and the slip; what follows from it elsewhere is counted there, whatever the search told of
    it, and the sentence of the cause, which the slip says better, isn't there."""
    text = said(wrong)
    assert text.count("mismatch (formula):") == 1 and text.count("undecided:") == 0
    assert "blamed: stage 4 Applied, the backward of " in text and "an inner derivative is missing" in text
    count = wrong.counts["mismatch"] - 1
    assert count > 3 * 24 and re.search(rf"the same at {count:,} more entries", text)
    assert "The formula that autograd applies is not the derivative" not in text


def test_what_was_not_examined_is_a_note(wrong: Any) -> None:
    """One line says how many entries were not examined, and what to do; each of them stays in the JSON."""
    count = wrong.counts["undecided"]
    assert count > 500
    (note,) = re.findall(r"note: ([\d,]+) entries \([^)]*, \.\.\.\) were not examined one by one, since", said(wrong))
    assert int(note.replace(",", "")) == count
    checks = json.loads(rendered(wrong, "json"))["checks"]
    assert sum(check["detail"] == UNEXAMINED and check["verdict"] == "undecided" for check in checks) == count
    for name in ("markdown", "html"):
        assert "were not examined one by one" in said(wrong, name)


def test_long_tables_show_what_is_wrong(wrong: Any) -> None:
    """Of more than eight layers those in which nothing is wrong are counted; in a report of a right network they are listed."""
    text = rendered(wrong)
    own = text[text.index("each stage's own derivative") :]
    assert re.search(r"^4 Applied ", own, re.M) and not re.search(r"^\d+ (Linear|Tanh) ", own, re.M)
    assert "... and 11 more rows (" in own
    right = rendered(checked(nn.SiLU()))
    assert len(re.findall(r"^\d+ (?:Linear|Tanh|SiLU) ", right, re.M)) == 2 * 12


def test_two_wrong_layers_are_two_findings() -> None:
    """Each with its own layer and slip, in whatever order."""
    text = said(checked(Applied(BAD_SWISH), nn.Linear(24, 24), Applied(BAD_SINE)))
    assert text.count("mismatch (formula):") == 2
    assert text.count("blamed: stage 4 Applied") == 1 and text.count("blamed: stage 6 Applied") == 1
    assert "an inner derivative is missing" in text and "sign" in text


class Gate(nn.Module):
    """A module around right layers whose own code is wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(BAD_SWISH(self.up(x)))  # type: ignore[no-any-return]


def test_a_wrong_module_behind_a_wrong_layer_is_told_too() -> None:
    """What a wrong layer has no part in, since it comes before, is not blamed on it: the module that is wrong behind it has a
    finding of its own, and so has another one before it, which is wrong alike."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 4), Gate(), Applied(BAD_SINE), Gate(), nn.Linear(4, 2))
    report = check_model(network, input=torch.randn(2, 4))
    text = said(report)
    assert text.count("mismatch (formula):") == 2
    assert "blamed: stage 2 Applied, the backward of " in text and "blamed: stages 1 Gate, 3 Gate, the backward of " in text
    stages = {c.stage for c in report.checks if c.verdict == "mismatch" and c.quantity.startswith("d<v,y>/d3.up.output")}
    assert stages == {"3 Gate"}


def test_a_right_module_behind_a_wrong_layer_is_not_asked() -> None:
    """Where all that is wrong follows from a wrong layer, no module around others is examined by itself."""
    torch.manual_seed(0)
    report = check_model(
        nn.Sequential(nn.Linear(4, 4), Applied(BAD_SINE), nn.Sequential(nn.Linear(4, 4), nn.Tanh())), input=torch.randn(2, 4)
    )
    text = said(report)
    assert text.count("mismatch (formula):") == 1
    assert not any(c.quantity.startswith("d<v,2>") for c in report.checks)


def _refuses(*given: Tensor) -> Tensor:
    raise ValueError("no derivative today")


def test_a_backward_that_raises_is_blamed_for_everything() -> None:
    """The whole pass fails with it, behind the layer too."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 4), Applied(custom(torch.sin, _refuses)), nn.Sequential(nn.Linear(4, 4), nn.Tanh()))
    report = check_model(network, input=torch.randn(2, 4))
    assert {c.stage for c in report.checks if c.verdict == "mismatch"} == {"1 Applied"}

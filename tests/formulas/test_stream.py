"""Every float32, block by block: as if all were checked at once, and never more said than what was looked at."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gradcheck_cli import check_chain, check_grad, keys
from gradcheck_cli.api import QUESTIONS
from gradcheck_cli.cli import app as application
from gradcheck_cli.errors import InputError
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.formulas import stream
from gradcheck_cli.formulas.check import check_problem
from gradcheck_cli.language import spaces
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.summary import FIRST, Summary
from gradcheck_cli.verdict.verdicts import Cause, Verdict

F32 = FORMATS["float32"]
TANH = "x=all(4.9,4.9001)"
"""210 floats, at which half of the digits of tanh's derivative are lost at some and not at others."""


@pytest.fixture(autouse=True)
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small ones."""
    monkeypatch.setattr(spaces, "BLOCK", 64)


def counted(monkeypatch: pytest.MonkeyPatch, stop: int | None = None) -> list[int]:
    """The blocks that are judged, by the numbers of their first points; somebody types Ctrl-C after `stop` of them."""
    found: list[int] = []
    judged = stream._judged

    def count(problem: Any, block: Any, progress: Any = None) -> Any:
        if len(found) == stop:
            raise KeyboardInterrupt
        found.append(block.start)
        return judged(problem, block, progress)

    monkeypatch.setattr(stream, "_judged", count)
    return found


def said(report: Report) -> dict[str, Any]:
    """All but how it came about."""
    found = report.to_dict()
    del found["notes"]
    return found


def wrong_at(bad: float) -> Callable[..., Any]:
    """A sine whose backward is wrong at one float."""

    class Sine(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return torch.sin(x)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (x,) = ctx.saved_tensors
            return g * torch.where((x > bad - 1.1e-7) & (x < bad + 1.1e-7), 1.01, 1.0) * torch.cos(x)

    return Sine.apply  # type: ignore[no-any-return]


def test_blocks_say_what_each_float_says() -> None:
    """The counts of a stream are those of checks of each float by itself, and the worst is the worst of them."""
    report = check_grad("tanh(x)", at=TANH, dtype="float32", workers=1)
    (column,) = report.columns
    numbers = F32.numbers(4.9, 4.9001)
    assert column.size == len(numbers) > 3 * 64 and len(column) < 20
    chosen = F32.floats(numbers)[::9]
    alone = [check_grad("tanh(x)", at={"x": x}, dtype="float32").checks[0] for x in chosen.tolist()]
    assert {c.verdict for c in alone} == {Verdict.MATCH, Verdict.IMPRECISE}
    together = check_problem(_problem("tanh(x)", TANH)).columns[0]
    assert [c.verdict for c in alone] == [together.verdict(i) for i in range(0, len(numbers), 9)]
    assert report.counts == {v.value: n for v, n in sorted(together.counts().items(), key=lambda p: -p[0].severity)}
    worst = max(together.details.items(), key=lambda item: (together.verdicts[item[0]], item[1].rounding_error or 0.0))[0]
    assert together.check(worst).point in [check.point for check in report.checks]


def _problem(text: str, at: str, **options: Any) -> Any:
    question: Any = QUESTIONS["grad"](text, at=at, dtype="float32", **options)
    assert isinstance(question, partial)
    return question.args[0]


@pytest.mark.parametrize("cuts", [(64, 128), (1, 2, 3, 200), (100,)])
def test_merged_summaries_are_that_of_the_whole(cuts: Sequence[int]) -> None:
    """Whatever the parts and their order, the same entries are kept, with the same words, and each is counted once."""
    problem = _problem("tanh(x)", TANH, callables={})
    whole = check_problem(problem).columns
    ends = [0, *cuts, len(whole[0])]
    parts = [Summary.of([c.pick(range(a, b)) for c in whole], a) for a, b in pairwise(ends)]
    once = Summary.of(whole, 0)
    assert Summary.merged(parts[::-1]).plain() == once.plain()
    assert Summary.merged([Summary.merged(parts[:2]), *parts[2:]]).plain() == once.plain()
    assert sum(once.columns[0].tally.values()) == len(whole[0])  # type: ignore[union-attr]
    again = Summary.read(json.loads(json.dumps(once.plain(), allow_nan=False)))
    assert again.plain() == once.plain()
    assert [c.check(i) for c in again.columns for i in range(len(c))] == [
        c.check(i) for c in once.columns for i in range(len(c))
    ]


def test_what_was_interrupted_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is finished is in the file, a torn line is none; the next run does the rest, and says the same as one run."""
    monkeypatch.setenv(keys.VARIABLE, "mine")
    keys._key.cache_clear()
    once = check_grad("tanh(x)", at=TANH, dtype="float32", workers=1)
    file = tmp_path / "tanh.jsonl"
    with monkeypatch.context() as context:
        judged = counted(context, stop=2)
        part = check_grad("tanh(x)", at=TANH, dtype="float32", workers=1, resume=str(file))
        assert judged == [0, 64]
    assert part.exit_code == 3 and part.verdict is Verdict.UNDECIDED and not part.ok
    assert part.counts["undecided"] == once.columns[0].size - 128 and sum(part.counts.values()) == once.columns[0].size
    assert "interrupted: 128 of" in part.notes[0] and "(x from 4.9" in part.notes[0] and str(file) in part.notes[0]
    assert "not looked at" in str(part) and "interrupted" in str(part)
    with file.open("a") as torn:
        torn.write('[{"command": "grad"')
    judged = counted(monkeypatch)
    report = check_grad("tanh(x)", at=TANH, dtype="float32", workers=1, resume=str(file))
    assert judged == list(range(128, once.columns[0].size, 64))
    assert said(report) == said(once) and "2 of " in report.notes[0]
    again = check_grad("tanh(x)", at=TANH, dtype="float32", workers=1, resume=str(file))
    assert said(again) == said(once) and judged == list(range(128, once.columns[0].size, 64))
    keys._key.cache_clear()


def test_only_ones_own_blocks_of_the_same_check_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another formula, another mode, a line that was changed, another user's key: all is looked at again."""
    monkeypatch.setenv(keys.VARIABLE, "mine")
    keys._key.cache_clear()
    file = tmp_path / "blocks.jsonl"
    judged = counted(monkeypatch)

    def run(text: str = "sin(x)", **options: Any) -> int:
        judged.clear()
        check_grad(text, at="x=all(1,1.00002)", dtype="float32", workers=1, resume=str(file), **options)
        return len(judged)

    every = run()
    assert every > 1 and run() == 0
    assert run("sin(x)*1") == every and run(mode="forward") == every and run(ulps=5) == every
    assert run() == 0
    lines = file.read_text().splitlines()
    file.write_text(lines[0].replace('"verdicts": [0', '"verdicts": [5', 1) + "\n" + "\n".join(lines[1:]) + "\n")
    assert run() == 1
    monkeypatch.setenv(keys.VARIABLE, "another's")
    keys._key.cache_clear()
    assert run() == every
    keys._key.cache_clear()


def test_a_single_wrong_float_is_found() -> None:
    """A backward that is off by a hundredth at one float32 of many fails, and the report shows that float."""
    bad = float(np.float32(1.0000077))
    report = check_grad("sin(x)", at="x=all(1,1.00002)", dtype="float32", workers=1, callables={"sin": wrong_at(bad)})
    assert report.exit_code == 1 and report.counts["mismatch"] == 1
    (check,) = [check for check in report.checks if check.verdict is Verdict.MISMATCH]
    assert check.point == {"x": bad} and check.cause is Cause.FORMULA
    assert check_grad("sin(x)", at="x=all(1,1.00002)", dtype="float32", workers=1, callables={"sin": wrong_at(0.5)}).ok


def test_many_failures_are_counted_and_few_are_kept() -> None:
    """Of each kind the first, the last and the worst; the finding says at how many more points."""
    report = check_chain("sqrt(x*x)", at="x=all(-1e-43,1e-43)", dtype="float32", workers=1)
    many = check_chain("abs(x)*0 + sqrt(x)**2", at="x=all(-1.00001,-1)", dtype="float32", workers=1)
    assert many.verdict is Verdict.OUTSIDE_DOMAIN and many.exit_code == 3
    assert sum(report.counts.values()) == sum(column.size for column in report.columns)
    for column in (*report.columns, *many.columns):
        assert column.tally is not None and len(column) <= len(column.tally) * (FIRST + 3) * len(report.columns)
    assert f"{many.columns[0].size:,}" in str(many)


@pytest.mark.slow(reason="two processes import torch")
def test_several_processes_say_the_same(tmp_path: Path) -> None:
    """As one does."""
    one = check_grad("tanh(x)", at=TANH, dtype="float32", workers=1)
    two = check_grad("tanh(x)", at=TANH, dtype="float32", workers=2, resume=str(tmp_path / "r.jsonl"))
    assert said(one) == said(two) and one.notes == two.notes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"at": "x=1", "workers": 2}, "workers goes with every float of a dtype of 32 bits"),
        ({"at": "x=1", "resume": "f"}, "resume goes with every float of a dtype of 32 bits"),
        ({"at": "x=all(1,1.00002)", "claim": "cos(x)"}, "a claim is judged point by point"),
        ({"at": "x=all(1,1.00002)", "resume": "f", "callables": {"sin": torch.sin}}, "resume is for formulas alone"),
    ],
)
def test_what_has_no_meaning_is_refused(
    options: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any work."""
    monkeypatch.chdir(tmp_path)
    counted(monkeypatch, stop=0)
    with pytest.raises(InputError, match=message):
        check_grad("sin(x)", dtype="float32", **options)


def test_time_that_is_up_loses_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On the command line too: what was looked at is told, the rest is undecided, and the exit code says so."""
    clock = iter([0.0, 0.0, *[0.1] * 7, *[100.0] * 10_000])
    monkeypatch.setattr(stream, "time", type("Clock", (), {"monotonic": staticmethod(lambda: next(clock))}))
    code = application.run(["grad", "sin(x)", "--at=x=all(1,1.0001)", "--dtype=float32", "--workers=1", "--timeout=50"])
    out = capsys.readouterr().out
    assert code == 3 and "stopped after 50 s (--timeout)" in out and "undecided" in out and "--resume FILE" in out

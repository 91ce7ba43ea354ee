"""Work in time: what is recorded, what is planned, and what the report says when time is up."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch

from gradcheck_cli import check_function
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.scope import OfTensor
from gradcheck_cli.verdict.verdicts import Verdict
from gradcheck_cli.verdict.work import Recorder, Stopped, patience, record


def column(quantity: str, verdict: Verdict = Verdict.MATCH) -> Column:
    made = Column.blank(OfTensor({}), 1, of=quantity)
    made.mark([0], verdict)
    return made


def recorded(work: Callable[[Recorder], None], timeout: float = 60.0) -> Report:
    return record("function", {}, work, timeout=timeout)


def test_numpy_warns_of_nothing() -> None:
    """What leaves the range within the work is said by verdicts, not by warnings on stderr."""
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        recorded(lambda recorder: recorder.note(str(np.array([1e308]) * 10 / np.array([0.0]))))
        assert not leaked
        np.array([1e308]) * 10
    assert len(leaked) == 1


def test_columns_come_planned_first_then_as_they_were_added() -> None:
    """A planned list is live: what is added to it later is reported in its place."""
    recorder = Recorder()
    recorder.add([column("last")])
    first, second = recorder.plan([column("a")]), recorder.plan()
    recorder.plan([column("c")])
    first += [column("b")]
    second += [column("x")]
    assert [c.of for c in recorder.columns] == ["a", "b", "x", "c", "last"]


def test_notes_are_told_once() -> None:
    """The same note twice is one, and no note is none."""
    recorder = Recorder()
    recorder.note("a", None, "b", "a")
    recorder.note("b", "c")
    assert recorder.notes == ["a", "b", "c"]


def test_what_the_work_raises_is_raised() -> None:
    """An error of the work isn't swallowed by the thread."""

    def work(recorder: Recorder) -> None:
        raise ZeroDivisionError("here")

    with pytest.raises(ZeroDivisionError, match="here"):
        recorded(work)


def test_late_work_is_reported_as_far_as_it_came() -> None:
    """What was added stays; one undecided row and a note say where the time went. The work stops at its next checkpoint."""
    ended = threading.Event()

    def work(recorder: Recorder) -> None:
        recorder.add([column("done")])
        recorder.step("a long step")
        try:
            while True:
                recorder.checkpoint()
        except Stopped:
            ended.set()
            raise

    report = recorded(work, timeout=0.05)
    assert [(c.of, c.verdict(0).value) for c in report.columns] == [("done", "match"), ("a long step", "undecided")]
    assert report.notes == ["stopped after 0.05 s (--timeout) in: a long step; the rest was not checked"]
    assert ended.wait(10)


def test_late_work_says_how_much_is_left() -> None:
    """What was never begun is counted, and named."""

    def work(recorder: Recorder) -> None:
        recorder.left, recorder.points = ("points 3 to 7", 5), 7
        done = column("done")
        done.autograd[:] = 1.0
        recorder.add([done])
        recorder.step("point 3 of 7")
        while True:
            recorder.checkpoint()

    report = recorded(work, timeout=0.05)
    rest, _ = sorted(report.columns, key=len, reverse=True)
    assert (rest.quantity, report.counts) == ("points 3 to 7", {Verdict.UNDECIDED: 5, Verdict.MATCH: 1})
    assert report.notes == ["stopped after 0.05 s (--timeout) in: point 3 of 7; not finished: points 3 to 7"]
    assert rest.check(0).autograd is None and "nan" not in str(report).partition("note:")[0]  # nothing was computed
    assert "\n7 points (" in str(report) and "undecided: points 3 to 7\n" in str(report)


def test_late_work_that_was_planned_is_undecided_itself() -> None:
    """Where columns were planned they stand there undecided: nothing else needs to be said of them."""
    recorder = Recorder()
    planned = recorder.plan([column("a", Verdict.UNDECIDED), column("b", Verdict.UNDECIDED)])

    def work(recorder: Recorder) -> None:
        planned[0].mark([0], Verdict.MATCH)
        while True:
            recorder.checkpoint()

    report = record("chain", {}, work, timeout=0.05, recorder=recorder)
    assert [(c.of, c.verdict(0).value) for c in report.columns] == [("a", "match"), ("b", "undecided")]
    assert report.columns[1].check(0).detail == "not finished in time: raise --timeout"
    assert report.notes == ["stopped after 0.05 s (--timeout): what was not finished is undecided"]


def test_what_is_late_has_the_dtype_of_what_was_checked() -> None:
    """Not float64, where nothing else is known of it."""
    problem = {"dtype": ["complex64", "float32"]}
    made = record("function", problem, lambda recorder: time.sleep(0.3), timeout=0.01)
    assert [c.dtype for c in made.columns] == ["float32"]


def test_the_process_waits_for_what_is_late() -> None:
    """Until it comes to its next checkpoint: a thread that Python ends within C++ aborts the process; not for ever."""
    program = """
import sys, time
from gradcheck_cli.verdict.work import record
from tests.verdict.test_work import busy
record("function", {}, lambda recorder: busy(recorder, float(sys.argv[1])), timeout=0.05)
"""
    start = time.monotonic()
    runs = [subprocess.Popen([sys.executable, "-c", program, s], stdout=subprocess.PIPE, text=True) for s in ("1.5", "60")]
    said = [run.communicate()[0] for run in runs]
    assert said == ["came to its end\n", ""] and [run.returncode for run in runs] == [0, 0]
    assert time.monotonic() - start < 40


def busy(recorder: Recorder, seconds: float) -> None:
    """Work whose next checkpoint is so far away."""
    time.sleep(seconds)
    try:
        recorder.checkpoint()
    except Stopped:
        print("came to its end", flush=True)
        raise


def test_who_waits_at_a_prompt_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What is being done, how long it has taken, and how it is bounded, each time after twice as long; nothing where nobody
    waits, as in a script."""
    monkeypatch.delattr(sys, "ps1", raising=False)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    assert patience("function", 600.0) is None
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    tell = patience("function", 600.0)
    assert tell is not None
    for now[0] in (1.0, 9.0, 10.0, 15.0, 21.0, 39.0):
        tell(0, 2, "point 1 of 1")
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(" s so far")[0] for line in said] == ["gradcheck function, 10", "gradcheck function, 21"]
    assert said[0].endswith(": point 1 of 1 (0 of 2 done); it stops after timeout=600, smaller tensors take less")


def test_blocks_around_the_call() -> None:
    """Hooks on saved tensors, and autocast, that a caller has around a check hold in the thread that does the work."""

    def square(x: torch.Tensor) -> torch.Tensor:
        return x * x

    at = {"x": torch.tensor([0.3, -0.7], dtype=torch.float64)}
    assert check_function(square, at=at).verdict == "match"
    if hasattr(torch._C._autograd, "_top_saved_tensors_default_hooks"):  # older torch doesn't tell which hooks hold
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t * 1.25):
            wrong = check_function(square, at=at)
        assert {c.cause for c in wrong.checks} == {"formula"}
        with torch.autograd.graph.allow_mutation_on_saved_tensors():
            allowed = check_function(lambda x: (y := x.clone()).sin() + y.mul_(2), at=at)
        assert allowed.verdict == "match", str(allowed)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = check_function(lambda x: x @ x.T, at={"x": torch.rand(2, 2)}, dtype="float32")
    assert "autocast rounds to bfloat16" in str(cast)
    assert check_function(square, at=at).verdict == "match"

"""What a process that runs checks may do to this one: nothing. `test_run.py` has real ones, which take seconds to start."""

from __future__ import annotations

import json
import queue
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from gradcheck_cli.suite import workers
from gradcheck_cli.suite.execute import CRASH, TIMEOUT, Outcome, broken
from gradcheck_cli.suite.spec import Spec
from gradcheck_cli.suite.workers import Conditions, Runner, perform

CONDITIONS = Conditions(5.0, None, False, ".")
SPEC = Spec("a", "grad", "x", {"at": "x=1"}, file="a.toml")
OTHER = Spec("b", "grad", "x", {"at": "x=1"}, file="a.toml")


@pytest.fixture
def runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    """A runner without threads, whose process is a line for the shell."""
    made = Runner.__new__(Runner)
    made.conditions, made.file, made.spoilt, made.ready, made.tail = CONDITIONS, None, False, True, b""
    made.answers = queue.SimpleQueue()
    made.process = subprocess.Popen(["sh", "-c", request.param], stdin=subprocess.PIPE, start_new_session=True)
    yield made
    made.close()


def answer(spec: Spec, **other: Any) -> bytes:
    """What a worker writes of a check."""
    return json.dumps({"outcome": {**broken(spec, CRASH, "", 0.0).to_dict(), **other}, "last": False}).encode() + b"\n"


@pytest.mark.parametrize("runner", ["sleep 60"], indirect=True)
def test_an_answer(runner: Runner) -> None:
    """It is the outcome, and the process may go on."""
    runner.answers.put(answer(SPEC))
    assert runner.run(SPEC) == broken(SPEC, CRASH, "", 0.0)
    assert runner.usable(SPEC, CONDITIONS)


@pytest.mark.parametrize("runner", ["sleep 60"], indirect=True)
@pytest.mark.parametrize(
    "line",
    [b"noise\n", b"\xff\n", b"[]\n", b"{}\n", b"[" * 100_000 + b"\n", answer(OTHER), answer(SPEC, status="fine"),
     answer(SPEC, asked={}), b'{"outcome": NaN}\n'],
    ids=["noise", "bytes", "list", "empty", "deep", "other", "status", "asked", "nan"],
)  # fmt: skip
def test_what_is_no_answer(runner: Runner, line: bytes) -> None:
    """Code that writes where the worker answers, or what an earlier check left there: that process is replaced, the check run
    once more; nothing is raised that would end the run."""
    runner.answers.put(line)
    with pytest.raises(workers._Ended, match="the worker's answer can't be read") as caught:
        runner.run(SPEC)
    assert (caught.value.fault, caught.value.again) == (CRASH, True)
    assert not runner.usable(SPEC, CONDITIONS) and runner.process.returncode is not None


@pytest.mark.parametrize(
    ("runner", "how", "again"),
    [("kill -KILL $$", "SIGKILL", True), ("kill -TERM $$", "SIGTERM", True), ("kill -ALRM $$", "SIGALRM", True),
     ("kill -SEGV $$", "SIGSEGV", False), ("exit 4", "exit code 4", False)],
    indirect=["runner"],
)  # fmt: skip
def test_how_a_process_ended(runner: Runner, how: str, again: bool) -> None:
    """Who was killed from outside may be tried again; who crashed by itself not."""
    runner.process.wait()
    runner.answers.put(b"")
    with pytest.raises(workers._Ended, match=rf"ended without an answer \({how}\)") as caught:
        runner.run(SPEC)
    assert (caught.value.fault, caught.value.again) == (CRASH, again)


@pytest.mark.parametrize(
    ("ends", "status", "tries"),
    [([], "passed", 1), ([True], "passed", 2), ([True, True], "undecided", 2), ([False], "undecided", 1)],
)
def test_a_check_is_tried_twice_at_most(monkeypatch: pytest.MonkeyPatch, ends: list[bool], status: str, tries: int) -> None:
    """Once more where its process was killed from outside; whatever kills it again and again leaves it undecided."""
    passed, left, taken = Outcome.from_dict({**broken(SPEC, CRASH, "", 0.0).to_dict(), "status": "passed"}), list(ends), []

    class Fake:
        def run(self, spec: Spec) -> Outcome:
            if left:
                raise workers._Ended(TIMEOUT, "it was killed", left.pop(0))
            return passed

    class Pool:
        closed = False

        def take(self, spec: Spec, conditions: Conditions) -> Fake:
            taken.append(spec)
            return Fake()

        def give_back(self, runner: Fake) -> None:
            pass

    monkeypatch.setattr(workers, "POOL", Pool())
    assert perform(SPEC, CONDITIONS).status == status
    assert len(taken) == tries

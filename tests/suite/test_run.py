"""`gradcheck run` with real processes: what it shows, what it exits with, and what no accident may cost."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from gradcheck_cli.suite.execute import Outcome
from gradcheck_cli.suite.results import Results, line
from tests.suite.processes import here, lines, outcomes, run, runners, spec, start, wait

GOOD = [f'name = "good {i}"\ngrad = "sin({i + 1}*x)"' for i in range(30)]
BAD = 'name = "bad"\ngrad = "relu(x) - relu(-x)"\nat = "x=0"'

INIT = (
    "example.gradcheck.toml is written, and gradcheck.schema.json, by which editors complete it; "
    "gradcheck run example.gradcheck.toml\n"
)

HOSTILE = """
import os, re, subprocess
def spin(x):
    while True: pass
def hold(x): return re.match("(a+)+$", "a" * 40 + "b") and x
def kill(x): subprocess.Popen(["sleep", "600.5"]); os.kill(os.getpid(), 9)
def noisy(x): print("noise" * 9999); os.write(1, b"[1, 2]"); return 2*x
def eat(x):
    kept = []
    while True: kept.append(bytearray(1 << 27))
"""

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc"),
    pytest.mark.slow(reason="each test starts processes"),
]


def test_a_check_can_only_spoil_itself(tmp_path: Path) -> None:
    """One that loops for ever, be it in a kernel that holds the interpreter, one that crashes and one that eats memory is
    undecided, with its own error; the others go on, and nothing of it stays behind. Nothing failed: 3."""
    (tmp_path / "h.py").write_text(HOSTILE)
    names = ("spin", "hold", "kill", "eat", "noisy")
    checks = [f'function = "h.py:{name}"\nat = "x=1"\ntimeout = {9 if name == "eat" else 1}' for name in names]
    spec(tmp_path, GOOD[0], *checks)
    code, out, _ = run(tmp_path, "checks.toml", "--workers", "1", "--memory", "1G", "--results", "r.jsonl")
    found = {o["name"].removeprefix("h.py:"): (o["status"], o["fault"]) for o in outcomes(tmp_path / "r.jsonl")}
    assert found == {
        "spin": ("undecided", None), "hold": ("undecided", "timeout"), "kill": ("undecided", "crash"),
        "eat": ("undecided", "memory"), "noisy": ("passed", None), "good 0": ("passed", None),
    }  # fmt: skip
    assert code == 3 and "6 checks: 4 undecided, 2 passed in" in out
    assert "timed out: no answer within 1 s" in out and "(SIGKILL)" in out
    sleepers = [p for p in Path("/proc").glob("[0-9]*/cmdline") if p.exists() and p.read_bytes() == b"sleep\x00600.5\x00"]
    assert not sleepers


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    """kill -9 half way, and half a line in the file: with --resume every check is done once, what was done before stays as it
    was, and the killed run's processes end by themselves. A check that has changed meanwhile isn't done."""
    spec(tmp_path, *GOOD, BAD)
    results = tmp_path / "r.jsonl"
    arguments = ("checks.toml", "--results", "r.jsonl", "--workers", "1")
    first = start(tmp_path, *arguments)
    wait(lambda: lines(results) >= 3, first)
    orphans = runners(first.pid)
    first.kill()
    first.communicate()
    before = outcomes(results)
    assert orphans and 3 <= len(before) < 31
    with results.open("a") as file:
        file.write('{"spec_id": "checks.toml::go')
    spec(tmp_path, *(good.replace("sin", "cos") if f'"{before[0]["name"]}"' in good else good for good in GOOD), BAD)
    code, out, _ = run(tmp_path, *arguments, "--resume")
    after = outcomes(results)
    assert after[: len(before)] == before
    assert sorted(o["name"] for o in after[1:]) == sorted(["bad", *(f"good {i}" for i in range(30))])
    assert code == 1 and f"note: {len(before) - 1} of 31 were done before" in out and "31 checks: 1 failed, 30 passed in" in out
    wait(lambda: not any(Path(f"/proc/{number}").exists() for number in orphans))


def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    """kill -9 of the process that runs checks costs time only: the check that it ran is run once more."""
    (tmp_path / "slow.py").write_text(
        "import time, pathlib\non = pathlib.Path('on')\nwait = not on.exists()\n"
        "def f(x):\n    on.touch()\n    time.sleep(600 * wait)\n    return 2*x\n"
    )
    spec(tmp_path, 'function = "slow.py:f"\nat = "x=1"', *GOOD[:3])
    process = start(tmp_path, "checks.toml", "--workers", "1", "--results", "r.jsonl")
    wait(lambda: (tmp_path / "on").exists(), process)
    (worker,) = runners(process.pid)
    os.kill(worker, signal.SIGKILL)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "4 checks: 4 passed in" in out
    assert [o["status"] for o in outcomes(tmp_path / "r.jsonl")] == ["passed"] * 4


def test_control_c_shows_the_summary_so_far(tmp_path: Path) -> None:
    """And keeps the results; the exit code is 130."""
    (tmp_path / "slow.py").write_text("import time\ndef f(x): time.sleep(600)\n")
    spec(tmp_path, BAD, 'function = "slow.py:f"\nat = "x=1"', *GOOD[:2])
    process = start(tmp_path, "checks.toml", "--workers", "2", "--results", "r.jsonl")
    wait(lambda: lines(tmp_path / "r.jsonl") == 3, process)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "failed checks.toml:3: bad" in out
    assert "interrupted: 4 checks: 1 failed, 2 passed, 1 not run in" in out
    assert len(outcomes(tmp_path / "r.jsonl")) == 3


def test_results_that_cannot_be_written(tmp_path: Path) -> None:
    """A file that another run writes, or a folder: 2, and nothing is run. A disk that is full: everything is run and shown, and
    the exit code isn't 0."""
    spec(tmp_path, GOOD[0])
    with Results(tmp_path / "r.jsonl"):
        code, out, err = run(tmp_path, "checks.toml", "--results", "r.jsonl")
    assert (code, out) == (2, "") and "another run is writing these results" in err
    code, out, err = here(tmp_path, "checks.toml", "--results", "gone/r.jsonl")
    assert (code, out) == (2, "") and "can't write the results: No such file or directory" in err
    code, out, _ = here(tmp_path, "checks.toml", "--results", "/dev/full")
    assert code == 2 and "/dev/full: No space left on device\n1 check: 1 passed in" in out


def test_choosing_and_repeating(tmp_path: Path) -> None:
    """--list runs nothing; -k, --fail-fast and --last-failed run a part; nothing chosen is 3."""
    typo, outside = 'name = "typo"\ngrad = "sinn(x)"', 'name = "outside"\ngrad = "log(x)"\nat = "x=-1"'
    spec(tmp_path, BAD, *GOOD[:2], typo)
    assert here(tmp_path, "checks.toml", "--list", "-k", "not good")[:2] == (0, "checks.toml::bad\nchecks.toml::typo\n")
    code, out, err = here(tmp_path, "checks.toml")
    assert (code, out) == (2, "") and "checks.toml:" in err and "unknown function 'sinn'" in err
    spec(tmp_path, BAD, *GOOD[:2], outside)
    assert not (tmp_path / ".gradcheck").exists()
    assert here(tmp_path, "checks.toml", "--last-failed")[0] == 2
    code, out, _ = run(tmp_path, "checks.toml", "--workers", "1", "--fail-fast")
    assert code == 1 and "note: stopped at the first failure" in out and "4 checks: 1 failed, 3 not run in" in out
    code, out, err = here(tmp_path, "checks.toml", "--last-failed", "--quiet")
    assert (code, err) == (1, "") and out.startswith("1 check: 1 failed in")
    assert here(tmp_path, "checks.toml", "-k", "outside")[0] == 3
    assert here(tmp_path, "checks.toml", "--lf", "--list")[1].splitlines() == ["checks.toml::bad", "checks.toml::outside"]
    code, out, _ = here(tmp_path, "checks.toml", "-k", "cosine")
    assert code == 3 and "0 checks: nothing was checked" in out
    assert here(tmp_path, "checks.toml", "--list", "-k", "cosine")[:2] == (3, "no check matches -k cosine\n")
    code, out, _ = here(tmp_path, "checks.toml", "--lf", "-k", "good")
    assert code == 0 and "note: none of these failed in the run before: all are run" in out


def test_formats_and_baselines(tmp_path: Path) -> None:
    """Several formats at once; what the baseline knows doesn't fail, what is mended is told."""
    spec(tmp_path, BAD, GOOD[0])
    arguments = ("checks.toml", "--baseline", "known.jsonl")
    assert here(tmp_path, *arguments)[0] == 2
    code, out, _ = here(tmp_path, *arguments, "--update-baseline", "--format", "junit:j.xml", "--format", "text")
    assert code == 0 and "known checks.toml:3: bad" in out and "2 checks: 1 known, 1 passed in" in out
    assert "<testsuites" in (tmp_path / "j.xml").read_text()
    known = (tmp_path / "known.jsonl").read_text()
    assert known.count("\n") == 1 and '"findings": ["df/dx float64 grad: kink"]' in known
    (tmp_path / "below").mkdir()
    code, out, _ = here(tmp_path / "below", "..", *arguments[1:2], "../known.jsonl")
    assert code == 0 and "2 checks: 1 known, 1 passed in" in out  # the same from another folder
    spec(tmp_path, BAD.replace("x=0", "x=1"), GOOD[0], BAD.replace('"bad"', '"new"'))
    code, out, _ = here(tmp_path, *arguments)
    assert code == 1 and "mended checks.toml:3: bad" in out and "3 checks: 1 failed, 2 passed (1 mended) in" in out
    for refused in (
        ("--format", "pdf"),
        ("--workers", "-1"),
        ("--tb", "short"),
        ("-rA",),
        ("--timeout", "0"),
        ("--memory", "2Q"),
        ("--memory", "1M"),
    ):
        assert here(tmp_path, "checks.toml", *refused)[0] == 2
    assert here(tmp_path, "checks.toml", "--update-baseline")[0] == 2


def test_the_example_passes_on_any_number_of_workers(tmp_path: Path) -> None:
    """--init writes it, never over a file; the results are the same on one worker and on two, and the run's own process imports
    nothing heavy."""
    assert here(tmp_path, "--init")[:2] == (0, INIT)
    assert here(tmp_path, "--init")[0] == 2
    found = []
    for workers in ("1", "2"):
        command = [sys.executable, "-X", "importtime", "-m", "gradcheck_cli", "run"]
        code, out, err = run(tmp_path, "example.gradcheck.toml", "--workers", workers, "--results", "r.jsonl", command=command)
        assert code == 0, out
        assert not imported(err) & HEAVY
        found.append(sorted(line(Outcome.from_dict({**o, "seconds": 0})) for o in outcomes(tmp_path / "r.jsonl")))
    assert found[0] == found[1] and len(found[0]) == 7


def test_a_spec_without_targets_executes_no_code(tmp_path: Path) -> None:
    """Modules that lie in the working directory, where a pull request may put them, are never imported, neither by what runs
    the checks nor by joblib's own processes."""
    names = ("torch", "sympy", "numpy", "flint", "joblib", "gradcheck_cli", "json", "sitecustomize", "usercustomize")
    for name in names:
        (tmp_path / f"{name}.py").write_text(f"import pathlib; pathlib.Path('executed {name}').touch()\n")
    spec(tmp_path, *GOOD[:3], 'model = "Linear(2, 2)"')
    command = [sys.executable, "-P", "-m", "gradcheck_cli", "run"]  # the installed command looks there neither
    code, out, err = run(tmp_path, "checks.toml", "--backend", "loky", "--workers", "2", command=command)
    assert code == 0, out + err
    assert not list(tmp_path.glob("executed*"))
    spec(tmp_path, 'function = "torch.py:f"')
    code, _, err = run(tmp_path, "checks.toml", "--no-python", command=command)
    assert code == 2 and "checks.toml:3: --no-python refuses this check: it imports code" in err
    assert not list(tmp_path.glob("executed*"))


def test_nothing_heavy_is_imported_before_a_check_runs(tmp_path: Path) -> None:
    """Neither for an error in a spec nor for --list."""
    spec(tmp_path, GOOD[0])
    command = [sys.executable, "-X", "importtime", "-m", "gradcheck_cli", "run"]
    for arguments in (("checks.toml", "--list"), ("gone.toml",)):
        _, _, err = run(tmp_path, *arguments, command=command)
        assert "gradcheck_cli.suite.spec" in imported(err) and not imported(err) & HEAVY


HEAVY = {"torch", "sympy", "flint", "mpmath"}


def imported(log: str) -> set[str]:
    """The modules in what -X importtime writes."""
    return {entry.rpartition("|")[2].strip() for entry in log.splitlines() if entry.startswith("import time:")}

"""`gradcheck run` as its user starts it: a process of its own in a folder of its own. And `here`, in this one, for what isn't
about processes: each that runs a check imports torch and SymPy, two seconds of a core.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gradcheck_cli.cli import app
from gradcheck_cli.suite.execute import Outcome, execute
from gradcheck_cli.suite.spec import Spec
from gradcheck_cli.suite.workers import Conditions

COMMAND = [sys.executable, "-m", "gradcheck_cli", "run"]
PATIENCE = 60.0
"""Seconds for anything that a test waits for."""


def spec(folder: Path, *checks: str, name: str = "checks.toml", defaults: str = "") -> Path:
    """A spec file of these [[check]] tables."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"[defaults]\n{defaults}\n" + "".join(f"[[check]]\n{check}\n" for check in checks))
    return path


def start(folder: Path, *arguments: str, command: Sequence[str] = COMMAND) -> subprocess.Popen[str]:
    """The command, started."""
    return subprocess.Popen(
        [*command, *arguments], cwd=folder, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def run(folder: Path, *arguments: str, command: Sequence[str] = COMMAND) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command."""
    process = start(folder, *arguments, command=command)
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


@contextlib.contextmanager
def no_workers() -> Iterator[None]:
    """Within it a run in this process executes its checks here, one by one; what they find is read as from a worker."""

    def made(specs: Sequence[Spec], conditions: Conditions, **_: object) -> Iterator[Outcome]:
        for spec in specs:
            found = execute(spec, timeout=conditions.timeout, strict=conditions.strict)
            yield Outcome.from_dict(json.loads(json.dumps(found.to_dict())))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gradcheck_cli.suite.run.outcomes", made)
        yield


def here(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """What `run` returns, without a process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), no_workers():
        code = app.run(["run", *arguments])
    return code, out.getvalue(), err.getvalue()


def outcomes(path: Path) -> list[dict[str, Any]]:
    """The lines of a results file; each must be whole."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def wait(until: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    """Wait until something holds, which a process brings about."""
    deadline = time.monotonic() + PATIENCE
    while not until():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.02)


def lines(path: Path) -> int:
    """How many whole lines there are by now."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def children(parent: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
        except OSError:  # it has gone meanwhile
            continue
    return found


def runners(parent: int) -> list[int]:
    """The numbers of the processes that run checks for a run."""
    found = []
    for process in children(parent):
        try:
            if b"gradcheck_cli.suite.runner" in Path(f"/proc/{process}/cmdline").read_bytes():
                found.append(process)
        except OSError:  # it has gone meanwhile
            continue
    return found

"""How the command ends where the world around it is broken: the right exit code, one line, and never the code of a mismatch.

Real processes: closed and full streams, a working directory that has gone, a crash of torch. Most are refused before torch is
imported.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = f"{sys.executable} -m gradcheck_cli"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="what waits for a crash is made for Linux")

pytestmark = pytest.mark.slow(reason="each test starts processes")


def shell(line: str, folder: Path | None = None) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a line for bash, in which `gradcheck` is the command."""
    done = subprocess.run(
        ["bash", "-c", f'gradcheck() {{ {COMMAND} "$@"; }}\n{line}'], capture_output=True, text=True, cwd=folder, timeout=60,
        check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ('gradcheck chain "2*x" --at x=1 >&-', 2, "gradcheck: error: can't write the output: stdout is closed\n"),
        ("gradcheck functions silu >&-", 2, "gradcheck: error: can't write the output: stdout is closed\n"),
        ("gradcheck --help >&-", 2, "gradcheck: error: can't write the output: stdout is closed\n"),
        ("gradcheck run checks >&-", 2, "gradcheck: error: can't write the output: stdout is closed\n"),
        ("gradcheck functions silu >/dev/full", 2, "gradcheck: error: can't write the output: No space left on device\n"),
        ("gradcheck --help >/dev/full", 2, "gradcheck: error: No space left on device\n"),
        ('gradcheck chain "2*x^" 2>/dev/full', 2, ""),
        ('gradcheck chain "2*x^" >&- 2>&- <&-', 2, ""),
        ("gradcheck functions silu 2>&- <&- >/dev/null", 0, ""),
        ("mkdir gone; cd gone; rmdir ../gone; gradcheck run", 2, "gradcheck: error: the working directory isn't there"),
    ],
)  # fmt: skip
def test_streams_and_folders(line: str, code: int, said: str, tmp_path: Path) -> None:
    """Bad input is 2, whoever can hear it; nothing is 1 but a mismatch."""
    found, _, error = shell(line, tmp_path)
    assert found == code
    assert error.startswith(said)
    assert error.count("\n") == bool(said)


def test_a_verdict_without_stderr(tmp_path: Path) -> None:
    """Where stderr is closed, the file that is opened next isn't written into, and the verdict's code stands."""
    code, out, _ = shell('gradcheck chain "relu(x) - relu(-x)" --at x=0 --quiet --output result 2>&-', tmp_path)
    assert (code, out) == (1, "")
    assert (tmp_path / "result").read_text() == "verdict: mismatch (2 checks: 1 mismatch, 1 match)\n"


# -- crashes ------------------------------------------------------------------------------------------------------------


@LINUX
def test_a_crash_of_torch_is_told(tmp_path: Path) -> None:
    """ldexp with a tensor as exponent dies by a segmentation fault in forward mode, with this tool and without: one line names
    signal, operation, file and line; the exit code is 70."""
    (tmp_path / "f.py").write_text("import torch\ndef f(x):\n    return torch.ldexp(x, torch.tensor(2.0))\n")
    code, out, error = shell("gradcheck function f.py:f --at x=1 --mode forward", tmp_path)
    if code == 0:
        pytest.skip("this torch has mended it")
    assert (code, out) == (70, "")
    assert error.startswith("gradcheck: torch, or compiled code that it calls, crashed (SIGSEGV) in ldexp")
    assert error.endswith("at f.py:3\n")
    assert error.count("\n") == 1


WATCHED = """
import ctypes, os, signal, sys, threading
from gradcheck_cli.cli import crashes
crashes.watch(["chain"])
with crashes.recorded():
    thread = threading.Thread(target=eval, args=(sys.argv[1], globals()))
    thread.start()
    thread.join()
crashes.done()
os._exit(int(sys.argv[2]))
"""


@LINUX
@pytest.mark.parametrize(
    ("work", "code", "said"),
    [
        ("0", 3, ""),
        ("os._exit(0)", 2, "gradcheck: error: the code that is checked, or torch, ended the process (exit code 0)\n"),
        ("os.abort()", 70, "gradcheck: torch, or compiled code that it calls, crashed (SIGABRT) in eval (abort)\n"),
        ("ctypes.string_at(0)", 70, "gradcheck: torch, or compiled code that it calls, crashed (SIGSEGV)"),
        ("os.kill(os.getpid(), 9)", 70, "gradcheck: the process was killed (SIGKILL), from outside or for want of memory\n"),
        ("os.kill(os.getpid(), 15)", -15, ""),
    ],
)  # fmt: skip
def test_whatever_ends_the_child(work: str, code: int, said: str) -> None:
    """Its own end is the command's; an end that isn't its own is never a verdict."""
    done = subprocess.run([sys.executable, "-c", WATCHED, work, "3"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == bool(said)


@LINUX
def test_the_child_ends_with_its_parent(tmp_path: Path) -> None:
    """Whoever kills the command has killed the check, even one that holds the interpreter."""
    work = "(print(os.getpid(), flush=True), __import__('re').match('(a+)+$', 'a' * 40 + 'b'))"
    process = subprocess.Popen([sys.executable, "-c", WATCHED, work, "3"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    assert child != process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[:1]:
        assert time.monotonic() < deadline, "the child goes on"
        time.sleep(0.02)


@LINUX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_sent_to_the_command_ends_the_check(number: signal.Signals) -> None:
    """A signal that somebody sends to the process that he started reaches the check, and is what ended both."""
    work = "(print(os.getpid(), flush=True), __import__('time').sleep(60))"
    code = WATCHED.replace("thread.start()", f"signal.signal({number}, signal.SIG_DFL); thread.start()")
    process = subprocess.Popen([sys.executable, "-c", code, work, "3"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    os.kill(process.pid, number)
    assert process.wait(timeout=20) == -number
    assert not Path(f"/proc/{child}").exists()

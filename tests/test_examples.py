"""Every file in examples/ runs and ends as its header says."""

from __future__ import annotations

import contextlib
import io
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from gradcheck_cli.verdict.verdicts import Verdict

pytestmark = pytest.mark.slow(reason="the examples run, most in processes")

EXAMPLES = Path(__file__).parent.parent / "examples"
FILES = sorted(path.name for path in EXAMPLES.iterdir() if path.is_file())


def header(text: str) -> dict[str, str]:
    """The `# Name: value` lines of the comment that a file begins with; lines indented more belong to the one before."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if match := re.fullmatch(r"# ([A-Z][a-z ]*): (.+)", line):
            name = match[1]
            found[name] = match[2]
        elif name and line.startswith("#     "):
            found[name] += " " + line[1:].strip()
    return found


def run(path: Path) -> tuple[str, int]:
    """What the file prints, and its exit code."""
    if path.suffix == ".py":
        printed, code = io.StringIO(), 0
        with contextlib.redirect_stdout(printed):
            try:
                runpy.run_path(str(path), run_name="__main__")
            except SystemExit as end:
                code = int(end.code or 0)
        return printed.getvalue(), code
    path_ = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", str(path)], stdout=subprocess.PIPE, text=True, timeout=120, env={**os.environ, "PATH": path_}, check=False
    )
    return done.stdout, done.returncode


def test_the_stories_are_there() -> None:
    """The three stories that the tool comes from, a custom backward, and a job for CI."""
    assert {"hooks.py", "mixed_partial.py", "tanh_slip.py", "custom_backward.py", "ci.sh"} <= set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_an_example_says_where_it_comes_from_and_how_it_ends(name: str) -> None:
    """Source, verdicts and exit code stand in the header, and each verdict is one."""
    said = header((EXAMPLES / name).read_text(encoding="utf-8"))
    assert said.keys() >= {"Source", "Verdict", "Exit code"}
    assert set(said["Verdict"].split(", ")) <= set(Verdict)


@pytest.mark.parametrize("name", FILES)
def test_an_example_ends_as_it_says(name: str) -> None:
    """The verdicts of the reports that it prints, in order, and its exit code."""
    said = header((EXAMPLES / name).read_text(encoding="utf-8"))
    printed, code = run(EXAMPLES / name)
    verdicts = re.findall(r"^verdict: (\w+)", printed, re.MULTILINE)
    assert ", ".join(verdicts) == said["Verdict"], printed
    assert str(code) == said["Exit code"]

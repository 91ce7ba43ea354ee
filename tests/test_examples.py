"""Every file in examples/ runs and ends as its header says."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import runpy
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pytest

from gradcheck_cli.verdict.verdicts import Verdict
from tests import shown

pytestmark = pytest.mark.slow(reason="the examples run, most in processes")

EXAMPLES = Path(__file__).parent.parent / "examples"
FILES = sorted(path.name for path in EXAMPLES.iterdir() if path.is_file())


def words(path: Path) -> str:
    """The text of a file; of a notebook the list in its first cell, as a comment."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    return "\n".join(f"# {line.strip().removeprefix('- ')}" for line in json.loads(text)["cells"][0]["source"])


@cache
def notebook(path: Path) -> Any:
    """The notebook, run once."""
    return shown.executed(path)


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
    """What the file prints, and its exit code; of a notebook the reports that its cells show."""
    if path.suffix == ".ipynb":
        text = "\n".join(part.get("text/plain", "") for cell in shown.printed(notebook(path)) for part in cell)
        return re.sub(r"^<Report \w+: (\w+).*$", r"verdict: \1", text, flags=re.MULTILINE), 0
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
    said = header(words(EXAMPLES / name))
    assert said.keys() >= {"Source", "Verdict", "Exit code"}
    assert set(said["Verdict"].split(", ")) <= set(Verdict)


@pytest.mark.parametrize("name", FILES)
def test_an_example_ends_as_it_says(name: str) -> None:
    """The verdicts of the reports that it prints, in order, and its exit code."""
    said = header(words(EXAMPLES / name))
    printed, code = run(EXAMPLES / name)
    verdicts = re.findall(r"^verdict: (\w+)", printed, re.MULTILINE)
    assert ", ".join(verdicts) == said["Verdict"], printed
    assert str(code) == said["Exit code"]


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".ipynb")])
def test_a_notebook_holds_what_it_prints(name: str) -> None:
    """All text of every cell, as it was stored for those who only read; `python -m tests.shown` stores it anew."""
    stored = nbformat.read(EXAMPLES / name, as_version=4)
    nbformat.validate(stored)
    assert all(cell.cell_type != "code" or cell.execution_count for cell in stored.cells)
    for before, now in zip(shown.printed(stored), shown.printed(notebook(EXAMPLES / name)), strict=True):
        assert shown.lasting(before) == shown.lasting(now)

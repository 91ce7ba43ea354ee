"""`gradcheck function`: what it takes, its exit codes, its one-line errors, and what it doesn't import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gradcheck_cli.cli import app as application

SOURCE = """
import torch

class SiLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, beta=1.0):
        ctx.save_for_backward(x)
        ctx.beta = beta
        return x * torch.sigmoid(beta * x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(ctx.beta * x)
        return g * (s + ctx.beta * x * s * (1 - s)), None

class Bad(SiLU):
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * torch.sigmoid(x), None

def loud(x):
    print("to stderr")
    return x * 2

def whole(x):
    return x.long()

def single(x):
    if x.dtype != torch.float32:
        raise TypeError("float32 alone")
    return x * x

def ends(x):
    raise SystemExit(0)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "layers_of_mine.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("layers_of_mine",):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


EXITS = [
    ("layers_of_mine.py:SiLU", 0),
    ("layers_of_mine.py:SiLU --at x=[-1,0.5] --formula x*sigmoid(x) --order 2", 0),
    ("layers_of_mine.py:SiLU --at x=1 --set beta=0.5 --formula x*sigmoid(x/2) --dtype float32", 0),
    ("layers_of_mine:SiLU --shape x=2,2", 0),
    ("layers_of_mine.py:Bad --at x=[1,2]", 1),
    ("torch:sin --sample 1 --domain x=0:1", 0),
    ("layers_of_mine.py:SiLU --at x=1 --set beta=0.5 --formula x*sigmoid(beta*x)", 0),
    ("layers_of_mine.py:SiLU --at x=1 --set beta=0.5 --formula x*sigmoid(x*beta*2)", 1),
    ("layers_of_mine.py:SiLU --at x=1 --set beta=0.5 --surrogate x*sigmoid(beta*x)", 0),
    ("layers_of_mine.py:single --sample 1 --dtype all", 0),
]


@pytest.mark.parametrize(("arguments", "code"), EXITS, ids=lambda v: v if isinstance(v, str) else "")
def test_exit_codes(folder: Path, arguments: str, code: int) -> None:
    """0 where the backward is right, 1 where it isn't."""
    assert application.run(["function", *arguments.split(), "--quiet"]) == code


ERRORS = [
    ("nowhere.py:f", "there is no file 'nowhere.py'"),
    ("layers_of_mine.py:", "a name is missing: a target is FILE.py:NAME or package.module:NAME"),
    ("layers-of-mine", "the name is missing: a target is FILE.py:NAME or package.module:NAME"),
    ("layers_of_mine.py:SLU", "layers_of_mine.py has no 'SLU': did you mean 'SiLU'"),
    ("layers_of_mine.py:whole --at x=[1,2]", "whole returns int64 only: there is nothing to differentiate"),
    ("layers_of_mine.py:ends --at x=1", "the code that is checked ends the process: SystemExit(0)"),
    ("layers_of_mine.py:ends", "the code that is checked ends the process: SystemExit(0)"),
    ("layers_of_mine.py:SiLU --at y=1", "'y' is not an input"),
    ("layers_of_mine.py:SiLU --set gamma=1", "'gamma' is not a parameter of SiLU (it has x, beta)"),
    ("layers_of_mine.py:SiLU --claim x=1", "no such option: --claim"),
    ("layers_of_mine.py --plot a.png", "a picture is of one target: gradcheck function layers_of_mine.py:NAME --plot FILE"),
    ("layers_of_mine.py:single", "TypeError: float32 alone; it runs with tensors of another dtype: --dtype float32"),
    ("layers_of_mine.py:single --at x=1", "TypeError: float32 alone; it runs with tensors of another dtype: --dtype float32"),
]


@pytest.mark.parametrize(("arguments", "message"), ERRORS, ids=lambda v: v[:30])
def test_errors(folder: Path, capsys: pytest.CaptureFixture[str], arguments: str, message: str) -> None:
    """Bad input: exit code 2, one line that says what is wrong, then the text with a caret where there is one."""
    assert application.run(["function", *arguments.split()]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err.splitlines()[0]


def test_json_is_alone_on_stdout(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the function prints goes to stderr."""
    assert application.run(["function", "layers_of_mine.py:loud", "--at", "x=[1,2]", "--format", "json"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert "to stderr" in printed.err
    assert found["problem"]["stages"] == [{"name": "y", "expression": "loud(x)", "inputs": ["x"]}]
    assert found["checks"][0]["point"] == {"x": [1, 2], "v": [-1.8125, 1.625]}


@pytest.mark.parametrize("arguments", ["--help", "file.py", "nowhere.py:f", "f.py:a-b"])
@pytest.mark.slow(reason="each case starts a process")
def test_imports_nothing_heavy(arguments: str) -> None:
    """Help and errors of the target's text come without torch and SymPy."""
    code = f"""
import sys
from gradcheck_cli.cli import app
app.run(["function", {arguments!r}])
assert not {{"torch", "sympy", "numpy"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_help_says_that_the_file_is_executed(capsys: pytest.CaptureFixture[str]) -> None:
    """The user is told before."""
    assert application.run(["function", "--help"]) == 0
    assert "The file is imported, hence executed" in " ".join(capsys.readouterr().out.split())

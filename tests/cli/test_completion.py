"""Completion: what may stand at the cursor is offered, in the spelling of each shell, and nothing of the user's is executed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from gradcheck_cli.cli import completion
from gradcheck_cli.cli.app import app, run
from gradcheck_cli.cli.completion import ASKED, Line, answer, candidates

CODE = """
raise SystemExit("this file must not be executed")
import torch

class SiLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale): ...

class Net(torch.nn.Module): ...
def silu(x, y=1): ...
def build(): ...
cube = lambda x: x**3
LIMIT = 5
"""

SPEC = '[[check]]\nname = "the first of $all"\nchain = "x"\n[[check]]\nname = "the second"\nchain = "x"\n'


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(CODE)
    (tmp_path / "checks.toml").write_text(SPEC)
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)


COMMAND: Any = typer.main.get_command(app)


def offered(line: str) -> set[str]:
    """What is offered at the end of a line."""
    words = Line.read(line).words
    return {c for c in candidates(COMMAND, words) if c.startswith(words[-1])}


@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("gradcheck ch", {"chain"}),
        ("gradcheck help hess", {"hessian"}),
        ("gradcheck --ver", {"--version"}),
        ("gradcheck chain --dt", {"--dtype"}),
        ("gradcheck run --lf", {"--lf"}),
        ("gradcheck run --junitx", {"--junitxml"}),
        ("gradcheck chain x --poi", {"--point"}),
        ("gradcheck why nan", {"nan_trap"}),
        ("gradcheck why missing_f", {"missing_factor"}),
        ("gradcheck model x --ev", {"--eval"}),
        ("gradcheck chain x --dtype bf", {"bfloat16"}),
        ("gradcheck chain x --dtype=float64,b", {"--dtype=float64,bfloat16"}),
        ("gradcheck function f --mode re", {"reverse"}),
        ("gradcheck chain x --modes fo", {"forward"}),
        ("gradcheck chain x --format j", {"json"}),
        ("gradcheck run --format sari", {"sarif"}),
        ("gradcheck run --format junit:f", {"junit:folder/"}),
        ("gradcheck model x --wrt p", {"parameters"}),
        ("gradcheck chain x --device cp", {"cpu"}),
        ("gradcheck functions sil", {"silu"}),
        ("gradcheck chain \"2*sil", {"2*silu("}),
        ("gradcheck chain 'torch.sil", {"torch.silu("}),
        ("gradcheck chain x --claim x=sil", {"x=silu("}),
        ("gradcheck chain 'alpha*y' --at ", {"alpha=", "y="}),
        ("gradcheck chain 'alpha*y' --at y=1,", {"y=1,alpha="}),
        ("gradcheck mixed 'alpha*y' --wrt y,al", {"y,alpha"}),
        ("gradcheck function mine.py:silu --shape ", {"x=", "y="}),
        ("gradcheck function mine.py:SiLU --at ", {"x=", "scale="}),
        ("gradcheck model \"Linear(3, 4) | ReLU6", {"Linear(3, 4) | ReLU6("}),
        ("gradcheck function mine.py:", {"mine.py:SiLU", "mine.py:silu", "mine.py:build", "mine.py:cube"}),
        ("gradcheck model mine.py:", {"mine.py:Net", "mine.py:build", "mine.py:cube"}),
        ("gradcheck function mi", {"mine.py", "mine.py:SiLU", "mine.py:silu", "mine.py:build", "mine.py:cube"}),
        ("gradcheck run ", {"checks.toml", "folder/"}),
        ("gradcheck run checks.toml::", {"checks.toml::the first of $all", "checks.toml::the second"}),
        ("gradcheck completion f", {"fish"}),
        ("gradcheck nothing ", set()),
        ("gradcheck chain x --at=", {"--at=x="}),
    ],
)  # fmt: skip
def test_what_may_stand_there(line: str, some: set[str]) -> None:
    """Commands, options, values, functions, inputs, names in files and checks are offered; a file is read and not executed."""
    assert offered(line) == some


def test_every_value_with_a_choice_is_offered() -> None:
    """Whatever option of whatever command takes one of some words, they are offered; options are, too."""
    seen = 0
    for name, one in COMMAND.commands.items():
        for parameter in one.params:
            if parameter.opts and parameter.opts[0].startswith("--"):
                assert parameter.opts[0] in offered(f"gradcheck {name} --")
            if parameter.metavar in ("DTYPE", "MODE") or "|" in (parameter.metavar or ""):
                seen += 1
                assert offered(f"gradcheck {name} {parameter.opts[0]} ") or "FORMULA" in parameter.metavar
    assert seen > 20


@pytest.mark.parametrize(
    ("line", "text", "typed"),
    [
        ("g run checks.toml::the", "checks.toml::the first of $all", r"the\ first\ of\ \$all"),
        ('g run "checks.toml::the', "checks.toml::the first of $all", r"checks.toml::the first of \$all"),
        ("g run 'checks.toml::the", "checks.toml::the first of $all", "checks.toml::the first of $all"),
        ("g chain --dtype=fl", "--dtype=float64", "float64"),
        ("g chain 2*si", "2*sin(", r"2\*sin\("),
    ],
)
def test_bash_gets_what_it_replaces(line: str, text: str, typed: str) -> None:
    """Bash replaces what stands behind the last sign that breaks words, or all behind an open quote; and it quotes nothing."""
    assert Line.read(line).for_bash(text, " \t\n\"'><=;|&(:") == typed


def test_an_answer_is_never_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """What can't be completed gives nothing: no traceback, no message."""
    for line in (
        "",
        "gradcheck chain 'x",
        "gradcheck run nothing.toml::",
        "gradcheck chain ((((",
        "gradcheck function \0:",
        "g \\",
    ):
        answer(app, {ASKED: "zsh", "COMP_LINE": line})
        assert "Traceback" not in "".join(capsys.readouterr())


def test_nothing_heavy_is_imported_for_an_answer() -> None:
    """Completing needs no torch, SymPy or NumPy, whatever stands at the cursor."""
    lines = [
        "gradcheck ",
        'gradcheck chain "sil',
        "gradcheck function mine.py:",
        "gradcheck chain 'x*y' --at ",
        "gradcheck model Li",
    ]
    script = (
        "import sys\nfrom gradcheck_cli.cli.app import app\nfrom gradcheck_cli.cli.completion import answer\n"
        f"for line in {lines!r}: answer(app, {{'GRADCHECK_COMPLETE': 'bash', 'COMP_LINE': line}})\n"
        "print([m for m in ('torch', 'sympy', 'flint', 'numpy') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]" and "silu(" in done.stdout


def test_scripts(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each shell has one; without a name it is that of $SHELL."""
    for shell, script in completion.SCRIPTS.items():
        assert run(["completion", shell]) == 0
        assert capsys.readouterr().out.strip() == script
        monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
        assert run(["completion"]) == 0
        assert capsys.readouterr().out.strip() == script
    assert run(["completion", "csh"]) == 2
    assert "unknown shell 'csh': choose from bash, zsh, fish" in capsys.readouterr().err


def _program(folder: Path) -> None:
    """A `gradcheck` on the path that is this package."""
    path = folder / "bin" / "gradcheck"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gradcheck_cli "$@"\n')
    path.chmod(0o755)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash isn't installed")
def test_in_bash(tmp_path: Path) -> None:
    """The script defines a function that bash calls: it fills COMPREPLY with what replaces the last word."""
    _program(tmp_path)
    root = Path(completion.__file__).parents[2]
    script = completion.SCRIPTS["bash"] + (
        '\nCOMP_LINE="gradcheck function mine.py:SiL"; COMP_POINT=${#COMP_LINE}; _gradcheck gradcheck; echo "${COMPREPLY[@]}"'
        '\nCOMP_LINE="gradcheck chain x --dtype bf and more"; COMP_POINT=28; _gradcheck gradcheck; echo "${COMPREPLY[@]}"'
    )
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(root), "COMP_WORDBREAKS": " \t\n\"'><=;|&(:"}
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.stdout.split("\n") == ["SiLU", "bfloat16", ""], done.stderr


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh isn't installed")
def test_zsh_reads_its_script() -> None:
    """The script is one of zsh."""
    script = f"autoload -U compinit; compinit -u -D; {completion.SCRIPTS['zsh']}; whence -w _gradcheck"
    done = subprocess.run(["zsh", "-f", "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "_gradcheck: function", done.stderr


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish isn't installed")
def test_in_fish(tmp_path: Path) -> None:
    """Fish asks the program, and shows what it answers."""
    _program(tmp_path)
    root = Path(completion.__file__).parents[2]
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(root)}
    script = f"{completion.SCRIPTS['fish']}\ncomplete -C 'gradcheck chain x --dtype bf'"
    done = subprocess.run(["fish", "--no-config", "-c", script], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.stdout.split() == ["bfloat16"], done.stderr

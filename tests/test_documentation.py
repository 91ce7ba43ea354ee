"""The README is true: transcripts are run and compared, code is run, and no command, option, verdict or cause is left out."""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from gradcheck_cli.cli.app import app, run
from gradcheck_cli.verdict.verdicts import Cause, Verdict

README = Path(__file__).parent.parent / "README.md"
TEXT = README.read_text(encoding="utf-8")
COMMAND = typer.main.get_command(app)


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def transcript(block: str) -> Iterator[tuple[str, str]]:
    """Every command of a console block with the output that stands under it."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def answer(arguments: list[str]) -> tuple[str, int]:
    """What `gradcheck` prints (both streams, in order), and its exit code."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = run(arguments)
    return printed.getvalue(), code


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Transcripts run in a copy of the examples, where they may write; a page has 100 columns."""
    shutil.copytree(README.parent / "examples", tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.mark.parametrize("block", blocks("console"), ids=lambda block: block.split("\n")[0][2:60])
@pytest.mark.slow(reason="every transcript of the README")
def test_a_transcript_is_what_happens(block: str) -> None:
    """Every command of the README prints exactly what stands there; `echo $?` shows its exit code."""
    code = 0
    for command, expected in transcript(block):
        if command == "echo $?":
            assert f"{code}\n" == expected
            continue
        program, *arguments = shlex.split(command)
        assert program == "gradcheck"
        printed, code = answer(arguments)
        assert printed == expected, command


def test_the_first_screen_verifies_and_refutes() -> None:
    """A verified transcript and a refuted one come before everything else."""
    first, second = blocks("console")[:2]
    assert "verdict: match" in first and "verdict: mismatch" in second
    assert TEXT.index(second) < TEXT.index("\n## ")


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.split("\n")[0])
def test_code_runs(block: str) -> None:
    """Every block of Python runs."""
    exec(compile(block, str(README), "exec"), {"__name__": "readme"})


def test_sessions_run() -> None:
    """Every Python session prints what stands there."""
    sessions = blocks("pycon")
    assert sessions
    for session in sessions:
        example = doctest.DocTestParser().get_doctest(session, {}, "README", str(README), 0)
        assert example.examples
        output: list[str] = []
        doctest.DocTestRunner().run(example, out=output.append)
        assert not output, "".join(output)


def test_every_command_and_option_is_shown() -> None:
    """Each command, and each long option of each, stands in the README, most of them in a transcript."""
    for name, command in COMMAND.commands.items():  # type: ignore[attr-defined]
        assert f"$ gradcheck {name} " in TEXT
        for parameter in [*command.params, *COMMAND.params]:
            for option in (*parameter.opts, *parameter.secondary_opts):
                if option.startswith("--"):
                    assert re.search(rf"{option}(?![-\w])", TEXT), f"{name} {option}"


def test_every_verdict_cause_and_exit_code_is_described() -> None:
    """Each has a row in a table; the other way round, no row describes what doesn't exist."""
    rows = set(re.findall(r"^\| `?(\w+)`? \|", TEXT, re.MULTILINE))
    codes = {"0", "1", "2", "3", "70"}
    assert rows - {"verdict", "cause"} == {v.value for v in Verdict} | {c.value for c in Cause} | codes


def test_files_that_are_named_exist() -> None:
    """Every path of the repository that the README names is there."""
    named = re.findall(r"`((?:examples|benchmarks)/[\w./]*|[\w]+\.(?:py|sh))`", TEXT)
    assert len(named) > 5
    for path in named:
        assert (README.parent / path).exists() or (README.parent / "examples" / path).exists(), path

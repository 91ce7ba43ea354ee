"""README.md and docs/ are true: transcripts are run and compared, code is run, and no command, option, verdict or cause is left
out. `make transcripts` writes down what the commands print now."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from gradcheck_cli.cli.app import app
from gradcheck_cli.verdict.verdicts import Cause, Verdict
from tests import transcripts

ROOT = transcripts.ROOT
README = ROOT / "README.md"
TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in transcripts.pages()}
TEXT = TEXTS["README.md"]
COMMAND = typer.main.get_command(app)


def _each(language: str) -> list[Any]:
    """The blocks of one language of all pages, as parameters."""
    return [
        pytest.param(block, id=f"{name}: {block.partition(chr(10))[0][:50]}")
        for name, text in TEXTS.items()
        for block in transcripts.blocks(text, language)
    ]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path) -> Iterator[None]:
    """What is run is run in a copy of the examples, where it may write; a page has 100 columns."""
    with transcripts.elsewhere(tmp_path):
        yield


@pytest.mark.parametrize("block", _each("console"))
@pytest.mark.slow(reason="every transcript of the README and the manual")
def test_a_transcript_is_what_happens(block: str) -> None:
    """Every command prints exactly what stands there; `echo $?` shows its exit code."""
    ran = 0
    for command, printed, expected in transcripts.replayed(block):
        assert transcripts.lasting(printed) == transcripts.lasting(expected), command
        ran += 1
    assert ran == block.count("\n$ ") + 1 and block.startswith("$ ")


@pytest.mark.parametrize("name", [name for name, text in TEXTS.items() if transcripts.blocks(text, "pycon")])
@pytest.mark.slow(reason="every session of the README and the manual")
def test_sessions_run(name: str) -> None:
    """Every Python session prints what stands there."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in transcripts.blocks(TEXTS[name], "pycon"):
        assert transcripts.session(block, names) == block


@pytest.mark.parametrize("block", _each("python"))
def test_code_runs(block: str) -> None:
    """Every block of Python runs."""
    exec(compile(block, "<page>", "exec"), {"__name__": "page"})


def test_a_changed_transcript_is_told_and_renewed() -> None:
    """What `make transcripts` writes is what happens; seconds and progress alone change nothing."""
    error = "gradcheck: error: no such option: --no-such (see gradcheck --help)"
    right = f"```console\n$ gradcheck --no-such\n{error}\n$ echo $?\n2\n```\n"
    assert transcripts.renewed(right) == right
    assert transcripts.renewed(right.replace("no such option", "unknown")) == right
    assert transcripts.renewed("```pycon\n>>> 1 + 1\n3\n>>> for i in range(2):\n...     i\n>>> 1/0\n```\n") == (
        "```pycon\n>>> 1 + 1\n2\n>>> for i in range(2):\n...     i\n...\n0\n1\n>>> 1/0\nTraceback (most recent call last):\n"
        "  ...\nZeroDivisionError: division by zero\n```\n"
    )
    assert transcripts.lasting("7 passed in 4.9 s") == transcripts.lasting("7 passed in 12 s") != "7 passed in 4.9 s"


def test_the_first_screen_verifies_and_refutes() -> None:
    """A verified transcript and a refuted one come before everything else."""
    first, second = transcripts.blocks(TEXT, "console")[:2]
    assert "verdict: match" in first and "verdict: mismatch" in second
    assert TEXT.index(second) < TEXT.index("\n## ")


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
        assert (ROOT / path).exists() or (ROOT / "examples" / path).exists(), path

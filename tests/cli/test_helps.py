"""The help and the table of functions fit the terminal, and what they show can be pasted."""

from __future__ import annotations

import shlex
import sys

import pytest

from gradcheck_cli.cli import streams
from gradcheck_cli.cli.app import app, run
from gradcheck_cli.cli.helps import broken

COMMANDS = ["", *(command.name or "" for command in app.registered_commands)]


@pytest.mark.parametrize("columns", [60, 80, 100, 140])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits(command: str, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """No line is wider than COLUMNS, its end included, and no sentence is cut."""
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run([*([command] if command else []), "--help"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= columns
    assert "...\n" not in text.partition("Commands:")[2]


@pytest.mark.parametrize("columns", [40, 60, 80, 100])
def test_functions_fit(columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole table."""
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run(["functions"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= columns


@pytest.mark.parametrize("columns", [20, 30, 50, 200])
def test_a_broken_line_is_the_same_command(columns: int) -> None:
    """As a shell takes it; no line is wider than it has to be."""
    line = '  gradcheck chain "z = 2*x" "w = sin(z) + x" --sample 100 --domain x=0:5'
    lines = broken(line, columns)
    assert shlex.split(" ".join(part.removesuffix("\\") for part in lines)) == shlex.split(line)
    assert all(part.endswith(" \\") for part in lines[:-1])
    assert columns < 40 or max(map(len, lines)) <= columns


class Terminal:
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("terminal", "set_", "output", "colored"),
    [
        (True, {}, "-", True), (True, {"NO_COLOR": "1"}, "-", False), (True, {"TERM": "dumb"}, "-", False),
        (True, {}, "file", False), (False, {}, "-", False), (False, {"FORCE_COLOR": "1"}, "-", True),
        (False, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, "-", False), (True, {"NO_COLOR": ""}, "-", True),
    ],
)  # fmt: skip
def test_colours(terminal: bool, set_: dict[str, str], output: str, colored: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """On terminals that know them; NO_COLOR is stronger than FORCE_COLOR, and a file has none."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in set_.items():
        monkeypatch.setenv(name, value)
    if terminal:
        monkeypatch.setattr(sys, "stdout", Terminal())
    assert streams.colored(output) is colored


@pytest.mark.parametrize(("columns", "width"), [("72", 72), ("", 100), ("0", 100), ("-3", 100), ("many", 100)])
def test_width(columns: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """COLUMNS, where it is a number; 100 where there is no terminal."""
    monkeypatch.setenv("COLUMNS", columns)
    assert streams.width() == streams.width("file") == width


def test_only_what_may_be_repeated_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """A lesson is about one point."""
    for command, repeated in (("explain", False), ("chain", True)):
        assert run([command, "--help"]) == 0
        said = " ".join(capsys.readouterr().out.split())
        point = said.partition("--at POINT ")[2].partition(" --shape ")[0]
        assert point and ("Repeat it for more" in point) is repeated

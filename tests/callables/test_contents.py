"""A file without a NAME: what can be checked is, the rest is told why; what isn't meant for tensors isn't called."""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gradcheck_cli import InputError, check_function, check_model
from gradcheck_cli.callables.contents import whole
from gradcheck_cli.cli.app import run
from gradcheck_cli.output import renderer
from gradcheck_cli.output.several import render
from gradcheck_cli.suite.execute import execute
from gradcheck_cli.suite.spec import load
from gradcheck_cli.verdict.reports import Reports

CODE = """
from __future__ import annotations
from dataclasses import dataclass
from pathlib import Path
import torch
from torch import nn
import torch.nn.functional as F

class _Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x*x

    @staticmethod
    def backward(ctx, upstream):
        (x,) = ctx.saved_tensors
        return 3*x*upstream

square = _Square.apply
cube = lambda x: x**3
def product(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor: return x*y
def scaled(x, n: int): return x*n
def ends(x): raise SystemExit(0)
def shaped(x): return x.reshape(4, 5)
def save(x: torch.Tensor, path: Path): raise SystemExit("called")
def main(): raise SystemExit("called")
def test_something(x): raise SystemExit("called")
def _hidden(x): raise SystemExit("called")

@dataclass
class Settings:
    size: int = 3

class Net(nn.Module):
    def __init__(self, size=3):
        super().__init__()
        self.layer = nn.Linear(size, 2)

    def forward(self, x):
        return self.layer(x)

class Sized(Net):
    def __init__(self, size):
        super().__init__(size)

def build() -> nn.Module: return Net(2)
net = nn.Sequential(nn.Linear(2, 1), nn.Tanh())
LIMIT = 5
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests: modules stay."""
    place = tmp_path_factory.mktemp("contents")
    (place / "everything_in_it.py").write_text(CODE)
    return place


@pytest.fixture
def file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Its name, in the working directory."""
    monkeypatch.chdir(folder)
    return "everything_in_it.py"


@pytest.fixture(scope="module")
def found(folder: Path) -> Iterator[Any]:
    """What is found in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield check_function("everything_in_it.py")


def names(reports: Reports) -> dict[str, str]:
    """Each target's name, and its verdict."""
    return {target.partition(":")[2]: report.verdict.value for target, report in reports.reports.items()}


def test_functions_of_a_file(file: str, found: Any) -> None:
    """Custom Functions (private ones too) and public functions are checked; the worst one's exit code is that of all; what
    isn't meant for tensors isn't called."""
    reports = found
    assert names(reports) == {"_Square": "mismatch", "cube": "match", "product": "match"}
    assert (reports.exit_code, reports.ok, reports.verdict.value) == (1, False, "mismatch")
    left = reports.left
    assert left["square"] == "the apply of _Square"
    assert left["dataclass"] == left["Path"] == "imported" and "torch" not in left and "LIMIT" not in left
    assert left["scaled"].endswith("give its value by --set, as in --set n=2")
    assert left["shaped"].startswith("it fails at tensors of shape (3,), (3, 3), ()")
    assert left["ends"] == "it ends the process: SystemExit(0)"
    assert left["save"] == "'path' is annotated Path, no tensor"
    assert left["main"] == left["build"] == "it takes no arguments"
    assert left["test_something"] == "a test" and left["Settings"] == "a class" and "_hidden" not in left
    assert left["Net"] == left["net"] == f"a network: gradcheck model {file}"


def test_networks_of_a_file(file: str) -> None:
    """Modules, classes that need no arguments, and functions that are annotated to build one."""
    reports: Any = check_model(file)
    assert names(reports) == {"Net": "match", "build": "match", "net": "match"} and reports.ok
    assert reports.left["Sized"] == "its constructor needs size: name a function that builds it"
    assert reports.left["main"] == f"if it builds a network: gradcheck model {file}:NAME"
    assert reports.left["_Square" if "_Square" in reports.left else "cube"] == f"no network: gradcheck function {file}"


def test_one_summary(file: str, found: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each target, the report on what doesn't pass, the reasons, and a last line; --quiet leaves that."""
    text = str(found)
    lines = text.splitlines()
    assert lines[0] == f"function: {file}"
    assert any(line.startswith(f"{file}:cube ") and " match (" in line for line in lines)
    assert text.count("\n== ") == 1 and f"== {file}:_Square" in lines and "3*v" in text
    assert "left out: test_something: a test" in lines
    assert lines[-1].startswith("verdict: mismatch (3 targets: 1 mismatch, 2 match; ")
    assert run(["function", file, "--quiet"]) == 1
    assert capsys.readouterr().out == f"{lines[-1]}\n"
    assert render(found, verbose=True).count("\n== ") == 3


def test_as_json(found: Any) -> None:
    """A whole report for each target, and what is left out."""
    given = json.loads(renderer("json", found)(found))
    assert [target["target"].partition(":")[2] for target in given["targets"]] == ["_Square", "cube", "product"]
    assert all(target["schema"] == 1 and target["checks"] for target in given["targets"])
    assert (given["verdict"], given["exit_code"], given["left"]["Settings"]) == ("mismatch", 1, "a class")


def test_as_a_page(found: Any) -> None:
    """Each target with its whole report, no name twice in the page, headings in order, and what is left out."""
    page = renderer("html", found)(found, command="gradcheck function FILE")
    ids = re.findall(r' id="([^"]*)"', page)
    assert len(ids) == len(set(ids)) and {"report-1", "report-2", "report-3", "report-1-findings"} <= set(ids)
    named = set(" ".join(re.findall(r'(?:aria-labelledby|data-of)="([^"]*)"', page)).split())
    assert named and named <= set(ids)
    levels = [int(level) for level in re.findall(r"<h(\d)", page)]
    assert levels[0] == 1 and levels.count(1) == 1 and all(b <= a + 1 for a, b in itertools.pairwise(levels))
    assert page.count("<details id=") == 3 and "<li><code>Settings</code>: a class</li>" in page


def test_in_a_notebook(found: Any) -> None:
    """The text, whole; a table of pandas names the target of each row; a picture is of one target."""
    assert str(found) in found._repr_markdown_() and "_Square" in found._repr_html_()
    table = found.to_dataframe()
    assert list(table["target"].unique()) == list(found.reports) and len(table) == len(found.checks)
    assert (table.groupby("target")["verdict"].max() == "mismatch").sum() == 1
    with pytest.raises(InputError, match=r"a picture is of one target: gradcheck function .*:_Square --plot FILE"):
        found.plot()


def test_options_are_for_all(file: str) -> None:
    """A point that names a parameter leaves out what has none of that name; a dtype is everybody's."""
    reports: Any = check_function(file, at={"x": 2.0}, dtype="float32")
    assert names(reports) == {"_Square": "mismatch", "cube": "match"}
    assert all(report.problem["dtype"] == ["float32"] for report in reports.reports.values())
    assert reports.left["product"] == "the point gives no value for y"


def test_the_time_is_for_all(tmp_path: Path) -> None:
    """What isn't reached is undecided, and the exit code says so: no function here returns within the time."""
    waiting = tmp_path / "waiting.py"
    text = "import time\n\ndef first(x):\n    time.sleep(0.3)\n    return x * x\n"
    waiting.write_text(text + text.replace("first", "second").replace("import time\n", ""), encoding="utf-8")
    reports: Any = check_function(str(waiting), timeout=0.1)
    assert names(reports) == {"first": "undecided", "second": "undecided"} and reports.exit_code == 3


def test_a_module_and_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a file; a package has what it takes from its own modules."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    package = tmp_path / f"package_{tmp_path.name.replace('-', '_')}"
    package.mkdir()
    (package / "__init__.py").write_text("from .inner import cube\nfrom math import sin\n")
    (package / "inner.py").write_text("def cube(x):\n    return x**3\n")
    assert [*check_function(package.name).reports] == [f"{package.name}:cube"]  # type: ignore[attr-defined]
    assert [*check_function(f"{package.name}.inner").reports] == [f"{package.name}.inner:cube"]  # type: ignore[attr-defined]


def test_where_nothing_can_be_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is bad input, and every name is told why."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nothing_here.py").write_text("LIMIT = 5\n")
    (tmp_path / "nothing_fits.py").write_text("def f(n: int): return n\nclass C: pass\n")
    with pytest.raises(InputError, match="there is no function of tensors in it"):
        check_function("nothing_here.py")
    with pytest.raises(InputError, match="there is no network in it that can be checked; left out: f "):
        check_model("nothing_fits.py")
    assert run(["function", "nothing_fits.py"]) == 2
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()[1:]] == ["  C", "  f"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a.py", "a.py"), ("folder/a.py", "folder/a.py"), ("a.py:f", None), ("json.decoder", "json.decoder"),
        ("json.decoder.JSONDecoder", None), ("no.such", None),
        ("json", "json"), ("no_such_module_at_all", None), ("Linear(2, 3)", None), ("a b", None),
    ],
)  # fmt: skip
def test_what_is_a_whole_file(text: str, place: str | None) -> None:
    """A file, a dotted name, or a module that is there, without a NAME."""
    assert whole(text) == place


def test_a_spec_names_what_it_checks(file: str, tmp_path: Path) -> None:
    """An outcome is of one check: a whole file is refused there."""
    (tmp_path / "a.toml").write_text(f'[[check]]\nfunction = "{file}"\n')
    outcome = execute(load(tmp_path / "a.toml", "a.toml")[0])
    assert outcome.fault == "input" and "FILE.py:NAME" in (outcome.error or "")

"""The command that runs a check alone asks for what the spec asks for, in whatever form; or it names the file."""

from __future__ import annotations

import ast
import json
import math
import shlex
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gradcheck_cli.api import QUESTIONS, TWINS
from gradcheck_cli.cli import app as application
from gradcheck_cli.options import KINDS, Option, keys, of
from gradcheck_cli.output import suite_renderer
from gradcheck_cli.suite.alone import LONGEST, alone
from gradcheck_cli.suite.execute import CRASH, Outcome, broken, execute
from gradcheck_cli.suite.run import Suite
from gradcheck_cli.suite.spec import Spec, load
from gradcheck_cli.verdict.report import Report

TARGETS: dict[str, Any] = {
    "chain": ["z = 2*x", "sin(z) + x"], "mixed": "x*y", "grad": "-x**2", "jacobian": ["-x", "x**2"], "hessian": "x**2 | exp(u)",
    "function": "torch:sin", "model": "Linear(2, 2) | ReLU()",
}  # fmt: skip

VALUES: dict[str, list[str]] = {
    "at": ['"x=1"', "{x = 2}", "{x = [1, 2.5]}", '["x=-1", {x = -2.5}]', '{x = "pi/4"}', "{x = inf}",
           "3", "[1, 2.5]", "[[1], [2]]",
           "{x = -1, y = [[1], [2]]}"],
    "shape": ['"x=2"', "{x = 2}", "{x = [2, 3]}", "{x = 2, y = [3]}", '["x=2", "y=3,4"]', "3", "[2, 3]"],
    "domain": ['"x=0:5"', "{x = [0, 5]}", "{x = [-1.5, 1e-9]}", '{x = ":3"}', "{x = [0, 1], y = [-2, 2]}"],
    "set": ['"dim=1"', "{dim = 1}", '{reduction = "mean"}', '{p = -0.5, flag = true, words = "it\'s"}', "{sizes = [1, 2]}",
            '["dim=1", "p=2"]'],
    "input": ["10", "[4, 10]", '"4,10"', "{x = [4, 10]}", '["x=4,10", "h=2,10"]'],
    "cotangent": ['"ones"', "[1.0, -1]", "[[0.5]]"],
    "neuron": ["1", "[0, 1]", '"0,1"'], "layer": ["0", '"0"'],
    "dtype": ['"float32"', '["float64", "float32"]', '"all"'], "mode": ['"all"', '["reverse"]'],
    "wrt": ['"x,y"', '["x", "y", "x"]'],
    "claim": ['"-2*x"', '"x=2"', '{x = "-2*x", y = 2}', '["x=2", "y=3*x"]', "2"],
    "formula": ['"x*sigmoid(x)"'],
    "reference": ['"x*sigmoid(x)"'], "surrogate": ['"clamp(x, -1, 1)"'], "loss": ['"mean(y**2)"'], "device": ['"cpu"'],
    "rtol": ["1e-9"], "atol": ["0.25"], "ulps": ["3"], "timeout": ["7.5"], "order": ["2"], "sample": ["5"], "seed": ["7"],
    "permutations": ["true", "false"], "train": ["true", "false"], "strict": ["true", "false"], "verbose": ["true"],
    "stop_gradients": ["true"], "compile": ['"eager"', "true"], "autocast": ['"float16"', "true"],
}  # fmt: skip
"""Of each option, every form in which a spec may give it, as TOML."""

ROWS = [(kind, row.name) for kind in KINDS for row in of(kind) if row.written]

Asked = list[tuple[Any, dict[str, Any]]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What the twins were asked, which then answer with an empty report."""
    found: Asked = []

    def twin(target: Any, **options: Any) -> Report:
        found.append((target, options))
        return Report("", {"stages": [], "seed": None}, [], {})

    for kind in KINDS:
        monkeypatch.setitem(TWINS, kind, twin)
        monkeypatch.setitem(QUESTIONS, kind, lambda *target, **options: partial(twin, *target, **options))
    return found


def read(folder: Path, text: str) -> Spec:
    (folder / "c.toml").write_text(text, encoding="utf-8")
    return load(folder / "c.toml", "c.toml")[0]


def meant(kind: str, row: Option, value: Any) -> Any:
    """What a value means, written in either way: read by Python, not by the package."""
    listed = isinstance(value, list) and any(isinstance(part, str | dict) for part in value)
    entries = value if listed else [value]
    if row.name == "at":
        known = {"pi": math.pi, "inf": math.inf}
        tables = [eval(f"dict({e})" if "=" in e else e, known) if isinstance(e, str) else e for e in entries]
        every = [table if isinstance(table, dict) else {"": table} for table in tables]
        return [{n: eval(v, known) if isinstance(v, str) else v for n, v in table.items()} for table in every]
    if row.name == "claim":
        pairs = [pair for e in entries for pair in (e.items() if isinstance(e, dict) else [str(e).rpartition("=")[::2]])]
        return {n: str(v) for n, v in pairs}
    if row.name == "set":
        typed = [e.split("=", 1) for e in entries if isinstance(e, str)]
        return dict([(n, ast.literal_eval(v)) for n, v in typed], **(value if isinstance(value, dict) else {}))
    if row.name in ("shape", "domain", "input"):
        pairs = [
            pair
            for e in entries
            for pair in (e.items() if isinstance(e, dict) else [e.rpartition("=")[::2] if isinstance(e, str) else ("", e)])
        ]
        return {n: parts(row.name, v) for n, v in pairs}
    if row.lone and value is True:
        return row.lone
    if row.name in ("neuron", "layer", "cotangent"):
        (first,) = value if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str) else [value]
        return parts(row.name, first)
    return ",".join([value] if isinstance(value, str) else value) if isinstance(value, str | list) else value


def parts(name: str, value: Any) -> Any:
    """One value: ends, a list of numbers, sizes."""
    if name == "domain":
        return [float(end) if str(end) else None for end in (value.split(":") if isinstance(value, str) else value)]
    if not isinstance(value, str) or value.isalpha():
        return [value] if isinstance(value, int) else value
    return json.loads(value) if name == "cotangent" else [*map(int, value.split(","))]


@pytest.mark.parametrize(("kind", "name"), ROWS, ids=lambda part: part)
def test_it_asks_for_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: Asked, kind: str, name: str) -> None:
    """Every option of every check, in every form: the twin is asked the same by both."""
    row = keys(kind)[name]
    for value in VALUES[name]:
        wrt = 'wrt = "x,y"\n' if kind == "mixed" and name != "wrt" else ""
        text = f"[[check]]\n{kind} = {json.dumps(TARGETS[kind])}\n{wrt}{name} = {value}"
        if not row.form.holds(tomllib.loads(text)["check"][0][name]):  # a form of the option of this name of other checks
            continue
        found = execute(read(tmp_path, text))
        assert found.error is None
        command = alone(found)
        assert command is not None and command.startswith(f"gradcheck {kind} "), (value, command)
        assert application.run(shlex.split(command)[1:]) != 2, f"{command}: {capsys.readouterr().err}"
        (target, options), (typed_target, typed) = asked
        asked.clear()
        same = [typed_target.strip()] if isinstance(typed_target, str) else [part.strip() for part in typed_target]
        assert same == ([target] if isinstance(target, str) else target), command
        assert meant(kind, row, typed[row.parameter]) == meant(kind, row, options[row.parameter]), command
        others = {n for n, v in typed.items() if v not in (None, False) and n not in ("progress", row.parameter)}
        assert others == ({"wrt"} if wrt else set()), command


def outcome(**given: Any) -> Outcome:
    spec = {"name": "a", "kind": "grad", "target": "x", "file": "c.toml", **given}
    return broken(Spec(**spec), CRASH, "it fell", 0.0)


@pytest.mark.parametrize(
    ("given", "command"),
    [
        ({"options": {"at": "x=1"}}, "gradcheck grad x --at x=1"),
        ({"target": "x**2 - $(touch y)", "options": {"claim": "`x`"}}, "gradcheck grad 'x**2 - $(touch y)' --claim '`x`'"),
        ({"kind": "function", "target": "ops.py:f", "file": "a b/c.toml"}, "gradcheck function 'a b/ops.py:f'"),
        ({"kind": "function", "target": "pkg.ops:f", "file": "a/c.toml"}, "gradcheck function pkg.ops:f"),
        ({"kind": "function", "target": "/ops.py:f", "options": {"surrogate": "g.py:g"}, "file": "a/c.toml"},
         "gradcheck function /ops.py:f --surrogate a/g.py:g"),
        ({"name": "it's", "target": "x + " * 200 + "x"}, "gradcheck run 'c.toml::it'\"'\"'s'"),
        ({"target": "x\n+1"}, "gradcheck run c.toml::a"),
        ({"options": {"domain": {"x": [0.0, float("inf")]}}}, "gradcheck run c.toml::a"),
        ({"kind": "function", "target": "torch:sin", "options": {"settings": {"p": float("inf")}}}, "gradcheck run c.toml::a"),
        ({"name": "n" * 1000, "target": "x" * 1000}, None),
        ({"file": "\x1b.toml", "target": "\x1b"}, None),
    ],
)  # fmt: skip
def test_what_it_says(given: dict[str, Any], command: str | None) -> None:
    """Quoted for a shell; files of code from where the run was; the file and the name where all would be too long, can't be
    seen, or isn't what was asked: a number that JSON lacks."""
    found = alone(outcome(**given))
    assert found == command
    assert found is None or len(found) <= LONGEST


@pytest.mark.parametrize(
    ("change", "command"),
    [
        ({"kind": "rm", "asked": {}}, "gradcheck run c.toml::a"), ({"asked": {}}, "gradcheck run c.toml::a"),
        ({"asked": {"target": "x", "options": {"output": "/etc/passwd"}}}, "gradcheck run c.toml::a"),
        ({"asked": {"target": "x", "options": {"at": True}}}, "gradcheck run c.toml::a"),
        ({"asked": {"target": ["x", "y"], "options": {}}}, "gradcheck run c.toml::a"),
    ],
)  # fmt: skip
def test_results_that_were_changed_give_no_other_command(change: dict[str, Any], command: str) -> None:
    """What somebody wrote into a file of results becomes no option that a spec couldn't have."""
    assert alone(Outcome.from_dict({**outcome().to_dict(), **change})) == command


def test_every_page_has_it() -> None:
    """Where a check didn't pass: text, JSON, JUnit and Markdown."""
    suite = Suite((outcome(options={"at": "x=1"}),), 1, 0.0)
    for name in ("text", "json", "junit", "markdown"):
        assert "gradcheck grad x --at x=1" in suite_renderer(name)(suite), name
    assert json.loads(suite_renderer("json")(suite))["alone"] == {"c.toml::a": "gradcheck grad x --at x=1"}

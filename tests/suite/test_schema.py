"""The JSON Schema of spec files refuses what our reader refuses for its form, and nothing that a run takes."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from gradcheck_cli.cli import app
from gradcheck_cli.errors import InputError
from gradcheck_cli.options import KINDS, keys, spoken
from gradcheck_cli.suite.schema import NAME, schema
from gradcheck_cli.suite.spec import ABOUT, _Reader
from gradcheck_cli.verdict.verdicts import Cause, Verdict
from tests.suite.test_alone import TARGETS, VALUES

ROOT = Path(__file__).parent.parent.parent
SCHEMA = schema()
EDITOR = Draft7Validator(SCHEMA)

ANYTHING: list[Any] = [
    True, 0, -3, 1.5, "", "x", "x=1", [], ["x"], [1], [1.5], [[1], [2.5]], [True], ["x", 1], {}, {"x": 1}, {"x": 1.5},
    {"x": "1"}, {"x": True}, {"x": [1]}, {"x": [1.5]}, {"x": ["y"]}, {"x": [[1]]}, {"x": [True]}, {"x": {"y": 1}}, [{"x": 1}],
    [{"x": True}], [{"x": 1}, "y=2"], [[{"x": 1}]], 1e9 + 0.5, 1e-9, "mismatch", "kink",
]  # fmt: skip
"""Values of every form that TOML has; whole numbers only as such, since 2.0 is one to JSON Schema."""


def taken(check: dict[str, Any], defaults: dict[str, Any] | None = None) -> bool:
    """Whether our reader takes a check."""
    try:
        reader = _Reader("c.toml", "")
        reader.spec(0, reader.renamed(0, check), defaults or {})
    except InputError:
        return False
    return True


def allowed(*checks: Any, **others: Any) -> bool:
    """Whether an editor does."""
    return bool(EDITOR.is_valid({"check": list(checks), **others}))


def test_it_is_a_schema() -> None:
    """Of draft 7, which knows neither an address nor a file beside it, and has all that it refers to."""
    Draft7Validator.check_schema(SCHEMA)
    text = json.dumps(SCHEMA)
    names = [part.partition('"')[0] for part in text.split('"#/definitions/')[1:]]
    assert names and {*names} <= SCHEMA["definitions"].keys() and "$id" not in text


@pytest.mark.parametrize("kind", KINDS)
def test_the_editor_and_the_reader_agree(kind: str) -> None:
    """On every key of every kind of check, and on what it may hold: the same values are taken and refused. A key of other kinds
    alone is refused, whatever it holds: some values are tried."""
    base = {kind: TARGETS[kind], **({"wrt": "x,y"} if kind == "mixed" else {})}
    counts = {True: 0, False: 0}
    own = {*keys(kind), *ABOUT, *spoken(kind), *KINDS}
    names = dict.fromkeys([*keys(kind), *ABOUT, *(n for other in KINDS for n in keys(other)), *spoken(kind), *KINDS, "dtyp"])
    for name in names:
        for value in ANYTHING if name in own else ANYTHING[:: len(ANYTHING) // 4]:
            check = {**base, name: value}
            if {name, *(row.name for row in spoken(kind).get(name, ()))} & base.keys() - {name}:
                continue  # given twice, under two names
            if name in (kind, "name") and (not value or value == [""]):
                continue  # that it says something is more than its form
            mine = taken(check)
            assert allowed(check) == mine, check
            counts[mine] += 1
    assert min(counts.values()) > 80


def test_what_is_offered_has_an_explanation() -> None:
    """Every key of a check and of the defaults, in the words of the help; kinds and options that editors offer are ours."""
    offered = SCHEMA["properties"]["check"]["items"]["properties"]
    assert offered.keys() == {*KINDS, *ABOUT, *(name for kind in KINDS for name in keys(kind))}
    for part in [*offered.values(), *SCHEMA["properties"]["defaults"]["properties"].values()]:
        part = SCHEMA["definitions"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
        said = [one.get("description", "") for one in ([part] if "description" in part else part["anyOf"])]
        assert all(text and "--" not in text for text in said)
    assert offered["expect"]["enum"] == [v.value for v in Verdict] and offered["cause"]["enum"] == [c.value for c in Cause]


@pytest.mark.parametrize("path", [
    ROOT / "gradcheck_cli" / "suite" / "example.gradcheck.toml", *sorted((ROOT / "examples").rglob("*.gradcheck.toml")),
], ids=lambda path: path.name)  # fmt: skip
def test_our_own_specs_hold_to_it(path: Path) -> None:
    """The example, and those of the example project."""
    assert not [*EDITOR.iter_errors(tomllib.loads(path.read_text(encoding="utf-8")))]


def test_every_form_is_allowed() -> None:
    """Of every option, all the forms in which it may be written, in a check and in the defaults."""
    found = 0
    for kind in KINDS:
        for name in keys(kind):
            for text in VALUES[name]:
                value = tomllib.loads(f"value = {text}")["value"]
                if keys(kind)[name].form.holds(value) and "inf" not in text:
                    assert allowed({kind: TARGETS[kind], name: value}) and allowed(defaults={name: value})
                    found += 1
    assert found > 100


def test_what_is_wrong_with_a_file() -> None:
    """Unknown tables and defaults, checks that aren't a list, a check of no kind or of two, a cause without a mismatch."""
    assert allowed() and EDITOR.is_valid({})
    for wrong in ({"chek": []}, {"check": {}}, {"check": [1]}, {"defaults": {"sampel": 3}}, {"defaults": {"sample": "3"}}):
        assert not EDITOR.is_valid(wrong), wrong
    for check in ({}, {"name": "a"}, {"grad": "x", "chain": "x"}, {"grad": "x", "cause": "kink"}):
        assert not allowed(check) and not taken(check), check
    assert allowed({"grad": "x", "expect": "mismatch", "cause": "kink"})


def test_the_command_prints_and_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--schema shows it; --init writes it beside the example, whose first line names it, and leaves one that is there alone."""
    monkeypatch.chdir(tmp_path)
    assert app.run(["run", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == SCHEMA
    assert app.run(["run", "--init"]) == 0
    assert (tmp_path / "example.gradcheck.toml").read_text().startswith(f"#:schema ./{NAME}\n")
    assert json.loads((tmp_path / NAME).read_text()) == SCHEMA
    (tmp_path / NAME).write_text("mine")
    assert app.run(["run", "--init", "other.gradcheck.toml"]) == 0
    assert (tmp_path / NAME).read_text() == "mine"

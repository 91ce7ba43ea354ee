"""The table of options: the command line, Python and specs take every row, mean the same by it, and show it.

A row is tested by being there. The checks are asked for and not run: what reaches their engines is compared.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import gradcheck_cli
from gradcheck_cli import api
from gradcheck_cli.cli import app as application
from gradcheck_cli.errors import InputError
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.options import DTYPES, KINDS, OPTIONS, Option, keys, of, spoken, taken
from gradcheck_cli.suite.execute import execute
from gradcheck_cli.suite.spec import load
from gradcheck_cli.verdict.report import Report

TARGETS = {
    "chain": "2*x", "mixed": "x*y*z", "grad": "x**2", "jacobian": "x**2", "hessian": "x**2", "function": "torch:sin",
    "model": "Linear(2, 2)",
}  # fmt: skip
"""Something to check, for each kind."""

REQUIRED = {"mixed": {"wrt": "x,y"}}
"""What the kind needs besides."""

EXAMPLES = {("mixed", "at"): "x=1,y=2,z=3", ("mixed", "shape"): "z=2", ("mixed", "claim"): "z", ("chain", "claim"): "x=2"}
"""Where the example of a row isn't one for the target."""

each_kind = pytest.mark.parametrize("kind", KINDS)
CELLS = [(kind, row) for kind in KINDS for row in of(kind)]


def each(*cells: tuple[str, Option]) -> pytest.MarkDecorator:
    """Every kind with every option that it takes, one at a time."""
    return pytest.mark.parametrize(("kind", "row"), cells, ids=[f"{kind}-{row.name}" for kind, row in cells])


@dataclass
class Engines:
    """Keeps what the engine of a check was asked, and the empty report that it answered."""

    asked: Any = None
    report: Report | None = None

    def __call__(self, asked: Any, *, progress: Any = None, **options: Any) -> Report:
        self.asked = asked, options
        self.report = Report("", {"stages": [], "seed": None}, [], {})
        return self.report


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> Engines:
    found = Engines()
    for name in ("formulas.check.check_problem", "callables.function.report", "networks.model.report"):
        monkeypatch.setattr(f"gradcheck_cli.{name}", found)
    return found


Ask = Callable[..., Any]


@pytest.fixture
def ask(engines: Engines, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    """ask(way, kind, option=value): what the engine is asked where an option is given in that way, and its report."""

    def line(kind: str, given: dict[str, Any]) -> None:
        rows = {row.parameter: row for row in of(kind)}
        words = [word for name, value in given.items() for word in typed(rows[name], value)]
        code = application.run([kind, TARGETS[kind], *words])
        assert code != 2, capsys.readouterr().err

    def python(kind: str, given: dict[str, Any]) -> None:
        api.TWINS[kind](TARGETS[kind], **given)

    def spec(kind: str, given: dict[str, Any]) -> None:
        names = {row.parameter: row.name for row in keys(kind).values()}
        outcome = execute(read(tmp_path, kind, {names[name]: value for name, value in given.items()}))
        assert outcome.error is None

    def ask(way: str, kind: str, **given: Any) -> Any:
        engines.report = None
        {"line": line, "python": python, "spec": spec}[way](kind, {**REQUIRED.get(kind, {}), **given})
        assert engines.report is not None
        return engines.asked, engines.report.to_dict()

    return ask


def read(folder: Path, kind: str, given: dict[str, Any]) -> Any:
    """The spec of one check. TOML writes these values as JSON does."""
    lines = ["[[check]]", f"{kind} = {json.dumps(TARGETS[kind])}", *(f"{n} = {json.dumps(v)}" for n, v in given.items())]
    (folder / "c.toml").write_text("\n".join(lines))
    return load(folder / "c.toml", "c.toml")[0]


def sample(kind: str, row: Option) -> Any:
    """A value that isn't the default, as Python and a spec write it."""
    if row.form.word is bool:
        return not row.default if row.default is not None else False
    text = EXAMPLES.get((kind, row.name)) or row.example or row.form.example or list(row.choices)[-1]
    assert row.form.word is not None
    return [text] if row.form.several else row.form.word(text)


def typed(row: Option, value: Any) -> list[str]:
    """The same as the command line writes it."""
    if row.form.word is bool:
        return [row.forms[0].split("/")[0 if value else 1]]
    return [f"{row.forms[0]}={v}" for v in (value if isinstance(value, list) else [value])]


# -- the rows -----------------------------------------------------------------------------------------------------------


def test_a_check_has_one_option_of_a_name() -> None:
    """Names and the twins' names are unique among the options of a check, and checks are known."""
    for kind in KINDS:
        assert len({row.name for row in of(kind)}) == len({row.parameter for row in of(kind)}) == len(of(kind))
    assert {check for row in OPTIONS for check in row.checks} == {*KINDS, "functions", "ops", "explain", "why"}


@pytest.mark.parametrize("row", OPTIONS, ids=lambda row: row.name)
def test_a_row_is_whole(row: Option) -> None:
    """It says what it means in a sentence, or in its choices; its default is one of these; what is typed has a metavar."""
    assert row.meaning.endswith((".", ")."))
    assert not row.choices or row.default in (None, *row.choices)
    assert row.metavar or row.form.word in (None, bool) or row.name == "format"
    assert not (row.otherwise and row.default), "the default is stated twice"


def test_dtypes_are_the_formats() -> None:
    """The names in the help, which must come without NumPy, are those of the formats."""
    assert tuple(DTYPES) == tuple(FORMATS)


# -- the three ways -----------------------------------------------------------------------------------------------------


@pytest.mark.slow(reason="every option of every check, in all three ways")
@each(*[(kind, row) for kind, row in CELLS if row.written])
def test_an_option_means_the_same_everywhere(ask: Ask, kind: str, row: Option) -> None:
    """Given on the command line, in Python and in a spec, it asks for the same; and for something else than without it."""
    value = sample(kind, row)
    assert row.form.holds(value)
    line, python, spec = (ask(way, kind, **{row.parameter: value}) for way in ("line", "python", "spec"))
    assert line == python == spec
    if (kind, row.name) != ("model", "verbose"):  # which is about the page alone
        assert python != ask("python", kind, **({row.parameter: "y,x"} if row.required else {}))


@each(*[(kind, row) for kind, row in CELLS if row.twin and not row.required])
def test_none_is_the_default(ask: Ask, kind: str, row: Option) -> None:
    """In Python; the default itself, where there is one, is no different."""
    nothing = ask("python", kind)
    assert ask("python", kind, **{row.parameter: None}) == nothing == ask("python", kind, **{row.parameter: row.default})


@each(*[(kind, row) for kind, row in CELLS if not row.written])
def test_what_is_of_one_way_is_refused_by_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, row: Option
) -> None:
    """What only Python can say, what is about the printed page, and what is about one run by itself, which no spec says."""
    with pytest.raises(InputError, match=f"unknown key '{row.name}'"):
        read(tmp_path, kind, {**REQUIRED.get(kind, {}), row.name: "x"})
    if row.alone:
        assert row.typed and row.parameter in taken(kind)
    elif row.twin:
        assert application.run([kind, TARGETS[kind], f"--{row.name}=x"]) == 2
        assert f"no such option: --{row.name}" in capsys.readouterr().err
    else:
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{row.name}'"):
            api.TWINS[kind](TARGETS[kind], **{**REQUIRED.get(kind, {}), row.name: "x"})


@pytest.mark.slow(reason="every option of every check, in all three ways")
@each_kind
def test_options_of_other_checks_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    """By all three, before anything runs."""
    own = spoken(kind)  # a network's input is also called its shape
    for row in OPTIONS:
        if row.name in own or not row.written:
            continue
        with pytest.raises(InputError, match=f"unknown key '{row.name}' of a {kind} check: an option of "):
            read(tmp_path, kind, {row.name: "x"})
        with pytest.raises(TypeError, match=rf"check_{kind}\(\) got an unexpected keyword argument '{row.parameter}'"):
            api.TWINS[kind](TARGETS[kind], **{**REQUIRED.get(kind, {}), row.parameter: "x"})
        assert application.run([kind, TARGETS[kind], *typed(row, sample("", row))]) == 2
        assert "no such option: --" in capsys.readouterr().err


@each_kind
def test_a_slip_is_told_the_nearest_name(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    """By all three."""
    with pytest.raises(TypeError, match=r"got an unexpected keyword argument 'verbos'; nearest: verbose"):
        api.TWINS[kind](TARGETS[kind], verbos=1)
    with pytest.raises(InputError, match=rf"unknown key 'verbos' of a {kind} check; nearest: verbose"):
        read(tmp_path, kind, {"verbos": 1})
    for word in ("--verbos=1", "-verbos"):
        assert application.run([kind, TARGETS[kind], word]) == 2
        assert re.search(r"no such option.* did you mean .*--verbose", capsys.readouterr().err)


# -- what is shown ------------------------------------------------------------------------------------------------------


@each_kind
def test_a_twin_shows_its_options(kind: str) -> None:
    """Its signature has every option with the default of its row, and its docstring what each means."""
    twin = getattr(gradcheck_cli, f"check_{kind}")
    assert twin is api.TWINS[kind]
    target, *parameters = inspect.signature(twin).parameters.values()
    assert target.name == KINDS[kind].target
    assert {p.name for p in parameters} == set(taken(kind))
    text = " ".join((twin.__doc__ or "").split())
    for parameter in parameters:
        row = taken(kind)[parameter.name]
        assert parameter.default == (inspect.Parameter.empty if row.required else row.default)
        assert f"{row.parameter} {row.meaning.replace(' --', ' ')}" in text
        assert f"[{row.without.replace('--', '')}]" in text or not row.without


@each_kind
def test_an_option_has_a_type(kind: str) -> None:
    """Type checkers know every option of a twin, and no other: the TypedDict of its **options in api.py has a line for each."""
    wrapped = inspect.unwrap(api.TWINS[kind])
    *own, options = inspect.signature(wrapped).parameters.values()
    types = getattr(api, options.annotation.removeprefix("Unpack[").removesuffix("]"))
    known, rows = {*types.__annotations__}, taken(kind).keys() - {p.name for p in own}
    assert not rows - known, f"{types.__name__} in api.py lacks {', '.join(sorted(rows - known))}"
    assert not known - rows, f"{types.__name__} in api.py has {', '.join(sorted(known - rows))}, which is no option of {kind}"


@each_kind
def test_no_default_is_stated_twice(kind: str) -> None:
    """Twins have no defaults but those of the rows."""
    for parameter in inspect.signature(inspect.unwrap(api.TWINS[kind])).parameters.values():
        assert parameter.default is inspect.Parameter.empty


@pytest.mark.parametrize("command", [*KINDS, "functions", "why"])
def test_a_command_shows_its_options(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """In the order of the table, each with its forms, what it means, and its default."""
    assert application.run([command, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    start = text.index("Options:")
    for row in of(command):
        if row.typed:
            forms = ", ".join(sorted(row.forms, key=len)).replace("/", " / ")
            start = text.index(f"{forms} ", start)
            start = text.index(row.meaning, start)
            assert not row.without or f"[{row.without}]" in text[start:]

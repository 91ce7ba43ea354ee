"""README.md and docs/ are true: transcripts are run and compared, code is run, and no command, option, verdict or cause is left
out. `make transcripts` writes down what the commands print now."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer

import gradcheck_cli
from docs import generate
from gradcheck_cli.cli.app import app
from gradcheck_cli.options import OPTIONS
from gradcheck_cli.suite.execute import Outcome
from gradcheck_cli.verdict.column import Check
from gradcheck_cli.verdict.verdicts import Cause, Verdict
from tests import transcripts
from tests.suite.processes import no_workers

pytest_plugins = "pytester"

ROOT = transcripts.ROOT
TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in transcripts.pages()}
README = TEXTS["README.md"]
ALL = "\n".join(TEXTS.values())
TOOLS = ("sphinx", "myst_parser", "furo", "sphinx_copybutton")


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
    with transcripts.elsewhere(tmp_path), no_workers():
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


@pytest.mark.slow(reason="a run of pytest")
def test_tests_that_pages_show_pass(loaded: None, pytester: pytest.Pytester) -> None:
    """Every block of Python that defines tests is a file of tests that pass."""
    shown = [block for text in TEXTS.values() for block in transcripts.blocks(text, "python") if "\ndef test_" in block]
    pytester.makepyfile(**{f"test_page_{i}": block for i, block in enumerate(shown)})
    files = sorted(pytester.path.glob("test_page_*.py"))
    result = pytester.runpytest_inprocess("-q", "-p", "no:xdist", "-p", "no:cacheprovider", *files)
    assert len(files) == len(shown) > 1 and result.ret == 0


def test_a_changed_transcript_is_told_and_renewed() -> None:
    """What `make transcripts` writes is what happens; seconds and progress alone change nothing."""
    error = "gradcheck: error: no such option: --no-such (see gradcheck --help)"
    right = f"```console\n$ gradcheck --no-such\n{error}\n$ echo $?\n2\n```\n"
    assert transcripts.renewed(right) == right
    assert transcripts.renewed(right.replace("no such option", "unknown")) == right
    assert transcripts.renewed("```pycon\n>>> 1 + 1\n3\n>>> for i in range(2):\n...     i\n>>> 1/0\n```\n") == (
        "```pycon\n>>> 1 + 1\n2\n>>> for i in range(2):\n...     i\n0\n1\n>>> 1/0\nTraceback (most recent call last):\n"
        "  ...\nZeroDivisionError: division by zero\n```\n"
    )
    assert transcripts.lasting("7 passed in 4.9 s") == transcripts.lasting("7 passed in 12 s") != "7 passed in 4.9 s"


def test_the_first_screen_verifies_and_refutes() -> None:
    """A verified transcript and a refuted one come before everything else in the README, which is short."""
    first, second = transcripts.blocks(README, "console")[:2]
    assert "verdict: match" in first and "verdict: mismatch" in second
    assert README.index(second) < README.index("\n## ")
    assert README.count("\n") <= 200
    assert "make demo" in README and "make test" in README


def test_every_command_is_shown_and_described() -> None:
    """Each command stands in a transcript, and a page has its options: all of them, as the command takes them."""
    assert len(generate.COMMANDS) > 8
    for name, command in generate.COMMANDS.items():
        assert f"\n$ gradcheck {name} " in ALL, name
        assert f"{{generated}} options {name}\n" in ALL, name
        described = generate.command_options(name)
        for parameter in command.params:
            forms = (*parameter.opts, *parameter.secondary_opts) if parameter.param_type_name == "option" else ()
            assert all(re.search(rf"{{option}}.* ?{re.escape(form)}(?![-\w])", described) for form in forms), (name, forms)
    assert [
        form for parameter in app_parameters() for form in parameter.opts if form.startswith("--") and form not in ALL
    ] == []


def app_parameters() -> list[Any]:
    """The options of the command `gradcheck` itself."""

    return list(typer.main.get_command(app).params)


def test_every_option_of_checks_is_explained() -> None:
    """Beside the generated lists: each option of a check stands in a text or a transcript that somebody wrote."""
    written = re.sub(r"^```{generated}.*?^```$", "", ALL, flags=re.MULTILINE | re.DOTALL)
    forms = {form for row in OPTIONS if row.typed for way in row.forms for form in way.split("/")}
    missing = [form for form in sorted(forms) if form.startswith("--") and not re.search(rf"{form}(?![-\w])", written)]
    assert not missing and len(forms) > 25


def test_every_verdict_cause_and_exit_code_is_described() -> None:
    """Each has a row in a table; the other way round, no row describes what doesn't exist."""
    page = TEXTS["docs/verdicts.md"]
    rows = set(re.findall(r"^\| `?(\w+)`? \|", page, re.MULTILINE))
    codes = {"0", "1", "2", "3", "70"}
    assert rows - {"verdict", "cause"} == {v.value for v in Verdict} | {c.value for c in Cause} | codes
    said = generate.verdicts() + generate.causes()
    assert all(generate.text(word.sentence) in said for word in (*Verdict, *Cause))


def test_every_public_name_is_described() -> None:
    """Each name of the package has its place on the page of Python, or stands with the rest."""
    asked = re.findall(r"^```{generated} python (\w+)$", TEXTS["docs/python.md"], re.MULTILINE)
    rest = re.findall(r"^`+{py:\w+} (\w+)", generate.python_rest(), re.MULTILINE)
    assert "```{generated} python-rest\n" in TEXTS["docs/python.md"] and len(asked) > 15
    assert set(asked) | set(rest) >= set(gradcheck_cli.__all__) - {"__version__"}


def test_every_key_of_the_json_is_described() -> None:
    """Of a report, a check, and a suite's outcome; and no other."""
    page = TEXTS["docs/json.md"]
    tables = {heading: body for heading, body in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)}

    def keys(text: str) -> set[str]:
        cells = re.findall(r"^\| (`.*?`) \|", text, re.MULTILINE)
        return {key for cell in cells for key in re.findall(r"`(\w+)`", cell)}

    report = gradcheck_cli.check_chain("x", at={"x": 1}).to_dict()
    assert keys(tables["A report"]) == {*report, "summary"}  # which is there for every float32 alone
    assert keys(tables["A check"]) == {field.name for field in fields(Check)}
    suite, outcome = tables["A suite"].split("Of an outcome:")
    assert keys(outcome) == {field.name for field in fields(Outcome)}
    written = (ROOT / "gradcheck_cli" / "output" / "json.py").read_text(encoding="utf-8")
    assert keys(suite) == set(re.findall(r'^        "(\w+)":', written, re.MULTILINE))


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_what_a_page_asks_for_is_generated(name: str) -> None:
    """Every block `{generated}` names something that there is."""
    for words in re.findall(r"^```{generated} (.+)$", TEXTS[name], re.MULTILINE):
        what, *arguments = words.split()
        assert len(generate.GENERATED[what](*arguments)) > 20 or what == "python-rest", words


def test_files_that_are_named_exist() -> None:
    """Every path of the repository that a page names is there."""
    named = re.findall(r"`((?:examples|benchmarks)/[\w./]*)`", ALL)
    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).exists()] == []


def slug(heading: str) -> str:
    """The anchor of a heading, as code hosts and the manual make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower().replace("`", "")).replace(" ", "-")


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_links_lead_somewhere(name: str) -> None:
    """Every link to a file leads to one, and its anchor to a heading of it."""
    text = re.sub(r"^```.*?^```$", "", TEXTS[name], flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://|mailto:", target) or target.startswith("generated/"):
            continue
        file, _, anchor = target.partition("#")
        path = (ROOT / name).parent / file if file else ROOT / name
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), target


@pytest.mark.skipif(any(importlib.util.find_spec(tool) is None for tool in TOOLS), reason="needs the extra `docs`")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")  # of the parser, about Sphinx
@pytest.mark.slow(reason="Sphinx reads the whole manual")
def test_the_manual_is_read_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by `make docs`, but no page is written: each is in the contents, every link and every block is understood."""
    from sphinx.cmd.build import build_main

    monkeypatch.setattr(sys, "path", list(sys.path))
    arguments = ["-W", "--keep-going", "-q", "-b", "dummy", "-d", tmp_path / "trees", ROOT / "docs", tmp_path / "none"]
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        assert build_main([*map(str, arguments)]) == 0, said.getvalue()

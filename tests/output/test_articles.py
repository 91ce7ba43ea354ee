"""Every verdict, cause and slip has an article, every article is of one, and its example shows what it is about."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from markupsafe import escape

import gradcheck_cli
from gradcheck_cli.callables.conditions import CONDITIONS
from gradcheck_cli.cli import checks
from gradcheck_cli.cli.app import run
from gradcheck_cli.derivation import rules
from gradcheck_cli.output.articles import GROUPS, PARTS, article, as_text, listed, nearest, words
from gradcheck_cli.output.html import articles as html
from gradcheck_cli.output.text import render
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.slips import Slip, word
from gradcheck_cli.verdict.verdicts import Cause, Verdict
from tests.maps.test_slips import NAMED

FOLDER = Path(gradcheck_cli.__file__).parent / "articles"
HAND = [w for w in words() if article(w).example[0] is None]


def test_every_word_has_an_article_and_no_article_is_of_nothing() -> None:
    """All verdicts, causes and slips; a list names each once."""
    assert {path.stem for path in FOLDER.iterdir()} == {*map(str, (*Verdict, *Cause, *Slip))} == words().keys()
    assert sorted(str(w) for group in GROUPS for w in listed(group)) == sorted(words())


@pytest.mark.parametrize("name", words())
def test_an_article_is_whole(name: str) -> None:
    """Its parts are there in order, its links lead somewhere, and other words lead to it."""
    found = article(name)
    assert found.source.startswith(f"# {name}\n\n<!-- also: ") and len(found.also) > 2
    assert tuple(found.parts) == PARTS and all(found.parts.values())
    links = re.findall(r"\]\(([^)]+)\)", found.source)
    assert all((FOLDER / target).exists() or target.startswith("../") for target in links) and links
    assert name not in {target.removesuffix(".md") for target in links}
    assert found.markdown.count(found.word.sentence) == 1
    for width in (40, 100):
        text = as_text(found, width)
        prose = [line for line in text.split("\n") if not line.startswith("    ")]
        assert max(map(len, prose)) <= width or width == 40 and "the manual:" in text
    assert str(escape(found.word.sentence)) in html.page(name) and "<h2>Example</h2>" in html.page(name)


@pytest.mark.parametrize("name", HAND)
def test_an_example_shows_it(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command that the article shows prints what stands there, and its report has the word."""
    _shows(name, tmp_path, capsys, monkeypatch)


@pytest.mark.parametrize("name", [w for w in words() if w not in HAND])
@pytest.mark.slow(reason="the function of each article is checked")
def test_an_example_in_python_shows_it(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same of the functions that are written out."""
    _shows(name, tmp_path, capsys, monkeypatch)


def _shows(name: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    code, command = article(name).example
    if code is not None:
        monkeypatch.setattr(sys, "path", list(sys.path))
        (folder / "example.py").write_text(code)
        monkeypatch.chdir(folder)
    console = next(block for block in article(name).parts["Example"] if block.language == "console")
    program, *arguments = shlex.split(command)
    assert program == "gradcheck" and arguments[-1] == "--quiet"
    reports: list[Report] = []

    def kept(report: Report, **settings: Any) -> str:
        reports.append(report)
        return render(report, **settings)

    monkeypatch.setattr(checks, "renderer", lambda format, report: kept)
    run(arguments)
    assert capsys.readouterr().out.rstrip("\n").split("\n") == list(console.lines[1:])
    found = reports[0].checks
    assert name in {reports[0].verdict, *(c.verdict for c in found), *(c.cause for c in found), *(c.why for c in found)}


def _texts() -> Iterator[str]:
    """What is said of slips, wherever."""
    yield from (text for *_, text in NAMED)
    yield from (text for rule in rules.TABLE for _, text in rule.slips)
    yield from (text for slips in rules.OF_FUNCTIONS.values() for _, text in slips)
    for varying in ("u", "uv", "uvw"):
        yield from (text for _, text in rules.chain_rule(varying).slips)
    for condition in CONDITIONS:
        what = "backward()" if condition.name == "accumulated" else "x"
        yield f"with {condition.words.format(what)} the backward of F returns 0"


@pytest.mark.parametrize("text", dict.fromkeys(_texts()))
def test_every_text_about_a_slip_has_its_word(text: str) -> None:
    """Of backwards, of derivations by hand, of conditions: a report can lead to an article."""
    assert Slip.of(text) is not None


def test_every_slip_is_said_of_something() -> None:
    """A word that no text leads to would be of nothing."""
    found = {Slip.of(text) for text in _texts()}
    elsewhere = {Slip.UNUSED_UPSTREAM, Slip.TRANSPOSED_UPSTREAM, Slip.IGNORED_TANGENT, Slip.PIECES}
    elsewhere |= {Slip.WRONG_PLACES, Slip.WRONG_DIMENSION}
    manners = {Slip.WRITES_INPUT, Slip.TWO_RUNS, Slip.UNINITIALISED, Slip.VMAP_RULE}
    assert set(Slip) - found <= elsewhere | manners  # their examples say so


@pytest.mark.parametrize(
    ("cause", "text", "wanted"),
    [
        (Cause.FORMULA, None, "formula"),
        (Cause.FORMULA, "the factor 1 - s is missing", "missing_factor"),
        (Cause.NAN_TRAP, "the factor 1 - s is missing", "nan_trap"),
        (None, "the factor 1 - s is missing", "mismatch"),
        (Cause.CONVENTION, "with a hat", "convention"),
    ],
)
def test_what_to_look_up(cause: Cause | None, text: str | None, wanted: str) -> None:
    """The slip, else the cause, else the verdict."""
    assert word(Verdict.MISMATCH, cause, text) == wanted


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("nan", "nan_trap"), ("NaN", "nan_trap"), ("nan-trp", "nan_trap"), ("vanishing", "range"), ("overflow", "range"),
        ("0", "range"),
        ("detach", "no_gradient"), ("None", "no_gradient"), ("chain rule", "inner_derivative"), ("relu", "kink"),
        ("in-place", "writes_input"), ("transpose", "missing_transpose"), ("retain_graph", "two_runs"),
    ],
)  # fmt: skip
def test_the_nearest_word_is_suggested(text: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By letters, and by what it means."""
    assert meant in nearest(text)
    assert run(["why", text]) == 2
    assert meant in capsys.readouterr().err


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    """A word may be typed in any way; without one all are listed; every format is of the same words."""
    for spelling in ("nan_trap", "NaN-trap", " nan trap "):
        assert run(["why", spelling]) == 0
        assert capsys.readouterr().out.startswith("nan_trap\n\nA nan that is not the derivative")
    for format in ("text", "markdown", "json", "html"):
        assert run(["why", "--format", format]) == 0
        out = capsys.readouterr().out
        assert all(name in out for name in words())
    assert run(["why", "kink", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["command"].startswith("gradcheck chain")
    assert run(["why", "qqq"]) == 2
    assert "`gradcheck why` lists all words" in capsys.readouterr().err

"""The formats of a suite: valid by the schemas of those who read them, whatever stands in a check, and bounded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import xmlschema
from jsonschema import Draft7Validator

from gradcheck_cli.output import SUITE_FORMATS, sarif, suite_renderer
from gradcheck_cli.output.markdown import ROWS
from gradcheck_cli.output.outcomes import explanation, headline, line, location, printable, summary, tally
from gradcheck_cli.suite.baseline import Comparison
from gradcheck_cli.suite.execute import Outcome
from gradcheck_cli.suite.run import Suite
from tests.schemas import schema

MANY = 300
JUNIT = xmlschema.XMLSchema(str(Path(__file__).parent / "junit.xsd"))

CHECK = {
    "point": {"x": 1.5}, "quantity": "dy/dx", "formula": "2*x", "exact": "3", "autograd": "nan", "verdict": "mismatch",
    "cause": "formula", "autograd_formula": "x|`x`", "detail": "the factor 2 is missing",
}  # fmt: skip
HOSTILE = "a\x00\x1b[31m\r\n::error::b]]>&<script>|`*_\\`` %25 \u202e\ud800 [x](https://example.org) @you,c:d é😀\ufffe"


def outcome(name: str = "a", status: str = "passed", **given: Any) -> Outcome:
    filled = {"spec_id": f"checks.toml::{name}", "kind": "chain", "file": "checks.toml", "line": 3, "verdict": "match",
              "cause": None, "expected": "match", "seconds": 0.12345, "asked": {"target": "x**2"}, **given}  # fmt: skip
    return Outcome(name=name, status=status, **filled)


def wrong(name: str = "b", **given: Any) -> Outcome:
    report = {"checks": [CHECK]}
    filled = {"verdict": "mismatch", "cause": "formula", "report": report, "text": "mismatch\n  both formulas", **given}
    return outcome(name, "failed", **filled)


def stuck(**given: Any) -> Outcome:
    return outcome("c", "undecided", **{"verdict": None, "fault": "timeout", "error": "not finished in 3 s\nmore", **given})


def suite(*outcomes: Outcome, known: Iterable[str] = (), mended: Iterable[str] = ()) -> Suite:
    ids = {o.name: o.spec_id for o in outcomes}
    comparison = Comparison(frozenset(ids[name] for name in known), tuple(ids[name] for name in mended))
    return Suite(outcomes, len(outcomes), 1.23456, comparison)


USUAL = suite(outcome(versions={"torch": "2"}), wrong(), stuck(), wrong("d", file="more/checks.toml"))
COMPARED = suite(outcome(), wrong(), stuck(), wrong("d"), outcome("e"), known=["b", "c"], mended=["a"])
SUITES: dict[str, Suite] = {
    "nothing": suite(),
    "passed": suite(outcome()),
    "usual": USUAL,
    "compared": COMPARED,
    "hostile": suite(
        wrong(HOSTILE, text=HOSTILE * 3, file=f"{HOSTILE}.toml", report={"checks": [{**CHECK, "detail": HOSTILE}]}),
        stuck(error=HOSTILE, line=0),
    ),
    "huge": suite(wrong("n" * 100_000, text="t" * 1_000_000), stuck(error="e\n" * 500_000)),
    "many": suite(*(wrong(f"check {i}") for i in range(MANY + 1))),
}


def each_suite() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", SUITES)


def commands(text: str) -> Iterator[tuple[str, dict[str, str], str]]:
    """Workflow commands as the runner reads them: name, properties, message."""
    for each in text.split("\n"):
        if match := re.fullmatch(r"::(\w+) (.*?)::(.*)", each):
            pairs = (pair.split("=", 1) for pair in match[2].split(","))
            yield match[1], {key: unescaped(value) for key, value in pairs}, unescaped(match[3])


def unescaped(text: str) -> str:
    for sign, code in ((",", "%2C"), (":", "%3A"), ("\n", "%0A"), ("\r", "%0D"), ("%", "%25")):
        text = text.replace(code, sign)
    return text


# -- what holds of all --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", SUITE_FORMATS)
@each_suite()
def test_every_format_takes_every_suite(format: str, name: str) -> None:
    """Whatever is in the outcomes, the text can be written as UTF-8 and holds no control characters but line feeds."""
    text = suite_renderer(format)(SUITES[name], verbose=True, quiet=False, color=False, width=80)
    text.encode("utf-8")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
    assert not text.endswith("\n")


@pytest.mark.parametrize("format", ["junit", "sarif", "github", "markdown", "html"])
def test_pages_are_bounded(format: str) -> None:
    """Megabytes in a check don't become megabytes on a page, and say how many they were."""
    text = suite_renderer(format)(SUITES["huge"])
    assert len(text) < 100_000
    assert "characters)" in text or "characters&#41;" in text


def test_a_headline_tells_what_where_and_instead_of_what() -> None:
    """One line: the verdict, the place, both numbers; what was expected, where that wasn't a match; the error of a check."""
    assert headline(wrong()) == "mismatch (formula): dy/dx at x = 1.5: exact 3, autograd nan"
    assert headline(outcome(status="failed", expected="mismatch (kink)")) == "match, where mismatch (kink) was expected"
    assert headline(stuck()) == "timed out: not finished in 3 s"
    claimed = {"checks": [{**CHECK, "claim": "x=3*x", "cause": "claim"}]}
    assert headline(wrong(cause="claim", report=claimed)).endswith("exact 3, claimed nan")


def test_a_summary_says_why_without_a_table() -> None:
    """The headline, the blame, both formulas and the sentence of the cause; of a check without a report, its error."""
    lines = summary(wrong()).split("\n")
    assert lines[1:4] == ["the factor 2 is missing", "exact: 2*x", "autograd: x|`x`"]
    assert lines[4].startswith("The formula that autograd applies is not the derivative")
    assert summary(stuck()) == "timed out: not finished in 3 s\nmore"


def test_an_explanation_is_the_report() -> None:
    """What the command prints, else the error; then the command that runs the check alone."""
    assert explanation(wrong()) == "mismatch\n  both formulas\n\nrun it alone: gradcheck run checks.toml::b"
    assert explanation(stuck()).startswith("not finished in 3 s\nmore\n\nrun it alone: ")


def test_unseen_characters_are_shown() -> None:
    """Control characters, surrogates and those that turn the direction of writing stand as their escapes."""
    assert printable("a\x1b\x00\u202e\ud800\r\né😀") == "a\\x1b\\x00\\u202e\\ud800\né😀"
    assert printable("abcdef", 3) == "abc... (6 characters)"


def test_counts() -> None:
    """All statuses that occur, the worst first; known findings, mended ones, and what was left out by themselves."""
    assert tally(USUAL) == "4 checks: 2 failed, 1 undecided, 1 passed"
    assert tally(COMPARED) == "5 checks: 1 failed, 2 known, 2 passed (1 mended)"
    assert tally(suite()) == "0 checks: nothing was checked"
    assert tally(replace(suite(outcome()), asked=3)) == "3 checks: 1 passed, 2 not run"


def test_paths_are_from_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the root that the CI names, else from the working directory; a file elsewhere keeps its path."""
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    for name in ("GITHUB_WORKSPACE", "CI_PROJECT_DIR", "WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    assert location("a.toml") == "a.toml"
    assert location(str(tmp_path / "sub" / "a.toml")) == "a.toml"
    assert location("/elsewhere/a.toml") == "/elsewhere/a.toml"
    monkeypatch.setenv("CI_PROJECT_DIR", str(tmp_path))
    assert location("a.toml") == "sub/a.toml"


# -- one by one ---------------------------------------------------------------------------------------------------------


@each_suite()
def test_junit_is_valid(name: str) -> None:
    """It holds to the schema, and its counts are those of its cases."""
    text = suite_renderer("junit")(SUITES[name])
    JUNIT.validate(text)
    root = ElementTree.fromstring(text.encode())
    for element in (root, *root.iter("testsuite")):
        for tag, counted in (("testcase", "tests"), ("failure", "failures"), ("error", "errors")):
            assert len(list(element.iter(tag))) == int(element.attrib[counted])


def test_junit_tells_failures_from_what_is_undecided() -> None:
    """A suite for each file; a failure has the headline, the place and the report, an undecided check is an error."""
    root = ElementTree.fromstring(suite_renderer("junit")(USUAL).encode())
    assert [suite.attrib["name"] for suite in root] == ["checks.toml", "more/checks.toml"]
    cases = {case.attrib["name"]: case for case in root.iter("testcase")}
    assert {name: [child.tag for child in case] for name, case in cases.items()} == {
        "a": [], "b": ["failure"], "c": ["error"], "d": ["failure"],
    }  # fmt: skip
    assert (cases["d"].attrib["classname"], cases["a"].attrib["time"]) == ("more.checks", "0.123")
    failure = cases["b"][0]
    assert failure.attrib == {"type": "mismatch (formula)", "message": headline(wrong())}
    assert failure.text == f"checks.toml:3\n\n{explanation(wrong())}"
    assert root.find(".//property").attrib == {"name": "torch", "value": "2"}  # type: ignore[union-attr]


@each_suite()
def test_sarif_is_valid(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds to the whole schema of SARIF 2.1.0; every result names a rule that is described, and passes aren't results."""
    monkeypatch.setattr(sarif, "RESULTS", MANY)
    log = json.loads(suite_renderer("sarif")(SUITES[name]))
    Draft7Validator(schema("https://json.schemastore.org/sarif-2.1.0.json")).validate(log)
    (run,) = log["runs"]
    rules = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert {result["ruleId"] for result in run["results"]} <= rules
    expected = sum(o.status != "passed" for o in SUITES[name].outcomes)
    assert len(run["results"]) == min(expected, MANY)
    assert "](" not in "".join(result["message"]["text"] for result in run["results"])


def test_sarif_points_at_the_backward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line of the backward in the user's file, the check beside it; where that can't be told, the line of the check."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my op.py").write_text("class F:\n    def forward(x): ...\n\n    def backward(ctx, g): ...\n")
    known = wrong(kind="function", asked={"target": "my op.py:F"})
    unknown = wrong(kind="function", asked={"target": "my op.py:G"})
    results = json.loads(suite_renderer("sarif")(suite(known, unknown)))["runs"][0]["results"]
    places = [[where(location) for location in r["locations"]] for r in results]
    assert places == [[("my%20op.py", 4)], [("checks.toml", 3)]]
    assert [where(location) for location in results[0]["relatedLocations"]] == [("checks.toml", 3)]


def where(location: dict[str, Any]) -> tuple[str, int]:
    place = location["physicalLocation"]
    return place["artifactLocation"]["uri"], place["region"]["startLine"]


def test_sarif_knows_a_finding_again() -> None:
    """The fingerprint holds when numbers and lines change, not when it is another check or cause."""
    found = [wrong(), wrong(line=90, text="other"), wrong("x"), wrong(cause="kink")]
    results = json.loads(suite_renderer("sarif")(suite(*found)))["runs"][0]["results"]
    prints = [result["partialFingerprints"]["check/v1"] for result in results]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_what_is_known_does_not_fail() -> None:
    """Findings of the baseline are skipped cases, notes, rows without a report, and no annotations; mended ones are named."""
    root = ElementTree.fromstring(suite_renderer("junit")(COMPARED).encode())
    assert [element.tag for case in root.iter("testcase") for element in case] == ["skipped", "skipped", "failure"]
    assert (root.attrib["failures"], root.attrib["errors"]) == ("1", "0")
    results = json.loads(suite_renderer("sarif")(COMPARED))["runs"][0]["results"]
    assert [result["level"] for result in results] == ["error", "note", "note"]
    assert len(list(commands(suite_renderer("github")(COMPARED)))) == 1
    page = suite_renderer("markdown")(COMPARED)
    assert (page.count("\n| known |"), page.count("<details>"), page.count("🎉 mended")) == (2, 1, 1)


@pytest.mark.parametrize("name", ["text", "github", "markdown", "json"])
def test_it_is_told_what_is_another_than_known(name: str) -> None:
    """Of a check that is in the baseline and fails all the same, in one line that can be seen."""
    found = wrong()
    changed = {found.spec_id: "df/dx float64 grad at x=1: 3.0 is known,\n::error::now it is \x1b[2.5"}
    shown = suite_renderer(name)(Suite((found,), 1, 0.5, Comparison(changed=changed)))
    assert "3.0 is known" in shown and "\x1b" not in shown and not any(s.startswith("::error::now") for s in shown.split("\n"))


@each_suite()
def test_annotations_can_not_be_forged(name: str) -> None:
    """Every line but the last is a command of ours, and each decodes to the place and the summary of its check."""
    *lines, last = suite_renderer("github")(SUITES[name]).split("\n")
    assert last == f"gradcheck: {tally(SUITES[name])}"
    assert len(list(commands("\n".join(lines)))) == len(lines) <= 50
    assert all(line.startswith(("::error file=", "::warning file=")) for line in lines)


def test_annotations() -> None:
    """Failures are errors and what is undecided a warning, at the file and line of the check."""
    found = list(commands(suite_renderer("github")(USUAL)))
    assert [command for command, _, _ in found] == ["error", "error", "warning"]
    _, properties, message = found[0]
    assert properties == {"file": "checks.toml", "line": "3", "title": "gradcheck: b"}
    assert message == summary(wrong())


def test_markdown_holds_no_markup_of_others() -> None:
    """What a check says can't end a cell, a block of code or a fold, nor link: a parser finds it all in code."""
    from markdown_it import MarkdownIt

    found = MarkdownIt("commonmark").enable("table").parse(suite_renderer("markdown")(SUITES["hostile"]))
    inner = [token for block in found for token in block.children or ()]
    assert {token.type for token in inner} <= {"text", "code_inline"}
    raw = "".join(token.content for token in found if token.type == "html_block")
    assert set(re.findall(r"<[^>]*>", raw)) == {"<code>", "</code>", "<details>", "</details>", "<summary>", "</summary>"}
    cells = [sum(t.type == "td_open" for t in found[i : found.index(end, i)]) for i, end in rows_of(found)]
    assert cells == [4, 4]
    assert line(HOSTILE) in [token.content for token in inner]


def rows_of(tokens: list[Any]) -> Iterator[tuple[int, Any]]:
    """Where each row of a table's body begins, and the token at which it ends."""
    body = False
    for i, token in enumerate(tokens):
        body = token.type == "tbody_open" or (body and token.type != "tbody_close")
        if body and token.type == "tr_open":
            yield i, next(end for end in tokens[i:] if end.type == "tr_close")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("sin(x) | y[0] <= 3", r"`sin(x) \| y[0] <= 3`"),
        ("`x`", "`` `x` ``"),
        ("a ``` b", "````a ``` b````"),
        ("a*b_c", "`a*b_c`"),
        ("x \\| y", "<code>x &#92;&#124; y</code>"),
    ],
)
def test_markdown_reads_as_text(name: str, shown: str) -> None:
    """Where it is pasted, a name stands as it was typed, in a row of a table too."""
    assert f"\n| ❌ | {shown} | " in suite_renderer("markdown")(suite(wrong(name)))


def test_markdown_shows_what_did_not_pass() -> None:
    """A table of findings and their reports; of many, the first ones and how many more there are."""
    text = suite_renderer("markdown")(USUAL)
    assert text.startswith("### gradcheck: 4 checks: 2 failed, 1 undecided, 1 passed\n")
    assert f"```text\n{explanation(wrong())}\n```" in text
    assert suite_renderer("markdown")(suite(outcome())) == "### gradcheck: 1 check: 1 passed"
    assert f"\n... and {MANY + 1 - ROWS:,} more\n" in suite_renderer("markdown")(SUITES["many"])


@each_suite()
def test_json_is_one_object(name: str) -> None:
    """The outcomes, as in JSON Lines, their counts and the exit code."""
    read = json.loads(suite_renderer("json")(SUITES[name]))
    assert tuple(Outcome.from_dict(one) for one in read["outcomes"]) == SUITES[name].outcomes
    assert (sum(read["counts"].values()), read["exit_code"]) == (read["asked"], SUITES[name].exit_code)
    assert len(read["known"]) == len(SUITES[name].comparison.known)


@each_suite()
def test_json_lines_are_outcomes(name: str) -> None:
    """Each line reads back as its outcome."""
    text = suite_renderer("jsonl")(SUITES[name])
    assert tuple(Outcome.from_dict(json.loads(line)) for line in text.splitlines()) == SUITES[name].outcomes

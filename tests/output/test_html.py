"""Pages as text: whole, self-contained, escaped. What a browser makes of them is in test_browser.py."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from gradcheck_cli.output import suite_renderer
from gradcheck_cli.output.html import document, render
from gradcheck_cli.output.html.suite import REPORTS, ROWS
from gradcheck_cli.suite.run import Suite
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.verdicts import Cause
from tests.pages import HOSTILE, chain, column, outcome, suite


class _Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.mark.parametrize("title", HOSTILE)
def test_a_title_stays_text(title: str) -> None:
    """Nothing that a title holds becomes an element, and what can't be seen is shown as its number."""
    parsed = _Tags(document(title, "<h1>x</h1>"))
    assert [tag for tag, _ in parsed.tags].count("script") == 1
    assert not [tag for tag, _ in parsed.tags if tag == "img"]
    assert "\u202e" not in "".join(parsed.text)


def test_a_page_holds_all_it_needs() -> None:
    """No element of a page names a thing to fetch, and its policy allows none."""
    page = document("x", "<h1>x</h1>")
    for tag, attributes in _Tags(page).tags:
        address = attributes.get("src") or attributes.get("href") or ""
        assert address == "" or address.startswith(("#", "data:")), (tag, address)
    assert not re.search(r"url\(|@import|https?://", page)
    policy = next(a["content"] for t, a in _Tags(page).tags if a.get("http-equiv") == "Content-Security-Policy")
    assert (
        policy is not None and policy.startswith("default-src 'none'") and "'unsafe-inline'" not in policy.split("style-src")[0]
    )


def test_a_page_is_told_apart_by_its_landmarks() -> None:
    """Language, title, viewport, one main landmark that the first link leads to."""
    tags = _Tags(document("x", "<h1>x</h1>")).tags
    assert ("html", {"lang": "en"}) in tags and ("main", {"id": "main"}) in tags
    assert next(a for t, a in tags if t == "a")["href"] == "#main"
    assert [t for t, _ in tags].count("h1") == 1


# -- reports -----------------------------------------------------------------------------------------------------------


def test_a_page_of_a_hundred_thousand_points_is_bounded() -> None:
    """What is wrong is shown, how much else is left out is said, and the page stays small enough to be mailed."""
    values = [1.0] * 100_000
    values[77_777] = float("nan")
    report = Report("chain", chain().problem, [column("dy/dx", values, shown="1")], {})
    page = render(report)
    assert len(page) < 1_500_000
    assert "98,000 more rows (98,000 match) are left out" in page
    assert "x = 77778" in page and page.count("<tr data-kind=") == 2_001


def test_a_page_says_how_to_get_it_again() -> None:
    """The line that was typed, the seed and the versions are on it; nothing is where nobody typed one."""
    text = "".join(_Tags(render(chain(), command="gradcheck chain 'x<y' --seed 7")).text)
    assert "gradcheck chain 'x<y' --seed 7" in text and "torch 2" in text and re.search(r"seed\s*7", text)
    assert "To repeat it" not in render(chain())


def test_digits_that_differ_are_marked() -> None:
    """Of two numbers that begin alike, the digits from the first one on that differs, not the exponent."""
    report = chain()
    (wrong,) = [column("dy/dx", [1.25e-7])]
    wrong.exact[0] = wrong.exact[0] * 0 + 1.2345e-7
    wrong.mark([0], report.verdict, "wrong", Cause.FORMULA)
    page = render(Report("chain", report.problem, [wrong], {}))
    marked = re.findall(r"<samp>(.*?)</samp>", page)
    assert any(re.fullmatch(r"1\.2<mark>345\d*</mark>e-7", text) for text in marked)
    assert any(re.fullmatch(r"1\.2<mark>5\d*</mark>e-7", text) for text in marked)


def test_both_formulas_are_typeset() -> None:
    """A claim that is wrong stands under what is right, both as MathML; what is no formula as code."""
    report = chain()
    claimed = column("dy/dx", [float("nan")], shown="2*x/(1 + x)", claim="x=sqrt(<x>)")
    page = render(Report("grad", report.problem, [claimed], {}))
    finding = page[page.index("<article") : page.index("</article")]
    assert "<mfrac>" in finding and "sqrt(&lt;x&gt;)" in finding


# -- suites ------------------------------------------------------------------------------------------------------------


def test_a_suite_is_listed_by_file() -> None:
    """A section a file with the counts of it, what is known and what is mended told apart, each check folded once."""
    page = suite_renderer("html")(suite())
    text = " ".join("".join(_Tags(page).text).split())
    assert re.search(r"c\.toml • 1 known ↑ 1 mended", text)
    assert page.count("<details id=") == len(suite().outcomes) and page.count('<h2 id="file-') == len(HOSTILE) + 2


def test_a_page_of_many_checks_is_bounded() -> None:
    """Thousands of checks are listed, the worst first, a few hundred are told of, and the page says what is left out."""
    many = [outcome(f"check {i}", "failed", text="t" * 10_000, spec_id=f"a::{i}") for i in range(ROWS + 5)]
    passed = [outcome("fine", spec_id="a::fine")]
    page = suite_renderer("html")(Suite((*passed, *many), ROWS + 6, 1.0))
    assert "6 more checks are left out, the mildest" in page and "<b>fine</b>" not in page
    assert page.count("<pre tabindex") == REPORTS and len(page) < 5_000_000

"""Lessons in every format: the same content, and no text gets out of its place."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from gradcheck_cli import explain
from gradcheck_cli.lessons.lesson import Code, Lesson, Line, Section, Words
from gradcheck_cli.output.lesson import FORMATS, written

LESSON = explain(["z = 2*x", "w = sin(z)/x**-2", "y = -w*z"], at="x=-1.5")


def test_the_text() -> None:
    """Numbers put in keep their signs apart, remarks stand in a column, lines fit."""
    text = written(LESSON)
    assert "w = sin(z)/x**-2 = sin(-3)/(-1.5)**-2 ≈ -0.31752002" in text
    assert "dy/dz = dy/dy * ∂y/∂z + dy/dw * ∂w/∂z ≈ 1 * 0.31752002 + 3 * (-2.2274831) ≈ -6.3649293" in text
    assert max(map(len, text.splitlines())) <= 100
    assert max(map(len, written(LESSON, width=60).splitlines())) <= 110  # code, and single formulas, are never cut


def test_latex() -> None:
    """A document whose groups close, formulas between dollars; signs of the sentences are escaped."""
    text = written(LESSON, "latex")
    assert text.startswith(r"\documentclass") and text.endswith(r"\end{document}")
    assert r"\frac{\partial w}{\partial z} = x^{2} \cdot \left(\sin\left(z\right)\right)' = x^{2} \, \cos\left(z\right)" in text
    outside = re.sub(r"\\begin\{verbatim\}.*?\\end\{verbatim\}", "", text, flags=re.DOTALL)
    assert outside.count("{") - outside.count(r"\{") == outside.count("}") - outside.count(r"\}")
    assert re.sub(r"\\\$", "", outside).count("$") % 2 == 0


class Elements(HTMLParser):
    """The elements of a page, which have to be closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)
        if tag not in ("meta", "br", "link", "hr", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html() -> None:
    """Every element is closed, formulas are MathML, derivatives of several inputs are partial."""
    page = Elements()
    page.feed(written(LESSON, "html"))
    assert not page.open and {"math", "mfrac", "msup", "pre", "h1", "h2"} <= page.seen
    body = LESSON._repr_html_()
    assert "<mi>∂</mi>" in body and "<mo>′</mo>" in body and "prime" not in body
    assert written(LESSON, "markdown") == LESSON._repr_markdown_()


def test_markdown() -> None:
    """A list whose formulas are code; sentences aren't markup; the code is fenced."""
    text = written(LESSON, "markdown")
    assert text.startswith("# The chain rule for z = 2\\*x \\| w = ") and "- `z = 2*x = 2*(-1.5) = -3`" in text
    assert re.search(r"^```python\nimport torch$", text, re.MULTILINE)


@pytest.mark.parametrize("format", FORMATS)
def test_hostile_text_stays_text(format: str) -> None:
    """Names can't be hostile, but words that quote them are escaped all the same; code can't end its own block."""
    nasty = "<script>alert(1)</script> $x$ \\input{/etc/passwd} `x` ::error::\x1b[31m\u202e"
    lesson = Lesson(
        nasty, (Section(nasty, ((Words(nasty), Line((), nasty), Code("x = 1  # ```\n```\n\\end{verbatim} </pre>")),)),)
    )
    text = written(lesson, format)
    assert "<script>alert" not in text.replace(r"\<script\>", "") or format in ("text", "latex")
    assert "\x1b" not in text and "\u202e" not in text
    assert not re.search(r"^\s*::error::", text, re.MULTILINE)
    if format == "latex":
        assert r"\input{" not in text and text.count(r"\end{verbatim}") == 1
    if format == "html":
        assert "</pre>" not in text.replace("</code></pre>", "")
    if format == "markdown":
        assert "\n````python\n" in text


def test_every_format_has_all_sections() -> None:
    """Whatever the notation."""
    for format in FORMATS:
        text = written(LESSON, format)
        assert all(
            section.title.split(":")[0].replace("'", "") in text.replace("&#x27;", "").replace("'", "")
            for section in LESSON.sections
        )


def test_rules_are_typeset_as_formulas_are() -> None:
    """Beside a line a rule stands in the notation of the format, its words as words; what is no rule stays text."""
    latex = explain("sin(3*x)/x", at="x=1").render("latex")
    assert r"quotient rule: $\left(\frac{u}{v}\right)' = \frac{u' \cdot v - u \cdot v'}{v^{2}}$" in latex
    page = explain("sin(3*x)/x", at="x=1").render("html")
    assert 'class="soft">quotient rule: <math>' in page and "(u/v)&#x27;" not in page
    assert "constant factor: 3 stays</span>" in page
    jump = explain("abs(x)", at="x=0").render("html")
    assert "</math>, here at t = 0; but it has a kink or a jump here" in jump
    assert "by s <math>" in explain("atan2(x, y)", at="x=1,y=2").render("html")


def test_options_are_named_as_the_reader_gives_them() -> None:
    """In Python as names, on the command line with dashes."""
    lesson = explain("x**2")
    assert "at=... gives another" in str(lesson) and "--at gives another" in written(lesson)

"""Pages: one file each that holds all it needs, fetches nothing, and is as readable on paper, on a phone and in the dark.

`document` makes a page of a title and a body; `fill` draws a template of `templates/`, in which what a user wrote is escaped.
A body is made of elements alone: what styles it has a class of `page.css`, what moves it an attribute that `page.js` looks for.
The page's Content-Security-Policy lets that one script run and nothing be fetched, whatever gets into a body.
"""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING, Any

from gradcheck_cli.errors import visible

if TYPE_CHECKING:
    from jinja2 import Environment

    from gradcheck_cli.suite.run import Suite
    from gradcheck_cli.verdict.report import Report


def render(report: Report, *, verbose: bool = False, command: str = "", **settings: Any) -> str:
    """The page of a report, without a last newline. `command`: the line that was typed."""
    from gradcheck_cli.output.html.report import page

    return page(report, verbose=verbose, command=command)


def render_suite(suite: Suite, *, command: str = "", **settings: Any) -> str:
    """The page of a suite, without a last newline."""
    from gradcheck_cli.output.html.suite import page

    return page(suite, command=command)


def document(title: str, body: str) -> str:
    """A whole page, without a last newline. `title` is text, `body` is HTML: what `fill` returned, or elements in which no text
    of a user stands unescaped."""
    from markupsafe import Markup

    style, script = _shipped("page.css"), _shipped("page.js")
    digest = b64encode(sha256(script.encode()).digest()).decode()
    parts = {"body": Markup(body), "style": Markup(style), "script": Markup(script), "digest": digest}
    return fill("document.html", title=title, **parts).rstrip("\n")


def fill(template: str, **values: Any) -> str:
    """A template with its values. Text is escaped, and what can't be seen in it (an escape, a sign that turns the direction of
    writing) is shown as `\\x1b`; `markupsafe.Markup` is HTML and goes in as it is."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("gradcheck_cli", "output/html/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {"count": "{:,}".format, "short": _short, "mathml": _mathml, "tone": _tone, "sign": _sign}
    environment.filters |= filters
    return environment


SHORT = 240
"""Characters of a text that is to be short."""

_LOOKS: dict[str | None, tuple[str, str]] = {
    "match": ("good", "✓"),
    "imprecise": ("warn", "≈"),
    "nondifferentiable": ("warn", "∧"),
    "outside_domain": ("none", "∅"),
    "undecided": ("open", "?"),
    "mismatch": ("bad", "✗"),
    "passed": ("good", "✓"),
    "failed": ("bad", "✗"),
    "known": ("warn", "•"),
    "mended": ("good", "↑"),
    None: ("none", ""),
}
"""Verdict, or what became of a check -> the class of its colour in `page.css`, and its sign."""


def _tone(verdict: str | None) -> str:
    return _LOOKS[verdict][0]


def _sign(verdict: str | None) -> str:
    return _LOOKS[verdict][1]


def _short(text: str) -> str:
    return text if len(text) <= SHORT else f"{text[:SHORT]}..."


def _mathml(formula: str, block: bool = False) -> Any:
    from markupsafe import Markup

    from gradcheck_cli.output.typeset import mathml

    return Markup(mathml(formula, block=block))


def _finalized(value: Any) -> Any:
    """A value as it is written: Markup as it is, text without what can't be seen."""
    if hasattr(value, "__html__"):
        return value
    return "\n".join(map(visible, str(value).split("\n")))


def _shipped(name: str) -> str:
    return resources.files("gradcheck_cli.output.html").joinpath(name).read_text(encoding="utf-8").rstrip("\n")

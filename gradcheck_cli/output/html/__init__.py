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
    environment.filters["count"] = lambda number: f"{number:,}"
    return environment


def _finalized(value: Any) -> Any:
    """A value as it is written: Markup as it is, text without what can't be seen."""
    if hasattr(value, "__html__"):
        return value
    return "\n".join(map(visible, str(value).split("\n")))


def _shipped(name: str) -> str:
    return resources.files("gradcheck_cli.output.html").joinpath(name).read_text(encoding="utf-8").rstrip("\n")

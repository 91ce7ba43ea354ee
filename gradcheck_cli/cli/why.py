"""`gradcheck why`: what a verdict, a cause or a slip means, with an example and what to do."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping

import typer

from gradcheck_cli.cli.options import Outcome, add, check_output, parameter, with_options
from gradcheck_cli.errors import InputError

LONGEST = 60
"""Characters of an unknown word that are looked at, and quoted."""


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    says = "A verdict, a cause or a slip, as reports call it; without it, all of them are listed."
    name = parameter("name", str | None, typer.Argument(metavar="[WORD]", help=says), None)
    add(
        app, "why", "Explain a verdict, a cause of a mismatch, or a slip: what happened, an example, what to do.",
        "why", "why nan_trap", "why missing_factor --format markdown",
    )(with_options(why, "why", WRITERS, name))  # fmt: skip


def why(name: str | None, *, format: str, output: str) -> Outcome:
    """The article on a word, or the list of all words, in one of the formats of WRITERS."""
    check_output(format, output, WRITERS)
    terminal = output == "-" and sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else None
    return Outcome(WRITERS[format](_word(name), width), output=output)


def _word(name: str | None) -> str | None:
    """The word that is meant; InputError, with the nearest ones, where there is none."""
    if name is None:
        return None
    from gradcheck_cli.output.articles import nearest, words

    word = "_".join(name.strip().lower().replace("-", " ").replace("_", " ").split())
    if word in words():
        return word
    near = nearest(name[:LONGEST])
    hint = f"nearest: {', '.join(near)}" if near else "`gradcheck why` lists all words"
    shown = name if len(name) <= LONGEST else f"{name[:LONGEST]}..."
    raise InputError(f"there is no article on {shown!r}; {hint}", name, 0)


def _text(word: str | None, width: int | None) -> str:
    from gradcheck_cli.output.articles import article, as_text, list_as_text

    return list_as_text(width) if word is None else as_text(article(word), width)


def _markdown(word: str | None, width: int | None) -> str:
    from gradcheck_cli.output.articles import article, list_as_markdown

    return list_as_markdown() if word is None else article(word).markdown


def _json(word: str | None, width: int | None) -> str:
    from gradcheck_cli.output.articles import article, as_json, list_as_json

    return list_as_json() if word is None else as_json(article(word))


def _html(word: str | None, width: int | None) -> str:
    from gradcheck_cli.output.html.articles import page, page_of_all

    return page_of_all() if word is None else page(word)


WRITERS: Mapping[str, Callable[[str | None, int | None], str]] = {
    "text": _text,
    "markdown": _markdown,
    "json": _json,
    "html": _html,
}
"""The formats of this command."""

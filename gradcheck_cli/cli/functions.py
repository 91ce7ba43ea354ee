"""`gradcheck functions`: the table of functions that the language knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from gradcheck_cli.cli.options import TYPED, Outcome, add, check_output, parameter, with_options
from gradcheck_cli.cli.streams import width
from gradcheck_cli.errors import InputError

if TYPE_CHECKING:
    from gradcheck_cli.language.functions import Function


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    says = "Only the functions whose name (or other name) contains this."
    name = parameter("name", str | None, typer.Argument(metavar="[NAME]", help=says), None)
    add(
        app, "functions", "List the functions of the language.",
        "functions", "functions silu", "functions bessel", "functions --format json",
    )(with_options(functions, "functions", WRITERS, name))  # fmt: skip


def functions(name: str | None, *, format: str, output: str) -> Outcome:
    """The rows that match, in one of the formats of WRITERS."""
    check_output(format, output, WRITERS)
    from gradcheck_cli.language.functions import NAMES, TABLE

    rows = [
        r
        for r in map(TABLE.__getitem__, dict.fromkeys(NAMES.values()))
        if not name or any(name.lower() in n.lower() for n in (r.name, *r.aliases))
    ]
    if not rows:
        import difflib

        near = difflib.get_close_matches(name or "", NAMES, n=3)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise InputError(f"no function is called {name!r}{hint}", name, 0)
    return Outcome(WRITERS[format]([describe(row) for row in rows], width(output)), output=output)


def describe(row: Function) -> dict[str, Any]:
    """One row for the reader; `torch` begins with "=" where torch has no such operation and composes it."""
    return {
        "name": row.name,
        "aliases": list(row.aliases),
        "signature": row.signature,
        "definition": row.definition,
        "torch": row.torch if row.composed else f"torch.{row.torch or row.name}",
        "domain": row.domain,
        "kinks": row.kinks,
    }


def _json(rows: list[dict[str, Any]], columns: int) -> str:
    import json

    return json.dumps(rows, indent=1, ensure_ascii=False)


def _text(rows: list[dict[str, Any]], columns: int) -> str:
    from gradcheck_cli.language.functions import TABLE
    from gradcheck_cli.output.page import draw, fitted
    from gradcheck_cli.output.parts import Heading, Row, Table, plain
    from gradcheck_cli.verdict.verdicts import Verdict

    shown = []
    for row in rows:
        names = [TABLE[row["name"]].usage, *row["aliases"]]
        definition, domain, kinks = row["definition"] or "-", row["domain"] or "-", row["kinks"] or "-"
        texts = (", ".join(names), definition, row["torch"], domain, kinks)
        shown.append(Row(tuple(map(plain, texts)), Verdict.MATCH))
    headings = tuple(map(Heading, ("name", "definition", "torch", "domain", "kinks")))
    return draw(fitted(Table("", headings, tuple(shown)), columns))


def _html(rows: list[dict[str, Any]], columns: int) -> str:
    from gradcheck_cli.output.html.functions import page

    return page(rows, TYPED.get())


WRITERS = {"text": _text, "json": _json, "html": _html}
"""The formats of this command."""

"""The page of the function table: what each is, where it has a value, where it has kinks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from gradcheck_cli.language.functions import TABLE
from gradcheck_cli.language.parser import definition
from gradcheck_cli.output.html import document, fill
from gradcheck_cli.output.html.tables import FILTERED, Sheet, SheetCell, SheetRow, Tag
from gradcheck_cli.output.parts import Heading
from gradcheck_cli.output.typeset import mathml

_HEADINGS = ("function", "definition", "domain", "kinks", "torch", "other names")


def page(rows: Sequence[Mapping[str, Any]], command: str) -> str:
    """The whole page, of rows as `gradcheck functions --format json` has them."""
    shown = tuple(SheetRow(_cells(row), "row") for row in rows)
    sheet = Sheet("functions", "", tuple(map(Heading, _HEADINGS)), shown, (), len(rows) > FILTERED, "")
    return document("gradcheck: functions", fill("functions.html", sheet=sheet, count=len(rows), command=command))


def _cells(row: Mapping[str, Any]) -> tuple[SheetCell, ...]:
    name = row["name"]
    defined = Markup(mathml(definition(name))) if TABLE[name].definition else None
    torch = f"composed: {row['torch']}" if TABLE[name].composed else row["torch"]
    return (
        SheetCell((), name, Markup("<code>{}</code>").format(TABLE[name].usage)),
        SheetCell((Tag("" if defined else "primitive"),), row["definition"] or "", defined),
        _condition(row["domain"]),
        _condition(row["kinks"]),
        SheetCell((), None, Markup("<code>{}</code>").format(torch)),
        SheetCell((), None, Markup(", ").join(Markup("<code>{}</code>").format(alias) for alias in row["aliases"])),
    )


def _condition(text: str) -> SheetCell:
    return SheetCell((), text, Markup(mathml(text)) if text else Markup(""))

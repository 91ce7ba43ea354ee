"""The JSON Schema of spec files, by which an editor completes, explains and checks them; made of the tables of options.

It refuses nothing that a run takes. Our own reader (`spec`) judges, not this: a general validator tells neither the line, nor
the nearest right key, nor which checks have the option that was meant; and what JSON Schema can't say (a name that is taken, an
option that [defaults] have given already) is left to the reader too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from gradcheck_cli.options import KINDS, OPTIONS, Option, spoken
from gradcheck_cli.shapes import DEFINITIONS, one_of
from gradcheck_cli.suite.spec import ABOUT
from gradcheck_cli.verdict.verdicts import Cause, Verdict

NAME = "gradcheck.schema.json"
"""What the file is called beside the specs, whose first line is then FIRST_LINE."""
FIRST_LINE = f"#:schema ./{NAME}\n"

_ABOUT: Mapping[str, Mapping[str, Any]] = {
    "name": {**ABOUT["name"].holds.schema, "description": "What the check is called; by default, what it checks."},
    "expect": {**one_of([v.value for v in Verdict]).schema, "description": "The verdict that is right.", "default": "match"},
    "cause": {**one_of([c.value for c in Cause]).schema, "description": "The cause of the mismatch that is expected."},
}


def schema() -> dict[str, Any]:
    """The schema, in draft 7, which the editors' extensions for TOML know."""
    options = {row.name: {"$ref": f"#/definitions/{row.name}"} for row in OPTIONS if row.written}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Checks of gradcheck",
        "description": "A spec file of `gradcheck run`.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "defaults": {
                "type": "object",
                "description": "Options for every check of this file that takes them.",
                "additionalProperties": False,
                "properties": options,
            },
            "check": {
                "type": "array",
                "description": "The checks, each under a heading [[check]].",
                "items": {
                    "type": "object",
                    "properties": {**{name: _target(name) for name in KINDS}, **_ABOUT, **options},  # what is offered
                    **_by_kind([*KINDS]),
                },
            },
        },
        "definitions": {**{name: _of_any(name) for name in options}, **DEFINITIONS},
    }


def _by_kind(kinds: Sequence[str]) -> dict[str, Any]:
    """A check of the first of these kinds whose key it has, with no key that this kind doesn't know. A chain of conditions, for
    editors read what may stand there from `properties`, and tell what is wrong by the one branch that holds."""
    if not kinds:
        return {"anyOf": [{"required": [kind]} for kind in KINDS]}
    kind, *others = kinds
    return {"if": {"required": [kind]}, "then": _check(kind), "else": _by_kind(others)}


def _check(kind: str) -> dict[str, Any]:
    return {
        "additionalProperties": False,
        "properties": {**_named(kind), kind: True, **dict.fromkeys(_ABOUT, True)},
        "dependencies": {"cause": {"required": ["expect"], "properties": {"expect": {"const": Verdict.MISMATCH.value}}}},
    }


def _named(kind: str) -> dict[str, Any]:
    """The options of a kind by every name that people call them."""
    rows = {name: [_option(row) for row in rows if row.written] for name, rows in spoken(kind).items()}
    return {name: meant[0] if len(meant) == 1 else {"allOf": meant} for name, meant in rows.items() if meant}


def _target(name: str) -> dict[str, Any]:
    kind = KINDS[name]
    return {**kind.form.holds.schema, "description": _words(f"{kind.sentence} {kind.help}")}


def _of_any(name: str) -> Mapping[str, Any]:
    """An option as [defaults] has it, for whichever checks take it."""
    rows = [_option(row) for row in OPTIONS if row.written and row.name == name]
    return rows[0] if len(rows) == 1 else {"anyOf": rows}


def _option(row: Option) -> dict[str, Any]:
    said = {"description": _words(f"{row.meaning} [{row.without}]" if row.without else row.meaning)}
    return {**row.holds.schema, **said, **({} if row.default is None else {"default": row.default})}


def _words(text: str) -> str:
    """As TOML writes it: without dashes."""
    return re.sub(r"--(?=[a-z])", "", text)

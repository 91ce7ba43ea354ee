"""`gradcheck ops`: torch's operations, and how the shadow follows each."""

from __future__ import annotations

from collections import Counter
from typing import Any

import typer

from gradcheck_cli.cli.options import Outcome, add, check_output, parameter, with_options
from gradcheck_cli.cli.streams import width
from gradcheck_cli.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    says = "Only the operations whose name contains this."
    name = parameter("name", str | None, typer.Argument(metavar="[OPERATION]", help=says), None)
    sums = "Only how many are followed in which way, and the names of those that aren't."
    coverage = parameter("coverage", bool, typer.Option("--coverage", help=sums, show_default=False), False)
    add(
        app, "ops", "List the operations of the installed torch that have a derivative, and how each is followed.",
        "ops --coverage", "ops linalg", "ops --format json",
    )(with_options(ops, "ops", WRITERS, name, coverage))  # fmt: skip


def ops(name: str | None, coverage: bool, *, format: str, output: str) -> Outcome:
    """The operations that match, in one of the formats of WRITERS."""
    check_output(format, output, WRITERS)
    from gradcheck_cli.maps.coverage import MEANINGS, Way, covered

    found = [one for one in covered() if not name or name.lower() in one.name]
    if not found:
        raise InputError(f"no operation that has a derivative is called {name!r}", name, 0)
    counts = Counter(one.way for one in found)
    told = {
        "operations": len(found),
        "followed": len(found) - counts[Way.OPAQUE],
        "ways": {way.value: counts[way] for way in Way if counts[way]},
        "opaque": [one.name for one in found if one.way is Way.OPAQUE],
    }
    if not coverage:
        told["list"] = {one.name: one.way.value for one in found}
    meanings = {way.value: meaning for way, meaning in MEANINGS.items()}
    return Outcome(WRITERS[format](told, meanings, width(output)), output=output)


def _json(told: dict[str, Any], meanings: dict[str, str], columns: int) -> str:
    import json

    return json.dumps(told, indent=1, ensure_ascii=False)


def _text(told: dict[str, Any], meanings: dict[str, str], columns: int) -> str:
    import textwrap

    lines = []
    if "list" in told:
        wide = max(map(len, told["list"]))
        lines += [f"{name:{wide}}  {way}" for name, way in told["list"].items()] + [""]
    share = 100 * told["followed"] / told["operations"]
    lines.append(f"{told['followed']} of {told['operations']} operations that have a derivative are followed ({share:.0f} %):")
    wide = max(map(len, told["ways"]))
    lines += [f"  {way:{wide}}  {count:4}  {meanings[way]}" for way, count in told["ways"].items()]
    if told["opaque"]:
        listed = f"not followed: {', '.join(told['opaque'])}"
        lines += ["", *textwrap.wrap(listed, columns, subsequent_indent="  ", break_on_hyphens=False)]
    return "\n".join(lines)


WRITERS = {"text": _text, "json": _json}
"""The formats of this command."""

"""The page of a suite: all checks in a table to sort and to filter, and by file each with its report folded under it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from markupsafe import Markup

from gradcheck_cli.output.html import document, fill
from gradcheck_cli.output.html.tables import FILTERED, Sheet, SheetCell, SheetRow, Tag, key
from gradcheck_cli.output.outcomes import KNOWN, MENDED, became, explanation, headline, line, location, printable, tally
from gradcheck_cli.output.parts import Heading
from gradcheck_cli.output.typeset import mathml
from gradcheck_cli.suite.execute import FAILED, PASSED, UNDECIDED, Outcome
from gradcheck_cli.suite.run import Suite

ROWS, REPORTS, LONGEST = 2_000, 500, 4_000
"""Checks that are listed, those whose report is shown, and characters of one: the worst come first."""

_KINDS = (FAILED, UNDECIDED, KNOWN, MENDED, PASSED)
"""What became of a check, what to look at first first."""

_HEADINGS = (Heading("check"), Heading("file"), Heading("line", right=True), Heading("found"), Heading("expected"),
             Heading("seconds", right=True))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Folded:
    """One check of the page. `id`: where it can be found; `formulas`: whose, typeset; `report`: a text of fixed width."""

    id: str
    kind: str
    name: str
    line: int
    seconds: str
    headline: str
    target: str
    expected: str
    formulas: tuple[tuple[str, Markup], ...]
    report: str


def page(suite: Suite, *, command: str) -> str:
    """The whole page."""
    kinds = {outcome.spec_id: became(suite, outcome) for outcome in suite.outcomes}
    ordered = sorted(suite.outcomes, key=lambda o: (_KINDS.index(kinds[o.spec_id]), *(-n for n in o.severity)))[:ROWS]
    ids = {id(outcome): f"check-{n + 1}" for n, outcome in enumerate(ordered)}
    told = {id(outcome) for outcome in ordered[:REPORTS]}
    files = []
    by_file = sorted(ordered, key=lambda o: (o.file, o.line))
    for file, members in groupby(by_file, key=lambda o: o.file):
        checks = [_folded(o, kinds[o.spec_id], ids[id(o)], id(o) in told) for o in members]
        files.append((location(file), _counted([check.kind for check in checks]), checks))
    versions = {name: version for outcome in suite.outcomes for name, version in outcome.versions.items()}
    values = {
        "tally": tally(suite),
        "verdict": {0: PASSED, 3: UNDECIDED}.get(suite.exit_code, FAILED),
        "suite": suite,
        "counts": _counted(list(kinds.values())),
        "versions": sorted(versions.items()),
        "command": command,
        "files": files,
        "notes": [line(note) for note in (*suite.notes, *([suite.failure] if suite.failure else []))],
        "overview": _table(ordered, kinds, ids, len(suite.outcomes) - len(ordered)),
    }
    return document(f"gradcheck: {tally(suite)}", fill("suite.html", **values))


def _counted(kinds: Sequence[str]) -> list[tuple[str, int]]:
    counts = Counter(kinds)
    return [(kind, counts[kind]) for kind in _KINDS if counts[kind]]


def _table(outcomes: Sequence[Outcome], kinds: dict[str, str], ids: dict[int, str], left_out: int) -> Sheet:
    rows = []
    for outcome in outcomes:
        kind = kinds[outcome.spec_id]
        name = Markup('<a href="#{}">{}</a>').format(ids[id(outcome)], line(outcome.name, 120))
        texts = (None, location(outcome.file), str(outcome.line), None, line(outcome.expected), f"{outcome.seconds:.2f}")
        keys = (line(outcome.name), None, None, f"{_KINDS.index(kind)} {outcome.found}", None, key(outcome.seconds))
        cells = [SheetCell(() if text is None else (Tag(text),), k) for text, k in zip(texts, keys, strict=True)]
        cells[0] = SheetCell((), keys[0], name)
        cells[3] = SheetCell((Tag(_said(outcome, kind), kind),), keys[3])
        rows.append(SheetRow(tuple(cells), kind))
    found = {row.kinds for row in rows}
    more = f"{left_out:,} more checks are left out, the mildest: --format json has all" if left_out else ""
    listed = tuple(kind for kind in _KINDS if kind in found)
    return Sheet("checks", "", _HEADINGS, tuple(rows), listed, len(rows) > FILTERED or len(listed) > 1, more)


def _said(outcome: Outcome, kind: str) -> str:
    return line(outcome.found if kind in (FAILED, UNDECIDED) else f"{kind}: {outcome.found}")


def _folded(outcome: Outcome, kind: str, id: str, told: bool) -> Folded:
    target = outcome.target
    texts = [target] if isinstance(target, str) else list(target or ())
    plain = outcome.plain or not told
    return Folded(
        id=id,
        kind=kind,
        name=line(outcome.name, 200),
        line=outcome.line,
        seconds=f"{outcome.seconds:.2f} s",
        headline=headline(outcome),
        target=line(" | ".join(map(str, texts))),
        expected=line(outcome.expected),
        formulas=() if plain else _formulas(outcome),
        report="" if plain else printable(explanation(outcome), LONGEST),
    )


def _formulas(outcome: Outcome) -> tuple[tuple[str, Markup], ...]:
    """Both formulas of the worst entry, where both are known."""
    checks: Sequence[Mapping[str, Any]] = outcome.report["checks"] if outcome.report else []
    worst: Mapping[str, Any] = next(iter(checks), {})
    exact, other = worst.get("formula"), worst.get("claim") or worst.get("autograd_formula")
    if not (exact and other):
        return ()
    who = "claimed" if worst.get("claim") else "autograd"
    return tuple((party, Markup(mathml(str(text), block=True))) for party, text in (("exact", exact), (who, other)))

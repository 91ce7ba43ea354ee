"""A view in Markdown: for a notebook, and to be pasted into an issue."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gradcheck_cli.errors import visible
from gradcheck_cli.output.parts import Finding, Table
from gradcheck_cli.output.view import View
from gradcheck_cli.verdict.verdicts import Verdict

_SIGNS = {
    Verdict.MATCH: "✓",
    Verdict.IMPRECISE: "≈",
    Verdict.NONDIFFERENTIABLE: "∧",
    Verdict.OUTSIDE_DOMAIN: "∅",
    Verdict.UNDECIDED: "?",
    Verdict.MISMATCH: "✗",
}


def drawn(seen: View, tables: Iterable[Table]) -> str:
    """The page; of the tables these."""
    words = "".join(f"{_SIGNS[w.verdict]} **{_bare(w.text)}**" if w.verdict else _bare(w.text) for w in seen.summary)
    points = [f"{point.name or 'at'}: {_code(point.text)}  " for point in seen.points]
    lines = [words, "", f"{_code(seen.title)}  ", *points, ""]
    for finding in seen.findings:
        lines += _finding(finding)
    lines += [line for text in seen.remedies for line in (f"remedy: {_bare(text)}", "")]
    for table in tables:
        lines += _table(table)
    return "\n".join(lines + [f"note: {_bare(note)}\n" for note in seen.notes]).rstrip() + "\n"


def _finding(finding: Finding) -> list[str]:
    numbers = "".join(f"; {who} {_code(number.strip())}" for who, number in finding.numbers)
    texts = [finding.error, finding.blame, *finding.prose, finding.sentence]
    head = f"{_SIGNS[finding.verdict]} **{_bare(finding.name)}** {_code(finding.title)}{numbers}"
    formulas = [f"{_bare(who)}: {_code(formula)}" for who, formula in finding.formulas]
    return [head, "", *(line for words in (*map(_bare, texts), *formulas) if words for line in (words, ""))]


def _table(table: Table) -> list[str]:
    heads = f"| {' | '.join(_bare(heading.title) for heading in table.headings)} |"
    rules = "|" + "".join("--:|" if heading.right else "---|" for heading in table.headings)
    rows = [f"| {' | '.join(_bare(cell.text) for cell in row.cells)} |" for row in table.rows]
    return [*([_bare(table.title), ""] if table.title else []), heads, rules, *rows, ""]


def _bare(words: str) -> str:
    """Text in which Markdown sees nothing of its own."""
    plain = visible(re.sub(r"\s", " ", words))
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#&$~" else c for c in plain)


def _code(words: str) -> str:
    """Text as code, in a table too."""
    plain = visible(" ".join(words.split())).replace("|", "\\|")
    return f"`` {plain} ``" if "`" in plain else f"`{plain}`"

"""Where things stand in a TOML text that is known to be valid: the standard parser doesn't tell."""

from __future__ import annotations

import re
from collections.abc import Iterator

Path = tuple[str | int, ...]
"""`("check", 2, "at")`: the key `at` of the third [[check]]."""

_VALUE = re.compile(
    r"""(?P<comment>\#[^\n]*)|(?P<string>\"{3}(?:\\.|[^\\])*?\"{3,5}|'{3}.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*')"""
    r"""|(?P<open>[\[{])|(?P<close>[\]}])|(?P<end>\n)|[^#"'\[\]{}\n]+""",
    re.DOTALL,
)
_BLANK = re.compile(r"(?:\s|#[^\n]*(?:\n|$))*")
_KEY = re.compile(r"""[ \t]*(?:"((?:\\.|[^"\\])*)"|'([^']*)'|([A-Za-z0-9_-]+))[ \t]*(\.?)""")


def places(text: str) -> dict[Path, int]:
    """The index at which every table of an array, and every key of a table, is first written. Of a dotted key, and of a
    table within a table, that of its first names is kept too."""
    found: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    for start, names, brackets in _statements(text):
        if not brackets:
            _enter(found, table, names, start)
            continue
        path: Path = ()
        for name in names[:-1]:
            path = _inside(counts, (*path, name))
        table = (*path, names[-1])
        if brackets == 2:
            counts[table] = counts.get(table, -1) + 1
        _enter(found, path, names[-1:], start)
        table = _inside(counts, table)
        found.setdefault(table, start)
    return found


def line_of(text: str, index: int) -> int:
    """The number of the line, from 1."""
    return text.count("\n", 0, index) + 1


def _inside(counts: dict[Path, int], path: Path) -> Path:
    """The last table of an array, where the path is that of one."""
    return (*path, counts[path]) if path in counts else path


def _enter(found: dict[Path, int], table: Path, names: list[str], start: int) -> None:
    for length in range(1, len(names) + 1):
        found.setdefault((*table, *names[:length]), start)


def _statements(text: str) -> Iterator[tuple[int, list[str], int]]:
    """Every `key = value`, `[table]` and `[[array]]`: where it begins, its dotted names, how many brackets."""
    at = 0
    while True:
        blank = _BLANK.match(text, at)
        at = blank.end() if blank else at
        if at >= len(text):
            return
        brackets = 2 if text.startswith("[[", at) else 1 if text[at] == "[" else 0
        start, at, names, more = at, at + brackets, [], True
        while more and (key := _KEY.match(text, at)):
            names.append(next(part for part in key.group(1, 2, 3) if part is not None))
            at, more = key.end(), bool(key.group(4))
        if not names:
            return
        yield start, names, brackets
        at = _end(text, at + brackets)


def _end(text: str, at: int) -> int:
    """The end of the line on which the value ends that begins here."""
    depth = 0
    while token := _VALUE.match(text, at):
        depth += (token.lastgroup == "open") - (token.lastgroup == "close")
        at = token.end()
        if token.lastgroup == "end" and depth <= 0:
            break
    return at if at > 0 and text[at - 1 : at] == "\n" else len(text)

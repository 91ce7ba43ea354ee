"""Which of the checks: `-k "relu and not (float16 or 'second order')"`. The words are compared, never executed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from gradcheck_cli.errors import InputError, nearest
from gradcheck_cli.files import is_file
from gradcheck_cli.suite.spec import Spec

Matches = Callable[[str], bool]

_TOKEN = re.compile(r"""\s*(?:([()])|"([^"]*)"|'([^']*)'|([^\s()"']+))""")
MAX_DEPTH = 100


def select(specs: Iterable[Spec], expression: str | None) -> tuple[Spec, ...]:
    """Those whose id (`file::name`) the expression holds for; all without one."""
    if expression is None:
        return tuple(specs)
    matches = _Parser(expression).parse()
    return tuple(spec for spec in specs if matches(spec.id.lower()))


def chosen(paths: Iterable[str], collect: Callable[[str], tuple[Spec, ...]]) -> tuple[tuple[Spec, ...], tuple[Spec, ...]]:
    """The checks of spec files and folders, each once, and of FILE::NAME the one of that name; and all that stand in these
    files. `collect` reads a path."""
    found: dict[str, Spec] = {}
    every: dict[str, Spec] = {}
    for text in paths:
        path, colons, name = (text, "", "") if is_file(text) else text.partition("::")
        specs = collect(path)
        every |= {spec.id: spec for spec in specs if spec.id not in every}
        if colons:
            wanted = " ".join(name.split())
            specs = tuple(spec for spec in specs if spec.name == wanted) or _none(text, name, specs)
        found |= {spec.id: spec for spec in specs if spec.id not in found}
    return tuple(found.values()), tuple(every.values())


def _none(text: str, name: str, specs: Iterable[Spec]) -> tuple[Spec, ...]:
    raise InputError(f"no check is called {name!r}{nearest(name, [spec.name for spec in specs])}", text, len(text) - len(name))


class _Parser:
    """`or` binds least, then `and`, then `not`. A word holds where it is a part of the id, whatever its case."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, bool, int]] = []  # the token, whether it is a quoted word, where it stands
        self.next = 0
        at, end = 0, len(text.rstrip())
        while at < end:
            token = _TOKEN.match(text, at)
            if token is None:
                raise InputError("a quote isn't closed", text, at + len(text[at:]) - len(text[at:].lstrip()))
            bracket, double, single, word = token.groups()
            quoted = double if double is not None else single
            self.tokens.append((quoted if quoted is not None else bracket or word, quoted is not None, token.end() - 1))
            at = token.end()

    def parse(self) -> Matches:
        found = self.either(0)
        if self.next < len(self.tokens):
            raise self.error("words are joined by `and` or `or`; one that holds blanks is quoted")
        return found

    def either(self, depth: int) -> Matches:
        parts = [self.both(depth)]
        while self.takes("or"):
            parts.append(self.both(depth))
        return parts[0] if len(parts) == 1 else lambda text: any(part(text) for part in parts)

    def both(self, depth: int) -> Matches:
        parts = [self.single(depth)]
        while self.takes("and"):
            parts.append(self.single(depth))
        return parts[0] if len(parts) == 1 else lambda text: all(part(text) for part in parts)

    def single(self, depth: int) -> Matches:
        if depth > MAX_DEPTH:
            raise self.error("it is nested too deeply")
        if self.takes("not"):
            refused = self.single(depth + 1)
            return lambda text: not refused(text)
        if self.takes("("):
            found = self.either(depth + 1)
            if not self.takes(")"):
                raise self.error("a parenthesis isn't closed")
            return found
        if self.next == len(self.tokens) or (self.tokens[self.next][0] in (")", "and", "or") and not self.tokens[self.next][1]):
            raise self.error("a word is missing")
        word = self.tokens[self.next][0].lower()
        self.next += 1
        return lambda text: word in text

    def takes(self, word: str) -> bool:
        if self.next < len(self.tokens) and self.tokens[self.next][:2] == (word, False):
            self.next += 1
            return True
        return False

    def error(self, message: str) -> InputError:
        at = self.tokens[self.next][2] if self.next < len(self.tokens) else len(self.text)
        return InputError(f"-k: {message}", self.text, at)

"""What can't be meant in checks that are about to run: told before anything runs, with the line of the spec and a caret.

A check says what is wrong with its input in its own words, of the text that it was given; here is found where that stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from gradcheck_cli.errors import InputError, InputErrors
from gradcheck_cli.suite.execute import question
from gradcheck_cli.suite.places import Path as Place
from gradcheck_cli.suite.places import line_of, places
from gradcheck_cli.suite.spec import Spec, read, unquoted


def refuse(specs: Iterable[Spec]) -> None:
    """InputErrors where checks ask for what can't be meant. Nothing runs, and no code of the user is imported."""
    problems = []
    files: dict[str, _File] = {}
    for spec in specs:
        try:
            with suppress(RecursionError, MemoryError):  # said where it runs, in a process of its own
                question(spec, Path(spec.file), dict(spec.options))
        except InputError as problem:
            file = files.setdefault(spec.file, _File(spec.file))
            problems.append(file.placed(problem, spec))
    if problems:
        raise InputErrors(problems) if len(problems) > 1 else problems[0]


class _File:
    """A spec file, read once more for what it says where."""

    def __init__(self, shown: str) -> None:
        self.shown = shown

    @cached_property
    def text(self) -> str:
        with unquoted(Path(self.shown)):
            return read(Path(self.shown), self.shown)

    @cached_property
    def places(self) -> Mapping[Place, int]:
        return places(self.text)

    def placed(self, problem: InputError, spec: Spec) -> InputError:
        """The problem at its place: in the text that it is about, at the option that it names, or at the check."""
        table = next((path for path, at in self.places.items() if len(path) == 2 and path[0] == "check"
                      and line_of(self.text, at) == spec.line), ())  # fmt: skip
        for path in (table, ("defaults",)):
            at = next(self._within(problem, path), None) if path in self.places else None
            if at is not None:
                return self._error(problem, at)
        return self._error(problem, self.places.get((*table, spec.kind), self.places.get(table, 0)))

    def _within(self, problem: InputError, table: Place) -> Iterator[int]:
        start = self.places[table]
        others = [at for path, at in self.places.items() if path[: len(table)] != table and at > start]
        end = min(others, default=len(self.text))
        if problem.text:
            quoted = re.compile(rf"""(["']){re.escape(problem.text)}\1""")
            found = quoted.search(self.text, start, end)
            if found is not None:
                yield found.start() + 1 + (problem.position or 0)
        keys = {str(path[-1]): at for path, at in self.places.items() if path[:-1] == table and len(path) == len(table) + 1}
        words = re.findall(r"[A-Za-z_]\w*", problem.message)
        yield from (keys[word] for word in words if word in keys)

    def _error(self, problem: InputError, at: int) -> InputError:
        return InputError(f"{self.shown}:{line_of(self.text, at)}: {problem.message}", self.text, at)

"""TOML in, Specs out: what a file of checks asks for, checked against the schema before anything runs or is imported.

An error is an InputError that names the file and the line, quotes it, and tells the nearest right key.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from gradcheck_cli.errors import InputError, nearest, visible
from gradcheck_cli.files import link_in
from gradcheck_cli.forms import TEXT
from gradcheck_cli.options import ELSEWHERE, KINDS, OPTIONS, Option, keys, spoken
from gradcheck_cli.suite.places import line_of, places
from gradcheck_cli.verdict.plain import jsonable
from gradcheck_cli.verdict.verdicts import Cause, Verdict

MAX_BYTES = 50_000_000
SUFFIX = ".toml"
PROJECT = "pyproject.toml"
"""Not a spec: it holds the settings (see `settings`)."""

MAX_PARTS = 100
"""Of a dotted key: the standard parser takes the square of their number."""
_PART = r"""(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\."""
_DEEP = re.compile(rf"""(?<![A-Za-z0-9_.-])(?:{_PART}[ \t]*+){{{MAX_PARTS}}}""")

TABLES = ("defaults", "check")
ABOUT = {"name": TEXT, "expect": TEXT, "cause": TEXT}
"""What a [[check]] says beside its kind, whose value is what is checked, and its options."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One check that is asked for. `options` are exactly the keyword arguments of the kind's Python twin.

    `file` as it is shown (relative to the working directory, where it lies in it), `line` that of its [[check]].
    """

    name: str
    kind: str
    target: str | tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    expect: Verdict = Verdict.MATCH
    cause: Cause | None = None
    file: str = ""
    line: int = 0

    @property
    def id(self) -> str:
        """`checks/chains.toml::the forum post`: the same from run to run, whatever else is checked."""
        return f"{self.file}::{self.name}"

    @property
    def executes(self) -> bool:
        """Whether it imports, hence executes, code of the user: a function, or a model that isn't written in layers."""
        return self.kind == "function" or (self.kind == "model" and bool(_TARGET.fullmatch(str(self.target))))

    @property
    def expected(self) -> str:
        """`mismatch (kink)`"""
        return f"{self.expect.value} ({self.cause.value})" if self.cause else self.expect.value

    def asked(self) -> dict[str, Any]:
        """What is checked, as plain values: two Specs that ask for the same are equal here."""
        target = self.target if isinstance(self.target, str) else list(self.target)
        return {"kind": self.kind, "target": target, "options": jsonable(self.options), "expect": self.expected}


_TARGET = re.compile(r"[^()|]*(:[^()|]*|\.py)")
"""Not `Linear(2, 3) | ReLU`."""


def load(path: Path, shown: str, defaults: Mapping[str, Any] | None = None) -> tuple[Spec, ...]:
    """The checks of a file, in its order. `shown`: what the file is called; `defaults`: below those of the file itself."""
    with unquoted(path):
        return _Reader(shown, read(path, shown)).specs(defaults or {})


@contextmanager
def unquoted(path: Path) -> Iterator[None]:
    """Within: an error says nothing of what the file holds, where a symbolic link leads to it; a pull request may have brought
    that."""
    try:
        yield
    except InputError:
        if link_in(path) is None:
            raise
        raise InputError(f"{path}: a symbolic link, and what it leads to can't be read as TOML for gradcheck") from None


def read(path: Path, shown: str) -> str:
    """The text of a TOML file."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as problem:
        raise InputError(f"can't read {shown}: {problem.strerror or problem}") from None
    if len(raw) > MAX_BYTES:
        raise InputError(f"{shown} is larger than {MAX_BYTES // 1_000_000} MB")
    try:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as problem:
        raise InputError(f"{shown}:{raw.count(10, 0, problem.start) + 1}: not UTF-8") from None
    deep = _DEEP.search(text)
    if deep is not None:
        raise InputError(f"{shown}:{line_of(text, deep.start())}: a key of more than {MAX_PARTS} parts", text, deep.start())
    return text


def parse(text: str, shown: str) -> dict[str, Any]:
    """The TOML of a text."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        message, _, place = str(problem).rpartition(" (at ")
        numbers = [int(n) for n in re.findall(r"\d+", place)]
        lines = text.split("\n")
        line, column = numbers if len(numbers) == 2 else (len(lines), len(lines[-1]) + 1)
        raise InputError(f"{shown}:{line}: no valid TOML: {message or problem}", lines[line - 1], column - 1) from None
    except RecursionError:
        raise InputError(f"{shown}: no valid TOML: it is nested too deeply") from None
    except ValueError as problem:  # a number of thousands of digits, a date that isn't one
        raise InputError(f"{shown}: no valid TOML: {str(problem).partition(';')[0]}") from None


def check_options(given: Mapping[str, Any], refuse: Callable[[str, str], InputError]) -> None:
    """InputError unless these are options of some kind, as [defaults] holds them."""
    for name, value in given.items():
        rows = _rows(name)
        if not rows:
            raise refuse(name, f"unknown key {name!r}{nearest(name, _NAMES)}")
        if not any(row.holds(value) for row in rows):
            raise refuse(name, _refusal(name, rows, value))


_NAMES = tuple(dict.fromkeys(row.name for row in OPTIONS if row.written))


def _refusal(name: str, rows: Sequence[Option], value: Any) -> str:
    """Why a value isn't one of an option: in its own words, or by its form."""
    try:
        if all(row.form.holds(value) for row in rows):
            rows[0].read(value)
    except InputError as problem:
        return problem.message
    return f"{name!r} must be {' or '.join(dict.fromkeys(row.form.name for row in rows))}"


def _rows(name: str) -> list[Option]:
    """The options of this name, of any kind of check."""
    return [row for row in OPTIONS if row.written and row.name == name]


class _Reader:
    """One file."""

    def __init__(self, shown: str, text: str) -> None:
        self.shown = shown
        self.text = text
        self.places = places(text)
        self.ends = list(accumulate(len(line) + 1 for line in text.split("\n")))

    def error(self, message: str, *path: str | int) -> InputError:
        """At the place of a key, or of the innermost table around it that has one."""
        found = next((self.places[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.places), 0)
        return InputError(f"{self.shown}:{self.line(found)}: {message}", self.text, found)

    def line(self, index: int) -> int:
        """The number of the line, from 1."""
        return bisect_right(self.ends, index) + 1

    def specs(self, below: Mapping[str, Any]) -> tuple[Spec, ...]:
        content = parse(self.text, self.shown)
        for name in content:
            if name not in TABLES:
                raise self.error(f"unknown key {name!r}{nearest(name, TABLES)}", name)
        own, checks = content.get("defaults", {}), content.get("check", [])
        if not isinstance(own, Mapping):
            raise self.error("defaults are a table: [defaults]", "defaults")
        if not isinstance(checks, list) or not all(isinstance(check, Mapping) for check in checks):
            raise self.error("a check is written under a heading of its own: [[check]]", "check")
        check_options(own, lambda name, message: self.error(message, "defaults", name))
        defaults = {**below, **own}
        checks = [self.renamed(i, check) for i, check in enumerate(checks)]
        specs = [self.spec(i, check, defaults) for i, check in enumerate(checks)]
        return tuple(self.named(specs, ["name" in check for check in checks]))

    def renamed(self, index: int, check: Mapping[str, Any]) -> dict[str, Any]:
        """The check with the table's own names of its options, which stand where the other ones do."""
        known = spoken(next((name for name in check if name in KINDS), ""))
        found: dict[str, Any] = {}
        for name, value in check.items():
            for own in [row.name for row in known.get(name, ()) if row.written] or [name]:
                if own in found:
                    raise self.error(f"{own!r} is given twice, under two names", "check", index, name)
                found[own] = value
                self.places.setdefault(("check", index, own), self.places.get(("check", index, name), 0))
        return found

    def spec(self, index: int, check: Mapping[str, Any], defaults: Mapping[str, Any]) -> Spec:
        at = ("check", index)
        kinds = [name for name in check if name in KINDS]
        if len(kinds) != 1:
            every = (*KINDS, *ABOUT, *_NAMES)
            strange = next((name for name in check if name not in every), None) if not kinds else None
            if strange is not None:
                raise self.error(f"unknown key {strange!r}{nearest(strange, (*KINDS, *ABOUT))}", *at, strange)
            found = f"it has {' and '.join(kinds)}" if kinds else "it has none"
            raise self.error(f"a check has one key that says what is checked: {', '.join(KINDS)}; {found}", *at, *kinds[1:2])
        kind, known = kinds[0], keys(kinds[0])
        options = {known[name].parameter: value for name, value in defaults.items()
                   if name in known and known[name].form.holds(value)}  # fmt: skip
        for name, value in check.items():
            form = KINDS[kind].form if name == kind else ABOUT.get(name) or (known[name].form if name in known else None)
            if form is None:
                others = [k for k in KINDS if any(k in row.checks for row in _rows(name))]
                said = f": {ELSEWHERE[name]}" if name in ELSEWHERE else nearest(name, (*known, *ABOUT))
                hint = f": an option of {', '.join(others)}" if others else said
                raise self.error(f"unknown key {name!r} of a {kind} check{hint}", *at, name)
            if name in known and not known[name].holds(value):
                raise self.error(_refusal(name, [known[name]], value), *at, name)
            if not form.holds(value):
                raise self.error(f"{name!r} must be {form.name}", *at, name)
            if name in known:
                options[known[name].parameter] = value
        for row in known.values():
            if row.required and row.parameter not in options:
                raise self.error(f"a {kind} check needs {row.name!r}", *at)
        target = check[kind] if isinstance(check[kind], str) else tuple(check[kind])
        if not target or not all(part.strip() for part in ([target] if isinstance(target, str) else target)):
            raise self.error(f"{kind!r} is empty", *at, kind)
        expect, cause = self.expectation(check, at)
        name = self.name(check, at) or (target if isinstance(target, str) else " | ".join(target))
        line = self.line(self.places.get(at, 0))
        return Spec(visible(" ".join(name.split())), kind, target, options, expect, cause, self.shown, line)

    def name(self, check: Mapping[str, Any], at: tuple[str | int, ...]) -> str:
        name: str = check.get("name", "")
        if "name" in check and not (name.strip() and name.isprintable()):
            raise self.error("a name is one line of text", *at, "name")
        return name

    def expectation(self, check: Mapping[str, Any], at: tuple[str | int, ...]) -> tuple[Verdict, Cause | None]:
        expect, cause = check.get("expect", Verdict.MATCH.value), check.get("cause")
        for key, value, members in (("expect", expect, Verdict), ("cause", cause, Cause)):
            words = [member.value for member in members]
            if value is not None and value not in words:
                raise self.error(f"unknown {key} {value!r}{nearest(value, words)}", *at, key)
        if cause is not None and expect != Verdict.MISMATCH:
            raise self.error('a cause belongs to expect = "mismatch"', *at, "cause")
        return Verdict(expect), None if cause is None else Cause(cause)

    def named(self, specs: Sequence[Spec], given: Sequence[bool]) -> Iterator[Spec]:
        """Names that were given are unique; checks without one are called after their target, and numbered if need be."""
        lines: dict[str, int] = {}
        for index, (spec, named) in enumerate(zip(specs, given, strict=True)):
            if named and lines.setdefault(spec.name, spec.line) != spec.line:
                message = f"the name {spec.name!r} is taken: line {lines[spec.name]} has it"
                raise self.error(message, "check", index, "name")
        times: Counter[str] = Counter()
        for spec, named in zip(specs, given, strict=True):
            name = spec.name
            while not named and name in lines:
                times[spec.name] += 1
                name = f"{spec.name} ({times[spec.name] + 1})"
            lines[name] = spec.line
            yield replace(spec, name=name)

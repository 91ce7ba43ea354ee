"""The command that runs a check of a suite by itself, to be pasted into a shell: what a spec asks, as it is typed.

`gradcheck grad 'relu(x) - relu(-x)' --at x=0` where the check can be written so: its whole report, without the file.
Else `gradcheck run 'checks/a.toml::NAME'`. What the run itself said (--timeout) isn't in it, but for --strict
where nothing fails without it.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gradcheck_cli.options import KINDS, Option, taken
from gradcheck_cli.stored import moved
from gradcheck_cli.suite.execute import CODE_TOO, FAILED, STORED, Outcome, beside, next_to
from gradcheck_cli.verdict.verdicts import Verdict

LONGEST = 500
"""Characters of a command: where it would be longer, the file is named; where that has more too, nothing."""

_NOT_JSON = ("inf", "-inf", "nan")
"""How a number that JSON lacks stands among what was asked: where texts may stand too, nothing tells which it was."""


def alone(outcome: Outcome) -> str | None:
    """The command; None where there is none that can be seen, or pasted: names may hold anything."""
    ways = (_whole(outcome), ["run", outcome.spec_id])
    strict = ["--strict"] if outcome.status == FAILED and outcome.verdict == Verdict.IMPRECISE else []
    texts = (shlex.join(["gradcheck", *words, *strict]) for words in ways if words is not None)
    return next((text for text in texts if text.isprintable() and len(text) <= LONGEST), None)


def _whole(outcome: Outcome) -> list[str] | None:
    """The words of the command that asks for the same; None where there is none, or what was asked isn't what a spec asks."""
    kind, target, options = outcome.kind, outcome.target, outcome.asked.get("options")
    if kind not in KINDS or not KINDS[kind].form.holds(target) or not isinstance(options, Mapping):
        return None
    rows, folder = taken(kind), Path(outcome.file)
    if any(name not in rows or not rows[name].written or not rows[name].form.holds(value) for name, value in options.items()):
        return None
    targets = [target] if isinstance(target, str) else [*(target or ())]
    if KINDS[kind].code:
        targets = [beside(text, folder) for text in targets]
        options = {name: beside(value, folder) if name in CODE_TOO else value for name, value in options.items()}
    options = {
        name: moved(value, lambda file: next_to(file, folder)) if name in STORED else value for name, value in options.items()
    }
    try:
        given = [word for name, value in options.items() for word in _option(rows[name], value)]
    except ValueError:
        return None
    return [kind, *map(_no_option, targets), *given]


def _no_option(text: str) -> str:
    """An expression that can't be taken for an option."""
    return f" {text}" if text.startswith("-") else text


def _option(row: Option, value: Any) -> Iterator[str]:
    """An option as it is typed: --at x=1 --at x=2. ValueError where it can't be."""
    if isinstance(value, bool):
        form, _, contrary = row.forms[0].partition("/")
        if value or contrary:
            yield form if value else contrary
        return
    for text in _TYPED.get(row.name, _plainly)(value):
        yield from [f"{row.forms[0]}={text}"] if text.startswith("-") else [row.forms[0], text]


# -- values, each as the texts behind one option ------------------------------------------------------------------------


def _plainly(value: Any) -> Iterator[str]:
    """A text, a number, or a list of either in one text."""
    yield ",".join(map(_number, value)) if isinstance(value, list) else _number(value)


def _number(value: Any) -> str:
    """A text as it is, numbers as the language reads them, lists in brackets."""
    if isinstance(value, list):
        return f"[{','.join(map(_number, value))}]"
    return value if isinstance(value, str) else repr(value)


def _several(value: Any) -> list[Any]:
    """The parts of a list of texts and tables; what is one value, such as a list of numbers, by itself."""
    listed = isinstance(value, list) and any(isinstance(part, str | Mapping) for part in value)
    return [*value] if listed else [value]


def _points(value: Any) -> Iterator[str]:
    for point in _several(value):
        named = isinstance(point, Mapping)
        yield ",".join(f"{name}={_number(v)}" for name, v in point.items()) if named else _number(point)


def _entries(write: Callable[[Any], str]) -> Callable[[Any], Iterator[str]]:
    """Texts as they are; of a table, one for each entry, its value written so; a value without a name, too."""

    def texts(value: Any) -> Iterator[str]:
        for part in [value] if isinstance(value, Mapping) else _several(value):
            if isinstance(part, Mapping):
                yield from (f"{name}={write(v)}" for name, v in part.items())
            else:
                yield part if isinstance(part, str) else write(part)

    return texts


def _sizes(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _interval(value: Any) -> str:
    if isinstance(value, list) and len(value) != 2:
        raise ValueError("no interval")
    return ":".join(map(repr, value)) if isinstance(value, list) else str(value)


def _literal(value: Any) -> str:
    if value in _NOT_JSON:
        raise ValueError("a text or a number")
    return repr(value)


def _cotangent(value: Any) -> Iterator[str]:
    yield _number(value)


_TYPED: Mapping[str, Callable[[Any], Iterator[str]]] = {
    "at": _points, "shape": _entries(_sizes), "domain": _entries(_interval), "set": _entries(_literal),
    "input": _entries(_sizes), "claim": _entries(_number), "cotangent": _cotangent,
}  # fmt: skip
"""By the name of the option, where its values aren't simply written."""

"""The forms of values: what an option may be in a spec, on the command line and in Python, and how it is read.

What is read here needs nothing but the text; points, formulas and shapes stay as they are given, for the language to read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gradcheck_cli.errors import InputError

# -- tests of plain values, as TOML and JSON have them ------------------------------------------------------------------


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, float) or _whole(value)


def _numbers(value: Any) -> bool:
    return _number(value) or _list(_numbers)(value)


def _plain(value: Any) -> bool:
    """No date: what is handed over must mean the same in JSON."""
    if isinstance(value, Mapping):
        return all(map(_plain, value.values()))
    return all(map(_plain, value)) if isinstance(value, list) else isinstance(value, str | bool) or _number(value)


def _list(of: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(of, value))


def _table(of: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, Mapping) and all(map(of, value.values()))


def _either(*tests: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: any(test(value) for test in tests)


_texts = _either(_text, _list(_text))
_sizes = _either(_whole, _list(_whole))
_place = _table(_either(_text, _numbers))

# -- readers: the value, the option's name and its choices; InputError for what can't be meant ---------------------------


def _as_given(value: Any, name: str, choices: Sequence[str]) -> Any:
    return value


def _chosen(value: str | Sequence[Any], name: str, choices: Sequence[str]) -> tuple[str, ...]:
    """The names in "a,b" or ["a", "b"], each once; `all` is every known one."""
    texts = [value] if isinstance(value, str) else [str(v) for v in value]
    chosen: dict[str, None] = {}
    for text in texts:
        offset = 0
        for piece in text.split(","):
            word = piece.strip().removeprefix("torch.")
            if word != "all" and word not in choices:
                at = offset + len(piece) - len(piece.lstrip())
                raise InputError(f"unknown {name} {word!r}: choose from {', '.join(choices)}, or all", text, at)
            chosen |= dict.fromkeys(choices if word == "all" else [word])
            offset += len(piece) + 1
    return tuple(chosen)


def _non_negative(value: float, name: str, choices: Sequence[str]) -> float:
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"{name} must be a non-negative number: {value}")
    return value


def _positive(value: float, name: str, choices: Sequence[str]) -> float:
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{name} must be a positive number: {value}")
    return value


# -- the forms ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Form:
    """One form of values.

    name      what it is called in an error of a spec
    holds     whether a value of a spec has it
    word      what the text behind an option of the command line becomes; None: there is no such text, only Python has it
    several   the command line may repeat the option; a list of texts is the same in Python and in a spec
    python    what Python may give instead, for its docstring
    example   one, as it is typed
    read      the value as it goes on
    """

    name: str
    holds: Callable[[Any], bool]
    word: type[str] | type[int] | type[float] | type[bool] | None = str
    several: bool = False
    python: str = ""
    example: str = ""
    read: Callable[[Any, str, Sequence[str]], Any] = _as_given


TEXT = Form("a text", _text)
TEXTS = Form("a text or a list of texts", _texts, python="a list of texts")
EXPRESSIONS = replace(TEXTS, several=True)
FILES = replace(TEXTS, several=True)
NAMES = Form(TEXTS.name, _texts, several=True, python="a list of texts", read=_chosen)
FLAG = Form("true or false", lambda value: isinstance(value, bool), bool)
WHOLE = Form("a whole number", _whole, int, example="2")
LIMIT = Form("a number", _number, float, example="0.25", read=_non_negative)
SECONDS = Form(
    "a positive number of seconds", lambda value: _number(value) and 0 < value < 1e9, float, example="7.5", read=_positive
)
LAYER = Form("a text or a whole number", _either(_text, _whole), python="a whole number", example="0")
INDEX = Form("a whole number, a list of them or a text", _either(_sizes, _text), python="2, (1, 2)", example="1")
POINTS = Form(
    'a point "x=1,y=2" or {x = 1, y = 2}, or a list of points',
    _either(_text, _place, _list(_either(_text, _place))),
    several=True,
    python='{"x": 1, "y": [1, 2]}, whose values are numbers, lists, arrays or texts, or a list of points',
    example="x=1",
)
VALUES = replace(POINTS, python='{"x": [1, 2]}, whose values are numbers, lists or tensors', example="x=[1,2]")
SHAPES = Form(
    '"x=3,4", {x = [3, 4]}, or a list of such texts',
    _either(_texts, _table(_sizes)),
    several=True,
    python='{"x": (3, 4)}, or a list of texts',
    example="x=2",
)
DOMAIN = Form(
    '"x=0:5", {x = [0, 5]}, or a list of such texts',
    _either(_texts, _table(_either(_text, _list(_number)))),
    several=True,
    python='{"x": (0, 5)}, or a list of texts',
    example="x=0:5",
)
SETTINGS = Form(
    '"dim=1", {dim = 1}, or a list of such texts',
    _either(_texts, _table(_plain)),
    several=True,
    python='{"dim": 1}, or a list of texts',
    example="dim=1",
)
INPUT = Form(
    'sizes [4, 10], "4,10" or {x = [4, 10]}, or a list of such texts',
    _either(_texts, _sizes, _table(_sizes)),
    several=True,
    python="sizes (4, 10), or tensors: one, several in order, or by the names of the parameters of `forward`",
    example="1,2",
)
COTANGENT = Form(
    '"random", "ones", or a list of numbers', _either(_text, _numbers), python="numbers of the output's shape", example="ones"
)
LOSS = Form(TEXT.name, _text, python="a callable that takes what the network returns and gives one number")
SURROGATE = Form(TEXT.name, _text, python="a function of the same parameters")
FUNCTION = Form(TEXT.name, _text, python="the object: a function, a torch.nn.Module, a torch.autograd.Function or its apply")
NETWORK = Form(TEXT.name, _text, python="a torch.nn.Module, or a function that returns one; the module doesn't change")
OBJECT = Form("an object of Python", lambda value: False, None)
TABLE = Form("a table", lambda value: isinstance(value, Mapping), None)

"""What may stand in a spec file: the kinds of checks, their keys, and the types of the values, as data."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

FORMULAS = ("chain", "mixed", "grad", "jacobian", "hessian")
CODE = ("function", "model")
KINDS = (*FORMULAS, *CODE)
"""The commands. In a [[check]] the kind is a key, and its value is what is checked."""


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, float) or _whole(value)


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


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _numbers(value: Any) -> bool:
    return _number(value) or _list(_numbers)(value)


@dataclass(frozen=True, slots=True)
class Form:
    """A type of value: what it is called in an error, and the test for it."""

    name: str
    holds: Callable[[Any], bool]


_place = _table(_either(_text, _numbers))

TEXT = Form("a text", _text)
TEXTS = Form("a text or a list of texts", _either(_text, _list(_text)))
FLAG = Form("true or false", lambda value: isinstance(value, bool))
WHOLE = Form("a whole number", _whole)
NUMBER = Form("a number", _number)
SECONDS = Form("a positive number of seconds", lambda value: _number(value) and 0 < value < 1e9)
LAYER = Form("a text or a whole number", _either(_text, _whole))
INDEX = Form("a whole number, a list of them or a text", _either(_whole, _list(_whole), _text))
POINTS = Form('a point "x=1,y=2" or {x = 1, y = 2}, or a list of points', _either(_text, _place, _list(_either(_text, _place))))
SHAPES = Form('"x=3,4", {x = [3, 4]}, or a list of such texts', _either(TEXTS.holds, _table(_either(_whole, _list(_whole)))))
DOMAIN = Form('"x=0:5", {x = [0, 5]}, or a list of such texts', _either(TEXTS.holds, _table(_either(_text, _list(_number)))))
SETTINGS = Form('"dim=1", {dim = 1}, or a list of such texts', _either(TEXTS.holds, _table(_plain)))
INPUT = Form(
    'sizes [4, 10], "4,10" or {x = [4, 10]}, or a list of such texts',
    _either(TEXTS.holds, _whole, _list(_whole), _table(_either(_whole, _list(_whole)))),
)
COTANGENT = Form('"random", "ones", or a list of numbers', _either(_text, _numbers))


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a [[check]]. `option`: what the Python twin calls it, if not by the key."""

    name: str
    form: Form
    kinds: tuple[str, ...]
    option: str = ""
    required: bool = False


_POINTED = (*FORMULAS, "function")

KEYS = (
    Key("at", POINTS, KINDS),
    Key("shape", SHAPES, _POINTED),
    Key("sample", WHOLE, _POINTED),
    Key("domain", DOMAIN, _POINTED),
    Key("seed", WHOLE, KINDS),
    Key("mode", TEXTS, KINDS),
    Key("dtype", TEXTS, KINDS),
    Key("device", TEXT, KINDS),
    Key("claim", TEXT, FORMULAS),
    Key("rtol", NUMBER, KINDS),
    Key("atol", NUMBER, KINDS),
    Key("ulps", NUMBER, KINDS),
    Key("strict", FLAG, KINDS),
    Key("timeout", SECONDS, KINDS),
    Key("verbose", FLAG, KINDS),
    Key("wrt", TEXTS, ("mixed",), required=True),
    Key("permutations", FLAG, ("mixed",)),
    Key("order", WHOLE, ("grad", "function")),
    Key("set", SETTINGS, ("function",), option="settings"),
    Key("formula", TEXT, ("function",)),
    Key("input", INPUT, ("model",)),
    Key("layer", LAYER, ("model",)),
    Key("neuron", INDEX, ("model",)),
    Key("wrt", TEXT, ("model",)),
    Key("loss", TEXT, ("model",)),
    Key("cotangent", COTANGENT, ("model",)),
    Key("train", FLAG, ("model",)),
)
"""The options of every kind, as the commands take them."""

TARGETS = {kind: TEXTS if kind in ("chain", "jacobian") else TEXT for kind in KINDS}
ABOUT = {"name": TEXT, "expect": TEXT, "cause": TEXT}
"""What else a [[check]] says."""

TABLES = ("defaults", "check")


def keys(kind: str) -> dict[str, Key]:
    """The options of a kind, by name."""
    return {key.name: key for key in KEYS if kind in key.kinds}


def nearest(name: str, known: Iterable[str]) -> str:
    """`; nearest: dtype, device`, or all there are."""
    names = sorted(set(known))
    near = difflib.get_close_matches(name.lower(), names, n=2, cutoff=0.6)
    return f"; nearest: {', '.join(near)}" if near else f"; there is {', '.join(names)}"

"""What an outcome is made of, field by field: a line of results, of a baseline or of a worker has it, or is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from gradcheck_cli.verdict.verdicts import Cause, Verdict

Holds = Callable[[Any], bool]


def _is(*types: type) -> Holds:
    return lambda value: isinstance(value, types) and (bool in types or not isinstance(value, bool))


def _maybe(holds: Holds) -> Holds:
    return lambda value: value is None or holds(value)


def _each(holds: Holds) -> Holds:
    return lambda value: isinstance(value, list | tuple) and all(map(holds, value))


def _values(holds: Holds) -> Holds:
    return lambda value: isinstance(value, Mapping) and all(map(holds, value.values()))


def _fields(fields: Mapping[str, Holds], optional: Mapping[str, Holds]) -> Holds:
    """A mapping that has all of the first, and of the second what it has; what else it holds is not read."""
    return lambda value: (
        isinstance(value, Mapping)
        and all(name in value and holds(value[name]) for name, holds in fields.items())
        and all(holds(value[name]) for name, holds in optional.items() if name in value)
    )


_TEXT, _WHOLE, _NUMBER, _TABLE = _is(str), _is(int), _is(int, float), _is(dict)
_VERDICT, _CAUSE = frozenset(v.value for v in Verdict), frozenset(c.value for c in Cause)

_CHECK = _fields(
    {
        "point": _TABLE, "quantity": _TEXT, "exact": _maybe(_TEXT), "autograd": _maybe(_is(int, float, str)),
        "verdict": lambda value: _TEXT(value) and value in _VERDICT,
        "cause": _maybe(lambda value: _TEXT(value) and value in _CAUSE),
    },
    {
        "inputs": _maybe(_TABLE), "detail": _maybe(_TEXT), "formula": _maybe(_TEXT), "autograd_formula": _maybe(_TEXT),
        "claim": _maybe(_TEXT), "witness": _maybe(_TEXT),
    },
)  # fmt: skip

FIELDS: Mapping[str, Holds] = {
    "spec_id": _TEXT, "name": _TEXT, "kind": _TEXT, "file": _TEXT, "line": _WHOLE,
    "status": lambda value: _TEXT(value) and value in ("passed", "failed", "undecided"),
    "verdict": _maybe(lambda value: _TEXT(value) and value in _VERDICT),
    "cause": _maybe(lambda value: _TEXT(value) and value in _CAUSE),
    "expected": _TEXT, "seconds": _NUMBER, "error": _maybe(_TEXT),
    "fault": _maybe(lambda value: _TEXT(value) and value in ("input", "crash", "timeout", "memory")),
    "report": _maybe(_fields({"checks": _each(_CHECK)}, {"problem": _TABLE})),
    "text": _maybe(_TEXT), "counts": _values(_WHOLE), "findings": _each(_TEXT), "versions": _values(_TEXT),
    "seed": _maybe(_WHOLE), "asked": _TABLE, "seal": _maybe(_TEXT),
}  # fmt: skip
"""Every field of an Outcome, and what it may hold. The first ten have to be there."""

_REQUIRED = tuple(FIELDS)[:10]


def outcome_of(line: bytes) -> dict[str, Any]:
    """The fields of an outcome in a line of JSON; ValueError where it holds none."""
    try:
        found = json.loads(line, parse_constant=_refused, parse_int=_bounded, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return checked(found)


def checked(found: Any) -> dict[str, Any]:
    """The fields, if they are those of an outcome; else a ValueError that names the first that isn't."""
    if not isinstance(found, dict):
        raise ValueError("no object")
    missing = next((name for name in _REQUIRED if name not in found), None)
    if missing is not None:
        raise ValueError(f"{missing!r} is missing")
    for name, value in found.items():
        if name not in FIELDS or not FIELDS[name](value):
            raise ValueError(
                f"{name!r} holds what no outcome does" if name in FIELDS else f"{name!r} is no field of an outcome"
            )
    return found


def _refused(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON")


def _bounded(digits: str) -> int:
    if len(digits) > 40:  # a seed of 128 bits has 39
        raise ValueError("a number that no outcome has")
    return int(digits)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number that no outcome has")
    return value

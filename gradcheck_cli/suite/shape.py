"""What an outcome is made of, field by field: a line of results, of a baseline or of a worker has it, or is refused.

Lines are hostile, and as many as there are checks: a handful of tests of types, no validator to be installed with the package.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from gradcheck_cli.shapes import (
    ANY_TABLE,
    NUMBER,
    TEXT,
    TEXTS,
    WHOLE,
    Shape,
    either,
    fields,
    list_of,
    maybe,
    one_of,
    row_of,
    table_of,
)
from gradcheck_cli.verdict.verdicts import Cause, Verdict

_VERDICT, _CAUSE = one_of([v.value for v in Verdict]), one_of([c.value for c in Cause])

_CHECK = fields(
    {
        "point": ANY_TABLE, "quantity": TEXT, "exact": maybe(TEXT), "autograd": maybe(either(NUMBER, TEXT)),
        "verdict": _VERDICT, "cause": maybe(_CAUSE),
    },
    {
        "inputs": maybe(ANY_TABLE), "detail": maybe(TEXT), "formula": maybe(TEXT), "autograd_formula": maybe(TEXT),
        "claim": maybe(TEXT), "witness": maybe(TEXT),
    },
)  # fmt: skip

_FLOAT = maybe(either(NUMBER, TEXT))
_NUMBERS = row_of(_FLOAT, _FLOAT, maybe(NUMBER), maybe(TEXT))
"""Exact, autograd, rounding, operation: see `findings`."""

_ASKED = fields({}, {"kind": TEXT, "target": TEXTS, "options": ANY_TABLE, "expect": TEXT})

FIELDS: Mapping[str, Shape] = {
    "spec_id": TEXT, "name": TEXT, "kind": TEXT, "file": TEXT, "line": WHOLE,
    "status": one_of(("passed", "failed", "undecided")), "verdict": maybe(_VERDICT), "cause": maybe(_CAUSE),
    "expected": TEXT, "seconds": NUMBER, "error": maybe(TEXT),
    "fault": maybe(one_of(("input", "crash", "timeout", "memory"))),
    "report": maybe(fields({"checks": list_of(_CHECK)}, {"problem": ANY_TABLE})),
    "text": maybe(TEXT), "counts": table_of(WHOLE), "findings": list_of(TEXT),
    "wrong": table_of(fields({"entries": WHOLE, "at": table_of(_NUMBERS)}, {})), "nans": WHOLE, "versions": table_of(TEXT),
    "seed": maybe(WHOLE), "asked": _ASKED, "seal": maybe(TEXT),
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

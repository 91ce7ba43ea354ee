"""The shapes of plain values, as TOML and JSON have them: what holds a value against one, and the same as JSON Schema.

Both are made together, from the smallest shapes up, so that they can't drift apart. The schema says no more than the test: what
an editor refuses, we refuse. The one difference is 2.0, which is a whole number to JSON Schema alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Shape:
    """`shape(value)`: whether a value has it. `schema`: the same in words of JSON Schema (draft 7)."""

    schema: Mapping[str, Any]
    holds: Callable[[Any], bool]

    def __call__(self, value: Any) -> bool:
        return self.holds(value)


DEFINITIONS: dict[str, Mapping[str, Any]] = {}
"""What a schema may refer to, as `#/definitions/NAME`: the shapes that hold themselves."""


def list_of(of: Shape) -> Shape:
    """A list, or the tuple that it was in Python."""
    return Shape({"type": "array", "items": of.schema}, lambda value: isinstance(value, list | tuple) and all(map(of, value)))


def row_of(*cells: Shape) -> Shape:
    """A list of just these, in order."""
    return Shape(
        {"type": "array", "items": [cell.schema for cell in cells], "minItems": len(cells), "maxItems": len(cells)},
        lambda value: (
            isinstance(value, list | tuple)
            and len(value) == len(cells)
            and all(cell(part) for cell, part in zip(cells, value, strict=True))
        ),
    )


def table_of(of: Shape) -> Shape:
    """A table whose values are such."""
    return Shape(
        {"type": "object", "additionalProperties": of.schema},
        lambda value: isinstance(value, Mapping) and all(map(of, value.values())),
    )


def fields(required: Mapping[str, Shape], optional: Mapping[str, Shape]) -> Shape:
    """A table that has all of the first, and of the second what it has; what else it holds is not read."""
    return Shape(
        {
            "type": "object",
            "properties": {name: shape.schema for name, shape in {**required, **optional}.items()},
            "required": list(required),
        },
        lambda value: (
            isinstance(value, Mapping)
            and all(name in value and shape(value[name]) for name, shape in required.items())
            and all(shape(value[name]) for name, shape in optional.items() if name in value)
        ),
    )


def either(*shapes: Shape) -> Shape:
    """One of these, at least."""
    return Shape({"anyOf": [shape.schema for shape in shapes]}, lambda value: any(shape(value) for shape in shapes))


def maybe(shape: Shape) -> Shape:
    """Such a value, or null."""
    return either(Shape({"type": "null"}, lambda value: value is None), shape)


def one_of(words: Collection[str]) -> Shape:
    """One of these words."""
    return Shape({"enum": list(words)}, lambda value: isinstance(value, str) and value in words)


def names_of(offered: Collection[str], known: Collection[str]) -> Shape:
    """Names, or a list of them. A text that holds more than a plain word may be several names, or one in another spelling; what
    is a plain word is one of these. `offered`: what an editor offers."""
    more = Shape(
        {"type": "string", "pattern": f"^$|{_BEYOND}"},
        lambda value: TEXT(value) and (not value or bool(re.search(_BEYOND, value))),
    )
    others = [word for word in known if word not in offered]
    one = either(one_of(offered), *([one_of(others)] if others else []), more)
    return either(one, list_of(one))


_BEYOND = "[^a-z0-9_]"


def nested(name: str, of: Callable[[Shape], Shape]) -> Shape:
    """A shape that may hold itself: `of` is given it."""
    made: list[Shape] = []
    own = Shape({"$ref": f"#/definitions/{name}"}, lambda value: made[0](value))
    made.append(of(own))
    DEFINITIONS[name] = made[0].schema
    return own


ANY_TABLE = Shape({"type": "object"}, lambda value: isinstance(value, Mapping))
TEXT = Shape({"type": "string"}, lambda value: isinstance(value, str))
FLAG = Shape({"type": "boolean"}, lambda value: isinstance(value, bool))
WHOLE = Shape({"type": "integer"}, lambda value: isinstance(value, int) and not isinstance(value, bool))
NUMBER = Shape({"type": "number"}, lambda value: isinstance(value, float) or WHOLE(value))
NUMBERS = nested("numbers", lambda self: either(NUMBER, list_of(self)))
"""One, or lists of them at any depth."""
PLAIN = nested("plain", lambda self: either(TEXT, FLAG, NUMBER, list_of(self), table_of(self)))
"""No date: what is handed over must mean the same in JSON."""
TEXTS = either(TEXT, list_of(TEXT))
SIZES = either(WHOLE, list_of(WHOLE))
VALUES = nested("values", lambda self: either(TEXT, NUMBER, list_of(self)))
"""The same, where a text may stand for a number: "pi/4"."""
PLACE = table_of(VALUES)
"""Where a point lies, or the numbers of a tensor: {x = 1, y = [1, "pi/4"]}."""
NOTHING = Shape({"not": {}}, lambda value: False)


def whole(low: int, high: int | None = None) -> Shape:
    """A whole number from `low` to `high`."""
    bounds = {"minimum": low} | ({} if high is None else {"maximum": high})
    return Shape({**WHOLE.schema, **bounds}, lambda value: WHOLE(value) and low <= value and (high is None or value <= high))


def between(low: float, high: float) -> Shape:
    """A number between these, which are none of them."""
    return Shape(
        {"type": "number", "exclusiveMinimum": low, "exclusiveMaximum": high},
        lambda value: NUMBER(value) and low < value < high,
    )

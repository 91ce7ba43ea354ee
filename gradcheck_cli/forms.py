"""The forms of values: what an option may be in a spec, on the command line and in Python, and how it is read.

What is read here needs nothing but the text; points, formulas and shapes stay as they are given, for the language to read.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gradcheck_cli import shapes
from gradcheck_cli.errors import InputError
from gradcheck_cli.shapes import NUMBER, NUMBERS, PLACE, PLAIN, SIZES, Shape, either, list_of, table_of

# -- readers: the value, the option's name, its choices by every word for them; InputError for what can't be meant --------


def _as_given(value: Any, name: str, choices: Mapping[str, str]) -> Any:
    return value


def _chosen(value: Any, name: str, choices: Mapping[str, str]) -> tuple[str, ...]:
    """The names in "a,b" or ["a", "b"], each once; `all` is every known one. A type stands for its name: torch.float32,
    numpy.float32, and Python's float, which is a double."""
    texts = [_word(v) for v in (value if isinstance(value, list | tuple | set) else [value])]
    names = tuple(dict.fromkeys(choices.values()))
    chosen: dict[str, None] = {}
    for text in texts:
        offset = 0
        for piece in text.split(","):
            word = piece.strip().lower().removeprefix("torch.").removeprefix("np.").removeprefix("numpy.")
            if word != "all" and word not in choices:
                at = offset + len(piece) - len(piece.lstrip())
                raise InputError(f"unknown {name} {piece.strip()!r}: choose from {', '.join(names)}, or all", text, at)
            chosen |= dict.fromkeys(names if word == "all" else [choices[word]])
            offset += len(piece) + 1
    return tuple(chosen)


def _word(value: Any) -> str:
    return "float64" if value is float else value.__name__ if isinstance(value, type) else str(value)


def _real(value: Any, name: str, what: str) -> float:
    """The number, or InputError that says `what` is needed; a text is none."""
    try:
        number = math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{name} must be {what}: {value!r}")
    return number


def _non_negative(value: Any, name: str, choices: Mapping[str, str]) -> float:
    number = _real(value, name, "a non-negative number")
    if number < 0:
        raise InputError(f"{name} must be a non-negative number: {value}")
    return number


def _positive(value: Any, name: str, choices: Mapping[str, str]) -> float:
    number = _real(value, name, "a positive number")
    if number <= 0:
        raise InputError(f"{name} must be a positive number: {value}")
    return number


def _index(value: Any, name: str, choices: Mapping[str, str]) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise InputError(f"{name} must be a whole number: {value!r}") from None


def _flag(value: Any, name: str, choices: Mapping[str, str]) -> bool:
    """True or False, NumPy's too; a text such as "no" would be true."""
    if not ((isinstance(value, int) and value in (0, 1)) or type(value).__name__ in ("bool", "bool_")):
        raise InputError(f"{name} must be true or false: {value!r}")
    return bool(value)


def _text(value: Any, name: str, choices: Mapping[str, str]) -> str:
    """A text; an expression of SymPy is what it prints."""
    if not (isinstance(value, str) or hasattr(value, "free_symbols")):
        raise InputError(f"{name} must be a text, not {type(value).__name__}")
    return str(value)


def _callback(value: Any, name: str, choices: Mapping[str, str]) -> Any:
    if not callable(value):
        raise InputError(f"{name}: a function is wanted, not {type(value).__name__}")
    return value


def _callbacks(value: Any, name: str, choices: Mapping[str, str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"{name}: a mapping of names to functions is wanted, not {type(value).__name__}")
    return {str(key): _callback(function, f"{name}: {key!r}", choices) for key, function in value.items()}


def _settings(value: Any, name: str, choices: Mapping[str, str]) -> Any:
    if not isinstance(value, str | Mapping | list | tuple):
        raise InputError(f"{name}: arguments by their names are wanted, such as {{'dim': 1}}, not {type(value).__name__}")
    return value


def _backend(value: Any, name: str, choices: Mapping[str, str]) -> Any:
    """A backend of torch.compile: its name, or a callable; True is torch's own."""
    if value is True:
        return INDUCTOR
    if value is False:
        return None
    if not isinstance(value, str) and not callable(value):
        raise InputError(f"{name}: the name of a backend is wanted, such as {INDUCTOR!r}, not {type(value).__name__}")
    return value


def _narrow(value: Any, name: str, choices: Mapping[str, str]) -> str | None:
    """A format that torch.autocast computes in; True is that of the CPU."""
    if value is True or value is False:
        return BFLOAT16 if value else None
    known = {
        "bfloat16": BFLOAT16,
        "bf16": BFLOAT16,
        "float16": "float16",
        "fp16": "float16",
        "f16": "float16",
        "half": "float16",
    }
    found = known.get(str(value).removeprefix("torch.").lower())
    if found is None:
        raise InputError(f"{name}: torch.autocast computes in bfloat16 or float16", str(value), 0)
    return found


BFLOAT16 = "bfloat16"
"""The format that torch.autocast computes in on a CPU, where none is named."""

INDUCTOR = "inductor"
"""The backend that torch.compile has where none is named."""


def _said(value: Any, name: str, choices: Mapping[str, str]) -> str:
    return str(value)


# -- the forms ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Form:
    """One form of values.

    name      what it is called in an error of a spec
    holds     whether a value of a spec has it, and what JSON Schema calls that
    word      what the text behind an option of the command line becomes; None: there is no such text, only Python has it
    several   the command line may repeat the option; a list of texts is the same in Python and in a spec
    python    what Python may give instead, for its docstring
    example   one, as it is typed
    read      the value as it goes on
    """

    name: str
    holds: Shape
    word: type[str] | type[int] | type[float] | type[bool] | None = str
    several: bool = False
    python: str = ""
    example: str = ""
    read: Callable[[Any, str, Mapping[str, str]], Any] = _as_given


TEXT = Form("a text", shapes.TEXT, read=_text)
TEXTS = Form("a text or a list of texts", shapes.TEXTS, python="a list of texts")
EXPRESSIONS = replace(TEXTS, several=True)
FILES = replace(TEXTS, several=True)
NAMES = Form(TEXTS.name, shapes.TEXTS, several=True, python="a list of texts", read=_chosen)
FORMATS = replace(NAMES, python="a list of texts, or torch's own (torch.float32)")
FLAG = Form("true or false", shapes.FLAG, bool, read=_flag)
WHOLE = Form("a whole number", shapes.WHOLE, int, example="2", read=_index)
COUNT = replace(WHOLE, name="a whole number, at least 1", holds=shapes.whole(1))
NATURAL = replace(WHOLE, name="a whole number, not negative", holds=shapes.whole(0))
BACKEND = Form(
    "a text, or true for inductor",
    either(shapes.TEXT, shapes.FLAG),
    python="True, or a backend itself",
    example="eager",
    read=_backend,
)
AUTOCAST = Form(
    "bfloat16, float16, or true for bfloat16", either(shapes.TEXT, shapes.FLAG), python="True, or torch's own (torch.float16)",
    example="float16", read=_narrow,
)  # fmt: skip
DEVICE = Form(TEXT.name, shapes.TEXT, python="a torch.device", read=_said)
LIMIT = Form("a number", NUMBER, float, example="0.25", read=_non_negative)
SECONDS = Form("a positive number of seconds", shapes.between(0, 1e9), float, example="7.5", read=_positive)
LAYER = Form("a text or a whole number", either(shapes.TEXT, shapes.WHOLE), python="a whole number", example="0")
INDEX = Form("a whole number, a list of them or a text", either(SIZES, shapes.TEXT), python="2, (1, 2)", example="1")
POINTS = Form(
    'a point "x=1,y=2" or {x = 1, y = 2}, or a list of points',
    either(shapes.TEXT, NUMBERS, PLACE, list_of(either(shapes.TEXT, PLACE))),
    several=True,
    python='{"x": 1, "y": [1, 2]}, whose values are numbers, lists, arrays or texts, or a list of points; '
    "of a single input the value alone",
    example="x=1",
)
CLAIMS = Form(
    '"x=2*x", {x = "2*x"}, or a list of such texts',
    either(shapes.TEXTS, NUMBER, table_of(either(shapes.TEXT, NUMBER))),
    several=True,
    python='{"x": "2*x"}, or a list of texts',
    example="2",
)
VALUES = replace(POINTS, python='{"x": [1, 2]}, whose values are numbers, lists or tensors', example="x=[1,2]")
SHAPES = Form(
    '"x=3,4", {x = [3, 4]}, or a list of such texts',
    either(shapes.TEXTS, SIZES, table_of(SIZES)),
    several=True,
    python='{"x": (3, 4)}, or a list of texts; of a single input the sizes alone',
    example="x=2",
)
DOMAIN = Form(
    '"x=0:5", {x = [0, 5]}, or a list of such texts',
    either(shapes.TEXTS, table_of(either(shapes.TEXT, list_of(NUMBER)))),
    several=True,
    python='{"x": (0, 5)}, or a list of texts',
    example="x=0:5",
)
SETTINGS = Form(
    '"dim=1", {dim = 1}, or a list of such texts',
    either(shapes.TEXTS, table_of(PLAIN)),
    several=True,
    python='{"dim": 1}, or a list of texts',
    example="dim=1",
    read=_settings,
)
INPUT = Form(
    'sizes [4, 10], "4,10" or {x = [4, 10]}, or a list of such texts',
    either(shapes.TEXTS, SIZES, table_of(SIZES)),
    several=True,
    python="sizes (4, 10), or tensors: one, several in order, or by the names of the parameters of `forward`",
    example="1,2",
)
COTANGENT = Form(
    '"random", "ones", or a list of numbers',
    either(shapes.TEXT, NUMBERS),
    python="numbers of the output's shape",
    example="ones",
)
LOSS = Form(TEXT.name, shapes.TEXT, python="a callable that takes what the network returns and gives one number")
SURROGATE = Form(TEXT.name, shapes.TEXT, python="a function of the same parameters")
REFERENCE = Form(TEXT.name, shapes.TEXT, python="the object itself: a function of the same parameters, or a Module")
FUNCTION = Form(
    TEXT.name, shapes.TEXT, python="the object: a function, a torch.nn.Module, a torch.autograd.Function or its apply"
)
NETWORK = Form(TEXT.name, shapes.TEXT, python="a torch.nn.Module, or a function that returns one; the module doesn't change")
CALLBACK = Form("a function of Python", shapes.NOTHING, None, read=_callback)
CALLBACKS = Form("functions of Python by name", shapes.NOTHING, None, read=_callbacks)
TABLE = Form("a table", shapes.ANY_TABLE, None)

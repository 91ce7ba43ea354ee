"""What is asked of a network, checked before torch is imported."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from gradcheck_cli.callables.contents import whole as whole_place
from gradcheck_cli.errors import InputError, counted, whole
from gradcheck_cli.language.chain import link
from gradcheck_cli.language.points import Read, holds_text, split, with_files
from gradcheck_cli.modes import MODES
from gradcheck_cli.networks.layers import LAYERS, parse_network
from gradcheck_cli.verdict.limits import Limits

WRT = ("input", "parameters", "all")
MAX_ENTRIES = 1_000_000
"""Of one input."""


@dataclass(frozen=True)
class Shape:
    """An input of these sizes, its values seeded."""

    sizes: tuple[int, ...]


Given = Shape | Sequence[Any] | float | Any
"""What is known of one input: its shape, its values as a number or nested lists, or the tensor itself."""


@dataclass(frozen=True)
class Request:
    """`model`: a Network, the text of a target (FILE.py:NAME), or the object itself; `text` is how it was written.

    `given` are the inputs that were given: by name, or None for the next one in order. `neuron`: one output entry. `cotangent`:
    "random", "ones" or nested lists. `loss`: a chain of y, or a callable. `dtypes`: names; empty: as the model is. `device`:
    where it runs; what is drawn doesn't depend on it. `modes`: names of `modes.OF_TENSORS`. `stop_gradients`: see `Map.stops`.
    `reference`: another network that is right, as `model` may be. `compile`: a backend of torch.compile, by which it is run
    too. `autocast`: a format that torch.autocast computes in.
    """

    model: Any
    text: str
    given: tuple[tuple[str | None, Given], ...] = ()
    layer: str | None = None
    neuron: tuple[int, ...] | None = None
    wrt: str | None = None
    loss: Any = None
    cotangent: Any = None
    training: bool = False
    seed: int = 0
    dtypes: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    device: str = "cpu"
    modes: tuple[str, ...] = ("reverse",)
    stop_gradients: bool = False
    reference: Any = None
    compile: Any = None
    autocast: str | None = None

    def __post_init__(self) -> None:
        if self.wrt is not None and self.wrt not in WRT:
            raise InputError(f"unknown wrt {self.wrt!r}: choose from {', '.join(WRT)}", self.wrt, 0)
        if self.seed < 0:
            raise InputError(f"the seed must not be negative: {self.seed}")
        if self.loss is not None and (self.layer is not None or self.neuron is not None or self.cotangent is not None):
            raise InputError("a loss is one number of the whole network: leave out layer, neuron and cotangent, or the loss")
        if self.reference is not None and (self.layer is not None or self.neuron is not None):
            raise InputError("a reference is of the whole network: leave out layer and neuron, or the reference")
        if self.neuron is not None and self.cotangent is not None:
            raise InputError("a neuron is one output entry and needs no cotangent: leave one of them out")
        if self.cotangent is not None and not any(MODES[mode].backwards for mode in self.modes):
            raise InputError(f"a cotangent is for modes that run backwards, and {', '.join(self.modes)} runs forwards")


def model(model: Any) -> tuple[Any, str]:
    """The `model` and `text` of a Request: a text with a colon outside of parentheses names a target."""
    if not isinstance(model, str):
        return model, getattr(model, "__name__", type(model).__name__)
    if re.fullmatch(r"[^()|]*(:[^()|]*|\.py)", model):
        return model, model
    return parse_network(model), model


def whole_file(model: Any) -> str | None:
    """The file, or the dotted name of a module, that a target without a NAME is; None for all else."""
    if not isinstance(model, str):
        return None
    layer = model.rpartition(".")[2] in LAYERS or model.startswith(("nn.", "torch.nn"))
    return whole_place(model) if model.endswith(".py") or ("." in model and not layer) else None


def inputs(shapes: Any, values: Any, read: Read) -> tuple[tuple[str | None, Given], ...]:
    """The `given` of a Request. `shapes`: "1,10" or "query=4,8", several of them, or sizes; or tensors. `values`: "x=[1,2]",
    several of them, or a mapping from name to number, nested lists or tensor. `read` knows numbers."""
    found = list(chain(_shapes(shapes), _values(values, read)))
    named = [name for name, _ in found if name is not None]
    twice = next((name for name in named if named.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{twice!r} is given twice")
    return tuple(found)


def neuron(given: Any) -> tuple[int, ...] | None:
    """ "1,2", 2 or (1, 2): the index of an output entry."""
    if given is None:
        return None
    words = given.split(",") if isinstance(given, str) else given if isinstance(given, list | tuple) else [given]
    try:
        return tuple(int(str(word)) for word in words)
    except ValueError:
        raise InputError("a neuron is the index of an output entry, such as 2 or 1,2", str(given), 0) from None


def cotangent(given: Any, read: Read) -> Any:
    """ "random", "ones", or numbers: "[1, -1]", nested lists, a tensor."""
    if not isinstance(given, str) or given in ("random", "ones"):
        return given
    return read(f"cotangent={given}", "cotangent")


def loss(given: Any) -> Any:
    """A formula of y as a chain; a callable as it is."""
    if not isinstance(given, str):
        if given is not None and not callable(given):
            raise InputError("a loss is a formula of y, such as mean(y**2), or a callable that takes what the network returns")
        return given
    formula = link([given], "loss")
    if formula.inputs != ("y",):
        raise InputError(f"a loss is a formula of y alone, not of {', '.join(formula.inputs)}", given, 0)
    return formula


def _shapes(given: Any) -> Iterable[tuple[str | None, Given]]:
    if given is None:
        return []
    if isinstance(given, Mapping):
        return [(name, _input(value)) for name, value in given.items()]
    if isinstance(given, str):
        return [_shape(given)]
    if isinstance(given, list | tuple) and not all(isinstance(size, int) for size in given):
        return [_shape(one) if isinstance(one, str) else (None, _input(one)) for one in given]
    return [(None, _input(given))]


def _input(value: Any) -> Given:
    """Sizes are a shape; all else is the input itself."""
    if isinstance(value, int):
        value = (value,)
    if isinstance(value, list | tuple) and all(isinstance(size, int) for size in value):
        return Shape(_sizes(tuple(value), None))
    return value


def _shape(text: str) -> tuple[str | None, Shape]:
    """ "1,10", "1x10", "query=4,8"; "" is a single number."""
    name, equals, sizes = text.rpartition("=")
    words = [word.strip() for word in re.split("[,x×]", sizes.strip().strip("()"))]
    words = [word for word in words if word]
    found = [whole(word) for word in words]
    if None in found or (equals and not name.strip().isidentifier()):
        raise InputError("the shape of an input is written as sizes: 1,10 or NAME=1,10", text, len(name) + len(equals))
    return name.strip() or None, Shape(_sizes(tuple(size for size in found if size is not None), text))


def _sizes(sizes: tuple[int, ...], text: str | None) -> tuple[int, ...]:
    count = 1
    for size in sizes:
        count *= size
    if count > MAX_ENTRIES:
        raise InputError(
            f"an input of {counted(count)} entries; at most {MAX_ENTRIES:,} are checked", text, 0 if text else None
        )
    if count < 1:
        raise InputError("an input without entries has no derivative", text, 0 if text else None)
    return sizes


def _values(given: Any, read: Read) -> Iterable[tuple[str | None, Given]]:
    if given is None:
        return []
    if isinstance(given, Mapping):
        values = with_files(given, read).items()
        return [(name, _written(name, value, read) if holds_text(value) else value) for name, value in values]
    texts = [given] if isinstance(given, str) else given
    if not (isinstance(texts, list | tuple) and all(isinstance(text, str) for text in texts)):  # numbers, or a tensor
        return [(None, given)]
    return [_value(piece.strip(), read) for text in texts for piece, _ in split(text, 0)]


def _written(name: str, value: Any, read: Read) -> Any:
    """A text, or lists that hold some."""
    if isinstance(value, list | tuple):
        return [_written(name, part, read) for part in value]
    return read(f"{name}={value}", name) if isinstance(value, str) else value


def _value(text: str, read: Read) -> tuple[str | None, Given]:
    """ "x=[1,2]", or the numbers alone."""
    found = with_files(text, read)
    if isinstance(found, Mapping):
        return next(iter(found.items()))
    if found is not text:
        return None, found
    name = text.partition("=")[0].strip()
    return (name, read(text, name)) if "=" in text else (None, read(f"x={text}", "x"))

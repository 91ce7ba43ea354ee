"""The arguments of a callable at every point: tensors that are differentiated by, and what is handed over as it is."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gradcheck_cli.algebra.constants import nearest_double
from gradcheck_cli.algebra.parts import constant_parts, numbers
from gradcheck_cli.callables.loading import REQUIRED, Parameter, Target
from gradcheck_cli.callables.settings import settings_of
from gradcheck_cli.errors import InputError, words
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.language.points import holds_text, listed, parse_points, with_files
from gradcheck_cli.language.spaces import OfParts, PointSpec, entry_names
from gradcheck_cli.maps.autograd import dense, derived
from gradcheck_cli.maps.parts import apart, as_numbers, double, inexact, joined, split
from gradcheck_cli.options import COMPLEX, DTYPES, SAMPLES_OF_FUNCTION
from gradcheck_cli.shadow.sparse import is_sparse

SHAPES: tuple[tuple[int, ...], ...] = ((3,), (3, 3), ())
"""Shapes that are tried for all inputs where none is given."""

SHOWN = 12
"""Entries of a tensor that is shown in full."""

At = Any


@dataclass(frozen=True)
class Wanted:
    """What the user says of the inputs, as in `language.points.parse_points`; `settings` are handed over as they are."""

    at: At = None
    shape: str | Sequence[str] | Mapping[str, Any] | None = None
    sample: int | None = None
    domain: str | Sequence[str] | Mapping[str, Any] | None = None
    seed: int | None = None
    settings: str | Sequence[str] | Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Arguments:
    """One point: the tensors that are differentiated by, and everything else, by the names of the parameters."""

    given: Mapping[str, Tensor]
    others: Mapping[str, Any]
    nested: Mapping[str, Any] = field(default_factory=dict)
    """Arguments that hold several tensors (a dictionary, a list, a dataclass), whose names begin with theirs."""

    @functools.cached_property
    def tensors(self) -> Mapping[str, Tensor]:
        """What is differentiated by: the tensors, of complex ones the parts."""
        return apart(self.given)

    def call(self, target: Target, tensors: Mapping[str, Tensor]) -> Any:
        """The target, called with these tensors in place of the arguments' own."""
        given = {**joined(tensors, self.given), **self.others}
        for name, value in self.nested.items():
            given = {n: v for n, v in given.items() if not n.startswith(f"{name}.")} | {name: _filled(name, value, given)}
        positional: list[Any] = []
        named: dict[str, Any] = {}
        if target.parameters is None:
            positional = [v for v in given.values() if isinstance(v, Tensor)]
            return target.call(*positional, **{n: v for n, v in given.items() if not isinstance(v, Tensor)})
        for parameter in target.parameters:
            if parameter.name in given and parameter.positional and not named:
                positional.append(given[parameter.name])
            elif parameter.name in given:
                named[parameter.name] = given[parameter.name]
            elif target.function is not None and parameter.default is not REQUIRED:
                positional.append(parameter.default)  # apply takes no keyword arguments
        return target.call(*positional, **named)

    @property
    def names(self) -> list[str]:
        """The parameters that have a value."""
        flat = [*self.given, *self.others]
        return [*self.nested, *(n for n in flat if n.partition(".")[0] not in self.nested)]

    def shown(self) -> dict[str, Any]:
        """All arguments, for the reader."""
        return {name: shown(value) for name, value in {**self.tensors, **self.others}.items()}


def arguments(target: Target, wanted: Wanted, dtype: str | None) -> Iterator[Arguments]:
    """Every point in a dtype (None: float64, or what given tensors have). InputError for what can't be an argument."""
    settings = dict(settings_of(wanted.settings))
    _check_names(target, settings)
    entries = _entries(target, wanted.at, settings)
    given = [e for e in entries if isinstance(e, Mapping) and not any(map(holds_text, e.values()))]
    for point in given:
        yield _given(target, point, settings, dtype)
    texts = [e for e in entries if not any(e is g for g in given)]
    if texts or not given:
        yield from _read(target, texts, wanted, settings, dtype or "float64")


def _entries(target: Target, at: At, settings: Mapping[str, Any]) -> list[Any]:
    """The points in `at`: texts and mappings. What is given without a name is that of the only parameter; as many tensors as
    there are parameters are one point, in their order."""
    listing = [with_files(entry, numbers) for entry in listed(at)]
    bare = [e for e in listing if not isinstance(e, str | Mapping)]
    if not bare:
        return listing
    names = [p.name for p in target.parameters or () if p.default is REQUIRED and p.name not in settings]
    if target.parameters is None and len(listing) == 1:
        names = ["x"]
    if len(names) == 1:
        return [e if isinstance(e, str | Mapping) else {names[0]: e} for e in listing]
    if len(names) == len(bare) == len(listing):
        return [dict(zip(names, bare, strict=True))]
    there = ", ".join(names) or "any number of arguments"
    raise InputError(f"{target.name} takes {there}: give the point by names, such as at={{'{(names or ['x'])[0]}': ...}}")


# -- texts --------------------------------------------------------------------------------------------------------------


def _read(target: Target, texts: Sequence[Any], wanted: Wanted, settings: Mapping[str, Any], dtype: str) -> Iterator[Arguments]:
    mentioned = _mentioned([texts, wanted.shape, wanted.domain])
    if target.parameters is None:
        names = mentioned or ["x"]
    else:
        wanted_too = [p for p in target.parameters if p.default is REQUIRED or p.name in mentioned]
        names = [p.name for p in wanted_too if p.name not in settings]
        _no_tensor([p for p in wanted_too if p.name in names], mentioned)
    sample = SAMPLES_OF_FUNCTION if wanted.sample is None and not texts else wanted.sample

    def spec(shape: Any) -> PointSpec:
        return parse_points(
            texts, names, shape=shape, sample=sample, domain=wanted.domain, seed=wanted.seed, evaluate=nearest_double,
            parts=constant_parts, complex_inputs=dtype in COMPLEX,
        )  # fmt: skip

    chosen = spec(wanted.shape)
    if not names:
        raise InputError(f"{target.name} takes no arguments: there is nothing to differentiate by")
    if not texts and wanted.shape is None:
        chosen = _suited(target, [spec(dict.fromkeys(names, shape)) for shape in SHAPES], settings, dtype)
    yield from _points(chosen, settings, dtype)


def _points(spec: PointSpec, settings: Mapping[str, Any], dtype: str) -> Iterator[Arguments]:
    values = spec.values(FORMATS[COMPLEX.get(dtype, dtype)])
    for k in range(len(next(iter(values.values())))):
        tensors = {}
        for name, shape in spec.shapes.items():
            floats = torch.tensor([values[entry][k] for entry in entry_names(name, shape)], dtype=torch.float64).reshape(shape)
            found = torch.view_as_complex(floats) if isinstance(shape, OfParts) else floats
            tensors[name] = as_numbers(found, getattr(torch, dtype))
        yield Arguments(tensors, settings)


def _no_tensor(parameters: Sequence[Parameter], mentioned: Sequence[str]) -> None:
    """InputError for a parameter that is annotated as something else than a tensor: only a float, by name, may be one."""
    for parameter in parameters:
        if parameter.plain and not (parameter.name in mentioned and "float" in parameter.plain):
            value = next((v for kind, v in _EXAMPLES.items() if kind in parameter.plain), "2")
            example = (
                f"{parameter.name}={value}" if value.isidentifier() or value[0].isdigit() else f'"{parameter.name}={value}"'
            )
            raise InputError(
                f"{parameter.name!r} is annotated {parameter.plain}, no tensor: give its value by --set, as in --set {example}"
            )


_EXAMPLES = {
    "float": "0.5",
    "list": "[1,2]",
    "List": "[1,2]",
    "uple": "(1,2)",
    "Sequence": "[1,2]",
    "str": "'mean'",
    "bool": "True",
}


class _Transposed(TorchFunctionMode):
    """Whether a vector is transposed inside, which does nothing: what is meant for matrices."""

    found = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _TRANSPOSE and isinstance(args[0], Tensor) and args[0].dim() == 1:
            self.found = True
        return func(*args, **(kwargs or {}))


_TRANSPOSE = (torch.t, Tensor.t, Tensor.T.__get__)  # type: ignore[attr-defined]  # a descriptor of C


def _suited(
    target: Target, specs: Sequence[PointSpec], settings: Mapping[str, Any], dtype: str, elsewhere: bool = True
) -> PointSpec:
    """The first points that the target and its backward run at, in this dtype or in another (`elsewhere`). InputError where it
    plainly wants other shapes."""
    why, running, backward = "", [], ""
    for spec in specs:
        point = next(_points(spec, settings, dtype))
        shape = next(iter(spec.shapes.values()))
        try:
            with warnings.catch_warnings(), _Transposed() as seen:
                warnings.simplefilter("ignore")
                some = floating(_outputs(target, point))
        except InputError:
            raise
        except Exception as problem:  # whatever a user's function raises
            if isinstance(problem, MemoryError):
                raise InputError(
                    f"{target.name}: it takes more memory than there is, at a tensor of shape {shape} (MemoryError)"
                ) from None
            tried = ", ".join(str(s) for s in SHAPES)
            why = why or f"it fails at tensors of shape {tried} ({type(problem).__name__}: {words(problem)})"
            continue
        if seen.found:
            raise _ask(target, spec, f"it transposes a vector at tensors of shape {shape}, which does nothing")
        if not some:
            why = "it returns no floating-point tensor with entries"
            continue
        refusal = _refusal(target, point)
        if refusal is None and backward:
            if len(shape) < 2 or _INVALID in backward:
                break
            raise _ask(target, spec, f"its backward fails at tensors of shape {SHAPES[0]} ({backward}), not at {shape}")
        if refusal is None:
            return spec
        running.append(spec)
        backward = backward or refusal
    if not running and elsewhere:  # the shapes are the same in every dtype
        for other in DTYPES:
            with suppress(InputError):
                return _suited(target, specs, settings, other, elsewhere=False)
    if not running:
        raise _ask(target, specs[0], why)
    return running[0]  # the backward fails, but not because it wants matrices: that is to be reported


_INVALID = "returned an invalid gradient"
"""torch's words for a gradient of another shape than its input's: the backward's own slip."""


def _ask(target: Target, spec: PointSpec, why: str) -> InputError:
    shapes = " ".join(f"--shape {name}={','.join(map(str, shape))}" for name, shape in _matrices(spec).items())
    return InputError(f"{target.name}: {why}; give the shapes with --shape, such as {shapes}")


def _matrices(spec: PointSpec) -> dict[str, tuple[int, int]]:
    """A shape for each input: an example."""
    return {name: (2 + number, 3) for number, name in enumerate(spec.shapes)}


def _moving(point: Arguments) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The inputs as leaves that require a gradient, and copies that may be written to."""
    leaves_of = {name: x.clone().requires_grad_() for name, x in point.tensors.items()}
    return leaves_of, {name: x.clone() for name, x in leaves_of.items()}


def _outputs(target: Target, point: Arguments) -> Any:
    """What the target returns. It may hang hooks on what requires a gradient, or may not take that."""
    try:
        return point.call(target, _moving(point)[1])
    except Exception:  # whatever a user's function raises
        return point.call(target, point.tensors)


def _refusal(target: Target, point: Arguments) -> str | None:
    """What the backward raises, where the forward pass runs."""
    leaves_of, given = _moving(point)
    try:
        outputs = leaves(point.call(target, given)).values()
        wanted = [y for y in outputs if y.requires_grad and y.is_floating_point()]
    except Exception:  # said where it is checked
        return None
    try:
        if wanted:
            derived(wanted, list(leaves_of.values()), [torch.ones_like(y) for y in wanted])
    except Exception as problem:
        return f"{type(problem).__name__}: {words(problem)}"
    return None


def _mentioned(texts: Iterable[Any]) -> list[str]:
    """The names that points, shapes or domains give."""
    found: dict[str, None] = {}
    for text in texts:
        if isinstance(text, Mapping):
            found |= dict.fromkeys(text)
        elif isinstance(text, str):
            found |= dict.fromkeys(re.findall(r"(?:^|,)\s*([A-Za-z_]\w*)\s*=(?!=)", text))
        elif isinstance(text, list | tuple):
            found |= dict.fromkeys(_mentioned(text))
    return list(found)


# -- Python's own objects -----------------------------------------------------------------------------------------------


def _given(target: Target, point: Mapping[str, Any], settings: Mapping[str, Any], dtype: str | None) -> Arguments:
    """A point of tensors, arrays, lists and numbers. Tensors of integers or truth values are handed over as they are; Python's
    numbers follow the tensors' dtype, as they do in torch, and are float64 among themselves."""
    _check_names(target, point)
    nested = {name: value for name, value in point.items() if _holds_tensors(value)}
    given = point
    point = {n: v for name, value in given.items() for n, v in (_parts(name, value) if name in nested else ((name, value),))}
    plain = {p.name for p in target.parameters or () if p.plain and not hasattr(point.get(p.name), "dtype")}
    own = _common(point.values())
    values = {
        **settings,
        **{name: value if name in plain else _tensor(name, value, dtype, own) for name, value in point.items()},
    }
    if target.parameters is not None:
        missing = [p.name for p in target.parameters if p.default is REQUIRED and p.name not in {**given, **settings}]
        if missing:
            raise InputError(f"the point gives no value for {', '.join(missing)}")
    tensors = {n: v for n, v in values.items() if n in point and isinstance(v, Tensor) and inexact(v)}
    if not tensors:
        raise InputError(f"{target.name}: no input is a floating-point tensor: there is nothing to differentiate by")
    return Arguments(tensors, {n: v for n, v in values.items() if n not in tensors}, nested)


def _items(value: Any) -> list[tuple[str, Any]] | None:
    """What a container holds, by key, index or field; None for anything else."""
    if isinstance(value, Mapping):
        return [(str(key), part) for key, part in value.items()]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value) if f.init]
    return [(str(i), part) for i, part in enumerate(value)] if isinstance(value, list | tuple) else None


def _holds_tensors(value: Any) -> bool:
    """Whether a container holds a tensor, at any depth; lists of numbers are arrays."""
    return any(isinstance(part, Tensor) or _holds_tensors(part) for _, part in _items(value) or ())


def _parts(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The tensors that a container holds, under its own name and theirs."""
    for key, part in _items(value) or ():
        if isinstance(part, Tensor):
            yield f"{name}.{key}", part
        else:
            yield from _parts(f"{name}.{key}", part)


def _filled(name: str, value: Any, tensors: Mapping[str, Any]) -> Any:
    """A container like one, with other tensors."""
    items = _items(value)
    if isinstance(value, Tensor) or items is None:
        return tensors.get(name, value)
    parts = {key: _filled(f"{name}.{key}", part, tensors) for key, part in items}
    if isinstance(value, Mapping):
        return {key: parts[str(key)] for key in value}
    if not isinstance(value, list | tuple):
        return dataclasses.replace(value, **parts)
    return type(value)(*parts.values()) if hasattr(value, "_fields") else type(value)(parts.values())


def _common(values: Iterable[Any]) -> torch.dtype:
    """The dtype of what torch computes of the floating-point tensors among some values; float64 where there are none."""
    found = [value.dtype.to_real() for value in values if isinstance(value, Tensor) and inexact(value)]
    return functools.reduce(torch.promote_types, found) if found else torch.float64


def _tensor(name: str, value: Any, dtype: str | None, own: torch.dtype) -> Tensor:
    """A value in the dtype that is asked for; else in its own, and what has none in that of the others, `own`."""
    try:
        exact = hasattr(value, "dtype")
        tensor = torch.as_tensor(value).detach() if exact else double(value)
    except (TypeError, ValueError, RuntimeError) as problem:
        raise InputError(f"the value of {name!r} is no tensor, number or list of numbers: {words(problem)}") from None
    if tensor.dtype is torch.complex32:
        raise InputError(f"the value of {name!r} is of 16-bit parts, with which torch computes next to nothing: give complex64")
    if tensor.layout is not torch.strided and not is_sparse(tensor):
        raise InputError(f"the value of {name!r} is of the layout {tensor.layout}: give a dense one, or COO, CSR or CSC")
    if dtype is not None or not exact:
        return as_numbers(tensor, own if dtype is None else getattr(torch, dtype))
    return tensor


def _check_names(target: Target, names: Iterable[str]) -> None:
    if target.parameters is None:
        return
    known, needed = [p.name for p in target.parameters], [p.name for p in target.parameters if p.default is REQUIRED]
    for name in names:
        if name not in known:
            hint = f": its input is called {needed[0]!r}" if len(needed) == 1 else ""
            raise InputError(f"{name!r} is not a parameter of {target.name} (it has {', '.join(known) or 'none'}){hint}")


# -- outputs ------------------------------------------------------------------------------------------------------------


def floating(value: Any) -> bool:
    """Whether a result has anything to differentiate."""
    return any(y.is_floating_point() and y.numel() for y in leaves(value).values())


def leaves(value: Any, name: str = "y") -> dict[str, Tensor]:
    """The tensors in a result: `y`, or y0, y1 of several, by their keys in a mapping; of complex ones the parts."""
    if isinstance(value, Tensor):
        return split({name: dense(value)})
    pairs: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, tuple | list):
        pairs = enumerate(value)
    else:
        pairs = _items(value) or ()
    return {n: y for key, item in pairs for n, y in leaves(item, f"{name}{key}").items()}


def shown(value: Any) -> Any:
    """For the reader: a number, nested lists, or words."""
    if isinstance(value, Tensor):
        return value.tolist() if value.numel() <= SHOWN else f"{'x'.join(map(str, value.shape))} numbers"
    return value if isinstance(value, int | float) and math.isfinite(value) else str(value)

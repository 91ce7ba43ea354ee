"""Floats: the formula in torch, as it was written: every operation runs where it stands, equal ones each on their own.

Operators run as Python's operators on tensors; functions as torch's own operation; subexpressions without a variable are
Python numbers, as they would be in a user's code.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch.autograd import forward_ad
from torch.utils._python_dispatch import _disable_current_modes

from gradcheck_cli.algebra.constants import CONSTANT_ULPS, evaluated
from gradcheck_cli.algebra.parts import parts
from gradcheck_cli.algebra.program import Program, inline
from gradcheck_cli.errors import REFUSALS, InputError, NoValue, first_line
from gradcheck_cli.language.functions import ARRAY_KINDS, CONSTANT, PLACES, TABLE, Function
from gradcheck_cli.language.parser import composition
from gradcheck_cli.language.settings import as_index
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, occurrences

OPERATORS = inline(*(row.name for row in TABLE.values() if row.operator and not row.torch))


def index(x: torch.Tensor, index: tuple[Any, ...]) -> torch.Tensor:
    """x[0], x[1:], A[:, 2]."""
    return x[as_index(index)]


def index_at(places: Sequence[torch.Tensor], index: tuple[Any, ...]) -> torch.Tensor:
    """x[[0, 2]]: the lists first, x behind them."""
    *listed, x = places
    return x[as_index(index, listed)]


def _part(name: str) -> Callable[..., torch.Tensor]:
    def run(x: torch.Tensor, place: int, **settings: Any) -> torch.Tensor:
        sizes = [list(value) if isinstance(value, tuple) else value for value in settings.values()]
        parts: tuple[torch.Tensor, ...] = getattr(torch, name)(x, *sizes)
        return parts[place]

    return run


chunk, split, tensor_split, unbind = map(_part, ("chunk", "split", "tensor_split", "unbind"))
"""One of the parts that torch returns."""


def index_where(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """x[x > 0]."""
    return x[mask]


def tensor(data: torch.Tensor) -> torch.Tensor:
    """A list is one already."""
    return data


def pick(x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """In each row the entry with the label's number."""
    return x.gather(-1, target.unsqueeze(-1)).squeeze(-1)


def imag(x: torch.Tensor) -> torch.Tensor:
    """The imaginary part; torch has none of a real number."""
    return torch.imag(x) if x.is_complex() else 0 * x


def gelu_tanh(x: torch.Tensor) -> torch.Tensor:
    """torch's other gelu; a string argument has no place in a formula."""
    return torch.nn.functional.gelu(x, approximate="tanh")


def addcmul(x: torch.Tensor, one: torch.Tensor, other: torch.Tensor, value: float = 1) -> torch.Tensor:
    """The factor has a name in torch."""
    return torch.addcmul(x, one, other, value=value)


def addcdiv(x: torch.Tensor, one: torch.Tensor, other: torch.Tensor, value: float = 1) -> torch.Tensor:
    """The same."""
    return torch.addcdiv(x, one, other, value=value)


def einsum(tensors: Sequence[torch.Tensor], equation: str) -> torch.Tensor:
    """The text stands behind, as settings do."""
    return torch.einsum(equation, *tensors)


def gather(x: torch.Tensor, index: torch.Tensor, dim: int) -> torch.Tensor:
    """Settings stand behind."""
    return x.gather(dim, index)


def index_select(x: torch.Tensor, index: torch.Tensor, dim: int) -> torch.Tensor:
    """The same."""
    return x.index_select(dim, index)


def index_add(x: torch.Tensor, index: torch.Tensor, source: torch.Tensor, dim: int) -> torch.Tensor:
    """The same."""
    return x.index_add(dim, index, source)


def scatter(x: torch.Tensor, index: torch.Tensor, src: torch.Tensor, dim: int) -> torch.Tensor:
    """A number is one source for all."""
    return x.scatter(dim, index, src if src.ndim else src.expand(index.shape))


def scatter_add(x: torch.Tensor, index: torch.Tensor, src: torch.Tensor, dim: int) -> torch.Tensor:
    """The same."""
    return x.scatter_add(dim, index, src if src.ndim else src.expand(index.shape))


def batch_norm(x: torch.Tensor, **settings: Any) -> torch.Tensor:
    """Without running statistics."""
    return torch.nn.functional.batch_norm(x, None, None, **settings)


def size(x: torch.Tensor, dim: int) -> int:
    """How many entries a dimension has."""
    return x.shape[dim]


def prelu(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """torch wants a dimension of channels where there is more than one weight."""
    return torch.nn.functional.prelu(x, weight if weight.numel() > 1 else weight.reshape(1))


class TensorAlgebra:
    """The algebra of torch tensors of one dtype (see `algebra.program.Algebra`).

    `callables` replaces torch's operation for some rows. `cut` collects the rows whose operation returned a tensor that is
    detached although an argument required a gradient: torch does so, without an error, where it has no derivative.
    """

    def __init__(self, dtype: torch.dtype, device: str, callables: Mapping[str, Callable[..., Any]]) -> None:
        self.dtype, self.device, self.callables = dtype, device, callables
        self.operators: Mapping[str, str] = {n: t for n, t in OPERATORS.items() if n not in callables}
        self.cut: dict[str, None] = {}
        self.constants: dict[float, Node] = {}
        """What was rounded, by the double in its place."""

    def constant(self, value: int | float | bool) -> Any:
        return value

    def body(self, row: Function) -> Node:
        return composition(row.name)

    def function(self, row: Function) -> Callable[..., Any] | None:
        if row.name not in self.callables and row.composed:
            return None
        if not row.parameters:
            return lambda: getattr(torch, row.torch)
        if row.factory:
            return partial(self._made, row)
        if row.arrays:
            return partial(self._on_arrays, row)
        kinds = [p.kind for p in row.parameters]
        replaced = self.callables.get(row.name)

        def run(*arguments: Any) -> torch.Tensor:
            # Of several scalars behind the first argument torch takes numbers only or tensors only (clamp).
            mixed = any(k == "scalar" and isinstance(a, torch.Tensor) for k, a in zip(kinds[1:], arguments[1:], strict=True))
            values = [
                self.tensor(a) if kind in ("tensor", "truth") or (kind == "scalar" and mixed and place) else a
                for place, (kind, a) in enumerate(zip(kinds, arguments, strict=True))
            ]
            if not any(isinstance(v, torch.Tensor) for v in values):
                values = [self.tensor(v) if kind == "scalar" else v for kind, v in zip(kinds, values, strict=True)]
            call = replaced or operation(row.name, *_settings(kinds, values))
            return self._call(row, values, partial(call, *_tensors(row, values)))

        return run

    def _made(self, row: Function, counts: tuple[int, ...]) -> torch.Tensor:
        """A constant array: in the format that is asked for, as other constants are."""
        try:
            made: torch.Tensor = operation(row.name)(*counts, dtype=self.dtype, device=self.device)
        except (TypeError, RuntimeError) as problem:
            raise InputError(f"{row.name}: {first_line(problem)}") from None
        return made

    def _on_arrays(self, row: Function, *arguments: Any) -> torch.Tensor:
        """A row on arrays: its settings go to torch by name, where they aren't what torch does anyway."""
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for parameter, value in row.bind(arguments):
            given = isinstance(value, torch.Tensor) or value != parameter.default
            if parameter.kind in ARRAY_KINDS:
                if not given:
                    continue
                value = self.tensor(value)
                if parameter.kind == "labels" or (parameter.kind == "targets" and value.shape != positional[0].shape):
                    value = value.long()
            elif parameter.kind == "truth":
                value = self.tensor(value)
            elif not given and (value is False or value == ()):
                continue
            if parameter.default is None and parameter.kind in ARRAY_KINDS:
                positional.append(value)
            else:
                named[parameter.name] = value
        call = self.callables.get(row.name) or operation(row.name)
        run = partial(call, positional, **named) if row.parameters[0].variadic else partial(call, *positional, **named)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that shapes differ (they broadcast), that a variance is of one entry
            return self._call(row, positional, run)

    def _call(self, row: Function, values: Sequence[Any], call: Callable[[], Any]) -> torch.Tensor:
        """Run torch's operation, and note where it cuts the graph."""
        if row.ranked and _cut(values[0]):
            raise NoValue(f"{row.name} of a matrix that it takes for one of lower rank: small singular values are left out")
        try:
            found = call()
        except (TypeError, *REFUSALS) as problem:
            # Torch checks settings late (hardtanh with min_val > max_val), and arguments too (a variance below 0). What
            # else it refuses, such as a derivative in forward mode, or in a dtype without a kernel, is part of the answer.
            if isinstance(problem, RuntimeError):
                raise
            raise InputError(f"{row.name}: {first_line(problem)}") from None
        result: torch.Tensor = found[PLACES[row.name]] if isinstance(found, tuple) else found
        if (
            row.name not in CONSTANT
            and isinstance(result, torch.Tensor)
            and (result.is_floating_point() or result.is_complex())
            and not _tracked(result)
            and any(isinstance(v, torch.Tensor) and _tracked(v) for v in values)
        ):
            self.cut[row.name] = None
        return result

    def tensor(self, value: Any) -> torch.Tensor:
        """A Python number as a tensor of this dtype (a truth value as a bool tensor); tensors pass."""
        if isinstance(value, torch.Tensor):
            return value
        if isinstance(value, bool):
            return torch.tensor(value, device=self.device)
        if isinstance(value, complex):
            return torch.tensor(value, dtype=self.dtype.to_complex(), device=self.device)
        made = torch.tensor(value, dtype=self.dtype, device=self.device)
        if math.isfinite(value) and not math.isfinite(nearest := made.item()):
            self.constants[nearest] = Constant(value)
        return made


def _cut(matrix: torch.Tensor) -> bool:
    """Whether some matrix has a singular value that torch takes for 0: below max(rows, columns) epsilons of the largest one,
    the default of torch.linalg's `rtol`."""
    with _disable_current_modes():
        given = matrix.detach()
        return bool(given.isfinite().all() and (torch.linalg.matrix_rank(given) < min(given.shape[-2:])).any())


def _tracked(tensor: torch.Tensor) -> bool:
    """True where torch would differentiate through the tensor: backwards, or forwards as a dual number."""
    if tensor.requires_grad:
        return True
    return forward_ad._current_level >= 0 and forward_ad.unpack_dual(tensor).tangent is not None


def _settings(kinds: list[str], values: list[Any]) -> tuple[int, ...]:
    return tuple(v for k, v in zip(kinds, values, strict=True) if k == "integer")


def _tensors(row: Function, values: list[Any]) -> list[Any]:
    """What the operation is called with: an integer setting that is part of its name is no argument."""
    if "{n}" in row.torch:
        return [v for p, v in zip(row.parameters, values, strict=True) if p.kind != "integer"]
    return values


@cache
def operation(name: str, *settings: int) -> Callable[..., Any]:
    """The torch callable of a row.

    Raises InputError where torch has none for this setting (a Bessel function of order 2).
    """
    row = TABLE[name]
    dotted = row.torch or row.name
    if "{n}" in dotted:
        dotted = dotted.format(n=settings[0])
    if dotted in globals():
        found: Callable[..., Any] = globals()[dotted]
        return found
    target: Any = torch
    for part in dotted.split("."):
        target = getattr(target, part, None)
    if target is None:
        raise InputError(f"torch has no {name} with n = {settings[0]}" if settings else f"torch has no {name}")
    return target  # type: ignore[no-any-return]


def compiled(
    tree: Node, inputs: Sequence[str], algebra: TensorAlgebra, key: Callable[[], object] | None = lambda: None
) -> Program:
    """What torch runs of a formula."""
    return Program([fold(tree, algebra.constants)], inputs, algebra, key, shared=False)


def fold(tree: Node, rounded: dict[float, Node] | None = None) -> Node:
    """`tree` with every number without a variable in it replaced by a double: what Python makes of it, operation by operation
    (of `0.1*3*x`, 0.1*3), as long as that is as good as a rounded constant; else the one nearest to its value. `rounded` gets
    what each stands for."""
    varying: set[int] = set()
    complexes: set[int] = set()
    done: dict[int, Node] = {}
    for item in occurrences(tree):
        done[id(item)] = item
        if isinstance(item, Variable):
            varying.add(id(item))
        elif isinstance(item, Constant):
            complexes |= {id(item)} if isinstance(item.value, complex) else set()
        elif isinstance(item, Call):
            arguments = tuple(done[id(a)] for a in item.arguments)
            if any(id(a) in varying for a in item.arguments) or TABLE[item.function].arrays:
                varying.add(id(item))
                done[id(item)] = Call(item.function, arguments, item.position)
            elif any(id(a) in complexes for a in item.arguments):
                complexes.add(id(item))
                done[id(item)] = Constant(_complex(item, rounded), item.position)
            else:
                number = _constant(item, Call(item.function, arguments))
                done[id(item)] = Constant(number, item.position)
                if rounded is not None and not isinstance(number, bool) and math.isfinite(number):
                    rounded[number] = item
    return done[id(tree)]


def _complex(tree: Node, rounded: dict[float, Node] | None) -> complex:
    """The doubles for the parts of a constant; a real number where it is one, such as the size of a complex one."""
    found = parts(tree, ())
    numbers = [float(evaluated(part)) for part in found.pair]
    if rounded is not None:
        pairs = zip(numbers, found.pair, strict=True)
        rounded |= {number: part for number, part in pairs if math.isfinite(number) and not isinstance(part, Constant)}
    return numbers[0] if found.imag is None else complex(*numbers)


def _constant(whole: Call, step: Call) -> float | bool:
    """The double for a constant: `step` is its last operation, on doubles."""
    nearest, found = evaluated(whole), evaluated(step)
    if isinstance(nearest, bool) or not math.isfinite(nearest) or not math.isfinite(found):
        return nearest
    return found if abs(found - nearest) <= CONSTANT_ULPS * math.ulp(nearest) else nearest

"""The table of ATen operations: what each computes, in the language of formulas, with ATen's own argument names.

An operation whose name and arguments are those of a row of the function table needs no row here. Views need none either:
the shadow's memory sees through them. What remains are backward formulas, constructors and copies.

The text says what the kernel computes in exact arithmetic, including its conventions (`threshold_backward` is 0 at the
threshold). Source: aten/src/ATen/native/native_functions.yaml for the arguments, tools/autograd/derivatives.yaml and the
kernels under aten/src/ATen/native/cpu for the formulas (pytorch/pytorch, v2.13).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
from flint import ctx

from gradcheck_cli.algebra.program import Program
from gradcheck_cli.language.functions import ROWS, TABLE
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, variables


@dataclass(frozen=True)
class Operation:
    """One row. `texts`: a formula for each output. `when`: string or other settings that select this row. `view`: the result is
    a view or holds no values, nothing to do. `converts`: a copy that may change the dtype."""

    name: str
    texts: tuple[str, ...] = ()
    when: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    view: bool = False
    converts: bool = False
    row: str = ""
    integers: frozenset[str] = frozenset()

    @property
    def trees(self) -> tuple[Node, ...]:
        return _trees(self.texts)

    def arguments(self, bound: Mapping[str, Any]) -> list[str]:
        """Which of ATen's arguments the formula uses, in order."""
        if self.row:
            return [n for n, v in bound.items() if v is not None][: len(TABLE[self.row].parameters)]
        names = dict.fromkeys(n for tree in self.trees for n in variables(tree))
        return list(names)

    def apply(self, layer: Any, arguments: Sequence[Any], shape: tuple[int, ...]) -> list[Any]:
        """The outputs' cells, each broadcast against the others; `arguments` in the order of `arguments()`."""
        function, count = _compiled(self, layer, tuple(a for a in arguments if isinstance(a, int) and not isinstance(a, bool)) if self.integers else ())
        given = [a for a in arguments if not (self.integers and isinstance(a, int) and not isinstance(a, bool))]
        if not given:
            return list(function())
        result = np.frompyfunc(function, len(given), 1)(*given)
        if count == 1:
            return [np.frompyfunc(lambda t: t[0], 1, 1)(result) if isinstance(result, np.ndarray) else result[0]]
        if not isinstance(result, np.ndarray):
            return list(result)
        return [np.frompyfunc(lambda t, i=i: t[i], 1, 1)(result) for i in range(count)]


MASKS = frozenset({"mask", "condition", "self", "other"})
"""Arguments of ATen that may be bool tensors."""


@cache
def _trees(texts: tuple[str, ...]) -> tuple[Node, ...]:
    return tuple(parse(t, truths=MASKS) for t in texts)


_programs: dict[Any, tuple[Callable[..., tuple[Any, ...]], int]] = {}


def _compiled(operation: Operation, layer: Any, settings: tuple[int, ...]) -> tuple[Callable[..., tuple[Any, ...]], int]:
    key = (operation.name, operation.row, operation.texts, id(layer), settings, ctx.prec)
    if key not in _programs:
        if operation.row:
            row = TABLE[operation.row]
            values = iter(settings)
            names = [p.name for p in row.parameters if p.kind != "integer"]
            terms = tuple(Constant(next(values)) if p.kind == "integer" else Variable(p.name) for p in row.parameters)
            program = Program([Call(row.name, terms)], names, layer)
        else:
            trees = operation.trees
            names = list(dict.fromkeys(n for tree in trees for n in variables(tree)))
            program = Program(trees, names, layer)
        _programs[key] = (program.bind(), max(len(operation.texts), 1))
    return _programs[key]


def _op(name: str, *texts: str, **columns: Any) -> Operation:
    return Operation(name, texts, **columns)


_VIEWS = (
    "alias detach view _unsafe_view reshape expand expand_as permute transpose t squeeze unsqueeze select slice diagonal unfold "
    "as_strided narrow view_as split chunk unbind lift_fresh lift is_same_size _has_same_storage_numel empty empty_like new_empty "
    "empty_strided _efficientzerotensor resolve_conj resolve_neg broadcast_to _local_scalar_dense equal is_nonzero"
).split()

OPERATIONS: tuple[Operation, ...] = (
    *(_op(name, view=True) for name in _VIEWS),
    # -- constructors and copies ------------------------------------------------------------------------------------
    *(_op(name, "0") for name in ("zeros", "zeros_like", "new_zeros", "zero", "zeros_like_")),
    *(_op(name, "1") for name in ("ones", "ones_like", "new_ones")),
    *(_op(name, "fill_value") for name in ("full", "full_like", "new_full")),
    _op("fill", "value"),
    _op("scalar_tensor", "s"),
    *(_op(name, "self", converts=True) for name in ("clone", "_to_copy", "to", "contiguous")),
    _op("copy", "src", converts=True),
    # -- arithmetic -------------------------------------------------------------------------------------------------
    _op("add", "self + alpha*other"),
    _op("sub", "self - alpha*other"),
    _op("rsub", "other - alpha*self"),
    _op("addcmul", "self + value*tensor1*tensor2"),
    _op("addcdiv", "self + value*tensor1/tensor2"),
    _op("pow", "self**exponent"),
    _op("masked_fill", "where(mask, value, self)"),
    _op("bitwise_and", "self and other"),
    _op("bitwise_or", "self or other"),
    _op("bitwise_not", "not self"),
    _op("sgn", "sign(self)"),
    # -- backward formulas ------------------------------------------------------------------------------------------
    _op("sigmoid_backward", "grad_output*(1 - output)*output"),
    _op("tanh_backward", "grad_output*(1 - output**2)"),
    _op("threshold_backward", "where(self <= threshold, 0, grad_output)"),
)

TABLE_OF_OPERATIONS: MappingProxyType[str, tuple[Operation, ...]] = MappingProxyType(
    {name: tuple(o for o in OPERATIONS if o.name == name) for name in dict.fromkeys(o.name for o in OPERATIONS)}
)


def _from_functions() -> dict[str, Operation]:
    """ATen operations that are rows of the function table: the last part of torch's name, `special_` before it."""
    found: dict[str, Operation] = {}
    for row in ROWS:
        if row.composed or not row.parameters:
            continue
        dotted = row.torch or row.name
        integers = frozenset(p.name for p in row.parameters if p.kind == "integer")
        base = dotted.rpartition(".")[2]
        if "{n}" in base:
            continue
        names = (f"special_{base}", base) if dotted.startswith("special.") else (base, f"special_{base}")
        for name in names:
            found.setdefault(name, Operation(name, row=row.name, integers=integers))
    return found


FROM_FUNCTIONS = MappingProxyType(_from_functions())


@cache
def _candidates(name: str) -> tuple[Operation, ...]:
    for spelling in (name, name.removesuffix("_"), name.removeprefix("special_"), f"special_{name}"):
        if spelling in TABLE_OF_OPERATIONS:
            return TABLE_OF_OPERATIONS[spelling]
        if spelling in FROM_FUNCTIONS:
            return (FROM_FUNCTIONS[spelling],)
    return ()


def find(func: Any) -> Operation | None:
    """The row of an ATen (or prims) operation, or None: the operation is opaque, or a view that needs no row."""
    candidates = _candidates(str(func._schema.name).partition("::")[2])
    return candidates[0] if candidates else None

"""How each of torch's operations is followed, from the tables: nothing runs."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, NamedTuple

import torch
from torch._decomp import decomposition_table

from gradcheck_cli.shadow import sparse
from gradcheck_cli.shadow.overloads import Overload, overload
from gradcheck_cli.shadow.rules import RULES


class Way(StrEnum):
    """How an operation is followed."""

    VIEW = "view"
    DATA = "data"
    MOVE = "move"
    FOLD = "fold"
    ROW = "row"
    RULE = "rule"
    DECOMPOSITION = "decomposition"
    OPAQUE = "opaque"


MEANINGS = {
    Way.VIEW: "the shadow's memory sees through it",
    Way.DATA: "its floats stand for themselves",
    Way.MOVE: "entries move",
    Way.FOLD: "entries of different places meet",
    Way.ROW: "a formula for each entry",
    Way.RULE: "written in torch's simpler operations",
    Way.DECOMPOSITION: "torch's own decomposition into simpler operations, where its result is near torch's",
    Way.OPAQUE: "not followed: what depends on it is left to finite differences, and undecided",
}


class Covered(NamedTuple):
    """An operation of torch, and the best way of its overloads."""

    name: str
    way: Way


ELSEWHERE = ("mkldnn", "cudnn", "miopen", "mps", "quantize", "sparse", "nested", "jagged", "fused", "test_")
"""Parts of names of operations of other devices and layouts, and of torch's own tests: what can't be followed of them is said
where it is met."""


def covered() -> list[Covered]:
    """Every operation of strided tensors that the installed torch has a derivative of, in alphabetical order."""
    derivatives = _derivatives()
    found: dict[str, Way] = {}
    for known in _overloads():
        way, name = way_of(known), known.base
        plain = name.replace("_", "").lower()
        if derivatives.isdisjoint((plain, plain.removesuffix("forward"))):
            continue
        if name not in found or _ORDER.index(way) < _ORDER.index(found[name]):
            found[name] = way
    return [Covered(name, found[name]) for name in sorted(found)]


_ORDER = list(Way)


def _derivatives() -> frozenset[str]:
    """The operations that torch's own nodes of a graph are called after: without underscores, in small letters."""
    nodes = (name for name in dir(torch._C._functions) if name.rstrip("0123456789").endswith("Backward"))
    return frozenset(name.rstrip("0123456789").removesuffix("Backward").lower() for name in nodes)


def _overloads() -> Iterator[Overload]:
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    for full in torch._C._dispatch_get_all_op_names():
        library, _, name = full.partition("::")
        base, _, which = name.partition(".")
        if library != "aten" or which.endswith("out") or base.startswith("__") or any(part in base for part in ELSEWHERE):
            continue
        if not has(full, "Autograd") or has(full, "CompositeImplicitAutograd"):
            continue
        operation: Any = getattr(getattr(torch.ops.aten, base, None), which or "default", None)
        if operation is not None:
            yield overload(operation)


def way_of(known: Overload) -> Way:
    """How a call of an overload is followed, whatever its arguments are."""
    if known.candidates:
        row = known.candidates[0]
        ways = ((row.view, Way.VIEW), (row.data, Way.DATA), (row.moves, Way.MOVE), (row.fold, Way.FOLD))
        return next((way for holds, way in ways if holds), Way.ROW)
    if known.name in RULES or known.base in RULES or known.base in sparse.NAMED:
        return Way.RULE
    function = known.functional
    if known.base.startswith("_foreach_"):
        return Way.DECOMPOSITION
    if function is not None and (function in decomposition_table or function._can_decompose()):
        return Way.DECOMPOSITION
    return Way.OPAQUE

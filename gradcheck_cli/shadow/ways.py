"""Ways to follow an operation that has no row: the same in terms of simpler operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch._decomp import decomposition_table

from gradcheck_cli.shadow.arguments import tensors_of
from gradcheck_cli.shadow.draws import restored
from gradcheck_cli.shadow.overloads import Overload
from gradcheck_cli.shadow.rules import RULES

_EACH = "_foreach_"


def way_of(known: Overload, bound: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Any], Any] | None:
    """What computes an operation by simpler ones, from its arguments and its result: its rule, or torch's own decomposition;
    None where there is neither."""
    own = RULES.get(known.name) or RULES.get(known.base)
    if own is not None:
        return lambda bound, result: own.function(**own.chosen({**bound, "result": result, "name": known.base}))
    function = known.functional
    if function is None:
        return None
    if known.base.startswith(_EACH):
        return _each(getattr(torch.ops.aten, known.base.removeprefix(_EACH)))
    table = decomposition_table.get(function)
    if table is None and not function._can_decompose():
        return None

    def decomposed(bound: Mapping[str, Any], result: Any) -> Any:
        arguments = [bound[a.name] for a in function._schema.arguments if not a.kwarg_only]
        named = {a.name: bound[a.name] for a in function._schema.arguments if a.kwarg_only}
        try:
            with restored(tensors_of(arguments)):  # one that draws numbers draws others than the operation did
                return table(*arguments, **named) if table is not None else function.decompose(*arguments, **named)
        except RuntimeError as refusal:  # torch's way to refuse, in code that isn't ours
            raise NotImplementedError(str(refusal)) from refusal

    return decomposed


def _each(operation: Any) -> Callable[[Mapping[str, Any], Any], Any]:
    """An operation on lists of tensors, one by one."""

    def rule(bound: Mapping[str, Any], result: Any) -> list[Any]:
        lists = {n: v for n, v in bound.items() if isinstance(v, (list, tuple))}
        others = {n: v for n, v in bound.items() if n not in lists}
        rows = zip(*lists.values(), strict=True)
        return [operation(*row, *others.values()) for row in rows]

    return rule

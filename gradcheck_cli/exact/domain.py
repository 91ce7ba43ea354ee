"""Outside of the domain, for certain: some operation has no value at the point, whatever the precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from gradcheck_cli.algebra.balls import PLAIN, evaluate
from gradcheck_cli.algebra.program import expand
from gradcheck_cli.exact.truth import Ball
from gradcheck_cli.language.functions import TABLE
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, walk

if TYPE_CHECKING:
    from gradcheck_cli.exact.values import Values


def undefined(values: Values, exact: Mapping[str, Ball]) -> bool:
    """True where some operation certainly has no value (1/0, log(-1)); False where the balls only can't decide, as in
    acos of a ball around 1."""
    everything = values.every(exact, {})
    stage = next(s for s in values.chain.stages if not everything[s.name].is_finite())
    results: dict[Node, Any] = {}
    tree = expand(stage.tree, PLAIN)
    for item in walk(tree):
        match item:
            case Constant(value=value):
                results[item] = PLAIN.constant(value)
            case Variable(name=name):
                results[item] = everything[name]
            case Call():
                results[item] = _apply(item, [results[a] for a in item.arguments])
    while isinstance(tree, Call):  # down to the operation whose arguments all have values
        arguments = tree.arguments
        if tree.function == "where":
            condition = results[arguments[0]]
            arguments = arguments[:1] if condition is None else (arguments[1 if condition else 2],)
        lost = next((a for a in arguments if not _known(results[a])), None)
        if lost is None and results[tree] is not None and not results[tree].is_nan():
            return False  # a value beyond every size that is followed is a value
        if lost is None:
            corners = [_corners(results[a]) for a in tree.arguments]
            return not any(_known(_apply(tree, corner)) for corner in product(*corners))
        tree = lost
    return False


def _apply(call: Call, arguments: Sequence[Any]) -> Any:
    kinds = (p.kind for p in TABLE[call.function].parameters)
    terms = [int(a.unique_fmpz()) if kind == "integer" else a for kind, a in zip(kinds, arguments, strict=True)]
    return evaluate(call.function)(*terms)


def _known(value: Any) -> bool:
    return isinstance(value, bool) or (value is not None and bool(value.is_finite()))


def _corners(value: Any) -> list[Any]:
    return [value] if isinstance(value, bool) or value.is_exact() else [value.lower(), value.mid(), value.upper()]

"""A chain's values and first derivatives in balls: stage by stage forwards, accumulated in reverse.

A stage's value at an inexact argument is enclosed by the mean value theorem, f(mid) + f'(ball)*(ball - mid), so that a long
chain loses no more precision than its derivative does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from flint import arb

from gradcheck_cli.algebra.number import Ball
from gradcheck_cli.language.chain import Stage

Step = Callable[..., Sequence[Ball]]
"""A stage at its arguments: (value, slope by the first argument, slope by the second, ...)."""


def accumulate(
    steps: Sequence[tuple[Stage, Step]], point: Mapping[str, Ball]
) -> tuple[dict[str, Ball], dict[str, Ball]] | None:
    """The ball of every name, and the derivative of the last stage by every name that it depends on.

    None where a stage has no finite value.
    """
    values = dict(point)
    slopes: list[Sequence[Ball]] = []
    for stage, step in steps:
        arguments = [values[name] for name in stage.inputs]
        value, *own = step(*arguments)
        if not value.is_finite():
            return None
        if not all(a.is_exact() for a in arguments):
            middles = [a.mid() for a in arguments]
            centred = step(*middles)[0]
            for slope, argument, middle in zip(own, arguments, middles, strict=True):
                centred += slope * (argument - middle)
            if centred.is_finite() and centred.rad() < value.rad():
                value = centred
        values[stage.name] = value
        slopes.append(own)
    totals: dict[str, Ball] = {steps[-1][0].name: arb(1)}
    for (stage, _), row in zip(reversed(steps), reversed(slopes), strict=True):
        cotangent = totals.get(stage.name)
        if cotangent is None:
            continue
        for name, slope in zip(stage.inputs, row, strict=True):
            term = cotangent * slope
            totals[name] = totals[name] + term if name in totals else term
    return values, totals

"""Functions of several words, number by number in balls: what is elementary there are few of, where products are many."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from flint import arb, ctx

from gradcheck_cli.algebra.columns.column import ball_with, bits_of, float_words, radius_around
from gradcheck_cli.algebra.columns.multiple import Multiple
from gradcheck_cli.algebra.columns.words import OPEN
from gradcheck_cli.algebra.number import Ball


def enclosed(function: Callable[..., Ball], *arguments: Multiple) -> Multiple:
    """A function of balls. Where radii have a leading axis there are several balls with one centre: the result's is that of the
    first one that has a value."""
    count = len(arguments[0]) - 1
    radii = [np.asarray(x[-1]) for x in arguments]
    several = max((r.shape[0] for r in radii if r.ndim > 1), default=0)
    shape = np.broadcast_shapes(*(np.shape(part) for x in arguments for part in x[:-1]), *(r.shape[-1:] for r in radii))
    length = int(np.prod(shape))
    words = [[np.broadcast_to(word, shape).reshape(-1).tolist() for word in x[:-1]] for x in arguments]
    reach = [np.broadcast_to(r, (several or 1, *shape)).reshape(several or 1, -1).tolist() for r in radii]
    found, wide = np.zeros((count, length)), np.full((several or 1, length), OPEN)
    with ctx.workprec(bits_of(count)):
        for place in range(length):
            centres = [ball_with([word[place] for word in x], 0.0) for x in words]
            last, middle, width = None, None, OPEN
            for number in range(several or 1):
                own = [r[number][place] for r in reach]
                if not all(r < OPEN for r in own):
                    continue
                if own != last:
                    last, width = own, OPEN
                    ball = function(*(c + arb(0, r) if r else c for c, r in zip(centres, own, strict=True)))
                    if ball.is_finite():
                        if middle is None:
                            found[:, place] = float_words(ball, count)
                            middle = ball_with(found[:, place].tolist(), 0.0)
                        width = radius_around(middle, ball)
                wide[number, place] = width
    return *(word.reshape(shape) for word in found), wide.reshape((several, *shape) if several else shape)

"""Arithmetic of several words: (w0, w1, ..., radius), the true number within the radius of the unevaluated sum of all words.

For numbers that go through so many operations that the radii of double words swallow them: each layer of a deep network makes
a radius several times larger, beside the number, and a word more is room for 53 such bits.

Nothing is assumed of words, but that each is about 2**-53 of the one before: sums and products are split into terms exactly
(`two_sum`, `two_product`), terms of one size are added up exactly, from the largest on, each error a term of the next size
(Hida, Li and Bailey, ARITH 15 (2001); Priest, ARITH 10 (1991)), and what is left is a part of the radius, as large as it is.
So bounds are measured, but for a rounding each of what is added in plain floats. Words that are 0 throughout cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from gradcheck_cli.algebra.columns.primitives import (
    Array,
    Mask,
    absolute,
    anywhere,
    divide,
    maximum,
    root,
    split,
    where,
)
from gradcheck_cli.algebra.columns.truths import Truth, equal, negation
from gradcheck_cli.algebra.columns.words import DOWN, OPEN, SMALLEST, UNIT, UP, two_sum

Multiple = tuple[Array, ...]
Words = list[Array]

PLAIN = 1.0 * UNIT
"""A plain sum of n terms errs by n - 1 roundings of the sum of their sizes (Higham, SIAM J. Sci. Comput. 14 (1993)); a product
in it by one more."""

LOST = 2.0**-1072
"""What underflow can do to a product of two floats that is split into two: `primitives.two_product` says 2**-1073, and in its
bound it is lost once more."""

NOTHING = 2.0**-12
"""Of the radius: words that are smaller than that, wherever they are, are not worth their time."""


def parts(x: Multiple) -> list[tuple[int, Array]]:
    """The words that aren't 0 throughout, with their places."""
    return [(place, word) for place, word in enumerate(x[:-1]) if anywhere(word != 0.0)]


def size(x: Multiple) -> Array:
    """A bound of the size of the centre, but for UP."""
    total = absolute(x[0])
    for _, word in parts(x):
        total = total if word is x[0] else total + absolute(word)
    return total


def gathered(levels: Sequence[Words], count: int, radius: Array) -> Multiple:
    """The sum of terms as so many words: those of the first `count` levels are added exactly, the others in plain floats."""
    words: Words = []
    carried: Words = []
    for level in levels[:count]:
        terms, carried = [*level, *carried], []
        total: Array = 0.0
        for number, term in enumerate(terms):
            if number:
                total, error = two_sum(total, term)
                carried.append(error)
            else:
                total = term
        words.append(total)
    rest = carried + [term for level in levels[count:] for term in level]
    if rest:
        total, sizes = rest[0], absolute(rest[0])
        for term in rest[1:]:
            total, sizes = total + term, sizes + absolute(term)
        words.append(total)
        radius = radius + (len(rest) * PLAIN) * sizes
    return packed(packed_once(words), count, radius)


def packed_once(words: Words) -> Words:
    """The same sum, exactly: each word next to the sum of it and all that follow."""
    total, found = words[-1], []
    for word in reversed(words[:-1]):
        total, error = two_sum(word, total)
        found.append(error)
    return [total, *reversed(found)]


def packed(words: Words, count: int, radius: Array) -> Multiple:
    """So many words, and what is left in the radius; without those that are nothing beside it."""
    first, *others = packed_once(words)
    found = [first, *others[: count - 1]]
    for word in others[count - 1 :]:
        radius = radius + absolute(word)
    least = radius if len(getattr(radius, "shape", ())) < 2 else radius[0]
    for place in range(len(found) - 1, 0, -1):
        if anywhere(absolute(found[place]) > NOTHING * least):
            break
        radius, found[place] = radius + absolute(found[place]), 0.0
    found += [0.0] * (count - len(found))
    return *found, radius * UP + (first - first)  # nan where the centre isn't finite


def negative(x: Multiple) -> Multiple:
    """-x."""
    return *(-word for word in x[:-1]), x[-1]


def add(x: Multiple, y: Multiple) -> Multiple:
    """x + y."""
    count = len(x) - 1
    levels: list[Words] = [[] for _ in range(count)]
    for some in (parts(x), parts(y)):
        for place, word in some:
            levels[place].append(word)
    return gathered(levels, count, x[-1] + y[-1]) if any(levels) else _none(x, y, x[-1] + y[-1])


def subtract(x: Multiple, y: Multiple) -> Multiple:
    """x - y."""
    return add(x, negative(y))


def multiply(x: Multiple, y: Multiple) -> Multiple:
    """x*y."""
    count = len(x) - 1
    xs, ys = parts(x), parts(y)
    if not (xs and ys):
        far, wide = size(x) + x[-1], size(y) + y[-1]
        lost = where((far > 0.0) & (wide > 0.0), LOST, 0.0)
        return _none(x, y, size(x) * y[-1] + wide * x[-1] + lost)
    halves = [(*split(b), b) for _, b in ys]
    levels: list[Words] = [[] for _ in range(count + 1)]
    dropped: Array = 0.0
    for i, a in xs:
        ah, al = split(a)
        for (j, _), (bh, bl, b) in zip(ys, halves, strict=True):
            product = a * b
            if i + j < count:
                levels[i + j].append(product)
                levels[i + j + 1].append(al * bl - (((product - ah * bh) - al * bh) - ah * bl))
            elif i + j == count:
                levels[count].append(product)
                dropped = dropped + PLAIN * absolute(product)
            else:
                dropped = dropped + absolute(product)
    radius = size(x) * y[-1] + (size(y) + y[-1]) * x[-1] + dropped + len(xs) * len(ys) * LOST
    return gathered(levels, count, radius * UP)


def square(x: Multiple) -> Multiple:
    """x*x."""
    return multiply(x, x)


def over(x: Multiple, y: Multiple) -> Multiple:
    """x/y; open where y may be 0. Word by word: the remainder x - q*y, a ball, says how far q may be off."""
    count, quotients, rest = len(x) - 1, [], x
    nothing = [0.0] * (count - 1)
    for _ in range(count):
        q = divide(rest[0], y[0])
        quotients.append(q)
        rest = subtract(rest, multiply((q, *nothing, 0.0), y))
    room = maximum(_least(y) - y[-1], 0.0)
    left = size(rest) + rest[-1]
    return packed(packed_once(quotients), count, divide(left * UP, room) + where(left > 0.0, SMALLEST, 0.0))


def reciprocal(y: Multiple) -> Multiple:
    """1/y; open where y may be 0."""
    return over((1.0, *[0.0] * (len(y) - 2), 0.0), y)


def square_root(x: Multiple) -> Multiple:
    """The root of a positive x; open where x may be 0. The roots of x and s*s differ by |x - s*s| over their sum."""
    count = len(x) - 1
    first, nothing = root(x[0]), [0.0] * (count - 1)
    found: Multiple = (first, *nothing, 0.0)
    rest = subtract(x, square(found))
    for _ in range(1, count):
        step = (divide(rest[0], 2.0 * first), *nothing, 0.0)
        found = add(found, step)
        found = *found[:-1], 0.0  # any number will do: the remainder tells
        rest = subtract(x, square(found))
    room = maximum(_least(x) - x[-1], 0.0)
    both = maximum(_least(found), 0.0) + root(room) * DOWN
    radius = where(room > 0.0, divide((size(rest) + rest[-1]) * UP, both) + SMALLEST, OPEN)
    return *found[:-1], radius * UP + (first - first)


def _least(x: Multiple) -> Array:
    """What the size of the centre is at least."""
    return absolute(x[0]) * DOWN - (size(x) - absolute(x[0])) * UP


def _none(x: Multiple, y: Multiple, radius: Array) -> Multiple:
    """0, where all words are."""
    return x[0] * 0.0 + y[0] * 0.0, *[0.0] * (len(x) - 2), radius * UP


# -- steps ---------------------------------------------------------------------------------------------------------------


def order(x: Multiple, y: Multiple) -> Truth:
    """Where x is certainly above y, and where it is certainly below."""
    apart = subtract(x, y)
    reach = ((size(apart) - absolute(apart[0])) + apart[-1]) * UP
    return apart[0] * DOWN > reach, -apart[0] * DOWN > reach


def less(x: Multiple, y: Multiple) -> Truth:
    """x < y."""
    return order(y, x)


def level(x: Multiple, y: Multiple) -> Truth:
    """x == y."""
    return equal(order(x, y))


def apart(x: Multiple, y: Multiple) -> Truth:
    """x != y."""
    return negation(equal(order(x, y)))


def choose(condition: Truth, x: Multiple, y: Multiple) -> Multiple:
    """x where the condition certainly holds, y where it certainly doesn't; else open."""
    holds, fails = condition
    return *(where(holds, a, b) for a, b in zip(x[:-1], y[:-1], strict=True)), where(holds, x[-1], where(fails, y[-1], OPEN))


def signed(x: Multiple) -> tuple[Array, Mask]:
    """1 or -1, the sign of the centre, and where it is certainly that of x."""
    return where(x[0] < 0.0, -1.0, 1.0), _least(x) > x[-1]


def magnitude(x: Multiple) -> Multiple:
    """|x| for x certainly not 0; else open."""
    sign, certain = signed(x)
    return *(word * sign for word in x[:-1]), where(certain, x[-1], OPEN)


def sign(x: Multiple) -> Multiple:
    """1 or -1, for x certainly not 0; else open."""
    value, certain = signed(x)
    return value, *[0.0] * (len(x) - 2), where(certain, 0.0, OPEN)

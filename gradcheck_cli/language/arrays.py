"""Arrays of trees: an expression on arrays becomes one scalar tree for each entry of its value.

`entries` evaluates a tree once over arrays whose entries are trees: rows that work entry by entry are broadcast, rows on
arrays run here (the `array` column of the table) or by their definition. What comes out holds no array any more, so that
everything that knows scalar formulas applies: `sum(x*y)` becomes `x[0]*y[0] + x[1]*y[1]`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from itertools import accumulate, combinations, product
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.errors import InputError
from gradcheck_cli.language import syntax
from gradcheck_cli.language.constants import exact_constant
from gradcheck_cli.language.functions import ARRAY_KINDS, CONSTANT, SETTINGS, TABLE, Function, Parameter
from gradcheck_cli.language.parser import definition, is_constant, parse
from gradcheck_cli.language.printer import INFIX, show
from gradcheck_cli.language.settings import as_index
from gradcheck_cli.language.spaces import MAX_ENTRIES, Shape, entry_names
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, indicator, rebuilt, substitute, walk

Array = npt.NDArray[np.object_]
"""An array of nodes."""

MAX_ENTRY = 50_000
MAX_CALLS = 400_000
"""Bounds: nodes of one entry's tree, calls in all."""

FACTORS = ("eigenvectors", "R", "U", "Vh", "U of full", "Vh of full")
"""Of which torch's choice is held: by their number in this list `gauge` has them."""

MOST_ROWS, MOST_EXPONENTIAL, MOST_SORTED = 6, 4, 8
"""Bounds: rows of a matrix whose minors are written out, or whose exponential is taken; entries that are sorted."""

UNFIT = "shapes that don't fit"
_INSTEAD = "check a Python function with `gradcheck function` instead"
_DIMENSIONS = {"vector": 1, "matrix": 2}
_LABEL = 40


SOME = "as many entries as a condition chooses"


@dataclass(frozen=True)
class _Chosen:
    """Entries of which those count whose condition holds: `x[x > 0]`, in order. How many that is depends on the numbers."""

    entries: Array
    conditions: Array
    shape = (None,)
    ndim = 1

    def filled(self, node: Node) -> Array:
        """All entries, those that don't count replaced."""
        pairs = zip(self.conditions, self.entries, strict=True)
        return _array([Call(syntax.WHERE, (condition, entry, node)) for condition, entry in pairs], self.entries.shape)


_INFINITE = Call(syntax.INF, ())
NEUTRAL: Mapping[str, Node] = MappingProxyType({
    "total": Constant(0), "product": Constant(1), "greatest": Call(syntax.NEG, (_INFINITE,)), "least": _INFINITE,
})  # fmt: skip
"""Cells of `array` that take any number of entries, and the entry that makes no difference."""


_REDUCED = {"mean": parse("mean(x)"), "sum": parse("sum(x)")}


class _Misfit(Exception):
    """Shapes or settings that don't fit; `entries` adds the text and the place in it."""

    def __init__(self, reason: str, shapes: str = "") -> None:
        super().__init__(f"{reason}: {shapes}" if shapes else reason)
        self.reason = reason


def variables_of(name: str, shape: Shape) -> Array:
    """The array of an input, or of an earlier stage."""
    return _array([Variable(entry) for entry in entry_names(name, shape)], shape)


def entries(tree: Node, values: Mapping[str, Array], text: str | None = None) -> Array:
    """The value of `tree` as an array of scalar trees in the variables that `values` hold.

    Raises InputError, which quotes `text` and points at the culprit, where shapes don't fit, an index is out of range, or
    the result is too large.
    """
    return _Evaluation().run(tree, values, text)


def spread(array: Array, shape: Shape) -> list[Node]:
    """The entries of the array, broadcast to a shape; raises ValueError where it can't be."""
    return list(np.broadcast_to(array, shape).reshape(-1))


def whole_numbers(array: Array) -> list[int]:
    """The entries of an array of labels; raises ValueError where one is no whole number from 0 on."""
    found = [exact_constant(node) for node in array.reshape(-1)]
    whole = [int(v) for v in found if isinstance(v, Fraction) and v.denominator == 1 and v >= 0]
    if len(whole) < len(found):
        raise ValueError
    return whole


class _Evaluation:
    """One walk over a user's tree, with the definitions that it needs."""

    def __init__(self) -> None:
        self.calls = 0

    def run(self, tree: Node, values: Mapping[str, Any], text: str | None = None, inside: bool = False) -> Array:
        done: dict[Node, Any] = {}
        for item in walk(tree):
            match item:
                case Constant():
                    done[item] = _array([item], ())
                case Variable(name=name):
                    done[item] = values[name]
                case Call():
                    try:
                        done[item] = self.call(item, done, values)
                    except _Misfit as misfit:
                        if inside:
                            raise
                        raise InputError(str(misfit), text, _culprit(item)) from None
        result: Array = done[tree]
        if isinstance(result, _Chosen) and not inside:
            message = f"{SOME} have no shape: take their sum, mean, prod, max, min, norm, var or std"
            raise InputError(message, text, _culprit(tree) if isinstance(tree, Call) else 0)
        return result

    def call(self, item: Call, done: Mapping[Node, Any], values: Mapping[str, Any]) -> Array:
        row = TABLE[item.function]
        bound = row.bind(item.arguments)
        arguments = [
            _setting(argument, values) if parameter.kind in SETTINGS - {"integer"} else done[argument]
            for parameter, argument in bound
        ]
        for (parameter, argument), value in zip(bound, arguments, strict=True):
            wanted = _DIMENSIONS.get(parameter.kind)
            if wanted is not None and value.ndim != wanted:
                raise _Misfit(f"{row.name} takes a {parameter.kind}", _of(argument, value))
        chosen = [value for value in arguments if isinstance(value, _Chosen)]
        if chosen and not (row.arrays and row.definition):
            found: Array = self.chosen(row, item, arguments, chosen)
            return found
        if not row.arrays:
            result = self.broadcast(row, item, arguments)
        elif row.array:
            shapes = [_of(a, v) for (p, a), v in zip(bound, arguments, strict=True) if p.kind in ARRAY_KINDS]
            result = self.primitive(row, arguments, ", ".join(shapes))
        else:
            result = self.defined(row, bound, arguments)
        if isinstance(result, _Chosen):
            return result
        if result.size > MAX_ENTRIES:
            raise _Misfit(f"an array of {result.size:,} entries; at most {MAX_ENTRIES:,} are followed: {_INSTEAD}")
        if not result.size:
            raise _Misfit(f"an array of shape {_shape(result)} has no entries")
        return result

    def node(self, function: str, *arguments: Node, position: int = 0) -> Node:
        self.calls += 1
        if self.calls > MAX_CALLS:
            raise _Misfit(f"more than {MAX_CALLS:,} operations, entry by entry: {_INSTEAD}")
        return Call(function, arguments, position)

    def broadcast(self, row: Function, item: Call, arguments: Sequence[Array]) -> Array:
        """A row that works entry by entry."""
        if not arguments:
            return _array([item], ())  # pi
        try:
            shape = np.broadcast_shapes(*(a.shape for a in arguments))
        except ValueError:
            named = [_of(n, a) for n, a in zip(item.arguments, arguments, strict=True) if a.ndim]
            raise _Misfit(UNFIT, ", ".join(named)) from None
        if math.prod(shape) > MAX_ENTRIES:
            return np.empty(shape, dtype=object)  # refused by its size
        columns = [np.broadcast_to(a, shape).reshape(-1) for a in arguments]
        return _array([self.node(row.name, *nodes, position=item.position) for nodes in zip(*columns, strict=True)], shape)

    def chosen(self, row: Function, item: Call, arguments: Sequence[Any], chosen: Sequence[_Chosen]) -> Any:
        """A row of entries that a condition chooses: entry by entry, or one that takes any number of them."""
        same = chosen[0].conditions
        if any(c.conditions.tolist() != same.tolist() for c in chosen):
            raise _Misfit("entries that different conditions choose don't meet")
        if row.array in NEUTRAL:
            return self.primitive(row, [a.filled(NEUTRAL[row.array]) if a in chosen else a for a in arguments], "")
        whole = [a.entries if isinstance(a, _Chosen) else a for a in arguments]
        if row.name in CONSTANT:
            return _Chosen(self.primitive(row, whole, ""), same)
        if row.arrays or any(a.size != 1 for a in arguments if not isinstance(a, _Chosen)):
            raise _Misfit(f"{row.name} of {SOME} isn't followed: {_INSTEAD}")
        return _Chosen(self.broadcast(row, item, whole), same)

    def primitive(self, row: Function, arguments: Sequence[Any], shapes: str) -> Array:
        """A row that runs here."""
        function: Callable[..., Array] = getattr(self, row.array)
        try:
            return function(*arguments)
        except (ValueError, IndexError) as problem:
            raise _Misfit(str(problem) or UNFIT, shapes) from None

    def defined(self, row: Function, bound: Sequence[tuple[Parameter, Node]], arguments: Sequence[Any]) -> Array:
        """A row on arrays that has a definition; a loss is reduced as its setting says."""
        values: dict[str, Any] = {}
        reduction = "none"
        for (parameter, _), value in zip(bound, arguments, strict=True):
            if parameter.kind == "trailing":
                first = values["x"]
                if first.shape[first.ndim - len(value) :] != value:
                    raise _Misfit(f"the last dimensions are not {value}", _of(bound[0][1], first))
                value = tuple(range(-len(value), 0))
            elif parameter.kind == "reduction":
                reduction = value
            values[parameter.name] = value
        try:
            result = self.run(_decided(definition(row.name), values), values, inside=True)
        except _Misfit as misfit:
            shapes = ", ".join(_of(a, v) for (p, a), v in zip(bound, arguments, strict=True) if p.kind in ARRAY_KINDS)
            raise _Misfit(misfit.reason, shapes) from None
        if isinstance(result, _Chosen) and reduction != "none":
            return self.run(_REDUCED[reduction], {"x": result}, inside=True)
        if reduction == "none" or not result.ndim:
            return result
        total = self.total(result, (), False)
        size = result.size if reduction == "mean" else result.shape[0] if reduction == "batchmean" else 1
        return total if size == 1 else _array([self.node(syntax.DIV, total.item(), Constant(size))], ())

    # -- primitives: the `array` column of the table ----------------------------------------------------------------

    def fold(self, function: str, nodes: Sequence[Node]) -> Node:
        """One node of many, as a balanced tree; whole numbers are added at once."""
        if function == syntax.ADD and all(isinstance(n, Constant) and isinstance(n.value, int) for n in nodes):
            return Constant(sum(n.value for n in nodes if isinstance(n, Constant)))
        level = list(nodes)
        while len(level) > 1:
            pairs = [self.node(function, x, y) for x, y in zip(level[::2], level[1::2], strict=False)]
            level = pairs + level[len(level) & ~1 :]
        return level[0]

    def reduced(self, function: str, x: Array, dim: Any, keepdim: bool) -> Array:
        over = _axes(x, dim)
        kept = [a for a in range(x.ndim) if a not in over]
        rows = x.transpose([*kept, *over]).reshape(math.prod(x.shape[a] for a in kept), -1)
        shape = tuple(1 if a in over else n for a, n in enumerate(x.shape) if keepdim or a not in over)
        return _array([self.fold(function, row.tolist()) for row in rows], shape)

    def total(self, x: Array, dim: Any, keepdim: bool) -> Array:
        return self.reduced(syntax.ADD, x, dim, keepdim)

    def product(self, x: Array, dim: Any, keepdim: bool) -> Array:
        return self.reduced(syntax.MUL, x, dim, keepdim)

    def greatest(self, x: Array, dim: Any, keepdim: bool) -> Array:
        return self.reduced(syntax.MAXIMUM, x, dim, keepdim)

    def least(self, x: Array, dim: Any, keepdim: bool) -> Array:
        return self.reduced(syntax.MINIMUM, x, dim, keepdim)

    def running(self, function: str, x: Array, dim: int) -> Array:
        over = _axes(x, dim)
        if not over:
            return x
        (axis,) = over
        moved = np.moveaxis(x, axis, -1)
        rows = [n for row in moved.reshape(-1, x.shape[axis]) for n in accumulate(row, lambda a, b: self.node(function, a, b))]
        return np.moveaxis(_array(rows, moved.shape), -1, axis)

    def cumsum(self, x: Array, dim: int) -> Array:
        return self.running(syntax.ADD, x, dim)

    def cumprod(self, x: Array, dim: int) -> Array:
        return self.running(syntax.MUL, x, dim)

    def cummax(self, x: Array, dim: int) -> Array:
        return self.running(syntax.MAXIMUM, x, dim)

    def cummin(self, x: Array, dim: int) -> Array:
        return self.running(syntax.MINIMUM, x, dim)

    def matmul(self, x: Array, y: Array) -> Array:
        if not x.ndim or not y.ndim:
            raise ValueError("a matrix product needs dimensions")
        left = x[None, :] if x.ndim == 1 else x
        right = y[:, None] if y.ndim == 1 else y
        if left.shape[-1] != right.shape[-2]:
            raise ValueError("")
        batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
        (n, inner), m = left.shape[-2:], right.shape[-1]
        rows = np.broadcast_to(left, (*batch, n, inner)).reshape(-1, n, inner)
        columns = np.broadcast_to(right, (*batch, inner, m)).swapaxes(-1, -2).reshape(-1, m, inner)
        if len(rows) * n * m > MAX_ENTRIES:
            return np.empty((*batch, n, m), dtype=object)  # refused by its size
        products = [
            self.fold(syntax.ADD, [self.node(syntax.MUL, a, b) for a, b in zip(row, column, strict=True)])
            for block, others in zip(rows, columns, strict=True) for row in block for column in others
        ]  # fmt: skip
        shape = (*batch, *((n,) if x.ndim > 1 else ()), *((m,) if y.ndim > 1 else ()))
        return _array(products, shape)

    def stack(self, *arguments: Any) -> Array:
        *arrays, dim = arguments
        if len({a.shape for a in arrays}) > 1:
            raise ValueError("the entries of a list have one shape")
        return np.stack(arrays, axis=dim)

    def cat(self, *arguments: Any) -> Array:
        *arrays, dim = arguments
        return np.concatenate(arrays, axis=dim)

    def index(self, x: Array, places: tuple[Any, ...]) -> Array:
        count = sum(p is not None and p is not ... for p in places)
        if count > x.ndim:
            hint = " (give it one with --shape, or in --at)" if not x.ndim else ""
            raise ValueError(f"an index of {count} places is too long{hint}")
        try:
            found = x[as_index(places)]
        except IndexError as problem:
            raise ValueError(str(problem).partition(" for")[0]) from None
        return found if isinstance(found, np.ndarray) else _array([found], ())

    def t(self, x: Array) -> Array:
        if x.ndim > 2:
            raise ValueError("T takes at most two dimensions (see transpose)")
        return x.T

    def transpose(self, x: Array, dim0: int, dim1: int) -> Array:
        return x.swapaxes(dim0, dim1)

    def permute(self, x: Array, dims: Shape) -> Array:
        return x.transpose(dims)

    def reshape(self, x: Array, shape: Shape) -> Array:
        return x.reshape(shape)

    def flatten(self, x: Array) -> Array:
        return x.reshape(-1)

    def squeeze(self, x: Array, dim: Any) -> Array:
        over = [a for a in _axes(x, dim) if x.shape[a] == 1]
        return x.reshape([n for a, n in enumerate(x.shape) if a not in over])

    def unsqueeze(self, x: Array, dim: int) -> Array:
        return np.expand_dims(x, dim)

    def flip(self, x: Array, dims: Shape) -> Array:
        return np.flip(x, dims)

    def roll(self, x: Array, shifts: Shape, dims: Any) -> Array:
        return np.roll(x, shifts, (dims,) if isinstance(dims, int) else dims or None)

    def movedim(self, x: Array, source: int, destination: int) -> Array:
        return np.moveaxis(x, source, destination)

    def expand(self, x: Array, size: Shape) -> Array:
        kept = (*(1,) * (len(size) - x.ndim), *x.shape)
        if len(kept) > len(size):
            raise ValueError("fewer sizes than dimensions")
        return np.broadcast_to(x, _within(tuple(k if n == -1 else n for n, k in zip(size, kept, strict=True))))

    def repeat(self, x: Array, dims: Shape) -> Array:
        _within((x.size, *dims))
        return np.tile(x, dims)

    def hstack(self, *tensors: Array) -> Array:
        return np.hstack(tensors)

    def vstack(self, *tensors: Array) -> Array:
        return np.vstack(tensors)

    def pad(self, x: Array, pad: Shape, value: Array) -> Array:
        """Pairs of widths, those of the last dimension first; negative ones are cut off."""
        if len(pad) % 2 or len(pad) > 2 * x.ndim:
            raise ValueError("pad takes two widths for each of the last dimensions")
        pairs = [(0, 0)] * (x.ndim - len(pad) // 2) + list(zip(pad[::2], pad[1::2], strict=True))[::-1]
        cut = x[tuple(slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(pairs, x.shape, strict=True))]
        found = np.full(
            _within(tuple(n + max(a, 0) + max(b, 0) for (a, b), n in zip(pairs, cut.shape, strict=True))), value.item()
        )
        found[tuple(slice(max(a, 0), max(a, 0) + n) for (a, _), n in zip(pairs, cut.shape, strict=True))] = cut
        return found

    def index_select(self, x: Array, dim: int, index: Array) -> Array:
        if index.ndim > 1:
            raise ValueError("an index of one dimension is needed")
        return x.take(_numbers_of(index, x.shape[dim]).reshape(-1), axis=dim)

    def gather(self, x: Array, dim: int, index: Array) -> Array:
        if index.ndim != x.ndim:
            raise ValueError("the index has as many dimensions as the array")
        numbers = _numbers_of(index, x.shape[dim])
        inside = tuple(slice(n) if a != dim % x.ndim else slice(None) for a, n in enumerate(index.shape))
        return np.take_along_axis(x[inside], numbers, axis=dim)

    def one_hot(self, labels: Array, classes: Array) -> Array:
        numbers, count = _numbers_of(labels, classes.item().value), classes.item().value
        found = self.zeros((*labels.shape, count))
        np.put_along_axis(found, numbers[..., None], np.array(Constant(1), dtype=object), axis=-1)
        return found

    def numel(self, x: Array) -> Array:
        return _array([Constant(x.size)], ())

    def size(self, x: Array, dim: int) -> Array:
        if not x.ndim:
            raise ValueError("a number has no dimensions")
        return _array([Constant(int(x.shape[_axes(x, dim)[0]]))], ())

    def diff(self, x: Array, n: Array, dim: int) -> Array:
        (axis,) = _axes(x, dim) or (0,)
        for _ in range(n.item().value):
            low, high = x.take(range(x.shape[axis] - 1), axis), x.take(range(1, x.shape[axis]), axis)
            pairs = zip(high.reshape(-1), low.reshape(-1), strict=True)
            x = _array([self.node(syntax.SUB, a, b) for a, b in pairs], low.shape)
        return x

    def cross(self, x: Array, y: Array, dim: int) -> Array:
        left, right = np.broadcast_arrays(x, y)
        if left.shape[_axes(left, dim)[0]] != 3:
            raise ValueError("a cross product takes 3 numbers")
        a, b = (np.moveaxis(v, dim, -1) for v in (left, right))
        found = [
            self.node(syntax.SUB, self.node(syntax.MUL, u[i - 2], v[i - 1]), self.node(syntax.MUL, u[i - 1], v[i - 2]))
            for u, v in zip(a.reshape(-1, 3), b.reshape(-1, 3), strict=True)
            for i in range(3)
        ]
        return np.moveaxis(_array(found, a.shape), -1, dim)

    def einsum(self, *arguments: Any) -> Array:
        *tensors, equation = arguments
        given, arrow, wanted = equation.partition("->")
        factors = given.split(",")
        if len(factors) != len(tensors) or any(len(f) != t.ndim for f, t in zip(factors, tensors, strict=True)):
            raise ValueError(f"{equation!r} doesn't fit: a letter for each dimension of each array")
        sizes: dict[str, int] = {}
        for letters, tensor in zip(factors, tensors, strict=True):
            for letter, n in zip(letters, tensor.shape, strict=True):
                if sizes.setdefault(letter, n) != n:
                    raise ValueError(f"{letter!r} stands for {sizes[letter]} and for {n}")
        letters = sorted(x for x in sizes if given.count(x) == 1)
        wanted = wanted if arrow else "".join(letters)
        if len(set(wanted)) < len(wanted) or not set(wanted) <= sizes.keys():
            raise ValueError(f"{equation!r} doesn't say what is left")
        summed = [x for x in sizes if x not in wanted]
        _within((math.prod(sizes.values()),))
        found = []
        for outer in product(*(range(sizes[x]) for x in wanted)):
            terms = []
            for inner in product(*(range(sizes[x]) for x in summed)):
                place = dict(zip((*wanted, *summed), (*outer, *inner), strict=True))
                entries_ = [t[tuple(place[x] for x in f)] for f, t in zip(factors, tensors, strict=True)]
                terms.append(self.fold(syntax.MUL, entries_))
            found.append(self.fold(syntax.ADD, terms))
        return _array(found, tuple(sizes[x] for x in wanted))

    def glu(self, x: Array, dim: int) -> Array:
        (axis,) = _axes(x, dim) or (0,)
        if not x.ndim or x.shape[axis] % 2:
            raise ValueError("an even number of entries is halved")
        first, second = np.split(x, 2, axis=axis)
        pairs = zip(first.reshape(-1), second.reshape(-1), strict=True)
        return _array([self.node(syntax.MUL, a, self.node(syntax.SIGMOID, b)) for a, b in pairs], first.shape)

    def diag(self, x: Array) -> Array:
        if x.ndim == 2:
            return x.diagonal()
        if x.ndim != 1:
            raise ValueError("diag takes one or two dimensions")
        matrix = np.full((x.size, x.size), Constant(0), dtype=object)
        np.fill_diagonal(matrix, x)
        return matrix

    def ones_like(self, x: Array) -> Array:
        return np.full(x.shape, Constant(1), dtype=object)

    def zeros_like(self, x: Array) -> Array:
        return np.full(x.shape, Constant(0), dtype=object)

    def full_like(self, x: Array, value: Array) -> Array:
        return np.full(x.shape, value.item(), dtype=object)

    def zeros(self, size: Shape) -> Array:
        return np.full(_within(size), Constant(0), dtype=object)

    def ones(self, size: Shape) -> Array:
        return np.full(_within(size), Constant(1), dtype=object)

    def eye(self, sizes: Shape) -> Array:
        if not 1 <= len(sizes) <= 2:
            raise ValueError("eye takes one number, or two")
        made = self.zeros((sizes[0], sizes[-1]))
        np.fill_diagonal(made, Constant(1))
        return made

    def arange(self, ends: Shape) -> Array:
        if not 1 <= len(ends) <= 3 or 0 in ends[2:]:
            raise ValueError("arange takes one to three whole numbers, its step is not 0")
        numbers = range(*ends)
        _within((len(numbers),))
        return _array([Constant(n) for n in numbers], (len(numbers),))

    def itself(self, x: Array) -> Array:
        return x

    def selected(self, x: Array, mask: Array) -> Any:
        if x.shape != mask.shape:
            raise ValueError("a condition chooses among entries of its own shape")
        return _Chosen(x.reshape(-1), mask.reshape(-1))

    # -- matrices ---------------------------------------------------------------------------------------------------

    def kron(self, x: Array, y: Array) -> Array:
        rank = max(x.ndim, y.ndim)
        left, right = (a.reshape((1,) * (rank - a.ndim) + a.shape) for a in (x, y))
        pairs = [self.node(syntax.MUL, a, b) for a in left.reshape(-1) for b in right.reshape(-1)]
        order = [axis for pair in zip(range(rank), range(rank, 2 * rank), strict=True) for axis in pair]
        shape = [m * n for m, n in zip(left.shape, right.shape, strict=True)]
        return _array(pairs, (*left.shape, *right.shape)).transpose(order).reshape(shape)

    def multi_dot(self, *arrays: Array) -> Array:
        return reduce(self.matmul, arrays)

    def matrix_power(self, x: Array, n: Array) -> Array:
        _square(x)
        if not n.item().value:
            one = np.full(x.shape, Constant(0), dtype=object)
            one[..., np.arange(x.shape[-1]), np.arange(x.shape[-1])] = Constant(1)
            return one
        return reduce(self.matmul, [x] * n.item().value)

    def minors(self, rows: Array, columns: Sequence[int]) -> Node:
        """The determinant of the rows in these columns: by the last row, each smaller one once."""
        found: dict[tuple[int, ...], Node] = {(): Constant(1)}
        for k, row in enumerate(rows):
            found = {
                some: self.fold(syntax.ADD, [
                    self.signed(self.node(syntax.MUL, row[c], found[(*some[:i], *some[i + 1 :])]) if k else row[c], k + i)
                    for i, c in enumerate(some)
                ])
                for some in combinations(columns, k + 1)
            }  # fmt: skip
        return found[tuple(columns)]

    def signed(self, node: Node, power: int) -> Node:
        return self.node(syntax.NEG, node) if power % 2 else node

    def det(self, x: Array) -> Array:
        n = _square(x)
        return _array([self.minors(m, range(n)) for m in x.reshape(-1, n, n)], x.shape[:-2])

    def inv(self, x: Array) -> Array:
        n = _square(x)
        found = []
        for m in x.reshape(-1, n, n):
            whole = self.minors(m, range(n))
            for i, j in product(range(n), repeat=2):
                others = [c for c in range(n) if c != i]
                minor = self.minors(np.delete(m, j, axis=0), others)
                found.append(self.node(syntax.DIV, self.signed(minor, i + j), whole))
        return _array(found, x.shape)

    def solve(self, x: Array, y: Array) -> Array:
        vector = y.ndim == 1 or (y.ndim == x.ndim - 1 and y.shape == x.shape[:-1])
        found = self.matmul(self.inv(x), y[..., None] if vector else y)
        return found[..., 0] if vector else found

    def tril(self, x: Array, diagonal: int) -> Array:
        return self.triangle(x, lambda row, column: column - row <= diagonal)

    def triu(self, x: Array, diagonal: int) -> Array:
        return self.triangle(x, lambda row, column: column - row >= diagonal)

    def triangle(self, x: Array, kept: Callable[[Any, Any], Any]) -> Array:
        if x.ndim < 2:
            raise ValueError("a matrix is needed")
        inside = kept(*np.indices(x.shape[-2:]))
        return np.where(inside, x, np.full(x.shape, Constant(0), dtype=object))

    def symmetric(self, x: Array) -> Array:
        """(x + x.T)/2, without a value where x is not symmetric: how its entries are written may show that it is."""
        found = x.copy()
        for i, j in combinations(range(_square(x)), 2):
            pairs = zip(x[..., i, j].reshape(-1), x[..., j, i].reshape(-1), strict=True)
            mean = _array([self.mean_of(a, b) for a, b in pairs], x.shape[:-2])
            found[..., i, j] = found[..., j, i] = mean
        return found

    def mean_of(self, a: Node, b: Node) -> Node:
        if sorted_terms(a) == sorted_terms(b):
            return a
        held = self.node(syntax.ALIKE, self.node(syntax.DETACH, a), self.node(syntax.DETACH, b))
        return self.node(syntax.ADD, self.node(syntax.DIV, self.node(syntax.ADD, a, b), Constant(2)), held)

    def each_matrix(self, x: Array, run: Callable[[Array], Array]) -> Array:
        """What becomes of every matrix of a batch."""
        found = [run(m) for m in x.reshape(-1, *x.shape[-2:])]
        return np.array([list(f.reshape(-1)) for f in found], dtype=object).reshape(*x.shape[:-2], *found[0].shape)

    def cholesky(self, x: Array, upper: bool) -> Array:
        found = self.each_matrix(self.symmetric(x), self.factor)
        return found.swapaxes(-1, -2) if upper else found

    def factor(self, m: Array) -> Array:
        found = self.zeros(m.shape)
        for i in range(len(m)):
            for j in range(i + 1):
                less = [self.node(syntax.MUL, found[i, k], found[j, k]) for k in range(j)]
                rest = self.node(syntax.SUB, m[i, j], self.fold(syntax.ADD, less)) if less else m[i, j]
                found[i, j] = self.node(syntax.SQRT, rest) if i == j else self.node(syntax.DIV, rest, found[j, j])
        return found

    def cholesky_inverse(self, x: Array, upper: bool) -> Array:
        _square(x)
        return self.each_matrix(x.swapaxes(-1, -2) if upper else x, self.inverse_of_factor)

    def inverse_of_factor(self, m: Array) -> Array:
        found = self.zeros(m.shape)
        for i in range(len(m)):
            found[i, i] = self.node(syntax.DIV, Constant(1), m[i, i])
            for j in range(i):
                terms = [self.node(syntax.MUL, m[i, k], found[k, j]) for k in range(j, i)]
                found[i, j] = self.node(syntax.NEG, self.node(syntax.DIV, self.fold(syntax.ADD, terms), m[i, i]))
        return self.matmul(found.T, found)

    def eigvalsh(self, x: Array) -> Array:
        return self.each_matrix(self.symmetric(x), self.spectrum)

    def spectrum(self, m: Array) -> Array:
        """The eigenvalues of a symmetric matrix: roots of its characteristic polynomial, made of the principal minors."""
        terms = self.characteristic(m)
        return _array([self.node(syntax.ROOT, *reversed(terms), Constant(k)) for k in range(len(m))], (len(m),))

    def characteristic(self, m: Array) -> list[Node]:
        """The coefficients of the characteristic polynomial, the leading one first."""
        n = _square(m)
        terms: list[Node] = [Constant(1)]
        for k in range(1, n + 1):
            minors = [self.minors(m[list(some)], some) for some in combinations(range(n), k)]
            terms.append(self.signed(self.fold(syntax.ADD, minors), k))
        return terms

    def eigenvectors(self, x: Array) -> Array:
        return self.each_matrix(self.symmetric(x), lambda m: self.directions(m, self.held(m, "eigenvectors", m.shape)))

    def held(self, m: Array, factor: str, shape: Shape) -> Array:
        """A factor of a matrix as torch has it: constants, of which only the signs count."""
        settings = [Constant(n) for n in (*m.shape, FACTORS.index(factor))]
        nodes = [self.node(syntax.GAUGE, *m.reshape(-1), *settings, *map(Constant, place)) for place in np.ndindex(shape)]
        return _array(nodes, shape)

    def directions(self, m: Array, held: Array) -> Array:
        """The eigenvectors of a symmetric matrix as columns, each on the side of a held one. The adjugate of w - m, made of
        powers of w (Faddeev and LeVerrier), takes any vector to a multiple of that of the eigenvalue w; the sign of the
        multiple alternates, from the largest one on."""
        n, terms = _square(m), self.characteristic(m)
        found = []
        for k in range(n):
            value, column = self.node(syntax.ROOT, *reversed(terms), Constant(k)), held[:, k]
            powers = [column]
            for term in terms[1:-1]:
                moved = self.matmul(m, powers[-1])
                scaled = [self.node(syntax.MUL, term, g) for g in column]
                powers.append(_array([self.node(syntax.ADD, a, b) for a, b in zip(moved, scaled, strict=True)], (n,)))
            vector = list(powers[0])
            for power in powers[1:]:
                pairs = zip(vector, power, strict=True)
                vector = [self.node(syntax.ADD, self.node(syntax.MUL, value, a), b) for a, b in pairs]
            size = self.length(vector)
            found.append([self.signed(self.node(syntax.DIV, a, size), n - 1 - k) for a in vector])
        return np.array(found, dtype=object).T

    def length(self, vector: Sequence[Node]) -> Node:
        return self.node(syntax.SQRT, self.fold(syntax.ADD, [self.node(syntax.MUL, a, a) for a in vector]))

    def qr_orthogonal(self, x: Array) -> Array:
        return self.each_matrix(_two(x), lambda m: self.orthogonalized(m)[0])

    def qr_triangular(self, x: Array) -> Array:
        return self.each_matrix(_two(x), lambda m: self.orthogonalized(m)[1])

    def orthogonalized(self, m: Array) -> tuple[Array, Array]:
        """Q and R, by Gram and Schmidt; the diagonal of R has torch's signs."""
        rank = min(m.shape)
        held = self.held(m, "R", (rank, m.shape[1]))
        columns: list[Array] = []
        upper = self.zeros((rank, m.shape[1]))
        for j, column in enumerate(m.T):
            rest = column
            for i, q in enumerate(columns):
                upper[i, j] = self.matmul(q, column).item()
                taken = [self.node(syntax.MUL, upper[i, j], a) for a in q]
                rest = _array([self.node(syntax.SUB, a, b) for a, b in zip(rest, taken, strict=True)], rest.shape)
            if j < rank:
                sign = self.node(syntax.DIV, held[j, j], self.node(syntax.ABS, held[j, j]))
                upper[j, j] = self.node(syntax.MUL, sign, self.length(list(rest)))
                columns.append(_array([self.node(syntax.DIV, a, upper[j, j]) for a in rest], rest.shape))
        return np.stack(columns, axis=1), upper

    def lu_order(self, x: Array) -> Array:
        return self.each_matrix(_two(x), lambda m: self.eliminated(m)[0].T)

    def lu_lower(self, x: Array) -> Array:
        return self.each_matrix(_two(x), lambda m: self.eliminated(m)[1])

    def lu_upper(self, x: Array) -> Array:
        return self.each_matrix(_two(x), lambda m: self.eliminated(m)[2])

    def eliminated(self, m: Array) -> tuple[Array, Array, Array]:
        """The order of the rows, L and U: in each column the largest entry is the pivot, of several the first. Rows change
        places as products with 0 and 1 do it: their entries stay numbers, whichever is chosen."""
        rows, count = m.shape[0], min(m.shape)
        lower = self.zeros((rows, count))
        order, rest = self.eye((rows, rows)), m.copy()
        for k in range(count):
            if k < rows - 1:
                order, lower, rest = (self.exchanged(a, k, self.pivots(rest[k:, k])) for a in (order, lower, rest))
            lower[k, k] = Constant(1)
            for i in range(k + 1, rows):
                factor = lower[i, k] = self.node(syntax.DIV, rest[i, k], rest[k, k])
                rest[i, k] = Constant(0)
                for j in range(k + 1, m.shape[1]):
                    rest[i, j] = self.node(syntax.SUB, rest[i, j], self.node(syntax.MUL, factor, rest[k, j]))
        return order, lower, rest[:count]

    def pivots(self, column: Array) -> list[Node]:
        """For each entry 1 if it is the largest in size, the first of several, and else 0."""
        sizes = [self.node(syntax.ABS, a) for a in column]
        found = []
        for i, size in enumerate(sizes):
            beaten = [self.node(syntax.GT if j < i else syntax.GE, size, s) for j, s in enumerate(sizes) if j != i]
            found.append(indicator(self.fold(syntax.AND, beaten)))
        return found

    def exchanged(self, x: Array, k: int, pivots: Sequence[Node]) -> Array:
        """The rows, of which that with the pivot and the k-th have changed places."""
        found = x.copy()
        for j in range(x.shape[1]):
            if all(isinstance(a, Constant) and a == x[k, j] for a in x[k:, j]):
                continue
            found[k, j] = self.fold(syntax.ADD, [self.node(syntax.MUL, p, a) for p, a in zip(pivots, x[k:, j], strict=True)])
            for i, p in enumerate(pivots[1:], k + 1):
                other = self.node(syntax.MUL, self.node(syntax.SUB, Constant(1), p), x[i, j])
                found[i, j] = self.node(syntax.ADD, self.node(syntax.MUL, p, x[k, j]), other)
        return found

    def svd_left(self, x: Array, full: bool) -> Array:
        return self.each_matrix(_two(x), lambda m: self.singular_vectors(m, full, left=True))

    def svd_right(self, x: Array, full: bool) -> Array:
        return self.each_matrix(_two(x), lambda m: self.singular_vectors(m, full, left=False))

    def svd_values(self, x: Array, full: bool) -> Array:
        return self.svdvals(x)

    def singular_vectors(self, m: Array, full: bool, left: bool) -> Array:
        """U, or Vh: those on the smaller side are eigenvectors, and take the matrix to the others."""
        rows, columns = m.shape
        if full and (rows > columns if left else columns > rows):
            raise ValueError("full_matrices=False is needed: no derivative is known of vectors beyond the singular values")
        tall = rows >= columns
        wide = m.T if tall else m
        name = ("Vh" if tall else "U") + (" of full" if full else "")
        held = self.held(m, name, (min(m.shape), min(m.shape)))
        own = self.directions(self.matmul(wide, wide.T), (held.T if tall else held)[:, ::-1])[:, ::-1]
        if left is not tall:
            return own if left else own.T
        values = self.singular(m)
        moved = [[self.node(syntax.DIV, a, s) for a, s in zip(row, values, strict=True)] for row in self.matmul(wide.T, own)]
        others = np.array(moved, dtype=object)
        return others if left else others.T

    def svdvals(self, x: Array) -> Array:
        return self.each_matrix(_two(x), self.singular)

    def singular(self, m: Array) -> Array:
        wide = m if m.shape[0] <= m.shape[1] else m.T
        squares = self.spectrum(self.matmul(wide, wide.T))[::-1]
        return _array([self.node(syntax.SQRT, s) for s in squares], squares.shape)

    def matrix_exp(self, x: Array) -> Array:
        if _square(x) > MOST_EXPONENTIAL:
            raise ValueError(f"the exponential of more than {MOST_EXPONENTIAL} rows; {_INSTEAD}")
        return self.each_matrix(x, lambda m: _array([
            self.node(syntax.EXPONENTIAL, *m.reshape(-1), *map(Constant, place)) for place in np.ndindex(m.shape)
        ], m.shape))  # fmt: skip

    def pinv(self, x: Array) -> Array:
        turned = _two(x).swapaxes(-1, -2)
        if x.shape[-2] >= x.shape[-1]:
            return self.matmul(self.inv(self.matmul(turned, x)), turned)
        return self.matmul(turned, self.inv(self.matmul(x, turned)))

    def lstsq(self, x: Array, y: Array) -> Array:
        return self.matmul(self.pinv(x), _two(y))

    def matrix_norm(self, x: Array, order: Any) -> Array:
        if order not in NORMS:
            raise ValueError("a matrix has the norms 1, -1, 2, -2, inf, -inf, 'fro' and 'nuc'")
        batch = [self.run(NORMS[order], {"x": m}, inside=True).item() for m in _two(x).reshape(-1, *x.shape[-2:])]
        return _array(batch, x.shape[:-2])

    def linalg_norm(self, x: Array, order: Any) -> Array:
        if order != () and x.ndim == 2:
            return self.matrix_norm(x, order)
        if isinstance(order, str) or (order != () and x.ndim != 1):
            raise ValueError("a norm with ord takes one dimension, or two")
        return self.run(_VECTOR, {"x": x, "p": _array([_number(2 if order == () else order)], ())}, inside=True)

    def cond(self, x: Array, order: Any) -> Array:
        if order in ((), 2, -2):
            values = self.svdvals(x)
            ends = (values[..., -1], values[..., 0]) if order == -2 else (values[..., 0], values[..., -1])
        else:
            ends = (self.matrix_norm(x, order), self.matrix_norm(self.inv(x), order))
        pairs = zip(*(np.asarray(end, dtype=object).reshape(-1) for end in ends), strict=True)
        join = syntax.DIV if order in ((), 2, -2) else syntax.MUL
        return _array([self.node(join, *pair) for pair in pairs], x.shape[:-2])

    # -- the order of entries ---------------------------------------------------------------------------------------

    def ranked(self, x: Array, dim: int) -> Array:
        """The entries in ascending order along the last axis, which is `dim`: neighbours change places, again and again."""
        (axis,) = _axes(x, dim) or (0,)
        moved = np.moveaxis(x, axis, -1).copy() if x.ndim else x.reshape(1).copy()
        if moved.shape[-1] > MOST_SORTED:
            raise ValueError(f"more than {MOST_SORTED} entries to sort; {_INSTEAD}")
        for row in moved.reshape(-1, moved.shape[-1]):
            for k in range(len(row)):
                for i in range(k % 2, len(row) - 1, 2):
                    pair = (row[i], row[i + 1])
                    row[i], row[i + 1] = self.node(syntax.MINIMUM, *pair), self.node(syntax.MAXIMUM, *pair)
        return moved

    def sort(self, x: Array, dim: int, descending: bool) -> Array:
        moved = self.ranked(x, dim)[..., :: -1 if descending else 1]
        return np.moveaxis(moved, -1, dim) if x.ndim else moved.reshape(())

    def topk(self, x: Array, k: Array, dim: int, largest: bool) -> Array:
        moved, count = self.sort(x, dim, largest), k.item().value
        (axis,) = _axes(x, dim) or (0,)
        if x.ndim and count > x.shape[axis]:
            raise ValueError(f"there are no {count} entries")
        return moved.take(range(count), axis) if x.ndim else moved

    def kthvalue(self, x: Array, k: Array, dim: int, keepdim: bool) -> Array:
        moved, number = self.ranked(x, dim), k.item().value
        if not 1 <= number <= moved.shape[-1]:
            raise ValueError(f"there is no entry {number}, counted from 1")
        return self.one_of(x, moved[..., number - 1], dim, keepdim)

    def median(self, x: Array, dim: Any, keepdim: bool) -> Array:
        if not isinstance(dim, int):
            if len(dim) != 0:
                raise ValueError("median takes one dimension, or none")
            moved = self.ranked(x.reshape(-1), 0)
            return _array([moved[(x.size - 1) // 2]], ())
        moved = self.ranked(x, dim)
        return self.one_of(x, moved[..., (moved.shape[-1] - 1) // 2], dim, keepdim)

    def quantile(self, x: Array, q: Array, dim: Any, keepdim: bool) -> Array:
        """Between two neighbours in order, as far along as q is."""
        part = exact_constant(q.item())
        if not isinstance(part, Fraction) or not 0 <= part <= 1:
            raise ValueError("quantile takes a number from 0 to 1")
        whole = not isinstance(dim, int)
        moved = self.ranked(x.reshape(-1) if whole else x, 0 if whole else dim)
        place = part * (moved.shape[-1] - 1)
        low, rest = moved[..., math.floor(place)], place - math.floor(place)
        if rest:
            high = moved[..., math.floor(place) + 1]
            weight = self.node(syntax.DIV, Constant(rest.numerator), Constant(rest.denominator))
            pairs = zip(np.ravel(low), np.ravel(high), strict=True)
            between = [self.node(syntax.ADD, a, self.node(syntax.MUL, weight, self.node(syntax.SUB, b, a))) for a, b in pairs]
            low = _array(between, np.shape(low))
        if whole:
            return _array([low if isinstance(low, Node) else low.item()], (1,) * x.ndim if keepdim else ())
        return self.one_of(x, low, dim, keepdim)

    def one_of(self, x: Array, chosen: Any, dim: int, keepdim: bool) -> Array:
        found = chosen if isinstance(chosen, np.ndarray) else _array([chosen], ())
        return np.expand_dims(found, dim) if keepdim and x.ndim else found

    def pick(self, x: Array, labels: Array) -> Array:
        if x.ndim not in (1, 2) or labels.shape != x.shape[:-1]:
            raise ValueError("labels take one place for each row of scores")
        try:
            numbers = whole_numbers(labels)
        except ValueError:
            raise ValueError("labels are whole numbers from 0 on") from None
        if max(numbers) >= x.shape[-1]:
            raise ValueError(f"label {max(numbers)} is out of range")
        rows = x.reshape(-1, x.shape[-1])
        return _array([row[number] for row, number in zip(rows, numbers, strict=True)], labels.shape)


def _array(nodes: Sequence[Node], shape: Sequence[int]) -> Array:
    array = np.empty(len(nodes), dtype=object)
    array[:] = nodes
    return array.reshape(shape)


def _numbers_of(labels: Array, most: int) -> npt.NDArray[np.intp]:
    """Places along a dimension with so many entries."""
    try:
        numbers = whole_numbers(labels)
    except ValueError:
        raise ValueError("places are whole numbers from 0 on") from None
    if max(numbers, default=0) >= most:
        raise ValueError(f"there is no place {max(numbers)}: there are {most}")
    return np.array(numbers, dtype=np.intp).reshape(labels.shape)


def _within(shape: Shape) -> Shape:
    """The shape, if an array of it is followed."""
    if any(n < 1 for n in shape):
        raise ValueError(f"an array of shape {shape} has no entries")
    if math.prod(shape) > MAX_ENTRIES:
        raise ValueError(f"an array of {math.prod(shape):,} entries; at most {MAX_ENTRIES:,} are followed")
    return shape


NORMS: Mapping[Any, Node] = MappingProxyType({
    "fro": parse("sqrt(sum(x**2))"), "nuc": parse("sum(svdvals(x))"),
    2: parse("svdvals(x)[0]"), -2: parse("svdvals(x)[-1]"),
    1: parse("max(sum(abs(x), 0))"), -1: parse("min(sum(abs(x), 0))"),
    math.inf: parse("max(sum(abs(x), 1))"), -math.inf: parse("min(sum(abs(x), 1))"),
})  # fmt: skip
"""Norms of a matrix, by what torch calls them."""


_VECTOR = parse("norm(x, p)", settings=frozenset({"p"}))


def _number(value: float) -> Node:
    """A number as it is written."""
    if math.isinf(value):
        return _INFINITE if value > 0 else Call(syntax.NEG, (_INFINITE,))
    return Constant(value)


def sorted_terms(tree: Node) -> Node:
    """An equal tree with the arguments of sums and products in one order."""

    def ordered(call: Call) -> Call:
        several = call.function in (syntax.ADD, syntax.MUL)
        return Call(call.function, tuple(sorted(call.arguments, key=_text))) if several else call

    return rebuilt(tree, ordered)


def _text(tree: Node) -> str:
    return show(tree) or ""


def _two(x: Array) -> Array:
    """The array, which has two dimensions, or more."""
    if x.ndim < 2:
        raise ValueError("a matrix is needed")
    if min(x.shape[-2:]) > MOST_ROWS:
        raise ValueError(f"a matrix of more than {MOST_ROWS} rows and columns; {_INSTEAD}")
    return x


def _square(x: Array) -> int:
    """The number of rows of a square matrix, or of each of several."""
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ValueError("a square matrix is needed")
    if x.shape[-1] > MOST_ROWS:
        raise ValueError(f"a matrix of more than {MOST_ROWS} rows; {_INSTEAD}")
    return int(x.shape[-1])


def _axes(x: Array, dim: Any) -> tuple[int, ...]:
    """The dimensions that a setting means, counted from 0."""
    chosen = (dim,) if isinstance(dim, int) else tuple(dim) or tuple(range(x.ndim))
    for axis in chosen:
        if not -max(x.ndim, 1) <= axis < max(x.ndim, 1):
            raise ValueError(f"there is no dimension {axis}")
    found = tuple(a % x.ndim for a in chosen) if x.ndim else ()
    if len(set(found)) < len(found):
        raise ValueError("a dimension is named twice")
    return found


def _setting(argument: Node, values: Mapping[str, Any]) -> Any:
    return values[argument.name] if isinstance(argument, Variable) else getattr(argument, "value", None)


def _decided(tree: Node, values: Mapping[str, Any]) -> Node:
    """A definition with every `where` that depends on settings alone replaced by the branch they choose."""
    numbers: dict[str, Node] = {n: Constant(v) for n, v in values.items() if isinstance(v, bool)}
    numbers |= {n: v.item() for n, v in values.items() if isinstance(v, np.ndarray) and not v.ndim and is_constant(v.item())}
    while isinstance(tree, Call) and tree.function == syntax.WHERE:
        chosen = _truth(substitute(tree.arguments[0], numbers))
        if chosen is None:
            return tree
        tree = tree.arguments[1 if chosen else 2]
    if isinstance(tree, Call):
        return Call(tree.function, tuple(_decided(a, values) for a in tree.arguments), tree.position)
    return tree


def _truth(condition: Node) -> bool | None:
    match condition:
        case Constant(value=bool(value)):
            return value
        case Call(function=syntax.EQ, arguments=(x, y)) if is_constant(condition):
            return exact_constant(x) == exact_constant(y)
    return None


def _shape(array: Array | _Chosen) -> str:
    return str(tuple(map(int, array.shape))) if isinstance(array, np.ndarray) else "(?,)"


def _of(node: Node, array: Array) -> str:
    """`x has shape (2,)`, for a message."""
    return f"{show(node, _LABEL) or 'an argument'} has shape {_shape(array)}"


def _culprit(item: Call) -> int:
    """Where the trouble begins: at the last operand of an operator, at the name of a function."""
    places = [a.position for a in item.arguments]
    row = TABLE[item.function]
    return max([item.position, *places[1:]]) if row.operator in INFIX and not row.truth else item.position

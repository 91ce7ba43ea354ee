"""Rows that move entries, choose among them, or make arrays of nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from gradcheck_cli.language import syntax
from gradcheck_cli.language.arrays.cells import (
    Array,
    Chosen,
    array_of,
    axes_of,
    followed,
    places_of,
    whole_numbers,
)
from gradcheck_cli.language.arrays.sums import Sums
from gradcheck_cli.language.settings import LIST, as_index
from gradcheck_cli.language.spaces import Shape
from gradcheck_cli.language.tree import Constant


class Moves(Sums):
    """The `array` column of rows that move."""

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
        return found if isinstance(found, np.ndarray) else array_of([found], ())

    def index_at(self, *arguments: Any) -> Array:
        """Numbers, slices and new dimensions come first, then all lists at once, as in torch."""
        *listed, x, places = arguments
        numbers = iter([np.array(whole_numbers(a, -math.inf), dtype=np.intp).reshape(a.shape) for a in listed])
        lists = [next(numbers) if p == LIST else None for p in places]
        plain = tuple(
            slice(None) if found is not None and found.ndim else int(found) if found is not None else p
            for p, found in zip(as_index(places, lists), lists, strict=True)
        )
        rest = self.index(x, plain)
        axes = [p for p in zip(plain, lists, strict=True) if p[0] is ... or p[0] is None or isinstance(p[0], slice)]
        kept = rest.ndim - sum(p is not ... for p, _ in axes)
        chosen: list[Any] = []
        for p, found in axes:
            chosen += [slice(None)] * kept if p is ... else [slice(None) if found is None else found]
        result: Array = rest[tuple(chosen)]
        return result

    def take(self, x: Array, index: Array) -> Array:
        return self.index_at(index, x.reshape(-1), (LIST,))

    def select(self, x: Array, dim: int, index: int) -> Array:
        (axis,) = axes_of(x, dim)
        return self.index(x, (*((None, None, None),) * axis, index))

    def narrow(self, x: Array, dim: int, start: int, length: Array) -> Array:
        (axis,) = axes_of(x, dim)
        first, size = start % x.shape[axis], length.item().value
        if start < -x.shape[axis] or start > x.shape[axis] or first + size > x.shape[axis]:
            raise ValueError(f"there are only {x.shape[axis]} places")
        return x.take(range(first, first + size), axis)

    def part(self, x: Array, dim: int, ends: Sequence[int], place: int) -> Array:
        """One of the parts that end there."""
        (axis,) = axes_of(x, dim)
        if not -len(ends) <= place < len(ends):
            raise ValueError(f"there are {len(ends)} parts, and no place {place}")
        start = ([0, *ends])[place % len(ends)]
        return x.take(range(start, max(start, ends[place])), axis)

    def chunk(self, x: Array, chunks: Array, dim: int, place: int) -> Array:
        if not chunks.item().value:
            raise ValueError("at least one part is needed")
        size = -(-x.shape[axes_of(x, dim)[0]] // chunks.item().value)
        return self.split(x, size, dim, place)

    def split(self, x: Array, sizes: Any, dim: int, place: int) -> Array:
        """Parts of one size, of which the last may be smaller, or of these sizes."""
        count = x.shape[axes_of(x, dim)[0]]
        if isinstance(sizes, int) and sizes < 1:
            raise ValueError("parts have a size of 1 or more")
        ends = (
            [min(end, count) for end in range(sizes, count + sizes, sizes)]
            if isinstance(sizes, int)
            else list(accumulate(sizes))
        )
        if ends[-1:] != [count]:
            raise ValueError(f"the sizes of parts add up to {count}")
        return self.part(x, dim, ends, place)

    def tensor_split(self, x: Array, sections: Any, dim: int, place: int) -> Array:
        """So many parts, the first ones larger by one where they can't be equal, or parts that end at these places."""
        count = x.shape[axes_of(x, dim)[0]]
        if isinstance(sections, int):
            if sections < 1:
                raise ValueError("at least one part is needed")
            return self.part(
                x, dim, list(accumulate(count // sections + (k < count % sections) for k in range(sections))), place
            )
        ends = [min(max(end + count if end < 0 else end, 0), count) for end in sections]
        return self.part(x, dim, [*ends, count], place)

    def unbind(self, x: Array, dim: int, place: int) -> Array:
        return self.select(x, dim, place)

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
        over = [a for a in axes_of(x, dim) if x.shape[a] == 1]
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
        return np.broadcast_to(x, followed(tuple(k if n == -1 else n for n, k in zip(size, kept, strict=True))))

    def repeat(self, x: Array, dims: Shape) -> Array:
        followed((x.size, *dims))
        return np.tile(x, dims)

    def hstack(self, *tensors: Array) -> Array:
        return np.hstack(tensors)

    def vstack(self, *tensors: Array) -> Array:
        return np.vstack(tensors)

    def pad(self, x: Array, pad: Shape, mode: str, value: Array) -> Array:
        """Pairs of widths, those of the last dimension first; negative ones are cut off."""
        if len(pad) % 2 or len(pad) > 2 * x.ndim:
            raise ValueError("pad takes two widths for each of the last dimensions")
        pairs = [(0, 0)] * (x.ndim - len(pad) // 2) + list(zip(pad[::2], pad[1::2], strict=True))[::-1]
        if mode != "constant":
            return self.around(x, pairs, mode)
        cut = x[tuple(slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(pairs, x.shape, strict=True))]
        found = np.full(
            followed(tuple(n + max(a, 0) + max(b, 0) for (a, b), n in zip(pairs, cut.shape, strict=True))), value.item()
        )
        found[tuple(slice(max(a, 0), max(a, 0) + n) for (a, _), n in zip(pairs, cut.shape, strict=True))] = cut
        return found

    def around(self, x: Array, pairs: Sequence[tuple[int, int]], mode: str) -> Array:
        """The array with its own entries around it."""
        if x.ndim - sum(any(pair) for pair in pairs) not in (1, 2):
            raise ValueError(f"mode={mode!r} takes one or two dimensions before those that grow, as torch does")
        inside = {"reflect": -1, "replicate": math.inf, "circular": 0}[mode]
        if any(min(pair) < 0 or (any(pair) and max(pair) > n + inside) for pair, n in zip(pairs, x.shape, strict=True)):
            raise ValueError(f"mode={mode!r} takes no widths below 0, and none that are too large")
        followed(tuple(n + sum(pair) for n, pair in zip(x.shape, pairs, strict=True)))
        names = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
        return np.pad(x, pairs, mode=names[mode])  # type: ignore[call-overload,no-any-return]

    def index_add(self, x: Array, dim: int, index: Array, source: Array) -> Array:
        (axis,) = axes_of(x, dim)
        places = places_of(index, x.shape[axis]).reshape(-1)
        if source.shape != (*x.shape[:axis], len(places), *x.shape[axis + 1 :]):
            raise ValueError("a place for each part of the source is needed")
        shape = [-1 if a == axis else 1 for a in range(x.ndim)]
        return self.put(x, axis, np.broadcast_to(places.reshape(shape), source.shape), source, add=True)

    def scatter(self, x: Array, dim: int, index: Array, src: Array) -> Array:
        axis, places, part = self.scattered(x, dim, index, src)
        if any(len(set(row)) < len(row) for row in np.moveaxis(places, axis, -1).reshape(-1, places.shape[axis]).tolist()):
            raise ValueError("a place is named twice: torch doesn't say which entry stays")
        return self.put(x, axis, places, part, add=False)

    def scatter_add(self, x: Array, dim: int, index: Array, src: Array) -> Array:
        return self.put(x, *self.scattered(x, dim, index, src), add=True)

    def scattered(self, x: Array, dim: int, index: Array, src: Array) -> tuple[int, Any, Array]:
        (axis,) = axes_of(x, dim)
        part = src if src.ndim else np.broadcast_to(src, index.shape)
        if index.ndim != x.ndim or part.shape != index.shape:
            raise ValueError("the index has as many dimensions as the array, and the shape of what is scattered")
        return axis, places_of(index, x.shape[axis]), part

    def put(self, x: Array, axis: int, places: Any, source: Array, add: bool) -> Array:
        """The array with other entries in some places, or with these added."""
        found = x.copy()
        for here in np.ndindex(source.shape):
            there = (*here[:axis], places[here], *here[axis + 1 :])
            new: Any = source[here]
            found[there] = self.node(syntax.ADD, found[there], new) if add else new
        return found

    def embedding(self, labels: Array, weight: Array) -> Array:
        return self.index_at(labels, weight, (LIST,))

    def unflatten(self, x: Array, dim: int, sizes: Shape) -> Array:
        (axis,) = axes_of(x, dim)
        return x.reshape(*x.shape[:axis], *sizes, *x.shape[axis + 1 :])

    def repeat_interleave(self, x: Array, repeats: Array, dim: Any) -> Array:
        count = repeats.item().value
        followed((x.size, count))
        return x.repeat(count, *axes_of(x, dim)) if isinstance(dim, int) else x.reshape(-1).repeat(count)

    def column_stack(self, *tensors: Array) -> Array:
        return np.column_stack(tensors)

    def index_select(self, x: Array, dim: int, index: Array) -> Array:
        if index.ndim > 1:
            raise ValueError("an index of one dimension is needed")
        return x.take(places_of(index, x.shape[dim]).reshape(-1), axis=dim)

    def gather(self, x: Array, dim: int, index: Array) -> Array:
        if index.ndim != x.ndim:
            raise ValueError("the index has as many dimensions as the array")
        numbers = places_of(index, x.shape[dim])
        inside = tuple(slice(n) if a != dim % x.ndim else slice(None) for a, n in enumerate(index.shape))
        return np.take_along_axis(x[inside], numbers, axis=dim)

    def one_hot(self, labels: Array, classes: Array) -> Array:
        numbers, count = places_of(labels, classes.item().value), classes.item().value
        found = self.zeros((*labels.shape, count))
        np.put_along_axis(found, numbers[..., None], np.array(Constant(1), dtype=object), axis=-1)
        return found

    def numel(self, x: Array) -> Array:
        return array_of([Constant(x.size)], ())

    def size(self, x: Array, dim: int) -> Array:
        if not x.ndim:
            raise ValueError("a number has no dimensions")
        return array_of([Constant(int(x.shape[axes_of(x, dim)[0]]))], ())

    def diff(self, x: Array, n: Array, dim: int) -> Array:
        (axis,) = axes_of(x, dim) or (0,)
        for _ in range(n.item().value):
            low, high = x.take(range(x.shape[axis] - 1), axis), x.take(range(1, x.shape[axis]), axis)
            pairs = zip(high.reshape(-1), low.reshape(-1), strict=True)
            x = array_of([self.node(syntax.SUB, a, b) for a, b in pairs], low.shape)
        return x

    def glu(self, x: Array, dim: int) -> Array:
        (axis,) = axes_of(x, dim) or (0,)
        if not x.ndim or x.shape[axis] % 2:
            raise ValueError("an even number of entries is halved")
        first, second = np.split(x, 2, axis=axis)
        pairs = zip(first.reshape(-1), second.reshape(-1), strict=True)
        return array_of([self.node(syntax.MUL, a, self.node(syntax.SIGMOID, b)) for a, b in pairs], first.shape)

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
        return np.full(followed(size), Constant(0), dtype=object)

    def ones(self, size: Shape) -> Array:
        return np.full(followed(size), Constant(1), dtype=object)

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
        followed((len(numbers),))
        return array_of([Constant(n) for n in numbers], (len(numbers),))

    def itself(self, x: Array) -> Array:
        return x

    def selected(self, x: Array, mask: Array) -> Any:
        if x.shape != mask.shape:
            raise ValueError("a condition chooses among entries of its own shape")
        return Chosen(x.reshape(-1), mask.reshape(-1))

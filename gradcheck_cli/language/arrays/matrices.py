"""Rows of linear algebra: determinants, solutions, factors, norms."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from itertools import combinations, product
from types import MappingProxyType
from typing import Any

import numpy as np

from gradcheck_cli.language import syntax
from gradcheck_cli.language.arrays.cells import (
    FACTORS,
    INFINITE,
    INSTEAD,
    MOST_EXPONENTIAL,
    Array,
    array_of,
    matrix_of,
    rows_of,
)
from gradcheck_cli.language.arrays.products import Products
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.printer import show
from gradcheck_cli.language.spaces import Shape
from gradcheck_cli.language.tree import Call, Constant, Node, indicator, rebuilt

MOST_FACTORS = 1000
"""Of a power of a matrix: as many as an integer among the settings of a function may be."""

NORMS: Mapping[Any, Node] = MappingProxyType({
    "fro": parse("sqrt(sum(x**2))"), "nuc": parse("sum(svdvals(x))"),
    2: parse("svdvals(x)[0]"), -2: parse("svdvals(x)[-1]"),
    1: parse("max(sum(abs(x), 0))"), -1: parse("min(sum(abs(x), 0))"),
    math.inf: parse("max(sum(abs(x), 1))"), -math.inf: parse("min(sum(abs(x), 1))"),
})  # fmt: skip
"""Norms of a matrix, by what torch calls them."""

_VECTOR = parse("norm(x, p)", settings=frozenset({"p"}))


class Matrices(Products):
    """The `array` column of linear algebra."""

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
        n = rows_of(x)
        return array_of([self.minors(m, range(n)) for m in x.reshape(-1, n, n)], x.shape[:-2])

    def inv(self, x: Array) -> Array:
        n = rows_of(x)
        found = []
        for m in x.reshape(-1, n, n):
            whole = self.minors(m, range(n))
            for i, j in product(range(n), repeat=2):
                others = [c for c in range(n) if c != i]
                minor = self.minors(np.delete(m, j, axis=0), others)
                found.append(self.node(syntax.DIV, self.signed(minor, i + j), whole))
        return array_of(found, x.shape)

    def matrix_power(self, x: Array, n: int) -> Array:
        rows_of(x)
        if abs(n) > MOST_FACTORS:
            raise ValueError(f"a power has at most {MOST_FACTORS:,} factors")
        if not n:
            one = np.full(x.shape, Constant(0), dtype=object)
            one[..., np.arange(x.shape[-1]), np.arange(x.shape[-1])] = Constant(1)
            return one
        return reduce(self.matmul, [x if n > 0 else self.inv(x)] * abs(n))

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
        for i, j in combinations(range(rows_of(x)), 2):
            pairs = zip(x[..., i, j].reshape(-1), x[..., j, i].reshape(-1), strict=True)
            mean = array_of([self.mean_of(a, b) for a, b in pairs], x.shape[:-2])
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
        rows_of(x)
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
        return array_of([self.node(syntax.ROOT, *reversed(terms), Constant(k)) for k in range(len(m))], (len(m),))

    def characteristic(self, m: Array) -> list[Node]:
        """The coefficients of the characteristic polynomial, the leading one first."""
        n = rows_of(m)
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
        return array_of(nodes, shape)

    def directions(self, m: Array, held: Array) -> Array:
        """The eigenvectors of a symmetric matrix as columns, each on the side of a held one. The adjugate of w - m, made of
        powers of w (Faddeev and LeVerrier), takes any vector to a multiple of that of the eigenvalue w; the sign of the
        multiple alternates, from the largest one on."""
        n, terms = rows_of(m), self.characteristic(m)
        found = []
        for k in range(n):
            value, column = self.node(syntax.ROOT, *reversed(terms), Constant(k)), held[:, k]
            powers = [column]
            for term in terms[1:-1]:
                moved = self.matmul(m, powers[-1])
                scaled = [self.node(syntax.MUL, term, g) for g in column]
                powers.append(array_of([self.node(syntax.ADD, a, b) for a, b in zip(moved, scaled, strict=True)], (n,)))
            vector = list(powers[0])
            for power in powers[1:]:
                pairs = zip(vector, power, strict=True)
                vector = [self.node(syntax.ADD, self.node(syntax.MUL, value, a), b) for a, b in pairs]
            size = self.length(vector)
            found.append([self.signed(self.node(syntax.DIV, a, size), n - 1 - k) for a in vector])
        return np.array(found, dtype=object).T

    def length(self, vector: Sequence[Node]) -> Node:
        return self.node(syntax.SQRT, self.fold(syntax.ADD, [self.node(syntax.MUL, a, a) for a in vector]))

    def qr_orthogonal(self, x: Array, mode: str) -> Array:
        return self.each_matrix(self.factored_as(x, mode), lambda m: self.orthogonalized(m)[0])

    def qr_triangular(self, x: Array, mode: str) -> Array:
        return self.each_matrix(self.factored_as(x, mode), lambda m: self.orthogonalized(m)[1])

    def factored_as(self, x: Array, mode: str) -> Array:
        """The matrix, if the factors of this mode are those that are reduced, and torch has their derivative."""
        if mode == "r":
            raise ValueError("torch has no derivative where mode='r' leaves Q out: mode='reduced' has both")
        if mode == "complete" and matrix_of(x).shape[-2] > x.shape[-1]:
            raise ValueError(
                "mode='reduced' is needed: no derivative is known of what mode='complete' adds to more rows than columns"
            )
        return matrix_of(x)

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
                rest = array_of([self.node(syntax.SUB, a, b) for a, b in zip(rest, taken, strict=True)], rest.shape)
            if j < rank:
                sign = self.node(syntax.DIV, held[j, j], self.node(syntax.ABS, held[j, j]))
                upper[j, j] = self.node(syntax.MUL, sign, self.length(list(rest)))
                columns.append(array_of([self.node(syntax.DIV, a, upper[j, j]) for a in rest], rest.shape))
        return np.stack(columns, axis=1), upper

    def lu_order(self, x: Array) -> Array:
        return self.each_matrix(matrix_of(x), lambda m: self.eliminated(m)[0].T)

    def lu_lower(self, x: Array) -> Array:
        return self.each_matrix(matrix_of(x), lambda m: self.eliminated(m)[1])

    def lu_upper(self, x: Array) -> Array:
        return self.each_matrix(matrix_of(x), lambda m: self.eliminated(m)[2])

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
        return self.each_matrix(matrix_of(x), lambda m: self.singular_vectors(m, full, left=True))

    def svd_right(self, x: Array, full: bool) -> Array:
        return self.each_matrix(matrix_of(x), lambda m: self.singular_vectors(m, full, left=False))

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
        return self.each_matrix(matrix_of(x), self.singular)

    def singular(self, m: Array) -> Array:
        wide = m if m.shape[0] <= m.shape[1] else m.T
        squares = self.spectrum(self.matmul(wide, wide.T))[::-1]
        return array_of([self.node(syntax.SQRT, s) for s in squares], squares.shape)

    def matrix_exp(self, x: Array) -> Array:
        if rows_of(x) > MOST_EXPONENTIAL:
            raise ValueError(f"the exponential of more than {MOST_EXPONENTIAL} rows; {INSTEAD}")
        return self.each_matrix(x, lambda m: array_of([
            self.node(syntax.EXPONENTIAL, *m.reshape(-1), *map(Constant, place)) for place in np.ndindex(m.shape)
        ], m.shape))  # fmt: skip

    def pinv(self, x: Array) -> Array:
        turned = matrix_of(x).swapaxes(-1, -2)
        if x.shape[-2] >= x.shape[-1]:
            return self.matmul(self.inv(self.matmul(turned, x)), turned)
        return self.matmul(turned, self.inv(self.matmul(x, turned)))

    def lstsq(self, x: Array, y: Array) -> Array:
        return self.matmul(self.pinv(x), matrix_of(y))

    def matrix_norm(self, x: Array, order: Any) -> Array:
        if order not in NORMS:
            raise ValueError("a matrix has the norms 1, -1, 2, -2, inf, -inf, 'fro' and 'nuc'")
        batch = [self.run(NORMS[order], {"x": m}, inside=True).item() for m in matrix_of(x).reshape(-1, *x.shape[-2:])]
        return array_of(batch, x.shape[:-2])

    def linalg_norm(self, x: Array, order: Any) -> Array:
        if order != () and x.ndim == 2:
            return self.matrix_norm(x, order)
        if isinstance(order, str) or (order != () and x.ndim != 1):
            raise ValueError("a norm with ord takes one dimension, or two")
        return self.run(_VECTOR, {"x": x, "p": array_of([_number(2 if order == () else order)], ())}, inside=True)

    def pdist(self, x: Array, p: Array) -> Array:
        pairs = [
            array_of([self.node(syntax.SUB, a, b) for a, b in zip(u, v, strict=True)], u.shape) for u, v in combinations(x, 2)
        ]
        if not pairs:
            raise ValueError("two rows are needed")
        return array_of([self.run(_VECTOR, {"x": d, "p": p}, inside=True).item() for d in pairs], (len(pairs),))

    def cond(self, x: Array, order: Any) -> Array:
        if order in ((), 2, -2):
            values = self.svdvals(x)
            ends = (values[..., -1], values[..., 0]) if order == -2 else (values[..., 0], values[..., -1])
        else:
            ends = (self.matrix_norm(x, order), self.matrix_norm(self.inv(x), order))
        pairs = zip(*(np.asarray(end, dtype=object).reshape(-1) for end in ends), strict=True)
        join = syntax.DIV if order in ((), 2, -2) else syntax.MUL
        return array_of([self.node(join, *pair) for pair in pairs], x.shape[:-2])


def _number(value: float) -> Node:
    """A number as it is written."""
    if math.isinf(value):
        return INFINITE if value > 0 else Call(syntax.NEG, (INFINITE,))
    return Constant(value)


def sorted_terms(tree: Node) -> Node:
    """An equal tree with the arguments of sums and products in one order."""

    def ordered(call: Call) -> Call:
        several = call.function in (syntax.ADD, syntax.MUL)
        return Call(call.function, tuple(sorted(call.arguments, key=_text))) if several else call

    return rebuilt(tree, ordered)


def _text(tree: Node) -> str:
    return show(tree) or ""

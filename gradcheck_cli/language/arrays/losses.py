"""Losses of scores by classes, as torch means them: labels or probabilities, weights, what is ignored, what is smoothed."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from gradcheck_cli.language import syntax
from gradcheck_cli.language.arrays.cells import Array, array_of
from gradcheck_cli.language.arrays.ranks import Ranks
from gradcheck_cli.language.constants import exact_constant
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.tree import Constant, Node

_LOG_SOFTMAX = parse("log_softmax(x)")
_ONE, _NONE = Constant(1), Constant(0)


class Losses(Ranks):
    """The `array` column of losses by classes."""

    def nll_loss(self, x: Array, target: Array, weight: Array, ignore_index: int, reduction: str) -> Array:
        if target.shape == x.shape:
            raise ValueError("nll_loss takes labels: one place for each row of scores")
        return self.classified(by_class(x), by_class(target, x), weight, ignore_index, reduction, _NONE)

    def cross_entropy(
        self, x: Array, target: Array, weight: Array, ignore_index: int, reduction: str, label_smoothing: Array
    ) -> Array:
        """Targets of the scores' own shape are probabilities."""
        if not x.ndim:
            raise ValueError("scores have a dimension of classes")
        if target.shape == x.shape and ignore_index >= 0:
            raise ValueError("ignore_index goes with labels, not with probabilities")
        scores = self.run(_LOG_SOFTMAX, {"x": by_class(x)}, inside=True)
        return self.classified(scores, by_class(target, x), weight, ignore_index, reduction, label_smoothing.item())

    def classified(
        self, scores: Array, target: Array, weight: Array, ignore_index: int, reduction: str, smoothing: Node
    ) -> Array:
        """Minus the mean, by weights, of the scores that the targets choose; classes are the last dimension."""
        classes = scores.shape[-1]
        if weight.ndim and weight.shape != (classes,):
            raise ValueError(f"a weight for each of {classes} classes is needed")
        weights = [weight.item()] * classes if not weight.ndim else list(weight)
        soft = target.shape == scores.shape
        shape = scores.shape[:-1]
        shares = target if soft else self.labelled(target, shape, classes, ignore_index)
        losses: list[Node] = []
        counted: list[Node] = []
        for row, parts in zip(scores.reshape(-1, classes), shares.reshape(-1, classes), strict=True):
            ignored = not soft and _ONE not in parts
            terms = [] if ignored else self.terms(row, [self.smooth(p, smoothing, classes) for p in parts], weights)
            losses.append(self.node(syntax.NEG, self.fold(syntax.ADD, terms)) if terms else _NONE)
            counted += [_ONE] if soft else [w for w, p in zip(weights, parts, strict=True) if p == _ONE]
        if reduction == "none":
            return array_of(losses, shape)
        total = self.fold(syntax.ADD, losses)
        if reduction == "mean":
            total = self.node(syntax.DIV, total, self.fold(syntax.ADD, counted) if counted else _NONE)
        elif reduction != "sum":
            raise ValueError("a loss by classes is reduced by 'mean', 'sum' or 'none'")
        return array_of([total], ())

    def labelled(self, target: Array, shape: tuple[int, ...], classes: int, ignore_index: int) -> Array:
        """Labels as shares: 1 at the label, none where it is ignored."""
        if target.shape != shape:
            raise ValueError("labels take one place for each row of scores")
        numbers = [exact_constant(node) for node in target.reshape(-1)]
        rows = []
        for number in numbers:
            if not isinstance(number, Fraction) or number.denominator != 1 or number < 0 and number != ignore_index:
                raise ValueError("labels are whole numbers from 0 on")
            if number != ignore_index and number >= classes:
                raise ValueError(f"label {number} is out of range")
            rows.append([_ONE if number == c != ignore_index else _NONE for c in range(classes)])
        return array_of([share for row in rows for share in row], (*shape, classes))

    def smooth(self, share: Node, smoothing: Node, classes: int) -> Node:
        """A share, part of which goes to all classes alike."""
        if smoothing == _NONE:
            return share
        everywhere = self.node(syntax.DIV, smoothing, Constant(classes))
        kept = self.node(syntax.MUL, self.node(syntax.SUB, _ONE, smoothing), share)
        return everywhere if share == _NONE else self.node(syntax.ADD, kept, everywhere)

    def terms(self, row: Array, shares: list[Any], weights: list[Node]) -> list[Node]:
        found = []
        for score, *factors in zip(row, shares, weights, strict=True):
            if _NONE not in factors:
                found.append(self.fold(syntax.MUL, [*(f for f in factors if f != _ONE), score]))
        return found


def by_class(x: Array, scores: Array | None = None) -> Array:
    """An array with its dimension of classes, the second of several, behind all others; labels have none."""
    whole = x if scores is None else scores
    return np.moveaxis(x, 1, -1) if x.ndim > 1 and x.shape == whole.shape else x

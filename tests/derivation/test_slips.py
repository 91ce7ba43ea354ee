"""Slips: what is said of a wrong claim is true, far from the points at which it was found too."""

from __future__ import annotations

import random
from typing import Any

from flint import arb

from gradcheck_cli.algebra.number import is_ball
from gradcheck_cli.derivation.at import At
from gradcheck_cli.derivation.slips import Slip, missed, slips
from gradcheck_cli.derivation.steps import Step, Unknown, derive, stage, variable
from gradcheck_cli.derivation.tidy import filled
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.tree import Node, variables
from tests.expressions import random_formula

POINTS = ({"x": 0.61, "y": 1.3}, {"x": 0.67, "y": 1.21})
FAR = {"x": 0.83, "y": 1.52}


def at(point: dict[str, float]) -> At:
    return At({n: arb(v) for n, v in point.items()})


def claimed(order: list[Step], slip: Slip) -> Node:
    """The derivative of one who makes the slip, rule by rule."""
    done: dict[int, Node] = {}
    for step in order:
        parts = {letter: done[id(part)] for letter, part in step.parts.items()}
        done[id(step)] = slip.wrong if step is slip.step else filled(step.rule.formula, {**step.operands, **parts})
    return done[id(order[-1])]


def value(tree: Node, point: dict[str, float]) -> Any:
    found = at(point)(tree)
    return found if is_ball(found) and found.is_finite() else None


def test_what_is_said_is_so() -> None:
    """Of random formulas, each with slips of its derivation for a claim: where a sentence is said, a slip of that one gives
    the claim at a third point, too."""
    rng, said = random.Random(5), 0
    for _ in range(60):
        tree = parse(random_formula(rng, 2))
        name = next(iter(variables(tree)), "x")
        try:
            root, *others = [derive(tree, {name: variable(name)}, at(p)) for p in (*POINTS, FAR)]
        except Unknown:
            continue
        if any(other.result != root.result for other in others):
            continue  # the points lie on different pieces
        order = list(root.every())
        every = list(slips(order))
        for slip in rng.sample(every, min(5, len(every))):
            claim = claimed(order, slip)
            values = [value(claim, point) for point in (*POINTS, FAR)]
            exact = [value(root.result, point) for point in (*POINTS, FAR)]
            if None in values or None in exact:
                continue
            text = missed(root, [(at(p), v) for p, v in zip(POINTS, values, strict=False)])
            wrong = not any(v.overlaps(e) for v, e in zip(values, exact, strict=True))
            assert text is None or wrong
            if text is not None:
                same = [value(claimed(order, other), FAR) for other in every if other.text == text]
                assert any(v is not None and v.overlaps(values[2]) for v in same), (text, slip.text)
                said += 1
    assert said > 60


def test_a_right_claim_misses_nothing() -> None:
    """Nor does one that no single slip makes."""
    root = derive(parse("sin(3*x)*x"), {"x": variable("x")})
    for text in ("sin(3*x) + 3*x*cos(3*x)", "x + 17"):
        assert missed(root, [(at(p), value(parse(text), p)) for p in POINTS]) is None


def test_ways_through_a_chain() -> None:
    """A way that is left out, a stage's derivative that is missing, an outer derivative at the wrong place."""
    x = variable("x")
    z = stage("z", derive(parse("x**2"), {"x": x}))
    root = derive(parse("z**2 + sin(x)"), {"x": x, "z": z})

    def text(claim: str) -> str | None:
        points = []
        for point in POINTS:
            here = at({"x": point["x"], "z": point["x"] ** 2})
            points.append((here, here(parse(claim))))
        return missed(root, points)

    assert text("cos(x)") == "the derivative 4*z*x of the term z**2 is missing"
    assert text("2*z + cos(x)") == "the inner derivative 2*x of z**2 is missing"
    assert text("2*x*2*x + cos(x)") == "the derivative of z**2 + sin(x) by z, 2*z, is taken at x, not at z = x**2"
    assert text("4*x*z") == "the derivative cos(x) of the term sin(x) is missing"

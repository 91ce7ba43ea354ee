"""Custom Functions with the right backward pass; every slip that is planted in one is refuted, with the cause `formula`."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gradcheck_cli import GradcheckError, check_function, gradcheck
from gradcheck_cli.maps.check import check_map
from gradcheck_cli.maps.map import Map, random_row
from gradcheck_cli.maps.probe import Options
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.verdicts import Cause, Verdict
from tests.custom_functions import GENERAL, SUBJECTS, Subject
from tests.custom_functions.elementwise import SiLU

pytestmark = pytest.mark.slow(reason="hundreds of wrong backwards")

FLOAT32 = [f"relative 1e-{k}" for k in range(7, 13)]
"""Slips of less than a few roundings of float32."""


def as_map(subject: Subject, function: Any, dtype: torch.dtype = torch.float64) -> Map:
    """A Function as a map of its floating-point inputs."""
    tensors = subject.tensors(dtype)

    def call(leaves: Any) -> dict[str, torch.Tensor]:
        found = function.apply(*[leaves.get(name, x) for name, x in tensors.items()])
        return {f"y{i}": y for i, y in enumerate(found)} if isinstance(found, tuple) else {"y": found}

    return Map({name: x for name, x in tensors.items() if x.is_floating_point()}, call)


def columns(map: Map) -> list[Column]:
    """The gradient by all inputs, judged."""
    return check_map(map, [random_row(map(map.leaves()), 0)], Options()).columns


def each() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("subject", SUBJECTS, ids=lambda s: s.name)


def test_the_corpus_is_large() -> None:
    """At least 40 Functions, 350 slips."""
    assert len({s.name for s in SUBJECTS}) >= 40
    assert sum(len(s.mutants) for s in SUBJECTS) >= 350


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@each()
def test_right(subject: Subject, dtype: torch.dtype) -> None:
    """The right backward is never refuted, and certified in float64."""
    verdicts = {column.verdict(i) for column in columns(as_map(subject, subject.function, dtype)) for i in range(len(column))}
    passing = {Verdict.MATCH} if dtype is torch.float64 else {Verdict.MATCH, Verdict.IMPRECISE}
    assert verdicts <= passing


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@each()
def test_slips(subject: Subject, dtype: torch.dtype, whole: bool) -> None:
    """Each slip is refuted as a formula, in every column with a mismatch: half of them, in float32 a third, of each Function
    other ones; all where the sweep is whole."""
    turn, part = SUBJECTS.index(subject), 3 if dtype is torch.float32 else 2
    for number, (slip, mutant) in enumerate(subject.mutants.items()):
        if (dtype is torch.float32 and slip in FLOAT32) or not (whole or number % part == turn % part):
            continue
        wrong = [c for c in columns(as_map(subject, mutant, dtype)) if c.verdict(c.worst()) is Verdict.MISMATCH]
        assert wrong, f"{slip} is missed"
        assert {c.details[c.worst()].cause for c in wrong} == {Cause.FORMULA}, slip


@each()
def test_drop_in(subject: Subject) -> None:
    """The drop-in says the same of the right backward and of a wrong one."""
    inputs = [x.requires_grad_(x.is_floating_point()) for x in subject.tensors().values()]
    assert gradcheck(subject.function.apply, inputs)
    slip, mutant = next(iter(subject.mutants.items()))
    with pytest.raises(GradcheckError):
        gradcheck(mutant.apply, inputs)
    assert slip == "missing upstream"  # the first of GENERAL: right for the cotangent 1


@pytest.mark.parametrize("slip", ["scaled by 1.01", "zeroed", "one entry", "shifted index"])
def test_many_entries(slip: str) -> None:
    """A slip among 2,000 entries is found and located: torch's fast mode accepts some of these."""
    wrong = type("Wrong", (SiLU,), {"backward": staticmethod(GENERAL[slip](SiLU.backward))})
    x = torch.linspace(-4, 4, 2000, dtype=torch.float64)
    report = check_function(wrong, at={"x": x})
    assert report.verdict == "mismatch"
    worst = next(c for c in report.checks if c.verdict == "mismatch")
    assert worst.cause == "formula"
    if slip == "one entry":
        assert worst.quantity == "d<v,y>/dx[1000]"


def test_masked_slips() -> None:
    """Errors that cancel in the whole, or that are multiplied by 0 or saturated there, are refuted by checking the part."""

    def part(factor: float) -> Any:
        return type("Part", (SiLU,), {"backward": staticmethod(lambda ctx, g: SiLU.backward(ctx, g) * factor)})

    twice, half = part(2.0), part(0.5)
    x = {"x": torch.tensor([0.3, -1.2], dtype=torch.float64)}
    assert not check_function(twice, at=x).ok
    assert not check_function(half, at=x).ok
    # In the whole it's hidden: the derivative of the composition is right.
    assert check_function(lambda x: 0 * twice.apply(x), at=x).ok
    assert check_function(lambda x: torch.relu(twice.apply(x) - 5), at=x).ok

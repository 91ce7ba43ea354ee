"""The nouns of a problem, frozen: what is to be checked, before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from gradcheck_cli.language.chain import Chain
from gradcheck_cli.language.spaces import OfParts
from gradcheck_cli.language.tree import Node
from gradcheck_cli.verdict.limits import Limits

if TYPE_CHECKING:
    from gradcheck_cli.language.spaces import PointSpec

MAX_ORDER = 6


@dataclass(frozen=True, slots=True)
class Claim:
    """A derivative of `of`, an output, that the user derived by hand: `wrt` names what it is differentiated by."""

    text: str
    of: str
    wrt: tuple[str, ...]
    tree: Node


@dataclass(frozen=True, slots=True)
class Question:
    """`derivatives` of one number, the output of a scalar chain: tuples of names, applied from left to right."""

    chain: Chain
    derivatives: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Task:
    """One chain as typed, which torch runs, and what is asked of it.

    Where all is scalar there is one question, and all points are one batch. A chain on arrays has `shapes`, those of its
    stages and of all inputs, and one question for each entry of its output (see `lowering`). `unlisted`: entries that an output
    can't depend on aren't derivatives in question; torch's are looked at all the same.
    """

    chain: Chain
    questions: tuple[Question, ...]
    shapes: Mapping[str, tuple[int, ...]] | None = None
    unlisted: bool = False

    @property
    def complex(self) -> bool:
        """Whether some input or stage is complex."""
        return any(isinstance(shape, OfParts) for shape in (self.shapes or {}).values())


@dataclass(frozen=True, slots=True)
class Problem:
    """One command's whole question.

    `local`: check every stage's own derivative too. `claims` are about derivatives of the first task's outputs. `callables`
    replaces torch's operation for rows of the function table (a custom autograd.Function's apply, for example). `timeout` in
    seconds for the whole run.
    """

    command: str
    tasks: tuple[Task, ...]
    points: PointSpec
    local: bool = False
    formats: tuple[str, ...] = ("float64",)
    modes: tuple[str, ...] = ("reverse",)
    device: str = "cpu"
    claims: tuple[Claim, ...] = ()
    limits: Limits = field(default_factory=Limits)
    strict: bool = False
    timeout: float = 600.0
    verbose: bool = False
    callables: Mapping[str, Callable[..., Any]] = field(default_factory=lambda: MappingProxyType({}))

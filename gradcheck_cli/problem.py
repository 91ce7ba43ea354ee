"""The nouns of the project, frozen: what is to be checked, before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from gradcheck_cli.errors import InputError
from gradcheck_cli.language.functions import NAMES, TABLE
from gradcheck_cli.language.parser import parse_stage
from gradcheck_cli.language.points import PointSpec
from gradcheck_cli.language.tree import Node, Variable, substitute, variables

MODES = ("reverse", "grad", "forward", "func")
MAX_STAGES = 20_000
MAX_ORDER = 6


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a chain. `inputs` are names of problem inputs or of earlier stages; `expression` is the text as typed."""

    name: str
    expression: str
    tree: Node
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """Stages in order of evaluation; the last one is the output. `inputs`: the free names, in order of appearance."""

    inputs: tuple[str, ...]
    stages: tuple[Stage, ...]

    @property
    def output(self) -> str:
        return self.stages[-1].name

    def composed(self) -> Node:
        """The whole chain as one tree (its shared parts stay shared)."""
        trees: dict[str, Node] = {}
        for stage in self.stages:
            trees[stage.name] = substitute(stage.tree, trees)
        return trees[self.output]


@dataclass(frozen=True, slots=True)
class Claim:
    """A derivative that the user derived by hand: `wrt` names what the output is differentiated by."""

    text: str
    wrt: tuple[str, ...]
    tree: Node


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The user's own limits: allclose's `rtol` and `atol`, or `ulps`. They replace the built-in judgement."""

    rtol: float | None = None
    atol: float | None = None
    ulps: float | None = None

    @property
    def given(self) -> bool:
        return not (self.rtol is None and self.atol is None and self.ulps is None)


@dataclass(frozen=True, slots=True)
class Problem:
    """One command's whole question.

    `derivatives` lists what is asked of the output: tuples of names, applied from left to right. `local`: check every
    stage's own derivative too. `callables` replaces torch's operation for rows of the function table (a custom
    autograd.Function's apply, for example). `timeout` in seconds for the whole run.
    """

    command: str
    chain: Chain
    derivatives: tuple[tuple[str, ...], ...]
    points: PointSpec
    local: bool = False
    formats: tuple[str, ...] = ("float64",)
    modes: tuple[str, ...] = ("reverse",)
    device: str = "cpu"
    claim: Claim | None = None
    tolerance: Tolerance = Tolerance()
    strict: bool = False
    timeout: float = 600.0
    verbose: bool = False
    callables: Mapping[str, Callable[..., Any]] = field(default_factory=lambda: MappingProxyType({}))


def link(texts: Sequence[str]) -> Chain:
    """The chain that the stage texts mean; each text may hold several stages separated by `|`.

    A stage that names no earlier stage binds its one unknown name (or its only name) to the stage before. Raises
    InputError, listing the candidates, where that is ambiguous.
    """
    pieces = [piece for text in texts for piece in _split(text)]
    if not pieces:
        raise InputError("the chain is empty: give at least one expression")
    if len(pieces) > MAX_STAGES:
        raise InputError(f"the chain has {len(pieces):,} stages; at most {MAX_STAGES:,} are checked")
    parsed = [(*parse_stage(text, whole, offset), text.strip(), whole, offset) for text, whole, offset in pieces]
    explicit = {name for name, *_ in parsed if name is not None}
    inputs: dict[str, None] = {}
    stages: list[Stage] = []
    known: dict[str, str] = {}  # what the user may call a stage -> the stage's name
    bound: list[str | None] = []  # the name by which stage i + 1 calls stage i
    trees: list[Node] = []
    taken = set(explicit)
    for index, (name, tree, _text, whole, offset) in enumerate(parsed):
        free = variables(tree)
        binding = None
        if index:
            previous = parsed[index - 1][0]
            unknown = [n for n in free if n not in inputs and n not in known]
            if previous is not None and previous in free:
                pass
            elif len(free) == 1 and not (free[0] in known and free[0] in explicit):
                binding = free[0]
            elif len(unknown) == 1:
                binding = unknown[0]
            elif unknown or not any(n in known for n in free):
                names = ", ".join(unknown or free) or "no name at all"
                raise InputError(
                    f"stage {index + 1} is ambiguous: which of {names} is the stage before? "
                    "Name the stages: \"z = ...\" \"y = ...\"",
                    whole, _first(tree, unknown or list(free), offset),
                )  # fmt: skip
            elif previous is None:
                raise InputError(
                    f"stage {index + 1} doesn't use the stage before; name the stages: \"z = ...\" \"y = ...\"", whole, offset
                )
        bound.append(binding)
        if name is not None:
            if name in known or name in inputs or name in free:
                raise InputError(f"the name {name!r} is taken: an input or an earlier stage is called so", whole, offset)
            known[name] = name
        for n in free:
            if n != binding and n not in known:
                if n in explicit:
                    raise InputError(f"{n!r} is used before its stage", whole, _first(tree, [n], offset))
                inputs.setdefault(n)
        trees.append(tree)
    taken |= set(inputs)
    names: list[str] = []
    for index, (name, *_rest) in enumerate(parsed):
        if name is None:
            last = index == len(parsed) - 1
            wish = ["y", "f", "out"] if last else [b for b in (bound[index + 1],) if b]
            name = next((w for w in wish if w not in taken and w not in _CONSTANTS), None)
            number = index + 1
            while name is None or name in taken:
                name, number = f"s{number}", number + len(parsed)
        names.append(name)
        taken.add(name)
    for index, (_name, _tree, text, _whole, _offset) in enumerate(parsed):
        tree, binding = trees[index], bound[index]
        if binding is not None:
            tree = substitute(tree, {binding: Variable(names[index - 1])})
        expression = text.partition("=")[2].strip() if parsed[index][0] is not None else text
        stages.append(Stage(names[index], expression, tree, variables(tree)))
    if not inputs:
        raise InputError("there is no variable to differentiate by", texts[0], 0)
    return Chain(tuple(inputs), tuple(stages))


_CONSTANTS = frozenset(n for n in NAMES if not TABLE[NAMES[n]].signature)


def _first(tree: Node, names: Sequence[str], offset: int) -> int:
    from gradcheck_cli.language.tree import walk

    return min((n.position for n in walk(tree) if isinstance(n, Variable) and n.name in names), default=offset)


def _split(text: str) -> list[tuple[str, str, int]]:
    """The stages in one text: (stage, the whole text, where the stage begins in it)."""
    pieces, start = [], 0
    for piece in text.split("|"):
        if not piece.strip():
            raise InputError("a stage is empty", text, min(start, max(len(text) - 1, 0)))
        pieces.append((piece, text, start))
        start += len(piece) + 1
    return pieces


def derivative_name(of: str, wrt: Sequence[str]) -> str:
    """`dy/dx`, `d2f/dxdy`: the first name is the first derivative taken."""
    order = "" if len(wrt) == 1 else str(len(wrt))
    return f"d{order}{of}/" + "".join(f"d{name}" for name in wrt)

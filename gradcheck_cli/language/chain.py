"""Chains: stages of formulas, linked by name, as they are typed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from itertools import chain as chain_of
from itertools import count
from typing import Any

from gradcheck_cli.errors import InputError
from gradcheck_cli.language.functions import TABLE
from gradcheck_cli.language.parser import parse_stage
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, substitute, variables, walk

MAX_STAGES = 20_000


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a chain. `inputs`: names of problem inputs or of earlier stages; `expression`: the text as typed;
    `source`: the longer text, in which the tree's positions count."""

    name: str
    expression: str
    tree: Node
    inputs: tuple[str, ...]
    source: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Chain:
    """Stages in order of evaluation; the last one is the output. `inputs`: the free names, in order of appearance."""

    inputs: tuple[str, ...]
    stages: tuple[Stage, ...]

    @property
    def output(self) -> str:
        return self.stages[-1].name

    @property
    def on_arrays(self) -> bool:
        """True where some function looks at whole arrays, whatever the inputs' shapes, or some number is complex."""
        return any(_on_arrays(node) for stage in self.stages for node in walk(stage.tree))

    def substituted(self, values: Mapping[str, Node]) -> Chain:
        """The chain with some inputs replaced by constants."""
        trees = [substitute(stage.tree, values) for stage in self.stages]
        stages = [replace(s, tree=tree, inputs=variables(tree)) for s, tree in zip(self.stages, trees, strict=True)]
        return Chain(tuple(name for name in self.inputs if name not in values), tuple(stages))

    def composed(self) -> Node:
        """The whole chain as one tree (its shared parts stay shared)."""
        trees: dict[str, Node] = {}
        for stage in self.stages:
            trees[stage.name] = substitute(stage.tree, trees)
        return trees[self.output]


def _on_arrays(node: Node) -> bool:
    if isinstance(node, Constant):
        return isinstance(node.value, complex)
    return isinstance(node, Call) and TABLE[node.function].arrays


def texts_of(given: Any) -> list[str]:
    """Expressions as Python gives them: a text, or a list of texts; SymPy's expressions are what they print."""
    found = [
        str(one) if hasattr(one, "free_symbols") else one for one in (given if isinstance(given, list | tuple) else [given])
    ]
    for one in found:
        if not isinstance(one, str):
            hint = ": check_function checks a function" if callable(one) else ""
            raise InputError(f"an expression is a text, such as 'x**2', not {type(one).__name__}{hint}")
    return found


def link(texts: Sequence[str], output: str = "y", imaginary: frozenset[str] | None = None) -> Chain:
    """The chain that the stage texts mean; each text may hold several stages separated by `|`.

    Every stage but the last is used by a later one. A stage calls the stage before by its name; where that has none, or
    isn't mentioned by a stage without a name, one name *binds* to it: the only name there is, or the only one that is
    neither an input nor an earlier stage. `output` is the last stage's name, if it has none and that is free. `imaginary`: see
    `parser.parse`.
    InputError, with a list of the candidates, where more than one may be meant.
    """
    parsed = [_parse(piece, imaginary) for text in texts for piece in _split(text)]
    if not parsed:
        raise InputError("the chain is empty: give at least one expression")
    if len(parsed) > MAX_STAGES:
        raise InputError(f"the chain has {len(parsed):,} stages; at most {MAX_STAGES:,} are checked")
    inputs: dict[str, None] = {}
    bound: list[str | None] = []  # the name by which stage i calls stage i - 1, where it isn't its own
    labels: set[str] = set()  # all of these
    places = {p.name: i for i, p in enumerate(parsed) if p.name is not None}
    known: set[str] = set()  # names of earlier stages
    used: set[int] = set()
    for index, stage in enumerate(parsed):
        binding = _binding(parsed, index, inputs, known, labels) if index else None
        bound.append(binding)
        for name in stage.free:
            if name == binding:
                if name in places:
                    raise stage.error(f"{name!r} is the stage before here, and the name of a later stage", name)
                labels.add(name)
                used.add(index - 1)
            elif name == stage.name:
                raise stage.error(f"stage {name!r} uses itself", name)
            elif name in known:
                used.add(places[name])
            elif name in places:
                raise stage.error(f"{name!r} is used before its stage", name)
            elif name in labels and name not in inputs:
                raise stage.error(f"{name!r} is ambiguous: a stage above calls the one before it so. {_NAME_THEM}", name)
            else:
                inputs.setdefault(name)
        if stage.name is not None:
            if stage.name in known or stage.name in inputs:
                taken = "an earlier stage" if stage.name in known else "an input"
                raise stage.error(f"a stage can't be called {stage.name!r}: {taken} is called so")
            known.add(stage.name)
    idle = next((i for i in range(len(parsed) - 1) if i not in used), None)
    if idle is not None:
        called = parsed[idle].name or f"{idle + 1}"
        raise parsed[idle].error(f"no later stage uses stage {called}, so the output doesn't depend on it")
    if not inputs:
        raise InputError("there is no variable to differentiate by", texts[0], 0)
    names = _stage_names(parsed, bound, set(inputs) | known, output)
    stages = []
    for index, (stage, binding) in enumerate(zip(parsed, bound, strict=True)):
        tree = stage.tree if binding is None else substitute(stage.tree, {binding: Variable(names[index - 1])})
        stages.append(Stage(names[index], stage.expression, tree, variables(tree), stage.whole))
    return Chain(tuple(inputs), tuple(stages))


_NAME_THEM = 'Name the stages: "z = ..." "y = ...z..."'


@dataclass(frozen=True, slots=True)
class _Parsed:
    """One stage as typed: `whole` is the text it stands in, from `offset` on."""

    name: str | None
    tree: Node
    expression: str
    free: tuple[str, ...]
    whole: str
    offset: int

    def error(self, message: str, *names: str) -> InputError:
        """Points at the first of the names in the stage, or at the stage."""
        places = [n.position for n in walk(self.tree) if isinstance(n, Variable) and n.name in names]
        return InputError(message, self.whole, min(places, default=self.offset))


def _parse(piece: tuple[str, str, int], imaginary: frozenset[str] | None) -> _Parsed:
    text, whole, offset = piece
    name, tree = parse_stage(text, whole, offset, imaginary=imaginary)
    expression = text if name is None else text.partition("=")[2]
    return _Parsed(name, tree, expression.strip(), variables(tree), whole, offset + len(text) - len(text.lstrip()))


def _binding(
    parsed: Sequence[_Parsed], index: int, inputs: Mapping[str, None], known: Set[str], labels: Set[str]
) -> str | None:
    """The name by which a stage calls the stage before; None where it uses its own name, or only others."""
    stage, previous = parsed[index], parsed[index - 1].name
    free = stage.free
    if previous is not None and (previous in free or stage.name is not None):
        return None
    if len(free) == 1 and free[0] not in known:
        return free[0]
    candidates = [n for n in free if n not in inputs and n not in known]
    if len(free) > 1 and len(candidates) == 1 and candidates[0] not in labels:
        return candidates[0]
    if previous is not None and not candidates and len(free) > 1:
        return None
    which = " or ".join(candidates or free)
    if not free:
        message = f"stage {index + 1} doesn't use the stage before"
    elif len(candidates) == 1 or len(free) == 1:
        message = f"stage {index + 1} is ambiguous: {which} may be the stage before or an earlier one"
    else:
        message = f"stage {index + 1} is ambiguous: the stage before may be {which}"
    raise stage.error(f"{message}. {_NAME_THEM}", *(candidates or free))


def _stage_names(parsed: Sequence[_Parsed], bound: Sequence[str | None], taken: set[str], output: str) -> list[str]:
    """A name for every stage: its own, else what the next stage calls it; `output`, y, f or out for the last; else a number."""
    names: list[str] = []
    for index, stage in enumerate(parsed):
        name = stage.name
        if name is None:
            following = bound[index + 1 : index + 2]
            wishes = [b for b in following if b] if following else [output, "y", "f", "out"]
            numbered = (f"s{number}" for number in count(index + 1, len(parsed)))
            name = next(wish for wish in chain_of(wishes, numbered) if wish not in taken)
        names.append(name)
        taken.add(name)
    return names


def _split(text: str) -> list[tuple[str, str, int]]:
    """The stages in one text: (stage, the whole text, where the stage begins in it)."""
    pieces, start = [], 0
    for piece in text.split("|"):
        if not piece.strip():
            hint = "; an absolute value is abs(x)" if re.fullmatch(r"[^|]*\|[^|]+\|[^|]*", text) else ""
            raise InputError(f"a stage is empty{hint}", text, min(start, max(len(text) - 1, 0)))
        pieces.append((piece, text, start))
        start += len(piece) + 1
    return pieces


def derivative_name(of: str, wrt: Sequence[str]) -> str:
    """`dy/dx`, `d2f/dxdy`: the first name is the first derivative taken."""
    order = "" if len(wrt) == 1 else str(len(wrt))
    return f"d{order}{of}/" + "".join(f"d{name}" for name in wrt)

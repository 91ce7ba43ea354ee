"""Functions as torch.compile runs them: made once, run once before anything is judged, and told what became of them.

The compiled function and the one as it was written are one map each, with one truth: the derivative of what was written. The
shadow follows both as they were written, for Dynamo sees no dispatch mode.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from gradcheck_cli.errors import InputError, nearest, words
from gradcheck_cli.maps.map import Map, Row, run
from gradcheck_cli.maps.meant import Meant
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.verdicts import Verdict
from gradcheck_cli.verdict.work import Recorder

PLAIN = "the code as it was written"
COMPILED = "what torch.compile made of it"

SHOWN = 3
"""Graph breaks whose reasons are told."""


def check_backend(backend: str | Callable[..., Any]) -> None:
    """InputError where torch.compile has no such backend, or can't run here at all."""
    if not isinstance(backend, str):
        return
    from torch._dynamo import list_backends

    known = list_backends(exclude_tags=())
    if backend not in known:
        plain = [name for name in list_backends() if name in known]
        near = nearest(backend, [*plain, "eager", "aot_eager"])
        raise InputError(f"torch.compile has no backend {backend!r}{near}", backend, 0)


def name_of(backend: Any) -> str:
    """What it is called, for the reader."""
    return backend if isinstance(backend, str) else getattr(backend, "__name__", type(backend).__name__)


def compiled(function: Callable[..., Any], backend: Any) -> Callable[..., Any]:
    """The function, compiled when it first runs."""
    return torch.compile(function, backend=backend)


@contextmanager
def counted() -> Iterator[list[str]]:
    """What Dynamo makes of what first runs within: nothing it knows from before counts. Filled in at the end: notes."""
    import torch._dynamo as dynamo
    from torch._functorch import config as functorch

    dynamo.reset()
    before = _counts()
    notes: list[str] = []
    with functorch.patch(donated_buffer=False):  # a graph is pulled back more than once here, as with retain_graph=True
        yield notes
    breaks, graphs = _counts()
    new = {reason: n - before[0].get(reason, 0) for reason, n in breaks.items() if n > before[0].get(reason, 0)}
    made = graphs - before[1]
    if not made:
        notes.append("torch.compile captured nothing: the function runs as it was written")
    if new:
        reasons = "; ".join(reason.strip().splitlines()[0][:120] for reason in list(new)[:SHOWN])
        more = f"; {len(new) - SHOWN} more" if len(new) > SHOWN else ""
        notes.append(f"torch.compile broke the graph {sum(new.values())} times, into {made} graphs: {reasons}{more}")


@contextmanager
def counted_by(recorder: Recorder, backend: Any) -> Iterator[None]:
    """The same, told to the reader, where something is compiled."""
    if backend is None:
        yield
        return
    with counted() as notes:
        yield
    recorder.note(*notes)


def _counts() -> tuple[dict[str, int], int]:
    from torch._dynamo.utils import counters

    return dict(counters["graph_break"]), int(counters["stats"]["unique_graphs"])


@contextmanager
def recompiling() -> Iterator[list[str]]:
    """How often Dynamo compiles again within, after a first run; filled in at the end."""
    from torch._dynamo.utils import counters

    before, notes = int(counters["stats"]["unique_graphs"]), list[str]()
    yield notes
    again = int(counters["stats"]["unique_graphs"]) - before
    if again:
        notes.append(f"torch.compile compiled {again} more graphs as the check went on, which its time includes")


def labelled(mode: str, backend: str) -> str:
    """What is said of the mode."""
    return f"{mode} ({backend})"


def as_written(plain: Any, name: str = PLAIN) -> Meant:
    """What a compiled map ought to compute, from what was `Found` of the one as it was written."""
    passing = not any(column.having(v).any() for column in plain.columns for v in (Verdict.MISMATCH, Verdict.UNDECIDED))
    return Meant(plain.prover.map, name=name, prover=plain.prover, hidden=COMPILED, watched=plain.work, held=passing)


def warm(map: Map, row: Row, backend: str) -> str | None:
    """Compile a map and its backward by a first run; what to say of the time that it took, if that is any. InputError where the
    compiler fails."""
    start = time.monotonic()
    try:
        _, pull = run(map, map.leaves())
        pull(row)  # what torch refuses is told where it is judged
    except Exception as problem:  # whatever a compiler raises, of a function that runs
        missing = "" if backend != "inductor" or _compiler() else ": there is no C++ compiler here (gcc, or CXX)"
        said = f"{type(problem).__name__}: {words(problem)}"
        raise InputError(f"torch.compile ({backend}) fails, the function itself runs{missing}: {said}") from problem
    seconds = time.monotonic() - start
    return f"compiling with {backend} took {seconds:.2g} s, which --timeout doesn't count" if seconds > 1 else None


def _compiler() -> bool:
    from os import environ

    return any(shutil.which(name) for name in (environ.get("CXX", "g++"), "g++", "clang++"))


def set_beside(found: Sequence[Column], plain: Sequence[Column], backend: str) -> None:
    """Say of what is wrong on one side only what the other one has; and of both, that it isn't the compiler."""
    if not any(column.having(Verdict.MISMATCH).any() for column in (*found, *plain)):
        return
    others = {column.label(i).quantity: (column, i) for column in plain for i in range(len(column))}
    for column in found:
        for i in range(len(column)):
            other, k = others.get(column.label(i).quantity, (None, 0))
            if other is None:
                continue
            wrong, right = (c.verdict(j) is Verdict.MISMATCH for c, j in ((column, i), (other, k)))
            if wrong and right:
                same = column.autograd[i] == other.autograd[k]
                _tell(column, i, f"without torch.compile it is {'the same' if same else f'{other.autograd[k]:.9g}, wrong too'}")
            elif wrong:
                _tell(column, i, f"without torch.compile it is right, {other.autograd[k]:.9g}: {backend} makes it wrong")
            elif right:
                _tell(other, k, f"compiled by {backend} it is right, {column.autograd[i]:.9g}")


def _tell(column: Column, index: int, text: str) -> None:
    detail = column.details[index]
    detail.text = f"{text}; {detail.text}" if detail.text else text

"""Claim: what torch.compile makes of torch's own layers is judged, and where it differs from eager code, that is listed.

    pip install expecttest
    python benchmarks/compiled.py [--backend aot_eager] [--part 1/4] [NAME...]

Every function of torch.nn.functional in PyTorch's database of operations, and every module in its database of modules, at the
first sample with up to 200 numbers that are differentiated by (5,000 where there is none), in float64, by
`check_function(..., compile=BACKEND)`. An entry is *judged* where each of its derivatives is, eager and compiled; *differs*
where the compiled one is wrong and the eager one isn't, or the other way round; *refused* where torch can't compile it, or
differentiate what it compiled. The last lines: CPU seconds, of child processes too, without those of compiling (the first run
of what is compiled, and what Dynamo compiles later), over those of the check without `compile`; and with them. `--part`: of
the entries, every fourth.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from opinfo import samples
from torch._dynamo.callback import callback_handler as HANDLER
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_db
from torch.utils import _pytree as pytree

from gradcheck_cli import InputError, Report, Verdict, check_function
from gradcheck_cli.callables import function as checking
from gradcheck_cli.maps.compiling import warm

SIZES = 200, 5000
"""Numbers that a sample may be differentiated by: the first sample of up to so many, else of up to more."""

WORST = 12
"""Entries whose cost is listed."""

PATIENCE = 60.0
"""Seconds for one check, without compiling."""

FUNCTIONS = "nn.functional."

Case = tuple[Callable[..., Any], tuple[torch.Tensor, ...]]
"""A function, and the tensors that it is differentiated by."""

Entry = tuple[str, Callable[[], Case | None]]


def entries() -> Iterator[Entry]:
    """A name, and what makes a function of tensors and these."""
    for op in op_db:
        if op.name.startswith(FUNCTIONS) and op.supports_autograd and torch.float64 in op.supported_dtypes("cpu"):
            yield op.full_name if hasattr(op, "full_name") else op.formatted_name, lambda op=op: _of_function(op)  # type: ignore[misc]
    for info in module_db:
        if "Lazy" in info.name:  # once they are called they are other layers, which are there
            continue
        yield f"module {info.name}", lambda info=info: _of_module(info)  # type: ignore[misc]


def _of_function(op: Any) -> Case | None:
    return _small(s for s in samples(op, torch.float64, 20, largest=SIZES[-1]) if _returns(*s))


def _small(found: Iterable[Case]) -> Case | None:
    """The first of few numbers."""
    kept = list(found)
    return next((case for size in SIZES for case in kept if sum(t.numel() for t in case[1]) <= size), None)


def _returns(function: Callable[..., Any], inputs: tuple[torch.Tensor, ...]) -> bool:
    """Whether there is anything to differentiate."""
    return any(isinstance(y, torch.Tensor) and y.numel() for y in pytree.tree_leaves(function(*inputs)))


def _of_module(info: Any) -> Case | None:
    return _small(_of_modules(info))


def _of_modules(info: Any) -> Iterator[Case]:
    torch.manual_seed(0)
    given = info.module_inputs_func(info, device="cpu", dtype=torch.float64, requires_grad=True, training=True)
    for sample in given:
        made, called = sample.constructor_input, sample.forward_input
        if called is None:
            continue
        module = info.module_cls(*made.args, **made.kwargs).double().train()
        flat, spec = pytree.tree_flatten((called.args, called.kwargs))
        places = [i for i, t in enumerate(flat) if isinstance(t, torch.Tensor) and t.is_floating_point()]
        names = [name for name, _ in module.named_parameters()]
        inputs = (*(flat[i].detach() for i in places), *(p.detach() for p in module.parameters()))
        if not inputs:
            continue
        buffers = {name: b.clone() for name, b in module.named_buffers()}

        function = _called(module, names, buffers, flat, spec, places)
        if _returns(function, inputs):
            yield function, inputs


def _called(
    module: torch.nn.Module, names: list[str], buffers: dict[str, torch.Tensor], flat: list[Any], spec: Any, places: list[int]
) -> Callable[..., Any]:
    """A module as a function of its arguments' tensors and of its parameters."""

    def function(*leaves: torch.Tensor) -> Any:
        own = list(flat)
        for place, leaf in zip(places, leaves, strict=False):
            own[place] = leaf
        args, kwargs = pytree.tree_unflatten(own, spec)
        state = dict(zip(names, leaves[len(places) :], strict=True)) | {n: b.clone() for n, b in buffers.items()}
        return torch.func.functional_call(module, state, args, kwargs)

    return function


class Compiling:
    """CPU seconds of the first run of what is compiled, and of what torch compiles after it."""

    def __init__(self) -> None:
        self.seconds = self.start = 0.0
        self.first = False

    def __enter__(self) -> Compiling:
        # not registered: what Dynamo is reset by forgets who was
        hooks = {"run_start_callbacks": self.begin, "run_end_callbacks": self.end}
        self.patches = [patch.object(HANDLER, name, hook) for name, hook in hooks.items()]
        self.patches.append(patch.object(checking, "warm", self.warm))
        for each in self.patches:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.patches:
            each.stop()

    def warm(self, *args: Any) -> str | None:
        self.first, start = True, used()
        try:
            return warm(*args)
        finally:
            self.first = False
            self.seconds += used() - start

    def begin(self, _: object) -> None:
        self.start = used()

    def end(self, _: object) -> None:
        self.seconds += 0.0 if self.first else used() - self.start


def used() -> float:
    """CPU seconds of this process, and of those that it waited for (a C++ compiler)."""
    return sum(sum(getrusage(who)[:2]) for who in (RUSAGE_SELF, RUSAGE_CHILDREN))


def check(function: Callable[..., Any], inputs: tuple[torch.Tensor, ...], backend: str | None) -> tuple[Report, float, float]:
    """The report, its CPU seconds, and those of them that went into compiling."""
    torch._dynamo.reset()
    start = used()
    with Compiling() as compiling:
        report = _check(function, inputs, backend)
    return report, used() - start, compiling.seconds


def _check(function: Callable[..., Any], inputs: tuple[torch.Tensor, ...], backend: str | None) -> Report:
    return check_function(
        lambda leaves: function(*leaves),
        at={"leaves": list(inputs)},
        compile=backend,
        timeout=PATIENCE,
        progress=lambda *_: None,
    )


def outcome(report: Report, backend: str) -> tuple[str, str]:
    """The word for an entry, and what there is to say about it."""
    sides: list[set[str]] = [set(), set()]
    for c in report.checks:
        if c.verdict == Verdict.MISMATCH and c.wrt:
            sides[backend in (c.mode or "")].add(c.quantity)
    eager, compiled = sides
    if eager != compiled:
        quantity = sorted(eager ^ compiled)[0]
        told = next(c for c in report.checks if c.quantity == quantity and c.verdict == Verdict.MISMATCH)
        return "differs", f"{quantity} ({told.mode}): {told.detail}"
    open_ = next((c for c in report.checks if c.verdict == Verdict.UNDECIDED), None)
    if open_ is not None:
        return "undecided", f"{open_.quantity}: {open_.detail}"
    return "judged", "wrong in both" if eager else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--backend", default="aot_eager")
    parser.add_argument("--part", default="1/1")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    which, parts = map(int, given.part.split("/"))
    chosen = [e for i, e in enumerate(entries()) if i % parts == which - 1 and (not given.names or e[0] in given.names)]
    check(torch.sin, (torch.ones(1, dtype=torch.float64),), given.backend)  # what is imported is no entry's
    counts: Counter[str] = Counter()
    costs: dict[str, tuple[float, float]] = {}
    for name, made in chosen:
        try:
            found = made()
            if found is None:
                word, text = "no sample", ""
            else:
                _check(*found, None)  # what is imported and set up at a first check is no check's
                _, plain, _ = check(*found, None)
                compiled, together, compiling = check(*found, given.backend)
                word, text = outcome(compiled, given.backend)
                costs[name] = (together - compiling) / plain, together / plain
        except InputError as refusal:
            word, text = "refused", str(refusal)
        except Exception as problem:
            word, text = "error", f"{type(problem).__name__}: {problem}"
        counts[word] += 1
        if word != "judged" or text:
            print(f"{word:10} {name}: {' '.join(text.split())[:300]}", flush=True)
    total = sum(n for word, n in counts.items() if word != "no sample")
    print(f"{given.backend}, part {given.part}, torch {torch.__version__}: {dict(counts)}")
    print(f"judged: {counts['judged'] + counts['differs']} of {total}")
    if costs:
        alone, together = (median(column) for column in zip(*costs.values(), strict=True))
        print(f"CPU over that of the plain check, medians: {alone:.2f} without compiling, {together:.1f} with it")
        worst = sorted(costs, key=costs.__getitem__)[-1 : -1 - WORST : -1]
        print("the costliest: " + ", ".join(f"{name} {costs[name][0]:.2f}" for name in worst))
    sys.stdout.flush()
    os._exit(0)  # threads of a compiler may still run


if __name__ == "__main__":
    main()

"""Claim: no text crashes or hangs the tool. 300,000 inputs: an input error with a caret, or an answer; nothing else.

    python benchmarks/fuzz.py [--texts 100000] [--entries 200000] [--checks 2000] [--seed 0]

Every text goes through the parser, and what parses is printed and parsed again; some go through whole checks, with a time
limit, in a process of their own that is watched from outside. Whatever else reads text, from networks to results files, has
its own inputs (`_entries.py`). The seed and the number of an input reproduce it.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from _entries import ENTRIES
from _hostile import HOSTILE, mutated

from gradcheck_cli.errors import InputError
from gradcheck_cli.language.chain import link
from gradcheck_cli.language.parser import parse_stage
from gradcheck_cli.language.points import parse_points
from gradcheck_cli.language.printer import show
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, walk, written_size

SLOW_PARSE = 0.1  # seconds
SLOW_ENTRY = 0.5  # seconds
CHECK_TIMEOUT = 1.0  # seconds, given to the tool
HANG = 20.0  # seconds beyond which the watcher ends a check
GIGABYTE = 1 << 30


def same(first: Node, second: Node) -> bool:
    """Whether two trees are equal, the sign of a literal folded into it, at any depth without recursion."""
    numbers: dict[object, int] = {}
    roots = []
    for root in (first, second):
        known: dict[Node, int] = {}
        for node in walk(root):
            match node:
                case Call(function="neg", arguments=(Constant(value=value),)) if not isinstance(value, bool):
                    key: object = repr(-value)
                case Call(function=function, arguments=arguments):
                    key = (function, *(known[a] for a in arguments))
                case Variable(name=name):
                    key = (name,)
                case Constant(value=value):
                    key = repr(value)
            known[node] = numbers.setdefault(key, len(numbers))
        roots.append(known[root])
    return roots[0] == roots[1]


def parses(text: str) -> str:
    """What became of the text: `parsed`, `refused`, or the description of a defect."""
    outcome = "refused"
    try:
        _, tree = parse_stage(text)
        outcome = "parsed"
        printed = show(tree)
        again = parse_stage(printed)[1]
        if show(again) != printed and not same(again, tree):
            outcome = f"DEFECT: {printed[:200]!r} is read as {show(again)[:200]!r}"
    except InputError as problem:
        if outcome == "parsed" and len(printed) < 5_000 and written_size(tree) < 1_000:  # a chain of wheres prints nested
            return f"DEFECT: its own print {printed[:200]!r} is refused: {problem.message}"
        lines = str(problem).split("\n")
        if len(lines) != 3 or not lines[2].endswith("^"):
            return f"DEFECT: no caret line in {str(problem)!r}"
    except Exception as problem:
        return f"DEFECT: {type(problem).__name__}: {problem}"
    for entry in (lambda: link([text]), lambda: parse_points("x=" + text, ["x"], evaluate=lambda tree: 1.0)):
        try:
            entry()
        except InputError:
            pass
        except Exception as problem:
            return f"DEFECT: {type(problem).__name__}: {problem}"
    return outcome


def texts(seed: int, count: int) -> int:
    """Read the hostile texts and `count` mutated ones in 2 GB; print the outcomes; return the number of defects."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2 * GIGABYTE, before[1]))
    outcomes: Counter[str] = Counter()
    worst, worst_text, defects, began = 0.0, "", 0, time.perf_counter()
    for index in range(-len(HOSTILE), count):
        text = HOSTILE[index] if index < 0 else mutated(seed, index)
        start = time.process_time()
        outcome = parses(text)
        took = time.process_time() - start
        if took > worst:
            worst, worst_text = took, text
        if outcome.startswith("DEFECT") or took > SLOW_PARSE * 4:  # four readings and a print
            defects += 1
            print(f"  number {index}, {took:.2f} s: {outcome} for {text[:300]!r}")
        outcomes["defects" if outcome.startswith("DEFECT") else outcome] += 1
    resource.setrlimit(resource.RLIMIT_AS, before)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    slowest = f"slowest {worst:.3f} s ({worst_text[:40]!r})"
    print(f"texts: {dict(outcomes)}, {time.perf_counter() - began:.0f} s, {slowest}, peak {peak:.0f} MB")
    return defects


def entries(seed: int, count: int) -> int:
    """`count` inputs, shared out among everything that reads text; print the outcomes; return the number of defects."""
    defects = 0
    for entry in ENTRIES:
        outcomes: Counter[str] = Counter()
        worst, worst_text, began = 0.0, "", time.perf_counter()
        for index in range(-(-count // len(ENTRIES))):
            text = entry.text(seed, index)
            start = time.process_time()
            outcome = entry.attempt(text)
            took = time.process_time() - start
            if index and took > worst:  # the first one imports
                worst, worst_text = took, text
            if outcome.startswith("DEFECT") or (index and took > SLOW_ENTRY):
                defects += 1
                print(f"  {entry.name}, number {index}, {took:.2f} s: {outcome[:300]!a} for {text[:300]!a}")
            outcomes["defects" if outcome.startswith("DEFECT") else outcome] += 1
        slowest = f"slowest {worst:.3f} s ({worst_text[:40]!a})"
        print(f"{entry.name}: {dict(outcomes)}, {time.perf_counter() - began:.0f} s, {slowest}", flush=True)
    return defects


def check(text: str, index: int) -> str:
    """One whole check: the verdict, `refused`, or the description of a defect."""
    import gradcheck_cli

    options = {"timeout": CHECK_TIMEOUT, "sample": 2, "seed": abs(index)}
    if index % 5 == 0:
        options = {"timeout": CHECK_TIMEOUT, "at": {"x": 10}}
    try:
        match index % 3:
            case 0:
                report = gradcheck_cli.check_chain(text, **options)
            case 1:
                report = gradcheck_cli.check_grad(text, **options)
            case _:
                report = gradcheck_cli.check_mixed(text, "x,x", **options)
        str(report), report.to_dict()
    except InputError:
        return "refused"
    except Exception as problem:
        return f"DEFECT: {type(problem).__name__}: {problem}"
    return report.verdict.value


def worker(seed: int, first: int, last: int, step: int) -> None:
    """Check texts first, first + step, ...; one line each before and after, for the watcher."""
    resource.setrlimit(resource.RLIMIT_DATA, (6 * GIGABYTE, 6 * GIGABYTE))
    import gradcheck_cli.formulas.check  # noqa: F401 - torch and SymPy, whose imports are not measured here

    for index in range(first, last, step):
        print("begin", index, flush=True)
        text = HOSTILE[index] if index < 0 else mutated(seed, index)
        start = time.perf_counter()
        outcome = check(text, index)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print("end", f"{time.perf_counter() - start:.2f}", peak, outcome.replace("\n", " ")[:300], flush=True)
    print("done", flush=True)
    os._exit(0)  # a thread that is stuck inside torch can't be waited for


def checks(seed: int, count: int, total: int) -> int:
    """Whole checks of the hostile texts and of `count` of the mutated ones; return the number of defects."""
    outcomes: Counter[str] = Counter()
    step, first, defects, began, slowest, peak = max(total // max(count, 1), 1), -len(HOSTILE), 0, time.perf_counter(), 0.0, 0
    last = 0
    while True:
        if first >= last:
            if last == total or not count:
                break
            first, last = max(first, 0), total
        stride = 1 if last == 0 else step
        with tempfile.TemporaryFile() as trouble:
            arguments = [sys.executable, __file__, "--worker", str(seed), str(first), str(last), str(stride)]
            process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=trouble, text=True, bufsize=1)
            current, reason = first, _watch(process)
            for kind, rest in reason.lines:
                if kind == "begin":
                    current = int(rest)
                elif kind == "end":
                    took, resident, outcome = rest.split(" ", 2)
                    slowest, peak = max(slowest, float(took)), max(peak, int(resident))
                    outcomes["defects" if outcome.startswith("DEFECT") else outcome] += 1
                    if outcome.startswith("DEFECT") or float(took) > CHECK_TIMEOUT + 4:
                        defects += 1
                        text = HOSTILE[current] if current < 0 else mutated(seed, current)
                        print(f"  number {current}, {took} s: {outcome} for {text[:300]!r}", flush=True)
            if reason.finished:
                first = last
            else:
                defects += 1
                outcomes["defects"] += 1
                trouble.seek(0)
                said = trouble.read()[-300:].decode(errors="replace")
                text = HOSTILE[current] if current < 0 else mutated(seed, current)
                print(f"  number {current}: {reason.text} for {text[:300]!r} {said}", flush=True)
                first = current + stride
    print(f"checks: {dict(outcomes)}, {time.perf_counter() - began:.0f} s, slowest {slowest:.1f} s, peak {peak} MB")
    return defects


class _watch:
    """Read a worker's lines until it ends, or is silent for too long and is ended."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        import selectors

        self.lines: list[tuple[str, str]] = []
        self.finished, self.text = False, ""
        selector = selectors.DefaultSelector()
        assert process.stdout is not None
        descriptor = process.stdout.fileno()
        selector.register(descriptor, selectors.EVENT_READ)
        rest = b""
        while True:
            if not selector.select(HANG):
                process.kill()
                self.text = f"HANG: nothing for {HANG:.0f} s"
                break
            piece = os.read(descriptor, 65536)
            if not piece:
                break
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                kind, _, more = line.decode().partition(" ")
                self.lines.append((kind, more))
                self.finished |= kind == "done"
        code = process.wait()
        self.text = self.text or f"CRASH: exit code {code}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--entries", type=int, default=200_000)
    parser.add_argument("--checks", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worker", nargs=4, type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        worker(*given.worker)
    defects = texts(given.seed, given.texts)
    defects += entries(given.seed, given.entries)
    defects += checks(given.seed, given.checks, given.texts)
    print(f"defects: {defects}")


if __name__ == "__main__":
    main()

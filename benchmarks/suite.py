"""Claims: two workers are 1.7 times as fast as one; `gradcheck run` starts about as fast as a command; memory is bounded.

    python benchmarks/suite.py [--spec FILE] [--checks 300] [--many 10000] [--rounds 3]

Without a spec the checks are gradients and mixed partials of small formulas at 20 points. Every run is a process of its own.
Memory is what the kernel says of the processes (proportional set size), so this needs Linux.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from _timing import alternating, table

COMMAND = [sys.executable, "-m", "gradcheck_cli"]
FORMULAS = (
    "sin({a}*x)*exp(-y/{a})", "x**2 + {a}*x*y**2", "log({a} + x**2 + y**2)", "x/(1 + {a}*exp(-y))", "tanh(x + {a}*y)/{a}",
)  # fmt: skip


def checks(count: int, points: int) -> str:
    """So many small checks."""
    text = [f'[defaults]\nsample = {points}\ndomain = "x=-3:3,y=-3:3"\n']
    for i in range(count):
        kind = 'mixed = "{}"\nwrt = "x,y"' if i % 2 else 'grad = "{}"'
        formula = FORMULAS[i % len(FORMULAS)].format(a=i + 1)
        text.append(f'[[check]]\nname = "{i}"\n{kind.format(formula)}\n')
    return "\n".join(text)


class Watch(threading.Thread):
    """The largest memory of a process and of each of its children, in MB, looked at five times a second."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.process = process
        self.own, self.child, self.over = 0.0, 0.0, threading.Event()
        self.start()

    def run(self) -> None:
        while not self.over.wait(0.2):
            self.own = max(self.own, size(self.process))
            self.child = max([self.child, *(size(n) for n in children(self.process))])


def size(process: int) -> float:
    """Proportional set size in MB; 0 where the process has gone."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    except (OSError, StopIteration):
        return 0.0


def children(process: int) -> list[int]:
    try:
        return [int(n) for n in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []


def watched(folder: Path, *arguments: str) -> tuple[float, float, float]:
    """Seconds, and the largest memory of the run's own process and of a worker."""
    start = time.perf_counter()
    process = subprocess.Popen([*COMMAND, "run", *arguments, "--quiet"], cwd=folder, stdout=subprocess.DEVNULL)
    watch = Watch(process.pid)
    process.wait()
    seconds = time.perf_counter() - start
    watch.over.set()
    return seconds, watch.own, watch.child


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spec", type=Path)
    parser.add_argument("--checks", type=int, default=300)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "one.toml").write_text('[[check]]\nchain = ["2*x", "z**2+2*z+2"]\nat = "x=1"\n')
        (folder / "small.toml").write_text(checks(given.checks, 20))
        (folder / "many.toml").write_text(checks(given.many, 2))

        def command(*arguments: str) -> None:
            subprocess.run([*COMMAND, *arguments], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        spec = str(given.spec.resolve()) if given.spec else "small.toml"
        count = len((folder / spec).read_text().split("[[check]]")) - 1
        seconds = alternating(
            {
                "gradcheck chain": lambda: command("chain", "2*x", "z**2+2*z+2", "--at", "x=1"),
                "gradcheck run, one check": lambda: command("run", "one.toml"),
                "1 worker": lambda: command("run", spec, "--workers", "1"),
                "2 workers": lambda: command("run", spec, "--workers", "2"),
            },
            given.rounds,
        )
        chain, one, first, second = seconds.values()
        notes = (
            "",
            f"{one / chain:.2f} times gradcheck chain",
            f"{count / first:.1f} checks a second; {count / (first - one):.1f} beyond the start",
            f"{count / second:.1f} checks a second; {count / (second - one):.1f} beyond the start",
        )
        timed = zip(seconds, seconds.values(), notes, strict=True)
        table([("command", "seconds", ""), *((what, f"{taken:.2f}", note) for what, taken, note in timed)])
        print(f"two workers: {first / second:.2f} times one; {(first - one) / (second - one):.2f} times beyond the start\n")
        sizes = ((given.checks, "small.toml"), (given.many, "many.toml"))
        rows = [(f"{n:,} checks", *(f"{value:.0f}" for value in watched(folder, file))) for n, file in sizes]
        table([("", "seconds", "MB, the run itself", "MB, a worker"), *rows])


if __name__ == "__main__":
    main()

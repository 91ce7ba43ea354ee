"""Claim: the checker is checked. Each mutation of what judges (`_mutations.py`) makes a test fail.

    python benchmarks/mutations.py [--jobs 2] [--stages 2] [WORD...]

Every mutation is made in a copy of the repository, and pytest runs there until a test fails: the tests that mirror the mutated
folder, the slow ones of these, those of the other folders that judge, and the slow ones of these; `--stages`: only the first
of these four. `WORD`: only those whose file or text contains one. A copy without a mutation has to pass first. Those that
survive are listed again at the end; the exit code is 1 if there are any.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from _mutations import Mutation, mutations

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", ".gradcheck", "build", "dist")

PATIENCE = 900
"""Seconds for one run of the tests: an endless one has noticed."""

FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", re.MULTILINE)

JUDGING = ("verdict", "formulas", "exact", "algebra", "shadow", "maps", "callables", "networks", "soundness")
"""Folders of the tests that judge something."""


def stages(file: str) -> list[list[str]]:
    """What pytest is asked for, one after another."""
    folder = file.split("/")[0]
    near = [f"tests/{folder}"] if folder in JUDGING else ["tests/test_floats.py", "tests/verdict"]
    others = [f"tests/{name}" for name in JUDGING if f"tests/{name}" not in near]
    return [[*some, "-m", mark] for some in (near, others) for mark in ("not slow", "slow")]


def killed_by(copy: Path, mutation: Mutation, asked: Sequence[list[str]]) -> str | None:
    """The first test that fails with the mutation; None if it survives."""
    file = copy / "gradcheck_cli" / mutation.file
    text = file.read_text()
    if text.count(mutation.before) != 1:
        return "nothing: its text isn't there once"
    file.write_text(text.replace(mutation.before, mutation.after))
    try:
        return next(filter(None, (failing(copy, some) for some in asked)), None)
    finally:
        file.write_text(text)


def failing(copy: Path, asked: list[str]) -> str | None:
    """The first test that fails in a copy."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *asked]
    try:
        run = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return "time"
    if run.returncode in (0, 5):  # 5: no such test
        return None
    found = FAILED.search(run.stdout)
    return found[1] if found else f"pytest ended with {run.returncode}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--jobs", type=int, default=1, help="mutations at a time")
    parser.add_argument("--stages", type=int, default=4, help="of the tests")
    options = parser.parse_args()
    chosen = [m for m in mutations() if not options.words or any(w in " ".join(m) for w in options.words)]
    survived: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        copies: SimpleQueue[Path] = SimpleQueue()
        for job in range(options.jobs):
            copies.put(Path(shutil.copytree(ROOT, Path(folder) / str(job), ignore=LEFT_OUT)))

        def tried(mutation: Mutation) -> None:
            copy, start = copies.get(), time.monotonic()
            by = killed_by(copy, mutation, stages(mutation.file)[: options.stages])
            copies.put(copy)
            told = f"{mutation.file}: {_short(mutation.before)} -> {_short(mutation.after)}"
            print(
                f"{'survives' if by is None else 'killed  '} {time.monotonic() - start:4.0f} s  {told}  {by or ''}", flush=True
            )
            if by is None:
                survived.append(told)

        asked = {tuple(some): some for m in chosen for some in stages(m.file)[: options.stages]}
        for broken in filter(None, (failing(Path(folder) / "0", some) for some in asked.values())):
            print(f"without a mutation: {broken}")
            return 2
        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(tried, chosen))
    print(f"{len(chosen)} mutations, {len(survived)} survive", *survived, sep="\n")
    return 1 if survived else 0


def _short(text: str) -> str:
    return " ".join(text.split())[:60] or "nothing"


if __name__ == "__main__":
    sys.exit(main())

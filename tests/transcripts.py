"""The transcripts of README.md and docs/: read, run again, and, by `make transcripts`, written anew.

A fenced block `console` holds commands, each a line that begins with "$ ", and what they print. A block `pycon` holds a
Python session; those of a page go on from one another. They run in a copy of examples/ with 100 columns, a new one a block:

    gradcheck ...       in this process (the workers of `run` are their own); both streams
    python FILE.py      in this process, as the main program; stdout
    cat FILE            the file
    echo $?             the exit code of the one before

What differs from run to run is compared without it: seconds, the folder, and how far a run is (lines that begin with [3/7]).
What differs from processor to processor too: in the tables of `gradcheck model`, which entry rounding made a layer's worst.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import runpy
import shlex
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
BUILT = {"_build", "generated"}
"""Folders of docs/ that `make docs` writes. The articles of `gradcheck why`, which it copies, have a test of their own."""
COLUMNS = "100"

_SECONDS = re.compile(r"\b\d+(\.\d+)? s\b|\b\d+ min \d+ s\b")
_ROW = re.compile(r"^(\S+(?: \S+)*) {2,}\S.* {2,}(\S+(?: \S+)*)$|(─)─+", re.MULTILINE)
"""A row of a table, of which the first cell and the last one are kept, and a line."""
_PROGRESS = re.compile(r"^\[\d+/\d+\].*\n", re.MULTILINE)


def pages() -> list[Path]:
    """The README and every page of the manual that is written by hand."""
    manual = sorted(p for p in (ROOT / "docs").rglob("*.md") if not BUILT & {*p.relative_to(ROOT).parts})
    return [ROOT / "README.md", *manual]


def fence(language: str) -> re.Pattern[str]:
    """A fenced block of one language: what stands in it is the group."""
    return re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return fence(language).findall(text)


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Every command of a console block with the output that stands under it."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


@contextmanager
def elsewhere(folder: Path) -> Iterator[None]:
    """Within it a command runs in `folder`, which gets a copy of the examples, and a page has 100 columns."""
    shutil.copytree(ROOT / "examples", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", ".gradcheck"))
    before, path, environment = Path.cwd(), list(sys.path), dict(os.environ)
    os.environ.update(COLUMNS=COLUMNS, XDG_STATE_HOME=str(folder / ".state"))
    os.environ.pop("NO_COLOR", None)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        sys.path[:] = path
        os.environ.clear()
        os.environ.update(environment)


def replayed(block: str) -> Iterator[tuple[str, str, str]]:
    """Every command of a console block, what it prints now, and what stands under it; to be run `elsewhere`."""
    status = 0
    for command, expected in commands(block):
        if command == "echo $?":
            yield command, f"{status}\n", expected
        else:
            printed, status = answer(command)
            yield command, printed, expected


def answer(command: str) -> tuple[str, int]:
    """What a command prints, and its exit code."""
    program, *arguments = shlex.split(command)
    if program == "cat":
        return "".join(Path(name).read_text(encoding="utf-8") for name in arguments), 0
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if program == "python":
            status = _script(*arguments)
        else:
            assert program == "gradcheck", command
            with contextlib.redirect_stderr(printed):
                status = gradcheck(arguments)
    return _PROGRESS.sub("", printed.getvalue()), status


def gradcheck(arguments: Sequence[str]) -> int:
    """The command in this process; its exit code."""
    from gradcheck_cli.cli.app import run

    return run([*arguments])


def _script(path: str) -> int:
    """A file as the main program; its exit code."""
    sys.path.insert(0, str(Path(path).parent.resolve()))
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        return int(end.code or 0)
    except Exception:  # what Python would print goes to stderr, which a transcript of a script leaves out
        return 1
    finally:
        del sys.path[0]
    return 0


def session(block: str, names: dict[str, Any]) -> str:
    """A Python session as it goes now: the examples of a pycon block with what each prints. `names` are what is known before,
    and after it."""
    lines: list[str] = []
    for example in doctest.DocTestParser().get_examples(block):
        first, *others = example.source.removesuffix("\n").split("\n")
        lines += [f">>> {first}", *(f"... {line}".rstrip() for line in others)]
        printed = _shown(example.source, names)
        lines += printed.removesuffix("\n").split("\n") if printed else []
    return "\n".join(lines) + "\n"


def _shown(source: str, names: dict[str, Any]) -> str:
    """What an interactive Python prints for one statement."""
    printed = io.StringIO()
    shown, sys.displayhook = sys.displayhook, sys.__displayhook__
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(source, "<session>", "single"), names)
    except Exception as problem:
        last = "".join(traceback.format_exception_only(problem))
        return f"{printed.getvalue()}Traceback (most recent call last):\n  ...\n{last}"
    finally:
        sys.displayhook = shown
    return printed.getvalue()


def first_and_last(text: str) -> str:
    """The rows of tables with their first and last cells alone."""
    return _ROW.sub(r"\1 \2\3", text)


def lasting(text: str) -> str:
    """The text without what differs from run to run."""
    text = first_and_last(text) if text.startswith("model: ") else text
    return _SECONDS.sub("- s", text.replace(os.getcwd(), "."))


def renewed(text: str) -> str:
    """A page with the output that its commands and sessions have now; what differs from run to run alone stays as it stands."""
    names: dict[str, Any] = {"__name__": "__main__"}

    def console(found: re.Match[str]) -> str:
        with tempfile.TemporaryDirectory() as folder, elsewhere(Path(folder)):
            parts = []
            for command, printed, expected in replayed(found[1]):
                same = lasting(printed) == lasting(expected)
                parts.append(f"$ {command}\n{expected if same else printed.replace(os.getcwd(), '.')}")
        return f"```console\n{''.join(parts)}```"

    def pycon(found: re.Match[str]) -> str:
        with tempfile.TemporaryDirectory() as folder, elsewhere(Path(folder)):
            return f"```pycon\n{session(found[1], names)}```"

    return fence("pycon").sub(pycon, fence("console").sub(console, text))


def main(names: Sequence[str]) -> None:
    """Write the pages anew: all of them, or those named."""
    for path in [Path(name).resolve() for name in names] or pages():
        before = path.read_text(encoding="utf-8")
        after = renewed(before)
        if after != before:
            path.write_text(after, encoding="utf-8")
        print(f"{'renewed' if after != before else 'as it was'}: {path.relative_to(ROOT)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

"""`gradcheck run`: files of checks, many at a time."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradcheck_cli.cli.options import TYPED, Outcome, add, check_file, write
from gradcheck_cli.cli.streams import colored, width
from gradcheck_cli.errors import InputError, visible, whole
from gradcheck_cli.files import trouble, unlinked
from gradcheck_cli.output import SUITE_FORMATS, suite_renderer

if TYPE_CHECKING:
    from gradcheck_cli.suite.execute import Outcome as Finished
    from gradcheck_cli.suite.run import Plan
    from gradcheck_cli.suite.settings import Settings
    from gradcheck_cli.suite.spec import Spec

    Chosen = tuple[tuple[Spec, ...], tuple[Spec, ...]]

EXAMPLE = "example.gradcheck.toml"
INTERRUPTED = 130
TEXT = "text"
PULSE = 10.0
"""Seconds between two lines that tell how far the run is, where there is no terminal."""

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
LEAST_MEMORY, MOST_MEMORY = 1 << 29, 1 << 60
"""Bytes: torch and SymPy alone take half of that."""


def register(app: typer.Typer) -> None:
    """Add the command to the app."""

    @add(
        app,
        "run",
        """
        Run the checks of spec files, many at a time.

        A spec is a TOML file of [[check]] tables (--init writes an example). Of a folder, every .toml below it is one, but for
        pyproject.toml. Without PATH, [tool.gradcheck] of pyproject.toml says what is run.

        Every check runs in a process of its own kind: one that hangs, crashes or eats memory is undecided, and the others go
        on. The exit code is 1 where a check failed.
        """,
        "run checks/",
        "run checks/ -k \"relu and not 'second order'\" --workers 4",
        "run checks/ --results results.jsonl --resume",
        "run checks/ --format junit:report.xml --format github",
        "run checks/ --baseline known.jsonl --update-baseline",
    )
    def run(
        paths: Annotated[
            list[str] | None,
            typer.Argument(metavar="PATH", help="Spec files, folders of them, or FILE::NAME of one check.", show_default=False),
        ] = None,
        init: Annotated[bool, typer.Option("--init", help=f"Write a commented example, to PATH or {EXAMPLE}.")] = False,
        schema: Annotated[
            bool, typer.Option("--schema", help="Show the JSON Schema of spec files, by which editors complete them.")
        ] = False,
        expression: Annotated[
            str | None,
            typer.Option("-k", metavar="EXPRESSION", help="Only checks whose file::name holds these words; and, or, not, ( )."),
        ] = None,
        list_: Annotated[bool, typer.Option("--list", help="Show which checks would run, and run none.")] = False,
        last_failed: Annotated[
            bool, typer.Option("--last-failed", help="Only what didn't pass in the run before (see --results).")
        ] = False,
        fail_fast: Annotated[bool, typer.Option("--fail-fast", "-x", help="Stop at the first failure.")] = False,
        workers: Annotated[
            str | None,
            typer.Option(
                "--workers", "-n", metavar="N", help="Checks at a time. [auto: the cores; of a cluster, all that it has]"
            ),
        ] = None,
        backend: Annotated[
            str,
            typer.Option(
                metavar="threading|loky|dask|ray",
                help="joblib's backend: threads or processes that wait for the checks, or a cluster.",
            ),
        ] = "threading",
        scheduler: Annotated[
            str | None, typer.Option(metavar="ADDRESS", help="Of a Dask or Ray cluster: tcp://10.0.0.1:8786.")
        ] = None,
        results: Annotated[
            Path | None,
            typer.Option(metavar="FILE", help="Write each outcome to FILE as it comes, as JSON Lines. [.gradcheck/last.jsonl]"),
        ] = None,
        resume: Annotated[bool, typer.Option("--resume", help="Go on: what the results hold isn't run again.")] = False,
        timeout: Annotated[
            float | None, typer.Option(metavar="SECONDS", help="For each check that doesn't say its own. [120]")
        ] = None,
        memory: Annotated[
            str | None, typer.Option(metavar="SIZE", help="For each worker, such as 512M or 2G; none: no bound. [4G]")
        ] = None,
        format: Annotated[
            list[str] | None,
            typer.Option(
                metavar="NAME[:FILE]",
                help=f"How the result is written: {', '.join(SUITE_FORMATS)}; repeat it for more. [{TEXT}]",
            ),
        ] = None,
        baseline: Annotated[
            Path | None,
            typer.Option(metavar="FILE", help="What is known to be wrong, as --update-baseline or --results wrote it."),
        ] = None,
        update_baseline: Annotated[
            bool, typer.Option("--update-baseline", help="Write what doesn't pass to the baseline: it is known from now on.")
        ] = False,
        no_python: Annotated[
            bool, typer.Option("--no-python", help="Refuse checks that import code: functions, and models from files.")
        ] = False,
        durations: Annotated[
            int | None, typer.Option(metavar="N", help="Show the N checks that took the longest; 0: every one.")
        ] = None,
        strict: Annotated[bool, typer.Option("--strict", help="An imprecise derivative fails too.")] = False,
        verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Every report of what didn't pass, in full.")] = False,
        quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the last line.")] = False,
        color: Annotated[
            bool | None, typer.Option("--color/--no-color", help="Colours. [on a terminal]", show_default=False)
        ] = None,
    ) -> Outcome | None:
        if init:
            return _init(paths or [])
        if schema:
            return Outcome(_schema())
        targets = _targets(format or [])
        from gradcheck_cli.suite import settings
        from gradcheck_cli.suite.refusals import refuse
        from gradcheck_cli.suite.run import Plan, collect, refuse_code
        from gradcheck_cli.suite.selection import chosen, select

        found = settings.find(Path.cwd())
        named, every = _collected(paths or [], found, collect, chosen)
        specs = select(named, expression)
        if no_python or found.run.get("no-python", False):
            refuse_code(specs)
        if list_:
            if last_failed:
                from gradcheck_cli.suite.results import read
                from gradcheck_cli.suite.run import DEFAULT_RESULTS, not_passed

                specs = tuple(not_passed(specs, read(results or DEFAULT_RESULTS))) or specs
            return Outcome("\n".join(visible(spec.id) for spec in specs), 0 if specs else 3)
        refuse(specs)
        own = {"workers": _workers(workers), "timeout": timeout, "memory": memory}
        given = {**found.run, **{name: value for name, value in own.items() if value is not None}}
        known = baseline
        if known is None and "baseline" in found.run:
            known = Path(os.path.relpath(found.folder / found.run["baseline"]))
        plan = Plan(
            workers=_positive("workers", given.get("workers")),
            backend=backend,
            scheduler=scheduler,
            strict=strict or found.run.get("strict", False),
            fail_fast=fail_fast,
            results=results,
            resume=resume,
            last_failed=last_failed,
            baseline=known,
            update=update_baseline,
            **_bounds(given.get("timeout"), given.get("memory")),
        )
        if update_baseline:
            check_file(str(known))
        return _run(specs, every, plan, targets, verbose=verbose, quiet=quiet, color=color, durations=durations)


def _run(
    specs: Sequence[Spec], every: Sequence[Spec], plan: Plan, targets: Sequence[tuple[str, str]], *, verbose: bool, quiet: bool,
    color: bool | None, durations: int | None = None,
) -> Outcome:  # fmt: skip
    """Run, write every format, and leave what goes to stdout."""
    from gradcheck_cli.suite import run as suite

    with _progress(not quiet) as observe:
        result = suite.run(specs, plan, observe, every)
    code = INTERRUPTED if result.interrupted else result.exit_code
    painted = colored() if color is None else color
    settings = {"verbose": verbose, "quiet": quiet, "color": painted, "width": width(), "command": TYPED.get()}
    shown = []
    files = [(name, suite_renderer(name)(result, **settings), file) for name, file in targets]
    if result.updated is not None:
        files.append(("", result.updated, str(plan.baseline)))
    for _, text, file in files:
        if file == "-":
            shown.append(text)
            continue
        try:
            write(text, file)
        except InputError as problem:  # what was found is worth more than this file
            print(f"gradcheck: error: {problem.typed}", file=sys.stderr)
            code = code or 2
    if durations is not None:
        slowest = sorted(result.outcomes, key=lambda outcome: outcome.seconds, reverse=True)[: durations or None]
        lines = [f"{outcome.seconds:8.2f} s  {visible(outcome.spec_id)}" for outcome in slowest]
        print("the slowest checks:", *lines, sep="\n", file=sys.stderr, flush=True)
    return Outcome("\n".join(shown), code)


# -- options ------------------------------------------------------------------------------------------------------------


def _targets(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Formats and their files; text goes to stdout where nothing else does."""
    found = []
    for text in texts:
        name, _, file = text.partition(":")
        if name not in SUITE_FORMATS:
            raise InputError(f"unknown format {name!r}: choose from {', '.join(SUITE_FORMATS)}", text, 0)
        found.append((name, file or "-"))
    found = found if any(file == "-" for _, file in found) else [*found, (TEXT, "-")]
    for _, file in found:
        check_file(file)
    return found


def _collected(
    paths: Sequence[str], settings: Settings, collect: Callable[..., tuple[Spec, ...]], chosen: Callable[..., Chosen]
) -> Chosen:
    """The checks that are asked for, and all of their files."""
    if paths:
        return chosen(paths, lambda path: collect([path], settings.defaults))
    if not settings.paths:
        message = "nothing to run: give spec files or folders, or paths in [tool.gradcheck] of pyproject.toml"
        raise InputError(f"{message} (--init writes an example)")
    found = collect(settings.paths, settings.defaults, settings.folder)
    return found, found


def _workers(text: str | None) -> int | None:
    """A number; `auto` (pytest-xdist's word) is the default, and its 0 is one at a time."""
    if text is None or text == "auto":
        return None
    number = whole(text.removeprefix("-"))
    if number is None:
        raise InputError("the number of workers is a whole number, or auto", text, 0)
    return -number if text.startswith("-") else max(number, 1)


def _positive(name: str, value: int | None) -> int | None:
    if value is not None and value < 1:
        raise InputError(f"the number of {name} must be at least 1: {value}")
    return value


def _bounds(timeout: float | None, memory: str | None) -> dict[str, Any]:
    """Those of the plan that were given."""
    given: dict[str, Any] = {}
    if timeout is not None:
        if not 0 < timeout < 1e9:
            raise InputError(f"timeout must be a positive number of seconds: {timeout}")
        given["timeout"] = float(timeout)
    if memory is not None:
        size = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", memory.strip(), re.IGNORECASE)
        if size is None and memory != "none":
            raise InputError("a size is a number with a unit, such as 512M or 2G, or none", memory, 0)
        number = 0.0 if size is None else float(size[1]) * _UNITS[size[2].upper()]
        if size is not None and not LEAST_MEMORY <= number < MOST_MEMORY:
            raise InputError("a worker needs at least 512M, and no machine has an exabyte", memory, 0)
        given["memory"] = None if size is None else int(number)
    return given


def _init(paths: Sequence[str]) -> Outcome:
    """Write the example, and the schema that its first line names beside it; never over a file."""
    from gradcheck_cli.suite.schema import FIRST_LINE, NAME

    path = unlinked(paths[0] if paths else EXAMPLE, "write the example")
    example = resources.files("gradcheck_cli.suite").joinpath(EXAMPLE).read_text(encoding="utf-8")
    with trouble("write the example", str(path)), path.open("x", encoding="utf-8") as file:
        file.write(FIRST_LINE + example)
    beside = unlinked(path.with_name(NAME), "write the schema")
    with trouble("write the schema", str(beside)), suppress(FileExistsError), beside.open("x", encoding="utf-8") as file:
        file.write(_schema() + "\n")
    return Outcome(visible(f"{path} is written, and {NAME}, by which editors complete it; gradcheck run {path}"))


def _schema() -> str:
    import json

    from gradcheck_cli.suite.schema import schema

    return json.dumps(schema(), indent=1)


# -- progress -----------------------------------------------------------------------------------------------------------


@contextmanager
def _progress(wanted: bool) -> Iterator[Callable[[Finished, int, int], None] | None]:
    """A bar on stderr where that is a terminal, else a line for each check that isn't a match, and one now and then."""
    if not wanted:
        yield None
    elif sys.stderr.isatty():
        from gradcheck_cli.cli.progress import progress

        with progress() as bar:
            assert bar is not None
            yield _Bar(bar)
    else:
        yield _Lines()


class _Bar:
    def __init__(self, draw: Callable[[int, int, str], None]) -> None:
        self.draw = draw
        self.wrong = 0

    def __call__(self, outcome: Finished, done: int, total: int) -> None:
        self.wrong += outcome.status != "passed"
        self.draw(done, total, f"{self.wrong:,} not passed" if self.wrong else "checks")


class _Lines:
    def __init__(self) -> None:
        self.last = time.monotonic()

    def __call__(self, outcome: Finished, done: int, total: int) -> None:
        if not outcome.plain:
            text = visible(f"[{done}/{total}] {outcome.status}: {outcome.spec_id}: {outcome.found}")
            print(text, file=sys.stderr, flush=True)
            self.last = time.monotonic()
        elif time.monotonic() - self.last > PULSE or done == total:
            print(f"[{done}/{total}]", file=sys.stderr, flush=True)
            self.last = time.monotonic()

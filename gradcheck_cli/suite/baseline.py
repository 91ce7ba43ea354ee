"""A baseline: what is known to be wrong. New findings fail, known ones are listed, mended ones are noticed.

It is the same from wherever it is used: the paths in it count from its own folder, and are written so ("./checks/a.toml").
Others are those of a run's results, from the working directory.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from gradcheck_cli.errors import InputError
from gradcheck_cli.files import from_here, named
from gradcheck_cli.suite.execute import INPUT, PASSED, Outcome
from gradcheck_cli.suite.findings import moved
from gradcheck_cli.suite.results import line, read

FROM_HERE = ("./", "../")
"""How a path begins that counts from the baseline's folder."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The ids of the checks that don't pass and didn't, in the same way (`known`), and of those that pass now (`mended`).
    `changed`: of those that don't pass and didn't, but otherwise, id -> what is another."""

    known: frozenset[str] = frozenset()
    mended: tuple[str, ...] = ()
    changed: Mapping[str, str] = field(default_factory=dict)


def load(path: Path) -> dict[str, Outcome]:
    """A baseline, or the results of an earlier run; the ids as they are from the working directory."""
    if not named(path, "read the baseline").exists():
        raise InputError("there is no such baseline; --update-baseline writes it", str(path), 0)
    folder = path.parent.resolve()
    found = (
        _called(outcome, from_here(Path(os.path.normpath(folder / outcome.file))))
        if outcome.file.startswith(FROM_HERE)
        else outcome
        for outcome in read(path).values()
    )
    return {outcome.spec_id: outcome for outcome in found}


def compare(outcomes: Iterable[Outcome], before: Mapping[str, Outcome]) -> Comparison:
    """What is known and what is mended; all else that doesn't pass is new."""
    known, mended, changed = set(), [], {}
    for outcome in outcomes:
        earlier = before.get(outcome.spec_id)
        if earlier is None or earlier.status == PASSED:
            continue
        if outcome.status == PASSED:
            mended.append(outcome.spec_id)
        elif (difference := _difference(outcome, earlier)) is None:
            known.add(outcome.spec_id)
        else:
            changed[outcome.spec_id] = difference
    return Comparison(frozenset(known), tuple(mended), changed)


def _difference(outcome: Outcome, earlier: Outcome) -> str | None:
    """None where it is no worse than it was, wrong nowhere where it wasn't, and there by the same numbers; else what is new."""
    if outcome.fault is not None or earlier.fault is not None:
        return None if outcome.fault == earlier.fault else f"it was {earlier.found}"
    fresh = [finding for finding in outcome.findings if finding not in earlier.findings]
    if fresh or outcome.severity > earlier.severity:
        return next(iter(fresh), f"it was {earlier.found}")
    return moved(outcome.wrong, earlier.wrong)


def update(
    outcomes: Iterable[Outcome], before: Mapping[str, Outcome], existing: Collection[str], files: Collection[str]
) -> dict[str, Outcome]:
    """The baseline that makes everything known that doesn't pass, but for bad input. What wasn't run this time stays as it was
    `before`, if there still is such a check: `existing` are those of the `files` that were read."""
    kept = remaining(before, existing, files) | {o.spec_id: o for o in outcomes}
    return {id: kept[id] for id in sorted(kept) if kept[id].status != PASSED and kept[id].fault != INPUT}


def remaining(before: Mapping[str, Outcome], existing: Collection[str], files: Collection[str]) -> dict[str, Outcome]:
    """Outcomes whose check is there still, for all that is known: of the `files` that were read, these `existing` are."""
    return {
        id: outcome
        for id, outcome in before.items()
        if id in existing or (outcome.file not in files and named(outcome.file).is_file())
    }


def text(known: Mapping[str, Outcome], folder: Path) -> str:
    """A baseline as the content of a file of this folder, without what changes from run to run."""
    return "\n".join(
        line(replace(_called(o, _from(folder, o.file)), seconds=0.0, report=None, text=None, versions={}, line=0, seal=None))
        for o in known.values()
    )


def _from(folder: Path, file: str) -> str:
    """The path from this folder, as a baseline has it; as it is where there is none (another drive)."""
    try:
        path = PurePath(os.path.relpath(Path(file).absolute(), folder.resolve())).as_posix()
    except ValueError:
        return file
    return path if path.startswith("../") else f"./{path}"


def _called(outcome: Outcome, file: str) -> Outcome:
    """The outcome of the check of that name in a file of another name."""
    return replace(outcome, file=file, spec_id=f"{file}::{outcome.name}")

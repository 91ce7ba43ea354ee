"""A baseline: what is known to be wrong. New findings fail, known ones are listed, mended ones are noticed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gradcheck_cli.errors import InputError
from gradcheck_cli.files import named
from gradcheck_cli.suite.execute import INPUT, PASSED, Outcome
from gradcheck_cli.suite.results import line, read


@dataclass(frozen=True, slots=True)
class Comparison:
    """The ids of the checks that don't pass and didn't, in the same way (`known`), and of those that pass now (`mended`)."""

    known: frozenset[str] = frozenset()
    mended: tuple[str, ...] = ()


def load(path: Path) -> dict[str, Outcome]:
    """A baseline, or the results of an earlier run."""
    if not named(path, "read the baseline").exists():
        raise InputError("there is no such baseline; --update-baseline writes it", str(path), 0)
    return read(path)


def compare(outcomes: Iterable[Outcome], before: Mapping[str, Outcome]) -> Comparison:
    """What is known and what is mended; all else that doesn't pass is new."""
    known, mended = set(), []
    for outcome in outcomes:
        earlier = before.get(outcome.spec_id)
        if earlier is None or earlier.status == PASSED:
            continue
        if outcome.status == PASSED:
            mended.append(outcome.spec_id)
        elif _same(outcome, earlier):
            known.add(outcome.spec_id)
    return Comparison(frozenset(known), tuple(mended))


def _same(outcome: Outcome, earlier: Outcome) -> bool:
    """No worse than it was, and wrong nowhere where it wasn't."""
    if outcome.fault is not None or earlier.fault is not None:
        return outcome.fault == earlier.fault
    return outcome.severity <= earlier.severity and set(outcome.findings) <= set(earlier.findings)


def update(outcomes: Iterable[Outcome], before: Mapping[str, Outcome], existing: Collection[str]) -> dict[str, Outcome]:
    """The baseline that makes everything known that doesn't pass, but for bad input. What wasn't run this time stays as it was
    `before`, if there still is such a check."""
    kept = {id: outcome for id, outcome in before.items() if id in existing} | {o.spec_id: o for o in outcomes}
    return {id: kept[id] for id in sorted(kept) if kept[id].status != PASSED and kept[id].fault != INPUT}


def text(known: Mapping[str, Outcome]) -> str:
    """A baseline as a file's content, without what changes from run to run."""
    return "\n".join(
        line(replace(o, seconds=0.0, report=None, text=None, versions={}, line=0, seal=None)) for o in known.values()
    )

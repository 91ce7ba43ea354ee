"""Results as JSON Lines, one outcome a line, each on disk before the next: what was finished is neither lost nor done twice."""

from __future__ import annotations

import json
from pathlib import Path

from gradcheck_cli.errors import InputError, first_line
from gradcheck_cli.files import trouble, unlinked
from gradcheck_cli.journal import LONGEST, Journal
from gradcheck_cli.suite.execute import Outcome
from gradcheck_cli.suite.shape import outcome_of


class Results(Journal):
    """Outcomes that are being written: see `Journal`."""

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        super().__init__(path, _outcome, resume=resume)

    def append(self, *outcomes: Outcome) -> None:
        """Write a line of each. Doesn't raise: see `failure`."""
        self.write(*map(line, outcomes))


def line(outcome: Outcome) -> str:
    """An outcome as a line of JSON."""
    return json.dumps(outcome.to_dict(), allow_nan=False)


def read(path: Path) -> dict[str, Outcome]:
    """The outcomes in a file by the ids of their checks, the last one of each; an unfinished last line is passed over."""
    found: dict[str, Outcome] = {}
    path = unlinked(path, "read the results")
    with trouble("read the results", str(path)), path.open("rb") as file:
        for number, text in enumerate(iter(lambda: file.readline(LONGEST), b""), 1):
            if number == 1 and text == b"\n":  # a baseline in which nothing is known
                continue
            try:
                outcome = _outcome(text)
            except ValueError as problem:
                if not text.endswith(b"\n") and len(text) < LONGEST:
                    break
                raise InputError(f"{path}:{number}: this is no result of a run ({first_line(problem)[:100]})") from None
            found[outcome.spec_id] = outcome
    return found


def _outcome(text: bytes) -> Outcome:
    """ValueError where it is none."""
    return Outcome.from_dict(outcome_of(text))

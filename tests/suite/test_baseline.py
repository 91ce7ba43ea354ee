"""Baselines: new findings fail, known ones are listed, mended ones are noticed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gradcheck_cli.files import write
from gradcheck_cli.suite.baseline import compare, text, update
from gradcheck_cli.suite.execute import Outcome
from gradcheck_cli.suite.results import line, read
from gradcheck_cli.suite.run import Suite

KINK = Outcome("a::x", "x", "grad", "a", 1, "failed", "mismatch", "kink", "match", 0.1, findings=("df/dx: kink", "df/dy: kink"))
PASSED = replace(KINK, status="passed", verdict="match", cause=None, findings=())
UNDECIDED = replace(KINK, status="undecided", verdict="undecided", cause=None, findings=("df/dx: undecided",))
CRASH = replace(UNDECIDED, verdict=None, fault="crash", findings=())
INPUT = replace(KINK, verdict=None, fault="input", findings=())


@pytest.mark.parametrize(
    ("now", "before", "known", "mended", "code"),
    [
        (KINK, KINK, True, False, 0),
        (KINK, None, False, False, 1),
        (KINK, PASSED, False, False, 1),
        (PASSED, KINK, False, True, 0),
        (replace(KINK, findings=("df/dx: kink",)), KINK, True, False, 0),
        (replace(KINK, findings=("df/dx: kink", "df/dz: kink")), KINK, False, False, 1),
        (replace(KINK, findings=("df/dx: formula",)), KINK, False, False, 1),
        (KINK, UNDECIDED, False, False, 1),
        (UNDECIDED, UNDECIDED, True, False, 0),
        (CRASH, CRASH, True, False, 0),
        (CRASH, replace(CRASH, fault="timeout"), False, False, 3),
        (CRASH, KINK, False, False, 3),
        (INPUT, KINK, False, False, 2),
    ],
)
def test_only_what_was_wrong_in_the_same_places_is_known(
    now: Outcome, before: Outcome | None, known: bool, mended: bool, code: int
) -> None:
    """Another place, another cause or a worse verdict is new; and the exit code is that of what is new."""
    comparison = compare([now], {} if before is None else {before.spec_id: before})
    assert (comparison.known, comparison.mended) == (frozenset(["a::x"] if known else []), ("a::x",) if mended else ())
    assert Suite((now,), 1, 0.0, comparison).exit_code == code


def test_an_updated_baseline_holds_what_does_not_pass() -> None:
    """Sorted; checks that weren't run keep their place, those that are gone lose it; bad input is never known."""
    before = {name: replace(KINK, spec_id=name) for name in ("a::gone", "a::kept", "a::mended")}
    now = [replace(KINK, spec_id="a::b"), replace(PASSED, spec_id="a::mended"), replace(INPUT, spec_id="a::input"),
           replace(CRASH, spec_id="a::a", seconds=3.0)]  # fmt: skip
    known = update(now, before, {"a::kept", "a::mended", "a::b", "a::a", "a::input"})
    assert list(known) == ["a::a", "a::b", "a::kept"]
    assert text(known).splitlines()[0] == line(replace(CRASH, spec_id="a::a", seconds=0.0, line=0))


@pytest.mark.parametrize("known", [{}, {KINK.spec_id: KINK}], ids=["nothing", "a kink"])
def test_an_updated_baseline_is_read_again(known: dict[str, Outcome], tmp_path: Path) -> None:
    """As `--update-baseline` writes it and `--baseline` reads it, also where nothing is known."""
    file = tmp_path / "known.jsonl"
    write(text(known), str(file))
    assert [*read(file)] == [*known]

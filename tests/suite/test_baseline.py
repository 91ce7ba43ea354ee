"""Baselines: new findings fail, known ones are listed, mended ones are noticed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gradcheck_cli import check_grad
from gradcheck_cli.files import write
from gradcheck_cli.suite.baseline import compare, load, text, update
from gradcheck_cli.suite.execute import Outcome
from gradcheck_cli.suite.findings import found, moved
from gradcheck_cli.suite.results import line
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
    known = update(now, before, {"a::kept", "a::mended", "a::b", "a::a", "a::input"}, {"a"})
    assert list(known) == ["a::a", "a::b", "a::kept"]
    written = replace(CRASH, spec_id="./a::x", file="./a", seconds=0.0, line=0)
    assert text(known, Path()).splitlines()[0] == line(written)


@pytest.mark.parametrize("known", [{}, {KINK.spec_id: KINK}], ids=["nothing", "a kink"])
def test_an_updated_baseline_is_read_again(known: dict[str, Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `--update-baseline` writes it and `--baseline` reads it, also where nothing is known; from another folder too, where
    the same file has another name. Ids of results stay as they are."""
    file = tmp_path / "known.jsonl"
    monkeypatch.chdir(tmp_path)
    write(text(known, file.parent), str(file))
    assert [*load(file)] == [*known]
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert [*load(Path("../known.jsonl"))] == [f"{tmp_path}/{id}" for id in known]
    write("\n".join(map(line, known.values())), str(file))
    assert [*load(file)] == [*known]


def test_checks_of_other_files_stay_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An update from a part of the specs keeps what is known of the others, as long as their files are there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b").touch()
    before = {f"{file}::x": replace(KINK, spec_id=f"{file}::x", file=file) for file in "abc"}
    assert [*update([PASSED], before, {"a::x"}, {"a"})] == ["b::x"]


WHERE = "df/dx float64 grad: formula"


def _wrong(at: dict[str, list[Any]], entries: int = 0) -> Outcome:
    wrong = {WHERE: {"entries": max(entries, len(at)), "at": at}}
    return replace(KINK, cause="formula", findings=(WHERE,), wrong=wrong)


A = [2.0, 3.0, 1e-15, None]
MANY = {f"x={k}": A for k in range(20)}


@pytest.mark.parametrize(
    ("now", "before", "said"),
    [
        ({"x=1": [2.0, 3.0 + 1e-14, 1e-15, None]}, {"x=1": A}, None),
        ({"x=1": [2.0, -2.0, 1e-15, None]}, {"x=1": A}, f"{WHERE[:-9]} at x=1: 3.0 is known, now it is -2.0"),
        ({"x=1": [2.0, 2.5, 1e-15, None]}, {"x=1": A}, f"{WHERE[:-9]} at x=1: 3.0 is known, now it is 2.5"),
        ({"x=1": [2.0, 2.01, 0.02, None]}, {"x=1": [2.0, 1.99, 0.02, None]}, None),  # rounding alone
        ({"x=1": [2.0, 2.0 + 2e-10, 1e-15, None]}, {"x=1": [2.0, 2.0 + 1e-10, 1e-15, None]}, "is known"),
        ({"x=1": [2.0, "nan", None, "sqrt"]}, {"x=1": [2.0, "nan", None, "sqrt"]}, None),
        ({"x=1": [2.0, "nan", None, "log"]}, {"x=1": [2.0, "nan", None, "sqrt"]}, "nan by sqrt is known, now it is nan by log"),
        ({"x=1": [2.0, "inf", None, None]}, {"x=1": A}, "now it is inf"),
        ({"x=1": [2.0, None, None, None]}, {"x=1": A}, "now it is no gradient"),
        ({"x=1": A, "x=2": A}, {"x=1": A}, "at x=2: 3.0 is wrong, and wasn't"),
        ({"x=1": A, "x=2": [2.0, 2.0 + 1e-15, 1e-15, None]}, {"x=1": A}, None),  # rounding decides whether it is wrong
        ({"x=1": A}, {"x=1": A, "x=2": A}, None),
        ({"x=2": A}, {"x=1": A}, "is wrong at other points"),
    ],
)  # fmt: skip
def test_another_wrong_number_at_the_same_place_is_new(now: dict[str, Any], before: dict[str, Any], said: str | None) -> None:
    """Another number than rounding leads to, another operation behind a nan, or another point: a new bug, and it is said what
    is another. What rounding moves is known."""
    outcome, earlier = _wrong(now), _wrong(before)
    found = compare([outcome], {outcome.spec_id: earlier})
    assert (found.known == {outcome.spec_id}) is (said is None)
    assert said is None or said in found.changed[outcome.spec_id]
    assert compare([outcome], {outcome.spec_id: replace(earlier, wrong={})}).known  # of a baseline without numbers


def test_where_not_all_wrong_numbers_are_kept_their_count_speaks() -> None:
    """Many more wrong entries are new; a few more may be rounding's."""
    for count, known in ((10_500, True), (20_000, False)):
        outcome, earlier = _wrong(MANY, count), _wrong(MANY, 10_000)
        assert bool(compare([outcome], {outcome.spec_id: earlier}).known) is known


@pytest.mark.parametrize(
    ("claim", "dtype", "known"),
    [("3*x**2 + 1e-9", "float64", False), ("2*x**2", "float64", False), ("3*x**2 + x/1000", "float64", True),
     ("3*x*x + x/1000", "float64", True), ("3*x**2 - x/1000", "float64", False)],
)  # fmt: skip
def test_a_report_tells_one_wrong_formula_from_another(claim: str, dtype: str, known: bool) -> None:
    """Two wrong formulas of the same derivative, of the same cause; the same one, rounded otherwise, is the same."""
    before = found(check_grad("x**3", claim=f"x={'3*x**2 + x/1000'}", sample=5, dtype=dtype))
    now = found(check_grad("x**3", claim=f"x={claim}", sample=5, dtype=dtype))
    assert now.findings == before.findings and now.findings
    assert (moved(now.wrong, before.wrong) is None) is known

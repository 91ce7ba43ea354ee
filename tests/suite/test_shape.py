"""A line that a run may have written, changed in any way, is an outcome or is refused: nothing else, and no later failure."""

from __future__ import annotations

import json
import random
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gradcheck_cli.errors import InputError
from gradcheck_cli.output import SUITE_FORMATS, suite_renderer
from gradcheck_cli.suite import baseline
from gradcheck_cli.suite.execute import Outcome, execute
from gradcheck_cli.suite.results import line, read
from gradcheck_cli.suite.run import Suite
from gradcheck_cli.suite.shape import FIELDS, outcome_of
from gradcheck_cli.suite.spec import Spec
from tests.hostile import mutated_line


@cache
def wrong() -> Outcome:
    """That of a check, with a report."""
    return execute(Spec("wrong", "grad", "relu(x) - relu(-x)", {"at": "x=0"}, file="a.toml", line=3))


def test_every_field_has_its_shape() -> None:
    """Those of an Outcome, and no other; an outcome that a check gives has it."""
    assert list(FIELDS) == [field.name for field in fields(Outcome)]
    assert Outcome.from_dict(outcome_of(line(wrong()).encode())) == wrong()
    assert wrong().verdict == "mismatch"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": "fine"}, "'status' holds"), ({"status": ["passed"]}, "'status' holds"), ({"line": True}, "'line' holds"),
        ({"verdict": "wrong"}, "'verdict' holds"), ({"extra": 1}, "'extra' is no field"),
        ({"counts": {"match": "1"}}, "'counts' holds"),
        ({"asked": {"target": True}}, "'asked' holds"), ({"asked": {"options": [1]}}, "'asked' holds"),
        ({"report": {"checks": [{}]}}, "'report' holds"), ({"findings": "dy/dx"}, "'findings' holds"),
        ({"seconds": 10**60}, "a number that no outcome has"),
    ],
)  # fmt: skip
def test_what_no_outcome_holds(change: dict[str, Any], message: str) -> None:
    """The error names the field."""
    with pytest.raises(ValueError, match=message):
        outcome_of(json.dumps({**wrong().to_dict(), **change}).encode())


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b"NaN", b"{" * 100_000, b"[" * 100_000, b"\xff", b'{"seconds": 1e999}', b"1" * 5000]
)
def test_what_is_no_outcome(text: bytes) -> None:
    """ValueError, which becomes an input error with file and line."""
    with pytest.raises(ValueError):
        outcome_of(text)


def test_mutated_lines(tmp_path: Path) -> None:
    """Of results and of baselines: 150 lines changed by chance are read, compared and shown in every format, or refused."""
    path, found, refused = tmp_path / "known.jsonl", 0, set()
    for seed in range(150):
        path.write_bytes(mutated_line(line(wrong()), random.Random(seed)))
        try:
            (known,) = [*read(path).values()] or [wrong()]
        except InputError as problem:
            refused.add(str(problem).partition(" (")[0])
            continue
        found += 1
        suite = Suite((known,), 1, 0.0, baseline.compare([wrong()], {known.spec_id: known}))
        assert all(isinstance(suite_renderer(name)(suite), str) for name in SUITE_FORMATS)
        baseline.text(baseline.update([wrong()], {known.spec_id: known}, {known.spec_id}, {known.file}), tmp_path)
    assert 5 < found < 145 and refused == {f"{path}:1: this is no result of a run"}

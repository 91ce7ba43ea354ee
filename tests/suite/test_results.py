"""Results files: nothing that was finished is lost, whatever became of the run that wrote them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradcheck_cli.errors import InputError
from gradcheck_cli.suite.execute import Outcome, broken
from gradcheck_cli.suite.results import Results, line, read
from gradcheck_cli.suite.spec import Spec


def outcome(name: str, fault: str = "crash") -> Outcome:
    return broken(Spec(name, "grad", "x", file="a.toml"), fault, "für alle", 1.5)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """By id; of a check that was run twice, the later outcome."""
    path = tmp_path / "r.jsonl"
    with Results(path) as results:
        for one in (outcome("a"), outcome("b"), outcome("a", "timeout")):
            results.append(one)
    assert read(path) == {"a.toml::a": outcome("a", "timeout"), "a.toml::b": outcome("b")}


@pytest.mark.parametrize("cut", [1, 2, 30, 0])
def test_a_truncated_last_line_is_mended(tmp_path: Path, cut: int) -> None:
    """What can be read of it stays, the rest goes; what is appended begins a line of its own."""
    path = tmp_path / "r.jsonl"
    content = f"{line(outcome('a'))}\n{line(outcome('b'))}\n".encode()
    path.write_bytes(content[: len(content) - cut])
    with Results(path, resume=True) as results:
        results.append(outcome("c"))
    expected = ["a.toml::a", *(["a.toml::b"] if cut < 2 else []), "a.toml::c"]
    assert list(read(path)) == expected
    assert path.read_bytes().count(b"\n") == len(expected)


def test_a_new_run_keeps_the_old_results_aside(tmp_path: Path) -> None:
    """A forgotten --resume costs nothing."""
    path = tmp_path / "r.jsonl"
    for name in ("a", "b"):
        with Results(path) as results:
            results.append(outcome(name))
    assert list(read(path)) == ["a.toml::b"]
    assert list(read(tmp_path / "r.jsonl.old")) == ["a.toml::a"]


def test_two_runs_never_mix(tmp_path: Path) -> None:
    """The second is refused, and harms nothing."""
    path = tmp_path / "r.jsonl"
    with Results(path) as results:
        results.append(outcome("a"))
        for resume in (False, True):
            with pytest.raises(InputError, match="another run is writing these results"):
                Results(path, resume=resume)
        results.append(outcome("b"))
    assert list(read(path)) == ["a.toml::a", "a.toml::b"]


def test_a_full_disk_is_told_and_leaves_whole_lines(tmp_path: Path) -> None:
    """Nothing is raised."""
    with Results(Path("/dev/full")) as results:
        results.append(outcome("a"))
        assert results.failure == "can't write the results to /dev/full: No space left on device"
    path = tmp_path / "r.jsonl"
    with Results(path) as results:
        results.append(outcome("a"))
        whole = path.read_bytes()
        file, written = results.file, []

        class Full:
            def __getattr__(self, name: str) -> object:
                return getattr(file, name)

            def write(self, data: memoryview) -> int | None:
                if written:
                    raise OSError(28, "No space left on device")
                written.append(True)
                return file.write(data[:20])

        results.file = Full()  # type: ignore[assignment]
        results.append(outcome("b"))
        assert results.failure is not None and path.read_bytes() == whole


@pytest.mark.parametrize("text", ["{}\n", "[]\n", "null\n", "x\n", '{"spec_id": 1}\n', "\n"])
def test_what_is_no_result_is_refused(tmp_path: Path, text: str) -> None:
    """With its line."""
    path = tmp_path / "r.jsonl"
    path.write_text(f"{line(outcome('a'))}\n{text}")
    with pytest.raises(InputError, match=r"r\.jsonl:2: this is no result of a run"):
        read(path)


def test_an_unwritable_file_is_refused_before_anything_runs(tmp_path: Path) -> None:
    """A folder that isn't there, or a folder."""
    for path in (tmp_path / "gone" / "r.jsonl", tmp_path):
        with pytest.raises(InputError, match="can't write the results"):
            Results(path)

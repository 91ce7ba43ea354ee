"""A pull request of text only, in a CI that runs `gradcheck run` on it: it overwrites nothing, shows nothing that it doesn't
hold, gives a log no command and a terminal no escape, and is believed nothing about earlier runs."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gradcheck_cli import keys
from gradcheck_cli.errors import InputError
from gradcheck_cli.output import SUITE_FORMATS, suite_renderer
from gradcheck_cli.suite import seals, settings
from gradcheck_cli.suite.execute import Outcome, execute
from gradcheck_cli.suite.results import Results, line, read
from gradcheck_cli.suite.run import Plan, Suite, _open, collect
from gradcheck_cli.suite.spec import Spec
from tests.suite.processes import here, outcomes, spec

NAME = "checks/a\x1b[31m\n::error::b\u202e.toml"
"""A file's name may hold anything but a slash and a null."""
BAD = 'grad = "relu(x) - relu(-x)"\nat = "x=0"'
COMMAND = re.compile(r"^\s*(::|##\[|##vso\[)", re.MULTILINE)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A checkout with what somebody has committed: links for results, baseline and a spec, and names that hold commands."""
    (tmp_path / "precious").write_text("token = 5ecret = 1\n")
    root = tmp_path / "repository"
    (root / ".gradcheck").mkdir(parents=True)
    for place in (".gradcheck/last.jsonl", "known.jsonl", "report.xml", "linked.toml"):
        (root / place).symlink_to(tmp_path / "precious")
    spec(root, BAD, 'grad = "  ::error::x + "', name=NAME)
    return root


def test_nothing_is_overwritten(repository: Path) -> None:
    """The results that nobody asked for aren't kept, and the run goes on; a file that was asked for is refused: 2."""
    code, out, err = here(repository, "checks")
    assert code == 2 and "syntax error" in err and not COMMAND.search(out + err)
    assert all(text.isprintable() for text in (out + err).split("\n"))
    spec(repository, BAD, 'grad = "log(x)"\nname = "  ::error::x + "\nat = "x=-1"', name=NAME)
    code, out, err = here(repository, "checks")
    note = "note: results aren't kept: can't write the results: last.jsonl is a symbolic link"
    assert code == 1 and note in " ".join(out.split())
    assert not COMMAND.search(out + err) and all(text.isprintable() for text in (out + err).split("\n"))
    for arguments in (
        ("--results", "known.jsonl"), ("--baseline", "known.jsonl"), ("--baseline", "known.jsonl", "--update-baseline"),
        ("--format", "junit:report.xml"), ("--resume",), ("--last-failed",),
    ):  # fmt: skip
        code, out, err = here(repository, "checks", *arguments)
        assert (code, out) == (2, "") and "is a symbolic link, and none is followed" in err
    assert (repository.parent / "precious").read_text() == "token = 5ecret = 1\n"


def test_a_folder_of_results_that_is_a_link(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written where it leads."""
    monkeypatch.chdir(repository)
    (repository / ".gradcheck" / "last.jsonl").unlink()
    (repository / ".gradcheck").rmdir()
    notes: list[str] = []
    for target in (repository.parent, repository.parent / "gone"):
        (repository / ".gradcheck").symlink_to(target)
        with ExitStack() as stack:
            assert _open(Plan(), stack, notes) is None
        (repository / ".gradcheck").unlink()
    assert notes[0] == "results aren't kept: can't write the results: .gradcheck is a symbolic link, and none is followed here"
    assert sorted(path.name for path in repository.parent.iterdir()) == ["precious", "repository"]


def test_old_results_are_kept_aside_in_no_link(tmp_path: Path) -> None:
    """FILE.old may be a link too."""
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "r.jsonl.old").symlink_to("precious")
    (tmp_path / "r.jsonl").write_text("{}\n")
    Results(tmp_path / "r.jsonl").file.close()
    assert (tmp_path / "precious").read_text() == "precious"
    assert (tmp_path / "r.jsonl.old").read_text() == "{}\n"


def test_a_link_shows_nothing(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a spec, or of a pyproject.toml, that is a link or in a linked folder, an error quotes nothing; a spec that is one is
    read. One that can't be read is named, no more."""
    monkeypatch.chdir(repository)
    (repository / "folder").symlink_to("..")
    (repository.parent / "b.toml").write_text("token = 5ecret = 1\n")
    for name in ("linked.toml", "folder/b.toml", "folder"):
        with pytest.raises(InputError, match="a symbolic link, and what it leads to") as caught:
            collect([name])
        assert "5ecret" not in str(caught.value)
    (repository / "pyproject.toml").symlink_to("../gradcheck")
    (repository.parent / "gradcheck").write_text("[tool.gradcheck]\ntoken = 5ecret\n")
    with pytest.raises(InputError, match="a symbolic link, and what it leads to") as caught:
        settings.find(repository)
    assert "5ecret" not in str(caught.value)
    (repository.parent / "b.toml").write_text('[[check]]\ngrad = "x"\n')
    assert [found.target for found in collect(["folder/b.toml"])] == ["x"]
    (repository / "binary.toml").write_bytes(b"\xff5ecret")
    with pytest.raises(InputError, match=r"binary\.toml:1: not UTF-8$"):
        collect(["binary.toml"])


@pytest.mark.parametrize(
    "text", ['paths = ["../precious"]', 'paths = ["/etc/passwd"]', 'baseline = "../precious"', 'paths = "~/.ssh"']
)
def test_settings_stay_in_the_project(tmp_path: Path, text: str) -> None:
    """They come with the pull request: what lies outside isn't read as a spec, nor written as a baseline."""
    (tmp_path / "pyproject.toml").write_text(f"[tool.gradcheck]\n{text}\n")
    with pytest.raises(InputError, match=r"pyproject.toml:2: .* must stay below the folder of pyproject.toml"):
        settings.find(tmp_path)


@pytest.mark.parametrize("name", SUITE_FORMATS)
def test_names_are_printable_in_every_format(name: str) -> None:
    """Of files and of checks, and what an error quotes: no escape, no line of its own, no command but the format's."""
    bad = execute(Spec("::error::x\x1b[2J\n::error::y", "grad", "  ::error::x + \x9b1m", file=NAME, line=1))
    wrong = execute(Spec("##[error]z", "grad", "relu(x) - relu(-x)", {"at": "x=0"}, file=NAME, line=1))
    wrong = replace(wrong, text=f"{wrong.text}\n  ::error::x\x1b]0;title\x07", findings=("\x1b",))
    shown = suite_renderer(name)(Suite((bad, wrong), 2, 1.0, notes=("\x1b[31m\n::error::note",)), verbose=True)
    assert all(text.replace("\xa0", " ").isprintable() for text in shown.split("\n"))
    commands = [text for text in shown.split("\n") if COMMAND.match(text)]
    assert len(commands) == (2 if name == "github" else 0)
    assert all(text.startswith("::error file=checks/a\\x1b[31m\\n") for text in commands)


def test_errors_are_printable() -> None:
    """One line of what can be seen, and a quoted line that is no command."""
    text = "  ::error::\x1b[31m|\u202e"
    shown = str(InputError("no \x1b such\nfile", text, 3))
    assert shown == "no \\x1b such\\nfile\n     :error:: [31m| \n     ^"


# -- earlier outcomes ---------------------------------------------------------------------------------------------------


def sealed(given: Spec, outcome: Outcome) -> Outcome:
    return replace(outcome, seal=seals.seal(outcome, seals.code_of(given), False))


def test_a_seal_holds_for_what_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for anything that was changed since: the outcome, the check, its code, the strictness, or whose key it is."""
    (tmp_path / "f.py").write_text("def f(x): return 2*x\n")
    given = Spec("a", "function", "f.py:f", {"at": "x=1"}, file=str(tmp_path / "a.toml"), line=3)
    found = sealed(given, execute(Spec("a", "grad", "x", {"at": "x=1"}, file=given.file)))
    found = sealed(given, replace(found, asked=json.loads(json.dumps(given.asked()))))
    (back,) = [Outcome.from_dict(json.loads(line(found)))]
    assert seals.holds(back, given, False) and seals.holds(replace(back, seconds=9.0), given, False)
    for forged in (
        replace(back, status="failed"),
        replace(back, verdict="imprecise"),
        replace(back, seal=None),
        replace(back, seal="é"),
    ):
        assert not seals.holds(forged, given, False)
    assert not seals.holds(back, given, True)
    assert not seals.holds(back, replace(given, options={"at": "x=2"}), False)
    keys._key.cache_clear()
    with monkeypatch.context() as context:
        context.setenv(keys.VARIABLE, "somebody else's")
        assert not seals.holds(back, given, False)
    keys._key.cache_clear()
    assert seals.holds(back, given, False)
    (tmp_path / "f.py").write_text("def f(x): return 3*x\n")
    assert not seals.holds(back, given, False)


def test_a_key_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made once, for nobody else to read; where none can be kept, nothing is recognised by the next process."""
    monkeypatch.delenv(keys.VARIABLE)
    for folder, kept in ((tmp_path / "state", True), (Path("/dev/null"), False)):
        monkeypatch.setenv("XDG_STATE_HOME", str(folder))
        made = []
        for _ in range(2):
            keys._key.cache_clear()
            made.append(keys._key())
        assert (made[0] == made[1]) == kept and len(made[0]) == 32
    assert (tmp_path / "state" / "gradcheck" / "key").stat().st_mode & 0o777 == 0o600
    keys._key.cache_clear()


def test_code_that_cannot_be_told(tmp_path: Path) -> None:
    """A module by its name, or a file that isn't there: such checks are run again."""
    for target in ("package.module:f", "gone.py:f"):
        assert seals.code_of(Spec("a", "function", target, file=str(tmp_path / "a.toml"))) is None
    assert seals.code_of(Spec("a", "grad", "x")) == ""
    (tmp_path / "f.py").write_text("")
    surrogate: dict[str, Any] = {"surrogate": "gone.py:g"}
    assert seals.code_of(Spec("a", "function", "f.py:f", surrogate, file=str(tmp_path / "a.toml"))) is None
    assert seals.code_of(Spec("a", "function", "f.py:f", {"surrogate": "x[0:1]"}, file=str(tmp_path / "a.toml")))


def test_forged_and_stale_outcomes_are_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A committed file that says that all passed, and code that has changed since, cost one run more."""
    (tmp_path / "f.py").write_text("def f(x): return 2*x\n")
    spec(tmp_path, BAD, 'grad = "sin(x)"', 'function = "f.py:f"\nat = "x=1"')
    results = tmp_path / "r.jsonl"
    monkeypatch.chdir(tmp_path)
    with Results(results) as file:
        for given in collect(["checks.toml"]):
            file.append(sealed(given, execute(given)))
    forged = [
        {**o, "status": "passed", "verdict": "match", "cause": None} if o["status"] == "failed" else o
        for o in outcomes(results)
    ]
    results.write_text("".join(json.dumps(o) + "\n" for o in forged))
    (tmp_path / "f.py").write_text("def f(x): return 3*x\n")
    code, out, _ = here(tmp_path, "checks.toml", "--results", "r.jsonl", "--resume")
    assert code == 1 and "note: 1 of 3 were done before" in out
    assert "note: 2 are run again: the check, its code or the results changed, or are another's" in " ".join(out.split())
    assert len(read(results)) == 3

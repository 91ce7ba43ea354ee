"""Command lines as people write them: what can't be doubted is taken, the rest is answered with what to type."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from gradcheck_cli import api
from gradcheck_cli.cli.app import app, run
from gradcheck_cli.cli.words import OF_OTHERS, OF_RUN, meant, quoted
from gradcheck_cli.errors import InputError
from gradcheck_cli.options import ELSEWHERE, KINDS, OPTIONS, Option, of, spoken, taken
from tests.every import every

COMMANDS = [command.name for command in app.registered_commands if command.name]


def understood(line: str) -> list[str]:
    """The command line that a line means."""
    return meant(shlex.split(line), COMMANDS)


@pytest.mark.parametrize(
    ("line", "same"),
    [
        ("", "--help"),
        ("help", "--help"),
        ("help chain", "chain --help"),
        ("version", "--version"),
        ("chain x --point x=1", "chain x --at=x=1"),
        ("chain x --point=x=1", "chain x --at=x=1"),
        ("chain x --tol 1e-6", "chain x --rtol=1e-6 --atol=1e-6"),
        ("chain x --json", "chain x --format json"),
        ("chain x --double --backward", "chain x --dtype double --mode backward"),
        ("model 'Linear(2,2)' --shape 4,2 --training", "model 'Linear(2,2)' --input=4,2 --train"),
        ("function f.py:f --stop_gradients --kwarg dim=1", "function f.py:f --stop-gradients --set=dim=1"),
        ("model x --eval", "model x --eval"),
        ("chain help", "chain --help"),
        ("chain Max(x,y) -o a.toml", "chain Max(x,y) -o a.toml"),
        ("model act.py:Net", "model act.py:Net"),
        ("chain E --at E=1", "chain E --at E=1"),
        ("mixed x --wrt x --no-permutations", "mixed x --wrt x --no-permutations"),
        ("chain x -- --point", "chain x -- --point"),
        ("run a -x --lf --co -n 4", "run a -x --last-failed --list -n 4"),
        ("run a --junit b.xml --numprocesses=2 --maxfail=1", "run a --format=junit:b.xml --workers=2 --fail-fast"),
        ("run a --junitxml=b.xml --maxfail 1 --last_failed", "run a --format=junit:b.xml --fail-fast --last-failed"),
        ("run a --sarif", "run a --format=sarif"),
        ("run a -k 'b and c' --durations 3", "run a -k 'b and c' --durations 3"),
        ("chian x", "chian x"),  # Typer tells the nearest
    ],
)
def test_a_line_means(line: str, same: str) -> None:
    """Other names of commands and options stand for the table's own; everything else is left as it is."""
    assert understood(line) == shlex.split(same)


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ('"sin(x)" --at x=1', 'gradcheck chain "sin(x)" --at x=1'),
        ('--at x=1 "sin(x)"', 'gradcheck chain --at x=1 "sin(x)"'),
        ('"2*x" "z**2"', 'gradcheck chain "2*x" "z**2"'),
        ('"x*y" --wrt x,y', 'gradcheck mixed "x*y" --wrt x,y'),
        ('"x**3" --order 2', 'gradcheck grad "x**3" --order 2'),
        ("silu.py:SiLU --order 2", "gradcheck function silu.py:SiLU --order 2"),
        ("silu.py", "gradcheck function silu.py"),
        ("package.module:f", "gradcheck function package.module:f"),
        ("net.py:build --input 1,28", "gradcheck model net.py:build --input 1,28"),
        ('"Linear(2, 3) | ReLU"', 'gradcheck model "Linear(2, 3) | ReLU"'),
        ("checks.toml -x", "gradcheck run checks.toml -x"),
        ("'a.toml::the check'", 'gradcheck run "a.toml::the check"'),
        ("x", "gradcheck chain x"),
    ],
)
def test_a_line_without_a_command_is_answered_with_it(line: str, answer: str) -> None:
    """What should be checked tells the command, and the options tell which kind of check."""
    with pytest.raises(InputError) as caught:
        understood(line)
    assert caught.value.message.endswith(f": {answer}")


def test_answers_are_command_lines() -> None:
    """What is answered can be pasted: the shell reads the same words."""
    for text in ("sin(x)", "x", "x*y | z", "it's", 'say "x"', "$HOME", "a\\b", "x=[1,2]", "", "--at=x=1", "!x"):
        assert shlex.split(quoted(text)) == [text]


@pytest.mark.parametrize("name", ELSEWHERE)
def test_options_of_other_tools_are_answered(name: str) -> None:
    """On the command line and in Python, wherever the option isn't one of ours: with what to do instead."""
    seen = 0
    for kind in KINDS:
        if name in spoken(kind):
            continue
        seen += 1
        with pytest.raises(InputError, match=re.escape(ELSEWHERE[name])):
            understood(f"{kind} x --{name.replace('_', '-')} 1")
        with pytest.raises(TypeError, match=rf"check_{kind}\(\) got an unexpected keyword argument '{name}': "):
            api.TWINS[kind]("x", **({"wrt": "x"} if kind == "mixed" else {}), **{name: 1})
    assert seen


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("chain 'x*y' --at x=1 y=2", "several values stand in one word: --at x=1,y=2"),
        ("grad 'x*y' --shape x=3,4 y=2", "several values stand in one word: --shape x=3,4,y=2"),
        ("function act.py Swish", "a target is one word: act.py:Swish"),
        ("chain act.py:Swish --at x=1", "code is checked by: gradcheck function act.py:Swish"),
        ("run test_it.py", "code is checked by: gradcheck function test_it.py"),
        ("grad 'Linear(2, 3) | ReLU()'", 'a network is checked by: gradcheck model "Linear(2, 3) | ReLU()"'),
        ("function a.toml", "checks of a spec file: gradcheck run a.toml"),
        ("grad x --wrt x", "no such option: --wrt is one of mixed, explain, model"),
        ("chain x --eval", "no such option: --eval is one of model"),
    ],
)
def test_what_belongs_elsewhere_is_told(line: str, answer: str) -> None:
    """Words that blanks divide, and options of other checks."""
    with pytest.raises(InputError, match=re.escape(answer)):
        understood(line)


def test_a_stage_with_a_name_is_no_value() -> None:
    """It may stand behind a point."""
    assert understood("chain 'z = 2*x' --at x=1 'y = z**2'") == ["chain", "z = 2*x", "--at", "x=1", "y = z**2"]


def test_maxfail_above_1_is_answered() -> None:
    """There is no such run: it is said, rather than another one made."""
    with pytest.raises(InputError, match="stops at the first failure"):
        understood("run a --maxfail 3")


@pytest.mark.parametrize("line", ["-s", "-rA", "--tb short", "--tb=short", "--ff", "-m slow", "--deselect a::b"])
def test_pytest_s_other_options_are_answered(line: str) -> None:
    """With what there is to do instead, not with an option that is spelt like it; those of a run are never among them."""
    with pytest.raises(InputError, match=r"^no such option: ") as caught:
        understood(f"run a {line}")
    assert caught.value.text == line.split()[0]
    names = [name for names in OF_OTHERS for name in names]
    assert len({*names}) == len(names) and not {*names} & OF_RUN.keys()


def test_pytest_s_names_lead_to_options() -> None:
    """Whatever another name of an option of `run` stands for, `run` has it."""
    import typer

    command: Any = typer.main.get_command(app)
    known = {form for parameter in command.commands["run"].params for form in parameter.opts}
    assert len(OF_RUN) > 10
    for name, other in OF_RUN.items():
        assert other.partition("=")[0] in known and name not in known
    assert not {name for names in OF_OTHERS for name in names} & known


# -- the table of names ---------------------------------------------------------------------------------------------------

EVERY = [(kind, row, name) for kind in KINDS for row in of(kind) for name in row.also.split()]


def test_another_name_is_no_own_name() -> None:
    """What an option is also called is no option's own name in the same check; names are those of Python."""
    for kind, row, name in EVERY:
        assert name.isidentifier() and name not in {r.name for r in of(kind)} | taken(kind).keys(), (kind, row.name, name)


@every(EVERY, lambda case: f"{case[0]}, {case[2]}")
def test_another_name_is_understood(case: tuple[str, Option, str]) -> None:
    """On the command line and in Python."""
    kind, row, name = case
    rows = [r for r in of(kind) if name in r.also.split()]
    flag = row.form.word is bool
    words = [f"--{name.replace('_', '-')}", *([] if flag else ["1"])]
    own = [r.forms[0].partition("/")[0] + ("" if flag else "=1") for r in rows]
    assert meant([kind, "x", *words], COMMANDS) == [kind, "x", *own]
    if row.twin:
        from gradcheck_cli.options import meant as in_python

        assert in_python(kind, {name: 1}) == dict.fromkeys([r.parameter for r in rows], 1)
        with pytest.raises(TypeError, match=f"got multiple values for {row.parameter!r}"):
            in_python(kind, {name: 1, row.parameter: 1})


def test_words_for_choices_lead_to_choices() -> None:
    """Every other word for a dtype or a mode means one, and none means two."""
    seen = 0
    for row in OPTIONS:
        if row.choices:
            assert set(row.known.values()) == set(row.choices)
            assert all(row.known[name] == name for name in row.choices)
            seen += len(row.known) - len(row.choices)
    assert seen > 20


def test_in_a_spec(tmp_path: Path) -> None:
    """Other names stand in a spec too; an error is told where the name stands, and what is given twice is one."""
    from gradcheck_cli.suite.spec import load

    path = tmp_path / "a.toml"
    path.write_text('[[check]]\nchain = "x"\npoint = 1\ntol = 0.5\n')
    assert dict(load(path, "a.toml")[0].options) == {"at": 1, "rtol": 0.5, "atol": 0.5}
    path.write_text('[[check]]\nchain = "x"\npoint = true\n')
    with pytest.raises(InputError, match=r"a\.toml:3: 'at' must be a point"):
        load(path, "a.toml")
    path.write_text('[[check]]\nchain = "x"\nat = 1\npoint = 2\n')
    with pytest.raises(InputError, match=r"a\.toml:4: 'at' is given twice"):
        load(path, "a.toml")
    path.write_text('[[check]]\nchain = "x"\neps = 1e-6\n')
    with pytest.raises(InputError, match=r"a\.toml:3: unknown key 'eps' of a chain check: there is no step to choose"):
        load(path, "a.toml")


def test_the_help_is_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """A bare command line is no error."""
    assert run([]) == 0
    assert capsys.readouterr().out.startswith("Usage: gradcheck")
    assert run(["help", "chain"]) == 0
    assert capsys.readouterr().out.startswith("Usage: gradcheck chain")

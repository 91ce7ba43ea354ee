"""What can't be meant is told before anything runs: each time with the line of the spec, and a caret under the culprit."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradcheck_cli.cli import app
from gradcheck_cli.errors import InputError
from gradcheck_cli.suite.refusals import refuse
from gradcheck_cli.suite.run import collect


def refused(folder: Path, text: str) -> list[str]:
    """The lines of what is said of a spec."""
    (folder / "c.toml").write_text(text)
    with pytest.raises(InputError) as error:
        refuse(collect(["c.toml"]))
    return str(error.value).splitlines()


@pytest.mark.parametrize(
    ("check", "line", "message", "under"),
    [
        ('grad = "sinn(x)"', 2, "unknown function 'sinn'; nearest: sin", "sinn(x)"),
        ('grad = "x**"', 2, "syntax error", '"'),
        ('chain = ["u = 2*x", "v = u + sinn(u)"]', 2, "unknown function 'sinn'", 'sinn(u)"]'),
        ('grad = "x*y"\nat = "x=1"', 3, "the point gives no value for y", '"'),
        ('grad = "x*y"\nat = {x = 1, y = "1 +"}', 3, "syntax error", '"}'),
        ('grad = "x"\ndtype = "float64,float31"', 3, "unknown dtype 'float31'", 'float31"'),
        ("grad = 'x'\nclaim = 'x=2*z'", 3, "'z' is neither an input nor a stage", "z'"),
        ('grad = "x"\n# order below\norder = 7', 4, "the order must be from 1 to 6: 7", "order = 7"),
        ('mixed = "x*y"\nwrt = "x,z"', 3, "'z' is not an input", 'z"'),
        ('jacobian = ["x", "f1 = y*x"]', 2, "an output can't be called 'f1'", 'f1 = y*x"]'),
        ('function = "opps.py:f"', 2, "there is no file 'opps.py': did you mean 'ops.py'", 'opps.py:f"'),
        ('function = "ops.py:f"\nformula = "sinn(x)"', 3, "unknown function 'sinn'", 'sinn(x)"'),
        ('model = "Linear(2, 3) | Gelu()"', 2, "unknown layer 'Gelu'", 'Gelu()"'),
        ('model = "ops.py:net"\nneuron = "a"', 3, "a neuron is the index of an output entry", 'a"'),
        ('grad = "\\"x"', 2, "", 'grad = "'),
    ],
)  # fmt: skip
def test_it_stands_where_the_culprit_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: str, line: int, message: str, under: str
) -> None:
    """Of every kind of check; no file of the user's is imported for that."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ops.py").write_text("raise SystemExit('imported')")
    first, quoted, caret = refused(tmp_path, f'[[check]]\n{check}\n[[check]]\ngrad = "x"\n')
    assert first.startswith(f"c.toml:{line}: {message}")
    assert quoted[caret.index("^") :].startswith(under)


def test_all_of_them_are_told_and_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 2, also where another check would fail; what stands in [defaults] is shown there. Checks that aren't
    chosen aren't asked for."""
    monkeypatch.chdir(tmp_path)
    checks = [f'[[check]]\nname = "{k}"\ngrad = "nope{k}(x)"\n' for k in range(12)]
    wrong = '[[check]]\nname = "wrong"\ngrad = "x"\nclaim = "2"\n'
    (tmp_path / "c.toml").write_text('[defaults]\nat = "x=1+"\n' + "".join(checks) + wrong)
    assert app.run(["run", "c.toml"]) == 2
    out, err = capsys.readouterr()
    assert not out and "c.toml:5: unknown function 'nope0'" in err and err.rstrip().endswith("... and 3 more")
    assert app.run(["run", "c.toml::wrong"]) == 2
    assert 'c.toml:2: syntax error: the expression ends too early\n  at = "x=1+"\n' in capsys.readouterr().err
    assert not (tmp_path / ".gradcheck").exists()

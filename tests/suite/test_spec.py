"""Spec files: what they mean, and how their errors read."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from gradcheck_cli.errors import InputError
from gradcheck_cli.forms import FLAG, LIMIT, SECONDS, TEXT, WHOLE
from gradcheck_cli.options import KINDS, OPTIONS
from gradcheck_cli.suite.places import line_of, places
from gradcheck_cli.suite.run import collect, refuse_code
from gradcheck_cli.suite.settings import KEYS, find
from gradcheck_cli.suite.spec import ABOUT, Spec, _Reader, load
from gradcheck_cli.verdict.verdicts import Cause, Verdict


def read(folder: Path, text: str) -> tuple[Spec, ...]:
    (folder / "c.toml").write_text(text)
    return load(folder / "c.toml", "c.toml")


def test_a_check_is_the_arguments_of_its_twin(tmp_path: Path) -> None:
    """Kind, target, options with the defaults below them, expectation, file and line."""
    text = """
[defaults]
dtype = ["float64", "float32"]
sample = 3
wrt = "x"

[[check]]
name = "forum"
chain = ["2*x", "z**2"]
sample = 5

[[check]]
mixed = "x*y"
wrt = ["x", "y"]
at.x = 1
at.y = 2
expect = "mismatch"
cause = "kink"

[[check]]
function = "silu.py:SiLU"
set = {dim = 1}
[check.shape]
x = [2, 3]
"""
    both = ["float64", "float32"]
    chain, mixed, function = read(tmp_path, text)
    assert chain == Spec("forum", "chain", ("2*x", "z**2"), {"dtype": both, "sample": 5}, file="c.toml", line=7)
    assert mixed.options == {"dtype": both, "sample": 3, "wrt": ["x", "y"], "at": {"x": 1, "y": 2}}
    assert (mixed.name, mixed.expect, mixed.cause, mixed.line) == ("x*y", Verdict.MISMATCH, Cause.KINK, 12)
    assert function.options == {"dtype": both, "sample": 3, "settings": {"dim": 1}, "shape": {"x": [2, 3]}}
    assert (function.id, function.line) == ("c.toml::silu.py:SiLU", 20)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[check]]\ngrad = "x"\ndtyp = 3', "c.toml:3: unknown key 'dtyp' of a grad check; nearest: dtype\n  dtyp = 3\n  ^"),
        ('[[check]]\ngrad = "x"\nwrt = 3', "c.toml:3: unknown key 'wrt' of a grad check: an option of mixed, model\n"),
        ('[[chek]]\ngrad = "x"', "c.toml:1: unknown key 'chek'; nearest: check\n  [[chek]]\n  ^"),
        ('[check]\ngrad = "x"', "c.toml:1: a check is written under a heading of its own: [[check]]\n  [check]\n  ^"),
        ('[[check]]\n"gard" = "x"', "c.toml:2: unknown key 'gard'; nearest: grad\n  \"gard\" = \"x\"\n  ^"),
        ('[[check]]\n  grad = 3', "c.toml:2: 'grad' must be a text\n    grad = 3\n    ^"),
        ('[[check]]\ngrad = "x"\nsample = true', "c.toml:3: 'sample' must be a whole number, at least 1\n  sample = true\n  ^"),
        ('[[check]]\ngrad = "x"\nsample = 0', "c.toml:3: 'sample' must be a whole number, at least 1\n  sample = 0\n  ^"),
        ('[[check]]\ngrad = "x"\ndtype = "float31"', "c.toml:3: unknown dtype 'float31': choose from float64, "),
        ('[defaults]\nmode = ["reverse", "backwards"]', "c.toml:2: unknown mode 'backwards': choose from "),
        ('[[check]]\ngrad = "x"\ntimeout = inf', "c.toml:3: 'timeout' must be a positive number of seconds"),
        ('[[check]]\ngrad = "x"\nat = 2020-01-01', "c.toml:3: 'at' must be a point"),
        ('[[check]]\ngrad = "x"\n[check.at]\nx = [true]', "c.toml:3: 'at' must be a point"),
        ('[[check]]\ngrad = " "', "c.toml:2: 'grad' is empty"),
        ('[[check]]\nname = "a"', "c.toml:1: a check has one key that says what is checked: chain, mixed, grad, jacobian, "
         "hessian, function, model; it has none"),
        ('[[check]]\ngrad = "x"\nchain = "x"', "it has grad and chain"),
        ('[[check]]\nmixed = "x*y"', "c.toml:1: a mixed check needs 'wrt'"),
        ('[[check]]\ngrad = "x"\nname = "a"\n\n[[check]]\ngrad = "y"\nname = "a"',
         "c.toml:7: the name 'a' is taken: line 1 has it"),
        ('[[check]]\ngrad = "x"\nname = "a\\nb"', "c.toml:3: a name is one line of text"),
        ('[[check]]\ngrad = "x"\nexpect = "mismach"', "c.toml:3: unknown expect 'mismach'; nearest: mismatch"),
        ('[[check]]\ngrad = "x"\ncause = "kink"', "c.toml:3: a cause belongs to expect = \"mismatch\""),
        ('[defaults]\nsampel = 3', "c.toml:2: unknown key 'sampel'; nearest: sample"),
        ('[defaults]\nsample = "3"', "c.toml:2: 'sample' must be a whole number"),
        ('[[check]]\ngrad = "x\n', "c.toml:2: no valid TOML: "),
        ('x = """', "c.toml:1: no valid TOML: "),
        (f"x = 1\n{'.'.join(['a'] * 40_000)} = 1", "c.toml:2: a key of more than 100 parts\n  a.a.a"),
        ("x = {" + ' . '.join(['"a"', "'a'"] * 20_000) + " = 1}", "c.toml:1: a key of more than 100 parts\n  x = {"),
        (f"x = {'9' * 5000}", "c.toml: no valid TOML: Exceeds the limit (4300 digits)"),
    ],
)  # fmt: skip
def test_an_error_names_file_line_and_the_right_key(tmp_path: Path, text: str, message: str) -> None:
    """Before anything runs."""
    with pytest.raises(InputError) as error:
        read(tmp_path, text)
    assert message in str(error.value)


def test_names_are_unique(tmp_path: Path) -> None:
    """Checks without a name are called after their target, and numbered; given names are kept."""
    text = "".join(f'[[check]]\ngrad = "x"\n{name}\n' for name in ("", "", 'name = "x (2)"', "", 'name = "y"'))
    assert [spec.name for spec in read(tmp_path, text)] == ["x", "x (3)", "x (2)", "x (4)", "y"]


def test_a_name_is_printable() -> None:
    """Also one that is the target, in which TOML may write any character: pytest shows it as it is."""
    (found,) = _Reader("c.toml", '[[check]]\ngrad = "x + \\u001b[31m\\u202e"').specs({})
    assert found.name == "x + \\x1b[31m\\u202e"


def test_places_are_found_around_strings_and_comments() -> None:
    """Brackets, hashes and keys within strings, comments and values of several lines aren't headings."""
    text = (
        'a = "[[check]] # no" # [[check]]\nb = """\n[[check]]\nc = 1\n"""\nd = [\n  1, # ]\n  2,\n]\n'
        "[[check]] # yes\n  'e' = '''\nx\n'''\n\"f\".g = {h = 1, i = [2]}\n[[ check ]]\nj=1\n[check.k]\nl = 1\n"
    )
    lines = {path: line_of(text, at) for path, at in places(text).items()}
    assert lines == {
        ("a",): 1, ("b",): 2, ("d",): 6, ("check",): 10, ("check", 0): 10, ("check", 0, "e"): 11, ("check", 0, "f"): 14,
        ("check", 0, "f", "g"): 14, ("check", 1): 15, ("check", 1, "j"): 16, ("check", 1, "k"): 17, ("check", 1, "k", "l"): 18,
    }  # fmt: skip


def test_folders_are_searched_and_files_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every .toml below, sorted, but for pyproject.toml and what is hidden; ids are relative to the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("b.toml", "a/z.toml", "a/pyproject.toml", ".hidden/c.toml", "a/.d.toml", "a/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text('[[check]]\ngrad = "x"')
    assert [spec.id for spec in collect([".", "b.toml", str(tmp_path / "b.toml")])] == ["a/z.toml::x", "b.toml::x"]
    (tmp_path / "empty").mkdir()
    for missing, message in (("empty", "no spec file"), ("gone.toml", "can't read gone.toml: No such file")):
        with pytest.raises(InputError, match=message):
            collect([missing])


@pytest.mark.parametrize(
    ("check", "executes"),
    [
        ('function = "a.py:f"', True), ('function = "torch:sin"', True), ('model = "net.py:build"', True),
        ('model = "pkg.net:build"', True), ('model = "net.py"', True), ('model = "Linear(2, 3) | ReLU"', False),
        ('grad = "x"', False),
    ],
)  # fmt: skip
def test_what_imports_code_can_be_refused(tmp_path: Path, check: str, executes: bool) -> None:
    """A function, and a model that isn't written in layers; nothing else executes code."""
    specs = read(tmp_path, f"[[check]]\n{check}")
    if executes:
        with pytest.raises(InputError, match=r"c\.toml:1: --no-python refuses this check"):
            refuse_code(specs)
    else:
        refuse_code(specs)


def test_what_is_asked_is_plain_json(tmp_path: Path) -> None:
    """Also infinities, which TOML has and JSON hasn't."""
    (spec,) = read(tmp_path, '[[check]]\njacobian = ["x", "y"]\nat = {x = inf, y = nan}')
    asked = spec.asked()
    assert asked == {"kind": "jacobian", "target": ["x", "y"], "options": {"at": {"x": "inf", "y": "nan"}}, "expect": "match"}


PAGE = (Path(__file__).parent.parent.parent / "docs" / "specs.md").read_text(encoding="utf-8")


def test_the_page_about_specs_is_true(tmp_path: Path) -> None:
    """Its files are specs, its error is what its wrong one gives, and its settings and keys are those there are."""
    blocks = re.findall(r"^```(toml|text)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    specs = [text for kind, text in blocks if kind == "toml" and "[[check]]" in text]
    assert len(read(tmp_path, specs[0])) == 3
    (tmp_path / "a.toml").write_text(specs[1])
    with pytest.raises(InputError) as wrong:
        load(tmp_path / "a.toml", "a.toml")
    assert ("text", f"gradcheck: error: {wrong.value}\n") in blocks
    (settings,) = (text for kind, text in blocks if kind == "toml" and "[tool.gradcheck]" in text)
    assert tomllib.loads(settings)["tool"]["gradcheck"].keys() == KEYS.keys()
    (tmp_path / "pyproject.toml").write_text(settings)
    assert find(tmp_path).run["memory"] == "2G"
    assert not [name for name in (*KINDS, *ABOUT) if f"| `{name}` |" not in PAGE]


def test_every_option_with_a_form_of_its_own_is_on_the_page() -> None:
    """The table of values names each that may be more than a text, a number or a flag."""
    (table,) = re.findall(r"^## Values\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)
    plain = (TEXT, FLAG, WHOLE, LIMIT, SECONDS)
    own = {row.name for row in OPTIONS if row.written and not any(row.form.holds.schema == form.holds.schema for form in plain)}
    assert own and {f"`{name}`" for name in own} <= {*re.findall(r"`\w+`", table)}

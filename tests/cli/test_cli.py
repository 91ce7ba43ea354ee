"""The command line: what it builds, its exit codes, its errors, and what it doesn't import."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradcheck_cli
from gradcheck_cli import files
from gradcheck_cli.cli import app as application
from gradcheck_cli.errors import InputError
from gradcheck_cli.formulas.problem import Problem
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.scope import AtPoints
from gradcheck_cli.verdict.verdicts import Verdict

Run = Callable[..., tuple[int, str, str]]


class FakeEngine:
    """Keeps the problem it was asked, and answers with one check of a given verdict."""

    def __init__(self) -> None:
        self.problem: Problem | None = None
        self.verdict = Verdict.MATCH
        self.failure: BaseException | None = None

    def run(self, problem: Problem, progress: Any = None) -> Report:
        if self.failure:
            raise self.failure
        self.problem = problem
        column = Column(
            "dy/dx", "total", "y", ("x",), "reverse", "float64", AtPoints({"x": np.ones(1)}), np.ones(1), [None],
            np.zeros(1), np.array([self.verdict.severity], dtype=np.uint8), shown="1",
        )  # fmt: skip
        return Report(problem.command, {"stages": [], "seed": None}, [column], {}, problem.strict)


def _asked(problem: Problem) -> tuple[tuple[str, ...], ...]:
    """The derivatives of the first output."""
    return problem.tasks[0].questions[0].derivatives


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """In the place of the real one, for those who ask for it as they run: what imports it for good has done so before."""
    import gradcheck_cli.remedies.mending  # noqa: F401

    fake = FakeEngine()
    monkeypatch.setattr("gradcheck_cli.formulas.check.check_problem", fake.run)
    monkeypatch.setattr("gradcheck_cli.formulas.stream.check_stream", lambda problem, progress, request: fake.run(problem))
    return fake


@pytest.fixture
def run(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> Run:
    def invoke(*arguments: str) -> tuple[int, str, str]:
        code = application.run(list(arguments))
        out, err = capsys.readouterr()
        return code, out, err

    return invoke


# -- what a command line means -------------------------------------------------------------------------------------


def test_chain(run: Run, engine: FakeEngine) -> None:
    """Every stage and input is differentiated by, from the output back; stages are checked locally too."""
    assert run("chain", "2*x", "z**2+2*z+2", "--at", "x=1")[0] == 0
    assert engine.problem is not None
    assert _asked(engine.problem) == (("y",), ("z",), ("x",))
    assert engine.problem.local
    assert engine.problem.modes == ("reverse",)
    assert engine.problem.formats == ("float64",)


@pytest.mark.parametrize(
    ("arguments", "derivatives"),
    [
        (["x**2+x*y**2", "--wrt", "x,y"], "x xy yx"),
        (["x**2+x*y**2", "--wrt", "x,y", "--no-permutations"], "x xy"),
        (["x*y", "--wrt", "x,x"], "x xx"),
        (["x*y", "--wrt", "x , x,y"], "x xx xxy"),
        (["x*y", "--wrt", "x,x,y", "--permutations"], "x xx xxy xyx yxx"),
        (["2*x | z*x", "--wrt", "x"], "x"),
    ],
)
def test_mixed(run: Run, engine: FakeEngine, arguments: list[str], derivatives: str) -> None:
    """Every prefix, and the other orders where they are asked for or there are just two names."""
    assert run("mixed", *arguments)[0] == 0
    assert engine.problem is not None
    assert ["".join(d) for d in _asked(engine.problem)] == derivatives.split()
    assert not engine.problem.local
    assert engine.problem.modes == ("grad",)


def test_grad(run: Run, engine: FakeEngine) -> None:
    """All partial derivatives up to the order."""
    assert run("grad", "x**2 + y**3", "--order", "2")[0] == 0
    assert engine.problem is not None
    assert ["".join(d) for d in _asked(engine.problem)] == ["x", "y", "xx", "xy", "yy"]


def test_jacobian(run: Run, engine: FakeEngine) -> None:
    """Every entry of every output by every entry of every input; several expressions are several outputs."""
    assert run("jacobian", "W@x", "s*x[0]", "--at", "W=[[1,2]],x=[3,4],s=5")[0] == 0
    assert engine.problem is not None
    assert [[q.chain.output for q in task.questions] for task in engine.problem.tasks] == [["f1[0]"], ["f2"]]
    assert ["".join(d) for d in _asked(engine.problem)] == ["W[0,0]", "W[0,1]", "x[0]", "x[1]"]


def test_hessian(run: Run, engine: FakeEngine) -> None:
    """All pairs, in both orders."""
    assert run("hessian", "norm(x)", "--shape", "x=2")[0] == 0
    assert engine.problem is not None
    assert ["".join(d) for d in _asked(engine.problem)] == ["x[0]x[0]", "x[0]x[1]", "x[1]x[0]", "x[1]x[1]"]


def test_every_option_arrives(run: Run, engine: FakeEngine) -> None:
    """Options reach the problem under their own names."""
    code, *_ = run(
        "grad", "x*y", "--at", "x=1,y=2", "--at", "x=3,y=4", "--sample", "5", "--domain", "x=0:5", "--domain", "y=:1",
        "--seed", "9", "--mode", "all", "--dtype", "float32,bfloat16", "--dtype", "float64", "--device", "cuda:0",
        "--claim", "x=y", "--rtol", "1e-3", "--atol", "0", "--ulps", "4", "--strict", "--timeout", "7", "--verbose",
    )  # fmt: skip
    problem = engine.problem
    assert code == 0
    assert problem is not None
    assert problem.points.count(options_format()) == 7
    assert (problem.points.seed, dict(problem.points.domain)) == (9, {"x": (0.0, 5.0), "y": (-np.inf, 1.0)})
    assert problem.modes == ("reverse", "grad", "forward", "func")
    assert problem.formats == ("float32", "bfloat16", "float64")
    assert (problem.device, problem.strict, problem.timeout, problem.verbose) == ("cuda:0", True, 7.0, True)
    assert (problem.limits.rtol, problem.limits.atol, problem.limits.ulps) == (1e-3, 0.0, 4.0)
    assert [claim.wrt for claim in problem.claims] == [("x",)]


def options_format() -> Any:
    from gradcheck_cli.floats import FORMATS

    return FORMATS["float64"]


def test_python_twins_are_the_commands(run: Run, engine: FakeEngine) -> None:
    """The same question asked in Python builds the same problem."""
    run("mixed", "x*y", "--wrt", "x,y", "--at", "x=2,y=3", "--strict")
    asked = engine.problem
    report = gradcheck_cli.check_mixed("x*y", ["x", "y"], at={"x": 2, "y": 3}, strict=True)
    assert asked is not None
    assert engine.problem is not None
    assert report.ok
    for name in ("command", "tasks", "local", "formats", "modes", "limits", "strict", "timeout"):
        assert getattr(engine.problem, name) == getattr(asked, name)


# -- expressions that start with a dash ----------------------------------------------------------------------------


@pytest.mark.slow(reason="processes")
@pytest.mark.parametrize("expression", ["-x", "-sin(x)", "-2*x", "--x*x", "-x**2+1", "-(x)", "-.5*x", "-x | -z"])
def test_an_expression_may_start_with_a_dash(run: Run, engine: FakeEngine, expression: str) -> None:
    """It is no option, before, between and after the options."""
    for arguments in ([expression, "--at", "x=1"], ["--at", "x=1", expression], ["--", expression]):
        assert run("chain", *arguments)[0] == 0
        assert engine.problem is not None
        assert engine.problem.tasks[0].chain.inputs == ("x",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chain", "x", "--stict"], "no such option: --stict; did you mean --strict"),
        (["chain", "x", "-strict"], "no such option: did you mean --strict (an expression is written '(-strict)')"),
        (["chain", "x", "-at", "x=1"], "no such option: did you mean --at (an expression is written '(-at)')"),
        (["chain", "x", "--foo"], "no such option: --foo"),
        (["chain", "x", "--sample", "many"], "invalid value for '--sample'"),
        (["chain"], "missing argument 'EXPRESSION'"),
        (["mixed", "x*y"], "missing option '--wrt'"),
        (["chian", "x"], "no such command 'chian'; did you mean 'chain'"),
        (["x"], "no such command: there is chain, mixed, "),
        (
            ["sin(x)", "--at", "x=1"],
            'the command is missing; to check every derivative of a chain of expressions: gradcheck chain "',
        ),
        (["chain", "x", "--at"], "option '--at' requires an argument"),
    ],
)
def test_usage_errors(run: Run, arguments: list[str], message: str) -> None:
    """A slip in the command line is one line on stderr, and exit code 2."""
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.splitlines()[0].startswith(f"gradcheck: error: {message}")
    assert len(err.splitlines()) == 1 or err.splitlines()[2].strip() == "^"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chain", "x^2"], "'^' is not a power here: write '**'\n  x^2\n   ^"),
        (["chain", ""], "a stage is empty\n  \n  ^"),
        (["chain", "x", "--at", "x=a"], "a number is needed here, not a variable\n  x=a\n    ^"),
        (["mixed", "x*y", "--wrt", "x,z"], "'z' is not an input (there is x, y)\n  x,z\n    ^"),
        (["mixed", "x*y", "--wrt", "x,"], "a name is missing\n  x,\n    ^"),
        (
            ["mixed", "x", "--wrt", "x,x,x,x,x,x,x"],
            "derivatives up to order 6 are checked, not 7\n  x,x,x,x,x,x,x\n  ^",
        ),
        (
            ["mixed", "a*b*c*d*e1*f", "--wrt", "a,b,c,d,e1,f", "--permutations"],
            "a, b, c, d, e1, f has 720 orders; at most 120 are checked",
        ),
        (["grad", "x", "--order", "7"], "the order must be from 1 to 6: 7"),
        (
            ["grad", "*".join(f"x{i}" for i in range(50)), "--order", "3"],
            "23,425 derivatives are too many: at most 1,000 are checked",
        ),
        (
            ["chain", "x", "--mode", "sideways"],
            "unknown mode 'sideways': choose from reverse, grad, forward, func, or all\n  sideways\n  ^",
        ),
        (
            ["chain", "x", "--dtype", "float32,int"],
            "unknown dtype 'int': choose from float64, float32, float16, bfloat16, complex128, complex64, or all\n"
            "  float32,int\n          ^",
        ),
        (
            ["chain", "x*t", "--claim", "t"],
            "say which derivative this is: name=formula, where name is one of y, x, t\n  t\n  ^",
        ),
        (
            ["chain", "x", "--claim", "q=1"],
            "nothing is differentiated by 'q': name=formula, where name is one of y, x\n  q=1\n  ^",
        ),
        (["chain", "x", "--claim", "x=t"], "'t' is neither an input nor a stage (there is x, y)\n  x=t\n    ^"),
        (
            ["mixed", "x*y", "--wrt", "x,y", "--claim", "x=1"],
            "give the formula alone: it is claimed to be d2f/dxdy\n  x=1\n  ^",
        ),
        (["chain", "x", "--rtol", "-1"], "rtol must be a non-negative number: -1.0"),
        (["chain", "x", "--timeout", "0"], "timeout must be a positive number: 0.0"),
        (["chain", "x", "--format", "xml"], "unknown format 'xml': choose from text, json, markdown, html"),
        (["chain", "x", "--output", "/"], "can't write the output: it is a directory\n  /\n  ^"),
        (["functions", "zzz"], "no function is called 'zzz'\n  zzz\n  ^"),
    ],
)
def test_input_errors(run: Run, engine: FakeEngine, arguments: list[str], message: str) -> None:
    """Bad input is one line, the text and a caret, exit code 2, and no work is done."""
    assert run(*arguments) == (2, "", f"gradcheck: error: {message}\n")
    assert engine.problem is None


# -- exit codes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "arguments", "code"),
    [
        (Verdict.MATCH, [], 0), (Verdict.NONDIFFERENTIABLE, ["--strict"], 0), (Verdict.IMPRECISE, [], 0),
        (Verdict.IMPRECISE, ["--strict"], 1), (Verdict.MISMATCH, [], 1), (Verdict.UNDECIDED, [], 3),
        (Verdict.OUTSIDE_DOMAIN, [], 3),
    ],
)  # fmt: skip
def test_exit_codes(run: Run, engine: FakeEngine, verdict: Verdict, arguments: list[str], code: int) -> None:
    """0 all passed, 1 a mismatch, 3 undecided or nothing checked."""
    engine.verdict = verdict
    assert run("chain", "x", *arguments)[0] == code


def test_a_crash_is_no_verdict(run: Run, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected exception is one line and exit code 70; the traceback is shown on request."""
    engine.failure = ZeroDivisionError("a\nb")
    assert run("chain", "x") == (
        70,
        "",
        "gradcheck: internal error: ZeroDivisionError: a b (GRADCHECK_TRACEBACK=1 shows the traceback)\n",
    )
    monkeypatch.setenv("GRADCHECK_TRACEBACK", "1")
    code, _, err = run("chain", "x")
    assert code == 70
    assert err.startswith("Traceback (most recent call last)")


def test_other_ends(run: Run, engine: FakeEngine) -> None:
    """An interrupt is 130; an engine's InputError is bad input."""
    engine.failure = KeyboardInterrupt()
    assert run("chain", "x")[:2] == (130, "")
    engine.failure = InputError("no such device", "cuda:9", 0)
    assert run("chain", "x") == (2, "", "gradcheck: error: no such device\n  cuda:9\n  ^\n")


# -- output --------------------------------------------------------------------------------------------------------


def test_json_to_a_file(run: Run, tmp_path: Path) -> None:
    """--output writes the file whole, leaves nothing beside it, and prints nothing."""
    target = tmp_path / "result.json"
    assert run("chain", "x", "--format", "json", "--output", str(target)) == (0, "", "")
    assert json.loads(target.read_text())["verdict"] == "match"
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]
    assert target.stat().st_mode & 0o777 == 0o666 & ~files.umask()
    target.chmod(0o600)
    assert run("chain", "x", "--quiet", "-o", str(target))[0] == 0
    assert target.read_text() == "verdict: match (1 check: 1 match)\n"
    assert target.stat().st_mode & 0o777 == 0o600


def test_unwritable_output_is_found_before_the_work(run: Run, engine: FakeEngine, tmp_path: Path) -> None:
    """No work is done for a result that can't be kept."""
    code, _, err = run("chain", "x", "--output", str(tmp_path / "no" / "file"))
    assert code == 2
    assert err.startswith("gradcheck: error: can't write the output: No such file or directory\n")
    assert engine.problem is None


def test_devices_are_not_replaced(run: Run) -> None:
    """What isn't a regular file is written to, not replaced by one."""
    assert run("chain", "x", "--output", os.devnull)[0] == 0
    assert not Path(os.devnull).is_file()


def test_an_interrupted_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file appears whole or not at all."""
    target = tmp_path / "result"
    target.write_text("old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(InputError, match="can't write the output: No space left on device"):
        files.write("new", str(target))
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["result"]


def test_functions(run: Run) -> None:
    """The table as text and as JSON, whole or filtered by any name of a function."""
    code, out, _ = run("functions", "silu")
    assert code == 0
    assert out.splitlines()[2].split() == ["silu(x),", "swish", "x*sigmoid(x)", "torch.nn.functional.silu", "-", "-"]
    assert "silu(x), swish\n  definition  x*sigmoid(x)\n  torch       torch.nn.functional.silu\n" in run("functions")[1]
    rows = json.loads(run("functions", "--format", "json")[1])
    assert {"name", "aliases", "signature", "definition", "torch", "domain", "kinks"} == set(rows[0])
    assert len(rows) > 130


@pytest.mark.parametrize("command", ["chain", "mixed", "grad", "functions", "why"])
def test_every_help_has_examples_that_work(run: Run, command: str) -> None:
    """The examples in the help are command lines that the program accepts."""
    import shlex

    code, out, _ = run(command, "--help")
    lines = [line.strip() for line in re.sub(r"\\\n\s*", "", out).splitlines()]  # a long one goes on in the next line
    examples = [line for line in lines if line.startswith(f"gradcheck {command}")]
    assert code == 0
    assert len(examples) >= 3
    for example in examples:
        arguments = [a for a in shlex.split(example)[1:] if a not in ("--output", "result.json")]
        assert run(*arguments)[0] == 0, example


# -- what is imported ---------------------------------------------------------------------------------------------------


LIGHT: list[tuple[list[str], int]] = [
    (["--help"], 0), (["chain", "--help"], 0), (["--version"], 0), (["chain", "--nothing"], 2),
    (["chain", "x^2"], 2), (["chain", "x", "--at", "y=1"], 2), (["mixed", "x", "--wrt", "y"], 2),
    (["functions", "silu"], 0), (["why", "kink"], 0),
]  # fmt: skip

SCRIPT = """
import json, sys
from gradcheck_cli.cli.app import run
found = []
for arguments in json.loads(sys.argv[1]):
    code = run(arguments)
    found.append((code, [m for m in ("torch", "sympy", "flint", "numpy", "jinja2") if m in sys.modules], len(sys.modules)))
print(json.dumps(found), file=sys.stderr)
"""


def test_nothing_heavy_is_imported() -> None:
    """Help, versions and errors need no torch, SymPy, flint or NumPy, and few other modules: a process that has done all of
    it has imported none of them (benchmarks/startup.py has the seconds).
    """
    given = json.dumps([arguments for arguments, _ in LIGHT])
    done = subprocess.run([sys.executable, "-c", SCRIPT, given], capture_output=True, text=True, check=True)
    found = json.loads(done.stderr.splitlines()[-1])
    assert [(arguments, code, heavy) for (arguments, _), (code, heavy, _) in zip(LIGHT, found, strict=True)] == [
        (arguments, code, []) for arguments, code in LIGHT
    ]
    assert max(count for *_, count in found) < 500


def test_importing_the_package_is_light() -> None:
    """`import gradcheck_cli` loads nothing of it; the public names are there all the same."""
    script = "import sys, gradcheck_cli as g; print([m for m in sys.modules if m.startswith('gradcheck_cli.')], dir(g))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"[] {sorted(gradcheck_cli.__all__)}"
    for name in gradcheck_cli.__all__:
        assert getattr(gradcheck_cli, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        gradcheck_cli.nothing  # noqa: B018


def test_version() -> None:
    """One line each for gradcheck and what it stands on; `python -m gradcheck_cli` is the command."""
    done = subprocess.run([sys.executable, "-m", "gradcheck_cli", "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"gradcheck \S+\ntorch \S+\nsympy \S+\npython-flint \S+\n", done.stdout)


def test_a_closed_pipe_is_quiet() -> None:
    """`gradcheck functions | head -1` ends without a traceback."""
    command = f"{sys.executable} -m gradcheck_cli functions --format json | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[\n", "")

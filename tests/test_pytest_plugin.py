"""The pytest plugin, in test sessions of its own: what it collects, how it fails, and what it costs those who don't use it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradcheck_cli.callables import doubts

pytestmark = pytest.mark.slow(reason="each test is a session of pytest")

pytest_plugins = "pytester"

SPEC = """
[defaults]
at = "x=1"

[[check]]
name = "right"
chain = ["2*x", "z**2"]

[[check]]
name = "wrong"
chain = "relu(x) - relu(-x)"
at = "x=0"

[[check]]
name = "known"
chain = "relu(x) - relu(-x)"
at = "x=0"
expect = "mismatch"
cause = "kink"

[[check]]
name = "outside"
chain = "log(x)"
at = "x=-1"

[[check]]
grad = "sinn(x)"
"""


@pytest.fixture(autouse=True)
def _alone(loaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sessions know nothing of the one that they run in."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)


def write(pytester: pytest.Pytester, name: str, text: str) -> Path:
    path = pytester.path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


# -- those who don't use it ---------------------------------------------------------------------------------------------


def test_it_costs_nothing(pytester: pytest.Pytester) -> None:
    """In a session that uses no check nothing heavy is imported, though the plugin is there."""
    pytester.makepyfile("""
        import sys

        def test_modules(request):
            assert request.config.pluginmanager.has_plugin("gradcheck")
            heavy = {"torch", "sympy", "numpy", "flint", "rich", "typer", "joblib", "gradcheck_cli.api"}
            assert not heavy & set(sys.modules)
    """)
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_collecting_runs_nothing(pytester: pytest.Pytester) -> None:
    """Spec files are collected without torch and SymPy."""
    write(pytester, "a.gradcheck.toml", SPEC)
    pytester.makeconftest("""
        import sys

        def pytest_sessionfinish(session):
            assert not {"torch", "sympy", "rich"} & set(sys.modules)
    """)
    result = pytester.runpytest_subprocess("--collect-only", "-q")
    result.stdout.fnmatch_lines(["a.gradcheck.toml::right", "a.gradcheck.toml::sinn(x)", "5 tests collected*"])
    assert result.ret == 0


# -- spec files ---------------------------------------------------------------------------------------------------------


def test_each_check_is_a_test(pytester: pytest.Pytester) -> None:
    """They pass as expected, fail, check nothing, or are misspelt; a failure is the report, without a traceback of ours."""
    write(pytester, "checks/a.gradcheck.toml", SPEC)
    result = pytester.runpytest_inprocess("-rA", "--strict-markers")
    result.assert_outcomes(passed=2, failed=3)
    text = result.stdout.str()
    assert "mismatch (kink): dy/dx at x = 0.0: exact 1, autograd 0.0\n" in text
    assert "verdict: mismatch (2 checks: 1 mismatch, 1 match)" in text
    assert "verdict: outside_domain (2 checks: 2 outside_domain)" in text
    assert "unknown function 'sinn'; nearest: sin, sinh, sinc\n  sinn(x)\n  ^" in text
    assert "Traceback" not in text and "runtest" not in text


def test_a_test_knows_its_line(pytester: pytest.Pytester) -> None:
    """Reports name the spec file and the line of the check; tests are chosen by name and by marker."""
    path = write(pytester, "a.gradcheck.toml", SPEC)
    items, _ = pytester.inline_genitems()
    assert [item.reportinfo() for item in items][:2] == [(path, 4, "right"), (path, 8, "wrong")]
    pytester.runpytest_inprocess("-k", "right", "-m", "gradcheck").assert_outcomes(passed=1, deselected=4)


def test_another_working_directory(pytester: pytest.Pytester) -> None:
    """A function is found beside its spec file, wherever pytest is started, and the spec alone can be asked for."""
    write(pytester, "sub/ops.py", "def f(x): return x**2")
    write(pytester, "sub/a.gradcheck.toml", '[[check]]\nfunction = "ops.py:f"\nat = "x=3"')
    pytester.makeini("[pytest]")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(pytester.mkdir("elsewhere"))
        spec = pytester.path / "sub" / "a.gradcheck.toml"
        pytester.runpytest_inprocess("--rootdir", pytester.path, spec).assert_outcomes(passed=1)


def test_a_bad_spec_is_an_error(pytester: pytest.Pytester) -> None:
    """It stops the session before a check runs, and names the line and the nearest key."""
    write(pytester, "a.gradcheck.toml", '[[check]]\nchain = "x"\ndtyp = "float64"')
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["a.gradcheck.toml:3: unknown key 'dtyp'*nearest: dtype*"])


@pytest.mark.parametrize(
    ("project", "options"),
    [
        ("", ["--gradcheck-no-python"]),
        ("[tool.pytest.ini_options]\ngradcheck_no_python = true", []),
        ("[tool.gradcheck]\nno-python = true", []),
    ],
    ids=["option", "ini", "project"],
)
def test_code_can_be_refused(pytester: pytest.Pytester, project: str, options: list[str]) -> None:
    """A spec that would import code is then an error; the code isn't run."""
    write(pytester, "ops.py", "raise SystemExit('imported')")
    write(pytester, "a.gradcheck.toml", '[[check]]\nfunction = "ops.py:f"\n[[check]]\nmodel = "Linear(2, 1)"')
    write(pytester, "b.gradcheck.toml", '[[check]]\nmodel = "Linear(2, 1)"')
    pytester.makepyprojecttoml(project)
    result = pytester.runpytest_inprocess(*options, "--continue-on-collection-errors")
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(["a.gradcheck.toml:1: this check imports ops.py:f, which is refused"])


def test_settings_of_the_project_hold(pytester: pytest.Pytester) -> None:
    """Defaults and strictness of [tool.gradcheck] are those of `gradcheck run`."""
    write(pytester, "a.gradcheck.toml", '[[check]]\nchain = "sigmoid(x)"')
    pytester.makepyprojecttoml('[tool.gradcheck]\nstrict = true\n[tool.gradcheck.defaults]\nat = "x=40"')
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    assert "fails under strict=True" in result.stdout.str()


# -- within Python tests ------------------------------------------------------------------------------------------------


def test_the_fixture_fails_the_test(pytester: pytest.Pytester) -> None:
    """Each method is a check_* function that returns its report, or raises with the report; the traceback ends in the test."""
    pytester.makepyfile("""
        import pytest
        from gradcheck_cli import VerdictError

        def test_right(gradcheck):
            assert gradcheck.mixed("x*y", "x,y", at="x=1,y=2").verdict == "match"
            gradcheck.function(lambda x: x.sin(), at={"x": 1.0})

        def test_caught(gradcheck):
            with pytest.raises(VerdictError, match="kink"):
                gradcheck.grad("relu(x) - relu(-x)", at={"x": 0})

        def test_wrong(gradcheck):
            gradcheck.grad("relu(x) - relu(-x)", at={"x": 0})

        def test_unknown(gradcheck):
            gradcheck.chian("x")
    """)
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(passed=2, failed=2)
    text = result.stdout.str()
    assert '>       gradcheck.grad("relu(x) - relu(-x)", at={"x": 0})' in text
    assert "pytest_plugin.py" not in text
    assert "unknown check 'chian': choose from chain, mixed" in text


def test_the_marker_checks_what_is_returned(pytester: pytest.Pytester) -> None:
    """A function of tensors, an expression, a chain and a Problem; options are those of the check; fixtures work as ever."""
    pytester.makepyfile("""
        import pytest, torch
        from gradcheck_cli.language.points import parse_points
        from gradcheck_cli.formulas.problem import Problem, Question, Task
        from gradcheck_cli.language.chain import link

        class Wrong(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return 2*x
            @staticmethod
            def backward(ctx, g):
                return 2.001*g

        @pytest.fixture
        def factor():
            return 3

        @pytest.mark.gradcheck(points={"x": [1.0, 2.0]}, dtype=["float64", "float32"], order=2)
        def test_function(factor):
            return lambda x: (factor*x).sin()

        @pytest.mark.gradcheck(points=torch.tensor([1.0, 2.0], dtype=torch.float64))
        def test_a_tensor_needs_no_name():
            return torch.sin

        @pytest.mark.gradcheck(points=1.5, tol=1e-9)
        def test_a_number_needs_no_name():
            return "x**2"

        @pytest.mark.gradcheck
        def test_wrong_function():
            return Wrong.apply

        @pytest.mark.gradcheck(points="x=1")
        @pytest.mark.parametrize("formula", ["sin(x)", ["2*x", "z**2"]])
        def test_formulas(formula):
            return formula

        @pytest.mark.gradcheck(points=[{"x": 1, "y": 2}], kind="jacobian")
        class TestClass:
            def test_kind(self):
                return ["x*y", "x + y"]

        @pytest.mark.xfail(strict=True)
        @pytest.mark.gradcheck(points="x=0")
        def test_known():
            return "relu(x) - relu(-x)"

        @pytest.mark.gradcheck
        def test_nothing():
            pass

        @pytest.mark.gradcheck
        def test_its_own_failure():
            assert 1 == 2

        @pytest.mark.gradcheck(pionts={"x": 1})
        def test_misspelt():
            return torch.sin

        @pytest.mark.gradcheck(points={"x": 1})
        def test_misnamed():
            return torch.nn.functional.celu
    """)
    result = pytester.runpytest_inprocess("--strict-markers")
    result.assert_outcomes(passed=6, failed=5, xfailed=1)
    text = result.stdout.str()
    assert "_ test_misspelt _" in text and "\nthe marker gradcheck takes no 'pionts'; nearest: points\n___" in text
    assert "\n'x' is not a parameter of celu (it has input, alpha, inplace): its input is called 'input'\n" in text
    assert "another exception" not in text and "Traceback" not in text
    assert "mismatch (formula)" in text
    assert "a test marked gradcheck returns a function of tensors, an expression or a Problem, not None" in text
    assert "assert 1 == 2" in text
    assert "pytest_plugin.py" not in text


def test_a_problem_is_checked(pytester: pytest.Pytester) -> None:
    """A Problem that was built in Python."""
    pytester.makepyfile("""
        import pytest
        from gradcheck_cli import check_chain
        from gradcheck_cli.formulas import check

        @pytest.mark.gradcheck
        def test_problem(monkeypatch):
            problems = []
            with monkeypatch.context() as patch:
                run = check.check_problem
                patch.setattr(
                    check, "check_problem", lambda problem, progress=None: problems.append(problem) or run(problem)
                )
                check_chain("relu(x) - relu(-x)", at="x=0")
            return problems[0]
    """)
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    assert "mismatch (kink)" in result.stdout.str()


# -- what the drop-in can't certify ---------------------------------------------------------------------------------------

DOUBTFUL = """
    import logging
    import pytest, torch
    from gradcheck_cli import gradcheck, gradgradcheck
    from gradcheck_cli.shadow.rules import RULES

    @pytest.fixture(autouse=True)
    def unknown(monkeypatch):
        monkeypatch.delitem(RULES, "linalg_eig")

    X = torch.ones(1, dtype=torch.float64, requires_grad=True)

    def of_eigenvalues(function):
        return lambda x: function(torch.linalg.eigvals(x.diag()).real)

    class Nearly(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2*x
        @staticmethod
        def backward(ctx, g):
            return 2.0001*g

    @pytest.mark.parametrize("function", [torch.sin, torch.cos, torch.exp, torch.tanh])
    def test_eigenvalues(function):
        assert gradcheck(of_eigenvalues(function), X)

    def test_twice():
        assert gradgradcheck(of_eigenvalues(torch.sin), X)

    def test_tolerated():
        assert gradcheck(Nearly.apply, torch.ones(2, dtype=torch.float64, requires_grad=True), rtol=1e-2)

    def test_certified():
        assert gradcheck(torch.sin, torch.ones(2, dtype=torch.float64, requires_grad=True))

    def test_printed(capfd):
        assert gradcheck(of_eigenvalues(torch.sin), X)
        assert capfd.readouterr().out == ""
"""


def told(text: str) -> None:
    """What a session says that runs these tests."""
    assert text.count("gradcheck: not certified") == text.count("6 x was checked by torch's own gradcheck") == 1
    assert "test_eigenvalues[" in text and " and 3 more" in text
    assert "1 x is not the derivative, but within the tolerances that were given" in text


def test_doubts_are_told_once(pytester: pytest.Pytester) -> None:
    """Where warnings are errors nothing fails for them: a section has each reason, its calls, some tests."""
    pytester.makepyfile(DOUBTFUL)
    result = pytester.runpytest_inprocess("-W", "error")
    result.assert_outcomes(passed=8)
    told(result.stdout.str())


def test_several_processes(pytester: pytest.Pytester) -> None:
    """Under pytest-xdist the same tests pass and fail, failures read the same, and doubts are told once, of all workers."""
    write(pytester, "a.gradcheck.toml", SPEC)
    pytester.makepyfile(
        DOUBTFUL,
        test_marked="""
        import pytest

        @pytest.mark.gradcheck(points=2)
        def test_expression():
            return "sin(x)"
        """,
    )
    result = pytester.runpytest_inprocess("-n", "2", "-W", "error")
    result.assert_outcomes(passed=3 + 8, failed=3)
    assert "verdict: mismatch (2 checks: 1 mismatch, 1 match)" in result.stdout.str()
    told(result.stdout.str())


def test_all_tests_are_named_if_asked(pytester: pytest.Pytester) -> None:
    """With -v."""
    pytester.makepyfile(DOUBTFUL)
    result = pytester.runpytest_inprocess("-v")
    section = result.stdout.str().partition("gradcheck: not certified")[2]
    assert all(f"::test_eigenvalues[{name}]" in section for name in ("sin", "cos", "exp", "tanh")) and "more" not in section


def test_nothing_to_tell(pytester: pytest.Pytester) -> None:
    """No section where all was certified."""
    pytester.makepyfile(DOUBTFUL)
    result = pytester.runpytest_inprocess("-k", "certified")
    result.assert_outcomes(passed=1, deselected=7)
    assert "not certified" not in result.stdout.str()


def test_without_the_plugin_nothing_fails_either(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the log has it, which pytest shows for tests that fail."""
    monkeypatch.setattr(doubts, "_sessions", [])  # the plugin of the outer session
    pytester.makepyfile(DOUBTFUL)
    result = pytester.runpytest_inprocess("-W", "error", "-p", "no:gradcheck", "-o", "log_cli=true")
    result.assert_outcomes(passed=8)
    assert "WARNING" in result.stdout.str() and "linalg_eig can't be followed" in result.stdout.str()


def test_a_session_within_another_has_its_own(pytester: pytest.Pytester) -> None:
    """What an inner session was told is no business of the outer one."""
    before = {reason: list(tests) for reason, tests in doubts._sessions[-1].items()}
    pytester.makepyfile(DOUBTFUL)
    pytester.runpytest_inprocess().assert_outcomes(passed=8)
    assert doubts._sessions[-1] == before

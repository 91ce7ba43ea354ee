"""The pytest plugin. It imports neither torch nor SymPy (nor rich, nor NumPy) before a check runs.

- Files called `*.gradcheck.toml` are collected: each check of such a spec is a test, which fails where it is undecided, too.
  What [tool.gradcheck] in pyproject.toml says of defaults, time, strictness and code holds.
- The fixture `gradcheck` has a method for each check_* function; a report that fails fails the test.
- A test marked `gradcheck(points=..., dtype=..., ...)` returns what is to be checked.
- What the drop-in couldn't certify is said once, at the end: no warning, which a session may turn into an error.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck_cli.callables import doubts
from gradcheck_cli.errors import InputError, VerdictError, nearest
from gradcheck_cli.options import ELSEWHERE, KINDS, spoken, taken

if TYPE_CHECKING:
    from gradcheck_cli.suite.execute import Outcome
    from gradcheck_cli.suite.spec import Spec
    from gradcheck_cli.verdict.report import Report

SUFFIX = ".gradcheck.toml"
NO_PYTHON = "gradcheck_no_python"

MARKER = (
    "gradcheck(points=None, kind=None, **options): the test returns a function of tensors, an expression (or several, a chain) "
    "or a Problem, whose gradient is checked. points: a number of samples, or what `at` takes; "
    f"kind: {', '.join(KINDS)}; options: those of check_*."
)


def pytest_addoption(parser: pytest.Parser) -> None:
    says = "refuse checks of spec files that import code: functions, and models from files"
    parser.addini(NO_PYTHON, says, type="bool", default=False)
    parser.getgroup("gradcheck").addoption("--gradcheck-no-python", action="store_true", dest=NO_PYTHON, help=says)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)
    config.stash[_DOUBTS] = doubts.listen()


def pytest_unconfigure(config: pytest.Config) -> None:
    if _DOUBTS in config.stash:
        doubts.stop(config.stash[_DOUBTS])


# -- what the drop-in couldn't certify ------------------------------------------------------------------------------------

_DOUBTS = pytest.StashKey[doubts.Reasons]()

_WORKER = "gradcheck_doubts"
"""The key under which a worker of pytest-xdist sends them."""

_TESTS = 3
"""Tests that are named for each reason, unless -v asks for all."""


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_WORKER] = session.config.stash[_DOUBTS]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker is done."""
    doubts.merge(node.config.stash[_DOUBTS], getattr(node, "workeroutput", {}).get(_WORKER, {}))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    found = config.stash[_DOUBTS]
    if not found:
        return
    terminalreporter.section("gradcheck: not certified")
    for reason, tests in sorted(found.items(), key=lambda item: -len(item[1])):
        names = list(dict.fromkeys(tests))
        shown = names if config.getoption("verbose") > 0 else names[:_TESTS]
        more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
        terminalreporter.line(f"{len(tests)} x {reason}")
        terminalreporter.line(f"    {', '.join(shown)}{more}")


# -- spec files ---------------------------------------------------------------------------------------------------------


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> SpecFile | None:
    if file_path.name.endswith(SUFFIX):
        return SpecFile.from_parent(parent, path=file_path)
    return None


class SpecFile(pytest.File):
    """A spec: a test for each of its checks."""

    def collect(self) -> Iterator[SpecItem]:
        from gradcheck_cli.suite import settings
        from gradcheck_cli.suite.spec import load

        try:
            project = settings.find(self.config.rootpath)
            specs = load(self.path, self.nodeid, project.defaults)
        except InputError as problem:
            raise self.CollectError(str(problem)) from None
        refused = self.config.getini(NO_PYTHON) or self.config.getoption(NO_PYTHON) or project.run.get("no-python")
        for spec in specs:
            if refused and spec.executes:
                raise self.CollectError(f"{self.nodeid}:{spec.line}: this check imports {spec.target}, which is refused")
            limits = {name: project.run[name] for name in ("timeout", "strict") if name in project.run}
            yield SpecItem.from_parent(self, name=spec.name, spec=spec, limits=limits)


class SpecItem(pytest.Item):
    """One check of a spec."""

    def __init__(self, *, spec: Spec, limits: Mapping[str, Any], **given: Any) -> None:
        super().__init__(**given)
        self.spec = spec
        self.limits = limits
        self.add_marker("gradcheck")

    def runtest(self) -> None:
        from gradcheck_cli.suite.execute import execute

        outcome = execute(self.spec, self.path, **self.limits)
        if outcome.status != "passed":
            raise _Failed(outcome)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, _Failed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.spec.line - 1, self.name


class _Failed(Exception):
    """A check of a spec that didn't pass: its headline and report, or its error."""

    def __init__(self, outcome: Outcome) -> None:
        from gradcheck_cli.output.outcomes import explanation, headline

        head = f"{outcome.found}: " if outcome.error else f"{headline(outcome)}\n\n"
        super().__init__(f"{head}{explanation(outcome)}")


# -- within Python tests ------------------------------------------------------------------------------------------------


class Gradcheck:
    """The check_* functions, each raising VerdictError unless everything passed. They return the Report."""

    def __getattr__(self, kind: str) -> Any:
        __tracebackhide__ = True
        check = _twin(kind, AttributeError)

        @functools.wraps(check)
        def checked(*arguments: Any, **options: Any) -> Report:
            __tracebackhide__ = True
            report: Report = check(*arguments, **options)
            if not report.ok:
                raise VerdictError(str(report))
            return report

        return checked


@pytest.fixture(scope="session")
def gradcheck() -> Gradcheck:
    """The check_* functions of gradcheck (`gradcheck.chain("2*x", at="x=1")`); a report that doesn't pass fails the test."""
    return Gradcheck()


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """What a marked test returns is checked, as a part of its call."""
    marker, test = pyfuncitem.get_closest_marker("gradcheck"), pyfuncitem.obj
    if marker is not None:

        @functools.wraps(test)
        def checked(**arguments: Any) -> None:
            __tracebackhide__ = True
            returned = test(**arguments)
            try:
                report = _check(returned, *marker.args, **marker.kwargs)
                failure = None if report.ok else str(report)
            except InputError as problem:
                failure = str(problem)
            if failure is not None:
                pytest.fail(failure, pytrace=False)

        pyfuncitem.obj = checked
    try:
        return (yield)
    finally:
        pyfuncitem.obj = test  # a plugin may run it again


def _check(returned: Any, points: Any = None, *, kind: str | None = None, **options: Any) -> Report:
    """The report on what a marked test returned."""
    from gradcheck_cli.formulas.problem import Problem

    if isinstance(returned, Problem):
        from gradcheck_cli.formulas.check import check_problem

        return check_problem(returned)
    if points is not None:
        options["sample" if isinstance(points, int) else "at"] = points
    written = isinstance(returned, str) or (isinstance(returned, Sequence) and all(isinstance(r, str) for r in returned))
    if not written and not callable(returned):
        raise InputError(f"a test marked gradcheck returns a function of tensors, an expression or a Problem, not {returned!r}")
    kind = kind or ("chain" if written else "function")
    check = _twin(kind)
    for name in options:
        if name not in spoken(kind):
            known = ("points", "kind", *taken(kind))
            said = f": {ELSEWHERE[name]}" if name in ELSEWHERE else nearest(name, known)
            raise InputError(f"the marker gradcheck takes no {name!r}{said}")
    report: Report = check(returned, **options)
    return report


def _twin(kind: str, error: type[Exception] = InputError) -> Any:
    __tracebackhide__ = True
    if kind not in KINDS:
        raise error(f"unknown check {kind!r}: choose from {', '.join(KINDS)}")
    from gradcheck_cli.api import TWINS

    return TWINS[kind]

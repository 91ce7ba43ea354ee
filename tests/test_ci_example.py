"""What is there to be pasted works: the project in examples/ci, the GitHub Action, the GitLab job and the pre-commit hooks."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import xmlschema
import yaml
from jsonschema.validators import validator_for

from gradcheck_cli.cli.run import EXAMPLE as EXAMPLE_SPEC
from gradcheck_cli.pytest_plugin import SUFFIX
from tests.schemas import schema

pytest_plugins = "pytester"
pytestmark = pytest.mark.slow(reason="each test starts processes")

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "ci"

ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))

SCHEMAS = {
    ROOT / "action.yml": "https://json.schemastore.org/github-action.json",
    EXAMPLE / ".github" / "workflows" / "gradients.yml": "https://json.schemastore.org/github-workflow.json",
    EXAMPLE
    / ".gitlab-ci.yml": "https://gitlab.com/gitlab-org/gitlab/-/raw/master/app/assets/javascripts/editor/schema/ci.json",
    EXAMPLE / ".pre-commit-config.yaml": "https://json.schemastore.org/pre-commit-config.json",
    ROOT / ".pre-commit-config.yaml": "https://json.schemastore.org/pre-commit-config.json",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the example, with one worker: each imports torch and SymPy."""
    copy = Path(shutil.copytree(EXAMPLE, tmp_path / "my project"))
    settings = copy / "pyproject.toml"
    settings.write_text(settings.read_text().replace("[tool.gradcheck]\n", "[tool.gradcheck]\nworkers = 1\n"))
    return copy


def ran(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command with this Python's programs before all others."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    known = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "CI_", "PYTEST_"))}
    given = {**known, "PATH": path, **environment}
    return subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_files_are_valid(path: Path) -> None:
    """Each holds to the schema of the service that reads it."""
    rules, content = schema(SCHEMAS[path]), yaml.safe_load(path.read_text(encoding="utf-8"))
    if isinstance(content, dict) and True in content:  # `on`, which YAML 1.1 takes for true
        content["on"] = content.pop(True)
    validator_for(rules)(rules).validate(content)


def test_the_gitlab_job_passes(project: Path) -> None:
    """All checks pass, the recorded mismatch among them, and the report that GitLab reads is written."""
    job = yaml.safe_load((project / ".gitlab-ci.yml").read_text(encoding="utf-8"))["gradients"]
    _, command = job["script"]
    done = ran(shlex.split(command), project)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^7 checks: 7 passed in", done.stdout, re.MULTILINE)
    report = (project / job["artifacts"]["reports"]["junit"]).read_text(encoding="utf-8")
    xmlschema.XMLSchema(str(ROOT / "tests" / "output" / "junit.xsd")).validate(report)


def test_pytest_passes(loaded: None, project: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests of the project, and the checks of its spec files beside them."""
    monkeypatch.chdir(project)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.delitem(sys.modules, "ops", raising=False)  # of another test in this process
    result = pytester.runpytest_inprocess("-q", "-p", "no:cacheprovider")
    assert result.ret == 0
    result.assert_outcomes(passed=11)


# -- the action ---------------------------------------------------------------------------------------------------------

HOSTILE = """
[[check]]
name = "::error::forged"
chain = "x**2"
at = "x=1"
claim = "x = 3"
"""


def act(project: Path, **inputs: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Path]]:
    """The step of the action that checks, run as the runner of GitHub would, and the files that it was given to write."""
    (step,) = (step for step in ACTION["runs"]["steps"] if step.get("id") == "check")
    runner = project.parent / "runner"
    runner.mkdir()
    files = {name: runner / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "script.sh")}
    files["script.sh"].write_text(step["run"])
    files["GITHUB_STEP_SUMMARY"].write_text("before\n")
    given = {name: {**inputs}.get(match[1], ACTION["inputs"][match[1]]["default"])
             for name, value in step["env"].items() if (match := re.fullmatch(r"\${{ inputs\.(.*) }}", value))}  # fmt: skip
    assert given.keys() == step["env"].keys()
    done = ran(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(files["script.sh"])], project,
        RUNNER_TEMP=str(runner), GITHUB_WORKSPACE=str(project),
        **given, **{name: str(path) for name, path in files.items() if name.startswith("GITHUB_")},
    )  # fmt: skip
    return done, files


def commands(log: str) -> list[str]:
    """The lines of a log that the runner takes for commands: from a stop-commands on it waits for the token."""
    found, token = [], ""
    for line in log.splitlines():
        if token:
            token = "" if line == f"::{token}::" else token
        elif line.lstrip().startswith("::stop-commands::"):
            token = line.rpartition("::")[2]
        elif line.lstrip().startswith("::"):
            found.append(line)
    assert not token
    return found


def test_the_action_reports_what_is_wrong(project: Path) -> None:
    """A slip in the backward fails the job, with annotations, a summary and code scanning results; what a spec says gives no
    command to the runner."""
    slipped = (project / "ops.py").read_text().replace("(1 + x * (1 - s))", "(1 + x)")
    (project / "ops.py").write_text(slipped)
    (project / "checks" / "hostile.toml").write_text(HOSTILE)
    done, files = act(project, paths="checks/hostile.toml 'checks/ops.gradcheck.toml'", args="--timeout '60'")
    assert done.returncode == 1, done.stderr
    annotations = commands(done.stdout)
    assert [line.split(",line=")[0] for line in annotations] == [
        "::error file=checks/hostile.toml", "::error file=checks/ops.gradcheck.toml",
    ]  # fmt: skip
    assert "the factor 1 - sigmoid" in annotations[1]
    assert files["GITHUB_STEP_SUMMARY"].read_text().startswith("before\n### gradcheck: 4 checks: 2 failed, 2 passed\n")
    reports = Path(files["GITHUB_OUTPUT"].read_text().strip().removeprefix("reports="))
    found: dict[str, Any] = json.loads((reports / "report.sarif").read_text())
    places = [result["locations"][0]["physicalLocation"] for result in found["runs"][0]["results"]]
    line = slipped.splitlines().index("    def backward(ctx, upstream):")  # of its decorator
    assert (places[1]["artifactLocation"]["uri"], places[1]["region"]["startLine"]) == ("ops.py", line)
    assert (reports / "junit.xml").exists()


def test_inputs_of_the_action_are_not_evaluated(project: Path) -> None:
    """Inputs are split as a shell would, and that is all; what isn't an argument of the command ends with its exit code."""
    done, files = act(project, paths="$(touch\tpwned) `touch pwned`;touch pwned", args="--no-such 'a b'")
    assert done.returncode == 2
    assert not (project / "pwned").exists()
    assert files["GITHUB_STEP_SUMMARY"].read_text() == "before\n"


@pytest.mark.parametrize(
    ("inputs", "arguments"),
    [
        ({}, ["--extra-index-url", "https://download.pytorch.org/whl/cpu"]),
        ({"torch-index": ""}, []),
        (
            {"torch-index": "https://cpu.example", "pip-args": "-c c.txt"},
            ["--extra-index-url", "https://cpu.example", "-c", "c.txt"],
        ),
    ],
)
def test_the_action_installs_itself(tmp_path: Path, inputs: dict[str, str], arguments: list[str]) -> None:
    """From the folder in which it lies, with a torch for the CPU unless something else is asked for; every input is used."""
    (step,) = (step for step in ACTION["runs"]["steps"] if step.get("name") == "Install gradcheck")
    given = {}
    for name, value in step["env"].items():
        of = re.fullmatch(r"\${{ (?:inputs|github)\.(\S+) }}", value)
        assert of is not None
        given[name] = (
            "/action here" if of[1] == "action_path" else inputs.get(of[1], ACTION["inputs"].get(of[1], {}).get("default"))
        )
    (tmp_path / "python").write_text('#!/bin/sh\nprintf "%s\\n" "$@" > seen.txt\n')
    (tmp_path / "python").chmod(0o755)
    environment = {**os.environ, **given, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(["bash", "-eo", "pipefail", "-c", step["run"]], cwd=tmp_path, env=environment, check=True, timeout=60)
    assert (tmp_path / "seen.txt").read_text().splitlines() == ["-m", "pip", "install", *arguments, "/action here"]
    text = json.dumps(ACTION["runs"])
    assert all(f"inputs.{name}" in text for name in ACTION["inputs"])


def test_nothing_is_fetched_from_an_address_that_is_made_up() -> None:
    """What the workflows use is GitHub's own, or lies in the repository; what pip installs lies there too."""
    workflow = (EXAMPLE / ".github" / "workflows" / "gradients.yml").read_text(encoding="utf-8")
    texts = [workflow, *((ROOT / name).read_text(encoding="utf-8") for name in ("action.yml", "README.md"))]
    used = [name for text in texts for name in re.findall(r"\buses: (\S+)", text)]
    assert used and all(name.startswith(("actions/", "github/", "./third_party/")) for name in used)
    installed = re.findall(r"pip install (.*)", (EXAMPLE / ".gitlab-ci.yml").read_text(encoding="utf-8"))
    assert installed and all(line.split()[-1] == "./third_party/gradcheck-cli" for line in installed)


# -- pre-commit ---------------------------------------------------------------------------------------------------------


def test_the_hooks_run(project: Path) -> None:
    """Each hook's entry is a command of ours, given the files that its pattern takes, which are those that pytest collects and
    `--init` writes; the example has a hook as it is offered. None installs anything: torch is that of the project."""
    (used,) = yaml.safe_load((EXAMPLE / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    (offered,) = (hook for hook in HOOKS if hook["id"] == used["id"])
    assert used.items() <= offered.items()
    assert re.search(offered["files"], EXAMPLE_SPEC) and re.search(offered["files"], f"a/b{SUFFIX}")
    assert not re.search(offered["files"], "pyproject.toml")
    for hook in HOOKS:
        assert {"id", "name", "entry", "language"} <= hook.keys()
        assert hook["language"] == "system"
        names = [path.relative_to(project).as_posix() for path in sorted(project.rglob("*.*"))]
        files = [name for name in names if re.search(hook["files"], name)] if hook.get("pass_filenames", True) else []
        done = ran([*shlex.split(hook["entry"]), *files, "--list"], project)
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == 7


def test_our_own_commits_run_our_own_hook() -> None:
    """The hook in this repository's configuration is the one we offer, from .venv, on the examples' specs alone."""
    (hooks,) = (
        repo["hooks"] for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    )
    (own,) = (hook for hook in hooks if hook["id"] == "gradcheck")
    (offered,) = (hook for hook in HOOKS if hook["id"] == "gradcheck")
    assert own["entry"] == f".venv/bin/{offered['entry']}"
    assert own["files"] == rf"^examples/.*{offered['files']}"
    assert own["require_serial"] is offered["require_serial"] is True
    assert [path for path in ROOT.glob("examples/**/*.toml") if re.search(own["files"], path.relative_to(ROOT).as_posix())]

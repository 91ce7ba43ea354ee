"""What a user installs: every file of the package and two entry points, nothing else; and it runs where it is installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from configparser import ConfigParser
from email.parser import HeaderParser
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement
from trove_classifiers import classifiers

import gradcheck_cli
from gradcheck_cli.cli import app

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "gradcheck_cli"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    """The wheel, built as pip would build it."""
    return zipfile.ZipFile(built(WheelBuilder(str(ROOT)), tmp_path_factory.mktemp("wheel")))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, as it would be published."""
    return built(SdistBuilder(str(ROOT)), tmp_path_factory.mktemp("sdist"))


def built(builder: Any, folder: Path) -> Path:
    (path,) = builder.build(directory=str(folder), versions=["standard"])
    return Path(path)


def metadata(wheel: ZipFile, file: str) -> str:
    (path,) = (name for name in wheel.namelist() if name.endswith(f".dist-info/{file}"))
    return wheel.read(path).decode()


def files_of_the_package() -> set[str]:
    """What git tracks of it, or would; where this is no clone, what there is."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "gradcheck_cli"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    names = listed.stdout.split("\0") if listed.returncode == 0 else []
    found = {name for name in names if name and (ROOT / name).is_file()}
    return found or {p.relative_to(ROOT).as_posix() for p in PACKAGE.rglob("*") if p.is_file() and "__pycache__" not in p.parts}


def test_every_file_of_the_package_is_in_the_wheel(wheel: ZipFile) -> None:
    """Modules, py.typed, examples, articles and templates, whatever their kind, unchanged; no test, no benchmark, no cache."""
    files = files_of_the_package()
    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert shipped == files
    assert {"gradcheck_cli/py.typed", "gradcheck_cli/suite/example.gradcheck.toml", "gradcheck_cli/__main__.py"} <= files
    assert all(wheel.read(name) == (ROOT / name).read_bytes() for name in shipped)


def test_the_source_gives_the_same_wheel(wheel: ZipFile, sdist: Path, tmp_path: Path) -> None:
    """File by file, records too: what is built from the published source is what is published."""
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    again = zipfile.ZipFile(built(WheelBuilder(str(source)), tmp_path / "again"))
    assert sorted(again.namelist()) == sorted(wheel.namelist())
    assert all(again.read(name) == wheel.read(name) for name in wheel.namelist())


@pytest.mark.slow(reason="makes a virtual environment, and imports torch in it")
def test_it_runs_where_it_is_installed(sdist: Path, tmp_path: Path) -> None:
    """pip makes the wheel that is published (see above) from the source, and installs it into an environment of its own,
    without a network; there the command checks a chain, and what it writes out of the package it reads. What the package needs
    is that of these tests; the package itself isn't."""
    home = tmp_path / "environment"
    venv.create(home, symlinks=True)
    python = home / "bin" / "python"
    known = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_", "GRADCHECK"))}

    def ran(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=known, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        return done.stdout

    (packages,) = (home / "lib").glob("python*/site-packages")
    (packages / "of_the_tests.pth").write_text("\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}))
    ran(
        sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index",
        "--no-compile", "--no-build-isolation", "--ignore-installed", str(sdist),
    )  # fmt: skip
    assert ran(str(python), "-c", "import gradcheck_cli; print(gradcheck_cli.__file__)").strip().startswith(str(packages))
    command = str(home / "bin" / "gradcheck")
    assert "verdict: match (5 checks: 5 match)" in ran(command, "chain", "2*x", "z**2+2*z+2", "--at", "x=1")
    ran(command, "run", "--init")
    assert "two stages" in ran(command, "run", "example.gradcheck.toml", "--list")


def test_the_wheel_says_what_it_is(wheel: ZipFile) -> None:
    """Name, the package's own version, the README, the license, and where the command and the plugin of pytest are."""
    said = HeaderParser().parsestr(metadata(wheel, "METADATA"))
    assert (said["Name"], said["Version"], said["License-Expression"]) == ("gradcheck-cli", gradcheck_cli.__version__, "MIT")
    assert said.get_payload() == (ROOT / "README.md").read_text(encoding="utf-8")
    assert metadata(wheel, "licenses/LICENSE") == (ROOT / "LICENSE").read_text(encoding="utf-8")
    points = ConfigParser()
    points.read_string(metadata(wheel, "entry_points.txt"))
    assert {name: dict(points[name]) for name in points.sections()} == {
        "console_scripts": {"gradcheck": f"{app.__name__}:{app.main.__name__}"},
        "pytest11": {"gradcheck": "gradcheck_cli.pytest_plugin"},
    }


# -- what pyproject.toml says --------------------------------------------------------------------------------------------

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
FOR_DEVELOPERS = ("test", "docs")


def requirements(extras: set[str]) -> list[Requirement]:
    """What the package needs, and what these extras add."""
    texts = [*PROJECT["dependencies"], *(text for name, texts in EXTRAS.items() if name in extras for text in texts)]
    return [found for found in map(Requirement, texts) if found.name != PROJECT["name"]]


def test_what_a_user_installs_has_lower_bounds() -> None:
    """Every package, in the extras too: `make test-lowest` takes them at their word. There are no upper bounds."""
    bounds = {found.name: str(found.specifier) for found in requirements({*EXTRAS} - {*FOR_DEVELOPERS})}
    assert {"torch", "sympy", "python-flint", "matplotlib", "pandas", "distributed", "ray"} <= bounds.keys()
    assert not [name for name, bound in bounds.items() if not re.fullmatch(r">=[\d.]+", bound)]


def test_the_pinned_versions_are_allowed() -> None:
    """constraints.txt has all that pyproject.toml names, but for Ray, at a version that it allows; each package once."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()[1:]
    pins = {plain(name): version for name, _, version in (line.partition("==") for line in lines)}
    assert len(pins) == len(lines)
    for found in requirements({*EXTRAS} - {"ray"}):
        assert pins[plain(found.name)] in found.specifier, found


def plain(name: str) -> str:
    """The name of a package as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_classifiers_exist() -> None:
    """Each is one of PyPI's."""
    assert not set(PROJECT["classifiers"]) - classifiers


def test_extras_that_a_message_names_exist() -> None:
    """`pip install 'gradcheck-cli[ray]'`: wherever the package says so, the extra is there."""
    texts = [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")]
    named = {name for text in texts for name in re.findall(r"gradcheck-cli\[(\w+)\]", text)}
    named |= {name for text in texts for name in re.findall(r"_missing\(\"\w+\", \"(\w+)\"\)", text)}
    assert {"distributed", "ray"} <= named <= EXTRAS.keys()

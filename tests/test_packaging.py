"""What a user installs: every module, the marker of types, the data and the two entry points; nothing else."""

from __future__ import annotations

import zipfile
from configparser import ConfigParser
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

import pytest
from hatchling.builders.wheel import WheelBuilder

import gradcheck_cli
from gradcheck_cli.cli import app

ROOT = Path(__file__).parent.parent
DATA = {
    "gradcheck_cli/py.typed",
    "gradcheck_cli/suite/example.gradcheck.toml",
    *(
        path.relative_to(ROOT).as_posix()
        for kind in ("*.html", "*.css", "*.js", "*.md")
        for path in (ROOT / "gradcheck_cli").rglob(kind)
    ),
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    """The wheel, built as pip would build it."""
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"])
    return zipfile.ZipFile(built)


def metadata(wheel: ZipFile, file: str) -> str:
    (path,) = (name for name in wheel.namelist() if name.endswith(f".dist-info/{file}"))
    return wheel.read(path).decode()


def test_every_module_is_in_the_wheel(wheel: ZipFile) -> None:
    """The modules of the package, py.typed, the example of a spec, what pages are made of, unchanged; no test, no cache."""
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "gradcheck_cli").rglob("*.py")}
    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert shipped == modules | DATA
    assert all(wheel.read(name) == (ROOT / name).read_bytes() for name in shipped)


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

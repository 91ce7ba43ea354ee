"""What is stored for those who only read: notebooks of examples/ with what they print, and the pictures of docs/.

`python -m tests.shown` makes all of it anew.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from tests.transcripts import first_and_last

ROOT = Path(__file__).parent.parent
EXAMPLES, DOCS = ROOT / "examples", ROOT / "docs"

_TEMPORARY = re.compile(r"\S*ipykernel_\d+/\d+\.py")
"""The file that a kernel says a cell is: another one each time."""


def executed(path: Path) -> Any:
    """The notebook, run anew in its own folder. An error of a cell is raised."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran
        for part in _parts(cell):
            for kind, text in part.items():
                if kind.startswith("text"):
                    part[kind] = _TEMPORARY.sub("tour.py", text)
    return notebook


def printed(notebook: Any) -> list[list[dict[str, str]]]:
    """What each cell prints and shows, by the kind of text; of a picture only that there is one."""
    return [
        [{kind: text if kind.startswith("text") else "" for kind, text in part.items()} for part in _parts(cell)]
        for cell in notebook.cells
    ]


def _parts(cell: Any) -> list[Any]:
    outputs = cell.get("outputs", [])
    return [output.get("data", output) for output in outputs if "data" in output or output.output_type == "stream"]


_ROW = re.compile(r"(<tr><td>[^<]*</td>).*?(<td><span class=\"verdict.*?</tr>)|^(\| [^|]* \|).*(\| [^|]* \|)$", re.MULTILINE)
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?")


def lasting(cell: list[dict[str, str]]) -> list[dict[str, str]]:
    """What a cell prints on any processor: of a table's row of a network the layer and the verdicts, for which of its entries
    rounding made the worst hangs on the kernels."""
    return [{kind: first_and_last(_ROW.sub(r"\1\2\3\4", text)) for kind, text in part.items()} for part in cell]


def outline(picture: str) -> str:
    """A picture without its numbers: where a point of rounding errors stands hangs on the processor's kernels."""
    return _NUMBER.sub("#", picture)


def pictured() -> list[tuple[str, str]]:
    """The commands of docs/ that draw, each with the name of its picture in docs/pictures/."""
    return [
        (match[0].removeprefix("$ "), match[1])
        for page in sorted(DOCS.glob("*.md"))
        for match in re.finditer(r"^(?:\$ )?gradcheck .*--plot (\w+\.svg).*$", page.read_text(encoding="utf-8"), re.MULTILINE)
    ]


def drawn(command: str, name: str, folder: Path) -> str:
    """What a command draws, run in a folder of its own with a copy of the examples."""
    from gradcheck_cli.cli.app import run

    shutil.copytree(EXAMPLES, folder, dirs_exist_ok=True)
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        run(shlex.split(command)[1:])
    return (folder / name).read_text(encoding="utf-8")


def _all() -> Iterator[str]:
    from tempfile import TemporaryDirectory

    for path in sorted(EXAMPLES.glob("*.ipynb")):
        nbformat.write(executed(path), path)
        yield path.name
    for command, name in pictured():
        with TemporaryDirectory() as folder:
            (DOCS / "pictures" / name).write_text(drawn(command, name, Path(folder)), encoding="utf-8")
            yield name


if __name__ == "__main__":
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])  # of the kernels
    for done in _all():
        print(done)

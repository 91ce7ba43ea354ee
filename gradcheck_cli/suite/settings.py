"""[tool.gradcheck] of pyproject.toml: what a bare `gradcheck run` checks, and how.

Only what is harmless in a file that comes with a pull request: nothing here writes a file, names a host or lets code in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradcheck_cli.errors import InputError, nearest
from gradcheck_cli.forms import FLAG, SECONDS, TABLE, TEXT, TEXTS, WHOLE
from gradcheck_cli.suite.places import line_of, places
from gradcheck_cli.suite.spec import PROJECT, check_options, parse, read, unquoted

KEYS = {
    "paths": TEXTS, "defaults": TABLE, "workers": WHOLE, "timeout": SECONDS, "memory": TEXT, "strict": FLAG, "no-python": FLAG,
    "baseline": TEXT,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """`paths` and `baseline` are relative to `folder`, where the file lies. `run`: the other settings, by the option's name."""

    folder: Path = Path()
    paths: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)


def find(start: Path) -> Settings:
    """Those of the nearest pyproject.toml, in this folder or above it, that has a table for us."""
    for folder in (start, *start.parents):
        path = folder / PROJECT
        if path.is_file():
            with unquoted(path):
                text = read(path, str(path))
                if "gradcheck" in text:
                    given = parse(text, str(path)).get("tool", {})
                    if isinstance(given, Mapping) and given.get("gradcheck") is not None:
                        return _settings(folder, text, given["gradcheck"])
    return Settings()


def _settings(folder: Path, text: str, given: Mapping[str, Any]) -> Settings:
    where = places(text)

    def error(message: str, *names: str) -> InputError:
        path = ("tool", "gradcheck", *names)
        at = next((where[path[:n]] for n in range(len(path), 0, -1) if path[:n] in where), 0)
        return InputError(f"{folder / PROJECT}:{line_of(text, at)}: {message}", text, at)

    if not isinstance(given, Mapping):
        raise error("this is a table: [tool.gradcheck]")
    for name, value in given.items():
        if name not in KEYS:
            raise error(f"unknown key {name!r}{nearest(name, KEYS)}", name)
        if not KEYS[name].holds(value):
            raise error(f"{name!r} must be {KEYS[name].name}", name)
    paths = given.get("paths", [])
    paths = (paths,) if isinstance(paths, str) else tuple(paths)
    for name, inside in (("paths", paths), ("baseline", (given.get("baseline", "."),))):
        if any(Path(text).is_absolute() or ".." in Path(text).parts or text.startswith("~") for text in inside):
            raise error(f"{name!r} must stay below the folder of {PROJECT}", name)
    defaults = given.get("defaults", {})
    check_options(defaults, lambda name, message: error(message, "defaults", name))
    run = {name: value for name, value in given.items() if name not in ("paths", "defaults")}
    return Settings(folder, paths, defaults, run)

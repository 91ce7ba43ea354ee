"""FILE.py:NAME or package.module:NAME, to the object that it names: the file is imported, hence executed, as Python would.

What goes wrong is the user's to mend: an InputError that quotes the target with a caret under the part that doesn't hold.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from gradcheck_cli.errors import InputError
from gradcheck_cli.files import expanded, named
from gradcheck_cli.language.functions import NAMES

REQUIRED = inspect.Parameter.empty

SPELLING = "a target is FILE.py:NAME or package.module:NAME"


@dataclass(frozen=True)
class Parameter:
    """A parameter of a callable: `positional` is False for a keyword-only one, `default` is REQUIRED where it has none, `plain`
    what its annotation calls it where that is no tensor ("float", "int | None")."""

    name: str
    positional: bool = True
    default: Any = REQUIRED
    plain: str | None = None


@dataclass(frozen=True)
class Target:
    """A callable on tensors. `parameters`: None where Python doesn't know them (a builtin, or *args). `dtype`: the name of the
    only one that it takes, if that is known."""

    name: str
    call: Callable[..., Any]
    parameters: tuple[Parameter, ...] | None
    function: Any = None
    """The torch.autograd.Function that it applies, if it is one."""
    dtype: str | None = None


def load(text: str) -> Any:
    """The object that `text` names. Prints of the file go to stderr. Nothing is imported before the text itself holds."""
    place, names = _split(text)
    found: Any = module_of(place, text)
    for name, start in names:
        try:
            found = getattr(found, name)
        except AttributeError:
            raise InputError(f"{place} has no {name!r}{_hint(name, found)}", text, start) from None
    return found


def find(text: str) -> None:
    """InputError where a target isn't one, or its file isn't there. Nothing is imported."""
    place, _ = _split(text)
    if place.endswith(".py"):
        _file(text, place)


def module_of(place: str, text: str | None = None) -> ModuleType:
    """The module that a file, or a dotted name, is. `text`: the target that it stands in, for errors."""
    text = place if text is None else text
    return _from_file(text, place) if place.endswith(".py") else _from_module(text, place)


def target(found: Any, text: str) -> Target:
    """The callable that a loaded (or given) object stands for: a function, a Module, an autograd.Function or its apply."""
    import torch

    name = text.rpartition(":")[2]
    owner = getattr(found, "__self__", None)
    if inspect.isclass(owner) and issubclass(owner, torch.autograd.Function) and found.__name__ == "apply":
        found = owner
    if isinstance(found, torch.autograd.Function):
        found = type(found)
    if inspect.isclass(found) and issubclass(found, torch.autograd.Function):
        return Target(name, found.apply, _parameters(found.forward, _has_context(found)), found)
    at = len(text) - len(name)
    if inspect.isclass(found):
        if issubclass(found, torch.nn.Module):
            raise InputError(f"{name} is a network: gradcheck model {text}", text, at)
        raise InputError(f"{name} is a class: name a function, a torch.autograd.Function or an instance of a Module", text, at)
    if not callable(found):
        kind = type(found).__name__
        hint = ": give the function itself, not what it returns" if isinstance(found, torch.Tensor) else ""
        if name == kind:  # given, not named
            raise InputError(f"a function is wanted, not {kind}{hint}")
        raise InputError(f"{name} is not callable: it is of type {kind}{hint}", text, at)
    if not isinstance(found, torch.nn.Module):
        return Target(name, found, _parameters(found, False))
    dtypes = [str(p.dtype).removeprefix("torch.") for p in found.parameters() if p.is_floating_point() or p.is_complex()]
    return Target(name, found, _parameters(found.forward, False), dtype=dtypes[0] if dtypes else None)


def _has_context(function: Any) -> bool:
    """Whether forward takes ctx itself: the style without setup_context."""
    from torch.autograd.function import _SingleLevelFunction

    return bool(function.setup_context is _SingleLevelFunction.setup_context)


def _parameters(function: Callable[..., Any], context: bool) -> tuple[Parameter, ...] | None:
    try:
        signature = list(inspect.signature(function).parameters.values())[context:]
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in signature):
        return None
    return tuple(
        Parameter(p.name, p.kind is not p.KEYWORD_ONLY, p.default, _plain(p.annotation))
        for p in signature
        if p.kind is not p.VAR_KEYWORD
    )


_PLAIN = frozenset({"float", "int", "bool", "str", "tuple", "list", "Tuple", "List", "Sequence", "dtype"})
_AROUND = frozenset({"Optional", "Union", "None", "NoneType"})


def _plain(annotation: Any) -> str | None:
    """The annotation as text, if it names Python's own values only."""
    if annotation is inspect.Parameter.empty:
        return None
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = re.sub(r"\b[A-Za-z_]\w*\.", "", text.strip("\"'"))
    names = set(re.findall(r"[A-Za-z_]\w*", text)) - _AROUND
    return text if names and names <= _PLAIN else None


# -- the text -----------------------------------------------------------------------------------------------------------


_SHORT = {"F": "torch.nn.functional", "nn": "torch.nn", "nn.functional": "torch.nn.functional"}
"""What code calls modules of torch."""


def _split(text: str) -> tuple[str, list[tuple[str, int]]]:
    """The file or module, and the names after the colon with their positions. Without a colon the last part of a dotted name is
    one; two colons are one."""
    if re.search(r"[()=\s]", text.rpartition("/")[2]) and ".py" not in text:
        raise InputError(f"this is no target but a formula, which gradcheck chain checks: {SPELLING}", text, 0)
    place, colon, name = text.rpartition(":")
    if not colon and "." in text and not text.endswith((".py", "/")) and all(part.isidentifier() for part in text.split(".")):
        place, colon, name = text.rpartition(".")
    if not colon or not place or name.endswith((".py", "/")) or "/" in name or "\\" in name:
        hint = f" (torch's own: torch:{text})" if text in NAMES else ""
        raise InputError(f"the name is missing: {SPELLING}{hint}", text, len(text))
    position, names = len(place) + 1, []
    place = place.removesuffix(":")
    for part in name.split("."):
        if not part.isidentifier():
            raise InputError(f"{part!r} is no name: {SPELLING}" if part else f"a name is missing: {SPELLING}", text, position)
        names.append((part, position))
        position += len(part) + 1
    if not place.endswith(".py") and not all(part.isidentifier() for part in place.split(".")):
        raise InputError(f"{place!r} is neither a .py file nor a module: {SPELLING}", text, 0)
    return _SHORT.get(place, place), names


def _hint(name: str, found: Any) -> str:
    """The nearest name, or those that there are."""
    public = [n for n in dir(found) if not n.startswith("_")]
    if isinstance(found, ModuleType):  # its own things rather than what it imports
        public = [n for n in public if getattr(getattr(found, n), "__module__", None) == found.__name__] or public
    near = difflib.get_close_matches(name, public, n=1)
    if near:
        return f": did you mean {near[0]!r}"
    return f" (there is {', '.join(public[:10])}{', ...' if len(public) > 10 else ''})" if public else ""


# -- importing ----------------------------------------------------------------------------------------------------------


def _file(text: str, place: str) -> Path:
    path = named(expanded(place), "read the code")
    if not path.is_file():
        near = difflib.get_close_matches(path.name, _python_files(path.parent), n=1)
        hint = f": did you mean {str(path.parent / near[0])!r}" if near else ""
        raise InputError(f"{'it is a directory' if path.is_dir() else 'there is no file'} {place!r}{hint}", text, 0)
    return path.resolve()


def _from_file(text: str, place: str) -> ModuleType:
    path = _file(text, place)
    name = path.stem
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    if known is not None or not name.isidentifier() or name in sys.stdlib_module_names:
        name = f"_gradcheck_{path.stem}"  # a file called torch.py or random.py must not stand for the module
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    search(path.parent)
    sys.modules[name] = module  # before it runs: dataclasses, pickle and inspect look it up
    with _importing(text, place, path, name):
        spec.loader.exec_module(module)
    return module


def _from_module(text: str, place: str) -> ModuleType:
    search(Path.cwd())
    with _importing(text, place, None, None):
        return importlib.import_module(place)


def search(folder: Path) -> None:
    """Imports look here first, as for `python FILE.py`."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _python_files(folder: Path) -> list[str]:
    try:
        return [p.name for p in folder.glob("*.py")]
    except OSError:
        return []


@contextmanager
def _importing(text: str, place: str, path: Path | None, name: str | None) -> Iterator[None]:
    """What an import raises becomes an InputError that says it, with the line of the file."""
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (Exception, SystemExit) as problem:
        if name is not None:
            sys.modules.pop(name, None)
        missing = getattr(problem, "name", None)
        if isinstance(problem, ModuleNotFoundError) and path is None and missing and f"{place}.".startswith(f"{missing}."):
            raise InputError(f"there is no module {missing!r}", text, 0) from None
        words = " ".join(str(problem).split())[:300]
        described = f"{type(problem).__name__}: {words}" if words else type(problem).__name__
        raise InputError(f"{place} can't be imported: {described}{_line(problem, path)}", text, 0) from problem


def _line(problem: BaseException, path: Path | None) -> str:
    """Where in the user's file it happened."""
    if isinstance(problem, SyntaxError):
        return ""  # its words name the line
    frames = [f for f in traceback.extract_tb(problem.__traceback__) if not f.filename.startswith("<frozen")]
    own = [f for f in frames if path is not None and f.filename == str(path)] or frames[-1:]
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""

"""What a file or a module holds that can be checked, and why the rest can't: a target without a NAME is all of it.

The module is imported, hence executed; functions in it are called by the check alone. What isn't meant for tensors (an
annotation says so), takes no arguments, or was imported from elsewhere isn't called.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from gradcheck_cli.callables.loading import REQUIRED, module_of, search
from gradcheck_cli.errors import InputError
from gradcheck_cli.files import is_file

MOST = 200
"""Targets that are checked at once."""

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True, slots=True)
class Contents:
    """`found`: the targets, FILE.py:NAME. `left`: names that aren't checked -> why."""

    found: tuple[str, ...]
    left: Mapping[str, str]


def whole(text: str) -> str | None:
    """The file or module that a target without a NAME is, as `contents` takes it; None for any other text."""
    if text.endswith(".py") and ":" not in Path(text).name:
        return text
    if not _MODULE.fullmatch(text):
        return None
    if "." not in text and is_file(f"{text}.py"):
        return f"{text}.py"
    search(Path.cwd())
    try:
        found = importlib.util.find_spec(text) is not None
    except (ImportError, ValueError):
        return None
    except Exception:  # of a package on the way, when it is imported: said where the target is
        return text
    return text if found else None


def contents(place: str, networks: bool) -> Contents:
    """What there is in a file or module: functions of tensors and custom Functions; `networks`: modules, and what
    builds one. InputError where there is nothing."""
    module = module_of(place)
    found: list[str] = []
    left: dict[str, str] = {}
    for name, value in vars(module).items():
        if name.startswith("__") or isinstance(value, ModuleType) or not callable(value):
            continue
        reason = (_no_network if networks else _no_function)(name, value, module, place)
        if reason is None:
            found.append(f"{place}:{name}")
        elif reason:
            left[name] = reason
    if len(found) > MOST:
        raise InputError(
            f"{place} holds {len(found):,} of them; at most {MOST} are checked at once: name one", place, len(place)
        )
    if not found:
        what = "network" if networks else "function of tensors"
        raise InputError(f"there is no {what} in it that can be checked{listed(left)}", place, 0)
    return Contents(tuple(found), left)


def listed(left: Mapping[str, str]) -> str:
    """`; left out: a, b (imported), c (a class)`; nothing of nothing."""
    reasons: dict[str, list[str]] = {}
    for name, reason in left.items():
        reasons.setdefault(reason, []).append(name)
    said = [f"{', '.join(names)} ({reason})" for reason, names in reasons.items()]
    return f"; left out: {'; '.join(said)}" if said else ""


# -- why not: None for what is checked, an empty text for what isn't worth a word -----------------------------------------

IMPORTED = "imported"


def _no_function(name: str, value: Any, module: ModuleType, place: str) -> str | None:
    import torch

    owner = getattr(value, "__self__", None)
    if inspect.isclass(owner) and issubclass(owner, torch.autograd.Function):
        return f"the apply of {owner.__name__}" if owner in vars(module).values() else None
    if inspect.isclass(value) and issubclass(value, torch.autograd.Function):
        return None if _own(value, module) else IMPORTED
    if name.startswith("_"):
        return ""
    if isinstance(value, torch.nn.Module):
        return f"a network: gradcheck model {place}"
    if not _own(value, module):
        return IMPORTED
    if inspect.isclass(value):
        return f"a network: gradcheck model {place}" if issubclass(value, torch.nn.Module) else "a class"
    return _no_tensors(name, value)


def _no_network(name: str, value: Any, module: ModuleType, place: str) -> str | None:
    import torch

    if name.startswith("_"):
        return ""
    if isinstance(value, torch.nn.Module):
        return None
    if not _own(value, module):
        return IMPORTED
    needed = _needed(value)
    if inspect.isclass(value) and issubclass(value, torch.nn.Module):
        return f"its constructor needs {', '.join(needed)}: name a function that builds it" if needed else None
    if inspect.isclass(value):
        return f"no network: gradcheck function {place}" if issubclass(value, torch.autograd.Function) else "a class"
    returned = inspect.signature(value).return_annotation if inspect.isfunction(value) else REQUIRED
    if not needed and _is_network(returned):
        return None
    return f"no network: gradcheck function {place}" if needed else f"if it builds a network: gradcheck model {place}:NAME"


def _own(value: Any, module: ModuleType) -> bool:
    """Whether a class or a function is of the module, or of the package that it is; objects are."""
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        return True
    home = getattr(value, "__module__", None) or ""
    return home == module.__name__ or (hasattr(module, "__path__") and home.startswith(f"{module.__name__}."))


def _is_network(annotation: Any) -> bool:
    import torch

    if isinstance(annotation, str):
        return bool(re.search(r"\b(Module|Sequential)\b", annotation))
    return inspect.isclass(annotation) and annotation is not REQUIRED and issubclass(annotation, torch.nn.Module)


def _needed(value: Callable[..., Any]) -> list[str]:
    return [p.name for p in _signature(value) if p.default is REQUIRED and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _signature(value: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(value).parameters.values())
    except (TypeError, ValueError):
        return []


def _no_tensors(name: str, value: Callable[..., Any]) -> str | None:
    """Why a function of the module is none of tensors, as far as that is seen without calling it."""
    if name.startswith("test_"):
        return "a test"
    if inspect.iscoroutinefunction(value) or inspect.isgeneratorfunction(value):
        return "a coroutine or generator"
    parameters = _signature(value)
    if not parameters:
        return "it takes no arguments"
    for parameter in parameters:
        if parameter.default is REQUIRED and parameter.annotation is not REQUIRED:
            text = (
                parameter.annotation
                if isinstance(parameter.annotation, str)
                else inspect.formatannotation(parameter.annotation)
            )
            if not re.search(r"Tensor|\bAny\b|Float\[|\bfloat\b|\bint\b|\bbool\b|\bstr\b|\btuple\b|\blist\b", text):
                return f"{parameter.name!r} is annotated {text.strip(chr(39))}, no tensor"
    return None

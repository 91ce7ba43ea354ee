"""Tensors that lie in files, as text names them: `@weights.npy`, `@step.pt`, `@model.safetensors:encoder.weight`.

Nothing in a file is executed: arrays of Python objects are refused, and torch reads weights only. What is no tensor of numbers,
too large, or not there is an InputError with a caret under the file. NumPy and torch are imported when a file is read.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gradcheck_cli.errors import InputError, counted
from gradcheck_cli.files import expanded, named, trouble

MARK = "@"
"""What a value that lies in a file begins with."""

MAX_BYTES = 2**32
"""Of a file: a checkpoint of a billion float32, of which one tensor is wanted."""

MAX_NUMBERS = 10_000_000
"""Of one tensor."""

SHOWN = 8
"""Names of tensors that an error lists."""

_PLACE = re.compile(r"@(?P<file>.*?\.(?:npy|npz|pt|pth|safetensors))(?::(?P<name>.*))?", re.DOTALL)
_ANYWHERE = re.compile(r"(?<![^\s=])@(?P<file>[^,;]*?\.(?:npy|npz|pt|pth|safetensors))(?=[\s,;:]|$)")
_USAGE = "a tensor in a file is @FILE.npy, @FILE.npz:NAME, @FILE.pt, @FILE.pt:NAME or @FILE.safetensors:NAME"


def is_stored(value: object) -> bool:
    """Whether a value of a point says that it lies in a file."""
    return isinstance(value, str) and value.lstrip().startswith(MARK)


def files_in(value: object) -> list[str]:
    """The files that a point, or several, name."""
    if isinstance(value, str):
        return [found["file"] for found in _ANYWHERE.finditer(value)]
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return [file for part in parts if isinstance(part, str | Mapping) for file in files_in(part)]


def moved(value: Any, place: Callable[[str], str]) -> Any:
    """A point, or several, whose files are at other places."""
    if isinstance(value, str):
        return _ANYWHERE.sub(lambda found: MARK + place(found["file"]), value)
    if isinstance(value, Mapping):
        return {name: moved(part, place) if isinstance(part, str) else part for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [moved(part, place) if isinstance(part, str | Mapping) else part for part in value]
    return value


def tensor_in(value: str, whole: str, offset: int) -> Any:
    """The tensor that a value stands for: an array of NumPy, or a tensor of torch on the CPU. `whole`, `offset`: the text that
    the value stands in, and where."""
    at = offset + len(value) - len(value.lstrip())
    match = _PLACE.fullmatch(value.strip())
    if match is None:
        raise InputError(_USAGE, whole, at)
    text, name = match["file"], match["name"]
    path = named(expanded(text), "read the tensor")
    with trouble("read the tensor", text):
        if not path.is_file():
            near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob(f"*{path.suffix}")], n=1)
            hint = f": did you mean {str(path.parent / near[0])!r}" if near else ""
            raise InputError(f"{'it is a directory' if path.is_dir() else 'there is no file'} {text!r}{hint}", whole, at)
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{text} is larger than {MAX_BYTES >> 30} GB", whole, at)
        try:
            found = _READERS[path.suffix](path, name)
        except _Refused as refusal:
            raise InputError(f"{text} {refusal}", whole, at + 1 + len(text) + 1 if refusal.named else at) from None
        except (OSError, InputError):
            raise
        except Exception as problem:  # whatever a library says of a file that is none of its own
            said = " ".join(str(problem).split())[:200]
            raise InputError(f"{text} can't be read: {type(problem).__name__}: {said}", whole, at) from None
    return _numbers(found, text, whole, at)


class _Refused(Exception):
    """What is to be said of a file, after its name. `named`: of the tensor's name."""

    def __init__(self, text: str, named: bool = False) -> None:
        super().__init__(text)
        self.named = named


def _numbers(found: Any, text: str, whole: str, at: int) -> Any:
    """The tensor, if it is one of numbers, and not too many."""
    shape = tuple(found.shape)
    count = 1
    for size in shape:
        count *= size
    if count > MAX_NUMBERS or not count:
        what = f"{counted(count)} entries; at most {MAX_NUMBERS:,} are read" if count else "no entries"
        raise InputError(f"{text} holds a tensor of {what}", whole, at)
    kind = str(found.dtype).removeprefix("torch.")
    if not re.fullmatch(r"bool|u?int\d+|float(16|32|64)|bfloat16|complex(64|128)", kind):
        raise InputError(f"{text} holds entries of type {kind}: a tensor of numbers is wanted", whole, at)
    return found


def _chosen(tensors: Mapping[str, Any], name: str | None) -> Any:
    """One of several tensors by its name; the only one needs none."""
    if name is None and len(tensors) == 1:
        return next(iter(tensors.values()))
    if name is not None and name in tensors:
        return tensors[name]
    there = ", ".join(list(tensors)[:SHOWN]) + (f" and {len(tensors) - SHOWN:,} more" if len(tensors) > SHOWN else "")
    if name is None:
        raise _Refused(f"holds {len(tensors):,} tensors: say which, :NAME (there is {there})" if tensors else "holds no tensor")
    near = difflib.get_close_matches(name, tensors, n=1)
    raise _Refused(
        f"holds no tensor {name!r}" + (f": did you mean {near[0]!r}" if near else f" (there is {there})"), named=True
    )


def _npy(path: Path, name: str | None) -> Any:
    import numpy as np

    if name is not None:
        raise _Refused("holds one array, which has no name", named=True)
    try:
        found = np.load(path, allow_pickle=False, mmap_mode="r")
    except ValueError as problem:
        if any(word in str(problem) for word in ("pickle", "Python objects")):
            raise _Refused(
                "holds Python objects, or is no array: those aren't read, since reading them would run code"
            ) from None
        raise
    if not isinstance(found, np.ndarray):
        raise _Refused("holds several arrays: call it .npz")
    return _native(found)


def _npz(path: Path, name: str | None) -> Any:
    import numpy as np

    with np.load(path, allow_pickle=False) as archive:
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise _Refused("is no archive of arrays")
        chosen = _chosen({key: key for key in archive.files}, name)
        try:
            if archive.zip is not None and archive.zip.getinfo(f"{chosen}.npy").file_size > MAX_BYTES:
                raise _Refused(f"holds an array of more than {MAX_BYTES >> 30} GB", named=name is not None)
            return _native(archive[chosen])
        except ValueError as problem:
            if "pickle" in str(problem):
                raise _Refused("holds Python objects: those aren't read, since reading them would run code") from None
            raise


def _native(found: Any) -> Any:
    """In memory, of this machine's order of bytes."""
    import numpy as np

    if found.dtype.kind not in "biufc" or found.size > MAX_NUMBERS:
        return found  # which is refused
    return np.array(found, dtype=found.dtype.newbyteorder("="), order="C")


def _torch(path: Path, name: str | None) -> Any:
    import pickle
    import zipfile

    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError:
        raise _Refused("holds more than tensors, or isn't of torch: reading it might run code, so it isn't read") from None
    if isinstance(found, torch.Tensor) and name is None:
        return _dense(found)
    if isinstance(found, torch.Tensor):
        raise _Refused("holds one tensor, which has no name", named=True)
    return _dense(_chosen(dict(_flat("", found)), name))


def _flat(prefix: str, value: Any) -> Any:
    """The tensors in nested dictionaries and lists, by their keys joined with dots."""
    import torch

    if isinstance(value, torch.Tensor):
        yield prefix, value
    elif isinstance(value, Mapping | list | tuple):
        for key, part in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), part)


def _dense(tensor: Any) -> Any:
    import torch

    if tensor.layout is not torch.strided or tensor.is_quantized:
        raise _Refused("holds a sparse, or quantised, tensor: a dense one is wanted")
    return tensor.detach().clone() if tensor.numel() <= MAX_NUMBERS else tensor


def _safetensors(path: Path, name: str | None) -> Any:
    try:
        from safetensors import safe_open
    except ImportError:
        raise _Refused("needs the library safetensors: pip install 'gradcheck-cli[safetensors]'") from None
    with safe_open(path, framework="pt") as archive:
        return archive.get_tensor(_chosen({key: key for key in archive.keys()}, name))  # noqa: SIM118  # it is no dict


_READERS: Mapping[str, Callable[[Path, str | None], Any]] = {
    ".npy": _npy, ".npz": _npz, ".pt": _torch, ".pth": _torch, ".safetensors": _safetensors,
}  # fmt: skip

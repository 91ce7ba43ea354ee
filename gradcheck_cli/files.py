"""Files by the names that somebody gave: trouble with one is an InputError in one line, and what is written never goes through
a symbolic link that a pull request may have brought.

A link counts below the working directory, where the repository lies; elsewhere a path is the user's own, but for its last
part. Devices and pipes (/dev/stdout) are what they are.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from gradcheck_cli.errors import InputError

_DEVICES, _MEMORY = ("/dev/", "/proc/"), "/dev/shm/"
"""Below the former a link is the system's; the last one is a folder like any other."""


@contextmanager
def trouble(doing: str, text: str) -> Iterator[None]:
    """Within: what the system refuses is an InputError, "can't read the results: Permission denied"."""
    try:
        yield
    except OSError as problem:
        raise InputError(f"can't {doing}: {problem.strerror or problem}", text, 0) from None


def expanded(text: str) -> Path:
    """`~` is the home; where there is none of that name, it is what it says."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def named(text: str | Path, doing: str = "use this file") -> Path:
    """The path that a text names; InputError where no file can be called so (too long, a null character), or where it can't
    even be asked for."""
    try:
        os.lstat(text)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as problem:
        raise InputError(f"can't {doing}: {problem.strerror or problem}", str(text), 0) from None
    except ValueError:  # a null character, or one that has no bytes
        raise InputError(f"can't {doing}: no file can be called so", str(text), 0) from None
    return Path(text)


def from_here(path: Path) -> str:
    """The path as it is shown: relative to the working directory where it lies in it, the same on every machine."""
    here = Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else path.as_posix()


def _device(path: Path) -> bool:
    return str(path).startswith(_DEVICES) and not str(path).startswith(_MEMORY)


def link_in(path: Path) -> Path | None:
    """The first symbolic link on the way to a path: below the working directory any part of it, as it is written; elsewhere
    the last one. None where there is none."""
    if _device(path):
        return None
    base = Path.cwd()
    if path.is_absolute() and not path.is_relative_to(base):
        return path if path.is_symlink() else None
    way = base
    for part in path.parts if not path.is_absolute() else path.relative_to(base).parts:
        way = way / part
        if way.is_symlink():
            return way
    return None


def unlinked(text: str | Path, doing: str) -> Path:
    """The path that a text names; InputError where a symbolic link lies on the way to it."""
    path = named(text, doing)
    link = link_in(path)
    if link is not None:
        raise InputError(f"can't {doing}: {link.name} is a symbolic link, and none is followed here", str(text), 0)
    return path


def check_writable(text: str | Path) -> None:
    """InputError where the file can't be written."""
    path = unlinked(text, "write the output")
    with trouble("write the output", str(text)):
        if path.is_dir():
            raise IsADirectoryError(None, "it is a directory")
        if path.exists():
            with path.open("ab"):
                pass
        if not special(path):
            with tempfile.TemporaryFile(dir=path.parent):
                pass


def write(text: str | bytes, name: str | Path) -> None:
    """Write a text and a newline, or bytes, into the file, which appears whole or not at all. What has no bytes is escaped."""
    content = text if isinstance(text, bytes) else text.encode(errors="backslashreplace") + b"\n"
    path = unlinked(name, "write the output")
    with trouble("write the output", str(name)):
        if special(path):  # /dev/stderr, a pipe: it must not be replaced by a file
            with path.open("ab") as file:
                file.write(content)
        else:
            replace(path, content)


def replace(path: Path, content: bytes | IO[bytes]) -> None:
    """The file has this content, all at once; a link of that name isn't followed but replaced."""
    with tempfile.NamedTemporaryFile("wb", dir=path.parent, prefix=".gradcheck-", delete=False) as file:
        try:
            if isinstance(content, bytes):
                file.write(content)
            else:
                shutil.copyfileobj(content, file)
            file.close()
            os.chmod(file.name, path.stat().st_mode & 0o777 if path.is_file() else 0o666 & ~umask())
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def special(path: Path) -> bool:
    """Whether it is no file to be replaced: whatever /dev/stdout leads to, the name is the system's."""
    return _device(path) or (path.exists() and not path.is_file())


def umask() -> int:
    """That of this process."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def is_file(text: str) -> bool:
    """Whether a text names a file; False too where it can't name anything."""
    with suppress(OSError, ValueError):
        return Path(text).is_file()
    return False


def is_folder(text: str) -> bool:
    """The same of a folder."""
    with suppress(OSError, ValueError):
        return Path(text).is_dir()
    return False

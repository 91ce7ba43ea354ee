"""Files by the names that somebody gave: one line where they can't be used, and no link that a pull request has brought."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gradcheck_cli import files
from gradcheck_cli.errors import InputError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory, beside it a file that must stay as it is."""
    (tmp_path / "precious").write_text("precious")
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("name", ["n" * 256, "a\0b", "\ud800", "x/" * 3000], ids=["long", "null", "half", "deep"])
def test_a_name_that_no_file_has(name: str) -> None:
    """It is bad input, told in one line and with the name."""
    with pytest.raises(InputError, match="can't read the code: ") as caught:
        files.named(name, "read the code")
    assert caught.value.text == name
    assert len(str(caught.value).split("\n")) == 3


def test_names_of_bytes_that_are_no_text(here: Path) -> None:
    """A file may be called by any bytes: it is written and read."""
    name = os.fsdecode(b"caf\xe9")
    files.check_writable(name)
    files.write("text \ud800", name)
    assert Path(name).read_bytes() == b"text \\ud800\n"


@pytest.mark.parametrize("way", ["link", "./link", "folder/new", "folder/../link", "inside/link"])
@pytest.mark.parametrize("absolute", [False, True])
def test_no_link_is_followed(here: Path, way: str, absolute: bool) -> None:
    """Neither the file itself nor a folder on the way to it may be a link; what it points to stays as it is."""
    (here / "inside").mkdir()
    (here / "link").symlink_to("../precious")
    (here / "inside" / "link").symlink_to("../../precious")
    (here / "folder").symlink_to("..")
    name = str(here / way) if absolute else way
    for attempt in (lambda: files.write("new", name), lambda: files.check_writable(name)):
        with pytest.raises(InputError, match="is a symbolic link, and none is followed"):
            attempt()
    assert (here.parent / "precious").read_text() == "precious"
    assert not (here.parent / "new").exists()


def test_links_outside_are_the_users_own(here: Path) -> None:
    """A folder elsewhere may be reached by a link (/tmp is one on some systems); a device is what it is."""
    (here.parent / "real").mkdir()
    (here.parent / "way").symlink_to("real")
    files.write("new", here.parent / "way" / "file")
    assert (here.parent / "real" / "file").read_text() == "new\n"
    files.write("new", "/dev/null")
    assert Path("/dev/null").is_char_device()


def test_a_name_of_the_systems_is_never_replaced(here: Path) -> None:
    """Not even where it leads to a file, as /dev/stdout does behind `>> FILE`: the text is added to that."""
    (here / "kept").write_text("before\n")
    with (here / "kept").open("ab") as file:
        name = f"/proc/self/fd/{file.fileno()}"
        files.check_writable(name)
        files.write("new", name)
        assert Path(name).is_symlink()
    assert (here / "kept").read_text() == "before\nnew\n"
    assert [path.name for path in here.iterdir()] == ["kept"]


def test_a_link_of_that_name_is_replaced(here: Path) -> None:
    """`replace` is for names of the tool's own, such as FILE.old."""
    (here / "old").symlink_to("../precious")
    files.replace(here / "old", b"new")
    assert not (here / "old").is_symlink()
    assert (here.parent / "precious").read_text() == "precious"


def test_a_home_that_nobody_has() -> None:
    """`~nobody-has-this` is a file's name like any other."""
    assert files.expanded("~nobody-has-this/x") == Path("~nobody-has-this/x")

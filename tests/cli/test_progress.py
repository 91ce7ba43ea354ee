"""Progress: on a terminal, after a second, with what is being done; nothing elsewhere."""

from __future__ import annotations

import io
import sys
import time

import pytest

from gradcheck_cli.cli import progress as module
from gradcheck_cli.cli.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, *calls: tuple[int, int, str], stream: io.StringIO) -> str:
    """What stands on stderr after the calls, each of which the bar had time to show."""
    monkeypatch.setattr(module, "DELAY", 0.0)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with progress() as callback:
        if callback is not None:
            deadline = time.monotonic() + 20
            while callback.shown is None and time.monotonic() < deadline:  # type: ignore[attr-defined]
                time.sleep(0.01)
            for call in calls:
                callback(*call)
                callback.shown[0].refresh()  # type: ignore[attr-defined]
    return stream.getvalue()


def test_what_is_being_done_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch is loading before anybody calls; then what is called, as plain text."""
    text = shown(monkeypatch, (1, 4, "point 2 of 3"), (1, 1, "[red]\x1b[31m"), stream=Terminal())
    assert "loading torch and SymPy" in text and "point 2 of 3 (1/4)" in text
    assert r"[red]\x1b[31m" in text


def test_nothing_is_said_to_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor where nobody wants it."""
    assert shown(monkeypatch, (1, 4, "point"), stream=io.StringIO()) == ""
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress(wanted=False) as callback:
        assert callback is None


def test_quick_work_shows_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends within the delay leaves no trace."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress() as callback:
        assert callback is not None
        callback(1, 2, "point")
    assert stream.getvalue() == ""

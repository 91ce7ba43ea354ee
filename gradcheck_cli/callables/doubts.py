"""What the drop-in passes without vouching for it is said here: a warning; within a session of pytest, which may turn warnings
into errors, one line in its summary. Nothing is printed. It imports no torch: the pytest plugin listens.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings

from gradcheck_cli.errors import PACKAGE

LOG = logging.getLogger("gradcheck_cli")
"""What torch's gradcheck doesn't say: it writes nothing to stdout, so this doesn't either."""

RUNNING = "PYTEST_CURRENT_TEST"
"""pytest's environment variable, with the name of the test that runs."""

Reasons = dict[str, list[str]]
"""What was said, with the test that each of the calls was made in."""

_sessions: list[Reasons] = []
"""The sessions of pytest that listen: one runs within another only where a plugin is tested."""


def listen() -> Reasons:
    """From now on what is said is entered into the dictionary that is returned, and no warning is given."""
    _sessions.append({})
    return _sessions[-1]


def stop(session: Reasons) -> None:
    """The end of `listen`."""
    _sessions[:] = [s for s in _sessions if s is not session]


def merge(into: Reasons, reasons: Reasons) -> None:
    """Add what another process was told."""
    for reason, tests in reasons.items():
        into.setdefault(reason, []).extend(tests)


def say(reason: str, about: str, category: type[Warning]) -> None:
    """Say `about`, and the `reason` as the rest of the sentence, to whoever called this package. A session of pytest is told
    the reason, once for many calls."""
    if _sessions:
        test = os.environ.get(RUNNING, "").rpartition(" (")[0] or about
        _sessions[-1].setdefault(reason, []).append(test)
    elif RUNNING in os.environ or _fatal(category):  # pytest without the plugin shows the log of a test that fails
        LOG.warning("%s %s", about, reason)
    else:
        warnings.warn(f"{about} {reason}", category, stacklevel=_caller())


def _fatal(category: type[Warning]) -> bool:
    """Whether all warnings are errors, these too: what passes mustn't fail for it. A filter for `category` itself is obeyed."""
    for action, message, other, module, line in warnings.filters:
        if issubclass(category, other) and message is None and module is None and not line:
            return action == "error" and other is not category
    return False


def _caller() -> int:
    """The `stacklevel` of the first frame outside of this package, seen from `say`."""
    level, frame = 1, sys._getframe(1)
    while frame.f_code.co_filename.startswith(PACKAGE) and frame.f_back is not None:
        level, frame = level + 1, frame.f_back
    return level

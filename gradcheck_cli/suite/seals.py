"""Whether an outcome of an earlier run still stands: a seal over what was asked, the code that ran and all that was found.

It is made with a key that only this user has (see `keys`): results that came with somebody else's files, or that were changed
since, have no valid one, and their checks are run again. So are those whose code can't be told without importing it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path

from gradcheck_cli import __version__
from gradcheck_cli.keys import signature
from gradcheck_cli.stored import files_in
from gradcheck_cli.suite.execute import CODE_TOO, STORED, Outcome
from gradcheck_cli.suite.spec import Spec

_MODULE = re.compile(r"[A-Za-z_][\w.]*:[\w.]+")


def code_of(spec: Spec) -> str | None:
    """A digest of the files that the check executes, or reads: empty where there are none, None where they can't be told."""
    targets, folder = list[str](), Path(spec.file).parent
    if spec.executes:
        targets = [str(spec.target), *(str(spec.options[name]) for name in CODE_TOO if name in spec.options)]
    digests = [_digest(folder / file) for name in STORED for file in files_in(spec.options.get(name))]
    for target in targets:
        file = target.partition(":")[0].strip()
        if file.endswith(".py"):
            digests.append(_digest(folder / file))
        elif target is targets[0] or _MODULE.fullmatch(target.strip()):
            return None
    return None if None in digests else " ".join(filter(None, digests))


def seal(outcome: Outcome, code: str | None, strict: bool) -> str | None:
    """The seal of an outcome that was found with this code; None where it gets none."""
    if code is None:
        return None
    found = outcome.to_dict()
    kept = {name: value for name, value in found.items() if name not in ("seal", "seconds", "line")}
    text = json.dumps([kept, code, strict, __version__, _torch()], sort_keys=True)
    return signature(text)


def holds(outcome: Outcome, spec: Spec, strict: bool) -> bool:
    """Whether an earlier outcome is what this check, with its code as it is now, would be given."""
    mine = seal(outcome, code_of(spec), strict)
    asked = json.loads(json.dumps(spec.asked()))
    return mine is not None and outcome.asked == asked and hmac.compare_digest(mine.encode(), (outcome.seal or "").encode())


@cache
def _torch() -> str:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version("torch")
    return ""


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
    except (OSError, ValueError):
        return None

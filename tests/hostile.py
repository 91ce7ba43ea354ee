"""What benchmarks/fuzz.py feeds to the tool by the hundred thousand, for tests that take a small slice of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))

import _entries
import _hostile

HOSTILE: tuple[str, ...] = _hostile.HOSTILE
TOKENS: tuple[str, ...] = _hostile.TOKENS
ENTRIES: tuple[Any, ...] = _entries.ENTRIES
mutated_line = _entries.mutated_line

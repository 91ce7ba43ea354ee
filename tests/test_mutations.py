"""The table of benchmarks/_mutations.py fits the code: benchmarks/mutations.py, which runs the tests on each, takes an hour."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

from _mutations import mutations  # noqa: E402


def test_mutations_fit() -> None:
    """Of at least 60 mutations each changes one place, and leaves code that compiles."""
    found = list(mutations())
    assert len(found) >= 60
    assert len(set(found)) == len(found)
    for mutation in found:
        text = (ROOT / "gradcheck_cli" / mutation.file).read_text()
        assert text.count(mutation.before) == 1, mutation
        changed = text.replace(mutation.before, mutation.after)
        assert changed != text
        compile(changed, mutation.file, "exec")

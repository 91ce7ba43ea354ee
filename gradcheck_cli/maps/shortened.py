"""What the reader is told of kernels that compute in a shorter format than their dtype: what they cost is theirs."""

from __future__ import annotations

from collections.abc import Iterable

from gradcheck_cli.shadow.shortened import SWITCHES, met, value_of
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.verdicts import Verdict


def shortened(columns: Iterable[Column]) -> list[str]:
    """What the reader is told, once, of switches that concerned an operation since, where digits were lost in their dtype."""
    passing = (Verdict.MATCH.severity, Verdict.OUTSIDE_DOMAIN.severity)
    lossy = {c.dtype for c in columns if any(v not in passing for v in c.verdicts.tolist())}
    told = [(row, *value_of(row)) for row in SWITCHES if row in met and row.dtype in lossy]
    met.clear()
    return [
        f"torch.backends.{name} is {value}: {row.what} in {row.dtype} may be computed {row.how}" for row, name, value in told
    ]

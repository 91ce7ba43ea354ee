"""What the reader is told of kernels that compute in a shorter format than their dtype: what they cost is theirs."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from gradcheck_cli.shadow.shortened import FULL, SWITCHES, value_of
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.verdicts import Verdict


def shortened(device: str, columns: Iterable[Column]) -> list[str]:
    """What the reader is told of switches that are on, where digits were lost in a dtype that they concern."""
    passing = (Verdict.MATCH.severity, Verdict.OUTSIDE_DOMAIN.severity)
    lossy = {c.dtype for c in columns if any(v not in passing for v in c.verdicts.tolist())}
    return [
        f"torch.backends.{name} is {value}: {row.what} in {row.dtype} may be computed {row.how}"
        for row in SWITCHES
        if row.dtype in lossy and row.device == torch.device(device).type
        for name, value in [value_of(row)]
        if value not in FULL
    ]

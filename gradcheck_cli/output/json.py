"""The Report as one JSON object (DESIGN, section 7)."""

from __future__ import annotations

import json
from typing import Any

from gradcheck_cli.report import Report


def render(report: Report, **settings: Any) -> str:
    """Valid JSON (no NaN or Infinity); the settings of other formats change nothing."""
    return json.dumps(report.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)

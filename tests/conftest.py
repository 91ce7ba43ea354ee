"""What all tests share."""

from __future__ import annotations

import os

os.environ.setdefault("GRADCHECK_DEBUG", "1")  # a slip in a rule ends the run, in every process: see `shadow.mode`

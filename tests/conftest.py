"""What holds for all tests: one profile of Hypothesis. Helpers that tests import are modules beside this one."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("gradcheck", deadline=None, derandomize=bool(os.environ.get("CI")), print_blob=True)
settings.load_profile("gradcheck")

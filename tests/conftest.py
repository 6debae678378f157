"""For all tests: how long examples of hypothesis may take, and how many threads a test process has."""

from __future__ import annotations

import os

from hypothesis import settings

# Examples take as long as they take: a busy machine proves nothing about the code.
settings.register_profile("maskkit", deadline=None)
settings.load_profile("maskkit")

# Tests that run side by side (pytest -n) share the cores; more threads than cores make each of them slower. Set before torch is imported.
if os.environ.get("PYTEST_XDIST_WORKER"):
    os.environ.setdefault("OMP_NUM_THREADS", "1")

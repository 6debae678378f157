"""For all tests: examples of hypothesis take as long as they take, since a busy machine proves nothing about the code."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("maskkit", deadline=None)
settings.load_profile("maskkit")

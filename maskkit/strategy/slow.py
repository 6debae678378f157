"""Tells of what took long: which strategy, on which row, at which regular expression.

While Python searches for an expression no other thread of its process runs, so nothing can be said before the search ends, or before
it is stopped: Ctrl-C reaches it, and then the line says what was stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

logger = logging.getLogger("maskkit.strategy")

PATIENCE = 5.0
"""Seconds."""


@contextmanager
def told_if_slow(what: str, advice: str = "") -> Iterator[None]:
    """A context in which ``what`` is asked for something; a warning where that took long, however it ended."""
    began = monotonic()
    try:
        yield
    finally:
        seconds = monotonic() - began
        if seconds > PATIENCE:
            logger.warning("%s took %.1f s%s", what, seconds, advice)

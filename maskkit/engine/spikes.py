"""Losses that jump out of what came before."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

WINDOW = 50
FEWEST = 20
"""So many steps have to come before, for a loss to be called unusual."""
DEVIATIONS = 6.0
SMALLEST = 0.1
"""A loss that is less than this share above the usual one is no spike, however steady the steps before it."""


def usual_loss(losses: Sequence[float]) -> float | None:
    """The median of the losses before the last, if the last is a spike above it; else None.

    A spike is more than `DEVIATIONS` times the median absolute deviation (scaled by 1.4826, which makes it a standard deviation for normal
    noise) above the median of up to `WINDOW` losses before it. Medians are not moved by earlier spikes.
    """
    before = losses[-WINDOW - 1 : -1]
    if len(before) < FEWEST:
        return None
    usual = statistics.median(before)
    spread = 1.4826 * statistics.median(abs(loss - usual) for loss in before)
    return usual if losses[-1] > usual + max(DEVIATIONS * spread, SMALLEST * abs(usual)) else None

"""Numbers that no weight should be."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from maskkit.checks.row import MaskedRow, Seen

HUGE = 1000.0
"""How many times the usual weight of its row is too much."""


def odd_weights(row: MaskedRow) -> Iterator[Seen]:
    """Weights that are not finite, negative, or far larger than the others."""
    weights = row.weights
    finite = np.isfinite(weights)
    if not finite.all():
        first = int((~finite).argmax())
        yield Seen("non-finite-weight", f"the weight of token {first} is {weights[first]}", int((~finite).sum()), first)
    negative = finite & (weights < 0)
    if negative.any():
        first = int(negative.argmax())
        yield Seen("negative-weight", f"the weight of token {first} is {weights[first]:g}", int(negative.sum()), first)
    counted = np.abs(weights[finite & (weights != 0)])
    if len(counted):
        usual = float(np.median(counted))
        huge = finite & (np.abs(weights) > HUGE * usual)
        if huge.any():
            first = int(huge.argmax())
            said = f"the weight of token {first} is {weights[first]:g}, the usual one of the row {usual:g}"
            yield Seen("huge-weight", said, int(huge.sum()), first)

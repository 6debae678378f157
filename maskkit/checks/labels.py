"""Labels against input_ids: is each label the token at its own place?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from maskkit.checks.row import Bools, MaskedRow, Seen
from maskkit.checks.words import counted as number_of

IGNORE = -100
"""Label of a token whose loss does not count."""

_NEARLY_ALL = 0.9
_DIRECTIONS = ((1, "the next token"), (-1, "the token before"))


def shift_of(ids: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> int:
    """How far labels lie from their tokens: 1 where ``labels[t]`` is ``ids[t + 1]``, -1 where it is ``ids[t - 1]``, else 0."""
    counted = labels != IGNORE
    if not counted.any() or (labels == ids)[counted].mean() >= _NEARLY_ALL:
        return 0
    for by, _ in _DIRECTIONS:
        inside = counted.copy()
        inside[-1 if by > 0 else 0] = False
        if inside.any() and (labels == np.roll(ids, -by))[inside].mean() >= _NEARLY_ALL:
            return by
    return 0


def labels_of_ids(row: MaskedRow) -> Iterator[Seen]:
    """Labels that are the tokens of other places, or no tokens of the row at all."""
    if row.labels is None:
        return
    counted = row.labels != IGNORE
    by = shift_of(row.tokens.ids, row.labels)
    if by:
        what = dict(_DIRECTIONS)[by]
        yield Seen("labels-shifted", f"each label is {what}: trainers shift themselves", int(counted.sum()), int(counted.argmax()))
        return
    wrong = counted & (row.labels != row.tokens.ids)
    if wrong.any():
        yield Seen(
            "labels-differ",
            f"{number_of(int(wrong.sum()), 'label')} that are not the tokens at their places",
            int(wrong.sum()),
            int(wrong.argmax()),
        )


def moved_mask(row: MaskedRow) -> Iterator[Seen]:
    """A mask that would fit what the model writes if it were moved by one token."""
    if row.everything or row.chosen or not row.attributed:
        return
    trained, generated = row.trained, row.tokens.generated
    clear = ~row.tokens.straddle  # what touches prompt and reply says nothing about where a mask begins
    clear[:1] = False
    if not generated.any() or not trained.any() or np.array_equal(trained[clear], generated[clear]):
        return
    for by, name in ((-1, "before"), (1, "behind")):
        if np.array_equal(trained[clear], _moved(generated, by)[clear]):
            said = f"the mask lies one token {name} what the model writes"
            yield Seen("labels-shifted", said, int(trained.sum()), int((trained != generated).argmax()))


def _moved(mask: Bools, by: int) -> Bools:
    moved = np.roll(mask, by)
    moved[-1 if by < 0 else 0] = False
    return moved


def aligned(row: MaskedRow) -> MaskedRow:
    """The row with the weights at the tokens that its labels name, so that the other checks speak of the mask itself."""
    by = 0 if row.labels is None else shift_of(row.tokens.ids, row.labels)
    return replace(row, weights=np.roll(row.weights, by)) if by else row

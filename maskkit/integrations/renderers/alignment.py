"""Two sequences of tokens, side by side: which tokens are the same, and where other tokens stand in their place."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


class Change(NamedTuple):
    """Tokens ``start`` up to ``end`` of one sequence, and what the other has in their place: its ``other_start`` up to ``other_end``."""

    start: int
    end: int
    other_start: int
    other_end: int


@dataclass(frozen=True, eq=False, slots=True)
class Alignment:
    """Places of the tokens that are the same, int64 [S] in each of the two, in order; and the changes between them."""

    ours: Ints
    theirs: Ints
    changes: tuple[Change, ...]


def align(ours: Ints, theirs: Ints) -> Alignment:
    """Align two sequences of ids."""
    if np.array_equal(ours, theirs):
        every = np.arange(len(ours))
        return Alignment(every, every, ())
    head, tail = _shared(ours, theirs)
    blocks = SequenceMatcher(None, ours[head : len(ours) - tail].tolist(), theirs[head : len(theirs) - tail].tolist(), autojunk=False)
    same = [(0, 0, head)] + [(block.a + head, block.b + head, block.size) for block in blocks.get_matching_blocks()]
    same[-1] = (len(ours) - tail, len(theirs) - tail, tail)
    changes, at = [], (0, 0)
    for start, other, size in same:
        if (start, other) != at:
            changes.append(Change(at[0], start, at[1], other))
        at = start + size, other + size
    places = [(start + step, other + step) for start, other, size in same for step in range(size)]
    aligned = np.array(places, np.int64).reshape(-1, 2)
    return Alignment(aligned[:, 0], aligned[:, 1], tuple(changes))


def _shared(ours: Ints, theirs: Ints) -> tuple[int, int]:
    """How many tokens both begin with, and how many of the rest both end with."""
    length = min(len(ours), len(theirs))
    differs = np.flatnonzero(ours[:length] != theirs[:length])
    head = int(differs[0]) if len(differs) else length
    rest = length - head
    differs = np.flatnonzero(ours[::-1][:rest] != theirs[::-1][:rest])
    return head, int(differs[0]) if len(differs) else rest

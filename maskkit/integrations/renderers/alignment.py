"""Two sequences of tokens, side by side: which tokens are the same, and where other tokens stand in their place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    head, tail = _shared(ours, theirs)
    middle = ours[head : len(ours) - tail].tolist(), theirs[head : len(theirs) - tail].tolist()
    blocks = [(head + b.a, head + b.b, b.size) for b in SequenceMatcher(None, *middle, autojunk=False).get_matching_blocks()[:-1]]
    return _of_changes(_between([(0, 0, head), *blocks, (len(ours) - tail, len(theirs) - tail, tail)]), len(ours))


def joined(alignment: Alignment, length: int, are_one: Callable[[Change], bool], together: int) -> Alignment:
    """The alignment with neighbouring changes made one where ``are_one`` says so of what they are with all between them.

    length: how many tokens the first sequence has. together: how many changes may be made one at most.
    """
    changes, kept, first = alignment.changes, list[Change](), 0
    while first < len(changes):
        spans = [_span(changes[first], last) for last in changes[first : first + together]]
        last = next((number for number, span in enumerate(spans) if are_one(span)), 0)
        kept.append(spans[last])
        first += last + 1
    return _of_changes(kept, length)


def _between(blocks: Sequence[tuple[int, int, int]]) -> list[Change]:
    """What lies between blocks of equal tokens, each given by its beginning in both and its size."""
    found, at = [], (0, 0)
    for start, other, size in blocks:
        if (start, other) != at:
            found.append(Change(at[0], start, at[1], other))
        at = start + size, other + size
    return found


def _span(first: Change, last: Change) -> Change:
    return Change(first.start, last.end, first.other_start, last.other_end)


def _of_changes(changes: Sequence[Change], length: int) -> Alignment:
    """The alignment of a sequence of ``length`` tokens whose tokens outside the changes are the same."""
    same = np.ones(length, np.bool_)
    shift = np.zeros(length + 1, np.int64)
    for change in changes:
        same[change.start : change.end] = False
        shift[change.end] += (change.other_end - change.other_start) - (change.end - change.start)
    places = np.flatnonzero(same)
    return Alignment(places, places + np.cumsum(shift)[places], tuple(changes))


def _shared(ours: Ints, theirs: Ints) -> tuple[int, int]:
    """How many tokens both begin with, and how many of the rest both end with."""
    length = min(len(ours), len(theirs))
    differs = np.flatnonzero(ours[:length] != theirs[:length])
    head = int(differs[0]) if len(differs) else length
    rest = length - head
    differs = np.flatnonzero(ours[::-1][:rest] != theirs[::-1][:rest])
    return head, int(differs[0]) if len(differs) else rest

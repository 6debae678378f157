"""What a tokenizer says of a text, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from maskkit.findings import Finding

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Encoded:
    """ids and character offsets, int64 [T] each, and what was noticed."""

    ids: Ints
    start: Ints
    end: Ints
    findings: tuple[Finding, ...] = ()


def encoded_of(text: str, ids: Sequence[int], offsets: Sequence[tuple[int, int]]) -> Encoded:
    """What a tokenizer says, as columns."""
    flat = np.fromiter(chain.from_iterable(offsets), np.int64, 2 * len(offsets))
    start, end = flat[::2], flat[1::2]
    return Encoded(np.array(ids, np.int64), start, with_composed(text, start, end))


def with_composed(text: str, start: Ints, end: Ints) -> Ints:
    """Where tokens end, characters included that normalisation composed into the last one: ``e`` and a combining accent are one token's.

    Blanks that a tokenizer leaves out stay without a token.
    """
    if not len(start):
        return end
    reach = np.maximum.accumulate(end)
    following = np.append(start[1:], len(text))
    extended = end.copy()
    for place in np.flatnonzero(following > reach).tolist():
        last = int(reach[place])
        composed = text[last : following[place]].rstrip()
        while composed and not composed[0].isspace() and place >= 0 and end[place] == last:
            extended[place] = last + len(composed)
            place -= 1
    return extended

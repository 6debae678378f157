"""Who sees whom: in a causal model each token sees itself and what stands before it in its own document.

Rows that are packed into one sequence do not see each other: the triangle falls into blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Block:
    """Tokens ``start`` up to ``end`` are one document."""

    start: int
    end: int


def blocks(document_ids: Sequence[int]) -> list[Block]:
    """The documents of a sequence, in order. document_ids: of each token, as the collator gives them."""
    edges = [0]
    for _, run in groupby(document_ids):
        edges.append(edges[-1] + sum(1 for _ in run))
    return [Block(start, end) for start, end in pairwise(edges)]


def visibility(document_ids: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Does query i see key j? bool [T, T]: the same document, and j not behind i."""
    ids = np.asarray(document_ids)
    return np.tril(ids[:, None] == ids[None, :])

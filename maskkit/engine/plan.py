"""Which rows go through the model together: batches are planned in row numbers, before any tensor is made.

A *pack* is a list of row numbers that become one row of a batch: one number, or several where rows are packed. A *plan* is a list of packs:
one micro-batch. An optimizer step takes as many plans as there are micro-batches on all ranks together.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from maskkit.config import RunConfig

Pack = list[int]
"""Numbers of the rows that become one row of a batch."""

Plan = list[Pack]
"""One micro-batch."""

Ints = npt.NDArray[np.int64]

PACKING_WINDOW = 1024
"""So many rows, as the shuffled epoch has them, are packed together: enough to fill packs, and few enough for other company each time."""

GROUPED_BATCHES = 50
"""So many micro-batches' worth of rows are sorted by length together."""


@dataclass(frozen=True, slots=True)
class Batching:
    """How rows become packs, and packs micro-batches."""

    size: int = 1
    """Packs of a micro-batch."""
    tokens: int | None = None
    """If given, a micro-batch has as many packs as fit into so many tokens, padding included, and ``size`` does not count. A pack that is
    longer by itself is alone."""
    pack_length: int | None = None
    """If given, rows are packed: at most so many tokens a pack. A row that is longer by itself is alone."""
    by_length: bool = False
    """Micro-batches are made of rows of similar length."""

    @classmethod
    def of(cls, config: RunConfig) -> Batching:
        """What a config asks for."""
        training = config.training
        return cls(
            size=training.per_device_train_batch_size,
            tokens=training.batch_tokens,
            pack_length=config.max_length if training.packing else None,
            by_length=training.group_by_length,
        )

    def fits(self, packs: int, longest: int) -> bool:
        """Whether so many packs, of at most ``longest`` tokens each, may be one micro-batch."""
        return packs <= self.size if self.tokens is None else packs == 1 or packs * longest <= self.tokens


@dataclass(frozen=True, slots=True)
class EpochPacks:
    """The packs of one epoch, in the order in which they are taken."""

    rows: Ints
    """Row numbers, pack after pack."""
    ends: Ints
    """For each pack, where it ends in ``rows``."""
    begins: frozenset[int] = frozenset()
    """Numbers of packs with which a micro-batch has to begin."""

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, number: int) -> Pack:
        pack: Pack = self.rows[self.ends[number - 1] if number else 0 : self.ends[number]].tolist()
        return pack


def epoch_packs(rows: Ints, lengths: Ints, batching: Batching, draw: np.random.Generator) -> EpochPacks:
    """The packs of an epoch. rows: its row numbers, shuffled; lengths: tokens of all rows, by number; draw: shuffles the packs."""
    if batching.pack_length is not None:
        packs = [pack for part in _windows(rows, PACKING_WINDOW) for pack in _packed(part, lengths, batching.pack_length)]
        return _joined([packs[number] for number in draw.permutation(len(packs))])
    if batching.by_length:
        usual = batching.size if batching.tokens is None else max(1, int(batching.tokens / max(1.0, lengths[rows].mean())))
        groups = [group for part in _windows(rows, GROUPED_BATCHES * usual) for group in _grouped(part, lengths, batching)]
        shuffled = [groups[number] for number in draw.permutation(len(groups))]
        begins = np.cumsum([0] + [len(group) for group in shuffled[:-1]])
        return EpochPacks(np.concatenate(shuffled), np.arange(1, len(rows) + 1), frozenset(begins.tolist()))
    return EpochPacks(rows, np.arange(1, len(rows) + 1))


def best_fit_decreasing(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Packs of indices into ``lengths``: from the longest to the shortest, each goes where the least room is left behind.

    Best-fit decreasing needs at most 11/9 of the fewest packs, plus a constant (Johnson et al., SIAM J. Comput. 3, 1974). What is longer
    than ``capacity`` is alone.
    """
    packs: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # of the packs that are not full: room left and number, sorted
    for index in np.argsort(-np.asarray(lengths, np.int64), kind="stable").tolist():
        length = int(lengths[index])
        place = bisect_left(rooms, (length, -1))
        if place < len(rooms):
            room, number = rooms.pop(place)
            packs[number].append(index)
        else:
            room, number = capacity, len(packs)
            packs.append([index])
        if room > length:
            insort(rooms, (room - length, number))
    return packs


def _packed(rows: Ints, lengths: Ints, capacity: int) -> list[Ints]:
    return [rows[pack] for pack in best_fit_decreasing(lengths[rows].tolist(), capacity)]


def _grouped(rows: Ints, lengths: Ints, batching: Batching) -> list[Ints]:
    """Micro-batches of rows of similar length, the longest first."""
    rows = rows[np.argsort(-lengths[rows], kind="stable")]
    groups: list[Ints] = []
    first = 0
    for number in range(1, len(rows) + 1):
        if number == len(rows) or not batching.fits(number + 1 - first, int(lengths[rows[first]])):
            groups.append(rows[first:number])
            first = number
    return groups


def _joined(packs: Sequence[Ints]) -> EpochPacks:
    return EpochPacks(np.concatenate(packs), np.cumsum([len(pack) for pack in packs]))


def _windows(rows: Ints, size: int) -> list[Ints]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]

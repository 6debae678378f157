"""Rows of files that are too large for memory, in an order that is random, resumable, and the same for one seed.

Files are read in *blocks* of as many rows as the shuffle buffer holds: from which file each row of a block comes is drawn by the shares of
the mixture, then the block is shuffled. Both are functions of seed and block, so the state is where in its files a block began, and how
much of it was taken: what the buffer held is read again. A block is tokenized in *windows*, of rows that are planned together.
"""

from __future__ import annotations

import math
import pickle
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from maskkit.engine.data import RunData, as_asked, is_held_out, read_rows, why_dropped
from maskkit.engine.order import Order
from maskkit.engine.plan import GROUPED_BATCHES, PACKING_WINDOW, Batching, EpochPacks, Pack, Plan, epoch_packs
from maskkit.engine.rows import StoredRows
from maskkit.engine.weigh import Packs
from maskkit.errors import DataError
from maskkit.masker import Masker
from maskkit.masker.pool import Encoded
from maskkit.masker.stored import restored
from maskkit.records import Record
from maskkit.records.resumable import Place, records_from, streamable_files

if TYPE_CHECKING:
    from maskkit.config import DataConfig

MOST_HELD_OUT = 1000
FIRST_ROWS = 256

WINDOW = 64
"""Rows that are tokenized together where nothing has to be planned."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file of a mixture; or a folder or pattern, whose files are read one after another."""

    path: str
    share: float
    """How many rows come from it, in proportion to the shares of the others."""


class BlockStart(NamedTuple):
    """Where a block begins: its number, and the place in each source."""

    number: int
    places: tuple[Place, ...]


class Blocks:
    """Blocks of rows, drawn from files and shuffled.

    size: rows of a block. read: what the run wants done with a record; None leaves it out, as those that are held out are. A source that is
    at its end begins anew, so the shares hold however long the sources are.

    Raises DataError for a source without files, and for a file that cannot be streamed.
    """

    def __init__(self, sources: Sequence[Source], size: int, seed: int, read: Callable[[Record], Record | None]) -> None:
        self._sources, self.size, self._seed, self._read = sources, size, seed, read
        self._files = [streamable_files(source.path) for source in sources]
        shares = np.array([source.share for source in sources])
        self._shares = shares / shares.sum()

    @property
    def start(self) -> BlockStart:
        """That of the first block."""
        return BlockStart(0, (Place(),) * len(self._sources))

    def block(self, start: BlockStart) -> tuple[list[bytes], BlockStart]:
        """The records of a block, pickled, in the order in which they are seen, and where the next block starts.

        Raises DataError for a bad row, and for a file that has no row to train on.
        """
        draw = np.random.default_rng([self._seed, start.number, 1])
        readers = [self._reader(number, place) for number, place in enumerate(start.places)]
        places, contents = list(start.places), []
        for number in draw.choice(len(readers), self.size, p=self._shares).tolist():
            content, places[number] = next(readers[number])
            contents.append(content)
        shuffled = [contents[number] for number in draw.permutation(len(contents))]
        return shuffled, BlockStart(start.number + 1, tuple(places))

    def _reader(self, source: int, place: Place) -> Iterator[tuple[bytes, Place]]:
        files = self._files[source]
        while True:
            found, begun = False, place == Place()
            for number in range(place.file, len(files)):
                for record, behind in records_from(files[number], place if number == place.file else Place(file=number)):
                    wanted = self._read(record)
                    if wanted is not None:
                        found = True
                        yield pickle.dumps(wanted, protocol=5), behind
            if begun and not found:
                raise DataError(f"{self._sources[source].path}: no row to train on: it has none, or all are held out")
            place = Place()


class _Window(NamedTuple):
    """Rows of a block that are planned together."""

    start: BlockStart
    number: int
    """Of the window in its block."""


class StreamOrder(Order):
    """Micro-batch plans of rows that are read as they are needed, and the rows themselves.

    encode: makes examples of records, in order. counts: where what is noticed about them is added up, in the same order; a stream that goes
    on has counted what the first one had. Row numbers count the rows of the stream; only those of the last `take` are kept. Reading begins
    with the first `take`.
    """

    def __init__(
        self,
        blocks: Blocks,
        encode: Callable[[Iterable[Record]], Iterator[Encoded]],
        batching: Batching,
        seed: int,
        counts: Counter[str] | None = None,
    ) -> None:
        super().__init__(batching)
        self._counts: Counter[str] = Counter() if counts is None else counts
        self._counted_before = self._counts.copy()
        self._blocks, self._encode, self._seed = blocks, encode, seed
        self._window_size = PACKING_WINDOW if batching.pack_length else GROUPED_BATCHES * batching.size if batching.by_length else WINDOW
        self._window = _Window(blocks.start, 0)
        self._coming: Iterator[tuple[_Window, list[tuple[bytes, int]]]] | None = None
        self._rows: list[bytes] = []
        self._lengths: list[int] = []
        self._kept: dict[int, bytes] = {}
        self._first = 0
        self.rows_taken = 0
        """Rows of the stream so far."""

    def take(self, count: int) -> list[Plan]:
        """The next ``count`` micro-batches, whose rows `weigh` gives until the next call."""
        if self._coming is None:
            self._next()
        self._kept.clear()
        return super().take(count)

    def weigh(self, plans: Sequence[Plan]) -> list[Packs]:
        """The rows of plans that were just taken, as they were weighed when they were read."""
        return [[[restored(self._kept[number]) for number in pack] for pack in plan] for plan in plans]

    def patience(self) -> float:
        """Rows of a block."""
        return self._blocks.size

    def state_dict(self) -> dict[str, Any]:
        """Where in the stream we are: the start of the block, the window in it, and the packs of that which were taken; and what had been
        noticed before that window."""
        start, window = self._window
        places = [list(place) for place in start.places]
        state = {"block": start.number, "places": places, "window": window, "cursor": self.cursor}
        return {**state, "rows": self.rows_taken, "seed": self._seed, "counts": dict(self._counted_before)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there, before anything was taken."""
        if self._coming is not None:
            raise ValueError("a stream cannot be moved once it is read from")
        self._window = _Window(BlockStart(state["block"], tuple(Place(*place) for place in state["places"])), state["window"])
        if "counts" in state:
            self._counts.clear()
            self._counts.update(state["counts"])
        self._next()
        self.cursor, self.rows_taken = state["cursor"], state["rows"]
        self._first = self.rows_taken - sum(len(self._packs[number]) for number in range(self.cursor))
        self._number_rows()

    def _tokens_of(self, pack: Pack) -> int:
        return sum(self._lengths[number - self._first] for number in pack)

    def _taken(self, pack: Pack) -> None:
        self._kept.update((number, self._rows[number - self._first]) for number in pack)
        self.rows_taken += len(pack)

    def _next(self) -> None:
        if self._coming is None:
            self._coming = self._encoded()
        self._rows = []
        while not self._rows:  # all rows of a window may be left out
            self._counted_before = self._counts.copy()
            self._window, examples = next(self._coming)
            self._rows = [content for content, _ in examples]
            self._lengths = [length for _, length in examples]
        lengths = np.array(self._lengths, np.int64)
        draw = np.random.default_rng([self._seed, self._window.start.number, 2, self._window.number])
        self._packs = epoch_packs(np.arange(len(lengths)), lengths, self._batching, draw)
        self._first, self.cursor = self.rows_taken, 0
        self._number_rows()

    def _number_rows(self) -> None:
        """Give the rows of the window numbers of the stream, which no other window's have."""
        rows = self._packs.rows - self._packs.rows.min() + self._first
        self._packs = EpochPacks(rows, self._packs.ends, self._packs.begins)

    def _encoded(self) -> Iterator[tuple[_Window, list[tuple[bytes, int]]]]:
        """Windows with their examples, stored, and their lengths; records are read ahead of them as far as `encode` does."""
        sizes: deque[tuple[_Window, int]] = deque()

        def records() -> Iterator[Record]:
            for window, contents in self._windows(self._window):
                sizes.append((window, len(contents)))
                contents.reverse()
                while contents:
                    yield pickle.loads(contents.pop())

        examples = ([(content, len(row)) for row, content in made.rows] for made in self._encode(records()))
        for first in examples:
            window, size = sizes.popleft()
            yield window, [*first, *chain.from_iterable(islice(examples, size - 1))]

    def _windows(self, at: _Window) -> Iterator[tuple[_Window, list[bytes]]]:
        start, number = at
        while True:
            contents, following = self._blocks.block(start)
            del contents[: number * self._window_size]
            while contents:  # what was handed on is kept no longer, so that two blocks are never held
                part = contents[: self._window_size]
                del contents[: self._window_size]
                yield _Window(start, number), part
                number += 1
            start, number = following, 0


def first_rows(masker: Masker, config: DataConfig) -> tuple[RunData, Callable[[Record], Record | None]]:
    """What a run that streams knows of its rows beforehand, and what chooses its training rows.

    Of the held-out rows, `MOST_HELD_OUT` at most are kept to be measured, in the order of the files and by their shares; the others are
    left out of training all the same. `FIRST_ROWS` training rows stand for all, where a run looks at its data before it begins.

    Raises DataError where a share is to be held out and no row is in it, and where no row at all makes an example.
    """
    asked = as_asked(config)
    known = {record.key for record in read_rows(config.eval, config)} if isinstance(config.eval, str) else set[str]()
    share = config.eval if isinstance(config.eval, float) else 0.0

    def wanted(record: Record) -> Record | None:
        record = asked(record)
        return None if record.key in known or is_held_out(record.key, share) else record

    train, held_out = StoredRows(), StoredRows()
    if isinstance(config.eval, str):
        held_out = StoredRows(masker.stream(read_rows(config.eval, config)))
    total = sum(source.weight for source in config.sources)
    for source in config.sources:
        of_source = source.weight / total
        rooms = [math.ceil(FIRST_ROWS * of_source), math.ceil(MOST_HELD_OUT * of_source) if share else 0]
        for record, _ in chain.from_iterable(records_from(file, Place()) for file in streamable_files(source.path)):
            side = int(wanted(record) is None)
            if rooms[side] > 0 and not (side and known):
                made = masker.examples(asked(record))
                rooms[side] -= bool(made)
                for row in made:
                    (held_out if side else train).append(row)
            if max(rooms) <= 0:
                break
    if not train and (reasons := why_dropped(masker)):
        raise DataError(f"{', '.join(source.path for source in config.sources)}: all rows to train on are dropped{reasons}")
    if share and not held_out:
        raise DataError(f"data.eval is {share}, and no row is in that share: name a file of rows to hold out, or set it to null")
    return RunData(train, [], held_out, streamed=True), wanted

"""All rows of a run, kept small: each is stored as bytes and made again whenever it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np

from maskkit.kinds import CODE, KINDS
from maskkit.masker import Example
from maskkit.masker.stored import restored, stored


class StoredRows(Sequence[Example]):
    """Examples in a row, as `list` has them, but in about a tenth of the memory; getting one takes about a tenth of a millisecond.

    What a run wants to know of all of them is noted when they come in, so that none has to be made again for it.
    """

    def __init__(self, rows: Iterable[Example] = ()) -> None:
        self._stored: list[bytes] = []
        self.lengths: list[int] = []
        """Tokens of each."""
        self.trained = 0
        """Rows of which some token counts."""
        self.stop_ids: set[int] = set()
        """Ids of tokens that end a turn in them."""
        self._totals = np.zeros((3, len(KINDS)), np.float64)
        for row in rows:
            self.append(row)

    def append(self, row: Example, content: bytes | None = None) -> None:
        """Add a row; content: the row as `stored` makes it, where that has been done."""
        self._stored.append(stored(row) if content is None else content)
        self.lengths.append(len(row))
        counts = row.loss_weights != 0
        self.trained += bool(counts.any())
        for total, part in zip(self._totals, (None, counts, row.loss_weights), strict=True):
            total += np.bincount(row.tokens.kind_codes, part, minlength=len(KINDS))
        self.stop_ids.update(row.tokens.ids[row.tokens.kind_codes == CODE["stop"]].tolist())

    def content(self, number: int) -> bytes:
        """A row as `stored` made it."""
        return self._stored[number]

    @property
    def trained_kinds(self) -> list[str]:
        """Kinds of which some token counts, sorted."""
        return sorted(kind for kind, (_, trained, _) in self.kinds.items() if trained)

    @property
    def kinds(self) -> dict[str, tuple[int, int, float]]:
        """For each kind that occurs: how many tokens, how many of them count, and the sum of their weights."""
        return {KINDS[code]: (int(n), int(trained), float(weight)) for code, (n, trained, weight) in enumerate(self._totals.T) if n}

    def __len__(self) -> int:
        return len(self._stored)

    @overload
    def __getitem__(self, number: int) -> Example: ...

    @overload
    def __getitem__(self, number: slice) -> list[Example]: ...

    def __getitem__(self, number: int | slice) -> Example | list[Example]:
        if isinstance(number, slice):
            return [restored(content) for content in self._stored[number]]
        return restored(self._stored[number])

    def __iter__(self) -> Iterator[Example]:
        return map(restored, self._stored)

"""Which rows go through the model together: the words in which batches are planned, before any tensor is made.

A *pack* is a list of row numbers that become one row of a batch: one number, or several where rows are packed. A *plan* is a list of packs:
one micro-batch. An optimizer step takes as many plans as there are micro-batches on all ranks together.
"""

from __future__ import annotations

from dataclasses import dataclass

Pack = list[int]
"""Numbers of the rows that become one row of a batch."""

Plan = list[Pack]
"""One micro-batch."""


@dataclass(frozen=True, slots=True)
class Batching:
    """How rows become packs, and packs micro-batches."""

    size: int = 1
    """Packs of a micro-batch."""
    tokens: int | None = None
    """If given, a micro-batch has as many packs as fit into so many tokens, padding included, and ``size`` does not count. A pack that is
    longer by itself is alone."""

    def fits(self, packs: int, longest: int) -> bool:
        """Whether so many packs, of at most ``longest`` tokens each, may be one micro-batch."""
        return packs <= self.size if self.tokens is None else packs == 1 or packs * longest <= self.tokens

"""In which order rows are seen: a pure function of seed and epoch, so a run can be repeated and resumed exactly."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import numpy as np

from maskkit.engine.plan import Batching, EpochPacks, Plan, epoch_packs
from maskkit.errors import DataError


class EpochOrder:
    """An endless stream of micro-batch plans, shuffled anew in each epoch.

    shares: how often each row is seen in one epoch, one number per row. 1 is once, 2 twice, 0.25 in every fourth epoch on average (drawn
    from seed and epoch). batching: how rows become packs and packs plans. lengths: tokens of each row, needed where anything depends on
    them.

    The packs of an epoch are a pure function of seed, epoch, batching and lengths; the state is three numbers.
    """

    def __init__(
        self, shares: Sequence[float], seed: int = 0, batching: Batching | None = None, lengths: Sequence[int] | None = None
    ) -> None:
        self._shares = np.asarray(shares, np.float64)
        if not len(self._shares) or not np.isfinite(self._shares).all() or (self._shares < 0).any() or not self._shares.any():
            raise DataError(f"{len(self._shares)} rows to train on with shares {sorted(set(self._shares.tolist()))}, expected some above 0")
        self._batching = batching or Batching()
        self._lengths = np.zeros(len(self._shares), np.int64) if lengths is None else np.asarray(lengths, np.int64)
        self._seed = seed
        self.epoch = 0
        self.cursor = 0
        """Packs of the current epoch that were taken."""
        self._begin()

    def take(self, count: int) -> list[Plan]:
        """The next ``count`` micro-batches; goes on into the next epoch where this one ends."""
        return [self._plan() for _ in range(count)]

    def copy(self) -> EpochOrder:
        """Another one at the same place, which goes on by itself."""
        return copy(self)

    def rows_per_epoch(self) -> float:
        """How many rows an epoch has (on average, with fractional shares)."""
        return float(self._shares.sum())

    def state_dict(self) -> dict[str, int]:
        """Where in the stream we are."""
        return {"epoch": self.epoch, "cursor": self.cursor, "seed": self._seed}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there."""
        self._seed = state["seed"]
        self._begin(state["epoch"])
        self.cursor = state["cursor"]

    def _plan(self) -> Plan:
        plan: Plan = []
        longest = 0
        while True:
            pack = self._packs[self.cursor]
            longest = max(longest, int(self._lengths[pack].sum()))
            if not self._batching.fits(len(plan) + 1, longest):
                return plan
            plan.append(pack)
            self._advance()
            if self.cursor in self._packs.begins:
                return plan

    def _advance(self) -> None:
        self.cursor += 1
        if self.cursor == len(self._packs):
            self._begin(self.epoch + 1)

    def _begin(self, epoch: int = 0) -> None:
        self.cursor = 0
        while not len(packs := self._epoch(epoch)):  # where all shares are small
            epoch += 1
        self.epoch, self._packs = epoch, packs

    def _epoch(self, epoch: int) -> EpochPacks:
        draw = np.random.default_rng([self._seed, epoch])
        whole = np.floor(self._shares)
        repeats = (whole + (draw.random(len(self._shares)) < self._shares - whole)).astype(np.int64)
        rows = draw.permutation(np.repeat(np.arange(len(repeats)), repeats))
        return epoch_packs(rows, self._lengths, self._batching, draw) if len(rows) else EpochPacks(rows, rows)

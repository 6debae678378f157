"""In which order rows are seen: a pure function of seed and epoch, so a run can be repeated and resumed exactly."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np

from maskkit.engine.plan import Batching, EpochPacks, Pack, Plan, epoch_packs
from maskkit.errors import DataError


class Order(ABC):
    """An endless stream of micro-batch plans, made of packs: each is filled from where the last one ended, as far as `Batching` allows."""

    def __init__(self, batching: Batching) -> None:
        self._batching = batching
        self._packs = EpochPacks(np.zeros(0, np.int64), np.zeros(0, np.int64))
        self.cursor = 0
        """Packs, of those at hand, that were taken."""

    def take(self, count: int) -> list[Plan]:
        """The next ``count`` micro-batches; goes on where the packs at hand end."""
        return [self._plan() for _ in range(count)]

    @abstractmethod
    def patience(self) -> float:
        """How many rows in a row may train nothing before something must be wrong."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Where in the stream we are: of what was taken, not of what was read."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""

    @abstractmethod
    def _tokens_of(self, pack: Pack) -> int:
        """How long a pack is."""

    @abstractmethod
    def _next(self) -> None:
        """Get more packs, at least one, and set the cursor to 0."""

    def _plan(self) -> Plan:
        plan: Plan = []
        longest = 0
        while True:
            pack = self._packs[self.cursor]
            longest = max(longest, self._tokens_of(pack))
            if not self._batching.fits(len(plan) + 1, longest):
                return plan
            plan.append(pack)
            self._taken(pack)
            self.cursor += 1
            if self.cursor == len(self._packs):
                self._next()
            if self.cursor in self._packs.begins:
                return plan

    def _taken(self, pack: Pack) -> None:  # noqa: B027 (only streams note it)
        """Note that a pack was taken."""


class EpochOrder(Order):
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
        super().__init__(batching or Batching())
        self._lengths = np.zeros(len(self._shares), np.int64) if lengths is None else np.asarray(lengths, np.int64)
        self._seed = seed
        self._begin(0)

    def copy(self) -> EpochOrder:
        """Another one at the same place, which goes on by itself."""
        return copy(self)

    def patience(self) -> float:
        """Rows of an epoch (on average, with fractional shares)."""
        return float(self._shares.sum())

    def state_dict(self) -> dict[str, int]:
        """Where in the stream we are."""
        return {"epoch": self.epoch, "cursor": self.cursor, "seed": self._seed}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there."""
        self._seed = state["seed"]
        self._begin(state["epoch"])
        self.cursor = state["cursor"]

    def _tokens_of(self, pack: Pack) -> int:
        return int(self._lengths[pack].sum())

    def _next(self) -> None:
        self._begin(self.epoch + 1)

    def _begin(self, epoch: int) -> None:
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

"""In which order rows are seen: a pure function of seed and epoch, so a run can be repeated and resumed exactly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from maskkit.engine.plan import Batching, Pack, Plan
from maskkit.errors import DataError

Ints = npt.NDArray[np.int64]


class EpochOrder:
    """An endless stream of micro-batch plans, shuffled anew in each epoch.

    shares: how often each row is seen in one epoch, one number per row. 1 is once, 2 twice, 0.25 in every fourth epoch on average (drawn
    from seed and epoch). batching: how rows become packs and packs plans. lengths: tokens of each row, needed where `Batching.tokens` is
    given.

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
            pack = self._pack()
            longest = max(longest, self._tokens_of(pack))
            if not self._batching.fits(len(plan) + 1, longest):
                return plan
            plan.append(pack)
            self._advance()

    def _pack(self) -> Pack:
        """The next pack, which is not yet taken."""
        return [int(self._rows[self.cursor])]

    def _tokens_of(self, pack: Pack) -> int:
        return int(self._lengths[pack].sum())

    def _advance(self) -> None:
        self.cursor += 1
        if self.cursor == len(self._rows):
            self._begin(self.epoch + 1)

    def _begin(self, epoch: int = 0) -> None:
        self.epoch, self.cursor, self._rows = epoch, 0, self._permutation(epoch)
        while not len(self._rows):  # where all shares are small
            self.epoch += 1
            self._rows = self._permutation(self.epoch)

    def _permutation(self, epoch: int) -> Ints:
        draw = np.random.default_rng([self._seed, epoch])
        whole = np.floor(self._shares)
        repeats = (whole + (draw.random(len(self._shares)) < self._shares - whole)).astype(np.int64)
        return draw.permutation(np.repeat(np.arange(len(repeats)), repeats))

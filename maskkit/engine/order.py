"""In which order rows are seen: a pure function of seed and epoch, so a run can be repeated and resumed exactly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maskkit.errors import DataError


class EpochOrder:
    """An endless stream of row numbers, shuffled anew in each epoch.

    shares: how often each row is seen in one epoch, one number per row. 1 is once, 2 twice, 0.25 in every fourth epoch on average (drawn
    from seed and epoch). The permutation of an epoch depends on seed and epoch alone; the state is two numbers.
    """

    def __init__(self, shares: Sequence[float], seed: int = 0) -> None:
        self._shares = np.asarray(shares, np.float64)
        if not len(self._shares) or not np.isfinite(self._shares).all() or (self._shares < 0).any() or not self._shares.any():
            raise DataError(f"{len(self._shares)} rows to train on with shares {sorted(set(self._shares.tolist()))}, expected some above 0")
        self._seed = seed
        self.epoch = 0
        self.cursor = 0
        """Rows of the current epoch that were taken."""
        self._rows = self._permutation()

    def take(self, count: int) -> list[int]:
        """The next ``count`` row numbers; goes on into the next epoch where this one ends."""
        taken: list[int] = []
        while len(taken) < count:
            part = self._rows[self.cursor : self.cursor + count - len(taken)]
            taken.extend(part.tolist())
            self.cursor += len(part)
            if self.cursor == len(self._rows):
                self.epoch, self.cursor = self.epoch + 1, 0
                self._rows = self._permutation()
        return taken

    def rows_per_epoch(self) -> float:
        """How many rows an epoch has (on average, with fractional shares)."""
        return float(self._shares.sum())

    def state_dict(self) -> dict[str, int]:
        """Where in the stream we are."""
        return {"epoch": self.epoch, "cursor": self.cursor, "seed": self._seed}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there."""
        self.epoch, self.cursor, self._seed = state["epoch"], state["cursor"], state["seed"]
        self._rows = self._permutation()

    def _permutation(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        draw = np.random.default_rng([self._seed, self.epoch])
        whole = np.floor(self._shares)
        repeats = (whole + (draw.random(len(self._shares)) < self._shares - whole)).astype(np.int64)
        return draw.permutation(np.repeat(np.arange(len(repeats)), repeats))

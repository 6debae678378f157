"""Mean and spread over seeds, and whether two strategies differ by more than that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
"""Two-sided 95 % quantiles of Student's t distribution for 1, 2, ... degrees of freedom; 2 beyond them."""


@dataclass(frozen=True)
class Spread:
    """Numbers of several seeds."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Their mean."""
        return sum(self.values) / len(self.values)

    @property
    def deviation(self) -> float | None:
        """Their sample standard deviation; None of a single one."""
        if len(self.values) < 2:
            return None
        return math.sqrt(sum((value - self.mean) ** 2 for value in self.values) / (len(self.values) - 1))

    @property
    def margin(self) -> float | None:
        """Half the width of the 95 % confidence interval of the mean (Student's t)."""
        deviation = self.deviation
        if deviation is None:
            return None
        freedom = len(self.values) - 1
        return (_T[freedom - 1] if freedom <= len(_T) else 2.0) * deviation / math.sqrt(len(self.values))


@dataclass(frozen=True)
class Difference:
    """Of one measure between two strategies, seed by seed: the runs of a seed see the same rows in the same order."""

    spread: Spread

    @property
    def clear(self) -> bool | None:
        """Whether 0 lies outside the 95 % confidence interval of the mean difference; None where one seed cannot say."""
        margin = self.spread.margin
        return None if margin is None else abs(self.spread.mean) > margin


def difference(one: Sequence[float], other: Sequence[float]) -> Difference:
    """``one - other`` for each seed, in the same order."""
    return Difference(Spread(tuple(a - b for a, b in zip(one, other, strict=True))))

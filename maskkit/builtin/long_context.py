"""Tokens that only a long context explains."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import Field

from maskkit.strategy import LossModifier, StrategyOptions, TokenScores

if TYPE_CHECKING:
    from torch import Tensor


class LongContext(LossModifier):
    """Weighs up tokens that the whole context makes more probable than a short one does: LongCE.

    ``w_t * min(p_t / short_t, max)`` (Fang et al., arXiv:2410.23771). What the same tokens' log-probabilities are after a short context is
    a column of the data, one number per token.
    """

    name = "long-context"

    class Options(StrategyOptions):
        column: str = "short_log_probs"
        """Column with each token's log-probability after a short context."""
        max: float = Field(5.0, gt=0)
        """Larger ratios are lowered to this."""

    def setup(self) -> None:
        self.token_columns = (self.options.column,)

    def reweight(self, scores: TokenScores, base: Tensor) -> Tensor:
        gain = scores.log_prob - scores.extras[self.options.column]
        return base * gain.clamp_max(math.log(self.options.max)).exp()

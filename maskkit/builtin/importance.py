"""How much more probable the data has become than it was."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from maskkit.strategy import LossModifier, StrategyOptions, TokenScores

if TYPE_CHECKING:
    from torch import Tensor


class Importance(LossModifier):
    """Weighs by the ratio of the model's probability to that of a reference, clipped: importance-weighted fine-tuning.

    ``w_t * clip(p_t / reference_t, min, max)``, or with the product of a row's ratios, over its trained tokens, in place of the token's
    own (Qin and Springenberg, arXiv:2507.12856, weigh trajectories so). The reference's log-probabilities are a column of the data, one
    number per token; ratios that are known beforehand are `row-weight`'s.
    """

    name = "importance"

    class Options(StrategyOptions):
        column: str = "reference_log_probs"
        """Column with the reference's log-probability of each token."""
        per: Literal["row", "token"] = "row"
        """Whose ratio."""
        min: float = Field(0.1, gt=0)
        """Smaller ratios are raised to this."""
        max: float = Field(10.0, gt=0)
        """Larger ratios are lowered to this."""

        @model_validator(mode="after")
        def _checked(self) -> Importance.Options:
            if self.min > self.max:
                raise ValueError(f"min is {self.min} and max {self.max}, expected min to be the smaller")
            return self

    def setup(self) -> None:
        self.token_columns = (self.options.column,)

    def reweight(self, scores: TokenScores, base: Tensor) -> Tensor:
        options: Importance.Options = self.options
        log_ratio = scores.log_prob - scores.extras[options.column]
        if options.per == "row":
            number, index = scores.row.unique(return_inverse=True)  # type: ignore[no-untyped-call]
            log_ratio = log_ratio.new_zeros(len(number)).index_add_(0, index, log_ratio)[index]
        return base * log_ratio.clamp(math.log(options.min), math.log(options.max)).exp()

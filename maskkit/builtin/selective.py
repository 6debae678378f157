"""Only what the model does not know yet and could."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from maskkit.builtin.ranking import largest
from maskkit.strategy import LossModifier, StrategyOptions, TokenScores

if TYPE_CHECKING:
    from torch import Tensor


class Selective(LossModifier):
    """Keeps the share of tokens whose loss exceeds that of a reference model the most: selective language modelling (RHO-1).

    ``w_t * [ce_t - reference_ce_t is among the largest]`` (Lin et al., arXiv:2404.07965). The reference's log-probabilities are a column of
    the data, one number per token.
    """

    name = "selective"

    class Options(StrategyOptions):
        column: str = "reference_log_probs"
        """Column with the reference's log-probability of each token."""
        keep: float = Field(0.6, gt=0, le=1)
        """Share of the trained tokens that stays."""
        scope: Literal["global-batch", "micro-batch"] = "global-batch"
        """Among which tokens: all of the optimizer step, at the cost of one more forward pass, or those of a micro-batch."""

    def setup(self) -> None:
        self.scope = self.options.scope
        self.token_columns = (self.options.column,)

    def reweight(self, scores: TokenScores, base: Tensor) -> Tensor:
        excess = scores.extras[self.options.column] - scores.log_prob
        return base * largest(excess, self.options.keep)

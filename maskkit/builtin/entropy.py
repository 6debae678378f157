"""Only where the model hesitates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from maskkit.builtin.ranking import largest
from maskkit.strategy import LossModifier, StrategyOptions, TokenScores

if TYPE_CHECKING:
    from torch import Tensor


class Entropy(LossModifier):
    """Keeps the share of tokens at which the model is least certain: those with the most entropy; others weigh 0.

    ``w_t * [H_t is among the largest]`` with ``H_t = -sum_v p_v log p_v`` over the vocabulary. Wang et al. (arXiv:2506.01939) train the
    highest 20 % so, in reinforcement learning.
    """

    name = "entropy"
    needs = frozenset({"entropy"})

    class Options(StrategyOptions):
        keep: float = Field(0.2, gt=0, le=1)
        """Share of the trained tokens that stays."""
        scope: Literal["global-batch", "micro-batch"] = "global-batch"
        """Among which tokens: all of the optimizer step, at the cost of one more forward pass, or those of a micro-batch."""

    def setup(self) -> None:
        self.scope = self.options.scope

    def reweight(self, scores: TokenScores, base: Tensor) -> Tensor:
        assert scores.entropy is not None
        return base * largest(scores.entropy, self.options.keep)

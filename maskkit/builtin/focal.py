"""Tokens that the model already knows count less."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from maskkit.strategy import LossModifier, StrategyOptions, TokenScores

if TYPE_CHECKING:
    from torch import Tensor


class Focal(LossModifier):
    """Weighs down tokens that the model already finds probable: focal loss.

    ``w_t * (1 - p_t)^gamma`` with p without gradient (the loss of Lin et al., arXiv:1708.02002, lets a gradient through it too).
    """

    name = "focal"

    class Options(StrategyOptions):
        gamma: float = Field(2.0, ge=0)
        """How much less; 0 changes nothing."""

    def reweight(self, scores: TokenScores, base: Tensor) -> Tensor:
        missed = -scores.log_prob.expm1()  # 1 - p, also where p is close to 1
        return base * missed.clamp_min(0).pow(self.options.gamma)

"""Tokens count as far as the model already believes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskkit.strategy import LossModifier, TokenScores

if TYPE_CHECKING:
    from torch import Tensor


class Dft(LossModifier):
    """Weighs each token by the probability that the model gives it: dynamic fine-tuning, which improbable tokens do not pull about.

    ``w_t * p_t`` with p without gradient (Wu et al., arXiv:2508.05629). Theirs divides by the number of tokens, as ``normalize_by: base``
    does where all weights are 1.
    """

    name = "dft"

    def reweight(self, scores: TokenScores, base: Tensor) -> Tensor:
        return base * scores.log_prob.exp()

"""Less where the model is certain, and so perhaps in conflict with the data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from maskkit.strategy import LossModifier, StrategyOptions, TokenScores

if TYPE_CHECKING:
    from torch import Tensor

TOP = 20
"""How many tokens `TokenScores.top_entropy` is about."""


class Eaft(LossModifier):
    """Weighs each token by how uncertain the model is among its 20 likeliest tokens: entropy-adaptive fine-tuning.

    ``w_t * (H_t / divisor)^exponent`` with H the entropy of the 20 most probable tokens, scaled to sum to 1 (arXiv:2601.02151). The paper
    divides by ln 20, so that weights lie between 0 and 1; LLaMA-Factory divides by 3.0, axolotl by nothing, which is 1.
    """

    name = "eaft"
    needs = frozenset({"top_entropy"})

    class Options(StrategyOptions):
        exponent: float = Field(1.0, ge=0)
        """How strongly; 0 changes nothing."""
        divisor: Literal["ln-20"] | Annotated[float, Field(gt=0)] = "ln-20"
        """What the entropy is divided by, ln-20 or a number: the sources differ."""

    def setup(self) -> None:
        divisor = self.options.divisor
        self._divisor = math.log(TOP) if divisor == "ln-20" else float(divisor)

    def reweight(self, scores: TokenScores, base: Tensor) -> Tensor:
        assert scores.top_entropy is not None
        return base * (scores.top_entropy.clamp_min(0) / self._divisor).pow(self.options.exponent)

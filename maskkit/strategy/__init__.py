"""A strategy decides how much the loss of each token counts; loss modifiers weigh anew by what the model predicted; both combine.

    class FinalAnswer(maskkit.Strategy):
        '''Train the final answer and its stop token, not the reasoning that led to it.'''
        name = "final-answer"

        class Options(maskkit.StrategyOptions):
            stop: float = 1.0

        def weights(self, tokens):
            return tokens.where(kind="answer") + self.options.stop * tokens.where(kind="stop")

``a & b`` multiplies the weights of two strategies, ``a | b`` takes the larger, ``0.3 * a`` scales. A bare function of ``tokens`` is
accepted wherever a strategy is. ``a & m`` lets the loss modifier m act on what a weighs.
"""

from __future__ import annotations

from maskkit.strategy.columns import column_of
from maskkit.strategy.combining import FromFile, Function, Max, Product, Scaled
from maskkit.strategy.contract import Spec, Strategy, StrategyLike, as_strategy
from maskkit.strategy.modifier import NEEDS, SCOPES, LossModifier, TokenScores
from maskkit.strategy.options import Configured, StrategyOptions
from maskkit.strategy.weighing import weights_of

__all__ = [
    "NEEDS",
    "SCOPES",
    "Configured",
    "FromFile",
    "Function",
    "LossModifier",
    "Max",
    "Product",
    "Scaled",
    "Spec",
    "Strategy",
    "StrategyLike",
    "StrategyOptions",
    "TokenScores",
    "as_strategy",
    "column_of",
    "weights_of",
]

"""A masking strategy in a package of its own: all that a plugin needs."""

from __future__ import annotations

import maskkit


class FinalAnswer(maskkit.Strategy):
    """Train the final answer and its stop token, not the reasoning that led to it."""

    name = "final-answer"

    class Options(maskkit.StrategyOptions):
        stop: float = 1.0
        """Weight of the stop token."""

    def weights(self, tokens: maskkit.Tokens):
        return tokens.where(kind="answer", message=-1) + self.options.stop * tokens.where(kind="stop", message=-1)


@maskkit.hookimpl
def maskkit_strategies():
    return [FinalAnswer]

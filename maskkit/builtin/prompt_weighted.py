"""The prompt counts a little, the response more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from maskkit.strategy import Strategy, StrategyOptions

if TYPE_CHECKING:
    import numpy.typing as npt

    from maskkit.tokens import Tokens


class PromptWeighted(Strategy):
    """One weight for the prompt and one for the response: prompt loss weight (PLW), weighted instruction tuning (WIT).

    ``w_t = prompt`` on what the model does not generate, ``response`` on what it does. PLW (Huerta-Enochian and Ko, arXiv:2401.13586)
    varies ``prompt`` with ``response`` at 1. WIT (Chatterjee et al., arXiv:2507.07817) varies both and divides by the number of tokens
    whose weight is not 0: ``loss: {normalization: tokens}``.
    """

    name = "prompt-weighted"

    class Options(StrategyOptions):
        prompt: float = Field(0.1, ge=0)
        """Weight of what the model does not generate: system, user, tool results, and scaffolding unless that has its own."""
        response: float = Field(1.0, ge=0)
        """Weight of generated answers, reasoning and tool calls."""
        stop: float = Field(1.0, ge=0)
        """Weight of the stop token that ends an assistant turn."""
        template: float | None = Field(None, ge=0)
        """Weight of the template's scaffolding, which every row repeats; that of the prompt if not given."""
        last_turn: bool = False
        """Of the responses, train only those of the last turn."""

    def weights(self, tokens: Tokens) -> npt.ArrayLike:
        options: PromptWeighted.Options = self.options
        weights = 0.0 * tokens.where()
        weights[tokens.where(generated=False)] = options.prompt
        if options.template is not None:
            weights[tokens.where(kind="template")] = options.template
        replied = tokens.where(kind=("answer", "reasoning", "tool_call", "stop"), turn=-1 if options.last_turn else None)
        weights[replied] = options.response
        weights[replied & tokens.where(kind="stop")] = options.stop
        return weights

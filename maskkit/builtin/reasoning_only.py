"""Only the thinking counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from maskkit.strategy import Strategy, StrategyOptions

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from maskkit.tokens import Tokens


class ReasoningOnly(Strategy):
    """Only the reasoning that the model generates counts, with the tags around it; answers do not."""

    name = "reasoning-only"

    class Options(StrategyOptions):
        stop: float = Field(0.0, ge=0)
        """Weight of the stop token that ends an assistant turn."""
        last_turn: bool = False
        """Train only the last turn: what follows the last user message, tool loops included."""
        prompt: float = Field(0.0, ge=0)
        """Weight of every token that the model does not generate: system, user, tool results, scaffolding."""

    def weights(self, tokens: Tokens) -> npt.ArrayLike:
        options: ReasoningOnly.Options = self.options
        trained: npt.NDArray[np.float64] = tokens.where(kind="reasoning") + options.stop * tokens.where(kind="stop")
        if options.last_turn:
            trained = trained * tokens.where(turn=-1)
        return trained + options.prompt * tokens.where(generated=False)

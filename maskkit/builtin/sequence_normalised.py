"""Long rows count no more than short ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

import maskkit
from maskkit.builtin.schedule import Mixture
from maskkit.errors import ConfigError
from maskkit.strategy import Strategy, StrategyOptions, weights_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from maskkit.tokens import Tokens


class SequenceNormalised(Strategy):
    """The weights of another strategy divided by a power of the number of trained tokens: 1/n, or 1/sqrt(n), per row.

    ``w_t = v_t / n^exponent`` with v the other strategy's weights and n the number of tokens of the row (turn, message) whose v is not 0.
    As in xtuner, which calls exponent 1 ``sample`` and 0.5 ``square``. n is counted after truncation, without tokens that are never
    trained: the first, and those of unknown or mixed origin. The other strategy has no ``schedule`` in it, whose tokens are others at
    every step: a schedule goes between two strategies that are normalised.
    """

    name = "sequence-normalised"

    class Options(StrategyOptions):
        strategy: str | dict[str, Any] = "assistant-only"
        """The other strategy, as a config writes it."""
        exponent: float = Field(1.0, ge=0)
        """1: every row counts alike, however long; 0.5: in between; 0: every token counts alike."""
        per: Literal["row", "turn", "message"] = "row"
        """What counts alike."""

    def setup(self) -> None:
        self.take(maskkit.load_strategy(self.options.strategy))
        if any(isinstance(modifier, Mixture) for modifier in self.modifiers):
            raise ConfigError(
                "strategy 'sequence-normalised' counts the tokens that are trained before the loss, and 'schedule' trains others at each "
                "step: normalise both of its strategies, as {name: schedule, from: {name: sequence-normalised, strategy: ...}, "
                "to: {name: sequence-normalised, strategy: ...}}"
            )

    def weights(self, tokens: Tokens) -> npt.ArrayLike:
        weights = weights_of(self.inner[0], tokens)
        return weights / self.divisor(tokens, weights)

    def divisor(self, tokens: Tokens, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """``n^exponent`` of each token, float64 [T]. weights: of the other strategy, float64 [T]."""
        options: SequenceNormalised.Options = self.options
        divisor: npt.NDArray[np.float64] = self._trained(tokens, weights, options.per) ** options.exponent
        return divisor

    def _trained(self, tokens: Tokens, weights: npt.NDArray[np.float64], per: str) -> npt.NDArray[np.float64]:
        """For each token, how many tokens of its row, turn or message are trained; 1 where none is."""
        import numpy as np

        trained = weights != 0
        trained[:1] = False
        if self.needs_attribution:
            trained &= ~tokens.straddle & ~tokens.where(kind="unknown")
        group = np.zeros(len(tokens), np.int64) if per == "row" else (tokens.turn if per == "turn" else tokens.message) + 1
        counts = np.bincount(group, weights=trained, minlength=1)
        return np.maximum(counts, 1.0)[group]

"""The weights that the data itself gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from maskkit.errors import DataError
from maskkit.strategy import Strategy, StrategyOptions

if TYPE_CHECKING:
    import numpy.typing as npt

    from maskkit.tokens import Tokens


class FromData(Strategy):
    """The weights that the rows give to messages, parts, tool calls or characters; what has none counts 1 if the model generates it.

    ``w_t = mark(t)`` where a mark of the row covers token t (`maskkit.records.marks` knows which keys are marks), else
    ``unmarked * generated(t)``.
    """

    name = "from-data"
    reads_data_weights = True

    class Options(StrategyOptions):
        unmarked: float = Field(1.0, ge=0)
        """Weight of what the model generates and no mark covers; 0 trains only what is marked."""
        stop: float = Field(1.0, ge=0)
        """Factor on the weight of the stop token that ends an assistant turn."""
        last_turn: bool = False
        """Train only the last turn: what follows the last user message, tool loops included."""
        signed: bool = False
        """Allow negative weights, which push away from a token; needs loss.normalization absolute or tokens."""

    def setup(self) -> None:
        self.signed = self.options.signed

    def weights(self, tokens: Tokens) -> npt.ArrayLike:
        import numpy as np

        options: FromData.Options = self.options
        given = tokens.data_weights
        negative = np.flatnonzero(given < 0)
        if len(negative) and not options.signed:
            t = int(negative[0])
            raise DataError(
                f"{tokens.record.source}: the row gives token {t} ({tokens.piece(t)!r}) the weight {given[t]}; set signed: true if "
                "negative weights are meant"
            )
        weights = np.where(np.isnan(given), options.unmarked * tokens.where(generated=True), given.astype(np.float64))
        weights = np.where(tokens.where(kind="stop"), options.stop * weights, weights)
        return weights * tokens.where(turn=-1) if options.last_turn else weights

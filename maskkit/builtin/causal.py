"""Every token counts: base-model training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskkit.strategy import Strategy

if TYPE_CHECKING:
    import numpy.typing as npt

    from maskkit.tokens import Tokens


class Causal(Strategy):
    """Every token's loss counts: pre-training on plain text, or on whole conversations.

    Attention is causal under every strategy; the name says that nothing is masked.
    """

    name = "causal"
    needs_attribution = False

    def weights(self, tokens: Tokens) -> npt.ArrayLike:
        return tokens.where()

"""What a model trains on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskkit.findings import Finding
from maskkit.tokens import Tokens

IGNORE = -100
"""Label of a token whose loss does not count, as everywhere in the field."""


@dataclass(frozen=True, eq=False)
class Example:
    """What a model trains on: ids and, for each, how much the loss of predicting it counts.

    input_ids: int64 [T]. loss_weights: float32 [T], label-aligned: entry t belongs to ``input_ids[t]``; entry 0 is always 0, since nothing
    predicts the first token. tokens: where each token came from. warnings: what was noticed. modifiers: names of the strategy's loss
    modifiers, which have yet to act on the weights, where the loss is computed.
    """

    input_ids: npt.NDArray[np.int64]
    loss_weights: npt.NDArray[np.float32]
    tokens: Tokens
    warnings: tuple[Finding, ...] = ()
    modifiers: tuple[str, ...] = ()

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """int64 [T]: ``input_ids``, and -100 where the weight is 0."""
        return np.where(self.loss_weights != 0, self.input_ids, IGNORE)

    def __len__(self) -> int:
        return len(self.input_ids)

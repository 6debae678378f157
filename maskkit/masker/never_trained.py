"""Tokens that weigh 0 whatever a strategy says, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from maskkit.kinds import CODE

if TYPE_CHECKING:
    from maskkit.strategy import Strategy
    from maskkit.tokens import Tokens

REASONS: dict[str, str] = {
    "unknown": "its origin could not be determined, and is never guessed",
    "straddle": "it touches prompt and generated text, so no weight would be right",
    "served-prompt": "it belongs to the prompt of a reply as it was served, which comes again with the next reply",
    "first-token": "it is the first token, which nothing predicts",
}
"""Every reason, in a sentence about the token."""


def never_trained(tokens: Tokens, strategy: Strategy) -> dict[str, npt.NDArray[np.bool_]]:
    """Reason -> the tokens, bool [T]. The first two do not hold under strategies that declare ``needs_attribution = False``."""
    found: dict[str, npt.NDArray[np.bool_]] = {}
    if strategy.needs_attribution:
        found["unknown"] = tokens.kind_codes == CODE["unknown"]
        found["straddle"] = tokens.straddle
    if tokens.reply >= 0:
        found["served-prompt"] = ~tokens.generated
    found["first-token"] = np.arange(len(tokens)) == 0
    return found

"""The largest few of many."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def largest(values: Tensor, share: float) -> Tensor:
    """bool [N]: the ``share`` of values that are largest, at least one, rounded up; all that equal the last of them too."""
    count = max(1, math.ceil(share * len(values) - 1e-9))  # 0.3 of 10 is 3, whatever floats say
    return values >= values.topk(count).values[-1]

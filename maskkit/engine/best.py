"""Which model was the best so far, and has it been that for too long?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from maskkit.engine.evaluate import Evaluation
from maskkit.errors import ConfigError


@dataclass(slots=True)
class Best:
    """The lowest held-out loss of a run.

    metric: ``loss``, or a kind of token whose own loss decides; None where nobody asks.
    patience: so many evaluations in a row without a lower one end the run; None for never.
    """

    metric: str | None = None
    patience: int | None = None
    value: float = math.inf
    step: int = 0
    """When it was measured."""
    since: int = 0
    """Evaluations since then."""

    @property
    def exhausted(self) -> bool:
        """Whether the run should end."""
        return self.patience is not None and self.since >= self.patience

    def update(self, found: Evaluation, step: int) -> bool:
        """Whether this evaluation is the best so far. Raises ConfigError if it has no loss of the kind that is asked for."""
        name = self.metric or "loss"
        value = found.loss if name == "loss" else found.kinds.get(name)
        if value is None:
            raise ConfigError(f"training.save_best is {name!r}, but no held-out token is of that kind; found: {', '.join(found.kinds)}")
        better = value < self.value
        self.value, self.step, self.since = (value, step, 0) if better else (self.value, self.step, self.since + 1)
        return better

    def state_dict(self) -> dict[str, Any]:
        """What has to be known to go on."""
        return {"metric": self.metric, "value": self.value, "step": self.step, "since": self.since}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there, unless another metric was asked for then."""
        if state["metric"] == self.metric:
            self.value, self.step, self.since = state["value"], state["step"], state["since"]

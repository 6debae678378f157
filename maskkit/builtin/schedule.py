"""From one strategy to another, as training goes on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, Field

import maskkit
from maskkit.errors import ConfigError
from maskkit.strategy import LossModifier, Strategy, StrategyOptions, TokenScores, weights_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from maskkit.tokens import Tokens


class Schedule(Strategy):
    """Goes from the weights of one strategy to those of another while training goes on: annealing, curricula.

    ``w_t = (1 - f) * from_t + f * to_t``, where f rises from 0 at step ``start`` to 1 at step ``end``. Before the loss is computed a token
    weighs the larger of the two, which is what a preview shows; with ``loss: {normalize_by: reweighted}`` the mean of a step is that of its
    own weights.
    """

    name = "schedule"

    class Options(StrategyOptions):
        model_config = ConfigDict(populate_by_name=True)

        from_: str | dict[str, Any] = Field("assistant-only", alias="from")
        """The strategy to begin with, as a config writes it."""
        to: str | dict[str, Any] = Field(examples=["causal"])
        """The strategy to end with."""
        start: int = Field(1, ge=1)
        """The last step that has the first strategy's weights."""
        end: int = Field(ge=1, examples=[100])
        """The first step that has the second strategy's weights; the step after ``start`` for a change at once."""
        shape: Literal["linear", "cosine"] = "linear"
        """How it goes from one to the other."""

    def setup(self) -> None:
        options: Schedule.Options = self.options
        if options.end <= options.start:
            raise ConfigError(f"strategy 'schedule': end is {options.end} and start {options.start}, expected a later step")
        self.take(maskkit.load_strategy(options.from_), maskkit.load_strategy(options.to))
        if self.modifiers:
            raise ConfigError(
                f"strategy 'schedule' goes between weights that are known before the loss, and {self.modifiers[0].label!r} acts when the "
                f"loss is computed: multiply afterwards, as {{product: [{{name: schedule, ...}}, {self.modifiers[0].label}]}}"
            )
        self.modifiers = (Mixture(self),)

    def weights(self, tokens: Tokens) -> npt.ArrayLike:
        import numpy as np

        begin, end = (np.abs(weights_of(part, tokens)) for part in self.inner)
        larger: npt.NDArray[np.float64] = np.maximum(begin, end)
        return larger

    def share(self, step: int) -> float:
        """How far it has gone at a step, from 0 to 1."""
        options: Schedule.Options = self.options
        linear = min(max((step - options.start) / (options.end - options.start), 0.0), 1.0)
        return linear if options.shape == "linear" else 0.5 - 0.5 * math.cos(math.pi * linear)


class Mixture(LossModifier):
    """What a step makes of the larger of two weights."""

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self._schedule = schedule
        self.signed = schedule.signed

    @property
    def label(self) -> str:
        return self._schedule.label

    def spec(self) -> Any:
        return self._schedule.spec()

    def carry(self, tokens: Tokens) -> Mapping[str, npt.ArrayLike]:
        begin, end = (weights_of(part, tokens) for part in self._schedule.inner)
        return {"from": begin, "to": end}

    def reweight(self, scores: TokenScores, base: Tensor) -> Tensor:
        begin, end, share = scores.extras["from"], scores.extras["to"], self._schedule.share(scores.step)
        larger = begin.abs().maximum(end.abs())
        return base * ((1 - share) * begin + share * end) / larger

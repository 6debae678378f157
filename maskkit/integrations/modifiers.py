"""Loss modifiers in a loop that somebody else wrote: the weights of a micro-batch once the model has predicted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from maskkit.batching import UNMODIFIED
from maskkit.errors import ConfigError
from maskkit.loss import LossEntries, Predicted, reweighted
from maskkit.strategy import LossModifier, TokenScores


class Modifiers:
    """The loss modifiers of a strategy, ``masker.strategy.modifiers``. Without any, weights stay as they are.

    Raises ConfigError for a modifier that ranks the tokens of the whole global batch, which takes a second forward pass that other
    people's loops do not make, and for one that reads columns of the rows: the engine serves both.
    """

    def __init__(self, modifiers: Iterable[LossModifier]) -> None:
        self._modifiers = tuple(modifiers)
        self.needs = frozenset(need for modifier in self._modifiers for need in modifier.needs)
        """Statistics that they read beside the log-probabilities."""
        for modifier in self._modifiers:
            if modifier.scope == "global-batch":
                raise ConfigError(
                    f"loss modifier {modifier.label!r} ranks the whole global batch, which only  maskkit train  can: use that"
                )
            if modifier.token_columns or type(modifier).carry is not LossModifier.carry:
                raise ConfigError(
                    f"loss modifier {modifier.label!r} reads columns of the rows, which only  maskkit train  carries: use that"
                )

    def __bool__(self) -> bool:
        return bool(self._modifiers)

    def __call__(self, found: Predicted, batch: Mapping[str, Any], entries: LossEntries, step: int) -> Tensor | None:
        """The new weights [N] of the entries, or None where nothing changes them. step: number of the optimizer step, counted from 1.

        Raises ConfigError for a batch that does not know the kinds of its tokens, and, without modifiers, for one of `Example`s whose
        strategy has some.
        """
        if not self._modifiers:
            if batch.get(UNMODIFIED) is not None:
                raise ConfigError(
                    "the batch has examples of a strategy with loss modifiers, and none were given, so that they would be lost: pass "
                    "modifiers=masker.strategy.modifiers, or make the rows under a strategy without"
                )
            return None
        if batch.get("kinds") is None:
            raise ConfigError(
                "loss modifiers see kinds of tokens, and the batch has no column 'kinds': collate Examples, or map the rows with "
                "fn_kwargs={'kinds': True}"
            )
        scores = TokenScores(
            log_prob=found.log_prob.detach(),
            target=entries.target,
            row=entries.sequence,
            kind=batch["kinds"].flatten()[entries.predicted],
            step=step,
            entropy=found.entropy,
            top_entropy=found.top_entropy,
            top1=found.top1,
        )
        return reweighted([(modifier, scores) for modifier in self._modifiers], entries.weight)

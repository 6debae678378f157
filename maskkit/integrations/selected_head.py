"""Score chosen positions inside a model's own forward pass, so that tokens without weight never reach the head.

A loss that called backbone and head by itself would pass by what a trainer wraps around the model: gradient synchronisation of DDP,
gathering of FSDP and DeepSpeed, autocast, compilation. So the model's forward learns one more way to be called, and to the wrappers around
it this is an ordinary call.
"""

from __future__ import annotations

import functools
import types
from typing import Any, NamedTuple

from torch import Tensor, nn

from maskkit.errors import ConfigError
from maskkit.loss import Head, LossEntries, Projection, head_of, predicted, predicted_from_logits
from maskkit.loss.head import unwrapped

_BEFORE = "_forward_before_maskkit"
_SCORING = "_maskkit_scoring"


class Scoring(NamedTuple):
    """What a taught model knows of its head."""

    scale: float
    """What the logits are multiplied by."""
    softcap: float | None
    """What they lie between minus and plus of."""
    chunk: int | None
    """How many positions have logits at one time; None: as many as memory allows."""


def score_selected_positions(model: Any, chunk: int | None = None) -> Head:
    """Teach ``model`` to be called as ``model(..., **selection(entries, width))``, if it is known what its head computes.

    Such a call returns ``{"log_probs": Tensor [N]}``; any other is as before. ``chunk`` positions have logits at one time. To be called
    before the model is sharded or compiled; a second call only sets ``chunk``.

    Returns what `head_of` found: where the head is not plain, the model is left as it was. Raises ConfigError for anything but a causal
    language model of transformers.
    """
    inner = unwrapped(model)
    if not callable(getattr(inner, "get_output_embeddings", None)):
        raise ConfigError(f"{type(inner).__name__} has no get_output_embeddings(): expected a causal language model of transformers")
    if any(hasattr(parameter, "ds_id") for parameter in inner.parameters()):
        return Head(None, None, "sharded-parameters")  # DeepSpeed has taken them apart already: nothing can be tried out
    head = head_of(inner)
    if head.plain:
        setattr(inner, _SCORING, Scoring(head.scale, head.softcap, chunk))
        if not hasattr(inner, _BEFORE):
            setattr(inner, _BEFORE, inner.forward)
            inner.forward = types.MethodType(_with_selection(type(inner).forward), inner)
    return head


def selection(entries: LossEntries, width: int) -> dict[str, Tensor]:
    """Arguments that ask for the log-probabilities of ``entries`` of a batch whose rows are ``width`` long.

    Columns are counted from the end: prompt tuning puts virtual tokens in front of a row.
    """
    return {"loss_row": entries.source // width, "loss_column": entries.source % width - width, "loss_target": entries.target}


def _with_selection(original: Any) -> Any:
    """The new forward. It holds on to nothing, so that a deep copy of the model is a model of its own; its signature is the old one, by
    which generation and trainers judge what the model takes."""

    @functools.wraps(original)
    def forward(
        self: Any,
        *args: Any,
        loss_row: Tensor | None = None,
        loss_column: Tensor | None = None,
        loss_target: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        if loss_row is None or loss_column is None or loss_target is None:
            return getattr(self, _BEFORE)(*args, **kwargs)
        hidden = self.base_model(*args, **kwargs).last_hidden_state[loss_row, loss_column]
        return {"log_probs": _log_probs(self.get_output_embeddings(), hidden, loss_target, getattr(self, _SCORING))}

    return forward


def _log_probs(head: Any, hidden: Tensor, target: Tensor, scoring: Scoring) -> Tensor:
    """Log-probabilities [N] of ``target`` [N] from hidden states [N, H].

    A head that something else has its hands on, such as FSDP or DeepSpeed, is called as a module, so that its hooks run.
    """
    untouched = type(head) is nn.Linear and not head._forward_pre_hooks and "forward" not in vars(head)
    if untouched and type(head.weight) in (nn.Parameter, Tensor):
        projection = Projection(head.weight, head.bias, scoring.scale, scoring.softcap)
        return predicted(hidden, projection, target, chunk=scoring.chunk).log_prob
    logits = head(hidden) * scoring.scale
    if scoring.softcap is not None:
        logits = scoring.softcap * (logits / scoring.softcap).tanh()
    return predicted_from_logits(logits, target).log_prob

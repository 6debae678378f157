"""Score chosen positions inside a model's own forward pass, so that tokens without weight never reach the head.

A loss that called backbone and head by itself would pass by what a trainer wraps around the model: gradient synchronisation of DDP,
gathering of FSDP and DeepSpeed, autocast, compilation. So the model's forward learns one more way to be called, and to the wrappers around
it this is an ordinary call.
"""

from __future__ import annotations

import functools
import types
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskkit.errors import ConfigError
from maskkit.loss import Head, LossEntries, head_of, token_log_probs

_BEFORE = "_forward_before_maskkit"
_CHUNK = "_maskkit_chunk"


def causal_language_model(model: Any) -> Any:
    """The transformers model inside wrappers of torch (``DistributedDataParallel``) and PEFT."""
    while isinstance(model, nn.parallel.DistributedDataParallel):
        model = model.module
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def score_selected_positions(model: Any, chunk: int = 256) -> Head:
    """Teach ``model`` to be called as ``model(..., **selection(entries, width))``, if its head is a plain linear map.

    Such a call returns ``{"log_probs": Tensor [N]}``; any other is as before. ``chunk`` positions have logits at one time. To be called
    before the model is sharded or compiled; a second call only sets ``chunk``.

    Returns what `head_of` found: where the head is not plain, the model is left as it was. Raises ConfigError for anything but a causal
    language model of transformers.
    """
    inner = causal_language_model(model)
    if not callable(getattr(inner, "get_output_embeddings", None)):
        raise ConfigError(f"{type(inner).__name__} has no get_output_embeddings(): expected a causal language model of transformers")
    if any(hasattr(parameter, "ds_id") for parameter in inner.parameters()):
        return Head(None, None, "sharded-parameters")  # DeepSpeed has taken them apart already: nothing can be tried out
    head = head_of(inner)
    if head.plain:
        setattr(inner, _CHUNK, chunk)
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
        return {"log_probs": _log_probs(self.get_output_embeddings(), hidden, loss_target, getattr(self, _CHUNK))}

    return forward


def _log_probs(head: Any, hidden: Tensor, target: Tensor, chunk: int) -> Tensor:
    """Log-probabilities [N] of ``target`` [N] from hidden states [N, H].

    A head that something else has its hands on, such as FSDP or DeepSpeed, is called as a module, so that its hooks run.
    """
    untouched = type(head) is nn.Linear and not head._forward_pre_hooks and "forward" not in vars(head)
    if untouched and type(head.weight) in (nn.Parameter, Tensor):
        return token_log_probs(hidden, head.weight, target, bias=head.bias, chunk=chunk)
    logits = head(hidden)
    return -F.cross_entropy(logits.to(torch.promote_types(logits.dtype, torch.float32)), target, reduction="none")

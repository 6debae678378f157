"""The loss: per-token cross-entropy, multiplied by each token's weight, summed, divided once.

    L = -sum_t( w_t * log p(token_t | tokens before t) ) / denominator

`weighted_cross_entropy` says it in the plainest way, from full logits. `linear_weighted_cross_entropy` gives the same value and
gradients from hidden states, and only tokens with a weight other than 0 reach the language-model head. Trainers of their own use the
parts: `entries_of` (which predictions count, with the one shift), `token_log_probs`, `Normalizer`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from maskkit.errors import ConfigError
from maskkit.loss.backends import BACKENDS, check_backend, predicted, predicted_from_logits
from maskkit.loss.entries import IGNORED_LABEL, LossEntries, entries_of, sum_dtype
from maskkit.loss.head import Head, head_of
from maskkit.loss.normalization import NORMALIZATIONS, NORMALIZE_BY, Normalizer, checked
from maskkit.loss.predicted import Predicted
from maskkit.loss.projection import Projection
from maskkit.loss.reweight import checked_weights, ratios, reweighted
from maskkit.loss.token_log_probs import TokenLogProbs, token_log_probs

__all__ = [
    "BACKENDS",
    "IGNORED_LABEL",
    "NORMALIZATIONS",
    "NORMALIZE_BY",
    "Head",
    "LossEntries",
    "Normalizer",
    "Predicted",
    "Projection",
    "TokenLogProbs",
    "check_backend",
    "checked",
    "checked_weights",
    "entries_of",
    "head_of",
    "linear_weighted_cross_entropy",
    "logit_log_probs",
    "predicted",
    "predicted_from_logits",
    "ratios",
    "reweighted",
    "sum_dtype",
    "token_log_probs",
    "weighted_cross_entropy",
    "weighted_sum",
]


def weighted_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    loss_weights: Tensor,
    *,
    normalization: str = "weights",
    denominator: float | Tensor | None = None,
    document_ids: Tensor | None = None,
) -> Tensor:
    """Weighted mean of the per-token cross-entropy, from full logits: the reference that every other path is tested against.

    logits [B, T, V]: any floating dtype, ``logits[:, t]`` predicts token t+1 (as models return them). labels [B, T]: int64, aligned with
    input_ids, -100 where nothing is predicted. loss_weights [B, T]: how much the prediction *of* each token counts.
    document_ids [B, T]: -1 at padding; tells documents packed in one row apart, so that none predicts the first token of the next.

    ``normalization`` (see `maskkit.loss.normalization`) says that this batch is the whole global batch. With ``denominator=number`` the
    normalization's weighted sum is divided by that number instead, which is how a trainer that accumulates or has several ranks
    gets the exact mean.

    Returns a float64 scalar with gradients. Raises TrainingError for a zero denominator, StrategyError for a weight that is not finite,
    ConfigError for shapes that differ or a label outside the vocabulary.
    """
    _check_batch_shape("logits", logits, labels)
    entries = entries_of(labels, loss_weights, document_ids)
    return _divide(logit_log_probs(logits, entries), entries, normalization, denominator)


def linear_weighted_cross_entropy(
    hidden: Tensor,
    head_weight: Tensor,
    labels: Tensor,
    loss_weights: Tensor,
    *,
    normalization: str = "weights",
    denominator: float | Tensor | None = None,
    document_ids: Tensor | None = None,
    bias: Tensor | None = None,
    backend: str = "auto",
    chunk: int | None = None,
) -> Tensor:
    """As `weighted_cross_entropy` with ``logits = hidden @ head_weight.T + bias``, but the logits are never held at once.

    hidden [B, T, H]: the last hidden state; head_weight [V, H]; bias [V]. Only tokens with a weight other than 0 reach the head, so
    its cost is proportional to the trained tokens; ``chunk`` of them have logits at one time. Not for models that scale or cap their
    logits: `head_of` tells. ``backend``: a name of `maskkit.loss.backends`; under ``auto`` the gradients are made in this call, so one
    backward pass is possible.
    """
    _check_batch_shape("hidden", hidden, labels)
    entries = entries_of(labels, loss_weights, document_ids)
    _check_targets(entries, len(head_weight))
    states, head = hidden.flatten(0, 1)[entries.source], Projection(head_weight, bias)
    coefficients = Normalizer(normalization).coefficients(entries)
    found = predicted(states, head, entries.target, backend=backend, coefficients=coefficients, chunk=chunk)
    return _divide(found.log_prob, entries, normalization, denominator)


def logit_log_probs(logits: Tensor, entries: LossEntries) -> Tensor:
    """Log-probabilities [N] of the entries' targets from full logits [B, T, V], in float32 or better."""
    _check_targets(entries, logits.shape[-1])
    return predicted_from_logits(logits.flatten(0, 1)[entries.source], entries.target).log_prob


def weighted_sum(log_probs: Tensor, coefficients: Tensor) -> Tensor:
    """``-sum(coefficient * log_prob)``, the numerator of the loss: both [N]; summed in float64. No entries give 0, with gradients 0."""
    return -(log_probs.to(coefficients.dtype) * coefficients).sum()


def _divide(log_probs: Tensor, entries: LossEntries, normalization: str, denominator: float | Tensor | None) -> Tensor:
    normalizer = Normalizer(normalization)
    if denominator is None:
        divisor = normalizer.total([entries])
    else:
        divisor = checked(torch.as_tensor(denominator, dtype=entries.weight.dtype, device=entries.weight.device), "denominator")
    return weighted_sum(log_probs, normalizer.coefficients(entries)) / divisor


def _check_batch_shape(name: str, values: Tensor, labels: Tensor) -> None:
    if values.ndim != 3 or values.shape[:2] != labels.shape:
        raise ConfigError(
            f"{name} have shape {list(values.shape)}, expected [batch, length, size] with labels of shape {list(labels.shape)}"
        )


def _check_targets(entries: LossEntries, vocabulary: int) -> None:
    outside = (entries.target < 0) | (entries.target >= vocabulary)
    if bool(outside.any()):
        bad = int(entries.target[outside][0])
        raise ConfigError(f"label {bad} is outside the model's vocabulary of {vocabulary}: do the tokenizer and the model belong together?")

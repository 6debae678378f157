"""The loss of a global batch, micro-batch by micro-batch, in a loop that somebody else wrote.

    loss = sum over micro-batches and ranks of  -sum(coefficient * log p) / denominator

Every share is divided by the same denominator, which is known from the weights alone: so it is summed over micro-batches and ranks before
the first forward pass, and nothing divides twice.

    weighted = GlobalBatchLoss(model)                       # before the model is wrapped
    for micro_batches in steps:                             # all micro-batches of one optimizer step, on this rank
        denominator = weighted.denominator(micro_batches)   # one all-reduce
        for batch in micro_batches:
            (weighted(model, batch, denominator) * ranks).backward()    # ranks: 1 where gradients are summed, not averaged
        optimizer.step()
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from maskkit.batching import model_inputs
from maskkit.errors import ConfigError, DataError
from maskkit.integrations.selected_head import score_selected_positions, selection
from maskkit.loss import LossEntries, Normalizer, checked, entries_of, logit_log_probs, sum_dtype, weighted_sum

logger = logging.getLogger("maskkit.integrations")

Batch = Mapping[str, Any]
Reduce = Callable[[Tensor], Tensor]
"""The sum of a scalar over all ranks."""


def summed_over_ranks(value: Tensor) -> Tensor:
    """``value`` summed over all ranks of ``torch.distributed``; itself where there is one process."""
    if not (dist.is_available() and dist.is_initialized()):
        return value
    total = value.to("cuda") if dist.get_backend() == "nccl" else value.clone()
    dist.all_reduce(total)
    return total.to(value.device)


class GlobalBatchLoss:
    """The exact weighted mean of a global batch, one share at a time.

    model: a causal language model of transformers, with PEFT or without, not yet wrapped by DDP or FSDP. Where its head is a plain linear
    map, tokens without weight never reach the head from now on; else full logits are made, and the log says why.
    normalization: what the sum is divided by (`maskkit.loss.normalization`). chunk: how many tokens have logits at one time.
    """

    def __init__(self, model: Any, normalization: str = "weights", *, chunk: int | None = None) -> None:
        self.normalizer = Normalizer(normalization)
        self.chunk = chunk
        self.head = score_selected_positions(model, chunk)
        if not self.head.plain:
            logger.info("%s: full logits are computed for every token (%s)", type(model).__name__, self.head.reason)

    def __call__(self, model: Any, batch: Batch, denominator: Tensor) -> Tensor:
        """The share of one micro-batch: a scalar in float64 with gradients. The sum of all shares on all ranks is the loss.

        model: the one to call, wrapped as it may be. Where a wrapper averages gradients over ranks, as DDP and FSDP do, multiply by
        the number of ranks. A micro-batch without weights has share 0, and gradients of 0 for every parameter.
        """
        entries = entries_of_batch(batch)
        return self.share(self.log_probs(model, batch, entries), entries, denominator)

    def share(self, log_probs: Tensor, entries: LossEntries, denominator: Tensor) -> Tensor:
        """The same from log-probabilities [N] that are there already."""
        return weighted_sum(log_probs, self.normalizer.coefficients(entries)) / denominator.to(log_probs.device)

    def denominator(self, micro_batches: Iterable[Batch], reduce: Reduce = summed_over_ranks) -> Tensor:
        """What the sum over all micro-batches of the step, on all ranks, is divided by: a scalar.

        To be called on every rank, once per optimizer step. Raises TrainingError where nothing in the global batch has a weight.
        """
        return checked(reduce(self.local_denominator(micro_batches)), f"normalization {self.normalizer.name!r}")

    def local_denominator(self, micro_batches: Iterable[Batch]) -> Tensor:
        """What these micro-batches add to the denominator; 0 where there are none."""
        parts = [self.normalizer.denominator(entries_of_batch(batch)) for batch in micro_batches]
        return torch.stack(parts).sum() if parts else torch.zeros((), dtype=sum_dtype(torch.device("cpu")))

    def log_probs(self, model: Any, batch: Batch, entries: LossEntries) -> Tensor:
        """Log-probabilities [N] of the entries, in float32 or better."""
        if not self.head.plain:
            return logit_log_probs(self.outputs(model, batch).logits, entries)
        output = model(**model_inputs(batch), **selection(entries, batch["input_ids"].shape[1]))
        if not isinstance(output, Mapping) or "log_probs" not in output:
            raise ConfigError(
                f"{type(model).__name__}: something has replaced the model's forward since its loss was made (Liger's fused loss does): "
                "turn that off, or make the loss afterwards"
            )
        log_probs: Tensor = output["log_probs"]
        return log_probs

    def outputs(self, model: Any, batch: Batch) -> Any:
        """What the model returns, with logits [B, T, V] (without virtual tokens that prompt tuning puts in front)."""
        outputs = model(**model_inputs(batch))
        outputs.logits = outputs.logits[:, -batch["input_ids"].shape[1] :]
        return outputs


def entries_of_batch(batch: Batch) -> LossEntries:
    """The predictions of a batch that count. Raises DataError where the weights did not arrive."""
    check_batch(batch)
    return entries_of(batch["labels"], batch["loss_weights"], documents_of(batch))


def every_prediction(batch: Batch) -> LossEntries:
    """Every token of a batch that anything predicts, whether it counts or not, with weight 1."""
    documents = documents_of(batch)
    mask = batch.get("attention_mask")
    real = mask if mask is not None and mask.ndim == 2 else torch.ones_like(batch["input_ids"]) if documents is None else documents >= 0
    return entries_of(batch["input_ids"], real.to(torch.float32), documents)


def documents_of(batch: Batch) -> Tensor | None:
    """Number of the document of each token [B, T]: as given, else from position_ids that start anew; None if every row is one."""
    if batch.get("document_ids") is not None:
        return batch["document_ids"]  # type: ignore[no-any-return]
    positions = batch.get("position_ids")
    return None if positions is None else (positions == 0).long().cumsum(-1) - 1


def check_batch(batch: Batch) -> None:
    """Raises DataError for a batch without labels or weights, naming what takes them away."""
    missing = [name for name in ("input_ids", "labels", "loss_weights") if batch.get(name) is None]
    if batch.get("attention_mask") is None and batch.get("position_ids") is None:
        missing.append("attention_mask")
    if missing:
        raise DataError(
            f"the batch has no {' and no '.join(missing)} (found: {', '.join(sorted(batch))}): map the rows with masker.encode_batch, "
            "keep the column, and collate with maskkit.DataCollator; other collators drop or rewrite it"
        )

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
from maskkit.errors import DataError
from maskkit.integrations.modifiers import Modifiers
from maskkit.integrations.selected_head import found_in, score_selected_positions, selection
from maskkit.loss import LossEntries, Normalizer, Predicted, checked, entries_of, predicted_from_logits, sum_dtype, weighted_sum
from maskkit.strategy import LossModifier

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
    normalization: what the sum is divided by (`maskkit.loss.normalization`), always by the strategy's weights. modifiers:
    ``masker.strategy.modifiers``, which weigh anew by what the model predicts; see `maskkit.integrations.modifiers` for those that are
    refused. chunk: how many tokens have logits at one time.
    """

    def __init__(
        self, model: Any, normalization: str = "weights", *, modifiers: Iterable[LossModifier] = (), chunk: int | None = None
    ) -> None:
        self.normalizer = Normalizer(normalization)
        self.modifiers = Modifiers(modifiers)
        self.step = 0
        """Number of the optimizer step, counted from 1, that the last denominator was for. A run that is resumed sets it to the steps done,
        for loss modifiers that look at it."""
        self._chunk = chunk
        self.teach(model)

    def teach(self, model: Any) -> None:
        """Make ready another model, of the same family or not, to be called in place of the first."""
        self.head = score_selected_positions(model, self._chunk, self.modifiers.needs)
        if not self.head.plain:
            logger.info("%s: full logits are computed for every token (%s)", type(model).__name__, self.head.reason)

    def __call__(self, model: Any, batch: Batch, denominator: Tensor) -> Tensor:
        """The share of one micro-batch: a scalar in float64 with gradients. The sum of all shares on all ranks is the loss.

        model: the one to call, wrapped as it may be. Where a wrapper averages gradients over ranks, as DDP and FSDP do, multiply by
        the number of ranks. A micro-batch without weights has share 0, and gradients of 0 for every parameter.
        """
        entries = entries_of_batch(batch)
        numerator = self.numerator(self.found(model, batch, entries), batch, entries)
        return numerator / denominator.to(numerator.device)

    def numerator(self, found: Predicted, batch: Batch, entries: LossEntries, *, modified: bool = True) -> Tensor:
        """The weighted sum over the entries, not divided. modified: by loss modifiers; not in an evaluation."""
        new = self.modifiers(found, batch, entries, self.step) if modified else None
        return weighted_sum(found.log_prob, self.normalizer.coefficients(entries, new))

    def denominator(self, micro_batches: Iterable[Batch], reduce: Reduce = summed_over_ranks) -> Tensor:
        """What the sum over all micro-batches of the step, on all ranks, is divided by: a scalar.

        To be called on every rank, once per optimizer step. Raises TrainingError where nothing in the global batch has a weight.
        """
        self.step += 1
        return checked(reduce(self.local_denominator(micro_batches)), f"normalization {self.normalizer.name!r}")

    def local_denominator(self, micro_batches: Iterable[Batch]) -> Tensor:
        """What these micro-batches add to the denominator; 0 where there are none."""
        parts = [self.normalizer.denominator(entries_of_batch(batch)) for batch in micro_batches]
        return torch.stack(parts).sum() if parts else torch.zeros((), dtype=sum_dtype(torch.device("cpu")))

    def found(self, model: Any, batch: Batch, entries: LossEntries) -> Predicted:
        """One forward pass: what the model predicts for the entries [N], in float32 or better."""
        if not self.head.plain:
            return self.found_in_logits(self.outputs(model, batch).logits, entries)
        return found_in(model(**model_inputs(batch), **selection(entries, batch["input_ids"].shape[1])))

    def found_in_logits(self, logits: Tensor, entries: LossEntries) -> Predicted:
        """The same from full logits [B, T, V]."""
        return predicted_from_logits(logits.flatten(0, 1)[entries.source], entries.target, self.modifiers.needs)

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

"""Lightning with a weight for every token.

    module = WeightedModule(model, learning_rate=1e-4)
    data = WeightedDataModule(rows, maskkit.DataCollator(tokenizer), batch_size=8, accumulation=4)
    lightning.Trainer(max_steps=100).fit(module, data)

By default the module optimises by hand: a batch is the list of all micro-batches of one optimizer step, so that what the loss is divided by
is known before the first backward pass. ``automatic=True`` leaves accumulation to the Trainer (``accumulate_grad_batches``): gradients
of the undivided sum are then divided once, before clipping. For Fabric see `maskkit.integrations.global_batch`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from maskkit.errors import ConfigError, MissingExtraError
from maskkit.integrations.global_batch import Batch, GlobalBatchLoss, entries_of_batch, every_prediction
from maskkit.integrations.guards import CheckedCollator, check_columns
from maskkit.integrations.rows import Rows, check_no_repeats, filled
from maskkit.integrations.totals import LossTotals
from maskkit.loss import Predicted, checked
from maskkit.loss.head import spread
from maskkit.strategy import LossModifier

try:
    import lightning
except ImportError as error:
    raise MissingExtraError("lightning", "lightning", "Lightning") from error


class WeightedModule(lightning.LightningModule):
    """A causal language model of transformers, trained with weights.

    normalization, modifiers, chunk: as in `GlobalBatchLoss`. learning_rate: of AdamW, unless `configure_optimizers` is overridden.
    max_grad_norm: clip gradients by norm; only by hand, else the Trainer's ``gradient_clip_val`` does it. automatic: see the module.

    Logs ``train_loss`` of each optimizer step and ``val_loss``, each the mean of its global batch or of all rows, and if rows have a column
    ``kinds`` the mean of each kind (``val_loss_user``). Raises TrainingError where nothing in a global batch has a weight, ConfigError for
    a data loader that repeats rows.
    """

    def __init__(
        self,
        model: Any,
        normalization: str = "weights",
        *,
        learning_rate: float = 1e-4,
        max_grad_norm: float | None = None,
        automatic: bool = False,
        modifiers: Iterable[LossModifier] = (),
        chunk: int | None = None,
    ) -> None:
        super().__init__()
        if automatic and max_grad_norm is not None:
            raise ConfigError("max_grad_norm is for optimisation by hand: with automatic=True give the Trainer gradient_clip_val")
        self.model = model
        self.weighted = GlobalBatchLoss(model, normalization, modifiers=modifiers, chunk=chunk)
        self.learning_rate, self.max_grad_norm = learning_rate, max_grad_norm
        self.automatic_optimization = automatic
        self._totals: LossTotals | None = None

    def configure_optimizers(self) -> Any:
        """AdamW; override it to choose."""
        return torch.optim.AdamW(self.parameters(), lr=self.learning_rate)

    def on_fit_start(self) -> None:
        """A fresh sum, and a model in training mode."""
        self._totals = None
        self.model.train()

    def on_train_start(self) -> None:
        """Raises ConfigError if the Trainer's data loader repeats rows."""
        check_no_repeats(self.trainer.train_dataloader)

    def training_step(self, batch: Batch | Sequence[Batch], batch_idx: int) -> Tensor | None:
        """By hand: one optimizer step over a list of micro-batches. Automatic: the sum of one micro-batch, not divided yet."""
        if not self.automatic_optimization:
            self._optimizer_step([batch] if isinstance(batch, Mapping) else list(batch))
            return None
        if not isinstance(batch, Mapping):
            raise ConfigError(
                "automatic=True takes one micro-batch at a time: WeightedDataModule(accumulation=None); the Trainer accumulates"
            )
        self.weighted.step = self.trainer.global_step + 1
        return self._numerator(batch, self._running()) * self.trainer.accumulate_grad_batches  # which the Trainer divides by

    def _optimizer_step(self, micro_batches: Sequence[Batch]) -> None:
        optimizer: Any = self.optimizers()
        self.weighted.step = self.trainer.global_step  # a resumed run goes on counting; the denominator is that of the next
        denominator = self.weighted.denominator(micro_batches, self._sum_over_ranks)
        for number, batch in enumerate(micro_batches):
            with self._accumulating(optimizer, last=number == len(micro_batches) - 1):
                # DDP averages gradients over ranks
                self.manual_backward(self._numerator(batch, self._running()) / denominator * self.trainer.world_size)
        if self.max_grad_norm is not None:
            self.clip_gradients(optimizer, gradient_clip_val=self.max_grad_norm, gradient_clip_algorithm="norm")
        optimizer.step()
        optimizer.zero_grad()
        schedulers: Any = self.lr_schedulers() or []
        for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
            scheduler.step()
        self._log_totals("train_loss")

    def _accumulating(self, optimizer: Any, last: bool) -> AbstractContextManager[Any]:
        toggled: AbstractContextManager[Any] = optimizer.toggle_model(sync_grad=last)
        return toggled

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Automatic optimisation: divides the gradients of the sum by what the global batch weighs, once."""
        if not self.automatic_optimization:
            return
        denominator = self._log_totals("train_loss")
        for parameter in self.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(self.trainer.world_size / denominator)

    def on_validation_epoch_start(self) -> None:
        """A fresh sum."""
        self._evaluation = LossTotals(self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds a micro-batch to the sums of the evaluation."""
        self._numerator(batch, self._evaluation, training=False)

    def on_validation_epoch_end(self) -> None:
        """Divides once, over all rows on all ranks."""
        spread(self.model)
        totals = self._evaluation.summed(self._sum_over_ranks)
        self._log("val_loss", totals, totals.loss("validation"))

    def _numerator(self, batch: Batch, totals: LossTotals, *, training: bool = True) -> Tensor:
        """The weighted sum of one micro-batch; added to ``totals``, with its kinds if the rows know them."""
        entries, known = entries_of_batch(batch), batch.get("kinds") is not None
        scored = every_prediction(batch) if known and not training else entries
        found = self.weighted.found(self.model, batch, scored)
        if known:
            totals.add_kinds(batch["kinds"].flatten()[scored.predicted], found.log_prob)
        # the entries that count are some of all predictions, in the same reading order
        counted = found if training else Predicted(found.log_prob[torch.isin(scored.source, entries.source, assume_unique=True)])
        numerator = self.weighted.numerator(counted, batch, entries, modified=training)
        totals.add(numerator, self.weighted.normalizer.denominator(entries))
        return numerator

    def _running(self) -> LossTotals:
        """Sums of the optimizer step that is being made."""
        if self._totals is None:
            self._totals = LossTotals(self.device)
        return self._totals

    def _log_totals(self, name: str) -> float:
        """Log the step's loss and begin anew; returns the denominator."""
        totals, self._totals = self._running().summed(self._sum_over_ranks), None
        denominator = checked(totals.denominator, f"normalization {self.weighted.normalizer.name!r}")
        self._log(name, totals, totals.loss("training"))
        return float(denominator)

    def _log(self, name: str, totals: LossTotals, loss: float) -> None:
        self.log_dict({name: loss, **{f"{name}_{kind}": mean for kind, mean in totals.kinds().items()}})

    def _sum_over_ranks(self, value: Tensor) -> Tensor:
        total: Any = self.trainer.strategy.reduce(value.to(self.device), reduce_op="sum")
        return total  # type: ignore[no-any-return]


class WeightedDataModule(lightning.LightningDataModule):
    """Rows for a `WeightedModule`, filled up with rows of weight zero so that no rank sees one twice.

    train, validation: `Example`s, or rows that ``masker.encode_batch`` has mapped. collator: a `maskkit.DataCollator`. batch_size: rows of
    a micro-batch. accumulation: micro-batches of an optimizer step, for optimisation by hand; None for ``automatic``: one at a time.
    shuffle: anew in each epoch, from ``seed``. workers: processes that collate.

    Raises DataError for rows that lost their weights.
    """

    def __init__(
        self,
        train: Rows,
        collator: Callable[[Any], Any],
        *,
        batch_size: int,
        accumulation: int | None = 1,
        validation: Rows | None = None,
        shuffle: bool = True,
        seed: int = 0,
        workers: int = 0,
    ) -> None:
        super().__init__()
        for what, rows in (("train", train), ("validation", validation)):
            check_columns(rows, what)
        self._train, self._validation, self._collator = train, validation, CheckedCollator(collator)
        self._batch_size, self._accumulation = batch_size, accumulation
        self._shuffle, self._seed, self._workers = shuffle, seed, workers

    def train_dataloader(self) -> DataLoader[Any]:
        """Lists of micro-batches, or micro-batches."""
        if self._accumulation is None:
            return self._loader(self._train, self._batch_size, self._collator, self._shuffle)
        split = _MicroBatches(self._collator, self._batch_size)
        return self._loader(self._train, self._batch_size * self._accumulation, split, self._shuffle)

    def val_dataloader(self) -> Any:
        """Micro-batches; none without validation rows."""
        return [] if self._validation is None else self._loader(self._validation, self._batch_size, self._collator, False)

    def _loader(self, rows: Rows, size: int, collate: Any, shuffle: bool) -> DataLoader[Any]:
        trainer: Any = self.trainer
        ranks, rank = (trainer.world_size, trainer.global_rank) if trainer is not None else (1, 0)
        even: Any = rows if ranks == 1 else filled(rows, ranks * self._batch_size)
        # Lightning leaves a sampler of this sort alone, and tells it the epoch
        sampler: Any = DistributedSampler(even, num_replicas=ranks, rank=rank, shuffle=shuffle, seed=self._seed)
        return DataLoader(even, batch_size=size, sampler=sampler, collate_fn=collate, num_workers=self._workers)


class _MicroBatches:
    """Collates the rows of an optimizer step, so many at a time."""

    def __init__(self, collator: Callable[[Any], Any], size: int) -> None:
        self._collator, self._size = collator, size

    def __call__(self, rows: Sequence[Any]) -> list[Any]:
        return [self._collator(rows[start : start + self._size]) for start in range(0, len(rows), self._size)]

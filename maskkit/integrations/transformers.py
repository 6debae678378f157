"""The Trainer of transformers with a weight for every token.

    masker = maskkit.Masker(tokenizer, strategy="assistant-only")
    dataset = dataset.map(masker.encode_batch, batched=True, remove_columns=dataset.column_names)
    trainer = WeightedTrainer(model, args, train_dataset=dataset, data_collator=maskkit.DataCollator(tokenizer))

`WeightedLossMixin` does the same for other subclasses of Trainer: ``class MyTrainer(WeightedLossMixin, TheirTrainer)``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from maskkit.batching import DataCollator
from maskkit.errors import ConfigError, MissingExtraError, TrainingError
from maskkit.integrations.given import GivenRows
from maskkit.integrations.global_batch import GlobalBatchLoss, entries_of_batch, every_prediction
from maskkit.integrations.guards import CheckedCollator, check_columns, refuse
from maskkit.integrations.rows import FilledStream, check_no_repeats, filled
from maskkit.integrations.totals import LossTotals
from maskkit.loss import LossEntries, Predicted, checked, sum_dtype
from maskkit.loss.head import spread, unwrapped
from maskkit.strategy import LossModifier

try:
    import accelerate  # type: ignore[import-untyped]  # noqa: F401
except ImportError as error:
    raise MissingExtraError("accelerate", "trainer", "the Trainer of transformers") from error

from transformers import Trainer

if TYPE_CHECKING:
    _Base = Trainer
else:
    _Base = object

logger = logging.getLogger("maskkit.integrations")

COLUMNS = ("input_ids", "labels", "loss_weights", "kinds", "seq_lengths")
"""Columns of a data set that must not be removed as unused."""


class Scored(NamedTuple):
    """What a forward pass brings."""

    found: Predicted
    """For the entries asked for, [N], with gradients in training."""
    outputs: Any = None
    """The model's outputs, if they have full logits."""
    balance: Tensor | float = 0.0
    """Load-balancing loss of a mixture of experts, times its coefficient."""


class WeightedLossMixin(_Base):
    """Makes a Trainer use the weights: exact under accumulation, ranks and any of the four normalizations.

    normalization: what the weighted sum of losses is divided by (`maskkit.loss.normalization`); ``average_tokens_across_devices`` has no
    say, since the mean is always that of the global batch. modifiers: loss modifiers of the strategy, ``masker.strategy.modifiers``; an
    evaluation is without them. chunk: how many tokens have logits at one time. Other arguments are the Trainer's own.

    Rows are what ``masker.encode_batch`` makes, or `Example`s. A column ``kinds`` (codes, see `maskkit.kinds.CODE`) adds the mean loss of
    each kind to the logs: of trained tokens as ``loss_answer``, at evaluation of all tokens as ``eval_loss_answer``. ``eval_loss`` is the
    weighted mean over all rows. Where rows do not divide by ranks, rows of weight zero fill up.

    Raises ConfigError for options that would change the loss or be dropped, DataError for rows that lost their weights, TrainingError for
    a global batch that trains nothing. A loss that is not finite is logged as it is (``logging_nan_inf_filter`` would hide it).
    """

    loss_is_scaled_for_ga: ClassVar[bool] = True  # type: ignore[misc]
    """Newer Trainers ask: the loss is that of the whole accumulated batch, and nothing divides it again."""

    _scores_every_kind: ClassVar[bool] = True
    """Whether an evaluation scores tokens without weight too, where kinds are known."""

    def __init__(
        self, *args: Any, normalization: str = "weights", modifiers: Iterable[LossModifier] = (), chunk: int | None = None, **kwargs: Any
    ) -> None:
        collator = kwargs.get("data_collator", args[2] if len(args) > 2 else None)
        super().__init__(*args, **kwargs)
        # transformers before 5.19 ask here whether the loss is that of the whole accumulated batch; TRL tells them with a word in the
        # place of a function
        self.model_accepts_loss_kwargs = True
        if not callable(self.compute_loss_func):
            self.compute_loss_func = None
        self._refuse_what_changes_the_loss()
        for what, dataset in self._datasets():
            check_columns(dataset, what)
        self.data_collator: Any = CheckedCollator(collator or self._own_collator(), self._longest_row())
        self.weighted = GlobalBatchLoss(self.model, normalization, modifiers=modifiers, chunk=chunk)
        self._train_totals = LossTotals(self.args.device)
        self._eval_totals = LossTotals(self.args.device)
        self._given = GivenRows()
        self.args.logging_nan_inf_filter = False

    # The denominator, before the first forward pass of an optimizer step

    def get_batch_samples(self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device) -> tuple[list[Any], Any]:
        """All micro-batches of one optimizer step, and what their losses are divided by, on all ranks."""
        self.weighted.step = self.state.global_step + 1
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        total = self._sum_over_ranks(self.weighted.local_denominator(batches).to(device, sum_dtype(device)))
        if not batches:
            return batches, total  # the data ended, on every rank
        try:
            return batches, checked(total, f"normalization {self.weighted.normalizer.name!r}")
        except TrainingError as error:
            cure = "leave such rows out: dataset.filter(lambda row: any(row['loss_weights']))"
            raise TrainingError(f"step {self.state.global_step + 1}: {error}; {cure}") from error

    # The share of one micro-batch

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """This micro-batch's share of the global batch's loss, times the number of ranks in training, since gradients are averaged.

        num_items_in_batch: the denominator that `get_batch_samples` found; without it this micro-batch is the global batch.
        """
        entries = entries_of_batch(inputs)
        scored = self._score(model, inputs, entries, full=return_outputs)
        total = num_items_in_batch if num_items_in_batch is not None else self.weighted.normalizer.total([entries])
        loss = self.weighted.numerator(scored.found, inputs, entries, modified=model.training) / total
        if model.training:
            self._add_kinds(self._train_totals, inputs, entries, scored.found.log_prob)
            # the balance is a mean over a micro-batch, which accumulation and ranks average
            steps = getattr(self, "current_gradient_accumulation_steps", self.args.gradient_accumulation_steps)
            loss = loss * self.accelerator.num_processes + scored.balance / steps
        return (loss, scored.outputs) if return_outputs else loss

    def _score(self, model: Any, inputs: Any, entries: LossEntries, *, full: bool) -> Scored:
        """One forward pass. ``full``: the outputs must have logits."""
        coefficient = self._router_coefficient()
        if not full and coefficient is None and self.weighted.head.plain:
            return Scored(self.weighted.found(model, inputs, entries))
        outputs = self.weighted.outputs(model, inputs)
        balance = 0.0 if coefficient is None else coefficient * outputs.aux_loss
        return Scored(self.weighted.found_in_logits(outputs.logits, entries), outputs, balance)

    def call_model_init(self, trial: Any = None) -> Any:
        """A new model, as a search over hyperparameters asks for, learns what the first one was taught."""
        model = super().call_model_init(trial)
        if hasattr(self, "weighted"):
            self.weighted.teach(model)
        return model

    def _router_coefficient(self) -> float | None:
        """Factor of the load-balancing loss of a mixture of experts, which the model computes with its logits; None if it has none."""
        config = unwrapped(self.model).config.get_text_config()
        return float(config.router_aux_loss_coef) if getattr(config, "output_router_logits", False) else None

    # Evaluation: sums over all rows, divided once

    def prediction_step(self, model: Any, inputs: Any, prediction_loss_only: bool, ignore_keys: list[str] | None = None) -> Any:
        """Adds the micro-batch to the sums of the evaluation. Returns its own weighted mean, and logits and labels if asked for."""
        batch = self._prepare_inputs(inputs)
        entries = entries_of_batch(batch)
        every = every_prediction(batch) if self._scores_every_kind and batch.get("kinds") is not None else entries
        with torch.no_grad(), self.compute_loss_context_manager():
            scored = self._score(model, batch, every, full=not prediction_loss_only)
        self._add_kinds(self._eval_totals, batch, every, scored.found.log_prob)
        # the entries that count are some of all predictions, in the same reading order
        counted = scored.found.log_prob[torch.isin(every.source, entries.source, assume_unique=True)]
        numerator = self.weighted.numerator(Predicted(counted), batch, entries, modified=False)
        denominator = self.weighted.normalizer.denominator(entries)
        self._eval_totals.add(numerator, denominator)
        loss = numerator / denominator if denominator else torch.zeros_like(numerator)
        if not prediction_loss_only:
            self._given.add(batch, self.gather_function)
        return (loss, None, None) if prediction_loss_only else (loss, scored.outputs.logits, batch["labels"])

    def evaluation_loop(self, dataloader: Any, description: str, *args: Any, **kwargs: Any) -> Any:
        """As the Trainer's; the loss in its metrics is the weighted mean over all rows on all ranks.

        Rows that fill up are neither in what ``compute_metrics`` gets nor in the predictions. Raises TrainingError if none of the rows has
        a weight.
        """
        self._eval_totals = LossTotals(self.args.device)
        self._given = given = GivenRows(apart=not self.args.eval_do_concat_batches)
        with self._standing_in("compute_metrics", given.metrics(self.compute_metrics, self.args.batch_eval_metrics)):
            output: Any = super().evaluation_loop(dataloader, description, *args, **kwargs)
        spread(self.model)
        arrays = {name: given.kept(getattr(output, name)) for name in ("predictions", "label_ids")}
        output = output._replace(num_samples=getattr(dataloader.dataset, "given", output.num_samples), **arrays)
        totals, prefix = self._eval_totals.summed(self._sum_over_ranks), kwargs.get("metric_key_prefix", "eval")
        output.metrics[f"{prefix}_loss"] = totals.loss(description)
        output.metrics.update({f"{prefix}_loss_{kind}": mean for kind, mean in totals.kinds().items()})
        return output

    # The loss of each kind, where the rows tell

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Adds the mean loss of each kind of trained token since the last time, over all ranks, to what the training loop logs."""
        if "loss" in logs and "learning_rate" in logs:
            totals, self._train_totals = self._train_totals.summed(self._sum_over_ranks), LossTotals(self.args.device)
            logs |= {f"loss_{kind}": mean for kind, mean in totals.kinds().items()}
        super().log(logs, *args, **kwargs)

    def _add_kinds(self, totals: LossTotals, batch: Any, entries: LossEntries, log_probs: Tensor) -> None:
        if batch.get("kinds") is not None:
            totals.add_kinds(batch["kinds"].flatten()[entries.predicted], log_probs)

    # Rows

    def get_train_dataloader(self) -> Any:
        """The Trainer's, over rows that divide by ranks."""
        with self._standing_in("train_dataset", self._even(self.train_dataset, self._train_batch_size)):
            loader = super().get_train_dataloader()
        check_no_repeats(loader)
        return loader

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """The Trainer's, over rows that divide by ranks. Raises DataError if the rows have no weights."""
        name = eval_dataset if isinstance(eval_dataset, str) else None
        sets: Any = self.eval_dataset
        rows = sets if eval_dataset is None else sets[name] if name is not None else eval_dataset
        check_columns(rows, "eval_dataset")
        rows = self._even(rows, self.args.eval_batch_size)
        with self._standing_in("eval_dataset", {**sets, name: rows} if name is not None else rows):
            return super().get_eval_dataloader(name)

    def get_test_dataloader(self, test_dataset: Any) -> Any:
        """The Trainer's, over rows that divide by ranks. Raises DataError if the rows have no weights."""
        check_columns(test_dataset, "test_dataset")
        return super().get_test_dataloader(self._even(test_dataset, self.args.eval_batch_size))

    @contextmanager
    def _standing_in(self, name: str, value: Any) -> Iterator[None]:
        """The attribute ``name`` is another for as long as this lasts."""
        before = getattr(self, name)
        setattr(self, name, value)
        try:
            yield
        finally:
            setattr(self, name, before)

    def _even(self, rows: Any, batch_size: int) -> Any:
        """Rows that no sampler has to repeat."""
        ranks = self.args.world_size
        if ranks == 1 or rows is None or self.args.dataloader_drop_last:
            return rows
        if not isinstance(rows, IterableDataset):
            return filled(rows, ranks * batch_size)
        if self.accelerator.dataloader_config.dispatch_batches is None:
            # else rank 0 would cut one batch up for all, which batches of unequal length do not allow
            self.accelerator.dataloader_config.dispatch_batches = False
        return FilledStream(rows, ranks * batch_size)

    def _set_signature_columns_if_needed(self) -> None:
        """Columns that the loss needs are not unused, though the model takes none of that name."""
        super()._set_signature_columns_if_needed()
        known: Any = self._signature_columns
        self._signature_columns: Any = list(dict.fromkeys([*known, *COLUMNS]))

    def _prepare_inputs(self, inputs: Any) -> Any:
        """As the Trainer's, which under DeepSpeed casts all that is not whole to the model's dtype: weights keep their own."""
        weights = inputs.get("loss_weights")
        prepared = super()._prepare_inputs(inputs)
        if weights is not None and prepared["loss_weights"].dtype != weights.dtype:
            prepared["loss_weights"] = weights.to(prepared["loss_weights"].device)
        return prepared

    # What is refused

    def _refuse_what_changes_the_loss(self) -> None:
        args, parallel = self.args, getattr(self.accelerator, "parallelism_config", None)
        split = {name: getattr(parallel, f"{name}_size", 1) for name in ("tp", "cp", "sp")}
        split["tp"] = max(split["tp"], getattr(self.model, "_tp_size", None) or 1)
        fused = args.use_liger_kernel and (args.liger_kernel_config or {}).get("fused_linear_cross_entropy", True)
        rebalanced = args.world_size > 1 and getattr(args, "train_sampling_strategy", "") == "batch_rebalance"
        refuse(args.label_smoothing_factor != 0, "label_smoothing_factor would be dropped: the weights say what counts; set it to 0")
        refuse(self.compute_loss_func is not None, "compute_loss_func gets no weights: leave it out, or subclass the weighted trainer")
        refuse(
            fused,
            "use_liger_kernel puts its own loss into the model's forward: set liger_kernel_config={'fused_linear_cross_entropy': False}",
        )
        refuse(
            args.n_gpu > 1, "one process sees several GPUs, over which nn.DataParallel would split a batch: start with accelerate launch"
        )
        refuse(rebalanced, "train_sampling_strategy='batch_rebalance' deals rows out by itself, and may repeat some: choose another")
        for name, size in split.items():
            refuse(size > 1, f"{name}_size is {size}: rows that several ranks share would count several times; use data parallelism alone")

    def _datasets(self) -> Iterator[tuple[str, Any]]:
        yield "train_dataset", self.train_dataset
        sets = self.eval_dataset if isinstance(self.eval_dataset, dict) else {"": self.eval_dataset}
        yield from ((f"eval_dataset {name}".strip(), rows) for name, rows in sets.items())

    def _own_collator(self) -> Any:
        tokenizer = getattr(self, "processing_class", None)
        if tokenizer is None:
            raise ConfigError("no data_collator: pass data_collator=maskkit.DataCollator(tokenizer), or processing_class=tokenizer")
        return DataCollator(tokenizer)

    def _longest_row(self) -> int | None:
        return None

    def _sum_over_ranks(self, value: Tensor) -> Tensor:
        if self.args.world_size == 1:
            return value
        total: Tensor = self.accelerator.reduce(value, reduction="sum")
        return total


class WeightedTrainer(WeightedLossMixin, Trainer):
    """`transformers.Trainer` with a weight for every token; see `WeightedLossMixin`."""

"""The SFTTrainer of TRL with a weight for every token.

    dataset = dataset.map(masker.encode_batch, batched=True, remove_columns=dataset.column_names)
    dataset = pack(dataset, max_length=4096)                 # if rows are to be packed
    trainer = WeightedSFTTrainer(model, SFTConfig(max_length=4096), train_dataset=dataset, processing_class=tokenizer)

TRL's own preparation would cut ids and not weights, and its packing would drop them; rows of maskkit need neither. Log-probabilities come
from TRL's fused head, in float32, and its metrics (entropy, mean_token_accuracy, num_tokens) are those of the trained tokens.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pyarrow.compute as pc
import torch
import torch.nn.functional as F
from torch import Tensor

from maskkit.batching import DataCollator
from maskkit.errors import DataError, MissingExtraError
from maskkit.integrations.guards import refuse
from maskkit.integrations.selected_head import restored, unrounded
from maskkit.integrations.transformers import Scored, WeightedLossMixin
from maskkit.loss import IGNORED_LABEL, LossEntries, Predicted
from maskkit.loss.head import fsdp_modules, unwrapped

try:
    from trl import SFTConfig, SFTTrainer, pack_dataset  # type: ignore[attr-defined]
except ImportError as error:
    raise MissingExtraError("trl", "trl", "the SFTTrainer of TRL") from error

PACKED_COLUMNS = ("input_ids", "labels", "loss_weights", "kinds")
_FUSED = "_forward_before_maskkit_listens"


class WeightedSFTTrainer(WeightedLossMixin, SFTTrainer):  # type: ignore[misc]
    """`trl.SFTTrainer` with a weight for every token; see `WeightedLossMixin` for ``normalization``, evaluation and losses of kinds.

    args: an SFTConfig; its ``dataset_kwargs`` is told to skip preparation, since the rows are prepared. A row longer than its
    ``max_length`` is an error, because nothing would cut it. Without a ``data_collator`` the rows are padded, or, if they come from `pack`
    or ``padding_free`` is wanted (``data_collator=maskkit.DataCollator(tokenizer, packing=True)``), laid one behind the other.

    Raises ConfigError for options of TRL that would be dropped.
    """

    _scores_every_kind: ClassVar[bool] = False  # TRL's metrics are those of the tokens that are scored

    def __init__(self, model: Any, args: Any = None, *rest: Any, **options: Any) -> None:
        args = SFTConfig() if args is None else args
        refuse(not isinstance(args, SFTConfig), f"args are {type(args).__name__}, expected trl.SFTConfig")
        refuse(
            args.packing or bool(args.eval_packing), "packing=True would drop the weights: use maskkit.integrations.trl.pack, packing=False"
        )
        refuse(bool(args.padding_free), "padding_free=True: use data_collator=maskkit.DataCollator(tokenizer, packing=True) in its place")
        refuse(args.loss_type != "nll", f"loss_type={args.loss_type!r} would be dropped: the weights say what counts; set loss_type='nll'")
        for name in ("assistant_only_loss", "completion_only_loss"):
            refuse(bool(getattr(args, name)), f"{name}=True would be dropped: the strategy of the Masker says what is trained")
        args.dataset_kwargs = {**(args.dataset_kwargs or {}), "skip_prepare_dataset": True}
        super().__init__(model, args, *rest, **options)
        _keep_unrounded(unwrapped(self.model))
        needs = sorted(self.weighted.modifiers.needs)
        refuse(bool(needs), f"a loss modifier needs {', '.join(needs)}, which TRL's fused head does not give so: use WeightedTrainer")

    def _score(self, model: Any, inputs: Any, entries: LossEntries, *, full: bool) -> Scored:
        """TRL's own forward pass, with its metrics; its loss is not used."""
        labels = torch.full_like(inputs["labels"], IGNORED_LABEL)
        labels.view(-1)[entries.predicted] = entries.target
        columns = {name: inputs[name] for name in ("input_ids", "attention_mask", "position_ids") if name in inputs}
        if "attention_mask" in columns:
            columns.pop("position_ids", None)
        listening = _Listening(model)
        result: Any = SFTTrainer.compute_loss(self, listening, {**columns, "labels": labels}, return_outputs=full)  # type: ignore[no-untyped-call]
        fused = listening.fused
        width = labels.shape[1]
        log_probs = F.pad(fused.log_probs[:, 1 - width :], (0, 1)).flatten()[entries.source]
        balance = self.router_aux_loss_coef * fused.aux_loss if self.aux_loss_enabled else 0.0
        return Scored(Predicted(log_probs), result[1] if full else None, balance)

    def _own_collator(self) -> Any:
        packed = [name for name, rows in self._datasets() if "seq_lengths" in (getattr(rows, "column_names", None) or ())]
        return PackedCollator(self._tokenizer) if packed else DataCollator(self._tokenizer)

    def _longest_row(self) -> int | None:
        args: Any = self.args
        return args.max_length  # type: ignore[no-any-return]


class _Listening:
    """A model that remembers what its fused head returned."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.fused: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        outputs = self._model(*args, **kwargs)
        if kwargs.get("fused_lm_head"):
            outputs.log_probs = restored(outputs.log_probs)
            self.fused = outputs
        return outputs


def _keep_unrounded(model: Any) -> None:
    """Let a model with TRL's fused head return log-probabilities that the mixed precision of FSDP2 does not round."""
    setattr(model, _FUSED, model.forward)
    model.forward = types.MethodType(_unrounded_forward(type(model).forward), model)


def _unrounded_forward(original: Any) -> Any:
    """The new forward, with the signature of the old."""

    @functools.wraps(original)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = getattr(self, _FUSED)(*args, **kwargs)
        if kwargs.get("fused_lm_head") and fsdp_modules(self):
            outputs.log_probs = unrounded(outputs.log_probs)
        return outputs

    return forward


def pack(dataset: Any, max_length: int) -> Any:
    """A data set whose rows are packs of whole rows of ``dataset``, best fit first, of at most ``max_length`` tokens, weights with them.

    dataset: of `datasets`, with the columns that ``masker.encode_batch`` makes. Raises DataError if a row is longer, since packing would
    cut it.
    """
    columns = [name for name in PACKED_COLUMNS if name in dataset.column_names]
    dataset = dataset.select_columns(columns)
    tables = dataset.with_format("arrow").iter(batch_size=1000)
    longest = max((pc.max(pc.list_value_length(table["input_ids"])).as_py() for table in tables), default=0)
    if longest > max_length:
        raise DataError(f"a row has {longest} tokens and would be cut to {max_length}: make rows with Masker(max_length={max_length})")
    return pack_dataset(dataset, max_length, "bfd")


class PackedCollator:
    """Batches of rows that `pack` has made: all documents of a micro-batch in one row, told apart by position_ids, without padding."""

    def __init__(self, tokenizer: Any) -> None:
        self._collator = DataCollator(tokenizer, packing=True)

    def __call__(self, packs: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """The batch; see `maskkit.DataCollator`. A row that is no pack is a pack of one."""
        return self._collator([document for row in packs for document in documents_of_pack(row)])


def documents_of_pack(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows that were packed into one, by its column ``seq_lengths``. Raises DataError if they do not add up."""
    lengths = row.get("seq_lengths") or [len(row["input_ids"])]
    if sum(lengths) != len(row["input_ids"]):
        raise DataError(f"a pack has {len(row['input_ids'])} tokens, and its seq_lengths add up to {sum(lengths)}: make it with pack()")
    start = 0
    for length in lengths:
        yield {name: row[name][start : start + length] for name in PACKED_COLUMNS if row.get(name) is not None}
        start += length

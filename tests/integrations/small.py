"""What tests of all integrations share: rows and model of the reference, as a trainer takes them, and one step of a Trainer."""

from __future__ import annotations

import functools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from torch import Tensor
from transformers import TrainerCallback, TrainingArguments

import maskkit
from maskkit.integrations.transformers import WeightedTrainer
from tests.reference import Row, ragged_rows, reference_step, tiny_llama

TOKENIZER: Any = SimpleNamespace(pad_token_id=0, eos_token_id=2)
"""All that a collator needs to know."""


CHECKPOINTING = "activation_checkpointing" if hasattr(TrainingArguments, "activation_checkpointing") else "gradient_checkpointing"
"""What transformers calls it to compute layers twice: the first since 5.23."""


def mapped(rows: list[Row], **columns: Any) -> list[dict[str, Any]]:
    """Rows as ``masker.encode_batch`` maps them; the columns given are repeated in each."""
    return [{"input_ids": row.ids.tolist(), "loss_weights": row.weights.tolist(), **columns} for row in rows]


class GradientsBeforeStep(TrainerCallback):
    """Keeps the gradients that the optimizer would step with."""

    def __init__(self) -> None:
        self.gradients: dict[str, Tensor] = {}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **rest: Any) -> None:
        self.gradients = {name.removeprefix("module."): p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def arguments(folder: Path, cls: Any = TrainingArguments, **options: Any) -> Any:
    """Arguments for a run that leaves nothing behind: rows in order, no clipping, no reports."""
    quiet = {"report_to": [], "save_strategy": "no", "disable_tqdm": True, "logging_steps": 1, "use_cpu": True}
    still = {"max_grad_norm": 0.0, "optim": "sgd", "learning_rate": 0.0, "max_steps": 1}
    today = {"gradient_checkpointing": None, CHECKPOINTING: cls.gradient_checkpointing}  # TRL sets the older name
    return cls(str(folder), **{**quiet, **still, **today, **options})


def in_order(trainer: Any) -> Any:
    """The same trainer, which does not shuffle."""
    from torch.utils.data import SequentialSampler

    trainer._get_train_sampler = lambda *rows: SequentialSampler(rows[0] if rows else trainer.train_dataset)
    return trainer


def trainer_step(
    folder: Path, rows: list[dict[str, Any]], batch: int, accumulation: int, **options: Any
) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients of one optimizer step of a WeightedTrainer."""
    grab, packing = GradientsBeforeStep(), options.pop("packing", False)
    args = arguments(folder, per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation)
    collator = maskkit.DataCollator(TOKENIZER, packing=packing)
    model = options.pop("model", None) or tiny_llama()
    trainer = WeightedTrainer(model, args, train_dataset=rows, data_collator=collator, callbacks=[grab], **options)
    return in_order(trainer).train().training_loss, grab.gradients


def apart(gradients: dict[str, Tensor], reference: dict[str, Tensor]) -> float:
    """Largest absolute difference; every parameter must have a gradient."""
    assert gradients.keys() == reference.keys()
    return max(float((gradients[name] - reference[name]).abs().max()) for name in reference)


@functools.cache
def reference(normalization: str = "weights", signed: bool = False, count: int = 8) -> tuple[list[Row], float, dict[str, Tensor]]:
    """Rows, and the loss and gradients of their global batch; computed once, so not to be changed."""
    rows = ragged_rows(count, signed=signed)
    return rows, *reference_step(tiny_llama(), rows, normalization)

"""From a config to the parts of a run: everything is loaded, read and checked before the first step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from maskkit.batching import DataCollator
from maskkit.engine.answers import stop_ids
from maskkit.engine.batches import Batcher
from maskkit.engine.data import load_data
from maskkit.engine.metrics import MetricsLog
from maskkit.engine.optimizer import adamw, scheduler
from maskkit.engine.order import EpochOrder
from maskkit.engine.predict import Predictor
from maskkit.engine.progress import Progress
from maskkit.engine.run import Every, Run
from maskkit.engine.run_folder import RunFolder, write_text
from maskkit.engine.seeds import seed_everything
from maskkit.errors import ConfigError
from maskkit.loss import Normalizer
from maskkit.masker import Masker
from maskkit.models import load_model, load_tokenizer
from maskkit.strategy import Strategy

if TYPE_CHECKING:
    from maskkit.config import RunConfig

SIGNED_NORMALIZATIONS = ("absolute", "tokens")


def prepare(config: RunConfig, *, progress: bool = True) -> Run:
    """Load model and data, build optimizer and schedule, open the run folder. Raises what is wrong before anything is trained."""
    training = config.training
    seed_everything(training.seed)
    tokenizer = load_tokenizer(config.model)
    model = load_model(config.model, seed=training.seed, dtype=torch.float32).to(_device())
    masker = Masker(
        tokenizer,
        config.strategy,
        max_length=config.max_length,
        history=config.history,
        template_kwargs=config.template_kwargs,
        stop_token_ids=_generation_stops(model),
        seed=training.seed,
    )
    check_normalization(masker.strategy, config.loss.normalization)
    normalizer = Normalizer(config.loss.normalization)
    collator = DataCollator(tokenizer, packing=training.packing)
    data = load_data(masker, _sources(config), config.data.eval)
    order = EpochOrder(data.shares, training.seed)
    rows_per_step = training.per_device_train_batch_size * training.gradient_accumulation_steps
    steps = training.max_steps
    optimizer = adamw(model, training.learning_rate, training.weight_decay)
    predict = Predictor(model, bf16=training.bf16)
    folder = RunFolder(config.output_dir, overwrite=config.overwrite_output_dir)
    write_text(folder.config, config.to_yaml())
    shown = Progress(steps, show=progress)
    return Run(
        folder=folder,
        tokenizer=tokenizer,
        model=model,
        masker=masker,
        data=data,
        order=order,
        batcher=Batcher(collator, normalizer, training.per_device_train_batch_size, predict.device),
        normalizer=normalizer,
        predict=predict,
        optimizer=optimizer,
        schedule=scheduler(optimizer, training.lr_scheduler_type, training.warmup_steps, steps),
        max_grad_norm=training.max_grad_norm,
        rows_per_step=rows_per_step,
        steps=steps,
        every=Every(training.log_kinds_every, training.eval_steps, training.save_steps),
        questions=[],
        stops=stop_ids(data.train, tokenizer),
        max_new_tokens=256,
        metrics=MetricsLog(folder.metrics),
        progress=shown,
    )


def check_normalization(strategy: Strategy, normalization: str) -> None:
    """Refuse to divide by a sum of weights that may cancel. Raises ConfigError."""
    if strategy.signed and normalization not in SIGNED_NORMALIZATIONS:
        raise ConfigError(
            f"strategy {strategy.label!r} has negative weights, whose sum can cancel: normalization {normalization!r} does not work with it; "
            f"use {' or '.join(map(repr, SIGNED_NORMALIZATIONS))}"
        )


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")

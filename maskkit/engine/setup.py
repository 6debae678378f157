"""From a config to the parts of a run: everything is loaded, read and checked before the first step."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from maskkit.batching import DataCollator
from maskkit.checks import check_before_training
from maskkit.engine.answers import Question, question_of, stop_ids
from maskkit.engine.batches import Batcher
from maskkit.engine.best import Best
from maskkit.engine.compiling import compile_layers
from maskkit.engine.data import check_same_files, told
from maskkit.engine.distributed import Ranks
from maskkit.engine.durable import write_text
from maskkit.engine.feed import open_feed
from maskkit.engine.interrupt import StopRequest
from maskkit.engine.isolation import check_isolation, reads_one_row
from maskkit.engine.metrics import MetricsLog, NoMetrics
from maskkit.engine.optimizer import optimizer_of, scheduler
from maskkit.engine.predict import Predictor
from maskkit.engine.progress import Progress
from maskkit.engine.randomness import seed_everything, seed_of
from maskkit.engine.resume import Origin, origin_of
from maskkit.engine.run import Every, Run
from maskkit.engine.run_folder import RunFolder
from maskkit.engine.run_record import frozen_fingerprint, run_record
from maskkit.engine.sharding import Sharding
from maskkit.engine.state import restore_state
from maskkit.engine.trackers import check_trackers
from maskkit.engine.tracking import Tracking
from maskkit.errors import ConfigError
from maskkit.hookspecs import RunInfo
from maskkit.loss import Normalizer, check_backend
from maskkit.loss.head import unwrapped
from maskkit.masker import Example, Masker
from maskkit.masker.worker import Recipe
from maskkit.models import load_model, load_tokenizer, recompute_layers
from maskkit.models.adapters import add_adapters

if TYPE_CHECKING:
    from maskkit.config import RunConfig
    from maskkit.strategy import Strategy

logger = logging.getLogger(__name__)

SIGNED_NORMALIZATIONS = ("absolute", "tokens")


def begun(config: RunConfig, ranks: Ranks, *, resume: bool = False) -> tuple[RunFolder, Origin | None]:
    """The folder of a run, not touched yet, and with ``resume`` what in it is gone on from. Raises ConfigError where that cannot be."""
    training = config.training
    folder = RunFolder(
        config.output_dir, overwrite=config.overwrite_output_dir, resume=resume, keep_last=training.keep_last, first=ranks.first
    )
    if ranks.first:
        check_trackers(training.report_to)
    return folder, ranks.decided(origin_of(config, folder, ranks) if resume and ranks.first else None)


def prepare(config: RunConfig, progress: Progress, ranks: Ranks, folder: RunFolder, origin: Origin | None) -> Run:
    """Load model and data, build optimizer and schedule, open the run folder, and go where the checkpoint of ``origin`` was.

    Every rank reads the same rows and has the same model; only the first one writes. What is wrong is raised here, before anything is
    trained, and then no worker process is left behind.
    """
    with contextlib.ExitStack() as undo:
        run = _prepared(config, progress, ranks, undo, folder, origin)
        undo.pop_all()
    return run


def _prepared(
    config: RunConfig, progress: Progress, ranks: Ranks, undo: contextlib.ExitStack, folder: RunFolder, origin: Origin | None
) -> Run:
    training = config.training
    seed_everything(training.seed)
    tokenizer = load_tokenizer(config.model, trust_remote_code=config.trust_remote_code)
    model: Any = load_model(
        config.model, dtype=getattr(torch, training.dtype), seed=training.seed, trust_remote_code=config.trust_remote_code
    )
    if training.gradient_checkpointing:
        recompute_layers(model, config.model)
    if config.lora:
        model = add_adapters(model, config.model, config.lora, seed=training.seed)
    elif training.dtype == "bfloat16":
        logger.warning(
            "training.dtype is bfloat16: parameters of 8 bits of precision lose small updates, at a learning rate of 1e-5 almost all of "
            "them; training.bf16: true computes in bfloat16 and keeps float32 parameters"
        )
    date = ranks.decided(origin.date if origin else datetime.now())
    recipe = recipe_of(config, tokenizer, model, date)
    masker = masker_of(config, recipe)
    normalizer = Normalizer(config.loss.normalization, config.loss.normalize_by)
    collator = DataCollator(tokenizer, packing=training.packing)
    check_same_files(config.data, ranks)
    progress.say(f"reading {', '.join(map(told, config.data.sources))}")
    per_step = training.gradient_accumulation_steps * ranks.size
    feed = undo.enter_context(open_feed(config, recipe, masker, per_step, ranks.part))
    data = feed.data
    if config.lint.enabled and origin is None:
        rules = config.lint
        check_before_training(data.train, masker, sample=rules.sample, ignore=rules.ignore, error=rules.error, say=progress.say)
    record = run_record(config, data, date, masker.strategy, ranks)
    if config.lora:
        record["base_model"] = frozen_fingerprint(model)
    if origin:
        record["resumed"] = origin.resumed(record)
    predict = Predictor(model.to(ranks.device), bf16=training.bf16, backend=config.loss.backend)
    if training.packing:
        check_isolation(model, collator, config.model, autocast=training.bf16 and reads_one_row(model))
    if training.torch_compile:
        compile_layers(model)
    sharding = Sharding(unwrapped(model), ranks, training.shard, bf16=training.bf16)
    predict.forward = sharding.forward_method(predict.forward)
    optimizer = optimizer_of(training.optim, model, training.learning_rate, training.weight_decay, sharded=sharding.sharded)
    with folder.opened():
        if ranks.first:
            write_text(folder.config, config.to_yaml())
            write_text(folder.record, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
        run = Run(
            folder=folder,
            tokenizer=tokenizer,
            model=model,
            masker=masker,
            feed=feed,
            batcher=Batcher(collator, normalizer, training.per_device_train_batch_size, predict.device, one_row=reads_one_row(model)),
            normalizer=normalizer,
            predict=predict,
            sharding=sharding,
            optimizer=optimizer,
            schedule=scheduler(optimizer, training.lr_scheduler_type, training.warmup_steps, training.max_steps),
            max_grad_norm=training.max_grad_norm,
            plans_per_step=per_step,
            steps=training.max_steps,
            every=Every(kinds=training.log_kinds_every, evaluation=training.eval_steps, save=training.save_steps),
            questions=questions_of(data.held_out, config.answers.count),
            stops=stop_ids(data.stop_ids, tokenizer),
            max_new_tokens=config.answers.max_new_tokens,
            metrics=MetricsLog(folder.metrics) if ranks.first else NoMetrics(folder.metrics),
            progress=progress,
            stop=StopRequest(announce=progress.shown),
            record=record,
            tracking=Tracking(run_info(config, record), training.report_to) if ranks.first else None,
            best=Best(training.save_best, training.early_stopping_patience),
            skip_empty_batches=training.on_empty_batch == "skip",
            merge_adapters=config.lora is not None and config.lora.merge,
        )
        run.reweighting.check(data.train)
        if origin:
            restore_state(run, origin.checkpoint.path)
            progress.say(f"resumed from {origin.checkpoint.path}")
        else:
            how = {"strategy": masker.strategy.label, "head": predict.head.reason or "plain", "device": str(predict.device)}
            if ranks.size > 1:
                how |= {"ranks": str(ranks.size), "shard": sharding.name}
            if not ranks.first:  # every process draws numbers of its own, such as those of dropout
                seed_everything(seed_of(training.seed, ranks.rank))
            run.metrics.write("start", 0, **how, **data.summary(), findings=dict(masker.counts), date=date.isoformat())
    return run


def run_info(config: RunConfig, record: dict[str, Any]) -> RunInfo:
    """What plugins and trackers are told of a run."""
    folder = Path(config.output_dir)
    return RunInfo(config.training.run_name or folder.resolve().name, folder, config.model_dump(mode="json"), record)


def recipe_of(config: RunConfig, tokenizer: Any, model: Any, date: datetime) -> Recipe:
    """The data path of a config, with the model's own stop tokens; ``date`` is what templates print."""
    options = {
        "strategy": config.strategy,
        "max_length": config.max_length,
        "truncation": config.truncation,
        "history": config.history,
        "control_tokens": config.control_tokens,
        "template_kwargs": config.chat_template_kwargs,
        "date": date,
        "stop_token_ids": _generation_stops(model),
        "reasoning_tags": config.reasoning_tags,
        "seed": config.training.seed,
    }
    return Recipe(tokenizer, options, config.plugins.disable)


def masker_of(config: RunConfig, recipe: Recipe) -> Masker:
    """The masker of this process. Raises ConfigError if strategy, normalization and loss backend do not go together."""
    masker = recipe.masker()
    check_normalization(masker.strategy, config.loss.normalization)
    check_modifiers(masker.strategy, config.loss.backend)
    return masker


def questions_of(rows: Sequence[Example], count: int) -> list[Question]:
    """At most ``count`` questions, in the order of the rows' hashes, so that files sorted by topic are sampled evenly."""
    if not count:
        return []
    keys = [row.tokens.row_key for row in rows]
    asked = (question_of(rows[number]) for number in sorted(range(len(rows)), key=keys.__getitem__))
    return list(islice((question for question in asked if question is not None), count))


def check_normalization(strategy: Strategy, normalization: str) -> None:
    """Refuse to divide by a sum of weights that may cancel. Raises ConfigError."""
    if strategy.signed and normalization not in SIGNED_NORMALIZATIONS:
        raise ConfigError(
            f"strategy {strategy.label!r} has negative weights, whose sum can cancel, so loss.normalization cannot be {normalization!r}; "
            f"use {' or '.join(map(repr, SIGNED_NORMALIZATIONS))}"
        )


def check_modifiers(strategy: Strategy, backend: str) -> None:
    """Refuse a loss backend that cannot serve the strategy's loss modifiers. Raises ConfigError."""
    needs = {need for modifier in strategy.modifiers for need in modifier.needs}
    ahead = any(modifier.scope == "global-batch" for modifier in strategy.modifiers)
    check_backend(backend, needs=needs, reweighted=bool(strategy.modifiers) and not ahead)


def _generation_stops(model: Any) -> Sequence[int]:
    """Ids at which the model's generation config stops."""
    stops = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return [] if stops is None else [stops] if isinstance(stops, int) else list(stops)

"""The keys of a run's config, each with its meaning."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from maskkit.config.loading import overridden, overridden_key, read_config
from maskkit.errors import ConfigError
from maskkit.findings import code_of
from maskkit.problems import describe

logger = logging.getLogger(__name__)

ADVANCED: dict[str, Any] = {"advanced": True}
"""Marks a field in the schema that a beginner never needs."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False)

    if not TYPE_CHECKING:  # type checkers go by the fields

        def __init__(self, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise ConfigError(f"{type(self).__name__}: {describe(error, type(self))}") from None

        __init__.__pydantic_base_init__ = True  # it changes nothing of how values are checked, so pydantic need not call it elsewhere


def _as_text(value: Any) -> Any:
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    return str(Path(text).expanduser()) if isinstance(text, str) and text.startswith("~") else text


PathText = Annotated[str, BeforeValidator(_as_text)]
"""A path or name; ``~`` is the home folder, and Python callers may give a ``pathlib.Path``."""


class DataSource(_Section):
    """Rows and their share in the mixture."""

    path: PathText
    """A file (.jsonl, .json or .parquet), a folder of files, or a pattern such as data/part-*.jsonl."""
    weight: float = Field(1.0, gt=0)
    """How often each of its rows is seen in one epoch; with ``streaming``, its share of all rows that are seen."""


class DataConfig(_Section):
    """What to train on, and what to hold out."""

    train: PathText | list[PathText | DataSource]
    """A file (.jsonl, .json, .parquet), a folder, a pattern such as data/part-*.jsonl, a list of these or of {path, weight}, or
    ``quickstart``, the bundled data."""
    eval: PathText | float | None = 0.05
    """Held-out rows (a file, a folder or a pattern), or the share of the training rows that is held out (chosen by a hash of each row);
    null for none."""
    reasoning: Literal["field", "inline"] = "field"
    """``field``: reasoning is passed to the chat template in its own field. ``inline``: it is written as <think>...</think> at the head
    of the content, for templates that have no place for it."""
    workers: int = Field(0, ge=0, json_schema_extra=ADVANCED)
    """So many processes, beside each that trains, tokenize and weigh rows, ahead of training. The result is the same for any number."""
    streaming: bool = Field(False, json_schema_extra=ADVANCED)
    """Rows are read as they are needed, over and over, and never held all at once: for files larger than memory (.jsonl, .parquet).
    ``weight`` is then a source's share of the rows that are seen, however long it is."""
    shuffle_buffer: int = Field(10_000, ge=1, json_schema_extra=ADVANCED)
    """With ``streaming``, rows are shuffled among so many, which are held in memory."""

    @model_validator(mode="after")
    def _checked(self) -> DataConfig:
        if isinstance(self.eval, float) and not 0 <= self.eval < 1:
            raise ValueError(f"data.eval is {self.eval}, expected a file or a share: at least 0 and below 1")
        if not self.train:
            raise ValueError("data.train is empty, expected a file or a list of files")
        return self

    @property
    def sources(self) -> tuple[DataSource, ...]:
        """The files to train on, each with its weight."""
        files = [self.train] if isinstance(self.train, str) else self.train
        return tuple(file if isinstance(file, DataSource) else DataSource(path=file) for file in files)


class TrainingConfig(_Section):
    """How to train."""

    max_steps: int = Field(300, ge=1)
    """Optimizer steps."""
    per_device_train_batch_size: int = Field(8, ge=1)
    """Rows that go through the model together, in training (see also ``batch_tokens``) and in evaluation."""
    gradient_accumulation_steps: int = Field(1, ge=1)
    """Such batches per optimizer step; the loss is the exact mean over all of them."""
    learning_rate: float = Field(2e-5, gt=0)
    """Peak learning rate."""
    lr_scheduler_type: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate goes on after the warm-up: down to 0 along a cosine or a line, or unchanged."""
    warmup_steps: int = Field(0, ge=0)
    """Steps in which the learning rate rises from 0."""
    weight_decay: float = Field(0.0, ge=0, json_schema_extra=ADVANCED)
    """Weight decay; biases and norms are not decayed."""
    optim: Literal["adamw", "adamw_torch", "adamw_torch_fused", "adafactor", "adamw_torch_8bit"] = Field(
        "adamw", json_schema_extra=ADVANCED
    )
    """``adamw``: AdamW, in one kernel on GPUs; ``adamw_torch``: never; ``adamw_torch_fused``: always. ``adafactor``: averages of rows and
    columns only, hardly any memory; learning rates around 1e-2. ``adamw_torch_8bit``: averages in 8 bits (extra ``torchao``)."""
    max_grad_norm: float | None = Field(1.0, gt=0)
    """Gradients of a larger norm are scaled down to it; null for no clipping."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Of everything random: order of rows, dropout, an untrained model."""
    eval_steps: int = Field(50, ge=0)
    """Measure the held-out rows every so many steps, and before and after training; 0: only before and after."""
    log_kinds_every: int = Field(10, ge=0, json_schema_extra=ADVANCED)
    """Measure the loss of every kind of token, trained or not, on a training batch every so many steps; 0 for never."""
    save_steps: int = Field(0, ge=0)
    """Save a checkpoint, from which `maskkit train --resume` goes on, every so many steps and after the last; 0 for none (but a run that
    was
    resumed saves its last step)."""
    keep_last: int | None = Field(2, ge=1)
    """So many checkpoints stay, the newest ones; null for all. With 2 there is one to fall back on if the newest is damaged."""
    save_best: Literal["loss", "answer", "reasoning", "tool_call", "text"] | None = None
    """Keep the model whose held-out ``loss``, or loss on one kind of token, was the lowest after any evaluation, in output_dir/best."""
    early_stopping_patience: int | None = Field(None, ge=1)
    """End the run after so many evaluations in a row without a lower held-out loss (that of ``save_best``); null for never."""
    on_empty_batch: Literal["error", "skip"] = Field("error", json_schema_extra=ADVANCED)
    """Where all rows of an optimizer step train nothing: ``error`` stops and names them, ``skip`` counts them and takes the next rows."""
    bf16: bool = False
    """Compute in bfloat16 (autocast); the weights stay float32."""
    dtype: Literal["float32", "bfloat16"] = Field("float32", json_schema_extra=ADVANCED)
    """Of the parameters. ``bfloat16``: half the memory, but small updates are lost; good for a model whose adapters are trained (``lora``),
    which are float32 themselves."""
    torch_compile: bool = Field(False, json_schema_extra=ADVANCED)
    """Compile the model's layers (torch.compile): the first steps take longer, the others less. Where that is not possible, a warning
    says so and the run goes on without."""
    report_to: list[Literal["tensorboard", "trackio", "wandb", "mlflow"]] = []
    """Trackers that are told what the run does, beside metrics.jsonl; each is an extra of that name."""
    run_name: str | None = Field(None, min_length=1)
    """What trackers call the run; null for the name of its folder."""
    shard: Literal["full", "gradients", "none"] = Field("full", json_schema_extra=ADVANCED)
    """With several processes (torchrun), what is spread over them. ``full``: parameters, gradients and the optimizer's averages (FSDP2).
    ``gradients``: the last two. ``none``: nothing, each has all. The numbers are the same."""
    gradient_checkpointing: bool = Field(False, json_schema_extra=ADVANCED)
    """Compute each layer twice instead of keeping what is in it: less memory, about a third more time, the same numbers."""
    packing: bool = Field(False, json_schema_extra=ADVANCED)
    """Several rows stand in one, up to max_length tokens, without seeing each other: less padding. ``per_device_train_batch_size`` then
    counts such packs. Refused, by a probe of the model, where it cannot keep them apart."""
    batch_tokens: int | None = Field(None, ge=1, json_schema_extra=ADVANCED)
    """Most tokens, padding included, that go through the model together in training: as many rows (or packs) as fit, in place of
    ``per_device_train_batch_size``. At least max_length."""
    group_by_length: bool = Field(False, json_schema_extra=ADVANCED)
    """Rows of similar length go through the model together: less padding without packing."""

    @model_validator(mode="after")
    def _checked(self) -> TrainingConfig:
        if self.packing and self.group_by_length:
            raise ValueError(
                "training.group_by_length is true and so is training.packing, expected one of them: packs have one length anyhow"
            )
        return self


class LoraConfig(_Section):
    """Low-rank adapters (LoRA, through peft: extra ``lora``): the model's own parameters stay as they are."""

    r: int = Field(16, ge=1)
    """Rank of the adapters."""
    alpha: int = Field(32, ge=1)
    """What an adapter computes is multiplied by alpha / r."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout in front of the adapters."""
    target_modules: Literal["all-linear"] | list[str] = "all-linear"
    """Which modules are adapted, by the ends of their names, such as [q_proj, v_proj]; ``all-linear``: all linear maps but the head."""
    merge: bool = False
    """At the end, save a plain model with the adapters merged in, not the adapters by themselves."""

    @field_validator("target_modules")
    @classmethod
    def _named(cls, names: Any) -> Any:
        if not names:
            raise ValueError("lora.target_modules is empty, expected names of modules, or all-linear")
        return names


class LossConfig(_Section):
    """How the loss is computed and averaged."""

    normalization: Literal["weights", "absolute", "tokens", "sequences"] = "weights"
    """``weights``: the sum of weights. ``absolute``: of their absolute values. ``tokens``: the number of trained tokens. ``sequences``: the
    mean over sequences of their weighted means. Always over the whole global batch."""
    normalize_by: Literal["base", "reweighted"] = Field("base", json_schema_extra=ADVANCED)
    """Where loss modifiers give new weights: ``base`` divides by what the strategy's own weights come to, ``reweighted`` by theirs."""
    backend: Literal["auto", "recompute", "single-pass", "torch", "full-logits"] = Field("auto", json_schema_extra=ADVANCED)
    """How log-probabilities are computed; all give the same loss. ``auto``: ``single-pass`` where weights are known beforehand, else
    ``recompute``. ``torch``: PyTorch's own kernel, the least memory. ``full-logits``: the reference, with the largest memory."""


class AnswersConfig(_Section):
    """Replies that the trained model gives to held-out prompts."""

    count: int = Field(0, ge=0)
    """How many held-out rows to answer greedily; the share that equals the row's own answer is reported. 0 for none."""
    max_new_tokens: int = Field(128, ge=1)
    """Longest reply."""


class LintConfig(_Section):
    """What is looked for in rows and mask before a run begins; ``lint: off`` for nothing."""

    enabled: bool = True
    """Whether to look at all."""
    sample: int = Field(200, ge=1)
    """How many rows to look at, evenly spread; `maskkit lint` looks at all."""
    ignore: list[str] = []
    """Codes that are left out, by number or name: [MK105, duplicate-rows]. See  maskkit lint --explain all."""
    error: list[str] = []
    """Codes that stop the run, beside those that are errors anyway."""

    @field_validator("ignore", "error")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        for name in names:
            code_of(name)
        return names


def _as_lint(value: Any) -> Any:
    """``lint: off``, which YAML reads as false, and ``lint: on``."""
    switched = {"off": False, "on": True}.get(value, value) if isinstance(value, str) else value
    return {"enabled": switched} if isinstance(switched, bool) else value


class PluginsConfig(_Section):
    """Which plugins are loaded."""

    disable: list[str] = []
    """Plugins that are not loaded, named by entry point or distribution; see  maskkit plugins."""


class RunConfig(_Section):
    """A training run.

    ``RunConfig.load(path)`` reads one from YAML or TOML; ``maskkit train CONFIG`` runs it.
    Made in Python, ``RunConfig(model=..., data=..., output_dir=...)``, it raises ConfigError in the words of a config file.
    """

    model: PathText
    """A hub name, a folder, ``smollm2`` (a real small model from the extra of that name) or ``tiny`` (embedded, untrained)."""
    data: DataConfig
    """What to train on."""
    strategy: str | dict[str, Any] = "assistant-only"
    """How much each token counts: a name, {name: ..., option: ...}, {product: [...]}, {max: [...]}, {scale: x, strategy: ...} or
    path/file.py:Class, which executes that file."""
    history: Literal["as-rendered", "as-served"] = Field("as-rendered", json_schema_extra=ADVANCED)
    """``as-rendered``: one example per row, as the chat template renders it. ``as-served``: one per assistant message, its prompt as a
    server rendered it at that moment; only that reply is trained. For templates that rewrite history."""
    max_length: int = Field(2048, ge=2)
    """Most tokens of an example; longer rows are cut or dropped (``truncation``), counted and shown."""
    truncation: Literal["right", "left", "turns", "drop", "error"] = "right"
    """What becomes of longer rows. ``right``, ``left``: that end is cut. ``turns``: whole turns are left out from the front, system
    messages kept. ``drop``: the row is left out. ``error``: the run does not start."""
    control_tokens: Literal["escape", "error", "allow"] = Field("escape", json_schema_extra=ADVANCED)
    """What becomes of control tokens that the data's text holds, such as <|im_end|> in a user's message. ``escape``: they are encoded as
    ordinary text. ``error``: the run does not start. ``allow``: they control, as in other tools."""
    training: TrainingConfig = TrainingConfig()
    """How to train."""
    lora: LoraConfig | None = Field(None, json_schema_extra=ADVANCED)
    """Train low-rank adapters in place of the model's own parameters; ``{}`` for the usual ones."""
    loss: LossConfig = LossConfig()
    """How the loss is averaged."""
    answers: AnswersConfig = AnswersConfig()
    """What to ask the trained model."""
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict, json_schema_extra=ADVANCED)
    """Arguments for the chat template, such as {enable_thinking: false}."""
    lint: Annotated[LintConfig, BeforeValidator(_as_lint)] = LintConfig()
    """What is looked for before the run begins; an error stops it. ``off``: nothing."""
    plugins: PluginsConfig = Field(PluginsConfig(), json_schema_extra=ADVANCED)
    """Which plugins are loaded."""
    reasoning_tags: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = Field(default_factory=list, json_schema_extra=ADVANCED)
    """Pairs of opening and closing tag around thinking in a reply's content, such as [["<plan>", "</plan>"]], beside those of known
    families."""
    trust_remote_code: bool = Field(False, json_schema_extra=ADVANCED)
    """Execute code that a model's repository brings."""
    output_dir: PathText
    """Folder of the run: config.yaml, run.json, metrics.jsonl, curves.svg, report.html, samples.jsonl, checkpoints/, model/; best/ if
    asked for."""
    overwrite_output_dir: bool = False
    """Replace a run that is already there."""

    @model_validator(mode="after")
    def _checked(self) -> RunConfig:
        asked = [key for key in ("save_best", "early_stopping_patience") if getattr(self.training, key) is not None]
        if asked and not (self.data.eval and self.training.eval_steps):
            missing = "training.eval_steps is 0" if self.data.eval else "data.eval holds no rows out"
            raise ValueError(f"training.{asked[0]} needs evaluations on the way, but {missing}")
        if self.answers.count and not self.data.eval:
            raise ValueError("answers.count asks for replies to held-out rows, but data.eval holds none out")
        if (self.training.batch_tokens or self.max_length) < self.max_length:
            raise ValueError(
                f"training.batch_tokens is {self.training.batch_tokens}, expected at least max_length ({self.max_length}), as a row has"
            )
        return self

    @classmethod
    def load(cls, source: str | Path, overrides: Iterable[str] = ()) -> RunConfig:
        """The config of a YAML or TOML file, or the bundled ``quickstart``.

        overrides: ``a.b=value`` each, the value in YAML: ``training.max_steps=10``, ``strategy={product: [assistant-only, weighted]}``.
        Raises ConfigError, naming file and key, for a missing file, a syntax error, an unknown key, a value of the wrong type or a strategy
        that cannot be selected (a strategy from a file executes that file).
        """
        from maskkit.plugins import load_strategy, switch_off

        name, values = read_config(source)
        overrides = list(overrides)
        for override in overrides:
            values = overridden(values, override)
        config = cls.from_mapping(values, name, overrides)
        try:
            switch_off(config.plugins.disable)
            load_strategy(config.strategy)
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from None
        warmup, steps = config.training.warmup_steps, config.training.max_steps
        if warmup >= steps:  # a short trial of a long config: no mistake, but not the same learning rates either
            logger.warning("training.warmup_steps is %d and training.max_steps %d: the run ends within the warm-up", warmup, steps)
        return config

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], source: str = "config", overrides: Iterable[str] = ()) -> RunConfig:
        """The config that a mapping holds. Raises ConfigError, in one line that begins with ``source``."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise ConfigError(f"{source}: {describe(error, cls, map(overridden_key, overrides))}") from None

    def to_yaml(self) -> str:
        """The resolved config, defaults included, as YAML that `load` reads."""
        import yaml

        return str(yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True))

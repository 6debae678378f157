"""The update: an optimizer by name, a learning-rate schedule with warm-up, clipped gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from maskkit.engine.sharding import whole
from maskkit.errors import ConfigError, MissingExtraError, TrainingError, UnknownNameError

Schedule = Callable[[float], float]
"""Share of the way after warm-up, in [0, 1] -> factor of the learning rate."""

SCHEDULES: dict[str, Schedule] = {
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "linear": lambda done: 1 - done,
    "constant": lambda done: 1.0,
}
"""Learning-rate schedules by name; each begins with a linear warm-up."""


def adamw(model: nn.Module, learning_rate: float, weight_decay: float = 0.0, *, fused: bool | None = None) -> AdamW:
    """AdamW over the trainable parameters (`parameter_groups`). fused: one kernel does the whole update; None: on GPUs."""
    groups = parameter_groups(model, weight_decay)
    if fused is None:
        fused = groups[0]["params"][0].device.type == "cuda"
    return AdamW(groups, lr=learning_rate, fused=fused)


def adamw_unfused(model: nn.Module, learning_rate: float, weight_decay: float = 0.0) -> AdamW:
    """AdamW as a sequence of PyTorch's operations, on GPUs too."""
    return adamw(model, learning_rate, weight_decay, fused=False)


def adamw_fused(model: nn.Module, learning_rate: float, weight_decay: float = 0.0) -> AdamW:
    """AdamW in one kernel, on CPUs too."""
    return adamw(model, learning_rate, weight_decay, fused=True)


def adafactor(model: nn.Module, learning_rate: float, weight_decay: float = 0.0) -> Optimizer:
    """Adafactor (Shazeer and Stern 2018, https://arxiv.org/abs/1804.04235): of a matrix [n, m] it keeps n + m averages, not 2 n m.

    An update is as large as the parameter's root mean square times the learning rate, or 1 / sqrt(step) if that is less.
    """
    from torch.optim import Adafactor

    return Adafactor(parameter_groups(model, weight_decay), lr=learning_rate)


def adamw_8bit(model: nn.Module, learning_rate: float, weight_decay: float = 0.0) -> Optimizer:
    """AdamW whose averages are kept in 8 bits, in blocks of 256 with a scale each, a quarter of the memory (Dettmers et al. 2021,
    https://arxiv.org/abs/2110.02861), by torchao. Raises MissingExtraError without it."""
    try:
        from torchao.optim import AdamW8bit
    except ImportError as error:
        raise MissingExtraError("torchao", "torchao", "training.optim 'adamw_torch_8bit'") from error
    made: Optimizer = AdamW8bit(parameter_groups(model, weight_decay), lr=learning_rate)
    return made


OPTIMIZERS: dict[str, Callable[[nn.Module, float, float], Optimizer]] = {
    "adamw": adamw,
    "adamw_torch": adamw_unfused,
    "adamw_torch_fused": adamw_fused,
    "adafactor": adafactor,
    "adamw_torch_8bit": adamw_8bit,
}
"""Optimizers by name, as transformers calls them where it has them: (model, learning rate, weight decay) -> optimizer."""

WHOLE_PARAMETERS = ("adafactor", "adamw_torch_8bit")
"""They have to see whole parameters: their averages are of rows, columns or blocks."""


def optimizer_of(name: str, model: nn.Module, learning_rate: float, weight_decay: float = 0.0, *, sharded: bool = False) -> Optimizer:
    """The named optimizer over the model's trainable parameters. sharded: these are spread over processes.

    Raises UnknownNameError; ConfigError for one that cannot work on parts of parameters; MissingExtraError.
    """
    if name not in OPTIMIZERS:
        raise UnknownNameError("optim", name, OPTIMIZERS)
    if sharded and name in WHOLE_PARAMETERS:
        raise ConfigError(
            f"training.optim is {name!r}, which needs whole parameters, but they are spread over processes: set training.shard: none, or "
            "another optimizer"
        )
    return OPTIMIZERS[name](model, learning_rate, weight_decay)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The trainable parameters in groups: matrices decay, biases and norms do not. Raises TrainingError if there are none."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trainable:
        raise TrainingError("no parameter of the model is trainable: every one has requires_grad=False")
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def scheduler(optimizer: Optimizer, name: str, warmup_steps: int, max_steps: int) -> LambdaLR:
    """The named schedule over ``max_steps`` updates, of which the first ``warmup_steps`` rise from near 0. Raises UnknownNameError."""
    if name not in SCHEDULES:
        raise UnknownNameError("lr_scheduler_type", name, SCHEDULES)
    return LambdaLR(optimizer, lambda update: learning_rate_factor(name, update, warmup_steps, max_steps))


def learning_rate_factor(name: str, update: int, warmup_steps: int, max_steps: int) -> float:
    """Factor of the learning rate at the update with that number, counted from 0. The first update of a warm-up is not lost to a 0."""
    if update < warmup_steps:
        return (update + 1) / warmup_steps
    return SCHEDULES[name](min(1.0, (update - warmup_steps) / max(1, max_steps - warmup_steps)))


def clip_gradients(model: nn.Module, max_norm: float | None) -> float:
    """Scale gradients so that their norm is at most ``max_norm`` (not at all for None or 0); returns the norm before."""
    limit = max_norm if max_norm else math.inf
    return float(whole(torch.nn.utils.clip_grad_norm_(model.parameters(), limit)))

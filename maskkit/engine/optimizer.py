"""The update: AdamW, a learning-rate schedule with warm-up, clipped gradients."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from maskkit.engine.sharding import whole
from maskkit.errors import TrainingError, UnknownNameError

Schedule = Callable[[float], float]
"""Share of the way after warm-up, in [0, 1] -> factor of the learning rate."""

SCHEDULES: dict[str, Schedule] = {
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "linear": lambda done: 1 - done,
    "constant": lambda done: 1.0,
}
"""Learning-rate schedules by name; each begins with a linear warm-up."""


def adamw(model: nn.Module, learning_rate: float, weight_decay: float = 0.0, betas: tuple[float, float] = (0.9, 0.999)) -> AdamW:
    """AdamW over the trainable parameters; matrices decay, biases and norms do not."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trainable:
        raise TrainingError("no parameter of the model is trainable: every one has requires_grad=False")
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return AdamW([group for group in groups if group["params"]], lr=learning_rate, betas=betas)


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

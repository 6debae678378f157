"""The state of a run as files, and back: a run that is restored goes on as if it had never ended, to the last bit.

    model.safetensors       parameters and buffers
    state.pt                optimizer, schedule, random generators, position in the data, what was measured; loaded with weights_only
    run.json                config, versions and data that the run began with (`maskkit.engine.run_record`)
    config.json, tokenizer  so that transformers loads the folder as a model

Nothing is ever unpickled.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from maskkit.engine.evaluate import Evaluation
from maskkit.engine.randomness import random_state, restore_random_state
from maskkit.errors import ConfigError

if TYPE_CHECKING:
    from maskkit.engine.run import Run

MODEL, STATE, RECORD = "model.safetensors", "state.pt", "run.json"

FROM_THE_CONFIG = ("lr", "initial_lr", "weight_decay", "betas", "eps")
"""What a resumed run takes from its config, not from the checkpoint, so that a changed learning rate is not silently the old one."""


def write_state(run: Run, folder: Path) -> None:
    """Write the state of ``run`` into ``folder``. The position in the data is that of the last batch *trained*, not of one read ahead."""
    from safetensors.torch import save_file

    save_file(model_tensors(run.model), folder / MODEL, metadata={"format": "pt"})
    state = {
        "optimizer": run.optimizer.state_dict(),
        "schedule": run.schedule.state_dict(),
        "random": random_state(),
        "data": run.order.state_dict(),
        "best": run.best.state_dict(),
        "metrics": run.metrics.position(),
        "losses": torch.tensor(run.losses, dtype=torch.float64),
        "counts": {"tokens_seen": run.tokens_seen, "tokens_trained": run.tokens_trained, "batches_skipped": run.batches_skipped},
        "evaluations": [found and asdict(found) for found in (run.first_evaluation, run.last_evaluation)],
    }
    with (folder / STATE).open("wb") as file:  # given a path, torch hides what the system says about a full disk
        torch.save(state, file)
    (folder / RECORD).write_text(json.dumps(run.record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for part in (getattr(run.model, "config", None), getattr(run.model, "generation_config", None), run.tokenizer):
        if part is not None:
            part.save_pretrained(folder)


def restore_state(run: Run, folder: Path) -> None:
    """Put ``run``, freshly made from its config, where the checkpoint in ``folder`` was. The folder has been verified.

    Raises ConfigError where the model has other parameters than the checkpoint.
    """
    from safetensors.torch import load_file

    load_tensors(run.model, load_file(folder / MODEL), folder / MODEL)
    state = torch.load(folder / STATE, weights_only=True, map_location="cpu")
    restore_optimizer(run.optimizer, run.schedule, state["optimizer"], state["schedule"])
    run.order.load_state_dict(state["data"])
    run.best.load_state_dict(state["best"])
    run.losses[:] = state["losses"].tolist()
    for name, count in state["counts"].items():
        setattr(run, name, count)
    run.first_evaluation, run.last_evaluation = (found and Evaluation(**found) for found in state["evaluations"])
    run.metrics.cut(state["metrics"], run.step)
    restore_random_state(state["random"])  # last: nothing above may draw from it


def model_tensors(model: Any) -> dict[str, Tensor]:
    """Parameters and buffers by name; those that share memory, such as tied embeddings, once, under the first name."""
    tensors: dict[str, Tensor] = {}
    seen: set[tuple[int, int]] = set()
    for name, tensor in model.state_dict().items():
        place = (tensor.data_ptr(), tensor.numel())
        if place not in seen or not tensor.numel():
            seen.add(place)
            tensors[name] = tensor.detach().contiguous()
    return tensors


def load_tensors(model: Any, saved: dict[str, Tensor], source: Path) -> None:
    """Copy ``saved`` into the model's own memory, so that tied parameters stay tied. Raises ConfigError naming the first difference."""
    own = model_tensors(model)
    for name in sorted(own.keys() ^ saved.keys()):
        where, not_there = (source, "the model") if name in saved else ("the model", source)
        raise ConfigError(f"{where} has a parameter {name!r} that {not_there} does not have: the checkpoint is of another model")
    for name, tensor in own.items():
        if (tensor.shape, tensor.dtype) != (saved[name].shape, saved[name].dtype):
            found, expected = ([*t.shape, str(t.dtype).removeprefix("torch.")] for t in (saved[name], tensor))
            raise ConfigError(f"{source}: parameter {name!r} is {found}, the model's is {expected}: the checkpoint is of another model")
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name in saved:
                tensor.copy_(saved[name])


def restore_optimizer(optimizer: Optimizer, schedule: LambdaLR, saved: dict[str, Any], saved_schedule: dict[str, Any]) -> None:
    """Averages and counters from the checkpoint, hyperparameters from the config, the learning rate where the schedule has it now."""
    fresh = optimizer.state_dict()["param_groups"]
    groups = [
        {**old, **{name: new[name] for name in FROM_THE_CONFIG if name in new}}
        for old, new in zip(saved["param_groups"], fresh, strict=True)
    ]
    optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})
    schedule.load_state_dict({**saved_schedule, "base_lrs": schedule.base_lrs})
    rates = [base * factor(schedule.last_epoch) for base, factor in zip(schedule.base_lrs, schedule.lr_lambdas, strict=True)]
    schedule._last_lr = rates
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate

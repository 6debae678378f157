"""The state of a run as files, and back: a run that is restored goes on as if it had never ended, to the last bit.

    model.safetensors       parameters and buffers; of a model with adapters only theirs, in peft's adapter_model.safetensors
    state.pt                optimizer, schedule, random generators, position in the data, what was measured; loaded with weights_only
    shards/                 instead of the first, and of the optimizer's averages, where these are spread over several processes
                            (`maskkit.engine.shards`)
    run.json                config, versions and data that the run began with (`maskkit.engine.run_record`)
    config.json, tokenizer  so that transformers (peft, for adapters) loads the folder as a model, if there are no shards

Nothing is ever unpickled. A state that any number of processes has written is read by any other number.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from maskkit.engine.best import Best
from maskkit.engine.distributed import Ranks
from maskkit.engine.evaluate import Evaluation
from maskkit.engine.feed import Feed
from maskkit.engine.metrics import MetricsLog
from maskkit.engine.order import Order
from maskkit.engine.randomness import random_state, restore_random_state, seed_everything, seed_of
from maskkit.engine.sharding import Sharding, like
from maskkit.engine.shards import Shards, optimizer_tensors, write_shards
from maskkit.errors import ConfigError
from maskkit.models.adapters import ADAPTERS, adapter_tensors, is_adapted, write_adapter_config

logger = logging.getLogger(__name__)

MODEL, STATE, SHARDS, RECORD = "model.safetensors", "state.pt", "shards", "run.json"

FROM_THE_CONFIG = ("lr", "initial_lr", "weight_decay", "betas", "eps")
"""What a resumed run takes from its config, not from the checkpoint, so that a changed learning rate is not silently the old one."""


@dataclass(slots=True, kw_only=True)
class RunState:
    """What changes while a run trains; a checkpoint holds it."""

    tokenizer: Any
    model: Any
    feed: Feed
    sharding: Sharding
    optimizer: Optimizer
    schedule: LambdaLR
    metrics: MetricsLog
    record: dict[str, Any] = field(default_factory=dict)
    """What the run is made of, as run.json has it."""
    best: Best = field(default_factory=Best)
    losses: list[float] = field(default_factory=list)
    """Weighted loss of each global batch."""
    rows_seen: int = 0
    """Rows of the global batches, as often as they were in one."""
    tokens_seen: int = 0
    tokens_trained: int = 0
    batches_skipped: int = 0
    first_evaluation: Evaluation | None = None
    last_evaluation: Evaluation | None = None

    @property
    def order(self) -> Order:
        """Which rows come next."""
        return self.feed.order

    @property
    def ranks(self) -> Ranks:
        """The processes that do this run together."""
        return self.sharding.ranks

    @property
    def step(self) -> int:
        """Steps that are done."""
        return len(self.losses)


def write_state(run: RunState, folder: Path) -> None:
    """Write the state of ``run`` into ``folder``. The position in the data is that of the last batch *trained*, not of one read ahead.

    All processes of the run call this together; one that is not the first writes its shards, and nothing where there are none.
    """
    from safetensors.torch import save_file

    random = run.ranks.collect(random_state())
    optimizer = run.optimizer.state_dict()
    if run.sharding.sharded:
        write_shards(folder / SHARDS, model_tensors(run.model), optimizer_tensors(run.model, run.optimizer))
        del optimizer["state"]
    if not run.ranks.first:
        return
    if not run.sharding.sharded:
        save_file(model_tensors(run.model), folder / model_file(run.model), metadata={"format": "pt"})
    state = {
        "optimizer": optimizer,
        "schedule": run.schedule.state_dict(),
        "random": random,
        "data": run.order.state_dict(),
        "best": run.best.state_dict(),
        "metrics": run.metrics.position(),
        "losses": torch.tensor(run.losses, dtype=torch.float64),
        "counts": {name: getattr(run, name) for name in ("rows_seen", "tokens_seen", "tokens_trained", "batches_skipped")},
        "evaluations": [found and asdict(found) for found in (run.first_evaluation, run.last_evaluation)],
    }
    with (folder / STATE).open("wb") as file:  # given a path, torch hides what the system says about a full disk
        torch.save(state, file)
    (folder / RECORD).write_text(json.dumps(run.record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    configs = [getattr(run.model, name, None) for name in ("config", "generation_config")]
    if is_adapted(run.model):
        write_adapter_config(run.model, folder)
        configs = []
    for part in (*configs, run.tokenizer):
        if part is not None:
            part.save_pretrained(folder)


def restore_state(run: RunState, folder: Path) -> None:
    """Put ``run``, freshly made from its config, where the checkpoint in ``folder`` was. The folder has been verified.

    Raises ConfigError where the model has other parameters than the checkpoint.
    """
    from safetensors.torch import load_file

    state = torch.load(folder / STATE, weights_only=True, map_location="cpu")
    if (folder / SHARDS).is_dir():
        reader = Shards(folder / SHARDS)
        check_tensors(run.model, reader.model(), folder / SHARDS)
        reader.read_model(model_tensors(run.model))
        averages = reader.read_optimizer(run.model, run.optimizer)
    else:
        file = folder / model_file(run.model)
        load_tensors(run.model, load_file(file), file)
        averages = spread_averages(run.optimizer, state["optimizer"]["state"])
    restore_optimizer(run.optimizer, run.schedule, {**state["optimizer"], "state": averages}, state["schedule"])
    run.order.load_state_dict(state["data"])
    run.best.load_state_dict(state["best"])
    run.losses[:] = state["losses"].tolist()
    for name, count in state["counts"].items():
        setattr(run, name, count)
    run.first_evaluation, run.last_evaluation = (found and Evaluation(**found) for found in state["evaluations"])
    run.metrics.cut(state["metrics"], run.step)
    restore_random(run, state["random"])  # last: nothing above may draw from it


def model_file(model: Any) -> str:
    """Name of the file that `model_tensors` are saved in."""
    return ADAPTERS if is_adapted(model) else MODEL


def _named(model: Any) -> dict[str, Tensor]:
    """What training changes, by the names that it is saved under."""
    return adapter_tensors(model) if is_adapted(model) else model.state_dict()


def model_tensors(model: Any) -> dict[str, Tensor]:
    """Parameters and buffers by name, of a model with adapters only theirs; those that share memory, such as tied embeddings, once, under
    the first name."""
    tensors: dict[str, Tensor] = {}
    seen: set[tuple[int, int]] = set()
    for name, tensor in _named(model).items():
        own = tensor.to_local() if isinstance(tensor, DTensor) else tensor
        place = (own.data_ptr(), tensor.numel())
        if place not in seen or not own.numel():  # what is empty here, such as this rank's part of a scalar, has no memory to share
            seen.add(place)
            tensors[name] = tensor.detach().contiguous()
    return tensors


def restore_random(run: RunState, states: list[dict[str, Any]]) -> None:
    """Put the generators of this process where they were. A process that was not there then gets a seed of its own."""
    rank, seed = run.ranks.rank, run.record.get("config", {}).get("training", {}).get("seed", 0)
    if len(states) == run.ranks.size:
        restore_random_state(states[rank])
    else:
        if run.ranks.first:
            logger.warning(
                "the checkpoint has random states of %d processes, this run has %d: all are seeded anew from seed and step, so what is "
                "drawn from here on, such as dropout, is other than without a break",
                len(states),
                run.ranks.size,
            )
        seed_everything(seed_of(seed, rank, run.step))


def load_tensors(model: Any, saved: dict[str, Tensor], source: Path) -> None:
    """Copy ``saved`` into the model's own memory, so that tied parameters stay tied. Raises ConfigError naming the first difference."""
    check_tensors(model, {name: (tensor.shape, tensor.dtype) for name, tensor in saved.items()}, source)
    with torch.no_grad():
        for name, tensor in _named(model).items():
            if name in saved:
                tensor.copy_(like(tensor, saved[name]))


def check_tensors(model: Any, saved: dict[str, tuple[torch.Size, torch.dtype]], source: Path) -> None:
    """Raises ConfigError, naming the first difference, if the model's tensors have not the saved names, shapes and dtypes."""
    own = model_tensors(model)
    for name in sorted(own.keys() ^ saved.keys()):
        where, not_there = (source, "the model") if name in saved else ("the model", source)
        raise ConfigError(f"{where} has a parameter {name!r} that {not_there} does not have: the checkpoint is of another model")
    for name, tensor in own.items():
        if (tensor.shape, tensor.dtype) != saved[name]:
            found, expected = ([*shape, str(dtype).removeprefix("torch.")] for shape, dtype in (saved[name], (tensor.shape, tensor.dtype)))
            raise ConfigError(f"{source}: parameter {name!r} is {found}, the model's is {expected}: the checkpoint is of another model")


def spread_averages(optimizer: Optimizer, saved: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """The optimizer's averages, each spread over the ranks as its parameter is; as they are where it is not."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return {
        number: {key: like(parameters[number], value) if _shaped(value, parameters[number]) else value for key, value in values.items()}
        for number, values in saved.items()
    }


def _shaped(value: Any, parameter: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == parameter.shape


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
        if isinstance(group["lr"], Tensor):  # of an optimizer that is compiled, which wants to keep its own
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate

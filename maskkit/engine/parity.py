"""Is the update of a config's run the same however its global batch is split? Asked of a small copy of its own model.

The first rows of the config's data, under its strategy, normalization and loss modifiers, are one optimizer step: as one batch, row by
row, in unequal micro-batches, packed where the config packs, and on two processes. The gradients of what the config trains, all parameters
or adapters, may differ by rounding only.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.multiprocessing.spawn import ProcessException, spawn

from maskkit.batching import DataCollator
from maskkit.engine.batches import Batcher, global_denominator
from maskkit.engine.data import read_rows
from maskkit.engine.distributed import ALONE, Ranks, joined_ranks
from maskkit.engine.isolation import check_isolation
from maskkit.engine.plan import Plan, best_fit_decreasing
from maskkit.engine.predict import Predictor
from maskkit.engine.reweighting import Reweighting
from maskkit.engine.setup import masker_of, recipe_of
from maskkit.engine.sharding import Sharding, whole
from maskkit.engine.small_copy import dropouts, in_double, small_copy
from maskkit.engine.weigh import Weigher
from maskkit.errors import DataError, TrainingError
from maskkit.loss import Normalizer, weighted_sum
from maskkit.loss.head import unwrapped
from maskkit.masker import Example, Masker
from maskkit.models import load_tokenizer, model_config
from maskkit.models.adapters import add_adapters

if TYPE_CHECKING:
    from maskkit.config import LoraConfig, RunConfig

TOLERANCE = 1e-10
"""Largest difference of two gradients, in float64, that rounding explains."""

ROWS = 8

Gradients = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the gradients of each split are from those of one batch."""

    model: str
    """Class of the small copy."""
    trained: str
    """What of it is trained: ``all parameters``, or adapters."""
    rows: int
    trained_tokens: int
    largest_gradient: float
    differences: dict[str, float]
    """Split -> largest absolute difference of any gradient."""
    left_out: dict[str, str]
    """Keys of the config (or of the model's) that have a part in its steps and none here -> what is done in their place."""
    tolerance: float = TOLERANCE

    @property
    def exact(self) -> bool:
        """Whether all splits agree but for rounding."""
        return all(difference <= self.tolerance for difference in self.differences.values())


class Step:
    """One optimizer step of a config, on its first rows, with a small copy of its model; everywhere the same."""

    def __init__(self, config: RunConfig, date: datetime) -> None:
        self._config = config
        self._tokenizer = load_tokenizer(config.model, trust_remote_code=config.trust_remote_code)
        made_of = model_config(config.model, trust_remote_code=config.trust_remote_code)
        self.model = small_copy(made_of, config.model)
        self.name = type(self.model).__name__
        if config.lora:
            self.model = _with_adapters(self.model, config.model, config.lora, config.training.seed)
        self.left_out = _left_out(config, made_of)
        self._masker = masker_of(config, recipe_of(config, self._tokenizer, self.model, date))
        self.rows = _first_rows(config, self._masker)
        if config.training.packing:
            with in_double():
                check_isolation(self.model, DataCollator(self._tokenizer, packing=True), config.model)

    def gradients(self, plans: Sequence[Plan], ranks: Ranks = ALONE, *, packing: bool = False) -> tuple[Gradients, int]:
        """Gradients of the step whose micro-batches are ``plans``, those of all ranks in turn, and how many tokens this rank trained."""
        loss = self._config.loss
        normalizer = Normalizer(loss.normalization, loss.normalize_by)
        with in_double():
            predict = Predictor(self.model, backend=loss.backend)
            sharding = Sharding(unwrapped(self.model), ranks, self._config.training.shard)
            predict.forward = sharding.forward_method(predict.forward)
            reweighting = Reweighting(self._masker.strategy.modifiers, normalizer, predict, ranks)
            batcher = Batcher(DataCollator(self._tokenizer, packing=packing), normalizer, ROWS, predict.device)
            self.model.zero_grad()
            batches = reweighting.ahead(1, batcher(Weigher(self.rows, self._masker)(ranks.part(plans))))
            denominator = global_denominator(batches, normalizer.name, 1, ranks)
            total = 0.0
            for batch in sharding.each(batches):
                predicted = predict.scores(batch.tensors, reweighting.request(batch))
                part = weighted_sum(predicted.log_prob, reweighting(1, batch, predicted)) / denominator
                part.backward()  # type: ignore[no-untyped-call]
                total += float(part.detach())
            (total,) = ranks.totals(total)
            reweighting.rescale(1, self.model, total, denominator)
            found = {name: whole(p.grad).clone() for name, p in self.model.named_parameters() if p.grad is not None}
        return found, sum(len(batch.entries) for batch in batches)


def parity(config: RunConfig, *, processes: bool = True) -> Parity:
    """Compare one step of ``config`` in several splits; where ``processes``, also on two of them (gloo, started here, on the CPU).

    Raises what `maskkit.engine.train` raises before training, DataError where no row is trained, TrainingError where a process fails.
    """
    date = datetime.now()
    step = Step(config, date)
    numbers = list(range(len(step.rows)))
    expected, trained = step.gradients([_plan(numbers)])
    splits = {
        "1 row at a time": [_plan([number]) for number in numbers],
        "3 rows at a time": [_plan(numbers[i : i + 3]) for i in numbers[::3]],
    }
    found = {name: apart(step.gradients(plans)[0], expected) for name, plans in splits.items()}
    if config.training.packing:
        packs = best_fit_decreasing([len(row) for row in step.rows], config.max_length)
        found["packed"] = apart(step.gradients([packs], packing=True)[0], expected)
    if processes:
        found |= _on_two(config, date, len(numbers), expected)
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    trains = f"adapters of rank {config.lora.r}" if config.lora else "all parameters"
    return Parity(step.name, trains, len(numbers), trained, largest, found, step.left_out)


def _with_adapters(model: Any, name: str, lora: LoraConfig, seed: int) -> Any:
    """``model`` with adapters as the config has them, but without dropout and a few steps old: while one of an adapter's two matrices is
    zero, as both the first step finds it, the other has no gradient that could be compared."""
    adapted = add_adapters(model, name, lora.model_copy(update={"dropout": 0.0}), seed=seed)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for parameter in adapted.parameters():
            if parameter.requires_grad and not parameter.any():
                parameter.normal_(std=0.1)
    return adapted.double()


def _left_out(config: RunConfig, model: Any) -> dict[str, str]:
    """Of the keys that have a part in a step up to its gradients, those that this config sets and a comparison cannot have."""
    training, lora = config.training, config.lora
    keys = {
        "training.bf16": (training.bf16, "all is float64"),
        "training.dtype": (training.dtype != "float32", "all is float64"),
        "training.torch_compile": (training.torch_compile, "nothing is compiled"),
        "training.gradient_checkpointing": (training.gradient_checkpointing, "each layer is computed once"),
        "lora.dropout": (lora is not None and lora.dropout > 0, "nothing is dropped"),
        **{f"the model's {key}": (True, "nothing is dropped") for key in dropouts(model.get_text_config())},
    }
    return {key: instead for key, (is_set, instead) in keys.items() if is_set}


def apart(gradients: Gradients, expected: Gradients) -> float:
    """Largest absolute difference; infinite where a parameter has a gradient in one of the two only."""
    if gradients.keys() != expected.keys():
        return float("inf")
    return max(float((gradients[name] - expected[name]).abs().max()) for name in expected)


def _plan(numbers: Sequence[int]) -> Plan:
    return [[number] for number in numbers]


def _splits_of_two(rows: int) -> dict[str, list[Plan]]:
    """Equal parts, unequal ones, and a process that has nothing."""
    numbers = list(range(rows))
    uneven = max(1, rows * 5 // 8)
    return {
        "2 processes, equal parts": [_plan(numbers[0::2]), _plan(numbers[1::2])],
        "2 processes, unequal parts": [_plan(numbers[:uneven]), _plan(numbers[uneven:])],
        "2 processes, one has no rows": [_plan(numbers), []],
    }


def _first_rows(config: RunConfig, masker: Masker) -> list[Example]:
    records = (record for source in config.data.sources for record in read_rows(source.path, config.data))
    examples = (example for record in records for example in masker.examples(record))
    rows = list(islice((row for row in examples if row.loss_weights[1:].any()), ROWS))
    if not rows:
        files = ", ".join(source.path for source in config.data.sources)
        raise DataError(f"{files}: strategy {masker.strategy.label!r} trains no token of any row: look with  maskkit preview")
    return rows


def _on_two(config: RunConfig, date: datetime, rows: int, expected: Gradients) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        torch.save(expected, Path(folder) / "expected.pt")
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        try:
            spawn(_process, (config, date, rows, port, folder), nprocs=2)  # type: ignore[no-untyped-call]
        except ProcessException as error:
            last = str(error).strip().splitlines()[-1]
            raise TrainingError(f"one of two processes failed: {last}") from error
        found: dict[str, float] = json.loads((Path(folder) / "found.json").read_text())
        return found


def _process(rank: int, config: RunConfig, date: datetime, rows: int, port: int, folder: str) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "CUDA_VISIBLE_DEVICES": ""}
    torch.set_num_threads(1)
    expected = torch.load(Path(folder) / "expected.pt", weights_only=True)
    found = {}
    with joined_ranks() as ranks:
        for name, plans in _splits_of_two(rows).items():
            found[name] = apart(Step(config, date).gradients(plans, ranks)[0], expected)
        if ranks.first:
            (Path(folder) / "found.json").write_text(json.dumps(found))


def summary(found: Parity) -> dict[str, Any]:
    """The result in JSON's types."""
    from dataclasses import asdict

    return {**asdict(found), "exact": found.exact}

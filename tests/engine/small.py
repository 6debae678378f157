"""A run made by hand: a tiny Llama in float64 and rows whose weights are given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from maskkit import embedded
from maskkit.batching import DataCollator
from maskkit.engine.batches import Batcher
from maskkit.engine.data import RunData
from maskkit.engine.distributed import ALONE, Ranks
from maskkit.engine.feed import Feed
from maskkit.engine.interrupt import StopRequest
from maskkit.engine.metrics import MetricsLog
from maskkit.engine.optimizer import scheduler
from maskkit.engine.order import EpochOrder
from maskkit.engine.plan import Plan
from maskkit.engine.predict import Predictor
from maskkit.engine.progress import Progress
from maskkit.engine.rows import StoredRows
from maskkit.engine.run import Every, Run
from maskkit.engine.run_folder import RunFolder
from maskkit.engine.sharding import Sharding
from maskkit.engine.weigh import Weigher
from maskkit.loss import Normalizer
from maskkit.masker import Masker
from tests.reference import Row, as_example, given_weights, tiny_llama


class Split(EpochOrder):
    """Steps of so many rows whatever the size of micro-batches is, so that the last one may be smaller: 8 rows are 3 + 3 + 2."""

    def __init__(self, shares: list[float], rows_per_step: int, micro: int) -> None:
        super().__init__(shares)
        self._rows_per_step, self._micro = rows_per_step, micro

    def take(self, count: int) -> list[Plan]:
        rows = [pack for plan in super().take(count * self._rows_per_step) for pack in plan]
        return [rows[start : start + self._micro] for start in range(0, len(rows), self._micro)]


class Given(EpochOrder):
    """The same micro-batches in every step."""

    def __init__(self, plans: list[Plan]) -> None:
        super().__init__([1.0])
        self._plans = plans

    def take(self, count: int) -> list[Plan]:
        return self._plans


def small_run(
    path: Path,
    rows: list[Row],
    *,
    model: Any = None,
    strategy: Any = given_weights,
    micro: int = 4,
    rows_per_step: int = 4,
    steps: int = 1,
    normalization: str = "weights",
    learning_rate: float = 1.0,
    optimizer_class: type[torch.optim.Optimizer] = torch.optim.SGD,
    max_grad_norm: float | None = None,
    every: Every | None = None,
    held_out: list[Row] | None = None,
    ranks: Ranks = ALONE,
    shard: str = "none",
    plans: list[Plan] | None = None,
) -> Run:
    """Plain gradient descent: with a learning rate of 1, a step moves each parameter by exactly its gradient.

    plans: the micro-batches of every step, those of all ranks in turn; row numbers are those of ``rows``.
    """
    tokenizer = embedded.tiny_tokenizer()
    model = model or tiny_llama()
    predict = Predictor(model)
    sharding = Sharding(model, ranks, shard)
    predict.forward = sharding.forward_method(predict.forward)
    optimizer = optimizer_class(model.parameters(), lr=learning_rate)
    normalizer = Normalizer(normalization)
    examples = [as_example(row, f"data.jsonl:{number}") for number, row in enumerate(rows, start=1)]
    masker = Masker(tokenizer, strategy)
    data = RunData(StoredRows(examples), [1.0] * len(examples), StoredRows(as_example(row, "held-out") for row in held_out or []))
    folder = RunFolder(path)
    folder.open()
    return Run(
        folder=folder,
        tokenizer=tokenizer,
        model=model,
        masker=masker,
        feed=Feed(data, Given(plans) if plans else Split([1.0] * len(examples), rows_per_step, micro), Weigher(examples, masker)),
        batcher=Batcher(DataCollator(tokenizer), normalizer, micro, predict.device),
        normalizer=normalizer,
        predict=predict,
        sharding=sharding,
        optimizer=optimizer,
        schedule=scheduler(optimizer, "constant", 0, steps),
        max_grad_norm=max_grad_norm,
        plans_per_step=1,
        steps=steps,
        every=every or Every(),
        questions=[],
        stops=[],
        max_new_tokens=4,
        metrics=MetricsLog(folder.metrics),
        progress=Progress(steps, show=False),
        stop=StopRequest(),
    )

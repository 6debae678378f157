"""A run made by hand: a tiny Llama in float64 and rows whose weights are given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from maskkit import embedded
from maskkit.batching import DataCollator
from maskkit.engine.batches import Batcher
from maskkit.engine.data import RunData
from maskkit.engine.interrupt import StopRequest
from maskkit.engine.metrics import MetricsLog
from maskkit.engine.optimizer import scheduler
from maskkit.engine.order import EpochOrder
from maskkit.engine.predict import Predictor
from maskkit.engine.progress import Progress
from maskkit.engine.run import Every, Run
from maskkit.engine.run_folder import RunFolder
from maskkit.loss import Normalizer
from maskkit.masker import Masker
from tests.reference import Row, as_example, given_weights, tiny_llama


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
) -> Run:
    """Plain gradient descent: with a learning rate of 1, a step moves each parameter by exactly its gradient."""
    tokenizer = embedded.tiny_tokenizer()
    model = model or tiny_llama()
    optimizer = optimizer_class(model.parameters(), lr=learning_rate)
    predict = Predictor(model)
    normalizer = Normalizer(normalization)
    examples = [as_example(row, f"data.jsonl:{number}") for number, row in enumerate(rows, start=1)]
    folder = RunFolder(path)
    folder.open()
    return Run(
        folder=folder,
        tokenizer=tokenizer,
        model=model,
        masker=Masker(tokenizer, strategy),
        data=RunData(examples, [1.0] * len(examples), [as_example(row, "held-out") for row in held_out or []]),
        order=EpochOrder([1.0] * len(examples)),
        batcher=Batcher(DataCollator(tokenizer), normalizer, micro, predict.device),
        normalizer=normalizer,
        predict=predict,
        optimizer=optimizer,
        schedule=scheduler(optimizer, "constant", 0, steps),
        max_grad_norm=max_grad_norm,
        rows_per_step=rows_per_step,
        steps=steps,
        every=every or Every(),
        questions=[],
        stops=[],
        max_new_tokens=4,
        metrics=MetricsLog(folder.metrics),
        progress=Progress(steps, show=False),
        stop=StopRequest(),
    )

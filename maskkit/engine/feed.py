"""Where rows come from: memory or a stream, tokenized and weighed here or in worker processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from maskkit.engine.data import RunData, load_data
from maskkit.engine.order import EpochOrder
from maskkit.engine.plan import Batching, Plan
from maskkit.engine.weigh import PooledWeigher, Weigh, Weigher
from maskkit.masker import Masker
from maskkit.masker.pool import WorkerPool
from maskkit.masker.worker import Recipe

if TYPE_CHECKING:
    from maskkit.config import RunConfig


@dataclass(frozen=True, slots=True)
class Feed:
    """Rows, the order in which they are seen, and what weighs them; a context manager, which ends the worker processes."""

    data: RunData
    order: EpochOrder
    weigh: Weigh
    workers: WorkerPool | None = None

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.workers:
            self.workers.close()


def open_feed(config: RunConfig, recipe: Recipe, masker: Masker, per_step: int, part: Callable[[Sequence[Plan]], Sequence[Plan]]) -> Feed:
    """Read the rows that a config names, and start its workers.

    per_step: micro-batch plans that a step takes; part: those of them that are this process's. Raises DataError and TrainingError as
    `load_data` does, with no worker left behind.
    """
    batching, seed = Batching.of(config), config.training.seed
    if not config.data.workers:
        data = load_data(masker, config.data)
        return Feed(data, EpochOrder(data.shares, seed, batching, data.lengths), Weigher(data.train, masker))
    with contextlib.ExitStack() as started:
        pool = started.enter_context(WorkerPool(recipe, config.data.workers))
        data = load_data(masker, config.data, lambda records: pool.encode(records, masker))
        order = EpochOrder(data.shares, seed, batching, data.lengths)
        started.pop_all()
        return Feed(data, order, PooledWeigher(data.train, pool, order, per_step, part), pool)

"""Where rows come from: memory or a stream, tokenized and weighed here or in worker processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from maskkit.engine.data import Encode, RunData, load_data
from maskkit.engine.order import EpochOrder, Order
from maskkit.engine.plan import Batching, Plan
from maskkit.engine.stream import Blocks, Source, StreamOrder, first_rows
from maskkit.engine.weigh import PooledWeigher, Weigh, Weigher
from maskkit.masker import Masker
from maskkit.masker.pool import WorkerPool, encode_all
from maskkit.masker.worker import Recipe

if TYPE_CHECKING:
    from maskkit.config import RunConfig

Part = Callable[[Sequence[Plan]], Sequence[Plan]]
"""Chooses, of the plans of a step, those of this process."""


@dataclass(frozen=True, slots=True)
class Feed:
    """Rows, the order in which they are seen, and what weighs them; a context manager, which ends the worker processes."""

    data: RunData
    order: Order
    weigh: Weigh
    workers: WorkerPool | None = None

    @property
    def rows_trained(self) -> int:
        """How many rows there are to train on; of a stream, how many were taken."""
        return self.order.rows_taken if isinstance(self.order, StreamOrder) else len(self.data.train)

    @property
    def rows_per_epoch(self) -> float | None:
        """Rows of an epoch, each as often as it is seen in one; None for a stream, which has no end."""
        return None if isinstance(self.order, StreamOrder) else self.order.patience()

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.workers:
            self.workers.close()


def open_feed(config: RunConfig, recipe: Recipe, masker: Masker, per_step: int, part: Part) -> Feed:
    """Read the rows that a config names, and start its workers.

    per_step: micro-batch plans that a step takes; part: those of them that are this process's. Raises DataError and TrainingError as
    `load_data` does, with no worker left behind.
    """
    with contextlib.ExitStack() as started:
        pool = started.enter_context(WorkerPool(recipe, config.data.workers)) if config.data.workers else None
        read = _streamed if config.data.streaming else _in_memory
        feed = read(config, masker, pool, per_step, part)
        started.pop_all()
        return feed


def _in_memory(config: RunConfig, masker: Masker, pool: WorkerPool | None, per_step: int, part: Part) -> Feed:
    data = load_data(masker, config.data, _encode(masker, pool))
    order = EpochOrder(data.shares, config.training.seed, Batching.of(config), data.lengths)
    weigh = PooledWeigher(data.train, pool, order, per_step, part) if pool else Weigher(data.train, masker)
    return Feed(data, order, weigh, pool)


def _streamed(config: RunConfig, masker: Masker, pool: WorkerPool | None, per_step: int, part: Part) -> Feed:
    data, wanted = first_rows(masker, config.data)
    sources = [Source(source.path, source.weight) for source in config.data.sources]
    blocks = Blocks(sources, config.data.shuffle_buffer, config.training.seed, wanted)
    order = StreamOrder(blocks, _encode(masker, pool), Batching.of(config), config.training.seed, masker.counts)
    return Feed(data, order, order.weigh, pool)


def _encode(masker: Masker, pool: WorkerPool | None) -> Encode:
    return (lambda records: pool.encode(records, masker)) if pool else (lambda records: encode_all(masker, records))

"""The processes of one run, called ranks: who they are, how they add up, and how all of them end when one does.

`torchrun --nproc-per-node N -m maskkit train CONFIG` starts N of them. A run of one process has one rank, no process group and no cost:
every method below then returns what it was given.
"""

from __future__ import annotations

import builtins
import contextlib
import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from maskkit import errors
from maskkit.errors import MaskkitError, OtherRankEnded, TrainingError, TrainingStopped

T = TypeVar("T")

FAILURE, HEARD = "maskkit/failure", "maskkit/heard"
"""Keys of the process group's store: under the first, the first rank that fails says why; the second counts the ranks that know it."""

PATIENCE = 10.0
"""Seconds that a rank which keeps the store, and fails, gives the others to hear of it: with it the store ends."""


class Ranks:
    """The ranks of a run, seen from one of them. All ranks call the same methods in the same order."""

    def __init__(self, rank: int = 0, size: int = 1, device: torch.device | None = None, store: Any = None) -> None:
        self.rank, self.size, self._store = rank, size, store
        self._failed = False
        self.device = device or (torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this is rank 0, the only one that writes files and shows anything."""
        return self.rank == 0

    def part(self, items: Sequence[T]) -> Sequence[T]:
        """The items of this rank; every item is one rank's, so that parts may be unequal."""
        return items[self.rank :: self.size]

    def largest_part(self, count: int) -> int:
        """How many of ``count`` items the rank with the most has. A rank with fewer takes part without any, so that none waits for it."""
        return -(-count // self.size)

    def sum(self, values: Tensor) -> Tensor:
        """The sum of the ranks' tensors, which have one shape and dtype; the same on every rank."""
        if self.size == 1:
            return values
        total = values.detach().clone().to(self.device)
        dist.all_reduce(total)
        return total.to(values.device)

    def totals(self, *numbers: float) -> list[float]:
        """The sum of each of the numbers over the ranks, in float64."""
        if self.size == 1:
            return list(numbers)
        return self.sum(torch.tensor(numbers, dtype=torch.float64, device=self.device)).tolist()

    def gather(self, values: Tensor) -> Tensor:
        """The ranks' tensors [N_r, ...] one after the other, [sum N_r, ...], without gradients; N_r may differ, and be 0."""
        if self.size == 1:
            return values.detach()
        counts = [int(count) for count in self.totals(*(len(values) * (rank == self.rank) for rank in range(self.size)))]
        # collectives move blocks of one size: pad to the longest
        block = values.new_zeros(max(counts), *values.shape[1:]).to(self.device)
        block[: len(values)] = values.detach()
        blocks = [torch.empty_like(block) for _ in counts]
        dist.all_gather(blocks, block)
        return torch.cat([each[:count] for each, count in zip(blocks, counts, strict=True)]).to(values.device)

    def own(self, gathered: Tensor, count: int) -> Tensor:
        """Of what `gather` returned, or a tensor aligned with it, the ``count`` entries that this rank gave."""
        if self.size == 1:
            return gathered
        before = self.totals(*(count * (rank == self.rank) for rank in range(self.size)))[: self.rank]
        start = int(sum(before))
        return gathered[start : start + count]

    def collect(self, value: T) -> list[T]:
        """The values of all ranks, by rank: plain Python values or tensors on the CPU."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def decided(self, value: T) -> T:
        """What rank 0 says, on every rank."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, device=self.device)
        return values[0]

    def barrier(self) -> None:
        """Wait until every rank is here."""
        self.totals(0.0)

    def ending(self, error: BaseException) -> BaseException:
        """What this rank raises where ``error`` happened: the error itself where it was the first, else OtherRankEnded.

        Asked again with what it returned, it returns the same.
        """
        if self._store is None or isinstance(error, (OtherRankEnded, KeyboardInterrupt, SystemExit)):
            return error  # the last two are asked for from outside: the launcher ends the others
        if isinstance(error, TrainingStopped):  # all ranks agreed to
            return error if self.first else OtherRankEnded(error)
        error = _lost_connection(error, self.rank) or error
        said = json.dumps({"rank": self.rank, "kind": type(error).__name__, "message": str(error)})
        try:
            first = self._store.compare_set(FAILURE, "", said).decode()
            if not self._failed:
                self._store.add(HEARD, 1)
        except RuntimeError:  # the store has ended with the process that kept it
            return error
        self._failed = True
        return error if first == said else OtherRankEnded(_failure(json.loads(first)))

    def wait_until_heard(self) -> None:
        """Where this rank has failed and keeps the store: wait until every rank knows why, or patience ends."""
        if not self._failed or self.rank or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
            return
        end = time.monotonic() + PATIENCE
        while self._store.add(HEARD, 0) < self.size and time.monotonic() < end:
            time.sleep(0.05)


ALONE = Ranks(device=torch.device("cpu"))
"""A run of one process on the CPU."""


def asked_for() -> int:
    """How many ranks the process was started as one of, by torchrun or the like."""
    return int(os.environ.get("WORLD_SIZE") or 1)


@contextlib.contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """Join the process group that the environment names (RANK, WORLD_SIZE, MASTER_ADDR, ...): NCCL on GPUs, gloo on CPUs.

    A group that is there already is used, and left as it is. An error on one rank ends all of them: it is raised where it happened, and
    everywhere else as OtherRankEnded. Where all ranks fail alike, one of them raises the error.
    """
    if _joined:
        yield _joined[-1]
    elif dist.is_initialized():
        yield Ranks(dist.get_rank(), dist.get_world_size(), _device())
    elif asked_for() == 1:
        yield Ranks()
    else:
        store, rank, size = next(rendezvous("env://"))
        device = _device()
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", store=store, rank=rank, world_size=size)
        with _one_end_for_all(Ranks(rank, size, device, store)) as ranks:
            yield ranks


_joined: list[Ranks] = []
"""The ranks of the group that `joined_ranks` has made and not yet left."""


@contextlib.contextmanager
def _one_end_for_all(ranks: Ranks) -> Iterator[Ranks]:
    _joined.append(ranks)
    failed = True
    try:
        yield ranks
        ranks.barrier()
        failed = False
    except BaseException as error:
        raise ranks.ending(error) from error.__cause__
    finally:
        _joined.remove(ranks)
        # a rank that fails closes its connections, which wakes those that wait for it; NCCL cannot be left in the middle of an operation,
        # so there the launcher ends the others
        if not failed or dist.get_backend() != "nccl":
            dist.destroy_process_group()
        if failed:
            ranks.wait_until_heard()


def _failure(said: dict[str, Any]) -> Exception:
    """The error of another rank, as far as its kind is one of maskkit's or of the system's."""
    kind = getattr(errors, said["kind"], getattr(builtins, said["kind"], None))
    if not (isinstance(kind, type) and issubclass(kind, (MaskkitError, OSError))):
        return RuntimeError(f"{said['kind']}: {said['message']}")
    error: Exception = kind.__new__(kind)  # some are made of other things than a message
    error.args = (said["message"],)
    return error


def _lost_connection(error: BaseException, rank: int) -> TrainingError | None:
    """What is wrong if another rank has ended without a word; None if ``error`` is something else."""
    if isinstance(error, MaskkitError) or not isinstance(error, RuntimeError):
        return None
    if not (isinstance(error, dist.DistError) or "gloo" in str(error) or "NCCL" in str(error)):
        return None
    said = re.sub(r"^\[[^ ]*\] ", "", " ".join(str(error).split()))  # without the place in its source
    return TrainingError(
        f"rank {rank}: the connection to the other ranks is lost ({said.partition('. ')[0]}): one of them ended without a word, killed or "
        "out of memory; go on with --resume"
    )


def _device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK") or 0))

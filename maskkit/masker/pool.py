"""Work done in other processes, in the order in which it was asked for: examples made of records, rows weighed, files written.

What comes out is the same for any number of workers: a result is a function of what it is made of, and results are taken in order. Workers
are programs of their own, not forks, so they hold nothing of this process but its pipes, and end with it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from importlib import import_module
from itertools import islice
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from maskkit.errors import MaskkitError, TrainingError
from maskkit.findings import Finding
from maskkit.masker.example import Example
from maskkit.masker.masker import Masker
from maskkit.masker.stored import restored, stored
from maskkit.masker.worker import Failure, Work
from maskkit.records import Record

logger = logging.getLogger(__name__)

RECORDS_PER_TASK = 16
TASKS_AHEAD = 4
"""So many tasks of records, or steps to weigh, a worker has waiting, beside the one it is at."""

PATIENCE = 10.0
"""Seconds that a worker has to end when its input has ended."""

USUAL = 60.0
"""Seconds in which a worker is done with a task, its own start included; one that takes longer is told of."""


class Encoded(NamedTuple):
    """The examples of a record, each with the bytes that `stored` makes of it."""

    rows: list[tuple[Example, bytes]]


def encode_all(masker: Masker, records: Iterable[Record]) -> Iterator[Encoded]:
    """The examples of each record, made in this process."""
    for record in records:
        yield Encoded([(example, stored(example)) for example in masker.examples(record)])


class WorkerPool:
    """So many processes that work; a context manager.

    work: gives, in each worker, what it can do; a `Recipe` makes and weighs examples. ahead: how many tasks a worker has waiting, beside
    the one it is at. short: tasks are, so one that takes longer than `USUAL` is told of. One iterator at a time: the next may begin when
    the one before is at its end.

    Its iterators raise the errors that a worker met, naming the row; TrainingError, naming the rows, if one has died.
    """

    def __init__(self, work: Callable[[], Work], count: int, ahead: int = TASKS_AHEAD, short: bool = True) -> None:
        content = pickle.dumps(work, protocol=5)
        self._ahead = ahead
        self._workers = [_Worker(content, number, short) for number in range(count)]

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.close()

    def encode(self, records: Iterable[Record], masker: Masker) -> Iterator[Encoded]:
        """The examples of each record; the masker of this process counts, and says, what was noticed, as if it had made them."""
        for part, made in self.in_order("make", _parts(records, RECORDS_PER_TASK), lambda part: [record.source for record in part]):
            for record, (rows, left_out) in zip(part, made, strict=True):
                yield _noted(record, rows, left_out, masker)

    def weigh(self, batches: Iterable[Sequence[bytes]]) -> Iterator[list[npt.NDArray[np.float32]]]:
        """For each list of stored rows the weights that the strategy gives them."""
        for _, weights in self.in_order("weigh", map(list, batches), _sources):
            yield weights

    def in_order(self, work: str, arguments: Iterable[Any], sources: Callable[[Any], list[str]]) -> Iterator[tuple[Any, Any]]:
        """Each argument with what the ``work`` of that name makes of it. Arguments are taken ahead of results, as many as keep all workers
        busy. sources: gives the names of the rows that an argument is about, for an error."""
        coming, numbered = iter(arguments), 0
        waiting: deque[Any] = deque()
        most = len(self._workers) * (1 + self._ahead)
        while True:
            for argument in islice(coming, most - len(waiting)):
                self._workers[(numbered + len(waiting)) % len(self._workers)].send((work, argument))
                waiting.append(argument)
            if not waiting:
                return
            argument = waiting.popleft()
            result = self._workers[numbered % len(self._workers)].receive(partial(sources, argument))
            numbered += 1
            yield argument, result


class _Worker:
    """One process and the thread that reads its results, so that neither ever waits for the other to read."""

    def __init__(self, work: bytes, number: int, short: bool) -> None:
        self._number, self._short = number, short
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        command = [sys.executable, "-c", "from maskkit.masker.worker import main; main()"]  # -m would give its classes other names
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True)
        self._results: SimpleQueue[Any] = SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._write(work)

    def send(self, task: Any) -> None:
        self._write(pickle.dumps(task, protocol=5))

    def receive(self, sources: Callable[[], list[str]]) -> Any:
        """The next result. sources: gives the names of the rows it is about, for an error."""
        try:
            result = self._results.get(timeout=USUAL if self._short else None)
        except Empty:
            logger.warning(
                "data worker %d is not done with %s after %.0f s: an expression of the strategy with repeats within repeats may never end; "
                "stop the run (Ctrl-C), and see which with data.workers 0",
                *(self._number, _first_to_last(sources()), USUAL),
            )
            result = self._results.get()
        if isinstance(result, _Ended):
            status = self._process.wait()
            raise TrainingError(
                f"data worker {self._number} ended with status {status} while it was at {_first_to_last(sources())}: look above for what "
                "it said, see whether memory was short, or do without (data.workers: 0, --workers 1)"
            )
        if isinstance(result, Failure):
            raise _error(result)
        return result

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended before
            self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()

    def _write(self, content: bytes) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has died: whoever asks for the result is told
            self._process.stdin.write(content)
            self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            with self._process.stdout as results, contextlib.suppress(EOFError):
                while True:
                    self._results.put(pickle.load(results))
        finally:
            self._results.put(_Ended())


def _first_to_last(sources: list[str]) -> str:
    return sources[0] + (f" to {sources[-1]}" if len(sources) > 1 else "")


def _sources(rows: list[bytes]) -> list[str]:
    return [restored(content).tokens.record.source for content in rows]


class _Ended:
    """Comes after the last result of a worker."""


def _noted(record: Record, rows: list[bytes], left_out: Iterable[Finding], masker: Masker) -> Encoded:
    masker.recognise(record.made_with)  # a worker has raised the error already; the warning is said here
    masker.note(left_out, record)
    found = []
    for content in rows:
        example = restored(content)
        masker.note(example.warnings, example.tokens.record)
        found.append((example, content))
    return Encoded(found)


def _parts(records: Iterable[Record], size: int) -> Iterator[list[Record]]:
    coming = iter(records)
    while part := list(islice(coming, size)):
        yield part


def _error(failure: Failure) -> Exception:
    """The error of a worker, of the same class where that is one of maskkit's or of the system's."""
    kind = getattr(import_module(failure.module), failure.name, None) if failure.module in ("maskkit.errors", "builtins") else None
    kind = kind if isinstance(kind, type) and issubclass(kind, (MaskkitError, OSError)) else MaskkitError
    error: Exception = kind.__new__(kind)
    error.args = (failure.message,)
    return error

"""A process that works for another, which starts it: `maskkit.masker.pool`.

It reads pickled tasks from its standard input and writes pickled results to its standard output, in order. When the input ends, which it
does when the other process ends, however that happens, it ends at once, whatever it is at: no worker outlives that process. Signals of the
terminal do not reach it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple

from maskkit.errors import DataError, MaskkitError
from maskkit.findings import Finding
from maskkit.masker.masker import Masker
from maskkit.masker.stored import restored, stored
from maskkit.records import Record

Work = Mapping[str, Callable[[Any], Any]]
"""What a worker does with an argument, by name."""


@dataclass(frozen=True)
class Recipe:
    """What a masker is made of. A worker gets this and makes its own: the strategy is selected again there, not copied."""

    tokenizer: Any
    options: dict[str, Any]
    """Arguments of `Masker`; the strategy as a selection."""
    disabled: list[str] = field(default_factory=list)
    """Plugins that are switched off."""

    def masker(self) -> Masker:
        """A new masker. Raises ConfigError where an option is wrong."""
        from maskkit.plugins import switch_off

        switch_off(self.disabled)
        return Masker(self.tokenizer, **self.options)

    def __call__(self) -> Work:
        """Making examples of records, and weighing them."""
        masker = self.masker()
        return {"make": partial(make, masker), "weigh": partial(weigh, masker)}


class Made(NamedTuple):
    """What became of a record."""

    rows: list[bytes]
    """Its examples as `stored` makes them."""
    left_out: tuple[Finding, ...]
    """Why the record, or a reply of it, makes no example."""


@dataclass(frozen=True)
class Failure:
    """An error in place of a result."""

    module: str
    name: str
    message: str


def make(masker: Masker, records: list[Record]) -> list[Made]:
    """The examples of each record, weighed."""
    made = []
    for record in records:
        with _named(record.source):
            tables, left_out = masker.tables(record)
            made.append(Made([stored(masker.example(*table)) for table in tables], left_out))
    return made


def weigh(masker: Masker, rows: list[bytes]) -> list[Any]:
    """The weights of each example, float32 [T], as the strategy gives them now."""
    weights = []
    for content in rows:
        tokens = restored(content).tokens
        with _named(tokens.record.source):
            weights.append(masker.weigh(tokens))
    return weights


@contextlib.contextmanager
def _named(source: str) -> Iterator[None]:
    """Names the row in errors that are not maskkit's own, such as those of a plugin."""
    try:
        yield
    except MaskkitError:
        raise
    except Exception as error:
        raise DataError(f"{source}: {type(error).__name__}: {error} (in a data worker)") from error


def main() -> None:
    """Work until there is nothing more to read."""
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a plugin prints is no result
    logging.getLogger("maskkit").setLevel(logging.CRITICAL)  # findings are sent back, and said once by the process that asked
    tasks: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, tasks), daemon=True).start()
    with contextlib.suppress(BrokenPipeError):  # the other process has ended
        serve(tasks, results)


def _read(source: Any, tasks: SimpleQueue[Any]) -> None:
    """Hand tasks on as they come; end the process when no more can come."""
    try:
        while True:
            tasks.put(pickle.load(source))
    except EOFError:
        os._exit(0)
    except Exception:
        traceback.print_exc()
        os._exit(1)


def serve(tasks: SimpleQueue[Any], results: Any) -> None:
    """Take what gives the `Work`, then tasks ``(name, argument)``; write one result each."""
    work, failed = _attempt(tasks.get())
    while True:
        name, argument = tasks.get()
        result, failure = (None, failed) if failed else _attempt(partial(work[name], argument))
        pickle.dump(failure or result, results, protocol=5)
        results.flush()


def _attempt(do: Callable[[], Any]) -> tuple[Any, Failure | None]:
    try:
        return do(), None
    except (MaskkitError, OSError) as error:
        return None, Failure(type(error).__module__, type(error).__qualname__, str(error))

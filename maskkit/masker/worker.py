"""A process that makes and weighs examples for another, which starts it: `maskkit.masker.pool`.

It reads pickled tasks from its standard input and writes pickled results to its standard output, in order, until the input ends, which it
does when the other process ends, however that happens: no worker outlives it. Signals of the terminal do not reach it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from maskkit.errors import DataError, MaskkitError
from maskkit.findings import Finding
from maskkit.masker.masker import Masker
from maskkit.masker.stored import restored, stored
from maskkit.records import Record


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


WORK: dict[str, Callable[[Masker, Any], Any]] = {"make": make, "weigh": weigh}


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
    with contextlib.suppress(BrokenPipeError, EOFError):  # the other process has ended
        serve(sys.stdin.buffer, results)


def serve(tasks: Any, results: Any) -> None:
    """Read a recipe, then tasks ``(work, argument)``; write one result each."""
    masker: Masker | Failure
    try:
        masker = pickle.load(tasks).masker()
    except MaskkitError as error:
        masker = _failure(error)
    while True:
        work, argument = pickle.load(tasks)
        try:
            result = masker if isinstance(masker, Failure) else WORK[work](masker, argument)
        except MaskkitError as error:
            result = _failure(error)
        pickle.dump(result, results, protocol=5)
        results.flush()


def _failure(error: MaskkitError) -> Failure:
    return Failure(type(error).__module__, type(error).__qualname__, str(error))

"""How much a template may do. Templates come from strangers, and the sandbox bounds what they reach, not how long they run.

Sizes are checked before text is made, where one expression could ask for any (``'x' * 10**9``), and time at every turn of a loop and
every call of a macro; between two such points a template can only do what sizes bound. The limits are far beyond any conversation.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import monotonic, thread_time
from typing import Any

CHARACTERS = 100_000_000
"""Longest text that a template may make."""
CHARACTERS_IN_ALL = 20 * CHARACTERS
"""Most characters of all texts that one rendering makes, kept or not."""
ITEMS = 1_000_000
"""Most items of a list, widest padding, most repetitions by a filter."""
BITS = 100_000
"""Longest integer, in bits."""
SECONDS = 60.0
"""Longest processor time of one rendering."""

_WIDTH = re.compile(r"%[^a-zA-Z%]*\d{7,}|\{[^{}]*[:.][^{}]*\d{7,}")
_WIDTH_IN_ARGUMENT = re.compile(r"%[^a-zA-Z%]*\*|\{[^{}]*[:.][^{}]*\{")


class LimitError(Exception):
    """A template does more than any chat template has to."""


class _Budget(threading.local):
    def __init__(self) -> None:
        self.looked_at = float("inf")
        self.ends = float("inf")
        self.characters = 0


_budget = _Budget()


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """One rendering, which may use the processor for so long, and make so much text."""
    saved = _budget.looked_at, _budget.ends, _budget.characters
    _budget.looked_at = min(saved[0], monotonic() + seconds)
    _budget.ends, _budget.characters = min(saved[1], thread_time() + seconds), 0
    try:
        yield
    finally:
        _budget.looked_at, _budget.ends, _budget.characters = saved


def step() -> None:
    """A loop turns, or a macro is called.

    Raises:
        LimitError: the rendering's time is over.
    """
    # The clock is cheaper to ask than the processor's time, and never behind it.
    if monotonic() > _budget.looked_at and thread_time() > _budget.ends:
        raise LimitError(f"it ran for more than {SECONDS:g} seconds")


def check_characters(count: int) -> None:
    """Raises LimitError if a text is to be longer than `CHARACTERS`, or if too much text has been made."""
    _budget.characters += count
    if _budget.characters > CHARACTERS_IN_ALL:
        raise LimitError(f"it makes texts of more than {CHARACTERS_IN_ALL:,} characters in all")
    if count > CHARACTERS:
        raise LimitError(f"it makes a text of more than {CHARACTERS:,} characters")


def check_items(count: Any) -> None:
    """Raises LimitError if there are to be more than `ITEMS` of something."""
    if isinstance(count, int) and count > ITEMS:
        raise LimitError(f"it makes more than {ITEMS:,} items, or a padding of that width")


def check_format(template: str, arguments: Iterable[Any]) -> None:
    """Raises LimitError if a format asks for a wide field, itself or through an argument."""
    if _WIDTH.search(template):
        raise LimitError(f"it formats to a width of more than {ITEMS:,}")
    if _WIDTH_IN_ARGUMENT.search(template):
        for argument in arguments:
            # Which of them is the width is not looked at: no chat template prints a number as large beside one.
            check_items(abs(argument) if isinstance(argument, int) else 0)


def check_operands(operator: str, left: Any, right: Any) -> None:
    """Raises LimitError if ``left operator right`` is too large."""
    if operator == "+":
        if isinstance(left, (list, tuple)):
            check_items(len(left) + (len(right) if isinstance(right, (list, tuple)) else 0))
    elif operator == "*":
        _check_product(left, right)
        _check_product(right, left)
        if isinstance(left, int) and isinstance(right, int) and left.bit_length() + right.bit_length() > BITS:
            raise LimitError(f"it computes a number of more than {BITS:,} bits")
    elif isinstance(left, int) and isinstance(right, int) and abs(left) > 1 and left.bit_length() * right > BITS:
        raise LimitError(f"it computes a number of more than {BITS:,} bits")


def _check_product(repeated: Any, times: Any) -> None:
    if isinstance(times, int) and isinstance(repeated, str):
        check_characters(len(repeated) * times)
    elif isinstance(times, int) and isinstance(repeated, (list, tuple)):
        check_items(len(repeated) * times)

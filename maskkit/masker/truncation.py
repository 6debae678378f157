"""Rows longer than ``max_length``: what is kept of them, and what that cost."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from maskkit.errors import ConfigError, DataError
from maskkit.findings import Finding
from maskkit.masker.excerpt import Excerpt
from maskkit.masker.tabulate import Table
from maskkit.tokens import Tokens

TRUNCATIONS = ("right", "left", "drop", "error", "turns")
"""``right`` and ``left`` cut that end, ``drop`` makes no example, ``error`` refuses the row, ``turns`` leaves out whole turns from the
front, system messages kept, and drops a row whose last turn is too long by itself."""


class Truncation:
    """Fits token tables into ``max_length`` tokens (None: any length does)."""

    def __init__(self, mode: str, max_length: int | None) -> None:
        if mode not in TRUNCATIONS:
            raise ConfigError(f"truncation is {mode!r}, expected {', '.join(map(repr, TRUNCATIONS))}")
        if max_length is not None and max_length < 2:
            raise ConfigError(f"max_length is {max_length}, expected 2 or more: the first token is never predicted")
        self.mode = mode
        self.max_length = max_length

    def __call__(self, excerpt: Excerpt, table: Table, tabulate: Callable[[Excerpt], Table | Finding]) -> Table | Finding:
        """A table that fits, or the finding that there is none. tabulate: makes the table of a shorter excerpt.

        Raises DataError under ``error``.
        """
        tokens, limit = table.tokens, self.max_length
        if limit is None or len(tokens) <= limit:
            return table
        if self.mode == "error":
            raise DataError(
                f"{tokens.record.source}: {len(tokens)} tokens, expected at most max_length {limit}: raise it, shorten the row, or set "
                "truncation to 'right', 'left', 'turns' or 'drop'"
            )
        if self.mode == "drop":
            return Finding("dropped", f"{len(tokens)} tokens, max_length is {limit}", len(tokens))
        if self.mode == "turns":
            return self._last_turns(excerpt, table, limit, tabulate)
        start = 0 if self.mode == "right" else len(tokens) - limit
        return Table(tokens.cut(start, start + limit), table.findings + _lost(tokens, start, limit))

    def _last_turns(self, excerpt: Excerpt, table: Table, limit: int, tabulate: Callable[[Excerpt], Table | Finding]) -> Table | Finding:
        """As many of the last turns as fit, rendered anew: a template may write what is left differently."""
        later = excerpt.turns()[1:]
        for turn in later:
            if turn != later[-1] and _length_without(table.tokens, excerpt, turn) > limit:
                continue
            shorter = tabulate(excerpt.since(turn))
            if isinstance(shorter, Finding):
                return shorter
            if len(shorter.tokens) <= limit:
                lost = len(table.tokens) - len(shorter.tokens)
                said = f"{len(table.tokens)} tokens, max_length is {limit}: turns before turn {turn} are left out"
                return Table(shorter.tokens, (*shorter.findings, Finding("truncated", said, lost)))
        return Finding(
            "dropped", f"{len(table.tokens)} tokens, and its last turn alone is longer than max_length {limit}", len(table.tokens)
        )


def _length_without(tokens: Tokens, excerpt: Excerpt, turn: int) -> int:
    """About how many tokens are left without the turns before ``turn``."""
    left_out = set(excerpt.messages) - set(excerpt.since(turn).messages)
    return len(tokens) - int(np.isin(tokens.message, list(left_out)).sum())


def _lost(tokens: Tokens, start: int, limit: int) -> tuple[Finding, ...]:
    """What a cut cost: always said, and said apart where a turn lost its stop token."""
    end = "last" if start == 0 else "first"
    cut = Finding("truncated", f"{len(tokens)} tokens, max_length is {limit}: the {end} {len(tokens) - limit} are cut", len(tokens) - limit)
    outside = np.ones(len(tokens), np.bool_)
    outside[start : start + limit] = False
    stops = int((tokens.where(kind="stop") & outside).sum())
    if not stops:
        return (cut,)
    return cut, Finding("stop-truncated", f"{stops} stop tokens lie {'behind' if start == 0 else 'before'} max_length {limit}", stops)

"""What rows of tokens say of where their tokens come from, as ``maskkit prepare`` writes it.

{"input_ids": [...], "loss_weights": [...], "kinds": [7, 1, 3, 6], "generated": [false, false, true, true], "straddle": [...],
 "message_index": [0, 0, 1, 1], "roles": ["user", "assistant"], "reply": -1, "row_key": "0123456789abcdef"}
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from maskkit.errors import DataError
from maskkit.kinds import KINDS
from maskkit.records.columns import numbers, whole
from maskkit.records.messages import as_list, short

KINDS_COLUMN, GENERATED, STRADDLE, MESSAGE, ROLES, REPLY = "kinds", "generated", "straddle", "message_index", "roles", "reply"

_KEY = re.compile("[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Attribution:
    """Of T tokens."""

    kinds: tuple[int, ...]
    """Codes of `maskkit.kinds.KINDS`."""
    generated: tuple[bool, ...] | None = None
    """Would the model emit them? None where the row does not say: it has no other column of these, then."""
    straddle: tuple[bool, ...] = ()
    messages: tuple[int, ...] = ()
    """Number of each token's message, -1 for none."""
    roles: tuple[str, ...] = ()
    """Of the messages."""
    reply: int = -1
    """The assistant message that an as-served example is about."""


def attribution_of(row: Mapping[str, Any], kept: Sequence[int], source: str) -> Attribution | None:
    """What a row says of the tokens ``kept``, by their numbers in it; None where it has no list ``kinds``.

    Raises DataError, naming row and column, for a column that is not what it should be.
    """
    if as_list(_plain(row.get(KINDS_COLUMN))) is None:
        return None
    length = len(as_list(_plain(row["input_ids"])) or ())
    kinds = _column(row, KINDS_COLUMN, length, kept, source)
    if kinds and max(kinds) >= len(KINDS):
        raise DataError(f"{source}: {KINDS_COLUMN} has {max(kinds)}, expected codes of maskkit.kinds.KINDS: 0 to {len(KINDS) - 1}")
    if any(row.get(name) is None for name in (GENERATED, STRADDLE, MESSAGE, ROLES)):
        return Attribution(kinds)
    roles = as_list(_plain(row[ROLES]))
    if roles is None or not all(isinstance(role, str) for role in roles):
        raise DataError(f"{source}: {ROLES} is {short(row[ROLES])}, expected a list of names, one for each message")
    messages = _column(row, MESSAGE, length, kept, source, lowest=-1)
    if messages and max(messages) >= len(roles):
        raise DataError(f"{source}: {MESSAGE} has {max(messages)}, and {ROLES} has {len(roles)} messages")
    generated, straddle = (tuple(map(bool, _column(row, name, length, kept, source))) for name in (GENERATED, STRADDLE))
    return Attribution(kinds, generated, straddle, messages, tuple(roles), whole(row.get(REPLY, -1), source, REPLY, lowest=-1))


def given_key(row: Mapping[str, Any]) -> str | None:
    """The key of the row that the tokens were made of, where it is given: by it, equal rows are still known as equal."""
    key = row.get("row_key")
    return key if isinstance(key, str) and _KEY.fullmatch(key) else None


def _column(row: Mapping[str, Any], name: str, length: int, kept: Sequence[int], source: str, lowest: int = 0) -> tuple[int, ...]:
    values = numbers(row, name, source, length)
    return tuple(whole(values[number], source, name, lowest) for number in kept)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value

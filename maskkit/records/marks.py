"""Weights in the data: every mark by which data sets in the field say what to train.

    {"role": "assistant", "content": "...", "weight": 0.5}                          a message: OpenAI, Mistral, axolotl, ...
    {"role": "assistant", "content": [{"type": "text", "text": "...", "train": false}]}       a part of its content
    {"role": "assistant", "tool_calls": [{"function": {...}, "weight": 2}]}                   one of its tool calls
    {"role": "assistant", "content": "yes or no", "train_detail": [{"begin_offset": 0, "end_offset": 2, "train": true}]}    characters

The most specific mark of a character counts: characters, before part or call, before message. Marks on one thing multiply
(``loss: true`` and ``loss_scale: 0.3`` make 0.3). What a strategy makes of them is its own matter; `from-data` takes them as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from maskkit.errors import DataError
from maskkit.records.messages import REASONING_KEYS, as_list, short
from maskkit.records.record import Record

MARKS = ("weight", "loss", "loss_scale", "loss_weight", "train", "training", "trainable", "masked", "step_loss_mask")
"""Keys of a message, a content part or a tool call that hold its weight: a number, or true (1) or false (0)."""

INVERTED = frozenset({"masked"})
"""Marks that say what is *not* trained."""

CONTENT_DETAILS = ("train_detail", "training_detail")
"""Keys of a message that hold ranges of characters of its content, both ends included, as in axolotl."""

REASONING_DETAILS = ("reasoning_train_detail", "reasoning_training_detail")
"""The same, of its reasoning."""

MESSAGE, PART, CHARACTERS = range(3)
"""How specific a mark is."""

_DETAILS = CONTENT_DETAILS + REASONING_DETAILS
KNOWN = frozenset(MARKS + _DETAILS)
"""Every key that is read."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A weight that a row gives to a message, to a field of it, or to ``field[start:end]``."""

    path: str
    """Where it stands: ``messages[2].content[0].weight``."""
    message: int
    weight: float
    level: int = MESSAGE
    field: str = ""
    """``content``, ``content[0]``, ``tool_calls[1]``, ...; empty for the whole message."""
    start: int = 0
    end: int = 0
    """Of characters: one past the last."""


def marks_of(record: Record) -> tuple[Mark, ...]:
    """All marks of a record, read. Raises DataError, naming row and field, for one that is no weight."""
    return tuple(mark for index, message in enumerate(record.messages) for mark in _of_message(message, index, record.source))


def mark_paths(record: Record) -> list[str]:
    """Where the marks of a record stand, unread: ``messages[2].weight``."""
    if record.tokens is not None:
        return list(record.tokens.columns)
    return [f"{where}.{key}" for where, holder in holders(record) for key in holder if key in KNOWN]


def holders(record: Record) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Whatever may carry a mark: messages, their parts, their tool calls."""
    for index, message in enumerate(record.messages):
        yield f"messages[{index}]", message
        for key in ("content", "tool_calls"):
            held = message.get(key)
            for number, item in enumerate(() if held is None or isinstance(held, str) else as_list(held) or ()):
                yield f"messages[{index}].{key}[{number}]", item


def _of_message(message: Mapping[str, Any], index: int, source: str) -> Iterator[Mark]:
    where = f"messages[{index}]"
    yield from _whole(message, where, index, MESSAGE, "", source)
    for key in ("content", "tool_calls"):
        for number, item in enumerate(as_list(message.get(key)) or ()):
            yield from _whole(item, f"{where}.{key}[{number}]", index, PART, f"{key}[{number}]", source)
    reasoning = next((key for key in REASONING_KEYS if message.get(key) is not None), "")
    for keys, field in ((CONTENT_DETAILS, "content"), (REASONING_DETAILS, reasoning)):
        for key in keys:
            if key in message:
                yield from _characters(message, key, field, f"{source}: {where}.{key}", index)


def _whole(holder: Mapping[str, Any], where: str, index: int, level: int, field: str, source: str) -> Iterator[Mark]:
    """The marks on one thing, as one."""
    found = [key for key in MARKS if key in holder]
    if found:
        weight = math.prod(_weight(holder[key], f"{source}: {where}.{key}", key in INVERTED) for key in found)
        yield Mark(f"{where}.{found[0]}", index, weight, level, field)


def _characters(message: Mapping[str, Any], key: str, field: str, where: str, index: int) -> Iterator[Mark]:
    """Ranges of characters of a field. What none of them covers counts 0, as in axolotl."""
    expected = "expected a list of {'begin_offset': first character, 'end_offset': last character, 'train': true or false}"
    details = as_list(message[key])
    if details is None or not all(isinstance(detail, Mapping) for detail in details):
        raise DataError(f"{where} is {short(message[key])}, {expected}")
    text = message.get(field)
    if not isinstance(text, str):
        raise DataError(f"{where} gives ranges of characters, and {field or 'the reasoning'} is {short(text)}, expected text")
    path = where.partition(": ")[2]
    if details:
        yield Mark(path, index, 0.0, PART, field)
    for number, detail in enumerate(details):
        place = f"{where}[{number}]"
        begin, last = (_offset(detail, name, place, len(text)) for name in ("begin_offset", "end_offset"))
        found = [name for name in MARKS if name in detail]
        if not found or begin > last:
            raise DataError(f"{place} is {short(detail)}, {expected}")
        weight = math.prod(_weight(detail[name], f"{place}.{name}", name in INVERTED) for name in found)
        yield Mark(f"{path}[{number}]", index, weight, CHARACTERS, field, begin, last + 1)


def _offset(detail: Mapping[str, Any], name: str, where: str, length: int) -> int:
    value = detail.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < length:
        raise DataError(f"{where}.{name} is {short(value)}, expected a character of the text: 0 to {length - 1}")
    return value


def _weight(value: Any, where: str, inverted: bool) -> float:
    if not isinstance(value, Real) or not math.isfinite(value):
        raise DataError(f"{where} is {short(value)}, expected true, false or a number")
    if not inverted:
        return float(value)
    if value not in (0, 1):
        raise DataError(f"{where} is {short(value)}, expected true or false")
    return 1.0 - float(value)

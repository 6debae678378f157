"""What a row would have to say for a template that refuses it: found by trying.

A template that stumbles over a row says so in Jinja's words, naming neither message nor field. Each of `_MENDS` is a way in which rows and
templates are known to miss each other; one with which the template passes is the remedy.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

Message = Mapping[str, Any]
Messages = tuple[dict[str, Any], ...]
Passes = Callable[[Messages], bool]

_ONE_BY_ONE = 16
"""Of so many messages at most, those are told that have to be mended; of more, all that can be."""

_NAMED = 3


class _Mend(NamedTuple):
    """A change of a message."""

    field: str
    wrong: str
    remedy: str
    apply: Callable[[Message], dict[str, Any] | None]
    """The message as it should be; None if there is nothing to mend."""


def remedy_for(messages: Messages, passes: Passes) -> str:
    """The end of an error: which messages lack what the template asks for, and what to do. Empty if nothing that is tried helps.

    passes: does the template take these messages?
    """
    applicable = [(mend, {n: better for n, said in enumerate(messages) if (better := mend.apply(said))}) for mend in _MENDS]
    for count in (1, 2):
        for chosen in combinations([(mend, found) for mend, found in applicable if found], count):
            mended = messages
            for mend, _ in chosen:
                mended = tuple(mend.apply(said) or said for said in mended)
            if passes(mended):
                return "".join(_told(mend, _needed(messages, mended, list(found), passes)) for mend, found in chosen)
    return ""


def _needed(messages: Messages, mended: Messages, numbers: Sequence[int], passes: Passes) -> list[int]:
    """Those of the messages that cannot stay as they are."""
    if len(numbers) > _ONE_BY_ONE:
        return list(numbers)
    return [n for n in numbers if not passes((*mended[:n], messages[n], *mended[n + 1 :]))] or list(numbers)


def _told(mend: _Mend, numbers: Sequence[int]) -> str:
    paths = ", ".join(f"messages[{n}].{mend.field}" for n in numbers[:_NAMED])
    more = f" and {len(numbers) - _NAMED} more" if len(numbers) > _NAMED else ""
    wrong = mend.wrong if len(numbers) == 1 else mend.wrong.replace("is ", "are ", 1).replace("has ", "have ", 1)
    return f"; {paths}{more} {wrong}: {mend.remedy}"


# -- what is tried ----------------------------------------------------------------------------------------------


def _with_content(message: Message) -> dict[str, Any] | None:
    return {**message, "content": ""} if message.get("content") is None else None


def _joined(message: Message) -> dict[str, Any] | None:
    parts = message.get("content")
    return {**message, "content": "".join(part.get("text", "") for part in parts)} if isinstance(parts, list) else None


def _with_arguments(message: Message, kind: type, convert: Callable[[Any], Any]) -> dict[str, Any] | None:
    calls = message.get("tool_calls") or []
    functions = [call.get("function", call) for call in calls]
    if not any(isinstance(function.get("arguments"), kind) for function in functions):
        return None
    better = []
    for call, function in zip(calls, functions, strict=True):
        arguments = function.get("arguments")
        try:
            changed = {**function, "arguments": convert(arguments) if isinstance(arguments, kind) else arguments}
        except ValueError:
            return None
        better.append({**call, "function": changed} if "function" in call else changed)
    return {**message, "tool_calls": better}


_MENDS = (
    _Mend("content", "is missing or null, and the template asks for it", 'write "content": "" there', _with_content),
    _Mend("content", "is a list of parts, and the template takes text", "join them to one text, it has no place for others", _joined),
    _Mend(
        "tool_calls", "has arguments as JSON text, and the template takes an object", "write them as an object",
        lambda message: _with_arguments(message, str, json.loads),
    ),
    _Mend(
        "tool_calls", "has arguments as an object, and the template takes text", "write them as JSON text",
        lambda message: _with_arguments(message, dict, lambda value: json.dumps(value, ensure_ascii=False)),
    ),
)  # fmt: skip

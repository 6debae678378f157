"""Which tool a call calls, and which tool a result came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maskkit.errors import DataError
from maskkit.records.record import Record


def tool_names(record: Record) -> list[list[str]]:
    """For each message the names of the tools that it calls, in order; for a tool's result the name of that tool.

    A result says its tool by ``name``, or by the ``tool_call_id`` of a call; failing both, results answer the calls before them in order.
    Raises DataError for a row that is tokens already, which has no calls to look at.
    """
    if record.tokens is not None:
        raise DataError(untold(record, "tools"))
    names: list[list[str]] = []
    unanswered: list[tuple[Any, str]] = []
    for message in record.messages:
        if message["role"] == "tool":
            names.append([_tool_of(message, unanswered)])
            continue
        calls = message.get("tool_calls") or ()
        names.append([_name(call) for call in calls])
        unanswered = [(call.get("id"), name) for call, name in zip(calls, names[-1], strict=True)]
    return names


def untold(record: Record, what: str) -> str:
    """What to say where something is asked of a row of tokens that only messages say."""
    return (
        f"{record.source}: {what} are asked for, and a row that is tokens already does not say them: weigh its messages, then prepare them"
    )


def _tool_of(result: Mapping[str, Any], unanswered: list[tuple[Any, str]]) -> str:
    """The tool of a result; the call that it answers is taken off the list."""
    by_id = (call for call in unanswered if result.get("tool_call_id") not in (None, "") and call[0] == result["tool_call_id"])
    by_name = (call for call in unanswered if call[1] == result.get("name"))
    answered = next(by_id, None) or next(by_name, None) or (unanswered[0] if unanswered else None)
    if answered is not None:
        unanswered.remove(answered)
    return str(result.get("name") or (answered[1] if answered is not None else ""))


def _name(call: Mapping[str, Any]) -> str:
    return str(call.get("function", call)["name"])

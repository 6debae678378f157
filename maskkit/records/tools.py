"""Which tool a call calls, and which tool a result came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maskkit.records.record import Record


def tool_names(record: Record) -> list[list[str]]:
    """For each message the names of the tools that it calls, in order; for a tool's result the name of that tool.

    A result says its tool by ``name``, or by the ``tool_call_id`` of a call; failing both, results answer the calls before them in order.
    """
    names: list[list[str]] = []
    by_id: dict[Any, str] = {}
    unanswered: list[str] = []
    for message in record.messages:
        if message["role"] == "tool":
            in_order = unanswered.pop(0) if unanswered else ""
            names.append([str(message.get("name") or by_id.get(message.get("tool_call_id")) or in_order)])
            continue
        calls = message.get("tool_calls") or ()
        called = [_name(call) for call in calls]
        by_id.update((call["id"], name) for call, name in zip(calls, called, strict=True) if call.get("id") is not None)
        unanswered = list(called)
        names.append(called)
    return names


def _name(call: Mapping[str, Any]) -> str:
    return str(call.get("function", call)["name"])

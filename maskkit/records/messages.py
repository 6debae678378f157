"""Chat messages as transformers takes them: what they may hold, and an error that names the field of one that does not.

Keys and their order stay those of the row, because templates print some of them. A key whose value is None says nothing, so it is left
out: in the field tables fill absent keys with None, and several templates print the word "None" for it. Tool calls stay as the row has
them, ``arguments`` as an object or as JSON text: transformers hands both to the template, and each template treats them its own way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from maskkit.errors import DataError

REASONING_KEYS = ("reasoning_content", "thinking", "reasoning")
"""Keys of a message that hold its reasoning, in the order in which transformers looks for them."""

PART_TYPES = ("text", "thinking")
"""Types of content part that are text."""

MEDIA_TYPES = ("image", "image_url", "input_image", "audio", "audio_url", "input_audio", "video", "video_url", "input_video")
"""Types of content part for which chat templates print a placeholder: it is shown where it stands, and never trained."""


def checked_messages(value: Any, source: str, name: str = "messages") -> tuple[dict[str, Any], ...]:
    """The messages of a row, or a DataError that names the field."""
    where = f"{source}: {name}"
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise DataError(f"{where} is {short(value)}, expected a list of messages")
    messages = tuple(_message(message, f"{where}[{i}]") for i, message in enumerate(value))
    if not messages:
        raise DataError(f"{where} is empty, expected at least one message")
    return messages


def reasoning_of(message: Mapping[str, Any]) -> str | None:
    """The reasoning of a message, under whichever key it stands."""
    return next((message[key] for key in REASONING_KEYS if message.get(key) is not None), None)


def said_fields(message: Mapping[str, Any]) -> list[str]:
    """Fields in which a message says something: content, reasoning, tool calls, those of blanks alone left out."""
    content = message.get("content")
    parts = [content] if isinstance(content, str) else [part.get("text", "…") for part in content or ()]
    said = ["content"] if any(part.strip() for part in parts) else []
    said += [key for key in REASONING_KEYS if (message.get(key) or "").strip()][:1]
    return said + ["tool_calls"] * bool(message.get("tool_calls"))


def without_nulls(value: Any) -> Any:
    """Plain dicts and lists without the keys whose value is None, at any depth.

    For rows of tables (Arrow, Parquet, ``datasets``), where each struct has the keys of all rows and None where a row has none. Rows from
    JSON keep a null in a tool call's arguments: there somebody wrote it.
    """
    if isinstance(value, Mapping):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    items = as_list(value)
    return value if items is None else [without_nulls(item) for item in items]


def as_list(value: Any) -> list[Any] | None:
    """A list of what is a list, a tuple or an array; None for anything else."""
    if isinstance(value, (list, tuple)):
        return list(value)
    return value.tolist() if type(value).__name__ == "ndarray" else None


def short(value: Any, length: int = 60) -> str:
    """A value as an error shows it: one line, cut."""
    text = repr(value)
    return text if len(text) <= length else text[: length - 1] + "…"


def _message(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise DataError(f"{where} is {short(value)}, expected a message: {{'role': ..., 'content': ...}}")
    message: dict[str, Any] = _present(value)
    role = message.get("role")
    if not isinstance(role, str) or not role:
        hint = "; 'from' and 'value' are the ShareGPT names of 'role' and 'content'" if "from" in message else ""
        raise DataError(f"{where}.role is {short(role) if 'role' in message else 'missing'}, expected a text such as 'user'{hint}")
    for key in REASONING_KEYS:
        if key in message and not isinstance(message[key], str):
            raise DataError(f"{where}.{key} is {short(message[key])}, expected text")
    if "tool_calls" in message:
        message["tool_calls"] = _tool_calls(message["tool_calls"], f"{where}.tool_calls")
    if "content" in message:
        message["content"] = _content(message["content"], f"{where}.content")
    elif role != "assistant" or not (message.get("tool_calls") or reasoning_of(message)):
        raise DataError(f"{where}.content is missing, expected text (only an assistant message with tool calls may have none)")
    return message


def _content(content: Any, where: str) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    parts = as_list(content)
    if parts is None:
        raise DataError(f"{where} is {short(content)}, expected text or a list of parts")
    return [_part(part, f"{where}[{i}]") for i, part in enumerate(parts)]


def _part(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not isinstance(value.get("type"), str):
        raise DataError(f"{where} is {short(value)}, expected a part: {{'type': 'text', 'text': ...}}")
    part = _present(value)
    if part["type"] not in (*PART_TYPES, *MEDIA_TYPES):
        raise DataError(f"{where}.type is {short(part['type'])}, expected 'text' or one of {', '.join(MEDIA_TYPES)}")
    if part["type"] == "text" and not isinstance(part.get("text"), str):
        raise DataError(f"{where}.text is {short(part.get('text'))}, expected text")
    return part


def _tool_calls(value: Any, where: str) -> list[dict[str, Any]]:
    calls = as_list(value)
    if calls is None:
        raise DataError(f"{where} is {short(value)}, expected a list of calls")
    return [_tool_call(call, f"{where}[{i}]") for i, call in enumerate(calls)]


def _tool_call(value: Any, where: str) -> dict[str, Any]:
    expected = "expected a call: {'type': 'function', 'function': {'name': ..., 'arguments': {...}}}"
    if not isinstance(value, Mapping):
        raise DataError(f"{where} is {short(value)}, {expected}")
    call = _present(value)
    if "function" in call:
        if not isinstance(call["function"], Mapping):
            raise DataError(f"{where}.function is {short(call['function'])}, {expected}")
        where += ".function"
        function = call["function"] = _present(call["function"])
    else:
        function = call
    if not isinstance(function.get("name"), str):
        raise DataError(f"{where}.name is {short(function['name']) if 'name' in function else 'missing'}, {expected}")
    if not isinstance(function.get("arguments", {}), (str, Mapping)):
        raise DataError(f"{where}.arguments is {short(function['arguments'])}, expected an object or JSON text of one")
    return call


def _present(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if item is not None}

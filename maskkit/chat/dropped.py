"""Text of the record that the template does not print, and parts that are no text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from maskkit.chat.kinds import ASSISTANT_ROLES, REASONING_FIELDS
from maskkit.chat.markup import REASONING_TAGS
from maskkit.chat.spans import Span, field_name
from maskkit.chat.traced import DERIVED, ESCAPED, Origin
from maskkit.findings import Finding
from maskkit.records.messages import MEDIA_TYPES

_PRINTED = frozenset({"content", "tool_calls"}) | REASONING_FIELDS
_UNPRINTED_KEYS = frozenset({"id", "type", "index", "role", "name"})
"""Keys below a message that templates commonly and rightly leave out. A call's name is looked at, see `_leaves`."""


def dropped_text(
    messages: Sequence[dict[str, Any]], tools: Any, spans: Iterable[Span], reasoning_tags: Iterable[tuple[str, str]] = REASONING_TAGS
) -> list[Finding]:
    """A finding that says which fields were not printed whole, and how many characters of them are missing.

    Blanks, and reasoning tags that the template writes itself, are not missed.
    """
    printed: dict[Origin, list[Span]] = {}
    for span in spans:
        if span.is_data:
            printed.setdefault(span.origin, []).append(span)
    tags = [tag for pair in reasoning_tags for tag in pair]
    missing = {path: n for path, text in _texts(messages) if (n := _missing(text, path, printed, tags))}
    if tools and not any(origin[0] == "tools" for origin in printed):
        missing[("tools",)] = len(str(tools))
    if not missing:
        return []
    names = [f"messages[{path[1]}].{field_name(path[2:])}" if path[0] == "messages" else "tools" for path in missing]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return [Finding("dropped-text", f"the template does not print all of {shown}", sum(missing.values()))]


def media_placeholders(messages: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """A finding if the conversation holds images, audio or video, of which the text has placeholders at most."""
    parts = (part for message in messages if isinstance(message.get("content"), list) for part in message["content"])
    count = sum(isinstance(part, dict) and part.get("type") in MEDIA_TYPES for part in parts)
    return [Finding("media-placeholder", f"{count} images, audio or video in the conversation", count)] if count else []


def _texts(messages: Sequence[dict[str, Any]]) -> Iterator[tuple[Origin, str]]:
    for index, message in enumerate(messages):
        reasoning = next((n for n in ("reasoning_content", "thinking", "reasoning") if message.get(n) is not None), "")
        for name, value in message.items():
            spoken = name == "content" or (message.get("role") in ASSISTANT_ROLES and name in (reasoning, "tool_calls"))
            if spoken and name in _PRINTED:
                yield from _leaves(value, ("messages", index, name))


def _leaves(value: Any, path: Origin) -> Iterator[tuple[Origin, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        inside_arguments = "arguments" in path
        for key, item in value.items():
            if inside_arguments or key not in _UNPRINTED_KEYS or (key == "name" and "tool_calls" in path):
                yield from _leaves(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, index))


def _missing(text: str, path: Origin, printed: dict[Origin, list[Span]], tags: Sequence[str]) -> int:
    """How many characters of a field, blanks apart, no span shows."""
    spans = printed.get(path, ())
    if any(span.mapping == DERIVED for span in spans):
        return 0
    shown = sorted((span.offset, span.offset + (1 if span.mapping == ESCAPED else span.end - span.start)) for span in spans)
    unseen: list[str] = []
    at = 0
    for start, end in shown:
        unseen.append(text[at:start])
        at = max(at, end)
    rest = "".join([*unseen, text[at:]])
    if rest and len(rest) < len(text):
        for tag in tags:
            rest = rest.replace(tag, "")
    return sum(map(len, rest.split()))

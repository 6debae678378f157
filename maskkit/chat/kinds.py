"""What a character is, from the role of its message and the field it comes from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from maskkit.chat.markup import Markup
from maskkit.chat.spans import Span
from maskkit.kinds import SegmentKind

SYSTEM_ROLES = frozenset({"system", "developer", "documents", "document", "context", "control", "root"})
USER_ROLES = frozenset({"user", "human"})
ASSISTANT_ROLES = frozenset({"assistant", "model"})
TOOL_ROLES = frozenset({"tool", "tools", "ipython", "function", "observation", "tool_response", "tool_result", "environment"})

REASONING_FIELDS = frozenset({"reasoning_content", "reasoning", "thinking"})
TOOL_CALL_FIELDS = frozenset({"tool_calls", "function_call"})
ANSWER_FIELDS = frozenset({"content", "refusal"})
SCAFFOLD_FIELDS = frozenset({"role", "name"})
"""Fields that print as part of a header."""

ROLE_NAMES = SYSTEM_ROLES | USER_ROLES | ASSISTANT_ROLES | TOOL_ROLES
_WORD = re.compile(r"\w+")


def role_kind(role: str) -> SegmentKind:
    """Kind of what a message of this role says (`ANSWER` for the assistant)."""
    for roles, kind in (
        (SYSTEM_ROLES, SegmentKind.SYSTEM),
        (USER_ROLES, SegmentKind.USER),
        (TOOL_ROLES, SegmentKind.TOOL_RESULT),
        (ASSISTANT_ROLES, SegmentKind.ANSWER),
    ):
        if role in roles:
            return kind
    return SegmentKind.UNKNOWN


def assistant_part(path: Sequence[Any]) -> SegmentKind:
    """Which part of an assistant turn the field at ``path`` (inside the message) is; thinking written inside content apart."""
    name = path[0] if path else ""
    if name in REASONING_FIELDS or "thinking" in path[1:]:
        return SegmentKind.REASONING
    if name in TOOL_CALL_FIELDS:
        return SegmentKind.TOOL_CALL
    if name in ANSWER_FIELDS:
        return SegmentKind.ANSWER
    return SegmentKind.TEMPLATE if name in SCAFFOLD_FIELDS else SegmentKind.UNKNOWN


def supplied_kind(span: Span, role: str) -> SegmentKind:
    """Kind of data that the model did not emit: everything outside the generated regions. ``role``: of the message that it is of."""
    if span.origin[0] in ("tools", "documents", "kwargs"):
        return SegmentKind.SYSTEM
    if span.message < 0:
        return SegmentKind.UNKNOWN
    path = span.origin[2:]
    if path and path[0] == "role":
        return SegmentKind.TEMPLATE
    if role not in ASSISTANT_ROLES:
        return role_kind(role)
    # An assistant's data in another turn may be that turn's scaffolding: gpt-oss heads tool results with the name of the call. What it
    # says is not.
    if span.owner != span.message:
        return SegmentKind.TEMPLATE if path and path[0] in TOOL_CALL_FIELDS | SCAFFOLD_FIELDS else SegmentKind.UNKNOWN
    return assistant_part(path)


def inserted_system(text: str, markup: Markup, in_a_turn: bool) -> list[tuple[int, int]]:
    """Where text that the template wrote says something of its own, as a default system prompt does.

    Control tokens, tags alone, the role name in a header and the blanks around them are scaffolding. Inside a turn
    only what stands under a system header counts, outside of turns all but what stands under the assistant's.
    """
    said: list[tuple[int, int]] = []
    role = ""
    for start, end, is_control in markup.splits(text):
        header = _WORD.match(text[start:end]) if start > 0 and not is_control else None
        if header and header[0].lower() in ROLE_NAMES and _ends_header(text[start:end], header.end()):
            role = header[0].lower()
            start += header.end()
        body = text[start:end]
        if not is_control and markup.says(body) and (role in SYSTEM_ROLES or not (in_a_turn or role in ASSISTANT_ROLES)):
            said.append((start + len(body) - len(body.lstrip()), start + len(body.rstrip())))
    return said


def _ends_header(piece: str, at: int) -> bool:
    return at == len(piece) or piece[at] == "\n"

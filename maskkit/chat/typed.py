"""Which characters a row brought, and whether a model writes them: what looks like a control token there was typed, not meant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from maskkit.chat.kinds import ASSISTANT_ROLES, ROLE_NAMES, SCAFFOLD_FIELDS
from maskkit.chat.spans import Span
from maskkit.chat.traced import TEMPLATE, UNKNOWN


@dataclass(frozen=True, slots=True)
class TypedText:
    """``text[start:end]`` comes from the row."""

    start: int
    end: int
    field: str
    """``messages[1].content``, ``tools``, ``text``: as errors name it."""
    by_model: bool = False
    """Does the model write this field at inference (content, reasoning and calls of an assistant message)?"""
    certain: bool = True
    """False where the origin is unknown, so that the text may also be the template's."""


def typed_text(spans: Iterable[Span], roles: Sequence[str]) -> list[TypedText]:
    """The ranges of a rendered conversation that come from the row, in order."""
    found: list[TypedText] = []
    for span in spans:
        origin = span.origin
        if origin is TEMPLATE:
            continue
        if origin is UNKNOWN:
            found.append(TypedText(span.start, span.end, "the conversation", certain=False))
        elif origin[0] != "messages" or len(origin) < 2:
            found.append(TypedText(span.start, span.end, str(origin[0])))
        else:
            role, name = roles[int(origin[1])], origin[2] if len(origin) > 2 else ""
            if name == "role" and role in ROLE_NAMES:
                continue  # the name of a role is the template's way to write a header
            by_model = role in ASSISTANT_ROLES and bool(name) and name not in SCAFFOLD_FIELDS
            found.append(TypedText(span.start, span.end, f"messages[{origin[1]}]{'.' * bool(span.field)}{span.field}", by_model))
    return found

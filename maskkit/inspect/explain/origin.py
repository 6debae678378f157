"""Where in a row the characters of a token come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maskkit.masker import Masker
    from maskkit.tokens import Tokens

AROUND = 40
"""So many characters are shown on each side."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a token comes from."""

    message: int
    """Index of the message, -1 for none."""
    role: str
    turn: int
    field: str
    """Path inside the message; empty for text of the template."""
    offset: int
    """Where in that field the token's first character stands; -1 where it is derived, or the template's."""
    tool: str
    """The tool that is called, or that gave the result; empty for none."""
    whose: str
    """Would the model itself emit it, and why?"""
    before: str
    after: str
    """Up to `AROUND` characters of the rendered text on each side."""


def origin_of(masker: Masker, tokens: Tokens, t: int, whose: str) -> Origin:
    """Where token t comes from. whose: the sentence about it of `maskkit.inspect.reasons.whose`."""
    start, end = int(tokens.char_start[t]), int(tokens.char_end[t])
    return Origin(
        int(tokens.message[t]),
        str(tokens.role[t]),
        int(tokens.turn[t]),
        str(tokens.field[t]),
        _offset(masker, tokens, t),
        str(tokens.tool[t]),
        whose,
        tokens.text[max(start - AROUND, 0) : start],
        tokens.text[end : end + AROUND],
    )


def _offset(masker: Masker, tokens: Tokens, t: int) -> int:
    """The offset in the field, read off the segment that gave the token its field."""
    field = str(tokens.field[t])
    if not field:
        return -1
    start, end = int(tokens.char_start[t]), int(tokens.char_end[t])
    for segment in masker.segments(tokens):
        if segment.field == field and segment.start < end and start < segment.end:
            return -1 if segment.offset < 0 else segment.offset + max(start - segment.start, 0)
    return -1

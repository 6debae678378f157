"""Why a token counts as the model's, or as the prompt's, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from maskkit.chat.kinds import ASSISTANT_ROLES

if TYPE_CHECKING:
    from maskkit.tokens import Tokens


def whose(tokens: Tokens) -> list[str]:
    """For each token a sentence: would the model itself emit it at inference, and why?"""
    reaches = _reaches(tokens)
    columns = (tokens.kind, tokens.generated, tokens.straddle, tokens.message, tokens.role)
    said: dict[tuple[str, bool, bool, int, str, str], str] = {}  # many tokens, few sentences
    out = []
    for place, (kind, generated, straddle, message, role) in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        key = (kind, generated, straddle, message, role, _side(place, reaches.get(message)))
        if key not in said:
            said[key] = _sentence(*key, served=tokens.reply >= 0)
        out.append(said[key])
    return out


def _reaches(tokens: Tokens) -> dict[int, tuple[int, int]]:
    """First and last generated token of each message that has some."""
    reaches: dict[int, tuple[int, int]] = {}
    for place in np.flatnonzero(tokens.generated).tolist():
        message = int(tokens.message[place])
        reaches[message] = (reaches.get(message, (place, place))[0], place)
    return reaches


def _side(place: int, reach: tuple[int, int] | None) -> str:
    """Where a token stands to what the model emits of its message."""
    if reach is None:
        return "none"
    return "before" if place < reach[0] else "behind" if place > reach[1] else "inside"


def _sentence(kind: str, generated: bool, straddle: bool, message: int, role: str, side: str, *, served: bool) -> str:
    if straddle:
        return "in part, the token touches prompt and generated text"
    if generated:
        return "yes, to end the turn" if kind == "stop" else f"yes, behind the prompt of message {message}"
    if kind == "unknown":
        return "not known, the origin of the text could not be determined"
    if role in ASSISTANT_ROLES:
        return _of_a_reply(kind, message, side, served)
    if role:
        return f"no, messages of role {role} are part of the prompt"
    return "no, plain text has no reply" if kind in ("text", "stop") else "no, the template writes it"


def _of_a_reply(kind: str, message: int, side: str, served: bool) -> str:
    if side == "behind":
        return "no, it stands behind the stop token, where the model has stopped"
    if side == "before":
        return f"no, {'the generation prompt' if kind == 'template' else 'the prompt'} of message {message} supplies it"
    if side == "inside":
        return "no, the template writes it between parts of the reply"
    return "no, an earlier reply is part of the prompt" if served else f"no, nothing of message {message} is known to be the model's"

"""Replies that say something in the data and nothing in the text, but for the stop token that is trained behind it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from maskkit.chat.markup import REASONING_TAGS
from maskkit.findings import Finding
from maskkit.kinds import CODE, KINDS
from maskkit.records.messages import said_fields

if TYPE_CHECKING:
    from maskkit.tokens import Tokens

_REPLY = np.isin(np.arange(len(KINDS)), [CODE[kind] for kind in ("answer", "reasoning", "tool_call")])
_STOP, _UNKNOWN = CODE["stop"], CODE["unknown"]
_SCAFFOLD = re.compile("|".join([r"<\|channel\|>\w+<\|message\|>", *(re.escape(tag) for pair in REASONING_TAGS for tag in pair)]))
"""What a model writes around its words: thinking tags, and the channels of Harmony."""

_FEW = 16
"""Tokens that may be no more than tags around nothing."""


def unsaid(tokens: Tokens, weights: npt.NDArray[np.float32]) -> Finding | None:
    """Are there trained stop tokens behind replies of which the template prints nothing, as of tool calls that it has no place for?

    Goes by what is printed. Thinking tags around nothing say nothing; text whose origin is unknown may say anything. A reply that says
    nothing in the data either is printed as it is.
    """
    if tokens.record.form != "messages":
        return None
    kinds, message = tokens.kind_codes, tokens.message
    owned = tokens.generated & (message >= 0)
    stops = np.flatnonzero(owned & (kinds == _STOP) & (weights != 0))
    if not len(stops):
        return None
    own = owned & _REPLY[kinds]
    lengths = np.bincount(message[own], minlength=int(message.max()) + 1)
    silent: dict[int, str] = {}
    for stop in stops[lengths[message[stops]] <= _FEW].tolist():
        number = int(message[stop])
        fields = said_fields(tokens.record.messages[number])
        if fields and kinds[stop - 1] != _UNKNOWN and not _says(tokens, np.flatnonzero(own & (message == number))):
            silent[number] = f"messages[{number}].{fields[-1]}"
    if not silent:
        return None
    said = f"the template prints nothing of {', '.join([*silent.values()][:3])}, and the stop token behind it is trained"
    return Finding("reply-not-printed", said, len(silent))


def _says(tokens: Tokens, own: npt.NDArray[np.int64]) -> bool:
    """Is there more in these tokens than scaffolding and blanks?"""
    text = tokens.text[tokens.char_start[own[0]] : tokens.char_end[own[-1]]] if len(own) else ""
    return bool(_SCAFFOLD.sub("", text).strip())

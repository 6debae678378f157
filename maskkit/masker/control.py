"""Which tokens control a conversation, and which of them a row only typed.

A control token is an added token that stands for structure: a special token (``<|im_end|>``), or one that is written like markup
(``<tool_call>``). Blanks, words and HTML elements that a vocabulary holds as added tokens are ordinary text.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from maskkit.chat.kinds import ASSISTANT_ROLES, SYSTEM_ROLES, USER_ROLES
from maskkit.chat.markup import REASONING_TAGS

if TYPE_CHECKING:
    from maskkit.chat.typed import TypedText

_MARKUP = re.compile(r"[<\[{(◁«].*\S.*[>\]})▷»]", re.DOTALL)
_HTML = re.compile(
    r"</?(?:a|b|big|blockquote|body|br|caption|center|code|col|colgroup|dd|del|div|dl|dt|em|font|h[1-6]|head|hr|html|i|img|ins|kbd|li|"
    r"ol|p|pre|q|s|small|span|strike|strong|sub|sup|table|tbody|td|tfoot|th|thead|title|tr|tt|u|ul)/?>"
)
_TOOL_TAG = re.compile(r"tool.?calls?|function.?calls?|python_tag|\[ARGS\]|\[CALL_ID\]", re.IGNORECASE)
_ROLES = USER_ROLES | ASSISTANT_ROLES | SYSTEM_ROLES | {"observation", "ipython"}


class Occurrence(NamedTuple):
    """A control token at ``text[start:end]``, blanks that it took with it left out."""

    token: int
    """Its place among the tokens."""
    start: int
    end: int


class ControlTokens:
    """The control tokens of a tokenizer.

    stop_token_ids: some whatever they look like. reasoning_tags: pairs of opening and closing tags beside the ones that are known.
    """

    def __init__(self, tokenizer: Any, stop_token_ids: Iterable[int] = (), reasoning_tags: Iterable[tuple[str, str]] = ()) -> None:
        named = set(tokenizer.all_special_tokens)
        ends = {tokenizer.eos_token_id, tokenizer.bos_token_id, *stop_token_ids}
        self.contents: dict[int, str] = {}
        """Text of each control token, by id."""
        self.spoken: set[int] = set()
        """Ids that stay tokens where the model itself writes: the family's reasoning and tool tags, and what is not special."""
        self._normalizer = tokenizer.backend_tokenizer.normalizer
        added = {token.content for token in _added(tokenizer).values()}
        # Harmony's pair opens with a token that opens every channel: only what is one token is a tag here.
        tags = {tag for pair in (*REASONING_TAGS, *reasoning_tags) if pair[0] in added for tag in pair}
        for token_id, token in _added(tokenizer).items():
            special = token.special or token.content in named or token_id in ends or _names_role(token.content)
            if not token.content.strip() or not (special or _is_markup(token.content)):
                continue
            self.contents[token_id] = token.content
            tag = token_id not in ends and (token.content in tags or bool(_TOOL_TAG.search(token.content)))
            if tag or not special:
                self.spoken.add(token_id)
        self._table = np.zeros(max(self.contents, default=0) + 2, np.bool_)
        self._table[list(self.contents)] = True

    def among(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Places of the control tokens in ``ids``."""
        return np.flatnonzero(self._table[np.minimum(ids, len(self._table) - 1)])

    def occurrences(
        self, text: str, ids: npt.NDArray[np.int64], start: npt.NDArray[np.int64], end: npt.NDArray[np.int64]
    ) -> list[Occurrence]:
        """The control tokens of an encoded text, in order."""
        places = self.among(ids)
        found = []
        for place, token_id, first, last in zip(
            *(column.tolist() for column in (places, ids[places], start[places], end[places])), strict=True
        ):
            if text[first:last] != self.contents[token_id]:
                piece = text[first:last]
                first, last = first + len(piece) - len(piece.lstrip()), last - len(piece) + len(piece.rstrip())
                if first >= last or not self._is_written(token_id, text[first:last]):
                    continue
            found.append(Occurrence(place, first, last))
        return found

    def _is_written(self, token_id: int, piece: str) -> bool:
        """Is it the token's own text? The unknown token stands for other text."""
        content = self.contents[token_id]
        if piece == content or self._normalizer is None:
            return piece == content
        return bool(self._normalizer.normalize_str(piece) == self._normalizer.normalize_str(content))


def typed_among(
    occurrences: Sequence[Occurrence], typed: Sequence[TypedText], ids: npt.NDArray[np.int64], control: ControlTokens, brought: str
) -> list[tuple[Occurrence, TypedText]]:
    """The occurrences that the row typed, each with where; tags that a model writes in its own fields are meant and left out.

    A token is the template's if the template wrote its first and its last character (``<|{{ role }}|>``). brought: all text that the
    row brings, which decides where the origin of a character is unknown.
    """
    starts = [each.start for each in typed]
    found = []
    for occurrence in occurrences:
        touched = [each for at in (occurrence.start, occurrence.end - 1) if (each := _at(at, starts, typed)) is not None]
        if not touched:
            continue
        token_id = int(ids[occurrence.token])
        if not all(each.certain for each in touched) and control.contents[token_id] not in brought:
            continue
        if token_id in control.spoken and len(touched) == 2 and all(each.by_model for each in touched):
            continue
        found.append((occurrence, touched[0]))
    return found


def _at(position: int, starts: list[int], typed: Sequence[TypedText]) -> TypedText | None:
    index = bisect_right(starts, position) - 1
    return typed[index] if index >= 0 and position < typed[index].end else None


def _added(tokenizer: Any) -> dict[int, Any]:
    return dict(tokenizer.backend_tokenizer.get_added_tokens_decoder())


def _is_markup(content: str) -> bool:
    return bool(_MARKUP.fullmatch(content)) and not _HTML.fullmatch(content.lower())


def _names_role(content: str) -> bool:
    return _is_markup(content) and re.sub(r"\W", "", content).lower() in _ROLES

"""Tags and control tokens that templates and models write: which open reasoning, which close a part, which end a turn."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

REASONING_TAGS: tuple[tuple[str, str], ...] = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("<mm:think>", "</mm:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|open|>think<|sep|>", "<|close|>think<|sep|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|channel>thought\n", "<channel|>"),
    ("<|channel|>analysis<|message|>", "<|end|>"),
)
"""What stands around thinking text, by family: opening and closing tag. Others are given to `ChatRenderer` as ``reasoning_tags``."""

_TAG = r"</?[A-Za-z_][\w:.\-]{0,40}>|<[|｜][^<>\n]{1,60}?[|｜]?>|<[A-Za-z_]{1,40}[|｜]>|\[/?[A-Z_]{2,40}\]|◁/?\w+▷"
_CLOSING = re.compile(r"^(?:<[|｜]?/|\[/|◁/|<\w+[|｜]>$|<\|call\|>$)|(?:^|[^a-z])(?:end|eom|eot|suffix)(?:$|[^a-z])", re.IGNORECASE)
_MEDIA = re.compile(r"image|img|audio|video|vision|speech|(?:^|\W)bo[iav]\W|(?:^|\W)eo[iav]\W", re.IGNORECASE)
_PART = re.compile(rf"think|thought|tool|reason|channel|message|start|begin|header|{_MEDIA.pattern}", re.IGNORECASE)
_CONTROL = r"<[|｜][^<>\n]{1,60}?[|｜]>"


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag found at ``text[start:end]``."""

    start: int
    end: int
    text: str
    closes: str = ""
    """Closing tag that ends what this one opens, if it opens reasoning."""

    @property
    def is_closing(self) -> bool:
        return bool(_CLOSING.search(self.text))


class Markup:
    """Finds tags and control tokens in text that a template wrote."""

    def __init__(self, tokenizer: Any, stop_token_ids: Iterable[int] = (), reasoning_tags: Sequence[tuple[str, str]] = ()) -> None:
        self.reasoning_tags = (*reasoning_tags, *REASONING_TAGS)
        """Opening and closing tags of thinking, the given ones first."""
        added = {token.content: bool(token.special) for token in getattr(tokenizer, "added_tokens_decoder", {}).values()}
        self.special = {text for text, special in added.items() if special and text.strip()}
        self.special |= {text for text in getattr(tokenizer, "all_special_tokens", ()) if text.strip()}
        self.special |= {text for text in getattr(tokenizer, "special_tokens_map", {}).values() if isinstance(text, str) and text.strip()}
        self.added = {text for text in added if text.strip()} | self.special
        self._apart = {
            token.content
            for token in getattr(tokenizer, "added_tokens_decoder", {}).values()
            if not (token.lstrip or token.rstrip or token.single_word or token.normalized)
        }
        ids = {i for i in (tokenizer.eos_token_id, *stop_token_ids) if i is not None}
        self.stop_token_ids: frozenset[int] = frozenset(ids)
        names = tokenizer.convert_ids_to_tokens(sorted(ids)) if ids else []
        self.stops = {name for name in (*names, tokenizer.eos_token) if name}
        openings = [opening for opening, _ in self.reasoning_tags]
        closings = [closing for _, closing in self.reasoning_tags]
        longest_first = sorted({*self.added, *self.stops, *openings, *closings}, key=len, reverse=True)
        # Openings of several tokens come first: harmony's begins with a token that opens other channels too.
        self.inserted: dict[tuple[str, bool], list[tuple[int, int]]] = {}
        """What scaffolding says of its own, as far as it has been looked at; see `labelling`."""
        self._tags: dict[str, tuple[Tag, ...]] = {}
        self._pattern = re.compile(
            "|".join([*map(re.escape, sorted(openings, key=len, reverse=True)), *map(re.escape, longest_first), _TAG])
        )
        self._special = _alternatives(self.special)
        self._any_stop = _alternatives(self.stops)
        self._added = _alternatives(self.added)
        self._control = re.compile("|".join([*map(re.escape, sorted(self.special, key=len, reverse=True)), _CONTROL]))
        self._bos = getattr(tokenizer, "bos_token", None)
        self._media = _alternatives(token for token in self.added if _MEDIA.search(token))
        self._closing_of = dict(reversed(self.reasoning_tags))
        self._closings = {closing for opening, closing in self.reasoning_tags if "analysis" not in opening}
        self._given = {closing for _, closing in reasoning_tags}

    def tags(self, text: str) -> tuple[Tag, ...]:
        """All tags and control tokens in ``text``, in order."""
        # Scaffolding repeats from turn to turn and from row to row.
        known = self._tags.get(text)
        if known is None:
            known = tuple(Tag(m.start(), m.end(), m[0], self._closing_of.get(m[0], "")) for m in self._pattern.finditer(text))
            if len(text) <= 200 and len(self._tags) < 10_000:
                self._tags[text] = known
        return known

    def is_cut_at(self, text: str, at: int) -> bool:
        """Does an added token end at ``text[:at]``, that the tokenizer takes out before it looks at anything else?

        What comes before and after such a token is encoded apart.
        """
        found = self._added.finditer(text, 0, at + max(map(len, self.added))) if self._added else iter(())
        last = next((match for match in found if match.end() >= at), None)
        return last is not None and last.end() == at and last[0] in self._apart

    def says(self, text: str) -> bool:
        """Is there anything in ``text`` but tags and blanks?"""
        return bool(self._pattern.sub("", text).strip())

    def closes_reasoning(self, tag: Tag) -> bool:
        """Does the tag end reasoning wherever it stands? (Harmony's ``<|end|>`` ends every channel.)"""
        return tag.text in self._closings

    def ends_reasoning(self, token: str) -> bool:
        """Is it a closing tag of any family's thinking?"""
        return any(token == closing for _, closing in self.reasoning_tags)

    def open_reasoning(self, text: str) -> str:
        """Closing tag of the reasoning that ``text`` leaves open; empty if it leaves none open."""
        awaited = ""
        for tag in self.tags(text):
            if tag.closes:
                awaited = tag.closes
            elif tag.text == awaited:
                awaited = ""
        return awaited

    def tags_inside(self, template: str) -> ReasoningTags:
        """The reasoning tags to look for inside replies of a family with this template."""
        used = {tag for tag in self._closings if tag in self.added or tag in template or tag in self._given}
        return ReasoningTags(self.reasoning_tags, frozenset(used))

    def media(self, text: str) -> list[tuple[int, int]]:
        """Where placeholders of images, audio and video stand."""
        return [match.span() for match in self._media.finditer(text)] if self._media else []

    def first_stop(self, text: str, reply: str) -> tuple[int, int] | None:
        """Where a turn ends in the text after its last data: the first known stop token, else the last control token.

        reply: what stands before ``text`` in the turn. A token that closes what was opened there ends a part of the turn (GLM's
        ``</arg_value>``, within a call), not the turn.
        """
        known = self.first_known_stop(text)
        if known:
            return known
        for pattern in (self._special, self._added):
            found = [m.span() for m in pattern.finditer(text) if self._can_end(m[0]) and not _closes(m[0], reply)] if pattern else []
            if found:
                return found[-1]
        return None

    def first_known_stop(self, text: str) -> tuple[int, int] | None:
        """The first stop token of the tokenizer or the generation config."""
        match = self._any_stop.search(text) if self._any_stop else None
        return match.span() if match else None

    def next_role(self, text: str, at: int) -> tuple[int, int] | None:
        """The special token that stands at ``text[at:]``, if it can be the next role's marker."""
        match = self._special.match(text, at) if self._special else None
        return match.span() if match and self._can_end(match[0]) else None

    def _can_end(self, token: str) -> bool:
        return token != self._bos and not _PART.search(token)

    def final_control(self, text: str, end: int) -> tuple[int, int] | None:
        """The special token that ``text[:end]`` ends with."""
        longest = max((token for token in self.special if text.endswith(token, 0, end)), key=len, default="")
        return (end - len(longest), end) if longest else None

    def splits(self, text: str) -> list[tuple[int, int, bool]]:
        """``text`` cut into control tokens and what lies between: ``(start, end, is_control)``."""
        pieces: list[tuple[int, int, bool]] = []
        at = 0
        for match in self._control.finditer(text):
            pieces += [(at, match.start(), False), (match.start(), match.end(), True)]
            at = match.end()
        return [piece for piece in [*pieces, (at, len(text), False)] if piece[0] < piece[1]]


def _closes(token: str, reply: str) -> bool:
    """Is the token the closing tag, ``</name>`` or ``[/NAME]``, of one that stands in the reply?"""
    return token[1:2] == "/" and token[0] + token[2:] in reply


def _alternatives(texts: Iterable[str]) -> re.Pattern[str] | None:
    longest_first = sorted(texts, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


@dataclass(frozen=True)
class ReasoningTags:
    """Tags that may stand around thinking inside a reply's own text."""

    pairs: tuple[tuple[str, str], ...]
    closing_alone: frozenset[str]
    """Closing tags that count without their opening ones, because the family may prefill those."""

    def end_in(self, text: str) -> int:
        """Where the thinking that opens a reply ends, tags and the blank after them included; 0 if it opens with none.

        ``<think>..</think>answer``, or ``..</think>answer`` if the closing tag may stand alone. A tag further on is text about tags.
        """
        start = len(text) - len(text.lstrip())
        for opening, closing in self.pairs:
            opened = text.startswith(opening, start)
            if not opened and closing not in self.closing_alone:
                continue
            close = text.find(closing, start)
            if opened and close < 0:
                return len(text)
            if opened or (close >= 0 and opening not in text):
                end = close + len(closing)
                return end + len(text[end:]) - len(text[end:].lstrip())
        return 0

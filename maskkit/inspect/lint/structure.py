"""What a chat template writes between messages, learnt from conversations that it renders.

Each conversation holds words that occur nowhere else. What stands between them is the template's own: how a conversation begins, what
closes one message and opens the next, how it ends; and `ChatRenderer` says of each piece what it is and whether the model emits it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from maskkit.chat import ChatRenderer, RenderedText
from maskkit.chat.kinds import ASSISTANT_ROLES
from maskkit.errors import MaskkitError
from maskkit.inspect.lint.detokenize import FIRST_MARK, Detokenizer, Marked
from maskkit.kinds import SegmentKind
from maskkit.records import Record, to_record

START, END = "start", "end"
"""Stand for the roles before the first and behind the last message."""

_WILDCARD = r"[^\n]{0,80}?"
"""Stands for data in a header: the name of a tool."""

_SYSTEM = {"role": "system", "content": "Vexation"}
_USER, _AGAIN = {"role": "user", "content": "Quagmire"}, {"role": "user", "content": "Zephyrus"}
_REPLY, _LAST = {"role": "assistant", "content": "Obelisk"}, {"role": "assistant", "content": "Juniper"}
_THINKING = {"role": "assistant", "reasoning_content": "Walnut", "content": "Kestrel"}
_FUNCTION = {"name": "flamingo", "arguments": {"beak": "Marzipan"}}
_CALL = {"role": "assistant", "content": "", "tool_calls": [{"id": "abcdefghi", "type": "function", "function": _FUNCTION}]}
_RESULT = {"role": "tool", "name": "flamingo", "tool_call_id": "abcdefghi", "content": "Nutmeg"}
_OTHER = {"role": "tool", "name": "flamingo", "tool_call_id": "abcdefghi", "content": "Oregano"}
_SCHEMA = {"type": "object", "properties": {"beak": {"type": "string", "description": "a beak"}}}
_TOOLS = [{"type": "function", "function": {"name": "flamingo", "description": "a bird", "parameters": _SCHEMA}}]

_CONVERSATIONS: Sequence[Mapping[str, Any]] = (
    {"messages": [_USER, _REPLY, _AGAIN, _LAST]},
    {"messages": [_SYSTEM, _USER, _REPLY, _AGAIN, _LAST]},
    {"messages": [_USER, _THINKING]},
    {"messages": [_USER, _THINKING, _AGAIN, _LAST]},
    {"messages": [_USER, _CALL, _RESULT, _LAST], "tools": _TOOLS},
    {"messages": [_USER, _CALL, _RESULT, _OTHER, _LAST, _AGAIN, _REPLY], "tools": _TOOLS},
)
_ARGUMENTS: Sequence[Mapping[str, Any]] = ({"enable_thinking": False}, {"enable_thinking": True}, {"thinking": False}, {"thinking": True})
"""Under which a prompt may supply the beginning of a reply."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of what stands between two messages."""

    text: str
    """In marked form; empty for data, which may be anything."""
    kind: SegmentKind
    generated: bool
    next: bool
    """Does it belong to the message that follows?"""


@dataclass(frozen=True, slots=True)
class Boundary:
    """What stands between a message of one role and one of the next."""

    before: str
    after: str
    pieces: tuple[Piece, ...]

    @property
    def literal(self) -> str:
        """Its text up to the first place where data stands."""
        texts = [piece.text for piece in self.pieces]
        return "".join(texts[: texts.index("")] if "" in texts else texts)

    @property
    def closing(self) -> tuple[Piece, ...]:
        """What closes the message before."""
        return tuple(piece for piece in self.pieces if not piece.next)

    @property
    def opening(self) -> tuple[Piece, ...]:
        """What opens the message behind."""
        return tuple(piece for piece in self.pieces if piece.next)

    @property
    def pattern(self) -> re.Pattern[str]:
        """Finds it, with a group for each piece."""
        return re.compile("".join(f"({re.escape(piece.text) or _WILDCARD})" for piece in self.pieces))


@dataclass
class Structure:
    """All that was learnt of a template."""

    boundaries: list[Boundary] = field(default_factory=list)
    inside_replies: set[str] = field(default_factory=set)
    """Marks of control tokens that models write inside replies."""
    tool_call: str = ""
    """How a tool call begins."""
    openings: dict[str, set[str]] = field(default_factory=dict)
    """By role, what the template writes before a message of it, wherever that stands."""
    ends_with_stop: bool = False
    """Is the last reply ended by a stop token?"""
    optional_prefills: tuple[str, ...] = ()
    """Beginnings of replies that the prompt supplies under some template arguments, in marked form, longest first."""

    def of(self, before: str) -> list[Boundary]:
        """What may follow a message of a role."""
        return [boundary for boundary in self.boundaries if boundary.before == before]

    @property
    def marks(self) -> set[str]:
        """Characters of all boundaries."""
        return {character for boundary in self.boundaries for piece in boundary.pieces for character in piece.text}


def learn(renderer: ChatRenderer, read: Detokenizer) -> Structure:
    """Try the template. A template that refuses a conversation teaches nothing by it."""
    structure = Structure()
    seen: set[Boundary] = set()
    replies: set[str] = set()
    for row in _CONVERSATIONS:
        record = to_record(row, source="probe")
        rendered = _rendered(renderer, record)
        if rendered is None:
            continue
        bodies = list(_bodies(rendered, record))
        text = read.of_text(rendered.text)
        seen |= set(_boundaries(rendered, text, bodies, record))
        replies |= {_text(text, start, end) for role, start, end in bodies if role in ASSISTANT_ROLES}
        structure.tool_call = structure.tool_call or _call_opening(rendered, renderer)
    known = {boundary for boundary in seen if _is_telling(boundary)}
    structure.inside_replies = {mark for reply in replies for mark in reply}
    # harmony goes on from channel to channel within one reply, by what would also open another
    known |= {b for b in _combined(known) if _is_telling(b) and not any(b.literal in reply for reply in replies)}
    known |= {boundary for boundary in _behind_systems(known) if _is_telling(boundary)}
    structure.boundaries = sorted(known, key=lambda boundary: (-len(boundary.literal), boundary.before, boundary.after))
    for boundary in known:
        opening = "".join(piece.text for piece in boundary.opening)
        if boundary.before != START and _says_enough(opening):
            structure.openings.setdefault(boundary.after, set()).add(opening)
    structure.ends_with_stop = any(
        piece.kind is SegmentKind.STOP for b in known for piece in b.pieces if b.before in ASSISTANT_ROLES and b.after == END
    )
    structure.optional_prefills = _optional_prefills(renderer, read)
    return structure


def _rendered(renderer: ChatRenderer, record: Record) -> RenderedText | None:
    try:
        return renderer.render(record)
    except MaskkitError:
        return None


def _bodies(rendered: RenderedText, record: Record) -> Iterator[tuple[str, int, int]]:
    """Role, beginning and end of what each message says itself; messages that are not printed are left out."""
    for index, message in enumerate(record.messages):
        if message["role"] in ASSISTANT_ROLES:
            generated = [s for s in rendered.segments if s.message == index and s.generated]
            body = [s for s in generated if s.kind is not SegmentKind.STOP]
            if generated:
                yield message["role"], generated[0].start, (body or generated)[-1].end if body else generated[0].start
        elif (at := rendered.text.find(message["content"])) >= 0:
            yield message["role"], at, at + len(message["content"])


def _boundaries(rendered: RenderedText, text: Marked, bodies: Sequence[tuple[str, int, int]], record: Record) -> Iterator[Boundary]:
    places = [(START, 0, 0), *bodies, (END, len(rendered.text), len(rendered.text))]
    if len(bodies) < len(record.messages) or any(one[2] > two[1] for one, two in pairwise(places)):
        return
    for (before, _, begin), (after, end, _) in pairwise(places):
        pieces = tuple(_pieces(rendered, text, begin, end))
        if before == START and any(not piece.text for piece in pieces):
            continue  # tools, or a date of the row: whatever stands there, the next boundary is found
        yield Boundary(before, after, pieces)


def _pieces(rendered: RenderedText, text: Marked, begin: int, end: int) -> Iterator[Piece]:
    data = [(span.start, span.end) for span in rendered.spans if span.is_data and span.field != "role" and begin <= span.start < end]
    first = next((s.message for s in rendered.segments if s.start >= begin), -1)
    for segment in rendered.segments:
        start, stop = max(segment.start, begin), min(segment.end, end)
        if start >= stop:
            continue
        later = segment.message > first
        at = start
        for data_start, data_end in [*((s, e) for s, e in data if start <= s < stop), (stop, stop)]:
            if at < data_start:
                yield Piece(_text(text, at, data_start), segment.kind, segment.generated, later)
            if data_start < data_end:
                yield Piece("", segment.kind, segment.generated, later)
            at = data_end


def _text(text: Marked, start: int, end: int) -> str:
    return text.text[text.at(start) : text.at(end)]


def _combined(known: Iterable[Boundary]) -> Iterator[Boundary]:
    """Pairs of roles that no conversation has: what closes the one, then what opens the other."""
    learnt = [boundary for boundary in known if boundary.before != START and boundary.after != END]
    pairs = {(boundary.before, boundary.after) for boundary in learnt}
    for closing in learnt:
        for opening in learnt:
            says = _says_enough("".join(piece.text for piece in opening.opening))
            if says and (closing.before, opening.after) not in pairs and closing.closing:
                yield Boundary(closing.before, opening.after, (*closing.closing, *opening.opening))


def _behind_systems(known: Iterable[Boundary]) -> Iterator[Boundary]:
    """What opens a user message ends a system text of any other end: tools and settings that a template adds to it."""
    for boundary in known:
        if boundary.before != START and boundary.after == "user" and boundary.opening:
            yield Boundary("system", "user", boundary.opening)


def _is_telling(boundary: Boundary) -> bool:
    """Does it say more than blanks, so that it is not found where it is not meant?"""
    return boundary.after == END or boundary.before == START or _says_enough("".join(piece.text for piece in boundary.pieces))


def _says_enough(marked: str) -> bool:
    """A control token, or a few letters."""
    said = "".join(marked.split())
    return len(said) >= 3 or any(ord(character) >= FIRST_MARK for character in said)


def _call_opening(rendered: RenderedText, renderer: ChatRenderer) -> str:
    """The tag with which a tool call begins; empty where it is none."""
    called = next((s for s in rendered.segments if s.kind is SegmentKind.TOOL_CALL and s.generated), None)
    if called is None:
        return ""
    tags = renderer.markup.tags(rendered.text[called.start : called.end])
    return tags[0].text if tags and tags[0].start == 0 else ""


def _optional_prefills(renderer: ChatRenderer, read: Detokenizer) -> tuple[str, ...]:
    usual = _prompt(renderer, read, {})
    others = (_prompt(renderer, read, arguments) for arguments in _ARGUMENTS)
    found = {other.removeprefix(usual) for other in others if usual and other.startswith(usual) and other != usual}
    return tuple(sorted(found, key=len, reverse=True))


def _prompt(renderer: ChatRenderer, read: Detokenizer, arguments: Mapping[str, Any]) -> str:
    try:
        record = to_record({"messages": [_USER, _REPLY], "chat_template_kwargs": dict(arguments)}, source="probe")
        return read.of_text(renderer.prompt(record, 1)).text
    except MaskkitError:
        return ""


def renderer_of(tokenizer: Any, template_kwargs: Mapping[str, Any] | None, stop_token_ids: Iterable[int]) -> ChatRenderer:
    """Renders what is learnt from. Raises TemplateError where the tokenizer has no chat template."""
    return ChatRenderer(tokenizer, template_kwargs=template_kwargs, date=datetime.now(), stop_token_ids=stop_token_ids)

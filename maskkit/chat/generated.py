"""What the model itself would emit in each assistant turn, found by inference and not by markers.

For assistant message ``i`` the prompt is the template's rendering of ``messages[:i]`` with ``add_generation_prompt=True``. What
follows it in the rendered conversation, up to and including the token that ends the turn, is generated. Nothing is guessed: a
turn whose prompt the template refuses is unknown, and what differs from how it was served is reported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from maskkit.chat.kinds import SCAFFOLD_FIELDS
from maskkit.chat.markup import Markup
from maskkit.chat.owners import NOBODY
from maskkit.chat.parts import Part, ReplyText, divide
from maskkit.chat.replay import Beginning
from maskkit.chat.spans import Layout, Span, spans_of
from maskkit.chat.traced import TEMPLATE, plain
from maskkit.findings import Finding
from maskkit.kinds import SegmentKind

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass
class Turn:
    """One assistant message in the rendered text."""

    message: int
    start: int
    """First character of its turn, header included."""
    end: int
    """End of its turn. Its stop token may stand behind it, where that is the next role's marker."""
    parts: list[Part] = field(default_factory=list)
    """What the model emits, in order, stop token included."""
    unknown: bool = False
    """Nothing in the turn can be attributed."""
    interrupted: bool = False
    """The turn goes on behind the stop token. What follows of the message is shown to the model, not written by it."""
    elsewhere: bool = False
    """Its text is printed in the turns of others."""
    supplied: bool = False
    """The parts are the beginning of a reply that is given to the model to continue."""


@dataclass
class Generated:
    """All assistant turns of a conversation, and what was noticed on the way."""

    turns: list[Turn]
    findings: list[Finding]


class TurnFinder:
    """Finds the generated part of every assistant turn of one rendered conversation."""

    def __init__(
        self,
        text: str,
        spans: Layout,
        markup: Markup,
        beginning: Callable[[int, bool], Beginning | None],
        tokenizer: Any,
        prompting: bool = True,
    ) -> None:
        self.text = text
        self.spans = spans
        self.markup = markup
        self.beginning = beginning
        """Of the first messages, with or without generation prompt; None if the template refuses them."""
        self.tokenizer = tokenizer
        self.prompting = prompting
        """Does the template know ``add_generation_prompt``?"""
        self.refused: list[int] = []
        self.rewritten: list[int] = []
        self.differing: list[int] = []
        self.unstopped: list[int] = []
        self.going_on: list[int] = []

    def find(self, replies: dict[int, ReplyText]) -> Generated:
        """The turns of the messages in ``replies``, by index."""
        turns = [turn for message, reply in replies.items() if (turn := self._turn(message, reply)) is not None]
        return Generated(turns, self._findings())

    def _turn(self, message: int, reply: ReplyText) -> Turn | None:
        prompt = self.beginning(message, True)
        if message in self._said_elsewhere and not self._has_ended(message, prompt):
            return self._elsewhere(message, reply, prompt)
        bounds = self.spans.turn(message)
        if bounds is None:
            return self._nothing(message, reply, prompt)
        turn = Turn(message, *bounds)
        if prompt is None or (message == 0 and self._opens_nothing(turn, prompt)):
            self.refused.append(message)
            turn.unknown = True
            return turn
        scattered = message not in self.spans.scaffolded
        served = prompt.begins(self.text)
        if scattered and not served and not self._is_between_turns(turn):
            # Printed outside any loop over messages: without the prompt there is no telling where the turn begins.
            turn.unknown = True
            return turn
        if scattered and served:
            turn.start, turn.end = min(len(prompt), turn.start), self._next_writer(turn)
        start = self._start(turn, prompt, served)
        if start is None:
            turn.unknown = True
        elif served and start == turn.end:
            return self._nothing(message, reply, prompt) or turn
        else:
            self._divide(turn, start, reply)
            self._compare_with_served(turn)
        return turn

    @cached_property
    def _said_elsewhere(self) -> dict[int, tuple[int, int]]:
        """Messages that say all they say in the turns of others: the first and the last character of that."""
        found: dict[int, tuple[int, int]] = {}
        at_home: set[int] = set()
        for start, end, origin, _, _, owner in self.spans:
            if origin[0] != "messages" or len(origin) < 2 or (len(origin) > 2 and origin[2] in SCAFFOLD_FIELDS):
                continue
            if origin[1] == owner:
                at_home.add(owner)
            else:
                found[origin[1]] = found.get(origin[1], (start,))[0], end
        return {message: place for message, place in found.items() if message not in at_home}

    def _has_ended(self, message: int, prompt: Beginning | None) -> bool:
        """Does a stop token stand between the prompt and what is printed elsewhere? Then that is printed again: a call's name."""
        between = self.text[len(prompt) : self._said_elsewhere[message][0]] if prompt is not None else ""
        return self.markup.first_known_stop(between) is not None

    def _elsewhere(self, message: int, reply: ReplyText, prompt: Beginning | None) -> Turn | None:
        """The turn of a message that templates print one iteration later, or with its question: its prompt says where it begins, and the
        data of others where it ends at the latest. None if the conversation does not begin with the prompt: then there is no telling."""
        first, last = self._said_elsewhere[message]
        if prompt is None or len(prompt) > first or not prompt.begins(self.text):
            return None
        others = (span.start for span in self.spans.after(last) if span.is_data)
        turn = Turn(message, len(prompt), next(others, len(self.text)), elsewhere=True)
        self._divide(turn, turn.start, reply)
        self._compare_with_served(turn)
        return turn

    def _nothing(self, message: int, reply: ReplyText, prompt: Beginning | None) -> Turn | None:
        """The turn of a reply that says nothing: the stop token right behind its prompt. None if none stands there."""
        if prompt is None or reply.supplied or not prompt.begins(self.text):
            return None
        start = len(prompt)
        end = next((span.start for span in self.spans.after(start) if span.is_data), len(self.text))
        stop = self.markup.first_known_stop(self.text[start:end])
        if stop is None or self.text[start : start + stop[0]].strip():
            return None
        return Turn(message, start, start + stop[1], [(start + stop[0], start + stop[1], SegmentKind.STOP)], elsewhere=True)

    def _opens_nothing(self, turn: Turn, prompt: Beginning) -> bool:
        """Does the prompt without messages lack the header of a reply, which the template writes behind messages only?"""
        without = self.beginning(0, False)
        alone = self.prompting and without is not None and without.text(self.text) == prompt.text(self.text)
        return alone and max(len(prompt), turn.start) < self._first_data(turn)

    def _is_between_turns(self, turn: Turn) -> bool:
        """Do others' turns touch the turn on both sides? Then nothing around it can be its own."""
        beside = [self.spans[index] for index in (self.spans.at(turn.start) - 1, self.spans.at(turn.end)) if 0 <= index < len(self.spans)]
        return all(span.owner != NOBODY for span in beside)

    def _compare_with_served(self, turn: Turn) -> None:
        """Notice if the reply was rendered differently before anything came after it."""
        if turn.message in self.rewritten or turn.message >= self.spans.last_message:
            return
        served = self.beginning(turn.message + 1, False)
        if served is not None and turn.parts and not served.agrees(self.text, turn.parts[-1][1]):
            self.rewritten.append(turn.message)

    def _next_writer(self, turn: Turn) -> int:
        later = (span.start for span in self.spans.after(turn.end) if span.owner not in (turn.message, NOBODY))
        return next(later, len(self.text))

    # -- where it begins --------------------------------------------------------------------------------------

    def _start(self, turn: Turn, prompt: Beginning, served: bool) -> int | None:
        """Where the model begins; None where the turn does not begin with anything of the generation prompt."""
        if served:
            return min(max(len(prompt), turn.start), turn.end)
        opening = self._generation_prompt(prompt, turn.message)
        if len(prompt) - len(opening) != turn.start or not prompt.agrees(self.text, turn.start):
            self.rewritten.append(turn.message)
        block = self.text[turn.start : turn.end]
        overlap = self._overlap(opening, block)
        # Something may stand before the header: what the template writes first in a conversation, if that has messages.
        inside = block.find(opening, 0, self._first_data(turn) - turn.start) if opening else -1
        overlap = inside + len(opening) if inside > 0 else overlap
        shared = max(self._shared(opening, block), overlap)
        if shared < len(opening):
            # A message that happens to begin like the rest of the prompt is the message's own.
            shared = min(shared, self._first_data(turn) - turn.start)
        without_header = self._first_data(turn) == turn.start
        if not (shared or not opening or without_header or self._adds_nothing(prompt, turn.message)):
            return None
        if not overlap and not block.startswith(opening):
            self.differing.append(turn.message)
        return turn.start + shared

    def _first_data(self, turn: Turn) -> int:
        return next((span.start for span in self.spans.within(turn.start, turn.end) if _is_said(span, turn.message)), turn.end)

    def _adds_nothing(self, prompt: Beginning, message: int) -> bool:
        """Is the prompt what stands there without ``add_generation_prompt``? Then the model writes all of its turn."""
        without = self.beginning(message, False)
        return without is not None and without.text(self.text) == prompt.text(self.text)

    def _generation_prompt(self, prompt: Beginning, message: int) -> str:
        """What ``add_generation_prompt`` put behind the last message."""
        tail = plain(prompt.tail)
        end = max((span.end for span in spans_of(prompt.tail) if span.owner != NOBODY), default=0)
        if message and end < len(tail):
            return tail[end:]
        # Some templates write it inside the last message's iteration; and without messages, their beginning stands before it.
        without = self.beginning(message, False)
        return prompt.text(self.text).removeprefix(without.text(self.text)) if without is not None else prompt.text(self.text)

    def _overlap(self, opening: str, block: str) -> int:
        """Length of the longest end of the generation prompt that the turn begins with, cut at a control token or before blanks."""
        begins = sorted({len(opening) - len(opening.lstrip()), *(tag.start for tag in self.markup.tags(opening))})
        return next((len(opening) - begin for begin in begins if block.startswith(opening[begin:])), 0)

    def _shared(self, opening: str, block: str) -> int:
        """How much of the generation prompt a turn begins with, in whole tokens."""
        if block.startswith(opening):
            return len(opening)
        known = self._shared_surely(opening, block)
        return self._shared_in_tokens(opening, block) if known is None else known

    def _shared_surely(self, opening: str, block: str) -> int | None:
        """The same, where the tokenizer need not be asked: they differ right behind a token that it takes out before all else."""
        same = next(at for at, letter in enumerate(opening) if block[at : at + 1] != letter)
        letters = opening[same], block[same : same + 1]
        # Tokenizers that change case, or know only some letters, may see no difference.
        if letters[0].lower() == letters[1].lower() or not "".join(letters).isascii():
            return None
        return same if not same or all(self.markup.is_cut_at(text, same) for text in (opening, block)) else None

    def _shared_in_tokens(self, opening: str, block: str) -> int:
        """The same, by what the tokenizer makes of both.

        Characters would stop inside a token that both begin with (``<|tool`` and ``<|think``).
        """
        ours, theirs = self._tokens(block), self._tokens(opening)
        end = 0
        for (ours_id, (_, ours_end)), (theirs_id, (_, theirs_end)) in zip(ours, theirs, strict=False):
            if ours_id != theirs_id or ours_end != theirs_end:
                break
            end = ours_end
        return end

    def _tokens(self, text: str) -> list[tuple[int, tuple[int, int]]]:
        # No tokenizer takes half a surrogate pair; what stands for it here is only compared.
        encoded = self.tokenizer(_SURROGATE.sub("\ufffd", text), add_special_tokens=False, return_offsets_mapping=True)
        return list(zip(encoded["input_ids"], encoded["offset_mapping"], strict=True))

    # -- where it ends, and what is in it ---------------------------------------------------------------------

    def _divide(self, turn: Turn, start: int, reply: ReplyText) -> None:
        if start >= turn.end:
            return
        block = self.spans.within(start, turn.end)
        last, tail_end = self._tail(turn, start, block)
        stop: tuple[int, int] | None
        if any(span.is_data and span.origin[0] == "messages" and span.message != turn.message for span in block):
            stop = self._stop_before_others(turn, start)
            if stop is None:
                turn.unknown = True
                return
            turn.interrupted = True
        else:
            stop = self._stop_inside(turn, [span for span in block if span.end <= last])
            turn.interrupted = stop is not None
            stop = stop or self._stop(turn, start, last, tail_end)
        body_end = stop[0] if stop else tail_end
        awaited = self.markup.open_reasoning(self.text[self._turn_before(turn, start) : start])
        # Reasoning that the prompt opens and nothing closes is no sign of what the text is: the field decides.
        awaited = awaited if awaited in self.text[start:body_end] else ""
        turn.parts = divide(self.text, self.spans.within(start, body_end), turn.message, reply, self.markup, awaited)
        if reply.supplied:
            turn.supplied = True
        elif stop:
            turn.parts.append((*stop, SegmentKind.STOP))
            if turn.interrupted and self._goes_on(turn, start, stop[1]):
                self.going_on.append(turn.message)
        else:
            self.unstopped.append(turn.message)

    def _turn_before(self, turn: Turn, start: int) -> int:
        """Where the text of other messages ends before the model begins."""
        before = self.spans.before(start)
        if turn.elsewhere:  # the header stands in the turn of another too
            return next((span.end for span in before if span.is_data), 0)
        return next((span.end for span in before if span.owner not in (turn.message, NOBODY)), 0)

    def _tail(self, turn: Turn, start: int, block: Sequence[Span]) -> tuple[int, int]:
        """The template's text after the last data of the turn, up to where someone else's data begins."""
        own = [span.end for span in block if _is_said(span, turn.message)]
        last = own[-1] if own else start
        return last, next((s.start for s in block if s.is_data and s.start >= last), turn.end)

    def _stop_inside(self, turn: Turn, said_in: Sequence[Span]) -> tuple[int, int] | None:
        """A known stop token that the template writes between the message's data: there the model ends its turn, whatever follows."""
        said = False
        for span in said_in:
            said = said or _is_said(span, turn.message)
            found = self.markup.first_known_stop(self.text[span.start : span.end]) if said and span.origin is TEMPLATE else None
            # Harmony's <|end|> ends thinking too.
            if found and not self.markup.ends_reasoning(self.text[span.start + found[0] : span.start + found[1]]):
                return span.start + found[0], span.start + found[1]
        return None

    def _stop(self, turn: Turn, start: int, last: int, tail_end: int) -> tuple[int, int] | None:
        found = self.markup.first_stop(self.text[last:tail_end], self.text[start:last])
        if found:
            return last + found[0], last + found[1]
        # Some families end a turn with the marker of the next one, and so does the model.
        if tail_end < turn.end or turn.end >= len(self.text) or self.spans[self.spans.at(turn.end)].is_data:
            return None
        return self.markup.next_role(self.text, turn.end)

    def _stop_before_others(self, turn: Turn, start: int) -> tuple[int, int] | None:
        """Where the model stopped in a turn that goes on with data of others, as tool results inside an assistant's turn.

        It is the end of what the template writes as long as there are no later messages, if the text begins with just that.
        """
        alone = self.beginning(turn.message + 1, False)
        if alone is None:
            return None
        if alone.begins(self.text):
            return self.markup.final_control(self.text, len(alone)) if len(alone) > start else None
        # Where the turn was rendered differently before, its end may still be the same.
        last = self._last_before_others(turn, start)
        end = last.end if last else start
        rest = self._rest_of(alone, turn.message, last)
        return self.markup.final_control(self.text, end + len(rest)) if rest and self.text.startswith(rest, end) else None

    def _goes_on(self, turn: Turn, start: int, stopped: int) -> bool:
        """Does the message say anything behind the stop token that it has not said before, as a call's name above its result?"""
        said = {(span.origin, span.offset) for span in self.spans.within(start, stopped)}
        later = self.spans.within(stopped, turn.end)
        return any(_is_said(span, turn.message) and (span.origin, span.offset) not in said for span in later)

    def _last_before_others(self, turn: Turn, start: int) -> Span | None:
        """Where the message's own data ends, in a turn that goes on with data of others; what is printed again does not count."""
        last: Span | None = None
        said: set[tuple[object, int]] = set()
        for span in self.spans.within(start, turn.end):
            if span.message not in (NOBODY, turn.message):
                break
            if _is_said(span, turn.message) and (span.offset < 0 or (span.origin, span.offset) not in said):
                said.add((span.origin, span.offset))
                last = span
        return last

    def _rest_of(self, alone: Beginning, message: int, last: Span | None) -> str:
        """What stands behind the message's data up to ``last`` where nothing comes after the message."""
        tail = plain(alone.tail)
        own = [span for span in spans_of(alone.tail) if _is_said(span, message)]
        if not own:
            end = last.end if last else alone.shared
            return self.text[end : alone.shared] + tail if end <= alone.shared else ""
        at = max((number for number, span in enumerate(own) if last and _is_same(span, last)), default=-1)
        if at < 0:
            return ""
        if at + 1 < len(own):
            # Data that comes here before the end is printed elsewhere in the conversation: Gemma 4 moves the answer behind the results.
            closing, stop = tail[own[at].end : own[at + 1].start], self.markup.final_control(tail, len(tail.rstrip()))
            rests = (closing[:length] + tail[slice(*stop)] for length in range(len(closing), -1, -1) if stop)
            return next((rest for rest in rests if last and self.text.startswith(rest, last.end)), "")
        return tail[own[at].end :]

    # -- what was noticed -------------------------------------------------------------------------------------

    def _findings(self) -> list[Finding]:
        noticed = (
            ("prompt-refused", self.refused, "the template gives no prompt for"),
            ("history-rewritten", self.rewritten, "the text differs from the prompt that was served before"),
            ("reply-differs", [i for i in self.differing if i not in self.rewritten], "the end of the prompt does not stand before"),
            ("no-stop", self.unstopped, "no stop token follows"),
            ("after-stop", self.going_on, "text stands behind the stop token of"),
        )
        return [
            Finding(code, f"{what} assistant message{'s' if len(which) > 1 else ''} {', '.join(map(str, which))}", len(which))
            for code, which, what in noticed
            if which
        ]


def _is_same(one: Span, other: Span) -> bool:
    """Do both end with the same character of the same data?"""
    length = one.end - one.start, other.end - other.start
    return one.origin == other.origin and (one.offset + length[0] == other.offset + length[1] if one.offset >= 0 else other.offset < 0)


def _is_said(span: Span, message: int) -> bool:
    """Is the span text of the message, apart from what a header prints of it?"""
    origin = span[2]
    own = origin[0] == "messages" and len(origin) > 1 and origin[1] == message
    return own and not (len(origin) > 2 and origin[2] in SCAFFOLD_FIELDS)

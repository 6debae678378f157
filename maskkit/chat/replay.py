"""The prompts of a conversation, at the cost of what is new in each.

The prompt of assistant message ``i`` is the rendering of ``messages[:i]`` with a generation prompt. Rendering it anew for every reply costs
the square of the conversation's length. Here the template is run again for each, but loops over the messages are entered at the end:
with the namespaces as they were there (`watch`), provided that nothing in the iterations left out would have seen another number of
messages. Then their text is that of the conversation. Where this cannot be shown, the prompt is rendered in full.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from itertools import accumulate
from typing import Any

from jinja2.runtime import Context, Macro, Undefined
from jinja2.utils import Namespace

from maskkit.chat.containers import Message, TracedDict, TracedFloat, TracedInt, TracedList
from maskkit.chat.traced import Traced, plain
from maskkit.chat.watch import Bounds, LoopLog, MessageList, Pull, State, Walk, Walked, Watch, attributes_of

REPEATED = 8
"""As many iterations at the end of a loop are run again where they can see that they are the last."""
_SCALARS = (str, Traced, int, TracedInt, float, TracedFloat, bool, type(None))
_DATA = (Message, TracedDict, TracedList)


class Beginning:
    """The rendering of the first messages: the first ``shared`` characters of the conversation's text, and what follows them."""

    def __init__(self, shared: int, tail: Traced) -> None:
        self.shared = shared
        self.tail = tail

    def __len__(self) -> int:
        return self.shared + len(self.tail)

    def text(self, whole: str) -> str:
        """All of it; ``whole`` is the conversation's text, here and below."""
        return whole[: self.shared] + plain(self.tail)

    def begins(self, whole: str) -> bool:
        """Does the conversation begin with it?"""
        return whole.startswith(self.tail, self.shared)

    def agrees(self, whole: str, length: int) -> bool:
        """Are the first ``length`` characters of both, as far as it has as many, the same?"""
        length = min(length, len(self)) - self.shared
        return length <= 0 or plain(self.tail)[:length] == whole[self.shared : self.shared + length]


class CannotReplay(Exception):
    """The conversation's rendering says too little about that of its first messages."""


class Recording(Watch):
    """Follows the rendering of a whole conversation."""

    def __init__(self) -> None:
        super().__init__()
        self._text = ""
        self._epilogues: dict[Any, Traced] = {}

    def finished(self, text: str) -> None:
        """The rendering is complete."""
        self._text = text
        for log in self.loops:
            log.left()

    @cached_property
    def _ends(self) -> list[int]:
        return [0, *accumulate(map(len, self.chunks))]

    def position(self, chunks: int) -> int:
        """Characters in the first ``chunks`` chunks."""
        return self._ends[chunks]

    def text_between(self, start: int, chunks: int) -> str:
        """The text from character ``start`` to the end of the first ``chunks`` chunks."""
        return self._text[start : self._ends[chunks]]

    def beginning(self, count: int, prompting: bool, replay: Callable[[Replay], Traced]) -> Beginning:
        """The first ``count`` messages, ``prompting`` the model or not.

        ``replay`` renders them under a watch, and gives what is printed behind the shared part.

        Raises:
            CannotReplay: it has to be rendered in full.
        """
        if not self.loops:
            raise CannotReplay
        pull, state = self._end_of(count)
        key = prompting, state
        if pull is not None and key in self._epilogues:
            return Beginning(self.position(pull.chunks), self._epilogues[key])
        watch = Replay(self, count)
        tail = replay(watch)
        if len(watch.loops) != len(self.loops):
            raise CannotReplay
        if pull is not None and state is not None and watch.looks == watch.looks_in_loops:
            self._epilogues[key] = tail
        return Beginning(watch.shared, tail)

    def _end_of(self, count: int) -> tuple[Pull | None, Any]:
        """Where the last loop would end after ``count`` messages, if that and all before it prints what the conversation prints.

        What follows is the work of the namespaces (the key) alone, unless it looks at the messages.
        """
        log = self.loops[-1]
        at = count - log.base
        if log.needed > count or not 0 <= at < len(log.pulls) or log.pulls[at].needed > count:
            return None, None
        return log.pulls[at], _hashable(log.pulls[at].state)


class Replay(Watch):
    """Follows the rendering of the first ``count`` messages, next to the log of the whole conversation's."""

    def __init__(self, recording: Recording, count: int) -> None:
        super().__init__()
        self.recording = recording
        self.count = count
        self.shared = 0
        """Characters that the prompt has in common with the conversation; the chunk at ``tail_begins`` follows them."""

    def walk(self, context: Context, walked: Walked, free: tuple[str, ...], number: int) -> Walk:
        """The loop ``number`` at the top of the template begins: enter it as late as possible."""
        if len(self.loops) == len(self.recording.loops):
            raise CannotReplay
        log = self.recording.loops[len(self.loops)]
        if log.number != number:
            raise CannotReplay
        self._check_same(log, context, walked)
        self.loops.append(log)
        skipped = self._skipped(log)
        if skipped:
            self._go_on_with(log, log.pulls[skipped].state)
        self.shared, self.tail_begins = self.recording.position(log.pulls[skipped].chunks), len(self.chunks)
        return Walk(self, walked, None, skipped)

    def _go_on_with(self, log: LoopLog, state: State) -> None:
        """Namespaces become what they were when the conversation's loop came here."""
        for number, attributes in zip(log.alive, state, strict=True):
            held = attributes_of(self.namespaces[number])
            own = {name: held[name] for name in log.free if name in held}
            held.clear()
            held.update(attributes | own)

    def _check_same(self, log: LoopLog, context: Context, walked: Walked) -> None:
        """All that the loop can see must be as it was in the conversation's rendering, apart from the messages."""
        printed = "".join(self.chunks[self.tail_begins :])
        if not (
            log.pulls
            and (log.base, log.first) == (walked._maskkit_base, walked._first)
            and log.alive == self.alive(context.vars)
            and printed == self.recording.text_between(self.shared, log.chunks)
            and self._same(_without(log.pulls[0].state, log.free), _without(self.state(log.alive), log.free))
            and self._same(log.variables, context.vars)
        ):
            raise CannotReplay

    def _skipped(self, log: LoopLog) -> int:
        """How many iterations show the same with fewer messages; none where the last few do not."""
        last = min(len(log.pulls) - 1, max(self.count - log.base, 0))
        for skipped in range(last, max(last - REPEATED, -1), -1):
            pull = log.pulls[skipped]
            if pull.needed <= self.count and all(map(_is_plain, pull.state)) and self._within(pull.bounds, log):
                return skipped
        return 0

    def _within(self, bounds: Bounds, log: LoopLog) -> bool:
        """Would all comparisons with free attributes have come out the same?"""
        asked = bounds.keys() & log.free
        held = [(name, value) for attributes in self.state(log.alive) for name, value in attributes.items() if name in asked]
        return all(type(value) is int and bounds[name][0] <= value <= bounds[name][1] for name, value in held)

    def _same(self, theirs: Any, ours: Any) -> bool:
        """Is a value of the conversation's rendering, as far as a template can tell, the value here?"""
        if theirs is ours:
            return True
        kind = type(theirs)
        if kind is not type(ours):
            return False
        if kind is MessageList:
            return bool(theirs._maskkit_base == ours._maskkit_base)
        if kind in (list, tuple):
            return len(theirs) == len(ours) and all(map(self._same, theirs, ours))
        if kind is dict:
            return list(theirs) == list(ours) and all(self._same(theirs[key], ours[key]) for key in theirs)
        if isinstance(theirs, Macro):
            return theirs._func.__code__ is ours._func.__code__
        if isinstance(theirs, Namespace):
            places = zip(self.recording.namespaces, self.namespaces, strict=False)
            return any(theirs is one and ours is other for one, other in places)
        return isinstance(theirs, Undefined) or (kind in _SCALARS and theirs == ours)


def _without(state: State, names: tuple[str, ...]) -> State:
    return tuple({name: value for name, value in attributes.items() if name not in names} for attributes in state)


def _is_plain(value: Any) -> bool:
    """Is it a value that does not know the rendering that it was made in?"""
    kind = type(value)
    if kind in (dict, list, tuple):
        return all(map(_is_plain, value.values() if kind is dict else value))
    return kind in _SCALARS or kind in _DATA or isinstance(value, Undefined)


def _hashable(state: State) -> Any:
    """The state as a dictionary's key; None if it holds more than texts and numbers."""
    if not all(type(value) in _SCALARS for attributes in state for value in attributes.values()):
        return None
    return tuple((name, type(value), value) for attributes in state for name, value in attributes.items())
